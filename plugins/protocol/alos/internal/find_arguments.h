// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What may stand beside the query of a find, a count, an update, a delete or a pipeline: sort,
// skip, limit, projection, hint, collation, explain.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_FIND_ARGUMENTS_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_FIND_ARGUMENTS_H_

#include <cstdint>
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
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/engine/explain.h"
#include "alos/engine/results.h"
#include "alos/query/expression.h"
#include "alos/query/filter.h"
#include "alos/query/projection.h"
#include "alos/query/sort.h"
#include "plugins/protocol/alos/internal/arguments.h"

namespace alos::protocol_internal {

// What goes for every operation with a query.
struct QueryArguments {
  bool explain = false;
  std::string hint;         // the name of an index, or ""
  bool force_scan = false;  // {$natural: 1}
  std::optional<std::uint64_t> read_timestamp;
};

// `read_timestamp`: a state of the past (ReadTS).
inline absl::StatusOr<std::optional<std::uint64_t>> ReadTimestampArgument(
    const Arguments& arguments) {
  if (!arguments.Optional("read_timestamp")) return std::optional<std::uint64_t>();
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, arguments.OptionalCount("read_timestamp"));
  return std::optional<std::uint64_t>(timestamp);
}

// `hint` is the name of an index, its key as a document {a: 1, b: 1}, or {$natural: 1}.
inline absl::StatusOr<QueryArguments> ReadQueryArguments(const Arguments& arguments) {
  QueryArguments query;
  ALOS_ASSIGN_OR_RETURN(query.explain, arguments.OptionalBool("explain"));
  ALOS_ASSIGN_OR_RETURN(query.read_timestamp, ReadTimestampArgument(arguments));
  if (const std::optional<ValueView> hint = arguments.Optional("hint")) {
    if (hint->IsString()) {
      query.hint = std::string(hint->AsString());
    } else if (hint->IsDocument() && hint->size() != 0) {
      for (const auto [key, value] : hint->entries()) {
        if (key == "$natural") {
          if (hint->size() != 1 || value.ToInt64() != 1)
            return arguments.Wrong("hint", "with $natural must be {$natural: 1}");
          query.force_scan = true;
        } else {
          absl::StrAppend(&query.hint, query.hint.empty() ? "" : ",", key);
        }
      }
    } else {
      return arguments.Wrong("hint", "must be the name of an index, or {$natural: 1} for none");
    }
  }
  ALOS_ASSIGN_OR_RETURN(const std::optional<ValueView> collation,
                        arguments.OptionalDocument("collation"));
  if (collation) {
    const std::optional<ValueView> locale = collation->Find("locale");
    if (!locale || !locale->IsString() || locale->AsString() != "simple" ||
        collation->size() != 1) {
      return arguments.Wrong(
          "collation",
          "must be {locale: \"simple\"}: strings are compared byte by byte; for matches without "
          "regard to case use $regex with $options \"i\"");
    }
  }
  return query;
}

// What goes for finds besides. Movable; `filter` and `sort` are referred to by Query().
struct FindArguments {
  QueryArguments query;
  Filter filter;
  std::optional<Sort> sort;
  std::optional<Projection> projection;  // nullopt: whole documents
  std::unique_ptr<EvaluationState> state;
  std::uint64_t skip = 0;
  std::uint64_t limit = 0;

  FindQuery Query(Explain* explain) const {
    FindQuery find;
    find.filter = &filter;
    find.sort = sort ? &*sort : nullptr;
    find.skip = skip;
    find.limit = limit;
    find.hint = query.hint;
    find.force_scan = query.force_scan;
    find.explain = query.explain ? explain : nullptr;
    find.read_timestamp = query.read_timestamp;
    return find;
  }

  // Appends what is shown of a document.
  absl::Status Append(ValueView document, std::string* out) const {
    if (projection.has_value()) return projection->Apply(document, out, state.get());
    out->append(document.bytes());
    return absl::OkStatus();
  }
};

// `sort`: {a: 1, b: -1}, or, for clients whose maps have no order, [{a: 1}, {b: -1}].
inline absl::StatusOr<std::optional<Sort>> ReadSort(const Arguments& arguments) {
  const std::optional<ValueView> value = arguments.Optional("sort");
  if (!value) return std::optional<Sort>();
  std::string joined;
  ValueView specification = *value;
  if (value->IsArray()) {
    Builder builder(&joined);
    builder.StartDocument();
    for (const ValueView element : value->elements()) {
      if (!element.IsDocument() || element.size() != 1)
        return arguments.Wrong("sort", "as an array must hold objects with one field each");
      const auto [key, direction] = *element.entries().begin();
      builder.Key(key).Raw(direction);
    }
    builder.EndDocument();
    ALOS_ASSIGN_OR_RETURN(specification, ValueView::Parse(joined));
  }
  ALOS_ASSIGN_OR_RETURN(Sort sort, Sort::Compile(specification));
  if (sort.empty()) return std::optional<Sort>();
  return std::optional<Sort>(std::move(sort));
}

// All but the filter, which `find` has.
inline absl::Status ReadFindArguments(const Arguments& arguments, FindArguments* find) {
  ALOS_ASSIGN_OR_RETURN(find->query, ReadQueryArguments(arguments));
  ALOS_ASSIGN_OR_RETURN(find->sort, ReadSort(arguments));
  ALOS_ASSIGN_OR_RETURN(find->skip, arguments.OptionalCount("skip"));
  ALOS_ASSIGN_OR_RETURN(find->limit, arguments.OptionalCount("limit"));
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> fields, arguments.OptionalStrings("fields"));
  ALOS_ASSIGN_OR_RETURN(const std::optional<ValueView> projection,
                        arguments.OptionalDocument("projection"));
  if (projection) {
    if (!fields.empty())
      return arguments.Wrong("projection", "cannot stand beside 'fields': give one of them");
    ALOS_ASSIGN_OR_RETURN(find->projection, Projection::Compile(*projection, &find->filter));
    find->state = find->projection->NewState();
  } else if (!fields.empty()) {
    ALOS_ASSIGN_OR_RETURN(find->projection, Projection::FromFields(fields));
  }
  return absl::OkStatus();
}

}  // namespace alos::protocol_internal

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_FIND_ARGUMENTS_H_
