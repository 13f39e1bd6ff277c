// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Epoch-based reclamation: readers follow pointers without locks, writers unlink what they replace
// and hand it over, and it is destroyed once no reader can still see it.

#ifndef ALOS_BASE_EPOCH_H_
#define ALOS_BASE_EPOCH_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "alos/base/atomics.h"
#include "alos/base/check.h"
#include "alos/base/memory_reserve.h"

namespace alos {

namespace base_internal {
template <class Atomics>
struct BasicEpochSlot;
template <class Atomics>
class BasicEpochRegistry;
}  // namespace base_internal

// Guards a set of shared, replaceable objects.
//
//   // Reader, on any thread:                    // Writer:
//   EpochManager::Guard guard = epochs.Enter();  Table* old = table.exchange(fresh);
//   const Table* t = table.load();               epochs.Retire(absl::WrapUnique(old));
//   ... use *t until `guard` dies ...
//
// What a guarded reader finds stays valid until its guard dies, if writers (1) unlink an object
// from every place where a reader could find it, with at least release ordering, and (2) then
// retire it; and readers load those places with at least acquire ordering, after Enter().
//
// Threads: Enter, Retire and Collect from any threads, any number of them. A Guard belongs to the
//   thread that made it: it is destroyed there, and must not live across a co_await.
// Lifetime: the manager outlives its guards (checked) and is not in use when it is destroyed; what
// is
//   still retired is destroyed then. Threads may end before or after the manager.
// Errors: none.
// Cost: Enter is wait-free: one atomic exchange on a cache line of the thread's own, and leaving is
// a
//   store; a guard within a guard costs a counter. The first Enter of a thread takes a lock and may
//   allocate 64 bytes; threads that have ended leave their slot to others. Retire takes a short
//   lock and pays, amortised, a constant part of a Collect. A guard that lives long keeps
//   everything that is retired meanwhile: hold one for a batch, not for a session.
template <class Atomics>
class BasicEpochManager {
  using Slot = base_internal::BasicEpochSlot<Atomics>;
  using Registry = base_internal::BasicEpochRegistry<Atomics>;

 public:
  // While it lives, nothing its thread can find is destroyed. Neither copied nor moved.
  class [[nodiscard]] Guard {
   public:
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard();

   private:
    friend class BasicEpochManager;
    friend struct EpochManagerPeer;
    Guard(const BasicEpochManager& manager, Slot* slot);
    Slot* const slot_;
  };

  struct Statistics {
    std::uint64_t retired = 0;      // Calls of Retire.
    std::uint64_t reclaimed = 0;    // Deleters that have been taken out to run.
    std::uint64_t collections = 0;  // Scans over the threads.
  };

  BasicEpochManager();
  BasicEpochManager(const BasicEpochManager&) = delete;
  BasicEpochManager& operator=(const BasicEpochManager&) = delete;
  ~BasicEpochManager();

  // Guards may be nested; the outermost counts.
  Guard Enter() { return Guard(*this, SlotOfThisThread()); }

  // Calls `deleter` once no guard that exists now is left: on some thread, in this or a later call
  // of Retire, Collect or the destructor, never under a lock of the manager. It may itself call
  // Retire. REQUIRES: what it destroys is unlinked. May be called under a guard (it then waits for
  // that one too).
  void Retire(absl::AnyInvocable<void() &&> deleter);

  // Retires an object.
  template <class T>
  void Retire(std::unique_ptr<T> object) {
    Retire([object = std::move(object)]() mutable { object.reset(); });
  }

  // Calls the deleters that may be called now, and returns how many. Retire does this often enough;
  // call it to give something big back early.
  std::size_t Collect();

  Statistics statistics() const;

  // Slots made so far: the largest number of threads that used this manager at once.
  std::size_t SlotCountForTest() const;

 private:
  friend struct EpochManagerPeer;  // testing/models: its threads are not the system's
  using MutexLock = typename Atomics::MutexLock;

  struct Retired {
    std::uint64_t epoch;
    absl::AnyInvocable<void() &&> deleter;
  };

  static constexpr std::size_t kCollectAtLeast = 64;

  Slot* SlotOfThisThread();
  ABSL_ATTRIBUTE_COLD Slot* FindOrMakeSlot();

  // Constant after construction.
  const std::uint64_t id_;  // Never used again, unlike an address.
  const std::shared_ptr<Registry> registry_;

  // Alone on its cache line: every Enter reads it. Starts at 1 (0 in a slot means: not inside).
  // Written under mutex_ only.
  alignas(ABSL_CACHELINE_SIZE) typename Atomics::template Atomic<std::uint64_t> epoch_{1};

  alignas(ABSL_CACHELINE_SIZE) mutable typename Atomics::Mutex mutex_;
  std::vector<Retired> pending_ ABSL_GUARDED_BY(mutex_);
  std::size_t collect_at_ ABSL_GUARDED_BY(mutex_) = kCollectAtLeast;
  bool collecting_ ABSL_GUARDED_BY(mutex_) = false;  // One automatic collection at a time.
  Statistics statistics_ ABSL_GUARDED_BY(mutex_);
};

using EpochManager = BasicEpochManager<StdAtomics>;

// The manager's guard, for those who like to name a type: EpochGuard guard(epochs);
class EpochGuard {
 public:
  explicit EpochGuard(EpochManager& manager) : guard_(manager.Enter()) {}

 private:
  EpochManager::Guard guard_;
};

// ---- Readers of the API may stop here. ----

namespace base_internal {

// One thread's mark in one manager.
template <class Atomics>
struct alignas(ABSL_CACHELINE_SIZE) BasicEpochSlot {
  // 0: the thread is outside. Otherwise: the manager's epoch when it went in, or an earlier one.
  typename Atomics::template Atomic<std::uint64_t> epoch{0};
  // Guards of the thread; touched by it only.
  std::uint32_t depth = 0;
  // Whether a thread has it; guarded by the registry's mutex.
  bool taken = false;
  // The list only grows, in front; constant once the slot is in it.
  BasicEpochSlot* next = nullptr;
};
using EpochSlot = BasicEpochSlot<StdAtomics>;
static_assert(sizeof(EpochSlot) == ABSL_CACHELINE_SIZE);

// The slots of one manager. Shared between it and its threads, so that either may end first.
template <class Atomics>
class BasicEpochRegistry {
 public:
  using Slot = BasicEpochSlot<Atomics>;

  BasicEpochRegistry() = default;
  BasicEpochRegistry(const BasicEpochRegistry&) = delete;
  BasicEpochRegistry& operator=(const BasicEpochRegistry&) = delete;
  ~BasicEpochRegistry() {
    for (Slot* slot = first_; slot != nullptr;) delete std::exchange(slot, slot->next);
  }

  Slot* Take() {
    MutexLock lock(&mutex_);
    for (Slot* slot = first_; slot != nullptr; slot = slot->next) {
      if (!std::exchange(slot->taken, true)) return slot;
    }
    auto* const slot = new Slot;
    slot->taken = true;
    slot->next = first_;
    first_ = slot;
    return slot;
  }

  void Leave(Slot* slot) {
    ALOS_CHECK(slot->depth == 0);  // A guard that outlived its thread.
    MutexLock lock(&mutex_);
    slot->taken = false;
  }

  // The newest slot. A collector that does not find a thread's slot came here before the thread's
  // Take(): by the mutex, all it did before that is then known to the thread.
  Slot* First() {
    MutexLock lock(&mutex_);
    return first_;
  }

  // Set once the manager is gone: threads may forget their slot.
  typename Atomics::template Atomic<bool> abandoned{false};

 private:
  using MutexLock = typename Atomics::MutexLock;
  typename Atomics::Mutex mutex_;
  Slot* first_ ABSL_GUARDED_BY(mutex_) = nullptr;
};
using EpochRegistry = BasicEpochRegistry<StdAtomics>;

// The slots that a thread has, one per manager that it used and that still lives.
class EpochThread {
 public:
  ~EpochThread();

  EpochSlot* Find(std::uint64_t manager_id) const {
    for (const Entry& entry : entries_) {
      if (entry.manager_id == manager_id) return entry.slot;
    }
    return nullptr;
  }

  EpochSlot* Add(std::uint64_t manager_id, std::shared_ptr<EpochRegistry> registry) {
    std::erase_if(entries_, [](const Entry& entry) {
      return entry.registry->abandoned.load(std::memory_order_acquire);
    });
    EpochSlot* const slot = registry->Take();
    entries_.push_back({manager_id, slot, std::move(registry)});
    return slot;
  }

 private:
  struct Entry {
    std::uint64_t manager_id;
    EpochSlot* slot;
    std::shared_ptr<EpochRegistry> registry;
  };
  std::vector<Entry> entries_;
};

// In front of EpochThread: needs neither construction nor destruction, so that access is one offset
// from the thread pointer. Direct-mapped by the manager's id.
struct EpochThreadCache {
  static constexpr std::size_t kEntries = 4;
  std::array<std::uint64_t, kEntries> manager_ids{};  // 0 is no manager's.
  std::array<EpochSlot*, kEntries> slots{};
  bool thread_ended = false;
};
inline constinit thread_local EpochThreadCache epoch_thread_cache;

inline EpochThread::~EpochThread() {
  for (Entry& entry : entries_) entry.registry->Leave(entry.slot);
  epoch_thread_cache = {};
  epoch_thread_cache.thread_ended = true;
}

inline std::uint64_t NextEpochManagerId() {
  static constinit std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace base_internal

template <class Atomics>
BasicEpochManager<Atomics>::BasicEpochManager()
    : id_(base_internal::NextEpochManagerId()), registry_(std::make_shared<Registry>()) {}

template <class Atomics>
BasicEpochManager<Atomics>::~BasicEpochManager() {
  for (auto* slot = registry_->First(); slot != nullptr; slot = slot->next) {
    ALOS_CHECK(slot->epoch.load(std::memory_order_acquire) == 0);  // A guard outlives its manager.
  }
  // Deleters may retire more.
  while (Collect() != 0) {
  }
  registry_->abandoned.store(true, std::memory_order_release);
}

template <class Atomics>
auto BasicEpochManager<Atomics>::FindOrMakeSlot() -> Slot* {
  // A guard in the destructor of another thread_local object, after ours is gone.
  ALOS_CHECK(!base_internal::epoch_thread_cache.thread_ended);
  static thread_local base_internal::EpochThread thread;
  Slot* slot = thread.Find(id_);
  if (slot == nullptr) slot = thread.Add(id_, registry_);
  const std::size_t index = id_ % base_internal::EpochThreadCache::kEntries;
  base_internal::epoch_thread_cache.manager_ids[index] = id_;
  base_internal::epoch_thread_cache.slots[index] = slot;
  return slot;
}

template <class Atomics>
auto BasicEpochManager<Atomics>::SlotOfThisThread() -> Slot* {
  const base_internal::EpochThreadCache& cache = base_internal::epoch_thread_cache;
  const std::size_t index = id_ % base_internal::EpochThreadCache::kEntries;
  if (ABSL_PREDICT_TRUE(cache.manager_ids[index] == id_)) return cache.slots[index];
  return FindOrMakeSlot();
}

// Why this is right. A collector and a reader both do a read-modify-write on the reader's slot, so
// one of the two comes first in the slot's modification order, and the other sees what it wrote:
//
// * The reader's exchange comes first. The collector finds the reader's epoch e, unless the reader
// has
//   left since, and then its release store (or a later exchange) is what the collector acquires:
//   all of the reader's accesses happen before the deleters. With e in the slot, objects with a tag
//   >= e stay. Objects with a tag < e may go, though the reader is inside, because e was read from
//   epoch_ with acquire: the store of any e > tag was made under mutex_ after the Retire that took
//   this tag under mutex_, which came after the unlinking. So the unlinking happens before the
//   reader's loads, which therefore do not find the object.
// * The collector's read-modify-write comes first (or it did not find the slot, which was then made
//   later: see First()). The reader's exchange acquires it, or a later one of
//   its release sequence, and with it everything before it in the collector: all the unlinkings
//   whose objects the collector took under mutex_. The reader does not find them, whatever stale
//   epoch it has put into its slot.
//
// Both orders are by acquire and release on one object. With a plain store in the reader, or a
// plain load in the collector, both could miss each other (a store is delayed past a later load on
// every processor), and a fence would be needed, which ThreadSanitizer does not understand.
template <class Atomics>
BasicEpochManager<Atomics>::Guard::Guard(const BasicEpochManager& manager, Slot* slot)
    : slot_(slot) {
  if (slot->depth++ != 0) return;
  const std::uint64_t epoch = manager.epoch_.load(std::memory_order_acquire);
  slot->epoch.exchange(epoch, std::memory_order_acq_rel);
}

template <class Atomics>
BasicEpochManager<Atomics>::Guard::~Guard() {
  // Release: what was read under the guard was read before it is gone.
  if (--slot_->depth == 0) slot_->epoch.store(0, std::memory_order_release);
}

template <class Atomics>
void BasicEpochManager<Atomics>::Retire(absl::AnyInvocable<void() &&> deleter) {
  // What is retired has been unlinked already: there is no way back.
  const MemoryReserve::Critical critical(std::nothrow);
  bool collect = false;
  {
    MutexLock lock(&mutex_);
    pending_.push_back({epoch_.load(std::memory_order_relaxed), std::move(deleter)});
    ++statistics_.retired;
    if (pending_.size() >= collect_at_ && !collecting_) collect = collecting_ = true;
  }
  if (!collect) return;
  Collect();
  MutexLock lock(&mutex_);
  collecting_ = false;
}

template <class Atomics>
std::size_t BasicEpochManager<Atomics>::Collect() {
  const MemoryReserve::Critical critical(std::nothrow);
  std::vector<Retired> taken;
  {
    MutexLock lock(&mutex_);
    if (pending_.empty()) return 0;
    ++statistics_.collections;
    // Readers that come from now on do not hold back what is pending.
    epoch_.store(epoch_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    taken.swap(pending_);
  }
  std::uint64_t oldest = std::numeric_limits<std::uint64_t>::max();
  for (auto* slot = registry_->First(); slot != nullptr; slot = slot->next) {
    // Adds nothing: a load that has a place of its own in the modification order, see above.
    const std::uint64_t epoch = slot->epoch.fetch_add(0, std::memory_order_acq_rel);
    if (epoch != 0) oldest = std::min(oldest, epoch);
  }
  const auto first_kept = std::stable_partition(
      taken.begin(), taken.end(), [&](const Retired& retired) { return retired.epoch < oldest; });
  const auto count = static_cast<std::size_t>(first_kept - taken.begin());
  {
    MutexLock lock(&mutex_);
    pending_.insert(pending_.end(), std::make_move_iterator(first_kept),
                    std::make_move_iterator(taken.end()));
    // Twice what had to stay: a reader that stays inside costs each Retire a constant all the same.
    collect_at_ = std::max(kCollectAtLeast, 2 * pending_.size());
    statistics_.reclaimed += count;
  }
  taken.erase(first_kept, taken.end());
  for (Retired& retired : taken) {
    std::move(retired.deleter)();
    retired.deleter = nullptr;  // What it holds goes with it, not at the end of the batch.
  }
  return count;
}

template <class Atomics>
auto BasicEpochManager<Atomics>::statistics() const -> Statistics {
  MutexLock lock(&mutex_);
  return statistics_;
}

template <class Atomics>
std::size_t BasicEpochManager<Atomics>::SlotCountForTest() const {
  std::size_t count = 0;
  for (auto* slot = registry_->First(); slot != nullptr; slot = slot->next) ++count;
  return count;
}

}  // namespace alos

#endif  // ALOS_BASE_EPOCH_H_
