// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What every durability policy has to pass. In a test of yours:
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, DurabilityConformance, MyDurability);
//
// It runs the policy over real files; what it promises when power is lost is shown by running the
// whole engine on the simulated disk.

#ifndef ALOS_TESTING_CONFORMANCE_DURABILITY_CONFORMANCE_H_
#define ALOS_TESTING_CONFORMANCE_DURABILITY_CONFORMANCE_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "alos/base/posix_file_system.h"
#include "alos/storage/durability.h"
#include "gtest/gtest.h"

namespace alos {

template <class Policy>
class DurabilityConformance : public testing::Test {
 protected:
  using Log = typename Policy::template Log<PosixFileSystem>;

  DurabilityConformance()
      : directory_(absl::StrCat(testing::TempDir(), "/durability_", Policy::kName, "_",
                                testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    Open(100);
  }

  void Open(std::uint64_t newest_timestamp) {
    DurabilityOptions options;
    options.directory = directory_;
    options.newest_timestamp = newest_timestamp;
    options.flush_interval = absl::Milliseconds(20);
    options.sync_shards = [this] {
      ++shard_flushes_;
      return shard_status_.load() ? absl::OkStatus() : absl::DataLossError("the disk is gone");
    };
    auto log = Log::Open(files_, std::move(options));
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
  }

  // One commit of one record.
  absl::StatusOr<std::uint64_t> Commit(std::string_view bytes = "record", std::int64_t delta = 1) {
    CommitRecord record{.shard = 1, .generation = 2, .offset = 512, .bytes = bytes};
    const CounterDelta change{&counter_, delta};
    return log_->Commit(
        [&](std::uint64_t timestamp) {
          record.offset += 64 * timestamp;
          return absl::MakeConstSpan(&record, 1);
        },
        absl::MakeConstSpan(&change, 1));
  }

  absl::Status Wait(std::uint64_t timestamp) {
    absl::Notification done;
    absl::Status result;
    log_->NotifyVisible(timestamp, [&](absl::Status status) {
      result = std::move(status);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }

  PosixFileSystem files_;
  std::string directory_;
  std::atomic<int> shard_flushes_{0};
  std::atomic<bool> shard_status_{true};
  std::atomic<std::int64_t> counter_{0};
  std::unique_ptr<Log> log_;
};

TYPED_TEST_SUITE_P(DurabilityConformance);

TYPED_TEST_P(DurabilityConformance, WhatWasRecoveredIsVisible) {
  EXPECT_EQ(this->log_->visible_timestamp(), 100u);
}

TYPED_TEST_P(DurabilityConformance, TimestampsIncreaseAndBecomeVisible) {
  std::uint64_t last = 100;
  for (int i = 0; i < 100; ++i) {
    const auto timestamp = this->Commit();
    ASSERT_TRUE(timestamp.ok()) << timestamp.status();
    EXPECT_GT(*timestamp, last);
    last = *timestamp;
    ASSERT_TRUE(this->Wait(last).ok());
    EXPECT_GE(this->log_->visible_timestamp(), last);
    EXPECT_EQ(this->counter_.load(), i + 1) << "the counters change with visibility";
  }
}

TYPED_TEST_P(DurabilityConformance, SealRunsExactlyOnceWithTheReturnedTimestamp) {
  int calls = 0;
  std::uint64_t sealed = 0;
  const auto timestamp = this->log_->Commit(
      [&](std::uint64_t given) {
        ++calls;
        sealed = given;
        return absl::Span<const CommitRecord>();
      },
      {});
  ASSERT_TRUE(timestamp.ok());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(*timestamp, sealed);
}

TYPED_TEST_P(DurabilityConformance, ConcurrentCommitsGetDistinctTimestampsAndAllBecomeVisible) {
  constexpr int kThreads = 4;
  constexpr int kCommits = 500;
  absl::Mutex mutex;
  std::set<std::uint64_t> timestamps;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kCommits; ++j) {
        const auto timestamp = this->Commit();
        ASSERT_TRUE(timestamp.ok());
        absl::MutexLock lock(&mutex);
        timestamps.insert(*timestamp);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(timestamps.size(), static_cast<std::size_t>(kThreads * kCommits));
  ASSERT_TRUE(this->Wait(*timestamps.rbegin()).ok());
  EXPECT_EQ(this->log_->visible_timestamp(), *timestamps.rbegin());
  EXPECT_EQ(this->counter_.load(), kThreads * kCommits);
}

TYPED_TEST_P(DurabilityConformance, FlushAndCloseSucceedAfterCommits) {
  ASSERT_TRUE(this->Commit().ok());
  EXPECT_TRUE(this->log_->Flush().ok());
  EXPECT_TRUE(this->log_->health().ok());
  EXPECT_TRUE(this->log_->Close().ok());
  EXPECT_GT(this->shard_flushes_.load(), 0) << "a clean close leaves everything in the shard logs";
  this->log_.reset();
}

TYPED_TEST_P(DurabilityConformance, DestructionWithoutCloseEndsCleanly) {
  ASSERT_TRUE(this->Commit().ok());
  this->log_.reset();
}

TYPED_TEST_P(DurabilityConformance, LargeCommitsPass) {
  const auto timestamp = this->Commit(std::string(10 << 20, 'x'));
  ASSERT_TRUE(timestamp.ok());
  EXPECT_TRUE(this->Wait(*timestamp).ok());
}

// A flush that failed is final: Close says so, whatever a later flush would say.
TYPED_TEST_P(DurabilityConformance, AFailedShardFlushIsReported) {
  ASSERT_TRUE(this->Commit().ok());
  this->shard_status_ = false;
  EXPECT_FALSE(this->log_->Close().ok());
  this->log_.reset();
}

REGISTER_TYPED_TEST_SUITE_P(DurabilityConformance, WhatWasRecoveredIsVisible,
                            TimestampsIncreaseAndBecomeVisible,
                            SealRunsExactlyOnceWithTheReturnedTimestamp,
                            ConcurrentCommitsGetDistinctTimestampsAndAllBecomeVisible,
                            FlushAndCloseSucceedAfterCommits, DestructionWithoutCloseEndsCleanly,
                            LargeCommitsPass, AFailedShardFlushIsReported);

}  // namespace alos

#endif  // ALOS_TESTING_CONFORMANCE_DURABILITY_CONFORMANCE_H_
