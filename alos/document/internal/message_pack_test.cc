// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/internal/message_pack.h"

#include <cstdint>
#include <limits>
#include <msgpack.hpp>
#include <random>
#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace alos::document_internal {
namespace {

template <class Value>
std::string PackedByMsgpack(const Value& value) {
  std::stringstream stream;
  msgpack::pack(stream, value);
  return stream.str();
}

// Shortest forms are what msgpack-cxx writes too: the boundary of each width is where it goes
// wrong.
TEST(MessagePackTest, IntegersHaveTheShortestForm) {
  for (const std::int64_t boundary :
       {std::int64_t{0}, std::int64_t{-32}, std::int64_t{0x7f}, std::int64_t{0xff},
        std::int64_t{0xffff}, std::int64_t{0xffffffff}, std::int64_t{INT8_MIN},
        std::int64_t{INT16_MIN}, std::int64_t{INT32_MIN}, std::int64_t{INT32_MAX}}) {
    for (std::int64_t value = boundary - 2; value <= boundary + 2; ++value) {
      std::string bytes;
      AppendInt(&bytes, value);
      EXPECT_EQ(bytes, PackedByMsgpack(value)) << value;
    }
  }
  for (const std::int64_t value : {INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX}) {
    std::string bytes;
    AppendInt(&bytes, value);
    EXPECT_EQ(bytes, PackedByMsgpack(value)) << value;
  }
  for (const std::uint64_t value : {UINT64_MAX, std::uint64_t{INT64_MAX} + 1}) {
    std::string bytes;
    AppendUint(&bytes, value);
    EXPECT_EQ(bytes, PackedByMsgpack(value)) << value;
  }
}

TEST(MessagePackTest, TimestampsHaveTheShortestForm) {
  std::string bytes;
  AppendTimestamp(&bytes, 0xffffffff, 0);
  EXPECT_EQ(bytes, "\xd6\xff\xff\xff\xff\xff");
  bytes.clear();
  AppendTimestamp(&bytes, 0x100000000, 0);
  EXPECT_EQ(bytes, std::string("\xd7\xff\x00\x00\x00\x01\x00\x00\x00\x00", 10));
  bytes.clear();
  AppendTimestamp(&bytes, 1, 1);
  EXPECT_EQ(bytes, std::string("\xd7\xff\x00\x00\x00\x04\x00\x00\x00\x01", 10));
  bytes.clear();
  AppendTimestamp(&bytes, -1, 999'999'999);
  EXPECT_EQ(bytes, std::string("\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff", 15));
  bytes.clear();
  AppendTimestamp(&bytes, std::int64_t{1} << 34, 0);
  EXPECT_EQ(bytes, std::string("\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00", 15));
}

TEST(MessagePackTest, HeadersOfDataHaveTheShortestForm) {
  const auto string_header = [](std::uint32_t size) {
    std::string bytes;
    AppendStringHeader(&bytes, size);
    return bytes;
  };
  EXPECT_EQ(string_header(31), "\xbf");
  EXPECT_EQ(string_header(32), "\xd9\x20");
  EXPECT_EQ(string_header(255), "\xd9\xff");
  EXPECT_EQ(string_header(256), std::string("\xda\x01\x00", 3));
  EXPECT_EQ(string_header(65536), std::string("\xdb\x00\x01\x00\x00", 5));
  const auto binary_header = [](std::uint32_t size) {
    std::string bytes;
    AppendBinaryHeader(&bytes, size);
    return bytes;
  };
  EXPECT_EQ(binary_header(0), std::string("\xc4\x00", 2));
  EXPECT_EQ(binary_header(65535), "\xc5\xff\xff");
  EXPECT_EQ(binary_header(65536), std::string("\xc6\x00\x01\x00\x00", 5));
  const auto extension_header = [](std::uint32_t size) {
    std::string bytes;
    AppendExtensionHeader(&bytes, 5, size);
    return bytes;
  };
  EXPECT_EQ(extension_header(1), "\xd4\x05");
  EXPECT_EQ(extension_header(3), "\xc7\x03\x05");
  EXPECT_EQ(extension_header(16), "\xd8\x05");
  EXPECT_EQ(extension_header(256), std::string("\xc8\x01\x00\x05", 4));
  EXPECT_EQ(extension_header(65536), std::string("\xc9\x00\x01\x00\x00\x05", 6));
}

// Random nested values, packed by msgpack-cxx with something after them: Skip must end exactly
// there.
void PackRandom(std::mt19937_64& random, int depth, msgpack::packer<std::stringstream>& packer) {
  const auto choose = [&](std::uint64_t count) { return random() % count; };
  switch (choose(depth < 4 ? 9 : 7)) {
    case 0:
      packer.pack_nil();
      break;
    case 1:
      packer.pack(random() >> choose(64));
      break;
    case 2:
      packer.pack(static_cast<std::int64_t>(random()) >> choose(64));
      break;
    case 3:
      packer.pack(1.5);
      break;
    case 4:
      packer.pack(std::string(choose(70000) >> choose(17), 'x'));
      break;
    case 5: {
      const auto size = static_cast<std::uint32_t>(choose(300));
      packer.pack_bin(size);
      packer.pack_bin_body(std::string(size, 'b').data(), size);
      break;
    }
    case 6: {
      const std::size_t size = choose(300) >> choose(9);
      packer.pack_ext(size, 7);
      packer.pack_ext_body(std::string(size, 'e').data(), static_cast<std::uint32_t>(size));
      break;
    }
    case 7: {
      const auto count = static_cast<std::uint32_t>(choose(20));
      packer.pack_array(count);
      for (std::uint32_t i = 0; i < count; ++i) PackRandom(random, depth + 1, packer);
      break;
    }
    default: {
      const auto count = static_cast<std::uint32_t>(choose(20));
      packer.pack_map(count);
      for (std::uint32_t i = 0; i < count; ++i) {
        packer.pack("key" + std::to_string(i));
        PackRandom(random, depth + 1, packer);
      }
    }
  }
}

TEST(MessagePackTest, SkipEndsWhereTheValueEnds) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    std::stringstream stream;
    msgpack::packer<std::stringstream> packer(stream);
    PackRandom(random, 0, packer);
    const std::string bytes = stream.str();
    ASSERT_EQ(Skip(bytes.data()), bytes.data() + bytes.size()) << "round " << i;
  }
}

TEST(MessagePackTest, SkipStepsOverLargeContainers) {
  std::stringstream stream;
  msgpack::packer<std::stringstream> packer(stream);
  packer.pack_array(70000);
  for (int i = 0; i < 70000; ++i) packer.pack(i);
  packer.pack_map(70000);
  for (int i = 0; i < 70000; ++i) packer.pack(std::to_string(i)).pack(i);
  const std::string bytes = stream.str();
  EXPECT_EQ(Skip(Skip(bytes.data())), bytes.data() + bytes.size());
}

}  // namespace
}  // namespace alos::document_internal
