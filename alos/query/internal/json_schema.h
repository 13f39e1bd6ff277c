// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// $jsonSchema: JSON Schema draft 4 with the additions and omissions of MongoDB's manual.

#ifndef ALOS_QUERY_INTERNAL_JSON_SCHEMA_H_
#define ALOS_QUERY_INTERNAL_JSON_SCHEMA_H_

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/regex.h"
#include "alos/query/internal/type_mask.h"
#include "alos/query/internal/value_set.h"

namespace alos::query_internal {

// A compiled schema.
//
// Keywords: bsonType type enum allOf anyOf oneOf not, minimum maximum exclusiveMinimum
// exclusiveMaximum multipleOf, minLength maxLength pattern, required properties patternProperties
// additionalProperties minProperties maxProperties dependencies, items additionalItems minItems
// maxItems uniqueItems; title and description are taken and ignored. As in MongoDB, the type
// "integer" and the keywords $ref, $schema, default, definitions, format and id are refused. A
// keyword about values of one type says nothing about values of another one.
//
// Threads: immutable. Lifetime: the bytes it was compiled from must outlive it.
// Errors: Compile returns kInvalidArgument with the place of the keyword in the schema.
// Cost: matching is linear in the value times the keywords that look at each part of it.
class JsonSchema {
 public:
  // Schemas within the schema, itself included.
  static constexpr std::size_t kSchemasMax = 10'000;

  // `nesting_max`: levels of schemas within the schema.
  static absl::StatusOr<JsonSchema> Compile(ValueView schema, std::size_t nesting_max);

  bool Matches(ValueView value) const { return Matches(0, value); }

 private:
  class Compiler;

  using Index = std::uint32_t;  // Of a schema in schemas_.
  static constexpr Index kNone = std::numeric_limits<Index>::max();
  static constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

  // What is known of a value: at least and at most so many of something.
  struct Limits {
    std::uint64_t min = 0;
    std::uint64_t max = kUnlimited;
    bool Allows(std::uint64_t count) const { return min <= count && count <= max; }
    bool is_set() const { return min != 0 || max != kUnlimited; }
  };

  // bool, or a schema: what additionalProperties and additionalItems take.
  struct Additional {
    bool allowed = true;
    Index schema = kNone;
  };

  struct PatternProperty {
    std::unique_ptr<const re2::RE2> pattern;
    Index schema = kNone;
  };

  struct Dependency {
    std::string_view property;
    std::vector<std::string_view> required;
    Index schema = kNone;
  };

  struct Schema {
    std::optional<TypeMask> types;
    std::optional<ValueSet> values;  // enum
    std::vector<Index> all_of;
    std::vector<std::vector<Index>> any_of;  // At most one; a vector so that it can be absent.
    std::vector<std::vector<Index>> one_of;
    Index negated = kNone;
    // Numbers.
    std::optional<ValueView> minimum;
    std::optional<ValueView> maximum;
    bool exclusive_minimum = false;
    bool exclusive_maximum = false;
    std::optional<ValueView> multiple_of;
    // Strings.
    Limits length;
    std::unique_ptr<const re2::RE2> pattern;
    // Objects.
    std::vector<std::string_view> required;
    absl::flat_hash_map<std::string_view, Index> properties;
    std::vector<PatternProperty> pattern_properties;
    Additional additional_properties;
    Limits property_count;
    std::vector<Dependency> dependencies;
    // Arrays.
    Index items = kNone;                      // For every element; or
    std::optional<std::vector<Index>> tuple;  // for the first ones, and
    Additional additional_items;              // for those after them.
    Limits item_count;
    bool unique_items = false;
  };

  bool Matches(Index index, ValueView value) const {
    const Schema& schema = schemas_[index];
    if (schema.types.has_value() && !HasType(*schema.types, value.type())) return false;
    if (schema.values.has_value() && !schema.values->contains(value)) return false;
    if (!MatchesCombinations(schema, value)) return false;
    if (value.IsNumber()) return MatchesNumber(schema, value);
    if (value.IsString()) return MatchesString(schema, value.AsString());
    if (value.IsDocument()) return MatchesObject(schema, value);
    if (value.IsArray()) return MatchesArray(schema, value);
    return true;
  }

  bool MatchesCombinations(const Schema& schema, ValueView value) const {
    const auto matches = [&](Index index) { return Matches(index, value); };
    if (!std::all_of(schema.all_of.begin(), schema.all_of.end(), matches)) return false;
    for (const std::vector<Index>& any : schema.any_of) {
      if (std::none_of(any.begin(), any.end(), matches)) return false;
    }
    for (const std::vector<Index>& one : schema.one_of) {
      if (std::count_if(one.begin(), one.end(), matches) != 1) return false;
    }
    return schema.negated == kNone || !Matches(schema.negated, value);
  }

  static bool IsNan(ValueView value) {
    return value.type() == ValueType::kDouble && std::isnan(value.AsDouble());
  }

  static bool IsMultiple(ValueView value, ValueView divisor) {
    const std::optional<std::int64_t> a = value.ToInt64();
    const std::optional<std::int64_t> b = divisor.ToInt64();
    if (a.has_value() && b.has_value()) return *a % *b == 0;  // b is positive.
    if (value.type() == ValueType::kUint64 && b.has_value()) {
      return value.AsUint64() % static_cast<std::uint64_t>(*b) == 0;
    }
    return std::fmod(value.AsDouble(), divisor.AsDouble()) == 0;
  }

  static bool MatchesNumber(const Schema& schema, ValueView value) {
    const auto within = [value](ValueView limit, bool exclusive, bool lower) {
      if (IsNan(value) || IsNan(limit)) return IsNan(value) && IsNan(limit) && !exclusive;
      const std::weak_ordering order = lower ? Compare(limit, value) : Compare(value, limit);
      return exclusive ? order < 0 : order <= 0;
    };
    return (!schema.minimum.has_value() ||
            within(*schema.minimum, schema.exclusive_minimum, true)) &&
           (!schema.maximum.has_value() ||
            within(*schema.maximum, schema.exclusive_maximum, false)) &&
           (!schema.multiple_of.has_value() || IsMultiple(value, *schema.multiple_of));
  }

  static bool MatchesString(const Schema& schema, std::string_view text) {
    if (schema.length.is_set()) {
      // Code points: all bytes but those that continue one.
      const auto code_points = std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
      });
      if (!schema.length.Allows(static_cast<std::uint64_t>(code_points))) return false;
    }
    return schema.pattern == nullptr || MatchesRegex(*schema.pattern, text);
  }

  bool MatchesObject(const Schema& schema, ValueView object) const {
    if (!schema.property_count.Allows(object.size())) return false;
    for (const std::string_view name : schema.required) {
      if (!object.Find(name).has_value()) return false;
    }
    for (const Dependency& dependency : schema.dependencies) {
      if (!object.Find(dependency.property).has_value()) continue;
      for (const std::string_view name : dependency.required) {
        if (!object.Find(name).has_value()) return false;
      }
      if (dependency.schema != kNone && !Matches(dependency.schema, object)) return false;
    }
    if (schema.properties.empty() && schema.pattern_properties.empty() &&
        schema.additional_properties.allowed && schema.additional_properties.schema == kNone) {
      return true;
    }
    for (const auto entry : object.entries()) {
      bool named = false;
      const auto property = schema.properties.find(entry.key);
      if (property != schema.properties.end()) {
        named = true;
        if (!Matches(property->second, entry.value)) return false;
      }
      for (const PatternProperty& pattern : schema.pattern_properties) {
        if (!MatchesRegex(*pattern.pattern, entry.key)) continue;
        named = true;
        if (!Matches(pattern.schema, entry.value)) return false;
      }
      if (!named && !IsAllowed(schema.additional_properties, entry.value)) return false;
    }
    return true;
  }

  bool IsAllowed(const Additional& additional, ValueView value) const {
    if (additional.schema != kNone) return Matches(additional.schema, value);
    return additional.allowed;
  }

  bool MatchesArray(const Schema& schema, ValueView array) const {
    if (!schema.item_count.Allows(array.size())) return false;
    if (schema.items != kNone || schema.tuple.has_value()) {
      std::size_t position = 0;
      for (const ValueView element : array.elements()) {
        const bool matches = schema.items != kNone ? Matches(schema.items, element)
                             : position < schema.tuple->size()
                                 ? Matches((*schema.tuple)[position], element)
                                 : IsAllowed(schema.additional_items, element);
        if (!matches) return false;
        ++position;
      }
    }
    if (schema.unique_items) {
      ValueSet seen;
      for (const ValueView element : array.elements()) {
        if (!seen.insert(element).second) return false;
      }
    }
    return true;
  }

  std::vector<Schema> schemas_;  // schemas_[0] is the whole.
};

class JsonSchema::Compiler {
 public:
  explicit Compiler(std::size_t nesting_max) : nesting_max_(nesting_max) {}

  absl::StatusOr<Index> Compile(ValueView schema, std::size_t depth) {
    if (!schema.IsDocument()) return Error("a schema must be a document, not ", Describe(schema));
    if (depth > nesting_max_) {
      return Error("schemas are nested more than ", nesting_max_, " levels deep");
    }
    if (schemas_.size() == kSchemasMax) {
      return Error("has more than ", kSchemasMax, " schemas within it");
    }
    const auto index = static_cast<Index>(schemas_.size());
    schemas_.emplace_back();
    Schema compiled;
    for (const auto entry : schema.entries()) {
      const std::size_t place = place_.size();
      absl::StrAppend(&place_, place_.empty() ? "" : ".", DescribeText(entry.key));
      ALOS_RETURN_IF_ERROR(Keyword(schema, entry.key, entry.value, depth, &compiled));
      place_.resize(place);
    }
    schemas_[index] = std::move(compiled);
    return index;
  }

  std::vector<Schema> Finish() { return std::move(schemas_); }

 private:
  template <class... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(absl::StrCat("$jsonSchema", place_.empty() ? "" : " at '",
                                                   place_, place_.empty() ? "" : "'", ": ",
                                                   pieces...));
  }

  absl::Status Keyword(ValueView siblings, std::string_view name, ValueView value,
                       std::size_t depth, Schema* schema) {
    if (name == "bsonType" || name == "type") {
      if (siblings.Find(name == "type" ? "bsonType" : "type").has_value()) {
        return Error("type and bsonType cannot stand beside each other");
      }
      return Types(name, value, schema);
    }
    if (name == "enum") return Enum(value, schema);
    if (name == "allOf") return Schemas(name, value, depth, &schema->all_of);
    if (name == "anyOf") return Schemas(name, value, depth, &schema->any_of.emplace_back());
    if (name == "oneOf") return Schemas(name, value, depth, &schema->one_of.emplace_back());
    if (name == "not") return Nested(value, depth, &schema->negated);
    if (name == "minimum") return Number(name, value, &schema->minimum);
    if (name == "maximum") return Number(name, value, &schema->maximum);
    if (name == "exclusiveMinimum") {
      return Exclusive(siblings, name, "minimum", value, &schema->exclusive_minimum);
    }
    if (name == "exclusiveMaximum") {
      return Exclusive(siblings, name, "maximum", value, &schema->exclusive_maximum);
    }
    if (name == "multipleOf") {
      ALOS_RETURN_IF_ERROR(Number(name, value, &schema->multiple_of));
      if (!(value.AsDouble() > 0)) {
        return Error(name, " needs a number above 0, not ", Describe(value));
      }
      return absl::OkStatus();
    }
    if (name == "minLength") return Count(name, value, &schema->length.min);
    if (name == "maxLength") return Count(name, value, &schema->length.max);
    if (name == "pattern") return Pattern(name, value, &schema->pattern);
    if (name == "required") return Names(name, value, &schema->required);
    if (name == "properties") return Properties(value, depth, schema);
    if (name == "patternProperties") return PatternProperties(value, depth, schema);
    if (name == "additionalProperties") {
      return AdditionalSchema(name, value, depth, &schema->additional_properties);
    }
    if (name == "minProperties") return Count(name, value, &schema->property_count.min);
    if (name == "maxProperties") return Count(name, value, &schema->property_count.max);
    if (name == "dependencies") return Dependencies(value, depth, schema);
    if (name == "items") return Items(value, depth, schema);
    if (name == "additionalItems") {
      return AdditionalSchema(name, value, depth, &schema->additional_items);
    }
    if (name == "minItems") return Count(name, value, &schema->item_count.min);
    if (name == "maxItems") return Count(name, value, &schema->item_count.max);
    if (name == "uniqueItems") return Bool(name, value, &schema->unique_items);
    if (name == "title" || name == "description") {
      if (value.IsString()) return absl::OkStatus();
      return Error(name, " needs a string, not ", Describe(value));
    }
    return Unknown(name);
  }

  absl::Status Unknown(std::string_view name) const {
    static constexpr std::string_view kRefused[] = {
        "$ref", "$schema", "default",         "definitions", "format",
        "id",   "encrypt", "encryptMetadata", "keyId",       "algorithm"};
    if (std::find(std::begin(kRefused), std::end(kRefused), name) != std::end(kRefused)) {
      return Error("the keyword ", name, " is not supported");
    }
    return Error("unknown keyword");
  }

  absl::Status AddType(std::string_view keyword, ValueView name, TypeMask* mask) const {
    if (!name.IsString()) return Error(keyword, " needs names of types, not ", Describe(name));
    const std::string_view text = name.AsString();
    if (keyword == "type") {
      // JSON's own names.
      static constexpr BsonType kJsonTypes[] = {{"object", 0, TypeBit(ValueType::kDocument)},
                                                {"array", 0, TypeBit(ValueType::kArray)},
                                                {"number", 0, kNumberTypes},
                                                {"boolean", 0, TypeBit(ValueType::kBool)},
                                                {"string", 0, TypeBit(ValueType::kString)},
                                                {"null", 0, TypeBit(ValueType::kNull)}};
      for (const BsonType& type : kJsonTypes) {
        if (type.alias != text) continue;
        *mask |= type.mask;
        return absl::OkStatus();
      }
      return Error("type needs object, array, number, boolean, string or null, not ",
                   Describe(name), text == "integer" ? "; use bsonType: \"int\"" : "");
    }
    const std::optional<TypeMask> types = FindTypes(name);
    if (!types.has_value()) {
      return Error("bsonType needs names of types such as \"string\", \"int\" or \"object\", not ",
                   Describe(name));
    }
    *mask |= *types;
    return absl::OkStatus();
  }

  absl::Status Types(std::string_view keyword, ValueView value, Schema* schema) const {
    TypeMask mask = 0;
    if (value.IsArray()) {
      if (value.size() == 0) return Error(keyword, " needs at least one type");
      for (const ValueView name : value.elements()) {
        ALOS_RETURN_IF_ERROR(AddType(keyword, name, &mask));
      }
    } else {
      ALOS_RETURN_IF_ERROR(AddType(keyword, value, &mask));
    }
    schema->types = mask;
    return absl::OkStatus();
  }

  absl::Status Enum(ValueView value, Schema* schema) const {
    if (!value.IsArray() || value.size() == 0) {
      return Error("enum needs a non-empty array of values, not ", Describe(value));
    }
    schema->values.emplace();
    for (const ValueView element : value.elements()) schema->values->insert(element);
    return absl::OkStatus();
  }

  absl::Status Schemas(std::string_view keyword, ValueView value, std::size_t depth,
                       std::vector<Index>* schemas) {
    if (!value.IsArray() || value.size() == 0) {
      return Error(keyword, " needs a non-empty array of schemas, not ", Describe(value));
    }
    for (const ValueView schema : value.elements()) {
      ALOS_RETURN_IF_ERROR(Nested(schema, depth, &schemas->emplace_back()));
    }
    return absl::OkStatus();
  }

  absl::Status Nested(ValueView value, std::size_t depth, Index* index) {
    absl::StatusOr<Index> compiled = Compile(value, depth + 1);
    if (!compiled.ok()) return compiled.status();
    *index = *compiled;
    return absl::OkStatus();
  }

  absl::Status Number(std::string_view keyword, ValueView value,
                      std::optional<ValueView>* number) const {
    if (!value.IsNumber()) return Error(keyword, " needs a number, not ", Describe(value));
    *number = value;
    return absl::OkStatus();
  }

  absl::Status Bool(std::string_view keyword, ValueView value, bool* out) const {
    if (!value.IsBool()) return Error(keyword, " needs true or false, not ", Describe(value));
    *out = value.AsBool();
    return absl::OkStatus();
  }

  absl::Status Exclusive(ValueView siblings, std::string_view keyword, std::string_view limit,
                         ValueView value, bool* out) const {
    if (!siblings.Find(limit).has_value()) return Error(keyword, " needs ", limit, " beside it");
    return Bool(keyword, value, out);
  }

  absl::Status Count(std::string_view keyword, ValueView value, std::uint64_t* count) const {
    const std::optional<std::int64_t> number = value.ToInt64();
    if (!number.has_value() || *number < 0) {
      return Error(keyword, " needs a whole number that is not negative, not ", Describe(value));
    }
    *count = static_cast<std::uint64_t>(*number);
    return absl::OkStatus();
  }

  absl::Status Pattern(std::string_view keyword, ValueView value,
                       std::unique_ptr<const re2::RE2>* pattern) const {
    if (!value.IsString()) return Error(keyword, " needs a string, not ", Describe(value));
    return CompilePattern(value.AsString(), pattern);
  }

  absl::Status CompilePattern(std::string_view text,
                              std::unique_ptr<const re2::RE2>* pattern) const {
    absl::StatusOr<std::unique_ptr<const re2::RE2>> compiled = CompileRegex(text, "");
    if (!compiled.ok()) return Error(compiled.status().message());
    *pattern = *std::move(compiled);
    return absl::OkStatus();
  }

  absl::Status Names(std::string_view keyword, ValueView value,
                     std::vector<std::string_view>* names) const {
    if (!value.IsArray() || value.size() == 0) {
      return Error(keyword, " needs a non-empty array of field names, not ", Describe(value));
    }
    absl::flat_hash_set<std::string_view> seen;
    for (const ValueView name : value.elements()) {
      if (!name.IsString()) return Error(keyword, " needs field names, not ", Describe(name));
      if (!seen.insert(name.AsString()).second) {
        return Error(keyword, " names '", DescribeText(name.AsString()), "' twice");
      }
      names->push_back(name.AsString());
    }
    return absl::OkStatus();
  }

  absl::Status NeedDocument(std::string_view keyword, ValueView value) const {
    if (value.IsDocument()) return absl::OkStatus();
    return Error(keyword, " needs a document, not ", Describe(value));
  }

  absl::Status Properties(ValueView value, std::size_t depth, Schema* schema) {
    ALOS_RETURN_IF_ERROR(NeedDocument("properties", value));
    for (const auto entry : value.entries()) {
      ALOS_RETURN_IF_ERROR(Nested(entry.value, depth, &schema->properties[entry.key]));
    }
    return absl::OkStatus();
  }

  absl::Status PatternProperties(ValueView value, std::size_t depth, Schema* schema) {
    ALOS_RETURN_IF_ERROR(NeedDocument("patternProperties", value));
    for (const auto entry : value.entries()) {
      PatternProperty property;
      ALOS_RETURN_IF_ERROR(CompilePattern(entry.key, &property.pattern));
      ALOS_RETURN_IF_ERROR(Nested(entry.value, depth, &property.schema));
      schema->pattern_properties.push_back(std::move(property));
    }
    return absl::OkStatus();
  }

  absl::Status AdditionalSchema(std::string_view keyword, ValueView value, std::size_t depth,
                                Additional* additional) {
    if (value.IsBool()) {
      additional->allowed = value.AsBool();
      return absl::OkStatus();
    }
    if (value.IsDocument()) return Nested(value, depth, &additional->schema);
    return Error(keyword, " needs true, false or a schema, not ", Describe(value));
  }

  absl::Status Dependencies(ValueView value, std::size_t depth, Schema* schema) {
    ALOS_RETURN_IF_ERROR(NeedDocument("dependencies", value));
    for (const auto entry : value.entries()) {
      Dependency dependency;
      dependency.property = entry.key;
      if (entry.value.IsDocument()) {
        ALOS_RETURN_IF_ERROR(Nested(entry.value, depth, &dependency.schema));
      } else {
        ALOS_RETURN_IF_ERROR(Names("dependencies", entry.value, &dependency.required));
      }
      schema->dependencies.push_back(std::move(dependency));
    }
    return absl::OkStatus();
  }

  absl::Status Items(ValueView value, std::size_t depth, Schema* schema) {
    if (value.IsDocument()) return Nested(value, depth, &schema->items);
    if (!value.IsArray()) {
      return Error("items needs a schema or an array of schemas, not ", Describe(value));
    }
    schema->tuple.emplace();
    for (const ValueView item : value.elements()) {
      ALOS_RETURN_IF_ERROR(Nested(item, depth, &schema->tuple->emplace_back()));
    }
    return absl::OkStatus();
  }

  std::size_t nesting_max_;
  std::string place_;
  std::vector<Schema> schemas_;
};

inline absl::StatusOr<JsonSchema> JsonSchema::Compile(ValueView schema, std::size_t nesting_max) {
  Compiler compiler(nesting_max);
  const absl::StatusOr<Index> root = compiler.Compile(schema, 0);
  if (!root.ok()) return root.status();
  JsonSchema result;
  result.schemas_ = compiler.Finish();
  return result;
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_JSON_SCHEMA_H_
