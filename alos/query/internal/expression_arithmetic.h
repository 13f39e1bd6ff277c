// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators on numbers.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_ARITHMETIC_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_ARITHMETIC_H_

#include "alos/document/value.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/number_sum.h"

namespace alos::query_internal::expression_arithmetic {

inline bool EvaluateAdd(const Node& node, Evaluation& e, Operand* out) {
  NumberSum sum;
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value)) return false;
    if (IsNullish(value)) return e.SetNull(out);
    if (!value->IsNumber()) {
      return Fail(node, e, "only numbers and dates can be added, not ", OperandTypeName(value));
    }
    sum.Add(*value);
  }
  return sum.SetResult(e, out);
}

inline constexpr Operator kOperators[] = {
    {"$add", &EvaluateAdd, 0, Operator::kAnyCount},
};

}  // namespace alos::query_internal::expression_arithmetic

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_ARITHMETIC_H_
