// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "testing/bars/queries.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/engine/explain.h"
#include "alos/query/filter.h"
#include "gtest/gtest.h"
#include "testing/bars/experiments.h"
#include "testing/bars/runner.h"
#include "testing/datasets/chat.h"

namespace alos::bars {
namespace {

using datasets::ChatLog;
using datasets::Draw;

constexpr std::uint64_t kDocuments = 5000;

// The filter of a request; of a pipeline the $match, nullopt if it has none.
std::optional<std::string> FilterOf(const ChatRequest& request) {
  const std::string args = request.Args(/*explain=*/false);
  const ValueView view = ValueView::FromTrusted(args);
  if (const auto query = view.Find("query")) return std::string(query->bytes());
  if (const auto pipeline = view.Find("pipeline")) {
    for (const ValueView stage : pipeline->elements()) {
      if (const auto match = stage.Find("$match")) return std::string(match->bytes());
    }
  }
  return std::nullopt;
}

// A figure for a query that finds nothing, or another number than it is said to, is worth nothing.
TEST(ChatQueries, FindWhatTheyAreSaidToFind) {
  const ChatLog log({.documents = kDocuments});
  const ChatQueries queries(&log);
  std::string all;
  std::vector<std::size_t> ends;
  for (std::uint64_t number = 0; number < kDocuments; ++number) {
    log.Append(number, &all);
    ends.push_back(all.size());
  }
  for (const ChatQuery& query : queries.queries()) {
    Draw draw(7);
    std::uint64_t found = 0;
    for (int repetition = 0; repetition < 4; ++repetition) {
      const ChatRequest request = query.make(draw);
      const std::optional<std::string> encoded = FilterOf(request);
      if (!encoded.has_value()) {
        ++found;
        continue;
      }
      const absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(*encoded));
      ASSERT_TRUE(filter.ok()) << request.query << filter.status();
      std::uint64_t matches = 0;
      std::size_t begin = 0;
      for (const std::size_t end : ends) {
        if (filter->Matches(
                ValueView::FromTrusted(std::string_view(all).substr(begin, end - begin)))) {
          ++matches;
        }
        begin = end;
      }
      if (request.limit != 0) matches = std::min(matches, request.limit);
      if (request.results_expected.has_value()) {
        EXPECT_EQ(matches, *request.results_expected) << request.query;
      }
      found += matches;
    }
    // The log is too short for the one query that has four conditions.
    EXPECT_TRUE(found > 0 || query.name == "nested") << query.name;
  }
}

TEST(ChatQueries, AreTheSameForTheSameDraws) {
  const ChatLog log({.documents = kDocuments});
  const ChatQueries first(&log);
  const ChatQueries second(&log);
  absl::flat_hash_set<std::string> names;
  for (const ChatQuery& query : first.queries()) {
    EXPECT_TRUE(names.insert(query.name).second) << query.name;
    Draw a(3);
    Draw b(3);
    EXPECT_EQ(query.make(a).query, second.Find(query.name)->make(b).query);
  }
  EXPECT_EQ(first.Find("nothing"), nullptr);
}

TEST(ChatRequest, AsksForAnExplanation) {
  const ChatRequest request{.operation = Operation::kFindPaginated, .query = "{}", .limit = 5};
  EXPECT_EQ(ToJson(ValueView::FromTrusted(request.Args(true))),
            R"({"query":{},"limit":5,"explain":true})");
}

// The columns of the table come from what the engine says of itself, by these names.
TEST(Explanation, ReadsWhatTheEngineSays) {
  Explain explain;
  explain.plan = Explain::kPlanIndex;
  explain.AddIndex("author.id");
  explain.keys_examined = 3;
  explain.documents_examined = 2;
  explain.bytes_read = 1000;
  const auto encoded = [&explain] {
    std::string bytes;
    Builder builder(&bytes);
    AppendExplain(explain, &builder);
    return bytes;
  };
  const Explanation by_index = Explanation::Of(encoded());
  EXPECT_EQ(by_index.keys_examined, 3U);
  EXPECT_EQ(by_index.documents_examined, 2U);
  EXPECT_EQ(by_index.bytes_read, 1000U);
  EXPECT_EQ(by_index.plan, "index: author.id");
  EXPECT_TRUE(IsServedByIndex(by_index, kDocuments));
  explain.plan = Explain::kPlanScan;
  EXPECT_TRUE(IsScan(Explanation::Of(encoded()), kDocuments));

  // A server that answers instead of explaining.
  const Explanation none = Explanation::Of("\x90");
  EXPECT_FALSE(none.documents_examined.has_value());
  EXPECT_FALSE(IsScan(none, kDocuments));
  EXPECT_FALSE(IsServedByIndex(none, kDocuments));
}

}  // namespace
}  // namespace alos::bars
