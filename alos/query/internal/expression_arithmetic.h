// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators on numbers: arithmetic, trigonometry, bits, chance.
//
// Integers stay integers; where a result does not fit one, it is a double, as MongoDB's long.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_ARITHMETIC_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_ARITHMETIC_H_

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_number.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/number_sum.h"

namespace alos::query_internal::expression_arithmetic {

[[gnu::cold]] inline bool FailForType(const Node& node, Evaluation& e, ValueView value) {
  return Fail(node, e, "expected a number, found ", Describe(value));
}

// --- Sums, products ---

inline bool EvaluateAdd(const Node& node, Evaluation& e, Operand* out) {
  NumberSum sum;
  std::optional<Timestamp> date;
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value)) return false;
    if (IsNullish(value)) return e.SetNull(out);
    if (value->IsNumber()) {
      sum.Add(*value);
    } else if (value->type() != ValueType::kTimestamp) {
      return Fail(node, e, "only numbers and dates can be added, not ", OperandTypeName(value));
    } else if (date) {
      return Fail(node, e, "only one date can be in a sum");
    } else {
      date = value->AsTimestamp();
    }
  }
  if (!date) return sum.SetResult(e, out);
  const std::optional<std::int64_t> millis = sum.has_double() ? RoundToInt64(sum.AsDouble())
                                             : sum.FitsInt()  ? std::optional(sum.integers())
                                                              : std::nullopt;
  if (millis) {
    if (const auto moved = AddMillis(*date, *millis)) return e.SetTime(*moved, out);
  }
  return Fail(node, e, "the date is out of range");
}

inline bool Subtract(const Node& node, Evaluation& e, ValueView a, ValueView b, Operand* out) {
  const ValueType a_type = a.type();
  const ValueType b_type = b.type();
  if (a_type == ValueType::kTimestamp) {
    const Timestamp date = a.AsTimestamp();
    if (b_type == ValueType::kTimestamp) {
      const std::optional<std::int64_t> left = ToMillis(date);
      const std::optional<std::int64_t> right = ToMillis(b.AsTimestamp());
      if (!left || !right) return Fail(node, e, "a date is out of range");
      return SetWide(WideInt{*left} - *right, false, e, out);
    }
    if (b.IsNumber()) {
      const std::optional<std::int64_t> millis =
          b_type == ValueType::kDouble ? RoundToInt64(b.AsDouble()) : b.ToInt64();
      if (millis) {
        if (const auto moved = AddMillis(date, -WideInt{*millis})) return e.SetTime(*moved, out);
      }
      return Fail(node, e, "the date is out of range");
    }
  }
  if (!a.IsNumber() || !b.IsNumber()) {
    return Fail(node, e, "cannot subtract ", TypeName(b_type), " from ", TypeName(a_type));
  }
  if (IsInteger(a_type) && IsInteger(b_type)) {
    return SetWide(AsWide(a) - AsWide(b),
                   a_type == ValueType::kUint64 || b_type == ValueType::kUint64, e, out);
  }
  return e.SetDouble(a.AsDouble() - b.AsDouble(), out);
}

inline bool EvaluateMultiply(const Node& node, Evaluation& e, Operand* out) {
  WideInt exact = 1;
  double product = 1;
  bool is_exact = true;
  bool has_uint = false;
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value)) return false;
    if (IsNullish(value)) return e.SetNull(out);
    if (!value->IsNumber()) return FailForType(node, e, *value);
    product *= value->AsDouble();
    if (!is_exact) continue;
    if (!IsInteger(value->type())) {
      is_exact = false;
      continue;
    }
    has_uint = has_uint || value->type() == ValueType::kUint64;
    is_exact = !__builtin_mul_overflow(exact, AsWide(*value), &exact) &&
               (FitsInt64(exact) || (has_uint && FitsUint64(exact)));
  }
  return is_exact ? SetWide(exact, has_uint, e, out) : e.SetDouble(product, out);
}

inline bool Divide(const Node& node, Evaluation& e, ValueView a, ValueView b, Operand* out) {
  if (!a.IsNumber()) return FailForType(node, e, a);
  if (!b.IsNumber()) return FailForType(node, e, b);
  const double divisor = b.AsDouble();
  if (divisor == 0) return Fail(node, e, "cannot divide by zero");
  return e.SetDouble(a.AsDouble() / divisor, out);
}

// The sign is that of the dividend.
inline bool Mod(const Node& node, Evaluation& e, ValueView a, ValueView b, Operand* out) {
  if (!a.IsNumber()) return FailForType(node, e, a);
  if (!b.IsNumber()) return FailForType(node, e, b);
  if (b.AsDouble() == 0) return Fail(node, e, "cannot divide by zero");
  if (IsInteger(a.type())) {
    if (IsInteger(b.type())) return SetWide(AsWide(a) % AsWide(b), true, e, out);
    if (const std::optional<std::int64_t> divisor = b.ToInt64()) {
      return SetWide(AsWide(a) % *divisor, true, e, out);
    }
  }
  return e.SetDouble(std::fmod(a.AsDouble(), b.AsDouble()), out);
}

inline bool Abs(const Node& node, Evaluation& e, ValueView a, Operand* out) {
  switch (a.type()) {
    case ValueType::kInt64:
      if (a.AsInt64() == std::numeric_limits<std::int64_t>::min()) {
        return Fail(node, e, "the smallest int has no positive counterpart");
      }
      return e.SetInt(std::abs(a.AsInt64()), out);
    case ValueType::kUint64:
      *out = a;
      return true;
    case ValueType::kDouble:
      return e.SetDouble(std::fabs(a.AsDouble()), out);
    default:
      return FailForType(node, e, a);
  }
}

// --- Rounding ---

template <double (*function)(double)>
bool RoundWhole(const Node& node, Evaluation& e, ValueView a, Operand* out) {
  if (!a.IsNumber()) return FailForType(node, e, a);
  if (a.type() == ValueType::kDouble) return e.SetDouble(function(a.AsDouble()), out);
  *out = a;
  return true;
}

// The nearest whole number, of two the even one, whatever the rounding mode of the processor.
inline double RoundHalfEven(double value) {
  const double rounded = std::round(value);
  if (std::fabs(rounded - value) != 0.5) return rounded;
  return 2 * std::round(value / 2);
}

// `value`, finite, to `place` digits after the point (before it if negative). Decimal digits
// decide, 15 of them, as MongoDB's: 2.675 is taken for 2.675, though the double is a little less.
inline double RoundDecimal(double value, int place, bool truncates) {
  constexpr int kDigits = 15;
  char text[40];
  std::snprintf(text, sizeof(text), "%.*e", kDigits - 1, value);
  std::string digits;
  const char* p = text;
  const bool negative = *p == '-';
  for (; *p != 'e'; ++p) {
    if (*p >= '0' && *p <= '9') digits.push_back(*p);
  }
  const int exponent = std::atoi(p + 1);  // of the first digit
  const int kept = exponent + 1 + place;  // digits that stay
  if (kept >= kDigits) return value;
  bool up = false;
  if (!truncates && kept >= 0) {
    const std::string_view rest = std::string_view(digits).substr(static_cast<std::size_t>(kept));
    const bool is_half = rest[0] == '5' && rest.find_first_not_of('0', 1) == std::string_view::npos;
    const bool is_odd = kept > 0 && (digits[static_cast<std::size_t>(kept) - 1] - '0') % 2 == 1;
    up = is_half ? is_odd : rest[0] >= '5';
  }
  digits.resize(static_cast<std::size_t>(std::max(kept, 0)));
  for (std::size_t i = digits.size(); up && i > 0;) {
    --i;
    up = digits[i] == '9';
    digits[i] = up ? '0' : static_cast<char>(digits[i] + 1);
  }
  if (up) digits.insert(digits.begin(), '1');
  if (digits.empty()) digits = "0";
  double result = 0;
  (void)absl::SimpleAtod(absl::StrCat(negative ? "-" : "", digits, "e", -place), &result);
  return result;
}

template <bool truncates>
bool EvaluateRound(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  Operand place_value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  std::int64_t place = 0;
  if (node.arguments.size() == 2) {
    if (!Evaluate(*node.arguments[1], e, &place_value)) return false;
    if (IsNullish(value) || IsNullish(place_value)) return e.SetNull(out);
    if (!TakeInteger(node, e, "the number of places", place_value, -20, 100, &place)) return false;
  }
  if (IsNullish(value)) return e.SetNull(out);
  if (!value->IsNumber()) return FailForType(node, e, *value);
  if (value->type() == ValueType::kDouble) {
    const double number = value->AsDouble();
    if (!std::isfinite(number)) return e.SetDouble(number, out);
    if (place == 0) return e.SetDouble(truncates ? std::trunc(number) : RoundHalfEven(number), out);
    return e.SetDouble(RoundDecimal(number, static_cast<int>(place), truncates), out);
  }
  if (place >= 0) {
    *out = *value;
    return true;
  }
  WideInt unit = 1;
  for (; place < 0; ++place) unit *= 10;
  const WideInt number = AsWide(*value);
  WideInt quotient = number / unit;
  const WideInt rest = number % unit;
  if (!truncates) {
    const WideInt twice = 2 * (rest < 0 ? -rest : rest);
    if (twice > unit || (twice == unit && quotient % 2 != 0)) quotient += number < 0 ? -1 : 1;
  }
  const WideInt rounded = quotient * unit;
  if (!FitsInt64(rounded) && !(value->type() == ValueType::kUint64 && FitsUint64(rounded))) {
    return Fail(node, e, "the result is out of the range of integers");
  }
  return SetWide(rounded, true, e, out);
}

// --- Powers and logarithms ---

inline bool Pow(const Node& node, Evaluation& e, ValueView a, ValueView b, Operand* out) {
  if (!a.IsNumber()) return FailForType(node, e, a);
  if (!b.IsNumber()) return FailForType(node, e, b);
  const double base = a.AsDouble();
  const double exponent = b.AsDouble();
  if (base == 0 && exponent < 0) return Fail(node, e, "zero has no negative powers");
  if (!IsInteger(a.type()) || !IsInteger(b.type()))
    return e.SetDouble(std::pow(base, exponent), out);
  const WideInt whole = AsWide(a);
  const WideInt count = AsWide(b);
  if (whole == 0 || whole == 1 || whole == -1) {
    return e.SetInt(count == 0                      ? 1
                    : whole == -1 && count % 2 == 0 ? 1
                                                    : static_cast<int>(whole),
                    out);
  }
  const bool has_uint = a.type() == ValueType::kUint64;
  if (count >= 0 && count < 64) {
    WideInt power = 1;
    bool fits = true;
    for (WideInt i = 0; i < count && fits; ++i) {
      fits = !__builtin_mul_overflow(power, whole, &power) &&
             (FitsInt64(power) || (has_uint && FitsUint64(power)));
    }
    if (fits) return SetWide(power, has_uint, e, out);
  }
  return e.SetDouble(std::pow(base, exponent), out);
}

// --- Functions of a real number, with their domains ---

struct RealFunction {
  double (*function)(double);
  double min;
  double max;
  bool open;  // the bounds themselves are not in the domain
  std::string_view domain;
};

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// NaN goes through every function.
template <const RealFunction* real>
bool EvaluateReal(const Node& node, Evaluation& e, ValueView a, Operand* out) {
  if (!a.IsNumber()) return FailForType(node, e, a);
  const double value = a.AsDouble();
  const bool outside = real->open ? value <= real->min || value >= real->max
                                  : value < real->min || value > real->max;
  if (outside) {
    return Fail(node, e, "expected a number ", real->domain, ", found ", Describe(a));
  }
  return e.SetDouble(real->function(value), out);
}

inline double DegreesToRadians(double value) { return value * (std::numbers::pi / 180); }
inline double RadiansToDegrees(double value) { return value * (180 / std::numbers::pi); }
inline double Sigmoid(double value) { return 1 / (1 + std::exp(-value)); }

#define ALOS_REAL(name, function, min, max, open, domain)                \
  inline double name##Function(double value) { return function(value); } \
  inline constexpr RealFunction name = {&name##Function, min, max, open, domain}
ALOS_REAL(kExp, std::exp, -kInfinity, kInfinity, false, "");
ALOS_REAL(kLn, std::log, 0, kNaN, true, "above 0");
ALOS_REAL(kLog10, std::log10, 0, kNaN, true, "above 0");
ALOS_REAL(kSqrt, std::sqrt, 0, kInfinity, false, "of 0 or more");
ALOS_REAL(kSigmoid, Sigmoid, -kInfinity, kInfinity, false, "");
ALOS_REAL(kSin, std::sin, -kInfinity, kInfinity, true, "that is finite");
ALOS_REAL(kCos, std::cos, -kInfinity, kInfinity, true, "that is finite");
ALOS_REAL(kTan, std::tan, -kInfinity, kInfinity, true, "that is finite");
ALOS_REAL(kAsin, std::asin, -1, 1, false, "of -1 to 1");
ALOS_REAL(kAcos, std::acos, -1, 1, false, "of -1 to 1");
ALOS_REAL(kAtan, std::atan, -kInfinity, kInfinity, false, "");
ALOS_REAL(kSinh, std::sinh, -kInfinity, kInfinity, false, "");
ALOS_REAL(kCosh, std::cosh, -kInfinity, kInfinity, false, "");
ALOS_REAL(kTanh, std::tanh, -kInfinity, kInfinity, false, "");
ALOS_REAL(kAsinh, std::asinh, -kInfinity, kInfinity, false, "");
ALOS_REAL(kAcosh, std::acosh, 1, kInfinity, false, "of 1 or more");
ALOS_REAL(kAtanh, std::atanh, -1, 1, false, "of -1 to 1");
ALOS_REAL(kToRadians, DegreesToRadians, -kInfinity, kInfinity, false, "");
ALOS_REAL(kToDegrees, RadiansToDegrees, -kInfinity, kInfinity, false, "");
#undef ALOS_REAL

inline bool Log(const Node& node, Evaluation& e, ValueView a, ValueView b, Operand* out) {
  if (!a.IsNumber()) return FailForType(node, e, a);
  if (!b.IsNumber()) return FailForType(node, e, b);
  const double value = a.AsDouble();
  const double base = b.AsDouble();
  if (value <= 0) return Fail(node, e, "expected a number above 0, found ", Describe(a));
  if (base <= 0 || base == 1) {
    return Fail(node, e, "expected a base above 0 that is not 1, found ", Describe(b));
  }
  return e.SetDouble(std::log(value) / std::log(base), out);
}

inline bool Atan2(const Node& node, Evaluation& e, ValueView a, ValueView b, Operand* out) {
  if (!a.IsNumber()) return FailForType(node, e, a);
  if (!b.IsNumber()) return FailForType(node, e, b);
  return e.SetDouble(std::atan2(a.AsDouble(), b.AsDouble()), out);
}

// --- Bits: of 64-bit integers; unsigned if an operand is a uint ---

enum class BitOperation { kAnd, kOr, kXor };

inline std::uint64_t Bits(ValueView value) {
  return value.type() == ValueType::kUint64 ? value.AsUint64()
                                            : static_cast<std::uint64_t>(value.AsInt64());
}

template <BitOperation operation>
bool EvaluateBits(const Node& node, Evaluation& e, Operand* out) {
  std::uint64_t bits = operation == BitOperation::kAnd ? ~std::uint64_t{0} : 0;
  bool has_uint = false;
  bool has_null = false;
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value)) return false;
    if (IsNullish(value)) {
      has_null = true;
      continue;
    }
    if (!IsInteger(value->type())) {
      return Fail(node, e, "expected integers, found ", Describe(*value));
    }
    has_uint = has_uint || value->type() == ValueType::kUint64;
    if constexpr (operation == BitOperation::kAnd) bits &= Bits(*value);
    if constexpr (operation == BitOperation::kOr) bits |= Bits(*value);
    if constexpr (operation == BitOperation::kXor) bits ^= Bits(*value);
  }
  if (has_null) return e.SetNull(out);
  return has_uint ? e.SetUint(bits, out) : e.SetInt(static_cast<std::int64_t>(bits), out);
}

inline bool BitNot(const Node& node, Evaluation& e, ValueView a, Operand* out) {
  if (!IsInteger(a.type())) return Fail(node, e, "expected an integer, found ", Describe(a));
  if (a.type() == ValueType::kUint64) return e.SetUint(~a.AsUint64(), out);
  return e.SetInt(~a.AsInt64(), out);
}

// --- Chance ---

inline bool EvaluateRand(const Node&, Evaluation& e, Operand* out) {
  return e.SetDouble(e.Random(), out);
}
inline absl::StatusOr<const Node*> CompileRand(ExpressionCompiler& compiler, const Operator& op,
                                               ValueView argument) {
  if ((!argument.IsDocument() && !argument.IsArray()) || argument.size() != 0) {
    return compiler.Error(op, "takes no argument: {$rand: {}}; found ", Describe(argument));
  }
  return compiler.NewNode(&EvaluateRand, &op);
}

inline bool EvaluateSampleRate(const Node& node, Evaluation& e, Operand* out) {
  return e.SetBool(e.Random() < node.constant.AsDouble(), out);
}
inline absl::StatusOr<const Node*> CompileSampleRate(ExpressionCompiler& compiler,
                                                     const Operator& op, ValueView argument) {
  if (!argument.IsNumber() || !(argument.AsDouble() >= 0 && argument.AsDouble() <= 1)) {
    return compiler.Error(op, "expected a number of 0 to 1, found ", Describe(argument));
  }
  Node* const node = compiler.NewNode(&EvaluateSampleRate, &op);
  node->constant = argument;
  return node;
}

inline constexpr Operator kOperators[] = {
    {"$abs", &EvaluateUnary<&Abs>},
    {"$add", &EvaluateAdd, 0, Operator::kAnyCount},
    {"$ceil", &EvaluateUnary<&RoundWhole<&std::ceil>>},
    {"$divide", &EvaluateBinary<&Divide>, 2, 2},
    {"$exp", &EvaluateUnary<&EvaluateReal<&kExp>>},
    {"$floor", &EvaluateUnary<&RoundWhole<&std::floor>>},
    {"$ln", &EvaluateUnary<&EvaluateReal<&kLn>>},
    {"$log", &EvaluateBinary<&Log>, 2, 2},
    {"$log10", &EvaluateUnary<&EvaluateReal<&kLog10>>},
    {"$mod", &EvaluateBinary<&Mod>, 2, 2},
    {"$multiply", &EvaluateMultiply, 0, Operator::kAnyCount},
    {"$pow", &EvaluateBinary<&Pow>, 2, 2},
    {"$round", &EvaluateRound<false>, 1, 2},
    {"$sigmoid", &EvaluateUnary<&EvaluateReal<&kSigmoid>>},
    {"$sqrt", &EvaluateUnary<&EvaluateReal<&kSqrt>>},
    {"$subtract", &EvaluateBinary<&Subtract>, 2, 2},
    {"$trunc", &EvaluateRound<true>, 1, 2},

    {"$sin", &EvaluateUnary<&EvaluateReal<&kSin>>},
    {"$cos", &EvaluateUnary<&EvaluateReal<&kCos>>},
    {"$tan", &EvaluateUnary<&EvaluateReal<&kTan>>},
    {"$asin", &EvaluateUnary<&EvaluateReal<&kAsin>>},
    {"$acos", &EvaluateUnary<&EvaluateReal<&kAcos>>},
    {"$atan", &EvaluateUnary<&EvaluateReal<&kAtan>>},
    {"$atan2", &EvaluateBinary<&Atan2>, 2, 2},
    {"$asinh", &EvaluateUnary<&EvaluateReal<&kAsinh>>},
    {"$acosh", &EvaluateUnary<&EvaluateReal<&kAcosh>>},
    {"$atanh", &EvaluateUnary<&EvaluateReal<&kAtanh>>},
    {"$sinh", &EvaluateUnary<&EvaluateReal<&kSinh>>},
    {"$cosh", &EvaluateUnary<&EvaluateReal<&kCosh>>},
    {"$tanh", &EvaluateUnary<&EvaluateReal<&kTanh>>},
    {"$degreesToRadians", &EvaluateUnary<&EvaluateReal<&kToRadians>>},
    {"$radiansToDegrees", &EvaluateUnary<&EvaluateReal<&kToDegrees>>},

    {"$bitAnd", &EvaluateBits<BitOperation::kAnd>, 0, Operator::kAnyCount},
    {"$bitOr", &EvaluateBits<BitOperation::kOr>, 0, Operator::kAnyCount},
    {"$bitXor", &EvaluateBits<BitOperation::kXor>, 0, Operator::kAnyCount},
    {"$bitNot", &EvaluateUnary<&BitNot>},

    {.name = "$rand", .compile = &CompileRand},
    {.name = "$sampleRate", .compile = &CompileSampleRate},
};

}  // namespace alos::query_internal::expression_arithmetic

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_ARITHMETIC_H_
