// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// AEGIS-128L as a frame cipher: the algorithm, over the machine's AES instructions where it has
// them and in portable constant-time code where it has not.

#ifndef ALOS_PLUGINS_CIPHER_AEGIS_128L_AEGIS_128L_H_
#define ALOS_PLUGINS_CIPHER_AEGIS_128L_AEGIS_128L_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "absl/types/span.h"
#include "alos/net/big_endian.h"
#include "alos/net/cipher.h"
#include "openssl/mem.h"
#include "plugins/cipher/aegis_128l/internal/aegis_core.h"

namespace alos {

// Satisfies Cipher (alos/net/cipher.h), which states the contract. The header of a frame is the
// nonce: the counter, then the counter with a constant mixed in, eight big-endian bytes each. A
// header whose halves do not belong together is refused.
//
//   | counter : 8 | counter ^ 0x414C4F5344424147 : 8 | ciphertext | tag : 16 |
class Aegis128lCipher {
 public:
  // Which code does the work. kBest is what the machine allows.
  enum class Implementation { kBest, kPortable };

  static constexpr std::uint8_t kVersion = 0x02;
  static constexpr std::string_view kName = "aegis-128l";
  static constexpr std::size_t kKeyBytes = 16;
  static constexpr std::size_t kHeaderBytes = 16;
  static constexpr std::size_t kTagBytes = 16;

  // A key of another size is a programming error and ends the process.
  explicit Aegis128lCipher(absl::Span<const std::uint8_t> key,
                           Implementation implementation = Implementation::kBest)
      : functions_(implementation == Implementation::kBest ? aegis_internal::BestFunctions()
                                                           : aegis_internal::PortableFunctions()) {
    if (key.size() != kKeyBytes) std::abort();
    std::memcpy(key_, key.data(), kKeyBytes);
  }
  ~Aegis128lCipher() { OPENSSL_cleanse(key_, sizeof(key_)); }
  Aegis128lCipher(const Aegis128lCipher&) = delete;
  Aegis128lCipher& operator=(const Aegis128lCipher&) = delete;

  void Seal(std::uint64_t counter, absl::Span<char> frame) {
    net_internal::StoreBigEndian64(counter, frame.data());
    net_internal::StoreBigEndian64(counter ^ kHeaderMask, frame.data() + 8);
    auto* const bytes = reinterpret_cast<std::uint8_t*>(frame.data());
    std::uint8_t* const body = bytes + kHeaderBytes;
    const std::size_t body_bytes = frame.size() - kHeaderBytes - kTagBytes;
    functions_.encrypt(key_, bytes, body, body_bytes, body + body_bytes);
  }

  std::optional<OpenedFrame> Open(absl::Span<char> frame) {
    if (frame.size() < kHeaderBytes + kTagBytes) return std::nullopt;
    const std::uint64_t counter = net_internal::LoadBigEndian64(frame.data());
    if (net_internal::LoadBigEndian64(frame.data() + 8) != (counter ^ kHeaderMask)) {
      return std::nullopt;
    }
    auto* const bytes = reinterpret_cast<std::uint8_t*>(frame.data());
    std::uint8_t* const body = bytes + kHeaderBytes;
    const std::size_t body_bytes = frame.size() - kHeaderBytes - kTagBytes;
    std::uint8_t tag[kTagBytes];
    functions_.decrypt(key_, bytes, body, body_bytes, tag);
    const bool authentic = CRYPTO_memcmp(tag, body + body_bytes, kTagBytes) == 0;
    OPENSSL_cleanse(tag, sizeof(tag));
    if (!authentic) {
      std::memset(body, 0, body_bytes);  // never let unauthenticated plaintext out
      return std::nullopt;
    }
    return OpenedFrame{counter, frame.subspan(kHeaderBytes, body_bytes)};
  }

 private:
  static constexpr std::uint64_t kHeaderMask = 0x414C4F5344424147;

  const aegis_internal::Functions functions_;
  std::uint8_t key_[kKeyBytes];
};

static_assert(Cipher<Aegis128lCipher>);

}  // namespace alos

#endif  // ALOS_PLUGINS_CIPHER_AEGIS_128L_AEGIS_128L_H_
