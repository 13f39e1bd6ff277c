// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// `--sync-mode sync`: a write is visible and acknowledged once the flush of its commit group has
// returned. Groups go to the write-ahead journal (alos/storage/journal.h): while one is flushed,
// the next one gathers, so the flushes per second of the disk are shared by all connections.
// A failed flush is final. A full disk is not: writes are refused until there is room.

#ifndef ALOS_PLUGINS_DURABILITY_SYNC_H_
#define ALOS_PLUGINS_DURABILITY_SYNC_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/atomics.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/queue_gauge.h"
#include "alos/storage/durability.h"
#include "alos/storage/journal.h"

namespace alos {

struct SyncDurability {
  static constexpr std::string_view kName = "sync";
  static constexpr bool kAcknowledgedIsDurable = true;

  // Cost of a commit: one lock for the order of the journal, one copy of the record into the group.
  template <class FileSystem, class Atomics = StdAtomics>
  class Log {
    using MutexLock = typename Atomics::MutexLock;
    using Condition = typename Atomics::Condition;
    using Thread = typename Atomics::Thread;

   public:
    static absl::StatusOr<std::unique_ptr<Log>> Open(FileSystem& file_system,
                                                     DurabilityOptions options) {
      // Everything is durable in the shard logs, so what older segments say is done with.
      ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> old,
                            ListJournal(file_system, options.directory));
      const std::uint64_t sequence = old.empty() ? 1 : old.back() + 1;
      auto log = std::unique_ptr<Log>(new Log(file_system, std::move(options)));
      absl::StatusOr<std::unique_ptr<JournalSegment<FileSystem>>> segment =
          log->NewSegment(sequence, log->visible_);
      if (segment.ok()) {
        log->segment_ = *std::move(segment);
      } else if (absl::IsResourceExhausted(segment.status())) {
        // What is there can be read. The flusher makes the segment once there is room.
        log->first_sequence_ = sequence;
        MutexLock lock(&log->mutex_);
        log->SetFull(segment.status());
      } else {
        return segment.status();
      }
      for (const std::uint64_t number : old) ALOS_RETURN_IF_ERROR(log->RemoveSegment(number));
      log->flusher_ = Thread([raw = log.get()] { raw->FlushGroups(); });
      log->checkpointer_ = Thread([raw = log.get()] { raw->TrimJournal(); });
      return log;
    }

    ~Log() { StopThreads(); }

    template <class Seal>
    absl::StatusOr<std::uint64_t> Commit(Seal&& seal, absl::Span<const CounterDelta> deltas) {
      MutexLock lock(&mutex_);
      mutex_.Await(Condition(this, &Log::CanCommit));
      if (!health_.ok()) return health_;
      if (!full_.ok()) return full_;
      const std::uint64_t timestamp = ++last_lsn_;
      try {
        for (const CommitRecord& record : seal(timestamp)) gathering_.group.Add(timestamp, record);
        gathering_.deltas.insert(gathering_.deltas.end(), deltas.begin(), deltas.end());
        group_bytes_.Set(gathering_.group.size_bytes());
      } catch (const std::bad_alloc&) {
        // In the middle of it: memory and journal may differ.
        health_ = absl::UnavailableError(
            "the database is read-only: out of memory in the middle of a commit; restart");
        throw;
      }
      return timestamp;
    }

    std::uint64_t visible_timestamp() const { return visible_.load(std::memory_order_acquire); }

    void NotifyVisible(std::uint64_t timestamp, VisibleCallback callback) {
      absl::Status status;
      {
        MutexLock lock(&mutex_);
        if (visible_.load(std::memory_order_relaxed) < timestamp) {
          if (health_.ok()) {
            waiters_.push_back({timestamp, std::move(callback)});
            waiting_.Set(waiters_.size());
            return;
          }
          status = OutcomeUnknown(health_);
        }
      }
      callback(status);
    }

    absl::Status Flush() {
      std::uint64_t newest = 0;
      {
        MutexLock lock(&mutex_);
        newest = last_lsn_;
      }
      absl::Notification done;
      absl::Status result;
      NotifyVisible(newest, [&](absl::Status status) {
        result = std::move(status);
        done.Notify();
      });
      done.WaitForNotification();
      return result;
    }

    // What writes fill and flushes empty. Commits wait while one is full.
    std::vector<QueueStatistics> queues() const {
      return {group_bytes_.statistics(), waiting_.statistics()};
    }
    // Whether commits soon have to wait.
    bool is_crowded() const { return group_bytes_.is_nearly_full() || waiting_.is_nearly_full(); }

    absl::Status health() const {
      MutexLock lock(&mutex_);
      return health_;
    }

    // With the shard logs flushed no journal is needed: a clean store has none.
    absl::Status Close() {
      const absl::Status flushed = Flush();
      StopThreads();
      ALOS_RETURN_IF_ERROR(flushed);
      ALOS_RETURN_IF_ERROR(options_.sync_shards());
      ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> segments,
                            ListJournal(file_system_, options_.directory));
      return RemoveJournal(file_system_, options_.directory, segments);
    }

   private:
    struct Gathered {
      JournalGroup group;
      std::vector<CounterDelta> deltas;
    };
    struct Waiter {
      std::uint64_t timestamp;
      VisibleCallback callback;
    };

    // Then commits wait: backpressure.
    static constexpr std::size_t kGroupSizeMax = 64 << 20;
    static constexpr std::size_t kWaitersMax = 1 << 16;
    // How long writes that came before the disk was known to be full wait for room.
    static constexpr absl::Duration kFullPatience = absl::Seconds(5);
    static constexpr absl::Duration kFullRetryInterval = absl::Milliseconds(100);

    Log(FileSystem& file_system, DurabilityOptions options)
        : file_system_(file_system),
          options_(std::move(options)),
          visible_(options_.newest_timestamp),
          last_lsn_(options_.newest_timestamp) {}

    absl::StatusOr<std::unique_ptr<JournalSegment<FileSystem>>> NewSegment(std::uint64_t sequence,
                                                                           std::uint64_t base_lsn) {
      std::random_device random;
      const std::uint64_t generation = std::uint64_t{random()} << 32 | random();
      return JournalSegment<FileSystem>::Create(
          file_system_, options_.directory, options_.database_id, sequence, generation, base_lsn);
    }

    absl::Status RemoveSegment(std::uint64_t sequence) {
      return file_system_.Remove(absl::StrCat(options_.directory, "/", JournalFileName(sequence)));
    }

    bool CanCommit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return (gathering_.group.size_bytes() < kGroupSizeMax && waiters_.size() < kWaitersMax) ||
             !health_.ok();
    }
    bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return stop_ || !gathering_.group.empty() || !full_.ok();
    }
    bool MustTrim() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return stop_ || trim_below_ != 0;
    }

    // The flusher's life: take the gathered group, write and flush it, make it visible.
    void FlushGroups() {
      const MemoryReserve::Critical critical(std::nothrow);  // nobody would hear of an exception
      Gathered flushing;
      while (true) {
        {
          MutexLock lock(&mutex_);
          mutex_.Await(Condition(this, &Log::HasWork));
          if (gathering_.group.empty() && (stop_ || full_.ok())) return;
          std::swap(flushing, gathering_);
          group_bytes_.Set(0);
        }
        absl::Status status = TakeRoom(flushing.group);
        // Without commits it was only the first segment that had no room.
        if (status.ok() && flushing.group.empty()) continue;
        if (status.ok()) status = segment_->Append(flushing.group, visible_);
        std::vector<Waiter> ready;
        {
          MutexLock lock(&mutex_);
          if (status.ok()) {
            for (const CounterDelta& delta : flushing.deltas)
              delta.counter->fetch_add(delta.delta, std::memory_order_relaxed);
            visible_.store(flushing.group.last_lsn(), std::memory_order_release);
            if (rotated_to_ != 0) trim_below_ = std::exchange(rotated_to_, 0);
          } else {
            // Final: a later flush that succeeds would prove nothing about these bytes.
            health_ = absl::UnavailableError(
                absl::StrCat("the database is read-only: the journal could not be flushed (",
                             status.message(), "); check the disk, then restart"));
          }
          if (!status.ok()) status = OutcomeUnknown(health_);
          TakeReady(!status.ok(), &ready);
        }
        for (Waiter& waiter : ready) waiter.callback(status);
        if (!status.ok()) return;
        flushing.group.Clear();
        flushing.deltas.clear();
      }
    }

    // Waiters whose time has come; all of them if `everybody`.
    void TakeReady(bool everybody, std::vector<Waiter>* ready)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      const std::uint64_t visible = visible_.load(std::memory_order_relaxed);
      for (std::size_t i = 0; i < waiters_.size();) {
        if (everybody || waiters_[i].timestamp <= visible) {
          ready->push_back(std::move(waiters_[i]));
          waiters_[i] = std::move(waiters_.back());
          waiters_.pop_back();
        } else {
          ++i;
        }
      }
      waiting_.Set(waiters_.size());
    }

    // Makes room for a group, however long that takes: a full disk takes nothing of what was
    // committed, and no new commit is accepted meanwhile. The flusher's.
    absl::Status TakeRoom(const JournalGroup& group) {
      absl::Status status = TryTakeRoom(group);
      if (!absl::IsResourceExhausted(status)) return status;
      const absl::Time patience = absl::Now() + kFullPatience;
      while (absl::IsResourceExhausted(status)) {
        std::vector<Waiter> ready;
        absl::Status outcome;
        {
          MutexLock lock(&mutex_);
          SetFull(status);
          if (mutex_.AwaitWithTimeout(Condition(&stop_), kFullRetryInterval)) return status;
          if (absl::Now() > patience) TakeReady(true, &ready);
          outcome = OutcomeUnknown(full_);
        }
        for (Waiter& waiter : ready) waiter.callback(outcome);
        status = TryTakeRoom(group);
      }
      MutexLock lock(&mutex_);
      full_ = absl::OkStatus();
      return status;
    }

    // kResourceExhausted: nothing was written, it may be tried again.
    absl::Status TryTakeRoom(const JournalGroup& group) {
      if (segment_ == nullptr) {
        ALOS_ASSIGN_OR_RETURN(segment_, NewSegment(first_sequence_, visible_));
      } else if (segment_->size_bytes() >= options_.journal_segment_bytes) {
        // What is in the full segment stays recoverable until the shard logs hold it durably.
        const std::uint64_t sequence = segment_->sequence() + 1;
        ALOS_ASSIGN_OR_RETURN(segment_, NewSegment(sequence, visible_));
        rotated_to_ = sequence;
      }
      return group.empty() ? absl::OkStatus() : segment_->Reserve(group);
    }

    void SetFull(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      full_ = absl::ResourceExhaustedError(
          absl::StrCat("the journal cannot grow (", status.message(),
                       "); nothing was written; reads go on, and writes once there is room"));
    }

    // The checkpointer's life: flush the shard logs, then remove the segments before `trim_below_`.
    void TrimJournal() {
      const MemoryReserve::Critical critical(std::nothrow);
      while (true) {
        std::uint64_t below = 0;
        {
          MutexLock lock(&mutex_);
          mutex_.Await(Condition(this, &Log::MustTrim));
          if (stop_) return;
          below = trim_below_;
        }
        absl::Status status = options_.sync_shards();
        if (absl::IsResourceExhausted(status)) {  // the journal has everything, and can wait
          MutexLock lock(&mutex_);
          mutex_.AwaitWithTimeout(Condition(&stop_), kFullRetryInterval);
          continue;
        }
        if (status.ok()) {
          absl::StatusOr<std::vector<std::uint64_t>> segments =
              ListJournal(file_system_, options_.directory);
          status = segments.status();
          for (std::size_t i = 0; status.ok() && i < segments->size() && (*segments)[i] < below;
               ++i) {
            status = RemoveSegment((*segments)[i]);
          }
        }
        if (status.ok()) {
          MutexLock lock(&mutex_);
          if (trim_below_ == below) trim_below_ = 0;
        } else {
          // The journal still has everything, so nothing is lost; but the shard files cannot be
          // trusted, and the journal would grow without bound.
          MutexLock lock(&mutex_);
          health_ = absl::UnavailableError(
              absl::StrCat("the database is read-only: the shard files could not be flushed (",
                           status.message(), "); check the disk, then restart"));
          return;
        }
      }
    }

    static absl::Status OutcomeUnknown(const absl::Status& reason) {
      return absl::UnavailableError(
          absl::StrCat("outcome unknown: whether this write survives is known after a restart; ",
                       reason.message()));
    }

    void StopThreads() {
      {
        MutexLock lock(&mutex_);
        stop_ = true;
      }
      if (flusher_.joinable()) flusher_.join();
      if (checkpointer_.joinable()) checkpointer_.join();
    }

    FileSystem& file_system_;
    const DurabilityOptions options_;
    // The flusher's.
    std::unique_ptr<JournalSegment<FileSystem>> segment_;
    std::uint64_t first_sequence_ = 0;  // of the segment that there was no room for
    std::uint64_t rotated_to_ = 0;      // segments before it are to be trimmed
    typename Atomics::template Atomic<std::uint64_t> visible_;

    QueueGauge group_bytes_{
        "journal_group", kGroupSizeMax,
        "the disk does not keep up with the writes, which wait when it is full; "
        "a faster disk, or --max-write-rate, would help"};
    QueueGauge waiting_{"commits", kWaitersMax,
                        "so many writes wait for the disk that more will wait before they begin"};

    mutable typename Atomics::Mutex mutex_;
    Gathered gathering_ ABSL_GUARDED_BY(mutex_);
    std::vector<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
    std::uint64_t last_lsn_ ABSL_GUARDED_BY(mutex_);
    std::uint64_t trim_below_ ABSL_GUARDED_BY(mutex_) = 0;  // 0: nothing to trim
    absl::Status health_ ABSL_GUARDED_BY(mutex_);
    absl::Status full_ ABSL_GUARDED_BY(mutex_);  // why there is no room for now, or OK
    bool stop_ ABSL_GUARDED_BY(mutex_) = false;
    Thread flusher_;
    Thread checkpointer_;
  };
};

}  // namespace alos

#endif  // ALOS_PLUGINS_DURABILITY_SYNC_H_
