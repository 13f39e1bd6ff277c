// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugins/cache/none_cache.h"

#include "gtest/gtest.h"
#include "testing/conformance/cache_conformance.h"

namespace alos {
namespace {

struct NoneUnderTest {
  using CacheType = NoneCache;
  static constexpr bool kKeepsSomething = false;
};
INSTANTIATE_TYPED_TEST_SUITE_P(None, CacheConformance, NoneUnderTest);

TEST(NoneCacheTest, KeepsNothingAndCountsMisses) {
  NoneCache cache(1 << 20);
  cache.Insert(1, "one");
  EXPECT_FALSE(cache.Lookup(1, [](std::string_view) { FAIL(); }));
  EXPECT_EQ(cache.statistics().misses, 1u);
  EXPECT_EQ(cache.used_bytes(), 0u);
}

}  // namespace
}  // namespace alos
