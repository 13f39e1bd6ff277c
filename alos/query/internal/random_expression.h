// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Random expressions for property tests and fuzzing: of all operators, mostly well-formed, over
// the documents of random_document.h.

#ifndef ALOS_QUERY_INTERNAL_RANDOM_EXPRESSION_H_
#define ALOS_QUERY_INTERNAL_RANDOM_EXPRESSION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/query/internal/expression_operators.h"
#include "alos/query/internal/expression_program.h"

namespace alos::query_internal {

// `Choices` has Pick(count), a number in [0, count).
template <class Choices>
class RandomExpressions {
 public:
  // REQUIRES: `choices` outlives this object.
  explicit RandomExpressions(Choices& choices) : choices_(choices) {}

  std::string Expression(std::size_t depth = 4) {
    std::string bytes;
    Builder builder(&bytes);
    Add(&builder, depth);
    return bytes;
  }

 private:
  std::size_t Pick(std::size_t count) { return choices_.Pick(count); }

  void Add(Builder* builder, std::size_t depth) {
    const std::size_t kind = Pick(10);
    if (depth == 0 || kind < 2) return AddLeaf(builder);
    if (kind == 2) {
      builder->StartArray();
      for (std::size_t i = Pick(4); i > 0; --i) Add(builder, depth - 1);
      builder->EndArray();
    } else if (kind == 3) {
      builder->StartDocument();
      builder->Key("k");
      Add(builder, depth - 1);
      builder->Key("v");
      Add(builder, depth - 1);
      builder->EndDocument();
    } else {
      const std::vector<const Operator*>& operators = AllOperators();
      AddOperator(*operators[Pick(operators.size())], builder, depth - 1);
    }
  }

  void AddLeaf(Builder* builder) {
    static constexpr std::string_view kPaths[] = {"$a",   "$b",   "$c",     "$a.b",     "$0",
                                                  "$b.c", "$a.0", "$$ROOT", "$$REMOVE", "$$NOW"};
    static constexpr std::string_view kTexts[] = {"",         "x",    "xy",
                                                  "a.*(b)?",  "UTC",  "Europe/Berlin",
                                                  "+02:30",   "day",  "month",
                                                  "week",     "hour", "int",
                                                  "string",   "date", "2024-02-29T12:30:15.250Z",
                                                  "%Y-%m-%d", "i",    "\xc3\xa9\xe2\x82\xacz",
                                                  "binData",  "hex"};
    static constexpr double kDoubles[] = {0.5,
                                          -1.5,
                                          1e300,
                                          -0.0,
                                          1e15,
                                          std::numeric_limits<double>::infinity(),
                                          std::numeric_limits<double>::quiet_NaN()};
    static constexpr std::int64_t kInts[] = {0,
                                             1,
                                             2,
                                             3,
                                             -1,
                                             5,
                                             10,
                                             16,
                                             60,
                                             1000,
                                             946684800,
                                             2147483648,
                                             std::numeric_limits<std::int64_t>::max(),
                                             std::numeric_limits<std::int64_t>::min()};
    switch (Pick(12)) {
      case 0:
        builder->Null();
        break;
      case 1:
        builder->Bool(Pick(2) == 0);
        break;
      case 2:
        builder->Double(kDoubles[Pick(std::size(kDoubles))]);
        break;
      case 3:
      case 4:
        builder->Int(kInts[Pick(std::size(kInts))]);
        break;
      case 5:
        builder->Time(Timestamp{kInts[Pick(std::size(kInts))],
                                static_cast<std::uint32_t>(Pick(1'000'000'000))});
        break;
      case 6:
        builder->Uint(std::numeric_limits<std::uint64_t>::max() - Pick(2));
        break;
      case 7:
        builder->Binary(std::string(Pick(17), 'x'));
        break;
      case 8:
      case 9:
        builder->String(kTexts[Pick(std::size(kTexts))]);
        break;
      default:
        builder->String(Pick(4) == 0 ? "$$this" : kPaths[Pick(std::size(kPaths))]);
        break;
    }
  }

  void AddNamed(std::string_view name, Builder* builder, std::size_t depth) {
    builder->Key(name);
    if (name == "unit" && Pick(4) != 0) {
      static constexpr std::string_view kUnits[] = {"year", "quarter", "month",  "week",
                                                    "day",  "hour",    "minute", "millisecond"};
      builder->String(kUnits[Pick(std::size(kUnits))]);
    } else if (name == "method") {
      builder->String(Pick(2) == 0 ? "approximate" : "continuous");
    } else if (name == "sortBy") {
      if (Pick(2) == 0) {
        builder->Int(Pick(2) == 0 ? 1 : -1);
      } else {
        builder->StartDocument().Key("b").Int(1);
        builder->EndDocument();
      }
    } else if (name == "field" && Pick(4) != 0) {
      builder->String("b");
    } else {
      Add(builder, depth);
    }
  }

  void AddOperator(const Operator& op, Builder* builder, std::size_t depth) {
    builder->StartDocument();
    builder->Key(op.name);
    const auto document = [&](std::initializer_list<std::string_view> names) {
      builder->StartDocument();
      for (const std::string_view name : names) AddNamed(name, builder, depth);
      builder->EndDocument();
    };
    if (op.name == "$map") {
      document({"input", "in"});
    } else if (op.name == "$filter") {
      document({"input", "cond"});
    } else if (op.name == "$reduce") {
      document({"input", "initialValue", "in"});
    } else if (op.name == "$sortArray") {
      document({"input", "sortBy"});
    } else if (op.name == "$cond" && Pick(2) == 0) {
      document({"if", "then", "else"});
    } else if (op.name == "$getField" && Pick(2) == 0) {
      document({"field", "input"});
    } else if (op.name == "$let") {
      builder->StartDocument();
      builder->Key("vars").StartDocument();
      builder->Key("this");
      Add(builder, depth);
      builder->EndDocument();
      builder->Key("in");
      Add(builder, depth);
      builder->EndDocument();
    } else if (op.name == "$switch") {
      builder->StartDocument();
      builder->Key("branches").StartArray();
      document({"case", "then"});
      builder->EndArray();
      builder->Key("default");
      Add(builder, depth);
      builder->EndDocument();
    } else if (op.name == "$zip") {
      builder->StartDocument();
      builder->Key("inputs").StartArray();
      for (std::size_t i = 1 + Pick(3); i > 0; --i) Add(builder, depth);
      builder->EndArray();
      builder->Key("useLongestLength").Bool(Pick(2) == 0);
      builder->EndDocument();
    } else if (op.name == "$rand" || op.name == "$currentDate") {
      builder->StartDocument();
      builder->EndDocument();
    } else if (op.name == "$sampleRate") {
      builder->Double(0.5);
    } else if (!op.names.empty()) {
      builder->StartDocument();
      for (std::string_view name : op.names) {
        const bool optional = name.ends_with('?');
        if (optional && Pick(2) == 0) continue;
        if (optional) name.remove_suffix(1);
        AddNamed(name, builder, depth);
      }
      builder->EndDocument();
    } else {
      const auto min = static_cast<std::size_t>(op.count_min);
      const std::size_t max = std::min<std::size_t>(static_cast<std::size_t>(op.count_max), 4);
      const std::size_t count = min + Pick(std::max(max, min) - min + 1);
      builder->StartArray();
      for (std::size_t i = 0; i < count; ++i) Add(builder, depth);
      builder->EndArray();
    }
    builder->EndDocument();
  }

  Choices& choices_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_RANDOM_EXPRESSION_H_
