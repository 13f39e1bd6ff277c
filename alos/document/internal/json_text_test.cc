// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/internal/json_text.h"

#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "simdjson.h"

namespace alos::document_internal {
namespace {

bool SimdjsonAccepts(std::string_view text) {
  simdjson::dom::parser parser;
  return parser.parse(std::string(text)).error() == simdjson::SUCCESS;
}

struct Case {
  std::string text;
  std::size_t offset;
  const char* message;
};

TEST(JsonCheckerTest, FaultsHaveAPlaceAndAnExpectation) {
  const Case cases[] = {
      {"", 0, "expected a value, found the end"},
      {"  \n ", 4, "expected a value, found the end"},
      {"{", 1, "expected a key in double quotes, found the end"},
      {"{a:1}", 1, "expected a key in double quotes, found 'a'"},
      {"{'a':1}", 1, "expected a key in double quotes, found '''"},
      {"{\"a\" 1}", 5, "expected ':' after a key, found '1'"},
      {"{\"a\":}", 5, "expected a value, found '}'"},
      {"{\"a\":1", 6, "expected ',' or '}', found the end"},
      {"{\"a\":1,}", 7, "expected a key in double quotes, found '}'"},
      {"{\"a\":1]", 6, "expected ',' or '}', found ']'"},
      {"[1 2]", 3, "expected ',' or ']', found '2'"},
      {"[1,]", 3, "expected a value, found ']'"},
      {"[1,2", 4, "expected ',' or ']', found the end"},
      {"[[[]]", 5, "expected ',' or ']', found the end"},
      {"1 2", 2, "expected the end after one value, found '2'"},
      {"{}}", 2, "expected the end after one value, found '}'"},
      {"tru", 3, "expected the value true, found the end"},
      {"nul1", 3, "expected the value null, found '1'"},
      {"truex", 4, "expected the end of the value, found 'x'"},
      {"NaN", 0, "expected a value, found 'N'"},
      {"01", 0, "without leading zeros"},
      {"-", 1, "expected a digit, found the end"},
      {"+1", 0, "expected a value, found '+'"},
      {"1.", 2, "expected a digit after the decimal point"},
      {".5", 0, "expected a value, found '.'"},
      {"1e", 2, "expected a digit in the exponent"},
      {"1x", 1, "expected the end of the value, found 'x'"},
      {"[1e400]", 1, "within the range of a double"},
      {"[-1e400]", 1, "within the range of a double"},
      {"\"abc", 4, "to end the string that began 4 bytes before"},
      {"\"a\nb\"", 2, "before the end of the line, found byte 0x0a"},
      {"\"a\tb\"", 2, "control characters in a string to be escaped, found byte 0x09"},
      {"\"\\x\"", 2, "expected one of"},
      {"\"\\", 2, "expected a character after"},
      {"\"\\u12g4\"", 5, "four hexadecimal digits"},
      {"\"\\ud800\"", 1, "surrogates in pairs"},
      {"\"\\udc00\\ud800\"", 1, "surrogates in pairs"},
      {"\"\\ud800\\u0041\"", 1, "surrogates in pairs"},
      {"\"ab\x80\"", 3, "expected valid UTF-8, found byte 0x80"},
      {"\"\xc0\xaf\"", 1, "valid UTF-8"},
      {"\"\xed\xa0\x80\"", 1, "valid UTF-8"},
      {"\"\xf4\x90\x80\x80\"", 1, "valid UTF-8"},
      {"\"\xe2\x82\"", 1, "valid UTF-8"},
  };
  for (const Case& c : cases) {
    const std::optional<JsonFault> fault = JsonChecker(c.text, 100).Run();
    ASSERT_TRUE(fault.has_value()) << c.text;
    EXPECT_EQ(fault->offset, c.offset) << c.text << ": " << fault->message;
    EXPECT_TRUE(absl::StrContains(fault->message, c.message)) << c.text << ": " << fault->message;
    EXPECT_FALSE(SimdjsonAccepts(c.text)) << c.text;
  }
}

TEST(JsonCheckerTest, FindsNothingInJson) {
  for (const char* text : {"null",
                           " true ",
                           "false",
                           "0",
                           "-0",
                           "-0.0",
                           "1e5",
                           "1E+5",
                           "1.5e-5",
                           "1e-400",
                           "[]",
                           "{}",
                           "[ ]",
                           "{ }",
                           "[[],{}]",
                           "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"e\"}",
                           "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
                           "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
                           "\"\"",
                           "[1 , 2\n,\t3]",
                           "\"\x7f\""}) {
    const std::optional<JsonFault> fault = JsonChecker(text, 100).Run();
    EXPECT_FALSE(fault.has_value()) << text << ": " << fault->message << " at " << fault->offset;
    EXPECT_TRUE(SimdjsonAccepts(text)) << text;
  }
}

TEST(JsonCheckerTest, NestingIsLimitedWithoutRecursion) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_FALSE(JsonChecker(nested(100), 99 + 1).Run().has_value());
  // The innermost, empty one counts.
  const std::optional<JsonFault> fault = JsonChecker(nested(101), 100).Run();
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->offset, 100);
  EXPECT_TRUE(absl::StrContains(fault->message, "nested too deep")) << fault->message;
  EXPECT_FALSE(JsonChecker(nested(1'000'000), 1'000'000).Run().has_value());
}

TEST(WidenIntegersTest, OnlyIntegersBeyond64BitsChange) {
  EXPECT_EQ(WidenIntegers("[1,18446744073709551615,-9223372036854775808,1.5,1e400]"), std::nullopt);
  EXPECT_EQ(WidenIntegers("{\"99999999999999999999\":\"a\\\"99999999999999999999\"}"),
            std::nullopt);
  EXPECT_EQ(WidenIntegers("[18446744073709551616, -9223372036854775809 ,1]"),
            "[18446744073709551616e0, -9223372036854775809e0 ,1]");
  EXPECT_EQ(WidenIntegers("100000000000000000000"), "100000000000000000000e0");
  EXPECT_EQ(WidenIntegers("\"\\"), std::nullopt);
  EXPECT_EQ(WidenIntegers(""), std::nullopt);
}

}  // namespace
}  // namespace alos::document_internal
