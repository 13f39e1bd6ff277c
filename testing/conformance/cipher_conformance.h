// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What every cipher plugin must pass. A plugin's test instantiates the suite:
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(MyCipher, CipherConformance, MyCipher);

#ifndef ALOS_TESTING_CONFORMANCE_CIPHER_CONFORMANCE_H_
#define ALOS_TESTING_CONFORMANCE_CIPHER_CONFORMANCE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "alos/net/cipher.h"
#include "gtest/gtest.h"

namespace alos {

template <class C>
class CipherConformance : public ::testing::Test {
 protected:
  static std::vector<std::uint8_t> Key(std::uint8_t seed = 7) {
    std::vector<std::uint8_t> key(C::kKeyBytes);
    std::iota(key.begin(), key.end(), seed);
    return key;
  }
  static std::string Plaintext(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + size);
    return text;
  }
  static std::string Seal(C& cipher, std::uint64_t counter, std::string_view plaintext) {
    std::string frame(C::kHeaderBytes, '\0');
    frame.append(plaintext);
    frame.append(C::kTagBytes, '\0');
    cipher.Seal(counter, absl::MakeSpan(frame));
    return frame;
  }
  static std::optional<std::string> Open(C& cipher, std::string frame) {
    const std::optional<OpenedFrame> opened = cipher.Open(absl::MakeSpan(frame));
    if (!opened.has_value()) return std::nullopt;
    return std::string(opened->plaintext.data(), opened->plaintext.size());
  }
};

TYPED_TEST_SUITE_P(CipherConformance);

TYPED_TEST_P(CipherConformance, SatisfiesTheConcept) { EXPECT_TRUE(CheckCipher<TypeParam>()); }

TYPED_TEST_P(CipherConformance, OpensWhatItSealedAtEverySize) {
  TypeParam sealer(this->Key());
  TypeParam opener(this->Key());
  std::uint64_t counter = 0;
  std::vector<std::size_t> sizes(200);
  std::iota(sizes.begin(), sizes.end(), 0);
  sizes.insert(sizes.end(), {1023, 1024, 1025, 65535, 65536, 1000003});
  for (const std::size_t size : sizes) {
    const std::string plaintext = this->Plaintext(size);
    std::string frame = this->Seal(sealer, ++counter, plaintext);
    ASSERT_EQ(frame.size(), TypeParam::kHeaderBytes + size + TypeParam::kTagBytes);
    const std::optional<OpenedFrame> opened = opener.Open(absl::MakeSpan(frame));
    ASSERT_TRUE(opened.has_value()) << size;
    EXPECT_EQ(opened->counter, counter);
    EXPECT_EQ(std::string_view(opened->plaintext.data(), opened->plaintext.size()), plaintext);
    EXPECT_EQ(opened->plaintext.data(), frame.data() + TypeParam::kHeaderBytes) << "not in place";
  }
}

TYPED_TEST_P(CipherConformance, CarriesEveryCounter) {
  TypeParam cipher(this->Key());
  for (const std::uint64_t counter :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    std::string frame = this->Seal(cipher, counter, "counted");
    const std::optional<OpenedFrame> opened = cipher.Open(absl::MakeSpan(frame));
    ASSERT_TRUE(opened.has_value());
    EXPECT_EQ(opened->counter, counter);
  }
}

TYPED_TEST_P(CipherConformance, HidesThePlaintextAndNeverRepeats) {
  TypeParam cipher(this->Key());
  const std::string plaintext(64, 'A');
  std::set<std::string> bodies;
  for (std::uint64_t counter = 1; counter <= 100; ++counter) {
    const std::string frame = this->Seal(cipher, counter, plaintext);
    EXPECT_EQ(frame.find("AAAAAAAA"), std::string::npos);
    bodies.insert(frame.substr(TypeParam::kHeaderBytes));
  }
  EXPECT_EQ(bodies.size(), 100u) << "two counters gave the same ciphertext";
}

TYPED_TEST_P(CipherConformance, RefusesEveryFlippedBit) {
  TypeParam cipher(this->Key());
  for (const std::size_t size : {0, 1, 15, 33, 70}) {
    const std::string frame = this->Seal(cipher, 42, this->Plaintext(size));
    for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
      std::string changed = frame;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_FALSE(this->Open(cipher, changed).has_value()) << "bit " << bit << " of size " << size;
    }
    EXPECT_TRUE(this->Open(cipher, frame).has_value());
  }
}

TYPED_TEST_P(CipherConformance, RefusesEveryOtherLength) {
  TypeParam cipher(this->Key());
  const std::string frame = this->Seal(cipher, 3, this->Plaintext(40));
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_FALSE(this->Open(cipher, frame.substr(0, size)).has_value()) << size;
  }
  EXPECT_FALSE(this->Open(cipher, frame + '\0').has_value());
  EXPECT_FALSE(this->Open(cipher, std::string(1000, '\0')).has_value());
}

TYPED_TEST_P(CipherConformance, RefusesAnotherKey) {
  TypeParam sealer(this->Key(7));
  TypeParam other(this->Key(8));
  EXPECT_FALSE(this->Open(other, this->Seal(sealer, 1, "secret")).has_value());
}

// The counter is in the clear, so it must be bound by the tag.
TYPED_TEST_P(CipherConformance, RefusesAnotherFramesHeader) {
  TypeParam cipher(this->Key());
  const std::string first = this->Seal(cipher, 1, "first!");
  const std::string second = this->Seal(cipher, 2, "second");
  EXPECT_FALSE(this->Open(cipher, second.substr(0, TypeParam::kHeaderBytes) +
                                      first.substr(TypeParam::kHeaderBytes))
                   .has_value());
}

REGISTER_TYPED_TEST_SUITE_P(CipherConformance, SatisfiesTheConcept, OpensWhatItSealedAtEverySize,
                            CarriesEveryCounter, HidesThePlaintextAndNeverRepeats,
                            RefusesEveryFlippedBit, RefusesEveryOtherLength, RefusesAnotherKey,
                            RefusesAnotherFramesHeader);

}  // namespace alos

#endif  // ALOS_TESTING_CONFORMANCE_CIPHER_CONFORMANCE_H_
