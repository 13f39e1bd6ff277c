// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators on documents.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_OBJECT_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_OBJECT_H_

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_program.h"

namespace alos::query_internal::expression_object {

// Puts fields on the stack of `e`, above what is there when it is made; a field that comes again
// replaces the value and keeps the place.
class FieldMerger {
 public:
  explicit FieldMerger(Evaluation& e) : e_(e), mark_(e.fields.size()) {}

  bool Put(std::string_view key, ValueView value) {
    if (const std::optional<std::size_t> index = Find(key)) {
      e_.fields[*index].value = value;
      return true;
    }
    if (!index_.empty() || e_.fields.size() - mark_ >= kSearchedMax) {
      if (index_.empty()) {
        for (std::size_t i = mark_; i < e_.fields.size(); ++i) index_.emplace(e_.fields[i].key, i);
      }
      index_.emplace(key, e_.fields.size());
    }
    return e_.PushField(key, value);
  }
  bool SetDocument(Operand* out) { return e_.SetDocument(mark_, out); }

 private:
  static constexpr std::size_t kSearchedMax = 16;

  std::optional<std::size_t> Find(std::string_view key) const {
    if (!index_.empty()) {
      const auto found = index_.find(key);
      return found == index_.end() ? std::nullopt : std::optional(found->second);
    }
    for (std::size_t i = mark_; i < e_.fields.size(); ++i) {
      if (e_.fields[i].key == key) return i;
    }
    return std::nullopt;
  }

  Evaluation& e_;
  const std::size_t mark_;
  absl::flat_hash_map<std::string_view, std::size_t> index_;  // of many fields only
};

inline bool MergeInto(const Node& node, Evaluation& e, const Operand& value, FieldMerger* merger) {
  if (IsNullish(value)) return true;
  if (!value->IsDocument()) return Fail(node, e, "expected objects, found ", Describe(*value));
  if (!e.Charge(value->size())) return false;
  for (const auto [key, field] : value->entries()) {
    if (!merger->Put(key, field)) return false;
  }
  return true;
}

// A single argument may be an array of documents.
inline bool EvaluateMerge(const Node& node, Evaluation& e, Operand* out) {
  if (node.arguments.size() == 1) {
    Operand value;
    if (!Evaluate(*node.arguments[0], e, &value)) return false;
    FieldMerger merger(e);
    if (value && value->IsArray()) {
      for (const ValueView element : value->elements()) {
        if (!MergeInto(node, e, element, &merger)) return false;
      }
    } else if (!MergeInto(node, e, value, &merger)) {
      return false;
    }
    return merger.SetDocument(out);
  }
  FieldMerger merger(e);
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value) || !MergeInto(node, e, value, &merger)) return false;
  }
  return merger.SetDocument(out);
}

inline bool EvaluateObjectToArray(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  if (IsNullish(value)) return e.SetNull(out);
  if (!value->IsDocument()) return Fail(node, e, "expected an object, found ", Describe(*value));
  if (!e.Charge(value->size())) return false;
  const std::size_t mark = e.stack.size();
  for (const auto [key, field] : value->entries()) {
    const std::size_t fields_mark = e.fields.size();
    Operand name;
    Operand pair;
    if (!e.SetString(key, &name) || !e.PushField("k", *name) || !e.PushField("v", field) ||
        !e.SetDocument(fields_mark, &pair) || !e.Push(pair)) {
      return false;
    }
  }
  return e.SetArray(mark, out);
}

// From [[key, value], ...] or [{k: key, v: value}, ...].
inline bool EvaluateArrayToObject(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  if (IsNullish(value)) return e.SetNull(out);
  if (!value->IsArray()) return Fail(node, e, "expected an array, found ", Describe(*value));
  if (!e.Charge(value->size())) return false;
  FieldMerger merger(e);
  std::optional<bool> has_documents;
  for (const ValueView element : value->elements()) {
    std::optional<ValueView> key;
    std::optional<ValueView> field;
    if (element.IsDocument() && element.size() == 2) {
      key = element.Find("k");
      field = element.Find("v");
    } else if (element.IsArray() && element.size() == 2) {
      key = element.At(0);
      field = element.At(1);
    }
    if (!key || !field) {
      return Fail(node, e, "expected [key, value] or {k: key, v: value}, found ",
                  Describe(element));
    }
    if (has_documents.value_or(element.IsDocument()) != element.IsDocument()) {
      return Fail(node, e, "[key, value] and {k: key, v: value} are mixed");
    }
    has_documents = element.IsDocument();
    if (!key->IsString()) return Fail(node, e, "a key has to be a string, found ", Describe(*key));
    if (!merger.Put(key->AsString(), *field)) return false;
  }
  return merger.SetDocument(out);
}

// --- $getField, $setField, $unsetField: names as they are, with '.' and '$' ---

inline constexpr std::string_view kGetNames[] = {"field", "input"};
inline constexpr std::string_view kSetNames[] = {"field", "input", "value"};

inline bool EvaluateGetField(const Node& node, Evaluation& e, Operand* out) {
  Operand field;
  Operand input;
  if (!EvaluateArgument(node, 0, e, &field) || !EvaluateArgument(node, 1, e, &input)) return false;
  if (!field || !field->IsString()) {
    return Fail(node, e, "'field' has to be a string, found ",
                field ? Describe(*field) : "missing");
  }
  if (!input) return e.SetMissing(out);
  if (input->IsNull()) return e.SetNull(out);
  *out = input->IsDocument() ? input->Find(field->AsString()) : std::nullopt;
  return true;
}

inline absl::StatusOr<const Node*> CompileGetField(ExpressionCompiler& compiler, const Operator& op,
                                                   ValueView argument) {
  Node* const node = compiler.NewNode(&EvaluateGetField, &op);
  const bool is_named = argument.IsDocument() && argument.size() != 0 &&
                        !(*argument.entries().begin()).key.starts_with('$');
  if (is_named) {
    ALOS_RETURN_IF_ERROR(compiler.CompileNamed(op, kGetNames, argument, node));
  } else {
    ALOS_ASSIGN_OR_RETURN(const Node* const field, compiler.Compile(argument));
    node->arguments = {field, compiler.Current()};
  }
  if (IsConstant(node->arguments[0]) && !node->arguments[0]->constant.IsString()) {
    return compiler.Error(op, "'field' has to be a string, found ",
                          Describe(node->arguments[0]->constant));
  }
  return compiler.FoldIfConstant(node);
}

// A missing value takes the field away.
inline bool EvaluateSetField(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  Operand value;
  if (!EvaluateArgument(node, 1, e, &input)) return false;
  if (node.arguments.size() == 3 && !EvaluateArgument(node, 2, e, &value)) return false;
  if (IsNullish(input)) return e.SetNull(out);
  if (!input->IsDocument()) {
    return Fail(node, e, "'input' has to be an object, found ", Describe(*input));
  }
  const std::string_view field = node.arguments[0]->constant.AsString();
  const std::size_t mark = e.fields.size();
  bool placed = false;
  for (const auto [key, old] : input->entries()) {
    if (key != field) {
      if (!e.PushField(key, old)) return false;
      continue;
    }
    placed = true;
    if (value && !e.PushField(key, *value)) return false;
  }
  if (!placed && value && !e.PushField(field, *value)) return false;
  return e.SetDocument(mark, out);
}

inline absl::Status PrepareSetField(ExpressionCompiler& compiler, Node& node) {
  if (IsConstant(node.arguments[0]) && node.arguments[0]->constant.IsString()) {
    return absl::OkStatus();
  }
  return compiler.Error(*node.op,
                        "'field' has to be a constant string; {$literal: '$x'} is one that begins "
                        "with '$'");
}

inline constexpr Operator kOperators[] = {
    {"$mergeObjects", &EvaluateMerge, 0, Operator::kAnyCount},
    {"$objectToArray", &EvaluateObjectToArray},
    {"$arrayToObject", &EvaluateArrayToObject},
    {.name = "$getField", .compile = &CompileGetField},
    {.name = "$setField",
     .evaluate = &EvaluateSetField,
     .names = kSetNames,
     .prepare = &PrepareSetField},
    {.name = "$unsetField",
     .evaluate = &EvaluateSetField,
     .names = kGetNames,
     .prepare = &PrepareSetField},
};

}  // namespace alos::query_internal::expression_object

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_OBJECT_H_
