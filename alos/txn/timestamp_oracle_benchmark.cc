// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A timestamp taken and installed: what async durability adds to every write.
//
//   ./bazelw run -c opt //alos/txn:timestamp_oracle_benchmark

#include "alos/txn/timestamp_oracle.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

void BM_AllocateAndInstall(benchmark::State& state) {
  static TimestampOracle oracle(0);
  for (auto _ : state) oracle.Install(oracle.Allocate());
}
BENCHMARK(BM_AllocateAndInstall)->Threads(1)->Threads(2);

}  // namespace
}  // namespace alos
