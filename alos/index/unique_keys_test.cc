// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/index/unique_keys.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::ShellDocument;

std::set<std::string> Keys(const std::vector<std::string>& paths, std::string_view text,
                           bool is_sparse = false) {
  const ShellDocument document(text);
  const auto extractor = UniqueKeyExtractor::Make(paths, is_sparse);
  EXPECT_TRUE(extractor.ok()) << extractor.status();
  std::set<std::string> keys;
  const absl::Status visited = extractor->Visit(
      document.view(), [&](std::string_view key, UniqueKeyExtractor::Values values) {
        EXPECT_EQ(values.size(), paths.size());
        keys.emplace(key);
      });
  EXPECT_TRUE(visited.ok()) << visited;
  return keys;
}

TEST(UniqueKeysTest, EqualValuesOfDifferentTypesHaveOneKey) {
  EXPECT_EQ(Keys({"a"}, "{a: 5}"), Keys({"a"}, "{a: 5.0}"));
  EXPECT_EQ(Keys({"a"}, "{a: {b: 1, c: [2]}}"), Keys({"a"}, "{a: {b: 1.0, c: [2.0]}}"));
  EXPECT_NE(Keys({"a"}, "{a: {b: 1, c: 2}}"), Keys({"a"}, "{a: {c: 2, b: 1}}"));
  EXPECT_NE(Keys({"a"}, "{a: '5'}"), Keys({"a"}, "{a: 5}"));
  EXPECT_NE(Keys({"a"}, "{a: 'x'}"), Keys({"a"}, "{a: bin('x')}"));
  EXPECT_NE(Keys({"a"}, "{a: 0}"), Keys({"a"}, "{a: false}"));
}

TEST(UniqueKeysTest, LongStringsAreNotCut) {
  const std::string text(5000, 'x');
  EXPECT_NE(Keys({"a"}, "{a: '" + text + "1'}"), Keys({"a"}, "{a: '" + text + "2'}"));
}

TEST(UniqueKeysTest, ComponentsSayWhereTheyEnd) {
  EXPECT_NE(Keys({"a", "b"}, "{a: 'x', b: 'yz'}"), Keys({"a", "b"}, "{a: 'xy', b: 'z'}"));
  EXPECT_NE(Keys({"a"}, "{a: {b: [1, [2]]}}"), Keys({"a"}, "{a: {b: [1, 2, []]}}"));
  EXPECT_NE(Keys({"a"}, "{a: {b: {c: 1}, d: 2}}"), Keys({"a"}, "{a: {b: {c: 1, d: 2}}}"));
}

TEST(UniqueKeysTest, MissingIsNullUnlessSparse) {
  EXPECT_EQ(Keys({"a"}, "{}"), Keys({"a"}, "{a: null}"));
  EXPECT_EQ(Keys({"a.b"}, "{a: 5}"), Keys({"a.b"}, "{a: {b: null}}"));
  EXPECT_TRUE(Keys({"a"}, "{}", true).empty());
  EXPECT_EQ(Keys({"a"}, "{a: null}", true).size(), 1u);
  EXPECT_EQ(Keys({"a", "b"}, "{a: 1}", true), Keys({"a", "b"}, "{a: 1, b: null}"));
  EXPECT_TRUE(Keys({"a", "b"}, "{c: 1}", true).empty());
}

TEST(UniqueKeysTest, ArraysGiveAKeyForEachElement) {
  std::set<std::string> expected = Keys({"a"}, "{a: 1}");
  expected.merge(Keys({"a"}, "{a: 2}"));
  EXPECT_EQ(Keys({"a"}, "{a: [1, 2, 1]}"), expected);
  EXPECT_EQ(Keys({"a"}, "{a: []}").size(), 1u);
  EXPECT_NE(Keys({"a"}, "{a: []}"), Keys({"a"}, "{a: null}"));
  EXPECT_NE(Keys({"a"}, "{a: []}"), Keys({"a"}, "{a: [[]]}"));
  EXPECT_EQ(Keys({"a"}, "{a: [[1, 2]]}").size(), 1u);
}

TEST(UniqueKeysTest, PathsGoThroughArrays) {
  std::set<std::string> expected = Keys({"a.b"}, "{a: {b: 1}}");
  expected.merge(Keys({"a.b"}, "{a: {b: 2}}"));
  EXPECT_EQ(Keys({"a.b"}, "{a: [{b: 1}, {b: 2}]}"), expected);
  EXPECT_EQ(Keys({"a.b"}, "{a: [{b: [1, 2]}]}"), expected);
  EXPECT_EQ(Keys({"a.b"}, "{a: [{b: 1}, {b: 2}, 3]}", true), expected);
  expected.merge(Keys({"a.b"}, "{}"));
  EXPECT_EQ(Keys({"a.b"}, "{a: [{b: 1}, {b: 2}, 3]}"), expected);
  EXPECT_EQ(Keys({"a.b"}, "{a: []}"), Keys({"a.b"}, "{}"));
  EXPECT_EQ(Keys({"a.b"}, "{a: [[{b: 1}]]}"), Keys({"a.b"}, "{}"));
  EXPECT_EQ(Keys({"a.0"}, "{a: [7, 8]}"), Keys({"a.0"}, "{a: {'0': 7}}"));
  EXPECT_EQ(Keys({"a.1.b"}, "{a: [7, {b: 3}]}"), Keys({"a.1.b"}, "{a: {'1': {b: 3}}}"));
  EXPECT_EQ(Keys({"a.0"}, "{a: [[1, 2]]}").size(), 1u);
}

TEST(UniqueKeysTest, CompoundKeysFollowOneArray) {
  std::set<std::string> expected = Keys({"a.b", "a.c"}, "{a: {b: 1, c: 2}}");
  expected.merge(Keys({"a.b", "a.c"}, "{a: {b: 3, c: 4}}"));
  EXPECT_EQ(Keys({"a.b", "a.c"}, "{a: [{b: 1, c: 2}, {b: 3, c: 4}]}"), expected);
  EXPECT_EQ(Keys({"a", "b"}, "{a: [1, 2, 3], b: 1}").size(), 3u);
}

TEST(UniqueKeysTest, TwoArraysAreRefused) {
  const ShellDocument document("{a: [1, 2], b: [3]}");
  const auto extractor = UniqueKeyExtractor::Make({"a", "b"}, false);
  const absl::Status visited =
      extractor->Visit(document.view(), [](std::string_view, UniqueKeyExtractor::Values) {});
  EXPECT_TRUE(absl::IsInvalidArgument(visited)) << visited;
}

}  // namespace
}  // namespace alos
