// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The secret that both ends of a connection know.

#ifndef ALOS_NET_CREDENTIALS_H_
#define ALOS_NET_CREDENTIALS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "openssl/mem.h"
#include "openssl/sha.h"

namespace alos {

// A user name and password as the wire protocol uses them: only as SHA-256(username ":" password).
//
// Threads: immutable; any number may use one. Lifetime: a value; its copy of the secret is wiped
// when it goes. Errors: none. Cost: one hash at construction.
//
//   const Credentials credentials("admin", "secret");
//   if (!credentials.MatchesToken(request.auth)) return absl::UnauthenticatedError(...);
class Credentials {
 public:
  static constexpr std::size_t kKeyBytes = SHA256_DIGEST_LENGTH;

  Credentials(std::string_view username, std::string_view password) {
    std::string text = absl::StrCat(username, ":", password);
    SHA256(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), key_.data());
    OPENSSL_cleanse(text.data(), text.size());
  }
  Credentials(const Credentials&) = default;
  Credentials& operator=(const Credentials&) = default;
  ~Credentials() { OPENSSL_cleanse(key_.data(), key_.size()); }

  // The pre-shared key of the handshake. Secret.
  absl::Span<const std::uint8_t> key() const { return key_; }

  // What a client puts in the `auth` field of a request: lower-case hex of the key. Secret.
  std::string Token() const {
    return absl::BytesToHexString(
        std::string_view(reinterpret_cast<const char*>(key_.data()), key_.size()));
  }

  // Compares in constant time.
  bool MatchesToken(std::string_view token) const {
    std::string expected = Token();
    const bool matches = token.size() == expected.size() &&
                         CRYPTO_memcmp(token.data(), expected.data(), expected.size()) == 0;
    OPENSSL_cleanse(expected.data(), expected.size());
    return matches;
  }

 private:
  std::array<std::uint8_t, kKeyBytes> key_;
};

}  // namespace alos

#endif  // ALOS_NET_CREDENTIALS_H_
