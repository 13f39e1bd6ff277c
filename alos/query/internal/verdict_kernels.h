// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Loops over the codes and verdicts of a block of rows, which the compiler turns into vector
// instructions.

#ifndef ALOS_QUERY_INTERNAL_VERDICT_KERNELS_H_
#define ALOS_QUERY_INTERNAL_VERDICT_KERNELS_H_

#include <algorithm>
#include <cstdint>
#include <limits>

// GCC does not widen loops at -O2 unless told to; Clang does.
#if defined(__GNUC__) && !defined(__clang__)
#define ALOS_VECTOR_LOOP \
  __attribute__((noinline, optimize("tree-vectorize", "vect-cost-model=dynamic")))
#else
#define ALOS_VECTOR_LOOP
#endif

namespace alos::query_internal {

// out[k] = `verdict` where codes[k] is in [first, first + width), else 0.
template <class CodeType>
ALOS_VECTOR_LOOP void TestInterval(const CodeType* codes, std::uint32_t size, std::uint32_t first,
                                   std::uint32_t width, std::uint8_t verdict, std::uint8_t* out) {
  constexpr std::uint32_t kMax = std::numeric_limits<CodeType>::max();
  if (first > kMax || width == 0) {
    std::fill_n(out, size, std::uint8_t{0});
    return;
  }
  // The last code of the interval, counted from the first: in the type of the codes.
  const auto begin = static_cast<CodeType>(first);
  const auto last = static_cast<CodeType>(std::min(width - 1, kMax - first));
  for (std::uint32_t k = 0; k < size; ++k) {
    const auto distance = static_cast<CodeType>(codes[k] - begin);
    out[k] = distance <= last ? verdict : std::uint8_t{0};
  }
}

ALOS_VECTOR_LOOP inline void MinInto(const std::uint8_t* from, std::uint32_t size,
                                     std::uint8_t* into) {
  for (std::uint32_t k = 0; k < size; ++k) into[k] = std::min(into[k], from[k]);
}

ALOS_VECTOR_LOOP inline void MaxInto(const std::uint8_t* from, std::uint32_t size,
                                     std::uint8_t* into) {
  for (std::uint32_t k = 0; k < size; ++k) into[k] = std::max(into[k], from[k]);
}

// out[k] = 2 - from[k]: NOT.
ALOS_VECTOR_LOOP inline void Mirror(const std::uint8_t* from, std::uint32_t size,
                                    std::uint8_t* out) {
  for (std::uint32_t k = 0; k < size; ++k) out[k] = static_cast<std::uint8_t>(2 - from[k]);
}

// How many are `value`.
ALOS_VECTOR_LOOP inline std::uint32_t CountEqual(const std::uint8_t* verdicts, std::uint32_t size,
                                                 std::uint8_t value) {
  std::uint32_t count = 0;
  for (std::uint32_t begin = 0; begin < size; begin += 128) {
    // Small enough for a byte.
    std::uint8_t some = 0;
    const std::uint32_t end = std::min(size, begin + 128);
    for (std::uint32_t k = begin; k < end; ++k)
      some = static_cast<std::uint8_t>(some + (verdicts[k] == value ? 1 : 0));
    count += some;
  }
  return count;
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_VERDICT_KERNELS_H_
