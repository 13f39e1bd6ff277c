// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Reads the logs of one database from their first record to their last, and remembers of them what
// checkpoints and indexes are compared with.

#ifndef ALOS_MAINTENANCE_INTERNAL_LOG_CHECK_H_
#define ALOS_MAINTENANCE_INTERNAL_LOG_CHECK_H_

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
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/epoch.h"
#include "alos/base/parallel.h"
#include "alos/base/private_file_system.h"
#include "alos/base/status_macros.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/internal/stored_body.h"
#include "alos/engine/policies.h"
#include "alos/index/primary_checkpoint.h"
#include "alos/index/primary_index.h"
#include "alos/maintenance/finding.h"
#include "alos/storage/atomic_file.h"
#include "alos/storage/journal.h"
#include "alos/storage/manifest.h"

namespace alos::maintenance_internal {

using CheckPolicies = Policies<DefaultDurability, PrivateFileSystem>;

// What is known of a shard once its log has been read.
template <class Policies>
struct ShardFacts {
  std::unique_ptr<engine_internal::Shard<Policies>> shard;
  bool is_readable = false;  // there is a log, and its header is good
  // Of each document the newest record, by the hash of collection and id.
  absl::flat_hash_map<std::uint64_t, std::uint64_t> newest;
  // The record at the key was replaced by the one at the value.
  absl::flat_hash_map<std::uint64_t, std::uint64_t> superseded;
  std::vector<DamagedExtent> damaged;
  std::uint64_t newest_timestamp = 0;

  bool IsDamaged(std::uint64_t offset) const {
    for (const DamagedExtent& extent : damaged) {
      if (extent.offset <= offset && offset < extent.end) return true;
    }
    return false;
  }
  // Whether the record at `offset` is the newest of its document among those below `end`.
  bool IsNewestBelow(std::uint64_t offset, std::uint64_t end) const {
    const auto by = superseded.find(offset);
    return by == superseded.end() || by->second >= end;
  }
};

// A transaction, as far as its records were found.
struct TransactionFacts {
  std::uint32_t expected = 0;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> records = {};  // shard and offset
};

// The documents and checkpoints of a database. The journal is replayed, tails are cut and so on:
// through a PrivateFileSystem in memory only.
//
// Threads: one; works on several itself. Lifetime: file system and list outlive it.
// Errors: what is wrong with the data goes to the list; a status says why nothing could be checked.
template <class PoliciesType>
class BasicLogCheck {
 public:
  using Policies = PoliciesType;
  using FileSystem = typename Policies::FileSystem;
  using Shard = engine_internal::Shard<Policies>;
  using Log = typename Shard::Log;

  BasicLogCheck(FileSystem* file_system, std::string directory, FindingList* findings)
      : file_system_(*file_system), directory_(std::move(directory)), findings_(*findings) {}

  const Manifest& manifest() const { return manifest_; }
  const std::string& directory() const { return directory_; }
  std::vector<ShardFacts<Policies>>& shards() { return shards_; }
  EpochManager* epochs() { return &epochs_; }
  const std::optional<PrimaryCheckpoint>& checkpoint(std::uint32_t shard) const {
    return checkpoints_[shard];
  }
  // By commit timestamp.
  const absl::flat_hash_map<std::uint64_t, TransactionFacts>& transactions() const {
    return transactions_;
  }
  // Every transaction up to this was complete when a checkpoint was written.
  std::uint64_t complete_until() const { return complete_until_; }
  // Whether a damaged record may be one of the transaction with this timestamp.
  bool MayBeDamaged(std::uint64_t timestamp) const {
    for (const auto& facts : shards_) {
      for (const DamagedExtent& extent : facts.damaged) {
        if (extent.timestamp_min <= timestamp && timestamp <= extent.timestamp_max) return true;
      }
    }
    return false;
  }
  std::string LogPath(std::uint32_t shard) const {
    return absl::StrCat(directory_, "/", shards_[shard].shard->FileName("db"));
  }

  // False: without its manifest nothing else can be looked at; that has been reported.
  absl::StatusOr<bool> ReadManifest() {
    const std::string path = absl::StrCat(directory_, "/", kManifestFileName);
    const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, path);
    absl::StatusOr<Manifest> manifest =
        bytes.ok() ? DecodeManifest(path, *bytes) : absl::StatusOr<Manifest>(bytes.status());
    if (!manifest.ok()) {
      if (absl::IsFailedPrecondition(manifest.status())) return manifest.status();
      findings_.Add({.file = path, .what = std::string(manifest.status().message())});
      return false;
    }
    manifest_ = *std::move(manifest);
    const std::string copy_path = absl::StrCat(directory_, "/", kManifestCopyFileName);
    const absl::StatusOr<std::string> copy = ReadWholeFile(file_system_, copy_path);
    if (copy.ok() && !DecodeManifest(copy_path, *copy).ok()) {
      findings_.Add({.file = copy_path, .what = "the copy of the manifest is damaged"});
    } else if (copy.ok() && *copy != *bytes) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = copy_path,
                     .what = "is older than the manifest; its next change replaces both"});
    }
    return true;
  }

  absl::Status ReadLogs(CheckCounts* counts) {
    context_.file_system = &file_system_;
    context_.epochs = &epochs_;
    context_.directory = directory_;
    context_.database_id = manifest_.database_id;
    context_.hash_seed = manifest_.hash_seed;
    shards_.resize(manifest_.shard_count);
    durable_ends_.assign(manifest_.shard_count, 0);
    checkpoints_.resize(manifest_.shard_count);
    for (std::uint32_t i = 0; i < manifest_.shard_count; ++i) {
      shards_[i].shard = std::make_unique<Shard>(&context_, i, 0);
      ALOS_RETURN_IF_ERROR(OpenLog(i));
    }
    ALOS_RETURN_IF_ERROR(ReadJournal(counts));
    for (std::uint32_t i = 0; i < manifest_.shard_count; ++i) {
      ReadCheckpoint(i);
      if (shards_[i].is_readable) {
        compacted_until_ =
            std::max(compacted_until_, shards_[i].shard->log()->stored_begin().complete_until);
        complete_until_ = std::max(complete_until_, compacted_until_);
      }
      if (!checkpoints_[i]) continue;
      ++counts->checkpoints;
      complete_until_ = std::max(complete_until_, checkpoints_[i]->transactions_complete_until);
    }
    RunInParallel(shards_.size(), [&](std::size_t i) {
      CheckCounts own;
      ReadLog(static_cast<std::uint32_t>(i), &own);
      absl::MutexLock lock(&mutex_);
      counts->logs += own.logs;
      counts->log_bytes += own.log_bytes;
      counts->records += own.records;
      counts->documents += own.documents;
      counts->versions += own.versions;
      return true;
    });
    CheckTransactions();
    return absl::OkStatus();
  }

  // "" when there is none of this id.
  std::string CollectionName(std::uint32_t id) const {
    for (const auto& collection : manifest_.collections) {
      if (collection.id == id) return collection.name;
    }
    return absl::StrCat("(number ", id, ", dropped)");
  }

 private:
  void Damage(std::uint32_t shard, std::optional<std::uint64_t> offset, std::uint64_t bytes,
              std::string what) {
    findings_.Add({.file = LogPath(shard), .offset = offset, .bytes = bytes, .what = what});
  }
  void RecordDamage(std::uint32_t shard, std::uint64_t offset, const RecordView& record,
                    std::string what) {
    findings_.Add({.file = LogPath(shard),
                   .offset = offset,
                   .bytes = record.header().size,
                   .collection = CollectionName(record.header().collection),
                   .document = engine_internal::DescribeId(record.id()),
                   .what = std::move(what)});
  }
  absl::Status OpenLog(std::uint32_t number) {
    ShardFacts<Policies>& facts = shards_[number];
    const absl::Status opened = facts.shard->OpenLog(manifest_.shards_made[number]);
    if (absl::IsDataLoss(opened) || absl::IsFailedPrecondition(opened)) {
      findings_.Add({.file = LogPath(number), .offset = 0, .what = std::string(opened.message())});
      return absl::OkStatus();
    }
    ALOS_RETURN_IF_ERROR(opened);
    facts.is_readable = facts.shard->log() != nullptr;
    return absl::OkStatus();
  }

  absl::Status ReadJournal(CheckCounts* counts) {
    const absl::StatusOr<JournalRecovery> journal = ReplayJournal(
        file_system_, directory_, manifest_.database_id,
        [&](const CommitRecord& record) -> absl::Status {
          if (record.shard >= shards_.size()) {
            return absl::DataLossError(absl::StrCat(directory_,
                                                    ": the journal has writes for shard ",
                                                    record.shard, ", which does not exist"));
          }
          ShardFacts<Policies>& facts = shards_[record.shard];
          if (!facts.is_readable) {
            if (manifest_.shards_made[record.shard]) return absl::OkStatus();
            ALOS_RETURN_IF_ERROR(facts.shard->EnsureLog());
            facts.is_readable = true;
          }
          if (facts.shard->log()->generation() != record.generation) return absl::OkStatus();
          if (record.offset < facts.shard->log()->begin()) return absl::OkStatus();  // compacted
          if (CheckRecord(record.bytes.data(), record.bytes.size(), record.generation,
                          record.offset) != RecordState::kValid) {
            return absl::DataLossError(absl::StrCat(directory_,
                                                    ": the journal has a damaged record for shard ",
                                                    record.shard, ", offset ", record.offset));
          }
          durable_ends_[record.shard] = record.offset + record.bytes.size();
          return facts.shard->log()->Restore(record.offset, record.bytes);
        });
    if (!journal.ok()) {
      if (!absl::IsDataLoss(journal.status()) && !absl::IsFailedPrecondition(journal.status()))
        return journal.status();
      findings_.Add({.file = absl::StrCat(directory_, "/journal"),
                     .what = std::string(journal.status().message())});
      return absl::OkStatus();
    }
    counts->journal_groups += journal->groups;
    if (journal->found) timestamp_max_ = journal->last_lsn;
    if (journal->torn_bytes != 0) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = absl::StrCat(directory_, "/journal"),
                     .bytes = journal->torn_bytes,
                     .what = "of a commit group that was being written, and was never "
                             "acknowledged; the next start leaves it out"});
    }
    return absl::OkStatus();
  }

  void ReadCheckpoint(std::uint32_t number) {
    ShardFacts<Policies>& facts = shards_[number];
    if (!facts.is_readable) return;
    const std::string path = absl::StrCat(directory_, "/", facts.shard->FileName("sidx"));
    const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, path);
    if (absl::IsNotFound(bytes.status())) return;
    if (bytes.ok() && bytes->size() > 12 &&
        bytes->compare(8, 4, std::string_view("\1\0\0\0", 4)) == 0) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = path,
                     .what = "is of an older version; the next start builds it again"});
      return;
    }
    absl::StatusOr<PrimaryCheckpoint> checkpoint =
        bytes.ok() ? DecodePrimaryCheckpoint(*bytes)
                   : absl::StatusOr<PrimaryCheckpoint>(bytes.status());
    if (!checkpoint.ok()) {
      findings_.Add({.file = path,
                     .what = absl::StrCat(checkpoint.status().message(),
                                          "; the next start builds it again from the log")});
      return;
    }
    if (checkpoint->generation != facts.shard->log()->generation() ||
        checkpoint->log_end > facts.shard->log()->file_size()) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = path,
                     .what = "is of another log; the next start builds it again"});
      return;
    }
    const std::uint64_t begin = facts.shard->log()->begin();
    if (checkpoint->log_end < begin ||
        std::any_of(checkpoint->slots.begin(), checkpoint->slots.end(), [&](std::uint64_t slot) {
          return PrimaryIndex::IsUsed(slot) && PrimaryIndex::Offset(slot) < begin;
        })) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = path,
                     .what = "is older than the last compaction of its log; the next start builds "
                             "it again"});
      return;
    }
    if (checkpoint->last_record >= begin &&
        std::string_view(facts.shard->log()->At(checkpoint->last_record), 8) ==
            std::string_view("\0\0\0\0\0\0\0\0", 8)) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = path,
                     .what = "is newer than the log (a copy of a database that was in use?); the "
                             "next start builds it again"});
      return;
    }
    durable_ends_[number] = std::max(durable_ends_[number], checkpoint->log_end);
    checkpoints_[number] = *std::move(checkpoint);
  }

  void ReadLog(std::uint32_t number, CheckCounts* counts) {
    ShardFacts<Policies>& facts = shards_[number];
    if (!facts.is_readable) return;
    Log& log = *facts.shard->log();
    std::vector<std::uint64_t> odd_chains;
    std::uint64_t last_timestamp = 0;
    const std::optional<PrimaryCheckpoint>& checkpoint = checkpoints_[number];
    bool compared = !checkpoint.has_value();
    const absl::StatusOr<LogRecovery> recovery =
        log.Recover(log.begin(), durable_ends_[number], timestamp_max_,
                    [&](std::uint64_t offset, const RecordView& record) {
                      if (!compared && offset >= checkpoint->log_end) {
                        compared = true;
                        CompareCheckpoint(number, *checkpoint);
                      }
                      ++counts->records;
                      VisitRecord(number, offset, record, &odd_chains, &last_timestamp);
                    });
    if (!recovery.ok()) {
      Damage(number, std::nullopt, 0, std::string(recovery.status().message()));
      return;
    }
    facts.damaged = recovery->damaged;
    if (!compared && facts.damaged.empty()) CompareCheckpoint(number, *checkpoint);
    ++counts->logs;
    counts->log_bytes += log.end() - log.begin();
    for (const DamagedExtent& extent : facts.damaged) {
      Finding finding{.file = LogPath(number),
                      .offset = extent.offset,
                      .bytes = extent.end - extent.offset,
                      .what =
                          "the record is damaged; it is not served (alos repair moves it out "
                          "of the way)"};
      if (extent.document) {
        finding.collection = CollectionName(extent.document->first);
        finding.document = engine_internal::DescribeId(extent.document->second);
      }
      findings_.Add(std::move(finding));
    }
    // A chain that leads into a damaged extent, or to a record that such an extent had replaced,
    // is damaged there, and that has been said.
    if (facts.damaged.empty()) {
      for (const std::uint64_t offset : odd_chains) {
        const RecordView record(log.At(offset));
        RecordDamage(number, offset, record,
                     absl::StrCat("says that its previous version is at offset ",
                                  record.header().previous_offset, ", where it is not"));
      }
    }
    const std::uint64_t cut = recovery->torn_bytes + recovery->unacknowledged_bytes;
    if (cut != 0) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = LogPath(number),
                     .offset = log.end(),
                     .bytes = cut,
                     .what = "behind the end of the log: an interrupted write that was not "
                             "acknowledged; the next start cuts it"});
    }
    for (const auto& [hash, offset] : facts.newest) {
      if (RecordView(log.At(offset)).header().kind == RecordKind::kPut) ++counts->documents;
    }
    counts->versions = counts->records - counts->documents;
  }

  void VisitRecord(std::uint32_t number, std::uint64_t offset, const RecordView& record,
                   std::vector<std::uint64_t>* odd_chains, std::uint64_t* last_timestamp) {
    ShardFacts<Policies>& facts = shards_[number];
    const Log& log = *facts.shard->log();
    const RecordHeader& header = record.header();
    facts.newest_timestamp = std::max(facts.newest_timestamp, header.commit_timestamp);
    if (header.kind == RecordKind::kDurableMark || header.kind == RecordKind::kAborted) return;
    if (header.transaction_record_count > 0) {
      absl::MutexLock lock(&mutex_);
      TransactionFacts& transaction = transactions_[header.commit_timestamp];
      transaction.expected = header.transaction_record_count;
      transaction.records.emplace_back(number, offset);
    }
    if (header.commit_timestamp < *last_timestamp)
      RecordDamage(number, offset, record, "is older than the record before it");
    *last_timestamp = std::max(*last_timestamp, header.commit_timestamp);
    const std::uint64_t hash =
        engine_internal::DocumentHash(header.collection, record.id(), manifest_.hash_seed);
    if (engine_internal::ShardNumber(hash, shards_.size()) != number)
      RecordDamage(number, offset, record, "does not belong into this shard");
    std::uint64_t& newest = facts.newest[hash];
    if (newest != 0) {
      const RecordView before(log.At(newest));
      if (before.header().collection != header.collection || before.id() != record.id()) {
        RecordDamage(number, offset, record, "has the hash of another document");
        return;
      }
    }
    if (header.previous_offset != newest) {
      // Compacted away; or a deletion that a compaction, which was not finished, had forgotten.
      const bool is_gone =
          newest == 0 ? header.previous_offset < log.begin()
                      : header.previous_offset == 0 &&
                            RecordView(log.At(newest)).header().kind == RecordKind::kDelete;
      if (!is_gone) odd_chains->push_back(offset);
    }
    if (newest != 0) facts.superseded[newest] = offset;
    newest = offset;
    if (header.kind == RecordKind::kPut) CheckBody(number, offset, record);
  }

  // The checksum of the body holds; is it a document, and the one that the header says?
  void CheckBody(std::uint32_t number, std::uint64_t offset, const RecordView& record) {
    const RecordHeader& header = record.header();
    std::string decoded;
    std::string_view body = record.stored_body();
    if (header.codec != 0) {
      decoded.resize(header.raw_body_size);
      const absl::Status status = engine_internal::DecodeBody<typename Policies::Codecs>(
          header.codec, body, absl::MakeSpan(decoded));
      if (!status.ok()) return RecordDamage(number, offset, record, std::string(status.message()));
      body = decoded;
    }
    if (body.size() != header.raw_body_size)
      return RecordDamage(number, offset, record, "has a body of another size than it says");
    const absl::StatusOr<ValueView> document = ValueView::Parse(body);
    if (!document.ok() || !document->IsDocument()) {
      return RecordDamage(
          number, offset, record,
          absl::StrCat("its body is no document: ",
                       document.ok() ? TypeName(document->type()) : document.status().message()));
    }
    const std::optional<ValueView> id = document->Find("_id");
    const absl::StatusOr<std::string> encoded =
        id ? EncodeId(*id) : absl::StatusOr<std::string>(absl::NotFoundError("no _id"));
    if (!encoded.ok() || *encoded != record.id())
      RecordDamage(number, offset, record, "its body has another _id than its header");
  }

  // `newest` is as it was at the end that the checkpoint covers.
  void CompareCheckpoint(std::uint32_t number, const PrimaryCheckpoint& checkpoint) {
    const ShardFacts<Policies>& facts = shards_[number];
    const Log& log = *facts.shard->log();
    const std::string path = absl::StrCat(directory_, "/", facts.shard->FileName("sidx"));
    const auto wrong = [&](std::string what) {
      findings_.Add({.file = path, .what = absl::StrCat(what, "; alos repair builds it again")});
    };
    const std::uint64_t mask = checkpoint.slots.size() - 1;
    absl::flat_hash_map<std::uint32_t, std::uint64_t> live;
    std::uint64_t forgotten = 0;  // by a compaction: keys of nothing that can be found
    for (const auto& [hash, offset] : facts.newest) {
      const RecordView record(log.At(offset));
      const RecordHeader& header = record.header();
      std::uint64_t i = hash & mask;
      while (checkpoint.slots[i] != 0 && (PrimaryIndex::Offset(checkpoint.slots[i]) != offset ||
                                          (checkpoint.slots[i] ^ hash) >> 44 != 0)) {
        i = (i + 1) & mask;
      }
      if (checkpoint.slots[i] != 0) {
        if (header.kind == RecordKind::kPut) ++live[header.collection];
        continue;
      }
      const bool is_of_a_collection = std::any_of(
          manifest_.collections.begin(), manifest_.collections.end(),
          [&](const Manifest::Collection& each) { return each.id == header.collection; });
      if (header.kind != RecordKind::kPut || !is_of_a_collection) {
        ++forgotten;
        continue;
      }
      return wrong(absl::StrCat("does not have the document ",
                                engine_internal::DescribeId(record.id()), " at offset ", offset));
    }
    if (checkpoint.keys + forgotten != facts.newest.size()) {
      return wrong(absl::StrCat("has ", checkpoint.keys, " documents, the log has ",
                                facts.newest.size() - forgotten));
    }
    for (const auto& collection : checkpoint.collections) {
      const auto found = live.find(static_cast<std::uint32_t>(collection.id));
      const std::uint64_t expected = found == live.end() ? 0 : found->second;
      if (collection.live_documents != expected) {
        return wrong(absl::StrCat("counts ", collection.live_documents, " documents of collection ",
                                  collection.id, ", the log has ", expected));
      }
    }
  }

  void CheckTransactions() {
    for (const auto& [timestamp, transaction] : transactions_) {
      if (transaction.records.size() == transaction.expected) continue;
      // Its other records are perhaps those that are damaged, which has been said, or were in a
      // part that was given back.
      if (MayBeDamaged(timestamp) || timestamp <= compacted_until_) continue;
      const bool is_complete = timestamp <= complete_until_;
      findings_.Add(
          {.severity = is_complete ? Finding::Severity::kDamage : Finding::Severity::kNote,
           .file = LogPath(transaction.records[0].first),
           .offset = transaction.records[0].second,
           .what = absl::StrCat("transaction ", timestamp, " has ", transaction.records.size(),
                                " of ", transaction.expected, " records",
                                is_complete ? ", although it was complete"
                                            : ": it was not committed; the next start undoes it")});
    }
  }

  FileSystem& file_system_;
  const std::string directory_;
  FindingList& findings_;
  EpochManager epochs_;
  Manifest manifest_;
  engine_internal::ShardContext<Policies> context_;
  std::vector<ShardFacts<Policies>> shards_;
  std::vector<std::uint64_t> durable_ends_;
  std::vector<std::optional<PrimaryCheckpoint>> checkpoints_;
  std::uint64_t timestamp_max_ = std::numeric_limits<std::uint64_t>::max();
  absl::Mutex mutex_;
  absl::flat_hash_map<std::uint64_t, TransactionFacts> transactions_;
  std::uint64_t complete_until_ = 0;
  std::uint64_t compacted_until_ = 0;  // some records up to there are gone
};

using LogCheck = BasicLogCheck<CheckPolicies>;

}  // namespace alos::maintenance_internal

#endif  // ALOS_MAINTENANCE_INTERNAL_LOG_CHECK_H_
