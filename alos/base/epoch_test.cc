// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/epoch.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/synchronization/barrier.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// Counts objects that are alive.
class Counted {
 public:
  explicit Counted(std::atomic<int>* alive) : alive_(alive) { ++*alive_; }
  ~Counted() { --*alive_; }

 private:
  std::atomic<int>* const alive_;
};

TEST(EpochTest, WithoutReadersCollectRunsEverything) {
  EpochManager epochs;
  int runs = 0;
  epochs.Retire([&] { ++runs; });
  epochs.Retire([&] { ++runs; });
  EXPECT_EQ(runs, 0) << "Retire does not run what it is given at once";
  EXPECT_EQ(epochs.Collect(), 2u);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(epochs.Collect(), 0u);
  EXPECT_EQ(epochs.statistics().retired, 2u);
  EXPECT_EQ(epochs.statistics().reclaimed, 2u);
  EXPECT_EQ(epochs.statistics().collections, 1u);
}

TEST(EpochTest, WhatAGuardMayFindStaysUntilItDies) {
  EpochManager epochs;
  std::atomic<int> alive{0};
  {
    const EpochGuard guard(epochs);
    epochs.Retire(std::make_unique<Counted>(&alive));
    EXPECT_EQ(epochs.Collect(), 0u);
    EXPECT_EQ(epochs.Collect(), 0u);
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(epochs.Collect(), 1u);
  EXPECT_EQ(alive, 0);
}

TEST(EpochTest, NestedGuardsCountOnce) {
  EpochManager epochs;
  std::atomic<int> alive{0};
  {
    const EpochManager::Guard outer = epochs.Enter();
    {
      const EpochManager::Guard inner = epochs.Enter();
      epochs.Retire(std::make_unique<Counted>(&alive));
    }
    EXPECT_EQ(epochs.Collect(), 0u) << "the outer guard is still there";
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(epochs.Collect(), 1u);
}

// Otherwise two readers that overlap in turn would keep everything for ever.
TEST(EpochTest, AReaderThatCameLaterHoldsNothingBack) {
  EpochManager epochs;
  std::atomic<int> alive{0};
  absl::Notification entered;
  absl::Notification leave;
  std::thread late;
  {
    const EpochGuard early(epochs);
    epochs.Retire(std::make_unique<Counted>(&alive));
    EXPECT_EQ(epochs.Collect(), 0u);
    late = std::thread([&] {
      const EpochGuard guard(epochs);
      entered.Notify();
      leave.WaitForNotification();
    });
    entered.WaitForNotification();
  }
  EXPECT_EQ(epochs.Collect(), 1u) << "only the early reader could have seen it";
  EXPECT_EQ(alive, 0);
  epochs.Retire(std::make_unique<Counted>(&alive));
  EXPECT_EQ(epochs.Collect(), 0u) << "this one the late reader may have seen";
  leave.Notify();
  late.join();
  EXPECT_EQ(epochs.Collect(), 1u);
}

TEST(EpochTest, DestructorRunsEverythingAlsoWhatDeletersRetire) {
  int runs = 0;
  {
    EpochManager epochs;
    epochs.Retire([&] {
      ++runs;
      epochs.Retire([&] {
        ++runs;
        epochs.Retire([&] { ++runs; });
      });
    });
  }
  EXPECT_EQ(runs, 3);
}

TEST(EpochTest, RetireCollectsByItself) {
  EpochManager epochs;
  std::atomic<int> alive{0};
  int alive_max = 0;
  for (int i = 0; i < 10'000; ++i) {
    epochs.Retire(std::make_unique<Counted>(&alive));
    alive_max = std::max(alive_max, alive.load());
  }
  EXPECT_LE(alive_max, 64);
  EXPECT_LE(epochs.statistics().collections, 10'000u / 64 + 1);
}

// With a reader that never leaves, each scan must wait for twice as much: else Retire gets linear.
TEST(EpochTest, AStuckReaderDoesNotMakeRetireSlow) {
  EpochManager epochs;
  std::atomic<int> alive{0};
  {
    const EpochGuard stuck(epochs);
    for (int i = 0; i < 10'000; ++i) epochs.Retire(std::make_unique<Counted>(&alive));
    EXPECT_EQ(alive, 10'000);
    EXPECT_LE(epochs.statistics().collections, 10u);
  }
  EXPECT_EQ(epochs.Collect(), 10'000u);
  EXPECT_EQ(alive, 0);
}

TEST(EpochTest, DeletersThatRetireDoNotRecurse) {
  EpochManager epochs;
  int depth = 0;
  int depth_max = 0;
  int left = 20'000;
  std::function<void()> again = [&] {
    depth_max = std::max(depth_max, ++depth);
    if (left-- > 0) epochs.Retire(again);
    --depth;
  };
  for (int i = 0; i < 200; ++i) epochs.Retire(again);
  while (epochs.Collect() != 0) {
  }
  EXPECT_LE(left, 0);
  EXPECT_LE(depth_max, 2);
}

TEST(EpochTest, ManagersAreIndependent) {
  std::vector<std::unique_ptr<EpochManager>> managers;
  for (int i = 0; i < 20; ++i) managers.push_back(std::make_unique<EpochManager>());
  std::vector<int> runs(managers.size());
  // More managers than a thread's cache has entries, in use by turns.
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < managers.size(); ++i) {
      const EpochGuard guard(*managers[i]);
      const std::size_t other = (i + 1) % managers.size();
      managers[i]->Retire([&runs, i] { ++runs[i]; });
      EXPECT_EQ(managers[i]->Collect(), 0u);
      managers[other]->Collect();
    }
  }
  managers.clear();
  EXPECT_EQ(runs, std::vector<int>(20, 3));
}

TEST(EpochTest, SlotsOfEndedThreadsAreReused) {
  EpochManager epochs;
  for (int i = 0; i < 100; ++i) {
    std::thread([&] { const EpochGuard guard(epochs); }).join();
  }
  EXPECT_EQ(epochs.SlotCountForTest(), 1u);
  constexpr int kAtOnce = 50;
  auto* const barrier = new absl::Barrier(kAtOnce);
  std::vector<std::thread> threads;
  for (int i = 0; i < kAtOnce; ++i) {
    threads.emplace_back([&] {
      const EpochGuard guard(epochs);
      if (barrier->Block()) delete barrier;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(epochs.SlotCountForTest(), 50u);
}

TEST(EpochTest, ThreadsMayOutliveTheManager) {
  absl::Notification used;
  absl::Notification gone;
  auto epochs = std::make_unique<EpochManager>();
  std::thread thread([&] {
    { const EpochGuard guard(*epochs); }
    used.Notify();
    gone.WaitForNotification();
    EpochManager another;  // Makes the thread forget the first.
    const EpochGuard guard(another);
  });
  used.WaitForNotification();
  epochs.reset();
  gone.Notify();
  thread.join();
}

TEST(EpochDeathTest, AGuardThatOutlivesItsManagerIsABug) {
  EXPECT_DEATH(
      {
        std::optional<EpochManager> epochs(std::in_place);
        const EpochGuard guard(*epochs);
        epochs.reset();
      },
      "ALOS_CHECK");
}

// The thing itself: readers chase pointers that writers replace. A node that is freed too early is
// a use after free under AddressSanitizer, a race with its destructor under ThreadSanitizer, and,
// most of the time, a wrong checksum without either.
struct Node {
  explicit Node(std::uint64_t v) : value(v), check(~v) {}
  ~Node() { value = check = 0xdead; }
  std::uint64_t value;
  std::uint64_t check;
};

class EpochStress {
 public:
  void Run(int readers, int writers, int writes) {
    for (auto& place : places_) place.store(new Node(0), std::memory_order_release);
    std::vector<std::thread> threads;
    std::atomic<int> writers_left{writers};
    for (int t = 0; t < writers; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(t);
        for (int i = 0; i < writes; ++i) Replace(random());
        --writers_left;
      });
    }
    for (int t = 0; t < readers; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(1000 + t);
        do {
          // Threads that come and go: slots change hands under load.
          if (random() % 512 == 0) {
            std::thread([&] { Read(random); }).join();
          } else {
            Read(random);
          }
        } while (writers_left.load() > 0);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (auto& place : places_) delete place.load();
  }

  std::uint64_t wrong() const { return wrong_.load(); }
  EpochManager& epochs() { return epochs_; }

 private:
  void Replace(std::uint64_t value) {
    Node* const old =
        places_[value % places_.size()].exchange(new Node(value), std::memory_order_acq_rel);
    epochs_.Retire(absl::WrapUnique(old));
  }

  void Read(std::mt19937_64& random) {
    const EpochGuard guard(epochs_);
    const Node* nodes[4];
    for (auto& node : nodes) {
      node = places_[random() % places_.size()].load(std::memory_order_acquire);
    }
    if (random() % 64 == 0) std::this_thread::yield();
    for (const Node* node : nodes) {
      const EpochGuard nested(epochs_);
      if (node->check != ~node->value) wrong_.fetch_add(1);
    }
  }

  EpochManager epochs_;
  std::array<std::atomic<Node*>, 8> places_{};
  std::atomic<std::uint64_t> wrong_{0};
};

// The scaffolding alone: one reader after one writer.
TEST(EpochStressTest, WithoutContention) {
  EpochStress stress;
  stress.Run(1, 1, 100);
  EXPECT_EQ(stress.wrong(), 0u);
}

TEST(EpochStressTest, ReadersNeverSeeAFreedNode) {
  EpochStress stress;
  stress.Run(4, 2, 50'000);
  EXPECT_EQ(stress.wrong(), 0u);
  EXPECT_EQ(stress.epochs().statistics().retired, 100'000u);
  stress.epochs().Collect();
  EXPECT_EQ(stress.epochs().statistics().reclaimed, 100'000u);
}

}  // namespace
}  // namespace alos
