// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/shell_text.h"

#include <string_view>

#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

TEST(ShellTextTest, RoundTrips) {
  for (const std::string_view text :
       {"null", "true", "-7", "1.5", "2.0", "NaN", "-Infinity", "18446744073709551615", "'x y'",
        "[]", "{}", "{a: 1, b.c: [1, {$d: null}], 'e f': 'g'}", "time(-5)", "bin('x')",
        "ext(7, 'y')", "{a: [[], [1, 2]], '': {}}"}) {
    const ShellDocument document(text);
    ASSERT_TRUE(ValueView::Parse(document.bytes()).ok()) << text;
    EXPECT_EQ(ToShellText(document.view()), text);
  }
}

TEST(ShellTextTest, TakesManyStyles) {
  EXPECT_EQ(ToShellText(ShellDocument(" { \"a\" : \"x\" , b:1,}").view()), "{a: 'x', b: 1}");
}

TEST(ShellTextDeathTest, RefusesMalformedText) {
  EXPECT_DEATH(ShellDocument("{a: }"), "malformed");
  EXPECT_DEATH(ShellDocument("{a: 1"), "malformed");
  EXPECT_DEATH(ShellDocument("1 2"), "malformed");
}

}  // namespace
}  // namespace alos::query_internal
