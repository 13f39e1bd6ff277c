// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a text must contain to match a regular expression, or to contain certain words: an
// expression of AND and OR over trigrams, which alos/index/trigram_index.h evaluates.
//
// A trigram is three adjacent bytes of folded text (alos/document/text_folding.h): without case and
// accents. Folding goes code point by code point, so a text that contains a string contains it
// folded, too; and what a regular expression takes for equal with (?i) folds to the same. So one
// index serves patterns with and without (?i), and searches for words in any folding.

#ifndef ALOS_INDEX_TRIGRAM_QUERY_H_
#define ALOS_INDEX_TRIGRAM_QUERY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/types/span.h"
#include "alos/base/memory_reserve.h"
#include "alos/document/text_folding.h"
#include "re2/prefilter.h"
#include "re2/re2.h"

namespace alos {

// Three bytes of folded text, the first one in bits 16 to 23.
using Trigram = std::uint32_t;
inline constexpr Trigram kTrigramsMax = Trigram{1} << 24;

// A condition that every text which matches something fulfils; texts that fulfil it need not match.
//
// Threads: as any value type: const functions from any number of threads. Lifetime: owns what it
// needs. Durability: none. Errors: none: what cannot be turned into trigrams, or only into too
// many, becomes All(). Cost: at most kNodesMax nodes, kDepthMax levels; making one from a
// RE2 takes time of the order of compiling it.
//
//   const re2::RE2 regex("(?i)hello|good ?(morning|night)");
//   const TrigramQuery query = TrigramQuery::FromRegex(regex);
//   if (query.is_usable()) ...  // otherwise each text has to be looked at
class TrigramQuery {
 public:
  enum class Kind : std::uint8_t {
    kAll,      // nothing is known: every text fulfils it
    kTrigram,  // the folded text contains trigram()
    kAnd,      // each of parts(), at least two
    kOr,       // one of parts(), two or more; of none: no text fulfils it
  };
  enum class Words : std::uint8_t { kAll, kAny };

  static constexpr std::size_t kNodesMax = 4096;
  static constexpr int kDepthMax = 16;
  // Larger programs are not looked into (RE2::ProgramSize): repetitions of long alternations.
  static constexpr int kProgramSizeMax = 8192;

  static TrigramQuery All() { return TrigramQuery(Kind::kAll); }
  static TrigramQuery None() { return TrigramQuery(Kind::kOr); }

  // What texts fulfil that `regex` matches anywhere in them (RE2::UNANCHORED).
  // All() if the regex is not ok() or not of UTF-8 text.
  static TrigramQuery FromRegex(const re2::RE2& regex);
  // What texts fulfil that contain `substring`, whatever differences in case and accents count.
  static TrigramQuery FromSubstring(std::string_view substring);
  // What texts fulfil that contain all or any of `words` as substrings, in whatever folding. All of
  // no words: All(). Any of no words: None().
  static TrigramQuery FromWords(absl::Span<const std::string> words, Words which);

  // The conjunction and the disjunction of any queries.
  static TrigramQuery And(std::vector<TrigramQuery> parts) {
    return Combine(Kind::kAnd, std::move(parts));
  }
  static TrigramQuery Or(std::vector<TrigramQuery> parts) {
    return Combine(Kind::kOr, std::move(parts));
  }

  Kind kind() const { return kind_; }
  // False if it says nothing.
  bool is_usable() const { return kind_ != Kind::kAll; }
  bool is_none() const { return kind_ == Kind::kOr && parts_.empty(); }
  // REQUIRES: kind() is kTrigram.
  Trigram trigram() const { return trigram_; }
  const std::vector<TrigramQuery>& parts() const { return parts_; }
  // Itself and all below.
  std::size_t node_count() const { return node_count_; }
  int depth() const { return depth_; }

  // Whether a text fulfils it: `folded` is what FoldText() makes of it with TextFolding{}. For
  // tests; cost: a search of the text per trigram.
  bool IsFulfilledBy(std::string_view folded) const;

  // As in "hel" AND ("loo" OR "lou"), for people; cut after about 1000 bytes.
  std::string DebugString() const;

 private:
  explicit TrigramQuery(Kind kind) : kind_(kind) {}

  static TrigramQuery Combine(Kind kind, std::vector<TrigramQuery> parts);
  static TrigramQuery FromFolded(std::string_view folded);
  static TrigramQuery FromPrefilter(re2::Prefilter& filter, int depth);
  void AppendDebugString(std::string* out) const;

  Kind kind_ = Kind::kAll;
  Trigram trigram_ = 0;
  int depth_ = 1;
  std::size_t node_count_ = 1;
  std::vector<TrigramQuery> parts_;
};

// ---- Readers of the API may stop here. ----

inline TrigramQuery TrigramQuery::Combine(Kind kind, std::vector<TrigramQuery> parts) {
  const bool is_and = kind == Kind::kAnd;
  TrigramQuery result(kind);
  std::vector<Trigram> trigrams;
  for (TrigramQuery& part : parts) {
    if (part.kind_ == Kind::kAll) {
      if (is_and) continue;
      return All();
    }
    if (part.is_none()) {
      if (is_and) return None();
      continue;
    }
    // What is one of these already is merged into it.
    const auto take = [&](TrigramQuery& term) {
      if (term.kind_ == Kind::kTrigram) {
        trigrams.push_back(term.trigram_);
      } else {
        result.parts_.push_back(std::move(term));
      }
    };
    if (part.kind_ == kind) {
      for (TrigramQuery& term : part.parts_) take(term);
    } else {
      take(part);
    }
  }
  std::sort(trigrams.begin(), trigrams.end());
  trigrams.erase(std::unique(trigrams.begin(), trigrams.end()), trigrams.end());
  for (const Trigram trigram : trigrams) {
    result.parts_.push_back(TrigramQuery(Kind::kTrigram));
    result.parts_.back().trigram_ = trigram;
  }
  // Too large: an AND of fewer is true of the same texts and more; an OR cannot be cut.
  const auto fits = [&](const TrigramQuery& part) {
    return part.depth_ < kDepthMax && result.node_count_ + part.node_count_ <= kNodesMax;
  };
  std::size_t kept = 0;
  for (std::size_t i = 0; i < result.parts_.size(); ++i) {
    if (!fits(result.parts_[i])) {
      if (is_and) continue;
      return All();
    }
    result.node_count_ += result.parts_[i].node_count_;
    result.depth_ = std::max(result.depth_, result.parts_[i].depth_ + 1);
    if (kept != i) result.parts_[kept] = std::move(result.parts_[i]);
    ++kept;
  }
  result.parts_.erase(result.parts_.begin() + static_cast<std::ptrdiff_t>(kept),
                      result.parts_.end());
  if (result.parts_.size() == 1) {
    TrigramQuery only = std::move(result.parts_[0]);
    return only;
  }
  return result.parts_.empty() && is_and ? All() : result;
}

inline TrigramQuery TrigramQuery::FromFolded(std::string_view folded) {
  std::vector<TrigramQuery> parts;
  for (std::size_t i = 0; i + 3 <= folded.size() && parts.size() < kNodesMax; ++i) {
    TrigramQuery part(Kind::kTrigram);
    for (const char c : folded.substr(i, 3)) {
      part.trigram_ = part.trigram_ << 8 | static_cast<unsigned char>(c);
    }
    parts.push_back(std::move(part));
  }
  return And(std::move(parts));
}

inline TrigramQuery TrigramQuery::FromSubstring(std::string_view substring) {
  std::string folded;
  FoldText(substring, TextFolding{}, &folded);
  return FromFolded(folded);
}

inline TrigramQuery TrigramQuery::FromWords(absl::Span<const std::string> words, Words which) {
  std::vector<TrigramQuery> parts;
  for (const std::string& word : words) parts.push_back(FromSubstring(word));
  return Combine(which == Words::kAll ? Kind::kAnd : Kind::kOr, std::move(parts));
}

inline TrigramQuery TrigramQuery::FromPrefilter(re2::Prefilter& filter, int depth) {
  // A little deeper than queries are, since they merge what is alike.
  if (depth > 4 * kDepthMax) return All();
  switch (filter.op()) {
    case re2::Prefilter::ALL:
      return All();
    case re2::Prefilter::NONE:
      return None();
    case re2::Prefilter::ATOM:
      return FromSubstring(filter.atom());
    case re2::Prefilter::AND:
    case re2::Prefilter::OR: {
      std::vector<TrigramQuery> parts;
      for (re2::Prefilter* part : *filter.subs()) parts.push_back(FromPrefilter(*part, depth + 1));
      return Combine(filter.op() == re2::Prefilter::AND ? Kind::kAnd : Kind::kOr, std::move(parts));
    }
  }
  return All();
}

inline TrigramQuery TrigramQuery::FromRegex(const re2::RE2& regex) {
  if (!regex.ok() || regex.options().encoding() != re2::RE2::Options::EncodingUTF8 ||
      regex.ProgramSize() > kProgramSizeMax) {
    return All();
  }
  const MemoryReserve::Critical critical;  // RE2 knows no exceptions
  const std::unique_ptr<re2::Prefilter> filter(re2::Prefilter::FromRE2(&regex));
  return filter == nullptr ? All() : FromPrefilter(*filter, 0);
}

inline bool TrigramQuery::IsFulfilledBy(std::string_view folded) const {
  const auto fulfils = [&](const TrigramQuery& part) { return part.IsFulfilledBy(folded); };
  switch (kind_) {
    case Kind::kAll:
      return true;
    case Kind::kTrigram: {
      const char bytes[] = {static_cast<char>(trigram_ >> 16), static_cast<char>(trigram_ >> 8),
                            static_cast<char>(trigram_)};
      return folded.find(std::string_view(bytes, 3)) != std::string_view::npos;
    }
    case Kind::kAnd:
      return std::all_of(parts_.begin(), parts_.end(), fulfils);
    case Kind::kOr:
      return std::any_of(parts_.begin(), parts_.end(), fulfils);
  }
  return true;
}

inline std::string TrigramQuery::DebugString() const {
  std::string out;
  AppendDebugString(&out);
  return out;
}

inline void TrigramQuery::AppendDebugString(std::string* out) const {
  constexpr std::size_t kBytesMax = 1000;
  switch (kind_) {
    case Kind::kAll:
      out->append("everything");
      break;
    case Kind::kTrigram: {
      const char bytes[] = {static_cast<char>(trigram_ >> 16), static_cast<char>(trigram_ >> 8),
                            static_cast<char>(trigram_)};
      out->push_back('"');
      out->append(absl::CHexEscape(std::string_view(bytes, 3)));
      out->push_back('"');
      break;
    }
    case Kind::kAnd:
    case Kind::kOr: {
      if (parts_.empty()) {
        out->append("nothing");
        break;
      }
      const char* separator = "";
      for (const TrigramQuery& part : parts_) {
        out->append(separator);
        separator = kind_ == Kind::kAnd ? " AND " : " OR ";
        if (out->size() > kBytesMax) {
          out->append("...");
          break;
        }
        const bool in_parentheses = !part.parts_.empty();
        if (in_parentheses) out->push_back('(');
        part.AppendDebugString(out);
        if (in_parentheses) out->push_back(')');
      }
      break;
    }
  }
}

}  // namespace alos

#endif  // ALOS_INDEX_TRIGRAM_QUERY_H_
