// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What an index of a path, or of several, holds of a document: the keys of the values that filters
// test there (alos/query/internal/filter_program.h), no more and no less.

#ifndef ALOS_INDEX_KEY_EXTRACTOR_H_
#define ALOS_INDEX_KEY_EXTRACTOR_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/index/column.h"
#include "alos/index/column_builder.h"
#include "alos/index/index_key.h"

namespace alos {

// Of a document with arrays at several of its paths at most this many tuples are indexed.
inline constexpr std::size_t kTuplesPerRowMax = 1000;

// Turns documents into rows of a column.
//
// One path: an entry for each value that VisitPath visits.
//   - missing: kMissingCode. {a: 5} with "a.b"
//   - an array reached by key: each of its elements, and itself. {a: [1, 2]} with "a": 1, 2, array.
//     So {a: []} has the entry array
//   - any other value: itself. Objects, and arrays within arrays, are markers (index_key.h)
//   - nothing is visited: no entry. {a: []} with "a.b"
// Whether a field exists is so: whether it has an entry that is not kMissingCode.
//
// Several paths: the tuples of such entries, one of each path; a path that visits nothing has the
// component kNothing, so that every document has a tuple. A document with several entries at two
// or more paths has the first kTuplesPerRowMax tuples of their product; the column says
// has_overflow if that left some out. number_types is that of all components together.
//
// Threads: one at a time (it keeps buffers); copies are independent. Lifetime: keeps nothing of a
//   document. Errors: none.
// Cost: one walk per path, one key per entry.
class KeyExtractor {
 public:
  // REQUIRES: `paths` is not empty.
  explicit KeyExtractor(std::vector<Path> paths)
      : paths_(std::move(paths)), components_(paths_.size()) {
    ALOS_CHECK(!paths_.empty());
  }

  absl::Span<const Path> paths() const { return paths_; }
  bool is_compound() const { return paths_.size() > 1; }

  // Adds the document as the next row.
  void Extract(ValueView document, ColumnBuilder* builder) {
    builder->StartRow();
    if (!builder->has_through_arrays()) {
      for (const Path& path : paths_) {
        if (path.parts().size() > 1 && GoesThroughArray(document, path))
          builder->SetThroughArrays();
      }
    }
    if (is_compound()) {
      ExtractTuples(document, builder);
      return;
    }
    VisitEntries(document, paths_[0], [&](std::optional<ValueView> value) {
      if (!value.has_value()) return builder->AddMissing();
      key_.clear();
      const bool whole = AppendIndexKey(*value, &key_);
      builder->AddKey(key_, !whole, NumberTypesOf(*value));
    });
  }

 private:
  struct Components {
    std::string bytes;              // of all components of a path
    std::vector<std::size_t> ends;  // in bytes
    std::vector<std::string_view> different;
    std::size_t position = 0;
  };

  static bool GoesThroughArray(ValueView document, const Path& path) {
    for (const std::string& part : path.parts().first(path.parts().size() - 1)) {
      const std::optional<ValueView> value = document.Find(part);
      if (!value) return false;
      if (value->IsArray()) return true;
      if (!value->IsDocument()) return false;
      document = *value;
    }
    return false;
  }

  // As FilterProgram tests values.
  template <class Visit>
  static void VisitEntries(ValueView document, const Path& path, Visit&& visit) {
    VisitPath(document, path, [&](std::optional<ValueView> value, PathEnd end) {
      if (value.has_value() && end == PathEnd::kByKey && value->IsArray()) {
        for (const ValueView element : value->elements()) visit(element);
      }
      visit(value);
      return false;
    });
  }

  static NumberTypes NumberTypesOf(ValueView value) {
    switch (value.type()) {
      case ValueType::kInt64:
      case ValueType::kUint64:
        return NumberTypes::kIntegers;
      case ValueType::kDouble: {
        const double number = value.AsDouble();
        return number == 0 && std::signbit(number) ? NumberTypes::kMixed : NumberTypes::kDoubles;
      }
      default:
        return NumberTypes::kNone;
    }
  }

  void ExtractTuples(ValueView document, ColumnBuilder* builder) {
    bool whole = true;
    NumberTypes number_types = NumberTypes::kNone;
    std::size_t several = 0;
    for (std::size_t i = 0; i < paths_.size(); ++i) {
      Components& components = components_[i];
      components.bytes.clear();
      components.ends.clear();
      VisitEntries(document, paths_[i], [&](std::optional<ValueView> value) {
        whole &= AppendIndexKeyComponent(value, &components.bytes);
        if (value.has_value()) number_types = number_types | NumberTypesOf(*value);
        components.ends.push_back(components.bytes.size());
      });
      if (components.ends.empty()) {
        AppendIndexKeyNothing(&components.bytes);
        components.ends.push_back(components.bytes.size());
      }
      components.different.clear();
      std::size_t begin = 0;
      for (const std::size_t end : components.ends) {
        components.different.push_back(
            std::string_view(components.bytes).substr(begin, end - begin));
        begin = end;
      }
      if (components.different.size() > 1) {
        std::sort(components.different.begin(), components.different.end());
        components.different.erase(
            std::unique(components.different.begin(), components.different.end()),
            components.different.end());
      }
      several += components.different.size() > 1 ? 1 : 0;
      components.position = 0;
    }
    // The last path turns fastest.
    for (std::size_t tuples = 0;; ++tuples) {
      if (several > 1 && tuples == kTuplesPerRowMax) {
        builder->SetOverflow();
        return;
      }
      key_.clear();
      for (const Components& components : components_) {
        key_.append(components.different[components.position]);
      }
      builder->AddKey(key_, !whole, number_types);
      std::size_t i = components_.size();
      while (i > 0 && ++components_[i - 1].position == components_[i - 1].different.size()) {
        components_[--i].position = 0;
      }
      if (i == 0) return;
    }
  }

  std::vector<Path> paths_;
  std::vector<Components> components_;  // parallel to paths_
  std::string key_;
};

}  // namespace alos

#endif  // ALOS_INDEX_KEY_EXTRACTOR_H_
