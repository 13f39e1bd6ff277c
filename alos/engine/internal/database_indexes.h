// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Indexes: made because queries want them, or because somebody says so. The members of
// BasicDatabase (database.h) that do this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_INDEXES_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_INDEXES_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/epoch.h"
#include "alos/base/log.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/database.h"
#include "alos/engine/explain.h"
#include "alos/engine/internal/change_reader.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/reservations.h"
#include "alos/engine/internal/unique_enforcer.h"
#include "alos/engine/options.h"
#include "alos/engine/results.h"
#include "alos/index/index_definition.h"
#include "alos/query/filter.h"
#include "alos/query/update.h"
#include "alos/storage/durability.h"
#include "alos/storage/manifest.h"

namespace alos {

template <class Policies>
void BasicDatabase<Policies>::WantIndexes(Collection& collection,
                                          absl::Span<const std::string> paths,
                                          std::string_view reason, Explain* explain) {
  if (!options_.automatic_indexes && explain != nullptr) {
    for (const std::string& path : paths)
      explain->Advise(absl::StrCat("no index of '", path, "': CreateIndex would make one"));
  }
  if (!options_.automatic_indexes ||
      collection.live_documents.load(std::memory_order_relaxed) <
          static_cast<std::int64_t>(options_.automatic_index_documents_min)) {
    return;
  }
  const auto guard = context_.epochs->Enter();
  for (const std::string& path : paths) {
    if (collection.indexes.state()->indexes.size() >= kAutomaticIndexesMax) return;
    if (collection.indexes.WasEvicted(path, absl::Now())) {
      if (explain != nullptr)
        explain->Advise(absl::StrCat("the index of '", path,
                                     "' was dropped because all indexes together exceed their "
                                     "memory (--index-memory-mb)"));
      continue;
    }
    IndexDefinition definition;
    definition.paths = {path};
    definition.types = {""};
    definition.is_automatic = true;
    definition.reason = absl::StrCat("automatic: ", reason);
    definition.created_seconds = absl::ToUnixSeconds(absl::Now());
    indexer_->Want(&collection, std::move(definition));
    if (explain != nullptr)
      explain->Advise(absl::StrCat("an index of '", path, "' is being built since now"));
  }
}

template <class Policies>
void BasicDatabase<Policies>::WantCompound(Collection& collection, std::vector<std::string> paths,
                                           const std::string& sort_path, Explain* explain) {
  if (!options_.automatic_indexes || paths.size() >= kIndexPathsMax) return;
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  std::erase(paths, sort_path);
  if (paths.empty()) return;
  paths.push_back(sort_path);
  IndexDefinition definition;
  definition.paths = std::move(paths);
  definition.types.resize(definition.paths.size());
  if (collection.indexes.CountWish(definition.name()) != kCompoundWishes) return;
  if (collection.indexes.Copy().indexes.size() >= kAutomaticIndexesMax ||
      collection.indexes.WasEvicted(definition.name(), absl::Now())) {
    return;
  }
  definition.is_automatic = true;
  definition.reason = "automatic: a filter and a sort that keep coming together";
  definition.created_seconds = absl::ToUnixSeconds(absl::Now());
  explain->Advise(absl::StrCat("an index of '", definition.name(), "' is being built since now"));
  indexer_->Want(&collection, std::move(definition));
}

template <class Policies>
absl::Status BasicDatabase<Policies>::CheckIndex(const IndexDefinition& definition) {
  if (definition.paths.empty() || definition.paths.size() > kIndexPathsMax) {
    return absl::InvalidArgumentError(absl::StrCat("an index has 1 to ", kIndexPathsMax,
                                                   " fields, not ", definition.paths.size()));
  }
  for (std::size_t i = 0; i < definition.paths.size(); ++i) {
    const std::string& path = definition.paths[i];
    ALOS_RETURN_IF_ERROR(Path::Parse(path).status());
    if (path.find(',') != std::string::npos)
      return absl::InvalidArgumentError("the field of an index must not have a comma in its name");
    if (std::find(definition.paths.begin(), definition.paths.begin() + i, path) !=
        definition.paths.begin() + i) {
      return absl::InvalidArgumentError(absl::StrCat("an index has the field '", path, "' twice"));
    }
  }
  if (!definition.partial_filter.empty()) {
    if (definition.is_sparse) {
      return absl::InvalidArgumentError(
          "an index is sparse or partial, not both: a partial filter can ask for {$exists: true}");
    }
    ALOS_ASSIGN_OR_RETURN(const ValueView bytes, ValueView::Parse(definition.partial_filter));
    ALOS_ASSIGN_OR_RETURN(const Filter filter, Filter::Compile(bytes));
    if (filter.may_fail())
      return absl::InvalidArgumentError("the filter of a partial index must not have an $expr");
  }
  if (definition.expire_after_seconds) {
    if (definition.paths.size() != 1 || definition.paths[0] == "_id") {
      return absl::InvalidArgumentError(
          "documents expire after one field, not several, and not after '_id'");
    }
    if (*definition.expire_after_seconds < 0 ||
        *definition.expire_after_seconds > kExpireAfterSecondsMax) {
      return absl::InvalidArgumentError(absl::StrCat("documents expire after 0 to ",
                                                     kExpireAfterSecondsMax, " seconds, not ",
                                                     *definition.expire_after_seconds));
    }
  }
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::CreateIndex(std::string_view collection,
                                                  IndexDefinition definition) {
  ALOS_RETURN_IF_ERROR(CheckIndex(definition));
  definition.id = 0;
  definition.is_automatic = false;
  if (definition.reason.empty()) definition.reason = "created by a client";
  definition.types.resize(definition.paths.size());
  definition.created_seconds = absl::ToUnixSeconds(absl::Now());
  const std::string name = definition.name();
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindOrCreateCollection(collection));
  bool is_new = false;
  {
    std::optional<engine_internal::Reservations::Pause> pause;
    if (definition.is_unique) {
      pause.emplace(&reservations_, kReservationPatience);
      ALOS_RETURN_IF_ERROR(pause->status());
    }
    absl::MutexLock lock(&found->unique.definitions());
    ALOS_RETURN_IF_ERROR(DefineIndex(*found, std::move(definition), &is_new));
  }
  if (!indexer_->WaitReady(found)) {
    if (is_new) DropIndex(collection, name).IgnoreError();
    return absl::UnavailableError(
        "the index was not built: the database is closing, or a part of its log is damaged (see "
        "its log)");
  }
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::DefineIndex(Collection& collection,
                                                  IndexDefinition definition, bool* is_new) {
  std::optional<IndexDefinition> before;
  {
    const IndexState state = collection.indexes.Copy();
    if (const engine_internal::Index* index = state.FindIndexByName(definition.name()))
      before = index->definition;
    if (!before && state.indexes.size() >= kIndexesMax) {
      return absl::ResourceExhaustedError(absl::StrCat("the collection '", collection.name,
                                                       "' has ", kIndexesMax,
                                                       " indexes already; drop one first"));
    }
  }
  if (before && !before->is_automatic) {
    const auto options = [](const IndexDefinition& of) {
      return std::tie(of.is_unique, of.is_sparse, of.partial_filter, of.expire_after_seconds);
    };
    if (options(definition) != options(*before) &&
        options(definition) != options(IndexDefinition())) {
      return absl::FailedPreconditionError(absl::StrCat("there is an index '", before->name(),
                                                        "' of collection '", collection.name,
                                                        "' with other options; drop it first"));
    }
    if (!definition.is_text || before->is_text) return absl::OkStatus();
    // $text searches it from now on; the rest stays.
    definition = *before;
    definition.is_text = true;
  }
  const bool makes_unique = definition.is_unique && !(before && before->is_unique);
  if (makes_unique) ALOS_RETURN_IF_ERROR(unique_->Create(&collection, definition));
  // Before the manifest says so: if it did and a crash came, duplicates would be in a unique index.
  indexer_->Define(&collection, definition);
  const absl::Status stored = StoreIndexes(collection, 0);
  if (!stored.ok()) {
    if (makes_unique) unique_->Remove(&collection, definition.name());
    if (before) {
      indexer_->Define(&collection, *before);
    } else {
      indexer_->Drop(&collection, definition.name());
    }
    return stored;
  }
  *is_new = !before;
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::StoreIndexes(Collection& collection, std::uint32_t but) {
  std::vector<std::string> indexes;
  for (const auto& index : collection.indexes.Copy().indexes) {
    if (index->definition.is_automatic || index->definition.id == but) continue;
    Builder builder(&indexes.emplace_back());
    AppendIndexDefinition(index->definition, &builder);
  }
  absl::MutexLock lock(&manifest_mutex_);
  const auto stored = std::find_if(
      manifest_.collections.begin(), manifest_.collections.end(),
      [&](const Manifest::Collection& candidate) { return candidate.id == collection.id; });
  if (stored == manifest_.collections.end()) {
    return absl::NotFoundError(
        absl::StrCat("the collection '", collection.name, "' was dropped meanwhile"));
  }
  ALOS_RETURN_IF_ERROR(durability_->health());
  const MemoryReserve::Critical critical;
  stored->indexes.emplace().swap(indexes);
  const absl::Status written = WriteManifest();
  if (!written.ok()) stored->indexes->swap(indexes);
  return written;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::DropIndex(std::string_view collection,
                                                std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  const auto missing = [&] {
    return absl::NotFoundError(
        absl::StrCat("there is no index '", name, "' in collection '", collection, "'"));
  };
  if (found == nullptr) return missing();
  const engine_internal::Reservations::Pause pause(&reservations_, kReservationPatience);
  ALOS_RETURN_IF_ERROR(pause.status());
  absl::MutexLock lock(&found->unique.definitions());
  std::optional<IndexDefinition> definition;
  {
    const IndexState state = found->indexes.Copy();
    const engine_internal::Index* index = state.FindIndexByName(name);
    if (index == nullptr) return missing();
    definition = index->definition;
  }
  if (!definition->is_automatic) ALOS_RETURN_IF_ERROR(StoreIndexes(*found, definition->id));
  if (definition->is_unique) unique_->Remove(found, name);
  indexer_->Drop(found, name);
  return absl::OkStatus();
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::DeleteExpired(
    absl::FunctionRef<bool()> go_on) {
  std::vector<Collection*> collections;
  {
    const auto guard = context_.epochs->Enter();
    collections = collections_.All();
  }
  std::uint64_t all = 0;
  absl::Status first;
  for (Collection* collection : collections) {
    for (const auto& index : collection->indexes.Copy().indexes) {
      const IndexDefinition& definition = index->definition;
      if (!definition.expire_after_seconds || !go_on()) continue;
      const absl::StatusOr<std::uint64_t> deleted = DeleteExpired(*collection, definition, go_on);
      if (!deleted.ok()) {
        first.Update(deleted.status());
        continue;
      }
      all += *deleted;
      if (*deleted != 0) {
        ALOS_LOG(kInfo) << context_.directory << ": deleted " << *deleted
                        << " expired documents of '" << collection->name << "', by index "
                        << definition.name();
      }
    }
  }
  if (!first.ok()) return first;
  return all;
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::DeleteExpired(
    Collection& collection, const IndexDefinition& definition, absl::FunctionRef<bool()> go_on) {
  // Any element of an array that is early enough: so is the earliest then.
  const absl::Time now = options_.clock ? options_.clock() : absl::Now();
  const absl::Time until = now - absl::Seconds(*definition.expire_after_seconds);
  const std::int64_t seconds = absl::ToUnixSeconds(until);
  const auto nanoseconds = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
      (until - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1), 0, 999'999'999));
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("$and").StartArray();
  builder.StartDocument();
  builder.Key(definition.paths[0]).StartDocument();
  builder.Key("$lte").Time({seconds, nanoseconds});
  builder.EndDocument();
  builder.EndDocument();
  if (!definition.partial_filter.empty())
    builder.Raw(ValueView::FromTrusted(definition.partial_filter));
  builder.EndArray();
  builder.EndDocument();
  ALOS_ASSIGN_OR_RETURN(const Filter filter, Filter::Compile(ValueView::FromTrusted(bytes)));
  std::uint64_t deleted = 0;
  std::vector<std::string> ids;
  do {
    ids.clear();
    absl::Status status;
    {
      const auto guard = context_.epochs->Enter();
      ALOS_RETURN_IF_ERROR(VisitMatches(
          collection, filter, durability_->visible_timestamp(), [&](ValueView document) {
            absl::StatusOr<std::string> id = EncodeId(document.Find("_id").value_or(ValueView()));
            status = id.status();
            if (!id.ok()) return false;
            ids.push_back(*std::move(id));
            return ids.size() < kExpiredAtOnce;
          }));
    }
    ALOS_RETURN_IF_ERROR(status);
    ALOS_ASSIGN_OR_RETURN(const UpdateResult result, ChangeMatches(
                                                         collection, filter, false,
                                                         [](ValueView, Decision* decision) {
                                                           decision->action =
                                                               Decision::Action::kDelete;
                                                           return absl::OkStatus();
                                                         },
                                                         &ids));
    deleted += result.modified;
    // The next batch must not find these again.
    if (result.commit_timestamp != 0) ALOS_RETURN_IF_ERROR(WaitVisible(result.commit_timestamp));
  } while (ids.size() == kExpiredAtOnce && go_on());
  return deleted;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::RebuildIndex(std::string_view collection,
                                                   std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr || !indexer_->Rebuild(found, name)) {
    return absl::NotFoundError(
        absl::StrCat("there is no index '", name, "' in collection '", collection, "'"));
  }
  return indexer_->WaitReady(found) ? absl::OkStatus()
                                    : absl::UnavailableError("the index was not built");
}

template <class Policies>
absl::Status BasicDatabase<Policies>::ListIndexes(std::string_view collection,
                                                  absl::FunctionRef<void(ValueView)> visit) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) return absl::OkStatus();
  const IndexState state = found->indexes.Copy();
  for (const auto& index : state.indexes) {
    std::string bytes;
    Builder builder(&bytes);
    builder.StartDocument();
    builder.Key("name").String(index->definition.name());
    builder.Key("field").String(index->definition.name());
    builder.Key("definition");
    AppendIndexDefinition(index->definition, &builder);
    builder.Key("ready").Bool(state.IsReady(index->definition.id));
    builder.Key("trigrams").Bool(index->wants_text.load());
    builder.Key("bytes").Uint(state.SizeBytes(index->definition.id));
    builder.Key("uses").Uint(index->uses.load());
    builder.Key("last_use").Int(index->last_use_seconds.load());
    builder.EndDocument();
    visit(ValueView::FromTrusted(bytes));
  }
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::CheckHint(std::string_view collection,
                                                std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr || name == "_id_" || name == "_id") return absl::OkStatus();
  const auto guard = context_.epochs->Enter();
  if (found->indexes.state()->FindIndexByName(name) != nullptr) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("there is no index '", name, "' in collection '", collection, "'"));
}

template <class Policies>
absl::StatusOr<std::vector<std::string>> BasicDatabase<Policies>::TextFields(
    std::string_view collection) {
  std::vector<std::string> fields;
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) return fields;
  const IndexState state = found->indexes.Copy();
  for (const auto& index : state.indexes) {
    const IndexDefinition& definition = index->definition;
    for (std::size_t i = 0; i < definition.paths.size(); ++i) {
      if (definition.is_text || (i < definition.types.size() && definition.types[i] == "text"))
        fields.push_back(definition.paths[i]);
    }
  }
  return fields;
}

template <class Policies>
absl::StatusOr<bool> BasicDatabase<Policies>::WaitForIndexes(std::string_view collection) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) return true;
  return indexer_->WaitReady(found);
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_INDEXES_H_
