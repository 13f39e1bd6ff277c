// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary bytes against both sides of the handshake. The first byte of the input says how the
// rest is cut into pieces. Nothing but the password can end a handshake well.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "alos/net/credentials.h"
#include "alos/net/handshake.h"

namespace {

constexpr alos::HandshakeVersion kVersions[] = {{0x01, 32}, {0x02, 16}};

template <class Handshake>
void Run(Handshake& handshake, std::string_view bytes, std::size_t piece) {
  std::string received, output;
  while (!bytes.empty()) {
    const std::size_t size = std::min(piece, bytes.size());
    received.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    for (;;) {
      const auto taken = handshake.Consume(received, &output);
      if (!taken.ok()) return;
      if (*taken > received.size()) std::abort();
      if (handshake.done()) std::abort();  // nobody guesses an HMAC
      if (*taken == 0) break;
      received.erase(0, *taken);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = data[0] % 64 + 1;
  alos::ServerHandshake server(kVersions, alos::Credentials("fuzz", "fuzz"), alos::Salt{});
  Run(server, bytes, piece);
  alos::ClientHandshake client(kVersions[data[0] & 1], alos::Credentials("fuzz", "fuzz"),
                               alos::Salt{});
  Run(client, bytes, piece);
  return 0;
}
