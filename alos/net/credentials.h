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

  // Compares in constant time, without allocating.
  bool MatchesToken(std::string_view token) const {
    if (token.size() != 2 * kKeyBytes) return false;
    // Lower-case hex without a table and without branches: for n over 9 the mask is all ones.
    const auto digit = [](int n) { return '0' + n + (((9 - n) >> 8) & ('a' - '0' - 10)); };
    int difference = 0;
    for (std::size_t i = 0; i < kKeyBytes; ++i) {
      difference |= digit(key_[i] >> 4) ^ token[2 * i];
      difference |= digit(key_[i] & 15) ^ token[2 * i + 1];
    }
    return difference == 0;
  }

 private:
  std::array<std::uint8_t, kKeyBytes> key_;
};

}  // namespace alos

#endif  // ALOS_NET_CREDENTIALS_H_
