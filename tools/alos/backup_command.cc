// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/maintenance/backup.h"
#include "tools/alos/client_backup_source.h"
#include "tools/alos/command.h"
#include "tools/alos/connection.h"
#include "tools/import/progress.h"
#include "tools/internal/connection_flags.h"

namespace alos::tools {
namespace {

constexpr std::string_view kBackupUsage =
    "alos backup: copies databases of a running server, consistent at one moment each\n\n"
    "  alos backup --to /backups/alos                 the server's default database\n"
    "  alos backup --to /backups/alos shop orders     these databases\n"
    "  alos backup --to /backups/alos --all           all that the server has\n"
    "  alos backup --to - shop | ssh vault 'cat > shop.alosbackup'\n"
    "  alos backup verify /backups/alos               every byte of every backup in the folder\n\n"
    "A folder is for one server. The second backup into it, and each after that, writes only what\n"
    "has changed since (in chunks of 1 MiB), and needs the files before it. A stream (--to -) has\n"
    "everything. All of a database, over all its shards and collections, is as it was at one "
    "commit\n"
    "timestamp, which is printed: all commits up to it, none after it. Databases are independent "
    "of\n"
    "each other: each has a timestamp of its own. Works from anywhere the server can be "
    "reached.\n\n"
    "Exit status: 0 done; 1 it could not be done (the backups that were there are as before); 2\n"
    "wrong usage; 3 done, but records of the source are damaged, or the backup is (verify).";

constexpr std::string_view kRestoreUsage =
    "alos restore: makes databases of a backup, new ones only\n\n"
    "  alos restore --from /backups/alos --data-path /var/lib/alos           all of the newest\n"
    "  alos restore --from /backups/alos --data-path /var/lib/alos shop      only this database\n"
    "  alos restore --from /backups/alos --number 7 --data-path /tmp/then    an earlier one\n"
    "  ssh vault 'cat shop.alosbackup' | alos restore --from - --data-path /var/lib/alos\n\n"
    "No server may have the directory open, and nothing is replaced: a database that is there is "
    "a\n"
    "reason to stop. Every chunk is verified as it is read, every record once it is in place; a\n"
    "database gets its name when all of it is on disk. Indexes are built again by the server.\n\n"
    "Exit status: 0 restored and sound; 1 it could not be done; 2 wrong usage; 3 restored, but "
    "the\n"
    "source was damaged when it was backed up (the lines say where; then see alos repair).";

class ProgressLine {
 public:
  explicit ProgressLine(std::string_view verb)
      : verb_(verb), is_terminal_(::isatty(STDERR_FILENO) != 0) {}
  ~ProgressLine() {
    if (drawn_) std::cerr << "\r\x1b[K" << std::flush;
  }
  void operator()(const BackupProgress& progress) {
    const absl::Time now = absl::Now();
    if (!is_terminal_ || now - last_ < absl::Milliseconds(100)) return;
    last_ = now;
    drawn_ = true;
    const double percent = progress.bytes_total == 0
                               ? 0
                               : 100.0 * static_cast<double>(progress.bytes_done) /
                                     static_cast<double>(progress.bytes_total);
    std::cerr << "\r" << verb_ << " "
              << (progress.bytes_total == 0 ? "" : absl::StrFormat("%.0f %% of ", percent))
              << import::WithCommas(std::max(progress.bytes_total, progress.bytes_done))
              << " bytes\x1b[K" << std::flush;
  }

 private:
  const std::string verb_;
  const bool is_terminal_;
  bool drawn_ = false;
  absl::Time last_ = absl::InfinitePast();
};

std::string Rate(std::uint64_t bytes, absl::Duration elapsed) {
  return absl::StrFormat(
      "%s bytes in %.2f s (%.0f MB/s)", import::WithCommas(bytes), absl::ToDoubleSeconds(elapsed),
      static_cast<double>(bytes) / 1e6 / std::max(absl::ToDoubleSeconds(elapsed), 1e-3));
}

absl::Status WriteAll(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      return absl::UnavailableError(absl::StrCat("writing the stream: ", std::strerror(errno)));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return absl::OkStatus();
}
absl::Status ReadAll(int descriptor, std::uint64_t bytes, std::string* out) {
  out->resize(bytes);
  std::uint64_t done = 0;
  while (done < bytes) {
    const ssize_t count = ::read(descriptor, out->data() + done, bytes - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      return absl::UnavailableError(absl::StrCat("reading the stream: ", std::strerror(errno)));
    if (count == 0)
      return absl::DataLossError("the stream ends too early: the backup was not complete");
    done += static_cast<std::uint64_t>(count);
  }
  return absl::OkStatus();
}

absl::StatusOr<BackupSummary> Backup(const Arguments& parsed, ProgressLine* progress) {
  ALOS_ASSIGN_OR_RETURN(ClientOptions client_options, ClientOptionsFromFlags());
  ALOS_ASSIGN_OR_RETURN(const auto source, ClientBackupSource::Connect(std::move(client_options)));
  BackupOptions options;
  options.databases = parsed.positional();
  options.verify_source = !parsed.Has("no-verify");
  options.on_progress = [progress](const BackupProgress& now) { (*progress)(now); };
  if (options.databases.empty()) {
    ALOS_ASSIGN_OR_RETURN(const auto databases, source->ListDatabases());
    options.databases =
        parsed.Has("all") ? databases.names : std::vector<std::string>{databases.default_name};
    if (options.databases.empty()) return absl::NotFoundError("the server has no databases yet");
  }
  const std::string& to = parsed.Get("to");
  if (to == "-") {
    return BackupToStream(*source, options,
                          [](std::string_view bytes) { return WriteAll(STDOUT_FILENO, bytes); });
  }
  return BackupToFolder(*source, options, tools_internal::UserPath(to));
}

int Verify(std::string_view folder) {
  constexpr std::string_view kName = "alos backup verify";
  const absl::Time start = absl::Now();
  const absl::StatusOr<BackupVerification> result = VerifyBackups(tools_internal::UserPath(folder));
  if (!result.ok()) return Fail(kName, kExitError, result.status().message());
  for (const std::string& problem : result->problems) std::cout << "damage: " << problem << "\n";
  std::cout << "verified " << result->backups << " backup(s): " << result->chunks << " chunks, "
            << Rate(result->bytes, absl::Now() - start) << "; "
            << (result->problems.empty() ? std::string("no damage")
                                         : absl::StrCat(result->problems.size(), " damage(s)"))
            << "\n"
            << std::flush;
  return result->problems.empty() ? kExitOk : kExitFindings;
}

}  // namespace

int RunBackup(absl::Span<const std::string> arguments) {
  constexpr std::string_view kName = "alos backup";
  Arguments parsed(kName);
  parsed.Connection()
      .Flag("to", "FOLDER", "", "where to; - for a stream on standard output")
      .Switch("all", "all databases of the server")
      .Switch("no-verify", "do not verify the source's records before they are copied");
  int exit_code = kExitOk;
  if (!Begin(kName, kBackupUsage, arguments, &parsed, &exit_code)) return exit_code;
  if (!parsed.positional().empty() && parsed.positional()[0] == "verify" &&
      parsed.Get("to").empty()) {
    if (parsed.positional().size() != 2)
      return Fail(kName, kExitUsage, "verify needs one folder: alos backup verify FOLDER");
    return Verify(parsed.positional()[1]);
  }
  if (parsed.Get("to").empty())
    return Fail(kName, kExitUsage, "say where to: --to FOLDER (see alos backup --help)");
  if (parsed.Has("all") && !parsed.positional().empty())
    return Fail(kName, kExitUsage, "name databases or say --all, not both");
  if (parsed.Get("to") == "-" && ::isatty(STDOUT_FILENO) != 0)
    return Fail(kName, kExitUsage, "a stream is for a file or a pipe, not for a terminal");
  const absl::Time start = absl::Now();
  absl::StatusOr<BackupSummary> summary = [&] {
    ProgressLine progress("backing up");
    return Backup(parsed, &progress);
  }();
  if (!summary.ok()) return Fail(kName, kExitError, summary.status().message());
  // On standard error when standard output is the backup.
  std::ostream& out = parsed.Get("to") == "-" ? std::cerr : std::cout;
  for (const auto& [name, timestamp] : summary->timestamps)
    out << "database " << name << " as of timestamp " << timestamp << "\n";
  for (const Finding& finding : summary->damaged) out << finding.ToString() << "\n";
  out << (summary->file.empty() ? std::string("stream") : summary->file) << ": "
      << summary->databases << " database(s), " << Rate(summary->bytes, absl::Now() - start) << ", "
      << import::WithCommas(summary->bytes_copied) << " of them new\n"
      << std::flush;
  if (summary->damaged.empty()) return kExitOk;
  std::cerr << kName << ": " << summary->damaged.size()
            << " records of the source are damaged, and are so in the backup; see alos repair\n";
  return kExitFindings;
}

int RunRestore(absl::Span<const std::string> arguments) {
  constexpr std::string_view kName = "alos restore";
  Arguments parsed(kName);
  parsed.Flag("from", "FOLDER", "", "the folder of the backups; - for a stream on standard input")
      .Flag("data-path", "DIR", "", "the data directory to restore into; made when absent")
      .Flag("number", "N", "0", "which backup of the folder; 0: the newest");
  int exit_code = kExitOk;
  if (!Begin(kName, kRestoreUsage, arguments, &parsed, &exit_code)) return exit_code;
  if (parsed.Get("from").empty() || parsed.Get("data-path").empty()) {
    return Fail(kName, kExitUsage,
                "say from where and where to: --from FOLDER --data-path DIR (see alos restore "
                "--help)");
  }
  RestoreOptions options;
  options.data_path = tools_internal::UserPath(parsed.Get("data-path"));
  options.databases = parsed.positional();
  std::uint64_t number = 0;
  if (const absl::Status status = parsed.GetNumber("number", &number); !status.ok())
    return Fail(kName, kExitUsage, status.message());
  options.number = static_cast<std::uint32_t>(number);
  const std::string from = parsed.Get("from");
  const absl::Time start = absl::Now();
  const absl::StatusOr<RestoreSummary> summary = [&]() -> absl::StatusOr<RestoreSummary> {
    ProgressLine progress("restoring");
    options.on_progress = [&progress](const BackupProgress& now) { progress(now); };
    if (from == "-") {
      return RestoreFromStream(
          [](std::uint64_t bytes, std::string* out) { return ReadAll(STDIN_FILENO, bytes, out); },
          options);
    }
    return RestoreFromFolder(tools_internal::UserPath(from), options);
  }();
  if (!summary.ok()) return Fail(kName, kExitError, summary.status().message());
  for (const auto& [name, timestamp] : summary->timestamps)
    std::cout << "database " << name << " as of timestamp " << timestamp << "\n";
  for (const Finding& finding : summary->check.findings) std::cout << finding.ToString() << "\n";
  std::cout << options.data_path << ": " << summary->databases.size() << " database(s), "
            << import::WithCommas(summary->check.counts.documents) << " documents, "
            << Rate(summary->bytes, absl::Now() - start) << "; "
            << (summary->check.is_sound() ? std::string("all records verified")
                                          : absl::StrCat(summary->check.counts.damages, " damaged"))
            << "\n"
            << std::flush;
  return summary->check.is_sound() ? kExitOk : kExitFindings;
}

}  // namespace alos::tools
