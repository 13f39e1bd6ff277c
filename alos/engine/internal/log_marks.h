// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Where in a shard's log the commits after a timestamp begin.

#ifndef ALOS_ENGINE_INTERNAL_LOG_MARKS_H_
#define ALOS_ENGINE_INTERNAL_LOG_MARKS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace alos::engine_internal {

// A sparse index of a log by time, as the log is in the order of commits. Bounded: the more there
// is, the less is known of the older part.
//
// Threads: Note and Reset by the shard's writer; Seek by any. Cost: Note is a comparison, but once
// in kSpacing bytes of log; Seek a binary search under a lock.
class LogMarks {
 public:
  static constexpr std::uint64_t kSpacing = std::uint64_t{16} << 10;
  static constexpr std::size_t kMarksMax = 2048;

  // All records before `offset` have timestamps up to `newest_before`.
  void Note(std::uint64_t offset, std::uint64_t newest_before) {
    if (offset < next_) return;
    next_ = offset + kSpacing;
    absl::MutexLock lock(&mutex_);
    marks_.push_back({newest_before, offset});
    if (marks_.size() <= kMarksMax) return;
    // Every second of the older half goes.
    std::vector<Mark> kept;
    for (std::size_t i = 0; i < marks_.size(); ++i) {
      if (i >= marks_.size() / 2 || i % 2 == 0) kept.push_back(marks_[i]);
    }
    marks_.swap(kept);
  }

  void Reset() {
    next_ = 0;
    absl::MutexLock lock(&mutex_);
    marks_.clear();
  }

  // Whatever was committed after `timestamp` lies at or behind the offset returned; 0: anywhere.
  std::uint64_t Seek(std::uint64_t timestamp) const {
    absl::MutexLock lock(&mutex_);
    const auto after = std::upper_bound(
        marks_.begin(), marks_.end(), timestamp,
        [](std::uint64_t value, const Mark& mark) { return value < mark.newest_before; });
    return after == marks_.begin() ? 0 : (after - 1)->offset;
  }

 private:
  struct Mark {
    std::uint64_t newest_before;
    std::uint64_t offset;
  };

  std::uint64_t next_ = 0;  // the writer's
  mutable absl::Mutex mutex_;
  std::vector<Mark> marks_ ABSL_GUARDED_BY(mutex_);  // in order
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_LOG_MARKS_H_
