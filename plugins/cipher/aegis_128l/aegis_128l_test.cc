// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugins/cipher/aegis_128l/aegis_128l.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "plugins/cipher/aegis_128l/internal/aegis_core.h"
#include "testing/conformance/cipher_conformance.h"

namespace alos {
namespace {

using aegis_internal::Functions;

class PortableAegis128lCipher : public Aegis128lCipher {
 public:
  explicit PortableAegis128lCipher(absl::Span<const std::uint8_t> key)
      : Aegis128lCipher(key, Implementation::kPortable) {}
};

INSTANTIATE_TYPED_TEST_SUITE_P(Best, CipherConformance, Aegis128lCipher);
INSTANTIATE_TYPED_TEST_SUITE_P(Portable, CipherConformance, PortableAegis128lCipher);

std::vector<std::uint8_t> Bytes(const std::string& hex) {
  const std::string bytes = absl::HexStringToBytes(hex);
  return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
}

std::string Hex(const std::vector<std::uint8_t>& bytes) {
  return absl::BytesToHexString(std::string(bytes.begin(), bytes.end()));
}

// The published vectors of the algorithm that have no associated data.
struct Vector {
  const char* key;
  const char* nonce;
  const char* message;
  const char* ciphertext;
  const char* tag;
};
constexpr Vector kVectors[] = {
    {"10010000000000000000000000000000", "10000200000000000000000000000000",
     "00000000000000000000000000000000", "c1c0e58bd913006feba00f4b3cc3594e",
     "abe0ece80c24868a226a35d16bdae37a"},
    {"10010000000000000000000000000000", "10000200000000000000000000000000", "", "",
     "c2b879a67def9d74e6c14f708bbcc9b4"},
};

void CheckVectors(const Functions& functions) {
  for (const Vector& vector : kVectors) {
    std::vector<std::uint8_t> data = Bytes(vector.message);
    std::vector<std::uint8_t> tag(16);
    functions.encrypt(Bytes(vector.key).data(), Bytes(vector.nonce).data(), data.data(),
                      data.size(), tag.data());
    EXPECT_EQ(Hex(data), vector.ciphertext);
    EXPECT_EQ(Hex(tag), vector.tag);
    std::vector<std::uint8_t> tag_again(16);
    functions.decrypt(Bytes(vector.key).data(), Bytes(vector.nonce).data(), data.data(),
                      data.size(), tag_again.data());
    EXPECT_EQ(Hex(data), vector.message);
    EXPECT_EQ(Hex(tag_again), vector.tag);
  }
}

TEST(Aegis128lTest, BestImplementationMatchesTheVectors) {
  CheckVectors(aegis_internal::BestFunctions());
}

TEST(Aegis128lTest, PortableImplementationMatchesTheVectors) {
  CheckVectors(aegis_internal::PortableFunctions());
}

// The S-box is computed, not tabled: check all 256 values against the definition by search.
TEST(Aegis128lTest, ComputedSubstitutionIsTheAesOne) {
  const auto multiply = [](unsigned a, unsigned b) {
    unsigned product = 0;
    for (; b != 0; b >>= 1) {
      if (b & 1) product ^= a;
      a <<= 1;
      if (a & 0x100) a ^= 0x11b;
    }
    return product;
  };
  for (unsigned x = 0; x < 256; ++x) {
    unsigned inverse = 0;
    for (unsigned y = 1; x != 0 && y < 256; ++y) {
      if (multiply(x, y) == 1) inverse = y;
    }
    unsigned expected = 0x63;
    for (int shift = 0; shift < 5; ++shift) {
      expected ^= ((inverse << shift) | (inverse >> (8 - shift))) & 0xff;
    }
    std::uint8_t in[16], out[16];
    for (unsigned i = 0; i < 16; ++i) in[i] = static_cast<std::uint8_t>(x);
    using aegis_internal::PortableBlocks;
    PortableBlocks::Store(PortableBlocks::SubBytes(PortableBlocks::Load(in)), out);
    for (const std::uint8_t byte : out) EXPECT_EQ(byte, expected) << x;
  }
}

TEST(Aegis128lTest, ImplementationsAgreeOnRandomInput) {
  std::mt19937_64 random(20261123);
  const Functions best = aegis_internal::BestFunctions();
  const Functions portable = aegis_internal::PortableFunctions();
  for (int round = 0; round < 500; ++round) {
    std::vector<std::uint8_t> key(16), nonce(16), data(random() % 300);
    for (auto* bytes : {&key, &nonce, &data}) {
      for (std::uint8_t& byte : *bytes) byte = static_cast<std::uint8_t>(random());
    }
    std::vector<std::uint8_t> a = data, b = data, tag_a(16), tag_b(16);
    best.encrypt(key.data(), nonce.data(), a.data(), a.size(), tag_a.data());
    portable.encrypt(key.data(), nonce.data(), b.data(), b.size(), tag_b.data());
    ASSERT_EQ(Hex(a), Hex(b)) << "seed 20261123 round " << round;
    ASSERT_EQ(Hex(tag_a), Hex(tag_b));
    portable.decrypt(key.data(), nonce.data(), a.data(), a.size(), tag_a.data());
    best.decrypt(key.data(), nonce.data(), b.data(), b.size(), tag_b.data());
    ASSERT_EQ(Hex(a), Hex(data));
    ASSERT_EQ(Hex(b), Hex(data));
    ASSERT_EQ(Hex(tag_a), Hex(tag_b));
  }
}

// A frame as published clients of handshake version 2 make it, so that the layout cannot drift.
TEST(Aegis128lCipherTest, SealsThePinnedFrame) {
  const std::vector<std::uint8_t> key = Bytes("9856c437c6f4c77d057c7fe1af6529c7");
  Aegis128lCipher cipher(key);
  const std::string plaintext =
      absl::HexStringToBytes("84a2696401a26f700daa636f6c6c656374696f6ea0a46172677380");
  std::string frame = std::string(16, '\0') + plaintext + std::string(16, '\0');
  cipher.Seal(1, absl::MakeSpan(frame));
  EXPECT_EQ(absl::BytesToHexString(frame),
            "0000000000000001414c4f5344424146b55ca1532d869a179a927459e497708c777b089a888299730ab383"
            "8202f7d9de95addb855dfddb0ad5b950");
}

}  // namespace
}  // namespace alos
