// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Aggregation expressions: what $project computes, $group groups by and $expr asks.

#ifndef ALOS_QUERY_EXPRESSION_H_
#define ALOS_QUERY_EXPRESSION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_operators.h"
#include "alos/query/internal/expression_program.h"

namespace alos {

// The names after "$$" that an expression may use besides $$ROOT, $$CURRENT, $$NOW and $$REMOVE:
// those that a $lookup, a command or an update defines with `let`.
//
// A variable is found by its slot, a number, in the EvaluationState: the scope is needed to compile
// only. An inner scope is a copy of the outer one with more declared: the slots stay.
class VariableScope {
 public:
  // Returns the slot. A name that is there already is hidden by the new one.
  // Errors: kInvalidArgument if no variable may have that name (as $let: it begins with a lowercase
  //   letter; or it is CURRENT, where "$a" then looks).
  absl::StatusOr<std::size_t> Declare(std::string_view name);

  // $$KEEP, $$PRUNE and $$DESCEND get a meaning: the texts "keep", "prune" and "descend".
  void DeclareRedactVariables() { has_redact_variables_ = true; }

 private:
  friend class Expression;

  std::vector<query_internal::Variable> variables_;
  std::size_t slot_count_ = 1;  // 0 is $$ROOT
  bool has_redact_variables_ = false;
};

struct EvaluationLimits {
  // What the values made for one document (from Reset to Reset) may take.
  std::size_t memory_bytes_max = 100 << 20;
  // Elements that loops ($map, $filter, $reduce, $in ...) may go through for one document; 64 bytes
  // of large strings, arrays and documents count as one.
  std::uint64_t steps_max = 1'000'000'000;
};

// What evaluating needs beside the document: time, variables, and the memory of results.
//
// Threads: one at a time; each thread has its own.
// Lifetime: results of Evaluate are valid until Reset, or until the document's bytes go.
// Cost: after the first documents evaluation allocates nothing: memory is kept, up to 4 MiB.
class EvaluationState {
 public:
  // `now` is what $$NOW says throughout.
  explicit EvaluationState(Timestamp now, const EvaluationLimits& limits = {})
      : evaluation_(now, limits.memory_bytes_max, limits.steps_max) {}

  // To be called between documents: the results so far are gone. Variables stay.
  void Reset() { evaluation_.Reset(); }

  // The value of a variable that VariableScope::Declare gave `slot`; nullopt: missing. The bytes
  // are not copied: they have to live as long as the variable is in use.
  void SetVariable(std::size_t slot, std::optional<ValueView> value) {
    evaluation_.ReserveVariables(slot + 1);
    evaluation_.variable(slot) = value;
  }

  Timestamp now() const { return evaluation_.now(); }

 private:
  friend class Expression;
  query_internal::Evaluation evaluation_;
};

// One expression of MongoDB's aggregation language.
//
// Threads: a compiled expression is immutable; any number of threads may evaluate it, each with an
//   EvaluationState of its own. Copies share the program.
// Lifetime: it owns all it needs; the specification may go after Compile.
// Durability: none.
// Errors: Compile: kInvalidArgument naming the operator, what was wrong and what would be right.
//   Evaluate: kInvalidArgument for values an operator does not take, kResourceExhausted past the
//   limits of the state. After an error the state is usable again after Reset.
// Cost: a field path costs what ValueView::Find costs and copies nothing (unless it goes through an
//   array); what is made is written once, into the state's memory. Constant parts are computed by
//   Compile. Recursion is as deep as the specification nests, at most 100.
//
//   absl::StatusOr<Expression> full_name = Expression::Compile(specification);
//   EvaluationState state(now);
//   for (ValueView document : documents) {
//     state.Reset();
//     absl::StatusOr<std::optional<ValueView>> value = full_name->Evaluate(document, state);
//     if (!value.ok()) return value.status();
//     if (*value) Use(**value);
//   }
class Expression {
 public:
  static absl::StatusOr<Expression> Compile(ValueView specification,
                                            const VariableScope& scope = {});

  // The value for the document `root` ($$ROOT and $$CURRENT); nullopt: missing, as of a field that
  // is not there or of $$REMOVE. A view into `root`, into this expression or into the state.
  absl::StatusOr<std::optional<ValueView>> Evaluate(ValueView root, EvaluationState& state) const;

  // Evaluate, and whether it is IsTrue: what $expr asks.
  absl::StatusOr<bool> EvaluateBool(ValueView root, EvaluationState& state) const;

  // Everything is true but missing, null, false and zero.
  static bool IsTrue(const std::optional<ValueView>& value) {
    return query_internal::IsTruthy(value);
  }

  // For planners. ------------------------------------------------------------------------------

  // The value, if it is the same for every document; an operator that would fail for every document
  // is not taken for constant.
  std::optional<ValueView> constant() const;
  bool is_constant() const { return constant().has_value() || is_always_missing(); }
  bool is_always_missing() const;

  // The path, if the expression is "$a.b" or "$$ROOT.a.b" and nothing else; else nullptr.
  const Path* field_path() const;

  // {$eq: ["$a.b", 5]} and the like: `path` compared with `constant`, by one of $eq $ne $gt $gte
  // $lt $lte, or $in, whose constant is an array. The order is that of all values, across types,
  // and missing is below null; a path through arrays yields an array, which is compared as a whole.
  struct FieldComparison {
    std::string_view op;  // as if the path stood on the left
    const Path* path;
    ValueView constant;
  };
  // Comparisons that all hold for each document for which the expression is true (of an $and all
  // that are such); there may be none.
  std::vector<FieldComparison> ImpliedComparisons() const;

  // The top-level fields of the document that the expression looks at, sorted; meaningless if
  // needs_whole_document().
  absl::Span<const std::string> fields() const { return needs_->fields; }
  bool needs_whole_document() const { return needs_->whole_document; }

 private:
  struct Needs {
    std::vector<std::string> fields;
    bool whole_document = false;
  };

  Expression() = default;

  std::shared_ptr<const query_internal::ExpressionProgram> program_;
  std::shared_ptr<const Needs> needs_;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

inline absl::StatusOr<std::size_t> VariableScope::Declare(std::string_view name) {
  if (absl::Status status = query_internal::ExpressionCompiler::CheckVariableName(name);
      !status.ok()) {
    return status;
  }
  variables_.push_back({std::string(name), slot_count_});
  return slot_count_++;
}

inline absl::StatusOr<Expression> Expression::Compile(ValueView specification,
                                                      const VariableScope& scope) {
  auto program = std::make_shared<query_internal::ExpressionProgram>();
  program->bytes = specification.bytes();
  program->slot_count = scope.slot_count_;
  query_internal::ExpressionCompiler compiler(program.get(), scope.variables_, scope.slot_count_,
                                              scope.has_redact_variables_);
  absl::StatusOr<const query_internal::Node*> root =
      compiler.Compile(ValueView::FromTrusted(program->bytes));
  if (!root.ok()) return root.status();
  program->root = *root;

  auto needs = std::make_shared<Needs>();
  for (const query_internal::Node& node : program->nodes) {
    if (node.slot != 0) continue;
    if (node.evaluate == &query_internal::EvaluateVariable) needs->whole_document = true;
    if (node.evaluate == &query_internal::EvaluatePath) {
      needs->fields.push_back(node.path->parts().front());
    }
  }
  std::sort(needs->fields.begin(), needs->fields.end());
  needs->fields.erase(std::unique(needs->fields.begin(), needs->fields.end()), needs->fields.end());
  Expression expression;
  expression.program_ = std::move(program);
  expression.needs_ = std::move(needs);
  return expression;
}

inline absl::StatusOr<std::optional<ValueView>> Expression::Evaluate(ValueView root,
                                                                     EvaluationState& state) const {
  query_internal::Evaluation& e = state.evaluation_;
  e.ReserveVariables(program_->slot_count);
  e.variable(0) = root;
  std::optional<ValueView> result;
  if (!query_internal::Evaluate(*program_->root, e, &result)) return e.TakeStatus();
  return result;
}

inline absl::StatusOr<bool> Expression::EvaluateBool(ValueView root, EvaluationState& state) const {
  absl::StatusOr<std::optional<ValueView>> value = Evaluate(root, state);
  if (!value.ok()) return std::move(value).status();
  return IsTrue(*value);
}

inline std::optional<ValueView> Expression::constant() const {
  if (!query_internal::IsConstant(program_->root)) return std::nullopt;
  return program_->root->constant;
}

inline bool Expression::is_always_missing() const {
  return program_->root->evaluate == &query_internal::EvaluateRemove;
}

inline const Path* Expression::field_path() const {
  const query_internal::Node& root = *program_->root;
  return root.evaluate == &query_internal::EvaluatePath && root.slot == 0 ? &*root.path : nullptr;
}

inline std::vector<Expression::FieldComparison> Expression::ImpliedComparisons() const {
  static constexpr std::pair<std::string_view, std::string_view> kMirrored[] = {
      {"$eq", "$eq"},   {"$ne", "$ne"}, {"$gt", "$lt"},
      {"$gte", "$lte"}, {"$lt", "$gt"}, {"$lte", "$gte"},
  };
  std::vector<FieldComparison> comparisons;
  std::vector<const query_internal::Node*> pending = {program_->root};
  while (!pending.empty()) {
    const query_internal::Node& node = *pending.back();
    pending.pop_back();
    if (node.op == nullptr) continue;
    if (node.op->name == "$and") {
      pending.insert(pending.end(), node.arguments.begin(), node.arguments.end());
      continue;
    }
    if (node.op->name == "$in") {
      const query_internal::Node& left = *node.arguments[0];
      const query_internal::Node& right = *node.arguments[1];
      if (left.evaluate == &query_internal::EvaluatePath && left.slot == 0 &&
          query_internal::IsConstant(&right) && right.constant.IsArray()) {
        comparisons.push_back({"$in", &*left.path, right.constant});
      }
      continue;
    }
    for (const auto& [name, mirrored] : kMirrored) {
      if (node.op->name != name) continue;
      const query_internal::Node& left = *node.arguments[0];
      const query_internal::Node& right = *node.arguments[1];
      const auto is_path = [](const query_internal::Node& side) {
        return side.evaluate == &query_internal::EvaluatePath && side.slot == 0;
      };
      if (is_path(left) && query_internal::IsConstant(&right)) {
        comparisons.push_back({name, &*left.path, right.constant});
      } else if (is_path(right) && query_internal::IsConstant(&left)) {
        comparisons.push_back({mirrored, &*right.path, left.constant});
      }
    }
  }
  return comparisons;
}

}  // namespace alos

#endif  // ALOS_QUERY_EXPRESSION_H_
