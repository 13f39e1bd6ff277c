// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Matching a compiled filter against one document of some 300 bytes and twelve fields that is in
// the processor's cache. What it does not tell: the cost of fetching documents from storage, which
// is larger for all but the heaviest filters. BM_ReadOneField is the least that any filter on one
// field must do, as a yardstick.
//
//   ./bazelw run -c opt //alos/query:filter_benchmark

#include <string>
#include <string_view>

#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/internal/shell_text.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

using query_internal::ShellDocument;

const ShellDocument& Order() {
  static const auto* document = new ShellDocument(
      "{_id: '65f2c0ffee65f2c0ffee0001', customer: 'Augusta Ada King', status: 'open', total: "
      "129.95, created: time(1700000000), paid: false, priority: 3, address: {street: '12 St "
      "James Square', city: 'London', postcode: 'SW1Y 4JH'}, tags: ['gift', 'express', 'fragile'], "
      "items: [{sku: 'A-1', price: 99.95, count: 1}, {sku: 'B-2', price: 15, count: 2}], note: "
      "'leave with the porter', version: 7}");
  return *document;
}

void Match(benchmark::State& state, std::string_view text) {
  const Filter filter = *Filter::Compile(ShellDocument(text).view());
  const ValueView document = Order().view();
  bool matches = false;
  for (auto _ : state) {
    matches = filter.Matches(document);
    benchmark::DoNotOptimize(matches);
  }
  state.SetLabel(matches ? "matches" : "does not match");
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(Match, equal_string, "{status: 'open'}");
BENCHMARK_CAPTURE(Match, equal_last_field, "{version: 7}");
BENCHMARK_CAPTURE(Match, missing_field, "{nothing: 7}");
BENCHMARK_CAPTURE(Match, nested, "{address.city: 'London'}");
BENCHMARK_CAPTURE(Match, through_array, "{items.price: {$gt: 90}}");
BENCHMARK_CAPTURE(Match, element_match, "{items: {$elemMatch: {sku: 'B-2', count: {$gte: 2}}}}");
BENCHMARK_CAPTURE(Match, range_of_two, "{total: {$gte: 100, $lt: 200}}");
BENCHMARK_CAPTURE(Match, conjunction_of_four,
                  "{status: 'open', paid: false, priority: {$gte: 2}, tags: 'express'}");
BENCHMARK_CAPTURE(Match, in_of_three, "{status: {$in: ['new', 'open', 'held']}}");
BENCHMARK_CAPTURE(Match, in_of_sixteen,
                  "{version: {$in: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]}}");
BENCHMARK_CAPTURE(Match, regex_prefix, "{customer: {$regex: '^Aug'}}");
BENCHMARK_CAPTURE(Match, regex_ignoring_case, "{note: {$regex: 'PORTER', $options: 'i'}}");

void BM_ReadOneField(benchmark::State& state) {
  const ValueView document = Order().view();
  for (auto _ : state) {
    benchmark::DoNotOptimize(document.Find("status")->AsString());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ReadOneField);

void BM_Compile(benchmark::State& state) {
  const ShellDocument text("{status: 'open', paid: false, priority: {$gte: 2}, tags: 'express'}");
  for (auto _ : state) benchmark::DoNotOptimize(Filter::Compile(text.view()));
}
BENCHMARK(BM_Compile);

}  // namespace
}  // namespace alos
