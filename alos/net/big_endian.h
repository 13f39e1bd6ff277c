// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Big-endian integers, as everything on the wire outside MessagePack is written.

#ifndef ALOS_NET_BIG_ENDIAN_H_
#define ALOS_NET_BIG_ENDIAN_H_

#include <cstdint>
#include <cstring>

namespace alos::net_internal {

// REQUIRES: 4 (8) bytes at `bytes`. Threads: any. Errors: none. Cost: one load or store.
inline std::uint32_t LoadBigEndian32(const char* bytes) {
  std::uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) value = __builtin_bswap32(value);
  return value;
}

inline std::uint64_t LoadBigEndian64(const char* bytes) {
  std::uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) value = __builtin_bswap64(value);
  return value;
}

inline void StoreBigEndian16(std::uint16_t value, char* bytes) {
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) value = __builtin_bswap16(value);
  std::memcpy(bytes, &value, sizeof(value));
}

inline void StoreBigEndian32(std::uint32_t value, char* bytes) {
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) value = __builtin_bswap32(value);
  std::memcpy(bytes, &value, sizeof(value));
}

inline void StoreBigEndian64(std::uint64_t value, char* bytes) {
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) value = __builtin_bswap64(value);
  std::memcpy(bytes, &value, sizeof(value));
}

}  // namespace alos::net_internal

#endif  // ALOS_NET_BIG_ENDIAN_H_
