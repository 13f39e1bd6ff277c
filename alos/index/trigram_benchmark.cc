// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Text search over a dictionary of chat messages (testing/datasets/chat.h): building the trigram
// index and its size, and searches with and without it. The argument is the number of messages.
//
// All in memory: reading an image from a disk is not in these figures. BM_ScanWithoutTrigrams is to
// be compared with BM_BareRe2, a loop over texts that lie one behind the other.
//
//   ./bazelw run -c opt //alos/index:trigram_benchmark
//   ... -- --benchmark_filter=/4000000
//
// Counters: "chunks" are candidates, "keys" are those examined, "found" those that match, a search.
// "share" is the size of the index as a share of the text.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "alos/base/check.h"
#include "alos/index/column.h"
#include "alos/index/column_builder.h"
#include "alos/index/text_scan.h"
#include "alos/index/trigram_index.h"
#include "alos/index/trigram_query.h"
#include "benchmark/benchmark.h"
#include "re2/re2.h"
#include "testing/datasets/chat.h"

namespace alos {
namespace {

class Lines {
 public:
  explicit Lines(std::uint32_t messages) {
    datasets::ChatOptions options;
    options.documents = messages;
    log_ = std::make_unique<datasets::ChatLog>(options);
    std::vector<std::string> texts;
    texts.reserve(messages);
    for (std::uint32_t i = 0; i < messages; ++i) texts.push_back("\x05" + log_->ContentOf(i));
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    begins_.push_back(0);
    for (std::string& text : texts) {
      bytes_ += text;
      begins_.push_back(bytes_.size());
      std::string().swap(text);
    }
    ColumnBuilder builder(end_code());
    for (std::uint32_t code = 1; code < end_code(); ++code) {
      builder.StartRow();
      builder.AddKey(key(code), false);
    }
    column_image_ = std::move(builder).Finish();
    column_ = *Column::Open(column_image_);
    image_ = TrigramIndex::Build(column_, 1, end_code());
    index_ = std::make_unique<TrigramIndex>(*TrigramIndex::Open(image_));
  }

  std::string_view key(std::uint32_t code) const {
    return std::string_view(bytes_).substr(begins_[code - 1], begins_[code] - begins_[code - 1]);
  }
  std::uint32_t end_code() const { return static_cast<std::uint32_t>(begins_.size()); }
  std::size_t text_bytes() const { return bytes_.size() - (begins_.size() - 1); }
  const Column& column() const { return column_; }
  const TrigramIndex& index() const { return *index_; }
  const datasets::ChatLog& log() const { return *log_; }

 private:
  std::unique_ptr<datasets::ChatLog> log_;
  std::string bytes_;
  std::vector<std::size_t> begins_;
  std::string column_image_;
  Column column_;
  std::string image_;
  std::unique_ptr<TrigramIndex> index_;
};

// Made once per size; the sizes come one after the other.
const Lines& LinesOf(benchmark::State& state) {
  static std::int64_t made = 0;
  static std::unique_ptr<Lines> lines;
  if (made != state.range(0)) {
    lines.reset();
    lines = std::make_unique<Lines>(static_cast<std::uint32_t>(state.range(0)));
    made = state.range(0);
  }
  return *lines;
}

void BM_Build(benchmark::State& state) {
  const Lines& lines = LinesOf(state);
  std::size_t size_bytes = 0;
  for (auto _ : state) {
    const std::string image = TrigramIndex::Build(lines.column(), 1, lines.end_code());
    size_bytes = image.size();
    benchmark::DoNotOptimize(image.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * lines.text_bytes()));
  state.counters["share"] =
      static_cast<double>(size_bytes) / static_cast<double>(lines.text_bytes());
  state.counters["line_bytes"] =
      static_cast<double>(lines.text_bytes()) / static_cast<double>(lines.end_code() - 1);
  state.counters["trigrams"] = lines.index().trigram_count();
}

void BM_Query(benchmark::State& state) {
  const re2::RE2 regex("(?i)(memory|range|index|trigram) (error|warning)s?");
  for (auto _ : state) {
    benchmark::DoNotOptimize(TrigramQuery::FromRegex(regex).node_count());
  }
}

// The chunks alone, without a look at their keys.
void Candidates(benchmark::State& state, const std::string& pattern) {
  const Lines& lines = LinesOf(state);
  const re2::RE2 regex(pattern);
  ALOS_CHECK(regex.ok());
  const TrigramQuery query = TrigramQuery::FromRegex(regex);
  std::uint64_t chunks = 0;
  for (auto _ : state) {
    chunks = 0;
    lines.index().Candidates(query, [&](std::uint32_t) {
      ++chunks;
      return true;
    });
  }
  state.counters["chunks"] = static_cast<double>(chunks);
  state.counters["estimate"] = static_cast<double>(lines.index().EstimateChunks(query));
}

void Scan(benchmark::State& state, const std::string& pattern, std::uint64_t limit,
          bool with_index = true) {
  const Lines& lines = LinesOf(state);
  const re2::RE2 regex(pattern);
  ALOS_CHECK(regex.ok());
  TextScanCounts counts;
  std::uint64_t found = 0;
  for (auto _ : state) {
    found = 0;
    const TextPattern text_pattern(&regex);
    counts = ScanText(lines.column(), with_index ? &lines.index() : nullptr, text_pattern, 1,
                      lines.end_code(), [&](std::uint32_t, bool) { return ++found < limit; });
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * counts.bytes_read));
  state.counters["found"] = static_cast<double>(found);
  state.counters["keys"] = static_cast<double>(counts.keys_examined);
}

constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

// A word by its rank of frequency, of some length: most words of chats are longer than 3 letters.
std::string Word(benchmark::State& state, std::uint32_t rank) {
  const datasets::ChatLog& log = LinesOf(state).log();
  while (log.Word(rank).size() < 6) ++rank;
  return std::string(log.Word(rank));
}
std::string FiveWords(benchmark::State& state) {
  std::string pattern;
  for (const std::uint32_t rank : {30'000u, 35'000u, 40'000u, 45'000u, 48'000u}) {
    if (!pattern.empty()) pattern += "|";
    pattern += Word(state, rank);
  }
  return pattern;
}

void BM_RareWordCandidates(benchmark::State& state) { Candidates(state, Word(state, 45'000)); }
void BM_RareWord(benchmark::State& state) { Scan(state, Word(state, 45'000), kAll); }
void BM_RareWordIgnoringCase(benchmark::State& state) {
  Scan(state, "(?i)" + Word(state, 45'000), kAll);
}
void BM_FiveRareWordsCandidates(benchmark::State& state) { Candidates(state, FiveWords(state)); }
void BM_FiveRareWords(benchmark::State& state) { Scan(state, FiveWords(state), kAll); }
void BM_AbsentWord(benchmark::State& state) { Scan(state, "qxjzvkq", kAll); }
void BM_CommonWordFirst50(benchmark::State& state) { Scan(state, Word(state, 10), 50); }
void BM_MiddlingWordFirst50(benchmark::State& state) { Scan(state, Word(state, 1000), 50); }
void BM_RareWordWithoutIndex(benchmark::State& state) {
  Scan(state, Word(state, 45'000), kAll, false);
}
void BM_ScanWithoutTrigrams(benchmark::State& state) { Scan(state, "[0-9]{5}", kAll); }

void BM_BareRe2(benchmark::State& state) {
  const Lines& lines = LinesOf(state);
  const re2::RE2 regex("[0-9]{5}");
  std::uint64_t found = 0;
  for (auto _ : state) {
    found = 0;
    for (std::uint32_t code = 1; code < lines.end_code(); ++code) {
      const std::string_view text = lines.key(code).substr(1);
      found += regex.Match(re2::StringPiece(text.data(), text.size()), 0, text.size(),
                           re2::RE2::UNANCHORED, nullptr, 0);
    }
    benchmark::DoNotOptimize(found);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * lines.text_bytes()));
  state.counters["found"] = static_cast<double>(found);
}

// All of one size together.
const int registered = [] {
  for (const std::int64_t messages : {20'000, 1'000'000, 4'000'000}) {
    const auto add = [&](const char* name, void (*function)(benchmark::State&)) {
      benchmark::RegisterBenchmark(name, function)->Arg(messages)->Unit(benchmark::kMicrosecond);
    };
    add("BM_Build", BM_Build);
    add("BM_Query", BM_Query);
    add("BM_RareWordCandidates", BM_RareWordCandidates);
    add("BM_RareWord", BM_RareWord);
    add("BM_RareWordIgnoringCase", BM_RareWordIgnoringCase);
    add("BM_FiveRareWordsCandidates", BM_FiveRareWordsCandidates);
    add("BM_FiveRareWords", BM_FiveRareWords);
    add("BM_AbsentWord", BM_AbsentWord);
    add("BM_CommonWordFirst50", BM_CommonWordFirst50);
    add("BM_MiddlingWordFirst50", BM_MiddlingWordFirst50);
    add("BM_RareWordWithoutIndex", BM_RareWordWithoutIndex);
    add("BM_ScanWithoutTrigrams", BM_ScanWithoutTrigrams);
    add("BM_BareRe2", BM_BareRe2);
  }
  return 0;
}();

}  // namespace
}  // namespace alos
