// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C of buffers that are in the cache: the instruction's rate, not the memory's. Each size is
// run with what Crc32c() chooses, with one stream, and with the portable code, so that the choice
// can be judged. 300 bytes is a usual document, 64 a small frame.
//
//   bazel run -c opt //alos/base:crc32c_benchmark

#include <cstddef>
#include <string>

#include "alos/base/crc32c.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

void Run(benchmark::State& state, base_internal::Crc32cFunction function) {
  const std::string data(static_cast<std::size_t>(state.range(0)), 'x');
  std::uint32_t crc = ~0u;
  for (auto _ : state) {
    // Each call depends on the one before, as the checks of a log's records do not: the latency
    // shows.
    crc = function(crc, data.data(), data.size());
    benchmark::DoNotOptimize(crc);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void BM_Crc32cChosen(benchmark::State& state) { Run(state, base_internal::FastestCrc32c()); }
void BM_Crc32cPortable(benchmark::State& state) { Run(state, &base_internal::Crc32cPortable); }
BENCHMARK(BM_Crc32cChosen)->Arg(64)->Arg(128)->Arg(192)->Arg(300)->Arg(4096)->Arg(1 << 20);
BENCHMARK(BM_Crc32cPortable)->Arg(64)->Arg(300)->Arg(4096)->Arg(1 << 20);

#if defined(__x86_64__)
void BM_Crc32cOneStream(benchmark::State& state) {
  if (!__builtin_cpu_supports("sse4.2")) return state.SkipWithError("no SSE4.2");
  Run(state, &base_internal::Crc32cSse42);
}
BENCHMARK(BM_Crc32cOneStream)->Arg(64)->Arg(128)->Arg(192)->Arg(300)->Arg(4096)->Arg(1 << 20);
#endif

}  // namespace
}  // namespace alos
