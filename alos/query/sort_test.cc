// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/sort.h"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/internal/random_document.h"
#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::RandomDocuments;
using query_internal::ShellDocument;
using query_internal::ToShellText;

// '<', '=' or '>' for two documents, the same by keys as by documents.
char Order(std::string_view specification, std::string_view a, std::string_view b) {
  const Sort sort = *Sort::Compile(ShellDocument(specification).view());
  const ShellDocument left(a), right(b);
  const std::weak_ordering order = sort.Compare(left.view(), right.view());
  EXPECT_EQ(order, sort.Compare(sort.ExtractKey(left.view()), sort.ExtractKey(right.view())));
  EXPECT_EQ(order, 0 <=> sort.Compare(right.view(), left.view()));
  EXPECT_EQ(order < 0, sort.Less(left.view(), right.view()));
  return order < 0 ? '<' : order > 0 ? '>' : '=';
}

TEST(SortTest, OrdersAcrossTypes) {
  const std::vector<std::string_view> ascending = {
      "{a: []}",    "{a: null}", "{a: NaN}",    "{a: -1}",    "{a: 1}",
      "{a: 1.5}",   "{a: 'a'}",  "{a: {b: 1}}", "{a: [[1]]}", "{a: bin('x')}",
      "{a: false}", "{a: true}", "{a: time(5)}"};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = i + 1; j < ascending.size(); ++j) {
      EXPECT_EQ(Order("{a: 1}", ascending[i], ascending[j]), '<') << ascending[i] << ascending[j];
      EXPECT_EQ(Order("{a: -1}", ascending[i], ascending[j]), '>') << ascending[i] << ascending[j];
    }
  }
}

TEST(SortTest, MissingIsNull) {
  EXPECT_EQ(Order("{a: 1}", "{}", "{a: null}"), '=');
  EXPECT_EQ(Order("{a: 1}", "{}", "{a: -5}"), '<');
  EXPECT_EQ(Order("{a: 1}", "{}", "{a: []}"), '>');
  EXPECT_EQ(Order("{a.b: 1}", "{a: 5}", "{a: {b: null}}"), '=');
}

TEST(SortTest, ArraysCountAsTheirLeastOrGreatestElement) {
  EXPECT_EQ(Order("{a: 1}", "{a: [5, 1]}", "{a: 2}"), '<');
  EXPECT_EQ(Order("{a: -1}", "{a: [5, 1]}", "{a: 4}"), '<');  // 5 comes first, descending.
  EXPECT_EQ(Order("{a: 1}", "{a: [5, 1]}", "{a: [1, 9]}"), '=');
  EXPECT_EQ(Order("{a: 1}", "{a: [2, null]}", "{}"), '=');
  EXPECT_EQ(Order("{a.b: 1}", "{a: [{b: 5}, {b: 1}]}", "{a: {b: 2}}"), '<');
  EXPECT_EQ(Order("{a.b: -1}", "{a: [{b: 5}, {b: 1}]}", "{a: {b: 4}}"), '<');
  EXPECT_EQ(Order("{a.b: 1}", "{a: [{b: 5}, 7]}", "{a: {b: null}}"), '=');
  EXPECT_EQ(Order("{a.b: 1}", "{a: [{b: [3, 4]}, {b: [9]}]}", "{a: {b: 3}}"), '=');
  EXPECT_EQ(Order("{a.b: 1}", "{a: []}", "{a: {b: null}}"), '=');
  EXPECT_EQ(Order("{a.0: 1}", "{a: [3, 1]}", "{a: [2, 9]}"), '>');
  EXPECT_EQ(Order("{a.1.b: 1}", "{a: [0, {b: 1}]}", "{a: [9, {b: 2}]}"), '<');
}

TEST(SortTest, LaterFieldsBreakTies) {
  EXPECT_EQ(Order("{a: 1, b: -1}", "{a: 1, b: 1}", "{a: 1, b: 2}"), '>');
  EXPECT_EQ(Order("{a: 1, b: -1}", "{a: 0, b: 1}", "{a: 1, b: 2}"), '<');
  EXPECT_EQ(Order("{b: 1, a: 1}", "{a: 0, b: 2}", "{a: 1, b: 1}"), '>');
  EXPECT_EQ(Order("{a: 1, b: 1, c: 1, d: -1}", "{d: 1}", "{d: 2}"), '>');
  EXPECT_EQ(Order("{}", "{a: 1}", "{a: 2}"), '=');
}

TEST(SortTest, ErrorsNameTheField) {
  const struct {
    std::string_view specification;
    std::string_view part;
  } cases[] = {
      {"{a: 2}", "{a: 2}"},       {"{a: 'x'}", "{a: \"x\"}"},     {"{a: 0}", "direction"},
      {"{a: null}", "{a: null}"}, {"{a: {$meta: 't'}}", "$meta"}, {"{'a..b': 1}", "empty"},
      {"{$a: 1}", "'$a'"},        {"[1]", "needs a document"},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Sort> sort = Sort::Compile(ShellDocument(c.specification).view());
    ASSERT_FALSE(sort.ok()) << c.specification;
    EXPECT_TRUE(absl::StrContains(sort.status().message(), c.part)) << sort.status();
  }
  EXPECT_TRUE(Sort::Compile(ShellDocument("{a: 1.0, b: -1.0}").view()).ok());
  std::string many = "{";
  for (int i = 0; i < 33; ++i) absl::StrAppend(&many, "f", i, ": 1, ");
  EXPECT_FALSE(Sort::Compile(ShellDocument(many + "}").view()).ok());
}

std::uint64_t Seed() {
  const char* given = std::getenv("ALOS_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "ALOS_TEST_SEED=" << seed << std::endl;
  return seed;
}

// A total preorder: antisymmetric and transitive, or std::sort would be undefined.
TEST(SortPropertyTest, OrderIsTotal) {
  RandomDocuments random(Seed());
  for (int i = 0; i < 3000; ++i) {
    const Sort sort =
        *Sort::Compile(ShellDocument(absl::StrCat("{", random.Path(), ": ",
                                                  random.Pick(2) == 0 ? 1 : -1, ", b: -1}"))
                           .view());
    std::vector<std::string> documents;
    for (int j = 0; j < 3; ++j) documents.push_back(random.Document());
    const auto order = [&](int a, int b) {
      return sort.Compare(ValueView::FromTrusted(documents[a]),
                          ValueView::FromTrusted(documents[b]));
    };
    EXPECT_EQ(order(0, 0), std::weak_ordering::equivalent);
    EXPECT_EQ(order(0, 1), 0 <=> order(1, 0));
    if (order(0, 1) <= 0 && order(1, 2) <= 0) {
      EXPECT_TRUE(order(0, 2) <= 0) << ToShellText(ValueView::FromTrusted(documents[0]));
      if (order(0, 1) < 0 || order(1, 2) < 0) {
        EXPECT_TRUE(order(0, 2) < 0);
      }
    }
  }
}

TEST(SortPropertyTest, AgreesWithCompareOnScalars) {
  RandomDocuments random(Seed());
  const Sort up = *Sort::Compile(ShellDocument("{a: 1}").view());
  const Sort down = *Sort::Compile(ShellDocument("{a: -1}").view());
  for (int i = 0; i < 5000; ++i) {
    const std::string a_value = random.Value(0), b_value = random.Value(0);
    const ShellDocument a(absl::StrCat("{a: ", ToShellText(ValueView::FromTrusted(a_value)), "}"));
    const ShellDocument b(absl::StrCat("{a: ", ToShellText(ValueView::FromTrusted(b_value)), "}"));
    const std::weak_ordering expected =
        Compare(ValueView::FromTrusted(a_value), ValueView::FromTrusted(b_value));
    EXPECT_EQ(up.Compare(a.view(), b.view()), expected);
    EXPECT_EQ(down.Compare(a.view(), b.view()), 0 <=> expected);
  }
}

}  // namespace
}  // namespace alos
