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
ABSL_FLAG(std::string, sort, "", "order, as {\"year\": -1}; the server sorts in memory");
ABSL_FLAG(std::uint64_t, skip, 0, "pass over so many first");
ABSL_FLAG(std::uint64_t, limit, 0, "print at most so many; 0: all");
ABSL_FLAG(bool, count, false, "print how many match, not the documents");

namespace alos {
namespace {

constexpr std::string_view kUsage =
    "prints the documents of a collection that match a filter, one JSON object per line\n\n"
    "  find movies\n"
    "  find movies '{\"IMDB Rating\": {\"$gte\": 9}}' --fields Title --sort '{\"Title\": 1}'\n"
    "  find movies '{\"Director\": null}' --count\n\n"
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

// Sorting needs all documents in one place, so the server does it, in a pipeline.
absl::Status PrintSorted(Client& client, const std::string& collection, ValueView filter,
                         ValueView order, const std::vector<std::string>& fields) {
  std::string pipeline;
  Builder builder(&pipeline);
  builder.StartArray();
  builder.StartDocument().Key("$match").Raw(filter).EndDocument();
  builder.StartDocument().Key("$sort").Raw(order).EndDocument();
  if (const std::uint64_t skip = absl::GetFlag(FLAGS_skip); skip != 0) {
    builder.StartDocument().Key("$skip").Uint(skip).EndDocument();
  }
  if (const std::uint64_t limit = absl::GetFlag(FLAGS_limit); limit != 0) {
    builder.StartDocument().Key("$limit").Uint(limit).EndDocument();
  }
  if (!fields.empty()) {
    builder.StartDocument().Key("$project").StartDocument();
    for (const std::string& field : fields) builder.Key(field).Int(1);
    builder.EndDocument().EndDocument();
  }
  builder.EndArray();
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> documents,
                        client.Aggregate(collection, ValueView::FromTrusted(pipeline)));
  for (const std::string& document : documents) Print(ValueView::FromTrusted(document));
  return absl::OkStatus();
}

absl::Status PrintStream(Client& client, const std::string& collection, ValueView filter,
                         const std::vector<std::string>& fields) {
  std::uint64_t skip = absl::GetFlag(FLAGS_skip);
  const std::uint64_t limit = absl::GetFlag(FLAGS_limit);
  std::uint64_t printed = 0;
  return client.FindStream(
      collection, filter, 1000,
      [&](ValueView document) {
        if (skip != 0) {
          --skip;
          return true;
        }
        Print(document);
        return ++printed != limit && static_cast<bool>(std::cout);
      },
      fields);
}

absl::Status Run(const tools_internal::ConnectionSettings& connection,
                 const std::string& collection, ValueView filter,
                 const std::optional<std::string>& order) {
  ClientOptions options{
      .host = connection.host, .port = connection.port, .database = absl::GetFlag(FLAGS_db)};
  if (connection.handshake_version.has_value()) {
    options.username = connection.username;
    options.password = connection.password;
    options.handshake_version = *connection.handshake_version;
  }
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(options));
  if (absl::GetFlag(FLAGS_count)) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t count, client->Count(collection, filter));
    std::cout << count << "\n";
    return absl::OkStatus();
  }
  const std::vector<std::string> fields =
      absl::StrSplit(absl::GetFlag(FLAGS_fields), ',', absl::SkipEmpty());
  if (!order.has_value()) return PrintStream(*client, collection, filter, fields);
  return PrintSorted(*client, collection, filter, ValueView::FromTrusted(*order), fields);
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
  const absl::StatusOr<std::string> filter =
      Object("filter", arguments.size() == 2 ? arguments[1] : "{}");
  if (!filter.ok()) return Fail(2, filter.status().message());
  std::optional<std::string> order;
  if (const std::string json = absl::GetFlag(FLAGS_sort); !json.empty()) {
    absl::StatusOr<std::string> parsed = Object("--sort", json);
    if (!parsed.ok()) return Fail(2, parsed.status().message());
    order = *std::move(parsed);
  }
  const absl::Status status =
      Run(*connection, arguments[0], ValueView::FromTrusted(*filter), order);
  if (!status.ok()) return Fail(1, status.message());
  std::cout << std::flush;
  return std::cout ? 0 : 1;
}

}  // namespace
}  // namespace alos

int main(int argc, char** argv) { return alos::Main(argc, argv); }
