// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The engine embedded, without network: point operations on 300-byte documents in async mode, the
// default codec. The files are on TEST_TMPDIR or /tmp and flushed in the background.
//
//   ./bazelw run -c opt //alos/engine:engine_benchmark

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

class Store {
 public:
  Store() {
    const char* directory = std::getenv("TEST_TMPDIR");
    options_.data_path =
        absl::StrCat(directory != nullptr ? directory : "/tmp", "/engine_benchmark");
    std::filesystem::remove_all(options_.data_path);
    engine_ = *Engine::Open(options_);
    database_ = *engine_->GetOrCreateDatabase("benchmark");
  }
  ~Store() {
    engine_.reset();
    std::filesystem::remove_all(options_.data_path);
  }
  Engine::Database& database() { return *database_; }

 private:
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  Engine::Database* database_;
};

std::string MakeDocument(std::uint64_t number) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(absl::StrCat("document", number));
  builder.Key("text");
  std::string text(250, ' ');
  std::uint64_t random = number * 0x9E3779B97F4A7C15u + 1;
  for (char& c : text) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>('!' + (random >> 58));
  }
  builder.String(text);
  builder.EndDocument();
  return bytes;
}

void BM_InsertOne(benchmark::State& state) {
  Store store;
  std::uint64_t number = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const std::string document = MakeDocument(++number);
    state.ResumeTiming();
    if (!store.database().InsertOne("c", ValueView::FromTrusted(document)).ok())
      state.SkipWithError("insert failed");
  }
}
BENCHMARK(BM_InsertOne);

void BM_FindById(benchmark::State& state) {
  Store store;
  const auto count = static_cast<std::uint64_t>(state.range(0));
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string document = MakeDocument(i);
    if (!store.database().InsertOne("c", ValueView::FromTrusted(document)).ok())
      state.SkipWithError("insert failed");
  }
  std::uint64_t number = 0;
  std::size_t bytes = 0;
  for (auto _ : state) {
    number = (number + 0x9E3779B1) % count;
    const std::string id = EncodeStringId(absl::StrCat("document", number));
    auto found = store.database().FindById(
        "c", id, [&](ValueView document) { bytes += document.bytes().size(); });
    if (!found.ok() || !*found) state.SkipWithError("not found");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(BM_FindById)->Arg(1000)->Arg(100000);

// Readers never wait: the 99th percentile of point reads, alone (0) and beside a writer that does
// nothing else (1), on different cores, of the documents that are read.
void BM_FindByIdBesideAWriter(benchmark::State& state) {
  Store store;
  constexpr std::uint64_t kDocuments = 10'000;
  for (std::uint64_t i = 0; i < kDocuments; ++i) {
    const std::string document = MakeDocument(i);
    if (!store.database().InsertOne("c", ValueView::FromTrusted(document)).ok())
      state.SkipWithError("insert failed");
  }
  const auto pin = [](int core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
  };
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> written{0};
  std::thread writer;
  if (state.range(0) != 0) {
    writer = std::thread([&] {
      pin(1);
      std::string change;
      Builder(&change)
          .StartDocument()
          .Key("$inc")
          .StartDocument()
          .Key("n")
          .Int(1)
          .EndDocument()
          .EndDocument();
      const Update update = *Update::Compile(ValueView::FromTrusted(change));
      for (std::uint64_t i = 0; !stop; ++i) {
        std::string filter;
        Builder(&filter)
            .StartDocument()
            .Key("_id")
            .String(absl::StrCat("document", i % kDocuments))
            .EndDocument();
        written += store.database()
                       .UpdateOne("c", *Filter::Compile(ValueView::FromTrusted(filter)), update)
                       .ok();
      }
    });
  }
  pin(0);
  std::vector<std::uint32_t> nanoseconds;
  std::uint64_t number = 0;
  for (auto _ : state) {
    const std::string id = EncodeStringId(absl::StrCat("document", (number += 7919) % kDocuments));
    const auto begin = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(store.database().FindById("c", id, [](ValueView) {}));
    nanoseconds.push_back(
        static_cast<std::uint32_t>((std::chrono::steady_clock::now() - begin).count()));
  }
  stop = true;
  if (writer.joinable()) writer.join();
  sched_setaffinity(0, sizeof before, &before);
  std::sort(nanoseconds.begin(), nanoseconds.end());
  if (!nanoseconds.empty()) {
    state.counters["p50_ns"] = nanoseconds[nanoseconds.size() / 2];
    state.counters["p99_ns"] = nanoseconds[nanoseconds.size() * 99 / 100];
  }
  state.counters["written"] = static_cast<double>(written.load());
}
BENCHMARK(BM_FindByIdBesideAWriter)->Arg(0)->Arg(1);

}  // namespace
}  // namespace alos
