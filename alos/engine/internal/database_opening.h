// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// How a database is opened: its manifest, recovery, and the indexes there are; and closed. The
// members of BasicDatabase (database.h) that do this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_OPENING_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_OPENING_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/epoch.h"
#include "alos/base/log.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/status_macros.h"
#include "alos/cache/cache.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/compactor.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/recovery_report.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/internal/unique_enforcer.h"
#include "alos/engine/options.h"
#include "alos/index/index_definition.h"
#include "alos/storage/durability.h"
#include "alos/storage/journal.h"
#include "alos/storage/manifest.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

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
absl::Status BasicDatabase<Policies>::Close() {
  const absl::Status checkpoint = Checkpoint();
  indexer_->Stop();
  const absl::Status closed = durability_->Close();
  return checkpoint.ok() ? closed : checkpoint;
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_OPENING_H_
