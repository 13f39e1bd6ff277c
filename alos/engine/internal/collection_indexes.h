// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The secondary indexes of one collection: what readers see of them, and how that is replaced.

#ifndef ALOS_ENGINE_INTERNAL_COLLECTION_INDEXES_H_
#define ALOS_ENGINE_INTERNAL_COLLECTION_INDEXES_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "alos/base/copy_on_write.h"
#include "alos/base/epoch.h"
#include "alos/index/index_definition.h"
#include "alos/index/segment.h"

namespace alos::engine_internal {

// One index, with what is counted of it.
struct Index {
  explicit Index(IndexDefinition what) : definition(std::move(what)) {}
  const IndexDefinition definition;
  // Queries have matched text of this field: its columns get trigrams.
  std::atomic<bool> wants_text{false};
  std::atomic<std::uint64_t> uses{0};  // queries that went through it
  std::atomic<std::int64_t> last_use_seconds{0};
};

// What a reader works with. Constant once published.
struct IndexState {
  std::vector<std::shared_ptr<Index>> indexes;
  std::uint32_t next_index_id = 1;
  std::vector<std::shared_ptr<const Segment>> segments;  // in the order of the log
  // One past what the segments cover of each shard's log; empty: nothing yet.
  std::vector<std::uint64_t> shard_ends;
  // Every commit up to this is in the segments.
  std::uint64_t complete_until = 0;
  // As Segment::purged_until, of segments of which nothing was left.
  std::uint64_t purged_until = 0;
  // False while the existing documents are gone through for the first time, and for ever once a
  // part of a log turned out to be damaged: then queries scan, and say what is damaged.
  bool is_usable = false;

  const Index* FindIndex(std::uint32_t id) const {
    for (const auto& index : indexes) {
      if (index->definition.id == id) return index.get();
    }
    return nullptr;
  }
  // An index of exactly this field.
  Index* FindIndex(std::string_view path) const {
    for (const auto& index : indexes) {
      if (index->definition.paths.size() == 1 && index->definition.paths[0] == path)
        return index.get();
    }
    return nullptr;
  }
  Index* FindIndexByName(std::string_view name) const {
    for (const auto& index : indexes) {
      if (index->definition.name() == name) return index.get();
    }
    return nullptr;
  }
  // Every segment has its column.
  bool IsReady(std::uint32_t id) const {
    if (!is_usable) return false;
    for (const auto& segment : segments) {
      if (segment->FindColumn(id) == nullptr) return false;
    }
    return true;
  }
  std::uint64_t SizeBytes(std::uint32_t id) const {
    std::uint64_t bytes = 0;
    for (const auto& segment : segments) {
      if (const SegmentColumn* column = segment->FindColumn(id)) bytes += column->size_bytes();
    }
    return bytes;
  }
};

// Threads: state() inside an epoch guard, by any thread, without a lock; Change by any, one at a
// time. Lifetime: the epoch manager must outlive it. Durability: none of its own.
class CollectionIndexes {
 public:
  explicit CollectionIndexes(EpochManager* epochs) : epochs_(epochs), state_(epochs) {}
  CollectionIndexes(const CollectionIndexes&) = delete;
  CollectionIndexes& operator=(const CollectionIndexes&) = delete;

  // Valid while the caller's epoch guard lives.
  const IndexState* state() const { return state_.Get(); }

  // A copy, which shares the segments.
  IndexState Copy() const {
    const auto guard = epochs_->Enter();
    return *state();
  }

  // Replaces the state by what `change` makes of a copy; a `change` that returns false leaves it.
  bool Change(absl::FunctionRef<bool(IndexState*)> change) { return state_.Change(change); }

  // How often an index of this name would have helped, this time included.
  std::uint64_t CountWish(const std::string& name) {
    absl::MutexLock lock(&mutex_);
    if (wishes_.size() >= kWishesMax && !wishes_.contains(name)) wishes_.clear();
    return ++wishes_[name];
  }

  // An automatic index of this name was dropped for want of memory: it is not made again for a
  // while, or it would be built and dropped over and over.
  void NoteEvicted(const std::string& name, absl::Time now) {
    absl::MutexLock lock(&mutex_);
    evicted_[name] = now;
  }
  bool WasEvicted(const std::string& name, absl::Time now) {
    absl::MutexLock lock(&mutex_);
    const auto found = evicted_.find(name);
    return found != evicted_.end() && now < found->second + kEvictedFor;
  }

  // Whether anybody has asked for an index yet.
  bool is_active() const { return is_active_.load(std::memory_order_acquire); }
  void Activate() { is_active_.store(true, std::memory_order_release); }
  // The collection was dropped.
  bool is_closed() const { return is_closed_.load(std::memory_order_acquire); }
  void Close() { is_closed_.store(true, std::memory_order_release); }

 private:
  EpochManager* const epochs_;
  CopyOnWrite<IndexState> state_;
  static constexpr std::size_t kWishesMax = 1024;
  static constexpr absl::Duration kEvictedFor = absl::Minutes(10);
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::uint64_t> wishes_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, absl::Time> evicted_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> is_active_{false};
  std::atomic<bool> is_closed_{false};
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_COLLECTION_INDEXES_H_
