// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/mapped_read_guard.h"

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "alos/base/posix_file_system.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

constexpr std::uint64_t kPage = 4096;

// A mapped file of which the end is cut off behind the mapping's back: what the kernel does then is
// what it does where the device cannot read.
class MappedReadGuardTest : public testing::Test {
 protected:
  std::unique_ptr<PosixMapping> MapAndCut(const std::string& name, OpenMode mode,
                                          std::uint64_t pages, std::uint64_t left) {
    PosixFileSystem system;
    const std::string path = testing::TempDir() + name;
    auto file = *system.Open(path, OpenMode::kCreate);
    EXPECT_TRUE(file->WriteAt(0, std::string(pages * kPage, 'x')).ok());
    auto mapping = *(*system.Open(path, mode))->Map(pages * kPage);
    EXPECT_EQ(::truncate(path.c_str(), static_cast<off_t>(left * kPage)), 0);
    return mapping;
  }
};

TEST_F(MappedReadGuardTest, AReadOfALostPageGivesZerosAndIsCounted) {
  const auto mapping = MapAndCut("lost", OpenMode::kReadWrite, 4, 2);
  const volatile char* const data = mapping->data();
  EXPECT_EQ(data[2 * kPage - 1], 'x');
  EXPECT_EQ(mapping->failed_end(), 0u);
  EXPECT_EQ(data[2 * kPage + 17], '\0');
  EXPECT_EQ(mapping->failed_end(), 3 * kPage);
  EXPECT_EQ(data[4 * kPage - 1], '\0');
  EXPECT_EQ(mapping->failed_end(), 4 * kPage);
  EXPECT_EQ(data[2 * kPage], '\0') << "it stays so";
  EXPECT_EQ(data[0], 'x');
}

TEST_F(MappedReadGuardTest, ReadOnlyMappingsAreCountedTogether) {
  const std::uint64_t before = MappedReadGuard::read_only_failures();
  const auto writable = MapAndCut("writable", OpenMode::kReadWrite, 2, 1);
  EXPECT_EQ(const_cast<const volatile char*>(writable->data())[kPage], '\0');
  EXPECT_EQ(MappedReadGuard::read_only_failures(), before);
  const auto read_only = MapAndCut("read_only", OpenMode::kReadOnly, 2, 1);
  EXPECT_EQ(const_cast<const volatile char*>(read_only->data())[kPage], '\0');
  EXPECT_EQ(MappedReadGuard::read_only_failures(), before + 1);
}

TEST_F(MappedReadGuardTest, ThreadsMayFaultAtOnceAmongManyMappings) {
  std::vector<std::unique_ptr<PosixMapping>> mappings;
  for (int i = 0; i < 600; ++i) {
    mappings.push_back(
        MapAndCut("many" + std::to_string(i % 3), OpenMode::kReadWrite, 2, i % 3 == 2 ? 1 : 2));
    if (i % 5 == 0) mappings.erase(mappings.begin());
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (const auto& mapping : mappings) {
        const char byte = const_cast<const volatile char*>(mapping->data())[kPage];
        EXPECT_TRUE(byte == 'x' || (byte == '\0' && mapping->failed_end() == 2 * kPage));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(MappedReadGuardTest, WhatNobodyGuardsEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto guarded = MapAndCut("guarded", OpenMode::kReadWrite, 1, 1);
  const std::string path = testing::TempDir() + "unguarded";
  PosixFileSystem system;
  auto file = *system.Open(path, OpenMode::kCreate);
  ASSERT_TRUE(file->Truncate(0).ok());
  const int descriptor = ::open(path.c_str(), O_RDONLY);
  const auto* const data = static_cast<const volatile char*>(
      ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, descriptor, 0));
  ::close(descriptor);
  EXPECT_DEATH({ [[maybe_unused]] const char byte = data[0]; }, "");
}

}  // namespace
}  // namespace alos
