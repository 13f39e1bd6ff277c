// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The keys of a document that no other document may have: what a unique index is about.

#ifndef ALOS_INDEX_UNIQUE_KEYS_H_
#define ALOS_INDEX_UNIQUE_KEYS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/index/index_key.h"

namespace alos {

// Two documents violate uniqueness exactly if they have a key in common. Keys are bytes; equal ones
// stand for equal values, whole documents and arrays and long strings included (unlike index keys,
// alos/index/index_key.h). They have no order. MongoDB's rules:
//
//   - a missing field counts as null; a sparse extractor gives no key where all fields are missing
//   - an array gives a key for each element: {a: [1, 2]} with "a": 1, 2; {a: []}: one of its own
//   - "a.b" with {a: [{b: 1}, {b: 2}, 3]}: 1, 2, null
//   - several paths: a key per element of the one array that they share, never a product;
//     {a: [{b: 1, c: 2}, {b: 3, c: 4}]} with "a.b", "a.c": (1, 2), (3, 4)
//   - "a.0" is the element at that position, if there is one, and whole when it is an array
//
// Threads: immutable. Lifetime: owns its paths; values given to visitors are views of the document.
// Errors: kInvalidArgument for a document with arrays at two paths that are not one and the same
// array. Cost: linear in the part of the document that the paths reach.
class UniqueKeyExtractor {
 public:
  // What a key consists of, path by path: the values; nullopt: missing, or an empty array.
  using Values = absl::Span<const std::optional<ValueView>>;
  using VisitKey = absl::FunctionRef<void(std::string_view key, Values values)>;

  static absl::StatusOr<UniqueKeyExtractor> Make(const std::vector<std::string>& paths,
                                                 bool is_sparse) {
    UniqueKeyExtractor extractor;
    extractor.is_sparse_ = is_sparse;
    for (const std::string& dotted : paths) {
      ALOS_ASSIGN_OR_RETURN(Path path, Path::Parse(dotted));
      extractor.paths_.push_back(std::move(path));
    }
    return extractor;
  }

  // Calls `visit` for each key; for one that occurs twice maybe twice.
  absl::Status Visit(ValueView document, VisitKey visit) const {
    return Expand(document, Fields(paths_.size()), visit);
  }

 private:
  static constexpr char kEmptyArray = 0x20;  // no KeyClass

  struct Field {
    std::size_t part = 0;  // the next of its path
    bool is_done = false;
    bool is_missing = false;
    bool is_empty_array = false;
    std::optional<ValueView> value;
  };
  using Fields = absl::InlinedVector<Field, 2>;

  UniqueKeyExtractor() = default;

  // Goes from `in` (nullopt: no document) along the path to its end or to the first array that has
  // to be expanded; then field->is_done is not set and the array is returned.
  static std::optional<ValueView> Walk(std::optional<ValueView> in, const Path& path,
                                       Field* field) {
    const std::size_t parts = path.parts().size();
    while (in && in->IsDocument()) {
      std::optional<ValueView> value = in->Find(path.parts()[field->part]);
      if (!value) break;
      ++field->part;
      bool by_position = false;
      while (value->IsArray() && field->part < parts && path.position(field->part)) {
        const std::optional<ValueView> element = value->At(*path.position(field->part));
        if (!element) break;
        value = element;
        by_position = true;
        ++field->part;
      }
      const bool is_end = field->part == parts;
      if (value->IsArray() && !(by_position && is_end)) return value;
      if (is_end) {
        field->value = value;
        field->is_done = true;
        return std::nullopt;
      }
      in = value;
    }
    field->is_done = field->is_missing = true;
    return std::nullopt;
  }

  // Recursion: each level has consumed a part of a path.
  absl::Status Expand(std::optional<ValueView> in, Fields fields, VisitKey visit) const {
    std::optional<ValueView> array;
    std::size_t array_path = 0;
    absl::InlinedVector<std::size_t, 2> in_array;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].is_done) continue;
      const std::optional<ValueView> found = Walk(in, paths_[i], &fields[i]);
      if (!found) continue;
      if (!array) {
        array = found;
        array_path = i;
      } else if (array->bytes().data() != found->bytes().data()) {
        return absl::InvalidArgumentError(
            absl::StrCat("a document must not have arrays at both '", paths_[array_path].ToString(),
                         "' and '", paths_[i].ToString(), "', which a unique index has together"));
      }
      in_array.push_back(i);
    }
    if (!array) {
      Emit(fields, visit);
      return absl::OkStatus();
    }
    const auto expand = [&](std::optional<ValueView> element) {
      Fields next = fields;
      for (const std::size_t i : in_array) {
        if (next[i].part != paths_[i].parts().size()) continue;
        next[i].is_done = true;
        next[i].is_empty_array = !element.has_value();
        next[i].value = element;
      }
      return Expand(element && element->IsDocument() ? element : std::nullopt, std::move(next),
                    visit);
    };
    if (array->size() == 0) return expand(std::nullopt);
    for (const ValueView element : array->elements()) ALOS_RETURN_IF_ERROR(expand(element));
    return absl::OkStatus();
  }

  void Emit(const Fields& fields, VisitKey visit) const {
    std::string key;
    absl::InlinedVector<std::optional<ValueView>, 2> values;
    std::size_t missing = 0;
    for (const Field& field : fields) {
      values.push_back(field.value);
      missing += field.is_missing ? 1 : 0;
      if (field.is_empty_array) {
        key.push_back(kEmptyArray);
      } else if (field.value) {
        AppendValue(*field.value, &key);
      } else {
        key.push_back(static_cast<char>(KeyClass::kNull));
      }
    }
    if (is_sparse_ && missing == fields.size()) return;
    visit(key, values);
  }

  static void AppendSized(std::string_view bytes, std::string* key) {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    key->append(reinterpret_cast<const char*>(&size), sizeof size);
    key->append(bytes);
  }

  // Every value says where it ends. Recursion: documents nest 100 levels at most.
  static void AppendValue(ValueView value, std::string* key) {
    const ValueType type = value.type();
    const auto key_class = static_cast<char>(KeyClassOf(type));
    switch (type) {
      case ValueType::kString:
        key->push_back(key_class);
        return AppendSized(value.AsString(), key);
      case ValueType::kBinary:
        key->push_back(key_class);
        return AppendSized(value.AsBinary(), key);
      case ValueType::kExtension:
        key->push_back(key_class);
        key->push_back(static_cast<char>(value.ExtensionType()));
        return AppendSized(value.ExtensionData(), key);
      case ValueType::kDocument:
        key->push_back(key_class);
        for (const auto& entry : value.entries()) {
          key->push_back(1);
          AppendSized(entry.key, key);
          AppendValue(entry.value, key);
        }
        key->push_back(0);
        return;
      case ValueType::kArray:
        key->push_back(key_class);
        for (const ValueView element : value.elements()) AppendValue(element, key);
        key->push_back(0);
        return;
      default:
        AppendIndexKey(value, key);
    }
  }

  std::vector<Path> paths_;
  bool is_sparse_ = false;
};

}  // namespace alos

#endif  // ALOS_INDEX_UNIQUE_KEYS_H_
