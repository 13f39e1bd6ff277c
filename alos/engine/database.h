// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A database: collections of MessagePack documents, spread over shards by the hash of their `_id`.

#ifndef ALOS_ENGINE_DATABASE_H_
#define ALOS_ENGINE_DATABASE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/cleanup/cleanup.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/epoch.h"
#include "alos/base/log.h"
#include "alos/base/mapped_read_guard.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/parallel.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/rate_limiter.h"
#include "alos/base/status_macros.h"
#include "alos/cache/cache.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/backup_state.h"
#include "alos/engine/changes.h"
#include "alos/engine/explain.h"
#include "alos/engine/internal/change_reader.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/compactor.h"
#include "alos/engine/internal/cursor_table.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/index_group.h"
#include "alos/engine/internal/index_reader.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/joint_log.h"
#include "alos/engine/internal/recovery_report.h"
#include "alos/engine/internal/request_notes.h"
#include "alos/engine/internal/reservations.h"
#include "alos/engine/internal/scan_cursor.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/internal/stored_body.h"
#include "alos/engine/internal/unique_enforcer.h"
#include "alos/engine/internal/unique_indexes.h"
#include "alos/engine/internal/writer_lock.h"
#include "alos/engine/options.h"
#include "alos/engine/request_id.h"
#include "alos/engine/results.h"
#include "alos/index/column.h"
#include "alos/index/index_definition.h"
#include "alos/index/index_key.h"
#include "alos/index/segment.h"
#include "alos/query/filter.h"
#include "alos/query/index_predicate.h"
#include "alos/query/internal/sorter.h"
#include "alos/query/pipeline.h"
#include "alos/query/pipeline_environment.h"
#include "alos/query/sort.h"
#include "alos/query/update.h"
#include "alos/storage/durability.h"
#include "alos/storage/journal.h"
#include "alos/storage/manifest.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

template <class Policies>
class BasicTransaction;
template <class Policies>
class BasicJointTransaction;

// Threads: all members by any number of threads at once. Reads take no lock and wait for nobody;
// writes of one shard exclude each other for the time of an append.
// Visibility: every read sees one snapshot: all commits up to a timestamp, none after it. A read
// that begins after a write is visible (IsVisible of its commit timestamp) sees it. A write may be
// acknowledged to its author when it is visible; with the `sync` policy it is durable by then.
// Lifetime: views given to visitors are valid during the call. The engine must outlive its
// databases' users, and a transaction must end before the engine closes. Errors: kInvalidArgument
// for what the caller gave, kAlreadyExists for a duplicate `_id` or key of a unique index,
// kDataLoss for damaged records (naming file, offset and document), kResourceExhausted for a full
// disk or a limit, kUnavailable once a flush has failed: reads go on, writes are refused.
template <class Policies>
class BasicDatabase {
 public:
  using FileSystem = typename Policies::FileSystem;
  using Transaction = BasicTransaction<Policies>;

  // Opens the database in `directory`, making it when `create`. kNotFound when there is none.
  // Use BasicEngine, which locks the data directory. `transaction_bytes`: what all open
  // transactions of the engine take.
  static absl::StatusOr<std::unique_ptr<BasicDatabase>> Open(
      FileSystem* file_system, EpochManager* epochs, QueueGauge* transaction_bytes,
      std::string directory, const EngineOptions& options, bool create);

  BasicDatabase(const BasicDatabase&) = delete;
  BasicDatabase& operator=(const BasicDatabase&) = delete;

  // --- Documents

  // Writes take the name of their request, if it has one (RequestId): one that was done is not done
  // again, and returns what it returned. Besides the errors below: kFailedPrecondition when its
  // session has ended, kAborted while it is still being done, and kUnknown when it was interrupted
  // in the middle; in each case nothing was done now.

  // Inserts a document; one without `_id` gets a new one as its first field.
  absl::StatusOr<InsertResult> InsertOne(std::string_view collection, ValueView document,
                                         const RequestId* request = nullptr);

  // Inserts in order and stops at the first that fails: the ones before it stay.
  InsertManyResult InsertMany(std::string_view collection, absl::Span<const ValueView> documents,
                              const RequestId* request = nullptr);

  // Calls `visit` with the document of this id (encoded: alos/document/id.h); false when there is
  // none.
  absl::StatusOr<bool> FindById(std::string_view collection, std::string_view encoded_id,
                                absl::FunctionRef<void(ValueView)> visit,
                                std::optional<std::uint64_t> read_timestamp = std::nullopt);

  // Calls `visit` with one document that matches; false when there is none.
  absl::StatusOr<bool> FindOne(std::string_view collection, const Filter& filter,
                               absl::FunctionRef<void(ValueView)> visit);

  // Calls `visit` for every match of the query, in its order, until it returns false.
  absl::Status Find(std::string_view collection, const FindQuery& query,
                    absl::FunctionRef<bool(ValueView)> visit);

  // As Find, in batches over one snapshot. `cursor`: empty for the first batch, then what the last
  // call returned; an empty result means that nothing is left. `visit` returning false ends the
  // batch early (the document it was called with counts as seen). A cursor ends with the engine, or
  // when it is not used for ten minutes.
  absl::StatusOr<std::string> FindBatch(std::string_view collection, const Filter& filter,
                                        std::string_view cursor, std::size_t batch_size,
                                        absl::FunctionRef<bool(ValueView)> visit,
                                        std::optional<std::uint64_t> read_timestamp = std::nullopt);

  // How many documents match. Everything in a collection: O(1). An equality or a range of an
  // indexed field: read off the index.
  absl::StatusOr<std::uint64_t> Count(std::string_view collection, const Filter& filter,
                                      Explain* explain = nullptr,
                                      std::optional<std::uint64_t> read_timestamp = std::nullopt);

  // Whether a find with this filter, of comparisons only, surely takes no longer than it takes to
  // give it to another thread: an index leads it to few documents, or it is through with
  // `documents_wanted` of them (0: they are only counted). Tells so in about a microsecond.
  // False says nothing.
  bool IsQuick(std::string_view collection, const Filter& filter,
               std::uint64_t documents_wanted = std::numeric_limits<std::uint64_t>::max()) const;

  // Finds what an update or a delete with this filter would change, and tells how.
  absl::Status ExplainMatches(std::string_view collection, const Filter& filter, Explain* explain);

  // Each document is updated atomically; UpdateMany is not atomic as a whole.
  absl::StatusOr<UpdateResult> UpdateOne(std::string_view collection, const Filter& filter,
                                         const Update& update, const RequestId* request = nullptr);
  absl::StatusOr<UpdateResult> UpdateMany(std::string_view collection, const Filter& filter,
                                          const Update& update, const RequestId* request = nullptr);
  absl::StatusOr<DeleteResult> DeleteOne(std::string_view collection, const Filter& filter,
                                         const RequestId* request = nullptr);
  absl::StatusOr<DeleteResult> DeleteMany(std::string_view collection, const Filter& filter,
                                          const RequestId* request = nullptr);

  // Updates what matches, or inserts what the filter's equalities and the update make.
  absl::StatusOr<UpsertResult> UpsertOne(std::string_view collection, const Filter& filter,
                                         const Update& update, const RequestId* request = nullptr);
  absl::StatusOr<UpsertResult> UpsertMany(std::string_view collection, const Filter& filter,
                                          const Update& update, const RequestId* request = nullptr);

  // Runs the pipeline over a snapshot: at `read_timestamp` or the newest one. All that it reads, of
  // other collections, too, is of that snapshot. What $out and $merge write may be acknowledged
  // when this returns; $merge writes document by document, $out all at once or nothing.
  absl::Status Aggregate(std::string_view collection, const Pipeline& pipeline,
                         absl::FunctionRef<bool(ValueView)> visit,
                         std::optional<std::uint64_t> read_timestamp = std::nullopt,
                         Explain* explain = nullptr, bool force_scan = false);

  // --- Collections

  // Durable when it returns OK. kAlreadyExists never: an existing collection is fine.
  absl::Status CreateCollection(std::string_view name);
  absl::StatusOr<bool> CollectionExists(std::string_view name);
  std::vector<std::string> ListCollections();
  // Removes the collection and its documents at once. OK when there is none.
  absl::Status Drop(std::string_view name);

  // --- Indexes. Those of fields that queries ask about are made without being asked for.

  // Makes an index and waits until it is built; durable when it returns OK. OK also when a client
  // created one of the same fields and the options of `definition` are the same, or none.
  //   is_unique: no two documents have a key in common (alos/index/unique_keys.h). Enforced by
  //   every
  //     commit from here on, in all shards at once. kAlreadyExists when documents violate it now.
  //   is_sparse, partial_filter: what a unique index does not ask to be unique. Not what is in an
  //     index: each has all documents, so that every query can use it.
  //   expire_after_seconds: DeleteExpired().
  // Errors: kInvalidArgument for what makes no sense, kFailedPrecondition when there is an index of
  // the fields with other options. After an error there is no more than before.
  absl::Status CreateIndex(std::string_view collection, IndexDefinition definition);
  // Durable. kNotFound when there is none. `name`: the paths, joined by commas.
  absl::Status DropIndex(std::string_view collection, std::string_view name);
  absl::Status RebuildIndex(std::string_view collection, std::string_view name);
  // Calls `visit` with the description of each index, a document.
  absl::Status ListIndexes(std::string_view collection, absl::FunctionRef<void(ValueView)> visit);
  // kNotFound when there is no index of this name (as DropIndex takes it; "_id_": the primary one).
  absl::Status CheckHint(std::string_view collection, std::string_view name);
  // The fields that have text indexes: those that $text of a filter searches (FilterContext).
  absl::StatusOr<std::vector<std::string>> TextFields(std::string_view collection);
  // Deletes what has expired: where an index has expire_after_seconds, the documents whose field is
  // a time (an array: its earliest) at least so long ago. In batches, until there are none or
  // `go_on` returns false; returns how many. The engine calls it once per
  // EngineOptions::expiry_interval.
  absl::StatusOr<std::uint64_t> DeleteExpired(absl::FunctionRef<bool()> go_on = [] {
    return true;
  });
  // Waits until the indexes of the collection hold everything visible now. False when they never
  // will, because a part of a log is damaged.
  absl::StatusOr<bool> WaitForIndexes(std::string_view collection);

  // --- Durability

  std::uint64_t ReadTimestamp() const { return durability_->visible_timestamp(); }
  // Holds the newest snapshot.
  SnapshotRegistry::Pin PinNewest() {
    return snapshots_.PinNewest([this] { return ReadTimestamp(); });
  }
  // Holds a snapshot, for reads at an explicit timestamp. kInvalidArgument for one that is not
  // visible yet, kOutOfRange for one that is older than EngineOptions::history_retention.
  absl::StatusOr<SnapshotRegistry::Pin> PinSnapshot(std::uint64_t timestamp);
  // What was visible at a time of the past, to a second; kOutOfRange when that is not known.
  absl::StatusOr<std::uint64_t> TimestampAt(absl::Time time) {
    const std::optional<std::uint64_t> timestamp = snapshots_.TimestampAt(time);
    if (timestamp && *timestamp >= snapshots_.floor()) return *timestamp;
    return absl::OutOfRangeError(absl::StrCat(
        "the state of ", absl::FormatTime(time),
        " is not known: it is from before the start, or older than --history-retention (",
        absl::FormatDuration(snapshots_.retention()), ")"));
  }
  // Keeps a snapshot for somebody who will come back for it, if within `idle_max`. kOutOfRange when
  // it is gone.
  absl::Status LeaseSnapshot(std::uint64_t timestamp, absl::Duration idle_max);
  // Who reads what: for what reclaims space.
  SnapshotRegistry& snapshots() { return snapshots_; }
  // The newest one when the database was opened.
  std::uint64_t opened_timestamp() const { return opened_timestamp_; }
  bool IsVisible(std::uint64_t commit_timestamp) const {
    return commit_timestamp <= durability_->visible_timestamp();
  }
  // Blocks until the write may be acknowledged; an error says that its outcome is unknown.
  absl::Status WaitVisible(std::uint64_t commit_timestamp);
  // The same without blocking; the callback may come from any thread and must not block.
  void NotifyVisible(std::uint64_t commit_timestamp, VisibleCallback callback) {
    durability_->NotifyVisible(commit_timestamp, std::move(callback));
  }
  // --- Waiting in line

  // Whether something is full that writes fill, and that is emptied in the background. Writes go on
  // then, after a while; a caller that has other things to do asks before it begins one.
  bool is_crowded() const {
    bool crowded = indexer_->tail().is_full();
    if constexpr (requires { durability_->is_crowded(); }) crowded |= durability_->is_crowded();
    return crowded;
  }
  // The turns of EngineOptions::max_write_rate.
  RateLimiter& write_rate() { return write_rate_; }
  // What waits for what.
  std::vector<QueueStatistics> queues() const;

  // Everything acknowledged so far is on stable storage when this returns OK.
  absl::Status Flush() { return durability_->Flush(); }
  // Writes index checkpoints, so that the next start reads little of the logs.
  absl::Status Checkpoint();
  // Checkpoint() if enough was written since the last one.
  absl::Status CheckpointIfDue();

  // Gives the space of what was deleted and replaced back, of all shards with something stale, and
  // returns when that is done. Nobody waits for it but writers, while 256 KiB are copied at a
  // time. What an open snapshot, or one that EngineOptions::history_retention keeps, still needs is
  // given back later; `patience`: how long to wait for that.
  // Errors: those of a shard, the others being done: kDataLoss for a damaged record (it and what is
  // behind it stay), kResourceExhausted for a disk without room for what is to be moved (what was
  // moved by then is given back, so try again), kUnimplemented for a file system without holes.
  absl::StatusOr<CompactionResult> Compact(absl::Duration patience = absl::Seconds(10));
  // The same for shards that are due by the options, as long as `go_on` says so. The engine calls
  // it.
  absl::Status CompactIfDue(absl::FunctionRef<bool()> go_on);

  // --- Transactions

  std::unique_ptr<Transaction> BeginTransaction(const TransactionOptions& options = {}) {
    return std::make_unique<Transaction>(this, options);
  }

  // --- Transactions over several databases (joint_transaction.h)

  // Whether one holds something of this database: writers may have to wait.
  bool is_held() const { return reservations_.any(); }
  // While one lives, its thread does not wait for that: a write of one document that would have to
  // returns an error for which MustWait() is true, and has done nothing.
  using NoWaiting = engine_internal::Reservations::NoWaiting;
  static bool MustWait(const absl::Status& status) {
    return engine_internal::Reservations::IsMustWait(status);
  }
  // How many of those with a part here have begun to become visible, and how many of these are
  // visible as a whole. Written by who commits them.
  struct JointCounts {
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> ended{0};
  };
  JointCounts& joint_counts() { return joint_counts_; }
  const DatabaseId& id() const { return context_.database_id; }
  // Makes the collection of the markers; before anything is reserved.
  absl::StatusOr<engine_internal::Collection*> JointMarkers() {
    return OwnCollection(&joint_, engine_internal::kJointCollection);
  }
  absl::StatusOr<engine_internal::JointMarker> ReadJointMarker();
  // After the opening, before it is shared: for the report.
  void NoteJointRecovery(std::uint64_t installed, std::uint64_t refused);

  // --- Requests that may be sent again

  // Makes a session: its slot and key.
  absl::StatusOr<RequestId> OpenSession();
  // What is known of a request. The error of a request that failed is in `status` of the outcome.
  absl::StatusOr<RequestOutcome> FindRequest(const RequestId& request);
  // The same, and if it was not done it never will be: kAborted is what came of it then.
  absl::StatusOr<RequestOutcome> SettleRequest(const RequestId& request);

  // Runs what has no place for the request's name in its own commit, and keeps what it returned, or
  // its error: again it is not run, and returns that. kUnknown when the engine stopped in the
  // middle of it, or when it was done and its result is larger than kKeptResultBytesMax. What it
  // wrote must be visible when `run` returns. *commit_timestamp: when the answer may be given.
  absl::StatusOr<std::string> RunOnce(const RequestId& request,
                                      absl::FunctionRef<absl::StatusOr<std::string>()> run,
                                      std::uint64_t* commit_timestamp);
  static constexpr std::size_t kKeptResultBytesMax = 64 << 10;

  // --- What was committed

  // Calls `visit` for the changes behind a position, in the order of commits, until it returns
  // false, query.changes_max were visited, or nothing more is visible. Returns the position behind
  // them: exactly once each, if the next call begins there. kOutOfRange for a position older than
  // EngineOptions::history_retention, kInvalidArgument for one that lies in the future.
  absl::StatusOr<ChangePosition> ReadChanges(const ChangesQuery& query,
                                             absl::FunctionRef<bool(const Change&)> visit);

  // --- Backup

  // The newest state: all that was committed before the call, over all shards and collections, and
  // nothing that is committed after it. Writers are held up for a moment.
  absl::StatusOr<BackupState> BeginBackup();
  // Appends `bytes` bytes at `offset` of a shard's log, of those that a BackupState has, to *out.
  absl::Status ReadLog(std::uint32_t shard, std::uint64_t offset, std::uint64_t bytes,
                       std::string* out);
  // Verifies the checksums of records of a shard from `offset` on, below `until` (its size in a
  // BackupState), of about `bytes_max` bytes. Calls `damaged(offset, bytes, document)` for what
  // does not hold, with a description of the `_id` where that is known. Returns where to go on.
  std::uint64_t VerifyLog(
      std::uint32_t shard, std::uint64_t offset, std::uint64_t until, std::uint64_t bytes_max,
      absl::FunctionRef<void(std::uint64_t, std::uint64_t, const std::string&)> damaged);

  // --- Operations

  // Verifies the checksums of every record there is now, no faster than so many bytes a second
  // (0: as fast as it can). `pause` waits so long, and says whether to go on. What is damaged goes
  // to the log and into the statistics; returns how many records that were.
  absl::StatusOr<std::uint64_t> Scrub(std::uint64_t bytes_per_second,
                                      absl::FunctionRef<bool(absl::Duration)> pause);

  // Counters and sizes, a MessagePack document.
  std::string Stats();
  const std::string& directory() const { return context_.directory; }

  // Flushes and checkpoints. No call may follow or be under way.
  absl::Status Close();

 private:
  friend class BasicTransaction<Policies>;
  friend class BasicJointTransaction<Policies>;

  using Shard = engine_internal::Shard<Policies>;
  using Log = typename Shard::Log;
  using Collection = engine_internal::Collection;
  using StoredBody = engine_internal::StoredBody;
  using DurabilityLog = typename Policies::Durability::template Log<FileSystem>;
  using Compactor = engine_internal::Compactor<Policies>;
  using Indexer = engine_internal::Indexer<Policies>;
  using IndexReader = engine_internal::IndexReader<Policies>;
  using IndexState = engine_internal::IndexState;
  using UniqueIndexList = engine_internal::UniqueIndexList;
  using UniqueKeys = engine_internal::UniqueKeys;
  using UniqueWrite = engine_internal::UniqueWrite;

  // What a write wants to do to a document, decided while nobody else can change it.
  struct Decision {
    enum class Action { kNothing, kPut, kDelete } action = Action::kNothing;
    StoredBody body;  // for kPut
  };

  BasicDatabase(FileSystem* file_system, EpochManager* epochs, QueueGauge* transaction_bytes,
                std::string directory, const EngineOptions& options)
      : options_(options),
        snapshots_(options.history_retention),
        write_rate_(options.max_write_rate),
        transaction_bytes_(transaction_bytes),
        collections_(epochs) {
    context_.file_system = file_system;
    context_.epochs = epochs;
    context_.directory = std::move(directory);
  }

  absl::Status SnapshotGone(std::uint64_t timestamp) const;
  static bool IsOneExactRange(const Filter& filter, const IndexState& state);

  absl::Status LoadManifest(bool create);
  absl::Status RecoverShards();
  // Whether a damaged record may be one of the transaction with this timestamp.
  bool MayBeDamaged(std::uint64_t timestamp) const {
    for (const auto& shard : shards_) {
      if (shard->log() == nullptr) continue;
      for (const DamagedExtent& extent : shard->log()->damaged()) {
        if (extent.timestamp_min <= timestamp && timestamp <= extent.timestamp_max) return true;
      }
    }
    return false;
  }
  absl::Status LoadIndexes();
  absl::Status LoadStoredIndexes(std::vector<std::pair<Collection*, IndexDefinition>>* unique)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(manifest_mutex_);
  absl::Status SyncShards();
  // Checkpoints and lists of indexes, which are made again.
  absl::Status RemoveDerived();
  absl::Status WriteManifest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(manifest_mutex_);

  absl::StatusOr<Collection*> FindOrCreateCollection(std::string_view name);
  absl::StatusOr<Collection*> MakeCollection(std::string_view name);
  // nullptr when there is none.
  absl::StatusOr<Collection*> FindCollection(std::string_view name) const;

  std::uint64_t Hash(std::uint32_t collection, std::string_view id) const {
    return engine_internal::DocumentHash(collection, id, context_.hash_seed);
  }
  Shard& ShardOf(std::uint64_t hash) {
    return *shards_[engine_internal::ShardNumber(hash, shards_.size())];
  }

  void Encode(std::string_view raw, StoredBody* body) const {
    engine_internal::EncodeBody<typename Policies::Codecs>(raw, options_.compression_level,
                                                           options_.check_bodies, body);
  }

  // Lets a write wait while the indexes are far behind: for a second, if need be.
  ABSL_ATTRIBUTE_COLD void AwaitIndexes() const {
    for (int i = 0; i < 200 && indexer_->tail().is_full(); ++i)
      absl::SleepFor(absl::Milliseconds(5));
  }

  // Runs `decide(std::optional<ValueView> current) -> StatusOr<Decision>` with the newest version
  // of a document while holding its shard's writer role, and does what it says. Returns the commit
  // timestamp; 0: nothing was written.
  // `request`: its outcome is written with it; kCancelled when it was done before. `*seen`, if
  // given: the commit timestamp of the version that `decide` saw. It need not be visible yet, and
  // then what follows from it must not be told: when nothing is written the caller waits for it;
  // of an error this does.
  template <class Decide>
  absl::StatusOr<std::uint64_t> WriteDocument(Collection& collection, std::string_view id,
                                              Decide&& decide, const RequestId* request = nullptr,
                                              std::uint64_t* seen = nullptr);
  template <class Decide>
  absl::StatusOr<std::uint64_t> WriteDecided(Collection& collection, std::string_view id,
                                             Decide&& decide, const RequestId* request,
                                             std::uint64_t* seen);

  // The error of a write, once it may be told: a duplicate key, when the version that holds it is
  // visible. Without writer roles.
  absl::Status WhenTrue(absl::Status status);

  // --- Requests

  // The collection of the notes; made when absent.
  absl::StatusOr<Collection*> OwnCollection(std::atomic<Collection*>* known, std::string_view name);
  absl::StatusOr<Collection*> Notes() {
    return OwnCollection(&notes_, engine_internal::kRequestsCollection);
  }
  // The note in a slot, visible or not, and its commit timestamp. Inside an epoch guard.
  absl::StatusOr<std::optional<engine_internal::RequestNote>> ReadNote(
      const Collection& notes, std::uint32_t slot, std::uint64_t* timestamp = nullptr);
  absl::StatusOr<RequestOutcome> Judge(const std::optional<engine_internal::RequestNote>& note,
                                       const RequestId& request) const {
    return engine_internal::JudgeRequest(note, request, run_, absl::ToUnixSeconds(absl::Now()),
                                         absl::ToInt64Seconds(options_.request_window));
  }
  std::string MakeNote(const RequestId& request, const RequestOutcome& outcome) const;
  // The error of a request that was not found undone: for kDone, kCancelled.
  static absl::Status NotAgain(const RequestOutcome& outcome);
  // The outcome, if it was done before; an error if it must not be done now.
  absl::StatusOr<std::optional<RequestOutcome>> DoneBefore(const RequestId* request);
  // Writes the note of a request without a document: kCancelled when it was done before.
  absl::StatusOr<std::uint64_t> WriteNote(const RequestId& request, const RequestOutcome& outcome);
  // Runs a write of one document: `write()`, or, if it was done before, `done(outcome)`.
  template <class WriteOne, class Done>
  auto Once(const RequestId* request, WriteOne&& write, Done&& done) -> decltype(write());
  // The same for a write of many documents, which is begun and done with in two notes.
  template <class WriteMany, class Done, class OutcomeOf>
  auto OnceOfMany(const RequestId* request, WriteMany&& write, Done&& done, OutcomeOf&& outcome_of)
      -> decltype(write());

  // --- Events: drops, which the logs do not have.

  static constexpr std::uint64_t kEventsMax = 1024;
  struct Event {
    std::string name;
    std::uint64_t dropped = 0;  // ids of collections
    std::uint64_t made = 0;     // 0: none
  };
  static Event DecodeEvent(ValueView document);
  // Notes that a collection goes; `made`: another one takes its place.
  absl::Status WriteEvent(std::string_view name, std::uint32_t dropped, std::uint32_t made)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(manifest_mutex_);
  // At the start: completes what a crash interrupted, and learns the names of what is gone.
  absl::Status ReplayEvents();
  // What a collection is called, and since which commit; for change feeds.
  struct Naming {
    std::string name;
    std::uint64_t since = 0;
  };

  // Looks at a document for UniqueWrite.
  auto FindHolder() const {
    return [this](std::uint32_t collection, const engine_internal::UniqueIndex& index,
                  std::string_view key, std::uint64_t holder, std::string* id) {
      absl::StatusOr<bool> holds = unique_->FindHolder(collection, index, key, holder, id);
      if (holds.ok() && !*holds && reservations_.any() &&
          reservations_.HasKey(collection, index, key, holder)) {
        holds = engine_internal::Reservations::MustWait();
      }
      return holds;
    };
  }

  // One attempt at the next document that matches, from a position on; used by the *One and *Many
  // operations. `change(current) -> StatusOr<Decision>` is called only when the newest version
  // matches. `once`: stop after the first. `ids`: only these, encoded.
  template <class ChangeDocument>
  absl::StatusOr<UpdateResult> ChangeMatches(Collection& collection, const Filter& filter,
                                             bool once, ChangeDocument&& change,
                                             const std::vector<std::string>* ids = nullptr,
                                             const RequestId* request = nullptr);

  absl::StatusOr<UpdateResult> UpdateMatches(std::string_view collection, const Filter& filter,
                                             const Update& update, bool once,
                                             const std::vector<std::string>* ids = nullptr,
                                             const RequestId* request = nullptr);
  absl::StatusOr<DeleteResult> DeleteMatches(std::string_view collection, const Filter& filter,
                                             bool once, const RequestId* request);
  absl::StatusOr<UpsertResult> Upsert(std::string_view collection, const Filter& filter,
                                      const Update& update, bool once, const RequestId* request);

  absl::StatusOr<InsertResult> InsertNamed(std::string_view collection, ValueView document,
                                           const RequestId* request);
  absl::StatusOr<std::uint64_t> InsertEncoded(Collection& collection, std::string_view id,
                                              std::string_view raw,
                                              const RequestId* request = nullptr);

  // Calls `visit` for what matches at `timestamp` until it returns false. Documents may come from
  // several threads, one at a time.
  absl::Status VisitMatches(Collection& collection, const Filter& filter, std::uint64_t timestamp,
                            absl::FunctionRef<bool(ValueView)> visit, Explain* explain = nullptr,
                            bool force_scan = false);
  // Counts what matches at `timestamp`, document by document where the indexes cannot.
  absl::StatusOr<std::uint64_t> CountMatches(Collection& collection, const Filter& filter,
                                             std::uint64_t timestamp, Explain* explain);
  // The scan of a collection, without an index.
  absl::Status ScanMatches(Collection& collection, const Filter& filter, std::uint64_t timestamp,
                           absl::FunctionRef<bool(ValueView)> visit, Explain* explain);

  // Calls `use(IndexReader&, const IndexPredicate&, const IndexState&)` if the collection's indexes
  // can be of help with the filter, or with any filter if `always`; nullopt if not. Wants an index
  // where one is missing.
  template <class Use>
  auto WithIndexes(Collection& collection, const Filter& filter, std::uint64_t timestamp,
                   Explain* explain, bool always, Use&& use)
      -> std::optional<decltype(use(std::declval<IndexReader&>(),
                                    std::declval<const IndexPredicate&>(),
                                    std::declval<const IndexState&>()))>;
  // Wants indexes that nobody created.
  void WantIndexes(Collection& collection, absl::Span<const std::string> paths,
                   std::string_view reason, Explain* explain);

  // Runs a pipeline over a collection (nullptr: an empty one), its first stages in the indexes
  // where they can do that.
  absl::Status RunPipeline(Collection* collection, const Pipeline& pipeline,
                           std::uint64_t timestamp, absl::FunctionRef<bool(ValueView)> visit,
                           const PipelineLimits& limits, const PipelineEnvironment& environment,
                           Explain* explain, bool force_scan = false);

  // Wants an index of several fields, once such a query has come often enough.
  void WantCompound(Collection& collection, std::vector<std::string> paths,
                    const std::string& sort_path, Explain* explain);

  static absl::Status CheckIndex(const IndexDefinition& definition);
  // Makes the index, but does not wait for it. *is_new: it was not there.
  absl::Status DefineIndex(Collection& collection, IndexDefinition definition, bool* is_new)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(collection.unique.definitions());
  // Puts the collection's indexes, but the one with the id `but`, into the manifest.
  absl::Status StoreIndexes(Collection& collection, std::uint32_t but)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(collection.unique.definitions());
  absl::StatusOr<std::uint64_t> DeleteExpired(Collection& collection,
                                              const IndexDefinition& definition,
                                              absl::FunctionRef<bool()> go_on);

  absl::Status FindSorted(Collection& collection, const FindQuery& query, const Filter& filter,
                          std::uint64_t timestamp, absl::FunctionRef<bool(ValueView)> visit);

  // What the stages of a pipeline need of this database. `written`: the commit timestamp of the
  // last of their writes.
  PipelineEnvironment MakePipelineEnvironment(std::string_view collection, std::uint64_t timestamp,
                                              std::uint64_t* written);
  absl::StatusOr<PipelineEnvironment::Replacement> BeginReplacement(std::string_view name,
                                                                    std::uint64_t* written);
  absl::Status Rename(Collection* next);
  absl::Status MergeDocument(std::string_view name, const Filter& filter,
                             PipelineEnvironment::Decide decide, std::uint64_t* written);

  static const Filter& MatchEverything() {
    static const Filter* const everything = new Filter();
    return *everything;
  }
  static absl::Status InsertManyError(const absl::Status& status, std::size_t inserted,
                                      std::size_t all) {
    return absl::Status(status.code(),
                        absl::StrCat("document ", inserted, " of ", all, ": ", status.message(),
                                     "; the ", inserted, " documents before it are inserted"));
  }
  static absl::Status CheckUpdateMany(const Update& update) {
    if (!update.is_replacement()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "a replacement document cannot be applied to many documents; use update operators such as "
        "$set");
  }
  static absl::Status DuplicateId(const Collection& collection, std::string_view id) {
    return absl::AlreadyExistsError(absl::StrCat("duplicate _id ", engine_internal::DescribeId(id),
                                                 " in collection '", collection.name, "'"));
  }

  // In place of a shard's number: the cursor is a place in a list of results. Its offset is the
  // list's id and, in the lower bits, the place.
  static constexpr std::uint32_t kListCursor = std::numeric_limits<std::uint32_t>::max();
  static constexpr int kListPositionBits = 24;
  static constexpr std::size_t kListedMatchesMax = 1'000'000;
  static constexpr std::size_t kAutomaticIndexesMax = 64;
  // It comes again in a second.
  static constexpr absl::Duration kCompactionPatience = absl::Milliseconds(100);
  // How long a write waits for a transaction over several databases: as long as that takes, unless
  // it cannot be installed.
  static constexpr absl::Duration kReservationPatience = absl::Seconds(10);
  static constexpr std::size_t kIndexPathsMax = 16;
  // A filter and a sort that together look at so much, so many times, get an index of their own.
  static constexpr std::uint64_t kCostlySortMin = 4096;
  static constexpr std::uint64_t kCompoundWishes = 32;
  static constexpr std::size_t kIndexesMax = 256;
  static constexpr std::size_t kExpiredAtOnce = 1000;
  static constexpr std::int64_t kExpireAfterSecondsMax = std::numeric_limits<std::int32_t>::max();
  // What a quick find may look at.
  static constexpr std::uint64_t kQuickRowsMax = 128;
  static constexpr std::uint64_t kQuickDeadRowsMax = 4096;
  static constexpr std::uint64_t kQuickTailBytesMax = std::uint64_t{64} << 10;
  static constexpr std::size_t kQuickSegmentsMax = 32;
  // A sort that keeps more documents does not go through an index.
  static constexpr std::uint64_t kIndexSortKeepMax = 100'000;

  const EngineOptions options_;
  SnapshotRegistry snapshots_;
  std::uint64_t opened_timestamp_ = 0;
  RateLimiter write_rate_;
  QueueGauge writers_{"writers", 0, ""};
  QueueGauge* const transaction_bytes_;
  engine_internal::ShardContext<Policies> context_;
  std::vector<std::unique_ptr<Shard>> shards_;
  engine_internal::CollectionMap collections_;

  absl::Mutex manifest_mutex_;
  Manifest manifest_ ABSL_GUARDED_BY(manifest_mutex_);
  absl::Mutex checkpoint_mutex_;  // one checkpoint at a time
  std::atomic<std::uint64_t> damaged_extents_{0};
  std::atomic<std::uint64_t> torn_bytes_{0};
  engine_internal::RecoveryReport recovery_report_;  // constant once opened
  std::atomic<std::uint64_t> scrub_passes_{0};
  std::atomic<std::uint64_t> scrub_bytes_{0};
  std::atomic<std::uint64_t> scrub_damaged_{0};          // in the last pass
  std::atomic<std::int64_t> scrub_finished_seconds_{0};  // since the epoch

  engine_internal::CursorTable cursors_;

  // Of requests. `run_`: random, of this opening.
  const std::uint64_t run_ = std::uint64_t{std::random_device{}()} << 31 | std::random_device{}();
  std::atomic<Collection*> notes_{nullptr};
  absl::Mutex sessions_mutex_;
  // Slots that were given out and may have no note yet, and when.
  absl::flat_hash_map<std::uint32_t, std::int64_t> slots_given_ ABSL_GUARDED_BY(sessions_mutex_);
  std::uint32_t next_slot_ ABSL_GUARDED_BY(sessions_mutex_) =
      std::random_device{}() % engine_internal::kRequestSlots;

  engine_internal::Reservations reservations_;
  JointCounts joint_counts_;
  std::atomic<Collection*> joint_{nullptr};

  // Of events.
  std::atomic<Collection*> events_{nullptr};
  std::uint64_t events_written_ ABSL_GUARDED_BY(manifest_mutex_) = 0;
  absl::Mutex names_mutex_;
  // Of all collections, also of those that are gone.
  absl::flat_hash_map<std::uint32_t, Naming> names_ ABSL_GUARDED_BY(names_mutex_);

  std::unique_ptr<engine_internal::UniqueEnforcer<Policies>> unique_;

  // Behind what its threads use: they flush the shards and write the manifest.
  std::unique_ptr<DurabilityLog> durability_;
  // Its threads read the shards.
  std::unique_ptr<Indexer> indexer_;
  std::unique_ptr<Compactor> compactor_;
};

// The `_id` and bytes of a document about to be inserted.
struct InsertableDocument {
  std::string id;        // encoded
  std::string_view raw;  // the document, `_id` included; into the given document or `buffer`
  std::string buffer;
};

// Finds the `_id` of `document` or gives it a new one.
inline absl::Status MakeInsertable(ValueView document, InsertableDocument* insertable) {
  if (!document.IsDocument()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a document must be a map, this is a value of type ", TypeName(document.type())));
  }
  if (const std::optional<ValueView> id = document.Find("_id")) {
    ALOS_ASSIGN_OR_RETURN(insertable->id, EncodeId(*id));
    insertable->raw = document.bytes();
    return absl::OkStatus();
  }
  const std::string id = NewId();
  insertable->id = EncodeStringId(id);
  Builder builder(&insertable->buffer);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(id);
  for (const auto& entry : document.entries()) {
    builder.Key(entry.key);
    builder.Raw(entry.value);
  }
  builder.EndDocument();
  insertable->raw = insertable->buffer;
  return absl::OkStatus();
}

// ---- Readers of the API may stop here. ----

template <class Policies>
absl::StatusOr<std::unique_ptr<BasicDatabase<Policies>>> BasicDatabase<Policies>::Open(
    FileSystem* file_system, EpochManager* epochs, QueueGauge* transaction_bytes,
    std::string directory, const EngineOptions& options, bool create) {
  CheckDurabilityPolicy<typename Policies::Durability, FileSystem>();
  auto database = std::unique_ptr<BasicDatabase>(
      new BasicDatabase(file_system, epochs, transaction_bytes, std::move(directory), options));
  ALOS_RETURN_IF_ERROR(database->LoadManifest(create));
  ALOS_RETURN_IF_ERROR(database->RecoverShards());
  return database;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::LoadManifest(bool create) {
  absl::MutexLock lock(&manifest_mutex_);
  const std::string path = absl::StrCat(context_.directory, "/", kManifestFileName);
  const absl::StatusOr<std::string> bytes = ReadWholeFile(*context_.file_system, path);
  if (bytes.ok()) {
    ALOS_ASSIGN_OR_RETURN(manifest_, DecodeManifest(path, *bytes));
  } else if (!absl::IsNotFound(bytes.status()) || !create) {
    return bytes.status();
  } else {
    ALOS_RETURN_IF_ERROR(context_.file_system->CreateDirectories(context_.directory));
    // Shards without a manifest: its loss must not look like a new database.
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          context_.file_system->ListDirectory(context_.directory));
    for (const std::string& name : names) {
      if (name.size() > 3 && name.substr(name.size() - 3) == ".db") {
        return absl::DataLossError(absl::StrCat(path, ": the manifest is missing, but there is ",
                                                name, "; restore the manifest from a backup"));
      }
    }
    std::random_device random;
    for (char& byte : manifest_.database_id) byte = static_cast<char>(random());
    manifest_.hash_seed = std::uint64_t{random()} << 32 | random();
    manifest_.shard_count = options_.shards;
    manifest_.shards_made.resize(options_.shards);
    ALOS_RETURN_IF_ERROR(WriteManifest());
  }
  context_.database_id = manifest_.database_id;
  context_.hash_seed = manifest_.hash_seed;
  for (const auto& collection : manifest_.collections)
    collections_.Add(collection.id, collection.name);
  for (std::uint32_t i = 0; i < manifest_.shard_count; ++i) {
    shards_.push_back(
        std::make_unique<Shard>(&context_, i, options_.cache_bytes / manifest_.shard_count));
  }
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::WriteManifest() {
  const std::string bytes = EncodeManifest(manifest_);
  ALOS_RETURN_IF_ERROR(
      ReplaceFile(*context_.file_system, context_.directory, kManifestFileName, bytes));
  return ReplaceFile(*context_.file_system, context_.directory, kManifestCopyFileName, bytes);
}

// Journal into logs, checkpoints into indexes, tails of the logs into indexes; then whole
// transactions only. Can be interrupted anywhere and repeated: nothing is removed before its effect
// is durable.
template <class Policies>
absl::Status BasicDatabase<Policies>::RecoverShards() {
  {
    absl::MutexLock lock(&manifest_mutex_);
    for (const auto& shard : shards_) {
      ALOS_RETURN_IF_ERROR(shard->OpenLog(manifest_.shards_made[shard->number()]));
    }
  }

  std::vector<std::uint64_t> durable_ends(shards_.size(), 0);
  ALOS_ASSIGN_OR_RETURN(
      const JournalRecovery journal,
      ReplayJournal(*context_.file_system, context_.directory, context_.database_id,
                    [&](const CommitRecord& record) -> absl::Status {
                      if (record.shard >= shards_.size()) {
                        return absl::DataLossError(
                            absl::StrCat(context_.directory, ": the journal has writes for shard ",
                                         record.shard, ", which does not exist"));
                      }
                      // The name of a log that was never flushed may be lost.
                      ALOS_RETURN_IF_ERROR(shards_[record.shard]->EnsureLog());
                      Log* log = shards_[record.shard]->log();
                      // A record of a file that was rewritten since is in the new file already.
                      if (log->generation() != record.generation) return absl::OkStatus();
                      // Compacted away since: nothing of it is left to be said.
                      if (record.offset < log->begin()) return absl::OkStatus();
                      durable_ends[record.shard] = record.offset + record.bytes.size();
                      return log->Restore(record.offset, record.bytes);
                    }));
  const std::uint64_t timestamp_max =
      journal.found ? journal.last_lsn : std::numeric_limits<std::uint64_t>::max();

  // In a copy that was made while the database was in use some files are older than what others
  // count on.
  bool is_of_several_moments = false;
  std::vector<std::optional<PrimaryCheckpoint>> checkpoints(shards_.size());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (shards_[i]->log() == nullptr) continue;
    checkpoints[i] = shards_[i]->LoadCheckpoint(&is_of_several_moments);
    if (checkpoints[i] && checkpoints[i]->newest_timestamp > timestamp_max) {  // an older journal
      checkpoints[i].reset();
      is_of_several_moments = true;
    }
  }

  struct Part {
    std::size_t shard;
    std::uint64_t offset;
  };
  struct Found {
    std::uint32_t expected = 0;
    std::vector<Part> parts;
  };
  absl::flat_hash_map<std::uint64_t, Found> transactions;  // by commit timestamp
  std::uint64_t newest = journal.last_lsn;
  std::uint64_t records = 0;
  const auto recover_shard = [&](std::size_t i) -> absl::Status {
    std::uint64_t transactions_complete_until = 0;
    for (const auto& checkpoint : checkpoints) {
      if (checkpoint)
        transactions_complete_until =
            std::max(transactions_complete_until, checkpoint->transactions_complete_until);
    }
    // Of transactions up to there some records may have been compacted away.
    for (const auto& each : shards_) {
      if (each->log() != nullptr)
        transactions_complete_until =
            std::max(transactions_complete_until, each->log()->stored_begin().complete_until);
    }
    Shard& shard = *shards_[i];
    absl::MutexLock lock(&shard.writer());
    if (shard.log() == nullptr) return absl::OkStatus();
    ALOS_ASSIGN_OR_RETURN(const LogRecovery recovery,
                          shard.Recover(checkpoints[i] ? &*checkpoints[i] : nullptr,
                                        durable_ends[i], timestamp_max, transactions_complete_until,
                                        [&](const RecordHeader& header, std::uint64_t offset) {
                                          Found& found = transactions[header.commit_timestamp];
                                          found.expected = header.transaction_record_count;
                                          found.parts.push_back({i, offset});
                                        }));
    records += recovery.records;
    newest = std::max(newest, shard.newest_timestamp());
    if (recovery.torn_bytes + recovery.unacknowledged_bytes != 0) {
      torn_bytes_ += recovery.torn_bytes + recovery.unacknowledged_bytes;
      recovery_report_.AddCut({.file = shard.log()->path(),
                               .offset = shard.log()->end(),
                               .bytes = recovery.torn_bytes + recovery.unacknowledged_bytes});
      ALOS_LOG(kWarning) << shard.log()->path() << ": cut "
                         << recovery.torn_bytes + recovery.unacknowledged_bytes
                         << " bytes of an interrupted, unacknowledged write at offset "
                         << shard.log()->end();
    }
    for (const DamagedExtent& extent : recovery.damaged) {
      ++damaged_extents_;
      recovery_report_.AddDamaged(
          {.file = shard.log()->path(),
           .offset = extent.offset,
           .bytes = extent.end - extent.offset,
           .document =
               extent.document ? engine_internal::DescribeId(extent.document->second) : ""});
      ALOS_LOG(kError) << "CORRUPTION "
                       << shard.Damaged(extent.offset, extent.document ? extent.document->second
                                                                       : std::string_view())
                       << " (" << extent.end - extent.offset << " bytes)";
    }
    return absl::OkStatus();
  };
  for (std::size_t i = 0; i < shards_.size(); ++i) ALOS_RETURN_IF_ERROR(recover_shard(i));
  const auto is_older = [&](const std::optional<PrimaryCheckpoint>& checkpoint) {
    if (!checkpoint) return false;
    for (std::size_t i = 0; i < checkpoint->shard_ends.size() && i < shards_.size(); ++i) {
      const Log* log = shards_[i]->log();
      if (checkpoint->shard_ends[i] > (log == nullptr ? 0 : log->end())) return true;
    }
    return false;
  };
  is_of_several_moments =
      is_of_several_moments || std::any_of(checkpoints.begin(), checkpoints.end(), is_older);
  if (is_of_several_moments) {
    ALOS_LOG(kWarning) << context_.directory
                       << ": these files are not of one moment (a copy of a database that was in "
                          "use?); the logs are read from their beginning";
    // When the logs have grown again these would seem to fit.
    ALOS_RETURN_IF_ERROR(RemoveDerived());
    for (auto& checkpoint : checkpoints) checkpoint.reset();
    transactions.clear();
    records = 0;
    for (std::size_t i = 0; i < shards_.size(); ++i) ALOS_RETURN_IF_ERROR(recover_shard(i));
  }

  // A part of a transaction is as if it never was; and so is what was committed after it, as that
  // may build on it. None of it had been flushed: a flush is one of all logs, which would have had
  // the rest of the transaction as well. What is left is a prefix of what was committed.
  std::uint64_t undone_from = std::numeric_limits<std::uint64_t>::max();
  for (const auto& [timestamp, found] : transactions) {
    if (found.parts.size() == found.expected) continue;
    if (MayBeDamaged(timestamp)) {
      // To undo it would bring older versions of sound documents back.
      ALOS_LOG(kError) << "CORRUPTION " << context_.directory << ": transaction " << timestamp
                       << " has " << found.parts.size() << " of " << found.expected
                       << " sound records; they stay, as damaged ones may be the others";
      continue;
    }
    ALOS_LOG(kWarning) << context_.directory << ": transaction " << timestamp << " has "
                       << found.parts.size() << " of " << found.expected
                       << " records: it was not committed, and is undone, with all after it";
    ++recovery_report_.undone_transactions;
    undone_from = std::min(undone_from, timestamp);
  }
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = *shards_[i];
    absl::MutexLock lock(&shard.writer());
    if (shard.log() == nullptr || shard.newest_timestamp() < undone_from) continue;
    const bool is_before = checkpoints[i] && checkpoints[i]->newest_timestamp < undone_from;
    ALOS_ASSIGN_OR_RETURN(
        const LogRecovery recovery,
        shard.Recover(is_before ? &*checkpoints[i] : nullptr,
                      // What rotted below a checkpoint is not the torn end.
                      std::max(durable_ends[i], checkpoints[i] ? checkpoints[i]->log_end : 0),
                      undone_from - 1, std::numeric_limits<std::uint64_t>::max(),
                      [](const RecordHeader&, std::uint64_t) {}));
    torn_bytes_ += recovery.unacknowledged_bytes;
    recovery_report_.AddCut({.file = shard.log()->path(),
                             .offset = shard.log()->end(),
                             .bytes = recovery.unacknowledged_bytes});
  }

  ALOS_RETURN_IF_ERROR(ReplayEvents());
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->writer());
    for (Collection* collection : collections_.All()) {
      const auto counts = shard->collections().find(collection->id);
      if (counts != shard->collections().end())
        collection->live_documents += counts->second.documents;
    }
  }
  // Everything the journal says is made durable in the logs; then it can go.
  if (journal.found) ALOS_RETURN_IF_ERROR(SyncShards());
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> segments,
                        ListJournal(*context_.file_system, context_.directory));
  ALOS_RETURN_IF_ERROR(RemoveJournal(*context_.file_system, context_.directory, segments));
  if (journal.found || records != 0) {
    ALOS_LOG(kInfo) << context_.directory << ": recovered " << journal.groups
                    << " commit groups from the journal and read " << records
                    << " records behind the checkpoints";
  }

  recovery_report_.journal_groups = journal.groups;
  recovery_report_.journal_torn_bytes = journal.torn_bytes;
  recovery_report_.records = records;
  recovery_report_.seconds = absl::ToDoubleSeconds(absl::Now() - recovery_report_.started);
  if (!recovery_report_.is_uneventful()) {
    const absl::Status stored = engine_internal::StoreRecoveryReport(
        *context_.file_system, context_.directory, recovery_report_);
    if (!stored.ok())
      ALOS_LOG(kWarning) << context_.directory << ": the recovery report: " << stored;
  }
  std::uint64_t floor = 0;
  for (const auto& shard : shards_) {
    if (shard->log() != nullptr)
      floor = std::max(floor, shard->log()->stored_begin().complete_until);
  }
  snapshots_.Restore(floor);

  DurabilityOptions options;
  options.directory = context_.directory;
  options.database_id = context_.database_id;
  options.newest_timestamp = newest;
  opened_timestamp_ = newest;
  options.flush_interval = options_.flush_interval;
  options.journal_segment_bytes = options_.journal_segment_bytes;
  options.sync_shards = [this] { return SyncShards(); };
  ALOS_ASSIGN_OR_RETURN(durability_,
                        DurabilityLog::Open(*context_.file_system, std::move(options)));
  engine_internal::IndexerOptions indexer_options;
  indexer_options.bytes_max = options_.index_bytes_max;
  indexer_options.unstored_rows_max = options_.unstored_index_rows_max;
  indexer_options.builders = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  indexer_ = std::make_unique<Indexer>(&context_, &shards_, indexer_options,
                                       [this] { return durability_->visible_timestamp(); });
  unique_ = std::make_unique<engine_internal::UniqueEnforcer<Policies>>(&context_, &shards_);
  engine_internal::CompactorHooks hooks;
  hooks.live_collections = [this] {
    absl::MutexLock lock(&manifest_mutex_);
    return collections_.LiveIds();
  };
  hooks.wait_visible = [this](std::uint64_t timestamp) { return WaitVisible(timestamp); };
  hooks.sync_shards = [this]() -> absl::Status {
    // The policy's own flush comes first: if the shards' fails there, it knows.
    ALOS_RETURN_IF_ERROR(durability_->Flush());
    return SyncShards();
  };
  hooks.announce = [this]() -> absl::Status {
    absl::MutexLock lock(&manifest_mutex_);
    if (manifest_.has_compacted_logs) return absl::OkStatus();
    manifest_.has_compacted_logs = true;
    const absl::Status written = WriteManifest();
    if (!written.ok()) manifest_.has_compacted_logs = false;
    return written;
  };
  compactor_ = std::make_unique<Compactor>(
      &context_, &shards_, durability_.get(), indexer_.get(), &snapshots_,
      engine_internal::CompactorOptions{options_.compact_stale_ratio, options_.compact_bytes_min,
                                        options_.compaction_rate_bytes},
      std::move(hooks));
  return LoadIndexes();
}

// What clients created is in the manifest. The rest is in files that may be missing.
template <class Policies>
absl::Status BasicDatabase<Policies>::LoadIndexes() {
  std::vector<std::pair<Collection*, IndexDefinition>> unique;
  {
    absl::MutexLock lock(&manifest_mutex_);
    ALOS_RETURN_IF_ERROR(LoadStoredIndexes(&unique));
  }
  for (const auto& [collection, definition] : unique)
    ALOS_RETURN_IF_ERROR(unique_->Load(collection, definition));
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::LoadStoredIndexes(
    std::vector<std::pair<Collection*, IndexDefinition>>* unique) {
  bool is_manifest_old = false;
  for (Manifest::Collection& stored : manifest_.collections) {
    Collection* collection = collections_.Find(stored.name);
    std::vector<IndexDefinition> definitions;
    if (stored.indexes) {
      for (const std::string& bytes : *stored.indexes) {
        std::optional<IndexDefinition> definition =
            ParseIndexDefinition(ValueView::FromTrusted(bytes));
        if (!definition) {
          return absl::DataLossError(
              absl::StrCat(context_.directory, "/", kManifestFileName,
                           ": the manifest is damaged (an index of collection '", stored.name,
                           "' without id or fields); restore it from a backup"));
        }
        definitions.push_back(*std::move(definition));
      }
      indexer_->Load(collection, &definitions);
    } else {
      // Of an alos that kept them in the files only.
      indexer_->Load(collection, nullptr);
      is_manifest_old = true;
      stored.indexes.emplace();
      for (const auto& index : collection->indexes.Copy().indexes) {
        if (index->definition.is_automatic) continue;
        definitions.push_back(index->definition);
        Builder builder(&stored.indexes->emplace_back());
        AppendIndexDefinition(index->definition, &builder);
      }
    }
    for (const IndexDefinition& definition : definitions) {
      if (definition.is_unique) unique->emplace_back(collection, definition);
    }
  }
  return is_manifest_old ? WriteManifest() : absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::RemoveDerived() {
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                        context_.file_system->ListDirectory(context_.directory));
  for (const std::string& name : names) {
    if (!name.ends_with(".sidx") && !name.ends_with(".indexes")) continue;
    ALOS_RETURN_IF_ERROR(context_.file_system->Remove(absl::StrCat(context_.directory, "/", name)));
  }
  return context_.file_system->SyncDirectory(context_.directory);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::SyncShards() {
  std::vector<Shard*> made;
  for (const auto& shard : shards_) {
    Log* log = shard->log();
    if (log == nullptr) continue;
    if (log->durable_end() < log->end()) ALOS_RETURN_IF_ERROR(log->Sync());
    if (!shard->is_made()) made.push_back(shard.get());
  }
  if (made.empty()) return absl::OkStatus();
  // New files: their names, then the manifest's word that they are there.
  ALOS_RETURN_IF_ERROR(context_.file_system->SyncDirectory(context_.directory));
  absl::MutexLock lock(&manifest_mutex_);
  const MemoryReserve::Critical critical;
  for (const Shard* shard : made) manifest_.shards_made[shard->number()] = true;
  ALOS_RETURN_IF_ERROR(WriteManifest());
  for (Shard* shard : made) shard->SetMade();
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::Checkpoint() {
  absl::MutexLock checkpoint_lock(&checkpoint_mutex_);
  std::vector<std::pair<Shard*, PrimaryCheckpoint>> captured;
  std::vector<std::uint64_t> log_begins(shards_.size(), 0);
  std::uint64_t newest = 0;
  typename Indexer::Captured indexes = indexer_->Capture();
  std::vector<std::uint64_t> ends;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->writer());
    ends.push_back(shard->log() == nullptr ? 0 : shard->log()->end());
    if (std::optional<PrimaryCheckpoint> checkpoint = shard->CaptureCheckpoint()) {
      newest = std::max(newest, checkpoint->newest_timestamp);
      log_begins[shard->number()] = shard->log()->begin();
      captured.emplace_back(shard.get(), *std::move(checkpoint));
    }
  }
  if (captured.empty() && indexes.empty()) return absl::OkStatus();
  // A checkpoint must not hold what a crash could still undo. Whatever transaction has a record
  // below one of the captured ends has all of them below the ends that the flush covers.
  ALOS_RETURN_IF_ERROR(WaitVisible(newest));
  const std::uint64_t complete_until = durability_->visible_timestamp();
  ALOS_RETURN_IF_ERROR(SyncShards());
  for (auto& [shard, checkpoint] : captured) {
    checkpoint.transactions_complete_until = complete_until;
    checkpoint.shard_ends = ends;
    ALOS_RETURN_IF_ERROR(ReplaceFile(*context_.file_system, context_.directory,
                                     shard->FileName("sidx"), EncodePrimaryCheckpoint(checkpoint)));
    absl::MutexLock lock(&shard->writer());
    shard->CheckpointWritten(checkpoint.log_end, log_begins[shard->number()]);
  }
  return indexer_->Store(std::move(indexes));
}

template <class Policies>
absl::Status BasicDatabase<Policies>::CheckpointIfDue() {
  std::uint64_t pending = 0;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->writer());
    pending += shard->uncheckpointed_bytes();
  }
  // Built indexes are memory that cannot be taken back until they are in files.
  pending += indexer_->unstored_bytes();
  cursors_.Expire();
  snapshots_.Tick(ReadTimestamp());
  return pending < options_.checkpoint_bytes ? absl::OkStatus() : Checkpoint();
}

template <class Policies>
absl::StatusOr<CompactionResult> BasicDatabase<Policies>::Compact(absl::Duration patience) {
  const engine_internal::CompactorStatistics before = compactor_->statistics();
  ALOS_RETURN_IF_ERROR(compactor_->Run(true, patience, [] { return true; }));
  const engine_internal::CompactorStatistics after = compactor_->statistics();
  return CompactionResult{after.bytes_back - before.bytes_back,
                          after.bytes_moved - before.bytes_moved, after.waiting_shards};
}

template <class Policies>
absl::Status BasicDatabase<Policies>::CompactIfDue(absl::FunctionRef<bool()> go_on) {
  return compactor_->Run(false, kCompactionPatience, go_on);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::Close() {
  const absl::Status checkpoint = Checkpoint();
  indexer_->Stop();
  const absl::Status closed = durability_->Close();
  return checkpoint.ok() ? closed : checkpoint;
}

template <class Policies>
absl::StatusOr<SnapshotRegistry::Pin> BasicDatabase<Policies>::PinSnapshot(
    std::uint64_t timestamp) {
  if (const std::uint64_t newest = ReadTimestamp(); timestamp > newest) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no timestamp ", timestamp, " yet: the newest one is ", newest));
  }
  std::optional<SnapshotRegistry::Pin> pin = snapshots_.PinAt(timestamp);
  if (!pin) return SnapshotGone(timestamp);
  return *std::move(pin);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::LeaseSnapshot(std::uint64_t timestamp,
                                                    absl::Duration idle_max) {
  return snapshots_.Lease(timestamp, idle_max) ? absl::OkStatus() : SnapshotGone(timestamp);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::SnapshotGone(std::uint64_t timestamp) const {
  return absl::OutOfRangeError(
      absl::StrCat("the state of timestamp ", timestamp,
                   " is not kept any more: the oldest that can be read is ", snapshots_.floor(),
                   "; --history-retention (now ", absl::FormatDuration(snapshots_.retention()),
                   ") says for how long it is"));
}

template <class Policies>
absl::Status BasicDatabase<Policies>::WaitVisible(std::uint64_t commit_timestamp) {
  if (IsVisible(commit_timestamp)) return absl::OkStatus();
  absl::Notification done;
  absl::Status result;
  durability_->NotifyVisible(commit_timestamp, [&](absl::Status status) {
    result = std::move(status);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

template <class Policies>
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::FindCollection(
    std::string_view name) const {
  ALOS_RETURN_IF_ERROR(engine_internal::CheckCollectionName(name));
  const auto guard = context_.epochs->Enter();
  return collections_.Find(name);
}

template <class Policies>
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::FindOrCreateCollection(
    std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(name));
  return found != nullptr ? found : MakeCollection(name);
}

template <class Policies>
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::MakeCollection(
    std::string_view name) {
  absl::MutexLock lock(&manifest_mutex_);
  const auto guard = context_.epochs->Enter();
  if (Collection* other = collections_.Find(name)) return other;
  ALOS_RETURN_IF_ERROR(durability_->health());
  const MemoryReserve::Critical critical;
  const std::uint32_t id = manifest_.next_collection_id++;
  manifest_.collections.push_back({id, std::string(name), std::vector<std::string>()});
  const absl::Status written = WriteManifest();
  if (!written.ok()) {
    manifest_.collections.pop_back();  // the id stays used: it may be on disk
    return written;
  }
  {
    absl::MutexLock names_lock(&names_mutex_);
    names_[id] = {std::string(name), 0};
  }
  return collections_.Add(id, name);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::CreateCollection(std::string_view name) {
  return FindOrCreateCollection(name).status();
}

template <class Policies>
absl::StatusOr<bool> BasicDatabase<Policies>::CollectionExists(std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(const Collection* found, FindCollection(name));
  return found != nullptr;
}

template <class Policies>
std::vector<std::string> BasicDatabase<Policies>::ListCollections() {
  const auto guard = context_.epochs->Enter();
  std::vector<std::string> names;
  for (const Collection* collection : collections_.All()) {
    if (!engine_internal::IsOwnCollection(collection->name)) names.push_back(collection->name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::Drop(std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(const Collection* there, FindCollection(name));
  if (there == nullptr) return absl::OkStatus();
  const engine_internal::Reservations::Pause pause(&reservations_, kReservationPatience);
  ALOS_RETURN_IF_ERROR(pause.status());
  ALOS_RETURN_IF_ERROR(OwnCollection(&events_, engine_internal::kEventsCollection).status());
  absl::MutexLock lock(&manifest_mutex_);
  const auto found =
      std::find_if(manifest_.collections.begin(), manifest_.collections.end(),
                   [&](const Manifest::Collection& collection) { return collection.name == name; });
  if (found == manifest_.collections.end()) return absl::OkStatus();
  ALOS_RETURN_IF_ERROR(durability_->health());
  const MemoryReserve::Critical critical;
  const Manifest::Collection removed = *found;
  ALOS_RETURN_IF_ERROR(WriteEvent(name, removed.id, 0));
  manifest_.collections.erase(found);
  const absl::Status written = WriteManifest();
  // Where the next start may find it dropped it is: what was written to it would be lost.
  if (!written.ok() && !absl::IsUnavailable(written)) {
    manifest_.collections.push_back(removed);
    return written;
  }
  const auto guard = context_.epochs->Enter();
  if (Collection* dropped = collections_.Find(name)) indexer_->Close(dropped);
  collections_.Remove(name);
  return written;
}

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
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::OwnCollection(
    std::atomic<Collection*>* known, std::string_view name) {
  if (Collection* collection = known->load(std::memory_order_acquire)) return collection;
  Collection* found = nullptr;
  {
    const auto guard = context_.epochs->Enter();
    found = collections_.Find(name);
  }
  if (found == nullptr) {
    ALOS_ASSIGN_OR_RETURN(found, MakeCollection(name));
  }
  known->store(found, std::memory_order_release);
  return found;
}

template <class Policies>
absl::StatusOr<std::optional<engine_internal::RequestNote>> BasicDatabase<Policies>::ReadNote(
    const Collection& notes, std::uint32_t slot, std::uint64_t* timestamp) {
  const std::string id = engine_internal::EncodeNoteId(slot);
  const std::uint64_t hash = Hash(notes.id, id);
  Shard& shard = ShardOf(hash);
  std::optional<engine_internal::RequestNote> note;
  ALOS_ASSIGN_OR_RETURN(
      const std::uint64_t offset,
      shard.FindVersion(notes.id, id, hash, std::numeric_limits<std::uint64_t>::max()));
  if (offset == 0) return note;
  if (timestamp != nullptr)
    *timestamp = RecordView(shard.log()->At(offset)).header().commit_timestamp;
  ALOS_RETURN_IF_ERROR(shard.VisitDocument(
      offset, [&](ValueView document) { note = engine_internal::DecodeNote(document); }, false));
  return note;
}

template <class Policies>
absl::StatusOr<engine_internal::JointMarker> BasicDatabase<Policies>::ReadJointMarker() {
  engine_internal::JointMarker marker;
  const auto guard = context_.epochs->Enter();
  const Collection* markers = collections_.Find(engine_internal::kJointCollection);
  if (markers == nullptr) return marker;
  const std::string id = engine_internal::JointMarker::EncodeId();
  const std::uint64_t hash = Hash(markers->id, id);
  Shard& shard = ShardOf(hash);
  ALOS_ASSIGN_OR_RETURN(
      const std::uint64_t offset,
      shard.FindVersion(markers->id, id, hash, std::numeric_limits<std::uint64_t>::max()));
  if (offset == 0) return marker;
  ALOS_RETURN_IF_ERROR(shard.VisitDocument(
      offset, [&](ValueView document) { marker = engine_internal::JointMarker::Decode(document); },
      false));
  return marker;
}

template <class Policies>
void BasicDatabase<Policies>::NoteJointRecovery(std::uint64_t installed, std::uint64_t refused) {
  recovery_report_.joint_installed += installed;
  recovery_report_.joint_refused += refused;
  const absl::Status stored = engine_internal::StoreRecoveryReport(
      *context_.file_system, context_.directory, recovery_report_);
  if (!stored.ok()) ALOS_LOG(kWarning) << context_.directory << ": the recovery report: " << stored;
}

template <class Policies>
std::string BasicDatabase<Policies>::MakeNote(const RequestId& request,
                                              const RequestOutcome& outcome) const {
  engine_internal::RequestNote note;
  note.key = std::string(request.key.data(), request.key.size());
  note.number = request.number;
  note.run = run_;
  note.seconds = absl::ToUnixSeconds(absl::Now());
  note.outcome = outcome;
  return engine_internal::EncodeNote(request.slot, note);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::NotAgain(const RequestOutcome& outcome) {
  switch (outcome.state) {
    case RequestOutcome::State::kNone:
      return absl::OkStatus();
    case RequestOutcome::State::kRunning:
      return absl::AbortedError("the request is still being done: ask again");
    case RequestOutcome::State::kInterrupted:
      return absl::UnknownError(
          "the server stopped while it did this request: a part of it may be done, and it is not "
          "done again");
    case RequestOutcome::State::kDone:
      break;
  }
  return absl::CancelledError("the request was done before");
}

template <class Policies>
absl::StatusOr<RequestOutcome> BasicDatabase<Policies>::FindRequest(const RequestId& request) {
  ALOS_ASSIGN_OR_RETURN(Collection * notes, Notes());
  const auto guard = context_.epochs->Enter();
  std::uint64_t timestamp = 0;
  ALOS_ASSIGN_OR_RETURN(const auto note, ReadNote(*notes, request.slot, &timestamp));
  ALOS_ASSIGN_OR_RETURN(RequestOutcome outcome, Judge(note, request));
  if (outcome.state == RequestOutcome::State::kDone) outcome.commit_timestamp = timestamp;
  return outcome;
}

template <class Policies>
absl::StatusOr<RequestOutcome> BasicDatabase<Policies>::SettleRequest(const RequestId& request) {
  ALOS_ASSIGN_OR_RETURN(RequestOutcome outcome, FindRequest(request));
  if (outcome.state != RequestOutcome::State::kNone) return outcome;
  outcome.state = RequestOutcome::State::kDone;
  outcome.status = absl::AbortedError("the request was not done, and will not be");
  absl::StatusOr<std::uint64_t> written = WriteNote(request, outcome);
  if (written.ok()) {
    outcome.commit_timestamp = *written;
    return outcome;
  }
  // It was done in this moment.
  if (absl::IsCancelled(written.status())) return FindRequest(request);
  return written.status();
}

template <class Policies>
absl::StatusOr<std::optional<RequestOutcome>> BasicDatabase<Policies>::DoneBefore(
    const RequestId* request) {
  ALOS_ASSIGN_OR_RETURN(RequestOutcome outcome, FindRequest(*request));
  if (outcome.state == RequestOutcome::State::kNone) return std::optional<RequestOutcome>();
  if (outcome.state != RequestOutcome::State::kDone) return NotAgain(outcome);
  if (!outcome.status.ok()) return outcome.status;
  return std::optional<RequestOutcome>(std::move(outcome));
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::WriteNote(const RequestId& request,
                                                                 const RequestOutcome& outcome) {
  ALOS_ASSIGN_OR_RETURN(Collection * notes, Notes());
  const std::string raw = MakeNote(request, outcome);
  return WriteDocument(*notes, engine_internal::EncodeNoteId(request.slot),
                       [&](std::optional<ValueView> current, Decision* decision) -> absl::Status {
                         std::optional<engine_internal::RequestNote> note;
                         if (current) note = engine_internal::DecodeNote(*current);
                         ALOS_ASSIGN_OR_RETURN(const RequestOutcome known, Judge(note, request));
                         // What we began ourselves is done now.
                         const bool ends = outcome.state == RequestOutcome::State::kDone &&
                                           known.state == RequestOutcome::State::kRunning;
                         if (!ends) ALOS_RETURN_IF_ERROR(NotAgain(known));
                         decision->action = Decision::Action::kPut;
                         Encode(raw, &decision->body);
                         return absl::OkStatus();
                       });
}

template <class Policies>
template <class WriteOne, class Done>
auto BasicDatabase<Policies>::Once(const RequestId* request, WriteOne&& write, Done&& done)
    -> decltype(write()) {
  if (request == nullptr) return write();
  // Somebody else may send the same request at the same time.
  for (int attempt = 0; attempt < 2; ++attempt) {
    ALOS_ASSIGN_OR_RETURN(const std::optional<RequestOutcome> before, DoneBefore(request));
    if (before) return done(*before);
    auto written = write();
    if (!absl::IsCancelled(written.status())) return written;
  }
  return absl::InternalError("a request is done and is not");
}

template <class Policies>
template <class WriteMany, class Done, class OutcomeOf>
auto BasicDatabase<Policies>::OnceOfMany(const RequestId* request, WriteMany&& write, Done&& done,
                                         OutcomeOf&& outcome_of) -> decltype(write()) {
  if (request == nullptr) return write();
  ALOS_ASSIGN_OR_RETURN(const std::optional<RequestOutcome> before, DoneBefore(request));
  if (before) return done(*before);
  RequestOutcome outcome;
  outcome.state = RequestOutcome::State::kRunning;
  ALOS_RETURN_IF_ERROR(WriteNote(*request, outcome).status());
  auto written = write();
  outcome = RequestOutcome();
  if (written.ok()) {
    outcome = outcome_of(*written);
  } else {
    outcome.status = written.status();
  }
  outcome.state = RequestOutcome::State::kDone;
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, WriteNote(*request, outcome));
  if (written.ok()) written->commit_timestamp = std::max(written->commit_timestamp, timestamp);
  return written;
}

template <class Policies>
absl::StatusOr<std::string> BasicDatabase<Policies>::RunOnce(
    const RequestId& request, absl::FunctionRef<absl::StatusOr<std::string>()> run,
    std::uint64_t* commit_timestamp) {
  ALOS_ASSIGN_OR_RETURN(const std::optional<RequestOutcome> before, DoneBefore(&request));
  if (before) {
    *commit_timestamp = before->commit_timestamp;
    if (before->result) return *before->result;
    return absl::UnknownError(
        absl::StrCat("the request was done before; what it returned is not "
                     "known any more, as it takes more than ",
                     kKeptResultBytesMax, " bytes"));
  }
  RequestOutcome outcome;
  outcome.state = RequestOutcome::State::kRunning;
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t noted, WriteNote(request, outcome));
  // Not all that it does goes through the log of commits, behind the note.
  ALOS_RETURN_IF_ERROR(WaitVisible(noted));
  absl::StatusOr<std::string> result = run();
  outcome.state = RequestOutcome::State::kDone;
  outcome.status = result.status();
  if (result.ok() && result->size() <= kKeptResultBytesMax) outcome.result = *result;
  ALOS_ASSIGN_OR_RETURN(*commit_timestamp, WriteNote(request, outcome));
  return result;
}

template <class Policies>
absl::StatusOr<RequestId> BasicDatabase<Policies>::OpenSession() {
  ALOS_ASSIGN_OR_RETURN(Collection * notes, Notes());
  const std::int64_t now = absl::ToUnixSeconds(absl::Now());
  const std::int64_t window = absl::ToInt64Seconds(options_.request_window);
  RequestId session;
  std::random_device random;
  for (std::size_t i = 0; i < session.key.size(); i += 4) {
    const std::uint32_t bits = random();
    std::memcpy(session.key.data() + i, &bits, 4);
  }
  absl::MutexLock lock(&sessions_mutex_);
  if (slots_given_.size() > engine_internal::kRequestSlots / 4)
    absl::erase_if(slots_given_, [&](const auto& slot) { return now - slot.second > window; });
  const auto guard = context_.epochs->Enter();
  for (std::uint32_t tries = 0; tries < engine_internal::kRequestSlots; ++tries) {
    const std::uint32_t slot = next_slot_;
    next_slot_ = (next_slot_ + 1) % engine_internal::kRequestSlots;
    const auto given = slots_given_.find(slot);
    if (given != slots_given_.end() && now - given->second <= window) continue;
    ALOS_ASSIGN_OR_RETURN(const auto note, ReadNote(*notes, slot));
    if (note && now - note->seconds <= window) continue;
    slots_given_[slot] = now;
    session.slot = slot;
    return session;
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("all ", engine_internal::kRequestSlots,
                   " sessions are in use; those that are idle end after ",
                   absl::FormatDuration(options_.request_window)));
}

template <class Policies>
typename BasicDatabase<Policies>::Event BasicDatabase<Policies>::DecodeEvent(ValueView document) {
  Event event;
  if (const auto name = document.Find("name"); name && name->IsString())
    event.name = std::string(name->AsString());
  const auto number = [&](std::string_view key) -> std::uint64_t {
    const auto value = document.Find(key);
    return value ? static_cast<std::uint64_t>(value->ToInt64().value_or(0)) : 0;
  };
  event.dropped = number("dropped");
  event.made = number("made");
  return event;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::WriteEvent(std::string_view name, std::uint32_t dropped,
                                                 std::uint32_t made) {
  const std::uint64_t number = events_written_ + 1;
  std::string id;
  Builder(&id).Uint(number % kEventsMax);
  std::string raw;
  Builder builder(&raw);
  builder.StartDocument();
  builder.Key("_id").Uint(number % kEventsMax);
  builder.Key("n").Uint(number);
  builder.Key("name").String(name);
  builder.Key("dropped").Uint(dropped);
  builder.Key("made").Uint(made);
  builder.EndDocument();
  ALOS_ASSIGN_OR_RETURN(
      const std::uint64_t timestamp,
      WriteDocument(*events_.load(), id,
                    [&](std::optional<ValueView>, Decision* decision) -> absl::Status {
                      decision->action = Decision::Action::kPut;
                      Encode(raw, &decision->body);
                      return absl::OkStatus();
                    }));
  ALOS_RETURN_IF_ERROR(WaitVisible(timestamp));
  events_written_ = number;
  if (made != 0) {
    absl::MutexLock lock(&names_mutex_);
    names_[made] = {std::string(name), timestamp};
  }
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::ReplayEvents() {
  absl::MutexLock lock(&manifest_mutex_);
  const auto guard = context_.epochs->Enter();
  absl::MutexLock names_lock(&names_mutex_);
  for (const auto& collection : manifest_.collections) names_[collection.id] = {collection.name, 0};
  const Collection* events = collections_.Find(engine_internal::kEventsCollection);
  if (events == nullptr) return absl::OkStatus();
  bool changed = false;
  for (std::uint64_t slot = 0; slot < kEventsMax; ++slot) {
    std::string id;
    Builder(&id).Uint(slot);
    const std::uint64_t hash = Hash(events->id, id);
    Shard& shard = ShardOf(hash);
    ALOS_ASSIGN_OR_RETURN(
        const std::uint64_t offset,
        shard.FindVersion(events->id, id, hash, std::numeric_limits<std::uint64_t>::max()));
    if (offset == 0) continue;
    const std::uint64_t timestamp = RecordView(shard.log()->At(offset)).header().commit_timestamp;
    Event event;
    ALOS_RETURN_IF_ERROR(shard.VisitDocument(
        offset,
        [&](ValueView document) {
          event = DecodeEvent(document);
          if (const auto number = document.Find("n"))
            events_written_ = std::max(events_written_,
                                       static_cast<std::uint64_t>(number->ToInt64().value_or(0)));
        },
        false));
    const auto dropped = static_cast<std::uint32_t>(event.dropped);
    const auto made = static_cast<std::uint32_t>(event.made);
    names_.try_emplace(dropped, Naming{event.name, 0});
    if (made != 0) names_[made] = {event.name, timestamp};
    const auto in_manifest = [&](std::uint32_t number) {
      return std::find_if(manifest_.collections.begin(), manifest_.collections.end(),
                          [&](const auto& collection) { return collection.id == number; });
    };
    const auto found = in_manifest(dropped);
    if (dropped == 0 || found == manifest_.collections.end()) continue;
    // A crash came between the event and the manifest.
    manifest_.collections.erase(found);
    collections_.Remove(event.name);
    if (made != 0 && in_manifest(made) == manifest_.collections.end()) {
      manifest_.collections.push_back({made, event.name, std::vector<std::string>()});
      collections_.Add(made, event.name);
    }
    changed = true;
  }
  return changed ? WriteManifest() : absl::OkStatus();
}

template <class Policies>
absl::StatusOr<ChangePosition> BasicDatabase<Policies>::ReadChanges(
    const ChangesQuery& query, absl::FunctionRef<bool(const Change&)> visit) {
  ChangePosition position = query.position;
  position.timestamp = std::max<std::uint64_t>(position.timestamp, 1);
  SnapshotRegistry::Pin pin;
  {
    const std::uint64_t newest = ReadTimestamp();
    if (position.timestamp > newest + 1) {
      return absl::InvalidArgumentError(absl::StrCat("the position ", position.timestamp,
                                                     " lies in the future: the newest commit is ",
                                                     newest));
    }
    // What came before the first of them is read, too.
    std::optional<SnapshotRegistry::Pin> pinned = snapshots_.PinAt(position.timestamp - 1);
    if (!pinned) return SnapshotGone(position.timestamp - 1);
    pin = *std::move(pinned);
  }
  const auto guard = context_.epochs->Enter();
  const std::uint64_t newest = ReadTimestamp();
  const Collection* events = collections_.Find(engine_internal::kEventsCollection);
  // Names of the collections that were asked for, by id; nullptr: not asked for.
  absl::flat_hash_map<std::uint32_t, std::optional<Naming>> names;
  const auto name_of = [&](std::uint32_t collection, std::uint64_t at) -> const std::string* {
    const auto [known, is_new] = names.try_emplace(collection);
    if (is_new) {
      absl::MutexLock lock(&names_mutex_);
      const auto found = names_.find(collection);
      if (found != names_.end() && !engine_internal::IsOwnCollection(found->second.name) &&
          (query.collections.empty() ||
           std::find(query.collections.begin(), query.collections.end(), found->second.name) !=
               query.collections.end())) {
        known->second = found->second;
      }
    }
    return known->second && at >= known->second->since ? &known->second->name : nullptr;
  };
  engine_internal::ChangeReader<Policies> reader(shards_, position.timestamp, newest);
  ALOS_RETURN_IF_ERROR(reader.Start());
  std::vector<typename engine_internal::ChangeReader<Policies>::Place> places;
  std::uint64_t visited = 0;
  while (true) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, reader.Next(&places));
    if (timestamp == 0) return ChangePosition::After(newest);
    const std::uint64_t begin = timestamp == position.timestamp ? position.index : 0;
    // The last one that was asked for, to say so.
    const auto is_wanted = [&](std::size_t i) {
      const RecordHeader header =
          RecordView(shards_[places[i].shard]->log()->At(places[i].offset)).header();
      if ((header.flags & kRelocated) != 0) return false;
      if (events != nullptr && header.collection == events->id)
        return header.kind == RecordKind::kPut;
      return name_of(header.collection, header.commit_timestamp) != nullptr;
    };
    std::size_t last = places.size();
    while (last > begin && !is_wanted(last - 1)) --last;
    for (std::size_t i = begin; i < last; ++i) {
      if (!is_wanted(i)) continue;
      Shard& shard = *shards_[places[i].shard];
      const RecordView record(shard.log()->At(places[i].offset));
      const RecordHeader header = record.header();
      Change change;
      change.timestamp = timestamp;
      change.is_last = i + 1 == last;
      change.next =
          change.is_last ? ChangePosition::After(timestamp) : ChangePosition{timestamp, i + 1};
      bool go_on = true;
      const auto tell = [&] {
        ++visited;
        go_on = visit(change) && visited < query.changes_max;
      };
      if (events != nullptr && header.collection == events->id) {
        Event event;
        ALOS_RETURN_IF_ERROR(shard.VisitDocument(
            places[i].offset, [&](ValueView document) { event = DecodeEvent(document); }, false));
        const std::string* name = name_of(static_cast<std::uint32_t>(event.dropped), timestamp);
        if (name == nullptr) name = name_of(static_cast<std::uint32_t>(event.made), timestamp);
        if (name == nullptr) continue;
        change.kind = event.made != 0 ? Change::Kind::kReplace : Change::Kind::kDrop;
        change.collection = *name;
        tell();
      } else {
        change.collection = *name_of(header.collection, timestamp);
        change.id = record.id();
        const auto with_before = [&](std::optional<ValueView> before) -> absl::Status {
          change.before = before;
          if (header.kind == RecordKind::kDelete) {
            if (!before) return absl::OkStatus();  // there was nothing to delete
            change.kind = Change::Kind::kDelete;
            tell();
            return absl::OkStatus();
          }
          change.kind = before ? Change::Kind::kUpdate : Change::Kind::kInsert;
          return shard.VisitDocument(
              places[i].offset,
              [&](ValueView document) {
                change.after = document;
                tell();
              },
              false);
        };
        const std::uint64_t hash = Hash(header.collection, record.id());
        ALOS_ASSIGN_OR_RETURN(
            const std::uint64_t before,
            shard.FindVersionBefore(places[i].offset, header, record.id(), hash, timestamp - 1));
        absl::Status told;
        if (before == 0) {
          told = with_before(std::nullopt);
        } else {
          ALOS_RETURN_IF_ERROR(shard.VisitDocument(
              before, [&](ValueView document) { told = with_before(document); }, false));
        }
        ALOS_RETURN_IF_ERROR(told);
      }
      if (!go_on) return change.next;
    }
  }
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

// With the writer roles of all shards held nobody commits: what is in the logs then is the state at
// the newest timestamp in them. (A transaction takes its roles in the same order.)
template <class Policies>
absl::StatusOr<BackupState> BasicDatabase<Policies>::BeginBackup() {
  BackupState state;
  state.pin = PinNewest();
  {
    // Collections come and go under this: it must not name one whose documents are not in the logs.
    absl::MutexLock manifest_lock(&manifest_mutex_);
    std::vector<std::unique_ptr<absl::MutexLock>> roles;
    roles.reserve(shards_.size());
    for (const auto& shard : shards_)
      roles.push_back(std::make_unique<absl::MutexLock>(&shard->writer()));
    state.timestamp = state.pin.timestamp();
    for (const auto& shard : shards_) {
      const Log* log = shard->log();
      if (log == nullptr) continue;
      state.logs.push_back({shard->number(), log->generation(), log->end()});
      state.timestamp = std::max(state.timestamp, shard->newest_timestamp());
    }
    state.manifest = EncodeManifest(manifest_);
  }
  // What is not acknowledged may still fail: then it is not part of any state.
  ALOS_RETURN_IF_ERROR(WaitVisible(state.timestamp));
  return state;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::ReadLog(std::uint32_t shard, std::uint64_t offset,
                                              std::uint64_t bytes, std::string* out) {
  const auto guard = context_.epochs->Enter();
  const Log* log = shard < shards_.size() ? shards_[shard]->log() : nullptr;
  if (log == nullptr || offset > log->end() || bytes > log->end() - offset) {
    return absl::InvalidArgumentError(
        absl::StrCat("the log of shard ", shard, " has no ", bytes, " bytes at offset ", offset));
  }
  out->append(log->At(offset), bytes);
  // The header says where the log begins, and says so before what lies before that is gone: what is
  // read of it last is true of what was read before.
  if (offset < Log::kFirstRecordOffset) {
    const std::uint64_t again = std::min(bytes, Log::kFirstRecordOffset - offset);
    out->replace(out->size() - bytes, again, log->At(offset), again);
  }
  return absl::OkStatus();
}

template <class Policies>
std::uint64_t BasicDatabase<Policies>::VerifyLog(
    std::uint32_t shard, std::uint64_t offset, std::uint64_t until, std::uint64_t bytes_max,
    absl::FunctionRef<void(std::uint64_t, std::uint64_t, const std::string&)> damaged) {
  const auto guard = context_.epochs->Enter();
  const Log* log = shard < shards_.size() ? shards_[shard]->log() : nullptr;
  if (log == nullptr || until > log->end()) return until;
  return shards_[shard]->VerifyRecords(
      offset, until, bytes_max,
      [&](std::uint64_t at, std::uint64_t bytes, const RecordView* record) {
        damaged(at, bytes, record == nullptr ? "" : engine_internal::DescribeId(record->id()));
      });
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::Scrub(
    std::uint64_t bytes_per_second, absl::FunctionRef<bool(absl::Duration)> pause) {
  constexpr std::uint64_t kStepBytes = std::uint64_t{1} << 20;
  std::uint64_t damaged = 0;
  for (const auto& shard : shards_) {
    if (shard->log() == nullptr) continue;
    const std::uint64_t until = shard->log()->end();
    for (std::uint64_t offset = 0; offset < until;) {
      const absl::Time began = absl::Now();
      const std::uint64_t from = offset;
      offset = VerifyLog(shard->number(), offset, until, kStepBytes,
                         [&](std::uint64_t at, std::uint64_t bytes, const std::string& document) {
                           ++damaged;
                           ALOS_LOG(kError)
                               << "CORRUPTION " << shard->log()->path() << ": offset " << at << " ("
                               << bytes << " bytes)"
                               << (document.empty() ? "" : absl::StrCat(": document ", document))
                               << ": the record is damaged and is not served; found by scrubbing";
                         });
      scrub_bytes_ += offset - from;
      absl::Duration wait = absl::ZeroDuration();
      if (bytes_per_second != 0) {
        wait = absl::Seconds(static_cast<double>(offset - from) /
                             static_cast<double>(bytes_per_second)) -
               (absl::Now() - began);
      }
      if (!pause(std::max(wait, absl::ZeroDuration()))) return damaged;
    }
  }
  indexer_->VerifyAgain();
  scrub_damaged_ = damaged;
  scrub_finished_seconds_ = absl::ToUnixSeconds(absl::Now());
  ++scrub_passes_;
  return damaged;
}

template <class Policies>
std::vector<QueueStatistics> BasicDatabase<Policies>::queues() const {
  std::vector<QueueStatistics> all;
  all.push_back(writers_.statistics());
  all.push_back(indexer_->tail().statistics());
  if constexpr (requires { durability_->queues(); }) {
    for (const QueueStatistics& queue : durability_->queues()) all.push_back(queue);
  }
  return all;
}

template <class Policies>
std::string BasicDatabase<Policies>::Stats() {
  std::uint64_t log_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t stale_bytes = 0;
  std::uint64_t index_bytes = 0;
  std::uint64_t files = 0;
  absl::flat_hash_set<std::uint32_t> live_collections;
  {
    absl::MutexLock lock(&manifest_mutex_);
    live_collections = collections_.LiveIds();
  }
  CacheStatistics cache;
  std::uint64_t cache_bytes = 0;
  for (const auto& shard : shards_) {
    absl::MutexLock lock(&shard->writer());
    index_bytes += shard->index_bytes();
    stale_bytes += shard->usage(live_collections).stale_bytes();
    const CacheStatistics statistics = shard->cache().statistics();
    cache.hits += statistics.hits;
    cache.misses += statistics.misses;
    cache_bytes += shard->cache().used_bytes();
    if (const Log* log = shard->log()) {
      ++files;
      log_bytes += log->end() - log->begin();
      file_bytes += log->file_size() - (log->begin() / kFileBlockBytes) * kFileBlockBytes;
    }
  }
  std::string out;
  Builder builder(&out);
  const auto put = [&](std::string_view key, std::uint64_t value) {
    builder.Key(key);
    builder.Uint(value);
  };
  builder.StartDocument();
  builder.Key("collections");
  builder.StartDocument();
  std::int64_t documents = 0;
  {
    const auto guard = context_.epochs->Enter();
    for (const Collection* collection : collections_.All()) {
      if (engine_internal::IsOwnCollection(collection->name)) continue;
      const std::int64_t count = collection->live_documents.load(std::memory_order_relaxed);
      documents += count;
      builder.Key(collection->name);
      builder.StartDocument();
      builder.Key("documents");
      builder.Int(count);
      builder.EndDocument();
    }
  }
  builder.EndDocument();
  builder.Key("documents");
  builder.Int(documents);
  put("shards", shards_.size());
  put("shard_files", files);
  put("log_bytes", log_bytes);
  put("file_bytes", file_bytes);
  put("stale_bytes", stale_bytes);
  put("primary_index_bytes", index_bytes);
  put("cache_bytes", cache_bytes);
  put("cache_hits", cache.hits);
  put("cache_misses", cache.misses);
  put("commit_timestamp", ReadTimestamp());
  const SnapshotRegistry::Statistics snapshots = snapshots_.statistics();
  put("snapshots_open", snapshots.pins);
  put("cursors_open", snapshots.leases);
  put("oldest_snapshot", snapshots.oldest_timestamp);
  put("oldest_snapshot_seconds",
      snapshots.oldest_timestamp == 0
          ? 0
          : static_cast<std::uint64_t>(std::max<std::int64_t>(
                0, absl::ToInt64Seconds(absl::Now() - snapshots.oldest_since))));
  put("history_begins", snapshots_.floor());
  put("damaged_extents", damaged_extents_.load(std::memory_order_relaxed));
  put("recovery_cut_bytes", torn_bytes_.load(std::memory_order_relaxed));
  builder.Key("recovery");
  recovery_report_.AppendTo(&builder);
  put("scrub_passes", scrub_passes_.load(std::memory_order_relaxed));
  put("scrub_bytes", scrub_bytes_.load(std::memory_order_relaxed));
  put("scrub_damaged_records", scrub_damaged_.load(std::memory_order_relaxed));
  builder.Key("scrub_finished");
  builder.Int(scrub_finished_seconds_.load(std::memory_order_relaxed));
  const engine_internal::CompactorStatistics compaction = compactor_->statistics();
  builder.Key("compaction");
  builder.StartDocument();
  builder.Key("running_shard");
  builder.Int(compaction.running_shard);
  put("runs", compaction.runs);
  put("bytes_given_back", compaction.bytes_back);
  put("bytes_moved", compaction.bytes_moved);
  put("waiting_shards", compaction.waiting_shards);
  put("longest_pause_microseconds", compaction.longest_pause_microseconds);
  builder.Key("last_error");
  builder.String(compaction.last_error);
  builder.EndDocument();
  builder.Key("sync_mode");
  builder.String(Policies::Durability::kName);
  builder.Key("health");
  builder.String(durability_->health().ok() ? "ok" : durability_->health().message());
  builder.EndDocument();
  return out;
}

}  // namespace alos

#endif  // ALOS_ENGINE_DATABASE_H_
