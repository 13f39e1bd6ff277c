// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Lookups in and additions to the primary index alone; the record that a real lookup compares the
// id with is another cache miss, which is not in these figures.
//
//   ./bazelw run -c opt //alos/index:primary_index_benchmark

#include <cstdint>

#include "alos/index/primary_index.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

std::uint64_t Hash(std::uint64_t key) { return key * 0x9E3779B97F4A7C15u; }

void BM_Find(benchmark::State& state) {
  EpochManager epochs;
  PrimaryIndex index(&epochs);
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  for (std::uint64_t key = 1; key <= keys; ++key) {
    index.Put(Hash(key), 0, key * 8, [](std::uint64_t offset) { return Hash(offset / 8); });
  }
  std::uint64_t key = 0;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    key = (key + 0x9E3779B1) % keys + 1;
    const auto guard = epochs.Enter();
    sum += index.Find(Hash(key), [&](std::uint64_t offset) { return offset == key * 8; });
  }
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(BM_Find)->Arg(4096)->Arg(65536)->Arg(1 << 20);

void BM_Put(benchmark::State& state) {
  EpochManager epochs;
  PrimaryIndex index(&epochs);
  std::uint64_t key = 0;
  for (auto _ : state) {
    ++key;
    index.Put(Hash(key), 0, key * 8, [](std::uint64_t offset) { return Hash(offset / 8); });
  }
}
BENCHMARK(BM_Put);

}  // namespace
}  // namespace alos
