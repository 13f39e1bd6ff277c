// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The cost of an append to a shard log in the page cache, and of checking a record that is read. It
// says nothing about disks: the file is on whatever TEST_TMPDIR or /tmp is, and is never flushed.
//
//   ./bazelw run -c opt //alos/storage:shard_log_benchmark

#include <cstdint>
#include <cstdlib>
#include <string>

#include "alos/base/posix_file_system.h"
#include "alos/storage/shard_log.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

using Log = BasicShardLog<PosixFileSystem>;

std::string BenchmarkPath() {
  const char* directory = std::getenv("TEST_TMPDIR");
  return std::string(directory != nullptr ? directory : "/tmp") + "/shard_log_benchmark.db";
}

void BM_Append(benchmark::State& state) {
  PosixFileSystem files;
  EpochManager epochs;
  auto log = Log::Create(files, BenchmarkPath(), {}, 1, &epochs);
  const std::string body(static_cast<std::size_t>(state.range(0)), 'x');
  std::uint64_t timestamp = 0;
  for (auto _ : state) {
    RecordHeader header{};
    header.kind = RecordKind::kPut;
    auto prepared = (*log)->Prepare(header,
                                    "\xb8"
                                    "012345678901234567890123",
                                    body, Crc32c(body));
    if (!prepared.ok()) {
      state.SkipWithError(std::string(prepared.status().message()).c_str());
      break;
    }
    (*log)->Seal(*prepared, ++timestamp);
    (*log)->Publish();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  std::remove(BenchmarkPath().c_str());
}
BENCHMARK(BM_Append)->Arg(64)->Arg(300)->Arg(4096);

void BM_CheckRecord(benchmark::State& state) {
  PosixFileSystem files;
  EpochManager epochs;
  auto log = Log::Create(files, BenchmarkPath(), {}, 1, &epochs);
  const std::string body(static_cast<std::size_t>(state.range(0)), 'x');
  RecordHeader header{};
  header.kind = RecordKind::kPut;
  auto prepared = (*log)->Prepare(header,
                                  "\xb8"
                                  "012345678901234567890123",
                                  body, Crc32c(body));
  (*log)->Seal(*prepared, 1);
  (*log)->Publish();
  for (auto _ : state) {
    const RecordState found = CheckRecord((*log)->At(prepared->offset),
                                          (*log)->end() - prepared->offset, 1, prepared->offset);
    if (found != RecordState::kValid) state.SkipWithError("the record is not valid");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  std::remove(BenchmarkPath().c_str());
}
BENCHMARK(BM_CheckRecord)->Arg(64)->Arg(300)->Arg(4096);

}  // namespace
}  // namespace alos
