// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Snapshot-isolated transactions over the collections of one database.

#ifndef ALOS_ENGINE_TRANSACTION_H_
#define ALOS_ENGINE_TRANSACTION_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/status_macros.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/joint_log.h"
#include "alos/engine/internal/request_notes.h"
#include "alos/engine/internal/reservations.h"
#include "alos/engine/internal/unique_indexes.h"
#include "alos/engine/internal/writer_lock.h"
#include "alos/engine/options.h"
#include "alos/engine/request_id.h"
#include "alos/engine/results.h"
#include "alos/query/filter.h"
#include "alos/query/internal/sorter.h"
#include "alos/query/update.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

// Reads see the database as it was when the transaction began, and the transaction's own writes.
// Nothing is visible to others before Commit(), then all of it is at once, in every shard.
// Of two transactions that write the same document the first to commit wins; the other's Commit()
// returns kAborted, "transaction conflict" with collection and id, and nothing of it is visible:
// begin again.
// Isolation::kSerializable: the same goes for what was read. Commit() returns kAborted when another
// commit since the beginning changed a document that the transaction read, or one that a filter of
// the transaction matches or matched. A transaction that writes nothing is never refused: it is as
// if it had happened when it began.
// Unique indexes: a write that gives a document a key that another one has, among the transaction's
// own or among all that is committed by then, returns kAlreadyExists; so does Commit() when
// somebody else has taken a key meanwhile. A key that the transaction has taken from a document is
// free.
// Collections: one that a write names is made at once, and stays when the transaction does not
// commit.
//
// Threads: one at a time. Lifetime: ends before its database does; a transaction that is destroyed
// without Commit() is rolled back, which costs nothing.
// Durability: as a single write: its commit timestamp says when it may be acknowledged. After a
// crash either all of it is there or nothing. Errors: after an error of a write the transaction
// goes on as if the write had not been asked for; InsertMany keeps the documents ahead of the one
// that failed. kResourceExhausted when the writes take more than
// EngineOptions::transaction_bytes_max, or there is no room for them, or for the note of a read, in
// all_transactions_bytes_max.
// Cost: writes are kept in memory until Commit(); a read by filter looks at each of those to its
// collection. A serializable one notes what it reads; its Commit() looks at what others have
// committed since it began, for a moment with all writers waiting if it read by a filter.
template <class Policies>
class BasicTransaction {
 public:
  using Database = BasicDatabase<Policies>;

  // `pin`: of a snapshot of the database.
  BasicTransaction(Database* database, const TransactionOptions& options, SnapshotRegistry::Pin pin)
      : database_(database),
        is_serializable_(options.isolation == Isolation::kSerializable),
        pin_(std::move(pin)),
        snapshot_(pin_.timestamp()),
        memory_(database->transaction_bytes_) {}
  explicit BasicTransaction(Database* database, const TransactionOptions& options = {})
      : BasicTransaction(database, options, database->PinNewest()) {}
  BasicTransaction(const BasicTransaction&) = delete;
  BasicTransaction& operator=(const BasicTransaction&) = delete;

  std::uint64_t snapshot_timestamp() const { return snapshot_; }

  absl::StatusOr<bool> FindById(std::string_view collection, std::string_view encoded_id,
                                absl::FunctionRef<void(ValueView)> visit) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    ALOS_ASSIGN_OR_RETURN(Collection * found, database_->FindCollection(collection));
    if (found == nullptr) {
      ALOS_RETURN_IF_ERROR(NoteRead(collection, nullptr, Database::MatchEverything()));
      return false;
    }
    ALOS_RETURN_IF_ERROR(NoteKey(found, encoded_id));
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
    ALOS_ASSIGN_OR_RETURN(Collection * found, BeginRead(collection, filter));
    return found == nullptr ? absl::OkStatus() : VisitMatches(*found, filter, visit);
  }

  // The same with the order, `skip` and `limit` of a query. Its timestamp and `explain` are left
  // out of account.
  absl::Status Find(std::string_view collection, const FindQuery& query,
                    absl::FunctionRef<bool(ValueView)> visit);

  absl::StatusOr<std::uint64_t> Count(std::string_view collection, const Filter& filter);

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

  // Inserts in order and stops at the first that fails: the ones before it stay.
  InsertManyResult InsertMany(std::string_view collection, absl::Span<const ValueView> documents);

  absl::StatusOr<UpdateResult> UpdateOne(std::string_view collection, const Filter& filter,
                                         const Update& update) {
    return UpdateMatches(collection, filter, update, true);
  }
  // All of them, or, after an error, none.
  absl::StatusOr<UpdateResult> UpdateMany(std::string_view collection, const Filter& filter,
                                          const Update& update) {
    ALOS_RETURN_IF_ERROR(Database::CheckUpdateMany(update));
    return UpdateMatches(collection, filter, update, false);
  }

  absl::StatusOr<DeleteResult> DeleteOne(std::string_view collection, const Filter& filter) {
    return DeleteMatches(collection, filter, true);
  }
  absl::StatusOr<DeleteResult> DeleteMany(std::string_view collection, const Filter& filter) {
    return DeleteMatches(collection, filter, false);
  }

  // Returns the commit timestamp (0 when nothing was written). Over, whatever it returns.
  // `request`: the name of this commit; one that was done before is not done again, and returns
  // when it was. Errors of it: as BasicDatabase's.
  absl::StatusOr<std::uint64_t> Commit(const RequestId* request = nullptr);

  void Rollback() {
    active_ = false;
    Clear();
  }

  // --- As a part of a transaction over several databases (joint_transaction.h), in place of
  // Commit. Reserve validates it and holds what it writes and, if it is serializable, has read:
  // then nothing can come in the way of Apply any more. The same errors as Commit's; after one it
  // holds nothing.

  bool has_writes() const { return !writes_.empty(); }
  // Whether it reads what must not change before the whole is committed.
  bool has_validated_reads() const { return !read_keys_.empty() || !predicates_.empty(); }
  std::size_t writes_bytes() const { return writes_bytes_; }
  std::size_t writes_count() const { return writes_.size(); }
  absl::Status Reserve(const RequestId* request);
  // Calls `visit(collection, id, document)` with each write.
  template <class Visit>
  void VisitWrites(Visit&& visit) const {
    for (const auto& [key, document] : writes_) visit(key.collection->id, key.id, document);
  }
  // Installs what was reserved, with the marker (nullopt: none) of `$joint`. After an error it can
  // be tried again.
  absl::StatusOr<std::uint64_t> Apply(const std::optional<engine_internal::JointMarker>& marker);
  // Gives back what is held, once it is installed or will not be.
  void Release();
  // In place of Reserve, for what a former run decided. Returns how many of the writes are to
  // collections that there are not.
  std::size_t Restore(std::vector<engine_internal::JointWrite> writes);

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

  using Written = std::optional<std::string>;  // nullopt: deleted

  // What the transaction, or a part of it, takes of what all together may.
  class Memory {
   public:
    explicit Memory(QueueGauge* all) : all_(*all) {}
    ~Memory() { Clear(); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    absl::Status Take(std::size_t bytes) {
      if (!all_.TryAdd(bytes)) [[unlikely]] {
        return absl::ResourceExhaustedError(absl::StrCat(
            "the open transactions together take ", all_.depth(), " of ", all_.statistics().bound,
            " bytes, so that there is no room for ", bytes,
            " more; commit this one or roll it back, end others, or raise --transactions-memory-mb "
            "(EngineOptions::all_transactions_bytes_max)"));
      }
      bytes_ += bytes;
      return absl::OkStatus();
    }
    // Whether there is room or not.
    void TakeAnyhow(std::size_t bytes) {
      all_.Add(bytes);
      bytes_ += bytes;
    }
    void GiveBack(std::size_t bytes) {
      all_.Remove(bytes);
      bytes_ -= bytes;
    }
    void Clear() {
      if (bytes_ != 0) GiveBack(bytes_);
    }

   private:
    QueueGauge& all_;
    std::size_t bytes_ = 0;
  };

  // What a document to be written takes.
  static std::size_t WriteBytes(std::string_view id, const Written& document) {
    return sizeof(Key) + sizeof(Written) + id.size() + (document ? document->size() : 0);
  }
  absl::Status CheckRoom(std::size_t bytes) const {
    const std::size_t bytes_max = database_->options_.transaction_bytes_max;
    if (bytes <= bytes_max) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat("the transaction has written more than ",
                                                     bytes_max, " bytes; commit it in parts"));
  }

  absl::Status Put(Collection& collection, std::string_view id, Written document) {
    const auto own = writes_.find(Key{&collection, std::string(id)});
    const std::size_t bytes = writes_bytes_ + WriteBytes(id, document) -
                              (own == writes_.end() ? 0 : WriteBytes(id, own->second));
    ALOS_RETURN_IF_ERROR(CheckRoom(bytes));
    const std::size_t more = bytes > writes_bytes_ ? bytes - writes_bytes_ : 0;
    ALOS_RETURN_IF_ERROR(memory_.Take(more));
    if (absl::Status taken = TakeUniqueKeys(collection, id, document); !taken.ok()) {
      memory_.GiveBack(more);
      return taken;
    }
    if (more == 0) memory_.GiveBack(writes_bytes_ - bytes);
    writes_bytes_ = bytes;
    if (own != writes_.end()) {
      own->second = std::move(document);
    } else {
      writes_.emplace(Key{&collection, std::string(id)}, std::move(document));
    }
    return absl::OkStatus();
  }

  // Writes all of them or, after an error, none.
  absl::Status PutAll(Collection& collection, std::vector<std::pair<std::string, Written>> all) {
    if (all.size() == 1) return Put(collection, all[0].first, std::move(all[0].second));
    // What was there before: nullopt where nothing was.
    std::vector<std::optional<Written>> before;
    Memory kept(database_->transaction_bytes_);
    before.reserve(all.size());
    for (auto& [id, document] : all) {
      const auto own = writes_.find(Key{&collection, id});
      absl::Status status;
      if (own != writes_.end()) status = kept.Take(WriteBytes(id, own->second));
      before.push_back(own == writes_.end() ? std::nullopt : std::optional<Written>(own->second));
      if (status.ok()) status = Put(collection, id, std::move(document));
      if (status.ok()) continue;
      const std::size_t bytes = writes_bytes_;
      for (std::size_t i = before.size() - 1; i-- > 0;) {
        const auto written = writes_.find(Key{&collection, all[i].first});
        writes_bytes_ -= WriteBytes(all[i].first, written->second);
        if (before[i]) {
          writes_bytes_ += WriteBytes(all[i].first, *before[i]);
          written->second = *std::move(before[i]);
        } else {
          writes_.erase(written);
        }
      }
      if (bytes > writes_bytes_) {
        memory_.GiveBack(bytes - writes_bytes_);
      } else {
        memory_.TakeAnyhow(writes_bytes_ - bytes);
      }
      RemakeUniqueKeys();
      return status;
    }
    return absl::OkStatus();
  }

  // Looks whether the document's keys are free, and notes them in place of those that an earlier
  // write gave to it. An error leaves everything as it is.
  absl::Status TakeUniqueKeys(Collection& collection, std::string_view id,
                              const Written& document) {
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
      return UniqueKeyName(collection, *list, index, key);
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
            status.SetPayload(engine_internal::kDuplicateInPayload,
                              absl::Cord(absl::StrCat(collection.id)));
            return false;
          }));
      if (!status.ok()) return database_->WhenTrue(status);
    }
    std::size_t more = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      for (const std::string& key : after[i]) more += UniqueKeyBytes(name(i, key), id);
    }
    ALOS_RETURN_IF_ERROR(memory_.Take(more));
    std::size_t less = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      for (const std::string& key : before[i]) {
        const std::string known = name(i, key);
        if (unique_keys_.erase(known) != 0) less += UniqueKeyBytes(known, id);
      }
    }
    for (std::size_t i = 0; i < after.size(); ++i) {
      for (const std::string& key : after[i]) {
        const std::string added = name(i, key);
        if (!unique_keys_.insert_or_assign(added, id).second) less += UniqueKeyBytes(added, id);
      }
    }
    memory_.GiveBack(less);
    unique_keys_bytes_ += more;
    unique_keys_bytes_ -= less;
    return absl::OkStatus();
  }

  static std::string UniqueKeyName(const Collection& collection,
                                   const engine_internal::UniqueIndexList& list, std::size_t index,
                                   std::string_view key) {
    return absl::StrCat(collection.id, " ", list[index]->definition.name(), " ", key);
  }

  static std::size_t UniqueKeyBytes(std::string_view name, std::string_view id) {
    return 2 * sizeof(std::string) + name.size() + id.size();
  }

  // The keys of all that is written, from the documents.
  void RemakeUniqueKeys() {
    unique_keys_.clear();
    memory_.GiveBack(std::exchange(unique_keys_bytes_, 0));
    const auto guard = database_->context_.epochs->Enter();
    for (const auto& [key, document] : writes_) {
      const engine_internal::UniqueIndexList* list = key.collection->unique.list();
      if (list == nullptr || !document) continue;
      engine_internal::UniqueKeys keys;
      engine_internal::AppendUniqueKeys(*list, ValueView::FromTrusted(*document), &keys)
          .IgnoreError();
      for (std::size_t i = 0; i < keys.size(); ++i) {
        for (const std::string& one : keys[i]) {
          const std::string name = UniqueKeyName(*key.collection, *list, i, one);
          if (unique_keys_.insert_or_assign(name, key.id).second)
            unique_keys_bytes_ += UniqueKeyBytes(name, key.id);
        }
      }
    }
    memory_.TakeAnyhow(unique_keys_bytes_);
  }

  static std::size_t ReadKeyBytes(std::string_view id) { return sizeof(Key) + id.size(); }
  // About what is kept of a filter: the program is some times as large as its text.
  static std::size_t PredicateBytes(std::string_view name, const Filter& filter) {
    return sizeof(Predicate) + name.size() + 8 * filter.program().source_bytes();
  }

  // Notes, for a serializable transaction, that a document was looked at.
  absl::Status NoteKey(Collection* collection, std::string_view id) {
    if (!is_serializable_ || whole_reads_.contains(collection->name)) return absl::OkStatus();
    if (read_keys_.size() >= kReadKeysMax) {
      // Of the collection with so many it is simpler to say that all of it was read.
      ALOS_RETURN_IF_ERROR(NoteRead(collection->name, collection, Database::MatchEverything()));
      for (auto key = read_keys_.lower_bound(Key{collection, std::string()});
           key != read_keys_.end() && key->collection == collection;) {
        memory_.GiveBack(ReadKeyBytes(key->id));
        key = read_keys_.erase(key);
      }
      return absl::OkStatus();
    }
    Key key{collection, std::string(id)};
    if (read_keys_.contains(key)) return absl::OkStatus();
    ALOS_RETURN_IF_ERROR(memory_.Take(ReadKeyBytes(id)));
    read_keys_.insert(std::move(key));
    return absl::OkStatus();
  }

  // The same for a filter. `collection`: nullptr when there is none of that name.
  absl::Status NoteRead(std::string_view name, Collection* collection, const Filter& filter) {
    if (!is_serializable_ || whole_reads_.contains(name)) return absl::OkStatus();
    if (collection != nullptr && filter.id_candidates()) {
      for (const std::string& id : *filter.id_candidates())
        ALOS_RETURN_IF_ERROR(NoteKey(collection, id));
      return absl::OkStatus();
    }
    const bool is_whole = filter.matches_everything() || predicates_.size() >= kPredicatesMax;
    const Filter& noted = is_whole ? Database::MatchEverything() : filter;
    ALOS_RETURN_IF_ERROR(memory_.Take(PredicateBytes(name, noted)));
    if (is_whole) {
      whole_reads_.emplace(name);
      std::erase_if(predicates_, [&](const Predicate& other) {
        if (other.name != name) return false;
        memory_.GiveBack(PredicateBytes(other.name, other.filter));
        return true;
      });
    }
    predicates_.push_back({std::string(name), collection, noted});
    return absl::OkStatus();
  }

  // What comes before each read by a filter; nullptr when there is no such collection.
  absl::StatusOr<Collection*> BeginRead(std::string_view collection, const Filter& filter) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    ALOS_ASSIGN_OR_RETURN(Collection * found, database_->FindCollection(collection));
    ALOS_RETURN_IF_ERROR(NoteRead(collection, found, filter));
    return found;
  }

  absl::StatusOr<bool> FindVisible(Collection& collection, std::string_view id,
                                   absl::FunctionRef<void(ValueView)> visit) {
    const auto own = writes_.find(Key{&collection, std::string(id)});
    if (own != writes_.end()) {
      if (own->second) visit(ValueView::FromTrusted(*own->second));
      return own->second.has_value();
    }
    return FindInSnapshot(collection, id, visit);
  }

  absl::StatusOr<bool> FindInSnapshot(Collection& collection, std::string_view id,
                                      absl::FunctionRef<void(ValueView)> visit) {
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

  // Calls `change(document, id, *written) -> StatusOr<bool>` with each match, or only the first
  // one, and writes what it made if it returns true.
  template <class Change>
  absl::StatusOr<UpdateResult> ChangeMatches(std::string_view collection, const Filter& filter,
                                             bool once, Change&& change) {
    ALOS_ASSIGN_OR_RETURN(Collection * found, BeginRead(collection, filter));
    UpdateResult result;
    if (found == nullptr) return result;
    std::vector<std::pair<std::string, Written>> changed;
    Memory gathered(database_->transaction_bytes_);
    std::size_t bytes = 0;
    absl::Status status;
    const auto take = [&](ValueView document) -> absl::Status {
      ++result.matched;
      ALOS_ASSIGN_OR_RETURN(std::string id, EncodeId(document.Find("_id").value_or(ValueView())));
      Written written;
      ALOS_ASSIGN_OR_RETURN(const bool is_changed, change(document, &written));
      if (!is_changed) return absl::OkStatus();
      bytes += WriteBytes(id, written);
      ALOS_RETURN_IF_ERROR(CheckRoom(bytes));
      if (!once) ALOS_RETURN_IF_ERROR(gathered.Take(WriteBytes(id, written)));
      changed.emplace_back(std::move(id), std::move(written));
      return absl::OkStatus();
    };
    ALOS_RETURN_IF_ERROR(VisitMatches(*found, filter, [&](ValueView document) {
      status = take(document);
      return status.ok() && !once;
    }));
    ALOS_RETURN_IF_ERROR(status);
    result.modified = changed.size();
    gathered.Clear();  // it is taken anew as it is written
    if (!changed.empty()) ALOS_RETURN_IF_ERROR(PutAll(*found, std::move(changed)));
    return result;
  }

  absl::StatusOr<UpdateResult> UpdateMatches(std::string_view collection, const Filter& filter,
                                             const Update& update, bool once) {
    return ChangeMatches(collection, filter, once,
                         [&](ValueView current, Written* written) -> absl::StatusOr<bool> {
                           return update.Apply(current, filter, &written->emplace());
                         });
  }
  absl::StatusOr<DeleteResult> DeleteMatches(std::string_view collection, const Filter& filter,
                                             bool once) {
    ALOS_ASSIGN_OR_RETURN(
        const UpdateResult result,
        ChangeMatches(collection, filter, once,
                      [](ValueView, Written*) -> absl::StatusOr<bool> { return true; }));
    return DeleteResult{result.modified, 0};
  }

  static absl::Status Conflict(const Collection& collection, std::string_view id,
                               std::string_view what) {
    return absl::AbortedError(absl::StrCat(
        "transaction conflict: document ", engine_internal::DescribeId(id), " of collection '",
        collection.name, "' ", what, "; begin the transaction again"));
  }

  // Whether what was read is what it would read now. `until`: of each shard, how far it has been
  // looked at by an earlier call; empty at first. Inside an epoch guard; the last call with the
  // writer roles of the shards.
  absl::Status ValidateReads(std::vector<std::uint64_t>* until);
  absl::Status ValidateRecord(Shard& shard, std::uint64_t offset, const RecordView& record,
                              absl::Span<Collection* const> collections);
  struct Pending {
    const Key* key;
    const Written* document;
    std::uint64_t hash;
    Shard* shard;
    bool was_live = false;
    engine_internal::StoredBody body;
    typename Shard::Write write;
  };
  // Whether nobody has written the document since the snapshot. First committer wins: nothing we
  // write may have a version that our snapshot does not see.
  absl::Status CheckWrite(const Pending& one, const Collection* notes, const RequestId* request);

  enum class Step {
    kCommit,
    kReserve,  // all of it but the writing
    kApply,    // the writing
  };
  // `more`: a write besides. (What is held is known by its place in writes_: nothing is added.)
  absl::StatusOr<std::uint64_t> CommitWrites(const RequestId* request, Step step,
                                             const std::pair<const Key, Written>* more = nullptr);

  void Clear() {
    writes_.clear();
    unique_keys_.clear();
    read_keys_.clear();
    predicates_.clear();
    whole_reads_.clear();
    unique_keys_bytes_ = 0;
    memory_.Clear();
    pin_.Release();
  }

  // A filter that was asked; `collection`: nullptr when there was none.
  struct Predicate {
    std::string name;
    Collection* collection;
    Filter filter;
  };

  static constexpr std::size_t kReadKeysMax = 1'000'000;
  static constexpr std::size_t kPredicatesMax = 10'000;

  Database* const database_;
  const bool is_serializable_;
  SnapshotRegistry::Pin pin_;
  const std::uint64_t snapshot_;
  Memory memory_;
  bool active_ = true;
  std::size_t writes_bytes_ = 0;
  absl::btree_map<Key, Written> writes_;
  // Of the documents written: collection, index and key, and the id that has it.
  absl::flat_hash_map<std::string, std::string> unique_keys_;
  std::size_t unique_keys_bytes_ = 0;
  // What a serializable one has read.
  absl::btree_set<Key> read_keys_;
  std::vector<Predicate> predicates_;
  absl::flat_hash_set<std::string> whole_reads_;  // names of collections
  // What Reserve took.
  std::optional<engine_internal::Reservations::Holding> holding_;
  std::vector<engine_internal::UniqueWrite::Added> added_keys_;
};

// ---- Readers of the API may stop here. ----

template <class Policies>
absl::Status BasicTransaction<Policies>::Find(std::string_view collection, const FindQuery& query,
                                              absl::FunctionRef<bool(ValueView)> visit) {
  const Filter& filter = query.filter != nullptr ? *query.filter : Database::MatchEverything();
  ALOS_ASSIGN_OR_RETURN(Collection * found, BeginRead(collection, filter));
  if (!query.hint.empty()) ALOS_RETURN_IF_ERROR(database_->CheckHint(collection, query.hint));
  if (found == nullptr) return absl::OkStatus();
  std::uint64_t position = 0;
  std::uint64_t visited = 0;
  const auto show = [&](ValueView document) {
    if (position++ < query.skip) return true;
    return visit(document) && ++visited != query.limit;
  };
  if (query.sort == nullptr) return VisitMatches(*found, filter, show);
  const bool is_bounded =
      query.limit != 0 && query.limit <= std::numeric_limits<std::uint64_t>::max() - query.skip;
  query_internal::Sorter sorter(
      query.sort, is_bounded ? query.skip + query.limit : std::numeric_limits<std::uint64_t>::max(),
      query.sort_bytes_max, 0);
  absl::Status added;
  ALOS_RETURN_IF_ERROR(VisitMatches(*found, filter, [&](ValueView document) {
    added = sorter.Add(document);
    return added.ok();
  }));
  ALOS_RETURN_IF_ERROR(added);
  sorter.Finish(show);
  return absl::OkStatus();
}

// What matches in the snapshot, and then what the own writes make of it.
template <class Policies>
absl::StatusOr<std::uint64_t> BasicTransaction<Policies>::Count(std::string_view collection,
                                                                const Filter& filter) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, BeginRead(collection, filter));
  if (found == nullptr) return std::uint64_t{0};
  std::uint64_t count = 0;
  if (filter.may_fail()) {
    ALOS_RETURN_IF_ERROR(VisitMatches(*found, filter, [&](ValueView) {
      ++count;
      return true;
    }));
    return count;
  }
  const auto guard = database_->context_.epochs->Enter();
  ALOS_ASSIGN_OR_RETURN(count, database_->CountMatches(*found, filter, snapshot_, nullptr));
  for (auto own = writes_.lower_bound(Key{found, std::string()});
       own != writes_.end() && own->first.collection == found; ++own) {
    if (own->second && filter.Matches(ValueView::FromTrusted(*own->second))) ++count;
    bool matched = false;
    ALOS_RETURN_IF_ERROR(FindInSnapshot(*found, own->first.id, [&](ValueView document) {
                           matched = filter.Matches(document);
                         }).status());
    if (matched) --count;
  }
  return count;
}

template <class Policies>
InsertManyResult BasicTransaction<Policies>::InsertMany(std::string_view collection,
                                                        absl::Span<const ValueView> documents) {
  InsertManyResult result;
  for (const ValueView document : documents) {
    absl::StatusOr<InsertResult> inserted = InsertOne(collection, document);
    if (!inserted.ok()) {
      result.status =
          Database::InsertManyError(inserted.status(), result.ids.size(), documents.size());
      break;
    }
    result.ids.push_back(std::move(inserted->id));
  }
  return result;
}

template <class Policies>
absl::Status BasicTransaction<Policies>::ValidateReads(std::vector<std::uint64_t>* until) {
  if (until->empty()) {
    until->assign(database_->shards_.size(), 0);
  } else {
    // The last call.
    for (const Key& key : read_keys_) {
      const std::uint64_t hash = database_->Hash(key.collection->id, key.id);
      Shard& shard = database_->ShardOf(hash);
      const std::uint64_t newest = shard.FindNewest(key.collection->id, key.id, hash);
      if (shard.HasChangedSince(newest, snapshot_))
        return Conflict(*key.collection, key.id, "was read and then written by another commit");
    }
  }
  if (predicates_.empty()) return absl::OkStatus();
  // A collection may have been made meanwhile.
  std::vector<Collection*> collections;
  collections.reserve(predicates_.size());
  for (const Predicate& predicate : predicates_)
    collections.push_back(database_->collections_.Find(predicate.name));
  for (std::size_t i = 0; i < predicates_.size(); ++i) {
    if (predicates_[i].collection != nullptr && predicates_[i].collection != collections[i]) {
      return absl::AbortedError(
          absl::StrCat("transaction conflict: collection '", predicates_[i].name,
                       "' was read and then dropped; begin the transaction again"));
    }
  }
  for (std::size_t i = 0; i < database_->shards_.size(); ++i) {
    Shard& shard = *database_->shards_[i];
    if (!shard.MayBeNewerThan(snapshot_)) continue;
    absl::Status status;
    ALOS_ASSIGN_OR_RETURN(
        (*until)[i], shard.ForEachNewer(snapshot_, (*until)[i], 0,
                                        [&](std::uint64_t offset, const RecordView& record) {
                                          status =
                                              ValidateRecord(shard, offset, record, collections);
                                          return status.ok();
                                        }));
    ALOS_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

// A record newer than the snapshot. It matters if it is the newest one of its document, which, or
// the version in the snapshot, matches a filter. `collections`: of the predicates, as they are now.
template <class Policies>
absl::Status BasicTransaction<Policies>::ValidateRecord(Shard& shard, std::uint64_t offset,
                                                        const RecordView& record,
                                                        absl::Span<Collection* const> collections) {
  const RecordHeader& header = record.header();
  if (header.kind != RecordKind::kPut && header.kind != RecordKind::kDelete)
    return absl::OkStatus();
  bool is_looked_at = false;
  bool is_current = false;
  for (std::size_t i = 0; i < predicates_.size(); ++i) {
    if (collections[i] == nullptr || collections[i]->id != header.collection) continue;
    if (!is_looked_at) {
      is_looked_at = true;
      const std::uint64_t hash = database_->Hash(header.collection, record.id());
      // A later one is looked at by itself. An earlier one means that this one is on its way into
      // the index, as happens while the writer role is not ours.
      is_current = shard.FindNewest(header.collection, record.id(), hash) <= offset &&
                   shard.HasChangedSince(offset, snapshot_);
    }
    if (!is_current) return absl::OkStatus();
    bool matches = false;
    const auto look = [&](ValueView document) {
      absl::Status error;  // an expression that fails says nothing: it might match
      matches = matches || predicates_[i].filter.Matches(document, &error) || !error.ok();
    };
    if (header.kind == RecordKind::kPut) ALOS_RETURN_IF_ERROR(shard.VisitDocument(offset, look));
    if (!matches) ALOS_RETURN_IF_ERROR(FindInSnapshot(*collections[i], record.id(), look).status());
    if (matches) {
      return Conflict(*collections[i], record.id(),
                      "matches a filter of the transaction, or did, and was written by another "
                      "commit");
    }
  }
  return absl::OkStatus();
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicTransaction<Policies>::Commit(const RequestId* request) {
  ALOS_RETURN_IF_ERROR(CheckActive());
  active_ = false;
  absl::StatusOr<std::uint64_t> committed = database_->Once(
      writes_.empty() ? nullptr : request, [&] { return CommitWrites(request, Step::kCommit); },
      [](const RequestOutcome& outcome) -> absl::StatusOr<std::uint64_t> {
        return outcome.commit_timestamp;
      });
  Clear();
  if (!committed.ok()) return database_->WhenTrue(committed.status());
  return committed;
}

template <class Policies>
absl::Status BasicTransaction<Policies>::Reserve(const RequestId* request) {
  ALOS_RETURN_IF_ERROR(CheckActive());
  active_ = false;
  const absl::Status reserved = CommitWrites(request, Step::kReserve).status();
  if (reserved.ok()) return reserved;
  Clear();
  return database_->WhenTrue(reserved);
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicTransaction<Policies>::Apply(
    const std::optional<engine_internal::JointMarker>& marker) {
  if (!marker) return CommitWrites(nullptr, Step::kApply);
  ALOS_ASSIGN_OR_RETURN(Collection * markers, database_->JointMarkers());
  const std::pair<const Key, Written> write(Key{markers, engine_internal::JointMarker::EncodeId()},
                                            marker->Encode());
  return CommitWrites(nullptr, Step::kApply, &write);
}

template <class Policies>
void BasicTransaction<Policies>::Release() {
  if (holding_) {
    // Keys that were installed are the document's own now; the others are nobody's.
    for (const engine_internal::UniqueWrite::Added& key : added_keys_) {
      std::string id;
      const auto guard = database_->context_.epochs->Enter();
      absl::MutexLock lock(&key.index->StripeOf(key.key_hash).mutex);
      const absl::StatusOr<bool> holds =
          database_->unique_->FindHolder(key.collection, *key.index, key.key, key.holder, &id);
      if (holds.ok() && !*holds) key.index->StripeOf(key.key_hash).Remove(key.key_hash, key.holder);
    }
    database_->reservations_.Release(*holding_);
  }
  holding_.reset();
  added_keys_.clear();
  Clear();
}

template <class Policies>
std::size_t BasicTransaction<Policies>::Restore(std::vector<engine_internal::JointWrite> writes) {
  active_ = false;
  absl::flat_hash_map<std::uint32_t, Collection*> collections;
  {
    const auto guard = database_->context_.epochs->Enter();
    for (Collection* collection : database_->collections_.All())
      collections.emplace(collection->id, collection);
  }
  std::size_t missing = 0;
  for (engine_internal::JointWrite& write : writes) {
    const auto found = collections.find(write.collection);
    if (found == collections.end()) {
      ++missing;
      continue;
    }
    writes_.insert_or_assign(Key{found->second, std::move(write.id)}, std::move(write.document));
  }
  return missing;
}

template <class Policies>
absl::Status BasicTransaction<Policies>::CheckWrite(const Pending& one, const Collection* notes,
                                                    const RequestId* request) {
  const Collection& collection = *one.key->collection;
  if (&collection == notes) {
    ALOS_ASSIGN_OR_RETURN(const auto note, database_->ReadNote(*notes, request->slot));
    ALOS_ASSIGN_OR_RETURN(const RequestOutcome outcome, database_->Judge(note, *request));
    ALOS_RETURN_IF_ERROR(Database::NotAgain(outcome));
  } else if (one.shard->HasChangedSince(one.write.previous, snapshot_)) {
    return Conflict(collection, one.key->id, "was written by another commit");
  }
  if (database_->collections_.Find(collection.name) != &collection) {
    return absl::AbortedError(absl::StrCat("transaction conflict: collection '", collection.name,
                                           "' was dropped; begin the transaction again"));
  }
  if (database_->reservations_.any() &&
      database_->reservations_.Has(collection.name, collection.id, one.key->id)) {
    return Conflict(collection, one.key->id,
                    "is being used by a transaction over several databases");
  }
  return absl::OkStatus();
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicTransaction<Policies>::CommitWrites(
    const RequestId* request, Step step, const std::pair<const Key, Written>* more) {
  if (writes_.empty() && step != Step::kReserve) return std::uint64_t{0};
  if (step == Step::kCommit) database_->write_rate_.Acquire(writes_.size());
  // The note of the request is one more document.
  Collection* notes = nullptr;
  if (request != nullptr) {
    ALOS_ASSIGN_OR_RETURN(notes, database_->Notes());
    RequestOutcome outcome;
    outcome.state = RequestOutcome::State::kDone;
    writes_.insert_or_assign(Key{notes, engine_internal::EncodeNoteId(request->slot)},
                             database_->MakeNote(*request, outcome));
  }

  std::vector<Pending> pending;
  pending.reserve(writes_.size() + 1);
  const auto add = [&](const Key& key, const Written& document) {
    const std::uint64_t hash = database_->Hash(key.collection->id, key.id);
    Pending& added = pending.emplace_back(
        Pending{&key, &document, hash, &database_->ShardOf(hash), false, {}, {}});
    if (document && step != Step::kReserve) database_->Encode(*document, &added.body);
  };
  for (const auto& [key, document] : writes_) add(key, document);
  if (more != nullptr) add(more->first, more->second);
  for (const Pending& one : pending) database_->unique_->Prepare(one.key->collection);
  const auto in_order = [](std::vector<Shard*>* shards) {
    std::sort(shards->begin(), shards->end(),
              [](const Shard* a, const Shard* b) { return a->number() < b->number(); });
    shards->erase(std::unique(shards->begin(), shards->end()), shards->end());
  };
  std::vector<Shard*> shards;
  shards.reserve(pending.size());
  for (const Pending& one : pending) shards.push_back(one.shard);
  in_order(&shards);
  // What was read must not change before we are done, either. A filter may match anywhere.
  const bool validates = is_serializable_ && step != Step::kApply;
  std::vector<Shard*> locked = shards;
  if (validates && !predicates_.empty()) {
    locked.clear();
    for (const auto& shard : database_->shards_) locked.push_back(shard.get());
  }
  if (validates) {
    for (const Key& key : read_keys_)
      locked.push_back(&database_->ShardOf(database_->Hash(key.collection->id, key.id)));
  }
  in_order(&locked);

  const auto guard = database_->context_.epochs->Enter();
  // Most of what others have committed is looked at while they go on.
  std::vector<std::uint64_t> validated;
  if (validates) ALOS_RETURN_IF_ERROR(ValidateReads(&validated));
  // One order for all, so that two commits cannot wait for each other.
  std::vector<std::unique_ptr<engine_internal::WriterLock>> locks;
  locks.reserve(locked.size());
  for (Shard* shard : locked)
    locks.push_back(
        std::make_unique<engine_internal::WriterLock>(&shard->writer(), &database_->writers_));
  const auto discard = [&](absl::Status status) {
    for (Shard* shard : shards) shard->Discard();
    return status;
  };

  std::uint32_t count = 0;
  for (Pending& one : pending) {
    ALOS_RETURN_IF_ERROR(one.shard->EnsureLog());
    one.write.previous = one.shard->FindNewest(one.key->collection->id, one.key->id, one.hash);
    ALOS_RETURN_IF_ERROR(
        one.shard->CheckDamage(one.key->collection->id, one.key->id, one.write.previous));
    if (step != Step::kApply) ALOS_RETURN_IF_ERROR(CheckWrite(one, notes, request));
    one.was_live = one.shard->IsLive(one.write.previous);
    // Inserted and deleted again, or deleted by a conflict-free earlier commit: nothing to record.
    if (one.document->has_value() || one.was_live) ++count;
  }
  if (count == 0 && step != Step::kReserve) return std::uint64_t{0};
  if (validates) ALOS_RETURN_IF_ERROR(ValidateReads(&validated));

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
      const absl::Status appended = engine_internal::AppendUniqueKeys(*list, next, &after);
      if (step != Step::kApply) ALOS_RETURN_IF_ERROR(appended);
    }
    unique_write.AddDocument(one.key->collection->id, one.key->collection->name, *list, one.hash,
                             one.key->id, next, std::move(before), std::move(after));
  }
  unique_write.Lock();
  if (step != Step::kApply) {
    const absl::Status checked = unique_write.Check(database_->FindHolder());
    if (engine_internal::Reservations::IsMustWait(checked)) {
      return absl::AbortedError(
          "transaction conflict: a key of a unique index is being taken by a transaction over "
          "several databases; begin the transaction again");
    }
    ALOS_RETURN_IF_ERROR(checked);
  }
  if (step == Step::kReserve) {
    engine_internal::Reservations::Holding holding;
    for (const Pending& one : pending) {
      holding.documents.push_back({one.key->collection->id, one.key->collection->name, one.key->id,
                                   one.hash, one.document});
    }
    for (const Key& key : read_keys_)
      holding.documents.push_back({key.collection->id, key.collection->name, key.id, 0, nullptr});
    for (const Predicate& predicate : predicates_) holding.collections.push_back(predicate.name);
    ALOS_RETURN_IF_ERROR(database_->reservations_.Hold(holding));
    holding_ = std::move(holding);
    unique_write.Add(&added_keys_);
    return std::uint64_t{0};
  }

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
  const MemoryReserve::Critical critical;
  absl::StatusOr<std::uint64_t> committed = database_->durability_->Commit(seal, deltas);
  if (!committed.ok()) return discard(committed.status());
  unique_write.Apply();
  return committed;
}

}  // namespace alos

#endif  // ALOS_ENGINE_TRANSACTION_H_
