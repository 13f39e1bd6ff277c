// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/crc32c.h"

#include <boost/crc.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace alos {
namespace {

using base_internal::Crc32cFunction;

// Every implementation that this machine can run, whichever of them Crc32c() would choose.
std::vector<std::pair<std::string, Crc32cFunction>> Implementations() {
  std::vector<std::pair<std::string, Crc32cFunction>> all = {
      {"portable", &base_internal::Crc32cPortable}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) all.emplace_back("sse4.2", &base_internal::Crc32cSse42);
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
    all.emplace_back("sse4.2+pclmul", &base_internal::Crc32cSse42Pclmul);
  }
#endif
  return all;
}

std::string RandomBytes(std::size_t size, std::mt19937_64& random) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::uint32_t BoostCrc32c(std::string_view data) {
  boost::crc_optimal<32, 0x1edc6f41, 0xffffffff, 0xffffffff, true, true> crc;
  crc.process_bytes(data.data(), data.size());
  return crc.checksum();
}

// RFC 3720, B.4 (which prints the bytes in the order of the wire), and the usual check value.
TEST(Crc32cTest, KnownVectors) {
  std::string ascending;
  std::string descending;
  for (int i = 0; i < 32; ++i) {
    ascending.push_back(static_cast<char>(i));
    descending.push_back(static_cast<char>(31 - i));
  }
  const std::string read_command(
      "\x01\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
      "\x14\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x14\x00\x00\x00\x18"
      "\x28\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00",
      48);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc32c(descending), 0x113fdb5cu);
  EXPECT_EQ(Crc32c(read_command), 0xd9963a56u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32cTest, EveryImplementationAgreesWithBoostAtEverySizeAndAlignment) {
  std::mt19937_64 random(1);
  const std::string bytes = RandomBytes(10'000, random);
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size <= 700; ++size) sizes.push_back(size);
  // Around the longest round of three streams, and two rounds.
  for (std::size_t size = 3060; size <= 3084; ++size) sizes.push_back(size);
  sizes.insert(sizes.end(), {4096, 6143, 6144, 6145, 9990});
  for (const auto& [name, function] : Implementations()) {
    SCOPED_TRACE(name);
    for (const std::size_t size : sizes) {
      const std::size_t start = size % 9;
      const std::string_view part = std::string_view(bytes).substr(start, size);
      ASSERT_EQ(~function(~0u, part.data(), part.size()), BoostCrc32c(part)) << size;
    }
  }
}

TEST(Crc32cTest, IsIncrementalAtEverySplit) {
  std::mt19937_64 random(2);
  const std::string bytes = RandomBytes(1000, random);
  const std::uint32_t whole = Crc32c(bytes);
  for (std::size_t split = 0; split <= bytes.size(); ++split) {
    const std::string_view all = bytes;
    ASSERT_EQ(Crc32c(all.substr(split), Crc32c(all.substr(0, split))), whole) << split;
  }
}

TEST(Crc32cTest, EveryFlippedBitIsSeen) {
  std::mt19937_64 random(3);
  std::string bytes = RandomBytes(300, random);
  const std::uint32_t whole = Crc32c(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_NE(Crc32c(bytes), whole) << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
  EXPECT_EQ(Crc32c(bytes), whole);
}

TEST(Crc32cTest, TheFirstCallChoosesTheFastest) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(base_internal::crc32c_function.load(), base_internal::FastestCrc32c());
  base_internal::crc32c_function.store(&base_internal::Crc32cFirstCall);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(base_internal::crc32c_function.load(), base_internal::FastestCrc32c());
}

}  // namespace
}  // namespace alos
