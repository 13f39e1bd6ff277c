// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/update_program.h"

#include <string>
#include <string_view>

#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

bool Same(std::string_view a, std::string_view b) {
  return Identical(ShellDocument(a).view(), ShellDocument(b).view());
}

TEST(UpdateProgramTest, IdenticalIsStricterThanEqual) {
  EXPECT_TRUE(Same("1", "1"));
  EXPECT_FALSE(Same("1", "1.0"));
  EXPECT_FALSE(Same("0.0", "-0.0"));
  EXPECT_TRUE(Same("NaN", "NaN"));
  EXPECT_TRUE(Same("{a: [1]}", "{a: [1]}"));
  EXPECT_FALSE(Same("{a: [1]}", "{a: [1.0]}"));
  // The same integer in a wider encoding.
  EXPECT_TRUE(Identical(ShellDocument("5").view(),
                        ValueView::FromTrusted(std::string_view("\xd1\x00\x05", 3))));
}

TEST(UpdateProgramTest, ContainerDepth) {
  EXPECT_EQ(ContainerDepth(ShellDocument("1").view()), 0u);
  EXPECT_EQ(ContainerDepth(ShellDocument("{}").view()), 1u);
  EXPECT_EQ(ContainerDepth(ShellDocument("{a: 1, b: [[], {c: {}}]}").view()), 4u);
}

TEST(UpdateProgramTest, ValueSetGoesByEqual) {
  const ShellDocument one("1"), also_one("1.0"), two("2");
  ValueSet set;
  EXPECT_TRUE(set.insert(one.view()).second);
  EXPECT_FALSE(set.insert(also_one.view()).second);
  EXPECT_TRUE(set.contains(also_one.view()));
  EXPECT_FALSE(set.contains(two.view()));
}

}  // namespace
}  // namespace alos::query_internal
