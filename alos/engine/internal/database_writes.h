// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Writes of documents: one at a time with its shard's writer role, and those of what a filter
// matches. The members of BasicDatabase (database.h) that do this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_WRITES_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_WRITES_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/types/span.h"
#include "alos/base/epoch.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/status_macros.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/change_reader.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/reservations.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/internal/stored_body.h"
#include "alos/engine/internal/unique_enforcer.h"
#include "alos/engine/internal/unique_indexes.h"
#include "alos/engine/internal/writer_lock.h"
#include "alos/engine/options.h"
#include "alos/engine/request_id.h"
#include "alos/engine/results.h"
#include "alos/query/filter.h"
#include "alos/query/update.h"
#include "alos/storage/durability.h"

namespace alos {

template <class Policies>
template <class Decide>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::WriteDocument(Collection& collection,
                                                                     std::string_view id,
                                                                     Decide&& decide,
                                                                     const RequestId* request,
                                                                     std::uint64_t* seen) {
  std::uint64_t own = 0;
  if (seen == nullptr) seen = &own;
  absl::StatusOr<std::uint64_t> written = std::uint64_t{0};
  while (true) {
    const std::uint64_t releases = reservations_.releases();
    written = WriteDecided(collection, id, decide, request, seen);
    if (!engine_internal::Reservations::IsMustWait(written.status()) ||
        !reservations_.Await(releases, kReservationPatience)) {
      break;
    }
  }
  if (written.ok()) return written;
  if (!IsVisible(*seen)) ALOS_RETURN_IF_ERROR(WaitVisible(*seen));
  return WhenTrue(written.status());
}

template <class Policies>
absl::Status BasicDatabase<Policies>::WhenTrue(absl::Status status) {
  const std::optional<absl::Cord> id = status.GetPayload(engine_internal::kDuplicateOfPayload);
  const std::optional<absl::Cord> in = status.GetPayload(engine_internal::kDuplicateInPayload);
  std::uint32_t collection = 0;
  if (!id || !in || !absl::SimpleAtoi(std::string(*in), &collection)) return status;
  std::uint64_t timestamp = 0;
  {
    const auto guard = context_.epochs->Enter();
    const std::string holder(*id);
    const std::uint64_t hash = Hash(collection, holder);
    Shard& shard = ShardOf(hash);
    if (const std::uint64_t offset = shard.FindNewest(collection, holder, hash); offset != 0)
      timestamp = RecordView(shard.log()->At(offset)).header().commit_timestamp;
  }
  if (!IsVisible(timestamp)) ALOS_RETURN_IF_ERROR(WaitVisible(timestamp));
  return status;
}

template <class Policies>
template <class Decide>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::WriteDecided(Collection& collection,
                                                                    std::string_view id,
                                                                    Decide&& decide,
                                                                    const RequestId* request,
                                                                    std::uint64_t* seen) {
  write_rate_.Acquire(1);
  if (indexer_->tail().is_full()) [[unlikely]]
    AwaitIndexes();
  unique_->Prepare(&collection);
  // The note of the request is a second document of the same commit, in a shard of its own.
  Collection* notes = nullptr;
  std::string note_id;
  StoredBody note_body;
  std::string note_raw;
  if (request != nullptr) {
    ALOS_ASSIGN_OR_RETURN(notes, Notes());
    note_id = engine_internal::EncodeNoteId(request->slot);
  }
  const std::uint64_t hash = Hash(collection.id, id);
  Shard& shard = ShardOf(hash);
  const std::uint64_t note_hash = notes != nullptr ? Hash(notes->id, note_id) : hash;
  Shard& note_shard = ShardOf(note_hash);
  const auto guard = context_.epochs->Enter();
  // In one order for all, so that two commits cannot wait for each other.
  Shard* const first = note_shard.number() < shard.number() ? &note_shard : &shard;
  Shard* const second = &shard == &note_shard ? nullptr : first == &shard ? &note_shard : &shard;
  const engine_internal::WriterLock lock(&first->writer(), &writers_);
  std::optional<engine_internal::WriterLock> second_lock;
  if (second != nullptr) second_lock.emplace(&second->writer(), &writers_);
  const UniqueIndexList* unique = collection.unique.list();
  UniqueKeys unique_before;
  if (reservations_.any() &&
      (reservations_.Has(collection.name, collection.id, id) ||
       (notes != nullptr && reservations_.Has(notes->name, notes->id, note_id)))) {
    return engine_internal::Reservations::MustWait();
  }
  ALOS_RETURN_IF_ERROR(shard.EnsureLog());
  const std::uint64_t previous = shard.FindNewest(collection.id, id, hash);
  ALOS_RETURN_IF_ERROR(shard.CheckDamage(collection.id, id, previous));
  const bool was_live = shard.IsLive(previous);
  if (previous != 0) *seen = RecordView(shard.log()->At(previous)).header().commit_timestamp;
  Decision decision;
  if (was_live) {
    absl::Status decided;
    ALOS_RETURN_IF_ERROR(shard.VisitDocument(previous, [&](ValueView current) {
      decided = decide(std::optional<ValueView>(current), &decision);
      // Whatever it has: a document that was stored before the index forbade it can be changed.
      if (unique != nullptr && decision.action != Decision::Action::kNothing)
        engine_internal::AppendUniqueKeys(*unique, current, &unique_before).IgnoreError();
    }));
    ALOS_RETURN_IF_ERROR(decided);
  } else {
    ALOS_RETURN_IF_ERROR(decide(std::optional<ValueView>(), &decision));
  }
  if (decision.action == Decision::Action::kNothing) return std::uint64_t{0};
  const bool is_put = decision.action == Decision::Action::kPut;
  std::uint64_t note_previous = 0;
  if (notes != nullptr) {
    ALOS_RETURN_IF_ERROR(note_shard.EnsureLog());
    ALOS_ASSIGN_OR_RETURN(const auto note, ReadNote(*notes, request->slot));
    ALOS_ASSIGN_OR_RETURN(RequestOutcome outcome, Judge(note, *request));
    ALOS_RETURN_IF_ERROR(NotAgain(outcome));
    outcome.state = RequestOutcome::State::kDone;
    outcome.matched = was_live ? 1 : 0;
    outcome.changed = 1;
    if (!was_live) outcome.inserted_id = std::string(id);
    note_previous = note_shard.FindNewest(notes->id, note_id, note_hash);
    note_raw = MakeNote(*request, outcome);
    Encode(note_raw, &note_body);
  }

  UniqueWrite unique_write;
  if (unique != nullptr) {
    const ValueView next = is_put ? ValueView::FromTrusted(decision.body.raw) : ValueView();
    UniqueKeys unique_after;
    if (is_put)
      ALOS_RETURN_IF_ERROR(engine_internal::AppendUniqueKeys(*unique, next, &unique_after));
    unique_write.AddDocument(collection.id, collection.name, *unique, hash, id, next,
                             std::move(unique_before), std::move(unique_after));
    unique_write.Lock();
    ALOS_RETURN_IF_ERROR(unique_write.Check(FindHolder()));
  }

  const auto discard = [&](absl::Status status) {
    shard.Discard();
    if (second != nullptr) note_shard.Discard();
    return status;
  };
  const std::uint32_t record_count = notes != nullptr ? 2 : 0;
  ALOS_ASSIGN_OR_RETURN(const auto mark, shard.PrepareMark());
  auto write = shard.Prepare(collection.id, id, hash, previous, is_put ? &decision.body : nullptr,
                             options_.check_bodies, record_count);
  if (!write.ok()) return discard(write.status());
  std::optional<typename Log::Prepared> note_mark;
  std::optional<typename Shard::Write> note_write;
  if (notes != nullptr) {
    if (second != nullptr) {
      auto prepared = note_shard.PrepareMark();
      if (!prepared.ok()) return discard(prepared.status());
      note_mark = *prepared;
    }
    auto prepared = note_shard.Prepare(notes->id, note_id, note_hash, note_previous, &note_body,
                                       options_.check_bodies, record_count);
    if (!prepared.ok()) return discard(prepared.status());
    note_write = *std::move(prepared);
  }
  std::array<CommitRecord, 4> records;
  const auto seal = [&](std::uint64_t timestamp) {
    std::size_t count = 0;
    const auto add = [&](Shard& of, const typename Log::Prepared& prepared) {
      records[count++] = {of.number(), of.log()->generation(), prepared.offset,
                          of.Seal(prepared, timestamp)};
    };
    if (mark) add(shard, *mark);
    add(shard, write->prepared);
    if (note_mark) add(note_shard, *note_mark);
    if (note_write) add(note_shard, note_write->prepared);
    shard.PublishLog();
    if (second != nullptr) note_shard.PublishLog();
    shard.InstallWrite(*write);
    if (note_write) note_shard.InstallWrite(*note_write);
    return absl::Span<const CommitRecord>(records.data(), count);
  };
  absl::InlinedVector<CounterDelta, 2> deltas;
  if (const int delta = (is_put ? 1 : 0) - (was_live ? 1 : 0); delta != 0)
    deltas.push_back({&collection.live_documents, delta});
  if (notes != nullptr && !note_shard.IsLive(note_previous))
    deltas.push_back({&notes->live_documents, 1});
  const MemoryReserve::Critical critical;
  absl::StatusOr<std::uint64_t> committed = durability_->Commit(seal, deltas);
  if (!committed.ok()) return discard(committed.status());
  unique_write.Apply();
  return committed;
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::InsertEncoded(Collection& collection,
                                                                     std::string_view id,
                                                                     std::string_view raw,
                                                                     const RequestId* request) {
  Decision put;
  put.action = Decision::Action::kPut;
  Encode(raw, &put.body);  // before the writer role is taken
  bool is_taken = false;   // by an attempt that has to be made again
  return WriteDocument(
      collection, id,
      [&](std::optional<ValueView> current, Decision* decision) -> absl::Status {
        if (current) return DuplicateId(collection, id);
        if (is_taken) Encode(raw, &put.body);
        is_taken = true;
        *decision = std::move(put);
        return absl::OkStatus();
      },
      request);
}

template <class Policies>
absl::StatusOr<InsertResult> BasicDatabase<Policies>::InsertOne(std::string_view collection,
                                                                ValueView document,
                                                                const RequestId* request) {
  return Once(
      request, [&] { return InsertNamed(collection, document, request); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<InsertResult> {
        return InsertResult{outcome.inserted_id.value_or(""), outcome.commit_timestamp};
      });
}

template <class Policies>
absl::StatusOr<InsertResult> BasicDatabase<Policies>::InsertNamed(std::string_view collection,
                                                                  ValueView document,
                                                                  const RequestId* request) {
  InsertableDocument insertable;
  ALOS_RETURN_IF_ERROR(MakeInsertable(document, &insertable));
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindOrCreateCollection(collection));
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp,
                        InsertEncoded(*found, insertable.id, insertable.raw, request));
  return InsertResult{std::move(insertable.id), timestamp};
}

template <class Policies>
InsertManyResult BasicDatabase<Policies>::InsertMany(std::string_view collection,
                                                     absl::Span<const ValueView> documents,
                                                     const RequestId* request) {
  InsertManyResult result;
  if (request != nullptr) {
    // The ids are those of the documents: who sends them twice must have given them.
    const auto ids = [&](std::uint64_t count) {
      for (std::size_t i = 0; i < documents.size() && i < count; ++i) {
        const std::optional<ValueView> id = documents[i].Find("_id");
        result.ids.push_back(id ? EncodeId(*id).value_or("\xc0") : "\xc0");
      }
    };
    const absl::StatusOr<UpdateResult> done = OnceOfMany(
        request,
        [&]() -> absl::StatusOr<UpdateResult> {
          result = InsertMany(collection, documents);
          if (!result.status.ok()) return result.status;
          return UpdateResult{0, result.ids.size(), result.commit_timestamp};
        },
        [&](const RequestOutcome& outcome) -> absl::StatusOr<UpdateResult> {
          ids(outcome.changed);
          return UpdateResult{0, outcome.changed, outcome.commit_timestamp};
        },
        [](const UpdateResult& inserted) {
          RequestOutcome outcome;
          outcome.changed = inserted.modified;
          return outcome;
        });
    result.status = done.status();
    if (done.ok()) result.commit_timestamp = done->commit_timestamp;
    return result;
  }
  for (const ValueView document : documents) {
    absl::StatusOr<InsertResult> inserted = InsertOne(collection, document);
    if (!inserted.ok()) {
      result.status = InsertManyError(inserted.status(), result.ids.size(), documents.size());
      break;
    }
    result.ids.push_back(std::move(inserted->id));
    result.commit_timestamp = std::max(result.commit_timestamp, inserted->commit_timestamp);
  }
  return result;
}

template <class Policies>
template <class ChangeDocument>
absl::StatusOr<UpdateResult> BasicDatabase<Policies>::ChangeMatches(
    Collection& collection, const Filter& filter, bool once, ChangeDocument&& change,
    const std::vector<std::string>* ids, const RequestId* request) {
  UpdateResult result;
  // Documents are found in a snapshot, and changed only if their newest version still matches.
  const auto change_one = [&](std::string_view id) -> absl::Status {
    bool matched = false;
    std::uint64_t seen = 0;
    ALOS_ASSIGN_OR_RETURN(
        const std::uint64_t timestamp,
        WriteDocument(
            collection, id,
            [&](std::optional<ValueView> current, Decision* decision) -> absl::Status {
              absl::Status error;  // of an expression of the filter
              if (!current || !filter.Matches(*current, &error)) return error;
              matched = true;
              return change(*current, decision);
            },
            request, &seen));
    result.matched += matched;
    result.modified += timestamp != 0;
    // Also what follows from a version that is not visible yet, that nothing matches now, say, is
    // told when that one is.
    result.commit_timestamp =
        std::max({result.commit_timestamp, timestamp, IsVisible(seen) ? std::uint64_t{0} : seen});
    return absl::OkStatus();
  };
  if (ids == nullptr && filter.id_candidates()) ids = &*filter.id_candidates();
  if (ids != nullptr) {
    for (const std::string& id : *ids) {
      ALOS_RETURN_IF_ERROR(change_one(id));
      if (once && result.matched != 0) break;
    }
    return result;
  }
  absl::Status status;
  const auto guard = context_.epochs->Enter();
  ALOS_RETURN_IF_ERROR(
      VisitMatches(collection, filter, durability_->visible_timestamp(), [&](ValueView document) {
        const std::optional<ValueView> id = document.Find("_id");
        absl::StatusOr<std::string> encoded =
            id ? EncodeId(*id) : absl::InternalError("a stored document without _id");
        status = encoded.ok() ? change_one(*encoded) : encoded.status();
        return status.ok() && !(once && result.matched != 0);
      }));
  ALOS_RETURN_IF_ERROR(status);
  return result;
}

template <class Policies>
absl::StatusOr<UpdateResult> BasicDatabase<Policies>::UpdateMatches(
    std::string_view collection, const Filter& filter, const Update& update, bool once,
    const std::vector<std::string>* ids, const RequestId* request) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) return UpdateResult{};
  std::string raw;  // outlives what the decision refers to
  return ChangeMatches(
      *found, filter, once,
      [&](ValueView current, Decision* decision) -> absl::Status {
        raw.clear();
        ALOS_ASSIGN_OR_RETURN(const bool changed, update.Apply(current, filter, &raw));
        if (!changed) return absl::OkStatus();
        decision->action = Decision::Action::kPut;
        Encode(raw, &decision->body);
        return absl::OkStatus();
      },
      ids, request);
}

template <class Policies>
absl::StatusOr<UpdateResult> BasicDatabase<Policies>::UpdateOne(std::string_view collection,
                                                                const Filter& filter,
                                                                const Update& update,
                                                                const RequestId* request) {
  return Once(
      request, [&] { return UpdateMatches(collection, filter, update, true, nullptr, request); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<UpdateResult> {
        return UpdateResult{outcome.matched, outcome.changed, outcome.commit_timestamp};
      });
}

template <class Policies>
absl::StatusOr<UpdateResult> BasicDatabase<Policies>::UpdateMany(std::string_view collection,
                                                                 const Filter& filter,
                                                                 const Update& update,
                                                                 const RequestId* request) {
  ALOS_RETURN_IF_ERROR(CheckUpdateMany(update));
  return OnceOfMany(
      request, [&] { return UpdateMatches(collection, filter, update, false); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<UpdateResult> {
        return UpdateResult{outcome.matched, outcome.changed, outcome.commit_timestamp};
      },
      [](const UpdateResult& result) {
        RequestOutcome outcome;
        outcome.matched = result.matched;
        outcome.changed = result.modified;
        return outcome;
      });
}

template <class Policies>
absl::StatusOr<DeleteResult> BasicDatabase<Policies>::DeleteMatches(std::string_view collection,
                                                                    const Filter& filter, bool once,
                                                                    const RequestId* request) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(collection));
  if (found == nullptr) return DeleteResult{};
  ALOS_ASSIGN_OR_RETURN(const UpdateResult result, ChangeMatches(
                                                       *found, filter, once,
                                                       [](ValueView, Decision* decision) {
                                                         decision->action =
                                                             Decision::Action::kDelete;
                                                         return absl::OkStatus();
                                                       },
                                                       nullptr, request));
  return DeleteResult{result.modified, result.commit_timestamp};
}

template <class Policies>
absl::StatusOr<DeleteResult> BasicDatabase<Policies>::DeleteOne(std::string_view collection,
                                                                const Filter& filter,
                                                                const RequestId* request) {
  return Once(
      request, [&] { return DeleteMatches(collection, filter, true, request); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<DeleteResult> {
        return DeleteResult{outcome.changed, outcome.commit_timestamp};
      });
}

template <class Policies>
absl::StatusOr<DeleteResult> BasicDatabase<Policies>::DeleteMany(std::string_view collection,
                                                                 const Filter& filter,
                                                                 const RequestId* request) {
  return OnceOfMany(
      request, [&] { return DeleteMatches(collection, filter, false, nullptr); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<DeleteResult> {
        return DeleteResult{outcome.changed, outcome.commit_timestamp};
      },
      [](const DeleteResult& result) {
        RequestOutcome outcome;
        outcome.changed = result.deleted;
        return outcome;
      });
}

template <class Policies>
absl::StatusOr<UpsertResult> BasicDatabase<Policies>::Upsert(std::string_view collection,
                                                             const Filter& filter,
                                                             const Update& update, bool once,
                                                             const RequestId* request) {
  // Somebody else may insert the same `_id`, or the same key of a unique index, between our look
  // and our insert: then it is there to be updated. A conflict that stays is not with what the
  // filter matches, and is the caller's.
  for (int attempt = 0;; ++attempt) {
    if (!once) ALOS_RETURN_IF_ERROR(CheckUpdateMany(update));
    ALOS_ASSIGN_OR_RETURN(const UpdateResult updated,
                          UpdateMatches(collection, filter, update, once, nullptr, request));
    UpsertResult result{updated.matched, updated.modified, std::nullopt, updated.commit_timestamp};
    if (updated.matched != 0) return result;
    ALOS_ASSIGN_OR_RETURN(const std::string seed, update.Seed(filter));
    absl::StatusOr<InsertResult> inserted =
        InsertNamed(collection, ValueView::FromTrusted(seed), request);
    if (inserted.ok()) {
      result.inserted_id = std::move(inserted->id);
      result.commit_timestamp = inserted->commit_timestamp;
      return result;
    }
    if (!absl::IsAlreadyExists(inserted.status()) || attempt == 3) return inserted.status();
    const std::optional<absl::Cord> holder =
        inserted.status().GetPayload(engine_internal::kDuplicateOfPayload);
    if (!holder && !filter.id_candidates()) return inserted.status();
    if (holder) {
      // It need not be visible yet.
      const std::vector<std::string> ids = {std::string(*holder)};
      ALOS_ASSIGN_OR_RETURN(const UpdateResult other,
                            UpdateMatches(collection, filter, update, once, &ids, request));
      if (other.matched != 0)
        return UpsertResult{other.matched, other.modified, std::nullopt, other.commit_timestamp};
    }
  }
}

template <class Policies>
absl::StatusOr<UpsertResult> BasicDatabase<Policies>::UpsertOne(std::string_view collection,
                                                                const Filter& filter,
                                                                const Update& update,
                                                                const RequestId* request) {
  return Once(
      request, [&] { return Upsert(collection, filter, update, true, request); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<UpsertResult> {
        return UpsertResult{outcome.matched, outcome.matched != 0 ? outcome.changed : 0,
                            outcome.inserted_id, outcome.commit_timestamp};
      });
}

template <class Policies>
absl::StatusOr<UpsertResult> BasicDatabase<Policies>::UpsertMany(std::string_view collection,
                                                                 const Filter& filter,
                                                                 const Update& update,
                                                                 const RequestId* request) {
  return OnceOfMany(
      request, [&] { return Upsert(collection, filter, update, false, nullptr); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<UpsertResult> {
        return UpsertResult{outcome.matched, outcome.changed, outcome.inserted_id,
                            outcome.commit_timestamp};
      },
      [](const UpsertResult& result) {
        RequestOutcome outcome;
        outcome.matched = result.matched;
        outcome.changed = result.modified;
        outcome.inserted_id = result.inserted_id;
        return outcome;
      });
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_WRITES_H_
