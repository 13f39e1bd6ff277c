// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The pre-shared-key handshake that turns a connection into an encrypted one, as two state machines
// that read and write byte strings and know nothing of sockets.
//
//   client -> server   0xAE, version, client_salt[32]
//   server -> client   server_salt[32], server_proof[32]
//   client -> server   client_proof[32]
//
// With salt = client_salt, server_salt, every key is HKDF-SHA256(pre-shared key, salt, info): the
// two frame keys (info "alosdb-c2s-v1" and "alosdb-s2c-v1", as long as the version's cipher wants)
// and the proof key ("alosdb-proof-v1", 32 bytes). A proof is HMAC-SHA256(proof key, "server" or
// "client", salt).
//
// What it does not give: forward secrecy, and resistance to guessing a weak password offline by
// whoever can connect (the server proves itself first). It is what published clients speak.

#ifndef ALOS_NET_HANDSHAKE_H_
#define ALOS_NET_HANDSHAKE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/net/credentials.h"
#include "openssl/digest.h"
#include "openssl/hkdf.h"
#include "openssl/hmac.h"
#include "openssl/mem.h"
#include "openssl/rand.h"

namespace alos {

// The first byte of an encrypted connection. As the first byte of a plain one it would announce a
// frame of 2.9 GB.
inline constexpr char kHandshakeFirstByte = static_cast<char>(0xAE);
inline constexpr std::size_t kSaltBytes = 32;
inline constexpr std::size_t kProofBytes = 32;
inline constexpr std::size_t kHelloBytes = 2 + kSaltBytes;
inline constexpr std::size_t kHelloReplyBytes = kSaltBytes + kProofBytes;

using Salt = std::array<std::uint8_t, kSaltBytes>;

// Unpredictable bytes. Threads: any.
inline Salt NewSalt() {
  Salt salt;
  RAND_bytes(salt.data(), salt.size());
  return salt;
}

// A version of the handshake, and how long the keys of its cipher are.
struct HandshakeVersion {
  std::uint8_t version = 0;
  std::size_t key_bytes = 0;
};

// What a finished handshake yields. Wiped when destroyed.
struct HandshakeKeys {
  std::uint8_t version = 0;
  std::vector<std::uint8_t> client_to_server;
  std::vector<std::uint8_t> server_to_client;

  HandshakeKeys() = default;
  HandshakeKeys(const HandshakeKeys&) = delete;
  HandshakeKeys& operator=(const HandshakeKeys&) = delete;
  ~HandshakeKeys() {
    OPENSSL_cleanse(client_to_server.data(), client_to_server.size());
    OPENSSL_cleanse(server_to_client.data(), server_to_client.size());
  }
};

// The server's side of one connection.
//
// Threads: one at a time. Lifetime: keeps no reference to its arguments but `versions`, which must
// outlive it (a constant). Durability: none.
// Errors: kInvalidArgument for what is not a hello, kUnimplemented for a version that is not
// served,
//   kPermissionDenied for a wrong proof. After an error the connection is to be closed without
//   sending anything more.
// Cost: seven HMACs or so; no allocation beyond the keys.
//
//   ServerHandshake handshake(versions, credentials, NewSalt());
//   while (!handshake.done()) {
//     absl::StatusOr<std::size_t> taken = handshake.Consume(received, &to_send);
//     ...
//   }
class ServerHandshake {
 public:
  ServerHandshake(absl::Span<const HandshakeVersion> versions, const Credentials& credentials,
                  const Salt& server_salt)
      : versions_(versions), credentials_(credentials), server_salt_(server_salt) {}
  ~ServerHandshake() { OPENSSL_cleanse(client_proof_.data(), client_proof_.size()); }
  ServerHandshake(const ServerHandshake&) = delete;
  ServerHandshake& operator=(const ServerHandshake&) = delete;

  // Takes the next message from the front of `input`, appends the answer to *output, and returns
  // the number of bytes taken: 0 if the message is not complete yet. Never takes bytes behind the
  // handshake. REQUIRES: !done(), no error before.
  absl::StatusOr<std::size_t> Consume(std::string_view input, std::string* output);

  bool done() const { return state_ == State::kDone; }
  // REQUIRES: done().
  const HandshakeKeys& keys() const { return keys_; }

 private:
  enum class State { kHello, kProof, kDone };

  absl::Span<const HandshakeVersion> versions_;
  Credentials credentials_;
  Salt server_salt_;
  State state_ = State::kHello;
  std::array<std::uint8_t, kProofBytes> client_proof_{};
  HandshakeKeys keys_;
};

// The client's side of one connection. As ServerHandshake, with these differences: it begins with
// Start; its error for a wrong proof (kPermissionDenied) means that the other side does not know
// the password.
class ClientHandshake {
 public:
  ClientHandshake(HandshakeVersion version, const Credentials& credentials, const Salt& client_salt)
      : version_(version), credentials_(credentials), client_salt_(client_salt) {}
  ClientHandshake(const ClientHandshake&) = delete;
  ClientHandshake& operator=(const ClientHandshake&) = delete;

  // Appends the hello to *output. Call once, first.
  void Start(std::string* output) const {
    output->push_back(kHandshakeFirstByte);
    output->push_back(static_cast<char>(version_.version));
    output->append(reinterpret_cast<const char*>(client_salt_.data()), client_salt_.size());
  }

  // As ServerHandshake::Consume.
  absl::StatusOr<std::size_t> Consume(std::string_view input, std::string* output);

  bool done() const { return done_; }
  // REQUIRES: done().
  const HandshakeKeys& keys() const { return keys_; }

 private:
  HandshakeVersion version_;
  Credentials credentials_;
  Salt client_salt_;
  bool done_ = false;
  HandshakeKeys keys_;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace net_internal {

// Everything that follows from the two salts. Wiped when destroyed.
class KeySchedule {
 public:
  KeySchedule(const Credentials& credentials, const Salt& client_salt, const Salt& server_salt) {
    std::memcpy(salts_, client_salt.data(), kSaltBytes);
    std::memcpy(salts_ + kSaltBytes, server_salt.data(), kSaltBytes);
    // Fails for want of memory only.
    ALOS_CHECK(HKDF_extract(extracted_, &extracted_bytes_, EVP_sha256(), credentials.key().data(),
                            credentials.key().size(), salts_, sizeof(salts_)) == 1);
    Expand("alosdb-proof-v1", absl::MakeSpan(proof_key_));
  }
  ~KeySchedule() {
    OPENSSL_cleanse(extracted_, sizeof(extracted_));
    OPENSSL_cleanse(proof_key_, sizeof(proof_key_));
  }
  KeySchedule(const KeySchedule&) = delete;
  KeySchedule& operator=(const KeySchedule&) = delete;

  void MakeKeys(HandshakeVersion version, HandshakeKeys* keys) const {
    keys->version = version.version;
    keys->client_to_server.resize(version.key_bytes);
    keys->server_to_client.resize(version.key_bytes);
    Expand("alosdb-c2s-v1", absl::MakeSpan(keys->client_to_server));
    Expand("alosdb-s2c-v1", absl::MakeSpan(keys->server_to_client));
  }

  std::array<std::uint8_t, kProofBytes> Proof(std::string_view label) const {
    const std::string message = absl::StrCat(
        label, std::string_view(reinterpret_cast<const char*>(salts_), sizeof(salts_)));
    std::array<std::uint8_t, kProofBytes> proof;
    unsigned int proof_bytes = 0;
    // Fails for want of memory only.
    const auto* const made = HMAC(EVP_sha256(), proof_key_, sizeof(proof_key_),
                                  reinterpret_cast<const std::uint8_t*>(message.data()),
                                  message.size(), proof.data(), &proof_bytes);
    ALOS_CHECK(made != nullptr && proof_bytes == proof.size());
    return proof;
  }

 private:
  void Expand(std::string_view info, absl::Span<std::uint8_t> key) const {
    // Fails for a key over 8,160 bytes only.
    ALOS_CHECK(HKDF_expand(key.data(), key.size(), EVP_sha256(), extracted_, extracted_bytes_,
                           reinterpret_cast<const std::uint8_t*>(info.data()), info.size()) == 1);
  }

  std::uint8_t salts_[2 * kSaltBytes];
  std::uint8_t extracted_[EVP_MAX_MD_SIZE];
  std::size_t extracted_bytes_ = 0;
  std::uint8_t proof_key_[kProofBytes];
};

}  // namespace net_internal

inline absl::StatusOr<std::size_t> ServerHandshake::Consume(std::string_view input,
                                                            std::string* output) {
  if (state_ == State::kHello) {
    // Refuse what cannot become a hello as early as it shows.
    if (!input.empty() && input[0] != kHandshakeFirstByte) {
      return absl::InvalidArgumentError(absl::StrCat("handshake: the first byte is 0x",
                                                     absl::BytesToHexString(input.substr(0, 1)),
                                                     ", expected 0xae"));
    }
    const HandshakeVersion* chosen = nullptr;
    if (input.size() >= 2) {
      for (const HandshakeVersion& version : versions_) {
        if (version.version == static_cast<std::uint8_t>(input[1])) chosen = &version;
      }
      if (chosen == nullptr) {
        return absl::UnimplementedError(absl::StrCat("handshake: version 0x",
                                                     absl::BytesToHexString(input.substr(1, 1)),
                                                     " is not served by this build"));
      }
    }
    if (input.size() < kHelloBytes) return 0;
    Salt client_salt;
    std::memcpy(client_salt.data(), input.data() + 2, kSaltBytes);
    const net_internal::KeySchedule schedule(credentials_, client_salt, server_salt_);
    schedule.MakeKeys(*chosen, &keys_);
    const auto server_proof = schedule.Proof("server");
    client_proof_ = schedule.Proof("client");
    output->append(reinterpret_cast<const char*>(server_salt_.data()), server_salt_.size());
    output->append(reinterpret_cast<const char*>(server_proof.data()), server_proof.size());
    state_ = State::kProof;
    return kHelloBytes;
  }
  if (input.size() < kProofBytes) return 0;
  if (CRYPTO_memcmp(input.data(), client_proof_.data(), kProofBytes) != 0) {
    return absl::PermissionDeniedError(
        "handshake: the client's proof is wrong (bad user name or "
        "password)");
  }
  state_ = State::kDone;
  return kProofBytes;
}

inline absl::StatusOr<std::size_t> ClientHandshake::Consume(std::string_view input,
                                                            std::string* output) {
  if (input.size() < kHelloReplyBytes) return 0;
  Salt server_salt;
  std::memcpy(server_salt.data(), input.data(), kSaltBytes);
  const net_internal::KeySchedule schedule(credentials_, client_salt_, server_salt);
  const auto server_proof = schedule.Proof("server");
  if (CRYPTO_memcmp(input.data() + kSaltBytes, server_proof.data(), kProofBytes) != 0) {
    return absl::PermissionDeniedError(
        "handshake: the server's proof is wrong (bad user name or "
        "password)");
  }
  schedule.MakeKeys(version_, &keys_);
  const auto client_proof = schedule.Proof("client");
  output->append(reinterpret_cast<const char*>(client_proof.data()), client_proof.size());
  done_ = true;
  return kHelloReplyBytes;
}

}  // namespace alos

#endif  // ALOS_NET_HANDSHAKE_H_
