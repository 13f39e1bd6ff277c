// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include <iostream>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "alos/maintenance/repair.h"
#include "tools/alos/command.h"
#include "tools/internal/connection_flags.h"

namespace alos::tools {
namespace {

constexpr std::string_view kUsage =
    "alos repair: makes a damaged data directory one that opens and works, and deletes nothing\n\n"
    "  alos repair --data-path /var/lib/alos --dry-run   say what would be done\n"
    "  alos repair --data-path /var/lib/alos             all databases that are damaged\n"
    "  alos repair --data-path /var/lib/alos shop        the database shop\n\n"
    "A backup (alos restore) is better: it has the documents. Where there is none: one flipped "
    "bit\n"
    "is put right where the checksum tells which it was. Other damaged bytes are moved into\n"
    "DATABASE/lost+found/TIME, where report.json lists each with its place, its document and what\n"
    "was done. A document whose newest version is damaged is deleted, so that an older one never\n"
    "comes back in silence; its previous version is kept in previous_versions.ndjson there.\n"
    "Checkpoints and indexes that no longer fit are moved, and built again at the next start.\n\n"
    "Exit status: 0 repaired, or nothing was damaged; 1 it could not be repaired, or needs a\n"
    "decision that the message names (then nothing was changed); 2 wrong usage; 3 something is\n"
    "still damaged.";

}  // namespace

int RunRepair(absl::Span<const std::string> arguments) {
  constexpr std::string_view kName = "alos repair";
  Arguments parsed(kName);
  parsed.Flag("data-path", "DIR", "", "the directory, as the server's flag of this name")
      .Switch("dry-run", "say what would be done, and change nothing")
      .Switch("keep-previous",
              "a document whose newest version is damaged goes back to its previous one")
      .Flag("uncertain", "keep|delete", "",
            "documents of which nobody can tell whether a newer version was in unreadable bytes: "
            "they stay as they are, or are deleted (and kept in lost+found)")
      .Switch("accept-missing-logs", "go on without the documents of log files that are missing");
  int exit_code = kExitOk;
  if (!Begin(kName, kUsage, arguments, &parsed, &exit_code)) return exit_code;
  if (parsed.Get("data-path").empty())
    return Fail(kName, kExitUsage, "say where: --data-path DIR (see alos repair --help)");
  RepairOptions options;
  options.databases = parsed.positional();
  options.keep_previous = parsed.Has("keep-previous");
  options.accept_missing_logs = parsed.Has("accept-missing-logs");
  options.dry_run = parsed.Has("dry-run");
  if (const std::string& uncertain = parsed.Get("uncertain"); !uncertain.empty()) {
    if (uncertain != "keep" && uncertain != "delete") {
      return Fail(kName, kExitUsage,
                  absl::StrCat("--uncertain is \"", uncertain, "\"; it must be keep or delete"));
    }
    options.keep_uncertain = uncertain == "keep";
  }
  const absl::StatusOr<RepairReport> report =
      RepairDataDirectory(tools_internal::UserPath(parsed.Get("data-path")), options);
  if (!report.ok()) return Fail(kName, kExitError, report.status().message());
  for (const RepairAction& action : report->actions) std::cout << action.ToString() << "\n";
  if (report->actions.empty()) {
    std::cout << (report->check.is_sound() ? "nothing is damaged\n" : "nothing could be done\n");
  } else {
    std::cout << (options.dry_run ? "would be: " : "") << report->restored
              << " record(s) put right, " << report->deleted << " document(s) deleted, "
              << report->kept << " kept as an older version\n";
  }
  for (const std::string& folder : report->lost_and_found)
    std::cout << "what was taken out, and the list: " << folder << "\n";
  std::cout << std::flush;
  if (options.dry_run) return std::cout ? kExitOk : kExitError;
  for (const Finding& finding : report->check.findings) {
    if (finding.severity == Finding::Severity::kDamage)
      std::cerr << "still " << finding.ToString() << "\n";
  }
  return report->check.is_sound() ? kExitOk : kExitFindings;
}

}  // namespace alos::tools
