// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The record: the unit of a shard log. One version of one document, the deletion of one, or a mark.
//
//   offset size field
//   0      4    size                       of the record in bytes, header included, padding not
//   4      4    header checksum            CRC-32C, see below
//   8      8    commit timestamp
//   16     8    previous offset            of this document's previous version in this log; 0: none
//                                          (kDurableMark: the log offset known to be durable)
//   24     4    collection id
//   28     4    raw body size              of the body before its codec
//   32     4    transaction record count   records of this commit over all shards; 0: a single
//                                          write
//   36     4    body checksum              CRC-32C of the stored body; 0 when kBodyUnchecked is set
//   40     2    id size
//   42     1    kind                       RecordKind
//   43     1    codec id
//   44     4    flags                      kBodyUnchecked, kRelocated, others zero
//   48     ...  id, then stored body
//
// Integers are little-endian. Records start at multiples of 8, and never so that the 48-byte header
// would cross a 512-byte sector: NextRecordOffset() is the one rule, used to write and to scan.
//
// The header checksum covers bytes [0, 4) and [8, 48), the id and, without being stored, the
// generation of the file and the offset of the record in it. So a record is valid only where it was
// written: a misdirected or stale sector does not pass. That header and id are checked apart from
// the body has two uses: when a body is damaged it is certain whose it is, and the body's checksum,
// the long part, is computed before the commit timestamp is known.

#ifndef ALOS_STORAGE_RECORD_H_
#define ALOS_STORAGE_RECORD_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "alos/base/crc32c.h"

namespace alos {

static_assert(std::endian::native == std::endian::little,
              "record fields are stored as they lie in memory");

enum class RecordKind : std::uint8_t {
  kPut = 1,     // a version of a document
  kDelete = 2,  // the document is gone from this timestamp on
  kDurableMark =
      3,         // everything below `previous offset` was on stable storage when this was written
  kAborted = 4,  // a part of a transaction that recovery found incomplete: as if it never was
};

inline constexpr std::uint32_t kBodyUnchecked = 1;  // written with checksums of bodies disabled
// What the previous version was, moved to here by compaction: the document did not change.
inline constexpr std::uint32_t kRelocated = 4;

struct RecordHeader {
  std::uint32_t size;
  std::uint32_t header_checksum;
  std::uint64_t commit_timestamp;
  std::uint64_t previous_offset;
  std::uint32_t collection;
  std::uint32_t raw_body_size;
  std::uint32_t transaction_record_count;
  std::uint32_t body_checksum;
  std::uint16_t id_size;
  RecordKind kind;
  std::uint8_t codec;
  std::uint32_t flags;
};
static_assert(sizeof(RecordHeader) == 48);

inline constexpr std::size_t kRecordHeaderSize = sizeof(RecordHeader);
inline constexpr std::uint64_t kRecordAlignment = 8;
inline constexpr std::uint64_t kSectorSize = 512;
inline constexpr std::size_t kRecordIdSizeMax = 1024 + 8;
// A record holds one document; the wire refuses larger frames long before this.
inline constexpr std::uint64_t kRecordSizeMax = std::uint64_t{1} << 30;

// The first offset at or after `end` at which a record may start.
constexpr std::uint64_t NextRecordOffset(std::uint64_t end) {
  const std::uint64_t aligned = (end + kRecordAlignment - 1) & ~(kRecordAlignment - 1);
  const std::uint64_t in_sector = aligned % kSectorSize;
  return in_sector > kSectorSize - kRecordHeaderSize ? aligned + (kSectorSize - in_sector)
                                                     : aligned;
}

// A view of a record in a mapped log. Trivially copyable; valid as long as the mapping.
class RecordView {
 public:
  explicit RecordView(const char* start) : start_(start) {
    std::memcpy(&header_, start, sizeof header_);
  }

  const RecordHeader& header() const { return header_; }
  std::string_view id() const { return {start_ + kRecordHeaderSize, header_.id_size}; }
  std::string_view stored_body() const {
    return {start_ + kRecordHeaderSize + header_.id_size,
            header_.size - kRecordHeaderSize - header_.id_size};
  }
  std::string_view bytes() const { return {start_, header_.size}; }

 private:
  const char* start_;
  RecordHeader header_;
};

// The checksum of `header` and `id` for a record at `offset` of the file with `generation`.
inline std::uint32_t RecordHeaderChecksum(const RecordHeader& header, std::string_view id,
                                          std::uint64_t generation, std::uint64_t offset) {
  char covered[4 + 40 + 16];
  const char* raw = reinterpret_cast<const char*>(&header);
  std::memcpy(covered, raw, 4);
  std::memcpy(covered + 4, raw + 8, 40);
  std::memcpy(covered + 44, &generation, 8);
  std::memcpy(covered + 52, &offset, 8);
  return Crc32c(id, Crc32c({covered, sizeof covered}));
}

// True when the header at `start` could be that of a record which fits into `available` bytes. Says
// nothing about its content: nothing that a header says may be used before this holds.
inline bool IsPlausibleRecord(const char* start, std::uint64_t available) {
  if (available < kRecordHeaderSize) return false;
  RecordHeader header;
  std::memcpy(&header, start, sizeof header);
  return header.size >= kRecordHeaderSize && header.size <= available &&
         header.size <= kRecordSizeMax && header.id_size <= kRecordIdSizeMax &&
         kRecordHeaderSize + header.id_size <= header.size && header.kind >= RecordKind::kPut &&
         header.kind <= RecordKind::kAborted;
}

// What can be said of the bytes at an offset.
enum class RecordState {
  kValid,          // header, id and body are as they were written
  kBodyDamaged,    // header and id are, the body is not
  kUnrecognizable  // no header was written here, or it is damaged
};

// Checks the record at `start`, which lies at `offset` of the file with `generation`.
// Cost: one pass of CRC-32C over the record.
inline RecordState CheckRecord(const char* start, std::uint64_t available, std::uint64_t generation,
                               std::uint64_t offset) {
  if (!IsPlausibleRecord(start, available)) return RecordState::kUnrecognizable;
  const RecordView record(start);
  const RecordHeader& header = record.header();
  if (RecordHeaderChecksum(header, record.id(), generation, offset) != header.header_checksum) {
    return RecordState::kUnrecognizable;
  }
  const bool body_is_good =
      (header.flags & kBodyUnchecked) != 0 || Crc32c(record.stored_body()) == header.body_checksum;
  return body_is_good ? RecordState::kValid : RecordState::kBodyDamaged;
}

}  // namespace alos

#endif  // ALOS_STORAGE_RECORD_H_
