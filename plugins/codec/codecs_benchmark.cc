// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compressing and decompressing one JSON-like document in the cache, per codec and size. The ratio
// counter is stored/raw bytes. Says nothing about what compression saves in reads from a disk.
//
//   bazel run -c opt //plugins/codec:codecs_benchmark

#include <random>
#include <string>

#include "alos/base/check.h"
#include "benchmark/benchmark.h"
#include "plugin/codecs.h"

namespace alos {
namespace {

std::string Document(std::size_t size) {
  std::mt19937_64 random(1);
  std::string text;
  while (text.size() < size) {
    text += "{\"id\":" + std::to_string(random()) +
            ",\"city\":\"Leipzig\",\"delay\":" + std::to_string(random() % 100) + "},";
  }
  text.resize(size);
  return text;
}

template <class Codec>
void BM_Compress(benchmark::State& state) {
  const std::string raw = Document(static_cast<std::size_t>(state.range(0)));
  std::string out(Codec::BoundBytes(raw.size()), '\0');
  std::size_t size = 0;
  for (auto _ : state) size = Codec::Compress(raw, absl::MakeSpan(out)).value();
  state.SetBytesProcessed(state.iterations() * state.range(0));
  state.counters["ratio"] = static_cast<double>(size) / static_cast<double>(raw.size());
}

template <class Codec>
void BM_Decompress(benchmark::State& state) {
  const std::string raw = Document(static_cast<std::size_t>(state.range(0)));
  std::string stored(Codec::BoundBytes(raw.size()), '\0');
  stored.resize(Codec::Compress(raw, absl::MakeSpan(stored)).value());
  std::string back(raw.size(), '\0');
  for (auto _ : state) ALOS_CHECK_OK(Codec::Decompress(stored, absl::MakeSpan(back)));
  ALOS_CHECK(back == raw);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK_TEMPLATE(BM_Compress, NoneCodec)->Arg(300)->Arg(4096)->Arg(1 << 20);
BENCHMARK_TEMPLATE(BM_Compress, Lz4Codec)->Arg(300)->Arg(4096)->Arg(1 << 20);
BENCHMARK_TEMPLATE(BM_Compress, ZstdCodec)->Arg(300)->Arg(4096)->Arg(1 << 20);
BENCHMARK_TEMPLATE(BM_Decompress, NoneCodec)->Arg(300)->Arg(4096)->Arg(1 << 20);
BENCHMARK_TEMPLATE(BM_Decompress, Lz4Codec)->Arg(300)->Arg(4096)->Arg(1 << 20);
BENCHMARK_TEMPLATE(BM_Decompress, ZstdCodec)->Arg(300)->Arg(4096)->Arg(1 << 20);

}  // namespace
}  // namespace alos
