// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The stages of a pipeline: what each one is, how it is compiled, and the state it has while it
// runs.

#ifndef ALOS_QUERY_INTERNAL_PIPELINE_STAGE_H_
#define ALOS_QUERY_INTERNAL_PIPELINE_STAGE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/sorter.h"
#include "alos/query/projection.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

struct MatchStage {
  Filter filter;
};
struct SortStage {
  Sort sort;
  // Documents that later stages can use; the sort drops the rest early.
  std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
  std::size_t position = 0;  // In the pipeline, for messages.
};
struct SkipStage {
  std::uint64_t count = 0;
};
struct LimitStage {
  std::uint64_t count = 0;
};
struct ProjectStage {  // $project and $unset
  Projection projection;
};
struct CountStage {
  std::string name;
};

using PipelineStage =
    std::variant<MatchStage, SortStage, SkipStage, LimitStage, ProjectStage, CountStage>;

// The alternatives of PipelineStage, in order.
enum class StageKind : std::size_t { kMatch, kSort, kSkip, kLimit, kProject, kCount };
static_assert(std::variant_size_v<PipelineStage> ==
              static_cast<std::size_t>(StageKind::kCount) + 1);
static_assert(std::is_same_v<std::variant_alternative_t<static_cast<std::size_t>(StageKind::kCount),
                                                        PipelineStage>,
                             CountStage>);

// What a stage keeps during one run: nothing ($match), a number (what $skip and $limit have left,
// what $count has seen), the projected document, or the documents of a $sort.
using StageState = std::variant<std::monostate, std::uint64_t, std::string, Sorter>;

inline StageState MakeStageState(const PipelineStage& stage, std::size_t sort_memory_bytes_max) {
  switch (static_cast<StageKind>(stage.index())) {
    case StageKind::kMatch:
      return std::monostate();
    case StageKind::kSort: {
      const auto& sort = std::get<SortStage>(stage);
      return Sorter(&sort.sort, sort.keep, sort_memory_bytes_max, sort.position);
    }
    case StageKind::kSkip:
      return std::get<SkipStage>(stage).count;
    case StageKind::kLimit:
      return std::get<LimitStage>(stage).count;
    case StageKind::kProject:
      return std::string();
    case StageKind::kCount:
      return std::uint64_t{0};
  }
  return std::monostate();
}

class StageCompiler {
 public:
  StageCompiler(std::string_view name, std::size_t position) : name_(name), position_(position) {}

  absl::StatusOr<PipelineStage> Compile(ValueView operand) const {
    if (name_ == "$match") {
      absl::StatusOr<Filter> filter = Filter::Compile(operand);
      if (!filter.ok()) return Error(filter.status().message());
      return MatchStage{*std::move(filter)};
    }
    if (name_ == "$sort") {
      absl::StatusOr<Sort> sort = Sort::Compile(operand);
      if (!sort.ok()) return Error(sort.status().message());
      if (sort->empty()) return Error("needs at least one field, such as {age: 1}");
      return SortStage{*std::move(sort), std::numeric_limits<std::uint64_t>::max(), position_};
    }
    if (name_ == "$skip") {
      const std::optional<std::int64_t> count = operand.ToInt64();
      if (!count.has_value() || *count < 0) {
        return Error("needs a whole number that is not negative, not ", Describe(operand));
      }
      return SkipStage{static_cast<std::uint64_t>(*count)};
    }
    if (name_ == "$limit") {
      const std::optional<std::int64_t> count = operand.ToInt64();
      if (!count.has_value() || *count <= 0) {
        return Error("needs a whole number above 0, not ", Describe(operand));
      }
      return LimitStage{static_cast<std::uint64_t>(*count)};
    }
    if (name_ == "$project") {
      absl::StatusOr<Projection> projection = Projection::Compile(operand);
      if (!projection.ok()) return Error(projection.status().message());
      if (projection->shows_everything()) return Error("needs at least one field");
      return ProjectStage{*std::move(projection)};
    }
    if (name_ == "$unset") return Unset(operand);
    if (name_ == "$count") return Count(operand);
    return Unknown();
  }

 private:
  template <class... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(
        absl::StrCat("aggregation stage ", name_, " (stage ", position_ + 1, "): ", pieces...));
  }

  absl::Status Unknown() const {
    // The stages of MongoDB's manual that are not here.
    static constexpr std::string_view kOthers[] = {"$addFields",
                                                   "$bucket",
                                                   "$bucketAuto",
                                                   "$changeStream",
                                                   "$changeStreamSplitLargeEvent",
                                                   "$collStats",
                                                   "$currentOp",
                                                   "$densify",
                                                   "$documents",
                                                   "$facet",
                                                   "$fill",
                                                   "$geoNear",
                                                   "$graphLookup",
                                                   "$group",
                                                   "$indexStats",
                                                   "$listLocalSessions",
                                                   "$listSampledQueries",
                                                   "$listSearchIndexes",
                                                   "$listSessions",
                                                   "$lookup",
                                                   "$merge",
                                                   "$out",
                                                   "$planCacheStats",
                                                   "$rankFusion",
                                                   "$redact",
                                                   "$replaceRoot",
                                                   "$replaceWith",
                                                   "$sample",
                                                   "$search",
                                                   "$searchMeta",
                                                   "$set",
                                                   "$setWindowFields",
                                                   "$shardedDataDistribution",
                                                   "$sortByCount",
                                                   "$unionWith",
                                                   "$unwind",
                                                   "$vectorSearch"};
    if (std::find(std::begin(kOthers), std::end(kOthers), name_) != std::end(kOthers)) {
      return absl::InvalidArgumentError(
          absl::StrCat("aggregation stage ", name_, " is not supported yet"));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("unknown aggregation stage '", DescribeText(name_), "' (stage ", position_ + 1,
                     "); known are $match $sort $skip $limit $project $unset $count"));
  }

  absl::StatusOr<PipelineStage> Unset(ValueView operand) const {
    std::string specification;
    Builder builder(&specification);
    builder.StartDocument();
    if (operand.IsString()) {
      builder.Key(operand.AsString()).Int(0);
    } else if (operand.IsArray() && operand.size() > 0) {
      for (const ValueView field : operand.elements()) {
        if (!field.IsString()) return Error("needs names of fields, not ", Describe(field));
        builder.Key(field.AsString()).Int(0);
      }
    } else {
      return Error("needs the name of a field or an array of names, not ", Describe(operand));
    }
    builder.EndDocument();
    // Checked, because the same name may stand twice.
    const absl::StatusOr<ValueView> document = ValueView::Parse(specification);
    if (!document.ok()) return Error("the same field is named twice");
    absl::StatusOr<Projection> projection = Projection::Compile(*document);
    if (!projection.ok()) return Error(projection.status().message());
    return ProjectStage{*std::move(projection)};
  }

  absl::StatusOr<PipelineStage> Count(ValueView operand) const {
    constexpr std::string_view kNeeds = "needs the name of the field for the count, ";
    if (!operand.IsString()) return Error(kNeeds, "not ", Describe(operand));
    const std::string_view name = operand.AsString();
    if (name.empty()) return Error(kNeeds, "which may not be empty");
    if (name[0] == '$') return Error(kNeeds, "which may not begin with '$'");
    if (name.find('.') != std::string_view::npos) return Error(kNeeds, "which may not have a dot");
    if (name.find('\0') != std::string_view::npos) {
      return Error(kNeeds, "which may not have a zero byte");
    }
    return CountStage{std::string(name)};
  }

  std::string_view name_;
  std::size_t position_;
};

// One element of the pipeline's array: a document with a single key, the stage's name.
inline absl::StatusOr<PipelineStage> CompilePipelineStage(ValueView stage, std::size_t position) {
  if (!stage.IsDocument() || stage.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("pipeline: stage ", position + 1,
                     " must be a document with one key, the stage's name, such as {$limit: 10}, "
                     "not ",
                     Describe(stage)));
  }
  const auto entry = *stage.entries().begin();
  return StageCompiler(entry.key, position).Compile(entry.value);
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_PIPELINE_STAGE_H_
