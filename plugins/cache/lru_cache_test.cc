// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugins/cache/lru_cache.h"

#include <malloc.h>

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "testing/conformance/cache_conformance.h"

namespace alos {
namespace {

struct LruUnderTest {
  using CacheType = LruCache;
  static constexpr bool kKeepsSomething = true;
};
INSTANTIATE_TYPED_TEST_SUITE_P(Lru, CacheConformance, LruUnderTest);

bool Has(LruCache& cache, std::uint64_t key) {
  return cache.Lookup(key, [](std::string_view) {});
}

// Documents of 400 bytes, of which exactly `count` fit.
class LruCacheTest : public testing::Test {
 protected:
  static std::string Document() { return std::string(400, 'x'); }
  static std::unique_ptr<LruCache> CacheFor(std::size_t count) {
    LruCache probe(1 << 20);
    probe.Insert(0, Document());
    return std::make_unique<LruCache>(count * probe.used_bytes());
  }
};

TEST_F(LruCacheTest, TheLeastRecentlyUsedGoesFirst) {
  auto cache = CacheFor(3);
  for (const std::uint64_t key : {1, 2, 3}) cache->Insert(key, Document());
  EXPECT_TRUE(Has(*cache, 1));  // Now 2 is the oldest.
  cache->Insert(4, Document());
  EXPECT_FALSE(Has(*cache, 2));
  EXPECT_TRUE(Has(*cache, 3));  // Now 1 is.
  cache->Insert(5, Document());
  EXPECT_FALSE(Has(*cache, 1));
  EXPECT_TRUE(Has(*cache, 3) && Has(*cache, 4) && Has(*cache, 5));
  EXPECT_EQ(cache->statistics().evictions, 2u);
  EXPECT_EQ(cache->statistics().entries, 3u);
}

TEST_F(LruCacheTest, ReplacingCountsAsUse) {
  auto cache = CacheFor(2);
  cache->Insert(1, Document());
  cache->Insert(2, Document());
  cache->Insert(1, Document());
  cache->Insert(3, Document());
  EXPECT_TRUE(Has(*cache, 1));
  EXPECT_FALSE(Has(*cache, 2));
  EXPECT_EQ(cache->statistics().evictions, 1u) << "a replaced document is not an evicted one";
}

TEST_F(LruCacheTest, OneLargeDocumentDisplacesSeveral) {
  auto cache = CacheFor(4);
  for (const std::uint64_t key : {1, 2, 3, 4}) cache->Insert(key, Document());
  cache->Insert(5, std::string(1200, 'y'));
  EXPECT_FALSE(Has(*cache, 1) || Has(*cache, 2) || Has(*cache, 3));
  EXPECT_TRUE(Has(*cache, 4) && Has(*cache, 5));
}

TEST_F(LruCacheTest, ErasingGivesTheRoomBack) {
  auto cache = CacheFor(2);
  cache->Insert(1, Document());
  cache->Insert(2, Document());
  cache->Erase(1);
  cache->Insert(3, Document());
  EXPECT_TRUE(Has(*cache, 2) && Has(*cache, 3));
  cache->Erase(2);
  cache->Erase(3);
  EXPECT_EQ(cache->used_bytes(), 0u);
}

TEST_F(LruCacheTest, SpareRoomOfAStringIsNotKept) {
  LruCache cache(1 << 20);
  std::string document = "small";
  document.reserve(100'000);
  cache.Insert(1, std::move(document));
  EXPECT_LT(cache.used_bytes(), 1000u);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// The budget is a promise about memory: what the allocator gives out must be about what is
// accounted.
TEST_F(LruCacheTest, AccountsForTheMemoryItTakes) {
  for (const std::size_t document_bytes : {0, 10, 100, 1000}) {
    constexpr std::size_t kBudget = 8 << 20;
    const std::size_t before = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
    LruCache cache(kBudget);
    for (std::uint64_t key = 0; key < 120'000; ++key) {
      cache.Insert(key, std::string(document_bytes, 'x'));
    }
    const std::size_t taken = ::mallinfo2().uordblks + ::mallinfo2().hblkhd - before;
    EXPECT_GT(cache.used_bytes(), kBudget * 9 / 10);
    EXPECT_LT(taken, kBudget * 11 / 10) << document_bytes;
    EXPECT_GT(taken, kBudget / 2) << document_bytes;
  }
}
#endif

}  // namespace
}  // namespace alos
