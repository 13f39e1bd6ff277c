// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a durability policy is: it orders commits, and says when one may be acknowledged.
//
// A policy is a type with a name and, as a member template over the file system, the class of which
// each database has one instance. To write one: see plugins/durability/ for the two that ship, run
// testing/conformance/durability_conformance.h over it, and select it with
// `--//plugins:durability=//your:target`.

#ifndef ALOS_STORAGE_DURABILITY_H_
#define ALOS_STORAGE_DURABILITY_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/storage/shard_log.h"

namespace alos {

// A sealed record of a commit. `bytes` is valid until the commit's Commit() returns.
struct CommitRecord {
  std::uint32_t shard = 0;
  std::uint64_t generation = 0;  // of the shard's log
  std::uint64_t offset = 0;      // in the shard's log
  std::string_view bytes;
};

// A statistic that changes when a commit becomes visible. The counter outlives the policy.
struct CounterDelta {
  std::atomic<std::int64_t>* counter = nullptr;
  std::int64_t delta = 0;
};

struct DurabilityOptions {
  std::string directory;  // of the database; exists
  DatabaseId database_id{};
  std::uint64_t newest_timestamp = 0;  // of what recovery found; all of it is visible
  // How long a policy that does not flush before it acknowledges may wait with the flush.
  absl::Duration flush_interval = absl::Seconds(1);
  // How large a file of a policy that keeps a journal grows before the shard logs are flushed.
  std::uint64_t journal_segment_bytes = std::uint64_t{64} << 20;
  // Flushes every shard log that has unflushed records. From any thread; not from inside Commit.
  // kResourceExhausted: the disk is full, and nothing is lost; ask again. Every other error is
  // final.
  std::function<absl::Status()> sync_shards;
};

// How the callback of NotifyVisible looks; it must not block.
using VisibleCallback = std::function<void(absl::Status)>;

namespace storage_internal {
struct SealArchetype {
  absl::Span<const CommitRecord> operator()(std::uint64_t commit_timestamp) const;
};
}  // namespace storage_internal

// The instance of a policy for one database. Threads: every member may be called at any time.
template <class Log, class FileSystem>
concept DurabilityLog =
    requires(Log& log, const Log& constant, FileSystem& file_system, DurabilityOptions options,
             storage_internal::SealArchetype seal, absl::Span<const CounterDelta> deltas,
             std::uint64_t timestamp, VisibleCallback callback) {
      // Opens after recovery: everything in the shard logs is durable by now. Fails when its own
      // files cannot be made.
      { Log::Open(file_system, options) } -> std::same_as<absl::StatusOr<std::unique_ptr<Log>>>;

      // Called with the writer roles of all touched shards held. Takes the next commit timestamp
      // (strictly increasing), calls `seal(timestamp)` exactly once, which completes and installs
      // the records of the commit, and returns the timestamp. Applies `deltas` when the commit
      // becomes visible. On an error `seal` was not called and nothing happened.
      { log.Commit(seal, deltas) } -> std::same_as<absl::StatusOr<std::uint64_t>>;

      // The newest timestamp at which reads see only what may be acknowledged, and all of it. Never
      // decreases.
      { constant.visible_timestamp() } -> std::same_as<std::uint64_t>;

      // Calls back once `timestamp` is visible (maybe before returning), or with an error once it
      // is known that it never will be: then it is unknown whether the write survives a restart.
      { log.NotifyVisible(timestamp, callback) } -> std::same_as<void>;

      // Everything committed before the call is on stable storage when this returns OK.
      { log.Flush() } -> std::same_as<absl::Status>;

      // OK, or why no commit is accepted any more (a flush failed).
      { constant.health() } -> std::same_as<absl::Status>;

      // May have, besides, `std::vector<QueueStatistics> queues() const`, for statistics, and
      // `bool is_crowded() const`: commits may soon have to wait for room.

      // After the last commit: flushes, and removes what a clean start does not need. No calls
      // after it.
      { log.Close() } -> std::same_as<absl::Status>;
    };

template <class Policy, class FileSystem>
concept DurabilityPolicy = requires {
  { Policy::kName } -> std::convertible_to<std::string_view>;  // the value of --sync-mode
  // Whether an acknowledged write survives a power failure: for messages and flag checks.
  { Policy::kAcknowledgedIsDurable } -> std::convertible_to<bool>;
  typename Policy::template Log<FileSystem>;
} && DurabilityLog<typename Policy::template Log<FileSystem>, FileSystem>;

// Fails to compile with one readable line when `Policy` is not a durability policy.
template <class Policy, class FileSystem>
constexpr void CheckDurabilityPolicy() {
  static_assert(
      DurabilityPolicy<Policy, FileSystem>,
      "this type does not satisfy the durability policy concept of alos/storage/durability.h");
}

}  // namespace alos

#endif  // ALOS_STORAGE_DURABILITY_H_
