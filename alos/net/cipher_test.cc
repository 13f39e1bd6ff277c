// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/cipher.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

struct GoodCipher {
  static constexpr std::uint8_t kVersion = 0x7f;
  static constexpr std::string_view kName = "good";
  static constexpr std::size_t kKeyBytes = 16;
  static constexpr std::size_t kHeaderBytes = 8;
  static constexpr std::size_t kTagBytes = 16;
  explicit GoodCipher(absl::Span<const std::uint8_t>) {}
  void Seal(std::uint64_t, absl::Span<char>) {}
  std::optional<OpenedFrame> Open(absl::Span<char>) { return std::nullopt; }
};

struct CipherWithoutOpen {
  static constexpr std::uint8_t kVersion = 0x7f;
  static constexpr std::string_view kName = "bad";
  static constexpr std::size_t kKeyBytes = 16;
  static constexpr std::size_t kHeaderBytes = 8;
  static constexpr std::size_t kTagBytes = 16;
  explicit CipherWithoutOpen(absl::Span<const std::uint8_t>) {}
  void Seal(std::uint64_t, absl::Span<char>) {}
};

struct CipherWhoseOpenIsABool : CipherWithoutOpen {
  using CipherWithoutOpen::CipherWithoutOpen;
  bool Open(absl::Span<char>) { return true; }
};

TEST(CipherTest, ConceptHoldsForAGoodCipherOnly) {
  EXPECT_TRUE(Cipher<GoodCipher>);
  EXPECT_TRUE(CheckCipher<GoodCipher>());
  EXPECT_FALSE(Cipher<CipherWithoutOpen>);
  EXPECT_FALSE(Cipher<CipherWhoseOpenIsABool>);
  EXPECT_FALSE(Cipher<int>);
}

}  // namespace
}  // namespace alos
