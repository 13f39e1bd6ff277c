// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/field_path.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

std::string ErrorOf(std::string_view path) {
  const auto parsed = ParseFieldPath(path);
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

TEST(FieldPathTest, TakesNamesAndPositions) {
  EXPECT_EQ(ErrorOf("a"), "");
  EXPECT_EQ(ErrorOf("a.0.b$"), "");
  EXPECT_EQ(ParseFieldPath("a.0")->parts().size(), 2u);
}

TEST(FieldPathTest, RefusesOperatorsByName) {
  EXPECT_NE(ErrorOf("a.$").find("positional operator $ in the path 'a.$'"), std::string::npos);
  EXPECT_NE(ErrorOf("a.$[x].b").find("positional operator $[x]"), std::string::npos);
  EXPECT_NE(ErrorOf("$a").find("'$a'"), std::string::npos);
  EXPECT_NE(ErrorOf("a.$b").find("begins with '$'"), std::string::npos);
  EXPECT_NE(ErrorOf(""), "");
  EXPECT_NE(ErrorOf("a..b"), "");
}

}  // namespace
}  // namespace alos::query_internal
