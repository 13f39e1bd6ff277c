// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/codec.h"

struct Bad {
  static constexpr std::uint8_t kId = 200;
  static constexpr std::string_view kName = "bad";
  static constexpr int kLevel = 3;
  static std::size_t BoundBytes(std::size_t raw);
  static absl::StatusOr<std::size_t> Compress(std::string_view raw, absl::Span<char> out);
  static std::string Decompress(std::string_view stored);
};

static_assert(alos::CheckCodec<Bad>());
