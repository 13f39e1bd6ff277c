// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What opening a database found, cut and undid: for its statistics, and as a line of JSON in the
// file `recovery_report` of its directory, which keeps the newest few.

#ifndef ALOS_ENGINE_INTERNAL_RECOVERY_REPORT_H_
#define ALOS_ENGINE_INTERNAL_RECOVERY_REPORT_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/storage/atomic_file.h"

namespace alos::engine_internal {

struct RecoveryReport {
  // A place in a log.
  struct Place {
    std::string file;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::string document = {};  // whose version it is, where that is known
  };
  static constexpr std::size_t kPlacesMax = 100;  // more are counted only

  absl::Time started = absl::Now();
  double seconds = 0;
  std::uint64_t journal_groups = 0;
  std::uint64_t journal_torn_bytes = 0;
  std::uint64_t records = 0;  // read behind the checkpoints
  std::uint64_t cut_bytes = 0;
  std::uint64_t undone_transactions = 0;
  // Transactions over several databases that the last run had decided and not installed here, and
  // those that were not installed because the database is an older copy.
  std::uint64_t joint_installed = 0;
  std::uint64_t joint_refused = 0;
  std::uint64_t damaged = 0;
  std::vector<Place> cut_places;
  std::vector<Place> damaged_places;

  // Whether the database had been closed in order and all of it is sound.
  bool is_uneventful() const {
    return journal_groups == 0 && records == 0 && cut_bytes == 0 && damaged == 0;
  }

  void AddCut(Place place) {
    cut_bytes += place.bytes;
    if (cut_places.size() < kPlacesMax) cut_places.push_back(std::move(place));
  }
  void AddDamaged(Place place) {
    ++damaged;
    if (damaged_places.size() < kPlacesMax) damaged_places.push_back(std::move(place));
  }

  void AppendTo(Builder* builder) const {
    builder->StartDocument();
    builder->Key("started").String(absl::FormatTime(started, absl::UTCTimeZone()));
    builder->Key("seconds").Double(seconds);
    builder->Key("journal_groups").Uint(journal_groups);
    builder->Key("records").Uint(records);
    builder->Key("cut_bytes").Uint(cut_bytes + journal_torn_bytes);
    builder->Key("undone_transactions").Uint(undone_transactions);
    builder->Key("damaged_records").Uint(damaged);
    builder->Key("joint_installed").Uint(joint_installed);
    builder->Key("joint_refused").Uint(joint_refused);
    builder->EndDocument();
  }

  std::string ToJson() const {
    std::string json = absl::StrFormat(
        "{\"started\":\"%s\",\"seconds\":%.3f,\"journal_groups\":%d,\"journal_torn_bytes\":%d,"
        "\"records\":%d,\"cut_bytes\":%d,\"undone_transactions\":%d,\"damaged_records\":%d,"
        "\"joint_installed\":%d,\"joint_refused\":%d",
        absl::FormatTime(started, absl::UTCTimeZone()), seconds, journal_groups, journal_torn_bytes,
        records, cut_bytes, undone_transactions, damaged, joint_installed, joint_refused);
    AppendPlaces("cut", cut_places, &json);
    AppendPlaces("damaged", damaged_places, &json);
    json.push_back('}');
    return json;
  }

 private:
  static void AppendPlaces(std::string_view name, const std::vector<Place>& places,
                           std::string* json) {
    absl::StrAppend(json, ",\"", name, "\":[");
    for (std::size_t i = 0; i < places.size(); ++i) {
      absl::StrAppend(json, i == 0 ? "" : ",", "{\"file\":");
      AppendString(places[i].file, json);
      absl::StrAppend(json, ",\"offset\":", places[i].offset, ",\"bytes\":", places[i].bytes);
      if (!places[i].document.empty()) {
        absl::StrAppend(json, ",\"document\":");
        AppendString(places[i].document, json);
      }
      json->push_back('}');
    }
    json->push_back(']');
  }
  static void AppendString(std::string_view text, std::string* json) {
    json->push_back('"');
    for (const char c : text) {
      if (c == '"' || c == '\\') {
        json->push_back('\\');
        json->push_back(c);
      } else if (static_cast<unsigned char>(c) < 0x20) {
        absl::StrAppendFormat(json, "\\u%04x", static_cast<unsigned>(c));
      } else {
        json->push_back(c);
      }
    }
    json->push_back('"');
  }
};

inline constexpr std::string_view kRecoveryReportFileName = "recovery_report";

// Adds a report to the file. Nobody depends on it: an error is only worth a log line.
template <class FileSystem>
absl::Status StoreRecoveryReport(FileSystem& file_system, const std::string& directory,
                                 const RecoveryReport& report) {
  constexpr std::size_t kKept = 8;
  constexpr std::size_t kBytesMax = std::size_t{1} << 20;
  std::vector<std::string> lines;
  const absl::StatusOr<std::string> before =
      ReadWholeFile(file_system, absl::StrCat(directory, "/", kRecoveryReportFileName));
  if (before.ok() && before->size() <= kBytesMax)
    lines = absl::StrSplit(*before, '\n', absl::SkipEmpty());
  lines.push_back(report.ToJson());
  std::string content;
  for (std::size_t i = lines.size() - std::min(lines.size(), kKept); i < lines.size(); ++i)
    absl::StrAppend(&content, lines[i], "\n");
  return ReplaceFile(file_system, directory, kRecoveryReportFileName, content);
}

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_RECOVERY_REPORT_H_
