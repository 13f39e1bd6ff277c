// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Asks a server the same kind of question again and again, and says how long it took.

#ifndef ALOS_TESTING_BARS_RUNNER_H_
#define ALOS_TESTING_BARS_RUNNER_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/net/client.h"
#include "testing/bars/queries.h"

namespace alos::bars {

// The value that `fraction` (0 .. 1) of all stay at or below; 0 of none.
inline double Percentile(std::vector<double> values, double fraction) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(fraction * static_cast<double>(values.size()));
  return values[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

// What a server said it did, as far as it says.
struct Explanation {
  std::optional<std::uint64_t> keys_examined;
  std::optional<std::uint64_t> documents_examined;
  std::optional<std::uint64_t> bytes_read;
  std::string plan;  // text, with the names of the indexes

  // From the result of a request with `explain`; from that of a server that does not know it, none.
  static Explanation Of(std::string_view result);
};

struct Measurement {
  std::string error;  // why it was ended; "" if it was not
  std::vector<double> microseconds;
  double results = 0;               // on average
  std::uint64_t results_first = 0;  // of the first repetition
  Explanation explanation;

  double p50() const { return Percentile(microseconds, 0.5); }
  double p99() const { return Percentile(microseconds, 0.99); }
};

struct MeasureOptions {
  std::uint64_t seed = 1;
  std::uint64_t repetitions = 200;
  std::uint64_t repetitions_min = 3;  // even past `time_max`
  std::uint64_t warmups = 3;          // with parameters that are asked again afterwards
  absl::Duration time_max = absl::Seconds(10);
  bool explain = true;
};

// Asks on one connection, one question at a time; parameters are drawn and encoded ahead of the
// clock. A latency is that of Client::Call: encode the request, send, wait, receive, check that the
// response is valid MessagePack. Counting the results comes after it.
//
// Threads: one at a time. Lifetime: `client` must outlive it.
// Errors: in the measurement: what the server answered, or that an answer differs from what the
//   generator knows.
class Runner {
 public:
  Runner(Client* client, std::string collection)
      : client_(client), collection_(std::move(collection)) {}

  Measurement Measure(const ChatQuery& query, const MeasureOptions& options);
  absl::StatusOr<Explanation> Explain(const ChatRequest& request);
  // The number of documents, groups, or what was counted.
  absl::StatusOr<std::uint64_t> Ask(const ChatRequest& request, double* microseconds = nullptr);
  // A request that looks at nothing: the price of going there and back.
  Measurement RoundTrips(std::uint64_t repetitions);

 private:
  static absl::StatusOr<std::uint64_t> ResultsIn(Operation operation, std::string_view result);

  Client* const client_;
  const std::string collection_;
};

// A table in Markdown, a row at a time.
class MarkdownTable {
 public:
  // With an empty header, rows only: for a table that has been begun.
  MarkdownTable(std::ostream* out, const std::vector<std::string>& header) : out_(out) {
    if (header.empty()) return;
    Row(header);
    Row(std::vector<std::string>(header.size(), "---"));
  }
  void Row(const std::vector<std::string>& cells) {
    for (const std::string& cell : cells) *out_ << "| " << cell << " ";
    *out_ << "|\n" << std::flush;
  }

 private:
  std::ostream* const out_;
};

// "12.3 ms"
inline std::string ShortTime(double microseconds) {
  if (microseconds < 1000) return absl::StrFormat("%.0f us", microseconds);
  if (microseconds < 1e6) return absl::StrFormat("%.1f ms", microseconds / 1e3);
  return absl::StrFormat("%.2f s", microseconds / 1e6);
}

// --- Readers of the API may stop here. ----------------------------------------------------------

inline Explanation Explanation::Of(std::string_view result) {
  Explanation explanation;
  const ValueView view = ValueView::FromTrusted(result);
  if (!view.IsDocument()) return explanation;
  const auto number = [&](std::string_view field) -> std::optional<std::uint64_t> {
    const std::optional<ValueView> value = view.Find(field);
    const std::optional<std::int64_t> whole =
        value.has_value() ? value->ToInt64() : std::optional<std::int64_t>();
    if (!whole.has_value() || *whole < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*whole);
  };
  explanation.keys_examined = number("keys_examined");
  explanation.documents_examined = number("documents_examined");
  explanation.bytes_read = number("bytes_read");
  if (const std::optional<ValueView> plan = view.Find("plan")) {
    explanation.plan = plan->IsString() ? std::string(plan->AsString()) : ToJson(*plan);
  }
  if (const std::optional<ValueView> indexes = view.Find("indexes");
      indexes.has_value() && indexes->IsArray() && indexes->size() != 0) {
    std::vector<std::string> names;
    for (const ValueView index : indexes->elements()) {
      if (index.IsString()) names.emplace_back(index.AsString());
    }
    absl::StrAppend(&explanation.plan, ": ", absl::StrJoin(names, ", "));
  }
  return explanation;
}

inline absl::StatusOr<std::uint64_t> Runner::ResultsIn(Operation operation,
                                                       std::string_view result) {
  const ValueView view = ValueView::FromTrusted(result);
  switch (operation) {
    case Operation::kFindById:
      return view.IsDocument() ? 1 : 0;
    case Operation::kFindManyCount: {
      const std::optional<ValueView> count = view.Find("n");
      if (count.has_value() && count->ToInt64().value_or(-1) >= 0) {
        return static_cast<std::uint64_t>(*count->ToInt64());
      }
      break;
    }
    default:
      if (view.IsArray()) return view.size();
  }
  return absl::DataLossError(
      absl::StrCat("what ", OperationName(operation), " returned is not its result"));
}

inline absl::StatusOr<std::uint64_t> Runner::Ask(const ChatRequest& request, double* microseconds) {
  const std::string args = request.Args(/*explain=*/false);
  const std::int64_t begun = absl::GetCurrentTimeNanos();
  const absl::StatusOr<std::string> result =
      client_->Call(request.operation, collection_, ValueView::FromTrusted(args), true);
  if (microseconds != nullptr) {
    *microseconds = static_cast<double>(absl::GetCurrentTimeNanos() - begun) / 1e3;
  }
  ALOS_RETURN_IF_ERROR(result.status());
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t results, ResultsIn(request.operation, *result));
  if (request.results_expected.has_value() && results != *request.results_expected) {
    return absl::DataLossError(absl::StrCat("found ", results, " where there are ",
                                            *request.results_expected, ": ", request.query));
  }
  return results;
}

inline absl::StatusOr<Explanation> Runner::Explain(const ChatRequest& request) {
  ChatRequest explained = request;
  if (request.operation == Operation::kFindById) {  // has nothing to choose, and so no explain
    explained.operation = Operation::kFind;
    explained.query = absl::StrCat("{\"_id\":", request.query, "}");
  }
  const std::string args = explained.Args(/*explain=*/true);
  ALOS_ASSIGN_OR_RETURN(
      const std::string result,
      client_->Call(explained.operation, collection_, ValueView::FromTrusted(args), true));
  return Explanation::Of(result);
}

inline Measurement Runner::Measure(const ChatQuery& query, const MeasureOptions& options) {
  Measurement measurement;
  datasets::Draw draw(options.seed);
  std::vector<ChatRequest> requests;
  for (std::uint64_t i = 0; i < options.repetitions; ++i) requests.push_back(query.make(draw));
  for (std::uint64_t i = 0; i < std::min(options.warmups, options.repetitions); ++i) {
    if (const auto asked = Ask(requests[i]); !asked.ok()) {
      measurement.error = std::string(asked.status().message());
      return measurement;
    }
  }
  const absl::Time begun = absl::Now();
  std::uint64_t results = 0;
  for (const ChatRequest& request : requests) {
    if (measurement.microseconds.size() >= options.repetitions_min &&
        absl::Now() - begun > options.time_max) {
      break;
    }
    double microseconds = 0;
    const absl::StatusOr<std::uint64_t> asked = Ask(request, &microseconds);
    if (!asked.ok()) {
      measurement.error = std::string(asked.status().message());
      return measurement;
    }
    if (measurement.microseconds.empty()) measurement.results_first = *asked;
    measurement.microseconds.push_back(microseconds);
    results += *asked;
  }
  measurement.results =
      static_cast<double>(results) / static_cast<double>(measurement.microseconds.size());
  if (options.explain) {
    const absl::StatusOr<Explanation> explanation = Explain(requests.front());
    if (explanation.ok()) measurement.explanation = *explanation;
  }
  return measurement;
}

inline Measurement Runner::RoundTrips(std::uint64_t repetitions) {
  Measurement measurement;
  std::string args;
  Builder(&args).StartDocument(0).EndDocument();
  for (std::uint64_t i = 0; i < repetitions; ++i) {
    const std::int64_t begun = absl::GetCurrentTimeNanos();
    const auto result =
        client_->Call(Operation::kReadTimestamp, collection_, ValueView::FromTrusted(args), true);
    measurement.microseconds.push_back(static_cast<double>(absl::GetCurrentTimeNanos() - begun) /
                                       1e3);
    if (!result.ok()) {
      measurement.error = std::string(result.status().message());
      return measurement;
    }
  }
  return measurement;
}

}  // namespace alos::bars

#endif  // ALOS_TESTING_BARS_RUNNER_H_
