// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compaction on a simulated disk that loses power at any operation, fills up, or fails. A client
// works while the logs are compacted all the time, and notes what was acknowledged; at random
// operations of the disk a crash image is taken; each image is opened, some of them without what
// can be made again, some crash again while they recover, and what is found is compared with what
// had been promised:
//
//   sync     the state after some prefix of the operations, no shorter than what was acknowledged
//   async    of every document a version that it once had; of every transaction all or nothing; and
//            everything when only the process died
//
//   ./bazelw test //testing/crash:compaction_crash_test --test_env=ALOS_CRASH_STATES=100000
//   --test_timeout=36000

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

using State = std::map<std::string, std::int64_t>;  // document -> its number

std::string Document(std::string_view id, std::int64_t n, std::size_t padding) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(id);
  builder.Key("n");
  builder.Int(n);
  builder.Key("padding");
  builder.String(std::string(padding, static_cast<char>('a' + n % 26)));
  builder.EndDocument();
  return bytes;
}
Filter WhereId(std::string_view id) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(id);
  builder.EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}

template <class Durability>
class Harness {
 public:
  using TestEngine = BasicEngine<Policies<Durability, SimulatedFileSystem>>;

  explicit Harness(std::uint64_t seed)
      : random_(seed), disk_(std::make_shared<SimulatedFileSystem>(seed)) {
    options_.data_path = "/data";
    options_.shards = 4;
    options_.cache_bytes = 1 << 20;
    options_.flush_interval = absl::Milliseconds(1 + random_() % 20);
    options_.checkpoint_bytes = 1 << 14;
    options_.compaction = false;     // but when we say so
    options_.compression_level = 0;  // enough in the logs to be given back
    options_.compaction_rate_bytes = 0;
    options_.history_retention = absl::ZeroDuration();
  }

  // Runs `operations` of a client and takes about `images` crash images on the way; checks each.
  void Run(int operations, int images) {
    states_.push_back({});
    const std::uint64_t crash_every = 1 + random_() % 40;
    std::atomic<std::uint64_t> countdown{crash_every};
    disk_->SetObserver([&](SimulatedOperation, const std::string&) {
      if (countdown.fetch_sub(1) != 1) return;
      countdown.store(crash_every);
      absl::MutexLock lock(&mutex_);
      if (images_.size() >= static_cast<std::size_t>(images)) return;
      Image image;
      image.acknowledged = acknowledged_.load();
      CrashOptions options;
      image.killed = images_.size() % 5 == 4;
      options.unsynced =
          image.killed ? CrashOptions::Unsynced::kEverything : CrashOptions::Unsynced::kRandom;
      options.tear_sectors = images_.size() % 3 == 1;
      options.garbage_in_growth = images_.size() % 3 == 2;
      image.disk = disk_->Crash(options);
      image.started = states_count_.load();
      images_.push_back(std::move(image));
    });
    Work(operations);
    EXPECT_TRUE(bytes_back_ != 0) << "nothing was compacted";
    disk_->SetObserver(nullptr);
    absl::MutexLock lock(&mutex_);
    for (Image& image : images_) {
      Check(image);
      if (testing::Test::HasFailure()) return;
    }
    checked_ += images_.size();
  }

  std::size_t checked() const { return checked_; }

 private:
  struct Image {
    std::unique_ptr<SimulatedFileSystem> disk;
    std::size_t acknowledged = 0;  // operations
    std::size_t started = 0;
    bool killed = false;  // the process only: nothing that was written is lost
  };

  void Work(int operations) {
    auto engine = TestEngine::Open(options_, disk_.get());
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto opened = (*engine)->GetOrCreateDatabase("d");
    ASSERT_TRUE(opened.ok()) << opened.status();
    auto* database = *opened;
    std::int64_t number = 0;
    // Compacts while the client works, but not while the engine is closed.
    absl::Mutex open_mutex;
    std::atomic<bool> stop{false};
    std::thread compactor = std::thread([&] {
      while (!stop.load()) {
        {
          absl::MutexLock lock(&open_mutex);
          const auto compacted = database->Compact(absl::Milliseconds(10));
          ASSERT_TRUE(compacted.ok()) << compacted.status();
          bytes_back_ += compacted->bytes_back;
        }
        absl::SleepFor(absl::Microseconds(300));
      }
    });
    WorkOn(operations, &engine, &database, &open_mutex, &number);
    stop.store(true);
    if (compactor.joinable()) compactor.join();
  }

  void WorkOn(int operations, absl::StatusOr<std::unique_ptr<TestEngine>>* engine_slot,
              typename TestEngine::Database** database_slot, absl::Mutex* open_mutex,
              std::int64_t* number_slot) {
    auto& engine = *engine_slot;
    auto*& database = *database_slot;
    std::int64_t& number = *number_slot;
    for (int i = 0; i < operations; ++i) {
      State next = states_.back();
      ++number;
      const std::size_t padding = random_() % 5 == 0 ? random_() % 9000 : random_() % 300;
      absl::StatusOr<std::uint64_t> committed = std::uint64_t{0};
      const auto choice = random_() % 10;
      if (choice < 2) {
        // A pair that only transactions write: both have the same number, always.
        const std::string pair = absl::StrCat("pair", random_() % 4);
        next[pair + "a"] = next[pair + "b"] = number;
        Start(next);
        auto transaction = database->BeginTransaction();
        for (const char* half : {"a", "b"}) {
          const std::string document = Document(pair + half, number, padding);
          auto updated = transaction->UpdateOne("c", WhereId(pair + half),
                                                *Update::Compile(ValueView::FromTrusted(document)));
          ASSERT_TRUE(updated.ok()) << updated.status();
          if (updated->matched == 0) {
            ASSERT_TRUE(transaction->InsertOne("c", ValueView::FromTrusted(document)).ok());
          }
        }
        committed = transaction->Commit();
      } else {
        const std::string id = absl::StrCat("k", random_() % 12);
        if (choice < 4 && next.contains(id)) {
          next.erase(id);
          Start(next);
          auto deleted = database->DeleteOne("c", WhereId(id));
          ASSERT_TRUE(deleted.ok()) << deleted.status();
          committed = deleted->commit_timestamp;
        } else {
          next[id] = number;
          Start(next);
          const std::string document = Document(id, number, padding);
          auto upserted = database->UpsertOne("c", WhereId(id),
                                              *Update::Compile(ValueView::FromTrusted(document)));
          ASSERT_TRUE(upserted.ok()) << upserted.status();
          committed = upserted->commit_timestamp;
        }
      }
      ASSERT_TRUE(committed.ok()) << committed.status();
      ASSERT_TRUE(database->WaitVisible(*committed).ok());
      acknowledged_.store(states_.size() - 1);
      if (random_() % 40 == 0) {
        ASSERT_TRUE(database->Checkpoint().ok());
      }
      if (random_() % 50 == 0) {
        absl::MutexLock lock(open_mutex);
        ASSERT_TRUE((*engine)->Close().ok());
        engine->reset();
        engine = TestEngine::Open(options_, disk_.get());
        ASSERT_TRUE(engine.ok()) << engine.status();
        database = *(*engine)->GetOrCreateDatabase("d");
      }
    }
  }

  // From here on a crash may find the next state.
  void Start(const State& next) {
    absl::MutexLock lock(&mutex_);
    states_.push_back(next);
    states_count_.store(states_.size());
  }

  void Check(Image& image) {
    // What can be made again.
    if (random_() % 3 == 0) {
      const auto names = image.disk->ListDirectory("/data/d");
      for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
        if (name.ends_with(".sidx")) {
          ASSERT_TRUE(image.disk->Remove("/data/d/" + name).ok());
        }
      }
    }
    // Recovery that is itself interrupted, a few times.
    for (int again = 0; again < 2 && random_() % 2 == 0; ++again) {
      std::unique_ptr<SimulatedFileSystem> after;
      std::atomic<std::uint64_t> countdown{1 + random_() % 60};
      image.disk->SetObserver([&](SimulatedOperation, const std::string&) {
        if (countdown.fetch_sub(1) == 1) after = image.disk->Crash();
      });
      {
        auto engine = TestEngine::Open(options_, image.disk.get());
        ASSERT_TRUE(engine.ok()) << engine.status();
        auto database = (*engine)->FindDatabase("d");
        ASSERT_TRUE(database.ok()) << database.status();
      }
      image.disk->SetObserver(nullptr);
      if (after != nullptr) image.disk = std::move(after);
    }
    auto engine = TestEngine::Open(options_, image.disk.get());
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto database = (*engine)->GetOrCreateDatabase("d");
    ASSERT_TRUE(database.ok()) << database.status();
    const State found = Read(**database);
    if (testing::Test::HasFatalFailure()) return;
    EXPECT_EQ(*(*database)->Count("c", Filter()), found.size());
    if (Durability::kAcknowledgedIsDurable || image.killed) {
      bool is_prefix = false;
      for (std::size_t i = image.acknowledged; i < image.started && !is_prefix; ++i)
        is_prefix = states_[i] == found;
      EXPECT_TRUE(is_prefix) << "acknowledged " << image.acknowledged << " of " << image.started
                             << Difference(states_[image.acknowledged], found);
    } else {
      for (const auto& [id, n] : found) {
        bool once = false;
        for (std::size_t i = 0; i < image.started && !once; ++i)
          once = states_[i].contains(id) && states_[i].at(id) == n;
        EXPECT_TRUE(once) << id << " = " << n << " was never written";
      }
    }
    for (int pair = 0; pair < 4; ++pair) {
      const auto a = found.find(absl::StrCat("pair", pair, "a"));
      const auto b = found.find(absl::StrCat("pair", pair, "b"));
      EXPECT_EQ(a == found.end() ? -1 : a->second, b == found.end() ? -1 : b->second)
          << "half a transaction";
    }
    const auto compacted = (*database)->Compact();
    EXPECT_TRUE(compacted.ok()) << compacted.status();
    EXPECT_EQ(Read(**database), found) << "compacted after recovery";
    // It works on.
    auto inserted = (*database)->InsertOne("c", ValueView::FromTrusted(Document("after", 1, 10)));
    EXPECT_TRUE(inserted.ok()) << inserted.status();
    EXPECT_TRUE((*engine)->Close().ok());
    EXPECT_EQ(image.disk->unallocated_stores(), 0u);
  }

  // All there is, by scan and by id.
  static State Read(typename TestEngine::Database& database) {
    State found;
    const absl::Status status = database.Find("c", {}, [&](ValueView document) {
      const std::string id(document.Find("_id")->AsString());
      const std::int64_t n = document.Find("n")->AsInt64();
      EXPECT_TRUE(found.emplace(id, n).second) << id << " twice";
      // Whole, not only its number.
      EXPECT_EQ(document.bytes(), Document(id, n, document.Find("padding")->AsString().size()));
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    for (const auto& [id, n] : found) {
      std::int64_t by_id = -1;
      const auto looked = database.FindById("c", EncodeStringId(id), [&](ValueView document) {
        by_id = document.Find("n")->AsInt64();
      });
      EXPECT_TRUE(looked.ok()) << looked.status();
      EXPECT_EQ(by_id, n);
    }
    return found;
  }

  static std::string Difference(const State& expected, const State& found) {
    std::string text;
    for (const auto& [id, n] : expected) {
      if (!found.contains(id)) {
        absl::StrAppend(&text, "\n  missing ", id, " = ", n);
      } else if (found.at(id) != n) {
        absl::StrAppend(&text, "\n  ", id, " = ", found.at(id), ", expected ", n);
      }
    }
    for (const auto& [id, n] : found) {
      if (!expected.contains(id)) absl::StrAppend(&text, "\n  unexpected ", id, " = ", n);
    }
    return text;
  }

  std::atomic<std::uint64_t> bytes_back_{0};
  std::mt19937_64 random_;
  const std::shared_ptr<SimulatedFileSystem> disk_;
  EngineOptions options_;
  absl::Mutex mutex_;
  std::vector<Image> images_;
  std::vector<State> states_;  // states_[i]: after i operations
  std::atomic<std::size_t> states_count_{1};
  std::atomic<std::size_t> acknowledged_{0};
  std::size_t checked_ = 0;
};

std::size_t StatesWanted() {
  const char* text = std::getenv("ALOS_CRASH_STATES");
  std::size_t wanted = 1000;
  if (text != nullptr && !absl::SimpleAtoi(text, &wanted)) wanted = 1000;
  return wanted;
}

template <class Durability>
void CrashUntilEnough() {
#ifdef __SANITIZE_THREAD__
  // The simulated disk reads mapped pages while the engine stores to them, as a kernel does. To the
  // thread sanitizer that is a race; it does not see the kernel's.
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  const std::uint64_t first_seed = std::random_device()();
  std::size_t checked = 0;
  for (std::uint64_t seed = first_seed; checked < StatesWanted() / 2; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Harness<Durability> harness(seed);
    harness.Run(240, 40);
    if (testing::Test::HasFailure()) return;
    checked += harness.checked();
  }
  std::cout << checked << " crash states, seeds from " << first_seed << "\n";
}

TEST(CompactionCrashTest, Sync) { CrashUntilEnough<SyncDurability>(); }
TEST(CompactionCrashTest, Async) { CrashUntilEnough<AsyncDurability>(); }

// A store with something to compact on a disk of its own, and what must be in it.
template <class Durability>
class FaultyCompaction {
 public:
  using TestEngine = BasicEngine<Policies<Durability, SimulatedFileSystem>>;

  FaultyCompaction() {
    options_.data_path = "/data";
    options_.shards = 2;
    options_.compaction = false;
    options_.compaction_rate_bytes = 0;
    options_.history_retention = absl::ZeroDuration();
    options_.flush_interval = absl::Hours(1);
    options_.compression_level = 0;
    Open();
    std::uint64_t last = 0;
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 40; ++i) {
        const std::string id = absl::StrCat("k", i);
        const std::string document = Document(id, round * 100 + i, 700);
        last = database_
                   ->UpsertOne("c", WhereId(id), *Update::Compile(ValueView::FromTrusted(document)))
                   ->commit_timestamp;
        expected_[id] = round * 100 + i;
      }
    }
    for (int i = 0; i < 40; i += 4) {
      const std::string id = absl::StrCat("k", i);
      last = database_->DeleteOne("c", WhereId(id))->commit_timestamp;
      expected_.erase(id);
    }
    EXPECT_TRUE(database_->WaitVisible(last).ok());
    EXPECT_TRUE(database_->Flush().ok());
    // The names, and that the manifest counts on them.
    EXPECT_TRUE(database_->Checkpoint().ok());
  }

  void Open() {
    auto engine = TestEngine::Open(options_, disk_.get());
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    auto database = engine_->GetOrCreateDatabase("d");
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *database;
  }
  // As the process that is killed, or the machine, would come back.
  void Restart(bool power_lost) {
    engine_.reset();
    if (power_lost) disk_ = disk_->Crash();
    Open();
  }
  void Expect() {
    State found;
    const absl::Status status = database_->Find("c", {}, [&](ValueView document) {
      found[std::string(document.Find("_id")->AsString())] = document.Find("n")->AsInt64();
      return true;
    });
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(found, expected_);
  }

  EngineOptions options_;
  std::unique_ptr<SimulatedFileSystem> disk_ = std::make_unique<SimulatedFileSystem>(1);
  std::unique_ptr<TestEngine> engine_;
  typename TestEngine::Database* database_ = nullptr;
  State expected_;
};

template <class Durability>
void FailAtEachOperation(const absl::Status& error, SimulatedFault fault) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  int failed = 0;
  bool struck = true;
  for (std::uint64_t n = 1; struck; ++n) {
    SCOPED_TRACE(testing::Message() << "operation " << n);
    FaultyCompaction<Durability> store;
    const std::uint64_t before = store.disk_->operation_count();
    store.disk_->FailNth(n, error, fault);
    const absl::Status status = store.database_->Compact(absl::Milliseconds(50)).status();
    struck = store.disk_->operation_count() - before >= n;
    failed += !status.ok();
    store.disk_->ClearFaults();
    store.Expect();
    store.Restart(n % 2 == 0);
    store.Expect();
    const auto again = store.database_->Compact();
    EXPECT_TRUE(again.ok()) << again.status();
    store.Expect();
    store.Restart(n % 3 == 0);
    store.Expect();
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(failed, 5);
}

TEST(CompactionFaultTest, AnyOperationMayFailOnce) {
  const absl::Status error = absl::DataLossError("simulated EIO");
  FailAtEachOperation<SyncDurability>(error, SimulatedFault::kOnce);
  FailAtEachOperation<AsyncDurability>(error, SimulatedFault::kOnce);
}
TEST(CompactionFaultTest, AllOperationsMayFailFromAnyOneOn) {
  const absl::Status error = absl::DataLossError("simulated EIO");
  FailAtEachOperation<SyncDurability>(error, SimulatedFault::kForever);
  FailAtEachOperation<AsyncDurability>(error, SimulatedFault::kForever);
}

// However little room there is: compaction stops, nothing is lost, and with room it goes on.
template <class Durability>
void FillTheDisk() {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  int full = 0;
  int gave_back = 0;
  for (std::uint64_t blocks = 0; blocks < 40; ++blocks) {
    SCOPED_TRACE(testing::Message() << blocks << " blocks");
    FaultyCompaction<Durability> store;
    store.disk_->SetCapacityBytes(store.disk_->used_bytes() + blocks * 4096);
    const auto compacted = store.database_->Compact(absl::Milliseconds(50));
    if (!compacted.ok()) {
      ++full;
      EXPECT_TRUE(absl::IsResourceExhausted(compacted.status()) ||
                  absl::IsUnavailable(compacted.status()))
          << compacted.status();
    }
    gave_back += compacted.ok() && compacted->bytes_back != 0;
    store.Expect();
    store.disk_->SetCapacityBytes(std::uint64_t{1} << 40);
    const auto again = store.database_->Compact();
    if (again.ok()) {
      store.Expect();
    }
    store.Restart(blocks % 2 == 0);
    store.Expect();
    EXPECT_TRUE(store.database_->Compact().ok());
    store.Expect();
    EXPECT_EQ(store.disk_->unallocated_stores(), 0u);
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(full, 0);
  EXPECT_GT(gave_back, 0);
}

TEST(CompactionFaultTest, AFullDiskStopsItCleanly) {
  FillTheDisk<SyncDurability>();
  FillTheDisk<AsyncDurability>();
}

}  // namespace
}  // namespace alos
