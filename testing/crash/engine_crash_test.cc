// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The whole engine on a simulated disk that loses power at any operation. A client works and notes
// what was acknowledged; at random operations of the disk crash images are taken; each is opened,
// some crash again and again while they recover, and what is found is compared with what had been
// promised:
//
//   sync     the state after some prefix of the operations, no shorter than what was acknowledged
//   async    of each shard a prefix, no shorter than what was flushed; of every transaction all or
//            nothing; and everything acknowledged when only the process died
//
// Then: each document is found by id, as often as it is counted, and (sampled) by its indexes; what
// was unique still is; writes are accepted; and a second start finds the same.
//
// The short form runs with the tests. A long one, and one run alone:
//
//   ./bazelw test -c opt //testing/crash:engine_crash_test --test_env=ALOS_CRASH_STATES=5000000
//       --test_timeout=86400
//   ./bazelw test //testing/crash:engine_crash_test --test_env=ALOS_CRASH_SEED=123
//
// One seed is one run. Without indexes it is the same run each time, operation by operation of the
// disk (OneSeedIsOneRun); with indexes the threads that build them decide how many files there are,
// of several commits at once the flusher decides how many make a group, and compaction waits for
// readers by the clock: OneSeedIsOneRun does without.

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/log.h"
#include "gtest/gtest.h"
#include "testing/crash/workload.h"
#include "testing/simulated_file_system.h"

namespace alos::crash {
namespace {

constexpr int kOperations = 150;
constexpr std::size_t kImages = 120;

struct Totals {
  std::uint64_t states = 0;
  std::uint64_t recovery_crashes = 0;
  std::uint64_t runs = 0;
};

template <class Durability>
class CrashRun {
 public:
  CrashRun(std::uint64_t seed, bool indexes, bool several = false, bool compacts = true)
      : disk_(seed),
        generator_(seed, indexes, several, compacts),
        random_(seed ^ 0xC4A5),
        has_indexes_(indexes),
        has_several_(several) {}

  // Works, takes images, checks them.
  void Go(Totals* totals) {
    Work();
    if (testing::Test::HasFailure()) return;
    for (Image& image : images_) {
      Check(image, totals);
      if (testing::Test::HasFailure()) return;
      ++totals->states;
      image.disk.reset();
    }
    ++totals->runs;
  }

  // The operations of the disk and what was found in the images so far: one number.
  std::uint64_t trace() const { return trace_; }

 private:
  struct Image {
    std::unique_ptr<SimulatedFileSystem> disk;
    std::string how;
    std::size_t acknowledged = 0;  // operations
    std::size_t flushed = 0;       // operations
    std::size_t started = 0;       // operations, this one included
    std::int64_t dropped = 0;      // no older document of "t" may be there
    bool has_unique = false;       // the unique index has been acknowledged
    bool killed = false;           // the process only: nothing that was written is lost
  };

  void Work() {
    Client<Durability>::Format(&disk_);
    disk_.SetObserver([this](SimulatedOperation kind, const std::string& path) {
      absl::MutexLock lock(&observer_mutex_);
      Trace(static_cast<std::uint64_t>(kind));
      for (const char c : path) Trace(static_cast<unsigned char>(c));
      if (--countdown_ > 0 || images_.size() >= kImages) return;
      countdown_ = 1 + static_cast<std::int64_t>(random_() % 8);
      const std::uint64_t count = 1 + random_() % 3;
      for (std::uint64_t i = 0; i < count; ++i) TakeImage(kind, path);
    });
    Client<Durability> client(&disk_);
    const absl::Status opened = client.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    for (int i = 0; i < kOperations; ++i) {
      const Operation operation = generator_.Next(states_.back());
      if (operation.kind == Operation::Kind::kSeveral) {
        // Each is a commit of its own. All that may be found is written down before it begins.
        for (const auto& write : operation.writes) {
          Operation one;
          one.writes = {write};
          states_.push_back(Apply(states_.back(), one));
        }
      } else {
        states_.push_back(Apply(states_.back(), operation));
      }
      ALOS_LOG(kDebug) << "operation " << i + 1 << ": " << Describe(operation);
      const absl::Status status = client.Perform(operation);
      ASSERT_TRUE(status.ok()) << "operation " << i << ": " << status;
      acknowledged_ = states_.size() - 1;
      using Kind = Operation::Kind;
      // Names and lists of collections are durable in all modes; so is what was before a flush.
      if (operation.kind == Kind::kCreateIndex) has_unique_ = true;
      if (operation.kind == Kind::kDrop) dropped_ = generator_.number() * 10;
      if (operation.kind == Kind::kFlush || operation.kind == Kind::kReopen ||
          operation.kind == Kind::kCheckpoint || Durability::kAcknowledgedIsDurable) {
        flushed_ = acknowledged_;
      }
      // The journal is trimmed on a thread of its own: it is given the time it wants.
      while (!has_several_ && JournalSegments() > 1) ::usleep(20);
      if (random_() % 12 == 0) disk_.WriteBackSome();
    }
    countdown_ = 1'000'000'000;
    client.End(false).IgnoreError();
    disk_.SetObserver(nullptr);
  }

  int JournalSegments() const {
    int count = 0;
    for (const std::string& name : disk_.Names(kDatabasePath)) {
      if (absl::StartsWith(name, kJournalFilePrefix)) ++count;
    }
    return count;
  }

  void TakeImage(SimulatedOperation kind, const std::string& path) {
    CrashOptions options;
    Image image;
    image.killed = random_() % 8 == 0;
    if (image.killed)
      options.unsynced = CrashOptions::Unsynced::kEverything;
    else if (random_() % 16 == 0)
      options.unsynced = CrashOptions::Unsynced::kNothing;
    options.unit_bytes = random_() % 3 == 0 ? 4096 : 512;
    options.tear_sectors = random_() % 3 == 0;
    options.garbage_in_growth = random_() % 3 == 0;
    image.how = absl::StrCat(image.killed ? "killed" : "power lost", " before operation ",
                             static_cast<int>(kind), " of ", path, ", units of ",
                             options.unit_bytes, options.tear_sectors ? ", torn" : "",
                             options.garbage_in_growth ? ", garbage" : "");
    image.acknowledged = acknowledged_;
    image.flushed = flushed_;
    image.started = states_.size();
    image.dropped = dropped_;
    image.has_unique = has_unique_;
    image.disk = disk_.Crash(options);
    images_.push_back(std::move(image));
  }

  void Check(Image& image, Totals* totals) {
    SCOPED_TRACE(image.how);
    ALOS_LOG(kDebug) << "image: " << image.how << "; operation " << image.acknowledged
                     << " acknowledged, " << image.started - 1 << " begun";
    // Recovery that is itself interrupted, a few times.
    while (random_() % 3 == 0) {
      std::unique_ptr<SimulatedFileSystem> after;
      std::int64_t countdown = 1 + static_cast<std::int64_t>(random_() % 60);
      CrashOptions options;
      options.tear_sectors = random_() % 2 == 0;
      if (image.killed) options.unsynced = CrashOptions::Unsynced::kEverything;
      image.disk->SetObserver([&](SimulatedOperation kind, const std::string& path) {
        if (--countdown != 0) return;
        ALOS_LOG(kDebug) << "again before operation " << static_cast<int>(kind) << " of " << path;
        after = image.disk->Crash(options);
      });
      {
        Client<Durability> client(image.disk.get());
        const absl::Status opened = client.Open();
        ASSERT_TRUE(opened.ok()) << opened;
        client.End(false).IgnoreError();
      }
      image.disk->SetObserver(nullptr);
      ++totals->recovery_crashes;
      if (after != nullptr) image.disk = std::move(after);
    }
    Client<Durability> client(image.disk.get());
    absl::Status status = client.Open();
    ASSERT_TRUE(status.ok()) << status;
    absl::StatusOr<State> found = client.Read();
    ASSERT_TRUE(found.ok()) << found.status();
    Judge(image, *found);
    if (testing::Test::HasFailure()) return;
    status = client.CheckAgainst(*found, has_indexes_ && random_() % 8 == 0);
    ASSERT_TRUE(status.ok()) << status;
    // It works on, and what was found is there to stay.
    status = client.InsertDuplicate(image.has_unique);
    ASSERT_TRUE(status.ok()) << status;
    Operation write;
    write.writes = {{"a/after", 7}};
    status = client.Perform(write);
    ASSERT_TRUE(status.ok()) << status;
    status = client.End(random_() % 2 == 0);
    ASSERT_TRUE(status.ok()) << status;
    status = client.Open();
    ASSERT_TRUE(status.ok()) << status;
    absl::StatusOr<State> again = client.Read();
    ASSERT_TRUE(again.ok()) << again.status();
    (*found)["a/after"] = 7;
    EXPECT_EQ(*again, *found) << "found after a second start" << Difference(*found, *again);
    client.End(false).IgnoreError();
    for (const auto& [key, n] : *found) Trace(static_cast<std::uint64_t>(n));
  }

  void Judge(const Image& image, const State& found) {
    EXPECT_EQ(HalfTransaction(found), "");
    if (Durability::kAcknowledgedIsDurable || image.killed) {
      for (std::size_t i = image.started; i-- > image.acknowledged;) {
        if (states_[i] == found) return;
      }
      ADD_FAILURE() << "neither the state of operation " << image.acknowledged
                    << ", which was acknowledged, nor one up to " << image.started - 1
                    << "; compared with the first:"
                    << Difference(states_[image.acknowledged], found);
      return;
    }
    for (std::size_t shard = 0; shard < kShards; ++shard) {
      const State part = OfShard(found, shard);
      bool is_prefix = false;
      for (std::size_t i = image.started; !is_prefix && i-- > image.flushed;)
        is_prefix = OfShard(states_[i], shard) == part;
      EXPECT_TRUE(is_prefix) << "shard " << shard << " has no prefix of the operations from "
                             << image.flushed << " to " << image.started - 1
                             << "; compared with the first:"
                             << Difference(OfShard(states_[image.flushed], shard), part);
    }
    // Transactions are in several shards: their documents one by one.
    for (const char* collection : {"p", "q", "t"}) {
      for (int i = 0; i < 8; ++i) {
        const std::string key = absl::StrCat(collection, *collection == 't' ? "/k" : "/", i);
        const auto n_in = [&](const State& state) {
          const auto it = state.find(key);
          return it == state.end() ? 0 : it->second;
        };
        const std::int64_t n = n_in(found);
        bool once = false;
        for (std::size_t at = image.started; !once && at-- > image.flushed;)
          once = n_in(states_[at]) == n;
        EXPECT_TRUE(once) << key << " = " << n << " was not there after operation "
                          << image.flushed;
        if (*collection == 't' && n != 0) {
          EXPECT_GT(n, image.dropped) << "of a collection that was dropped";
        }
      }
    }
  }

  // The documents of "a" and "b" in it.
  static State OfShard(const State& state, std::size_t shard) {
    State part;
    for (const auto& [key, n] : state) {
      if (key > "c") break;
      if (Client<Durability>::ShardOf(key) == shard) part.emplace_hint(part.end(), key, n);
    }
    return part;
  }

  void Trace(std::uint64_t word) { trace_ = (trace_ ^ word) * 0x100000001B3u; }

  SimulatedFileSystem disk_;
  Generator generator_;
  std::mt19937_64 random_;
  const bool has_indexes_;
  const bool has_several_;
  absl::Mutex observer_mutex_;
  std::vector<Image> images_;
  // Written by the client while nobody else is at work, read by whoever uses the disk.
  std::vector<State> states_{State()};  // [i]: after i operations
  std::size_t acknowledged_ = 0;
  std::size_t flushed_ = 0;
  std::int64_t dropped_ = 0;
  bool has_unique_ = false;
  std::int64_t countdown_ = 1;
  std::uint64_t trace_ = 0xCBF29CE484222325u;
};

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  std::uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// `share` of the states that are wanted, in thousandths.
template <class Durability>
void CrashUntilEnough(bool indexes, std::uint64_t share, bool several = false) {
#ifdef __SANITIZE_THREAD__
  // The simulated disk reads mapped pages while the engine stores to them, as a kernel does. To the
  // thread sanitizer that is a race; it does not see the kernel's.
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  const std::uint64_t only = FromEnvironment("ALOS_CRASH_SEED", 0);
  BeQuick(only != 0 ? LogLevel::kDebug : LogLevel::kError);
  const std::uint64_t first = only != 0 ? only : std::random_device()();
  const std::uint64_t wanted =
      only != 0 ? 1 : FromEnvironment("ALOS_CRASH_STATES", 100'000) * share / 1000;
  Totals totals;
  for (std::uint64_t seed = first; totals.states < wanted; ++seed) {
    SCOPED_TRACE(testing::Message() << "ALOS_CRASH_SEED=" << seed);
    CrashRun<Durability>(seed, indexes, several).Go(&totals);
    if (testing::Test::HasFailure()) return;
  }
  std::cout << totals.states << " crash states and " << totals.recovery_crashes
            << " crashes of recovery in " << totals.runs << " runs, seeds from " << first << "\n";
}

TEST(EngineCrashTest, Sync) { CrashUntilEnough<SyncDurability>(false, 250); }
TEST(EngineCrashTest, SyncSeveralAtOnce) { CrashUntilEnough<SyncDurability>(false, 100, true); }
TEST(EngineCrashTest, Async) { CrashUntilEnough<AsyncDurability>(false, 350); }
TEST(EngineCrashTest, SyncWithIndexes) { CrashUntilEnough<SyncDurability>(true, 150); }
TEST(EngineCrashTest, AsyncWithIndexes) { CrashUntilEnough<AsyncDurability>(true, 150); }

TEST(EngineCrashTest, OneSeedIsOneRun) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  BeQuick();
  for (const std::uint64_t seed : {1, 2, 3}) {
    std::uint64_t traces[4];
    for (int again = 0; again < 2; ++again) {
      Totals totals;
      CrashRun<SyncDurability> sync(seed, false, false, false);
      sync.Go(&totals);
      traces[again] = sync.trace();
      CrashRun<AsyncDurability> async(seed, false, false, false);
      async.Go(&totals);
      traces[2 + again] = async.trace();
    }
    EXPECT_EQ(traces[0], traces[1]);
    EXPECT_EQ(traces[2], traces[3]);
    EXPECT_NE(traces[0], traces[2]);
  }
}

}  // namespace
}  // namespace alos::crash
