// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef ALOS_PLUGINS_CACHE_LRU_CACHE_H_
#define ALOS_PLUGINS_CACHE_LRU_CACHE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "alos/base/atomics.h"
#include "alos/base/check.h"
#include "alos/cache/cache.h"

namespace alos {

// Keeps what was used last; when the budget is used up, what was not used for the longest time
// goes. The contract is Cache's (alos/cache/cache.h).
//
// Cost: every operation is O(1) (amortised: the table of keys grows by doubling). A lock per
// instance guards the table and the list; it is held for a look-up and four pointers, not while a
// visitor runs nor while memory is given back: an entry is counted by whoever reads it. Every entry
// counts with kEntryOverheadBytes in addition to its document.
//
// `Document` is std::string, or something of its looks.
template <class Atomics, class Document>
class BasicLruCache {
 public:
  static constexpr std::string_view kName = "lru";

  // What an entry takes besides the heap block of its document: itself, its part of a table that is
  // between 7/16 and 7/8 full, and what the allocator adds to two blocks.
  static constexpr std::size_t kEntryOverheadBytes = 160;

  explicit BasicLruCache(std::size_t budget_bytes) : budget_bytes_(budget_bytes) {}
  BasicLruCache(const BasicLruCache&) = delete;
  BasicLruCache& operator=(const BasicLruCache&) = delete;
  ~BasicLruCache();

  bool Lookup(std::uint64_t key, absl::FunctionRef<void(std::string_view)> visit);
  void Insert(std::uint64_t key, Document document);
  void Erase(std::uint64_t key);
  std::size_t used_bytes() const;
  CacheStatistics statistics() const;

 private:
  using MutexLock = typename Atomics::MutexLock;

  // In the list from newest to oldest use, which is a ring through list_.
  struct Link {
    Link* newer = nullptr;
    Link* older = nullptr;
  };

  struct Entry : Link {
    Entry(std::uint64_t k, Document d) : key(k), document(std::move(d)) {}
    const std::uint64_t key;
    const Document document;
    // One for the table, one for each visit that is going on.
    typename Atomics::template Atomic<std::uint32_t> holders{1};
  };

  static std::size_t CostBytes(const Entry& entry) {
    return entry.document.capacity() + kEntryOverheadBytes;
  }
  static void Release(Entry* entry);

  void PushNewest(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Unlink(Entry* entry);
  // Takes the entry out of list and accounts; the table is the caller's. To be released without the
  // lock.
  void Forget(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::size_t budget_bytes_;

  mutable typename Atomics::Mutex mutex_;
  absl::flat_hash_map<std::uint64_t, Entry*> entries_ ABSL_GUARDED_BY(mutex_);
  Link list_ ABSL_GUARDED_BY(mutex_) = {&list_, &list_};  // list_.older is the newest.
  std::size_t used_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  CacheStatistics statistics_ ABSL_GUARDED_BY(mutex_);
};

using LruCache = BasicLruCache<StdAtomics, std::string>;

// ---- Readers of the API may stop here. ----

template <class Atomics, class Document>
BasicLruCache<Atomics, Document>::~BasicLruCache() {
  MutexLock lock(&mutex_);
  for (const auto& [key, entry] : entries_) {
    ALOS_CHECK(entry->holders.load(std::memory_order_acquire) == 1);  // A visit outlives the cache.
    delete entry;
  }
}

template <class Atomics, class Document>
void BasicLruCache<Atomics, Document>::Release(Entry* entry) {
  // Release, so that what a visitor read was read before the entry goes; acquire, so that whoever
  // deletes it comes after all of them.
  if (entry->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) delete entry;
}

template <class Atomics, class Document>
void BasicLruCache<Atomics, Document>::Unlink(Entry* entry) {
  entry->newer->older = entry->older;
  entry->older->newer = entry->newer;
}

template <class Atomics, class Document>
void BasicLruCache<Atomics, Document>::PushNewest(Entry* entry) {
  entry->newer = &list_;
  entry->older = list_.older;
  list_.older->newer = entry;
  list_.older = entry;
}

template <class Atomics, class Document>
void BasicLruCache<Atomics, Document>::Forget(Entry* entry) {
  Unlink(entry);
  ALOS_DCHECK(used_bytes_ >= CostBytes(*entry));
  used_bytes_ -= CostBytes(*entry);
  --statistics_.entries;
}

template <class Atomics, class Document>
bool BasicLruCache<Atomics, Document>::Lookup(std::uint64_t key,
                                              absl::FunctionRef<void(std::string_view)> visit) {
  Entry* entry;
  {
    MutexLock lock(&mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) {
      ++statistics_.misses;
      return false;
    }
    ++statistics_.hits;
    entry = found->second;
    if (list_.older != entry) {
      Unlink(entry);
      PushNewest(entry);
    }
    // Relaxed: the table's own hold, which only the lock's holder gives up, keeps the entry alive
    // here.
    entry->holders.fetch_add(1, std::memory_order_relaxed);
  }
  visit(entry->document);
  Release(entry);
  return true;
}

template <class Atomics, class Document>
void BasicLruCache<Atomics, Document>::Insert(std::uint64_t key, Document document) {
  // A string that has room to spare would be kept with it.
  if (document.capacity() - document.size() > document.size() / 8 + 64) document.shrink_to_fit();
  auto* const fresh = new Entry(key, std::move(document));
  const std::size_t cost_bytes = CostBytes(*fresh);
  if (cost_bytes > budget_bytes_) {
    delete fresh;
    return Erase(key);
  }
  Link* victims = nullptr;  // Through `older`; released after the lock.
  {
    MutexLock lock(&mutex_);
    const auto [place, is_new] = entries_.try_emplace(key, fresh);
    if (!is_new) {
      Forget(place->second);
      place->second->older = std::exchange(victims, place->second);
      place->second = fresh;
    }
    while (used_bytes_ + cost_bytes > budget_bytes_) {
      auto* const oldest = static_cast<Entry*>(list_.newer);
      entries_.erase(oldest->key);
      Forget(oldest);
      oldest->older = std::exchange(victims, oldest);
      ++statistics_.evictions;
    }
    PushNewest(fresh);
    used_bytes_ += cost_bytes;
    ++statistics_.insertions;
    ++statistics_.entries;
  }
  while (victims != nullptr) {
    auto* const victim = static_cast<Entry*>(victims);
    victims = victim->older;
    Release(victim);
  }
}

template <class Atomics, class Document>
void BasicLruCache<Atomics, Document>::Erase(std::uint64_t key) {
  Entry* entry;
  {
    MutexLock lock(&mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    entry = found->second;
    entries_.erase(found);
    Forget(entry);
  }
  Release(entry);
}

template <class Atomics, class Document>
std::size_t BasicLruCache<Atomics, Document>::used_bytes() const {
  MutexLock lock(&mutex_);
  return used_bytes_;
}

template <class Atomics, class Document>
CacheStatistics BasicLruCache<Atomics, Document>::statistics() const {
  MutexLock lock(&mutex_);
  return statistics_;
}

static_assert(CheckCache<LruCache>());

}  // namespace alos

#endif  // ALOS_PLUGINS_CACHE_LRU_CACHE_H_
