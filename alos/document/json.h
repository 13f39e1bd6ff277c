// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// JSON to MessagePack and back, without loss. What JSON has no word for is written as an object
// with one key, after MongoDB's Extended JSON v2 with a few additions (marked +):
//
//   null, true, false, "text", [..], {..}   themselves
//   1, -5          int; plain within +-2^53, which every JSON reader keeps exact
//   {"$numberLong": "9007199254740993"}    int beyond that
// + {"$numberUlong": "18446744073709551615"}   uint (above INT64_MAX)
//   1.0, 1.5, 1e+300, -0.0   double: always with a point or an exponent, shortest exact form
//   {"$numberDouble": "NaN"}, "Infinity", "-Infinity"
//   {"$date": "2024-05-06T07:08:09.123456789Z"}   date in the years 1 to 9999; the fraction has 0,
//   3,
//                  6 or (+) 9 digits, as many as are needed; UTC
//   {"$date": {"$numberLong": "253402300800000"}}   date outside these years, in whole milliseconds
// + {"$date": {"seconds": "253402300800", "nanoseconds": 5}}   date outside these years, otherwise
//   {"$binary": {"base64": "AP8=", "subType": "00"}}   binData; MessagePack knows no subtypes
// + {"$ext": {"type": 5, "base64": "AP8="}}   MessagePack extension
// + {"$string": {"base64": "/w=="}}   string that is not UTF-8, and so cannot be JSON
// + {"$object": {"$date": 1}}   object whose only key is one of these names; it is taken as it is
// + {"$object": [["key", 1], [{"$string": {..}}, 2]]}   object with a key that is not UTF-8
//
// Read as well are: ints of any size as plain numbers (those beyond 64 bits become doubles),
// {"$numberInt": "5"}, any number as $numberDouble, offsets such as +02:00 and 1 to 9 digits of a
// fraction in $date, $date with a plain int of milliseconds, and $binary without subType.
//
// An object is such a wrapper exactly if it has one entry and its key is one of the names above.
// All other objects, {"$gt": 1} or {"$date": .., "x": ..}, are plain documents.

#ifndef ALOS_DOCUMENT_JSON_H_
#define ALOS_DOCUMENT_JSON_H_

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "alos/base/check.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/internal/json_text.h"
#include "alos/document/internal/message_pack.h"
#include "alos/document/value.h"
#include "simdjson.h"

namespace alos {

// Where a text begins in the file it was cut from, so that errors can name the place in the file.
struct TextPosition {
  std::uint64_t line = 1;    // from 1
  std::uint64_t offset = 0;  // bytes, from 0
};

// The MessagePack bytes of one JSON value: what ValueView::Parse accepts.
// Errors: kInvalidArgument, with line and byte offset for what is not JSON (UTF-8 and \u surrogates
//   included), with line, offset and field for what is JSON but no value of ours: a malformed
//   wrapper, a key that stands twice in an object, nesting over 100 levels, a number beyond
//   doubles.
// Threads: any.
absl::StatusOr<std::string> JsonToMessagePack(std::string_view json);

// The same for many texts: keeps its buffers, which grow to a few times the largest text.
// Threads: one at a time.
class JsonReader {
 public:
  JsonReader() = default;

  // Appends the MessagePack bytes of `json` to *out; on error leaves *out as it was.
  absl::Status Append(std::string_view json, std::string* out, TextPosition position = {});

 private:
  simdjson::error_code Parse(std::string_view json, simdjson::dom::element* root);

  simdjson::dom::parser parser_;
  std::string padded_;  // the text and the readable bytes that the parser wants after it
};

// The JSON text of a value: one line, no blanks, valid UTF-8. Reading it gives an equal value (by
// Equal; the encoding may differ, and all NaNs become one).
// Threads: any. Cost: O(size of the text).
std::string ToJson(ValueView value);
void AppendJson(ValueView value, std::string* out);

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace document_internal {

inline constexpr std::size_t kJsonDepthMax = 100;
// Of the text: wrappers add up to three levels to each of the value's own.
inline constexpr std::size_t kJsonTextDepthMax = 4 * kJsonDepthMax;

enum class Wrapper {
  kNone,
  kNumberInt,
  kNumberLong,
  kNumberUlong,
  kNumberDouble,
  kDate,
  kBinary,
  kExtension,
  kString,
  kObject,
};

inline Wrapper WrapperNamed(std::string_view key) {
  if (key.empty() || key[0] != '$') [[likely]] {
    return Wrapper::kNone;
  }
  static constexpr std::pair<std::string_view, Wrapper> kWrappers[] = {
      {"$date", Wrapper::kDate},
      {"$numberLong", Wrapper::kNumberLong},
      {"$numberInt", Wrapper::kNumberInt},
      {"$numberUlong", Wrapper::kNumberUlong},
      {"$numberDouble", Wrapper::kNumberDouble},
      {"$binary", Wrapper::kBinary},
      {"$ext", Wrapper::kExtension},
      {"$string", Wrapper::kString},
      {"$object", Wrapper::kObject},
  };
  for (const auto& [name, wrapper] : kWrappers) {
    if (key == name) return wrapper;
  }
  return Wrapper::kNone;
}

template <class Integer>
std::optional<Integer> ParseInteger(std::string_view text) {
  Integer value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

inline std::optional<double> ParseDouble(std::string_view text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  // from_chars also takes "inf" and "nan(...)".
  if (!std::all_of(text.begin(), text.end(), IsJsonNumberChar)) return std::nullopt;
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

// "2024-05-06T07:08:09[.123456789](Z|+02:00|+0200)"
inline std::optional<Timestamp> ParseDate(std::string_view text) {
  const auto take_digits = [&text](std::size_t count) -> std::optional<int> {
    if (text.size() < count) return std::nullopt;
    int value = 0;
    for (const char c : text.substr(0, count)) {
      if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return std::nullopt;
      value = value * 10 + (c - '0');
    }
    text.remove_prefix(count);
    return value;
  };
  const auto take = [&text](char c) {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
  };
  std::optional<int> fields[6];
  constexpr char kSeparators[] = {'-', '-', 'T', ':', ':'};
  for (std::size_t i = 0; i < 6; ++i) {
    if (i != 0 && !take(kSeparators[i - 1])) return std::nullopt;
    fields[i] = take_digits(i == 0 ? 4 : 2);
    if (!fields[i]) return std::nullopt;
  }
  const absl::CivilSecond civil(*fields[0], *fields[1], *fields[2], *fields[3], *fields[4],
                                *fields[5]);
  // A civil time normalises: February 30 would come back as March 1.
  if (civil.year() != *fields[0] || civil.month() != *fields[1] || civil.day() != *fields[2] ||
      civil.hour() != *fields[3] || civil.minute() != *fields[4] || civil.second() != *fields[5]) {
    return std::nullopt;
  }
  std::uint32_t nanoseconds = 0;
  if (take('.')) {
    std::uint32_t unit = 100'000'000;
    std::size_t digits = 0;
    for (; !text.empty() && absl::ascii_isdigit(static_cast<unsigned char>(text.front()));
         ++digits, unit /= 10) {
      if (digits == 9) return std::nullopt;
      nanoseconds += static_cast<std::uint32_t>(text.front() - '0') * unit;
      text.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
  }
  int offset_seconds = 0;
  if (!take('Z')) {
    const bool is_negative = take('-');
    if (!is_negative && !take('+')) return std::nullopt;
    const std::optional<int> hours = take_digits(2);
    take(':');
    const std::optional<int> minutes = take_digits(2);
    if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
    offset_seconds = (*hours * 3600 + *minutes * 60) * (is_negative ? -1 : 1);
  }
  if (!text.empty()) return std::nullopt;
  return Timestamp{civil - absl::CivilSecond() - offset_seconds, nanoseconds};
}

inline Timestamp DateOfMilliseconds(std::int64_t milliseconds) {
  std::int64_t seconds = milliseconds / 1000;
  std::int64_t rest = milliseconds % 1000;
  if (rest < 0) {
    rest += 1000;
    --seconds;
  }
  return {seconds, static_cast<std::uint32_t>(rest * 1'000'000)};
}

// Writes a parsed JSON text with a Builder.
class JsonConverter {
 public:
  explicit JsonConverter(std::string* out) : builder_(out) {}

  absl::Status Convert(simdjson::dom::element element) {
    using simdjson::dom::element_type;
    switch (element.type()) {
      case element_type::ARRAY:
        return ConvertArray(Get<simdjson::dom::array>(element));
      case element_type::OBJECT:
        return ConvertObject(Get<simdjson::dom::object>(element));
      case element_type::INT64:
        builder_.Int(Get<std::int64_t>(element));
        return absl::OkStatus();
      case element_type::UINT64:
        builder_.Uint(Get<std::uint64_t>(element));
        return absl::OkStatus();
      case element_type::DOUBLE:
        builder_.Double(Get<double>(element));
        return absl::OkStatus();
      case element_type::STRING:
        builder_.String(Get<std::string_view>(element));
        return absl::OkStatus();
      case element_type::BOOL:
        builder_.Bool(Get<bool>(element));
        return absl::OkStatus();
      case element_type::NULL_VALUE:
        builder_.Null();
        return absl::OkStatus();
    }
    return Refuse("an unknown kind of JSON value");
  }

 private:
  static constexpr std::size_t kPairwiseKeysMax = 16;
  // simdjson tells no larger counts.
  static constexpr std::size_t kCountMax = 0xffffff;

  struct Step {
    std::string_view key;
    std::size_t index;  // in an array, if key.data() is null
  };

  // REQUIRES: the element is a T.
  template <class T>
  static T Get(simdjson::dom::element element) {
    T value{};
    const simdjson::error_code error = element.get(value);
    ALOS_DCHECK(error == simdjson::SUCCESS);
    static_cast<void>(error);
    return value;
  }
  // The value of `key` if it is a T.
  template <class T>
  static std::optional<T> Field(simdjson::dom::object object, std::string_view key) {
    T value;
    if (object.at_key(key).get(value) != simdjson::SUCCESS) return std::nullopt;
    return value;
  }
  template <class T>
  static std::optional<T> As(simdjson::dom::element element) {
    T value;
    if (element.get(value) != simdjson::SUCCESS) return std::nullopt;
    return value;
  }

  absl::Status Refuse(std::string_view reason) const {
    constexpr std::size_t kShownMax = 200;
    std::string field;
    for (const Step& step : path_) {
      if (step.key.data() != nullptr) {
        absl::StrAppend(&field, field.empty() ? "" : ".", step.key);
      } else {
        absl::StrAppend(&field, field.empty() ? "" : ".", step.index);
      }
    }
    if (field.size() > kShownMax) field = field.substr(0, kShownMax) + "...";
    return absl::InvalidArgumentError(
        field.empty() ? std::string(reason)
                      : absl::StrCat("field \"", absl::Utf8SafeCHexEscape(field), "\": ", reason));
  }

  absl::Status CheckDepth() const {
    if (builder_.depth() < kJsonDepthMax) return absl::OkStatus();
    return Refuse(absl::StrCat("nested deeper than ", kJsonDepthMax, " levels"));
  }

  absl::Status ConvertArray(simdjson::dom::array array) {
    ALOS_RETURN_IF_ERROR(CheckDepth());
    array.size() < kCountMax ? builder_.StartArray(array.size()) : builder_.StartArray();
    path_.push_back({{}, 0});
    for (const simdjson::dom::element element : array) {
      ALOS_RETURN_IF_ERROR(Convert(element));
      ++path_.back().index;
    }
    path_.pop_back();
    builder_.EndArray();
    return absl::OkStatus();
  }

  absl::Status ConvertObject(simdjson::dom::object object) {
    if (object.size() == 1) {
      const simdjson::dom::key_value_pair entry = *object.begin();
      if (const Wrapper wrapper = WrapperNamed(entry.key); wrapper != Wrapper::kNone) {
        return ConvertWrapper(wrapper, entry.key, entry.value);
      }
    }
    return ConvertPlainObject(object);
  }

  absl::Status ConvertPlainObject(simdjson::dom::object object) {
    ALOS_RETURN_IF_ERROR(CheckDepth());
    object.size() < kCountMax ? builder_.StartDocument(object.size()) : builder_.StartDocument();
    const std::size_t first_key = keys_.size();
    path_.push_back({});
    for (const simdjson::dom::key_value_pair entry : object) {
      ALOS_RETURN_IF_ERROR(ConvertEntry(entry.key, entry.value));
    }
    path_.pop_back();
    ALOS_RETURN_IF_ERROR(CheckKeys(first_key));
    builder_.EndDocument();
    return absl::OkStatus();
  }

  absl::Status ConvertEntry(std::string_view key, simdjson::dom::element value) {
    path_.back().key = key;
    keys_.push_back(key);
    builder_.Key(key);
    return Convert(value);
  }

  // Refuses an object whose keys, keys_[first ..], are not all different, and forgets them.
  absl::Status CheckKeys(std::size_t first) {
    const std::size_t count = keys_.size() - first;
    const auto duplicate = [this](std::string_view key) {
      return Refuse(absl::StrCat("the key \"", absl::Utf8SafeCHexEscape(key.substr(0, 100)),
                                 "\" stands twice in one object"));
    };
    if (count <= kPairwiseKeysMax) {
      for (std::size_t i = first + 1; i < keys_.size(); ++i) {
        for (std::size_t j = first; j < i; ++j) {
          if (keys_[i] == keys_[j]) return duplicate(keys_[i]);
        }
      }
    } else {
      absl::flat_hash_set<std::string_view> seen;
      for (std::size_t i = first; i < keys_.size(); ++i) {
        if (!seen.insert(keys_[i]).second) return duplicate(keys_[i]);
      }
    }
    keys_.resize(first);
    return absl::OkStatus();
  }

  absl::Status ConvertWrapper(Wrapper wrapper, std::string_view name,
                              simdjson::dom::element value) {
    const auto refuse = [&](std::string_view expected) {
      return Refuse(absl::StrCat("malformed ", name, ": expected ", expected,
                                 "; a plain object with this one key is written {\"$object\": {\"",
                                 name, "\": ...}}"));
    };
    switch (wrapper) {
      case Wrapper::kNumberInt: {
        const auto text = As<std::string_view>(value);
        const auto number = text ? ParseInteger<std::int32_t>(*text) : std::nullopt;
        if (!number) return refuse("a string with a 32-bit integer");
        builder_.Int(*number);
        return absl::OkStatus();
      }
      case Wrapper::kNumberLong: {
        const auto text = As<std::string_view>(value);
        const auto number = text ? ParseInteger<std::int64_t>(*text) : std::nullopt;
        if (!number) return refuse("a string with a signed 64-bit integer");
        builder_.Int(*number);
        return absl::OkStatus();
      }
      case Wrapper::kNumberUlong: {
        const auto text = As<std::string_view>(value);
        const auto number = text ? ParseInteger<std::uint64_t>(*text) : std::nullopt;
        if (!number) return refuse("a string with an unsigned 64-bit integer");
        builder_.Uint(*number);
        return absl::OkStatus();
      }
      case Wrapper::kNumberDouble: {
        const auto text = As<std::string_view>(value);
        const auto number = text ? ParseDouble(*text) : std::nullopt;
        if (!number) {
          return refuse(
              "a string with a number within the range of a double, \"NaN\", "
              "\"Infinity\" or \"-Infinity\"");
        }
        builder_.Double(*number);
        return absl::OkStatus();
      }
      case Wrapper::kDate: {
        const std::optional<Timestamp> time = DateOf(value);
        if (!time) {
          return refuse(
              "a string such as \"2024-05-06T07:08:09.123Z\", {\"$numberLong\": "
              "\"<milliseconds>\"} or {\"seconds\": \"...\", \"nanoseconds\": 0}");
        }
        builder_.Time(*time);
        return absl::OkStatus();
      }
      case Wrapper::kBinary: {
        const auto object = As<simdjson::dom::object>(value);
        const auto data = object ? Base64Field(*object) : std::nullopt;
        if (!data || object->size() > 2) {
          return refuse("{\"base64\": \"...\", \"subType\": \"00\"}");
        }
        if (object->size() == 2) {
          const auto sub_type = Field<std::string_view>(*object, "subType");
          if (!sub_type || (*sub_type != "00" && *sub_type != "0")) {
            return refuse("the subType \"00\": MessagePack keeps no other");
          }
        }
        builder_.Binary(*data);
        return absl::OkStatus();
      }
      case Wrapper::kExtension: {
        const auto object = As<simdjson::dom::object>(value);
        const auto data = object ? Base64Field(*object) : std::nullopt;
        const auto type = object ? Field<std::int64_t>(*object, "type") : std::nullopt;
        if (!data || !type || object->size() != 2 || *type < INT8_MIN || *type > INT8_MAX ||
            *type == kTimestampExtension) {
          return refuse(
              "{\"type\": 5, \"base64\": \"...\"} with a type of -128 to 127, but not -1 "
              "(which is $date)");
        }
        builder_.Extension(static_cast<std::int8_t>(*type), *data);
        return absl::OkStatus();
      }
      case Wrapper::kString: {
        const std::optional<std::string> text = WrappedString(value);
        if (!text) return refuse("{\"base64\": \"...\"}");
        builder_.String(*text);
        return absl::OkStatus();
      }
      case Wrapper::kObject:
        if (const auto object = As<simdjson::dom::object>(value)) {
          return ConvertPlainObject(*object);
        }
        if (const auto array = As<simdjson::dom::array>(value)) return ConvertPairs(*array);
        return refuse("an object, or an array of [key, value] pairs");
      case Wrapper::kNone:
        break;
    }
    return Refuse("an unknown wrapper");
  }

  // {"$object": [["key", value], ...]}
  absl::Status ConvertPairs(simdjson::dom::array pairs) {
    ALOS_RETURN_IF_ERROR(CheckDepth());
    builder_.StartDocument();
    const std::size_t first_key = keys_.size();
    // Keys out of base64 have no place in the parsed text; keys_ and path_ need them to stay.
    absl::InlinedVector<std::unique_ptr<std::string>, 1> decoded;
    path_.push_back({});
    for (const simdjson::dom::element element : pairs) {
      const auto pair = As<simdjson::dom::array>(element);
      if (!pair || pair->size() != 2) {
        path_.pop_back();
        return Refuse("malformed $object: expected an array of [key, value] pairs");
      }
      const simdjson::dom::element key_element = *pair->begin();
      std::string_view key;
      if (const auto text = As<std::string_view>(key_element)) {
        key = *text;
      } else {
        std::optional<std::string> bytes;
        if (const auto object = As<simdjson::dom::object>(key_element);
            object && object->size() == 1) {
          if (const auto value = Field<simdjson::dom::element>(*object, "$string")) {
            bytes = WrappedString(*value);
          }
        }
        if (!bytes) {
          path_.pop_back();
          return Refuse(
              "malformed $object: expected a string or {\"$string\": {\"base64\": \"...\"}} as "
              "key");
        }
        decoded.push_back(std::make_unique<std::string>(*std::move(bytes)));
        key = *decoded.back();
      }
      ALOS_RETURN_IF_ERROR(ConvertEntry(key, *++pair->begin()));
    }
    path_.pop_back();
    ALOS_RETURN_IF_ERROR(CheckKeys(first_key));
    builder_.EndDocument();
    return absl::OkStatus();
  }

  static std::optional<std::string> Base64Field(simdjson::dom::object object) {
    const auto text = Field<std::string_view>(object, "base64");
    std::string data;
    if (!text || !absl::Base64Unescape(*text, &data)) return std::nullopt;
    return data;
  }

  static std::optional<std::string> WrappedString(simdjson::dom::element value) {
    const auto object = As<simdjson::dom::object>(value);
    if (!object || object->size() != 1) return std::nullopt;
    return Base64Field(*object);
  }

  static std::optional<Timestamp> DateOf(simdjson::dom::element value) {
    if (const auto text = As<std::string_view>(value)) return ParseDate(*text);
    if (value.is_int64()) return DateOfMilliseconds(Get<std::int64_t>(value));
    const auto object = As<simdjson::dom::object>(value);
    if (!object) return std::nullopt;
    if (object->size() == 1) {
      const auto text = Field<std::string_view>(*object, "$numberLong");
      const auto milliseconds = text ? ParseInteger<std::int64_t>(*text) : std::nullopt;
      if (!milliseconds) return std::nullopt;
      return DateOfMilliseconds(*milliseconds);
    }
    if (object->size() != 2) return std::nullopt;
    const auto text = Field<std::string_view>(*object, "seconds");
    const auto seconds = text ? ParseInteger<std::int64_t>(*text) : std::nullopt;
    const auto nanoseconds = Field<std::uint64_t>(*object, "nanoseconds");
    if (!seconds || !nanoseconds || *nanoseconds > kNanosecondsMax) return std::nullopt;
    return Timestamp{*seconds, static_cast<std::uint32_t>(*nanoseconds)};
  }

  Builder builder_;
  absl::InlinedVector<Step, 16> path_;              // to the value being converted
  absl::InlinedVector<std::string_view, 64> keys_;  // of the objects that are open
};

inline bool IsUtf8(std::string_view text) {
  return simdjson::validate_utf8(text.data(), text.size());
}

// What a byte of a string needs in JSON.
inline constexpr std::array<bool, 256> kNeedsEscape = [] {
  std::array<bool, 256> needs{};
  for (int byte = 0; byte < 0x20; ++byte) needs[static_cast<std::size_t>(byte)] = true;
  needs['"'] = needs['\\'] = true;
  return needs;
}();

// Is `text` ASCII without anything that JSON escapes?
inline bool IsPlain(std::string_view text) {
  const auto is_special = [](std::uint64_t bytes) {
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    const auto has_zero = [](std::uint64_t word) { return (word - kOnes) & ~word; };
    const std::uint64_t below_space = (bytes - kOnes * 0x20) & ~bytes;
    return ((bytes | below_space | has_zero(bytes ^ kOnes * '"') | has_zero(bytes ^ kOnes * '\\')) &
            kOnes * 0x80) != 0;
  };
  const char* p = text.data();
  std::size_t size = text.size();
  std::uint64_t word;
  for (; size >= sizeof(word); p += sizeof(word), size -= sizeof(word)) {
    std::memcpy(&word, p, sizeof(word));
    if (is_special(word)) return false;
  }
  for (; size != 0; ++p, --size) {
    if (kNeedsEscape[static_cast<unsigned char>(*p)] || static_cast<unsigned char>(*p) >= 0x80) {
      return false;
    }
  }
  return true;
}

// REQUIRES: valid UTF-8.
inline void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (!kNeedsEscape[byte]) [[likely]] {
      continue;
    }
    out->append(text, copied, i - copied);
    copied = i + 1;
    switch (byte) {
      case '"':
        out->append("\\\"");
        break;
      case '\\':
        out->append("\\\\");
        break;
      case '\b':
        out->append("\\b");
        break;
      case '\f':
        out->append("\\f");
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      default:
        absl::StrAppend(out, "\\u", absl::Hex(byte, absl::kZeroPad4));
    }
  }
  out->append(text, copied);
  out->push_back('"');
}

inline void AppendBase64(std::string_view data, std::string* out) {
  std::string text;
  absl::Base64Escape(data, &text);
  out->append(text);
}

// A string, or its wrapper if it is not UTF-8.
inline void AppendAnyString(std::string_view text, std::string* out) {
  if (IsPlain(text)) [[likely]] {
    out->push_back('"');
    out->append(text);
    out->push_back('"');
  } else if (IsUtf8(text)) {
    AppendJsonString(text, out);
  } else {
    out->append("{\"$string\":{\"base64\":\"");
    AppendBase64(text, out);
    out->append("\"}}");
  }
}

inline void AppendJsonDouble(double value, std::string* out) {
  if (!std::isfinite(value)) {
    out->append(std::isnan(value) ? "{\"$numberDouble\":\"NaN\"}"
                : value > 0       ? "{\"$numberDouble\":\"Infinity\"}"
                                  : "{\"$numberDouble\":\"-Infinity\"}");
    return;
  }
  char buffer[32];
  const std::to_chars_result result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  const std::string_view text(buffer, static_cast<std::size_t>(result.ptr - buffer));
  out->append(text);
  // Without a point or an exponent it would be read as an int.
  if (text.find_first_of(".e") == std::string_view::npos) out->append(".0");
}

inline void AppendJsonDate(Timestamp time, std::string* out) {
  constexpr std::int64_t kYear1 = -62135596800;
  constexpr std::int64_t kYear10000 = 253402300800;
  out->append("{\"$date\":");
  if (time.seconds >= kYear1 && time.seconds < kYear10000) {
    const absl::CivilSecond civil = absl::CivilSecond() + time.seconds;
    const auto append_padded = [out](std::int64_t value, std::size_t width) {
      char digits[20];
      for (std::size_t i = width; i-- > 0; value /= 10) {
        digits[i] = static_cast<char>('0' + value % 10);
      }
      out->append(digits, width);
    };
    out->push_back('"');
    append_padded(civil.year(), 4);
    out->push_back('-');
    append_padded(civil.month(), 2);
    out->push_back('-');
    append_padded(civil.day(), 2);
    out->push_back('T');
    append_padded(civil.hour(), 2);
    out->push_back(':');
    append_padded(civil.minute(), 2);
    out->push_back(':');
    append_padded(civil.second(), 2);
    if (time.nanoseconds != 0) {
      out->push_back('.');
      if (time.nanoseconds % 1'000'000 == 0) {
        append_padded(time.nanoseconds / 1'000'000, 3);
      } else if (time.nanoseconds % 1'000 == 0) {
        append_padded(time.nanoseconds / 1'000, 6);
      } else {
        append_padded(time.nanoseconds, 9);
      }
    }
    out->append("Z\"}");
    return;
  }
  std::int64_t milliseconds = 0;
  if (time.nanoseconds % 1'000'000 == 0 &&
      !__builtin_mul_overflow(time.seconds, std::int64_t{1000}, &milliseconds) &&
      !__builtin_add_overflow(milliseconds, std::int64_t{time.nanoseconds / 1'000'000},
                              &milliseconds)) {
    absl::StrAppend(out, "{\"$numberLong\":\"", milliseconds, "\"}}");
    return;
  }
  absl::StrAppend(out, "{\"seconds\":\"", time.seconds, "\",\"nanoseconds\":", time.nanoseconds,
                  "}}");
}

// Are all keys in the valid value at *p, at all depths, UTF-8? Moves *p past it if so.
inline bool AllKeysAreUtf8(const char** p) {
  const ValueView value = ViewAccess::At(*p);
  if (!value.IsDocument() && !value.IsArray()) {
    *p = Skip(*p);
    return true;
  }
  *p += kLeads[Load8(*p)].header_size;
  for (std::size_t i = value.size(); i != 0; --i) {
    if (value.IsDocument()) {
      const std::string_view key = TakeString(p);
      if (!IsPlain(key) && !IsUtf8(key)) return false;
    }
    if (!AllKeysAreUtf8(p)) return false;
  }
  return true;
}

inline bool OwnKeysAreUtf8(ValueView document) {
  for (const auto& [key, value] : document.entries()) {
    if (!IsPlain(key) && !IsUtf8(key)) return false;
  }
  return true;
}

inline void AppendJsonValue(ValueView value, bool all_keys_are_utf8, std::string* out);

inline void AppendJsonObject(ValueView value, bool all_keys_are_utf8, std::string* out) {
  const bool is_literal =
      value.size() == 1 && WrapperNamed((*value.entries().begin()).key) != Wrapper::kNone;
  if (is_literal) out->append("{\"$object\":");
  out->push_back('{');
  bool is_first = true;
  for (const auto& [key, child] : value.entries()) {
    if (!is_first) out->push_back(',');
    is_first = false;
    AppendAnyString(key, out);
    out->push_back(':');
    AppendJsonValue(child, all_keys_are_utf8, out);
  }
  out->push_back('}');
  if (is_literal) out->push_back('}');
}

// {"$object":[[key,value],...]}
inline void AppendJsonPairs(ValueView value, bool all_keys_are_utf8, std::string* out) {
  out->append("{\"$object\":[");
  bool is_first = true;
  for (const auto& [key, child] : value.entries()) {
    if (!is_first) out->push_back(',');
    is_first = false;
    out->push_back('[');
    AppendAnyString(key, out);
    out->push_back(',');
    AppendJsonValue(child, all_keys_are_utf8, out);
    out->push_back(']');
  }
  out->append("]}");
}

// Recursion: as deep as the valid value is nested. Where some key is not UTF-8 each document looks
// at its own keys first; else nobody has to.
inline void AppendJsonValue(ValueView value, bool all_keys_are_utf8, std::string* out) {
  switch (value.type()) {
    case ValueType::kNull:
      out->append("null");
      break;
    case ValueType::kBool:
      out->append(value.AsBool() ? "true" : "false");
      break;
    case ValueType::kInt64: {
      constexpr std::int64_t kPlainMax = std::int64_t{1} << 53;
      const std::int64_t number = value.AsInt64();
      if (number >= -kPlainMax && number <= kPlainMax) {
        absl::StrAppend(out, number);
      } else {
        absl::StrAppend(out, "{\"$numberLong\":\"", number, "\"}");
      }
      break;
    }
    case ValueType::kUint64:
      absl::StrAppend(out, "{\"$numberUlong\":\"", value.AsUint64(), "\"}");
      break;
    case ValueType::kDouble:
      AppendJsonDouble(value.AsDouble(), out);
      break;
    case ValueType::kString:
      AppendAnyString(value.AsString(), out);
      break;
    case ValueType::kBinary:
      out->append("{\"$binary\":{\"base64\":\"");
      AppendBase64(value.AsBinary(), out);
      out->append("\",\"subType\":\"00\"}}");
      break;
    case ValueType::kTimestamp:
      AppendJsonDate(value.AsTimestamp(), out);
      break;
    case ValueType::kExtension:
      absl::StrAppend(out, "{\"$ext\":{\"type\":", static_cast<int>(value.ExtensionType()),
                      ",\"base64\":\"");
      AppendBase64(value.ExtensionData(), out);
      out->append("\"}}");
      break;
    case ValueType::kArray: {
      out->push_back('[');
      bool is_first = true;
      for (const ValueView element : value.elements()) {
        if (!is_first) out->push_back(',');
        is_first = false;
        AppendJsonValue(element, all_keys_are_utf8, out);
      }
      out->push_back(']');
      break;
    }
    case ValueType::kDocument: {
      if (all_keys_are_utf8 || OwnKeysAreUtf8(value)) {
        AppendJsonObject(value, all_keys_are_utf8, out);
      } else {
        AppendJsonPairs(value, all_keys_are_utf8, out);
      }
      break;
    }
  }
}

}  // namespace document_internal

inline simdjson::error_code JsonReader::Parse(std::string_view json, simdjson::dom::element* root) {
  if (parser_.max_depth() != document_internal::kJsonTextDepthMax) {
    constexpr std::size_t kCapacityMin = 1024;
    const simdjson::error_code error =
        parser_.allocate(std::max(json.size(), kCapacityMin), document_internal::kJsonTextDepthMax);
    if (error != simdjson::SUCCESS) return error;
  }
  padded_.assign(json);
  padded_.append(simdjson::SIMDJSON_PADDING, ' ');
  constexpr bool kCopy = false;
  return parser_.parse(padded_.data(), json.size(), kCopy).get(*root);
}

inline absl::Status JsonReader::Append(std::string_view json, std::string* out,
                                       TextPosition position) {
  const auto refuse_at = [&](std::size_t offset, std::string_view message) {
    const auto lines =
        std::count(json.begin(), json.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
    return absl::InvalidArgumentError(
        absl::StrCat("invalid JSON at line ", position.line + static_cast<std::uint64_t>(lines),
                     ", byte ", position.offset + offset, ": ", message));
  };
  constexpr std::size_t kTextSizeMax = simdjson::SIMDJSON_MAXSIZE_BYTES;
  if (json.size() >= kTextSizeMax) {
    return refuse_at(
        0, absl::StrCat("a single value of ", json.size(), " bytes: the limit is ", kTextSizeMax));
  }

  simdjson::dom::element root;
  simdjson::error_code error = Parse(json, &root);
  if (error == simdjson::NUMBER_ERROR) {
    if (const std::optional<std::string> widened = document_internal::WidenIntegers(json)) {
      error = Parse(*widened, &root);
    }
  }
  if (error != simdjson::SUCCESS) {
    if (error == simdjson::MEMALLOC) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory to parse ", json.size(), " bytes of JSON"));
    }
    document_internal::JsonChecker checker(json, document_internal::kJsonTextDepthMax - 1);
    if (const std::optional<document_internal::JsonFault> fault = checker.Run()) {
      return refuse_at(fault->offset, fault->message);
    }
    return refuse_at(0, simdjson::error_message(error));
  }

  const std::size_t size_before = out->size();
  const absl::Status status = document_internal::JsonConverter(out).Convert(root);
  if (!status.ok()) {
    out->resize(size_before);
    // Where the value begins, past the blanks before it.
    std::size_t begin = 0;
    while (begin < json.size() && document_internal::IsJsonSpace(json[begin])) ++begin;
    return refuse_at(begin, status.message());
  }
  return absl::OkStatus();
}

inline absl::StatusOr<std::string> JsonToMessagePack(std::string_view json) {
  std::string out;
  // Small texts share the buffers of their thread; large ones must not make them large for good.
  constexpr std::size_t kSharedSizeMax = 64 * 1024;
  if (json.size() <= kSharedSizeMax) {
    static thread_local JsonReader reader;
    ALOS_RETURN_IF_ERROR(reader.Append(json, &out));
  } else {
    JsonReader reader;
    ALOS_RETURN_IF_ERROR(reader.Append(json, &out));
  }
  return out;
}

inline void AppendJson(ValueView value, std::string* out) {
  const char* data = document_internal::ViewAccess::Data(value);
  const bool all_keys_are_utf8 = document_internal::AllKeysAreUtf8(&data);
  document_internal::AppendJsonValue(value, all_keys_are_utf8, out);
}

inline std::string ToJson(ValueView value) {
  std::string out;
  AppendJson(value, &out);
  return out;
}

}  // namespace alos

#endif  // ALOS_DOCUMENT_JSON_H_
