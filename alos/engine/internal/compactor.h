// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compaction: gives the space of what was deleted and replaced back, while everybody goes on.
//
// The live documents of the first part of a shard's log are written once more, at its end, as
// ordinary commits that change nothing (kRelocated). When nobody reads a snapshot any more in which
// they are where they were, the log begins behind that part (docs/format.md), and the part becomes
// a hole of the file. Offsets stay what they were, so nothing else has to know.
// docs/decisions/0007-compaction-moves-documents-to-the-end.md says why.

#ifndef ALOS_ENGINE_INTERNAL_COMPACTOR_H_
#define ALOS_ENGINE_INTERNAL_COMPACTOR_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/epoch.h"
#include "alos/base/log.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/status_macros.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/shard.h"
#include "alos/storage/durability.h"
#include "alos/txn/snapshot_registry.h"

namespace alos::engine_internal {

// When a shard is compacted without being asked for, and how fast.
struct CompactorOptions {
  double stale_ratio = 0.5;      // of the bytes of its log
  std::uint64_t bytes_min = 0;   // smaller logs are left alone
  std::uint64_t rate_bytes = 0;  // moved in a second; 0: as fast as it goes
};

// What compaction needs of its database. All may be called by any thread.
struct CompactorHooks {
  // The collections that there are. Whoever writes a record has made its collection before.
  std::function<absl::flat_hash_set<std::uint32_t>()> live_collections;
  // Blocks until a commit may be acknowledged.
  std::function<absl::Status(std::uint64_t)> wait_visible;
  // Everything visible is in the shard logs and durable when this returns OK.
  std::function<absl::Status()> sync_shards;
  // From here on the store can only be opened by who knows of compaction: durable.
  std::function<absl::Status()> announce;
};

struct CompactorStatistics {
  std::uint64_t runs = 0;        // that gave something back
  std::uint64_t bytes_back = 0;  // to the file system
  std::uint64_t bytes_moved = 0;
  std::uint64_t waiting_shards = 0;              // moved; old snapshots still read what was
  std::int64_t running_shard = -1;               // -1: none
  std::uint64_t longest_pause_microseconds = 0;  // that we held a shard's writer role for
  std::string last_error;                        // of the last run; empty: it had none
};

// Threads: all members, any; one run at a time, others wait. Lifetime: everything it is given must
// outlive it. Durability: killed at any time it leaves a store in which nothing is missing; space
// that was to be given back is then found to be stale, or given back, by the next run. Errors: a
// shard with an error is left as it is, the others go on; kDataLoss names a damaged record, before
// which compaction stops; kResourceExhausted: the disk is full, what was moved by then is given
// back.
// Cost: reads the part once, writes its live documents once; each writer role is held for some
// hundred microseconds at a time (for a document larger than 256 KiB: as long as it takes to copy
// it).
template <class Policies>
class Compactor {
 public:
  using ShardType = Shard<Policies>;
  using Shards = std::vector<std::unique_ptr<ShardType>>;
  using DurabilityLog = typename Policies::Durability::template Log<typename Policies::FileSystem>;
  using GoOn = absl::FunctionRef<bool()>;

  Compactor(const ShardContext<Policies>* context, const Shards* shards, DurabilityLog* durability,
            Indexer<Policies>* indexer, SnapshotRegistry* snapshots, CompactorOptions options,
            CompactorHooks hooks)
      : context_(context),
        shards_(shards),
        durability_(durability),
        indexer_(indexer),
        snapshots_(snapshots),
        options_(options),
        hooks_(std::move(hooks)),
        states_(shards->size()) {}
  Compactor(const Compactor&) = delete;
  Compactor& operator=(const Compactor&) = delete;

  // Compacts the shards that are due by the options, or all that have anything stale. Waits
  // `patience` at most for readers of old snapshots, per round: what they keep is given back by a
  // later run. Ends early when `go_on` says false.
  absl::Status Run(bool all, absl::Duration patience, GoOn go_on) {
    absl::MutexLock lock(&run_mutex_);
    absl::Status first = durability_->health();
    if (!first.ok()) return first;
    if (std::any_of(states_.begin(), states_.end(),
                    [](const State& state) { return state.stage != Stage::kIdle; })) {
      first.Update(Finish(patience, go_on));
    }
    // Only what a power failure can take back no more is moved: a copy is a commit of its own, and
    // would stay when the transaction that wrote the document is undone.
    if (all || IsAnyDue()) first.Update(MakeDurable());
    std::uint64_t unfinished = 0;
    const CollectionIds collections = hooks_.live_collections();
    for (std::uint32_t number = 0; number < shards_->size() && go_on(); ++number) {
      std::uint64_t target = 0;
      while (go_on() && IsDue(number, all, target, collections)) {
        running_shard_.store(number, std::memory_order_relaxed);
        absl::Status status = hooks_.announce();
        if (status.ok()) status = Move(number, &target, &unfinished, go_on);
        if (!status.ok()) {
          first.Update(status);
          Postpone(&states_[number], status);
          ALOS_LOG(kWarning) << context_->directory << ": compaction: " << status;
        }
        const bool is_whole = states_[number].stage == Stage::kIdle ||
                              states_[number].until >= target || !status.ok();
        if (unfinished >= kRoundBytes || !is_whole || absl::IsResourceExhausted(status)) {
          first.Update(Finish(patience, go_on));
          unfinished = 0;
        }
        if (is_whole || states_[number].stage != Stage::kIdle) break;
      }
    }
    first.Update(Finish(patience, go_on));
    running_shard_.store(-1, std::memory_order_relaxed);
    absl::MutexLock statistics_lock(&statistics_mutex_);
    statistics_.last_error = first.ok() ? "" : std::string(first.ToString());
    return first;
  }

  CompactorStatistics statistics() const {
    absl::MutexLock lock(&statistics_mutex_);
    CompactorStatistics statistics = statistics_;
    statistics.running_shard = running_shard_.load(std::memory_order_relaxed);
    return statistics;
  }

 private:
  using Write = typename ShardType::Write;
  using MoveOf = typename ShardType::Move;
  using CollectionIds = typename ShardType::CollectionIds;

  // What is moved before space is given back.
  static constexpr std::uint64_t kRoundBytes = std::uint64_t{256} << 20;
  // What is looked at, and moved, at once.
  static constexpr std::uint64_t kScanBytes = std::uint64_t{4} << 20;
  static constexpr std::uint64_t kBatchBytes = std::uint64_t{256} << 10;
  // What may wait for the journal.
  static constexpr std::uint64_t kUnacknowledgedBytes = std::uint64_t{1} << 20;
  static constexpr std::size_t kDeadAtOnce = 256;
  // Pages are taken away from readers and writers of the file meanwhile.
  static constexpr std::uint64_t kHoleBytes = std::uint64_t{8} << 20;
  // Stale bytes that are worth it when somebody asks.
  static constexpr std::uint64_t kStaleBytesMin = 4096;
  static constexpr absl::Duration kRetryAfter = absl::Minutes(10);
  static constexpr absl::Duration kRetryFullDiskAfter = absl::Seconds(10);

  enum class Stage {
    kIdle,
    kMoved,  // its live documents are in `collections`' new places, too
    kBegun,  // the log begins at `until`, in memory
  };
  struct State {
    Stage stage = Stage::kIdle;
    bool is_clean = false;        // what is before the log's begin is a hole
    std::uint64_t until = 0;      // the end of the part
    std::uint64_t timestamp = 0;  // that snapshots must have reached: all of it was moved
    std::uint64_t end = 0;        // of the log then
    bool is_durable = false;      // everything up to `timestamp`, in the logs of all shards
    CollectionIds collections;    // that there were
    absl::Time not_before = absl::InfinitePast();  // after an error
  };

  bool IsAnyDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    const CollectionIds collections = hooks_.live_collections();
    for (std::uint32_t number = 0; number < shards_->size(); ++number) {
      if (IsDue(number, false, 0, collections)) return true;
    }
    return false;
  }

  absl::Status MakeDurable() ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    const std::uint64_t visible = durability_->visible_timestamp();
    if (!Policies::Durability::kAcknowledgedIsDurable) ALOS_RETURN_IF_ERROR(hooks_.sync_shards());
    durable_until_ = visible;
    return absl::OkStatus();
  }

  // `target`: 0, or up to where this run has decided to go.
  bool IsDue(std::uint32_t number, bool all, std::uint64_t target, const CollectionIds& collections)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    ShardType& shard = *(*shards_)[number];
    State& state = states_[number];
    if (shard.log() == nullptr || state.stage != Stage::kIdle) return false;
    if (!state.is_clean) {
      // What a crash, or an error, left.
      state.is_clean = GiveBack(shard, 0, shard.log()->stored_begin().offset).ok();
    }
    if (target != 0) return shard.log()->begin() < target;
    if (!all && absl::Now() < state.not_before) return false;
    absl::MutexLock role(&shard.writer());
    const typename ShardType::Usage usage = shard.usage(collections);
    // Gaps between records are up to a tenth; who asks for compaction does not ask for those.
    if (all) return usage.stale_bytes() > kStaleBytesMin + usage.log_bytes / 8;
    return usage.log_bytes >= std::max<std::uint64_t>(options_.bytes_min, kStaleBytesMin) &&
           static_cast<double>(usage.stale_bytes()) >=
               options_.stale_ratio * static_cast<double>(usage.log_bytes);
  }

  // Moves what is live in the first part of a shard, up to *target (0: its end, which it becomes).
  // What it returns an error for may be done in part: then that part counts.
  absl::Status Move(std::uint32_t number, std::uint64_t* target, std::uint64_t* moved_bytes,
                    GoOn go_on) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    ShardType& shard = *(*shards_)[number];
    State& state = states_[number];
    // First the end: what lies before it is of collections that we find.
    if (*target == 0) *target = shard.log()->end();
    state.collections = hooks_.live_collections();
    const std::uint64_t begin = shard.log()->begin();
    std::uint64_t position = begin;
    std::uint64_t last = 0;
    std::uint64_t unacknowledged = 0;
    std::uint64_t moved = 0;
    absl::Status status;
    std::vector<MoveOf> moves;
    const absl::Time started = absl::Now();
    while (position < *target && moved + *moved_bytes < kRoundBytes) {
      if (!go_on()) break;
      {
        const auto guard = context_->epochs->Enter();
        moves.clear();
        const absl::StatusOr<std::uint64_t> next = shard.FindLive(
            position, *target, durable_until_, kScanBytes, kBatchBytes, state.collections, &moves);
        status = next.status();
        if (!status.ok()) break;
        if (!moves.empty()) {
          const absl::StatusOr<std::pair<std::uint64_t, std::uint64_t>> batch =
              MoveBatch(shard, moves);
          status = batch.status();
          if (!status.ok()) break;
          if (batch->first != 0) last = batch->first;
          moved += batch->second;
          unacknowledged += batch->second;
        }
        if (*next == position) break;  // what follows is newer than what is durable
        position = *next;
      }
      if (unacknowledged >= kUnacknowledgedBytes) {
        status = hooks_.wait_visible(last);
        unacknowledged = 0;
        if (!status.ok()) break;
      }
      if (options_.rate_bytes != 0)
        Pace(started + absl::Seconds(1) *
                           (static_cast<double>(moved) / static_cast<double>(options_.rate_bytes)),
             go_on);
    }
    *moved_bytes += moved;
    {
      absl::MutexLock lock(&statistics_mutex_);
      statistics_.bytes_moved += moved;
    }
    if (position == begin) return status;
    {
      absl::MutexLock role(&shard.writer());
      state.timestamp = shard.newest_timestamp();
      state.end = shard.log()->end();
    }
    state.until = position;
    state.stage = Stage::kMoved;
    state.is_durable = false;
    return status;
  }

  // Returns the commit timestamp, 0 if nothing was written, and how many bytes were.
  absl::StatusOr<std::pair<std::uint64_t, std::uint64_t>> MoveBatch(
      ShardType& shard, const std::vector<MoveOf>& moves) {
    std::vector<Write> writes;
    std::vector<CommitRecord> records;
    writes.reserve(moves.size());
    records.reserve(moves.size() + 1);
    std::uint64_t bytes = 0;
    absl::MutexLock role(&shard.writer());
    const std::int64_t taken = absl::GetCurrentTimeNanos();
    for (const MoveOf& move : moves) {
      absl::StatusOr<std::optional<Write>> write = shard.PrepareMove(move);
      if (!write.ok()) {
        shard.Discard();
        return write.status();
      }
      if (!*write) continue;
      bytes += (*write)->prepared.header.size;
      writes.push_back(**std::move(write));
    }
    if (writes.empty()) return std::make_pair(std::uint64_t{0}, std::uint64_t{0});
    const auto mark = shard.PrepareMark();
    if (!mark.ok()) {
      shard.Discard();
      return mark.status();
    }
    const auto seal = [&](std::uint64_t timestamp) {
      const auto add = [&](const auto& prepared) {
        records.push_back({shard.number(), shard.log()->generation(), prepared.offset,
                           shard.Seal(prepared, timestamp)});
      };
      for (const Write& write : writes) add(write.prepared);
      if (*mark) add(**mark);
      shard.PublishLog();
      for (const Write& write : writes) shard.InstallWrite(write);
      return absl::Span<const CommitRecord>(records);
    };
    const MemoryReserve::Critical critical;
    const absl::StatusOr<std::uint64_t> committed = durability_->Commit(seal, {});
    if (!committed.ok()) {
      shard.Discard();
      return committed.status();
    }
    NotePause(taken);
    return std::make_pair(*committed, bytes);
  }

  // Gives back what no snapshot needs any more, of the shards that have something.
  absl::Status Finish(absl::Duration patience, GoOn go_on)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    if (!go_on()) return absl::OkStatus();
    const absl::Time deadline = absl::Now() + patience;
    absl::Status first = Begin(deadline, go_on);
    std::vector<std::uint32_t> begun;
    for (std::uint32_t i = 0; i < states_.size(); ++i) {
      if (states_[i].stage == Stage::kBegun) begun.push_back(i);
    }
    // Who had found the way to what is before the begin is gone.
    if (!begun.empty() && PassEpoch(deadline, go_on)) {
      for (const std::uint32_t number : begun) first.Update(StoreAndGiveBack(number));
    }
    absl::MutexLock lock(&statistics_mutex_);
    statistics_.waiting_shards = static_cast<std::uint64_t>(
        std::count_if(states_.begin(), states_.end(),
                      [](const State& state) { return state.stage != Stage::kIdle; }));
    return first;
  }

  // From kMoved to kBegun.
  absl::Status Begin(absl::Time deadline, GoOn go_on) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    std::vector<std::uint32_t> moved;
    std::uint64_t newest = 0;
    for (std::uint32_t i = 0; i < states_.size(); ++i) {
      if (states_[i].stage != Stage::kMoved) continue;
      moved.push_back(i);
      if (!states_[i].is_durable) newest = std::max(newest, states_[i].timestamp);
    }
    if (moved.empty()) return absl::OkStatus();
    if (newest != 0) {
      // Whatever transaction has replaced something in these parts is whole in all logs, durably.
      ALOS_RETURN_IF_ERROR(hooks_.wait_visible(newest));
      const std::uint64_t visible = durability_->visible_timestamp();
      ALOS_RETURN_IF_ERROR(hooks_.sync_shards());
      durable_until_ = visible;
      for (const std::uint32_t number : moved) states_[number].is_durable = true;
    }
    const auto is_ready = [&](std::uint32_t number, std::uint64_t floor) {
      const State& state = states_[number];
      return state.timestamp <= floor && indexer_->HasPassed(number, state.end, state.timestamp);
    };
    std::vector<std::uint32_t> ready;
    while (true) {
      const std::uint64_t floor = snapshots_->Raise(durability_->visible_timestamp());
      ready.clear();
      for (const std::uint32_t number : moved) {
        if (is_ready(number, floor)) ready.push_back(number);
      }
      if (ready.size() == moved.size() || absl::Now() >= deadline || !go_on()) break;
      absl::SleepFor(absl::Milliseconds(1));
    }
    // No snapshot is older; who had taken one, or an index as it was, before that is gone.
    if (ready.empty() || !PassEpoch(deadline, go_on)) return absl::OkStatus();
    absl::Status first;
    for (const std::uint32_t number : ready) first.Update(BeginShard(number));
    return first;
  }

  absl::Status BeginShard(std::uint32_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    ShardType& shard = *(*shards_)[number];
    State& state = states_[number];
    // What is left there in the index: deletions, and what was of dropped collections.
    std::vector<MoveOf> dead;
    bool any = true;
    for (int pass = 0; any && pass < kPassesMax; ++pass) {
      any = false;
      std::uint64_t position = 0;
      bool more = true;
      while (more) {
        dead.clear();
        const auto guard = context_->epochs->Enter();
        more = shard.FindDead(state.until, kDeadAtOnce, &position, &dead);
        if (dead.empty()) continue;
        any = true;
        absl::MutexLock role(&shard.writer());
        const std::int64_t taken = absl::GetCurrentTimeNanos();
        if (!shard.RemoveDead(dead, state.collections)) break;
        NotePause(taken);
      }
      if (more) break;
    }
    if (any) {
      state.stage = Stage::kIdle;
      const absl::Status damaged = absl::DataLossError(absl::StrCat(
          shard.log()->path(),
          ": documents that were to be moved are still where they were, or are damaged: the space "
          "before offset ",
          state.until, " is not given back"));
      Postpone(&state, damaged);
      return damaged;
    }
    absl::MutexLock role(&shard.writer());
    shard.SetBegin(state.until, state.collections);
    state.stage = Stage::kBegun;
    return absl::OkStatus();
  }

  absl::Status StoreAndGiveBack(std::uint32_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(run_mutex_) {
    ShardType& shard = *(*shards_)[number];
    State& state = states_[number];
    const std::uint64_t before = shard.log()->stored_begin().offset;
    ALOS_RETURN_IF_ERROR(shard.log()->StoreBegin(state.timestamp));
    state.stage = Stage::kIdle;
    const absl::StatusOr<std::uint64_t> back =
        GiveBack(shard, state.is_clean ? before : 0, state.until);
    state.is_clean = back.ok();
    if (!back.ok()) {
      Postpone(&state, back.status());
      return back.status();
    }
    {
      absl::MutexLock role(&shard.writer());
      if (const typename ShardType::Usage usage = shard.usage(state.collections);
          shard.log()->file_size() - shard.log()->end() > usage.log_bytes / 2) {
        ALOS_RETURN_IF_ERROR(shard.log()->GiveSpareBack().status());
      }
    }
    state.collections.clear();
    ALOS_LOG(kInfo) << shard.log()->path() << ": compacted, " << *back
                    << " bytes given back, the log begins at offset " << state.until;
    absl::MutexLock lock(&statistics_mutex_);
    ++statistics_.runs;
    statistics_.bytes_back += *back;
    return absl::OkStatus();
  }

  static absl::StatusOr<std::uint64_t> GiveBack(ShardType& shard, std::uint64_t from,
                                                std::uint64_t to) {
    std::uint64_t back = 0;
    while (from < to) {
      const std::uint64_t next = std::min(to, (from / kHoleBytes + 1) * kHoleBytes);
      ALOS_ASSIGN_OR_RETURN(const std::uint64_t bytes, shard.log()->GiveBack(from, next));
      back += bytes;
      from = next;
    }
    return back;
  }

  // Waits until every epoch guard that there is now is gone. False: not in time.
  bool PassEpoch(absl::Time deadline, GoOn go_on) {
    const auto passed = std::make_shared<std::atomic<bool>>(false);
    context_->epochs->Retire([passed] { passed->store(true, std::memory_order_release); });
    while (true) {
      context_->epochs->Collect();
      if (passed->load(std::memory_order_acquire)) return true;
      if (absl::Now() >= deadline || !go_on()) return false;
      absl::SleepFor(absl::Microseconds(200));
    }
  }

  static void Postpone(State* state, const absl::Status& why) {
    state->not_before =
        absl::Now() + (absl::IsResourceExhausted(why) ? kRetryFullDiskAfter : kRetryAfter);
  }

  static void Pace(absl::Time until, GoOn go_on) {
    for (absl::Time now = absl::Now(); now < until && go_on(); now = absl::Now())
      absl::SleepFor(std::min(until - now, absl::Milliseconds(20)));
  }

  void NotePause(std::int64_t taken) {
    const auto pause =
        static_cast<std::uint64_t>(std::max<std::int64_t>(0, absl::GetCurrentTimeNanos() - taken)) /
        1000;
    absl::MutexLock lock(&statistics_mutex_);
    statistics_.longest_pause_microseconds =
        std::max(statistics_.longest_pause_microseconds, pause);
  }

  static constexpr int kPassesMax = 16;

  const ShardContext<Policies>* const context_;
  const Shards* const shards_;
  DurabilityLog* const durability_;
  Indexer<Policies>* const indexer_;
  SnapshotRegistry* const snapshots_;
  const CompactorOptions options_;
  const CompactorHooks hooks_;

  absl::Mutex run_mutex_;
  std::vector<State> states_ ABSL_GUARDED_BY(run_mutex_);  // by shard
  // Every transaction up to this timestamp is durable.
  std::uint64_t durable_until_ ABSL_GUARDED_BY(run_mutex_) = 0;

  std::atomic<std::int64_t> running_shard_{-1};
  mutable absl::Mutex statistics_mutex_;
  CompactorStatistics statistics_ ABSL_GUARDED_BY(statistics_mutex_);
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_COMPACTOR_H_
