// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/projection.h"

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/internal/random_document.h"
#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::RandomDocuments;
using query_internal::ShellDocument;
using query_internal::ToShellText;

std::string Shown(const Projection& projection, ValueView document) {
  std::string out = "kept";
  const absl::Status applied = projection.Apply(document, &out);
  if (!applied.ok()) return std::string(applied.message());
  const absl::StatusOr<ValueView> view = ValueView::Parse(std::string_view(out).substr(4));
  return view.ok() ? ToShellText(*view) : std::string(view.status().message());
}

std::string Project(std::string_view specification, std::string_view document) {
  const absl::StatusOr<Projection> projection =
      Projection::Compile(ShellDocument(specification).view());
  if (!projection.ok()) return std::string(projection.status().message());
  return Shown(*projection, ShellDocument(document).view());
}

// As Project, of a document that matches the filter, for "field.$".
std::string ProjectMatch(std::string_view filter_text, std::string_view specification,
                         std::string_view document) {
  const absl::StatusOr<Filter> filter = Filter::Compile(ShellDocument(filter_text).view());
  if (!filter.ok()) return std::string(filter.status().message());
  const absl::StatusOr<Projection> projection =
      Projection::Compile(ShellDocument(specification).view(), &*filter);
  if (!projection.ok()) return std::string(projection.status().message());
  return Shown(*projection, ShellDocument(document).view());
}

std::string Fields(const std::vector<std::string>& fields, std::string_view document) {
  const absl::StatusOr<Projection> projection = Projection::FromFields(fields);
  if (!projection.ok()) return std::string(projection.status().message());
  return Shown(*projection, ShellDocument(document).view());
}

TEST(ProjectionTest, Inclusion) {
  EXPECT_EQ(Project("{a: 1}", "{_id: 1, a: 2, b: 3}"), "{_id: 1, a: 2}");
  EXPECT_EQ(Project("{b: true, a: 2.5}", "{_id: 1, a: 2, b: 3, c: 4}"), "{_id: 1, a: 2, b: 3}");
  EXPECT_EQ(Project("{a: 1, _id: 0}", "{_id: 1, a: 2, b: 3}"), "{a: 2}");
  EXPECT_EQ(Project("{_id: 1}", "{_id: 1, a: 2}"), "{_id: 1}");
  EXPECT_EQ(Project("{x: 1}", "{_id: 1, a: 2}"), "{_id: 1}");
  EXPECT_EQ(Project("{x: 1, _id: false}", "{_id: 1, a: 2}"), "{}");
}

TEST(ProjectionTest, Exclusion) {
  EXPECT_EQ(Project("{a: 0}", "{_id: 1, a: 2, b: 3}"), "{_id: 1, b: 3}");
  EXPECT_EQ(Project("{a: 0, _id: 0}", "{_id: 1, a: 2, b: 3}"), "{b: 3}");
  EXPECT_EQ(Project("{_id: 0}", "{_id: 1, a: 2}"), "{a: 2}");
  EXPECT_EQ(Project("{a: 0, _id: 1}", "{_id: 1, a: 2, b: 3}"), "{_id: 1, b: 3}");
  EXPECT_EQ(Project("{}", "{_id: 1, a: 2}"), "{_id: 1, a: 2}");
}

TEST(ProjectionTest, DottedPathsGoThroughArrays) {
  EXPECT_EQ(Project("{a.b: 1}", "{a: {b: 1, c: 2}, d: 3}"), "{a: {b: 1}}");
  EXPECT_EQ(Project("{a.b: 1}", "{a: {c: 2}}"), "{a: {}}");
  EXPECT_EQ(Project("{a.b: 1}", "{a: 5}"), "{}");
  EXPECT_EQ(Project("{a.b: 1}", "{a: [{b: 1, c: 2}, 5, {c: 3}, [{b: 4, c: 5}, 6]]}"),
            "{a: [{b: 1}, {}, [{b: 4}]]}");
  EXPECT_EQ(Project("{a.b: 0}", "{a: {b: 1, c: 2}, d: 3}"), "{a: {c: 2}, d: 3}");
  EXPECT_EQ(Project("{a.b: 0}", "{a: 5}"), "{a: 5}");
  EXPECT_EQ(Project("{a.b: 0}", "{a: [{b: 1, c: 2}, 5, [{b: 4, c: 5}, 6]]}"),
            "{a: [{c: 2}, 5, [{c: 5}, 6]]}");
  EXPECT_EQ(Project("{a.b: 1, a.c: 1}", "{a: {c: 1, d: 2, b: 3}}"), "{a: {c: 1, b: 3}}");
  EXPECT_EQ(Project("{a: {b: 1}}", "{a: {b: 1, c: 2}}"), "{a: {b: 1}}");
  EXPECT_EQ(Project("{a: {b: {c: 0}, d: 0}}", "{a: {b: {c: 1, e: 2}, d: 3, f: 4}}"),
            "{a: {b: {e: 2}, f: 4}}");
  // Parts of a path are names, never positions.
  EXPECT_EQ(Project("{a.0: 1}", "{a: [{0: 'x', 1: 'y'}, 'z']}"), "{a: [{0: 'x'}]}");
  EXPECT_EQ(Project("{_id.x: 1}", "{_id: {x: 1, y: 2}, a: 3}"), "{_id: {x: 1}}");
}

TEST(ProjectionTest, SliceShowsSoManyElements) {
  const std::string_view document = "{_id: 1, a: [1, 2, 3, 4], b: 5, c: {d: [6, 7]}}";
  EXPECT_EQ(Project("{a: {$slice: 2}}", document), "{_id: 1, a: [1, 2], b: 5, c: {d: [6, 7]}}");
  EXPECT_EQ(Project("{a: {$slice: -1}}", document), "{_id: 1, a: [4], b: 5, c: {d: [6, 7]}}");
  EXPECT_EQ(Project("{a: {$slice: 0}}", document), "{_id: 1, a: [], b: 5, c: {d: [6, 7]}}");
  EXPECT_EQ(Project("{a: {$slice: 9}, b: 0, c: 0}", document), "{_id: 1, a: [1, 2, 3, 4]}");
  EXPECT_EQ(Project("{a: {$slice: [1, 2]}, b: 1}", document), "{_id: 1, a: [2, 3], b: 5}");
  EXPECT_EQ(Project("{a: {$slice: [-3, 2]}, b: 1}", document), "{_id: 1, a: [2, 3], b: 5}");
  EXPECT_EQ(Project("{a: {$slice: [-9, 2]}, _id: 0, b: 1}", document), "{a: [1, 2], b: 5}");
  EXPECT_EQ(Project("{a: {$slice: [9, 2]}, _id: 1}", document), "{_id: 1, a: []}");
  EXPECT_EQ(Project("{'c.d': {$slice: 1}, b: 1}", document), "{_id: 1, b: 5, c: {d: [6]}}");
  EXPECT_EQ(Project("{b: {$slice: 1}, _id: 1}", document), "{_id: 1, b: 5}");
  EXPECT_EQ(Project("{'a.b': {$slice: 1}}", "{a: [{b: [1, 2], c: 3}, 4]}"),
            "{a: [{b: [1], c: 3}, 4]}");
  EXPECT_EQ(Project("{a: {$slice: [-9223372036854775807, 9223372036854775807]}}", "{a: [1, 2]}"),
            "{a: [1, 2]}");
  // With an array to take from it is the expression.
  EXPECT_EQ(Project("{x: {$slice: ['$a', 1, 2]}}", document), "{_id: 1, x: [2, 3]}");
}

TEST(ProjectionTest, ElementMatchShowsTheFirstElementThatMeetsAll) {
  const std::string_view document =
      "{_id: 1, a: [{b: 1}, {b: 2, c: 3}, {b: 2}], n: [1, 5, 9], z: 0}";
  EXPECT_EQ(Project("{a: {$elemMatch: {b: 2}}}", document), "{_id: 1, a: [{b: 2, c: 3}]}");
  EXPECT_EQ(Project("{a: {$elemMatch: {b: 9}}}", document), "{_id: 1}");
  EXPECT_EQ(Project("{n: {$elemMatch: {$gt: 2}}, z: 1}", document), "{_id: 1, z: 0, n: [5]}");
  EXPECT_EQ(Project("{n: {$elemMatch: {$gt: 2}}, a: 0}", document), "{_id: 1, z: 0, n: [5]}");
  EXPECT_EQ(Project("{z: {$elemMatch: {$gt: 2}}, _id: 0}", document), "{}");
}

TEST(ProjectionTest, PositionalShowsTheElementThatMatched) {
  EXPECT_EQ(ProjectMatch("{a: {$gte: 2}}", "{'a.$': 1}", "{_id: 1, a: [1, 2, 3], b: 4}"),
            "{_id: 1, a: [2]}");
  EXPECT_EQ(ProjectMatch("{a: {$elemMatch: {b: 2}}}", "{'a.$': 1, c: 1}",
                         "{_id: 1, a: [{b: 1}, {b: 2, d: 3}], c: 4}"),
            "{_id: 1, a: [{b: 2, d: 3}], c: 4}");
  EXPECT_EQ(ProjectMatch("{'a.b': 2}", "{'a.b.$': 1, _id: 0}", "{a: {b: [1, 2, 3], c: 4}}"),
            "{a: {b: [2]}}");
  // The outermost array on the path is the one that is cut.
  EXPECT_EQ(ProjectMatch("{'a.b': 2}", "{'a.b.$': 1}", "{a: [{b: [1]}, {b: [1, 2], c: 3}]}"),
            "{a: [{b: [1, 2]}]}");
  EXPECT_EQ(ProjectMatch("{a: 2}", "{'a.$': 1}", "{a: 2}"), "{a: 2}");
  EXPECT_TRUE(absl::StrContains(ProjectMatch("{a: {$ne: 7}}", "{'a.$': 1}", "{a: [1]}"),
                                "found no element"));
  EXPECT_TRUE(absl::StrContains(ProjectMatch("{b: 1}", "{'a.$': 1}", "{b: 1}"), "condition"));
  EXPECT_TRUE(absl::StrContains(ProjectMatch("{a: 1}", "{'a.$': 0}", "{a: [1]}"), "use 1"));
  EXPECT_TRUE(
      absl::StrContains(ProjectMatch("{a: 1, b: 1}", "{'a.$': 1, 'b.$': 1}", "{a: [1]}"), "once"));
}

TEST(ProjectionTest, ExpressionsComeBehindTheOtherFields) {
  const std::string_view document = "{_id: 1, a: 2, b: {c: 3, d: 4}, e: [{f: 5}, 6]}";
  EXPECT_EQ(Project("{sum: {$add: ['$a', '$b.c']}, a: 1}", document), "{_id: 1, a: 2, sum: 5}");
  EXPECT_EQ(Project("{a: '$b.d'}", document), "{_id: 1, a: 4}");
  EXPECT_EQ(Project("{x: 'text', y: null, z: [1, '$a']}", document),
            "{_id: 1, x: 'text', y: null, z: [1, 2]}");
  EXPECT_EQ(Project("{x: '$no.such', _id: 0}", document), "{}");
  EXPECT_EQ(Project("{'b.sum': {$add: ['$b.c', 1]}, 'b.c': 1}", document),
            "{_id: 1, b: {c: 3, sum: 4}}");
  EXPECT_EQ(Project("{b: {sum: {$literal: 1}}}", document), "{_id: 1, b: {sum: 1}}");
  EXPECT_EQ(Project("{'a.x': '$a'}", document), "{_id: 1, a: {x: 2}}");
  EXPECT_EQ(Project("{'n.x.y': '$a'}", document), "{_id: 1, n: {x: {y: 2}}}");
  EXPECT_EQ(Project("{'e.f': 1, 'e.g': '$a'}", document), "{_id: 1, e: [{f: 5, g: 2}]}");
  EXPECT_EQ(Project("{_id: '$a'}", document), "{_id: 2}");
  EXPECT_TRUE(absl::StrContains(Project("{x: {$divide: ['$a', 0]}}", document), "'x'"));
}

TEST(ProjectionTest, ErrorsNameTheFieldAndWhatIsMissing) {
  const struct {
    std::string_view specification;
    std::vector<std::string_view> parts;
  } cases[] = {
      {"{a: 1, b: 0}", {"'b'", "hide", "show"}},
      {"{a: 0, b: 1}", {"'b'", "show", "hide"}},
      {"{a: 1, a.b: 1}", {"'a.b'", "collides"}},
      {"{a.b: 1, a: 1}", {"'a'", "collides"}},
      {"{a.b: 1, a: {b: 1}}", {"'a.b'", "collides"}},
      {"{_id: 1, _id.x: 1}", {"'_id'", "collides"}},
      {"{a: 0, b: '$c'}", {"'b'", "expression", "hide"}},
      {"{b: '$c', a: 0}", {"'a'", "hide", "show"}},
      {"{a: {$noSuch: 1}}", {"'a'", "$noSuch"}},
      {"{a: {b: 1, $add: [1, 2]}}", {"'a.$add'", "beside fields"}},
      {"{a: {$slice: 'x'}}", {"'a'", "$slice"}},
      {"{a: {$slice: 1.5}}", {"'a'", "$slice", "whole number"}},
      {"{a: {$slice: [1, 0]}}", {"'a'", "limit above 0"}},
      {"{a: {$slice: 1}, 'a.b': 1}", {"'a.b'", "collides"}},
      {"{'a.b': {$elemMatch: {c: 1}}}", {"'a.b'", "$elemMatch"}},
      {"{a: {$elemMatch: 5}}", {"'a'", "$elemMatch"}},
      {"{a: {$meta: 'textScore'}}", {"'a'", "$meta"}},
      {"{a: {}}", {"'a'", "empty document"}},
      {"{'a.$': 1}", {"'a'", "positional operator $", "needs a query"}},
      {"{'a.$.b': 1}", {"positional operator $", "not supported here"}},
      {"{'a..b': 1}", {"empty"}},
      {"{$a: 1}", {"$a"}},
      {"5", {"needs a document"}},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Projection> projection =
        Projection::Compile(ShellDocument(c.specification).view());
    ASSERT_FALSE(projection.ok()) << c.specification;
    for (const std::string_view part : c.parts) {
      EXPECT_TRUE(absl::StrContains(projection.status().message(), part))
          << c.specification << ": " << projection.status();
    }
  }
}

TEST(ProjectionTest, FromFieldsIsAnInclusionWithTheId) {
  EXPECT_EQ(Fields({}, "{_id: 1, a: 2}"), "{_id: 1, a: 2}");
  EXPECT_EQ(Fields({"a"}, "{_id: 1, a: 2, b: 3}"), "{_id: 1, a: 2}");
  EXPECT_EQ(Fields({"_id"}, "{_id: 1, a: 2}"), "{_id: 1}");
  EXPECT_EQ(Fields({"a.b", "c"}, "{_id: 1, a: {b: 1, d: 2}, c: 3}"), "{_id: 1, a: {b: 1}, c: 3}");
  // The wider path wins, in either order; twice is once.
  EXPECT_EQ(Fields({"a", "a.b", "a"}, "{_id: 1, a: {b: 1, d: 2}}"), "{_id: 1, a: {b: 1, d: 2}}");
  EXPECT_EQ(Fields({"a.b", "a"}, "{_id: 1, a: {b: 1, d: 2}}"), "{_id: 1, a: {b: 1, d: 2}}");
  EXPECT_EQ(Fields({"_id.x"}, "{_id: 1}"), "{_id: 1}");
  EXPECT_TRUE(absl::StrContains(Fields({"a..b"}, "{}"), "empty"));
  EXPECT_TRUE(absl::StrContains(Fields({"$a"}, "{}"), "$a"));
}

TEST(ProjectionTest, ManyFields) {
  std::vector<std::string> fields;
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  for (int i = 0; i < 1000; ++i) {
    builder.Key(absl::StrCat("f", i)).Int(i);
    if (i % 2 == 0) fields.push_back(absl::StrCat("f", i));
  }
  builder.EndDocument();
  const absl::StatusOr<Projection> projection = Projection::FromFields(fields);
  ASSERT_TRUE(projection.ok());
  std::string out;
  ASSERT_TRUE(projection->Apply(ValueView::FromTrusted(bytes), &out).ok());
  const ValueView shown = ValueView::FromTrusted(out);
  EXPECT_EQ(shown.size(), 500u);
  EXPECT_TRUE(shown.Find("f998").has_value());
  EXPECT_FALSE(shown.Find("f999").has_value());
}

TEST(ProjectionTest, ShowsEverything) {
  EXPECT_TRUE(Projection().shows_everything());
  EXPECT_TRUE(Projection::Compile(ShellDocument("{}").view())->shows_everything());
  EXPECT_FALSE(Projection::Compile(ShellDocument("{_id: 0}").view())->shows_everything());
}

std::uint64_t Seed() {
  const char* given = std::getenv("ALOS_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "ALOS_TEST_SEED=" << seed << std::endl;
  return seed;
}

// At the top level, what an inclusion shows and what the exclusion of the same field shows make up
// the document; and projecting twice is projecting once.
TEST(ProjectionPropertyTest, InclusionAndExclusionAreComplements) {
  RandomDocuments random(Seed());
  for (int i = 0; i < 3000; ++i) {
    const std::string bytes = random.Document();
    const ValueView document = ValueView::FromTrusted(bytes);
    const std::string path = random.Path();
    const Projection in =
        *Projection::Compile(ShellDocument(absl::StrCat("{", path, ": 1}")).view());
    const Projection ex =
        *Projection::Compile(ShellDocument(absl::StrCat("{", path, ": 0}")).view());
    std::string shown, rest, again;
    ASSERT_TRUE(in.Apply(document, &shown).ok());
    ASSERT_TRUE(ex.Apply(document, &rest).ok());
    ASSERT_TRUE(ValueView::Parse(shown).ok());
    ASSERT_TRUE(ValueView::Parse(rest).ok());
    ASSERT_TRUE(in.Apply(ValueView::FromTrusted(shown), &again).ok());
    EXPECT_EQ(again, shown);
    again.clear();
    ASSERT_TRUE(ex.Apply(ValueView::FromTrusted(rest), &again).ok());
    EXPECT_EQ(again, rest);
    if (path.find('.') == std::string::npos) {
      EXPECT_EQ(ValueView::FromTrusted(shown).size() + ValueView::FromTrusted(rest).size(),
                document.size())
          << path << " of " << ToShellText(document);
    }
  }
}

}  // namespace
}  // namespace alos
