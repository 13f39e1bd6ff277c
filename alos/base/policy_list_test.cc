// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/policy_list.h"

#include <string>
#include <tuple>

#include "gtest/gtest.h"

namespace alos {
namespace {

struct Red {
  static constexpr int kId = 1;
};
struct Green {
  static constexpr int kId = 2;
};
struct AlsoGreen {
  static constexpr int kId = 2;
};
using Colors = PolicyList<Red, Green>;

constexpr auto kIdOf = [](auto policy) { return decltype(policy)::type::kId; };

static_assert(Colors::kSize == 2);
static_assert(Colors::kContains<Red> && !Colors::kContains<AlsoGreen>);
static_assert(std::is_same_v<Colors::Apply<std::tuple>, std::tuple<Red, Green>>);
static_assert(!Colors::HasDuplicates(kIdOf));
static_assert(PolicyList<Red, Green, AlsoGreen>::HasDuplicates(kIdOf));
static_assert(!PolicyList<>::HasDuplicates(kIdOf));

TEST(PolicyListTest, ForEachVisitsInOrder) {
  std::string order;
  Colors::ForEach([&](auto color) { order += std::to_string(kIdOf(color)); });
  EXPECT_EQ(order, "12");
}

TEST(PolicyListTest, VisitFirstVisitsOnlyTheFirstMatch) {
  int visits = 0;
  using WithTwins = PolicyList<Red, Green, AlsoGreen>;
  const bool found = WithTwins::VisitFirst(
      [](auto color) { return kIdOf(color) == 2; },
      [&](auto color) {
        EXPECT_TRUE((std::is_same_v<decltype(color), std::type_identity<Green>>));
        ++visits;
      });
  EXPECT_TRUE(found);
  EXPECT_EQ(visits, 1);
}

TEST(PolicyListTest, VisitFirstReportsThatNothingMatched) {
  EXPECT_FALSE(Colors::VisitFirst([](auto color) { return kIdOf(color) == 9; },
                                  [](auto) { FAIL() << "nothing has id 9"; }));
  EXPECT_FALSE(PolicyList<>::VisitFirst([](auto) { return true; }, [](auto) { FAIL(); }));
}

}  // namespace
}  // namespace alos
