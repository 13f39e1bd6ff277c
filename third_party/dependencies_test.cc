// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Every pinned dependency compiles, links and runs with the flags of the configuration under test.

#include <liburing.h>
#include <lz4.h>
#include <openssl/sha.h>
#include <re2/re2.h>
#include <roaring/roaring.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <zstd.h>

#include <boost/asio/io_context.hpp>
#include <boost/interprocess/file_mapping.hpp>
#include <boost/version.hpp>
#include <msgpack.hpp>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace {

TEST(DependenciesTest, AbseilBoostAndMsgpackWork) {
  absl::flat_hash_map<std::string, int> map = {{"a", 1}};
  absl::StatusOr<int> value = map["a"];
  EXPECT_EQ(*value, 1);
  EXPECT_EQ(BOOST_VERSION / 100, 1081);
  boost::asio::io_context context;
  EXPECT_EQ(context.run(), 0u);
  msgpack::sbuffer buffer;
  msgpack::pack(buffer, 7);
  EXPECT_EQ(std::string(buffer.data(), buffer.size()), "\x07");
}

TEST(DependenciesTest, CompressorsRoundTrip) {
  const std::string text(1000, 'x');
  std::string packed(LZ4_compressBound(1000), '\0');
  const int size =
      LZ4_compress_default(text.data(), packed.data(), 1000, static_cast<int>(packed.size()));
  std::string back(1000, '\0');
  ASSERT_EQ(LZ4_decompress_safe(packed.data(), back.data(), size, 1000), 1000);
  EXPECT_EQ(back, text);
  packed.resize(ZSTD_compressBound(1000));
  const std::size_t zstd_size = ZSTD_compress(packed.data(), packed.size(), text.data(), 1000, 9);
  back.assign(1000, '\0');
  ASSERT_EQ(ZSTD_decompress(back.data(), 1000, packed.data(), zstd_size), 1000u);
  EXPECT_EQ(back, text);
}

TEST(DependenciesTest, HashesAndSetsWork) {
  EXPECT_NE(XXH3_64bits("a", 1), XXH3_64bits("b", 1));
  std::uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const std::uint8_t*>("abc"), 3, digest);
  EXPECT_EQ(digest[0], 0xba);
  EXPECT_TRUE(RE2::FullMatch("häuser", "h\\p{L}us.r"));
  EXPECT_EQ(utf8proc_tolower(U'Ä'), static_cast<utf8proc_int32_t>(U'ä'));
  roaring_bitmap_t* bitmap = roaring_bitmap_create();
  roaring_bitmap_add(bitmap, 70000);
  EXPECT_EQ(roaring_bitmap_get_cardinality(bitmap), 1u);
  roaring_bitmap_free(bitmap);
}

TEST(DependenciesTest, LiburingReportsARing) {
  io_uring ring;
  const int result = io_uring_queue_init(8, &ring, 0);
  if (result < 0) GTEST_SKIP() << "this kernel or sandbox refuses io_uring: " << -result;
  io_uring_queue_exit(&ring);
}

}  // namespace
