// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Readers never wait: how long reads take while nobody else is at work, and beside a writer, a
// compaction, builds of an index and checkpoints of what they read, all in one shard; and what the
// writer has of the reader. The reader has one core, all others, the engine's own threads included,
// another. "A writer elsewhere" writes to another database, and so shows what two cores of this
// machine take from each other by themselves. Each round measures everything once, and the reads
// alone again before each; the figures are medians over the rounds, so is the longest of a round.
//
// Reads are by id, by an index with one match, and by id in a transaction that begins and ends with
// it, a millisecond of each in turn, of 20,000 documents of 300 bytes. Async mode; the files are on
// TEST_TMPDIR or /tmp: say what disk that is.
//
// A find by an index also reads, from the logs, what was committed since the indexes followed them
// last, some milliseconds ago: beside a writer that is what it takes, and no waiting.
//
//   ./bazelw run -c opt //alos/engine:reader_latency_benchmark -- --benchmark_filter=/7/

#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "alos/index/index_definition.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kDocuments = 20'000;

// Two cores that we may use; fewer when there are not so many.
std::vector<int> Cores() {
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE && cores.size() < 2; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  }
  return cores;
}
// Keeps this thread, and those that it makes, on one core.
void StayOn(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  sched_setaffinity(0, sizeof cores, &cores);
}

std::string MakeDocument(std::uint64_t number) {
  std::string text(200, ' ');
  std::uint64_t random = number * 0x9E3779B97F4A7C15u + 1;
  for (char& c : text) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>('!' + (random >> 58));
  }
  std::string bytes;
  Builder(&bytes)
      .StartDocument()
      .Key("_id")
      .String(absl::StrCat("document", number))
      .Key("key")
      .Uint(number)
      .Key("n")
      .Int(0)
      .Key("text")
      .String(text)
      .EndDocument();
  return bytes;
}
Filter Where(std::string_view field, const std::string& value) {
  std::string bytes;
  Builder(&bytes).StartDocument().Key(field).Raw(ValueView::FromTrusted(value)).EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}

// Nanoseconds, to 1 %. Its memory is all there from the beginning.
class Histogram {
 public:
  void Add(std::uint64_t nanoseconds) {
    ++counts_[Place(nanoseconds)];
    ++count_;
    longest_ = std::max(longest_, nanoseconds);
  }
  double Percentile(double part) const {
    std::uint64_t left = static_cast<std::uint64_t>(part * static_cast<double>(count_));
    for (std::size_t place = 0; place < counts_.size(); ++place) {
      if (counts_[place] > left) return Value(place);
      left -= counts_[place];
    }
    return static_cast<double>(longest_);
  }
  double longest() const { return static_cast<double>(longest_); }
  std::uint64_t count() const { return count_; }

 private:
  static constexpr int kBits = 7;
  static std::size_t Place(std::uint64_t value) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - kBits - 1);
    return static_cast<std::size_t>((static_cast<std::uint64_t>(shift) << kBits) +
                                    (value >> shift));
  }
  static double Value(std::size_t place) {
    if (place < (std::size_t{2} << kBits)) return static_cast<double>(place);
    const std::size_t shift = (place >> kBits) - 1;
    return static_cast<double>((place - (shift << kBits)) << shift);
  }

  std::array<std::uint64_t, 48 << kBits> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t longest_ = 0;
};

constexpr std::array<const char*, 3> kReads = {"by `_id`", "by an index", "in a transaction"};
using Histograms = std::array<Histogram, kReads.size()>;

// Reads all the time, on a core of its own, and notes how long that takes while it is asked to.
class Reader {
 public:
  Reader(Engine::Database* database, int core)
      : database_(database), thread_([this, core] { Work(core); }) {}
  ~Reader() {
    stop_ = true;
    pause_ = false;
    pause_.notify_all();
    thread_.join();
  }
  // While it rests it takes no time of anybody.
  void Rest(bool rest) {
    pause_ = rest;
    pause_.notify_all();
  }
  // Into which: nullptr: none. What is under way when this changes is not noted.
  void Note(Histograms* histograms) {
    into_.store(histograms);
    if (histograms != nullptr) return;
    // It may be noting something: a read later it is not any more.
    const std::uint64_t reads = reads_.load();
    while (!pause_ && reads_.load() < reads + 2) std::this_thread::yield();
  }
  std::uint64_t errors() const { return errors_; }

 private:
  void Work(int core) {
    StayOn(core);
    std::vector<std::string> ids;
    std::vector<Filter> filters;
    for (std::uint64_t i = 0; i < kDocuments; ++i) {
      ids.push_back(EncodeStringId(absl::StrCat("document", i)));
      std::string key;
      Builder(&key).Uint(i);
      filters.push_back(Where("key", key));
    }
    std::uint64_t number = 0;
    for (std::size_t which = 0; !stop_; which = (which + 1) % kReads.size()) {
      pause_.wait(true);
      // Each kind has the same time, however long one takes.
      for (const auto end = Clock::now() + std::chrono::milliseconds(1); Clock::now() < end;) {
        number = (number + 7919) % kDocuments;
        Time(which, [&] { return Read(which, ids[number], filters[number]); });
        reads_.fetch_add(1, std::memory_order_relaxed);
      }
    }
  }
  bool Read(std::size_t which, const std::string& id, const Filter& filter) {
    if (which == 0) return *database_->FindById("c", id, [](ValueView) {});
    if (which == 2) {
      const auto transaction = database_->BeginTransaction();
      return *transaction->FindById("c", id, [](ValueView) {});
    }
    bool found = false;
    FindQuery query;
    query.filter = &filter;
    const absl::Status status =
        database_->Find("c", query, [&](ValueView) { return found = true; });
    return status.ok() && found;
  }
  template <class Do>
  void Time(std::size_t which, Do&& read) {
    Histograms* const into = into_.load(std::memory_order_acquire);
    const auto begin = Clock::now();
    const bool found = read();
    const auto end = Clock::now();
    if (!found) ++errors_;
    if (into != nullptr && into == into_.load(std::memory_order_acquire))
      (*into)[which].Add(static_cast<std::uint64_t>((end - begin).count()));
  }

  Engine::Database* const database_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> pause_{false};
  std::atomic<Histograms*> into_{nullptr};
  std::atomic<std::uint64_t> reads_{0};
  std::atomic<std::uint64_t> errors_{0};
  std::thread thread_;
};

// Changes one document after the other.
class Writer {
 public:
  explicit Writer(Engine::Database* database) : database_(database) {
    std::string change;
    Builder(&change)
        .StartDocument()
        .Key("$inc")
        .StartDocument()
        .Key("n")
        .Int(1)
        .EndDocument()
        .EndDocument();
    update_ = *Update::Compile(ValueView::FromTrusted(change));
    for (std::uint64_t i = 0; i < kDocuments; ++i) {
      std::string id;
      Builder(&id).String(absl::StrCat("document", i));
      filters_.push_back(Where("_id", id));
      written_ += database_->InsertOne("c", ValueView::FromTrusted(MakeDocument(i))).ok();
    }
  }
  void Write(std::uint64_t documents) {
    for (; documents > 0; --documents) {
      written_ += database_->UpdateOne("c", filters_[number_++ % kDocuments], *update_).ok();
    }
  }
  // Returns how many.
  std::uint64_t WriteFor(Clock::duration time) {
    const std::uint64_t before = written_;
    for (const auto end = Clock::now() + time; Clock::now() < end;) Write(64);
    return written_ - before;
  }

 private:
  Engine::Database* const database_;
  std::optional<Update> update_;
  std::vector<Filter> filters_;
  std::uint64_t number_ = 0;
  std::uint64_t written_ = 0;
};

double Median(std::vector<double> of) {
  if (of.empty()) return 0;
  std::nth_element(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2), of.end());
  return of[of.size() / 2];
}

// What goes on beside the reads: `prepare` is not measured.
struct Disturbance {
  const char* name;
  std::function<void()> prepare;
  std::function<void(Clock::duration)> disturb;
};

// Of one kind of reads beside one disturbance, a value of each round.
struct Figures {
  std::vector<double> p50, p99, p999, longest, ratio_p50, ratio_p99;
};

// Arguments: rounds, and milliseconds of each measurement.
void BM_Readers(benchmark::State& state) {
  const std::vector<int> cores = Cores();
  if (cores.size() < 2) {
    state.SkipWithError("needs two cores");
    return;
  }
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  StayOn(cores[1]);
  const auto time = std::chrono::milliseconds(state.range(1));
  std::string remove;
  for (auto _ : state) {
    const char* directory = std::getenv("TEST_TMPDIR");
    EngineOptions options;
    options.data_path =
        absl::StrCat(directory != nullptr ? directory : "/tmp", "/alos_reader_latency");
    options.shards = 1;
    options.history_retention = absl::ZeroDuration();
    options.compaction = false;
    options.automatic_indexes = false;
    options.unstored_index_rows_max = 1000;
    std::filesystem::remove_all(options.data_path);
    auto engine = *Engine::Open(options);
    Engine::Database* const database = *engine->GetOrCreateDatabase("here");
    Writer writer(database);
    Writer elsewhere(*engine->GetOrCreateDatabase("elsewhere"));
    const auto index = [](const char* path) {
      IndexDefinition definition;
      definition.paths = {path};
      return definition;
    };
    bool ok = database->CreateIndex("c", index("key")).ok();
    const auto settle = [&] {
      ok &= database->WaitForIndexes("c").ok() && database->Flush().ok() &&
            database->Compact().ok() && database->WaitForIndexes("c").ok();
      absl::SleepFor(absl::Milliseconds(20));
    };
    const auto write = [&](std::uint64_t documents) {
      writer.Write(documents);
      ok &= database->WaitForIndexes("c").ok();
    };
    const std::vector<Disturbance> disturbances = {
        {"a writer", [] {}, [&](Clock::duration left) { writer.WriteFor(left); }},
        {"a writer elsewhere", [] {}, [&](Clock::duration left) { elsewhere.WriteFor(left); }},
        {"a compaction", [&] { write(2 * kDocuments); },
         [&](Clock::duration) { ok &= database->Compact().ok(); }},
        {"builds of an index", [] {},
         [&](Clock::duration) {
           ok &= database->CreateIndex("c", index("text")).ok() &&
                 database->DropIndex("c", "text").ok();
         }},
        {"checkpoints", [&] { write(2000); },
         [&](Clock::duration) { ok &= database->Checkpoint().ok(); }},
    };
    Reader reader(database, cores[0]);
    absl::SleepFor(absl::Milliseconds(200));
    std::vector<std::array<Figures, kReads.size()>> figures(disturbances.size() + 1);
    std::vector<double> rates[2];
    const auto note = [](const Histogram& found, const Histogram& alone, Figures* into) {
      if (found.count() == 0 || alone.count() == 0) return;  // had no turn in so short a time
      into->p50.push_back(found.Percentile(0.5));
      into->p99.push_back(found.Percentile(0.99));
      into->p999.push_back(found.Percentile(0.999));
      into->longest.push_back(found.longest());
      into->ratio_p50.push_back(found.Percentile(0.5) / std::max(alone.Percentile(0.5), 1.0));
      into->ratio_p99.push_back(found.Percentile(0.99) / std::max(alone.Percentile(0.99), 1.0));
    };
    for (std::int64_t round = 0; round < state.range(0); ++round) {
      for (std::size_t i = 0; i < disturbances.size(); ++i) {
        const Disturbance& disturbance = disturbances[i];
        settle();
        const auto alone = std::make_unique<Histograms>();
        reader.Note(alone.get());
        std::this_thread::sleep_for(time);
        reader.Note(nullptr);
        const auto beside = std::make_unique<Histograms>();
        Clock::duration disturbed{};
        while (disturbed < time) {
          disturbance.prepare();
          const auto begin = Clock::now();
          reader.Note(beside.get());
          disturbance.disturb(time - disturbed);
          reader.Note(nullptr);
          disturbed += Clock::now() - begin;
        }
        for (std::size_t read = 0; read < kReads.size(); ++read) {
          note((*alone)[read], (*alone)[read], &figures[0][read]);
          note((*beside)[read], (*alone)[read], &figures[i + 1][read]);
        }
      }
      for (const bool rests : {true, false}) {
        settle();
        reader.Rest(rests);
        rates[rests ? 0 : 1].push_back(static_cast<double>(writer.WriteFor(time)) /
                                       std::chrono::duration<double>(time).count());
        reader.Rest(false);
      }
    }
    if (!ok || reader.errors() != 0) state.SkipWithError("something failed");
    std::printf(
        "| read | beside | p50 us | p99 us | p99.9 us | longest us | p50 x | p99 x |\n"
        "|---|---|---|---|---|---|---|---|\n");
    for (std::size_t read = 0; read < kReads.size(); ++read) {
      for (std::size_t i = 0; i < figures.size(); ++i) {
        const Figures& one = figures[i][read];
        std::printf("| %s | %s | %.2f | %.2f | %.2f | %.0f | ", kReads[read],
                    i == 0 ? "nothing" : disturbances[i - 1].name, Median(one.p50) / 1000,
                    Median(one.p99) / 1000, Median(one.p999) / 1000, Median(one.longest) / 1000);
        if (i == 0) {
          std::printf("| |\n");
        } else {
          std::printf("%.2f | %.2f |\n", Median(one.ratio_p50), Median(one.ratio_p99));
          if (i == 1) state.counters[absl::StrCat("p99_ratio_", read)] = Median(one.ratio_p99);
        }
      }
    }
    std::printf("\nwrites a second without and with the reader: %.0f, %.0f (x %.2f)\n",
                Median(rates[0]), Median(rates[1]), Median(rates[1]) / Median(rates[0]));
    std::fflush(stdout);
    remove = options.data_path;
  }
  std::filesystem::remove_all(remove);
  sched_setaffinity(0, sizeof before, &before);
}
BENCHMARK(BM_Readers)
    ->Args({1, 20})
    ->Args({7, 700})
    ->Iterations(1)
    ->UseRealTime()
    ->Unit(benchmark::kSecond);

}  // namespace
}  // namespace alos
