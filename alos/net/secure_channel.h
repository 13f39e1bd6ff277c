// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// One end of a connection's encryption: the cipher the handshake agreed on, a key and a frame
// counter for each direction.

#ifndef ALOS_NET_SECURE_CHANNEL_H_
#define ALOS_NET_SECURE_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/net/cipher.h"
#include "alos/net/handshake.h"

namespace alos {

namespace net_internal {
template <class Ciphers>
struct CipherTraits;
template <template <class...> class List, class... Cs>
struct CipherTraits<List<Cs...>> {
  static_assert((CheckCipher<Cs>() && ...));
  template <class C>
  struct Pair {
    C sender;
    C receiver;
  };
  using Active = std::variant<std::monostate, std::unique_ptr<Pair<Cs>>...>;
  static constexpr std::array<HandshakeVersion, sizeof...(Cs)> kVersions = {
      HandshakeVersion{Cs::kVersion, Cs::kKeyBytes}...};
  static constexpr bool VersionsDiffer() {
    for (std::size_t i = 0; i < kVersions.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (kVersions[i].version == kVersions[j].version) return false;
      }
    }
    return true;
  }
  static_assert(VersionsDiffer(), "two ciphers of this build have the same handshake version");

  static Active Make(const HandshakeKeys& keys, absl::Span<const std::uint8_t> send_key,
                     absl::Span<const std::uint8_t> receive_key) {
    Active active;
    (void)((keys.version == Cs::kVersion ? (active.template emplace<std::unique_ptr<Pair<Cs>>>(
                                                new Pair<Cs>{Cs(send_key), Cs(receive_key)}),
                                            true)
                                         : false) ||
           ...);
    return active;
  }
};
}  // namespace net_internal

// Plain until Enable. `Ciphers` is a PolicyList of types that satisfy Cipher.
//
// Threads: one at a time. Lifetime: independent; the keys are wiped with it. Durability: none.
// Errors: Open only; after one the connection must be closed.
// Cost: the cipher's; no allocation per frame.
template <class Ciphers>
class SecureChannel {
  using Traits = net_internal::CipherTraits<Ciphers>;

 public:
  enum class Role { kServer, kClient };

  // The handshake versions that this build's ciphers serve.
  static absl::Span<const HandshakeVersion> versions() { return Traits::kVersions; }

  bool encrypted() const { return active_.index() != 0; }

  // From now on every frame is sealed. REQUIRES: keys of a finished handshake over versions().
  void Enable(const HandshakeKeys& keys, Role role) {
    const bool server = role == Role::kServer;
    active_ = Traits::Make(keys, server ? keys.server_to_client : keys.client_to_server,
                           server ? keys.client_to_server : keys.server_to_client);
    Visit([this](auto& pair) {
      using C = std::remove_reference_t<decltype(pair.sender)>;
      header_bytes_ = C::kHeaderBytes;
      tag_bytes_ = C::kTagBytes;
    });
  }

  // Bytes around the plaintext of a frame; 0 while plain.
  std::size_t header_bytes() const { return header_bytes_; }
  std::size_t tag_bytes() const { return tag_bytes_; }

  // Seals `frame` (header room, plaintext, tag room) in place with the next counter. Does nothing
  // while plain.
  void Seal(absl::Span<char> frame) {
    Visit([this, frame](auto& pair) { pair.sender.Seal(++frames_sent_, frame); });
  }

  // Opens a received frame in place and returns its plaintext. While plain, returns the frame.
  // Errors: kDataLoss if it is not authentic, kAborted if its counter was used before (a replay).
  absl::StatusOr<absl::Span<char>> Open(absl::Span<char> frame) {
    if (!encrypted()) return frame;
    std::optional<OpenedFrame> opened;
    Visit([&opened, frame](auto& pair) { opened = pair.receiver.Open(frame); });
    if (!opened.has_value()) {
      return absl::DataLossError(
          absl::StrCat("frame after number ", counter_received_,
                       ": not authentic (damaged, forged, or sealed with another key)"));
    }
    if (opened->counter <= counter_received_) {
      return absl::AbortedError(absl::StrCat("frame number ", opened->counter,
                                             " was seen before (a replay): the last one was ",
                                             counter_received_));
    }
    counter_received_ = opened->counter;
    return opened->plaintext;
  }

 private:
  template <class Function>
  void Visit(Function function) {
    std::visit(
        [&function](auto& pair) {
          if constexpr (!std::is_same_v<std::remove_reference_t<decltype(pair)>, std::monostate>) {
            function(*pair);
          }
        },
        active_);
  }

  typename Traits::Active active_;
  std::size_t header_bytes_ = 0;
  std::size_t tag_bytes_ = 0;
  std::uint64_t frames_sent_ = 0;
  std::uint64_t counter_received_ = 0;
};

}  // namespace alos

#endif  // ALOS_NET_SECURE_CHANNEL_H_
