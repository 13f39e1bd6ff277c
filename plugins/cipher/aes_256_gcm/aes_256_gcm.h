// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// AES-256-GCM as a frame cipher, through BoringSSL's AEAD interface.

#ifndef ALOS_PLUGINS_CIPHER_AES_256_GCM_AES_256_GCM_H_
#define ALOS_PLUGINS_CIPHER_AES_256_GCM_AES_256_GCM_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "absl/types/span.h"
#include "alos/net/big_endian.h"
#include "alos/net/cipher.h"
#include "openssl/aead.h"

namespace alos {

// Satisfies Cipher (alos/net/cipher.h), which states the contract. The header of a frame is the
// counter as eight big-endian bytes, the nonce is four zero bytes and then the header:
//
//   | counter : 8 | ciphertext | tag : 16 |
class Aes256GcmCipher {
 public:
  static constexpr std::uint8_t kVersion = 0x01;
  static constexpr std::string_view kName = "aes-256-gcm";
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kHeaderBytes = 8;
  static constexpr std::size_t kTagBytes = 16;

  // A key of another size is a programming error and ends the process.
  explicit Aes256GcmCipher(absl::Span<const std::uint8_t> key) {
    if (key.size() != kKeyBytes ||
        EVP_AEAD_CTX_init(context_.get(), EVP_aead_aes_256_gcm(), key.data(), key.size(), kTagBytes,
                          nullptr) != 1) {
      std::abort();
    }
  }
  Aes256GcmCipher(const Aes256GcmCipher&) = delete;
  Aes256GcmCipher& operator=(const Aes256GcmCipher&) = delete;

  void Seal(std::uint64_t counter, absl::Span<char> frame) {
    net_internal::StoreBigEndian64(counter, frame.data());
    std::uint8_t nonce[kNonceBytes];
    MakeNonce(frame.data(), nonce);
    auto* const body = reinterpret_cast<std::uint8_t*>(frame.data()) + kHeaderBytes;
    const std::size_t body_bytes = frame.size() - kHeaderBytes - kTagBytes;
    std::size_t tag_bytes = 0;
    if (EVP_AEAD_CTX_seal_scatter(context_.get(), body, body + body_bytes, &tag_bytes, kTagBytes,
                                  nonce, kNonceBytes, body, body_bytes, nullptr, 0, nullptr,
                                  0) != 1 ||
        tag_bytes != kTagBytes) {
      std::abort();  // only a body over 64 GB can do this; frames are limited far below
    }
  }

  std::optional<OpenedFrame> Open(absl::Span<char> frame) {
    if (frame.size() < kHeaderBytes + kTagBytes) return std::nullopt;
    std::uint8_t nonce[kNonceBytes];
    MakeNonce(frame.data(), nonce);
    auto* const body = reinterpret_cast<std::uint8_t*>(frame.data()) + kHeaderBytes;
    const std::size_t body_bytes = frame.size() - kHeaderBytes - kTagBytes;
    if (EVP_AEAD_CTX_open_gather(context_.get(), body, nonce, kNonceBytes, body, body_bytes,
                                 body + body_bytes, kTagBytes, nullptr, 0) != 1) {
      return std::nullopt;
    }
    return OpenedFrame{net_internal::LoadBigEndian64(frame.data()),
                       frame.subspan(kHeaderBytes, body_bytes)};
  }

 private:
  static constexpr std::size_t kNonceBytes = 12;

  static void MakeNonce(const char* header, std::uint8_t* nonce) {
    std::memset(nonce, 0, 4);
    std::memcpy(nonce + 4, header, kHeaderBytes);
  }

  bssl::ScopedEVP_AEAD_CTX context_;  // its cleanup wipes the key schedule
};

static_assert(Cipher<Aes256GcmCipher>);

}  // namespace alos

#endif  // ALOS_PLUGINS_CIPHER_AES_256_GCM_AES_256_GCM_H_
