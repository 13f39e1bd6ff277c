// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The concept and the helpers over lists. What the messages of CheckCodec look like to the author
// of a plugin is tested by compiling bad ones: see testing/plugins.

#include "alos/storage/codec.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

struct Good {
  static constexpr std::uint8_t kId = 200;
  static constexpr std::string_view kName = "good";
  static constexpr int kLevel = 20;
  static std::size_t BoundBytes(std::size_t raw) { return raw + 1; }
  static absl::StatusOr<std::size_t> Compress(std::string_view raw, absl::Span<char> out) {
    out[0] = 'g';
    raw.copy(out.data() + 1, raw.size());
    return raw.size() + 1;
  }
  static absl::Status Decompress(std::string_view stored, absl::Span<char> out) {
    if (stored.empty() || stored[0] != 'g') return absl::DataLossError("not good");
    stored.substr(1).copy(out.data(), out.size());
    return absl::OkStatus();
  }
};

struct Other : Good {
  static constexpr std::uint8_t kId = 201;
  static constexpr std::string_view kName = "other";
  static constexpr int kLevel = 30;
};

struct WithoutId : Good {
  static constexpr int kId = 1;
};
struct WithoutLevel : Good {
  static constexpr std::string_view kLevel = "best";
};
struct ThrowsInsteadOfStatus : Good {
  static void Decompress(std::string_view stored, absl::Span<char> out);
};
struct ReturnsBareSize : Good {
  static std::size_t Compress(std::string_view raw, absl::Span<char> out);
};
struct NeedsAnObject : Good {
  std::size_t BoundBytes(std::size_t raw) const;
};

TEST(CodecConceptTest, GoodCodecsSatisfyIt) {
  EXPECT_TRUE(Codec<Good>);
  EXPECT_TRUE(Codec<Other>);
  EXPECT_TRUE(CheckCodec<Good>());
  EXPECT_TRUE((CheckCodecList<PolicyList<Good, Other>>()));
}

TEST(CodecConceptTest, BadCodecsDoNot) {
  EXPECT_FALSE(Codec<int>);
  EXPECT_FALSE(Codec<WithoutId>);
  EXPECT_FALSE(Codec<WithoutLevel>);
  EXPECT_FALSE(Codec<ThrowsInsteadOfStatus>);
  EXPECT_FALSE(Codec<ReturnsBareSize>);
  EXPECT_FALSE(Codec<NeedsAnObject>);
}

using List = PolicyList<Good, Other>;

TEST(CodecListTest, LevelsAreTranslatedAndUnknownOnesListed) {
  EXPECT_EQ(*CodecIdForLevel<List>(20), 200);
  EXPECT_EQ(*CodecIdForLevel<List>(30), 201);
  const absl::Status status = CodecIdForLevel<List>(9).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "there is no compression level 9; this build has 20 (good), 30 (other)");
}

TEST(CodecListTest, TheIdChoosesTheCodec) {
  std::string stored(10, '\0');
  const absl::StatusOr<std::size_t> size = CompressWith<List>(200, "abc", absl::MakeSpan(stored));
  ASSERT_TRUE(size.ok());
  stored.resize(*size);
  EXPECT_EQ(stored, "gabc");
  std::string raw(3, '\0');
  EXPECT_TRUE(DecompressWith<List>(200, stored, absl::MakeSpan(raw)).ok());
  EXPECT_EQ(raw, "abc");
  EXPECT_EQ(DecompressWith<List>(201, "x", absl::MakeSpan(raw)).code(),
            absl::StatusCode::kDataLoss);
  const absl::Status unknown = DecompressWith<List>(7, stored, absl::MakeSpan(raw));
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(unknown.message()), testing::HasSubstr("no codec with id 7"));
  EXPECT_EQ(CompressWith<List>(7, "abc", absl::MakeSpan(raw)).status().code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace alos
