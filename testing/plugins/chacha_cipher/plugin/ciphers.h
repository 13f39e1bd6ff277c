// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A cipher plugin that lives outside of //plugins: adds ChaCha20-Poly1305 to the ciphers that come
// with alos.

#ifndef TESTING_PLUGINS_CHACHA_CIPHER_PLUGIN_CIPHERS_H_
#define TESTING_PLUGINS_CHACHA_CIPHER_PLUGIN_CIPHERS_H_

#include <openssl/aead.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/policy_list.h"
#include "alos/net/cipher.h"
#include "plugins/cipher/aegis_128l/aegis_128l.h"
#include "plugins/cipher/aes_256_gcm/aes_256_gcm.h"

namespace testing_plugins {

class ChaCha20Poly1305Cipher {
 public:
  static constexpr std::uint8_t kVersion = 0xc8;
  static constexpr std::string_view kName = "chacha20-poly1305";
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kHeaderBytes = 8;  // The counter, as the machine has it.
  static constexpr std::size_t kTagBytes = 16;

  explicit ChaCha20Poly1305Cipher(absl::Span<const std::uint8_t> key) {
    ALOS_CHECK(key.size() == kKeyBytes);
    ALOS_CHECK(EVP_AEAD_CTX_init(context_.get(), EVP_aead_chacha20_poly1305(), key.data(),
                                 key.size(), kTagBytes, nullptr) == 1);
  }

  void Seal(std::uint64_t counter, absl::Span<char> frame) {
    std::memcpy(frame.data(), &counter, kHeaderBytes);
    auto* const body = reinterpret_cast<std::uint8_t*>(frame.data()) + kHeaderBytes;
    const std::size_t size = frame.size() - kHeaderBytes - kTagBytes;
    std::size_t tag_bytes = 0;
    std::uint8_t nonce[12];
    MakeNonce(frame.data(), nonce);
    ALOS_CHECK(EVP_AEAD_CTX_seal_scatter(context_.get(), body, body + size, &tag_bytes, kTagBytes,
                                         nonce, sizeof(nonce), body, size, nullptr, 0, nullptr,
                                         0) == 1);
    ALOS_CHECK(tag_bytes == kTagBytes);
  }

  std::optional<alos::OpenedFrame> Open(absl::Span<char> frame) {
    if (frame.size() < kHeaderBytes + kTagBytes) return std::nullopt;
    auto* const body = reinterpret_cast<std::uint8_t*>(frame.data()) + kHeaderBytes;
    const std::size_t size = frame.size() - kHeaderBytes - kTagBytes;
    std::uint8_t nonce[12];
    MakeNonce(frame.data(), nonce);
    if (EVP_AEAD_CTX_open_gather(context_.get(), body, nonce, sizeof(nonce), body, size,
                                 body + size, kTagBytes, nullptr, 0) != 1) {
      return std::nullopt;
    }
    alos::OpenedFrame opened;
    std::memcpy(&opened.counter, frame.data(), kHeaderBytes);
    opened.plaintext = frame.subspan(kHeaderBytes, size);
    return opened;
  }

 private:
  static void MakeNonce(const char* header, std::uint8_t (&nonce)[12]) {
    std::memset(nonce, 0, 4);
    std::memcpy(nonce + 4, header, kHeaderBytes);
  }

  bssl::ScopedEVP_AEAD_CTX context_;
};

}  // namespace testing_plugins

namespace alos::plugin {

using Ciphers =
    PolicyList<testing_plugins::ChaCha20Poly1305Cipher, Aes256GcmCipher, Aegis128lCipher>;

}  // namespace alos::plugin

#endif  // TESTING_PLUGINS_CHACHA_CIPHER_PLUGIN_CIPHERS_H_
