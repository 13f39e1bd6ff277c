// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// An `_id` in an error message.

#ifndef ALOS_ENGINE_INTERNAL_DESCRIBE_ID_H_
#define ALOS_ENGINE_INTERNAL_DESCRIBE_ID_H_

#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"

namespace alos::engine_internal {

// `encoded` may be damaged.
inline std::string DescribeId(std::string_view encoded) {
  const absl::StatusOr<ValueView> id = ValueView::Parse(encoded);
  if (!id.ok())
    return absl::StrCat("(unreadable: ", absl::BytesToHexString(encoded.substr(0, 64)), ")");
  switch (id->type()) {
    case ValueType::kString:
      return absl::StrCat("\"", absl::Utf8SafeCEscape(id->AsString()), "\"");
    case ValueType::kInt64:
      return absl::StrCat(id->AsInt64());
    case ValueType::kUint64:
      return absl::StrCat(id->AsUint64());
    case ValueType::kDouble:
      return absl::StrCat(id->AsDouble());
    case ValueType::kBool:
      return id->AsBool() ? "true" : "false";
    default:
      return absl::StrCat(TypeName(id->type()), " ", absl::BytesToHexString(encoded));
  }
}

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_DESCRIBE_ID_H_
