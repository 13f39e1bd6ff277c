// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Secondary indexes through the engine: whatever the state of the indexes, queries give what a scan
// gives.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/engine/engine.h"
#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::ShellDocument;

std::vector<std::string> Sorted(std::vector<std::string> values) {
  std::sort(values.begin(), values.end());
  return values;
}

// The same documents, in any order.
void ExpectSame(const std::vector<std::string>& found, const std::vector<std::string>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  EXPECT_TRUE(Sorted(found) == Sorted(expected));
}

class IndexTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.data_path =
        absl::StrCat(testing::TempDir(), "/index_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(options_.data_path);
    options_.shards = 4;
    options_.automatic_index_documents_min = 10;
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
  void Reopen() {
    ASSERT_TRUE(engine_->Close().ok());
    engine_.reset();
    Open();
  }
  // As if the process had died.
  void Crash() {
    engine_.reset();
    Open();
  }

  void Insert(std::string_view text) {
    const ShellDocument document(text);
    const auto inserted = database_->InsertOne("c", document.view());
    ASSERT_TRUE(inserted.ok()) << inserted.status();
  }

  // A document whose fields are of all kinds, from few values, so that everything is hit.
  std::string RandomDocument(int id) {
    const auto value = [&]() -> std::string {
      switch (random_() % 16) {
        case 0:
          return "null";
        case 1:
          return "true";
        case 2:
          return absl::StrCat(random_() % 5, ".5");
        case 3:
          return absl::StrCat(random_() % 5, ".0");
        case 4:
          return absl::StrCat("[", random_() % 5, ", ", random_() % 5, "]");
        case 5:
          return absl::StrCat("['t", random_() % 5, "', [1, 2]]");
        case 6:
          return absl::StrCat("{b: ", random_() % 5, "}");
        case 7:
          return absl::StrCat("[{b: ", random_() % 5, "}, {b: ", random_() % 5, "}, {c: 1}]");
        case 8:
          return "[]";
        case 9:
          return absl::StrCat("time(", random_() % 5, ")");
        case 10:
        case 11:
          return absl::StrCat("'text ", random_() % 50, " of word", random_() % 300, "'");
        case 12:
          return "NaN";
        default:
          return absl::StrCat(static_cast<std::int64_t>(random_() % 20) - 5);
      }
    };
    std::string text =
        absl::StrCat("{_id: ", id, ", n: ", random_() % 100, ", u: 'unique", id, "'");
    // Missing, null, and something.
    absl::StrAppend(&text, id % 3 == 0 ? "" : id % 3 == 1 ? ", z: null" : ", z: 7");
    for (const char* field : {"a", "d", "e"}) {
      if (random_() % 8 != 0) absl::StrAppend(&text, ", ", field, ": ", value());
    }
    absl::StrAppend(&text, ", s: 'w", random_() % 40, " some Text ", random_() % 1000,
                    "', o: {b: ", value(), "}}");
    return text;
  }

  std::string RandomFilter() {
    const auto literal = [&]() -> std::string {
      switch (random_() % 12) {
        case 0:
          return "null";
        case 1:
          return "true";
        case 2:
          return absl::StrCat(random_() % 5, ".5");
        case 3:
          return absl::StrCat("[", random_() % 5, ", ", random_() % 5, "]");
        case 4:
          return absl::StrCat("{b: ", random_() % 5, "}");
        case 5:
          return absl::StrCat("time(", random_() % 5, ")");
        case 6:
          return absl::StrCat("'text ", random_() % 50, " of word", random_() % 300, "'");
        case 7:
          return "NaN";
        default:
          return absl::StrCat(static_cast<std::int64_t>(random_() % 20) - 5);
      }
    };
    const auto field = [&]() -> std::string {
      static const char* const kFields[] = {"a", "d", "e", "n", "s", "o.b", "a.b", "a.0", "u"};
      return kFields[random_() % 9];
    };
    const auto predicate = [&]() -> std::string {
      const std::string path = field();
      switch (random_() % 16) {
        case 0:
          return absl::StrCat("{", path, ": {$ne: ", literal(), "}}");
        case 1:
          return absl::StrCat("{", path, ": {$gt: ", literal(), "}}");
        case 2:
          return absl::StrCat("{", path, ": {$lte: ", literal(), "}}");
        case 3:
          return absl::StrCat("{", path, ": {$gte: ", random_() % 5, ", $lt: ", random_() % 50,
                              "}}");
        case 4:
          return absl::StrCat("{", path, ": {$in: [", literal(), ", ", literal(), ", ", literal(),
                              "]}}");
        case 5:
          return absl::StrCat("{", path, ": {$exists: ", random_() % 2 ? "true" : "false", "}}");
        case 6:
          return absl::StrCat("{", path, ": {$regex: 'word1", random_() % 10, "$'}}");
        case 7:
          return absl::StrCat("{s: {$regex: 'TEXT ", random_() % 1000, "', $options: 'i'}}");
        case 8:
          return absl::StrCat("{s: {$regex: '^w", random_() % 40, " '}}");
        case 9: {
          static const char* const kTypes[] = {"'number'", "'int'",           "'double'",
                                               "'string'", "'array'",         "'null'",
                                               "'object'", "['bool', 'date']"};
          return absl::StrCat("{", path, ": {$type: ", kTypes[random_() % 8], "}}");
        }
        case 10:
          return absl::StrCat("{", path, ": {$mod: [3, ", random_() % 3, "]}}");
        case 11:
          return absl::StrCat("{", path, ": {$size: ", random_() % 3, "}}");
        case 12:
          return absl::StrCat("{", path, ": {$elemMatch: {$gte: ", random_() % 5, "}}}");
        case 13:
          return absl::StrCat("{u: 'unique", random_() % 3000, "'}");
        default:
          return absl::StrCat("{", path, ": ", literal(), "}");
      }
    };
    switch (random_() % 6) {
      case 0:
        return absl::StrCat("{$and: [", predicate(), ", ", predicate(), "]}");
      case 1:
        return absl::StrCat("{$or: [", predicate(), ", ", predicate(), ", ", predicate(), "]}");
      case 2:
        return absl::StrCat("{$nor: [", predicate(), ", ", predicate(), "]}");
      case 3:
        return absl::StrCat("{$and: [{$or: [", predicate(), ", ", predicate(), "]}, ", predicate(),
                            ", {n: {$lt: ", random_() % 100, "}}]}");
      default:
        return predicate();
    }
  }

  // All documents, by a query that no index helps with.
  std::vector<std::string> All() {
    std::vector<std::string> all;
    const ShellDocument nothing("{$comment: 'all'}");
    const Filter filter = *Filter::Compile(nothing.view());
    FindQuery query;
    query.filter = &filter;
    EXPECT_TRUE(database_
                    ->Find("c", query,
                           [&](ValueView document) {
                             all.emplace_back(document.bytes());
                             return true;
                           })
                    .ok());
    return all;
  }

  // Compares what indexes and a scan say of random filters. Returns how many went through an index.
  int CheckQueries(int count) {
    int by_index = 0;
    const std::vector<std::string> all = All();
    for (int i = 0; i < count; ++i) {
      const std::string text = RandomFilter();
      SCOPED_TRACE(text);
      const ShellDocument specification(text);
      const absl::StatusOr<Filter> filter = Filter::Compile(specification.view());
      EXPECT_TRUE(filter.ok()) << filter.status();
      std::vector<std::string> expected;
      for (const std::string& document : all) {
        if (filter->Matches(ValueView::FromTrusted(document))) expected.push_back(document);
      }
      std::vector<std::string> found;
      FindQuery query;
      query.filter = &*filter;
      Explain explain;
      query.explain = &explain;
      const absl::Status status = database_->Find("c", query, [&](ValueView document) {
        found.emplace_back(document.bytes());
        return true;
      });
      EXPECT_TRUE(status.ok()) << status;
      ExpectSame(found, expected);
      if (HasFailure()) {
        std::string shown;
        Builder builder(&shown);
        AppendExplain(explain, &builder);
        ADD_FAILURE() << ToJson(ValueView::FromTrusted(shown));
      }
      by_index += explain.plan != Explain::kPlanScan;
      const auto counted = database_->Count("c", *filter);
      EXPECT_TRUE(counted.ok()) << counted.status();
      EXPECT_EQ(*counted, expected.size());
      CheckSorted(*filter, expected);
      CheckStream(*filter, expected);
      if (testing::Test::HasFailure()) break;
    }
    return by_index;
  }

  void CheckSorted(const Filter& filter, const std::vector<std::string>& expected) {
    static const char* const kSorts[] = {"{n: 1}",      "{n: -1, _id: 1}", "{u: 1}",
                                         "{u: -1}",     "{a: 1, _id: -1}", "{s: -1, _id: 1}",
                                         "{missing: 1}"};
    const ShellDocument specification(kSorts[random_() % 7]);
    const Sort sort = *Sort::Compile(specification.view());
    std::vector<std::string> sorted = expected;
    std::stable_sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) {
      return sort.Less(sort.ExtractKey(ValueView::FromTrusted(a)),
                       sort.ExtractKey(ValueView::FromTrusted(b)));
    });
    FindQuery query;
    query.filter = &filter;
    query.sort = &sort;
    query.skip = random_() % 4;
    query.limit = 1 + random_() % 20;
    std::vector<std::string> found;
    ASSERT_TRUE(database_
                    ->Find("c", query,
                           [&](ValueView document) {
                             found.emplace_back(document.bytes());
                             return true;
                           })
                    .ok());
    const std::size_t begin = std::min<std::size_t>(query.skip, sorted.size());
    const std::size_t end = std::min<std::size_t>(begin + query.limit, sorted.size());
    ASSERT_EQ(found.size(), end - begin);
    for (std::size_t i = 0; i < found.size(); ++i) {
      // Equal documents may come in any order.
      EXPECT_EQ(sort.Compare(sort.ExtractKey(ValueView::FromTrusted(found[i])),
                             sort.ExtractKey(ValueView::FromTrusted(sorted[begin + i]))),
                std::weak_ordering::equivalent);
      EXPECT_TRUE(filter.Matches(ValueView::FromTrusted(found[i])));
    }
    found = Sorted(std::move(found));
    EXPECT_EQ(std::unique(found.begin(), found.end()), found.end());
  }

  void CheckStream(const Filter& filter, const std::vector<std::string>& expected) {
    std::vector<std::string> found;
    std::string cursor;
    do {
      const auto next = database_->FindBatch("c", filter, cursor, 7, [&](ValueView document) {
        found.emplace_back(document.bytes());
        return true;
      });
      ASSERT_TRUE(next.ok()) << next.status();
      cursor = *next;
    } while (!cursor.empty());
    ExpectSame(found, expected);
  }

  // Updates, deletes and inserts some.
  void Churn(int count, int* next_id) {
    for (int i = 0; i < count; ++i) {
      const ShellDocument which(absl::StrCat("{_id: ", random_() % *next_id, "}"));
      const Filter filter = *Filter::Compile(which.view());
      switch (random_() % 3) {
        case 0:
          ASSERT_TRUE(database_->DeleteOne("c", filter).ok());
          break;
        case 1: {
          const ShellDocument change(
              absl::StrCat("{$set: {n: ", random_() % 100, ", a: ", random_() % 10, "}}"));
          ASSERT_TRUE(database_->UpdateOne("c", filter, *Update::Compile(change.view())).ok());
          break;
        }
        default:
          Insert(RandomDocument((*next_id)++));
      }
    }
  }

  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  Engine::Database* database_ = nullptr;
  std::mt19937_64 random_{20261124};
};

// Documents of every shape, every kind of filter; segments of many sizes with dead rows; a tail
// that is not indexed yet; the same after a clean restart, after a crash, and with all files
// deleted.
TEST_F(IndexTest, QueriesAgreeWithAScanInEveryState) {
  int next_id = 0;
  while (next_id < 3000) Insert(RandomDocument(next_id++));
  CheckQueries(60);  // asks for the indexes
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  EXPECT_GT(CheckQueries(150), 120);
  for (int round = 0; round < 6; ++round) {
    Churn(200, &next_id);
    CheckQueries(30);  // some of it is not indexed yet
    if (HasFailure()) return;
  }
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  EXPECT_GT(CheckQueries(150), 120);
  Reopen();
  EXPECT_GT(CheckQueries(60), 45) << "the indexes were not there after a restart";
  Churn(200, &next_id);
  Crash();
  CheckQueries(60);
  ASSERT_TRUE(engine_->Close().ok());
  engine_.reset();
  int removed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options_.data_path + "/test")) {
    const std::string name = entry.path().filename().string();
    if (name[0] != 'c') continue;
    std::filesystem::remove(entry.path());
    ++removed;
  }
  EXPECT_GT(removed, 0);
  Open();
  CheckQueries(60);
}

TEST_F(IndexTest, EqualityReadsOneDocument) {
  for (int i = 0; i < 5000; ++i)
    Insert(absl::StrCat("{_id: ", i, ", u: 'v", i, "', g: ", i % 7, "}"));
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"u"}, .reason = "test"}).ok());
  const ShellDocument specification("{u: 'v77'}");
  const Filter filter = *Filter::Compile(specification.view());
  Explain explain;
  FindQuery query;
  query.filter = &filter;
  query.explain = &explain;
  int found = 0;
  ASSERT_TRUE(database_->Find("c", query, [&](ValueView) { return ++found > 0; }).ok());
  EXPECT_EQ(found, 1);
  EXPECT_EQ(explain.plan, Explain::kPlanIndex);
  EXPECT_EQ(explain.documents_examined, 1u);
  EXPECT_EQ(explain.indexes, std::vector<std::string>{"u"});
}

TEST_F(IndexTest, CountsComeFromTheIndex) {
  for (int i = 0; i < 5000; ++i) Insert(absl::StrCat("{_id: ", i, ", n: ", i, "}"));
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"n"}, .reason = "test"}).ok());
  const ShellDocument specification("{n: {$gte: 100, $lt: 4100}}");
  const Filter filter = *Filter::Compile(specification.view());
  const ShellDocument gone("{n: {$gte: 4000}}");
  ASSERT_EQ(database_->DeleteMany("c", *Filter::Compile(gone.view()))->deleted, 1000u);
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  Explain explain;
  EXPECT_EQ(*database_->Count("c", filter, &explain), 3900u);
  EXPECT_EQ(explain.documents_examined, 0u);
  EXPECT_LT(explain.keys_examined, 2000u);  // the dead rows, but no scan of all
}

// An index file that rotted is not believed.
// A conjunction in an $or gave its own way to the rows for that of the whole $or.
TEST_F(IndexTest, WhatIsQuickIsKnown) {
  for (int i = 0; i < 400; ++i) {
    Insert(absl::StrCat("{_id: ", i, ", n: ", i, ", m: ", i % 2, i % 100 == 0 ? ", l: [1, 2]" : "",
                        "}"));
  }
  for (const char* path : {"n", "m", "l"}) {
    ASSERT_TRUE(database_->CreateIndex("c", {.paths = {path}, .reason = "test"}).ok());
  }
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  const auto is_quick = [&](std::string_view text, std::uint64_t wanted) {
    const ShellDocument specification(text);
    return database_->IsQuick("c", *Filter::Compile(specification.view()), wanted);
  };
  constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  EXPECT_TRUE(is_quick("{n: 7}", kAll));
  EXPECT_TRUE(is_quick("{n: 7, l: 1}", kAll));
  EXPECT_FALSE(is_quick("{m: 1}", kAll));
  EXPECT_TRUE(is_quick("{m: 1}", 0));
  EXPECT_TRUE(is_quick("{n: {$gte: 10, $lt: 300}}", 0));
  EXPECT_TRUE(is_quick("{n: {$gte: 10}}", 50));
  EXPECT_FALSE(is_quick("{n: {$gte: 10}}", 5000));
  EXPECT_FALSE(is_quick("{n: {$gte: 10}, m: 1}", 50));  // may look at many for one
  EXPECT_FALSE(is_quick("{l: {$gte: 1}}", 0));          // a row may have several
  EXPECT_FALSE(is_quick("{m: null}", 0));
  EXPECT_FALSE(is_quick("{other: 1}", 0));
}

TEST_F(IndexTest, EveryBranchOfAnOrIsReached) {
  for (int i = 0; i < 100; ++i) Insert(absl::StrCat("{_id: ", i, ", a: ", i, ", b: ", i, "}"));
  for (const char* path : {"a", "b"}) {
    IndexDefinition definition;
    definition.paths = {path};
    definition.types = {""};
    ASSERT_TRUE(database_->CreateIndex("c", definition).ok());
  }
  const auto count = [&](std::string_view filter_text) {
    const ShellDocument filter(filter_text);
    return *database_->Count("c", *Filter::Compile(filter.view()));
  };
  EXPECT_EQ(count("{$or: [{a: 3}, {b: 4, c: {$exists: false}}]}"), 2u);
  EXPECT_EQ(count("{$or: [{a: 3}, {b: {$gte: 98}, c: {$exists: false}}, {a: 5}]}"), 4u);
  EXPECT_EQ(count("{$or: [{a: 3}, {b: -1, c: {$exists: false}}]}"), 1u);
}

// The index took the double 2^63 for the integer, which has a remainder.
TEST_F(IndexTest, DoublesBeyondIntegersHaveNoRemainder) {
  for (int i = 0; i < 20; ++i) Insert(absl::StrCat("{_id: ", i, ", a: ", i, "}"));
  Insert("{_id: 20, a: 9223372036854775808.0}");
  Insert("{_id: 21, a: 9223372036854775812}");
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"a"}, .reason = "test"}).ok());
  const ShellDocument filter("{a: {$mod: [4, 0]}}");
  EXPECT_EQ(*database_->Count("c", *Filter::Compile(filter.view())), 6u);
}

TEST_F(IndexTest, DamagedFilesAreBuiltAgain) {
  int next_id = 0;
  while (next_id < 20000)
    Insert(absl::StrCat("{_id: ", next_id, ", n: ", next_id % 100, "}")), ++next_id;
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"n"}, .reason = "test"}).ok());
  ASSERT_TRUE(engine_->Close().ok());
  engine_.reset();
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options_.data_path + "/test")) {
    if (!absl::StrContains(entry.path().filename().string(), ".svidx.")) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8);
    file.write("garbage", 7);
    ++damaged;
  }
  EXPECT_GT(damaged, 0);
  Open();
  const ShellDocument specification("{n: 5}");
  const Filter filter = *Filter::Compile(specification.view());
  EXPECT_EQ(*database_->Count("c", filter), 200u);
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  EXPECT_EQ(*database_->Count("c", filter), 200u);
}

// A filter and a sort together, over a compound index: made by hand, and by itself.
TEST_F(IndexTest, CompoundIndexesLeadToTheFirstInOrder) {
  for (int i = 0; i < 6000; ++i) {
    Insert(absl::StrCat("{_id: ", i, ", g: ", i % 3, ", k: 'k", i % 7, "', t: ", (i * 7919) % 6000,
                        i % 11 == 0 ? "" : ", m: 1", "}"));
  }
  const ShellDocument specification("{g: 1, k: 'k3', m: 1}");
  const Filter filter = *Filter::Compile(specification.view());
  const ShellDocument order("{t: -1}");
  const Sort sort = *Sort::Compile(order.view());
  const auto first = [&](Explain* explain) {
    FindQuery query;
    query.filter = &filter;
    query.sort = &sort;
    query.limit = 20;
    query.explain = explain;
    std::vector<std::string> found;
    EXPECT_TRUE(database_
                    ->Find("c", query,
                           [&](ValueView document) {
                             found.emplace_back(document.bytes());
                             return true;
                           })
                    .ok());
    return found;
  };
  const std::vector<std::string> expected = first(nullptr);
  EXPECT_EQ(expected.size(), 20u);
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(first(nullptr), expected);
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  Explain explain;
  EXPECT_EQ(first(&explain), expected);
  EXPECT_EQ(explain.plan, Explain::kPlanSortedIndex);
  EXPECT_EQ(explain.indexes, std::vector<std::string>{"g,k,m,t"});
  EXPECT_LT(explain.keys_examined, 60u);
  // A range behind equalities.
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"g", "k", "t"}, .reason = "test"}).ok());
  const ShellDocument range("{g: 1, k: 'k3', t: {$gte: 100, $lt: 2000}}");
  const Filter in_range = *Filter::Compile(range.view());
  Explain by_range;
  const std::uint64_t count = *database_->Count("c", in_range, &by_range);
  std::uint64_t scanned = 0;
  for (const std::string& document : All())
    scanned += in_range.Matches(ValueView::FromTrusted(document));
  EXPECT_EQ(count, scanned);
  EXPECT_EQ(by_range.documents_examined, 0u);
  EXPECT_LE(by_range.keys_examined, count + 2);
  // Documents that are not indexed yet take their place.
  Insert("{_id: 'new', g: 1, k: 'k3', t: 99999, m: 1}");
  const std::vector<std::string> after = first(nullptr);
  ASSERT_EQ(after.size(), 20u);
  EXPECT_EQ(after[1], expected[0]);
}

// $group out of columns gives what $group over documents gives, for every kind of field.
TEST_F(IndexTest, GroupsFromColumnsAreThoseOfTheDocuments) {
  int next_id = 0;
  while (next_id < 3000) Insert(RandomDocument(next_id++));
  const std::vector<std::string> pipelines = {
      "[{$group: {_id: '$n', count: {$sum: 1}}}]",
      "[{$match: {n: {$lt: 40}}}, {$group: {_id: '$n', c: {$count: {}}, lo: {$min: '$s'}, hi: "
      "{$max: "
      "'$u'}}}]",
      "[{$group: {_id: null, total: {$sum: '$n'}, average: {$avg: '$n'}}}]",
      "[{$match: {s: {$regex: 'w1'}}}, {$group: {_id: {n: '$n', m: '$missing'}, x: {$max: '$n'}}}]",
      "[{$group: {_id: '$a', count: {$sum: 2}}}]",
      "[{$group: {_id: '$o.b', count: {$sum: 1}, average: {$avg: '$e'}}}]",
      "[{$match: {n: 7}}, {$count: 'n'}]",
      "[{$sortByCount: '$n'}]",
      "[{$sortByCount: '$z'}]",
      "[{$group: {_id: '$n', c: {$sum: 1}}}, {$sort: {c: -1, _id: 1}}, {$limit: 7}]",
      "[{$group: {_id: '$n', c: {$count: {}}}}, {$sort: {c: 1, _id: -1}}, {$skip: 2}, {$limit: 3}]",
      "[{$match: {n: {$lt: 9}}}, {$sortByCount: '$n'}, {$sort: {count: -1, _id: 1}}, {$limit: 4}]",
  };
  const auto run = [&](const std::string& text, Explain* explain) {
    const ShellDocument specification(text);
    const absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(specification.view());
    EXPECT_TRUE(pipeline.ok()) << pipeline.status();
    std::vector<std::string> result;
    const absl::Status status = database_->Aggregate(
        "c", *pipeline,
        [&](ValueView document) {
          result.emplace_back(ToJson(document));
          return true;
        },
        std::nullopt, explain);
    EXPECT_TRUE(status.ok()) << status;
    return Sorted(std::move(result));
  };
  int from_columns = 0;
  for (int round = 0; round < 4; ++round) {
    std::vector<std::vector<std::string>> expected;
    options_.automatic_indexes = false;
    Reopen();
    const ShellDocument nothing("{$comment: 'all'}");
    for (const std::string& text : pipelines) {
      // Without indexes that a group could use.
      int dropped = 0;
      std::vector<std::string> names;
      ASSERT_TRUE(database_
                      ->ListIndexes("c",
                                    [&](ValueView index) {
                                      names.emplace_back(index.Find("name")->AsString());
                                      ++dropped;
                                    })
                      .ok());
      for (const std::string& name : names) ASSERT_TRUE(database_->DropIndex("c", name).ok());
      expected.push_back(run(text, nullptr));
    }
    options_.automatic_indexes = true;
    Reopen();
    for (const std::string& text : pipelines) run(text, nullptr);
    ASSERT_TRUE(*database_->WaitForIndexes("c"));
    for (std::size_t i = 0; i < pipelines.size(); ++i) {
      SCOPED_TRACE(pipelines[i]);
      Explain explain;
      EXPECT_EQ(run(pipelines[i], &explain), expected[i]);
      from_columns += explain.plan == Explain::kPlanGroup;
    }
    // Some of it dead, some of it not indexed yet.
    const ShellDocument change("{$inc: {n: 1}}");
    const ShellDocument which("{n: {$gte: 90}}");
    const auto updated =
        database_->UpdateMany("c", *Filter::Compile(which.view()), *Update::Compile(change.view()));
    ASSERT_TRUE(updated.ok()) << updated.status();
    Insert(RandomDocument(next_id++));
    Explain explain;
    const std::vector<std::string> now = run("[{$group: {_id: null, n: {$sum: 1}}}]", &explain);
    EXPECT_EQ(now.size(), 1u);
    EXPECT_NE(now[0].find(absl::StrCat(next_id)), std::string::npos) << now[0];
  }
  EXPECT_GE(from_columns, 4 * 5);
}

TEST_F(IndexTest, WordsComeFromTheTextIndex) {
  int next_id = 0;
  while (next_id < 6000) Insert(RandomDocument(next_id++));
  Insert("{_id: 'one', s: 'Crème brûlée, flambée', o: 'x'}");
  Insert("{_id: 'two', s: ['nothing', 'a CREME'], a: 'else'}");
  Insert("{_id: 'three', s: 'cremes', a: 'flambee'}");
  Insert(absl::StrCat("{_id: 'long', s: '", std::string(5000, 'y'), " creme'}"));
  for (const char* path : {"s", "a"}) {
    IndexDefinition definition;
    definition.paths = {path};
    definition.types = {"text"};
    definition.is_text = true;
    ASSERT_TRUE(database_->CreateIndex("c", definition).ok());
  }
  FilterContext context;
  context.text_fields = *database_->TextFields("c");
  ASSERT_EQ(context.text_fields.size(), 2u);
  const auto ids = [&](std::string_view text, Explain* explain) {
    const ShellDocument specification(text);
    const absl::StatusOr<Filter> filter = Filter::Compile(specification.view(), context);
    EXPECT_TRUE(filter.ok()) << filter.status();
    FindQuery query;
    query.filter = &*filter;
    query.explain = explain;
    std::vector<std::string> found;
    EXPECT_TRUE(database_
                    ->Find("c", query,
                           [&](ValueView document) {
                             found.push_back(ToJson(*document.Find("_id")));
                             return true;
                           })
                    .ok());
    return absl::StrJoin(Sorted(std::move(found)), " ");
  };
  for (int round = 0; round < 2; ++round) {
    // The trigrams are made in the background.
    Explain explain;
    for (int i = 0; i < 200; ++i) {
      explain = Explain();
      ids("{$text: {$search: 'creme'}}", &explain);
      if (explain.plan == Explain::kPlanIndex) break;
      absl::SleepFor(absl::Milliseconds(50));
    }
    EXPECT_EQ(explain.plan, Explain::kPlanIndex);
    EXPECT_LT(explain.documents_examined, 50u);
    EXPECT_EQ(ids("{$text: {$search: 'creme'}}", nullptr), R"("long" "one" "two")");
    EXPECT_EQ(ids("{$text: {$search: 'crème', $diacriticSensitive: true}}", nullptr), R"("one")");
    EXPECT_EQ(ids("{$text: {$search: 'CREME', $caseSensitive: true}}", nullptr), R"("two")");
    EXPECT_EQ(ids("{$text: {$search: 'creme flambee -nothing'}}", nullptr),
              R"("long" "one" "three")");
    EXPECT_EQ(ids(R"({$text: {$search: '"creme brulee"'}})", nullptr), R"("one")");
    EXPECT_EQ(ids("{$text: {$search: 'the'}}", nullptr), "");  // a word that is left out
    EXPECT_EQ(ids("{$text: {$search: 'creme'}, _id: {$ne: 'one'}, o: {$exists: false}}", nullptr),
              R"("long" "two")");
    // What is not indexed yet, and what is gone.
    Insert("{_id: 'late', a: ['creme']}");
    EXPECT_EQ(ids("{$text: {$search: 'creme'}}", nullptr), R"("late" "long" "one" "two")");
    const ShellDocument late("{_id: 'late'}");
    ASSERT_TRUE(database_->DeleteOne("c", *Filter::Compile(late.view())).ok());
    EXPECT_EQ(ids("{$text: {$search: 'creme'}}", nullptr), R"("long" "one" "two")");
    for (const char* words : {"word7", "word12 word13", "w3 text", "of", "some"}) {
      const std::string text = absl::StrCat("{$text: {$search: '", words, "', $language: 'none'}}");
      SCOPED_TRACE(text);
      const ShellDocument specification(text);
      const absl::StatusOr<Filter> filter = Filter::Compile(specification.view(), context);
      std::vector<std::string> expected;
      for (const std::string& document : All()) {
        const ValueView view = ValueView::FromTrusted(document);
        if (filter->Matches(view)) expected.push_back(ToJson(*view.Find("_id")));
      }
      EXPECT_EQ(ids(text, nullptr), absl::StrJoin(Sorted(std::move(expected)), " "));
    }
    Reopen();
  }
}

// Where text drives, what else is asked for spares keys from being matched.
TEST_F(IndexTest, TextIsMatchedWhereAllElseMayHold) {
  constexpr int kDocuments = 20'000;
  for (int i = 0; i < kDocuments; ++i) {
    const int word = i % 40;
    Insert(absl::StrCat("{_id: ", i, ", s: '", i * 7919 % kDocuments, " is w", word,
                        "x', n: ", word % 4, i % 400 == 17 ? ", m: 1" : "", "}"));
  }
  const auto count = [&](std::string_view text, Explain* explain) {
    const ShellDocument specification(text);
    const absl::StatusOr<Filter> filter = Filter::Compile(specification.view());
    EXPECT_TRUE(filter.ok()) << filter.status();
    std::uint64_t found = 0;
    FindQuery query;
    query.filter = &*filter;
    query.explain = explain;
    EXPECT_TRUE(database_
                    ->Find("c", query,
                           [&](ValueView document) {
                             EXPECT_TRUE(filter->Matches(document));
                             ++found;
                             return true;
                           })
                    .ok());
    return found;
  };
  for (const char* text : {"{s: {$regex: 'w17x'}}", "{n: 1}", "{m: 1}"}) count(text, nullptr);
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  Explain all;
  for (int i = 0; i < 200; ++i) {
    // Without the trigrams, which are made in the background, all keys are looked at.
    all = Explain();
    EXPECT_EQ(count("{s: {$regex: 'w17x'}}", &all), kDocuments / 40u);
    if (all.plan == Explain::kPlanIndex && all.keys_examined < kDocuments / 2) break;
    absl::SleepFor(absl::Milliseconds(50));
  }
  ASSERT_LT(all.keys_examined, kDocuments / 2u);
  EXPECT_GT(all.keys_examined, kDocuments / 20u);
  Explain some;
  EXPECT_EQ(count("{s: {$regex: 'w17x'}, n: 2}", &some), 0u);
  EXPECT_EQ(some.plan, Explain::kPlanIndex);
  EXPECT_LT(some.keys_examined, all.keys_examined / 4);
  EXPECT_EQ(some.documents_examined, 0u);
  EXPECT_EQ(count("{s: {$regex: 'w17x'}, n: 1}", nullptr), kDocuments / 40u);
  EXPECT_EQ(count("{s: {$regex: 'w17x'}, $or: [{n: 2}, {m: 1, n: 1}]}", nullptr),
            kDocuments / 400u);
  EXPECT_EQ(count("{s: {$regex: 'w17x'}, n: {$ne: 1}}", nullptr), 0u);
  EXPECT_EQ(count("{s: {$regex: 'w17x'}, m: {$exists: false}, n: {$in: [0, 1]}}", nullptr),
            kDocuments / 40u - kDocuments / 400u);
  EXPECT_EQ(count("{n: 1, $or: [{s: {$regex: 'w17x'}}, {s: {$regex: 'w18x'}}]}", nullptr),
            kDocuments / 40u);
  // Few rows have an `m`: they are noted, and the keys of others are not matched.
  EXPECT_EQ(count("{m: 1, $or: [{s: {$regex: 'w17x'}}, {s: {$regex: 'w18x'}}]}", nullptr),
            kDocuments / 400u);
  EXPECT_EQ(count("{$or: [{m: 1}, {n: 7}], $nor: [{s: {$regex: 'w18x'}}]}", nullptr),
            kDocuments / 400u);
}

TEST_F(IndexTest, StagesTellTheirTimeAndLookupsWantAnIndex) {
  for (int i = 0; i < 300; ++i) Insert(absl::StrCat("{_id: ", i, ", n: ", i % 7, "}"));
  const ShellDocument specification(
      "[{$lookup: {from: 'c', localField: '_id', foreignField: 'n', as: 'them'}}, {$unwind: "
      "'$them'}, {$sort: {'them._id': 1}}, {$limit: 5}]");
  const absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(specification.view());
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  Explain explain;
  ASSERT_TRUE(database_
                  ->Aggregate(
                      "c", *pipeline, [](ValueView) { return true; }, std::nullopt, &explain)
                  .ok());
  EXPECT_EQ(explain.returned, 5u);
  std::string stages;
  for (const auto& [name, milliseconds] : explain.stage_milliseconds) {
    EXPECT_GE(milliseconds, 0);
    absl::StrAppend(&stages, name, " ");
  }
  EXPECT_EQ(stages, "$lookup $unwind $sort $limit ");
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  std::vector<std::string> indexes;
  ASSERT_TRUE(
      database_
          ->ListIndexes(
              "c", [&](ValueView index) { indexes.emplace_back(index.Find("name")->AsString()); })
          .ok());
  EXPECT_NE(std::find(indexes.begin(), indexes.end(), "n"), indexes.end());
}

// Over the budget automatic indexes go, and are not built again at once.
TEST_F(IndexTest, TheBudgetEvictsAutomaticIndexes) {
  options_.index_bytes_max = 10'000;
  Reopen();
  for (int i = 0; i < 3000; ++i)
    Insert(absl::StrCat("{_id: ", i, ", a: 'v", i, "', n: ", i % 10, "}"));
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"n"}, .reason = "test"}).ok());
  const ShellDocument specification("{a: 'v5'}");
  const Filter filter = *Filter::Compile(specification.view());
  EXPECT_EQ(*database_->Count("c", filter), 1u);  // wants an index of a, which is too large
  std::vector<std::string> names;
  for (int i = 0; i < 1000; ++i) {
    names.clear();
    ASSERT_TRUE(
        database_
            ->ListIndexes(
                "c", [&](ValueView index) { names.emplace_back(index.Find("name")->AsString()); })
            .ok());
    if (i > 0 && names.size() == 1) break;
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(names, std::vector<std::string>{"n"});
  Explain explain;
  EXPECT_EQ(*database_->Count("c", filter, &explain), 1u);
  EXPECT_EQ(explain.plan, Explain::kPlanScan);
  ASSERT_EQ(explain.advice.size(), 1u);
  EXPECT_TRUE(absl::StrContains(explain.advice[0], "--index-memory-mb"));
}

// A byte in the middle of a column: found by whoever looks at all of it, in the background.
TEST_F(IndexTest, RottenColumnsAreFoundAndBuiltAgain) {
  for (int i = 0; i < 20000; ++i) Insert(absl::StrCat("{_id: ", i, ", n: ", i % 100, "}"));
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"n"}, .reason = "test"}).ok());
  ASSERT_TRUE(engine_->Close().ok());
  engine_.reset();
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options_.data_path + "/test")) {
    if (!absl::StrContains(entry.path().filename().string(), ".svidx.")) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(entry.path()) / 2));
    file.write("\x55\xaa", 2);
    ++damaged;
  }
  ASSERT_GT(damaged, 0);
  Open();
  const ShellDocument specification("{n: 5}");
  const Filter filter = *Filter::Compile(specification.view());
  // Whatever it says at first, soon it is right, and stays so.
  for (int i = 0; i < 1000 && *database_->Count("c", filter) != 200; ++i)
    absl::SleepFor(absl::Milliseconds(10));
  absl::SleepFor(absl::Milliseconds(300));
  ASSERT_TRUE(*database_->WaitForIndexes("c"));
  for (int n = 0; n < 100; ++n) {
    const ShellDocument each(absl::StrCat("{n: ", n, "}"));
    EXPECT_EQ(*database_->Count("c", *Filter::Compile(each.view())), 200u) << n;
  }
}

// A column that a checkpoint has put into a file while another one was built stays there: what the
// builder began with must not come back from the heap, and the file, which queries may be reading,
// must not be written again.
TEST_F(IndexTest, FilesAreWrittenOnce) {
  constexpr int kFields = 4;
  for (int i = 0; i < 20000; ++i) {
    std::string document = absl::StrCat("{_id: ", i);
    for (int field = 0; field < kFields; ++field) {
      absl::StrAppend(&document, ", f", field, ": ", i % (field + 7), ", s", field, ": 'text ", i,
                      " that takes a moment to be cut into its trigrams, word", i * 7919 % 20000,
                      "'");
    }
    Insert(document + "}");
  }
  std::map<std::string, std::filesystem::file_time_type> written;
  const auto look = [&] {
    for (const auto& entry : std::filesystem::directory_iterator(options_.data_path + "/test")) {
      const std::string name = entry.path().filename().string();
      if (!absl::StrContains(name, "idx.") || absl::EndsWith(name, ".new")) continue;
      const auto time = std::filesystem::last_write_time(entry.path());
      const auto [known, is_new] = written.emplace(name, time);
      EXPECT_TRUE(is_new || known->second == time) << name;
    }
  };
  const auto ask = [&](std::string_view text) {
    const ShellDocument specification(text);
    ASSERT_TRUE(database_->Count("c", *Filter::Compile(specification.view())).ok());
  };
  for (int field = 0; field < kFields; ++field) {
    ask(absl::StrCat("{f", field, ": 3}"));
    ASSERT_TRUE(*database_->WaitForIndexes("c"));
    ask(absl::StrCat("{s", field, ": {$regex: 'word77'}}"));
    for (int i = 0; i < 4; ++i) {
      absl::SleepFor(absl::Milliseconds(2));
      ASSERT_TRUE(database_->Checkpoint().ok());
      look();
    }
    ASSERT_TRUE(*database_->WaitForIndexes("c"));
    ASSERT_TRUE(database_->Checkpoint().ok());
    look();
  }
  EXPECT_GE(written.size(), kFields + 1u);
}

TEST_F(IndexTest, DroppedIndexesAndCollectionsAreGone) {
  for (int i = 0; i < 100; ++i) Insert(absl::StrCat("{_id: ", i, ", n: ", i, "}"));
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"n"}, .reason = "test"}).ok());
  EXPECT_TRUE(absl::IsNotFound(database_->DropIndex("c", "m")));
  ASSERT_TRUE(database_->DropIndex("c", "n").ok());
  EXPECT_TRUE(absl::IsNotFound(database_->DropIndex("c", "n")));
  int listed = 0;
  ASSERT_TRUE(database_->ListIndexes("c", [&](ValueView) { ++listed; }).ok());
  EXPECT_EQ(listed, 0);
  ASSERT_TRUE(database_->CreateIndex("c", {.paths = {"n", "o.b"}, .reason = "test"}).ok());
  ASSERT_TRUE(database_->Drop("c").ok());
  Insert("{_id: 1, n: 1}");
  ASSERT_TRUE(database_->ListIndexes("c", [&](ValueView) { ++listed; }).ok());
  EXPECT_EQ(listed, 0);
}

}  // namespace
}  // namespace alos
