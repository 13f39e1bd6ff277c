// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef ALOS_PLUGINS_CODEC_NONE_CODEC_H_
#define ALOS_PLUGINS_CODEC_NONE_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/storage/codec.h"

namespace alos {

// Stores documents as they are. The contract is Codec's (alos/storage/codec.h).
struct NoneCodec {
  static constexpr std::uint8_t kId = 0;
  static constexpr std::string_view kName = "none";
  static constexpr int kLevel = 0;

  static std::size_t BoundBytes(std::size_t raw_bytes) { return raw_bytes; }

  static absl::StatusOr<std::size_t> Compress(std::string_view raw, absl::Span<char> out) {
    if (raw.size() > kCodecRawBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("none: ", raw.size(), " bytes are more than a document can have"));
    }
    if (raw.size() > out.size()) return absl::ResourceExhaustedError("none: does not fit");
    if (!raw.empty()) std::memcpy(out.data(), raw.data(), raw.size());
    return raw.size();
  }

  static absl::Status Decompress(std::string_view stored, absl::Span<char> out) {
    if (stored.size() != out.size()) {
      return absl::DataLossError(absl::StrCat("none: ", stored.size(), " stored bytes for ",
                                              out.size(), " bytes of document"));
    }
    if (!stored.empty()) std::memcpy(out.data(), stored.data(), stored.size());
    return absl::OkStatus();
  }
};

static_assert(CheckCodec<NoneCodec>());

}  // namespace alos

#endif  // ALOS_PLUGINS_CODEC_NONE_CODEC_H_
