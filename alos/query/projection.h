// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Projections: which fields of a document are shown.

#ifndef ALOS_QUERY_PROJECTION_H_
#define ALOS_QUERY_PROJECTION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"

namespace alos {

// A compiled projection of a find, of MongoDB's two kinds:
//
//   {name: 1, "address.city": 1}   shows only these, and `_id`
//   {password: 0, "log.debug": 0}  shows all but these
//
// `_id` is shown unless excluded, and may be excluded beside included fields. Fields come in the
// document's order. A dotted path goes through arrays: it applies to each document in them; an
// inclusion drops the other elements, an exclusion keeps them. Parts of a path name fields, never
// positions. {a: {b: 1}} is the same as {"a.b": 1}. Besides 1 and 0 a field may have
//
//   {$slice: 5}, {$slice: -5}, {$slice: [10, 5]}  so many elements of an array. By itself, or with
//                         exclusions, all other fields are shown
//   {$elemMatch: {...}}   the first element that meets the conditions; the field is left out when
//                         none does, and comes behind the others
//   "field.$": 1          the element by which the query's filter matched
//   an expression         {total: {$multiply: ["$price", "$count"]}}: shown behind the others. A
//                         projection with one is an inclusion
//
// Threads: immutable; any number of threads may use one at once.
// Lifetime: owns all it needs.
// Durability: none.
// Errors: Compile and FromFields return kInvalidArgument naming the field. Apply fails where an
//   expression does, and when "field.$" has no element to show; what it appended is to be cut off.
// Cost: one pass over the document; what is not shown is stepped over.
class Projection {
 public:
  // Shows everything.
  Projection() : nodes_(1) {}

  // An inclusion of dotted paths; `_id` is always included. No fields: everything. A path inside
  // another one that is included too adds nothing.
  static absl::StatusOr<Projection> FromFields(absl::Span<const std::string> fields) {
    Projection projection;
    if (fields.empty()) return projection;
    projection.shows_named_ = true;
    projection.has_fields_ = true;
    for (const std::string& field : fields) {
      absl::StatusOr<Path> path = query_internal::ParseFieldPath(field);
      if (!path.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("fields: ", path.status().message()));
      }
      projection.AddLenient(*path);
    }
    projection.AddLenient(*Path::Parse("_id"));
    return projection;
  }

  // `filter`: that of the query, for "field.$"; without one that is refused.
  static absl::StatusOr<Projection> Compile(ValueView specification,
                                            const Filter* filter = nullptr) {
    if (!specification.IsDocument()) {
      return absl::InvalidArgumentError(
          absl::StrCat("projection: needs a document such as {name: 1}, not ",
                       query_internal::Describe(specification)));
    }
    Projection projection;
    Compilation compilation{filter};
    ALOS_RETURN_IF_ERROR(projection.CompileFields(specification, "", &compilation));
    const std::optional<bool> id = compilation.id;
    if (id.has_value() && projection.NamesFieldsOfId()) return Collision("_id");
    const bool has_slice = compilation.has_slice;
    projection.has_fields_ = id.has_value() || compilation.inclusion.has_value() || has_slice ||
                             compilation.has_element_match;
    // {_id: 1} alone shows only the id; {_id: 0} alone all but it.
    projection.shows_named_ =
        compilation.inclusion.value_or(compilation.has_element_match || id.value_or(false));
    const bool id_is_named = projection.shows_named_ ? id.value_or(true) : !id.value_or(true);
    if (projection.has_fields_ && id_is_named && !projection.NamesFieldsOfId()) {
      projection.AddLenient(*Path::Parse("_id"));
    }
    projection.Mark(0);
    return projection;
  }

  // True when Apply copies the document as it is.
  bool shows_everything() const { return !has_fields_; }
  // Only fields to show or to hide: Apply cannot fail.
  bool is_plain() const { return !nodes_[0].has_computed && !has_special_; }

  // A state for Apply, to be used for one document after another; nullptr when none is needed.
  std::unique_ptr<EvaluationState> NewState() const {
    return has_expressions_ ? std::make_unique<EvaluationState>(Now()) : nullptr;
  }

  // Appends what is shown of `document`. REQUIRES: a document whose bytes are not in *out.
  // Expressions are evaluated in `state`, which is reset; without one, in one made for this call.
  absl::Status Apply(ValueView document, std::string* out, EvaluationState* state = nullptr) const {
    if (!has_fields_) {
      out->append(document.bytes());
      return absl::OkStatus();
    }
    Builder builder(out);
    Application application{document, state, std::nullopt, false, absl::OkStatus()};
    std::optional<EvaluationState> own_state;
    if (has_expressions_) {
      if (state == nullptr) application.state = &own_state.emplace(Now());
      application.state->Reset();
    }
    if (filter_.has_value()) filter_->Matches(document, &application.position);
    ApplyToDocument(nodes_[0], document, &application, &builder);
    return application.status;
  }

 private:
  // What becomes of a field that is named.
  enum class Action { kPlain, kSlice, kElementMatch, kPositional, kExpression };

  // A node without children names a whole field: shown or hidden, or what `action` says.
  struct Node {
    std::string name;
    std::vector<std::uint32_t> children;
    absl::flat_hash_map<std::string, std::uint32_t> index;  // The children by name.
    Action action = Action::kPlain;
    bool has_computed = false;    // It, or a node below, is shown behind the other fields.
    bool has_positional = false;  // It, or a node below, is "field.$".
    std::int64_t slice_skip = 0;  // From the end if negative.
    std::int64_t slice_limit = 0;
    std::optional<Filter> element_match;  // {name: {$elemMatch: ...}}
    std::optional<Expression> expression;
  };

  struct Compilation {
    const Filter* filter;
    std::optional<bool> id;  // `_id` by itself is shown, or hidden
    std::optional<bool> inclusion;
    bool has_slice = false;
    bool has_element_match = false;
  };

  // One document being projected.
  struct Application {
    ValueView root;
    EvaluationState* state;
    std::optional<std::size_t> position;  // of the element for "field.$"
    bool is_position_used = false;        // the outermost array on its path was met
    absl::Status status;
  };

  static Timestamp Now() {
    const std::int64_t milliseconds = absl::ToUnixMillis(absl::Now());
    Timestamp now;
    now.seconds = milliseconds / 1000;
    now.nanoseconds = static_cast<std::uint32_t>(milliseconds % 1000) * 1'000'000u;
    return now;
  }

  static absl::Status Error(std::string_view path, std::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("projection at '", query_internal::DescribeText(path), "': ", what));
  }

  static absl::Status Collision(std::string_view path) {
    return Error(path, "collides with another path: one is, or lies inside, the other; give one");
  }

  absl::Status CompileFields(ValueView fields, std::string_view prefix, Compilation* compilation) {
    for (const auto entry : fields.entries()) {
      std::string path =
          prefix.empty() ? std::string(entry.key) : absl::StrCat(prefix, ".", entry.key);
      if (entry.key.starts_with('$') && !prefix.empty()) {
        return Error(path, absl::StrCat("the operator ", query_internal::DescribeText(entry.key),
                                        " cannot stand beside fields"));
      }
      const bool is_positional = path.size() > 2 && path.ends_with(".$");
      if (is_positional) path.resize(path.size() - 2);
      absl::StatusOr<Path> parsed = query_internal::ParseFieldPath(path);
      if (!parsed.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("projection: ", parsed.status().message()));
      }
      const ValueView value = entry.value;
      if (is_positional) {
        ALOS_RETURN_IF_ERROR(CompilePositional(path, *parsed, value, compilation));
        continue;
      }
      if (value.IsDocument()) {
        if (value.size() == 0) return Error(path, "an empty document says nothing; use 1 or 0");
        const auto first = *value.entries().begin();
        if (first.key.starts_with('$')) {
          ALOS_RETURN_IF_ERROR(CompileOperator(path, *parsed, value, compilation));
        } else {
          // Nesting is bounded by the number of parts that a path may have.
          ALOS_RETURN_IF_ERROR(CompileFields(value, path, compilation));
        }
        continue;
      }
      if (value.type() != ValueType::kBool && !value.IsNumber()) {
        ALOS_RETURN_IF_ERROR(CompileExpression(path, *parsed, value, compilation));
        continue;
      }
      const bool shown = value.type() == ValueType::kBool ? value.AsBool() : value.AsDouble() != 0;
      if (path == "_id") {
        compilation->id = shown;
        continue;
      }
      ALOS_RETURN_IF_ERROR(SetKind(path, shown, compilation));
      if (Add(*parsed) == nullptr) return Collision(path);
    }
    return absl::OkStatus();
  }

  static absl::Status SetKind(std::string_view path, bool shown, Compilation* compilation) {
    if (compilation->inclusion.has_value() && *compilation->inclusion != shown) {
      return Error(path, shown ? "a field to show among fields to hide; give one kind (only _id "
                                 "may differ)"
                               : "a field to hide among fields to show; give one kind (only _id "
                                 "may differ)");
    }
    compilation->inclusion = shown;
    return absl::OkStatus();
  }

  absl::Status CompilePositional(std::string_view path, const Path& parsed, ValueView value,
                                 Compilation* compilation) {
    const bool is_shown =
        value.IsBool() ? value.AsBool() : value.IsNumber() && value.AsDouble() != 0;
    if (!is_shown) return Error(path, "the positional operator $ can only be shown: use 1");
    if (filter_.has_value())
      return Error(path, "the positional operator $ may be used once in a projection");
    if (compilation->filter == nullptr)
      return Error(path, "the positional operator $ needs a query with a condition on the array");
    const std::vector<Path>& asked = compilation->filter->program().paths();
    if (std::none_of(asked.begin(), asked.end(), [&](const Path& one) {
          return !one.parts().empty() && one.parts()[0] == parsed.parts()[0];
        })) {
      return Error(path, "the positional operator $ needs a condition on the array in the filter");
    }
    ALOS_RETURN_IF_ERROR(SetKind(path, true, compilation));
    Node* node = Add(parsed);
    if (node == nullptr) return Collision(path);
    node->action = Action::kPositional;
    filter_ = *compilation->filter;
    has_special_ = true;
    return absl::OkStatus();
  }

  absl::Status CompileOperator(std::string_view path, const Path& parsed, ValueView value,
                               Compilation* compilation) {
    const auto [name, operand] = *value.entries().begin();
    if (name == "$slice" && value.size() == 1) {
      std::int64_t skip = 0;
      std::optional<std::int64_t> limit;
      if (operand.IsNumber()) {
        limit = WholeNumber(operand);
        if (limit && *limit < 0) {
          skip = std::max(*limit, -kSliceMax);
          limit = -skip;
        }
      } else if (operand.IsArray() && operand.size() == 2 && operand.At(0)->IsNumber() &&
                 operand.At(1)->IsNumber()) {
        const std::optional<std::int64_t> first = WholeNumber(*operand.At(0));
        limit = WholeNumber(*operand.At(1));
        if (limit && *limit <= 0) return Error(path, "$slice: [skip, limit] needs a limit above 0");
        if (!first) limit.reset();
        skip = std::max(first.value_or(0), -kSliceMax);
      } else {
        return CompileExpression(path, parsed, value, compilation);
      }
      if (!limit) {
        return Error(path, absl::StrCat("$slice needs a whole number or [skip, limit], not ",
                                        query_internal::Describe(operand)));
      }
      Node* node = Add(parsed);
      if (node == nullptr) return Collision(path);
      node->action = Action::kSlice;
      node->slice_skip = skip;
      node->slice_limit = *limit;
      compilation->has_slice = true;
      has_special_ = true;
      return absl::OkStatus();
    }
    if (name == "$elemMatch") {
      if (value.size() != 1) return Error(path, "$elemMatch must stand alone");
      if (parsed.parts().size() != 1)
        return Error(path, "$elemMatch shows fields of the document only, not fields within them");
      std::string condition;
      Builder builder(&condition);
      builder.StartDocument(1).Key(path).Raw(value).EndDocument();
      absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(condition));
      if (!filter.ok()) return Error(path, filter.status().message());
      Node* node = Add(parsed);
      if (node == nullptr) return Collision(path);
      node->action = Action::kElementMatch;
      node->element_match = *std::move(filter);
      compilation->has_element_match = true;
      has_special_ = true;
      return absl::OkStatus();
    }
    return CompileExpression(path, parsed, value, compilation);
  }

  absl::Status CompileExpression(std::string_view path, const Path& parsed, ValueView value,
                                 Compilation* compilation) {
    absl::StatusOr<Expression> expression = Expression::Compile(value);
    if (!expression.ok()) return Error(path, expression.status().message());
    if (compilation->inclusion == false)
      return Error(path, "an expression among fields to hide; give one kind");
    ALOS_RETURN_IF_ERROR(SetKind(path, true, compilation));
    Node* node = Add(parsed);
    if (node == nullptr) return Collision(path);
    node->action = Action::kExpression;
    node->expression = *std::move(expression);
    has_expressions_ = true;
    return absl::OkStatus();
  }

  static std::optional<std::int64_t> WholeNumber(ValueView value) { return value.ToInt64(); }

  // Tells each node what is below it. Recursion is bounded by the depth of the tree.
  void Mark(std::uint32_t index) {
    Node& node = nodes_[index];
    node.has_computed = node.action == Action::kExpression || node.action == Action::kElementMatch;
    node.has_positional = node.action == Action::kPositional;
    for (const std::uint32_t child : node.children) {
      Mark(child);
      node.has_computed = node.has_computed || nodes_[child].has_computed;
      node.has_positional = node.has_positional || nodes_[child].has_positional;
    }
  }

  bool NamesFieldsOfId() const { return nodes_[0].index.contains("_id"); }

  std::optional<std::uint32_t> Find(std::uint32_t node, const std::string& name) const {
    const auto found = nodes_[node].index.find(name);
    if (found == nodes_[node].index.end()) return std::nullopt;
    return found->second;
  }

  std::uint32_t AddChild(std::uint32_t parent, const std::string& name) {
    const auto child = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back().name = name;
    nodes_[parent].children.push_back(child);
    nodes_[parent].index.emplace(name, child);
    return child;
  }

  // The new leaf; nullptr when the path is there already, lies inside one that is, or the other way
  // round. Valid until the next Add.
  Node* Add(const Path& path) {
    std::uint32_t current = 0;
    bool is_new = false;
    for (const std::string& part : path.parts()) {
      const std::optional<std::uint32_t> child = Find(current, part);
      is_new = !child.has_value();
      if (is_new) {
        current = AddChild(current, part);
      } else {
        current = *child;
        if (nodes_[current].children.empty()) return nullptr;
      }
    }
    return is_new ? &nodes_[current] : nullptr;
  }

  // As Add, but the wider of two paths wins.
  void AddLenient(const Path& path) {
    std::uint32_t current = 0;
    bool is_new = false;
    for (const std::string& part : path.parts()) {
      const std::optional<std::uint32_t> child = Find(current, part);
      is_new = !child.has_value();
      if (is_new) {
        current = AddChild(current, part);
      } else {
        current = *child;
        if (nodes_[current].children.empty()) return;
      }
    }
    nodes_[current].children.clear();
    nodes_[current].index.clear();
  }

  const Node* Child(const Node& node, std::string_view name) const {
    // A handful is the rule.
    constexpr std::size_t kLinearMax = 8;
    if (node.children.size() > kLinearMax) {
      const auto found = node.index.find(name);
      return found == node.index.end() ? nullptr : &nodes_[found->second];
    }
    for (const std::uint32_t child : node.children) {
      if (nodes_[child].name == name) return &nodes_[child];
    }
    return nullptr;
  }

  // Recursion is bounded by the depth of the tree, and inside arrays by that of the document.
  void ApplyToDocument(const Node& node, ValueView document, Application* application,
                       Builder* builder) const {
    builder->StartDocument();
    for (const auto entry : document.entries()) {
      const Node* child = Child(node, entry.key);
      if (child == nullptr) {
        if (!shows_named_) builder->Key(entry.key).Raw(entry.value);
      } else if (child->children.empty()) {
        ApplyToField(*child, entry.value, application, builder);
      } else if (entry.value.IsDocument()) {
        builder->Key(entry.key);
        ApplyToDocument(*child, entry.value, application, builder);
      } else if (entry.value.IsArray()) {
        builder->Key(entry.key);
        ApplyToArray(*child, entry.value, application, builder);
      } else if (!shows_named_) {
        builder->Key(entry.key).Raw(entry.value);
      }
    }
    if (node.has_computed) AppendComputed(node, document, application, builder);
    builder->EndDocument();
  }

  // A field that is named itself.
  void ApplyToField(const Node& node, ValueView value, Application* application,
                    Builder* builder) const {
    switch (node.action) {
      case Action::kPlain:
        if (shows_named_) builder->Key(node.name).Raw(value);
        break;
      case Action::kSlice:
        builder->Key(node.name);
        if (value.IsArray()) {
          Slice(node, value, builder);
        } else {
          builder->Raw(value);
        }
        break;
      case Action::kPositional:
        builder->Key(node.name);
        if (value.IsArray() && !application->is_position_used) {
          builder->StartArray();
          if (const std::optional<ValueView> element = Positional(value, application))
            builder->Raw(*element);
          builder->EndArray();
        } else {
          builder->Raw(value);
        }
        break;
      case Action::kElementMatch:
      case Action::kExpression:
        break;  // comes behind the others
    }
  }

  // The element that the filter matched by, of the outermost array on the path of "field.$";
  // without one the application fails.
  static std::optional<ValueView> Positional(ValueView array, Application* application) {
    application->is_position_used = true;
    if (application->position.has_value() && *application->position < array.size())
      return array.At(*application->position);
    application->status.Update(absl::InvalidArgumentError(
        "projection: the positional operator $ found no element of the array by which the filter "
        "matched"));
    return std::nullopt;
  }

  static void Slice(const Node& node, ValueView array, Builder* builder) {
    const auto size = static_cast<std::int64_t>(array.size());
    const std::int64_t begin = node.slice_skip >= 0
                                   ? std::min(node.slice_skip, size)
                                   : std::max<std::int64_t>(0, size + node.slice_skip);
    const std::int64_t count = std::min(node.slice_limit, size - begin);
    builder->StartArray(static_cast<std::size_t>(count));
    std::int64_t position = 0;
    for (const ValueView element : array.elements()) {
      if (position >= begin + count) break;
      if (position++ >= begin) builder->Raw(element);
    }
    builder->EndArray();
  }

  // Fields that are made, of a document that may have been there. Those inside a field that is a
  // document or an array are appended where that is.
  void AppendComputed(const Node& node, std::optional<ValueView> document, Application* application,
                      Builder* builder) const {
    for (const std::uint32_t number : node.children) {
      const Node& child = nodes_[number];
      if (!child.has_computed) continue;
      if (child.action == Action::kElementMatch) {
        const std::optional<ValueView> array = document ? document->Find(child.name) : std::nullopt;
        std::optional<std::size_t> position;
        if (!array || !array->IsArray() || !child.element_match->Matches(*document, &position) ||
            !position) {
          continue;
        }
        builder->Key(child.name).StartArray(1).Raw(*array->At(*position)).EndArray();
      } else if (child.action == Action::kExpression) {
        const absl::StatusOr<std::optional<ValueView>> value =
            child.expression->Evaluate(application->root, *application->state);
        if (!value.ok()) {
          application->status.Update(Error(child.name, value.status().message()));
        } else if (value->has_value()) {
          builder->Key(child.name).Raw(**value);
        }
      } else {
        const std::optional<ValueView> inner = document ? document->Find(child.name) : std::nullopt;
        if (inner && (inner->IsDocument() || inner->IsArray())) continue;
        builder->Key(child.name).StartDocument();
        AppendComputed(child, std::nullopt, application, builder);
        builder->EndDocument();
      }
    }
  }

  void ApplyToArray(const Node& node, ValueView array, Application* application,
                    Builder* builder) const {
    builder->StartArray();
    if (node.has_positional && !application->is_position_used) {
      if (const std::optional<ValueView> element = Positional(array, application))
        ApplyToElement(node, *element, application, builder);
    } else {
      for (const ValueView element : array.elements())
        ApplyToElement(node, element, application, builder);
    }
    builder->EndArray();
  }

  void ApplyToElement(const Node& node, ValueView element, Application* application,
                      Builder* builder) const {
    if (element.IsDocument()) {
      ApplyToDocument(node, element, application, builder);
    } else if (element.IsArray()) {
      ApplyToArray(node, element, application, builder);
    } else if (!shows_named_) {
      builder->Raw(element);
    }
  }

  // Enough for any array, and no sum with it overflows.
  static constexpr std::int64_t kSliceMax = std::int64_t{1} << 40;

  bool has_fields_ = false;
  bool shows_named_ = false;  // The tree names what is shown; else what is hidden.
  bool has_expressions_ = false;
  bool has_special_ = false;      // $slice, $elemMatch or "field.$".
  std::optional<Filter> filter_;  // for "field.$"
  std::vector<Node> nodes_;       // nodes_[0] is the root.
};

}  // namespace alos

#endif  // ALOS_QUERY_PROJECTION_H_
