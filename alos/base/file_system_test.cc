// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The concepts refuse what lacks a part. That good file systems satisfy them is asserted beside
// each.

#include "alos/base/file_system.h"

#include "alos/base/posix_file_system.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

struct MappingThatCannotGrow {
  char* data() const;
  std::uint64_t mapped_bytes() const;
  std::uint64_t reserved_bytes() const;
};

struct MappingThatGrowsSilently : MappingThatCannotGrow {
  void Extend(std::uint64_t bytes);
};

struct FileSystemWithoutRename : PosixFileSystem {
  absl::Status Rename(const std::string& from, const std::string& to) = delete;
};

struct FileSystemWithForeignFiles : PosixFileSystem {
  using MappingType = MappingThatCannotGrow;
};

TEST(FileSystemConceptTest, TheRealOneSatisfiesIt) {
  EXPECT_TRUE(FileSystem<PosixFileSystem>);
  EXPECT_TRUE(File<PosixFile>);
  EXPECT_TRUE(Mapping<PosixMapping>);
}

TEST(FileSystemConceptTest, WhatLacksAPartIsRefused) {
  EXPECT_FALSE(FileSystem<PosixFile>);
  EXPECT_FALSE(FileSystem<int>);
  EXPECT_FALSE(Mapping<MappingThatCannotGrow>);
  EXPECT_FALSE(Mapping<MappingThatGrowsSilently>);
  EXPECT_FALSE(FileSystem<FileSystemWithoutRename>);
  EXPECT_FALSE(FileSystem<FileSystemWithForeignFiles>);
}

}  // namespace
}  // namespace alos
