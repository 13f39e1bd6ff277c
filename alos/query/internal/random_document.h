// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Random values and documents for property tests: small, from few distinct keys and values, so that
// equality, order and paths meet often.

#ifndef ALOS_QUERY_INTERNAL_RANDOM_DOCUMENT_H_
#define ALOS_QUERY_INTERNAL_RANDOM_DOCUMENT_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos::query_internal {

class RandomDocuments {
 public:
  explicit RandomDocuments(std::uint64_t seed) : engine_(seed) {}

  // Uniform in [0, count).
  std::size_t Pick(std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(engine_);
  }

  // "a", "a.b", "b.0.c": often there, often not.
  std::string Path() {
    std::string path(Name());
    while (Pick(3) == 0) {
      path += '.';
      path += Name();
    }
    return path;
  }

  std::string Document() {
    std::string bytes;
    Builder builder(&bytes);
    AddDocument(&builder, 3);
    return bytes;
  }

  std::string Value(std::size_t depth = 2) {
    std::string bytes;
    Builder builder(&bytes);
    AddValue(&builder, depth);
    return bytes;
  }

 private:
  std::string_view Name() {
    static constexpr std::string_view kNames[] = {"a", "b", "c", "0", "1"};
    return kNames[Pick(std::size(kNames))];
  }

  void AddDocument(Builder* builder, std::size_t depth) {
    static constexpr std::string_view kNames[] = {"a", "b", "c", "0", "1"};
    builder->StartDocument();
    for (const std::string_view name : kNames) {
      if (Pick(2) == 0) continue;
      builder->Key(name);
      AddValue(builder, depth);
    }
    builder->EndDocument();
  }

  void AddValue(Builder* builder, std::size_t depth) {
    const std::size_t kind = Pick(depth == 0 ? 14 : 20);
    if (kind >= 17) return AddDocument(builder, depth - 1);
    if (kind >= 14) {
      builder->StartArray();
      for (std::size_t i = Pick(4); i > 0; --i) AddValue(builder, depth - 1);
      builder->EndArray();
      return;
    }
    switch (kind) {
      case 0:
        builder->Null();
        break;
      case 1:
        builder->Bool(Pick(2) == 0);
        break;
      case 2:
        builder->Double(static_cast<double>(Pick(4)) - 0.5);
        break;
      case 3:
        builder->Double(static_cast<double>(Pick(4)));
        break;
      case 4:
        builder->Double(std::numeric_limits<double>::quiet_NaN());
        break;
      case 5:
        builder->Time(Timestamp{static_cast<std::int64_t>(Pick(3)), 0});
        break;
      case 6:
        builder->Binary(Pick(2) == 0 ? "x" : "yz");
        break;
      case 7:
        builder->Uint(std::numeric_limits<std::uint64_t>::max() - Pick(2));
        break;
      case 8:
      case 9:
      case 10:
        builder->String(std::string(Pick(3), static_cast<char>('x' + Pick(2))));
        break;
      default:
        builder->Int(static_cast<std::int64_t>(Pick(4)));
        break;
    }
  }

  std::mt19937_64 engine_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_RANDOM_DOCUMENT_H_
