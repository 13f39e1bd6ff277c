// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a pipeline needs from the outside while it runs: limits, and a database for the stages that
// read or write one.

#ifndef ALOS_QUERY_PIPELINE_ENVIRONMENT_H_
#define ALOS_QUERY_PIPELINE_ENVIRONMENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"

namespace alos {

struct PipelineLimits {
  // What one stage may hold at a time: the documents of a $sort, the groups of a $group.
  std::size_t stage_memory_bytes_max = std::size_t{100} << 20;
};

// How long each stage of a run took, the writing or visiting of results in the last one's.
using StageTimes = std::vector<std::pair<std::string, absl::Duration>>;

// What $merge wants done with one document.
struct MergeDecision {
  enum class Action { kNothing, kPut } action = Action::kNothing;
  std::string document;  // for kPut; with the `_id` of the current one if there is a current one
};

// The database as a pipeline sees it. A function that is absent makes the stages that need it fail
// with kFailedPrecondition, naming the stage.
//
// Threads: called from the thread that runs the pipeline, one at a time; but a function may be
// called again from within a callback it made. Lifetime: must outlive the run.
struct PipelineEnvironment {
  using Visit = absl::FunctionRef<bool(ValueView)>;
  using Decide = absl::FunctionRef<absl::StatusOr<MergeDecision>(std::optional<ValueView> current)>;

  // Calls `visit` for each document of `collection` that `filter` (nullptr: every document) matches
  // until it returns false. All reads of one run see one snapshot, which is that of the source.
  // A collection that does not exist is empty.
  std::function<absl::Status(std::string_view collection, const Filter* filter, Visit visit)> find;

  // True when `find` answers an equality on `path` without looking at every document. Absent: only
  // for "_id".
  std::function<bool(std::string_view collection, std::string_view path)> is_fast;

  // $out: begins to replace the documents of `collection`. `put` takes the new ones (one without
  // `_id` gets one); `commit` makes them the only ones, all at once. Without it nothing changes.
  struct Replacement {
    std::function<absl::Status(ValueView document)> put;
    std::function<absl::Status()> commit;
  };
  std::function<absl::StatusOr<Replacement>(std::string_view collection)> replace_collection;

  // $merge: finds the newest document of `collection` that `filter` matches, calls `decide` with it
  // or with nullopt, and does what it says, as one atomic write. `decide` may be called again.
  // Errors: kInvalidArgument when more than one document matches.
  std::function<absl::Status(std::string_view collection, const Filter& filter, Decide decide)>
      merge;

  // $indexStats: a document for each index.
  std::function<absl::Status(std::string_view collection, Visit visit)> index_stats;

  // $collStats and $count of it: {count, size, storageSize, ...}. kNotFound: no such collection.
  std::function<absl::StatusOr<std::string>(std::string_view collection)> collection_stats;

  // The collection that the pipeline runs over, and its database, for $indexStats and $collStats.
  std::string collection;
  std::string database;

  // Seeds $sample; absent: a different sample each time.
  std::optional<std::uint64_t> random_seed;
};

}  // namespace alos

#endif  // ALOS_QUERY_PIPELINE_ENVIRONMENT_H_
