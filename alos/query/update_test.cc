// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/update.h"

#include <cstddef>
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
#include "alos/document/compare.h"
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

// The updated document; "same" when it would not change; "error: ..." otherwise.
std::string Apply(std::string_view document, std::string_view update) {
  const absl::StatusOr<Update> compiled = Update::Compile(ShellDocument(update).view());
  if (!compiled.ok()) return absl::StrCat("compile error: ", compiled.status().message());
  const ShellDocument before(document);
  std::string out = "kept";
  const absl::StatusOr<bool> changed = compiled->Apply(before.view(), &out);
  if (!changed.ok()) {
    EXPECT_EQ(out, "kept") << update;
    EXPECT_EQ(changed.status().code(), absl::StatusCode::kInvalidArgument);
    return absl::StrCat("error: ", changed.status().message());
  }
  if (!*changed) {
    EXPECT_EQ(out, "kept") << update;
    return "same";
  }
  EXPECT_TRUE(out.starts_with("kept"));
  const absl::StatusOr<ValueView> after = ValueView::Parse(std::string_view(out).substr(4));
  if (!after.ok()) return absl::StrCat("invalid result: ", after.status().message());
  // Applied twice, an update meets its own results; whatever it does, it may not fail to parse.
  return ToShellText(*after);
}

// As Apply, of a document that the filter matches, with array filters unless they are empty.
std::string ApplyTo(std::string_view filter, std::string_view document, std::string_view update,
                    std::string_view array_filters = "") {
  const ShellDocument filters(array_filters.empty() ? "[]" : array_filters);
  Update::Options options;
  if (!array_filters.empty()) options.array_filters = filters.view();
  const absl::StatusOr<Update> compiled = Update::Compile(ShellDocument(update).view(), options);
  if (!compiled.ok()) return absl::StrCat("compile error: ", compiled.status().message());
  const absl::StatusOr<Filter> which = Filter::Compile(ShellDocument(filter).view());
  if (!which.ok()) return absl::StrCat("filter error: ", which.status().message());
  const ShellDocument before(document);
  EXPECT_TRUE(which->Matches(before.view())) << filter << " on " << document;
  std::string out;
  const absl::StatusOr<bool> changed = compiled->Apply(before.view(), *which, &out);
  if (!changed.ok()) return absl::StrCat("error: ", changed.status().message());
  if (!*changed) return "same";
  const absl::StatusOr<ValueView> after = ValueView::Parse(out);
  return after.ok() ? ToShellText(*after) : "invalid";
}

std::string Seed(std::string_view filter, std::string_view update) {
  const absl::StatusOr<Filter> compiled_filter = Filter::Compile(ShellDocument(filter).view());
  const absl::StatusOr<Update> compiled = Update::Compile(ShellDocument(update).view());
  if (!compiled_filter.ok() || !compiled.ok()) return "compile error";
  const absl::StatusOr<std::string> seed = compiled->Seed(*compiled_filter);
  if (!seed.ok()) return absl::StrCat("error: ", seed.status().message());
  const absl::StatusOr<ValueView> document = ValueView::Parse(*seed);
  return document.ok() ? ToShellText(*document) : "invalid";
}

struct Case {
  std::string_view document;
  std::string_view update;
  std::string_view expected;
};

void Check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    EXPECT_EQ(Apply(c.document, c.update), c.expected) << c.update << " on " << c.document;
  }
}

// The error must have every one of the parts.
struct ErrorCase {
  std::string_view document;
  std::string_view update;
  std::vector<std::string_view> parts;
};

void CheckErrors(const std::vector<ErrorCase>& cases) {
  for (const ErrorCase& c : cases) {
    const std::string error = Apply(c.document, c.update);
    EXPECT_TRUE(absl::StrContains(error, "error: ")) << c.update << " gave " << error;
    for (const std::string_view part : c.parts) {
      EXPECT_TRUE(absl::StrContains(error, part))
          << c.update << ": " << error << "\n  lacks " << part;
    }
  }
}

TEST(UpdateTest, SetReplacesInPlaceAndAppends) {
  Check({
      {"{_id: 1, a: 1, b: 2}", "{$set: {a: 'x'}}", "{_id: 1, a: 'x', b: 2}"},
      {"{_id: 1}", "{$set: {b: 1, a: 2}}", "{_id: 1, a: 2, b: 1}"},  // Lexicographic order.
      {"{_id: 1}", "{$set: {10: 1, 9: 2, a: 3}}", "{_id: 1, 9: 2, 10: 1, a: 3}"},
      {"{_id: 1, a: {b: 1, c: 2}}", "{$set: {a.b: 5}}", "{_id: 1, a: {b: 5, c: 2}}"},
      {"{_id: 1}", "{$set: {a.b.c: 5}}", "{_id: 1, a: {b: {c: 5}}}"},
      {"{_id: 1}", "{$set: {a.0: 5}}", "{_id: 1, a: {0: 5}}"},
      {"{_id: 1, a: {x: 1}}", "{$set: {a.b.c: 5, a.d: 6}}", "{_id: 1, a: {x: 1, b: {c: 5}, d: 6}}"},
      {"{_id: 1, a: [1, 2, 3]}", "{$set: {a.1: 'x'}}", "{_id: 1, a: [1, 'x', 3]}"},
      {"{_id: 1, a: [1]}", "{$set: {a.3: 'x'}}", "{_id: 1, a: [1, null, null, 'x']}"},
      {"{_id: 1, a: []}", "{$set: {a.0.b: 1}}", "{_id: 1, a: [{b: 1}]}"},
      {"{_id: 1, a: [{b: 1}]}", "{$set: {a.0.b: 2, a.1: 3}}", "{_id: 1, a: [{b: 2}, 3]}"},
      {"{_id: 1, a: [[1, 2]]}", "{$set: {a.0.1: 5}}", "{_id: 1, a: [[1, 5]]}"},
      {"{_id: 1, a: [1, 2]}", "{$set: {a.10: 1, a.2: 0}}",
       "{_id: 1, a: [1, 2, 0, null, null, null, null, null, null, null, 1]}"},
      {"{_id: 1, a: 1}", "{$set: {a: {b: {c: [1]}}}}", "{_id: 1, a: {b: {c: [1]}}}"},
      {"{_id: 1, a: null}", "{$set: {a: 1}}", "{_id: 1, a: 1}"},
      {"{_id: 1}", "{$set: {a: null}}", "{_id: 1, a: null}"},
  });
}

TEST(UpdateTest, WhatChangesNothingIsTold) {
  Check({
      {"{_id: 1, a: 1}", "{$set: {a: 1}}", "same"},
      {"{_id: 1, a: 1}", "{$set: {a: 1.0}}", "{_id: 1, a: 1.0}"},  // Equal, but of another type.
      {"{_id: 1, a: 0.0}", "{$set: {a: -0.0}}", "{_id: 1, a: -0.0}"},
      {"{_id: 1, a: NaN}", "{$set: {a: NaN}}", "same"},
      {"{_id: 1, a: {b: [1, 'x']}}", "{$set: {a: {b: [1, 'x']}}}", "same"},
      {"{_id: 1, a: {b: 1}}", "{$set: {a.b: 1}}", "same"},
      {"{_id: 1, a: 1}", "{$set: {}}", "same"},
      {"{_id: 1, a: 1}", "{$unset: {b: ''}}", "same"},
      {"{_id: 1, a: 1}", "{$unset: {a.b: '', c.d: ''}}", "same"},
      {"{_id: 1, a: 1}", "{$inc: {a: 0}}", "same"},
      {"{_id: 1, a: 1}", "{$mul: {a: 1}}", "same"},
      {"{_id: 1, a: [1]}", "{$pull: {a: 2, b: 1}}", "same"},
      {"{_id: 1, a: [1]}", "{$push: {a: {$each: []}}}", "same"},
      {"{_id: 1, a: [1, 2]}", "{$push: {a: {$each: [], $sort: 1, $slice: 2}}}", "same"},
      {"{_id: 1, a: [1]}", "{$addToSet: {a: 1.0}}", "same"},
      {"{_id: 1, a: []}", "{$pop: {a: 1}}", "same"},
      {"{_id: 1, a: 1}", "{$min: {a: 2}, $max: {a2.b: 1}}", "{_id: 1, a: 1, a2: {b: 1}}"},
      {"{_id: 1, a: 1}", "{$rename: {b: 'c'}}", "same"},
      {"{_id: 1, a: 1}", "{$setOnInsert: {a: 2, b: 3}}", "same"},
      {"{_id: 1, a: 1}", "{a: 1}", "same"},
      {"{_id: 1, a: 1}", "{_id: 1, a: 1}", "same"},
  });
}

TEST(UpdateTest, Unset) {
  Check({
      {"{_id: 1, a: 1, b: 2}", "{$unset: {a: ''}}", "{_id: 1, b: 2}"},
      {"{_id: 1, a: {b: 1, c: 2}}", "{$unset: {a.b: 1}}", "{_id: 1, a: {c: 2}}"},
      {"{_id: 1, a: {b: 1}}", "{$unset: {a.b: 1}}", "{_id: 1, a: {}}"},
      {"{_id: 1, a: [1, 2, 3]}", "{$unset: {a.1: 1}}", "{_id: 1, a: [1, null, 3]}"},
      {"{_id: 1, a: [1, null]}", "{$unset: {a.1: 1}}", "same"},
      {"{_id: 1, a: [1]}", "{$unset: {a.5: 1}}", "same"},
      {"{_id: 1, a: [1]}", "{$unset: {a.b: 1}}", "same"},
      {"{_id: 1, a: [{b: 1}]}", "{$unset: {a.0.b: 1}}", "{_id: 1, a: [{}]}"},
  });
}

TEST(UpdateTest, Arithmetic) {
  Check({
      {"{_id: 1, a: 5}", "{$inc: {a: 2}}", "{_id: 1, a: 7}"},
      {"{_id: 1, a: 5}", "{$inc: {a: -7}}", "{_id: 1, a: -2}"},
      {"{_id: 1}", "{$inc: {a: 2, b.c: 1.5}}", "{_id: 1, a: 2, b: {c: 1.5}}"},
      {"{_id: 1, a: 5}", "{$inc: {a: 0.5}}", "{_id: 1, a: 5.5}"},
      {"{_id: 1, a: 0.5}", "{$inc: {a: 1}}", "{_id: 1, a: 1.5}"},
      {"{_id: 1, a: 5}", "{$inc: {a: 0.0}}", "{_id: 1, a: 5.0}"},
      {"{_id: 1, a: [1, 2]}", "{$inc: {a.1: 5}}", "{_id: 1, a: [1, 7]}"},
      {"{_id: 1, a: 9223372036854775806}", "{$inc: {a: 1}}", "{_id: 1, a: 9223372036854775807}"},
      {"{_id: 1, a: 18446744073709551615}", "{$inc: {a: -1}}", "{_id: 1, a: 18446744073709551614}"},
      {"{_id: 1, a: 9223372036854775808}", "{$inc: {a: -1}}", "{_id: 1, a: 9223372036854775807}"},
      {"{_id: 1, a: 9223372036854775807}", "{$inc: {a: 1.0}}", "{_id: 1, a: 9.22337e+18}"},
      {"{_id: 1, a: 5}", "{$mul: {a: 3}}", "{_id: 1, a: 15}"},
      {"{_id: 1, a: 5}", "{$mul: {a: 0.5}}", "{_id: 1, a: 2.5}"},
      {"{_id: 1}", "{$mul: {a: 3, b: 2.5}}", "{_id: 1, a: 0, b: 0.0}"},
      {"{_id: 1, a: 5}", "{$min: {a: 3}}", "{_id: 1, a: 3}"},
      {"{_id: 1, a: 5}", "{$max: {a: 7}}", "{_id: 1, a: 7}"},
      {"{_id: 1, a: 'x'}", "{$min: {a: 7}}", "{_id: 1, a: 7}"},  // Numbers come before strings.
      {"{_id: 1}", "{$min: {a: 7}, $max: {b: 8}}", "{_id: 1, a: 7, b: 8}"},
      {"{_id: 1, a: 13}", "{$bit: {a: {and: 10}}}", "{_id: 1, a: 8}"},
      {"{_id: 1, a: 3}", "{$bit: {a: {or: 5}}}", "{_id: 1, a: 7}"},
      {"{_id: 1, a: 1}", "{$bit: {a: {xor: 5}}}", "{_id: 1, a: 4}"},
      {"{_id: 1}", "{$bit: {a: {or: 5}}}", "{_id: 1, a: 5}"},
      {"{_id: 1, a: 4}", "{$bit: {a: {or: 4}}}", "same"},
  });
  CheckErrors({
      {"{_id: 7, a: 'x'}",
       "{$inc: {a: 1}}",
       {"$inc", "non-numeric", "{a: \"x\"}", "string", "_id: 7"}},
      {"{_id: 7, a: null}", "{$inc: {a: 1}}", {"non-numeric", "null"}},
      {"{_id: 7, a: [1]}", "{$mul: {a: 1}}", {"$mul", "non-numeric", "array"}},
      {"{_id: 7, a: 9223372036854775807}", "{$inc: {a: 1}}", {"range of 64-bit", "_id: 7"}},
      {"{_id: 7, a: -9223372036854775808}", "{$inc: {a: -1}}", {"range of 64-bit"}},
      {"{_id: 7, a: 18446744073709551615}", "{$inc: {a: 1}}", {"range of 64-bit"}},
      {"{_id: 7, a: 18446744073709551615}",
       "{$mul: {a: 18446744073709551615}}",
       {"range of 64-bit"}},
      {"{_id: 7, a: 4611686018427387904}", "{$mul: {a: 2}}", {"range of 64-bit"}},
      {"{_id: 7}", "{$inc: {a: 'x'}}", {"$inc needs a number", "{a: \"x\"}"}},
      {"{_id: 7, a: 1.5}", "{$bit: {a: {and: 1}}}", {"non-integral", "double"}},
      {"{_id: 7}", "{$bit: {a: {nand: 1}}}", {"nand"}},
      {"{_id: 7}", "{$bit: {a: 5}}", {"$bit needs"}},
      {"{_id: 7}", "{$bit: {a: {and: 1.5}}}", {"$bit needs", "1.5"}},
  });
}

TEST(UpdateTest, Push) {
  Check({
      {"{_id: 1, a: [1]}", "{$push: {a: 2}}", "{_id: 1, a: [1, 2]}"},
      {"{_id: 1}", "{$push: {a: 2}}", "{_id: 1, a: [2]}"},
      {"{_id: 1}", "{$push: {a.b: 2}}", "{_id: 1, a: {b: [2]}}"},
      {"{_id: 1, a: [1]}", "{$push: {a: [2, 3]}}", "{_id: 1, a: [1, [2, 3]]}"},
      {"{_id: 1, a: [1]}", "{$push: {a: {b: 1}}}", "{_id: 1, a: [1, {b: 1}]}"},
      {"{_id: 1, a: [1]}", "{$push: {a: {$each: [2, 3]}}}", "{_id: 1, a: [1, 2, 3]}"},
      {"{_id: 1}", "{$push: {a: {$each: []}}}", "{_id: 1, a: []}"},
      {"{_id: 1, a: [1, 2]}", "{$push: {a: {$each: [0], $position: 0}}}", "{_id: 1, a: [0, 1, 2]}"},
      {"{_id: 1, a: [1, 2]}", "{$push: {a: {$each: [0], $position: -1}}}",
       "{_id: 1, a: [1, 0, 2]}"},
      {"{_id: 1, a: [1]}", "{$push: {a: {$each: [0], $position: 99}}}", "{_id: 1, a: [1, 0]}"},
      {"{_id: 1, a: [1]}", "{$push: {a: {$each: [0], $position: -99}}}", "{_id: 1, a: [0, 1]}"},
      {"{_id: 1, a: [40, 60]}", "{$push: {a: {$each: [80, 78, 86], $slice: -3}}}",
       "{_id: 1, a: [80, 78, 86]}"},
      {"{_id: 1, a: [89, 90]}", "{$push: {a: {$each: [100, 20], $slice: 3}}}",
       "{_id: 1, a: [89, 90, 100]}"},
      {"{_id: 1, a: [1]}", "{$push: {a: {$each: [2], $slice: 0}}}", "{_id: 1, a: []}"},
      {"{_id: 1, a: [1]}", "{$push: {a: {$each: [2], $slice: -9}}}", "{_id: 1, a: [1, 2]}"},
      {"{_id: 1, a: [89, 70]}", "{$push: {a: {$each: [40, 60], $sort: 1}}}",
       "{_id: 1, a: [40, 60, 70, 89]}"},
      {"{_id: 1, a: [89, 70]}", "{$push: {a: {$each: [], $sort: -1}}}", "same"},
      {"{_id: 1, a: [{s: 8}, {s: 7}]}",
       "{$push: {a: {$each: [{s: 5}, {s: 6}], $sort: {s: 1}, $slice: -3}}}",
       "{_id: 1, a: [{s: 6}, {s: 7}, {s: 8}]}"},
      {"{_id: 1, a: [[1]]}", "{$push: {a.0: 2}}", "{_id: 1, a: [[1, 2]]}"},
  });
  CheckErrors({
      {"{_id: 7, a: 1}", "{$push: {a: 1}}", {"$push", "not an array", "{a: 1}", "int", "_id: 7"}},
      {"{_id: 7}", "{$push: {a: {$each: 5}}}", {"$each", "array"}},
      {"{_id: 7}", "{$push: {a: {$slice: 5}}}", {"$slice needs $each"}},
      {"{_id: 7}", "{$push: {a: {$each: [], $foo: 5}}}", {"$foo", "$position, $slice and $sort"}},
      {"{_id: 7}", "{$push: {a: {$each: [], $slice: 'x'}}}", {"$slice", "whole number"}},
      {"{_id: 7}", "{$push: {a: {$each: [], $position: 1.5}}}", {"$position", "whole number"}},
      {"{_id: 7}", "{$push: {a: {$each: [], $sort: 2}}}", {"$sort", "1, -1"}},
      {"{_id: 7}", "{$push: {a: {$each: [], $sort: {b: 'x'}}}}", {"{b: \"x\"}"}},
  });
}

TEST(UpdateTest, SetsAndPulls) {
  Check({
      {"{_id: 1, a: [1, 2]}", "{$addToSet: {a: 3}}", "{_id: 1, a: [1, 2, 3]}"},
      {"{_id: 1, a: [1, 1]}", "{$addToSet: {a: {$each: [3, 1, 3.0, 4]}}}",
       "{_id: 1, a: [1, 1, 3, 4]}"},
      {"{_id: 1}", "{$addToSet: {a: [1, 2]}}", "{_id: 1, a: [[1, 2]]}"},
      {"{_id: 1, a: [{b: 1, c: 2}]}", "{$addToSet: {a: {c: 2, b: 1}}}",
       "{_id: 1, a: [{b: 1, c: 2}, {c: 2, b: 1}]}"},
      {"{_id: 1, a: [1, 2, 3]}", "{$pop: {a: 1}}", "{_id: 1, a: [1, 2]}"},
      {"{_id: 1, a: [1, 2, 3]}", "{$pop: {a: -1}}", "{_id: 1, a: [2, 3]}"},
      {"{_id: 1, a: [1, 2, 1.0, 3]}", "{$pull: {a: 1}}", "{_id: 1, a: [2, 3]}"},
      {"{_id: 1, a: [1]}", "{$pull: {a: 1}}", "{_id: 1, a: []}"},
      {"{_id: 1, a: [3, 5, 6, 7]}", "{$pull: {a: {$gte: 6}}}", "{_id: 1, a: [3, 5]}"},
      {"{_id: 1, a: ['x', 'y', 'z']}", "{$pull: {a: {$in: ['x', 'z']}}}", "{_id: 1, a: ['y']}"},
      {"{_id: 1, a: ['xy', 'z']}", "{$pull: {a: {$regex: '^x'}}}", "{_id: 1, a: ['z']}"},
      {"{_id: 1, a: [1, 2]}", "{$pull: {a: {$ne: 1}}}", "{_id: 1, a: [1]}"},
      // A condition on documents need not name all their fields.
      {"{_id: 1, a: [{item: 'A', score: 5}, {item: 'B', score: 8, c: 1}, 8]}",
       "{$pull: {a: {score: 8, item: 'B'}}}", "{_id: 1, a: [{item: 'A', score: 5}, 8]}"},
      {"{_id: 1, a: [{s: 5}, {s: 9}, {s: 7}]}", "{$pull: {a: {s: {$gt: 4, $lt: 8}}}}",
       "{_id: 1, a: [{s: 9}]}"},
      {"{_id: 1, a: [{b: [{q: 2}]}, {b: [{q: 3}]}]}",
       "{$pull: {a: {b: {$elemMatch: {q: {$gte: 3}}}}}}", "{_id: 1, a: [{b: [{q: 2}]}]}"},
      {"{_id: 1, a: [{b: 1}, {c: 1}]}", "{$pull: {a: {$or: [{b: 1}, {c: 2}]}}}",
       "{_id: 1, a: [{c: 1}]}"},
      {"{_id: 1, a: [[1, 2], [2, 1], 1]}", "{$pull: {a: [1, 2]}}", "{_id: 1, a: [[2, 1], 1]}"},
      {"{_id: 1, a: [0, 2, 5, 5, 1, 0]}", "{$pullAll: {a: [0, 5]}}", "{_id: 1, a: [2, 1]}"},
      {"{_id: 1, a: [{b: 1}, {b: 1, c: 2}]}", "{$pullAll: {a: [{b: 1}]}}",
       "{_id: 1, a: [{b: 1, c: 2}]}"},
  });
  CheckErrors({
      {"{_id: 7, a: 1}", "{$pull: {a: 1}}", {"$pull", "not an array", "_id: 7"}},
      {"{_id: 7, a: 1}", "{$pullAll: {a: [1]}}", {"$pullAll", "not an array"}},
      {"{_id: 7, a: 1}", "{$pop: {a: 1}}", {"$pop", "not an array"}},
      {"{_id: 7, a: 1}", "{$addToSet: {a: 1}}", {"$addToSet", "not an array"}},
      {"{_id: 7}", "{$pop: {a: 2}}", {"$pop needs 1", "-1"}},
      {"{_id: 7}", "{$pullAll: {a: 2}}", {"$pullAll needs an array"}},
      {"{_id: 7}", "{$pull: {a: {$foo: 1}}}", {"$pull from 'a'", "unknown operator $foo"}},
      {"{_id: 7}", "{$addToSet: {a: {$each: [1], $slice: 1}}}", {"$addToSet", "$each"}},
  });
}

TEST(UpdateTest, RenameAndCurrentDate) {
  Check({
      {"{_id: 1, a: 5, b: 6}", "{$rename: {a: 'c'}}", "{_id: 1, b: 6, c: 5}"},
      {"{_id: 1, a: 5, b: 6}", "{$rename: {a: 'b'}}", "{_id: 1, b: 5}"},
      {"{_id: 1, a: {b: 5}}", "{$rename: {a.b: 'c.d'}}", "{_id: 1, a: {}, c: {d: 5}}"},
      {"{_id: 1, a: {b: 5}}", "{$rename: {a.b: 'a.c'}}", "{_id: 1, a: {c: 5}}"},
      {"{_id: 1, a: 5}", "{$rename: {a.b: 'c'}}", "same"},
  });
  CheckErrors({
      {"{_id: 7, a: [{b: 1}]}", "{$rename: {a.0.b: 'c'}}", {"$rename", "array"}},
      {"{_id: 7, a: 1, c: [1]}", "{$rename: {a: 'c.0'}}", {"$rename", "array"}},
      {"{_id: 7}", "{$rename: {a: 'a'}}", {"to itself"}},
      {"{_id: 7}", "{$rename: {a: 'a.b'}}", {"conflicts"}},
      {"{_id: 7}", "{$rename: {a: 5}}", {"$rename needs the new name"}},
      {"{_id: 7}", "{$rename: {a: '$x'}}", {"'$x'"}},
  });
  EXPECT_TRUE(
      absl::StartsWith(Apply("{_id: 1}", "{$currentDate: {a: true}}"), "{_id: 1, a: time("));
  EXPECT_TRUE(absl::StartsWith(Apply("{_id: 1, a: 5}", "{$currentDate: {a: {$type: 'date'}}}"),
                               "{_id: 1, a: time("));
  EXPECT_TRUE(absl::StartsWith(Apply("{_id: 1}", "{$currentDate: {a: {$type: 'timestamp'}}}"),
                               "{_id: 1, a: time("));
  CheckErrors({{"{_id: 7}", "{$currentDate: {a: {$type: 'day'}}}", {"$currentDate needs true"}},
               {"{_id: 7}", "{$currentDate: {a: 1}}", {"$currentDate needs true"}}});
}

TEST(UpdateTest, IdIsImmutable) {
  Check({
      {"{_id: 1, a: 1}", "{$set: {_id: 1, a: 2}}", "{_id: 1, a: 2}"},
      {"{_id: 1, a: 1}", "{$set: {_id: 1.0}}", "same"},
      {"{_id: 1, a: 1}", "{$inc: {_id: 0}}", "same"},
      {"{_id: 1, a: 1}", "{$unset: {_id.x: 1}}", "same"},
      {"{_id: 1, a: 1}", "{$min: {_id: 5}}", "same"},
      {"{_id: 1, a: 1}", "{_id: 1.0, b: 2}", "{_id: 1, b: 2}"},
  });
  CheckErrors({
      {"{_id: 1}", "{$set: {_id: 2}}", {"'_id' is immutable", "2", "_id: 1"}},
      {"{_id: 1}", "{$inc: {_id: 1}}", {"'_id' is immutable"}},
      {"{_id: 1}", "{$unset: {_id: ''}}", {"'_id' is immutable", "removed"}},
      {"{_id: 1}", "{$rename: {_id: 'a'}}", {"'_id' is immutable"}},
      {"{_id: 1, a: 2}", "{$rename: {a: '_id'}}", {"'_id' is immutable"}},
      {"{_id: 1}", "{$set: {_id.x: 2}}", {"cannot create the field 'x'"}},
      {"{_id: 1}", "{_id: 2, a: 1}", {"'_id' is immutable", "{_id: 2}", "{_id: 1}"}},
  });
}

TEST(UpdateTest, Replacement) {
  Check({
      {"{_id: 1, a: 1}", "{b: 2}", "{_id: 1, b: 2}"},
      {"{a: 1, _id: 1}", "{b: 2}", "{_id: 1, b: 2}"},
      {"{_id: 1, a: 1}", "{b: 2, _id: 1}", "{_id: 1, b: 2}"},
      {"{_id: 1, a: 1}", "{}", "{_id: 1}"},
      {"{_id: 1}", "{}", "same"},
      {"{_id: 1, a: 1}", "{a: {$set: 1}}", "{_id: 1, a: {$set: 1}}"},
      {"{_id: 1, a: 1}", "{a.b: 1}", "{_id: 1, a.b: 1}"},
  });
  EXPECT_TRUE(Update::Compile(ShellDocument("{a: 1}").view())->is_replacement());
  EXPECT_TRUE(Update::Compile(ShellDocument("{}").view())->is_replacement());
  EXPECT_FALSE(Update::Compile(ShellDocument("{$set: {}}").view())->is_replacement());
}

TEST(UpdateTest, ErrorsNameWhatIsWrong) {
  CheckErrors({
      {"{_id: 7, a: 1}", "{$set: {a.b: 1}}", {"cannot create the field 'b'", "{a: 1}", "_id: 7"}},
      {"{_id: 7, a: null}", "{$set: {a.b: 1}}", {"cannot create the field 'b'", "{a: null}"}},
      {"{_id: 7, a: [1]}",
       "{$set: {a.b: 1}}",
       {"cannot create the field 'b'", "array", "position"}},
      {"{_id: 7, a: [1]}", "{$set: {a.0.b: 1}}", {"cannot create the field 'b'", "{0: 1}"}},
      {"{_id: 7, a: []}", "{$set: {a.1500001: 1}}", {"1500000", "a"}},
      {"{}", "{$set: {a: 1, a.b: 2}}", {"'a.b'", "conflicts", "'a'"}},
      {"{}", "{$set: {a.b: 1, a: 2}}", {"'a'", "conflicts"}},
      {"{}", "{$set: {a: 1}, $inc: {a: 2}}", {"'a'", "conflicts"}},
      {"{}", "{$set: {a.b.c: 1}, $unset: {a.b: 2}}", {"conflicts", "'a.b'"}},
      {"{}", "{$set: 5}", {"$set needs a document", "5"}},
      {"{}", "{$foo: {a: 1}}", {"unknown operator $foo"}},
      {"{}", "{$set: {a: 1}, b: 2}", {"mixes the operator $set with the field 'b'"}},
      {"{}", "{b: 2, $set: {a: 1}}", {"mixes the operator $set with the field 'b'"}},
      {"{}", "[{$match: {a: 1}}]", {"$match cannot stand in an update", "$replaceWith"}},
      {"{}", "{$addFields: {a: 1}}", {"$addFields is a stage of a pipeline"}},
      {"{}", "5", {"needs a document", "5"}},
      {"{}", "{$set: {'a..b': 1}}", {"a..b", "empty"}},
      {"{}", "{$set: {'': 1}}", {"empty"}},
      {"{}", "{$set: {a.$: 1}}", {"positional operator $", "'a.$'", "condition on the array"}},
      {"{}", "{$set: {'a.$.b.$': 1}}", {"$ more than once", "$[identifier]"}},
      {"{}", "{$set: {$: 1}}", {"begins with the positional operator $"}},
      {"{}", "{$set: {'$[].a': 1}}", {"begins with the positional operator $[]"}},
      {"{}", "{$set: {'a.$[x]': 1}}", {"no array filter for the identifier 'x'", "'a.$[x]'"}},
      {"{_id: 7}", "{$set: {'a.$[].b': 1}}", {"'a.$[].b'", "'a', which does not exist", "_id: 7"}},
      {"{_id: 7, a: 5}", "{$set: {'a.$[]': 1}}", {"{a: 5} is not one", "_id: 7"}},
      {"{_id: 7, a: [5]}", "{$set: {'a.$[].b': 1}}", {"cannot create the field 'b'"}},
      {"{}", "{$set: {'a.$[]': 1, 'a.0': 2}}", {"conflicts"}},
      {"{}", "{$set: {'a.0': 1, 'a.$[].b': 2}}", {"conflicts"}},
      {"{}", "{$set: {'a.$[]': 1, 'a.$[].b': 2}}", {"conflicts"}},
      {"{}", "{$rename: {'a.$[].b': 'c'}}", {"$rename", "$[]", "not supported here"}},
      {"{}", "{$rename: {a: 'b.$'}}", {"$rename", "not supported here"}},
      {"{}", "{$set: {'a.$[x.b': 1}}", {"begins with '$'"}},
      {"{}", "{$set: {'a.$b': 1}}", {"'$b'", "'a.$b'"}},
  });
  const Update update = *Update::Compile(ShellDocument("{$set: {a: 1}}").view());
  std::string out;
  EXPECT_FALSE(update.Apply(ShellDocument("[1]").view(), &out).ok());
}

// MongoDB's manual, "$ (update)".
TEST(UpdateTest, PositionalDollarIsTheElementThatMatched) {
  EXPECT_EQ(ApplyTo("{grades: 80}", "{_id: 1, grades: [85, 80, 80]}", "{$set: {'grades.$': 82}}"),
            "{_id: 1, grades: [85, 82, 80]}");
  EXPECT_EQ(ApplyTo("{_id: 4, 'grades.grade': 85}",
                    "{_id: 4, grades: [{grade: 80, std: 8}, {grade: 85, std: 5}]}",
                    "{$set: {'grades.$.std': 6}}"),
            "{_id: 4, grades: [{grade: 80, std: 8}, {grade: 85, std: 6}]}");
  EXPECT_EQ(ApplyTo("{grades: {$elemMatch: {grade: {$lte: 90}, mean: {$gt: 80}}}}",
                    "{_id: 5, grades: [{grade: 95, mean: 90}, {grade: 90, mean: 85}]}",
                    "{$set: {'grades.$.std': 6}}"),
            "{_id: 5, grades: [{grade: 95, mean: 90}, {grade: 90, mean: 85, std: 6}]}");
  EXPECT_EQ(
      ApplyTo("{a: {$elemMatch: {$gt: 5, $lt: 9}}}", "{_id: 1, a: [1, 7]}", "{$inc: {'a.$': 1}}"),
      "{_id: 1, a: [1, 8]}");
  EXPECT_EQ(ApplyTo("{a: {$in: [3, 4]}}", "{_id: 1, a: [1, 4, 3]}", "{$unset: {'a.$': 1}}"),
            "{_id: 1, a: [1, null, 3]}");
  // Of arrays within arrays the outermost counts; a position that the path names is none to find.
  EXPECT_EQ(ApplyTo("{'a.b': 5}", "{_id: 1, a: [{b: [1]}, {b: [4, 5]}]}", "{$set: {'a.$.c': 1}}"),
            "{_id: 1, a: [{b: [1]}, {b: [4, 5], c: 1}]}");
  EXPECT_EQ(ApplyTo("{'a.1.b': 5}", "{_id: 1, a: [{}, {b: [4, 5]}]}", "{$set: {'a.1.b.$': 6}}"),
            "{_id: 1, a: [{}, {b: [4, 6]}]}");
  EXPECT_EQ(ApplyTo("{'a.0': 5}", "{_id: 1, a: [5]}", "{$set: {'a.$': 6}}"), "{_id: 1, a: [6]}");
  // Of several conditions the last one that an element met; of $or the one that held.
  EXPECT_EQ(ApplyTo("{a: 1, b: 2}", "{_id: 1, a: [1, 0], b: [0, 2]}", "{$set: {'a.$': 9}}"),
            "{_id: 1, a: [1, 9], b: [0, 2]}");
  EXPECT_EQ(ApplyTo("{a: 2, _id: 1}", "{_id: 1, a: [1, 2]}", "{$set: {'a.$': 9}}"),
            "{_id: 1, a: [1, 9]}");
  EXPECT_EQ(ApplyTo("{$or: [{$and: [{a: 1}, {b: 5}]}, {a: 2}]}", "{_id: 1, a: [1, 2]}",
                    "{$set: {'a.$': 9}}"),
            "{_id: 1, a: [1, 9]}");
  // A whole array that matches has no element; nor has what a negation is about.
  EXPECT_TRUE(absl::StrContains(ApplyTo("{a: [1, 2]}", "{_id: 1, a: [1, 2]}", "{$set: {'a.$': 9}}"),
                                "no array element to stand for"));
  EXPECT_TRUE(absl::StrContains(ApplyTo("{a: {$ne: 5}}", "{_id: 7, a: [1]}", "{$set: {'a.$': 9}}"),
                                "_id: 7"));
  EXPECT_TRUE(absl::StrContains(ApplyTo("{_id: 7}", "{_id: 7, a: [1]}", "{$set: {'a.$': 9}}"),
                                "no array element to stand for"));
  // $ beside positions.
  EXPECT_EQ(ApplyTo("{'a.b': 2}", "{_id: 1, a: [{b: 1}, {b: 2}]}",
                    "{$set: {'a.$.c': 3, 'a.1.d': 4, 'a.0.d': 5, 'a.2': 6}}"),
            "{_id: 1, a: [{b: 1, d: 5}, {b: 2, c: 3, d: 4}, 6]}");
  EXPECT_TRUE(absl::StrContains(
      ApplyTo("{a: 2}", "{_id: 1, a: [1, 2]}", "{$set: {'a.$': 3, 'a.1': 4}}"), "conflict"));
  EXPECT_EQ(ApplyTo("{a: 2}", "{_id: 1, a: [1, 2]}", "{$set: {'a.$': 3, 'a.0': 4}}"),
            "{_id: 1, a: [4, 3]}");
  EXPECT_TRUE(absl::StrContains(Seed("{a: 1}", "{$set: {'a.$': 2}}"), "positional operator $"));
}

// MongoDB's manual, "$[]" and "$[<identifier>]".
TEST(UpdateTest, ElementsOfArrays) {
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [80, 88]}", "{$inc: {'g.$[]': 10}}"),
            "{_id: 1, g: [90, 98]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: []}", "{$inc: {'g.$[]': 10}}"), "same");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [{s: 1}, {}]}", "{$inc: {'g.$[].s': 2}}"),
            "{_id: 1, g: [{s: 3}, {s: 2}]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [95, 102, 90, 150]}", "{$set: {'g.$[x]': 100}}",
                    "[{x: {$gte: 100}}]"),
            "{_id: 1, g: [95, 100, 90, 100]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [95]}", "{$set: {'g.$[x]': 100}}", "[{x: {$gte: 100}}]"),
            "same");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [{grade: 80, mean: 75}, {grade: 85, mean: 90}, 5]}",
                    "{$set: {'g.$[x].mean': 100}}", "[{'x.grade': {$gte: 85}}]"),
            "{_id: 1, g: [{grade: 80, mean: 75}, {grade: 85, mean: 100}, 5]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [{a: 1, b: 1}, {a: 1, b: 2}]}", "{$unset: {'g.$[x].a': 1}}",
                    "[{$or: [{'x.b': 2}, {x: 5}]}]"),
            "{_id: 1, g: [{a: 1, b: 1}, {b: 2}]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [1, 2]}", "{$unset: {'g.$[x]': 1}}", "[{x: 2}]"),
            "{_id: 1, g: [1, null]}");
  // Arrays within arrays.
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [{t: 'q', s: [10, 8]}, {t: 'e', s: [8, 5]}]}",
                    "{$inc: {'g.$[t].s.$[s]': 2}}", "[{'t.t': 'q'}, {s: {$gte: 9}}]"),
            "{_id: 1, g: [{t: 'q', s: [12, 8]}, {t: 'e', s: [8, 5]}]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [{s: [1, 9]}, {s: [9]}]}", "{$set: {'g.$[].s.$[s]': 0}}",
                    "[{s: 9}]"),
            "{_id: 1, g: [{s: [1, 0]}, {s: [0]}]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [[1, 2], [3]]}", "{$mul: {'g.$[].$[]': 2}}"),
            "{_id: 1, g: [[2, 4], [6]]}");
  // Several in one element.
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [{a: 1}, {a: 2}]}",
                    "{$set: {'g.$[].b': 1, 'g.$[x].c': 2}, $inc: {'g.$[y].a': 5}}",
                    "[{'x.a': 2}, {'y.a': {$gt: 0}}]"),
            "{_id: 1, g: [{a: 6, b: 1}, {a: 7, b: 1, c: 2}]}");
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [1, 2]}", "{$set: {'g.$[x]': 5, 'g.$[y]': 6}}",
                    "[{x: 1}, {y: 2}]"),
            "{_id: 1, g: [5, 6]}");
  EXPECT_TRUE(absl::StrContains(
      ApplyTo("{}", "{_id: 7, g: [1]}", "{$set: {'g.$[x]': 5, 'g.$[y]': 6}}", "[{x: 1}, {y: 1}]"),
      "meet in one array element"));
  EXPECT_EQ(ApplyTo("{}", "{_id: 1, g: [[1], [2]]}", "{$push: {'g.$[]': 0}}"),
            "{_id: 1, g: [[1, 0], [2, 0]]}");
  EXPECT_EQ(ApplyTo("{'g.a': 2}", "{_id: 1, g: [{a: 1}, {a: 2, l: [1, 2]}]}",
                    "{$inc: {'g.$.l.$[x]': 5}}", "[{x: {$gt: 1}}]"),
            "{_id: 1, g: [{a: 1}, {a: 2, l: [1, 7]}]}");
}

// MongoDB's manual, "Updates with Aggregation Pipeline".
TEST(UpdateTest, Pipelines) {
  Check({
      {"{_id: 1, a: 1, b: 2}", "[{$set: {c: {$add: ['$a', '$b']}}}]", "{_id: 1, a: 1, b: 2, c: 3}"},
      {"{_id: 1, a: 1}", "[{$set: {b: '$a'}}, {$unset: 'a'}]", "{_id: 1, b: 1}"},
      {"{_id: 1, a: 1}", "[{$addFields: {a: {$literal: '$x'}}}]", "{_id: 1, a: '$x'}"},
      {"{_id: 1, a: {b: 1}}", "[{$set: {'a.c': '$a.b'}}]", "{_id: 1, a: {b: 1, c: 1}}"},
      {"{_id: 1, a: 1}", "[{$project: {b: '$a', _id: 0}}]", "{_id: 1, b: 1}"},
      {"{_id: 1, a: {x: 1}}", "[{$replaceWith: '$a'}]", "{_id: 1, x: 1}"},
      {"{_id: 1, a: {x: 1}}", "[{$replaceRoot: {newRoot: {y: '$a.x'}}}]", "{_id: 1, y: 1}"},
      {"{_id: 1, a: 1}", "[{$set: {a: 1}}]", "same"},
      {"{_id: 1, a: 1}", "[{$set: {_id: 1.0}}]", "same"},
      {"{_id: 1, a: 1}", "[]", "same"},
  });
  CheckErrors({
      {"{_id: 7}", "[{$set: {_id: 8}}]", {"'_id' is immutable"}},
      {"{_id: 7, a: 'x'}", "[{$set: {b: {$add: ['$a', 1]}}}]", {"$add", "_id: 7"}},
      {"{_id: 7, a: 'x'}", "[{$replaceWith: '$a'}]", {"_id: 7"}},
      {"{_id: 7}", "[{$set: {a: {$foo: 1}}}]", {"$foo"}},
      {"{_id: 7}", "[5]", {"update: "}},
  });
  EXPECT_EQ(Seed("{_id: 5, a: 1}", "[{$set: {b: '$a'}}]"), "{_id: 5, a: 1, b: 1}");
  EXPECT_EQ(Seed("{a: 1}", "[{$set: {_id: 3}}]"), "{_id: 3, a: 1}");
  EXPECT_EQ(Seed("{_id: 5, a: 1}", "[{$replaceWith: {b: '$a'}}]"), "{_id: 5, b: 1}");
  EXPECT_EQ(Seed("{a: 1}", "[]"), "{a: 1}");
  EXPECT_TRUE(absl::StrContains(ApplyTo("{}", "{_id: 1}", "[{$set: {a: 1}}]", "[{x: 1}]"),
                                "not to a pipeline"));
}

TEST(UpdateTest, ArrayFiltersThatAreRefused) {
  const auto error = [](std::string_view update, std::string_view filters) {
    return ApplyTo("{}", "{_id: 1, a: [1]}", update, filters);
  };
  EXPECT_TRUE(absl::StrContains(error("{$set: {'a.$[x]': 1}}", "[{x: 1}, {y: 1}]"),
                                "the identifier 'y' is not used"));
  EXPECT_TRUE(absl::StrContains(error("{$set: {'a.$[x]': 1}}", "[{x: 1}, {'x.b': 1}]"),
                                "two array filters for the identifier 'x'"));
  EXPECT_TRUE(
      absl::StrContains(error("{$set: {'a.$[x]': 1}}", "[{x: 1, y: 2}]"), "both 'x' and 'y'"));
  EXPECT_TRUE(absl::StrContains(error("{$set: {'a.$[X]': 1}}", "[{X: 1}]"), "lowercase letter"));
  EXPECT_TRUE(absl::StrContains(error("{$set: {'a.$[x]': 1}}", "[{}]"), "must have a condition"));
  EXPECT_TRUE(absl::StrContains(error("{$set: {'a.$[x]': 1}}", "[5]"), "array filter"));
  EXPECT_TRUE(absl::StrContains(error("{$set: {'a.$[x]': 1}}", "{x: 1}"), "must be an array"));
  EXPECT_TRUE(absl::StrContains(error("{$set: {'a.$[x]': 1}}", "[{x: {$foo: 1}}]"), "$foo"));
  EXPECT_TRUE(absl::StrContains(error("{b: 1}", "[{x: 1}]"), "replacement"));
}

TEST(UpdateTest, PaddingReachesItsLimit) {
  const std::string padded = Apply("{_id: 7, a: []}", "{$set: {a.1500000: 1}}");
  EXPECT_TRUE(absl::StartsWith(padded, "{_id: 7, a: [null, null"));
  EXPECT_TRUE(absl::EndsWith(padded, "null, 1]}"));
}

TEST(UpdateTest, DepthIsLimited) {
  std::string path = "a";
  for (int i = 1; i < 100; ++i) path += ".a";
  EXPECT_TRUE(
      absl::StartsWith(Apply("{_id: 1}", absl::StrCat("{$set: {", path, ": 1}}")), "{_id: 1, a:"));
  CheckErrors(
      {{"{_id: 1}", absl::StrCat("{$set: {", path, ": []}}"), {"100 levels"}},
       {"{_id: 1}", absl::StrCat("{$push: {", path, ": 1}}"), {"100 levels"}},
       {"{_id: 1}", absl::StrCat("{$set: {", path, ".a: 1}}"), {"100"}},
       {"{_id: 1, b: {c: 1}}", absl::StrCat("{$rename: {b: '", path, "'}}"), {"100 levels"}}});
}

TEST(UpdateTest, SeedsOfUpserts) {
  EXPECT_EQ(Seed("{a: 1, b: {$gt: 5}}", "{$set: {c: 2}}"), "{a: 1, c: 2}");
  EXPECT_EQ(Seed("{a: 1, _id: 5}", "{$set: {c: 2}}"), "{_id: 5, a: 1, c: 2}");
  EXPECT_EQ(Seed("{b: 1, a: 2}", "{$set: {}}"), "{b: 1, a: 2}");
  EXPECT_EQ(Seed("{a.b: 1, $and: [{a.c: {$eq: 2}}]}", "{$inc: {n: 1}}"), "{a: {b: 1, c: 2}, n: 1}");
  EXPECT_EQ(Seed("{a: {$in: [1]}, $or: [{b: 1}, {c: 1}]}", "{$set: {d: 1}}"), "{d: 1}");
  EXPECT_EQ(Seed("{a: 1}", "{$inc: {a: 2}}"), "{a: 3}");
  EXPECT_EQ(Seed("{a: 1}", "{$set: {a: 2}}"), "{a: 2}");
  EXPECT_EQ(Seed("{a: 1}", "{$unset: {a: 1}}"), "{}");
  EXPECT_EQ(Seed("{a: 1}", "{$setOnInsert: {b: 2}, $set: {c: 3}}"), "{a: 1, b: 2, c: 3}");
  EXPECT_EQ(Seed("{a: 1}", "{$setOnInsert: {_id: 9}}"), "{_id: 9, a: 1}");
  EXPECT_EQ(Seed("{}", "{$push: {a: 1}}"), "{a: [1]}");
  EXPECT_EQ(Seed("{}", "{$pull: {a: 1}}"), "{}");
  EXPECT_EQ(Seed("{a: {b: 1}}", "{$set: {a.c: 2}}"), "{a: {b: 1, c: 2}}");
  EXPECT_EQ(Seed("{_id: 5, a: 1}", "{b: 2}"), "{_id: 5, b: 2}");
  EXPECT_EQ(Seed("{a: 1}", "{b: 2}"), "{b: 2}");
  EXPECT_EQ(Seed("{a: 1}", "{b: 2, _id: 3}"), "{_id: 3, b: 2}");
  EXPECT_EQ(Seed("{_id: 3}", "{b: 2, _id: 3}"), "{_id: 3, b: 2}");
  EXPECT_EQ(Seed("{_id: 3}", "{}"), "{_id: 3}");
  EXPECT_TRUE(absl::StrContains(Seed("{_id: 3}", "{_id: 4}"), "immutable"));
  EXPECT_TRUE(absl::StrContains(Seed("{_id: 3}", "{$set: {_id: 4}}"), "immutable"));
  EXPECT_TRUE(absl::StrContains(Seed("{a: 1, $and: [{a: 2}]}", "{$set: {b: 1}}"), "upsert"));
  EXPECT_TRUE(absl::StrContains(Seed("{a: 1, a.b: 2}", "{$set: {b: 1}}"), "conflicts"));
  EXPECT_TRUE(absl::StrContains(Seed("{a: 1}", "{$set: {a.b: 1}}"), "cannot create the field"));
  EXPECT_TRUE(absl::StrContains(Seed("{a: 'x'}", "{$inc: {a: 1}}"), "non-numeric"));
}

TEST(UpdateTest, SeedsOfManyFieldsKeepTheFiltersOrder) {
  EXPECT_EQ(Seed("{l: 1, k: 1, j: 1, i: 1, h: 1, g: 1, f: 1, e: 1, d: 1, c: 1}", "{$set: {c: 2}}"),
            "{l: 1, k: 1, j: 1, i: 1, h: 1, g: 1, f: 1, e: 1, d: 1, c: 2}");
}

TEST(UpdateTest, ManyFieldsAtOnce) {
  std::string update_bytes;
  Builder builder(&update_bytes);
  builder.StartDocument().Key("$set").StartDocument();
  for (int i = 0; i < 2000; ++i) builder.Key(absl::StrCat("f", i)).Int(i);
  builder.EndDocument().EndDocument();
  const absl::StatusOr<Update> update = Update::Compile(ValueView::FromTrusted(update_bytes));
  ASSERT_TRUE(update.ok());
  std::string once;
  ASSERT_TRUE(*update->Apply(ShellDocument("{_id: 1, f1999: 0, f0: 1}").view(), &once));
  const ValueView document = ValueView::FromTrusted(once);
  EXPECT_EQ(document.size(), 2001u);
  EXPECT_EQ(document.Find("f1999")->AsInt64(), 1999);
  EXPECT_EQ(document.Find("f1234")->AsInt64(), 1234);
  std::string twice;
  EXPECT_FALSE(*update->Apply(document, &twice));
}

// --- Properties. ---------------------------------------------------------------------------------

std::uint64_t RandomSeed() {
  const char* given = std::getenv("ALOS_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "ALOS_TEST_SEED=" << seed << std::endl;
  return seed;
}

class UpdatePropertyTest : public testing::Test {
 protected:
  // {op: {path: value}}
  static std::string Make(std::string_view op, std::string_view path, std::string_view value) {
    std::string bytes;
    Builder builder(&bytes);
    builder.StartDocument().Key(op).StartDocument();
    builder.Key(path).Raw(ValueView::FromTrusted(value));
    builder.EndDocument().EndDocument();
    return bytes;
  }
  RandomDocuments random_{RandomSeed()};
};

// Whatever is applied to whatever: a valid document or an error, and "unchanged" is the truth.
TEST_F(UpdatePropertyTest, ResultsAreValidAndChangesAreReal) {
  static constexpr std::string_view kOperators[] = {
      "$set",  "$unset", "$inc", "$mul",      "$min",         "$max",
      "$push", "$pull",  "$pop", "$addToSet", "$setOnInsert", "$pullAll"};
  for (int i = 0; i < 20000; ++i) {
    const std::string document_bytes = random_.Document();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    const std::string update_bytes =
        Make(kOperators[random_.Pick(std::size(kOperators))], random_.Path(), random_.Value());
    const absl::StatusOr<Update> update = Update::Compile(ValueView::FromTrusted(update_bytes));
    if (!update.ok()) continue;
    std::string out;
    const absl::StatusOr<bool> changed = update->Apply(document, &out);
    const std::string context = absl::StrCat(ToShellText(ValueView::FromTrusted(update_bytes)),
                                             " on ", ToShellText(document));
    if (!changed.ok() || !*changed) {
      EXPECT_EQ(out, "") << context;
      continue;
    }
    const absl::StatusOr<ValueView> after = ValueView::Parse(out);
    ASSERT_TRUE(after.ok()) << context << ": " << after.status();
    EXPECT_NE(ToShellText(*after), ToShellText(document)) << context;
  }
}

// With $, $[] and $[x] in random places: a valid document or an error.
TEST_F(UpdatePropertyTest, UpdatesOfElementsAreValid) {
  static constexpr std::string_view kOperators[] = {"$set",  "$unset", "$inc", "$max",
                                                    "$push", "$pull",  "$pop", "$addToSet"};
  static constexpr std::string_view kElements[] = {"$", "$[]", "$[x]", "0"};
  int changes = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string document_bytes = random_.Document();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    std::string filters_bytes;
    Builder filters(&filters_bytes);
    filters.StartArray().StartDocument().Key("x").StartDocument();
    filters.Key("$gte").Raw(ValueView::FromTrusted(random_.Value(0)));
    filters.EndDocument().EndDocument().EndArray();
    std::string update_bytes;
    Builder builder(&update_bytes);
    builder.StartDocument().Key(kOperators[random_.Pick(std::size(kOperators))]).StartDocument();
    const std::string path = random_.Path();
    const std::string first =
        absl::StrCat(path, ".", kElements[random_.Pick(std::size(kElements))]);
    builder.Key(first).Raw(ValueView::FromTrusted(random_.Value()));
    const std::string second = absl::StrCat(path, ".", kElements[random_.Pick(3)], ".k");
    if (second != first) builder.Key(second).Raw(ValueView::FromTrusted(random_.Value()));
    builder.EndDocument().EndDocument();
    Update::Options options;
    if (absl::StrContains(first, "[x]") || absl::StrContains(second, "[x]")) {
      options.array_filters = ValueView::FromTrusted(filters_bytes);
    }
    const absl::StatusOr<Update> update =
        Update::Compile(ValueView::FromTrusted(update_bytes), options);
    if (!update.ok()) continue;
    std::string filter_bytes;
    Builder filter_builder(&filter_bytes);
    filter_builder.StartDocument().Key(path).StartDocument();
    filter_builder.Key("$gte").Raw(ValueView::FromTrusted(random_.Value(0)));
    filter_builder.EndDocument().EndDocument();
    const Filter filter = *Filter::Compile(ValueView::FromTrusted(filter_bytes));
    std::string out;
    const absl::StatusOr<bool> changed = update->Apply(document, filter, &out);
    const std::string context = absl::StrCat(ToShellText(ValueView::FromTrusted(update_bytes)),
                                             " on ", ToShellText(document));
    if (!changed.ok() || !*changed) {
      EXPECT_EQ(out, "") << context;
      continue;
    }
    ++changes;
    ASSERT_TRUE(ValueView::Parse(out).ok()) << context;
  }
  EXPECT_GT(changes, 0);
}

// After {$set: {p: v}}, the filter {p: v} matches, and doing it again changes nothing.
TEST_F(UpdatePropertyTest, WhatWasSetIsFound) {
  int set = 0;
  for (int i = 0; i < 10000; ++i) {
    const std::string document_bytes = random_.Document();
    const std::string path = random_.Path();
    const std::string value = random_.Value();
    const std::string update_bytes = Make("$set", path, value);
    const absl::StatusOr<Update> update = Update::Compile(ValueView::FromTrusted(update_bytes));
    ASSERT_TRUE(update.ok());
    std::string after;
    const absl::StatusOr<bool> changed =
        update->Apply(ValueView::FromTrusted(document_bytes), &after);
    if (!changed.ok() || !*changed) continue;
    ++set;
    std::string filter_bytes;
    Builder builder(&filter_bytes);
    builder.StartDocument().Key(path).StartDocument();
    builder.Key("$eq").Raw(ValueView::FromTrusted(value)).EndDocument().EndDocument();
    const absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(filter_bytes));
    ASSERT_TRUE(filter.ok());
    EXPECT_TRUE(filter->Matches(ValueView::FromTrusted(after)))
        << ToShellText(ValueView::FromTrusted(filter_bytes)) << " on "
        << ToShellText(ValueView::FromTrusted(after));
    std::string again;
    EXPECT_FALSE(*update->Apply(ValueView::FromTrusted(after), &again));
  }
  EXPECT_GT(set, 1000);
}

// $unset undoes a $set of a field that was not there, except in arrays and of created parents.
TEST_F(UpdatePropertyTest, UnsetUndoesSet) {
  for (int i = 0; i < 5000; ++i) {
    const std::string document_bytes = random_.Document();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    const std::string value = random_.Value();
    const Update set = *Update::Compile(ValueView::FromTrusted(Make("$set", "new", value)));
    const Update unset = *Update::Compile(ValueView::FromTrusted(Make("$unset", "new", value)));
    std::string with, without;
    ASSERT_TRUE(*set.Apply(document, &with));
    ASSERT_TRUE(*unset.Apply(ValueView::FromTrusted(with), &without));
    EXPECT_EQ(without, document_bytes) << ToShellText(document);
  }
}

// An upsert's seed is matched by the equalities that it was made from.
TEST_F(UpdatePropertyTest, SeedsMatchTheirFilters) {
  const Update update = *Update::Compile(ShellDocument("{$set: {new: 1}}").view());
  int seeded = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string filter_bytes;
    Builder builder(&filter_bytes);
    builder.StartDocument();
    const std::string first = random_.Path();
    const std::string second = random_.Path();
    builder.Key(first).StartDocument();
    builder.Key("$eq").Raw(ValueView::FromTrusted(random_.Value())).EndDocument();
    if (first != second) {
      builder.Key(second).StartDocument();
      builder.Key("$eq").Raw(ValueView::FromTrusted(random_.Value())).EndDocument();
    }
    builder.EndDocument();
    const absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(filter_bytes));
    ASSERT_TRUE(filter.ok()) << filter.status();
    const absl::StatusOr<std::string> seed = update.Seed(*filter);
    if (!seed.ok()) continue;  // The paths meet.
    ++seeded;
    ASSERT_TRUE(ValueView::Parse(*seed).ok());
    EXPECT_TRUE(filter->Matches(ValueView::FromTrusted(*seed)))
        << ToShellText(ValueView::FromTrusted(filter_bytes)) << " seeds "
        << ToShellText(ValueView::FromTrusted(*seed));
  }
  EXPECT_GT(seeded, 500);
}

}  // namespace
}  // namespace alos
