// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/pipeline.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/internal/random_document.h"
#include "alos/query/internal/shell_text.h"
#include "alos/query/sort.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::RandomDocuments;
using query_internal::ShellDocument;
using query_internal::ToShellText;

// Runs a pipeline over the elements of an array as the engine would: the source applies the leading
// $match. `pushed` counts the documents the source was asked for.
std::string Result(std::string_view stages, std::string_view documents, int* pushed = nullptr) {
  const absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(ShellDocument(stages).view());
  if (!pipeline.ok()) return std::string(pipeline.status().message());
  const ShellDocument array(documents);
  std::string text;
  const absl::Status status = pipeline->Run(
      [&](absl::FunctionRef<bool(ValueView)> push) {
        for (const ValueView document : array.view().elements()) {
          const Filter* match = pipeline->leading_match();
          if (match != nullptr && !match->Matches(document)) continue;
          if (pushed != nullptr) ++*pushed;
          if (!push(document)) break;
        }
      },
      [&](ValueView document) {
        absl::StrAppend(&text, text.empty() ? "" : " ", ToShellText(document));
        return true;
      });
  return status.ok() ? text : std::string(status.message());
}

constexpr std::string_view kPeople =
    "[{n: 'Ada', a: 36}, {n: 'Bob', a: 20}, {n: 'Cyd', a: 50}, {n: 'Dan', a: 20}, {n: 'Eve', a: "
    "41}]";

TEST(PipelineTest, StreamsThroughStages) {
  EXPECT_EQ(Result("[]", "[{a: 1}, {a: 2}]"), "{a: 1} {a: 2}");
  EXPECT_EQ(Result("[{$match: {a: {$gt: 30}}}, {$project: {n: 1}}]", kPeople),
            "{n: 'Ada'} {n: 'Cyd'} {n: 'Eve'}");
  EXPECT_EQ(Result("[{$skip: 1}, {$limit: 2}]", "[{a: 1}, {a: 2}, {a: 3}, {a: 4}]"),
            "{a: 2} {a: 3}");
  EXPECT_EQ(Result("[{$limit: 2}, {$skip: 1}]", "[{a: 1}, {a: 2}, {a: 3}, {a: 4}]"), "{a: 2}");
  EXPECT_EQ(Result("[{$skip: 9}]", "[{a: 1}]"), "");
  EXPECT_EQ(Result("[{$limit: 1}, {$match: {a: 2}}]", "[{a: 1}, {a: 2}]"), "");
  EXPECT_EQ(Result("[{$project: {b: 0}}, {$match: {b: {$exists: true}}}]", "[{a: 1, b: 2}]"), "");
  EXPECT_EQ(Result("[{$unset: 'b'}]", "[{a: 1, b: 2}]"), "{a: 1}");
  EXPECT_EQ(Result("[{$unset: ['b', 'c.d']}]", "[{a: 1, b: 2, c: {d: 1, e: 2}}]"),
            "{a: 1, c: {e: 2}}");
  EXPECT_EQ(Result("[{$project: {a: 1}}, {$project: {a: 0}}]", "[{a: 1, b: 2}]"), "{}");
}

TEST(PipelineTest, Sorts) {
  EXPECT_EQ(Result("[{$sort: {a: 1, n: -1}}, {$project: {n: 1}}]", kPeople),
            "{n: 'Dan'} {n: 'Bob'} {n: 'Ada'} {n: 'Eve'} {n: 'Cyd'}");
  EXPECT_EQ(Result("[{$sort: {a: -1}}, {$limit: 2}, {$project: {n: 1}}]", kPeople),
            "{n: 'Cyd'} {n: 'Eve'}");
  EXPECT_EQ(
      Result("[{$sort: {a: 1}}, {$skip: 1}, {$skip: 1}, {$limit: 2}, {$project: {n: 1}}]", kPeople),
      "{n: 'Ada'} {n: 'Eve'}");
  EXPECT_EQ(Result("[{$sort: {a: 1}}, {$match: {n: {$ne: 'Bob'}}}, {$limit: 1}]", kPeople),
            "{n: 'Dan', a: 20}");
  EXPECT_EQ(
      Result("[{$sort: {a: 1}}, {$limit: 3}, {$sort: {n: -1}}, {$limit: 2}, {$project: {n: 1}}]",
             kPeople),
      "{n: 'Dan'} {n: 'Bob'}");
  EXPECT_EQ(Result("[{$limit: 2}, {$sort: {a: 1}}]", kPeople),
            "{n: 'Bob', a: 20} {n: 'Ada', a: 36}");
}

TEST(PipelineTest, Counts) {
  EXPECT_EQ(Result("[{$count: 'n'}]", kPeople), "{n: 5}");
  EXPECT_EQ(Result("[{$match: {a: 20}}, {$count: 'n'}]", kPeople), "{n: 2}");
  EXPECT_EQ(Result("[{$match: {a: 99}}, {$count: 'n'}]", kPeople), "");
  EXPECT_EQ(Result("[{$sort: {a: 1}}, {$limit: 3}, {$count: 'n'}, {$project: {x: 1}}]", kPeople),
            "{}");
  EXPECT_EQ(Result("[{$count: 'n'}, {$count: 'm'}]", kPeople), "{m: 1}");
  EXPECT_EQ(Result("[{$count: 'n'}, {$match: {n: 5}}]", kPeople), "{n: 5}");
}

TEST(PipelineTest, LeadingMatchIsLeftToTheSource) {
  const Pipeline pipeline =
      *Pipeline::Compile(ShellDocument("[{$match: {_id: 5}}, {$match: {a: 1}}]").view());
  ASSERT_NE(pipeline.leading_match(), nullptr);
  EXPECT_TRUE(pipeline.leading_match()->id_candidates().has_value());
  EXPECT_EQ(
      Pipeline::Compile(ShellDocument("[{$limit: 1}, {$match: {a: 1}}]").view())->leading_match(),
      nullptr);
  EXPECT_EQ(Result("[{$match: {a: 20}}, {$match: {n: 'Dan'}}]", kPeople), "{n: 'Dan', a: 20}");
}

TEST(PipelineTest, SourceIsStoppedWhenTheResultIsComplete) {
  int pushed = 0;
  EXPECT_EQ(Result("[{$limit: 2}]", kPeople, &pushed), "{n: 'Ada', a: 36} {n: 'Bob', a: 20}");
  EXPECT_EQ(pushed, 2);
  pushed = 0;
  Result("[{$limit: 2}, {$count: 'n'}]", kPeople, &pushed);
  EXPECT_EQ(pushed, 2);
  pushed = 0;
  Result("[{$sort: {a: 1}}, {$limit: 2}]", kPeople, &pushed);
  EXPECT_EQ(pushed, 5);
}

TEST(PipelineTest, SinkMayStop) {
  for (const std::string_view stages : {"[]", "[{$sort: {a: 1}}]", "[{$project: {a: 1}}]"}) {
    const Pipeline pipeline = *Pipeline::Compile(ShellDocument(stages).view());
    const ShellDocument array(kPeople);
    int seen = 0;
    EXPECT_TRUE(pipeline
                    .Run(
                        [&](absl::FunctionRef<bool(ValueView)> push) {
                          for (const ValueView document : array.view().elements()) {
                            if (!push(document)) return;
                          }
                        },
                        [&](ValueView) { return ++seen < 2; })
                    .ok());
    EXPECT_EQ(seen, 2) << stages;
  }
}

TEST(PipelineTest, ErrorsOfTheSourceEndTheRun) {
  const Pipeline pipeline = *Pipeline::Compile(ShellDocument("[{$count: 'n'}]").view());
  int seen = 0;
  const absl::Status status = pipeline.Run(
      [](absl::FunctionRef<bool(ValueView)> push) -> absl::Status {
        push(ShellDocument("{a: 1}").view());
        return absl::DataLossError("bad record");
      },
      [&](ValueView) {
        ++seen;
        return true;
      });
  EXPECT_EQ(status, absl::DataLossError("bad record"));
  EXPECT_EQ(seen, 0);
}

TEST(PipelineTest, SortMemoryIsLimited) {
  const ShellDocument document(absl::StrCat("{a: '", std::string(1000, 'x'), "'}"));
  const auto run = [&](std::string_view stages) {
    const Pipeline pipeline = *Pipeline::Compile(ShellDocument(stages).view());
    PipelineLimits limits;
    limits.stage_memory_bytes_max = 50'000;
    int pushed = 0;
    const absl::Status status = pipeline.Run(
        [&](absl::FunctionRef<bool(ValueView)> push) {
          for (int i = 0; i < 1000; ++i, ++pushed) {
            if (!push(document.view())) return;
          }
        },
        [](ValueView) { return true; }, limits);
    EXPECT_EQ(status.ok(), pushed == 1000) << "the source is stopped by an error only";
    return status;
  };
  const absl::Status status = run("[{$skip: 1}, {$sort: {a: 1}}]");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "$sort (stage 2)")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "50000")) << status;
  EXPECT_TRUE(run("[{$sort: {a: 1}}, {$skip: 10}, {$limit: 10}]").ok());
}

TEST(PipelineTest, ProjectsComputedFields) {
  EXPECT_EQ(Result("[{$project: {_id: 0, n: 1, twice: {$multiply: ['$a', 2]}}}]",
                   "[{_id: 1, n: 'Ada', a: 36}]"),
            "{n: 'Ada', twice: 72}");
  EXPECT_EQ(Result("[{$project: {x: '$a.b', y: {z: '$c', k: {$literal: 1}}}}]",
                   "[{_id: 1, a: {b: 5}, c: 6}]"),
            "{_id: 1, x: 5, y: {z: 6, k: 1}}");
  EXPECT_EQ(Result("[{$project: {a: {b: 1}, 'c.d': 1}}]",
                   "[{_id: 1, c: {d: 2, e: 3}, a: [{b: 1, x: 2}, 7]}]"),
            "{_id: 1, c: {d: 2}, a: [{b: 1}]}");
  EXPECT_EQ(Result("[{$project: {'a.c': '$x'}}]", "[{x: 5, a: [{b: 1}, 7]}]"),
            "{a: [{c: 5}, {c: 5}]}");
  EXPECT_EQ(Result("[{$project: {a: 0, 'b.c': 0}}]", "[{_id: 1, a: 1, b: [{c: 1, d: 2}, 3]}]"),
            "{_id: 1, b: [{d: 2}, 3]}");
  EXPECT_EQ(Result("[{$project: {_id: 0}}]", "[{_id: 1, a: 1}]"), "{a: 1}");
  EXPECT_EQ(Result("[{$project: {_id: 1}}]", "[{a: 1, _id: 1}]"), "{_id: 1}");
  EXPECT_EQ(Result("[{$project: {a: '$$REMOVE', b: '$missing', c: 1}}]", "[{a: 1, c: 2}]"),
            "{c: 2}");
  // An included field keeps its place, a computed one comes last.
  EXPECT_EQ(Result("[{$project: {b: {$add: ['$b', 1]}, a: 1}}]", "[{b: 1, a: 2}]"), "{a: 2, b: 2}");
  EXPECT_EQ(Result("[{$project: {l: ['$a', '$b']}}]", "[{a: 1}]"), "{l: [1, null]}");
}

TEST(PipelineTest, AddsFields) {
  EXPECT_EQ(Result("[{$addFields: {b: {$add: ['$a', 1]}, 'c.d': '$a'}}]", "[{a: 1, b: 9, x: 0}]"),
            "{a: 1, b: 2, x: 0, c: {d: 1}}");
  EXPECT_EQ(Result("[{$set: {'s.u': 2}}]", "[{s: {t: 1}}, {s: 5}, {s: [{t: 1}, 3]}]"),
            "{s: {t: 1, u: 2}} {s: {u: 2}} {s: [{t: 1, u: 2}, {u: 2}]}");
  EXPECT_EQ(Result("[{$set: {a: '$none', b: '$$REMOVE'}}]", "[{a: 1, b: 2, c: 3}]"), "{c: 3}");
  EXPECT_EQ(Result("[{$set: {a: '$b', b: '$a'}}]", "[{a: 1, b: 2}]"), "{a: 2, b: 1}");
  EXPECT_EQ(Result("[{$unset: ['a', 'b.c']}]", "[{a: 1, b: {c: 1, d: 2}}]"), "{b: {d: 2}}");
}

TEST(PipelineTest, ReplacesTheRoot) {
  EXPECT_EQ(Result("[{$replaceRoot: {newRoot: '$a'}}]", "[{a: {b: 1}}]"), "{b: 1}");
  EXPECT_EQ(Result("[{$replaceWith: {$mergeObjects: [{x: 0}, '$a']}}]", "[{a: {b: 1}}, {}]"),
            "{x: 0, b: 1} {x: 0}");
  EXPECT_TRUE(absl::StrContains(Result("[{$replaceWith: '$a'}]", "[{a: 5}]"),
                                "$replaceWith (stage 1): the new root must be a document"));
}

TEST(PipelineTest, Redacts) {
  EXPECT_EQ(Result("[{$redact: {$cond: {if: {$gt: [{$size: {$setIntersection: ['$tags', ['G', "
                   "'S']]}}, 0]}, then: '$$DESCEND', else: '$$PRUNE'}}}]",
                   "[{_id: 1, tags: ['G'], parts: [{t: 1, tags: ['S']}, {t: 2, tags: ['X']}], in: "
                   "{tags: ['Y']}}]"),
            "{_id: 1, tags: ['G'], parts: [{t: 1, tags: ['S']}]}");
  EXPECT_EQ(Result("[{$redact: '$$KEEP'}]", "[{a: {b: 1}}]"), "{a: {b: 1}}");
  EXPECT_TRUE(absl::StrContains(Result("[{$redact: 'x'}]", "[{}]"), "$$KEEP"));
}

TEST(PipelineTest, Unwinds) {
  constexpr std::string_view kClothes =
      "[{_id: 1, s: ['S', 'M']}, {_id: 2, s: []}, {_id: 3, s: 'M'}, {_id: 4}, {_id: 5, s: null}]";
  EXPECT_EQ(Result("[{$unwind: '$s'}]", kClothes),
            "{_id: 1, s: 'S'} {_id: 1, s: 'M'} {_id: 3, s: 'M'}");
  EXPECT_EQ(Result("[{$unwind: {path: '$s', includeArrayIndex: 'i', preserveNullAndEmptyArrays: "
                   "true}}]",
                   kClothes),
            "{_id: 1, s: 'S', i: 0} {_id: 1, s: 'M', i: 1} {_id: 2, i: null} {_id: 3, s: 'M', i: "
            "null} {_id: 4, i: null} {_id: 5, s: null, i: null}");
  EXPECT_EQ(Result("[{$unwind: '$a.b'}]", "[{a: {b: [1, 2], c: 3}}]"),
            "{a: {b: 1, c: 3}} {a: {b: 2, c: 3}}");
  int pushed = 0;
  EXPECT_EQ(Result("[{$unwind: '$s'}, {$limit: 1}]", kClothes, &pushed), "{_id: 1, s: 'S'}");
  EXPECT_EQ(pushed, 1);
}

constexpr std::string_view kSales =
    "[{_id: 1, item: 'abc', price: 10, quantity: 2}, {_id: 2, item: 'jkl', price: 20, quantity: "
    "1}, {_id: 3, item: 'xyz', price: 5, quantity: 10}, {_id: 4, item: 'abc', price: 10.0, "
    "quantity: 10}, {_id: 5, item: 'xyz', price: 5, quantity: 20.5}]";

TEST(PipelineTest, Groups) {
  EXPECT_EQ(Result("[{$group: {_id: null, n: {$count: {}}, sum: {$sum: '$quantity'}, avg: {$avg: "
                   "'$price'}}}]",
                   kSales),
            "{_id: null, n: 5, sum: 43.5, avg: 10.0}");
  EXPECT_EQ(Result("[{$group: {_id: '$item', total: {$sum: {$multiply: ['$price', "
                   "'$quantity']}}}}, {$match: {total: {$gte: 100}}}]",
                   kSales),
            "{_id: 'abc', total: 120.0} {_id: 'xyz', total: 152.5}");
  // 10 and 10.0 are one key; missing and null are.
  EXPECT_EQ(Result("[{$group: {_id: '$price', n: {$sum: 1}}}]", kSales),
            "{_id: 10, n: 2} {_id: 20, n: 1} {_id: 5, n: 2}");
  EXPECT_EQ(Result("[{$group: {_id: '$k', n: {$sum: 1}}}]",
                   "[{}, {k: null}, {k: [1]}, {k: "
                   "[1.0]}]"),
            "{_id: null, n: 2} {_id: [1], n: 2}");
  EXPECT_EQ(Result("[{$group: {_id: {i: '$item', p: '$price'}}}]", kSales),
            "{_id: {i: 'abc', p: 10}} {_id: {i: 'jkl', p: 20}} {_id: {i: 'xyz', p: 5}}");
  EXPECT_EQ(Result("[{$group: {_id: null, n: {$sum: 1}}}]", "[]"), "");
  EXPECT_EQ(Result("[{$sortByCount: '$item'}, {$limit: 2}]", kSales),
            "{_id: 'abc', count: 2} {_id: 'xyz', count: 2}");
}

TEST(PipelineTest, Accumulators) {
  const auto one = [](std::string_view accumulator, std::string_view documents) {
    return Result(
        absl::StrCat("[{$group: {_id: null, r: ", accumulator, "}}, {$project: {_id: 0}}]"),
        documents);
  };
  constexpr std::string_view kMixed =
      "[{v: 3, t: 'c'}, {v: 'x'}, {v: 1, t: 'a'}, {v: null}, {}, {v: 2, t: 'b'}]";
  EXPECT_EQ(one("{$sum: '$v'}", kMixed), "{r: 6}");
  EXPECT_EQ(one("{$sum: '$none'}", kMixed), "{r: 0}");
  EXPECT_EQ(one("{$sum: 2.5}", kMixed), "{r: 15.0}");
  EXPECT_EQ(one("{$sum: '$v'}", "[{v: 9223372036854775807}, {v: 1}]"), "{r: 9.22337e+18}");
  EXPECT_EQ(one("{$sum: '$v'}", "[{v: 9223372036854775807}, {v: 1}, {v: -2}]"),
            "{r: 9223372036854775806}");
  EXPECT_EQ(one("{$sum: '$v'}", "[{v: 1e16}, {v: 1.0}, {v: -1e16}]"), "{r: 1.0}");
  EXPECT_EQ(one("{$avg: '$v'}", kMixed), "{r: 2.0}");
  EXPECT_EQ(one("{$avg: '$none'}", kMixed), "{r: null}");
  EXPECT_EQ(one("{$min: '$v'}", kMixed), "{r: 1}");
  EXPECT_EQ(one("{$max: '$v'}", kMixed), "{r: 'x'}");
  EXPECT_EQ(one("{$max: '$none'}", kMixed), "{r: null}");
  EXPECT_EQ(one("{$first: '$v'}", kMixed), "{r: 3}");
  EXPECT_EQ(one("{$last: '$t'}", kMixed), "{r: 'b'}");
  EXPECT_EQ(one("{$first: '$t'}", "[{}, {t: 1}]"), "{r: null}");
  EXPECT_EQ(one("{$push: '$v'}", kMixed), "{r: [3, 'x', 1, null, 2]}");
  EXPECT_EQ(one("{$push: {v: '$v'}}", "[{v: 1}, {}]"), "{r: [{v: 1}, {}]}");
  EXPECT_EQ(one("{$addToSet: '$v'}", "[{v: 1}, {v: 1.0}, {v: [1]}, {}, {v: 2}, {v: [1]}]"),
            "{r: [1, [1], 2]}");
  EXPECT_EQ(one("{$stdDevPop: '$v'}", "[{v: 2}, {v: 4}, {v: 'x'}, {v: 6.0}, {v: 8}]"),
            "{r: 2.23607}");
  EXPECT_EQ(one("{$stdDevSamp: '$v'}", "[{v: 1}]"), "{r: null}");
  EXPECT_EQ(one("{$stdDevSamp: '$v'}", "[{v: 1}, {v: 3}]"), "{r: 1.41421}");
  EXPECT_EQ(one("{$mergeObjects: '$o'}", "[{o: {a: 1, b: 2}}, {o: null}, {}, {o: {b: 3, c: 4}}]"),
            "{r: {a: 1, b: 3, c: 4}}");
  EXPECT_EQ(one("{$top: {sortBy: {v: -1}, output: ['$v', '$t']}}",
                "[{v: 1, t: 'a'}, {v: 5, t: "
                "'b'}, {v: 5, t: 'c'}]"),
            "{r: [5, 'b']}");
  EXPECT_EQ(one("{$bottom: {sortBy: {v: -1}, output: '$t'}}", "[{v: 1, t: 'a'}, {v: 5, t: 'b'}]"),
            "{r: 'a'}");
  constexpr std::string_view kScores =
      "[{p: 'a', s: 31}, {p: 'b', s: 33}, {p: 'c', s: 99}, {p: "
      "'d', s: 1}, {}]";
  EXPECT_EQ(one("{$topN: {n: 2, sortBy: {s: -1}, output: '$p'}}", kScores), "{r: ['c', 'b']}");
  EXPECT_EQ(one("{$topN: {n: 9, sortBy: {s: -1}, output: '$p'}}", kScores),
            "{r: ['c', 'b', 'a', 'd', null]}");
  EXPECT_EQ(one("{$bottomN: {n: 3, sortBy: {s: -1}, output: '$p'}}", kScores),
            "{r: ['a', 'd', null]}");
  EXPECT_EQ(one("{$firstN: {n: 2, input: '$s'}}", kScores), "{r: [31, 33]}");
  EXPECT_EQ(one("{$lastN: {n: 3, input: '$s'}}", kScores), "{r: [99, 1, null]}");
  EXPECT_EQ(one("{$maxN: {n: 2, input: '$s'}}", kScores), "{r: [99, 33]}");
  EXPECT_EQ(one("{$minN: {n: {$add: [1, 1]}, input: '$s'}}", kScores), "{r: [1, 31]}");
  EXPECT_EQ(one("{$median: {input: '$s', method: 'approximate'}}", kScores), "{r: 31.0}");
  EXPECT_EQ(one("{$percentile: {input: '$s', p: [0.95, 0, 0.5], method: 'approximate'}}", kScores),
            "{r: [99.0, 1.0, 31.0]}");
  EXPECT_EQ(one("{$percentile: {input: '$no', p: [0.5], method: 'approximate'}}", kScores),
            "{r: [null]}");
  // n may depend on the group.
  EXPECT_EQ(Result("[{$group: {_id: '$g', r: {$firstN: {n: '$_id', input: '$v'}}}}]",
                   "[{g: 1, v: 1}, {g: 2, v: 2}, {g: 2, v: 3}, {g: 1, v: 4}]"),
            "{_id: 1, r: [1]} {_id: 2, r: [2, 3]}");
  EXPECT_TRUE(absl::StrContains(one("{$mergeObjects: '$v'}", "[{v: 5}]"), "$mergeObjects"));
  EXPECT_TRUE(absl::StrContains(one("{$firstN: {n: '$x', input: '$v'}}", "[{v: 5}]"),
                                "n must be a whole number above 0"));
}

TEST(PipelineTest, Buckets) {
  constexpr std::string_view kArt =
      "[{y: 1902, p: 76}, {y: 1926, p: 74}, {y: 1893, p: null}, {y: 1931, p: 99}, {y: 1850}]";
  EXPECT_EQ(Result("[{$bucket: {groupBy: '$y', boundaries: [1900, 1920, 1950], default: 'Other', "
                   "output: {n: {$sum: 1}, p: {$push: '$p'}}}}]",
                   kArt),
            "{_id: 1900, n: 1, p: [76]} {_id: 1920, n: 2, p: [74, 99]} {_id: 'Other', n: 2, p: "
            "[null]}");
  EXPECT_EQ(Result("[{$bucket: {groupBy: '$y', boundaries: [1800, 1900, 2000]}}]", kArt),
            "{_id: 1800, count: 2} {_id: 1900, count: 3}");
  EXPECT_TRUE(absl::StrContains(
      Result("[{$bucket: {groupBy: '$y', boundaries: [1900, 1950]}}]", kArt), "'default'"));
  EXPECT_EQ(Result("[{$bucketAuto: {groupBy: '$y', buckets: 2}}]", kArt),
            "{_id: {min: 1850, max: 1926}, count: 3} {_id: {min: 1926, max: 1931}, count: 2}");
  EXPECT_EQ(Result("[{$bucketAuto: {groupBy: '$a', buckets: 3, output: {s: {$sum: '$a'}}}}]",
                   "[{a: 1}, {a: 1}, {a: 1}, {a: 2}]"),
            "{_id: {min: 1, max: 2}, s: 3} {_id: {min: 2, max: 2}, s: 2}");
}

TEST(PipelineTest, Facets) {
  EXPECT_EQ(Result("[{$facet: {all: [{$count: 'n'}], first: [{$limit: 1}, {$project: {n: 1}}], "
                   "none: [{$match: {a: 0}}]}}]",
                   kPeople),
            "{all: [{n: 5}], first: [{n: 'Ada'}], none: []}");
  EXPECT_EQ(Result("[{$facet: {a: [], b: [{$group: {_id: '$x'}}]}}]", "[]"), "{a: [], b: []}");
  int pushed = 0;
  Result("[{$facet: {a: [{$limit: 1}], b: [{$limit: 2}]}}]", kPeople, &pushed);
  EXPECT_EQ(pushed, 2);
}

TEST(PipelineTest, Samples) {
  EXPECT_EQ(Result("[{$sample: {size: 9}}, {$sort: {n: 1}}, {$project: {n: 1}}]", kPeople),
            "{n: 'Ada'} {n: 'Bob'} {n: 'Cyd'} {n: 'Dan'} {n: 'Eve'}");
  EXPECT_EQ(Result("[{$sample: {size: 2}}, {$count: 'n'}]", kPeople), "{n: 2}");
}

TEST(PipelineTest, MakesDocuments) {
  EXPECT_EQ(
      Result("[{$documents: [{a: 1}, {a: {$add: [1, 1]}}]}, {$match: {a: {$gt: 1}}}]", "[{}]"),
      "{a: 2}");
  EXPECT_TRUE(absl::StrContains(Result("[{$documents: [1]}]", "[]"), "array of documents"));
}

constexpr std::string_view kCakes =
    "[{_id: 0, t: 'c', y: 2020, q: 162}, {_id: 1, t: 's', y: 2019, q: 104}, {_id: 2, t: 'c', y: "
    "2019, q: 120}, {_id: 3, t: 's', y: 2021, q: 145}, {_id: 4, t: 's', y: 2020, q: 140}, {_id: 5, "
    "t: 'c', y: 2021, q: 134}]";

std::string Windowed(std::string_view function, std::string_view documents = kCakes,
                     std::string_view partition = "partitionBy: '$t', ") {
  return Result(absl::StrCat("[{$setWindowFields: {", partition, "sortBy: {y: 1}, output: {r: ",
                             function, "}}}, {$project: {_id: 0, r: 1}}]"),
                documents);
}

TEST(PipelineTest, WindowsByDocuments) {
  EXPECT_EQ(Windowed("{$sum: '$q', window: {documents: ['unbounded', 'current']}}"),
            "{r: 120} {r: 282} {r: 416} {r: 104} {r: 244} {r: 389}");
  EXPECT_EQ(Windowed("{$avg: '$q', window: {documents: [-1, 0]}}"),
            "{r: 120.0} {r: 141.0} {r: 148.0} {r: 104.0} {r: 122.0} {r: 142.5}");
  EXPECT_EQ(Windowed("{$max: '$q'}"), "{r: 162} {r: 162} {r: 162} {r: 145} {r: 145} {r: 145}");
  EXPECT_EQ(Windowed("{$min: '$q', window: {documents: [0, 1]}}"),
            "{r: 120} {r: 134} {r: 134} {r: 104} {r: 140} {r: 145}");
  EXPECT_EQ(Windowed("{$push: '$y', window: {documents: [1, 'unbounded']}}"),
            "{r: [2020, 2021]} {r: [2021]} {r: []} {r: [2020, 2021]} {r: [2021]} {r: []}");
  EXPECT_EQ(Windowed("{$addToSet: '$t', window: {documents: [-1, 1]}}"),
            "{r: ['c']} {r: ['c']} {r: ['c']} {r: ['s']} {r: ['s']} {r: ['s']}");
  EXPECT_EQ(Windowed("{$first: '$q', window: {documents: [-1, 1]}}"),
            "{r: 120} {r: 120} {r: 162} {r: 104} {r: 104} {r: 140}");
  EXPECT_EQ(Windowed("{$last: '$q', window: {documents: [1, 1]}}"),
            "{r: 162} {r: 134} {r: null} {r: 140} {r: 145} {r: null}");
  EXPECT_EQ(Windowed("{$count: {}, window: {documents: [-2, -1]}}"),
            "{r: 0} {r: 1} {r: 2} {r: 0} {r: 1} {r: 2}");
  EXPECT_EQ(Windowed("{$topN: {n: 1, sortBy: {q: -1}, output: '$y'}, window: {documents: [-1, "
                     "0]}}"),
            "{r: [2019]} {r: [2020]} {r: [2020]} {r: [2019]} {r: [2020]} {r: [2021]}");
  EXPECT_EQ(Windowed("{$stdDevSamp: '$q', window: {documents: [-1, 0]}}", kCakes, ""),
            "{r: null} {r: 11.3137} {r: 29.6985} {r: 15.5563} {r: 3.53553} {r: 7.77817}");
  EXPECT_EQ(Windowed("{$covariancePop: ['$y', '$q'], window: {documents: ['unbounded', "
                     "'current']}}"),
            "{r: 0.0} {r: 10.5} {r: 4.66667} {r: 0.0} {r: 9.0} {r: 13.6667}");
  EXPECT_EQ(Windowed("{$covarianceSamp: ['$y', '$q'], window: {documents: [-1, 0]}}"),
            "{r: null} {r: 21.0} {r: -14.0} {r: null} {r: 18.0} {r: 2.5}");
}

TEST(PipelineTest, WindowsByRange) {
  constexpr std::string_view kNumbers =
      "[{y: 1, q: 1}, {y: 2, q: 2}, {y: 2, q: 3}, {y: 5.5, q: "
      "4}, {y: 6, q: 5}]";
  EXPECT_EQ(Windowed("{$sum: '$q', window: {range: [-1, 0]}}", kNumbers, ""),
            "{r: 1} {r: 6} {r: 6} {r: 4} {r: 9}");
  EXPECT_EQ(Windowed("{$sum: '$q', window: {range: ['unbounded', 'current']}}", kNumbers, ""),
            "{r: 1} {r: 6} {r: 6} {r: 10} {r: 15}");
  // A month, from 2024-01-31: to 2024-02-29.
  EXPECT_EQ(Windowed("{$push: '$q', window: {range: [0, 1], unit: 'month'}}",
                     "[{y: time(1706659200), q: 1}, {y: time(1709164800), q: 2}, {y: "
                     "time(1709251200), q: 3}]",
                     ""),
            "{r: [1, 2]} {r: [2, 3]} {r: [3]}");
  EXPECT_TRUE(absl::StrContains(Windowed("{$sum: 1, window: {range: [-1, 0]}}", "[{y: 'x'}]", ""),
                                "must be a number"));
}

TEST(PipelineTest, WindowFunctions) {
  constexpr std::string_view kTied = "[{y: 3, q: 1}, {y: 1}, {y: 2, q: 5}, {y: 2, q: null}]";
  EXPECT_EQ(Windowed("{$rank: {}}", kTied, ""), "{r: 1} {r: 2} {r: 2} {r: 4}");
  EXPECT_EQ(Windowed("{$denseRank: {}}", kTied, ""), "{r: 1} {r: 2} {r: 2} {r: 3}");
  EXPECT_EQ(Windowed("{$documentNumber: {}}", kTied, ""), "{r: 1} {r: 2} {r: 3} {r: 4}");
  EXPECT_EQ(Windowed("{$shift: {output: '$q', by: 1, default: 'none'}}"),
            "{r: 162} {r: 134} {r: 'none'} {r: 140} {r: 145} {r: 'none'}");
  EXPECT_EQ(Windowed("{$shift: {output: '$q', by: -1}}"),
            "{r: null} {r: 120} {r: 162} {r: null} {r: 104} {r: 140}");
  EXPECT_EQ(Windowed("{$locf: '$q'}", kTied, ""), "{r: null} {r: 5} {r: 5} {r: 1}");
  EXPECT_EQ(Windowed("{$linearFill: '$q'}",
                     "[{y: 0}, {y: 1, q: 10}, {y: 2}, {y: 4, q: null}, {y: 5, q: 50}, {y: 6}]", ""),
            "{r: null} {r: 10} {r: 20.0} {r: 40.0} {r: 50} {r: null}");
  EXPECT_EQ(Windowed("{$expMovingAvg: {input: '$q', N: 2}}",
                     "[{y: 1, q: 13.0}, {y: 2, q: 15.4}, {y: 3}, {y: 4, q: 12.0}]", ""),
            "{r: 13.0} {r: 14.6} {r: 14.6} {r: 12.8667}");
  EXPECT_EQ(Windowed("{$expMovingAvg: {input: '$q', alpha: 0.75}}",
                     "[{y: 1, q: 13.0}, {y: 2, q: 15.4}]", ""),
            "{r: 13.0} {r: 14.8}");
  constexpr std::string_view kMiles =
      "[{y: time(0), q: 10}, {y: time(30), q: 11}, {y: time(60), "
      "q: 11.5}]";
  EXPECT_EQ(Windowed("{$derivative: {input: '$q', unit: 'hour'}, window: {range: [-30, 0], unit: "
                     "'second'}}",
                     kMiles, ""),
            "{r: null} {r: 120.0} {r: 60.0}");
  EXPECT_EQ(Windowed("{$integral: {input: '$q', unit: 'minute'}, window: {documents: "
                     "['unbounded', 'current']}}",
                     kMiles, ""),
            "{r: 0.0} {r: 5.25} {r: 10.875}");
}

TEST(PipelineTest, Densifies) {
  EXPECT_EQ(Result("[{$densify: {field: 'a', range: {step: 2, bounds: 'full'}}}]",
                   "[{a: 5, x: 1}, {a: 0}, {b: 1}]"),
            "{b: 1} {a: 0} {a: 2} {a: 4} {a: 5, x: 1}");
  EXPECT_EQ(Result("[{$densify: {field: 'a', partitionByFields: ['p'], range: {step: 1, bounds: "
                   "'partition'}}}]",
                   "[{p: 2, a: 1}, {p: 1, a: 1}, {p: 1, a: 3}]"),
            "{p: 1, a: 1} {p: 1, a: 2} {p: 1, a: 3} {p: 2, a: 1}");
  EXPECT_EQ(Result("[{$densify: {field: 'a', range: {step: 0.5, bounds: [0, 1.5]}}}]",
                   "[{a: 0.5}, {a: 7}]"),
            "{a: 0.0} {a: 0.5} {a: 1.0} {a: 7}");
  EXPECT_EQ(Result("[{$densify: {field: 'ts', range: {step: 1, unit: 'hour', bounds: "
                   "[time(0), time(7200)]}}}]",
                   "[{ts: time(3600)}]"),
            "{ts: time(0)} {ts: time(3600)}");
  EXPECT_TRUE(absl::StrContains(
      Result("[{$densify: {field: 'a', range: {step: 1, bounds: [0, 1000000]}}}]", "[{a: 0}]"),
      "500000"));
}

TEST(PipelineTest, Fills) {
  EXPECT_EQ(Result("[{$fill: {sortBy: {d: 1}, output: {a: {method: 'linear'}, b: {method: "
                   "'locf'}, c: {value: 'x'}}}}]",
                   "[{d: 1, a: 1, b: 'q', c: null}, {d: 2}, {d: 3, a: 5, c: 1}]"),
            "{d: 1, a: 1, b: 'q', c: 'x'} {d: 2, a: 3.0, b: 'q', c: 'x'} {d: 3, a: 5, c: 1, b: "
            "'q'}");
  EXPECT_EQ(Result("[{$fill: {partitionByFields: ['p'], sortBy: {d: 1}, output: {a: {method: "
                   "'locf'}}}}]",
                   "[{p: 1, d: 1, a: 1}, {p: 2, d: 2}, {p: 1, d: 3}]"),
            "{p: 1, d: 1, a: 1} {p: 1, d: 3, a: 1} {p: 2, d: 2, a: null}");
}

// What a planner is told.
TEST(PipelineTest, TellsPlannersHowItBegins) {
  const auto compile = [](std::string_view stages) {
    return *Pipeline::Compile(ShellDocument(stages).view());
  };
  const Pipeline matches = compile("[{$match: {a: 1}}, {$match: {b: 2}}, {$limit: 1}]");
  EXPECT_EQ(matches.first_stage(), 2u);
  EXPECT_TRUE(matches.leading_match()->Matches(ShellDocument("{a: 1, b: 2}").view()));
  EXPECT_FALSE(matches.leading_match()->Matches(ShellDocument("{a: 1}").view()));
  EXPECT_EQ(matches.leading_limit()->limit, 1u);

  const Pipeline sorted = compile(
      "[{$match: {a: 1}}, {$sort: {b: -1}}, {$skip: 2}, {$limit: 3}, "
      "{$project: {c: 1}}]");
  ASSERT_TRUE(sorted.leading_sort().has_value());
  EXPECT_EQ(sorted.leading_sort()->sort->path(0).ToString(), "b");
  EXPECT_EQ(sorted.leading_sort()->skip, 2u);
  EXPECT_EQ(sorted.leading_sort()->limit, 3u);
  EXPECT_EQ(sorted.leading_sort()->next_stage, 4u);
  EXPECT_EQ(*sorted.needed_fields(), (std::vector<std::string>{"_id", "b", "c"}));
  EXPECT_FALSE(sorted.leading_limit().has_value());

  const Pipeline grouped = compile(
      "[{$match: {a: 1}}, {$group: {_id: '$c.d', n: {$sum: 1}, m: "
      "{$avg: '$x'}, k: {$count: {}}}}, {$sort: {n: -1}}]");
  const GroupShape* shape = grouped.leading_group();
  ASSERT_NE(shape, nullptr);
  EXPECT_EQ(shape->key_kind, GroupShape::KeyKind::kPath);
  EXPECT_EQ(shape->keys[0].path, "c.d");
  ASSERT_EQ(shape->accumulators.size(), 3u);
  EXPECT_EQ(shape->accumulators[0].kind, GroupShape::Accumulator::Kind::kSumConstant);
  EXPECT_EQ(shape->accumulators[1].path, "x");
  EXPECT_EQ(shape->accumulators[2].kind, GroupShape::Accumulator::Kind::kCount);
  EXPECT_EQ(shape->next_stage, 2u);
  EXPECT_EQ(*grouped.needed_fields(), (std::vector<std::string>{"c", "x"}));
  std::string text;
  ASSERT_TRUE(grouped
                  .RunFrom(
                      shape->next_stage,
                      [](auto&& push) {
                        push(ShellDocument("{_id: 'a', n: 1}").view());
                        push(ShellDocument("{_id: 'b', n: 2}").view());
                      },
                      [&](ValueView document) {
                        text += ToShellText(document);
                        return true;
                      })
                  .ok());
  EXPECT_EQ(text, "{_id: 'b', n: 2}{_id: 'a', n: 1}");

  EXPECT_EQ(compile("[{$count: 'n'}]").leading_group()->key_kind, GroupShape::KeyKind::kConstant);
  EXPECT_EQ(compile("[{$sortByCount: '$a'}]").leading_group()->keys[0].path, "a");
  EXPECT_EQ(compile("[{$group: {_id: {x: '$a', y: '$b'}}}]").leading_group()->keys.size(), 2u);
  for (const std::string_view other :
       {"[{$group: {_id: {$toLower: '$a'}}}]", "[{$group: {_id: '$a', l: {$push: '$b'}}}]",
        "[{$group: {_id: '$a', l: {$sum: {$add: ['$b', 1]}}}}]", "[{$limit: 1}, {$count: 'n'}]",
        "[{$group: {_id: '$$NOW'}}]", "[{$bucketAuto: {groupBy: '$a', buckets: 2}}]"}) {
    EXPECT_EQ(compile(other).leading_group(), nullptr) << other;
  }
  EXPECT_FALSE(compile("[{$addFields: {a: 1}}]").needed_fields().has_value());
}

TEST(PipelineTest, EveryBlockingStageHasALimit) {
  for (const std::string_view stages : {
           "[{$group: {_id: '$_id'}}]",
           "[{$group: {_id: null, a: {$push: '$a'}}}]",
           "[{$group: {_id: null, a: {$addToSet: '$_id'}}}]",
           "[{$group: {_id: null, a: {$lastN: {n: 100000, input: '$a'}}}}]",
           "[{$group: {_id: null, a: {$topN: {n: 100000, sortBy: {a: 1}, output: '$a'}}}}]",
           "[{$bucketAuto: {groupBy: '$a', buckets: 2}}]",
           "[{$sample: {size: 100000}}]",
           "[{$facet: {a: []}}]",
           "[{$setWindowFields: {output: {n: {$sum: 1}}}}]",
           "[{$densify: {field: '_id', range: {step: 1, bounds: 'full'}}}]",
       }) {
    const Pipeline pipeline = *Pipeline::Compile(ShellDocument(stages).view());
    PipelineLimits limits;
    limits.stage_memory_bytes_max = 50'000;
    int pushed = 0;
    const absl::Status status = pipeline.Run(
        [&](absl::FunctionRef<bool(ValueView)> push) {
          for (; pushed < 10'000; ++pushed) {
            const ShellDocument document(
                absl::StrCat("{_id: ", pushed, ", a: '", std::string(100, 'x'), "'}"));
            if (!push(document.view())) return;
          }
        },
        [](ValueView) { return true; }, limits);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << stages << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "(stage 1)")) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), ";")) << "what to do: " << status;
    EXPECT_LT(pushed, 10'000) << stages;
  }
}

TEST(PipelineTest, ErrorsNameTheStage) {
  const struct {
    std::string_view stages;
    std::vector<std::string_view> parts;
  } cases[] = {
      {"{}", {"array of stages"}},
      {"[5]", {"stage 1", "one key", "5"}},
      {"[{$limit: 1, $skip: 1}]", {"stage 1", "one key"}},
      {"[{}]", {"stage 1", "one key"}},
      {"[{$geoNear: {}}]", {"$geoNear (stage 1) is not supported", "geospatial"}},
      {"[{$limit: 1}, {$changeStream: {}}]", {"$changeStream (stage 2) is not supported"}},
      {"[{$search: {}}]", {"$search", "not supported"}},
      {"[{$project: {a: 1, b: 0}}]", {"$project", "leave out"}},
      {"[{$project: {a: 0, b: '$c'}}]", {"$project", "leave out"}},
      {"[{$project: {a: 1, 'a.b': 1}}]", {"$project", "collides"}},
      {"[{$project: {a: {$foo: 1}}}]", {"$project", "'a'", "$foo"}},
      {"[{$addFields: {}}]", {"$addFields", "at least one"}},
      {"[{$set: {'a.': 1}}]", {"$set", "empty part"}},
      {"[{$group: {n: {$sum: 1}}}]", {"$group", "'_id' is missing"}},
      {"[{$group: {_id: 1, n: 5}}]", {"$group", "'n'", "accumulator"}},
      {"[{$group: {_id: 1, n: {$foo: 1}}}]", {"$group", "unknown accumulator '$foo'", "$sum"}},
      {"[{$group: {_id: 1, n: {$accumulator: {}}}}]", {"$accumulator", "JavaScript"}},
      {"[{$group: {_id: 1, 'a.b': {$sum: 1}}}]", {"$group", "dot"}},
      {"[{$group: {_id: 1, n: {$sum: [1, 2]}}}]", {"$sum", "one expression"}},
      {"[{$group: {_id: 1, n: {$topN: {n: 1, output: 1}}}}]", {"$topN", "'sortBy' is missing"}},
      {"[{$group: {_id: 1, n: {$firstN: {n: 0, input: 1}}}}]", {"$firstN", "above 0"}},
      {"[{$group: {_id: 1, n: {$percentile: {input: 1, p: [2], method: 'approximate'}}}}]",
       {"$percentile", "from 0 to 1"}},
      {"[{$bucket: {groupBy: '$a', boundaries: [1]}}]", {"$bucket", "two"}},
      {"[{$bucket: {groupBy: '$a', boundaries: [2, 1]}}]", {"$bucket", "ascend"}},
      {"[{$bucket: {groupBy: '$a', boundaries: [1, 'x']}}]", {"$bucket", "one type"}},
      {"[{$bucketAuto: {groupBy: '$a', buckets: 2, granularity: 'R5'}}]", {"granularity"}},
      {"[{$facet: {a: [{$facet: {b: []}}]}}]", {"$facet (stage 1)", "may not stand in a $facet"}},
      {"[{$facet: {a: [{$out: 'x'}]}}]", {"$out"}},
      {"[{$facet: {a: [{$documents: []}]}}]", {"$documents"}},
      {"[{$out: 'x'}, {$limit: 1}]", {"$out (stage 1)", "last"}},
      {"[{$merge: {into: 'x', whenMatched: 'foo'}}]", {"$merge", "\"foo\""}},
      {"[{$merge: {into: 'x', whenMatched: [{$group: {_id: 1}}]}}]", {"$merge", "$addFields"}},
      {"[{$limit: 1}, {$documents: []}]", {"$documents (stage 2)", "first"}},
      {"[{$lookup: {from: 'x', as: 'y'}}]", {"$lookup", "'pipeline'"}},
      {"[{$lookup: {from: 'x', localField: 'a', as: 'y'}}]", {"$lookup", "each other"}},
      {"[{$lookup: {from: 'x', pipeline: [{$out: 'z'}], as: 'y'}}]", {"$lookup", "$out"}},
      {"[{$lookup: {from: 'x', pipeline: [], as: 'y', foo: 1}}]", {"$lookup", "'foo'"}},
      {"[{$graphLookup: {from: 'x'}}]", {"$graphLookup", "connectFromField"}},
      {"[{$unionWith: 5}]", {"$unionWith", "5"}},
      {"[{$unwind: 'a'}]", {"$unwind", "'$'"}},
      {"[{$unwind: {path: '$a', foo: 1}}]", {"$unwind", "'foo'"}},
      {"[{$sample: {size: 0}}]", {"$sample", "0"}},
      {"[{$redact: '$$FOO'}]", {"$redact", "$$FOO"}},
      {"[{$replaceRoot: {}}]", {"$replaceRoot", "newRoot"}},
      {"[{$setWindowFields: {output: {r: {$rank: {}}}}}]", {"$rank", "sortBy"}},
      {"[{$setWindowFields: {output: {r: {$foo: {}}}}}]", {"unknown window operator '$foo'"}},
      {"[{$setWindowFields: {sortBy: {a: 1}, output: {r: {$sum: 1, window: {documents: [1, "
       "0]}}}}}]",
       {"lower bound"}},
      {"[{$setWindowFields: {sortBy: {a: -1}, output: {r: {$sum: 1, window: {range: [0, 1]}}}}}]",
       {"ascending"}},
      {"[{$densify: {field: 'a', range: {step: 0, bounds: 'full'}}}]", {"$densify", "step"}},
      {"[{$fill: {output: {a: {method: 'locf'}}}}]", {"$fill", "sortBy"}},
      {"[{$setWindowFields: {output: {r: {$minMaxScaler: {input: '$a'}}}}}]", {"$minMaxScaler"}},
      {"[{$indexStats: {a: 1}}]", {"$indexStats"}},
      {"[{$unionWith: {coll: 'x', pipeline: [{$indexStats: {}}]}}]", {"$indexStats"}},
      {"[{$collStats: {latencyStats: {}}}]", {"$collStats", "latencyStats"}},
      {"[{$foo: 1}]", {"unknown aggregation stage '$foo'", "stage 1"}},
      {"[{match: {}}]", {"unknown aggregation stage 'match'"}},
      {"[{$match: {a: {$foo: 1}}}]", {"$match (stage 1)", "unknown operator $foo"}},
      {"[{$match: 1}]", {"$match", "must be a document"}},
      {"[{$limit: 0}]", {"$limit", "above 0"}},
      {"[{$limit: 'x'}]", {"$limit", "\"x\""}},
      {"[{$limit: 1.5}]", {"$limit", "1.5"}},
      {"[{$skip: -1}]", {"$skip", "-1"}},
      {"[{$sort: {}}]", {"$sort", "at least one"}},
      {"[{$sort: {a: 5}}]", {"$sort", "{a: 5}"}},
      {"[{$project: {}}]", {"$project", "at least one"}},
      {"[{$unset: 5}]", {"$unset", "5"}},
      {"[{$unset: []}]", {"$unset"}},
      {"[{$unset: ['a', 5]}]", {"$unset", "5"}},
      {"[{$unset: ['a', 'a']}]", {"$unset", "collides"}},
      {"[{$count: ''}]", {"$count", "empty"}},
      {"[{$count: '$n'}]", {"$count", "'$'"}},
      {"[{$count: 'a.b'}]", {"$count", "dot"}},
      {"[{$count: 5}]", {"$count", "5"}},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(ShellDocument(c.stages).view());
    ASSERT_FALSE(pipeline.ok()) << c.stages;
    EXPECT_EQ(pipeline.status().code(), absl::StatusCode::kInvalidArgument);
    for (const std::string_view part : c.parts) {
      EXPECT_TRUE(absl::StrContains(pipeline.status().message(), part))
          << c.stages << ": " << pipeline.status();
    }
  }
  std::string many = "[";
  for (int i = 0; i < 1001; ++i) many += "{$skip: 0}, ";
  EXPECT_FALSE(Pipeline::Compile(ShellDocument(many + "]").view()).ok());
}

std::uint64_t Seed() {
  const char* given = std::getenv("ALOS_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "ALOS_TEST_SEED=" << seed << std::endl;
  return seed;
}

// A bounded sort gives what sorting all and cutting would.
TEST(PipelinePropertyTest, BoundedSortsAgreeWithFullOnes) {
  RandomDocuments random(Seed());
  for (int i = 0; i < 300; ++i) {
    std::vector<std::string> documents;
    for (std::size_t j = random.Pick(40); j > 0; --j) documents.push_back(random.Document());
    const std::string by =
        absl::StrCat("{", random.Path(), ": ", random.Pick(2) == 0 ? 1 : -1, "}");
    const std::size_t skip = random.Pick(5);
    const std::size_t limit = 1 + random.Pick(10);
    const Pipeline pipeline =
        *Pipeline::Compile(ShellDocument(absl::StrCat("[{$sort: ", by, "}, {$skip: ", skip,
                                                      "}, {$limit: ", limit, "}]"))
                               .view());
    std::vector<std::string> actual;
    ASSERT_TRUE(pipeline
                    .Run(
                        [&](absl::FunctionRef<bool(ValueView)> push) {
                          for (const std::string& document : documents) {
                            if (!push(ValueView::FromTrusted(document))) return;
                          }
                        },
                        [&](ValueView document) {
                          actual.emplace_back(document.bytes());
                          return true;
                        })
                    .ok());
    const Sort sort = *Sort::Compile(ShellDocument(by).view());
    std::vector<std::string> expected = documents;
    std::stable_sort(expected.begin(), expected.end(),
                     [&](const std::string& a, const std::string& b) {
                       return sort.Less(ValueView::FromTrusted(a), ValueView::FromTrusted(b));
                     });
    expected.erase(expected.begin(), expected.begin() + std::min(skip, expected.size()));
    expected.resize(std::min(limit, expected.size()));
    EXPECT_EQ(actual, expected) << by;
  }
}

}  // namespace
}  // namespace alos
