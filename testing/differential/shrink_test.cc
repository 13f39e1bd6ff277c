// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "testing/differential/shrink.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "alos/document/json.h"
#include "alos/document/value.h"
#include "gtest/gtest.h"

namespace alos::differential {
namespace {

std::string Shrunk(std::string_view json, absl::FunctionRef<bool(ValueView)> fails,
                   std::size_t attempts_max = 10000) {
  return ToJson(ValueView::FromTrusted(Shrink(*JsonToMessagePack(json), fails, attempts_max)));
}

bool Contains(ValueView value, std::string_view key) {
  for (const ValueView element : Elements(value)) {
    if (Contains(element, key)) return true;
  }
  for (const auto entry : Entries(value)) {
    if (entry.key == key || Contains(entry.value, key)) return true;
  }
  return false;
}

TEST(Shrink, RemovesWhatDoesNotMatter) {
  const auto fails = [](ValueView value) { return Contains(value, "bad"); };
  EXPECT_EQ(Shrunk(R"([1, {"x": 2, "bad": [1, 2, 3]}, "text", {"y": 5}])", fails),
            R"([{"bad":[]}])");
}

TEST(Shrink, PutsTheInsideInThePlaceOfTheOutside) {
  const auto fails = [](ValueView value) {
    return value.size() == 1 && Contains(value, "bad") && value.At(0).has_value() &&
           value.At(0)->IsDocument();
  };
  EXPECT_EQ(Shrunk(R"([{"$and": [{"$or": [{"a": 1}, {"bad": 5000}]}, {"b": 2}]}])", fails),
            R"([{"bad":0}])");
}

TEST(Shrink, KeepsWhatDoesMatter) {
  const auto fails = [](ValueView value) { return value.size() >= 3; };
  EXPECT_EQ(Shrunk(R"([{"a": 1}, "long text", 3000, 4, 5])", fails), "[{},\"\",0]");
}

TEST(Shrink, StopsWhenItHasTriedOften) {
  std::size_t calls = 0;
  Shrunk(
      "[1, 2, 3, 4, 5, 6, 7, 8, 9]",
      [&](ValueView value) {
        ++calls;
        return value.size() == 9;
      },
      5);
  EXPECT_LE(calls, 5u);
}

}  // namespace
}  // namespace alos::differential
