// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Sort orders over documents.

#ifndef ALOS_QUERY_SORT_H_
#define ALOS_QUERY_SORT_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/document/compare.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"

namespace alos {

// A compiled sort specification: {age: -1, "name.last": 1}, 1 ascending, -1 descending; the first
// field decides, the next ones break ties.
//
// Values of different types are ordered as alos::Compare orders them. A missing field counts as
// null. An array counts as its least element where the order is ascending and as its greatest where
// it is descending, each field by itself; an empty array comes before null. A path goes through
// arrays: "a.b" collects `b` of each document in the array `a`, and null for other elements.
//
// Threads: immutable; any number of threads may use one at once.
// Lifetime: owns all it needs. A Key views the document it was extracted from.
// Durability: none.
// Errors: Compile returns kInvalidArgument naming the field and what was expected.
// Cost: ExtractKey walks each path once and does not allocate for up to two fields. Sorting many
//   documents: extract each one's key once and compare the keys.
class Sort {
 public:
  static constexpr std::size_t kFieldsMax = 32;

  // What a document is ordered by: one value per field of the specification.
  class Key {
   public:
    Key() = default;

    // Memory beyond the object itself.
    std::size_t heap_bytes() const {
      return parts_.size() <= kInlineParts ? 0 : parts_.capacity() * sizeof(Part);
    }

   private:
    friend class Sort;
    static constexpr std::size_t kInlineParts = 2;
    struct Part {
      bool lowest = false;  // An empty array: before everything else.
      ValueView value;
    };
    absl::InlinedVector<Part, kInlineParts> parts_;
  };

  // No fields: all documents are equal.
  Sort() = default;

  static absl::StatusOr<Sort> Compile(ValueView specification) {
    if (!specification.IsDocument()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sort: needs a document such as {age: 1, name: -1}, not ",
                       query_internal::Describe(specification)));
    }
    if (specification.size() > kFieldsMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("sort: ", specification.size(), " fields given; at most ", kFieldsMax));
    }
    Sort sort;
    for (const auto entry : specification.entries()) {
      absl::StatusOr<Path> path = query_internal::ParseFieldPath(entry.key);
      if (!path.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("sort: ", path.status().message()));
      }
      const std::optional<std::int64_t> direction = entry.value.ToInt64();
      if (direction != 1 && direction != -1) {
        const bool is_meta = entry.value.IsDocument() && entry.value.Find("$meta").has_value();
        return absl::InvalidArgumentError(
            is_meta ? absl::StrCat("sort: $meta at '", query_internal::DescribeText(entry.key),
                                   "' is not supported yet")
                    : absl::StrCat("sort: the direction must be 1 (ascending) or -1 (descending), "
                                   "not ",
                                   query_internal::DescribeField(entry.key, entry.value)));
      }
      sort.fields_.push_back(Field{*std::move(path), *direction > 0});
    }
    return sort;
  }

  bool empty() const { return fields_.empty(); }

  // The fields of the specification, in its order.
  std::size_t size() const { return fields_.size(); }
  const Path& path(std::size_t field) const { return fields_[field].path; }
  bool is_ascending(std::size_t field) const { return fields_[field].ascending; }

  // The key views `document`, which must stay where it is as long as the key is used.
  Key ExtractKey(ValueView document) const {
    Key key;
    key.parts_.reserve(fields_.size());
    for (const Field& field : fields_) key.parts_.push_back(Extract(field, document));
    return key;
  }

  // REQUIRES: both keys were extracted by this sort.
  std::weak_ordering Compare(const Key& a, const Key& b) const {
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const std::weak_ordering order = ComparePart(a.parts_[i], b.parts_[i]);
      if (order != 0) return fields_[i].ascending ? order : 0 <=> order;
    }
    return std::weak_ordering::equivalent;
  }
  bool Less(const Key& a, const Key& b) const { return Compare(a, b) < 0; }

  // For two documents at hand.
  std::weak_ordering Compare(ValueView a, ValueView b) const {
    for (const Field& field : fields_) {
      const std::weak_ordering order = ComparePart(Extract(field, a), Extract(field, b));
      if (order != 0) return field.ascending ? order : 0 <=> order;
    }
    return std::weak_ordering::equivalent;
  }
  bool Less(ValueView a, ValueView b) const { return Compare(a, b) < 0; }

 private:
  struct Field {
    Path path;
    bool ascending = true;
  };

  static std::weak_ordering ComparePart(const Key::Part& a, const Key::Part& b) {
    if (a.lowest || b.lowest) return b.lowest <=> a.lowest;
    return alos::Compare(a.value, b.value);
  }

  // The extreme of the values seen so far.
  struct Extreme {
    bool ascending;
    bool any = false;
    Key::Part part;

    void Add(const Key::Part& candidate) {
      if (any) {
        const std::weak_ordering order = ComparePart(candidate, part);
        if (ascending ? order >= 0 : order <= 0) return;
      }
      part = candidate;
      any = true;
    }
  };

  static Key::Part Extract(const Field& field, ValueView document) {
    Extreme extreme{field.ascending, false, {}};
    Collect(document, field.path, 0, &extreme);
    return extreme.part;
  }

  // Adds what the parts of `path` from `index` on denote in `value`. Bounded by the number of
  // parts.
  static void Collect(ValueView value, const Path& path, std::size_t index, Extreme* extreme) {
    if (index == path.parts().size()) {
      if (!value.IsArray()) return extreme->Add(Key::Part{false, value});
      if (value.size() == 0) return extreme->Add(Key::Part{true, ValueView()});
      for (const ValueView element : value.elements()) extreme->Add(Key::Part{false, element});
      return;
    }
    if (!value.IsArray()) {
      const std::optional<ValueView> found = value.Find(path.parts()[index]);
      if (!found.has_value()) return extreme->Add(Key::Part());
      return Collect(*found, path, index + 1, extreme);
    }
    if (path.position(index).has_value()) {
      // A position addresses the element itself, if there is one.
      const std::optional<ValueView> element = value.At(*path.position(index));
      if (element.has_value()) return Collect(*element, path, index + 1, extreme);
    }
    if (value.size() == 0) return extreme->Add(Key::Part());
    for (const ValueView element : value.elements()) {
      if (element.IsDocument()) {
        Collect(element, path, index, extreme);
      } else {
        extreme->Add(Key::Part());
      }
    }
  }

  std::vector<Field> fields_;
};

}  // namespace alos

#endif  // ALOS_QUERY_SORT_H_
