// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What indexes forbid and bring about: unique keys, expiry; and that their definitions stay.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/engine/engine.h"
#include "alos/index/index_definition.h"
#include "alos/query/internal/shell_text.h"
#include "alos/storage/manifest.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

using query_internal::ShellDocument;
using ::testing::TempDir;

constexpr int kThreads = 8;

class ConstraintTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.data_path = absl::StrCat(
        TempDir(), "/constraint_", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(options_.data_path);
    options_.shards = 8;
    options_.automatic_index_documents_min = 10;
    options_.expiry_interval = absl::ZeroDuration();
    options_.clock = [this] {
      absl::MutexLock lock(&clock_mutex_);
      return now_;
    };
    Open();
  }
  void TearDown() override {
    if (engine_ != nullptr) {
      EXPECT_TRUE(engine_->Close().ok());
    }
    engine_.reset();
    std::filesystem::remove_all(options_.data_path);
  }

  void Open() {
    auto engine = Engine::Open(options_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    auto database = engine_->GetOrCreateDatabase("test");
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *database;
  }
  void Restart() {
    ASSERT_TRUE(engine_->Close().ok());
    engine_.reset();
    Open();
  }
  // As if the process had died.
  void Crash() {
    engine_.reset();
    Open();
  }
  // A crash, and the files that may be deleted are.
  void CrashAndLoseIndexFiles() {
    engine_.reset();
    for (const auto& file : std::filesystem::directory_iterator(options_.data_path + "/test")) {
      const std::string name = file.path().filename();
      if (name[0] == 'c' || absl::EndsWith(name, ".sidx")) std::filesystem::remove(file);
    }
    Open();
  }

  // A clean stop, a change of the manifest, a start.
  void EditManifest(const std::function<void(Manifest*)>& edit) {
    ASSERT_TRUE(engine_->Close().ok());
    engine_.reset();
    const std::string path = options_.data_path + "/test/manifest";
    std::stringstream bytes;
    bytes << std::ifstream(path).rdbuf();
    auto manifest = DecodeManifest(path, bytes.str());
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    edit(&*manifest);
    std::ofstream(path) << EncodeManifest(*manifest);
    Open();
  }

  static IndexDefinition Unique(std::vector<std::string> paths) {
    IndexDefinition definition;
    definition.paths = std::move(paths);
    definition.is_unique = true;
    definition.reason = "created by a client";
    return definition;
  }
  static IndexDefinition Partial(std::vector<std::string> paths, std::string_view filter) {
    IndexDefinition definition = Unique(std::move(paths));
    definition.partial_filter = ShellDocument(filter).bytes();
    return definition;
  }
  static IndexDefinition Expiring(std::string path, std::int64_t seconds) {
    IndexDefinition definition;
    definition.paths = {std::move(path)};
    definition.expire_after_seconds = seconds;
    return definition;
  }
  absl::Status Create(IndexDefinition definition) {
    return database_->CreateIndex("c", std::move(definition));
  }

  absl::Status Insert(std::string_view text, std::string_view collection = "c") {
    const ShellDocument document(text);
    return database_->InsertOne(collection, document.view()).status();
  }
  absl::Status Change(std::string_view filter_text, std::string_view update_text) {
    const ShellDocument filter_document(filter_text);
    const ShellDocument update_document(update_text);
    const auto filter = Filter::Compile(filter_document.view());
    const auto update = Update::Compile(update_document.view());
    EXPECT_TRUE(filter.ok() && update.ok());
    return database_->UpdateOne("c", *filter, *update).status();
  }
  absl::StatusOr<UpsertResult> Upsert(std::string_view filter_text, std::string_view update_text) {
    const ShellDocument filter_document(filter_text);
    const ShellDocument update_document(update_text);
    const auto filter = Filter::Compile(filter_document.view());
    const auto update = Update::Compile(update_document.view());
    EXPECT_TRUE(filter.ok() && update.ok());
    return database_->UpsertOne("c", *filter, *update);
  }
  void Delete(std::string_view text) {
    const ShellDocument document(text);
    const auto filter = Filter::Compile(document.view());
    ASSERT_TRUE(filter.ok());
    ASSERT_TRUE(database_->DeleteMany("c", *filter).ok());
  }
  std::uint64_t Count(std::string_view text = "{}") {
    const ShellDocument document(text);
    const auto filter = Filter::Compile(document.view());
    EXPECT_TRUE(filter.ok());
    // Not read off a counter: what the documents say.
    std::uint64_t count = 0;
    FindQuery query;
    query.filter = &*filter;
    EXPECT_TRUE(database_
                    ->Find("c", query,
                           [&](ValueView) {
                             ++count;
                             return true;
                           })
                    .ok());
    return count;
  }
  std::map<std::string, IndexDefinition> Indexes(std::string_view collection = "c") {
    std::map<std::string, IndexDefinition> indexes;
    EXPECT_TRUE(database_
                    ->ListIndexes(collection,
                                  [&](ValueView index) {
                                    indexes[std::string(index.Find("name")->AsString())] =
                                        *ParseIndexDefinition(*index.Find("definition"));
                                  })
                    .ok());
    return indexes;
  }
  void SetNow(std::int64_t seconds) {
    absl::MutexLock lock(&clock_mutex_);
    now_ = absl::FromUnixSeconds(seconds);
  }

  static void ExpectDuplicate(const absl::Status& status, std::string_view what) {
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), what)) << status;
  }

  static void InThreads(const std::function<void(int)>& work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
  }

  EngineOptions options_;
  absl::Mutex clock_mutex_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  std::unique_ptr<Engine> engine_;
  Engine::Database* database_ = nullptr;
};

// ---- Definitions

TEST_F(ConstraintTest, DefinitionsSurviveTheLossOfAllIndexFiles) {
  ASSERT_TRUE(Insert("{_id: 1, a: 1}").ok());
  ASSERT_TRUE(Create(Unique({"email"})).ok());
  IndexDefinition sparse = Unique({"b", "c"});
  sparse.is_sparse = true;
  ASSERT_TRUE(Create(sparse).ok());
  ASSERT_TRUE(Create(Partial({"d"}, "{d: {$gt: 5}}")).ok());
  ASSERT_TRUE(Create(Expiring("at", 60)).ok());
  IndexDefinition text;
  text.paths = {"content"};
  text.is_text = true;
  ASSERT_TRUE(Create(text).ok());
  IndexDefinition plain;
  plain.paths = {"dropped"};
  ASSERT_TRUE(Create(plain).ok());
  ASSERT_TRUE(database_->DropIndex("c", "dropped").ok());
  const auto before = Indexes();
  ASSERT_EQ(before.size(), 5u);
  for (int round = 0; round < 3; ++round) {
    if (round == 0) Crash();
    if (round == 1) Restart();
    if (round == 2) CrashAndLoseIndexFiles();
    auto after = Indexes();
    ASSERT_EQ(after.size(), 5u) << round;
    for (const auto& [name, definition] : before) {
      EXPECT_EQ(after[name].id, definition.id) << name;
      EXPECT_EQ(after[name].is_unique, definition.is_unique) << name;
      EXPECT_EQ(after[name].is_sparse, definition.is_sparse) << name;
      EXPECT_EQ(after[name].is_text, definition.is_text) << name;
      EXPECT_EQ(after[name].partial_filter, definition.partial_filter) << name;
      EXPECT_EQ(after[name].expire_after_seconds, definition.expire_after_seconds) << name;
      EXPECT_FALSE(after[name].is_automatic) << name;
    }
    const auto fields = database_->TextFields("c");
    ASSERT_TRUE(fields.ok());
    EXPECT_EQ(*fields, std::vector<std::string>{"content"});
    EXPECT_TRUE(*database_->WaitForIndexes("c"));
  }
  // A new index gets a new id.
  plain.paths = {"later"};
  ASSERT_TRUE(Create(plain).ok());
  for (const auto& [name, definition] : before) EXPECT_NE(Indexes()["later"].id, definition.id);
}

// The file of a checkpoint still has the index that was dropped after it.
TEST_F(ConstraintTest, ADroppedIndexDoesNotComeBack) {
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", a: ", i, "}")).ok());
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  ASSERT_TRUE(database_->Checkpoint().ok());
  ASSERT_TRUE(database_->DropIndex("c", "a").ok());
  EXPECT_TRUE(Insert("{_id: 100, a: 5}").ok());
  Crash();
  EXPECT_TRUE(Indexes().empty());
  EXPECT_TRUE(Insert("{_id: 101, a: 5}").ok());
  EXPECT_TRUE(absl::IsNotFound(database_->DropIndex("c", "a")));
}

TEST_F(ConstraintTest, AnAutomaticIndexBecomesTheClients) {
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", a: ", i, "}")).ok());
  EXPECT_EQ(Count("{a: 5}"), 1u);
  ASSERT_EQ(Indexes().size(), 1u);
  EXPECT_TRUE(Indexes()["a"].is_automatic);
  const std::uint32_t id = Indexes()["a"].id;
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  EXPECT_FALSE(Indexes()["a"].is_automatic);
  EXPECT_EQ(Indexes()["a"].id, id);
  ExpectDuplicate(Insert("{_id: 100, a: 5}"), "{a: 5}");
  EXPECT_EQ(Count("{a: 5}"), 1u);
}

TEST_F(ConstraintTest, OptionsThatDisagreeAreRefused) {
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  EXPECT_TRUE(Create(Unique({"a"})).ok());
  IndexDefinition plain;
  plain.paths = {"a"};
  EXPECT_TRUE(Create(plain).ok());
  EXPECT_TRUE(Indexes()["a"].is_unique);
  EXPECT_TRUE(absl::IsFailedPrecondition(Create(Expiring("a", 5))));
  IndexDefinition text = plain;
  text.is_text = true;
  EXPECT_TRUE(Create(text).ok());
  EXPECT_TRUE(Indexes()["a"].is_text);
  EXPECT_TRUE(Indexes()["a"].is_unique);

  IndexDefinition both = Partial({"b"}, "{b: 1}");
  both.is_sparse = true;
  EXPECT_TRUE(absl::IsInvalidArgument(Create(both)));
  EXPECT_TRUE(absl::IsInvalidArgument(Create(Partial({"b"}, "{b: {$nonsense: 1}}"))));
  EXPECT_TRUE(absl::IsInvalidArgument(Create(Partial({"b"}, "{$expr: {$gt: ['$b', 1]}}"))));
  EXPECT_TRUE(absl::IsInvalidArgument(Create(Expiring("_id", 5))));
  EXPECT_TRUE(absl::IsInvalidArgument(Create(Expiring("b", -1))));
  IndexDefinition compound = Expiring("b", 1);
  compound.paths.push_back("c");
  EXPECT_TRUE(absl::IsInvalidArgument(Create(compound)));
  EXPECT_TRUE(absl::IsInvalidArgument(Create(Unique({"b", "b"}))));
  EXPECT_EQ(Indexes().size(), 1u);
}

TEST_F(ConstraintTest, PartialAndSparseIndexesHaveAllDocuments) {
  IndexDefinition sparse;
  sparse.paths = {"a"};
  sparse.is_sparse = true;
  ASSERT_TRUE(Create(sparse).ok());
  IndexDefinition partial = Partial({"b"}, "{b: {$gt: 10}}");
  partial.is_unique = false;
  ASSERT_TRUE(Create(partial).ok());
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", b: ", i % 20, "}")).ok());
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  EXPECT_EQ(Count("{a: null}"), 50u);
  EXPECT_EQ(Count("{b: 3}"), 3u);
}

// ---- Unique

TEST_F(ConstraintTest, ADuplicateIsRefusedByEveryKindOfWrite) {
  ASSERT_TRUE(Create(Unique({"email"})).ok());
  ASSERT_TRUE(Insert("{_id: 1, email: 'a'}").ok());
  ASSERT_TRUE(Insert("{_id: 2, email: 'b'}").ok());
  const absl::Status status = Insert("{_id: 3, email: 'a'}");
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(status.message(),
            "duplicate key in unique index 'email' of collection 'c': {email: \"a\"}");
  ExpectDuplicate(Change("{_id: 2}", "{$set: {email: 'a'}}"), "{email: \"a\"}");
  ExpectDuplicate(Change("{_id: 2}", "{email: 'a', x: 1}"), "{email: \"a\"}");
  ExpectDuplicate(Upsert("{_id: 4}", "{$set: {email: 'b'}}").status(), "{email: \"b\"}");
  const ShellDocument first("{_id: 5, email: 'c'}");
  const ShellDocument second("{_id: 6, email: 'c'}");
  const InsertManyResult many = database_->InsertMany("c", {first.view(), second.view()});
  ExpectDuplicate(many.status, "{email: \"c\"}");
  EXPECT_EQ(many.ids.size(), 1u);
  EXPECT_EQ(Count(), 3u);
  EXPECT_EQ(Count("{email: 'b'}"), 1u);

  // What stays, and what is free again, is no conflict.
  EXPECT_TRUE(Change("{_id: 1}", "{$set: {x: 1}}").ok());
  EXPECT_TRUE(Change("{_id: 1}", "{$set: {email: 'd'}}").ok());
  EXPECT_TRUE(Insert("{_id: 7, email: 'a'}").ok());
  Delete("{_id: 7}");
  EXPECT_TRUE(Insert("{_id: 8, email: 'a'}").ok());
  // Another collection is another matter.
  EXPECT_TRUE(Insert("{_id: 1, email: 'a'}", "other").ok());
}

TEST_F(ConstraintTest, MissingIsNullUnlessSparse) {
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  IndexDefinition sparse = Unique({"b"});
  sparse.is_sparse = true;
  ASSERT_TRUE(Create(sparse).ok());
  ASSERT_TRUE(Insert("{_id: 1}").ok());
  ExpectDuplicate(Insert("{_id: 2}"), "{a: null}");
  ExpectDuplicate(Insert("{_id: 2, a: null}"), "{a: null}");
  ASSERT_TRUE(Insert("{_id: 2, a: 1}").ok());
  ASSERT_TRUE(Insert("{_id: 3, a: 2, b: null}").ok());
  ExpectDuplicate(Insert("{_id: 4, a: 3, b: null}"), "{b: null}");
}

TEST_F(ConstraintTest, ArraysCompoundAndWholeDocuments) {
  ASSERT_TRUE(Create(Unique({"tags"})).ok());
  ASSERT_TRUE(Insert("{_id: 1, tags: ['x', 'y', 'x']}").ok());
  ExpectDuplicate(Insert("{_id: 2, tags: ['z', 'y']}"), "{tags: \"y\"}");
  EXPECT_TRUE(Insert("{_id: 2, tags: ['z']}").ok());
  ExpectDuplicate(Change("{_id: 2}", "{$push: {tags: 'x'}}"), "{tags: \"x\"}");
  EXPECT_TRUE(Change("{_id: 1}", "{$pull: {tags: 'x'}}").ok());
  EXPECT_TRUE(Change("{_id: 2}", "{$push: {tags: 'x'}}").ok());
  EXPECT_TRUE(Insert("{_id: 3, tags: {k: [1, 2]}}").ok());
  EXPECT_TRUE(Insert("{_id: 4, tags: {k: [1, 3]}}").ok());
  ExpectDuplicate(Insert("{_id: 5, tags: {k: [1.0, 2]}}"), "tags");
  ASSERT_TRUE(database_->DropIndex("c", "tags").ok());

  ASSERT_TRUE(Create(Unique({"l.a", "l.b"})).ok() == false);  // several documents without
  Delete("{}");
  ASSERT_TRUE(Create(Unique({"l.a", "l.b"})).ok());
  ASSERT_TRUE(Insert("{_id: 1, l: [{a: 1, b: 1}, {a: 2, b: 2}]}").ok());
  EXPECT_TRUE(Insert("{_id: 2, l: {a: 1, b: 2}}").ok());
  ExpectDuplicate(Insert("{_id: 3, l: {a: 2, b: 2.0}}"), "{l.a: 2, l.b: 2}");
  EXPECT_TRUE(absl::IsInvalidArgument(Insert("{_id: 4, l: {a: [1], b: [2]}}")));
  EXPECT_EQ(Count(), 2u);
}

TEST_F(ConstraintTest, APartialIndexIsUniqueAmongWhatMatches) {
  ASSERT_TRUE(Create(Partial({"a"}, "{active: true}")).ok());
  EXPECT_TRUE(Insert("{_id: 1, a: 1, active: false}").ok());
  EXPECT_TRUE(Insert("{_id: 2, a: 1, active: true}").ok());
  EXPECT_TRUE(Insert("{_id: 3, a: 1}").ok());
  ExpectDuplicate(Insert("{_id: 4, a: 1, active: true}"), "{a: 1}");
  ExpectDuplicate(Change("{_id: 1}", "{$set: {active: true}}"), "{a: 1}");
  EXPECT_TRUE(Change("{_id: 2}", "{$set: {active: false}}").ok());
  EXPECT_TRUE(Change("{_id: 1}", "{$set: {active: true}}").ok());
}

TEST_F(ConstraintTest, ExistingDuplicatesAreNamedAndLeaveNoIndex) {
  for (int i = 0; i < 500; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", a: ", i % 499, "}")).ok());
  const absl::Status status = Create(Unique({"a"}));
  ExpectDuplicate(status, "{a: 0}");
  EXPECT_TRUE(absl::StrContains(status.message(), "499")) << status;
  EXPECT_TRUE(Indexes().empty());
  EXPECT_TRUE(Insert("{_id: 1000, a: 5}").ok());
  Delete("{_id: {$in: [499, 1000]}}");
  EXPECT_TRUE(Create(Unique({"a"})).ok());
  ExpectDuplicate(Insert("{_id: 1000, a: 5}"), "{a: 5}");
}

TEST_F(ConstraintTest, UniquenessOutlivesRestartsCrashesAndIndexFiles) {
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  ASSERT_TRUE(Create(Unique({"b", "c"})).ok());
  for (int i = 0; i < 300; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", a: ", i, ", b: 1, c: ", i, "}")).ok());
  for (int round = 0; round < 3; ++round) {
    if (round == 0) Crash();
    if (round == 1) Restart();
    if (round == 2) CrashAndLoseIndexFiles();
    ExpectDuplicate(Insert(absl::StrCat("{_id: 1000, a: ", 7 + round, ", c: 'new'}")), "a");
    ExpectDuplicate(Insert("{_id: 1000, a: 'new', b: 1, c: 250}"), "{b: 1, c: 250}");
    EXPECT_TRUE(
        Change(absl::StrCat("{a: ", round, "}"), absl::StrCat("{$set: {a: 'r", round, "'}}")).ok());
    EXPECT_TRUE(
        Insert(absl::StrCat("{_id: 'n", round, "', a: ", round, ", c: 'n", round, "'}")).ok());
  }
  EXPECT_EQ(Count(), 303u);
}

TEST_F(ConstraintTest, IndexesOfAnOlderAlosAreTakenFromTheirFile) {
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", a: ", i, "}")).ok());
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  EditManifest([](Manifest* manifest) { manifest->collections[0].indexes.reset(); });
  ASSERT_EQ(Indexes().size(), 1u);
  ExpectDuplicate(Insert("{_id: 10, a: 5}"), "{a: 5}");
  CrashAndLoseIndexFiles();
  ASSERT_EQ(Indexes().size(), 1u);
  ExpectDuplicate(Insert("{_id: 10, a: 5}"), "{a: 5}");
}

// As a power failure may leave them under `async`: they stay, they can be put right, and nobody
// else can join them.
TEST_F(ConstraintTest, DuplicatesThatAreThereAtOpeningStay) {
  IndexDefinition plain;
  plain.paths = {"a"};
  ASSERT_TRUE(Create(plain).ok());
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", a: ", i / 2, ", b: [1]}")).ok());
  EditManifest([](Manifest* manifest) {
    const std::string bytes = manifest->collections[0].indexes->front();
    auto definition = ParseIndexDefinition(ValueView::FromTrusted(bytes));
    definition->is_unique = true;
    manifest->collections[0].indexes->front().clear();
    Builder builder(&manifest->collections[0].indexes->front());
    AppendIndexDefinition(*definition, &builder);
  });
  ExpectDuplicate(Insert("{_id: 10, a: 3}"), "{a: 3}");
  EXPECT_TRUE(Change("{_id: 6}", "{$set: {b: 2}}").ok());
  EXPECT_TRUE(Change("{_id: 6}", "{$set: {a: 'free'}}").ok());
  ExpectDuplicate(Insert("{_id: 10, a: 3}"), "{a: 3}");
  ExpectDuplicate(Change("{_id: 6}", "{$set: {a: 3}}"), "{a: 3}");
  Delete("{_id: 7}");
  EXPECT_TRUE(Insert("{_id: 10, a: 3}").ok());
  EXPECT_EQ(Count(), 10u);
}

TEST_F(ConstraintTest, DroppingTheCollectionDropsItsIndexes) {
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  ASSERT_TRUE(Insert("{_id: 1, a: 1}").ok());
  ASSERT_TRUE(database_->Drop("c").ok());
  EXPECT_TRUE(Indexes().empty());
  EXPECT_TRUE(Insert("{_id: 1, a: 1}").ok());
  EXPECT_TRUE(Insert("{_id: 2, a: 1}").ok());
  Delete("{_id: 2}");
  ASSERT_TRUE(Create(Unique({"a"})).ok());
  Crash();
  EXPECT_EQ(Indexes().size(), 1u);
  ExpectDuplicate(Insert("{_id: 3, a: 1}"), "{a: 1}");
}

TEST_F(ConstraintTest, ManyIndexes) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Create(Unique({absl::StrCat("f", i)})).ok());
  const auto document = [](int id, int odd, std::string_view value) {
    std::string text = absl::StrCat("{_id: ", id);
    for (int i = 0; i < 20; ++i)
      absl::StrAppend(&text, ", f", i, ": ", i == odd ? std::string(value) : absl::StrCat(id));
    return text + "}";
  };
  ASSERT_TRUE(Insert(document(1, -1, "")).ok());
  for (int i = 0; i < 20; ++i)
    ExpectDuplicate(Insert(document(2, i, "1")), absl::StrCat("{f", i, ": 1}"));
  EXPECT_TRUE(Insert(document(2, -1, "")).ok());
}

TEST_F(ConstraintTest, OfManyThreadsThatInsertAKeyOneWins) {
  constexpr int kKeys = 400;
  ASSERT_TRUE(Create(Unique({"k"})).ok());
  std::vector<std::atomic<int>> wins(kKeys);
  const auto insert_all = [&](int thread) {
    for (int k = 0; k < kKeys; ++k) {
      const absl::Status status = Insert(absl::StrCat("{_id: '", thread, "/", k, "', k: ", k, "}"));
      if (status.ok()) {
        ++wins[k];
      } else {
        EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
      }
    }
  };
  InThreads(insert_all);
  for (const auto& won : wins) EXPECT_EQ(won.load(), 1);
  EXPECT_EQ(Count(), static_cast<std::uint64_t>(kKeys));
  // The table is made when the threads of the next start come, all at once.
  Crash();
  InThreads(insert_all);
  for (const auto& won : wins) EXPECT_EQ(won.load(), 1);
  EXPECT_EQ(Count(), static_cast<std::uint64_t>(kKeys));
}

// Keys wander among documents by inserts, updates and deletes, alone and in transactions, while the
// index is made and dropped again: what it enforces is true at every moment.
TEST_F(ConstraintTest, RandomWritersNeverMakeADuplicate) {
  constexpr int kDocuments = 60;
  constexpr int kKeys = 50;
  for (int round = 0; round < 4; ++round) {
    const bool index_first = round % 2 == 0;
    if (index_first) {
      ASSERT_TRUE(Create(Unique({"k"})).ok());
    }
    std::atomic<bool> created{index_first};
    InThreads([&](int thread) {
      if (thread == 0 && !index_first) {
        // Others write duplicates meanwhile, and then it fails; or there are none by chance.
        for (int attempt = 0; attempt < 20 && !created.load(); ++attempt) {
          const absl::Status status = Create(Unique({"k"}));
          EXPECT_TRUE(status.ok() || absl::IsAlreadyExists(status)) << status;
          if (status.ok()) created.store(true);
        }
        return;
      }
      std::mt19937 random(static_cast<unsigned>(round * kThreads + thread));
      for (int step = 0; step < 300; ++step) {
        const int id = static_cast<int>(random() % kDocuments);
        const int key = static_cast<int>(random() % kKeys);
        absl::Status status;
        switch (random() % 4) {
          case 0:
            status = Insert(absl::StrCat("{_id: ", id, ", k: ", key, "}"));
            break;
          case 1:
            status =
                Change(absl::StrCat("{_id: ", id, "}"), absl::StrCat("{$set: {k: ", key, "}}"));
            break;
          case 2:
            Delete(absl::StrCat("{_id: ", id, "}"));
            break;
          default: {
            const auto transaction = database_->BeginTransaction();
            const ShellDocument document(absl::StrCat("{_id: ", id, ", k: ", key, "}"));
            const ShellDocument other(absl::StrCat("{_id: ", (id + 1) % kDocuments, "}"));
            const auto filter = Filter::Compile(other.view());
            status = transaction->DeleteOne("c", *filter).status();
            if (status.ok()) status = transaction->InsertOne("c", document.view()).status();
            if (status.ok()) status = transaction->Commit().status();
          }
        }
        EXPECT_TRUE(status.ok() || absl::IsAlreadyExists(status) || absl::IsAborted(status))
            << status;
      }
    });
    if (created.load()) {
      std::map<std::int64_t, int> holders;
      FindQuery query;
      ASSERT_TRUE(database_
                      ->Find("c", query,
                             [&](ValueView document) {
                               EXPECT_EQ(++holders[document.Find("k")->AsInt64()], 1);
                               return true;
                             })
                      .ok());
      // And the table knows just the keys that there are.
      for (int key = 0; key < kKeys; ++key) {
        const absl::Status status = Insert(absl::StrCat("{_id: 'x", key, "', k: ", key, "}"));
        EXPECT_EQ(status.ok(), !holders.contains(key)) << status;
      }
      ASSERT_TRUE(database_->DropIndex("c", "k").ok());
    }
    Delete("{}");
    EXPECT_TRUE(Indexes().empty());
  }
}

TEST_F(ConstraintTest, WritersGoOnWhileAUniqueIndexIsMade) {
  for (int i = 0; i < 5000; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", k: ", i, "}")).ok());
  std::atomic<bool> done{false};
  InThreads([&](int thread) {
    if (thread == 0) {
      EXPECT_TRUE(Create(Unique({"k"})).ok());
      done.store(true);
      return;
    }
    for (int i = 0; !done.load() || i < 200; ++i) {
      // Keys of their own: they move, and go.
      const std::string id = absl::StrCat("{_id: 't", thread, "-", i, "'");
      ASSERT_TRUE(Insert(absl::StrCat(id, ", k: 't", thread, "-", i, "'}")).ok());
      ASSERT_TRUE(
          Change(absl::StrCat(id, "}"), absl::StrCat("{$set: {k: 'u", thread, "-", i, "'}}")).ok());
      if (i % 2 == 0) Delete(absl::StrCat(id, "}"));
      ASSERT_TRUE(Change(absl::StrCat("{_id: ", (thread * 600 + i) % 5000, "}"),
                         absl::StrCat("{$set: {x: ", i, "}}"))
                      .ok());
    }
  });
  for (int i = 0; i < 5000; i += 100)
    ExpectDuplicate(Insert(absl::StrCat("{_id: 'new', k: ", i, "}")), absl::StrCat("{k: ", i, "}"));
  EXPECT_TRUE(Insert("{_id: 'new', k: 't1-1'}").ok());
  EXPECT_TRUE(Insert("{_id: 'newer', k: 'u1-0'}").ok());
  ExpectDuplicate(Insert("{_id: 'newest', k: 'u1-1'}"), "u1-1");
}

TEST_F(ConstraintTest, UpsertsThatRaceUpdateTheOneThatWon) {
  ASSERT_TRUE(Create(Unique({"name"})).ok());
  constexpr int kNames = 50;
  std::atomic<int> inserted{0};
  InThreads([&](int) {
    for (int i = 0; i < kNames; ++i) {
      const auto result = Upsert(absl::StrCat("{name: 'n", i, "'}"), "{$inc: {count: 1}}");
      ASSERT_TRUE(result.ok()) << result.status();
      inserted += result->inserted_id ? 1 : 0;
    }
  });
  EXPECT_EQ(inserted.load(), kNames);
  EXPECT_EQ(Count(), static_cast<std::uint64_t>(kNames));
  EXPECT_EQ(Count(absl::StrCat("{count: ", kThreads, "}")), static_cast<std::uint64_t>(kNames));
  // The conflict is with a document that the filter does not match.
  ASSERT_TRUE(Insert("{_id: 'other', name: 'taken'}").ok());
  ExpectDuplicate(Upsert("{x: 1}", "{$set: {name: 'taken'}}").status(), "taken");
}

// ---- Transactions

TEST_F(ConstraintTest, TransactionsSeeConflictsWithinThemselvesAndAtCommit) {
  ASSERT_TRUE(Create(Unique({"k"})).ok());
  ASSERT_TRUE(Insert("{_id: 1, k: 'a'}").ok());
  const auto insert = [&](auto& transaction, std::string_view text) {
    const ShellDocument document(text);
    return transaction->InsertOne("c", document.view()).status();
  };
  const auto change = [&](auto& transaction, std::string_view filter_text,
                          std::string_view update_text) {
    const ShellDocument filter_document(filter_text);
    const ShellDocument update_document(update_text);
    return transaction
        ->UpdateOne("c", *Filter::Compile(filter_document.view()),
                    *Update::Compile(update_document.view()))
        .status();
  };
  {
    auto transaction = database_->BeginTransaction();
    ExpectDuplicate(insert(transaction, "{_id: 2, k: 'a'}"), "{k: \"a\"}");
    EXPECT_TRUE(insert(transaction, "{_id: 2, k: 'b'}").ok());
    ExpectDuplicate(insert(transaction, "{_id: 3, k: 'b'}"), "{k: \"b\"}");
    // A key that was given up within the transaction is free in it, and only there.
    EXPECT_TRUE(change(transaction, "{_id: 1}", "{$set: {k: 'c'}}").ok());
    EXPECT_TRUE(change(transaction, "{_id: 2}", "{$set: {k: 'a'}}").ok());
    EXPECT_TRUE(insert(transaction, "{_id: 3, k: 'b'}").ok());
    ExpectDuplicate(Insert("{_id: 4, k: 'a'}"), "{k: \"a\"}");
    const auto committed = transaction->Commit();
    EXPECT_TRUE(committed.ok()) << committed.status();
  }
  EXPECT_EQ(Count(), 3u);
  EXPECT_EQ(Count("{_id: 2, k: 'a'}"), 1u);
  ExpectDuplicate(Insert("{_id: 4, k: 'c'}"), "{k: \"c\"}");
  {
    // Somebody else is faster.
    auto transaction = database_->BeginTransaction();
    EXPECT_TRUE(insert(transaction, "{_id: 5, k: 'd'}").ok());
    EXPECT_TRUE(insert(transaction, "{_id: 6, k: 'e'}").ok());
    ASSERT_TRUE(Insert("{_id: 7, k: 'd'}").ok());
    ExpectDuplicate(transaction->Commit().status(), "{k: \"d\"}");
  }
  // Nothing of it is there, and nothing of it is held.
  EXPECT_EQ(Count("{_id: {$in: [5, 6]}}"), 0u);
  EXPECT_TRUE(Insert("{_id: 8, k: 'e'}").ok());
}

TEST_F(ConstraintTest, OfTransactionsThatTakeAKeyOneCommits) {
  ASSERT_TRUE(Create(Unique({"k"})).ok());
  constexpr int kRounds = 60;
  std::vector<std::atomic<int>> wins(kRounds);
  InThreads([&](int thread) {
    for (int round = 0; round < kRounds; ++round) {
      const auto transaction = database_->BeginTransaction();
      absl::Status status;
      for (int i = 0; i < 4 && status.ok(); ++i) {
        // All keys of a round, each thread beginning with another one.
        const ShellDocument document(absl::StrCat("{_id: '", thread, "/", round, "/", i, "', k: '",
                                                  round, "/", (thread + i) % 4, "'}"));
        status = transaction->InsertOne("c", document.view()).status();
      }
      if (status.ok()) status = transaction->Commit().status();
      if (status.ok()) {
        ++wins[round];
      } else {
        EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
      }
    }
  });
  for (const auto& won : wins) EXPECT_EQ(won.load(), 1);
  EXPECT_EQ(Count(), 4u * kRounds);
}

// ---- Expiry

TEST_F(ConstraintTest, DocumentsExpireAfterTheirTime) {
  ASSERT_TRUE(Create(Expiring("at", 60)).ok());
  ASSERT_TRUE(Insert("{_id: 'early', at: time(999000)}").ok());
  ASSERT_TRUE(Insert("{_id: 'just', at: time(999940)}").ok());
  ASSERT_TRUE(Insert("{_id: 'not yet', at: time(999941)}").ok());
  ASSERT_TRUE(Insert("{_id: 'one of several', at: [time(2000000), time(5), 'x']}").ok());
  ASSERT_TRUE(Insert("{_id: 'none of several', at: [time(2000000), 5]}").ok());
  ASSERT_TRUE(Insert("{_id: 'number', at: 5}").ok());
  ASSERT_TRUE(Insert("{_id: 'string', at: '1970-01-01'}").ok());
  ASSERT_TRUE(Insert("{_id: 'null', at: null}").ok());
  ASSERT_TRUE(Insert("{_id: 'missing'}").ok());
  const auto deleted = database_->DeleteExpired();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(*deleted, 3u);
  EXPECT_EQ(Count(), 6u);
  EXPECT_EQ(Count("{_id: {$in: ['early', 'just', 'one of several']}}"), 0u);
  SetNow(1'000'001);
  EXPECT_EQ(*database_->DeleteExpired(), 1u);
  EXPECT_EQ(Count("{_id: 'not yet'}"), 0u);
  EXPECT_EQ(*database_->DeleteExpired(), 0u);
  ASSERT_TRUE(database_->DropIndex("c", "at").ok());
  SetNow(9'000'000);
  EXPECT_EQ(*database_->DeleteExpired(), 0u);
}

TEST_F(ConstraintTest, ZeroSecondsMakeTheFieldTheTimeOfExpiry) {
  IndexDefinition definition = Expiring("at", 0);
  definition.partial_filter = ShellDocument("{keep: {$exists: false}}").bytes();
  ASSERT_TRUE(Create(definition).ok());
  ASSERT_TRUE(Insert("{_id: 1, at: time(1000000)}").ok());
  ASSERT_TRUE(Insert("{_id: 2, at: time(1000001)}").ok());
  ASSERT_TRUE(Insert("{_id: 3, at: time(1000000), keep: 1}").ok());
  Crash();
  EXPECT_EQ(*database_->DeleteExpired(), 1u);
  EXPECT_EQ(Count("{_id: 1}"), 0u);
}

TEST_F(ConstraintTest, ExpiryGoesInBatchesAndFreesUniqueKeys) {
  ASSERT_TRUE(Create(Expiring("at", 0)).ok());
  ASSERT_TRUE(Create(Unique({"k"})).ok());
  for (int i = 0; i < 2500; ++i)
    ASSERT_TRUE(Insert(absl::StrCat("{_id: ", i, ", k: ", i, ", at: time(", i, ")}")).ok());
  // Stopped between two batches.
  int calls = 0;
  EXPECT_EQ(*database_->DeleteExpired([&] { return ++calls < 2; }), 1000u);
  EXPECT_EQ(*database_->DeleteExpired(), 1500u);
  EXPECT_EQ(Count(), 0u);
  EXPECT_TRUE(Insert("{_id: 'new', k: 5}").ok());
}

TEST_F(ConstraintTest, TheEngineDeletesInTheBackground) {
  ASSERT_TRUE(Create(Expiring("at", 0)).ok());
  options_.expiry_interval = absl::Milliseconds(5);
  Restart();
  ASSERT_TRUE(Insert("{_id: 1, at: time(5)}").ok());
  while (Count() != 0) std::this_thread::yield();
}

// What is told of a version must not be taken back by a power failure.
TEST(UniqueIndexVisibilityTest, DuplicatesOfWhatIsNotVisibleAreToldWhenItIs) {
  using SyncEngine = BasicEngine<Policies<SyncDurability, SimulatedFileSystem>>;
  SimulatedFileSystem disk;
  EngineOptions options;
  options.data_path = "/data";
  options.shards = 2;
  options.scrub_interval = absl::ZeroDuration();
  const auto engine = *SyncEngine::Open(options, &disk);
  SyncEngine::Database* const database = *engine->GetOrCreateDatabase("d");
  IndexDefinition unique;
  unique.paths = {"email"};
  unique.is_unique = true;
  ASSERT_TRUE(database->CreateIndex("users", unique).ok());
  const auto document = [](std::string_view id) {
    std::string bytes;
    Builder(&bytes).StartDocument(2).Key("_id").String(id).Key("email").String("ada").EndDocument();
    return bytes;
  };
  // The disk takes its time with the journal.
  absl::Notification go_on;
  std::atomic<bool> is_slow{true};
  disk.SetObserver([&](SimulatedOperation kind, const std::string& path) {
    if (kind == SimulatedOperation::kSync && is_slow && absl::StrContains(path, "journal."))
      go_on.WaitForNotification();
  });
  const std::string first = document("first");
  const auto inserted = database->InsertOne("users", ValueView::FromTrusted(first));
  ASSERT_TRUE(inserted.ok());
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      const std::string other = document(absl::StrCat("other", i));
      absl::Status status;
      if (i == 0) {
        status = database->InsertOne("users", ValueView::FromTrusted(other)).status();
      } else {
        const auto transaction = database->BeginTransaction();
        status = transaction->InsertOne("users", ValueView::FromTrusted(other)).status();
      }
      EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
      EXPECT_TRUE(database->IsVisible(inserted->commit_timestamp));
      ++answered;
    });
  }
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_EQ(answered, 0);
  EXPECT_FALSE(database->IsVisible(inserted->commit_timestamp));
  is_slow = false;
  go_on.Notify();
  for (std::thread& thread : threads) thread.join();
  disk.SetObserver(nullptr);
}

}  // namespace
}  // namespace alos
