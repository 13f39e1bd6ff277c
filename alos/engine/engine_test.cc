// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/engine/engine.h"

#include <algorithm>
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
#include "alos/document/builder.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// {_id: id, n: n, text: text}
std::string Document(std::string_view id, std::int64_t n, std::string_view text = "") {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(id);
  builder.Key("n");
  builder.Int(n);
  builder.Key("text");
  builder.String(text);
  builder.EndDocument();
  return bytes;
}

ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }

// {field: {operation: n}}, or {field: n} when there is no operation.
std::string Spec(std::string_view field, std::string_view operation, std::int64_t n) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key(field);
  if (!operation.empty()) {
    builder.StartDocument();
    builder.Key(operation);
  }
  builder.Int(n);
  if (!operation.empty()) builder.EndDocument();
  builder.EndDocument();
  return bytes;
}
Filter Where(std::string_view field, std::string_view operation, std::int64_t n) {
  return *Filter::Compile(View(Spec(field, operation, n)));
}
Filter WhereId(std::string_view id) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(id);
  builder.EndDocument();
  return *Filter::Compile(View(bytes));
}
// {operation: {field: n}}
Update Change(std::string_view operation, std::string_view field, std::int64_t n) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key(operation);
  builder.Raw(View(Spec(field, "", n)));
  builder.EndDocument();
  return *Update::Compile(View(bytes));
}

template <class Durability>
class EngineTest : public testing::Test {
 protected:
  using TestEngine = BasicEngine<Policies<Durability>>;
  using Database = typename TestEngine::Database;

  EngineTest() {
    options_.data_path =
        absl::StrCat(testing::TempDir(), "/engine_", Durability::kName, "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.shards = 8;
    std::filesystem::remove_all(options_.data_path);
    Open();
  }

  void Open() {
    auto engine = TestEngine::Open(options_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    auto database = engine_->GetOrCreateDatabase("test");
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *database;
  }
  // As if the process had been killed: nothing is flushed or checkpointed.
  void Crash() {
    engine_.reset();
    Open();
  }
  void CloseAndOpen() {
    ASSERT_TRUE(engine_->Close().ok());
    engine_.reset();
    Open();
  }

  absl::Status Insert(std::string_view id, std::int64_t n, std::string_view text = "") {
    auto result = database_->InsertOne("c", View(Document(id, n, text)));
    return result.ok() ? database_->WaitVisible(result->commit_timestamp) : result.status();
  }
  std::string Get(std::string_view id) {
    std::string bytes;
    auto found = database_->FindById("c", EncodeStringId(id),
                                     [&](ValueView document) { bytes = document.bytes(); });
    EXPECT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found.value_or(false), !bytes.empty());
    return bytes;
  }
  std::vector<std::int64_t> Numbers(const Filter& filter) {
    std::vector<std::int64_t> numbers;
    FindQuery query;
    query.filter = &filter;
    EXPECT_TRUE(database_
                    ->Find("c", query,
                           [&](ValueView document) {
                             numbers.push_back(document.Find("n")->AsInt64());
                             return true;
                           })
                    .ok());
    std::sort(numbers.begin(), numbers.end());
    return numbers;
  }

  EngineOptions options_;
  std::unique_ptr<TestEngine> engine_;
  Database* database_ = nullptr;
};

using DurabilityTypes = testing::Types<AsyncDurability, SyncDurability>;
TYPED_TEST_SUITE(EngineTest, DurabilityTypes);

TYPED_TEST(EngineTest, WhatIsInsertedIsFoundByIdAndByFilter) {
  ASSERT_TRUE(this->Insert("a", 1, "hello").ok());
  EXPECT_EQ(this->Get("a"), Document("a", 1, "hello"));
  EXPECT_EQ(this->Get("b"), "");
  EXPECT_EQ(this->Numbers(Where("n", "$gte", 1)), std::vector<std::int64_t>{1});
  EXPECT_EQ(this->Numbers(Where("n", "$gt", 1)), std::vector<std::int64_t>{});
}

TYPED_TEST(EngineTest, ADuplicateIdIsRefusedByName) {
  ASSERT_TRUE(this->Insert("a", 1).ok());
  const absl::Status status = this->Insert("a", 2);
  EXPECT_TRUE(absl::IsAlreadyExists(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "\"a\"")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "'c'")) << status;
  EXPECT_EQ(this->Get("a"), Document("a", 1));
}

TYPED_TEST(EngineTest, ADocumentWithoutIdGetsOne) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("n");
  builder.Int(7);
  builder.EndDocument();
  const auto inserted = this->database_->InsertOne("c", View(bytes));
  ASSERT_TRUE(inserted.ok());
  ASSERT_TRUE(this->database_->WaitVisible(inserted->commit_timestamp).ok());
  const auto found = this->database_->FindById("c", inserted->id, [&](ValueView document) {
    EXPECT_EQ(document.Find("_id")->bytes(), inserted->id);
    EXPECT_EQ(document.Find("n")->AsInt64(), 7);
  });
  EXPECT_TRUE(*found);
}

TYPED_TEST(EngineTest, UpdatesDeletesAndCounts) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), i).ok());
  auto updated = this->database_->UpdateMany("c", Where("n", "$lt", 5), Change("$inc", "n", 100));
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->matched, 5u);
  EXPECT_EQ(updated->modified, 5u);
  ASSERT_TRUE(this->database_->WaitVisible(updated->commit_timestamp).ok());
  updated = this->database_->UpdateOne("c", WhereId("k7"), Change("$set", "n", 7));
  ASSERT_TRUE(updated.ok());
  EXPECT_EQ(updated->matched, 1u);
  EXPECT_EQ(updated->modified, 0u) << "nothing changes, so nothing is written";
  EXPECT_EQ(updated->commit_timestamp, 0u);
  auto deleted = this->database_->DeleteMany("c", Where("n", "$gte", 100));
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(deleted->deleted, 5u);
  ASSERT_TRUE(this->database_->WaitVisible(deleted->commit_timestamp).ok());
  deleted = this->database_->DeleteOne("c", Where("n", "$gte", 5));
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(deleted->deleted, 1u);
  ASSERT_TRUE(this->database_->WaitVisible(deleted->commit_timestamp).ok());
  EXPECT_EQ(*this->database_->Count("c", Filter()), 14u);
  EXPECT_EQ(*this->database_->Count("c", Where("n", "$gte", 10)),
            this->Numbers(Where("n", "$gte", 10)).size());
  EXPECT_EQ(*this->database_->Count("nothing", Filter()), 0u);
}

TYPED_TEST(EngineTest, UpsertsUpdateOrInsert) {
  auto upserted = this->database_->UpsertOne("c", WhereId("new"), Change("$inc", "n", 3));
  ASSERT_TRUE(upserted.ok()) << upserted.status();
  EXPECT_EQ(upserted->inserted_id, EncodeStringId("new"));
  ASSERT_TRUE(this->database_->WaitVisible(upserted->commit_timestamp).ok());
  upserted = this->database_->UpsertOne("c", WhereId("new"), Change("$inc", "n", 3));
  ASSERT_TRUE(upserted.ok());
  EXPECT_EQ(upserted->matched, 1u);
  EXPECT_FALSE(upserted->inserted_id.has_value());
  ASSERT_TRUE(this->database_->WaitVisible(upserted->commit_timestamp).ok());
  EXPECT_EQ(this->Numbers(Filter()), std::vector<std::int64_t>{6});
}

TYPED_TEST(EngineTest, EverythingComesBackAfterAKillAndAfterACleanStop) {
  std::map<std::string, std::string> model;
  std::mt19937 random(3);
  for (int round = 0; round < 4; ++round) {
    std::uint64_t last = 0;
    for (int i = 0; i < 300; ++i) {
      const std::string id = absl::StrCat("k", random() % 200);
      if (random() % 4 == 0) {
        auto deleted = this->database_->DeleteOne("c", WhereId(id));
        ASSERT_TRUE(deleted.ok());
        EXPECT_EQ(deleted->deleted, model.erase(id));
        last = std::max(last, deleted->commit_timestamp);
      } else {
        const int n = static_cast<int>(random());
        const std::string text(random() % 1000, static_cast<char>('a' + random() % 26));
        if (!model.contains(id)) {
          auto inserted = this->database_->InsertOne("c", View(Document(id, n, text)));
          ASSERT_TRUE(inserted.ok());
          last = inserted->commit_timestamp;
          model[id] = Document(id, n, text);
        } else {
          auto updated = this->database_->UpdateOne("c", WhereId(id),
                                                    *Update::Compile(View(Document(id, n, text))));
          ASSERT_TRUE(updated.ok()) << updated.status();
          last = std::max(last, updated->commit_timestamp);
          model[id] = Document(id, n, text);
        }
      }
    }
    ASSERT_TRUE(this->database_->WaitVisible(last).ok());
    if (round % 2 == 0) {
      this->Crash();
    } else {
      this->CloseAndOpen();
    }
    EXPECT_EQ(*this->database_->Count("c", Filter()), model.size());
    for (int i = 0; i < 200; ++i) {
      const std::string id = absl::StrCat("k", i);
      EXPECT_EQ(this->Get(id), model.contains(id) ? model[id] : "") << id;
    }
  }
}

// Everything but .db and the manifest can be deleted and is rebuilt.
TYPED_TEST(EngineTest, IndexFilesCanBeDeleted) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), i).ok());
  ASSERT_TRUE(this->engine_->Close().ok());
  int removed = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(this->options_.data_path + "/test")) {
    if (entry.path().extension() == ".sidx") removed += std::filesystem::remove(entry.path());
  }
  EXPECT_GT(removed, 0);
  this->engine_.reset();
  this->Open();
  EXPECT_EQ(*this->database_->Count("c", Filter()), 100u);
  EXPECT_EQ(this->Get("k42"), Document("k42", 42));
}

// A shard file that is gone or no longer one must not look like an empty shard.
TYPED_TEST(EngineTest, AMissingOrOverwrittenShardFileIsReported) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), i).ok());
  ASSERT_TRUE(this->engine_->Close().ok());
  const std::string path = this->options_.data_path + "/test/shard_003.db";
  std::filesystem::rename(path, path + ".kept");
  const auto open = [&] {
    this->engine_.reset();
    auto engine = BasicEngine<Policies<TypeParam>>::Open(this->options_);
    return (*engine)->FindDatabase("test").status();
  };
  EXPECT_TRUE(absl::IsDataLoss(open())) << open();
  EXPECT_TRUE(absl::StrContains(open().message(), "shard_003.db")) << open();
  std::ofstream(path) << "not a shard";
  EXPECT_TRUE(absl::IsDataLoss(open())) << open();
  std::filesystem::rename(path + ".kept", path);
  EXPECT_TRUE(open().ok()) << open();
}

TYPED_TEST(EngineTest, ACleanStopLeavesNoJournal) {
  ASSERT_TRUE(this->Insert("a", 1).ok());
  ASSERT_TRUE(this->engine_->Close().ok());
  for (const auto& entry :
       std::filesystem::directory_iterator(this->options_.data_path + "/test")) {
    EXPECT_FALSE(absl::StartsWith(entry.path().filename().string(), "journal.")) << entry.path();
  }
}

TYPED_TEST(EngineTest, DroppedCollectionsAreGoneForGood) {
  ASSERT_TRUE(this->Insert("a", 1).ok());
  ASSERT_TRUE(this->database_->CreateCollection("empty").ok());
  EXPECT_EQ(this->database_->ListCollections(), (std::vector<std::string>{"c", "empty"}));
  ASSERT_TRUE(this->database_->Drop("c").ok());
  EXPECT_EQ(this->Get("a"), "");
  EXPECT_FALSE(*this->database_->CollectionExists("c"));
  ASSERT_TRUE(this->Insert("a", 2).ok()) << "the name is free again";
  this->Crash();
  EXPECT_EQ(this->Numbers(Filter()), std::vector<std::int64_t>{2});
  EXPECT_EQ(this->database_->ListCollections(), (std::vector<std::string>{"c", "empty"}));
}

TYPED_TEST(EngineTest, BatchesSeeOneSnapshot) {
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), i).ok());
  std::vector<std::int64_t> seen;
  std::string cursor;
  int batches = 0;
  do {
    auto next = this->database_->FindBatch("c", Filter(), cursor, 7, [&](ValueView document) {
      seen.push_back(document.Find("n")->AsInt64());
      return true;
    });
    ASSERT_TRUE(next.ok()) << next.status();
    cursor = *next;
    // Whatever is written between two batches is not seen by them.
    ASSERT_TRUE(this->Insert(absl::StrCat("later", batches), 1000).ok());
    auto updated =
        this->database_->UpdateMany("c", Where("n", "$lt", 50), Change("$set", "text", batches));
    ASSERT_TRUE(updated.ok());
    ASSERT_TRUE(this->database_->WaitVisible(updated->commit_timestamp).ok());
    ASSERT_LT(++batches, 20);
  } while (!cursor.empty());
  std::sort(seen.begin(), seen.end());
  std::vector<std::int64_t> expected;
  for (int i = 0; i < 50; ++i) expected.push_back(i);
  EXPECT_EQ(seen, expected);
}

TYPED_TEST(EngineTest, AForgedCursorIsRefused) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), i).ok());
  std::string cursor =
      *this->database_->FindBatch("c", Filter(), "", 3, [](ValueView) { return true; });
  ASSERT_FALSE(cursor.empty());
  cursor[9] ^= 1;
  EXPECT_TRUE(absl::IsInvalidArgument(
      this->database_->FindBatch("c", Filter(), cursor, 3, [](ValueView) { return true; })
          .status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      this->database_->FindBatch("c", Filter(), "x", 3, [](ValueView) { return true; }).status()));
}

TYPED_TEST(EngineTest, FindSortsSkipsAndLimits) {
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), (i * 7) % 30).ok());
  const Sort sort = *Sort::Compile(View(Spec("n", "", -1)));
  FindQuery query;
  query.sort = &sort;
  query.skip = 2;
  query.limit = 3;
  std::vector<std::int64_t> numbers;
  ASSERT_TRUE(this->database_
                  ->Find("c", query,
                         [&](ValueView document) {
                           numbers.push_back(document.Find("n")->AsInt64());
                           return true;
                         })
                  .ok());
  EXPECT_EQ(numbers, (std::vector<std::int64_t>{27, 26, 25}));
}

TYPED_TEST(EngineTest, InsertManyStopsAtTheFirstThatFails) {
  const std::vector<std::string> documents = {Document("a", 1), Document("b", 2), Document("a", 3),
                                              Document("d", 4)};
  std::vector<ValueView> views;
  for (const std::string& document : documents) views.push_back(View(document));
  const InsertManyResult result = this->database_->InsertMany("c", views);
  EXPECT_EQ(result.ids.size(), 2u);
  EXPECT_TRUE(absl::IsAlreadyExists(result.status));
  EXPECT_TRUE(absl::StrContains(result.status.message(), "document 2 of 4")) << result.status;
  ASSERT_TRUE(this->database_->WaitVisible(result.commit_timestamp).ok());
  EXPECT_EQ(this->Numbers(Filter()), (std::vector<std::int64_t>{1, 2}));
}

// Concurrent increments of the same few documents: none is lost.
TYPED_TEST(EngineTest, ConcurrentUpdatesOfADocumentAreAllCounted) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), 0).ok());
  constexpr int kThreads = 4;
  constexpr int kUpdates = 200;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kUpdates; ++j) {
        auto updated = this->database_->UpdateOne("c", WhereId(absl::StrCat("k", j % 3)),
                                                  Change("$inc", "n", 1));
        ASSERT_TRUE(updated.ok()) << updated.status();
        ASSERT_EQ(updated->modified, 1u);
        ASSERT_TRUE(this->database_->WaitVisible(updated->commit_timestamp).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::int64_t sum = 0;
  for (const std::int64_t n : this->Numbers(Filter())) sum += n;
  EXPECT_EQ(sum, kThreads * kUpdates);
}

// Readers see every document exactly once whatever writers do meanwhile.
TYPED_TEST(EngineTest, ScansAreConsistentUnderWrites) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(this->Insert(absl::StrCat("k", i), i).ok());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::mt19937 random(1);
    while (!stop.load()) {
      const auto updated = this->database_->UpdateOne(
          "c", WhereId(absl::StrCat("k", random() % 100)), Change("$inc", "version", 1));
      ASSERT_TRUE(updated.ok()) << updated.status();
      // As a client would; without it the log outgrows the scans on a slow machine.
      ASSERT_TRUE(this->database_->WaitVisible(updated->commit_timestamp).ok());
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(this->Numbers(Filter()).size(), 100u);
  stop = true;
  writer.join();
}

TYPED_TEST(EngineTest, NamesAreChecked) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(this->database_->InsertOne("", View(Document("a", 1))).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(this->engine_->GetOrCreateDatabase("../evil").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(this->engine_->GetOrCreateDatabase("").status()));
  const auto missing = this->engine_->FindDatabase("missing");
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(*missing, nullptr);
}

// The flusher may be at work on the shards and the manifest when an engine goes without Close().
TYPED_TEST(EngineTest, DestructionWithoutCloseEndsTheFlusherFirst) {
  this->options_.flush_interval = absl::Microseconds(200);
  for (int i = 0; i < 20; ++i) {
    this->engine_.reset();
    std::filesystem::remove_all(this->options_.data_path);
    this->Open();
    for (int j = 0; j < 8; ++j) ASSERT_TRUE(this->Insert(absl::StrCat("k", j), j).ok());
  }
}

TYPED_TEST(EngineTest, ASecondEngineOnTheDirectoryIsRefused) {
  const auto second = BasicEngine<Policies<TypeParam>>::Open(this->options_);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
}

TYPED_TEST(EngineTest, LargeDocumentsComeBack) {
  std::string text(10 << 20, 'x');
  std::mt19937 random(5);
  for (char& c : text) c = static_cast<char>('a' + random() % 26);
  ASSERT_TRUE(this->Insert("big", 1, text).ok());
  EXPECT_EQ(this->Get("big"), Document("big", 1, text));
  this->Crash();
  EXPECT_EQ(this->Get("big"), Document("big", 1, text));
}

TYPED_TEST(EngineTest, AnEmptyDatabaseIsSmall) {
  std::uint64_t bytes = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(this->options_.data_path)) {
    if (entry.is_regular_file()) bytes += std::filesystem::file_size(entry.path());
  }
  EXPECT_LT(bytes, 1u << 20);
}

}  // namespace
}  // namespace alos
