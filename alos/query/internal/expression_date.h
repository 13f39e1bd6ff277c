// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators on dates: parts, arithmetic, text.
//
// Calendar work is absl's; time zones are looked up once per expression where they are constant.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_DATE_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_DATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/time/civil_time.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/query/internal/date_format.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_number.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/time_zone.h"

namespace alos::query_internal {

// The text of a date in UTC: "2024-02-29T12:30:15.250Z".
inline absl::StatusOr<std::string> DateText(Timestamp time) {
  return FormatDate(kIsoFormatZ, ToCivil(time, absl::UTCTimeZone()));
}

namespace expression_date {

enum class DateUnit { kYear, kQuarter, kMonth, kWeek, kDay, kHour, kMinute, kSecond, kMillisecond };

inline std::optional<DateUnit> ParseUnit(std::string_view name) {
  static constexpr std::string_view kNames[] = {"year", "quarter", "month",  "week",       "day",
                                                "hour", "minute",  "second", "millisecond"};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<DateUnit>(i);
  }
  return std::nullopt;
}

inline std::int64_t UnitMillis(DateUnit unit) {
  switch (unit) {
    case DateUnit::kHour:
      return 3'600'000;
    case DateUnit::kMinute:
      return 60'000;
    case DateUnit::kSecond:
      return 1000;
    default:
      return 1;
  }
}

inline std::int64_t FloorDivide(std::int64_t a, std::int64_t b) {  // b > 0
  return a / b - (a % b < 0 ? 1 : 0);
}

// --- Arguments. Each sets *is_null, and the rest only if it is not. ---

// What calendars reach comfortably; beyond are only errors of units.
inline constexpr std::int64_t kSecondsMax = std::int64_t{9'000'000'000'000'000};

inline bool TakeDate(const Node& node, Evaluation& e, std::size_t index, bool* is_null,
                     Timestamp* date) {
  Operand value;
  if (!EvaluateArgument(node, index, e, &value)) return false;
  *is_null = IsNullish(value);
  if (*is_null) return true;
  if (value->type() != ValueType::kTimestamp) {
    return Fail(node, e, "expected a date, found ", Describe(*value));
  }
  *date = value->AsTimestamp();
  if (date->seconds < -kSecondsMax || date->seconds > kSecondsMax) {
    return Fail(node, e, "the date is out of range");
  }
  return true;
}

// UTC if it was left out.
inline bool TakeZone(const Node& node, Evaluation& e, std::size_t index, bool* is_null,
                     absl::TimeZone* zone) {
  *is_null = false;
  if (node.arguments[index] == nullptr) {
    *zone = absl::UTCTimeZone();
    return true;
  }
  if (node.extra != nullptr) {
    *zone = *static_cast<const absl::TimeZone*>(node.extra.get());
    return true;
  }
  Operand value;
  if (!EvaluateArgument(node, index, e, &value)) return false;
  *is_null = IsNullish(value);
  if (*is_null) return true;
  if (!value->IsString()) {
    return Fail(node, e, "'timezone' has to be a string, found ", Describe(*value));
  }
  const absl::StatusOr<absl::TimeZone> found = FindTimeZone(value->AsString());
  if (!found.ok()) return Fail(node, e, found.status().message());
  *zone = *found;
  return true;
}

// Looks a constant time zone up.
template <std::size_t zone_index>
absl::Status PrepareZone(ExpressionCompiler& compiler, Node& node) {
  const Node* const argument = node.arguments[zone_index];
  if (!IsConstant(argument) || !argument->constant.IsString()) return absl::OkStatus();
  absl::StatusOr<absl::TimeZone> zone = FindTimeZone(argument->constant.AsString());
  if (!zone.ok()) return compiler.Error(*node.op, zone.status().message());
  node.extra = std::make_shared<const absl::TimeZone>(*zone);
  return absl::OkStatus();
}

inline bool TakeUnit(const Node& node, Evaluation& e, std::size_t index, bool* is_null,
                     DateUnit* unit) {
  Operand value;
  if (!EvaluateArgument(node, index, e, &value)) return false;
  *is_null = IsNullish(value);
  if (*is_null) return true;
  const std::optional<DateUnit> parsed =
      value->IsString() ? ParseUnit(value->AsString()) : std::nullopt;
  if (!parsed) {
    return Fail(node, e,
                "'unit' has to be one of year, quarter, month, week, day, hour, minute, second and "
                "millisecond; found ",
                Describe(*value));
  }
  *unit = *parsed;
  return true;
}

// 0 Monday to 6 Sunday, which it is if left out.
inline bool TakeStartOfWeek(const Node& node, Evaluation& e, std::size_t index, bool* is_null,
                            int* day) {
  *is_null = false;
  *day = 6;
  if (node.arguments[index] == nullptr) return true;
  Operand value;
  if (!EvaluateArgument(node, index, e, &value)) return false;
  *is_null = IsNullish(value);
  if (*is_null) return true;
  static constexpr std::string_view kDays[] = {"monday", "tuesday",  "wednesday", "thursday",
                                               "friday", "saturday", "sunday"};
  if (value->IsString()) {
    for (std::size_t i = 0; i < std::size(kDays); ++i) {
      if (absl::EqualsIgnoreCase(value->AsString(), kDays[i]) ||
          absl::EqualsIgnoreCase(value->AsString(), kDays[i].substr(0, 3))) {
        *day = static_cast<int>(i);
        return true;
      }
    }
  }
  return Fail(node, e, "'startOfWeek' has to be the name of a day, such as monday or mon; found ",
              Describe(*value));
}

// --- Parts ---

// {$year: date} or {$year: {date: ..., timezone: ...}}: arguments date, timezone.
inline constexpr std::string_view kDateAndZone[] = {"date", "timezone?"};

template <auto part>
bool EvaluatePart(const Node& node, Evaluation& e, Operand* out) {
  bool date_is_null = false;
  bool zone_is_null = false;
  Timestamp date;
  absl::TimeZone zone;
  if (!TakeDate(node, e, 0, &date_is_null, &date)) return false;
  if (!TakeZone(node, e, 1, &zone_is_null, &zone)) return false;
  if (date_is_null || zone_is_null) return e.SetNull(out);
  return e.SetInt(part(ToCivil(date, zone)), out);
}

inline std::int64_t Year(const CivilDate& date) { return date.year(); }
inline std::int64_t Month(const CivilDate& date) { return date.second.month(); }
inline std::int64_t DayOfMonth(const CivilDate& date) { return date.second.day(); }
inline std::int64_t DayOfWeek(const CivilDate& date) { return date.day_of_week(); }
inline std::int64_t DayOfYear(const CivilDate& date) { return date.day_of_year(); }
inline std::int64_t Hour(const CivilDate& date) { return date.second.hour(); }
inline std::int64_t Minute(const CivilDate& date) { return date.second.minute(); }
inline std::int64_t Second(const CivilDate& date) { return date.second.second(); }
inline std::int64_t Millisecond(const CivilDate& date) { return date.milliseconds; }
inline std::int64_t Week(const CivilDate& date) { return date.week(); }
inline std::int64_t IsoWeek(const CivilDate& date) { return date.iso_week(); }
inline std::int64_t IsoWeekYear(const CivilDate& date) { return date.iso_week_year(); }
inline std::int64_t IsoDayOfWeek(const CivilDate& date) { return date.iso_day_of_week(); }

inline absl::StatusOr<const Node*> CompilePart(ExpressionCompiler& compiler, const Operator& op,
                                               ValueView argument) {
  const bool named = argument.IsDocument() && argument.size() != 0 &&
                     !(*argument.entries().begin()).key.starts_with('$');
  Node* const node = compiler.NewNode(op.evaluate, &op);
  if (named) {
    ALOS_RETURN_IF_ERROR(compiler.CompileNamed(op, kDateAndZone, argument, node));
  } else {
    if (argument.IsArray()) {
      if (argument.size() != 1) {
        return compiler.Error(op, "expected 1 argument, found ", argument.size());
      }
      argument = *argument.At(0);
    }
    ALOS_ASSIGN_OR_RETURN(const Node* const date, compiler.Compile(argument));
    node->arguments = {date, nullptr};
  }
  ALOS_RETURN_IF_ERROR(PrepareZone<1>(compiler, *node));
  return compiler.FoldIfConstant(node);
}

inline constexpr std::string_view kToPartsNames[] = {"date", "timezone?", "iso8601?"};

inline bool EvaluateToParts(const Node& node, Evaluation& e, Operand* out) {
  bool date_is_null = false;
  bool zone_is_null = false;
  Timestamp date;
  absl::TimeZone zone;
  if (!TakeDate(node, e, 0, &date_is_null, &date)) return false;
  if (!TakeZone(node, e, 1, &zone_is_null, &zone)) return false;
  bool iso = false;
  if (node.arguments[2] != nullptr) {
    Operand value;
    if (!EvaluateArgument(node, 2, e, &value)) return false;
    if (IsNullish(value)) return e.SetNull(out);
    if (!value->IsBool()) {
      return Fail(node, e, "'iso8601' has to be true or false, found ", Describe(*value));
    }
    iso = value->AsBool();
  }
  if (date_is_null || zone_is_null) return e.SetNull(out);
  const CivilDate civil = ToCivil(date, zone);
  const std::size_t mark = e.fields.size();
  const auto add = [&](std::string_view name, std::int64_t number) {
    Operand value;
    return e.SetInt(number, &value) && e.PushField(name, *value);
  };
  if (iso ? !(add("isoWeekYear", civil.iso_week_year()) && add("isoWeek", civil.iso_week()) &&
              add("isoDayOfWeek", civil.iso_day_of_week()))
          : !(add("year", civil.year()) && add("month", civil.second.month()) &&
              add("day", civil.second.day()))) {
    return false;
  }
  if (!add("hour", civil.second.hour()) || !add("minute", civil.second.minute()) ||
      !add("second", civil.second.second()) || !add("millisecond", civil.milliseconds)) {
    return false;
  }
  return e.SetDocument(mark, out);
}

inline constexpr std::string_view kFromPartsNames[] = {
    "year?", "month?",  "day?",    "isoWeekYear?", "isoWeek?", "isoDayOfWeek?",
    "hour?", "minute?", "second?", "millisecond?", "timezone?"};

inline absl::Status PrepareFromParts(ExpressionCompiler& compiler, Node& node) {
  const bool calendar = node.arguments[0] != nullptr;
  const bool iso = node.arguments[3] != nullptr;
  if (calendar == iso) {
    return compiler.Error(*node.op, "either 'year' or 'isoWeekYear' is needed, and not both");
  }
  for (const std::size_t i : {1, 2, 4, 5}) {
    if (node.arguments[i] != nullptr && (i >= 4) != iso) {
      return compiler.Error(*node.op, "parts of a calendar date and of an ISO week date are mixed");
    }
  }
  return PrepareZone<10>(compiler, node);
}

// Parts past their range carry: the month 14 is February of the next year.
inline bool EvaluateFromParts(const Node& node, Evaluation& e, Operand* out) {
  std::int64_t parts[10] = {1970, 1, 1, 1970, 1, 1, 0, 0, 0, 0};
  bool any_null = false;
  for (std::size_t i = 0; i < 10; ++i) {
    if (node.arguments[i] == nullptr) continue;
    Operand value;
    if (!EvaluateArgument(node, i, e, &value)) return false;
    if (IsNullish(value)) {
      any_null = true;
      continue;
    }
    const std::string_view name = kFromPartsNames[i].substr(0, kFromPartsNames[i].size() - 1);
    const bool is_year = i == 0 || i == 3;
    // Seconds and milliseconds may be many: dates are made of them alone, too.
    const std::int64_t max = is_year ? 9999 : i >= 8 ? std::int64_t{1} << 46 : 32767;
    if (!TakeInteger(node, e, absl::StrCat("'", name, "'"), value, is_year ? 1 : -max - 1, max,
                     &parts[i])) {
      return false;
    }
  }
  bool zone_is_null = false;
  absl::TimeZone zone;
  if (!TakeZone(node, e, 10, &zone_is_null, &zone)) return false;
  if (any_null || zone_is_null) return e.SetNull(out);
  const std::int64_t seconds_carry = FloorDivide(parts[9], 1000);
  const auto milliseconds = static_cast<std::uint32_t>(parts[9] - 1000 * seconds_carry);
  absl::CivilDay day;
  if (node.arguments[3] != nullptr) {
    day = IsoWeekMonday(parts[3], parts[4]) + (parts[5] - 1);
  } else {
    day = absl::CivilDay(absl::CivilMonth(parts[0], 1) + (parts[1] - 1)) + (parts[2] - 1);
  }
  const absl::CivilSecond second =
      absl::CivilSecond(day) + (parts[6] * 3600 + parts[7] * 60 + parts[8] + seconds_carry);
  return e.SetTime(FromCivil(second, milliseconds * 1'000'000, zone), out);
}

// --- Arithmetic ---

inline constexpr std::string_view kAddNames[] = {"startDate", "unit", "amount", "timezone?"};

inline bool AddUnits(const Node& node, Evaluation& e, Timestamp date, DateUnit unit,
                     std::int64_t amount, absl::TimeZone zone, Operand* out) {
  const auto out_of_range = [&] {
    return Fail(node, e, "the result is out of the range of dates");
  };
  if (unit >= DateUnit::kHour) {
    const auto moved = AddMillis(date, WideInt{amount} * UnitMillis(unit));
    return moved ? e.SetTime(*moved, out) : out_of_range();
  }
  // More than any calendar has of any unit.
  constexpr std::int64_t kAmountMax = 1'000'000'000'000;
  if (amount < -kAmountMax || amount > kAmountMax) return out_of_range();
  const CivilDate civil = ToCivil(date, zone);
  absl::CivilDay day = civil.day();
  if (unit == DateUnit::kWeek || unit == DateUnit::kDay) {
    day += unit == DateUnit::kWeek ? 7 * amount : amount;
  } else {
    const std::int64_t months = unit == DateUnit::kYear      ? 12 * amount
                                : unit == DateUnit::kQuarter ? 3 * amount
                                                             : amount;
    const absl::CivilMonth month = absl::CivilMonth(day) + months;
    // The last day of the month where the day does not exist in it.
    const absl::CivilDay last = absl::CivilDay(month + 1) - 1;
    day = absl::CivilDay(month.year(), month.month(), std::min(day.day(), last.day()));
  }
  if (day.year() < -200'000'000 || day.year() > 200'000'000) return out_of_range();
  const absl::CivilSecond second(day.year(), day.month(), day.day(), civil.second.hour(),
                                 civil.second.minute(), civil.second.second());
  return e.SetTime(FromCivil(second, date.nanoseconds, zone), out);
}

template <int sign>
bool EvaluateDateAdd(const Node& node, Evaluation& e, Operand* out) {
  bool null[3] = {};
  Timestamp date;
  DateUnit unit{};
  absl::TimeZone zone;
  Operand amount_value;
  if (!TakeDate(node, e, 0, &null[0], &date) || !TakeUnit(node, e, 1, &null[1], &unit) ||
      !EvaluateArgument(node, 2, e, &amount_value) || !TakeZone(node, e, 3, &null[2], &zone)) {
    return false;
  }
  if (null[0] || null[1] || null[2] || IsNullish(amount_value)) return e.SetNull(out);
  std::int64_t amount = 0;
  if (!TakeInteger(node, e, "'amount'", amount_value, -std::numeric_limits<std::int64_t>::max(),
                   std::numeric_limits<std::int64_t>::max(), &amount)) {
    return false;
  }
  return AddUnits(node, e, date, unit, sign * amount, zone, out);
}

inline constexpr std::string_view kDiffNames[] = {"startDate", "endDate", "unit", "timezone?",
                                                  "startOfWeek?"};

// How many borders of `unit` lie between: from 23:59 to 00:01 is a day.
inline std::int64_t UnitsBetween(Timestamp start, Timestamp end, DateUnit unit, absl::TimeZone zone,
                                 int start_of_week) {
  const CivilDate from = ToCivil(start, zone);
  const CivilDate to = ToCivil(end, zone);
  switch (unit) {
    case DateUnit::kYear:
      return to.year() - from.year();
    case DateUnit::kQuarter:
      return 4 * (to.year() - from.year()) + (to.second.month() - 1) / 3 -
             (from.second.month() - 1) / 3;
    case DateUnit::kMonth:
      return absl::CivilMonth(to.second) - absl::CivilMonth(from.second);
    case DateUnit::kWeek: {
      const auto week_begin = [start_of_week](const CivilDate& date) {
        return date.day() - (date.iso_day_of_week() - 1 - start_of_week + 7) % 7;
      };
      return (week_begin(to) - week_begin(from)) / 7;
    }
    case DateUnit::kDay:
      return to.day() - from.day();
    case DateUnit::kHour:
      // By the clock on the wall, but without what a change of its offset adds.
      return (absl::CivilHour(to.second) - absl::CivilHour(from.second)) -
             (to.offset_seconds - from.offset_seconds) / 3600;
    case DateUnit::kMinute:
      return FloorDivide(end.seconds, 60) - FloorDivide(start.seconds, 60);
    case DateUnit::kSecond:
      return end.seconds - start.seconds;
    case DateUnit::kMillisecond:
      return *ToMillis(end) - *ToMillis(start);
  }
  return 0;
}

inline bool EvaluateDateDiff(const Node& node, Evaluation& e, Operand* out) {
  bool null[5] = {};
  Timestamp start;
  Timestamp end;
  DateUnit unit{};
  absl::TimeZone zone;
  int start_of_week = 0;
  if (!TakeDate(node, e, 0, &null[0], &start) || !TakeDate(node, e, 1, &null[1], &end) ||
      !TakeUnit(node, e, 2, &null[2], &unit) || !TakeZone(node, e, 3, &null[3], &zone)) {
    return false;
  }
  if (null[2]) return e.SetNull(out);
  // Only weeks ask where they begin.
  if (unit == DateUnit::kWeek && !TakeStartOfWeek(node, e, 4, &null[4], &start_of_week)) {
    return false;
  }
  if (null[0] || null[1] || null[3] || null[4]) return e.SetNull(out);
  if (unit == DateUnit::kMillisecond) {
    return SetWide(WideInt{*ToMillis(end)} - *ToMillis(start), false, e, out);
  }
  return e.SetInt(UnitsBetween(start, end, unit, zone, start_of_week), out);
}

inline constexpr std::string_view kTruncNames[] = {"date", "unit", "binSize?", "timezone?",
                                                   "startOfWeek?"};

// Bins of `size` units are counted from the first of January 2000, weeks from the first on or after
// it; by the clock on the wall of `zone`.
inline bool Truncate(const Node& node, Evaluation& e, Timestamp date, DateUnit unit,
                     std::int64_t size, absl::TimeZone zone, int start_of_week, Operand* out) {
  const CivilDate civil = ToCivil(date, zone);
  const auto bin_begin = [](std::int64_t distance, std::int64_t width) {
    return WideInt{FloorDivide(distance, width)} * width;
  };
  if (unit >= DateUnit::kHour) {
    const WideInt width = WideInt{size} * UnitMillis(unit);
    const WideInt local =
        WideInt{civil.second - absl::CivilSecond(2000, 1, 1)} * 1000 + date.nanoseconds / 1'000'000;
    WideInt rest = local % width;
    if (rest < 0) rest += width;
    const std::optional<Timestamp> moved =
        AddMillis({date.seconds, date.nanoseconds / 1'000'000 * 1'000'000}, -rest);
    if (!moved) return Fail(node, e, "the result is out of the range of dates");
    return e.SetTime(*moved, out);
  }
  WideInt days = 0;  // since 2000-01-01, a Saturday
  if (unit == DateUnit::kWeek || unit == DateUnit::kDay) {
    const std::int64_t reference = unit == DateUnit::kWeek ? (start_of_week - 5 + 7) % 7 : 0;
    const std::int64_t width = unit == DateUnit::kWeek ? 7 : 1;
    const std::int64_t distance = (civil.day() - absl::CivilDay(2000, 1, 1)) - reference;
    days = bin_begin(FloorDivide(distance, width), size) * width + reference;
  } else {
    const std::int64_t months = unit == DateUnit::kYear ? 12 : unit == DateUnit::kQuarter ? 3 : 1;
    const std::int64_t distance = absl::CivilMonth(civil.second) - absl::CivilMonth(2000, 1);
    const WideInt begin = bin_begin(FloorDivide(distance, months), size) * months;
    if (begin < -2'000'000'000 || begin > 2'000'000'000) {
      return Fail(node, e, "the result is out of the range of dates");
    }
    days = absl::CivilDay(absl::CivilMonth(2000, 1) + static_cast<std::int64_t>(begin)) -
           absl::CivilDay(2000, 1, 1);
  }
  if (days < -100'000'000'000 || days > 100'000'000'000) {
    return Fail(node, e, "the result is out of the range of dates");
  }
  const absl::CivilDay day = absl::CivilDay(2000, 1, 1) + static_cast<std::int64_t>(days);
  return e.SetTime(FromCivil(absl::CivilSecond(day), 0, zone), out);
}

inline bool EvaluateDateTrunc(const Node& node, Evaluation& e, Operand* out) {
  bool null[4] = {};
  Timestamp date;
  DateUnit unit{};
  absl::TimeZone zone;
  int start_of_week = 0;
  std::int64_t size = 1;
  if (!TakeDate(node, e, 0, &null[0], &date) || !TakeUnit(node, e, 1, &null[1], &unit))
    return false;
  if (node.arguments[2] != nullptr) {
    Operand value;
    if (!EvaluateArgument(node, 2, e, &value)) return false;
    if (IsNullish(value)) return e.SetNull(out);
    if (!TakeInteger(node, e, "'binSize'", value, 1, 1'000'000'000'000, &size)) return false;
  }
  if (!TakeZone(node, e, 3, &null[2], &zone)) return false;
  if (null[1]) return e.SetNull(out);
  if (unit == DateUnit::kWeek && !TakeStartOfWeek(node, e, 4, &null[3], &start_of_week)) {
    return false;
  }
  if (null[0] || null[2] || null[3]) return e.SetNull(out);
  return Truncate(node, e, date, unit, size, zone, start_of_week, out);
}

// --- Text ---

inline constexpr std::string_view kToStringNames[] = {"date", "format?", "timezone?", "onNull?"};

template <std::size_t format_index, bool is_for_reading>
absl::Status PrepareFormat(ExpressionCompiler& compiler, Node& node) {
  const Node* const format = node.arguments[format_index];
  if (!IsConstant(format) || format->constant.IsNull()) return absl::OkStatus();
  if (!format->constant.IsString()) {
    return compiler.Error(*node.op, "'format' has to be a string, found ",
                          Describe(format->constant));
  }
  const absl::Status status = CheckDateFormat(format->constant.AsString(), is_for_reading);
  return status.ok() ? status : compiler.Error(*node.op, status.message());
}

inline absl::Status PrepareToString(ExpressionCompiler& compiler, Node& node) {
  ALOS_RETURN_IF_ERROR((PrepareFormat<1, false>(compiler, node)));
  return PrepareZone<2>(compiler, node);
}

// *format is empty if there is none.
inline bool TakeFormat(const Node& node, Evaluation& e, std::size_t index, bool is_for_reading,
                       bool* is_null, std::optional<std::string_view>* format) {
  *is_null = false;
  if (node.arguments[index] == nullptr) return true;
  Operand value;
  if (!EvaluateArgument(node, index, e, &value)) return false;
  *is_null = IsNullish(value);
  if (*is_null) return true;
  if (!value->IsString()) {
    return Fail(node, e, "'format' has to be a string, found ", Describe(*value));
  }
  *format = value->AsString();
  if (IsConstant(node.arguments[index])) return true;  // checked before
  const absl::Status status = CheckDateFormat(**format, is_for_reading);
  return status.ok() || Fail(node, e, status.message());
}

inline bool EvaluateDateToString(const Node& node, Evaluation& e, Operand* out) {
  bool null[3] = {};
  Timestamp date;
  std::optional<std::string_view> format;
  absl::TimeZone zone;
  if (!TakeDate(node, e, 0, &null[0], &date) || !TakeFormat(node, e, 1, false, &null[1], &format) ||
      !TakeZone(node, e, 2, &null[2], &zone)) {
    return false;
  }
  if (null[0]) {
    if (node.arguments[3] != nullptr) return EvaluateArgument(node, 3, e, out);
    return e.SetNull(out);
  }
  if (null[1] || null[2]) return e.SetNull(out);
  if (!format) format = zone == absl::UTCTimeZone() ? kIsoFormatZ : kIsoFormat;
  const absl::StatusOr<std::string> text = FormatDate(*format, ToCivil(date, zone));
  if (!text.ok()) return Fail(node, e, text.status().message());
  return e.SetString(*text, out);
}

inline constexpr std::string_view kFromStringNames[] = {"dateString", "format?", "timezone?",
                                                        "onError?", "onNull?"};

inline absl::Status PrepareFromString(ExpressionCompiler& compiler, Node& node) {
  ALOS_RETURN_IF_ERROR((PrepareFormat<1, true>(compiler, node)));
  return PrepareZone<2>(compiler, node);
}

inline bool EvaluateDateFromString(const Node& node, Evaluation& e, Operand* out) {
  bool null[2] = {};
  Operand text;
  std::optional<std::string_view> format;
  absl::TimeZone zone;
  if (!EvaluateArgument(node, 0, e, &text) || !TakeFormat(node, e, 1, true, &null[0], &format) ||
      !TakeZone(node, e, 2, &null[1], &zone)) {
    return false;
  }
  if (IsNullish(text)) {
    if (node.arguments[4] != nullptr) return EvaluateArgument(node, 4, e, out);
    return e.SetNull(out);
  }
  if (null[0] || null[1]) return e.SetNull(out);
  absl::Status status;
  if (!text->IsString()) {
    status = absl::InvalidArgumentError(
        absl::StrCat("'dateString' has to be a string, found ", Describe(*text)));
  } else {
    const absl::StatusOr<DateParts> parts =
        format ? ParseDate(text->AsString(), *format) : ParseAnyDate(text->AsString());
    if (!parts.ok()) {
      status = parts.status();
    } else if (parts->zone && node.arguments[2] != nullptr) {
      status = absl::InvalidArgumentError(
          absl::StrCat("'", DescribeText(text->AsString()),
                       "' has a time zone of its own, and 'timezone' gives another"));
    } else {
      const absl::StatusOr<Timestamp> date = DateOfParts(*parts, zone);
      if (date.ok()) return e.SetTime(*date, out);
      status = absl::InvalidArgumentError(
          absl::StrCat("'", DescribeText(text->AsString()), "': ", date.status().message()));
    }
  }
  if (node.arguments[3] != nullptr) return EvaluateArgument(node, 3, e, out);
  return Fail(node, e, status.message());
}

// The clock on the wall, each time; $$NOW is the time of the command.
inline bool EvaluateCurrentDate(const Node&, Evaluation& e, Operand* out) {
  return e.SetTime(FromMillis(absl::ToUnixMillis(absl::Now())), out);
}
inline absl::StatusOr<const Node*> CompileCurrentDate(ExpressionCompiler& compiler,
                                                      const Operator& op, ValueView argument) {
  if ((!argument.IsDocument() && !argument.IsArray()) || argument.size() != 0) {
    return compiler.Error(op, "takes no argument: {$currentDate: {}}; found ", Describe(argument));
  }
  return compiler.NewNode(&EvaluateCurrentDate, &op);
}

inline constexpr Operator kOperators[] = {
    {.name = "$currentDate", .compile = &CompileCurrentDate},
    {.name = "$year", .evaluate = &EvaluatePart<&Year>, .compile = &CompilePart},
    {.name = "$month", .evaluate = &EvaluatePart<&Month>, .compile = &CompilePart},
    {.name = "$dayOfMonth", .evaluate = &EvaluatePart<&DayOfMonth>, .compile = &CompilePart},
    {.name = "$dayOfWeek", .evaluate = &EvaluatePart<&DayOfWeek>, .compile = &CompilePart},
    {.name = "$dayOfYear", .evaluate = &EvaluatePart<&DayOfYear>, .compile = &CompilePart},
    {.name = "$hour", .evaluate = &EvaluatePart<&Hour>, .compile = &CompilePart},
    {.name = "$minute", .evaluate = &EvaluatePart<&Minute>, .compile = &CompilePart},
    {.name = "$second", .evaluate = &EvaluatePart<&Second>, .compile = &CompilePart},
    {.name = "$millisecond", .evaluate = &EvaluatePart<&Millisecond>, .compile = &CompilePart},
    {.name = "$week", .evaluate = &EvaluatePart<&Week>, .compile = &CompilePart},
    {.name = "$isoWeek", .evaluate = &EvaluatePart<&IsoWeek>, .compile = &CompilePart},
    {.name = "$isoWeekYear", .evaluate = &EvaluatePart<&IsoWeekYear>, .compile = &CompilePart},
    {.name = "$isoDayOfWeek", .evaluate = &EvaluatePart<&IsoDayOfWeek>, .compile = &CompilePart},

    {.name = "$dateAdd",
     .evaluate = &EvaluateDateAdd<1>,
     .names = kAddNames,
     .prepare = &PrepareZone<3>},
    {.name = "$dateSubtract",
     .evaluate = &EvaluateDateAdd<-1>,
     .names = kAddNames,
     .prepare = &PrepareZone<3>},
    {.name = "$dateDiff",
     .evaluate = &EvaluateDateDiff,
     .names = kDiffNames,
     .prepare = &PrepareZone<3>},
    {.name = "$dateTrunc",
     .evaluate = &EvaluateDateTrunc,
     .names = kTruncNames,
     .prepare = &PrepareZone<3>},
    {.name = "$dateToParts",
     .evaluate = &EvaluateToParts,
     .names = kToPartsNames,
     .prepare = &PrepareZone<1>},
    {.name = "$dateFromParts",
     .evaluate = &EvaluateFromParts,
     .names = kFromPartsNames,
     .prepare = &PrepareFromParts},
    {.name = "$dateToString",
     .evaluate = &EvaluateDateToString,
     .names = kToStringNames,
     .prepare = &PrepareToString},
    {.name = "$dateFromString",
     .evaluate = &EvaluateDateFromString,
     .names = kFromStringNames,
     .prepare = &PrepareFromString},
};

}  // namespace expression_date
}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_DATE_H_
