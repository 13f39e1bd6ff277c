// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Which `_id` a record gets.

#ifndef ALOS_TOOLS_IMPORT_IDENTITY_H_
#define ALOS_TOOLS_IMPORT_IDENTITY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "tools/import/records.h"

namespace alos::import {

struct IdentityOptions {
  std::string id_field = {};    // this field's value becomes `_id`
  bool number_records = false;  // the record's number in the file becomes `_id`
};

// Gives `record` an `_id`: its own, the value of id_field, its number, or a new one; in front of
// its other fields, which keep their bytes. Every record has one afterwards, so that it can be
// asked for when it is not known whether it arrived.
//
// Threads: any. Errors: kInvalidArgument for an `_id` the database would refuse, for a record
// without id_field, and for one that has an `_id` of its own where another was asked for.
inline absl::Status GiveIdentity(const IdentityOptions& options, Record* record) {
  const ValueView document = ValueView::FromTrusted(record->document);
  const std::optional<ValueView> own = document.Find("_id");
  std::string id;
  Builder id_builder(&id);
  if (!options.id_field.empty()) {
    const std::optional<ValueView> field = document.Find(options.id_field);
    if (!field.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the record has no field \"", options.id_field, "\" to be its _id"));
    }
    id_builder.Raw(*field);
  } else if (options.number_records) {
    id_builder.Uint(record->number);
  } else if (own.has_value()) {
    return EncodeId(*own).status();
  } else {
    id_builder.String(NewId());
  }
  if (own.has_value()) {
    if (options.id_field == "_id") return EncodeId(*own).status();
    return absl::InvalidArgumentError(
        "the record has an _id of its own; leave --id-field and --number-ids out to keep it");
  }
  ALOS_RETURN_IF_ERROR(EncodeId(ValueView::FromTrusted(id)).status());
  std::string identified;
  identified.reserve(record->document.size() + id.size() + 8);
  Builder builder(&identified);
  builder.StartDocument(document.size() + 1);
  builder.Key("_id").Raw(ValueView::FromTrusted(id));
  for (const auto& [key, value] : document.entries()) builder.Key(key).Raw(value);
  builder.EndDocument();
  record->document = std::move(identified);
  return absl::OkStatus();
}

}  // namespace alos::import

#endif  // ALOS_TOOLS_IMPORT_IDENTITY_H_
