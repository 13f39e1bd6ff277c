// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary bytes as a stream of frames, plain or encrypted, cut into pieces in two ways: both must
// find the same frames. The first byte of the input chooses cipher and pieces.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "alos/net/frame.h"
#include "alos/net/secure_channel.h"
#include "plugin/ciphers.h"

namespace {

using Channel = alos::SecureChannel<alos::plugin::Ciphers>;

std::vector<std::string> Payloads(std::string_view bytes, std::size_t piece, Channel& channel) {
  constexpr std::size_t kFrameBytesMax = 1 << 16;
  std::vector<std::string> payloads;
  alos::FrameReader reader(kFrameBytesMax);
  std::size_t received = 0;
  while (!bytes.empty()) {
    const absl::Span<char> room = reader.Prepare();
    const std::size_t size = std::min({piece, room.size(), bytes.size()});
    std::memcpy(room.data(), bytes.data(), size);
    reader.Commit(size);
    bytes.remove_prefix(size);
    received += size;
    if (reader.capacity_bytes() > 2 * received + 2 * 64 * 1024) std::abort();
    for (;;) {
      const auto frame = reader.Next();
      if (!frame.ok()) {
        payloads.emplace_back(frame.status().message());
        return payloads;
      }
      if (!frame->has_value()) break;
      const auto opened = channel.Open(**frame);
      if (!opened.ok()) {
        payloads.emplace_back(opened.status().message());
        return payloads;
      }
      payloads.emplace_back(opened->data(), opened->size());
    }
  }
  return payloads;
}

void Enable(std::uint8_t choice, Channel& channel) {
  const auto versions = Channel::versions();
  if (choice % 3 == 0) return;
  alos::HandshakeKeys keys;
  keys.version = versions[choice % versions.size()].version;
  keys.client_to_server.assign(versions[choice % versions.size()].key_bytes, 1);
  keys.server_to_client.assign(versions[choice % versions.size()].key_bytes, 2);
  channel.Enable(keys, Channel::Role::kServer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Channel split_channel, whole_channel;
  Enable(data[0], split_channel);
  Enable(data[0], whole_channel);
  const auto split = Payloads(bytes, data[0] / 8 + 1, split_channel);
  const auto whole = Payloads(bytes, bytes.size(), whole_channel);
  if (split != whole) std::abort();
  return 0;
}
