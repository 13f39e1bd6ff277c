// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/filter.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/query/internal/random_document.h"
#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::RandomDocuments;
using query_internal::ShellDocument;
using query_internal::ToShellText;

bool Matches(std::string_view filter, std::string_view document) {
  const absl::StatusOr<Filter> compiled = Filter::Compile(ShellDocument(filter).view());
  EXPECT_TRUE(compiled.ok()) << filter << ": " << compiled.status();
  return compiled.ok() && compiled->Matches(ShellDocument(document).view());
}

std::string CompileError(std::string_view filter) {
  const absl::StatusOr<Filter> compiled = Filter::Compile(ShellDocument(filter).view());
  if (compiled.ok()) return "";
  EXPECT_EQ(compiled.status().code(), absl::StatusCode::kInvalidArgument) << filter;
  return std::string(compiled.status().message());
}

// The ids that a filter restricts _id to, as text; "any" when it does not.
std::string Ids(std::string_view filter) {
  const absl::StatusOr<Filter> compiled = Filter::Compile(ShellDocument(filter).view());
  if (!compiled.ok()) return std::string(compiled.status().message());
  if (!compiled->id_candidates().has_value()) return "any";
  std::string text;
  for (const std::string& id : *compiled->id_candidates()) {
    const absl::StatusOr<ValueView> value = ValueView::Parse(id);
    absl::StrAppend(&text, text.empty() ? "" : " ", value.ok() ? ToShellText(*value) : "?");
  }
  return text;
}

struct Case {
  std::string_view filter;
  std::vector<std::string_view> matching;
  std::vector<std::string_view> other;
};

void Check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    for (const std::string_view document : c.matching) {
      EXPECT_TRUE(Matches(c.filter, document)) << c.filter << " should match " << document;
    }
    for (const std::string_view document : c.other) {
      EXPECT_FALSE(Matches(c.filter, document)) << c.filter << " should not match " << document;
    }
  }
}

TEST(FilterTest, ImplicitEquality) {
  Check({
      {"{}", {"{}", "{a: 1}"}, {}},
      {"{a: 1}", {"{a: 1}", "{b: 2, a: 1}", "{a: 1.0}"}, {"{}", "{a: 2}", "{a: '1'}", "{b: 1}"}},
      {"{a: 'x'}", {"{a: 'x'}"}, {"{a: 'X'}", "{a: 'xx'}", "{a: bin('x')}"}},
      {"{a: true}", {"{a: true}"}, {"{a: 1}", "{a: false}"}},
      {"{a: time(5)}", {"{a: time(5)}"}, {"{a: 5}", "{a: time(6)}"}},
      {"{a: NaN}", {"{a: NaN}"}, {"{a: 0}", "{a: null}"}},
      {"{a: -0.0}", {"{a: 0}", "{a: 0.0}"}, {}},
      {"{a: 1, b: 2}", {"{b: 2, a: 1}"}, {"{a: 1}", "{b: 2}", "{a: 1, b: 1}"}},
      // 2^53 + 1 is not a double; integers compare exactly.
      {"{a: 9007199254740993}", {"{a: 9007199254740993}"}, {"{a: 9007199254740992.0}"}},
      {"{a: 18446744073709551615}", {"{a: 18446744073709551615}"}, {"{a: -1}"}},
  });
}

TEST(FilterTest, EqualityWithWholeDocumentsNeedsTheOrderOfFields) {
  Check({
      {"{a: {b: 1, c: 2}}",
       {"{a: {b: 1, c: 2}}", "{a: [{b: 1, c: 2}]}"},
       {"{a: {c: 2, b: 1}}", "{a: {b: 1}}", "{a: {b: 1, c: 2, d: 3}}"}},
      {"{a: {}}", {"{a: {}}"}, {"{a: {b: 1}}", "{a: []}", "{a: null}", "{}"}},
      {"{a: {$eq: {b: 1}}}", {"{a: {b: 1}}"}, {"{a: 1}"}},
      // A reference is a value although its keys begin with '$'.
      {"{a: {$ref: 'c', $id: 1}}", {"{a: {$ref: 'c', $id: 1}}"}, {"{a: {$ref: 'c', $id: 2}}"}},
  });
}

TEST(FilterTest, EqualityWithArraysMeansTheWholeOrAnElement) {
  Check({
      {"{a: ['red', 'blank']}",
       {"{a: ['red', 'blank']}", "{a: [['red', 'blank'], 1]}"},
       {"{a: ['blank', 'red']}", "{a: ['red']}", "{a: 'red'}"}},
      {"{a: 'red'}", {"{a: ['blank', 'red']}"}, {"{a: [['red']]}", "{a: []}"}},
      {"{a: []}", {"{a: []}", "{a: [[]]}"}, {"{a: [1]}", "{a: null}", "{}"}},
  });
}

// MongoDB's manual, "Query for Null or Missing Fields", and its tests of the same.
TEST(FilterTest, NullMatchesMissing) {
  Check({
      {"{a: null}",
       {"{}", "{a: null}", "{b: 1}", "{a: [1, null]}"},
       {"{a: 0}", "{a: {}}", "{a: []}", "{a: [[]]}", "{a: [[null]]}", "{a: false}"}},
      {"{a: {$ne: null}}", {"{a: 0}", "{a: {}}", "{a: []}"}, {"{}", "{a: null}", "{a: [null]}"}},
      {"{a.b: null}",
       {"{}", "{a: {}}", "{a: null}", "{a: 4}", "{a: {b: null}}", "{a: [{b: 3}, {}]}",
        "{a: [{b: null}, {b: 3}]}"},
       {"{a: {b: 1}}", "{a: []}", "{a: [[]]}", "{a: [null, null]}", "{a: [1, 'x']}",
        "{a: [{b: 1}, {b: 3}]}"}},
      {"{a.b: {$ne: null}}",
       {"{a: {b: 1}}", "{a: []}", "{a: [1]}", "{a: [{b: 1}]}"},
       {"{}", "{a: 4}", "{a: [{b: 1}, {}]}"}},
      {"{a: {$in: [null, 75]}}", {"{}", "{a: null}", "{a: 75}", "{a: [null]}"}, {"{a: 4}"}},
      {"{a: {$nin: [null, 75]}}", {"{a: 4}", "{a: {}}"}, {"{}", "{a: null}", "{a: 75}"}},
      {"{a: {$gte: null}}", {"{}", "{a: null}", "{a: [null]}"}, {"{a: 0}", "{a: {}}"}},
      {"{a: {$lte: null}}", {"{}", "{a: null}"}, {"{a: 0}"}},
      {"{a: {$gt: null}}", {}, {"{}", "{a: null}", "{a: 1}"}},
      {"{a: {$lt: null}}", {}, {"{}", "{a: null}", "{a: 1}"}},
      {"{a: {$not: {$gte: null}}}", {"{a: 0}", "{a: []}"}, {"{}", "{a: null}", "{a: [null]}"}},
      {"{a: {$not: {$gt: null}}}", {"{}", "{a: 0}", "{a: null}"}, {}},
  });
}

TEST(FilterTest, RangesStayWithinAClassOfTypes) {
  Check({
      {"{a: {$gt: 3}}",
       {"{a: 4}", "{a: 3.5}", "{a: 18446744073709551615}", "{a: Infinity}"},
       {"{a: 3}", "{a: '4'}", "{a: NaN}", "{}", "{a: null}", "{a: true}", "{a: time(9)}"}},
      {"{a: {$gte: 3}}", {"{a: 3}", "{a: 3.0}"}, {"{a: 2.9}"}},
      {"{a: {$lt: 3}}", {"{a: 2}", "{a: -Infinity}"}, {"{a: 3}", "{a: NaN}", "{a: 'a'}"}},
      {"{a: {$lte: 3}}", {"{a: 3}"}, {"{a: 4}", "{}"}},
      {"{a: {$gt: 1, $lt: 3}}", {"{a: 2}"}, {"{a: 1}", "{a: 3}"}},
      {"{a: {$gt: 'b'}}", {"{a: 'ba'}", "{a: 'c'}"}, {"{a: 'b'}", "{a: 5}", "{a: bin('z')}"}},
      {"{a: {$gt: false}}", {"{a: true}"}, {"{a: 1}", "{a: false}"}},
      {"{a: {$gte: time(5)}}", {"{a: time(5)}", "{a: time(6)}"}, {"{a: 7}", "{a: time(4)}"}},
      {"{a: {$gt: bin('b')}}", {"{a: bin('c')}", "{a: bin('aa')}"}, {"{a: 'c'}"}},
      {"{a: {$gt: {b: 1}}}", {"{a: {b: 2}}", "{a: {b: 1, c: 1}}"}, {"{a: {b: 1}}", "{a: 5}"}},
      {"{a: {$gt: [1, 2]}}", {"{a: [1, 3]}", "{a: [2]}"}, {"{a: [1, 2]}", "{a: 5}"}},
      {"{a: {$gte: NaN}}", {"{a: NaN}"}, {"{a: 1}", "{}"}},
      {"{a: {$gt: NaN}}", {}, {"{a: NaN}", "{a: 1}"}},
      // Each condition may be met by another element.
      {"{a: {$gt: 1, $lt: 3}}", {"{a: [0, 5]}", "{a: [2]}"}, {"{a: [4, 5]}", "{a: []}"}},
  });
}

TEST(FilterTest, InAndNotIn) {
  Check({
      {"{a: {$in: [1, 'x']}}",
       {"{a: 1}", "{a: 'x'}", "{a: 1.0}", "{a: [7, 1]}"},
       {"{}", "{a: 2}", "{a: [[1]]}"}},
      {"{a: {$in: []}}", {}, {"{}", "{a: 1}", "{a: []}", "{a: null}"}},
      {"{a: {$nin: []}}", {"{}", "{a: 1}"}, {}},
      {"{a: {$in: [[1, 2]]}}", {"{a: [1, 2]}", "{a: [[1, 2]]}"}, {"{a: 1}"}},
      {"{a: {$in: [{b: 1}]}}", {"{a: {b: 1}}"}, {"{a: {b: 2}}"}},
      {"{a: {$nin: [1, 2]}}", {"{}", "{a: 3}", "{a: []}"}, {"{a: 1}", "{a: [3, 2]}"}},
      // Beyond a handful the list is searched, not scanned.
      {"{a: {$in: [9, 8, 7, 6, 5, 4, 3, 2, 1, 'x', 'x', null]}}",
       {"{a: 9}", "{a: 1.0}", "{a: 'x'}", "{}", "{a: null}"},
       {"{a: 0}", "{a: 10}", "{a: 'y'}", "{a: 1.5}", "{a: []}"}},
  });
}

TEST(FilterTest, LogicalOperators) {
  Check({
      {"{$and: [{a: 1}, {b: 2}]}", {"{a: 1, b: 2}"}, {"{a: 1}", "{b: 2}"}},
      {"{$or: [{a: 1}, {b: 2}]}", {"{a: 1}", "{b: 2}", "{a: 1, b: 2}"}, {"{}", "{a: 2, b: 1}"}},
      {"{$nor: [{a: 1}, {b: 2}]}", {"{}", "{a: 2}"}, {"{a: 1}", "{b: 2}"}},
      {"{$nor: [{a: 1}]}", {"{}"}, {"{a: 1}"}},
      {"{$or: [{a: 1}]}", {"{a: 1}"}, {"{}"}},
      {"{$or: [{}, {a: 1}]}", {"{}", "{a: 1}"}, {}},
      {"{$or: [{$and: [{a: 1}, {b: 1}]}, {$nor: [{c: {$exists: true}}]}]}",
       {"{a: 1, b: 1, c: 1}", "{}"},
       {"{a: 1, c: 1}"}},
      {"{a: {$not: {$gt: 3}}}", {"{}", "{a: 3}", "{a: 'x'}", "{a: []}"}, {"{a: 4}", "{a: [1, 4]}"}},
      {"{a: {$not: {$gt: 3, $lt: 5}}}", {"{a: 3}", "{a: 5}", "{}"}, {"{a: 4}", "{a: [1, 9]}"}},
      {"{a: {$not: {$not: {$gt: 3}}}}", {"{a: 4}"}, {"{a: 3}", "{}"}},
      {"{a: {$ne: 1}}", {"{}", "{a: 2}", "{a: null}"}, {"{a: 1}", "{a: [2, 1]}"}},
      {"{a: 1, $comment: 'why'}", {"{a: 1}"}, {"{a: 2}"}},
  });
}

TEST(FilterTest, ExistsIsTrueForNull) {
  Check({
      {"{a: {$exists: true}}", {"{a: 1}", "{a: null}", "{a: []}"}, {"{}", "{b: 1}"}},
      {"{a: {$exists: false}}", {"{}"}, {"{a: null}", "{a: []}"}},
      {"{a: {$exists: 1}}", {"{a: 1}"}, {"{}"}},
      {"{a: {$exists: 0}}", {"{}"}, {"{a: 1}"}},
      {"{a: {$exists: null}}", {"{}"}, {"{a: 1}"}},
      {"{a: {$exists: 'no'}}", {"{a: 1}"}, {"{}"}},
      {"{a.b: {$exists: true}}",
       {"{a: {b: null}}", "{a: [1, {b: 2}]}"},
       {"{}", "{a: 1}", "{a: {}}", "{a: []}", "{a: [1]}"}},
      {"{a.b: {$exists: false}}", {"{a: []}", "{a: [[]]}", "{a: 4}"}, {"{a: [{}, {b: 1}]}"}},
      {"{a.1: {$exists: true}}", {"{a: [1, 2]}", "{a: {1: 0}}"}, {"{a: [1]}", "{a: 5}"}},
  });
}

TEST(FilterTest, PathsGoThroughArraysAndPositions) {
  Check({
      {"{a.b: 1}",
       {"{a: {b: 1}}", "{a: [{b: 1}]}", "{a: [{b: 2}, {b: 1}]}", "{a: [{b: [3, 1]}]}"},
       {"{a: [[{b: 1}]]}", "{a: 1}", "{'a.b': 1}", "{a: [1]}"}},
      {"{a.b.c: 1}", {"{a: [{b: [{c: 1}]}]}", "{a: {b: [{c: [0, 1]}]}}"}, {"{a: {b: 1}}"}},
      {"{a.0: 1}", {"{a: [1, 2]}", "{a: {0: 1}}", "{a: [{0: 1}]}"}, {"{a: [2, 1]}", "{a: []}"}},
      {"{a.1.b: 4}", {"{a: [5, {b: 4}, 3]}", "{a: [5, [{b: 4}], 3]}"}, {"{a: [{b: 4}, 5]}"}},
      {"{a.0.0: 1}", {"{a: [[1, 2]]}"}, {"{a: [1]}", "{a: [[2, 1]]}"}},
      {"{a.00: 1}", {"{a: {00: 1}}"}, {"{a: [1]}"}},
      // An element reached by position is not expanded once more.
      {"{a.0: 1}", {}, {"{a: [[1, 2]]}"}},
      {"{a.0: [1, 2]}", {"{a: [[1, 2]]}"}, {}},
      {"{a.0.b: null}", {"{a: [{b: 1}]}"}, {"{a: [5]}"}},
      {"{a.b: {$gt: 1, $lt: 3}}", {"{a: [{b: 0}, {b: 5}]}"}, {"{a: [{b: 0}, {b: 1}]}"}},
      {"{a.b: {$ne: 1}}", {"{a: [{b: 2}]}", "{}"}, {"{a: [{b: 2}, {b: 1}]}"}},
  });
}

TEST(FilterTest, RegexMatchesStringsAndElements) {
  Check({
      {"{a: {$regex: '^ab'}}", {"{a: 'abc'}", "{a: ['x', 'ab']}"}, {"{a: 'xab'}", "{}", "{a: 5}"}},
      {"{a: {$regex: 'B', $options: 'i'}}", {"{a: 'abc'}"}, {"{a: 'acc'}"}},
      {"{a: {$options: 'i', $regex: 'B'}}", {"{a: 'abc'}"}, {}},
      {"{a: {$regex: '^b', $options: 'm'}}", {"{a: 'a\nb'}"}, {"{a: 'ab'}"}},
      {"{a: {$regex: '^b'}}", {}, {"{a: 'a\nb'}"}},
      {"{a: {$regex: 'a.b', $options: 's'}}", {"{a: 'a\nb'}"}, {"{a: 'ab'}"}},
      {"{a: {$regex: 'a.b'}}", {"{a: 'axb'}"}, {"{a: 'a\nb'}"}},
      {"{a: {$regex: 'a b # c', $options: 'x'}}", {"{a: 'ab'}"}, {"{a: 'a b'}"}},
      {"{a: {$regex: '^A.B$', $options: 'ims'}}", {"{a: 'x\na\nb'}"}, {"{a: 'x\nab'}"}},
      {"{a: {$not: {$regex: '^x'}}}", {"{}", "{a: 1}", "{a: 'y'}"}, {"{a: 'xy'}", "{a: ['x']}"}},
      {"{a: {$regex: '^x', $ne: 'xy'}}", {"{a: 'xz'}"}, {"{a: 'xy'}", "{a: 'y'}"}},
  });
}

TEST(FilterTest, TypeSizeModAll) {
  Check({
      {"{a: {$type: 'string'}}", {"{a: 'x'}", "{a: [1, 'x']}"}, {"{a: 1}", "{}", "{a: []}"}},
      {"{a: {$type: 2}}", {"{a: 'x'}"}, {"{a: 1}"}},
      {"{a: {$type: 'number'}}", {"{a: 1}", "{a: 1.5}", "{a: 18446744073709551615}"}, {"{a: '1'}"}},
      {"{a: {$type: 'double'}}", {"{a: 1.0}"}, {"{a: 1}"}},
      {"{a: {$type: 'int'}}", {"{a: 1}"}, {"{a: 1.0}"}},
      {"{a: {$type: 'long'}}", {"{a: 1}"}, {"{a: 1.0}"}},
      {"{a: {$type: ['bool', 10]}}", {"{a: true}", "{a: null}"}, {"{}", "{a: 0}"}},
      {"{a: {$type: 'array'}}", {"{a: []}", "{a: [1]}", "{a: [[]]}"}, {"{a: 1}", "{a: {}}"}},
      {"{a: {$type: 'object'}}", {"{a: {}}", "{a: [{}]}"}, {"{a: []}"}},
      {"{a: {$type: 'date'}}", {"{a: time(1)}"}, {"{a: 1}"}},
      {"{a: {$type: 'binData'}}", {"{a: bin('x')}"}, {"{a: 'x'}"}},
      {"{a: {$type: 'objectId'}}", {}, {"{a: 'x'}", "{}", "{a: null}"}},
      {"{a: {$size: 2}}", {"{a: [1, 2]}", "{a: [[], []]}"}, {"{a: [1]}", "{a: 2}", "{}"}},
      {"{a: {$size: 0}}", {"{a: []}"}, {"{}", "{a: null}", "{a: [[]]}"}},
      {"{a.b: {$size: 1}}", {"{a: [{b: []}, {b: [1]}]}"}, {"{a: {b: 1}}"}},
      {"{a: {$mod: [4, 0]}}", {"{a: 8}", "{a: 8.9}", "{a: [3, 12]}"}, {"{a: 9}", "{a: '8'}", "{}"}},
      {"{a: {$mod: [4, -1]}}", {"{a: -5}"}, {"{a: 5}", "{a: NaN}", "{a: Infinity}"}},
      {"{a: {$mod: [-1, 0]}}", {"{a: -9223372036854775808}"}, {}},
      {"{a: {$mod: [10, 5]}}", {"{a: 18446744073709551615}"}, {"{a: 1e300}"}},
      {"{a: {$all: ['x', 'y']}}", {"{a: ['y', 'z', 'x']}"}, {"{a: ['x']}", "{a: 'x'}", "{}"}},
      {"{a: {$all: ['x']}}", {"{a: 'x'}", "{a: ['x']}"}, {"{a: 'y'}"}},
      {"{a: {$all: [['x', 'y']]}}", {"{a: ['x', 'y']}", "{a: [['x', 'y']]}"}, {"{a: ['y', 'x']}"}},
      {"{a: {$all: []}}", {}, {"{a: []}", "{}", "{a: 1}"}},
      {"{a: {$all: [null]}}", {"{}", "{a: null}"}, {"{a: 1}"}},
  });
}

TEST(FilterTest, ElementMatchAsksOneElementToMeetAll) {
  Check({
      {"{a: {$elemMatch: {$gte: 80, $lt: 85}}}",
       {"{a: [82, 85, 88]}"},
       {"{a: [75, 88, 89]}", "{a: 82}", "{}", "{a: []}", "{a: [[82]]}"}},
      {"{a: {$elemMatch: {b: 'x', c: {$gte: 8}}}}",
       {"{a: [{b: 'x', c: 7}, {b: 'x', c: 8}]}"},
       {"{a: [{b: 'x', c: 7}, {b: 'y', c: 8}]}", "{a: {b: 'x', c: 8}}", "{a: [8]}"}},
      {"{a: {$elemMatch: {b: null}}}", {"{a: [{}]}", "{a: [{b: null}]}"}, {"{a: []}", "{a: [1]}"}},
      {"{a: {$elemMatch: {$eq: null}}}", {"{a: [null]}"}, {"{a: null}", "{}", "{a: []}"}},
      {"{a: {$elemMatch: {$ne: null}}}", {"{a: [1]}", "{a: [null, 1]}"}, {"{a: [null]}", "{a: 1}"}},
      {"{a: {$elemMatch: {$or: [{b: 1}, {c: 2}]}}}", {"{a: [{c: 2}]}"}, {"{a: [{b: 2}]}"}},
      {"{a: {$elemMatch: {$elemMatch: {$eq: 1}}}}", {"{a: [[0, 1]]}"}, {"{a: [1]}", "{a: [[0]]}"}},
      {"{a.b: {$elemMatch: {$gt: 1, $lt: 3}}}", {"{a: [{b: [2]}]}"}, {"{a: [{b: 2}]}"}},
      {"{a: {$not: {$elemMatch: {b: 1}}}}", {"{}", "{a: [{b: 2}]}"}, {"{a: [{b: 1}]}"}},
      {"{a: {$all: [{$elemMatch: {b: 1}}, {$elemMatch: {b: 2}}]}}",
       {"{a: [{b: 2}, {b: 1}]}"},
       {"{a: [{b: 1}]}"}},
      {"{a: {$elemMatch: {}}}", {"{a: [{}]}", "{a: [{b: 1}]}"}, {"{a: [1]}", "{a: []}"}},
  });
}

// MongoDB's manual, "Bitwise Query Operators": a negative number goes on with ones, binary data
// with zeros; byte 0 has bits 0 to 7.
TEST(FilterTest, Bits) {
  Check({
      {"{a: {$bitsAllSet: 50}}",
       {"{a: 54}", "{a: 54.0}", "{a: [1, 54]}", "{a: -1}"},
       {"{a: 20}", "{a: 20.0}", "{a: 54.5}", "{}", "{a: null}", "{a: '54'}", "{a: NaN}"}},
      {"{a: {$bitsAllSet: [1, 5]}}", {"{a: 54}", "{a: bin('f')}"}, {"{a: 20}", "{a: bin('D')}"}},
      {"{a: {$bitsAllSet: bin('0')}}", {"{a: 48}", "{a: bin('0')}"}, {"{a: 32}", "{a: bin('')}"}},
      {"{a: {$bitsAllClear: [1, 5]}}", {"{a: 20}", "{a: 0}", "{a: bin('')}"}, {"{a: 54}"}},
      {"{a: {$bitsAllClear: 35}}", {"{a: 20}", "{a: [54, 20]}"}, {"{a: 1}", "{a: 32}"}},
      {"{a: {$bitsAnySet: [1, 5]}}", {"{a: 2}", "{a: 32}", "{a: 54}"}, {"{a: 20}", "{a: 0}"}},
      {"{a: {$bitsAnySet: 35}}", {"{a: 1}", "{a: -1}"}, {"{a: 20}", "{a: bin('')}"}},
      {"{a: {$bitsAnyClear: [1, 5]}}", {"{a: 20}", "{a: 2}", "{a: 32}"}, {"{a: 54}", "{a: -1}"}},
      {"{a: {$bitsAnyClear: bin('0')}}", {"{a: 16}", "{a: bin('')}"}, {"{a: 48}"}},
      // Beyond a number's 64 bits.
      {"{a: {$bitsAllSet: [0, 200]}}", {"{a: -1}"}, {"{a: 1}", "{a: -2}", "{a: bin('a')}"}},
      {"{a: {$bitsAnyClear: [200]}}", {"{a: 1}", "{a: bin('')}"}, {"{a: -1}"}},
      {"{a: {$bitsAllSet: [65]}}", {"{a: bin('xxxxxxxxb')}"}, {"{a: bin('xxxxxxxxa')}"}},
      {"{a: {$bitsAllSet: bin('aaaaaaaab')}}",
       {"{a: bin('aaaaaaaab')}", "{a: -1}"},
       {"{a: bin('aaaaaaaaa')}", "{a: 7016996765293437281}"}},
      {"{a: {$bitsAllSet: [63]}}",
       {"{a: 18446744073709551615}", "{a: -9223372036854775808}"},
       {"{a: 9223372036854775807}", "{a: 1e300}"}},
      // No bits asked for: all of none, not any of none.
      {"{a: {$bitsAllSet: 0}}", {"{a: 5}", "{a: bin('')}"}, {"{a: 'x'}", "{}"}},
      {"{a: {$bitsAnySet: 0}}", {}, {"{a: 5}", "{a: bin('x')}"}},
      {"{a: {$bitsAnyClear: []}}", {}, {"{a: 5}"}},
      {"{a: {$not: {$bitsAllSet: 1}}}", {"{a: 2}", "{}"}, {"{a: 1}"}},
      {"{a: {$elemMatch: {$bitsAllSet: 1}}}", {"{a: [2, 1]}"}, {"{a: 1}"}},
  });
}

TEST(FilterTest, JsonSchema) {
  Check({
      {"{$jsonSchema: {required: ['a'], properties: {a: {bsonType: 'int', minimum: 2}}}}",
       {"{a: 2}", "{a: 5, b: 1}"},
       {"{}", "{a: 1}", "{a: 'x'}"}},
      {"{b: 1, $nor: [{$jsonSchema: {required: ['a']}}]}", {"{b: 1}"}, {"{a: 1, b: 1}"}},
      {"{$jsonSchema: {}}", {"{}", "{a: 1}"}, {}},
  });
  // A validator is not about the elements of an array.
  EXPECT_TRUE(absl::StrContains(CompileError("{a: {$elemMatch: {$jsonSchema: {}}}}"),
                                "cannot stand inside a condition on an array's elements"));
}

TEST(FilterTest, Expressions) {
  Check({
      {"{$expr: {$gt: ['$spent', '$budget']}}",
       {"{spent: 5, budget: 4}", "{spent: 1}"},
       {"{spent: 4, budget: 4}", "{}"}},
      {"{a: 1, $expr: {$eq: ['$b', '$c']}}", {"{a: 1, b: 2, c: 2}"}, {"{a: 2, b: 2, c: 2}"}},
      {"{$or: [{a: 1}, {$expr: {$eq: ['$b', 2]}}]}", {"{a: 1}", "{b: 2}"}, {"{b: 3}"}},
      {"{$nor: [{$expr: '$a'}]}", {"{}", "{a: 0}", "{a: null}"}, {"{a: 1}", "{a: ''}"}},
      {"{$expr: true}", {"{}"}, {}},
      {"{$expr: {$literal: 0}}", {}, {"{}", "{a: 1}"}},
  });
  EXPECT_TRUE(Filter::Compile(ShellDocument("{$expr: 1}").view())->matches_everything());
}

// Equalities with constants, which indexes can answer, stand beside their expression.
TEST(FilterTest, ExpressionsShowTheEqualitiesTheyNeed) {
  const auto shows = [](std::string_view text) {
    const Filter filter = *Filter::Compile(ShellDocument(text).view());
    EXPECT_TRUE(filter.equalities().empty());  // Nothing that an upsert would start from.
    std::string shown;
    for (const query_internal::FilterNode& node : filter.program().nodes()) {
      if (node.op != query_internal::FilterOp::kEqual) continue;
      absl::StrAppend(&shown, filter.program().paths()[node.path].ToString(), "=",
                      ToShellText(node.literal), ";");
    }
    return shown;
  };
  EXPECT_EQ(shows("{$expr: {$eq: ['$a.b', 5]}}"), "a.b=5;");
  EXPECT_EQ(shows("{$expr: {$and: [{$eq: ['x', '$a']}, {$gt: ['$b', '$c']}]}}"), "a='x';");
  EXPECT_EQ(shows("{$expr: {$or: [{$eq: ['$a', 1]}, {$eq: ['$b', 1]}]}}"), "");
  EXPECT_EQ(shows("{$expr: {$eq: ['$a', null]}}"), "");
  EXPECT_EQ(shows("{$expr: {$eq: ['$a', [1, 2]]}}"), "");
  Check({
      {"{$expr: {$eq: ['$a.b', 5]}}",
       {"{a: {b: 5}}", "{a: {b: 5.0}}"},
       {"{a: [{b: 5}]}", "{a: {b: [5]}}", "{}"}},
      {"{$expr: {$eq: ['$a.b', [5]]}}", {"{a: [{b: 5}]}", "{a: {b: [5]}}"}, {"{a: {b: 5}}"}},
      {"{$nor: [{$expr: {$eq: ['$a', 5]}}]}", {"{a: [5]}", "{}"}, {"{a: 5}"}},
  });
  EXPECT_EQ(Ids("{$expr: {$eq: ['$_id', 5]}}"), "5");
}

TEST(FilterTest, AFailingExpressionDoesNotMatchAndSaysWhy) {
  for (const std::string_view text :
       {"{$expr: {$add: ['$a', 1]}}", "{$nor: [{$expr: {$eq: [{$add: ['$a', 1]}, 3]}}]}"}) {
    const Filter filter = *Filter::Compile(ShellDocument(text).view());
    EXPECT_TRUE(filter.may_fail());
    absl::Status error;
    EXPECT_TRUE(filter.Matches(ShellDocument("{a: 1}").view(), &error));
    EXPECT_TRUE(error.ok());
    EXPECT_FALSE(filter.Matches(ShellDocument("{a: 'x'}").view(), &error));
    EXPECT_TRUE(absl::StrContains(error.message(), "$expr: ")) << error;
    EXPECT_FALSE(filter.Matches(ShellDocument("{a: 'x'}").view()));
    EvaluationState state(Timestamp{});
    EXPECT_EQ(filter.Matches(ShellDocument("{a: 'x'}").view(), state).status(), error);
    state.Reset();
    EXPECT_TRUE(*filter.Matches(ShellDocument("{a: 1}").view(), state));
  }
  EXPECT_FALSE(Filter::Compile(ShellDocument("{a: 1}").view())->may_fail());
}

TEST(FilterTest, ExpressionsSeeTheVariablesOfTheirContext) {
  VariableScope scope;
  const std::size_t slot = *scope.Declare("x");
  FilterContext context;
  context.variables = &scope;
  const Filter filter =
      *Filter::Compile(ShellDocument("{$expr: {$eq: ['$a', '$$x']}}").view(), context);
  EvaluationState state(Timestamp{});
  const ShellDocument value("[5]");
  state.SetVariable(slot, value.view().At(0));
  EXPECT_TRUE(*filter.Matches(ShellDocument("{a: 5}").view(), state));
  EXPECT_FALSE(*filter.Matches(ShellDocument("{a: 6}").view(), state));
  EXPECT_TRUE(absl::StrContains(CompileError("{$expr: '$$x'}"), "x"));
}

// Several threads match with one filter at once: each with memory of its own.
TEST(FilterTest, ExpressionsAreEvaluatedByManyThreads) {
  const Filter filter =
      *Filter::Compile(ShellDocument("{$expr: {$eq: [{$add: ['$a', 1]}, 3]}}").view());
  std::vector<std::thread> threads;
  std::atomic<int> matches = 0;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      const ShellDocument yes("{a: 2}");
      const ShellDocument no("{a: 3}");
      for (int i = 0; i < 2000; ++i) {
        matches += filter.Matches(yes.view()) ? 1 : 0;
        matches += filter.Matches(no.view()) ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(matches, 6 * 2000);
}

TEST(FilterTest, Text) {
  FilterContext context;
  context.text_fields = {"title", "body"};
  const auto matches = [&](std::string_view filter, std::string_view document) {
    const absl::StatusOr<Filter> compiled = Filter::Compile(ShellDocument(filter).view(), context);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    return compiled.ok() && compiled->Matches(ShellDocument(document).view());
  };
  EXPECT_TRUE(matches("{$text: {$search: 'coffee'}}", "{body: 'Good Coffee'}"));
  EXPECT_FALSE(matches("{$text: {$search: 'coffee'}}", "{other: 'coffee'}"));
  EXPECT_TRUE(matches("{$text: {$search: 'coffee'}, a: 1}", "{title: 'coffee', a: 1}"));
  EXPECT_TRUE(matches("{$or: [{$text: {$search: 'coffee'}}, {a: 1}]}", "{a: 1}"));
  const auto error = [&](std::string_view filter) {
    return std::string(Filter::Compile(ShellDocument(filter).view(), context).status().message());
  };
  EXPECT_TRUE(absl::StrContains(error("{$nor: [{$text: {$search: 'x'}}]}"), "inside $nor"));
  EXPECT_TRUE(absl::StrContains(error("{$and: [{$text: {$search: 'x'}}, {$text: {$search: 'y'}}]}"),
                                "one $text only"));
  EXPECT_TRUE(
      absl::StrContains(error("{a: {$elemMatch: {$text: {$search: 'x'}}}}"), "whole documents"));
}

TEST(FilterTest, ErrorsNameTheOperatorThePathAndTheRemedy) {
  const struct {
    std::string_view filter;
    std::vector<std::string_view> parts;
  } cases[] = {
      {"{a: {$foo: 1}}", {"'a.$foo'", "unknown operator $foo"}},
      {"{$foo: 1}", {"unknown operator $foo"}},
      {"{$gt: 1}", {"$gt", "needs a field"}},
      {"{a: {$or: [{b: 1}]}}", {"$or", "outside a field"}},
      {"{a: {$near: 1}}", {"$near is not supported yet"}},
      {"{$where: 'x'}", {"$where is not supported yet"}},
      {"{$expr: {$foo: 1}}", {"'$expr'", "$foo"}},
      {"{a: {$expr: 1}}", {"$expr", "outside a field"}},
      {"{a: {$elemMatch: {$expr: 1}}}", {"$expr", "whole documents"}},
      {"{$text: {$search: 'x'}}", {"$text", "text index required"}},
      {"{a: {$text: {$search: 'x'}}}", {"$text", "outside a field"}},
      {"{a: {$jsonSchema: {}}}", {"$jsonSchema", "outside a field"}},
      {"{$jsonSchema: {items: 5}}", {"'$jsonSchema'", "'items'", "array of schemas"}},
      {"{a: {$bitsAllSet: -1}}", {"'a.$bitsAllSet'", "not negative", "-1"}},
      {"{a: {$bitsAnySet: 1.5}}", {"'a.$bitsAnySet'", "whole number", "1.5"}},
      {"{a: {$bitsAllClear: 'x'}}", {"binary data", "\"x\""}},
      {"{a: {$bitsAnyClear: [-1]}}", {"position", "-1"}},
      {"{a: {$bitsAnyClear: [2147483648]}}", {"position", "2147483648"}},
      {"{$bitsAllSet: 1}", {"needs a field"}},
      {"{a: {$gt: 1, b: 2}}", {"mixes operators with the field 'b'"}},
      {"{a: {b: 2, $gt: 1}}", {"mixes fields with the operator $gt"}},
      {"{$and: []}", {"$and", "non-empty array"}},
      {"{$or: {a: 1}}", {"$or", "non-empty array"}},
      {"{$nor: [1]}", {"'$nor.0'", "must be a document, not 1"}},
      {"{a: {$in: 1}}", {"$in needs an array"}},
      {"{a: {$nin: {}}}", {"$nin needs an array"}},
      {"{a: {$in: [{$gt: 1}]}}", {"$in", "$gt cannot stand inside"}},
      {"{a: {$not: 1}}", {"$not needs a document", "$ne"}},
      {"{a: {$not: {}}}", {"$not needs a document"}},
      {"{a: {$not: {b: 1}}}", {"mixes operators with the field 'b'"}},
      {"{a: {$regex: 5}}", {"$regex needs a string, not 5"}},
      {"{a: {$regex: '('}}", {"'('", "missing"}},
      {"{a: {$regex: '(x)\\1'}}", {"invalid escape", "backreferences"}},
      {"{a: {$regex: '(?=x)'}}", {"look-around"}},
      {"{a: {$regex: 'x', $options: 'q'}}", {"'q'", "$options"}},
      {"{a: {$regex: 'x', $options: 1}}", {"$options needs a string"}},
      {"{a: {$options: 'i'}}", {"$options needs a $regex"}},
      {"{a: {$type: 'strange'}}", {"$type", "\"strange\""}},
      {"{a: {$type: 99}}", {"$type", "99"}},
      {"{a: {$type: []}}", {"$type needs at least one"}},
      {"{a: {$size: -1}}", {"$size", "-1"}},
      {"{a: {$size: 1.5}}", {"$size", "1.5"}},
      {"{a: {$size: 'x'}}", {"$size", "\"x\""}},
      {"{a: {$mod: [0, 1]}}", {"divisor of $mod cannot be 0"}},
      {"{a: {$mod: [1]}}", {"$mod", "[divisor, remainder]"}},
      {"{a: {$mod: [1, 2, 3]}}", {"$mod", "[divisor, remainder]"}},
      {"{a: {$mod: ['x', 2]}}", {"$mod", "\"x\""}},
      {"{a: {$mod: [NaN, 2]}}", {"$mod", "nan"}},
      {"{a: {$all: 1}}", {"$all needs an array"}},
      {"{a: {$all: [{$gt: 1}]}}", {"$all", "$gt"}},
      {"{a: {$elemMatch: 1}}", {"$elemMatch needs a document"}},
      {"{a: {$elemMatch: {b: {$foo: 1}}}}", {"'a.$elemMatch.b.$foo'", "unknown operator $foo"}},
      {"{$or: [{a: 1}, {b: {$foo: 1}}]}", {"'$or.1.b.$foo'"}},
      {"{'a..b': 1}", {"a..b", "empty"}},
      {"[1]", {"must be a document", "[1 elements]"}},
      {"5", {"must be a document", "not 5"}},
  };
  for (const auto& c : cases) {
    const std::string error = CompileError(c.filter);
    EXPECT_NE(error, "") << c.filter << " should be refused";
    for (const std::string_view part : c.parts) {
      EXPECT_TRUE(absl::StrContains(error, part))
          << c.filter << ": " << error << "\n  lacks " << part;
    }
  }
}

TEST(FilterTest, WhatIsInTheManualOnlyIsRefusedByName) {
  for (const std::string_view name :
       {"$where", "$geoIntersects", "$geoWithin", "$near", "$nearSphere", "$box", "$center",
        "$centerSphere", "$geometry", "$maxDistance", "$minDistance", "$polygon", "$uniqueDocs",
        "$natural", "$sampleRate", "$rand", "$meta"}) {
    const std::string refusal = absl::StrCat("the operator ", name, " is not supported yet");
    EXPECT_TRUE(absl::StrContains(CompileError(absl::StrCat("{", name, ": 1}")), refusal)) << name;
    EXPECT_TRUE(absl::StrContains(CompileError(absl::StrCat("{a: {", name, ": 1}}")), refusal))
        << name;
  }
}

TEST(FilterTest, PatternsAreBounded) {
  const std::string longest(1024, 'a');
  EXPECT_EQ(CompileError(absl::StrCat("{a: {$regex: '", longest, "'}}")), "");
  EXPECT_TRUE(absl::StrContains(CompileError(absl::StrCat("{a: {$regex: '", longest, "a'}}")),
                                "at most 1024"));
  EXPECT_TRUE(absl::StrContains(CompileError("{a: {$regex: '((a{100}){100}){100}'}}"), "a{100}"));
  EXPECT_TRUE(absl::StrContains(CompileError("{a: {$regex: '(\\pL){1000}'}}"), "8 MiB"));
}

TEST(FilterTest, NestingIsLimited) {
  // Parse itself refuses documents this deep, so the bytes are built by hand.
  const auto nested = [](int levels) {
    std::string bytes;
    Builder builder(&bytes);
    for (int i = 0; i < levels; ++i) builder.StartDocument().Key("$and").StartArray();
    builder.StartDocument().EndDocument();
    for (int i = 0; i < levels; ++i) builder.EndArray().EndDocument();
    return bytes;
  };
  EXPECT_TRUE(Filter::Compile(ValueView::FromTrusted(nested(100))).ok());
  const absl::StatusOr<Filter> refused = Filter::Compile(ValueView::FromTrusted(nested(101)));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(refused.status().message(), "nested more than 100"));
}

TEST(FilterTest, IdCandidates) {
  EXPECT_EQ(Ids("{}"), "any");
  EXPECT_EQ(Ids("{a: 1}"), "any");
  EXPECT_EQ(Ids("{_id: 'x'}"), "'x'");
  EXPECT_EQ(Ids("{_id: 1.0}"), "1");
  EXPECT_EQ(Ids("{_id: {$eq: 'x'}, a: 1}"), "'x'");
  EXPECT_EQ(Ids("{_id: {$in: [2, 1, 1.0, 'x']}}"), "1 2 'x'");
  EXPECT_EQ(Ids("{_id: {$in: [1, 2, 3]}, $and: [{_id: {$in: [3, 2]}}, {_id: {$ne: 3}}]}"), "2 3");
  EXPECT_EQ(Ids("{_id: 1, $and: [{_id: 2}]}"), "");
  EXPECT_EQ(Ids("{_id: {$in: []}}"), "");
  // What cannot be an id cannot match.
  EXPECT_EQ(Ids("{_id: null}"), "");
  EXPECT_EQ(Ids("{_id: {b: 1}}"), "");
  EXPECT_EQ(Ids("{_id: {$in: [null, [1], NaN, 5]}}"), "5");
  // Restrictions of another kind are none.
  EXPECT_EQ(Ids("{_id: {$gt: 1}}"), "any");
  EXPECT_EQ(Ids("{_id: {$ne: 1}}"), "any");
  EXPECT_EQ(Ids("{_id: {$not: {$eq: 1}}}"), "any");
  EXPECT_EQ(Ids("{_id: {$nin: [1]}}"), "any");
  EXPECT_EQ(Ids("{$nor: [{_id: 1}]}"), "any");
  EXPECT_EQ(Ids("{_id.x: 1}"), "any");
  EXPECT_EQ(Ids("{$or: [{_id: 2}, {_id: 1}]}"), "1 2");
  EXPECT_EQ(Ids("{$or: [{_id: 1}, {a: 1}]}"), "any");
}

TEST(FilterTest, MatchesEverything) {
  const auto everything = [](std::string_view filter) {
    return Filter::Compile(ShellDocument(filter).view())->matches_everything();
  };
  EXPECT_TRUE(everything("{}"));
  EXPECT_TRUE(everything("{$and: [{}]}"));
  EXPECT_TRUE(everything("{$comment: 'all'}"));
  EXPECT_FALSE(everything("{a: null}"));
  EXPECT_TRUE(Filter().matches_everything());
}

TEST(FilterTest, EqualitiesOfTheTopConjunction) {
  const absl::StatusOr<Filter> filter = Filter::Compile(
      ShellDocument(
          "{_id: 5, a.b: {$eq: 'x'}, c: {$gt: 1}, d: {$in: [1]}, $and: [{e: null}, {$and: "
          "[{f: {g: 1}}]}], $or: [{h: 1}, {i: 1}], j: {$not: {$eq: 1}}, k: {$gte: null}}")
          .view());
  ASSERT_TRUE(filter.ok()) << filter.status();
  std::string text;
  for (const Filter::Equality& equality : filter->equalities()) {
    absl::StrAppend(&text, equality.path, "=", ToShellText(equality.value), ";");
  }
  EXPECT_EQ(text, "_id=5;a.b='x';e=null;f={g: 1};");
}

TEST(FilterTest, OwnsWhatItNeeds) {
  std::optional<Filter> copy;
  {
    auto text = std::make_unique<ShellDocument>("{a: {$in: ['long enough to be on the heap', 1]}}");
    absl::StatusOr<Filter> filter = Filter::Compile(text->view());
    ASSERT_TRUE(filter.ok());
    text.reset();
    copy = *filter;
  }
  EXPECT_TRUE(copy->Matches(ShellDocument("{a: 'long enough to be on the heap'}").view()));
  EXPECT_FALSE(copy->Matches(ShellDocument("{a: 2}").view()));
}

// --- Properties. ---------------------------------------------------------------------------------

std::uint64_t Seed() {
  const char* given = std::getenv("ALOS_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "ALOS_TEST_SEED=" << seed << std::endl;
  return seed;
}

// A filter {path: {operator: value}} with the given operator.
class Predicate {
 public:
  Predicate(std::string_view path, std::string_view op, std::string_view value) {
    Builder builder(&bytes_);
    builder.StartDocument().Key(path).StartDocument();
    builder.Key(op).Raw(ValueView::FromTrusted(value));
    builder.EndDocument().EndDocument();
  }
  ValueView view() const { return ValueView::FromTrusted(bytes_); }

 private:
  std::string bytes_;
};

std::string Combine(std::string_view op, const std::vector<ValueView>& filters) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument().Key(op).StartArray();
  for (const ValueView filter : filters) builder.Raw(filter);
  builder.EndArray().EndDocument();
  return bytes;
}

class FilterPropertyTest : public testing::Test {
 protected:
  bool Run(ValueView filter, ValueView document) {
    const absl::StatusOr<Filter> compiled = Filter::Compile(filter);
    EXPECT_TRUE(compiled.ok()) << compiled.status() << " " << ToShellText(filter);
    return compiled.ok() && compiled->Matches(document);
  }
  RandomDocuments random_{Seed()};
};

TEST_F(FilterPropertyTest, NegationsAreComplements) {
  for (int i = 0; i < 3000; ++i) {
    const std::string document_bytes = random_.Document();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    const std::string path = random_.Path();
    const std::string value = random_.Value();
    const Predicate equal(path, "$eq", value);
    const Predicate not_equal(path, "$ne", value);
    const bool matched = Run(equal.view(), document);
    const std::string context =
        absl::StrCat(ToShellText(equal.view()), " on ", ToShellText(document));
    EXPECT_NE(matched, Run(not_equal.view(), document)) << context;
    // Implicit equality and a list of one are the same as $eq, unless the value reads as operators.
    std::string list_bytes;
    Builder list(&list_bytes);
    list.StartArray().Raw(ValueView::FromTrusted(value)).EndArray();
    const Predicate in(path, "$in", list_bytes);
    const Predicate not_in(path, "$nin", list_bytes);
    EXPECT_EQ(matched, Run(in.view(), document)) << context;
    EXPECT_NE(matched, Run(not_in.view(), document)) << context;
    const Predicate all(path, "$all", list_bytes);
    EXPECT_EQ(matched, Run(all.view(), document)) << context;
    const std::string nor = Combine("$nor", {equal.view()});
    EXPECT_NE(matched, Run(ValueView::FromTrusted(nor), document)) << context;
    const Predicate exists(path, "$exists", "\xc3");
    const Predicate absent(path, "$exists", "\xc2");
    EXPECT_NE(Run(exists.view(), document), Run(absent.view(), document)) << context;
  }
}

TEST_F(FilterPropertyTest, DeMorgan) {
  static constexpr std::string_view kOperators[] = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"};
  for (int i = 0; i < 3000; ++i) {
    const std::string document_bytes = random_.Document();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    const Predicate p(random_.Path(), kOperators[random_.Pick(6)], random_.Value());
    const Predicate q(random_.Path(), kOperators[random_.Pick(6)], random_.Value());
    const bool p_matches = Run(p.view(), document);
    const bool q_matches = Run(q.view(), document);
    const std::string context = absl::StrCat(ToShellText(p.view()), " ", ToShellText(q.view()),
                                             " on ", ToShellText(document));
    const auto combined = [&](std::string_view op) {
      const std::string filter = Combine(op, {p.view(), q.view()});
      return Run(ValueView::FromTrusted(filter), document);
    };
    EXPECT_EQ(combined("$and"), p_matches && q_matches) << context;
    EXPECT_EQ(combined("$or"), p_matches || q_matches) << context;
    EXPECT_EQ(combined("$nor"), !p_matches && !q_matches) << context;
    // NOT (p OR q) == (NOT p) AND (NOT q), all spelled as filters.
    const std::string not_p = Combine("$nor", {p.view()});
    const std::string not_q = Combine("$nor", {q.view()});
    const std::string both =
        Combine("$and", {ValueView::FromTrusted(not_p), ValueView::FromTrusted(not_q)});
    EXPECT_EQ(combined("$nor"), Run(ValueView::FromTrusted(both), document)) << context;
  }
}

// On a scalar that is of the literal's class, exactly one of <, ==, > holds, and $gte is $gt or
// $eq.
TEST_F(FilterPropertyTest, RangesAgreeWithCompare) {
  for (int i = 0; i < 5000; ++i) {
    const std::string a_bytes = random_.Value(0);
    const std::string b_bytes = random_.Value(0);
    const ValueView a = ValueView::FromTrusted(a_bytes);
    const ValueView b = ValueView::FromTrusted(b_bytes);
    std::string document_bytes;
    Builder(&document_bytes).StartDocument().Key("a").Raw(a).EndDocument();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    const auto matches = [&](std::string_view op) {
      return Run(Predicate("a", op, b_bytes).view(), document);
    };
    const std::string context = absl::StrCat(ToShellText(a), " against ", ToShellText(b));
    EXPECT_EQ(matches("$eq"), Compare(a, b) == 0) << context;
    EXPECT_EQ(matches("$gte"), matches("$gt") || matches("$eq")) << context;
    EXPECT_EQ(matches("$lte"), matches("$lt") || matches("$eq")) << context;
    EXPECT_FALSE(matches("$lt") && matches("$gt")) << context;
    const bool nan = (a.type() == ValueType::kDouble && a.AsDouble() != a.AsDouble()) ||
                     (b.type() == ValueType::kDouble && b.AsDouble() != b.AsDouble());
    if (TypeRank(a.type()) == TypeRank(b.type()) && !nan) {
      EXPECT_EQ(matches("$lt"), Compare(a, b) < 0) << context;
      EXPECT_EQ(matches("$gt"), Compare(a, b) > 0) << context;
    } else {
      EXPECT_FALSE(matches("$lt") || matches("$gt")) << context;
    }
  }
}

// Saying where a document matches is another walk: it may not come to another answer.
TEST_F(FilterPropertyTest, LocatingAgreesWithMatching) {
  static constexpr std::string_view kOperators[] = {"$eq",  "$ne",        "$gt",   "$lte",   "$in",
                                                    "$all", "$elemMatch", "$size", "$exists"};
  int located = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string document_bytes = random_.Document();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    const Predicate p(random_.Path(), kOperators[random_.Pick(std::size(kOperators))],
                      random_.Value());
    const Predicate q(random_.Path(), kOperators[random_.Pick(std::size(kOperators))],
                      random_.Value());
    const std::string bytes = Combine(random_.Pick(2) == 0 ? "$and" : "$or", {p.view(), q.view()});
    const absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(bytes));
    if (!filter.ok()) continue;
    std::optional<std::size_t> position;
    EXPECT_EQ(filter->Matches(document), filter->Matches(document, &position))
        << ToShellText(ValueView::FromTrusted(bytes)) << " on " << ToShellText(document);
    located += position.has_value() ? 1 : 0;
  }
  EXPECT_GT(located, 0);
}

// Long lists are searched, short ones scanned: the answer may not depend on it.
TEST_F(FilterPropertyTest, LongListsAreUnionsOfShortOnes) {
  for (int i = 0; i < 1000; ++i) {
    const std::string document_bytes = random_.Document();
    const ValueView document = ValueView::FromTrusted(document_bytes);
    const std::string path = random_.Path();
    std::string list_bytes;
    Builder list(&list_bytes);
    list.StartArray();
    bool any = false;
    for (int j = 0; j < 12; ++j) {
      const std::string value = random_.Value(1);
      list.Raw(ValueView::FromTrusted(value));
      any = any || Run(Predicate(path, "$eq", value).view(), document);
    }
    list.EndArray();
    EXPECT_EQ(any, Run(Predicate(path, "$in", list_bytes).view(), document))
        << path << " " << ToShellText(ValueView::FromTrusted(list_bytes)) << " on "
        << ToShellText(document);
  }
}

// Whatever a filter on _id matches is among its candidates.
TEST_F(FilterPropertyTest, IdCandidatesAreComplete) {
  for (int i = 0; i < 3000; ++i) {
    const std::string id_bytes = random_.Value(0);
    const ValueView id = ValueView::FromTrusted(id_bytes);
    const absl::StatusOr<std::string> encoded = EncodeId(id);
    if (!encoded.ok()) continue;
    std::string document_bytes;
    Builder(&document_bytes).StartDocument().Key("_id").Raw(id).EndDocument();
    const Predicate one("_id", "$eq", random_.Value(0));
    const Predicate two("_id", random_.Pick(2) == 0 ? "$eq" : "$lte", random_.Value(0));
    for (const std::string_view op : {"$and", "$or"}) {
      const std::string bytes = Combine(op, {one.view(), two.view()});
      const absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(bytes));
      ASSERT_TRUE(filter.ok());
      if (!filter->Matches(ValueView::FromTrusted(document_bytes))) continue;
      if (!filter->id_candidates().has_value()) continue;
      const std::vector<std::string>& ids = *filter->id_candidates();
      EXPECT_NE(std::find(ids.begin(), ids.end(), *encoded), ids.end())
          << ToShellText(ValueView::FromTrusted(bytes)) << " " << ToShellText(id);
    }
  }
}

}  // namespace
}  // namespace alos
