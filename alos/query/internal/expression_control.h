// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators that compare, decide and name: $eq to $cmp, $and $or $not, $cond $ifNull
// $switch, $let, $literal.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_CONTROL_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_CONTROL_H_

#include <compare>
#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "alos/base/status_macros.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_program.h"

namespace alos::query_internal {

// The order of values; missing is below everything, null included.
inline std::weak_ordering CompareOperands(const Operand& a, const Operand& b) {
  if (!a || !b) return a.has_value() <=> b.has_value();
  return Compare(*a, *b);
}
inline bool EqualOperands(const Operand& a, const Operand& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return Equal(*a, *b);
}

namespace expression_control {

enum class Comparison { kEq, kNe, kGt, kGte, kLt, kLte };

template <Comparison comparison>
bool EvaluateComparison(const Node& node, Evaluation& e, Operand* out) {
  Operand a;
  Operand b;
  if (!Evaluate(*node.arguments[0], e, &a) || !Evaluate(*node.arguments[1], e, &b)) return false;
  if constexpr (comparison == Comparison::kEq) return e.SetBool(EqualOperands(a, b), out);
  if constexpr (comparison == Comparison::kNe) return e.SetBool(!EqualOperands(a, b), out);
  const std::weak_ordering order = CompareOperands(a, b);
  return e.SetBool(comparison == Comparison::kGt    ? order > 0
                   : comparison == Comparison::kGte ? order >= 0
                   : comparison == Comparison::kLt  ? order < 0
                                                    : order <= 0,
                   out);
}

inline bool EvaluateCmp(const Node& node, Evaluation& e, Operand* out) {
  Operand a;
  Operand b;
  if (!Evaluate(*node.arguments[0], e, &a) || !Evaluate(*node.arguments[1], e, &b)) return false;
  const std::weak_ordering order = CompareOperands(a, b);
  return e.SetInt(order < 0 ? -1 : order > 0 ? 1 : 0, out);
}

// $and stops at the first that is false, $or at the first that is true.
template <bool stop_at>
bool EvaluateAndOr(const Node& node, Evaluation& e, Operand* out) {
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value)) return false;
    if (IsTruthy(value) == stop_at) return e.SetBool(stop_at, out);
  }
  return e.SetBool(!stop_at, out);
}

inline bool EvaluateNot(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  return e.SetBool(!IsTruthy(value), out);
}

// {$cond: [if, then, else]}, {$cond: {if, then, else}}: arguments in that order.
inline bool EvaluateCond(const Node& node, Evaluation& e, Operand* out) {
  Operand condition;
  if (!Evaluate(*node.arguments[0], e, &condition)) return false;
  return Evaluate(*node.arguments[IsTruthy(condition) ? 1 : 2], e, out);
}

inline absl::StatusOr<const Node*> CompileCond(ExpressionCompiler& compiler, const Operator& op,
                                               ValueView argument) {
  static constexpr std::string_view kNames[] = {"if", "then", "else"};
  Node* const node = compiler.NewNode(&EvaluateCond, &op);
  if (argument.IsDocument()) {
    ALOS_RETURN_IF_ERROR(compiler.CompileNamed(op, kNames, argument, node));
  } else {
    ALOS_RETURN_IF_ERROR(compiler.CompileListed(op, argument, node));
  }
  return compiler.FoldIfConstant(node);
}

inline bool EvaluateIfNull(const Node& node, Evaluation& e, Operand* out) {
  for (std::size_t i = 0; i + 1 < node.arguments.size(); ++i) {
    if (!Evaluate(*node.arguments[i], e, out)) return false;
    if (!IsNullish(*out)) return true;
  }
  return Evaluate(*node.arguments.back(), e, out);
}

// arguments: case, then, case, then, ... and the default if their number is odd.
inline bool EvaluateSwitch(const Node& node, Evaluation& e, Operand* out) {
  for (std::size_t i = 0; i + 1 < node.arguments.size(); i += 2) {
    Operand condition;
    if (!Evaluate(*node.arguments[i], e, &condition)) return false;
    if (IsTruthy(condition)) return Evaluate(*node.arguments[i + 1], e, out);
  }
  if (node.arguments.size() % 2 == 1) return Evaluate(*node.arguments.back(), e, out);
  return Fail(node, e, "no branch applies and there is no default");
}

inline absl::StatusOr<const Node*> CompileSwitch(ExpressionCompiler& compiler, const Operator& op,
                                                 ValueView argument) {
  if (!argument.IsDocument()) {
    return compiler.Error(op, "expected an object with branches and default, found ",
                          Describe(argument));
  }
  Node* const node = compiler.NewNode(&EvaluateSwitch, &op);
  const Node* otherwise = nullptr;
  for (const auto [key, value] : argument.entries()) {
    if (key == "default") {
      ALOS_ASSIGN_OR_RETURN(otherwise, compiler.Compile(value));
    } else if (key == "branches") {
      if (!value.IsArray()) return compiler.Error(op, "'branches' has to be an array");
      for (const ValueView branch : value.elements()) {
        const std::optional<ValueView> when = branch.Find("case");
        const std::optional<ValueView> then = branch.Find("then");
        if (!branch.IsDocument() || !when || !then || branch.size() != 2) {
          return compiler.Error(op, "a branch is {case: ..., then: ...}; found ", Describe(branch));
        }
        ALOS_ASSIGN_OR_RETURN(const Node* const condition, compiler.Compile(*when));
        ALOS_ASSIGN_OR_RETURN(const Node* const result, compiler.Compile(*then));
        node->arguments.push_back(condition);
        node->arguments.push_back(result);
      }
    } else {
      return compiler.Error(op, "unknown field '", DescribeText(key),
                            "'; known are branches and default");
    }
  }
  if (node->arguments.empty()) return compiler.Error(op, "at least one branch is needed");
  if (otherwise != nullptr) node->arguments.push_back(otherwise);
  return node;
}

// arguments: the variables' values, then `in`; slots: the variables.
inline bool EvaluateLet(const Node& node, Evaluation& e, Operand* out) {
  for (std::size_t i = 0; i < node.slots.size(); ++i) {
    Operand value;
    if (!Evaluate(*node.arguments[i], e, &value)) return false;
    e.variable(node.slots[i]) = value;
  }
  return Evaluate(*node.arguments.back(), e, out);
}

inline absl::StatusOr<const Node*> CompileLet(ExpressionCompiler& compiler, const Operator& op,
                                              ValueView argument) {
  const std::optional<ValueView> vars = argument.Find("vars");
  const std::optional<ValueView> in = argument.Find("in");
  if (!argument.IsDocument() || !vars || !in || argument.size() != 2 || !vars->IsDocument()) {
    return compiler.Error(op, "expected {vars: {name: value, ...}, in: ...}, found ",
                          Describe(argument));
  }
  Node* const node = compiler.NewNode(&EvaluateLet, &op);
  for (const auto [name, value] : vars->entries()) {
    ALOS_RETURN_IF_ERROR(compiler.CheckVariableName(name));
    ALOS_ASSIGN_OR_RETURN(const Node* const compiled, compiler.Compile(value));
    node->arguments.push_back(compiled);
  }
  // The variables do not see each other.
  for (const auto [name, value] : vars->entries()) {
    node->slots.push_back(compiler.PushVariable(name));
  }
  absl::StatusOr<const Node*> body = compiler.Compile(*in);
  compiler.PopVariables(node->slots.size());
  if (!body.ok()) return body;
  node->arguments.push_back(*body);
  return IsConstant(*body) ? *body : node;
}

inline absl::StatusOr<const Node*> CompileLiteral(ExpressionCompiler& compiler, const Operator&,
                                                  ValueView argument) {
  return compiler.Constant(argument);
}

inline constexpr Operator kOperators[] = {
    {"$eq", &EvaluateComparison<Comparison::kEq>, 2, 2},
    {"$ne", &EvaluateComparison<Comparison::kNe>, 2, 2},
    {"$gt", &EvaluateComparison<Comparison::kGt>, 2, 2},
    {"$gte", &EvaluateComparison<Comparison::kGte>, 2, 2},
    {"$lt", &EvaluateComparison<Comparison::kLt>, 2, 2},
    {"$lte", &EvaluateComparison<Comparison::kLte>, 2, 2},
    {"$cmp", &EvaluateCmp, 2, 2},
    {"$and", &EvaluateAndOr<false>, 0, Operator::kAnyCount},
    {"$or", &EvaluateAndOr<true>, 0, Operator::kAnyCount},
    {"$not", &EvaluateNot},
    {.name = "$cond",
     .evaluate = &EvaluateCond,
     .count_min = 3,
     .count_max = 3,
     .compile = &CompileCond},
    {"$ifNull", &EvaluateIfNull, 2, Operator::kAnyCount},
    {.name = "$switch", .compile = &CompileSwitch},
    {.name = "$let", .compile = &CompileLet},
    {.name = "$literal", .compile = &CompileLiteral},
    {.name = "$const", .compile = &CompileLiteral},
};

}  // namespace expression_control
}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_CONTROL_H_
