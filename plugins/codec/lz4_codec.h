// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef ALOS_PLUGINS_CODEC_LZ4_CODEC_H_
#define ALOS_PLUGINS_CODEC_LZ4_CODEC_H_

#ifndef LZ4_STATIC_LINKING_ONLY
#define LZ4_STATIC_LINKING_ONLY  // LZ4_compress_fast_extState_fastReset; we pin and build LZ4
                                 // ourselves.
#endif
#include <lz4.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/storage/codec.h"

namespace alos {

// LZ4 blocks, without a frame. The contract is Codec's (alos/storage/codec.h).
// Cost: each thread that compresses keeps a table of 16 KiB.
struct Lz4Codec {
  static constexpr std::uint8_t kId = 1;
  static constexpr std::string_view kName = "lz4";
  static constexpr int kLevel = 1;

  static_assert(kCodecRawBytesMax <= LZ4_MAX_INPUT_SIZE);

  static std::size_t BoundBytes(std::size_t raw_bytes) { return raw_bytes + raw_bytes / 255 + 16; }

  static absl::StatusOr<std::size_t> Compress(std::string_view raw, absl::Span<char> out) {
    if (raw.size() > kCodecRawBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("lz4: ", raw.size(), " bytes are more than a document can have"));
    }
    // Clearing the table costs more than compressing a small document; a state that is kept need
    // not be cleared each time.
    static thread_local const std::unique_ptr<LZ4_stream_t> state = [] {
      auto fresh = std::make_unique<LZ4_stream_t>();
      LZ4_initStream(fresh.get(), sizeof(LZ4_stream_t));
      return fresh;
    }();
    const int count = LZ4_compress_fast_extState_fastReset(
        state.get(), raw.data(), out.data(), static_cast<int>(raw.size()),
        static_cast<int>(std::min(out.size(), BoundBytes(raw.size()))), /*acceleration=*/1);
    if (count > 0) return static_cast<std::size_t>(count);
    LZ4_initStream(state.get(), sizeof(LZ4_stream_t));  // A failed call leaves it undefined.
    return absl::ResourceExhaustedError("lz4: does not fit");
  }

  static absl::Status Decompress(std::string_view stored, absl::Span<char> out) {
    if (stored.size() <= BoundBytes(kCodecRawBytesMax) && out.size() <= kCodecRawBytesMax) {
      const int count = LZ4_decompress_safe(
          stored.data(), out.data(), static_cast<int>(stored.size()), static_cast<int>(out.size()));
      if (count >= 0 && static_cast<std::size_t>(count) == out.size()) return absl::OkStatus();
    }
    return absl::DataLossError(absl::StrCat("lz4: ", stored.size(),
                                            " stored bytes are not a compressed document of ",
                                            out.size(), " bytes"));
  }
};

static_assert(CheckCodec<Lz4Codec>());

}  // namespace alos

#endif  // ALOS_PLUGINS_CODEC_LZ4_CODEC_H_
