// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/manifest.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace alos {
namespace {

std::string Index(bool is_unique) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("id").Uint(3);
  builder.Key("unique").Bool(is_unique);
  builder.EndDocument();
  return bytes;
}

Manifest Example() {
  Manifest manifest;
  manifest.database_id.fill('\x11');
  manifest.shard_count = 256;
  manifest.hash_seed = 0xFEDCBA9876543210;
  manifest.next_collection_id = 8;
  manifest.collections = {{1, "users", {}}, {7, "Ünïcode", std::nullopt}};
  manifest.collections[0].indexes = {Index(false)};
  manifest.shards_made.resize(256);
  manifest.shards_made[9] = true;
  return manifest;
}

TEST(ManifestTest, RoundTrip) {
  const auto decoded = DecodeManifest("manifest", EncodeManifest(Example()));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->database_id, Example().database_id);
  EXPECT_EQ(decoded->shard_count, 256u);
  EXPECT_EQ(decoded->hash_seed, 0xFEDCBA9876543210u);
  EXPECT_EQ(decoded->next_collection_id, 8u);
  EXPECT_EQ(decoded->shards_made, Example().shards_made);
  ASSERT_EQ(decoded->collections.size(), 2u);
  EXPECT_EQ(decoded->collections[1].id, 7u);
  EXPECT_EQ(decoded->collections[1].name, "Ünïcode");
  EXPECT_EQ(decoded->collections[0].indexes, std::vector<std::string>{Index(false)});
  // As an alos wrote it that did not know of indexes.
  EXPECT_EQ(decoded->collections[1].indexes, std::nullopt);
}

// An alos that ignored a unique index would let duplicates in: it must not open the store.
TEST(ManifestTest, AUniqueIndexIsARequiredFeature) {
  const auto features = [](const Manifest& manifest) {
    const std::string bytes = EncodeManifest(manifest).substr(16);
    std::vector<std::string> names;
    for (const ValueView name : ValueView::FromTrusted(bytes).Find("required_features")->elements())
      names.emplace_back(name.AsString());
    return names;
  };
  Manifest manifest = Example();
  EXPECT_TRUE(features(manifest).empty());
  manifest.collections[0].indexes->push_back(Index(true));
  EXPECT_EQ(features(manifest), std::vector<std::string>{"unique_indexes"});
  EXPECT_TRUE(DecodeManifest("manifest", EncodeManifest(manifest)).ok());
  manifest.collections[0].indexes->pop_back();
  EXPECT_TRUE(features(manifest).empty());
}

TEST(ManifestTest, EveryFlippedByteAndEveryCutIsFound) {
  const std::string good = EncodeManifest(Example());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 1;
    EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", bad).status())) << i;
    EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", good.substr(0, i)).status())) << i;
  }
}

// A document with a right checksum, but of a newer alos or nonsense.
std::string Wrap(std::string_view document) {
  std::string out = "ALOSMAN1";
  const std::uint32_t size = static_cast<std::uint32_t>(document.size());
  const std::uint32_t checksum = Crc32c(document);
  out.append(reinterpret_cast<const char*>(&size), 4)
      .append(reinterpret_cast<const char*>(&checksum), 4);
  return out.append(document);
}

TEST(ManifestTest, ANewerStoreIsRefusedWithARemedy) {
  std::string document;
  Builder builder(&document);
  builder.StartDocument();
  builder.Key("format_version");
  builder.Int(2);
  builder.EndDocument();
  const absl::Status status = DecodeManifest("the/manifest", Wrap(document)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_NE(status.message().find("use a newer alos"), std::string::npos) << status;
  EXPECT_NE(status.message().find("the/manifest"), std::string::npos) << status;
}

TEST(ManifestTest, AnUnknownFeatureIsRefusedByName) {
  std::string document;
  Builder builder(&document);
  builder.StartDocument();
  builder.Key("format_version");
  builder.Int(1);
  builder.Key("required_features");
  builder.StartArray();
  builder.String("time_travel");
  builder.EndArray();
  builder.EndDocument();
  const absl::Status status = DecodeManifest("manifest", Wrap(document)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_NE(status.message().find("time_travel"), std::string::npos) << status;
}

// What an index definition says of itself is taken only where it is of the type it has to be.
TEST(ManifestTest, OnlyATrueUniqueIsUnique) {
  std::string none;
  Builder(&none).StartDocument().Key("id").Uint(3).EndDocument();
  std::string number;
  Builder(&number).StartDocument().Key("unique").Int(1).EndDocument();
  Manifest manifest = Example();
  manifest.collections[0].indexes = {none, number};
  EXPECT_FALSE(HasUniqueIndexes(manifest));
  manifest.collections[0].indexes->push_back(Index(true));
  EXPECT_TRUE(HasUniqueIndexes(manifest));
}

TEST(ManifestTest, CompactedLogsAreARequiredFeatureAndStayOne) {
  Manifest manifest = Example();
  EXPECT_FALSE(DecodeManifest("manifest", EncodeManifest(manifest))->has_compacted_logs);
  manifest.has_compacted_logs = true;
  const std::string bytes = EncodeManifest(manifest);
  EXPECT_NE(bytes.find("compacted_logs"), std::string::npos);
  EXPECT_TRUE(DecodeManifest("manifest", bytes)->has_compacted_logs);
}

// A good manifest with one field replaced; nullopt: without it.
std::string With(std::string_view key, std::optional<std::string_view> value) {
  const std::string good = EncodeManifest(Example()).substr(16);
  std::string document;
  Builder builder(&document);
  builder.StartDocument();
  for (const auto [name, field] : ValueView::FromTrusted(good).entries()) {
    if (name != key) {
      builder.Key(name).Raw(field);
    } else if (value) {
      builder.Key(name).Raw(ValueView::FromTrusted(*value));
    }
  }
  builder.EndDocument();
  return Wrap(document);
}

TEST(ManifestTest, EveryFieldHasToBeThereAndOfItsType) {
  ASSERT_TRUE(DecodeManifest("manifest", With("", std::nullopt)).ok());
  constexpr std::string_view kText = "\xa1?", kNumber = "\x07", kNegative = "\xff";
  constexpr std::string_view kFiveBytes(
      "\xc4\x05"
      "12345",
      7);
  constexpr std::string_view kZero("\x00", 1), k65537("\xce\x00\x01\x00\x01", 5);
  const std::string_view fields = "a field is missing or has the wrong type";
  const struct {
    std::string_view key;
    std::vector<std::optional<std::string_view>> bad;
    std::string_view message;
  } cases[] = {
      {"format_version", {std::nullopt, kText, kNegative}, "no format_version"},
      {"required_features", {std::nullopt, kText}, "no required_features"},
      {"database_id", {std::nullopt, kText, kNumber, kFiveBytes}, fields},
      {"shard_count", {std::nullopt, kText, kNegative, kZero, k65537}, fields},
      {"hash_seed", {std::nullopt, kText}, fields},
      {"next_collection_id", {std::nullopt, kText}, fields},
      {"shards_made", {std::nullopt, kText, kFiveBytes}, fields},
      {"collections", {std::nullopt, kText}, fields},
  };
  for (const auto& [key, bad, message] : cases) {
    for (std::size_t i = 0; i < bad.size(); ++i) {
      const absl::Status status = DecodeManifest("the/manifest", With(key, bad[i])).status();
      EXPECT_TRUE(absl::IsDataLoss(status)) << key << " " << i << ": " << status;
      EXPECT_NE(status.message().find(message), std::string::npos)
          << key << " " << i << ": " << status;
      EXPECT_NE(status.message().find("alos repair"), std::string::npos) << status;
    }
  }
}

TEST(ManifestTest, EveryCollectionHasToBeWhole) {
  const auto read = [](auto&& write) {
    std::string array;
    Builder builder(&array);
    builder.StartArray();
    write(builder);
    builder.EndArray();
    return DecodeManifest("manifest", With("collections", array)).status();
  };
  const absl::Status statuses[] = {
      read([](Builder& builder) { builder.Int(1); }),
      read([](Builder& builder) { builder.StartDocument().EndDocument(); }),
      read([](Builder& builder) { builder.StartDocument().Key("id").Int(1).EndDocument(); }),
      read([](Builder& builder) {
        builder.StartDocument().Key("id").String("1").Key("name").String("c").EndDocument();
      }),
      read([](Builder& builder) {
        builder.StartDocument().Key("id").Int(1).Key("name").Int(2).EndDocument();
      }),
  };
  for (const absl::Status& status : statuses) {
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_NE(status.message().find("a collection without id or name"), std::string::npos)
        << status;
  }
  const absl::Status no_list = read([](Builder& builder) {
    builder.StartDocument().Key("id").Int(1).Key("name").String("c");
    builder.Key("indexes").Int(3).EndDocument();
  });
  EXPECT_NE(no_list.message().find("the indexes of a collection are no list"), std::string::npos)
      << no_list;
  const absl::Status no_document = read([](Builder& builder) {
    builder.StartDocument().Key("id").Int(1).Key("name").String("c");
    builder.Key("indexes").StartArray().Int(3).EndArray().EndDocument();
  });
  EXPECT_NE(no_document.message().find("an index that is no document"), std::string::npos)
      << no_document;
}

TEST(ManifestTest, AFeatureWithoutANameIsRefused) {
  for (const std::string_view features :
       {std::string_view("\x91\x07"), std::string_view("\x91\xa1?")}) {
    const absl::Status status =
        DecodeManifest("manifest", With("required_features", features)).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_NE(status.message().find("the feature '?'"), std::string::npos) << status;
  }
}

TEST(ManifestTest, WrongTypesAreFound) {
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", Wrap("\x80")).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", Wrap("\x90")).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", Wrap("\xc1")).status()));
}

}  // namespace
}  // namespace alos
