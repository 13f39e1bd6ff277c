// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Opens stores that former versions wrote, and refuses what newer ones might write.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/base/crc32c.h"
#include "alos/base/log.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/index/index_definition.h"
#include "alos/maintenance/check.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// What a store of format 1 has. Constant: stores that are in the tree were made with it.
constexpr int kPlain = 60;
constexpr int kCompressed = 20;  // of each codec

std::string Encode(const std::function<void(Builder&)>& fill) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  fill(builder);
  builder.EndDocument();
  return bytes;
}

// One of each type, and the extremes of each.
std::string AllTypes() {
  return Encode([](Builder& builder) {
    builder.Key("_id").String("all types");
    builder.Key("null").Null();
    builder.Key("true").Bool(true);
    builder.Key("false").Bool(false);
    builder.Key("integers").StartArray();
    for (const std::int64_t value :
         {std::int64_t{0}, std::int64_t{-1}, std::int64_t{127}, std::int64_t{-32},
          std::int64_t{-33}, std::int64_t{255}, std::int64_t{65'536},
          std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
      builder.Int(value);
    }
    builder.Uint(std::numeric_limits<std::uint64_t>::max());
    builder.EndArray();
    builder.Key("doubles").StartArray();
    for (const double value :
         {0.0, -0.0, 1.5, -1e300, 5e-324, std::numeric_limits<double>::infinity(),
          std::numeric_limits<double>::quiet_NaN()}) {
      builder.Double(value);
    }
    builder.EndArray();
    builder.Key("string").String("Grüße, 世界");
    builder.Key("empty").String("");
    builder.Key("binary").Binary(std::string_view("\x00\x01\xff", 3));
    builder.Key("times").StartArray();
    builder.Time({0, 0}).Time({1'700'000'000, 123'456'789}).Time({-5, 1});
    builder.EndArray();
    builder.Key("extension").Extension(7, "data of an extension");
    builder.Key("nested").StartDocument().Key("a").StartDocument().Key("b").StartArray();
    builder.StartDocument().Key("c").Int(1).EndDocument();
    builder.EndArray().EndDocument().EndDocument();
  });
}
std::string Plain(int i) {
  return Encode([&](Builder& builder) {
    builder.Key("_id").Int(i);
    builder.Key("n").Int(i * 7 % 100);
    builder.Key("group").String(absl::StrCat("g", i % 5));
    builder.Key("text").String(absl::StrCat("the text of document ", i));
    builder.Key("tags").StartArray().Int(i % 3).Int(i % 4).EndArray();
    if (i % 2 == 0) builder.Key("mail").String(absl::StrCat("m", i, "@example.org"));
    builder.Key("at").Time({4'000'000'000 + i, 0});
  });
}
std::string Compressed(int level, int i) {
  return Encode([&](Builder& builder) {
    builder.Key("_id").String(absl::StrCat("level ", level, " ", i));
    builder.Key("text").String(absl::StrCat(std::string(600, static_cast<char>('a' + i)), i));
  });
}

using Documents = std::map<std::string, std::map<std::string, std::string>>;  // by collection, id

// What is to be found in it.
Documents Expected() {
  Documents documents;
  const auto add = [&](std::string_view collection, std::string bytes) {
    const std::string id = *EncodeId(*ValueView::FromTrusted(bytes).Find("_id"));
    documents[std::string(collection)][id] = std::move(bytes);
  };
  add("types", AllTypes());
  for (int i = 0; i < kPlain; ++i) add("plain", Plain(i));
  for (const int level : {0, 1, 9}) {
    for (int i = 0; i < kCompressed; ++i) add("compressed", Compressed(level, i));
  }
  // Deleted: 13. Changed together in a transaction: 20 and 21.
  std::string thirteen;
  Builder(&thirteen).Int(13);
  documents["plain"].erase(*EncodeId(ValueView::FromTrusted(thirteen)));
  for (const int i : {20, 21}) {
    std::string bytes = Plain(i);
    const std::size_t at = bytes.find("the text");
    bytes.replace(at, 8, "THE TEXT");
    add("plain", bytes);
  }
  documents["empty"];
  return documents;
}

Filter Where(const std::function<void(Builder&)>& fill) {
  return *Filter::Compile(ValueView::FromTrusted(Encode(fill)));
}

std::vector<IndexDefinition> Indexes() {
  const auto of = [](std::vector<std::string> paths) {
    IndexDefinition definition;
    definition.types.resize(paths.size());
    definition.paths = std::move(paths);
    definition.reason = "created by a client";
    return definition;
  };
  std::vector<IndexDefinition> indexes = {of({"n"}), of({"group", "n"}), of({"tags"})};
  indexes.push_back(of({"mail"}));
  indexes.back().is_unique = true;
  indexes.back().is_sparse = true;
  indexes.push_back(of({"text"}));
  indexes.back().is_text = true;
  indexes.push_back(of({"at"}));
  indexes.back().expire_after_seconds = 3600;
  return indexes;
}

EngineOptions Options(const std::string& path, int level) {
  EngineOptions options;
  options.data_path = path;
  options.shards = 4;
  options.compression_level = level;
  options.automatic_indexes = false;
  return options;
}

void Fill(const std::string& path) {
  for (const int level : {0, 9, 1}) {
    auto engine = Engine::Open(Options(path, level));
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto* const database = *(*engine)->GetOrCreateDatabase("store");
    const auto insert = [&](std::string_view collection, const std::string& bytes) {
      const auto inserted = database->InsertOne(collection, ValueView::FromTrusted(bytes));
      ASSERT_TRUE(inserted.ok()) << inserted.status();
    };
    for (int i = 0; i < kCompressed; ++i) insert("compressed", Compressed(level, i));
    if (level == 1) {
      insert("types", AllTypes());
      for (int i = 0; i < kPlain; ++i) insert("plain", Plain(i));
      ASSERT_TRUE(database->CreateCollection("empty").ok());
      ASSERT_TRUE(
          database->DeleteOne("plain", Where([](Builder& b) { b.Key("_id").Int(13); })).ok());
      const auto transaction = database->BeginTransaction();
      for (const int i : {20, 21}) {
        const std::string update = Encode([&](Builder& builder) {
          builder.Key("$set").StartDocument();
          builder.Key("text").String(absl::StrCat("THE TEXT of document ", i)).EndDocument();
        });
        ASSERT_TRUE(transaction
                        ->UpdateOne("plain", Where([&](Builder& b) { b.Key("_id").Int(i); }),
                                    *Update::Compile(ValueView::FromTrusted(update)))
                        .ok());
      }
      ASSERT_TRUE(transaction->Commit().ok());
      for (const IndexDefinition& index : Indexes())
        ASSERT_TRUE(database->CreateIndex("plain", index).ok());
    }
    ASSERT_TRUE((*engine)->Close().ok());
  }
}

// A copy that can be written to.
std::string Copy(const std::string& store, std::string_view name) {
  const std::string path = absl::StrCat(testing::TempDir(), "/stores_", name);
  std::filesystem::remove_all(path);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store)) {
    if (entry.is_directory()) continue;
    const std::string target = path + entry.path().string().substr(store.size());
    std::filesystem::create_directories(std::filesystem::path(target).parent_path());
    std::ifstream from(entry.path(), std::ios::binary);
    std::ofstream(target, std::ios::binary) << from.rdbuf();
  }
  return path;
}

void ExpectContents(Engine::Database& database) {
  const Documents expected = Expected();
  for (const auto& [collection, documents] : expected) {
    std::map<std::string, std::string> found;
    const absl::Status status = database.Find(collection, {}, [&](ValueView document) {
      found[*EncodeId(*document.Find("_id"))] = document.bytes();
      return true;
    });
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(found.size(), documents.size()) << collection;
    EXPECT_TRUE(found == documents) << collection;
    for (const auto& [id, bytes] : documents) {
      std::string by_id;
      ASSERT_TRUE(*database.FindById(collection, id,
                                     [&](ValueView document) { by_id = document.bytes(); }));
      EXPECT_EQ(by_id, bytes);
    }
    EXPECT_EQ(*database.Count(collection, Filter()), documents.size());
  }
  EXPECT_EQ(database.ListCollections().size(), expected.size());
  std::vector<std::string> indexes;
  ASSERT_TRUE(database
                  .ListIndexes("plain",
                               [&](ValueView index) {
                                 indexes.emplace_back(index.Find("name")->AsString());
                               })
                  .ok());
  for (const IndexDefinition& index : Indexes()) {
    EXPECT_TRUE(std::find(indexes.begin(), indexes.end(), index.name()) != indexes.end())
        << index.name();
  }
  EXPECT_TRUE(*database.WaitForIndexes("plain"));
  EXPECT_EQ(*database.Count("plain", Where([](Builder& b) { b.Key("group").String("g1"); })), 12u);
  EXPECT_EQ(*database.Count("plain", Where([](Builder& b) { b.Key("n").Int(13 * 7 % 100); })), 0u);
  // The unique index still forbids.
  const std::string twin = Encode([](Builder& builder) {
    builder.Key("_id").String("twin").Key("mail").String("m4@example.org");
  });
  EXPECT_TRUE(
      absl::IsAlreadyExists(database.InsertOne("plain", ValueView::FromTrusted(twin)).status()));
}

std::string StorePath(std::string_view name) { return absl::StrCat("testing/stores/", name); }

TEST(StoresTest, Make) {
  const char* path = std::getenv("ALOS_MAKE_STORE");
  if (path == nullptr) GTEST_SKIP() << "testing/stores/make.sh makes stores";
  Fill(path);
}

TEST(StoresTest, WhatThisVersionWritesIsWhatIsExpected) {
  const std::string path = absl::StrCat(testing::TempDir(), "/stores_now");
  std::filesystem::remove_all(path);
  Fill(path);
  auto engine = Engine::Open(Options(path, 1));
  ASSERT_TRUE(engine.ok()) << engine.status();
  ExpectContents(**(*engine)->FindDatabase("store"));
}

TEST(StoresTest, EachFormerStoreOpensAndHasEverything) {
  int stores = 0;
  for (const auto& entry : std::filesystem::directory_iterator("testing/stores")) {
    const std::string name = entry.path().filename().string();
    if (!absl::StartsWith(name, "format_")) continue;
    SCOPED_TRACE(name);
    ++stores;
    const std::string path = Copy(StorePath(name), name);
    const auto report = CheckDataDirectory(path);
    ASSERT_TRUE(report.ok()) << report.status();
    for (const Finding& finding : report->findings)
      EXPECT_NE(finding.severity, Finding::Severity::kDamage) << finding.ToString();
    // Twice: what this version writes into it stays readable, too.
    for (int round = 0; round < 2; ++round) {
      auto engine = Engine::Open(Options(path, 1));
      ASSERT_TRUE(engine.ok()) << engine.status();
      auto database = (*engine)->FindDatabase("store");
      ASSERT_TRUE(database.ok()) << database.status();
      ASSERT_NE(*database, nullptr);
      ExpectContents(**database);
      const std::string added =
          Encode([&](Builder& builder) { builder.Key("_id").Int(1000 + round); });
      ASSERT_TRUE((*database)->InsertOne("added", ValueView::FromTrusted(added)).ok());
      ASSERT_TRUE((*database)->Drop("added").ok());
      ASSERT_TRUE((*engine)->Close().ok());
    }
    const auto after = CheckDataDirectory(path);
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_TRUE(after->is_sound());
  }
  EXPECT_GE(stores, 1);
}

// --- What newer versions might write.

class NewerTest : public testing::Test {
 protected:
  void SetUp() override {
    SetMinimumLogLevel(static_cast<LogLevel>(4));  // nothing
    path_ = Copy(StorePath("format_1"), "newer");
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  static void Write(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  // The manifest with a field replaced.
  void ChangeManifest(std::string_view field, const std::function<void(Builder&)>& value) {
    const std::string path = path_ + "/store/manifest";
    const std::string old_document = Read(path).substr(16);
    std::string document;
    Builder builder(&document);
    builder.StartDocument();
    for (const auto [key, old] : ValueView::FromTrusted(old_document).entries()) {
      builder.Key(key);
      if (key == field) {
        value(builder);
      } else {
        builder.Raw(old);
      }
    }
    builder.EndDocument();
    std::string out = "ALOSMAN1";
    const auto size = static_cast<std::uint32_t>(document.size());
    const std::uint32_t checksum = Crc32c(document);
    out.append(reinterpret_cast<const char*>(&size), 4);
    out.append(reinterpret_cast<const char*>(&checksum), 4);
    Write(path, out + document);
  }
  // Refused by the engine and by the check, with advice; nothing is changed.
  void ExpectRefused(std::string_view what) {
    const std::string manifest = Read(path_ + "/store/manifest");
    {
      auto engine = Engine::Open(Options(path_, 1));
      ASSERT_TRUE(engine.ok()) << engine.status();
      const absl::Status refused = (*engine)->FindDatabase("store").status();
      EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
      EXPECT_TRUE(absl::StrContains(refused.message(), what)) << refused;
      EXPECT_TRUE(absl::StrContains(refused.message(), "use a newer alos")) << refused;
    }
    EXPECT_EQ(Read(path_ + "/store/manifest"), manifest);
    const auto report = CheckDataDirectory(path_);
    EXPECT_TRUE(!report.ok() || !report->is_sound());
  }

  std::string path_;
};

TEST_F(NewerTest, AHigherFormatVersionIsRefused) {
  ChangeManifest("format_version", [](Builder& builder) { builder.Uint(99); });
  ExpectRefused("format version 99");
}

TEST_F(NewerTest, AnUnknownFeatureIsRefused) {
  ChangeManifest("required_features",
                 [](Builder& builder) { builder.StartArray().String("time_travel").EndArray(); });
  ExpectRefused("'time_travel'");
}

TEST_F(NewerTest, ALogOfAHigherVersionIsRefused) {
  const std::string path = path_ + "/store/shard_000.db";
  std::string bytes = Read(path);
  const std::uint32_t version = 99;
  std::memcpy(bytes.data() + 8, &version, 4);
  const std::uint32_t checksum = Crc32c(std::string_view(bytes).substr(0, 40));
  std::memcpy(bytes.data() + 40, &checksum, 4);
  Write(path, bytes);
  ExpectRefused("format version 99");
}

}  // namespace
}  // namespace alos
