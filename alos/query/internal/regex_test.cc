// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/regex.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

bool Matches(std::string_view pattern, std::string_view options, std::string_view text) {
  const auto regex = CompileRegex(pattern, options);
  EXPECT_TRUE(regex.ok()) << regex.status();
  return regex.ok() && MatchesRegex(**regex, text);
}

TEST(RegexTest, ExtendedPatternsLoseSpaceAndComments) {
  EXPECT_EQ(StripExtendedPattern("a b\tc\nd"), "abcd");
  EXPECT_EQ(StripExtendedPattern("a # comment\nb # another"), "ab");
  EXPECT_EQ(StripExtendedPattern("a\\ b\\#c"), "a\\ b\\#c");
  EXPECT_EQ(StripExtendedPattern("[ #] x"), "[ #]x");
  EXPECT_EQ(StripExtendedPattern("[] ] x"), "[] ]x");
  EXPECT_EQ(StripExtendedPattern("[^] ] x"), "[^] ]x");
  EXPECT_EQ(StripExtendedPattern("[\\] ] x"), "[\\] ]x");
  EXPECT_EQ(StripExtendedPattern("a\\"), "a\\");
}

TEST(RegexTest, Options) {
  EXPECT_TRUE(Matches("AB", "i", "xab"));
  EXPECT_FALSE(Matches("AB", "", "xab"));
  EXPECT_TRUE(Matches("^b$", "m", "a\nb\nc"));
  EXPECT_FALSE(Matches("^b$", "", "a\nb\nc"));
  EXPECT_TRUE(Matches("a.c", "s", "a\nc"));
  EXPECT_TRUE(Matches("a . c", "sx", "a\nc"));
  EXPECT_TRUE(Matches("é.", "u", "éß"));
}

TEST(RegexTest, TextNeedNotBeUtf8) {
  EXPECT_TRUE(Matches("^a", "", std::string_view("a\xff\xfe\0b", 5)));
  EXPECT_FALSE(Matches("b$", "", "a\xff"));
}

TEST(RegexTest, HostilePatternsAreLinearOrRefused) {
  EXPECT_FALSE(Matches("(a*)*b", "", std::string(100000, 'a')));
  EXPECT_FALSE(CompileRegex("(\\pL){1000}", "").ok());
  EXPECT_FALSE(CompileRegex("\xff", "").ok());
  EXPECT_FALSE(CompileRegex(std::string(1025, 'a'), "").ok());
}

}  // namespace
}  // namespace alos::query_internal
