// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/posix_file_system.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "alos/base/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/conformance/file_system_conformance.h"

namespace alos {
namespace {

using ::testing::HasSubstr;

struct PosixFixture {
  using FileSystemType = PosixFileSystem;

  PosixFixture() {
    std::string pattern = testing::TempDir() + "/posix_XXXXXX";
    ALOS_CHECK(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~PosixFixture() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  PosixFileSystem& file_system() { return system; }
  std::string directory() { return path; }

  PosixFileSystem system;
  std::string path;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Posix, FileSystemConformance, PosixFixture);

class PosixFileSystemTest : public testing::Test {
 protected:
  std::unique_ptr<PosixFile> MustOpen(const std::string& name) {
    auto file = fixture_.system.Open(fixture_.path + "/" + name, OpenMode::kCreate);
    ALOS_CHECK_OK(file);
    return *std::move(file);
  }
  static std::uint64_t AllocatedBytes(const PosixFile& file) {
    struct stat attributes;
    ALOS_CHECK(::fstat(file.descriptor(), &attributes) == 0);
    return static_cast<std::uint64_t>(attributes.st_blocks) * 512;
  }

  PosixFixture fixture_;
};

TEST_F(PosixFileSystemTest, AllocateTakesBlocksAndTruncateDoesNot) {
  auto file = MustOpen("file");
  ASSERT_TRUE(file->Truncate(1 << 20).ok());
  EXPECT_LT(AllocatedBytes(*file), 1u << 20);
  ASSERT_TRUE(file->Allocate(1 << 20).ok());
  EXPECT_GE(AllocatedBytes(*file), 1u << 20);
}

TEST_F(PosixFileSystemTest, AllocateWritesZerosWhereThereIsNoFallocate) {
  auto file = MustOpen("file");
  file->DisableFallocateForTest();
  ASSERT_TRUE(file->WriteAt(0, "head").ok());
  constexpr std::uint64_t kSize = (5 << 20) / 2 + 3;  // More than two buffers of zeros.
  ASSERT_TRUE(file->Allocate(kSize).ok());
  EXPECT_EQ(*file->Size(), kSize);
  EXPECT_GE(AllocatedBytes(*file), kSize);
  std::string bytes(kSize, '?');
  ASSERT_TRUE(file->ReadAt(0, absl::MakeSpan(bytes)).ok());
  EXPECT_EQ(bytes, "head" + std::string(kSize - 4, '\0'));
}

// The limit on file sizes stands for a disk that fills up in the middle: both ways of allocating
// fail after having taken a part, and must give it back.
TEST_F(PosixFileSystemTest, FailedAllocateLeavesTheSizeAndSaysWhatToDo) {
  for (const bool fallocate : {true, false}) {
    SCOPED_TRACE(fallocate);
    auto file = MustOpen(fallocate ? "a" : "b");
    if (!fallocate) file->DisableFallocateForTest();
    ASSERT_TRUE(file->Allocate(1000).ok());
    rlimit old_limit;
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = old_limit;
    limit.rlim_cur = 1'500'000;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    const absl::Status status = file->Allocate(3'000'000);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
    std::signal(SIGXFSZ, old_handler);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("ulimit -f"));
    EXPECT_EQ(*file->Size(), 1000u);
    EXPECT_TRUE(file->Allocate(3'000'000).ok()) << "works once there is room";
  }
}

TEST_F(PosixFileSystemTest, RunningOutOfDescriptorsSaysWhatToDo) {
  rlimit old_limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  auto file = MustOpen("file");
  rlimit limit = old_limit;
  limit.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  const absl::Status open = fixture_.system.Open(fixture_.path + "/x", OpenMode::kCreate).status();
  const absl::Status lock = fixture_.system.LockFile(fixture_.path + "/x").status();
  const absl::Status list = fixture_.system.ListDirectory(fixture_.path).status();
  const absl::Status sync = fixture_.system.SyncDirectory(fixture_.path);
  const absl::Status map = file->Map(4096).status();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old_limit), 0);
  for (const absl::Status& status : {open, lock, list, sync}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("ulimit -n"));
  }
  EXPECT_FALSE(map.ok());
  EXPECT_TRUE(file->Map(4096).ok());
}

TEST_F(PosixFileSystemTest, OnlyRegularFilesAreOpened) {
  const absl::Status status = fixture_.system.Open("/dev/null", OpenMode::kReadWrite).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

TEST_F(PosixFileSystemTest, FilesAndDirectoriesArePrivateAndClosedOnExec) {
  auto file = MustOpen("file");
  struct stat attributes;
  ASSERT_EQ(::fstat(file->descriptor(), &attributes), 0);
  EXPECT_EQ(attributes.st_mode & 077, 0u);
  EXPECT_NE(::fcntl(file->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_TRUE(fixture_.system.CreateDirectories(fixture_.path + "/d").ok());
  ASSERT_EQ(::stat((fixture_.path + "/d").c_str(), &attributes), 0);
  EXPECT_EQ(attributes.st_mode & 077, 0u);
}

TEST_F(PosixFileSystemTest, LockNamesThisProcessAndDiesWithItsHolder) {
  const std::string path = fixture_.path + "/LOCK";
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto lock = fixture_.system.LockFile(path);
    const char answer = lock.ok() ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
    while (true) ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  const absl::Status status = fixture_.system.LockFile(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("held by pid " + std::to_string(child) + " host "));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(fixture_.system.LockFile(path).ok());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(PosixFileSystemTest, RelativePathsWork) {
  const std::filesystem::path old = std::filesystem::current_path();
  std::filesystem::current_path(fixture_.path);
  EXPECT_TRUE(fixture_.system.CreateDirectories("relative/below").ok());
  EXPECT_TRUE(fixture_.system.Open("plain", OpenMode::kCreate).ok());
  EXPECT_TRUE(fixture_.system.SyncDirectory(base_internal::ParentDirectory("plain")).ok());
  std::filesystem::current_path(old);
  EXPECT_TRUE(*fixture_.system.Exists(fixture_.path + "/relative/below"));
}

TEST(PosixErrorTest, CodesAndAdvice) {
  const absl::Status full = PosixError(ENOSPC, "write", "/data/shard_000.db");
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()),
              HasSubstr("write \"/data/shard_000.db\": No space left on device; free space"));
  EXPECT_EQ(PosixError(EDQUOT, "write", "f").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(PosixError(ENOMEM, "mmap", "f").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(PosixError(EIO, "fdatasync", "f").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(PosixError(ENOENT, "open", "f").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(PosixError(EACCES, "open", "f").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(PosixError(EPERM, "open", "f").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(PosixError(EROFS, "open", "f").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(PosixError(EEXIST, "mkdir", "f").code(), absl::StatusCode::kAlreadyExists);
}

TEST(ParentDirectoryTest, EveryShapeOfPath) {
  EXPECT_EQ(base_internal::ParentDirectory("/a/b"), "/a");
  EXPECT_EQ(base_internal::ParentDirectory("/a/b/"), "/a");
  EXPECT_EQ(base_internal::ParentDirectory("/a"), "/");
  EXPECT_EQ(base_internal::ParentDirectory("/"), "/");
  EXPECT_EQ(base_internal::ParentDirectory("a"), ".");
  EXPECT_EQ(base_internal::ParentDirectory("a/b"), "a");
}

}  // namespace
}  // namespace alos
