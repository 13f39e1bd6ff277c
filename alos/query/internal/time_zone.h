// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Time zones by name, from the system's database, and by offset.

#ifndef ALOS_QUERY_INTERNAL_TIME_ZONE_H_
#define ALOS_QUERY_INTERNAL_TIME_ZONE_H_

#include <sys/stat.h>

#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "alos/query/internal/describe.h"

namespace alos::query_internal {

// "+02", "-0330", "+05:45": seconds east of UTC.
inline std::optional<int> ParseUtcOffset(std::string_view text) {
  if (text.size() < 3 || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  std::string digits;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == ':' && i == 3 && text.size() == 6) continue;
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    digits.push_back(text[i]);
  }
  if (digits.size() != 2 && digits.size() != 4) return std::nullopt;
  const int hours = (digits[0] - '0') * 10 + (digits[1] - '0');
  const int minutes = digits.size() == 4 ? (digits[2] - '0') * 10 + (digits[3] - '0') : 0;
  if (hours > 23 || minutes > 59) return std::nullopt;
  const int seconds = hours * 3600 + minutes * 60;
  return text[0] == '-' ? -seconds : seconds;
}

// A name of the IANA database ("Europe/Berlin", "UTC") or an offset ("+02:00").
//
// Errors: kInvalidArgument. The database is that of the system (the package tzdata, or $TZDIR).
// Cost: the first use of a name reads its file; a name without a file costs a look each time, and
//   nothing is kept of it.
inline absl::StatusOr<absl::TimeZone> FindTimeZone(std::string_view name) {
  constexpr std::size_t kNameBytesMax = 64;
  if (name == "UTC" || name == "GMT" || name == "Z" || name == "Etc/UTC") {
    return absl::UTCTimeZone();
  }
  if (const std::optional<int> offset = ParseUtcOffset(name)) return absl::FixedTimeZone(*offset);
  // Names are paths of files: only what is below the database's folder may be named.
  bool valid = !name.empty() && name.size() <= kNameBytesMax && name != "localtime";
  bool begins_part = true;
  for (const char c : name) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool is_other = (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+';
    valid = valid && (is_letter || (!begins_part && (is_other || c == '/')));
    begins_part = c == '/';
  }
  if (!valid || begins_part) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", DescribeText(name),
                     "' is no time zone: expected a name such as Europe/Berlin, or an offset such "
                     "as +02:00"));
  }
  const char* const folder_variable = std::getenv("TZDIR");
  const std::string folder = folder_variable != nullptr ? folder_variable : "/usr/share/zoneinfo";
  struct stat status {};
  absl::TimeZone zone;
  if (stat(absl::StrCat(folder, "/", name).c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
      absl::LoadTimeZone(name, &zone)) {
    return zone;
  }
  if (stat(folder.c_str(), &status) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the time zone '", name, "' cannot be looked up: the server's machine has no ",
                     folder, "; install the package tzdata there, or give an offset"));
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no time zone '", name, "' in ", folder));
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_TIME_ZONE_H_
