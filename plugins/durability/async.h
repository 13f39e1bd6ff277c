// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// `--sync-mode async`: a write is acknowledged once it is in the page cache, and flushed within the
// flush interval. The death of the process loses nothing; a power failure loses at most the last
// interval, always a suffix of each shard.

#ifndef ALOS_PLUGINS_DURABILITY_ASYNC_H_
#define ALOS_PLUGINS_DURABILITY_ASYNC_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/memory_reserve.h"
#include "alos/storage/durability.h"
#include "alos/txn/timestamp_oracle.h"

namespace alos {

struct AsyncDurability {
  static constexpr std::string_view kName = "async";
  static constexpr bool kAcknowledgedIsDurable = false;

  // Cost of a commit: two atomic operations on shared cache lines; no lock, no system call.
  template <class FileSystem>
  class Log {
   public:
    static absl::StatusOr<std::unique_ptr<Log>> Open(FileSystem&, DurabilityOptions options) {
      return std::unique_ptr<Log>(new Log(std::move(options)));
    }

    ~Log() { StopFlusher(); }

    template <class Seal>
    absl::StatusOr<std::uint64_t> Commit(Seal&& seal, absl::Span<const CounterDelta> deltas) {
      if (failed_.load(std::memory_order_relaxed)) return health();
      const std::uint64_t timestamp = timestamps_.Allocate();
      try {
        seal(timestamp);
      } catch (const std::bad_alloc&) {
        // In the middle of it. Nobody may wait for this commit for ever.
        Fail(absl::ResourceExhaustedError("out of memory in the middle of a commit"));
        timestamps_.Install(timestamp);
        throw;
      }
      timestamps_.Install(timestamp);
      for (const CounterDelta& delta : deltas)
        delta.counter->fetch_add(delta.delta, std::memory_order_relaxed);
      return timestamp;
    }

    std::uint64_t visible_timestamp() const { return timestamps_.visible(); }

    // Waits, yielding, for commits of other threads that took an earlier timestamp and are still
    // installing: the copy of a header or a few, so a callback queue would cost more than it saves.
    void NotifyVisible(std::uint64_t timestamp, const VisibleCallback& callback) {
      while (timestamps_.visible() < timestamp) std::this_thread::yield();
      callback(absl::OkStatus());
    }

    absl::Status Flush() {
      if (failed_.load(std::memory_order_relaxed)) return health();
      const absl::Status status = options_.sync_shards();
      if (!status.ok() && !absl::IsResourceExhausted(status)) Fail(status);
      return status;
    }

    absl::Status health() const {
      absl::MutexLock lock(&mutex_);
      return health_;
    }

    absl::Status Close() {
      StopFlusher();
      return Flush();
    }

   private:
    explicit Log(DurabilityOptions options)
        : options_(std::move(options)),
          timestamps_(options_.newest_timestamp),
          flusher_([this] { FlushPeriodically(); }) {}

    void FlushPeriodically() {
      const MemoryReserve::Critical critical(std::nothrow);  // nobody would hear of an exception
      while (true) {
        {
          absl::MutexLock lock(&mutex_);
          if (mutex_.AwaitWithTimeout(absl::Condition(&stop_), options_.flush_interval)) return;
        }
        Flush().IgnoreError();  // a full disk may have room the next time
        if (failed_.load(std::memory_order_relaxed)) return;
      }
    }

    // After a failed flush the page cache can no longer be trusted to reach the disk: no further
    // write is accepted, and what was acknowledged since the last good flush may be lost.
    void Fail(const absl::Status& status) {
      absl::MutexLock lock(&mutex_);
      if (!health_.ok()) return;
      health_ = absl::UnavailableError(
          absl::StrCat("the database is read-only: a flush failed (", status.message(),
                       "); writes of the last moments may be lost; check the disk, then restart"));
      failed_.store(true, std::memory_order_relaxed);
    }

    void StopFlusher() {
      {
        absl::MutexLock lock(&mutex_);
        stop_ = true;
      }
      if (flusher_.joinable()) flusher_.join();
    }

    const DurabilityOptions options_;
    TimestampOracle timestamps_;
    std::atomic<bool> failed_{false};
    mutable absl::Mutex mutex_;
    absl::Status health_ ABSL_GUARDED_BY(mutex_);
    bool stop_ ABSL_GUARDED_BY(mutex_) = false;
    std::thread flusher_;  // last: it uses the others
  };
};

}  // namespace alos

#endif  // ALOS_PLUGINS_DURABILITY_ASYNC_H_
