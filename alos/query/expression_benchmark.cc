// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Evaluating a compiled expression for one document of some 300 bytes and twelve fields that is in
// the processor's cache, the state reset between. What it does not tell: the cost of fetching
// documents from storage. BM_ReadOneField is the least that any expression on one field must do, as
// a yardstick.
//
//   ./bazelw run -c opt //alos/query:expression_benchmark

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
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

void Evaluate(benchmark::State& benchmark_state, std::string_view text) {
  const Expression expression = *Expression::Compile(ShellDocument(text).view());
  EvaluationState state(Timestamp{1'700'000'000, 0});
  const ValueView document = Order().view();
  for (auto _ : benchmark_state) {
    state.Reset();
    absl::StatusOr<std::optional<ValueView>> value = expression.Evaluate(document, state);
    if (!value.ok()) return benchmark_state.SkipWithError("failed");
    benchmark::DoNotOptimize(value);
  }
  benchmark_state.SetItemsProcessed(benchmark_state.iterations());
}

BENCHMARK_CAPTURE(Evaluate, constant, "5");
BENCHMARK_CAPTURE(Evaluate, field_path, "'$status'");
BENCHMARK_CAPTURE(Evaluate, nested_path, "'$address.city'");
BENCHMARK_CAPTURE(Evaluate, path_through_array, "'$items.price'");
BENCHMARK_CAPTURE(Evaluate, comparison, "{$gt: ['$total', 100]}");
BENCHMARK_CAPTURE(Evaluate, conjunction,
                  "{$and: [{$gt: ['$total', 100]}, {$eq: ['$status', 'open']}]}");
BENCHMARK_CAPTURE(Evaluate, add, "{$add: ['$priority', '$version', 1]}");
BENCHMARK_CAPTURE(Evaluate, multiply_doubles, "{$multiply: ['$total', 1.19]}");
BENCHMARK_CAPTURE(Evaluate, concat, "{$concat: ['$customer', ', ', '$address.city']}");
BENCHMARK_CAPTURE(Evaluate, condition, "{$cond: ['$paid', 'paid', 'due']}");
BENCHMARK_CAPTURE(Evaluate, object, "{who: '$customer', where: '$address.city', what: '$total'}");
BENCHMARK_CAPTURE(Evaluate, sum_of_array, "{$sum: '$items.price'}");
BENCHMARK_CAPTURE(Evaluate, map,
                  "{$map: {input: '$items', in: {$multiply: ['$$this.price', '$$this.count']}}}");
BENCHMARK_CAPTURE(Evaluate, regex_match, "{$regexMatch: {input: '$note', regex: 'porter'}}");
BENCHMARK_CAPTURE(Evaluate, date_trunc,
                  "{$dateTrunc: {date: '$created', unit: 'day', timezone: 'Europe/Berlin'}}");
BENCHMARK_CAPTURE(Evaluate, date_to_string, "{$dateToString: {date: '$created', format: '%Y-%m'}}");

void BM_ReadOneField(benchmark::State& state) {
  const ValueView document = Order().view();
  for (auto _ : state) {
    benchmark::DoNotOptimize(document.Find("status")->AsString());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ReadOneField);

}  // namespace
}  // namespace alos
