// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Sealing and opening frames of 300 bytes and 64 KiB: AEGIS-128L (machine instructions, portable)
// beside AES-256-GCM. It says nothing about a connection's throughput, where system calls dominate.
// Run with: ./bazelw run -c opt //plugins/cipher/aegis_128l:aegis_128l_benchmark

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "plugins/cipher/aegis_128l/aegis_128l.h"
#include "plugins/cipher/aes_256_gcm/aes_256_gcm.h"

namespace alos {
namespace {

struct Portable : Aegis128lCipher {
  explicit Portable(absl::Span<const std::uint8_t> key)
      : Aegis128lCipher(key, Implementation::kPortable) {}
};

template <class C>
void BM_Seal(benchmark::State& state) {
  const std::vector<std::uint8_t> key(C::kKeyBytes, 7);
  C cipher(key);
  std::string frame(C::kHeaderBytes + state.range(0) + C::kTagBytes, 'x');
  std::uint64_t counter = 0;
  for (auto _ : state) {
    cipher.Seal(++counter, absl::MakeSpan(frame));
    benchmark::DoNotOptimize(frame.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

template <class C>
void BM_Open(benchmark::State& state) {
  const std::vector<std::uint8_t> key(C::kKeyBytes, 7);
  C cipher(key);
  std::string sealed(C::kHeaderBytes + state.range(0) + C::kTagBytes, 'x');
  cipher.Seal(1, absl::MakeSpan(sealed));
  std::string frame = sealed;
  for (auto _ : state) {
    frame.assign(sealed);  // Open works in place; the copy is a small part of the time
    if (!cipher.Open(absl::MakeSpan(frame)).has_value()) state.SkipWithError("not authentic");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK_TEMPLATE(BM_Seal, Aegis128lCipher)->Arg(300)->Arg(65536);
BENCHMARK_TEMPLATE(BM_Open, Aegis128lCipher)->Arg(300)->Arg(65536);
BENCHMARK_TEMPLATE(BM_Seal, Aes256GcmCipher)->Arg(300)->Arg(65536);
BENCHMARK_TEMPLATE(BM_Open, Aes256GcmCipher)->Arg(300)->Arg(65536);
BENCHMARK_TEMPLATE(BM_Seal, Portable)->Arg(300)->Arg(65536);

}  // namespace
}  // namespace alos
