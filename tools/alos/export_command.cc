// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/posix_file_system.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/net/client.h"
#include "tools/alos/command.h"
#include "tools/alos/connection.h"
#include "tools/alos/portable.h"
#include "tools/import/progress.h"
#include "tools/internal/connection_flags.h"

namespace alos::tools {
namespace {

constexpr std::string_view kExportUsage =
    "alos export: writes collections as one stream of MessagePack, for any alos\n\n"
    "  alos export --to all.alosexport                     the server's default database\n"
    "  alos export --db shop --to shop.alosexport orders   the collection orders of shop\n"
    "  alos export --db shop --to - | zstd > shop.zst\n\n"
    "Each collection is one snapshot; all of them are the same one with --snapshot, which the\n"
    "server has to keep as long as the export takes (--history-retention). With the documents go "
    "the\n"
    "definitions of indexes that somebody created. The stream is a sequence of maps that any\n"
    "MessagePack library reads (docs/format.md). A file gets its name when it is complete.\n\n"
    "Exit status: 0 done, 1 it could not be done, 2 wrong usage.";

constexpr std::string_view kImportUsage =
    "alos import: brings what alos export wrote into a server, whatever its number of shards\n\n"
    "  alos import all.alosexport                           into the server's default database\n"
    "  alos import --db shop shop.alosexport orders         only the collection orders\n"
    "  zstd -dc shop.zst | alos import --db shop -\n\n"
    "A document that is there already, the same byte for byte, counts as imported: repeat the\n"
    "command to go on with an import that was interrupted. Another document with its _id is a\n"
    "reason to stop; nothing is ever replaced. Indexes are created behind the documents. For JSON\n"
    "and other files see ./bazelw run //tools:import.\n\n"
    "Exit status: 0 all imported, 1 stopped by an error (what came before it is in), 2 wrong "
    "usage.";

class CountsLine {
 public:
  explicit CountsLine(std::string label, std::uint64_t bytes_total = 0)
      : progress_(&std::cerr, ::isatty(STDERR_FILENO) != 0, std::move(label), bytes_total,
                  absl::Now()) {}
  ~CountsLine() { progress_.Clear(); }
  void operator()(const PortableCounts& counts) {
    if (++calls_ % 256 == 0) progress_.Update(counts.documents, counts.bytes, absl::Now());
  }

 private:
  import::Progress progress_;
  std::uint64_t calls_ = 0;
};

absl::StatusOr<std::vector<std::string>> ListCollections(Client& client) {
  ALOS_ASSIGN_OR_RETURN(const std::string stats, client.Stats());
  std::vector<std::string> names;
  const std::optional<ValueView> collections = ValueView::FromTrusted(stats).Find("collections");
  if (collections && collections->IsDocument()) {
    for (const auto [name, value] : collections->entries()) {
      if (name.substr(0, 1) != "$") names.emplace_back(name);  // the server's own
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<PortableCounts> Export(const Arguments& parsed) {
  ALOS_ASSIGN_OR_RETURN(ClientOptions options, ClientOptionsFromFlags(parsed.Get("db")));
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(std::move(options)));
  std::vector<std::string> collections = parsed.positional();
  if (collections.empty()) {
    ALOS_ASSIGN_OR_RETURN(collections, ListCollections(*client));
  } else {
    for (const std::string& name : collections) {
      ALOS_ASSIGN_OR_RETURN(const bool exists, client->CollectionExists(name));
      if (!exists) return absl::NotFoundError(absl::StrCat("there is no collection '", name, "'"));
    }
  }
  ClientFindOptions find;
  if (parsed.Has("snapshot")) {
    ALOS_ASSIGN_OR_RETURN(find.read_timestamp, client->ReadTimestamp());
  }
  CountsLine line("exporting");
  const auto progress = [&line](const PortableCounts& counts) { line(counts); };
  const std::string& to = parsed.Get("to");
  if (to == "-") {
    return tools::Export(
        *client, parsed.Get("db"), collections, find,
        [](std::string_view bytes) {
          std::cout.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
          std::cout.flush();
          return std::cout ? absl::OkStatus()
                           : absl::UnavailableError("standard output takes no more");
        },
        progress);
  }
  const std::string path = tools_internal::UserPath(to);
  const std::string temporary = absl::StrCat(path, ".new");
  PosixFileSystem system;
  PortableCounts counts;
  {
    ALOS_ASSIGN_OR_RETURN(const auto file, system.Open(temporary, OpenMode::kCreate));
    ALOS_RETURN_IF_ERROR(file->Truncate(0));
    std::uint64_t offset = 0;
    ALOS_ASSIGN_OR_RETURN(counts, tools::Export(
                                      *client, parsed.Get("db"), collections, find,
                                      [&](std::string_view bytes) -> absl::Status {
                                        ALOS_RETURN_IF_ERROR(file->WriteAt(offset, bytes));
                                        offset += bytes.size();
                                        return absl::OkStatus();
                                      },
                                      progress));
    ALOS_RETURN_IF_ERROR(file->Sync());
  }
  ALOS_RETURN_IF_ERROR(system.Rename(temporary, path));
  return counts;
}

absl::StatusOr<PortableCounts> Import(const Arguments& parsed) {
  ALOS_ASSIGN_OR_RETURN(ClientOptions options, ClientOptionsFromFlags(parsed.Get("db")));
  // Building an index may take long.
  options.request_timeout = absl::Hours(24);
  const std::string& from = parsed.positional()[0];
  std::ifstream file;
  std::istream* input = &std::cin;
  std::uint64_t bytes_total = 0;
  if (from != "-") {
    const std::string path = tools_internal::UserPath(from);
    file.open(path, std::ios::binary);
    struct stat status;
    if (!file || ::stat(path.c_str(), &status) != 0)
      return absl::NotFoundError(absl::StrCat(from, ": ", std::strerror(errno)));
    if (S_ISREG(status.st_mode)) bytes_total = static_cast<std::uint64_t>(status.st_size);
    input = &file;
  }
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(std::move(options)));
  ImportStreamOptions import_options;
  import_options.name = from == "-" ? "standard input" : from;
  import_options.collections.assign(parsed.positional().begin() + 1, parsed.positional().end());
  import_options.indexes = !parsed.Has("no-indexes");
  CountsLine line("importing", bytes_total);
  ALOS_ASSIGN_OR_RETURN(const PortableCounts counts,
                        tools::Import(*client, input, import_options,
                                      [&line](const PortableCounts& now) { line(now); }));
  ALOS_RETURN_IF_ERROR(client->Flush());
  return counts;
}

int Report(std::string_view name, const absl::StatusOr<PortableCounts>& counts, absl::Time start,
           std::ostream& out) {
  if (!counts.ok()) return Fail(name, kExitError, counts.status().message());
  out << counts->collections
      << " collection(s): " << import::Rates(counts->documents, counts->bytes, absl::Now() - start)
      << "\n"
      << std::flush;
  return kExitOk;
}

}  // namespace

int RunExport(absl::Span<const std::string> arguments) {
  constexpr std::string_view kName = "alos export";
  Arguments parsed(kName);
  parsed.Connection()
      .Flag("to", "FILE", "", "where to; - for standard output")
      .Flag("db", "NAME", "", "the database; the server's default one if empty")
      .Switch("snapshot", "all collections as they are at one moment");
  int exit_code = kExitOk;
  if (!Begin(kName, kExportUsage, arguments, &parsed, &exit_code)) return exit_code;
  if (parsed.Get("to").empty())
    return Fail(kName, kExitUsage, "say where to: --to FILE (see alos export --help)");
  const absl::Time start = absl::Now();
  return Report(kName, Export(parsed), start, parsed.Get("to") == "-" ? std::cerr : std::cout);
}

int RunImport(absl::Span<const std::string> arguments) {
  constexpr std::string_view kName = "alos import";
  Arguments parsed(kName);
  parsed.Connection()
      .Flag("db", "NAME", "", "the database; the server's default one if empty")
      .Switch("no-indexes", "do not create the indexes of the export");
  int exit_code = kExitOk;
  if (!Begin(kName, kImportUsage, arguments, &parsed, &exit_code)) return exit_code;
  if (parsed.positional().empty())
    return Fail(kName, kExitUsage,
                "name the file, or - for standard input (see alos import --help)");
  const absl::Time start = absl::Now();
  return Report(kName, Import(parsed), start, std::cout);
}

}  // namespace alos::tools
