// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/sorter.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "alos/query/internal/shell_text.h"
#include "alos/query/sort.h"
#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

std::string Sorted(std::string_view specification, std::uint64_t keep,
                   const std::vector<std::string_view>& documents) {
  const Sort sort = *Sort::Compile(ShellDocument(specification).view());
  Sorter sorter(&sort, keep, 1 << 20, 0);
  for (const std::string_view document : documents) {
    EXPECT_TRUE(sorter.Add(ShellDocument(document).view()).ok());
  }
  std::string text;
  sorter.Finish([&](ValueView document) {
    absl::StrAppend(&text, ToShellText(document), " ");
    return true;
  });
  return text;
}

TEST(SorterTest, IsStable) {
  EXPECT_EQ(
      Sorted("{a: 1}", kAll, {"{a: 2, n: 1}", "{a: 1, n: 2}", "{a: 2, n: 3}", "{a: 1, n: 4}"}),
      "{a: 1, n: 2} {a: 1, n: 4} {a: 2, n: 1} {a: 2, n: 3} ");
}

TEST(SorterTest, KeepsTheFirstOnesOnly) {
  EXPECT_EQ(Sorted("{a: 1}", 2, {"{a: 5}", "{a: 3}", "{a: 4}", "{a: 1}", "{a: 9}"}),
            "{a: 1} {a: 3} ");
  // Of equal ones, those that came first.
  EXPECT_EQ(Sorted("{a: 1}", 2, {"{a: 1, n: 1}", "{a: 1, n: 2}", "{a: 1, n: 3}", "{a: 0}"}),
            "{a: 0} {a: 1, n: 1} ");
  EXPECT_EQ(Sorted("{a: 1}", 0, {"{a: 5}"}), "");
}

TEST(SorterTest, TellsWhichLimitWasExceeded) {
  const Sort sort = *Sort::Compile(ShellDocument("{a: 1}").view());
  Sorter sorter(&sort, kAll, 10'000, 3);
  absl::Status status;
  int added = 0;
  const ShellDocument document(absl::StrCat("{a: '", std::string(100, 'x'), "'}"));
  while (status.ok() && added < 1000) {
    status = sorter.Add(document.view());
    ++added;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_LT(added, 100);
  EXPECT_TRUE(absl::StrContains(status.message(), "$sort (stage 4)")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "10000 bytes")) << status;
}

// What is dropped gives its memory back: any number of documents pass through a bounded sort.
TEST(SorterTest, BoundedSortsStayWithinTheLimit) {
  const Sort sort = *Sort::Compile(ShellDocument("{a: -1, b: 1, c: 1}").view());
  Sorter sorter(&sort, 5, 4'000, 0);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(sorter.Add(ShellDocument(absl::StrCat("{a: ", i, "}")).view()).ok());
  }
  int count = 0;
  sorter.Finish([&](ValueView document) {
    EXPECT_EQ(document.Find("a")->AsInt64(), 9'999 - count);
    ++count;
    return count < 3;
  });
  EXPECT_EQ(count, 3);
}

}  // namespace
}  // namespace alos::query_internal
