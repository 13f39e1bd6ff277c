// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a cipher plugin is: seals and opens the frames of one direction of one connection.
//
// A sealed frame, as it follows the four-byte length on the wire:
//
//   0              kHeaderBytes                        size - kTagBytes      size
//   +--------------+-----------------------------------+---------------------+
//   | header       | ciphertext (as long as the plain) | authentication tag  |
//   +--------------+-----------------------------------+---------------------+
//
// The header carries the frame's counter, in the clear, in a form each cipher chooses; the nonce is
// a function of it. Nobody may seal two frames under one key with the same counter: the caller
// (alos/net/secure_channel.h) counts, the cipher does not.

#ifndef ALOS_NET_CIPHER_H_
#define ALOS_NET_CIPHER_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/types/span.h"

namespace alos {

// A frame that was authentic.
struct OpenedFrame {
  std::uint64_t counter = 0;
  absl::Span<char> plaintext;  // inside the span given to Open
};

// Requirements, beyond the syntax:
//
// - `C::kVersion`: the second byte of the client's hello that asks for this cipher. Different for
//   every cipher of one build; never reused for a cipher with another frame.
// - `C::kName`: lower case, as it appears in documents and logs.
// - `C::kKeyBytes`, `C::kHeaderBytes` (at least 8), `C::kTagBytes` (at least 16).
// - `C(key)`: REQUIRES key.size() == kKeyBytes. Copies the key and wipes the copy when destroyed.
// - `c.Seal(counter, frame)`: REQUIRES frame.size() >= kHeaderBytes + kTagBytes. The caller has put
//   the plaintext between the two; Seal writes the header and the tag and encrypts in place. Cannot
//   fail. Needs no allocation.
// - `c.Open(frame)`: authenticates and decrypts in place. nullopt for anything that Seal with the
//   same key did not make, of any size and content; then the frame's content is unspecified and
//   must not be looked at. Time does not depend on where a wrong tag differs.
//
// Threads: one object serves one thread at a time. Lifetime: independent of its arguments.
// Durability: none. Errors: as above. Cost: O(bytes), no allocation after construction.
template <class C>
concept Cipher = requires(C& c, absl::Span<const std::uint8_t> key, std::uint64_t counter,
                          absl::Span<char> frame) {
  { C::kVersion } -> std::convertible_to<std::uint8_t>;
  { C::kName } -> std::convertible_to<std::string_view>;
  { C::kKeyBytes } -> std::convertible_to<std::size_t>;
  { C::kHeaderBytes } -> std::convertible_to<std::size_t>;
  { C::kTagBytes } -> std::convertible_to<std::size_t>;
  C(key);
  { c.Seal(counter, frame) } -> std::same_as<void>;
  { c.Open(frame) } -> std::same_as<std::optional<OpenedFrame>>;
};

// Instantiated for every cipher of a build, so that one that does not fit says so in one line.
template <class C>
constexpr bool CheckCipher() {
  static_assert(Cipher<C>,
                "this type is not an alos cipher: alos/net/cipher.h lists the constants and the "
                "functions Seal and Open that a cipher plugin must have");
  if constexpr (Cipher<C>) {
    static_assert(C::kHeaderBytes >= 8, "an alos cipher's header holds at least the counter");
    static_assert(C::kTagBytes >= 16, "an alos cipher's tag has at least 128 bits");
    static_assert(C::kKeyBytes >= 16 && C::kKeyBytes <= 64,
                  "an alos cipher's key has 16 to 64 bytes");
  }
  return true;
}

// The largest number of bytes a sealed frame is longer than its plaintext.
template <Cipher C>
inline constexpr std::size_t kCipherOverheadBytes = C::kHeaderBytes + C::kTagBytes;

}  // namespace alos

#endif  // ALOS_NET_CIPHER_H_
