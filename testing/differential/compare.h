// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// When two lists of documents are the same answer.

#ifndef ALOS_TESTING_DIFFERENTIAL_COMPARE_H_
#define ALOS_TESTING_DIFFERENTIAL_COMPARE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "testing/differential/values.h"

namespace alos::differential {

// Whether an answer's order is part of it.
enum class Order { kSame, kAny };

struct Tolerance {
  bool rounding = false;       // Doubles may differ in the last digits: sums in another order.
  bool field_order = false;    // {a: 1, b: 2} is {b: 2, a: 1}.
  bool number_type = false;    // 1 is 1.0.
  bool element_order = false;  // Arrays are sets.
};

inline bool Same(ValueView a, ValueView b, const Tolerance& tolerance);

inline bool SameNumber(ValueView a, ValueView b, const Tolerance& tolerance) {
  if (!tolerance.number_type && a.type() != b.type()) return false;
  if (Compare(a, b) == 0) return true;
  if (!tolerance.rounding) return false;
  const double x = a.AsDouble();
  const double y = b.AsDouble();
  if (!std::isfinite(x) || !std::isfinite(y)) return false;
  // The scale of what was summed up is not known: 1 is small here.
  return std::abs(x - y) <= 1e-9 * std::max({1.0, std::abs(x), std::abs(y)});
}

inline bool SameArray(ValueView a, ValueView b, const Tolerance& tolerance) {
  if (a.size() != b.size()) return false;
  std::vector<ValueView> xs(Elements(a).begin(), Elements(a).end());
  std::vector<ValueView> ys(Elements(b).begin(), Elements(b).end());
  if (!tolerance.element_order) {
    return std::equal(xs.begin(), xs.end(), ys.begin(),
                      [&](ValueView x, ValueView y) { return Same(x, y, tolerance); });
  }
  for (const ValueView x : xs) {
    const auto found =
        std::find_if(ys.begin(), ys.end(), [&](ValueView y) { return Same(x, y, tolerance); });
    if (found == ys.end()) return false;
    ys.erase(found);
  }
  return true;
}

inline bool Same(ValueView a, ValueView b, const Tolerance& tolerance) {
  if (a.IsNumber() && b.IsNumber()) return SameNumber(a, b, tolerance);
  if (a.IsArray() && b.IsArray()) return SameArray(a, b, tolerance);
  if (!a.IsDocument() || !b.IsDocument()) return Equal(a, b) && a.type() == b.type();
  if (a.size() != b.size()) return false;
  auto b_entry = Entries(b).begin();
  for (const auto entry : Entries(a)) {
    if (tolerance.field_order) {
      const auto other = b.Find(entry.key);
      if (!other.has_value() || !Same(entry.value, *other, tolerance)) return false;
    } else {
      if ((*b_entry).key != entry.key || !Same(entry.value, (*b_entry).value, tolerance)) {
        return false;
      }
      ++b_entry;
    }
  }
  return true;
}

inline bool SameAnswer(const std::vector<Bytes>& a, const std::vector<Bytes>& b, Order order,
                       const Tolerance& tolerance) {
  if (a.size() != b.size()) return false;
  const auto same = [&](const Bytes& x, const Bytes& y) {
    return x == y || Same(View(x), View(y), tolerance);
  };
  if (order == Order::kSame) return std::equal(a.begin(), a.end(), b.begin(), same);
  std::vector<const Bytes*> rest;
  rest.reserve(b.size());
  for (const Bytes& bytes : b) rest.push_back(&bytes);
  for (const Bytes& bytes : a) {
    const auto found = std::find_if(rest.begin(), rest.end(),
                                    [&](const Bytes* other) { return same(bytes, *other); });
    if (found == rest.end()) return false;
    rest.erase(found);
  }
  return true;
}

// Calls `visit` with each operator's name (keys that begin with $) in a specification.
template <class Visit>
void VisitOperators(ValueView specification, Visit&& visit) {
  if (specification.IsArray()) {
    for (const ValueView element : Elements(specification)) VisitOperators(element, visit);
  }
  for (const auto entry : Entries(specification)) {
    if (!entry.key.empty() && entry.key[0] == '$') visit(entry.key);
    VisitOperators(entry.value, visit);
  }
}

inline bool Uses(ValueView specification, std::string_view name) {
  bool uses = false;
  VisitOperators(specification, [&](std::string_view found) { uses = uses || found == name; });
  return uses;
}

// Joined documents are in any order.
inline bool UsesJoins(ValueView pipeline) {
  return Uses(pipeline, "$lookup") || Uses(pipeline, "$graphLookup");
}

// What is known of a pipeline's answer, given how its input is ordered.
struct PipelineTraits {
  bool determined = true;  // The same input in any order gives the same answer.
  Order order = Order::kSame;
};

// `input`: kSame if the input's order is the same each time.
inline PipelineTraits TraitsOf(ValueView pipeline, Order input, bool ids_are_unique = true) {
  PipelineTraits traits;
  traits.order = input;
  static constexpr std::string_view kOrderDependent[] = {
      "$first", "$last",         "$push",     "$firstN",
      "$lastN", "$mergeObjects", "$addToSet", "$accumulator"};
  bool joins = false;  // what was joined is in any order
  for (const ValueView stage : Elements(pipeline)) {
    if (!stage.IsDocument() || stage.size() != 1) continue;
    const Entry entry = *Entries(stage).begin();
    const std::string_view name = entry.key;
    if (name == "$sort") {
      if (ids_are_unique && entry.value.Find("_id").has_value()) traits.order = Order::kSame;
    } else if (name == "$limit" || name == "$skip") {
      if (traits.order == Order::kAny) traits.determined = false;
    } else if (name == "$sample") {
      traits.determined = false;
    } else if (name == "$group" || name == "$bucket" || name == "$bucketAuto" ||
               name == "$setWindowFields") {
      if (traits.order == Order::kAny) {
        for (const std::string_view dependent : kOrderDependent) {
          if (Uses(entry.value, dependent)) traits.determined = false;
        }
      }
      if (name == "$bucketAuto" && traits.order == Order::kAny) traits.determined = false;
      if (name == "$setWindowFields") {
        if (!entry.value.Find("sortBy").has_value() ||
            !entry.value.Find("sortBy")->Find("_id").has_value() || !ids_are_unique) {
          if (traits.order == Order::kAny) traits.determined = false;
        }
        traits.order = Order::kAny;
      } else {
        // They may be arrays, which a sort orders by one element.
        ids_are_unique = false;
        traits.order = name == "$group" ? Order::kAny : Order::kSame;
      }
    } else if (name == "$sortByCount" || name == "$unionWith") {
      ids_are_unique = false;
      traits.order = Order::kAny;
    } else if (name == "$facet") {
      for (const auto facet : Entries(entry.value)) {
        const PipelineTraits inner = TraitsOf(facet.value, traits.order, ids_are_unique);
        if (!inner.determined || inner.order == Order::kAny) traits.determined = false;
      }
      ids_are_unique = false;
      traits.order = Order::kSame;
    } else if (name == "$unwind" && joins) {
      ids_are_unique = false;
      traits.order = Order::kAny;
    } else if (name == "$lookup" || name == "$graphLookup") {
      joins = true;
    } else if (name == "$unwind" || name == "$replaceRoot" || name == "$replaceWith" ||
               name == "$densify") {
      ids_are_unique = false;
    } else if (name == "$fill") {
      if (traits.order == Order::kAny && !ids_are_unique) traits.determined = false;
      traits.order = Order::kAny;
    } else if (name == "$project" || name == "$unset" || name == "$addFields" || name == "$set") {
      // May take the ids away.
      if (entry.value.IsString() ? entry.value.AsString() == "_id"
                                 : entry.value.Find("_id").has_value()) {
        ids_are_unique = false;
      }
    }
  }
  return traits;
}

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_COMPARE_H_
