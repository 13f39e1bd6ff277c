// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a read pays for protection: entering and leaving, alone and from several threads, beside
// what it would pay for the alternatives (a shared_mutex, a shared_ptr's count). Threads beyond the
// number of cores measure the scheduler too. Retire is measured with a deleter that does nothing;
// what the real ones cost comes on top.
//
//   bazel run -c opt //alos/base:epoch_benchmark

#include <atomic>
#include <memory>
#include <shared_mutex>

#include "alos/base/epoch.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

EpochManager& Manager() {
  static EpochManager& manager = *new EpochManager;
  return manager;
}

void BM_EpochEnterLeave(benchmark::State& state) {
  EpochManager& manager = Manager();
  for (auto _ : state) {
    const EpochGuard guard(manager);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_EpochEnterLeave)->Threads(1)->Threads(2)->UseRealTime();

void BM_EpochEnterLeaveNested(benchmark::State& state) {
  EpochManager& manager = Manager();
  const EpochGuard outer(manager);
  for (auto _ : state) {
    const EpochGuard guard(manager);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_EpochEnterLeaveNested);

void BM_SharedMutexLockUnlock(benchmark::State& state) {
  static std::shared_mutex mutex;
  for (auto _ : state) {
    const std::shared_lock lock(mutex);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_SharedMutexLockUnlock)->Threads(1)->Threads(2)->UseRealTime();

void BM_SharedPointerCopy(benchmark::State& state) {
  static const std::shared_ptr<int> pointer = std::make_shared<int>(1);
  for (auto _ : state) {
    const std::shared_ptr<int> copy = pointer;
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_SharedPointerCopy)->Threads(1)->Threads(2)->UseRealTime();

void BM_EpochRetire(benchmark::State& state) {
  EpochManager manager;
  std::uint64_t runs = 0;
  for (auto _ : state) manager.Retire([&runs] { ++runs; });
  manager.Collect();
  benchmark::DoNotOptimize(runs);
}
BENCHMARK(BM_EpochRetire);

// As above with a reader that never leaves: the amortised cost must stay of the same order.
void BM_EpochRetireWithStuckReader(benchmark::State& state) {
  EpochManager manager;
  std::uint64_t runs = 0;
  {
    const EpochGuard stuck(manager);
    for (auto _ : state) manager.Retire([&runs] { ++runs; });
  }
  benchmark::DoNotOptimize(runs);
}
BENCHMARK(BM_EpochRetireWithStuckReader)->Iterations(100'000);

}  // namespace
}  // namespace alos
