// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Takes backups of databases that are in use, verifies them, and restores them.
//
// A backup in a folder is a file 000001.alosbackup, 000002.alosbackup and so on. Each stands for a
// whole state, and each can be restored; but a later one has only the chunks of the logs that are
// not in the ones before it, as they are. So the files of a folder belong together.

#ifndef ALOS_MAINTENANCE_BACKUP_H_
#define ALOS_MAINTENANCE_BACKUP_H_

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/crc32c.h"
#include "alos/base/posix_file_system.h"
#include "alos/base/status_macros.h"
#include "alos/maintenance/backup_file.h"
#include "alos/maintenance/check.h"
#include "alos/maintenance/finding.h"
#include "alos/storage/atomic_file.h"
#include "alos/storage/manifest.h"

namespace alos {

// The state of a database that a backup is taken of.
struct BackupSourceState {
  struct Log {
    std::uint32_t shard = 0;
    std::uint64_t generation = 0;
    std::uint64_t size = 0;
  };
  std::uint64_t timestamp = 0;
  std::string manifest;
  std::vector<Log> logs;
};

// Where backups are taken from: a server (tools/alos/client_backup_source.h) or an engine
// (engine_backup_source.h). One database at a time.
template <class S>
concept BackupSource = requires(
    S& source, const std::string& name, std::uint32_t shard, std::uint64_t n, std::string* out,
    std::vector<std::uint32_t>* checksums, std::vector<Finding>* findings) {
  // Fixes the newest state of the database until End() or the next Begin().
  { source.Begin(name) } -> std::same_as<absl::StatusOr<BackupSourceState>>;
  // Sets *out to bytes of a log: shard, offset, count.
  { source.Read(shard, n, n, out) } -> std::same_as<absl::Status>;
  // Sets *checksums to those of the chunks of a log: shard, its size, bytes of a chunk.
  { source.Checksums(shard, n, n, checksums) } -> std::same_as<absl::Status>;
  // Verifies the records of a log, as far as its size; appends what is damaged.
  { source.Verify(shard, n, findings) } -> std::same_as<absl::Status>;
  { source.End() } -> std::same_as<absl::Status>;
};

struct BackupProgress {
  std::uint64_t bytes_done = 0;  // of the logs
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_copied = 0;  // the rest was in an earlier backup
};

struct BackupSummary {
  std::string file;  // "" for a stream
  std::uint32_t number = 1;
  std::uint64_t databases = 0;
  std::uint64_t bytes = 0;         // of the logs
  std::uint64_t bytes_copied = 0;  // of these, that were not in an earlier backup
  std::uint64_t bytes_written = 0;
  std::map<std::string, std::uint64_t> timestamps;  // of each database
  // Records that are damaged in the source: the backup has them as they are.
  std::vector<Finding> damaged;
};

struct BackupOptions {
  std::vector<std::string> databases;
  std::function<void(const BackupProgress&)> on_progress = [](const BackupProgress&) {};
  bool verify_source = true;  // the records, before they are copied
};

namespace maintenance_internal {

// The backups of one folder, for reading.
class BackupFolder {
 public:
  explicit BackupFolder(std::string path) : path_(std::move(path)) {}

  // The numbers of the backups that are complete, ascending.
  absl::StatusOr<std::vector<std::uint32_t>> List() {
    std::vector<std::uint32_t> numbers;
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names, system_.ListDirectory(path_));
    for (const std::string& name : names) {
      std::uint32_t number = 0;
      if (name.size() == 17 && absl::EndsWith(name, ".alosbackup") &&
          absl::SimpleAtoi(name.substr(0, 6), &number)) {
        numbers.push_back(number);
      }
    }
    return numbers;
  }
  std::string FilePath(std::uint32_t number) const {
    return absl::StrCat(path_, "/", BackupFileName(number));
  }

  struct Opened {
    std::unique_ptr<PosixFile> file;
    std::uint64_t size = 0;
    BackupHeader header;
  };
  absl::StatusOr<const Opened*> Open(std::uint32_t number) {
    auto& slot = open_[number];
    if (slot.file != nullptr) return &slot;
    const std::string path = FilePath(number);
    auto file = system_.Open(path, OpenMode::kReadOnly);
    if (absl::IsNotFound(file.status())) {
      return absl::DataLossError(absl::StrCat(
          path, ": the file is missing; later backups of the folder need what is in it"));
    }
    ALOS_RETURN_IF_ERROR(file.status());
    Opened opened;
    opened.file = *std::move(file);
    ALOS_ASSIGN_OR_RETURN(opened.size, opened.file->Size());
    std::string bytes(kBackupHeaderBytes, '\0');
    ALOS_ASSIGN_OR_RETURN(const std::size_t read, opened.file->ReadAt(0, absl::MakeSpan(bytes)));
    bytes.resize(read);
    ALOS_ASSIGN_OR_RETURN(opened.header, DecodeBackupHeader(path, bytes));
    slot = std::move(opened);
    return &slot;
  }

  absl::StatusOr<BackupBlock> ReadBlock(const BackupPlace& place) {
    ALOS_ASSIGN_OR_RETURN(const Opened* const opened, Open(place.number));
    std::uint64_t at = place.offset;
    const std::string path = FilePath(place.number);
    return ReadBackupBlock(path, place.offset, [&](std::uint64_t bytes, std::string* out) {
      if (at > opened->size || bytes > opened->size - at)
        return absl::DataLossError(absl::StrCat(path, ": the backup ends too early"));
      out->resize(bytes);
      const absl::StatusOr<std::size_t> read = opened->file->ReadAt(at, absl::MakeSpan(*out));
      if (!read.ok()) return read.status();
      if (*read != bytes)
        return absl::DataLossError(absl::StrCat(path, ": the backup ends too early"));
      at += bytes;
      return absl::OkStatus();
    });
  }

  // The catalog of a backup.
  absl::StatusOr<BackupCatalog> ReadCatalog(std::uint32_t number) {
    ALOS_ASSIGN_OR_RETURN(const Opened* const opened, Open(number));
    const std::string path = FilePath(number);
    if (opened->size < kBackupHeaderBytes + kBackupBlockHeaderBytes)
      return absl::DataLossError(absl::StrCat(path, ": the backup ends too early"));
    ALOS_ASSIGN_OR_RETURN(const BackupBlock end,
                          ReadBlock({number, opened->size - kBackupBlockHeaderBytes}));
    if (end.kind != BackupBlockKind::kEnd)
      return absl::DataLossError(absl::StrCat(path, ": the backup has no end"));
    ALOS_ASSIGN_OR_RETURN(const BackupBlock catalog, ReadBlock({number, end.offset}));
    if (catalog.kind != BackupBlockKind::kCatalog)
      return absl::DataLossError(absl::StrCat(path, ": the backup has no catalog"));
    return DecodeBackupCatalog(path, catalog.content);
  }

 private:
  PosixFileSystem system_;
  const std::string path_;
  absl::flat_hash_map<std::uint32_t, Opened> open_;
};

inline BackupId NewBackupId() {
  BackupId id;
  std::random_device random;
  for (char& byte : id) byte = static_cast<char>(random());
  return id;
}

// Copies the databases into `writer`. `base`: what earlier backups of the folder have; may be
// nullptr.
template <BackupSource Source>
absl::Status CopyDatabases(Source& source, const BackupOptions& options, const BackupCatalog* base,
                           BackupWriter* writer, BackupSummary* summary) {
  BackupCatalog catalog;
  catalog.chunk_bytes = kBackupChunkBytes;
  BackupProgress progress;
  ALOS_RETURN_IF_ERROR(writer->Begin());
  for (std::uint32_t number = 0; number < options.databases.size(); ++number) {
    const std::string& name = options.databases[number];
    ALOS_ASSIGN_OR_RETURN(BackupSourceState state, source.Begin(name));
    ALOS_RETURN_IF_ERROR(writer->BeginDatabase(number, name));
    BackupCatalog::Database& database = catalog.databases.emplace_back();
    database.name = name;
    database.timestamp = state.timestamp;
    database.manifest = state.manifest;
    summary->timestamps[name] = state.timestamp;
    for (const auto& log : state.logs) progress.bytes_total += log.size;
    const BackupCatalog::Database* old = nullptr;
    if (base != nullptr && base->chunk_bytes == catalog.chunk_bytes) {
      for (const auto& candidate : base->databases) {
        if (candidate.name == name) old = &candidate;
      }
    }
    std::string bytes;
    for (const BackupSourceState::Log& log : state.logs) {
      BackupCatalog::Log& copy = database.logs.emplace_back();
      copy.shard = log.shard;
      copy.generation = log.generation;
      copy.size = log.size;
      const std::size_t chunks = (log.size + catalog.chunk_bytes - 1) / catalog.chunk_bytes;
      copy.checksums.resize(chunks);
      copy.places.resize(chunks);
      if (options.verify_source)
        ALOS_RETURN_IF_ERROR(source.Verify(log.shard, log.size, &summary->damaged));
      const BackupCatalog::Log* before = nullptr;
      if (old != nullptr) {
        for (const auto& candidate : old->logs) {
          if (candidate.shard == log.shard && candidate.generation == log.generation)
            before = &candidate;
        }
      }
      std::vector<std::uint32_t> now;
      if (before != nullptr) {
        ALOS_RETURN_IF_ERROR(source.Checksums(log.shard, log.size, catalog.chunk_bytes, &now));
        if (now.size() != chunks) return absl::InternalError("checksums of another log");
      }
      // The first chunk has the file's header, which says where the log begins: read last, it does
      // not say less than what is still there.
      for (std::size_t i = chunks; i-- > 0;) {
        const std::uint64_t size = catalog.ChunkSize(copy, i);
        progress.bytes_done += size;
        if (before != nullptr && i < before->checksums.size() && before->checksums[i] == now[i] &&
            size == std::min(base->chunk_bytes, before->size - i * base->chunk_bytes)) {
          copy.checksums[i] = now[i];
          copy.places[i] = before->places[i];
          continue;
        }
        ALOS_RETURN_IF_ERROR(source.Read(log.shard, i * catalog.chunk_bytes, size, &bytes));
        if (bytes.size() != size) return absl::InternalError("the source gave other bytes");
        copy.checksums[i] = Crc32c(bytes);
        // What was compacted away reads as zeros.
        if (bytes.find_first_not_of('\0') == std::string::npos) continue;
        ALOS_ASSIGN_OR_RETURN(copy.places[i],
                              writer->AddChunk(number, log.shard, i * catalog.chunk_bytes, bytes));
        progress.bytes_copied += size;
        options.on_progress(progress);
      }
    }
    ALOS_RETURN_IF_ERROR(source.End());
  }
  ALOS_RETURN_IF_ERROR(writer->Finish(catalog));
  options.on_progress(progress);
  summary->databases = catalog.databases.size();
  summary->bytes = progress.bytes_done;
  summary->bytes_copied = progress.bytes_copied;
  summary->bytes_written = writer->bytes();
  return absl::OkStatus();
}

}  // namespace maintenance_internal

// Writes a whole backup to `sink`, in order.
template <BackupSource Source>
absl::StatusOr<BackupSummary> BackupToStream(
    Source& source, const BackupOptions& options,
    absl::FunctionRef<absl::Status(std::string_view)> sink) {
  BackupSummary summary;
  BackupHeader header;
  header.id = maintenance_internal::NewBackupId();
  header.begun_seconds = absl::ToUnixSeconds(absl::Now());
  BackupWriter writer(header, sink);
  ALOS_RETURN_IF_ERROR(
      maintenance_internal::CopyDatabases(source, options, nullptr, &writer, &summary));
  return summary;
}

// Adds a backup to a folder, which is made when it is not there: what is not yet in the newest one.
// Durability: when it returns OK the backup is complete, flushed, and has its name; before that, or
// after an error, the folder's earlier backups are as they were.
// Errors: kFailedPrecondition when somebody else is writing into the folder.
template <BackupSource Source>
absl::StatusOr<BackupSummary> BackupToFolder(Source& source, const BackupOptions& options,
                                             const std::string& folder_path) {
  PosixFileSystem system;
  ALOS_RETURN_IF_ERROR(system.CreateDirectories(folder_path));
  ALOS_ASSIGN_OR_RETURN(const auto lock,
                        system.LockFile(absl::StrCat(folder_path, "/backup.lock")));
  maintenance_internal::BackupFolder folder(folder_path);
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> numbers, folder.List());
  BackupSummary summary;
  BackupHeader header;
  header.id = maintenance_internal::NewBackupId();
  header.begun_seconds = absl::ToUnixSeconds(absl::Now());
  std::optional<BackupCatalog> base;
  if (!numbers.empty()) {
    ALOS_ASSIGN_OR_RETURN(base, folder.ReadCatalog(numbers.back()));
    ALOS_ASSIGN_OR_RETURN(const auto* const newest, folder.Open(numbers.back()));
    header.number = numbers.back() + 1;
    header.previous = newest->header.id;
  }
  summary.number = header.number;
  summary.file = folder.FilePath(header.number);
  const std::string temporary = absl::StrCat(summary.file, ".new");
  {
    ALOS_ASSIGN_OR_RETURN(const auto file, system.Open(temporary, OpenMode::kCreate));
    ALOS_RETURN_IF_ERROR(file->Truncate(0));
    std::uint64_t offset = 0;
    const auto sink = [&](std::string_view bytes) -> absl::Status {
      ALOS_RETURN_IF_ERROR(file->WriteAt(offset, bytes));
      offset += bytes.size();
      return absl::OkStatus();
    };
    BackupWriter writer(header, sink);
    const absl::Status copied = maintenance_internal::CopyDatabases(
        source, options, base ? &*base : nullptr, &writer, &summary);
    if (!copied.ok()) {
      system.Remove(temporary).IgnoreError();
      return copied;
    }
    ALOS_RETURN_IF_ERROR(file->Sync());
  }
  ALOS_RETURN_IF_ERROR(system.Rename(temporary, summary.file));
  ALOS_RETURN_IF_ERROR(system.SyncDirectory(folder_path));
  return summary;
}

struct BackupVerification {
  std::uint64_t backups = 0;
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;
  std::vector<std::string> problems;
};

// Verifies every byte of the backups in a folder, and that each has all that it stands for.
inline absl::StatusOr<BackupVerification> VerifyBackups(const std::string& folder_path) {
  maintenance_internal::BackupFolder folder(folder_path);
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> numbers, folder.List());
  if (numbers.empty())
    return absl::NotFoundError(absl::StrCat(folder_path, ": there is no backup in this folder"));
  BackupVerification result;
  // Which chunk is at each place, by the block itself.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint32_t> found;
  const auto problem = [&](const absl::Status& status) {
    result.problems.emplace_back(status.message());
  };
  BackupId previous{};
  for (const std::uint32_t number : numbers) {
    ++result.backups;
    const auto opened = folder.Open(number);
    if (!opened.ok()) {
      problem(opened.status());
      continue;
    }
    if ((*opened)->header.number != number || (*opened)->header.previous != previous) {
      problem(absl::DataLossError(absl::StrCat(
          folder.FilePath(number), ": does not follow the backup before it in this folder")));
    }
    previous = (*opened)->header.id;
    std::uint64_t offset = kBackupHeaderBytes;
    while (offset < (*opened)->size) {
      const absl::StatusOr<BackupBlock> block = folder.ReadBlock({number, offset});
      if (!block.ok()) {
        problem(block.status());
        break;
      }
      if (block->kind == BackupBlockKind::kChunk) {
        ++result.chunks;
        result.bytes += block->content.size();
        found[{number, offset}] = Crc32c(block->content);
      }
      offset += kBackupBlockHeaderBytes + block->content.size();
    }
    const absl::StatusOr<BackupCatalog> catalog = folder.ReadCatalog(number);
    if (!catalog.ok()) {
      problem(catalog.status());
      continue;
    }
    for (const auto& database : catalog->databases) {
      for (const auto& log : database.logs) {
        for (std::size_t i = 0; i < log.places.size(); ++i) {
          if (log.places[i].number == 0) continue;
          const auto at = found.find({log.places[i].number, log.places[i].offset});
          if (at != found.end() && at->second == log.checksums[i]) continue;
          problem(absl::DataLossError(
              absl::StrCat(folder.FilePath(number), ": database ", database.name, ", shard ",
                           log.shard, ": the chunk at offset ", i * catalog->chunk_bytes,
                           " is not in backup ", log.places[i].number, ", where it should be")));
        }
      }
    }
  }
  return result;
}

struct RestoreOptions {
  std::string data_path;
  std::vector<std::string> databases = {};  // empty: all that are in the backup
  std::uint32_t number = 0;                 // which backup of the folder; 0: the newest
  std::function<void(const BackupProgress&)> on_progress = [](const BackupProgress&) {};
};

struct RestoreSummary {
  std::vector<std::string> databases;
  std::uint64_t bytes = 0;
  std::map<std::string, std::uint64_t> timestamps;
  CheckReport check;  // of what was restored
};

namespace maintenance_internal {

// Puts the chunks of databases into folders that nobody looks into, and gives them their names once
// they are whole. Threads: one.
class Restorer {
 public:
  explicit Restorer(const RestoreOptions& options) : options_(options) {}

  absl::Status Begin() {
    ALOS_RETURN_IF_ERROR(system_.CreateDirectories(options_.data_path));
    ALOS_ASSIGN_OR_RETURN(lock_, system_.LockFile(absl::StrCat(options_.data_path, "/alos.lock")));
    return absl::OkStatus();
  }

  bool IsWanted(const std::string& name) const {
    return options_.databases.empty() ||
           std::find(options_.databases.begin(), options_.databases.end(), name) !=
               options_.databases.end();
  }

  absl::Status BeginDatabase(const std::string& name) {
    // A folder's name, from strangers perhaps.
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos)
      return absl::DataLossError(
          absl::StrCat("the backup has a database of the name '", name, "'"));
    ALOS_ASSIGN_OR_RETURN(const bool exists, system_.Exists(Path(name)));
    if (exists) {
      return absl::AlreadyExistsError(
          absl::StrCat(Path(name),
                       ": there is something already, and restoring never replaces anything; "
                       "restore into another directory, or move that one away"));
    }
    ALOS_ASSIGN_OR_RETURN(const bool left_over, system_.Exists(Temporary(name)));
    if (left_over) ALOS_RETURN_IF_ERROR(RemoveTemporary(name));
    return system_.CreateDirectories(Temporary(name));
  }

  absl::Status Put(const std::string& name, std::uint32_t shard, std::uint64_t offset,
                   std::string_view bytes) {
    auto& file = files_[{name, shard}];
    if (file == nullptr) {
      ALOS_ASSIGN_OR_RETURN(file, system_.Open(LogPath(Temporary(name), shard), OpenMode::kCreate));
    }
    return file->WriteAt(offset, bytes);
  }

  // Everything of `database` is there: makes it durable, checks it, gives it its name.
  absl::Status Finish(const BackupCatalog::Database& database, RestoreSummary* summary) {
    const std::string directory = Temporary(database.name);
    ALOS_ASSIGN_OR_RETURN(Manifest manifest, DecodeManifest("the backup", database.manifest));
    for (const auto& log : database.logs) {
      auto& file = files_[{database.name, log.shard}];
      if (file == nullptr || log.shard >= manifest.shard_count) {
        return absl::DataLossError(absl::StrCat("the backup of database ", database.name,
                                                " lacks the log of shard ", log.shard));
      }
      ALOS_RETURN_IF_ERROR(file->Sync());
      manifest.shards_made[log.shard] = true;
      summary->bytes += log.size;
      file.reset();
    }
    const std::string bytes = EncodeManifest(manifest);
    ALOS_RETURN_IF_ERROR(ReplaceFile(system_, directory, kManifestFileName, bytes));
    ALOS_RETURN_IF_ERROR(ReplaceFile(system_, directory, kManifestCopyFileName, bytes));
    // What the engine would make of it: every record, every transaction.
    PrivateFileSystem view;
    FindingList findings;
    ALOS_RETURN_IF_ERROR(
        CheckDatabase(&view, directory, CheckOptions(), &findings, &summary->check.counts));
    for (Finding finding : findings.findings()) {
      // By its later name.
      if (absl::StartsWith(finding.file, directory))
        finding.file = absl::StrCat(Path(database.name), finding.file.substr(directory.size()));
      summary->check.findings.push_back(std::move(finding));
    }
    summary->check.counts.damages += findings.damages();
    summary->check.counts.notes += findings.notes();
    ALOS_RETURN_IF_ERROR(system_.Rename(directory, Path(database.name)));
    ALOS_RETURN_IF_ERROR(system_.SyncDirectory(options_.data_path));
    summary->databases.push_back(database.name);
    summary->timestamps[database.name] = database.timestamp;
    return absl::OkStatus();
  }

 private:
  std::string Path(const std::string& name) const {
    return absl::StrCat(options_.data_path, "/", name);
  }
  std::string Temporary(const std::string& name) const {
    return absl::StrCat(options_.data_path, "/.restore-", name);
  }
  static std::string LogPath(const std::string& directory, std::uint32_t shard) {
    return absl::StrFormat("%s/shard_%03d.db", directory, shard);
  }
  // What an interrupted restore left.
  absl::Status RemoveTemporary(const std::string& name) {
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                          system_.ListDirectory(Temporary(name)));
    for (const std::string& file : files)
      ALOS_RETURN_IF_ERROR(system_.Remove(absl::StrCat(Temporary(name), "/", file)));
    return system_.Remove(Temporary(name));
  }

  const RestoreOptions& options_;
  PosixFileSystem system_;
  std::unique_ptr<PosixLock> lock_;
  std::map<std::pair<std::string, std::uint32_t>, std::unique_ptr<PosixFile>> files_;
};

}  // namespace maintenance_internal

// Restores databases from a folder into a data directory: new ones only.
// Errors: kAlreadyExists when one is there; kDataLoss when the backup is damaged. After an error no
// database is there that was not before, but for those that were complete.
inline absl::StatusOr<RestoreSummary> RestoreFromFolder(const std::string& folder_path,
                                                        const RestoreOptions& options) {
  maintenance_internal::BackupFolder folder(folder_path);
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> numbers, folder.List());
  if (numbers.empty())
    return absl::NotFoundError(absl::StrCat(folder_path, ": there is no backup in this folder"));
  const std::uint32_t number = options.number == 0 ? numbers.back() : options.number;
  if (std::find(numbers.begin(), numbers.end(), number) == numbers.end()) {
    return absl::NotFoundError(absl::StrCat(folder_path, ": there is no backup ", number,
                                            "; the newest is ", numbers.back()));
  }
  ALOS_ASSIGN_OR_RETURN(const BackupCatalog catalog, folder.ReadCatalog(number));
  for (const std::string& wanted : options.databases) {
    const bool is_there =
        std::any_of(catalog.databases.begin(), catalog.databases.end(),
                    [&](const auto& database) { return database.name == wanted; });
    if (!is_there) return absl::NotFoundError(absl::StrCat("the backup has no database ", wanted));
  }
  maintenance_internal::Restorer restorer(options);
  ALOS_RETURN_IF_ERROR(restorer.Begin());
  RestoreSummary summary;
  BackupProgress progress;
  for (const auto& database : catalog.databases) {
    if (!restorer.IsWanted(database.name)) continue;
    ALOS_RETURN_IF_ERROR(restorer.BeginDatabase(database.name));
    for (const auto& log : database.logs) progress.bytes_total += log.size;
  }
  for (const auto& database : catalog.databases) {
    if (!restorer.IsWanted(database.name)) continue;
    for (const auto& log : database.logs) {
      for (std::size_t i = 0; i < log.places.size(); ++i) {
        if (log.places[i].number == 0) continue;
        ALOS_ASSIGN_OR_RETURN(const BackupBlock block, folder.ReadBlock(log.places[i]));
        if (block.kind != BackupBlockKind::kChunk ||
            block.content.size() != catalog.ChunkSize(log, i) ||
            Crc32c(block.content) != log.checksums[i]) {
          return absl::DataLossError(absl::StrCat(
              folder.FilePath(log.places[i].number), ": offset ", log.places[i].offset,
              ": the backup is damaged: another chunk is there than the catalog says"));
        }
        ALOS_RETURN_IF_ERROR(
            restorer.Put(database.name, log.shard, i * catalog.chunk_bytes, block.content));
        progress.bytes_done += block.content.size();
        options.on_progress(progress);
      }
    }
    ALOS_RETURN_IF_ERROR(restorer.Finish(database, &summary));
  }
  return summary;
}

// The same from a stream that BackupToStream wrote. `read(bytes, out)` sets *out to so many bytes.
inline absl::StatusOr<RestoreSummary> RestoreFromStream(
    absl::FunctionRef<absl::Status(std::uint64_t, std::string*)> read,
    const RestoreOptions& options) {
  constexpr std::string_view kName = "the stream";
  std::string header_bytes;
  ALOS_RETURN_IF_ERROR(read(kBackupHeaderBytes, &header_bytes));
  ALOS_ASSIGN_OR_RETURN(const BackupHeader header, DecodeBackupHeader(kName, header_bytes));
  if (header.previous != BackupId{}) {
    return absl::FailedPreconditionError(
        "this backup needs the ones before it: restore from their folder");
  }
  maintenance_internal::Restorer restorer(options);
  ALOS_RETURN_IF_ERROR(restorer.Begin());
  RestoreSummary summary;
  BackupProgress progress;
  std::vector<std::string> names;
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>, std::uint32_t> found;
  std::uint64_t at = kBackupHeaderBytes;
  while (true) {
    ALOS_ASSIGN_OR_RETURN(const BackupBlock block, ReadBackupBlock(kName, at, read));
    at += kBackupBlockHeaderBytes + block.content.size();
    if (block.kind == BackupBlockKind::kDatabase) {
      if (block.database != names.size())
        return absl::DataLossError("the stream is damaged: its databases are not in order");
      names.push_back(block.content);
      if (restorer.IsWanted(block.content))
        ALOS_RETURN_IF_ERROR(restorer.BeginDatabase(block.content));
    } else if (block.kind == BackupBlockKind::kChunk) {
      if (block.database >= names.size())
        return absl::DataLossError("the stream is damaged: a chunk of no database");
      found[{block.database, block.shard, block.offset}] = Crc32c(block.content);
      if (restorer.IsWanted(names[block.database])) {
        ALOS_RETURN_IF_ERROR(
            restorer.Put(names[block.database], block.shard, block.offset, block.content));
      }
      progress.bytes_done += block.content.size();
      options.on_progress(progress);
    } else if (block.kind == BackupBlockKind::kCatalog) {
      ALOS_ASSIGN_OR_RETURN(const BackupCatalog catalog, DecodeBackupCatalog(kName, block.content));
      // The end has to be there, too: then nothing of the catalog was cut.
      ALOS_ASSIGN_OR_RETURN(const BackupBlock end, ReadBackupBlock(kName, at, read));
      if (end.kind != BackupBlockKind::kEnd)
        return absl::DataLossError("the stream is damaged: it has no end");
      for (std::uint32_t i = 0; i < catalog.databases.size(); ++i) {
        const auto& database = catalog.databases[i];
        if (i >= names.size() || names[i] != database.name)
          return absl::DataLossError("the stream is damaged: a database is missing");
        if (!restorer.IsWanted(database.name)) continue;
        for (const auto& log : database.logs) {
          for (std::size_t chunk = 0; chunk < log.checksums.size(); ++chunk) {
            if (log.places[chunk].number == 0) continue;
            const auto there = found.find({i, log.shard, chunk * catalog.chunk_bytes});
            if (there == found.end() || there->second != log.checksums[chunk]) {
              return absl::DataLossError(absl::StrCat("the stream is damaged: a chunk of shard ",
                                                      log.shard, " is missing"));
            }
          }
        }
        ALOS_RETURN_IF_ERROR(restorer.Finish(database, &summary));
      }
      return summary;
    } else {
      return absl::DataLossError("the stream is damaged: it ends before its catalog");
    }
  }
}

}  // namespace alos

#endif  // ALOS_MAINTENANCE_BACKUP_H_
