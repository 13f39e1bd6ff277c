// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A database: collections of MessagePack documents, spread over shards by the hash of their `_id`.

#ifndef ALOS_ENGINE_DATABASE_H_
#define ALOS_ENGINE_DATABASE_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/epoch.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/rate_limiter.h"
#include "alos/base/status_macros.h"
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
#include "alos/engine/internal/index_reader.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/joint_log.h"
#include "alos/engine/internal/recovery_report.h"
#include "alos/engine/internal/request_notes.h"
#include "alos/engine/internal/reservations.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/internal/stored_body.h"
#include "alos/engine/internal/unique_enforcer.h"
#include "alos/engine/internal/unique_indexes.h"
#include "alos/engine/options.h"
#include "alos/engine/request_id.h"
#include "alos/engine/results.h"
#include "alos/index/index_definition.h"
#include "alos/index/segment.h"
#include "alos/query/filter.h"
#include "alos/query/index_predicate.h"
#include "alos/query/pipeline.h"
#include "alos/query/pipeline_environment.h"
#include "alos/query/update.h"
#include "alos/storage/durability.h"
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

}  // namespace alos

// The members, by what they do.
#include "alos/engine/internal/database_changes.h"      // IWYU pragma: export
#include "alos/engine/internal/database_collections.h"  // IWYU pragma: export
#include "alos/engine/internal/database_indexes.h"      // IWYU pragma: export
#include "alos/engine/internal/database_opening.h"      // IWYU pragma: export
#include "alos/engine/internal/database_pipelines.h"    // IWYU pragma: export
#include "alos/engine/internal/database_reads.h"        // IWYU pragma: export
#include "alos/engine/internal/database_requests.h"     // IWYU pragma: export
#include "alos/engine/internal/database_upkeep.h"       // IWYU pragma: export
#include "alos/engine/internal/database_writes.h"       // IWYU pragma: export

#endif  // ALOS_ENGINE_DATABASE_H_
