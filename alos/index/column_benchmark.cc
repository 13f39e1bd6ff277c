// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Building, merging and reading columns, in memory and warm: nothing here tells of a first read
// through a cold memory map. The keys are made before the clock starts.
//
//   ./bazelw run -c opt //alos/index:column_benchmark

#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "alos/index/column.h"
#include "alos/index/column_builder.h"
#include "benchmark/benchmark.h"
#include "re2/re2.h"

namespace alos {
namespace {

std::uint64_t Mix(std::uint64_t number) {
  number *= 0x9E3779B97F4A7C15u;
  number ^= number >> 32;
  number *= 0xD6E8FEB86659FD93u;
  return number ^ number >> 32;
}

// 20 bytes, different, in no order: a class byte and 19 digits, as ids in messages are.
std::string UniqueKey(std::uint64_t number) {
  return absl::StrFormat("\5%019d", Mix(number) % 9'000'000'000'000'000'000u);
}
// About 60 bytes of words.
std::string TextKey(std::uint64_t number) {
  static constexpr std::string_view kWords[] = {"the",   "quick", "brown",   "fox",  "jumps",
                                                "over",  "lazy",  "dog",     "said", "hello",
                                                "there", "index", "columns", "are",  "fast"};
  std::string key = "\5";
  for (std::uint64_t bits = Mix(number), i = 0; i < 12; ++i, bits /= 15) {
    key += kWords[bits % 15];
    key += ' ';
  }
  return key;
}

template <class MakeKey>
std::vector<std::string> Keys(std::int64_t rows, std::uint64_t first, MakeKey make_key) {
  std::vector<std::string> keys;
  keys.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i) {
    keys.push_back(make_key(first + static_cast<std::uint64_t>(i)));
  }
  return keys;
}

std::string Build(const std::vector<std::string>& keys) {
  ColumnBuilder builder(static_cast<std::uint32_t>(keys.size()));
  for (const std::string& key : keys) {
    builder.StartRow();
    builder.AddKey(key, false);
  }
  return std::move(builder).Finish();
}

// A line of /proc/self/status, in bytes: VmRSS, VmHWM.
double ProcessBytes(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (std::string_view(line).starts_with(name)) {
      return 1024 * std::strtod(line.c_str() + name.size() + 1, nullptr);
    }
  }
  return 0;
}

// Builds once more, for its memory: the most there was at once, beside the size of the image.
void ReportMemory(benchmark::State& state, const std::vector<std::string>& keys) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // The peak begins anew.
  const double before = ProcessBytes("VmRSS:");
  const std::string image = Build(keys);
  state.counters["peak/image"] =
      (ProcessBytes("VmHWM:") - before) / static_cast<double>(image.size());
}

void Report(benchmark::State& state, std::size_t image_size) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["bytes/row"] =
      static_cast<double>(image_size) / static_cast<double>(state.range(0));
}

void BM_BuildUnique(benchmark::State& state) {
  const std::vector<std::string> keys = Keys(state.range(0), 1, UniqueKey);
  std::size_t size = 0;
  for (auto _ : state) size = Build(keys).size();
  ReportMemory(state, keys);
  Report(state, size);
}
BENCHMARK(BM_BuildUnique)->Arg(1024)->Arg(1 << 22)->Unit(benchmark::kMillisecond);

void BM_BuildText(benchmark::State& state) {
  const std::vector<std::string> keys = Keys(state.range(0), 1, TextKey);
  std::size_t size = 0;
  for (auto _ : state) size = Build(keys).size();
  ReportMemory(state, keys);
  Report(state, size);
}
BENCHMARK(BM_BuildText)->Arg(1024)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

void BM_BuildFew(benchmark::State& state) {
  const std::vector<std::string> keys =
      Keys(state.range(0), 1, [](std::uint64_t number) { return UniqueKey(Mix(number) % 100); });
  std::size_t size = 0;
  for (auto _ : state) size = Build(keys).size();
  ReportMemory(state, keys);
  Report(state, size);
}
BENCHMARK(BM_BuildFew)->Arg(1024)->Arg(1 << 22)->Unit(benchmark::kMillisecond);

template <class MakeKey>
void MergeFour(benchmark::State& state, MakeKey make_key) {
  const auto rows = static_cast<std::uint32_t>(state.range(0));
  std::vector<std::string> images;
  std::vector<Column> columns;
  std::vector<const Column*> inputs;
  std::vector<std::vector<std::uint32_t>> maps(4);
  std::vector<absl::Span<const std::uint32_t>> row_maps;
  for (std::uint32_t i = 0; i < 4; ++i) {
    images.push_back(Build(Keys(rows / 4, i * std::uint64_t{rows}, make_key)));
    maps[i].resize(rows / 4);
    std::iota(maps[i].begin(), maps[i].end(), i * (rows / 4));
    row_maps.push_back(maps[i]);
  }
  for (const std::string& image : images) columns.push_back(*Column::Open(image));
  for (const Column& column : columns) inputs.push_back(&column);
  std::size_t size = 0;
  for (auto _ : state) size = MergeColumns(inputs, row_maps, rows / 4 * 4).size();
  Report(state, size);
}
void BM_MergeFourUnique(benchmark::State& state) { MergeFour(state, UniqueKey); }
BENCHMARK(BM_MergeFourUnique)->Arg(1024)->Arg(1 << 22)->Unit(benchmark::kMillisecond);
void BM_MergeFourText(benchmark::State& state) { MergeFour(state, TextKey); }
BENCHMARK(BM_MergeFourText)->Arg(1024)->Arg(1 << 20)->Unit(benchmark::kMillisecond);
void BM_MergeFourFew(benchmark::State& state) {
  MergeFour(state, [](std::uint64_t number) { return UniqueKey(Mix(number) % 100); });
}
BENCHMARK(BM_MergeFourFew)->Arg(1024)->Arg(1 << 22)->Unit(benchmark::kMillisecond);

template <class MakeKey>
void FindAll(benchmark::State& state, MakeKey make_key) {
  const std::vector<std::string> keys = Keys(state.range(0), 1, make_key);
  const std::string image = Build(keys);
  const Column column = *Column::Open(image);
  std::uint64_t next = 0;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    sum += column.LowerBound(keys[next]);
    next = (next + 0x9E3779B1) % keys.size();
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations());
}
void BM_LowerBoundUnique(benchmark::State& state) { FindAll(state, UniqueKey); }
BENCHMARK(BM_LowerBoundUnique)->Arg(1024)->Arg(1 << 22);
void BM_LowerBoundText(benchmark::State& state) { FindAll(state, TextKey); }
BENCHMARK(BM_LowerBoundText)->Arg(1024)->Arg(1 << 20);

void BM_KeyOfText(benchmark::State& state) {
  const std::string image = Build(Keys(state.range(0), 1, TextKey));
  const Column column = *Column::Open(image);
  std::uint64_t next = 0;
  std::uint64_t sum = 0;
  std::string scratch;
  for (auto _ : state) {
    next = (next + 0x9E3779B1) % column.key_count();
    sum += column.Key(static_cast<Code>(next + 1), &scratch).size();
  }
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(BM_KeyOfText)->Arg(1024)->Arg(1 << 20);

// All keys; bytes are those of the keys, not of the image.
void BM_ForEachKeyText(benchmark::State& state) {
  const std::string image = Build(Keys(state.range(0), 1, TextKey));
  const Column column = *Column::Open(image);
  std::size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    column.ForEachKey(1, column.key_count() + 1,
                      [&](Code, std::string_view key) { bytes += key.size(); });
    benchmark::DoNotOptimize(bytes);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}
BENCHMARK(BM_ForEachKeyText)->Arg(1024)->Arg(1 << 20);

// A regular expression over all keys, beside the same over the bare text.
void BM_RegexOverKeys(benchmark::State& state) {
  const std::string image = Build(Keys(state.range(0), 1, TextKey));
  const Column column = *Column::Open(image);
  const re2::RE2 regex("columns.*zebra");
  std::size_t bytes = 0;
  std::uint64_t matches = 0;
  for (auto _ : state) {
    bytes = 0;
    column.ForEachKey(1, column.key_count() + 1, [&](Code, std::string_view key) {
      bytes += key.size();
      matches += re2::RE2::PartialMatch(re2::StringPiece(key.data() + 1, key.size() - 1), regex);
    });
  }
  benchmark::DoNotOptimize(matches);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}
BENCHMARK(BM_RegexOverKeys)->Arg(1024)->Arg(1 << 20);
void BM_RegexOverText(benchmark::State& state) {
  std::vector<std::string> keys = Keys(state.range(0), 1, TextKey);
  std::sort(keys.begin(), keys.end());
  std::string text;
  for (const std::string& key : keys) text += key;
  const re2::RE2 regex("columns.*zebra");
  std::uint64_t matches = 0;
  for (auto _ : state) {
    const char* p = text.data();
    for (const std::string& key : keys) {
      matches += re2::RE2::PartialMatch(re2::StringPiece(p + 1, key.size() - 1), regex);
      p += key.size();
    }
  }
  benchmark::DoNotOptimize(matches);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(BM_RegexOverText)->Arg(1024)->Arg(1 << 20);

// A scan of the column for one code, as for a dense one.
void BM_ScanColumn(benchmark::State& state) {
  const std::string image = Build(
      Keys(state.range(0), 1, [](std::uint64_t number) { return UniqueKey(Mix(number) % 100); }));
  const Column column = *Column::Open(image);
  for (auto _ : state) {
    const std::uint64_t count = column.VisitColumn([&](const auto* values) {
      std::uint64_t found = 0;
      for (std::uint32_t row = 0; row < column.rows(); ++row) found += values[row] == 7;
      return found;
    });
    benchmark::DoNotOptimize(count);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * column.width());
}
BENCHMARK(BM_ScanColumn)->Arg(1024)->Arg(1 << 22);

}  // namespace
}  // namespace alos
