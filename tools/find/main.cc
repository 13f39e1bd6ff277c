// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Prints the documents of a collection that match a filter: see --help.

#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/net/client.h"
#include "tools/internal/connection_flags.h"

ABSL_FLAG(std::string, db, "", "database; the server's default one if empty");
ABSL_FLAG(std::string, fields, "", "print only these fields, separated by commas, and _id");
ABSL_FLAG(std::string, sort, "", "order, as {\"year\": -1}");
ABSL_FLAG(std::uint64_t, skip, 0, "pass over so many first");
ABSL_FLAG(std::uint64_t, limit, 0, "print at most so many; 0: all");
ABSL_FLAG(bool, count, false, "print how many match, not the documents");
ABSL_FLAG(bool, explain, false, "print how the server finds them, not the documents");
ABSL_FLAG(std::string, hint, "", "the name of an index that there must be; $natural: use none");
ABSL_FLAG(std::string, aggregate, "", "run this pipeline, as [{\"$match\": {}}, ...]");

namespace alos {
namespace {

constexpr std::string_view kUsage =
    "prints the documents of a collection that match a filter, one JSON object per line\n\n"
    "  find movies\n"
    "  find movies '{\"IMDB Rating\": {\"$gte\": 9}}' --fields Title --sort '{\"Title\": 1}'\n"
    "  find movies '{\"Director\": null}' --count\n"
    "  find movies '{\"Director\": \"Orson Welles\"}' --explain\n"
    "  find movies --aggregate '[{\"$match\": {\"Title\": \"Psycho\"}}, {\"$count\": \"n\"}]'\n\n"
    "Filters are MongoDB's: equality, $gt, $in, $regex, $or and so on, dotted paths into objects\n"
    "and arrays. Exit status: 0 done, 1 an error, 2 wrong usage.";

// The JSON text of a flag or argument as an object.
absl::StatusOr<std::string> Object(std::string_view what, std::string_view json) {
  absl::StatusOr<std::string> object = JsonToMessagePack(json);
  if (object.ok() && !ValueView::FromTrusted(*object).IsDocument()) {
    object = absl::InvalidArgumentError("it must be a JSON object");
  }
  if (!object.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what, " is ", json, ": ", object.status().message()));
  }
  return object;
}

void Print(ValueView document) { std::cout << ToJson(document) << "\n"; }

// What the command line asks for, parsed.
struct Question {
  std::string collection;
  std::string filter;
  std::optional<std::string> order;
  std::optional<std::string> pipeline;  // in place of the filter
};

absl::Status Aggregate(Client& client, const Question& question) {
  const ValueView pipeline = ValueView::FromTrusted(*question.pipeline);
  if (absl::GetFlag(FLAGS_explain)) {
    ALOS_ASSIGN_OR_RETURN(const std::string explain,
                          client.ExplainAggregate(question.collection, pipeline));
    Print(ValueView::FromTrusted(explain));
    return absl::OkStatus();
  }
  std::uint64_t count = 0;
  ALOS_RETURN_IF_ERROR(
      client.AggregateStream(question.collection, pipeline, 1000, [&](ValueView document) {
        ++count;
        if (!absl::GetFlag(FLAGS_count)) Print(document);
        return static_cast<bool>(std::cout);
      }));
  if (absl::GetFlag(FLAGS_count)) std::cout << count << "\n";
  return absl::OkStatus();
}

absl::Status Find(Client& client, const Question& question) {
  const ValueView filter = ValueView::FromTrusted(question.filter);
  const bool explains = absl::GetFlag(FLAGS_explain);
  if (absl::GetFlag(FLAGS_count)) {
    if (explains) {
      std::string args;
      Builder(&args).StartDocument(1).Key("query").Raw(filter).EndDocument();
      ALOS_ASSIGN_OR_RETURN(const std::string explain,
                            client.Explain(Operation::kFindManyCount, question.collection,
                                           ValueView::FromTrusted(args)));
      Print(ValueView::FromTrusted(explain));
      return absl::OkStatus();
    }
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t count, client.Count(question.collection, filter));
    std::cout << count << "\n";
    return absl::OkStatus();
  }
  ClientFindOptions options;
  options.fields = absl::StrSplit(absl::GetFlag(FLAGS_fields), ',', absl::SkipEmpty());
  options.skip = absl::GetFlag(FLAGS_skip);
  options.limit = absl::GetFlag(FLAGS_limit);
  if (question.order.has_value()) options.sort = ValueView::FromTrusted(*question.order);
  if (absl::GetFlag(FLAGS_hint) == "$natural") {
    options.force_scan = true;
  } else {
    options.hint = absl::GetFlag(FLAGS_hint);
  }
  if (explains) {
    ALOS_ASSIGN_OR_RETURN(const std::string explain,
                          client.ExplainFind(question.collection, filter, options));
    Print(ValueView::FromTrusted(explain));
    return absl::OkStatus();
  }
  // The server keeps no more of an order than it is asked for.
  constexpr std::uint64_t kSortedAtOnceMax = 10'000;
  if (options.sort.has_value() && options.limit != 0 && options.limit <= kSortedAtOnceMax) {
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> documents,
                          client.Find(question.collection, filter, options));
    for (const std::string& document : documents) Print(ValueView::FromTrusted(document));
    return absl::OkStatus();
  }
  return client.FindStream(
      question.collection, filter, 1000,
      [&](ValueView document) {
        Print(document);
        return static_cast<bool>(std::cout);
      },
      options);
}

absl::Status Run(const tools_internal::ConnectionSettings& connection, const Question& question) {
  ClientOptions options{
      .host = connection.host, .port = connection.port, .database = absl::GetFlag(FLAGS_db)};
  if (connection.handshake_version.has_value()) {
    options.username = connection.username;
    options.password = connection.password;
    options.handshake_version = *connection.handshake_version;
  }
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(options));
  return question.pipeline.has_value() ? Aggregate(*client, question) : Find(*client, question);
}

int Fail(int code, std::string_view message) {
  std::cerr << "find: " << message << "\n";
  return code;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments = tools_internal::ParseCommandLine(argc, argv, kUsage);
  if (arguments.empty() || arguments.size() > 2) {
    return Fail(2, "name a collection and perhaps a filter (see --help)");
  }
  const absl::StatusOr<tools_internal::ConnectionSettings> connection =
      tools_internal::ConnectionSettingsFromFlags();
  if (!connection.ok()) return Fail(2, connection.status().message());
  Question question;
  question.collection = arguments[0];
  absl::StatusOr<std::string> filter =
      Object("filter", arguments.size() == 2 ? arguments[1] : "{}");
  if (!filter.ok()) return Fail(2, filter.status().message());
  question.filter = *std::move(filter);
  if (const std::string json = absl::GetFlag(FLAGS_aggregate); !json.empty()) {
    absl::StatusOr<std::string> pipeline = JsonToMessagePack(json);
    if (pipeline.ok() && !ValueView::FromTrusted(*pipeline).IsArray())
      pipeline = absl::InvalidArgumentError("it must be a JSON array of stages");
    if (!pipeline.ok()) {
      return Fail(2, absl::StrCat("--aggregate is ", json, ": ", pipeline.status().message()));
    }
    if (arguments.size() == 2 || !absl::GetFlag(FLAGS_sort).empty() ||
        !absl::GetFlag(FLAGS_fields).empty() || absl::GetFlag(FLAGS_skip) != 0 ||
        absl::GetFlag(FLAGS_limit) != 0 || !absl::GetFlag(FLAGS_hint).empty()) {
      return Fail(2,
                  "with --aggregate the pipeline says what is wanted: use $match, $sort and so "
                  "on in place of a filter and flags");
    }
    question.pipeline = *std::move(pipeline);
  }
  if (const std::string json = absl::GetFlag(FLAGS_sort); !json.empty()) {
    absl::StatusOr<std::string> parsed = Object("--sort", json);
    if (!parsed.ok()) return Fail(2, parsed.status().message());
    question.order = *std::move(parsed);
  }
  const absl::Status status = Run(*connection, question);
  if (!status.ok()) return Fail(1, status.message());
  std::cout << std::flush;
  return std::cout ? 0 : 1;
}

}  // namespace
}  // namespace alos

int main(int argc, char** argv) { return alos::Main(argc, argv); }
