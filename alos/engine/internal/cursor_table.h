// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What is left of the results of queries that are read in batches, where those were found through
// an index: the places of the documents.

#ifndef ALOS_ENGINE_INTERNAL_CURSOR_TABLE_H_
#define ALOS_ENGINE_INTERNAL_CURSOR_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/index/segment.h"

namespace alos::engine_internal {

// The documents of one query, in order. Records never move, so their places stay good.
struct ResultList {
  std::uint32_t collection = 0;
  std::vector<RowLocation> locations;
};

// Threads: all members, any. Durability: none: the cursors of an engine end with it. A cursor that
// is not used for ten minutes ends, and the one unused for longest when all together hold too much.
class CursorTable {
 public:
  static constexpr absl::Duration kIdleMax = absl::Minutes(10);
  static constexpr std::size_t kLocationsMax = std::size_t{1} << 24;  // of all: 128 MiB

  std::uint64_t Add(std::shared_ptr<const ResultList> list) {
    absl::MutexLock lock(&mutex_);
    locations_ += list->locations.size();
    const std::uint64_t id = next_id_++;
    lists_[id] = {std::move(list), absl::Now()};
    while (locations_ > kLocationsMax && lists_.size() > 1) RemoveOldest(id);
    return id;
  }

  // nullptr when it has ended.
  std::shared_ptr<const ResultList> Find(std::uint64_t id) {
    absl::MutexLock lock(&mutex_);
    const auto found = lists_.find(id);
    if (found == lists_.end()) return nullptr;
    found->second.last_use = absl::Now();
    return found->second.list;
  }

  void Remove(std::uint64_t id) {
    absl::MutexLock lock(&mutex_);
    RemoveLocked(id);
  }

  // Ends what has been idle for too long.
  void Expire() {
    absl::MutexLock lock(&mutex_);
    const absl::Time oldest = absl::Now() - kIdleMax;
    for (auto at = lists_.begin(); at != lists_.end();) {
      const auto next = std::next(at);
      if (at->second.last_use < oldest) RemoveLocked(at->first);
      at = next;
    }
  }

 private:
  struct Entry {
    std::shared_ptr<const ResultList> list;
    absl::Time last_use;
  };

  void RemoveLocked(std::uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = lists_.find(id);
    if (found == lists_.end()) return;
    locations_ -= found->second.list->locations.size();
    lists_.erase(found);
  }

  void RemoveOldest(std::uint64_t other_than) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::uint64_t oldest = 0;
    absl::Time last_use = absl::InfiniteFuture();
    for (const auto& [id, entry] : lists_) {
      if (id != other_than && entry.last_use < last_use) {
        oldest = id;
        last_use = entry.last_use;
      }
    }
    RemoveLocked(oldest);
  }

  absl::Mutex mutex_;
  absl::flat_hash_map<std::uint64_t, Entry> lists_ ABSL_GUARDED_BY(mutex_);
  std::size_t locations_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_CURSOR_TABLE_H_
