// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The manifest of a database, `DATA/DB/manifest`: what must be known before any shard is opened.
// Replaced atomically (alos/storage/atomic_file.h) whenever a collection is created or dropped, or
// an index is by a client.
//
//   offset 0   8   "ALOSMAN1"
//          8   4   size of the document that follows
//          12  4   CRC-32C of it
//          16  ..  a MessagePack document, see EncodeManifest

#ifndef ALOS_STORAGE_MANIFEST_H_
#define ALOS_STORAGE_MANIFEST_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/crc32c.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/storage/shard_log.h"

namespace alos {

inline constexpr std::string_view kManifestFileName = "manifest";
// Written after each manifest. Only repair reads it, when the manifest is damaged.
inline constexpr std::string_view kManifestCopyFileName = "manifest.copy";

struct Manifest {
  static constexpr std::uint64_t kFormatVersion = 1;

  // What a reader must know to open a store with a unique index: a writer that did not enforce it
  // would break it.
  static constexpr std::string_view kUniqueIndexes = "unique_indexes";

  // What a reader must know to open a store whose logs may begin behind their first record.
  static constexpr std::string_view kCompactedLogs = "compacted_logs";

  struct Collection {
    std::uint32_t id = 0;
    std::string name;
    // The indexes that clients created, each an encoded document (AppendIndexDefinition of
    // alos/index/index_definition.h). nullopt: written by an alos that did not store them here.
    std::optional<std::vector<std::string>> indexes = std::vector<std::string>();
  };

  DatabaseId database_id{};
  std::uint32_t shard_count = 0;
  std::uint64_t hash_seed = 0;           // secret, so that nobody can aim at one shard
  std::uint32_t next_collection_id = 1;  // ids of dropped collections are never used again
  std::vector<Collection> collections;
  // Which shards have a log file that was flushed, name and header. Such a file may not be missing
  // or unreadable; another one may, when power was lost while it was new.
  std::vector<bool> shards_made;
  bool has_compacted_logs = false;  // once true, for ever
};

// Whether any of the stored definitions is of a unique index.
inline bool HasUniqueIndexes(const Manifest& manifest) {
  for (const auto& collection : manifest.collections) {
    if (!collection.indexes) continue;
    for (const std::string& definition : *collection.indexes) {
      const std::optional<ValueView> unique = ValueView::FromTrusted(definition).Find("unique");
      if (unique && unique->IsBool() && unique->AsBool()) return true;
    }
  }
  return false;
}

inline std::string EncodeManifest(const Manifest& manifest) {
  std::string document;
  Builder builder(&document);
  builder.StartDocument();
  builder.Key("format_version");
  builder.Uint(Manifest::kFormatVersion);
  // Names of features that a reader must know to open the store.
  builder.Key("required_features");
  builder.StartArray();
  if (HasUniqueIndexes(manifest)) builder.String(Manifest::kUniqueIndexes);
  if (manifest.has_compacted_logs) builder.String(Manifest::kCompactedLogs);
  builder.EndArray();
  builder.Key("database_id");
  builder.Binary({manifest.database_id.data(), manifest.database_id.size()});
  builder.Key("shard_count");
  builder.Uint(manifest.shard_count);
  builder.Key("hash_seed");
  builder.Uint(manifest.hash_seed);
  builder.Key("next_collection_id");
  builder.Uint(manifest.next_collection_id);
  builder.Key("shards_made");
  std::string made((manifest.shard_count + 7) / 8, '\0');
  for (std::size_t i = 0; i < manifest.shards_made.size(); ++i) {
    if (manifest.shards_made[i]) made[i / 8] |= static_cast<char>(1 << (i % 8));
  }
  builder.Binary(made);
  builder.Key("collections");
  builder.StartArray();
  for (const auto& collection : manifest.collections) {
    builder.StartDocument();
    builder.Key("id");
    builder.Uint(collection.id);
    builder.Key("name");
    builder.String(collection.name);
    if (collection.indexes) {
      builder.Key("indexes");
      builder.StartArray();
      for (const std::string& definition : *collection.indexes)
        builder.Raw(ValueView::FromTrusted(definition));
      builder.EndArray();
    }
    builder.EndDocument();
  }
  builder.EndArray();
  builder.EndDocument();
  std::string out = "ALOSMAN1";
  const std::uint32_t size = static_cast<std::uint32_t>(document.size());
  const std::uint32_t checksum = Crc32c(document);
  out.append(reinterpret_cast<const char*>(&size), 4);
  out.append(reinterpret_cast<const char*>(&checksum), 4);
  out.append(document);
  return out;
}

// `path` is for error messages. kDataLoss when damaged, kFailedPrecondition when from a newer alos.
inline absl::StatusOr<Manifest> DecodeManifest(const std::string& path, std::string_view bytes) {
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(
        absl::StrCat(path, ": the manifest is damaged (", what,
                     "); alos repair puts its copy in its place, or restore it from a backup"));
  };
  if (bytes.size() < 16 || bytes.substr(0, 8) != "ALOSMAN1") return damaged("no magic number");
  std::uint32_t size = 0;
  std::uint32_t checksum = 0;
  std::memcpy(&size, bytes.data() + 8, 4);
  std::memcpy(&checksum, bytes.data() + 12, 4);
  const std::string_view document = bytes.substr(16);
  if (document.size() != size || Crc32c(document) != checksum) return damaged("wrong checksum");
  const absl::StatusOr<ValueView> view = ValueView::Parse(document);
  if (!view.ok() || !view->IsDocument()) return damaged("not a document");
  const auto number = [&](std::string_view key) -> std::optional<std::uint64_t> {
    const std::optional<ValueView> value = view->Find(key);
    if (!value || !value->IsUnsigned()) return std::nullopt;
    return value->AsUint64();
  };
  const std::optional<std::uint64_t> version = number("format_version");
  if (!version) return damaged("no format_version");
  if (*version > Manifest::kFormatVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": format version ", *version, ", this program reads up to ",
                     Manifest::kFormatVersion, "; use a newer alos"));
  }
  const std::optional<ValueView> features = view->Find("required_features");
  if (!features || !features->IsArray()) return damaged("no required_features");
  Manifest manifest;
  for (const ValueView feature : features->elements()) {
    if (feature.IsString() && feature.AsString() == Manifest::kUniqueIndexes) continue;
    if (feature.IsString() && feature.AsString() == Manifest::kCompactedLogs) {
      manifest.has_compacted_logs = true;
      continue;
    }
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": the store uses the feature '", feature.IsString() ? feature.AsString() : "?",
        "', which this program does not know; use a newer alos"));
  }
  const std::optional<ValueView> id = view->Find("database_id");
  const std::optional<std::uint64_t> shard_count = number("shard_count");
  const std::optional<std::uint64_t> hash_seed = number("hash_seed");
  const std::optional<std::uint64_t> next_id = number("next_collection_id");
  const std::optional<ValueView> made = view->Find("shards_made");
  const std::optional<ValueView> collections = view->Find("collections");
  if (!id || id->type() != ValueType::kBinary ||
      id->AsBinary().size() != manifest.database_id.size() || !shard_count || *shard_count == 0 ||
      *shard_count > 65536 || !hash_seed || !next_id || !made ||
      made->type() != ValueType::kBinary || made->AsBinary().size() != (*shard_count + 7) / 8 ||
      !collections || !collections->IsArray()) {
    return damaged("a field is missing or has the wrong type");
  }
  std::memcpy(manifest.database_id.data(), id->AsBinary().data(), manifest.database_id.size());
  manifest.shard_count = static_cast<std::uint32_t>(*shard_count);
  manifest.hash_seed = *hash_seed;
  manifest.next_collection_id = static_cast<std::uint32_t>(*next_id);
  for (std::uint32_t i = 0; i < manifest.shard_count; ++i) {
    manifest.shards_made.push_back((made->AsBinary()[i / 8] >> (i % 8) & 1) != 0);
  }
  for (const ValueView entry : collections->elements()) {
    const std::optional<ValueView> collection_id =
        entry.IsDocument() ? entry.Find("id") : std::nullopt;
    const std::optional<ValueView> name = entry.IsDocument() ? entry.Find("name") : std::nullopt;
    if (!collection_id || collection_id->type() != ValueType::kInt64 || !name ||
        !name->IsString()) {
      return damaged("a collection without id or name");
    }
    auto& added = manifest.collections.emplace_back();
    added.id = static_cast<std::uint32_t>(collection_id->AsInt64());
    added.name = std::string(name->AsString());
    added.indexes.reset();
    if (const std::optional<ValueView> indexes = entry.Find("indexes")) {
      if (!indexes->IsArray()) return damaged("the indexes of a collection are no list");
      added.indexes.emplace();
      for (const ValueView definition : indexes->elements()) {
        if (!definition.IsDocument()) return damaged("an index that is no document");
        added.indexes->emplace_back(definition.bytes());
      }
    }
  }
  return manifest;
}

}  // namespace alos

#endif  // ALOS_STORAGE_MANIFEST_H_
