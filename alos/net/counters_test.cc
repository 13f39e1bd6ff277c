// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/counters.h"

#include <set>
#include <string_view>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace alos {
namespace {

TEST(NetCountersTest, SumsOverMoreThreadsThanSlots) {
  NetCounters counters;
  std::vector<std::thread> threads;
  for (int i = 0; i < 40; ++i) {
    threads.emplace_back([&counters] {
      for (int j = 0; j < 1000; ++j) counters.Add(NetCounter::kRequests);
      counters.Add(NetCounter::kBytesSent, 5);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counters.Get(NetCounter::kRequests), 40000u);
  EXPECT_EQ(counters.Get(NetCounter::kBytesSent), 200u);
  EXPECT_EQ(counters.Get(NetCounter::kErrors), 0u);
}

TEST(NetCountersTest, NamesDiffer) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kNetCounterCount; ++i) {
    names.insert(NetCounterName(static_cast<NetCounter>(i)));
  }
  EXPECT_EQ(names.size(), kNetCounterCount);
  EXPECT_EQ(names.count(""), 0u);
}

}  // namespace
}  // namespace alos
