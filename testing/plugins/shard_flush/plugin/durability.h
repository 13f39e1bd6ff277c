// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A durability plugin that lives outside of //plugins: acknowledges a write once the shard files
// themselves are flushed, without a journal. A thread flushes for all commits that have gathered.

#ifndef TESTING_PLUGINS_SHARD_FLUSH_PLUGIN_DURABILITY_H_
#define TESTING_PLUGINS_SHARD_FLUSH_PLUGIN_DURABILITY_H_

#include <atomic>
#include <cstdint>
#include <memory>
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
#include "absl/types/span.h"
#include "alos/base/policy_list.h"
#include "alos/storage/durability.h"

namespace testing_plugins {

struct ShardFlushDurability {
  static constexpr std::string_view kName = "shard-flush";
  static constexpr bool kAcknowledgedIsDurable = true;

  template <class FileSystem>
  class Log {
   public:
    static absl::StatusOr<std::unique_ptr<Log>> Open(FileSystem&, alos::DurabilityOptions options) {
      return std::unique_ptr<Log>(new Log(std::move(options)));
    }
    ~Log() { StopFlusher(); }

    template <class Seal>
    absl::StatusOr<std::uint64_t> Commit(Seal&& seal, absl::Span<const alos::CounterDelta> deltas) {
      absl::MutexLock lock(&mutex_);
      if (!health_.ok()) return health_;
      // Sealed under the lock, so that the flusher sees whole commits only.
      seal(++last_);
      deltas_.insert(deltas_.end(), deltas.begin(), deltas.end());
      return last_;
    }

    std::uint64_t visible_timestamp() const { return visible_.load(std::memory_order_acquire); }

    void NotifyVisible(std::uint64_t timestamp, alos::VisibleCallback callback) {
      absl::Status status;
      {
        absl::MutexLock lock(&mutex_);
        if (visible_.load(std::memory_order_relaxed) < timestamp) {
          if (health_.ok()) {
            waiters_.push_back({timestamp, std::move(callback)});
            return;
          }
          status = health_;
        }
      }
      callback(status);
    }

    absl::Status Flush() {
      std::uint64_t last = 0;
      {
        absl::MutexLock lock(&mutex_);
        last = last_;
      }
      absl::Notification done;
      absl::Status result;
      NotifyVisible(last, [&](absl::Status status) {
        result = std::move(status);
        done.Notify();
      });
      done.WaitForNotification();
      return result;
    }

    absl::Status health() const {
      absl::MutexLock lock(&mutex_);
      return health_;
    }

    absl::Status Close() {
      absl::Status flushed = Flush();
      StopFlusher();
      if (!flushed.ok()) return flushed;
      return options_.sync_shards();
    }

   private:
    struct Waiter {
      std::uint64_t timestamp;
      alos::VisibleCallback callback;
    };

    explicit Log(alos::DurabilityOptions options)
        : options_(std::move(options)),
          visible_(options_.newest_timestamp),
          last_(options_.newest_timestamp),
          flusher_([this] { FlushGroups(); }) {}

    bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return stop_ || (health_.ok() && last_ > visible_.load(std::memory_order_relaxed));
    }

    void FlushGroups() {
      while (true) {
        std::uint64_t newest = 0;
        std::vector<alos::CounterDelta> deltas;
        {
          absl::MutexLock lock(&mutex_);
          mutex_.Await(absl::Condition(this, &Log::HasWork));
          if (stop_) return;
          newest = last_;
          deltas.swap(deltas_);
        }
        const absl::Status status = options_.sync_shards();
        std::vector<Waiter> ready;
        {
          absl::MutexLock lock(&mutex_);
          if (status.ok()) {
            for (const alos::CounterDelta& delta : deltas) delta.counter->fetch_add(delta.delta);
            visible_.store(newest, std::memory_order_release);
          } else {
            health_ = absl::UnavailableError(
                absl::StrCat("the database is read-only: a flush failed (", status.message(), ")"));
          }
          std::vector<Waiter> rest;
          for (Waiter& waiter : waiters_) {
            (!status.ok() || waiter.timestamp <= newest ? ready : rest)
                .push_back(std::move(waiter));
          }
          waiters_ = std::move(rest);
        }
        for (const Waiter& waiter : ready) {
          waiter.callback(status.ok() ? status : health());
        }
      }
    }

    void StopFlusher() {
      {
        absl::MutexLock lock(&mutex_);
        stop_ = true;
      }
      if (flusher_.joinable()) flusher_.join();
      std::vector<Waiter> left;
      {
        absl::MutexLock lock(&mutex_);
        left.swap(waiters_);
      }
      for (const Waiter& waiter : left) {
        waiter.callback(
            absl::UnavailableError("the database was closed before the write was flushed"));
      }
    }

    const alos::DurabilityOptions options_;
    std::atomic<std::uint64_t> visible_;
    mutable absl::Mutex mutex_;
    std::uint64_t last_ ABSL_GUARDED_BY(mutex_);
    std::vector<alos::CounterDelta> deltas_ ABSL_GUARDED_BY(mutex_);
    std::vector<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
    absl::Status health_ ABSL_GUARDED_BY(mutex_);
    bool stop_ ABSL_GUARDED_BY(mutex_) = false;
    std::thread flusher_;  // Last: it uses the others.
  };
};

}  // namespace testing_plugins

namespace alos::plugin {

using DurabilityPolicies = PolicyList<testing_plugins::ShardFlushDurability>;

}  // namespace alos::plugin

#endif  // TESTING_PLUGINS_SHARD_FLUSH_PLUGIN_DURABILITY_H_
