// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a filter compiles to: a flat program, and the compiler that makes it.
//
// The program is a tree in prefix order in one vector. A node knows how many nodes its subtree has
// (itself included), so its first child is the next node and a sibling is `subtree_size` further:
//
//   {a: 1, $or: [{b: 2}, {c: {$not: {$gt: 3}}}]}
//
//   0 kAnd (6)   1 kEqual a 1 (1)   2 kOr (4)   3 kEqual b 2 (1)   4 kNot (2)   5 kGreater c 3 (1)
//
// Literals are views into one copy of the filter's bytes that the program owns.

#ifndef ALOS_QUERY_INTERNAL_FILTER_PROGRAM_H_
#define ALOS_QUERY_INTERNAL_FILTER_PROGRAM_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/compare.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/json_schema.h"
#include "alos/query/internal/regex.h"
#include "alos/query/internal/text_search.h"
#include "alos/query/internal/type_mask.h"

namespace alos::query_internal {

// Logical operators, $not and $elemMatch may nest this deep.
inline constexpr std::size_t kFilterNestingMax = 100;

enum class FilterOp : std::uint8_t {
  // Over children.
  kTrue,
  kFalse,
  kAnd,
  kOr,
  kNor,
  kNot,
  // Over the values at a path.
  kEqual,
  kGreater,
  kGreaterOrEqual,
  kLess,
  kLessOrEqual,
  kIn,
  kExists,
  kRegex,
  kTextWord,  // A string with one of the words of a $text, by index into `texts`.
  kType,
  kSize,
  kModulo,
  kElementMatchesDocument,  // $elemMatch with conditions on fields; one child
  kElementMatchesValue,     // $elemMatch with operators; one child, whose nodes have no path
  // Over the values at a path: their bits against a mask, by index into `bit_masks`.
  kBitsAllSet,
  kBitsAllClear,
  kBitsAnySet,
  kBitsAnyClear,
  // Over the whole document; no path.
  kJsonSchema,  // By index into `schemas`.
  kText,        // By index into `texts`.
  kExpression,  // By index into `expressions`.
};

inline constexpr std::uint32_t kNoPath = std::numeric_limits<std::uint32_t>::max();

struct FilterNode {
  FilterOp op = FilterOp::kTrue;
  bool expand = true;              // An array at the path is tested by its elements, then itself.
  bool equality = false;           // Written as an equality: {a: 1} or {a: {$eq: 1}}.
  std::uint32_t subtree_size = 1;  // Nodes, this one included.
  std::uint32_t path = kNoPath;    // Index into paths; kNoPath tests the value at hand itself.
  std::uint32_t operand = 0;       // Index into `lists`, `regexes`, ...; the mask of kType.
  std::int64_t number = 0;         // kSize: the size; kModulo: the divisor.
  std::int64_t remainder = 0;      // kModulo.
  ValueView literal;               // Comparisons.
};

// The bits that a $bits... operator asks for.
struct BitMask {
  std::uint64_t low = 0;            // Bits 0 to 63.
  std::vector<std::uint32_t> high;  // Positions from 64 on, of a list; or
  std::string_view bytes;           // all bits, as binary data gives them: bit i is in byte i / 8.
};

// What a filter may refer to beyond itself.
struct FilterContext {
  // The fields that $text searches, dotted, or "$**" for all. With none, $text is refused.
  std::vector<std::string> text_fields;
  // The variables that $expr may use; null: none of its own. Their values are in the state that the
  // filter is then to be given.
  const VariableScope* variables = nullptr;
};

// States for evaluating expressions, to be borrowed by whoever matches without one of their own.
//
// Threads: any number may Take and Return at once. Cost: an atomic exchange each, while no more
// threads match at once than there are places.
class EvaluationStates {
 public:
  explicit EvaluationStates(Timestamp now) : now_(now) {}
  ~EvaluationStates() {
    for (std::atomic<EvaluationState*>& place : places_) delete place.load();
  }
  EvaluationStates(const EvaluationStates&) = delete;
  EvaluationStates& operator=(const EvaluationStates&) = delete;

  std::unique_ptr<EvaluationState> Take() {
    for (std::atomic<EvaluationState*>& place : places_) {
      if (place.load(std::memory_order_relaxed) == nullptr) continue;
      std::unique_ptr<EvaluationState> state(place.exchange(nullptr, std::memory_order_acquire));
      if (state != nullptr) return state;
    }
    return std::make_unique<EvaluationState>(now_);
  }

  void Return(std::unique_ptr<EvaluationState> state) {
    state->Reset();
    for (std::atomic<EvaluationState*>& place : places_) {
      EvaluationState* none = nullptr;
      if (place.compare_exchange_strong(none, state.get(), std::memory_order_release,
                                        std::memory_order_relaxed)) {
        state.release();  // NOLINT(bugprone-unused-return-value): the place owns it now.
        return;
      }
    }
  }

 private:
  Timestamp now_;
  std::array<std::atomic<EvaluationState*>, 4> places_{};
};

inline bool IsNan(ValueView value) {
  return value.type() == ValueType::kDouble && std::isnan(value.AsDouble());
}

class FilterProgram {
 public:
  // The values of a $in, sorted by Compare, without duplicates.
  struct List {
    std::vector<ValueView> values;
    bool has_null = false;
  };

  // A regular expression as it was written, and as it runs.
  struct Regex {
    std::string pattern;
    std::string options;  // Letters of i, m, s, x, u, as given.
    std::unique_ptr<const re2::RE2> compiled;
  };

  // Does the document (or the array, taken as a document keyed by position) match? When an
  // expression fails it does not, and *error, if not null, says why.
  bool MatchesDocument(ValueView document, absl::Status* error = nullptr) const {
    if (expressions_.empty()) return Evaluate(0, document, nullptr);
    return WithState(error,
                     [&](Expressions* expressions) { return Evaluate(0, document, expressions); });
  }

  // As above, with the time, the variables and the memory of `state`, which the caller resets.
  absl::StatusOr<bool> MatchesDocument(ValueView document, EvaluationState& state) const {
    Expressions expressions{&state, absl::OkStatus()};
    const bool matches = Evaluate(0, document, &expressions);
    if (!expressions.status.ok()) return std::move(expressions.status);
    return matches;
  }

  // As above, and the position of the element by which it does: of the outermost array on the path
  // of the last condition that an element met; nullopt when none did.
  bool MatchesDocument(ValueView document, std::optional<std::size_t>* position) const {
    position->reset();
    if (expressions_.empty()) return Locate(0, document, position, nullptr);
    return WithState(nullptr, [&](Expressions* expressions) {
      return Locate(0, document, position, expressions);
    });
  }

  // For programs compiled from operators without a path ({$gte: 3}): does this value match?
  bool MatchesValue(ValueView value) const { return Evaluate(0, value, nullptr); }

  const std::vector<FilterNode>& nodes() const { return nodes_; }
  // Of the document that it was compiled from.
  std::size_t source_bytes() const { return bytes_size_; }
  const std::vector<Path>& paths() const { return paths_; }
  const std::vector<List>& lists() const { return lists_; }
  const std::vector<Regex>& regexes() const { return regexes_; }
  const std::vector<TextSearch>& texts() const { return texts_; }
  const std::vector<Expression>& expressions() const { return expressions_; }

  // Does one value, or nullopt for a missing one, meet the predicate at `index`? An array is tested
  // as a whole: who asks on behalf of a path has expanded it as `expand` and VisitPath say.
  // REQUIRES: nodes()[index] is a predicate over values, not a logical operator.
  bool TestNode(std::size_t index, const std::optional<ValueView>& value) const {
    return Test(index, value);
  }

 private:
  friend class FilterCompiler;

  // What evaluating expressions takes, and the first error of one.
  struct Expressions {
    EvaluationState* state;
    absl::Status status;
  };

  template <class Match>
  bool WithState(absl::Status* error, Match&& match) const {
    std::unique_ptr<EvaluationState> state = states_->Take();
    Expressions expressions{state.get(), absl::OkStatus()};
    const bool matches = match(&expressions);
    states_->Return(std::move(state));
    if (expressions.status.ok()) return matches;
    if (error != nullptr) *error = std::move(expressions.status);
    return false;
  }

  bool EvaluateExpression(const Expression& expression, ValueView document,
                          Expressions* expressions) const {
    if (!expressions->status.ok()) return false;
    const absl::StatusOr<bool> holds = expression.EvaluateBool(document, *expressions->state);
    if (!holds.ok()) {
      expressions->status =
          absl::Status(holds.status().code(), absl::StrCat("$expr: ", holds.status().message()));
    }
    return holds.ok() && *holds;
  }

  // `expressions` may be null where there can be none.
  bool Evaluate(std::size_t index, ValueView value, Expressions* expressions) const {
    const FilterNode& node = nodes_[index];
    const std::size_t end = index + node.subtree_size;
    switch (node.op) {
      case FilterOp::kTrue:
        return true;
      case FilterOp::kFalse:
        return false;
      case FilterOp::kAnd:
        for (std::size_t i = index + 1; i < end; i += nodes_[i].subtree_size) {
          if (!Evaluate(i, value, expressions)) return false;
        }
        return true;
      case FilterOp::kOr:
        for (std::size_t i = index + 1; i < end; i += nodes_[i].subtree_size) {
          if (Evaluate(i, value, expressions)) return true;
        }
        return false;
      case FilterOp::kNor:
        for (std::size_t i = index + 1; i < end; i += nodes_[i].subtree_size) {
          if (Evaluate(i, value, expressions)) return false;
        }
        return true;
      case FilterOp::kNot:
        return !Evaluate(index + 1, value, expressions);
      case FilterOp::kJsonSchema:
        return schemas_[node.operand].Matches(value);
      case FilterOp::kText:
        return texts_[node.operand].Matches(value);
      case FilterOp::kExpression:
        return EvaluateExpression(expressions_[node.operand], value, expressions);
      default:
        break;
    }
    if (node.path != kNoPath) {
      return VisitPath(
          value, paths_[node.path], [&](const std::optional<ValueView>& found, PathEnd end) {
            return found.has_value() && end == PathEnd::kByKey ? TestExpanded(index, *found)
                                                               : Test(index, found);
          });
    }
    return TestExpanded(index, value);
  }

  using Position = std::optional<std::size_t>;

  // As Evaluate, and notes the position of the element that matched.
  bool Locate(std::size_t index, ValueView value, Position* position,
              Expressions* expressions) const {
    const FilterNode& node = nodes_[index];
    const std::size_t end = index + node.subtree_size;
    switch (node.op) {
      case FilterOp::kAnd:
        for (std::size_t i = index + 1; i < end; i += nodes_[i].subtree_size) {
          if (!Locate(i, value, position, expressions)) return false;
        }
        return true;
      case FilterOp::kOr:
        for (std::size_t i = index + 1; i < end; i += nodes_[i].subtree_size) {
          Position inner = *position;
          if (!Locate(i, value, &inner, expressions)) continue;
          *position = inner;
          return true;
        }
        return false;
      default:
        break;
    }
    if (node.path == kNoPath) return Evaluate(index, value, expressions);
    return LocateInDocument(index, value, 0, std::nullopt, position);
  }

  // VisitPath, with the position in the outermost array on the way.
  bool LocateInDocument(std::size_t index, ValueView document, std::size_t part, Position outer,
                        Position* position) const {
    const absl::Span<const std::string> parts = paths_[nodes_[index].path].parts();
    while (document.IsDocument()) {
      const std::optional<ValueView> value = document.Find(parts[part]);
      if (!value) break;
      if (++part == parts.size()) return LocateExpanded(index, *value, outer, position);
      if (value->IsArray()) return LocateInArray(index, *value, part, outer, position);
      document = *value;
    }
    return Located(Test(index, std::nullopt), outer, position);
  }

  bool LocateInArray(std::size_t index, ValueView array, std::size_t part, Position outer,
                     Position* position) const {
    const Path& path = paths_[nodes_[index].path];
    const bool is_last = part + 1 == path.parts().size();
    std::size_t i = 0;
    for (const ValueView element : array.elements()) {
      const Position here = outer.has_value() ? outer : Position(i);
      if (element.IsDocument() && LocateInDocument(index, element, part, here, position)) {
        return true;
      }
      if (path.position(part) == i) {
        // A position that the path names itself is none to be found.
        if (is_last) {
          if (Located(Test(index, element), here, position)) return true;
        } else if (element.IsDocument()) {
          if (LocateInDocument(index, element, part + 1, outer, position)) return true;
        } else if (element.IsArray()) {
          if (LocateInArray(index, element, part + 1, outer, position)) return true;
        }
      }
      ++i;
    }
    return false;
  }

  bool LocateExpanded(std::size_t index, ValueView value, Position outer,
                      Position* position) const {
    const FilterNode& node = nodes_[index];
    const bool of_elements =
        node.op == FilterOp::kElementMatchesDocument || node.op == FilterOp::kElementMatchesValue;
    if ((node.expand || of_elements) && value.IsArray()) {
      std::size_t i = 0;
      for (const ValueView element : value.elements()) {
        const bool matches = of_elements ? TestElement(index, element) : Test(index, element);
        if (matches) return Located(true, outer.has_value() ? outer : Position(i), position);
        ++i;
      }
      if (of_elements) return false;
    }
    return Located(Test(index, value), outer, position);
  }

  static bool Located(bool matches, Position found, Position* position) {
    if (matches && found.has_value()) *position = found;
    return matches;
  }

  // One element against an $elemMatch.
  bool TestElement(std::size_t index, ValueView element) const {
    return (nodes_[index].op == FilterOp::kElementMatchesValue || element.IsDocument() ||
            element.IsArray()) &&
           Evaluate(index + 1, element, nullptr);
  }

  // A value, and if it is an array first its elements.
  bool TestExpanded(std::size_t index, ValueView value) const {
    if (nodes_[index].expand && value.IsArray()) {
      for (const ValueView element : value.elements()) {
        if (Test(index, element)) return true;
      }
    }
    return Test(index, value);
  }

  // One value (or a missing one) against one predicate.
  bool Test(std::size_t index, const std::optional<ValueView>& value) const {
    const FilterNode& node = nodes_[index];
    switch (node.op) {
      case FilterOp::kEqual:
        if (!value.has_value()) return node.literal.IsNull();
        return TypeRank(value->type()) == TypeRank(node.literal.type()) &&
               Equal(*value, node.literal);
      case FilterOp::kGreater:
      case FilterOp::kGreaterOrEqual:
      case FilterOp::kLess:
      case FilterOp::kLessOrEqual:
        return value.has_value() && TestRange(node, *value);
      case FilterOp::kIn:
        return TestIn(lists_[node.operand], value);
      case FilterOp::kExists:
        return value.has_value();
      case FilterOp::kRegex:
        return value.has_value() && value->IsString() &&
               MatchesRegex(*regexes_[node.operand].compiled, value->AsString());
      case FilterOp::kTextWord:
        return value.has_value() && value->IsString() &&
               texts_[node.operand].HasWord(value->AsString());
      case FilterOp::kType:
        return value.has_value() && HasType(node.operand, value->type());
      case FilterOp::kSize:
        return value.has_value() && value->IsArray() &&
               value->size() == static_cast<std::uint64_t>(node.number);
      case FilterOp::kModulo:
        return value.has_value() && TestModulo(node, *value);
      case FilterOp::kBitsAllSet:
      case FilterOp::kBitsAllClear:
      case FilterOp::kBitsAnySet:
      case FilterOp::kBitsAnyClear:
        return value.has_value() && TestBits(node.op, bit_masks_[node.operand], *value);
      case FilterOp::kElementMatchesDocument:
      case FilterOp::kElementMatchesValue:
        if (!value.has_value() || !value->IsArray()) return false;
        for (const ValueView element : value->elements()) {
          if (TestElement(index, element)) return true;
        }
        return false;
      default:
        return false;
    }
  }

  static bool TestRange(const FilterNode& node, ValueView value) {
    if (TypeRank(value.type()) != TypeRank(node.literal.type())) return false;
    const bool value_nan = IsNan(value);
    const bool literal_nan = IsNan(node.literal);
    if (value_nan || literal_nan) {
      // NaN is neither below nor above anything, but equal to itself.
      return value_nan && literal_nan &&
             (node.op == FilterOp::kGreaterOrEqual || node.op == FilterOp::kLessOrEqual);
    }
    const std::weak_ordering order = Compare(value, node.literal);
    switch (node.op) {
      case FilterOp::kGreater:
        return order > 0;
      case FilterOp::kGreaterOrEqual:
        return order >= 0;
      case FilterOp::kLess:
        return order < 0;
      default:
        return order <= 0;
    }
  }

  static bool TestIn(const List& list, const std::optional<ValueView>& value) {
    if (!value.has_value() || value->IsNull()) return list.has_null;
    // A few comparisons in a row beat a search that mispredicts.
    constexpr std::size_t kLinearMax = 8;
    if (list.values.size() <= kLinearMax) {
      for (const ValueView candidate : list.values) {
        if (TypeRank(candidate.type()) == TypeRank(value->type()) && Equal(*value, candidate)) {
          return true;
        }
      }
      return false;
    }
    const auto found = std::lower_bound(list.values.begin(), list.values.end(), *value,
                                        [](ValueView a, ValueView b) { return Compare(a, b) < 0; });
    return found != list.values.end() && Compare(*found, *value) == 0;
  }

  static bool TestModulo(const FilterNode& node, ValueView value) {
    std::int64_t number = 0;
    switch (value.type()) {
      case ValueType::kInt64:
        number = value.AsInt64();
        break;
      case ValueType::kUint64: {
        // Above the signed range: the remainder is that of the unsigned number.
        const __int128 remainder =
            static_cast<__int128>(value.AsUint64()) % static_cast<__int128>(node.number);
        return remainder == node.remainder;
      }
      case ValueType::kDouble: {
        const double truncated = std::trunc(value.AsDouble());
        if (!(truncated >= -9223372036854775808.0 && truncated < 9223372036854775808.0)) {
          return false;
        }
        number = static_cast<std::int64_t>(truncated);
        break;
      }
      default:
        return false;
    }
    if (node.number == -1) return node.remainder == 0;  // INT64_MIN % -1 overflows.
    return number % node.number == node.remainder;
  }

  // Whether a bit of the mask is `set` in the value: nullopt when the value has no bits, being
  // neither binary data nor a number that is a 64-bit integer.
  static std::optional<bool> AnyBit(const BitMask& mask, ValueView value, bool set) {
    if (value.type() == ValueType::kBinary) {
      const std::string_view bytes = value.AsBinary();
      const auto byte_at = [](std::string_view from, std::size_t i) {
        return i < from.size() ? static_cast<unsigned char>(from[i]) : 0u;  // None is a zero.
      };
      const std::size_t whole = mask.bytes.empty() ? sizeof(mask.low) : mask.bytes.size();
      for (std::size_t i = 0; i < whole; ++i) {
        const unsigned wanted = mask.bytes.empty()
                                    ? static_cast<unsigned>((mask.low >> (8 * i)) & 0xff)
                                    : byte_at(mask.bytes, i);
        const unsigned have = byte_at(bytes, i);
        if ((wanted & (set ? have : ~have)) != 0) return true;
      }
      for (const std::uint32_t position : mask.high) {
        if ((((byte_at(bytes, position / 8) >> (position % 8)) & 1u) != 0) == set) return true;
      }
      return false;
    }
    std::uint64_t bits = 0;
    bool negative = false;
    if (value.type() == ValueType::kUint64) {
      bits = value.AsUint64();
    } else {
      const std::optional<std::int64_t> number = value.ToInt64();
      if (!number.has_value()) return std::nullopt;
      bits = static_cast<std::uint64_t>(*number);
      negative = *number < 0;
    }
    if ((mask.low & (set ? bits : ~bits)) != 0) return true;
    // A number goes on with its sign.
    const auto is_zero = [](char c) { return c == 0; };
    const bool has_high = !mask.high.empty() || (mask.bytes.size() > sizeof(mask.low) &&
                                                 !std::all_of(mask.bytes.begin() + sizeof(mask.low),
                                                              mask.bytes.end(), is_zero));
    return has_high && negative == set;
  }

  static bool TestBits(FilterOp op, const BitMask& mask, ValueView value) {
    const bool all = op == FilterOp::kBitsAllSet || op == FilterOp::kBitsAllClear;
    const bool set = op == FilterOp::kBitsAllSet || op == FilterOp::kBitsAnySet;
    const std::optional<bool> any = AnyBit(mask, value, all ? !set : set);
    return any.has_value() && *any != all;
  }

  std::unique_ptr<char[]> bytes_;  // The filter; literals point into it.
  std::size_t bytes_size_ = 0;
  std::vector<FilterNode> nodes_;  // Never empty after compilation.
  std::vector<Path> paths_;
  std::vector<List> lists_;
  std::vector<Regex> regexes_;
  std::vector<BitMask> bit_masks_;
  std::vector<JsonSchema> schemas_;
  std::vector<TextSearch> texts_;
  std::vector<Expression> expressions_;
  std::unique_ptr<EvaluationStates> states_;  // Null without expressions.
};

// Turns a filter document into a program. Used once.
class FilterCompiler {
 public:
  // A filter: {field: condition, $or: [...]}. The messages of errors begin with `what` ("filter").
  // Without a context what is matched are no whole documents: $text and the like are refused.
  static absl::StatusOr<std::shared_ptr<const FilterProgram>> CompileDocument(
      ValueView filter, std::string_view what, const FilterContext* context = nullptr) {
    if (!filter.IsDocument()) {
      return absl::InvalidArgumentError(absl::StrCat("the ", what,
                                                     " must be a document such as {name: \"x\"}, "
                                                     "not ",
                                                     Describe(filter)));
    }
    FilterCompiler compiler(what);
    compiler.context_ = context;
    const ValueView owned = compiler.Own(filter);
    ALOS_RETURN_IF_ERROR(compiler.Conjunction(owned, 0));
    return compiler.Finish();
  }

  // Operators without a field, {$gte: 3}, for a program to be asked by MatchesValue. With
  // `expand`, an array matches by its elements or itself, as a field would.
  static absl::StatusOr<std::shared_ptr<const FilterProgram>> CompileOperators(
      ValueView operators, bool expand, std::string_view what) {
    FilterCompiler compiler(what);
    const ValueView owned = compiler.Own(operators);
    ALOS_RETURN_IF_ERROR(compiler.Operators(kNoPath, owned, expand, 0));
    return compiler.Finish();
  }

  // {$gt: 1} is operators; {b: 1}, {} and a reference {$ref: "c", $id: 1} are values.
  static bool IsOperatorDocument(ValueView value) {
    if (!value.IsDocument() || value.size() == 0) return false;
    const std::string_view first = (*value.entries().begin()).key;
    if (!first.starts_with('$')) return false;
    return !(first == "$ref" && value.Find("$id").has_value());
  }

  // Whether a document states operators for a value ({$gte: 6}); otherwise it is a filter on
  // fields ({score: 8}, {$or: [...]}).
  static bool IsFieldCondition(ValueView value) {
    return IsOperatorDocument(value) && IsFieldOperator((*value.entries().begin()).key);
  }

 private:
  explicit FilterCompiler(std::string_view what)
      : what_(what), program_(std::make_shared<FilterProgram>()) {}

  ValueView Own(ValueView value) {
    const std::string_view bytes = value.bytes();
    program_->bytes_ = std::make_unique<char[]>(bytes.size());
    program_->bytes_size_ = bytes.size();
    std::memcpy(program_->bytes_.get(), bytes.data(), bytes.size());
    return ValueView::FromTrusted(std::string_view(program_->bytes_.get(), bytes.size()));
  }

  std::shared_ptr<const FilterProgram> Finish() {
    program_->nodes_.shrink_to_fit();
    return std::move(program_);
  }

  // Appends "a", ".$or", ... to the place that errors name, and takes it off again.
  class Place {
   public:
    Place(FilterCompiler* compiler, std::string_view step)
        : compiler_(compiler), size_(compiler->place_.size()) {
      absl::StrAppend(&compiler->place_, compiler->place_.empty() ? "" : ".", DescribeText(step));
    }
    Place(FilterCompiler* compiler, std::size_t step)
        : Place(compiler, std::string_view(absl::StrCat(step))) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { compiler_->place_.resize(size_); }

   private:
    FilterCompiler* compiler_;
    std::size_t size_;
  };

  template <class... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(absl::StrCat(what_, place_.empty() ? "" : " at '", place_,
                                                   place_.empty() ? "" : "'", ": ", pieces...));
  }

  static bool IsKnownElsewhere(std::string_view name) {
    // In MongoDB's manual, not here yet.
    static constexpr std::string_view kNames[] = {
        "$where",   "$geoIntersects", "$geoWithin",    "$near",        "$nearSphere", "$rand",
        "$natural", "$sampleRate",    "$minDistance",  "$maxDistance", "$geometry",   "$within",
        "$box",     "$center",        "$centerSphere", "$polygon",     "$uniqueDocs", "$meta"};
    return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
  }

  static bool IsFieldOperator(std::string_view name) {
    static constexpr std::string_view kNames[] = {
        "$eq",           "$ne",         "$gt",          "$gte",    "$lt",        "$lte",
        "$in",           "$nin",        "$not",         "$exists", "$regex",     "$options",
        "$type",         "$size",       "$mod",         "$all",    "$elemMatch", "$bitsAllSet",
        "$bitsAllClear", "$bitsAnySet", "$bitsAnyClear"};
    return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
  }

  absl::Status UnknownOperator(std::string_view name, bool top_level) const {
    if (IsKnownElsewhere(name)) return Error("the operator ", name, " is not supported yet");
    if (top_level && IsFieldOperator(name)) {
      return Error("the operator ", name, " needs a field: write {field: {", name,
                   ": ...}}; $and, $or and $nor are the "
                   "operators that stand without one");
    }
    if (!top_level && (name == "$jsonSchema" || name == "$text" || name == "$expr")) {
      return Error("the operator ", name, " is about whole documents and stands outside a field");
    }
    if (!top_level && (name == "$and" || name == "$or" || name == "$nor")) {
      return Error("the operator ", name,
                   " takes whole conditions and stands outside a field: write {", name,
                   ": [{field: ...}, ...]}");
    }
    return Error("unknown operator ", DescribeText(name),
                 top_level ? "; to match a field whose name begins with '$' is not possible" : "");
  }

  absl::Status CheckNesting(std::size_t depth) const {
    if (depth <= kFilterNestingMax) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(what_, ": nested more than ", kFilterNestingMax,
                                                   " levels deep; flatten the conditions"));
  }

  FilterNode& Emit(FilterOp op, std::uint32_t path = kNoPath, bool expand = true) {
    FilterNode node;
    node.op = op;
    node.path = path;
    node.expand = expand;
    program_->nodes_.push_back(node);
    return program_->nodes_.back();
  }

  // Ends a group that began with a node at `begin`: its subtree is all that was emitted since.
  void Close(std::size_t begin) {
    program_->nodes_[begin].subtree_size =
        static_cast<std::uint32_t>(program_->nodes_.size() - begin);
  }

  // As Close for an $and or $or: with one child the group is that child.
  void CloseGroup(std::size_t begin) {
    Close(begin);
    std::vector<FilterNode>& nodes = program_->nodes_;
    if (nodes.size() == begin + 1) {
      nodes[begin].op = FilterOp::kTrue;
    } else if (nodes[begin + 1].subtree_size + 1 == nodes[begin].subtree_size) {
      nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(begin));
    }
  }

  absl::StatusOr<std::uint32_t> PathIndex(std::string_view dotted) {
    const auto [entry, inserted] =
        path_index_.try_emplace(dotted, static_cast<std::uint32_t>(program_->paths_.size()));
    if (inserted) {
      absl::StatusOr<Path> path = Path::Parse(dotted);
      if (!path.ok()) return Error(path.status().message());
      program_->paths_.push_back(*std::move(path));
    }
    return entry->second;
  }

  // {field: condition, $or: [...], ...}: all must hold.
  absl::Status Conjunction(ValueView filter, std::size_t depth) {
    ALOS_RETURN_IF_ERROR(CheckNesting(depth));
    const std::size_t begin = program_->nodes_.size();
    Emit(FilterOp::kAnd);
    for (const auto entry : filter.entries()) {
      const Place place(this, entry.key);
      absl::Status status = entry.key.starts_with('$')
                                ? TopLevelOperator(entry.key, entry.value, depth)
                                : Field(entry.key, entry.value, depth);
      if (!status.ok()) return status;
    }
    CloseGroup(begin);
    return absl::OkStatus();
  }

  absl::Status TopLevelOperator(std::string_view name, ValueView operand, std::size_t depth) {
    if (name == "$comment") return absl::OkStatus();
    if (name == "$and") return Group(FilterOp::kAnd, name, operand, depth);
    if (name == "$or") return Group(FilterOp::kOr, name, operand, depth);
    if (name == "$nor") return Group(FilterOp::kNor, name, operand, depth);
    if (name == "$jsonSchema") return Schema(name, operand);
    if (name == "$text") return Text(name, operand);
    if (name == "$expr") return Expr(name, operand);
    return UnknownOperator(name, true);
  }

  absl::Status Group(FilterOp op, std::string_view name, ValueView operand, std::size_t depth) {
    if (!operand.IsArray() || operand.size() == 0) {
      return Error(name, " needs a non-empty array of conditions, not ", Describe(operand));
    }
    const std::size_t begin = program_->nodes_.size();
    Emit(op);
    const bool was_in_nor = in_nor_;
    in_nor_ = in_nor_ || op == FilterOp::kNor;
    std::size_t position = 0;
    for (const ValueView condition : operand.elements()) {
      const Place place(this, position++);
      if (!condition.IsDocument()) {
        return Error("each element of ", name, " must be a document, not ", Describe(condition));
      }
      ALOS_RETURN_IF_ERROR(Conjunction(condition, depth + 1));
    }
    in_nor_ = was_in_nor;
    if (op == FilterOp::kNor) {
      Close(begin);
    } else {
      CloseGroup(begin);
    }
    return absl::OkStatus();
  }

  absl::Status Field(std::string_view name, ValueView condition, std::size_t depth) {
    const absl::StatusOr<std::uint32_t> path = PathIndex(name);
    if (!path.ok()) return path.status();
    if (IsOperatorDocument(condition)) return Operators(*path, condition, true, depth);
    if (condition.IsDocument()) {
      for (const auto entry : condition.entries()) {
        if (IsFieldOperator(entry.key)) {
          return Error("mixes fields with the operator ", entry.key,
                       "; give either operators or a value to be equal to");
        }
      }
    }
    FilterNode& node = Emit(FilterOp::kEqual, *path);
    node.equality = true;
    node.literal = condition;
    return absl::OkStatus();
  }

  // {$gt: 1, $lt: 5} on a path, or on the value at hand (kNoPath).
  absl::Status Operators(std::uint32_t path, ValueView operators, bool expand, std::size_t depth) {
    ALOS_RETURN_IF_ERROR(CheckNesting(depth));
    const std::size_t begin = program_->nodes_.size();
    Emit(FilterOp::kAnd);
    for (const auto entry : operators.entries()) {
      if (!entry.key.starts_with('$')) {
        return Error("mixes operators with the field '", DescribeText(entry.key),
                     "'; give either operators or a value to be equal to");
      }
      absl::Status status = Operator(path, operators, entry.key, entry.value, expand, depth);
      if (!status.ok()) return status;
    }
    CloseGroup(begin);
    return absl::OkStatus();
  }

  absl::Status Operator(std::uint32_t path, ValueView siblings, std::string_view name,
                        ValueView operand, bool expand, std::size_t depth) {
    const Place place(this, name);
    if (name == "$eq") {
      FilterNode& node = Emit(FilterOp::kEqual, path, expand);
      node.equality = true;
      node.literal = operand;
      return absl::OkStatus();
    }
    if (name == "$ne") {
      Emit(FilterOp::kNot).subtree_size = 2;
      Emit(FilterOp::kEqual, path, expand).literal = operand;
      return absl::OkStatus();
    }
    if (name == "$gt") return Range(FilterOp::kGreater, path, operand, expand);
    if (name == "$gte") return Range(FilterOp::kGreaterOrEqual, path, operand, expand);
    if (name == "$lt") return Range(FilterOp::kLess, path, operand, expand);
    if (name == "$lte") return Range(FilterOp::kLessOrEqual, path, operand, expand);
    if (name == "$in") return In(name, path, operand, expand);
    if (name == "$nin") {
      Emit(FilterOp::kNot).subtree_size = 2;
      return In(name, path, operand, expand);
    }
    if (name == "$not") return Not(path, operand, expand, depth);
    if (name == "$exists") return Exists(path, operand);
    if (name == "$regex") return Regex(path, operand, siblings.Find("$options"), expand);
    if (name == "$options") {
      if (siblings.Find("$regex").has_value()) return absl::OkStatus();  // Read by $regex.
      return Error("$options needs a $regex beside it");
    }
    if (name == "$type") return Type(path, operand, expand);
    if (name == "$size") return Size(path, operand);
    if (name == "$mod") return Modulo(path, operand, expand);
    if (name == "$all") return All(path, operand, expand, depth);
    if (name == "$elemMatch") return ElementMatch(path, operand, depth);
    if (name == "$bitsAllSet") return Bits(FilterOp::kBitsAllSet, path, operand, expand);
    if (name == "$bitsAllClear") return Bits(FilterOp::kBitsAllClear, path, operand, expand);
    if (name == "$bitsAnySet") return Bits(FilterOp::kBitsAnySet, path, operand, expand);
    if (name == "$bitsAnyClear") return Bits(FilterOp::kBitsAnyClear, path, operand, expand);
    if (name == "$comment") return absl::OkStatus();
    return UnknownOperator(name, false);
  }

  // What is about the document may not stand in an $elemMatch, whose conditions are about elements.
  absl::Status CheckWholeDocument(std::string_view name) const {
    if (context_ != nullptr && element_depth_ == 0) return absl::OkStatus();
    return Error("the operator ", name,
                 " is about whole documents and cannot stand inside a condition on an array's "
                 "elements");
  }

  absl::Status Schema(std::string_view name, ValueView operand) {
    ALOS_RETURN_IF_ERROR(CheckWholeDocument(name));
    absl::StatusOr<JsonSchema> schema = JsonSchema::Compile(operand, kFilterNestingMax);
    if (!schema.ok()) return Error(schema.status().message());
    Emit(FilterOp::kJsonSchema).operand = static_cast<std::uint32_t>(program_->schemas_.size());
    program_->schemas_.push_back(*std::move(schema));
    return absl::OkStatus();
  }

  absl::Status Text(std::string_view name, ValueView operand) {
    ALOS_RETURN_IF_ERROR(CheckWholeDocument(name));
    if (in_nor_) return Error("$text cannot stand inside $nor");
    if (!program_->texts_.empty()) return Error("a filter can have one $text only");
    absl::StatusOr<TextSearch> text = TextSearch::Compile(operand, context_->text_fields);
    if (!text.ok()) return Error(text.status().message());
    const auto number = static_cast<std::uint32_t>(program_->texts_.size());
    if (text->words().empty()) {
      Emit(FilterOp::kFalse);
    } else if (text->all_fields()) {
      Emit(FilterOp::kText).operand = number;
    } else {
      const std::size_t begin = program_->nodes_.size();
      Emit(FilterOp::kAnd);
      // Some field has one of the words: a condition that planners know how to use.
      const std::size_t any = program_->nodes_.size();
      Emit(FilterOp::kOr);
      for (const Path& field : text->fields()) {
        ALOS_ASSIGN_OR_RETURN(const std::uint32_t path, PathIndex(field.ToString()));
        Emit(FilterOp::kTextWord, path).operand = number;
      }
      CloseGroup(any);
      if (!text->is_words_only()) Emit(FilterOp::kText).operand = number;
      CloseGroup(begin);
    }
    program_->texts_.push_back(*std::move(text));
    return absl::OkStatus();
  }

  absl::Status Expr(std::string_view name, ValueView operand) {
    ALOS_RETURN_IF_ERROR(CheckWholeDocument(name));
    absl::StatusOr<Expression> expression = Expression::Compile(
        operand, context_->variables != nullptr ? *context_->variables : VariableScope());
    if (!expression.ok()) return Error(expression.status().message());
    if (expression->is_constant()) {
      Emit(Expression::IsTrue(expression->constant()) ? FilterOp::kTrue : FilterOp::kFalse);
      return absl::OkStatus();
    }
    const std::size_t begin = program_->nodes_.size();
    Emit(FilterOp::kAnd);
    // What the expression needs to be equal is a condition that planners know how to use, and a
    // cheap one. (An array is what a path through arrays yields: it need not be there as a whole.)
    for (const Expression::FieldComparison& comparison : expression->ImpliedComparisons()) {
      if (comparison.op != "$eq" || comparison.constant.IsNull() || comparison.constant.IsArray()) {
        continue;
      }
      const absl::StatusOr<std::uint32_t> path = PathIndex(comparison.path->ToString());
      if (!path.ok()) return path.status();
      Emit(FilterOp::kEqual, *path).literal = comparison.constant;
    }
    Emit(FilterOp::kExpression).operand = static_cast<std::uint32_t>(program_->expressions_.size());
    CloseGroup(begin);
    program_->expressions_.push_back(*std::move(expression));
    if (program_->states_ == nullptr) {
      const std::int64_t milliseconds = absl::ToUnixMillis(absl::Now());
      Timestamp now;
      now.seconds = milliseconds / 1000;
      now.nanoseconds = static_cast<std::uint32_t>(milliseconds % 1000) * 1'000'000u;
      program_->states_ = std::make_unique<EvaluationStates>(now);
    }
    return absl::OkStatus();
  }

  absl::Status Bits(FilterOp op, std::uint32_t path, ValueView operand, bool expand) {
    BitMask mask;
    if (operand.type() == ValueType::kBinary) {
      mask.bytes = operand.AsBinary();
      for (std::size_t i = 0; i < std::min(mask.bytes.size(), sizeof(mask.low)); ++i) {
        mask.low |= std::uint64_t{static_cast<unsigned char>(mask.bytes[i])} << (8 * i);
      }
    } else if (operand.IsArray()) {
      for (const ValueView position : operand.elements()) {
        const std::optional<std::int64_t> bit = position.ToInt64();
        if (!bit.has_value() || *bit < 0 || *bit > std::numeric_limits<std::int32_t>::max()) {
          return Error("a bit's position must be a whole number from 0 to 2147483647, not ",
                       Describe(position));
        }
        if (*bit < 64) {
          mask.low |= std::uint64_t{1} << *bit;
        } else {
          mask.high.push_back(static_cast<std::uint32_t>(*bit));
        }
      }
    } else {
      const std::optional<std::int64_t> number = operand.ToInt64();
      if (operand.type() == ValueType::kUint64) {
        mask.low = operand.AsUint64();
      } else if (number.has_value() && *number >= 0) {
        mask.low = static_cast<std::uint64_t>(*number);
      } else {
        return Error(
            "needs a mask that is a whole number and not negative, an array of the bits' "
            "positions, or binary data, not ",
            Describe(operand));
      }
    }
    Emit(op, path, expand).operand = static_cast<std::uint32_t>(program_->bit_masks_.size());
    program_->bit_masks_.push_back(std::move(mask));
    return absl::OkStatus();
  }

  absl::Status Range(FilterOp op, std::uint32_t path, ValueView operand, bool expand) {
    if (operand.IsNull()) {
      // Nothing lies above or below null; "at least null" is "null or missing".
      const bool or_equal = op == FilterOp::kGreaterOrEqual || op == FilterOp::kLessOrEqual;
      Emit(or_equal ? FilterOp::kEqual : FilterOp::kFalse, path, expand);
      return absl::OkStatus();
    }
    Emit(op, path, expand).literal = operand;
    return absl::OkStatus();
  }

  absl::Status In(std::string_view name, std::uint32_t path, ValueView operand, bool expand) {
    if (!operand.IsArray()) {
      return Error(name, " needs an array of values, not ", Describe(operand));
    }
    FilterProgram::List list;
    for (const ValueView value : operand.elements()) {
      if (IsOperatorDocument(value)) {
        return Error(name, " takes values only: the operator ",
                     DescribeText((*value.entries().begin()).key), " cannot stand inside it");
      }
      if (value.IsNull()) list.has_null = true;
      list.values.push_back(value);
    }
    std::sort(list.values.begin(), list.values.end(),
              [](ValueView a, ValueView b) { return Compare(a, b) < 0; });
    list.values.erase(std::unique(list.values.begin(), list.values.end(),
                                  [](ValueView a, ValueView b) { return Compare(a, b) == 0; }),
                      list.values.end());
    Emit(FilterOp::kIn, path, expand).operand = static_cast<std::uint32_t>(program_->lists_.size());
    program_->lists_.push_back(std::move(list));
    return absl::OkStatus();
  }

  absl::Status Not(std::uint32_t path, ValueView operand, bool expand, std::size_t depth) {
    if (!operand.IsDocument() || operand.size() == 0) {
      return Error("$not needs a document of operators such as {$gt: 1} or {$regex: \"^x\"}, not ",
                   Describe(operand), "; for a value use $ne");
    }
    const std::size_t begin = program_->nodes_.size();
    Emit(FilterOp::kNot);
    ALOS_RETURN_IF_ERROR(Operators(path, operand, expand, depth + 1));
    Close(begin);
    return absl::OkStatus();
  }

  absl::Status Exists(std::uint32_t path, ValueView operand) {
    const bool wanted =
        !(operand.IsNull() || (operand.type() == ValueType::kBool && !operand.AsBool()) ||
          (operand.IsNumber() && operand.AsDouble() == 0));
    if (!wanted) Emit(FilterOp::kNot).subtree_size = 2;
    Emit(FilterOp::kExists, path, false);
    return absl::OkStatus();
  }

  absl::Status Regex(std::uint32_t path, ValueView pattern, std::optional<ValueView> options,
                     bool expand) {
    if (!pattern.IsString()) return Error("$regex needs a string, not ", Describe(pattern));
    if (options.has_value() && !options->IsString()) {
      return Error("$options needs a string of the letters i, m, s and x, not ",
                   Describe(*options));
    }
    const std::string_view letters = options.has_value() ? options->AsString() : std::string_view();
    absl::StatusOr<std::unique_ptr<const re2::RE2>> regex =
        CompileRegex(pattern.AsString(), letters);
    if (!regex.ok()) return Error(regex.status().message());
    Emit(FilterOp::kRegex, path, expand).operand =
        static_cast<std::uint32_t>(program_->regexes_.size());
    program_->regexes_.push_back(FilterProgram::Regex{std::string(pattern.AsString()),
                                                      std::string(letters), *std::move(regex)});
    return absl::OkStatus();
  }

  absl::StatusOr<TypeMask> TypesOf(ValueView name) const {
    const std::optional<TypeMask> types = FindTypes(name);
    if (types.has_value()) return *types;
    return Error(
        "$type needs a type's name (such as \"string\", \"int\", \"number\", \"object\") "
        "or number (1, 2, ... of BSON), not ",
        Describe(name));
  }

  absl::Status Type(std::uint32_t path, ValueView operand, bool expand) {
    TypeMask mask = 0;
    if (operand.IsArray()) {
      if (operand.size() == 0) return Error("$type needs at least one type");
      for (const ValueView name : operand.elements()) {
        const absl::StatusOr<TypeMask> one = TypesOf(name);
        if (!one.ok()) return one.status();
        mask |= *one;
      }
    } else {
      const absl::StatusOr<TypeMask> one = TypesOf(operand);
      if (!one.ok()) return one.status();
      mask = *one;
    }
    Emit(FilterOp::kType, path, expand).operand = mask;
    return absl::OkStatus();
  }

  absl::Status Size(std::uint32_t path, ValueView operand) {
    const std::optional<std::int64_t> size = operand.ToInt64();
    if (!size.has_value() || *size < 0) {
      return Error("$size needs a whole number that is not negative, not ", Describe(operand));
    }
    Emit(FilterOp::kSize, path, false).number = *size;
    return absl::OkStatus();
  }

  absl::Status Modulo(std::uint32_t path, ValueView operand, bool expand) {
    constexpr std::string_view kNeeds = "$mod needs an array [divisor, remainder] of two numbers";
    if (!operand.IsArray() || operand.size() != 2) {
      return Error(kNeeds, ", not ", Describe(operand));
    }
    std::int64_t numbers[2];
    std::size_t count = 0;
    for (const ValueView number : operand.elements()) {
      const double value = number.IsNumber() ? std::trunc(number.AsDouble()) : NAN;
      const std::optional<std::int64_t> exact = number.ToInt64();
      if (exact.has_value()) {
        numbers[count++] = *exact;
      } else if (number.type() == ValueType::kDouble && value >= -9223372036854775808.0 &&
                 value < 9223372036854775808.0) {
        numbers[count++] = static_cast<std::int64_t>(value);
      } else {
        return Error(kNeeds, " in the range of 64-bit integers, not ", Describe(number));
      }
    }
    if (numbers[0] == 0) return Error("the divisor of $mod cannot be 0");
    FilterNode& node = Emit(FilterOp::kModulo, path, expand);
    node.number = numbers[0];
    node.remainder = numbers[1];
    return absl::OkStatus();
  }

  static bool IsElementMatch(ValueView value) {
    return value.IsDocument() && value.size() > 0 && (*value.entries().begin()).key == "$elemMatch";
  }

  absl::Status All(std::uint32_t path, ValueView operand, bool expand, std::size_t depth) {
    if (!operand.IsArray()) return Error("$all needs an array, not ", Describe(operand));
    if (operand.size() == 0) {
      Emit(FilterOp::kFalse);
      return absl::OkStatus();
    }
    const std::size_t begin = program_->nodes_.size();
    Emit(FilterOp::kAnd);
    std::size_t position = 0;
    for (const ValueView value : operand.elements()) {
      const Place place(this, position++);
      if (IsElementMatch(value)) {
        if (value.size() != 1) return Error("$elemMatch must stand alone inside $all");
        const Place inner(this, std::string_view("$elemMatch"));
        absl::Status status = ElementMatch(path, (*value.entries().begin()).value, depth + 1);
        if (!status.ok()) return status;
      } else if (IsOperatorDocument(value)) {
        return Error("$all takes values or $elemMatch: the operator ",
                     DescribeText((*value.entries().begin()).key), " cannot stand inside it");
      } else {
        Emit(FilterOp::kEqual, path, expand).literal = value;
      }
    }
    CloseGroup(begin);
    return absl::OkStatus();
  }

  absl::Status ElementMatch(std::uint32_t path, ValueView operand, std::size_t depth) {
    if (!operand.IsDocument()) {
      return Error("$elemMatch needs a document, not ", Describe(operand));
    }
    const bool by_value = IsFieldCondition(operand);
    const std::size_t begin = program_->nodes_.size();
    Emit(by_value ? FilterOp::kElementMatchesValue : FilterOp::kElementMatchesDocument, path,
         false);
    ++element_depth_;
    absl::Status status =
        by_value ? Operators(kNoPath, operand, false, depth + 1) : Conjunction(operand, depth + 1);
    if (!status.ok()) return status;
    --element_depth_;
    Close(begin);
    return absl::OkStatus();
  }

  const FilterContext* context_ = nullptr;  // Null: the conditions are not about a document.
  std::size_t element_depth_ = 0;           // Of $elemMatch around what is being compiled.
  bool in_nor_ = false;
  std::string what_;
  std::string place_;
  std::shared_ptr<FilterProgram> program_;
  absl::flat_hash_map<std::string, std::uint32_t> path_index_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_FILTER_PROGRAM_H_
