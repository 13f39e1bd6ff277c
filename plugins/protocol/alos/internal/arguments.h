// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Reading the `args` of a request: each accessor either returns a value of the right type or an
// error that names the operation, the field and what was expected.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_ARGUMENTS_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_ARGUMENTS_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/net/message.h"

namespace alos::protocol_internal {

// Threads: one. Lifetime: views into the request. Cost: one pass over the fields for each accessor.
class Arguments {
 public:
  // Errors: kInvalidArgument unless `args` is a document.
  static absl::StatusOr<Arguments> Of(Operation operation, ValueView args) {
    if (!args.IsDocument()) {
      return absl::InvalidArgumentError(absl::StrCat(OperationName(operation),
                                                     ": field 'args' must be an object, not ",
                                                     TypeName(args.type())));
    }
    return Arguments(operation, args);
  }

  ValueView value() const { return args_; }

  // A field that must be there; any type.
  absl::StatusOr<ValueView> Required(std::string_view field) const {
    const std::optional<ValueView> found = args_.Find(field);
    if (!found.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(OperationName(operation_), ": field '", field, "' is missing"));
    }
    return *found;
  }

  absl::StatusOr<ValueView> Document(std::string_view field) const {
    return Typed(field, ValueType::kDocument, "an object");
  }
  absl::StatusOr<ValueView> Array(std::string_view field) const {
    return Typed(field, ValueType::kArray, "an array");
  }
  absl::StatusOr<ValueView> DocumentOrArray(std::string_view field) const {
    ALOS_ASSIGN_OR_RETURN(const ValueView value, Required(field));
    if (value.IsDocument() || value.IsArray()) return value;
    return WrongType(field, "an object or an array", value);
  }
  absl::StatusOr<std::string_view> String(std::string_view field) const {
    ALOS_ASSIGN_OR_RETURN(const ValueView value, Typed(field, ValueType::kString, "a string"));
    return value.AsString();
  }
  absl::StatusOr<std::string_view> Binary(std::string_view field) const {
    ALOS_ASSIGN_OR_RETURN(const ValueView value, Typed(field, ValueType::kBinary, "binary data"));
    return value.AsBinary();
  }

  // As the above, but absent (or nil) is "" or 0.
  absl::StatusOr<std::string_view> OptionalBinary(std::string_view field) const {
    if (IsAbsent(field)) return std::string_view();
    return Binary(field);
  }
  absl::StatusOr<std::uint64_t> OptionalCount(std::string_view field) const {
    if (IsAbsent(field)) return 0;
    const ValueView value = *args_.Find(field);
    const std::optional<std::int64_t> number = value.ToInt64();
    if (!number.has_value() || *number < 0) {
      return WrongType(field, "a whole number, 0 or more", value);
    }
    return static_cast<std::uint64_t>(*number);
  }
  absl::StatusOr<std::string_view> OptionalString(std::string_view field) const {
    if (IsAbsent(field)) return std::string_view();
    return String(field);
  }
  absl::StatusOr<bool> OptionalBool(std::string_view field) const {
    if (IsAbsent(field)) return false;
    ALOS_ASSIGN_OR_RETURN(const ValueView value, Typed(field, ValueType::kBool, "true or false"));
    return value.AsBool();
  }
  absl::StatusOr<std::optional<ValueView>> OptionalDocument(std::string_view field) const {
    if (IsAbsent(field)) return std::optional<ValueView>();
    ALOS_ASSIGN_OR_RETURN(const ValueView value, Document(field));
    return std::optional<ValueView>(value);
  }
  // Absent (or nil) is nullopt.
  std::optional<ValueView> Optional(std::string_view field) const {
    return IsAbsent(field) ? std::nullopt : args_.Find(field);
  }
  // An array of strings; absent is empty.
  absl::StatusOr<std::vector<std::string>> OptionalStrings(std::string_view field) const {
    std::vector<std::string> strings;
    if (IsAbsent(field)) return strings;
    const ValueView value = *args_.Find(field);
    if (!value.IsArray()) return WrongType(field, "an array of strings", value);
    strings.reserve(value.size());
    for (const ValueView element : value.elements()) {
      if (!element.IsString()) return WrongType(field, "an array of strings", element);
      strings.emplace_back(element.AsString());
    }
    return strings;
  }

  // An error about a field.
  absl::Status Wrong(std::string_view field, std::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(OperationName(operation_), ": field '", field, "' ", what));
  }

 private:
  Arguments(Operation operation, ValueView args) : operation_(operation), args_(args) {}

  bool IsAbsent(std::string_view field) const {
    const std::optional<ValueView> found = args_.Find(field);
    return !found.has_value() || found->IsNull();
  }
  absl::Status WrongType(std::string_view field, std::string_view expected, ValueView value) const {
    return absl::InvalidArgumentError(absl::StrCat(OperationName(operation_), ": field '", field,
                                                   "' must be ", expected, ", not ",
                                                   TypeName(value.type())));
  }
  absl::StatusOr<ValueView> Typed(std::string_view field, ValueType type,
                                  std::string_view expected) const {
    ALOS_ASSIGN_OR_RETURN(const ValueView value, Required(field));
    if (value.type() != type) return WrongType(field, expected, value);
    return value;
  }

  Operation operation_;
  ValueView args_;
};

}  // namespace alos::protocol_internal

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_ARGUMENTS_H_
