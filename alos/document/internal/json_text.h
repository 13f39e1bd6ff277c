// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What the fast JSON parser does not do: say where and why a text is not JSON, and read integers of
// more than 64 bits. Runs only after the fast parser has refused a text.

#ifndef ALOS_DOCUMENT_INTERNAL_JSON_TEXT_H_
#define ALOS_DOCUMENT_INTERNAL_JSON_TEXT_H_

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace alos::document_internal {

struct JsonFault {
  std::size_t offset;
  std::string message;  // "expected ..., found ..."
};

inline bool IsJsonSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
inline bool IsJsonNumberChar(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '-' || c == '+' || c == '.' ||
         c == 'e' || c == 'E';
}

// The length in bytes (1..4) of the UTF-8 character at the start of `text`, 0 if there is no valid
// one. REQUIRES: !text.empty().
inline std::size_t Utf8CharSize(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto is_tail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;  // a tail byte, or an overlong form
  if (lead < 0xe0) return is_tail(1) ? 2 : 0;
  if (lead < 0xf0) {
    if (!is_tail(1) || !is_tail(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;   // overlong
    if (lead == 0xed && byte(1) >= 0xa0) return 0;  // a surrogate
    return 3;
  }
  if (lead > 0xf4 || !is_tail(1) || !is_tail(2) || !is_tail(3)) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;   // overlong
  if (lead == 0xf4 && byte(1) >= 0x90) return 0;  // above U+10FFFF
  return 4;
}

// Checks a text against RFC 8259, without recursion, and stops at the first fault.
//
// `depth_max` is that of the text, whose wrappers for dates and the like add levels of their own to
// the 100 that a value may have.
class JsonChecker {
 public:
  JsonChecker(std::string_view text, std::size_t depth_max) : text_(text), depth_max_(depth_max) {}

  // nullopt: `text` is one JSON value.
  std::optional<JsonFault> Run() {
    if (!CheckText()) return std::move(fault_);
    return std::nullopt;
  }

 private:
  bool AtEnd() const { return at_ == text_.size(); }
  bool At(char c) const { return !AtEnd() && text_[at_] == c; }
  void SkipSpace() {
    while (!AtEnd() && IsJsonSpace(text_[at_])) ++at_;
  }

  bool FailAt(std::size_t offset, std::string message) {
    fault_ = JsonFault{offset, std::move(message)};
    return false;
  }
  bool Fail(std::string_view expected) {
    if (AtEnd()) return FailAt(at_, absl::StrCat("expected ", expected, ", found the end"));
    const char c = text_[at_];
    if (absl::ascii_isprint(static_cast<unsigned char>(c))) {
      return FailAt(at_, absl::StrCat("expected ", expected, ", found '", std::string(1, c), "'"));
    }
    return FailAt(at_, absl::StrCat("expected ", expected, ", found byte 0x",
                                    absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2)));
  }

  bool CheckText() {
    SkipSpace();
    for (;;) {
      bool is_open = false;  // an opened container that is not empty: its first value follows
      if (!CheckValue(&is_open)) return false;
      while (!is_open) {
        SkipSpace();
        if (open_.empty()) return AtEnd() || Fail("the end after one value");
        const char close = open_.back() == '{' ? '}' : ']';
        if (At(close)) {
          ++at_;
          open_.pop_back();
        } else if (At(',')) {
          ++at_;
          SkipSpace();
          if (open_.back() == '{' && !CheckKey()) return false;
          break;
        } else {
          return Fail(close == '}' ? "',' or '}'" : "',' or ']'");
        }
      }
    }
  }

  // A scalar, an empty container, or the start of a container up to its first value (*is_open).
  bool CheckValue(bool* is_open) {
    if (AtEnd()) return Fail("a value");
    switch (const char c = text_[at_]) {
      case '{':
      case '[':
        if (open_.size() == depth_max_) {
          return FailAt(at_, "nested too deep: a value may have 100 levels");
        }
        ++at_;
        SkipSpace();
        if (At(c == '{' ? '}' : ']')) {
          ++at_;
          return true;
        }
        open_.push_back(c);
        *is_open = true;
        return c == '[' || CheckKey();
      case '"':
        return CheckString();
      case 't':
        return CheckLiteral("true");
      case 'f':
        return CheckLiteral("false");
      case 'n':
        return CheckLiteral("null");
      default:
        if (c == '-' || absl::ascii_isdigit(static_cast<unsigned char>(c))) return CheckNumber();
        return Fail("a value");
    }
  }

  bool CheckKey() {
    if (!At('"')) return Fail("a key in double quotes");
    if (!CheckString()) return false;
    SkipSpace();
    if (!At(':')) return Fail("':' after a key");
    ++at_;
    SkipSpace();
    return true;
  }

  bool CheckLiteral(std::string_view literal) {
    for (const char c : literal) {
      if (!At(c)) return Fail(absl::StrCat("the value ", literal));
      ++at_;
    }
    return CheckScalarEnd();
  }

  bool CheckScalarEnd() {
    if (AtEnd() || IsJsonSpace(text_[at_]) || At(',') || At(']') || At('}')) return true;
    return Fail("the end of the value");
  }

  bool TakeDigits() {
    const std::size_t begin = at_;
    while (!AtEnd() && absl::ascii_isdigit(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ != begin;
  }

  bool CheckNumber() {
    const std::size_t begin = at_;
    if (At('-')) ++at_;
    const std::size_t digits = at_;
    if (!TakeDigits()) return Fail("a digit");
    if (text_[digits] == '0' && at_ - digits > 1) {
      return FailAt(digits, "expected a number without leading zeros");
    }
    if (At('.')) {
      ++at_;
      if (!TakeDigits()) return Fail("a digit after the decimal point");
    }
    if (At('e') || At('E')) {
      ++at_;
      if (At('+') || At('-')) ++at_;
      if (!TakeDigits()) return Fail("a digit in the exponent");
    }
    double value = 0;
    const auto result = std::from_chars(text_.data() + begin, text_.data() + at_, value);
    if (result.ec == std::errc::result_out_of_range && IsHuge(text_.substr(begin, at_ - begin))) {
      return FailAt(begin, "expected a number within the range of a double (about 1.8e308)");
    }
    return CheckScalarEnd();
  }

  // Of a number out of a double's range: is it too large, rather than too close to zero?
  static bool IsHuge(std::string_view number) {
    return std::isinf(std::strtold(std::string(number).c_str(), nullptr)) ||
           std::fabs(std::strtold(std::string(number).c_str(), nullptr)) > 1;
  }

  bool CheckString() {
    const std::size_t begin = at_++;
    for (;;) {
      if (AtEnd()) {
        return FailAt(at_, absl::StrCat("expected '\"' to end the string that began ", at_ - begin,
                                        " bytes before, found the end"));
      }
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c == '\\') {
        if (!CheckEscape()) return false;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        return Fail(c == '\n' ? "'\"' before the end of the line"
                              : "control characters in a string to be escaped");
      } else {
        const std::size_t size = Utf8CharSize(text_.substr(at_));
        if (size == 0) return Fail("valid UTF-8");
        at_ += size;
      }
    }
  }

  bool CheckEscape() {
    ++at_;
    if (AtEnd()) return Fail("a character after '\\'");
    if (text_[at_] != 'u') {
      if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
        return Fail("one of \"\\/bfnrtu after '\\'");
      }
      ++at_;
      return true;
    }
    const std::size_t begin = at_ - 1;
    std::uint32_t unit = 0;
    if (!TakeUnit(&unit)) return false;
    if (unit < 0xd800 || unit > 0xdfff) return true;
    if (unit <= 0xdbff && At('\\') && at_ + 1 < text_.size() && text_[at_ + 1] == 'u') {
      ++at_;
      if (!TakeUnit(&unit)) return false;
      if (unit >= 0xdc00 && unit <= 0xdfff) return true;
    }
    return FailAt(begin, "expected \\u surrogates in pairs");
  }

  // 'u' and four hexadecimal digits.
  bool TakeUnit(std::uint32_t* unit) {
    ++at_;
    *unit = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (AtEnd() || !absl::ascii_isxdigit(static_cast<unsigned char>(text_[at_]))) {
        return Fail("four hexadecimal digits after \\u");
      }
      const char c = absl::ascii_tolower(static_cast<unsigned char>(text_[at_]));
      *unit = *unit * 16 + static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
  }

  const std::string_view text_;
  const std::size_t depth_max_;
  std::size_t at_ = 0;
  std::string open_;  // '{' and '['
  std::optional<JsonFault> fault_;
};

// `text` with "e0" after every integer that fits neither int64 nor uint64, which makes it a double
// to a JSON parser; nullopt if there is none.
inline std::optional<std::string> WidenIntegers(std::string_view text) {
  std::string widened;
  std::size_t copied = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\') ++at;
      }
      ++at;
      continue;
    }
    if (!IsJsonNumberChar(text[at])) {
      ++at;
      continue;
    }
    const std::size_t begin = at;
    while (at < text.size() && IsJsonNumberChar(text[at])) ++at;
    const std::string_view number = text.substr(begin, at - begin);
    const std::size_t not_digit = number.find_first_not_of("0123456789", number[0] == '-' ? 1 : 0);
    if (not_digit != std::string_view::npos) continue;
    std::int64_t as_int = 0;
    std::uint64_t as_uint = 0;
    const char* const end = number.data() + number.size();
    if (std::from_chars(number.data(), end, as_int).ec == std::errc::result_out_of_range &&
        std::from_chars(number.data(), end, as_uint).ec != std::errc()) {
      widened.append(text.substr(copied, at - copied)).append("e0");
      copied = at;
    }
  }
  if (copied == 0) return std::nullopt;
  widened.append(text.substr(copied));
  return widened;
}

}  // namespace alos::document_internal

#endif  // ALOS_DOCUMENT_INTERNAL_JSON_TEXT_H_
