// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/index/text_scan.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "alos/document/text_folding.h"
#include "alos/index/column.h"
#include "alos/index/column_builder.h"
#include "alos/index/index_key.h"
#include "alos/index/trigram_index.h"
#include "alos/index/trigram_probe.h"
#include "alos/index/trigram_query.h"
#include "gtest/gtest.h"
#include "re2/re2.h"

namespace alos {
namespace {

// Keys in memory, the first with code first_code().
class Texts {
 public:
  Texts(std::vector<std::string> texts, std::uint32_t first_code = 1) : first_code_(first_code) {
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    for (const std::string& text : texts) keys_.push_back("\x02" + text);
  }

  template <class Visit>
  void ForEachKey(std::uint32_t first, std::uint32_t end, Visit visit) const {
    for (std::uint32_t code = first; code < end; ++code) {
      ++keys_read_;
      const std::string_view key = keys_.at(code - first_code_);
      if constexpr (std::is_void_v<decltype(visit(code, key))>) {
        visit(code, key);
      } else {
        if (visit(code, key)) return;
      }
    }
  }

  std::uint32_t first_code() const { return first_code_; }
  std::uint32_t end_code() const { return first_code_ + static_cast<std::uint32_t>(keys_.size()); }
  std::string_view text(std::uint32_t code) const {
    return std::string_view(keys_.at(code - first_code_)).substr(1);
  }
  std::string Image() const { return TrigramIndex::Build(*this, first_code(), end_code()); }
  std::size_t keys_read() const { return keys_read_; }

 private:
  std::uint32_t first_code_;
  std::vector<std::string> keys_;
  mutable std::size_t keys_read_ = 0;
};

TrigramIndex Opened(std::string_view image) {
  absl::StatusOr<TrigramIndex> index = TrigramIndex::Open(image);
  EXPECT_TRUE(index.ok()) << index.status();
  EXPECT_TRUE(index->VerifyBody().ok());
  return *index;
}

std::vector<std::uint32_t> CandidatesOf(const TrigramIndex& index, const TrigramQuery& query) {
  std::vector<std::uint32_t> chunks;
  index.Candidates(query, [&](std::uint32_t chunk) {
    chunks.push_back(chunk);
    return true;
  });
  return chunks;
}

std::string Folded(std::string_view text) {
  std::string folded;
  FoldText(text, TextFolding{}, &folded);
  return folded;
}

constexpr TextFolding kExact{.case_sensitive = true, .diacritic_sensitive = true};

// Texts that contain all or any of `strings`, but for differences that do not count.
TextPattern Strings(std::vector<std::string> strings, TrigramQuery::Words which,
                    TextFolding folding) {
  TrigramQuery query = TrigramQuery::FromWords(strings, which);
  const auto fold = [folding](std::string_view text) {
    std::string folded;
    FoldText(text, folding, &folded);
    return folded;
  };
  for (std::string& string : strings) string = fold(string);
  return TextPattern(std::move(query), [strings, which, fold](std::string_view text) {
    const std::string folded = fold(text);
    const auto is_in_text = [&](const std::string& string) {
      return folded.find(string) != std::string::npos;
    };
    return which == TrigramQuery::Words::kAll
               ? std::all_of(strings.begin(), strings.end(), is_in_text)
               : std::any_of(strings.begin(), strings.end(), is_in_text);
  });
}

std::string Utf8(int rune) {
  std::string text;
  document_internal::AppendCodePoint(rune, &text);
  return text;
}

std::string QueryText(std::string_view pattern) {
  const re2::RE2 regex(re2::StringPiece(pattern.data(), pattern.size()), re2::RE2::Quiet);
  EXPECT_TRUE(regex.ok()) << pattern;
  return TrigramQuery::FromRegex(regex).DebugString();
}

// ---- Folding ----

TEST(TextFolding, LeavesOutWhatDoesNotCount) {
  EXPECT_EQ(Folded("Hello, WORLD 123"), "hello, world 123");
  EXPECT_EQ(Folded("\u00c4\u03a3\u0416"), "a\u03c3\u0436");
  EXPECT_EQ(Folded("\u03c2\u212a\u017f\u00df"),
            "\u03c3ksss");  // final sigma, Kelvin, long and sharp s
  EXPECT_EQ(Folded("e\u0301\u00e9"), "ee");
  const std::string_view broken =
      "\xc3\xc3\x84 \xe2\x84 \xed\xa0\x80 \xf5\x80\x80\x80 \xc1\x81 \xff";
  EXPECT_EQ(Folded(broken), absl::StrCat("\xc3\x61", broken.substr(3)));
  EXPECT_EQ(Folded(""), "");
}

// What RE2 takes for equal with (?i) folds to the same; otherwise indexes miss matches.
TEST(TextFolding, IsNotFinerThanTheCaseInsensitivityOfRe2) {
  std::vector<int> cased;
  std::string all;
  for (int rune = 1; rune <= 0x10FFFF; ++rune) {
    if (rune >= 0xD800 && rune < 0xE000) continue;
    std::string folded;
    FoldText(Utf8(rune), TextFolding{.diacritic_sensitive = true}, &folded);
    if (folded == Utf8(rune) && utf8proc_tolower(rune) == rune && utf8proc_toupper(rune) == rune &&
        utf8proc_totitle(rune) == rune) {
      continue;
    }
    cased.push_back(rune);
    all += Utf8(rune);
  }
  ASSERT_GT(cased.size(), 2700u);
  std::size_t pairs = 0;
  for (const int rune : cased) {
    if (utf8proc_tolower(rune) != rune) continue;  // The one in lower case leads to it.
    const re2::RE2 regex(absl::StrCat("(?i)(\\x{", absl::Hex(rune), "})"));
    ASSERT_TRUE(regex.ok());
    const std::string folded = Folded(Utf8(rune));
    re2::StringPiece rest(all);
    for (std::string found; re2::RE2::FindAndConsume(&rest, regex, &found); ++pairs) {
      ASSERT_EQ(Folded(found), folded) << std::hex << rune;
    }
  }
  EXPECT_GT(pairs, cased.size());
}

// Else a word that was folded for a search is not found in an index.
TEST(TextFolding, OfWhatWasFoldedLessIsTheSame) {
  for (int rune = 1; rune <= 0x10FFFF; ++rune) {
    if (rune >= 0xD800 && rune < 0xE000) continue;
    const std::string text = Utf8(rune);
    const std::string folded = Folded(text);
    ASSERT_EQ(Folded(folded), folded) << std::hex << rune;
    for (const TextFolding folding :
         {TextFolding{.diacritic_sensitive = true}, TextFolding{.case_sensitive = true}}) {
      std::string less;
      FoldText(text, folding, &less);
      if (less != text) {
        EXPECT_EQ(Folded(less), folded) << std::hex << rune << folding.case_sensitive;
      }
    }
  }
}

// ---- Queries ----

TEST(TrigramQuery, OfLiteralsAlternationsAndClasses) {
  EXPECT_EQ(QueryText("abcd"), R"("abc" AND "bcd")");
  EXPECT_EQ(QueryText("(?i)aBCd"), R"("abc" AND "bcd")");
  EXPECT_EQ(QueryText("abc|xyz"), R"("abc" OR "xyz")");
  EXPECT_EQ(QueryText("abc.*xyz"), R"("abc" AND "xyz")");
  EXPECT_EQ(QueryText("^ab[cd]$"), R"("abc" OR "abd")");
  EXPECT_EQ(QueryText("abc(def)?ghi"), R"("abc" AND "ghi")");
  EXPECT_EQ(QueryText("(abc)+"), R"("abc")");
  EXPECT_EQ(QueryText("\\bcafe\u0301"), R"("afe" AND "caf")");
}

TEST(TrigramQuery, SaysWhenNothingIsUsable) {
  for (const char* pattern : {"", "ab", ".*", "[0-9]{5}", "abc|x", "(abc)?", "(abc)*", "^$",
                              "\\w+\\s\\d", "(?i)\xc3\xa4"}) {
    EXPECT_EQ(QueryText(pattern), "everything") << pattern;
  }
  re2::RE2::Options latin1;
  latin1.set_encoding(re2::RE2::Options::EncodingLatin1);
  EXPECT_FALSE(TrigramQuery::FromRegex(re2::RE2("abcd", latin1)).is_usable());
  EXPECT_FALSE(TrigramQuery::FromRegex(re2::RE2("abcd(", re2::RE2::Quiet)).is_usable());
}

TEST(TrigramQuery, OfWords) {
  using Words = TrigramQuery::Words;
  EXPECT_EQ(TrigramQuery::FromWords({"Over", "dog"}, Words::kAll).DebugString(),
            R"("dog" AND "ove" AND "ver")");
  EXPECT_EQ(TrigramQuery::FromWords({"fox", "DOG"}, Words::kAny).DebugString(),
            R"("dog" OR "fox")");
  EXPECT_EQ(TrigramQuery::FromWords({"a", "dog"}, Words::kAll).DebugString(), R"("dog")");
  EXPECT_FALSE(TrigramQuery::FromWords({"a", "dog"}, Words::kAny).is_usable());
  EXPECT_FALSE(TrigramQuery::FromWords({}, Words::kAll).is_usable());
  EXPECT_TRUE(TrigramQuery::FromWords({}, Words::kAny).is_none());
  EXPECT_EQ(TrigramQuery::FromWords({}, Words::kAny).DebugString(), "nothing");
}

// Patterns that are short and mean a lot: the query stays small, and is made in no time.
TEST(TrigramQuery, IsBounded) {
  std::string words = "abc";
  for (int i = 0; i < 240; ++i) absl::StrAppend(&words, "|", absl::Hex(i * 7919, absl::kZeroPad4));
  std::string nested = "abcd";
  for (int i = 0; i < 150; ++i) nested = absl::StrCat("(", nested, i % 2 ? "|efgh)" : ".ijkl)");
  for (const std::string& pattern :
       {absl::StrCat("(", words, ")"), absl::StrCat("(", words, "){7}"),
        absl::StrCat("((", words.substr(0, 500), "){10}.){20}"), nested,
        std::string("(?i)\\pL{20}abc"), std::string("((abc.){100}){10}"), std::string(1000, 'x'),
        std::string("(((x{10}){10}){10})y"),
        absl::StrCat(std::string(400, '('), "abcd", std::string(400, ')'))}) {
    const re2::RE2 regex(pattern, re2::RE2::Quiet);
    if (!regex.ok()) continue;
    const TrigramQuery query = TrigramQuery::FromRegex(regex);
    EXPECT_LE(query.node_count(), TrigramQuery::kNodesMax);
    EXPECT_LE(query.depth(), TrigramQuery::kDepthMax);
    EXPECT_LE(query.DebugString().size(), 3000u);
  }
  std::string long_text;
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&long_text, i);
  EXPECT_LE(TrigramQuery::FromSubstring(long_text).node_count(), TrigramQuery::kNodesMax);
  std::vector<std::string> many(10'000, "word");
  for (int i = 0; i < 10'000; ++i) many[i] = absl::StrCat("word", absl::Hex(i * 7919));
  EXPECT_FALSE(TrigramQuery::FromWords(many, TrigramQuery::Words::kAny).is_usable());
  EXPECT_LE(TrigramQuery::FromWords(many, TrigramQuery::Words::kAll).node_count(),
            TrigramQuery::kNodesMax);
}

// ---- The image ----

std::string Hex(std::string_view bytes) {
  std::string hex = absl::BytesToHexString(bytes);
  for (std::size_t i = hex.size() / 16 * 16; i > 0; i -= 16) hex.insert(i, "\n");
  return hex;
}

// 41 keys in five chunks (code 12 is not the first of one): a list in Elias and Fano's code, one as
// a bitmap, one too common to be stored.
TEST(TrigramIndex, HasItsGoldenBytes) {
  std::vector<std::string> texts;
  for (int i = 0; i < 78; ++i) {
    texts.push_back(absl::StrCat(absl::Hex(i, absl::kZeroPad2), i == 47 ? "rar" : "",
                                 i == 2 || i == 70 ? "OFT" : "", i % 8 == 5 ? "all" : ""));
  }
  const Texts dictionary(texts, 12);
  const std::string image = dictionary.Image();
  const TrigramIndex index = Opened(image);
  EXPECT_EQ(index.first_code(), 12u);
  EXPECT_EQ(index.end_code(), 90u);
  EXPECT_EQ(index.chunk_count(), 11u);
  EXPECT_EQ(Hex(image),
            "414c4f5354524731\n"
            "010000009671456d\n"
            "317645c808000000\n"
            "0c0000005a000000\n"
            "1500000000000000\n"
            "1400000000000000\n"
            "c300000000000000\n"
            "0000000000000000\n"
            "6f32300061353000\n"
            "6164300061353100\n"
            "6164310061353200\n"
            "6164320072663200\n"
            "666f320061353300\n"
            "6164330061353400\n"
            "6f36340061643400\n"
            "6c613500666f3600\n"
            "6c6c61006c616400\n"
            "6172660074666f00\n"
            "7261720001000000\n"
            "0100000001000000\n"
            "0100000001000000\n"
            "0100000001000000\n"
            "0100000001000000\n"
            "0100000001000000\n"
            "0100000001000000\n"
            "0100000005000000\n"
            "010000000a000000\n"
            "0500000001000000\n"
            "0200000001000000\n"
            "0000000001000000\n"
            "0200000003000000\n"
            "0400000005000000\n"
            "0600000007000000\n"
            "0800000009000000\n"
            "0a0000000b000000\n"
            "0c0000000d000000\n"
            "0e0000000f000000\n"
            "1000000010000000\n"
            "1100000012000000\n"
            "1300000000000000\n"
            "0100000000000000\n"
            "0900000000000000\n"
            "1100000000000000\n"
            "1900000000000000\n"
            "2100000000000000\n"
            "2900000000000000\n"
            "3100000000000000\n"
            "3100000000000000\n"
            "0100000000000000\n"
            "3900000000000000\n"
            "0200000000000000\n"
            "0a00000000000000\n"
            "0a00000000000000\n"
            "1200000000000000\n"
            "aa02000000000000\n"
            "0a00000000000000\n"
            "5405000000000000\n"
            "3100000000000000\n"
            "8900000000000000\n"
            "3100000000000000\n");
}

TEST(TrigramIndex, OfNoKeys) {
  const Texts none({}, 7);
  const std::string image = none.Image();
  const TrigramIndex index = Opened(image);
  EXPECT_EQ(image.size(), 64u);
  EXPECT_EQ(index.chunk_count(), 0u);
  EXPECT_TRUE(CandidatesOf(index, TrigramQuery::All()).empty());
  EXPECT_TRUE(CandidatesOf(index, TrigramQuery::FromSubstring("abc")).empty());
  EXPECT_EQ(index.EstimateChunks(TrigramQuery::All()), 0u);
  const TextPattern pattern = Strings({"abc"}, TrigramQuery::Words::kAll, kExact);
  EXPECT_EQ(
      ScanText(none, &index, pattern, 7, 7, [](std::uint32_t, bool) { return true; }).keys_examined,
      0u);
}

// Every list of every density, sought in steps of every size, against sets.
TEST(TrigramIndex, ListsOfEveryDensity) {
  for (const int chunks : {1, 2, 5, 63, 64, 65, 200, 1000}) {
    std::mt19937 random(chunks);
    std::vector<std::string> texts;
    std::map<std::string, std::vector<std::uint32_t>> chunks_of;
    for (int i = 0; i < chunks * 8; ++i) {
      std::string text = absl::StrCat(absl::Hex(i, absl::kZeroPad8), "#");
      // Marker number d is in about every 2^d-th chunk.
      for (int density = 0; density < 12; ++density) {
        if (random() % (std::uint32_t{8} << density) >= 3) continue;
        const std::string marker = absl::StrCat("<", absl::Hex(density), ">");
        text += marker;
        std::vector<std::uint32_t>& all = chunks_of[marker];
        if (all.empty() || all.back() != static_cast<std::uint32_t>(i) / 8) all.push_back(i / 8);
      }
      texts.push_back(text);
    }
    const Texts dictionary(texts);
    const std::string image = dictionary.Image();
    const TrigramIndex index = Opened(image);
    for (const auto& [marker, expected] : chunks_of) {
      const TrigramQuery query = TrigramQuery::FromSubstring(marker);
      EXPECT_EQ(index.EstimateChunks(query), expected.size());
      const std::vector<std::uint32_t> found = CandidatesOf(index, query);
      if (expected.size() * 4 > index.chunk_count() * std::size_t{3}) {
        EXPECT_EQ(found.size(), index.chunk_count());
        continue;
      }
      EXPECT_EQ(found, expected) << marker << " of " << chunks;
      for (std::uint32_t first = 0; first <= index.chunk_count(); ++first) {
        std::vector<std::uint32_t> rest;
        index.Candidates(
            query,
            [&](std::uint32_t chunk) {
              rest.push_back(chunk);
              return rest.size() < 3;
            },
            first);
        auto begin = std::lower_bound(expected.begin(), expected.end(), first);
        auto end = begin + std::min<std::ptrdiff_t>(3, expected.end() - begin);
        ASSERT_EQ(rest, std::vector<std::uint32_t>(begin, end)) << marker << " from " << first;
      }
    }
    for (const auto& [a, a_chunks] : chunks_of) {
      for (const auto& [b, b_chunks] : chunks_of) {
        if (std::max(a_chunks.size(), b_chunks.size()) * 4 > index.chunk_count() * std::size_t{3}) {
          continue;
        }
        std::vector<std::uint32_t> both, either;
        std::set_intersection(a_chunks.begin(), a_chunks.end(), b_chunks.begin(), b_chunks.end(),
                              std::back_inserter(both));
        std::set_union(a_chunks.begin(), a_chunks.end(), b_chunks.begin(), b_chunks.end(),
                       std::back_inserter(either));
        using Words = TrigramQuery::Words;
        EXPECT_EQ(CandidatesOf(index, TrigramQuery::FromWords({a, b}, Words::kAll)), both);
        EXPECT_EQ(CandidatesOf(index, TrigramQuery::FromWords({a, b}, Words::kAny)), either);
      }
    }
  }
}

std::vector<std::string> ChatLines(int count, std::mt19937& random);
std::string RandomPattern(const std::vector<std::string>& texts, std::mt19937& random, int depth);

// A flipped bit of the header is found by Open, one of the body by VerifyBody; an image with one,
// or with wild numbers in its directory, is never read outside (the sanitizers watch), and answers
// end.
TEST(TrigramIndex, DamageIsFoundOrHarmless) {
  std::mt19937 random(4);
  const Texts dictionary(ChatLines(800, random));
  const std::string image = dictionary.Image();
  for (std::size_t size = 0; size < image.size(); size += size < 200 ? 1 : 97) {
    // On the heap, so that a read behind the end is one behind an allocation.
    const std::vector<char> cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(TrigramIndex::Open({cut.data(), cut.size()}).status().code(),
              absl::StatusCode::kDataLoss);
  }
  for (std::size_t bit = 0; bit < 64 * 8; ++bit) {
    std::string damaged = image;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    // The checksum of the body, in bytes 16 to 19, is part of the header.
    EXPECT_FALSE(TrigramIndex::Open(damaged).ok()) << bit;
  }
  std::vector<TrigramQuery> queries = {TrigramQuery::All()};
  for (int i = 0; i < 40; ++i) {
    const std::string_view text = dictionary.text(1 + random() % (dictionary.end_code() - 1));
    queries.push_back(TrigramQuery::FromWords(
        {std::string(text.substr(0, 5)), std::string(text.substr(text.size() / 2, 6))},
        i % 2 ? TrigramQuery::Words::kAll : TrigramQuery::Words::kAny));
  }
  for (int round = 0; round < 1000; ++round) {
    std::vector<char> damaged(image.begin(), image.end());
    const std::size_t body = damaged.size() - 64;
    if (round % 3 == 0) {
      damaged[64 + random() % body] ^= static_cast<char>(1 << random() % 8);
    } else {
      for (int i = 0; i < 50; ++i) {
        const std::uint32_t wild = random() >> random() % 32;
        std::memcpy(damaged.data() + 64 + random() % (body / 4) * 4, &wild, 4);
      }
    }
    const auto index = TrigramIndex::Open({damaged.data(), damaged.size()});
    ASSERT_TRUE(index.ok());
    EXPECT_EQ(index->VerifyBody().ok(), std::string_view(damaged.data(), damaged.size()) == image);
    for (const TrigramQuery& query : queries) {
      EXPECT_LE(index->EstimateChunks(query), index->chunk_count());
      std::uint32_t last = 0;
      std::size_t visited = 0;
      index->Candidates(query, [&](std::uint32_t chunk) {
        EXPECT_TRUE(visited == 0 || chunk > last);
        EXPECT_LT(chunk, index->chunk_count());
        last = chunk;
        ++visited;
        return true;
      });
    }
  }
}

TEST(TrigramIndex, ChunksWithCutKeysAreAlwaysCandidates) {
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i)
    texts.push_back(absl::StrCat("text ", absl::Hex(i, absl::kZeroPad4)));
  texts[333] += std::string(kIndexKeyBytesMax, 'x');
  const Texts dictionary(texts);
  const std::string image = dictionary.Image();
  const TrigramIndex index = Opened(image);
  const TrigramQuery nowhere = TrigramQuery::FromSubstring("nowhere");
  EXPECT_EQ(CandidatesOf(index, nowhere), std::vector<std::uint32_t>{333 / 8});
  EXPECT_EQ(index.EstimateChunks(nowhere), 1u);
  EXPECT_EQ(CandidatesOf(index, TrigramQuery::FromSubstring("0010")),
            (std::vector<std::uint32_t>{2, 333 / 8}));
  const TextPattern pattern = Strings({"nowhere"}, TrigramQuery::Words::kAll, kExact);
  std::vector<std::pair<std::uint32_t, bool>> visited;
  const auto counts = ScanText(dictionary, &index, pattern, 1, dictionary.end_code(),
                               [&](std::uint32_t code, bool is_certain) {
                                 visited.emplace_back(code, is_certain);
                                 return true;
                               });
  EXPECT_EQ(visited, (std::vector<std::pair<std::uint32_t, bool>>{{334, false}}));
  EXPECT_TRUE(counts.used_index);
  EXPECT_EQ(counts.keys_examined, 8u);
}

// ---- Against looking at everything ----

// Of every length, with a trigram at every place, in any case, with and without other alphabets.
TEST(TrigramProbe, SeesTrigramsWhereverTheyAre) {
  const auto probe_of = [](std::string_view pattern) {
    const re2::RE2 regex(re2::StringPiece(pattern.data(), pattern.size()));
    return TrigramProbe::Make(TrigramQuery::FromRegex(regex), [](Trigram) { return 1; });
  };
  const auto probe = probe_of("x1@|abc|zz`|~~~");
  ASSERT_TRUE(probe.has_value());
  for (std::size_t size = 0; size < 70; ++size) {
    const std::string text(size, 'a');
    EXPECT_FALSE(probe->MayMatch(text)) << size;
    for (std::size_t i = 0; i + 3 <= size; ++i) {
      for (const char* trigram : {"x1@", "X1@", "abc", "aBC", "ZZ`", "~~~"}) {
        EXPECT_TRUE(probe->MayMatch(std::string(text).replace(i, 3, trigram))) << size << " " << i;
      }
      for (const char* trigram : {"x1`", "abd", "zz@", "abB", "Q1@", "\0\0\0"}) {
        EXPECT_FALSE(probe->MayMatch(std::string(text).replace(i, 3, trigram))) << size << " " << i;
      }
    }
    for (std::size_t i = 0; i < size; ++i) {
      EXPECT_TRUE(probe->MayMatch(std::string(text).replace(i, 1, "\xc3"))) << size << " " << i;
      EXPECT_FALSE(probe->MayMatch(std::string(text).replace(i, 1, "\xd0\x96")))
          << size << " " << i;
    }
  }
  // No code point may turn up in a trigram of ASCII, or vanish, unseen.
  const auto ascii = probe_of("abc");
  for (int rune = 0x80; rune <= 0x10FFFF; ++rune) {
    if (rune >= 0xD800 && rune < 0xE000) continue;
    const std::string text = Utf8(rune);
    if (ascii->MayMatch(text)) continue;
    const std::string folded = Folded(text);
    ASSERT_FALSE(folded.empty()) << std::hex << rune;
    ASSERT_TRUE(std::all_of(folded.begin(), folded.end(), [](char c) { return (c & 0x80) != 0; }))
        << std::hex << rune;
  }
  EXPECT_FALSE(
      ascii->MayMatch("\xf0\x9f\x98\x80 ab\xd0\x96"
                      "c"));
  EXPECT_FALSE(probe_of("[0-9]{5}").has_value());
  EXPECT_FALSE(probe_of("abc|x").has_value());
  EXPECT_TRUE(probe_of("\u0416\u0416")->MayMatch("\u0436\u0416"));
  EXPECT_FALSE(probe_of("\u0416\u0416")->MayMatch("nothing of it"));
  std::string many = "abc";
  for (int i = 0; i < 40; ++i) absl::StrAppend(&many, "|", absl::Hex(i + 256), "x");
  EXPECT_FALSE(probe_of(many).has_value());
}

std::vector<std::string> ChatLines(int count, std::mt19937& random) {
  static const std::vector<std::string> kWords = {"the",
                                                  "quick",
                                                  "Brown",
                                                  "fox",
                                                  "jumps",
                                                  "over",
                                                  "LAZY",
                                                  "dog",
                                                  "hello",
                                                  "World",
                                                  "memory",
                                                  "out",
                                                  "of",
                                                  "range",
                                                  "2024",
                                                  "12345",
                                                  "na\u00efve",
                                                  "\u00c4pfel",
                                                  "stra\u00dfe",
                                                  "\u041f\u0440\u0438\u0432\u0435\u0442",
                                                  "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
                                                  "\u65e5\u672c\u8a9e",
                                                  "\u212aelvin",
                                                  "\xf0\x9f\x98\x80",
                                                  "mi\u017ft",
                                                  "\xff\xfe",
                                                  "\xc3",
                                                  "a+b",
                                                  "x.y",
                                                  "[z]",
                                                  "\n",
                                                  "\t"};
  std::vector<std::string> lines;
  for (int i = 0; i < count; ++i) {
    std::string line;
    for (std::uint32_t words = random() % 9; words > 0; --words) {
      // Some words are rare.
      const std::size_t word = random() % 3 == 0 ? random() % kWords.size() : random() % 8;
      absl::StrAppend(&line, kWords[word], random() % 7 ? " " : "");
      if (random() % 200 == 0) absl::StrAppend(&line, absl::Hex(random()));
    }
    lines.push_back(line);
  }
  return lines;
}

std::string RandomLiteral(const std::vector<std::string>& texts, std::mt19937& random) {
  const std::string& text = texts[random() % texts.size()];
  if (text.empty()) return "";
  const std::size_t begin = random() % text.size();
  std::string literal = text.substr(begin, 1 + random() % 7);
  // Only whole code points are valid in a pattern.
  std::string valid;
  for (std::string_view rest = literal; !rest.empty();) {
    std::size_t size_bytes = 0;
    const std::int32_t rune = document_internal::NextCodePoint(rest, &size_bytes);
    if (rune >= 0) valid.append(rest.substr(0, size_bytes));
    rest.remove_prefix(size_bytes);
  }
  if (random() % 4 == 0) {
    for (char& c : valid) {
      if (c >= 'a' && c <= 'z' && random() % 2) c = static_cast<char>(c - 32);
    }
  }
  if (random() % 30 == 0) {
    return absl::StrCat("\\x{", absl::Hex(random() % 0x500), "}");
  }
  return re2::RE2::QuoteMeta(valid);
}

std::string RandomPattern(const std::vector<std::string>& texts, std::mt19937& random, int depth) {
  static const char* const kSmall[] = {".",
                                       ".*",
                                       "\\d",
                                       "\\w+",
                                       "\\s",
                                       "[a-e]",
                                       "[^a]",
                                       "[oO]",
                                       "\\b",
                                       "\\B",
                                       "^",
                                       "$",
                                       "\\pL",
                                       "[[:alpha:]]",
                                       "(?i:K)",
                                       "(?i:s)",
                                       "x?",
                                       "\\C",
                                       "[\u00e4\u03c3]",
                                       "(?m:^)",
                                       "[0-9]{2,5}"};
  switch (depth == 0 ? random() % 3 : random() % 12) {
    case 0:
    case 1:
      return RandomLiteral(texts, random);
    case 2:
      return kSmall[random() % std::size(kSmall)];
    case 3:
      return absl::StrCat("(?i:", RandomPattern(texts, random, depth - 1), ")");
    case 4:
      return absl::StrCat("(", RandomPattern(texts, random, depth - 1), ")?");
    case 5:
      return absl::StrCat("(?:", RandomPattern(texts, random, depth - 1), ")+");
    case 6:
      return absl::StrCat("(?:", RandomPattern(texts, random, depth - 1), "){1,3}");
    case 7: {
      std::string pattern = "(" + RandomPattern(texts, random, depth - 1);
      for (std::uint32_t i = random() % 4; i > 0; --i) {
        absl::StrAppend(&pattern, "|", RandomPattern(texts, random, depth - 1));
      }
      return pattern + ")";
    }
    default: {
      std::string pattern;
      for (std::uint32_t i = 1 + random() % 3; i > 0; --i) {
        pattern += RandomPattern(texts, random, depth - 1);
      }
      return pattern;
    }
  }
}

TEST(ScanText, FindsWhatLookingAtEveryTextFinds) {
  std::uint64_t patterns = 0, with_index = 0, matches = 0;
  for (std::uint32_t seed = 1; seed <= 6; ++seed) {
    std::mt19937 random(seed);
    const std::vector<std::string> lines = ChatLines(seed == 1 ? 40 : 1200, random);
    const Texts dictionary(lines, 1 + random() % 40);
    const std::string image = dictionary.Image();
    const TrigramIndex index = Opened(image);
    for (int round = 0; round < 250; ++round) {
      std::string pattern = RandomPattern(lines, random, 3);
      if (random() % 4 == 0) pattern = "(?i)" + pattern;
      const re2::RE2 regex(pattern, re2::RE2::Quiet);
      if (!regex.ok()) continue;
      SCOPED_TRACE(absl::StrCat("seed ", seed, " pattern ", absl::CHexEscape(pattern)));
      const TextPattern text_pattern(&regex);
      std::uint32_t first = dictionary.first_code();
      std::uint32_t end = dictionary.end_code();
      if (round % 4 == 0) {
        first += random() % (end - first);
        end -= random() % (end - first);
      }
      std::vector<std::uint32_t> expected;
      for (std::uint32_t code = first; code < end; ++code) {
        const std::string_view text = dictionary.text(code);
        if (!re2::RE2::PartialMatch({text.data(), text.size()}, regex)) continue;
        expected.push_back(code);
        ASSERT_TRUE(text_pattern.query().IsFulfilledBy(Folded(text)))
            << absl::CHexEscape(text) << " without " << text_pattern.query().DebugString();
      }
      const std::size_t limit = round % 3 == 0 ? 1 + random() % 20 : lines.size();
      expected.resize(std::min(expected.size(), limit));
      std::vector<std::uint32_t> found;
      const std::size_t read_before = dictionary.keys_read();
      const TextScanCounts counts = ScanText(dictionary, &index, text_pattern, first, end,
                                             [&](std::uint32_t code, bool is_certain) {
                                               EXPECT_TRUE(is_certain);
                                               found.push_back(code);
                                               return found.size() < limit;
                                             });
      ASSERT_EQ(found, expected) << text_pattern.query().DebugString();
      EXPECT_EQ(counts.keys_examined, dictionary.keys_read() - read_before);
      EXPECT_EQ(counts.used_index, CanUseTrigrams(&index, text_pattern.query()));
      // A chunk in vain is one that has the trigrams, in one key or another.
      ++patterns;
      with_index += counts.used_index ? 1 : 0;
      matches += found.size();
    }
  }
  // The patterns are not all of one kind.
  EXPECT_GT(patterns, 1000u);
  EXPECT_GT(with_index, patterns / 10);
  EXPECT_LT(with_index, patterns * 9 / 10);
  EXPECT_GT(matches, patterns);
}

TEST(ScanText, FindsStringsInAnyFolding) {
  std::mt19937 random(7);
  std::vector<std::string> lines = ChatLines(3000, random);
  lines.push_back("Out Of Memory");
  lines.push_back("only memory");
  const Texts dictionary(lines);
  const std::string image = dictionary.Image();
  const TrigramIndex index = Opened(image);
  for (const std::vector<std::string>& strings :
       std::vector<std::vector<std::string>>{{"memory"},
                                             {"Memory", "Of"},
                                             {"\u00c4PFEL", "2024"},
                                             {"STRASSE"},
                                             {"\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3"},
                                             {"\xff\xfe"},
                                             {""},
                                             {}}) {
    for (const auto which : {TrigramQuery::Words::kAll, TrigramQuery::Words::kAny}) {
      for (const TextFolding folding : {kExact, TextFolding{}, TextFolding{.case_sensitive = true},
                                        TextFolding{.diacritic_sensitive = true}}) {
        const TextPattern pattern = Strings(strings, which, folding);
        std::vector<std::uint32_t> expected, found, without_index;
        const auto fold = [&](std::string_view text) {
          std::string folded;
          FoldText(text, folding, &folded);
          return folded;
        };
        for (std::uint32_t code = 1; code < dictionary.end_code(); ++code) {
          const std::string text = fold(dictionary.text(code));
          std::size_t contained = 0;
          for (const std::string& string : strings) {
            contained += text.find(fold(string)) != std::string::npos;
          }
          if (which == TrigramQuery::Words::kAll ? contained == strings.size() : contained > 0) {
            expected.push_back(code);
          }
        }
        const auto into = [](std::vector<std::uint32_t>* codes) {
          return [codes](std::uint32_t code, bool) {
            codes->push_back(code);
            return true;
          };
        };
        ScanText(dictionary, &index, pattern, 1, dictionary.end_code(), into(&found));
        ScanText(dictionary, nullptr, pattern, 1, dictionary.end_code(), into(&without_index));
        EXPECT_EQ(found, expected) << absl::StrJoin(strings, "|");
        EXPECT_EQ(without_index, expected) << absl::StrJoin(strings, "|");
      }
    }
  }
}

// Strings are but some of the keys of a column.
TEST(ScanText, OfAColumn) {
  std::mt19937 random(8);
  const std::vector<std::string> lines = ChatLines(2000, random);
  ColumnBuilder builder;
  const auto add = [&](std::string_view key) {
    builder.StartRow();
    builder.AddKey(key, false);
  };
  for (int i = 0; i < 37; ++i) add(absl::StrCat("\x04", "number", i));
  for (const std::string& line : lines) add("\x05" + line);
  for (int i = 0; i < 37; ++i) add(absl::StrCat("\x08", "the quick", i));
  const std::string column_image = std::move(builder).Finish();
  const absl::StatusOr<Column> column = Column::Open(column_image);
  ASSERT_TRUE(column.ok()) << column.status();
  const Code first = column->LowerBound(FirstKeyOfClass(KeyClass::kString));
  const Code end = column->LowerBound(EndKeyOfClass(KeyClass::kString));
  ASSERT_EQ(first, 38u);
  const std::string image = TrigramIndex::Build(*column, first, end);
  const TrigramIndex index = Opened(image);
  for (const char* pattern :
       {"quick", "(?i)hello", "range|memory", "[0-9]{5}", "nothing", "^out"}) {
    const re2::RE2 regex(pattern);
    const TextPattern text_pattern(&regex);
    std::vector<Code> expected;
    column->ForEachKey(first, end, [&](Code code, std::string_view key) {
      if (text_pattern.Matches(key.substr(1))) expected.push_back(code);
    });
    for (const TrigramIndex* used : {&index, static_cast<const TrigramIndex*>(nullptr)}) {
      std::vector<Code> found;
      ScanText(*column, used, text_pattern, first, end, [&](Code code, bool is_certain) {
        EXPECT_TRUE(is_certain);
        found.push_back(code);
        return true;
      });
      EXPECT_EQ(found, expected) << pattern;
      const std::size_t limit = std::min<std::size_t>(3, expected.size());
      found.clear();
      ScanText(*column, used, text_pattern, first, end, [&](Code code, bool) {
        found.push_back(code);
        return found.size() < limit;
      });
      EXPECT_EQ(found, std::vector<Code>(expected.begin(),
                                         expected.begin() + static_cast<std::ptrdiff_t>(limit)));
    }
  }
}

TEST(ScanText, ReadsLittleForARareWord) {
  std::vector<std::string> lines;
  for (int i = 0; i < 20'000; ++i) {
    lines.push_back(absl::StrCat("line ", i, i % 5000 == 17 ? " needle" : " of the haystack"));
  }
  const Texts dictionary(lines);
  const std::string image = dictionary.Image();
  const TrigramIndex index = Opened(image);
  const re2::RE2 regex("(?i)NEEDLE|pin");
  const TextPattern pattern(&regex);
  EXPECT_EQ(index.EstimateChunks(pattern.query()), 4u);
  int found = 0;
  const auto counts =
      ScanText(dictionary, &index, pattern, 1, dictionary.end_code(), [&](std::uint32_t, bool) {
        ++found;
        return true;
      });
  EXPECT_EQ(found, 4);
  EXPECT_EQ(counts.keys_examined, 4 * 8u);
  // Two halves see what the whole does.
  TextScanCounts halves;
  int found_in_halves = 0;
  for (const auto& [first, end] : {std::pair{1u, 10'007u}, std::pair{10'007u, 20'001u}}) {
    halves += ScanText(dictionary, &index, pattern, first, end, [&](std::uint32_t, bool) {
      ++found_in_halves;
      return true;
    });
  }
  EXPECT_EQ(found_in_halves, 4);
  EXPECT_EQ(halves.keys_examined, counts.keys_examined);
}

}  // namespace
}  // namespace alos
