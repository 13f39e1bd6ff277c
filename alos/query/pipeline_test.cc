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

TEST(PipelineTest, ErrorsNameTheStage) {
  const struct {
    std::string_view stages;
    std::vector<std::string_view> parts;
  } cases[] = {
      {"{}", {"array of stages"}},
      {"[5]", {"stage 1", "one key", "5"}},
      {"[{$limit: 1, $skip: 1}]", {"stage 1", "one key"}},
      {"[{}]", {"stage 1", "one key"}},
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
