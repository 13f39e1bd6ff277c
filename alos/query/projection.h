// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Projections: which fields of a document are shown.

#ifndef ALOS_QUERY_PROJECTION_H_
#define ALOS_QUERY_PROJECTION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"

namespace alos {

// A compiled projection, of MongoDB's two kinds:
//
//   {name: 1, "address.city": 1}   shows only these, and `_id`
//   {password: 0, "log.debug": 0}  shows all but these
//
// `_id` is shown unless excluded, and may be excluded beside included fields. Fields come in the
// document's order. A dotted path goes through arrays: it applies to each document in them; an
// inclusion drops the other elements, an exclusion keeps them. Parts of a path name fields, never
// positions. {a: {b: 1}} is the same as {"a.b": 1}. Computed fields are not supported yet and
// refused by name.
//
// Threads: immutable; any number of threads may use one at once.
// Lifetime: owns all it needs.
// Durability: none.
// Errors: Compile and FromFields return kInvalidArgument naming the field. Apply cannot fail.
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

  static absl::StatusOr<Projection> Compile(ValueView specification) {
    if (!specification.IsDocument()) {
      return absl::InvalidArgumentError(
          absl::StrCat("projection: needs a document such as {name: 1}, not ",
                       query_internal::Describe(specification)));
    }
    Projection projection;
    std::optional<bool> id;
    std::optional<bool> inclusion;
    ALOS_RETURN_IF_ERROR(projection.CompileFields(specification, "", &id, &inclusion));
    if (id.has_value() && projection.NamesFieldsOfId()) return Collision("_id");
    projection.has_fields_ = id.has_value() || inclusion.has_value();
    // {_id: 1} alone shows only the id; {_id: 0} alone all but it.
    projection.shows_named_ = inclusion.value_or(id.value_or(false));
    const bool id_is_named = projection.shows_named_ ? id.value_or(true) : !id.value_or(true);
    if (projection.has_fields_ && id_is_named && !projection.NamesFieldsOfId()) {
      projection.AddLenient(*Path::Parse("_id"));
    }
    return projection;
  }

  // True when Apply copies the document as it is.
  bool shows_everything() const { return !has_fields_; }

  // Appends what is shown of `document`. REQUIRES: a document whose bytes are not in *out.
  void Apply(ValueView document, std::string* out) const {
    if (!has_fields_) {
      out->append(document.bytes());
      return;
    }
    Builder builder(out);
    ApplyToDocument(nodes_[0], document, &builder);
  }

 private:
  // A node without children names a whole field: shown or hidden.
  struct Node {
    std::string name;
    std::vector<std::uint32_t> children;
    absl::flat_hash_map<std::string, std::uint32_t> index;  // The children by name.
  };

  static absl::Status Error(std::string_view path, std::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("projection at '", query_internal::DescribeText(path), "': ", what));
  }

  static absl::Status Collision(std::string_view path) {
    return Error(path, "collides with another path: one is, or lies inside, the other; give one");
  }

  absl::Status CompileFields(ValueView fields, std::string_view prefix, std::optional<bool>* id,
                             std::optional<bool>* inclusion) {
    for (const auto entry : fields.entries()) {
      const std::string path =
          prefix.empty() ? std::string(entry.key) : absl::StrCat(prefix, ".", entry.key);
      if (entry.key.starts_with('$') && !prefix.empty()) {
        return Error(path, absl::StrCat("the expression ", query_internal::DescribeText(entry.key),
                                        " is not supported yet; only fields to show (1) or hide "
                                        "(0)"));
      }
      absl::StatusOr<Path> parsed = query_internal::ParseFieldPath(path);
      if (!parsed.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("projection: ", parsed.status().message()));
      }
      if (entry.value.IsDocument()) {
        if (entry.value.size() == 0)
          return Error(path, "an empty document says nothing; use 1 or 0");
        // Nesting is bounded by the number of parts that a path may have.
        ALOS_RETURN_IF_ERROR(CompileFields(entry.value, path, id, inclusion));
        continue;
      }
      if (entry.value.type() != ValueType::kBool && !entry.value.IsNumber()) {
        return Error(path, absl::StrCat("computed fields are not supported yet: ",
                                        query_internal::Describe(entry.value),
                                        "; use 1 to show a field or 0 to hide it"));
      }
      const bool shown = entry.value.type() == ValueType::kBool ? entry.value.AsBool()
                                                                : entry.value.AsDouble() != 0;
      if (path == "_id") {
        *id = shown;
        continue;
      }
      if (inclusion->has_value() && **inclusion != shown) {
        return Error(path, shown ? "a field to show among fields to hide; give one kind (only _id "
                                   "may differ)"
                                 : "a field to hide among fields to show; give one kind (only _id "
                                   "may differ)");
      }
      *inclusion = shown;
      if (!Add(*parsed)) {
        return Collision(path);
      }
    }
    return absl::OkStatus();
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

  // False when the path is there already, lies inside one that is, or the other way round.
  bool Add(const Path& path) {
    std::uint32_t current = 0;
    bool is_new = false;
    for (const std::string& part : path.parts()) {
      const std::optional<std::uint32_t> child = Find(current, part);
      is_new = !child.has_value();
      if (is_new) {
        current = AddChild(current, part);
      } else {
        current = *child;
        if (nodes_[current].children.empty()) return false;
      }
    }
    return is_new;
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
  void ApplyToDocument(const Node& node, ValueView document, Builder* builder) const {
    builder->StartDocument();
    for (const auto entry : document.entries()) {
      const Node* child = Child(node, entry.key);
      if (child == nullptr) {
        if (!shows_named_) builder->Key(entry.key).Raw(entry.value);
      } else if (child->children.empty()) {
        if (shows_named_) builder->Key(entry.key).Raw(entry.value);
      } else if (entry.value.IsDocument()) {
        builder->Key(entry.key);
        ApplyToDocument(*child, entry.value, builder);
      } else if (entry.value.IsArray()) {
        builder->Key(entry.key);
        ApplyToArray(*child, entry.value, builder);
      } else if (!shows_named_) {
        builder->Key(entry.key).Raw(entry.value);
      }
    }
    builder->EndDocument();
  }

  void ApplyToArray(const Node& node, ValueView array, Builder* builder) const {
    builder->StartArray();
    for (const ValueView element : array.elements()) {
      if (element.IsDocument()) {
        ApplyToDocument(node, element, builder);
      } else if (element.IsArray()) {
        ApplyToArray(node, element, builder);
      } else if (!shows_named_) {
        builder->Raw(element);
      }
    }
    builder->EndArray();
  }

  bool has_fields_ = false;
  bool shows_named_ = false;  // The tree names what is shown; else what is hidden.
  std::vector<Node> nodes_;   // nodes_[0] is the root.
};

}  // namespace alos

#endif  // ALOS_QUERY_PROJECTION_H_
