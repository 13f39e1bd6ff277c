// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The concept. What the messages of CheckCache look like to the author of a plugin is tested by
// compiling bad ones: see testing/plugins.

#include "alos/cache/cache.h"

#include "gtest/gtest.h"

namespace alos {
namespace {

struct Good {
  static constexpr std::string_view kName = "good";
  explicit Good(std::size_t) {}
  bool Lookup(std::uint64_t, absl::FunctionRef<void(std::string_view)>) { return false; }
  void Insert(std::uint64_t, std::string) {}
  void Erase(std::uint64_t) {}
  std::size_t used_bytes() const { return 0; }
  CacheStatistics statistics() const { return {}; }
};

struct WithoutName : Good {
  using Good::Good;
  static constexpr int kName = 1;
};
struct WithoutBudget : Good {
  WithoutBudget() : Good(0) {}
};
struct LookupReturnsBytes : Good {
  using Good::Good;
  std::string Lookup(std::uint64_t key);
};
struct InsertCanFail : Good {
  using Good::Good;
  bool Insert(std::uint64_t, std::string);
};
struct StatisticsChangeIt : Good {
  using Good::Good;
  CacheStatistics statistics();
};

TEST(CacheConceptTest, AGoodCacheSatisfiesIt) {
  EXPECT_TRUE(Cache<Good>);
  EXPECT_TRUE(CheckCache<Good>());
}

TEST(CacheConceptTest, BadCachesDoNot) {
  EXPECT_FALSE(Cache<int>);
  EXPECT_FALSE(Cache<WithoutName>);
  EXPECT_FALSE(Cache<WithoutBudget>);
  EXPECT_FALSE(Cache<LookupReturnsBytes>);
  EXPECT_FALSE(Cache<InsertCanFail>);
  EXPECT_FALSE(Cache<StatisticsChangeIt>);
}

}  // namespace
}  // namespace alos
