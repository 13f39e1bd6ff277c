// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "tools/bench/latencies.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace alos::bench {
namespace {

TEST(Latencies, NoneHaveNoPercentile) {
  Latencies latencies;
  EXPECT_EQ(latencies.Percentile(0.5), 0U);
  EXPECT_EQ(latencies.count(), 0U);
}

TEST(Latencies, SmallDurationsAreExact) {
  Latencies latencies;
  for (std::uint64_t value = 0; value < 32; ++value) latencies.Add(value);
  EXPECT_EQ(latencies.Percentile(0.5), 15U);
  EXPECT_EQ(latencies.Percentile(1.0), 31U);
  EXPECT_EQ(latencies.max_nanoseconds(), 31U);
}

TEST(Latencies, LargestDurationIsKeptExactly) {
  Latencies latencies;
  latencies.Add(UINT64_MAX);
  EXPECT_EQ(latencies.Percentile(1.0), UINT64_MAX);
}

// Against sorting: never below the true percentile, at most 1/32 above.
TEST(Latencies, PercentilesAreWithinABucketOfTheTruth) {
  std::mt19937_64 random(42);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::uint64_t> values(1 + random() % 2000);
    for (std::uint64_t& value : values) value = random() >> (random() % 60);
    Latencies first;
    Latencies second;
    for (std::uint64_t value : values) (random() % 2 == 0 ? first : second).Add(value);
    first.Merge(second);
    std::sort(values.begin(), values.end());
    ASSERT_EQ(first.count(), values.size());
    for (const double fraction : {0.01, 0.5, 0.9, 0.99, 1.0}) {
      const double rank = fraction * static_cast<double>(values.size());
      std::size_t index = static_cast<std::size_t>(rank);
      if (static_cast<double>(index) < rank) ++index;
      const std::uint64_t truth = values[std::max<std::size_t>(index, 1) - 1];
      EXPECT_GE(first.Percentile(fraction), truth);
      EXPECT_LE(first.Percentile(fraction) - truth, truth / 32 + 1);
    }
  }
}

}  // namespace
}  // namespace alos::bench
