// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The log of one shard: an append-only file of records (alos/storage/record.h), written and read
// through a shared memory map.
//
//   offset 0    8   "ALOSLOG1"
//          8    4   format version, 1
//          12   4   shard number
//          16   16  database id
//          32   8   generation: random, made with the file; part of every record's checksum
//          40   4   CRC-32C of bytes [0, 40)
//          64   64  where the log begins (LogBegin), zeros before the first compaction:
//                   0   8  sequence: of the two copies that check, the higher one holds
//                   8   8  offset of the first record
//                   16  8  every transaction up to this timestamp is whole and durable in all
//                          shards, and no snapshot below it is read any more
//                   24  4  CRC-32C of bytes [0, 24) and the generation (8)
//          128  64  a second copy
//          512  ... a hole up to the first record; records; zeros behind the last one, up to the
//                   size of the file
//
// The size of the file is only a hint: the end of the log is what the checksums say.

#ifndef ALOS_STORAGE_SHARD_LOG_H_
#define ALOS_STORAGE_SHARD_LOG_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"
#include "alos/base/epoch.h"
#include "alos/base/file_system.h"
#include "alos/base/status_macros.h"
#include "alos/storage/growable_mapping.h"
#include "alos/storage/record.h"

namespace alos {

using DatabaseId = std::array<char, 16>;

// Which shard of which database a log file belongs to.
struct ShardIdentity {
  DatabaseId database_id{};
  std::uint32_t shard = 0;
};

// Where a log begins: what was below it has been compacted away.
struct LogBegin {
  std::uint64_t offset = 512;
  std::uint64_t complete_until = 0;  // see above
};

// A range of a log whose records cannot be read. [offset, end).
struct DamagedExtent {
  std::uint64_t offset = 0;
  std::uint64_t end = 0;
  // Whose version it is, when the header is intact: collection and canonical id.
  std::optional<std::pair<std::uint32_t, std::string>> document;
  // What was written there was committed within these: the timestamps of the records around it.
  std::uint64_t timestamp_min = 0;
  std::uint64_t timestamp_max = std::numeric_limits<std::uint64_t>::max();
};

// What Recover() found behind the offset it started from.
struct LogRecovery {
  std::uint64_t records = 0;
  std::uint64_t durable_end = 0;           // everything below is known to have been flushed
  std::uint64_t torn_bytes = 0;            // cut: an append that power or a kill interrupted
  std::uint64_t unacknowledged_bytes = 0;  // cut: valid, but newer than anything acknowledged
  std::vector<DamagedExtent> damaged;      // corruption: kept in the file, never served
};

// Threads: Prepare, Seal, Publish and Discard belong to the shard's writer role, one thread at a
// time. At(), end() and Sync() may be called by any thread at any time; a pointer from At() stays
// valid while the caller's guard of `epochs` lives. Durability: a published record survives the
// death of the process at once, and a power failure after the next Sync() that returns OK. Errors:
// every one names the file. An error from Prepare leaves the log as it was.
template <class FileSystem>
class BasicShardLog {
 public:
  static constexpr std::uint64_t kFirstRecordOffset = 512;

  // Makes the file and its header, empty. The caller makes them durable: Sync, SyncDirectory.
  static absl::StatusOr<std::unique_ptr<BasicShardLog>> Create(FileSystem& file_system,
                                                               const std::string& path,
                                                               const ShardIdentity& identity,
                                                               std::uint64_t generation,
                                                               EpochManager* epochs) {
    ALOS_ASSIGN_OR_RETURN(auto file, file_system.Open(path, OpenMode::kCreate));
    ALOS_RETURN_IF_ERROR(file->Truncate(0));  // what a crash during an earlier creation left
    ALOS_RETURN_IF_ERROR(file->Allocate(kInitialSize));
    ALOS_RETURN_IF_ERROR(file->WriteAt(0, EncodeFileHeader(identity, generation)));
    auto log =
        std::unique_ptr<BasicShardLog>(new BasicShardLog(std::move(file), generation, epochs));
    ALOS_RETURN_IF_ERROR(log->MapFile(kInitialSize));
    log->reserved_ = kInitialSize;
    log->SetEnd(kFirstRecordOffset);
    return log;
  }

  // Opens a file that may have been lost, whole or in part, because it was never flushed: its
  // header is written anew. Recover() must be called before anything else.
  static absl::StatusOr<std::unique_ptr<BasicShardLog>> OpenUnflushed(FileSystem& file_system,
                                                                      const std::string& path,
                                                                      const ShardIdentity& identity,
                                                                      std::uint64_t generation,
                                                                      EpochManager* epochs) {
    ALOS_ASSIGN_OR_RETURN(auto file, file_system.Open(path, OpenMode::kCreate));
    ALOS_RETURN_IF_ERROR(file->Allocate(kInitialSize));
    ALOS_RETURN_IF_ERROR(file->WriteAt(0, EncodeFileHeader(identity, generation)));
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t size, file->Size());
    auto log =
        std::unique_ptr<BasicShardLog>(new BasicShardLog(std::move(file), generation, epochs));
    ALOS_RETURN_IF_ERROR(log->MapFile(size));
    return log;
  }

  // Opens an existing file; Recover() must be called before anything else. kNotFound when there is
  // none, kDataLoss when its header is damaged, kFailedPrecondition when it belongs to another
  // database or shard or has a newer format.
  static absl::StatusOr<std::unique_ptr<BasicShardLog>> Open(FileSystem& file_system,
                                                             const std::string& path,
                                                             const ShardIdentity& identity,
                                                             EpochManager* epochs) {
    ALOS_ASSIGN_OR_RETURN(auto file, file_system.Open(path, OpenMode::kReadWrite));
    std::array<char, kBeginPlaces[1] + kBeginSize> header;
    ALOS_ASSIGN_OR_RETURN(const std::size_t read, file->ReadAt(0, absl::MakeSpan(header)));
    std::uint64_t generation = 0;
    ALOS_RETURN_IF_ERROR(DecodeFileHeader(path, {header.data(), std::min(read, kFileHeaderSize)},
                                          identity, &generation));
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t size, file->Size());
    auto log =
        std::unique_ptr<BasicShardLog>(new BasicShardLog(std::move(file), generation, epochs));
    ALOS_RETURN_IF_ERROR(log->DecodeBegin({header.data(), read}, size));
    ALOS_RETURN_IF_ERROR(log->MapFile(size));
    return log;
  }

  BasicShardLog(const BasicShardLog&) = delete;
  BasicShardLog& operator=(const BasicShardLog&) = delete;

  // Scans from `from` (begin(), or the end recorded by a checkpoint), calls
  // `visit(offset, RecordView)` for every valid record in order, and sets the end of the log.
  //
  // Torn tail or corruption? A record is corruption when it lies below `durable_end`, or below a
  // durable mark in any later record; otherwise it is the torn end of the log: that is cut, zeroed,
  // and must be made durable by the caller (Sync) before the log is used. Valid records with a
  // timestamp above `timestamp_max` are cut as well: nobody was told that they are there.
  // Damaged extents are kept in `damaged()`.
  template <class Visit>
  absl::StatusOr<LogRecovery> Recover(std::uint64_t from, std::uint64_t durable_end,
                                      std::uint64_t timestamp_max, Visit&& visit) {
    const std::uint64_t size = mapping_->mapped_bytes();
    const char* base = mapping_->data();
    LogRecovery recovery;
    recovery.durable_end = durable_end;
    std::uint64_t offset = from;
    std::uint64_t unacknowledged_end = 0;
    std::uint64_t last_timestamp = 0;
    // The highest mark behind the first bad record serves for all later ones too: a mark never
    // names an offset above its own, so one that was passed by cannot cover what comes after it.
    std::optional<std::uint64_t> durable_mark;
    while (offset < size) {
      const RecordState state = CheckRecord(base + offset, size - offset, generation_, offset);
      if (state == RecordState::kValid) {
        const RecordView record(base + offset);
        if (record.header().commit_timestamp > timestamp_max) {
          unacknowledged_end = LastNonZero(base, offset, size);
          break;
        }
        ++recovery.records;
        last_timestamp = record.header().commit_timestamp;
        if (record.header().kind == RecordKind::kDurableMark) {
          recovery.durable_end = std::max(recovery.durable_end, record.header().previous_offset);
        }
        visit(offset, record);
        offset = NextRecordOffset(offset + record.header().size);
        continue;
      }
      const std::uint64_t next = NextValidRecord(offset + kRecordAlignment, size);
      if (!durable_mark) durable_mark = std::max(durable_end, HighestDurableMark(next, size));
      if (*durable_mark <= offset) break;  // a torn tail
      DamagedExtent extent{.offset = offset,
                           .end = std::min(next, size),
                           .document = std::nullopt,
                           .timestamp_min = last_timestamp};
      if (next < size) extent.timestamp_max = RecordView(base + next).header().commit_timestamp;
      if (next >= size)
        extent.end = std::min(std::max(offset + kRecordAlignment, durable_end), size);
      if (state == RecordState::kBodyDamaged) {
        const RecordView record(base + offset);
        extent.document.emplace(record.header().collection, std::string(record.id()));
        extent.end = offset + record.header().size;
        extent.timestamp_min = extent.timestamp_max = record.header().commit_timestamp;
      }
      offset = NextRecordOffset(extent.end);
      recovery.damaged.push_back(std::move(extent));
    }
    // A file that has lost part of its size with the power may end where no record can begin.
    if (offset > size) {
      ALOS_RETURN_IF_ERROR(Reserve(offset));
      base = mapping_->data();
    }
    if (unacknowledged_end != 0) {
      recovery.unacknowledged_bytes = unacknowledged_end - offset;
    } else {
      recovery.torn_bytes = LastNonZero(base, offset, std::max(offset, size)) - offset;
    }
    // Zeroed, so that a later append can never end right before a valid record of the cut part.
    const std::uint64_t cut = recovery.torn_bytes + recovery.unacknowledged_bytes;
    if (cut != 0) std::memset(mapping_->data() + offset, 0, cut);
    damaged_ = recovery.damaged;
    SetEnd(offset);
    // What is behind that may have been given back.
    reserved_ = std::min(size, (offset + kFileBlockBytes - 1) / kFileBlockBytes * kFileBlockBytes);
    return recovery;
  }

  // A record whose space is taken and whose id and body are in place, but not its header.
  struct Prepared {
    std::uint64_t offset = 0;
    RecordHeader header{};
  };

  // Takes space at the tail and copies `id` and `stored_body` there. `header` needs every field but
  // size, checksums, id size and timestamp. kResourceExhausted when the disk is full: nothing
  // changed. Several records may be prepared before they are sealed and published together.
  absl::StatusOr<Prepared> Prepare(RecordHeader header, std::string_view id,
                                   std::string_view stored_body, std::uint32_t body_checksum) {
    const std::uint64_t offset = tail_;
    const std::uint64_t size = kRecordHeaderSize + id.size() + stored_body.size();
    if (size > kRecordSizeMax) {
      return absl::InvalidArgumentError(absl::StrCat("a document of ", stored_body.size(),
                                                     " bytes exceeds the limit of ", kRecordSizeMax,
                                                     " bytes of a record"));
    }
    ALOS_CHECK(id.size() <= kRecordIdSizeMax);
    ALOS_RETURN_IF_ERROR(Reserve(offset + size));
    header.size = static_cast<std::uint32_t>(size);
    header.id_size = static_cast<std::uint16_t>(id.size());
    header.body_checksum = body_checksum;
    char* start = mapping_->data() + offset;
    if (!id.empty()) std::memcpy(start + kRecordHeaderSize, id.data(), id.size());
    if (!stored_body.empty())
      std::memcpy(start + kRecordHeaderSize + id.size(), stored_body.data(), stored_body.size());
    // The header's place as well: then all pages are there when the record is sealed.
    *static_cast<volatile char*>(start) = *static_cast<volatile char*>(start);
    if (IsTailLost()) {
      return absl::DataLossError(
          absl::StrCat(path(), ": offset ", offset,
                       ": the device cannot read the end of the log, so "
                       "that nothing more is written to it; check the disk"));
    }
    tail_ = NextRecordOffset(offset + size);
    return Prepared{offset, header};
  }

  // Writes the header: from here on the record is whole. Returns its bytes, valid until the caller
  // gives up the writer role.
  std::string_view Seal(const Prepared& prepared, std::uint64_t commit_timestamp) {
    ALOS_DCHECK(prepared.offset >= end_.load(std::memory_order_relaxed) && prepared.offset < tail_);
    RecordHeader header = prepared.header;
    header.commit_timestamp = commit_timestamp;
    char* start = mapping_->data() + prepared.offset;
    header.header_checksum = RecordHeaderChecksum(
        header, {start + kRecordHeaderSize, header.id_size}, generation_, prepared.offset);
    std::memcpy(start, &header, sizeof header);
    return {start, header.size};
  }

  // Lets scans see everything sealed so far.
  void Publish() {
    IsTailLost();
    end_.store(tail_, std::memory_order_release);
  }

  // Gives back the space of what was prepared but not sealed.
  void Discard() { tail_ = end_.load(std::memory_order_relaxed); }

  // The offset of the first record. What is below it is in no snapshot that is read, and is not
  // there any more once an epoch has passed. Only grows.
  std::uint64_t begin() const { return begin_.load(std::memory_order_acquire); }
  // As it was opened, or stored since.
  LogBegin stored_begin() const { return {stored_begin_offset_, complete_until_}; }

  // Nobody who enters an epoch from here on reads below `offset`, the place of a record or the end
  // of the log.
  void SetBegin(std::uint64_t offset) {
    ALOS_CHECK(offset >= this->begin() && offset <= end());
    begin_.store(offset, std::memory_order_release);
  }

  // Makes begin() durable. One thread at a time. After an error either begin may be found.
  absl::Status StoreBegin(std::uint64_t complete_until) {
    const std::uint64_t begin = this->begin();
    // The other copy is durable since the last call that succeeded. It gets this, too, should this
    // one rot; the next call begins with it.
    const std::uint64_t sequence = begin_sequence_ + 1;
    const std::string bytes = EncodeBegin(sequence, begin, complete_until);
    ALOS_RETURN_IF_ERROR(file_->WriteAt(kBeginPlaces[sequence % 2], bytes));
    ALOS_RETURN_IF_ERROR(Sync());
    begin_sequence_ = sequence;
    stored_begin_offset_ = begin;
    complete_until_ = complete_until;
    return file_->WriteAt(kBeginPlaces[1 - sequence % 2], bytes);
  }

  // Gives the space of [from, to) back, as far as it is whole blocks behind the file's header.
  // Nothing there may be read any more, and StoreBegin must have returned OK. Returns the bytes
  // that were given back, if they were not before.
  absl::StatusOr<std::uint64_t> GiveBack(std::uint64_t from, std::uint64_t to) {
    from = std::max(from / kFileBlockBytes, std::uint64_t{1}) * kFileBlockBytes;
    to = to / kFileBlockBytes * kFileBlockBytes;
    if (from >= to) return std::uint64_t{0};
    ALOS_CHECK(to <= stored_begin_offset_);
    ALOS_RETURN_IF_ERROR(file_->PunchHole(from, to - from));
    return to - from;
  }

  // Gives back what was set aside for records to come, but for a little. The writer's; nothing is
  // prepared.
  absl::StatusOr<std::uint64_t> GiveSpareBack() {
    const std::uint64_t keep =
        (tail_ + kInitialSize + kFileBlockBytes - 1) / kFileBlockBytes * kFileBlockBytes;
    if (keep >= reserved_) return std::uint64_t{0};
    const std::uint64_t spare = reserved_ - keep;
    ALOS_RETURN_IF_ERROR(file_->PunchHole(keep, spare / kFileBlockBytes * kFileBlockBytes));
    reserved_ = keep;
    return spare;
  }

  // The bytes at `offset`, valid while the caller's epoch guard lives.
  const char* At(std::uint64_t offset) const { return mapping_.At(offset); }

  // One past the last published record.
  std::uint64_t end() const { return end_.load(std::memory_order_acquire); }
  std::uint64_t generation() const { return generation_; }
  std::uint64_t file_size() const { return allocated_.load(std::memory_order_relaxed); }
  const std::string& path() const { return file_->path(); }
  // Found by Recover(); constant afterwards.
  const std::vector<DamagedExtent>& damaged() const { return damaged_; }

  // Everything published before the call is on stable storage when this returns OK. The first
  // failure is final: the kernel reports it once and calls the lost pages clean, so that a later
  // flush that succeeds would prove nothing.
  absl::Status Sync() {
    // One at a time: of two flushes that overlap only one is told of a failure.
    absl::MutexLock lock(&sync_mutex_);
    if (sync_failed_) {
      return absl::UnavailableError(absl::StrCat(
          path(), ": an earlier flush of this file failed; check the disk, then restart"));
    }
    const std::uint64_t end = this->end();
    absl::Status status = file_->Sync();
    if (status.ok() && is_tail_lost_.load(std::memory_order_acquire)) {
      status = absl::DataLossError(absl::StrCat(
          path(), ": the device could not read a page that was written to; check the disk"));
    }
    if (!status.ok()) {
      sync_failed_ = true;
      return status;
    }
    // The flush of another thread may have covered more.
    std::uint64_t seen = durable_end_.load(std::memory_order_relaxed);
    while (seen < end &&
           !durable_end_.compare_exchange_weak(seen, end, std::memory_order_relaxed)) {
    }
    return absl::OkStatus();
  }

  // The end of the log at the start of the last successful Sync().
  std::uint64_t durable_end() const { return durable_end_.load(std::memory_order_relaxed); }

  // Puts `bytes` at `offset`, growing the file: how a journal is replayed, before Recover().
  // Written, not stored, even if the same bytes are there: see Rewrite().
  absl::Status Restore(std::uint64_t offset, std::string_view bytes) {
    ALOS_RETURN_IF_ERROR(Reserve(offset + bytes.size()));
    return file_->WriteAt(offset, bytes);
  }

  // Writes [from, end()) once more, so that the next Sync() flushes all of it: after a failed flush
  // the kernel may call a page clean that the disk never got. From 0: the file's header, too.
  // Before the log is in use.
  absl::Status Rewrite(std::uint64_t from) {
    constexpr std::uint64_t kChunkSize = 1 << 20;
    std::string chunk;
    if (from < kFirstRecordOffset) {
      chunk.assign(mapping_->data(), kFirstRecordOffset);
      ALOS_RETURN_IF_ERROR(file_->WriteAt(0, chunk));
    }
    // Not what has been given back.
    for (std::uint64_t offset = std::max(from, begin()); offset < end(); offset += chunk.size()) {
      chunk.assign(mapping_->data() + offset, std::min(kChunkSize, end() - offset));
      ALOS_RETURN_IF_ERROR(file_->WriteAt(offset, chunk));
    }
    return absl::OkStatus();
  }

  // Turns the record at `offset` into kAborted, in place: before the log is in use, by recovery.
  void MarkAborted(std::uint64_t offset) {
    char* start = mapping_->data() + offset;
    RecordHeader header;
    std::memcpy(&header, start, sizeof header);
    header.kind = RecordKind::kAborted;
    header.header_checksum = RecordHeaderChecksum(
        header, {start + kRecordHeaderSize, header.id_size}, generation_, offset);
    std::memcpy(start, &header, sizeof header);
  }

  // Puts a record with this header, and zeros for a body, in place of the `size` bytes at `offset`:
  // how repair takes damage out of the way. Before the log is in use. REQUIRES: they are below
  // end(), and enough for header and id.
  void Overwrite(std::uint64_t offset, std::uint64_t size, RecordHeader header, std::string id) {
    ALOS_CHECK(size >= kRecordHeaderSize + id.size() && size <= kRecordSizeMax &&
               offset + size <= end());
    char* start = mapping_->data() + offset;
    char* body = start + kRecordHeaderSize + id.size();
    std::memset(body, 0, size - kRecordHeaderSize - id.size());
    if (!id.empty()) std::memcpy(start + kRecordHeaderSize, id.data(), id.size());
    header.size = static_cast<std::uint32_t>(size);
    header.id_size = static_cast<std::uint16_t>(id.size());
    header.codec = 0;
    header.flags = 0;
    header.raw_body_size = 0;
    header.body_checksum = Crc32c({body, size - kRecordHeaderSize - id.size()});
    header.header_checksum = RecordHeaderChecksum(header, id, generation_, offset);
    std::memcpy(start, &header, sizeof header);
  }

  // Changes of how many records the transaction of the record at `offset` consists: when others of
  // them are beyond repair. Before the log is in use.
  void SetTransactionRecordCount(std::uint64_t offset, std::uint32_t count) {
    char* start = mapping_->data() + offset;
    RecordHeader header;
    std::memcpy(&header, start, sizeof header);
    header.transaction_record_count = count;
    header.header_checksum = RecordHeaderChecksum(
        header, {start + kRecordHeaderSize, header.id_size}, generation_, offset);
    std::memcpy(start, &header, sizeof header);
  }

  // Whether the file has a record of this generation.
  static bool HasRecords(std::string_view file, std::uint64_t generation) {
    for (std::uint64_t offset = kFirstRecordOffset; offset + kRecordHeaderSize <= file.size();
         offset += kRecordAlignment) {
      if (CheckRecord(file.data() + offset, file.size() - offset, generation, offset) ==
          RecordState::kValid) {
        return true;
      }
    }
    return false;
  }
  static std::string FileHeader(const ShardIdentity& identity, std::uint64_t generation) {
    return EncodeFileHeader(identity, generation);
  }

 private:
  using FileType = typename FileSystem::FileType;
  using MappingType = typename FileSystem::MappingType;

  static constexpr std::size_t kFileHeaderSize = 44;
  static constexpr std::uint64_t kBeginPlaces[2] = {64, 128};
  static constexpr std::size_t kBeginSize = 28;
  static constexpr std::uint32_t kFormatVersion = 1;
  static constexpr std::string_view kMagic = "ALOSLOG1";
  static constexpr std::uint64_t kInitialSize = 8 << 10;
  static constexpr std::uint64_t kGrowthMax = 64 << 20;
  static constexpr std::uint64_t kInitialReservation = 64 << 20;

  BasicShardLog(std::unique_ptr<FileType> file, std::uint64_t generation, EpochManager* epochs)
      : file_(std::move(file)), generation_(generation), mapping_(epochs) {}

  static std::string EncodeFileHeader(const ShardIdentity& identity, std::uint64_t generation) {
    std::string header(kFileHeaderSize, '\0');
    std::memcpy(header.data(), kMagic.data(), 8);
    std::memcpy(header.data() + 8, &kFormatVersion, 4);
    std::memcpy(header.data() + 12, &identity.shard, 4);
    std::memcpy(header.data() + 16, identity.database_id.data(), 16);
    std::memcpy(header.data() + 32, &generation, 8);
    const std::uint32_t checksum = Crc32c(std::string_view(header).substr(0, 40));
    std::memcpy(header.data() + 40, &checksum, 4);
    header.resize(kFirstRecordOffset);  // no word of where it begins
    return header;
  }

  static absl::Status DecodeFileHeader(const std::string& path, std::string_view header,
                                       const ShardIdentity& identity, std::uint64_t* generation) {
    std::uint32_t checksum = 0;
    if (header.size() == kFileHeaderSize) std::memcpy(&checksum, header.data() + 40, 4);
    if (header.size() < kFileHeaderSize || header.substr(0, 8) != kMagic ||
        Crc32c(header.substr(0, 40)) != checksum) {
      return absl::DataLossError(
          absl::StrCat(path,
                       ": offset 0: the file header is damaged or this is not a shard log; "
                       "restore the file from a backup"));
    }
    std::uint32_t version = 0;
    std::uint32_t shard = 0;
    std::memcpy(&version, header.data() + 8, 4);
    std::memcpy(&shard, header.data() + 12, 4);
    std::memcpy(generation, header.data() + 32, 8);
    if (version != kFormatVersion) {
      return absl::FailedPreconditionError(absl::StrCat(path, ": format version ", version,
                                                        ", this program reads version ",
                                                        kFormatVersion, "; use a newer alos"));
    }
    if (shard != identity.shard ||
        std::memcmp(header.data() + 16, identity.database_id.data(), 16) != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": this file is shard ", shard,
                       " of another database or place; was it copied here by hand? "
                       "Expected shard ",
                       identity.shard, " of this database"));
    }
    return absl::OkStatus();
  }

  std::uint32_t BeginChecksum(std::string_view bytes) const {
    return Crc32c({reinterpret_cast<const char*>(&generation_), 8}, Crc32c(bytes.substr(0, 24)));
  }

  std::string EncodeBegin(std::uint64_t sequence, std::uint64_t begin,
                          std::uint64_t complete_until) const {
    std::string bytes(kBeginSize, '\0');
    std::memcpy(bytes.data(), &sequence, 8);
    std::memcpy(bytes.data() + 8, &begin, 8);
    std::memcpy(bytes.data() + 16, &complete_until, 8);
    const std::uint32_t checksum = BeginChecksum(bytes);
    std::memcpy(bytes.data() + 24, &checksum, 4);
    return bytes;
  }

  // Before there are readers.
  absl::Status DecodeBegin(std::string_view header, std::uint64_t file_size) {
    int bad_copies = 0;
    for (const std::uint64_t place : kBeginPlaces) {
      if (header.size() < place + kBeginSize) break;
      const std::string_view bytes = header.substr(place, kBeginSize);
      if (bytes.find_first_not_of('\0') == bytes.npos) continue;
      std::uint32_t checksum = 0;
      std::uint64_t sequence = 0;
      std::uint64_t begin = 0;
      std::memcpy(&sequence, bytes.data(), 8);
      std::memcpy(&begin, bytes.data() + 8, 8);
      std::memcpy(&checksum, bytes.data() + 24, 4);
      if (BeginChecksum(bytes) != checksum || begin < kFirstRecordOffset ||
          begin % kRecordAlignment != 0 || begin > file_size) {
        ++bad_copies;
        continue;
      }
      if (sequence < begin_sequence_) continue;
      begin_sequence_ = sequence;
      stored_begin_offset_ = begin;
      std::memcpy(&complete_until_, bytes.data() + 16, 8);
    }
    begin_.store(stored_begin_offset_, std::memory_order_release);
    reserved_ = stored_begin_offset_ / kFileBlockBytes * kFileBlockBytes;
    // The very first one may be torn: then nothing was given back yet. The other place is written
    // only once that one is durable.
    if (bad_copies < 2) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat(path(),
                     ": offset 64: where the log begins is damaged, in both copies; "
                     "restore the file from a backup"));
  }

  // Makes the bytes from the begin to `size` writable. Only the writer, or before there are
  // readers.
  absl::Status Reserve(std::uint64_t size) {
    if (size <= reserved_) return absl::OkStatus();
    const std::uint64_t allocated = allocated_.load(std::memory_order_relaxed);
    // Doubling while small, so that many small shards cost little; then steps a disk likes. What
    // was given back does not count.
    const std::uint64_t used = reserved_ - std::min(reserved_, begin());
    const std::uint64_t step = std::clamp<std::uint64_t>(
        used < (std::uint64_t{1} << 20) ? used : used / 4, kInitialSize, kGrowthMax);
    std::uint64_t wanted = std::max(size, reserved_ + step);
    wanted = (wanted + 4095) & ~std::uint64_t{4095};
    if (size <= allocated) wanted = std::min(wanted, allocated);
    ALOS_RETURN_IF_ERROR(file_->AllocateRange(reserved_, wanted));
    if (wanted > allocated) {
      if (wanted > mapping_->reserved_bytes()) {
        ALOS_RETURN_IF_ERROR(MapFile(wanted));
      } else {
        ALOS_RETURN_IF_ERROR(mapping_->Extend(wanted));
        allocated_.store(wanted, std::memory_order_relaxed);
      }
    }
    reserved_ = wanted;
    return absl::OkStatus();
  }

  // Maps the file anew with room to grow; readers keep the old map until their epoch ends.
  absl::Status MapFile(std::uint64_t size) {
    std::uint64_t reservation = mapping_ ? mapping_->reserved_bytes() : kInitialReservation;
    while (reservation < size + size / 2) reservation *= 4;
    ALOS_ASSIGN_OR_RETURN(std::unique_ptr<MappingType> mapping, file_->Map(reservation));
    ALOS_RETURN_IF_ERROR(mapping->Extend(size));
    allocated_.store(mapping->mapped_bytes(), std::memory_order_relaxed);
    mapping_.Replace(std::move(mapping));
    return absl::OkStatus();
  }

  // Whether a page that is being written to could not be read: then what is stored there does not
  // reach the file. The writer's.
  bool IsTailLost() {
    if (mapping_->failed_end() > (end_.load(std::memory_order_relaxed) & ~std::uint64_t{4095}))
      is_tail_lost_.store(true, std::memory_order_release);
    return is_tail_lost_.load(std::memory_order_relaxed);
  }

  void SetEnd(std::uint64_t end) {
    tail_ = end;
    end_.store(end, std::memory_order_release);
  }

  // One past the last non-zero byte in [offset, size); `offset` when all are zero.
  static std::uint64_t LastNonZero(const char* base, std::uint64_t offset, std::uint64_t size) {
    std::uint64_t last = size;
    while (last >= offset + 8) {
      std::uint64_t word;
      std::memcpy(&word, base + last - 8, 8);
      if (word != 0) break;
      last -= 8;
    }
    while (last > offset && base[last - 1] == 0) --last;
    return last;
  }

  // The first offset >= from with a valid record, or `size`.
  std::uint64_t NextValidRecord(std::uint64_t from, std::uint64_t size) const {
    const char* base = mapping_->data();
    for (std::uint64_t offset = from; offset + kRecordHeaderSize <= size;
         offset += kRecordAlignment) {
      std::uint32_t record_size;
      std::memcpy(&record_size, base + offset, 4);
      if (record_size == 0) continue;
      if (CheckRecord(base + offset, size - offset, generation_, offset) == RecordState::kValid)
        return offset;
    }
    return size;
  }

  // The highest durable mark of the valid records from `offset` (a valid record) on.
  std::uint64_t HighestDurableMark(std::uint64_t offset, std::uint64_t size) const {
    const char* base = mapping_->data();
    std::uint64_t mark = 0;
    while (offset < size) {
      if (CheckRecord(base + offset, size - offset, generation_, offset) != RecordState::kValid) {
        offset = NextValidRecord(offset + kRecordAlignment, size);
        continue;
      }
      const RecordView record(base + offset);
      if (record.header().kind == RecordKind::kDurableMark)
        mark = std::max(mark, record.header().previous_offset);
      offset = NextRecordOffset(offset + record.header().size);
    }
    return mark;
  }

  // Constant after construction.
  const std::unique_ptr<FileType> file_;
  const std::uint64_t generation_;
  std::vector<DamagedExtent> damaged_;  // after Recover()

  // Whoever compacts, one at a time.
  std::uint64_t begin_sequence_ = 0;
  std::uint64_t stored_begin_offset_ = kFirstRecordOffset;
  std::uint64_t complete_until_ = 0;

  // The writer's; but through mapping_ all read.
  GrowableMapping<MappingType> mapping_;
  std::uint64_t tail_ = 0;      // one past the last prepared record; >= end_
  std::uint64_t reserved_ = 0;  // what is between the begin and this has space of its own

  // Written by the writer, read by all.
  std::atomic<std::uint64_t> end_{0};
  std::atomic<std::uint64_t> allocated_{0};
  std::atomic<std::uint64_t> begin_{kFirstRecordOffset};
  std::atomic<bool> is_tail_lost_{false};
  // Written by whoever flushes.
  std::atomic<std::uint64_t> durable_end_{0};
  absl::Mutex sync_mutex_;
  bool sync_failed_ ABSL_GUARDED_BY(sync_mutex_) = false;
};

}  // namespace alos

#endif  // ALOS_STORAGE_SHARD_LOG_H_
