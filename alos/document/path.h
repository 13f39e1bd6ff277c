// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Dotted paths such as "address.city" or "tags.0.name", and which values of a document they denote.
// The rules are those of MongoDB's filters.

#ifndef ALOS_DOCUMENT_PATH_H_
#define ALOS_DOCUMENT_PATH_H_

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/document/value.h"

namespace alos {

// A parsed path: one or more parts that were separated by dots.
//
// Threads: immutable, any number of readers. Lifetime: owns its parts. Durability: none.
class Path {
 public:
  // More parts than a document can be deep could denote nothing.
  static constexpr std::size_t kPartsMax = 100;

  // Errors: kInvalidArgument, naming the path, when it is empty, has an empty part ("a..b", ".a",
  // "a.") or more than kPartsMax parts.
  static absl::StatusOr<Path> Parse(std::string_view dotted);

  absl::Span<const std::string> parts() const { return parts_; }

  // The array position that part `index` denotes ("0", "17"), nullopt if it can only be a key.
  std::optional<std::size_t> position(std::size_t index) const { return positions_[index]; }

  std::string ToString() const;

 private:
  Path() = default;

  std::vector<std::string> parts_;
  std::vector<std::optional<std::size_t>> positions_;  // parallel to parts_
};

// How VisitPath came to a value.
enum class PathEnd {
  kByKey,       // the last part is the key of a document
  kByPosition,  // the last part is a position in an array
  kMissing,
};

// Calls `visit` for every value that `path` denotes in `document`, in stored order, until it
// returns true; returns whether it did.
//
//   visit(std::optional<ValueView> value)               or
//   visit(std::optional<ValueView> value, PathEnd end)  -> bool, true = stop
//
// The rules, with r the remaining path:
//
// 1. In a document, the first part of r is a key. If there is no such key, the path is missing
// here:
//    visit(nullopt). {a: {}} with "a.b": missing.
// 2. A value reached by the last part is visited as it is, also when it is null or an array.
//    {a: [1, 2]} with "a": the array, once. A filter that wants "any element" semantics expands an
//    array it got kByKey; MongoDB does not expand one it got kByPosition.
// 3. A scalar (or null) that is reached while parts remain: missing. {a: 5}, {a: null} with "a.b".
// 4. An array that is reached by key while parts remain is expanded: each element that is a
// document
//    is searched for the whole of r; other elements are passed over in silence, so nothing at all
//    is visited for {a: []} or {a: [5, [{b: 1}]]} with "a.b". Elements without the key count as
//    missing: {a: [{b: 1}, {}]} with "a.b" visits 1, then nullopt.
// 5. If the first part of r is a number ("0", "17"), it also denotes the element at that position,
//    after rule 4 was applied to that element: as last part that element is visited (kByPosition);
//    else a document there is searched for the rest, an array there is expanded by rules 4 and 5
//    for the rest, and a scalar is passed over. A position past the end denotes nothing. {a: [{b:
//    1}]} with "a.0.b" visits nullopt (rule 4: the element has no key "0"), then 1.
// 6. Arrays are expanded one level only: an array directly within an array is entered through a
//    position or not at all. {a: [[{b: 1}]]} with "a.b": nothing; with "a.0.b": 1.
//
// A path that visits nothing or only nullopt does not exist in the document.
//
// Lifetime: the values are views of `document`'s bytes.
// Cost: one pass over the entries ahead of each match; no allocation; recursion as deep as the path
//   has parts.
template <class Visit>
bool VisitPath(ValueView document, const Path& path, Visit&& visit);

// --- Readers of the API may stop here. ----------------------------------------------------------

inline absl::StatusOr<Path> Path::Parse(std::string_view dotted) {
  const auto refuse = [&](std::string_view reason) {
    constexpr std::size_t kShownMax = 100;
    return absl::InvalidArgumentError(
        absl::StrCat("path \"", absl::CHexEscape(dotted.substr(0, kShownMax)),
                     dotted.size() > kShownMax ? "...\" " : "\" ", reason));
  };
  Path path;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = std::min(dotted.find('.', begin), dotted.size());
    const std::string_view part = dotted.substr(begin, end - begin);
    if (part.empty()) {
      return refuse(dotted.empty() ? "is empty: expected a field name"
                                   : "has an empty part: expected field names separated by dots");
    }
    if (path.parts_.size() == kPartsMax) {
      return refuse(absl::StrCat("has more than ", kPartsMax, " parts"));
    }
    path.parts_.emplace_back(part);
    path.positions_.push_back(document_internal::ParsePosition(part));
    if (end == dotted.size()) return path;
    begin = end + 1;
  }
}

inline std::string Path::ToString() const {
  std::string dotted;
  for (const std::string& part : parts_) absl::StrAppend(&dotted, dotted.empty() ? "" : ".", part);
  return dotted;
}

namespace document_internal {

template <class Visit>
bool CallVisit(Visit& visit, std::optional<ValueView> value, PathEnd end) {
  if constexpr (std::is_invocable_v<Visit&, std::optional<ValueView>, PathEnd>) {
    return visit(value, end);
  } else {
    static_assert(std::is_invocable_v<Visit&, std::optional<ValueView>>,
                  "VisitPath needs visit(std::optional<ValueView>) or "
                  "visit(std::optional<ValueView>, PathEnd), returning bool");
    return visit(value);
  }
}

template <class Visit>
bool VisitInArray(ValueView array, const Path& path, std::size_t index, Visit& visit);

// Rules 1 to 3. REQUIRES: index < parts().size().
template <class Visit>
bool VisitInDocument(ValueView document, const Path& path, std::size_t index, Visit& visit) {
  const absl::Span<const std::string> parts = path.parts();
  while (document.IsDocument()) {
    const std::optional<ValueView> value = document.Find(parts[index]);
    if (!value) break;
    if (++index == parts.size()) return CallVisit(visit, value, PathEnd::kByKey);
    if (value->IsArray()) return VisitInArray(*value, path, index, visit);
    document = *value;
  }
  return CallVisit(visit, std::nullopt, PathEnd::kMissing);
}

// Rules 4 to 6. REQUIRES: index < parts().size().
template <class Visit>
bool VisitInArray(ValueView array, const Path& path, std::size_t index, Visit& visit) {
  const bool is_last = index + 1 == path.parts().size();
  const std::optional<std::size_t> position = path.position(index);
  std::size_t i = 0;
  for (const ValueView element : array.elements()) {
    if (element.IsDocument() && VisitInDocument(element, path, index, visit)) return true;
    if (position && *position == i) {
      if (is_last) {
        if (CallVisit(visit, element, PathEnd::kByPosition)) return true;
      } else if (element.IsDocument()) {
        if (VisitInDocument(element, path, index + 1, visit)) return true;
      } else if (element.IsArray()) {
        if (VisitInArray(element, path, index + 1, visit)) return true;
      }
    }
    ++i;
  }
  return false;
}

}  // namespace document_internal

template <class Visit>
bool VisitPath(ValueView document, const Path& path, Visit&& visit) {
  return document_internal::VisitInDocument(document, path, 0, visit);
}

}  // namespace alos

#endif  // ALOS_DOCUMENT_PATH_H_
