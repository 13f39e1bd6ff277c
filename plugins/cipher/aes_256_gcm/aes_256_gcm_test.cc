// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugins/cipher/aes_256_gcm/aes_256_gcm.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "testing/conformance/cipher_conformance.h"

namespace alos {
namespace {

INSTANTIATE_TYPED_TEST_SUITE_P(Aes256Gcm, CipherConformance, Aes256GcmCipher);

// A frame as published clients of handshake version 1 make it, so that the layout cannot drift.
TEST(Aes256GcmCipherTest, SealsThePinnedFrame) {
  const std::string key =
      absl::HexStringToBytes("9856c437c6f4c77d057c7fe1af6529c7786b56666292d70fae376201c38ab49c");
  Aes256GcmCipher cipher(
      absl::MakeSpan(reinterpret_cast<const std::uint8_t*>(key.data()), key.size()));
  const std::string plaintext =
      absl::HexStringToBytes("84a2696401a26f700daa636f6c6c656374696f6ea0a46172677380");
  std::string frame = std::string(8, '\0') + plaintext + std::string(16, '\0');
  cipher.Seal(1, absl::MakeSpan(frame));
  EXPECT_EQ(absl::BytesToHexString(frame),
            "000000000000000162ad2f7c05e88875f2ab0ed050c238d8fad5b41059cbcab6c03bd0abc899338418f449"
            "57f4b52f6553e54d");
}

}  // namespace
}  // namespace alos
