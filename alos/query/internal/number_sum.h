// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Sums of numbers of all types, for expressions and accumulators.

#ifndef ALOS_QUERY_INTERNAL_NUMBER_SUM_H_
#define ALOS_QUERY_INTERNAL_NUMBER_SUM_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/internal/expression_evaluation.h"

namespace alos::query_internal {

// Adds without an intermediate overflow, and doubles with an error that does not grow with their
// number (Knuth's two-sum).
//
// The type of the result is as in MongoDB: int as long as only integers were added and the sum is
// one (a uint only if one was added), else double.
class NumberSum {
 public:
  // REQUIRES: value.IsNumber().
  void Add(ValueView value) {
    switch (value.type()) {
      case ValueType::kInt64:
        AddInt(value.AsInt64());
        break;
      case ValueType::kUint64:
        has_uint_ = true;
        integers_ += static_cast<Wide>(value.AsUint64());
        break;
      default:
        AddDouble(value.AsDouble());
        break;
    }
  }
  void AddInt(std::int64_t value) { integers_ += value; }
  void AddDouble(double value) {
    has_double_ = true;
    AddTwoSum(value);
  }
  void Merge(const NumberSum& other) {
    integers_ += other.integers_;
    has_uint_ = has_uint_ || other.has_uint_;
    has_double_ = has_double_ || other.has_double_;
    if (!other.has_double_) return;
    AddTwoSum(other.sum_);
    if (std::isfinite(other.sum_)) AddTwoSum(other.error_);
    if (!std::isfinite(other.plain_)) plain_ += other.plain_;
  }

  bool has_double() const { return has_double_; }
  // The sum of the integers alone, if it is an int.
  bool FitsInt() const {
    return integers_ >= std::numeric_limits<std::int64_t>::min() &&
           integers_ <= std::numeric_limits<std::int64_t>::max();
  }
  std::int64_t integers() const { return static_cast<std::int64_t>(integers_); }

  double AsDouble() const {
    if (!has_double_) return static_cast<double>(integers_);
    NumberSum total = *this;
    // In two parts that are doubles: the upper bits, and what is left.
    const auto upper = static_cast<double>(integers_);
    total.AddTwoSum(upper);
    total.AddTwoSum(static_cast<double>(integers_ - static_cast<Wide>(upper)));
    return std::isfinite(total.sum_) ? total.sum_ + total.error_ : total.plain_;
  }

  void Append(Builder* builder) const {
    if (!has_double_ && FitsInt()) {
      builder->Int(integers());
    } else if (IsUint()) {
      builder->Uint(static_cast<std::uint64_t>(integers_));
    } else {
      builder->Double(AsDouble());
    }
  }

  bool SetResult(Evaluation& e, Operand* out) const {
    if (!has_double_) {
      if (FitsInt()) return e.SetInt(integers(), out);
      if (IsUint()) {
        return e.SetUint(static_cast<std::uint64_t>(integers_), out);
      }
    }
    return e.SetDouble(AsDouble(), out);
  }

 private:
  __extension__ using Wide = __int128;  // 2^63 additions do not overflow it

  bool IsUint() const {
    return !has_double_ && has_uint_ && integers_ > std::numeric_limits<std::int64_t>::max() &&
           integers_ <= std::numeric_limits<std::uint64_t>::max();
  }

  void AddTwoSum(double value) {
    plain_ += value;
    const double sum = sum_ + value;
    const double from_value = sum - sum_;
    error_ += (sum_ - (sum - from_value)) + (value - from_value);
    sum_ = sum;
  }

  Wide integers_ = 0;
  double sum_ = 0;    // of the doubles, rounded
  double error_ = 0;  // what rounding lost
  double plain_ = 0;  // the sum without care: right where infinities and NaN are in it
  bool has_uint_ = false;
  bool has_double_ = false;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_NUMBER_SUM_H_
