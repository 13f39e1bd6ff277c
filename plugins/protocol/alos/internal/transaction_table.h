// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The transactions that clients have open, by the id they were given.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_TRANSACTION_TABLE_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_TRANSACTION_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "openssl/rand.h"

namespace alos::protocol_internal {

// A transaction may be used over any connection, one request at a time; it belongs to the
// connection that began it and is rolled back when that one is lost, or when nobody has used it for
// a while.
//
// Threads: any. Lifetime: transactions end before the engine: Clear, or destroy the table, first.
// Errors: kNotFound for an id that is not (or no longer) open, kFailedPrecondition for one that
// another request is using, kResourceExhausted for too many.
template <class Transaction>
class TransactionTable {
 public:
  static constexpr std::size_t kTransactionsMax = 10'000;

  struct Entry {
    std::string database;  // the name of the one it was begun in
    std::unique_ptr<Transaction> transaction;
    std::uint64_t owner = 0;
    // The rest is guarded by the table's mutex.
    bool in_use = false;
    bool is_lost = false;  // its connection went while another one used it
    absl::Time last_used;
  };

  // The right to use one transaction until destroyed.
  class Lease {
   public:
    Lease(TransactionTable* table, std::string id, std::shared_ptr<Entry> entry)
        : table_(table), id_(std::move(id)), entry_(std::move(entry)) {}
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (entry_ != nullptr) table_->Return(id_, *entry_);
    }
    Entry* operator->() const { return entry_.get(); }
    // Takes the transaction out of the table: it is over.
    void Remove() { table_->Remove(id_); }

   private:
    TransactionTable* table_;
    std::string id_;
    std::shared_ptr<Entry> entry_;
  };

  explicit TransactionTable(absl::Duration idle_timeout) : idle_timeout_(idle_timeout) {}

  // The id of a new transaction: 32 hex digits nobody can guess. `begin()` makes it, or returns
  // why not.
  absl::StatusOr<std::string> Begin(
      std::string_view database, std::uint64_t owner,
      absl::FunctionRef<absl::StatusOr<std::unique_ptr<Transaction>>()> begin) {
    std::uint8_t random[16];
    RAND_bytes(random, sizeof(random));
    std::string id = absl::BytesToHexString(
        std::string_view(reinterpret_cast<const char*>(random), sizeof(random)));
    auto entry = std::make_shared<Entry>();
    entry->database = std::string(database);
    entry->owner = owner;
    entry->last_used = absl::Now();
    {
      absl::MutexLock lock(&mutex_);
      if (entries_.size() >= kTransactionsMax) {
        return absl::ResourceExhaustedError(
            absl::StrCat("BeginTx: ", kTransactionsMax, " transactions are open already"));
      }
    }
    ALOS_ASSIGN_OR_RETURN(entry->transaction, begin());
    absl::MutexLock lock(&mutex_);
    entries_.emplace(id, std::move(entry));
    return id;
  }

  absl::StatusOr<Lease> Use(std::string_view id) {
    absl::MutexLock lock(&mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) {
      return absl::NotFoundError(
          absl::StrCat("no open transaction has this tx_id: it was committed, rolled back, or idle "
                       "for more than ",
                       absl::FormatDuration(idle_timeout_)));
    }
    if (found->second->in_use) {
      return absl::FailedPreconditionError(
          "the transaction is being used by another request: send its requests one after another");
    }
    found->second->in_use = true;
    return Lease(this, std::string(id), found->second);
  }

  // Rolls back what nobody has used for the idle time.
  void Expire() {
    RemoveIf([now = absl::Now(), this](const Entry& entry) {
      return now - entry.last_used > idle_timeout_;
    });
  }

  // Rolls back the transactions that `owner` began.
  void RemoveOwned(std::uint64_t owner) {
    RemoveIf([owner](const Entry& entry) { return entry.owner == owner; }, true);
  }

  std::size_t size() const {
    absl::MutexLock lock(&mutex_);
    return entries_.size();
  }

 private:
  void Return(const std::string& id, Entry& entry) {
    absl::MutexLock lock(&mutex_);
    entry.in_use = false;
    entry.last_used = absl::Now();
    // The lease still holds it: nothing is destroyed under the lock.
    if (entry.is_lost) entries_.erase(id);
  }
  void Remove(std::string_view id) {
    absl::MutexLock lock(&mutex_);
    entries_.erase(id);
  }
  // One that is in use is left alone or, if it is `lost`, ends when its request lets go of it.
  template <class Condition>
  void RemoveIf(Condition condition, bool lost = false) {
    std::vector<std::shared_ptr<Entry>> removed;  // destroyed outside the lock
    absl::MutexLock lock(&mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      const auto current = entry++;
      if (!condition(*current->second)) continue;
      if (current->second->in_use) {
        current->second->is_lost = lost || current->second->is_lost;
      } else {
        removed.push_back(std::move(current->second));
        entries_.erase(current);
      }
    }
  }

  const absl::Duration idle_timeout_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace alos::protocol_internal

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_TRANSACTION_TABLE_H_
