// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// $text: words, "phrases" and -negations in the strings of a document; and what a word is, for
// whoever indexes them.

#ifndef ALOS_QUERY_INTERNAL_TEXT_SEARCH_H_
#define ALOS_QUERY_INTERNAL_TEXT_SEARCH_H_

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/document/path.h"
#include "alos/document/text_folding.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"

namespace alos::query_internal {

namespace text_internal {

// Bytes of ASCII that belong to words.
inline bool IsWordAscii(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

inline bool IsWordCodePoint(std::int32_t code_point) {
  if (code_point < 0) return false;
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

}  // namespace text_internal

// Calls visit(std::string_view word) -> bool for each word of `text`, until it returns true;
// returns whether it did. A word is a run of letters, marks, digits and connectors ('_').
template <class Visit>
bool VisitWords(std::string_view text, Visit&& visit) {
  std::size_t begin = 0;
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    std::size_t size = 1;
    const bool is_word = byte < 0x80 ? text_internal::IsWordAscii(byte)
                                     : text_internal::IsWordCodePoint(
                                           document_internal::NextCodePoint(text.substr(i), &size));
    if (!is_word) {
      if (i > begin && visit(text.substr(begin, i - begin))) return true;
      begin = i + size;
    }
    i += size;
  }
  return begin < text.size() && visit(text.substr(begin));
}

// The field that stands for all fields in a declaration of text fields.
inline constexpr std::string_view kAllTextFields = "$**";

// A compiled $text.
//
// A document matches when one of its text fields has at least one of the words (those inside of
// phrases included), every phrase stands in some field, and no negated word or phrase does. Phrases
// are found as they are written, up to the folding, also inside of longer words; a query of
// negations only matches nothing. All of this is MongoDB's; the words are not reduced to their
// stems.
//
// Threads: immutable. Lifetime: owns what it needs. Errors: Compile names the option and what it
// takes. Cost: of matching, one pass over the text per phrase, and one for the words.
class TextSearch {
 public:
  static constexpr std::size_t kSearchBytesMax = 4096;

  // `operand` of $text; `fields`, dotted, or kAllTextFields.
  static absl::StatusOr<TextSearch> Compile(ValueView operand,
                                            const std::vector<std::string>& fields) {
    if (!operand.IsDocument()) {
      return Error("needs a document such as {$search: \"words\"}, not ", Describe(operand));
    }
    TextSearch search;
    bool english = true;
    std::optional<std::string_view> words;
    for (const auto option : operand.entries()) {
      if (option.key == "$search") {
        if (!option.value.IsString()) {
          return Error("$search needs a string, not ", Describe(option.value));
        }
        words = option.value.AsString();
      } else if (option.key == "$language") {
        const std::string_view language =
            option.value.IsString() ? option.value.AsString() : std::string_view();
        english = language == "english" || language == "en";
        if (!english && language != "none") {
          return Error("$language needs \"english\" or \"none\"; ", Describe(option.value),
                       " is not supported yet");
        }
      } else if (option.key == "$caseSensitive" || option.key == "$diacriticSensitive") {
        if (!option.value.IsBool()) {
          return Error(option.key, " needs true or false, not ", Describe(option.value));
        }
        (option.key == "$caseSensitive" ? search.folding_.case_sensitive
                                        : search.folding_.diacritic_sensitive) =
            option.value.AsBool();
      } else {
        return Error("unknown option ", DescribeText(option.key),
                     "; known are $search, $language, $caseSensitive and $diacriticSensitive");
      }
    }
    if (!words.has_value()) return Error("needs $search, the words to look for");
    if (words->size() > kSearchBytesMax) {
      return Error("$search is ", words->size(), " bytes long; at most ", kSearchBytesMax,
                   " are allowed");
    }
    if (fields.empty()) {
      return Error(
          "text index required: no field of this collection is declared as text; create an index "
          "of type \"text\" on those to search");
    }
    for (const std::string& field : fields) {
      if (field == kAllTextFields) {
        search.all_fields_ = true;
        continue;
      }
      absl::StatusOr<Path> path = Path::Parse(field);
      if (!path.ok()) return Error("text field: ", path.status().message());
      search.fields_.push_back(*std::move(path));
    }
    search.ParseQuery(*words, english);
    return search;
  }

  bool Matches(ValueView document) const {
    if (words_.empty()) return false;
    Found found(phrases_.size());
    bool refused = false;
    if (all_fields_) {
      refused = VisitStrings(document, &found);
    } else {
      for (const Path& field : fields_) {
        refused = VisitPath(document, field, [&](const std::optional<ValueView>& value) {
          if (!value.has_value()) return false;
          if (value->IsString()) return Look(value->AsString(), &found);
          if (!value->IsArray()) return false;
          for (const ValueView element : value->elements()) {
            if (element.IsString() && Look(element.AsString(), &found)) return true;
          }
          return false;
        });
        if (refused) break;
      }
    }
    return !refused && found.word && found.phrase_count == phrases_.size();
  }

  // Whether a text has one of words().
  bool HasWord(std::string_view text) const {
    std::string folded;
    FoldText(text, folding_, &folded);
    return VisitWords(folded, [this](std::string_view word) { return Has(words_, word); });
  }
  // A document matches if and only if a string at one of fields() has one of words().
  bool is_words_only() const {
    return !all_fields_ && phrases_.empty() && negated_words_.empty() && negated_phrases_.empty();
  }

  const std::vector<Path>& fields() const { return fields_; }
  bool all_fields() const { return all_fields_; }
  TextFolding folding() const { return folding_; }

  // All folded. A match has at least one of words() and all of phrases(). Sorted, each once.
  const std::vector<std::string>& words() const { return words_; }
  const std::vector<std::string>& phrases() const { return phrases_; }
  const std::vector<std::string>& negated_words() const { return negated_words_; }
  const std::vector<std::string>& negated_phrases() const { return negated_phrases_; }

 private:
  TextSearch() = default;

  template <class... Pieces>
  static absl::Status Error(const Pieces&... pieces) {
    return absl::InvalidArgumentError(absl::StrCat("$text: ", pieces...));
  }

  // Words that English searches leave out, for being everywhere.
  static bool IsStopWord(std::string_view word) {
    static constexpr std::string_view kWords[] = {
        "a",       "about",  "above",    "after",     "again",      "against", "all",     "am",
        "an",      "and",    "any",      "are",       "as",         "at",      "be",      "because",
        "been",    "before", "being",    "below",     "between",    "both",    "but",     "by",
        "can",     "cannot", "could",    "did",       "do",         "does",    "doing",   "down",
        "during",  "each",   "few",      "for",       "from",       "further", "had",     "has",
        "have",    "having", "he",       "her",       "here",       "hers",    "herself", "him",
        "himself", "his",    "how",      "i",         "if",         "in",      "into",    "is",
        "it",      "its",    "itself",   "me",        "more",       "most",    "my",      "myself",
        "no",      "nor",    "not",      "of",        "off",        "on",      "once",    "only",
        "or",      "other",  "ought",    "our",       "ours",       "out",     "over",    "own",
        "same",    "she",    "should",   "so",        "some",       "such",    "than",    "that",
        "the",     "their",  "theirs",   "them",      "themselves", "then",    "there",   "these",
        "they",    "this",   "those",    "through",   "to",         "too",     "under",   "until",
        "up",      "very",   "was",      "we",        "were",       "what",    "when",    "where",
        "which",   "while",  "who",      "whom",      "why",        "with",    "would",   "you",
        "your",    "yours",  "yourself", "yourselves"};
    static_assert(std::is_sorted(std::begin(kWords), std::end(kWords)));
    return std::binary_search(std::begin(kWords), std::end(kWords), word);
  }

  std::string Fold(std::string_view text) const {
    std::string folded;
    FoldText(text, folding_, &folded);
    return folded;
  }

  void AddWords(std::string_view text, bool english, std::vector<std::string>* words) const {
    const std::string folded = Fold(text);
    VisitWords(folded, [&](std::string_view word) {
      std::string lower;
      FoldText(word, TextFolding{}, &lower);
      if (!english || !IsStopWord(lower)) words->emplace_back(word);
      return false;
    });
  }

  // A '-' negates the word or phrase after it when a space or nothing stands before it. A quotation
  // mark that is not closed is no phrase, its words are words.
  void ParseQuery(std::string_view query, bool english) {
    std::size_t i = 0;
    bool negated = false;
    bool after_space = true;
    const auto is_word_at = [&](std::size_t at, std::size_t* size) {
      *size = 1;
      const auto byte = static_cast<unsigned char>(query[at]);
      if (byte < 0x80) return text_internal::IsWordAscii(byte);
      return text_internal::IsWordCodePoint(
          document_internal::NextCodePoint(query.substr(at), size));
    };
    while (i < query.size()) {
      std::size_t size = 1;
      if (is_word_at(i, &size)) {
        std::size_t end = i + size;
        while (end < query.size() && is_word_at(end, &size)) end += size;
        AddWords(query.substr(i, end - i), english && !negated,
                 negated ? &negated_words_ : &words_);
        negated = false;
        after_space = false;
        i = end;
        continue;
      }
      const char c = query[i];
      const std::size_t closing = c == '"' ? query.find('"', i + 1) : std::string_view::npos;
      if (closing != std::string_view::npos) {
        const std::string_view phrase = query.substr(i + 1, closing - i - 1);
        if (!phrase.empty()) (negated ? negated_phrases_ : phrases_).push_back(Fold(phrase));
        if (!negated) AddWords(phrase, english, &words_);
        negated = false;
        after_space = false;
        i = closing + 1;
        continue;
      }
      if (c == '-' && after_space) negated = true;
      after_space = c == ' ' || (c >= '\t' && c <= '\r');
      if (after_space) negated = false;
      i += size;
    }
    for (std::vector<std::string>* list :
         {&words_, &phrases_, &negated_words_, &negated_phrases_}) {
      std::sort(list->begin(), list->end());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
  }

  // What has been seen of a document so far.
  struct Found {
    explicit Found(std::size_t phrases) : phrase(phrases, false) {}
    bool word = false;
    std::size_t phrase_count = 0;
    absl::InlinedVector<bool, 8> phrase;
    std::string folded;  // Reused from text to text.
  };

  // Looks at one text; true when it has what is negated.
  bool Look(std::string_view text, Found* found) const {
    found->folded.clear();
    FoldText(text, folding_, &found->folded);
    const std::string_view folded = found->folded;
    for (const std::string& phrase : negated_phrases_) {
      if (folded.find(phrase) != std::string_view::npos) return true;
    }
    for (std::size_t i = 0; i < phrases_.size(); ++i) {
      if (found->phrase[i] || folded.find(phrases_[i]) == std::string_view::npos) continue;
      found->phrase[i] = true;
      ++found->phrase_count;
    }
    if (found->word && negated_words_.empty()) return false;
    return VisitWords(folded, [&](std::string_view word) {
      if (Has(negated_words_, word)) return true;
      found->word = found->word || Has(words_, word);
      return false;
    });
  }

  static bool Has(const std::vector<std::string>& sorted, std::string_view word) {
    return std::binary_search(sorted.begin(), sorted.end(), word);
  }

  // Looks at every string in `value`, at any depth (ValueView::Parse limits it).
  bool VisitStrings(ValueView value, Found* found) const {
    if (value.IsString()) return Look(value.AsString(), found);
    if (value.IsArray()) {
      for (const ValueView element : value.elements()) {
        if (VisitStrings(element, found)) return true;
      }
    } else if (value.IsDocument()) {
      for (const auto entry : value.entries()) {
        if (VisitStrings(entry.value, found)) return true;
      }
    }
    return false;
  }

  std::vector<Path> fields_;
  bool all_fields_ = false;
  TextFolding folding_;
  std::vector<std::string> words_;
  std::vector<std::string> phrases_;
  std::vector<std::string> negated_words_;
  std::vector<std::string> negated_phrases_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_TEXT_SEARCH_H_
