// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What every Cache must do, as tests. To run one through it:
//
//   struct MyCacheUnderTest {
//     using CacheType = MyCache;
//     static constexpr bool kKeepsSomething = true;  // false only for a cache that is none
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, CacheConformance, MyCacheUnderTest);

#ifndef ALOS_TESTING_CONFORMANCE_CACHE_CONFORMANCE_H_
#define ALOS_TESTING_CONFORMANCE_CACHE_CONFORMANCE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "alos/cache/cache.h"
#include "gtest/gtest.h"

namespace alos {

template <class UnderTest>
class CacheConformance : public testing::Test {
 protected:
  using CacheType = typename UnderTest::CacheType;
  static_assert(CheckCache<CacheType>());
  static constexpr bool kKeepsSomething = UnderTest::kKeepsSomething;
  static constexpr std::size_t kRoomy = 1 << 20;

  static std::optional<std::string> Find(CacheType& cache, std::uint64_t key) {
    std::optional<std::string> found;
    const bool hit =
        cache.Lookup(key, [&](std::string_view document) { found = std::string(document); });
    EXPECT_EQ(hit, found.has_value()) << "true if and only if the visitor was called";
    return found;
  }
  // A document that shows its key and version in every part.
  static std::string Document(std::uint64_t key, std::uint64_t version, std::size_t size) {
    std::string text;
    while (text.size() < size) text += std::to_string(key) + ":" + std::to_string(version) + " ";
    text.resize(size);
    return text;
  }
};

TYPED_TEST_SUITE_P(CacheConformance);

TYPED_TEST_P(CacheConformance, FindsWhatWasInsertedLast) {
  typename TestFixture::CacheType cache(TestFixture::kRoomy);
  EXPECT_EQ(this->Find(cache, 1), std::nullopt);
  cache.Insert(1, "one");
  cache.Insert(2, "");
  if (TestFixture::kKeepsSomething) {
    EXPECT_EQ(this->Find(cache, 1), "one");
    EXPECT_EQ(this->Find(cache, 2), "");
  }
  cache.Insert(1, "another one");
  EXPECT_NE(this->Find(cache, 1), "one");
  if (TestFixture::kKeepsSomething) {
    EXPECT_EQ(this->Find(cache, 1), "another one");
  }
}

TYPED_TEST_P(CacheConformance, ErasedKeysAreNotFound) {
  typename TestFixture::CacheType cache(TestFixture::kRoomy);
  cache.Erase(1);
  cache.Insert(1, "one");
  cache.Erase(1);
  EXPECT_EQ(this->Find(cache, 1), std::nullopt);
  EXPECT_EQ(cache.statistics().entries, 0u);
}

TYPED_TEST_P(CacheConformance, ExtremeKeysAreKeys) {
  typename TestFixture::CacheType cache(TestFixture::kRoomy);
  for (const std::uint64_t key : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    EXPECT_EQ(this->Find(cache, key), std::nullopt);
    cache.Insert(key, "x");
    if (TestFixture::kKeepsSomething) {
      EXPECT_EQ(this->Find(cache, key), "x");
    }
  }
}

TYPED_TEST_P(CacheConformance, WithoutABudgetNothingIsKept) {
  typename TestFixture::CacheType cache(0);
  cache.Insert(1, "one");
  cache.Insert(2, "");
  EXPECT_EQ(this->Find(cache, 1), std::nullopt);
  EXPECT_EQ(this->Find(cache, 2), std::nullopt);
  EXPECT_EQ(cache.used_bytes(), 0u);
}

TYPED_TEST_P(CacheConformance, WhatIsTooLargeIsNotKeptAndHidesNothingOld) {
  typename TestFixture::CacheType cache(10'000);
  cache.Insert(1, "old");
  cache.Insert(1, std::string(20'000, 'n'));
  EXPECT_EQ(this->Find(cache, 1), std::nullopt);
  EXPECT_LE(cache.used_bytes(), 10'000u);
}

TYPED_TEST_P(CacheConformance, EntriesCountMoreThanTheirDocuments) {
  typename TestFixture::CacheType cache(TestFixture::kRoomy);
  for (std::uint64_t key = 0; key < 100'000; ++key) cache.Insert(key, "");
  const CacheStatistics statistics = cache.statistics();
  EXPECT_LE(cache.used_bytes(), TestFixture::kRoomy);
  // A table of 64-bit keys and pointers alone takes 16 bytes for each.
  EXPECT_LE(statistics.entries * 16, TestFixture::kRoomy);
  if (TestFixture::kKeepsSomething) {
    EXPECT_GT(statistics.entries, 0u);
  }
}

TYPED_TEST_P(CacheConformance, AgreesWithAModelWithinItsBudget) {
  constexpr std::size_t kBudget = 50'000;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    typename TestFixture::CacheType cache(kBudget);
    std::map<std::uint64_t, std::string> model;
    std::uint64_t hits = 0;
    std::uint64_t lookups = 0;
    for (std::uint64_t step = 0; step < 10'000; ++step) {
      const std::uint64_t key = random() % 300;
      switch (random() % 4) {
        case 0:
        case 1: {
          ++lookups;
          const std::optional<std::string> found = this->Find(cache, key);
          if (!found.has_value()) break;
          ++hits;
          ASSERT_TRUE(model.contains(key)) << "found after it was erased";
          ASSERT_EQ(*found, model[key]);
          break;
        }
        case 2: {
          // Mostly small; now and then larger than the whole budget.
          const std::size_t size = random() % 500 == 0 ? kBudget * 2 : random() % 1000;
          model[key] = this->Document(key, step, size);
          cache.Insert(key, model[key]);
          break;
        }
        case 3:
          if (random() % 4 == 0) {
            model.erase(key);
            cache.Erase(key);
          }
          break;
      }
      ASSERT_LE(cache.used_bytes(), kBudget);
      ASSERT_LE(cache.statistics().entries, model.size());
    }
    EXPECT_EQ(cache.statistics().hits, hits);
    EXPECT_EQ(cache.statistics().misses, lookups - hits);
    if (TestFixture::kKeepsSomething) {
      EXPECT_GT(hits, 0u);
    }
  }
}

TYPED_TEST_P(CacheConformance, AVisitorMayUseTheCacheAndKeepsItsBytes) {
  typename TestFixture::CacheType cache(5'000);
  const std::string document = this->Document(1, 1, 500);
  cache.Insert(1, document);
  const bool hit = cache.Lookup(1, [&](std::string_view bytes) {
    cache.Erase(1);
    EXPECT_EQ(this->Find(cache, 1), std::nullopt);
    for (std::uint64_t key = 2; key < 100; ++key) cache.Insert(key, std::string(500, 'x'));
    cache.Insert(1, "replaced");
    EXPECT_EQ(bytes, document) << "gone while it was visited";
  });
  EXPECT_EQ(hit, TestFixture::kKeepsSomething);
  EXPECT_NE(this->Find(cache, 1), document);
}

TYPED_TEST_P(CacheConformance, ThreadsSeeWholeDocumentsOfTheRightKey) {
  typename TestFixture::CacheType cache(40'000);
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> hits{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (std::uint64_t i = 0; i < 10'000; ++i) {
        const std::uint64_t key = random() % 200;
        const std::uint64_t what = random() % 8;
        if (what == 0) {
          cache.Erase(key);
        } else if (what <= 2) {
          cache.Insert(key, this->Document(key, 1, 300));
        } else {
          cache.Lookup(key, [&](std::string_view document) {
            ++hits;
            if (document != this->Document(key, 1, 300)) ++wrong;
          });
        }
        if (cache.used_bytes() > 40'000) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_EQ(cache.statistics().hits, hits.load());
}

REGISTER_TYPED_TEST_SUITE_P(CacheConformance, FindsWhatWasInsertedLast, ErasedKeysAreNotFound,
                            ExtremeKeysAreKeys, WithoutABudgetNothingIsKept,
                            WhatIsTooLargeIsNotKeptAndHidesNothingOld,
                            EntriesCountMoreThanTheirDocuments, AgreesWithAModelWithinItsBudget,
                            AVisitorMayUseTheCacheAndKeepsItsBytes,
                            ThreadsSeeWholeDocumentsOfTheRightKey);

}  // namespace alos

#endif  // ALOS_TESTING_CONFORMANCE_CACHE_CONFORMANCE_H_
