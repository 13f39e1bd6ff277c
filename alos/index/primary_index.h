// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The primary index of one shard: where the newest version of each document lies in the shard's
// log.
//
// A hash table of 8-byte slots, open addressing, linear probing:
//
//   bits 63..44   the top 20 bits of the key's hash
//   bits 43..0    log offset / 8; a slot of zero is empty (no record lies at offset 0)
//
// A slot of one, offset 8, where no record lies either, had a key that was removed: look-ups go on
// behind it.
//
// Keys are not stored: the record at the offset has the id. So a document costs 8 bytes divided by
// the load factor (0.35 to 0.7), and a lookup one cache miss here and one in the log.

#ifndef ALOS_INDEX_PRIMARY_INDEX_H_
#define ALOS_INDEX_PRIMARY_INDEX_H_

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/types/span.h"
#include "alos/base/atomics.h"
#include "alos/base/check.h"
#include "alos/base/epoch.h"

namespace alos {

// Threads: Put, Remove and Reset belong to the shard's writer role; Find, Holds and VisitBelow may
// be called by any thread at any time inside a guard of `epochs`, take no lock and never wait.
// Durability: none of its own; alos/index/primary_checkpoint.h stores and loads it.
template <class Atomics, std::uint64_t kInitialCapacity>
class BasicPrimaryIndex {
 public:
  static constexpr std::uint64_t kOffsetMax = (std::uint64_t{1} << 47) - 8;

  explicit BasicPrimaryIndex(BasicEpochManager<Atomics>* epochs)
      : epochs_(epochs), table_(new Table(kInitialCapacity)) {}
  ~BasicPrimaryIndex() { delete table_.load(std::memory_order_relaxed); }
  BasicPrimaryIndex(const BasicPrimaryIndex&) = delete;
  BasicPrimaryIndex& operator=(const BasicPrimaryIndex&) = delete;

  // The offset of the newest record for which `matches(offset)` holds, or 0. `matches` is called
  // for the few records whose hash agrees in its stored bits.
  template <class Matches>
  std::uint64_t Find(std::uint64_t hash, Matches&& matches) const {
    const Table& table = *table_.load(std::memory_order_acquire);
    for (std::uint64_t i = hash & table.mask;; i = (i + 1) & table.mask) {
      const std::uint64_t slot = table.slots[i].load(std::memory_order_acquire);
      if (slot == 0) return 0;
      if ((slot ^ hash) >> kOffsetBits == 0 && IsUsed(slot) && matches(Offset(slot)))
        return Offset(slot);
    }
  }

  // Whether `offset` is the newest record of its key, whose hash this is. Cost: no look at records.
  bool Holds(std::uint64_t hash, std::uint64_t offset) const {
    const Table& table = *table_.load(std::memory_order_acquire);
    for (std::uint64_t i = hash & table.mask;; i = (i + 1) & table.mask) {
      const std::uint64_t slot = table.slots[i].load(std::memory_order_acquire);
      if (slot == 0) return false;
      if (slot == Slot(hash, offset)) return true;
    }
  }

  // Calls `visit(offset)` for the records below `offset_max` that are the newest of their keys, in
  // the order of the table from slot *position on, until it returns false; then *position is where
  // to go on. False at the end. When the table is rebuilt between two calls, some may be left out.
  template <class Visit>
  bool VisitBelow(std::uint64_t offset_max, std::uint64_t* position, Visit&& visit) const {
    const Table& table = *table_.load(std::memory_order_acquire);
    while (*position <= table.mask) {
      const std::uint64_t slot = table.slots[(*position)++].load(std::memory_order_acquire);
      if (IsUsed(slot) && Offset(slot) < offset_max && !visit(Offset(slot))) return true;
    }
    return false;
  }

  // Makes `offset` the newest record of its key, whose previous newest was at `previous` (0: a new
  // key). `hash_at(offset)` gives the hash of the key at an offset, for growing.
  // Cost: amortised O(1); when the table doubles, one visit of every record.
  template <class HashAt>
  void Put(std::uint64_t hash, std::uint64_t previous, std::uint64_t offset, HashAt&& hash_at) {
    ALOS_DCHECK(offset != 0 && offset % 8 == 0 && offset <= kOffsetMax);
    Table* table = table_.load(std::memory_order_relaxed);
    if (previous == 0 && (size_ + removed_ + 1) * 10 > (table->mask + 1) * 7)
      table = Rebuild(hash_at);
    for (std::uint64_t i = hash & table->mask;; i = (i + 1) & table->mask) {
      const std::uint64_t slot = table->slots[i].load(std::memory_order_relaxed);
      if (slot == 0 || (slot == kRemoved && previous == 0)) {
        ALOS_CHECK(previous == 0);
        table->slots[i].store(Slot(hash, offset), std::memory_order_release);
        ++size_;
        if (slot == kRemoved) --removed_;
        return;
      }
      if (previous != 0 && Offset(slot) == previous) {
        table->slots[i].store(Slot(hash, offset), std::memory_order_release);
        return;
      }
    }
  }

  // Takes the key out whose newest record is at `offset`; false when it is not. A table that is
  // nearly empty then shrinks: hash_at as in Put.
  template <class HashAt>
  bool Remove(std::uint64_t hash, std::uint64_t offset, HashAt&& hash_at) {
    Table* table = table_.load(std::memory_order_relaxed);
    std::uint64_t i = hash & table->mask;
    while (true) {
      const std::uint64_t slot = table->slots[i].load(std::memory_order_relaxed);
      if (slot == 0) return false;
      if (slot == Slot(hash, offset)) break;
      i = (i + 1) & table->mask;
    }
    table->slots[i].store(kRemoved, std::memory_order_release);
    --size_;
    ++removed_;
    const std::uint64_t capacity = table->mask + 1;
    if (size_ <= kShrinkKeysMax && capacity <= kShrinkCapacityMax && capacity > kInitialCapacity &&
        (size_ + 1) * 16 < capacity) {
      Rebuild(hash_at);
    }
    return true;
  }

  // Replaces the content by the slots of a checkpoint: `slots` as ForEachSlot gave them, in table
  // order, of which `size` are not empty. REQUIRES: a power of two of them, no reader yet.
  void Reset(absl::Span<const std::uint64_t> slots, std::uint64_t size) {
    ALOS_CHECK(std::has_single_bit(slots.size()) && size < slots.size());
    auto table = std::make_unique<Table>(slots.size());
    removed_ = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      table->slots[i].store(slots[i], std::memory_order_relaxed);
      removed_ += slots[i] == kRemoved;
    }
    delete table_.exchange(table.release(), std::memory_order_release);
    size_ = size;
  }

  // Calls `visit(slot)` for each slot in table order, empty ones included. The writer's.
  template <class Visit>
  void ForEachSlot(Visit&& visit) const {
    const Table& table = *table_.load(std::memory_order_relaxed);
    for (std::uint64_t i = 0; i <= table.mask; ++i)
      visit(table.slots[i].load(std::memory_order_relaxed));
  }

  // Keys in the table, deleted documents included. The writer's.
  std::uint64_t size() const { return size_; }
  std::uint64_t capacity() const { return table_.load(std::memory_order_acquire)->mask + 1; }

  static constexpr std::uint64_t Offset(std::uint64_t slot) { return (slot & kOffsetMask) << 3; }
  // Whether a slot has a key.
  static constexpr bool IsUsed(std::uint64_t slot) { return slot != 0 && slot != kRemoved; }

 private:
  static constexpr int kOffsetBits = 44;
  static constexpr std::uint64_t kOffsetMask = (std::uint64_t{1} << kOffsetBits) - 1;
  static constexpr std::uint64_t kRemoved = 1;
  // Larger tables, or with more keys, are not rebuilt to be smaller: writers would wait for long.
  static constexpr std::uint64_t kShrinkKeysMax = 1024;
  static constexpr std::uint64_t kShrinkCapacityMax = std::uint64_t{1} << 19;

  template <class T>
  using Atomic = typename Atomics::template Atomic<T>;
  struct Table {
    explicit Table(std::uint64_t capacity)
        : mask(capacity - 1), slots(std::make_unique<Atomic<std::uint64_t>[]>(capacity)) {}
    const std::uint64_t mask;
    const std::unique_ptr<Atomic<std::uint64_t>[]> slots;
  };

  static constexpr std::uint64_t Slot(std::uint64_t hash, std::uint64_t offset) {
    return (hash & ~kOffsetMask) | (offset >> 3);
  }

  // A table without removed keys, of the size that its keys need.
  template <class HashAt>
  Table* Rebuild(HashAt&& hash_at) {
    Table* old = table_.load(std::memory_order_relaxed);
    std::uint64_t capacity = kInitialCapacity;
    while ((size_ + 1) * 2 > capacity) capacity *= 2;
    auto table = std::make_unique<Table>(capacity);
    for (std::uint64_t i = 0; i <= old->mask; ++i) {
      const std::uint64_t slot = old->slots[i].load(std::memory_order_relaxed);
      if (!IsUsed(slot)) continue;
      std::uint64_t j = hash_at(Offset(slot)) & table->mask;
      while (table->slots[j].load(std::memory_order_relaxed) != 0) j = (j + 1) & table->mask;
      table->slots[j].store(slot, std::memory_order_relaxed);
    }
    Table* rebuilt = table.release();
    removed_ = 0;
    // Release: a reader that sees the new table sees its slots. Readers of the old one finish
    // there.
    table_.store(rebuilt, std::memory_order_release);
    epochs_->Retire([old] { delete old; });
    return rebuilt;
  }

  BasicEpochManager<Atomics>* const epochs_;
  Atomic<Table*> table_;
  // The writer's.
  std::uint64_t size_ = 0;
  std::uint64_t removed_ = 0;
};

using PrimaryIndex = BasicPrimaryIndex<StdAtomics, 16>;

}  // namespace alos

#endif  // ALOS_INDEX_PRIMARY_INDEX_H_
