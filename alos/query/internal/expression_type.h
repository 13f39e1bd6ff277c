// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators on types: what a value is, conversions, sizes, hashes.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_TYPE_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_TYPE_H_

#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_date.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_number.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/expression_string.h"

namespace alos::query_internal::expression_type {

inline bool FitsInt32(std::int64_t value) {
  return value >= std::numeric_limits<std::int32_t>::min() &&
         value <= std::numeric_limits<std::int32_t>::max();
}

// As MongoDB names types: an integer is an "int" where 32 bits hold it, else a "long".
inline std::string_view MongoTypeName(const Operand& value) {
  if (!value) return "missing";
  switch (value->type()) {
    case ValueType::kInt64:
      return FitsInt32(value->AsInt64()) ? "int" : "long";
    case ValueType::kUint64:
      return "long";
    default:
      return TypeName(value->type());
  }
}

inline bool EvaluateType(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  return e.SetString(MongoTypeName(value), out);
}

inline bool EvaluateIsNumber(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  return e.SetBool(value && value->IsNumber(), out);
}

// --- Conversions ---

enum class Target { kDouble, kString, kBinary, kBool, kDate, kInt, kLong };

inline absl::StatusOr<Target> ParseTarget(ValueView value) {
  struct Known {
    std::string_view name;
    int code;
    Target target;
  };
  static constexpr Known kKnown[] = {
      {"double", 1, Target::kDouble},  {"string", 2, Target::kString},
      {"binData", 5, Target::kBinary}, {"bool", 8, Target::kBool},
      {"date", 9, Target::kDate},      {"int", 16, Target::kInt},
      {"long", 18, Target::kLong},
  };
  const std::optional<std::int64_t> code = value.ToInt64();
  const std::string_view name = value.IsString() ? value.AsString() : std::string_view();
  for (const Known& known : kKnown) {
    if (name == known.name || code == known.code) return known.target;
  }
  for (const auto& [type, number] :
       {std::pair<std::string_view, int>{"decimal", 19}, {"objectId", 7}}) {
    if (name == type || code == number) {
      return absl::InvalidArgumentError(absl::StrCat("there is no type ", type, " to convert to"));
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'to' has to be one of double, string, binData, bool, date, int and long; found ",
      Describe(value)));
}

// How strings stand for binary.
enum class BinaryFormat { kAuto, kBase64, kBase64Url, kUtf8, kHex, kUuid };

inline std::optional<BinaryFormat> ParseBinaryFormat(std::string_view name) {
  static constexpr std::string_view kNames[] = {"auto", "base64", "base64url",
                                                "utf8", "hex",    "uuid"};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<BinaryFormat>(i);
  }
  return std::nullopt;
}

struct Conversion {
  Target target;
  BinaryFormat format = BinaryFormat::kAuto;
  bool big_endian = false;
  int base = 10;  // of integers in strings
};

// UTF-8 without surrogates, overlong forms and what is beyond U+10FFFF.
inline bool IsUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t k) -> unsigned {
      return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0;
    };
    const unsigned lead = byte(0);
    const std::size_t size = lead < 0x80   ? 1
                             : lead < 0xc2 ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
    if (size == 0) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if ((byte(k) & 0xc0) != 0x80) return false;
    }
    if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ||
        (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) {
      return false;
    }
    i += size;
  }
  return true;
}

inline bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

// 8-4-4-4-12 hexadecimal digits.
inline bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return false;
    } else {
      digits.push_back(text[i]);
    }
  }
  return IsHex(digits);
}

// One function per target. Each sets *out, or returns false with the reason in *why; a limit that
// is passed is a false with an error in `e`.
class Converter {
 public:
  Converter(const Conversion& conversion, Evaluation& e) : conversion_(conversion), e_(e) {}

  bool Convert(ValueView value, Operand* out) {
    switch (conversion_.target) {
      case Target::kDouble:
        return ToDouble(value, out);
      case Target::kString:
        return ToString(value, out);
      case Target::kBinary:
        return ToBinary(value, out);
      case Target::kBool:
        return ToBool(value, out);
      case Target::kDate:
        return ToDate(value, out);
      case Target::kInt:
      case Target::kLong:
        return ToInteger(value, out);
    }
    return false;
  }
  const std::string& why() const { return why_; }

 private:
  template <class... Parts>
  bool Refuse(const Parts&... parts) {
    why_ = absl::StrCat(parts...);
    return false;
  }
  bool RefuseType(ValueView value) {
    static constexpr std::string_view kNames[] = {"double", "string", "binData", "bool",
                                                  "date",   "int",    "long"};
    return Refuse("there is no conversion from ", TypeName(value.type()), " to ",
                  kNames[static_cast<std::size_t>(conversion_.target)]);
  }

  bool ToBool(ValueView value, Operand* out) {
    if (value.type() == ValueType::kBool || value.IsNumber()) {
      return e_.SetBool(IsTruthy(value), out);
    }
    return e_.SetBool(true, out);
  }

  bool ToDouble(ValueView value, Operand* out) {
    switch (value.type()) {
      case ValueType::kBool:
        return e_.SetDouble(value.AsBool() ? 1 : 0, out);
      case ValueType::kInt64:
      case ValueType::kUint64:
        return e_.SetDouble(value.AsDouble(), out);
      case ValueType::kDouble:
        *out = value;
        return true;
      case ValueType::kTimestamp: {
        const std::optional<std::int64_t> millis = ToMillis(value.AsTimestamp());
        if (!millis) return Refuse("the date is out of range");
        return e_.SetDouble(static_cast<double>(*millis), out);
      }
      case ValueType::kString: {
        std::string_view text = value.AsString();
        if (conversion_.base != 10) {
          if (!ToInteger(value, out)) return false;
          return e_.SetDouble((*out)->AsDouble(), out);
        }
        if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
        double number = 0;
        const std::from_chars_result end =
            std::from_chars(text.data(), text.data() + text.size(), number);
        if (end.ec == std::errc::result_out_of_range) {
          return Refuse("'", DescribeText(value.AsString()), "' is out of the range of doubles");
        }
        if (text.empty() || end.ec != std::errc() || end.ptr != text.data() + text.size()) {
          return Refuse("'", DescribeText(value.AsString()), "' is no number");
        }
        return e_.SetDouble(number, out);
      }
      case ValueType::kBinary: {
        const std::string_view data = value.AsBinary();
        if (data.size() == 8) return e_.SetDouble(std::bit_cast<double>(LoadBytes(data)), out);
        if (data.size() == 4) {
          return e_.SetDouble(std::bit_cast<float>(static_cast<std::uint32_t>(LoadBytes(data))),
                              out);
        }
        return Refuse("a double is made of 4 or 8 bytes, not of ", data.size());
      }
      default:
        return RefuseType(value);
    }
  }

  bool ToInteger(ValueView value, Operand* out) {
    std::int64_t integer = 0;
    const auto out_of_range = [&] {
      return Refuse(Describe(value), " is out of the range of ",
                    conversion_.target == Target::kInt ? "int (32 bits)" : "long (64 bits)");
    };
    switch (value.type()) {
      case ValueType::kBool:
        integer = value.AsBool() ? 1 : 0;
        break;
      case ValueType::kInt64:
        integer = value.AsInt64();
        break;
      case ValueType::kUint64:
        return out_of_range();
      case ValueType::kDouble: {
        if (!std::isfinite(value.AsDouble())) return out_of_range();
        const std::optional<std::int64_t> whole = RoundToInt64(std::trunc(value.AsDouble()));
        if (!whole) return out_of_range();
        integer = *whole;
        break;
      }
      case ValueType::kTimestamp: {
        if (conversion_.target == Target::kInt) return RefuseType(value);
        const std::optional<std::int64_t> millis = ToMillis(value.AsTimestamp());
        if (!millis) return out_of_range();
        integer = *millis;
        break;
      }
      case ValueType::kString: {
        std::string_view text = value.AsString();
        if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
        const std::from_chars_result end =
            std::from_chars(text.data(), text.data() + text.size(), integer, conversion_.base);
        if (end.ec == std::errc::result_out_of_range) return out_of_range();
        if (text.empty() || end.ec != std::errc() || end.ptr != text.data() + text.size()) {
          return Refuse("'", DescribeText(value.AsString()), "' is no whole number",
                        conversion_.base == 10 ? "" : absl::StrCat(" to base ", conversion_.base));
        }
        break;
      }
      case ValueType::kBinary: {
        const std::string_view data = value.AsBinary();
        const bool is_int = conversion_.target == Target::kInt;
        if (data.empty() || !std::has_single_bit(data.size()) || data.size() > (is_int ? 4 : 8)) {
          return Refuse(
              is_int ? "an int is made of 1, 2 or 4 bytes" : "a long is made of 1, 2, 4 or 8 bytes",
              ", not of ", data.size());
        }
        // The highest bit is the sign.
        const auto shift = static_cast<unsigned>(64 - 8 * data.size());
        integer = static_cast<std::int64_t>(LoadBytes(data) << shift) >> shift;
        break;
      }
      default:
        return RefuseType(value);
    }
    if (conversion_.target == Target::kInt && !FitsInt32(integer)) return out_of_range();
    return e_.SetInt(integer, out);
  }

  bool ToDate(ValueView value, Operand* out) {
    switch (value.type()) {
      case ValueType::kTimestamp:
        *out = value;
        return true;
      case ValueType::kInt64:
        return e_.SetTime(FromMillis(value.AsInt64()), out);
      case ValueType::kDouble: {
        const std::optional<std::int64_t> millis = std::isnan(value.AsDouble())
                                                       ? std::nullopt
                                                       : RoundToInt64(std::trunc(value.AsDouble()));
        if (!millis) return Refuse(Describe(value), " is out of the range of dates");
        return e_.SetTime(FromMillis(*millis), out);
      }
      case ValueType::kString: {
        const absl::StatusOr<DateParts> parts = ParseAnyDate(value.AsString());
        if (!parts.ok()) return Refuse(parts.status().message());
        const absl::StatusOr<Timestamp> date = DateOfParts(*parts, absl::UTCTimeZone());
        if (!date.ok()) {
          return Refuse("'", DescribeText(value.AsString()), "': ", date.status().message());
        }
        return e_.SetTime(*date, out);
      }
      default:
        return RefuseType(value);
    }
  }

  bool ToString(ValueView value, Operand* out) {
    switch (value.type()) {
      case ValueType::kString:
        *out = value;
        return true;
      case ValueType::kBool:
        return e_.SetString(value.AsBool() ? "true" : "false", out);
      case ValueType::kInt64:
        return IntegerToString(value.AsInt64(), out);
      case ValueType::kUint64:
        return IntegerToString(value.AsUint64(), out);
      case ValueType::kDouble:
        if (conversion_.base != 10) {
          const std::optional<std::int64_t> whole = value.ToInt64();
          if (!whole) return Refuse("only whole numbers can be written to another base than 10");
          return IntegerToString(*whole, out);
        }
        return e_.SetString(DoubleText(value.AsDouble()), out);
      case ValueType::kTimestamp: {
        const absl::StatusOr<std::string> text = DateText(value.AsTimestamp());
        if (!text.ok()) return Refuse(text.status().message());
        return e_.SetString(*text, out);
      }
      case ValueType::kBinary:
        return BinaryToString(value.AsBinary(), out);
      default:
        return RefuseType(value);
    }
  }

  template <class Integer>
  bool IntegerToString(Integer value, Operand* out) {
    char text[72];
    const std::to_chars_result end =
        std::to_chars(text, text + sizeof(text), value, conversion_.base);
    for (char* p = text; p != end.ptr; ++p)
      *p = absl::ascii_toupper(static_cast<unsigned char>(*p));
    return e_.SetString({text, static_cast<std::size_t>(end.ptr - text)}, out);
  }

  bool BinaryToString(std::string_view data, Operand* out) {
    // Four bytes of text per three of data are the least; twice as many the most.
    if (data.size() > e_.arena().limit_bytes() / 2) return e_.FailForMemory();
    switch (conversion_.format) {
      case BinaryFormat::kAuto:
      case BinaryFormat::kBase64:
        return e_.SetString(absl::Base64Escape(data), out);
      case BinaryFormat::kBase64Url: {
        std::string text;
        absl::WebSafeBase64Escape(data, &text);
        return e_.SetString(text, out);
      }
      case BinaryFormat::kUtf8:
        if (!IsUtf8(data)) return Refuse("the bytes are no valid UTF-8");
        return e_.SetString(data, out);
      case BinaryFormat::kHex: {
        std::string text = absl::BytesToHexString(data);
        for (char& c : text) c = absl::ascii_toupper(static_cast<unsigned char>(c));
        return e_.SetString(text, out);
      }
      case BinaryFormat::kUuid: {
        if (data.size() != 16) return Refuse("a UUID has 16 bytes, not ", data.size());
        const std::string hex = absl::BytesToHexString(data);
        return e_.SetString(
            absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                         hex.substr(16, 4), "-", hex.substr(20)),
            out);
      }
    }
    return false;
  }

  bool ToBinary(ValueView value, Operand* out) {
    switch (value.type()) {
      case ValueType::kBinary:
        *out = value;
        return true;
      case ValueType::kString:
        return StringToBinary(value.AsString(), out);
      case ValueType::kInt64:
        return StoreBytes(static_cast<std::uint64_t>(value.AsInt64()),
                          FitsInt32(value.AsInt64()) ? 4 : 8, out);
      case ValueType::kDouble:
        return StoreBytes(std::bit_cast<std::uint64_t>(value.AsDouble()), 8, out);
      default:
        return RefuseType(value);
    }
  }

  bool StringToBinary(std::string_view text, Operand* out) {
    std::string data;
    bool valid = true;
    switch (conversion_.format) {
      case BinaryFormat::kAuto:
        return Refuse(
            "a string becomes binary with a 'format' only: base64, base64url, utf8, hex "
            "or uuid");
      case BinaryFormat::kBase64:
        valid = absl::Base64Unescape(text, &data);
        break;
      case BinaryFormat::kBase64Url:
        valid = absl::WebSafeBase64Unescape(text, &data);
        break;
      case BinaryFormat::kUtf8:
        data = text;
        break;
      case BinaryFormat::kHex:
        valid = text.size() % 2 == 0 && IsHex(text);
        if (valid) data = absl::HexStringToBytes(text);
        break;
      case BinaryFormat::kUuid: {
        valid = IsUuid(text);
        if (!valid) break;
        std::string digits;
        for (const char c : text) {
          if (c != '-') digits.push_back(c);
        }
        data = absl::HexStringToBytes(digits);
        break;
      }
    }
    if (!valid) return Refuse("'", DescribeText(text), "' does not have the format");
    return e_.SetBinary(data, out);
  }

  std::uint64_t LoadBytes(std::string_view data) const {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < data.size(); ++i) {
      const char c = data[conversion_.big_endian ? i : data.size() - 1 - i];
      bits = bits << 8 | static_cast<unsigned char>(c);
    }
    return bits;
  }
  bool StoreBytes(std::uint64_t bits, std::size_t size, Operand* out) {
    std::string data(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
      data[conversion_.big_endian ? size - 1 - i : i] = static_cast<char>(bits >> (8 * i));
    }
    return e_.SetBinary(data, out);
  }

  const Conversion conversion_;
  Evaluation& e_;
  std::string why_;
};

inline constexpr std::string_view kConvertNames[] = {"input",   "to",         "onError?", "onNull?",
                                                     "format?", "byteOrder?", "base?"};

inline bool EvaluateConvert(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  Operand to;
  Operand format;
  Operand order;
  Operand base;
  if (!EvaluateArgument(node, 0, e, &input) || !EvaluateArgument(node, 1, e, &to) ||
      !EvaluateArgument(node, 4, e, &format) || !EvaluateArgument(node, 5, e, &order) ||
      !EvaluateArgument(node, 6, e, &base)) {
    return false;
  }
  if (to && to->IsDocument()) to = to->Find("type");  // {type: 'binData', subtype: 0}
  Conversion conversion{};
  if (!IsNullish(to)) {
    const absl::StatusOr<Target> target = ParseTarget(*to);
    if (!target.ok()) return Fail(node, e, target.status().message());
    conversion.target = *target;
  }
  if (!IsNullish(format)) {
    const std::optional<BinaryFormat> parsed =
        format->IsString() ? ParseBinaryFormat(format->AsString()) : std::nullopt;
    if (!parsed) {
      return Fail(node, e,
                  "'format' has to be one of base64, base64url, utf8, hex and uuid; found ",
                  Describe(*format));
    }
    conversion.format = *parsed;
  }
  if (!IsNullish(order)) {
    const std::string_view name = order->IsString() ? order->AsString() : std::string_view();
    if (name != "little" && name != "big") {
      return Fail(node, e, "'byteOrder' has to be 'little' or 'big', found ", Describe(*order));
    }
    conversion.big_endian = name == "big";
  }
  if (!IsNullish(base)) {
    const std::int64_t number = base->ToInt64().value_or(0);
    if (number != 2 && number != 8 && number != 10 && number != 16) {
      return Fail(node, e, "'base' has to be 2, 8, 10 or 16, found ", Describe(*base));
    }
    conversion.base = static_cast<int>(number);
  }
  if (IsNullish(input)) {
    if (node.arguments[3] != nullptr) return EvaluateArgument(node, 3, e, out);
    return e.SetNull(out);
  }
  if (IsNullish(to)) return e.SetNull(out);
  Converter converter(conversion, e);
  if (converter.Convert(*input, out)) return true;
  if (!e.status().ok()) return false;
  if (node.arguments[2] != nullptr) return EvaluateArgument(node, 2, e, out);
  return Fail(node, e, converter.why());
}

inline absl::Status PrepareConvert(ExpressionCompiler& compiler, Node& node) {
  const Node* const to = node.arguments[1];
  if (!IsConstant(to) || to->constant.IsNull() || to->constant.IsDocument()) {
    return absl::OkStatus();
  }
  const absl::StatusOr<Target> target = ParseTarget(to->constant);
  return target.ok() ? absl::OkStatus() : compiler.Error(*node.op, target.status().message());
}

template <Target target>
bool EvaluateTo(const Node& node, Evaluation& e, ValueView value, Operand* out) {
  Converter converter({target}, e);
  if (converter.Convert(value, out)) return true;
  return e.status().ok() ? Fail(node, e, converter.why()) : false;
}

// --- Sizes, hashes ---

inline bool BinarySize(const Node& node, Evaluation& e, ValueView value, Operand* out) {
  if (value.IsString()) return e.SetInt(static_cast<std::int64_t>(value.AsString().size()), out);
  if (value.type() == ValueType::kBinary) {
    return e.SetInt(static_cast<std::int64_t>(value.AsBinary().size()), out);
  }
  return Fail(node, e, "expected a string or binary, found ", Describe(value));
}

// Of the document as it is stored: MessagePack.
inline bool BsonSize(const Node& node, Evaluation& e, ValueView value, Operand* out) {
  if (value.IsDocument()) return e.SetInt(static_cast<std::int64_t>(value.bytes().size()), out);
  return Fail(node, e, "expected an object, found ", Describe(value));
}

inline bool EvaluateHash(const Node& node, Evaluation& e, Operand* out) {
  Operand value;
  if (!Evaluate(*node.arguments[0], e, &value)) return false;
  return e.SetInt(static_cast<std::int64_t>(HashValue(value.value_or(ValueView()))), out);
}

inline constexpr Operator kOperators[] = {
    {"$type", &EvaluateType},
    {"$isNumber", &EvaluateIsNumber},
    {.name = "$convert",
     .evaluate = &EvaluateConvert,
     .names = kConvertNames,
     .prepare = &PrepareConvert},
    {"$toBool", &EvaluateUnary<&EvaluateTo<Target::kBool>>},
    {"$toDate", &EvaluateUnary<&EvaluateTo<Target::kDate>>},
    {"$toDouble", &EvaluateUnary<&EvaluateTo<Target::kDouble>>},
    {"$toInt", &EvaluateUnary<&EvaluateTo<Target::kInt>>},
    {"$toLong", &EvaluateUnary<&EvaluateTo<Target::kLong>>},
    {"$toString", &EvaluateUnary<&EvaluateTo<Target::kString>>},
    {"$binarySize", &EvaluateUnary<&BinarySize>},
    {"$bsonSize", &EvaluateUnary<&BsonSize>},
    {"$toHashedIndexKey", &EvaluateHash},
};

}  // namespace alos::query_internal::expression_type

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_TYPE_H_
