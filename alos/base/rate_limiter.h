// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Lets so many through in a second, evenly.

#ifndef ALOS_BASE_RATE_LIMITER_H_
#define ALOS_BASE_RATE_LIMITER_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace alos {

// Threads: any number at once; those that must wait do so in the order in which they came, each as
// long as its turn takes: more of them make each wait longer, and nobody is refused. Cost: without
// a limit, a load; else an atomic exchange.
class RateLimiter {
 public:
  // 0: no limit.
  explicit RateLimiter(std::uint64_t per_second)
      : nanoseconds_each_(per_second == 0 ? 0 : 1e9 / static_cast<double>(per_second)) {}
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  bool is_limited() const { return nanoseconds_each_ != 0; }

  using Time = std::chrono::steady_clock::time_point;

  // Returns when `count` more may go.
  void Acquire(std::uint64_t count) {
    if (!is_limited()) return;
    const std::uint64_t had = std::min(reserved_, count);
    reserved_ -= had;
    if (had == count) return;
    const Time turn = Reserve(count - had);
    if (turn > std::chrono::steady_clock::now()) std::this_thread::sleep_until(turn);
  }

  // Takes a turn for `count` without waiting: it may go at the time that is returned. For who has
  // other things to do than to sleep; to be told by Reserved.
  Time Reserve(std::uint64_t count) {
    if (!is_limited()) return Time();
    const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::steady_clock::now().time_since_epoch())
                                 .count();
    const auto cost = static_cast<std::int64_t>(
        std::min(nanoseconds_each_ * static_cast<double>(count), kCostMax));
    std::int64_t turn = next_.load(std::memory_order_relaxed);
    // What was not used is lost, but for a little: else a pause would be followed by a rush.
    while (!next_.compare_exchange_weak(turn, std::max(turn, now - kBurstNanoseconds) + cost,
                                        std::memory_order_relaxed)) {
    }
    return Time(std::chrono::duration_cast<Time::duration>(
        std::chrono::nanoseconds(std::max(turn, now - kBurstNanoseconds))));
  }

  // While it lives, so many of what its thread acquires have had their turn.
  class Reserved {
   public:
    explicit Reserved(std::uint64_t count) : before_(reserved_) { reserved_ = count; }
    ~Reserved() { reserved_ = before_; }
    Reserved(const Reserved&) = delete;
    Reserved& operator=(const Reserved&) = delete;

   private:
    const std::uint64_t before_;
  };

 private:
  static constexpr std::int64_t kBurstNanoseconds = 10'000'000;
  static constexpr double kCostMax = 1e15;

  inline static thread_local std::uint64_t reserved_ = 0;

  const double nanoseconds_each_;
  std::atomic<std::int64_t> next_{0};
};

}  // namespace alos

#endif  // ALOS_BASE_RATE_LIMITER_H_
