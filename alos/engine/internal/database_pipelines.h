// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Pipelines: the stages that indexes can answer, and those that read or write collections. The
// members of BasicDatabase (database.h) that do this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_PIPELINES_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_PIPELINES_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/epoch.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/database.h"
#include "alos/engine/explain.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/index_group.h"
#include "alos/engine/internal/index_reader.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/reservations.h"
#include "alos/engine/results.h"
#include "alos/index/index_definition.h"
#include "alos/query/filter.h"
#include "alos/query/index_predicate.h"
#include "alos/query/pipeline.h"
#include "alos/query/pipeline_environment.h"
#include "alos/storage/durability.h"
#include "alos/storage/manifest.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

template <class Policies>
absl::Status BasicDatabase<Policies>::Aggregate(std::string_view collection,
                                                const Pipeline& pipeline,
                                                absl::FunctionRef<bool(ValueView)> visit,
                                                std::optional<std::uint64_t> read_timestamp,
                                                Explain* explain, bool force_scan) {
  SnapshotRegistry::Pin pin;
  if (read_timestamp) {
    ALOS_ASSIGN_OR_RETURN(pin, PinSnapshot(*read_timestamp));
  }
  const auto guard = context_.epochs->Enter();
  const std::uint64_t timestamp = read_timestamp.value_or(durability_->visible_timestamp());
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  std::uint64_t written = 0;
  PipelineEnvironment environment = MakePipelineEnvironment(collection, timestamp, &written);
  // Who asks for a snapshot runs the pipeline batch by batch: each time over the same sample.
  if (read_timestamp) environment.random_seed = timestamp;
  ALOS_RETURN_IF_ERROR(RunPipeline(found, pipeline, timestamp, visit, PipelineLimits(), environment,
                                   explain, force_scan));
  return WaitVisible(written);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::RunPipeline(Collection* collection, const Pipeline& pipeline,
                                                  std::uint64_t timestamp,
                                                  absl::FunctionRef<bool(ValueView)> visit,
                                                  const PipelineLimits& limits,
                                                  const PipelineEnvironment& environment,
                                                  Explain* explain, bool force_scan) {
  const Filter& filter =
      pipeline.leading_match() != nullptr ? *pipeline.leading_match() : MatchEverything();
  const auto count_returned = [&](ValueView document) {
    if (explain != nullptr) ++explain->returned;
    return visit(document);
  };
  StageTimes times;
  StageTimes* const timed = explain != nullptr ? &times : nullptr;
  const absl::Cleanup report = [&] {
    for (const auto& [name, time] : times) explain->AddStage(name, time);
  };
  const bool may_use_index = !force_scan && collection != nullptr && !pipeline.has_own_source() &&
                             !filter.id_candidates() && !filter.may_fail();
  if (const GroupShape* shape = pipeline.leading_group(); shape != nullptr && may_use_index) {
    using IndexGroup = engine_internal::IndexGroup<Policies>;
    WantIndexes(*collection, IndexGroup::Paths(*shape), "group", explain);
    const std::optional<absl::StatusOr<bool>> grouped =
        WithIndexes(*collection, filter, timestamp, explain, true,
                    [&](IndexReader& reader, const IndexPredicate& predicate,
                        const IndexState& state) -> absl::StatusOr<bool> {
                      IndexGroup group(&reader, &state, &filter, shape);
                      ALOS_ASSIGN_OR_RETURN(const bool folded, group.Fold(predicate));
                      if (!folded) return false;
                      if (explain != nullptr) explain->plan = Explain::kPlanGroup;
                      const auto sort = pipeline.sort_at(shape->next_stage);
                      if (sort && sort->limit && *sort->limit <= UINT64_MAX - sort->skip)
                        group.KeepFirst(*sort->sort, sort->skip + *sort->limit);
                      ALOS_RETURN_IF_ERROR(pipeline.RunFrom(
                          shape->next_stage, [&](auto&& push) { group.Emit(push); }, count_returned,
                          limits, environment, timed));
                      return true;
                    });
    if (grouped) {
      ALOS_RETURN_IF_ERROR(grouped->status());
      if (**grouped) return absl::OkStatus();
    }
  }
  const std::optional<Pipeline::LeadingSort> sort = pipeline.leading_sort();
  if (sort && sort->limit && may_use_index) {
    FindQuery query;
    query.sort = sort->sort;
    query.skip = sort->skip;
    query.limit = *sort->limit;
    query.sort_bytes_max = limits.stage_memory_bytes_max;
    query.explain = explain;
    std::uint64_t returned = 0;
    const absl::Status status = pipeline.RunFrom(
        sort->next_stage,
        [&](auto&& push) {
          return FindSorted(*collection, query, filter, timestamp,
                            [&](ValueView document) { return push(document); });
        },
        [&](ValueView document) {
          ++returned;
          return visit(document);
        },
        limits, environment, timed);
    // Of the pipeline, not of its sort.
    if (explain != nullptr) explain->returned = returned;
    return status;
  }
  return pipeline.Run(
      [&](auto&& push) -> absl::Status {
        if (collection == nullptr) return absl::OkStatus();
        return VisitMatches(
            *collection, filter, timestamp, [&](ValueView document) { return push(document); },
            explain, force_scan);
      },
      count_returned, limits, environment, timed);
}

template <class Policies>
PipelineEnvironment BasicDatabase<Policies>::MakePipelineEnvironment(std::string_view collection,
                                                                     std::uint64_t timestamp,
                                                                     std::uint64_t* written) {
  PipelineEnvironment environment;
  environment.collection = collection;
  const std::size_t slash = context_.directory.find_last_of('/');
  environment.database =
      slash == std::string::npos ? context_.directory : context_.directory.substr(slash + 1);
  environment.find = [this, timestamp](std::string_view name, const Filter* filter,
                                       PipelineEnvironment::Visit visit) -> absl::Status {
    ALOS_ASSIGN_OR_RETURN(Collection * from, FindCollection(name));
    if (from == nullptr) return absl::OkStatus();
    return VisitMatches(*from, filter != nullptr ? *filter : MatchEverything(), timestamp, visit);
  };
  environment.is_fast = [this](std::string_view name, std::string_view path) {
    const absl::StatusOr<Collection*> from = FindCollection(name);
    if (!from.ok() || *from == nullptr) return false;
    const auto guard = context_.epochs->Enter();
    if ((*from)->indexes.state()->FindIndex(path) != nullptr) return true;
    WantIndexes(**from, {std::string(path)}, "lookup", nullptr);
    return false;
  };
  environment.replace_collection = [this, written](std::string_view name) {
    return BeginReplacement(name, written);
  };
  environment.merge = [this, written](std::string_view name, const Filter& filter,
                                      PipelineEnvironment::Decide decide) {
    return MergeDocument(name, filter, decide, written);
  };
  environment.index_stats = [this](std::string_view name,
                                   PipelineEnvironment::Visit visit) -> absl::Status {
    bool more = true;
    return ListIndexes(name, [&](ValueView index) { more = more && visit(index); });
  };
  environment.collection_stats = [this](std::string_view name) -> absl::StatusOr<std::string> {
    ALOS_ASSIGN_OR_RETURN(Collection * from, FindCollection(name));
    if (from == nullptr) {
      return absl::NotFoundError(absl::StrCat("there is no collection '", name, "'"));
    }
    std::string bytes;
    Builder builder(&bytes);
    builder.StartDocument(2);
    builder.Key("count").Int(from->live_documents.load(std::memory_order_relaxed));
    builder.Key("nindexes").Uint(from->indexes.Copy().indexes.size());
    builder.EndDocument();
    return bytes;
  };
  return environment;
}

// The new documents are those of a collection that has no name yet. When they are on stable
// storage the manifest gives it the name: a crash leaves either the old documents or the new ones.
template <class Policies>
absl::StatusOr<PipelineEnvironment::Replacement> BasicDatabase<Policies>::BeginReplacement(
    std::string_view name, std::uint64_t* written) {
  ALOS_RETURN_IF_ERROR(engine_internal::CheckCollectionName(name));
  // The indexes that clients created stay.
  std::vector<IndexDefinition> definitions;
  ALOS_ASSIGN_OR_RETURN(Collection * replaced, FindCollection(name));
  if (replaced != nullptr) {
    const IndexState state = replaced->indexes.Copy();
    for (const auto& index : state.indexes) {
      if (index->definition.is_automatic) continue;
      if (index->definition.is_unique) {
        return absl::InvalidArgumentError(
            absl::StrCat("collection '", name, "' has the unique index '", index->definition.name(),
                         "'; use $merge, which keeps to it"));
      }
      definitions.push_back(index->definition);
    }
  }
  Collection* next = nullptr;
  {
    absl::MutexLock lock(&manifest_mutex_);
    ALOS_RETURN_IF_ERROR(durability_->health());
    const MemoryReserve::Critical critical;
    const std::uint32_t id = manifest_.next_collection_id++;
    // Else the id could be given again after a crash, to a collection that then had these
    // documents.
    ALOS_RETURN_IF_ERROR(WriteManifest());
    next = collections_.Make(id, name);
    absl::MutexLock names_lock(&names_mutex_);
    names_[id] = {std::string(name), std::numeric_limits<std::uint64_t>::max()};
  }
  PipelineEnvironment::Replacement replacement;
  replacement.put = [this, next, written](ValueView document) -> absl::Status {
    InsertableDocument insertable;
    ALOS_RETURN_IF_ERROR(MakeInsertable(document, &insertable));
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp,
                          InsertEncoded(*next, insertable.id, insertable.raw));
    *written = std::max(*written, timestamp);
    return absl::OkStatus();
  };
  replacement.commit = [this, next, written,
                        definitions = std::move(definitions)]() -> absl::Status {
    ALOS_RETURN_IF_ERROR(WaitVisible(*written));
    ALOS_RETURN_IF_ERROR(Flush());
    ALOS_RETURN_IF_ERROR(Rename(next));
    for (const IndexDefinition& definition : definitions) {
      ALOS_RETURN_IF_ERROR(CreateIndex(next->name, definition));
    }
    return absl::OkStatus();
  };
  return replacement;
}

// Makes `next`, which nobody finds yet, the collection of its name.
template <class Policies>
absl::Status BasicDatabase<Policies>::Rename(Collection* next) {
  const engine_internal::Reservations::Pause pause(&reservations_, kReservationPatience);
  ALOS_RETURN_IF_ERROR(pause.status());
  ALOS_RETURN_IF_ERROR(OwnCollection(&events_, engine_internal::kEventsCollection).status());
  absl::MutexLock lock(&manifest_mutex_);
  ALOS_RETURN_IF_ERROR(durability_->health());
  const MemoryReserve::Critical critical;
  const std::vector<Manifest::Collection> before = manifest_.collections;
  std::uint32_t replaced_id = 0;
  for (const Manifest::Collection& collection : before) {
    if (collection.name == next->name) replaced_id = collection.id;
  }
  ALOS_RETURN_IF_ERROR(WriteEvent(next->name, replaced_id, next->id));
  std::erase_if(manifest_.collections, [next](const Manifest::Collection& collection) {
    return collection.name == next->name;
  });
  manifest_.collections.push_back({next->id, next->name, std::vector<std::string>()});
  const absl::Status status = WriteManifest();
  if (!status.ok() && !absl::IsUnavailable(status)) {  // see Drop()
    manifest_.collections = before;
    return status;
  }
  const auto guard = context_.epochs->Enter();
  if (Collection* replaced = collections_.Find(next->name)) indexer_->Close(replaced);
  collections_.Put(next);
  return status;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::MergeDocument(std::string_view name, const Filter& filter,
                                                    PipelineEnvironment::Decide decide,
                                                    std::uint64_t* written) {
  ALOS_ASSIGN_OR_RETURN(Collection * into, FindOrCreateCollection(name));
  std::string raw;  // outlives what the decision refers to
  const auto decide_for = [&](std::optional<ValueView> current,
                              Decision* decision) -> absl::Status {
    ALOS_ASSIGN_OR_RETURN(MergeDecision merged, decide(current));
    if (merged.action == MergeDecision::Action::kNothing) return absl::OkStatus();
    raw = std::move(merged.document);
    decision->action = Decision::Action::kPut;
    Encode(raw, &decision->body);
    return absl::OkStatus();
  };
  const auto write = [&](std::string_view id, auto&& change) -> absl::Status {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, WriteDocument(*into, id, change));
    *written = std::max(*written, timestamp);
    return absl::OkStatus();
  };
  // {_id: value}: the document can be changed or made at once.
  if (filter.id_candidates() && filter.equalities().size() == 1 &&
      filter.equalities()[0].path == "_id") {
    ALOS_ASSIGN_OR_RETURN(const std::string id, EncodeId(filter.equalities()[0].value));
    return write(id, decide_for);
  }
  // Others may change what was found before it is written; then it is looked for again.
  for (int attempt = 0; attempt < 16; ++attempt) {
    // What this pipeline has written has to be found, too.
    ALOS_RETURN_IF_ERROR(WaitVisible(*written));
    std::string id;
    std::size_t count = 0;
    absl::Status status;
    const auto guard = context_.epochs->Enter();
    ALOS_RETURN_IF_ERROR(
        VisitMatches(*into, filter, durability_->visible_timestamp(), [&](ValueView document) {
          absl::StatusOr<std::string> encoded =
              EncodeId(document.Find("_id").value_or(ValueView()));
          status = encoded.status();
          if (encoded.ok()) id = *std::move(encoded);
          return status.ok() && ++count < 2;
        }));
    ALOS_RETURN_IF_ERROR(status);
    if (count > 1) {
      return absl::InvalidArgumentError(absl::StrCat("more than one document of collection '", name,
                                                     "' has the same values of 'on'"));
    }
    if (count == 1) {
      bool matched = false;
      ALOS_RETURN_IF_ERROR(
          write(id, [&](std::optional<ValueView> current, Decision* decision) -> absl::Status {
            if (!current || !filter.Matches(*current)) return absl::OkStatus();
            matched = true;
            return decide_for(current, decision);
          }));
      if (matched) return absl::OkStatus();
      continue;
    }
    ALOS_ASSIGN_OR_RETURN(const MergeDecision merged, decide(std::nullopt));
    if (merged.action == MergeDecision::Action::kNothing) return absl::OkStatus();
    ALOS_ASSIGN_OR_RETURN(InsertResult inserted,
                          InsertOne(name, ValueView::FromTrusted(merged.document)));
    *written = std::max(*written, inserted.commit_timestamp);
    return absl::OkStatus();
  }
  return absl::AbortedError(absl::StrCat("the documents of collection '", name,
                                         "' change faster than they can be merged; try again"));
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_PIPELINES_H_
