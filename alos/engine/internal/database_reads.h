// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Reads: by `_id`, by the indexes, by a scan. The members of BasicDatabase (database.h) that do
// this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_READS_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_READS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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
#include "alos/base/mapped_read_guard.h"
#include "alos/base/parallel.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/engine/database.h"
#include "alos/engine/explain.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/cursor_table.h"
#include "alos/engine/internal/index_reader.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/scan_cursor.h"
#include "alos/engine/internal/shard.h"
#include "alos/index/column.h"
#include "alos/index/index_key.h"
#include "alos/index/segment.h"
#include "alos/query/filter.h"
#include "alos/query/index_predicate.h"
#include "alos/query/internal/sorter.h"
#include "alos/query/update.h"
#include "alos/storage/durability.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

template <class Policies>
absl::StatusOr<bool> BasicDatabase<Policies>::FindById(
    std::string_view collection, std::string_view encoded_id,
    absl::FunctionRef<void(ValueView)> visit, std::optional<std::uint64_t> read_timestamp) {
  ALOS_RETURN_IF_ERROR(engine_internal::CheckCollectionName(collection));
  SnapshotRegistry::Pin pin;
  if (read_timestamp) {
    ALOS_ASSIGN_OR_RETURN(pin, PinSnapshot(*read_timestamp));
  }
  // First the guard: what a snapshot read under it sees is kept while it lives.
  const auto guard = context_.epochs->Enter();
  const std::uint64_t timestamp = read_timestamp.value_or(durability_->visible_timestamp());
  const Collection* found = collections_.Find(collection);
  if (found == nullptr) return false;
  const std::uint64_t hash = Hash(found->id, encoded_id);
  Shard& shard = ShardOf(hash);
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t offset,
                        shard.FindVersion(found->id, encoded_id, hash, timestamp));
  if (offset == 0) return false;
  ALOS_RETURN_IF_ERROR(shard.VisitDocument(offset, visit));
  return true;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::VisitMatches(Collection& collection, const Filter& filter,
                                                   std::uint64_t timestamp,
                                                   absl::FunctionRef<bool(ValueView)> visit,
                                                   Explain* explain, bool force_scan) {
  if (filter.may_fail() && !filter.reports_errors()) {
    return filter.RunReporting([&](const Filter& reporting) {
      return VisitMatches(collection, reporting, timestamp, visit, explain, force_scan);
    });
  }
  if (force_scan) return ScanMatches(collection, filter, timestamp, visit, explain);
  const auto guard = context_.epochs->Enter();
  bool go_on = true;
  const auto visit_match = [&](ValueView document) {
    if (explain != nullptr) {
      ++explain->documents_examined;
      explain->bytes_read += document.bytes().size();
    }
    if (filter.Matches(document)) go_on = visit(document);
  };
  if (filter.id_candidates()) {
    if (explain != nullptr) explain->plan = Explain::kPlanId;
    for (const std::string& id : *filter.id_candidates()) {
      const std::uint64_t hash = Hash(collection.id, id);
      Shard& shard = ShardOf(hash);
      if (explain != nullptr) ++explain->keys_examined;
      ALOS_ASSIGN_OR_RETURN(const std::uint64_t offset,
                            shard.FindVersion(collection.id, id, hash, timestamp));
      if (offset != 0) ALOS_RETURN_IF_ERROR(shard.VisitDocument(offset, visit_match));
      if (!go_on) break;
    }
    return absl::OkStatus();
  }
  const std::optional<absl::Status> visited =
      WithIndexes(collection, filter, timestamp, explain, false,
                  [&](IndexReader& reader, const IndexPredicate& predicate, const IndexState&) {
                    return reader.VisitMatches(filter, predicate, visit);
                  });
  return visited ? *visited : ScanMatches(collection, filter, timestamp, visit, explain);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::ScanMatches(Collection& collection, const Filter& filter,
                                                  std::uint64_t timestamp,
                                                  absl::FunctionRef<bool(ValueView)> visit,
                                                  Explain* explain) {
  if (explain != nullptr) explain->plan = Explain::kPlanScan;
  // A large collection is scanned by all cores, behind its first shard: that may be enough.
  constexpr std::int64_t kParallelDocumentsMin = 100'000;
  const bool in_parallel =
      collection.live_documents.load(std::memory_order_relaxed) >= kParallelDocumentsMin;
  absl::Mutex mutex;
  bool go_on = true;
  absl::Status status;
  const auto scan = [&](std::size_t number) {
    const auto guard = context_.epochs->Enter();
    std::uint64_t documents = 0;
    std::uint64_t bytes = 0;
    bool shard_goes_on = true;
    const absl::Status scanned = shards_[number]
                                     ->Scan(collection.id, timestamp, 0,
                                            [&](std::uint64_t, ValueView document) {
                                              ++documents;
                                              bytes += document.bytes().size();
                                              if (!filter.Matches(document)) return true;
                                              absl::MutexLock lock(&mutex);
                                              if (go_on) go_on = visit(document);
                                              return shard_goes_on = go_on;
                                            })
                                     .status();
    absl::MutexLock lock(&mutex);
    status.Update(scanned);
    if (explain != nullptr) {
      explain->documents_examined += documents;
      explain->bytes_read += bytes;
    }
    go_on = go_on && scanned.ok();
    return go_on;
  };
  std::size_t next = 0;
  for (; next < shards_.size() && (next == 0 || !in_parallel); ++next) {
    if (!scan(next)) return status;
  }
  if (next < shards_.size()) {
    RunInParallel(shards_.size() - next, [&](std::size_t task) { return scan(next + task); });
  }
  return status;
}

template <class Policies>
template <class Use>
auto BasicDatabase<Policies>::WithIndexes(Collection& collection, const Filter& filter,
                                          std::uint64_t timestamp, Explain* explain, bool always,
                                          Use&& use)
    -> std::optional<decltype(use(std::declval<IndexReader&>(),
                                  std::declval<const IndexPredicate&>(),
                                  std::declval<const IndexState&>()))> {
  // The files of indexes were checked when they were opened, not each time they are read.
  if (MappedReadGuard::read_only_failures() != 0) return std::nullopt;
  const auto guard = context_.epochs->Enter();
  const IndexState* state = collection.indexes.state();
  const std::int64_t now = absl::ToUnixSeconds(absl::Now());
  std::vector<std::string> wanted;
  const auto index_of = [&](std::string_view path) -> std::optional<std::uint32_t> {
    engine_internal::Index* index = state->FindIndex(path);
    if (index == nullptr) return std::nullopt;
    index->uses.fetch_add(1, std::memory_order_relaxed);
    index->last_use_seconds.store(now, std::memory_order_relaxed);
    return index->definition.id;
  };
  IndexPredicate predicate(filter, index_of, &wanted);
  for (const auto& index : state->indexes) {
    if (index->definition.paths.size() > 1)
      predicate.AddCompound(index->definition.id, index->definition.paths);
  }
  if (!wanted.empty()) WantIndexes(collection, wanted, "filter", explain);
  for (const std::uint32_t id : predicate.text_indexes()) {
    for (const auto& index : state->indexes) {
      if (index->definition.id == id) indexer_->WantText(&collection, index.get());
    }
  }
  if (!predicate.has_leaves() && predicate.compounds().empty() && !always) return std::nullopt;
  IndexReader reader(context_, shards_, collection.id, *state, timestamp, explain);
  if (!reader.is_usable()) return std::nullopt;
  if (absl::Status prepared = reader.Prepare(); !prepared.ok()) return std::nullopt;
  auto result = use(reader, predicate, *state);
  if (MappedReadGuard::read_only_failures() != 0) {
    return absl::DataLossError(absl::StrCat(
        context_.directory,
        ": an index file could not be read; ask again: indexes are not used until the next start"));
  }
  return result;
}

template <class Policies>
bool BasicDatabase<Policies>::IsQuick(std::string_view collection, const Filter& filter,
                                      std::uint64_t documents_wanted) const {
  using query_internal::FilterOp;
  for (const query_internal::FilterNode& node : filter.program().nodes()) {
    if (node.op != FilterOp::kAnd && node.op != FilterOp::kEqual && node.op != FilterOp::kGreater &&
        node.op != FilterOp::kGreaterOrEqual && node.op != FilterOp::kLess &&
        node.op != FilterOp::kLessOrEqual) {
      return false;
    }
  }
  const auto guard = context_.epochs->Enter();
  const std::uint64_t timestamp = durability_->visible_timestamp();
  const Collection* found = collections_.Find(collection);
  if (found == nullptr) return false;
  const IndexState& state = *found->indexes.state();
  if (!state.is_usable || state.segments.size() > kQuickSegmentsMax) return false;
  if (timestamp > state.complete_until) {
    std::uint64_t tail = 0;
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      const auto* log = shards_[i]->log();
      if (log == nullptr) continue;
      const std::uint64_t from =
          std::max(i < state.shard_ends.size() ? state.shard_ends[i] : 0, log->begin());
      if (log->end() > from) tail += log->end() - from;
    }
    if (tail > kQuickTailBytesMax) return false;
  }
  for (const Filter::Equality& equality : filter.equalities()) {
    const ValueView value = equality.value;
    if (value.IsNull() || value.IsArray() || value.IsDocument()) continue;
    const engine_internal::Index* index = state.FindIndex(equality.path);
    if (index == nullptr) continue;
    std::string key;
    AppendIndexKey(value, &key);
    std::uint64_t rows = 0;
    for (const auto& segment : state.segments) {
      const SegmentColumn* column = segment->FindColumn(index->definition.id);
      if (column == nullptr) return false;
      if (const std::optional<Code> code = column->column().Find(key))
        rows += column->column().CountEntries(*code, *code + 1);
      if (rows > kQuickRowsMax) break;
    }
    if (rows <= kQuickRowsMax) return true;
  }
  return documents_wanted <= kQuickRowsMax && IsOneExactRange(filter, state);
}

// Whether the filter is one range of the keys of one index, so that every row it leads to matches,
// but for a few.
template <class Policies>
bool BasicDatabase<Policies>::IsOneExactRange(const Filter& filter, const IndexState& state) {
  using query_internal::FilterNode;
  using query_internal::FilterOp;
  std::optional<std::uint32_t> path;
  for (const FilterNode& node : filter.program().nodes()) {
    if (node.op == FilterOp::kAnd) continue;
    if (node.literal.IsNull() || node.literal.IsArray() || node.literal.IsDocument()) return false;
    if (path.value_or(node.path) != node.path) return false;
    path = node.path;
  }
  if (!path || *path == query_internal::kNoPath) return false;
  const engine_internal::Index* index = state.FindIndex(filter.program().paths()[*path].ToString());
  if (index == nullptr) return false;
  for (const auto& segment : state.segments) {
    const SegmentColumn* column = segment->FindColumn(index->definition.id);
    if (column == nullptr || column->column().has_lists() || column->column().has_overflow() ||
        column->column().has_truncated_keys() ||
        (segment->dead != nullptr && segment->dead->count > kQuickDeadRowsMax)) {
      return false;
    }
  }
  return true;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::ExplainMatches(std::string_view collection,
                                                     const Filter& filter, Explain* explain) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) {
    explain->plan = Explain::kPlanNothing;
    return absl::OkStatus();
  }
  const auto guard = context_.epochs->Enter();
  return VisitMatches(
      *found, filter, durability_->visible_timestamp(),
      [&](ValueView) {
        ++explain->returned;
        return true;
      },
      explain);
}

template <class Policies>
absl::StatusOr<bool> BasicDatabase<Policies>::FindOne(std::string_view collection,
                                                      const Filter& filter,
                                                      absl::FunctionRef<void(ValueView)> visit) {
  const auto guard = context_.epochs->Enter();
  const std::uint64_t timestamp = durability_->visible_timestamp();
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) return false;
  bool any = false;
  ALOS_RETURN_IF_ERROR(VisitMatches(*found, filter, timestamp, [&](ValueView document) {
    visit(document);
    any = true;
    return false;
  }));
  return any;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::Find(std::string_view collection, const FindQuery& query,
                                           absl::FunctionRef<bool(ValueView)> visit) {
  SnapshotRegistry::Pin pin;
  if (query.read_timestamp) {
    ALOS_ASSIGN_OR_RETURN(pin, PinSnapshot(*query.read_timestamp));
  }
  const auto guard = context_.epochs->Enter();
  const std::uint64_t timestamp = query.read_timestamp.value_or(durability_->visible_timestamp());
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (!query.hint.empty()) ALOS_RETURN_IF_ERROR(CheckHint(collection, query.hint));
  if (found == nullptr) {
    if (query.explain != nullptr) query.explain->plan = Explain::kPlanNothing;
    return absl::OkStatus();
  }
  const Filter& filter = query.filter != nullptr ? *query.filter : MatchEverything();
  if (query.sort != nullptr) return FindSorted(*found, query, filter, timestamp, visit);
  std::uint64_t skipped = 0;
  std::uint64_t visited = 0;
  return VisitMatches(
      *found, filter, timestamp,
      [&](ValueView document) {
        if (skipped < query.skip) {
          ++skipped;
          return true;
        }
        if (query.explain != nullptr) ++query.explain->returned;
        if (!visit(document)) return false;
        return ++visited != query.limit;
      },
      query.explain, query.force_scan);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::FindSorted(Collection& collection, const FindQuery& query,
                                                 const Filter& filter, std::uint64_t timestamp,
                                                 absl::FunctionRef<bool(ValueView)> visit) {
  if (filter.may_fail() && !filter.reports_errors()) {
    return filter.RunReporting([&](const Filter& reporting) {
      return FindSorted(collection, query, reporting, timestamp, visit);
    });
  }
  const bool is_bounded =
      query.limit != 0 && query.limit <= std::numeric_limits<std::uint64_t>::max() - query.skip;
  const std::uint64_t keep =
      is_bounded ? query.skip + query.limit : std::numeric_limits<std::uint64_t>::max();
  query_internal::Sorter sorter(query.sort, keep, query.sort_bytes_max, 0);
  absl::Status added;
  const auto add = [&](ValueView document) {
    added = sorter.Add(document);
    return added.ok();
  };
  const absl::Time begin = absl::Now();
  // An index of the first field leaves few documents to be sorted by all of them.
  bool is_done = false;
  Explain own;
  Explain* const explain = query.explain != nullptr ? query.explain : &own;
  if (!query.force_scan && is_bounded && keep <= kIndexSortKeepMax && !filter.id_candidates()) {
    const std::string path = query.sort->path(0).ToString();
    std::vector<std::string> equal_paths;
    const std::optional<absl::StatusOr<bool>> first =
        WithIndexes(collection, filter, timestamp, explain, true,
                    [&](IndexReader& reader, const IndexPredicate& predicate,
                        const IndexState& state) -> absl::StatusOr<bool> {
                      const engine_internal::Index* index = state.FindIndex(path);
                      if (index == nullptr) return false;
                      equal_paths = predicate.EqualPaths();
                      return reader.VisitFirst(filter, predicate, index->definition.id,
                                               query.sort->is_ascending(0), keep, add);
                    });
    if (first) {
      ALOS_RETURN_IF_ERROR(first->status());
      is_done = **first;
    }
    if (!equal_paths.empty() &&
        explain->keys_examined + explain->documents_examined >= kCostlySortMin)
      WantCompound(collection, std::move(equal_paths), path, explain);
    const auto guard = context_.epochs->Enter();
    if (collection.indexes.state()->FindIndex(path) == nullptr)
      WantIndexes(collection, absl::MakeConstSpan(&path, 1), "sort", explain);
  }
  if (!is_done) {
    ALOS_RETURN_IF_ERROR(
        VisitMatches(collection, filter, timestamp, add, explain, query.force_scan));
  }
  ALOS_RETURN_IF_ERROR(added);
  const absl::Time found = absl::Now();
  std::uint64_t position = 0;
  sorter.Finish([&](ValueView document) {
    if (position++ < query.skip) return true;
    if (query.explain != nullptr) ++query.explain->returned;
    return visit(document);
  });
  if (query.explain != nullptr) {
    query.explain->AddStage("match", found - begin);
    query.explain->AddStage("sort", absl::Now() - found);
  }
  return absl::OkStatus();
}

template <class Policies>
absl::StatusOr<std::string> BasicDatabase<Policies>::FindBatch(
    std::string_view collection, const Filter& filter, std::string_view cursor,
    std::size_t batch_size, absl::FunctionRef<bool(ValueView)> visit,
    std::optional<std::uint64_t> read_timestamp) {
  if (filter.may_fail() && !filter.reports_errors()) {
    return filter.RunReporting([&](const Filter& reporting) {
      return FindBatch(collection, reporting, cursor, batch_size, visit, read_timestamp);
    });
  }
  SnapshotRegistry::Pin first_pin;
  if (read_timestamp && cursor.empty()) {
    ALOS_ASSIGN_OR_RETURN(first_pin, PinSnapshot(*read_timestamp));
  }
  const auto guard = context_.epochs->Enter();
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  engine_internal::ScanCursor position;
  SnapshotRegistry::Pin pin;
  if (cursor.empty()) {
    // Pinned, so that it can be leased in the end.
    pin = read_timestamp ? std::move(first_pin) : PinNewest();
    position.timestamp = pin.timestamp();
    position.collection = found == nullptr ? 0 : found->id;
    // What an index finds is kept as a list of places; a long list is no better than a scan.
    if (found != nullptr && !filter.id_candidates()) {
      auto list = std::make_shared<engine_internal::ResultList>();
      list->collection = found->id;
      const std::optional<absl::StatusOr<bool>> listed = WithIndexes(
          *found, filter, position.timestamp, nullptr, false,
          [&](IndexReader& reader, const IndexPredicate& predicate, const IndexState&) {
            return reader.ListMatches(filter, predicate, kListedMatchesMax, &list->locations);
          });
      if (listed) ALOS_RETURN_IF_ERROR(listed->status());
      if (listed && **listed) {
        position.shard = kListCursor;
        position.offset = cursors_.Add(std::move(list)) << kListPositionBits;
      }
    }
  } else {
    ALOS_ASSIGN_OR_RETURN(position, engine_internal::DecodeCursor(cursor, context_.hash_seed));
    if (found == nullptr || position.collection != found->id) {
      return absl::FailedPreconditionError(
          "the cursor belongs to a collection that was dropped, or to another one; start the query "
          "again");
    }
  }
  if (found == nullptr) return std::string();
  if (!cursor.empty()) {
    ALOS_ASSIGN_OR_RETURN(pin, PinSnapshot(position.timestamp));
  }
  const auto keep = [&]() -> absl::StatusOr<std::string> {
    ALOS_RETURN_IF_ERROR(LeaseSnapshot(position.timestamp, engine_internal::CursorTable::kIdleMax));
    return EncodeCursor(position, context_.hash_seed);
  };
  std::size_t visited = 0;
  bool full = false;
  if (position.shard == kListCursor) {
    const std::uint64_t list_id = position.offset >> kListPositionBits;
    const std::shared_ptr<const engine_internal::ResultList> list = cursors_.Find(list_id);
    if (list == nullptr) {
      return absl::FailedPreconditionError(
          "the cursor has ended: it was not used for ten minutes, or too many are open; start the "
          "query again");
    }
    std::uint64_t next = position.offset & ((std::uint64_t{1} << kListPositionBits) - 1);
    for (; next < list->locations.size() && !full; ++next) {
      const RowLocation location = list->locations[next];
      ALOS_RETURN_IF_ERROR(shards_[location.shard()]->VisitRecord(
          location.offset(),
          [&](ValueView document) { full = !visit(document) || ++visited >= batch_size; }, false));
    }
    if (next >= list->locations.size()) {
      cursors_.Remove(list_id);
      return std::string();
    }
    position.offset = list_id << kListPositionBits | next;
    return keep();
  }
  if (filter.id_candidates()) {
    const std::vector<std::string>& ids = *filter.id_candidates();
    for (; position.offset < ids.size() && !full; ++position.offset) {
      const std::string& id = ids[position.offset];
      const std::uint64_t hash = Hash(found->id, id);
      Shard& shard = ShardOf(hash);
      ALOS_ASSIGN_OR_RETURN(const std::uint64_t offset,
                            shard.FindVersion(found->id, id, hash, position.timestamp));
      if (offset == 0) continue;
      ALOS_RETURN_IF_ERROR(shard.VisitDocument(offset, [&](ValueView document) {
        if (filter.Matches(document)) full = !visit(document) || ++visited >= batch_size;
      }));
    }
    return position.offset < ids.size() ? keep() : std::string();
  }
  for (; position.shard < shards_.size(); ++position.shard, position.offset = 0) {
    const auto scan = [&](std::uint64_t, ValueView document) {
      if (filter.Matches(document)) full = !visit(document) || ++visited >= batch_size;
      return !full;
    };
    ALOS_ASSIGN_OR_RETURN(
        position.offset,
        shards_[position.shard]->Scan(found->id, position.timestamp, position.offset, scan));
    if (full) return keep();
  }
  return std::string();
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::Count(
    std::string_view collection, const Filter& filter, Explain* explain,
    std::optional<std::uint64_t> read_timestamp) {
  if (filter.may_fail() && !filter.reports_errors()) {
    return filter.RunReporting([&](const Filter& reporting) {
      return Count(collection, reporting, explain, read_timestamp);
    });
  }
  SnapshotRegistry::Pin pin;
  if (read_timestamp) {
    ALOS_ASSIGN_OR_RETURN(pin, PinSnapshot(*read_timestamp));
  }
  const auto guard = context_.epochs->Enter();
  const std::uint64_t timestamp = read_timestamp.value_or(durability_->visible_timestamp());
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) return std::uint64_t{0};
  // The counter is that of the newest snapshot.
  if (filter.matches_everything() && !read_timestamp) {
    if (explain != nullptr) explain->plan = Explain::kPlanNothing;
    return static_cast<std::uint64_t>(found->live_documents.load(std::memory_order_relaxed));
  }
  return CountMatches(*found, filter, timestamp, explain);
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::CountMatches(Collection& collection,
                                                                    const Filter& filter,
                                                                    std::uint64_t timestamp,
                                                                    Explain* explain) {
  if (!filter.id_candidates()) {
    std::optional<absl::StatusOr<std::uint64_t>> counted =
        WithIndexes(collection, filter, timestamp, explain, false,
                    [&](IndexReader& reader, const IndexPredicate& predicate, const IndexState&) {
                      return reader.CountMatches(filter, predicate);
                    });
    if (counted) return *std::move(counted);
  }
  std::uint64_t count = 0;
  ALOS_RETURN_IF_ERROR(VisitMatches(
      collection, filter, timestamp,
      [&](ValueView) {
        ++count;
        return true;
      },
      explain));
  return count;
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_READS_H_
