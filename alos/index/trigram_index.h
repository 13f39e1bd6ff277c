// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// An index over the text of a column's keys: for each trigram (alos/index/trigram_query.h) the
// chunks of 8 consecutive codes of which at least one key contains it. A query is answered with the
// chunks that may contain a match; who asked looks at their keys.
//
// Why chunks, and of 8 keys: a list costs about -log2 of its share of the chunks in bits an
// element, and the more text there is in a chunk, the more of it shares a trigram. But a chunk may
// also have all trigrams of a word, and not the word. On chat lines of 86 bytes the index is 39 %
// of the text with chunks of 8 keys, 29 % with 16 and 20 % with 32; for a rare word 5, 21 and 90
// keys in 3000 are looked at on average.
//
// The image, all integers little-endian:
//
//   offset 0   8   "ALOSTRG1"
//          8   4   format version, 1
//          12  4   CRC-32C of bytes 16 to 63
//          16  4   CRC-32C of everything from offset 64 on
//          20  4   keys in a chunk, 8
//          24  4   first code
//          28  4   end code: one past the last one
//          32  4   directory entries, n
//          36  4   0
//          40  8   words of lists
//          48  8   bytes of text that were indexed
//          56  8   0
//          64  4n  the trigrams, ascending; 0x1000000: a key of the chunk was cut short
//          ..  4n  for each, the number of chunks that contain it, c
//          ..  4n  for each, the number of the word that its list starts with
//          ..  0-4 zeros to a multiple of 8
//          ..      the lists: 8-byte words, bits from the lowest up
//
// Code k is in chunk (k - 1) / 8. In lists, chunks are numbered from the one of the first code; u
// is how many there are. A list is, whichever is the first that holds:
//   - c = 0 or 4 c > 3 u: nothing. A trigram that common excludes little.
//   - 4 c >= u: u bits, one a chunk.
//   - else the chunks in Elias and Fano's code. With l = floor(log2(u / c)): first c + (u >> l) + 1
//     bits, in which chunk number i (from 0) of value v sets bit (v >> l) + i; then c numbers of l
//     bits, the v mod 2^l.
// Both fill their last word with zeros.

#ifndef ALOS_INDEX_TRIGRAM_INDEX_H_
#define ALOS_INDEX_TRIGRAM_INDEX_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"
#include "alos/document/text_folding.h"
#include "alos/index/index_key.h"
#include "alos/index/trigram_query.h"

namespace alos {

// Keys numbered by ascending codes; a Column (alos/index/column.h) is one. A key is what
// alos/index/index_key.h makes of a string: a byte for the class, then the text.
// ForEachKey(first, end, visit) calls visit(code, key) for the codes in [first, end), ascending; if
// visit returns bool, true ends it. Two calls visit the same.
template <class T>
concept TextDictionary = requires(const T& dictionary, std::uint32_t code,
                                  bool (*visit)(std::uint32_t, std::string_view)) {
  dictionary.ForEachKey(code, code, visit);
};

// Threads: immutable; const functions from any number of threads.
// Lifetime: the bytes given to Open() must outlive it and all copies; nothing else refers to them.
// Durability: none, an image is bytes: its owner writes and maps it.
// Errors: Open() answers kDataLoss when the header is not one of this format or does not agree with
// the size of the image. It reads no more than the header, so that it costs nothing to open a
// mapped file; VerifyBody() reads all. Of an image whose body is damaged any answer may come, wrong
// ones, too, but nothing is read outside the image. Cost: see the functions. On chat lines of 60 to
// 80 bytes an image is about 15 % of the text.
class TrigramIndex {
 public:
  static constexpr std::uint32_t kChunkKeys = 8;

  // The number of the chunk that a code is in, and the first code of a chunk.
  static std::uint32_t ChunkOf(std::uint32_t code) { return (code - 1) / kChunkKeys; }
  static std::uint32_t FirstCodeOf(std::uint32_t chunk) { return chunk * kChunkKeys + 1; }

  // The image for the keys with codes in [first_code, end_code), which all are strings.
  // REQUIRES: 1 <= first_code <= end_code.
  // Cost: two passes over the keys; memory: the image, and about 40 bytes for each different
  // trigram.
  template <TextDictionary Dictionary>
  static std::string Build(const Dictionary& dictionary, std::uint32_t first_code,
                           std::uint32_t end_code);

  static absl::StatusOr<TrigramIndex> Open(std::string_view image);
  // kDataLoss when the image is not what Build() returned. Cost: reads all of it.
  absl::Status VerifyBody() const;

  // The codes whose keys are indexed: [first_code, end_code).
  std::uint32_t first_code() const { return first_code_; }
  std::uint32_t end_code() const { return end_code_; }
  std::size_t size_bytes() const { return image_.size(); }
  std::uint64_t text_bytes() const { return text_bytes_; }
  std::uint32_t chunk_count() const { return chunk_count_; }
  std::uint32_t trigram_count() const { return entry_count_; }

  // Calls visit(chunk), which returns whether to go on, with the numbers of the chunks that may
  // have a key which fulfils `query`, ascending, from `first_chunk` on: all chunks that have one,
  // those of keys that were cut short, and some others. Cost: the rarest trigram of an AND leads;
  // of the others only what is needed is read. Lazy: what is not visited is not worked out.
  template <class Visit>
  void Candidates(const TrigramQuery& query, Visit visit, std::uint32_t first_chunk = 0) const;

  // How many chunks have a trigram. Cost: a binary search.
  std::uint32_t ChunksWith(Trigram trigram) const { return Find(trigram).chunks; }

  // At least the number of candidates: of an AND, its rarest trigram. Cost: a binary search for
  // each trigram; reads no lists.
  std::uint64_t EstimateChunks(const TrigramQuery& query) const;

 private:
  class Cursor;
  class Builder;

  struct Entry {
    std::uint32_t chunks = 0;
    std::uint32_t begin = 0;
  };

  static constexpr char kMagic[] = "ALOSTRG1";
  static constexpr std::size_t kHeaderBytes = 64;
  static constexpr Trigram kTruncated = kTrigramsMax;

  TrigramIndex() = default;

  std::uint32_t Load32(std::size_t offset) const {
    std::uint32_t value;
    std::memcpy(&value, image_.data() + offset, 4);
    return value;
  }
  std::uint64_t Word(std::uint64_t number) const {
    std::uint64_t value;
    std::memcpy(&value, image_.data() + lists_offset_ + number * 8, 8);
    return value;
  }
  Entry Find(Trigram trigram) const;

  std::string_view image_;
  std::size_t lists_offset_ = 0;
  std::uint64_t word_count_ = 0;
  std::uint64_t text_bytes_ = 0;
  std::uint32_t entry_count_ = 0;
  std::uint32_t first_code_ = 1;
  std::uint32_t end_code_ = 1;
  std::uint32_t first_chunk_ = 0;
  std::uint32_t chunk_count_ = 0;
};

// ---- Readers of the API may stop here. ----

namespace index_internal {

// How a list of `chunks` out of `universe` is stored.
struct TrigramListShape {
  enum class Kind : std::uint8_t { kNone, kBitmap, kEliasFano };

  TrigramListShape(std::uint64_t chunks, std::uint64_t universe) {
    if (chunks == 0 || 4 * chunks > 3 * universe) return;
    if (4 * chunks >= universe) {
      kind = Kind::kBitmap;
      upper_bits = universe;
    } else {
      kind = Kind::kEliasFano;
      lower_width = static_cast<int>(std::bit_width(universe / chunks)) - 1;
      upper_bits = chunks + (universe >> lower_width) + 1;
    }
    words = (upper_bits + chunks * static_cast<std::uint64_t>(lower_width) + 63) / 64;
  }

  Kind kind = Kind::kNone;
  int lower_width = 0;
  std::uint64_t upper_bits = 0;
  std::uint64_t words = 0;
};

// Where set bit number i (from 0) of a byte is, by i and the byte.
inline constexpr std::array<std::array<std::uint8_t, 256>, 8> kBitInByte = [] {
  std::array<std::array<std::uint8_t, 256>, 8> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned bit = 0, number = 0; bit < 8; ++bit) {
      if ((byte >> bit & 1) != 0) table[number++][byte] = static_cast<std::uint8_t>(bit);
    }
  }
  return table;
}();

}  // namespace index_internal

// The chunks, numbered as in lists, that fulfil a query or a part of it; from the first to the
// last.
class TrigramIndex::Cursor {
 public:
  static constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
  // Of more chunks in a block it is not asked one by one whether a list has them.
  static constexpr int kSeeksMax = 4;

  Cursor(const TrigramIndex& index, const TrigramQuery& query) : index_(&index) {
    switch (query.kind()) {
      case TrigramQuery::Kind::kAll:
        break;
      case TrigramQuery::Kind::kTrigram:
        OpenList(query.trigram());
        break;
      case TrigramQuery::Kind::kAnd:
      case TrigramQuery::Kind::kOr:
        kind_ = query.kind() == TrigramQuery::Kind::kAnd ? Kind::kAnd : Kind::kOr;
        for (const TrigramQuery& part : query.parts()) parts_.emplace_back(index, part);
        Simplify();
        break;
    }
  }
  Cursor(const TrigramIndex& index, Trigram trigram) : index_(&index) { OpenList(trigram); }

  // Either of the two.
  static Cursor Or(const TrigramIndex& index, Cursor a, Cursor b) {
    Cursor both(index, TrigramQuery::All());
    both.kind_ = Kind::kOr;
    both.parts_.push_back(std::move(a));
    both.parts_.push_back(std::move(b));
    both.Simplify();
    return both;
  }

  // At least the number of chunks there are.
  std::uint64_t estimate() const { return estimate_; }

  // The first block from `block` on, of 64 chunks each, that may have one; kEnd if there is none.
  // REQUIRES: `block` is not below what an earlier call of either function was given.
  std::uint64_t NextBlock(std::uint64_t block) {
    if (block * 64 >= index_->chunk_count_) return kEnd;
    switch (kind_) {
      case Kind::kEvery:
      case Kind::kBitmap:
        return block;
      case Kind::kNothing:
        return kEnd;
      case Kind::kEliasFano: {
        const std::uint64_t chunk = Seek(block * 64);
        return chunk == kEnd ? kEnd : chunk / 64;
      }
      case Kind::kAnd:
        return parts_[0].NextBlock(block);
      case Kind::kOr: {
        std::uint64_t least = kEnd;
        for (Cursor& part : parts_) least = std::min(least, part.NextBlock(block));
        return least;
      }
    }
    return kEnd;
  }

  // Those of the chunks of a block that are in `wanted`, a bit for each.
  // REQUIRES: as NextBlock(); `wanted` has only chunks that there are.
  std::uint64_t Mask(std::uint64_t block, std::uint64_t wanted) {
    switch (kind_) {
      case Kind::kEvery:
        return wanted;
      case Kind::kNothing:
        return 0;
      case Kind::kBitmap:
        return wanted & index_->Word(begin_ + block);
      case Kind::kEliasFano: {
        std::uint64_t found = 0;
        // All that are in the block: to find the next one is cheaper than to seek one.
        if (std::popcount(wanted) > kSeeksMax) return wanted & DecodeBlock(block);
        while (wanted != 0) {
          const std::uint64_t chunk =
              Seek(block * 64 + static_cast<std::uint64_t>(std::countr_zero(wanted)));
          if (chunk / 64 != block) break;
          const std::uint64_t bit = std::uint64_t{1} << chunk % 64;
          found |= wanted & bit;
          wanted &= ~(bit | (bit - 1));
        }
        return found;
      }
      case Kind::kAnd:
        for (Cursor& part : parts_) {
          if (wanted == 0) break;
          wanted = part.Mask(block, wanted);
        }
        return wanted;
      case Kind::kOr: {
        std::uint64_t found = 0;
        for (Cursor& part : parts_) found |= part.Mask(block, wanted & ~found);
        return found;
      }
    }
    return 0;
  }

 private:
  enum class Kind : std::uint8_t { kEvery, kNothing, kBitmap, kEliasFano, kAnd, kOr };

  void OpenList(Trigram trigram) {
    const Entry entry = index_->Find(trigram);
    const index_internal::TrigramListShape shape(entry.chunks, index_->chunk_count_);
    estimate_ = entry.chunks;
    if (entry.chunks == 0) {
      kind_ = Kind::kNothing;
    } else if (shape.kind == index_internal::TrigramListShape::Kind::kNone ||
               entry.chunks > index_->chunk_count_ || entry.begin > index_->word_count_ ||
               shape.words > index_->word_count_ - entry.begin) {
      kind_ = Kind::kEvery;  // too common, or the image is damaged
      estimate_ = std::min(estimate_, std::uint64_t{index_->chunk_count_});
    } else {
      kind_ = shape.kind == index_internal::TrigramListShape::Kind::kBitmap ? Kind::kBitmap
                                                                            : Kind::kEliasFano;
      lower_width_ = shape.lower_width;
      begin_ = entry.begin;
      upper_bits_ = shape.upper_bits;
      chunks_ = entry.chunks;
    }
  }

  void Simplify() {
    const bool is_and = kind_ == Kind::kAnd;
    estimate_ = is_and ? index_->chunk_count_ : 0;
    for (const Cursor& part : parts_) {
      estimate_ = is_and ? std::min(estimate_, part.estimate_) : estimate_ + part.estimate_;
    }
    estimate_ = std::min(estimate_, std::uint64_t{index_->chunk_count_});
    const auto is = [&](Kind kind) {
      return std::any_of(parts_.begin(), parts_.end(),
                         [&](const Cursor& part) { return part.kind_ == kind; });
    };
    if (is(is_and ? Kind::kNothing : Kind::kEvery)) {
      kind_ = is_and ? Kind::kNothing : Kind::kEvery;
      parts_.clear();
      return;
    }
    const Kind neutral = is_and ? Kind::kEvery : Kind::kNothing;
    parts_.erase(std::remove_if(parts_.begin(), parts_.end(),
                                [&](const Cursor& part) { return part.kind_ == neutral; }),
                 parts_.end());
    if (parts_.empty()) {
      kind_ = neutral;
      return;
    }
    if (parts_.size() == 1) {
      Cursor only = std::move(parts_[0]);
      *this = std::move(only);
      return;
    }
    std::stable_sort(parts_.begin(), parts_.end(),
                     [](const Cursor& a, const Cursor& b) { return a.estimate_ < b.estimate_; });
    if (parts_[0].estimate_ * 64 > index_->chunk_count_ * std::uint64_t{kSeeksMax}) {
      // Many in a block: behind the rarest, which leads, bitmaps take out most for least.
      std::stable_partition(parts_.begin() + 1, parts_.end(),
                            [](const Cursor& part) { return part.kind_ == Kind::kBitmap; });
    }
  }

  // The first chunk of the list from `chunk` on; kEnd if there is none.
  std::uint64_t Seek(std::uint64_t chunk) {
    if (current_ < chunk || !started_) {
      started_ = true;
      current_ = SeekFurther(chunk);
    }
    return current_;
  }

  // position_ is a place in the upper bits; ones_ of the bits before it are set. A set bit at p is
  // of a chunk whose upper part is the number of zeros before p.
  std::uint64_t SeekFurther(std::uint64_t chunk) {
    const std::uint64_t upper = chunk >> lower_width_;
    // To behind zero number `upper`, word by word.
    std::uint64_t word_number = position_ / 64;
    std::uint64_t skip = position_ % 64;
    while (position_ - ones_ < upper) {
      if (position_ >= upper_bits_) return kEnd;
      const std::uint64_t zeros = ~index_->Word(begin_ + word_number) >> skip << skip;
      const auto zero_count = static_cast<std::uint64_t>(std::popcount(zeros));
      const std::uint64_t wanted = upper - (position_ - ones_);
      if (zero_count < wanted) {
        ones_ += 64 - skip - zero_count;
        position_ = ++word_number * 64;
        skip = 0;
        continue;
      }
      const std::uint64_t place = SelectBit(zeros, wanted - 1) + 1;
      ones_ += place - skip - wanted;
      position_ = word_number * 64 + place;
    }
    // Through the set bits to the first that is large enough.
    std::uint64_t found = Next(&position_, &ones_);
    while (found < chunk) found = Next(&position_, &ones_);
    return found;
  }

  // The chunk of the first set bit from *position on, of which *ones are before it; moves both to
  // behind it. kEnd if there is none.
  ABSL_ATTRIBUTE_ALWAYS_INLINE std::uint64_t Next(std::uint64_t* position,
                                                  std::uint64_t* ones) const {
    while (*position < upper_bits_ && *ones < chunks_) {
      const std::uint64_t word = index_->Word(begin_ + *position / 64) >> *position % 64;
      if (word == 0) {
        *position = (*position / 64 + 1) * 64;
        continue;
      }
      *position += static_cast<std::uint64_t>(std::countr_zero(word));
      if (*position >= upper_bits_) break;
      const std::uint64_t found = (*position - *ones) << lower_width_ | Lower(*ones);
      ++*position;
      ++*ones;
      return found < index_->chunk_count_ ? found : kEnd;
    }
    return kEnd;
  }

  // The chunks of the list in a block. The cursor is then at the first one behind it.
  std::uint64_t DecodeBlock(std::uint64_t block) {
    std::uint64_t chunk = Seek(block * 64);
    std::uint64_t found = 0;
    std::uint64_t position = position_;
    std::uint64_t ones = ones_;
    while (chunk / 64 == block) {
      found |= std::uint64_t{1} << chunk % 64;
      chunk = Next(&position, &ones);
    }
    position_ = position;
    ones_ = ones;
    current_ = chunk;
    return found;
  }

  // Where set bit number `number` (from 0) of `word` is. REQUIRES: it has so many.
  static std::uint64_t SelectBit(std::uint64_t word, std::uint64_t number) {
    // In byte i of `sums`, how many bits are set in bytes 0 to i; then how many bytes are before
    // the one that is sought: Vigna, "Broadword implementation of rank/select queries". No
    // branches.
    constexpr std::uint64_t kOnes = 0x0101010101010101u;
    std::uint64_t sums = word - (word >> 1 & 0x5555555555555555u);
    sums = (sums & 0x3333333333333333u) + (sums >> 2 & 0x3333333333333333u);
    sums = ((sums + (sums >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * kOnes;
    const std::uint64_t before = (((number * kOnes) | (0x80 * kOnes)) - sums) & (0x80 * kOnes);
    const auto shift = static_cast<std::uint64_t>(std::popcount(before)) * 8;
    const std::uint64_t rest = number - ((sums << 8) >> shift & 0xFF);
    return shift + index_internal::kBitInByte[rest][word >> shift & 0xFF];
  }

  // REQUIRES: number < chunks_.
  std::uint64_t Lower(std::uint64_t number) const {
    if (lower_width_ == 0) return 0;
    const std::uint64_t bit = upper_bits_ + number * static_cast<std::uint64_t>(lower_width_);
    const std::uint64_t shift = bit % 64;
    std::uint64_t value = index_->Word(begin_ + bit / 64) >> shift;
    if (shift + static_cast<std::uint64_t>(lower_width_) > 64) {
      value |= index_->Word(begin_ + bit / 64 + 1) << (64 - shift);
    }
    return value & ((std::uint64_t{1} << lower_width_) - 1);
  }

  const TrigramIndex* index_;
  Kind kind_ = Kind::kEvery;
  bool started_ = false;
  int lower_width_ = 0;
  std::uint64_t estimate_ = index_->chunk_count_;
  std::uint64_t current_ = 0;
  // Of a list.
  std::uint64_t begin_ = 0;
  std::uint64_t upper_bits_ = 0;
  std::uint64_t chunks_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t ones_ = 0;
  // Of AND and OR, the rarest first.
  std::vector<Cursor> parts_;
};

// Counts the chunks of each trigram, which tells the size and place of each list, then sets the
// bits of the lists where they belong: no list is ever held in another form.
//
// Whether a trigram is new to its chunk, and how its list is stored, is a coin toss to the branch
// predictor, and there are two of these per byte: the inner loops do without branches.
class TrigramIndex::Builder {
 public:
  template <TextDictionary Dictionary>
  std::string Build(const Dictionary& dictionary, std::uint32_t first_code,
                    std::uint32_t end_code) {
    first_chunk_ = ChunkOf(first_code);
    chunk_count_ = first_code == end_code ? 0 : ChunkOf(end_code - 1) - first_chunk_ + 1;
    ForEachKeyNumbers(dictionary, first_code, end_code, 0, [&](std::uint32_t, std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) ++lists_[numbers_[i]].chunks;
    });
    const std::uint64_t text_bytes = text_bytes_;

    std::vector<std::uint32_t> order(lists_.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return lists_[a].trigram < lists_[b].trigram;
    });
    const std::size_t lists_offset = (kHeaderBytes + 12 * lists_.size() + 7) / 8 * 8;
    std::uint64_t words = 0;
    for (const std::uint32_t number : order) {
      words += index_internal::TrigramListShape(lists_[number].chunks, chunk_count_).words;
    }
    ALOS_CHECK(words <= std::numeric_limits<std::uint32_t>::max());

    // One word more for lists that are not stored, and one that may be touched behind it.
    std::string image(lists_offset + (words + 2) * 8, '\0');
    const auto put32 = [&](std::size_t offset, std::uint64_t value) {
      const auto narrow = static_cast<std::uint32_t>(value);
      std::memcpy(image.data() + offset, &narrow, 4);
    };
    const auto put64 = [&](std::size_t offset, std::uint64_t value) {
      std::memcpy(image.data() + offset, &value, 8);
    };
    std::vector<Writer> writers(lists_.size());
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const List& list = lists_[order[i]];
      const index_internal::TrigramListShape shape(list.chunks, chunk_count_);
      put32(kHeaderBytes + 4 * i, list.trigram);
      put32(kHeaderBytes + 4 * (order.size() + i), list.chunks);
      put32(kHeaderBytes + 4 * (2 * order.size() + i), word);
      writers[order[i]] = Writer(shape, shape.words == 0 ? words : word);
      word += shape.words;
    }
    char* const bytes = image.data() + lists_offset;
    ForEachKeyNumbers(dictionary, first_code, end_code, 1,
                      [&](std::uint32_t chunk, std::size_t count) {
                        for (std::size_t i = 0; i < count; ++i) {
                          writers[numbers_[i]].Write(chunk, bytes);
                        }
                      });
    image.resize(lists_offset + words * 8);

    std::memcpy(image.data(), kMagic, 8);
    put32(8, 1);
    put32(16, Crc32c(std::string_view(image).substr(kHeaderBytes)));
    put32(20, kChunkKeys);
    put32(24, first_code);
    put32(28, end_code);
    put32(32, lists_.size());
    put64(40, words);
    put64(48, text_bytes);
    put32(12, Crc32c(std::string_view(image).substr(16, kHeaderBytes - 16)));
    return image;
  }

 private:
  static constexpr std::uint32_t kPageTrigrams = 1 << 10;

  struct List {
    Trigram trigram = 0;
    std::uint32_t chunks = 0;
  };
  struct Slot {
    std::uint32_t number = 0;  // of its list, plus 1; 0: none yet
    std::uint32_t stamp = 0;   // of the last chunk that it was found in
  };

  // Where the next chunk of a list goes.
  struct Writer {
    Writer() = default;
    Writer(const index_internal::TrigramListShape& shape, std::uint64_t word)
        : upper_bit(word * 64), lower_bit(word * 64) {
      switch (shape.kind) {
        case index_internal::TrigramListShape::Kind::kNone:
          upper_shift = 32;
          break;
        case index_internal::TrigramListShape::Kind::kBitmap:
          break;
        case index_internal::TrigramListShape::Kind::kEliasFano:
          upper_shift = static_cast<std::uint8_t>(shape.lower_width);
          lower_width = upper_shift;
          upper_step = 1;
          lower_bit += shape.upper_bits;
          break;
      }
    }

    void Write(std::uint64_t chunk, char* bytes) {
      Set(upper_bit + (chunk >> upper_shift), 1, bytes);
      Set(lower_bit, chunk & ((std::uint64_t{1} << lower_width) - 1), bytes);
      upper_bit += upper_step;
      lower_bit += lower_width;
    }

    // REQUIRES: `value` has at most 57 bits.
    static void Set(std::uint64_t bit, std::uint64_t value, char* bytes) {
      std::uint64_t word;
      std::memcpy(&word, bytes + bit / 8, 8);
      word |= value << bit % 8;
      std::memcpy(bytes + bit / 8, &word, 8);
    }

    std::uint64_t upper_bit = 0;
    std::uint64_t lower_bit = 0;
    std::uint8_t upper_shift = 0;
    std::uint8_t lower_width = 0;
    std::uint8_t upper_step = 0;
  };

  // Calls visit(chunk, count) for each key: the first `count` of numbers_ are then those of the
  // lists of trigrams that the key has and no key of the chunk before it had. `pass` counts the
  // calls from 0. Counts text_bytes_.
  template <TextDictionary Dictionary, class Visit>
  void ForEachKeyNumbers(const Dictionary& dictionary, std::uint32_t first_code,
                         std::uint32_t end_code, std::uint32_t pass, Visit visit) {
    text_bytes_ = 0;
    dictionary.ForEachKey(first_code, end_code, [&](std::uint32_t code, std::string_view key) {
      const std::uint32_t chunk = ChunkOf(code) - first_chunk_;
      const std::uint32_t stamp = pass * chunk_count_ + chunk + 1;
      const std::string_view text = key.substr(std::min<std::size_t>(key.size(), 1));
      text_bytes_ += text.size();
      folded_.clear();
      FoldText(text, TextFolding{}, &folded_);
      if (numbers_.size() <= folded_.size()) numbers_.resize(2 * folded_.size() + 1);
      std::size_t count = 0;
      const auto add = [&](Trigram trigram) {
        Slot& slot = SlotOf(trigram);
        numbers_[count] = slot.number - 1;
        count += slot.stamp != stamp ? 1 : 0;
        slot.stamp = stamp;
      };
      if (IsCutIndexKey(key)) add(kTruncated);
      Trigram trigram = 0;
      for (std::size_t i = 0; i < folded_.size(); ++i) {
        trigram = (trigram << 8 | static_cast<unsigned char>(folded_[i])) & (kTrigramsMax - 1);
        if (i >= 2) add(trigram);
      }
      visit(chunk, count);
    });
  }

  Slot& SlotOf(Trigram trigram) {
    std::unique_ptr<Slot[]>& page = pages_[trigram / kPageTrigrams];
    if (page == nullptr) page = std::make_unique<Slot[]>(kPageTrigrams);
    Slot& slot = page[trigram % kPageTrigrams];
    if (slot.number == 0) {
      lists_.push_back({trigram, 0});
      slot.number = static_cast<std::uint32_t>(lists_.size());
    }
    return slot;
  }

  std::uint32_t first_chunk_ = 0;
  std::uint32_t chunk_count_ = 0;
  std::uint64_t text_bytes_ = 0;
  std::vector<std::unique_ptr<Slot[]>> pages_ =
      std::vector<std::unique_ptr<Slot[]>>(kTrigramsMax / kPageTrigrams + 1);
  std::vector<List> lists_;
  std::string folded_;
  std::vector<std::uint32_t> numbers_;
};

template <TextDictionary Dictionary>
std::string TrigramIndex::Build(const Dictionary& dictionary, std::uint32_t first_code,
                                std::uint32_t end_code) {
  ALOS_CHECK(first_code >= 1 && first_code <= end_code);
  return Builder().Build(dictionary, first_code, end_code);
}

inline absl::StatusOr<TrigramIndex> TrigramIndex::Open(std::string_view image) {
  TrigramIndex index;
  index.image_ = image;
  if (image.size() < kHeaderBytes || image.substr(0, 8) != std::string_view(kMagic, 8)) {
    return absl::DataLossError("not a trigram index; delete it, it is built again");
  }
  if (const std::uint32_t version = index.Load32(8); version != 1) {
    return absl::DataLossError(absl::StrCat("trigram index of unknown version ", version,
                                            ", this reads 1; delete it, it is built again"));
  }
  if (Crc32c(image.substr(16, kHeaderBytes - 16)) != index.Load32(12)) {
    return absl::DataLossError(
        "trigram index whose header has a wrong checksum; delete it, it is built again");
  }
  index.first_code_ = index.Load32(24);
  index.end_code_ = index.Load32(28);
  index.entry_count_ = index.Load32(32);
  std::memcpy(&index.word_count_, image.data() + 40, 8);
  std::memcpy(&index.text_bytes_, image.data() + 48, 8);
  const std::uint64_t directory_end = kHeaderBytes + std::uint64_t{12} * index.entry_count_;
  index.lists_offset_ = (directory_end + 7) / 8 * 8;
  if (index.Load32(20) != kChunkKeys || index.first_code_ < 1 ||
      index.first_code_ > index.end_code_ || index.lists_offset_ > image.size() ||
      (image.size() - index.lists_offset_) % 8 != 0 ||
      (image.size() - index.lists_offset_) / 8 != index.word_count_) {
    return absl::DataLossError(
        absl::StrCat("trigram index of ", image.size(),
                     " bytes does not agree with its header; delete it, it is built again"));
  }
  if (index.first_code_ != index.end_code_) {
    index.first_chunk_ = ChunkOf(index.first_code_);
    index.chunk_count_ = ChunkOf(index.end_code_ - 1) - index.first_chunk_ + 1;
  }
  return index;
}

inline absl::Status TrigramIndex::VerifyBody() const {
  if (Crc32c(image_.substr(kHeaderBytes)) != Load32(16)) {
    return absl::DataLossError(absl::StrCat("trigram index of ", image_.size(),
                                            " bytes with a wrong checksum; delete it, it is built "
                                            "again"));
  }
  return absl::OkStatus();
}

inline TrigramIndex::Entry TrigramIndex::Find(Trigram trigram) const {
  std::uint32_t low = 0;
  std::uint32_t high = entry_count_;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (Load32(kHeaderBytes + std::size_t{4} * middle) < trigram) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == entry_count_ || Load32(kHeaderBytes + std::size_t{4} * low) != trigram) return {};
  return {Load32(kHeaderBytes + 4 * (std::size_t{entry_count_} + low)),
          Load32(kHeaderBytes + 4 * (2 * std::size_t{entry_count_} + low))};
}

template <class Visit>
void TrigramIndex::Candidates(const TrigramQuery& query, Visit visit,
                              std::uint32_t first_chunk) const {
  Cursor cursor = Cursor::Or(*this, Cursor(*this, query), Cursor(*this, kTruncated));
  const std::uint64_t first = first_chunk < first_chunk_ ? 0 : first_chunk - first_chunk_;
  for (std::uint64_t block = first / 64; (block = cursor.NextBlock(block)) != Cursor::kEnd;
       ++block) {
    std::uint64_t wanted = ~std::uint64_t{0};
    if (block == first / 64) wanted <<= first % 64;
    if (chunk_count_ - block * 64 < 64) wanted &= (std::uint64_t{1} << chunk_count_ % 64) - 1;
    for (std::uint64_t mask = cursor.Mask(block, wanted); mask != 0; mask &= mask - 1) {
      const std::uint64_t chunk = block * 64 + static_cast<std::uint64_t>(std::countr_zero(mask));
      if (!visit(static_cast<std::uint32_t>(first_chunk_ + chunk))) return;
    }
  }
}

inline std::uint64_t TrigramIndex::EstimateChunks(const TrigramQuery& query) const {
  return Cursor::Or(*this, Cursor(*this, query), Cursor(*this, kTruncated)).estimate();
}

}  // namespace alos

#endif  // ALOS_INDEX_TRIGRAM_INDEX_H_
