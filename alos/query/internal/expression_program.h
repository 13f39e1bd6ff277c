// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expressions as a tree of nodes, each with the function that evaluates it; and the compiler that
// makes the tree, driven by a table of operators:
//
//   {$add: ["$a.b", 1]}     Node{evaluate = Add, op = "$add", arguments = { , }}
//                                                                         | |
//                Node{evaluate = EvaluatePath, slot 0 ($$ROOT), "a.b"}  <-+ +-> constant 1
//
// A new operator is a function `bool F(const Node&, Evaluation&, Operand* out)` and a row in the
// table of its header (expression_arithmetic.h and so on); expression_operators.h has all tables.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_PROGRAM_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_PROGRAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_evaluation.h"

namespace alos::query_internal {

struct Node;
struct Operator;
class ExpressionCompiler;

using NodeEvaluator = bool (*)(const Node& node, Evaluation& e, Operand* out);
using NodeCompiler = absl::StatusOr<const Node*> (*)(ExpressionCompiler& compiler,
                                                     const Operator& op, ValueView argument);

// A row of a table of operators. How its argument is compiled:
//   compile != nullptr     by that function
//   names is not empty     it is a document of these names; a name that ends in '?' may be left
//                          out; arguments[i] is that of names[i], nullptr if left out
//   else                   a list of count_min to count_max expressions; a single one may stand
//                          without brackets
struct Operator {
  static constexpr int kAnyCount = 1 << 30;

  std::string_view name;
  NodeEvaluator evaluate = nullptr;
  int count_min = 1;
  int count_max = 1;
  absl::Span<const std::string_view> names = {};
  NodeCompiler compile = nullptr;
  // Looks at what was compiled and prepares `extra`, for arguments that are constants.
  absl::Status (*prepare)(ExpressionCompiler& compiler, Node& node) = nullptr;
};

struct Node {
  NodeEvaluator evaluate = nullptr;
  const Operator* op = nullptr;  // nullptr: a literal, a path, a variable, an array or an object
  std::vector<const Node*> arguments;

  ValueView constant;                 // EvaluateConstant
  std::size_t slot = 0;               // EvaluatePath, EvaluateVariable
  std::optional<Path> path;           // EvaluatePath
  std::vector<std::string> names;     // EvaluateObject; of operators that need some
  std::vector<std::size_t> slots;     // variables that an operator binds
  std::shared_ptr<const void> extra;  // what an operator prepared

  std::string_view name() const { return op != nullptr ? op->name : "expression"; }
};

// Fails for the operator of `node`: "$add: ...".
template <class... Parts>
[[gnu::cold]] bool Fail(const Node& node, Evaluation& e, const Parts&... parts) {
  return e.Fail(node.name(), ": ", parts...);
}

inline bool Evaluate(const Node& node, Evaluation& e, Operand* out) {
  return node.evaluate(node, e, out);
}
// The argument at `index`; missing if it was left out.
inline bool EvaluateArgument(const Node& node, std::size_t index, Evaluation& e, Operand* out) {
  const Node* const argument = node.arguments[index];
  if (argument == nullptr) return e.SetMissing(out);
  return argument->evaluate(*argument, e, out);
}

// --- Evaluators of what is no operator ---

inline bool EvaluateConstant(const Node& node, Evaluation&, Operand* out) {
  *out = node.constant;
  return true;
}
inline bool IsConstant(const Node* node) {
  return node != nullptr && node->evaluate == &EvaluateConstant;
}

inline bool EvaluateVariable(const Node& node, Evaluation& e, Operand* out) {
  *out = e.variable(node.slot);
  return true;
}
inline bool EvaluateNow(const Node&, Evaluation& e, Operand* out) {
  return e.SetTime(e.now(), out);
}
inline bool EvaluateRemove(const Node&, Evaluation& e, Operand* out) { return e.SetMissing(out); }

// An array on the way is searched element by element: the result is an array of what its documents
// have; what is no document, or has no such field, contributes nothing.
inline bool EvaluatePathFrom(absl::Span<const std::string> parts, ValueView value, Evaluation& e,
                             Operand* out) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (value.IsDocument()) [[likely]] {
      const std::optional<ValueView> next = value.Find(parts[i]);
      if (!next) return e.SetMissing(out);
      value = *next;
    } else if (value.IsArray()) {
      const std::size_t mark = e.stack.size();
      for (const ValueView element : value.elements()) {
        if (!element.IsDocument()) continue;
        Operand result;
        if (!EvaluatePathFrom(parts.subspan(i), element, e, &result)) return false;
        if (result && !e.Push(result)) return false;
      }
      return e.SetArray(mark, out);
    } else {
      return e.SetMissing(out);
    }
  }
  *out = value;
  return true;
}

inline bool EvaluatePath(const Node& node, Evaluation& e, Operand* out) {
  const Operand& from = e.variable(node.slot);
  if (!from) return e.SetMissing(out);
  return EvaluatePathFrom(node.path->parts(), *from, e, out);
}

inline bool EvaluateArray(const Node& node, Evaluation& e, Operand* out) {
  const std::size_t mark = e.stack.size();
  for (const Node* const argument : node.arguments) {
    Operand element;
    if (!Evaluate(*argument, e, &element) || !e.Push(element)) return false;
  }
  return e.SetArray(mark, out);
}

inline bool EvaluateObject(const Node& node, Evaluation& e, Operand* out) {
  const std::size_t mark = e.fields.size();
  for (std::size_t i = 0; i < node.arguments.size(); ++i) {
    Operand value;
    if (!Evaluate(*node.arguments[i], e, &value)) return false;
    if (value && !e.PushField(node.names[i], *value)) return false;
  }
  return e.SetDocument(mark, out);
}

// --- The compiler ---

// A compiled expression and all that its nodes point to.
struct ExpressionProgram {
  std::string bytes;               // of the specification
  std::deque<std::string> folded;  // constants made when compiling
  std::deque<Node> nodes;
  const Node* root = nullptr;
  std::size_t slot_count = 1;
};

// A variable that may be named after "$$".
struct Variable {
  std::string name;
  std::size_t slot = 0;
};

// nullptr: there is no such operator. Defined in expression_operators.h.
const Operator* FindOperator(std::string_view name);
// Why an operator that MongoDB has is not there; empty for names that MongoDB does not know either.
std::string_view WhyRefused(std::string_view name);

class ExpressionCompiler {
 public:
  static constexpr std::size_t kDepthMax = 100;

  // REQUIRES: `program` outlives the nodes; what is compiled lies in program->bytes.
  ExpressionCompiler(ExpressionProgram* program, const std::vector<Variable>& variables,
                     std::size_t slot_count, bool has_redact_variables)
      : program_(*program), slot_count_(slot_count), has_redact_variables_(has_redact_variables) {
    for (const Variable& variable : variables) Bind(variable.name, variable.slot);
  }

  absl::StatusOr<const Node*> Compile(ValueView specification) {
    if (++depth_ > kDepthMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("an expression nests deeper than ", kDepthMax, " levels"));
    }
    absl::StatusOr<const Node*> node = CompileAny(specification);
    --depth_;
    return node;
  }

  Node* NewNode(NodeEvaluator evaluate, const Operator* op = nullptr) {
    Node& node = program_.nodes.emplace_back();
    node.evaluate = evaluate;
    node.op = op;
    return &node;
  }
  const Node* Constant(ValueView value) {
    Node* const node = NewNode(&EvaluateConstant);
    node->constant = value;
    return node;
  }
  // The same for a value that lies elsewhere: copied.
  const Node* ConstantCopy(ValueView value) {
    program_.folded.emplace_back(value.bytes());
    return Constant(ValueView::FromTrusted(program_.folded.back()));
  }
  // The value of `node` as a constant, if it can be had. REQUIRES: its arguments are constants.
  const Node* Fold(const Node* node);
  // Fold, if the arguments are constants.
  const Node* FoldIfConstant(const Node* node) {
    for (const Node* const argument : node->arguments) {
      if (argument != nullptr && !IsConstant(argument)) return node;
    }
    return Fold(node);
  }

  // The arguments of `node`, from a document of `names`; see Operator.
  absl::Status CompileNamed(const Operator& op, absl::Span<const std::string_view> names,
                            ValueView argument, Node* node);

  // $$CURRENT.
  const Node* Current() {
    Node* const node = NewNode(&EvaluateVariable);
    node->slot = CurrentSlot();
    return node;
  }

  // Names a variable for what is compiled until the matching PopVariables.
  std::size_t PushVariable(std::string_view name) {
    const std::size_t slot = slot_count_++;
    program_.slot_count = std::max(program_.slot_count, slot_count_);
    Bind(name, slot);
    return slot;
  }
  // Whether a node that was made when there were `nodes_before` of them, or later, looks at `slot`.
  bool UsesVariable(std::size_t slot, std::size_t nodes_before) const {
    return std::any_of(program_.nodes.begin() + static_cast<std::ptrdiff_t>(nodes_before),
                       program_.nodes.end(), [slot](const Node& node) {
                         return node.slot == slot && (node.evaluate == &EvaluateVariable ||
                                                      node.evaluate == &EvaluatePath);
                       });
  }
  std::size_t node_count() const { return program_.nodes.size(); }
  void PopVariables(std::size_t count) {
    for (; count > 0; --count) {
      slots_[bound_.back()].pop_back();
      bound_.pop_back();
    }
  }
  // Whether `name` may be given to a variable. CURRENT is the one system variable that may be
  // bound.
  static absl::Status CheckVariableName(std::string_view name);

  // The same from a list, or a single one without brackets.
  absl::Status CompileListed(const Operator& op, ValueView argument, Node* node);

  template <class... Parts>
  static absl::Status Error(const Operator& op, const Parts&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(op.name, ": ", parts...));
  }

 private:
  absl::StatusOr<const Node*> CompileOperator(const Operator& op, ValueView argument);
  void Bind(std::string_view name, std::size_t slot) {
    slots_[name].push_back(slot);
    bound_.emplace_back(name);
  }
  std::optional<std::size_t> FindVariable(std::string_view name) const {
    const auto found = slots_.find(name);
    if (found == slots_.end() || found->second.empty()) return std::nullopt;
    return found->second.back();
  }
  std::size_t CurrentSlot() const { return FindVariable("CURRENT").value_or(0); }
  absl::StatusOr<const Node*> CompileAny(ValueView specification);
  absl::StatusOr<const Node*> CompileText(std::string_view text, ValueView whole);
  absl::StatusOr<const Node*> CompileVariable(std::string_view text);
  absl::StatusOr<const Node*> CompileObject(ValueView specification);
  absl::StatusOr<const Node*> PathFrom(std::size_t slot, std::string_view dotted,
                                       std::string_view shown);

  ExpressionProgram& program_;
  // By name, the innermost last; and the names in the order in which they were bound.
  absl::flat_hash_map<std::string, absl::InlinedVector<std::size_t, 1>> slots_;
  std::vector<std::string> bound_;
  std::size_t slot_count_;
  const bool has_redact_variables_;
  std::size_t depth_ = 0;
  // What all folding of one expression may take, so that compiling stays cheap.
  static constexpr std::size_t kFoldedBytesMax = 256 << 10;
  static constexpr std::uint64_t kFoldedStepsMax = 100000;
  Evaluation folding_{Timestamp{}, kFoldedBytesMax, kFoldedStepsMax};
  std::size_t folded_bytes_ = 0;
};

inline absl::Status ExpressionCompiler::CheckVariableName(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (static_cast<unsigned char>(c) >= 0x80);
  };
  bool valid = !name.empty() && is_letter(name[0]) && !(name[0] >= 'A' && name[0] <= 'Z');
  for (const char c : name) valid = valid && (is_letter(c) || (c >= '0' && c <= '9') || c == '_');
  if (valid || name == "CURRENT") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", DescribeText(name),
                   "' is no name for a variable: it has to begin with a lowercase "
                   "letter and go on with letters, digits and '_'"));
}

inline absl::StatusOr<const Node*> ExpressionCompiler::CompileAny(ValueView specification) {
  switch (specification.type()) {
    case ValueType::kString:
      return CompileText(specification.AsString(), specification);
    case ValueType::kArray: {
      Node* const node = NewNode(&EvaluateArray);
      bool constant = true;
      for (const ValueView element : specification.elements()) {
        ALOS_ASSIGN_OR_RETURN(const Node* const argument, Compile(element));
        node->arguments.push_back(argument);
        constant = constant && IsConstant(argument);
      }
      return constant ? Fold(node) : node;
    }
    case ValueType::kDocument:
      return CompileObject(specification);
    default:
      return Constant(specification);
  }
}

inline absl::StatusOr<const Node*> ExpressionCompiler::CompileText(std::string_view text,
                                                                   ValueView whole) {
  if (!text.starts_with('$')) return Constant(whole);
  if (text == "$") {
    return absl::InvalidArgumentError(
        "'$' alone is no field path; write {$literal: '$'} for the text");
  }
  if (text.starts_with("$$")) return CompileVariable(text);
  return PathFrom(CurrentSlot(), text.substr(1), text);
}

inline absl::StatusOr<const Node*> ExpressionCompiler::PathFrom(std::size_t slot,
                                                                std::string_view dotted,
                                                                std::string_view shown) {
  absl::StatusOr<Path> path = Path::Parse(dotted);
  if (!path.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", DescribeText(shown), "' is no field path: ", path.status().message()));
  }
  for (const std::string& part : path->parts()) {
    if (part[0] == '$') {
      return absl::InvalidArgumentError(
          absl::StrCat("'", DescribeText(shown), "' is no field path: the field '",
                       DescribeText(part), "' begins with '$'; use $getField for such a field"));
    }
    if (part.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", DescribeText(shown), "' is no field path: it has a zero byte"));
    }
  }
  Node* const node = NewNode(&EvaluatePath);
  node->slot = slot;
  node->path = *std::move(path);
  return node;
}

inline absl::StatusOr<const Node*> ExpressionCompiler::CompileVariable(std::string_view text) {
  const std::size_t dot = text.find('.');
  const std::string_view name = text.substr(2, dot == text.npos ? dot : dot - 2);
  std::optional<std::size_t> slot = FindVariable(name);
  if (!slot && (name == "ROOT" || name == "CURRENT")) slot = 0;
  if (slot) {
    if (dot != text.npos) return PathFrom(*slot, text.substr(dot + 1), text);
    Node* const node = NewNode(&EvaluateVariable);
    node->slot = *slot;
    return node;
  }
  const bool is_redact_variable = name == "KEEP" || name == "PRUNE" || name == "DESCEND";
  if (dot != text.npos && (name == "NOW" || name == "REMOVE" || is_redact_variable)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", DescribeText(text), "': $$", name, " has no fields"));
  }
  if (name == "NOW") return NewNode(&EvaluateNow);
  if (name == "REMOVE") return NewNode(&EvaluateRemove);
  if (is_redact_variable) {
    if (!has_redact_variables_) {
      return absl::InvalidArgumentError(
          absl::StrCat("the variable $$", name, " is for $redact only"));
    }
    std::string bytes;
    const std::string_view value = name == "KEEP" ? "keep" : name == "PRUNE" ? "prune" : "descend";
    document_internal::AppendStringHeader(&bytes, static_cast<std::uint32_t>(value.size()));
    bytes += value;
    return ConstantCopy(ValueView::FromTrusted(bytes));
  }
  if (name == "CLUSTER_TIME" || name == "SEARCH_META" || name == "USER_ROLES") {
    return absl::InvalidArgumentError(absl::StrCat(
        "the variable $$", name, " is not supported: there is nothing it could name here"));
  }
  if (name == "IDX") {
    return absl::InvalidArgumentError(
        "the variable $$IDX is for $map, $filter and $reduce without arrayIndexAs");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the variable '", DescribeText(text),
                   "' is not defined; a text that begins with '$$' is "
                   "written {$literal: '...'}"));
}

inline absl::StatusOr<const Node*> ExpressionCompiler::CompileObject(ValueView specification) {
  const std::string_view first =
      specification.size() == 0 ? std::string_view() : (*specification.entries().begin()).key;
  if (first.starts_with('$')) {
    if (specification.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("an expression is an object with one field, the operator; this one has ",
                       specification.size(), ", the first is ", DescribeText(first)));
    }
    const Operator* const op = FindOperator(first);
    if (op == nullptr) {
      const std::string_view reason = WhyRefused(first);
      return absl::InvalidArgumentError(
          reason.empty()
              ? absl::StrCat("there is no expression operator ", DescribeText(first))
              : absl::StrCat("the expression operator ", first, " is not supported: ", reason));
    }
    return CompileOperator(*op, (*specification.entries().begin()).value);
  }
  Node* const node = NewNode(&EvaluateObject);
  bool constant = true;
  for (const auto [key, value] : specification.entries()) {
    if (key.starts_with('$')) {
      return absl::InvalidArgumentError(
          absl::StrCat("the operator ", DescribeText(key), " has to stand alone in its object"));
    }
    if (key.find('.') != key.npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("the field name '", DescribeText(key),
                       "' in an expression has a '.'; nest objects, or use $setField"));
    }
    ALOS_ASSIGN_OR_RETURN(const Node* const argument, Compile(value));
    node->names.emplace_back(key);
    node->arguments.push_back(argument);
    constant = constant && IsConstant(argument);
  }
  return constant ? Fold(node) : node;
}

inline absl::Status ExpressionCompiler::CompileNamed(const Operator& op,
                                                     absl::Span<const std::string_view> names,
                                                     ValueView argument, Node* node) {
  const auto listed = [names] {
    std::string list;
    for (std::string_view name : names) {
      if (name.ends_with('?')) name.remove_suffix(1);
      absl::StrAppend(&list, list.empty() ? "" : ", ", name);
    }
    return list;
  };
  if (!argument.IsDocument()) {
    return Error(op, "expected an object with the fields ", listed(), "; found ",
                 Describe(argument));
  }
  node->arguments.resize(names.size(), nullptr);
  for (const auto [key, value] : argument.entries()) {
    std::size_t index = 0;
    while (index < names.size() && names[index] != key && names[index] != absl::StrCat(key, "?")) {
      ++index;
    }
    if (index == names.size()) {
      return Error(op, "unknown field '", DescribeText(key), "'; known are ", listed());
    }
    ALOS_ASSIGN_OR_RETURN(node->arguments[index], Compile(value));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (node->arguments[i] == nullptr && !names[i].ends_with('?')) {
      return Error(op, "the field '", names[i], "' is missing");
    }
  }
  return absl::OkStatus();
}

inline absl::Status ExpressionCompiler::CompileListed(const Operator& op, ValueView argument,
                                                      Node* node) {
  if (argument.IsArray()) {
    for (const ValueView element : argument.elements()) {
      ALOS_ASSIGN_OR_RETURN(const Node* const compiled, Compile(element));
      node->arguments.push_back(compiled);
    }
  } else {
    ALOS_ASSIGN_OR_RETURN(const Node* const compiled, Compile(argument));
    node->arguments.push_back(compiled);
  }
  const auto count = static_cast<std::int64_t>(node->arguments.size());
  if (count >= op.count_min && count <= op.count_max) return absl::OkStatus();
  std::string expected = absl::StrCat(op.count_min);
  if (op.count_max == Operator::kAnyCount) {
    absl::StrAppend(&expected, " or more");
  } else if (op.count_max > op.count_min) {
    absl::StrAppend(&expected, " to ", op.count_max);
  }
  return Error(op, "expected ", expected, " argument", expected == "1" ? "" : "s", ", found ",
               count);
}

inline absl::StatusOr<const Node*> ExpressionCompiler::CompileOperator(const Operator& op,
                                                                       ValueView argument) {
  if (op.compile != nullptr) return op.compile(*this, op, argument);
  Node* const node = NewNode(op.evaluate, &op);
  if (op.names.empty()) {
    ALOS_RETURN_IF_ERROR(CompileListed(op, argument, node));
  } else {
    ALOS_RETURN_IF_ERROR(CompileNamed(op, op.names, argument, node));
  }
  if (op.prepare != nullptr) ALOS_RETURN_IF_ERROR(op.prepare(*this, *node));
  return FoldIfConstant(node);
}

inline const Node* ExpressionCompiler::Fold(const Node* node) {
  folding_.ClearResults();
  Operand result;
  // What fails stays as it is: it may never be evaluated, and has its say if it is.
  if (!Evaluate(*node, folding_, &result)) return node;
  if (!result) return NewNode(&EvaluateRemove);
  const std::size_t size = result->bytes().size();
  if (size > kFoldedBytesMax - folded_bytes_) return node;
  folded_bytes_ += size;
  return ConstantCopy(*result);
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_PROGRAM_H_
