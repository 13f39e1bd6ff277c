// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/compare.h"

#include <cmath>
#include <compare>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "alos/document/builder.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTwoTo53 = 9007199254740992.0;

std::string Built(const std::function<void(Builder&)>& build) {
  std::string bytes;
  Builder builder(&bytes);
  build(builder);
  EXPECT_TRUE(ValueView::Parse(bytes).ok()) << absl::BytesToHexString(bytes);
  return bytes;
}
std::string Int(std::int64_t value) {
  return Built([&](Builder& b) { b.Int(value); });
}
std::string Uint(std::uint64_t value) {
  return Built([&](Builder& b) { b.Uint(value); });
}
std::string Double(double value) {
  return Built([&](Builder& b) { b.Double(value); });
}
std::string String(std::string_view value) {
  return Built([&](Builder& b) { b.String(value); });
}
std::string Binary(std::string_view value) {
  return Built([&](Builder& b) { b.Binary(value); });
}
std::string Time(std::int64_t seconds, std::uint32_t nanoseconds) {
  return Built([&](Builder& b) { b.Time({seconds, nanoseconds}); });
}
std::string Array(const std::vector<std::string>& elements) {
  return Built([&](Builder& b) {
    b.StartArray();
    for (const std::string& element : elements) b.Raw(ValueView::FromTrusted(element));
    b.EndArray();
  });
}
std::string Object(const std::vector<std::pair<std::string, std::string>>& entries) {
  return Built([&](Builder& b) {
    b.StartDocument();
    for (const auto& [key, value] : entries) b.Key(key).Raw(ValueView::FromTrusted(value));
    b.EndDocument();
  });
}
std::string Extension(std::int8_t type, std::string_view data) {
  return Built([&](Builder& b) { b.Extension(type, data); });
}

std::weak_ordering Order(const std::string& a, const std::string& b) {
  return Compare(ValueView::FromTrusted(a), ValueView::FromTrusted(b));
}
std::uint64_t Hash(const std::string& bytes) { return HashValue(ValueView::FromTrusted(bytes)); }

const std::string kNull = "\xc0";
const std::string kFalse = "\xc2";
const std::string kTrue = "\xc3";

// Every value here is less than all that follow it. Checked for all pairs, both ways.
std::vector<std::string> Ascending() {
  return {
      kNull,
      Double(kNan),
      Double(-kInfinity),
      Double(-1e300),
      Double(-9223372036854777856.0),  // the double below -2^63
      Int(INT64_MIN),
      Int(INT64_MIN + 1),
      Double(-9223372036854774784.0),
      Int(-9007199254740993),  // -(2^53 + 1): not a double
      Double(-kTwoTo53),
      Int(-70000),
      Double(-1.5),
      Int(-1),
      Double(-0.5),
      Int(0),
      Double(std::numeric_limits<double>::denorm_min()),
      Double(0.5),
      Int(1),
      Double(1.5),
      Int(2),
      Int(9007199254740991),
      Double(kTwoTo53),
      Int(9007199254740993),
      Double(9007199254740994.0),
      Double(9223372036854774784.0),  // the double below 2^63
      Int(INT64_MAX),
      Double(9223372036854775808.0),
      Uint(9223372036854775809U),
      Double(9223372036854777856.0),
      Uint(18446744073709551614U),
      Uint(UINT64_MAX),
      Double(18446744073709551616.0),
      Double(1e300),
      Double(kInfinity),
      String(""),
      String(std::string_view("\0", 1)),
      String("A"),
      String("a"),
      String("aa"),
      String("b"),
      String("\x7f"),
      String("\xc3\xa9"),          // é
      String("\xf0\x90\x80\x80"),  // beyond the BMP: byte order is code point order
      Object({}),
      Object({{"b", kNull}}),  // the type of the value counts before the key
      Object({{"a", Int(1)}}),
      Object({{"a", Int(1)}, {"b", Int(1)}}),
      Object({{"a", Int(2)}}),
      Object({{"b", Int(1)}}),
      Object({{"b", Int(1)}, {"a", Int(1)}}),
      Object({{"a", String("x")}}),
      Object({{"a", Object({{"z", Int(1)}})}}),
      Object({{"a", Object({{"z", Int(2)}})}}),
      Array({}),
      Array({kNull}),
      Array({Int(1)}),
      Array({Int(1), Int(1)}),
      Array({Int(2)}),
      Array({String("")}),
      Array({Array({Int(1)}), Int(5)}),
      Array({Array({Int(1)}), Int(6)}),
      Binary(""),
      Binary("b"),
      Binary("\xff"),
      Binary("aa"),  // the shorter one first
      kFalse,
      kTrue,
      Time(INT64_MIN, 0),
      Time(-1, 0),
      Time(-1, 999999999),
      Time(0, 0),
      Time(0, 1),
      Time(1, 0),
      Time(5000000000, 0),
      Time(INT64_MAX, 999999999),
      Extension(-128, "z"),
      Extension(-2, ""),
      Extension(0, ""),
      Extension(0, "a"),
      Extension(0, "aa"),
      Extension(0, "b"),
      Extension(127, ""),
  };
}

TEST(CompareTest, TheWholeOrder) {
  const std::vector<std::string> values = Ascending();
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = 0; j < values.size(); ++j) {
      const ValueView a = ValueView::FromTrusted(values[i]);
      const ValueView b = ValueView::FromTrusted(values[j]);
      EXPECT_TRUE(Compare(a, b) == (i <=> j))
          << absl::BytesToHexString(values[i]) << " and " << absl::BytesToHexString(values[j]);
      EXPECT_EQ(Equal(a, b), i == j);
      // Not a law, but with 64 bits and this list a collision would be a defect.
      EXPECT_EQ(HashValue(a) == HashValue(b), i == j)
          << absl::BytesToHexString(values[i]) << " and " << absl::BytesToHexString(values[j]);
    }
  }
}

TEST(CompareTest, EqualValuesInDifferentEncodings) {
  const auto hex = [](std::string_view digits) { return absl::HexStringToBytes(digits); };
  const std::vector<std::vector<std::string>> classes = {
      {Int(1), hex("cc01"), hex("cd0001"), hex("ce00000001"), hex("cf0000000000000001"),
       hex("d001"), hex("d10001"), hex("d200000001"), hex("d30000000000000001"), Double(1.0),
       hex("ca3f800000")},
      {Int(0), Double(0.0), Double(-0.0), hex("ca80000000")},
      {Double(kNan), Double(-kNan), hex("ca7fc00000"), hex("cb7ff0000000000001")},
      {Int(-1), Double(-1.0), hex("d3ffffffffffffffff")},
      {Double(1.5), hex("ca3fc00000")},
      {Uint(9223372036854775808U), Double(9223372036854775808.0)},
      {Int(INT64_MIN), Double(-9223372036854775808.0)},
      {String("ab"), hex("d9026162"), hex("da00026162"), hex("db000000026162")},
      {Binary("ab"), hex("c500026162"), hex("c6000000026162")},
      {Time(1, 0), hex("d7ff0000000000000001"), hex("c70cff000000000000000000000001"),
       hex("c704ff00000001")},
      {Array({Int(1)}), hex("dc000101"), hex("dd00000001cc01"), Array({Double(1)})},
      {Object({{"a", Int(1)}}), hex("de0001a16101"), hex("df00000001d90161cc01")},
      {Extension(5, "a"), hex("c7010561"),
       hex("c900000001"
           "0561")},
  };
  for (const auto& values : classes) {
    for (const std::string& a : values) {
      for (const std::string& b : values) {
        EXPECT_TRUE(Order(a, b) == 0)
            << absl::BytesToHexString(a) << " " << absl::BytesToHexString(b);
        EXPECT_TRUE(Equal(ValueView::FromTrusted(a), ValueView::FromTrusted(b)));
        EXPECT_EQ(Hash(a), Hash(b))
            << absl::BytesToHexString(a) << " " << absl::BytesToHexString(b);
        EXPECT_TRUE(Order(Array({a, Int(1)}), Array({b, Int(2)})) < 0);
      }
    }
  }
}

TEST(CompareTest, TheSeedChangesTheHash) {
  for (const std::string& bytes : Ascending()) {
    EXPECT_NE(HashValue(ValueView::FromTrusted(bytes), 1),
              HashValue(ValueView::FromTrusted(bytes), 2));
  }
}

// The hash may be stored: it must not change.
TEST(CompareTest, TheHashIsFixed) {
  EXPECT_EQ(Hash(Object({{"a", Array({Int(1), String("x"), Double(1.5)})}})),
            Hash(Object({{"a", Array({Double(1.0), String("x"), Double(1.5)})}})));
  EXPECT_EQ(Hash(Int(1)), 654712062191664881U);
  EXPECT_EQ(Hash(String("alos")), 14769282962359042917U);
  EXPECT_EQ(Hash(Object({{"a", Array({Int(1), kNull})}})), 10904736026507466002U);
}

// The order of random numbers against long double, which holds every int64, uint64 and double.
TEST(CompareTest, NumbersAgreeWithExactArithmetic) {
  static_assert(std::numeric_limits<long double>::digits >= 64);
  std::mt19937_64 random(7);
  std::vector<std::pair<std::string, long double>> numbers;
  for (int i = 0; i < 400; ++i) {
    // Close to powers of two, where rounding shows.
    const std::uint64_t near = (std::uint64_t{1} << (random() % 64)) + random() % 5 - 2;
    const auto near_signed = static_cast<std::int64_t>(near);
    numbers.emplace_back(Uint(near), near);
    numbers.emplace_back(Int(near_signed), near_signed);
    numbers.emplace_back(Int(-(near_signed / 2)), -(near_signed / 2));
    const double rounded = static_cast<double>(near) * (i % 2 == 0 ? 1 : -1);
    numbers.emplace_back(Double(rounded), rounded);
    numbers.emplace_back(Double(std::nextafter(rounded, 0)), std::nextafter(rounded, 0));
  }
  for (const auto& [a, a_value] : numbers) {
    for (const auto& [b, b_value] : numbers) {
      const auto expected = a_value < b_value   ? std::weak_ordering::less
                            : a_value > b_value ? std::weak_ordering::greater
                                                : std::weak_ordering::equivalent;
      ASSERT_TRUE(Order(a, b) == expected)
          << absl::BytesToHexString(a) << " " << absl::BytesToHexString(b);
      if (expected == 0) {
        ASSERT_EQ(Hash(a), Hash(b)) << absl::BytesToHexString(a);
      }
    }
  }
}

TEST(CompareTest, DeeplyNestedValues) {
  std::string a(99, '\x91');
  std::string b = a;
  a += "\x91\x01";
  b += "\x91\x02";
  EXPECT_TRUE(Order(a, b) < 0);
  EXPECT_TRUE(Order(a, a) == 0);
  EXPECT_NE(Hash(a), Hash(b));
}

TEST(CompareTest, TypeRankFollowsTheOrder) {
  const std::vector<std::string> values = Ascending();
  for (std::size_t i = 1; i < values.size(); ++i) {
    EXPECT_LE(TypeRank(ValueView::FromTrusted(values[i - 1]).type()),
              TypeRank(ValueView::FromTrusted(values[i]).type()));
  }
}

}  // namespace
}  // namespace alos
