// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// All operators of expressions: which there are, and why some of MongoDB's are not.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_OPERATORS_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_OPERATORS_H_

#include <algorithm>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "alos/base/check.h"
#include "alos/query/internal/expression_arithmetic.h"
#include "alos/query/internal/expression_array.h"
#include "alos/query/internal/expression_control.h"
#include "alos/query/internal/expression_date.h"
#include "alos/query/internal/expression_object.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/expression_statistics.h"
#include "alos/query/internal/expression_string.h"
#include "alos/query/internal/expression_type.h"

namespace alos::query_internal {

// Sorted by name.
inline const std::vector<const Operator*>& AllOperators() {
  static const auto* const operators = [] {
    auto* const all = new std::vector<const Operator*>();
    const auto add = [all](const auto& table) {
      for (const Operator& op : table) all->push_back(&op);
    };
    add(expression_arithmetic::kOperators);
    add(expression_array::kOperators);
    add(expression_control::kOperators);
    add(expression_date::kOperators);
    add(expression_object::kOperators);
    add(expression_statistics::kOperators);
    add(expression_string::kOperators);
    add(expression_type::kOperators);
    std::sort(all->begin(), all->end(),
              [](const Operator* a, const Operator* b) { return a->name < b->name; });
    return all;
  }();
  return *operators;
}

inline const Operator* FindOperator(std::string_view name) {
  static const auto* const operators = [] {
    auto* const all = new absl::flat_hash_map<std::string_view, const Operator*>();
    for (const Operator* const op : AllOperators()) {
      ALOS_CHECK(all->emplace(op->name, op).second);
    }
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
  constexpr std::string_view kNoJavaScript =
      "alos runs no JavaScript; $reduce, $map and $switch do much of it";
  constexpr std::string_view kNoJson = "queries neither read nor write JSON; clients do";
  constexpr std::string_view kNoEncryption = "there is no queryable encryption";
  constexpr std::string_view kAccumulatorOnly =
      "it is an accumulator, for $group and $setWindowFields";
  constexpr std::string_view kWindowOnly = "it is for $setWindowFields only";
  constexpr std::string_view kNoInternalTimestamp =
      "there is no type for MongoDB's internal timestamps; dates have nanoseconds";
  static constexpr Refused kRefused[] = {
      {"$function", kNoJavaScript},
      {"$accumulator", kNoJavaScript},
      {"$where", kNoJavaScript},
      {"$meta", "documents carry no text score, record id or search data here"},
      {"$toDecimal", "there is no decimal type; use $toDouble"},
      {"$toObjectId", "there is no ObjectId type; ids are strings, numbers or binary"},
      {"$createObjectId", "there is no ObjectId type; ids are strings, numbers or binary"},
      {"$toUUID",
       "there is no UUID type; {$convert: {to: 'binData', format: 'uuid'}} gives its bytes"},
      {"$tsIncrement", kNoInternalTimestamp},
      {"$tsSecond", kNoInternalTimestamp},
      {"$subtype", "MessagePack's binary has no subtypes"},
      {"$hash", "the query engine carries no digests; $toHashedIndexKey gives a 64-bit hash"},
      {"$hexHash", "the query engine carries no digests; $toHashedIndexKey gives a 64-bit hash"},
      {"$serializeEJSON", kNoJson},
      {"$deserializeEJSON", kNoJson},
      {"$toArray", kNoJson},
      {"$toObject", kNoJson},
      {"$encStrContains", kNoEncryption},
      {"$encStrEndsWith", kNoEncryption},
      {"$encStrNormalizedEq", kNoEncryption},
      {"$encStrStartsWith", kNoEncryption},
      {"$addToSet", kAccumulatorOnly},
      {"$bottom", kAccumulatorOnly},
      {"$bottomN", kAccumulatorOnly},
      {"$count", kAccumulatorOnly},
      {"$push", kAccumulatorOnly},
      {"$top", kAccumulatorOnly},
      {"$topN", kAccumulatorOnly},
      {"$covariancePop", kWindowOnly},
      {"$covarianceSamp", kWindowOnly},
      {"$denseRank", kWindowOnly},
      {"$derivative", kWindowOnly},
      {"$documentNumber", kWindowOnly},
      {"$expMovingAvg", kWindowOnly},
      {"$integral", kWindowOnly},
      {"$linearFill", kWindowOnly},
      {"$locf", kWindowOnly},
      {"$minMaxScaler", kWindowOnly},
      {"$rank", kWindowOnly},
      {"$shift", kWindowOnly},
  };
  for (const Refused& refused : kRefused) {
    if (refused.name == name) return refused.why;
  }
  return {};
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_OPERATORS_H_
