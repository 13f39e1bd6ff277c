// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A document as alos sees it: a view over the MessagePack bytes it is stored and sent as. Nothing
// is decoded ahead of use and nothing is copied.

#ifndef ALOS_DOCUMENT_VALUE_H_
#define ALOS_DOCUMENT_VALUE_H_

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "alos/base/check.h"
#include "alos/document/internal/message_pack.h"

namespace alos {

namespace document_internal {
struct ViewAccess;
}

enum class ValueType : std::uint8_t {
  kNull,
  kBool,
  kInt64,
  kUint64,  // only integers above INT64_MAX; all others are kInt64, whatever their encoding
  kDouble,  // float32 and float64
  kString,
  kBinary,
  kTimestamp,
  kArray,
  kDocument,
  kExtension,
};

// The name of a type as it stands in messages and in `$type`-like places: "null", "bool", "int",
// "uint", "double", "string", "binData", "date", "array", "object", "extension".
std::string_view TypeName(ValueType type);

// A point in time since the Unix epoch. `nanoseconds` (0 .. 999,999,999) count forward from
// `seconds`, also before 1970.
struct Timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;

  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

struct ParseLimits {
  // How many containers may be open at once: 1 allows {a: 1} and refuses {a: {b: 1}}.
  std::size_t depth_max = 100;
};

// A view of one valid MessagePack value: a pointer and a size, to be passed by value.
//
// Threads: a view is immutable; any number of threads may read the same bytes through views.
// Lifetime: a view owns nothing. It, every view, string and range got from it, is valid as long as
//   the bytes it was made from exist unchanged.
// Durability: none.
// Errors: only Parse and ParsePrefix can fail. Accessors have preconditions on type(); asking for
//   the wrong type is a bug of the caller, asserted in debug builds; otherwise it yields zero, an
//   empty string or an empty range, and never reads outside the value.
// Cost: type() and scalar accessors are O(1). Find is one pass over the entries ahead of the one
//   found; an entry that does not match is stepped over, not decoded. Views returned by Find do not
//   know their size yet: bytes() of such a view walks the value, once per call, so keep the result.
//   No accessor allocates.
//
//   absl::StatusOr<ValueView> document = ValueView::Parse(bytes);
//   if (!document.ok()) return document.status();
//   if (std::optional<ValueView> name = document->Find("name"); name && name->IsString()) {
//     Greet(name->AsString());
//   }
//   for (auto [key, value] : document->entries()) Use(key, value);
class ValueView {
 public:
  struct Entry;
  class ElementRange;
  class EntryRange;

  // Nil.
  ValueView() : data_(kNil), size_(1) {}

  // Checks `bytes` and returns the view of the one value they hold. The only way in for bytes that
  // come from outside. Refused are: bytes after the value, the reserved byte c1, keys that are not
  // strings, a key that stands twice in one document, counts and lengths past the end, timestamps
  // of an unknown length or with more than 999,999,999 nanoseconds, nesting over the limit. Strings
  // are not required to be UTF-8. Errors: kOutOfRange when the bytes end before the value does
  // (more bytes might help),
  //   kInvalidArgument for everything else. Each names the byte offset and what was expected.
  // Cost: one pass without recursion; for a document of more than 16 keys a hash set of its keys.
  static absl::StatusOr<ValueView> Parse(std::string_view bytes, const ParseLimits& limits = {});

  // As Parse, for the first value of `bytes`; anything may follow it. bytes().size() of the result
  // tells how much was taken.
  static absl::StatusOr<ValueView> ParsePrefix(std::string_view bytes,
                                               const ParseLimits& limits = {});

  // REQUIRES: Parse has accepted these very bytes before (a stored record whose checksum was
  // verified, the output of a Builder). Checks nothing.
  static ValueView FromTrusted(std::string_view bytes) {
    ALOS_DCHECK(!bytes.empty());
    return ValueView(bytes.data(), bytes.size());
  }

  ValueType type() const;
  bool IsNull() const { return lead() == 0xc0; }
  bool IsBool() const { return (lead() & 0xfe) == 0xc2; }
  bool IsNumber() const;  // kInt64, kUint64 or kDouble
  bool IsString() const;
  bool IsArray() const;
  bool IsDocument() const;
  // An integer that is not negative: what AsUint64 takes.
  bool IsUnsigned() const;

  // REQUIRES for each: type() is the matching one.
  bool AsBool() const;
  std::int64_t AsInt64() const;    // kInt64
  std::uint64_t AsUint64() const;  // kUint64, or a kInt64 that is not negative
  double AsDouble() const;         // any number; integers beyond 2^53 are rounded to nearest
  std::string_view AsString() const;
  std::string_view AsBinary() const;
  Timestamp AsTimestamp() const;
  std::int8_t ExtensionType() const;  // never -1, which is kTimestamp
  std::string_view ExtensionData() const;

  // The exact int64 value of any number; nullopt if it has none (1.5, NaN, 2^63) or is no number.
  std::optional<std::int64_t> ToInt64() const;

  // Elements of an array, entries of a document; 0 for every other type.
  std::size_t size() const;

  // The encoded value.
  std::string_view bytes() const {
    return {data_,
            size_ != 0 ? size_ : static_cast<std::size_t>(document_internal::Skip(data_) - data_)};
  }

  // The elements of an array; an empty range for every other type.
  ElementRange elements() const;
  // The entries of a document, in stored order; an empty range for every other type.
  EntryRange entries() const;

  // In a document the value of `key`; in an array the element at the decimal position `key` ("0",
  // "17"; no sign, no leading zero); nullopt if there is none or the value is no container.
  std::optional<ValueView> Find(std::string_view key) const;
  // The element at `position` of an array, nullopt past its end or if this is no array.
  std::optional<ValueView> At(std::size_t position) const;

 private:
  friend struct document_internal::ViewAccess;

  static constexpr char kNil[] = "\xc0";

  // size 0: not known yet.
  explicit ValueView(const char* data, std::size_t size) : data_(data), size_(size) {}

  std::uint8_t lead() const { return document_internal::Load8(data_); }

  const char* data_;
  std::size_t size_;
};
static_assert(sizeof(ValueView) <= 16 && std::is_trivially_copyable_v<ValueView>);

// --- Readers of the API may stop here. ----------------------------------------------------------

struct ValueView::Entry {
  std::string_view key;
  ValueView value;
};

namespace document_internal {

// For the other headers of this module, which walk validated bytes with a cursor.
struct ViewAccess {
  // The view of the valid value at `p`; its size is found out when bytes() is asked for.
  static ValueView At(const char* p) { return ValueView(p, 0); }
  static const char* Data(ValueView value) { return value.data_; }
};

// Reads the string at *p (a key) and moves *p past it. REQUIRES: a valid string there.
inline std::string_view TakeString(const char** p) {
  const std::uint8_t lead = Load8(*p);
  std::size_t header_size = 1;
  std::size_t size = lead & 0x1f;
  if ((lead & 0xe0) != 0xa0) [[unlikely]] {
    header_size = kLeads[lead].header_size;
    size = LoadCount(*p);
  }
  const std::string_view result(*p + header_size, size);
  *p = result.data() + size;
  return result;
}

// a == b, with the answer "no" mostly found without a call: keys of one length begin differently.
inline bool SameKey(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  return a.empty() || (a[0] == b[0] && std::memcmp(a.data(), b.data(), a.size()) == 0);
}

inline bool IsStringLead(std::uint8_t lead) {
  return (lead & 0xe0) == 0xa0 || (lead >= 0xd9 && lead <= 0xdb);
}

// The types of all lead bytes but two kinds: cf may be kInt64, extensions may be kTimestamp.
inline constexpr std::array<ValueType, 256> kTypes = [] {
  std::array<ValueType, 256> types{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    ValueType type = ValueType::kNull;
    if (byte <= 0x7f || byte >= 0xe0)
      type = ValueType::kInt64;
    else if (byte <= 0x8f)
      type = ValueType::kDocument;
    else if (byte <= 0x9f)
      type = ValueType::kArray;
    else if (byte <= 0xbf)
      type = ValueType::kString;
    else if (byte <= 0xc1)
      type = ValueType::kNull;
    else if (byte <= 0xc3)
      type = ValueType::kBool;
    else if (byte <= 0xc6)
      type = ValueType::kBinary;
    else if (byte <= 0xc9)
      type = ValueType::kExtension;
    else if (byte <= 0xcb)
      type = ValueType::kDouble;
    else if (byte <= 0xce)
      type = ValueType::kInt64;
    else if (byte == 0xcf)
      type = ValueType::kUint64;
    else if (byte <= 0xd3)
      type = ValueType::kInt64;
    else if (byte <= 0xd8)
      type = ValueType::kExtension;
    else if (byte <= 0xdb)
      type = ValueType::kString;
    else if (byte <= 0xdd)
      type = ValueType::kArray;
    else
      type = ValueType::kDocument;
    types[byte] = type;
  }
  return types;
}();

// Parses "0", "17": a position in an array. nullopt: not one.
inline std::optional<std::size_t> ParsePosition(std::string_view text) {
  // An array of 2^32 elements is the largest there is: ten digits.
  if (text.empty() || text.size() > 10 || (text[0] == '0' && text.size() > 1)) return std::nullopt;
  std::size_t position = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    position = position * 10 + static_cast<std::size_t>(c - '0');
  }
  return position;
}

// `value` exactly as an int64, or nullopt.
inline std::optional<std::int64_t> ExactInt64(double value) {
  // Both bounds are exact doubles; NaN fails the comparison.
  if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0)) return std::nullopt;
  const auto truncated = static_cast<std::int64_t>(value);
  if (static_cast<double>(truncated) != value) return std::nullopt;
  return truncated;
}

}  // namespace document_internal

// A forward range of ValueView. The view under an iterator knows its size.
class ValueView::ElementRange {
 public:
  class iterator {
   public:
    using iterator_concept = std::forward_iterator_tag;
    using iterator_category = std::input_iterator_tag;  // dereferences to a value
    using value_type = ValueView;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = ValueView;

    iterator() = default;
    ValueView operator*() const { return ValueView(p_, static_cast<std::size_t>(next_ - p_)); }
    iterator& operator++() {
      --remaining_;
      p_ = next_;
      if (remaining_ != 0) next_ = document_internal::Skip(p_);
      return *this;
    }
    iterator operator++(int) {
      iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) {
      return a.remaining_ == b.remaining_;
    }

   private:
    friend class ElementRange;
    iterator(const char* p, std::size_t remaining)
        : p_(p), next_(remaining != 0 ? document_internal::Skip(p) : p), remaining_(remaining) {}

    const char* p_ = nullptr;
    const char* next_ = nullptr;
    std::size_t remaining_ = 0;
  };

  iterator begin() const { return iterator(p_, count_); }
  iterator end() const { return iterator(); }
  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }

 private:
  friend class ValueView;
  ElementRange(const char* p, std::size_t count) : p_(p), count_(count) {}

  const char* p_;
  std::size_t count_;
};

// A forward range of Entry. The values under an iterator know their sizes.
class ValueView::EntryRange {
 public:
  class iterator {
   public:
    using iterator_concept = std::forward_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = Entry;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Entry;

    iterator() = default;
    Entry operator*() const {
      return {key_, ValueView(value_, static_cast<std::size_t>(next_ - value_))};
    }
    iterator& operator++() {
      --remaining_;
      Load(next_);
      return *this;
    }
    iterator operator++(int) {
      iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) {
      return a.remaining_ == b.remaining_;
    }

   private:
    friend class EntryRange;
    iterator(const char* p, std::size_t remaining) : remaining_(remaining) { Load(p); }

    void Load(const char* p) {
      if (remaining_ == 0) return;
      key_ = document_internal::TakeString(&p);
      value_ = p;
      next_ = document_internal::Skip(p);
    }

    std::string_view key_;
    const char* value_ = nullptr;
    const char* next_ = nullptr;
    std::size_t remaining_ = 0;
  };

  iterator begin() const { return iterator(p_, count_); }
  iterator end() const { return iterator(); }
  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }

 private:
  friend class ValueView;
  EntryRange(const char* p, std::size_t count) : p_(p), count_(count) {}

  const char* p_;
  std::size_t count_;
};

using ElementRange = ValueView::ElementRange;
using EntryRange = ValueView::EntryRange;
using Entry = ValueView::Entry;

inline std::string_view TypeName(ValueType type) {
  switch (type) {
    case ValueType::kNull:
      return "null";
    case ValueType::kBool:
      return "bool";
    case ValueType::kInt64:
      return "int";
    case ValueType::kUint64:
      return "uint";
    case ValueType::kDouble:
      return "double";
    case ValueType::kString:
      return "string";
    case ValueType::kBinary:
      return "binData";
    case ValueType::kTimestamp:
      return "date";
    case ValueType::kArray:
      return "array";
    case ValueType::kDocument:
      return "object";
    case ValueType::kExtension:
      return "extension";
  }
  return "unknown";
}

inline ValueType ValueView::type() const {
  const std::uint8_t byte = lead();
  const ValueType type = document_internal::kTypes[byte];
  if (type == ValueType::kUint64) [[unlikely]] {
    return static_cast<std::uint8_t>(data_[1]) < 0x80 ? ValueType::kInt64 : ValueType::kUint64;
  }
  if (type == ValueType::kExtension) [[unlikely]] {
    const std::uint8_t header_size =
        document_internal::kLeads[byte].extent == document_internal::Extent::kFixedExtension
            ? 2
            : document_internal::kLeads[byte].header_size;
    return data_[header_size - 1] == document_internal::kTimestampExtension ? ValueType::kTimestamp
                                                                            : ValueType::kExtension;
  }
  return type;
}

inline bool ValueView::IsNumber() const {
  const ValueType type = document_internal::kTypes[lead()];
  return type >= ValueType::kInt64 && type <= ValueType::kDouble;
}
inline bool ValueView::IsString() const { return document_internal::IsStringLead(lead()); }
inline bool ValueView::IsArray() const {
  return document_internal::kTypes[lead()] == ValueType::kArray;
}
inline bool ValueView::IsDocument() const {
  return document_internal::kTypes[lead()] == ValueType::kDocument;
}

inline bool ValueView::AsBool() const {
  ALOS_DCHECK(IsBool());
  return lead() == 0xc3;
}

inline std::int64_t ValueView::AsInt64() const {
  const std::uint8_t byte = lead();
  if (byte <= 0x7f || byte >= 0xe0) return static_cast<std::int8_t>(byte);
  const char* const p = data_ + 1;
  switch (byte) {
    case 0xcc:
      return document_internal::Load8(p);
    case 0xcd:
      return document_internal::Load16(p);
    case 0xce:
      return document_internal::Load32(p);
    case 0xcf: {
      const std::uint64_t value = document_internal::Load64(p);
      ALOS_DCHECK(value <= static_cast<std::uint64_t>(INT64_MAX));
      return static_cast<std::int64_t>(value);
    }
    case 0xd0:
      return static_cast<std::int8_t>(document_internal::Load8(p));
    case 0xd1:
      return static_cast<std::int16_t>(document_internal::Load16(p));
    case 0xd2:
      return static_cast<std::int32_t>(document_internal::Load32(p));
    case 0xd3:
      return static_cast<std::int64_t>(document_internal::Load64(p));
    default:
      ALOS_DCHECK(false && "AsInt64 of a value that is no integer");
      return 0;
  }
}

inline bool ValueView::IsUnsigned() const {
  return type() == ValueType::kUint64 || (type() == ValueType::kInt64 && AsInt64() >= 0);
}

inline std::uint64_t ValueView::AsUint64() const {
  if (lead() == 0xcf) return document_internal::Load64(data_ + 1);
  const std::int64_t value = AsInt64();
  ALOS_DCHECK(value >= 0);
  return static_cast<std::uint64_t>(value);
}

inline double ValueView::AsDouble() const {
  switch (lead()) {
    case 0xca:
      return std::bit_cast<float>(document_internal::Load32(data_ + 1));
    case 0xcb:
      return std::bit_cast<double>(document_internal::Load64(data_ + 1));
    case 0xcf:
      return static_cast<double>(document_internal::Load64(data_ + 1));
    default:
      return static_cast<double>(AsInt64());
  }
}

inline std::string_view ValueView::AsString() const {
  if (!IsString()) [[unlikely]] {
    ALOS_DCHECK(false && "AsString of a value that is no string");
    return {};
  }
  const char* p = data_;
  return document_internal::TakeString(&p);
}

inline std::string_view ValueView::AsBinary() const {
  const std::uint8_t byte = lead();
  if (byte < 0xc4 || byte > 0xc6) [[unlikely]] {
    ALOS_DCHECK(false && "AsBinary of a value that is not binary");
    return {};
  }
  return {data_ + document_internal::kLeads[byte].header_size, document_internal::LoadCount(data_)};
}

inline std::string_view ValueView::ExtensionData() const {
  const document_internal::Lead lead = document_internal::kLeads[this->lead()];
  if (lead.extent == document_internal::Extent::kFixedExtension) {
    return {data_ + 2, static_cast<std::size_t>(lead.header_size - 2)};
  }
  if (document_internal::kTypes[this->lead()] != ValueType::kExtension) [[unlikely]] {
    ALOS_DCHECK(false && "ExtensionData of a value that is no extension");
    return {};
  }
  return {data_ + lead.header_size, document_internal::LoadCount(data_)};
}

inline std::int8_t ValueView::ExtensionType() const {
  const std::string_view data = ExtensionData();
  return data.data() == nullptr ? 0 : static_cast<std::int8_t>(data.data()[-1]);
}

inline Timestamp ValueView::AsTimestamp() const {
  const std::string_view data = ExtensionData();
  switch (data.size()) {
    case 4:
      return {document_internal::Load32(data.data()), 0};
    case 8: {
      const std::uint64_t bits = document_internal::Load64(data.data());
      return {static_cast<std::int64_t>(bits & ((std::uint64_t{1} << 34) - 1)),
              static_cast<std::uint32_t>(bits >> 34)};
    }
    case 12:
      return {static_cast<std::int64_t>(document_internal::Load64(data.data() + 4)),
              document_internal::Load32(data.data())};
    default:
      ALOS_DCHECK(false && "AsTimestamp of a value that is no timestamp");
      return {};
  }
}

inline std::optional<std::int64_t> ValueView::ToInt64() const {
  switch (type()) {
    case ValueType::kInt64:
      return AsInt64();
    case ValueType::kDouble:
      return document_internal::ExactInt64(AsDouble());
    default:
      return std::nullopt;
  }
}

inline std::size_t ValueView::size() const {
  const std::uint8_t byte = lead();
  if (byte >= 0x80 && byte <= 0x9f) [[likely]] {
    return byte & 0x0f;
  }
  return byte >= 0xdc && byte <= 0xdf ? document_internal::LoadCount(data_) : 0;
}

inline ElementRange ValueView::elements() const {
  ALOS_DCHECK(IsArray());
  if (!IsArray()) [[unlikely]] {
    return ElementRange(data_, 0);
  }
  return ElementRange(data_ + document_internal::kLeads[lead()].header_size, size());
}

inline EntryRange ValueView::entries() const {
  ALOS_DCHECK(IsDocument());
  if (!IsDocument()) [[unlikely]] {
    return EntryRange(data_, 0);
  }
  return EntryRange(data_ + document_internal::kLeads[lead()].header_size, size());
}

inline std::optional<ValueView> ValueView::Find(std::string_view key) const {
  if (IsDocument()) [[likely]] {
    const char* p = data_ + document_internal::kLeads[lead()].header_size;
    for (std::size_t remaining = size(); remaining != 0; --remaining) {
      const std::string_view candidate = document_internal::TakeString(&p);
      if (document_internal::SameKey(candidate, key)) return ValueView(p, 0);
      p = document_internal::Skip(p);
    }
    return std::nullopt;
  }
  if (!IsArray()) return std::nullopt;
  const std::optional<std::size_t> position = document_internal::ParsePosition(key);
  return position ? At(*position) : std::nullopt;
}

inline std::optional<ValueView> ValueView::At(std::size_t position) const {
  if (!IsArray() || position >= size()) return std::nullopt;
  const char* p = data_ + document_internal::kLeads[lead()].header_size;
  for (; position != 0; --position) p = document_internal::Skip(p);
  return ValueView(p, 0);
}

namespace document_internal {

// Walks untrusted bytes; see ValueView::Parse.
class Validator {
 public:
  Validator(std::string_view bytes, const ParseLimits& limits)
      : begin_(bytes.data()), end_(bytes.data() + bytes.size()), limits_(limits) {}

  // The size in bytes of the first value.
  absl::StatusOr<std::size_t> Run() {
    const char* p = begin_;
    // As if the value stood in an array of its own, which is not counted as nesting.
    current_ = {1, false, 0};
    for (;;) {
      while (current_.remaining == 0) {
        if (current_.is_document) {
          if (absl::Status status = CheckKeys(current_.first_key); !status.ok()) return status;
        }
        if (outer_.empty()) return static_cast<std::size_t>(p - begin_);
        current_ = outer_.back();
        outer_.pop_back();
      }
      --current_.remaining;
      if (current_.is_document) {
        if (absl::Status status = TakeKey(&p); !status.ok()) return status;
      }
      // Most values end with their header: no need to look closer.
      if (p != end_) [[likely]] {
        const Lead lead = kLeads[Load8(p)];
        if (lead.extent == Extent::kFixed && lead.header_size <= left(p)) [[likely]] {
          p += lead.header_size;
          continue;
        }
      }
      if (absl::Status status = TakeValue(&p); !status.ok()) return status;
    }
  }

 private:
  static constexpr std::size_t kPairwiseKeysMax = 16;

  struct OpenContainer {
    std::uint32_t remaining;  // values not begun yet
    bool is_document;
    std::size_t first_key;  // its keys are keys_[first_key ..]
  };
  struct Key {
    std::uint32_t offset;
    std::uint32_t fingerprint;  // equal for equal keys; cheap, not strong
  };

  std::size_t left(const char* p) const { return static_cast<std::size_t>(end_ - p); }

  template <class... Parts>
  absl::Status Malformed(const char* p, const Parts&... parts) const {
    return absl::InvalidArgumentError(
        absl::StrCat("malformed MessagePack at byte ", p - begin_, ": ", parts...));
  }
  template <class... Parts>
  absl::Status Truncated(const char* p, const Parts&... parts) const {
    return absl::OutOfRangeError(
        absl::StrCat("truncated MessagePack at byte ", p - begin_, ": ", parts...));
  }

  // Checks the header at `p` and, for values with data, the data. Enters containers.
  absl::Status TakeValue(const char** position) {
    const char* const p = *position;
    if (p == end_) return Truncated(p, "expected a value, found the end");
    const Lead lead = kLeads[Load8(p)];
    if (lead.header_size > left(p)) [[unlikely]] {
      return Truncated(p, "expected ", static_cast<int>(lead.header_size),
                       " bytes for type byte 0x", absl::Hex(Load8(p), absl::kZeroPad2), ", found ",
                       left(p));
    }
    *position = p + lead.header_size;
    switch (lead.extent) {
      case Extent::kFixed:
        return absl::OkStatus();
      case Extent::kFixedExtension:
        return CheckExtension(p, static_cast<std::int8_t>(p[1]),
                              {p + 2, static_cast<std::size_t>(lead.header_size - 2)});
      case Extent::kData8:
      case Extent::kData16:
      case Extent::kData32:
      case Extent::kExtension8:
      case Extent::kExtension16:
      case Extent::kExtension32: {
        const std::uint32_t size = LoadCount(p);
        if (size > left(*position)) {
          return Truncated(p, "expected ", size, " bytes of ", TypeName(kTypes[Load8(p)]),
                           ", found ", left(*position));
        }
        const std::string_view data(*position, size);
        *position += size;
        if (lead.extent < Extent::kExtension8) return absl::OkStatus();
        return CheckExtension(p, static_cast<std::int8_t>(data.data()[-1]), data);
      }
      case Extent::kFixedArray:
      case Extent::kArray16:
      case Extent::kArray32:
        return Open(p, *position, LoadCount(p), false);
      case Extent::kFixedMap:
      case Extent::kMap16:
      case Extent::kMap32:
        return Open(p, *position, LoadCount(p), true);
      case Extent::kReserved:
        break;
    }
    return Malformed(p, "expected a value, found the reserved type byte 0xc1");
  }

  absl::Status Open(const char* p, const char* content, std::uint32_t count, bool is_document) {
    if (outer_.size() >= limits_.depth_max) {
      return Malformed(p, "nested deeper than the limit of ", limits_.depth_max, " levels");
    }
    // Every element takes at least one byte, every entry two.
    const std::uint64_t size_min = is_document ? 2 * std::uint64_t{count} : count;
    if (size_min > left(content)) {
      return Truncated(p, is_document ? "object" : "array", " of ", count,
                       is_document ? " entries" : " elements", " needs at least ", size_min,
                       " bytes, found ", left(content));
    }
    outer_.push_back(current_);
    current_ = {count, is_document, keys_.size()};
    return absl::OkStatus();
  }

  absl::Status CheckExtension(const char* p, std::int8_t type, std::string_view data) const {
    if (type != kTimestampExtension) return absl::OkStatus();
    std::uint32_t nanoseconds = 0;
    switch (data.size()) {
      case 4:
        break;
      case 8:
        nanoseconds = static_cast<std::uint32_t>(Load64(data.data()) >> 34);
        break;
      case 12:
        nanoseconds = Load32(data.data());
        break;
      default:
        return Malformed(p, "expected a timestamp of 4, 8 or 12 bytes, found ", data.size());
    }
    if (nanoseconds > kNanosecondsMax) {
      return Malformed(p, "expected at most 999999999 nanoseconds in a timestamp, found ",
                       nanoseconds);
    }
    return absl::OkStatus();
  }

  absl::Status TakeKey(const char** position) {
    const char* const p = *position;
    if (p == end_) return Truncated(p, "expected a key, found the end");
    const std::uint8_t byte = Load8(p);
    if (const std::size_t size = byte & 0x1f;
        (byte & 0xe0) == 0xa0 && size < left(p) && p - begin_ <= UINT32_MAX) [[likely]] {
      keys_.push_back({static_cast<std::uint32_t>(p - begin_), Fingerprint({p + 1, size})});
      *position = p + 1 + size;
      return absl::OkStatus();
    }
    if (!IsStringLead(byte)) [[unlikely]] {
      return Malformed(p, "expected a string as key, found type byte 0x",
                       absl::Hex(byte, absl::kZeroPad2));
    }
    if (absl::Status status = TakeValue(position); !status.ok()) return status;
    if (p - begin_ > UINT32_MAX) return Malformed(p, "a value may be 4 GiB at most");
    const char* key = p;
    keys_.push_back({static_cast<std::uint32_t>(p - begin_), Fingerprint(TakeString(&key))});
    return absl::OkStatus();
  }

  static std::uint32_t Fingerprint(std::string_view key) {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    if (key.size() >= 4) {
      std::memcpy(&first, key.data(), 4);
      std::memcpy(&last, key.data() + key.size() - 4, 4);
    } else if (!key.empty()) {
      first = Load8(key.data()) | Load8(key.data() + key.size() / 2) << 8 |
              Load8(key.data() + key.size() - 1) << 16;
    }
    return first * 0x9e3779b1U ^ std::rotl(last, 15) * 0x85ebca77U ^
           static_cast<std::uint32_t>(key.size());
  }

  std::string_view KeyAt(std::uint32_t offset) const {
    const char* p = begin_ + offset;
    return TakeString(&p);
  }

  absl::Status DuplicateKey(std::uint32_t offset) const {
    constexpr std::size_t kShownMax = 64;
    const std::string_view key = KeyAt(offset);
    return Malformed(begin_ + offset, "expected each key once in an object, found \"",
                     absl::CHexEscape(key.substr(0, kShownMax)),
                     key.size() > kShownMax ? "\"... again" : "\" again");
  }

  // Refuses a document whose keys, keys_[first ..], are not all different, and forgets them.
  absl::Status CheckKeys(std::size_t first) {
    const std::size_t count = keys_.size() - first;
    const Key* const keys = keys_.data() + first;
    if (count <= kPairwiseKeysMax) {
      for (std::size_t i = 1; i < count; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
          if (keys[i].fingerprint == keys[j].fingerprint &&
              KeyAt(keys[i].offset) == KeyAt(keys[j].offset)) {
            return DuplicateKey(keys[i].offset);
          }
        }
      }
    } else {
      // Offsets instead of views: a quarter of the memory a hostile document can make us use.
      const auto hash = [this](std::uint32_t offset) { return absl::HashOf(KeyAt(offset)); };
      const auto equal = [this](std::uint32_t a, std::uint32_t b) { return KeyAt(a) == KeyAt(b); };
      absl::flat_hash_set<std::uint32_t, decltype(hash), decltype(equal)> seen(0, hash, equal);
      for (std::size_t i = 0; i < count; ++i) {
        if (!seen.insert(keys[i].offset).second) return DuplicateKey(keys[i].offset);
      }
    }
    keys_.resize(first);
    return absl::OkStatus();
  }

  const char* const begin_;
  const char* const end_;
  const ParseLimits& limits_;
  OpenContainer current_{};
  absl::InlinedVector<OpenContainer, 16> outer_;  // the containers around current_
  absl::InlinedVector<Key, 64> keys_;
};

}  // namespace document_internal

inline absl::StatusOr<ValueView> ValueView::ParsePrefix(std::string_view bytes,
                                                        const ParseLimits& limits) {
  absl::StatusOr<std::size_t> size = document_internal::Validator(bytes, limits).Run();
  if (!size.ok()) return size.status();
  return ValueView(bytes.data(), *size);
}

inline absl::StatusOr<ValueView> ValueView::Parse(std::string_view bytes,
                                                  const ParseLimits& limits) {
  absl::StatusOr<ValueView> value = ParsePrefix(bytes, limits);
  if (value.ok() && value->size_ != bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("malformed MessagePack at byte ", value->size_,
                                                   ": expected the end after one value, found ",
                                                   bytes.size() - value->size_, " more bytes"));
  }
  return value;
}

}  // namespace alos

#endif  // ALOS_DOCUMENT_VALUE_H_
