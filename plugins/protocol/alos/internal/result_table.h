// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Results that have been found and not been asked for yet: what is behind the cursors of pipelines
// and of sorted streams.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_RESULT_TABLE_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_RESULT_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "openssl/rand.h"

namespace alos::protocol_internal {

// Some documents of a result, one behind the other.
struct KeptResults {
  const void* database = nullptr;  // where they come from
  std::string collection;
  std::uint64_t first = 0;        // the position in the result of the first one here
  std::vector<std::size_t> ends;  // of each document in `bytes`
  std::string bytes;
  bool is_last = false;  // the result ends with them

  void Add(std::string_view document) {
    bytes.append(document);
    ends.push_back(bytes.size());
  }
  bool Has(std::uint64_t position) const {
    return position >= first && position - first < ends.size();
  }
  // REQUIRES: Has(position).
  std::string_view At(std::uint64_t position) const {
    const std::size_t i = static_cast<std::size_t>(position - first);
    const std::size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(begin, ends[i] - begin);
  }
  std::size_t size_bytes() const { return bytes.size() + ends.size() * sizeof(ends[0]); }
};

// Threads: all members, any. Durability: none. Results that are not used for ten minutes are
// forgotten, and those unused for longest when all together take too much: whoever wants them finds
// them again.
class ResultTable {
 public:
  static constexpr absl::Duration kIdleMax = absl::Minutes(10);
  static constexpr std::size_t kBytesMax = std::size_t{256} << 20;       // of all, by default
  static constexpr std::size_t kResultBytesMax = std::size_t{64} << 20;  // of one

  explicit ResultTable(std::size_t bytes_max = kBytesMax) : bytes_max_(bytes_max) {}

  // Returns a number that nobody can guess.
  std::uint64_t Add(std::shared_ptr<const KeptResults> results) {
    std::uint64_t id = 0;
    RAND_bytes(reinterpret_cast<std::uint8_t*>(&id), sizeof id);
    absl::MutexLock lock(&mutex_);
    bytes_ += results->size_bytes();
    Entry& entry = entries_[id];
    if (entry.results != nullptr) bytes_ -= entry.results->size_bytes();
    entry = {std::move(results), absl::Now()};
    while (bytes_ > bytes_max_ && entries_.size() > 1) RemoveOldest(id);
    return id;
  }

  // nullptr when they were forgotten.
  std::shared_ptr<const KeptResults> Find(std::uint64_t id) {
    absl::MutexLock lock(&mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return nullptr;
    found->second.last_use = absl::Now();
    return found->second.results;
  }

  void Remove(std::uint64_t id) {
    absl::MutexLock lock(&mutex_);
    RemoveLocked(id);
  }

  // Forgets what has been idle for too long at `now`.
  void Expire(absl::Time now = absl::Now()) {
    absl::MutexLock lock(&mutex_);
    for (auto at = entries_.begin(); at != entries_.end();) {
      const auto current = at++;
      if (now - current->second.last_use > kIdleMax) RemoveLocked(current->first);
    }
  }

  std::size_t size_bytes() const {
    absl::MutexLock lock(&mutex_);
    return bytes_;
  }

 private:
  struct Entry {
    std::shared_ptr<const KeptResults> results;
    absl::Time last_use;
  };

  void RemoveLocked(std::uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) return;
    bytes_ -= found->second.results->size_bytes();
    entries_.erase(found);
  }

  void RemoveOldest(std::uint64_t other_than) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::uint64_t oldest = 0;
    absl::Time last_use = absl::InfiniteFuture();
    for (const auto& [id, entry] : entries_) {
      if (id != other_than && entry.last_use < last_use) {
        oldest = id;
        last_use = entry.last_use;
      }
    }
    RemoveLocked(oldest);
  }

  const std::size_t bytes_max_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::uint64_t, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace alos::protocol_internal

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_RESULT_TABLE_H_
