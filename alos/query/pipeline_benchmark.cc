// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Pipelines over documents that lie in memory one after another: the cost of the stages, without
// that of a database. The documents are small (5 fields, 70 bytes) and in the processor's cache no
// more than a collection would be.
//
//   ./bazelw run -c opt //alos/query:pipeline_benchmark

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/internal/shell_text.h"
#include "alos/query/pipeline.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

constexpr std::size_t kDocuments = 1'000'000;

// An array of {_id, channel, n, x, name}; `channels` of them, evenly used.
const std::string& Documents() {
  static const auto* documents = [] {
    auto* bytes = new std::string();
    std::mt19937_64 random(1);
    Builder builder(bytes);
    builder.StartArray(kDocuments);
    for (std::size_t i = 0; i < kDocuments; ++i) {
      builder.StartDocument(5);
      builder.Key("_id").Uint(i);
      builder.Key("channel").String(absl::StrCat("channel-", random() % 1000));
      builder.Key("n").Uint(random() % 5000);
      builder.Key("x").Double(static_cast<double>(random() % 1000) / 8);
      builder.Key("name").String("somebody's name");
      builder.EndDocument();
    }
    builder.EndArray();
    return bytes;
  }();
  return *documents;
}

void Run(benchmark::State& state, std::string_view stages) {
  const query_internal::ShellDocument specification(stages);
  const Pipeline pipeline = *Pipeline::Compile(specification.view());
  const ValueView documents = ValueView::FromTrusted(Documents());
  std::size_t results = 0;
  for (auto _ : state) {
    results = 0;
    const absl::Status status = pipeline.Run(
        [&](auto&& push) {
          for (const ValueView document : documents.elements()) {
            if (!push(document)) return;
          }
        },
        [&](ValueView) {
          ++results;
          return true;
        });
    if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
  }
  state.counters["results"] = static_cast<double>(results);
  state.counters["per_document"] = benchmark::Counter(
      static_cast<double>(kDocuments),
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

BENCHMARK_CAPTURE(Run, Nothing, "[]")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, Match, "[{$skip: 1}, {$match: {n: {$lt: 2500}}}]")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, GroupByString,
                  "[{$group: {_id: '$channel', n: {$sum: 1}, avg: {$avg: '$n'}}}]")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, GroupByDocument,
                  "[{$group: {_id: {c: '$channel'}, n: {$sum: {$add: ['$n', 1]}}}}]")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, GroupEverything, "[{$group: {_id: null, n: {$sum: '$n'}}}]")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, Project, "[{$project: {channel: 1, n: 1}}]")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, AddFields, "[{$addFields: {y: {$add: ['$n', '$x']}}}]")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, SortAndLimit, "[{$sort: {x: -1}}, {$limit: 10}]")
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace alos
