// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The engine: the databases of one data directory. The place to start for who embeds alos:
//
//   alos::EngineOptions options;
//   options.data_path = "/var/lib/app";
//   ALOS_ASSIGN_OR_RETURN(std::unique_ptr<alos::Engine> engine, alos::Engine::Open(options));
//   ALOS_ASSIGN_OR_RETURN(alos::Engine::Database* database, engine->GetOrCreateDatabase("app"));
//
// examples/embedded/ is a whole program.

#ifndef ALOS_ENGINE_ENGINE_H_
#define ALOS_ENGINE_ENGINE_H_

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/epoch.h"
#include "alos/base/log.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/status_macros.h"
#include "alos/engine/changes.h"
#include "alos/engine/database.h"
#include "alos/engine/joint_transaction.h"
#include "alos/engine/options.h"
#include "alos/engine/policies.h"
#include "alos/engine/transaction.h"
#include "alos/storage/manifest.h"

namespace alos {

// Threads: all members, any thread. Lifetime: owns its databases; pointers to them are valid until
// Close(). Durability: Close() flushes and checkpoints everything; an engine that is destroyed
// without it, or whose process dies, recovers at the next Open(), losing nothing that its policy
// promised. Errors: kFailedPrecondition when another process has the data directory open (it is
// named).
template <class PoliciesType>
class BasicEngine {
 public:
  using Policies = PoliciesType;
  using FileSystem = typename Policies::FileSystem;
  using Database = BasicDatabase<Policies>;
  using Transaction = BasicTransaction<Policies>;
  using JointTransaction = BasicJointTransaction<Policies>;

  // `file_system` must outlive the engine.
  static absl::StatusOr<std::unique_ptr<BasicEngine>> Open(
      EngineOptions options, FileSystem* file_system = DefaultFileSystem()) {
    ALOS_RETURN_IF_ERROR(CheckOptions(options));
    MemoryReserve::Install();
    ALOS_RETURN_IF_ERROR(file_system->CreateDirectories(options.data_path));
    ALOS_ASSIGN_OR_RETURN(auto lock,
                          file_system->LockFile(absl::StrCat(options.data_path, "/alos.lock")));
    auto engine = std::unique_ptr<BasicEngine>(new BasicEngine(file_system, std::move(options)));
    engine->lock_ = std::move(lock);
    ALOS_RETURN_IF_ERROR(engine->joint_->Recover(
        [raw = engine.get()](const std::string& name) { return raw->FindDatabase(name); }));
    engine->maintenance_ = engine->Thread(&BasicEngine::Maintain);
    if (engine->options_.expiry_interval > absl::ZeroDuration())
      engine->expiry_ = engine->Thread(&BasicEngine::Expire);
    if (engine->options_.scrub_interval > absl::ZeroDuration())
      engine->scrubber_ = engine->Thread(&BasicEngine::Scrub);
    if (engine->options_.hook != nullptr && !engine->options_.hook_collections.empty())
      engine->hook_ = engine->Thread(&BasicEngine::TellHook);
    if (engine->options_.compaction) engine->compaction_ = engine->Thread(&BasicEngine::Compact);
    return engine;
  }

  ~BasicEngine() { StopMaintenance(); }
  BasicEngine(const BasicEngine&) = delete;
  BasicEngine& operator=(const BasicEngine&) = delete;

  // The database of this name, opened if it is on disk, made if it is not.
  absl::StatusOr<Database*> GetOrCreateDatabase(std::string_view name) {
    return OpenDatabase(name, true);
  }

  // The database of this name, opened if it is on disk; nullptr when there is none.
  absl::StatusOr<Database*> FindDatabase(std::string_view name) {
    absl::StatusOr<Database*> found = OpenDatabase(name, false);
    if (absl::IsNotFound(found.status())) return nullptr;
    return found;
  }

  // A transaction over several databases of this engine: the snapshots of `databases` are taken
  // now, and belong together. Others may join later (BasicJointTransaction::In).
  absl::StatusOr<std::unique_ptr<JointTransaction>> BeginTransaction(
      absl::Span<Database* const> databases, const TransactionOptions& options = {}) {
    auto transaction = std::make_unique<JointTransaction>(joint_.get(), options);
    ALOS_RETURN_IF_ERROR(transaction->Pin(databases));
    return transaction;
  }

  // The open ones.
  std::vector<std::string> OpenDatabases() const {
    absl::ReaderMutexLock lock(&mutex_);
    std::vector<std::string> names;
    for (const auto& [name, database] : databases_) names.push_back(name);
    return names;
  }

  // All that are in the data directory, open or not.
  absl::StatusOr<std::vector<std::string>> ListDatabases() const {
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          file_system_->ListDirectory(options_.data_path));
    std::vector<std::string> databases;
    for (const std::string& name : names) {
      if (!CheckDatabaseName(name).ok()) continue;
      ALOS_ASSIGN_OR_RETURN(const bool exists,
                            file_system_->Exists(absl::StrCat(options_.data_path, "/", name, "/",
                                                              kManifestFileName)));
      if (exists) databases.push_back(name);
    }
    return databases;
  }

  // Flushes, checkpoints and closes all databases; returns the first error, having tried all. No
  // operation may be under way, and none may follow.
  absl::Status Close() {
    StopMaintenance();
    joint_->Stop();
    absl::MutexLock lock(&mutex_);
    absl::Status first;
    for (auto& [name, database] : databases_) {
      const absl::Status closed = database->Close();
      if (!closed.ok()) ALOS_LOG(kError) << "closing database " << name << ": " << closed;
      first.Update(closed);
    }
    if (first.ok()) first = joint_->Clear();
    joint_.reset();
    databases_.clear();
    lock_.reset();
    return first;
  }

  const EngineOptions& options() const { return options_; }

  // What waits for what, in all databases together.
  std::vector<QueueStatistics> queues() const {
    const EpochManager::Statistics epochs = epochs_.statistics();
    return {{"retired", epochs.retired - epochs.reclaimed, 0, 0, 0},
            transaction_bytes_.statistics(),
            hook_seconds_.statistics()};
  }

 private:
  static constexpr int kScrubberNice = 15;
  static constexpr std::size_t kDatabaseNameSizeMax = 64;
  static constexpr std::uint32_t kShardsMax = 4096;

  BasicEngine(FileSystem* file_system, EngineOptions options)
      : file_system_(file_system),
        options_(std::move(options)),
        joint_(std::make_unique<engine_internal::JointCommitter<Policies>>(file_system, options_)) {
    hook_seconds_.SetBound(static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, absl::ToInt64Seconds(options_.history_retention))));
    transaction_bytes_.SetBound(options_.all_transactions_bytes_max);
  }

  static FileSystem* DefaultFileSystem() {
    static FileSystem* const file_system = new FileSystem();
    return file_system;
  }

  static absl::Status CheckOptions(const EngineOptions& options) {
    if (options.data_path.empty()) return absl::InvalidArgumentError("the data path is empty");
    if (options.shards == 0 || options.shards > kShardsMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("shards must be from 1 to ", kShardsMax, ", not ", options.shards));
    }
    if (options.compression_level != 0 &&
        !engine_internal::HasCodecLevel<typename Policies::Codecs>(options.compression_level)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "no codec of this build has the compression level ", options.compression_level));
    }
    if (!(options.compact_stale_ratio > 0 && options.compact_stale_ratio <= 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the stale ratio of compaction must be above 0 and at most 1, not ",
                       options.compact_stale_ratio));
    }
    return absl::OkStatus();
  }

  // Names are directories: letters, digits, '_', '-' and '.', not at the start.
  static absl::Status CheckDatabaseName(std::string_view name) {
    bool good = !name.empty() && name.size() <= kDatabaseNameSizeMax && name.front() != '.';
    for (const char c : name)
      good = good && (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                      c == '.');
    if (good) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("a database name has 1 to ", kDatabaseNameSizeMax,
                     " characters out of a-z A-Z 0-9 _ - . and does not begin with a dot"));
  }

  absl::StatusOr<Database*> OpenDatabase(std::string_view name, bool create) {
    {
      absl::ReaderMutexLock lock(&mutex_);
      const auto found = databases_.find(name);
      if (found != databases_.end()) return found->second.get();
    }
    ALOS_RETURN_IF_ERROR(CheckDatabaseName(name));
    absl::MutexLock lock(&mutex_);
    std::unique_ptr<Database>& slot = databases_[name];
    if (slot == nullptr) {
      auto opened = Database::Open(file_system_, &epochs_, &transaction_bytes_,
                                   absl::StrCat(options_.data_path, "/", name), options_, create);
      if (!opened.ok()) {
        databases_.erase(name);
        return opened.status();
      }
      slot = *std::move(opened);
    }
    return slot.get();
  }

  // Checkpoints what has grown, once a second.
  void Maintain() {
    while (true) {
      {
        absl::MutexLock lock(&stop_mutex_);
        if (stop_mutex_.AwaitWithTimeout(absl::Condition(&stop_), absl::Seconds(1))) return;
      }
      std::vector<Database*> databases;
      {
        absl::ReaderMutexLock lock(&mutex_);
        for (const auto& [name, database] : databases_) databases.push_back(database.get());
      }
      for (Database* database : databases) {
        if (const absl::Status status = database->CheckpointIfDue(); !status.ok()) {
          ALOS_LOG(kError) << database->directory() << ": checkpoint: " << status;
        }
      }
    }
  }

  // Tells the hook what was committed to its collections.
  void TellHook() {
    absl::flat_hash_map<Database*, ChangesQuery> queries;
    while (true) {
      {
        absl::MutexLock lock(&stop_mutex_);
        if (stop_mutex_.AwaitWithTimeout(absl::Condition(&stop_), absl::Milliseconds(10))) return;
      }
      std::vector<std::pair<std::string, Database*>> databases;
      {
        absl::ReaderMutexLock lock(&mutex_);
        for (const auto& [name, database] : databases_)
          databases.emplace_back(name, database.get());
      }
      for (const auto& [name, database] : databases) {
        const auto [at, is_new] = queries.try_emplace(database);
        ChangesQuery& query = at->second;
        if (is_new) {
          query.collections = options_.hook_collections;
          query.position = ChangePosition::After(database->opened_timestamp());
        }
        // Everything up to here has been told; so this is how far behind it is.
        const absl::Time begin = absl::Now();
        const absl::StatusOr<ChangePosition> next =
            database->ReadChanges(query, [&, &database_name = name](const Change& change) {
              options_.hook(database_name, change);
              hook_seconds_.Set(static_cast<std::uint64_t>(
                  std::max<std::int64_t>(0, absl::ToInt64Seconds(absl::Now() - begin))));
              return true;
            });
        hook_seconds_.Set(0);
        if (next.ok()) {
          query.position = *next;
          continue;
        }
        ALOS_LOG(kError) << database->directory()
                         << ": changes were missed by the hook: " << next.status();
        query.position = ChangePosition::After(database->ReadTimestamp());
      }
    }
  }

  // Deletes expired documents, once per expiry_interval.
  void Expire() {
    while (true) {
      {
        absl::MutexLock lock(&stop_mutex_);
        if (stop_mutex_.AwaitWithTimeout(absl::Condition(&stop_), options_.expiry_interval)) return;
      }
      std::vector<Database*> databases;
      {
        absl::ReaderMutexLock lock(&mutex_);
        for (const auto& [name, database] : databases_) databases.push_back(database.get());
      }
      for (Database* database : databases) {
        const absl::StatusOr<std::uint64_t> deleted = database->DeleteExpired([this] {
          absl::MutexLock lock(&stop_mutex_);
          return !stop_;
        });
        if (!deleted.ok()) {
          ALOS_LOG(kError) << database->directory()
                           << ": deleting expired documents: " << deleted.status();
        }
      }
    }
  }

  // Verifies all records, once per scrub_interval.
  void Scrub() {
    setpriority(PRIO_PROCESS, 0, kScrubberNice);  // of this thread, on Linux
    const auto pause = [this](absl::Duration duration) {
      absl::MutexLock lock(&stop_mutex_);
      return !stop_mutex_.AwaitWithTimeout(absl::Condition(&stop_), duration);
    };
    absl::Duration wait = std::min(absl::Hours(1), options_.scrub_interval);
    while (pause(wait)) {
      wait = options_.scrub_interval;
      std::vector<Database*> databases;
      {
        absl::ReaderMutexLock lock(&mutex_);
        for (const auto& [name, database] : databases_) databases.push_back(database.get());
      }
      for (Database* database : databases) {
        const absl::Time began = absl::Now();
        const absl::StatusOr<std::uint64_t> damaged =
            database->Scrub(options_.scrub_bytes_per_second, pause);
        if (!damaged.ok()) {
          ALOS_LOG(kError) << database->directory() << ": scrubbing: " << damaged.status();
        } else if (*damaged != 0) {
          ALOS_LOG(kError) << database->directory() << ": scrubbing found " << *damaged
                           << " damaged records; restore a backup, or stop and run alos repair";
        } else {
          ALOS_LOG(kInfo) << database->directory() << ": scrubbed in "
                          << absl::FormatDuration(
                                 absl::Trunc(absl::Now() - began, absl::Milliseconds(1)))
                          << ", no damage";
        }
      }
    }
  }

  std::thread Thread(void (BasicEngine::*life)()) {
    return std::thread([this, life] {
      const MemoryReserve::Critical critical(std::nothrow);  // nobody would hear of an exception
      (this->*life)();
    });
  }

  // Compacts what is due, looked at once a second.
  void Compact() {
    const auto go_on = [this] {
      absl::MutexLock lock(&stop_mutex_);
      return !stop_;
    };
    while (true) {
      {
        absl::MutexLock lock(&stop_mutex_);
        if (stop_mutex_.AwaitWithTimeout(absl::Condition(&stop_), absl::Seconds(1))) return;
      }
      std::vector<Database*> databases;
      {
        absl::ReaderMutexLock lock(&mutex_);
        for (const auto& [name, database] : databases_) databases.push_back(database.get());
      }
      // Errors are in its log, and in the database's statistics.
      for (Database* database : databases) database->CompactIfDue(go_on).IgnoreError();
    }
  }

  void StopMaintenance() {
    {
      absl::MutexLock lock(&stop_mutex_);
      stop_ = true;
    }
    if (maintenance_.joinable()) maintenance_.join();
    if (expiry_.joinable()) expiry_.join();
    if (scrubber_.joinable()) scrubber_.join();
    if (hook_.joinable()) hook_.join();
    if (compaction_.joinable()) compaction_.join();
  }

  FileSystem* const file_system_;
  const EngineOptions options_;
  std::unique_ptr<typename FileSystem::LockType> lock_;
  EpochManager epochs_;
  // What open transactions take.
  QueueGauge transaction_bytes_{
      "transaction_bytes", 0,
      "writes of transactions are refused when it is full; end transactions sooner, make them "
      "smaller, or raise --transactions-memory-mb"};
  // How far the hook is behind.
  QueueGauge hook_seconds_{
      "hook_seconds", 0,
      "the hook is so slow that changes will be missed when it is full; --history-retention says "
      "for how long they are kept"};

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::unique_ptr<Database>> databases_ ABSL_GUARDED_BY(mutex_);

  // Behind the databases: it may have transactions in them.
  std::unique_ptr<engine_internal::JointCommitter<Policies>> joint_;

  absl::Mutex stop_mutex_;
  bool stop_ ABSL_GUARDED_BY(stop_mutex_) = false;
  std::thread maintenance_;
  std::thread expiry_;
  std::thread scrubber_;
  std::thread hook_;
  std::thread compaction_;
};

// The engine with the first durability policy of the build: `async` by default.
using Engine = BasicEngine<Policies<DefaultDurability>>;

}  // namespace alos

#endif  // ALOS_ENGINE_ENGINE_H_
