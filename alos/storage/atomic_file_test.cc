// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/atomic_file.h"

#include <string>

#include "alos/base/posix_file_system.h"
#include "gtest/gtest.h"

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

}  // namespace
}  // namespace alos
