// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/log.h"

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

class LogTest : public testing::Test {
 protected:
  LogTest() {
    SetLogSinkForTest([this](LogLevel level, std::string_view line) {
      levels_.push_back(level);
      lines_.emplace_back(line);
    });
  }
  ~LogTest() override {
    SetLogSinkForTest(nullptr);
    SetMinimumLogLevel(LogLevel::kInfo);
  }

  std::vector<LogLevel> levels_;
  std::vector<std::string> lines_;
};

TEST_F(LogTest, LineHasTimeLevelPlaceAndText) {
  ALOS_LOG(kWarning) << "shard " << 7 << ": " << 1.5 << ' ' << true << ' '
                     << absl::DataLossError("torn");
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_EQ(levels_[0], LogLevel::kWarning);
  EXPECT_THAT(lines_[0],
              testing::MatchesRegex("[0-9]{4}-[0-9][0-9]-[0-9][0-9] [0-9:]{8}\\.[0-9]{3} warning "
                                    "log_test\\.cc:[0-9]+  shard 7: 1\\.5 true DATA_LOSS: torn"));
}

TEST_F(LogTest, LevelsBelowTheMinimumAreNeitherWrittenNorEvaluated) {
  int evaluations = 0;
  const auto evaluate = [&] { return ++evaluations; };
  ALOS_LOG(kDebug) << evaluate();
  EXPECT_EQ(evaluations, 0);
  SetMinimumLogLevel(LogLevel::kDebug);
  EXPECT_EQ(MinimumLogLevel(), LogLevel::kDebug);
  ALOS_LOG(kDebug) << evaluate();
  EXPECT_EQ(evaluations, 1);
  SetMinimumLogLevel(LogLevel::kError);
  ALOS_LOG(kWarning) << evaluate();
  ALOS_LOG(kError) << evaluate();
  EXPECT_EQ(evaluations, 2);
  EXPECT_EQ(lines_.size(), 2u);
}

// A user name with a line end in it must not look like a second log line.
TEST_F(LogTest, ControlBytesAreEscapedAndUtf8IsNot) {
  ALOS_LOG(kInfo) << "name=" << std::string("a\n2026 forged\x1b[2J\x7f") << " grün";
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_NE(lines_[0].find("name=a\\x0a2026 forged\\x1b[2J\\x7f grün"), std::string::npos)
      << lines_[0];
}

TEST_F(LogTest, IsOneStatementInAnIfElse) {
  if (lines_.size() == 99)
    ALOS_LOG(kInfo) << "not this";
  else
    ALOS_LOG(kInfo) << "but this";
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_NE(lines_[0].find("but this"), std::string::npos);
}

TEST_F(LogTest, ThreadsDoNotMixTheirLines) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 100; ++i) ALOS_LOG(kInfo) << "begin " << i << " end";
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(lines_.size(), 400u);
  for (const std::string& line : lines_) EXPECT_TRUE(line.ends_with(" end"));
}

TEST(LogToStandardErrorTest, WritesOneLineToStandardError) {
  testing::internal::CaptureStderr();
  ALOS_LOG(kError) << "to the real place";
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(written.ends_with("  to the real place\n")) << written;
  EXPECT_NE(written.find(" error   log_test.cc:"), std::string::npos) << written;
}

}  // namespace
}  // namespace alos
