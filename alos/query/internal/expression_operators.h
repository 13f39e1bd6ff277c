// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// All operators of expressions: which there are, and why some of MongoDB's are not.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_OPERATORS_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_OPERATORS_H_

#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "alos/query/internal/expression_arithmetic.h"
#include "alos/query/internal/expression_control.h"
#include "alos/query/internal/expression_program.h"

namespace alos::query_internal {

inline const Operator* FindOperator(std::string_view name) {
  static const auto* const operators = [] {
    auto* const all = new absl::flat_hash_map<std::string_view, const Operator*>();
    const auto add = [all](const auto& table) {
      for (const Operator& op : table) all->emplace(op.name, &op);
    };
    add(expression_arithmetic::kOperators);
    add(expression_control::kOperators);
    return all;
  }();
  const auto found = operators->find(name);
  return found == operators->end() ? nullptr : found->second;
}

inline std::string_view WhyRefused(std::string_view name) {
  struct Refused {
    std::string_view name;
    std::string_view why;
  };
  static constexpr Refused kRefused[] = {
      {"$function", "alos runs no JavaScript; write it with $reduce, $map and $switch"},
      {"$accumulator", "alos runs no JavaScript; group with the accumulators there are"},
      {"$meta", "documents carry no text score, record id or search data here"},
      {"$toDecimal", "there is no decimal type; use $toDouble"},
      {"$toObjectId", "there is no ObjectId type; ids are strings, numbers or binary"},
      {"$toUUID", "there is no UUID type; keep the UUID as a string"},
      {"$tsIncrement",
       "there is no type for MongoDB's internal timestamps; dates have nanoseconds"},
      {"$tsSecond", "there is no type for MongoDB's internal timestamps; use $toLong of a date"},
      {"$encStrContains", "there is no queryable encryption"},
      {"$encStrEndsWith", "there is no queryable encryption"},
      {"$encStrNormalizedEq", "there is no queryable encryption"},
      {"$encStrStartsWith", "there is no queryable encryption"},
  };
  for (const Refused& refused : kRefused) {
    if (refused.name == name) return refused.why;
  }
  return {};
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_OPERATORS_H_
