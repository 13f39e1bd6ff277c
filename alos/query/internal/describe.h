// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Short text for a value, for error messages: what a reader needs to recognise it, never the whole
// of a large document.

#ifndef ALOS_QUERY_INTERNAL_DESCRIBE_H_
#define ALOS_QUERY_INTERNAL_DESCRIBE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"

namespace alos::query_internal {

// Strings longer than this are cut, with an ellipsis.
inline constexpr std::size_t kDescribeStringBytesMax = 64;

// `text`, escaped and cut to kDescribeStringBytesMax bytes: safe to print whatever a client sent.
inline std::string DescribeText(std::string_view text) {
  if (text.size() <= kDescribeStringBytesMax) return absl::Utf8SafeCHexEscape(text);
  return absl::StrCat(absl::Utf8SafeCHexEscape(text.substr(0, kDescribeStringBytesMax)), "...");
}

// One value: scalars in full, strings cut, arrays and documents as "[3 elements]", "{2 fields}".
inline std::string Describe(ValueView value) {
  switch (value.type()) {
    case ValueType::kNull:
      return "null";
    case ValueType::kBool:
      return value.AsBool() ? "true" : "false";
    case ValueType::kInt64:
      return absl::StrCat(value.AsInt64());
    case ValueType::kUint64:
      return absl::StrCat(value.AsUint64());
    case ValueType::kDouble:
      return absl::StrCat(value.AsDouble());
    case ValueType::kString:
      return absl::StrCat("\"", DescribeText(value.AsString()), "\"");
    case ValueType::kArray:
      return absl::StrCat("[", value.size(), " elements]");
    case ValueType::kDocument:
      return absl::StrCat("{", value.size(), " fields}");
    default:
      return absl::StrCat("a ", TypeName(value.type()));
  }
}

// "{a: "text"}": a field and its value, the way error messages name the culprit.
inline std::string DescribeField(std::string_view name, ValueView value) {
  return absl::StrCat("{", DescribeText(name), ": ", Describe(value), "}");
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_DESCRIBE_H_
