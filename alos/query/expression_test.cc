// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/expression.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::ShellDocument;
using query_internal::ToShellText;

constexpr Timestamp kNow{1'700'000'000, 123'000'000};

// The value of `expression` for `document` as text; "missing", or "error: ...".
std::string Result(std::string_view expression, std::string_view document) {
  const ShellDocument specification(expression);
  const ShellDocument root(document);
  const absl::StatusOr<Expression> compiled = Expression::Compile(specification.view());
  if (!compiled.ok()) return absl::StrCat("refused: ", compiled.status().message());
  EvaluationState state(kNow);
  const absl::StatusOr<std::optional<ValueView>> value = compiled->Evaluate(root.view(), state);
  if (!value.ok()) return absl::StrCat("error: ", value.status().message());
  if (!*value) return "missing";
  const absl::StatusOr<ValueView> parsed = ValueView::Parse((*value)->bytes());
  EXPECT_TRUE(parsed.ok()) << expression << ": " << parsed.status();
  return ToShellText(**value);
}

struct Case {
  std::string_view expression;
  // The result as text; "missing"; "error: part of the message"; "refused: part of it".
  std::string_view expected;
  std::string_view document = "{}";
};

void Check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const std::string result = Result(c.expression, c.document);
    for (const std::string_view kind : {"error: ", "refused: "}) {
      if (!absl::StartsWith(c.expected, kind)) continue;
      EXPECT_TRUE(absl::StartsWith(result, kind) &&
                  absl::StrContains(result, c.expected.substr(kind.size())))
          << c.expression << " of " << c.document << "\n  is       " << result << "\n  expected "
          << c.expected;
    }
    if (absl::StartsWith(c.expected, "error: ") || absl::StartsWith(c.expected, "refused: ")) {
      continue;
    }
    EXPECT_EQ(result, c.expected) << c.expression << " of " << c.document;
  }
}

TEST(ExpressionTest, LiteralsAndObjects) {
  Check({
      {"1", "1"},
      {"'text'", "'text'"},
      {"null", "null"},
      {"{}", "{}"},
      {"[]", "[]"},
      {"[1, 'a', [2]]", "[1, 'a', [2]]"},
      {"[1, '$a', '$none']", "[1, 5, null]", "{a: 5}"},
      {"{x: '$a', y: '$none', z: {w: '$a'}}", "{x: 5, z: {w: 5}}", "{a: 5}"},
      {"{$literal: '$a'}", "'$a'"},
      {"{$literal: {$add: [1, 2]}}", "{$add: [1, 2]}"},
      {"{$const: ['$a']}", "['$a']"},
      {"{'a.b': 1}", "refused: has a '.'"},
      {"{a: 1, $add: [1]}", "refused: $add has to stand alone"},
      {"{$add: [1], a: 1}", "refused: an object with one field"},
      {"{$noSuch: 1}", "refused: there is no expression operator $noSuch"},
  });
}

TEST(ExpressionTest, FieldPaths) {
  Check({
      {"'$a'", "5", "{a: 5}"},
      {"'$a'", "missing"},
      {"'$a'", "null", "{a: null}"},
      {"'$a.b'", "7", "{a: {b: 7}}"},
      {"'$a.b'", "missing", "{a: 7}"},
      {"'$a.b'", "missing", "{a: null}"},
      {"'$a.b'", "[1, 2]", "{a: [{b: 1}, {b: 2}]}"},
      {"'$a.b'", "[1, 3]", "{a: [{b: 1}, {c: 2}, 7, [{b: 4}], {b: 3}]}"},
      {"'$a.b'", "[]", "{a: []}"},
      {"'$a.b.c'", "[[1, 2], 3]", "{a: [{b: [{c: 1}, {c: 2}]}, {b: {c: 3}}]}"},
      // Positions are no part of expression paths.
      {"'$a.0'", "[]", "{a: [1, 2]}"},
      {"'$a.0'", "3", "{a: {0: 3}}"},
      {"'$'", "refused: is no field path"},
      {"'$a.'", "refused: empty part"},
      {"'$a..b'", "refused: empty part"},
      {"'$a.$b'", "refused: begins with '$'"},
  });
}

TEST(ExpressionTest, Variables) {
  Check({
      {"'$$ROOT'", "{a: 5}", "{a: 5}"},
      {"'$$CURRENT.a'", "5", "{a: 5}"},
      {"'$$ROOT.a.b'", "[1]", "{a: [{b: 1}]}"},
      {"'$$REMOVE'", "missing"},
      {"{a: 1, b: '$$REMOVE'}", "{a: 1}"},
      {"'$$NOW'", "time(1700000000)"},
      {"{$let: {vars: {x: '$a', y: 2}, in: {$add: ['$$x', '$$y']}}}", "7", "{a: 5}"},
      {"{$let: {vars: {x: '$a'}, in: '$$x.b'}}", "1", "{a: {b: 1}}"},
      // The variables of one $let do not see each other; inner ones hide outer ones.
      {"{$let: {vars: {x: 1}, in: {$let: {vars: {x: 2, y: '$$x'}, in: ['$$x', '$$y']}}}}",
       "[2, 1]"},
      {"{$let: {vars: {CURRENT: '$a'}, in: ['$b', '$$ROOT.b']}}", "[1, 2]", "{a: {b: 1}, b: 2}"},
      {"{$let: {vars: {x: '$none'}, in: {v: '$$x'}}}", "{}"},
      {"{$let: {vars: {X: 1}, in: 1}}", "refused: no name for a variable"},
      {"{$let: {vars: {x: 1}}}", "refused: expected {vars"},
      {"'$$x'", "refused: '$$x' is not defined"},
      {"'$$'", "refused: is not defined"},
      {"'$$KEEP'", "refused: is for $redact only"},
      {"'$$CLUSTER_TIME'", "refused: not supported"},
      {"'$$NOW.a'", "refused: has no fields"},
  });
}

TEST(ExpressionTest, DeclaredVariables) {
  VariableScope scope;
  const absl::StatusOr<std::size_t> slot = scope.Declare("limit");
  ASSERT_TRUE(slot.ok());
  EXPECT_FALSE(scope.Declare("Limit").ok());
  scope.DeclareRedactVariables();
  const ShellDocument specification("{$cond: [{$gt: ['$a', '$$limit']}, '$$KEEP', '$$PRUNE']}");
  const ShellDocument limit("{limit: 5}");
  const absl::StatusOr<Expression> compiled = Expression::Compile(specification.view(), scope);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EvaluationState state(kNow);
  state.SetVariable(*slot, limit.view().Find("limit"));
  const ShellDocument six("{a: 6}");
  const ShellDocument five("{a: 5}");
  EXPECT_EQ((*compiled->Evaluate(six.view(), state))->AsString(), "keep");
  state.Reset();
  EXPECT_EQ((*compiled->Evaluate(five.view(), state))->AsString(), "prune");
}

TEST(ExpressionTest, Comparisons) {
  Check({
      {"{$eq: ['$a', 5]}", "true", "{a: 5.0}"},
      {"{$eq: ['$a', null]}", "false"},
      {"{$eq: ['$a', null]}", "true", "{a: null}"},
      {"{$eq: ['$a', '$b']}", "true"},
      {"{$ne: ['$a', 5]}", "true", "{a: '5'}"},
      {"{$gt: ['$a', 5]}", "true", "{a: '5'}"},
      {"{$gte: [5, 5.0]}", "true"},
      {"{$lt: ['$a', null]}", "true"},
      {"{$lte: [[1, 2], [1, 3]]}", "true"},
      {"{$cmp: [1, 2]}", "-1"},
      {"{$cmp: ['b', 'a']}", "1"},
      {"{$cmp: [{a: 1}, {a: 1.0}]}", "0"},
      {"{$eq: [1]}", "refused: expected 2 arguments, found 1"},
      {"{$eq: 1}", "refused: expected 2 arguments, found 1"},
      {"{$cmp: [1, 2, 3]}", "refused: found 3"},
  });
}

TEST(ExpressionTest, Booleans) {
  Check({
      {"{$and: []}", "true"},
      {"{$or: []}", "false"},
      {"{$and: [1, 'x', [], {}]}", "true"},
      {"{$and: [1, 0]}", "false"},
      {"{$and: ['$none']}", "false"},
      {"{$and: '$a'}", "true", "{a: NaN}"},
      {"{$or: [0, null, '$none', false]}", "false"},
      {"{$or: [0, '']}", "true"},
      {"{$and: [false, {$add: 'x'}]}", "false"},
      {"{$not: [0.0]}", "true"},
      {"{$not: '$a'}", "false", "{a: 1}"},
      {"{$not: [1, 2]}", "refused: expected 1 argument, found 2"},
  });
}

TEST(ExpressionTest, Conditionals) {
  Check({
      {"{$cond: ['$a', 1, 2]}", "1", "{a: true}"},
      {"{$cond: {if: '$a', then: 1, else: '$none'}}", "missing"},
      {"{$cond: {if: true, then: 1, else: 2}}", "1"},
      {"{$cond: {if: 1, then: 2}}", "refused: 'else' is missing"},
      {"{$cond: {if: 1, then: 2, else: 3, x: 4}}", "refused: unknown field 'x'"},
      {"{$cond: [1, 2]}", "refused: expected 3 arguments"},
      {"{$ifNull: ['$a', '$b', 3]}", "3", "{b: null}"},
      {"{$ifNull: ['$a', '$b', 3]}", "2", "{b: 2}"},
      {"{$ifNull: ['$a', '$b']}", "missing"},
      {"{$ifNull: ['$a']}", "refused: expected 2 or more"},
      {"{$switch: {branches: [{case: '$a', then: 1}, {case: '$b', then: 2}], default: 3}}", "2",
       "{b: 1}"},
      {"{$switch: {branches: [{case: '$a', then: 1}], default: 3}}", "3"},
      {"{$switch: {branches: [{case: '$a', then: 1}]}}", "error: no branch applies"},
      {"{$switch: {branches: []}}", "refused: at least one branch"},
      {"{$switch: {branches: [{case: 1}]}}", "refused: a branch is"},
      {"{$switch: {default: 1}}", "refused: at least one branch"},
  });
}

TEST(ExpressionTest, Add) {
  Check({
      {"{$add: [1, 2]}", "3"},
      {"{$add: ['$a', 2.5]}", "3.5", "{a: 1}"},
      {"{$add: []}", "0"},
      {"{$add: ['$none', 1]}", "null"},
      {"{$add: 5}", "5"},
      {"{$add: [9223372036854775807, 1]}", "9.22337e+18"},
      {"{$add: [9223372036854775807, 1, -1]}", "9223372036854775807"},
      {"{$add: [18446744073709551615, 0]}", "18446744073709551615"},
      {"{$add: [1, 'x']}", "error: $add: only numbers and dates can be added, not string"},
  });
}

TEST(ExpressionTest, WhatIsNotThereIsRefusedByName) {
  Check({
      {"{$function: {}}", "refused: $function is not supported: alos runs no JavaScript"},
      {"{$toDecimal: 1}", "refused: $toDecimal is not supported: there is no decimal type"},
      {"{$toObjectId: 1}", "refused: $toObjectId is not supported: there is no ObjectId type"},
      {"{$meta: 'textScore'}", "refused: $meta is not supported"},
  });
}

TEST(ExpressionTest, ForPlanners) {
  const auto compile = [](std::string_view text) {
    return *Expression::Compile(ShellDocument(text).view());
  };
  EXPECT_EQ(compile("'$a.b'").field_path()->ToString(), "a.b");
  EXPECT_EQ(compile("'$$ROOT.a.b'").field_path()->ToString(), "a.b");
  EXPECT_EQ(compile("{$add: ['$a', 1]}").field_path(), nullptr);
  EXPECT_EQ(compile("{$add: [1, 2]}").constant()->AsInt64(), 3);
  EXPECT_EQ(compile("{x: [1, {$literal: '$a'}]}").is_constant(), true);
  EXPECT_EQ(compile("'$$NOW'").is_constant(), false);
  EXPECT_EQ(compile("'$$REMOVE'").is_always_missing(), true);
  const Expression some = compile("{$and: [{$gt: ['$b.c', 1]}, {$gt: [9, '$a']}, '$b.d']}");
  EXPECT_FALSE(some.needs_whole_document());
  EXPECT_EQ(std::vector<std::string>(some.fields().begin(), some.fields().end()),
            (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(compile("['$a', '$$ROOT']").needs_whole_document());
  const std::vector<Expression::FieldComparison> implied = some.ImpliedComparisons();
  ASSERT_EQ(implied.size(), 2u);
  for (const Expression::FieldComparison& comparison : implied) {
    const bool is_a = comparison.path->ToString() == "a";
    EXPECT_EQ(comparison.op, is_a ? "$lt" : "$gt");
    EXPECT_EQ(comparison.constant.AsInt64(), is_a ? 9 : 1);
  }
  EXPECT_TRUE(compile("{$or: [{$gt: ['$b', 1]}]}").ImpliedComparisons().empty());
}

TEST(ExpressionTest, NestingIsBounded) {
  std::string deep = "'$a'";
  for (int i = 0; i < 120; ++i) deep = absl::StrCat("[", deep, "]");
  EXPECT_TRUE(absl::StrContains(Result(deep, "{}"), "nests deeper than 100"));
}

}  // namespace
}  // namespace alos
