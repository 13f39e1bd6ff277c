// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What an index is of, and why there is one.

#ifndef ALOS_INDEX_INDEX_DEFINITION_H_
#define ALOS_INDEX_INDEX_DEFINITION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_join.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos {

struct IndexDefinition {
  std::uint32_t id = 0;            // in its collection; never used again
  std::vector<std::string> paths;  // dotted; several: compound
  std::vector<std::string> types;  // declared for each path, "" where none is
  bool is_automatic = false;       // made because queries asked for it; may be dropped again
  bool is_unique = false;          // no two documents have the same key
  bool is_sparse = false;          // a unique index that documents without the field do not enter
  bool is_text = false;            // $text searches this field
  std::string partial_filter;      // an encoded filter; unique only among what matches; or empty
  std::optional<std::int64_t>
      expire_after_seconds;          // documents are deleted so long after the field
  std::string reason;                // "filter", "sort", "group", "created by a client"
  std::int64_t created_seconds = 0;  // since the epoch

  // What users know it by: its paths, joined by commas.
  std::string name() const { return absl::StrJoin(paths, ","); }
};

inline void AppendIndexDefinition(const IndexDefinition& index, Builder* builder) {
  builder->StartDocument();
  builder->Key("id").Uint(index.id);
  builder->Key("paths").StartArray();
  for (const std::string& path : index.paths) builder->String(path);
  builder->EndArray();
  builder->Key("types").StartArray();
  for (const std::string& type : index.types) builder->String(type);
  builder->EndArray();
  builder->Key("automatic").Bool(index.is_automatic);
  builder->Key("unique").Bool(index.is_unique);
  builder->Key("sparse").Bool(index.is_sparse);
  builder->Key("text").Bool(index.is_text);
  if (!index.partial_filter.empty()) builder->Key("partial_filter").Binary(index.partial_filter);
  if (index.expire_after_seconds)
    builder->Key("expire_after_seconds").Int(*index.expire_after_seconds);
  builder->Key("reason").String(index.reason);
  builder->Key("created").Int(index.created_seconds);
  builder->EndDocument();
}

// nullopt when `value` was not written by AppendIndexDefinition.
inline std::optional<IndexDefinition> ParseIndexDefinition(ValueView value) {
  IndexDefinition index;
  const auto strings = [&](std::string_view key, std::vector<std::string>* out) {
    const std::optional<ValueView> list = value.Find(key);
    if (!list || !list->IsArray()) return false;
    for (const ValueView element : list->elements()) {
      if (!element.IsString()) return false;
      out->emplace_back(element.AsString());
    }
    return true;
  };
  const auto flag = [&](std::string_view key) {
    const std::optional<ValueView> found = value.Find(key);
    return found && found->IsBool() && found->AsBool();
  };
  const std::optional<ValueView> id = value.Find("id");
  if (!id || id->type() != ValueType::kInt64 || !strings("paths", &index.paths) ||
      !strings("types", &index.types) || index.paths.empty()) {
    return std::nullopt;
  }
  index.id = static_cast<std::uint32_t>(id->AsInt64());
  index.is_automatic = flag("automatic");
  index.is_unique = flag("unique");
  index.is_sparse = flag("sparse");
  index.is_text = flag("text");
  if (const std::optional<ValueView> filter = value.Find("partial_filter");
      filter && filter->type() == ValueType::kBinary) {
    index.partial_filter = std::string(filter->AsBinary());
  }
  if (const std::optional<ValueView> seconds = value.Find("expire_after_seconds"))
    index.expire_after_seconds = seconds->ToInt64();
  if (const std::optional<ValueView> reason = value.Find("reason"); reason && reason->IsString())
    index.reason = std::string(reason->AsString());
  if (const std::optional<ValueView> created = value.Find("created"))
    index.created_seconds = created->ToInt64().value_or(0);
  return index;
}

}  // namespace alos

#endif  // ALOS_INDEX_INDEX_DEFINITION_H_
