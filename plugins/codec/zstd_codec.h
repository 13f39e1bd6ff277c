// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef ALOS_PLUGINS_CODEC_ZSTD_CODEC_H_
#define ALOS_PLUGINS_CODEC_ZSTD_CODEC_H_

#include <zstd.h>
#include <zstd_errors.h>

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

// Zstandard frames at its level 9, without its checksum (the record has one). The contract is
// Codec's (alos/storage/codec.h). Cost: each thread keeps a context of what its recent documents
// needed: some 100 KiB for small ones, megabytes for documents of megabytes.
struct ZstdCodec {
  static constexpr std::uint8_t kId = 2;
  static constexpr std::string_view kName = "zstd";
  static constexpr int kLevel = 9;

  static std::size_t BoundBytes(std::size_t raw_bytes) { return ZSTD_compressBound(raw_bytes); }

  static absl::StatusOr<std::size_t> Compress(std::string_view raw, absl::Span<char> out) {
    if (raw.size() > kCodecRawBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("zstd: ", raw.size(), " bytes are more than a document can have"));
    }
    static thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
    if (context == nullptr) return absl::ResourceExhaustedError("zstd: out of memory");
    const std::size_t result = ZSTD_compressCCtx(context.get(), out.data(), out.size(), raw.data(),
                                                 raw.size(), kZstandardLevel);
    if (!ZSTD_isError(result)) return result;
    if (ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall) {
      return absl::ResourceExhaustedError("zstd: does not fit");
    }
    return absl::ResourceExhaustedError(absl::StrCat("zstd: ", ZSTD_getErrorName(result)));
  }

  static absl::Status Decompress(std::string_view stored, absl::Span<char> out) {
    static thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
    if (context == nullptr) return absl::ResourceExhaustedError("zstd: out of memory");
    const std::size_t result =
        ZSTD_decompressDCtx(context.get(), out.data(), out.size(), stored.data(), stored.size());
    // Nothing at all is no frame, though zstd takes it for the compression of nothing.
    if (!ZSTD_isError(result) && result == out.size() && !stored.empty()) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("zstd: ", stored.size(),
                                            " stored bytes are not a compressed document of ",
                                            out.size(), " bytes", ZSTD_isError(result) ? ": " : "",
                                            ZSTD_isError(result) ? ZSTD_getErrorName(result) : ""));
  }

 private:
  static constexpr int kZstandardLevel = 9;

  struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
};

static_assert(CheckCodec<ZstdCodec>());

}  // namespace alos

#endif  // ALOS_PLUGINS_CODEC_ZSTD_CODEC_H_
