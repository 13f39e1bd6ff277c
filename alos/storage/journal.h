// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The write-ahead journal of a database: commit groups, each one write and one flush, whatever
// number of shards it touches. Segments `journal.NNNNNN`; a segment is deleted once every shard log
// holds its records durably.
//
//   segment   offset 0    8   "ALOSJNL1"
//             8      4    format version, 1
//             12     4    CRC-32C of bytes [16, 56)
//             16     16   database id
//             32     8    generation: random, part of every group's checksum
//             40     8    sequence: the number in the file's name
//             48     8    base LSN: everything up to it is durable in the shard logs or an earlier
//             segment 4096   ...  groups, each at a multiple of 4096
//
//   group     offset 0    4   "AGRP"
//             4      4    CRC-32C of bytes [8, size), the generation and the group's offset in the
//             segment 8      8    size in bytes, padding not counted 16     8    first LSN 24     8
//             last LSN 32     8    durable LSN: known durable before this group was written 40 4
//             number of entries 44     4    zero 48     ...  entries
//
//   entry     offset 0    4   shard number
//             4      4    size of the record in bytes
//             8      8    generation of the shard's log
//             16     8    offset in the shard's log
//             24     ...  the record, then zeros to a multiple of 8
//
// The log sequence number (LSN) is the commit timestamp. A group is padded to 4096 bytes, so that
// no write ever touches a sector that holds an acknowledged group.

#ifndef ALOS_STORAGE_JOURNAL_H_
#define ALOS_STORAGE_JOURNAL_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"
#include "alos/base/file_system.h"
#include "alos/base/status_macros.h"
#include "alos/storage/durability.h"

namespace alos {

inline constexpr std::uint64_t kJournalBlockSize = 4096;
inline constexpr std::string_view kJournalFilePrefix = "journal.";

// Builds one commit group in memory. Not thread-safe.
class JournalGroup {
 public:
  static constexpr std::size_t kHeaderSize = 48;

  JournalGroup() { Clear(); }

  bool empty() const { return entries_ == 0; }
  std::size_t size_bytes() const { return buffer_.size(); }
  std::uint64_t last_lsn() const { return last_lsn_; }

  // Out of memory it throws, and has added nothing.
  void Add(std::uint64_t lsn, const CommitRecord& record) {
    buffer_.reserve(buffer_.size() + 24 + record.bytes.size() + 8);
    if (entries_ == 0) first_lsn_ = lsn;
    ALOS_DCHECK(lsn >= last_lsn_);
    last_lsn_ = lsn;
    ++entries_;
    const std::uint32_t size = static_cast<std::uint32_t>(record.bytes.size());
    Append(record.shard);
    Append(size);
    Append(record.generation);
    Append(record.offset);
    buffer_.append(record.bytes);
    buffer_.append((8 - buffer_.size() % 8) % 8, '\0');
  }

  // The bytes to write at `offset` of the segment with `generation`: a multiple of the block size.
  std::string_view Finish(std::uint64_t generation, std::uint64_t offset,
                          std::uint64_t durable_lsn) {
    const std::uint64_t size = buffer_.size();
    std::memcpy(buffer_.data(), "AGRP", 4);
    std::memcpy(buffer_.data() + 8, &size, 8);
    std::memcpy(buffer_.data() + 16, &first_lsn_, 8);
    std::memcpy(buffer_.data() + 24, &last_lsn_, 8);
    std::memcpy(buffer_.data() + 32, &durable_lsn, 8);
    std::memcpy(buffer_.data() + 40, &entries_, 4);
    const std::uint32_t checksum = Checksum(buffer_, generation, offset);
    std::memcpy(buffer_.data() + 4, &checksum, 4);
    buffer_.resize((size + kJournalBlockSize - 1) / kJournalBlockSize * kJournalBlockSize, '\0');
    return buffer_;
  }

  void Clear() {
    buffer_.assign(kHeaderSize, '\0');
    entries_ = 0;
    first_lsn_ = last_lsn_ = 0;
  }

  // `group` without padding.
  static std::uint32_t Checksum(std::string_view group, std::uint64_t generation,
                                std::uint64_t offset) {
    char position[16];
    std::memcpy(position, &generation, 8);
    std::memcpy(position + 8, &offset, 8);
    return Crc32c({position, sizeof position}, Crc32c(group.substr(8)));
  }

 private:
  template <class Integer>
  void Append(Integer value) {
    buffer_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  std::string buffer_;
  std::uint32_t entries_ = 0;
  std::uint64_t first_lsn_ = 0;
  std::uint64_t last_lsn_ = 0;
};

inline std::string JournalFileName(std::uint64_t sequence) {
  return absl::StrFormat("%s%06d", kJournalFilePrefix, sequence);
}

// The segment sequences in `directory`, ascending.
template <class FileSystem>
absl::StatusOr<std::vector<std::uint64_t>> ListJournal(FileSystem& file_system,
                                                       const std::string& directory) {
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names, file_system.ListDirectory(directory));
  std::vector<std::uint64_t> sequences;
  for (const std::string& name : names) {
    std::uint64_t sequence = 0;
    if (absl::StartsWith(name, kJournalFilePrefix) &&
        absl::SimpleAtoi(name.substr(kJournalFilePrefix.size()), &sequence)) {
      sequences.push_back(sequence);
    }
  }
  std::sort(sequences.begin(), sequences.end());
  return sequences;
}

// Removes these segments (ascending, all there are) for good. After a crash the newest is there as
// long as any is, one that was removed earlier and has come back included: without it acknowledged
// records would look newer than the end of the journal.
template <class FileSystem>
absl::Status RemoveJournal(FileSystem& file_system, const std::string& directory,
                           absl::Span<const std::uint64_t> sequences) {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const bool is_newest = i + 1 == sequences.size();
    if (is_newest) ALOS_RETURN_IF_ERROR(file_system.SyncDirectory(directory));
    ALOS_RETURN_IF_ERROR(
        file_system.Remove(absl::StrCat(directory, "/", JournalFileName(sequences[i]))));
  }
  return sequences.empty() ? absl::OkStatus() : file_system.SyncDirectory(directory);
}

// One segment that groups are appended to. Threads: one at a time.
template <class FileSystem>
class JournalSegment {
 public:
  // Makes the segment and its name durable.
  static absl::StatusOr<std::unique_ptr<JournalSegment>> Create(
      FileSystem& file_system, const std::string& directory, const DatabaseId& database_id,
      std::uint64_t sequence, std::uint64_t generation, std::uint64_t base_lsn) {
    ALOS_ASSIGN_OR_RETURN(auto file,
                          file_system.Open(absl::StrCat(directory, "/", JournalFileName(sequence)),
                                           OpenMode::kCreate));
    ALOS_RETURN_IF_ERROR(file->Truncate(0));
    ALOS_RETURN_IF_ERROR(file->Allocate(kStep));
    std::string header(kJournalBlockSize, '\0');
    const std::uint32_t version = 1;
    std::memcpy(header.data(), "ALOSJNL1", 8);
    std::memcpy(header.data() + 8, &version, 4);
    std::memcpy(header.data() + 16, database_id.data(), 16);
    std::memcpy(header.data() + 32, &generation, 8);
    std::memcpy(header.data() + 40, &sequence, 8);
    std::memcpy(header.data() + 48, &base_lsn, 8);
    const std::uint32_t checksum = Crc32c(std::string_view(header).substr(16, 40));
    std::memcpy(header.data() + 12, &checksum, 4);
    ALOS_RETURN_IF_ERROR(file->WriteAt(0, header));
    ALOS_RETURN_IF_ERROR(file->Sync());
    ALOS_RETURN_IF_ERROR(file_system.SyncDirectory(directory));
    return std::unique_ptr<JournalSegment>(
        new JournalSegment(std::move(file), sequence, generation));
  }

  // Takes the space for a group. An error changes nothing: it may be tried again.
  absl::Status Reserve(const JournalGroup& group) {
    const std::uint64_t size =
        (group.size_bytes() + kJournalBlockSize - 1) / kJournalBlockSize * kJournalBlockSize;
    if (end_ + size <= allocated_) return absl::OkStatus();
    const std::uint64_t wanted = (end_ + size + kStep - 1) / kStep * kStep;
    ALOS_RETURN_IF_ERROR(file_->Allocate(wanted));
    allocated_ = wanted;
    return absl::OkStatus();
  }

  // Appends and flushes: durable when this returns OK. After an error nothing more may be written.
  absl::Status Append(JournalGroup& group, std::uint64_t durable_lsn) {
    ALOS_RETURN_IF_ERROR(Reserve(group));
    const std::string_view bytes = group.Finish(generation_, end_, durable_lsn);
    ALOS_RETURN_IF_ERROR(file_->WriteAt(end_, bytes));
    ALOS_RETURN_IF_ERROR(file_->Sync());
    end_ += bytes.size();
    return absl::OkStatus();
  }

  std::uint64_t size_bytes() const { return end_; }
  std::uint64_t sequence() const { return sequence_; }

 private:
  static constexpr std::uint64_t kStep = 256 << 10;

  JournalSegment(std::unique_ptr<typename FileSystem::FileType> file, std::uint64_t sequence,
                 std::uint64_t generation)
      : file_(std::move(file)), sequence_(sequence), generation_(generation) {}

  const std::unique_ptr<typename FileSystem::FileType> file_;
  const std::uint64_t sequence_;
  const std::uint64_t generation_;
  std::uint64_t end_ = kJournalBlockSize;
  std::uint64_t allocated_ = kStep;
};

struct JournalRecovery {
  bool found = false;          // there was a journal: the database was not closed cleanly
  std::uint64_t last_lsn = 0;  // nothing after it was acknowledged
  std::uint64_t groups = 0;
  std::uint64_t entries = 0;
  std::uint64_t torn_bytes = 0;  // of a group that was being written
  // Where they are, in the last segment. Offset 0: the segment was being made, nothing is in it.
  std::uint64_t torn_sequence = 0;
  std::uint64_t torn_offset = 0;
};

namespace storage_internal {

struct JournalGroupView {
  std::uint64_t size = 0;
  std::uint64_t last_lsn = 0;
  std::uint32_t entries = 0;
  std::string_view body;
};

inline bool ParseJournalGroup(std::string_view segment, std::uint64_t offset,
                              std::uint64_t generation, JournalGroupView* view) {
  if (segment.size() - offset < JournalGroup::kHeaderSize || segment.substr(offset, 4) != "AGRP")
    return false;
  const char* start = segment.data() + offset;
  std::uint32_t checksum = 0;
  std::memcpy(&checksum, start + 4, 4);
  std::memcpy(&view->size, start + 8, 8);
  if (view->size < JournalGroup::kHeaderSize || view->size > segment.size() - offset) return false;
  const std::string_view group = segment.substr(offset, view->size);
  if (JournalGroup::Checksum(group, generation, offset) != checksum) return false;
  std::memcpy(&view->last_lsn, start + 24, 8);
  std::memcpy(&view->entries, start + 40, 4);
  view->body = group.substr(JournalGroup::kHeaderSize);
  return true;
}

}  // namespace storage_internal

// Reads all segments of `directory` in order and calls `apply(const CommitRecord&) -> absl::Status`
// for each entry. Changes no journal file, so it can be repeated. A group that does not check ends
// the journal when nothing valid comes after it (it was being written and never acknowledged);
// otherwise the journal is corrupt: kDataLoss naming file and offset, since acknowledged writes
// would be lost.
template <class FileSystem, class Apply>
absl::StatusOr<JournalRecovery> ReplayJournal(FileSystem& file_system, const std::string& directory,
                                              const DatabaseId& database_id, Apply&& apply) {
  JournalRecovery recovery;
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> sequences,
                        ListJournal(file_system, directory));
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const bool is_last = i + 1 == sequences.size();
    const std::string path = absl::StrCat(directory, "/", JournalFileName(sequences[i]));
    ALOS_ASSIGN_OR_RETURN(auto file, file_system.Open(path, OpenMode::kReadOnly));
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t size, file->Size());
    std::string segment(size, '\0');
    ALOS_ASSIGN_OR_RETURN(const std::size_t read, file->ReadAt(0, absl::MakeSpan(segment)));
    segment.resize(read);
    const auto corrupt = [&](std::uint64_t offset, std::string_view what) {
      return absl::DataLossError(
          absl::StrCat(path, ": offset ", offset, ": ", what,
                       "; acknowledged writes would be lost: restore from a backup"));
    };
    std::uint32_t checksum = 0;
    if (segment.size() >= kJournalBlockSize) std::memcpy(&checksum, segment.data() + 12, 4);
    if (segment.size() < kJournalBlockSize || segment.compare(0, 8, "ALOSJNL1") != 0 ||
        Crc32c(std::string_view(segment).substr(16, 40)) != checksum) {
      // A crash while the segment was being made: it was flushed before its first group was
      // written.
      if (!is_last) return corrupt(0, "the segment header is damaged and later segments exist");
      for (std::uint64_t offset = kJournalBlockSize; offset < segment.size();
           offset += kJournalBlockSize) {
        if (segment.compare(offset, 4, "AGRP") == 0)
          return corrupt(0, "the segment header is damaged and groups follow it");
      }
      recovery.torn_bytes = segment.size();
      recovery.torn_sequence = sequences[i];
      break;
    }
    if (std::memcmp(segment.data() + 16, database_id.data(), 16) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, ": this journal belongs to another database; was it copied here by hand?"));
    }
    std::uint64_t generation = 0;
    std::uint64_t base_lsn = 0;
    std::memcpy(&generation, segment.data() + 32, 8);
    std::memcpy(&base_lsn, segment.data() + 48, 8);
    recovery.found = true;
    recovery.last_lsn = std::max(recovery.last_lsn, base_lsn);
    std::uint64_t offset = kJournalBlockSize;
    storage_internal::JournalGroupView group;
    for (; offset < segment.size();
         offset += (group.size + kJournalBlockSize - 1) / kJournalBlockSize * kJournalBlockSize) {
      if (!storage_internal::ParseJournalGroup(segment, offset, generation, &group)) break;
      std::string_view body = group.body;
      for (std::uint32_t entry = 0; entry < group.entries; ++entry) {
        CommitRecord record;
        std::uint32_t record_size = 0;
        if (body.size() < 24) return corrupt(offset, "a group whose entries do not fit");
        std::memcpy(&record.shard, body.data(), 4);
        std::memcpy(&record_size, body.data() + 4, 4);
        std::memcpy(&record.generation, body.data() + 8, 8);
        std::memcpy(&record.offset, body.data() + 16, 8);
        const std::uint64_t padded = (std::uint64_t{record_size} + 7) / 8 * 8;
        if (body.size() - 24 < padded) return corrupt(offset, "a group whose entries do not fit");
        record.bytes = body.substr(24, record_size);
        body.remove_prefix(24 + padded);
        ALOS_RETURN_IF_ERROR(apply(std::as_const(record)));
        ++recovery.entries;
      }
      recovery.last_lsn = std::max(recovery.last_lsn, group.last_lsn);
      ++recovery.groups;
    }
    // Groups are written strictly one after the other: a valid one behind a bad one means that the
    // bad one had been flushed, and acknowledged.
    const std::uint64_t bad = offset;
    for (offset += kJournalBlockSize; offset < segment.size(); offset += kJournalBlockSize) {
      if (storage_internal::ParseJournalGroup(segment, offset, generation, &group)) {
        return corrupt(
            bad,
            absl::StrCat("a damaged commit group, with a good one behind it at offset ", offset));
      }
    }
    const std::size_t last = segment.find_last_not_of('\0');  // at least in the header
    const bool torn = last >= bad;
    if (torn && !is_last)
      return corrupt(bad, "a damaged commit group, with a later segment behind it");
    if (torn) {
      recovery.torn_bytes = last + 1 - bad;
      recovery.torn_sequence = sequences[i];
      recovery.torn_offset = bad;
    }
  }
  return recovery;
}

// Takes away what ReplayJournal called torn, durably, so that a segment may follow the rest. After
// an error it may be repeated.
template <class FileSystem>
absl::Status CutJournal(FileSystem& file_system, const std::string& directory,
                        const JournalRecovery& recovery) {
  if (recovery.torn_bytes == 0) return absl::OkStatus();
  const std::string path = absl::StrCat(directory, "/", JournalFileName(recovery.torn_sequence));
  if (recovery.torn_offset == 0) {
    const absl::Status removed = file_system.Remove(path);
    if (!absl::IsNotFound(removed)) ALOS_RETURN_IF_ERROR(removed);
    return file_system.SyncDirectory(directory);
  }
  ALOS_ASSIGN_OR_RETURN(auto file, file_system.Open(path, OpenMode::kReadWrite));
  ALOS_RETURN_IF_ERROR(file->WriteAt(recovery.torn_offset, std::string(recovery.torn_bytes, '\0')));
  return file->Sync();
}

// Of a journal that ReplayJournal calls corrupt: calls `apply` for each entry of each group that
// checks, wherever it lies. What a damaged segment header stood for cannot be checked, and is left
// out. For repair only: what is missing in between was acknowledged.
template <class FileSystem, class Apply>
absl::Status SalvageJournal(FileSystem& file_system, const std::string& directory, Apply&& apply) {
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> sequences,
                        ListJournal(file_system, directory));
  for (const std::uint64_t sequence : sequences) {
    ALOS_ASSIGN_OR_RETURN(auto file,
                          file_system.Open(absl::StrCat(directory, "/", JournalFileName(sequence)),
                                           OpenMode::kReadOnly));
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t size, file->Size());
    std::string segment(size, '\0');
    ALOS_ASSIGN_OR_RETURN(const std::size_t read, file->ReadAt(0, absl::MakeSpan(segment)));
    segment.resize(read);
    if (segment.size() < kJournalBlockSize) continue;
    std::uint64_t generation = 0;
    std::memcpy(&generation, segment.data() + 32, 8);
    storage_internal::JournalGroupView group;
    for (std::uint64_t offset = kJournalBlockSize; offset < segment.size();) {
      if (!storage_internal::ParseJournalGroup(segment, offset, generation, &group)) {
        offset += kJournalBlockSize;
        continue;
      }
      std::string_view body = group.body;
      for (std::uint32_t entry = 0; entry < group.entries && body.size() >= 24; ++entry) {
        CommitRecord record;
        std::uint32_t record_size = 0;
        std::memcpy(&record.shard, body.data(), 4);
        std::memcpy(&record_size, body.data() + 4, 4);
        std::memcpy(&record.generation, body.data() + 8, 8);
        std::memcpy(&record.offset, body.data() + 16, 8);
        const std::uint64_t padded = (std::uint64_t{record_size} + 7) / 8 * 8;
        if (body.size() - 24 < padded) break;
        record.bytes = body.substr(24, record_size);
        body.remove_prefix(24 + padded);
        ALOS_RETURN_IF_ERROR(apply(std::as_const(record)));
      }
      offset += (group.size + kJournalBlockSize - 1) / kJournalBlockSize * kJournalBlockSize;
    }
  }
  return absl::OkStatus();
}

}  // namespace alos

#endif  // ALOS_STORAGE_JOURNAL_H_
