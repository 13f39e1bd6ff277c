// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compares a collection with the file it was imported from: every document must be there, byte for
// byte, and no other.
//
//   compare --number-ids flights-200k.json      (flags as //tools:import)
//
// The file is read by the reader that import uses, so what is compared is everything behind it:
// client, connection, server, storage, recovery. Exit status: 0 equal, 1 not, 2 wrong usage.

#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/id.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/net/client.h"
#include "tools/import/identity.h"
#include "tools/import/records.h"
#include "tools/internal/connection_flags.h"

ABSL_FLAG(std::string, collection, "", "collection to compare with");
ABSL_FLAG(std::string, db, "", "database; the server's default one if empty");
ABSL_FLAG(std::string, array_field, "", "as in the import");
ABSL_FLAG(std::string, id_field, "", "as in the import");
ABSL_FLAG(bool, number_ids, false, "as in the import");

namespace alos {
namespace {

constexpr std::string_view kUsage =
    "compares a collection with the file it was imported from, byte for byte";

struct Expected {
  std::string document;
  bool seen = false;
};

// Documents by encoded id.
absl::StatusOr<absl::flat_hash_map<std::string, Expected>> ReadFile(const std::string& path) {
  std::ifstream file(tools_internal::UserPath(path), std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, " cannot be read"));
  import::RecordReader reader(path, &file, {.array_field = absl::GetFlag(FLAGS_array_field)});
  const import::IdentityOptions identity{.id_field = absl::GetFlag(FLAGS_id_field),
                                         .number_records = absl::GetFlag(FLAGS_number_ids)};
  absl::flat_hash_map<std::string, Expected> documents;
  for (;;) {
    ALOS_ASSIGN_OR_RETURN(std::optional<import::Record> record, reader.Next());
    if (!record.has_value()) return documents;
    if (identity.id_field.empty() && !identity.number_records &&
        !ValueView::FromTrusted(record->document).Find("_id").has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          import::Place(path, *record),
          ": no _id: its documents cannot be told apart; import and compare with --number-ids"));
    }
    ALOS_RETURN_IF_ERROR(import::GiveIdentity(identity, &*record));
    ALOS_ASSIGN_OR_RETURN(std::string id,
                          EncodeId(*ValueView::FromTrusted(record->document).Find("_id")));
    if (!documents.try_emplace(std::move(id), Expected{.document = std::move(record->document)})
             .second) {
      return absl::InvalidArgumentError(
          absl::StrCat(import::Place(path, *record), ": its _id stands in the file before"));
    }
  }
}

struct Differences {
  std::uint64_t equal = 0;
  std::uint64_t different = 0;
  std::uint64_t unexpected = 0;
  std::uint64_t missing = 0;

  std::uint64_t total() const { return different + unexpected + missing; }

  // Shows the first few.
  void Show(std::string_view what, ValueView document) const {
    if (total() <= 5) std::cout << what << ": " << ToJson(document).substr(0, 500) << "\n";
  }
};

absl::StatusOr<Differences> Compare(const std::string& path) {
  ALOS_ASSIGN_OR_RETURN(const tools_internal::ConnectionSettings connection,
                        tools_internal::ConnectionSettingsFromFlags());
  ALOS_ASSIGN_OR_RETURN(auto expected, ReadFile(path));
  ClientOptions options{
      .host = connection.host, .port = connection.port, .database = absl::GetFlag(FLAGS_db)};
  if (connection.handshake_version.has_value()) {
    options.username = connection.username;
    options.password = connection.password;
    options.handshake_version = *connection.handshake_version;
  }
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(options));
  const std::string collection = absl::GetFlag(FLAGS_collection);

  Differences differences;
  absl::Status bad_id;
  const std::string everything = "\x80";
  ALOS_RETURN_IF_ERROR(client->FindStream(
      collection, ValueView::FromTrusted(everything), 1000, [&](ValueView document) {
        const std::optional<ValueView> own_id = document.Find("_id");
        absl::StatusOr<std::string> id =
            own_id.has_value() ? EncodeId(*own_id)
                               : absl::InternalError("a document without an _id came back");
        if (!id.ok()) {
          bad_id = id.status();
          return false;
        }
        const auto found = expected.find(*id);
        if (found == expected.end() || found->second.seen) {
          ++differences.unexpected;
          differences.Show("not in the file, or twice in the collection", document);
        } else if (found->second.document != document.bytes()) {
          ++differences.different;
          differences.Show("different in the collection", document);
        } else {
          ++differences.equal;
        }
        if (found != expected.end()) found->second.seen = true;
        return true;
      }));
  ALOS_RETURN_IF_ERROR(bad_id);
  for (const auto& [id, entry] : expected) {
    if (entry.seen) continue;
    ++differences.missing;
    differences.Show("missing in the collection", ValueView::FromTrusted(entry.document));
  }
  // The count must agree with what the stream showed.
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t counted, client->Count(collection));
  if (counted != differences.equal + differences.different + differences.unexpected) {
    return absl::InternalError(absl::StrCat("the collection counts ", counted,
                                            " documents, its stream has another number"));
  }
  return differences;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> files = tools_internal::ParseCommandLine(argc, argv, kUsage);
  if (files.size() != 1 || absl::GetFlag(FLAGS_collection).empty()) {
    std::cerr << "compare: name one file and the --collection\n";
    return 2;
  }
  const absl::StatusOr<Differences> differences = Compare(files[0]);
  if (!differences.ok()) {
    std::cerr << "compare: " << differences.status().message() << "\n";
    return 1;
  }
  std::cout << files[0] << ": " << differences->equal << " equal, " << differences->different
            << " different, " << differences->missing << " missing, " << differences->unexpected
            << " unexpected\n";
  return differences->total() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace alos

int main(int argc, char** argv) { return alos::Main(argc, argv); }
