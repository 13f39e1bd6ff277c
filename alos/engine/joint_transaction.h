// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Snapshot-isolated transactions over the databases of one engine, and what commits them.

#ifndef ALOS_ENGINE_JOINT_TRANSACTION_H_
#define ALOS_ENGINE_JOINT_TRANSACTION_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/log.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/status_macros.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/joint_log.h"
#include "alos/engine/options.h"
#include "alos/engine/request_id.h"
#include "alos/engine/transaction.h"

namespace alos {

// The last component of a database's directory.
inline std::string_view NameOfDatabase(std::string_view directory) {
  return directory.substr(directory.rfind('/') + 1);
}

namespace engine_internal {

// Commits transactions over several databases, on a thread of its own that the first one starts.
//
// One commit, and all that came while the one before was under way:
//   1. each of its databases validates its part and holds what it writes (Reservations);
//   2. where acknowledged is not durable, what it builds on is flushed;
//   3. the decision, with all writes, is appended to the log and flushed: it is committed;
//   4. each database installs its part, as a commit of its own;
//   5. when all are visible what was held is given back, and the client gets its answer.
// Snapshots of several databases are taken under the gate, which is closed during 4 and 5, or are
// found by counting to have none of it in between.
//
// Threads: all members, any. Lifetime: databases and file system must outlive it. Durability: an
// answer that is OK is as durable as a commit of one database, and atomic in every mode: what was
// decided and not installed when the engine died is installed by Recover() of the next one.
// Errors: those of BasicTransaction::Commit, and kUnavailable, "outcome unknown", for what was
// decided, or may have been, and could not be installed: then what it writes stays held. A full
// disk is waited for.
template <class Policies>
class JointCommitter {
 public:
  using FileSystem = typename Policies::FileSystem;
  using Database = BasicDatabase<Policies>;
  using Transaction = BasicTransaction<Policies>;

  struct Part {
    Database* database = nullptr;
    std::unique_ptr<Transaction> transaction;
    // The database's counts when its snapshot was taken.
    std::uint64_t begun = 0;
    bool is_quiet = false;  // all of them had ended
  };
  struct Commit {
    std::vector<Part> parts;
    std::optional<RequestId> request;
    Database* request_database = nullptr;
    std::function<void(absl::Status)> done;  // must not block
    // The rest is the committer's.
    std::uint64_t number = 0;                    // of its decision; 0: it needs none
    std::vector<std::uint64_t> timestamps = {};  // of each part; 0: not installed yet
    bool is_told = false;                        // that it could not be installed
  };

  JointCommitter(FileSystem* file_system, const EngineOptions& options)
      : transaction_bytes_max_(options.transaction_bytes_max),
        log_(file_system, options.data_path),
        log_bytes_(options.journal_segment_bytes) {}
  ~JointCommitter() { Stop(); }
  JointCommitter(const JointCommitter&) = delete;
  JointCommitter& operator=(const JointCommitter&) = delete;

  // Installs what a former run decided. `open(name)`: the database, nullptr if there is none.
  // Before the first Submit.
  template <class OpenDatabase>
  absl::Status Recover(OpenDatabase&& open);

  void Submit(std::unique_ptr<Commit> commit) {
    absl::MutexLock lock(&mutex_);
    queue_.push_back(std::move(commit));
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }

  std::size_t transaction_bytes_max() const { return transaction_bytes_max_; }
  // Closed while commits become visible: held by who takes snapshots of several databases.
  absl::Mutex& gate() ABSL_LOCK_RETURNED(gate_) { return gate_; }

  // Ends what was submitted.
  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
    }
    if (thread_.joinable()) thread_.join();
  }

  // After Stop: everything that was installed is durable in its database.
  absl::Status Clear() {
    if (!stuck_.empty() || has_unopened_ || !failed_.ok()) return absl::OkStatus();
    return log_.empty() ? absl::OkStatus() : log_.Clear();
  }

 private:
  using Commits = std::vector<std::unique_ptr<Commit>>;
  static constexpr absl::Duration kRetryInterval = absl::Milliseconds(100);

  void Run();
  void Process(Commits batch);
  // Step 1. After an error nothing is held.
  absl::Status Reserve(Commit& commit);
  // Steps 2 and 3 for those that need a decision; false: it has been answered.
  void Decide(Commits* commits);
  // Step 4, as far as it is not done; `failing`: databases in which something could not be
  // installed: nothing later may be.
  absl::Status Install(Commit& commit, std::vector<Database*>* failing);
  absl::Status AwaitVisible(const Commit& commit);
  void RetryStuck();
  void TrimLog();

  static void Finish(Commit& commit, const absl::Status& status) {
    for (Part& part : commit.parts) part.transaction->Release();
    commit.done(status);
  }
  static absl::Status Undecided(const absl::Status& reason) {
    return absl::UnavailableError(
        absl::StrCat("outcome unknown: the transaction over several databases is installed as a "
                     "whole, or not at all, at the next start: ",
                     reason.message()));
  }
  bool IsStuck(const Database* database) const {
    return std::any_of(stuck_.begin(), stuck_.end(), [&](const auto& commit) {
      return std::any_of(commit->parts.begin(), commit->parts.end(),
                         [&](const Part& part) { return part.database == database; });
    });
  }

  const std::size_t transaction_bytes_max_;
  absl::Mutex gate_;
  absl::Mutex mutex_;
  Commits queue_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;

  // The thread's.
  JointLog<FileSystem> log_;
  const std::uint64_t log_bytes_;
  bool has_unopened_ = false;  // there is something to install in a database that does not open
  absl::Status failed_;        // why nothing can be decided any more
  Commits stuck_;              // decided, or perhaps, and not installed as a whole
  std::vector<Database*> touched_;  // since the log was trimmed
};

}  // namespace engine_internal

// A transaction that may use any database of the engine: In() gives its part in one of them, a
// BasicTransaction, whose contract holds for each and for the whole. All parts read one snapshot:
// of another transaction over several databases they see all or nothing. Commit() makes all parts
// visible or none, and returns when they are; the conflict of any of them is that of the whole.
//
// Snapshots: those of the databases given to BasicEngine::BeginTransaction are taken there. One
// that joins later has its newest state, if no transaction over several databases became visible in
// the others meanwhile; else In() returns kAborted, "transaction conflict": begin again.
// Other readers, of one database each, see the parts of a commit one after another, a moment apart,
// before it is acknowledged.
//
// Threads: one at a time; CommitAsync's callback comes from another. Lifetime: ends before its
// engine closes; parts are valid until Commit or Rollback. Durability: as a single write, and
// atomic in every mode. Errors: kUnavailable, "outcome unknown", when it was decided and could not
// be installed everywhere. Cost: with one part that of a BasicTransaction; with several, one flush
// for the decision and, where acknowledged is not durable, one of each database.
template <class Policies>
class BasicJointTransaction {
 public:
  using Database = BasicDatabase<Policies>;
  using Transaction = BasicTransaction<Policies>;
  using Committer = engine_internal::JointCommitter<Policies>;

  // Made by BasicEngine::BeginTransaction.
  BasicJointTransaction(Committer* committer, const TransactionOptions& options)
      : committer_(committer), options_(options) {}
  BasicJointTransaction(const BasicJointTransaction&) = delete;
  BasicJointTransaction& operator=(const BasicJointTransaction&) = delete;

  absl::StatusOr<Transaction*> In(Database* database) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    for (const Part& part : parts_) {
      if (part.database == database) return part.transaction.get();
    }
    Transaction* const added = Add(database);
    for (std::size_t i = 0; i + 1 < parts_.size(); ++i) {
      if (parts_[i].is_quiet && parts_[i].database->joint_counts().begun == parts_[i].begun)
        continue;
      parts_.pop_back();
      return absl::AbortedError(absl::StrCat(
          "transaction conflict: while database '", NameOfDatabase(parts_[i].database->directory()),
          "' was being read a transaction over several databases was committed there, so that of "
          "database '",
          NameOfDatabase(database->directory()),
          "' there is no state of the same moment; begin the transaction again, and name its "
          "databases at once"));
    }
    return added;
  }

  // Takes the snapshots of all of them together. First of all.
  absl::Status Pin(absl::Span<Database* const> databases) {
    if (databases.size() < 2) {
      if (!databases.empty()) Add(databases[0]);
      return absl::OkStatus();
    }
    absl::ReaderMutexLock lock(&committer_->gate());
    for (Database* database : databases) {
      if (std::none_of(parts_.begin(), parts_.end(),
                       [&](const Part& part) { return part.database == database; })) {
        Add(database);
      }
    }
    for (const Part& part : parts_) {
      if (part.is_quiet) continue;
      return absl::UnavailableError(absl::StrCat(
          "there is no common state: a transaction over several databases could not be installed "
          "in database '",
          NameOfDatabase(part.database->directory()), "' yet (see the log); try again"));
    }
    return absl::OkStatus();
  }

  // Returns when it may be acknowledged. `request`: its name, of a session of `request_database`;
  // one that was done before is not done again.
  absl::Status Commit(const RequestId* request = nullptr, Database* request_database = nullptr) {
    absl::Notification notification;
    absl::Status result;
    AwaitWriteRate();
    CommitAsync(request, request_database, [&](absl::Status status) {
      result = std::move(status);
      notification.Notify();
    });
    notification.WaitForNotification();
    return result;
  }

  // Before CommitAsync: waits for its turn where writes are limited
  // (EngineOptions::max_write_rate).
  void AwaitWriteRate() {
    if (parts_.size() < 2) return;  // its part will
    for (const Part& part : parts_)
      part.database->write_rate_.Acquire(part.transaction->writes_count());
  }
  // The same without waiting for a flush; `done` is called by any thread, maybe at once, and must
  // not block.
  void CommitAsync(const RequestId* request, Database* request_database,
                   std::function<void(absl::Status)> done);

  // The database that is the only one to be committed to, the request's included: then
  // CommitOnly() does it, as BasicTransaction::Commit(). nullptr: there are several.
  Database* Only(const Database* request_database);
  absl::StatusOr<std::uint64_t> CommitOnly(const RequestId* request) {
    ALOS_RETURN_IF_ERROR(CheckActive());
    active_ = false;
    if (parts_.empty()) return std::uint64_t{0};
    absl::StatusOr<std::uint64_t> committed = parts_[0].transaction->Commit(request);
    parts_.clear();
    return committed;
  }

  void Rollback() {
    active_ = false;
    parts_.clear();
  }

 private:
  using Part = typename Committer::Part;

  absl::Status CheckActive() const {
    return active_ ? absl::OkStatus()
                   : absl::FailedPreconditionError("the transaction is over; begin a new one");
  }

  Transaction* Add(Database* database) {
    Part part;
    part.database = database;
    // In this order: if they are equal, none was on its way when the second was read. One that
    // begins before the snapshot is taken is seen by In().
    const std::uint64_t ended = database->joint_counts().ended;
    part.begun = database->joint_counts().begun;
    part.is_quiet = ended == part.begun;
    part.transaction = std::make_unique<Transaction>(database, options_);
    parts_.push_back(std::move(part));
    return parts_.back().transaction.get();
  }

  // Forgets the parts that have no say in the commit.
  void RemoveIdle() {
    const bool writes = std::any_of(parts_.begin(), parts_.end(), [](const Part& part) {
      return part.transaction->has_writes();
    });
    std::erase_if(parts_, [&](const Part& part) {
      return !part.transaction->has_writes() &&
             !(writes && part.transaction->has_validated_reads());
    });
  }

  Committer* const committer_;
  const TransactionOptions options_;
  bool active_ = true;
  std::vector<Part> parts_;
};

// ---- Readers of the API may stop here. ----

template <class Policies>
BasicDatabase<Policies>* BasicJointTransaction<Policies>::Only(const Database* request_database) {
  if (parts_.size() > 1 ||
      (!parts_.empty() && request_database != nullptr && request_database != parts_[0].database)) {
    RemoveIdle();
  }
  if (parts_.size() != 1) return nullptr;
  const bool is_it = request_database == nullptr || request_database == parts_[0].database;
  return is_it ? parts_[0].database : nullptr;
}

template <class Policies>
void BasicJointTransaction<Policies>::CommitAsync(const RequestId* request,
                                                  Database* request_database,
                                                  std::function<void(absl::Status)> done) {
  if (const absl::Status active = CheckActive(); !active.ok()) return done(active);
  if (Database* const only = Only(request != nullptr ? request_database : nullptr)) {
    const absl::StatusOr<std::uint64_t> committed = CommitOnly(request);
    if (!committed.ok()) return done(committed.status());
    return only->NotifyVisible(*committed, std::move(done));
  }
  active_ = false;
  std::size_t bytes = 0;
  for (const Part& part : parts_) bytes += part.transaction->writes_bytes();
  if (bytes > committer_->transaction_bytes_max()) {
    return done(absl::ResourceExhaustedError(absl::StrCat("the transaction has written more than ",
                                                          committer_->transaction_bytes_max(),
                                                          " bytes; commit it in parts")));
  }
  if (parts_.empty()) return done(absl::OkStatus());
  auto commit = std::make_unique<typename Committer::Commit>();
  if (request != nullptr) {
    const auto before = request_database->DoneBefore(request);
    if (!before.ok()) return done(before.status());
    if (before->has_value())
      return request_database->NotifyVisible((*before)->commit_timestamp, std::move(done));
    if (std::none_of(parts_.begin(), parts_.end(),
                     [&](const Part& part) { return part.database == request_database; })) {
      Add(request_database);
    }
    commit->request = *request;
    commit->request_database = request_database;
  }
  commit->parts = std::move(parts_);
  commit->done = std::move(done);
  parts_.clear();
  committer_->Submit(std::move(commit));
}

namespace engine_internal {

template <class Policies>
template <class OpenDatabase>
absl::Status JointCommitter<Policies>::Recover(OpenDatabase&& open) {
  ALOS_ASSIGN_OR_RETURN(std::vector<JointDecision> decisions, log_.Load());
  struct Known {
    std::string name;
    Database* database = nullptr;
    JointMarker marker;
    std::uint64_t installed = 0;
    std::uint64_t refused = 0;
  };
  std::vector<Known> databases;
  const auto find = [&](const std::string& name) -> Known& {
    for (Known& known : databases) {
      if (known.name == name) return known;
    }
    Known& known = databases.emplace_back();
    known.name = name;
    absl::StatusOr<Database*> opened = open(name);
    if (opened.ok() && *opened != nullptr) {
      absl::StatusOr<JointMarker> marker = (*opened)->ReadJointMarker();
      if (marker.ok()) {
        known.marker = *marker;
        known.database = *opened;
        return known;
      }
      opened = marker.status();
    }
    if (opened.ok()) {
      ALOS_LOG(kWarning) << "a transaction over several databases was to be installed in database '"
                         << name << "', which is not there any more";
    } else {
      has_unopened_ = true;
      ALOS_LOG(kError) << "a transaction over several databases is to be installed in database '"
                       << name << "', which cannot be opened; it is kept for the next start: "
                       << opened.status();
    }
    return known;
  };
  for (JointDecision& decision : decisions) {
    for (JointPart& part : decision.parts) {
      Known& known = find(part.database);
      if (known.database == nullptr) continue;
      if (known.marker.epoch == decision.epoch && known.marker.number >= decision.number) continue;
      if (known.database->id() != part.id || known.database->ReadTimestamp() < part.snapshot) {
        ++known.refused;
        ALOS_LOG(kError) << known.database->directory()
                         << ": a transaction over several databases is not installed: this is "
                            "another database, or an older copy of it";
        continue;
      }
      ALOS_RETURN_IF_ERROR(known.database->JointMarkers().status());
      Transaction transaction(known.database);
      if (const std::size_t missing = transaction.Restore(std::move(part.writes)); missing != 0) {
        ALOS_LOG(kError) << known.database->directory() << ": " << missing
                         << " writes of a transaction over several databases are to collections "
                            "that are not there";
      }
      known.marker = {decision.epoch, decision.number};
      ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, transaction.Apply(known.marker));
      ALOS_RETURN_IF_ERROR(known.database->WaitVisible(timestamp));
      ++known.installed;
    }
  }
  for (const Known& known : databases) {
    if (known.database == nullptr) continue;
    ALOS_RETURN_IF_ERROR(known.database->Flush());
    if (known.installed + known.refused == 0) continue;
    ALOS_LOG(kInfo) << known.database->directory() << ": installed " << known.installed
                    << " transactions over several databases that the last run had decided";
    known.database->NoteJointRecovery(known.installed, known.refused);
  }
  if (log_.empty()) return absl::OkStatus();
  return has_unopened_ ? log_.CutTornTail() : log_.Clear();
}

template <class Policies>
void JointCommitter<Policies>::Run() {
  const MemoryReserve::Critical critical(std::nothrow);  // nobody would hear of an exception
  while (true) {
    Commits batch;
    {
      absl::MutexLock lock(&mutex_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stop_ || !queue_.empty();
      };
      mutex_.AwaitWithTimeout(absl::Condition(&has_work),
                              stuck_.empty() ? absl::InfiniteDuration() : kRetryInterval);
      if (queue_.empty() && stop_) return;
      batch = std::move(queue_);
      queue_.clear();
    }
    RetryStuck();
    if (!batch.empty()) Process(std::move(batch));
    TrimLog();
  }
}

template <class Policies>
absl::Status JointCommitter<Policies>::Reserve(Commit& commit) {
  std::size_t writers = 0;
  for (const Part& part : commit.parts) {
    const bool writes = part.transaction->has_writes() ||
                        (commit.request && part.database == commit.request_database);
    writers += writes ? 1 : 0;
    if (writes && IsStuck(part.database)) {
      return absl::UnavailableError(absl::StrCat(
          "an earlier transaction over several databases could not be installed in database '",
          NameOfDatabase(part.database->directory()), "' yet (see the log); try again"));
    }
    if (writes) ALOS_RETURN_IF_ERROR(part.database->JointMarkers().status());
  }
  if (writers > 1 && !failed_.ok()) return failed_;
  for (std::size_t i = 0; i < commit.parts.size(); ++i) {
    Part& part = commit.parts[i];
    const bool has_note = commit.request && part.database == commit.request_database;
    const absl::Status reserved = part.transaction->Reserve(has_note ? &*commit.request : nullptr);
    if (reserved.ok()) continue;
    while (i-- > 0) commit.parts[i].transaction->Release();
    return reserved;
  }
  if (writers > 1) commit.number = log_.NextNumber();
  commit.timestamps.assign(commit.parts.size(), 0);
  return absl::OkStatus();
}

template <class Policies>
void JointCommitter<Policies>::Decide(Commits* commits) {
  std::vector<std::pair<Database*, absl::Status>> flushed;
  const auto flush = [&](Database* database) {
    for (const auto& [known, status] : flushed) {
      if (known == database) return status;
    }
    flushed.emplace_back(database, database->Flush());
    return flushed.back().second;
  };
  std::vector<std::pair<std::uint64_t, std::string>> decisions;
  for (std::unique_ptr<Commit>& commit : *commits) {
    if (commit->number == 0) continue;
    // What a decision builds on must not be lost while it is not.
    absl::Status status;
    if (!Policies::Durability::kAcknowledgedIsDurable) {
      for (const Part& part : commit->parts) status.Update(flush(part.database));
    }
    if (!status.ok()) {
      Finish(*commit, status);
      commit = nullptr;
      continue;
    }
    JointDecisionBuilder builder;
    for (const Part& part : commit->parts) {
      if (!part.transaction->has_writes()) continue;
      builder.StartPart(NameOfDatabase(part.database->directory()), part.database->id(),
                        part.transaction->snapshot_timestamp());
      part.transaction->VisitWrites([&](std::uint32_t collection, std::string_view id,
                                        const std::optional<std::string>& document) {
        builder.AddWrite(collection, id, document);
      });
      if (std::find(touched_.begin(), touched_.end(), part.database) == touched_.end())
        touched_.push_back(part.database);
    }
    decisions.emplace_back(commit->number, builder.Finish());
  }
  if (decisions.empty()) return;
  const absl::Status appended = log_.Append(decisions);
  if (appended.ok()) return;
  const bool is_undone = absl::IsResourceExhausted(appended);
  if (!is_undone) {
    failed_ = absl::UnavailableError(
        absl::StrCat("transactions over several databases cannot be committed: their log could not "
                     "be written (",
                     appended.message(), "); check the disk, then restart"));
    ALOS_LOG(kError) << failed_.message();
  }
  for (std::unique_ptr<Commit>& commit : *commits) {
    if (commit == nullptr || commit->number == 0) continue;
    if (is_undone) {
      Finish(*commit, appended);
    } else {
      // Nobody may write over what the next start may find to be decided.
      commit->number = 0;
      commit->done(Undecided(failed_));
      stuck_.push_back(std::move(commit));
    }
    commit = nullptr;
  }
}

template <class Policies>
absl::Status JointCommitter<Policies>::Install(Commit& commit, std::vector<Database*>* failing) {
  std::optional<JointMarker> marker;
  if (commit.number != 0) marker = JointMarker{log_.epoch(), commit.number};
  absl::Status first;
  for (std::size_t i = 0; i < commit.parts.size(); ++i) {
    Part& part = commit.parts[i];
    if (!part.transaction->has_writes() || commit.timestamps[i] != 0) continue;
    if (std::find(failing->begin(), failing->end(), part.database) != failing->end()) {
      first.Update(absl::UnavailableError("an earlier one could not be installed"));
      continue;
    }
    const absl::StatusOr<std::uint64_t> applied = part.transaction->Apply(marker);
    if (applied.ok()) {
      commit.timestamps[i] = std::max<std::uint64_t>(*applied, 1);
      continue;
    }
    first.Update(applied.status());
    if (commit.number == 0) continue;
    failing->push_back(part.database);
    if (std::exchange(commit.is_told, true)) continue;
    ALOS_LOG(kError) << part.database->directory()
                     << ": a transaction over several databases could not be installed: "
                     << applied.status();
  }
  return first;
}

template <class Policies>
absl::Status JointCommitter<Policies>::AwaitVisible(const Commit& commit) {
  absl::Status first;
  for (std::size_t i = 0; i < commit.parts.size(); ++i) {
    if (commit.timestamps[i] != 0)
      first.Update(commit.parts[i].database->WaitVisible(commit.timestamps[i]));
  }
  return first;
}

template <class Policies>
void JointCommitter<Policies>::Process(Commits batch) {
  for (std::unique_ptr<Commit>& commit : batch) {
    const absl::Status reserved = Reserve(*commit);
    if (reserved.ok()) continue;
    if (absl::IsCancelled(reserved)) {
      // It was done in this moment.
      const absl::StatusOr<RequestOutcome> outcome =
          commit->request_database->FindRequest(*commit->request);
      if (outcome.ok()) {
        commit->request_database->NotifyVisible(
            outcome->commit_timestamp,
            [done = std::move(commit->done), status = outcome->status](absl::Status visible) {
              done(visible.ok() ? status : visible);
            });
      } else {
        commit->done(outcome.status());
      }
    } else {
      commit->done(reserved);
    }
    commit = nullptr;
  }
  std::erase(batch, nullptr);
  Decide(&batch);
  std::erase(batch, nullptr);
  if (batch.empty()) return;
  std::vector<absl::Status> installed;
  {
    absl::WriterMutexLock lock(&gate_);
    for (const auto& commit : batch) {
      for (Part& part : commit->parts) ++part.database->joint_counts().begun;
    }
    std::vector<Database*> failing;
    for (const auto& commit : batch) installed.push_back(Install(*commit, &failing));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      installed[i].Update(AwaitVisible(*batch[i]));
      // What is not visible as a whole leaves its databases without common snapshots.
      if (!installed[i].ok() && batch[i]->number != 0) continue;
      for (Part& part : batch[i]->parts) ++part.database->joint_counts().ended;
    }
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (installed[i].ok() || batch[i]->number == 0) {
      Finish(*batch[i], installed[i]);
      continue;
    }
    batch[i]->done(absl::UnavailableError(
        absl::StrCat("outcome unknown: the transaction is committed, and is installed in all of "
                     "its databases when that is possible, at the latest at the next start: ",
                     installed[i].message())));
    stuck_.push_back(std::move(batch[i]));
  }
}

template <class Policies>
void JointCommitter<Policies>::RetryStuck() {
  std::vector<Database*> failing;
  for (std::unique_ptr<Commit>& commit : stuck_) {
    if (commit->number == 0) continue;  // nobody knows
    if (!Install(*commit, &failing).ok() || !AwaitVisible(*commit).ok()) continue;
    for (Part& part : commit->parts) {
      ++part.database->joint_counts().ended;
      part.transaction->Release();
    }
    ALOS_LOG(kInfo) << "a transaction over several databases was installed at last";
    commit = nullptr;
  }
  std::erase(stuck_, nullptr);
}

template <class Policies>
void JointCommitter<Policies>::TrimLog() {
  if (log_.size_bytes() < log_bytes_ || !stuck_.empty() || has_unopened_ || !failed_.ok()) return;
  absl::Status status;
  for (Database* database : touched_) status.Update(database->Flush());
  if (status.ok()) status = log_.Trim();
  if (status.ok()) {
    touched_.clear();
  } else {
    ALOS_LOG(kWarning) << "the log of transactions over several databases cannot be trimmed: "
                       << status;
  }
}

}  // namespace engine_internal

}  // namespace alos

#endif  // ALOS_ENGINE_JOINT_TRANSACTION_H_
