// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Segments: the immutable pieces that the secondary indexes of a collection are made of.
//
// A segment stands for some of the records of each shard's log: for shard s those between the end
// that the segment before it covers and `shard_ends[s]`. Each document version among them is a row,
// numbered from 0 in the order (shard, offset). For each index the segment has a column
// (alos/index/column.h): the row's value of the indexed field. Rows never change. A row whose
// document was updated or deleted since is *dead*; which rows are is the one thing about a segment
// that changes, by putting a new Segment object, which shares everything else, in its place.

#ifndef ALOS_INDEX_SEGMENT_H_
#define ALOS_INDEX_SEGMENT_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/index/column.h"
#include "alos/index/index_key.h"
#include "alos/index/trigram_index.h"

namespace alos {

// Where a record lies: a shard's number and an offset of its log. Ordered by both.
class RowLocation {
 public:
  RowLocation() = default;
  RowLocation(std::uint32_t shard, std::uint64_t offset)
      : packed_(std::uint64_t{shard} << kOffsetBits | offset >> 3) {}
  std::uint32_t shard() const { return static_cast<std::uint32_t>(packed_ >> kOffsetBits); }
  std::uint64_t offset() const { return (packed_ & ((std::uint64_t{1} << kOffsetBits) - 1)) << 3; }
  auto operator<=>(const RowLocation&) const = default;

 private:
  static constexpr int kOffsetBits = 44;
  std::uint64_t packed_ = 0;
};
static_assert(sizeof(RowLocation) == 8);

// Bytes of an index: on the heap, or of a mapped file. Constant.
class IndexBytes {
 public:
  explicit IndexBytes(std::string bytes) : owned_(std::move(bytes)), view_(owned_) {}
  // `keeper` keeps `view` alive.
  IndexBytes(std::string_view view, std::shared_ptr<const void> keeper)
      : keeper_(std::move(keeper)), view_(view) {}
  IndexBytes(const IndexBytes&) = delete;
  IndexBytes& operator=(const IndexBytes&) = delete;

  std::string_view view() const { return view_; }
  // False for mapped files: those are page cache, which the system takes back when it needs it.
  bool is_resident() const { return keeper_ == nullptr; }

 private:
  std::string owned_;
  std::shared_ptr<const void> keeper_;
  std::string_view view_;
};

// The column of one index in one segment.
// Threads: immutable, but for what numbers() makes once and whether it is verified.
class SegmentColumn {
 public:
  SegmentColumn(std::shared_ptr<const IndexBytes> bytes, Column column)
      : bytes_(std::move(bytes)), column_(column) {}
  // The same with an index over the text of its keys; verified if `other` is.
  SegmentColumn(const SegmentColumn& other, std::shared_ptr<const IndexBytes> text_bytes,
                TrigramIndex text)
      : bytes_(other.bytes_),
        column_(other.column_),
        text_bytes_(std::move(text_bytes)),
        text_(text),
        is_verified_(other.is_verified()) {}

  // Whether the bytes are known to be as they were written: those that were just built are, those
  // of a file once somebody has looked at all of them.
  bool is_verified() const { return is_verified_.load(std::memory_order_relaxed); }
  void SetVerified(bool verified) const { is_verified_.store(verified, std::memory_order_relaxed); }
  absl::Status Verify() const {
    absl::Status verified = column_.VerifyBody();
    if (verified.ok() && text_) verified = text_->VerifyBody();
    if (verified.ok()) SetVerified(true);
    return verified;
  }

  const Column& column() const { return column_; }
  const IndexBytes& bytes() const { return *bytes_; }
  const std::shared_ptr<const IndexBytes>& shared_bytes() const { return bytes_; }
  // nullptr when there is none.
  const TrigramIndex* text() const { return text_ ? &*text_ : nullptr; }
  const std::shared_ptr<const IndexBytes>& text_bytes() const { return text_bytes_; }

  std::size_t size_bytes() const {
    return bytes_->view().size() + (text_bytes_ ? text_bytes_->view().size() : 0);
  }
  std::size_t resident_bytes() const {
    return (bytes_->is_resident() ? bytes_->view().size() : 0) +
           (text_bytes_ && text_bytes_->is_resident() ? text_bytes_->view().size() : 0);
  }

  // The number of each code; NaN for what is no number. Made at the first call, then kept.
  absl::Span<const double> numbers() const {
    absl::call_once(numbers_once_, [this] {
      numbers_.assign(column_.key_count() + 1, std::numeric_limits<double>::quiet_NaN());
      const Code first = column_.LowerBound(FirstKeyOfClass(KeyClass::kNumber));
      const Code end = column_.LowerBound(EndKeyOfClass(KeyClass::kNumber));
      column_.ForEachKey(first, end, [&](Code code, std::string_view key) {
        numbers_[code] = IndexKeyNumber(key);
      });
    });
    return numbers_;
  }

 private:
  std::shared_ptr<const IndexBytes> bytes_;
  Column column_;
  std::shared_ptr<const IndexBytes> text_bytes_;
  std::optional<TrigramIndex> text_;
  mutable std::atomic<bool> is_verified_{true};
  mutable absl::once_flag numbers_once_;
  mutable std::vector<double> numbers_;
};

// Which rows of a segment are dead. Constant once shared.
struct DeadRows {
  std::vector<std::uint64_t> bits;  // one bit a row
  std::uint32_t count = 0;
  std::uint64_t newest_timestamp = 0;  // of the commits that killed them

  bool Has(std::uint32_t row) const { return (bits[row >> 6] >> (row & 63) & 1) != 0; }
};

struct Segment {
  static constexpr std::uint32_t kRowsMax = std::uint32_t{1} << 24;

  std::uint64_t number = 0;  // of its files; never used again
  std::uint32_t rows = 0;
  std::shared_ptr<const IndexBytes> location_bytes;
  // One past the log offset that is covered, for each shard.
  std::shared_ptr<const std::vector<std::uint64_t>> shard_ends;
  // Of the commits its rows come from.
  std::uint64_t newest_timestamp = 0;
  // Rows that were dead before this were left out when segments were merged: older snapshots cannot
  // be read with this segment.
  std::uint64_t purged_until = 0;
  bool is_stored = false;                // in files
  std::shared_ptr<const DeadRows> dead;  // nullptr: none
  // By index id, ascending. An index that is still being built is missing in some segments.
  std::vector<std::pair<std::uint32_t, std::shared_ptr<const SegmentColumn>>> columns;

  absl::Span<const RowLocation> locations() const {
    return {reinterpret_cast<const RowLocation*>(location_bytes->view().data()), rows};
  }

  const SegmentColumn* FindColumn(std::uint32_t index_id) const {
    for (const auto& [id, column] : columns) {
      if (id == index_id) return column.get();
    }
    return nullptr;
  }

  // The row of the record at `location`, if it is one of this segment's. Cost: a binary search.
  std::optional<std::uint32_t> FindRow(RowLocation location) const {
    const absl::Span<const RowLocation> all = locations();
    const auto found = std::lower_bound(all.begin(), all.end(), location);
    if (found == all.end() || *found != location) return std::nullopt;
    return static_cast<std::uint32_t>(found - all.begin());
  }

  std::uint32_t live_rows() const { return rows - (dead ? dead->count : 0); }
};

}  // namespace alos

#endif  // ALOS_INDEX_SEGMENT_H_
