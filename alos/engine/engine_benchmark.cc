// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The engine embedded, without network: point operations on 300-byte documents in async mode, the
// default codec. The files are on TEST_TMPDIR or /tmp and flushed in the background.
//
//   ./bazelw run -c opt //alos/engine:engine_benchmark

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

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

}  // namespace
}  // namespace alos
