// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Makes a damaged database one that opens and works, without deleting anything: what is damaged is
// moved into DATABASE/lost+found/TIME, with a list (report.json) of where it was, whose it was and
// what was done about it.
//
//   one flipped bit      is put right, where the checksum says which one it was
//   a damaged version    its bytes are moved; the document is deleted, or, if the operator says so,
//                        its previous version stays. The previous version is kept beside the bytes
//   unreadable bytes     moved. Documents that had their newest version there are found out with
//                        the checkpoint of the primary index, and deleted likewise. Where no
//                        checkpoint tells, the operator has to decide
//   header of a log      written again: what it says is known from elsewhere
//   journal              what is sound of it is put into the logs, the files are moved
//   checkpoints, indexes moved; the next start builds them again
//   manifest             the copy is put in its place
//   a missing log        only a backup has it; or the operator accepts the loss
//   decisions over       what can be read of them stays in the log, for the next start; its files
//   several databases    are moved into .joint/lost+found/TIME

#ifndef ALOS_MAINTENANCE_REPAIR_H_
#define ALOS_MAINTENANCE_REPAIR_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/posix_file_system.h"
#include "alos/base/private_file_system.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/joint_log.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/policies.h"
#include "alos/index/primary_index.h"
#include "alos/maintenance/check.h"
#include "alos/maintenance/finding.h"
#include "alos/maintenance/internal/bit_correction.h"
#include "alos/maintenance/internal/log_check.h"
#include "alos/storage/atomic_file.h"
#include "alos/storage/journal.h"
#include "alos/storage/manifest.h"

namespace alos {

struct RepairOptions {
  std::vector<std::string> databases = {};  // empty: all
  // A document whose newest version is damaged: its previous one stays. Else it is deleted.
  bool keep_previous = false;
  // The same for documents of which nobody can tell whether a newer version was in bytes that
  // cannot be read. nullopt: kFailedPrecondition, which says how many there are.
  std::optional<bool> keep_uncertain = std::nullopt;
  // A log that is missing becomes an empty one. Else kFailedPrecondition.
  bool accept_missing_logs = false;
  bool dry_run = false;  // say what would be done
};

// Something that was done.
struct RepairAction {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::string collection = {};
  std::string document = {};
  std::string what;
  std::string saved_as = {};  // in lost+found

  std::string ToString() const {
    std::string text = file;
    if (bytes != 0) absl::StrAppend(&text, ": offset ", offset, " (", bytes, " bytes)");
    if (!collection.empty()) absl::StrAppend(&text, ": collection '", collection, "'");
    if (!document.empty()) absl::StrAppend(&text, ": document ", document);
    absl::StrAppend(&text, ": ", what);
    if (!saved_as.empty()) absl::StrAppend(&text, "; kept as ", saved_as);
    return text;
  }
};

struct RepairReport {
  std::vector<RepairAction> actions;
  std::vector<std::string> lost_and_found;  // the folders that were made
  std::uint64_t restored = 0;               // records in which a bit was put right
  std::uint64_t deleted = 0;                // documents
  std::uint64_t kept = 0;                   // documents of which a previous version stays
  CheckReport check;                        // afterwards
};

namespace maintenance_internal {

// One database. Threads: one. Lifetime: file system and report outlive it.
template <class PoliciesType>
class DatabaseRepair {
 public:
  using FileSystem = typename PoliciesType::FileSystem;
  using Logs = BasicLogCheck<PoliciesType>;
  using Log = typename Logs::Log;

  DatabaseRepair(FileSystem* file_system, std::string directory, const RepairOptions& options,
                 std::string lost_and_found, RepairReport* report)
      : file_system_(*file_system),
        directory_(std::move(directory)),
        options_(options),
        lost_and_found_(std::move(lost_and_found)),
        report_(*report) {}

  // `damaged`: what checking found. Writes what it saves before it changes anything.
  absl::Status Run(const std::vector<Finding>& damaged) {
    ALOS_RETURN_IF_ERROR(file_system_.CreateDirectories(lost_and_found_));
    ALOS_RETURN_IF_ERROR(RepairManifest());
    ALOS_RETURN_IF_ERROR(RepairHeaders());
    ALOS_RETURN_IF_ERROR(RepairJournal());
    ALOS_RETURN_IF_ERROR(RepairLogs());
    ALOS_RETURN_IF_ERROR(MoveDerived(damaged));
    return WriteReport();
  }

 private:
  struct Loss {
    std::uint32_t shard = 0;
    std::uint64_t offset = 0;  // of the version that is left
  };

  void Note(RepairAction action) { report_.actions.push_back(std::move(action)); }

  // Writes bytes into a file of lost+found and returns its name there.
  absl::StatusOr<std::string> Save(std::string_view name, std::string_view bytes) {
    const std::string path = absl::StrCat(lost_and_found_, "/", name);
    ALOS_ASSIGN_OR_RETURN(auto file, file_system_.Open(path, OpenMode::kCreate));
    ALOS_RETURN_IF_ERROR(file->WriteAt(0, bytes));
    ALOS_RETURN_IF_ERROR(file->Sync());
    return std::string(name);
  }
  absl::Status Move(const std::string& name, std::string_view why) {
    ALOS_RETURN_IF_ERROR(file_system_.Rename(absl::StrCat(directory_, "/", name),
                                             absl::StrCat(lost_and_found_, "/", name)));
    Note({.file = absl::StrCat(directory_, "/", name),
          .what = absl::StrCat("moved: ", why),
          .saved_as = name});
    return absl::OkStatus();
  }
  absl::Status SyncDirectories() {
    ALOS_RETURN_IF_ERROR(file_system_.SyncDirectory(lost_and_found_));
    return file_system_.SyncDirectory(directory_);
  }

  absl::Status RepairManifest() {
    const std::string path = absl::StrCat(directory_, "/", kManifestFileName);
    const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, path);
    if (!bytes.ok() && !absl::IsNotFound(bytes.status())) return bytes.status();
    absl::StatusOr<Manifest> manifest =
        bytes.ok() ? DecodeManifest(path, *bytes) : absl::StatusOr<Manifest>(bytes.status());
    if (absl::IsFailedPrecondition(manifest.status())) return manifest.status();
    if (!manifest.ok()) {
      const std::string copy_path = absl::StrCat(directory_, "/", kManifestCopyFileName);
      const absl::StatusOr<std::string> copy = ReadWholeFile(file_system_, copy_path);
      absl::StatusOr<Manifest> decoded =
          copy.ok() ? DecodeManifest(copy_path, *copy) : absl::StatusOr<Manifest>(copy.status());
      if (!decoded.ok()) {
        return absl::FailedPreconditionError(absl::StrCat(
            manifest.status().message(), "; and there is no copy that could take its place: ",
            decoded.status().message(), ". Restore the database from a backup (alos restore)"));
      }
      if (bytes.ok()) ALOS_RETURN_IF_ERROR(Move(std::string(kManifestFileName), "it is damaged"));
      ALOS_RETURN_IF_ERROR(ReplaceFile(file_system_, directory_, kManifestFileName, *copy));
      Note({.file = path, .what = "its copy was put in its place"});
      manifest = *std::move(decoded);
    }
    manifest_ = *std::move(manifest);
    return absl::OkStatus();
  }

  absl::Status RepairHeaders() {
    for (std::uint32_t i = 0; i < manifest_.shard_count; ++i) {
      const std::string name = absl::StrFormat("shard_%03d.db", i);
      const std::string path = absl::StrCat(directory_, "/", name);
      const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, path);
      const ShardIdentity identity{manifest_.database_id, i};
      const std::uint64_t first = engine_internal::FirstGeneration(manifest_.database_id, i);
      if (absl::IsNotFound(bytes.status())) {
        if (!manifest_.shards_made[i]) continue;
        if (!options_.accept_missing_logs) {
          return absl::FailedPreconditionError(
              absl::StrCat(path,
                           ": the file is missing. Restore it from a backup; or, with "
                           "--accept-missing-logs, go on without the documents that were in it"));
        }
        EpochManager epochs;
        ALOS_ASSIGN_OR_RETURN(const auto made,
                              Log::Create(file_system_, path, identity, first, &epochs));
        ALOS_RETURN_IF_ERROR(made->Sync());
        ALOS_RETURN_IF_ERROR(file_system_.SyncDirectory(directory_));
        Note({.file = path, .what = "was missing: made anew, empty"});
        continue;
      }
      ALOS_RETURN_IF_ERROR(bytes.status());
      EpochManager epochs;
      const absl::Status opened = Log::Open(file_system_, path, identity, &epochs).status();
      if (!absl::IsDataLoss(opened)) {
        ALOS_RETURN_IF_ERROR(opened);
        continue;
      }
      if (!manifest_.shards_made[i]) continue;  // the start writes it again
      // The checkpoint knows the generation, too.
      std::vector<std::uint64_t> generations = {first};
      const absl::StatusOr<std::string> sidx =
          ReadWholeFile(file_system_, absl::StrFormat("%s/shard_%03d.sidx", directory_, i));
      if (sidx.ok()) {
        if (const auto checkpoint = DecodePrimaryCheckpoint(*sidx); checkpoint.ok())
          generations.push_back(checkpoint->generation);
      }
      bool done = false;
      for (const std::uint64_t generation : generations) {
        if (!Log::HasRecords(*bytes, generation)) continue;
        ALOS_ASSIGN_OR_RETURN(std::string saved,
                              Save(absl::StrCat(name, ".0"),
                                   std::string_view(*bytes).substr(0, Log::kFirstRecordOffset)));
        ALOS_RETURN_IF_ERROR(SyncDirectories());
        ALOS_ASSIGN_OR_RETURN(const auto file, file_system_.Open(path, OpenMode::kReadWrite));
        const std::string header = Log::FileHeader(identity, generation);
        ALOS_RETURN_IF_ERROR(file->WriteAt(0, header));
        if (absl::IsDataLoss(Log::Open(file_system_, path, identity, &epochs).status())) {
          // What else stands before the first record is damaged, too: where the log begins. Then it
          // begins in front, with bytes that cannot be read.
          ALOS_RETURN_IF_ERROR(file->WriteAt(
              header.size(), std::string(Log::kFirstRecordOffset - header.size(), '\0')));
        }
        ALOS_RETURN_IF_ERROR(file->Sync());
        Note({.file = path,
              .bytes = Log::kFirstRecordOffset,
              .what = "the file header was written again",
              .saved_as = std::move(saved)});
        done = true;
        break;
      }
      if (!done) {
        return absl::FailedPreconditionError(
            absl::StrCat(opened.message(),
                         "; no record in it can be read. Or move the file away and run alos "
                         "repair --accept-missing-logs"));
      }
    }
    return absl::OkStatus();
  }

  // A journal that is damaged: what is sound goes into the logs, then the files are moved.
  absl::Status RepairJournal() {
    const auto read = ReplayJournal(file_system_, directory_, manifest_.database_id,
                                    [](const CommitRecord&) { return absl::OkStatus(); });
    if (!absl::IsDataLoss(read.status())) return read.status();
    engine_internal::ShardContext<PoliciesType> context;
    EpochManager epochs;
    context.file_system = &file_system_;
    context.epochs = &epochs;
    context.directory = directory_;
    context.database_id = manifest_.database_id;
    context.hash_seed = manifest_.hash_seed;
    std::vector<std::unique_ptr<engine_internal::Shard<PoliciesType>>> shards;
    for (std::uint32_t i = 0; i < manifest_.shard_count; ++i) {
      shards.push_back(
          std::make_unique<engine_internal::Shard<PoliciesType>>(&context, i, std::size_t{0}));
      ALOS_RETURN_IF_ERROR(shards[i]->OpenLog(manifest_.shards_made[i]));
    }
    std::uint64_t records = 0;
    ALOS_RETURN_IF_ERROR(
        SalvageJournal(file_system_, directory_, [&](const CommitRecord& record) -> absl::Status {
          if (record.shard >= shards.size()) return absl::OkStatus();
          ALOS_RETURN_IF_ERROR(shards[record.shard]->EnsureLog());
          Log* log = shards[record.shard]->log();
          if (log->generation() != record.generation ||
              CheckRecord(record.bytes.data(), record.bytes.size(), record.generation,
                          record.offset) != RecordState::kValid) {
            return absl::OkStatus();
          }
          ++records;
          return log->Restore(record.offset, record.bytes);
        }));
    for (const auto& shard : shards) {
      if (shard->log() != nullptr) ALOS_RETURN_IF_ERROR(shard->log()->Sync());
    }
    ALOS_RETURN_IF_ERROR(file_system_.SyncDirectory(directory_));
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> sequences,
                          ListJournal(file_system_, directory_));
    for (const std::uint64_t sequence : sequences) {
      ALOS_RETURN_IF_ERROR(
          Move(JournalFileName(sequence),
               absl::StrCat("the journal is damaged (", read.status().message(), "); ", records,
                            " sound records of it are in the logs")));
    }
    return SyncDirectories();
  }

  absl::Status RepairLogs() {
    FindingList findings;
    CheckCounts counts;
    Logs logs(&file_system_, directory_, &findings);
    ALOS_ASSIGN_OR_RETURN(const bool has_manifest, logs.ReadManifest());
    if (!has_manifest) return absl::InternalError("the manifest could not be repaired");
    ALOS_RETURN_IF_ERROR(logs.ReadLogs(&counts));
    std::vector<Loss> lost;
    std::vector<Loss> uncertain;
    FindLosses(logs, &lost, &uncertain);
    if (!uncertain.empty() && !options_.keep_uncertain) {
      return absl::FailedPreconditionError(absl::StrCat(
          directory_, ": some bytes cannot be read, and ", uncertain.size(),
          " documents may have had a newer version there, among them ",
          Describe(logs, uncertain[0]),
          ". Restore the database from a backup; or decide: --uncertain=keep leaves them as they "
          "are in older records, --uncertain=delete deletes them (a copy stays in lost+found)"));
    }
    if (!uncertain.empty() && !*options_.keep_uncertain) {
      lost.insert(lost.end(), uncertain.begin(), uncertain.end());
    } else {
      report_.kept += uncertain.size();
      for (const Loss& loss : uncertain)
        NoteLoss(logs, loss, "perhaps; it stays as it is in this record", "");
    }

    for (std::uint32_t i = 0; i < logs.shards().size(); ++i)
      ALOS_RETURN_IF_ERROR(SaveExtents(logs, i));
    ALOS_RETURN_IF_ERROR(SavePrevious(logs, lost));
    ALOS_RETURN_IF_ERROR(SyncDirectories());
    // Deletions first: a crash behind them leaves nothing that could come back.
    if (!options_.keep_previous) ALOS_RETURN_IF_ERROR(DeleteLost(logs, lost));
    if (options_.keep_previous) {
      report_.kept += lost.size();
      for (const Loss& loss : lost) NoteLoss(logs, loss, "a previous version stays");
    }
    for (std::uint32_t i = 0; i < logs.shards().size(); ++i) {
      if (!logs.shards()[i].damaged.empty()) ALOS_RETURN_IF_ERROR(RepairLog(logs, i));
    }
    CorrectTransactions(logs);
    for (const auto& facts : logs.shards()) {
      if (facts.is_readable && facts.shard->log() != nullptr)
        ALOS_RETURN_IF_ERROR(facts.shard->log()->Sync());
    }
    // The logs have all that the journal says.
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> sequences,
                          ListJournal(file_system_, directory_));
    for (const std::uint64_t sequence : sequences) {
      ALOS_RETURN_IF_ERROR(
          file_system_.Remove(absl::StrCat(directory_, "/", JournalFileName(sequence))));
    }
    return SyncDirectories();
  }

  static std::string Describe(Logs& logs, const Loss& loss) {
    const RecordView record(logs.shards()[loss.shard].shard->log()->At(loss.offset));
    return absl::StrCat("document ", engine_internal::DescribeId(record.id()), " of collection '",
                        logs.CollectionName(record.header().collection), "'");
  }
  void NoteLoss(Logs& logs, const Loss& loss, std::string what,
                std::string saved_as = kPreviousFileName) {
    const RecordView record(logs.shards()[loss.shard].shard->log()->At(loss.offset));
    Note({.file = logs.LogPath(loss.shard),
          .offset = loss.offset,
          .bytes = record.header().size,
          .collection = logs.CollectionName(record.header().collection),
          .document = engine_internal::DescribeId(record.id()),
          .what = absl::StrCat("its newest version was in bytes that cannot be read: ", what),
          .saved_as = std::move(saved_as)});
  }

  // Which documents had their newest version in bytes whose owner is not known.
  void FindLosses(Logs& logs, std::vector<Loss>* lost, std::vector<Loss>* uncertain) {
    for (std::uint32_t i = 0; i < logs.shards().size(); ++i) {
      auto& facts = logs.shards()[i];
      if (facts.damaged.empty()) continue;
      const std::optional<PrimaryCheckpoint>& checkpoint = logs.checkpoint(i);
      const std::uint64_t known_end = checkpoint ? checkpoint->log_end : 0;
      bool known = false;                        // there are such bytes that the checkpoint covers
      std::uint64_t unknown_from = 0;            // the last that it does not cover
      absl::flat_hash_set<std::uint64_t> owned;  // what is known of whom the damaged bytes are
      for (const DamagedExtent& extent : facts.damaged) {
        for (std::uint64_t offset = extent.offset; offset < extent.end;) {
          const std::optional<std::string> record = Recognize(logs, i, offset, extent.end);
          if (!record) {
            if (offset < known_end) {
              known = true;
            } else {
              unknown_from = offset;
            }
            break;
          }
          const RecordView view(record->data());
          owned.insert(engine_internal::DocumentHash(view.header().collection, view.id(),
                                                     manifest_.hash_seed));
          offset = NextRecordOffset(offset + view.header().size);
        }
      }
      if (!known && unknown_from == 0) continue;
      absl::flat_hash_set<std::uint64_t> newest_then;
      if (checkpoint) {
        for (const std::uint64_t slot : checkpoint->slots) {
          if (slot != 0) newest_then.insert(PrimaryIndex::Offset(slot));
        }
      }
      for (const auto& [hash, offset] : facts.newest) {
        if (owned.contains(hash)) continue;
        if (RecordView(facts.shard->log()->At(offset)).header().kind != RecordKind::kPut) continue;
        if (known && offset < known_end && !newest_then.contains(offset)) {
          lost->push_back({i, offset});
        } else if (offset < unknown_from) {
          uncertain->push_back({i, offset});
        }
      }
    }
  }

  // The record that begins there, with its header whole, if there is one: as it is, or with one bit
  // put right.
  static std::optional<std::string> Recognize(Logs& logs, std::uint32_t shard, std::uint64_t offset,
                                              std::uint64_t end) {
    const Log& log = *logs.shards()[shard].shard->log();
    const std::string_view bytes(log.At(offset), end - offset);
    if (CheckRecord(bytes.data(), bytes.size(), log.generation(), offset) !=
        RecordState::kUnrecognizable) {
      return std::string(bytes.substr(0, RecordView(bytes.data()).header().size));
    }
    return CorrectHeader(bytes, log.generation(), offset);
  }

  absl::Status SaveExtents(Logs& logs, std::uint32_t shard) {
    const auto& facts = logs.shards()[shard];
    for (const DamagedExtent& extent : facts.damaged) {
      ALOS_RETURN_IF_ERROR(Save(SavedName(logs, shard, extent),
                                {facts.shard->log()->At(extent.offset), extent.end - extent.offset})
                               .status());
    }
    return absl::OkStatus();
  }
  static std::string SavedName(Logs& logs, std::uint32_t shard, const DamagedExtent& extent) {
    return absl::StrCat(logs.shards()[shard].shard->FileName("db"), ".", extent.offset);
  }

  // The versions that are left of documents that will be deleted, one JSON object a line.
  absl::Status SavePrevious(Logs& logs, const std::vector<Loss>& lost) {
    std::string lines;
    const auto add = [&](std::uint32_t shard, std::uint64_t offset) {
      auto& facts = logs.shards()[shard];
      const RecordView record(facts.shard->log()->At(offset));
      if (record.header().kind != RecordKind::kPut) return;
      const absl::Status visited = facts.shard->VisitRecord(
          offset,
          [&](ValueView document) {
            std::string line;
            Builder(&line)
                .StartDocument()
                .Key("collection")
                .String(logs.CollectionName(record.header().collection))
                .Key("shard")
                .Uint(shard)
                .Key("offset")
                .Uint(offset)
                .Key("document")
                .Raw(document)
                .EndDocument();
            absl::StrAppend(&lines, ToJson(ValueView::FromTrusted(line)), "\n");
          },
          false);
      (void)visited;  // then it is one of the damaged extents itself
    };
    for (const Loss& loss : lost) add(loss.shard, loss.offset);
    for (std::uint32_t i = 0; i < logs.shards().size(); ++i) {
      const auto& facts = logs.shards()[i];
      for (const DamagedExtent& extent : facts.damaged) {
        if (!extent.document) continue;
        const auto newest = facts.newest.find(engine_internal::DocumentHash(
            extent.document->first, extent.document->second, manifest_.hash_seed));
        if (newest != facts.newest.end() && newest->second < extent.offset) add(i, newest->second);
      }
    }
    return lines.empty() ? absl::OkStatus() : Save(kPreviousFileName, lines).status();
  }

  absl::Status DeleteLost(Logs& logs, const std::vector<Loss>& lost) {
    std::uint64_t newest = 0;
    for (const auto& facts : logs.shards()) newest = std::max(newest, facts.newest_timestamp);
    for (const Loss& loss : lost) {
      NoteLoss(logs, loss, "deleted");
      Log& log = *logs.shards()[loss.shard].shard->log();
      const std::string id(RecordView(log.At(loss.offset)).id());
      RecordHeader header{};
      header.kind = RecordKind::kDelete;
      header.collection = RecordView(log.At(loss.offset)).header().collection;
      header.previous_offset = loss.offset;
      ALOS_ASSIGN_OR_RETURN(const auto prepared, log.Prepare(header, id, {}, 0));
      log.Seal(prepared, ++newest);
      log.Publish();
      ++report_.deleted;
    }
    for (const auto& facts : logs.shards()) {
      if (facts.is_readable && facts.shard->log() != nullptr && !facts.damaged.empty())
        ALOS_RETURN_IF_ERROR(facts.shard->log()->Sync());
    }
    return absl::OkStatus();
  }

  absl::Status RepairLog(Logs& logs, std::uint32_t shard) {
    auto& facts = logs.shards()[shard];
    changed_.insert(facts.shard->FileName("sidx"));
    Log& log = *facts.shard->log();
    for (const DamagedExtent& extent : facts.damaged) {
      const std::string saved = SavedName(logs, shard, extent);
      std::uint64_t offset = extent.offset;
      while (offset < extent.end) {
        std::optional<std::string> record = Recognize(logs, shard, offset, extent.end);
        if (!record) {
          Note({.file = logs.LogPath(shard),
                .offset = offset,
                .bytes = extent.end - offset,
                .what = "unreadable bytes were taken out",
                .saved_as = saved});
          Fill(log, offset, extent.end, extent.timestamp_min);
          break;
        }
        ALOS_RETURN_IF_ERROR(RepairRecord(logs, shard, offset, saved, *std::move(record)));
        offset = NextRecordOffset(offset + RecordView(log.At(offset)).header().size);
      }
    }
    return absl::OkStatus();
  }

  // `record`: with its header whole.
  absl::Status RepairRecord(Logs& logs, std::uint32_t shard, std::uint64_t offset,
                            const std::string& saved, std::string record) {
    auto& facts = logs.shards()[shard];
    Log& log = *facts.shard->log();
    const RecordHeader header = RecordView(record.data()).header();
    const std::string id(RecordView(record.data()).id());
    const bool is_version = header.kind == RecordKind::kPut || header.kind == RecordKind::kDelete;
    RepairAction action{
        .file = logs.LogPath(shard), .offset = offset, .bytes = header.size, .saved_as = saved};
    if (is_version) {
      action.collection = logs.CollectionName(header.collection);
      action.document = engine_internal::DescribeId(id);
    }
    const std::size_t body_begin = kRecordHeaderSize + header.id_size;
    const std::string_view body = std::string_view(record).substr(body_begin);
    bool is_whole = (header.flags & kBodyUnchecked) != 0 || Crc32c(body) == header.body_checksum;
    if (!is_whole) {
      if (const std::optional<std::size_t> bit = FindFlippedBit(body, header.body_checksum)) {
        FlipBit(body_begin * 8 + *bit, &record);
        is_whole = Crc32c(std::string_view(record).substr(body_begin)) == header.body_checksum;
      }
    }
    if (is_whole) {
      ALOS_RETURN_IF_ERROR(log.Restore(offset, record));
      action.what = "one flipped bit was put right";
      ++report_.restored;
      if (is_version && header.transaction_record_count > 0)
        more_records_[header.commit_timestamp].emplace_back(shard, offset);
      Note(std::move(action));
      return absl::OkStatus();
    }
    const std::uint64_t hash =
        engine_internal::DocumentHash(header.collection, id, manifest_.hash_seed);
    const auto newest = facts.newest.find(hash);
    const bool is_newest = newest == facts.newest.end() || newest->second < offset;
    RecordHeader next = header;
    if (options_.keep_previous) {
      next.kind = RecordKind::kAborted;
      const bool has_previous =
          newest != facts.newest.end() &&
          RecordView(log.At(newest->second)).header().kind == RecordKind::kPut;
      action.what = !is_newest     ? "an old version was damaged and was taken out"
                    : has_previous ? "its newest version was damaged: the previous one stays"
                                   : "was damaged and has no previous version: it is gone";
      report_.kept += is_newest && has_previous ? 1 : 0;
      report_.deleted += is_newest && !has_previous ? 1 : 0;
    } else {
      next.kind = RecordKind::kDelete;
      action.what = is_newest ? "its newest version was damaged: deleted"
                              : "an old version was damaged and was taken out";
      report_.deleted += is_newest ? 1 : 0;
      if (header.transaction_record_count > 0)
        more_records_[header.commit_timestamp].emplace_back(shard, offset);
    }
    log.Overwrite(offset, header.size, next, id);
    Note(std::move(action));
    return absl::OkStatus();
  }

  // Puts records that say nothing in place of [offset, end).
  static void Fill(Log& log, std::uint64_t offset, std::uint64_t end, std::uint64_t timestamp) {
    constexpr std::uint64_t kStep = std::uint64_t{1} << 29;  // a multiple of the sector
    RecordHeader header{};
    header.kind = RecordKind::kAborted;
    header.commit_timestamp = timestamp;
    while (offset < end) {
      // What is left behind it must be enough for another one.
      std::uint64_t size = end - offset;
      if (size > kStep) size = kStep - offset % kSectorSize;
      size = std::max<std::uint64_t>(size, kRecordHeaderSize);
      if (offset + size > log.end()) return;  // no record was ever that small
      log.Overwrite(offset, size, header, {});
      offset += size;
    }
  }

  // A transaction that lost records consists of the others from now on: they must not be undone.
  void CorrectTransactions(Logs& logs) {
    for (const auto& [timestamp, transaction] : logs.transactions()) {
      std::vector<std::pair<std::uint32_t, std::uint64_t>> records = transaction.records;
      if (const auto more = more_records_.find(timestamp); more != more_records_.end())
        records.insert(records.end(), more->second.begin(), more->second.end());
      if (records.size() == transaction.expected) continue;
      if (timestamp > logs.complete_until() && !logs.MayBeDamaged(timestamp)) continue;
      for (const auto& [shard, offset] : records) {
        logs.shards()[shard].shard->log()->SetTransactionRecordCount(
            offset, static_cast<std::uint32_t>(records.size()));
        changed_.insert(logs.shards()[shard].shard->FileName("sidx"));
      }
    }
    for (const auto& [timestamp, records] : more_records_) {
      if (logs.transactions().contains(timestamp)) continue;
      for (const auto& [shard, offset] : records) {
        logs.shards()[shard].shard->log()->SetTransactionRecordCount(
            offset, static_cast<std::uint32_t>(records.size()));
      }
    }
  }

  // What can be built again, where it is damaged or no longer fits.
  absl::Status MoveDerived(const std::vector<Finding>& damaged) {
    absl::flat_hash_set<std::string> names;
    for (const Finding& finding : damaged) {
      if (finding.severity != Finding::Severity::kDamage) continue;
      const std::string name = finding.file.substr(finding.file.rfind('/') + 1);
      if (!absl::EndsWith(name, ".db") && name != kManifestFileName) names.insert(name);
    }
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                          file_system_.ListDirectory(directory_));
    for (const std::string& name : files) {
      const bool is_index = name.front() == 'c' &&
                            (absl::EndsWith(name, ".indexes") || absl::StrContains(name, "_s"));
      const bool is_checkpoint = absl::EndsWith(name, ".sidx");
      if (names.contains(name) && (is_index || is_checkpoint)) {
        ALOS_RETURN_IF_ERROR(Move(name, "it is damaged; the next start builds it again"));
      } else if (changed_.contains(name) || (is_index && !changed_.empty())) {
        ALOS_RETURN_IF_ERROR(Move(name, "the next start builds it again"));
      } else if (names.contains(name) && name == kManifestCopyFileName) {
        ALOS_RETURN_IF_ERROR(Move(name, "it is damaged; the next start makes it again"));
      }
    }
    return SyncDirectories();
  }

  absl::Status WriteReport() {
    std::string bytes;
    Builder builder(&bytes);
    builder.StartDocument().Key("repaired_at").String(absl::FormatTime(absl::Now()));
    builder.Key("actions").StartArray();
    for (const RepairAction& action : report_.actions) {
      if (!absl::StartsWith(action.file, absl::StrCat(directory_, "/"))) continue;
      builder.StartDocument();
      builder.Key("file").String(action.file);
      if (action.bytes != 0) {
        builder.Key("offset").Uint(action.offset);
        builder.Key("bytes").Uint(action.bytes);
      }
      if (!action.collection.empty()) builder.Key("collection").String(action.collection);
      if (!action.document.empty()) builder.Key("document").String(action.document);
      builder.Key("what").String(action.what);
      if (!action.saved_as.empty()) builder.Key("saved_as").String(action.saved_as);
      builder.EndDocument();
    }
    builder.EndArray().EndDocument();
    ALOS_RETURN_IF_ERROR(
        Save("report.json", absl::StrCat(ToJson(ValueView::FromTrusted(bytes)), "\n")).status());
    return SyncDirectories();
  }

  static constexpr const char* kPreviousFileName = "previous_versions.ndjson";

  FileSystem& file_system_;
  const std::string directory_;
  const RepairOptions& options_;
  const std::string lost_and_found_;
  RepairReport& report_;
  Manifest manifest_;
  absl::flat_hash_set<std::string> changed_;  // checkpoints that no longer fit
  // Records of transactions that were put right or became deletions, by commit timestamp.
  absl::flat_hash_map<std::uint64_t, std::vector<std::pair<std::uint32_t, std::uint64_t>>>
      more_records_;
};

// The log of transactions over several databases. Nothing when it can be read. What cannot was
// acknowledged: a part of it may be missing in some of its databases.
template <class FileSystem>
absl::Status RepairJointLog(FileSystem& file_system, const std::string& data_path,
                            std::string_view when, RepairReport* report) {
  engine_internal::JointLog<FileSystem> log(&file_system, data_path);
  const absl::Status loaded = log.Load().status();
  if (!absl::IsDataLoss(loaded)) return loaded;
  const std::string directory = absl::StrCat(data_path, "/", engine_internal::kJointDirectory);
  const std::string lost_and_found = absl::StrCat(directory, "/lost+found/", when);
  ALOS_RETURN_IF_ERROR(file_system.CreateDirectories(lost_and_found));
  ALOS_ASSIGN_OR_RETURN(const auto salvaged, log.Salvage());
  for (const std::string& name : salvaged.old_segments) {
    const std::string path = absl::StrCat(directory, "/", name);
    ALOS_RETURN_IF_ERROR(file_system.Rename(path, absl::StrCat(lost_and_found, "/", name)));
    report->actions.push_back(
        {.file = path,
         .what = absl::StrCat("moved: the log of transactions over several databases is damaged; ",
                              salvaged.decisions, " that can be read were kept"),
         .saved_as = name});
  }
  ALOS_RETURN_IF_ERROR(file_system.SyncDirectory(lost_and_found));
  ALOS_RETURN_IF_ERROR(file_system.SyncDirectory(directory));
  report->lost_and_found.push_back(lost_and_found);
  return absl::OkStatus();
}

}  // namespace maintenance_internal

// Repairs what checking finds damaged; nothing is written when it finds nothing. All is tried in
// memory first: when that ends with an error (a decision that the operator has to make, a damage
// that only a backup can heal), the directory is as it was.
// Errors: kFailedPrecondition: somebody has the directory open, or options decide too little.
// Durability: what is saved, before what is changed; both when it returns. It may be interrupted
// and repeated.
inline absl::StatusOr<RepairReport> RepairDataDirectory(const std::string& data_path,
                                                        const RepairOptions& options) {
  using DiskPolicies = Policies<DefaultDurability>;
  PosixFileSystem system;
  ALOS_ASSIGN_OR_RETURN(const bool exists, system.Exists(data_path));
  if (!exists) return absl::NotFoundError(absl::StrCat(data_path, ": there is no such directory"));
  ALOS_ASSIGN_OR_RETURN(const auto lock, system.LockFile(absl::StrCat(data_path, "/alos.lock")));
  std::vector<std::string> databases = options.databases;
  if (databases.empty()) {
    ALOS_ASSIGN_OR_RETURN(databases, FindDatabases(data_path));
  }
  RepairReport report;
  const std::string when = absl::FormatTime("%Y%m%dT%H%M%E6SZ", absl::Now(), absl::UTCTimeZone());
  for (const std::string& name : databases) {
    const CheckOptions check{.databases = {name}, .take_lock = false};
    ALOS_ASSIGN_OR_RETURN(const CheckReport before, CheckDataDirectory(data_path, check));
    if (before.is_sound()) continue;
    const std::string directory = absl::StrCat(data_path, "/", name);
    const std::string lost_and_found = absl::StrCat(directory, "/lost+found/", when);
    {
      PrivateFileSystem file_system;
      RepairReport tried;
      RepairReport& made = options.dry_run ? report : tried;
      ALOS_RETURN_IF_ERROR(
          maintenance_internal::DatabaseRepair<maintenance_internal::CheckPolicies>(
              &file_system, directory, options, lost_and_found, &made)
              .Run(before.findings));
    }
    if (options.dry_run) continue;
    ALOS_RETURN_IF_ERROR(maintenance_internal::DatabaseRepair<DiskPolicies>(
                             &system, directory, options, lost_and_found, &report)
                             .Run(before.findings));
    report.lost_and_found.push_back(lost_and_found);
  }
  if (options.databases.empty()) {
    if (options.dry_run) {
      PrivateFileSystem file_system;
      RepairReport tried;
      ALOS_RETURN_IF_ERROR(
          maintenance_internal::RepairJointLog(file_system, data_path, when, &tried));
      report.actions.insert(report.actions.end(), tried.actions.begin(), tried.actions.end());
    } else {
      ALOS_RETURN_IF_ERROR(maintenance_internal::RepairJointLog(system, data_path, when, &report));
    }
  }
  ALOS_ASSIGN_OR_RETURN(report.check, CheckDataDirectory(data_path, {.databases = options.databases,
                                                                     .take_lock = false}));
  return report;
}

}  // namespace alos

#endif  // ALOS_MAINTENANCE_REPAIR_H_
