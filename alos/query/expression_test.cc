// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/expression.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "alos/query/internal/random_document.h"
#include "alos/query/internal/random_expression.h"
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

TEST(ExpressionTest, AddSubtractMultiply) {
  Check({
      {"{$add: [1, 2]}", "3"},
      {"{$add: ['$a', 2.5]}", "3.5", "{a: 1}"},
      {"{$add: []}", "0"},
      {"{$add: ['$none', 1]}", "null"},
      {"{$add: 5}", "5"},
      {"{$add: [9223372036854775807, 1]}", "9.22337e+18"},
      {"{$add: [9223372036854775807, 1, -1]}", "9223372036854775807"},
      {"{$add: [18446744073709551615, 0]}", "18446744073709551615"},
      {"{$add: [1e308, 1e308, -1e308]}", "Infinity"},
      {"{$add: [1e17, 1, -1e17]}", "1.0"},
      {"{$add: [Infinity, -Infinity]}", "NaN"},
      {"{$add: [time(10), 2000]}", "time(12)"},
      {"{$add: [2000, time(10), -500.4, -1499.6]}", "time(10)"},
      {"{$add: [time(10), time(1)]}", "error: only one date"},
      {"{$add: [time(10), 1e300]}", "error: out of range"},
      {"{$add: [time(10), NaN]}", "error: out of range"},
      {"{$add: [1, 'x']}", "error: $add: only numbers and dates can be added, not string"},
      {"{$subtract: [5, 7]}", "-2"},
      {"{$subtract: [5, 7.5]}", "-2.5"},
      {"{$subtract: [5, null]}", "null"},
      {"{$subtract: [-9223372036854775808, 1]}", "-9.22337e+18"},
      {"{$subtract: [18446744073709551615, 1]}", "18446744073709551614"},
      {"{$subtract: [time(10), time(7)]}", "3000"},
      {"{$subtract: [time(10), 3000]}", "time(7)"},
      {"{$subtract: [3000, time(10)]}", "error: cannot subtract date from int"},
      {"{$subtract: ['x', 1]}", "error: cannot subtract int from string"},
      {"{$subtract: [1]}", "refused: expected 2 arguments"},
      {"{$multiply: [3, '$a', 2]}", "24", "{a: 4}"},
      {"{$multiply: [3, 0.5]}", "1.5"},
      {"{$multiply: []}", "1"},
      {"{$multiply: [3, '$none']}", "null"},
      {"{$multiply: [9223372036854775807, 2]}", "1.84467e+19"},
      {"{$multiply: [-9223372036854775808, -1]}", "9.22337e+18"},
      {"{$multiply: [9223372036854775807, 9223372036854775807, 9223372036854775807]}",
       "7.84638e+56"},
      {"{$multiply: ['x', 2]}", "error: $multiply: expected a number, found \"x\""},
  });
}

TEST(ExpressionTest, DivideAndMod) {
  Check({
      {"{$divide: [7, 2]}", "3.5"},
      {"{$divide: [6, 2]}", "3.0"},
      {"{$divide: [6, 0]}", "error: $divide: cannot divide by zero"},
      {"{$divide: [6, 0.0]}", "error: cannot divide by zero"},
      {"{$divide: ['$none', 2]}", "null"},
      {"{$divide: [null, 0]}", "null"},
      {"{$divide: ['6', 2]}", "error: expected a number"},
      {"{$mod: [7, 3]}", "1"},
      {"{$mod: [-7, 3]}", "-1"},
      {"{$mod: [7, -3]}", "1"},
      {"{$mod: [-9223372036854775808, -1]}", "0"},
      {"{$mod: [7, 2.5]}", "2.0"},
      {"{$mod: [7.5, 2]}", "1.5"},
      {"{$mod: [7, 3.0]}", "1"},
      {"{$mod: [18446744073709551615, 10]}", "5"},
      {"{$mod: [7, 0]}", "error: cannot divide by zero"},
      {"{$mod: [null, 3]}", "null"},
      {"{$mod: [7, '3']}", "error: expected a number"},
  });
}

TEST(ExpressionTest, Rounding) {
  Check({
      {"{$abs: -5}", "5"},
      {"{$abs: [-2.5]}", "2.5"},
      {"{$abs: null}", "null"},
      {"{$abs: '$none'}", "null"},
      {"{$abs: -9223372036854775808}", "error: no positive counterpart"},
      {"{$abs: 18446744073709551615}", "18446744073709551615"},
      {"{$abs: 'x'}", "error: expected a number"},
      {"{$ceil: 7.2}", "8.0"},
      {"{$ceil: -2.8}", "-2.0"},
      {"{$ceil: 7}", "7"},
      {"{$ceil: null}", "null"},
      {"{$ceil: true}", "error: expected a number"},
      {"{$floor: 7.8}", "7.0"},
      {"{$floor: -2.2}", "-3.0"},
      {"{$floor: 7}", "7"},
      {"{$floor: '$none'}", "null"},
      {"{$round: 2.5}", "2.0"},
      {"{$round: 3.5}", "4.0"},
      {"{$round: -2.5}", "-2.0"},
      {"{$round: [19.25, 1]}", "19.2"},
      {"{$round: [28.73, 1]}", "28.7"},
      {"{$round: [2.675, 2]}", "2.68"},
      {"{$round: [1.005, 2]}", "1.0"},
      {"{$round: [9.999, 2]}", "10.0"},
      {"{$round: [0.004, 2]}", "0.0"},
      {"{$round: [1234.5678, -2]}", "1200.0"},
      {"{$round: [-54, -1]}", "-50"},
      {"{$round: [55, -1]}", "60"},
      {"{$round: [45, -1]}", "40"},
      {"{$round: [9223372036854775807, -1]}", "error: out of the range of integers"},
      {"{$round: [9223372036854775807, -20]}", "0"},
      {"{$round: [5, 3]}", "5"},
      {"{$round: [NaN, 2]}", "NaN"},
      {"{$round: [-Infinity, 2]}", "-Infinity"},
      {"{$round: [1e300, 100]}", "1e+300"},
      {"{$round: [1e-300, 100]}", "0.0"},
      {"{$round: [1.5, 101]}", "error: an integer of -20 to 100"},
      {"{$round: [1.5, 1.5]}", "error: the number of places"},
      {"{$round: [1.5, null]}", "null"},
      {"{$round: ['x', 1]}", "error: expected a number"},
      {"{$trunc: 7.8}", "7.0"},
      {"{$trunc: -2.8}", "-2.0"},
      {"{$trunc: [1234.5678, 2]}", "1234.56"},
      {"{$trunc: [1278, -2]}", "1200"},
      {"{$trunc: null}", "null"},
  });
}

TEST(ExpressionTest, PowersAndLogarithms) {
  Check({
      {"{$pow: [5, 2]}", "25"},
      {"{$pow: [5, 0]}", "1"},
      {"{$pow: [2, 62]}", "4611686018427387904"},
      {"{$pow: [2, 63]}", "9.22337e+18"},
      {"{$pow: [-2, 63]}", "-9223372036854775808"},
      {"{$pow: [2, -1]}", "0.5"},
      {"{$pow: [-1, 9223372036854775807]}", "-1"},
      {"{$pow: [0, 0]}", "1"},
      {"{$pow: [0, -1]}", "error: zero has no negative powers"},
      {"{$pow: [2.0, 3]}", "8.0"},
      {"{$pow: [null, 3]}", "null"},
      {"{$pow: ['2', 3]}", "error: expected a number"},
      {"{$exp: 0}", "1.0"},
      {"{$exp: '$none'}", "null"},
      {"{$exp: 'x'}", "error: expected a number"},
      {"{$sqrt: 25}", "5.0"},
      {"{$sqrt: -1}", "error: a number of 0 or more, found -1"},
      {"{$sqrt: NaN}", "NaN"},
      {"{$ln: 1}", "0.0"},
      {"{$ln: 0}", "error: a number above 0"},
      {"{$ln: null}", "null"},
      {"{$log10: 1000}", "3.0"},
      {"{$log10: -1}", "error: a number above 0"},
      {"{$log: [100, 10]}", "2.0"},
      {"{$log: [100, 1]}", "error: a base above 0 that is not 1"},
      {"{$log: [0, 10]}", "error: a number above 0"},
      {"{$log: [null, 10]}", "null"},
      {"{$log: 100}", "refused: expected 2 arguments"},
      {"{$sigmoid: 0}", "0.5"},
      {"{$sigmoid: null}", "null"},
  });
}

TEST(ExpressionTest, Trigonometry) {
  Check({
      {"{$sin: 0}", "0.0"},
      {"{$cos: 0}", "1.0"},
      {"{$tan: 0}", "0.0"},
      {"{$sin: Infinity}", "error: a number that is finite"},
      {"{$cos: -Infinity}", "error: a number that is finite"},
      {"{$tan: 'x'}", "error: expected a number"},
      {"{$sin: NaN}", "NaN"},
      {"{$sin: '$none'}", "null"},
      {"{$asin: 1}", "1.5708"},
      {"{$asin: 1.1}", "error: a number of -1 to 1"},
      {"{$acos: 1}", "0.0"},
      {"{$acos: -2}", "error: a number of -1 to 1"},
      {"{$atan: 1}", "0.785398"},
      {"{$atan2: [1, 1]}", "0.785398"},
      {"{$atan2: [null, 1]}", "null"},
      {"{$atan2: [1, 'x']}", "error: expected a number"},
      {"{$sinh: 0}", "0.0"},
      {"{$cosh: 0}", "1.0"},
      {"{$tanh: Infinity}", "1.0"},
      {"{$asinh: 0}", "0.0"},
      {"{$acosh: 1}", "0.0"},
      {"{$acosh: 0.5}", "error: a number of 1 or more"},
      {"{$atanh: 1}", "Infinity"},
      {"{$atanh: 1.5}", "error: a number of -1 to 1"},
      {"{$degreesToRadians: 180}", "3.14159"},
      {"{$radiansToDegrees: 0}", "0.0"},
      {"{$radiansToDegrees: null}", "null"},
  });
}

TEST(ExpressionTest, Bits) {
  Check({
      {"{$bitAnd: [13, 11]}", "9"},
      {"{$bitOr: [8, 3]}", "11"},
      {"{$bitXor: [13, 11, 1]}", "7"},
      {"{$bitNot: 0}", "-1"},
      {"{$bitNot: [5]}", "-6"},
      {"{$bitAnd: []}", "-1"},
      {"{$bitOr: []}", "0"},
      {"{$bitAnd: [1, null]}", "null"},
      {"{$bitNot: null}", "null"},
      {"{$bitAnd: [1, 1.0]}", "error: expected integers"},
      {"{$bitAnd: ['x']}", "error: expected integers"},
      {"{$bitNot: 1.5}", "error: expected an integer"},
      {"{$bitOr: [18446744073709551615, 1]}", "18446744073709551615"},
  });
}

TEST(ExpressionTest, Chance) {
  const ShellDocument specification("[{$rand: {}}, {$sampleRate: 0}, {$sampleRate: 1}]");
  const absl::StatusOr<Expression> compiled = Expression::Compile(specification.view());
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_FALSE(compiled->is_constant());
  EvaluationState state(kNow);
  double previous = -1;
  for (int i = 0; i < 100; ++i) {
    const absl::StatusOr<std::optional<ValueView>> value = compiled->Evaluate(ValueView(), state);
    ASSERT_TRUE(value.ok() && *value);
    const double number = (*value)->At(0)->AsDouble();
    EXPECT_TRUE(number >= 0 && number < 1 && number != previous);
    EXPECT_FALSE((*value)->At(1)->AsBool());
    EXPECT_TRUE((*value)->At(2)->AsBool());
    previous = number;
  }
  Check({
      {"{$rand: 1}", "refused: takes no argument"},
      {"{$sampleRate: 2}", "refused: expected a number of 0 to 1"},
      {"{$sampleRate: '$a'}", "refused: expected a number of 0 to 1"},
  });
}

TEST(ExpressionTest, CurrentDate) {
  Check({
      {"{$type: {$currentDate: {}}}", "'date'"},
      {"{$gt: [{$currentDate: {}}, '$$NOW']}", "true"},
      {"{$currentDate: 1}", "refused: takes no argument"},
  });
}

TEST(ExpressionTest, Statistics) {
  Check({
      {"{$sum: '$a'}", "6", "{a: [1, 2, 3, 'x', null]}"},
      {"{$sum: ['$a', '$b']}", "5", "{a: [1, 2], b: 5}"},
      {"{$sum: '$none'}", "0"},
      {"{$sum: [1, 2.5, 'x']}", "3.5"},
      {"{$sum: [9223372036854775807, 1]}", "9.22337e+18"},
      {"{$avg: '$a'}", "2.0", "{a: [1, 2, 3, 'x', null]}"},
      {"{$avg: ['x']}", "null"},
      {"{$avg: '$none'}", "null"},
      {"{$avg: [1, 2]}", "1.5"},
      {"{$max: '$a'}", "'x'", "{a: [1, 'x', null]}"},
      {"{$max: [1, 7, '$none']}", "7"},
      {"{$max: []}", "null"},
      {"{$max: ['$a', 5]}", "[1, 9]", "{a: [1, 9]}"},
      {"{$min: '$a'}", "1", "{a: [3, 1, null]}"},
      {"{$min: [null, '$none']}", "null"},
      {"{$stdDevPop: [1, 3]}", "1.0"},
      {"{$stdDevPop: 5}", "0.0"},
      {"{$stdDevPop: 'x'}", "null"},
      {"{$stdDevSamp: '$a'}", "2.0", "{a: [1, 3, 5]}"},
      {"{$stdDevSamp: [5]}", "null"},
      {"{$median: {input: '$a', method: 'approximate'}}", "2.0", "{a: [3, 1, 2, 9]}"},
      {"{$median: {input: '$a', method: 'continuous'}}", "2.5", "{a: [3, 1, 2, 9]}"},
      {"{$median: {input: ['x'], method: 'approximate'}}", "null"},
      {"{$median: {input: 7, method: 'approximate'}}", "7.0"},
      {"{$median: {input: 7, method: 'exact'}}", "refused: 'method' has to be"},
      {"{$percentile: {input: '$a', p: [0, 0.5, 0.9, 1], method: 'approximate'}}",
       "[1.0, 5.0, 9.0, 10.0]", "{a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}"},
      {"{$percentile: {input: [], p: [0.5, 0.9], method: 'discrete'}}", "[null, null]"},
      {"{$percentile: {input: [1], p: [1.5], method: 'approximate'}}", "error: numbers of 0 to 1"},
      {"{$percentile: {input: [1], p: 0.5, method: 'approximate'}}",
       "error: 'p' has to be an array"},
  });
}

TEST(ExpressionTest, ConcatAndSplit) {
  Check({
      {"{$concat: ['a', '$b', 'c']}", "'axyc'", "{b: 'xy'}"},
      {"{$concat: []}", "''"},
      {"{$concat: ['a', null]}", "null"},
      {"{$concat: ['a', '$none']}", "null"},
      {"{$concat: ['a', 1]}", "error: expected strings, found 1"},
      {"{$split: ['a-b-c', '-']}", "['a', 'b', 'c']"},
      {"{$split: ['-a-', '-']}", "['', 'a', '']"},
      {"{$split: ['abc', 'xyz']}", "['abc']"},
      {"{$split: ['longdelimiterlong', 'delimiter']}", "['long', 'long']"},
      {"{$split: [null, '-']}", "null"},
      {"{$split: ['a', '']}", "error: the delimiter is empty"},
      {"{$split: [1, '-']}", "error: the first argument has to be a string"},
      {"{$split: ['a']}", "refused: expected 2 arguments"},
  });
}

TEST(ExpressionTest, CaseAndLength) {
  Check({
      {"{$toLower: 'ABC é É'}", "'abc é É'"},
      {"{$toUpper: '$a'}", "''", "{a: null}"},
      {"{$toUpper: 'abc'}", "'ABC'"},
      {"{$toUpper: 12}", "'12'"},
      {"{$toUpper: 2.0}", "'2'"},
      {"{$toLower: time(0)}", "'1970-01-01t00:00:00.000z'"},
      {"{$toLower: []}", "refused: found 0"},
      {"{$toLower: {a: 1}}", "error: expected a string"},
      {"{$strcasecmp: ['abc', 'ABC']}", "0"},
      {"{$strcasecmp: ['abc', 'ABD']}", "-1"},
      {"{$strcasecmp: ['abcd', 'abc']}", "1"},
      {"{$strcasecmp: [null, '']}", "0"},
      {"{$strcasecmp: [10, '9']}", "-1"},
      {"{$strLenBytes: 'é'}", "2"},
      {"{$strLenCP: 'aé€'}", "3"},
      {"{$strLenCP: ''}", "0"},
      {"{$strLenCP: null}", "error: has to be a string, found null"},
      {"{$strLenBytes: '$none'}", "error: has to be a string, found missing"},
  });
}

TEST(ExpressionTest, Substrings) {
  Check({
      {"{$substrBytes: ['abcde', 1, 2]}", "'bc'"},
      {"{$substrBytes: ['abcde', 1, -1]}", "'bcde'"},
      {"{$substr: ['abcde', 3, 100]}", "'de'"},
      {"{$substrBytes: ['abcde', 9, 1]}", "''"},
      {"{$substrBytes: [null, 0, 1]}", "''"},
      {"{$substrBytes: [1234, 1, 2]}", "'23'"},
      {"{$substrBytes: ['aé', 0, 2]}", "error: is within a character"},
      {"{$substrBytes: ['é', 1, 1]}", "error: is within a character"},
      {"{$substrBytes: ['aéb', 1, 2]}", "'é'"},
      {"{$substrBytes: ['abc', -1, 1]}", "error: the start is negative"},
      {"{$substrBytes: ['abc', 'x', 1]}", "error: the start has to be a number"},
      {"{$substrBytes: ['abc', NaN, 1]}", "error: out of range"},
      {"{$substrBytes: ['abcde', 1.9, 2.9]}", "'bc'"},
      {"{$substrCP: ['aé€b', 1, 2]}", "'é€'"},
      {"{$substrCP: ['abc', 5, 2]}", "''"},
      {"{$substrCP: ['abc', 1, 9223372036854775807]}", "'bc'"},
      {"{$substrCP: ['$none', 0, 2]}", "''"},
      {"{$substrCP: ['abc', -1, 2]}", "error: an integer of at least 0"},
      {"{$substrCP: ['abc', 0, 1.5]}", "error: the length has to be"},
      {"{$indexOfBytes: ['cafétéria', 'é']}", "3"},
      {"{$indexOfBytes: ['cafétéria', 't']}", "5"},
      {"{$indexOfCP: ['cafétéria', 't']}", "4"},
      {"{$indexOfCP: ['cafétéria', 'é', 4]}", "5"},
      {"{$indexOfCP: ['cafétéria', 'é', 4, 5]}", "-1"},
      {"{$indexOfBytes: ['abcabc', 'c', 3, 5]}", "-1"},
      {"{$indexOfBytes: ['abcabc', 'c', 3, 6]}", "5"},
      {"{$indexOfBytes: ['abc', '', 3]}", "3"},
      {"{$indexOfBytes: ['abc', '', 4]}", "-1"},
      {"{$indexOfBytes: ['abc', 'a', 2, 1]}", "-1"},
      {"{$indexOfBytes: [null, 'a']}", "null"},
      {"{$indexOfCP: ['a', null]}", "error: the second argument has to be a string"},
      {"{$indexOfCP: [5, 'a']}", "error: the first argument has to be a string"},
      {"{$indexOfCP: ['a', 'a', -1]}", "error: the start has to be"},
  });
}

TEST(ExpressionTest, TrimAndReplace) {
  Check({
      {"{$trim: {input: '  ab '}}", "'ab'"},
      {"{$ltrim: {input: '  ab '}}", "'ab '"},
      {"{$rtrim: {input: '  ab '}}", "'  ab'"},
      {"{$trim: {input: '\xc2\xa0\xe2\x80\x83x\t\n'}}", "'x'"},
      {"{$trim: {input: 'xxabyx', chars: 'xy'}}", "'ab'"},
      {"{$trim: {input: 'éaé', chars: 'é'}}", "'a'"},
      {"{$trim: {input: 'xx', chars: 'x'}}", "''"},
      {"{$trim: {input: 'xx', chars: ''}}", "'xx'"},
      {"{$trim: {input: null}}", "null"},
      {"{$trim: {input: 'x', chars: null}}", "null"},
      {"{$trim: {input: 1}}", "error: 'input' has to be a string"},
      {"{$trim: {input: 'x', chars: 1}}", "error: 'chars' has to be a string"},
      {"{$trim: 'x'}", "refused: expected an object with the fields input, chars"},
      {"{$replaceOne: {input: 'blue blue', find: 'blue', replacement: 'red'}}", "'red blue'"},
      {"{$replaceAll: {input: 'blue blue', find: 'blue', replacement: 'red'}}", "'red red'"},
      {"{$replaceAll: {input: 'aaa', find: 'aa', replacement: 'b'}}", "'ba'"},
      {"{$replaceAll: {input: 'ab', find: '', replacement: '-'}}", "'-a-b-'"},
      {"{$replaceOne: {input: 'ab', find: '', replacement: '-'}}", "'-ab'"},
      {"{$replaceAll: {input: 'ab', find: 'x', replacement: '-'}}", "'ab'"},
      {"{$replaceAll: {input: null, find: 'x', replacement: '-'}}", "null"},
      {"{$replaceAll: {input: 'x', find: null, replacement: '-'}}", "null"},
      {"{$replaceAll: {input: 'x', find: 'x', replacement: '$none'}}", "null"},
      {"{$replaceAll: {input: 'x', find: 1, replacement: null}}",
       "error: 'find' has to be a string"},
      {"{$replaceOne: {input: 'x', find: 'x'}}", "refused: 'replacement' is missing"},
  });
}

TEST(ExpressionTest, RegularExpressions) {
  Check({
      {"{$regexMatch: {input: 'Hello', regex: 'l+'}}", "true"},
      {"{$regexMatch: {input: 'Hello', regex: 'hel'}}", "false"},
      {"{$regexMatch: {input: 'Hello', regex: 'hel', options: 'i'}}", "true"},
      {"{$regexMatch: {input: null, regex: 'x'}}", "false"},
      {"{$regexMatch: {input: 'x', regex: null}}", "false"},
      {"{$regexMatch: {input: 'x', regex: '$r'}}", "true", "{r: '^x$'}"},
      {"{$regexMatch: {input: 'x', regex: '$r'}}", "error: is not valid", "{r: '('}"},
      {"{$regexMatch: {input: 1, regex: 'x'}}", "error: 'input' has to be a string"},
      {"{$regexMatch: {input: 'x', regex: '('}}", "refused: is not valid"},
      {"{$regexMatch: {input: 'x', regex: 1}}", "refused: 'regex' has to be a string"},
      {"{$regexMatch: {input: 'x', regex: 'x', options: 'q'}}", "refused: unknown letter 'q'"},
      {"{$regexFind: {input: 'cafétéria', regex: 't(é)(x)?'}}",
       "{match: 'té', idx: 4, captures: ['é', null]}"},
      {"{$regexFind: {input: 'abc', regex: 'x'}}", "null"},
      {"{$regexFind: {input: '$none', regex: 'x'}}", "null"},
      {"{$regexFindAll: {input: 'a1éb22', regex: '[0-9]+'}}",
       "[{match: '1', idx: 1, captures: []}, {match: '22', idx: 4, captures: []}]"},
      {"{$regexFindAll: {input: 'éa', regex: ''}}",
       "[{match: '', idx: 0, captures: []}, {match: '', idx: 1, captures: []}]"},
      {"{$regexFindAll: {input: 'aaa', regex: '^a'}}", "[{match: 'a', idx: 0, captures: []}]"},
      {"{$regexFindAll: {input: 'aaa', regex: 'b'}}", "[]"},
      {"{$regexFindAll: {input: null, regex: 'b'}}", "[]"},
      {"{$regexFindAll: {input: '', regex: ''}}", "[{match: '', idx: 0, captures: []}]"},
  });
}

TEST(ExpressionTest, ArrayElements) {
  Check({
      {"{$arrayElemAt: ['$a', 0]}", "1", "{a: [1, 2, 3]}"},
      {"{$arrayElemAt: ['$a', -1]}", "3", "{a: [1, 2, 3]}"},
      {"{$arrayElemAt: ['$a', 3]}", "missing", "{a: [1, 2, 3]}"},
      {"{$arrayElemAt: ['$a', -4]}", "missing", "{a: [1, 2, 3]}"},
      {"{$arrayElemAt: ['$a', 1.0]}", "2", "{a: [1, 2, 3]}"},
      {"{$arrayElemAt: ['$a', 0]}", "null", "{a: null}"},
      {"{$arrayElemAt: [[1], null]}", "null"},
      {"{$arrayElemAt: [5, 0]}", "error: argument 1 has to be an array, found 5"},
      {"{$arrayElemAt: [[1], 0.5]}", "error: the position has to be an integer"},
      {"{$first: '$a'}", "1", "{a: [1, 2]}"},
      {"{$first: '$a'}", "missing", "{a: []}"},
      {"{$first: '$a'}", "null"},
      {"{$last: '$a'}", "2", "{a: [1, 2]}"},
      {"{$last: 'x'}", "error: expected an array"},
      {"{$firstN: {input: '$a', n: 2}}", "[1, 2]", "{a: [1, 2, 3]}"},
      {"{$lastN: {input: '$a', n: 2}}", "[2, 3]", "{a: [1, 2, 3]}"},
      {"{$lastN: {input: '$a', n: 9223372036854775807}}", "[1]", "{a: [1]}"},
      {"{$maxN: {input: '$a', n: 2}}", "['x', 3]", "{a: [3, null, 'x', 1]}"},
      {"{$minN: {input: '$a', n: 2}}", "[1, 3]", "{a: [3, null, 'x', 1]}"},
      {"{$minN: {input: '$a', n: 0}}", "error: an integer of at least 1", "{a: [3]}"},
      {"{$firstN: {input: '$a', n: 1}}", "error: 'input' has to be an array, found missing"},
      {"{$in: [2, '$a']}", "true", "{a: [1, 2.0]}"},
      {"{$in: ['$none', '$a']}", "false", "{a: [null]}"},
      {"{$in: [null, '$a']}", "true", "{a: [null]}"},
      {"{$in: [1, '$none']}", "error: argument 2 has to be an array"},
      {"{$indexOfArray: ['$a', 2]}", "1", "{a: [1, 2, 2]}"},
      {"{$indexOfArray: ['$a', 2, 2]}", "2", "{a: [1, 2, 2]}"},
      {"{$indexOfArray: ['$a', 2, 0, 1]}", "-1", "{a: [1, 2, 2]}"},
      {"{$indexOfArray: ['$a', 2, 5]}", "-1", "{a: [1, 2, 2]}"},
      {"{$indexOfArray: ['$none', 2]}", "null"},
      {"{$indexOfArray: [1, 2]}", "error: argument 1 has to be an array"},
      {"{$indexOfArray: [[1], 1, -1]}", "error: the start has to be"},
      {"{$isArray: ['$a']}", "true", "{a: []}"},
      {"{$isArray: '$a'}", "false"},
      {"{$size: '$a'}", "2", "{a: [1, [2, 3]]}"},
      {"{$size: '$none'}", "error: expected an array, found missing"},
  });
}

TEST(ExpressionTest, NewArrays) {
  Check({
      {"{$concatArrays: ['$a', [3]]}", "[1, 2, 3]", "{a: [1, 2]}"},
      {"{$concatArrays: []}", "[]"},
      {"{$concatArrays: ['$a', null]}", "null", "{a: [1, 2]}"},
      {"{$concatArrays: [[1], 2]}", "error: argument 2 has to be an array"},
      {"{$reverseArray: '$a'}", "[3, [1, 2], 1]", "{a: [1, [1, 2], 3]}"},
      {"{$reverseArray: null}", "null"},
      {"{$reverseArray: 1}", "error: expected an array"},
      {"{$slice: ['$a', 2]}", "[1, 2]", "{a: [1, 2, 3]}"},
      {"{$slice: ['$a', -2]}", "[2, 3]", "{a: [1, 2, 3]}"},
      {"{$slice: ['$a', -9]}", "[1, 2, 3]", "{a: [1, 2, 3]}"},
      {"{$slice: ['$a', 1, 1]}", "[2]", "{a: [1, 2, 3]}"},
      {"{$slice: ['$a', -2, 1]}", "[2]", "{a: [1, 2, 3]}"},
      {"{$slice: ['$a', -9, 2]}", "[1, 2]", "{a: [1, 2, 3]}"},
      {"{$slice: ['$a', 9, 2]}", "[]", "{a: [1, 2, 3]}"},
      {"{$slice: ['$a', 1, 0]}", "error: the number of elements", "{a: [1, 2, 3]}"},
      {"{$slice: ['$none', 1]}", "null"},
      {"{$slice: [[1], null]}", "null"},
      {"{$slice: [1, 1]}", "error: argument 1 has to be an array"},
      {"{$range: [0, 10, 3]}", "[0, 3, 6, 9]"},
      {"{$range: [3, 0, -1]}", "[3, 2, 1]"},
      {"{$range: [0, 3]}", "[0, 1, 2]"},
      {"{$range: [3, 3]}", "[]"},
      {"{$range: [0, 3, 0]}", "error: the step is 0"},
      {"{$range: [0, 1.5]}", "error: the end has to be an integer"},
      {"{$range: [0, '$none']}", "error: the end has to be an integer"},
      {"{$range: [0, 900000000]}", "error: more than 100 MiB"},
      {"{$zip: {inputs: [[1, 2], ['a', 'b', 'c']]}}", "[[1, 'a'], [2, 'b']]"},
      {"{$zip: {inputs: [[1], ['a', 'b']], useLongestLength: true}}", "[[1, 'a'], [null, 'b']]"},
      {"{$zip: {inputs: [[1], ['a', 'b']], useLongestLength: true, defaults: [9, 8]}}",
       "[[1, 'a'], [9, 'b']]"},
      {"{$zip: {inputs: ['$none', [1]]}}", "null"},
      {"{$zip: {inputs: [1, [1]]}}", "error: 'inputs' have to be arrays"},
      {"{$zip: {inputs: []}}", "refused: at least one expression"},
      {"{$zip: {inputs: [[1]], defaults: [1]}}", "refused: useLongestLength: true"},
      {"{$zip: {inputs: [[1]], useLongestLength: 1}}", "refused: has to be true or false"},
  });
}

TEST(ExpressionTest, Loops) {
  Check({
      {"{$map: {input: '$a', as: 'x', in: {$multiply: ['$$x', 2]}}}", "[2, 4]", "{a: [1, 2]}"},
      {"{$map: {input: '$a', in: '$$this.b'}}", "[1, null]", "{a: [{b: 1}, 2]}"},
      {"{$map: {input: '$a', as: 'x', in: {$map: {input: '$$x', in: {$add: ['$$this', 1]}}}}}",
       "[[2], [3, 4]]", "{a: [[1], [2, 3]]}"},
      {"{$map: {input: null, in: 1}}", "null"},
      {"{$map: {input: 5, in: 1}}", "error: 'input' has to be an array"},
      {"{$map: {input: [1]}}", "refused: 'in' are needed"},
      {"{$map: {input: [1], in: 1, as: 'X'}}", "refused: no name for a variable"},
      {"{$map: {input: [1], in: 1, limit: 1}}", "refused: unknown field 'limit'"},
      {"{$map: {input: ['a', 'b'], in: ['$$this', '$$IDX']}}", "[['a', 0], ['b', 1]]"},
      {"{$map: {input: ['a', 'b'], arrayIndexAs: 'i', in: {$add: ['$$i', 1]}}}", "[1, 2]"},
      {"{$map: {input: [1], arrayIndexAs: 'i', in: '$$IDX'}}", "refused: $$IDX is for $map"},
      {"{$map: {input: [1], arrayIndexAs: 'I', in: 1}}", "refused: no name for a variable"},
      {"{$filter: {input: [5, 6, 7], cond: {$mod: ['$$IDX', 2]}}}", "[6]"},
      {"{$reduce: {input: [5, 6, 7], initialValue: 0, in: {$add: ['$$value', "
       "{$multiply: ['$$this', '$$IDX']}]}}}",
       "20"},
      {"{$reduce: {input: [5], initialValue: 0, as: 'x', in: 1}}", "refused: unknown field 'as'"},
      {"'$$IDX'", "refused: $$IDX is for $map"},
      {"{$filter: {input: '$a', as: 'x', cond: {$gt: ['$$x', 1]}}}", "[2, 3]", "{a: [1, 2, 3]}"},
      {"{$filter: {input: '$a', cond: {$gt: ['$$this', 1]}, limit: 1}}", "[2]", "{a: [1, 2, 3]}"},
      {"{$filter: {input: '$a', cond: true, limit: null}}", "[1, 2]", "{a: [1, 2]}"},
      {"{$filter: {input: '$a', cond: true, limit: 0}}", "error: 'limit' has to be", "{a: [1, 2]}"},
      {"{$filter: {input: '$none', cond: true}}", "null"},
      {"{$filter: {input: 'x', cond: true}}", "error: 'input' has to be an array"},
      {"{$reduce: {input: '$a', initialValue: '', in: {$concat: ['$$value', '$$this']}}}", "'abc'",
       "{a: ['a', 'b', 'c']}"},
      {"{$reduce: {input: [], initialValue: 7, in: 1}}", "7"},
      {"{$reduce: {input: null, initialValue: 7, in: 1}}", "null"},
      {"{$reduce: {input: 1, initialValue: 7, in: 1}}", "error: 'input' has to be an array"},
      {"{$reduce: {input: [1], initialValue: 7}}", "refused: 'in' are needed"},
      {"{$reduce: {input: [1], in: 7}}", "refused: 'initialValue' and 'in' are needed"},
      // 4,000 rounds that each make two new arrays of up to 500 elements: what is left of earlier
      // ones goes in time.
      {"{$size: {$reduce: {input: {$range: [0, 4000]}, initialValue: [],"
       " in: {$slice: [{$concatArrays: ['$$value', ['$$this']]}, -500]}}}}",
       "500"},
      // What nests too deep for a document is refused.
      {"{$reduce: {input: {$range: [0, 200]}, initialValue: 'a string of some length, or so',"
       " in: ['$$value']}}",
       "error: nests deeper than 100"},
      {"{$reduce: {input: {$range: [0, 100]}, initialValue: '',"
       " in: {$concat: ['$$value', '$$value', 'x', '$$value', '$$value']}}}",
       "error: more than 100 MiB"},
  });
}

TEST(ExpressionTest, SortArray) {
  Check({
      {"{$sortArray: {input: '$a', sortBy: 1}}", "[1, 2, 'x', [0]]", "{a: ['x', 2, [0], 1]}"},
      {"{$sortArray: {input: '$a', sortBy: -1}}", "[3, 2, 1]", "{a: [1, 3, 2]}"},
      {"{$sortArray: {input: '$a', sortBy: {x: 1, y: -1}}}", "[{x: 1, y: 9}, {x: 1, y: 2}, {x: 2}]",
       "{a: [{x: 2}, {x: 1, y: 2}, {x: 1, y: 9}]}"},
      {"{$sortArray: {input: '$a', sortBy: {'x.y': -1}}}", "[{x: {y: 2}}, {x: {y: 1}}]",
       "{a: [{x: {y: 1}}, {x: {y: 2}}]}"},
      {"{$sortArray: {input: null, sortBy: 1}}", "null"},
      {"{$sortArray: {input: 1, sortBy: 1}}", "error: 'input' has to be an array"},
      {"{$sortArray: {input: [1], sortBy: 2}}", "refused: 'sortBy' has to be"},
      {"{$sortArray: {input: [1], sortBy: {}}}", "refused: names no field"},
      {"{$sortArray: {input: [1], sortBy: {a: 0}}}", "refused: direction must be"},
      {"{$sortArray: {input: [1]}}", "refused: expected {input"},
  });
}

TEST(ExpressionTest, Sets) {
  Check({
      {"{$setUnion: ['$a', [2, 3]]}", "[1, 2, 3]", "{a: [1, 2, 1.0]}"},
      {"{$setUnion: []}", "[]"},
      {"{$setUnion: ['$a', '$none']}", "null", "{a: [1]}"},
      {"{$setUnion: [1, [1]]}", "error: argument 1 has to be an array"},
      {"{$setIntersection: ['$a', [3, 2, 2]]}", "[2, 3]", "{a: [1, 2, 2, 3]}"},
      {"{$setIntersection: [[1], null]}", "null"},
      {"{$setIntersection: [[[1]], [1]]}", "[]"},
      {"{$setDifference: ['$a', [2]]}", "[1, 3]", "{a: [1, 2, 1, 3]}"},
      {"{$setDifference: [null, [1]]}", "null"},
      {"{$setDifference: [[1], 1]}", "error: argument 2 has to be an array"},
      {"{$setEquals: [[1, 2, 2], [2, 1], [1.0, 2.0]]}", "true"},
      {"{$setEquals: [[1, 2], [1]]}", "false"},
      {"{$setEquals: [[1], null]}", "error: argument 2 has to be an array"},
      {"{$setEquals: [[1]]}", "refused: expected 2 or more"},
      {"{$setIsSubset: [[1, 1], [1, 2]]}", "true"},
      {"{$setIsSubset: [[1, 3], [1, 2]]}", "false"},
      {"{$setIsSubset: [[], [1, 2]]}", "true"},
      {"{$setIsSubset: ['$none', [1]]}", "error: found missing"},
      {"{$allElementsTrue: [[1, 'x', true]]}", "true"},
      {"{$allElementsTrue: [[1, null]]}", "false"},
      {"{$allElementsTrue: [[]]}", "true"},
      {"{$allElementsTrue: ['$none']}", "error: expected an array"},
      {"{$anyElementTrue: [[0, null, false, 1]]}", "true"},
      {"{$anyElementTrue: [[0, null]]}", "false"},
      {"{$anyElementTrue: '$a'}", "false", "{a: []}"},
  });
}

TEST(ExpressionTest, Objects) {
  Check({
      {"{$mergeObjects: ['$a', {y: 3, z: 4}]}", "{x: 1, y: 3, z: 4}", "{a: {x: 1, y: 2}}"},
      {"{$mergeObjects: ['$a', null, '$none']}", "{x: 1}", "{a: {x: 1}}"},
      {"{$mergeObjects: '$a'}", "{x: 2, y: 3}", "{a: [{x: 1}, {x: 2, y: 3}]}"},
      {"{$mergeObjects: []}", "{}"},
      {"{$mergeObjects: '$none'}", "{}"},
      {"{$mergeObjects: [{a: 1}, 5]}", "error: expected objects, found 5"},
      {"{$objectToArray: '$a'}", "[{k: 'x', v: 1}, {k: 'y', v: [2]}]", "{a: {x: 1, y: [2]}}"},
      {"{$objectToArray: null}", "null"},
      {"{$objectToArray: 1}", "error: expected an object"},
      {"{$arrayToObject: {$literal: [['x', 1], ['y', 2], ['x', 3]]}}", "{x: 3, y: 2}"},
      {"{$arrayToObject: '$a'}", "{x: 1, y: [2]}", "{a: [{k: 'x', v: 1}, {v: [2], k: 'y'}]}"},
      {"{$arrayToObject: '$a'}", "{}", "{a: []}"},
      {"{$arrayToObject: '$a'}", "null"},
      {"{$arrayToObject: '$a'}", "error: are mixed", "{a: [['x', 1], {k: 'x', v: 1}]}"},
      {"{$arrayToObject: '$a'}", "error: expected [key, value]", "{a: [['x', 1, 2]]}"},
      {"{$arrayToObject: '$a'}", "error: expected [key, value]", "{a: [{k: 'x', w: 1}]}"},
      {"{$arrayToObject: '$a'}", "error: a key has to be a string", "{a: [[1, 1]]}"},
      {"{$arrayToObject: 1}", "error: expected an array"},
      {"{$getField: 'a.b'}", "1", "{a.b: 1}"},
      {"{$getField: {$literal: '$x'}}", "2", "{$x: 2}"},
      {"{$getField: {field: 'b', input: '$a'}}", "3", "{a: {b: 3}}"},
      {"{$getField: {field: 'b', input: '$none'}}", "missing"},
      {"{$getField: {field: 'b', input: null}}", "null"},
      {"{$getField: {field: 'b', input: 5}}", "missing"},
      {"{$getField: {field: {$concat: ['$f', 'y']}, input: '$$ROOT'}}", "4", "{f: 'x', xy: 4}"},
      {"{$getField: 5}", "refused: 'field' has to be a string"},
      {"{$getField: '$f'}", "error: 'field' has to be a string", "{f: 5}"},
      {"{$setField: {field: 'a.b', input: '$$ROOT', value: 2}}", "{x: 1, a.b: 2}", "{x: 1}"},
      {"{$setField: {field: 'x', input: '$$ROOT', value: 2}}", "{x: 2, y: 1}", "{x: 1, y: 1}"},
      {"{$setField: {field: 'x', input: '$$ROOT', value: '$$REMOVE'}}", "{y: 1}", "{x: 1, y: 1}"},
      {"{$setField: {field: 'x', input: null, value: 2}}", "null"},
      {"{$setField: {field: 'x', input: 1, value: 2}}", "error: 'input' has to be an object"},
      {"{$setField: {field: '$a', input: {}, value: 2}}", "refused: a constant string"},
      {"{$unsetField: {field: 'x', input: '$$ROOT'}}", "{y: 1}", "{x: 1, y: 1}"},
      {"{$unsetField: {field: 'z', input: '$$ROOT'}}", "{x: 1}", "{x: 1}"},
      {"{$unsetField: {field: 'z', input: '$$ROOT', value: 1}}", "refused: unknown field 'value'"},
  });
  // Many fields are found by hash.
  std::string many = "[";
  std::string merged = "{";
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&many, i == 0 ? "" : ", ", "{f", i % 50, ": ", i, "}");
    if (i < 50) absl::StrAppend(&merged, i == 0 ? "" : ", ", "f", i, ": ", i + 50);
  }
  EXPECT_EQ(Result(absl::StrCat("{$mergeObjects: ", many, "]}"), "{}"), merged + "}");
}

TEST(ExpressionTest, DateParts) {
  // 1,700,000,000 is 2023-11-14T22:13:20Z, a Tuesday.
  Check({
      {"{$year: '$d'}", "2023", "{d: time(1700000000)}"},
      {"{$month: ['$d']}", "11", "{d: time(1700000000)}"},
      {"{$dayOfMonth: {date: '$d'}}", "14", "{d: time(1700000000)}"},
      {"{$dayOfMonth: {date: '$d', timezone: 'Asia/Tokyo'}}", "15", "{d: time(1700000000)}"},
      {"{$hour: {date: '$d', timezone: 'America/New_York'}}", "17", "{d: time(1700000000)}"},
      {"{$hour: {date: '$d', timezone: '$z'}}", "3", "{d: time(1700000000), z: '+05:30'}"},
      {"{$minute: {date: '$d', timezone: '+0530'}}", "43", "{d: time(1700000000)}"},
      {"{$minute: '$d'}", "13", "{d: time(1700000000)}"},
      {"{$second: '$d'}", "20", "{d: time(1700000000)}"},
      {"{$millisecond: '$$NOW'}", "123"},
      {"{$dayOfWeek: '$d'}", "3", "{d: time(1700000000)}"},
      {"{$isoDayOfWeek: '$d'}", "2", "{d: time(1700000000)}"},
      {"{$dayOfYear: '$d'}", "318", "{d: time(1700000000)}"},
      {"{$week: '$d'}", "46", "{d: time(1700000000)}"},
      {"{$isoWeek: '$d'}", "46", "{d: time(1700000000)}"},
      {"{$isoWeekYear: '$d'}", "2023", "{d: time(1700000000)}"},
      // 2016-01-01, a Friday, is in week 53 of 2015.
      {"[{$isoWeek: '$d'}, {$isoWeekYear: '$d'}, {$week: '$d'}]", "[53, 2015, 0]",
       "{d: time(1451606400)}"},
      {"[{$year: '$d'}, {$second: '$d'}]", "[1969, 59]", "{d: time(-1)}"},
      {"{$year: '$none'}", "null"},
      {"{$year: {date: '$d', timezone: null}}", "null", "{d: time(0)}"},
      {"{$year: 5}", "error: expected a date, found 5"},
      {"{$year: {date: '$d', timezone: 'Mars/Olympus'}}", "refused: there is no time zone"},
      {"{$year: {date: '$d', timezone: '../../etc/passwd'}}", "refused: is no time zone"},
      {"{$year: {date: '$d', timezone: '$z'}}", "error: is no time zone", "{d: time(0), z: '+25'}"},
      {"{$year: {date: '$d', timezone: '$z'}}", "error: 'timezone' has to be a string",
       "{d: time(0), z: 1}"},
      {"{$year: {timezone: 'UTC'}}", "refused: 'date' is missing"},
      {"{$year: []}", "refused: expected 1 argument, found 0"},
      {"{$year: '$d'}", "error: out of range", "{d: time(9223372036854775807)}"},
      {"{$dateToParts: {date: '$d'}}",
       "{year: 2023, month: 11, day: 14, hour: 22, minute: 13, second: 20, millisecond: 0}",
       "{d: time(1700000000)}"},
      {"{$dateToParts: {date: '$d', iso8601: true, timezone: 'Asia/Tokyo'}}",
       "{isoWeekYear: 2023, isoWeek: 46, isoDayOfWeek: 3, hour: 7, minute: 13, second: 20, "
       "millisecond: 0}",
       "{d: time(1700000000)}"},
      {"{$dateToParts: {date: null}}", "null"},
      {"{$dateToParts: {date: '$$NOW', iso8601: 1}}", "error: has to be true or false"},
  });
}

TEST(ExpressionTest, DateFromParts) {
  Check({
      {"{$dateFromParts: {year: 2023, month: 11, day: 14, hour: 22, minute: 13, second: 20}}",
       "time(1700000000)"},
      {"{$dateFromParts: {year: 1970}}", "time(0)"},
      {"{$dateFromParts: {year: 2023, month: 11, day: 14, hour: 17, minute: 13, second: 20,"
       " timezone: 'America/New_York'}}",
       "time(1700000000)"},
      {"{$dateFromParts: {year: 1969, month: 14, day: 0, hour: -24}}", "time(2505600)"},
      {"{$toLong: {$dateFromParts: {year: 1970, millisecond: -1}}}", "-1"},
      {"{$dateFromParts: {isoWeekYear: 2015, isoWeek: 53, isoDayOfWeek: 5}}", "time(1451606400)"},
      {"{$dateFromParts: {isoWeekYear: 1970}}", "time(-259200)"},
      {"{$dateFromParts: {year: null, month: 1}}", "null"},
      {"{$dateFromParts: {year: 2020, timezone: null}}", "null"},
      {"{$dateFromParts: {year: 0}}", "error: 'year' has to be an integer of 1 to 9999"},
      {"{$dateFromParts: {year: 2020, month: 1.5}}", "error: 'month' has to be"},
      {"{$dateFromParts: {year: 2020, month: 40000}}", "error: 'month' has to be"},
      {"{$dateFromParts: {month: 2}}", "refused: 'year' or 'isoWeekYear' is needed"},
      {"{$dateFromParts: {year: 1, isoWeek: 2}}", "refused: are mixed"},
  });
}

TEST(ExpressionTest, DateArithmetic) {
  const auto text = [](std::string_view expression) {
    return Result(absl::StrCat("{$dateToString: {date: ", expression, "}}"), "{}");
  };
  const std::string jan31 = "{$dateFromString: {dateString: '2024-01-31T10:00:00Z'}}";
  const auto add = [&](std::string_view date, std::string_view unit, int amount,
                       std::string_view more = "") {
    return text(absl::StrCat("{$dateAdd: {startDate: {$toDate: '", date, "'}, unit: '", unit,
                             "', amount: ", amount, more, "}}"));
  };
  EXPECT_EQ(add("2024-01-31T10:00:00Z", "month", 1), "'2024-02-29T10:00:00.000Z'");
  EXPECT_EQ(add("2024-02-29", "year", 1), "'2025-02-28T00:00:00.000Z'");
  EXPECT_EQ(add("2024-01-31", "quarter", -1), "'2023-10-31T00:00:00.000Z'");
  EXPECT_EQ(add("2024-01-31", "week", 2), "'2024-02-14T00:00:00.000Z'");
  EXPECT_EQ(add("2024-12-31", "day", 1), "'2025-01-01T00:00:00.000Z'");
  EXPECT_EQ(add("2024-12-31", "hour", 25), "'2025-01-01T01:00:00.000Z'");
  EXPECT_EQ(add("2024-12-31", "minute", -1), "'2024-12-30T23:59:00.000Z'");
  EXPECT_EQ(add("2024-12-31", "second", 61), "'2024-12-31T00:01:01.000Z'");
  EXPECT_EQ(add("2024-12-31", "millisecond", -1), "'2024-12-30T23:59:59.999Z'");
  // A day is a day on the calendar of the zone, also where it has 23 hours.
  EXPECT_EQ(add("2024-03-30T12:00:00Z", "day", 1, ", timezone: 'Europe/Berlin'"),
            "'2024-03-31T11:00:00.000Z'");
  EXPECT_EQ(add("2024-03-30T12:00:00Z", "hour", 24, ", timezone: 'Europe/Berlin'"),
            "'2024-03-31T12:00:00.000Z'");
  EXPECT_EQ(
      text(absl::StrCat("{$dateSubtract: {startDate: ", jan31, ", unit: 'month', amount: 2}}")),
      "'2023-11-30T10:00:00.000Z'");
  Check({
      {"{$dateAdd: {startDate: '$none', unit: 'day', amount: 1}}", "null"},
      {"{$dateAdd: {startDate: '$$NOW', unit: null, amount: 1}}", "null"},
      {"{$dateAdd: {startDate: '$$NOW', unit: 'day', amount: null}}", "null"},
      {"{$dateAdd: {startDate: '$$NOW', unit: 'days', amount: 1}}",
       "error: 'unit' has to be one of"},
      {"{$dateAdd: {startDate: '$$NOW', unit: 'day', amount: 1.5}}", "error: 'amount' has to be"},
      {"{$dateAdd: {startDate: '$$NOW', unit: 'year', amount: 9223372036854775807}}",
       "error: out of the range"},
      {"{$dateAdd: {startDate: '$$NOW', unit: 'hour', amount: 9223372036854775807}}",
       "error: out of the range"},
      {"{$dateAdd: {startDate: 1, unit: 'day', amount: 1}}", "error: expected a date"},
      {"{$dateAdd: {startDate: 1, unit: 'day'}}", "refused: 'amount' is missing"},
  });
}

TEST(ExpressionTest, DateDiffAndTrunc) {
  const auto diff = [](std::string_view from, std::string_view to, std::string_view unit,
                       std::string_view more = "") {
    return Result(
        absl::StrCat("{$dateDiff: {startDate: {$toDate: '", from, "'}, endDate: {$toDate: '", to,
                     "'}, unit: '", unit, "'", more, "}}"),
        "{}");
  };
  EXPECT_EQ(diff("2023-12-31T23:59:59Z", "2024-01-01", "year"), "1");
  EXPECT_EQ(diff("2024-03-31", "2024-04-01", "quarter"), "1");
  EXPECT_EQ(diff("2024-01-31", "2023-11-01", "month"), "-2");
  EXPECT_EQ(diff("2024-02-28T23:00:00Z", "2024-03-01T01:00:00Z", "day"), "2");
  // 2024-06-01 is a Saturday.
  EXPECT_EQ(diff("2024-06-01", "2024-06-02", "week"), "1");
  EXPECT_EQ(diff("2024-06-01", "2024-06-02", "week", ", startOfWeek: 'monday'"), "0");
  EXPECT_EQ(diff("2024-06-01", "2024-06-03", "week", ", startOfWeek: 'Mon'"), "1");
  EXPECT_EQ(diff("2024-06-01T10:59:00Z", "2024-06-01T11:01:00Z", "hour"), "1");
  EXPECT_EQ(diff("2024-06-01T10:59:00Z", "2024-06-01T11:01:00Z", "minute"), "2");
  EXPECT_EQ(diff("2024-06-01T10:59:00Z", "2024-06-01T11:01:00Z", "second"), "120");
  EXPECT_EQ(diff("2024-06-01T10:59:00Z", "2024-06-01T11:01:00.250Z", "millisecond"), "120250");
  EXPECT_EQ(
      diff("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", "day", ", timezone: 'Europe/Berlin'"),
      "1");
  EXPECT_EQ(
      diff("2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "hour", ", timezone: 'Europe/Berlin'"),
      "1");
  const auto trunc = [](std::string_view date, std::string_view unit, std::string_view more = "") {
    return Result(absl::StrCat("{$dateToString: {date: {$dateTrunc: {date: {$toDate: '", date,
                               "'}, unit: '", unit, "'", more, "}}}}"),
                  "{}");
  };
  constexpr std::string_view kDate = "2021-03-20T11:30:05.789Z";  // a Saturday
  EXPECT_EQ(trunc(kDate, "year"), "'2021-01-01T00:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "year", ", binSize: 5"), "'2020-01-01T00:00:00.000Z'");
  EXPECT_EQ(trunc("1999-05-05", "year", ", binSize: 5"), "'1995-01-01T00:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "quarter"), "'2021-01-01T00:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "month", ", binSize: 2"), "'2021-03-01T00:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "week"), "'2021-03-14T00:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "week", ", startOfWeek: 'monday'"), "'2021-03-15T00:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "week",
                  ", binSize: 2, startOfWeek: 'monday', "
                  "timezone: 'America/Los_Angeles'"),
            "'2021-03-15T07:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "day"), "'2021-03-20T00:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "day", ", timezone: 'Asia/Tokyo'"), "'2021-03-19T15:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "hour", ", binSize: 2"), "'2021-03-20T10:00:00.000Z'");
  EXPECT_EQ(trunc(kDate, "hour", ", timezone: '+05:30'"), "'2021-03-20T11:30:00.000Z'");
  EXPECT_EQ(trunc(kDate, "minute", ", binSize: 7"), "'2021-03-20T11:26:00.000Z'");
  EXPECT_EQ(trunc(kDate, "second"), "'2021-03-20T11:30:05.000Z'");
  EXPECT_EQ(trunc(kDate, "millisecond", ", binSize: 100"), "'2021-03-20T11:30:05.700Z'");
  Check({
      {"{$dateDiff: {startDate: null, endDate: '$$NOW', unit: 'day'}}", "null"},
      {"{$dateDiff: {startDate: 1, endDate: '$$NOW', unit: 'day'}}", "error: expected a date"},
      {"{$dateDiff: {startDate: '$$NOW', endDate: '$$NOW', unit: 'week', startOfWeek: 'x'}}",
       "error: 'startOfWeek' has to be the name of a day"},
      {"{$dateDiff: {startDate: '$$NOW', endDate: '$$NOW', unit: 'day', startOfWeek: 'x'}}", "0"},
      {"{$dateTrunc: {date: null, unit: 'day'}}", "null"},
      {"{$dateTrunc: {date: '$$NOW', unit: 'day', binSize: 0}}", "error: 'binSize' has to be"},
      {"{$dateTrunc: {date: '$$NOW', unit: 'day', binSize: null}}", "null"},
      {"{$dateTrunc: {date: '$$NOW', unit: 'decade'}}", "error: 'unit' has to be"},
      {"{$dateTrunc: {date: '$$NOW', unit: 'year', binSize: 1000000000000}}", "time(946684800)"},
      {"{$dateTrunc: {date: time(0), unit: 'year', binSize: 1000000000000}}",
       "error: out of the range"},
  });
}

TEST(ExpressionTest, DateToString) {
  Check({
      {"{$dateToString: {date: '$$NOW'}}", "'2023-11-14T22:13:20.123Z'"},
      {"{$dateToString: {date: '$$NOW', timezone: 'Europe/Berlin'}}", "'2023-11-14T23:13:20.123'"},
      {"{$dateToString: {date: '$$NOW', format: '%Y-%m-%d %H:%M:%S:%L %% %j %u %w %U %V %G %b "
       "%B'}}",
       "'2023-11-14 22:13:20:123 % 318 2 3 46 46 2023 Nov November'"},
      {"{$dateToString: {date: '$$NOW', format: '%z %Z', timezone: 'America/New_York'}}",
       "'-0500 -300'"},
      {"{$dateToString: {date: '$$NOW', format: '%z %Z', timezone: '+05:45'}}", "'+0545 345'"},
      {"{$dateToString: {date: '$none'}}", "null"},
      {"{$dateToString: {date: null, onNull: 'x'}}", "'x'"},
      {"{$dateToString: {date: '$$NOW', format: null}}", "null"},
      {"{$dateToString: {date: '$$NOW', format: '%q'}}", "refused: unknown '%q'"},
      {"{$dateToString: {date: '$$NOW', format: '%'}}", "refused: lone '%'"},
      {"{$dateToString: {date: '$$NOW', format: '$f'}}", "error: unknown '%q'", "{f: '%q'}"},
      {"{$dateToString: {date: '$$NOW', format: 5}}", "refused: 'format' has to be a string"},
      {"{$dateToString: {date: 5}}", "error: expected a date"},
      {"{$dateToString: {date: time(999999999999)}}", "error: the year 33658"},
  });
}

TEST(ExpressionTest, DateFromString) {
  const auto parse = [](std::string_view arguments) {
    return Result(absl::StrCat("{$let: {vars: {d: {$dateFromString: {dateString: ", arguments,
                               "}}}, in: {$cond: [{$eq: [{$type: '$$d'}, 'date']}, "
                               "{$dateToString: {date: '$$d'}}, '$$d']}}}"),
                  "{}");
  };
  for (const std::string_view text :
       {"2024-02-29T12:30:15.250Z", "2024-02-29T12:30:15.25", "2024-02-29 12:30:15.250 UTC",
        "2024-02-29T14:30:15.250+02:00", "2024-02-29T14:30:15.250+0200",
        "2024-02-29T13:30:15.250 Europe/Berlin", "20240229T123015.250Z",
        "Thu, 29 Feb 2024 12:30:15.25 GMT", "29 February 2024 12:30:15.25",
        "Feb 29, 2024 12:30:15.250", "2/29/2024 12:30:15.250 PM", "2024-W09-4T12:30:15.250Z",
        "2024-060T12:30:15.25", "29-02-2024 12:30:15.250", "29.2.2024 12:30:15,250",
        "2024/02/29 12:30:15.25", "February 29 2024 12:30:15.250 GMT+0000"}) {
    EXPECT_EQ(parse(absl::StrCat("'", text, "'")), "'2024-02-29T12:30:15.250Z'") << text;
  }
  EXPECT_EQ(parse("'2024-02-29'"), "'2024-02-29T00:00:00.000Z'");
  EXPECT_EQ(parse("'2024-02'"), "'2024-02-01T00:00:00.000Z'");
  EXPECT_EQ(parse("'2024-02-29', timezone: 'America/New_York'"), "'2024-02-29T05:00:00.000Z'");
  EXPECT_EQ(parse("'06-15-2018', format: '%m-%d-%Y'"), "'2018-06-15T00:00:00.000Z'");
  EXPECT_EQ(parse("'2018-06-15 10:20 -0300', format: '%Y-%m-%d %H:%M %z'"),
            "'2018-06-15T13:20:00.000Z'");
  EXPECT_EQ(parse("'2018-06-15 +120', format: '%Y-%m-%d %Z'"), "'2018-06-14T22:00:00.000Z'");
  EXPECT_EQ(parse("'2018 W32 5', format: '%G W%V %u'"), "'2018-08-10T00:00:00.000Z'");
  EXPECT_EQ(parse("'15 Aug 2018', format: '%d %b %Y'"), "'2018-08-15T00:00:00.000Z'");
  EXPECT_EQ(parse("'2018 100%', format: '%Y %j%%'"), "'2018-04-10T00:00:00.000Z'");
  for (const std::string_view text :
       {"", "x", "2024", "2024-02-30", "2024-13-01", "2024-02-29T", "2024-02-29T25:00",
        "2024-02-29 12:30 Mars", "2024-02-29T12:60:00Z", "99", "2024-02-29T12:30:15Zx"}) {
    EXPECT_EQ(parse(absl::StrCat("'", text, "', onError: 'bad'")), "'bad'") << text;
    EXPECT_TRUE(absl::StartsWith(parse(absl::StrCat("'", text, "'")), "error: ")) << text;
  }
  Check({
      {"{$dateFromString: {dateString: null}}", "null"},
      {"{$dateFromString: {dateString: '$none', onNull: time(0)}}", "time(0)"},
      {"{$dateFromString: {dateString: 5}}", "error: 'dateString' has to be a string"},
      {"{$dateFromString: {dateString: 5, onError: 'e'}}", "'e'"},
      {"{$dateFromString: {dateString: '2024-01-01Z', timezone: 'UTC'}}",
       "error: has a time zone of its own"},
      {"{$dateFromString: {dateString: '2024', format: '%Y-%m'}}",
       "error: does not have the format"},
      {"{$dateFromString: {dateString: '2024-1-1x', format: '%Y-%m-%d'}}", "error: goes on after"},
      {"{$dateFromString: {dateString: 'x', format: '%w'}}", "refused: unknown '%w'"},
      {"{$dateFromString: {dateString: 'x', timezone: 'x y'}}", "refused: is no time zone"},
  });
}

TEST(ExpressionTest, Types) {
  Check({
      {"{$type: '$none'}", "'missing'"},
      {"[{$type: 1}, {$type: 2147483648}, {$type: 1.5}, {$type: 'x'}, {$type: true}]",
       "['int', 'long', 'double', 'string', 'bool']"},
      {"[{$type: null}, {$type: [[]]}, {$type: {a: 1}}, {$type: time(0)}, {$type: '$a'}]",
       "['null', 'array', 'object', 'date', 'binData']", "{a: bin('x')}"},
      {"{$type: 18446744073709551615}", "'long'"},
      {"[{$isNumber: 1}, {$isNumber: 1.5}, {$isNumber: '1'}, {$isNumber: '$none'}]",
       "[true, true, false, false]"},
      {"[{$toBool: 0}, {$toBool: 0.5}, {$toBool: ''}, {$toBool: time(0)}, {$toBool: null}]",
       "[false, true, true, true, null]"},
      {"{$toBool: {a: 1}}", "true"},
      {"[{$toInt: '12'}, {$toInt: -1.9}, {$toInt: true}, {$toInt: null}]", "[12, -1, 1, null]"},
      {"{$toInt: '1.5'}", "error: $toInt: '1.5' is no whole number"},
      {"{$toInt: ''}", "error: is no whole number"},
      {"{$toInt: 2147483648}", "error: out of the range of int"},
      {"{$toInt: NaN}", "error: out of the range"},
      {"{$toInt: time(0)}", "error: there is no conversion from date to int"},
      {"[{$toLong: '9223372036854775807'}, {$toLong: 1e15}, {$toLong: time(5)}]",
       "[9223372036854775807, 1000000000000000, 5000]"},
      {"{$toLong: '9223372036854775808'}", "error: out of the range of long"},
      {"{$toLong: 18446744073709551615}", "error: out of the range of long"},
      {"{$toLong: 1e300}", "error: out of the range of long"},
      {"{$toLong: '$a'}", "error: no conversion from array to long", "{a: []}"},
      {"[{$toDouble: '-5.5'}, {$toDouble: '1e3'}, {$toDouble: false}, {$toDouble: 7}]",
       "[-5.5, 1000.0, 0.0, 7.0]"},
      {"{$toDouble: '5 '}", "error: is no number"},
      {"{$toDouble: '0x10'}", "error: is no number"},
      {"{$toDouble: '1e999'}", "error: out of the range of doubles"},
      {"{$toDouble: time(1)}", "1000.0"},
      {"[{$toString: 2.5}, {$toString: 2.0}, {$toString: true}, {$toString: -7}, {$toString: 's'}]",
       "['2.5', '2', 'true', '-7', 's']"},
      {"[{$toString: 1e8}, {$toString: 0.0001}, {$toString: 1e15}, {$toString: 1e16}]",
       "['100000000', '0.0001', '1000000000000000', '1e+16']"},
      {"[{$toString: 1e300}, {$toString: NaN}, {$toString: Infinity}, {$toString: time(0)}]",
       "['1e+300', 'NaN', 'Infinity', '1970-01-01T00:00:00.000Z']"},
      {"{$toString: '$a'}", "'aGVsbG8='", "{a: bin('hello')}"},
      {"{$toString: {a: 1}}", "error: no conversion from object to string"},
      {"[{$toDate: 1500}, {$toDate: -1.0}, {$toDate: '1970-01-02'}]",
       "[time(1), time(-1), time(86400)]"},
      {"{$toDate: 'x'}", "error: is no date"},
      {"{$toDate: true}", "error: no conversion from bool to date"},
      {"{$toDate: 1e300}", "error: out of the range of dates"},
      {"{$toLong: {$toDate: -1}}", "-1"},
  });
}

TEST(ExpressionTest, Convert) {
  Check({
      {"{$convert: {input: '5', to: 'int'}}", "5"},
      {"{$convert: {input: '5', to: 1}}", "5.0"},
      {"{$convert: {input: 'x', to: 'int', onError: 'bad'}}", "'bad'"},
      {"{$convert: {input: 'x', to: 'int'}}", "error: is no whole number"},
      {"{$convert: {input: null, to: 'int', onNull: 0}}", "0"},
      {"{$convert: {input: '$none', to: 'int'}}", "null"},
      {"{$convert: {input: 5, to: null}}", "null"},
      {"{$convert: {input: {a: 1}, to: 'date', onError: '$$REMOVE'}}", "missing"},
      {"{$convert: {input: 5, to: '$t'}}", "'5'", "{t: 'string'}"},
      {"{$convert: {input: 5, to: 'decimal'}}", "refused: there is no type decimal"},
      {"{$convert: {input: 5, to: 7}}", "refused: there is no type objectId"},
      {"{$convert: {input: 5, to: 'x'}}", "refused: 'to' has to be one of"},
      {"{$convert: {input: 5, to: '$t'}}", "error: 'to' has to be one of", "{t: 'x'}"},
      {"{$convert: {input: 'aGk=', to: 'binData', format: 'base64'}}", "bin('hi')"},
      {"{$convert: {input: '6869', to: 'binData', format: 'hex'}}", "bin('hi')"},
      {"{$convert: {input: 'hi', to: {type: 'binData', subtype: 0}, format: 'utf8'}}", "bin('hi')"},
      {"{$convert: {input: 'hi', to: 'binData', format: 'hex'}}",
       "error: does not have the format"},
      {"{$convert: {input: 'hi', to: 'binData'}}", "error: with a 'format' only"},
      {"{$convert: {input: 'hi', to: 'binData', format: 'x'}}", "error: 'format' has to be one of"},
      {"{$convert: {input: '$b', to: 'string', format: 'hex'}}", "'6869'", "{b: bin('hi')}"},
      {"{$convert: {input: '$b', to: 'string', format: 'utf8'}}", "'hi'", "{b: bin('hi')}"},
      {"{$convert: {input: '$b', to: 'string', format: 'uuid'}}", "error: a UUID has 16 bytes",
       "{b: bin('hi')}"},
      {"{$convert: {input: '$b', to: 'string', format: 'uuid'}}",
       "'61626364-6566-6768-696a-6b6c6d6e6f70'", "{b: bin('abcdefghijklmnop')}"},
      {"{$convert: {input: {$convert: {input: '61626364-6566-6768-696a-6b6c6d6e6f70', to: "
       "'binData',"
       " format: 'uuid'}}, to: 'string', format: 'utf8'}}",
       "'abcdefghijklmnop'"},
      {"{$convert: {input: {$convert: {input: -2, to: 'binData'}}, to: 'int'}}", "-2"},
      {"{$convert: {input: {$convert: {input: 1.5, to: 'binData', byteOrder: 'big'}}, to: 'double',"
       " byteOrder: 'big'}}",
       "1.5"},
      {"{$convert: {input: '$b', to: 'long'}}", "error: a long is made of", "{b: bin('abc')}"},
      {"{$convert: {input: '$b', to: 'int', byteOrder: 'big'}}", "24930", "{b: bin('ab')}"},
      {"{$convert: {input: 1, to: 'binData', byteOrder: 'x'}}", "error: 'byteOrder' has to be"},
      {"{$convert: {input: 1}}", "refused: 'to' is missing"},
      {"{$convert: {input: 'ff', to: 'int', base: 16}}", "255"},
      {"{$convert: {input: '-101', to: 'long', base: 2}}", "-5"},
      {"{$convert: {input: '17', to: 'double', base: 8}}", "15.0"},
      {"{$convert: {input: '8', to: 'int', base: 8}}", "error: no whole number to base 8"},
      {"{$convert: {input: 255, to: 'string', base: 16}}", "'FF'"},
      {"{$convert: {input: -9223372036854775808, to: 'string', base: 2}}",
       "'-1000000000000000000000000000000000000000000000000000000000000000'"},
      {"{$convert: {input: 1.5, to: 'string', base: 2}}", "error: only whole numbers"},
      {"{$convert: {input: 1, to: 'string', base: 3}}", "error: 'base' has to be 2, 8, 10 or 16"},
  });
}

TEST(ExpressionTest, SizesAndHashes) {
  Check({
      {"{$binarySize: 'é'}", "2"},
      {"{$binarySize: '$a'}", "3", "{a: bin('abc')}"},
      {"{$binarySize: null}", "null"},
      {"{$binarySize: 5}", "error: expected a string or binary"},
      {"{$bsonSize: '$$ROOT'}", "4", "{a: 1, }"},
      {"{$bsonSize: '$none'}", "null"},
      {"{$bsonSize: [[]]}", "error: expected an object"},
      {"{$eq: [{$toHashedIndexKey: 1}, {$toHashedIndexKey: 1.0}]}", "true"},
      {"{$eq: [{$toHashedIndexKey: '$none'}, {$toHashedIndexKey: null}]}", "true"},
      {"{$type: {$toHashedIndexKey: 'x'}}", "'long'"},
  });
}

TEST(ExpressionTest, WhatIsNotThereIsRefusedByName) {
  Check({
      {"{$function: {}}", "refused: $function is not supported: alos runs no JavaScript"},
      {"{$toDecimal: 1}", "refused: $toDecimal is not supported: there is no decimal type"},
      {"{$toObjectId: 1}", "refused: $toObjectId is not supported: there is no ObjectId type"},
      {"{$meta: 'textScore'}", "refused: $meta is not supported"},
      {"{$hash: 'x'}", "refused: $hash is not supported"},
      {"{$toObject: '{}'}", "refused: $toObject is not supported"},
      {"{$subtype: 1}", "refused: $subtype is not supported"},
      {"{$tsSecond: 1}", "refused: $tsSecond is not supported"},
      {"{$push: 1}", "refused: it is an accumulator"},
      {"{$rank: {}}", "refused: it is for $setWindowFields only"},
      {"{$where: 'x'}", "refused: $where is not supported"},
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
  const Expression in = compile("{$in: ['$a.b', [1, 2]]}");
  ASSERT_EQ(in.ImpliedComparisons().size(), 1u);
  EXPECT_EQ(in.ImpliedComparisons()[0].op, "$in");
  EXPECT_EQ(in.ImpliedComparisons()[0].constant.size(), 2u);
}

// Whatever the expression, the document and the limits: no crash, valid results, and the same with
// and without what earlier documents left in the state.
TEST(ExpressionTest, RandomExpressions) {
  constexpr std::uint64_t kSeed = 20260711;
  constexpr int kRounds = 30'000;
  query_internal::RandomDocuments random(kSeed);
  query_internal::RandomExpressions expressions(random);
  EvaluationLimits limits;
  limits.memory_bytes_max = 1 << 20;
  limits.steps_max = 20'000;
  EvaluationState used(kNow, limits);
  int compiled_count = 0;
  int evaluated_count = 0;
  for (int i = 0; i < kRounds; ++i) {
    const std::string specification = expressions.Expression();
    const absl::StatusOr<Expression> compiled =
        Expression::Compile(ValueView::FromTrusted(specification));
    if (!compiled.ok()) continue;
    ++compiled_count;
    const std::string document = random.Document();
    EvaluationState fresh(kNow, limits);
    used.Reset();
    const ValueView root = ValueView::FromTrusted(document);
    const absl::StatusOr<std::optional<ValueView>> value = compiled->Evaluate(root, used);
    const absl::StatusOr<std::optional<ValueView>> again = compiled->Evaluate(root, fresh);
    const std::string shown = absl::StrCat("seed ", kSeed, ", round ", i, ": ",
                                           ToShellText(ValueView::FromTrusted(specification)));
    const bool is_random = absl::StrContains(shown, "$rand") ||
                           absl::StrContains(shown, "$currentDate") ||
                           absl::StrContains(shown, "$sample");
    ASSERT_TRUE(is_random || value.ok() == again.ok()) << shown << value.status();
    if (!value.ok() || !*value) continue;
    ++evaluated_count;
    ASSERT_TRUE(ValueView::Parse((*value)->bytes()).ok()) << shown;
    if (is_random || !again.ok()) continue;
    ASSERT_TRUE(*again) << shown;
    EXPECT_EQ((*value)->bytes(), (*again)->bytes()) << shown;
  }
  EXPECT_GT(compiled_count, kRounds / 4);
  EXPECT_GT(evaluated_count, kRounds / 10);
}

TEST(ExpressionTest, ResultsNestAsDeepAsDocuments) {
  // The field nests 99 levels: one more is a document's limit, two are beyond it.
  std::string nested = "'a text, so that the value is of some size'";
  for (int i = 0; i < 99; ++i) {
    nested = i % 2 == 0 ? absl::StrCat("[1, ", nested, "]") : absl::StrCat("{k: ", nested, "}");
  }
  const std::string document = absl::StrCat("{a: ", nested, "}");
  EXPECT_EQ(Result("['$a']", document), absl::StrCat("[", nested, "]"));
  EXPECT_EQ(Result("[['$a']]", document),
            "error: an expression makes a value that nests deeper than 100 levels");
  EXPECT_EQ(Result("{x: {y: '$a'}}", document),
            "error: an expression makes a value that nests deeper than 100 levels");
}

TEST(ExpressionTest, TimeIsBounded) {
  const ShellDocument specification(
      "{$size: {$map: {input: {$range: [0, 1000]}, in: {$sum: {$range: [0, '$$this']}}}}}");
  const absl::StatusOr<Expression> compiled = Expression::Compile(specification.view());
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EvaluationLimits limits;
  limits.steps_max = 100'000;
  EvaluationState state(kNow, limits);
  EXPECT_EQ(compiled->Evaluate(ValueView(), state).status().code(),
            absl::StatusCode::kResourceExhausted);
  // The state is as good as new after Reset.
  const ShellDocument cheap("{$sum: [1, 2]}");
  state.Reset();
  const absl::StatusOr<std::optional<ValueView>> value =
      Expression::Compile(cheap.view())->Evaluate(ValueView(), state);
  ASSERT_TRUE(value.ok()) << value.status();
}

TEST(ExpressionTest, NestingIsBounded) {
  std::string deep = "'$a'";
  for (int i = 0; i < 120; ++i) deep = absl::StrCat("[", deep, "]");
  EXPECT_TRUE(absl::StrContains(Result(deep, "{}"), "nests deeper than 100"));
}

}  // namespace
}  // namespace alos
