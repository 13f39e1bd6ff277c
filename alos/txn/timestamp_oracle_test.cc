// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/txn/timestamp_oracle.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace alos {
namespace {

TEST(TimestampOracleTest, VisibleWaitsForTheOldest) {
  TimestampOracle oracle(10);
  EXPECT_EQ(oracle.visible(), 10u);
  const std::uint64_t a = oracle.Allocate();
  const std::uint64_t b = oracle.Allocate();
  const std::uint64_t c = oracle.Allocate();
  EXPECT_EQ(a, 11u);
  oracle.Install(b);
  EXPECT_EQ(oracle.visible(), 10u);
  oracle.Install(c);
  EXPECT_EQ(oracle.visible(), 10u);
  oracle.Install(a);
  EXPECT_EQ(oracle.visible(), 13u);
  EXPECT_EQ(oracle.newest(), 13u);
}

TEST(TimestampOracleTest, MoreThanAWindowOfTimestamps) {
  TimestampOracle oracle(0);
  for (int i = 0; i < 10000; ++i) oracle.Install(oracle.Allocate());
  EXPECT_EQ(oracle.visible(), 10000u);
}

// Whatever the interleaving: nothing is visible that is not installed, and nothing is left behind.
TEST(TimestampOracleTest, ConcurrentCommitsAllBecomeVisibleInOrder) {
  constexpr std::uint64_t kThreads = 3;
  constexpr std::uint64_t kCommits = 20000;
  TimestampOracle oracle(0);
  std::vector<std::atomic<bool>> installed(kThreads * kCommits + 1);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (std::uint64_t j = 0; j < kCommits; ++j) {
        const std::uint64_t timestamp = oracle.Allocate();
        installed[timestamp].store(true, std::memory_order_relaxed);
        oracle.Install(timestamp);
        const std::uint64_t visible = oracle.visible();
        ASSERT_TRUE(visible == 0 || installed[visible].load(std::memory_order_relaxed));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(oracle.visible(), kThreads * kCommits);
}

}  // namespace
}  // namespace alos
