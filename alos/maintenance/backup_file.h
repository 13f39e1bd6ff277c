// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The file that a backup is written to, or the stream: a header, blocks, and at the end a catalog
// of what the backup consists of (docs/format.md, "Backup").
//
//   header   0   8   "ALOSBKP1"
//            8   4   format version, 1
//            12  4   CRC-32C of bytes [16, 64)
//            16  16  id of this backup, random
//            32  16  id of the one before it in the same folder; zeros: none
//            48  4   number of this backup in its folder, from 1
//            52  4   zero
//            56  8   when it was begun, seconds since the epoch
//
//   block    0   4   kind: 1 database, 2 chunk, 3 catalog, 4 end
//            4   4   CRC-32C of bytes [8, 32) and the content
//            8   8   bytes of content
//            16  4   database: its number in the catalog
//            20  4   chunk: shard
//            24  8   chunk: offset in the shard's log; end: offset of the catalog's block
//            32      content. database: its name; chunk: bytes of a log; catalog: a MessagePack map

#ifndef ALOS_MAINTENANCE_BACKUP_FILE_H_
#define ALOS_MAINTENANCE_BACKUP_FILE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "alos/base/crc32c.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos {

using BackupId = std::array<char, 16>;

struct BackupHeader {
  BackupId id{};
  BackupId previous{};
  std::uint32_t number = 1;
  std::int64_t begun_seconds = 0;
};

// Where the bytes of a chunk are: the backup of the folder, and the block in its file. Number 0:
// nowhere, they are all zeros.
struct BackupPlace {
  std::uint32_t number = 0;
  std::uint64_t offset = 0;
};

struct BackupCatalog {
  struct Log {
    std::uint32_t shard = 0;
    std::uint64_t generation = 0;
    std::uint64_t size = 0;
    // Of each chunk.
    std::vector<std::uint32_t> checksums;
    std::vector<BackupPlace> places;
  };
  struct Database {
    std::string name;
    std::uint64_t timestamp = 0;  // everything up to it, and nothing after it
    std::string manifest;
    std::vector<Log> logs;
  };
  std::uint64_t chunk_bytes = 0;
  std::vector<Database> databases;

  std::uint64_t ChunkSize(const Log& log, std::size_t chunk) const {
    return std::min(chunk_bytes, log.size - chunk * chunk_bytes);
  }
};

enum class BackupBlockKind : std::uint32_t { kDatabase = 1, kChunk = 2, kCatalog = 3, kEnd = 4 };

struct BackupBlock {
  BackupBlockKind kind{};
  std::uint32_t database = 0;
  std::uint32_t shard = 0;
  std::uint64_t offset = 0;
  std::string content;
};

inline constexpr std::size_t kBackupHeaderBytes = 64;
inline constexpr std::size_t kBackupBlockHeaderBytes = 32;
inline constexpr std::uint64_t kBackupContentBytesMax = std::uint64_t{1} << 32;
inline constexpr std::uint64_t kBackupChunkBytes = std::uint64_t{1} << 20;

inline std::string BackupFileName(std::uint32_t number) {
  return absl::StrFormat("%06d.alosbackup", number);
}

inline std::string EncodeBackupHeader(const BackupHeader& header) {
  std::string bytes(kBackupHeaderBytes, '\0');
  const std::uint32_t version = 1;
  std::memcpy(bytes.data(), "ALOSBKP1", 8);
  std::memcpy(bytes.data() + 8, &version, 4);
  std::memcpy(bytes.data() + 16, header.id.data(), 16);
  std::memcpy(bytes.data() + 32, header.previous.data(), 16);
  std::memcpy(bytes.data() + 48, &header.number, 4);
  std::memcpy(bytes.data() + 56, &header.begun_seconds, 8);
  const std::uint32_t checksum = Crc32c(std::string_view(bytes).substr(16));
  std::memcpy(bytes.data() + 12, &checksum, 4);
  return bytes;
}

// `name` is for messages, here and below.
inline absl::StatusOr<BackupHeader> DecodeBackupHeader(std::string_view name,
                                                       std::string_view bytes) {
  std::uint32_t version = 0;
  std::uint32_t checksum = 0;
  if (bytes.size() < kBackupHeaderBytes || bytes.substr(0, 8) != "ALOSBKP1")
    return absl::DataLossError(absl::StrCat(name, ": this is no backup of alos"));
  std::memcpy(&version, bytes.data() + 8, 4);
  std::memcpy(&checksum, bytes.data() + 12, 4);
  if (version != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ": a backup of format version ", version,
                     "; this program reads version 1: use a newer alos"));
  }
  if (Crc32c(bytes.substr(16, kBackupHeaderBytes - 16)) != checksum)
    return absl::DataLossError(absl::StrCat(name, ": the header of the backup is damaged"));
  BackupHeader header;
  std::memcpy(header.id.data(), bytes.data() + 16, 16);
  std::memcpy(header.previous.data(), bytes.data() + 32, 16);
  std::memcpy(&header.number, bytes.data() + 48, 4);
  std::memcpy(&header.begun_seconds, bytes.data() + 56, 8);
  return header;
}

inline std::string EncodeBackupBlockHeader(BackupBlockKind kind, std::uint32_t database,
                                           std::uint32_t shard, std::uint64_t offset,
                                           std::string_view content) {
  std::string bytes(kBackupBlockHeaderBytes, '\0');
  const std::uint64_t size = content.size();
  std::memcpy(bytes.data(), &kind, 4);
  std::memcpy(bytes.data() + 8, &size, 8);
  std::memcpy(bytes.data() + 16, &database, 4);
  std::memcpy(bytes.data() + 20, &shard, 4);
  std::memcpy(bytes.data() + 24, &offset, 8);
  const std::uint32_t checksum = Crc32c(content, Crc32c(std::string_view(bytes).substr(8)));
  std::memcpy(bytes.data() + 4, &checksum, 4);
  return bytes;
}

// Reads the block that `read(bytes, std::string*) -> absl::Status` gives the bytes of.
inline absl::StatusOr<BackupBlock> ReadBackupBlock(
    std::string_view name, std::uint64_t at,
    absl::FunctionRef<absl::Status(std::uint64_t, std::string*)> read) {
  std::string header;
  ALOS_RETURN_IF_ERROR(read(kBackupBlockHeaderBytes, &header));
  BackupBlock block;
  std::uint32_t checksum = 0;
  std::uint64_t size = 0;
  std::memcpy(&block.kind, header.data(), 4);
  std::memcpy(&checksum, header.data() + 4, 4);
  std::memcpy(&size, header.data() + 8, 8);
  std::memcpy(&block.database, header.data() + 16, 4);
  std::memcpy(&block.shard, header.data() + 20, 4);
  std::memcpy(&block.offset, header.data() + 24, 8);
  if (block.kind < BackupBlockKind::kDatabase || block.kind > BackupBlockKind::kEnd ||
      size > kBackupContentBytesMax) {
    return absl::DataLossError(
        absl::StrCat(name, ": offset ", at, ": the backup is damaged: no block begins there"));
  }
  ALOS_RETURN_IF_ERROR(read(size, &block.content));
  if (Crc32c(block.content, Crc32c(std::string_view(header).substr(8))) != checksum) {
    return absl::DataLossError(absl::StrCat(
        name, ": offset ", at, ": the backup is damaged: the checksum of a block is wrong"));
  }
  return block;
}

inline std::string EncodeBackupCatalog(const BackupCatalog& catalog) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument(3).Key("version").Uint(1).Key("chunk_bytes").Uint(catalog.chunk_bytes);
  builder.Key("databases").StartArray(catalog.databases.size());
  for (const BackupCatalog::Database& database : catalog.databases) {
    builder.StartDocument(4).Key("name").String(database.name);
    builder.Key("timestamp").Uint(database.timestamp);
    builder.Key("manifest").Binary(database.manifest);
    builder.Key("logs").StartArray(database.logs.size());
    for (const BackupCatalog::Log& log : database.logs) {
      builder.StartDocument(5).Key("shard").Uint(log.shard);
      builder.Key("generation").Uint(log.generation);
      builder.Key("size").Uint(log.size);
      std::string checksums;
      std::string places;
      for (const std::uint32_t checksum : log.checksums)
        checksums.append(reinterpret_cast<const char*>(&checksum), 4);
      for (const BackupPlace& place : log.places) {
        places.append(reinterpret_cast<const char*>(&place.number), 4);
        places.append(reinterpret_cast<const char*>(&place.offset), 8);
      }
      builder.Key("checksums").Binary(checksums);
      builder.Key("places").Binary(places).EndDocument();
    }
    builder.EndArray().EndDocument();
  }
  builder.EndArray().EndDocument();
  return bytes;
}

inline absl::StatusOr<BackupCatalog> DecodeBackupCatalog(std::string_view name,
                                                         std::string_view bytes) {
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(
        absl::StrCat(name, ": the catalog of the backup is damaged: ", what));
  };
  const absl::StatusOr<ValueView> view = ValueView::Parse(bytes);
  if (!view.ok() || !view->IsDocument()) return damaged("no map");
  bool good = true;
  const auto number = [&](ValueView of, std::string_view key) -> std::uint64_t {
    const std::optional<ValueView> found = of.Find(key);
    if (found && found->IsUnsigned()) return found->AsUint64();
    good = false;
    return 0;
  };
  const auto binary = [&](ValueView of, std::string_view key) -> std::string_view {
    const std::optional<ValueView> found = of.Find(key);
    if (found && found->type() == ValueType::kBinary) return found->AsBinary();
    good = false;
    return {};
  };
  BackupCatalog catalog;
  catalog.chunk_bytes = number(*view, "chunk_bytes");
  const std::optional<ValueView> databases = view->Find("databases");
  if (!databases || !databases->IsArray() || catalog.chunk_bytes == 0)
    return damaged("no databases");
  for (const ValueView entry : databases->elements()) {
    if (!entry.IsDocument()) return damaged("no database");
    BackupCatalog::Database& database = catalog.databases.emplace_back();
    const std::optional<ValueView> database_name = entry.Find("name");
    const std::optional<ValueView> logs = entry.Find("logs");
    if (!database_name || !database_name->IsString() || !logs || !logs->IsArray())
      return damaged("a database without a name or logs");
    database.name = std::string(database_name->AsString());
    database.timestamp = number(entry, "timestamp");
    database.manifest = std::string(binary(entry, "manifest"));
    for (const ValueView one : logs->elements()) {
      if (!one.IsDocument()) return damaged("no log");
      BackupCatalog::Log& log = database.logs.emplace_back();
      log.shard = static_cast<std::uint32_t>(number(one, "shard"));
      log.generation = number(one, "generation");
      log.size = number(one, "size");
      const std::string_view checksums = binary(one, "checksums");
      const std::string_view places = binary(one, "places");
      const std::uint64_t chunks =
          log.size / catalog.chunk_bytes + (log.size % catalog.chunk_bytes != 0);
      if (!good || checksums.size() / 4 != chunks || places.size() / 12 != chunks)
        return damaged("a log without all its chunks");
      log.checksums.resize(chunks);
      log.places.resize(chunks);
      for (std::size_t i = 0; i < chunks; ++i) {
        std::memcpy(&log.checksums[i], checksums.data() + i * 4, 4);
        std::memcpy(&log.places[i].number, places.data() + i * 12, 4);
        std::memcpy(&log.places[i].offset, places.data() + i * 12 + 4, 8);
      }
    }
  }
  if (!good) return damaged("a field is missing");
  return catalog;
}

// Writes one backup. Threads: one. Errors: those of `sink`, after which nothing more may be
// written.
class BackupWriter {
 public:
  // `sink` takes the bytes, in order.
  using Sink = absl::FunctionRef<absl::Status(std::string_view)>;

  BackupWriter(const BackupHeader& header, Sink sink) : header_(header), sink_(sink) {}

  absl::Status Begin() { return Put(EncodeBackupHeader(header_)); }
  absl::Status BeginDatabase(std::uint32_t database, std::string_view name) {
    return PutBlock(BackupBlockKind::kDatabase, database, 0, 0, name).status();
  }
  absl::StatusOr<BackupPlace> AddChunk(std::uint32_t database, std::uint32_t shard,
                                       std::uint64_t offset, std::string_view bytes) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t at,
                          PutBlock(BackupBlockKind::kChunk, database, shard, offset, bytes));
    return BackupPlace{header_.number, at};
  }
  absl::Status Finish(const BackupCatalog& catalog) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t at, PutBlock(BackupBlockKind::kCatalog, 0, 0, 0,
                                                           EncodeBackupCatalog(catalog)));
    return PutBlock(BackupBlockKind::kEnd, 0, 0, at, {}).status();
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  absl::Status Put(std::string_view bytes) {
    bytes_ += bytes.size();
    return sink_(bytes);
  }
  absl::StatusOr<std::uint64_t> PutBlock(BackupBlockKind kind, std::uint32_t database,
                                         std::uint32_t shard, std::uint64_t offset,
                                         std::string_view content) {
    const std::uint64_t at = bytes_;
    ALOS_RETURN_IF_ERROR(Put(EncodeBackupBlockHeader(kind, database, shard, offset, content)));
    ALOS_RETURN_IF_ERROR(Put(content));
    return at;
  }

  const BackupHeader header_;
  const Sink sink_;
  std::uint64_t bytes_ = 0;
};

}  // namespace alos

#endif  // ALOS_MAINTENANCE_BACKUP_FILE_H_
