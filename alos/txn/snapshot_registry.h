// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The snapshots of a database that somebody reads, or may come to read: what keeps old versions.
//
// Who reclaims space (compaction) asks for a *floor*:
//
//   const std::uint64_t floor = snapshots.Raise(visible_timestamp);
//   ... wait until every epoch guard that exists now is gone (EpochManager::Retire) ...
//
// and then may rely on this: no read, now or later, is of a snapshot below `floor`. So
//  - a version that was replaced or deleted by a commit at or below the floor can be dropped;
//  - a record committed at or below the floor can be moved;
//  - a record committed above the floor stays where it is, whether it is live or not. Each shard's
//    log is in the order of commits, so what may go is a prefix: change feeds, and the validation
//    of serializable transactions, read the rest in log order.
// The floor must be stored before anything is dropped because of it, and given to Restore() at the
// next start.
//
// Who reads keeps to this: a short read takes no pin; it enters an epoch guard first and reads the
// visible timestamp under it. Whatever outlives the guard (a transaction), or reads at an older
// timestamp, holds a Pin; what a client may come back for (a cursor) is kept by a lease.

#ifndef ALOS_TXN_SNAPSHOT_REGISTRY_H_
#define ALOS_TXN_SNAPSHOT_REGISTRY_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace alos {

// Threads: all members, any. Lifetime: outlives its pins. Durability: none: what was open is not
// after a restart, and the floor is stored by who raised it. Errors: none.
// Cost: a pin takes and gives back a lock that is shared with a sixteenth of the threads: some 50
// ns. An open one costs nobody anything but the versions that it keeps.
class SnapshotRegistry {
 public:
  // A snapshot that can be read until the pin is destroyed.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept
        : registry_(std::exchange(other.registry_, nullptr)),
          stripe_(other.stripe_),
          slot_(other.slot_),
          timestamp_(other.timestamp_) {}
    Pin& operator=(Pin&& other) noexcept {
      if (this == &other) return *this;
      Release();
      registry_ = std::exchange(other.registry_, nullptr);
      stripe_ = other.stripe_;
      slot_ = other.slot_;
      timestamp_ = other.timestamp_;
      return *this;
    }
    ~Pin() { Release(); }

    std::uint64_t timestamp() const { return timestamp_; }
    void Release() {
      if (registry_ != nullptr) std::exchange(registry_, nullptr)->Unpin(stripe_, slot_);
    }

   private:
    friend class SnapshotRegistry;
    Pin(SnapshotRegistry* registry, std::uint32_t stripe, std::uint32_t slot,
        std::uint64_t timestamp)
        : registry_(registry), stripe_(stripe), slot_(slot), timestamp_(timestamp) {}

    SnapshotRegistry* registry_ = nullptr;
    std::uint32_t stripe_ = 0;
    std::uint32_t slot_ = 0;
    std::uint64_t timestamp_ = 0;
  };

  struct Statistics {
    std::size_t pins = 0;
    std::size_t leases = 0;
    std::uint64_t oldest_timestamp = 0;                // of both; 0: there are none
    absl::Time oldest_since = absl::InfiniteFuture();  // when that one was opened or last used
  };

  // `retention`: how long what was replaced can still be read, by its timestamp.
  explicit SnapshotRegistry(absl::Duration retention) : retention_(retention) {}
  SnapshotRegistry(const SnapshotRegistry&) = delete;
  SnapshotRegistry& operator=(const SnapshotRegistry&) = delete;

  // Before anything is read: what a former run had raised the floor to.
  void Restore(std::uint64_t floor) { floor_.store(floor, std::memory_order_release); }

  // Pins the snapshot that `visible()` names: the newest one.
  template <class Visible>
  Pin PinNewest(Visible&& visible) {
    const std::uint32_t number = ThisStripe();
    Stripe& stripe = stripes_[number];
    absl::MutexLock lock(&stripe.mutex);
    // Under the lock: whoever raises the floor has read its bound before it comes here, or finds
    // the pin.
    const std::uint64_t timestamp = visible();
    return Pin(this, number, stripe.Add(timestamp), timestamp);
  }

  // Pins an older snapshot; nullopt when it cannot be read any more, neither because it is leased
  // nor because nothing was reclaimed.
  std::optional<Pin> PinAt(std::uint64_t timestamp) {
    const std::uint32_t number = ThisStripe();
    Stripe& stripe = stripes_[number];
    {
      absl::MutexLock lock(&stripe.mutex);
      if (timestamp >= floor()) return Pin(this, number, stripe.Add(timestamp), timestamp);
    }
    // A lease does not end while we look at it.
    absl::MutexLock leases_lock(&leases_mutex_);
    if (!leases_.contains(timestamp)) return std::nullopt;
    absl::MutexLock lock(&stripe.mutex);
    return Pin(this, number, stripe.Add(timestamp), timestamp);
  }

  // Keeps a snapshot until it has not been leased for `idle_max`: for cursors, which may be left
  // behind. Of one timestamp there is one lease. False when it cannot be read any more, neither
  // because it is leased or pinned nor because nothing was reclaimed. `now`: only tests give it.
  bool Lease(std::uint64_t timestamp, absl::Duration idle_max, absl::Time now = absl::Now()) {
    absl::MutexLock lock(&leases_mutex_);
    const auto found = leases_.find(timestamp);
    if (found == leases_.end() && timestamp < floor() && !IsPinned(timestamp)) return false;
    LeaseEntry& entry = leases_[timestamp];
    entry.last_use = now;
    entry.until = std::max(entry.until, now + idle_max);
    return true;
  }
  void EndLease(std::uint64_t timestamp) {
    absl::MutexLock lock(&leases_mutex_);
    leases_.erase(timestamp);
  }

  // Notes what is visible now, and forgets leases that ended. About once a second.
  void Tick(std::uint64_t visible, absl::Time now = absl::Now()) {
    absl::MutexLock lock(&leases_mutex_);
    absl::erase_if(leases_, [now](const auto& entry) { return entry.second.until < now; });
    if (samples_.empty() || now - samples_.back().time >= kSampleInterval)
      samples_.push_back({now, visible});
    // The first one that is old enough stays: it is the horizon.
    while (samples_.size() > 1 && samples_[1].time + retention_ <= now) samples_.pop_front();
  }

  // What was visible at a time of the past; nullopt when that is not known. Right to a second.
  std::optional<std::uint64_t> TimestampAt(absl::Time time) {
    absl::MutexLock lock(&leases_mutex_);
    std::optional<std::uint64_t> found;
    for (const Sample& sample : samples_) {
      if (sample.time > time) break;
      found = sample.timestamp;
    }
    return found;
  }

  // The oldest timestamp that can be read by whoever asks for it from now on.
  std::uint64_t floor() const { return floor_.load(std::memory_order_acquire); }

  // Raises the floor as far as the retention allows, and returns up to where nothing is or will be
  // read: at most that, `visible`, and what is pinned or leased. See above for what to do with it.
  std::uint64_t Raise(std::uint64_t visible, absl::Time now = absl::Now()) {
    // Held to the end: a pin that becomes a lease meanwhile is seen as one of the two.
    absl::MutexLock leases_lock(&leases_mutex_);
    std::uint64_t floor = 0;
    if (retention_ <= absl::ZeroDuration()) {
      floor = visible;
    } else if (!samples_.empty() && samples_.front().time + retention_ <= now) {
      floor = std::min(visible, samples_.front().timestamp);
    }
    floor = std::max(floor, floor_.load(std::memory_order_relaxed));
    // From here on nobody pins or leases anything older; what was is found below.
    floor_.store(floor, std::memory_order_release);
    for (const auto& [timestamp, entry] : leases_) floor = std::min(floor, timestamp);
    for (Stripe& stripe : stripes_) {
      absl::MutexLock lock(&stripe.mutex);
      for (const Slot& slot : stripe.slots) floor = std::min(floor, slot.timestamp);
    }
    return floor;
  }

  Statistics statistics() {
    Statistics all;
    std::uint64_t oldest = kFree;
    {
      absl::MutexLock lock(&leases_mutex_);
      all.leases = leases_.size();
      for (const auto& [timestamp, entry] : leases_) {
        if (timestamp >= oldest) continue;
        oldest = timestamp;
        all.oldest_since = entry.last_use;
      }
    }
    for (Stripe& stripe : stripes_) {
      absl::MutexLock lock(&stripe.mutex);
      for (const Slot& slot : stripe.slots) {
        if (slot.timestamp == kFree) continue;
        ++all.pins;
        if (slot.timestamp > oldest || (slot.timestamp == oldest && slot.since > all.oldest_since))
          continue;
        oldest = slot.timestamp;
        all.oldest_since = slot.since;
      }
    }
    if (oldest != kFree) all.oldest_timestamp = oldest;
    return all;
  }

  absl::Duration retention() const { return retention_; }

 private:
  static constexpr std::size_t kStripes = 16;
  static constexpr std::uint64_t kFree = std::numeric_limits<std::uint64_t>::max();
  static constexpr absl::Duration kSampleInterval = absl::Milliseconds(500);

  struct Slot {
    std::uint64_t timestamp = kFree;
    absl::Time since;
  };
  struct alignas(ABSL_CACHELINE_SIZE) Stripe {
    absl::Mutex mutex;
    std::vector<Slot> slots ABSL_GUARDED_BY(mutex);
    std::vector<std::uint32_t> free ABSL_GUARDED_BY(mutex);

    std::uint32_t Add(std::uint64_t timestamp) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
      if (free.empty()) {
        // With room for all in both: Unpin must not fail.
        if (slots.size() == slots.capacity())
          slots.reserve(std::max(std::size_t{4}, 2 * slots.size()));
        free.reserve(slots.capacity());
        slots.emplace_back();
        free.push_back(static_cast<std::uint32_t>(slots.size() - 1));
      }
      const std::uint32_t slot = free.back();
      free.pop_back();
      slots[slot] = {timestamp, absl::Now()};
      return slot;
    }
  };
  struct LeaseEntry {
    absl::Time last_use;
    absl::Time until = absl::InfinitePast();
  };
  struct Sample {
    absl::Time time;
    std::uint64_t timestamp;
  };

  bool IsPinned(std::uint64_t timestamp) {
    for (Stripe& stripe : stripes_) {
      absl::MutexLock lock(&stripe.mutex);
      for (const Slot& slot : stripe.slots) {
        if (slot.timestamp == timestamp) return true;
      }
    }
    return false;
  }

  static std::uint32_t ThisStripe() {
    return static_cast<std::uint32_t>(std::hash<std::thread::id>()(std::this_thread::get_id()) %
                                      kStripes);
  }

  void Unpin(std::uint32_t number, std::uint32_t slot) {
    Stripe& stripe = stripes_[number];
    absl::MutexLock lock(&stripe.mutex);
    stripe.slots[slot].timestamp = kFree;
    stripe.free.push_back(slot);
  }

  const absl::Duration retention_;
  std::atomic<std::uint64_t> floor_{0};
  std::array<Stripe, kStripes> stripes_;

  absl::Mutex leases_mutex_;  // before a stripe's
  absl::flat_hash_map<std::uint64_t, LeaseEntry> leases_ ABSL_GUARDED_BY(leases_mutex_);
  std::deque<Sample> samples_ ABSL_GUARDED_BY(leases_mutex_);  // in the order of time
};

}  // namespace alos

#endif  // ALOS_TXN_SNAPSHOT_REGISTRY_H_
