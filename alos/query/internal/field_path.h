// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Paths that name a field to be written, shown or sorted by.

#ifndef ALOS_QUERY_INTERNAL_FIELD_PATH_H_
#define ALOS_QUERY_INTERNAL_FIELD_PATH_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/document/path.h"
#include "alos/query/internal/describe.h"

namespace alos::query_internal {

// As Path::Parse, and refuses parts that begin with '$'.
// Errors: kInvalidArgument naming the path and the part.
inline absl::StatusOr<Path> ParseFieldPath(std::string_view dotted) {
  absl::StatusOr<Path> path = Path::Parse(dotted);
  if (!path.ok()) return path;
  for (const std::string& part : path->parts()) {
    if (part == "$" || part.starts_with("$[")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the positional operator ", DescribeText(part), " in the path '", DescribeText(dotted),
          "' is not supported yet; name the array position instead"));
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

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_FIELD_PATH_H_
