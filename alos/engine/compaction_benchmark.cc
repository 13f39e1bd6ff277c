// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compaction of one shard of which half is stale, every second document of 1,000 bytes deleted, in
// async mode, as fast as it goes; and what a client that reads and writes the same shard meanwhile
// has of it, beside what it has before. The files are on TEST_TMPDIR or /tmp: say what disk that
// is. It does not tell what the index follower does when the documents are indexed.
//
//   ./bazelw run -c opt //alos/engine:compaction_benchmark

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

constexpr std::size_t kDocumentBytes = 1000;

std::string Document(std::uint64_t number, std::uint64_t version) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id").String(absl::StrCat("document", number));
  std::string text(kDocumentBytes - 40, ' ');
  std::uint64_t random = number * 0x9E3779B97F4A7C15u + version;
  for (char& c : text) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(random >> 56);
  }
  builder.Key("text").Binary(text);
  builder.EndDocument();
  return bytes;
}
Filter WhereId(std::uint64_t number) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id").String(absl::StrCat("document", number));
  builder.EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}

// One client: reads by id and, every fourth time, a document replaced. Odd numbers are there.
class Client {
 public:
  Client(Engine::Database* database, std::uint64_t count)
      : database_(database), count_(count), thread_([this] { Work(); }) {}
  ~Client() {
    stop_.store(true);
    thread_.join();
  }
  void Count(bool during) { during_.store(during); }
  // Call after the end.
  static double Percentile(std::vector<double>& of, double part) {
    if (of.empty()) return 0;
    const auto at = static_cast<std::size_t>(part * static_cast<double>(of.size() - 1));
    std::nth_element(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(at), of.end());
    return of[at];
  }
  void Stop() { stop_.store(true); }

  std::vector<double> reads[2];  // microseconds; of before, and of during
  std::vector<double> writes[2];

 private:
  void Work() {
    std::mt19937_64 random(1);
    std::uint64_t version = 1;
    while (!stop_.load(std::memory_order_relaxed)) {
      const std::uint64_t number = random() % (count_ / 2) * 2 + 1;
      const bool is_write = random() % 4 == 0;
      const std::string document = is_write ? Document(number, ++version) : "";
      const int during = during_.load(std::memory_order_relaxed) ? 1 : 0;
      const std::int64_t begin = absl::GetCurrentTimeNanos();
      if (is_write) {
        benchmark::DoNotOptimize(database_->UpdateOne(
            "c", WhereId(number), *Update::Compile(ValueView::FromTrusted(document))));
      } else {
        benchmark::DoNotOptimize(
            database_->FindById("c", EncodeStringId(absl::StrCat("document", number)),
                                [](ValueView found) { benchmark::DoNotOptimize(found); }));
      }
      const double microseconds = static_cast<double>(absl::GetCurrentTimeNanos() - begin) / 1000.0;
      (is_write ? writes : reads)[during].push_back(microseconds);
    }
  }

  Engine::Database* const database_;
  const std::uint64_t count_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> during_{false};
  std::thread thread_;
};

// Arguments: the size of the log in MiB, whether a client works meanwhile, and the rate in MiB/s.
void BM_Compact(benchmark::State& state) {
  const auto count =
      static_cast<std::uint64_t>(state.range(0)) * (std::uint64_t{1} << 20) / kDocumentBytes;
  for (auto _ : state) {
    const char* directory = std::getenv("TEST_TMPDIR");
    EngineOptions options;
    options.data_path = absl::StrCat(directory != nullptr ? directory : "/tmp", "/alos_compaction");
    options.shards = 1;
    options.history_retention = absl::ZeroDuration();
    options.compaction = false;
    options.compaction_rate_bytes = static_cast<std::uint64_t>(state.range(2)) << 20;
    std::filesystem::remove_all(options.data_path);
    auto engine = *Engine::Open(options);
    Engine::Database* const database = *engine->GetOrCreateDatabase("benchmark");
    for (std::uint64_t number = 0; number < count; ++number) {
      if (!database->InsertOne("c", ValueView::FromTrusted(Document(number, 0))).ok())
        state.SkipWithError("insert failed");
    }
    for (std::uint64_t number = 0; number < count; number += 2) {
      if (!database->DeleteOne("c", WhereId(number)).ok()) state.SkipWithError("delete failed");
    }
    if (!database->Checkpoint().ok()) state.SkipWithError("checkpoint failed");
    std::unique_ptr<Client> client;
    if (state.range(1) != 0) {
      client = std::make_unique<Client>(database, count);
      absl::SleepFor(absl::Seconds(2));
      client->Count(true);
    }
    const absl::Time begin = absl::Now();
    const auto compacted = database->Compact(absl::Minutes(1));
    state.SetIterationTime(absl::ToDoubleSeconds(absl::Now() - begin));
    if (!compacted.ok() || compacted->waiting_shards != 0) {
      state.SkipWithError("compaction failed");
      continue;
    }
    state.counters["moved_MiB"] = static_cast<double>(compacted->bytes_moved >> 20);
    state.counters["back_MiB"] = static_cast<double>(compacted->bytes_back >> 20);
    const std::string stats = database->Stats();
    state.counters["longest_pause_us"] =
        static_cast<double>(ValueView::FromTrusted(stats)
                                .Find("compaction")
                                ->Find("longest_pause_microseconds")
                                ->ToInt64()
                                .value_or(-1));
    if (client != nullptr) {
      client->Stop();
      absl::SleepFor(absl::Milliseconds(100));
      const std::string names[2] = {"before", "during"};
      for (int when = 0; when < 2; ++when) {
        state.counters[absl::StrCat("read_p99_us_", names[when])] =
            Client::Percentile(client->reads[when], 0.99);
        state.counters[absl::StrCat("write_p99_us_", names[when])] =
            Client::Percentile(client->writes[when], 0.99);
        state.counters[absl::StrCat("write_max_us_", names[when])] =
            Client::Percentile(client->writes[when], 1);
      }
      client.reset();
    }
    engine.reset();
    std::filesystem::remove_all(options.data_path);
  }
}
BENCHMARK(BM_Compact)
    ->Args({16, 1, 0})
    ->Args({1024, 0, 0})
    ->Args({1024, 1, 0})
    ->Args({1024, 1, 256})
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace alos
