// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// $regex on RE2: matching time is linear in the text, whatever the pattern.

#ifndef ALOS_QUERY_INTERNAL_REGEX_H_
#define ALOS_QUERY_INTERNAL_REGEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/memory_reserve.h"
#include "alos/query/internal/describe.h"
#include "re2/re2.h"

namespace alos::query_internal {

inline constexpr std::size_t kRegexPatternBytesMax = 1024;
inline constexpr std::int64_t kRegexMemoryBytesMax = 8 << 20;

// The pattern without what the option x ignores: white space and comments that are neither escaped
// nor in a character class.
inline std::string StripExtendedPattern(std::string_view pattern) {
  std::string stripped;
  bool in_class = false;
  std::size_t class_begin = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      stripped.append(pattern.substr(i++, 2));
    } else if (in_class) {
      // A ']' right after '[' or '[^' stands for itself.
      const bool first =
          i == class_begin + 1 || (i == class_begin + 2 && pattern[class_begin + 1] == '^');
      if (c == ']' && !first) in_class = false;
      stripped.push_back(c);
    } else if (c == '[') {
      in_class = true;
      class_begin = i;
      stripped.push_back(c);
    } else if (c == '#') {
      while (i + 1 < pattern.size() && pattern[i + 1] != '\n') ++i;
    } else if (c != ' ' && (c < '\t' || c > '\r')) {
      stripped.push_back(c);
    }
  }
  return stripped;
}

// Options: i (case), m (^ and $ at lines), s (dot matches newline), x (white space and comments in
// the pattern are ignored); u is taken and changes nothing, text is UTF-8 anyway.
// Differences from Perl's expressions, all from being linear: no backreferences, no look-around,
// and
// '$' without m matches at the very end only, not before a last newline.
// Errors: kInvalidArgument naming the pattern, RE2's reason and the remedy.
inline absl::StatusOr<std::unique_ptr<const re2::RE2>> CompileRegex(std::string_view pattern,
                                                                    std::string_view options) {
  if (pattern.size() > kRegexPatternBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the regular expression '", DescribeText(pattern), "' is ", pattern.size(),
                     " bytes long; at most ", kRegexPatternBytesMax, " are allowed"));
  }
  re2::RE2::Options re2_options;
  re2_options.set_log_errors(false);
  re2_options.set_max_mem(kRegexMemoryBytesMax);
  bool multi_line = false;
  bool extended = false;
  for (const char option : options) {
    switch (option) {
      case 'i':
        re2_options.set_case_sensitive(false);
        break;
      case 'm':
        multi_line = true;
        break;
      case 's':
        re2_options.set_dot_nl(true);
        break;
      case 'x':
        extended = true;
        break;
      case 'u':
        break;
      default:
        return absl::InvalidArgumentError(absl::StrCat("unknown letter '",
                                                       DescribeText(std::string_view(&option, 1)),
                                                       "' in $options; known are i, m, s and x"));
    }
  }
  std::string translated = multi_line ? "(?m)" : "";
  if (extended) {
    translated += StripExtendedPattern(pattern);
  } else {
    translated += pattern;
  }
  const MemoryReserve::Critical critical;  // RE2 knows no exceptions
  auto regex = std::make_unique<const re2::RE2>(translated, re2_options);
  if (regex->ok()) return regex;
  const std::string_view shown = pattern;
  std::string message = absl::StrCat("the regular expression '", absl::Utf8SafeCHexEscape(shown),
                                     "' is not valid: ", absl::Utf8SafeCHexEscape(regex->error()));
  if (regex->error_code() == re2::RE2::ErrorPatternTooLarge) {
    absl::StrAppend(&message, " (it would need more than ", kRegexMemoryBytesMax >> 20,
                    " MiB); make its repetitions smaller");
  } else {
    absl::StrAppend(&message,
                    "; the syntax is that of RE2, without backreferences and look-around");
  }
  return absl::InvalidArgumentError(message);
}

inline bool MatchesRegex(const re2::RE2& regex, std::string_view text) {
  const MemoryReserve::Critical critical;
  return regex.Match(re2::StringPiece(text.data(), text.size()), 0, text.size(),
                     re2::RE2::UNANCHORED, nullptr, 0);
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_REGEX_H_
