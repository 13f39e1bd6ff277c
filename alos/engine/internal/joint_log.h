// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The decisions of transactions over several databases: a journal (alos/storage/journal.h) in the
// directory `.joint` of the data directory. An entry is a whole transaction, with all that it
// writes; it is committed when its entry is durable, and then installed in each of its databases.
// docs/decisions/0008-one-log-decides-over-databases.md says why.
//
//   entry   generation: the log's epoch, random; kept until all segments are gone
//           offset: the number of the decision in it, from 1
//           record: a MessagePack document
//             {parts: [{database: str, id: bin, snapshot: uint,
//                       writes: [[collection: uint, id: bin, document: bin or nil]]}]}
//
// Each database has one document in its collection `$joint`, {_id: 0, epoch, n}: the newest
// decision that is installed there. It is written in the commit that installs it.

#ifndef ALOS_ENGINE_INTERNAL_JOINT_LOG_H_
#define ALOS_ENGINE_INTERNAL_JOINT_LOG_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/storage/journal.h"
#include "alos/storage/shard_log.h"

namespace alos::engine_internal {

inline constexpr std::string_view kJointDirectory = ".joint";

struct JointWrite {
  std::uint32_t collection = 0;
  std::string id;                       // encoded
  std::optional<std::string> document;  // nullopt: deleted
};
struct JointPart {
  std::string database;  // its name
  DatabaseId id{};
  std::uint64_t snapshot = 0;  // what it builds on: durable before the decision is
  std::vector<JointWrite> writes;
};
struct JointDecision {
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
  std::vector<JointPart> parts;
};

// Writes the document of a decision: StartPart, its AddWrites, the next one, ...; Finish.
class JointDecisionBuilder {
 public:
  JointDecisionBuilder() : builder_(&bytes_) {
    builder_.StartDocument(1).Key("parts").StartArray();
  }
  void StartPart(std::string_view database, const DatabaseId& id, std::uint64_t snapshot) {
    EndPart();
    builder_.StartDocument(4).Key("database").String(database);
    builder_.Key("id").Binary({reinterpret_cast<const char*>(id.data()), id.size()});
    builder_.Key("snapshot").Uint(snapshot).Key("writes").StartArray();
    in_part_ = true;
  }
  void AddWrite(std::uint32_t collection, std::string_view id,
                const std::optional<std::string>& document) {
    builder_.StartArray(3).Uint(collection).Binary(id);
    if (document) {
      builder_.Binary(*document);
    } else {
      builder_.Null();
    }
    builder_.EndArray();
  }
  std::string Finish() {
    EndPart();
    builder_.EndArray().EndDocument();
    return std::move(bytes_);
  }

 private:
  void EndPart() {
    if (in_part_) builder_.EndArray().EndDocument();
    in_part_ = false;
  }

  std::string bytes_;
  Builder builder_;
  bool in_part_ = false;
};

// A field that is a number; 0 for anything else.
inline std::uint64_t JointNumber(const std::optional<ValueView>& value) {
  return value ? static_cast<std::uint64_t>(value->ToInt64().value_or(0)) : std::uint64_t{0};
}

// kDataLoss for what JointDecisionBuilder has not made.
inline absl::StatusOr<std::vector<JointPart>> DecodeJointParts(std::string_view bytes) {
  const absl::Status bad = absl::DataLossError("a decision that cannot be read");
  const absl::StatusOr<ValueView> document = ValueView::Parse(bytes);
  if (!document.ok() || !document->IsDocument()) return bad;
  const std::optional<ValueView> array = document->Find("parts");
  if (!array || !array->IsArray()) return bad;
  std::vector<JointPart> parts;
  for (const ValueView view : array->elements()) {
    if (!view.IsDocument()) return bad;
    JointPart& part = parts.emplace_back();
    const auto name = view.Find("database");
    const auto id = view.Find("id");
    const auto writes = view.Find("writes");
    if (!name || !name->IsString() || !id || id->type() != ValueType::kBinary ||
        id->AsBinary().size() != part.id.size() || !writes || !writes->IsArray()) {
      return bad;
    }
    part.database = std::string(name->AsString());
    std::memcpy(part.id.data(), id->AsBinary().data(), part.id.size());
    part.snapshot = JointNumber(view.Find("snapshot"));
    for (const ValueView write : writes->elements()) {
      if (!write.IsArray() || write.size() != 3) return bad;
      std::vector<ValueView> fields;
      for (const ValueView field : write.elements()) fields.push_back(field);
      if (!fields[0].ToInt64() || fields[1].type() != ValueType::kBinary ||
          (fields[2].type() != ValueType::kBinary && !fields[2].IsNull())) {
        return bad;
      }
      JointWrite& added = part.writes.emplace_back();
      added.collection = static_cast<std::uint32_t>(JointNumber(fields[0]));
      added.id = std::string(fields[1].AsBinary());
      if (!fields[2].IsNull()) added.document = std::string(fields[2].AsBinary());
    }
  }
  return parts;
}

// The document of `$joint`.
struct JointMarker {
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;

  static std::string EncodeId() {
    std::string id;
    Builder(&id).Uint(0);
    return id;
  }
  std::string Encode() const {
    std::string bytes;
    Builder(&bytes)
        .StartDocument(3)
        .Key("_id")
        .Uint(0)
        .Key("epoch")
        .Uint(epoch)
        .Key("n")
        .Uint(number)
        .EndDocument();
    return bytes;
  }
  static JointMarker Decode(ValueView document) {
    return {JointNumber(document.Find("epoch")), JointNumber(document.Find("n"))};
  }
};

// Threads: one at a time. Lifetime: the file system must outlive it. Durability: a decision is
// durable when Append returns OK. Errors: kResourceExhausted: nothing was written, there may be
// room later; any other of Append is final: what it was to write may be there after a restart.
template <class FileSystem>
class JointLog {
 public:
  JointLog(FileSystem* file_system, std::string_view data_path)
      : file_system_(*file_system), directory_(absl::StrCat(data_path, "/", kJointDirectory)) {}

  // What is there: the decisions of former runs, in their order. Before all else.
  absl::StatusOr<std::vector<JointDecision>> Load() {
    std::vector<JointDecision> decisions;
    recovery_ = {};
    ALOS_ASSIGN_OR_RETURN(const bool exists, file_system_.Exists(directory_));
    if (!exists) return decisions;
    ALOS_ASSIGN_OR_RETURN(sequences_, ListJournal(file_system_, directory_));
    const absl::StatusOr<JournalRecovery> recovery = ReplayJournal(
        file_system_, directory_, Id(), [&](const CommitRecord& record) -> absl::Status {
          JointDecision& decision = decisions.emplace_back();
          decision.epoch = record.generation;
          decision.number = record.offset;
          ALOS_ASSIGN_OR_RETURN(decision.parts, DecodeJointParts(record.bytes));
          return absl::OkStatus();
        });
    if (!recovery.ok()) {
      return absl::Status(
          recovery.status().code(),
          absl::StrCat(directory_, ": ", recovery.status().message(),
                       "; to start all the same move this directory away: of transactions over "
                       "several databases that were committed in the last moments a part may then "
                       "be missing"));
    }
    recovery_ = *recovery;
    number_ = recovery->last_lsn;
    if (!decisions.empty()) epoch_ = decisions.back().epoch;
    return decisions;
  }

  // After Load(), when what it found stays and decisions are to follow: takes away a decision that
  // was being written and was never acknowledged. Behind it a later one would look like damage.
  absl::Status CutTornTail() {
    ALOS_RETURN_IF_ERROR(CutJournal(file_system_, directory_, recovery_));
    if (recovery_.torn_bytes != 0 && recovery_.torn_offset == 0) sequences_.pop_back();
    recovery_.torn_bytes = 0;
    return absl::OkStatus();
  }

  // What Load() came by.
  const JournalRecovery& recovery() const { return recovery_; }

  // For repair, in place of Load(), when that calls the log damaged: makes a segment with all
  // decisions that can be read. Returns how many those are, and the names of the segments that were
  // there, which may go.
  struct Salvaged {
    std::size_t decisions = 0;
    std::vector<std::string> old_segments;
  };
  absl::StatusOr<Salvaged> Salvage() {
    Salvaged salvaged;
    ALOS_ASSIGN_OR_RETURN(sequences_, ListJournal(file_system_, directory_));
    for (const std::uint64_t sequence : sequences_)
      salvaged.old_segments.push_back(JournalFileName(sequence));
    // By number; of an interrupted repair they may be there twice.
    std::map<std::uint64_t, std::string> found;
    ALOS_RETURN_IF_ERROR(
        SalvageJournal(file_system_, directory_, [&](const CommitRecord& record) -> absl::Status {
          if (!DecodeJointParts(record.bytes).ok()) return absl::OkStatus();
          epoch_ = record.generation;
          found.try_emplace(record.offset, record.bytes);
          return absl::OkStatus();
        }));
    salvaged.decisions = found.size();
    if (!found.empty()) ALOS_RETURN_IF_ERROR(Append({found.begin(), found.end()}));
    return salvaged;
  }

  // Forgets everything: all of it is durably installed.
  absl::Status Clear() {
    segment_ = nullptr;
    ALOS_RETURN_IF_ERROR(RemoveJournal(file_system_, directory_, sequences_));
    sequences_.clear();
    number_ = epoch_ = 0;
    return absl::OkStatus();
  }

  // The number that the next decision gets.
  std::uint64_t NextNumber() { return ++number_; }
  std::uint64_t epoch() {
    if (epoch_ == 0) {
      std::random_device random;
      epoch_ = (std::uint64_t{random()} << 31 | random()) | 1;
    }
    return epoch_;
  }

  // Makes decisions durable: number and document, in the order of numbers.
  absl::Status Append(const std::vector<std::pair<std::uint64_t, std::string>>& decisions) {
    group_.Clear();
    for (const auto& [number, document] : decisions)
      group_.Add(number, {.shard = 0, .generation = epoch(), .offset = number, .bytes = document});
    if (segment_ == nullptr) ALOS_RETURN_IF_ERROR(NewSegment(decisions.front().first - 1));
    ALOS_RETURN_IF_ERROR(segment_->Reserve(group_));
    const absl::Status appended = segment_->Append(group_, 0);
    // From here on nobody knows what of it is there.
    if (!appended.ok()) return absl::UnavailableError(appended.message());
    return absl::OkStatus();
  }

  bool empty() const { return sequences_.empty(); }
  std::uint64_t size_bytes() const { return segment_ == nullptr ? 0 : segment_->size_bytes(); }

  // All decisions so far are durably installed: goes on with a new segment.
  absl::Status Trim() {
    const std::vector<std::uint64_t> old = sequences_;
    ALOS_RETURN_IF_ERROR(NewSegment(number_));
    for (const std::uint64_t sequence : old) {
      const absl::Status removed =
          file_system_.Remove(absl::StrCat(directory_, "/", JournalFileName(sequence)));
      if (!absl::IsNotFound(removed)) ALOS_RETURN_IF_ERROR(removed);
    }
    sequences_ = {sequences_.back()};
    return absl::OkStatus();
  }

 private:
  // Takes the place of a database's.
  static DatabaseId Id() {
    DatabaseId id;
    std::memcpy(id.data(), "alos joint commit", id.size());
    return id;
  }

  absl::Status NewSegment(std::uint64_t base) {
    ALOS_RETURN_IF_ERROR(file_system_.CreateDirectories(directory_));
    std::random_device random;
    const std::uint64_t generation = std::uint64_t{random()} << 32 | random();
    const std::uint64_t sequence = sequences_.empty() ? 1 : sequences_.back() + 1;
    ALOS_ASSIGN_OR_RETURN(
        segment_, JournalSegment<FileSystem>::Create(file_system_, directory_, Id(), sequence,
                                                     generation, base));
    sequences_.push_back(sequence);
    return absl::OkStatus();
  }

  FileSystem& file_system_;
  const std::string directory_;
  std::vector<std::uint64_t> sequences_;  // of the segments that there are
  std::unique_ptr<JournalSegment<FileSystem>> segment_;
  JournalGroup group_;
  JournalRecovery recovery_;
  std::uint64_t number_ = 0;
  std::uint64_t epoch_ = 0;
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_JOINT_LOG_H_
