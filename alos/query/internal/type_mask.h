// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Sets of types, by the names and numbers that MongoDB gives to BSON's.

#ifndef ALOS_QUERY_INTERNAL_TYPE_MASK_H_
#define ALOS_QUERY_INTERNAL_TYPE_MASK_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "alos/document/value.h"

namespace alos::query_internal {

// A set of ValueTypes: bit n is the type of number n.
using TypeMask = std::uint32_t;

constexpr TypeMask TypeBit(ValueType type) { return TypeMask{1} << static_cast<unsigned>(type); }

inline constexpr TypeMask kIntegerTypes = TypeBit(ValueType::kInt64) | TypeBit(ValueType::kUint64);
inline constexpr TypeMask kNumberTypes = kIntegerTypes | TypeBit(ValueType::kDouble);

constexpr bool HasType(TypeMask mask, ValueType type) { return (mask & TypeBit(type)) != 0; }

struct BsonType {
  std::string_view alias;
  int code;  // 0: an alias without a number.
  TypeMask mask;
};

// MessagePack has one integer type, so "int" and "long" both mean any integer. Types that
// MessagePack has not are known, and match nothing.
inline constexpr BsonType kBsonTypes[] = {
    {"double", 1, TypeBit(ValueType::kDouble)},
    {"string", 2, TypeBit(ValueType::kString)},
    {"object", 3, TypeBit(ValueType::kDocument)},
    {"array", 4, TypeBit(ValueType::kArray)},
    {"binData", 5, TypeBit(ValueType::kBinary)},
    {"undefined", 6, 0},
    {"objectId", 7, 0},
    {"bool", 8, TypeBit(ValueType::kBool)},
    {"date", 9, TypeBit(ValueType::kTimestamp)},
    {"null", 10, TypeBit(ValueType::kNull)},
    {"regex", 11, 0},
    {"dbPointer", 12, 0},
    {"javascript", 13, 0},
    {"symbol", 14, 0},
    {"javascriptWithScope", 15, 0},
    {"int", 16, kIntegerTypes},
    {"timestamp", 17, 0},
    {"long", 18, kIntegerTypes},
    {"decimal", 19, 0},
    {"minKey", -1, 0},
    {"maxKey", 127, 0},
    {"number", 0, kNumberTypes},
};

// The types of an alias ("string") or number (2); nullopt when there is none such.
inline std::optional<TypeMask> FindTypes(ValueView name) {
  const std::optional<std::int64_t> code = name.ToInt64();
  for (const BsonType& candidate : kBsonTypes) {
    if (name.IsString() && name.AsString() == candidate.alias) return candidate.mask;
    if (code.has_value() && *code != 0 && *code == candidate.code) return candidate.mask;
  }
  return std::nullopt;
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_TYPE_MASK_H_
