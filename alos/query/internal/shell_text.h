// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Documents in tests as MongoDB's manual writes them: {a: {$gt: 1}, b: ['x', 2.5, null]}.

#ifndef ALOS_QUERY_INTERNAL_SHELL_TEXT_H_
#define ALOS_QUERY_INTERNAL_SHELL_TEXT_H_

#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos::query_internal {

// Parses the text and keeps its bytes. For tests: malformed text ends the program.
//
//   null true false  1 -2  1.0 1e3 NaN Infinity -Infinity  'text' "text" (no escapes)
//   [1, 2]  {key: 1, 'any key': 2, $op: 3, a.b: 4}
//   time(5)  bin('bytes')  ext(7, 'bytes')  18446744073709551615 (unsigned)
class ShellDocument {
 public:
  explicit ShellDocument(std::string_view text) : text_(text), rest_(text) {
    Builder builder(&bytes_);
    Value(&builder);
    Expect(rest_.empty());
  }

  // Views this object, which must not move or go.
  ValueView view() const { return ValueView::FromTrusted(bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void Expect(bool condition) const {
    if (condition) return;
    std::fprintf(stderr, "malformed test document: %.*s\n  near: %.*s\n",
                 static_cast<int>(text_.size()), text_.data(), static_cast<int>(rest_.size()),
                 rest_.data());
    std::abort();
  }
  void SkipSpace() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_[0]))) {
      rest_.remove_prefix(1);
    }
  }
  bool Take(std::string_view token) {
    SkipSpace();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    SkipSpace();
    return true;
  }
  std::string_view Quoted() {
    SkipSpace();
    Expect(!rest_.empty() && (rest_[0] == '\'' || rest_[0] == '"'));
    const std::size_t end = rest_.find(rest_[0], 1);
    Expect(end != std::string_view::npos);
    const std::string_view result = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    SkipSpace();
    return result;
  }
  std::string_view Word(std::string_view stop) {
    const std::string_view result = rest_.substr(0, rest_.find_first_of(stop));
    rest_.remove_prefix(result.size());
    SkipSpace();
    return result;
  }
  void Value(Builder* builder) {
    SkipSpace();
    Expect(!rest_.empty());
    if (Take("{")) {
      builder->StartDocument();
      while (!Take("}")) {
        builder->Key(rest_[0] == '\'' || rest_[0] == '"' ? Quoted() : Word(": "));
        Expect(Take(":"));
        Value(builder);
        Expect(Take(",") || rest_.starts_with("}"));
      }
      builder->EndDocument();
    } else if (Take("[")) {
      builder->StartArray();
      while (!Take("]")) {
        Value(builder);
        Expect(Take(",") || rest_.starts_with("]"));
      }
      builder->EndArray();
    } else if (rest_[0] == '\'' || rest_[0] == '"') {
      builder->String(Quoted());
    } else if (Take("time(")) {
      Timestamp time;
      Expect(absl::SimpleAtoi(Word(")"), &time.seconds) && Take(")"));
      builder->Time(time);
    } else if (Take("bin(")) {
      builder->Binary(Quoted());
      Expect(Take(")"));
    } else if (Take("ext(")) {
      int type = 0;
      Expect(absl::SimpleAtoi(Word(","), &type) && Take(","));
      builder->Extension(static_cast<std::int8_t>(type), Quoted());
      Expect(Take(")"));
    } else {
      Scalar(Word(",]} \n"), builder);
    }
    SkipSpace();
  }
  void Scalar(std::string_view word, Builder* builder) {
    std::int64_t integer = 0;
    std::uint64_t natural = 0;
    double number = 0;
    if (word == "null") {
      builder->Null();
    } else if (word == "true" || word == "false") {
      builder->Bool(word == "true");
    } else if (word == "NaN") {
      builder->Double(std::numeric_limits<double>::quiet_NaN());
    } else if (absl::SimpleAtoi(word, &integer)) {
      builder->Int(integer);
    } else if (absl::SimpleAtoi(word, &natural)) {
      builder->Uint(natural);
    } else {
      Expect(absl::SimpleAtod(word, &number));
      builder->Double(number);
    }
  }

  std::string_view text_;
  std::string_view rest_;
  std::string bytes_;
};

// The inverse: what ShellDocument reads. Doubles always have a '.', an exponent or a name.
inline std::string ToShellText(ValueView value) {
  switch (value.type()) {
    case ValueType::kNull:
      return "null";
    case ValueType::kBool:
      return value.AsBool() ? "true" : "false";
    case ValueType::kInt64:
      return absl::StrCat(value.AsInt64());
    case ValueType::kUint64:
      return absl::StrCat(value.AsUint64());
    case ValueType::kDouble: {
      const double number = value.AsDouble();
      if (std::isnan(number)) return "NaN";
      if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
      std::string text = absl::StrCat(number);
      if (text.find_first_of(".e") == std::string::npos) text += ".0";
      return text;
    }
    case ValueType::kString:
      return absl::StrCat("'", value.AsString(), "'");
    case ValueType::kBinary:
      return absl::StrCat("bin('", value.AsBinary(), "')");
    case ValueType::kTimestamp:
      return absl::StrCat("time(", value.AsTimestamp().seconds, ")");
    case ValueType::kExtension:
      return absl::StrCat("ext(", static_cast<int>(value.ExtensionType()), ", '",
                          value.ExtensionData(), "')");
    case ValueType::kArray: {
      std::string text = "[";
      for (const ValueView element : value.elements()) {
        absl::StrAppend(&text, text.size() == 1 ? "" : ", ", ToShellText(element));
      }
      return text + "]";
    }
    case ValueType::kDocument: {
      std::string text = "{";
      for (const auto entry : value.entries()) {
        const bool bare =
            !entry.key.empty() && entry.key.find_first_of(" :,'\"{}[]") == std::string_view::npos;
        absl::StrAppend(&text, text.size() == 1 ? "" : ", ", bare ? "" : "'", entry.key,
                        bare ? "" : "'", ": ", ToShellText(entry.value));
      }
      return text + "}";
    }
  }
  return "?";
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_SHELL_TEXT_H_
