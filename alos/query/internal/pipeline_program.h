// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Pipelines as lists of stages: how one is compiled, with the table of all stages there are.

#ifndef ALOS_QUERY_INTERNAL_PIPELINE_PROGRAM_H_
#define ALOS_QUERY_INTERNAL_PIPELINE_PROGRAM_H_

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/group_stages.h"
#include "alos/query/internal/join_stages.h"
#include "alos/query/internal/output_stages.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/internal/streaming_stages.h"
#include "alos/query/internal/window_stages.h"

namespace alos::query_internal {

inline constexpr std::size_t kPipelineStagesMax = 1000;

// A row of the table of stages.
struct StageDefinition {
  enum class Place {
    kAnywhere,
    kFirst,      // makes documents
    kOutermost,  // makes documents of the collection that the outermost pipeline runs over
    kLast,       // writes them; of the outermost pipeline only
    kNotInFacet
  };
  std::string_view name;
  Place place;
  // One of the two: most stages are one stage.
  absl::StatusOr<std::unique_ptr<Stage>> (*compile)(const StageSpecification&);
  absl::StatusOr<StageList> (*compile_list)(const StageSpecification&);
};

inline constexpr StageDefinition kStageDefinitions[] = {
    {"$addFields", StageDefinition::Place::kAnywhere, &FieldTreeStage::Compile, nullptr},
    {"$bucket", StageDefinition::Place::kAnywhere, nullptr, &CompileBucket},
    {"$bucketAuto", StageDefinition::Place::kAnywhere, &BucketAutoStage::Compile, nullptr},
    {"$collStats", StageDefinition::Place::kOutermost, &CollStatsStage::Compile, nullptr},
    {"$count", StageDefinition::Place::kAnywhere, nullptr, &CompileCount},
    {"$densify", StageDefinition::Place::kAnywhere, &DensifyStage::Compile, nullptr},
    {"$documents", StageDefinition::Place::kFirst, &DocumentsStage::Compile, nullptr},
    {"$facet", StageDefinition::Place::kNotInFacet, &FacetStage::Compile, nullptr},
    {"$fill", StageDefinition::Place::kAnywhere, nullptr, &CompileFill},
    {"$graphLookup", StageDefinition::Place::kAnywhere, &GraphLookupStage::Compile, nullptr},
    {"$group", StageDefinition::Place::kAnywhere, &GroupStage::Compile, nullptr},
    {"$indexStats", StageDefinition::Place::kOutermost, &IndexStatsStage::Compile, nullptr},
    {"$limit", StageDefinition::Place::kAnywhere, &LimitStage::Compile, nullptr},
    {"$lookup", StageDefinition::Place::kAnywhere, &LookupStage::Compile, nullptr},
    {"$match", StageDefinition::Place::kAnywhere, &MatchStage::Compile, nullptr},
    {"$merge", StageDefinition::Place::kLast, &MergeStage::Compile, nullptr},
    {"$out", StageDefinition::Place::kLast, &OutStage::Compile, nullptr},
    {"$project", StageDefinition::Place::kAnywhere, &FieldTreeStage::Compile, nullptr},
    {"$redact", StageDefinition::Place::kAnywhere, &RedactStage::Compile, nullptr},
    {"$replaceRoot", StageDefinition::Place::kAnywhere, &ReplaceRootStage::Compile, nullptr},
    {"$replaceWith", StageDefinition::Place::kAnywhere, &ReplaceRootStage::Compile, nullptr},
    {"$sample", StageDefinition::Place::kAnywhere, &SampleStage::Compile, nullptr},
    {"$set", StageDefinition::Place::kAnywhere, &FieldTreeStage::Compile, nullptr},
    {"$setWindowFields", StageDefinition::Place::kAnywhere, &SetWindowFieldsStage::Compile,
     nullptr},
    {"$skip", StageDefinition::Place::kAnywhere, &SkipStage::Compile, nullptr},
    {"$sort", StageDefinition::Place::kAnywhere, &SortStage::Compile, nullptr},
    {"$sortByCount", StageDefinition::Place::kAnywhere, nullptr, &CompileSortByCount},
    {"$unionWith", StageDefinition::Place::kAnywhere, &UnionWithStage::Compile, nullptr},
    {"$unset", StageDefinition::Place::kAnywhere, &FieldTreeStage::Compile, nullptr},
    {"$unwind", StageDefinition::Place::kAnywhere, &UnwindStage::Compile, nullptr},
};

// The stages of MongoDB's manual that are not there, and why.
struct RefusedStage {
  std::string_view name;
  std::string_view reason;
};
inline constexpr RefusedStage kRefusedStages[] = {
    {"$changeStream", "there are no change streams"},
    {"$changeStreamSplitLargeEvent", "there are no change streams"},
    {"$currentOp", "it is about a server, not about documents"},
    {"$geoNear", "there are no geospatial indexes"},
    {"$listClusterCatalog", "there is no cluster"},
    {"$listLocalSessions", "there are no sessions"},
    {"$listSampledQueries", "there is no cluster"},
    {"$listSearchIndexes", "there are no Atlas Search indexes"},
    {"$listSessions", "there are no sessions"},
    {"$planCacheStats", "there is no plan cache"},
    {"$querySettings", "there are no query settings"},
    {"$queryStats", "it is about a server, not about documents"},
    {"$rankFusion", "there is no Atlas Search"},
    {"$scoreFusion", "there is no Atlas Search"},
    {"$search", "there is no Atlas Search; use $match with $text or $regex"},
    {"$searchMeta", "there is no Atlas Search"},
    {"$shardedDataDistribution", "there is no cluster"},
    {"$vectorSearch", "there are no vector indexes"},
};

inline absl::Status UnknownStage(std::string_view name, std::size_t position) {
  for (const RefusedStage& refused : kRefusedStages) {
    if (refused.name == name) {
      return absl::InvalidArgumentError(absl::StrCat("aggregation stage ", name, " (stage ",
                                                     position + 1,
                                                     ") is not supported: ", refused.reason));
    }
  }
  std::string all;
  for (const StageDefinition& definition : kStageDefinitions) {
    absl::StrAppend(&all, all.empty() ? "" : " ", definition.name);
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown aggregation stage '", DescribeText(name),
                                                 "' (stage ", position + 1, "); known are ", all));
}

inline absl::StatusOr<StageList> CompileStages(ValueView stages,
                                               const StageCompileContext& context);

// One element of the pipeline's array: a document with a single key, the stage's name.
inline absl::Status CompileStage(ValueView stage, std::size_t position, std::size_t count,
                                 const StageCompileContext& context, StageList* stages) {
  if (!stage.IsDocument() || stage.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("pipeline: stage ", position + 1,
                     " must be a document with one key, the stage's name, such as {$limit: 10}, "
                     "not ",
                     Describe(stage)));
  }
  const auto entry = *stage.entries().begin();
  const StageDefinition* definition = nullptr;
  for (const StageDefinition& candidate : kStageDefinitions) {
    if (candidate.name == entry.key) definition = &candidate;
  }
  if (definition == nullptr) return UnknownStage(entry.key, position);
  const StageSpecification specification{definition->name, position, entry.value, context};
  switch (definition->place) {
    case StageDefinition::Place::kAnywhere:
      break;
    case StageDefinition::Place::kNotInFacet:
      if (context.in_facet) return specification.Error("may not stand in a $facet");
      break;
    case StageDefinition::Place::kOutermost:
      if (context.depth != 0) return specification.Error("may not stand in a pipeline of a stage");
      if (position != 0) return specification.Error("must be the first stage");
      break;
    case StageDefinition::Place::kFirst:
      if (context.in_facet) return specification.Error("may not stand in a $facet");
      if (position != 0) return specification.Error("must be the first stage");
      break;
    case StageDefinition::Place::kLast:
      if (context.depth != 0) return specification.Error("may not stand in a pipeline of a stage");
      if (position + 1 != count) return specification.Error("must be the last stage");
      break;
  }
  if (definition->compile_list != nullptr) {
    ALOS_ASSIGN_OR_RETURN(StageList compiled, definition->compile_list(specification));
    std::move(compiled.begin(), compiled.end(), std::back_inserter(*stages));
    return absl::OkStatus();
  }
  ALOS_ASSIGN_OR_RETURN(std::unique_ptr<Stage> compiled, definition->compile(specification));
  stages->push_back(std::move(compiled));
  return absl::OkStatus();
}

inline absl::StatusOr<StageList> CompileStages(ValueView stages,
                                               const StageCompileContext& context) {
  if (!stages.IsArray()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "pipeline: needs an array of stages such as [{$match: {}}, {$limit: 10}], not ",
        Describe(stages)));
  }
  if (stages.size() > kPipelineStagesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("pipeline: ", stages.size(), " stages; at most ", kPipelineStagesMax));
  }
  if (context.depth > StageCompileContext::kDepthMax) {
    return absl::InvalidArgumentError(absl::StrCat("pipeline: pipelines nest deeper than ",
                                                   StageCompileContext::kDepthMax, " levels"));
  }
  StageList list;
  std::size_t position = 0;
  for (const ValueView stage : stages.elements()) {
    ALOS_RETURN_IF_ERROR(CompileStage(stage, position, stages.size(), context, &list));
    ++position;
  }
  LimitSorts(&list);
  return list;
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_PIPELINE_PROGRAM_H_
