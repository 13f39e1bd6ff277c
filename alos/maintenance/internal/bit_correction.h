// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Finds the one flipped bit that explains why a checksum does not hold.

#ifndef ALOS_MAINTENANCE_INTERNAL_BIT_CORRECTION_H_
#define ALOS_MAINTENANCE_INTERNAL_BIT_CORRECTION_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "alos/base/crc32c.h"
#include "alos/storage/record.h"

namespace alos::maintenance_internal {

// Larger bodies have so many bits that one of them would explain too many checksums.
inline constexpr std::size_t kCorrectedBytesMax = std::size_t{1} << 20;

// The bit (from the first byte's lowest on) of `bytes` that, flipped, gives them this checksum.
// CRC-32C is linear: what a flipped bit changes of it depends only on how many bytes follow.
// Cost: some ns per byte.
inline std::optional<std::size_t> FindFlippedBit(std::string_view bytes, std::uint32_t checksum) {
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0);
      made[i] = value;
    }
    return made;
  }();
  if (bytes.size() > kCorrectedBytesMax) return std::nullopt;
  const std::uint32_t difference = Crc32c(bytes) ^ checksum;
  if (difference == 0) return std::nullopt;
  std::array<std::uint32_t, 8> effect{};
  for (std::size_t bit = 0; bit < 8; ++bit) effect[bit] = table[std::size_t{1} << bit];
  for (std::size_t i = bytes.size(); i-- > 0;) {
    for (std::size_t bit = 0; bit < 8; ++bit) {
      if (effect[bit] == difference) return i * 8 + bit;
      effect[bit] = table[effect[bit] & 0xff] ^ (effect[bit] >> 8);
    }
  }
  return std::nullopt;
}

inline void FlipBit(std::size_t bit, std::string* bytes) {
  (*bytes)[bit / 8] = static_cast<char>((*bytes)[bit / 8] ^ (1 << (bit % 8)));
}

// The record at `offset` of a file of this generation with one bit of its header or id put right,
// if that makes the header whole (its body may still be damaged). `available`: the bytes from there
// on that the record may have at most.
inline std::optional<std::string> CorrectHeader(std::string_view available,
                                                std::uint64_t generation, std::uint64_t offset) {
  if (available.size() < kRecordHeaderSize) return std::nullopt;
  // No more than any header and id can have.
  std::string bytes(available.substr(0, kRecordHeaderSize + kRecordIdSizeMax));
  const auto is_whole = [&] {
    if (!IsPlausibleRecord(bytes.data(), available.size())) return false;
    const RecordView record(bytes.data());
    if (kRecordHeaderSize + record.header().id_size > bytes.size()) return false;
    return RecordHeaderChecksum(record.header(), record.id(), generation, offset) ==
           record.header().header_checksum;
  };
  for (std::size_t bit = 0; bit < kRecordHeaderSize * 8; ++bit) {
    FlipBit(bit, &bytes);
    if (is_whole()) {
      std::string record(available.substr(0, RecordView(bytes.data()).header().size));
      record.replace(0, kRecordHeaderSize, bytes, 0, kRecordHeaderSize);
      return record;
    }
    FlipBit(bit, &bytes);
  }
  if (!IsPlausibleRecord(bytes.data(), available.size())) return std::nullopt;
  const RecordHeader header = RecordView(bytes.data()).header();
  const std::size_t end = std::min(bytes.size(), kRecordHeaderSize + header.id_size);
  for (std::size_t bit = kRecordHeaderSize * 8; bit < end * 8; ++bit) {
    FlipBit(bit, &bytes);
    if (is_whole()) {
      std::string record(available.substr(0, header.size));
      record.replace(kRecordHeaderSize, header.id_size, bytes, kRecordHeaderSize, header.id_size);
      return record;
    }
    FlipBit(bit, &bytes);
  }
  return std::nullopt;
}

}  // namespace alos::maintenance_internal

#endif  // ALOS_MAINTENANCE_INTERNAL_BIT_CORRECTION_H_
