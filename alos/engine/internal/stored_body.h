// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A document's bytes as they are stored: through the codec of the configured level where that pays.

#ifndef ALOS_ENGINE_INTERNAL_STORED_BODY_H_
#define ALOS_ENGINE_INTERNAL_STORED_BODY_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/crc32c.h"
#include "alos/base/status_macros.h"

namespace alos::engine_internal {

// Bodies below this gain too little to pay for being decoded at every read.
inline constexpr std::size_t kCompressedBodySizeMin = 128;

// Decoded bodies below this are not kept in the cache when their codec is the fast one: it takes
// some 60 ns for 300 bytes, which is less than the misses of a lookup among many documents.
inline constexpr std::size_t kCachedBodySizeMin = 1024;

template <class Codecs>
bool IsWorthCaching(std::uint8_t codec_id, std::size_t raw_size) {
  bool is_fast = false;
  Codecs::VisitFirst([&](auto codec) { return decltype(codec)::type::kId == codec_id; },
                     [&](auto codec) { is_fast = decltype(codec)::type::kLevel <= 1; });
  return raw_size >= kCachedBodySizeMin || !is_fast;
}

// A body ready to be appended.
struct StoredBody {
  // Valid while both this and the raw body are.
  std::string_view stored() const { return codec == 0 ? raw : std::string_view(compressed); }

  std::string_view raw;
  std::string compressed;  // when codec is not 0
  std::uint32_t checksum = 0;
  std::uint8_t codec = 0;
};

// Whether `level` is that of a codec in the list.
template <class Codecs>
bool HasCodecLevel(int level) {
  return Codecs::VisitFirst([&](auto codec) { return decltype(codec)::type::kLevel == level; },
                            [](auto) {});
}

// Fills `body` from `raw`, which must outlive it. A body that does not shrink by an eighth is
// stored as it is: reading it then costs nothing.
template <class Codecs>
void EncodeBody(std::string_view raw, int level, bool with_checksum, StoredBody* body) {
  body->raw = raw;
  body->codec = 0;
  if (raw.size() >= kCompressedBodySizeMin && level != 0) {
    Codecs::VisitFirst([&](auto codec) { return decltype(codec)::type::kLevel == level; },
                       [&](auto codec) {
                         using Codec = typename decltype(codec)::type;
                         body->compressed.resize(Codec::BoundBytes(raw.size()));
                         const absl::StatusOr<std::size_t> size =
                             Codec::Compress(raw, absl::MakeSpan(body->compressed));
                         if (!size.ok() || *size > raw.size() - raw.size() / 8) return;
                         body->compressed.resize(*size);
                         body->codec = Codec::kId;
                       });
  }
  body->checksum = with_checksum ? Crc32c(body->stored()) : 0;
}

// The raw body of a record whose checksum holds, put into `out`, which has its size.
template <class Codecs>
absl::Status DecodeBody(std::uint8_t codec_id, std::string_view stored, absl::Span<char> out) {
  absl::Status status;
  const bool known = Codecs::VisitFirst(
      [&](auto codec) { return decltype(codec)::type::kId == codec_id; },
      [&](auto codec) { status = decltype(codec)::type::Decompress(stored, out); });
  if (!known) {
    return absl::FailedPreconditionError(
        absl::StrCat("the document is stored with codec ", codec_id,
                     ", which this build does not have; use a build with that codec"));
  }
  return status;
}

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_STORED_BODY_H_
