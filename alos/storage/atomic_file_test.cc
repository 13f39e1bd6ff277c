// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/atomic_file.h"

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "alos/base/posix_file_system.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

TEST(AtomicFileTest, ContentIsReplacedAsAWhole) {
  PosixFileSystem files;
  const std::string directory = testing::TempDir();
  ASSERT_TRUE(ReplaceFile(files, directory, "whole", "a long first content").ok());
  ASSERT_TRUE(ReplaceFile(files, directory, "whole", "second").ok());
  const auto content = ReadWholeFile(files, directory + "/whole");
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(*content, "second");
  EXPECT_FALSE(*files.Exists(directory + "/whole.new"));
}

TEST(AtomicFileTest, AMissingFileIsNotFound) {
  PosixFileSystem files;
  EXPECT_TRUE(absl::IsNotFound(ReadWholeFile(files, testing::TempDir() + "/none").status()));
}

// What an earlier crash left half written beside the file is of no consequence.
TEST(AtomicFileTest, ALeftoverIsOverwritten) {
  PosixFileSystem files;
  const std::string directory = testing::TempDir();
  {
    auto file = files.Open(directory + "/left.new", OpenMode::kCreate);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->WriteAt(0, "much longer than what follows").ok());
  }
  ASSERT_TRUE(ReplaceFile(files, directory, "left", "short").ok());
  EXPECT_EQ(*ReadWholeFile(files, directory + "/left"), "short");
}

// Whatever fails, the file is the old one or the new one, and which is said.
TEST(AtomicFileTest, AnErrorLeavesTheOldContentOrSaysThatTheOutcomeIsUnknown) {
  for (int n = 1; n <= 7; ++n) {
    SimulatedFileSystem disk(1);
    ASSERT_TRUE(disk.CreateDirectories("d").ok());
    ASSERT_TRUE(ReplaceFile(disk, "d", "file", "old").ok());
    // Open, truncate, write, sync, rename, sync of the directory.
    disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
    const absl::Status status = ReplaceFile(disk, "d", "file", "new");
    disk.ClearFaults();
    EXPECT_EQ(status.ok(), n == 7) << n << ": " << status;
    EXPECT_EQ(absl::IsUnavailable(status), n == 6) << n << ": " << status;
    EXPECT_EQ(*ReadWholeFile(disk, "d/file"), n < 6 ? "old" : "new") << n;
    if (status.ok()) continue;
    EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO")) << status;
  }
  for (int n = 1; n <= 3; ++n) {  // open, size, read
    SimulatedFileSystem disk(1);
    ASSERT_TRUE(disk.CreateDirectories("d").ok());
    ASSERT_TRUE(ReplaceFile(disk, "d", "file", "content").ok());
    disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
    EXPECT_TRUE(absl::IsDataLoss(ReadWholeFile(disk, "d/file").status())) << n;
  }
}

}  // namespace
}  // namespace alos
