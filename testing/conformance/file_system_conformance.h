// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What every FileSystem must do, as tests. To run an implementation through it:
//
//   struct MyFixture {
//     using FileSystemType = MyFileSystem;
//     MyFileSystem& file_system();
//     std::string directory();   // exists, empty, the same for the life of the fixture
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, FileSystemConformance, MyFixture);
//
// What happens when power is lost is not tested here: only a file system that can lose it can tell.

#ifndef ALOS_TESTING_CONFORMANCE_FILE_SYSTEM_CONFORMANCE_H_
#define ALOS_TESTING_CONFORMANCE_FILE_SYSTEM_CONFORMANCE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "alos/base/check.h"
#include "alos/base/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace alos {

template <class Fixture>
class FileSystemConformance : public testing::Test {
 protected:
  using FileSystemType = typename Fixture::FileSystemType;
  static_assert(FileSystem<FileSystemType>);
  using FileType = typename FileSystemType::FileType;
  using MappingType = typename FileSystemType::MappingType;

  FileSystemType& system() { return fixture_.file_system(); }
  std::string Path(std::string_view name) { return fixture_.directory() + "/" + std::string(name); }

  std::unique_ptr<FileType> MustOpen(const std::string& path, OpenMode mode = OpenMode::kCreate) {
    auto file = system().Open(path, mode);
    ALOS_CHECK_OK(file);
    return *std::move(file);
  }
  std::unique_ptr<MappingType> MustMap(FileType& file, std::uint64_t reserve_bytes) {
    auto mapping = file.Map(reserve_bytes);
    ALOS_CHECK_OK(mapping);
    return *std::move(mapping);
  }
  static std::string Read(FileType& file, std::uint64_t offset, std::size_t size) {
    std::string out(size, '?');
    auto count = file.ReadAt(offset, absl::MakeSpan(out));
    ALOS_CHECK_OK(count);
    out.resize(*count);
    return out;
  }
  static std::uint64_t SizeOf(FileType& file) {
    auto size = file.Size();
    ALOS_CHECK_OK(size);
    return *size;
  }
  void Store(const std::string& path, std::string_view bytes) {
    ALOS_CHECK_OK(MustOpen(path)->WriteAt(0, bytes));
  }
  std::string Load(const std::string& path) {
    auto file = MustOpen(path, OpenMode::kReadOnly);
    return Read(*file, 0, SizeOf(*file));
  }
  // The code, and that the message names the path.
  static void ExpectError(const absl::Status& status, absl::StatusCode code,
                          const std::string& path) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(path));
  }

  Fixture fixture_;
};

TYPED_TEST_SUITE_P(FileSystemConformance);

TYPED_TEST_P(FileSystemConformance, OpenModes) {
  const std::string path = this->Path("file");
  this->ExpectError(this->system().Open(path, OpenMode::kReadOnly).status(),
                    absl::StatusCode::kNotFound, path);
  this->ExpectError(this->system().Open(path, OpenMode::kReadWrite).status(),
                    absl::StatusCode::kNotFound, path);
  auto created = this->MustOpen(path, OpenMode::kCreate);
  EXPECT_EQ(created->path(), path);
  EXPECT_EQ(this->SizeOf(*created), 0u);
  ASSERT_TRUE(created->WriteAt(0, "kept").ok());
  EXPECT_EQ(this->Read(*this->MustOpen(path, OpenMode::kCreate), 0, 9), "kept");
  auto writable = this->MustOpen(path, OpenMode::kReadWrite);
  ASSERT_TRUE(writable->WriteAt(1, "E").ok());
  EXPECT_EQ(this->Load(path), "kEpt");
}

TYPED_TEST_P(FileSystemConformance, ReadOnlyFilesCannotBeChanged) {
  const std::string path = this->Path("file");
  this->Store(path, "abc");
  auto file = this->MustOpen(path, OpenMode::kReadOnly);
  this->ExpectError(file->WriteAt(0, "x"), absl::StatusCode::kFailedPrecondition, path);
  this->ExpectError(file->Allocate(10), absl::StatusCode::kFailedPrecondition, path);
  this->ExpectError(file->Truncate(0), absl::StatusCode::kFailedPrecondition, path);
  auto mapping = this->MustMap(*file, 1 << 20);
  EXPECT_EQ(std::string_view(mapping->data(), mapping->mapped_bytes()), "abc");
  EXPECT_EQ(this->Load(path), "abc");
}

TYPED_TEST_P(FileSystemConformance, HolesReadAsZerosAndKeepTheSize) {
  constexpr std::uint64_t kBlock = kFileBlockBytes;
  const std::string path = this->Path("file");
  this->Store(path, std::string(4 * kBlock, 'x') + "end");
  auto file = this->MustOpen(path);
  auto mapping = this->MustMap(*file, 1 << 20);
  const absl::Status punched = file->PunchHole(kBlock, 2 * kBlock);
  if (absl::IsUnimplemented(punched)) GTEST_SKIP() << punched;
  ASSERT_TRUE(punched.ok()) << punched;
  const std::string expected =
      std::string(kBlock, 'x') + std::string(2 * kBlock, '\0') + std::string(kBlock, 'x') + "end";
  EXPECT_EQ(std::string_view(mapping->data(), mapping->mapped_bytes()), expected);
  EXPECT_EQ(this->Load(path), expected);
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(this->Load(path), expected);
  // Again, over the end, and nothing at all.
  EXPECT_TRUE(file->PunchHole(kBlock, 2 * kBlock).ok());
  EXPECT_TRUE(file->PunchHole(64 * kBlock, kBlock).ok());
  EXPECT_TRUE(file->PunchHole(kBlock, 0).ok());
  EXPECT_EQ(this->SizeOf(*file), expected.size());
  // Written again, with space that is set aside only there.
  ASSERT_TRUE(file->AllocateRange(2 * kBlock, 3 * kBlock).ok());
  ASSERT_TRUE(file->WriteAt(2 * kBlock, "back").ok());
  EXPECT_EQ(std::string_view(mapping->data() + 2 * kBlock, 5), std::string_view("back\0", 5));
  EXPECT_EQ(this->SizeOf(*file), expected.size());
}

TYPED_TEST_P(FileSystemConformance, HolesAreOfWholeBlocks) {
  const std::string path = this->Path("file");
  this->Store(path, std::string(3 * kFileBlockBytes, 'x'));
  auto file = this->MustOpen(path);
  this->ExpectError(file->PunchHole(1, kFileBlockBytes), absl::StatusCode::kInvalidArgument, path);
  this->ExpectError(file->PunchHole(kFileBlockBytes, 512), absl::StatusCode::kInvalidArgument,
                    path);
  this->ExpectError(
      this->MustOpen(path, OpenMode::kReadOnly)->PunchHole(kFileBlockBytes, kFileBlockBytes),
      absl::StatusCode::kFailedPrecondition, path);
  EXPECT_EQ(this->Load(path), std::string(3 * kFileBlockBytes, 'x'));
}

TYPED_TEST_P(FileSystemConformance, DirectoriesAreNotFiles) {
  const std::string path = this->Path("directory");
  ASSERT_TRUE(this->system().CreateDirectories(path).ok());
  for (const OpenMode mode : {OpenMode::kReadOnly, OpenMode::kReadWrite, OpenMode::kCreate}) {
    this->ExpectError(this->system().Open(path, mode).status(),
                      absl::StatusCode::kFailedPrecondition, path);
  }
  const std::string missing = this->Path("missing/file");
  this->ExpectError(this->system().Open(missing, OpenMode::kCreate).status(),
                    absl::StatusCode::kNotFound, missing);
}

TYPED_TEST_P(FileSystemConformance, ReadsAreShortOnlyAtTheEnd) {
  auto file = this->MustOpen(this->Path("file"));
  ASSERT_TRUE(file->WriteAt(0, "0123456789").ok());
  EXPECT_EQ(this->Read(*file, 3, 4), "3456");
  EXPECT_EQ(this->Read(*file, 8, 4), "89");
  EXPECT_EQ(this->Read(*file, 10, 4), "");
  EXPECT_EQ(this->Read(*file, 1000, 4), "");
  EXPECT_EQ(this->Read(*file, 0, 0), "");
}

TYPED_TEST_P(FileSystemConformance, WritesGrowTheFileAndGapsAreZero) {
  auto file = this->MustOpen(this->Path("file"));
  ASSERT_TRUE(file->WriteAt(5, "x").ok());
  EXPECT_EQ(this->SizeOf(*file), 6u);
  EXPECT_EQ(this->Read(*file, 0, 6), std::string("\0\0\0\0\0x", 6));
  ASSERT_TRUE(file->WriteAt(100, "").ok());
  EXPECT_EQ(this->SizeOf(*file), 6u) << "an empty write changes nothing";
  const std::string large(3 << 20, 'l');
  ASSERT_TRUE(file->WriteAt(2, large).ok());
  EXPECT_EQ(this->SizeOf(*file), large.size() + 2);
  EXPECT_EQ(this->Read(*file, 2, large.size()), large);
}

TYPED_TEST_P(FileSystemConformance, ImpossibleOffsetsAndSizesAreRefused) {
  const std::string path = this->Path("file");
  auto file = this->MustOpen(path);
  char byte = 0;
  for (const std::uint64_t offset : {kFileSizeBytesMax, ~std::uint64_t{0}}) {
    this->ExpectError(file->WriteAt(offset, "x"), absl::StatusCode::kInvalidArgument, path);
    this->ExpectError(file->ReadAt(offset, absl::MakeSpan(&byte, 1)).status(),
                      absl::StatusCode::kInvalidArgument, path);
  }
  this->ExpectError(file->Allocate(~std::uint64_t{0}), absl::StatusCode::kInvalidArgument, path);
  this->ExpectError(file->Truncate(~std::uint64_t{0}), absl::StatusCode::kInvalidArgument, path);
  this->ExpectError(file->Map(~std::uint64_t{0}).status(), absl::StatusCode::kInvalidArgument,
                    path);
  EXPECT_EQ(this->SizeOf(*file), 0u);
}

TYPED_TEST_P(FileSystemConformance, AllocateGrowsWithZerosAndNeverShrinks) {
  auto file = this->MustOpen(this->Path("file"));
  ASSERT_TRUE(file->WriteAt(0, "head").ok());
  ASSERT_TRUE(file->Allocate(0).ok());
  EXPECT_EQ(this->SizeOf(*file), 4u);
  ASSERT_TRUE(file->Allocate(10000).ok());
  EXPECT_EQ(this->SizeOf(*file), 10000u);
  EXPECT_EQ(this->Read(*file, 0, 10000), "head" + std::string(9996, '\0'));
  ASSERT_TRUE(file->Allocate(100).ok());
  EXPECT_EQ(this->SizeOf(*file), 10000u);
}

TYPED_TEST_P(FileSystemConformance, TruncateShrinksAndGrowsWithZeros) {
  auto file = this->MustOpen(this->Path("file"));
  ASSERT_TRUE(file->WriteAt(0, "0123456789").ok());
  ASSERT_TRUE(file->Truncate(4).ok());
  EXPECT_EQ(this->Read(*file, 0, 99), "0123");
  ASSERT_TRUE(file->Truncate(8).ok());
  EXPECT_EQ(this->Read(*file, 0, 99), std::string("0123\0\0\0\0", 8)) << "no old bytes come back";
}

TYPED_TEST_P(FileSystemConformance, WritesAndMappingsShowTheSameBytes) {
  auto file = this->MustOpen(this->Path("file"));
  auto other = this->MustOpen(this->Path("file"));
  ASSERT_TRUE(file->WriteAt(0, "written").ok());
  auto mapping = this->MustMap(*file, 1 << 20);
  auto second = this->MustMap(*other, 1 << 20);
  EXPECT_EQ(mapping->mapped_bytes(), 7u);
  EXPECT_GE(mapping->reserved_bytes(), 1u << 20);
  EXPECT_EQ(std::string_view(mapping->data(), 7), "written");
  ASSERT_TRUE(other->WriteAt(0, "W").ok());
  EXPECT_EQ(std::string_view(mapping->data(), 7), "Written");
  mapping->data()[6] = 'N';
  EXPECT_EQ(std::string_view(second->data(), 7), "WritteN");
  EXPECT_EQ(this->Read(*other, 0, 7), "WritteN");
  EXPECT_TRUE(file->Sync().ok());
}

TYPED_TEST_P(FileSystemConformance, ExtendGrowsAMappingThatStaysWhereItIs) {
  const std::string path = this->Path("file");
  auto file = this->MustOpen(path);
  auto mapping = this->MustMap(*file, 1 << 20);
  char* const base = mapping->data();
  EXPECT_EQ(mapping->mapped_bytes(), 0u);
  // Steps below, at and above a page, and within the page that is mapped already.
  std::uint64_t size = 0;
  for (const std::uint64_t step : {1, 99, 3996, 4096, 1, 10000, 65536}) {
    size += step;
    ASSERT_TRUE(file->Allocate(size).ok());
    this->ExpectError(mapping->Extend(size + 1), absl::StatusCode::kInvalidArgument, path);
    ASSERT_TRUE(mapping->Extend(size).ok());
    ASSERT_EQ(mapping->data(), base);
    ASSERT_EQ(mapping->mapped_bytes(), size);
    base[size - 1] = static_cast<char>('a' + step % 26);
    ASSERT_EQ(this->Read(*file, size - 1, 1), std::string(1, static_cast<char>('a' + step % 26)));
  }
  ASSERT_TRUE(mapping->Extend(10).ok()) << "less than is mapped: nothing to do";
  EXPECT_EQ(mapping->mapped_bytes(), size);
  EXPECT_EQ(std::string(base, size), this->Read(*file, 0, size));
  ASSERT_TRUE(file->Allocate(2 << 20).ok());
  this->ExpectError(mapping->Extend(2 << 20), absl::StatusCode::kInvalidArgument, path);
}

TYPED_TEST_P(FileSystemConformance, MapTakesWhatFitsIntoTheReservation) {
  auto file = this->MustOpen(this->Path("file"));
  ASSERT_TRUE(file->WriteAt(0, std::string(100000, 'x')).ok());
  auto part = this->MustMap(*file, 8192);
  EXPECT_EQ(part->mapped_bytes(), 8192u);
  EXPECT_EQ(std::string_view(part->data(), 8192), std::string(8192, 'x'));
  EXPECT_EQ(this->MustMap(*file, 0)->mapped_bytes(), 0u);
}

TYPED_TEST_P(FileSystemConformance, MappingOutlivesFileAndName) {
  const std::string path = this->Path("file");
  std::unique_ptr<typename TestFixture::MappingType> mapping;
  std::unique_ptr<typename TestFixture::FileType> unlinked;
  {
    auto file = this->MustOpen(path);
    ASSERT_TRUE(file->WriteAt(0, "alive").ok());
    mapping = this->MustMap(*file, 1 << 20);
    unlinked = this->MustOpen(path);
  }
  ASSERT_TRUE(this->system().Remove(path).ok());
  EXPECT_EQ(std::string_view(mapping->data(), 5), "alive");
  mapping->data()[0] = 'A';
  EXPECT_EQ(this->Read(*unlinked, 0, 9), "Alive");
  ASSERT_TRUE(unlinked->Allocate(9000).ok());
  ASSERT_TRUE(mapping->Extend(9000).ok());
  // A new file of that name is another file.
  EXPECT_EQ(this->SizeOf(*this->MustOpen(path)), 0u);
}

// 256 shards of 1 GiB each are reserved when a database opens: that must cost neither memory nor
// disk.
TYPED_TEST_P(FileSystemConformance, LargeReservationsCostNothing) {
  std::vector<std::unique_ptr<typename TestFixture::MappingType>> mappings;
  for (int i = 0; i < 256; ++i) {
    auto file = this->MustOpen(this->Path("shard" + std::to_string(i)));
    ASSERT_TRUE(file->WriteAt(0, std::string(1, static_cast<char>(i))).ok());
    mappings.push_back(this->MustMap(*file, std::uint64_t{1} << 30));
  }
  for (int i = 0; i < 256; ++i) {
    EXPECT_GE(mappings[i]->reserved_bytes(), std::uint64_t{1} << 30);
    EXPECT_EQ(mappings[i]->data()[0], static_cast<char>(i));
  }
}

TYPED_TEST_P(FileSystemConformance, RenameReplacesInOneStep) {
  const std::string from = this->Path("from");
  const std::string to = this->Path("to");
  this->Store(from, "new");
  this->Store(to, "old");
  auto old_file = this->MustOpen(to);
  ASSERT_TRUE(this->system().Rename(from, to).ok());
  EXPECT_EQ(this->Load(to), "new");
  EXPECT_FALSE(*this->system().Exists(from));
  EXPECT_EQ(this->Read(*old_file, 0, 9), "old") << "an open file stays what it was";
  EXPECT_TRUE(this->system().SyncDirectory(this->fixture_.directory()).ok());
  this->ExpectError(this->system().Rename(from, to), absl::StatusCode::kNotFound, from);
  this->ExpectError(this->system().Rename(to, this->Path("none/to")), absl::StatusCode::kNotFound,
                    to);
}

TYPED_TEST_P(FileSystemConformance, RenameMovesADirectoryWithItsFiles) {
  ASSERT_TRUE(this->system().CreateDirectories(this->Path("a/b")).ok());
  this->Store(this->Path("a/b/file"), "x");
  ASSERT_TRUE(this->system().Rename(this->Path("a"), this->Path("c")).ok());
  EXPECT_EQ(this->Load(this->Path("c/b/file")), "x");
  EXPECT_FALSE(*this->system().Exists(this->Path("a")));
}

TYPED_TEST_P(FileSystemConformance, RemoveTakesFilesAndEmptyDirectories) {
  const std::string directory = this->Path("directory");
  const std::string file = directory + "/file";
  ASSERT_TRUE(this->system().CreateDirectories(directory).ok());
  this->Store(file, "x");
  this->ExpectError(this->system().Remove(directory), absl::StatusCode::kFailedPrecondition,
                    directory);
  ASSERT_TRUE(this->system().Remove(file).ok());
  this->ExpectError(this->system().Remove(file), absl::StatusCode::kNotFound, file);
  ASSERT_TRUE(this->system().Remove(directory).ok());
  EXPECT_FALSE(*this->system().Exists(directory));
}

TYPED_TEST_P(FileSystemConformance, CreateDirectoriesMakesWhatIsMissing) {
  ASSERT_TRUE(this->system().CreateDirectories(this->Path("a/b/c")).ok());
  ASSERT_TRUE(this->system().CreateDirectories(this->Path("a/b/c")).ok());
  ASSERT_TRUE(this->system().CreateDirectories(this->Path("a/b/d/")).ok());
  EXPECT_TRUE(*this->system().Exists(this->Path("a/b/d")));
  this->Store(this->Path("a/file"), "x");
  this->ExpectError(this->system().CreateDirectories(this->Path("a/file")),
                    absl::StatusCode::kAlreadyExists, this->Path("a/file"));
  this->ExpectError(this->system().CreateDirectories(this->Path("a/file/deeper")),
                    absl::StatusCode::kAlreadyExists, this->Path("a/file"));
}

TYPED_TEST_P(FileSystemConformance, ListDirectoryGivesSortedNames) {
  this->Store(this->Path("b"), "");
  this->Store(this->Path("a"), "");
  ASSERT_TRUE(this->system().CreateDirectories(this->Path("c/inner")).ok());
  auto names = this->system().ListDirectory(this->fixture_.directory());
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(*names, testing::ElementsAre("a", "b", "c"));
  const std::string missing = this->Path("missing");
  this->ExpectError(this->system().ListDirectory(missing).status(), absl::StatusCode::kNotFound,
                    missing);
  this->ExpectError(this->system().ListDirectory(this->Path("a")).status(),
                    absl::StatusCode::kFailedPrecondition, this->Path("a"));
  this->ExpectError(this->system().SyncDirectory(missing), absl::StatusCode::kNotFound, missing);
}

TYPED_TEST_P(FileSystemConformance, ExistsAnswersForFilesAndDirectories) {
  EXPECT_FALSE(*this->system().Exists(this->Path("file")));
  this->Store(this->Path("file"), "");
  EXPECT_TRUE(*this->system().Exists(this->Path("file")));
  EXPECT_TRUE(*this->system().Exists(this->fixture_.directory()));
  EXPECT_FALSE(*this->system().Exists(this->Path("file/below")));
}

TYPED_TEST_P(FileSystemConformance, LockIsExclusiveAndNamesItsHolder) {
  const std::string path = this->Path("LOCK");
  auto lock = this->system().LockFile(path);
  ASSERT_TRUE(lock.ok()) << lock.status();
  auto second = this->system().LockFile(path);
  this->ExpectError(second.status(), absl::StatusCode::kFailedPrecondition, path);
  EXPECT_THAT(std::string(second.status().message()),
              testing::ContainsRegex("pid [0-9]+ host [^ ]+"));
  EXPECT_TRUE(this->system().LockFile(this->Path("OTHER")).ok());
  lock->reset();
  EXPECT_TRUE(this->system().LockFile(path).ok());
  EXPECT_TRUE(*this->system().Exists(path)) << "removing it would let two processes lock two files";
  const std::string missing = this->Path("missing/LOCK");
  this->ExpectError(this->system().LockFile(missing).status(), absl::StatusCode::kNotFound,
                    missing);
}

TYPED_TEST_P(FileSystemConformance, ThreadsReadWhileOneWritesAndExtends) {
  auto file = this->MustOpen(this->Path("file"));
  auto mapping = this->MustMap(*file, 1 << 20);
  constexpr std::uint64_t kBlock = 1000;
  std::atomic<std::uint64_t> published{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  std::atomic<std::uint64_t> wrong{0};
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        const std::uint64_t end = published.load(std::memory_order_acquire);
        if (end == 0) continue;
        const std::uint64_t block = end / kBlock - 1;
        const char expected = static_cast<char>('a' + block % 26);
        if (mapping->mapped_bytes() < end) ++wrong;
        if (mapping->data()[end - 1] != expected) ++wrong;
        char read = 0;
        auto count = file->ReadAt(end - kBlock, absl::MakeSpan(&read, 1));
        if (!count.ok() || *count != 1 || read != expected) ++wrong;
      }
    });
  }
  for (std::uint64_t block = 0; block < 300; ++block) {
    const std::uint64_t end = (block + 1) * kBlock;
    ALOS_CHECK_OK(file->Allocate(end));
    ALOS_CHECK_OK(mapping->Extend(end));
    const std::string bytes(kBlock, static_cast<char>('a' + block % 26));
    if (block % 2 == 0) {
      bytes.copy(mapping->data() + end - kBlock, kBlock);
    } else {
      ALOS_CHECK_OK(file->WriteAt(end - kBlock, bytes));
    }
    published.store(end, std::memory_order_release);
    if (block % 50 == 0) ALOS_CHECK_OK(file->Sync());
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong.load(), 0u);
}

REGISTER_TYPED_TEST_SUITE_P(
    FileSystemConformance, OpenModes, ReadOnlyFilesCannotBeChanged, DirectoriesAreNotFiles,
    ReadsAreShortOnlyAtTheEnd, WritesGrowTheFileAndGapsAreZero, ImpossibleOffsetsAndSizesAreRefused,
    AllocateGrowsWithZerosAndNeverShrinks, TruncateShrinksAndGrowsWithZeros,
    WritesAndMappingsShowTheSameBytes, ExtendGrowsAMappingThatStaysWhereItIs,
    MapTakesWhatFitsIntoTheReservation, MappingOutlivesFileAndName, LargeReservationsCostNothing,
    RenameReplacesInOneStep, RenameMovesADirectoryWithItsFiles, RemoveTakesFilesAndEmptyDirectories,
    CreateDirectoriesMakesWhatIsMissing, ListDirectoryGivesSortedNames,
    ExistsAnswersForFilesAndDirectories, LockIsExclusiveAndNamesItsHolder,
    ThreadsReadWhileOneWritesAndExtends, HolesReadAsZerosAndKeepTheSize, HolesAreOfWholeBlocks);

}  // namespace alos

#endif  // ALOS_TESTING_CONFORMANCE_FILE_SYSTEM_CONFORMANCE_H_
