// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Documents made of documents: what $project and $addFields do, and setting one field by its path.

#ifndef ALOS_QUERY_INTERNAL_FIELD_TREE_H_
#define ALOS_QUERY_INTERNAL_FIELD_TREE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"
#include "alos/query/internal/pipeline_stage.h"

namespace alos::query_internal {

// Fields to keep, to leave out and to compute, as a tree by the parts of their paths.
//
//   $project    {a: 1, "b.c": {$add: ["$x", 1]}}   the fields named, in the document's order, then
//                                                  the computed ones in the order given
//   $project    {a: 0, "b.c": 0}                   all but the fields named
//   $addFields  {"b.c": {$add: ["$x", 1]}}         all, computed ones in the place of those they
//                                                  replace, others at the end
//
// Paths go through arrays, to each document in them; what is no document gives way to one where
// something is computed below it. A computed value that is missing removes the field.
//
// Threads: immutable after Compile. Lifetime: owns all it needs.
class FieldTree {
 public:
  static absl::StatusOr<FieldTree> CompileProjection(ValueView specification,
                                                     const VariableScope& scope) {
    FieldTree tree;
    ALOS_RETURN_IF_ERROR(tree.CheckIsDocument(specification));
    if (specification.size() == 0) return absl::InvalidArgumentError("needs at least one field");
    std::optional<bool> id;
    ALOS_RETURN_IF_ERROR(tree.CompileFields(specification, "", 0, scope, true, &id));
    const bool excludes = tree.has_exclusions_;
    if (excludes && (tree.has_inclusions_ || tree.has_computed_)) {
      return absl::InvalidArgumentError(
          "fields to leave out among fields to show or compute; give one kind (only _id may "
          "differ)");
    }
    const bool only_hides_id =
        !excludes && !tree.has_inclusions_ && !tree.has_computed_ && id.has_value() && !*id;
    tree.mode_ = excludes || only_hides_id ? Mode::kExclude : Mode::kInclude;
    if (tree.Child(tree.nodes_[0], "_id") == nullptr) {
      const bool shown = id.value_or(true);
      if (shown == (tree.mode_ == Mode::kInclude)) {
        tree.nodes_[tree.AddChild(0, "_id")].leaf =
            shown ? Node::Leaf::kInclude : Node::Leaf::kExclude;
      }
    }
    return tree;
  }

  static absl::StatusOr<FieldTree> CompileAddFields(ValueView specification,
                                                    const VariableScope& scope) {
    FieldTree tree;
    tree.mode_ = Mode::kAdd;
    ALOS_RETURN_IF_ERROR(tree.CheckIsDocument(specification));
    if (specification.size() == 0) return absl::InvalidArgumentError("needs at least one field");
    std::optional<bool> id;
    ALOS_RETURN_IF_ERROR(tree.CompileFields(specification, "", 0, scope, false, &id));
    return tree;
  }

  // An exclusion of the paths.
  static absl::StatusOr<FieldTree> CompileUnset(absl::Span<const std::string_view> paths) {
    FieldTree tree;
    tree.mode_ = Mode::kExclude;
    for (const std::string_view dotted : paths) {
      ALOS_ASSIGN_OR_RETURN(const Path path, ParseFieldPath(dotted));
      ALOS_ASSIGN_OR_RETURN(const std::uint32_t node, tree.Add(path, 0, dotted));
      tree.nodes_[node].leaf = Node::Leaf::kExclude;
    }
    return tree;
  }

  bool has_computed() const { return has_computed_; }
  // Its result has no fields but those named.
  bool is_inclusion() const { return mode_ == Mode::kInclude; }

  // Appends what becomes of `document`. False, and the run has failed, when an expression cannot
  // be evaluated. REQUIRES: a document whose bytes are not in *out.
  bool Apply(ValueView document, StageEvaluator* evaluator, std::string* out) const {
    if (has_computed_) evaluator->Reset();
    Builder builder(out);
    Application application{document, evaluator, &builder};
    return ApplyToDocument(nodes_[0], &document, application);
  }

  Stage::Needs AddNeeds(std::vector<std::string>* fields) const {
    for (const Expression& expression : expressions_) {
      if (!AddFieldsOf(expression, fields)) return Stage::Needs::kUnknown;
    }
    if (mode_ != Mode::kInclude) return Stage::Needs::kSome;
    for (const std::uint32_t child : nodes_[0].children) {
      if (nodes_[child].leaf != Node::Leaf::kComputed) fields->push_back(nodes_[child].name);
    }
    return Stage::Needs::kAll;
  }

 private:
  enum class Mode { kInclude, kExclude, kAdd };

  struct Node {
    enum class Leaf : std::uint8_t { kNone, kInclude, kExclude, kComputed };
    std::string name;
    std::vector<std::uint32_t> children;
    absl::flat_hash_map<std::string, std::uint32_t> index;  // the children by name
    Leaf leaf = Leaf::kNone;
    std::uint32_t ordinal = 0;     // among the children of its parent
    std::uint32_t expression = 0;  // kComputed
    bool has_computed = false;     // it, or something below it
  };

  struct Application {
    ValueView root;
    StageEvaluator* evaluator;
    Builder* builder;
  };

  FieldTree() : nodes_(1) {}

  static absl::Status CheckIsDocument(ValueView specification) {
    if (specification.IsDocument()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("needs a document of fields, not ", Describe(specification)));
  }

  static absl::Status Error(std::string_view path, std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("at '", DescribeText(path), "': ", what));
  }

  absl::Status CompileFields(ValueView fields, std::string_view prefix, std::uint32_t parent,
                             const VariableScope& scope, bool is_projection,
                             std::optional<bool>* id) {
    for (const auto entry : fields.entries()) {
      const std::string whole =
          prefix.empty() ? std::string(entry.key) : absl::StrCat(prefix, ".", entry.key);
      ALOS_ASSIGN_OR_RETURN(const Path path, ParseFieldPath(entry.key));
      // Bounds nesting, too.
      ALOS_RETURN_IF_ERROR(Path::Parse(whole).status());
      const ValueView value = entry.value;
      if (is_projection && (value.IsNumber() || value.IsBool())) {
        const bool shown = value.IsBool() ? value.AsBool() : value.AsDouble() != 0;
        if (whole == "_id") {
          *id = shown;
          if (index_of_id_) return Collision(whole);
          index_of_id_ = true;
          continue;
        }
        (shown ? has_inclusions_ : has_exclusions_) = true;
        ALOS_ASSIGN_OR_RETURN(const std::uint32_t node, Add(path, parent, whole));
        nodes_[node].leaf = shown ? Node::Leaf::kInclude : Node::Leaf::kExclude;
        continue;
      }
      const bool is_expression =
          !value.IsDocument() ||
          (value.size() > 0 && (*value.entries().begin()).key.starts_with('$'));
      if (!is_expression && value.size() > 0) {
        ALOS_ASSIGN_OR_RETURN(const std::uint32_t node, AddInner(path, parent, whole));
        ALOS_RETURN_IF_ERROR(CompileFields(value, whole, node, scope, is_projection, id));
        continue;
      }
      if (is_projection && value.IsDocument() && value.size() == 0) {
        return Error(whole, "an empty document says nothing; use 1 or 0, or {$literal: {}}");
      }
      absl::StatusOr<Expression> expression = Expression::Compile(value, scope);
      if (!expression.ok()) return Error(whole, expression.status().message());
      ALOS_ASSIGN_OR_RETURN(const std::uint32_t node, Add(path, parent, whole));
      nodes_[node].leaf = Node::Leaf::kComputed;
      nodes_[node].expression = static_cast<std::uint32_t>(expressions_.size());
      expressions_.push_back(*std::move(expression));
      has_computed_ = true;
      MarkComputed(path, parent);
    }
    return absl::OkStatus();
  }

  static absl::Status Collision(std::string_view path) {
    return Error(path, "collides with another path: one is, or lies inside, the other; give one");
  }

  // The nodes from `parent` down along `path`, and those above, have something computed below.
  void MarkComputed(const Path& path, std::uint32_t parent) {
    for (std::uint32_t node = parent;; node = parents_[node]) {
      nodes_[node].has_computed = true;
      if (node == 0) break;
    }
    for (const std::string& part : path.parts()) {
      parent = nodes_[parent].index.find(part)->second;
      nodes_[parent].has_computed = true;
    }
  }

  std::uint32_t AddChild(std::uint32_t parent, const std::string& name) {
    const auto child = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back().name = name;
    parents_.resize(nodes_.size());
    parents_[child] = parent;
    nodes_[child].ordinal = static_cast<std::uint32_t>(nodes_[parent].children.size());
    nodes_[parent].children.push_back(child);
    nodes_[parent].index.emplace(name, child);
    return child;
  }

  // A new leaf at `path`.
  absl::StatusOr<std::uint32_t> Add(const Path& path, std::uint32_t parent,
                                    std::string_view whole) {
    bool is_new = false;
    if (parent == 0 && path.parts()[0] == "_id" && index_of_id_) return Collision(whole);
    for (const std::string& part : path.parts()) {
      if (nodes_[parent].leaf != Node::Leaf::kNone) return Collision(whole);
      const auto found = nodes_[parent].index.find(part);
      is_new = found == nodes_[parent].index.end();
      parent = is_new ? AddChild(parent, part) : found->second;
    }
    if (!is_new) return Collision(whole);
    return parent;
  }

  // A node at `path` that has, or will have, children.
  absl::StatusOr<std::uint32_t> AddInner(const Path& path, std::uint32_t parent,
                                         std::string_view whole) {
    if (parent == 0 && path.parts()[0] == "_id" && index_of_id_) return Collision(whole);
    for (const std::string& part : path.parts()) {
      const auto found = nodes_[parent].index.find(part);
      parent = found == nodes_[parent].index.end() ? AddChild(parent, part) : found->second;
      if (nodes_[parent].leaf != Node::Leaf::kNone) return Collision(whole);
    }
    return parent;
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

  // Appends the computed value of a leaf under its name, if it has one.
  bool AppendComputed(const Node& node, Application& application) const {
    Operand value;
    if (!application.evaluator->Evaluate(expressions_[node.expression], application.root, &value)) {
      return false;
    }
    if (value) application.builder->Key(node.name).Raw(*value);
    return true;
  }

  // `document` may be nullptr: there is none, and computed fields make one. Recursion is bounded by
  // the depth of the tree.
  bool ApplyToDocument(const Node& node, const ValueView* document,
                       Application& application) const {
    Builder& builder = *application.builder;
    // Which computed children have been written; by their order among all children.
    absl::InlinedVector<bool, 32> done(node.has_computed ? node.children.size() : 0, false);
    const auto mark_done = [&](const Node& child) {
      if (!done.empty()) done[child.ordinal] = true;
    };
    builder.StartDocument();
    if (document != nullptr) {
      for (const auto entry : document->entries()) {
        const Node* const child = Child(node, entry.key);
        if (child == nullptr) {
          if (mode_ != Mode::kInclude) builder.Key(entry.key).Raw(entry.value);
          continue;
        }
        switch (child->leaf) {
          case Node::Leaf::kInclude:
            builder.Key(entry.key).Raw(entry.value);
            break;
          case Node::Leaf::kExclude:
            break;
          case Node::Leaf::kComputed:
            // In an inclusion it comes after what is kept.
            if (mode_ == Mode::kAdd) {
              if (!AppendComputed(*child, application)) return false;
              mark_done(*child);
            }
            break;
          case Node::Leaf::kNone:
            if (entry.value.IsDocument() || entry.value.IsArray() ||
                (child->has_computed && mode_ == Mode::kAdd)) {
              builder.Key(entry.key);
              if (!ApplyToValue(*child, entry.value, application)) return false;
              mark_done(*child);
            } else if (mode_ == Mode::kExclude) {
              builder.Key(entry.key).Raw(entry.value);
            }
            break;
        }
      }
    }
    if (node.has_computed) {
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        const Node& child = nodes_[node.children[i]];
        if (done[i] || !child.has_computed) continue;
        if (child.leaf == Node::Leaf::kComputed) {
          if (!AppendComputed(child, application)) return false;
        } else {
          builder.Key(child.name);
          if (!ApplyToDocument(child, nullptr, application)) return false;
        }
      }
    }
    builder.EndDocument();
    return true;
  }

  // Writes one value. Arrays within arrays are entered, as deep as the document nests.
  bool ApplyToValue(const Node& node, ValueView value, Application& application) const {
    if (value.IsDocument()) return ApplyToDocument(node, &value, application);
    if (!value.IsArray()) return ApplyToDocument(node, nullptr, application);
    Builder& builder = *application.builder;
    builder.StartArray();
    for (const ValueView element : value.elements()) {
      if (element.IsDocument() || element.IsArray() || node.has_computed) {
        if (!ApplyToValue(node, element, application)) return false;
      } else if (mode_ == Mode::kExclude) {
        builder.Raw(element);
      }
    }
    builder.EndArray();
    return true;
  }

  Mode mode_ = Mode::kInclude;
  std::vector<Node> nodes_;  // nodes_[0] is the root
  std::vector<std::uint32_t> parents_;
  std::vector<Expression> expressions_;
  bool has_inclusions_ = false;
  bool has_exclusions_ = false;
  bool has_computed_ = false;
  bool index_of_id_ = false;  // _id was given as 1 or 0
};

// --- One field by its path ---

// The value at `parts`, through documents only; nullopt where there is none.
inline Operand GetField(ValueView document, absl::Span<const std::string> parts) {
  for (const std::string& part : parts) {
    if (!document.IsDocument()) return std::nullopt;
    const Operand next = document.Find(part);
    if (!next) return std::nullopt;
    document = *next;
  }
  return document;
}

// Writes `document` with the field at `parts` set to `value`, or without it when there is none.
// Documents on the way are made; what is no document gives way. `base`: nullptr is {}.
// `set(builder)` writes the value; it is called at most once.
template <class Set>
void WriteWithField(const ValueView* base, absl::Span<const std::string> parts, bool has_value,
                    Set&& set, Builder* builder) {
  builder->StartDocument();
  bool found = false;
  if (base != nullptr && base->IsDocument()) {
    for (const auto entry : base->entries()) {
      if (found || entry.key != parts[0]) {
        builder->Key(entry.key).Raw(entry.value);
        continue;
      }
      found = true;
      if (parts.size() > 1) {
        if (!has_value && !entry.value.IsDocument()) {
          builder->Key(entry.key).Raw(entry.value);
          continue;
        }
        builder->Key(entry.key);
        WriteWithField(&entry.value, parts.subspan(1), has_value, set, builder);
      } else if (has_value) {
        builder->Key(entry.key);
        set(builder);
      }
    }
  }
  if (!found && has_value) {
    builder->Key(parts[0]);
    if (parts.size() == 1) {
      set(builder);
    } else {
      WriteWithField(nullptr, parts.subspan(1), has_value, set, builder);
    }
  }
  builder->EndDocument();
}

// The same for a value at hand.
inline void AppendWithField(ValueView document, const Path& path, const Operand& value,
                            std::string* out) {
  Builder builder(out);
  WriteWithField(
      &document, path.parts(), value.has_value(), [&](Builder* field) { field->Raw(*value); },
      &builder);
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_FIELD_TREE_H_
