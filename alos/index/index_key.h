// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Index keys: bytes whose unsigned byte order is the order of values (alos/document/compare.h), so
// that an index compares with memcmp and never decodes.
//
// A key is a class byte (KeyClass, in the order of types) and what follows from the value:
//
//   null, object, array   nothing: a marker. An index tells that there is an object or an array,
//   not
//                         which; what asks for a whole one is verified on the document
//   number       8   the double, big-endian, its bits turned so that they order as unsigned: all
//                    bits flipped when negative, else the sign bit; NaN is 0, -0.0 is 0.0
//                2   only when |number| >= 2^53, where integers lie between doubles: the double
//                above
//                    is the largest that is not greater, and this the rest, big-endian
//                Equal numbers have one key whatever their type: 5, 5.0 and 5 as uint64.
//   string           its bytes
//   binData      4   its size, big-endian (the shorter one comes first); then its bytes
//   bool         1   0 or 1
//   date         8   seconds, biased by 2^63, big-endian
//                4   nanoseconds, big-endian
//   extension    1   its type, biased by 128; then its bytes
//
// A key has at most kIndexKeyBytesMax bytes; strings, binData and extensions are cut to that. A key
// of that very size counts as cut, also when nothing was lost: equality of such keys has to be
// verified on the documents, and the order of values with one cut key is not known.
//
// A component of a compound key is the same, made self-delimiting so that concatenations order as
// tuples: the bytes of strings and extensions are escaped (00 becomes 00 ff) and end with a 00. A
// component may also say that its path is missing, or denotes nothing at all (see VisitPath).

#ifndef ALOS_INDEX_INDEX_KEY_H_
#define ALOS_INDEX_INDEX_KEY_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos {

// Threads: pure functions. Errors: none. Cost: linear in the key; no allocation but the growth of
// `out`. Keys that are decoded may hold any bytes: what is no key is refused or yields some number.

inline constexpr std::size_t kIndexKeyBytesMax = 2048;

// The first byte of a key, in the order of types.
enum class KeyClass : std::uint8_t {
  kNothing = 1,  // components only: the path denotes nothing, as "a.b" in {a: []}
  kMissing = 2,  // components only: no such field. In a column of one path: code 0
  kNull = 3,
  kNumber = 4,
  kString = 5,
  kDocument = 6,
  kArray = 7,
  kBinary = 8,
  kBool = 9,
  kTimestamp = 10,
  kExtension = 11,
};

KeyClass KeyClassOf(ValueType type);

// Appends the key of `value`. False when it was cut, or has the size of a cut one.
bool AppendIndexKey(ValueView value, std::string* out);

// The same as a component of a compound key; nullopt: the field is missing.
bool AppendIndexKeyComponent(std::optional<ValueView> value, std::string* out);
// The component of a path that denotes nothing; it comes before all others.
void AppendIndexKeyNothing(std::string* out);

// REQUIRES: `key` is not empty. Of a compound key: the class of its first component.
inline KeyClass IndexKeyClass(std::string_view key) { return static_cast<KeyClass>(key[0]); }

// Whether a key of AppendIndexKey (not a compound one) counts as cut.
inline bool IsCutIndexKey(std::string_view key) { return key.size() >= kIndexKeyBytesMax; }

// The keys of a class are those in [FirstKeyOfClass(c), EndKeyOfClass(c)). The bounds of a string
// class are no keys themselves; the first key of all other classes is greater than the bound or,
// for the markers, equal to it. Appended to components they bound the next component alike.
inline std::string FirstKeyOfClass(KeyClass key_class) {
  return std::string(1, static_cast<char>(key_class));
}
inline std::string EndKeyOfClass(KeyClass key_class) {
  return std::string(1, static_cast<char>(static_cast<std::uint8_t>(key_class) + 1));
}

// Where numbers that are not NaN begin: range predicates do not match NaN.
std::string FirstIndexKeyAfterNan();

// One past all keys that begin with `prefix`; empty when there is no such bound (a prefix of ff
// bytes only, which begins no key). For the strings with a prefix: the key of the prefix; for the
// tuples that begin with some components: these components.
std::string IndexKeyPrefixEnd(std::string_view prefix);

// Appends the scalar that `key` stands for to *out: the number as int64 or uint64 if it is whole
// and in their range and `integral_as_int`, else as double (but where only an integer is exact).
// False, and nothing is appended: a marker, a cut key, or no key.
bool DecodeIndexKey(std::string_view key, bool integral_as_int, Builder* out);

// The number of a key of class kNumber: the value itself for all doubles and integers up to 2^53,
// and rounded to nearest above. 0 for other keys.
double IndexKeyNumber(std::string_view key);

// Splits the first component off a compound key and returns it, with its terminator: what
// AppendIndexKeyComponent appended. nullopt at the end, or if this is no compound key.
std::optional<std::string_view> TakeIndexKeyComponent(std::string_view* key);

// DecodeIndexKey for a component. False also for kMissing and kNothing.
bool DecodeIndexKeyComponent(std::string_view component, bool integral_as_int, Builder* out);

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace index_internal {

inline constexpr double kTwoTo53 = 9007199254740992.0;
inline constexpr double kTwoTo63 = 9223372036854775808.0;
inline constexpr double kTwoTo64 = 18446744073709551616.0;
inline constexpr std::uint64_t kSignBit = std::uint64_t{1} << 63;

inline void AppendBigEndian64(std::string* out, std::uint64_t value) {
  value = __builtin_bswap64(value);
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}
inline void AppendBigEndian32(std::string* out, std::uint32_t value) {
  value = __builtin_bswap32(value);
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline std::uint64_t LoadBigEndian64(const char* p) {
  std::uint64_t value;
  std::memcpy(&value, p, sizeof(value));
  return __builtin_bswap64(value);
}
inline std::uint32_t LoadBigEndian32(const char* p) {
  std::uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return __builtin_bswap32(value);
}
inline std::uint16_t LoadBigEndian16(const char* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return __builtin_bswap16(value);
}

// REQUIRES: not NaN, not -0.0.
inline std::uint64_t OrderedBits(double number) {
  const auto bits = std::bit_cast<std::uint64_t>(number);
  return (bits & kSignBit) != 0 ? ~bits : bits | kSignBit;
}
inline double FromOrderedBits(std::uint64_t ordered) {
  if (ordered == 0) return std::nan("");
  return std::bit_cast<double>((ordered & kSignBit) != 0 ? ordered ^ kSignBit : ~ordered);
}

// `floor` is the largest double that is not greater than the number, `rest` the difference.
inline void AppendNumber(double floor, std::uint32_t rest, std::string* out) {
  char bytes[11];
  bytes[0] = static_cast<char>(KeyClass::kNumber);
  std::uint64_t ordered = OrderedBits(floor);
  ordered = __builtin_bswap64(ordered);
  std::memcpy(bytes + 1, &ordered, sizeof(ordered));
  if (std::fabs(floor) < kTwoTo53) {
    out->append(bytes, 9);
    return;
  }
  bytes[9] = static_cast<char>(rest >> 8);
  bytes[10] = static_cast<char>(rest);
  out->append(bytes, 11);
}

inline void AppendNumberKey(ValueView value, ValueType type, std::string* out) {
  if (type == ValueType::kInt64) {
    const std::int64_t number = value.AsInt64();
    auto floor = static_cast<double>(number);  // to nearest
    if (std::fabs(floor) < kTwoTo53) return AppendNumber(floor, 0, out);
    if (floor >= kTwoTo63 || static_cast<std::int64_t>(floor) > number) {
      floor = std::nextafter(floor, -HUGE_VAL);
    }
    return AppendNumber(floor,
                        static_cast<std::uint32_t>(number - static_cast<std::int64_t>(floor)), out);
  }
  if (type == ValueType::kUint64) {
    const std::uint64_t number = value.AsUint64();
    auto floor = static_cast<double>(number);
    if (floor >= kTwoTo64 || static_cast<std::uint64_t>(floor) > number) {
      floor = std::nextafter(floor, 0.0);
    }
    return AppendNumber(
        floor, static_cast<std::uint32_t>(number - static_cast<std::uint64_t>(floor)), out);
  }
  const double number = value.AsDouble();
  if (std::isnan(number)) {
    out->push_back(static_cast<char>(KeyClass::kNumber));
    out->append(8, '\0');
    return;
  }
  AppendNumber(number == 0 ? 0.0 : number, 0, out);
}

inline void AppendEscaped(std::string_view bytes, std::string* out) {
  for (;;) {
    const std::size_t zero = bytes.find('\0');
    if (zero == std::string_view::npos) break;
    out->append(bytes.substr(0, zero));
    out->append("\0\xff", 2);
    bytes.remove_prefix(zero + 1);
  }
  out->append(bytes);
  out->push_back('\0');
}

template <bool kComponent>
bool AppendKey(ValueView value, std::string* out) {
  const ValueType type = value.type();
  const auto key_class = static_cast<char>(KeyClassOf(type));
  switch (type) {
    case ValueType::kNull:
    case ValueType::kDocument:
    case ValueType::kArray:
      out->push_back(key_class);
      return true;
    case ValueType::kInt64:
    case ValueType::kUint64:
    case ValueType::kDouble:
      AppendNumberKey(value, type, out);
      return true;
    case ValueType::kString: {
      const std::string_view text = value.AsString();
      const std::string_view kept = text.substr(0, kIndexKeyBytesMax - 1);
      out->push_back(key_class);
      if constexpr (kComponent) {
        AppendEscaped(kept, out);
      } else {
        out->append(kept);
      }
      return text.size() < kIndexKeyBytesMax - 1;
    }
    case ValueType::kBinary: {
      const std::string_view data = value.AsBinary();
      out->push_back(key_class);
      AppendBigEndian32(out, static_cast<std::uint32_t>(data.size()));
      out->append(data.substr(0, kIndexKeyBytesMax - 5));
      return data.size() < kIndexKeyBytesMax - 5;
    }
    case ValueType::kBool:
      out->push_back(key_class);
      out->push_back(value.AsBool() ? 1 : 0);
      return true;
    case ValueType::kTimestamp: {
      const Timestamp time = value.AsTimestamp();
      out->push_back(key_class);
      AppendBigEndian64(out, static_cast<std::uint64_t>(time.seconds) ^ kSignBit);
      AppendBigEndian32(out, time.nanoseconds);
      return true;
    }
    case ValueType::kExtension: {
      const std::string_view data = value.ExtensionData();
      const std::string_view kept = data.substr(0, kIndexKeyBytesMax - 2);
      out->push_back(key_class);
      out->push_back(static_cast<char>(static_cast<std::uint8_t>(value.ExtensionType()) ^ 0x80));
      if constexpr (kComponent) {
        AppendEscaped(kept, out);
      } else {
        out->append(kept);
      }
      return data.size() < kIndexKeyBytesMax - 2;
    }
  }
  return true;
}

// The parts of a number key; nullopt if it is none.
struct NumberKey {
  double floor = 0;
  std::uint32_t rest = 0;
};
inline std::optional<NumberKey> ParseNumberKey(std::string_view key) {
  if (key.size() < 9 || IndexKeyClass(key) != KeyClass::kNumber) return std::nullopt;
  NumberKey number{FromOrderedBits(LoadBigEndian64(key.data() + 1)), 0};
  if (std::fabs(number.floor) >= kTwoTo53) {
    if (key.size() != 11) return std::nullopt;
    number.rest = LoadBigEndian16(key.data() + 9);
  } else if (key.size() != 9) {
    return std::nullopt;
  }
  return number;
}

// The integer floor + rest, as the bits of an int64 when negative and else of a uint64. nullopt:
// not an integer of that range.
inline std::optional<std::uint64_t> WholeNumber(const NumberKey& number) {
  if (!(number.floor >= -kTwoTo63 && number.floor < kTwoTo64)) return std::nullopt;
  const std::uint64_t floor =
      number.floor < kTwoTo63 ? static_cast<std::uint64_t>(static_cast<std::int64_t>(number.floor))
                              : static_cast<std::uint64_t>(number.floor);
  if (std::trunc(number.floor) != number.floor) return std::nullopt;
  return floor + number.rest;
}

inline bool DecodeNumberKey(std::string_view key, bool integral_as_int, Builder* out) {
  const std::optional<NumberKey> number = ParseNumberKey(key);
  if (!number.has_value()) return false;
  if (integral_as_int || number->rest != 0) {
    if (const std::optional<std::uint64_t> whole = WholeNumber(*number)) {
      if (number->floor < 0) {
        out->Int(static_cast<std::int64_t>(*whole));
      } else {
        out->Uint(*whole);
      }
      return true;
    }
  }
  out->Double(number->floor);
  return true;
}

}  // namespace index_internal

inline KeyClass KeyClassOf(ValueType type) {
  switch (type) {
    case ValueType::kNull:
      return KeyClass::kNull;
    case ValueType::kInt64:
    case ValueType::kUint64:
    case ValueType::kDouble:
      return KeyClass::kNumber;
    case ValueType::kString:
      return KeyClass::kString;
    case ValueType::kDocument:
      return KeyClass::kDocument;
    case ValueType::kArray:
      return KeyClass::kArray;
    case ValueType::kBinary:
      return KeyClass::kBinary;
    case ValueType::kBool:
      return KeyClass::kBool;
    case ValueType::kTimestamp:
      return KeyClass::kTimestamp;
    case ValueType::kExtension:
      return KeyClass::kExtension;
  }
  return KeyClass::kExtension;
}

inline bool AppendIndexKey(ValueView value, std::string* out) {
  return index_internal::AppendKey<false>(value, out);
}

inline bool AppendIndexKeyComponent(std::optional<ValueView> value, std::string* out) {
  if (value.has_value()) return index_internal::AppendKey<true>(*value, out);
  out->push_back(static_cast<char>(KeyClass::kMissing));
  return true;
}

inline void AppendIndexKeyNothing(std::string* out) {
  out->push_back(static_cast<char>(KeyClass::kNothing));
}

inline std::string FirstIndexKeyAfterNan() {
  std::string key(9, '\0');
  key[0] = static_cast<char>(KeyClass::kNumber);
  key[8] = 1;
  return key;
}

inline std::string IndexKeyPrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

inline bool DecodeIndexKey(std::string_view key, bool integral_as_int, Builder* out) {
  if (key.empty() || IsCutIndexKey(key)) return false;
  switch (IndexKeyClass(key)) {
    case KeyClass::kNull:
      if (key.size() != 1) return false;
      out->Null();
      return true;
    case KeyClass::kNumber:
      return index_internal::DecodeNumberKey(key, integral_as_int, out);
    case KeyClass::kString:
      out->String(key.substr(1));
      return true;
    case KeyClass::kBinary:
      if (key.size() < 5) return false;
      out->Binary(key.substr(5));
      return true;
    case KeyClass::kBool:
      if (key.size() != 2) return false;
      out->Bool(key[1] != 0);
      return true;
    case KeyClass::kTimestamp: {
      if (key.size() != 13) return false;
      const std::uint32_t nanoseconds = index_internal::LoadBigEndian32(key.data() + 9);
      if (nanoseconds > 999'999'999) return false;
      const std::uint64_t seconds =
          index_internal::LoadBigEndian64(key.data() + 1) ^ index_internal::kSignBit;
      out->Time({static_cast<std::int64_t>(seconds), nanoseconds});
      return true;
    }
    case KeyClass::kExtension: {
      if (key.size() < 2) return false;
      const auto type =
          static_cast<std::int8_t>(static_cast<std::uint8_t>(key[1]) ^ std::uint8_t{0x80});
      if (type == -1) return false;  // A timestamp's.
      out->Extension(type, key.substr(2));
      return true;
    }
    default:
      return false;
  }
}

inline double IndexKeyNumber(std::string_view key) {
  if (key.empty()) return 0;
  const std::optional<index_internal::NumberKey> number = index_internal::ParseNumberKey(key);
  if (!number.has_value()) return 0;
  if (number->rest == 0) return number->floor;
  const std::optional<std::uint64_t> whole = index_internal::WholeNumber(*number);
  if (!whole.has_value()) return number->floor;
  return number->floor < 0 ? static_cast<double>(static_cast<std::int64_t>(*whole))
                           : static_cast<double>(*whole);
}

inline std::optional<std::string_view> TakeIndexKeyComponent(std::string_view* key) {
  if (key->empty()) return std::nullopt;
  std::size_t size = 1;
  // Past the terminator of escaped bytes that begin at `from`; 0: there is none.
  const auto terminated = [&](std::size_t from) -> std::size_t {
    for (;;) {
      const std::size_t zero = key->find('\0', from);
      if (zero == std::string_view::npos) return 0;
      if (zero + 1 == key->size() || (*key)[zero + 1] != '\xff') return zero + 1;
      from = zero + 2;
    }
  };
  switch (IndexKeyClass(*key)) {
    case KeyClass::kNothing:
    case KeyClass::kMissing:
    case KeyClass::kNull:
    case KeyClass::kDocument:
    case KeyClass::kArray:
      break;
    case KeyClass::kNumber:
      if (key->size() < 9) return std::nullopt;
      size = std::fabs(index_internal::FromOrderedBits(
                 index_internal::LoadBigEndian64(key->data() + 1))) >= index_internal::kTwoTo53
                 ? 11
                 : 9;
      break;
    case KeyClass::kString:
      size = terminated(1);
      break;
    case KeyClass::kBinary:
      if (key->size() < 5) return std::nullopt;
      size = 5 + std::min<std::size_t>(index_internal::LoadBigEndian32(key->data() + 1),
                                       kIndexKeyBytesMax - 5);
      break;
    case KeyClass::kBool:
      size = 2;
      break;
    case KeyClass::kTimestamp:
      size = 13;
      break;
    case KeyClass::kExtension:
      size = terminated(2);
      break;
    default:
      return std::nullopt;
  }
  if (size == 0 || size > key->size()) return std::nullopt;
  const std::string_view component = key->substr(0, size);
  key->remove_prefix(size);
  return component;
}

inline bool DecodeIndexKeyComponent(std::string_view component, bool integral_as_int,
                                    Builder* out) {
  if (component.empty()) return false;
  const KeyClass key_class = IndexKeyClass(component);
  if (key_class != KeyClass::kString && key_class != KeyClass::kExtension) {
    return DecodeIndexKey(component, integral_as_int, out);
  }
  const std::size_t header_size = key_class == KeyClass::kString ? 1 : 2;
  if (component.size() < header_size + 1 || component.back() != '\0') return false;
  component.remove_suffix(1);
  std::string key(component.substr(0, header_size));
  for (std::size_t i = header_size; i < component.size(); ++i) {
    key.push_back(component[i]);
    if (component[i] == '\0') ++i;  // The ff of the escape.
  }
  return DecodeIndexKey(key, integral_as_int, out);
}

}  // namespace alos

#endif  // ALOS_INDEX_INDEX_KEY_H_
