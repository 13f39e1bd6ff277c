// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The one order, equality and hash of values: filters, sorts, indexes and ids all use these.
//
// Values of different types are ordered by type:
//
//   null < numbers < string < object < array < binData < bool < date < extension
//
// and values of the same type so:
//
//   numbers    by exact value, across int, uint and double (2^53 + 1 differs from 2^53 as a
//   double);
//              NaN is below all other numbers and equal to itself; -0.0 equals 0
//   string     byte by byte, unsigned (the code point order of UTF-8); a prefix comes first
//   object     entry by entry in stored order: the type of the value, then the key, then the value;
//              then the one with fewer entries comes first. {a: 1, b: 2} and {b: 2, a: 1} differ
//   array      element by element; then the shorter one comes first
//   binData    the shorter one first, then byte by byte
//   bool       false < true
//   date       by time, to the nanosecond
//   extension  by extension type, then byte by byte; a prefix comes first
//
// The encoding does not matter: 1 as fixint, uint64 or double is one value.

#ifndef ALOS_DOCUMENT_COMPARE_H_
#define ALOS_DOCUMENT_COMPARE_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "alos/document/internal/message_pack.h"
#include "alos/document/value.h"
#include "xxhash.h"

namespace alos {

// Threads: all three are pure functions of immutable views.
// Errors: none.
// Cost: one pass over the equal part of both values; nothing is allocated. The recursion is as deep
//   as the values are nested, which ValueView::Parse limits.

// The order above: less, equivalent or greater.
std::weak_ordering Compare(ValueView a, ValueView b);

// Compare(a, b) == 0, found faster where lengths differ.
bool Equal(ValueView a, ValueView b);

// Equal values have equal hashes, whatever their encoding. The hash depends on nothing but value
// and `seed` (not on the process or the machine) and may be stored. Choose a secret seed where
// outsiders could gain from collisions.
std::uint64_t HashValue(ValueView value, std::uint64_t seed = 0);

// A number that orders types as Compare does: equal for types that are compared by value.
int TypeRank(ValueType type);

// --- Readers of the API may stop here. ----------------------------------------------------------

inline int TypeRank(ValueType type) {
  switch (type) {
    case ValueType::kNull:
      return 0;
    case ValueType::kInt64:
    case ValueType::kUint64:
    case ValueType::kDouble:
      return 1;
    case ValueType::kString:
      return 2;
    case ValueType::kDocument:
      return 3;
    case ValueType::kArray:
      return 4;
    case ValueType::kBinary:
      return 5;
    case ValueType::kBool:
      return 6;
    case ValueType::kTimestamp:
      return 7;
    case ValueType::kExtension:
      return 8;
  }
  return 9;
}

namespace document_internal {

inline constexpr double kTwoTo63 = 9223372036854775808.0;
inline constexpr double kTwoTo64 = 18446744073709551616.0;

inline std::weak_ordering CompareDoubles(double a, double b) {
  if (a < b) return std::weak_ordering::less;
  if (a > b) return std::weak_ordering::greater;
  if (a == b) return std::weak_ordering::equivalent;
  return std::isnan(b) <=> std::isnan(a);  // NaN first
}

inline std::weak_ordering CompareIntToDouble(std::int64_t a, double b) {
  if (std::isnan(b) || b < -kTwoTo63) return std::weak_ordering::greater;
  if (b >= kTwoTo63) return std::weak_ordering::less;
  const auto whole = static_cast<std::int64_t>(b);  // towards zero, in range
  if (a != whole) return a <=> whole;
  // b has a fraction only below 2^53, where `whole` is exact as a double.
  return CompareDoubles(static_cast<double>(whole), b);
}

// REQUIRES: a > INT64_MAX.
inline std::weak_ordering CompareUintToDouble(std::uint64_t a, double b) {
  if (std::isnan(b) || b < kTwoTo63) return std::weak_ordering::greater;
  if (b >= kTwoTo64) return std::weak_ordering::less;
  return a <=> static_cast<std::uint64_t>(b);  // doubles this large are whole
}

inline std::weak_ordering CompareNumbers(ValueView a, ValueType a_type, ValueView b,
                                         ValueType b_type) {
  if (a_type == ValueType::kInt64 && b_type == ValueType::kInt64) [[likely]] {
    return a.AsInt64() <=> b.AsInt64();
  }
  if (a_type == ValueType::kDouble) {
    if (b_type == ValueType::kDouble) return CompareDoubles(a.AsDouble(), b.AsDouble());
    return 0 <=> CompareNumbers(b, b_type, a, a_type);
  }
  if (b_type == ValueType::kDouble) {
    return a_type == ValueType::kInt64 ? CompareIntToDouble(a.AsInt64(), b.AsDouble())
                                       : CompareUintToDouble(a.AsUint64(), b.AsDouble());
  }
  // At least one is above INT64_MAX, and so above every int.
  if (a_type != b_type) return (a_type == ValueType::kUint64) <=> (b_type == ValueType::kUint64);
  return a.AsUint64() <=> b.AsUint64();
}

inline std::weak_ordering CompareStrings(std::string_view a, std::string_view b) {
  return a.compare(b) <=> 0;  // char_traits compares as unsigned bytes
}

// Compares the valid values at *a and *b; when they are equivalent, moves both past them.
inline std::weak_ordering CompareAt(const char** a, const char** b) {
  const ValueView a_view = ViewAccess::At(*a);
  const ValueView b_view = ViewAccess::At(*b);
  const ValueType a_type = a_view.type();
  const ValueType b_type = b_view.type();
  if (const auto order = TypeRank(a_type) <=> TypeRank(b_type); order != 0) return order;
  std::weak_ordering order = std::weak_ordering::equivalent;
  switch (a_type) {
    case ValueType::kNull:
      break;
    case ValueType::kInt64:
    case ValueType::kUint64:
    case ValueType::kDouble:
      order = CompareNumbers(a_view, a_type, b_view, b_type);
      break;
    case ValueType::kString:
      return CompareStrings(TakeString(a), TakeString(b));
    case ValueType::kBool:
      order = a_view.AsBool() <=> b_view.AsBool();
      break;
    case ValueType::kBinary: {
      const std::string_view a_data = a_view.AsBinary();
      const std::string_view b_data = b_view.AsBinary();
      order = a_data.size() <=> b_data.size();
      if (order == 0) order = CompareStrings(a_data, b_data);
      break;
    }
    case ValueType::kTimestamp:
      order = a_view.AsTimestamp() <=> b_view.AsTimestamp();
      break;
    case ValueType::kExtension:
      order = a_view.ExtensionType() <=> b_view.ExtensionType();
      if (order == 0) order = CompareStrings(a_view.ExtensionData(), b_view.ExtensionData());
      break;
    case ValueType::kArray:
    case ValueType::kDocument: {
      const std::size_t a_size = a_view.size();
      const std::size_t b_size = b_view.size();
      *a += kLeads[Load8(*a)].header_size;
      *b += kLeads[Load8(*b)].header_size;
      for (std::size_t i = 0; i < std::min(a_size, b_size); ++i) {
        if (a_type == ValueType::kDocument) {
          const std::string_view a_key = TakeString(a);
          const std::string_view b_key = TakeString(b);
          order = TypeRank(ViewAccess::At(*a).type()) <=> TypeRank(ViewAccess::At(*b).type());
          if (order != 0) return order;
          if (order = CompareStrings(a_key, b_key); order != 0) return order;
        }
        if (order = CompareAt(a, b); order != 0) return order;
      }
      return a_size <=> b_size;
    }
  }
  *a = Skip(*a);
  *b = Skip(*b);
  return order;
}

inline std::uint64_t HashBytes(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

inline std::uint64_t HashWord(std::uint64_t word, std::uint64_t seed) {
  return XXH3_64bits_withSeed(&word, sizeof(word), seed);
}

// Hashes the valid value at *p and moves *p past it.
inline std::uint64_t HashAt(const char** p, std::uint64_t seed) {
  const ValueView value = ViewAccess::At(*p);
  const ValueType type = value.type();
  // Each type its own seed, so that "", binary "", null and 0 differ.
  const std::uint64_t type_seed =
      seed + 0x9e3779b97f4a7c15U * static_cast<std::uint64_t>(TypeRank(type) + 1);
  std::uint64_t hash = 0;
  switch (type) {
    case ValueType::kNull:
      hash = HashWord(0, type_seed);
      break;
    case ValueType::kInt64:
      hash = HashWord(static_cast<std::uint64_t>(value.AsInt64()), type_seed);
      break;
    case ValueType::kUint64:
      hash = HashWord(value.AsUint64(), type_seed + 1);
      break;
    case ValueType::kDouble: {
      const double number = value.AsDouble();
      if (const std::optional<std::int64_t> whole = ExactInt64(number)) {
        hash = HashWord(static_cast<std::uint64_t>(*whole), type_seed);
      } else if (number >= kTwoTo63 && number < kTwoTo64) {
        hash = HashWord(static_cast<std::uint64_t>(number), type_seed + 1);
      } else {
        // All NaNs are one value.
        hash =
            HashWord(std::isnan(number) ? 0 : std::bit_cast<std::uint64_t>(number), type_seed + 2);
      }
      break;
    }
    case ValueType::kString:
      return HashBytes(TakeString(p), type_seed);
    case ValueType::kBool:
      hash = HashWord(value.AsBool() ? 1 : 0, type_seed);
      break;
    case ValueType::kBinary:
      hash = HashBytes(value.AsBinary(), type_seed);
      break;
    case ValueType::kTimestamp: {
      const Timestamp time = value.AsTimestamp();
      hash = HashWord(static_cast<std::uint64_t>(time.seconds), type_seed + time.nanoseconds);
      break;
    }
    case ValueType::kExtension:
      hash = HashBytes(value.ExtensionData(),
                       type_seed + static_cast<std::uint8_t>(value.ExtensionType()));
      break;
    case ValueType::kArray:
    case ValueType::kDocument: {
      const std::size_t size = value.size();
      *p += kLeads[Load8(*p)].header_size;
      hash = HashWord(size, type_seed);
      // What came before seeds what follows: the order of entries counts.
      for (std::size_t i = 0; i < size; ++i) {
        if (type == ValueType::kDocument) hash = HashBytes(TakeString(p), hash);
        hash = HashAt(p, hash);
      }
      return hash;
    }
  }
  *p = Skip(*p);
  return hash;
}

}  // namespace document_internal

inline std::weak_ordering Compare(ValueView a, ValueView b) {
  const char* a_data = document_internal::ViewAccess::Data(a);
  const char* b_data = document_internal::ViewAccess::Data(b);
  return document_internal::CompareAt(&a_data, &b_data);
}

inline bool Equal(ValueView a, ValueView b) {
  if (a.IsString() && b.IsString()) return a.AsString() == b.AsString();
  if (a.size() != b.size()) return false;  // containers; 0 for all else
  return Compare(a, b) == 0;
}

inline std::uint64_t HashValue(ValueView value, std::uint64_t seed) {
  const char* data = document_internal::ViewAccess::Data(value);
  return document_internal::HashAt(&data, seed);
}

}  // namespace alos

#endif  // ALOS_DOCUMENT_COMPARE_H_
