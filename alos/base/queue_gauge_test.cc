// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/queue_gauge.h"

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "alos/base/log.h"
#include "alos/base/rate_limiter.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

class Lines {
 public:
  Lines() {
    SetLogSinkForTest([this](LogLevel, std::string_view line) { lines_.emplace_back(line); });
  }
  ~Lines() { SetLogSinkForTest({}); }
  const std::vector<std::string>& all() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

TEST(QueueGauge, WarnsOnceAtFourFifths) {
  Lines lines;
  QueueGauge gauge("things", 100, "fewer things would help");
  gauge.Add(79);
  EXPECT_TRUE(lines.all().empty());
  EXPECT_FALSE(gauge.is_nearly_full());
  gauge.Add(1);
  ASSERT_EQ(lines.all().size(), 1U);
  EXPECT_NE(lines.all()[0].find("'things' is at 80 of 100: fewer things would help"),
            std::string::npos);
  gauge.Remove(5);
  gauge.Add(25);
  EXPECT_TRUE(gauge.is_full());
  EXPECT_EQ(lines.all().size(), 1U);
  // Half empty in between, but within the minute.
  gauge.Set(10);
  gauge.Set(90);
  EXPECT_EQ(lines.all().size(), 1U);
  const QueueStatistics statistics = gauge.statistics();
  EXPECT_EQ(statistics.depth, 90U);
  EXPECT_EQ(statistics.bound, 100U);
  EXPECT_EQ(statistics.high_water, 100U);
  EXPECT_EQ(statistics.warnings, 1U);
}

TEST(QueueGauge, NothingIsAddedBeyondTheBoundByWhoAsks) {
  Lines lines;
  QueueGauge gauge("things", 100, "");
  EXPECT_TRUE(gauge.TryAdd(70));
  EXPECT_FALSE(gauge.TryAdd(31));
  EXPECT_EQ(gauge.depth(), 70U);
  EXPECT_EQ(lines.all().size(), 1U) << "somebody was refused";
  EXPECT_TRUE(gauge.TryAdd(30));
  EXPECT_TRUE(gauge.TryAdd(0));
  EXPECT_FALSE(gauge.TryAdd(1));
  gauge.Add(5);
  EXPECT_FALSE(gauge.TryAdd(1));
  gauge.Remove(105);
  std::vector<std::thread> threads;
  std::atomic<int> added{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) added += gauge.TryAdd(3);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(added, 33);
  EXPECT_EQ(gauge.depth(), 99U);
  QueueGauge boundless("things", 0, "");
  EXPECT_TRUE(boundless.TryAdd(std::uint64_t{1} << 62));
}

TEST(QueueGauge, WithoutABoundItOnlyCounts) {
  Lines lines;
  QueueGauge gauge("waiters", 0, "");
  gauge.Add(1'000'000);
  EXPECT_FALSE(gauge.is_full());
  EXPECT_FALSE(gauge.is_nearly_full());
  gauge.Remove(1'000'000);
  EXPECT_EQ(gauge.statistics().high_water, 1'000'000U);
  EXPECT_TRUE(lines.all().empty());
}

TEST(RateLimiter, TurnsAreEvenlySpacedWhoeverWaits) {
  RateLimiter limiter(1000);
  const RateLimiter::Time first = limiter.Reserve(1);
  RateLimiter::Time last = first;
  // What was not used before may come at once: ten milliseconds of it.
  for (int i = 1; i <= 100; ++i) {
    const RateLimiter::Time turn = limiter.Reserve(1);
    EXPECT_GE(turn - last, std::chrono::microseconds(0));
    EXPECT_LE(turn - last, std::chrono::microseconds(1001));
    last = turn;
  }
  EXPECT_GE(last - first, std::chrono::milliseconds(99));
  EXPECT_EQ(RateLimiter(0).Reserve(1'000'000), RateLimiter::Time());
}

TEST(RateLimiter, WhatWasReservedIsNotWaitedForAgain) {
  RateLimiter limiter(1);
  limiter.Reserve(1000);  // the next turn is in 1000 s
  const RateLimiter::Reserved reserved(3);
  limiter.Acquire(2);
  limiter.Acquire(1);
  SUCCEED();
}

}  // namespace
}  // namespace alos
