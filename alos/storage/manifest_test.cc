// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/manifest.h"

#include <string>

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

TEST(ManifestTest, WrongTypesAreFound) {
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", Wrap("\x80")).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", Wrap("\x90")).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("manifest", Wrap("\xc1")).status()));
}

}  // namespace
}  // namespace alos
