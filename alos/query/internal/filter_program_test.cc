// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/filter_program.h"

#include <memory>
#include <string>
#include <string_view>

#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

// The operators in prefix order, each with the size of its subtree.
std::string Shape(std::string_view filter) {
  const auto program = FilterCompiler::CompileDocument(ShellDocument(filter).view(), "filter");
  if (!program.ok()) return std::string(program.status().message());
  std::string shape;
  for (const FilterNode& node : (*program)->nodes()) {
    static constexpr std::string_view kNames[] = {
        "true", "false", "and",  "or",  "nor",      "not",       "eq",
        "gt",   "gte",   "lt",   "lte", "in",       "exists",    "regex",
        "word", "type",  "size", "mod", "elem-doc", "elem-value"};
    if (!shape.empty()) shape += ' ';
    shape += kNames[static_cast<std::size_t>(node.op)];
    if (node.subtree_size != 1) shape += std::to_string(node.subtree_size);
  }
  return shape;
}

TEST(FilterProgramTest, IsFlatAndHasNoGroupsOfOne) {
  EXPECT_EQ(Shape("{}"), "true");
  EXPECT_EQ(Shape("{a: 1}"), "eq");
  EXPECT_EQ(Shape("{a: 1, b: {$gt: 2}}"), "and3 eq gt");
  EXPECT_EQ(Shape("{a: {$gt: 1, $lt: 2}}"), "and3 gt lt");
  EXPECT_EQ(Shape("{a: 1, $or: [{b: 2}, {c: {$not: {$gt: 3}}}]}"), "and6 eq or4 eq not2 gt");
  EXPECT_EQ(Shape("{$or: [{a: 1}]}"), "eq");
  EXPECT_EQ(Shape("{$nor: [{a: 1}]}"), "nor2 eq");
  EXPECT_EQ(Shape("{$and: [{$and: [{}]}]}"), "true");
  EXPECT_EQ(Shape("{a: {$ne: 1}}"), "not2 eq");
  EXPECT_EQ(Shape("{a: {$gt: null}}"), "false");
  EXPECT_EQ(Shape("{a: {$gte: null}}"), "eq");
  EXPECT_EQ(Shape("{a: {$elemMatch: {b: 1, c: 2}}}"), "elem-doc4 and3 eq eq");
  EXPECT_EQ(Shape("{a: {$elemMatch: {$gt: 1}}}"), "elem-value2 gt");
}

TEST(FilterProgramTest, PathsAreStoredOnce) {
  const auto program = FilterCompiler::CompileDocument(
      ShellDocument("{a.b: {$gt: 1, $lt: 5}, $or: [{a.b: 7}, {c: 1}]}").view(), "filter");
  ASSERT_TRUE(program.ok());
  EXPECT_EQ((*program)->paths().size(), 2u);
}

// What a planner asks of a program.
TEST(FilterProgramTest, OneNodeAgainstOneValue) {
  const auto compiled = FilterCompiler::CompileDocument(
      ShellDocument("{a: {$gt: 1}, b: {$regex: '^x', $options: 'i'}, c: {$exists: true}}").view(),
      "filter");
  ASSERT_TRUE(compiled.ok());
  const FilterProgram& program = **compiled;
  ASSERT_EQ(program.nodes().size(), 4u);
  EXPECT_EQ(program.paths()[program.nodes()[2].path].ToString(), "b");
  ASSERT_EQ(program.regexes().size(), 1u);
  EXPECT_EQ(program.regexes()[program.nodes()[2].operand].pattern, "^x");
  EXPECT_EQ(program.regexes()[program.nodes()[2].operand].options, "i");

  const ShellDocument values("{two: 2, one: 1, array: [2], text: 'Xy'}");
  const auto test = [&](std::size_t node, std::string_view name) {
    return program.TestNode(node, values.view().Find(name));
  };
  EXPECT_TRUE(test(1, "two"));
  EXPECT_FALSE(test(1, "one"));
  EXPECT_FALSE(test(1, "array"));  // Not expanded.
  EXPECT_TRUE(test(2, "text"));
  EXPECT_TRUE(test(3, "array"));
  EXPECT_FALSE(test(3, "none"));
}

TEST(FilterProgramTest, OperatorsWithoutAPath) {
  const auto matches = [](std::string_view operators, bool expand, std::string_view value) {
    const auto program =
        FilterCompiler::CompileOperators(ShellDocument(operators).view(), expand, "condition");
    return program.ok() && (*program)->MatchesValue(ShellDocument(value).view());
  };
  EXPECT_TRUE(matches("{$gte: 3}", true, "3"));
  EXPECT_FALSE(matches("{$gte: 3}", true, "2"));
  EXPECT_TRUE(matches("{$gte: 3, $lt: 9}", true, "[1, 5]"));
  EXPECT_FALSE(matches("{$gte: 3}", false, "[1, 5]"));
  EXPECT_TRUE(matches("{$size: 2}", false, "[1, 5]"));
}

TEST(FilterProgramTest, TellsConditionsFromValues) {
  EXPECT_TRUE(FilterCompiler::IsFieldCondition(ShellDocument("{$gt: 1}").view()));
  EXPECT_FALSE(FilterCompiler::IsFieldCondition(ShellDocument("{$or: []}").view()));
  EXPECT_FALSE(FilterCompiler::IsFieldCondition(ShellDocument("{a: 1}").view()));
  EXPECT_FALSE(FilterCompiler::IsOperatorDocument(ShellDocument("{}").view()));
  EXPECT_FALSE(FilterCompiler::IsOperatorDocument(ShellDocument("{$ref: 'c', $id: 1}").view()));
  EXPECT_TRUE(FilterCompiler::IsOperatorDocument(ShellDocument("{$ref: 'c'}").view()));
}

}  // namespace
}  // namespace alos::query_internal
