// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A codec plugin that lives outside of //plugins: stores runs of equal bytes as a count and the
// inverted byte. Good for nothing, but what it stored cannot be mistaken for what another codec
// did.

#ifndef TESTING_PLUGINS_XOR_CODEC_PLUGIN_CODECS_H_
#define TESTING_PLUGINS_XOR_CODEC_PLUGIN_CODECS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "alos/base/policy_list.h"
#include "alos/storage/codec.h"
#include "plugins/codec/none_codec.h"

namespace testing_plugins {

struct XorCodec {
  static constexpr std::uint8_t kId = 200;
  static constexpr std::string_view kName = "xor";
  static constexpr int kLevel = 1;

  static std::size_t BoundBytes(std::size_t raw_bytes) { return 2 * raw_bytes; }

  static absl::StatusOr<std::size_t> Compress(std::string_view raw, absl::Span<char> out) {
    if (raw.size() > alos::kCodecRawBytesMax) {
      return absl::InvalidArgumentError("xor: more bytes than a document can have");
    }
    std::size_t written = 0;
    while (!raw.empty()) {
      std::size_t run = 1;
      while (run < raw.size() && run < 255 && raw[run] == raw[0]) ++run;
      if (out.size() - written < 2) return absl::ResourceExhaustedError("xor: does not fit");
      out[written++] = static_cast<char>(run);
      out[written++] = static_cast<char>(~raw[0]);
      raw.remove_prefix(run);
    }
    return written;
  }

  static absl::Status Decompress(std::string_view stored, absl::Span<char> out) {
    std::size_t filled = 0;
    for (; stored.size() >= 2; stored.remove_prefix(2)) {
      const auto run = static_cast<unsigned char>(stored[0]);
      if (run == 0 || run > out.size() - filled) break;
      std::memset(out.data() + filled, static_cast<char>(~stored[1]), run);
      filled += run;
    }
    if (stored.empty() && filled == out.size()) return absl::OkStatus();
    return absl::DataLossError("xor: not a document of this size");
  }
};

}  // namespace testing_plugins

namespace alos::plugin {

using Codecs = PolicyList<NoneCodec, testing_plugins::XorCodec>;

}  // namespace alos::plugin

#endif  // TESTING_PLUGINS_XOR_CODEC_PLUGIN_CODECS_H_
