// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/index/primary_index.h"

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// Where the records of a log begin.
std::uint64_t OffsetOf(std::uint64_t number) { return 512 + 8 * number; }

// Stands for the log: which key lies at which offset. Keys are their own hashes, spread.
class FakeLog {
 public:
  explicit FakeLog(std::size_t capacity) : keys_(capacity) {}
  std::uint64_t Append(std::uint64_t key) {
    keys_[size_].store(key, std::memory_order_relaxed);
    return OffsetOf(size_++);
  }
  std::uint64_t KeyAt(std::uint64_t offset) const {
    return keys_[offset / 8 - 64].load(std::memory_order_relaxed);
  }

 private:
  std::vector<std::atomic<std::uint64_t>> keys_;
  std::size_t size_ = 0;
};

std::uint64_t Hash(std::uint64_t key) { return key * 0x9E3779B97F4A7C15u; }

std::uint64_t Find(const PrimaryIndex& index, const FakeLog& log, std::uint64_t key) {
  return index.Find(Hash(key), [&](std::uint64_t offset) { return log.KeyAt(offset) == key; });
}
void Put(PrimaryIndex& index, FakeLog& log, std::uint64_t key) {
  const std::uint64_t previous = Find(index, log, key);
  index.Put(Hash(key), previous, log.Append(key),
            [&](std::uint64_t offset) { return Hash(log.KeyAt(offset)); });
}

TEST(PrimaryIndexTest, AgreesWithAMap) {
  EpochManager epochs;
  PrimaryIndex index(&epochs);
  FakeLog log(20000);
  absl::flat_hash_map<std::uint64_t, std::uint64_t> model;
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t key = random() % 6000;
    Put(index, log, key);
    model[key] = OffsetOf(static_cast<std::uint64_t>(i));
  }
  EXPECT_EQ(index.size(), model.size());
  for (std::uint64_t key = 0; key < 7000; ++key) {
    const auto found = model.find(key);
    EXPECT_EQ(Find(index, log, key), found == model.end() ? 0 : found->second) << key;
  }
}

// Keys whose stored hash bits are all alike are still told apart.
TEST(PrimaryIndexTest, KeysWithTheSameHashAreToldApartByTheLog) {
  EpochManager epochs;
  PrimaryIndex index(&epochs);
  FakeLog log(100);
  const auto find = [&](std::uint64_t key) {
    return index.Find(7, [&](std::uint64_t offset) { return log.KeyAt(offset) == key; });
  };
  for (std::uint64_t key = 0; key < 100; ++key) {
    index.Put(7, find(key), log.Append(key), [](std::uint64_t) { return std::uint64_t{7}; });
  }
  for (std::uint64_t key = 0; key < 100; ++key) EXPECT_EQ(find(key), OffsetOf(key));
  EXPECT_EQ(find(100), 0u);
}

TEST(PrimaryIndexTest, SlotsRestoreTheTable) {
  EpochManager epochs;
  PrimaryIndex index(&epochs);
  FakeLog log(5000);
  for (std::uint64_t key = 0; key < 5000; ++key) Put(index, log, key);
  std::vector<std::uint64_t> slots;
  index.ForEachSlot([&](std::uint64_t slot) { slots.push_back(slot); });
  PrimaryIndex restored(&epochs);
  restored.Reset(slots, index.size());
  for (std::uint64_t key = 0; key < 5100; ++key)
    EXPECT_EQ(Find(restored, log, key), Find(index, log, key));
  EXPECT_EQ(restored.size(), 5000u);
}

// Keys come and go; those that are there are found, whatever was removed around them.
TEST(PrimaryIndexTest, RemovedKeysAreGoneAndTheirSlotsAreUsedAgain) {
  EpochManager epochs;
  PrimaryIndex index(&epochs);
  constexpr std::uint64_t kKeys = 3000;
  FakeLog log(200000);
  const auto hash_at = [&](std::uint64_t offset) { return Hash(log.KeyAt(offset)); };
  absl::flat_hash_map<std::uint64_t, std::uint64_t> model;
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200000; ++i) {
    const std::uint64_t key = random() % kKeys;
    const auto known = model.find(key);
    if (known != model.end() && random() % 2 == 0) {
      EXPECT_TRUE(index.Holds(Hash(key), known->second));
      EXPECT_FALSE(index.Remove(Hash(key), known->second + 8, hash_at));
      EXPECT_TRUE(index.Remove(Hash(key), known->second, hash_at));
      EXPECT_FALSE(index.Holds(Hash(key), known->second));
      model.erase(known);
    } else {
      Put(index, log, key);
      model[key] = Find(index, log, key);
    }
  }
  EXPECT_EQ(index.size(), model.size());
  EXPECT_LE(index.capacity(), 4 * kKeys) << "removed keys took space for ever";
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    const auto found = model.find(key);
    EXPECT_EQ(Find(index, log, key), found == model.end() ? 0 : found->second) << key;
  }
  // A checkpoint keeps what look-ups have to pass.
  std::vector<std::uint64_t> slots;
  index.ForEachSlot([&](std::uint64_t slot) { slots.push_back(slot); });
  PrimaryIndex restored(&epochs);
  restored.Reset(slots, index.size());
  for (const auto& [key, offset] : model) EXPECT_EQ(Find(restored, log, key), offset);
  std::vector<std::uint64_t> below;
  const std::uint64_t middle = OffsetOf(100000);
  std::uint64_t position = 0;
  const auto note = [&](std::uint64_t offset) {
    below.push_back(offset);
    return below.size() % 100 != 0;
  };
  while (index.VisitBelow(middle, &position, note)) {
  }
  std::size_t expected = 0;
  for (const auto& [key, offset] : model) expected += offset < middle;
  EXPECT_EQ(below.size(), expected);
  while (!model.empty()) {
    EXPECT_TRUE(index.Remove(Hash(model.begin()->first), model.begin()->second, hash_at));
    model.erase(model.begin());
  }
  EXPECT_EQ(index.size(), 0u);
  EXPECT_LE(index.capacity(), 64u) << "an empty table stayed large";
}

// Readers never miss a key that was there before they looked, while the table grows under them.
TEST(PrimaryIndexTest, ReadersSeeEveryKeyWhileTheTableGrows) {
  EpochManager epochs;
  PrimaryIndex index(&epochs);
  constexpr std::uint64_t kKeys = 30000;
  FakeLog log(kKeys);
  std::atomic<std::uint64_t> written{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&, i] {
      std::mt19937_64 random(static_cast<std::uint64_t>(i));
      while (true) {
        const std::uint64_t count = written.load(std::memory_order_acquire);
        if (count == kKeys) return;
        if (count == 0) continue;
        const std::uint64_t key = random() % count;
        const auto guard = epochs.Enter();
        ASSERT_EQ(Find(index, log, key), OffsetOf(key));
      }
    });
  }
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    Put(index, log, key);
    written.store(key + 1, std::memory_order_release);
  }
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace alos
