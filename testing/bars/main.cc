// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Measures queries on a chat log that a server holds: see --help and run.sh.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/net/client.h"
#include "testing/bars/experiments.h"
#include "testing/bars/queries.h"
#include "testing/bars/runner.h"
#include "testing/datasets/chat.h"
#include "tools/internal/connection_flags.h"

ABSL_FLAG(std::string, experiment, "queries",
          "queries, ingest, new-field, restart, all-fields or list");
ABSL_FLAG(std::string, query, "", "names, separated by commas; empty: all (list prints them)");
ABSL_FLAG(std::uint64_t, seed, 1, "of the log that was loaded");
ABSL_FLAG(std::uint64_t, documents, 1'000'000, "of the log that was loaded");
ABSL_FLAG(std::uint64_t, draw, 1, "another number, other parameters");
ABSL_FLAG(std::string, db, "alosdb", "database");
ABSL_FLAG(std::string, collection, "messages", "collection");
ABSL_FLAG(std::uint64_t, repetitions, 200, "of each query, with other parameters each time");
ABSL_FLAG(absl::Duration, time_max, absl::Seconds(10), "for each query, if that is less");
ABSL_FLAG(std::uint64_t, warmups, 3, "of each query ahead of the clock");
ABSL_FLAG(absl::Duration, settle, absl::Seconds(120),
          "how long to wait for indexes to appear; 0: not at all");
ABSL_FLAG(bool, cold, false, "one repetition, unprepared, for each query");
ABSL_FLAG(bool, header, true, "the head of the table");
ABSL_FLAG(bool, json, false, "a line of JSON for each query in place of the table");
ABSL_FLAG(bool, parameters, false,
          "print the parameters of each query as JSON, as other databases need them, and ask no "
          "server");
ABSL_FLAG(std::uint64_t, ingest_documents, 500'000, "ingest: documents of each round");
ABSL_FLAG(int, ingest_rounds, 3, "ingest: rounds");
ABSL_FLAG(int, ingest_connections, 4, "ingest: connections");
ABSL_FLAG(std::string, field, "author.avatar", "new-field: which");
ABSL_FLAG(std::string, start, "",
          "restart: shell command that starts the server in the background, run when all else is "
          "ready");

namespace alos::bars {
namespace {

constexpr std::string_view kUsage =
    "measures queries on a chat log (testing/datasets:chat) that a server holds.\n\n"
    "  bars --documents 16000000 --port localhost:6900\n"
    "  bars --experiment ingest|new-field|restart|all-fields ...\n\n"
    "run.sh does all of it. One connection, one request at a time; every answer whose size the\n"
    "generator knows is checked. Exit status: 0 all answered, 1 not all, 2 wrong usage.";

std::string Number(std::uint64_t number) {
  if (number < 10'000) return absl::StrCat(number);
  if (number < 10'000'000) return absl::StrFormat("%.0f k", static_cast<double>(number) / 1e3);
  return absl::StrFormat("%.0f M", static_cast<double>(number) / 1e6);
}
std::string Number(const std::optional<std::uint64_t>& number) {
  return number.has_value() ? Number(*number) : std::string("-");
}

std::string Bar(const ChatQuery& query) {
  if (query.p50_bar_us == 0) return "";
  std::string text = ShortTime(query.p50_bar_us);
  if (query.p99_bar_us != 0) absl::StrAppend(&text, " / ", ShortTime(query.p99_bar_us));
  return text;
}

// Short enough for a table.
std::string PlanText(const std::string& plan) {
  constexpr std::size_t kPlanLetters = 90;
  std::string text = plan.substr(0, kPlanLetters);
  std::replace(text.begin(), text.end(), '|', '/');
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::vector<const ChatQuery*> Chosen(const ChatQueries& queries, absl::Status* status) {
  std::vector<const ChatQuery*> chosen;
  if (absl::GetFlag(FLAGS_query).empty()) {
    for (const ChatQuery& query : queries.queries()) chosen.push_back(&query);
    return chosen;
  }
  for (const std::string_view name : absl::StrSplit(absl::GetFlag(FLAGS_query), ',')) {
    chosen.push_back(queries.Find(name));
    if (chosen.back() == nullptr) {
      *status = absl::InvalidArgumentError(
          absl::StrCat("no query is called ", name, "; --experiment list names them"));
    }
  }
  return chosen;
}

void PrintParameters(const std::vector<const ChatQuery*>& queries) {
  for (const ChatQuery* query : queries) {
    datasets::Draw draw(absl::GetFlag(FLAGS_draw));
    for (std::uint64_t i = 0; i < absl::GetFlag(FLAGS_repetitions); ++i) {
      const ChatRequest request = query->make(draw);
      std::string line;
      Builder builder(&line);
      builder.StartDocument();
      builder.Key("query").String(query->name);
      for (const auto& [name, values] : request.parameters) {
        builder.Key(name).StartArray(values.size());
        for (const std::string& value : values) builder.String(value);
        builder.EndArray();
      }
      builder.EndDocument();
      std::cout << ToJson(ValueView::FromTrusted(line)) << "\n";
    }
  }
}

// Asks each query once, so that indexes appear, and waits until the server says that it uses them.
absl::Status Settle(Runner& runner, const std::vector<const ChatQuery*>& queries,
                    std::uint64_t documents) {
  const absl::Time give_up = absl::Now() + absl::GetFlag(FLAGS_settle);
  std::vector<ChatRequest> waiting;
  for (const ChatQuery* query : queries) {
    datasets::Draw draw(absl::GetFlag(FLAGS_draw));
    const ChatRequest request = query->make(draw);
    const absl::StatusOr<std::uint64_t> asked = runner.Ask(request);
    if (asked.status().code() == absl::StatusCode::kUnavailable) return asked.status();
    if (asked.ok() && query->uses_index) waiting.push_back(request);
  }
  const std::size_t all = waiting.size();
  while (!waiting.empty() && absl::Now() < give_up) {
    std::vector<ChatRequest> still;
    for (const ChatRequest& request : waiting) {
      ALOS_ASSIGN_OR_RETURN(const Explanation explanation, runner.Explain(request));
      if (!explanation.documents_examined.has_value()) return absl::OkStatus();  // cannot tell
      if (IsScan(explanation, documents)) still.push_back(request);
    }
    waiting = std::move(still);
    if (!waiting.empty()) absl::SleepFor(absl::Seconds(1));
  }
  if (!waiting.empty()) {
    std::cerr << "bars: " << waiting.size() << " of " << all
              << " queries still go over everything\n";
  }
  return absl::OkStatus();
}

// The extra row of the query that scans: its speed beside RE2's own.
std::string BesideBareRegex(const datasets::ChatLog& log, const Measurement& measured) {
  const BareRegexSpeed bare = MeasureBareRegex(log, std::string(ChatQueries::kUntrigrammed));
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const double bytes = bare.bytes_per_message * static_cast<double>(log.documents());
  const double per_core = bytes / (measured.p50() / 1e6) / cores;
  return absl::StrFormat(
      "\n`regex-scan`: %.0f MB/s of text on each of %d cores; RE2 on the bare text %.0f MB/s: "
      "%.2f x (bar 0.8 x)\n",
      per_core / 1e6, cores, bare.bytes_per_second / 1e6, per_core / bare.bytes_per_second);
}

absl::Status RunQueries(Client& client, const datasets::ChatLog& log,
                        const std::vector<const ChatQuery*>& queries) {
  Runner runner(&client, absl::GetFlag(FLAGS_collection));
  const bool cold = absl::GetFlag(FLAGS_cold);
  const bool json = absl::GetFlag(FLAGS_json);
  MeasureOptions options{.seed = absl::GetFlag(FLAGS_draw),
                         .repetitions = absl::GetFlag(FLAGS_repetitions),
                         .warmups = absl::GetFlag(FLAGS_warmups),
                         .time_max = absl::GetFlag(FLAGS_time_max)};
  if (cold) {
    options.repetitions = 1;
    options.warmups = 0;
    options.explain = false;  // would say what a warm query does
  } else if (absl::GetFlag(FLAGS_settle) > absl::ZeroDuration()) {
    ALOS_RETURN_IF_ERROR(Settle(runner, queries, log.documents()));
  }
  std::unique_ptr<MarkdownTable> table;
  if (!json) {
    const std::vector<std::string> head =
        cold ? std::vector<std::string>{"query, cold", "first answer", "results"}
             : std::vector<std::string>{"query",   "bar",  "p50",       "p99",   "",    "times",
                                        "results", "keys", "documents", "bytes", "plan"};
    table = std::make_unique<MarkdownTable>(
        &std::cout, absl::GetFlag(FLAGS_header) ? head : std::vector<std::string>());
  }
  if (!json && !cold) {
    const Measurement trips = runner.RoundTrips(2000);
    table->Row({"(a request that does nothing)", "", ShortTime(trips.p50()), ShortTime(trips.p99()),
                "", absl::StrCat(trips.microseconds.size()), "", "", "", "", ""});
  }
  if (cold) {
    // The first request of all opens the database, and that is not the query's doing.
    const Measurement opened = runner.RoundTrips(1);
    if (!json && absl::GetFlag(FLAGS_header)) {
      table->Row({"(opening the database)", ShortTime(opened.p50()), ""});
    }
  }
  std::string errors;
  std::string notes;
  for (const ChatQuery* query : queries) {
    const Measurement measured = runner.Measure(*query, options);
    if (!measured.error.empty()) absl::StrAppend(&errors, query->name, ": ", measured.error, "\n");
    if (json) {
      std::cout << absl::StrFormat(
                       R"({"query":"%s","p50_us":%.1f,"p99_us":%.1f,"first":%d,"ok":%s})",
                       query->name, measured.p50(), measured.p99(), measured.results_first,
                       measured.error.empty() ? "true" : "false")
                << "\n"
                << std::flush;
      continue;
    }
    const std::string title = absl::StrCat(query->title, " (`", query->name, "`)");
    if (cold) {
      table->Row({title, measured.error.empty() ? ShortTime(measured.p50()) : "failed",
                  absl::StrFormat("%.0f", measured.results)});
      continue;
    }
    if (!measured.error.empty()) {
      table->Row({title, Bar(*query), "failed", "", "", "", "", "", "", "", ""});
      continue;
    }
    const bool holds = measured.p50() <= query->p50_bar_us &&
                       (query->p99_bar_us == 0 || measured.p99() <= query->p99_bar_us);
    const Explanation& explanation = measured.explanation;
    table->Row({title, Bar(*query), ShortTime(measured.p50()), ShortTime(measured.p99()),
                query->p50_bar_us == 0 ? "" : (holds ? "holds" : "missed"),
                absl::StrCat(measured.microseconds.size()),
                absl::StrFormat("%.0f", measured.results), Number(explanation.keys_examined),
                Number(explanation.documents_examined), Number(explanation.bytes_read),
                PlanText(explanation.plan)});
    if (query->name == "regex-scan") notes += BesideBareRegex(log, measured);
  }
  std::cout << notes << std::flush;
  if (!errors.empty()) return absl::InternalError(absl::StrCat("not all answered:\n", errors));
  return absl::OkStatus();
}

absl::StatusOr<ClientOptions> ClientOptionsFromFlags() {
  ALOS_ASSIGN_OR_RETURN(const tools_internal::ConnectionSettings settings,
                        tools_internal::ConnectionSettingsFromFlags());
  ClientOptions options{
      .host = settings.host, .port = settings.port, .database = absl::GetFlag(FLAGS_db)};
  options.request_timeout = absl::Minutes(10);
  if (settings.handshake_version.has_value()) {
    options.username = settings.username;
    options.password = settings.password;
    options.handshake_version = *settings.handshake_version;
  }
  return options;
}

absl::Status Run() {
  if (absl::GetFlag(FLAGS_documents) < 1 || absl::GetFlag(FLAGS_documents) >> 32 != 0 ||
      absl::GetFlag(FLAGS_repetitions) < 1) {
    return absl::InvalidArgumentError(
        "--documents must be from 1 to 2^32 - 1, --repetitions at least 1");
  }
  const datasets::ChatLog log(
      {.seed = absl::GetFlag(FLAGS_seed), .documents = absl::GetFlag(FLAGS_documents)});
  const ChatQueries queries(&log);
  absl::Status chosen_status;
  const std::vector<const ChatQuery*> chosen = Chosen(queries, &chosen_status);
  ALOS_RETURN_IF_ERROR(chosen_status);
  if (absl::GetFlag(FLAGS_parameters)) {
    PrintParameters(chosen);
    return absl::OkStatus();
  }
  const std::string experiment = absl::GetFlag(FLAGS_experiment);
  if (experiment == "list") {
    for (const ChatQuery* query : chosen) std::cout << query->name << "\n";
    return absl::OkStatus();
  }
  ALOS_ASSIGN_OR_RETURN(ClientOptions options, ClientOptionsFromFlags());
  if (experiment == "restart") {
    options.reconnect_timeout = absl::Milliseconds(50);
    options.backoff_min = absl::Milliseconds(1);
    const std::string start = absl::GetFlag(FLAGS_start);
    const absl::Time since = absl::Now();
    if (!start.empty() && std::system(start.c_str()) != 0) {
      return absl::UnavailableError(absl::StrCat("this failed: ", start));
    }
    return MeasureRestart(options, absl::GetFlag(FLAGS_collection), queries, log.documents(), since,
                          absl::Minutes(5), &std::cout);
  }
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(options));
  if (experiment == "queries") return RunQueries(*client, log, chosen);
  if (experiment == "ingest") {
    if (absl::GetFlag(FLAGS_ingest_connections) < 1 || absl::GetFlag(FLAGS_ingest_rounds) < 1) {
      return absl::InvalidArgumentError(
          "--ingest-connections and --ingest-rounds must be at least 1");
    }
    return MeasureIngest(*client, log,
                         {.documents = absl::GetFlag(FLAGS_ingest_documents),
                          .connections = absl::GetFlag(FLAGS_ingest_connections),
                          .rounds = absl::GetFlag(FLAGS_ingest_rounds)},
                         &std::cout);
  }
  if (experiment == "new-field") {
    ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> other, Client::Connect(options));
    return MeasureNewField(
        *client, *other, log, queries,
        {.collection = absl::GetFlag(FLAGS_collection), .field = absl::GetFlag(FLAGS_field)},
        &std::cout);
  }
  if (experiment == "all-fields") {
    return MeasureAllFields(*client, absl::GetFlag(FLAGS_collection), log, absl::Minutes(20),
                            &std::cout);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--experiment is \"", experiment,
                   "\"; it must be queries, ingest, new-field, restart, all-fields or list"));
}

}  // namespace
}  // namespace alos::bars

int main(int argc, char** argv) {
  const std::vector<std::string> rest =
      alos::tools_internal::ParseCommandLine(argc, argv, alos::bars::kUsage);
  if (!rest.empty()) {
    std::cerr << "bars: unexpected argument \"" << rest[0] << "\" (--help lists the flags)\n";
    return 2;
  }
  if (const absl::Status status = alos::bars::Run(); !status.ok()) {
    std::cerr << "bars: " << status.message() << "\n";
    return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
  }
  return 0;
}
