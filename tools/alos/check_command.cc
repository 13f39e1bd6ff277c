// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/maintenance/check.h"
#include "tools/alos/command.h"
#include "tools/import/progress.h"
#include "tools/internal/connection_flags.h"

namespace alos::tools {
namespace {

constexpr std::string_view kUsage =
    "alos check: verifies every byte of a data directory that no server has open\n\n"
    "  alos check --data-path /var/lib/alos            all databases\n"
    "  alos check --data-path /var/lib/alos shop       the database shop\n"
    "  alos check --data-path /backups/tuesday --json  one JSON object, for programs\n\n"
    "Checksums of every record, that each is a document with the right _id, that versions form\n"
    "chains and transactions are whole, that checkpoints and indexes agree with the data. Writes\n"
    "nothing. A server that is running checks its own data: see its flag --scrub-mb-per-second.\n\n"
    "Each finding is a line: 'damage' are bytes that are not what was written, with file, offset,\n"
    "collection and document; 'note' is what the next start cuts, undoes or builds again.\n\n"
    "Exit status: 0 no damage, 1 it could not be checked, 2 wrong usage, 3 damage was found. Then\n"
    "alos repair takes what is damaged out of the way, or alos restore brings a backup.";

std::string Json(const CheckReport& report) {
  std::string bytes;
  Builder builder(&bytes);
  const CheckCounts& counts = report.counts;
  builder.StartDocument();
  const auto put = [&](std::string_view key, std::uint64_t value) { builder.Key(key).Uint(value); };
  put("damages", counts.damages);
  put("notes", counts.notes);
  put("databases", counts.databases);
  put("collections", counts.collections);
  put("logs", counts.logs);
  put("log_bytes", counts.log_bytes);
  put("records", counts.records);
  put("documents", counts.documents);
  put("old_versions", counts.versions);
  put("checkpoints", counts.checkpoints);
  put("journal_groups", counts.journal_groups);
  put("joint_decisions", counts.decisions);
  put("index_files", counts.index_files);
  put("index_rows", counts.index_rows);
  builder.Key("findings").StartArray();
  for (const Finding& finding : report.findings) finding.AppendTo(&builder);
  builder.EndArray();
  builder.EndDocument();
  return ToJson(ValueView::FromTrusted(bytes));
}

}  // namespace

int RunCheck(absl::Span<const std::string> arguments) {
  Arguments parsed("alos check");
  parsed.Flag("data-path", "DIR", "", "the directory, as the server's flag of this name")
      .Switch("json", "print one JSON object with all counts and findings")
      .Switch("no-indexes", "leave out what can be built again: secondary indexes");
  int exit_code = kExitOk;
  if (!Begin("alos check", kUsage, arguments, &parsed, &exit_code)) return exit_code;
  if (parsed.Get("data-path").empty())
    return Fail("alos check", kExitUsage, "say where: --data-path DIR (see alos check --help)");
  const bool json = parsed.Has("json");
  CheckOptions options;
  options.databases = parsed.positional();
  options.indexes = !parsed.Has("no-indexes");
  if (!json) {
    options.on_finding = [](const Finding& finding) { std::cout << finding.ToString() << "\n"; };
  }
  const absl::Time start = absl::Now();
  const absl::StatusOr<CheckReport> report =
      CheckDataDirectory(tools_internal::UserPath(parsed.Get("data-path")), options);
  if (!report.ok()) return Fail("alos check", kExitError, report.status().message());
  if (json) {
    std::cout << Json(*report) << "\n";
  } else {
    using import::WithCommas;
    const CheckCounts& counts = report->counts;
    std::cout << "checked " << counts.databases << " database(s): " << WithCommas(counts.documents)
              << " documents in " << counts.collections << " collection(s), "
              << WithCommas(counts.records) << " records in " << counts.logs << " logs ("
              << WithCommas(counts.log_bytes) << " bytes), " << counts.checkpoints
              << " checkpoints, " << counts.index_files << " index files ("
              << WithCommas(counts.index_rows) << " rows compared), " << counts.journal_groups
              << " commit groups; "
              << absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Milliseconds(1)))
              << "\n";
    if (report->is_sound()) {
      std::cout << "no damage"
                << (counts.notes != 0 ? absl::StrCat("; ", counts.notes, " note(s)") : "") << "\n";
    } else {
      std::cout << counts.damages << " damage(s) found; alos repair takes what is damaged out of "
                << "the way, alos restore brings a backup\n";
    }
  }
  std::cout << std::flush;
  if (!std::cout) return kExitError;
  return report->is_sound() ? kExitOk : kExitFindings;
}

}  // namespace alos::tools
