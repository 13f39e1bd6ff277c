// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/describe.h"

#include <string>
#include <string_view>

#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

std::string Of(std::string_view text) { return Describe(ShellDocument(text).view()); }

TEST(DescribeTest, ScalarsInFullContainersBySize) {
  EXPECT_EQ(Of("null"), "null");
  EXPECT_EQ(Of("true"), "true");
  EXPECT_EQ(Of("-5"), "-5");
  EXPECT_EQ(Of("18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(Of("1.5"), "1.5");
  EXPECT_EQ(Of("'x'"), "\"x\"");
  EXPECT_EQ(Of("[1, [2]]"), "[2 elements]");
  EXPECT_EQ(Of("{a: {b: 1}}"), "{1 fields}");
  EXPECT_EQ(Of("time(5)"), "a date");
  EXPECT_EQ(Of("bin('x')"), "a binData");
}

TEST(DescribeTest, LongAndUnprintableTextIsMadeSafe) {
  EXPECT_EQ(DescribeText(std::string(64, 'a')), std::string(64, 'a'));
  EXPECT_EQ(DescribeText(std::string(65, 'a')), std::string(64, 'a') + "...");
  EXPECT_EQ(DescribeText("a\nb\x01"), "a\\nb\\x01");
  EXPECT_EQ(DescribeField("n", ShellDocument("7").view()), "{n: 7}");
}

}  // namespace
}  // namespace alos::query_internal
