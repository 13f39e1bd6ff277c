// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators on arrays and on arrays as sets.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_ARRAY_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_ARRAY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_control.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_number.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/value_set.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

namespace expression_array {

inline constexpr std::int64_t kInt32Min = std::numeric_limits<std::int32_t>::min();
inline constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();

// Evaluates the argument at `index`, which has to be an array; missing for null and missing if
// those are allowed.
inline bool TakeArray(const Node& node, Evaluation& e, std::size_t index, bool allows_null,
                      Operand* array) {
  if (!EvaluateArgument(node, index, e, array)) return false;
  if (allows_null && IsNullish(*array)) return e.SetMissing(array);
  if (*array && (*array)->IsArray()) return true;
  std::string which;
  if (!node.op->names.empty()) {
    which = absl::StrCat("'", node.op->names[index], "' has to be");
  } else if (node.arguments.size() > 1) {
    which = absl::StrCat("argument ", index + 1, " has to be");
  } else {
    which = "expected";
  }
  return Fail(node, e, which, " an array, found ", *array ? Describe(**array) : "missing");
}

// --- One element ---

inline bool EvaluateElementAt(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  Operand position;
  if (!TakeArray(node, e, 0, true, &array) || !EvaluateArgument(node, 1, e, &position))
    return false;
  if (!array || IsNullish(position)) return e.SetNull(out);
  std::int64_t index = 0;
  if (!TakeInteger(node, e, "the position", position, kInt32Min, kInt32Max, &index)) return false;
  const auto size = static_cast<std::int64_t>(array->size());
  if (index < 0) index += size;
  *out = index >= 0 && index < size ? array->At(static_cast<std::size_t>(index)) : std::nullopt;
  return true;
}

template <bool last>
bool EvaluateEnd(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  if (!TakeArray(node, e, 0, true, &array)) return false;
  if (!array) return e.SetNull(out);
  *out = array->size() == 0 ? std::nullopt : array->At(last ? array->size() - 1 : 0);
  return true;
}

inline bool EvaluateIn(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  Operand array;
  if (!Evaluate(*node.arguments[0], e, &value) || !TakeArray(node, e, 1, false, &array) ||
      !e.Charge(array->size())) {
    return false;
  }
  if (!value) return e.SetBool(false, out);
  for (const ValueView element : array->elements()) {
    if (Equal(element, *value)) return e.SetBool(true, out);
  }
  return e.SetBool(false, out);
}

inline bool EvaluateIndexOfArray(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  Operand value;
  if (!TakeArray(node, e, 0, true, &array) || !Evaluate(*node.arguments[1], e, &value))
    return false;
  std::int64_t bounds[2] = {0, std::numeric_limits<std::int64_t>::max()};
  for (std::size_t i = 2; i < node.arguments.size(); ++i) {
    Operand bound;
    if (!Evaluate(*node.arguments[i], e, &bound)) return false;
    if (!TakeInteger(node, e, i == 2 ? "the start" : "the end", bound, 0, kInt32Max,
                     &bounds[i - 2])) {
      return false;
    }
  }
  if (!array) return e.SetNull(out);
  if (!e.Charge(array->size())) return false;
  std::int64_t index = 0;
  for (const ValueView element : array->elements()) {
    if (index >= bounds[1]) break;
    if (index >= bounds[0] && value && Equal(element, *value)) return e.SetInt(index, out);
    ++index;
  }
  return e.SetInt(-1, out);
}

inline bool EvaluateIsArray(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  return e.SetBool(value && value->IsArray(), out);
}

inline bool EvaluateSize(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  if (!TakeArray(node, e, 0, false, &array)) return false;
  return e.SetInt(static_cast<std::int64_t>(array->size()), out);
}

// --- New arrays of elements ---

inline bool EvaluateConcatArrays(const Node& node, Evaluation& e, Operand* out) {
  const std::size_t mark = e.stack.size();
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    Operand array;
    if (!TakeArray(node, e, i, true, &array)) return false;
    if (!array) {
      e.stack.resize(mark);
      return e.SetNull(out);
    }
    if (!e.Charge(array->size())) return false;
    for (const ValueView element : array->elements()) {
      if (!e.Push(element)) return false;
    }
  }
  return e.SetArray(mark, out);
}

inline bool EvaluateReverse(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  if (!TakeArray(node, e, 0, true, &array)) return false;
  if (!array) return e.SetNull(out);
  const std::size_t mark = e.stack.size();
  for (const ValueView element : array->elements()) {
    if (!e.Push(element)) return false;
  }
  std::reverse(e.stack.begin() + static_cast<std::ptrdiff_t>(mark), e.stack.end());
  return e.SetArray(mark, out);
}

// The elements [begin, end) of `array`.
inline bool SetRun(ValueView array, std::int64_t begin, std::int64_t end, Evaluation& e,
                   Operand* out) {
  const std::size_t mark = e.stack.size();
  std::int64_t index = 0;
  for (const ValueView element : array.elements()) {
    if (index >= end) break;
    if (index >= begin && !e.Push(element)) return false;
    ++index;
  }
  return e.SetArray(mark, out);
}

// [array, n] or [array, position, n]
inline bool EvaluateSlice(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  if (!TakeArray(node, e, 0, true, &array)) return false;
  Operand numbers[2];
  for (std::size_t i = 1; i < node.arguments.size(); ++i) {
    if (!Evaluate(*node.arguments[i], e, &numbers[i - 1])) return false;
    if (IsNullish(numbers[i - 1])) return e.SetNull(out);
  }
  if (!array) return e.SetNull(out);
  const auto size = static_cast<std::int64_t>(array->size());
  std::int64_t first = 0;
  if (node.arguments.size() == 2) {
    if (!TakeInteger(node, e, "the number of elements", numbers[0], kInt32Min, kInt32Max, &first)) {
      return false;
    }
    return first < 0 ? SetRun(*array, std::max<std::int64_t>(size + first, 0), size, e, out)
                     : SetRun(*array, 0, first, e, out);
  }
  std::int64_t count = 0;
  if (!TakeInteger(node, e, "the position", numbers[0], kInt32Min, kInt32Max, &first) ||
      !TakeInteger(node, e, "the number of elements", numbers[1], 1, kInt32Max, &count)) {
    return false;
  }
  if (first < 0) first = std::max<std::int64_t>(size + first, 0);
  return SetRun(*array, first, first + count, e, out);
}

inline bool EvaluateRange(const Node& node, Evaluation& e, Operand* out) {
  std::int64_t numbers[3] = {0, 0, 1};
  static constexpr std::string_view kNames[] = {"the start", "the end", "the step"};
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    Operand value;
    if (!Evaluate(*node.arguments[i], e, &value)) return false;
    if (!TakeInteger(node, e, kNames[i], value, kInt32Min, kInt32Max, &numbers[i])) return false;
  }
  const std::int64_t start = numbers[0];
  const std::int64_t end = numbers[1];
  const std::int64_t step = numbers[2];
  if (step == 0) return Fail(node, e, "the step is 0");
  const std::int64_t distance = step > 0 ? end - start : start - end;
  const std::int64_t width = step > 0 ? step : -step;
  const std::int64_t count = distance <= 0 ? 0 : (distance + width - 1) / width;
  // Every element takes a byte at least.
  if (static_cast<std::size_t>(count) > e.arena().limit_bytes()) return e.FailForMemory();
  if (!e.Charge(static_cast<std::size_t>(count))) return false;
  std::string encoded;  // one at a time: short enough not to be allocated
  const auto encode = [&](std::int64_t index) {
    encoded.clear();
    document_internal::AppendInt(&encoded, start + index * step);
  };
  std::size_t size = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    encode(i);
    size += encoded.size();
  }
  char* data = nullptr;
  if (!e.StartArray(static_cast<std::size_t>(count), size, &data, out)) return false;
  for (std::int64_t i = 0; i < count; ++i) {
    encode(i);
    data = std::copy(encoded.begin(), encoded.end(), data);
  }
  return true;
}

// --- $zip ---

// arguments: the inputs, then the defaults; slots[0]: the number of inputs, slots[1]: 1 if the
// longest decides.
inline bool EvaluateZip(const Node& node, Evaluation& e, Operand* out) {
  const std::size_t count = node.slots[0];
  const bool longest = node.slots[1] != 0;
  std::vector<ValueView> inputs;
  std::size_t length = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Operand input;
    if (!Evaluate(*node.arguments[i], e, &input)) return false;
    if (IsNullish(input)) return e.SetNull(out);
    if (!input->IsArray()) {
      return Fail(node, e, "'inputs' have to be arrays, found ", Describe(*input));
    }
    inputs.push_back(*input);
    length = i == 0    ? input->size()
             : longest ? std::max(length, input->size())
                       : std::min(length, input->size());
  }
  std::vector<Operand> defaults(count);
  for (std::size_t i = count; i < node.arguments.size(); ++i) {
    if (!Evaluate(*node.arguments[i], e, &defaults[i - count])) return false;
  }
  std::vector<ElementRange::iterator> positions;
  positions.reserve(inputs.size());
  for (const ValueView input : inputs) positions.push_back(input.elements().begin());
  const std::size_t mark = e.stack.size();
  for (std::size_t row = 0; row < length; ++row) {
    if (!e.Charge(count)) return false;
    const std::size_t row_mark = e.stack.size();
    for (std::size_t i = 0; i < count; ++i) {
      if (!e.Push(row < inputs[i].size() ? Operand(*positions[i]++) : defaults[i])) return false;
    }
    Operand tuple;
    if (!e.SetArray(row_mark, &tuple) || !e.Push(tuple)) return false;
  }
  return e.SetArray(mark, out);
}

inline absl::StatusOr<const Node*> CompileZip(ExpressionCompiler& compiler, const Operator& op,
                                              ValueView argument) {
  if (!argument.IsDocument()) {
    return compiler.Error(op, "expected an object with inputs, useLongestLength and defaults");
  }
  Node* const node = compiler.NewNode(&EvaluateZip, &op);
  std::optional<ValueView> inputs;
  std::optional<ValueView> defaults;
  bool longest = false;
  for (const auto [key, value] : argument.entries()) {
    if (key == "inputs") {
      inputs = value;
    } else if (key == "defaults") {
      defaults = value;
    } else if (key == "useLongestLength") {
      if (!value.IsBool()) {
        return compiler.Error(op, "'useLongestLength' has to be true or false, found ",
                              Describe(value));
      }
      longest = value.AsBool();
    } else {
      return compiler.Error(op, "unknown field '", DescribeText(key),
                            "'; known are inputs, useLongestLength and defaults");
    }
  }
  if (!inputs || !inputs->IsArray() || inputs->size() == 0) {
    return compiler.Error(op, "'inputs' has to be an array of at least one expression");
  }
  if (defaults && (!longest || !defaults->IsArray() || defaults->size() != inputs->size())) {
    return compiler.Error(op,
                          "'defaults' has to be an array as long as 'inputs', and needs "
                          "useLongestLength: true");
  }
  for (const std::optional<ValueView>& list : {inputs, defaults}) {
    if (!list) continue;
    for (const ValueView element : list->elements()) {
      ALOS_ASSIGN_OR_RETURN(const Node* const compiled, compiler.Compile(element));
      node->arguments.push_back(compiled);
    }
  }
  node->slots = {inputs->size(), longest ? std::size_t{1} : 0};
  return compiler.FoldIfConstant(node);
}

// --- Loops: $map, $filter, $reduce ---
//
// arguments: input, limit or nullptr ($filter), initialValue or nullptr ($reduce), body
// slots: the element, its index (0 if the body does not ask for it), the value ($reduce)

struct LoopForm {
  std::string_view body;
  std::string_view known;  // the fields, for messages
  bool has_as = false;
  bool has_limit = false;
  bool has_value = false;
};

inline absl::StatusOr<const Node*> CompileLoop(ExpressionCompiler& compiler, const Operator& op,
                                               ValueView argument, const LoopForm& form) {
  if (!argument.IsDocument()) {
    return compiler.Error(op, "expected an object with ", form.known, "; found ",
                          Describe(argument));
  }
  std::optional<ValueView> input;
  std::optional<ValueView> body;
  std::optional<ValueView> limit;
  std::optional<ValueView> initial;
  std::string_view element_name = "this";
  std::optional<std::string_view> index_name;
  for (const auto [key, value] : argument.entries()) {
    if (key == "input") {
      input = value;
    } else if (key == form.body) {
      body = value;
    } else if (key == "limit" && form.has_limit) {
      limit = value;
    } else if (key == "initialValue" && form.has_value) {
      initial = value;
    } else if ((key == "as" && form.has_as) || key == "arrayIndexAs") {
      if (!value.IsString()) {
        return compiler.Error(op, "'", key, "' has to be a string, found ", Describe(value));
      }
      ALOS_RETURN_IF_ERROR(compiler.CheckVariableName(value.AsString()));
      if (key == "as") {
        element_name = value.AsString();
      } else {
        index_name = value.AsString();
      }
    } else {
      return compiler.Error(op, "unknown field '", DescribeText(key), "'; known are ", form.known);
    }
  }
  if (!input || !body || (form.has_value && !initial)) {
    return compiler.Error(op, "the fields 'input', ", form.has_value ? "'initialValue' " : "",
                          "and '", form.body, "' are needed");
  }
  Node* const node = compiler.NewNode(op.evaluate, &op);
  node->arguments.resize(4, nullptr);
  ALOS_ASSIGN_OR_RETURN(node->arguments[0], compiler.Compile(*input));
  if (limit) {
    ALOS_ASSIGN_OR_RETURN(node->arguments[1], compiler.Compile(*limit));
  }
  if (initial) {
    ALOS_ASSIGN_OR_RETURN(node->arguments[2], compiler.Compile(*initial));
  }
  node->slots = {0, 0, 0};
  if (form.has_value) node->slots[2] = compiler.PushVariable("value");
  node->slots[0] = compiler.PushVariable(element_name);
  const std::size_t index_slot = compiler.PushVariable(index_name.value_or("IDX"));
  const std::size_t nodes_before = compiler.node_count();
  absl::StatusOr<const Node*> compiled_body = compiler.Compile(*body);
  compiler.PopVariables(form.has_value ? 3 : 2);
  if (!compiled_body.ok()) return compiled_body;
  if (compiler.UsesVariable(index_slot, nodes_before)) node->slots[1] = index_slot;
  node->arguments[3] = *compiled_body;
  return node;
}

inline bool TakeLoopInput(const Node& node, Evaluation& e, Operand* input) {
  if (!EvaluateArgument(node, 0, e, input)) return false;
  if (IsNullish(*input)) return e.SetMissing(input);
  if ((*input)->IsArray()) return true;
  return Fail(node, e, "'input' has to be an array, found ", Describe(**input));
}

// Names the element and its index.
inline bool BindElement(const Node& node, Evaluation& e, ValueView element, std::int64_t index) {
  e.variable(node.slots[0]) = element;
  return node.slots[1] == 0 || e.SetInt(index, &e.variable(node.slots[1]));
}

inline bool EvaluateMap(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  if (!TakeLoopInput(node, e, &input)) return false;
  if (!input) return e.SetNull(out);
  if (!e.Charge(input->size())) return false;
  const std::size_t mark = e.stack.size();
  std::int64_t index = 0;
  for (const ValueView element : input->elements()) {
    Operand result;
    if (!BindElement(node, e, element, index++) || !EvaluateArgument(node, 3, e, &result) ||
        !e.Push(result)) {
      return false;
    }
  }
  return e.SetArray(mark, out);
}

inline bool EvaluateFilter(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  Operand limit_value;
  if (!TakeLoopInput(node, e, &input) || !EvaluateArgument(node, 1, e, &limit_value)) return false;
  if (!input) return e.SetNull(out);
  std::int64_t limit = kInt32Max;
  if (!IsNullish(limit_value) &&
      !TakeInteger(node, e, "'limit'", limit_value, 1, kInt32Max, &limit)) {
    return false;
  }
  const std::size_t mark = e.stack.size();
  std::int64_t index = 0;
  for (const ValueView element : input->elements()) {
    if (static_cast<std::int64_t>(e.stack.size() - mark) == limit) break;
    const ExpressionArena::Mark memory = e.arena().mark();
    Operand condition;
    if (!e.Charge(1) || !BindElement(node, e, element, index++) ||
        !EvaluateArgument(node, 3, e, &condition)) {
      return false;
    }
    const bool chosen = IsTruthy(condition);
    e.arena().Rewind(memory);  // nobody needs what the condition made
    if (chosen && !e.Push(element)) return false;
  }
  return e.SetArray(mark, out);
}

inline bool EvaluateReduce(const Node& node, Evaluation& e, Operand* out) {
  // What values of earlier rounds may take before they are cleared away.
  constexpr std::size_t kGarbageBytesMax = 1 << 20;
  Operand input;
  Operand value;
  if (!TakeLoopInput(node, e, &input)) return false;
  if (!input) return e.SetNull(out);
  if (!EvaluateArgument(node, 2, e, &value) || !e.Charge(input->size())) return false;
  const ExpressionArena::Mark memory = e.arena().mark();
  std::size_t live_bytes = 0;
  std::int64_t index = 0;
  for (const ValueView element : input->elements()) {
    e.variable(node.slots[2]) = value;
    if (!BindElement(node, e, element, index++) || !EvaluateArgument(node, 3, e, &value)) {
      return false;
    }
    if (e.arena().used_bytes() - memory.used_bytes > kGarbageBytesMax + 2 * live_bytes) {
      const std::string kept(value ? value->bytes() : std::string_view());
      e.arena().Rewind(memory);
      live_bytes = kept.size();
      if (value && !e.SetCopy(kept, &value)) return false;
    }
  }
  *out = value;
  return true;
}

inline absl::StatusOr<const Node*> CompileMap(ExpressionCompiler& compiler, const Operator& op,
                                              ValueView argument) {
  return CompileLoop(compiler, op, argument,
                     {.body = "in", .known = "input, as, arrayIndexAs and in", .has_as = true});
}
inline absl::StatusOr<const Node*> CompileFilter(ExpressionCompiler& compiler, const Operator& op,
                                                 ValueView argument) {
  return CompileLoop(compiler, op, argument,
                     {.body = "cond",
                      .known = "input, as, arrayIndexAs, cond and limit",
                      .has_as = true,
                      .has_limit = true});
}
inline absl::StatusOr<const Node*> CompileReduce(ExpressionCompiler& compiler, const Operator& op,
                                                 ValueView argument) {
  return CompileLoop(
      compiler, op, argument,
      {.body = "in", .known = "input, initialValue, arrayIndexAs and in", .has_value = true});
}

// --- $sortArray: extra is the Sort, or nullptr for whole values; slots[0]: 1 descending ---

inline bool EvaluateSortArray(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  if (!TakeLoopInput(node, e, &input)) return false;
  if (!input) return e.SetNull(out);
  if (!e.Charge(input->size())) return false;
  const std::size_t mark = e.stack.size();
  const auto* const sort = static_cast<const Sort*>(node.extra.get());
  if (sort == nullptr) {
    for (const ValueView element : input->elements()) {
      if (!e.Push(element)) return false;
    }
    const bool descending = node.slots[0] != 0;
    std::stable_sort(e.stack.begin() + static_cast<std::ptrdiff_t>(mark), e.stack.end(),
                     [descending](ValueView a, ValueView b) {
                       return descending ? Compare(a, b) > 0 : Compare(a, b) < 0;
                     });
    return e.SetArray(mark, out);
  }
  std::vector<std::pair<Sort::Key, ValueView>> keyed;
  for (const ValueView element : input->elements()) {
    keyed.emplace_back(sort->ExtractKey(element), element);
    if (keyed.size() > e.arena().limit_bytes() / sizeof(keyed[0])) return e.FailForMemory();
  }
  std::stable_sort(keyed.begin(), keyed.end(), [sort](const auto& a, const auto& b) {
    return sort->Compare(a.first, b.first) < 0;
  });
  for (const auto& [key, element] : keyed) {
    if (!e.Push(element)) return false;
  }
  return e.SetArray(mark, out);
}

inline absl::StatusOr<const Node*> CompileSortArray(ExpressionCompiler& compiler,
                                                    const Operator& op, ValueView argument) {
  const std::optional<ValueView> input = argument.Find("input");
  const std::optional<ValueView> by = argument.Find("sortBy");
  if (!argument.IsDocument() || !input || !by || argument.size() != 2) {
    return compiler.Error(op, "expected {input: ..., sortBy: ...}, found ", Describe(argument));
  }
  Node* const node = compiler.NewNode(&EvaluateSortArray, &op);
  ALOS_ASSIGN_OR_RETURN(const Node* const compiled, compiler.Compile(*input));
  node->arguments = {compiled};
  node->slots = {0};
  if (by->IsDocument()) {
    if (by->size() == 0) return compiler.Error(op, "'sortBy' names no field");
    absl::StatusOr<Sort> sort = Sort::Compile(*by);
    if (!sort.ok()) return compiler.Error(op, sort.status().message());
    node->extra = std::make_shared<const Sort>(*std::move(sort));
  } else {
    const std::optional<std::int64_t> direction = by->ToInt64();
    if (direction != 1 && direction != -1) {
      return compiler.Error(op, "'sortBy' has to be 1, -1 or an object of fields; found ",
                            Describe(*by));
    }
    node->slots[0] = *direction < 0 ? 1 : 0;
  }
  return compiler.FoldIfConstant(node);
}

// --- $firstN, $lastN, $minN, $maxN ---

inline constexpr std::string_view kNNames[] = {"n", "input"};

enum class Which { kFirst, kLast, kMin, kMax };

template <Which which>
bool EvaluateN(const Node& node, Evaluation& e, Operand* out) {
  Operand n_value;
  Operand input;
  if (!EvaluateArgument(node, 0, e, &n_value)) return false;
  std::int64_t n = 0;
  if (!TakeInteger(node, e, "'n'", n_value, 1, std::numeric_limits<std::int64_t>::max(), &n) ||
      !TakeArray(node, e, 1, false, &input) || !e.Charge(input->size())) {
    return false;
  }
  const auto size = static_cast<std::int64_t>(input->size());
  if constexpr (which == Which::kFirst) return SetRun(*input, 0, n, e, out);
  if constexpr (which == Which::kLast) {
    return SetRun(*input, size - std::min(size, n), size, e, out);
  }
  const std::size_t mark = e.stack.size();
  for (const ValueView element : input->elements()) {
    if (!element.IsNull() && !e.Push(element)) return false;
  }
  const auto begin = e.stack.begin() + static_cast<std::ptrdiff_t>(mark);
  std::stable_sort(begin, e.stack.end(), [](ValueView a, ValueView b) {
    return which == Which::kMax ? Compare(a, b) > 0 : Compare(a, b) < 0;
  });
  const std::size_t count = std::min(e.stack.size() - mark, static_cast<std::size_t>(n));
  e.stack.resize(mark + count);
  return e.SetArray(mark, out);
}

// --- Sets. Their elements stand in the order in which they come first. ---

inline bool EvaluateUnion(const Node& node, Evaluation& e, Operand* out) {
  const std::size_t mark = e.stack.size();
  ValueSet seen;
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    Operand array;
    if (!TakeArray(node, e, i, true, &array)) return false;
    if (!array) {
      e.stack.resize(mark);
      return e.SetNull(out);
    }
    if (!e.Charge(array->size())) return false;
    for (const ValueView element : array->elements()) {
      if (seen.insert(element).second && !e.Push(element)) return false;
    }
  }
  return e.SetArray(mark, out);
}

inline bool EvaluateIntersection(const Node& node, Evaluation& e, Operand* out) {
  const std::size_t mark = e.stack.size();
  bool is_null = false;
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    Operand array;
    if (!TakeArray(node, e, i, true, &array)) return false;
    if (!array || is_null) {
      is_null = true;
      continue;
    }
    if (!e.Charge(array->size())) return false;
    if (i == 0) {
      ValueSet seen;
      for (const ValueView element : array->elements()) {
        if (seen.insert(element).second && !e.Push(element)) return false;
      }
      continue;
    }
    ValueSet other;
    for (const ValueView element : array->elements()) other.insert(element);
    e.stack.erase(std::remove_if(e.stack.begin() + static_cast<std::ptrdiff_t>(mark), e.stack.end(),
                                 [&other](ValueView element) { return !other.contains(element); }),
                  e.stack.end());
  }
  if (is_null) {
    e.stack.resize(mark);
    return e.SetNull(out);
  }
  return e.SetArray(mark, out);
}

inline bool EvaluateDifference(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  Operand without;
  if (!TakeArray(node, e, 0, true, &array) || !TakeArray(node, e, 1, true, &without)) return false;
  if (!array || !without) return e.SetNull(out);
  if (!e.Charge(array->size()) || !e.Charge(without->size())) return false;
  ValueSet seen;
  for (const ValueView element : without->elements()) seen.insert(element);
  const std::size_t mark = e.stack.size();
  for (const ValueView element : array->elements()) {
    if (seen.insert(element).second && !e.Push(element)) return false;
  }
  return e.SetArray(mark, out);
}

inline bool EvaluateSetEquals(const Node& node, Evaluation& e, Operand* out) {
  ValueSet first;
  bool equal = true;
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    Operand array;
    if (!TakeArray(node, e, i, false, &array) || !e.Charge(array->size())) return false;
    ValueSet set;
    for (const ValueView element : array->elements()) set.insert(element);
    if (i == 0) {
      first = std::move(set);
    } else {
      equal = equal && set.size() == first.size() &&
              std::all_of(set.begin(), set.end(),
                          [&first](ValueView value) { return first.contains(value); });
    }
  }
  return e.SetBool(equal, out);
}

inline bool EvaluateIsSubset(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  Operand of;
  if (!TakeArray(node, e, 0, false, &array) || !TakeArray(node, e, 1, false, &of)) return false;
  if (!e.Charge(array->size()) || !e.Charge(of->size())) return false;
  ValueSet set;
  for (const ValueView element : of->elements()) set.insert(element);
  for (const ValueView element : array->elements()) {
    if (!set.contains(element)) return e.SetBool(false, out);
  }
  return e.SetBool(true, out);
}

// Whether an element is true (any), or none is not (all).
template <bool any>
bool EvaluateAnyAll(const Node& node, Evaluation& e, Operand* out) {
  Operand array;
  if (!TakeArray(node, e, 0, false, &array)) return false;
  for (const ValueView element : array->elements()) {
    if (IsTruthy(element) == any) return e.SetBool(any, out);
  }
  return e.SetBool(!any, out);
}

inline constexpr Operator kOperators[] = {
    {"$arrayElemAt", &EvaluateElementAt, 2, 2},
    {"$concatArrays", &EvaluateConcatArrays, 0, Operator::kAnyCount},
    {.name = "$filter", .evaluate = &EvaluateFilter, .compile = &CompileFilter},
    {"$first", &EvaluateEnd<false>},
    {.name = "$firstN", .evaluate = &EvaluateN<Which::kFirst>, .names = kNNames},
    {"$in", &EvaluateIn, 2, 2},
    {"$indexOfArray", &EvaluateIndexOfArray, 2, 4},
    {"$isArray", &EvaluateIsArray},
    {"$last", &EvaluateEnd<true>},
    {.name = "$lastN", .evaluate = &EvaluateN<Which::kLast>, .names = kNNames},
    {.name = "$map", .evaluate = &EvaluateMap, .compile = &CompileMap},
    {.name = "$maxN", .evaluate = &EvaluateN<Which::kMax>, .names = kNNames},
    {.name = "$minN", .evaluate = &EvaluateN<Which::kMin>, .names = kNNames},
    {"$range", &EvaluateRange, 2, 3},
    {.name = "$reduce", .evaluate = &EvaluateReduce, .compile = &CompileReduce},
    {"$reverseArray", &EvaluateReverse},
    {"$size", &EvaluateSize},
    {"$slice", &EvaluateSlice, 2, 3},
    {.name = "$sortArray", .evaluate = &EvaluateSortArray, .compile = &CompileSortArray},
    {.name = "$zip", .evaluate = &EvaluateZip, .compile = &CompileZip},

    {"$allElementsTrue", &EvaluateAnyAll<false>},
    {"$anyElementTrue", &EvaluateAnyAll<true>},
    {"$setDifference", &EvaluateDifference, 2, 2},
    {"$setEquals", &EvaluateSetEquals, 2, Operator::kAnyCount},
    {"$setIntersection", &EvaluateIntersection, 0, Operator::kAnyCount},
    {"$setIsSubset", &EvaluateIsSubset, 2, 2},
    {"$setUnion", &EvaluateUnion, 0, Operator::kAnyCount},
};

}  // namespace expression_array
}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_ARRAY_H_
