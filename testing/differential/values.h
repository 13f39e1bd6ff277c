// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Random choices that are the same on every machine, and MessagePack values put together from
// pieces.

#ifndef ALOS_TESTING_DIFFERENTIAL_VALUES_H_
#define ALOS_TESTING_DIFFERENTIAL_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos::differential {

// A value as its MessagePack bytes.
using Bytes = std::string;
using Fields = std::vector<std::pair<std::string, Bytes>>;

inline ValueView View(const Bytes& bytes) { return ValueView::FromTrusted(bytes); }

// What is inside a value: nothing, unless it is an array or a document.
inline ElementRange Elements(ValueView value) {
  static constexpr char kEmpty[] = "\x90";
  if (!value.IsArray()) value = ValueView::FromTrusted(std::string_view(kEmpty, 1));
  return value.elements();
}
inline EntryRange Entries(ValueView value) {
  static constexpr char kEmpty[] = "\x80";
  if (!value.IsDocument()) value = ValueView::FromTrusted(std::string_view(kEmpty, 1));
  return value.entries();
}

// The first key of a document; "" if there is none.
inline std::string_view FirstKey(ValueView value) {
  return value.IsDocument() && value.size() > 0 ? (*value.entries().begin()).key
                                                : std::string_view();
}

// The collection of a world.
inline constexpr std::string_view kCollectionName = "c";
// What its pipelines write to, unless it is that one.
inline constexpr std::string_view kOutputName = "output";

// A stream of choices determined by its seed alone (the distributions of <random> are not).
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t Next() { return engine_(); }
  // In [0, count). The bias of the remainder does not matter here.
  std::size_t Below(std::size_t count) { return static_cast<std::size_t>(engine_() % count); }
  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(Below(static_cast<std::size_t>(high - low + 1)));
  }
  bool Chance(unsigned percent) { return Below(100) < percent; }

  template <class Range>
  const auto& Pick(const Range& range) {
    return std::data(range)[Below(std::size(range))];
  }

 private:
  std::mt19937_64 engine_;
};

inline Bytes Null() { return "\xc0"; }
inline Bytes Bool(bool value) { return value ? "\xc3" : "\xc2"; }
inline Bytes Int(std::int64_t value) {
  Bytes bytes;
  Builder(&bytes).Int(value);
  return bytes;
}
inline Bytes Uint(std::uint64_t value) {
  Bytes bytes;
  Builder(&bytes).Uint(value);
  return bytes;
}
inline Bytes Double(double value) {
  Bytes bytes;
  Builder(&bytes).Double(value);
  return bytes;
}
inline Bytes String(std::string_view value) {
  Bytes bytes;
  Builder(&bytes).String(value);
  return bytes;
}
inline Bytes Binary(std::string_view value) {
  Bytes bytes;
  Builder(&bytes).Binary(value);
  return bytes;
}
inline Bytes Time(std::int64_t seconds, std::uint32_t nanoseconds) {
  Bytes bytes;
  Builder(&bytes).Time(Timestamp{seconds, nanoseconds});
  return bytes;
}
inline Bytes Extension(std::int8_t type, std::string_view data) {
  Bytes bytes;
  Builder(&bytes).Extension(type, data);
  return bytes;
}

// Of fields with one name the first counts.
inline Bytes Document(const Fields& fields) {
  Bytes bytes;
  Builder builder(&bytes);
  absl::flat_hash_set<std::string_view> seen;
  builder.StartDocument();
  for (const auto& [name, value] : fields) {
    if (seen.insert(name).second) builder.Key(name).Raw(View(value));
  }
  builder.EndDocument();
  return bytes;
}
inline Bytes Document(std::string_view name, const Bytes& value) {
  return Document(Fields{{std::string(name), value}});
}

inline Bytes Array(const std::vector<Bytes>& elements) {
  Bytes bytes;
  Builder builder(&bytes);
  builder.StartArray();
  for (const Bytes& element : elements) builder.Raw(View(element));
  builder.EndArray();
  return bytes;
}

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_VALUES_H_
