// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugin/codecs.h"

#include <string>

#include "alos/storage/codec.h"
#include "gtest/gtest.h"
#include "testing/conformance/codec_conformance.h"

namespace alos {
namespace {

INSTANTIATE_TYPED_TEST_SUITE_P(None, CodecConformance, NoneCodec);
INSTANTIATE_TYPED_TEST_SUITE_P(Lz4, CodecConformance, Lz4Codec);
INSTANTIATE_TYPED_TEST_SUITE_P(Zstd, CodecConformance, ZstdCodec);

static_assert(CheckCodecList<plugin::Codecs>());

// The ids are in every record ever written, and the levels in everybody's command lines.
TEST(CodecsTest, IdsAndLevelsNeverChange) {
  EXPECT_EQ(NoneCodec::kId, 0);
  EXPECT_EQ(Lz4Codec::kId, 1);
  EXPECT_EQ(ZstdCodec::kId, 2);
  EXPECT_EQ(*CodecIdForLevel<plugin::Codecs>(0), NoneCodec::kId);
  EXPECT_EQ(*CodecIdForLevel<plugin::Codecs>(1), Lz4Codec::kId);
  EXPECT_EQ(*CodecIdForLevel<plugin::Codecs>(9), ZstdCodec::kId);
}

// Documents that were compressed by an earlier version must come back: pinned bytes.
TEST(CodecsTest, StoredBytesOfEarlierBuildsAreRead) {
  const std::string raw = "abcabcabcabcabcabcabcabcabcabc";
  const std::string lz4(
      "\x3f"
      "abc\x03\x00\x03\x50"
      "bcabc",
      13);
  const std::string zstd("\x28\xb5\x2f\xfd\x20\x1e\x4d\x00\x00\x18\x61\x62\x63\x01\x00\x86\x6e\x08",
                         18);
  std::string back(raw.size(), '\0');
  EXPECT_TRUE(DecompressWith<plugin::Codecs>(0, raw, absl::MakeSpan(back)).ok());
  EXPECT_EQ(back, raw);
  back.assign(raw.size(), '\0');
  EXPECT_TRUE(DecompressWith<plugin::Codecs>(1, lz4, absl::MakeSpan(back)).ok());
  EXPECT_EQ(back, raw);
  back.assign(raw.size(), '\0');
  EXPECT_TRUE(DecompressWith<plugin::Codecs>(2, zstd, absl::MakeSpan(back)).ok());
  EXPECT_EQ(back, raw);
}

TEST(CodecsTest, RepetitiveDocumentsShrink) {
  const std::string raw(10'000, 'x');
  std::string out(20'000, '\0');
  EXPECT_LT(*Lz4Codec::Compress(raw, absl::MakeSpan(out)), 100u);
  EXPECT_LT(*ZstdCodec::Compress(raw, absl::MakeSpan(out)), 50u);
}

}  // namespace
}  // namespace alos
