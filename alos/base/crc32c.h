// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C (Castagnoli: RFC 3720, 12.1), the checksum of records and frames.

#ifndef ALOS_BASE_CRC32C_H_
#define ALOS_BASE_CRC32C_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

namespace alos {

// The CRC-32C of `data`; with `seed`, the CRC-32C of (what `seed` is the CRC-32C of) followed by
// `data`:
//
//   Crc32c(b, Crc32c(a)) == Crc32c(a + b)
//
// Threads: any. Errors: none. Cost: no allocation. On x86-64 the crc32 instruction, three streams
// at once from 192 bytes on; elsewhere, and on processors without it, eight table look-ups for
// eight bytes. The choice is made at run time, once. Figures: crc32c_benchmark.cc.
std::uint32_t Crc32c(std::string_view data, std::uint32_t seed = 0);

// ---- Readers of the API may stop here. ----

namespace base_internal {

// The generator polynomial, bit-reflected: bit 31 is x^0, bit 0 is x^31.
inline constexpr std::uint32_t kCrc32cPolynomial = 0x82f63b78;

// `value` times x, modulo the generator.
constexpr std::uint32_t Crc32cTimesX(std::uint32_t value) {
  return (value >> 1) ^ ((value & 1) != 0 ? kCrc32cPolynomial : 0);
}

// tables[k][b]: what byte b contributes to the register after k more bytes have followed it.
constexpr std::array<std::array<std::uint32_t, 256>, 8> MakeCrc32cTables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = Crc32cTimesX(value);
    tables[0][byte] = value;
  }
  for (int k = 1; k < 8; ++k) {
    for (int byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}
inline constexpr auto kCrc32cTables = MakeCrc32cTables();

// The functions below take and return the register itself: neither inverted at the start nor at the
// end.

inline std::uint32_t Crc32cPortable(std::uint32_t state, const char* data, std::size_t size) {
  const auto& t = kCrc32cTables;
  if constexpr (std::endian::native == std::endian::little) {
    for (; size >= 8; size -= 8, data += 8) {
      std::uint32_t low;
      std::uint32_t high;
      std::memcpy(&low, data, 4);
      std::memcpy(&high, data + 4, 4);
      low ^= state;
      state = t[7][low & 0xff] ^ t[6][(low >> 8) & 0xff] ^ t[5][(low >> 16) & 0xff] ^
              t[4][low >> 24] ^ t[3][high & 0xff] ^ t[2][(high >> 8) & 0xff] ^
              t[1][(high >> 16) & 0xff] ^ t[0][high >> 24];
    }
  }
  for (; size > 0; --size, ++data) {
    state = (state >> 8) ^ t[0][(state ^ static_cast<unsigned char>(*data)) & 0xff];
  }
  return state;
}

#if defined(__x86_64__)

inline std::uint64_t LoadWord(const char* data) {
  std::uint64_t word;
  std::memcpy(&word, data, 8);
  return word;
}

// One stream: bound by the instruction's latency, three cycles for eight bytes.
__attribute__((target("sse4.2"))) inline std::uint32_t Crc32cSse42(std::uint32_t state,
                                                                   const char* data,
                                                                   std::size_t size) {
  std::uint64_t wide = state;
  for (; size >= 8; size -= 8, data += 8) wide = _mm_crc32_u64(wide, LoadWord(data));
  state = static_cast<std::uint32_t>(wide);
  if ((size & 4) != 0) {
    std::uint32_t word;
    std::memcpy(&word, data, 4);
    state = _mm_crc32_u32(state, word);
    data += 4;
  }
  if ((size & 2) != 0) {
    std::uint16_t word;
    std::memcpy(&word, data, 2);
    state = _mm_crc32_u16(state, word);
    data += 2;
  }
  if ((size & 1) != 0) state = _mm_crc32_u8(state, static_cast<unsigned char>(*data));
  return state;
}

// Words per stream and round, at most: the longer, the less the joining costs per byte.
inline constexpr std::size_t kCrc32cStreamWordsMax = 128;

// shifts[n] = x^(64 n - 33) modulo the generator. Carry-less multiplication of a register by it,
// then _mm_crc32_u64 of the product from register 0, moves the register over n words of zeros: the
// product of two reflected 32-bit values, read as a reflected 64-bit one, is x times too much, and
// the instruction multiplies by x^32 more.
constexpr std::array<std::uint32_t, 2 * kCrc32cStreamWordsMax + 1> MakeCrc32cShifts() {
  std::array<std::uint32_t, 2 * kCrc32cStreamWordsMax + 1> shifts{};
  std::uint32_t value = 1;  // x^31, n = 1
  for (std::size_t n = 1; n < shifts.size(); ++n) {
    shifts[n] = value;
    for (int bit = 0; bit < 64; ++bit) value = Crc32cTimesX(value);
  }
  return shifts;
}
inline constexpr auto kCrc32cShifts = MakeCrc32cShifts();

// Three streams over adjacent thirds, which keeps the instruction's pipeline full; then the first
// two registers are moved over what followed them and the three are added.
__attribute__((target("sse4.2,pclmul"))) inline std::uint32_t Crc32cSse42Pclmul(std::uint32_t state,
                                                                                const char* data,
                                                                                std::size_t size) {
  constexpr std::size_t kThreeStreamsBytesMin = 192;  // Below, joining costs more than it gains.
  while (size >= kThreeStreamsBytesMin) {
    const std::size_t words = size / 24 < kCrc32cStreamWordsMax ? size / 24 : kCrc32cStreamWordsMax;
    const std::size_t stride = words * 8;
    std::uint64_t first = state;
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    const char* const end = data + stride;
    for (; data != end; data += 8) {
      first = _mm_crc32_u64(first, LoadWord(data));
      second = _mm_crc32_u64(second, LoadWord(data + stride));
      third = _mm_crc32_u64(third, LoadWord(data + 2 * stride));
    }
    const __m128i moved_first =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(first)),
                             _mm_cvtsi32_si128(static_cast<int>(kCrc32cShifts[2 * words])), 0);
    const __m128i moved_second =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(second)),
                             _mm_cvtsi32_si128(static_cast<int>(kCrc32cShifts[words])), 0);
    const auto product =
        static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_xor_si128(moved_first, moved_second)));
    state = static_cast<std::uint32_t>(_mm_crc32_u64(0, product) ^ third);
    data += 2 * stride;
    size -= 3 * stride;
  }
  return Crc32cSse42(state, data, size);
}

#endif  // defined(__x86_64__)

using Crc32cFunction = std::uint32_t (*)(std::uint32_t state, const char* data, std::size_t size);

inline Crc32cFunction FastestCrc32c() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) {
    return __builtin_cpu_supports("pclmul") ? &Crc32cSse42Pclmul : &Crc32cSse42;
  }
#endif
  return &Crc32cPortable;
}

std::uint32_t Crc32cFirstCall(std::uint32_t state, const char* data, std::size_t size);

// Starts at a function that replaces it, so that a call needs no check and no static constructor
// runs. Relaxed: the functions need nothing but their own code and constants.
inline constinit std::atomic<Crc32cFunction> crc32c_function{&Crc32cFirstCall};

inline std::uint32_t Crc32cFirstCall(std::uint32_t state, const char* data, std::size_t size) {
  const Crc32cFunction function = FastestCrc32c();
  crc32c_function.store(function, std::memory_order_relaxed);
  return function(state, data, size);
}

}  // namespace base_internal

inline std::uint32_t Crc32c(std::string_view data, std::uint32_t seed) {
  const base_internal::Crc32cFunction function =
      base_internal::crc32c_function.load(std::memory_order_relaxed);
  return ~function(~seed, data.data(), data.size());
}

}  // namespace alos

#endif  // ALOS_BASE_CRC32C_H_
