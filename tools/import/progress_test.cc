// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "tools/import/progress.h"

#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace alos::import {
namespace {

const absl::Time kBegin = absl::FromUnixSeconds(1700000000);

TEST(WithCommas, GroupsByThree) {
  EXPECT_EQ(WithCommas(0), "0");
  EXPECT_EQ(WithCommas(999), "999");
  EXPECT_EQ(WithCommas(1000), "1,000");
  EXPECT_EQ(WithCommas(1234567890), "1,234,567,890");
}

TEST(Rates, AreAveragesSinceTheBegin) {
  EXPECT_EQ(Rates(2000, 3'000'000, absl::Seconds(2)), "2,000 records, 1,000/s, 1.5 MB/s");
  EXPECT_EQ(Rates(0, 0, absl::ZeroDuration()), "0 records, 0/s, 0.0 MB/s");
}

TEST(Progress, DrawsABarOnATerminalAndTakesItAway) {
  std::ostringstream out;
  Progress progress(&out, /*is_terminal=*/true, "file", 1000, kBegin);
  progress.Update(1, 10, kBegin + absl::Milliseconds(50));
  EXPECT_EQ(out.str(), "");
  progress.Update(50, 500, kBegin + absl::Seconds(1));
  EXPECT_TRUE(absl::StrContains(out.str(),
                                "\rfile [###############...............]  50%  50 records, 50/s"))
      << out.str();
  progress.Update(51, 510, kBegin + absl::Milliseconds(1050));  // too soon
  EXPECT_FALSE(absl::StrContains(out.str(), "51 records"));
  progress.Clear();
  EXPECT_TRUE(absl::EndsWith(out.str(), "\r\x1b[K"));
  progress.Update(200, 2000, kBegin + absl::Seconds(2));  // a file that grew
  EXPECT_TRUE(absl::StrContains(out.str(), "[##############################] 100%"));
}

TEST(Progress, WritesLinesElsewhere) {
  std::ostringstream out;
  Progress progress(&out, /*is_terminal=*/false, "-", 0, kBegin);
  progress.Update(50, 500, kBegin + absl::Seconds(1));
  EXPECT_EQ(out.str(), "");
  progress.Update(500, 5000, kBegin + absl::Seconds(5));
  progress.Clear();
  EXPECT_EQ(out.str(), "-: 500 records, 100/s, 0.0 MB/s\n");
}

}  // namespace
}  // namespace alos::import
