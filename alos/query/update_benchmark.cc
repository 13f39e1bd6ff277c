// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Applying a compiled update to one document of some 300 bytes and twelve fields, into a string
// that is reused. BM_CopyFieldByField is the same rewrite without a change: what the update adds to
// it is its own cost. What it does not tell: the append to the log that follows.
//
//   ./bazelw run -c opt //alos/query:update_benchmark

#include <string>
#include <string_view>

#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/internal/shell_text.h"
#include "alos/query/update.h"
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

void Apply(benchmark::State& state, std::string_view text) {
  const Update update = *Update::Compile(ShellDocument(text).view());
  const ValueView document = Order().view();
  std::string out;
  bool changed = false;
  for (auto _ : state) {
    out.clear();
    changed = *update.Apply(document, &out);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetLabel(changed ? "changes" : "does not change");
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(Apply, set_one, "{$set: {status: 'closed'}}");
BENCHMARK_CAPTURE(Apply, set_equal, "{$set: {status: 'open'}}");
BENCHMARK_CAPTURE(Apply, set_new, "{$set: {closed: 1700000000}}");
BENCHMARK_CAPTURE(Apply, set_nested, "{$set: {'address.city': 'Paris'}}");
BENCHMARK_CAPTURE(Apply, increment, "{$inc: {version: 1}}");
BENCHMARK_CAPTURE(Apply, push, "{$push: {tags: 'late'}}");
BENCHMARK_CAPTURE(Apply, pull, "{$pull: {items: {sku: 'A-1'}}}");
BENCHMARK_CAPTURE(Apply, four_fields,
                  "{$set: {status: 'closed', paid: true}, $inc: {version: 1}, $unset: {note: ''}}");
BENCHMARK_CAPTURE(Apply, replacement, "{status: 'gone', version: 8}");

void BM_CopyFieldByField(benchmark::State& state) {
  const ValueView document = Order().view();
  std::string out;
  for (auto _ : state) {
    out.clear();
    Builder builder(&out);
    builder.StartDocument();
    for (const auto entry : document.entries()) builder.Key(entry.key).Raw(entry.value);
    builder.EndDocument();
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_CopyFieldByField);

}  // namespace
}  // namespace alos
