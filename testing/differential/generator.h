// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Random worlds: documents, what is done to them and what is asked about them.

#ifndef ALOS_TESTING_DIFFERENTIAL_GENERATOR_H_
#define ALOS_TESTING_DIFFERENTIAL_GENERATOR_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "testing/differential/language.h"
#include "testing/differential/values.h"

namespace alos::differential {

// A world is an array of steps, each a document:
//
//   {insert: document}
//   {update: update, filter: .., many: bool, upsert: bool, arrayFilters: [..]}
//   {delete: filter, many: bool}
//   {find: filter, sort: .., skip: n, limit: n, projection: ..}
//   {aggregate: pipeline}
//   {index: ["a", "b.x,a"]}  {checkpoint: 1}  {reopen: 1}
//   {text: ["a"]}             what $text searches from now on
//   {automatic: true}         only first: queries make indexes
//
// Each world draws a schema first: which fields there are, of which types, and how strange values
// may be. So that conditions hit, operands come from the same few values as the documents.
//
// Threads: one. Durability: none. Errors: none; what is generated need not be valid MongoDB, but
// mostly is.
class Generator {
 public:
  struct Size {
    std::size_t documents = 24;
    std::size_t cases = 100;
  };

  // The same seed and language give the same world, on every machine.
  Generator(std::uint64_t seed, const Language* language) : random_(seed), language_(*language) {}

  Bytes World(const Size& size) {
    MakeSchema();
    std::vector<Bytes> steps;
    const bool automatic = random_.Chance(40);
    if (automatic) steps.push_back(Document("automatic", Bool(true)));
    // Now and then enough for values that are rare and values that are not.
    const std::size_t documents = (random_.Chance(5) ? 200 : 1) + random_.Below(size.documents * 2);
    for (std::size_t i = 0; i < documents; ++i) steps.push_back(Document("insert", NewDocument()));
    if (random_.Chance(30)) steps.push_back(Document("checkpoint", Int(1)));
    steps.push_back(Document("index", Indexes(automatic)));
    if (!text_paths_.empty()) {
      std::vector<Bytes> paths;
      paths.reserve(text_paths_.size());
      for (const std::string& path : text_paths_) paths.push_back(String(path));
      steps.push_back(Document("text", Array(paths)));
    }
    const unsigned write_percent = static_cast<unsigned>(random_.Below(40));
    for (std::size_t i = 0; i < size.cases; ++i) {
      if (random_.Chance(write_percent)) {
        steps.push_back(Write());
      } else if (random_.Chance(35)) {
        steps.push_back(Document("aggregate", Pipeline()));
      } else {
        steps.push_back(Find());
      }
      if (random_.Chance(1)) steps.push_back(Document("reopen", Int(1)));
      if (random_.Chance(2)) steps.push_back(Document("index", Indexes(automatic)));
      if (random_.Chance(1)) steps.push_back(Document("checkpoint", Int(1)));
    }
    return Array(steps);
  }

 private:
  enum class Kind {
    kInt,
    kNumber,
    kWord,
    kText,
    kBool,
    kDate,
    kBinary,
    kNull,
    kAny,
    kDocument,
    kArray,
  };

  // What a field holds, most of the time.
  struct Field;
  struct Shape {
    Kind kind = Kind::kAny;
    std::vector<Field> fields;   // kDocument
    std::vector<Shape> element;  // kArray: one
  };
  struct Field {
    std::string name;
    Shape shape;
  };

  struct Target {
    std::string path;
    const Shape* shape;  // never null
    bool through_array = false;
  };

  // --- Schema and documents

  void MakeSchema() {
    exotic_ = random_.Chance(35);
    mixed_ids_ = random_.Chance(25);
    mixed_percent_ = random_.Chance(50) ? 3 : static_cast<unsigned>(random_.Below(30));
    missing_percent_ = static_cast<unsigned>(random_.Below(45));
    root_ = Shape{Kind::kDocument, {}, {}};
    static constexpr std::string_view kNames[] = {"a", "b", "c", "d", "e", "f", "g"};
    const std::size_t count = 3 + random_.Below(5);
    for (std::size_t i = 0; i < count; ++i) {
      root_.fields.push_back({std::string(kNames[i]), RandomShape(2)});
    }
    if (random_.Chance(30)) {
      root_.fields.push_back({"t", Shape{Kind::kText, {}, {}}});
      text_paths_.emplace_back("t");
      if (random_.Chance(50)) text_paths_.push_back(root_.fields[0].name);
    }
  }

  Shape RandomShape(std::size_t depth) {
    const std::size_t choice = random_.Below(depth == 0 ? 16 : 28);
    if (choice >= 23) {
      Shape shape{Kind::kArray, {}, {}};
      shape.element.push_back(RandomShape(random_.Chance(60) ? 0 : depth - 1));
      if (random_.Chance(40)) shape.element[0] = RandomDocumentShape(depth - 1);
      return shape;
    }
    if (choice >= 17) return RandomDocumentShape(depth - 1);
    static constexpr Kind kScalars[] = {
        Kind::kInt,  Kind::kInt,  Kind::kInt,  Kind::kNumber, Kind::kNumber, Kind::kNumber,
        Kind::kWord, Kind::kWord, Kind::kWord, Kind::kText,   Kind::kText,   Kind::kBool,
        Kind::kDate, Kind::kDate, Kind::kAny,  Kind::kBinary, Kind::kAny};
    return Shape{kScalars[choice], {}, {}};
  }

  Shape RandomDocumentShape(std::size_t depth) {
    static constexpr std::string_view kNames[] = {"x", "y", "z"};
    Shape shape{Kind::kDocument, {}, {}};
    const std::size_t count = 1 + random_.Below(3);
    for (std::size_t i = 0; i < count; ++i) {
      shape.fields.push_back({std::string(kNames[i]), RandomShape(depth)});
    }
    // Names that could be positions.
    if (exotic_ && random_.Chance(10)) shape.fields.push_back({"0", RandomShape(0)});
    return shape;
  }

  Bytes NewDocument() {
    Fields fields{{"_id", NewId()}};
    AddFields(root_, &fields);
    return Document(fields);
  }

  Bytes NewId() {
    const std::int64_t number = static_cast<std::int64_t>(next_id_++);
    if (!mixed_ids_) return Int(number);
    switch (random_.Below(exotic_ ? 6 : 4)) {
      case 0:
        return String(absl::StrCat("k", number));
      case 1:
        return Double(static_cast<double>(number) + 0.5);
      case 2:
        return Time(1'700'000'000 + number, 0);
      case 4:
        return Binary(absl::StrCat(number));
      default:
        return Int(number);
    }
  }

  void AddFields(const Shape& shape, Fields* fields) {
    for (const auto& [name, inner] : shape.fields) {
      if (!random_.Chance(missing_percent_)) fields->emplace_back(name, Value(inner));
    }
    if (fields->size() > 1 && random_.Chance(10)) {
      // Another order of fields; _id stays.
      std::swap((*fields)[fields->size() - 1], (*fields)[1]);
    }
  }

  Bytes Value(const Shape& shape, bool strict = false) {
    if (!strict && random_.Chance(mixed_percent_)) {
      return random_.Chance(40) ? Null() : AnyValue(1);
    }
    switch (shape.kind) {
      case Kind::kInt:
        return SomeInt();
      case Kind::kNumber:
        return SomeNumber();
      case Kind::kWord:
        return String(Word());
      case Kind::kText:
        return String(Text());
      case Kind::kBool:
        return Bool(random_.Chance(50));
      case Kind::kDate:
        return Date();
      case Kind::kBinary:
        return Binary(Word());
      case Kind::kNull:
        return Null();
      case Kind::kAny:
        return AnyValue(1);
      case Kind::kDocument: {
        Fields fields;
        AddFields(shape, &fields);
        return Document(fields);
      }
      case Kind::kArray: {
        std::vector<Bytes> elements;
        for (std::size_t i = random_.Below(5); i > 0; --i) {
          elements.push_back(Value(shape.element[0]));
        }
        return Array(elements);
      }
    }
    return Null();
  }

  Bytes AnyValue(std::size_t depth) {
    switch (random_.Below(depth == 0 ? 9 : 11)) {
      case 0:
        return Null();
      case 1:
        return Bool(random_.Chance(50));
      case 2:
      case 3:
        return SomeInt();
      case 4:
        return SomeNumber();
      case 5:
      case 6:
        return String(Word());
      case 7:
        return Date();
      case 8:
        return exotic_ && random_.Chance(30) ? Extension(5, Word()) : Binary(Word());
      case 9: {
        Fields fields;
        static constexpr std::string_view kNames[] = {"x", "y", "z", "a"};
        for (std::size_t i = random_.Below(3); i > 0; --i) {
          fields.emplace_back(std::string(random_.Pick(kNames)), AnyValue(depth - 1));
        }
        return Document(fields);
      }
      default: {
        std::vector<Bytes> elements;
        for (std::size_t i = random_.Below(4); i > 0; --i) elements.push_back(AnyValue(depth - 1));
        return Array(elements);
      }
    }
  }

  Bytes SomeInt() {
    if (exotic_ && random_.Chance(10)) {
      static constexpr std::int64_t kExtremes[] = {std::numeric_limits<std::int64_t>::min(),
                                                   std::numeric_limits<std::int64_t>::max(),
                                                   std::int64_t{1} << 53,
                                                   (std::int64_t{1} << 53) + 1,
                                                   -(std::int64_t{1} << 53) - 1,
                                                   std::numeric_limits<std::int32_t>::max(),
                                                   std::numeric_limits<std::int32_t>::min(),
                                                   std::int64_t{1} << 62};
      if (random_.Chance(20))
        return Uint(std::numeric_limits<std::uint64_t>::max() - random_.Below(2));
      return Int(random_.Pick(kExtremes));
    }
    return Int(random_.Chance(80) ? random_.Between(-2, 9) : random_.Between(-1000, 1000));
  }

  Bytes SomeNumber() {
    if (random_.Chance(40)) return SomeInt();
    if (exotic_ && random_.Chance(25)) {
      static constexpr double kExtremes[] = {std::numeric_limits<double>::quiet_NaN(),
                                             std::numeric_limits<double>::infinity(),
                                             -std::numeric_limits<double>::infinity(),
                                             -0.0,
                                             std::numeric_limits<double>::max(),
                                             std::numeric_limits<double>::denorm_min(),
                                             9007199254740992.0,
                                             9223372036854775808.0,
                                             -9223372036854775808.0,
                                             18446744073709551616.0,
                                             0.1};
      return Double(random_.Pick(kExtremes));
    }
    const std::int64_t halves = random_.Between(-4, 18);
    return Double(static_cast<double>(halves) / 2);
  }

  std::string Word() {
    static constexpr std::string_view kWords[] = {"",    "a",   "b",   "ab",  "abc", "Abc",
                                                  "ABC", "b c", "x",   "xy",  "yx",  "cab",
                                                  "10",  "9",   "a.b", "abab"};
    static constexpr std::string_view kUnicode[] = {"\u00e9",     "\u00c9t\u00e9", "\u65e5\u672c",
                                                    "\U0001f600", "a\U0001f600b",  "\uff5e",
                                                    "\u00df",     "a\nb",          "$a"};
    if (random_.Chance(exotic_ ? 25 : 3)) return std::string(random_.Pick(kUnicode));
    return std::string(random_.Pick(kWords));
  }

  std::string Text() {
    static constexpr std::string_view kWords[] = {
        "the",   "quick", "brown", "fox",  "Jumps", "over", "lazy", "dog", "hello",
        "World", "error", "42",    "time", "out",   "no",   "such", "file"};
    std::string text;
    for (std::size_t i = 1 + random_.Below(6); i > 0; --i) {
      absl::StrAppend(&text, text.empty() ? "" : " ", random_.Pick(kWords));
    }
    return text;
  }

  Bytes Date() {
    const std::int64_t day = random_.Between(-2, 20);
    const std::int64_t seconds = 1'709'200'000 + day * 43'200;
    if (exotic_ && random_.Chance(15)) {
      return random_.Chance(50) ? Time(-random_.Between(0, 5) * 1000, 1'000'000)
                                : Time(seconds, 123'456'789);
    }
    return Time(seconds, random_.Chance(30) ? 250'000'000 : 0);
  }

  // --- Paths

  // A path into the documents, with the shape of what stands there.
  Target SomePath() {
    const auto& [name, shape] = random_.Pick(root_.fields);
    Target target{name, &shape, false};
    while (random_.Chance(75)) {
      const Shape* at = target.shape;
      if (at->kind == Kind::kDocument && !at->fields.empty()) {
        const auto& [inner_name, inner] = random_.Pick(at->fields);
        absl::StrAppend(&target.path, ".", inner_name);
        target.shape = &inner;
      } else if (at->kind == Kind::kArray) {
        if (random_.Chance(20)) {
          absl::StrAppend(&target.path, ".", random_.Below(3));
          target.shape = &at->element[0];
          target.through_array = true;
        } else if (at->element[0].kind == Kind::kDocument) {
          const auto& [inner_name, inner] = random_.Pick(at->element[0].fields);
          absl::StrAppend(&target.path, ".", inner_name);
          target.shape = &inner;
          target.through_array = true;
        } else {
          break;
        }
      } else {
        break;
      }
    }
    if (random_.Chance(3)) {
      static constexpr std::string_view kElsewhere[] = {".x", ".0", ".nothing"};
      absl::StrAppend(&target.path, random_.Pick(kElsewhere));
    }
    return target;
  }

  Target SomePathOrId() {
    static const Shape kId{Kind::kInt, {}, {}};
    if (random_.Chance(8)) return Target{"_id", &kId, false};
    return SomePath();
  }

  // A field without dots, other than those in `used`; empty when there is none.
  std::string UnusedField(const std::vector<std::string>& used) {
    for (int attempt = 0; attempt < 8; ++attempt) {
      const std::string& name = random_.Pick(root_.fields).name;
      if (std::find(used.begin(), used.end(), name) == used.end()) return name;
    }
    return "";
  }

  // What a condition on this shape compares with: for an array mostly an element.
  Bytes Operand(const Shape& shape) {
    if (random_.Chance(4)) return Null();
    if (random_.Chance(4)) return AnyValue(1);
    if (shape.kind == Kind::kArray && random_.Chance(75)) return Value(shape.element[0]);
    return Value(shape);
  }

  // Fields to be indexed; more than one with commas between them.
  Bytes Indexes(bool automatic) {
    std::vector<Bytes> names;
    if (automatic && random_.Chance(70)) return Array(names);
    for (std::size_t i = random_.Below(8); i > 0; --i) {
      std::string name = SomePath().path;
      if (random_.Chance(25)) {
        const std::string other = SomePath().path;
        if (other != name) absl::StrAppend(&name, ",", other);
      }
      names.push_back(String(name));
    }
    return Array(names);
  }

  // --- Filters

  bool Has(OperatorKind kind, std::string_view name) const { return language_.Has(kind, name); }
  bool HasFilter(std::string_view name) const { return Has(OperatorKind::kFilter, name); }

  Bytes Filter(std::size_t depth = 2) {
    if (random_.Chance(4)) return Document(Fields{});
    Fields fields;
    for (std::size_t i = 1 + (random_.Chance(35) ? random_.Below(3) : 0); i > 0; --i) {
      AddCondition(depth, &fields);
    }
    return Document(fields);
  }

  void AddCondition(std::size_t depth, Fields* fields) {
    if (depth > 0 && random_.Chance(18)) {
      static constexpr std::string_view kLogical[] = {"$and", "$or", "$or", "$nor"};
      std::vector<Bytes> conditions;
      for (std::size_t i = 1 + random_.Below(3); i > 0; --i)
        conditions.push_back(Filter(depth - 1));
      fields->emplace_back(std::string(random_.Pick(kLogical)), Array(conditions));
      return;
    }
    if (HasFilter("$expr") && random_.Chance(6)) {
      fields->emplace_back("$expr", Expression(Type::kBool, 2));
      return;
    }
    if (HasFilter("$jsonSchema") && random_.Chance(1)) {
      fields->emplace_back("$jsonSchema", Schema(1));
      return;
    }
    if (random_.Chance(1)) {
      fields->emplace_back("$comment", String(Word()));
      return;
    }
    if (!text_paths_.empty() && random_.Chance(8)) {
      fields->emplace_back("$text", TextSearch());
      return;
    }
    const Target target = SomePathOrId();
    if (target.path == "_id" && !mixed_ids_) {
      const Bytes id = Int(random_.Between(0, static_cast<std::int64_t>(next_id_)));
      fields->emplace_back("_id", random_.Chance(50) ? id : Document("$gte", id));
      return;
    }
    fields->emplace_back(target.path, Condition(*target.shape, depth));
  }

  Bytes TextSearch() {
    std::string search;
    for (std::size_t i = 1 + random_.Below(3); i > 0; --i) {
      const std::string words = random_.Chance(80) ? Text() : Word();
      const std::string word = words.substr(0, words.find(' '));
      const unsigned choice = static_cast<unsigned>(random_.Below(10));
      const std::string part = choice < 7   ? word
                               : choice < 9 ? absl::StrCat("\"", words.substr(0, 12), "\"")
                                            : absl::StrCat("-", word);
      absl::StrAppend(&search, search.empty() ? "" : " ", part);
    }
    Fields options{{"$search", String(search)}};
    if (random_.Chance(50)) options.emplace_back("$language", String("none"));
    if (random_.Chance(20)) options.emplace_back("$caseSensitive", Bool(true));
    if (random_.Chance(20)) options.emplace_back("$diacriticSensitive", Bool(true));
    return Document(options);
  }

  Bytes Condition(const Shape& shape, std::size_t depth) {
    if (random_.Chance(20)) return Operand(shape);
    Fields operators;
    AddOperator(shape, depth, &operators);
    if (random_.Chance(20)) AddOperator(shape, depth, &operators);
    return Document(operators);
  }

  void AddOperator(const Shape& shape, std::size_t depth, Fields* operators) {
    const Shape& scalar =
        shape.kind == Kind::kArray && random_.Chance(80) ? shape.element[0] : shape;
    const bool textual = scalar.kind == Kind::kWord || scalar.kind == Kind::kText;
    const bool numeric = scalar.kind == Kind::kInt || scalar.kind == Kind::kNumber;
    switch (random_.Below(22)) {
      case 0:
      case 1:
        operators->emplace_back("$eq", Operand(shape));
        return;
      case 2:
        operators->emplace_back("$ne", Operand(shape));
        return;
      case 3:
      case 4:
      case 5:
      case 6: {
        static constexpr std::string_view kRanges[] = {"$gt", "$gte", "$lt", "$lte"};
        operators->emplace_back(std::string(random_.Pick(kRanges)), Operand(shape));
        if (random_.Chance(30)) {
          operators->emplace_back(std::string(random_.Pick(kRanges)), Operand(shape));
        }
        return;
      }
      case 7:
      case 8:
      case 9: {
        std::vector<Bytes> values;
        const std::size_t count = random_.Chance(10) ? 12 : random_.Below(5);
        for (std::size_t i = 0; i < count; ++i) values.push_back(Operand(shape));
        operators->emplace_back(random_.Chance(70) ? "$in" : "$nin", Array(values));
        return;
      }
      case 10:
      case 11:
        operators->emplace_back("$exists", Bool(random_.Chance(50)));
        return;
      case 12: {
        static constexpr std::string_view kTypes[] = {"double", "string", "object", "array",
                                                      "bool",   "date",   "null",   "int",
                                                      "long",   "number", "binData"};
        const Bytes type = String(random_.Pick(kTypes));
        operators->emplace_back(
            "$type", random_.Chance(70) ? type : Array({type, String(random_.Pick(kTypes))}));
        return;
      }
      case 13:
      case 14:
        if (textual || random_.Chance(15)) return AddRegex(operators);
        break;
      case 15:
        if (numeric || random_.Chance(20)) {
          const std::int64_t divisor = 1 + static_cast<std::int64_t>(random_.Below(4));
          operators->emplace_back("$mod", Array({Int(divisor), Int(random_.Between(0, divisor))}));
          return;
        }
        break;
      case 16:
        if ((numeric || random_.Chance(20)) && HasFilter("$bitsAllSet")) {
          static constexpr std::string_view kBits[] = {"$bitsAllSet", "$bitsAllClear",
                                                       "$bitsAnySet", "$bitsAnyClear"};
          const std::int64_t mask = random_.Between(0, 10);
          operators->emplace_back(
              std::string(random_.Pick(kBits)),
              random_.Chance(70) ? Int(mask)
                                 : Array({Int(random_.Between(0, 4)), Int(random_.Between(0, 8))}));
          return;
        }
        break;
      case 17:
        if (shape.kind == Kind::kArray || random_.Chance(15)) {
          operators->emplace_back("$size", Int(random_.Between(0, 4)));
          return;
        }
        break;
      case 18:
        if (shape.kind == Kind::kArray || random_.Chance(20)) {
          std::vector<Bytes> values;
          for (std::size_t i = 1 + random_.Below(2); i > 0; --i) values.push_back(Operand(shape));
          if (shape.kind == Kind::kArray && random_.Chance(15)) {
            values = {Document("$elemMatch", ElementMatch(shape.element[0], depth))};
          }
          operators->emplace_back("$all", Array(values));
          return;
        }
        break;
      case 19:
        if (shape.kind == Kind::kArray) {
          operators->emplace_back("$elemMatch", ElementMatch(shape.element[0], depth));
          return;
        }
        break;
      case 20:
        if (depth > 0) {
          Fields inner;
          AddOperator(shape, depth - 1, &inner);
          operators->emplace_back("$not", Document(inner));
          return;
        }
        break;
      default:
        break;
    }
    operators->emplace_back(random_.Chance(50) ? "$gte" : "$eq", Operand(shape));
  }

  Bytes ElementMatch(const Shape& element, std::size_t depth) {
    if (element.kind == Kind::kDocument && !element.fields.empty()) {
      Fields fields;
      for (std::size_t i = 1 + random_.Below(2); i > 0; --i) {
        const auto& [name, inner] = random_.Pick(element.fields);
        fields.emplace_back(name, Condition(inner, depth == 0 ? 0 : depth - 1));
      }
      return Document(fields);
    }
    Fields operators;
    AddOperator(element, 0, &operators);
    if (random_.Chance(40)) AddOperator(element, 0, &operators);
    return Document(operators);
  }

  void AddRegex(Fields* operators) {
    // Patterns that mean the same in RE2 and in JavaScript.
    static constexpr std::string_view kPatterns[] = {
        "a",     "^a",     "b$",     "ab",       "^ab",   "b|x",          "[ab]c", "a.b",
        "^$",    "x*y",    "(ab)+",  "\\.",      "o",     "the",          "fox",   "qu.ck",
        "er+or", "^the",   "dog$",   "hello|no", "[0-9]", "(quick|lazy)", "o.e",   "World",
        "jumps", "\\d\\d", "such f", "^[^a]",    "a{2,}", "(a|b)c?",      "xyzzy", "\\bno\\b"};
    operators->emplace_back("$regex", String(random_.Pick(kPatterns)));
    if (random_.Chance(35)) {
      static constexpr std::string_view kOptions[] = {"i", "i", "m", "s", "im"};
      operators->emplace_back("$options", String(random_.Pick(kOptions)));
    }
  }

  Bytes Schema(std::size_t depth) {
    Fields schema;
    if (random_.Chance(60)) {
      static constexpr std::string_view kTypes[] = {"string", "object", "array", "bool",
                                                    "date",   "number", "int",   "double"};
      const auto& [name, shape] = random_.Pick(root_.fields);
      Fields property{{"bsonType", String(random_.Pick(kTypes))}};
      if (random_.Chance(30)) property.emplace_back("minimum", Int(random_.Between(0, 5)));
      if (random_.Chance(30)) property.emplace_back("maxItems", Int(random_.Between(0, 3)));
      if (random_.Chance(30)) property.emplace_back("minLength", Int(random_.Between(0, 3)));
      schema.emplace_back("properties", Document(name, Document(property)));
    }
    if (random_.Chance(50) || schema.empty()) {
      schema.emplace_back("required", Array({String(random_.Pick(root_.fields).name)}));
    }
    if (depth > 0 && random_.Chance(20)) {
      schema.emplace_back("anyOf", Array({Schema(depth - 1), Schema(depth - 1)}));
    }
    return Document(schema);
  }

  // --- Find

  Bytes Sort(bool with_id) {
    Fields fields;
    for (std::size_t i = 1 + random_.Below(2); i > 0; --i) {
      fields.emplace_back(SomePathOrId().path, Int(random_.Chance(50) ? 1 : -1));
    }
    if (with_id) fields.emplace_back("_id", Int(random_.Chance(70) ? 1 : -1));
    return Document(fields);
  }

  Bytes Projection() {
    Fields fields;
    std::vector<std::string> used;
    const bool shown = random_.Chance(65);
    for (std::size_t i = 1 + random_.Below(3); i > 0; --i) {
      const Target target = SomePath();
      const std::string first = target.path.substr(0, target.path.find('.'));
      if (std::find(used.begin(), used.end(), first) != used.end()) continue;
      used.push_back(first);
      if (target.shape->kind == Kind::kArray && random_.Chance(40)) {
        if (Has(OperatorKind::kProjection, "$slice") && random_.Chance(50)) {
          const Bytes count = Int(random_.Between(-3, 3));
          fields.emplace_back(
              target.path,
              Document("$slice",
                       random_.Chance(60) ? count : Array({count, Int(random_.Between(1, 3))})));
          continue;
        }
        if (Has(OperatorKind::kProjection, "$elemMatch") && target.path == first) {
          fields.emplace_back(target.path,
                              Document("$elemMatch", ElementMatch(target.shape->element[0], 0)));
          continue;
        }
      }
      fields.emplace_back(target.path, Int(shown ? 1 : 0));
    }
    if (random_.Chance(30)) fields.emplace_back("_id", Int(0));
    return Document(fields);
  }

  Bytes Find() {
    Fields find{{"find", Filter()}};
    if (random_.Chance(45)) {
      const bool with_id = random_.Chance(75);
      find.emplace_back("sort", Sort(with_id));
      if (random_.Chance(50)) {
        if (random_.Chance(40)) find.emplace_back("skip", Int(random_.Between(0, 6)));
        find.emplace_back("limit", Int(random_.Between(1, 10)));
      }
    } else if (random_.Chance(10)) {
      find.emplace_back("limit", Int(random_.Between(1, 10)));
    }
    if (random_.Chance(20)) find.emplace_back("projection", Projection());
    return Document(find);
  }

  // --- Writes

  Bytes Write() {
    switch (random_.Below(10)) {
      case 0:
      case 1: {
        // Now and then an _id that is there.
        if (next_id_ > 0 && random_.Chance(10)) {
          next_id_ = random_.Below(next_id_);
        }
        return Document("insert", NewDocument());
      }
      case 2: {
        const bool many = random_.Chance(30);
        return Document(Fields{{"delete", many ? Filter() : FilterWithId()}, {"many", Bool(many)}});
      }
      default:
        return UpdateStep();
    }
  }

  Bytes FilterWithId() {
    Fields fields{{"_id", Int(random_.Between(0, static_cast<std::int64_t>(next_id_)))}};
    if (random_.Chance(30)) AddCondition(1, &fields);
    return Document(fields);
  }

  Bytes UpdateStep() {
    const bool upsert = random_.Chance(15);
    const bool many = random_.Chance(50);
    Fields step;
    array_filters_.clear();
    positional_filter_.clear();
    if (random_.Chance(6)) {
      step.emplace_back("update", [&] {
        Fields fields;
        AddFields(root_, &fields);
        return Document(fields);
      }());
      step.emplace_back("filter", FilterWithId());
      step.emplace_back("many", Bool(false));
    } else {
      if (Has(OperatorKind::kUpdate, "pipeline") && random_.Chance(8)) {
        step.emplace_back("update", UpdatePipeline());
      } else {
        step.emplace_back("update", Update());
      }
      Bytes filter = many ? Filter() : FilterWithId();
      if (!positional_filter_.empty()) {
        Fields fields{positional_filter_};
        for (const auto entry : Entries(View(filter))) {
          fields.emplace_back(std::string(entry.key), Bytes(entry.value.bytes()));
        }
        filter = Document(fields);
      }
      step.emplace_back("filter", std::move(filter));
      step.emplace_back("many", Bool(many));
    }
    if (upsert) step.emplace_back("upsert", Bool(true));
    if (!array_filters_.empty()) step.emplace_back("arrayFilters", Array(array_filters_));
    return Document(step);
  }

  // A path to be written, and its shape. Through arrays only by positions or positional operators.
  Target WritePath() {
    const auto& [name, shape] = random_.Pick(root_.fields);
    Target target{name, &shape, false};
    while (random_.Chance(70)) {
      const Shape* at = target.shape;
      if (at->kind == Kind::kDocument && !at->fields.empty()) {
        const auto& [inner_name, inner] = random_.Pick(at->fields);
        absl::StrAppend(&target.path, ".", inner_name);
        target.shape = &inner;
      } else if (at->kind == Kind::kArray && random_.Chance(60)) {
        AddElementOf(&target);
      } else {
        break;
      }
    }
    if (random_.Chance(3)) {
      absl::StrAppend(&target.path, ".new");
      static const Shape kInner{Kind::kInt, {}, {}};
      target.shape = &kInner;
    }
    return target;
  }

  void AddElementOf(Target* target) {
    const Shape& element = target->shape->element[0];
    const std::string array = target->path;
    target->shape = &element;
    target->through_array = true;
    if (Has(OperatorKind::kUpdate, "$[]")) {
      switch (random_.Below(4)) {
        case 0:
          target->path += ".$[]";
          return;
        case 1: {
          const std::string name = absl::StrCat("e", array_filters_.size());
          absl::StrAppend(&target->path, ".$[", name, "]");
          if (element.kind == Kind::kDocument && !element.fields.empty()) {
            const auto& [inner_name, inner] = random_.Pick(element.fields);
            array_filters_.push_back(
                Document(absl::StrCat(name, ".", inner_name), Condition(inner, 0)));
          } else {
            array_filters_.push_back(Document(name, Condition(element, 0)));
          }
          return;
        }
        case 2:
          if (positional_filter_.empty() && array.find('$') == std::string::npos) {
            target->path += ".$";
            if (element.kind == Kind::kDocument && !element.fields.empty()) {
              const auto& [inner_name, inner] = random_.Pick(element.fields);
              positional_filter_.emplace_back(absl::StrCat(array, ".", inner_name),
                                              Condition(inner, 0));
            } else {
              positional_filter_.emplace_back(array, Operand(*target->shape));
            }
            return;
          }
          break;
        default:
          break;
      }
    }
    absl::StrAppend(&target->path, ".", random_.Below(4));
  }

  Bytes Update() {
    std::vector<std::pair<std::string, Fields>> operators;
    std::vector<std::string> used;
    const auto put = [&](std::string_view name, const std::string& path, Bytes operand) {
      for (auto& [known, fields] : operators) {
        if (known == name) {
          fields.emplace_back(path, std::move(operand));
          return;
        }
      }
      operators.emplace_back(std::string(name), Fields{{path, std::move(operand)}});
    };
    for (std::size_t i = 1 + (random_.Chance(40) ? random_.Below(3) : 0); i > 0; --i) {
      const Target target = WritePath();
      const std::string first = target.path.substr(0, target.path.find('.'));
      // Two paths that meet are refused: seldom.
      if (std::find(used.begin(), used.end(), first) != used.end() && !random_.Chance(5)) continue;
      used.push_back(first);
      AddUpdateOperator(target, &used, put);
    }
    if (operators.empty()) return Document("$set", Document("a", SomeInt()));
    Fields update;
    for (const auto& [name, fields] : operators) update.emplace_back(name, Document(fields));
    return Document(update);
  }

  template <class Put>
  void AddUpdateOperator(const Target& target, std::vector<std::string>* used, Put&& put) {
    const Shape& shape = *target.shape;
    if (shape.kind == Kind::kArray && random_.Chance(75)) {
      const Shape& element = shape.element[0];
      switch (random_.Below(7)) {
        case 0:
          return put("$push", target.path, Value(element));
        case 1:
        case 2: {
          std::vector<Bytes> values;
          for (std::size_t i = random_.Below(4); i > 0; --i) values.push_back(Value(element));
          Fields clauses{{"$each", Array(values)}};
          if (random_.Chance(40)) {
            clauses.emplace_back("$position", Int(random_.Between(-3, 4)));
          }
          if (random_.Chance(40)) {
            if (element.kind == Kind::kDocument && !element.fields.empty()) {
              clauses.emplace_back("$sort", Document(random_.Pick(element.fields).name,
                                                     Int(random_.Chance(50) ? 1 : -1)));
            } else {
              clauses.emplace_back("$sort", Int(random_.Chance(50) ? 1 : -1));
            }
          }
          if (random_.Chance(40)) clauses.emplace_back("$slice", Int(random_.Between(-4, 4)));
          return put("$push", target.path, Document(clauses));
        }
        case 3:
          if (random_.Chance(50)) return put("$addToSet", target.path, Value(element));
          return put("$addToSet", target.path,
                     Document("$each", Array({Value(element), Value(element)})));
        case 4:
          return put("$pop", target.path, Int(random_.Chance(50) ? 1 : -1));
        case 5:
          return put("$pull", target.path, PullCondition(element));
        default:
          return put("$pullAll", target.path, Array({Value(element), Value(element)}));
      }
    }
    const bool numeric = shape.kind == Kind::kInt || shape.kind == Kind::kNumber;
    switch (random_.Below(10)) {
      case 0:
      case 1:
      case 2:
        return put("$set", target.path, Value(shape));
      case 3:
        return put("$unset", target.path, String(""));
      case 4:
      case 5:
        if (numeric || random_.Chance(15)) {
          return put(random_.Chance(70) ? "$inc" : "$mul", target.path,
                     random_.Chance(60) ? SomeInt() : SomeNumber());
        }
        return put("$set", target.path, Value(shape));
      case 6:
        return put(random_.Chance(50) ? "$min" : "$max", target.path, Value(shape));
      case 7: {
        const std::string other = UnusedField(*used);
        if (other.empty() || target.through_array) return put("$set", target.path, Value(shape));
        used->push_back(other);
        return put("$rename", target.path, String(other));
      }
      case 8:
        if (shape.kind == Kind::kInt) {
          static constexpr std::string_view kBits[] = {"and", "or", "xor"};
          return put("$bit", target.path,
                     Document(random_.Pick(kBits), Int(random_.Between(0, 15))));
        }
        return put("$set", target.path, Value(shape));
      default:
        return put("$setOnInsert", target.path, Value(shape));
    }
  }

  Bytes PullCondition(const Shape& element) {
    if (random_.Chance(40)) return Value(element);
    return ElementMatch(element, 0);
  }

  Bytes UpdatePipeline() {
    std::vector<Bytes> stages;
    for (std::size_t i = 1 + random_.Below(2); i > 0; --i) {
      switch (random_.Below(4)) {
        case 0:
          stages.push_back(Document("$unset", String(SomePath().path)));
          break;
        default:
          stages.push_back(Document("$set", ComputedFields(2)));
          break;
      }
    }
    return Array(stages);
  }

  // --- Pipelines

  bool HasStage(std::string_view name) const { return Has(OperatorKind::kStage, name); }

  Bytes Pipeline() {
    std::vector<Bytes> stages;
    if (random_.Chance(60)) stages.push_back(Document("$match", Filter()));
    // What follows may depend on the order of its input: sorted first, mostly.
    const bool ordered = random_.Chance(70);
    if (ordered) {
      const Bytes sort = random_.Chance(50) ? Sort(true) : Document("_id", Int(1));
      stages.push_back(Document("$sort", sort));
    }
    const std::size_t count = random_.Below(4);
    for (std::size_t i = 0; i < count; ++i) AddStage(ordered, &stages, 1);
    if (random_.Chance(8)) AddJoin(&stages);
    if (random_.Chance(8)) AddOutput(&stages);
    return Array(stages);
  }

  // Mostly into another collection: what replaces the documents of this one makes it dull.
  void AddOutput(std::vector<Bytes>* stages) {
    if (random_.Chance(35)) {
      if (!HasStage("$out")) return;
      stages->push_back(
          Document("$out", String(random_.Chance(10) ? kCollectionName : kOutputName)));
      return;
    }
    if (!HasStage("$merge")) return;
    Fields merge{{"into", String(random_.Chance(30) ? kCollectionName : kOutputName)}};
    static constexpr std::string_view kWhenMatched[] = {"replace", "keepExisting", "merge", "fail"};
    static constexpr std::string_view kWhenNotMatched[] = {"insert", "discard", "fail"};
    if (random_.Chance(20)) {
      merge.emplace_back("whenMatched", UpdatePipeline());
    } else if (random_.Chance(70)) {
      merge.emplace_back("whenMatched", String(random_.Pick(kWhenMatched)));
    }
    if (random_.Chance(40)) {
      merge.emplace_back("whenNotMatched", String(random_.Pick(kWhenNotMatched)));
    }
    stages->push_back(Document("$merge", Document(merge)));
  }

  // Mostly the collection with itself. What is joined may come in any order, so little comes after
  // it.
  void AddJoin(std::vector<Bytes>* stages) {
    const std::string from(random_.Chance(80) ? kCollectionName : kOutputName);
    switch (random_.Below(4)) {
      case 0: {
        if (!HasStage("$unionWith")) return;
        std::vector<Bytes> inner{Document("$match", Filter())};
        if (random_.Chance(30)) inner.push_back(Document("$project", ComputedProjection()));
        stages->push_back(Document(
            "$unionWith", Document(Fields{{"coll", String(from)}, {"pipeline", Array(inner)}})));
        return;
      }
      case 1: {
        if (!HasStage("$graphLookup")) return;
        Fields graph{{"from", String(from)},
                     {"startWith", String(absl::StrCat("$", SomePath().path))},
                     {"connectFromField", String(SomePath().path)},
                     {"connectToField", String(SomePath().path)},
                     {"as", String("j")}};
        if (random_.Chance(70)) graph.emplace_back("maxDepth", Int(random_.Between(0, 2)));
        if (random_.Chance(30)) graph.emplace_back("depthField", String("depth"));
        if (random_.Chance(30)) graph.emplace_back("restrictSearchWithMatch", Filter(1));
        stages->push_back(Document("$graphLookup", Document(graph)));
        break;
      }
      default: {
        if (!HasStage("$lookup")) return;
        Fields lookup{{"from", String(from)}, {"as", String("j")}};
        const bool by_fields = random_.Chance(75);
        if (by_fields) {
          lookup.emplace_back("localField", String(SomePath().path));
          lookup.emplace_back("foreignField", String(SomePath().path));
        }
        if (!by_fields || random_.Chance(25)) {
          std::vector<Bytes> inner{Document("$match", Filter(1))};
          if (random_.Chance(50)) {
            lookup.emplace_back("let", Document("x", String(absl::StrCat("$", SomePath().path))));
            const Bytes equal = Array({String(absl::StrCat("$", SomePath().path)), String("$$x")});
            inner.push_back(Document(
                "$match", Document("$expr", Document(random_.Chance(70) ? "$eq" : "$gte", equal))));
          }
          lookup.emplace_back("pipeline", Array(inner));
        }
        stages->push_back(Document("$lookup", Document(lookup)));
        break;
      }
    }
    if (random_.Chance(40)) stages->push_back(Document("$unwind", String("$j")));
  }

  void AddStage(bool ordered, std::vector<Bytes>* stages, std::size_t depth) {
    const auto add = [&](std::string_view name, Bytes operand) {
      stages->push_back(Document(name, operand));
    };
    switch (random_.Below(22)) {
      case 0:
        return add("$match", Filter(1));
      case 1:
        return add("$project", ComputedProjection());
      case 2:
        if (!HasStage("$addFields")) break;
        return add(random_.Chance(50) ? "$addFields" : "$set", ComputedFields(2));
      case 3:
        return add("$unset", random_.Chance(50) ? String(SomePath().path)
                                                : Array({String(random_.Pick(root_.fields).name)}));
      case 4:
      case 5:
      case 6:
      case 7:
        if (!HasStage("$group")) break;
        return add("$group", Group());
      case 8:
        return add("$sort", Sort(random_.Chance(60)));
      case 9:
        return add("$limit", Int(random_.Between(1, 12)));
      case 10:
        return add("$skip", Int(random_.Between(0, 5)));
      case 11:
      case 12: {
        if (!HasStage("$unwind")) break;
        const std::string path = absl::StrCat("$", ArrayPath());
        if (random_.Chance(50)) return add("$unwind", String(path));
        Fields options{{"path", String(path)}};
        if (random_.Chance(50)) options.emplace_back("includeArrayIndex", String("i"));
        if (random_.Chance(60)) {
          options.emplace_back("preserveNullAndEmptyArrays", Bool(random_.Chance(70)));
        }
        return add("$unwind", Document(options));
      }
      case 13:
        return add("$count", String("n"));
      case 14:
        if (!HasStage("$sortByCount")) break;
        return add("$sortByCount", Expression(Type::kAny, 1));
      case 15:
        if (!HasStage("$bucket")) break;
        {
          Fields options{{"groupBy", Expression(Type::kNumber, 1)},
                         {"boundaries", Array({Int(-2), Int(1), Double(3.5), Int(8)})},
                         {"default", String("other")}};
          if (random_.Chance(50))
            options.emplace_back("output", Document(AccumulatorFields(false)));
          return add("$bucket", Document(options));
        }
      case 16:
        if (!HasStage("$bucketAuto")) break;
        {
          Fields options{
              {"groupBy", random_.Chance(50) ? String("$_id") : Expression(Type::kNumber, 0)},
              {"buckets", Int(random_.Between(1, 5))}};
          if (random_.Chance(40))
            options.emplace_back("output", Document(AccumulatorFields(false)));
          return add("$bucketAuto", Document(options));
        }
      case 17:
        if (!HasStage("$facet") || depth == 0) break;
        {
          Fields facets;
          for (const std::string_view name : {"one", "two"}) {
            std::vector<Bytes> inner;
            inner.push_back(Document("$sort", Document("_id", Int(1))));
            for (std::size_t i = 1 + random_.Below(2); i > 0; --i) AddStage(ordered, &inner, 0);
            facets.emplace_back(std::string(name), Array(inner));
          }
          return add("$facet", Document(facets));
        }
      case 18:
        if (!HasStage("$replaceRoot")) break;
        {
          Fields root{{"_id", String("$_id")}, {"v", Expression(Type::kAny, 2)}};
          if (random_.Chance(50)) return add("$replaceWith", Document(root));
          return add("$replaceRoot", Document("newRoot", Document(root)));
        }
      case 19:
        if (!HasStage("$redact")) break;
        return add("$redact",
                   Document("$cond", Array({Expression(Type::kBool, 1),
                                            String(random_.Chance(50) ? "$$DESCEND" : "$$KEEP"),
                                            String("$$PRUNE")})));
      case 20:
        if (!HasStage("$setWindowFields")) break;
        return add("$setWindowFields", WindowFields());
      case 21:
        if (!HasStage("$fill")) break;
        return add("$fill",
                   Document(Fields{
                       {"sortBy", Document("_id", Int(1))},
                       {"output", Document(random_.Pick(root_.fields).name,
                                           random_.Chance(50) ? Document("method", String("locf"))
                                                              : Document("value", SomeInt()))}}));
      default:
        break;
    }
    add("$match", Filter(1));
  }

  std::string ArrayPath() {
    for (int attempt = 0; attempt < 6; ++attempt) {
      const Target target = SomePath();
      if (target.shape->kind == Kind::kArray) return target.path;
    }
    return SomePath().path;
  }

  Bytes ComputedProjection() {
    if (!HasStage("$addFields") || random_.Chance(50)) return Projection();
    Fields fields{{random_.Pick(root_.fields).name, Int(1)}, {"v", Expression(Type::kAny, 3)}};
    if (random_.Chance(30)) fields.emplace_back("w.x", Expression(Type::kAny, 2));
    return Document(fields);
  }

  Bytes ComputedFields(std::size_t depth) {
    Fields fields;
    for (std::size_t i = 1 + random_.Below(2); i > 0; --i) {
      static constexpr std::string_view kNew[] = {"v", "w", "v.x"};
      const std::string name =
          random_.Chance(60) ? std::string(random_.Pick(kNew)) : random_.Pick(root_.fields).name;
      fields.emplace_back(name, Expression(Type::kAny, depth));
    }
    if (fields.size() == 2 && (fields[0].first.starts_with(fields[1].first) ||
                               fields[1].first.starts_with(fields[0].first))) {
      fields.pop_back();
    }
    return Document(fields);
  }

  // --- Groups and windows

  Bytes Group() {
    Fields group;
    if (random_.Chance(15)) {
      group.emplace_back("_id", Null());
    } else if (random_.Chance(20)) {
      group.emplace_back("_id", Document(Fields{{"x", Expression(Type::kAny, 0)},
                                                {"y", Expression(Type::kAny, 1)}}));
    } else {
      group.emplace_back("_id", Expression(Type::kAny, 1));
    }
    for (auto& field : AccumulatorFields(random_.Chance(60))) group.push_back(std::move(field));
    return Document(group);
  }

  Fields AccumulatorFields(bool many) {
    Fields fields;
    for (std::size_t i = 1 + (many ? random_.Below(3) : 0); i > 0; --i) {
      fields.emplace_back(absl::StrCat("n", i), Accumulator());
    }
    return fields;
  }

  Bytes Accumulator() {
    switch (random_.Below(16)) {
      case 0:
        return Document("$sum", Int(1));
      case 1:
      case 2:
        return Document("$sum", Expression(Type::kNumber, 1));
      case 3:
      case 4:
        return Document("$avg", Expression(Type::kNumber, 1));
      case 5:
        return Document("$min", Expression(Type::kAny, 1));
      case 6:
        return Document("$max", Expression(Type::kAny, 1));
      case 7:
        return Document("$first", Expression(Type::kAny, 0));
      case 8:
        return Document("$last", Expression(Type::kAny, 0));
      case 9:
        return Document("$push", Expression(Type::kAny, 1));
      case 10:
        return Document("$addToSet", Expression(Type::kAny, 0));
      case 11:
        return Document("$count", Document(Fields{}));
      case 12: {
        static constexpr std::string_view kNames[] = {"$firstN", "$lastN", "$minN", "$maxN"};
        return Document(random_.Pick(kNames), Document(Fields{{"input", Expression(Type::kAny, 0)},
                                                              {"n", Int(random_.Between(1, 3))}}));
      }
      case 13:
        return Document(random_.Chance(50) ? "$stdDevPop" : "$stdDevSamp",
                        Expression(Type::kNumber, 0));
      case 14: {
        const bool many = random_.Chance(50);
        Fields top{{"sortBy", Document(Fields{{SomePath().path, Int(1)}, {"_id", Int(1)}})},
                   {"output", Expression(Type::kAny, 0)}};
        if (many) top.emplace_back("n", Int(random_.Between(1, 3)));
        return Document(
            random_.Chance(50) ? (many ? "$topN" : "$top") : (many ? "$bottomN" : "$bottom"),
            Document(top));
      }
      default:
        return Document("$mergeObjects", String(absl::StrCat("$", DocumentPath())));
    }
  }

  Bytes WindowFields() {
    Fields window{{"sortBy", Document("_id", Int(1))}};
    if (random_.Chance(50)) window.emplace_back("partitionBy", Expression(Type::kAny, 0));
    Fields output;
    for (std::size_t i = 1 + random_.Below(2); i > 0; --i) {
      Bytes function;
      Fields fields;
      switch (random_.Below(6)) {
        case 0:
          fields.emplace_back("$documentNumber", Document(Fields{}));
          break;
        case 1:
          fields.emplace_back("$rank", Document(Fields{}));
          break;
        case 2:
          fields.emplace_back("$shift", Document(Fields{{"output", Expression(Type::kAny, 0)},
                                                        {"by", Int(random_.Between(-2, 2))},
                                                        {"default", Int(0)}}));
          break;
        default: {
          static constexpr std::string_view kNames[] = {"$sum",  "$avg",   "$min", "$max",
                                                        "$push", "$first", "$last"};
          fields.emplace_back(std::string(random_.Pick(kNames)), Expression(Type::kNumber, 0));
          if (random_.Chance(70)) {
            const Bytes low =
                random_.Chance(30) ? String("unbounded") : Int(random_.Between(-2, 0));
            const Bytes high = random_.Chance(30) ? String("current") : Int(random_.Between(0, 2));
            fields.emplace_back("window", Document("documents", Array({low, high})));
          }
          break;
        }
      }
      output.emplace_back(absl::StrCat("n", i), Document(fields));
    }
    window.emplace_back("output", Document(output));
    return Document(window);
  }

  // --- Expressions

  enum class Type { kAny, kNumber, kString, kBool, kArray, kDate, kDocument };

  static Type TypeOf(const Shape& shape) {
    switch (shape.kind) {
      case Kind::kInt:
      case Kind::kNumber:
        return Type::kNumber;
      case Kind::kWord:
      case Kind::kText:
        return Type::kString;
      case Kind::kBool:
        return Type::kBool;
      case Kind::kDate:
        return Type::kDate;
      case Kind::kArray:
        return Type::kArray;
      case Kind::kDocument:
        return Type::kDocument;
      default:
        return Type::kAny;
    }
  }

  std::string DocumentPath() {
    for (int attempt = 0; attempt < 6; ++attempt) {
      const Target target = SomePath();
      if (target.shape->kind == Kind::kDocument && !target.through_array) return target.path;
    }
    return SomePath().path;
  }

  // "$path" of that type where the schema has one, else a constant.
  Bytes Leaf(Type type) {
    if (!random_.Chance(20)) {
      for (int attempt = 0; attempt < 6; ++attempt) {
        const Target target = SomePathOrId();
        if (type == Type::kAny || (TypeOf(*target.shape) == type && !target.through_array)) {
          return String(absl::StrCat("$", target.path));
        }
      }
    }
    switch (type) {
      case Type::kNumber:
        return random_.Chance(70) ? SomeInt() : SomeNumber();
      case Type::kString:
        return Document("$literal", String(Word()));
      case Type::kBool:
        return Bool(random_.Chance(50));
      case Type::kArray:
        return Array({SomeInt(), SomeInt(), Document("$literal", String(Word()))});
      case Type::kDate:
        return Date();
      case Type::kDocument:
        return Document("x", SomeInt());
      case Type::kAny:
        break;
    }
    return Document("$literal", AnyValue(1));
  }

  Bytes Call(std::string_view name, const std::vector<Bytes>& arguments) {
    return Document(name, Array(arguments));
  }

  Bytes Expression(Type type, std::size_t depth) {
    if (depth == 0 || random_.Chance(25)) return Leaf(type);
    --depth;
    // Guards: most operators refuse what is not of their type.
    switch (type) {
      case Type::kNumber:
        return NumberExpression(depth);
      case Type::kString:
        return StringExpression(depth);
      case Type::kBool:
        return BoolExpression(depth);
      case Type::kArray:
        return ArrayExpression(depth);
      case Type::kDate:
        return Leaf(Type::kDate);
      case Type::kDocument:
        return Call("$mergeObjects", {Leaf(Type::kDocument), Document("q", Leaf(Type::kAny))});
      case Type::kAny:
        break;
    }
    switch (random_.Below(8)) {
      case 0:
        return BoolExpression(depth);
      case 1:
      case 2:
        return NumberExpression(depth);
      case 3:
        return StringExpression(depth);
      case 4:
        return ArrayExpression(depth);
      case 5:
        return Call("$ifNull", {Leaf(Type::kAny), Expression(Type::kAny, depth)});
      case 6:
        return Call("$cond", {Expression(Type::kBool, depth), Expression(Type::kAny, depth),
                              Expression(Type::kAny, depth)});
      default: {
        Fields branch{{"case", Expression(Type::kBool, depth)}, {"then", Leaf(Type::kAny)}};
        return Document("$switch", Document(Fields{{"branches", Array({Document(branch)})},
                                                   {"default", Leaf(Type::kAny)}}));
      }
    }
  }

  Bytes NumberExpression(std::size_t depth) {
    const auto number = [&] { return Expression(Type::kNumber, depth); };
    switch (random_.Below(14)) {
      case 0:
      case 1:
        return Call("$add", {number(), number()});
      case 2:
        return Call("$subtract", {number(), number()});
      case 3:
        return Call("$multiply", {number(), number()});
      case 4:
        return Call("$divide", {number(), Int(random_.Between(1, 4))});
      case 5:
        return Call("$mod", {number(), Int(random_.Between(1, 4))});
      case 6: {
        static constexpr std::string_view kNames[] = {"$abs", "$ceil", "$floor", "$trunc"};
        return Document(random_.Pick(kNames), number());
      }
      case 7:
        return Call("$round", {number(), Int(random_.Between(0, 1))});
      case 8:
        return Document("$size", Expression(Type::kArray, depth));
      case 9:
        return Document("$strLenCP", Expression(Type::kString, depth));
      case 10: {
        static constexpr std::string_view kNames[] = {"$year", "$month",   "$dayOfMonth",
                                                      "$hour", "$minute",  "$dayOfWeek",
                                                      "$week", "$isoWeek", "$dayOfYear"};
        return Document(random_.Pick(kNames), Leaf(Type::kDate));
      }
      case 11: {
        static constexpr std::string_view kNames[] = {"$sum", "$max", "$min", "$avg"};
        return Document(random_.Pick(kNames), random_.Chance(50) ? Expression(Type::kArray, depth)
                                                                 : Array({number(), number()}));
      }
      case 12:
        return Call("$indexOfCP", {Expression(Type::kString, depth), String("b")});
      default:
        return Call("$cmp", {Expression(Type::kAny, 0), Expression(Type::kAny, 0)});
    }
  }

  Bytes StringExpression(std::size_t depth) {
    const auto text = [&] { return Expression(Type::kString, depth); };
    switch (random_.Below(9)) {
      case 0:
        return Call("$concat", {text(), String("-"), text()});
      case 1:
        return Document("$toUpper", text());
      case 2:
        return Document("$toLower", text());
      case 3:
        return Call("$substrCP", {text(), Int(random_.Between(0, 3)), Int(random_.Between(0, 4))});
      case 4:
        return Document("$toString", Leaf(random_.Chance(50) ? Type::kBool : Type::kString));
      case 5:
        return Document("$trim", Document("input", text()));
      case 6:
        return Document("$type", Expression(Type::kAny, depth));
      case 7:
        return Document(
            random_.Chance(50) ? "$replaceOne" : "$replaceAll",
            Document(
                Fields{{"input", text()}, {"find", String("b")}, {"replacement", String("Z")}}));
      default:
        return Document("$dateToString", Document(Fields{{"date", Leaf(Type::kDate)},
                                                         {"format", String("%Y-%m-%dT%H:%M")}}));
    }
  }

  Bytes BoolExpression(std::size_t depth) {
    switch (random_.Below(12)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        static constexpr std::string_view kNames[] = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"};
        const Type type = random_.Chance(50) ? Type::kNumber : Type::kAny;
        return Call(random_.Pick(kNames), {Expression(type, depth), Expression(type, depth)});
      }
      case 4:
        return Call("$and", {Expression(Type::kBool, depth), Expression(Type::kAny, depth)});
      case 5:
        return Call("$or", {Expression(Type::kBool, depth), Expression(Type::kAny, depth)});
      case 6:
        return Call("$not", {Expression(Type::kAny, depth)});
      case 7:
        return Call("$in", {Leaf(Type::kAny), Array({Int(1), String("a"), Null()})});
      case 8:
        return Document("$isArray", Leaf(Type::kAny));
      case 9:
        return Document("$isNumber", Leaf(Type::kAny));
      case 10: {
        static constexpr std::string_view kNames[] = {"$setEquals", "$setIsSubset"};
        return Call(random_.Pick(kNames), {Leaf(Type::kArray), Leaf(Type::kArray)});
      }
      default:
        return Document("$regexMatch", Document(Fields{{"input", Leaf(Type::kString)},
                                                       {"regex", String("a|the")}}));
    }
  }

  Bytes ArrayExpression(std::size_t depth) {
    const auto array = [&] { return Expression(Type::kArray, depth); };
    switch (random_.Below(12)) {
      case 0:
        return Call("$concatArrays", {array(), array()});
      case 1:
        return Call("$slice", {array(), Int(random_.Chance(50) ? 2 : -2)});
      case 2:
        return Document("$reverseArray", array());
      case 3:
        return Document("$filter",
                        Document(Fields{{"input", array()},
                                        {"as", String("e")},
                                        {"cond", Call("$gt", {String("$$e"), SomeInt()})}}));
      case 4:
        return Document("$map", Document(Fields{{"input", array()},
                                                {"as", String("e")},
                                                {"in", Call("$eq", {String("$$e"), SomeInt()})}}));
      case 5:
        return Call("$range", {Int(0), Int(random_.Between(0, 5)), Int(random_.Between(1, 2))});
      case 6: {
        static constexpr std::string_view kNames[] = {"$setUnion", "$setIntersection",
                                                      "$setDifference"};
        return Call(random_.Pick(kNames), {array(), array()});
      }
      case 7:
        return Call("$split", {Expression(Type::kString, depth), String(" ")});
      case 8:
        return Document(
            "$sortArray",
            Document(Fields{{"input", array()}, {"sortBy", Int(random_.Chance(50) ? 1 : -1)}}));
      case 9:
        return Document("$objectToArray", Leaf(Type::kDocument));
      case 10:
        return Array({Expression(Type::kAny, depth), Expression(Type::kNumber, depth)});
      default:
        return Document(
            "$reduce",
            Document(Fields{
                {"input", array()},
                {"initialValue", Array({})},
                {"in", Call("$concatArrays", {Array({String("$$this")}), String("$$value")})}}));
    }
  }

  Random random_;
  const Language& language_;
  Shape root_;
  std::vector<std::string> text_paths_;  // What $text searches.
  bool exotic_ = false;
  bool mixed_ids_ = false;
  unsigned mixed_percent_ = 0;
  unsigned missing_percent_ = 0;
  std::size_t next_id_ = 0;
  // Of the update being made.
  std::vector<Bytes> array_filters_;
  Fields positional_filter_;
};

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_GENERATOR_H_
