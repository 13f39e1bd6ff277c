// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// One request through a session and the engine, without sockets: what the server does between a
// read and a write. 1,000 documents of about 300 bytes. Run with: ./bazelw run -c opt
// //plugins/protocol/alos:alos_protocol_benchmark

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/net/frame.h"
#include "alos/net/message.h"
#include "alos/net/protocol.h"
#include "alos/net/secure_channel.h"
#include "benchmark/benchmark.h"
#include "plugin/ciphers.h"
#include "plugin/protocol.h"
#include "plugins/protocol/alos/alos_protocol.h"

namespace alos {
namespace {

using TestProtocol = plugin::Protocol<Engine>;
constexpr int kDocuments = 1'000;

std::string Id(int number) { return absl::StrCat("document_", number, std::string(40, 'x')); }

std::string Document(const std::string& id) {
  std::string document;
  Builder(&document)
      .StartDocument()
      .Key("_id")
      .String(id)
      .Key("text")
      .String(std::string(220, 't'))
      .EndDocument();
  return document;
}

std::string Frame(Operation operation, std::string_view args) {
  SecureChannel<plugin::Ciphers> plain;
  std::string frame;
  const std::size_t start = BeginFrame(plain, &frame);
  AppendRequest({.id = 1, .operation = operation, .collection = "c"}, ValueView::FromTrusted(args),
                &frame);
  EndFrame(plain, start, &frame);
  return frame;
}

class Fixture {
 public:
  Fixture()
      : path_(std::filesystem::temp_directory_path() /
              absl::StrCat("alos_protocol_benchmark_", ::getpid())) {
    EngineOptions options;
    options.data_path = path_.string();
    options.shards = 16;
    engine_ = *Engine::Open(options);
    protocol_ = std::make_unique<TestProtocol>(engine_.get(), AlosProtocolOptions());
    session_ = protocol_->NewSession();
  }
  ~Fixture() {
    session_ = nullptr;
    protocol_ = nullptr;
    engine_->Close().IgnoreError();
    std::filesystem::remove_all(path_);
  }
  // The size of the answer.
  std::size_t Ask(std::string_view frame) {
    const absl::Span<char> room = session_->Prepare();
    std::memcpy(room.data(), frame.data(), frame.size());
    session_->Commit(frame.size());
    output_.clear();
    while (session_->Advance(&output_) == SessionStep::kWork) session_->Work(&output_);
    return output_.size();
  }

 private:
  std::filesystem::path path_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<TestProtocol> protocol_;
  std::unique_ptr<TestProtocol::Session> session_;
  std::string output_;
};

void BM_FindById(benchmark::State& state) {
  Fixture fixture;
  std::vector<std::string> frames;
  for (int i = 0; i < kDocuments; ++i) {
    fixture.Ask(Frame(Operation::kInsertOne, Document(Id(i))));
    std::string args;
    Builder(&args).StartDocument().Key("id").String(Id(i)).EndDocument();
    frames.push_back(Frame(Operation::kFindById, args));
  }
  std::uint64_t next = 0, bytes = 0;
  for (auto _ : state) {
    next = (next * 6364136223846793005u + 1442695040888963407u);
    bytes += fixture.Ask(frames[(next >> 33) % kDocuments]);
  }
  if (bytes < static_cast<std::uint64_t>(state.iterations()) * 290)
    state.SkipWithError("documents are missing");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_FindById);

void BM_InsertOne(benchmark::State& state) {
  Fixture fixture;
  int next = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const std::string frame = Frame(Operation::kInsertOne, Document(Id(next++)));
    state.ResumeTiming();
    if (fixture.Ask(frame) > 120) state.SkipWithError("not inserted");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_InsertOne);

void BM_BadRequest(benchmark::State& state) {
  Fixture fixture;
  const std::string frame = Frame(static_cast<Operation>(99), "\x80");
  for (auto _ : state) benchmark::DoNotOptimize(fixture.Ask(frame));
}
BENCHMARK(BM_BadRequest);

}  // namespace
}  // namespace alos
