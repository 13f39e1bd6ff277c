// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/value.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <msgpack.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

std::string Bytes(std::string_view hex) { return absl::HexStringToBytes(hex); }

ValueView Parsed(const std::string& bytes) {
  absl::StatusOr<ValueView> value = ValueView::Parse(bytes);
  EXPECT_TRUE(value.ok()) << value.status() << " for " << absl::BytesToHexString(bytes);
  return value.ok() ? *value : ValueView();
}

void ExpectRefused(std::string_view hex, absl::StatusCode code, std::string_view message) {
  const std::string bytes = Bytes(hex);
  const absl::Status status = ValueView::Parse(bytes).status();
  EXPECT_EQ(status.code(), code) << hex << ": " << status;
  EXPECT_TRUE(absl::StrContains(status.message(), message)) << hex << ": " << status;
}

void ExpectMalformed(std::string_view hex, std::string_view message) {
  ExpectRefused(hex, absl::StatusCode::kInvalidArgument, message);
}

void ExpectTruncated(std::string_view hex, std::string_view message) {
  ExpectRefused(hex, absl::StatusCode::kOutOfRange, message);
}

TEST(ValueViewTest, DefaultIsNull) {
  const ValueView value;
  EXPECT_TRUE(value.IsNull());
  EXPECT_EQ(value.type(), ValueType::kNull);
  EXPECT_EQ(value.bytes(), "\xc0");
  EXPECT_EQ(value.size(), 0);
  EXPECT_FALSE(value.Find("a").has_value());
}

TEST(ValueViewTest, TypeOfEveryLeadByte) {
  const std::pair<const char*, ValueType> cases[] = {
      {"00", ValueType::kInt64},
      {"7f", ValueType::kInt64},
      {"80", ValueType::kDocument},
      {"90", ValueType::kArray},
      {"a0", ValueType::kString},
      {"c0", ValueType::kNull},
      {"c2", ValueType::kBool},
      {"c3", ValueType::kBool},
      {"c400", ValueType::kBinary},
      {"c50000", ValueType::kBinary},
      {"c600000000", ValueType::kBinary},
      {"c70005", ValueType::kExtension},
      {"c8000005", ValueType::kExtension},
      {"c90000000005", ValueType::kExtension},
      {"c704ff00000000", ValueType::kTimestamp},
      {"c8000cff000000000000000000000000", ValueType::kTimestamp},
      {"ca00000000", ValueType::kDouble},
      {"cb0000000000000000", ValueType::kDouble},
      {"cc00", ValueType::kInt64},
      {"cd0000", ValueType::kInt64},
      {"ceffffffff", ValueType::kInt64},
      {"cf7fffffffffffffff", ValueType::kInt64},
      {"cf8000000000000000", ValueType::kUint64},
      {"d0ff", ValueType::kInt64},
      {"d1ffff", ValueType::kInt64},
      {"d2ffffffff", ValueType::kInt64},
      {"d3ffffffffffffffff", ValueType::kInt64},
      {"d40500", ValueType::kExtension},
      {"d5050000", ValueType::kExtension},
      {"d60500000000", ValueType::kExtension},
      {"d6ff00000000", ValueType::kTimestamp},
      {"d7050000000000000000", ValueType::kExtension},
      {"d7ff0000000000000000", ValueType::kTimestamp},
      {"d80500000000000000000000000000000000", ValueType::kExtension},
      {"d900", ValueType::kString},
      {"da0000", ValueType::kString},
      {"db00000000", ValueType::kString},
      {"dc0000", ValueType::kArray},
      {"dd00000000", ValueType::kArray},
      {"de0000", ValueType::kDocument},
      {"df00000000", ValueType::kDocument},
      {"e0", ValueType::kInt64},
      {"ff", ValueType::kInt64},
  };
  for (const auto& [hex, type] : cases) {
    const std::string bytes = Bytes(hex);
    const ValueView value = Parsed(bytes);
    EXPECT_EQ(TypeName(value.type()), TypeName(type)) << hex;
    EXPECT_EQ(value.IsNull(), type == ValueType::kNull) << hex;
    EXPECT_EQ(value.IsBool(), type == ValueType::kBool) << hex;
    EXPECT_EQ(value.IsString(), type == ValueType::kString) << hex;
    EXPECT_EQ(value.IsArray(), type == ValueType::kArray) << hex;
    EXPECT_EQ(value.IsDocument(), type == ValueType::kDocument) << hex;
    EXPECT_EQ(value.IsNumber(),
              type == ValueType::kInt64 || type == ValueType::kUint64 || type == ValueType::kDouble)
        << hex;
    EXPECT_EQ(value.bytes(), bytes) << hex;
  }
}

TEST(ValueViewTest, IntegersOfEveryWidth) {
  const std::pair<const char*, std::int64_t> cases[] = {
      {"05", 5},
      {"7f", 127},
      {"e0", -32},
      {"ff", -1},
      {"cc05", 5},
      {"ccff", 255},
      {"cd0005", 5},
      {"cdffff", 65535},
      {"ceffffffff", 4294967295},
      {"cf0000000000000005", 5},
      {"cf7fffffffffffffff", INT64_MAX},
      {"d005", 5},
      {"d080", -128},
      {"d18000", -32768},
      {"d10005", 5},
      {"d280000000", -2147483648LL},
      {"d38000000000000000", INT64_MIN},
      {"d30000000000000005", 5},
  };
  for (const auto& [hex, expected] : cases) {
    const std::string bytes = Bytes(hex);
    const ValueView value = Parsed(bytes);
    EXPECT_EQ(value.AsInt64(), expected) << hex;
    EXPECT_EQ(value.ToInt64(), expected) << hex;
    EXPECT_EQ(value.AsDouble(), static_cast<double>(expected)) << hex;
    if (expected >= 0) {
      EXPECT_EQ(value.AsUint64(), static_cast<std::uint64_t>(expected)) << hex;
    }
  }
  const std::string big = Bytes("cfffffffffffffffff");
  EXPECT_EQ(Parsed(big).AsUint64(), UINT64_MAX);
  EXPECT_EQ(Parsed(big).AsDouble(), 18446744073709551616.0);
  EXPECT_EQ(Parsed(big).ToInt64(), std::nullopt);
}

TEST(ValueViewTest, DoublesConvertToIntegersOnlyWhenExact) {
  const auto to_int64 = [](double number) {
    std::string bytes;
    document_internal::AppendDouble(&bytes, number);
    EXPECT_TRUE(Parsed(bytes).AsDouble() == number || std::isnan(number));
    return Parsed(bytes).ToInt64();
  };
  EXPECT_EQ(to_int64(3.0), 3);
  EXPECT_EQ(to_int64(-0.0), 0);
  EXPECT_EQ(to_int64(1.5), std::nullopt);
  EXPECT_EQ(to_int64(-9223372036854775808.0), INT64_MIN);
  EXPECT_EQ(to_int64(9223372036854775808.0), std::nullopt);
  EXPECT_EQ(to_int64(9223372036854774784.0), 9223372036854774784);
  EXPECT_EQ(to_int64(1e300), std::nullopt);
  EXPECT_EQ(to_int64(std::numeric_limits<double>::infinity()), std::nullopt);
  EXPECT_EQ(to_int64(std::numeric_limits<double>::quiet_NaN()), std::nullopt);
  const std::string single = Bytes("ca3fc00000");
  EXPECT_EQ(Parsed(single).AsDouble(), 1.5);
  const std::string text = Bytes("a131");
  EXPECT_EQ(Parsed(text).ToInt64(), std::nullopt);
}

TEST(ValueViewTest, StringsAndBinaryOfEveryHeader) {
  for (const std::size_t size : {0, 1, 31, 32, 255, 256, 65535, 65536}) {
    const std::string content(size, 's');
    std::string bytes;
    document_internal::AppendStringHeader(&bytes, static_cast<std::uint32_t>(size));
    bytes += content;
    EXPECT_EQ(Parsed(bytes).AsString(), content);
    bytes.clear();
    document_internal::AppendBinaryHeader(&bytes, static_cast<std::uint32_t>(size));
    bytes += content;
    EXPECT_EQ(Parsed(bytes).AsBinary(), content);
    bytes.clear();
    document_internal::AppendExtensionHeader(&bytes, -7, static_cast<std::uint32_t>(size));
    bytes += content;
    EXPECT_EQ(Parsed(bytes).ExtensionType(), -7);
    EXPECT_EQ(Parsed(bytes).ExtensionData(), content);
    EXPECT_EQ(Parsed(bytes).type(), ValueType::kExtension);
  }
}

TEST(ValueViewTest, TimestampsInTheirThreeForms) {
  const std::pair<const char*, Timestamp> cases[] = {
      {"d6ffffffffff", {4294967295, 0}},
      {"d7ffee6b27fc00000001", {1, 999999999}},
      {"d7ff00000003ffffffff", {17179869183, 0}},
      {"c70cff3b9ac9ffffffffffffffffff", {-1, 999999999}},
      {"c70cff000000008000000000000000", {INT64_MIN, 0}},
      {"c708ff0000000400000001", {1, 1}},
  };
  for (const auto& [hex, expected] : cases) {
    const std::string bytes = Bytes(hex);
    EXPECT_EQ(Parsed(bytes).type(), ValueType::kTimestamp);
    EXPECT_EQ(Parsed(bytes).AsTimestamp().seconds, expected.seconds) << hex;
    EXPECT_EQ(Parsed(bytes).AsTimestamp().nanoseconds, expected.nanoseconds) << hex;
  }
  ExpectMalformed("d7ffee6b280000000001", "999999999 nanoseconds");
  ExpectMalformed("c70cff3b9aca000000000000000000", "byte 0: expected at most 999999999");
  ExpectMalformed("91d4ff00", "byte 1: expected a timestamp of 4, 8 or 12 bytes, found 1");
  ExpectMalformed("c700ff", "found 0");
  ExpectMalformed("d8ff00000000000000000000000000000000", "found 16");
}

TEST(ValueViewTest, MalformedBytesAreRefusedWithOffsetAndExpectation) {
  ExpectMalformed("c1", "byte 0: expected a value, found the reserved type byte 0xc1");
  ExpectMalformed("9201c1", "byte 2: expected a value, found the reserved");
  ExpectMalformed("0102", "byte 1: expected the end after one value, found 1 more bytes");
  ExpectMalformed("810102", "byte 1: expected a string as key, found type byte 0x01");
  ExpectMalformed("81c0c0", "byte 1: expected a string as key");
  ExpectMalformed("81c40161c0", "byte 1: expected a string as key, found type byte 0xc4");
  ExpectMalformed("82a16101a16102",
                  "byte 4: expected each key once in an object, found \"a\" again");
  // The same key in different encodings.
  ExpectMalformed("82a16101d9016102", "byte 4: expected each key once");
  ExpectMalformed("9181a16182a0c0a0c0", "byte 7: expected each key once in an object, found \"\"");
}

TEST(ValueViewTest, TruncatedBytesAreToldFromMalformedOnes) {
  ExpectTruncated("", "byte 0: expected a value, found the end");
  ExpectTruncated("91", "array of 1 elements needs at least 1 bytes, found 0");
  ExpectTruncated("82a161", "object of 2 entries needs at least 4 bytes, found 2");
  ExpectTruncated("a261", "byte 0: expected 3 bytes for type byte 0xa2, found 2");
  ExpectTruncated("d9", "expected 2 bytes for type byte 0xd9, found 1");
  ExpectTruncated("dbffffffff61", "expected 4294967295 bytes of string, found 1");
  ExpectTruncated("c6ffffffff", "expected 4294967295 bytes of binData, found 0");
  ExpectTruncated("c9ffffffff05", "expected 4294967295 bytes of extension, found 0");
  ExpectTruncated("ddffffffff00", "array of 4294967295 elements needs at least 4294967295");
  ExpectTruncated("dfffffffff00", "object of 4294967295 entries needs at least 8589934590");
  ExpectTruncated("929201", "byte 1: array of 2 elements needs at least 2 bytes, found 1");
  ExpectTruncated("929101", "byte 3: expected a value, found the end");
}

// Cutting a document anywhere must give "truncated", and never read past the end (the exact-size
// heap copy lets a sanitizer see it).
TEST(ValueViewTest, EveryPrefixOfADocumentIsTruncated) {
  std::stringstream stream;
  msgpack::packer<std::stringstream> packer(stream);
  packer.pack_map(4);
  packer.pack("numbers");
  packer.pack_array(3).pack(1).pack(-70000).pack(1.5);
  packer.pack("nested");
  packer.pack_map(1).pack(std::string(40, 'k')).pack(std::string(300, 'v'));
  packer.pack("time");
  packer.pack_ext(12, -1).pack_ext_body("\0\0\0\1\0\0\0\0\0\0\0\1", 12);
  packer.pack("binary");
  packer.pack_bin(3).pack_bin_body("abc", 3);
  const std::string bytes = stream.str();
  Parsed(bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto copy = std::make_unique<char[]>(size);
    std::copy_n(bytes.data(), size, copy.get());
    const absl::Status status = ValueView::Parse({copy.get(), size}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << size << ": " << status;
  }
}

TEST(ValueViewTest, NestingIsLimited) {
  for (const std::string& open : {std::string("\x91"), std::string("\x81\xa1k")}) {
    std::string deepest;
    for (int i = 0; i < 100; ++i) deepest += open;
    EXPECT_TRUE(ValueView::Parse(deepest + '\x01').ok());
    const absl::Status status = ValueView::Parse(deepest + open + '\x01').status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), "deeper than the limit of 100 levels"))
        << status;
  }
  const std::string bytes = Bytes("919101");
  EXPECT_TRUE(ValueView::Parse(bytes, {.depth_max = 2}).ok());
  EXPECT_FALSE(ValueView::Parse(bytes, {.depth_max = 1}).ok());
  EXPECT_TRUE(ValueView::Parse("\x01", {.depth_max = 0}).ok());
  // A bomb of a million levels needs neither stack nor time.
  EXPECT_FALSE(ValueView::Parse(std::string(1'000'000, '\x91')).ok());
  EXPECT_TRUE(ValueView::Parse(std::string(100'000, '\x91') + '\x01', {.depth_max = 100'000}).ok());
}

std::string DocumentOf(const std::vector<std::string>& keys) {
  std::stringstream stream;
  msgpack::packer<std::stringstream> packer(stream);
  packer.pack_map(static_cast<std::uint32_t>(keys.size()));
  for (const std::string& key : keys) packer.pack(key).pack(1);
  return stream.str();
}

// Around the border between comparing pairs and hashing, with duplicates at every pair of places.
TEST(ValueViewTest, DuplicateKeysAreFoundInDocumentsOfAnySize) {
  for (const std::size_t count : {2, 3, 15, 16, 17, 40}) {
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < count; ++i) keys.push_back("some_key_" + std::to_string(i));
    EXPECT_TRUE(ValueView::Parse(DocumentOf(keys)).ok()) << count;
    for (std::size_t i = 1; i < count; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        std::vector<std::string> duplicated = keys;
        duplicated[i] = duplicated[j];
        EXPECT_FALSE(ValueView::Parse(DocumentOf(duplicated)).ok()) << i << " " << j;
      }
    }
  }
  std::vector<std::string> many;
  for (int i = 0; i < 100'000; ++i) many.push_back(std::to_string(i));
  EXPECT_TRUE(ValueView::Parse(DocumentOf(many)).ok());
  many.push_back("77777");
  const absl::Status status = ValueView::Parse(DocumentOf(many)).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "found \"77777\" again")) << status;
}

// Keys of a child, or of a sibling, do not count against the parent.
TEST(ValueViewTest, TheSameKeyAtDifferentPlacesIsNoDuplicate) {
  const std::string bytes = Bytes("82a16181a16181a16101a16281a16101");
  const ValueView value = Parsed(bytes);
  EXPECT_EQ(value.Find("b")->Find("a")->AsInt64(), 1);
  const std::string siblings = Bytes("9281a1610181a16102");
  EXPECT_EQ(Parsed(siblings).At(1)->Find("a")->AsInt64(), 2);
}

// Keys that agree in their first and last bytes and in length share a fingerprint.
TEST(ValueViewTest, SimilarKeysAreNoDuplicates) {
  std::vector<std::string> keys;
  for (char c = 'a'; c <= 'p'; ++c) keys.push_back(std::string("first") + c + "last");
  EXPECT_TRUE(ValueView::Parse(DocumentOf(keys)).ok());
  EXPECT_TRUE(ValueView::Parse(DocumentOf({"", "a", "aa", "aaa", "aaaa", "aaaaa", "b"})).ok());
  EXPECT_TRUE(
      ValueView::Parse(DocumentOf({std::string("\0", 1), std::string("\0\0", 2), ""})).ok());
}

TEST(ValueViewTest, FindInDocuments) {
  const std::string document = Bytes("83a161a3313233a16281a16393010203a0c3");
  const ValueView value = Parsed(document);
  EXPECT_EQ(value.size(), 3);
  EXPECT_EQ(value.Find("a")->AsString(), "123");
  EXPECT_TRUE(value.Find("")->AsBool());
  EXPECT_FALSE(value.Find("A").has_value());
  EXPECT_FALSE(value.Find("c").has_value());
  EXPECT_FALSE(value.Find("0").has_value());
  const ValueView nested = *value.Find("b");
  EXPECT_EQ(nested.bytes(), Bytes("81a16393010203"));
  EXPECT_EQ(nested.Find("c")->bytes(), Bytes("93010203"));
  EXPECT_EQ(nested.Find("c")->Find("2")->AsInt64(), 3);
  EXPECT_FALSE(value.Find("a")->Find("0").has_value());
}

TEST(ValueViewTest, FindInArraysTakesPlainPositionsOnly) {
  const std::string bytes = Bytes("dc000c000102030405060708090a0b");
  const ValueView value = Parsed(bytes);
  EXPECT_EQ(value.Find("0")->AsInt64(), 0);
  EXPECT_EQ(value.Find("11")->AsInt64(), 11);
  for (const char* position : {"12", "", "-1", "+1", "01", "00", "1 ", "1.0", "a", "4294967296",
                               "18446744073709551616", "99999999999999999999"}) {
    EXPECT_FALSE(value.Find(position).has_value()) << position;
  }
  EXPECT_EQ(value.At(11)->AsInt64(), 11);
  EXPECT_FALSE(value.At(12).has_value());
}

TEST(ValueViewTest, RangesGiveEveryElementWithItsBytes) {
  const std::string array = Bytes("9401a16181a1780293c0c2c3");
  std::vector<std::string> elements;
  for (const ValueView element : Parsed(array).elements()) {
    elements.push_back(absl::BytesToHexString(element.bytes()));
  }
  EXPECT_EQ(elements, (std::vector<std::string>{"01", "a161", "81a17802", "93c0c2c3"}));

  const std::string document = Bytes("82a1619101a1629102");
  std::vector<std::string> entries;
  for (const auto& [key, value] : Parsed(document).entries()) {
    entries.push_back(std::string(key) + "=" + absl::BytesToHexString(value.bytes()));
  }
  EXPECT_EQ(entries, (std::vector<std::string>{"a=9101", "b=9102"}));

  const std::string empty = Bytes("9280de0000");
  EXPECT_TRUE(Parsed(empty).At(0)->entries().empty());
  EXPECT_EQ(Parsed(empty).At(1)->entries().begin(), Parsed(empty).At(1)->entries().end());
  static_assert(std::forward_iterator<ElementRange::iterator>);
  static_assert(std::forward_iterator<EntryRange::iterator>);
}

TEST(ValueViewTest, ParsePrefixTakesTheFirstOfManyValues) {
  const std::string bytes = Bytes(
      "81a16101"
      "c1");
  const absl::StatusOr<ValueView> value = ValueView::ParsePrefix(bytes);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->bytes().size(), 4);
  EXPECT_EQ(ValueView::ParsePrefix(std::string_view(bytes).substr(4)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ValueView::ParsePrefix("").status().code(), absl::StatusCode::kOutOfRange);
}

TEST(ValueViewTest, TypeNamesAreDistinct) {
  std::vector<std::string> names;
  for (int type = 0; type <= static_cast<int>(ValueType::kExtension); ++type) {
    names.emplace_back(TypeName(static_cast<ValueType>(type)));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"null", "bool", "int", "uint", "double", "string",
                                             "binData", "date", "array", "object", "extension"}));
}

}  // namespace
}  // namespace alos
