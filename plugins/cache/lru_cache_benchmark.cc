// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// One shard's cache with documents of 300 bytes: hits, misses, and inserts that evict. Keys are
// drawn at random from more entries than the second-level cache holds, so a hit includes the cache
// misses of the processor. Two threads on one instance are the worst case: a server has 256 of
// them.
//
//   bazel run -c opt //plugins/cache:lru_cache_benchmark

#include <cstdint>
#include <memory>
#include <string>

#include "benchmark/benchmark.h"
#include "plugins/cache/lru_cache.h"

namespace alos {
namespace {

constexpr std::size_t kBudgetBytes = 2 << 20;  // --cache-mb 512 over 256 shards.
constexpr std::uint64_t kKeys = 4000;
constexpr std::size_t kDocumentBytes = 300;

// Cheap enough not to be what is measured.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint64_t Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return state_ >> 33;
  }

 private:
  std::uint64_t state_;
};

LruCache& FullCache() {
  static LruCache& cache = *[] {
    auto* const made = new LruCache(kBudgetBytes);
    for (std::uint64_t key = 0; key < kKeys; ++key) {
      made->Insert(key, std::string(kDocumentBytes, 'x'));
    }
    return made;
  }();
  return cache;
}

void BM_LruHit(benchmark::State& state) {
  LruCache& cache = FullCache();
  Random random(static_cast<std::uint64_t>(state.thread_index()));
  std::size_t sum = 0;
  for (auto _ : state) {
    cache.Lookup(random.Next() % kKeys, [&](std::string_view document) { sum += document[7]; });
  }
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(BM_LruHit)->Threads(1)->Threads(2)->UseRealTime();

void BM_LruMiss(benchmark::State& state) {
  LruCache& cache = FullCache();
  Random random(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(cache.Lookup(kKeys + random.Next(), [](std::string_view) {}));
  }
}
BENCHMARK(BM_LruMiss);

void BM_LruInsertEvicting(benchmark::State& state) {
  LruCache cache(kBudgetBytes);
  const std::string document(kDocumentBytes, 'x');
  std::uint64_t key = 0;
  for (auto _ : state) cache.Insert(key++ * 320, document);
}
BENCHMARK(BM_LruInsertEvicting);

}  // namespace
}  // namespace alos
