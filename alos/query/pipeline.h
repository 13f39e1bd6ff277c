// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Aggregation pipelines.

#ifndef ALOS_QUERY_PIPELINE_H_
#define ALOS_QUERY_PIPELINE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/group_shape.h"
#include "alos/query/internal/group_stages.h"
#include "alos/query/internal/pipeline_program.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/internal/streaming_stages.h"
#include "alos/query/pipeline_environment.h"
#include "alos/query/sort.h"

namespace alos {

// A compiled aggregation pipeline: an array of stages, each taking the documents of the one before.
//
//   [{$match: {status: "open"}}, {$group: {_id: "$city", n: {$sum: 1}}}, {$sort: {n: -1}}]
//
// docs/query.md lists the stages, accumulators and operators. What is not there is refused by name.
//
// Threads: immutable; any number of threads may Run one at once.
// Lifetime: owns all it needs. A view handed to the sink is valid during that call only.
// Durability: none; $out and $merge have that of the environment's functions.
// Errors: Compile returns kInvalidArgument naming the stage, its position and what was expected.
//   Run returns kInvalidArgument where a document does not fit a stage, kResourceExhausted when a
//   stage outgrows its limit, kFailedPrecondition when a stage needs what the environment does not
//   have, and what the source and the environment return.
// Cost: documents stream through; $sort, $group and the other stages that need all documents hold
//   them. $sort before $limit (with $skip between, if any) keeps no more than skip + limit
//   documents. Run stops its source as soon as the result is complete.
class Pipeline {
 public:
  static constexpr std::size_t kStagesMax = query_internal::kPipelineStagesMax;

  // `text_fields`: what $text in a $match searches, as in FilterContext.
  static absl::StatusOr<Pipeline> Compile(ValueView stages,
                                          absl::Span<const std::string> text_fields = {}) {
    query_internal::StageCompileContext context;
    context.text_fields.assign(text_fields.begin(), text_fields.end());
    context.compile_pipeline = &query_internal::CompileStages;
    absl::StatusOr<query_internal::StageList> compiled =
        query_internal::CompileStages(stages, context);
    if (!compiled.ok()) return compiled.status();
    Pipeline pipeline;
    pipeline.stages_ = *std::move(compiled);
    pipeline.FindLeading(stages, context.text_fields);
    return pipeline;
  }

  // The filter of the $match stages that come first; nullptr if there are none. It is left to the
  // source (an index may know the answer): Run does not apply it.
  const Filter* leading_match() const {
    return leading_match_.has_value() ? &*leading_match_ : nullptr;
  }

  // Calls `source(push)` once, where `push(ValueView) -> bool` is to be called for each document
  // that leading_match() matches, until it returns false or there are no more; then, or meanwhile,
  // calls `sink(ValueView) -> bool` for each document of the result, until it returns false.
  // `source` may return void, or an absl::Status that ends the run when it is not OK. It is not
  // called when the pipeline makes its documents itself ($documents and its kin). `times`, if not
  // nullptr, gets how long each stage took.
  template <class Source, class Sink>
  absl::Status Run(Source&& source, Sink&& sink, const PipelineLimits& limits = {},
                   const PipelineEnvironment& environment = {}, StageTimes* times = nullptr) const {
    return RunFrom(first_stage_, source, sink, limits, environment, times);
  }

  // --- For planners. Stages are counted as the pipeline runs them: a $count is two.

  // Run begins with this stage: those before it are what leading_match() says.
  std::size_t first_stage() const { return first_stage_; }

  // As Run, with what is already the result of the first `stage` stages.
  template <class Source, class Sink>
  absl::Status RunFrom(std::size_t stage, Source&& source, Sink&& sink,
                       const PipelineLimits& limits = {},
                       const PipelineEnvironment& environment = {},
                       StageTimes* times = nullptr) const {
    query_internal::RunContext context(limits, environment);
    query_internal::SinkRun last{absl::FunctionRef<bool(ValueView)>(sink)};
    query_internal::StageChain chain(stages_, stage, &context, &last, times);
    if (!chain.has_source()) {
      const auto push = [&chain](ValueView document) { return chain.Push(document); };
      if constexpr (std::is_void_v<decltype(source(push))>) {
        source(push);
      } else {
        ALOS_RETURN_IF_ERROR(source(push));
      }
      if (!context.ok()) return context.status();
    }
    return chain.Finish();
  }

  // A $sort, and what follows it.
  struct LeadingSort {
    const Sort* sort = nullptr;
    std::uint64_t skip = 0;
    std::optional<std::uint64_t> limit;  // of documents after the skip
    std::size_t next_stage = 0;          // for RunFrom with documents sorted, skipped and limited
  };
  // Right after the leading match.
  std::optional<LeadingSort> leading_sort() const { return sort_at(first_stage_); }
  // As stage number `stage`.
  std::optional<LeadingSort> sort_at(std::size_t stage) const;

  // A $skip and $limit right after the leading match, without a sort; nullopt: neither is there.
  std::optional<LeadingSort> leading_limit() const;

  // The $group right after the leading match, if it is so plain that an index may know its result;
  // else nullptr. next_stage of it is for RunFrom with its result documents.
  const GroupShape* leading_group() const { return leading_group_; }

  // The top-level fields that the stages from first_stage() on may look at or hand on, sorted;
  // nullopt: all there are.
  const std::optional<std::vector<std::string>>& needed_fields() const { return needed_fields_; }

  // It writes: $out or $merge is its last stage.
  bool writes() const {
    return !stages_.empty() && stages_.back()->kind() == query_internal::StageKind::kOutput;
  }
  // Its first stage makes the documents: no collection is read as its source.
  bool has_own_source() const {
    return !stages_.empty() && stages_.front()->kind() == query_internal::StageKind::kSource;
  }

 private:
  Pipeline() = default;

  void FindLeading(ValueView specification, const std::vector<std::string>& text_fields);
  // Takes $skip and $limit from stage `i` on into *result.
  void TakeSkipAndLimit(std::size_t i, LeadingSort* result) const;

  query_internal::StageList stages_;
  std::optional<Filter> leading_match_;
  std::size_t first_stage_ = 0;
  const GroupShape* leading_group_ = nullptr;  // into a stage
  std::optional<std::vector<std::string>> needed_fields_;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

inline void Pipeline::FindLeading(ValueView specification,
                                  const std::vector<std::string>& text_fields) {
  using query_internal::StageKind;
  std::string conjunction;
  Builder builder(&conjunction);
  builder.StartDocument(1).Key("$and").StartArray();
  for (const ValueView stage : specification.elements()) {
    if (first_stage_ == stages_.size() || stages_[first_stage_]->kind() != StageKind::kMatch) break;
    builder.Raw((*stage.entries().begin()).value);
    if (first_stage_ == 0) {
      leading_match_ = static_cast<query_internal::MatchStage&>(*stages_[0]).filter();
    }
    ++first_stage_;
  }
  builder.EndArray().EndDocument();
  if (first_stage_ > 1) {
    FilterContext context;
    context.text_fields = text_fields;
    absl::StatusOr<Filter> all = Filter::Compile(ValueView::FromTrusted(conjunction), context);
    if (all.ok()) {
      leading_match_ = *std::move(all);
    } else {
      first_stage_ = 1;  // together they nest too deep
    }
  }
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (stages_[i]->kind() == StageKind::kGroup) {
      static_cast<query_internal::GroupStage&>(*stages_[i]).set_next_stage(i + 1);
    }
  }
  if (first_stage_ < stages_.size() && stages_[first_stage_]->kind() == StageKind::kGroup) {
    leading_group_ = static_cast<query_internal::GroupStage&>(*stages_[first_stage_]).shape();
  }
  std::vector<std::string> fields;
  for (std::size_t i = first_stage_; i < stages_.size(); ++i) {
    const query_internal::Stage::Needs needs = stages_[i]->AddNeeds(&fields);
    if (needs == query_internal::Stage::Needs::kSome) continue;
    if (needs == query_internal::Stage::Needs::kAll) {
      std::sort(fields.begin(), fields.end());
      fields.erase(std::unique(fields.begin(), fields.end()), fields.end());
      needed_fields_ = std::move(fields);
    }
    break;
  }
}

inline void Pipeline::TakeSkipAndLimit(std::size_t i, LeadingSort* result) const {
  using query_internal::StageKind;
  result->next_stage = i;
  for (; i < stages_.size() && !result->limit; ++i) {
    if (stages_[i]->kind() == StageKind::kSkip) {
      const std::uint64_t count =
          static_cast<const query_internal::SkipStage&>(*stages_[i]).count();
      if (count > UINT64_MAX - result->skip) break;
      result->skip += count;
    } else if (stages_[i]->kind() == StageKind::kLimit) {
      result->limit = static_cast<const query_internal::LimitStage&>(*stages_[i]).count();
    } else {
      break;
    }
    result->next_stage = i + 1;
  }
}

inline std::optional<Pipeline::LeadingSort> Pipeline::sort_at(std::size_t stage) const {
  if (stage == stages_.size() || stages_[stage]->kind() != query_internal::StageKind::kSort)
    return std::nullopt;
  LeadingSort result;
  result.sort = &static_cast<const query_internal::SortStage&>(*stages_[stage]).sort();
  TakeSkipAndLimit(stage + 1, &result);
  return result;
}

inline std::optional<Pipeline::LeadingSort> Pipeline::leading_limit() const {
  LeadingSort result;
  TakeSkipAndLimit(first_stage_, &result);
  if (result.next_stage == first_stage_) return std::nullopt;
  return result;
}

}  // namespace alos

#endif  // ALOS_QUERY_PIPELINE_H_
