// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A fast look at a text before a regular expression's slow one: of some trigrams, one of which
// every match contains, is there any?

#ifndef ALOS_INDEX_TRIGRAM_PROBE_H_
#define ALOS_INDEX_TRIGRAM_PROBE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "alos/index/trigram_query.h"

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

namespace alos {

// Threads: immutable. Lifetime: owns everything. Errors: none.
// Cost: 128 bytes a look, which takes about a nanosecond for 8 bytes where there is SSSE3, else for
// one.
class TrigramProbe {
 public:
  // How many looks there are at a text at most: for one trigram of those that every match has one
  // of, for another one, and so on.
  static constexpr std::size_t kLooksMax = 4;
  // More trigrams share bits, and are told apart less well.
  static constexpr std::size_t kTrigramsMax = 32;

  // For texts that fulfil `query`. Of each AND it takes the parts whose trigrams are the rarest:
  // frequency(trigram) tells how frequent one is, in any unit. nullopt when a look needs more than
  // kTrigramsMax trigrams, or `query` is not usable.
  template <class Frequency>
  static std::optional<TrigramProbe> Make(const TrigramQuery& query, Frequency frequency) {
    TrigramProbe probe;
    std::vector<Trigram> last;
    for (std::size_t look = 0; look < kLooksMax; ++look) {
      std::optional<Choice> choice = Choose(query, look, frequency);
      if (!choice.has_value() || choice->trigrams == last) break;
      Tables& tables = probe.looks_.emplace_back();
      for (std::size_t i = 0; i < choice->trigrams.size(); ++i) {
        tables.Add(choice->trigrams[i], static_cast<std::uint8_t>(1 << i % 8));
      }
      last = std::move(choice->trigrams);
    }
    if (probe.looks_.empty()) return std::nullopt;
    return probe;
  }

  // False only if `text` does not fulfil the query. True, too, for texts with code points of which
  // folding may make ASCII, or nothing: letters with accents, say, but neither Cyrillic nor emoji.
  bool MayMatch(std::string_view text) const {
    return std::all_of(looks_.begin(), looks_.end(),
                       [text](const Tables& tables) { return tables.Look(text); });
  }

 private:
  struct Choice {
    std::vector<Trigram> trigrams;
    double frequency = 0;
  };

  // Some trigrams.
  struct Tables {
    // Bytes that may begin what folds to ASCII or to nothing: C0 to CF, E1, E2 and EF. So all other
    // code points are something between other trigrams, whatever they fold to. But a trigram that
    // is not ASCII may come from any of them.
    Tables() {
      for (const int half : {0x1, 0x2, 0xF}) unclear_lower[half] = 2;
      for (std::uint8_t& bits : unclear_lower) bits |= 1;
      unclear_upper[0xC] = 1;
      unclear_upper[0xE] = 2;
    }

    // A letter has both its cases: they differ in the upper half only.
    void Add(Trigram trigram, std::uint8_t bit) {
      for (int place = 0; place < 3; ++place) {
        const unsigned byte = trigram >> (16 - 8 * place) & 0xFF;
        lower[place][byte & 15] |= bit;
        upper[place][byte >> 4] |= bit;
        if (byte >= 'a' && byte <= 'z') upper[place][(byte >> 4) - 2] |= bit;
        if (byte >= 0x80) std::fill(unclear_upper.begin() + 8, unclear_upper.end(), 1);
      }
    }

    bool IsUnclear(char c) const {
      const auto byte = static_cast<unsigned char>(c);
      return (unclear_lower[byte & 15] & unclear_upper[byte >> 4]) != 0;
    }
    // Whether `text` has one of them, or something unclear.
    bool Look(std::string_view text) const;

    // Where byte number `place` of a trigram may be: the bits of the trigrams, by the lower and the
    // upper half of the byte.
    std::array<std::array<std::uint8_t, 16>, 3> lower = {};
    std::array<std::array<std::uint8_t, 16>, 3> upper = {};
    // What is unclear, by the same halves.
    std::array<std::uint8_t, 16> unclear_lower = {};
    std::array<std::uint8_t, 16> unclear_upper = {};
  };

  // Trigrams of which a text that fulfils `query` has one: of each AND those of the part that is
  // number `look` by rarity, or the last.
  template <class Frequency>
  static std::optional<Choice> Choose(const TrigramQuery& query, std::size_t look,
                                      Frequency& frequency);

  absl::InlinedVector<Tables, 2> looks_;
};

// ---- Readers of the API may stop here. ----

template <class Frequency>
std::optional<TrigramProbe::Choice> TrigramProbe::Choose(const TrigramQuery& query,
                                                         std::size_t look, Frequency& frequency) {
  switch (query.kind()) {
    case TrigramQuery::Kind::kAll:
      return std::nullopt;
    case TrigramQuery::Kind::kTrigram:
      return Choice{{query.trigram()}, static_cast<double>(frequency(query.trigram()))};
    case TrigramQuery::Kind::kAnd: {
      std::vector<Choice> choices;
      for (const TrigramQuery& part : query.parts()) {
        std::optional<Choice> choice = Choose(part, look, frequency);
        if (choice.has_value()) choices.push_back(*std::move(choice));
      }
      if (choices.empty()) return std::nullopt;
      std::stable_sort(choices.begin(), choices.end(),
                       [](const Choice& a, const Choice& b) { return a.frequency < b.frequency; });
      return std::move(choices[std::min(look, choices.size() - 1)]);
    }
    case TrigramQuery::Kind::kOr: {
      Choice all;
      for (const TrigramQuery& part : query.parts()) {
        const std::optional<Choice> choice = Choose(part, look, frequency);
        if (!choice.has_value()) return std::nullopt;
        for (const Trigram trigram : choice->trigrams) {
          if (std::find(all.trigrams.begin(), all.trigrams.end(), trigram) == all.trigrams.end()) {
            all.trigrams.push_back(trigram);
          }
        }
        all.frequency += choice->frequency;
        if (all.trigrams.size() > kTrigramsMax) return std::nullopt;
      }
      return all;
    }
  }
  return std::nullopt;
}

inline bool TrigramProbe::Tables::Look(std::string_view text) const {
#if defined(__SSSE3__)
  const auto load = [](const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); };
  const __m128i half = _mm_set1_epi8(15);
  const __m128i lower_halves[] = {load(lower[0].data()), load(lower[1].data()),
                                  load(lower[2].data())};
  const __m128i upper_halves[] = {load(upper[0].data()), load(upper[1].data()),
                                  load(upper[2].data())};
  const __m128i unclear_low = load(unclear_lower.data());
  const __m128i unclear_high = load(unclear_upper.data());
  // A bit for each of the 16 places from `p` on where a trigram may begin, or a byte is unclear.
  // Reads 18 bytes.
  const auto look = [&](const char* p) {
    __m128i found = _mm_set1_epi8(-1);
    __m128i unclear = _mm_setzero_si128();
    for (int place = 0; place < 3; ++place) {
      const __m128i bytes = load(p + place);
      const __m128i low = _mm_and_si128(bytes, half);
      const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), half);
      found = _mm_and_si128(found, _mm_and_si128(_mm_shuffle_epi8(lower_halves[place], low),
                                                 _mm_shuffle_epi8(upper_halves[place], high)));
      if (place == 0) {
        unclear =
            _mm_and_si128(_mm_shuffle_epi8(unclear_low, low), _mm_shuffle_epi8(unclear_high, high));
      }
    }
    const __m128i either = _mm_or_si128(found, unclear);
    return static_cast<unsigned>(~_mm_movemask_epi8(_mm_cmpeq_epi8(either, _mm_setzero_si128())) &
                                 0xFFFF);
  };
  constexpr std::size_t kBlock = 18;
  if (text.size() >= kBlock) {
    const std::size_t last = text.size() - kBlock;
    for (std::size_t i = 0; i < last; i += 16) {
      if (look(text.data() + i) != 0) return true;
    }
    if (look(text.data() + last) != 0) return true;
    return IsUnclear(text[text.size() - 2]) || IsUnclear(text[text.size() - 1]);
  }
  const auto is_unclear = [this](char c) { return IsUnclear(c); };
  if (text.size() < 3) return std::any_of(text.begin(), text.end(), is_unclear);
  char padded[kBlock] = {};
  std::memcpy(padded, text.data(), text.size());
  const std::size_t places = text.size() - 2;
  return (look(padded) & ((1U << places) - 1)) != 0 || IsUnclear(text[places]) ||
         IsUnclear(text[places + 1]);
#else
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (IsUnclear(text[i])) return true;
    unsigned found = i + 3 <= text.size() ? 0xFF : 0;
    for (std::size_t place = 0; place < 3 && found != 0; ++place) {
      const auto byte = static_cast<unsigned char>(text[i + place]);
      found &= static_cast<unsigned>(lower[place][byte & 15] & upper[place][byte >> 4]);
    }
    if (found != 0) return true;
  }
  return false;
#endif
}

}  // namespace alos

#endif  // ALOS_INDEX_TRIGRAM_PROBE_H_
