// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Numbers and dates of expressions: exact integers of both kinds, milliseconds, and arguments that
// have to be integers.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_NUMBER_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_NUMBER_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "alos/document/value.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_program.h"

namespace alos::query_internal {

__extension__ using WideInt = __int128;

inline bool IsInteger(ValueType type) {
  return type == ValueType::kInt64 || type == ValueType::kUint64;
}
// REQUIRES: an int or a uint.
inline WideInt AsWide(ValueView value) {
  return value.type() == ValueType::kUint64 ? static_cast<WideInt>(value.AsUint64())
                                            : static_cast<WideInt>(value.AsInt64());
}
inline bool FitsInt64(WideInt value) {
  return value >= std::numeric_limits<std::int64_t>::min() &&
         value <= std::numeric_limits<std::int64_t>::max();
}
inline bool FitsUint64(WideInt value) {
  return value >= 0 && value <= std::numeric_limits<std::uint64_t>::max();
}
// An int; where that is too small and `may_be_uint`, a uint; else a double.
inline bool SetWide(WideInt value, bool may_be_uint, Evaluation& e, Operand* out) {
  if (FitsInt64(value)) return e.SetInt(static_cast<std::int64_t>(value), out);
  if (may_be_uint && FitsUint64(value)) return e.SetUint(static_cast<std::uint64_t>(value), out);
  return e.SetDouble(static_cast<double>(value), out);
}

// `value` rounded to the nearest int64, if it is in the range.
inline std::optional<std::int64_t> RoundToInt64(double value) {
  value = std::round(value);
  if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

// --- Dates as MongoDB counts them: milliseconds since 1970. ---

// Rounded down; nullopt if an int64 does not hold it.
inline std::optional<std::int64_t> ToMillis(Timestamp time) {
  const WideInt millis = WideInt{time.seconds} * 1000 + time.nanoseconds / 1'000'000;
  if (!FitsInt64(millis)) return std::nullopt;
  return static_cast<std::int64_t>(millis);
}
inline Timestamp FromMillis(std::int64_t millis) {
  std::int64_t seconds = millis / 1000;
  std::int64_t rest = millis % 1000;
  if (rest < 0) {
    rest += 1000;
    --seconds;
  }
  return {seconds, static_cast<std::uint32_t>(rest) * 1'000'000};
}
// `time` moved by milliseconds; what it has below a millisecond stays. nullopt: out of range.
inline std::optional<Timestamp> AddMillis(Timestamp time, WideInt millis) {
  const std::uint32_t below = time.nanoseconds % 1'000'000;
  const WideInt total = WideInt{time.seconds} * 1000 + time.nanoseconds / 1'000'000 + millis;
  if (!FitsInt64(total)) return std::nullopt;
  Timestamp moved = FromMillis(static_cast<std::int64_t>(total));
  moved.nanoseconds += below;
  return moved;
}

// --- Arguments ---

// Takes `value` for an integer of `min` to `max`, whatever its numeric type.
inline bool TakeInteger(const Node& node, Evaluation& e, std::string_view what,
                        const Operand& value, std::int64_t min, std::int64_t max,
                        std::int64_t* result) {
  const std::optional<std::int64_t> integer = value ? value->ToInt64() : std::nullopt;
  if (!integer || *integer < min || *integer > max) {
    std::string range = "an integer";
    if (min != std::numeric_limits<std::int64_t>::min()) {
      range = max == std::numeric_limits<std::int64_t>::max()
                  ? absl::StrCat("an integer of at least ", min)
                  : absl::StrCat("an integer of ", min, " to ", max);
    }
    return Fail(node, e, what, " has to be ", range, ", found ",
                value ? Describe(*value) : "missing");
  }
  *result = *integer;
  return true;
}

// An evaluator of one argument: null for null and missing, else
// `function(node, e, ValueView, Operand* out)`.
template <auto function>
bool EvaluateUnary(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  if (IsNullish(value)) return e.SetNull(out);
  return function(node, e, *value, out);
}
// The same of two arguments; null if either is.
template <auto function>
bool EvaluateBinary(const Node& node, Evaluation& e, Operand* out) {
  Operand a;
  Operand b;
  if (!Evaluate(*node.arguments[0], e, &a) || !Evaluate(*node.arguments[1], e, &b)) return false;
  if (IsNullish(a) || IsNullish(b)) return e.SetNull(out);
  return function(node, e, *a, *b, out);
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_NUMBER_H_
