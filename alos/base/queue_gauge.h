// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// How full a queue is: for statistics, and for one line in the log before those who fill it have to
// wait.

#ifndef ALOS_BASE_QUEUE_GAUGE_H_
#define ALOS_BASE_QUEUE_GAUGE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>

#include "alos/base/atomics.h"
#include "alos/base/log.h"

namespace alos {

// As it stands in statistics.
struct QueueStatistics {
  std::string_view name;
  std::uint64_t depth = 0;
  std::uint64_t bound = 0;  // 0: by construction, such as by the number of threads
  std::uint64_t high_water = 0;
  std::uint64_t warnings = 0;
};

// Counts; who fills the queue waits by itself while it is_full().
//
// The log has a line when the queue is 80 % full, and another one only when it has been half empty
// in between, and no sooner than a minute later.
//
// Threads: all members, any, but SetBound: before the queue is used. Lifetime: name and advice
// outlive it. Errors: none. Cost: an atomic addition, or a store, and two loads.
template <class Atomics>
class BasicQueueGauge {
 public:
  // `advice`: the end of the line in the log: what waits, and what to do about it.
  BasicQueueGauge(std::string_view name, std::uint64_t bound, std::string_view advice)
      : name_(name), advice_(advice) {
    SetBound(bound);
  }
  BasicQueueGauge(const BasicQueueGauge&) = delete;
  BasicQueueGauge& operator=(const BasicQueueGauge&) = delete;

  void SetBound(std::uint64_t bound) {
    bound_ = bound;
    warn_at_ = bound == 0 ? std::numeric_limits<std::uint64_t>::max() : bound - bound / 5;
  }

  void Add(std::uint64_t count) {
    Note(depth_.fetch_add(count, std::memory_order_relaxed) + count);
  }
  // The same if there is room for so many; else false, which counts as being full.
  bool TryAdd(std::uint64_t count) {
    std::uint64_t depth = depth_.load(std::memory_order_relaxed);
    do {
      if (bound_ != 0 && (depth > bound_ || count > bound_ - depth)) [[unlikely]] {
        Warn(depth);
        return false;
      }
    } while (!depth_.compare_exchange_weak(depth, depth + count, std::memory_order_relaxed));
    Note(depth + count);
    return true;
  }
  void Remove(std::uint64_t count) {
    Calm(depth_.fetch_sub(count, std::memory_order_relaxed) - count);
  }
  // For a queue whose depth is known to who changes it, one at a time.
  void Set(std::uint64_t depth) {
    depth_.store(depth, std::memory_order_relaxed);
    Note(depth);
    Calm(depth);
  }

  std::uint64_t depth() const { return depth_.load(std::memory_order_relaxed); }
  bool is_full() const { return bound_ != 0 && depth() >= bound_; }
  bool is_nearly_full() const { return depth() >= warn_at_; }

  QueueStatistics statistics() const {
    return {name_, depth(), bound_, high_water_.load(std::memory_order_relaxed),
            warnings_.load(std::memory_order_relaxed)};
  }

 private:
  template <class T>
  using Atomic = typename Atomics::template Atomic<T>;
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kQuiet{60};

  void Note(std::uint64_t depth) {
    std::uint64_t high = high_water_.load(std::memory_order_relaxed);
    while (depth > high &&
           !high_water_.compare_exchange_weak(high, depth, std::memory_order_relaxed)) {
    }
    if (depth >= warn_at_) [[unlikely]]
      Warn(depth);
  }

  void Calm(std::uint64_t depth) {
    if (depth <= bound_ / 2 && is_warned_.load(std::memory_order_relaxed)) [[unlikely]]
      is_warned_.store(false, std::memory_order_relaxed);
  }

  void Warn(std::uint64_t depth) {
    if (is_warned_.exchange(true, std::memory_order_relaxed)) return;
    const std::int64_t now =
        std::chrono::duration_cast<std::chrono::seconds>(Clock::now().time_since_epoch()).count();
    std::int64_t last = last_warning_.load(std::memory_order_relaxed);
    if (last != 0 && now - last < kQuiet.count()) return;
    if (!last_warning_.compare_exchange_strong(last, now, std::memory_order_relaxed)) return;
    warnings_.fetch_add(1, std::memory_order_relaxed);
    ALOS_LOG(kWarning) << "queue '" << name_ << "' is at " << depth << " of " << bound_ << ": "
                       << advice_;
  }

  const std::string_view name_;
  const std::string_view advice_;
  std::uint64_t bound_ = 0;
  std::uint64_t warn_at_ = 0;
  Atomic<std::uint64_t> depth_{0};
  Atomic<std::uint64_t> high_water_{0};
  Atomic<std::uint64_t> warnings_{0};
  Atomic<bool> is_warned_{false};
  Atomic<std::int64_t> last_warning_{0};  // seconds of the steady clock
};

using QueueGauge = BasicQueueGauge<StdAtomics>;

}  // namespace alos

#endif  // ALOS_BASE_QUEUE_GAUGE_H_
