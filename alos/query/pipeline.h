// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Aggregation pipelines.

#ifndef ALOS_QUERY_PIPELINE_H_
#define ALOS_QUERY_PIPELINE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/internal/sorter.h"
#include "alos/query/projection.h"
#include "alos/query/sort.h"

namespace alos {

struct PipelineLimits {
  // What one $sort may hold: its documents and their keys.
  std::size_t sort_memory_bytes_max = 100u << 20;
};

// A compiled aggregation pipeline: an array of stages, each taking the documents of the one before.
//
//   [{$match: {status: "open"}}, {$sort: {due: 1}}, {$limit: 10}, {$project: {title: 1}}]
//
// Stages: $match, $sort, $skip, $limit, $project (fields to show or hide), $unset, $count. Every
// other stage of MongoDB is refused by name.
//
// Threads: immutable; any number of threads may Run one at once.
// Lifetime: owns all it needs. A view handed to the sink is valid during that call only.
// Durability: none.
// Errors: Compile returns kInvalidArgument naming the stage, its position and what was expected;
// Run
//   returns kResourceExhausted when a $sort outgrows its limit.
// Cost: documents stream through; only $sort holds them. $sort before $limit (with $skip between,
// if
//   any) keeps no more than skip + limit documents. Run stops its source as soon as the result is
//   complete.
class Pipeline {
 public:
  static constexpr std::size_t kStagesMax = 1000;

  static absl::StatusOr<Pipeline> Compile(ValueView stages) {
    if (!stages.IsArray()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "pipeline: needs an array of stages such as [{$match: {}}, {$limit: 10}], not ",
          query_internal::Describe(stages)));
    }
    if (stages.size() > kStagesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("pipeline: ", stages.size(), " stages; at most ", kStagesMax));
    }
    Pipeline pipeline;
    std::size_t position = 0;
    for (const ValueView stage : stages.elements()) {
      absl::StatusOr<query_internal::PipelineStage> compiled =
          query_internal::CompilePipelineStage(stage, position);
      if (!compiled.ok()) return compiled.status();
      const auto* match = std::get_if<query_internal::MatchStage>(&*compiled);
      if (position == 0 && match != nullptr) {
        pipeline.leading_match_ = match->filter;
      } else {
        pipeline.stages_.push_back(*std::move(compiled));
      }
      ++position;
    }
    pipeline.LimitSorts();
    return pipeline;
  }

  // The filter of a $match that comes first; nullptr if there is none. It is left to the source (an
  // index may know the answer): Run does not apply it.
  const Filter* leading_match() const {
    return leading_match_.has_value() ? &*leading_match_ : nullptr;
  }

  // Calls `source(push)` once, where `push(ValueView) -> bool` is to be called for each document
  // that leading_match() matches, until it returns false or there are no more; then, or meanwhile,
  // calls `sink(ValueView) -> bool` for each document of the result, until it returns false.
  // `source` may return void, or an absl::Status that ends the run when it is not OK.
  template <class Source, class Sink>
  absl::Status Run(Source&& source, Sink&& sink, const PipelineLimits& limits = {}) const {
    std::vector<query_internal::StageState> states;
    states.reserve(stages_.size());
    for (const query_internal::PipelineStage& stage : stages_) {
      states.emplace_back(query_internal::MakeStageState(stage, limits.sort_memory_bytes_max));
    }
    absl::Status status;
    std::size_t begin = 0;
    const auto push = [&](ValueView document) {
      return Push(begin, document, &states, sink, &status);
    };
    if constexpr (std::is_void_v<decltype(source(push))>) {
      source(push);
    } else {
      absl::Status source_status = source(push);
      if (!source_status.ok()) return source_status;
    }
    if (!status.ok()) return status;
    // Each blocking stage in turn gives what it has to the stages after it.
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      begin = i + 1;
      if (auto* sorter = std::get_if<query_internal::Sorter>(&states[i])) {
        sorter->Finish(push);
      } else if (const auto* count = std::get_if<query_internal::CountStage>(&stages_[i])) {
        const std::uint64_t counted = std::get<std::uint64_t>(states[i]);
        // MongoDB's $count of nothing is no document, not zero.
        if (counted == 0) continue;
        std::string bytes;
        Builder builder(&bytes);
        builder.StartDocument(1);
        builder.Key(count->name).Uint(counted);
        builder.EndDocument();
        push(ValueView::FromTrusted(bytes));
      }
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  // A $limit right after a $sort, or after $skip stages behind it, bounds what the sort must keep.
  void LimitSorts() {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      auto* sort = std::get_if<query_internal::SortStage>(&stages_[i]);
      if (sort == nullptr) continue;
      std::uint64_t skipped = 0;
      for (std::size_t j = i + 1; j < stages_.size(); ++j) {
        if (const auto* skip = std::get_if<query_internal::SkipStage>(&stages_[j])) {
          if (skip->count > std::numeric_limits<std::uint64_t>::max() - skipped) break;
          skipped += skip->count;
          continue;
        }
        if (const auto* limit = std::get_if<query_internal::LimitStage>(&stages_[j])) {
          if (limit->count <= std::numeric_limits<std::uint64_t>::max() - skipped) {
            sort->keep = skipped + limit->count;
          }
        }
        break;
      }
    }
  }

  // Sends a document through the stages from `begin` until one holds it back, drops it, or the sink
  // has it. False: no further document at `begin` can make a difference.
  template <class Sink>
  bool Push(std::size_t begin, ValueView document, std::vector<query_internal::StageState>* states,
            Sink& sink, absl::Status* status) const {
    bool more = true;
    for (std::size_t i = begin; i < stages_.size(); ++i) {
      query_internal::StageState& state = (*states)[i];
      switch (static_cast<query_internal::StageKind>(stages_[i].index())) {
        case query_internal::StageKind::kMatch:
          if (!std::get<query_internal::MatchStage>(stages_[i]).filter.Matches(document)) {
            return more;
          }
          break;
        case query_internal::StageKind::kSkip: {
          auto& remaining = std::get<std::uint64_t>(state);
          if (remaining > 0) {
            --remaining;
            return more;
          }
          break;
        }
        case query_internal::StageKind::kLimit: {
          auto& remaining = std::get<std::uint64_t>(state);
          if (remaining == 0) return false;
          if (--remaining == 0) more = false;
          break;
        }
        case query_internal::StageKind::kProject: {
          auto& bytes = std::get<std::string>(state);
          bytes.clear();
          std::get<query_internal::ProjectStage>(stages_[i]).projection.Apply(document, &bytes);
          document = ValueView::FromTrusted(bytes);
          break;
        }
        case query_internal::StageKind::kSort:
          *status = std::get<query_internal::Sorter>(state).Add(document);
          return status->ok() && more;
        case query_internal::StageKind::kCount:
          ++std::get<std::uint64_t>(state);
          return more;
      }
    }
    return sink(document) && more;
  }

  std::optional<Filter> leading_match_;
  std::vector<query_internal::PipelineStage> stages_;  // Without the leading $match.
};

}  // namespace alos

#endif  // ALOS_QUERY_PIPELINE_H_
