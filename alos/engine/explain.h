// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a query did to come to its result, in numbers.

#ifndef ALOS_ENGINE_EXPLAIN_H_
#define ALOS_ENGINE_EXPLAIN_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "alos/document/builder.h"

namespace alos {

// Filled in by the operation it is given to. Not shared between threads.
struct Explain {
  std::string plan;                        // one of the kPlan... below
  std::vector<std::string> indexes;        // those that were used, each once
  std::uint64_t keys_examined = 0;         // entries of indexes, rows of columns, keys matched
  std::uint64_t documents_examined = 0;    // decoded
  std::uint64_t bytes_read = 0;            // of indexes and documents
  std::uint64_t segments_by_postings = 0;  // whose rows were reached through an index
  std::uint64_t segments_by_columns = 0;   // all of whose rows were looked at, in columns
  std::uint64_t recent_documents = 0;      // not indexed yet, looked at one by one
  std::uint64_t returned = 0;
  std::vector<std::string> advice;  // what would make it faster, or does from now on
  std::vector<std::pair<std::string, double>> stage_milliseconds;

  static constexpr std::string_view kPlanId = "by _id";
  static constexpr std::string_view kPlanScan = "scan of all documents";
  static constexpr std::string_view kPlanIndex = "index";
  static constexpr std::string_view kPlanColumns = "scan of index columns";
  static constexpr std::string_view kPlanSortedIndex = "index in sort order";
  static constexpr std::string_view kPlanCount = "count from index";
  static constexpr std::string_view kPlanGroup = "group from index columns";
  static constexpr std::string_view kPlanNothing = "nothing to read";

  void AddIndex(std::string_view name) {
    if (std::find(indexes.begin(), indexes.end(), name) == indexes.end())
      indexes.emplace_back(name);
  }
  void AddStage(std::string_view name, absl::Duration time) {
    stage_milliseconds.emplace_back(name, absl::ToDoubleMilliseconds(time));
  }
  void Advise(std::string what) {
    if (std::find(advice.begin(), advice.end(), what) == advice.end())
      advice.push_back(std::move(what));
  }
};

// As a document.
inline void AppendExplain(const Explain& explain, Builder* builder) {
  const auto strings = [&](std::string_view key, const std::vector<std::string>& values) {
    builder->Key(key).StartArray();
    for (const std::string& value : values) builder->String(value);
    builder->EndArray();
  };
  builder->StartDocument();
  builder->Key("plan").String(explain.plan);
  strings("indexes", explain.indexes);
  builder->Key("keys_examined").Uint(explain.keys_examined);
  builder->Key("documents_examined").Uint(explain.documents_examined);
  builder->Key("bytes_read").Uint(explain.bytes_read);
  builder->Key("segments_by_postings").Uint(explain.segments_by_postings);
  builder->Key("segments_by_columns").Uint(explain.segments_by_columns);
  builder->Key("recent_documents").Uint(explain.recent_documents);
  builder->Key("returned").Uint(explain.returned);
  builder->Key("stages").StartArray();
  for (const auto& [stage, milliseconds] : explain.stage_milliseconds) {
    builder->StartDocument();
    builder->Key("stage").String(stage);
    builder->Key("milliseconds").Double(milliseconds);
    builder->EndDocument();
  }
  builder->EndArray();
  strings("advice", explain.advice);
  builder->EndDocument();
}

}  // namespace alos

#endif  // ALOS_ENGINE_EXPLAIN_H_
