// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What transactions over several databases hold of one of them, from their validation to their end.

#ifndef ALOS_ENGINE_INTERNAL_RESERVATIONS_H_
#define ALOS_ENGINE_INTERNAL_RESERVATIONS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "alos/document/value.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/unique_indexes.h"

namespace alos::engine_internal {

// A transaction over several databases is validated in each of them before it is decided, and
// installed after that. In between nobody may write what it writes or, if it is serializable, what
// it has read: documents by `_id`, collections that it read by a filter.
//
// Threads: all members, any. Hold() with the writer roles of the shards that matter; a writer looks
// (any(), Find()) with the role of its document's shard, so it sees what was held before it got it.
// Lifetime: documents that are held outlive their reservation. Errors: none.
// Cost: one load for a writer while nothing is held.
class Reservations {
 public:
  // What one transaction holds: made by its owner, given to Hold and to Release.
  struct Holding {
    struct Document {
      std::uint32_t collection = 0;
      std::string_view collection_name;
      std::string_view id;
      std::uint64_t hash = 0;
      const std::optional<std::string>* written = nullptr;  // its new version; nullptr: only read
    };
    std::vector<Document> documents;
    std::vector<std::string> collections;  // names: read as a whole
  };

  // Whether anything is held.
  bool any() const { return count_.load(std::memory_order_relaxed) != 0; }
  // How often something was given back.
  std::uint64_t releases() const { return releases_.load(std::memory_order_acquire); }

  // kAborted when another one holds some of it, or while collections or indexes change.
  absl::Status Hold(const Holding& holding) {
    absl::MutexLock lock(&mutex_);
    if (pauses_ != 0) {
      return absl::AbortedError(
          "transaction conflict: collections or indexes are being changed; begin the transaction "
          "again");
    }
    for (const Holding::Document& document : holding.documents) {
      const auto held = documents_.find(KeyOf(document.collection, document.id));
      const bool is_held =
          held != documents_.end() && (document.written != nullptr || held->second.written);
      if (is_held ||
          (document.written != nullptr && collections_.contains(document.collection_name)))
        return Conflict(document.collection_name, document.id);
    }
    for (const std::string& name : holding.collections) {
      for (const auto& [key, held] : documents_) {
        if (held.written != nullptr && held.collection_name == name)
          return Conflict(name, std::string_view(key).substr(sizeof(std::uint32_t)));
      }
    }
    for (const Holding::Document& document : holding.documents) {
      Held& held = documents_[KeyOf(document.collection, document.id)];
      ++held.holders;
      held.collection_name = std::string(document.collection_name);
      if (document.written == nullptr) continue;
      held.written = document.written;
      written_.emplace(document.hash, std::make_pair(document.collection, document.written));
    }
    for (const std::string& name : holding.collections) ++collections_[name];
    count_.fetch_add(1, std::memory_order_relaxed);
    return absl::OkStatus();
  }

  void Release(const Holding& holding) {
    absl::MutexLock lock(&mutex_);
    for (const Holding::Document& document : holding.documents) {
      const auto held = documents_.find(KeyOf(document.collection, document.id));
      if (document.written != nullptr) {
        held->second.written = nullptr;
        auto [first, last] = written_.equal_range(document.hash);
        first = std::find_if(first, last, [&](const auto& entry) {
          return entry.second.second == document.written;
        });
        if (first != last) written_.erase(first);
      }
      if (--held->second.holders == 0) documents_.erase(held);
    }
    for (const std::string& name : holding.collections) {
      const auto read = collections_.find(name);
      if (--read->second == 0) collections_.erase(read);
    }
    count_.fetch_sub(1, std::memory_order_relaxed);
    releases_.fetch_add(1, std::memory_order_release);
  }

  // Whether a document must not be written by others now.
  bool Has(std::string_view collection_name, std::uint32_t collection, std::string_view id) const {
    absl::MutexLock lock(&mutex_);
    return documents_.contains(KeyOf(collection, id)) || collections_.contains(collection_name);
  }

  // Whether a version that is to be written to the document with this hash holds a key of a unique
  // index.
  bool HasKey(std::uint32_t collection, const UniqueIndex& index, std::string_view key,
              std::uint64_t hash) const {
    absl::MutexLock lock(&mutex_);
    const auto [first, last] = written_.equal_range(hash);
    return std::any_of(first, last, [&](const auto& entry) {
      const auto& [of, written] = entry.second;
      return of == collection && written->has_value() &&
             index.HoldsKey(ValueView::FromTrusted(**written), key);
    });
  }

  // Waits until something is given back after releases() was `seen`, or nothing is held. False:
  // that took longer than `patience`, or this thread may not wait.
  bool Await(std::uint64_t seen, absl::Duration patience) const {
    if (must_not_wait_) return false;
    absl::MutexLock lock(&mutex_);
    const auto is_over = [this, seen] {
      return releases_.load(std::memory_order_relaxed) != seen || !any();
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&is_over), patience);
  }

  // While one lives, Await() of its thread does not wait.
  class NoWaiting {
   public:
    NoWaiting() : before_(must_not_wait_) { must_not_wait_ = true; }
    ~NoWaiting() { must_not_wait_ = before_; }
    NoWaiting(const NoWaiting&) = delete;
    NoWaiting& operator=(const NoWaiting&) = delete;

   private:
    const bool before_;
  };

  // While one lives nothing is held: for who changes collections and unique indexes.
  class Pause {
   public:
    // status(): kAborted when what is held was not given back within `patience`.
    Pause(Reservations* reservations, absl::Duration patience) : reservations_(*reservations) {
      absl::MutexLock lock(&reservations_.mutex_);
      ++reservations_.pauses_;
      const auto is_free = [this] { return !reservations_.any(); };
      if (!reservations_.mutex_.AwaitWithTimeout(absl::Condition(&is_free), patience)) {
        status_ = absl::AbortedError(
            "a transaction over several databases that uses this database does not come to an end "
            "(see the log); try again");
      }
    }
    ~Pause() {
      absl::MutexLock lock(&reservations_.mutex_);
      --reservations_.pauses_;
    }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
    const absl::Status& status() const { return status_; }

   private:
    Reservations& reservations_;
    absl::Status status_;
  };

  // The error of a write that has to wait for what is held.
  static absl::Status MustWait() {
    absl::Status status = absl::AbortedError(
        "a transaction over several databases is writing this document and does not come to an end "
        "(see the log); try again");
    status.SetPayload(kMustWaitPayload, absl::Cord());
    return status;
  }
  static bool IsMustWait(const absl::Status& status) {
    return absl::IsAborted(status) && status.GetPayload(kMustWaitPayload).has_value();
  }

 private:
  static constexpr std::string_view kMustWaitPayload = "alos/must_wait";

  inline static thread_local bool must_not_wait_ = false;

  struct Held {
    std::uint32_t holders = 0;
    std::string collection_name;
    const std::optional<std::string>* written = nullptr;
  };

  static absl::Status Conflict(std::string_view collection, std::string_view id) {
    return absl::AbortedError(absl::StrCat(
        "transaction conflict: document ", DescribeId(id), " of collection '", collection,
        "' is being used by a transaction over several databases; begin the transaction again"));
  }
  static std::string KeyOf(std::uint32_t collection, std::string_view id) {
    std::string key(sizeof collection, '\0');
    std::memcpy(key.data(), &collection, sizeof collection);
    key.append(id);
    return key;
  }

  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> releases_{0};
  mutable absl::Mutex mutex_;
  std::uint64_t pauses_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, Held> documents_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, std::uint64_t> collections_ ABSL_GUARDED_BY(mutex_);
  // By the hash of the document, for unique keys.
  absl::btree_multimap<std::uint64_t, std::pair<std::uint32_t, const std::optional<std::string>*>>
      written_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_RESERVATIONS_H_
