// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compaction on real files: what is given back, and that nobody notices. That it can be interrupted
// anywhere is shown by testing/crash.

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// {_id: id, n: n, group: n % 7, text: text}
std::string Document(std::string_view id, std::int64_t n, std::size_t size) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id").String(id);
  builder.Key("n").Int(n);
  builder.Key("group").Int(n % 7);
  std::string text(size, ' ');
  std::uint64_t random = static_cast<std::uint64_t>(n) * 0x9E3779B97F4A7C15u + size;
  for (char& c : text) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>('!' + (random >> 58));
  }
  builder.Key("text").String(text);
  builder.EndDocument();
  return bytes;
}
ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }
Filter WhereId(std::string_view id) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id").String(id);
  builder.EndDocument();
  return *Filter::Compile(View(bytes));
}
Filter Where(std::string_view field, std::int64_t n) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key(field).Int(n);
  builder.EndDocument();
  return *Filter::Compile(View(bytes));
}

using Contents = std::map<std::string, std::int64_t>;

template <class Durability>
class CompactionTest : public testing::Test {
 protected:
  using TestEngine = BasicEngine<Policies<Durability>>;
  using Database = typename TestEngine::Database;

  CompactionTest() {
    options_.data_path =
        absl::StrCat(testing::TempDir(), "/compaction_", Durability::kName, "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.shards = 4;
    options_.history_retention = absl::ZeroDuration();
    options_.compaction = false;  // only when the test says so
    options_.compaction_rate_bytes = 0;
    std::filesystem::remove_all(options_.data_path);
    Open();
  }
  ~CompactionTest() override {
    engine_.reset();
    std::filesystem::remove_all(options_.data_path);
  }

  void Open() {
    auto engine = TestEngine::Open(options_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    auto database = engine_->GetOrCreateDatabase("test");
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *database;
  }
  void Close() {
    ASSERT_TRUE(engine_->Close().ok());
    engine_.reset();
  }
  // Without the files that can be made again, whose names contain one of these.
  void Reopen(const std::vector<std::string>& removed) {
    Close();
    for (const auto& entry : std::filesystem::directory_iterator(options_.data_path + "/test")) {
      for (const std::string& part : removed) {
        if (absl::StrContains(entry.path().filename().string(), part))
          std::filesystem::remove(entry.path());
      }
    }
    Open();
  }

  void Put(const std::string& id, std::int64_t n, std::size_t size = 500) {
    auto put =
        database_->UpsertOne("c", WhereId(id), *Update::Compile(View(Document(id, n, size))));
    ASSERT_TRUE(put.ok()) << put.status();
    last_ = put->commit_timestamp;
  }
  void Delete(const std::string& id) {
    auto deleted = database_->DeleteOne("c", WhereId(id));
    ASSERT_TRUE(deleted.ok()) << deleted.status();
    last_ = deleted->commit_timestamp;
  }
  void Settle() { ASSERT_TRUE(database_->WaitVisible(last_).ok()); }
  CompactionResult Compact() {
    auto compacted = database_->Compact();
    EXPECT_TRUE(compacted.ok()) << compacted.status();
    return compacted.ok() ? *compacted : CompactionResult{};
  }

  static void Take(ValueView document, Contents* contents) {
    const std::string id(document.Find("_id")->AsString());
    const std::int64_t n = document.Find("n")->AsInt64();
    EXPECT_TRUE(contents->emplace(id, n).second) << id << " twice";
    EXPECT_EQ(document.bytes(), Document(id, n, document.Find("text")->AsString().size()));
  }
  Contents Scan(bool force_scan = true) {
    Contents contents;
    FindQuery query;
    query.force_scan = force_scan;
    const absl::Status status = database_->Find("c", query, [&](ValueView document) {
      Take(document, &contents);
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    return contents;
  }
  // By scan, by id and by count.
  void Expect(const Contents& expected) {
    EXPECT_EQ(Scan(), expected);
    EXPECT_EQ(*database_->Count("c", Filter()), expected.size());
    for (const auto& [id, n] : expected) {
      std::int64_t found = -1;
      const auto by_id = database_->FindById("c", EncodeStringId(id), [&](ValueView document) {
        found = document.Find("n")->AsInt64();
      });
      ASSERT_TRUE(by_id.ok()) << by_id.status();
      ASSERT_EQ(found, n) << id;
    }
    for (std::int64_t group = 0; group < 7; ++group) {
      Contents by_index;
      Contents by_scan;
      const Filter filter = Where("group", group);
      FindQuery query;
      query.filter = &filter;
      for (const bool force_scan : {false, true}) {
        query.force_scan = force_scan;
        const absl::Status status = database_->Find("c", query, [&](ValueView document) {
          Take(document, force_scan ? &by_scan : &by_index);
          return true;
        });
        ASSERT_TRUE(status.ok()) << status;
      }
      EXPECT_EQ(by_index, by_scan);
      EXPECT_EQ(*database_->Count("c", filter), by_scan.size());
    }
  }

  // What the logs take on the disk.
  std::uint64_t DiskBytes(std::string_view extension = ".db") {
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(options_.data_path + "/test")) {
      if (!absl::EndsWith(entry.path().string(), extension)) continue;
      struct stat attributes;
      EXPECT_EQ(::stat(entry.path().c_str(), &attributes), 0);
      bytes += static_cast<std::uint64_t>(attributes.st_blocks) * 512;
    }
    return bytes;
  }
  std::int64_t Statistic(std::string_view key) {
    const std::string stats = database_->Stats();
    const std::optional<ValueView> compaction = View(stats).Find("compaction");
    EXPECT_TRUE(compaction.has_value());
    return compaction->Find(key)->ToInt64().value_or(-2);
  }

  EngineOptions options_;
  std::unique_ptr<TestEngine> engine_;
  Database* database_ = nullptr;
  std::uint64_t last_ = 0;
};

using DurabilityPolicyTypes = testing::Types<AsyncDurability, SyncDurability>;
TYPED_TEST_SUITE(CompactionTest, DurabilityPolicyTypes);

TYPED_TEST(CompactionTest, GivesTheSpaceOfWhatWasReplacedBack) {
  Contents expected;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 2000; ++i) {
      const std::string id = absl::StrCat("k", i);
      this->Put(id, round * 10000 + i);
      expected[id] = round * 10000 + i;
    }
  }
  this->Settle();
  const std::uint64_t before = this->DiskBytes();
  const CompactionResult result = this->Compact();
  EXPECT_GT(result.bytes_back, before / 2);
  EXPECT_GT(result.bytes_moved, 2000u * 300);
  EXPECT_EQ(result.waiting_shards, 0u);
  EXPECT_LT(this->DiskBytes(), before / 2);
  this->Expect(expected);
  EXPECT_EQ(this->Statistic("runs"), 4);
  EXPECT_EQ(this->Statistic("running_shard"), -1);
  // Nothing is left that would be worth it.
  EXPECT_EQ(this->Compact().bytes_moved, 0u);
  for (const std::vector<std::string>& removed :
       {std::vector<std::string>{}, {".sidx"}, {"c1"}, {".sidx", "c1"}}) {
    this->Reopen(removed);
    this->Expect(expected);
    this->Put("k7", 70000);
    expected["k7"] = 70000;
    this->Settle();
  }
  // Once more, behind the first begin.
  for (int i = 0; i < 2000; i += 2) {
    this->Delete(absl::StrCat("k", i));
    expected.erase(absl::StrCat("k", i));
  }
  this->Settle();
  EXPECT_GT(this->Compact().bytes_back, 0u);
  this->Expect(expected);
  this->Reopen({".sidx"});
  this->Expect(expected);
}

TYPED_TEST(CompactionTest, AfterDeletingEverythingNearlyNothingIsLeft) {
  for (int i = 0; i < 4000; ++i) this->Put(absl::StrCat("k", i), i, 1000);
  this->Settle();
  const std::uint64_t timestamp = this->database_->ReadTimestamp();
  ASSERT_TRUE(this->database_->DeleteMany("c", Filter()).ok());
  const std::uint64_t before = this->DiskBytes();
  EXPECT_GT(before, 2'000'000u);
  EXPECT_EQ(this->Compact().bytes_moved, 0u);
  EXPECT_LT(this->DiskBytes(), 4u * 7 * 4096);
  this->Expect({});
  this->Reopen({});
  this->Expect({});
  EXPECT_GT(this->database_->ReadTimestamp(), timestamp) << "timestamps were given twice";
  this->Reopen({".sidx"});
  this->Expect({});
  EXPECT_GT(this->database_->ReadTimestamp(), timestamp);
  this->Put("again", 5);
  this->Settle();
  this->Expect({{"again", 5}});
  this->Reopen({".sidx"});
  this->Expect({{"again", 5}});
}

TYPED_TEST(CompactionTest, ATransactionConflictsWithChangesNotWithCompaction) {
  for (int n = 0; n < 4; ++n) {
    for (int i = 0; i < 50; ++i) this->Put(absl::StrCat("k", i), n);
  }
  this->Settle();
  auto moved = this->database_->BeginTransaction();
  auto changed = this->database_->BeginTransaction();
  ASSERT_TRUE(this->database_->Compact(absl::ZeroDuration()).ok());
  EXPECT_GT(this->Statistic("bytes_moved"), 0);
  const auto set = [&](auto& transaction, const std::string& id, std::int64_t n) {
    auto updated =
        transaction->UpdateOne("c", WhereId(id), *Update::Compile(View(Document(id, n, 100))));
    ASSERT_TRUE(updated.ok()) << updated.status();
    EXPECT_EQ(updated->modified, 1u);
  };
  set(moved, "k1", 1001);
  auto committed = moved->Commit();
  ASSERT_TRUE(committed.ok()) << committed.status();
  this->Put("k2", 2002);
  set(changed, "k2", 3003);
  EXPECT_TRUE(absl::IsAborted(changed->Commit().status()));
  // Changed, then moved.
  auto late = this->database_->BeginTransaction();
  this->Put("k3", 1);
  for (int n = 10; n < 14; ++n) {
    for (int i = 10; i < 50; ++i) this->Put(absl::StrCat("k", i), n);
  }
  ASSERT_TRUE(this->database_->Compact(absl::ZeroDuration()).ok());
  set(late, "k3", 2);
  EXPECT_TRUE(absl::IsAborted(late->Commit().status()));
}

TYPED_TEST(CompactionTest, AnOpenSnapshotKeepsWhatItSees) {
  Contents old_state;
  for (int i = 0; i < 500; ++i) {
    this->Put(absl::StrCat("k", i), i);
    old_state[absl::StrCat("k", i)] = i;
  }
  this->Settle();
  auto transaction = this->database_->BeginTransaction();
  Contents streamed;
  const auto take = [&](ValueView document) {
    this->Take(document, &streamed);
    return true;
  };
  std::string cursor = *this->database_->FindBatch("c", Filter(), "", 100, take);
  ASSERT_FALSE(cursor.empty());
  Contents expected;
  for (int i = 0; i < 500; i += 2) this->Delete(absl::StrCat("k", i));
  for (int i = 1; i < 500; i += 2) {
    this->Put(absl::StrCat("k", i), 1000 + i);
    expected[absl::StrCat("k", i)] = 1000 + i;
  }
  this->Settle();
  auto compacted = this->database_->Compact(absl::Milliseconds(20));
  ASSERT_TRUE(compacted.ok()) << compacted.status();
  EXPECT_EQ(compacted->bytes_back, 0u);
  EXPECT_EQ(compacted->waiting_shards, 4u);
  Contents seen;
  ASSERT_TRUE(transaction
                  ->Find("c", Filter(),
                         [&](ValueView document) {
                           this->Take(document, &seen);
                           return true;
                         })
                  .ok());
  EXPECT_EQ(seen, old_state);
  while (!cursor.empty()) {
    auto next = this->database_->FindBatch("c", Filter(), cursor, 100, take);
    ASSERT_TRUE(next.ok()) << next.status();
    cursor = *next;
  }
  EXPECT_EQ(streamed, old_state);
  this->Expect(expected);
  transaction->Rollback();
  this->database_->snapshots().Tick(this->database_->ReadTimestamp(), absl::Now() + absl::Hours(1));
  compacted = this->database_->Compact();
  ASSERT_TRUE(compacted.ok()) << compacted.status();
  EXPECT_EQ(compacted->waiting_shards, 0u);
  EXPECT_GT(compacted->bytes_back, 0u);
  this->Expect(expected);
}

TYPED_TEST(CompactionTest, IndexesFollow) {
  IndexDefinition definition;
  definition.paths = {"group"};
  ASSERT_TRUE(this->database_->CreateIndex("c", definition).ok());
  Contents expected;
  for (int i = 0; i < 6000; ++i) {
    this->Put(absl::StrCat("k", i), i, 100);
    expected[absl::StrCat("k", i)] = i;
  }
  for (int i = 0; i < 6000; i += 3) {
    this->Put(absl::StrCat("k", i), i + 1, 100);
    expected[absl::StrCat("k", i)] = i + 1;
  }
  for (int i = 1; i < 6000; i += 3) {
    this->Delete(absl::StrCat("k", i));
    expected.erase(absl::StrCat("k", i));
  }
  this->Settle();
  EXPECT_GT(this->Compact().bytes_back, 0u);
  this->Expect(expected);
  // An index whose columns have to be made for rows that are gone.
  definition.paths = {"n"};
  ASSERT_TRUE(this->database_->CreateIndex("c", definition).ok());
  for (int n = 0; n < 6000; n += 100) {
    std::size_t count = 0;
    for (const auto& [id, each] : expected) count += each == n;
    EXPECT_EQ(*this->database_->Count("c", Where("n", n)), count);
  }
  ASSERT_TRUE(*this->database_->WaitForIndexes("c"));
  for (const std::vector<std::string>& removed :
       {std::vector<std::string>{}, {".sidx"}, {"c1"}, {".sidx", "c1"}}) {
    this->Reopen(removed);
    this->Expect(expected);
    ASSERT_TRUE(*this->database_->WaitForIndexes("c"));
    this->Expect(expected);
  }
  ASSERT_TRUE(this->database_->DeleteMany("c", Filter()).ok());
  this->Compact();
  this->Expect({});
  this->Reopen({});
  this->Expect({});
}

TYPED_TEST(CompactionTest, NobodyNoticesUnderLoad) {
  IndexDefinition definition;
  definition.paths = {"group"};
  ASSERT_TRUE(this->database_->CreateIndex("c", definition).ok());
  constexpr int kWriters = 2;
  constexpr int kDocuments = 300;
  Contents expected[kWriters];
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      std::mt19937_64 random(static_cast<std::uint64_t>(writer));
      std::int64_t n = 0;
      while (!stop.load()) {
        const std::string id =
            absl::StrCat("w", writer, "_", random() % static_cast<std::uint64_t>(kDocuments));
        std::uint64_t timestamp = 0;
        if (random() % 4 == 0) {
          auto deleted = this->database_->DeleteOne("c", WhereId(id));
          ASSERT_TRUE(deleted.ok()) << deleted.status();
          timestamp = deleted->commit_timestamp;
          expected[writer].erase(id);
        } else {
          auto put = this->database_->UpsertOne(
              "c", WhereId(id), *Update::Compile(View(Document(id, ++n, random() % 2000))));
          ASSERT_TRUE(put.ok()) << put.status();
          timestamp = put->commit_timestamp;
          expected[writer][id] = n;
        }
        if (n % 16 == 0) {
          ASSERT_TRUE(this->database_->WaitVisible(timestamp).ok());
        }
      }
    });
  }
  threads.emplace_back([&] {
    // A snapshot is the same, whichever way and however often it is looked at.
    while (!stop.load()) {
      auto transaction = this->database_->BeginTransaction();
      Contents looks[3];
      for (int look = 0; look < 3; ++look) {
        const absl::Status status =
            transaction->Find("c", look == 1 ? Where("group", 3) : Filter(), [&](ValueView found) {
              if (look == 1 || found.Find("group")->AsInt64() == 3) this->Take(found, &looks[look]);
              return true;
            });
        ASSERT_TRUE(status.ok()) << status;
      }
      ASSERT_EQ(looks[0], looks[1]);
      ASSERT_EQ(looks[0], looks[2]);
    }
  });
  threads.emplace_back([&] {
    while (!stop.load()) {
      Contents streamed;
      std::string cursor;
      do {
        auto next = this->database_->FindBatch("c", Filter(), cursor, 50, [&](ValueView document) {
          this->Take(document, &streamed);
          return true;
        });
        ASSERT_TRUE(next.ok()) << next.status();
        cursor = *next;
      } while (!cursor.empty());
      this->database_->snapshots().Tick(this->database_->ReadTimestamp(),
                                        absl::Now() + absl::Hours(1));
    }
  });
  const absl::Time end = absl::Now() + absl::Seconds(3);
  // On a busy machine they need longer to look a few times.
  while (absl::Now() < end || (rounds <= 2 && absl::Now() < end + absl::Minutes(1))) {
    auto compacted = this->database_->Compact(absl::Milliseconds(200));
    ASSERT_TRUE(compacted.ok()) << compacted.status();
    rounds += compacted->bytes_back != 0;
    if (rounds % 3 == 1) {
      ASSERT_TRUE(this->database_->Checkpoint().ok());
    }
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(rounds.load(), 2);
  Contents all = expected[0];
  all.merge(expected[1]);
  ASSERT_TRUE(this->database_->Flush().ok());
  this->Expect(all);
  this->Reopen({});
  this->Expect(all);
  this->Reopen({".sidx", "c1"});
  this->Expect(all);
}

TYPED_TEST(CompactionTest, ADamagedDocumentIsNamedAndStays) {
  this->Put("before", 1);
  for (int n = 0; n < 3; ++n) {
    for (int i = 0; i < 200; ++i) this->Put(absl::StrCat("k", i), n);
  }
  this->Settle();
  ASSERT_TRUE(this->database_->Flush().ok());
  // Its body, on the disk and in the map.
  std::string damaged_file;
  for (int shard = 0; shard < 4; ++shard) {
    const std::string path = absl::StrCat(this->options_.data_path, "/test/shard_00", shard, ".db");
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    if (!file) continue;
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const std::size_t at = bytes.find("before");
    if (at == std::string::npos) continue;
    file.clear();
    file.seekp(static_cast<std::streamoff>(at) + 60);
    file.put(static_cast<char>(bytes[at + 60] ^ 1));
    damaged_file = path;
  }
  ASSERT_FALSE(damaged_file.empty());
  const absl::Status status = this->database_->Compact().status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), damaged_file)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "before")) << status;
  const std::string stats = this->database_->Stats();
  EXPECT_TRUE(
      absl::StrContains(View(stats).Find("compaction")->Find("last_error")->AsString(), "before"));
  // It is still answered with an error, and the others are served.
  EXPECT_TRUE(absl::IsDataLoss(
      this->database_->FindById("c", EncodeStringId("before"), [](ValueView) {}).status()));
  for (int i = 0; i < 200; ++i) {
    auto found =
        this->database_->FindById("c", EncodeStringId(absl::StrCat("k", i)), [](ValueView) {});
    ASSERT_TRUE(found.ok() && *found) << found.status();
  }
}

TYPED_TEST(CompactionTest, DroppedCollectionsAreGivenBack) {
  for (int i = 0; i < 3000; ++i) {
    const std::string document = Document(absl::StrCat("d", i), i, 1000);
    ASSERT_TRUE(this->database_->InsertOne("dropped", View(document)).ok());
  }
  this->Put("kept", 1);
  this->Settle();
  ASSERT_TRUE(this->database_->Drop("dropped").ok());
  EXPECT_GT(this->Compact().bytes_back, 2'000'000u);
  this->Expect({{"kept", 1}});
  this->Reopen({".sidx"});
  this->Expect({{"kept", 1}});
}

TYPED_TEST(CompactionTest, HappensByItselfWhenItIsDue) {
  this->Close();
  this->options_.compaction = true;
  this->options_.compact_bytes_min = 64 << 10;
  this->Open();
  Contents expected;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 500; ++i) {
      this->Put(absl::StrCat("k", i), round);
      expected[absl::StrCat("k", i)] = round;
    }
  }
  this->Settle();
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (this->Statistic("runs") < 4 && absl::Now() < deadline)
    absl::SleepFor(absl::Milliseconds(20));
  EXPECT_GE(this->Statistic("runs"), 4);
  this->Expect(expected);
}

// A store that an older alos would misread says so.
TYPED_TEST(CompactionTest, TheManifestRequiresAReaderThatKnowsOfIt) {
  const auto manifest = [&] {
    std::ifstream file(this->options_.data_path + "/test/manifest", std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(file)), {});
  };
  for (int i = 0; i < 100; ++i) this->Put("k", i);
  this->Settle();
  EXPECT_FALSE(absl::StrContains(manifest(), "compacted_logs"));
  this->Compact();
  EXPECT_TRUE(absl::StrContains(manifest(), "compacted_logs"));
  this->Reopen({});
  ASSERT_TRUE(this->database_->CreateCollection("another").ok());
  EXPECT_TRUE(absl::StrContains(manifest(), "compacted_logs"));
}

}  // namespace
}  // namespace alos
