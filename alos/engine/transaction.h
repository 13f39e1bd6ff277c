// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Snapshot-isolated transactions over the collections of one database.

#ifndef ALOS_ENGINE_TRANSACTION_H_
#define ALOS_ENGINE_TRANSACTION_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/unique_indexes.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

// Reads see the database as it was when the transaction began, and the transaction's own writes.
// Nothing is visible to others before Commit(), then all of it is at once, in every shard.
// Of two transactions that write the same document the first to commit wins; the other's Commit()
// returns kAborted and nothing of it is visible: begin again.
// Unique indexes: a write that gives a document a key that another one has, among the transaction's
// own or among all that is committed by then, returns kAlreadyExists; so does Commit() when
// somebody else has taken a key meanwhile. A key that the transaction has taken from a document is
// free.
//
// Threads: one at a time. Lifetime: ends before its database does; a transaction that is destroyed
// without Commit() is rolled back, which costs nothing.
// Durability: as a single write: its commit timestamp says when it may be acknowledged. After a
// crash either all of it is there or nothing. Errors: after an error of a write the transaction
// goes on as if the write had not been asked for. Cost: writes are kept in memory until Commit(); a
// read by filter looks at each of them.
template <class Policies>
class BasicTransaction {
 public:
  using Database = BasicDatabase<Policies>;

  // What the writes of one transaction may take in memory.
  static constexpr std::size_t kWritesBytesMax = std::size_t{256} << 20;

  explicit BasicTransaction(Database* database)
      : database_(database), pin_(database->PinNewest()), snapshot_(pin_.timestamp()) {}
  BasicTransaction(const BasicTransaction&) = delete;
  BasicTransaction& operator=(const BasicTransaction&) = delete;

  std::uint64_t snapshot_timestamp() const { return snapshot_; }

  absl::StatusOr<bool> FindById(std::string_view collection, std::string_view encoded_id,
                                absl::FunctionRef<void(ValueView)> visit) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    ALOS_ASSIGN_OR_RETURN(Collection * found, database_->FindCollection(collection));
    if (found == nullptr) return false;
    return FindVisible(*found, encoded_id, visit);
  }

  absl::StatusOr<bool> FindOne(std::string_view collection, const Filter& filter,
                               absl::FunctionRef<void(ValueView)> visit) {
    bool any = false;
    ALOS_RETURN_IF_ERROR(Find(collection, filter, [&](ValueView document) {
      visit(document);
      any = true;
      return false;
    }));
    return any;
  }

  // Calls `visit` for everything that matches until it returns false.
  absl::Status Find(std::string_view collection, const Filter& filter,
                    absl::FunctionRef<bool(ValueView)> visit) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    ALOS_ASSIGN_OR_RETURN(Collection * found, database_->FindCollection(collection));
    if (found == nullptr) return absl::OkStatus();
    return VisitMatches(*found, filter, visit);
  }

  absl::StatusOr<InsertResult> InsertOne(std::string_view collection, ValueView document) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    InsertableDocument insertable;
    ALOS_RETURN_IF_ERROR(MakeInsertable(document, &insertable));
    ALOS_ASSIGN_OR_RETURN(Collection * found, database_->FindOrCreateCollection(collection));
    ALOS_ASSIGN_OR_RETURN(const bool exists, FindVisible(*found, insertable.id, [](ValueView) {}));
    if (exists) return Database::DuplicateId(*found, insertable.id);
    ALOS_RETURN_IF_ERROR(Put(*found, insertable.id, std::string(insertable.raw)));
    return InsertResult{std::move(insertable.id), 0};
  }

  absl::StatusOr<UpdateResult> UpdateOne(std::string_view collection, const Filter& filter,
                                         const Update& update) {
    UpdateResult result;
    std::string id;
    std::string raw;
    ALOS_ASSIGN_OR_RETURN(
        Collection * found, FindFirst(collection, filter, [&](ValueView current) -> absl::Status {
          result.matched = 1;
          ALOS_ASSIGN_OR_RETURN(const bool changed, update.Apply(current, filter, &raw));
          result.modified = changed ? 1 : 0;
          ALOS_ASSIGN_OR_RETURN(id, EncodeId(*current.Find("_id")));
          return absl::OkStatus();
        }));
    if (result.modified != 0) ALOS_RETURN_IF_ERROR(Put(*found, id, std::move(raw)));
    return result;
  }

  absl::StatusOr<DeleteResult> DeleteOne(std::string_view collection, const Filter& filter) {
    DeleteResult result;
    std::string id;
    ALOS_ASSIGN_OR_RETURN(Collection * found,
                          FindFirst(collection, filter, [&](ValueView current) -> absl::Status {
                            result.deleted = 1;
                            ALOS_ASSIGN_OR_RETURN(id, EncodeId(*current.Find("_id")));
                            return absl::OkStatus();
                          }));
    if (result.deleted != 0) ALOS_RETURN_IF_ERROR(Put(*found, id, std::nullopt));
    return result;
  }

  // Returns the commit timestamp (0 when nothing was written). Over, whatever it returns.
  absl::StatusOr<std::uint64_t> Commit();

  void Rollback() {
    writes_.clear();
    unique_keys_.clear();
    pin_.Release();
    active_ = false;
  }

 private:
  using Collection = engine_internal::Collection;
  using Shard = typename Database::Shard;

  struct Key {
    Collection* collection;
    std::string id;
    bool operator<(const Key& other) const {
      return collection->id != other.collection->id ? collection->id < other.collection->id
                                                    : id < other.id;
    }
  };

  absl::Status CheckActive() const {
    return active_ ? absl::OkStatus()
                   : absl::FailedPreconditionError("the transaction is over; begin a new one");
  }

  absl::Status Put(Collection& collection, std::string_view id,
                   std::optional<std::string> document) {
    const std::size_t size = id.size() + (document ? document->size() : 0);
    if (writes_bytes_ + size > kWritesBytesMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the transaction has written more than ", kWritesBytesMax, " bytes; commit it in parts"));
    }
    ALOS_RETURN_IF_ERROR(TakeUniqueKeys(collection, id, document));
    writes_bytes_ += size;
    writes_.insert_or_assign(Key{&collection, std::string(id)}, std::move(document));
    return absl::OkStatus();
  }

  // Looks whether the document's keys are free, and notes them in place of those that an earlier
  // write gave to it. An error leaves everything as it is.
  absl::Status TakeUniqueKeys(Collection& collection, std::string_view id,
                              const std::optional<std::string>& document) {
    if (collection.unique.list() == nullptr) return absl::OkStatus();
    database_->unique_->Prepare(&collection);
    const auto guard = database_->context_.epochs->Enter();
    const engine_internal::UniqueIndexList* list = collection.unique.list();
    if (list == nullptr) return absl::OkStatus();
    engine_internal::UniqueKeys before;
    engine_internal::UniqueKeys after;
    const auto own = writes_.find(Key{&collection, std::string(id)});
    if (own != writes_.end() && own->second) {
      engine_internal::AppendUniqueKeys(*list, ValueView::FromTrusted(*own->second), &before)
          .IgnoreError();
    }
    const auto name = [&](std::size_t index, std::string_view key) {
      return absl::StrCat(collection.id, " ", (*list)[index]->definition.name(), " ", key);
    };
    if (document) {
      const ValueView view = ValueView::FromTrusted(*document);
      ALOS_RETURN_IF_ERROR(engine_internal::AppendUniqueKeys(*list, view, &after));
      for (std::size_t i = 0; i < after.size(); ++i) {
        for (const std::string& key : after[i]) {
          const auto holder = unique_keys_.find(name(i, key));
          if (holder != unique_keys_.end() && holder->second != id) {
            return engine_internal::DuplicateKey(collection.name, *(*list)[i], view, key,
                                                 holder->second);
          }
        }
      }
      absl::Status status;
      ALOS_RETURN_IF_ERROR(database_->unique_->VisitHolders(
          collection.id, *list, after, database_->Hash(collection.id, id),
          [&](const engine_internal::UniqueIndex& index, std::string_view key,
              std::string_view other) {
            // What we have written ourselves was looked at above.
            if (writes_.contains(Key{&collection, std::string(other)})) return true;
            status = engine_internal::DuplicateKey(collection.name, index, view, key, other);
            return false;
          }));
      ALOS_RETURN_IF_ERROR(status);
    }
    for (std::size_t i = 0; i < before.size(); ++i) {
      for (const std::string& key : before[i]) unique_keys_.erase(name(i, key));
    }
    for (std::size_t i = 0; i < after.size(); ++i) {
      for (const std::string& key : after[i]) unique_keys_.insert_or_assign(name(i, key), id);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> FindVisible(Collection& collection, std::string_view id,
                                   absl::FunctionRef<void(ValueView)> visit) {
    const auto own = writes_.find(Key{&collection, std::string(id)});
    if (own != writes_.end()) {
      if (own->second) visit(ValueView::FromTrusted(*own->second));
      return own->second.has_value();
    }
    const auto guard = database_->context_.epochs->Enter();
    const std::uint64_t hash = database_->Hash(collection.id, id);
    Shard& shard = database_->ShardOf(hash);
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t offset,
                          shard.FindVersion(collection.id, id, hash, snapshot_));
    if (offset == 0) return false;
    ALOS_RETURN_IF_ERROR(shard.VisitDocument(offset, visit));
    return true;
  }

  // Own writes first, then the snapshot without the documents that were written.
  absl::Status VisitMatches(Collection& collection, const Filter& filter,
                            absl::FunctionRef<bool(ValueView)> visit) {
    bool has_writes = false;
    for (auto own = writes_.lower_bound(Key{&collection, std::string()});
         own != writes_.end() && own->first.collection == &collection; ++own) {
      has_writes = true;
      if (!own->second) continue;
      const ValueView document = ValueView::FromTrusted(*own->second);
      absl::Status error;  // of an expression of the filter
      const bool matches = filter.Matches(document, &error);
      if (!error.ok()) return error;
      if (matches && !visit(document)) return absl::OkStatus();
    }
    absl::Status status;
    ALOS_RETURN_IF_ERROR(
        database_->VisitMatches(collection, filter, snapshot_, [&](ValueView document) {
          if (has_writes) {
            const absl::StatusOr<std::string> id = EncodeId(*document.Find("_id"));
            if (!id.ok()) status = id.status();
            if (!id.ok() || writes_.contains(Key{&collection, *id})) return id.ok();
          }
          return visit(document);
        }));
    return status;
  }

  // Calls `take` with the first match, and returns its collection; nullptr when nothing matches.
  absl::StatusOr<Collection*> FindFirst(std::string_view collection, const Filter& filter,
                                        absl::FunctionRef<absl::Status(ValueView)> take) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    ALOS_ASSIGN_OR_RETURN(Collection * found, database_->FindCollection(collection));
    if (found == nullptr) return found;
    absl::Status taken;
    ALOS_RETURN_IF_ERROR(VisitMatches(*found, filter, [&](ValueView document) {
      taken = take(document);
      return false;
    }));
    ALOS_RETURN_IF_ERROR(taken);
    return found;
  }

  Database* const database_;
  SnapshotRegistry::Pin pin_;
  const std::uint64_t snapshot_;
  bool active_ = true;
  std::size_t writes_bytes_ = 0;
  absl::btree_map<Key, std::optional<std::string>> writes_;  // nullopt: deleted
  // Of the documents written: collection, index and key, and the id that has it.
  absl::flat_hash_map<std::string, std::string> unique_keys_;
};

// ---- Readers of the API may stop here. ----

template <class Policies>
absl::StatusOr<std::uint64_t> BasicTransaction<Policies>::Commit() {
  ALOS_RETURN_IF_ERROR(CheckActive());
  active_ = false;
  if (writes_.empty()) return std::uint64_t{0};

  struct Pending {
    const Key* key;
    const std::optional<std::string>* document;
    std::uint64_t hash;
    Shard* shard;
    bool was_live = false;
    engine_internal::StoredBody body;
    typename Shard::Write write;
  };
  std::vector<Pending> pending;
  pending.reserve(writes_.size());
  for (const auto& [key, document] : writes_) {
    const std::uint64_t hash = database_->Hash(key.collection->id, key.id);
    Pending& added = pending.emplace_back(
        Pending{&key, &document, hash, &database_->ShardOf(hash), false, {}, {}});
    if (document) database_->Encode(*document, &added.body);
  }
  for (const Pending& one : pending) database_->unique_->Prepare(one.key->collection);
  // One order for all, so that two commits cannot wait for each other.
  std::vector<Shard*> shards;
  shards.reserve(pending.size());
  for (const Pending& one : pending) shards.push_back(one.shard);
  std::sort(shards.begin(), shards.end(),
            [](const Shard* a, const Shard* b) { return a->number() < b->number(); });
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());

  const auto guard = database_->context_.epochs->Enter();
  std::vector<std::unique_ptr<absl::MutexLock>> locks;
  locks.reserve(shards.size());
  for (Shard* shard : shards) locks.push_back(std::make_unique<absl::MutexLock>(&shard->writer()));
  const auto discard = [&](absl::Status status) {
    for (Shard* shard : shards) shard->Discard();
    return status;
  };

  // First committer wins: nothing we write may have a version that our snapshot does not see.
  std::uint32_t count = 0;
  for (Pending& one : pending) {
    ALOS_RETURN_IF_ERROR(one.shard->EnsureLog());
    one.write.previous = one.shard->FindNewest(one.key->collection->id, one.key->id, one.hash);
    ALOS_RETURN_IF_ERROR(
        one.shard->CheckDamage(one.key->collection->id, one.key->id, one.write.previous));
    if (one.write.previous != 0 &&
        RecordView(one.shard->log()->At(one.write.previous)).header().commit_timestamp >
            snapshot_) {
      return absl::AbortedError(
          absl::StrCat("transaction conflict: document ", engine_internal::DescribeId(one.key->id),
                       " of collection '", one.key->collection->name,
                       "' was written by another commit; begin the transaction again"));
    }
    one.was_live = one.shard->IsLive(one.write.previous);
    // Inserted and deleted again, or deleted by a conflict-free earlier commit: nothing to record.
    if (one.document->has_value() || one.was_live) ++count;
  }
  if (count == 0) return std::uint64_t{0};

  engine_internal::UniqueWrite unique_write;
  for (Pending& one : pending) {
    const engine_internal::UniqueIndexList* list = one.key->collection->unique.list();
    if (list == nullptr) continue;
    engine_internal::UniqueKeys before;
    engine_internal::UniqueKeys after;
    if (one.was_live) {
      ALOS_RETURN_IF_ERROR(one.shard->VisitDocument(one.write.previous, [&](ValueView current) {
        engine_internal::AppendUniqueKeys(*list, current, &before).IgnoreError();
      }));
    }
    ValueView next;
    if (one.document->has_value()) {
      next = ValueView::FromTrusted(**one.document);
      ALOS_RETURN_IF_ERROR(engine_internal::AppendUniqueKeys(*list, next, &after));
    }
    unique_write.AddDocument(one.key->collection->id, one.key->collection->name, *list, one.hash,
                             one.key->id, next, std::move(before), std::move(after));
  }
  unique_write.Lock();
  ALOS_RETURN_IF_ERROR(unique_write.Check(database_->FindHolder()));

  std::vector<std::pair<Shard*, typename Database::Log::Prepared>> marks;
  for (Shard* shard : shards) {
    auto mark = shard->PrepareMark();
    if (!mark.ok()) return discard(mark.status());
    if (*mark) marks.emplace_back(shard, **mark);
  }
  std::vector<CounterDelta> deltas;
  for (Pending& one : pending) {
    if (!one.document->has_value() && !one.was_live) continue;
    auto write = one.shard->Prepare(
        one.key->collection->id, one.key->id, one.hash, one.write.previous,
        one.document->has_value() ? &one.body : nullptr, database_->options_.check_bodies, count);
    if (!write.ok()) return discard(write.status());
    one.write = *std::move(write);
    const int delta = (one.document->has_value() ? 1 : 0) - (one.was_live ? 1 : 0);
    if (delta != 0) deltas.push_back({&one.key->collection->live_documents, delta});
  }

  std::vector<CommitRecord> records;
  records.reserve(marks.size() + count);
  const auto seal = [&](std::uint64_t timestamp) {
    const auto add = [&](Shard* shard, const typename Database::Log::Prepared& prepared) {
      records.push_back({shard->number(), shard->log()->generation(), prepared.offset,
                         shard->Seal(prepared, timestamp)});
    };
    for (const auto& [shard, mark] : marks) add(shard, mark);
    for (const Pending& one : pending) {
      if (one.write.prepared.offset != 0) add(one.shard, one.write.prepared);
    }
    for (Shard* shard : shards) shard->PublishLog();
    for (const Pending& one : pending) {
      if (one.write.prepared.offset != 0) one.shard->InstallWrite(one.write);
    }
    return absl::Span<const CommitRecord>(records);
  };
  absl::StatusOr<std::uint64_t> committed = database_->durability_->Commit(seal, deltas);
  if (!committed.ok()) return discard(committed.status());
  unique_write.Apply();
  return committed;
}

}  // namespace alos

#endif  // ALOS_ENGINE_TRANSACTION_H_
