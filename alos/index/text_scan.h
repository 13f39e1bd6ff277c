// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Finds the keys of a column whose text matches a regular expression, or contains certain strings:
// with the help of a trigram index where it helps, else by looking at each key.

#ifndef ALOS_INDEX_TEXT_SCAN_H_
#define ALOS_INDEX_TEXT_SCAN_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/types/span.h"
#include "alos/index/index_key.h"
#include "alos/index/trigram_index.h"
#include "alos/index/trigram_probe.h"
#include "alos/index/trigram_query.h"
#include "re2/re2.h"

namespace alos {

// What is searched for.
// Threads: const functions from any number of threads. RE2 has a lock within: threads that search
// at the same time do so faster with an RE2 each. Lifetime: an RE2 must outlive the patterns made
// of it.
class TextPattern {
 public:
  // Texts that `regex` matches anywhere. REQUIRES: regex.ok().
  explicit TextPattern(const re2::RE2* regex)
      : regex_(regex), query_(TrigramQuery::FromRegex(*regex)) {}

  // Texts that `matches` is true for, which may be called from any number of threads. All of them
  // fulfil `query`.
  TextPattern(TrigramQuery query, std::function<bool(std::string_view)> matches)
      : matches_(std::move(matches)), query_(std::move(query)) {}

  // What every text that matches fulfils.
  const TrigramQuery& query() const { return query_; }

  bool Matches(std::string_view text) const {
    if (regex_ != nullptr) {
      return regex_->Match(re2::StringPiece(text.data(), text.size()), 0, text.size(),
                           re2::RE2::UNANCHORED, nullptr, 0);
    }
    return matches_(text);
  }

 private:
  const re2::RE2* regex_ = nullptr;
  std::function<bool(std::string_view)> matches_;
  TrigramQuery query_;
};

// What a search did, for explain.
struct TextScanCounts {
  bool used_index = false;
  std::uint64_t keys_examined = 0;
  std::uint64_t bytes_read = 0;  // of keys

  // Of two searches, over two parts of a dictionary, say.
  TextScanCounts& operator+=(const TextScanCounts& other) {
    used_index = used_index || other.used_index;
    keys_examined += other.keys_examined;
    bytes_read += other.bytes_read;
    return *this;
  }
};

// Whether ScanText() will use the index: the pattern has trigrams, and not every chunk is likely to
// have them.
inline bool CanUseTrigrams(const TrigramIndex* index, const TrigramQuery& query) {
  return index != nullptr && query.is_usable() &&
         index->EstimateChunks(query) * 4 <= std::uint64_t{index->chunk_count()} * 3;
}

namespace index_internal {

// Of a trigram in texts that nothing is known of; rare letters make it rare.
inline std::uint32_t GuessedFrequency(Trigram trigram) {
  constexpr std::string_view kFromRareToFrequent = "qzxjkvbpgywfmculdhrsnioate";
  std::uint32_t product = 1;
  for (; trigram != 0; trigram >>= 8) {
    const std::size_t rank = kFromRareToFrequent.find(static_cast<char>(trigram & 0xFF));
    product *= rank == std::string_view::npos ? 8 : static_cast<std::uint32_t>(rank) + 1;
  }
  return product;
}

}  // namespace index_internal

// Chunks that are looked at together.
inline constexpr std::size_t kTextChunksAtOnce = 16;

// A bit for each code of a chunk, the lowest for the first, of those whose text is worth matching.
using TextChunkMask = std::uint8_t;
static_assert(TrigramIndex::kChunkKeys == 8);

// All are.
struct SelectAllCodes {
  void operator()(absl::Span<const std::uint32_t> /*chunks*/, TextChunkMask* masks) const {
    std::fill_n(masks, kTextChunksAtOnce, TextChunkMask{0xFF});
  }
};

// Calls visit(code, is_certain) for the codes in [first_code, end_code), ascending, whose keys'
// text matches `pattern`, until it returns false. Keys that may have been cut short are visited
// whether their beginning matches or not, with is_certain false: the document has to be looked at.
//
// `select(chunks, masks)` is asked about the chunks that the index leads to, up to
// kTextChunksAtOnce of them, and sets a mask for each: texts that are not worth matching for other
// reasons need not be decoded.
//
// REQUIRES: the codes in the range are those of strings. `index`, if not nullptr, is of this
// dictionary; codes outside what it covers are all looked at.
// Threads: as those of `dictionary` and `pattern`: two threads may search two parts of one.
// Errors: none; with a damaged index keys may be missed (TrigramIndex::VerifyBody).
// Cost: the match per key examined, and a few nanoseconds; where the pattern has trigrams, only of
// keys that have one of them (TrigramProbe); no allocation per key, except where
// strings are folded.
//
//   const re2::RE2 regex("out of (memory|range)");
//   const TextPattern pattern(&regex);
//   const TextScanCounts counts = ScanText(
//       column, &trigrams, pattern, first, end, [&](std::uint32_t code, bool is_certain) {
//         codes.push_back(code);
//         return codes.size() < 50;
//       });
template <TextDictionary Dictionary, class Visit, class Select = SelectAllCodes>
TextScanCounts ScanText(const Dictionary& dictionary, const TrigramIndex* index,
                        const TextPattern& pattern, std::uint32_t first_code,
                        std::uint32_t end_code, Visit visit, Select select = {}) {
  TextScanCounts counts;
  bool goes_on = true;
  const std::optional<TrigramProbe> probe =
      TrigramProbe::Make(pattern.query(), [index](Trigram trigram) {
        return index != nullptr ? index->ChunksWith(trigram)
                                : index_internal::GuessedFrequency(trigram);
      });
  const auto matches = [&](std::string_view text) {
    return (!probe.has_value() || probe->MayMatch(text)) && pattern.Matches(text);
  };
  const auto scan = [&](std::uint32_t first, std::uint32_t end, const TextChunkMask* mask) {
    if (!goes_on || first >= end) return;
    dictionary.ForEachKey(first, end, [&](std::uint32_t code, std::string_view key) {
      if (mask != nullptr && (*mask >> ((code - 1) % TrigramIndex::kChunkKeys) & 1) == 0)
        return false;
      ++counts.keys_examined;
      counts.bytes_read += key.size();
      const bool is_whole = !IsCutIndexKey(key);
      if (is_whole && !matches(key.substr(std::min<std::size_t>(key.size(), 1)))) {
        return false;
      }
      goes_on = visit(code, is_whole);
      return !goes_on;
    });
  };
  if (!CanUseTrigrams(index, pattern.query())) {
    scan(first_code, end_code, nullptr);
    return counts;
  }
  counts.used_index = true;
  const std::uint32_t covered_first = std::clamp(index->first_code(), first_code, end_code);
  const std::uint32_t covered_end = std::clamp(index->end_code(), covered_first, end_code);
  scan(first_code, covered_first, nullptr);
  if (covered_first < covered_end) {
    // Chunks lie anywhere in a large dictionary: the memory of some is asked for at once.
    std::uint32_t chunks[kTextChunksAtOnce];
    std::size_t chunk_count = 0;
    const auto scan_chunks = [&] {
      TextChunkMask masks[kTextChunksAtOnce];
      select(absl::MakeConstSpan(chunks, chunk_count), masks);
      if constexpr (requires { dictionary.Prefetch(first_code); }) {
        for (std::size_t i = 0; i < chunk_count; ++i) {
          if (masks[i] != 0) dictionary.Prefetch(TrigramIndex::FirstCodeOf(chunks[i]));
        }
      }
      for (std::size_t i = 0; i < chunk_count && goes_on; ++i) {
        if (masks[i] == 0) continue;
        // The keys of a chunk are decoded one after another: no further than to the last one asked
        // for.
        const std::uint32_t code = TrigramIndex::FirstCodeOf(chunks[i]);
        const auto codes = static_cast<std::uint32_t>(std::bit_width(masks[i]));
        scan(std::max(code, covered_first), std::min(code + codes, covered_end), &masks[i]);
      }
      chunk_count = 0;
    };
    const auto take_chunk = [&](std::uint32_t chunk) {
      if (TrigramIndex::FirstCodeOf(chunk) >= covered_end) return false;
      chunks[chunk_count++] = chunk;
      if (chunk_count == kTextChunksAtOnce) scan_chunks();
      return goes_on;
    };
    index->Candidates(pattern.query(), take_chunk, TrigramIndex::ChunkOf(covered_first));
    scan_chunks();
  }
  scan(covered_end, end_code, nullptr);
  return counts;
}

}  // namespace alos

#endif  // ALOS_INDEX_TEXT_SCAN_H_
