// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Imports files of documents: see --help.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
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
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/net/client.h"
#include "tools/import/identity.h"
#include "tools/import/importer.h"
#include "tools/import/progress.h"
#include "tools/import/records.h"
#include "tools/internal/connection_flags.h"

ABSL_FLAG(std::string, collection, "",
          "collection to import into; the file's name without .json "
          "and the like if empty");
ABSL_FLAG(std::string, db, "", "database; the server's default one if empty");
ABSL_FLAG(std::string, format, "auto",
          "auto, json (an array, or objects one after the other), ndjson (an object on each line) "
          "or msgpack");
ABSL_FLAG(std::string, array_field, "",
          "take the records from the array in this field of the file's one object, as the features "
          "of GeoJSON");
ABSL_FLAG(std::string, id_field, "", "use the value of this field as _id");
ABSL_FLAG(bool, number_ids, false, "use the record's number in the file, from 1, as _id");
ABSL_FLAG(bool, drop, false, "drop the collection first");
ABSL_FLAG(bool, skip_bad, false, "pass bad records over and count them, instead of stopping");
ABSL_FLAG(std::uint64_t, batch, 1000, "documents sent at once");
ABSL_FLAG(bool, flush, false, "wait until all of it is on stable storage");
ABSL_FLAG(bool, quiet, false, "no progress, only the result");

namespace alos::import {
namespace {

constexpr std::string_view kUsage =
    "imports files of documents into a collection\n\n"
    "  import movies.json                        into the collection movies\n"
    "  import --drop --number-ids flights.json   anew, with _id 1, 2, 3 ...\n"
    "  import --array-field features quakes.json the features of a GeoJSON file\n"
    "  zcat dump.ndjson.gz | import --collection people -\n"
    "  import --port db:6900 --username admin --password-file secret movies.json\n\n"
    "A file is a JSON array, JSON objects one per line or one after the other, or MessagePack; "
    "the\n"
    "form is detected. Dates, binary data and 64-bit integers in JSON follow MongoDB's Extended\n"
    "JSON: {\"$date\": \"2026-01-02T03:04:05Z\"}.\n"
    "A record without _id gets a new one. A record that is there already with exactly the same\n"
    "content counts as imported, so an import that was interrupted can be repeated.\n"
    "A bad record stops the import with its place and the reason; all ahead of it is in.\n\n"
    "Exit status: 0 all imported, 1 stopped by an error, 2 wrong usage, 3 finished, but records\n"
    "were skipped.";

constexpr int kOk = 0;
constexpr int kStopped = 1;
constexpr int kUsageError = 2;
constexpr int kSkipped = 3;

int Fail(int code, std::string_view message) {
  std::cerr << "import: " << message << "\n";
  return code;
}

std::optional<Format> FormatNamed(std::string_view name) {
  if (name == "auto") return Format::kDetect;
  if (name == "json") return Format::kJson;
  if (name == "ndjson") return Format::kNdjson;
  if (name == "msgpack") return Format::kMessagePack;
  return std::nullopt;
}

// "movies" for "data/movies.json".
std::string CollectionOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  return std::string(path.substr(0, path.find('.', 1)));
}

struct Totals {
  std::uint64_t imported = 0;
  std::uint64_t skipped = 0;
  std::uint64_t bytes = 0;
};

absl::Status ImportFile(Client& client, const std::string& path, const std::string& collection,
                        const RecordOptions& record_options, Totals* totals) {
  std::ifstream file;
  std::istream* input = &std::cin;
  std::uint64_t bytes_total = 0;
  const std::string name = path == "-" ? "standard input" : path;
  if (path != "-") {
    const std::string user_path = tools_internal::UserPath(path);
    file.open(user_path, std::ios::binary);
    struct stat status;
    if (!file || stat(user_path.c_str(), &status) != 0) {
      return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
    }
    if (S_ISDIR(status.st_mode)) return absl::NotFoundError(absl::StrCat(path, " is a directory"));
    bytes_total = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
    input = &file;
  }

  const bool show_progress = !absl::GetFlag(FLAGS_quiet);
  Progress progress(&std::cerr, isatty(STDERR_FILENO) != 0, name, bytes_total, absl::Now());
  const bool skip_bad = absl::GetFlag(FLAGS_skip_bad);
  const auto report_skipped = [&progress](std::string_view message) {
    progress.Clear();
    std::cerr << "import: skipped " << message << "\n";
  };
  const IdentityOptions identity{.id_field = absl::GetFlag(FLAGS_id_field),
                                 .number_records = absl::GetFlag(FLAGS_number_ids)};
  RecordReader reader(name, input, record_options);
  Importer<Client> importer(&client, {.file = name,
                                      .collection = collection,
                                      .batch_documents_max = absl::GetFlag(FLAGS_batch),
                                      .skip_bad = skip_bad,
                                      .on_skipped = report_skipped});
  absl::Status stopped;
  std::uint64_t unreadable = 0;
  for (;;) {
    absl::StatusOr<std::optional<Record>> record = reader.Next();
    if (record.ok() && !record->has_value()) break;
    absl::Status bad = record.status();
    const bool can_continue = record.ok() || reader.can_continue();
    if (bad.ok()) {
      bad = GiveIdentity(identity, &**record);
      if (!bad.ok()) {
        bad = absl::InvalidArgumentError(absl::StrCat(Place(name, **record), ": ", bad.message()));
      }
    }
    if (bad.ok()) {
      stopped = importer.Add(**std::move(record));
    } else if (skip_bad && can_continue) {
      ++unreadable;
      report_skipped(bad.message());
    } else {
      stopped = bad;
    }
    if (!stopped.ok()) break;
    if (show_progress) {
      progress.Update(importer.imported(), reader.bytes_taken(), absl::Now());
    }
  }
  // What was read ahead of the bad record goes in; an error of its own comes first.
  if (const absl::Status finished = importer.Finish(); !finished.ok()) stopped = finished;
  progress.Clear();
  totals->imported += importer.imported();
  totals->skipped += importer.skipped() + unreadable;
  totals->bytes += reader.bytes_taken();
  return stopped;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> files = tools_internal::ParseCommandLine(argc, argv, kUsage);
  const absl::StatusOr<tools_internal::ConnectionSettings> connection =
      tools_internal::ConnectionSettingsFromFlags();
  if (!connection.ok()) return Fail(kUsageError, connection.status().message());
  const std::optional<Format> format = FormatNamed(absl::GetFlag(FLAGS_format));
  if (!format.has_value()) {
    return Fail(kUsageError, absl::StrCat("--format is \"", absl::GetFlag(FLAGS_format),
                                          "\"; it must be auto, json, ndjson or msgpack"));
  }
  if (files.empty()) return Fail(kUsageError, "name a file, or - for standard input (see --help)");
  if (absl::GetFlag(FLAGS_batch) < 1) return Fail(kUsageError, "--batch must be at least 1");
  if (absl::GetFlag(FLAGS_number_ids) && !absl::GetFlag(FLAGS_id_field).empty()) {
    return Fail(kUsageError, "give --id-field or --number-ids, not both");
  }
  std::vector<std::string> collections;
  for (const std::string& file : files) {
    collections.push_back(absl::GetFlag(FLAGS_collection).empty() && file != "-"
                              ? CollectionOf(file)
                              : absl::GetFlag(FLAGS_collection));
    if (collections.back().empty()) {
      return Fail(kUsageError, absl::StrCat(file, ": name the --collection to import into"));
    }
  }

  ClientOptions options{
      .host = connection->host, .port = connection->port, .database = absl::GetFlag(FLAGS_db)};
  if (connection->handshake_version.has_value()) {
    options.username = connection->username;
    options.password = connection->password;
    options.handshake_version = *connection->handshake_version;
  }
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(options);
  if (!client.ok()) return Fail(kStopped, client.status().message());

  int code = kOk;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (absl::GetFlag(FLAGS_drop)) {
      if (const absl::Status dropped = (*client)->Drop(collections[i]); !dropped.ok()) {
        return Fail(kStopped, dropped.message());
      }
    }
    const absl::Time begun = absl::Now();
    Totals totals;
    absl::Status status =
        ImportFile(**client, files[i], collections[i],
                   {.format = *format, .array_field = absl::GetFlag(FLAGS_array_field)}, &totals);
    if (status.ok() && absl::GetFlag(FLAGS_flush)) status = (*client)->Flush();
    std::cout << files[i] << ": " << Rates(totals.imported, totals.bytes, absl::Now() - begun)
              << ", into " << collections[i];
    if (totals.skipped != 0) std::cout << "; " << WithCommas(totals.skipped) << " skipped";
    std::cout << "\n" << std::flush;
    if (!status.ok()) return Fail(kStopped, status.message());
    if (totals.skipped != 0) code = kSkipped;
  }
  return code;
}

}  // namespace
}  // namespace alos::import

int main(int argc, char** argv) { return alos::import::Main(argc, argv); }
