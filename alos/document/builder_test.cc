// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/builder.h"

#include <cstdint>
#include <limits>
#include <msgpack.hpp>
#include <sstream>
#include <string>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

TEST(BuilderTest, WritesTheExampleOfTheHeader) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("name").String("Ada");
  builder.Key("tags").StartArray();
  builder.Int(1).Int(2);
  builder.EndArray();
  builder.EndDocument();
  EXPECT_EQ(bytes,
            "\x82\xa4name\xa3"
            "Ada\xa4tags\x92\x01\x02");
  EXPECT_EQ(builder.depth(), 0);
}

TEST(BuilderTest, EveryScalarReadsBack) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartArray();
  builder.Null().Bool(true).Bool(false).Int(-5).Uint(UINT64_MAX).Double(1.5);
  builder.String("text").Binary(std::string("\x00\xff", 2)).Time({-1, 5}).Extension(9, "data");
  builder.EndArray();
  const absl::StatusOr<ValueView> array = ValueView::Parse(bytes);
  ASSERT_TRUE(array.ok()) << array.status();
  ASSERT_EQ(array->size(), 10);
  EXPECT_TRUE(array->At(0)->IsNull());
  EXPECT_TRUE(array->At(1)->AsBool());
  EXPECT_FALSE(array->At(2)->AsBool());
  EXPECT_EQ(array->At(3)->AsInt64(), -5);
  EXPECT_EQ(array->At(4)->AsUint64(), UINT64_MAX);
  EXPECT_EQ(array->At(5)->AsDouble(), 1.5);
  EXPECT_EQ(array->At(6)->AsString(), "text");
  EXPECT_EQ(array->At(7)->AsBinary(), std::string("\x00\xff", 2));
  EXPECT_EQ(array->At(8)->AsTimestamp(), (Timestamp{-1, 5}));
  EXPECT_EQ(array->At(9)->ExtensionType(), 9);
  EXPECT_EQ(array->At(9)->ExtensionData(), "data");
}

// The header of a container grows when it is closed, below other open containers: what msgpack-cxx
// writes with known counts must come out, for every width of the header.
TEST(BuilderTest, CountsFoundAtTheEndGiveTheSmallestHeader) {
  for (const std::uint32_t count : {0U, 1U, 15U, 16U, 17U, 65535U, 65536U, 70000U}) {
    std::stringstream expected;
    msgpack::packer<std::stringstream> packer(expected);
    packer.pack_array(2);
    packer.pack_array(count);
    for (std::uint32_t i = 0; i < count; ++i) packer.pack(i);
    packer.pack_map(count);
    for (std::uint32_t i = 0; i < count; ++i) packer.pack(std::to_string(i)).pack(i);

    for (const bool announce : {false, true}) {
      std::string bytes = "before";
      Builder builder(&bytes);
      builder.StartArray();
      announce ? builder.StartArray(count) : builder.StartArray();
      for (std::uint32_t i = 0; i < count; ++i) builder.Int(i);
      builder.EndArray();
      announce ? builder.StartDocument(count) : builder.StartDocument();
      for (std::uint32_t i = 0; i < count; ++i) builder.Key(std::to_string(i)).Uint(i);
      builder.EndDocument();
      builder.EndArray();
      EXPECT_TRUE(bytes == "before" + expected.str()) << count << " announced: " << announce;
    }
  }
}

TEST(BuilderTest, NestedContainersThatBothGrow) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartArray();
  for (int i = 0; i < 40; ++i) {
    builder.StartDocument();
    for (int j = 0; j < 20; ++j) builder.Key(std::to_string(j)).Int(i * j);
    builder.EndDocument();
  }
  builder.EndArray();
  const absl::StatusOr<ValueView> array = ValueView::Parse(bytes);
  ASSERT_TRUE(array.ok()) << array.status();
  ASSERT_EQ(array->size(), 40);
  int i = 0;
  for (const ValueView element : array->elements()) {
    ASSERT_EQ(element.size(), 20);
    EXPECT_EQ(element.Find("19")->AsInt64(), i * 19);
    ++i;
  }
}

TEST(BuilderTest, RawCopiesTheEncodingAsItIs) {
  std::string source = "\x92\xcd";  // 5 as uint16, then nil
  source += std::string("\x00\x05\xc0", 3);
  const absl::StatusOr<ValueView> value = ValueView::Parse(source);
  ASSERT_TRUE(value.ok()) << value.status();
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument().Key("a").Raw(*value).Key("b").Raw(*value->Find("0")).EndDocument();
  EXPECT_EQ(bytes,
            "\x82\xa1"
            "a" +
                source +
                "\xa1"
                "b" +
                source.substr(1, 3));
}

TEST(BuilderTest, DoublesKeepTheirBits) {
  for (const double value : {0.0, -0.0, 1e300, std::numeric_limits<double>::denorm_min(),
                             std::numeric_limits<double>::infinity()}) {
    std::string bytes;
    Builder(&bytes).Double(value);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(ValueView::FromTrusted(bytes).AsDouble()),
              std::bit_cast<std::uint64_t>(value));
  }
}

#ifndef NDEBUG
TEST(BuilderDeathTest, MisuseIsCaught) {
  std::string bytes;
  EXPECT_DEATH(Builder(&bytes).StartDocument().Int(1), "needs a Key");
  EXPECT_DEATH(Builder(&bytes).Key("a"), "needs an open document");
  EXPECT_DEATH(Builder(&bytes).StartDocument().Key("a").Key("b"), "two keys");
  EXPECT_DEATH(Builder(&bytes).StartDocument().Key("a").EndDocument(), "no value");
  EXPECT_DEATH(Builder(&bytes).StartDocument().EndArray(), "EndArray");
  EXPECT_DEATH(Builder(&bytes).StartArray(2).Int(1).EndArray(), "announced count");
  EXPECT_DEATH(Builder(&bytes).EndArray(), "End without Start");
}
#endif

}  // namespace
}  // namespace alos
