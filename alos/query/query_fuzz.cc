// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Any bytes that are a valid MessagePack value, compiled as a filter, an update, a projection, a
// sort and a pipeline; what compiles is run on a fixed set of documents. Nothing may crash, and
// what an update or a projection writes must be valid.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/internal/shell_text.h"
#include "alos/query/pipeline.h"
#include "alos/query/pipeline_environment.h"
#include "alos/query/projection.h"
#include "alos/query/sort.h"
#include "alos/query/update.h"

namespace alos {
namespace {

using query_internal::ShellDocument;

const std::vector<ShellDocument>& Documents() {
  static const auto* documents = [] {
    auto* all = new std::vector<ShellDocument>();
    for (const std::string_view text : {
             "{}",
             "{_id: 1, a: 1, b: 'x', n: 9223372036854775807, u: 18446744073709551615, m: NaN}",
             "{_id: 'x', a: {b: 1, c: [1, null, {d: 2}]}, s: 'text', i: 6, t: [1, 1.0, null]}",
             "{_id: 2.5, a: [1, [2, {b: 3}], {b: [4, 5]}, {0: 6, 1: {b: 7}}], arr: [3, 1, 2]}",
             "{_id: bin('id'), docs: [{x: 1, y: 2}, {x: 'z'}, {}, 7, [{x: 3}]], arr: [], a: null}",
             "{_id: time(5), a: true, b: ext(7, 'data'), n: -0.0, s: '', m: -9223372036854775808}",
         }) {
      all->emplace_back(text);
    }
    return all;
  }();
  return *documents;
}

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void TryFilter(ValueView specification) {
  FilterContext context;
  context.text_fields = {"s", "b", "docs.x"};
  const absl::StatusOr<Filter> filter = Filter::Compile(specification, context);
  if (!filter.ok()) return;
  const absl::StatusOr<Update> update = Update::Compile(ShellDocument("{$set: {new: 1}}").view());
  const absl::StatusOr<std::string> seed = update->Seed(*filter);
  Require(!seed.ok() || ValueView::Parse(*seed).ok(), "a seed is valid");
  for (const ShellDocument& document : Documents()) {
    const bool matches = filter->Matches(document.view());
    std::optional<std::size_t> position;
    Require(filter->Matches(document.view(), &position) == matches,
            "where a document matches, it matches");
    Require(!matches || !filter->id_candidates() || !filter->id_candidates()->empty() ||
                !document.view().Find("_id"),
            "what matches is among the candidates");
  }
}

// An update by itself, or as {update: ..., filter: ..., array_filters: ...}.
void TryUpdate(ValueView specification) {
  Update::Options options;
  Filter filter;
  ValueView operators = specification;
  if (const std::optional<ValueView> part = specification.Find("update")) {
    operators = *part;
    options.array_filters = specification.Find("array_filters");
    const std::optional<ValueView> which = specification.Find("filter");
    absl::StatusOr<Filter> compiled =
        which.has_value() ? Filter::Compile(*which) : absl::StatusOr<Filter>(Filter());
    if (!compiled.ok()) return;
    filter = *std::move(compiled);
  }
  const absl::StatusOr<Update> update = Update::Compile(operators, options);
  if (!update.ok()) return;
  for (const ShellDocument& document : Documents()) {
    if (!filter.Matches(document.view())) continue;
    std::string out;
    const absl::StatusOr<bool> changed = update->Apply(document.view(), filter, &out);
    Require(changed.ok() && *changed ? ValueView::Parse(out).ok() : out.empty(),
            "an update writes a valid document or nothing");
  }
  const absl::StatusOr<std::string> seed = update->Seed(filter);
  Require(!seed.ok() || ValueView::Parse(*seed).ok(), "a seed is valid");
}

void TryProjection(ValueView specification) {
  const absl::StatusOr<Projection> projection = Projection::Compile(specification);
  if (!projection.ok()) return;
  for (const ShellDocument& document : Documents()) {
    std::string out;
    const absl::Status applied = projection->Apply(document.view(), &out);
    Require(!applied.ok() || ValueView::Parse(out).ok(), "a projection writes a valid document");
  }
}

void TrySort(ValueView specification) {
  const absl::StatusOr<Sort> sort = Sort::Compile(specification);
  if (!sort.ok()) return;
  for (const ShellDocument& a : Documents()) {
    for (const ShellDocument& b : Documents()) {
      Require(sort->Compare(a.view(), b.view()) == 0 <=> sort->Compare(b.view(), a.view()),
              "an order is antisymmetric");
    }
  }
}

void TryPipeline(ValueView specification) {
  const absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(specification);
  if (!pipeline.ok()) return;
  PipelineEnvironment environment;
  environment.find = [](std::string_view, const Filter* filter, PipelineEnvironment::Visit visit) {
    for (const ShellDocument& document : Documents()) {
      if (filter != nullptr && !filter->Matches(document.view())) continue;
      if (!visit(document.view())) break;
    }
    return absl::OkStatus();
  };
  environment.merge = [](std::string_view, const Filter&, PipelineEnvironment::Decide decide) {
    for (const ShellDocument& document : Documents()) {
      const absl::StatusOr<MergeDecision> decision = decide(document.view());
      if (!decision.ok()) return decision.status();
      Require(decision->action == MergeDecision::Action::kNothing ||
                  ValueView::Parse(decision->document).ok(),
              "what is merged is valid");
    }
    return decide(std::nullopt).status();
  };
  const absl::Status status = pipeline->Run(
      [](auto&& push) {
        for (const ShellDocument& document : Documents()) {
          if (!push(document.view())) return;
        }
      },
      [](ValueView document) {
        Require(ValueView::Parse(document.bytes()).ok(), "a pipeline's result is valid");
        return true;
      },
      PipelineLimits{std::size_t{1} << 20}, environment);
  Require(status.ok() || absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status) ||
              absl::IsFailedPrecondition(status) || absl::IsAlreadyExists(status),
          "what is wrong with a pipeline or its documents is the caller's");
}

}  // namespace
}  // namespace alos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const absl::StatusOr<alos::ValueView> specification =
      alos::ValueView::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!specification.ok()) return 0;
  alos::TryFilter(*specification);
  alos::TryUpdate(*specification);
  alos::TryProjection(*specification);
  alos::TrySort(*specification);
  alos::TryPipeline(*specification);
  return 0;
}
