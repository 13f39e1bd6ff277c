// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators on strings, regular expressions included.
//
// Positions and lengths count code points (CP) or bytes, as the operator's name says. Strings need
// not be UTF-8: a byte that continues nothing counts for the code point before it.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_STRING_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_STRING_H_

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "alos/base/memory_reserve.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_date.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_number.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/regex.h"
#include "re2/re2.h"

namespace alos::query_internal {

// The shortest text that reads back as the same number, with an exponent only where the point would
// be far from the digits; "NaN", "Infinity".
inline std::string DoubleText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  const double magnitude = std::fabs(value);
  const bool plain = value == 0 || (magnitude >= 1e-5 && magnitude < 1e16);
  char text[64];
  const std::to_chars_result end =
      std::to_chars(text, text + sizeof(text), value,
                    plain ? std::chars_format::fixed : std::chars_format::scientific);
  return std::string(text, end.ptr);
}

namespace expression_string {

// A string as it is, null and missing as "", numbers and dates as their text; others fail.
inline bool TakeText(const Node& node, Evaluation& e, const Operand& value, std::string* buffer,
                     std::string_view* text) {
  *text = {};
  if (IsNullish(value)) return true;
  switch (value->type()) {
    case ValueType::kString:
      *text = value->AsString();
      return true;
    case ValueType::kInt64:
      *buffer = absl::StrCat(value->AsInt64());
      break;
    case ValueType::kUint64:
      *buffer = absl::StrCat(value->AsUint64());
      break;
    case ValueType::kDouble:
      *buffer = DoubleText(value->AsDouble());
      break;
    case ValueType::kTimestamp: {
      absl::StatusOr<std::string> date = DateText(value->AsTimestamp());
      if (!date.ok()) return Fail(node, e, date.status().message());
      *buffer = *std::move(date);
      break;
    }
    default:
      return Fail(node, e, "expected a string, found ", Describe(*value));
  }
  *text = *buffer;
  return true;
}

// A string and nothing else.
inline bool TakeString(const Node& node, Evaluation& e, std::string_view what, const Operand& value,
                       std::string_view* text) {
  if (!value || !value->IsString()) {
    return Fail(node, e, what, " has to be a string, found ", value ? Describe(*value) : "missing");
  }
  *text = value->AsString();
  return true;
}

// --- Code points ---

inline bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

inline std::size_t CountCodePoints(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); }));
}
// The bytes of the code point at the front of `text`, which is not empty.
inline std::size_t FirstCodePointBytes(std::string_view text) {
  std::size_t size = 1;
  while (size < text.size() && IsContinuation(text[size])) ++size;
  return size;
}
// The offset of the code point with that index; the size of `text` if it has fewer.
inline std::size_t OffsetOfCodePoint(std::string_view text, std::uint64_t index) {
  std::size_t offset = 0;
  while (offset < text.size() && IsContinuation(text[offset])) ++offset;
  for (; index > 0 && offset < text.size(); --index) {
    offset += FirstCodePointBytes(text.substr(offset));
  }
  return offset;
}

// As text.find(part, from), in linear time whatever is searched for.
inline std::size_t FindText(std::string_view text, std::string_view part, std::size_t from = 0) {
  if (part.size() <= 4 || from > text.size()) return text.find(part, from);
  const void* const found =
      memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

// --- Joining, cutting ---

inline bool EvaluateConcat(const Node& node, Evaluation& e, Operand* out) {
  const std::size_t mark = e.stack.size();
  std::size_t size = 0;
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value)) return false;
    if (IsNullish(value)) {
      e.stack.resize(mark);
      return e.SetNull(out);
    }
    if (!value->IsString()) return Fail(node, e, "expected strings, found ", Describe(*value));
    size += value->AsString().size();
    if (!e.Push(value)) return false;
  }
  char* data = nullptr;
  if (!e.StartString(size, &data, out)) return false;
  for (std::size_t i = mark; i < e.stack.size(); ++i) {
    const std::string_view part = e.stack[i].AsString();
    data = std::copy(part.begin(), part.end(), data);
  }
  e.stack.resize(mark);
  return true;
}

inline bool Split(const Node& node, Evaluation& e, ValueView a, ValueView b, Operand* out) {
  std::string_view text;
  std::string_view delimiter;
  if (!TakeString(node, e, "the first argument", a, &text) ||
      !TakeString(node, e, "the delimiter", b, &delimiter)) {
    return false;
  }
  if (delimiter.empty()) return Fail(node, e, "the delimiter is empty");
  const std::size_t mark = e.stack.size();
  for (;;) {
    const std::size_t end = FindText(text, delimiter);
    Operand part;
    if (!e.SetString(text.substr(0, end), &part) || !e.Push(part)) return false;
    if (end == text.npos) return e.SetArray(mark, out);
    text.remove_prefix(end + delimiter.size());
  }
}

template <char (*convert)(unsigned char)>
bool EvaluateCase(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  std::string buffer;
  std::string_view text;
  if (!Evaluate(*node.arguments[0], e, &value) || !TakeText(node, e, value, &buffer, &text)) {
    return false;
  }
  char* data = nullptr;
  if (!e.StartString(text.size(), &data, out)) return false;
  std::transform(text.begin(), text.end(), data,
                 [](char c) { return convert(static_cast<unsigned char>(c)); });
  return true;
}

inline bool EvaluateCaseCompare(const Node& node, Evaluation& e, Operand* out) {
  Operand values[2];
  std::string buffers[2];
  std::string_view texts[2];
  for (std::size_t i = 0; i < 2; ++i) {
    if (!Evaluate(*node.arguments[i], e, &values[i])) return false;
    if (!TakeText(node, e, values[i], &buffers[i], &texts[i])) return false;
  }
  const std::size_t common = std::min(texts[0].size(), texts[1].size());
  for (std::size_t i = 0; i < common; ++i) {
    const auto a =
        static_cast<unsigned char>(absl::ascii_toupper(static_cast<unsigned char>(texts[0][i])));
    const auto b =
        static_cast<unsigned char>(absl::ascii_toupper(static_cast<unsigned char>(texts[1][i])));
    if (a != b) return e.SetInt(a < b ? -1 : 1, out);
  }
  return e.SetInt(texts[0].size() < texts[1].size()   ? -1
                  : texts[0].size() > texts[1].size() ? 1
                                                      : 0,
                  out);
}

template <bool code_points>
bool EvaluateLength(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  std::string_view text;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  if (!TakeString(node, e, "the argument", value, &text)) return false;
  return e.SetInt(static_cast<std::int64_t>(code_points ? CountCodePoints(text) : text.size()),
                  out);
}

// A whole part of a number that need not be whole, as $substrBytes takes them.
inline bool TakeWholePart(const Node& node, Evaluation& e, std::string_view what,
                          const Operand& value, std::int64_t* result) {
  if (!value || !value->IsNumber()) {
    return Fail(node, e, what, " has to be a number, found ", value ? Describe(*value) : "missing");
  }
  if (value->type() == ValueType::kUint64) {
    *result = std::numeric_limits<std::int64_t>::max();
  } else if (const std::optional<std::int64_t> whole = value->ToInt64()) {
    *result = *whole;
  } else if (const std::optional<std::int64_t> rounded =
                 RoundToInt64(std::trunc(value->AsDouble()))) {
    *result = *rounded;
  } else {
    return Fail(node, e, what, " is out of range: ", Describe(*value));
  }
  return true;
}

inline bool EvaluateSubstringBytes(const Node& node, Evaluation& e, Operand* out) {
  Operand values[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (!Evaluate(*node.arguments[i], e, &values[i])) return false;
  }
  std::string buffer;
  std::string_view text;
  std::int64_t start = 0;
  std::int64_t size = 0;
  if (!TakeText(node, e, values[0], &buffer, &text) ||
      !TakeWholePart(node, e, "the start", values[1], &start) ||
      !TakeWholePart(node, e, "the number of bytes", values[2], &size)) {
    return false;
  }
  if (start < 0) return Fail(node, e, "the start is negative: ", start);
  if (static_cast<std::uint64_t>(start) >= text.size()) return e.SetString("", out);
  text.remove_prefix(static_cast<std::size_t>(start));
  if (start > 0 && IsContinuation(text[0])) {
    return Fail(node, e, "the start, byte ", start, ", is within a character");
  }
  if (size >= 0 && static_cast<std::uint64_t>(size) < text.size()) {
    if (IsContinuation(text[static_cast<std::size_t>(size)])) {
      return Fail(node, e, "the end, after ", size, " bytes, is within a character");
    }
    text = text.substr(0, static_cast<std::size_t>(size));
  }
  return e.SetString(text, out);
}

inline bool EvaluateSubstringCodePoints(const Node& node, Evaluation& e, Operand* out) {
  Operand values[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (!Evaluate(*node.arguments[i], e, &values[i])) return false;
  }
  std::string buffer;
  std::string_view text;
  std::int64_t start = 0;
  std::int64_t count = 0;
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (!TakeText(node, e, values[0], &buffer, &text) ||
      !TakeInteger(node, e, "the start", values[1], 0, kMax, &start) ||
      !TakeInteger(node, e, "the length", values[2], 0, kMax, &count)) {
    return false;
  }
  text.remove_prefix(OffsetOfCodePoint(text, static_cast<std::uint64_t>(start)));
  return e.SetString(text.substr(0, OffsetOfCodePoint(text, static_cast<std::uint64_t>(count))),
                     out);
}

// [text, part, start?, end?]
template <bool code_points>
bool EvaluateIndexOf(const Node& node, Evaluation& e, Operand* out) {
  Operand values[4];
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    if (!Evaluate(*node.arguments[i], e, &values[i])) return false;
  }
  if (IsNullish(values[0])) return e.SetNull(out);
  std::string_view text;
  std::string_view part;
  if (!TakeString(node, e, "the first argument", values[0], &text) ||
      !TakeString(node, e, "the second argument", values[1], &part)) {
    return false;
  }
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  std::int64_t start = 0;
  std::int64_t end = kMax;
  if (node.arguments.size() > 2 && !TakeInteger(node, e, "the start", values[2], 0, kMax, &start)) {
    return false;
  }
  if (node.arguments.size() > 3 && !TakeInteger(node, e, "the end", values[3], 0, kMax, &end)) {
    return false;
  }
  if (!e.Charge(text.size() / 64)) return false;
  const auto length = static_cast<std::int64_t>(code_points ? CountCodePoints(text) : text.size());
  if (start > length || end < start) return e.SetInt(-1, out);
  std::size_t from = static_cast<std::size_t>(start);
  std::size_t to = static_cast<std::size_t>(std::min(end, length));
  if constexpr (code_points) {
    from = OffsetOfCodePoint(text, from);
    to = OffsetOfCodePoint(text, to);
  }
  const std::size_t found = FindText(text.substr(0, to), part, from);
  if (found == text.npos) return e.SetInt(-1, out);
  return e.SetInt(
      static_cast<std::int64_t>(code_points ? CountCodePoints(text.substr(0, found)) : found), out);
}

// --- Trimming ---

inline constexpr std::string_view kTrimNames[] = {"input", "chars?"};

// White space as MongoDB's manual lists it; a zero byte is part of it.
inline constexpr std::string_view kWhiteSpace[] = {std::string_view("\0", 1),
                                                   " ",
                                                   "\t",
                                                   "\n",
                                                   "\v",
                                                   "\f",
                                                   "\r",
                                                   "\xc2\xa0",
                                                   "\xe1\x9a\x80",
                                                   "\xe2\x80\x80",
                                                   "\xe2\x80\x81",
                                                   "\xe2\x80\x82",
                                                   "\xe2\x80\x83",
                                                   "\xe2\x80\x84",
                                                   "\xe2\x80\x85",
                                                   "\xe2\x80\x86",
                                                   "\xe2\x80\x87",
                                                   "\xe2\x80\x88",
                                                   "\xe2\x80\x89",
                                                   "\xe2\x80\x8a"};

template <bool left, bool right>
bool EvaluateTrim(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  Operand chars;
  if (!EvaluateArgument(node, 0, e, &input) || !EvaluateArgument(node, 1, e, &chars)) return false;
  if (IsNullish(input)) return e.SetNull(out);
  std::string_view text;
  if (!TakeString(node, e, "'input'", input, &text)) return false;
  absl::InlinedVector<std::string_view, 20> trimmed;
  if (node.arguments[1] == nullptr) {
    trimmed.assign(std::begin(kWhiteSpace), std::end(kWhiteSpace));
  } else {
    if (IsNullish(chars)) return e.SetNull(out);
    std::string_view list;
    if (!TakeString(node, e, "'chars'", chars, &list)) return false;
    while (!list.empty()) {
      trimmed.push_back(list.substr(0, FirstCodePointBytes(list)));
      list.remove_prefix(trimmed.back().size());
    }
  }
  const auto is_trimmed = [&trimmed](std::string_view code_point) {
    return std::find(trimmed.begin(), trimmed.end(), code_point) != trimmed.end();
  };
  while (left && !text.empty()) {
    if (!e.Charge(1 + trimmed.size() / 16)) return false;
    const std::size_t size = FirstCodePointBytes(text);
    if (!is_trimmed(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  while (right && !text.empty()) {
    if (!e.Charge(1 + trimmed.size() / 16)) return false;
    std::size_t begin = text.size() - 1;
    while (begin > 0 && IsContinuation(text[begin])) --begin;
    if (!is_trimmed(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return e.SetString(text, out);
}

// --- Replacing ---

inline constexpr std::string_view kReplaceNames[] = {"input", "find", "replacement"};

template <bool all>
bool EvaluateReplace(const Node& node, Evaluation& e, Operand* out) {
  Operand values[3];
  std::string_view texts[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (!EvaluateArgument(node, i, e, &values[i])) return false;
    if (!IsNullish(values[i]) &&
        !TakeString(node, e, absl::StrCat("'", kReplaceNames[i], "'"), values[i], &texts[i])) {
      return false;
    }
  }
  if (IsNullish(values[0]) || IsNullish(values[1]) || IsNullish(values[2])) return e.SetNull(out);
  const std::string_view find = texts[1];
  // Twice the same walk: to count, to write. An empty `find` is found before every character and at
  // the end.
  const auto walk = [&](auto&& append) {
    std::string_view text = texts[0];
    for (;;) {
      const std::size_t found = FindText(text, find);
      if (found == text.npos) break;
      append(text.substr(0, found));
      append(texts[2]);
      text.remove_prefix(found + find.size());
      if (!all) break;
      if (find.empty()) {
        if (text.empty()) break;
        const std::size_t size = FirstCodePointBytes(text);
        append(text.substr(0, size));
        text.remove_prefix(size);
      }
    }
    append(text);
  };
  std::size_t size = 0;
  walk([&size](std::string_view part) { size += part.size(); });
  char* data = nullptr;
  if (!e.StartString(size, &data, out)) return false;
  walk([&data](std::string_view part) { data = std::copy(part.begin(), part.end(), data); });
  return true;
}

// --- Regular expressions ---

inline constexpr std::string_view kRegexNames[] = {"input", "regex", "options?"};

inline absl::StatusOr<std::unique_ptr<const re2::RE2>> CompilePattern(const Operand& regex,
                                                                      const Operand& options) {
  if (!regex || !regex->IsString()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'regex' has to be a string, found ", regex ? Describe(*regex) : "missing"));
  }
  if (!IsNullish(options) && !options->IsString()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'options' has to be a string, found ", Describe(*options)));
  }
  return CompileRegex(regex->AsString(), IsNullish(options) ? "" : options->AsString());
}

inline absl::Status PrepareRegex(ExpressionCompiler& compiler, Node& node) {
  const Node* const regex = node.arguments[1];
  const Node* const options = node.arguments[2];
  if (!IsConstant(regex) || regex->constant.IsNull()) return absl::OkStatus();
  if (options != nullptr && !IsConstant(options)) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<const re2::RE2>> compiled = CompilePattern(
      regex->constant, options != nullptr ? Operand(options->constant) : std::nullopt);
  if (!compiled.ok()) return compiler.Error(*node.op, compiled.status().message());
  node.extra = std::shared_ptr<const re2::RE2>(*std::move(compiled));
  return absl::OkStatus();
}

enum class RegexResult { kMatch, kFirst, kAll };

template <RegexResult wanted>
bool EvaluateRegex(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  if (!EvaluateArgument(node, 0, e, &input)) return false;
  std::unique_ptr<const re2::RE2> compiled_here;
  const auto* regex = static_cast<const re2::RE2*>(node.extra.get());
  bool regex_is_null = false;
  if (regex == nullptr) {
    Operand pattern;
    Operand options;
    if (!EvaluateArgument(node, 1, e, &pattern) || !EvaluateArgument(node, 2, e, &options)) {
      return false;
    }
    regex_is_null = IsNullish(pattern);
    if (!regex_is_null) {
      // Compiling a pattern is much more than matching it.
      if (!e.Charge(1000)) return false;
      absl::StatusOr<std::unique_ptr<const re2::RE2>> compiled = CompilePattern(pattern, options);
      if (!compiled.ok()) return Fail(node, e, compiled.status().message());
      compiled_here = *std::move(compiled);
      regex = compiled_here.get();
    }
  }
  std::string_view text;
  if (!IsNullish(input) && !TakeString(node, e, "'input'", input, &text)) return false;
  const std::size_t mark = e.stack.size();
  if (IsNullish(input) || regex_is_null) {
    if (wanted == RegexResult::kMatch) return e.SetBool(false, out);
    return wanted == RegexResult::kFirst ? e.SetNull(out) : e.SetArray(mark, out);
  }
  if (!e.Charge(text.size() / 64)) return false;
  const re2::StringPiece subject(text.data(), text.size());
  if (wanted == RegexResult::kMatch) return e.SetBool(MatchesRegex(*regex, text), out);

  absl::InlinedVector<re2::StringPiece, 8> groups(
      static_cast<std::size_t>(regex->NumberOfCapturingGroups()) + 1);
  std::size_t begin = 0;    // of the search
  std::size_t counted = 0;  // bytes whose code points are counted
  std::size_t code_points = 0;
  do {
    if (!e.Charge(1 + (text.size() - begin) / 1024)) return false;
    const MemoryReserve::Critical critical;  // RE2 knows no exceptions
    if (!regex->Match(subject, begin, text.size(), re2::RE2::UNANCHORED, groups.data(),
                      static_cast<int>(groups.size()))) {
      break;
    }
    const auto found = static_cast<std::size_t>(groups[0].data() - text.data());
    code_points += CountCodePoints(text.substr(counted, found - counted));
    counted = found;

    const std::size_t fields_mark = e.fields.size();
    Operand match;
    Operand index;
    Operand captures;
    if (!e.SetString({groups[0].data(), groups[0].size()}, &match) ||
        !e.SetInt(static_cast<std::int64_t>(code_points), &index)) {
      return false;
    }
    const std::size_t captures_mark = e.stack.size();
    for (std::size_t i = 1; i < groups.size(); ++i) {
      Operand capture;  // stays missing, and so null, if the group took no part
      if (groups[i].data() != nullptr &&
          !e.SetString({groups[i].data(), groups[i].size()}, &capture)) {
        return false;
      }
      if (!e.Push(capture)) return false;
    }
    if (!e.SetArray(captures_mark, &captures) || !e.PushField("match", *match) ||
        !e.PushField("idx", *index) || !e.PushField("captures", *captures)) {
      return false;
    }
    Operand result;
    if (!e.SetDocument(fields_mark, &result)) return false;
    if (wanted == RegexResult::kFirst) {
      *out = result;
      return true;
    }
    if (!e.Push(result)) return false;
    begin = found + groups[0].size();
    // After an empty match the search goes on one character further.
    if (groups[0].empty() && begin < text.size()) begin += FirstCodePointBytes(text.substr(begin));
  } while (begin < text.size());
  return wanted == RegexResult::kFirst ? e.SetNull(out) : e.SetArray(mark, out);
}

inline char ToLower(unsigned char c) { return absl::ascii_tolower(c); }
inline char ToUpper(unsigned char c) { return absl::ascii_toupper(c); }

inline constexpr Operator kOperators[] = {
    {"$concat", &EvaluateConcat, 0, Operator::kAnyCount},
    {"$split", &EvaluateBinary<&Split>, 2, 2},
    {"$toLower", &EvaluateCase<&ToLower>},
    {"$toUpper", &EvaluateCase<&ToUpper>},
    {"$strcasecmp", &EvaluateCaseCompare, 2, 2},
    {"$strLenBytes", &EvaluateLength<false>},
    {"$strLenCP", &EvaluateLength<true>},
    {"$substr", &EvaluateSubstringBytes, 3, 3},
    {"$substrBytes", &EvaluateSubstringBytes, 3, 3},
    {"$substrCP", &EvaluateSubstringCodePoints, 3, 3},
    {"$indexOfBytes", &EvaluateIndexOf<false>, 2, 4},
    {"$indexOfCP", &EvaluateIndexOf<true>, 2, 4},
    {.name = "$trim", .evaluate = &EvaluateTrim<true, true>, .names = kTrimNames},
    {.name = "$ltrim", .evaluate = &EvaluateTrim<true, false>, .names = kTrimNames},
    {.name = "$rtrim", .evaluate = &EvaluateTrim<false, true>, .names = kTrimNames},
    {.name = "$replaceOne", .evaluate = &EvaluateReplace<false>, .names = kReplaceNames},
    {.name = "$replaceAll", .evaluate = &EvaluateReplace<true>, .names = kReplaceNames},
    {.name = "$regexMatch",
     .evaluate = &EvaluateRegex<RegexResult::kMatch>,
     .names = kRegexNames,
     .prepare = &PrepareRegex},
    {.name = "$regexFind",
     .evaluate = &EvaluateRegex<RegexResult::kFirst>,
     .names = kRegexNames,
     .prepare = &PrepareRegex},
    {.name = "$regexFindAll",
     .evaluate = &EvaluateRegex<RegexResult::kAll>,
     .names = kRegexNames,
     .prepare = &PrepareRegex},
};

}  // namespace expression_string
}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_STRING_H_
