// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Pipelines that read other collections of their database, and those that write to it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/query/internal/shell_text.h"
#include "alos/query/pipeline.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::ShellDocument;
using query_internal::ToShellText;

class AggregateTest : public testing::Test {
 protected:
  using TestEngine = BasicEngine<Policies<AsyncDurability>>;

  AggregateTest() {
    options_.data_path =
        absl::StrCat(testing::TempDir(), "/aggregate_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.shards = 4;
    std::filesystem::remove_all(options_.data_path);
    Open();
    Insert("people", "{_id: 1, name: 'Ada', city: 'London', boss: null}");
    Insert("people", "{_id: 2, name: 'Bob', city: 'Oslo', boss: 'Ada'}");
    Insert("people", "{_id: 3, name: 'Cyd', boss: 'Bob'}");
    Insert("cities", "{_id: 'London', people: 9}");
    Insert("cities", "{_id: 'Oslo', people: 1}");
  }

  void Open() {
    engine_.reset();
    auto engine = TestEngine::Open(options_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    auto database = engine_->GetOrCreateDatabase("test");
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *database;
  }

  void Insert(std::string_view collection, std::string_view document) {
    const auto inserted = database_->InsertOne(collection, ShellDocument(document).view());
    ASSERT_TRUE(inserted.ok()) << inserted.status();
    ASSERT_TRUE(database_->WaitVisible(inserted->commit_timestamp).ok());
  }

  std::string Run(std::string_view collection, std::string_view stages) {
    const absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(ShellDocument(stages).view());
    if (!pipeline.ok()) return std::string(pipeline.status().message());
    std::string text;
    const absl::Status status =
        database_->Aggregate(collection, *pipeline, [&](ValueView document) {
          absl::StrAppend(&text, text.empty() ? "" : " ", ToShellText(document));
          return true;
        });
    return status.ok() ? text : std::string(status.message());
  }
  std::string All(std::string_view collection) { return Run(collection, "[{$sort: {_id: 1}}]"); }

  EngineOptions options_;
  std::unique_ptr<TestEngine> engine_;
  TestEngine::Database* database_ = nullptr;
};

TEST_F(AggregateTest, LooksUpInAnotherCollection) {
  constexpr std::string_view kSorted = "{$sort: {_id: 1}}, {$project: {_id: 0, name: 1, at: 1}}]";
  EXPECT_EQ(Run("people", absl::StrCat("[{$lookup: {from: 'cities', localField: 'city', "
                                       "foreignField: '_id', as: 'at'}}, ",
                                       kSorted)),
            "{name: 'Ada', at: [{_id: 'London', people: 9}]} {name: 'Bob', at: [{_id: 'Oslo', "
            "people: 1}]} {name: 'Cyd', at: []}");
  // By a field that is not indexed, and null that equals missing.
  EXPECT_EQ(Run("cities",
                "[{$lookup: {from: 'people', localField: 'nothing', foreignField: 'city', as: "
                "'p'}}, {$match: {_id: 'Oslo'}}, {$project: {p: '$p.name'}}]"),
            "{_id: 'Oslo', p: ['Cyd']}");
  EXPECT_EQ(Run("cities",
                "[{$lookup: {from: 'people', let: {c: '$_id', n: '$people'}, pipeline: [{$match: "
                "{$expr: {$and: [{$eq: ['$city', '$$c']}, {$lt: ['$$n', 5]}]}}}, {$project: {_id: "
                "0, name: 1}}], as: 'p'}}, {$sort: {_id: 1}}]"),
            "{_id: 'London', people: 9, p: []} {_id: 'Oslo', people: 1, p: [{name: 'Bob'}]}");
  EXPECT_EQ(Run("people",
                "[{$lookup: {from: 'cities', localField: 'city', foreignField: '_id', let: {n: "
                "'$name'}, pipeline: [{$project: {_id: 0, who: '$$n'}}], as: 'at'}}, {$match: "
                "{_id: 2}}, {$project: {at: 1}}]"),
            "{_id: 2, at: [{who: 'Bob'}]}");
  EXPECT_EQ(Run("cities",
                "[{$lookup: {from: 'nothing', pipeline: [], as: 'x'}}, {$limit: 1}, "
                "{$project: {_id: 0, x: 1}}]"),
            "{x: []}");
}

// An array that a path reaches by its position is compared as a whole, with an index or without.
TEST_F(AggregateTest, LooksUpArraysAtAPosition) {
  Insert("lists", "{_id: 1, at: [4, [6]], in: [4, 6]}");
  for (const bool indexed : {false, true}) {
    if (indexed) {
      for (const char* path : {"at.1", "in"}) {
        ASSERT_TRUE(database_->CreateIndex("lists", {.paths = {path}, .reason = "test"}).ok());
      }
      ASSERT_TRUE(*database_->WaitForIndexes("lists"));
    }
    for (const auto& [value, field, expected] :
         {std::tuple("6", "at.1", "{x: []}"), std::tuple("[[6]]", "at.1", "{x: [1]}"),
          std::tuple("6", "in", "{x: [1]}")}) {
      EXPECT_EQ(
          Run("cities", absl::StrCat("[{$limit: 1}, {$project: {_id: 0, v: {$literal: ", value,
                                     "}}}, {$lookup: {from: 'lists', localField: "
                                     "'v', foreignField: '",
                                     field, "', as: 'x'}}, {$project: {x: '$x._id'}}]")),
          expected)
          << value << " " << field << " " << indexed;
    }
  }
}

TEST_F(AggregateTest, FollowsAGraph) {
  EXPECT_EQ(Run("people",
                "[{$match: {_id: 3}}, {$graphLookup: {from: 'people', startWith: '$boss', "
                "connectFromField: 'boss', connectToField: 'name', as: 'up', depthField: 'd'}}, "
                "{$project: {_id: 0, up: {$map: {input: '$up', in: ['$$this.name', "
                "'$$this.d']}}}}]"),
            "{up: [['Bob', 0], ['Ada', 1]]}");
  EXPECT_EQ(Run("people",
                "[{$match: {_id: 3}}, {$graphLookup: {from: 'people', startWith: '$boss', "
                "connectFromField: 'boss', connectToField: 'name', as: 'up', maxDepth: 0, "
                "restrictSearchWithMatch: {city: 'Oslo'}}}, {$project: {_id: 0, up: "
                "'$up.name'}}]"),
            "{up: ['Bob']}");
}

TEST_F(AggregateTest, UnitesWithAnotherCollection) {
  EXPECT_EQ(Run("cities",
                "[{$unionWith: {coll: 'people', pipeline: [{$match: {boss: 'Ada'}}]}}, "
                "{$count: 'n'}]"),
            "{n: 3}");
  EXPECT_EQ(Run("cities", "[{$unionWith: 'nothing'}, {$count: 'n'}]"), "{n: 2}");
}

TEST_F(AggregateTest, OutReplacesACollectionAllAtOnce) {
  EXPECT_EQ(Run("people", "[{$project: {n: '$name'}}, {$out: 'cities'}]"), "");
  const std::string expected = "{_id: 1, n: 'Ada'} {_id: 2, n: 'Bob'} {_id: 3, n: 'Cyd'}";
  EXPECT_EQ(All("cities"), expected);
  EXPECT_EQ(Run("cities", "[{$count: 'n'}]"), "{n: 3}");
  EXPECT_EQ(*database_->Count("cities", Filter()), 3u);
  // Its own source, too.
  EXPECT_EQ(Run("people", "[{$match: {_id: {$gt: 1}}}, {$project: {x: 1}}, {$out: 'people'}]"), "");
  EXPECT_EQ(All("people"), "{_id: 2} {_id: 3}");
  // What fails leaves everything as it was.
  const std::string failed =
      Run("people", "[{$project: {_id: {$literal: 1}}}, {$out: {db: 'test', coll: 'cities'}}]");
  EXPECT_TRUE(absl::StrContains(failed, "$out (stage 2)")) << failed;
  EXPECT_TRUE(absl::StrContains(failed, "duplicate _id")) << failed;
  EXPECT_EQ(All("cities"), expected);
  EXPECT_TRUE(absl::StrContains(Run("people", "[{$out: {db: 'other', coll: 'x'}}]"), "'other'"));
  Open();  // as after a kill
  EXPECT_EQ(All("cities"), expected);
  EXPECT_EQ(All("people"), "{_id: 2} {_id: 3}");
  EXPECT_EQ(*database_->Count("cities", Filter()), 3u);
  EXPECT_EQ(Run("nothing", "[{$out: 'cities'}]"), "");
  EXPECT_EQ(All("cities"), "");
}

TEST_F(AggregateTest, MergeWritesDocumentByDocument) {
  EXPECT_EQ(Run("people",
                "[{$match: {city: {$exists: true}}}, {$project: {_id: '$city', mayor: "
                "'$name'}}, {$unionWith: {pipeline: [{$documents: [{_id: 'Rome', mayor: "
                "'Dan'}]}]}}, {$merge: 'cities'}]"),
            "");
  EXPECT_EQ(All("cities"),
            "{_id: 'London', people: 9, mayor: 'Ada'} {_id: 'Oslo', people: 1, mayor: 'Bob'} {_id: "
            "'Rome', mayor: 'Dan'}");
  constexpr std::string_view kOslo =
      "{$documents: [{_id: 'Oslo', people: 5}, {_id: 'Kiel', "
      "people: 3}]}";
  const auto merge = [&](std::string_view options) {
    return Run("x", absl::StrCat("[", kOslo, ", {$merge: {into: 'cities', ", options, "}}]"));
  };
  EXPECT_EQ(merge("whenMatched: 'keepExisting', whenNotMatched: 'discard'"), "");
  EXPECT_EQ(Run("cities", "[{$match: {_id: {$in: ['Oslo', 'Kiel']}}}]"),
            "{_id: 'Oslo', people: 1, mayor: 'Bob'}");
  EXPECT_EQ(merge("whenMatched: [{$set: {people: {$add: ['$people', '$$new.people']}}}]"), "");
  EXPECT_EQ(Run("cities", "[{$match: {_id: {$in: ['Oslo', 'Kiel']}}}, {$sort: {_id: 1}}]"),
            "{_id: 'Kiel', people: 3} {_id: 'Oslo', people: 6, mayor: 'Bob'}");
  EXPECT_EQ(merge("let: {by: '$people'}, whenMatched: [{$set: {people: '$$by'}}, {$unset: "
                  "'mayor'}]"),
            "");
  EXPECT_EQ(Run("cities", "[{$match: {_id: 'Oslo'}}]"), "{_id: 'Oslo', people: 5}");
  EXPECT_EQ(merge("whenMatched: 'replace'"), "");
  EXPECT_TRUE(absl::StrContains(merge("whenMatched: 'fail'"), "matches {_id: \"Oslo\"} already"));
  // By another field: the document found keeps its _id.
  EXPECT_EQ(Run("x",
                "[{$documents: [{people: 5, at: 'sea'}, {people: 7, _id: 'new'}, {people: 7, "
                "at: 'hill'}]}, {$merge: {into: 'cities', on: 'people'}}]"),
            "");
  EXPECT_EQ(Run("cities", "[{$match: {at: {$exists: true}}}, {$sort: {_id: 1}}]"),
            "{_id: 'Oslo', people: 5, at: 'sea'} {_id: 'new', people: 7, at: 'hill'}");
  EXPECT_TRUE(absl::StrContains(Run("x",
                                    "[{$documents: [{a: 1}]}, {$merge: {into: 'cities', on: "
                                    "'people'}}]"),
                                "'people' of 'on'"));
  EXPECT_TRUE(absl::StrContains(Run("x",
                                    "[{$documents: [{_id: 'y'}]}, {$merge: {into: 'cities', "
                                    "whenNotMatched: 'fail'}}]"),
                                "no document matches"));
}

TEST_F(AggregateTest, WritesKeepUniqueIndexes) {
  IndexDefinition definition;
  definition.paths = {"people"};
  definition.types = {""};
  definition.is_unique = true;
  ASSERT_TRUE(database_->CreateIndex("cities", definition).ok());
  const std::string before = "{_id: 'London', people: 9} {_id: 'Oslo', people: 1}";
  const std::string merged =
      Run("x", "[{$documents: [{_id: 'Kiel', people: 9}]}, {$merge: {into: 'cities', on: '_id'}}]");
  EXPECT_TRUE(absl::StrContains(merged, "duplicate")) << merged;
  EXPECT_EQ(All("cities"), before);
  EXPECT_EQ(Run("x", "[{$documents: [{_id: 'Kiel', people: 3}]}, {$merge: 'cities'}]"), "");
  // $out would have to build the index anew before anybody sees it: refused, and nothing changes.
  const std::string replaced = Run("x", "[{$documents: [{_id: 1, people: 5}]}, {$out: 'cities'}]");
  EXPECT_TRUE(absl::StrContains(replaced, "unique index 'people'; use $merge")) << replaced;
  EXPECT_EQ(All("cities"), "{_id: 'Kiel', people: 3} " + before);
  const auto insert = [&] {
    return database_->InsertOne("cities", ShellDocument("{_id: 3, people: 1}").view()).status();
  };
  EXPECT_TRUE(absl::IsAlreadyExists(insert())) << insert();
  Open();
  EXPECT_TRUE(absl::IsAlreadyExists(insert())) << insert();
  Insert("cities", "{_id: 3, people: 4}");
}

TEST_F(AggregateTest, ReadsOneSnapshot) {
  // What the pipeline's sink writes is not seen by the $unionWith that comes later.
  const absl::StatusOr<Pipeline> pipeline =
      Pipeline::Compile(ShellDocument("[{$unionWith: 'people'}]").view());
  ASSERT_TRUE(pipeline.ok());
  int seen = 0;
  ASSERT_TRUE(database_
                  ->Aggregate("people", *pipeline,
                              [&](ValueView) {
                                Insert("people", absl::StrCat("{_id: ", 100 + seen, "}"));
                                ++seen;
                                return true;
                              })
                  .ok());
  EXPECT_EQ(seen, 6);
}

TEST_F(AggregateTest, TellsOfCollectionsAndIndexes) {
  EXPECT_EQ(Run("people", "[{$collStats: {count: {}}}, {$project: {ns: 1, count: 1}}]"),
            "{ns: 'test.people', count: 3}");
  EXPECT_TRUE(absl::StrContains(Run("nothing", "[{$collStats: {count: {}}}]"), "'nothing'"));
  EXPECT_EQ(Run("cities", "[{$indexStats: {}}, {$match: {no: 1}}]"), "");
}

}  // namespace
}  // namespace alos
