// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Makes columns (column.h): from rows, or by merging the columns of several segments.

#ifndef ALOS_INDEX_COLUMN_BUILDER_H_
#define ALOS_INDEX_COLUMN_BUILDER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"
#include "alos/index/column.h"

namespace alos {

namespace index_internal {

// Strings, copied once into blocks that do not move.
class KeyArena {
 public:
  // The copy, preceded by its size.
  const char* Add(std::string_view key) {
    const std::size_t size = key.size() + sizeof(std::uint32_t);
    if (size > left_) {
      const std::size_t block_size = std::max(kBlockSize, size);
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_size));
      place_ = blocks_.back().get();
      left_ = block_size;
      bytes_ += block_size;
    }
    char* const copy = place_;
    const auto key_size = static_cast<std::uint32_t>(key.size());
    std::memcpy(copy, &key_size, sizeof(key_size));
    if (!key.empty()) std::memcpy(copy + sizeof(key_size), key.data(), key.size());
    place_ += size;
    left_ -= size;
    return copy;
  }
  static std::string_view Get(const char* copy) {
    std::uint32_t size;
    std::memcpy(&size, copy, sizeof(size));
    return {copy + sizeof(size), size};
  }
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kBlockSize = std::size_t{1} << 18;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* place_ = nullptr;
  std::size_t left_ = 0;
  std::size_t bytes_ = 0;
};

// A hash table of numbers 0, 1, ... for things that the caller keeps: it holds 32 bits of the hash
// of each, so that growth and most comparisons do not look at the things.
class NumberTable {
 public:
  // The number for which equal(number) among those of this hash; if there is none, `next` is put in
  // and returned.
  template <class Equal>
  std::uint32_t FindOrInsert(std::uint64_t hash, std::uint32_t next, Equal&& equal) {
    if ((std::size_t{size_} + 1) * 3 > slots_.size() * 2) Grow();
    const std::uint64_t tag = hash & kTagMask;
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = Home(tag, mask);; i = (i + 1) & mask) {
      const std::uint64_t slot = slots_[i];
      if (slot == 0) {
        slots_[i] = tag | (next + 1);
        ++size_;
        return next;
      }
      if ((slot & kTagMask) == tag) {
        const auto number = static_cast<std::uint32_t>(slot) - 1;
        if (equal(number)) return number;
      }
    }
  }
  std::size_t bytes() const { return slots_.capacity() * 8; }
  void Clear() {
    slots_ = std::vector<std::uint64_t>();
    size_ = 0;
  }

 private:
  static constexpr std::uint64_t kTagMask = ~std::uint64_t{0} << 32;

  static std::size_t Home(std::uint64_t tag, std::size_t mask) {
    // The 32 bits of the tag, spread, so that tables above 2^32 slots would still be used.
    return static_cast<std::size_t>((tag >> 32) * 0x9E3779B97F4A7C15u >> 16) & mask;
  }
  void Grow() {
    std::vector<std::uint64_t> old(std::max<std::size_t>(64, slots_.size() * 2));
    old.swap(slots_);
    const std::size_t mask = slots_.size() - 1;
    for (const std::uint64_t slot : old) {
      if (slot == 0) continue;
      std::size_t i = Home(slot & kTagMask, mask);
      while (slots_[i] != 0) i = (i + 1) & mask;
      slots_[i] = slot;
    }
  }

  std::vector<std::uint64_t> slots_;  // number + 1 below, tag above; 0: free
  std::uint32_t size_ = 0;
};

// Different lists of codes, numbered as they come.
class ListSet {
 public:
  std::uint32_t Add(absl::Span<const Code> codes) {
    const auto hash = static_cast<std::uint64_t>(absl::HashOf(codes));
    const auto next = static_cast<std::uint32_t>(begin_.size() - 1);
    const std::uint32_t number = table_.FindOrInsert(
        hash, next, [&](std::uint32_t candidate) { return Get(candidate) == codes; });
    if (number == next) {
      codes_.insert(codes_.end(), codes.begin(), codes.end());
      begin_.push_back(static_cast<std::uint32_t>(codes_.size()));
    }
    return number;
  }
  std::uint32_t size() const { return static_cast<std::uint32_t>(begin_.size() - 1); }
  absl::Span<const Code> Get(std::uint32_t number) const {
    return absl::MakeConstSpan(codes_).subspan(begin_[number], begin_[number + 1] - begin_[number]);
  }
  absl::Span<Code> GetMutable(std::uint32_t number) {
    return absl::MakeSpan(codes_).subspan(begin_[number], begin_[number + 1] - begin_[number]);
  }
  std::size_t bytes() const {
    return codes_.capacity() * 4 + begin_.capacity() * 4 + table_.bytes();
  }

 private:
  std::vector<Code> codes_;
  std::vector<std::uint32_t> begin_ = {0};
  NumberTable table_;
};

inline void AppendVarint(std::string* out, std::size_t value) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

inline std::size_t CommonPrefix(std::string_view a, std::string_view b) {
  const std::size_t both = std::min(a.size(), b.size());
  std::size_t common = 0;
  for (; common + 8 <= both; common += 8) {
    std::uint64_t x;
    std::uint64_t y;
    std::memcpy(&x, a.data() + common, 8);
    std::memcpy(&y, b.data() + common, 8);
    if (x != y) return common + static_cast<std::size_t>(__builtin_ctzll(x ^ y)) / 8;
  }
  while (common < both && a[common] == b[common]) ++common;
  return common;
}

// Writes a dictionary: keys in ascending order, each once. What it writes depends on them alone.
class DictionaryWriter {
 public:
  DictionaryWriter() = default;
  // About how much will be written; what is not used of it costs no memory.
  explicit DictionaryWriter(std::size_t bytes_expected) { dictionary_.reserve(bytes_expected); }

  void Add(std::string_view key) {
    if (count_ == 0) {
      first_.assign(key);
      suffix_size_ = key.size();
    }
    if (fixed_ && key.size() != first_.size()) FrontCode();
    if (fixed_) {
      // How many bytes at the end all have in common.
      while (suffix_size_ != 0 &&
             std::memcmp(key.data() + key.size() - suffix_size_,
                         first_.data() + key.size() - suffix_size_, suffix_size_) != 0) {
        --suffix_size_;
      }
      dictionary_.append(key);
    } else {
      AddFrontCoded(key);
    }
    last_.assign(key);
    ++count_;
  }

  std::uint32_t count() const { return count_; }

  // The sections, and the fields of the header that describe them. Called once, after all.
  void Finish() {
    prefix_size_ = count_ == 0 ? 0 : CommonPrefix(first_, last_);
    fixed_ = fixed_ && count_ != 0;
    frame_.assign(first_, 0, prefix_size_);
    heads_.reserve((count_ + kKeysPerBlock - 1) / kKeysPerBlock);
    if (fixed_) {
      const std::size_t key_size = first_.size();
      suffix_size_ = std::min(suffix_size_, key_size - prefix_size_);
      stored_size_ = key_size - prefix_size_ - suffix_size_;
      frame_.append(first_, key_size - suffix_size_, suffix_size_);
      char* to = dictionary_.data();
      const char* from = to;
      for (std::uint32_t i = 0; i < count_; ++i, from += key_size, to += stored_size_) {
        if (i % kKeysPerBlock == 0) {
          heads_.push_back(LoadHead(std::string_view(from, key_size).substr(prefix_size_)));
        }
        std::memmove(to, from + prefix_size_, stored_size_);
      }
      dictionary_.resize(std::uint64_t{count_} * stored_size_);
      return;
    }
    for (const std::uint64_t offset : block_offsets_) {
      const char* p = dictionary_.data() + offset;
      const char* const end = dictionary_.data() + dictionary_.size();
      std::uint32_t shared = 0;
      std::uint32_t size = 0;
      ALOS_CHECK(TakeVarint(&p, end, &shared) && TakeVarint(&p, end, &size));
      // Not all begin so if a damaged dictionary was merged.
      const std::string_view key(p, size);
      heads_.push_back(LoadHead(key.substr(std::min<std::size_t>(prefix_size_, size))));
    }
  }

  bool fixed() const { return fixed_; }
  std::size_t prefix_size() const { return prefix_size_; }
  std::size_t key_size() const { return fixed_ ? first_.size() : 0; }
  std::size_t stored_size() const { return stored_size_; }
  const std::string& frame() const { return frame_; }
  const std::string& dictionary() const { return dictionary_; }
  const std::vector<std::uint64_t>& block_offsets() const { return block_offsets_; }
  const std::vector<std::uint64_t>& heads() const { return heads_; }

 private:
  void AddFrontCoded(std::string_view key) {
    std::size_t shared = 0;
    if (count_ % kKeysPerBlock == 0) {
      block_offsets_.push_back(dictionary_.size());
    } else {
      shared = CommonPrefix(last_, key);
    }
    AppendVarint(&dictionary_, shared);
    AppendVarint(&dictionary_, key.size() - shared);
    dictionary_.append(key.substr(shared));
  }

  // The first key of another size: what is there is written again.
  void FrontCode() {
    const std::string keys = std::exchange(dictionary_, std::string());
    const std::uint32_t count = std::exchange(count_, 0);
    const std::size_t size = first_.size();
    fixed_ = false;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::string_view key = std::string_view(keys).substr(i * size, size);
      AddFrontCoded(key);
      last_.assign(key);
      ++count_;
    }
  }

  bool fixed_ = true;  // so far
  std::uint32_t count_ = 0;
  std::string first_;
  std::string last_;
  std::size_t suffix_size_ = 0;
  std::size_t prefix_size_ = 0;
  std::size_t stored_size_ = 0;
  std::string frame_;
  std::string dictionary_;
  std::vector<std::uint64_t> block_offsets_;
  std::vector<std::uint64_t> heads_;
};

// In the values that WriteColumn takes: this bit and a list's number, or a code.
inline constexpr std::uint32_t kListBit = std::uint32_t{1} << 31;

// Makes the image. `values` has one per row; the codes of each list ascend. `dictionary` is
// finished. Lists are numbered by the first row that has them; those no row has are left out. Rows
// that would make more than kColumnEntriesMax entries are left without, and the overflow is noted.
std::string WriteColumn(DictionaryWriter dictionary, std::vector<std::uint32_t> values,
                        ListSet lists, std::uint32_t flags);

}  // namespace index_internal

// Entries that a column can have at most; see ColumnBuilder::AddKey.
inline constexpr std::uint32_t kColumnEntriesMax = std::uint32_t{1} << 30;

// Makes a column of rows in their order.
//
// Threads: one at a time. Lifetime: keeps copies. Durability: none. Errors: none.
// Cost: per entry one look-up by hash, which is skipped for the key of the row before; Finish sorts
//   the different keys by 8 bytes at a time. Memory while building: the different keys, 20 bytes
//   for each, 4 bytes per row.
//
//   ColumnBuilder builder(2);
//   builder.StartRow();
//   builder.AddKey(key, false, NumberTypes::kNone);
//   builder.StartRow();
//   builder.AddMissing();
//   const std::string image = std::move(builder).Finish();
class ColumnBuilder {
 public:
  explicit ColumnBuilder(std::uint32_t rows_expected = 0) {
    values_.reserve(std::min(rows_expected, std::uint32_t{1} << 22));
  }

  // The next row, without entries so far. At most 2^31 - 1 rows.
  void StartRow() {
    if (in_row_) EndRow();
    in_row_ = true;
  }

  // Entries of the row; an entry that it has already is dropped. If the column has
  // kColumnEntriesMax entries already, the entry is left out and the column says so (has_overflow).
  void AddMissing() { AddEntry(kMissingEntry); }
  // `truncated`: the key was cut. `number`: whether the key is that of an integer or of a double.
  void AddKey(std::string_view key, bool truncated, NumberTypes number = NumberTypes::kNone) {
    if (truncated) flags_ |= index_internal::kFlagCutKeys;
    flags_ |= static_cast<std::uint32_t>(number) << index_internal::kNumberTypesShift;
    if (last_entry_ != kMissingEntry &&
        index_internal::KeyArena::Get(keys_[last_entry_ - 1]) == key) {
      return AddEntry(last_entry_);
    }
    const auto next = static_cast<std::uint32_t>(keys_.size());
    const std::uint32_t number_of_key =
        table_.FindOrInsert(absl::HashOf(key), next, [&](std::uint32_t candidate) {
          return index_internal::KeyArena::Get(keys_[candidate]) == key;
        });
    if (number_of_key == next) keys_.push_back(arena_.Add(key));
    last_entry_ = number_of_key + 1;
    AddEntry(last_entry_);
  }
  // Entries were left out on purpose: the column will say so.
  void SetOverflow() { flags_ |= index_internal::kFlagOverflow; }
  // Entries were reached through an array.
  void SetThroughArrays() { flags_ |= index_internal::kFlagThroughArrays; }
  bool has_through_arrays() const { return (flags_ & index_internal::kFlagThroughArrays) != 0; }

  std::uint32_t rows() const { return static_cast<std::uint32_t>(values_.size()) + in_row_; }
  std::uint64_t entries() const { return entries_ + row_.size(); }
  // About what is allocated now; Finish needs about the size of the image more.
  std::size_t memory_bytes() const {
    return arena_.bytes() + table_.bytes() + keys_.capacity() * sizeof(keys_[0]) +
           values_.capacity() * 4 + lists_.bytes();
  }

  // The image of the column.
  std::string Finish() &&;

 private:
  static constexpr std::uint32_t kMissingEntry = 0;  // else a key's number in keys_, + 1

  void AddEntry(std::uint32_t entry) {
    ALOS_DCHECK(in_row_);
    if (entries() >= kColumnEntriesMax) {
      flags_ |= index_internal::kFlagOverflow;
      return;
    }
    row_.push_back(entry);
  }
  void EndRow() {
    if (row_.size() == 1) [[likely]] {
      values_.push_back(row_[0]);
      ++entries_;
    } else {
      std::sort(row_.begin(), row_.end());
      row_.erase(std::unique(row_.begin(), row_.end()), row_.end());
      values_.push_back(row_.size() == 1 ? row_[0] : index_internal::kListBit | lists_.Add(row_));
      entries_ += row_.size();
    }
    row_.clear();
  }

  index_internal::KeyArena arena_;
  index_internal::NumberTable table_;
  std::vector<const char*> keys_;      // in arena_, as they came
  index_internal::ListSet lists_;      // of entries
  std::vector<std::uint32_t> values_;  // of rows: an entry, or kListBit | list
  std::vector<std::uint32_t> row_;     // entries of the row at hand
  std::uint64_t entries_ = 0;          // of the rows before
  std::uint32_t last_entry_ = kMissingEntry;
  std::uint32_t flags_ = 0;
  bool in_row_ = false;
};

// In row maps: the row is not in the result.
inline constexpr std::uint32_t kDroppedRow = std::numeric_limits<std::uint32_t>::max();

// Merges the columns of several segments into one of `rows` rows: row r of inputs[i] becomes row
// row_maps[i][r]. Rows of the result that nothing maps to have no entries.
//
// The result is byte for byte what ColumnBuilder makes of the same rows, but that it inherits what
// is known of the inputs as a whole: has_truncated_keys, has_overflow and number_types are true of
// it if they were of any input, also when only dropped rows were the reason.
//
// Threads: any. Lifetime: keeps nothing. Errors: none; what VerifyBody would have refused makes a
//   column of other damaged values. REQUIRES: row_maps[i].size() == inputs[i]->rows(), every row of
//   the result is mapped to at most once, and together the inputs have at most kColumnEntriesMax
//   entries.
// Cost: one pass over dictionaries and columns, O(keys * log inputs) comparisons; memory: the
//   result, 4 bytes per key of the inputs, 8 per row.
std::string MergeColumns(absl::Span<const Column* const> inputs,
                         absl::Span<const absl::Span<const std::uint32_t>> row_maps,
                         std::uint32_t rows);

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace index_internal {

// The order of keys: order[i] is the number of the i-th smallest. REQUIRES: they differ.
inline std::vector<std::uint32_t> SortKeys(absl::Span<const char* const> keys) {
  // Sorted by 8 bytes at a time; ranges that agree in them, by the next 8.
  struct Item {
    std::uint64_t head;  // the 8 bytes at the depth, as LoadHead
    std::uint32_t number;
    std::uint32_t left;  // bytes from the depth on, at most 9: then there are more
  };
  constexpr std::uint32_t kMore = 9;
  struct Range {
    std::size_t begin;
    std::size_t end;
    std::size_t depth;
  };
  std::vector<Item> items(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) items[i].number = static_cast<std::uint32_t>(i);
  std::vector<Range> ranges;
  if (!items.empty()) ranges.push_back({0, items.size(), 0});
  while (!ranges.empty()) {
    const Range range = ranges.back();
    ranges.pop_back();
    const auto begin = items.begin() + static_cast<std::ptrdiff_t>(range.begin);
    const auto end = items.begin() + static_cast<std::ptrdiff_t>(range.end);
    // Bytes that all of them have in common are passed over.
    const std::string_view first = KeyArena::Get(keys[begin->number]).substr(range.depth);
    std::size_t common = first.size();
    for (auto item = begin + 1; item != end && common != 0; ++item) {
      common = CommonPrefix(first.substr(0, common),
                            KeyArena::Get(keys[item->number]).substr(range.depth));
    }
    const std::size_t depth = range.depth + common;
    for (auto item = begin; item != end; ++item) {
      const std::string_view rest = KeyArena::Get(keys[item->number]).substr(depth);
      item->head = LoadHead(rest);
      item->left = static_cast<std::uint32_t>(std::min<std::size_t>(rest.size(), kMore));
    }
    std::sort(begin, end, [](const Item& a, const Item& b) {
      return a.head != b.head ? a.head < b.head : a.left < b.left;
    });
    for (auto item = begin; item != end;) {
      auto next = item + 1;
      while (next != end && next->head == item->head && next->left == item->left) ++next;
      if (next - item > 1) {
        ranges.push_back({static_cast<std::size_t>(item - items.begin()),
                          static_cast<std::size_t>(next - items.begin()), depth + 8});
      }
      item = next;
    }
  }
  std::vector<std::uint32_t> order(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) order[i] = items[i].number;
  return order;
}

// Calls visit(code) for each entry of a value as WriteColumn takes them.
template <class Visit>
void VisitValue(std::uint32_t value, const ListSet& lists, Visit&& visit) {
  if ((value & kListBit) == 0) return visit(value);
  for (const Code code : lists.Get(value & ~kListBit)) visit(code);
}

inline std::string WriteColumn(DictionaryWriter dictionary, std::vector<std::uint32_t> values,
                               ListSet lists, std::uint32_t flags) {
  const std::uint32_t keys = dictionary.count();
  const auto rows = static_cast<std::uint32_t>(values.size());

  // Numbers the lists by their first rows, and counts the entries of each code.
  constexpr std::uint32_t kUnseen = std::numeric_limits<std::uint32_t>::max();
  const std::uint32_t no_entries = kListBit | lists.Add({});
  std::vector<std::uint32_t> list_numbers(lists.size(), kUnseen);
  std::vector<std::uint32_t> list_order;
  std::vector<std::uint32_t> begin(std::size_t{keys} + 2, 0);
  std::uint64_t list_codes = 0;
  std::uint64_t total = 0;
  for (std::uint32_t& value : values) {
    const std::size_t size = (value & kListBit) == 0 ? 1 : lists.Get(value & ~kListBit).size();
    if (total + size > kColumnEntriesMax) {
      value = no_entries;
      flags |= kFlagOverflow;
    } else {
      total += size;
      VisitValue(value, lists, [&](Code code) { ++begin[code + 1]; });
    }
    if ((value & kListBit) == 0) continue;
    std::uint32_t& number = list_numbers[value & ~kListBit];
    if (number == kUnseen) {
      number = static_cast<std::uint32_t>(list_order.size());
      list_order.push_back(value & ~kListBit);
      list_codes += lists.Get(value & ~kListBit).size();
    }
  }
  const std::uint32_t missing = begin[1];
  bool unique = true;
  const std::uint32_t dense_min = std::max(kDenseEntriesMin, rows / kDenseShare);
  std::vector<Code> dense;
  std::vector<std::uint32_t> dense_begin = {0};
  for (std::size_t code = 0; code <= keys; ++code) {
    const std::uint32_t count = begin[code + 1];
    unique = unique && (code == 0 || count == 1);
    if (count >= dense_min) {
      dense.push_back(static_cast<Code>(code));
      dense_begin.push_back(dense_begin.back() + count);
    }
    begin[code + 1] += begin[code];
  }
  const std::uint32_t entries = begin[keys + 1];
  const std::uint64_t postings = entries - dense_begin.back();
  const std::uint64_t largest = std::uint64_t{keys} + list_order.size();
  const std::uint32_t width = largest <= UINT8_MAX ? 1 : largest <= UINT16_MAX ? 2 : 4;
  const std::uint32_t offset_width = dictionary.dictionary().size() > UINT32_MAX ? 8 : 4;

  ColumnHeader header{};
  std::memcpy(header.magic, kColumnMagic.data(), sizeof(header.magic));
  header.version = 1;
  header.flags = flags | (dictionary.fixed() ? kFlagFixed : 0u) | (unique ? kFlagUnique : 0u);
  header.rows = rows;
  header.key_count = keys;
  header.list_count = static_cast<std::uint32_t>(list_order.size());
  header.width = width;
  header.entry_count = entries;
  header.missing_count = missing;
  header.dense_count = static_cast<std::uint32_t>(dense.size());
  header.offset_width = offset_width;
  header.prefix_size = static_cast<std::uint32_t>(dictionary.prefix_size());
  header.key_size = static_cast<std::uint32_t>(dictionary.key_size());
  header.stored_size = static_cast<std::uint32_t>(dictionary.stored_size());
  header.size = sizeof(header);
  const auto place = [&header](SectionName name, std::uint64_t size) {
    header.size = (header.size + kColumnAlignment - 1) / kColumnAlignment * kColumnAlignment;
    header.sections[name] = {header.size, size};
    header.size += size;
  };
  place(kFrame, dictionary.frame().size());
  place(kDictionary, dictionary.dictionary().size());
  place(kBlockOffsets, dictionary.block_offsets().size() * offset_width);
  place(kHeads, dictionary.heads().size() * 8);
  place(kEntriesBegin, unique ? 0 : begin.size() * 4);
  place(kDense, (dense.size() + dense_begin.size()) * 4);
  place(kPostings, postings * 4);
  place(kColumn, std::uint64_t{rows} * width);
  place(kListBegin, list_order.empty() ? 0 : (list_order.size() + 1) * 4);
  place(kLists, list_codes * 4);
  header.size = (header.size + kColumnAlignment - 1) / kColumnAlignment * kColumnAlignment;

  std::string image(header.size, '\0');
  const auto at = [&](SectionName name) { return image.data() + header.sections[name].offset; };
  const auto copy = [&](SectionName name, const void* from) {
    if (header.sections[name].size != 0) std::memcpy(at(name), from, header.sections[name].size);
  };
  copy(kFrame, dictionary.frame().data());
  copy(kDictionary, dictionary.dictionary().data());
  copy(kHeads, dictionary.heads().data());
  for (std::size_t i = 0; i < dictionary.block_offsets().size(); ++i) {
    std::memcpy(at(kBlockOffsets) + i * offset_width, &dictionary.block_offsets()[i], offset_width);
  }
  dictionary = DictionaryWriter();  // Its memory is free again.
  copy(kEntriesBegin, begin.data());
  if (!dense.empty()) std::memcpy(at(kDense), dense.data(), dense.size() * 4);
  std::memcpy(at(kDense) + dense.size() * 4, dense_begin.data(), dense_begin.size() * 4);

  // Where the next posting of each code goes; kUnseen for dense codes.
  std::uint32_t dense_entries = 0;
  for (std::size_t code = 0, next_dense = 0; code <= keys; ++code) {
    if (next_dense < dense.size() && dense[next_dense] == code) {
      begin[code] = kUnseen;
      dense_entries = dense_begin[++next_dense];
    } else {
      begin[code] -= dense_entries;
    }
  }
  auto* const rows_of_codes = reinterpret_cast<std::uint32_t*>(at(kPostings));
  for (std::uint32_t row = 0; row < rows; ++row) {
    VisitValue(values[row], lists, [&](Code code) {
      if (begin[code] != kUnseen) rows_of_codes[begin[code]++] = row;
    });
  }

  const auto write_values = [&](auto* to) {
    for (std::uint32_t row = 0; row < rows; ++row) {
      const std::uint32_t value = values[row];
      to[row] = static_cast<std::remove_reference_t<decltype(*to)>>(
          (value & kListBit) == 0 ? value : keys + 1 + list_numbers[value & ~kListBit]);
    }
  };
  if (width == 1) {
    write_values(reinterpret_cast<std::uint8_t*>(at(kColumn)));
  } else if (width == 2) {
    write_values(reinterpret_cast<std::uint16_t*>(at(kColumn)));
  } else {
    write_values(reinterpret_cast<std::uint32_t*>(at(kColumn)));
  }
  if (!list_order.empty()) {
    auto* list_begin = reinterpret_cast<std::uint32_t*>(at(kListBegin));
    auto* codes = reinterpret_cast<Code*>(at(kLists));
    std::uint32_t position = 0;
    for (const std::uint32_t number : list_order) {
      const absl::Span<const Code> list = lists.Get(number);
      *list_begin++ = position;
      std::copy(list.begin(), list.end(), codes + position);
      position += static_cast<std::uint32_t>(list.size());
    }
    *list_begin = position;
  }

  header.body_crc = Crc32c(std::string_view(image).substr(sizeof(header)));
  std::memcpy(image.data(), &header, sizeof(header));
  header.header_crc = Crc32c(std::string_view(image).substr(16, sizeof(header) - 16));
  std::memcpy(image.data(), &header, sizeof(header));
  return image;
}

// Goes through the keys of a column in order.
class KeyCursor {
 public:
  explicit KeyCursor(const Column* column) : column_(column) { Advance(); }
  bool done() const { return done_; }
  Code code() const { return code_; }
  std::string_view key() const { return batch_[position_]; }
  std::uint64_t head() const { return head_; }

  void Next() {
    ++code_;
    if (++position_ < count_) {
      head_ = LoadHead(batch_[position_]);
    } else {
      Advance();
    }
  }

 private:
  static constexpr std::uint32_t kBatch = kKeysPerBlock;

  // Reads the next block of keys.
  void Advance() {
    position_ = 0;
    count_ = 0;
    bytes_.clear();
    std::size_t ends[kBatch];
    column_->ForEachKey(code_, code_ + kBatch, [&](Code, std::string_view key) {
      bytes_.append(key);
      ends[count_++] = bytes_.size();
    });
    std::size_t begin = 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
      batch_[i] = std::string_view(bytes_).substr(begin, ends[i] - begin);
      begin = ends[i];
    }
    done_ = count_ == 0;
    if (!done_) head_ = LoadHead(batch_[0]);
  }

  const Column* column_;
  Code code_ = 1;
  std::string bytes_;
  std::string_view batch_[kBatch];
  std::uint32_t position_ = 0;
  std::uint32_t count_ = 0;
  std::uint64_t head_ = 0;
  bool done_ = false;
};

}  // namespace index_internal

inline std::string ColumnBuilder::Finish() && {
  if (in_row_) EndRow();
  in_row_ = false;
  table_.Clear();
  index_internal::DictionaryWriter dictionary(arena_.bytes());
  std::vector<Code> codes(keys_.size() + 1, kMissingCode);  // of entries
  {
    const std::vector<std::uint32_t> order = index_internal::SortKeys(keys_);
    for (std::size_t i = 0; i < order.size(); ++i) {
      // The keys lie as they came: fetched some steps ahead.
      constexpr std::size_t kAhead = 16;
      if (i + kAhead < order.size()) __builtin_prefetch(keys_[order[i + kAhead]]);
      dictionary.Add(index_internal::KeyArena::Get(keys_[order[i]]));
      codes[order[i] + 1] = static_cast<Code>(i + 1);
    }
  }
  keys_ = std::vector<const char*>();
  arena_ = index_internal::KeyArena();
  dictionary.Finish();
  for (std::uint32_t& value : values_) {
    if ((value & index_internal::kListBit) == 0) value = codes[value];
  }
  for (std::uint32_t number = 0; number < lists_.size(); ++number) {
    const absl::Span<Code> list = lists_.GetMutable(number);
    for (Code& code : list) code = codes[code];
    std::sort(list.begin(), list.end());
  }
  codes = std::vector<Code>();
  return index_internal::WriteColumn(std::move(dictionary), std::move(values_), std::move(lists_),
                                     flags_);
}

inline std::string MergeColumns(absl::Span<const Column* const> inputs,
                                absl::Span<const absl::Span<const std::uint32_t>> row_maps,
                                std::uint32_t rows) {
  using index_internal::KeyCursor;
  ALOS_CHECK(inputs.size() == row_maps.size());
  // Which codes live on: those of dropped rows only do not. Then: what they become.
  constexpr Code kDropped = 0;
  std::vector<std::vector<Code>> codes(inputs.size());
  std::vector<std::vector<bool>> lists_seen(inputs.size());
  std::uint32_t flags = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Column& input = *inputs[i];
    ALOS_CHECK(row_maps[i].size() == input.rows());
    if (input.has_truncated_keys()) flags |= index_internal::kFlagCutKeys;
    if (input.has_overflow()) flags |= index_internal::kFlagOverflow;
    if (input.has_through_arrays()) flags |= index_internal::kFlagThroughArrays;
    flags |= static_cast<std::uint32_t>(input.number_types()) << index_internal::kNumberTypesShift;
    std::vector<Code>& live = codes[i];
    live.assign(std::size_t{input.key_count()} + 1, kDropped);
    lists_seen[i].assign(input.list_count(), false);
    input.VisitColumn([&](const auto* values) {
      for (std::uint32_t row = 0; row < input.rows(); ++row) {
        if (row_maps[i][row] == kDroppedRow) continue;
        const std::uint32_t value = values[row];
        if (!input.IsList(value)) {
          live[value] = 1;
        } else if (input.ListNumber(value) < input.list_count()) {
          lists_seen[i][input.ListNumber(value)] = true;
        }
      }
    });
    for (std::uint32_t number = 0; number < input.list_count(); ++number) {
      if (!lists_seen[i][number]) continue;
      for (const Code code : input.List(number)) {
        if (code <= input.key_count()) live[code] = 1;
      }
    }
  }

  // Merges the dictionaries. There are few inputs: the least key is looked for among them all.
  std::size_t dictionary_bytes = 0;
  for (const Column* input : inputs) dictionary_bytes += 2 * input->dictionary_bytes();
  index_internal::DictionaryWriter dictionary(dictionary_bytes);
  std::vector<KeyCursor> cursors;
  cursors.reserve(inputs.size());
  std::vector<std::size_t> active;
  // Moves on to a key that lives; whether there is one.
  const auto settle = [&](std::size_t i) {
    KeyCursor& cursor = cursors[i];
    while (!cursor.done() && codes[i][cursor.code()] == kDropped) cursor.Next();
    if (!cursor.done()) return true;
    // Of a damaged dictionary the rest cannot be read.
    std::fill(codes[i].begin() + cursor.code(), codes[i].end(), kDropped);
    return false;
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    cursors.emplace_back(inputs[i]);
    if (settle(i)) active.push_back(i);
  }
  const auto less = [&](std::size_t a, std::size_t b) {
    if (cursors[a].head() != cursors[b].head()) return cursors[a].head() < cursors[b].head();
    return cursors[a].key() < cursors[b].key();
  };
  std::string key;
  std::vector<std::size_t> candidates;
  while (!active.empty()) {
    std::size_t least = active[0];
    bool several = false;
    for (std::size_t n = 1; n < active.size(); ++n) {
      const std::size_t candidate = active[n];
      if (cursors[candidate].head() > cursors[least].head()) continue;
      if (less(candidate, least)) {
        least = candidate;
        several = false;
      } else if (!less(least, candidate)) {
        several = true;
      }
    }
    dictionary.Add(cursors[least].key());
    const Code code = dictionary.count();
    const auto take = [&](std::size_t i) {
      codes[i][cursors[i].code()] = code;
      cursors[i].Next();
      if (!settle(i)) active.erase(std::find(active.begin(), active.end(), i));
    };
    if (several) {
      key.assign(cursors[least].key());
      candidates = active;
      for (const std::size_t i : candidates) {
        if (cursors[i].key() == key) take(i);
      }
    } else {
      take(least);
    }
  }
  cursors.clear();
  dictionary.Finish();

  // The values and lists, in the new codes.
  index_internal::ListSet lists;  // the values below name them by number
  const std::uint32_t empty_list = index_internal::kListBit | lists.Add({});
  std::vector<std::uint32_t> values(rows, empty_list);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Column& input = *inputs[i];
    std::vector<std::uint32_t> list_values(input.list_count(), empty_list);
    std::vector<Code> list;
    for (std::uint32_t number = 0; number < input.list_count(); ++number) {
      if (!lists_seen[i][number]) continue;
      list.clear();
      for (const Code code : input.List(number)) {
        if (code <= input.key_count()) list.push_back(code == kMissingCode ? 0 : codes[i][code]);
      }
      list_values[number] = index_internal::kListBit | lists.Add(list);
    }
    codes[i][kMissingCode] = kMissingCode;
    input.VisitColumn([&](const auto* old_values) {
      for (std::uint32_t row = 0; row < input.rows(); ++row) {
        const std::uint32_t to = row_maps[i][row];
        if (to == kDroppedRow) continue;
        ALOS_DCHECK(to < rows);
        if (to >= rows) continue;
        const std::uint32_t value = old_values[row];
        if (!input.IsList(value)) {
          values[to] = codes[i][value];
        } else if (input.ListNumber(value) < input.list_count()) {
          values[to] = list_values[input.ListNumber(value)];
        }
      }
    });
    codes[i] = std::vector<Code>();
  }
  return index_internal::WriteColumn(std::move(dictionary), std::move(values), std::move(lists),
                                     flags);
}

}  // namespace alos

#endif  // ALOS_INDEX_COLUMN_BUILDER_H_
