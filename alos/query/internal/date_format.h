// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Dates as text, written and read, in the formats of $dateToString and $dateFromString.

#ifndef ALOS_QUERY_INTERNAL_DATE_FORMAT_H_
#define ALOS_QUERY_INTERNAL_DATE_FORMAT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/time_zone.h"

namespace alos::query_internal {

// A date taken apart in a time zone.
struct CivilDate {
  absl::CivilSecond second;
  int milliseconds = 0;
  int offset_seconds = 0;  // east of UTC

  std::int64_t year() const { return second.year(); }
  absl::CivilDay day() const { return absl::CivilDay(second); }
  int day_of_year() const { return absl::GetYearDay(day()); }
  // 1 Sunday to 7 Saturday.
  int day_of_week() const { return (iso_day_of_week() % 7) + 1; }
  // 1 Monday to 7 Sunday.
  int iso_day_of_week() const { return static_cast<int>(absl::GetWeekday(day())) + 1; }
  // Weeks begin on Sunday; days before the first Sunday of the year are in week 0.
  int week() const { return (day_of_year() - day_of_week() + 7) / 7; }
  // The week's Thursday decides the year that it belongs to.
  absl::CivilDay iso_thursday() const { return day() + (4 - iso_day_of_week()); }
  std::int64_t iso_week_year() const { return iso_thursday().year(); }
  int iso_week() const { return (absl::GetYearDay(iso_thursday()) - 1) / 7 + 1; }
};
static_assert(static_cast<int>(absl::Weekday::monday) == 0);

inline absl::Time ToAbslTime(Timestamp time) {
  return absl::FromUnixSeconds(time.seconds) + absl::Nanoseconds(time.nanoseconds);
}
inline CivilDate ToCivil(Timestamp time, absl::TimeZone zone) {
  const absl::TimeZone::CivilInfo info = zone.At(absl::FromUnixSeconds(time.seconds));
  return {info.cs, static_cast<int>(time.nanoseconds / 1'000'000), info.offset};
}
// A time that does not exist, or twice, in `zone` is taken with the offset before the change.
inline Timestamp FromCivil(absl::CivilSecond second, std::uint32_t nanoseconds,
                           absl::TimeZone zone) {
  return {absl::ToUnixSeconds(absl::FromCivil(second, zone)), nanoseconds};
}

inline constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};

inline constexpr std::string_view kIsoFormatZ = "%Y-%m-%dT%H:%M:%S.%LZ";
inline constexpr std::string_view kIsoFormat = "%Y-%m-%dT%H:%M:%S.%L";

// Refuses what neither writing nor reading knows.
inline absl::Status CheckDateFormat(std::string_view format, bool is_for_reading) {
  const std::string_view known = is_for_reading ? "dGHjLmMSuVYzZbB%" : "dGHjLmMSuUVwYzZbB%";
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') continue;
    if (++i == format.size()) {
      return absl::InvalidArgumentError("the format ends with a lone '%'; write '%%' for the sign");
    }
    if (known.find(format[i]) == known.npos) {
      return absl::InvalidArgumentError(absl::StrCat("the format has the unknown '%",
                                                     DescribeText(format.substr(i, 1)),
                                                     "'; known are the letters ", known));
    }
  }
  return absl::OkStatus();
}

// `value` with at least `width` digits.
inline void AppendPadded(std::string* out, std::int64_t value, std::size_t width) {
  const std::string digits = absl::StrCat(value);
  out->append(width - std::min(width, digits.size()), '0');
  *out += digits;
}

// "+0130".
inline void AppendOffset(std::string* out, int seconds) {
  out->push_back(seconds < 0 ? '-' : '+');
  const int minutes = std::abs(seconds) / 60;
  AppendPadded(out, minutes / 60, 2);
  AppendPadded(out, minutes % 60, 2);
}

// REQUIRES: CheckDateFormat has passed `format`.
// Errors: kInvalidArgument for years that are not of four digits.
inline absl::StatusOr<std::string> FormatDate(std::string_view format, const CivilDate& date) {
  if (date.year() < 0 || date.year() > 9999) {
    return absl::InvalidArgumentError(
        absl::StrCat("a date of the year ", date.year(), " has no text; 0 to 9999 have"));
  }
  std::string text;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      text.push_back(format[i]);
      continue;
    }
    switch (format[++i]) {
      case 'd':
        AppendPadded(&text, date.second.day(), 2);
        break;
      case 'G':
        AppendPadded(&text, date.iso_week_year(), 4);
        break;
      case 'H':
        AppendPadded(&text, date.second.hour(), 2);
        break;
      case 'j':
        AppendPadded(&text, date.day_of_year(), 3);
        break;
      case 'L':
        AppendPadded(&text, date.milliseconds, 3);
        break;
      case 'm':
        AppendPadded(&text, date.second.month(), 2);
        break;
      case 'M':
        AppendPadded(&text, date.second.minute(), 2);
        break;
      case 'S':
        AppendPadded(&text, date.second.second(), 2);
        break;
      case 'u':
        AppendPadded(&text, date.iso_day_of_week(), 1);
        break;
      case 'U':
        AppendPadded(&text, date.week(), 2);
        break;
      case 'V':
        AppendPadded(&text, date.iso_week(), 2);
        break;
      case 'w':
        AppendPadded(&text, date.day_of_week(), 1);
        break;
      case 'Y':
        AppendPadded(&text, date.year(), 4);
        break;
      case 'z':
        AppendOffset(&text, date.offset_seconds);
        break;
      case 'Z':
        absl::StrAppend(&text, date.offset_seconds / 60);
        break;
      case 'b':
        text += kMonths[static_cast<std::size_t>(date.second.month() - 1)].substr(0, 3);
        break;
      case 'B':
        text += kMonths[static_cast<std::size_t>(date.second.month() - 1)];
        break;
      default:
        text.push_back(format[i]);
        break;
    }
  }
  return text;
}

// What was read of a date. Absent parts: the first of January 1970, midnight.
struct DateParts {
  std::optional<std::int64_t> year, iso_year;
  std::optional<int> month, day, day_of_year, iso_week, iso_day_of_week;
  int hour = 0, minute = 0, second = 0;
  std::int64_t nanoseconds = 0;
  std::optional<absl::TimeZone> zone;
};

// The first day of an ISO week.
inline absl::CivilDay IsoWeekMonday(std::int64_t iso_year, std::int64_t iso_week) {
  const absl::CivilDay fourth(iso_year, 1, 4);  // always in week 1
  return fourth - static_cast<int>(absl::GetWeekday(fourth)) + 7 * (iso_week - 1);
}

inline absl::StatusOr<Timestamp> DateOfParts(const DateParts& parts, absl::TimeZone zone) {
  const auto check = [](std::string_view name, std::int64_t value, std::int64_t min,
                        std::int64_t max) -> absl::Status {
    if (value >= min && value <= max) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the ", name, " ", value, " is not of ", min, " to ", max));
  };
  for (const absl::Status& status :
       {check("hour", parts.hour, 0, 24), check("minute", parts.minute, 0, 59),
        check("second", parts.second, 0, 60), check("month", parts.month.value_or(1), 1, 12),
        check("day", parts.day.value_or(1), 1, 31),
        check("day of the year", parts.day_of_year.value_or(1), 1, 366),
        check("ISO week", parts.iso_week.value_or(1), 1, 53),
        check("day of the week", parts.iso_day_of_week.value_or(1), 1, 7)}) {
    if (!status.ok()) return status;
  }
  absl::CivilDay day;
  if (parts.iso_year || parts.iso_week || parts.iso_day_of_week) {
    if (parts.month || parts.day || parts.day_of_year || parts.year) {
      return absl::InvalidArgumentError("an ISO week date and a calendar date are mixed");
    }
    day = IsoWeekMonday(parts.iso_year.value_or(1970), parts.iso_week.value_or(1)) +
          (parts.iso_day_of_week.value_or(1) - 1);
  } else if (parts.day_of_year) {
    day = absl::CivilDay(parts.year.value_or(1970), 1, 1) + (*parts.day_of_year - 1);
    if (parts.month || parts.day || day.year() != parts.year.value_or(1970)) {
      return absl::InvalidArgumentError("the day of the year does not fit the rest of the date");
    }
  } else {
    day = absl::CivilDay(parts.year.value_or(1970), parts.month.value_or(1), parts.day.value_or(1));
    if (day.month() != parts.month.value_or(1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the month has no day ", parts.day.value_or(1)));
    }
  }
  const absl::CivilSecond second(day.year(), day.month(), day.day(), parts.hour, parts.minute,
                                 parts.second);
  return FromCivil(second, static_cast<std::uint32_t>(parts.nanoseconds),
                   parts.zone.value_or(zone));
}

// Takes parts of a date off the front of a text. Each Take returns whether it could, and takes
// nothing if not.
class DateScanner {
 public:
  explicit DateScanner(std::string_view text) : rest_(text) {}

  std::string_view rest() const { return rest_; }
  bool AtEnd() const { return rest_.empty(); }
  void SkipSpace() {
    while (!rest_.empty() && rest_[0] == ' ') rest_.remove_prefix(1);
  }
  bool Take(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeIgnoringCase(std::string_view word) {
    if (!absl::StartsWithIgnoreCase(rest_, word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::size_t DigitCount() const {
    const std::size_t end = rest_.find_first_not_of("0123456789");
    return end == rest_.npos ? rest_.size() : end;
  }
  // `min` to `max` digits, as many as there are.
  template <class Number>
  bool TakeNumber(std::size_t min, std::size_t max, Number* number) {
    const std::size_t count = std::min(DigitCount(), max);
    if (count < min) return false;
    std::int64_t value = 0;
    for (const char c : rest_.substr(0, count)) value = 10 * value + (c - '0');
    *number = static_cast<int>(value);
    rest_.remove_prefix(count);
    return true;
  }
  // Digits after a decimal point, as nanoseconds; below that they are dropped.
  bool TakeFraction(std::int64_t* nanoseconds) {
    const std::size_t count = DigitCount();
    if (count == 0) return false;
    std::int64_t value = 0;
    for (std::size_t i = 0; i < 9; ++i) value = 10 * value + (i < count ? rest_[i] - '0' : 0);
    *nanoseconds = value;
    rest_.remove_prefix(count);
    return true;
  }
  // A name in full or its first three letters.
  bool TakeMonth(std::optional<int>* month) {
    for (std::size_t i = 0; i < kMonths.size(); ++i) {
      if (TakeIgnoringCase(kMonths[i]) || TakeIgnoringCase(kMonths[i].substr(0, 3))) {
        *month = static_cast<int>(i) + 1;
        return true;
      }
    }
    return false;
  }
  // "Z", "+02:00", "UTC", "Europe/Berlin".
  bool TakeZone(std::optional<absl::TimeZone>* zone) {
    const std::size_t end = rest_.find_first_of(" ,)");
    std::string_view name = rest_.substr(0, end);
    if (name.empty()) return false;
    // A name may follow that says the same: "GMT+0200".
    if ((name.starts_with("GMT") || name.starts_with("UTC")) && ParseUtcOffset(name.substr(3))) {
      name.remove_prefix(3);
      rest_.remove_prefix(3);
    }
    absl::StatusOr<absl::TimeZone> found = FindTimeZone(name == "z" ? "Z" : name);
    if (!found.ok()) return false;
    *zone = *found;
    rest_.remove_prefix(name.size());
    return true;
  }

 private:
  std::string_view rest_;
};

// Reads `text` as `format` says. REQUIRES: CheckDateFormat has passed `format`.
inline absl::StatusOr<DateParts> ParseDate(std::string_view text, std::string_view format) {
  DateParts parts;
  DateScanner scanner(text);
  const auto number = [&scanner](std::size_t min, std::size_t max, auto* target) {
    int value = 0;
    if (!scanner.TakeNumber(min, max, &value)) return false;
    *target = value;
    return true;
  };
  for (std::size_t i = 0; i < format.size(); ++i) {
    bool taken = false;
    if (format[i] != '%') {
      taken = scanner.Take(format[i]);
    } else {
      switch (format[++i]) {
        case 'd':
          taken = number(1, 2, &parts.day);
          break;
        case 'G':
          taken = number(4, 4, &parts.iso_year);
          break;
        case 'H':
          taken = number(1, 2, &parts.hour);
          break;
        case 'j':
          taken = number(3, 3, &parts.day_of_year);
          break;
        case 'L': {
          int milliseconds = 0;
          taken = number(1, 3, &milliseconds);
          parts.nanoseconds = milliseconds * std::int64_t{1'000'000};
          break;
        }
        case 'm':
          taken = number(1, 2, &parts.month);
          break;
        case 'M':
          taken = number(1, 2, &parts.minute);
          break;
        case 'S':
          taken = number(1, 2, &parts.second);
          break;
        case 'u':
          taken = number(1, 1, &parts.iso_day_of_week);
          break;
        case 'V':
          taken = number(1, 2, &parts.iso_week);
          break;
        case 'Y':
          taken = number(4, 4, &parts.year);
          break;
        case 'b':
        case 'B':
          taken = scanner.TakeMonth(&parts.month);
          break;
        case 'z':
          taken = scanner.TakeZone(&parts.zone);
          break;
        case 'Z': {
          const bool negative = scanner.Take('-');
          if (!negative) scanner.Take('+');
          int minutes = 0;
          taken = number(1, 4, &minutes) && minutes < 24 * 60;
          if (taken) parts.zone = absl::FixedTimeZone((negative ? -60 : 60) * minutes);
          break;
        }
        default:
          taken = scanner.Take('%');
          break;
      }
    }
    if (!taken) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", DescribeText(text), "' does not have the format '",
                       DescribeText(format), "': at '", DescribeText(scanner.rest()), "'"));
    }
  }
  if (!scanner.AtEnd()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", DescribeText(text), "' goes on after the format '", DescribeText(format),
                     "' with '", DescribeText(scanner.rest()), "'"));
  }
  return parts;
}

// Reads a date without a format:
//   2024-02-29   2024-02-29T12:30   2024-02-29 12:30:15.250+01:00   20240229T123015Z   2024-W09-4
//   Thu, 29 Feb 2024 12:30:15 GMT   29 February 2024   Feb 29, 2024 12:30 Europe/Berlin 02/29/2024
inline absl::StatusOr<DateParts> ParseAnyDate(std::string_view text) {
  const absl::Status unreadable = absl::InvalidArgumentError(
      absl::StrCat("'", DescribeText(text),
                   "' is no date that is understood; expected one such as 2024-02-29T12:30:15Z, or "
                   "give a format"));
  DateParts parts;
  DateScanner scanner(text);
  scanner.SkipSpace();
  const auto number = [&scanner](std::size_t min, std::size_t max, auto* target) {
    int value = 0;
    if (!scanner.TakeNumber(min, max, &value)) return false;
    *target = value;
    return true;
  };
  // The day of the week in front says nothing.
  for (const std::string_view name :
       {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}) {
    if (scanner.TakeIgnoringCase(name) || scanner.TakeIgnoringCase(name.substr(0, 3))) {
      scanner.Take(',');
      scanner.SkipSpace();
      break;
    }
  }
  bool valid = false;
  const std::size_t digits = scanner.DigitCount();
  if (digits == 8) {
    valid = number(4, 4, &parts.year) && number(2, 2, &parts.month) && number(2, 2, &parts.day);
  } else if (digits == 4) {
    valid = number(4, 4, &parts.year);
    if (scanner.Take('-') || scanner.Take('/')) {
      if (scanner.Take('W') || scanner.Take('w')) {
        parts.iso_year.swap(parts.year);
        valid = number(2, 2, &parts.iso_week);
        if (scanner.Take('-')) valid = valid && number(1, 1, &parts.iso_day_of_week);
      } else if (scanner.DigitCount() == 3) {
        valid = number(3, 3, &parts.day_of_year);
      } else {
        valid = number(1, 2, &parts.month);
        if (scanner.Take('-') || scanner.Take('/')) valid = valid && number(1, 2, &parts.day);
      }
    } else {
      valid = false;  // a year alone may as well be a time
    }
  } else if (digits == 1 || digits == 2) {
    int first = 0;
    scanner.TakeNumber(1, 2, &first);
    if (scanner.Take('/')) {
      parts.month = first;
      valid = number(1, 2, &parts.day) && scanner.Take('/') && number(4, 4, &parts.year);
    } else {
      const bool dotted = scanner.Take('.');
      const bool dashed = !dotted && scanner.Take('-');
      scanner.SkipSpace();
      parts.day = first;
      valid = dotted && scanner.DigitCount() != 0   ? number(1, 2, &parts.month)
              : dashed && scanner.DigitCount() != 0 ? number(1, 2, &parts.month)
                                                    : scanner.TakeMonth(&parts.month);
      if (!scanner.Take('.')) scanner.Take('-');
      scanner.Take(',');
      scanner.SkipSpace();
      valid = valid && number(4, 4, &parts.year);
    }
  } else if (digits == 0 && scanner.TakeMonth(&parts.month)) {
    scanner.Take('.');
    scanner.SkipSpace();
    valid = number(1, 2, &parts.day);
    scanner.Take(',');
    scanner.SkipSpace();
    valid = valid && number(4, 4, &parts.year);
  }
  if (!valid) return unreadable;

  const bool has_t = scanner.Take('T') || scanner.Take('t');
  if (!has_t) {
    scanner.Take(',');
    scanner.SkipSpace();
  }
  if (const std::size_t count = scanner.DigitCount(); count != 0) {
    if (count == 6 || count == 4) {
      valid = number(2, 2, &parts.hour) && number(2, 2, &parts.minute);
      if (count == 6) valid = valid && number(2, 2, &parts.second);
    } else {
      valid = number(1, 2, &parts.hour);
      if (scanner.Take(':')) {
        valid = valid && number(2, 2, &parts.minute);
        if (scanner.Take(':')) valid = valid && number(2, 2, &parts.second);
      } else {
        valid = valid && has_t;
      }
    }
    if (scanner.Take('.') || scanner.Take(','))
      valid = valid && scanner.TakeFraction(&parts.nanoseconds);
    scanner.SkipSpace();
    const bool pm = scanner.TakeIgnoringCase("pm");
    if (pm || scanner.TakeIgnoringCase("am")) {
      valid = valid && parts.hour >= 1 && parts.hour <= 12;
      parts.hour = parts.hour % 12 + (pm ? 12 : 0);
    }
  } else if (has_t) {
    return unreadable;
  }
  scanner.SkipSpace();
  if (!scanner.AtEnd()) valid = valid && scanner.TakeZone(&parts.zone);
  scanner.SkipSpace();
  if (!valid || !scanner.AtEnd()) return unreadable;
  return parts;
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_DATE_FORMAT_H_
