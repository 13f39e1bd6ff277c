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
#include "alos/base/check.h"
#include "alos/base/epoch.h"

namespace alos {

// Threads: Put and Reset belong to the shard's writer role; Find may be called by any thread at any
// time inside a guard of `epochs`, takes no lock and never waits.
// Durability: none of its own; alos/index/primary_checkpoint.h stores and loads it.
class PrimaryIndex {
 public:
  static constexpr std::uint64_t kOffsetMax = (std::uint64_t{1} << 47) - 8;

  explicit PrimaryIndex(EpochManager* epochs)
      : epochs_(epochs), table_(new Table(kInitialCapacity)) {}
  ~PrimaryIndex() { delete table_.load(std::memory_order_relaxed); }
  PrimaryIndex(const PrimaryIndex&) = delete;
  PrimaryIndex& operator=(const PrimaryIndex&) = delete;

  // The offset of the newest record for which `matches(offset)` holds, or 0. `matches` is called
  // for the few records whose hash agrees in its stored bits.
  template <class Matches>
  std::uint64_t Find(std::uint64_t hash, Matches&& matches) const {
    const Table& table = *table_.load(std::memory_order_acquire);
    for (std::uint64_t i = hash & table.mask;; i = (i + 1) & table.mask) {
      const std::uint64_t slot = table.slots[i].load(std::memory_order_acquire);
      if (slot == 0) return 0;
      if ((slot ^ hash) >> kOffsetBits == 0 && matches(Offset(slot))) return Offset(slot);
    }
  }

  // Makes `offset` the newest record of its key, whose previous newest was at `previous` (0: a new
  // key). `hash_at(offset)` gives the hash of the key at an offset, for growing.
  // Cost: amortised O(1); when the table doubles, one visit of every record.
  template <class HashAt>
  void Put(std::uint64_t hash, std::uint64_t previous, std::uint64_t offset, HashAt&& hash_at) {
    ALOS_DCHECK(offset != 0 && offset % 8 == 0 && offset <= kOffsetMax);
    Table* table = table_.load(std::memory_order_relaxed);
    if (previous == 0 && (size_ + 1) * 10 > (table->mask + 1) * 7) table = Grow(hash_at);
    for (std::uint64_t i = hash & table->mask;; i = (i + 1) & table->mask) {
      const std::uint64_t slot = table->slots[i].load(std::memory_order_relaxed);
      if (slot == 0) {
        ALOS_CHECK(previous == 0);
        table->slots[i].store(Slot(hash, offset), std::memory_order_release);
        ++size_;
        return;
      }
      if (previous != 0 && Offset(slot) == previous) {
        table->slots[i].store(Slot(hash, offset), std::memory_order_release);
        return;
      }
    }
  }

  // Replaces the content by the slots of a checkpoint: `slots` as ForEachSlot gave them, in table
  // order, of which `size` are not empty. REQUIRES: a power of two of them, no reader yet.
  void Reset(absl::Span<const std::uint64_t> slots, std::uint64_t size) {
    ALOS_CHECK(std::has_single_bit(slots.size()) && size < slots.size());
    auto table = std::make_unique<Table>(slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i)
      table->slots[i].store(slots[i], std::memory_order_relaxed);
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

 private:
  static constexpr int kOffsetBits = 44;
  static constexpr std::uint64_t kOffsetMask = (std::uint64_t{1} << kOffsetBits) - 1;
  static constexpr std::uint64_t kInitialCapacity = 16;

  struct Table {
    explicit Table(std::uint64_t capacity)
        : mask(capacity - 1), slots(std::make_unique<std::atomic<std::uint64_t>[]>(capacity)) {}
    const std::uint64_t mask;
    const std::unique_ptr<std::atomic<std::uint64_t>[]> slots;
  };

  static constexpr std::uint64_t Slot(std::uint64_t hash, std::uint64_t offset) {
    return (hash & ~kOffsetMask) | (offset >> 3);
  }

  template <class HashAt>
  Table* Grow(HashAt&& hash_at) {
    Table* old = table_.load(std::memory_order_relaxed);
    auto table = std::make_unique<Table>((old->mask + 1) * 2);
    for (std::uint64_t i = 0; i <= old->mask; ++i) {
      const std::uint64_t slot = old->slots[i].load(std::memory_order_relaxed);
      if (slot == 0) continue;
      std::uint64_t j = hash_at(Offset(slot)) & table->mask;
      while (table->slots[j].load(std::memory_order_relaxed) != 0) j = (j + 1) & table->mask;
      table->slots[j].store(slot, std::memory_order_relaxed);
    }
    Table* grown = table.release();
    // Release: a reader that sees the new table sees its slots. Readers of the old one finish
    // there.
    table_.store(grown, std::memory_order_release);
    epochs_->Retire([old] { delete old; });
    return grown;
  }

  EpochManager* const epochs_;
  std::atomic<Table*> table_;
  std::uint64_t size_ = 0;  // the writer's
};

}  // namespace alos

#endif  // ALOS_INDEX_PRIMARY_INDEX_H_
