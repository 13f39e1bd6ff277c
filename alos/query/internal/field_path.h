// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Paths that name a field to be written, shown or sorted by.

#ifndef ALOS_QUERY_INTERNAL_FIELD_PATH_H_
#define ALOS_QUERY_INTERNAL_FIELD_PATH_H_

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/document/path.h"
#include "alos/query/internal/describe.h"

namespace alos::query_internal {

// "$", "$[]" or "$[identifier]".
inline bool IsPositionalOperator(std::string_view part) {
  return part == "$" || (part.starts_with("$[") && part.ends_with("]"));
}

// As Path::Parse, and refuses parts that begin with '$'.
// Errors: kInvalidArgument naming the path and the part.
inline absl::StatusOr<Path> ParseFieldPath(std::string_view dotted) {
  absl::StatusOr<Path> path = Path::Parse(dotted);
  if (!path.ok()) return path;
  for (const std::string& part : path->parts()) {
    if (IsPositionalOperator(part)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the positional operator ", DescribeText(part), " in the path '", DescribeText(dotted),
          "' is not supported here; name the array position instead"));
    }
    if (part[0] == '$') {
      return absl::InvalidArgumentError(absl::StrCat("the field name '", DescribeText(part),
                                                     "' in the path '", DescribeText(dotted),
                                                     "' begins with '$', which is kept for "
                                                     "operators"));
    }
  }
  return path;
}

// As ParseFieldPath, but takes positional operators: $ once at most, and none as the first part.
inline absl::StatusOr<Path> ParseUpdatePath(std::string_view dotted) {
  absl::StatusOr<Path> path = Path::Parse(dotted);
  if (!path.ok()) return path;
  const absl::Span<const std::string> parts = path->parts();
  if (std::none_of(parts.begin(), parts.end(), IsPositionalOperator)) return ParseFieldPath(dotted);
  if (IsPositionalOperator(parts[0])) {
    return absl::InvalidArgumentError(
        absl::StrCat("the path '", DescribeText(dotted), "' begins with the positional operator ",
                     DescribeText(parts[0]), ", which needs the array's name before it"));
  }
  if (std::count(parts.begin(), parts.end(), "$") > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the path '", DescribeText(dotted),
                     "' has the positional operator $ more than once; for arrays within arrays use "
                     "$[identifier] with array filters"));
  }
  for (const std::string& part : parts) {
    if (part[0] != '$' || IsPositionalOperator(part)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the field name '", DescribeText(part), "' in the path '",
                     DescribeText(dotted), "' begins with '$', which is kept for operators"));
  }
  return path;
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_FIELD_PATH_H_
