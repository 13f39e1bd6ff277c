// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// $jsonSchema and $text by themselves.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "alos/query/internal/json_schema.h"
#include "alos/query/internal/shell_text.h"
#include "alos/query/internal/text_search.h"
#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

struct SchemaCase {
  std::string_view schema;
  std::vector<std::string_view> matching;
  std::vector<std::string_view> other;
};

void Check(const std::vector<SchemaCase>& cases) {
  for (const SchemaCase& c : cases) {
    const ShellDocument text(c.schema);
    const absl::StatusOr<JsonSchema> schema = JsonSchema::Compile(text.view(), 100);
    ASSERT_TRUE(schema.ok()) << c.schema << ": " << schema.status();
    for (const std::string_view value : c.matching) {
      EXPECT_TRUE(schema->Matches(ShellDocument(value).view())) << c.schema << " on " << value;
    }
    for (const std::string_view value : c.other) {
      EXPECT_FALSE(schema->Matches(ShellDocument(value).view())) << c.schema << " on " << value;
    }
  }
}

TEST(JsonSchemaTest, Types) {
  Check({
      {"{}", {"1", "{}", "[]", "null"}, {}},
      {"{bsonType: 'int'}", {"1", "18446744073709551615"}, {"1.0", "'1'", "null"}},
      {"{bsonType: 'long'}", {"1"}, {"1.5"}},
      {"{bsonType: 'number'}", {"1", "1.5"}, {"true"}},
      {"{bsonType: ['string', 'null']}", {"'x'", "null"}, {"1"}},
      {"{bsonType: 'date'}", {"time(5)"}, {"5"}},
      {"{bsonType: 'objectId'}", {}, {"'x'", "null"}},
      {"{type: 'boolean'}", {"true"}, {"1"}},
      {"{type: ['object', 'array']}", {"{}", "[]"}, {"1"}},
      {"{type: 'number'}", {"1", "1.5"}, {"'1'"}},
      {"{enum: [1, 'x', {a: 1}, null]}", {"1.0", "'x'", "{a: 1}", "null"}, {"2", "{a: 1, b: 1}"}},
      {"{title: 't', description: 'd'}", {"1"}, {}},
  });
}

TEST(JsonSchemaTest, Combinations) {
  Check({
      {"{allOf: [{minimum: 1}, {maximum: 3}]}", {"2", "'x'"}, {"0", "4"}},
      {"{anyOf: [{type: 'string'}, {minimum: 5}]}", {"'x'", "6", "null"}, {"4"}},
      {"{oneOf: [{multipleOf: 2}, {multipleOf: 3}]}", {"2", "3"}, {"6", "5", "'x'"}},
      {"{not: {type: 'string'}}", {"1"}, {"'x'"}},
      {"{not: {not: {type: 'string'}}}", {"'x'"}, {"1"}},
  });
}

TEST(JsonSchemaTest, Numbers) {
  Check({
      {"{minimum: 2}", {"2", "2.0", "3", "'x'", "18446744073709551615"}, {"1", "NaN"}},
      {"{minimum: 2, exclusiveMinimum: true}", {"2.1"}, {"2"}},
      {"{minimum: 2, exclusiveMinimum: false}", {"2"}, {"1.9"}},
      {"{exclusiveMaximum: true, maximum: 2}", {"1"}, {"2"}},
      {"{maximum: 2}", {"2", "-Infinity"}, {"2.5", "Infinity"}},
      {"{multipleOf: 5}", {"10", "-10", "0", "10.0", "18446744073709551615"}, {"11", "NaN"}},
      {"{multipleOf: 0.5}", {"1.5", "2"}, {"1.7"}},
  });
}

TEST(JsonSchemaTest, Strings) {
  Check({
      {"{minLength: 2, maxLength: 3}", {"'ab'", "'abc'", "'äöü'", "5"}, {"'a'", "'abcd'", "'ä'"}},
      {"{pattern: '^a.c'}", {"'abcd'", "5"}, {"'xabc'"}},
  });
}

TEST(JsonSchemaTest, Objects) {
  Check({
      {"{required: ['a', 'b']}", {"{a: 1, b: null}", "5"}, {"{a: 1}"}},
      {"{properties: {a: {type: 'string'}}}", {"{a: 'x'}", "{}", "{b: 1}", "[1]"}, {"{a: 1}"}},
      {"{properties: {a: {}}, additionalProperties: false}", {"{a: 1}", "{}"}, {"{a: 1, b: 1}"}},
      {"{properties: {a: {}}, additionalProperties: {type: 'string'}}",
       {"{a: 1, b: 'x'}"},
       {"{a: 1, b: 1}"}},
      {"{patternProperties: {'^n': {type: 'number'}}, additionalProperties: false}",
       {"{n: 1, nn: 2}"},
       {"{n: 'x'}", "{m: 1}"}},
      {"{properties: {nx: {minimum: 2}}, patternProperties: {'^n': {maximum: 5}}}",
       {"{nx: 3}", "{ny: 1}"},
       {"{nx: 1}", "{nx: 6}", "{ny: 6}"}},
      {"{minProperties: 1, maxProperties: 2}", {"{a: 1}", "[]"}, {"{}", "{a: 1, b: 1, c: 1}"}},
      {"{dependencies: {a: ['b', 'c']}}", {"{}", "{b: 1}", "{a: 1, b: 1, c: 1}"}, {"{a: 1, b: 1}"}},
      {"{dependencies: {a: {required: ['b']}}}", {"{a: 1, b: 1}", "{}"}, {"{a: 1}"}},
      {"{properties: {a: {properties: {b: {properties: {c: {bsonType: 'int'}}}}}}}",
       {"{a: {b: {c: 1}}}", "{a: {b: 1}}", "{a: [{b: {c: 'x'}}]}"},
       {"{a: {b: {c: 'x'}}}"}},
  });
}

TEST(JsonSchemaTest, Arrays) {
  Check({
      {"{items: {type: 'number'}}", {"[1, 2]", "[]", "'x'"}, {"[1, 'x']"}},
      {"{items: [{type: 'number'}, {type: 'string'}]}",
       {"[1, 'x', null]", "[1]", "[]"},
       {"['x']", "[1, 2]"}},
      {"{items: [{type: 'number'}], additionalItems: false}", {"[1]", "[]"}, {"[1, 2]"}},
      {"{items: [{type: 'number'}], additionalItems: {type: 'string'}}", {"[1, 'x']"}, {"[1, 2]"}},
      {"{additionalItems: false}", {"[1, 2]"}, {}},  // Without a list of items it says nothing.
      {"{minItems: 1, maxItems: 2}", {"[1]", "[1, 2]", "{}"}, {"[]", "[1, 2, 3]"}},
      {"{uniqueItems: true}", {"[1, 2, '1']", "[]"}, {"[1, 1.0]", "[{a: 1}, {a: 1}]"}},
      {"{uniqueItems: false}", {"[1, 1]"}, {}},
  });
}

TEST(JsonSchemaTest, Errors) {
  const struct {
    std::string_view schema;
    std::vector<std::string_view> parts;
  } cases[] = {
      {"5", {"must be a document"}},
      {"{foo: 1}", {"'foo'", "unknown keyword"}},
      {"{$ref: 'x'}", {"$ref", "not supported"}},
      {"{properties: {a: {format: 'x'}}}", {"'properties.format'", "not supported"}},
      {"{type: 'integer'}", {"\"integer\"", "bsonType: \"int\""}},
      {"{type: 'int'}", {"\"int\""}},
      {"{bsonType: 'integer'}", {"\"integer\""}},
      {"{bsonType: 16}", {"names of types"}},
      {"{type: []}", {"at least one"}},
      {"{type: 'string', bsonType: 'string'}", {"beside each other"}},
      {"{enum: []}", {"non-empty"}},
      {"{allOf: []}", {"non-empty"}},
      {"{anyOf: [1]}", {"must be a document"}},
      {"{not: [{}]}", {"must be a document"}},
      {"{minimum: 'x'}", {"number"}},
      {"{exclusiveMinimum: true}", {"needs minimum beside it"}},
      {"{minimum: 1, exclusiveMinimum: 1}", {"true or false"}},
      {"{multipleOf: 0}", {"above 0"}},
      {"{multipleOf: NaN}", {"above 0"}},
      {"{minLength: -1}", {"not negative"}},
      {"{pattern: '('}", {"missing"}},
      {"{required: []}", {"non-empty"}},
      {"{required: ['a', 'a']}", {"twice"}},
      {"{properties: []}", {"needs a document"}},
      {"{patternProperties: {'(': {}}}", {"missing"}},
      {"{additionalProperties: 1}", {"true, false or a schema"}},
      {"{dependencies: {a: []}}", {"non-empty"}},
      {"{items: 1}", {"array of schemas"}},
      {"{uniqueItems: 1}", {"true or false"}},
      {"{title: 1}", {"string"}},
  };
  for (const auto& c : cases) {
    const ShellDocument text(c.schema);
    const absl::StatusOr<JsonSchema> schema = JsonSchema::Compile(text.view(), 100);
    EXPECT_EQ(schema.status().code(), absl::StatusCode::kInvalidArgument) << c.schema;
    for (const std::string_view part : c.parts) {
      EXPECT_TRUE(absl::StrContains(schema.status().message(), part))
          << c.schema << ": " << schema.status().message() << "\n  lacks " << part;
    }
  }
  const ShellDocument nested("{not: {not: {not: {}}}}");
  EXPECT_TRUE(JsonSchema::Compile(nested.view(), 3).ok());
  EXPECT_TRUE(absl::StrContains(JsonSchema::Compile(nested.view(), 2).status().message(), "deep"));
  std::string many = "{anyOf: [{}";
  for (std::size_t i = 0; i < JsonSchema::kSchemasMax; ++i) many += ",{}";
  const ShellDocument large(many + "]}");
  EXPECT_TRUE(
      absl::StrContains(JsonSchema::Compile(large.view(), 100).status().message(), "10000"));
}

std::string Folded(std::string_view text, TextFolding folding = {}) {
  std::string folded;
  FoldText(text, folding, &folded);
  return folded;
}

std::string Words(std::string_view text) {
  std::vector<std::string> words;
  VisitWords(text, [&](std::string_view word) {
    words.emplace_back(word);
    return false;
  });
  return absl::StrJoin(words, "|");
}

TEST(TextSearchTest, Folding) {
  EXPECT_EQ(Folded("CafÉ Straße ΣΊΣΥΦΟΣ Ёлка"), "cafe strasse σισυφοσ елка");
  EXPECT_EQ(Folded("Cafe\xcc\x81"), "cafe");  // A combining accent.
  EXPECT_EQ(Folded("CafÉ", {.case_sensitive = true}), "CafE");
  EXPECT_EQ(Folded("CafÉ", {.diacritic_sensitive = true}), "café");
  EXPECT_EQ(Folded("CafÉ", {.case_sensitive = true, .diacritic_sensitive = true}), "CafÉ");
  EXPECT_EQ(Folded("हिन्दी"), "हिन्दी");  // Vowel signs are no accents.
  EXPECT_EQ(Folded("a\xff\xc3z"), "a\xff\xc3z");
}

TEST(TextSearchTest, WordsAreRunsOfLettersMarksDigitsAndConnectors) {
  EXPECT_EQ(Words("Hello, world! snake_case 42; a-b"), "Hello|world|snake_case|42|a|b");
  EXPECT_EQ(Words("naïve — “größer” ।हिन्दी।"), "naïve|größer|हिन्दी");
  EXPECT_EQ(Words(""), "");
  EXPECT_EQ(Words("  "), "");
  EXPECT_EQ(Words("a\xff"
                  "b"),
            "a|b");
}

absl::StatusOr<TextSearch> Compile(std::string_view operand,
                                   const std::vector<std::string>& fields) {
  return TextSearch::Compile(ShellDocument(operand).view(), fields);
}

bool Finds(std::string_view operand, std::string_view document,
           const std::vector<std::string>& fields = {"t"}) {
  const absl::StatusOr<TextSearch> search = Compile(operand, fields);
  EXPECT_TRUE(search.ok()) << operand << ": " << search.status();
  return search.ok() && search->Matches(ShellDocument(document).view());
}

TEST(TextSearchTest, WordsPhrasesAndNegations) {
  const auto finds = [](std::string_view query, std::string_view text) {
    return Finds(absl::StrCat("{$search: '", query, "'}"), absl::StrCat("{t: '", text, "'}"));
  };
  EXPECT_TRUE(finds("coffee", "Coffee Shopping"));
  EXPECT_TRUE(finds("bake coffee cake", "coffee"));  // Any of the words.
  EXPECT_FALSE(finds("coffee", "coffees"));          // No stems.
  EXPECT_FALSE(finds("coff", "coffee"));
  EXPECT_TRUE(finds("\"coffee shop\"", "a coffee shop here"));
  EXPECT_FALSE(finds("\"coffee shop\"", "shop coffee"));
  EXPECT_FALSE(finds("\"coffee shop\" cake", "cake"));  // Phrases must all be there.
  EXPECT_FALSE(finds("\"coffee shop\" \"cake\"", "coffee shop"));
  EXPECT_TRUE(finds("\"coffee shop\" \"cake\"", "coffee shop, cake"));
  EXPECT_TRUE(finds("coffee -shop", "coffee"));
  EXPECT_FALSE(finds("coffee -shop", "coffee shop"));
  EXPECT_FALSE(finds("coffee -\"big shop\"", "coffee in a big shop"));
  EXPECT_TRUE(finds("coffee -\"big shop\"", "coffee in a big new shop"));
  EXPECT_FALSE(finds("-shop", "coffee"));      // Negations only match nothing.
  EXPECT_TRUE(finds("pre-market", "market"));  // No negation inside of a word.
  EXPECT_TRUE(finds("cafe", "CAFÉ"));
  EXPECT_TRUE(finds("coffee \"unclosed shop", "shop"));
  EXPECT_FALSE(finds("", "coffee"));
  EXPECT_FALSE(finds("the", "the coffee"));  // A stop word.
}

TEST(TextSearchTest, Options) {
  EXPECT_TRUE(Finds("{$search: 'the', $language: 'none'}", "{t: 'the coffee'}"));
  EXPECT_FALSE(Finds("{$search: 'the', $language: 'english'}", "{t: 'the coffee'}"));
  EXPECT_FALSE(Finds("{$search: 'Coffee', $caseSensitive: true}", "{t: 'coffee'}"));
  EXPECT_TRUE(Finds("{$search: 'Coffee', $caseSensitive: true}", "{t: 'Coffee'}"));
  EXPECT_FALSE(Finds("{$search: 'cafe', $diacriticSensitive: true}", "{t: 'café'}"));
  EXPECT_TRUE(Finds("{$search: 'CAFÉ', $diacriticSensitive: true}", "{t: 'café'}"));
}

TEST(TextSearchTest, Fields) {
  EXPECT_FALSE(Finds("{$search: 'x'}", "{u: 'x'}"));
  EXPECT_TRUE(Finds("{$search: 'x'}", "{t: ['y', 'x', 5]}"));
  EXPECT_TRUE(Finds("{$search: 'x'}", "{a: [{b: 'x'}]}", {"a.b"}));
  EXPECT_TRUE(Finds("{$search: 'x'}", "{a: [{b: {c: ['x']}}]}", {"$**"}));
  EXPECT_FALSE(Finds("{$search: 'x -y'}", "{t: 'x', u: 'y'}", {"t", "u"}));
  EXPECT_TRUE(Finds("{$search: '\"a\" \"b\"'}", "{t: 'a', u: 'b'}", {"t", "u"}));
}

TEST(TextSearchTest, WhatAnIndexNeedsToKnow) {
  const absl::StatusOr<TextSearch> search =
      Compile("{$search: 'Zebra apple \"Two Words\" -bad'}", {"t"});
  ASSERT_TRUE(search.ok());
  EXPECT_EQ(absl::StrJoin(search->words(), "|"), "apple|two|words|zebra");
  EXPECT_EQ(absl::StrJoin(search->phrases(), "|"), "two words");
  EXPECT_EQ(absl::StrJoin(search->negated_words(), "|"), "bad");
  ASSERT_EQ(search->fields().size(), 1u);
  EXPECT_FALSE(search->all_fields());
}

TEST(TextSearchTest, Errors) {
  const struct {
    std::string_view operand;
    std::string_view part;
  } cases[] = {
      {"5", "needs a document"},
      {"{}", "needs $search"},
      {"{$search: 5}", "needs a string"},
      {"{$search: 'x', $language: 'german'}", "\"german\" is not supported yet"},
      {"{$search: 'x', $language: 5}", "$language"},
      {"{$search: 'x', $caseSensitive: 1}", "true or false"},
      {"{$search: 'x', $foo: 1}", "unknown option $foo"},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<TextSearch> search = Compile(c.operand, {"t"});
    EXPECT_EQ(search.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(search.status().message(), c.part)) << search.status();
  }
  EXPECT_TRUE(
      absl::StrContains(Compile("{$search: 'x'}", {}).status().message(), "text index required"));
}

}  // namespace
}  // namespace alos::query_internal
