// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/txn/snapshot_registry.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using Pin = SnapshotRegistry::Pin;

TEST(SnapshotRegistryTest, PinsHoldTheFloorDown) {
  SnapshotRegistry registry(absl::ZeroDuration());
  std::uint64_t visible = 10;
  const auto read = [&] { return visible; };
  Pin old = registry.PinNewest(read);
  EXPECT_EQ(old.timestamp(), 10u);
  visible = 20;
  Pin young = registry.PinNewest(read);
  visible = 30;
  EXPECT_EQ(registry.Raise(visible), 10u);
  EXPECT_EQ(registry.statistics().pins, 2u);
  EXPECT_EQ(registry.statistics().oldest_timestamp, 10u);
  old = std::move(young);
  EXPECT_EQ(registry.Raise(visible), 20u);
  old.Release();
  EXPECT_EQ(registry.Raise(visible), 30u);
  EXPECT_EQ(registry.statistics().pins, 0u);
  EXPECT_EQ(registry.statistics().oldest_timestamp, 0u);
}

TEST(SnapshotRegistryTest, WhatWasRaisedCannotBePinnedAnyMore) {
  SnapshotRegistry registry(absl::ZeroDuration());
  EXPECT_TRUE(registry.PinAt(5).has_value());
  EXPECT_EQ(registry.Raise(7), 7u);
  EXPECT_FALSE(registry.PinAt(6).has_value());
  EXPECT_FALSE(registry.Lease(6, absl::Minutes(1)));
  EXPECT_TRUE(registry.PinAt(7).has_value());
  SnapshotRegistry next(absl::ZeroDuration());
  next.Restore(7);
  EXPECT_FALSE(next.PinAt(6).has_value());
}

// The first batch of a cursor reads a pinned snapshot, and leaves a lease on it: however far the
// floor was raised meanwhile.
TEST(SnapshotRegistryTest, WhatIsPinnedCanBeLeased) {
  SnapshotRegistry registry(absl::ZeroDuration());
  Pin pin = registry.PinNewest([] { return std::uint64_t{10}; });
  EXPECT_EQ(registry.Raise(20), 10u);
  EXPECT_FALSE(registry.Lease(11, absl::Minutes(1)));
  EXPECT_TRUE(registry.Lease(10, absl::Minutes(1)));
  pin.Release();
  EXPECT_EQ(registry.Raise(30), 10u);
  EXPECT_TRUE(registry.PinAt(10).has_value());
  registry.EndLease(10);
  EXPECT_EQ(registry.Raise(30), 30u);
}

TEST(SnapshotRegistryTest, HistoryIsKeptAsLongAsSaid) {
  SnapshotRegistry registry(absl::Minutes(5));
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  for (int second = 0; second <= 300; ++second) {
    registry.Tick(100 + static_cast<std::uint64_t>(second), start + absl::Seconds(second));
    if (second < 300) {
      // Nothing is known to be old enough.
      EXPECT_EQ(registry.Raise(1000, start + absl::Seconds(second)), 0u);
    }
  }
  EXPECT_EQ(registry.Raise(1000, start + absl::Seconds(300)), 100u);
  for (int second = 301; second <= 900; ++second)
    registry.Tick(100 + static_cast<std::uint64_t>(second), start + absl::Seconds(second));
  EXPECT_EQ(registry.Raise(1000, start + absl::Seconds(900)), 700u);
  EXPECT_FALSE(registry.PinAt(699).has_value());
  EXPECT_TRUE(registry.PinAt(700).has_value());
  // A clock that goes back takes nothing back.
  EXPECT_EQ(registry.Raise(1000, start), 700u);
}

TEST(SnapshotRegistryTest, LeasesEndWhenNobodyComesBack) {
  SnapshotRegistry registry(absl::ZeroDuration());
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  EXPECT_TRUE(registry.Lease(5, absl::Minutes(10), start));
  EXPECT_EQ(registry.Raise(9, start), 5u);
  // Below the floor by now, but leased.
  EXPECT_TRUE(registry.Lease(5, absl::Minutes(10), start + absl::Minutes(8)));
  EXPECT_TRUE(registry.PinAt(5).has_value());
  EXPECT_FALSE(registry.PinAt(6).has_value());
  registry.Tick(9, start + absl::Minutes(17));
  EXPECT_EQ(registry.Raise(9, start), 5u);
  registry.Tick(9, start + absl::Minutes(19));
  EXPECT_EQ(registry.Raise(9, start), 9u);
  EXPECT_FALSE(registry.Lease(5, absl::Minutes(10), start + absl::Minutes(20)));
}

// The floor is never above what somebody pinned, however the two race.
TEST(SnapshotRegistryTest, NobodyPinsWhatIsBeingReclaimed) {
  SnapshotRegistry registry(absl::ZeroDuration());
  std::atomic<std::uint64_t> visible{1};
  std::atomic<std::uint64_t> reclaimed{0};  // known to be safe
  std::atomic<bool> stop{false};
  std::atomic<int> violations{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      for (std::uint64_t n = 0; n < 20'000; ++n) {
        std::optional<Pin> pin;
        if ((n + static_cast<std::uint64_t>(i)) % 2 == 0) {
          pin = registry.PinNewest([&] { return visible.load(); });
        } else {
          const std::uint64_t now = visible.load();
          pin = registry.PinAt(now - std::min<std::uint64_t>(now, n % 4));
        }
        if (pin && pin->timestamp() < reclaimed.load()) ++violations;
      }
    });
  }
  std::thread reclaimer([&] {
    while (!stop) {
      visible.fetch_add(1);
      reclaimed.store(registry.Raise(visible.load()));
    }
  });
  for (std::thread& reader : readers) reader.join();
  stop = true;
  reclaimer.join();
  EXPECT_EQ(violations, 0);
}

}  // namespace
}  // namespace alos
