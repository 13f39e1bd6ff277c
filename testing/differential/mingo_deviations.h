// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Where mingo is known not to do what MongoDB's manual says. Each has a name here and a paragraph
// in mingo_deviations.md.

#ifndef ALOS_TESTING_DIFFERENTIAL_MINGO_DEVIATIONS_H_
#define ALOS_TESTING_DIFFERENTIAL_MINGO_DEVIATIONS_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "testing/differential/compare.h"
#include "testing/differential/values.h"
#include "testing/differential/world.h"

namespace alos::differential {

// What never counts as a difference: JavaScript's objects and numbers.
inline Tolerance MingoTolerance() {
  Tolerance tolerance;
  tolerance.field_order = true;
  tolerance.number_type = true;
  return tolerance;
}

// Calls `visit` with every value inside, and the value itself.
template <class Visit>
void VisitValues(ValueView value, Visit&& visit) {
  visit(value);
  for (const ValueView element : Elements(value)) VisitValues(element, visit);
  for (const auto entry : Entries(value)) VisitValues(entry.value, visit);
}

inline bool IsBeyondDouble(ValueView value) {
  constexpr std::int64_t kExact = std::int64_t{1} << 53;
  return value.type() == ValueType::kUint64 ||
         (value.type() == ValueType::kInt64 &&
          (value.AsInt64() > kExact || value.AsInt64() < -kExact));
}

// A value as it comes back from JavaScript, which has doubles and milliseconds.
inline void AppendAsInJavaScript(ValueView value, Builder* builder) {
  if (IsBeyondDouble(value)) {
    builder->Double(value.AsDouble());
  } else if (value.type() == ValueType::kTimestamp) {
    Timestamp time = value.AsTimestamp();
    time.nanoseconds -= time.nanoseconds % 1'000'000;
    builder->Time(time);
  } else if (value.IsArray()) {
    builder->StartArray();
    for (const ValueView element : Elements(value)) AppendAsInJavaScript(element, builder);
    builder->EndArray();
  } else if (value.IsDocument()) {
    builder->StartDocument();
    for (const auto entry : Entries(value)) {
      builder->Key(entry.key);
      AppendAsInJavaScript(entry.value, builder);
    }
    builder->EndDocument();
  } else {
    builder->Raw(value);
  }
}
inline Bytes AsInJavaScript(const Bytes& bytes) {
  Bytes result;
  Builder builder(&result);
  AppendAsInJavaScript(View(bytes), &builder);
  return result;
}

// What values are used for.
enum class Use { kEquality, kOrder };

// Values that JavaScript has not, or compares in another way.
inline std::optional<std::string_view> ValueDeviation(ValueView value, Use use = Use::kOrder) {
  std::optional<std::string_view> found;
  VisitValues(value, [&](ValueView inner) {
    if (IsBeyondDouble(inner)) found = "large-integers";
    switch (inner.type()) {
      case ValueType::kDouble:
        if (use == Use::kOrder && std::isnan(inner.AsDouble())) found = "nan";
        // The double nearest to a large integer.
        if (std::abs(inner.AsDouble()) > 9007199254740992.0) found = "large-integers";
        break;
      case ValueType::kTimestamp:
        if (inner.AsTimestamp().nanoseconds % 1'000'000 != 0) found = "date-nanoseconds";
        break;
      case ValueType::kExtension:
        found = "extensions";
        break;
      case ValueType::kString:
        for (const char c : inner.AsString()) {
          if (use == Use::kOrder && static_cast<unsigned char>(c) >= 0xee) found = "utf-16";
        }
        break;
      default:
        break;
    }
  });
  return found;
}

// The values that a path can reach, and more: all of the field that it begins with.
inline std::optional<std::string_view> ValueDeviationAt(ValueView document, std::string_view path,
                                                        Use use) {
  const std::optional<ValueView> field = document.Find(path.substr(0, path.find('.')));
  return field.has_value() ? ValueDeviation(*field, use) : std::nullopt;
}

inline bool UsesExpressions(ValueView specification) {
  bool uses = false;
  VisitOperators(specification, [&](std::string_view) { uses = true; });
  return uses;
}

inline bool UsesSets(ValueView specification) {
  return Uses(specification, "$addToSet") || Uses(specification, "$setUnion") ||
         Uses(specification, "$setIntersection") || Uses(specification, "$setDifference");
}

// What a condition meets in one document.
struct Met {
  bool array_on_path = false;         // An array before the path's last part.
  bool array_at_end = false;          // An array at its end.
  bool nested_array = false;          // An array in an array.
  bool position_of_document = false;  // A number names a field of a document in an array.
  bool inside_binary = false;         // A binary before the end of the path.
  bool integers_only = true;          // Of 32 bits, and not in arrays.
  bool missing = false;               // Nothing, somewhere.
  bool other_than_number = false;
  bool fraction = false;
};

inline void Meet(std::optional<ValueView> value, std::string_view path, bool in_array, Met* met) {
  if (!value.has_value()) {
    met->missing = true;
    met->integers_only = false;
    return;
  }
  if (value->IsArray() && in_array) met->nested_array = true;
  if (path.empty()) {
    if (in_array || !value->ToInt64().has_value() ||
        *value->ToInt64() != static_cast<std::int32_t>(*value->ToInt64())) {
      met->integers_only = false;
    }
    if (value->IsArray() && !in_array) {
      met->array_at_end = true;
      if (met->array_on_path) met->nested_array = true;
      for (const ValueView element : Elements(*value)) Meet(element, path, true, met);
      if (value->size() == 0) met->missing = true;
      return;
    }
    if (!value->IsNumber()) {
      met->other_than_number = true;
    } else if (!value->ToInt64().has_value()) {
      met->fraction = true;
    }
    return;
  }
  if (value->type() == ValueType::kBinary) met->inside_binary = true;
  const std::size_t dot = path.find('.');
  const std::string_view part = path.substr(0, dot);
  const std::string_view rest = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  if (value->IsArray()) {
    if (met->array_on_path) met->nested_array = true;
    met->array_on_path = true;
    if (value->Find(part).has_value()) Meet(value->Find(part), rest, false, met);
    for (const ValueView element : Elements(*value)) {
      if (element.IsDocument() && part.find_first_not_of("0123456789") == std::string_view::npos &&
          element.Find(part).has_value()) {
        met->position_of_document = true;
      }
      Meet(element, path, true, met);
    }
    if (value->size() == 0) met->missing = true;
    return;
  }
  Meet(value->Find(part), rest, false, met);
}

// The value at a path that goes through documents and positions.
inline std::optional<ValueView> FindPath(ValueView document, std::string_view path) {
  std::optional<ValueView> value = document;
  while (value.has_value() && !path.empty()) {
    const std::size_t dot = path.find('.');
    value = value->Find(path.substr(0, dot));
    path = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  }
  return value;
}

inline bool IsContainer(ValueView value) { return value.IsArray() || value.IsDocument(); }

inline bool HasContainer(ValueView list) {
  for (const ValueView element : Elements(list)) {
    if (IsContainer(element)) return true;
  }
  return false;
}
inline bool HasNull(ValueView list) {
  for (const ValueView element : Elements(list)) {
    if (element.IsNull()) return true;
  }
  return false;
}

// Names of types that mingo does not know, or gives all numbers.
inline bool IsTypeOtherwise(ValueView type) {
  if (!type.IsString()) return !type.IsArray();
  const std::string_view name = type.AsString();
  return name == "int" || name == "long" || name == "double" || name == "binData" ||
         name == "array";
}

inline std::optional<std::string_view> FilterDeviationAt(ValueView filter, ValueView document);

// One condition ($gt: 1) on the values at a path.
inline std::optional<std::string_view> ConditionDeviation(std::string_view name, ValueView operand,
                                                          std::string_view path,
                                                          ValueView document) {
  Met met;
  Meet(document, path, false, &met);
  if (met.inside_binary) return "paths-into-binaries";
  if (met.position_of_document) return "positions-as-names";
  const bool range = name == "$gt" || name == "$gte" || name == "$lt" || name == "$lte";
  const bool equality = name == "$eq" || name == "$ne";
  const bool list = name == "$in" || name == "$nin";
  if (range) {
    if (operand.IsNull()) return "range-of-null";
    if (operand.IsArray()) return "range-of-arrays";
    if (operand.IsDocument()) return "order-of-objects";
    if (operand.type() == ValueType::kBinary) return "order-of-binaries";
    if (met.nested_array) return "nested-arrays";
  }
  if (equality || list) {
    if (operand.IsArray() && !list && met.array_on_path) return "arrays-on-the-path";
    const bool null = list ? HasNull(operand) : operand.IsNull();
    if (null && (met.array_on_path || met.array_at_end)) return "null-in-arrays";
    if (list && HasContainer(operand)) return "containers-in-lists";
    if (met.nested_array) return "nested-arrays";
  }
  if (name == "$type") {
    const bool other = met.array_at_end || met.array_on_path;
    if (other || IsTypeOtherwise(operand)) return "types";
    for (const ValueView type : Elements(operand)) {
      if (IsTypeOtherwise(type)) return "types";
    }
  }
  if (name.starts_with("$bits") && (!met.integers_only || met.array_on_path || met.missing ||
                                    operand.type() == ValueType::kBinary)) {
    return "bits-of-others";
  }
  const Use use = equality || list || name == "$all" || name == "$exists" || name == "$size"
                      ? Use::kEquality
                      : Use::kOrder;
  if (const auto found = ValueDeviation(operand, use)) return found;
  if (const auto found = ValueDeviationAt(document, path, use)) return found;
  if ((name == "$regex" || name == "$mod") && met.nested_array) return "nested-arrays";
  if (name == "$mod" && (met.other_than_number || met.fraction || met.missing)) {
    return "mod-of-others";
  }
  if (name == "$size" && met.array_on_path) return "arrays-on-the-path";
  if (name == "$exists" && met.array_on_path) return "arrays-on-the-path";
  if (name == "$all" || name == "$elemMatch") {
    if (met.array_on_path || !met.array_at_end) return "arrays-on-the-path";
    if (name == "$all" && HasContainer(operand)) return "containers-in-lists";
    if (operand.IsDocument() && operand.size() == 0) return "empty-elemmatch";
    if (operand.IsDocument()) {
      const auto array = FindPath(document, path);
      if (array.has_value()) {
        const Bytes operators = Document("v", Bytes(operand.bytes()));
        for (const ValueView element : Elements(*array)) {
          if (element.IsArray()) return "nested-arrays";
          const bool of_fields = !FirstKey(operand).starts_with('$');
          if (of_fields && !element.IsDocument()) return "elemmatch-of-scalars";
          const auto found =
              of_fields
                  ? FilterDeviationAt(operand, element)
                  : FilterDeviationAt(View(operators), View(Document("v", Bytes(element.bytes()))));
          if (found.has_value()) return found;
        }
      }
    }
  }
  if (name == "$all" && met.nested_array) return "nested-arrays";
  if (name == "$not") {
    for (const auto entry : Entries(operand)) {
      const auto found = ConditionDeviation(entry.key, entry.value, path, document);
      if (found.has_value()) return found;
    }
  }
  return std::nullopt;
}

// Operators and stages that mingo has not, or has otherwise, whatever they meet.
inline std::optional<std::string_view> OperatorDeviation(std::string_view name) {
  struct Known {
    std::string_view name;
    std::string_view deviation;
  };
  static constexpr Known kKnown[] = {
      {"$bucket", "buckets"},
      {"$bucketAuto", "buckets"},
      {"$stdDevPop", "std-dev"},
      {"$stdDevSamp", "std-dev"},
      {"$top", "top"},
      {"$bottom", "top"},
      {"$topN", "top"},
      {"$bottomN", "top"},
      {"$mergeObjects", "objects-in-expressions"},
      {"$objectToArray", "objects-in-expressions"},
      {"$redact", "redact"},
      {"$week", "week"},
      {"$type", "types"},
  };
  for (const Known& known : kKnown) {
    if (name == known.name) return known.deviation;
  }
  return std::nullopt;
}

// Whether a comparison may be one of values of different types: mingo compares numbers with numbers
// and strings with strings only.
inline bool ComparesAcrossTypes(ValueView expression, const std::vector<Bytes>& documents) {
  bool across = false;
  static constexpr std::string_view kComparisons[] = {"$gt", "$gte", "$lt", "$lte", "$cmp"};
  VisitValues(expression, [&](ValueView value) {
    for (const std::string_view name : kComparisons) {
      const std::optional<ValueView> arguments =
          value.IsDocument() ? value.Find(name) : std::nullopt;
      if (!arguments.has_value()) continue;
      for (const ValueView argument : Elements(*arguments)) {
        if (argument.IsString() && argument.AsString().starts_with('$')) {
          for (const Bytes& document : documents) {
            const auto at = FindPath(View(document), argument.AsString().substr(1));
            across = across || !at.has_value() || !at->IsNumber();
          }
        } else if (!argument.IsNumber()) {
          across = true;
        }
      }
    }
  });
  return across;
}

// Whether something is tested for equality with an array or a document that the expression makes.
inline bool ComparesContainers(ValueView expression) {
  bool compares = false;
  static constexpr std::string_view kComparisons[] = {"$eq", "$ne", "$in", "$cmp"};
  VisitValues(expression, [&](ValueView value) {
    for (const std::string_view name : kComparisons) {
      const std::optional<ValueView> arguments =
          value.IsDocument() ? value.Find(name) : std::nullopt;
      if (arguments.has_value() && HasContainer(*arguments)) compares = true;
    }
  });
  return compares;
}

// Whether a string may be made, which may be empty, where a condition may be asked about it.
inline bool MakesStrings(ValueView expression) {
  static constexpr std::string_view kMakers[] = {"$substrCP",   "$trim",    "$replaceOne",
                                                 "$replaceAll", "$concat",  "$split",
                                                 "$toLower",    "$toUpper", "$toString"};
  static constexpr std::string_view kConditions[] = {"$not", "$and", "$or", "$cond", "$switch"};
  bool makes = false;
  bool asks = false;
  VisitOperators(expression, [&](std::string_view name) {
    for (const std::string_view maker : kMakers) makes = makes || name == maker;
    for (const std::string_view condition : kConditions) asks = asks || name == condition;
  });
  return makes && asks;
}

// Whether a later stage names a field, which the stages before it may have taken away.
inline bool NamesFields(ValueView expression) {
  bool names = false;
  VisitValues(expression, [&](ValueView value) {
    names = names || (value.IsString() && value.AsString().starts_with('$'));
  });
  return names;
}

// Expressions over these documents. Where a field is missing, null, an array or a document mingo
// has rules of its own.
inline std::optional<std::string_view> ExpressionDeviation(ValueView expression,
                                                           const std::vector<Bytes>& documents) {
  std::optional<std::string_view> found;
  VisitOperators(expression, [&](std::string_view name) {
    if (!found.has_value()) found = OperatorDeviation(name);
  });
  if (found.has_value()) return found;
  VisitValues(expression, [&](ValueView value) {
    if (found.has_value() || !value.IsString() || !value.AsString().starts_with('$')) return;
    if (value.AsString().starts_with("$$")) {
      found = "variables";
      return;
    }
    const std::string_view path = value.AsString().substr(1);
    for (const Bytes& document : documents) {
      const std::optional<ValueView> at = FindPath(View(document), path);
      Met met;
      Meet(View(document), path, false, &met);
      if (!at.has_value() || at->IsNull() || met.array_on_path) {
        found = "missing-in-expressions";
      } else if (IsContainer(*at) || at->type() == ValueType::kBinary) {
        found = "containers-in-expressions";
      } else if (at->IsString() && at->AsString().empty()) {
        found = "truth-of-strings";
      }
      if (!found.has_value()) found = ValueDeviation(at.value_or(ValueView()));
      if (found.has_value()) return;
    }
  });
  if (found.has_value()) return found;
  VisitValues(expression, [&](ValueView value) {
    if (value.IsNull() || (value.IsString() && value.AsString().empty())) {
      found = "truth-of-strings";
    }
  });
  if (!found.has_value() && ComparesAcrossTypes(expression, documents)) {
    found = "comparisons-across-types";
  }
  if (!found.has_value() && ComparesContainers(expression)) found = "containers-in-expressions";
  if (!found.has_value() && MakesStrings(expression)) found = "truth-of-strings";
  return found;
}

inline std::optional<std::string_view> FilterDeviationAt(ValueView filter, ValueView document) {
  for (const auto entry : Entries(filter)) {
    if (entry.key == "$and" || entry.key == "$or" || entry.key == "$nor") {
      for (const ValueView inner : Elements(entry.value)) {
        if (const auto found = FilterDeviationAt(inner, document)) return found;
      }
      continue;
    }
    if (entry.key == "$expr") {
      const auto found = ExpressionDeviation(entry.value, {Bytes(document.bytes())});
      if (found.has_value()) return found;
      continue;
    }
    const bool operators = entry.value.IsDocument() && entry.value.size() > 0 &&
                           FirstKey(entry.value).starts_with('$');
    if (!operators) {
      const auto found = ConditionDeviation("$eq", entry.value, entry.key, document);
      if (found.has_value()) return found;
      continue;
    }
    for (const auto condition : Entries(entry.value)) {
      const auto found = ConditionDeviation(condition.key, condition.value, entry.key, document);
      if (found.has_value()) return found;
    }
  }
  return std::nullopt;
}

// Why mingo may be wrong about whether a document matches.
inline std::optional<std::string_view> FilterDeviation(ValueView filter, ValueView document) {
  return FilterDeviationAt(filter, document);
}

inline std::optional<std::string_view> SortDeviation(ValueView sort,
                                                     const std::vector<Bytes>& documents) {
  for (const Bytes& document : documents) {
    for (const auto entry : Entries(sort)) {
      Met met;
      Meet(View(document), entry.key, false, &met);
      if (met.array_on_path || met.array_at_end) return "sort-by-arrays";
      if (met.inside_binary) return "paths-into-binaries";
      if (const auto found = ValueDeviationAt(View(document), entry.key, Use::kOrder)) {
        return found;
      }
      const std::optional<ValueView> value = FindPath(View(document), entry.key);
      if (value.has_value() && value->IsDocument()) return "order-of-objects";
      if (value.has_value() && value->type() == ValueType::kBinary) return "order-of-binaries";
    }
  }
  return std::nullopt;
}

inline std::optional<std::string_view> ProjectionDeviation(ValueView projection,
                                                           const std::vector<Bytes>& documents) {
  for (const Bytes& document : documents) {
    for (const auto entry : Entries(projection)) {
      Met met;
      Meet(View(document), entry.key, false, &met);
      if (met.array_on_path) return "projection-into-arrays";
      if (entry.key.find('.') != std::string_view::npos && met.missing) {
        return "projection-of-missing";
      }
    }
  }
  return std::nullopt;
}

// Whether a find shows parts of arrays.
inline bool ProjectsParts(ValueView specification) {
  const std::optional<ValueView> projection = specification.Find("projection");
  return projection.has_value() && (Uses(*projection, "$slice") || Uses(*projection, "$elemMatch"));
}

// Why mingo's answer may be wrong though it found the same documents.
inline std::optional<std::string_view> FindDeviation(const Question& question) {
  const ValueView specification = View(question.specification);
  if (const auto sort = specification.Find("sort")) {
    if (const auto found = SortDeviation(*sort, *question.documents)) return found;
  }
  if (ProjectsParts(specification)) return "slice-and-elemmatch";
  if (const auto projection = specification.Find("projection")) {
    return ProjectionDeviation(*projection, *question.documents);
  }
  return std::nullopt;
}

inline std::optional<std::string_view> StagesDeviation(ValueView pipeline,
                                                       const std::vector<Bytes>& documents,
                                                       bool gives_nothing);

// Of $lookup, $graphLookup and $unionWith.
inline std::optional<std::string_view> JoinDeviation(ValueView operand,
                                                     const std::vector<Bytes>& documents) {
  for (const std::string_view option :
       {"localField", "foreignField", "connectFromField", "connectToField"}) {
    const std::optional<ValueView> path = operand.Find(option);
    if (!path.has_value()) continue;
    const Bytes expression = String(absl::StrCat("$", path->AsString()));
    if (ExpressionDeviation(View(expression), documents).has_value()) return "joins";
  }
  if (const auto filter = operand.Find("restrictSearchWithMatch")) {
    for (const Bytes& document : documents) {
      if (const auto found = FilterDeviation(*filter, View(document))) return found;
    }
  }
  if (const auto inner = operand.Find("pipeline")) {
    if (const auto found = StagesDeviation(*inner, documents, true)) return found;
  }
  return std::nullopt;
}

// Stages change the documents, so what a later stage meets is not known: what any document of the
// input could make of it counts.
inline std::optional<std::string_view> StagesDeviation(ValueView pipeline,
                                                       const std::vector<Bytes>& documents,
                                                       bool gives_nothing) {
  bool computes = false;
  bool reshaped = false;
  std::size_t number = 0;
  for (const ValueView stage : Elements(pipeline)) {
    ++number;
    for (const auto entry : Entries(stage)) {
      std::optional<std::string_view> found;
      if (entry.key == "$match") {
        for (const Bytes& document : documents) {
          found = FilterDeviationAt(entry.value, View(document));
          if (found.has_value()) return found;
        }
      } else if (entry.key == "$sort") {
        found = SortDeviation(entry.value, documents);
      } else if (entry.key == "$project") {
        found = ProjectionDeviation(entry.value, documents);
      } else if (entry.key == "$unset") {
        const bool one = entry.value.IsString();
        const Bytes fields = [&] {
          Fields named;
          if (one) named.emplace_back(std::string(entry.value.AsString()), Int(0));
          for (const ValueView name : Elements(entry.value)) {
            if (name.IsString()) named.emplace_back(std::string(name.AsString()), Int(0));
          }
          return Document(named);
        }();
        found = ProjectionDeviation(View(fields), documents);
      } else if (entry.key == "$count") {
        if (gives_nothing || number < pipeline.size()) return "count-of-nothing";
      } else if (entry.key == "$facet") {
        for (const auto facet : Entries(entry.value)) {
          found = StagesDeviation(facet.value, documents, true);
          if (found.has_value()) return found;
        }
        continue;
      } else if (entry.key == "$lookup" || entry.key == "$graphLookup" ||
                 entry.key == "$unionWith") {
        found = JoinDeviation(entry.value, documents);
        computes = true;
      } else if (entry.key == "$unwind") {
        found = "unwind-of-scalars";
      } else if (entry.key != "$limit" && entry.key != "$skip") {
        found = OperatorDeviation(entry.key);
        computes = true;
      }
      if (entry.key == "$project" && (UsesExpressions(entry.value) || NamesFields(entry.value))) {
        computes = true;
      }
      if (computes && !found.has_value()) {
        found = ExpressionDeviation(entry.value, documents);
      }
      for (const auto field : Entries(entry.value)) {
        const bool sets = entry.key == "$set" || entry.key == "$addFields" ||
                          (entry.key == "$project" && !field.value.IsNumber());
        if (sets && !found.has_value() && field.key.find('.') != std::string_view::npos) {
          found = "set-into-scalars";
        }
      }
      if (reshaped && !found.has_value() && NamesFields(entry.value)) {
        found = "missing-in-expressions";
      }
      reshaped = reshaped || (entry.key != "$match" && entry.key != "$sort" &&
                              entry.key != "$limit" && entry.key != "$skip");
      if (found.has_value()) return found;
    }
  }
  if (!computes) return std::nullopt;
  for (const Bytes& document : documents) {
    if (const auto found = ValueDeviation(View(document))) return found;
  }
  return ValueDeviation(pipeline);
}

inline std::optional<std::string_view> PipelineDeviation(const Question& question) {
  return StagesDeviation(*View(question.specification).Find("aggregate"), *question.documents,
                         question.results.empty());
}

// One modification of an update, of a document that has `old` there.
inline std::optional<std::string_view> ModificationDeviation(std::string_view name,
                                                             ValueView operand,
                                                             const std::optional<ValueView>& old) {
  if (name == "$min" || name == "$max") {
    if (IsContainer(operand) || (old.has_value() && IsContainer(*old))) {
      return "min-max-of-containers";
    }
    if (operand.type() == ValueType::kBinary) return "order-of-binaries";
  } else if (name == "$addToSet") {
    return old.has_value() && !old->IsArray() ? std::nullopt
                                              : std::optional<std::string_view>("add-to-set");
  } else if (name == "$push") {
    const bool sorts = operand.Find("$sort").has_value();
    if (!old.has_value() && (sorts || operand.Find("$slice").has_value())) {
      return "push-into-missing";
    }
    if (sorts) return "push-sort";
  } else if (name == "$bit") {
    return "bits-of-64";
  } else if (name == "$pull" && old.has_value()) {
    const bool of_fields =
        operand.IsDocument() && operand.size() > 0 && !FirstKey(operand).starts_with('$');
    if (operand.IsDocument() && operand.size() == 0) return "pull-of-containers";
    for (const ValueView element : Elements(*old)) {
      if (element.IsArray()) return "pull-of-containers";
      if (of_fields && !element.IsDocument()) return "elemmatch-of-scalars";
      const Bytes wrapped = Document("v", Bytes(element.bytes()));
      const Bytes condition = Document("v", Bytes(operand.bytes()));
      const auto found = of_fields ? FilterDeviationAt(operand, element)
                                   : FilterDeviationAt(View(condition), View(wrapped));
      if (found.has_value()) return found;
    }
  } else if (name == "$pullAll" && old.has_value()) {
    if (HasContainer(operand) || HasContainer(*old)) return "pull-of-containers";
    if (HasNull(operand)) return "null-in-arrays";
  }
  return std::nullopt;
}

// Why mingo may be wrong about an update. `ours`: nullopt: refused. `error`: of mingo.
inline std::optional<std::string_view> UpdateDeviation(ValueView specification, ValueView before,
                                                       const std::optional<Bytes>& ours,
                                                       std::string_view error) {
  if (!ours.has_value() && error.empty()) return "updates-that-do-not-fit";
  const ValueView update = *specification.Find("update");
  if (update.IsArray() && ours.has_value() != error.empty()) return "errors-in-expressions";
  if (update.IsArray()) return StagesDeviation(update, {Bytes(before.bytes())}, false);
  for (const auto modifications : Entries(update)) {
    for (const auto modification : Entries(modifications.value)) {
      const std::string_view path = modification.key;
      const auto check = [&](const std::optional<ValueView>& old) {
        return ModificationDeviation(modifications.key, modification.value, old);
      };
      const std::size_t positional = path.find(".$");
      std::optional<std::string_view> found;
      if (positional == std::string_view::npos) {
        found = check(FindPath(before, path));
      } else {
        const std::size_t end = path.find('.', positional + 1);
        const std::string_view rest =
            end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
        if (rest.find('$') != std::string_view::npos) return "positional-twice";
        const std::optional<ValueView> array = FindPath(before, path.substr(0, positional));
        if (!array.has_value()) return "updates-that-do-not-fit";
        found = FilterDeviationAt(*specification.Find("filter"), before);
        const std::string_view array_path = path.substr(0, positional);
        for (const auto condition : Entries(*specification.Find("filter"))) {
          Met met;
          Meet(before, condition.key, false, &met);
          // In $and and its kin it may be about another array, too.
          const bool elsewhere =
              condition.key.starts_with('$') || met.array_on_path || met.array_at_end;
          if (!found.has_value() && elsewhere && !condition.key.starts_with(array_path)) {
            found = "positional-of-others";
          }
        }
        for (const ValueView element : Elements(*array)) {
          if (found.has_value()) break;
          if (element.IsArray()) found = "nested-arrays";
          if (!found.has_value()) found = check(FindPath(element, rest));
          for (const ValueView filter :
               Elements(specification.Find("arrayFilters").value_or(ValueView()))) {
            const std::string_view name = FirstKey(filter).substr(0, FirstKey(filter).find('.'));
            if (!found.has_value() && !name.empty()) {
              // So it is tested by mingo.
              const Bytes wrapped = Document(name, Array({Bytes(element.bytes())}));
              found = FilterDeviationAt(filter, View(wrapped));
            }
          }
        }
      }
      if (found.has_value()) return found;
      const std::string_view field = path.substr(0, path.find('.'));
      for (const ValueView value : {before, ours.has_value() ? View(*ours) : before}) {
        if (const auto large = ValueDeviationAt(value, field, Use::kOrder)) return large;
      }
      if (const auto large = ValueDeviation(modification.value)) return large;
    }
  }
  if (error.starts_with("BUG: positional")) return "positional-dotted";
  if (error.starts_with("You must include the array field")) return "positional-of-others";
  if (error.starts_with("$jsonSchema requires")) return "json-schema";
  return std::nullopt;
}

// Why mingo may fail where there is nothing wrong.
inline std::optional<std::string_view> ErrorDeviation(const Question& question,
                                                      std::string_view error) {
  const ValueView specification = View(question.specification);
  if (error.starts_with("$jsonSchema requires")) return "json-schema";
  if (ProjectsParts(specification)) return "slice-and-elemmatch";
  const bool computes =
      Uses(specification, "$expr") || specification.Find("aggregate").has_value() ||
      (specification.Find("update").has_value() && specification.Find("update")->IsArray());
  if (computes) return "errors-in-expressions";
  if (error.starts_with("Cannot read properties of null") ||
      error.starts_with("Cannot use 'in' operator")) {
    const bool projects = specification.Find("projection").has_value() ||
                          Uses(specification, "$project") || Uses(specification, "$unset");
    if (projects) return "projection-into-arrays";
  }
  return std::nullopt;
}

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_MINGO_DEVIATIONS_H_
