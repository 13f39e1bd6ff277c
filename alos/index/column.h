// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A column: what one field is in each row of a segment, and where each value is. An immutable image
// of bytes, made by column_builder.h, to be read through a memory map.
//
//   dictionary   the distinct index keys (index_key.h), sorted; they are numbered from 1: codes.
//                Codes are ordered as values are. Code 0 means that the field is missing
//   column       for each row its code. A row with several entries (arrays), or with none, has
//                key_count + 1 + the number of a list; equal lists are stored once
//   postings     for each code the rows that have it, ascending, one code after the other; but for
//                dense codes, of which there are few and which a scan of the column finds fast
//
// Layout, little-endian; every section begins at a multiple of 64, with zeros between:
//
//   offset 0   8   "ALOSCOL1"
//          8   4   format version, 1
//         12   4   CRC-32C of the header from offset 16 on
//         16   4   CRC-32C of everything from offset 256 on
//         20   4   flags: 1 cut keys, 2 overflow, 4 integers, 8 doubles, 16 keys of one size, 64
//         reached
//                  through arrays,
//                  32 every key has exactly one entry
//         24   8   size of the image
//         32   4   rows
//         36   4   keys
//         40   4   lists
//         44   4   bytes per row of the column: 1, 2 or 4, the fewest that keys + lists fits into
//         48   4   entries: pairs of row and code
//         52   4   of these with code 0
//         56   4   dense codes
//         60   4   bytes per block offset: 4 or 8
//         64   4   bytes that all keys begin with
//         68   4   keys of one size: their size, else 0
//         72   4   keys of one size: how many bytes of each are stored, else 0
//         76   4   0
//         80  160  offset and size (8 bytes each) of ten sections, in this order:
//
//   frame          the bytes that all keys begin with; then, for keys of one size, those that all
//                  end with
//   dictionary     keys of one size: of each the bytes between these. Else blocks of 16 keys: per
//                  key how many bytes it shares with the one before in the block and how many
//                  follow (LEB128 each), then these
//   block offsets  of each block in the dictionary; none for keys of one size
//   heads          8 bytes per 16 keys: those that follow the common ones in the first of the 16,
//   as
//                  a big-endian number, zeros past its end
//   entries begin  4 bytes per code, and one more: entries of all lower codes. Left out (size 0)
//                  when every key has exactly one
//   dense          the dense codes, ascending, 4 bytes each; then for each, and for one past the
//                  last, the entries of the dense codes below it
//   postings       rows, 4 bytes each, of the codes that are not dense
//   column         one value per row
//   list begin     4 bytes per list, and one more: where its codes begin in:
//   lists          codes, ascending within a list, 4 bytes each
//
// A code is dense when it has at least max(kDenseEntriesMin, rows / kDenseShare) entries.

#ifndef ALOS_INDEX_COLUMN_H_
#define ALOS_INDEX_COLUMN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"

namespace alos {

using Code = std::uint32_t;
inline constexpr Code kMissingCode = 0;

inline constexpr std::uint32_t kDenseEntriesMin = 64;
inline constexpr std::uint32_t kDenseShare = 64;

// What the numbers of a column were before 5 and 5.0 became one key. Bits, to be combined.
enum class NumberTypes : std::uint8_t {
  kNone = 0,
  kIntegers = 1,
  kDoubles = 2,  // and no -0.0, which would come back as 0.0
  kMixed = 3,
};
constexpr NumberTypes operator|(NumberTypes a, NumberTypes b) {
  return static_cast<NumberTypes>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

namespace index_internal {

enum ColumnFlag : std::uint32_t {
  kFlagCutKeys = 1,
  kFlagOverflow = 2,
  kFlagNumberTypes = 4 | 8,  // NumberTypes, shifted
  kFlagFixed = 16,
  kFlagUnique = 32,
  kFlagThroughArrays = 64,
  kFlagsKnown = 127,
};
inline constexpr unsigned kNumberTypesShift = 2;

enum SectionName : std::size_t {
  kFrame,
  kDictionary,
  kBlockOffsets,
  kHeads,
  kEntriesBegin,
  kDense,
  kPostings,
  kColumn,
  kListBegin,
  kLists,
  kSectionCount,
};

struct ColumnHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t header_crc;
  std::uint32_t body_crc;
  std::uint32_t flags;
  std::uint64_t size;
  std::uint32_t rows;
  std::uint32_t key_count;
  std::uint32_t list_count;
  std::uint32_t width;
  std::uint32_t entry_count;
  std::uint32_t missing_count;
  std::uint32_t dense_count;
  std::uint32_t offset_width;
  std::uint32_t prefix_size;
  std::uint32_t key_size;
  std::uint32_t stored_size;
  std::uint32_t reserved;
  struct Section {
    std::uint64_t offset;
    std::uint64_t size;
  } sections[kSectionCount];
  char padding[16];
};
static_assert(sizeof(ColumnHeader) == 256 && std::is_trivially_copyable_v<ColumnHeader>);

inline constexpr std::string_view kColumnMagic = "ALOSCOL1";
inline constexpr std::size_t kColumnAlignment = 64;
inline constexpr std::uint32_t kKeysPerBlock = 16;

// The first 8 bytes as a number that orders as they do; zeros past the end.
inline std::uint64_t LoadHead(std::string_view bytes) {
  std::uint64_t head = 0;
  if (bytes.empty()) return head;  // data() may be null.
  std::memcpy(&head, bytes.data(), std::min(bytes.size(), sizeof(head)));
  return __builtin_bswap64(head);
}

// Reads a LEB128 number of at most 32 bits at *p and moves *p past it; false: there is none.
inline bool TakeVarint(const char** p, const char* end, std::uint32_t* value) {
  if (*p != end && static_cast<unsigned char>(**p) < 0x80) [[likely]] {
    *value = static_cast<unsigned char>(*(*p)++);
    return true;
  }
  std::uint32_t result = 0;
  for (unsigned shift = 0; shift < 32 && *p != end; shift += 7) {
    const auto byte = static_cast<unsigned char>(*(*p)++);
    result |= static_cast<std::uint32_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = result;
      return true;
    }
  }
  return false;
}

}  // namespace index_internal

// A view of a column's image.
//
// Threads: immutable, any number of readers.
// Lifetime: views the bytes it was opened on, which must stay and not change; so do all spans. A
//   copy is another view of the same bytes.
// Durability: none.
// Errors: Open and VerifyBody say that the bytes are no column, or a damaged one (kDataLoss). Open
//   reads the header only. If the rest is damaged and VerifyBody was not asked, every accessor
//   returns something, and none reads outside the image; but rows in postings may then be any
//   number, and so may values of data(): who uses them as an index checks them against rows() and
//   key_count() first.
// Cost: as noted; nothing allocates but `scratch`.
class Column {
 public:
  // A column without rows.
  Column() = default;

  // The column whose image is exactly `bytes`, which begin at a multiple of 8.
  static absl::StatusOr<Column> Open(std::string_view bytes);

  // kDataLoss when any byte is not as it was written. O(size).
  absl::Status VerifyBody() const;

  std::uint32_t rows() const { return rows_; }
  std::uint32_t key_count() const { return key_count_; }  // codes are 1 .. key_count
  std::uint32_t list_count() const { return list_count_; }
  // Whether any row has several entries, or none: then entries and rows are not the same.
  bool has_lists() const { return list_count_ != 0; }
  std::uint32_t entry_count() const { return entry_count_; }
  // Whether the key of some value was cut: equality needs the document, the order of such values
  // is not that of their codes. For one path IsCutIndexKey tells which.
  bool has_truncated_keys() const { return (flags_ & index_internal::kFlagCutKeys) != 0; }
  // Whether entries were left out: absence proves nothing, counts are too low.
  bool has_overflow() const { return (flags_ & index_internal::kFlagOverflow) != 0; }
  // Some entries were reached through an array: `b` of {a: [{b: 1}]}. Then a row with one entry may
  // still stand for an array where expressions are concerned.
  bool has_through_arrays() const { return (flags_ & index_internal::kFlagThroughArrays) != 0; }
  NumberTypes number_types() const {
    return static_cast<NumberTypes>((flags_ & index_internal::kFlagNumberTypes) >>
                                    index_internal::kNumberTypesShift);
  }
  std::size_t size_bytes() const { return bytes_.size(); }
  // Of these: the keys, with what finds them.
  std::size_t dictionary_bytes() const {
    return frame_.size() + dictionary_.size() + block_offsets_.size() + heads_.size() * 8;
  }
  std::string_view bytes() const { return bytes_; }

  // The first code whose key is not less than `key`; key_count() + 1 if there is none. O(log keys),
  // three to five cache misses.
  Code LowerBound(std::string_view key) const;
  std::optional<Code> Find(std::string_view key) const;

  // The key of a code in 1 .. key_count(), "" for others. In *scratch, or as long as neither it nor
  // the image changes.
  std::string_view Key(Code code, std::string* scratch) const;

  // Asks for the memory that ForEachKey(code, ...) begins with.
  void Prefetch(Code code) const {
    if (is_fixed() || code == 0 || code > key_count_) return;
    const std::string_view bytes = Block((code - 1) / index_internal::kKeysPerBlock);
    for (std::size_t at = 0; at < 512 && at < bytes.size(); at += 64)
      __builtin_prefetch(bytes.data() + at);
  }

  // Calls visit(Code, std::string_view key) for the codes in [first, end), ascending; 0 and codes
  // above key_count() are left out. If visit returns bool, true ends it, as in VisitPath. The key
  // is contiguous and valid during the call.
  template <class Visit>
  void ForEachKey(Code first, Code end, Visit&& visit) const;

  // Pairs of a row and a code in [first, end). O(1).
  std::uint64_t CountEntries(Code first, Code end) const {
    first = std::min(first, key_count_ + 1);
    end = std::min(end, key_count_ + 1);
    if (first >= end) return 0;
    const std::uint32_t begin_entry = EntriesBegin(first);
    const std::uint32_t end_entry = EntriesBegin(end);
    return end_entry > begin_entry ? end_entry - begin_entry : 0;
  }

  // Dense codes have no postings; there are at most kDenseShare times the entries of a row of them.
  bool IsDense(Code code) const {
    return std::binary_search(dense_codes_.begin(), dense_codes_.end(), code);
  }
  absl::Span<const Code> dense_codes() const { return dense_codes_; }  // ascending

  // The rows that have `code`, ascending. Empty when it is dense. O(log dense codes).
  absl::Span<const std::uint32_t> Postings(Code code) const {
    return code <= key_count_ ? PostingsRange(code, code + 1) : absl::Span<const std::uint32_t>();
  }
  // The rows of the codes in [first, end) that are not dense, in the order of codes. A row with
  // several entries may come more than once.
  absl::Span<const std::uint32_t> PostingsRange(Code first, Code end) const {
    first = std::min(first, key_count_ + 1);
    end = std::min(end, key_count_ + 1);
    if (first >= end) return {};
    const std::uint64_t begin_posting = PostingsBegin(first);
    const std::uint64_t end_posting = PostingsBegin(end);
    if (begin_posting >= end_posting || end_posting > postings_.size()) return {};
    return postings_.subspan(begin_posting, end_posting - begin_posting);
  }

  // Calls visit(code, rows) for each code in [first, end), ascending, with what Postings(code) is.
  // O(log dense codes + codes).
  template <class Visit>
  void VisitPostings(Code first, Code end, Visit&& visit) const {
    end = std::min(end, key_count_ + 1);
    if (first >= end) return;
    auto dense = std::lower_bound(dense_codes_.begin(), dense_codes_.end(), first);
    std::uint32_t entry = EntriesBegin(first);
    for (Code code = first; code < end; ++code) {
      const std::uint32_t next_entry = EntriesBegin(code + 1);
      const std::uint32_t dense_entries = dense_begin_[dense - dense_codes_.begin()];
      if (dense != dense_codes_.end() && *dense == code) {
        ++dense;
        visit(code, absl::Span<const std::uint32_t>());
      } else if (entry < dense_entries || next_entry < entry ||
                 next_entry - dense_entries > postings_.size()) {
        visit(code, absl::Span<const std::uint32_t>());  // a damaged image
      } else {
        visit(code, postings_.subspan(entry - dense_entries, next_entry - entry));
      }
      entry = next_entry;
    }
  }
  // Asks for the memory that VisitPostings(code, ...) begins with: first for where its postings
  // are, which the second reads.
  void PrefetchEntries(Code code) const {
    if (!entries_begin_.empty() && code <= key_count_)
      __builtin_prefetch(entries_begin_.data() + code);
  }
  void PrefetchPostings(Code code) const {
    if (code > key_count_) return;
    const std::uint64_t begin = PostingsBegin(code);
    if (begin < postings_.size()) __builtin_prefetch(postings_.data() + begin);
  }

  // The column: rows() values of width() bytes.
  int width() const { return static_cast<int>(width_); }
  const void* data() const { return data_; }
  // Returns f(p), with p a const std::uint8_t*, std::uint16_t* or std::uint32_t* to the values.
  template <class F>
  decltype(auto) VisitColumn(F&& f) const {
    if (width_ == 1) return f(reinterpret_cast<const std::uint8_t*>(data_));
    if (width_ == 2) return f(reinterpret_cast<const std::uint16_t*>(data_));
    return f(reinterpret_cast<const std::uint32_t*>(data_));
  }
  // The value of a row: a code, or IsList. 0 for rows that are not there.
  std::uint32_t At(std::uint32_t row) const {
    if (row >= rows_) return 0;
    return VisitColumn([row](const auto* values) -> std::uint32_t { return values[row]; });
  }
  bool IsList(std::uint32_t value) const { return value > key_count_; }
  // REQUIRES: IsList(value).
  std::uint32_t ListNumber(std::uint32_t value) const { return value - key_count_ - 1; }

  // The codes of a list, ascending and different, kMissingCode among them; empty also for lists
  // that are not there.
  absl::Span<const Code> List(std::uint32_t list_number) const {
    if (list_number >= list_count_) return {};
    const std::uint32_t begin = list_begin_[list_number];
    const std::uint32_t end = list_begin_[list_number + 1];
    if (begin >= end || end > lists_.size()) return {};
    return lists_.subspan(begin, end - begin);
  }

  // Calls visit(Code) for each entry of a row: once, or for each code of its list.
  template <class Visit>
  void ForEachCode(std::uint32_t row, Visit&& visit) const {
    const std::uint32_t value = At(row);
    if (!IsList(value)) {
      visit(Code{value});
      return;
    }
    for (const Code code : List(ListNumber(value))) visit(code);
  }

 private:
  bool is_fixed() const { return (flags_ & index_internal::kFlagFixed) != 0; }

  // REQUIRES: code <= key_count_ + 1.
  std::uint32_t EntriesBegin(Code code) const {
    if (!entries_begin_.empty()) return entries_begin_[code];
    return code == 0 ? 0 : missing_count_ + (code - 1);
  }
  std::uint64_t PostingsBegin(Code code) const {
    const std::size_t dense_below = static_cast<std::size_t>(
        std::lower_bound(dense_codes_.begin(), dense_codes_.end(), code) - dense_codes_.begin());
    const std::uint32_t entry = EntriesBegin(code);
    const std::uint32_t dense_entries = dense_begin_[dense_below];
    return entry >= dense_entries ? entry - dense_entries : UINT64_MAX;
  }

  // What is stored of a key of fixed size. REQUIRES: number < key_count_.
  std::string_view Stored(std::uint32_t number) const {
    return dictionary_.substr(std::uint64_t{number} * stored_size_, stored_size_);
  }
  // <, == or > 0, as the key without the common beginning is to `rest`.
  int CompareStored(std::uint32_t number, std::string_view rest) const {
    const std::string_view stored = Stored(number);
    if (const int order = stored.compare(rest.substr(0, stored.size())); order != 0) return order;
    return suffix_.compare(rest.substr(stored.size()));
  }

  // The bytes of a block, to the end of the dictionary; empty if it is not there.
  std::string_view Block(std::uint32_t block) const {
    std::uint64_t offset = 0;
    std::memcpy(&offset, block_offsets_.data() + std::uint64_t{block} * offset_width_,
                offset_width_);
    return offset < dictionary_.size() ? dictionary_.substr(offset) : std::string_view();
  }
  // The first key of a block, whole.
  std::string_view FirstOfBlock(std::uint32_t block) const {
    const std::string_view bytes = Block(block);
    const char* p = bytes.data();
    const char* const end = p + bytes.size();
    std::uint32_t shared = 0;
    std::uint32_t size = 0;
    if (!index_internal::TakeVarint(&p, end, &shared) ||
        !index_internal::TakeVarint(&p, end, &size) || size > static_cast<std::size_t>(end - p)) {
      return {};
    }
    return {p, size};
  }
  // Whether the first key of a block is less than the key that is the common beginning and `rest`.
  bool BlockBeginsBelow(std::uint32_t block, std::string_view rest) const {
    if (is_fixed()) return CompareStored(block * index_internal::kKeysPerBlock, rest) < 0;
    const std::string_view first = FirstOfBlock(block);
    return first.substr(std::min<std::size_t>(prefix_.size(), first.size())) < rest;
  }
  // How many keys at the beginning of a block are less than `key`.
  std::uint32_t CountBelowInBlock(std::uint32_t block, std::string_view key) const;

  std::string_view bytes_;
  std::uint32_t flags_ = 0;
  std::uint32_t rows_ = 0;
  std::uint32_t key_count_ = 0;
  std::uint32_t list_count_ = 0;
  std::uint32_t width_ = 1;
  std::uint32_t entry_count_ = 0;
  std::uint32_t missing_count_ = 0;
  std::uint32_t offset_width_ = 4;
  std::uint32_t key_size_ = 0;
  std::uint32_t stored_size_ = 0;
  std::uint32_t body_crc_ = 0;
  std::string_view frame_;
  std::string_view prefix_;  // of frame_
  std::string_view suffix_;  // of frame_
  std::string_view dictionary_;
  std::string_view block_offsets_;
  absl::Span<const std::uint64_t> heads_;
  absl::Span<const std::uint32_t> entries_begin_;
  absl::Span<const Code> dense_codes_;
  const std::uint32_t* dense_begin_ = kZero;  // one more than dense_codes_
  absl::Span<const std::uint32_t> postings_;
  const char* data_ = nullptr;
  absl::Span<const std::uint32_t> list_begin_;
  absl::Span<const Code> lists_;

  static constexpr std::uint32_t kZero[1] = {0};
};

// --- Readers of the API may stop here. ----------------------------------------------------------

inline absl::StatusOr<Column> Column::Open(std::string_view bytes) {
  using index_internal::ColumnHeader;
  const auto refuse = [](const auto&... reason) {
    return absl::DataLossError(absl::StrCat("index column: ", reason...));
  };
  if (bytes.size() < sizeof(ColumnHeader)) {
    return refuse(bytes.size(), " bytes, shorter than its header");
  }
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 8 != 0) {
    return absl::InvalidArgumentError("index column: not at a multiple of 8 in memory");
  }
  ColumnHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::string_view(header.magic, sizeof(header.magic)) != index_internal::kColumnMagic) {
    return refuse("no column, or one of another format");
  }
  if (header.version != 1) return refuse("unknown version ", header.version);
  if (Crc32c(bytes.substr(16, sizeof(header) - 16)) != header.header_crc) {
    return refuse("header with a wrong checksum");
  }
  if (header.size != bytes.size()) {
    return refuse(bytes.size(), " bytes, where the header says ", header.size);
  }
  // The checksum held, so this is as it was written; still, nothing below relies on that.
  const std::uint64_t keys = header.key_count;
  const std::uint64_t blocks =
      (keys + index_internal::kKeysPerBlock - 1) / index_internal::kKeysPerBlock;
  const bool fixed = (header.flags & index_internal::kFlagFixed) != 0;
  const bool unique = (header.flags & index_internal::kFlagUnique) != 0;
  const auto size_of = [&](index_internal::SectionName name) { return header.sections[name].size; };
  for (const ColumnHeader::Section& section : header.sections) {
    if (section.offset % index_internal::kColumnAlignment != 0 || section.offset > header.size ||
        section.size > header.size - section.offset) {
      return refuse("a section outside the image");
    }
  }
  const bool sizes_match =
      (header.flags & ~index_internal::kFlagsKnown) == 0 && keys + header.list_count < UINT32_MAX &&
      (header.width == 1 || header.width == 2 || header.width == 4) &&
      (header.offset_width == 4 || header.offset_width == 8) &&
      size_of(index_internal::kColumn) == std::uint64_t{header.rows} * header.width &&
      size_of(index_internal::kHeads) == blocks * 8 &&
      size_of(index_internal::kDense) == std::uint64_t{header.dense_count} * 8 + 4 &&
      size_of(index_internal::kEntriesBegin) == (unique ? 0 : (keys + 2) * 4) &&
      (!unique || header.missing_count + keys == header.entry_count) &&
      size_of(index_internal::kPostings) % 4 == 0 &&
      size_of(index_internal::kListBegin) ==
          (header.list_count == 0 ? 0 : (std::uint64_t{header.list_count} + 1) * 4) &&
      size_of(index_internal::kLists) % 4 == 0 &&
      (fixed ? header.stored_size <= header.key_size &&
                   header.prefix_size <= header.key_size - header.stored_size &&
                   size_of(index_internal::kFrame) == header.key_size - header.stored_size &&
                   size_of(index_internal::kDictionary) == keys * header.stored_size &&
                   size_of(index_internal::kBlockOffsets) == 0
             : header.key_size == 0 && header.stored_size == 0 &&
                   size_of(index_internal::kFrame) == header.prefix_size &&
                   size_of(index_internal::kBlockOffsets) == blocks * header.offset_width);
  if (!sizes_match) return refuse("sections of sizes that do not fit its counts");

  const auto section = [&](index_internal::SectionName name) {
    return bytes.substr(header.sections[name].offset, header.sections[name].size);
  };
  const auto words = [&](index_internal::SectionName name) {
    const std::string_view view = section(name);
    return absl::Span<const std::uint32_t>(reinterpret_cast<const std::uint32_t*>(view.data()),
                                           view.size() / 4);
  };
  Column column;
  column.bytes_ = bytes;
  column.flags_ = header.flags;
  column.rows_ = header.rows;
  column.key_count_ = header.key_count;
  column.list_count_ = header.list_count;
  column.width_ = header.width;
  column.entry_count_ = header.entry_count;
  column.missing_count_ = header.missing_count;
  column.offset_width_ = header.offset_width;
  column.key_size_ = header.key_size;
  column.stored_size_ = header.stored_size;
  column.body_crc_ = header.body_crc;
  column.frame_ = section(index_internal::kFrame);
  column.prefix_ = column.frame_.substr(0, header.prefix_size);
  column.suffix_ = column.frame_.substr(header.prefix_size);
  column.dictionary_ = section(index_internal::kDictionary);
  column.block_offsets_ = section(index_internal::kBlockOffsets);
  column.heads_ = absl::Span<const std::uint64_t>(
      reinterpret_cast<const std::uint64_t*>(section(index_internal::kHeads).data()), blocks);
  column.entries_begin_ = words(index_internal::kEntriesBegin);
  const absl::Span<const std::uint32_t> dense = words(index_internal::kDense);
  column.dense_codes_ = dense.subspan(0, header.dense_count);
  column.dense_begin_ = dense.data() + header.dense_count;
  column.postings_ = words(index_internal::kPostings);
  column.data_ = section(index_internal::kColumn).data();
  column.list_begin_ = words(index_internal::kListBegin);
  column.lists_ = words(index_internal::kLists);
  return column;
}

inline absl::Status Column::VerifyBody() const {
  if (bytes_.empty()) return absl::OkStatus();
  if (Crc32c(bytes_.substr(sizeof(index_internal::ColumnHeader))) != body_crc_) {
    return absl::DataLossError("index column: a wrong checksum");
  }
  return absl::OkStatus();
}

inline std::uint32_t Column::CountBelowInBlock(std::uint32_t block, std::string_view key) const {
  const std::uint32_t first = block * index_internal::kKeysPerBlock;
  const std::uint32_t count = std::min(index_internal::kKeysPerBlock, key_count_ - first);
  if (is_fixed()) {
    const std::string_view rest = key.substr(prefix_.size());
    std::uint32_t low = 0;
    std::uint32_t high = count;
    while (low < high) {
      const std::uint32_t middle = (low + high) / 2;
      if (CompareStored(first + middle, rest) < 0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
  // Nothing is put together: it is known how many bytes `key` has in common with the key before,
  // which is less than `key`.
  const std::string_view bytes = Block(block);
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  std::size_t common = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t shared = 0;
    std::uint32_t size = 0;
    if (!index_internal::TakeVarint(&p, end, &shared) ||
        !index_internal::TakeVarint(&p, end, &size) || size > static_cast<std::size_t>(end - p)) {
      return i;
    }
    const std::string_view tail(p, size);
    p += size;
    if (shared > common) continue;  // Differs from `key` where the one before did.
    if (shared < common) return i;  // Greater than the one before where that equalled `key`.
    const std::string_view rest = key.substr(common);
    std::size_t equal = 0;
    const std::size_t both = std::min(rest.size(), tail.size());
    while (equal < both && rest[equal] == tail[equal]) ++equal;
    common += equal;
    const bool less = equal == both ? tail.size() < rest.size()
                                    : static_cast<unsigned char>(tail[equal]) <
                                          static_cast<unsigned char>(rest[equal]);
    if (!less) return i;
  }
  return count;
}

inline Code Column::LowerBound(std::string_view key) const {
  if (key_count_ == 0) return 1;
  if (const int order = key.substr(0, prefix_.size()).compare(prefix_); order != 0) {
    return order < 0 ? 1 : key_count_ + 1;
  }
  const std::string_view rest = key.substr(prefix_.size());
  const std::uint64_t head = index_internal::LoadHead(rest);
  // The first block whose head is not less; those before begin below `key`.
  const std::uint64_t* base = heads_.data();
  for (std::size_t count = heads_.size(); count > 0;) {
    const std::size_t half = count / 2;
    const bool below = base[half] < head;
    base = below ? base + half + 1 : base;
    count = below ? count - half - 1 : half;
  }
  auto low = static_cast<std::uint32_t>(base - heads_.data());
  if (low < heads_.size() && heads_[low] == head) {
    // Their heads do not tell.
    auto high = static_cast<std::uint32_t>(
        std::upper_bound(heads_.begin() + low, heads_.end(), head) - heads_.begin());
    while (low < high) {
      const std::uint32_t middle = low + (high - low) / 2;
      if (BlockBeginsBelow(middle, rest)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
  }
  if (low == 0) return 1;
  const std::uint32_t block = low - 1;
  return block * index_internal::kKeysPerBlock + CountBelowInBlock(block, key) + 1;
}

inline std::optional<Code> Column::Find(std::string_view key) const {
  const Code code = LowerBound(key);
  if (code > key_count_) return std::nullopt;
  if (is_fixed()) {
    if (key.size() != key_size_ || CompareStored(code - 1, key.substr(prefix_.size())) != 0 ||
        !key.starts_with(prefix_)) {
      return std::nullopt;
    }
    return code;
  }
  std::string scratch;
  if (Key(code, &scratch) != key) return std::nullopt;
  return code;
}

inline std::string_view Column::Key(Code code, std::string* scratch) const {
  if (code == 0 || code > key_count_) return {};
  if (is_fixed()) {
    scratch->assign(prefix_);
    scratch->append(Stored(code - 1));
    scratch->append(suffix_);
    return *scratch;
  }
  scratch->clear();
  const std::string_view bytes = Block((code - 1) / index_internal::kKeysPerBlock);
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  for (std::uint32_t i = 0; i <= (code - 1) % index_internal::kKeysPerBlock; ++i) {
    std::uint32_t shared = 0;
    std::uint32_t size = 0;
    if (!index_internal::TakeVarint(&p, end, &shared) ||
        !index_internal::TakeVarint(&p, end, &size) || size > static_cast<std::size_t>(end - p) ||
        shared > scratch->size()) {
      return {};  // Damaged.
    }
    scratch->resize(shared);
    scratch->append(p, size);
    p += size;
  }
  return *scratch;
}

template <class Visit>
void Column::ForEachKey(Code first, Code end, Visit&& visit) const {
  const auto stops = [&visit](Code code, std::string_view key) {
    if constexpr (std::is_void_v<std::invoke_result_t<Visit&, Code, std::string_view>>) {
      visit(code, key);
      return false;
    } else {
      return static_cast<bool>(visit(code, key));
    }
  };
  first = std::max(first, Code{1});
  end = std::min(end, key_count_ + 1);
  if (first >= end) return;
  std::string key;
  if (is_fixed()) {
    key.resize(key_size_);
    key.replace(0, prefix_.size(), prefix_);
    key.replace(key_size_ - suffix_.size(), suffix_.size(), suffix_);
    const char* stored = dictionary_.data() + std::uint64_t{first - 1} * stored_size_;
    char* const place = key.data() + prefix_.size();
    for (Code code = first; code < end; ++code, stored += stored_size_) {
      std::memcpy(place, stored, stored_size_);
      if (stops(code, key)) return;
    }
    return;
  }
  std::uint32_t block = (first - 1) / index_internal::kKeysPerBlock;
  for (Code code = block * index_internal::kKeysPerBlock + 1; code < end; ++block) {
    const std::string_view bytes = Block(block);
    const char* p = bytes.data();
    const char* const bytes_end = p + bytes.size();
    std::size_t key_size = 0;
    const Code block_end = std::min(end, code + index_internal::kKeysPerBlock);
    for (; code < block_end; ++code) {
      std::uint32_t shared = 0;
      std::uint32_t size = 0;
      if (!index_internal::TakeVarint(&p, bytes_end, &shared) ||
          !index_internal::TakeVarint(&p, bytes_end, &size) ||
          size > static_cast<std::size_t>(bytes_end - p) || shared > key_size) {
        return;  // Damaged.
      }
      key_size = std::size_t{shared} + size;
      if (key_size > key.size()) key.resize(2 * key_size);
      std::memcpy(key.data() + shared, p, size);
      p += size;
      if (code >= first && stops(code, std::string_view(key.data(), key_size))) return;
    }
  }
}

}  // namespace alos

#endif  // ALOS_INDEX_COLUMN_H_
