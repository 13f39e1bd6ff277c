// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What CreateIndex is asked for, and how the documents fit the types that it declares.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_INDEX_ARGUMENTS_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_INDEX_ARGUMENTS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/index/index_definition.h"
#include "alos/query/filter.h"
#include "plugins/protocol/alos/internal/arguments.h"

namespace alos::protocol_internal {

// The names that the protocol has for types of values.
inline constexpr std::string_view kDeclaredTypes[] = {"string",  "integer", "float",
                                                      "boolean", "time",    "bytes"};

inline std::string_view DeclaredTypeOf(ValueView value) {
  switch (value.type()) {
    case ValueType::kString:
      return "string";
    case ValueType::kInt64:
    case ValueType::kUint64:
      return "integer";
    case ValueType::kDouble:
      return "float";
    case ValueType::kBool:
      return "boolean";
    case ValueType::kTimestamp:
      return "time";
    case ValueType::kBinary:
      return "bytes";
    default:
      return TypeName(value.type());
  }
}

// {field, value_type?} or {fields: [{name, value_type?}]}, unique?, sparse?, partial_filter?,
// expire_after_seconds?, text?
inline absl::StatusOr<IndexDefinition> ReadIndexDefinition(const Arguments& arguments) {
  IndexDefinition index;
  const auto add = [&](std::string_view path, std::string_view type) -> absl::Status {
    if (path.empty()) return arguments.Wrong("field", "must not be empty");
    if (!type.empty() && std::find(std::begin(kDeclaredTypes), std::end(kDeclaredTypes), type) ==
                             std::end(kDeclaredTypes)) {
      return arguments.Wrong(
          "value_type",
          absl::StrCat("is one of ", absl::StrJoin(kDeclaredTypes, ", "), ", not '", type, "'"));
    }
    index.paths.emplace_back(path);
    index.types.emplace_back(type);
    return absl::OkStatus();
  };
  const std::optional<ValueView> fields = arguments.Optional("fields");
  if (fields && !fields->IsArray()) return arguments.Array("fields").status();
  if (fields && fields->size() != 0) {
    for (const ValueView field : fields->elements()) {
      if (field.IsString()) {
        ALOS_RETURN_IF_ERROR(add(field.AsString(), ""));
        continue;
      }
      const std::optional<ValueView> name =
          field.IsDocument() ? field.Find("name") : std::optional<ValueView>();
      if (!name || !name->IsString())
        return arguments.Wrong("fields", "must hold objects with a string 'name'");
      const std::optional<ValueView> type = field.Find("value_type");
      if (type && !type->IsNull() && !type->IsString())
        return arguments.Wrong("value_type", "must be a string");
      ALOS_RETURN_IF_ERROR(
          add(name->AsString(), type && type->IsString() ? type->AsString() : std::string_view()));
    }
  } else {
    ALOS_ASSIGN_OR_RETURN(const std::string_view field, arguments.String("field"));
    ALOS_ASSIGN_OR_RETURN(const std::string_view type, arguments.OptionalString("value_type"));
    ALOS_RETURN_IF_ERROR(add(field, type));
  }
  ALOS_ASSIGN_OR_RETURN(index.is_unique, arguments.OptionalBool("unique"));
  ALOS_ASSIGN_OR_RETURN(index.is_sparse, arguments.OptionalBool("sparse"));
  ALOS_ASSIGN_OR_RETURN(index.is_text, arguments.OptionalBool("text"));
  ALOS_ASSIGN_OR_RETURN(const std::optional<ValueView> partial,
                        arguments.OptionalDocument("partial_filter"));
  if (partial) {
    const absl::StatusOr<Filter> filter = Filter::Compile(*partial);
    if (!filter.ok()) return arguments.Wrong("partial_filter", filter.status().message());
    index.partial_filter = std::string(partial->bytes());
  }
  if (arguments.Optional("expire_after_seconds")) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t seconds,
                          arguments.OptionalCount("expire_after_seconds"));
    index.expire_after_seconds = static_cast<std::int64_t>(seconds);
    if (index.paths.size() != 1)
      return arguments.Wrong("expire_after_seconds", "needs an index of one field");
  }
  index.reason = "created by a client";
  return index;
}

// Compares documents with the types that an index declares. A document counts as indexed when it
// has all fields and each has its type, as skipped when one has another type; a field that is
// missing is neither. Elements of an array are compared, not the array. Any number is a float.
//
// Threads: one. Cost: a lookup for each field.
class TypeCheck {
 public:
  static constexpr std::size_t kIssuesMax = 100;

  static absl::StatusOr<TypeCheck> Of(const IndexDefinition& index) {
    TypeCheck check;
    for (std::size_t i = 0; i < index.paths.size(); ++i) {
      ALOS_ASSIGN_OR_RETURN(Path path, Path::Parse(index.paths[i]));
      check.fields_.push_back({std::move(path), index.paths[i], index.types[i]});
    }
    return check;
  }

  // A type is declared: documents have to be compared with it.
  bool needs_documents() const {
    return std::any_of(fields_.begin(), fields_.end(),
                       [](const Field& field) { return !field.type.empty(); });
  }
  // In place of Add.
  void set_indexed(std::uint64_t documents) { indexed_ = documents; }

  void Add(ValueView document) {
    bool is_whole = true;
    bool fits = true;
    for (const Field& field : fields_) {
      bool is_there = false;
      std::optional<std::string_view> other;
      Look(field, document, 0, &is_there, &other);
      is_whole = is_whole && is_there;
      if (!other) continue;
      fits = false;
      if (issues_.size() < kIssuesMax) {
        const std::optional<ValueView> id = document.Find("_id");
        issues_.push_back({position_, id ? std::string(id->bytes()) : std::string("\xc0"),
                           field.name, field.type, std::string(*other)});
      } else {
        is_truncated_ = true;
      }
    }
    ++position_;
    if (!fits) {
      ++skipped_;
    } else if (is_whole) {
      ++indexed_;
    }
  }

  // {indexed, skipped, issues: [{position, id, field, expected, actual}], truncated}
  void Append(Builder* builder) const {
    builder->StartDocument();
    builder->Key("indexed").Uint(indexed_);
    builder->Key("skipped").Uint(skipped_);
    builder->Key("issues").StartArray();
    for (const Issue& issue : issues_) {
      builder->StartDocument();
      builder->Key("position").Uint(issue.position);
      builder->Key("id").Raw(ValueView::FromTrusted(issue.id));
      builder->Key("field").String(issue.field);
      builder->Key("expected").String(issue.expected);
      builder->Key("actual").String(issue.actual);
      builder->EndDocument();
    }
    builder->EndArray();
    builder->Key("truncated").Bool(is_truncated_);
    builder->EndDocument();
  }

 private:
  struct Field {
    Path path;
    std::string name;
    std::string type;  // "": any
  };
  struct Issue {
    std::uint64_t position;
    std::string id;
    std::string field;
    std::string expected;
    std::string actual;
  };

  // Bounded by the number of parts of the path and the nesting of the document.
  static void Look(const Field& field, ValueView value, std::size_t part, bool* is_there,
                   std::optional<std::string_view>* other) {
    if (value.IsArray()) {
      if (part < field.path.parts().size()) {
        if (const std::optional<std::size_t> position = field.path.position(part)) {
          if (const std::optional<ValueView> element = value.At(*position))
            Look(field, *element, part + 1, is_there, other);
        }
      }
      for (const ValueView element : value.elements()) {
        if (part == field.path.parts().size() && element.IsArray()) {
          Compare(field, element, is_there, other);
        } else if (part == field.path.parts().size() || element.IsDocument()) {
          Look(field, element, part, is_there, other);
        }
      }
      return;
    }
    if (part == field.path.parts().size()) return Compare(field, value, is_there, other);
    if (!value.IsDocument()) return;
    if (const std::optional<ValueView> found = value.Find(field.path.parts()[part]))
      Look(field, *found, part + 1, is_there, other);
  }

  static void Compare(const Field& field, ValueView value, bool* is_there,
                      std::optional<std::string_view>* other) {
    *is_there = true;
    const std::string_view type = DeclaredTypeOf(value);
    if (field.type.empty() || type == field.type || (field.type == "float" && type == "integer"))
      return;
    if (!*other) *other = type;
  }

  std::vector<Field> fields_;
  std::vector<Issue> issues_;
  std::uint64_t position_ = 0;
  std::uint64_t indexed_ = 0;
  std::uint64_t skipped_ = 0;
  bool is_truncated_ = false;
};

}  // namespace alos::protocol_internal

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_INDEX_ARGUMENTS_H_
