// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What keeps a database well: checkpoints, compaction, backup, scrubbing, statistics. The members
// of BasicDatabase (database.h) that do this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_UPKEEP_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_UPKEEP_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/epoch.h"
#include "alos/base/log.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/status_macros.h"
#include "alos/cache/cache.h"
#include "alos/document/builder.h"
#include "alos/engine/backup_state.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/compactor.h"
#include "alos/engine/internal/cursor_table.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/recovery_report.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/internal/unique_enforcer.h"
#include "alos/engine/options.h"
#include "alos/engine/results.h"
#include "alos/storage/durability.h"
#include "alos/storage/manifest.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

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

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_UPKEEP_H_
