// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "testing/simulated_file_system.h"

#include <setjmp.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "alos/base/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/conformance/file_system_conformance.h"

namespace alos {
namespace {

using ::testing::HasSubstr;

struct SimulatedFixture {
  using FileSystemType = SimulatedFileSystem;
  SimulatedFixture() { ALOS_CHECK_OK(system.CreateDirectories("/data")); }
  SimulatedFileSystem& file_system() { return system; }
  std::string directory() { return "/data"; }
  SimulatedFileSystem system{1};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Simulated, FileSystemConformance, SimulatedFixture);

constexpr std::size_t kSector = SimulatedFileSystem::kSectorBytes;
constexpr std::size_t kBlock = SimulatedFileSystem::kBlockBytes;
constexpr CrashOptions kLoseAll = {.unsynced = CrashOptions::Unsynced::kNothing};
constexpr CrashOptions kKeepAll = {.unsynced = CrashOptions::Unsynced::kEverything};

std::unique_ptr<SimulatedFile> MustOpen(SimulatedFileSystem& disk, const std::string& path) {
  auto file = disk.Open(path, OpenMode::kCreate);
  ALOS_CHECK_OK(file);
  return *std::move(file);
}

// The contents, or "<none>".
std::string Load(SimulatedFileSystem& disk, const std::string& path) {
  auto file = disk.Open(path, OpenMode::kReadOnly);
  if (!file.ok()) return "<none>";
  std::string bytes(*(*file)->Size(), '\0');
  ALOS_CHECK_OK((*file)->ReadAt(0, absl::MakeSpan(bytes)));
  return bytes;
}

void StoreDurably(SimulatedFileSystem& disk, const std::string& path, std::string_view bytes) {
  auto file = MustOpen(disk, path);
  ALOS_CHECK_OK(file->WriteAt(0, bytes));
  ALOS_CHECK_OK(file->Sync());
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
}

TEST(SimulatedCrashTest, SyncedBytesOfSyncedNamesAlwaysSurvive) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "synced");
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Load(*disk.Crash(), "file"), "synced");
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "synced");
}

TEST(SimulatedCrashTest, UnsyncedBytesAreLostWithKNothingAndKeptWithKEverything) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "old");
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->WriteAt(0, "newer"));
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "old");
  EXPECT_EQ(Load(*disk.Crash(kKeepAll), "file"), "newer");
  EXPECT_EQ(Load(disk, "file"), "newer") << "the disk itself goes on";
  ALOS_CHECK_OK(file->Sync());
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "newer");
}

TEST(SimulatedCrashTest, EveryCombinationOfThreeSectorsAppears) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", std::string(3 * kSector, 'o'));
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->WriteAt(0, std::string(3 * kSector, 'n')));
  std::set<std::string> seen;
  for (int i = 0; i < 300; ++i) {
    const std::string bytes = Load(*disk.Crash(), "file");
    ASSERT_EQ(bytes.size(), 3 * kSector);
    std::string summary;
    for (std::size_t sector = 0; sector < 3; ++sector) {
      const std::string part = bytes.substr(sector * kSector, kSector);
      ASSERT_EQ(part, std::string(kSector, part[0])) << "torn without being asked";
      summary += part[0];
    }
    seen.insert(summary);
  }
  EXPECT_THAT(
      seen, testing::UnorderedElementsAre("ooo", "oon", "ono", "onn", "noo", "non", "nno", "nnn"));
}

TEST(SimulatedCrashTest, SectorsTearAtBytesIfAsked) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", std::string(kSector, 'o'));
  ALOS_CHECK_OK(MustOpen(disk, "file")->WriteAt(0, std::string(kSector, 'n')));
  std::set<std::size_t> tears;
  for (int i = 0; i < 300; ++i) {
    const std::string bytes = Load(*disk.Crash({.tear_sectors = true}), "file");
    const std::size_t tear = bytes.find('o');
    const std::size_t count = tear == bytes.npos ? kSector : tear;
    EXPECT_EQ(bytes, std::string(count, 'n') + std::string(kSector - count, 'o'));
    tears.insert(count);
  }
  EXPECT_GT(tears.size(), 10u);
  EXPECT_TRUE(tears.contains(0) && tears.contains(kSector));
}

TEST(SimulatedCrashTest, StoresThroughMappingsAreLostOrKeptToo) {
  SimulatedFileSystem disk(1);
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->Allocate(4 * kSector));
  ALOS_CHECK_OK(file->Sync());
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
  auto mapping = *file->Map(1 << 20);
  mapping->data()[0] = 'a';
  mapping->data()[3 * kSector] = 'b';
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), std::string(4 * kSector, '\0'));
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string bytes = Load(*disk.Crash(), "file");
    seen.insert({bytes[0], bytes[3 * kSector]});
  }
  EXPECT_EQ(seen.size(), 4u) << "each sector by itself";
  ALOS_CHECK_OK(file->Sync());
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file")[3 * kSector], 'b');
  EXPECT_EQ(disk.unallocated_stores(), 0u);
}

TEST(SimulatedCrashTest, SizeAndBytesSurviveApart) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "");
  ALOS_CHECK_OK(MustOpen(disk, "file")->WriteAt(0, std::string(2 * kSector, 'n')));
  bool no_size = false;
  bool size_without_bytes = false;
  bool part_of_the_size = false;
  bool all = false;
  for (int i = 0; i < 300; ++i) {
    const std::string bytes = Load(*disk.Crash(), "file");
    no_size |= bytes.empty();
    size_without_bytes |= bytes == std::string(2 * kSector, '\0');
    part_of_the_size |= !bytes.empty() && bytes.size() < 2 * kSector;
    all |= bytes == std::string(2 * kSector, 'n');
  }
  EXPECT_TRUE(no_size && size_without_bytes && part_of_the_size && all);
}

TEST(SimulatedCrashTest, GrowthMayHoldNoiseIfAsked) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "head");
  ALOS_CHECK_OK(MustOpen(disk, "file")->Allocate(4 * kSector));
  bool noise = false;
  for (int i = 0; i < 100; ++i) {
    const std::string bytes = Load(*disk.Crash({.garbage_in_growth = true}), "file");
    ASSERT_EQ(bytes.substr(0, 4), "head") << "what was synced is not touched";
    noise |= bytes.find_first_not_of('\0', 4) != bytes.npos;
    const std::string clean = Load(*disk.Crash(), "file");
    ASSERT_EQ(clean.find_first_not_of('\0', 4), clean.npos);
  }
  EXPECT_TRUE(noise);
}

TEST(SimulatedCrashTest, ShrinkingMayBeLost) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "0123456789");
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->Truncate(4));
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "0123456789");
  EXPECT_EQ(Load(*disk.Crash(kKeepAll), "file"), "0123");
  ALOS_CHECK_OK(file->Sync());
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "0123");
}

TEST(SimulatedCrashTest, ANameIsDurableOnlyAfterItsDirectoryIsSynced) {
  SimulatedFileSystem disk(1);
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->WriteAt(0, "x"));
  ALOS_CHECK_OK(file->Sync());
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "<none>");
  std::set<std::string> seen;
  for (int i = 0; i < 50; ++i) seen.insert(Load(*disk.Crash(), "file"));
  EXPECT_THAT(seen, testing::UnorderedElementsAre("<none>", "x"));
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "x");
  ALOS_CHECK_OK(disk.Remove("file"));
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "x") << "a removal, too, is durable only then";
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "<none>");
}

// The usual way to replace a file: never neither, never a mixture.
TEST(SimulatedCrashTest, RenameOverAFileLeavesTheOldOrTheNewOne) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "manifest", "old");
  auto file = MustOpen(disk, "manifest.new");
  ALOS_CHECK_OK(file->WriteAt(0, "new"));
  ALOS_CHECK_OK(file->Sync());
  ALOS_CHECK_OK(disk.Rename("manifest.new", "manifest"));
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(Load(*disk.Crash(), "manifest"));
  EXPECT_THAT(seen, testing::UnorderedElementsAre("old", "new"));
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Load(*disk.Crash(), "manifest"), "new");
  EXPECT_FALSE(*disk.Crash(kLoseAll)->Exists("manifest.new"));
}

// Without the Sync before the rename the new name may lead to an empty file: the classic mistake.
TEST(SimulatedCrashTest, RenameWithoutSyncCanLeaveAnEmptyFile) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "manifest", "old");
  ALOS_CHECK_OK(MustOpen(disk, "manifest.new")->WriteAt(0, "new"));
  ALOS_CHECK_OK(disk.Rename("manifest.new", "manifest"));
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(Load(*disk.Crash(), "manifest"));
  EXPECT_TRUE(seen.contains(""));
  EXPECT_FALSE(seen.contains("old"));
}

TEST(SimulatedCrashTest, AFileThatMovedTwiceIsInOnePlace) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SimulatedFileSystem disk(seed);
    ALOS_CHECK_OK(disk.CreateDirectories("/a"));
    ALOS_CHECK_OK(disk.CreateDirectories("/b"));
    StoreDurably(disk, "/one", "x");
    ALOS_CHECK_OK(disk.Rename("/one", "/a/two"));
    ALOS_CHECK_OK(disk.Rename("/a/two", "/b/three"));
    if (seed % 3 == 1) ALOS_CHECK_OK(disk.SyncDirectory("/a"));
    if (seed % 3 == 2) disk.WriteBackSome();
    for (int i = 0; i < 20; ++i) {
      auto after = disk.Crash();
      const int places = (Load(*after, "/one") == "x") + (Load(*after, "/a/two") == "x") +
                         (Load(*after, "/b/three") == "x");
      ASSERT_EQ(places, 1) << seed;
    }
  }
}

TEST(SimulatedCrashTest, ManyChangesOfNamesAgreeWithASyncedModel) {
  // Whatever is done to names, after all directories are synced nothing depends on luck any more.
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SimulatedFileSystem disk(seed);
    std::mt19937_64 random(seed);
    std::map<std::string, std::string> model;
    for (const char* directory : {"/a", "/b"}) ALOS_CHECK_OK(disk.CreateDirectories(directory));
    const auto name = [&] {
      return std::string(random() % 2 == 0 ? "/a/" : "/b/") + std::to_string(random() % 4);
    };
    for (int step = 0; step < 60; ++step) {
      const std::string path = name();
      const std::string other = name();
      switch (random() % 6) {
        case 0:
        case 1:
          if (!model.contains(path)) {
            model[path] = std::to_string(step);
            auto file = MustOpen(disk, path);
            ALOS_CHECK_OK(file->WriteAt(0, model[path]));
            ALOS_CHECK_OK(file->Sync());
          }
          break;
        case 2:
          if (model.contains(path) && path != other) {
            ALOS_CHECK_OK(disk.Rename(path, other));
            model[other] = model[path];
            model.erase(path);
          }
          break;
        case 3:
          if (model.erase(path) != 0) ALOS_CHECK_OK(disk.Remove(path));
          break;
        case 4:
          disk.WriteBackSome();
          break;
        case 5:
          ALOS_CHECK_OK(disk.SyncDirectory(random() % 2 == 0 ? "/a" : "/b"));
          break;
      }
      disk.Crash();
    }
    ALOS_CHECK_OK(disk.SyncDirectory("/a"));
    ALOS_CHECK_OK(disk.SyncDirectory("/b"));
    auto after = disk.Crash();
    std::map<std::string, std::string> found;
    for (const char* directory : {"/a", "/b"}) {
      const std::vector<std::string> entries = *after->ListDirectory(directory);
      for (const std::string& entry : entries) {
        const std::string path = std::string(directory) + "/" + entry;
        found[path] = Load(*after, path);
      }
    }
    ASSERT_EQ(found, model) << seed;
  }
}

TEST(SimulatedCrashTest, WriteBackPutsVersionsInBetweenOnTheDisk) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "1");
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->WriteAt(0, "2"));
  std::set<std::string> seen;
  for (int i = 0; i < 20; ++i) disk.WriteBackSome();
  ALOS_CHECK_OK(file->WriteAt(0, "3"));
  for (int i = 0; i < 50; ++i) seen.insert(Load(*disk.Crash(), "file"));
  EXPECT_THAT(seen, testing::UnorderedElementsAre("2", "3"));
}

TEST(SimulatedCrashTest, TheSameSeedGivesTheSameRun) {
  const auto run = [](std::uint64_t seed) {
    SimulatedFileSystem disk(seed);
    auto file = MustOpen(disk, "file");
    ALOS_CHECK_OK(disk.SyncDirectory("/"));
    std::string history;
    for (int i = 0; i < 20; ++i) {
      ALOS_CHECK_OK(file->WriteAt(0, std::string(4 * kSector, static_cast<char>('a' + i))));
      if (i % 3 == 0) disk.WriteBackSome();
      history += Load(*disk.Crash({.tear_sectors = true, .garbage_in_growth = true}), "file");
      history += "|";
    }
    return history;
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST(SimulatedCrashTest, ACrashedDiskIsADiskOfItsOwn) {
  SimulatedFileSystem disk(1);
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->WriteAt(0, "shared"));
  auto lock = disk.LockFile("LOCK");
  auto after = disk.Crash(kKeepAll);
  EXPECT_TRUE(after->LockFile("LOCK").ok()) << "the process that held it is gone";
  ALOS_CHECK_OK(file->WriteAt(0, "before"));
  EXPECT_EQ(Load(*after, "file"), "shared");
  ALOS_CHECK_OK(MustOpen(*after, "file")->WriteAt(0, "after!"));
  EXPECT_EQ(Load(disk, "file"), "before");
  EXPECT_EQ(Load(*after->Crash(kLoseAll), "file"), "shared");
}

TEST(SimulatedFaultTest, FailedSyncForgetsAndLaterOnesLie) {
  std::set<std::string> found;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SimulatedFileSystem disk(seed);
    StoreDurably(disk, "file", std::string(2 * kSector, 'o'));
    auto file = MustOpen(disk, "file");
    ALOS_CHECK_OK(file->WriteAt(0, std::string(2 * kSector, 'n')));
    disk.FailNth(SimulatedOperation::kSync, 1, absl::DataLossError("injected"));
    const absl::Status failed = file->Sync();
    ASSERT_EQ(failed.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(failed.message()), HasSubstr("fdatasync \"file\": injected"));
    ASSERT_TRUE(file->Sync().ok()) << "the second one claims success";
    ASSERT_EQ(Load(disk, "file"), std::string(2 * kSector, 'n')) << "and reads show the new bytes";
    const std::string bytes = Load(*disk.Crash(), "file");
    found.insert({bytes[0], bytes[kSector]});
    // Another byte in the sector makes it dirty again, and so does writing the same.
    ALOS_CHECK_OK(file->WriteAt(0, "n"));
    ALOS_CHECK_OK(file->WriteAt(kSector, "m"));
    ALOS_CHECK_OK(file->Sync());
    ASSERT_EQ(Load(*disk.Crash(kLoseAll), "file"),
              std::string(kSector, 'n') + "m" + std::string(kSector - 1, 'n'));
  }
  EXPECT_THAT(found, testing::UnorderedElementsAre("oo", "on", "no", "nn"));
}

TEST(SimulatedFaultTest, FailedSyncForgetsStoresThroughMappingsToo) {
  bool lost = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SimulatedFileSystem disk(seed);
    StoreDurably(disk, "file", "o");
    auto file = MustOpen(disk, "file");
    auto mapping = *file->Map(4096);
    mapping->data()[0] = 'n';
    disk.FailNth(SimulatedOperation::kSync, 1, absl::DataLossError("injected"));
    ASSERT_FALSE(file->Sync().ok());
    ASSERT_TRUE(file->Sync().ok());
    lost |= Load(*disk.Crash(), "file") == "o";
    mapping->data()[0] = 'm';
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_EQ(Load(*disk.Crash(), "file"), "m");
  }
  EXPECT_TRUE(lost);
}

TEST(SimulatedFaultTest, ADiskCanLieAboutEverySync) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "old");
  disk.SetSyncLies(true);
  StoreDurably(disk, "file", "new");
  StoreDurably(disk, "other", "x");
  auto after = disk.Crash(kLoseAll);
  EXPECT_EQ(Load(*after, "file"), "old");
  EXPECT_EQ(Load(*after, "other"), "<none>");
  disk.SetSyncLies(false);
  StoreDurably(disk, "file", "new");
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "new");
}

// Every kind of operation, by its own count and by the count of all.
TEST(SimulatedFaultTest, EveryKindOfOperationCanBeMadeToFail) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "x");
  auto file = MustOpen(disk, "file");
  auto mapping = *file->Map(1 << 20);
  char byte = 0;
  const std::vector<std::pair<SimulatedOperation, std::function<absl::Status()>>> operations = {
      {SimulatedOperation::kOpen, [&] { return disk.Open("file", OpenMode::kReadOnly).status(); }},
      {SimulatedOperation::kRead,
       [&] { return file->ReadAt(0, absl::MakeSpan(&byte, 1)).status(); }},
      {SimulatedOperation::kWrite, [&] { return file->WriteAt(0, "x"); }},
      {SimulatedOperation::kAllocate, [&] { return file->Allocate(100); }},
      {SimulatedOperation::kTruncate, [&] { return file->Truncate(200); }},
      {SimulatedOperation::kSize, [&] { return file->Size().status(); }},
      {SimulatedOperation::kSync, [&] { return file->Sync(); }},
      {SimulatedOperation::kMap, [&] { return file->Map(1 << 20).status(); }},
      {SimulatedOperation::kExtend, [&] { return mapping->Extend(1); }},
      {SimulatedOperation::kRename, [&] { return disk.Rename("file", "file"); }},
      {SimulatedOperation::kRemove,
       [&] {
         ALOS_CHECK_OK(disk.Open("gone", OpenMode::kCreate));
         return disk.Remove("gone");
       }},
      {SimulatedOperation::kCreateDirectories, [&] { return disk.CreateDirectories("/d"); }},
      {SimulatedOperation::kSyncDirectory, [&] { return disk.SyncDirectory("/"); }},
      {SimulatedOperation::kListDirectory, [&] { return disk.ListDirectory("/").status(); }},
      {SimulatedOperation::kExists, [&] { return disk.Exists("file").status(); }},
      {SimulatedOperation::kLock, [&] { return disk.LockFile("LOCK").status(); }},
      {SimulatedOperation::kPunchHole, [&] { return file->PunchHole(0, 4096); }},
  };
  ASSERT_EQ(operations.size(), kSimulatedOperationCount);
  for (const auto& [kind, operation] : operations) {
    SCOPED_TRACE(static_cast<int>(kind));
    const std::uint64_t before = disk.operation_count(kind);
    ASSERT_TRUE(operation().ok());
    ASSERT_EQ(disk.operation_count(kind), before + 1);
    disk.FailNth(kind, 2, absl::UnavailableError("injected"));
    EXPECT_TRUE(operation().ok());
    const absl::Status failed = operation();
    EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(failed.message()), HasSubstr(": injected"));
    EXPECT_TRUE(operation().ok()) << "once";
    disk.FailNth(kind, 1, absl::UnavailableError("injected"), SimulatedFault::kForever);
    EXPECT_FALSE(operation().ok());
    EXPECT_FALSE(operation().ok());
    disk.ClearFaults();
    EXPECT_TRUE(operation().ok());
  }
  const std::uint64_t before = disk.operation_count();
  disk.FailNth(2, absl::UnavailableError("injected"));
  EXPECT_TRUE(file->Size().ok());
  EXPECT_FALSE(disk.Exists("file").ok()) << "any kind counts";
  EXPECT_EQ(disk.operation_count(), before + 2);
}

TEST(SimulatedFaultTest, FailedOperationsChangeNothingButAWriteMayWriteAPart) {
  SimulatedFileSystem disk(3);
  StoreDurably(disk, "file", std::string(1000, 'o'));
  auto file = MustOpen(disk, "file");
  const absl::Status injected = absl::DataLossError("injected");
  disk.FailNth(1, injected, SimulatedFault::kForever);
  EXPECT_FALSE(file->Allocate(5000).ok());
  EXPECT_FALSE(file->Truncate(1).ok());
  EXPECT_FALSE(disk.Rename("file", "other").ok());
  EXPECT_FALSE(disk.Remove("file").ok());
  EXPECT_FALSE(disk.CreateDirectories("/d").ok());
  EXPECT_FALSE(disk.Open("new", OpenMode::kCreate).ok());
  disk.ClearFaults();
  EXPECT_EQ(Load(disk, "file"), std::string(1000, 'o'));
  EXPECT_THAT(*disk.ListDirectory("/"), testing::ElementsAre("file"));
  std::set<std::size_t> parts;
  for (int i = 0; i < 20; ++i) {
    ALOS_CHECK_OK(file->WriteAt(0, std::string(1000, 'o')));
    disk.FailNth(SimulatedOperation::kWrite, 1, injected);
    EXPECT_FALSE(file->WriteAt(0, std::string(1000, 'n')).ok());
    const std::string bytes = Load(disk, "file");
    parts.insert(bytes.find('o'));
  }
  EXPECT_GT(parts.size(), 5u);
}

TEST(SimulatedFaultTest, AFullDiskSaysSoAndWorksAgainWhenThereIsRoom) {
  SimulatedFileSystem disk(1);
  disk.SetCapacityBytes(10 * 4096);
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->Allocate(6 * 4096));
  EXPECT_EQ(disk.used_bytes(), 6u * 4096);
  ALOS_CHECK_OK(file->WriteAt(0, std::string(6 * 4096, 'x')));
  EXPECT_EQ(disk.used_bytes(), 6u * 4096) << "that space was set aside";
  auto other = MustOpen(disk, "other");
  const absl::Status full = other->Allocate(5 * 4096);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("free space"));
  EXPECT_EQ(*other->Size(), 0u);
  // A write takes what there is.
  EXPECT_EQ(other->WriteAt(0, std::string(5 * 4096, 'y')).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(*other->Size(), 4u * 4096);
  EXPECT_EQ(disk.used_bytes(), 10u * 4096);
  // Removing a file gives its space back when the last one who has it open is gone.
  ALOS_CHECK_OK(disk.Remove("file"));
  EXPECT_EQ(disk.used_bytes(), 10u * 4096);
  file.reset();
  EXPECT_EQ(disk.used_bytes(), 4u * 4096);
  ALOS_CHECK_OK(other->Allocate(5 * 4096));
  ALOS_CHECK_OK(other->Truncate(4096));
  EXPECT_EQ(disk.used_bytes(), 4096u);
  EXPECT_EQ(disk.Crash(kKeepAll)->used_bytes(), 4096u);
}

// A hole that was not synced may be there or not, sector by sector; a synced one is. Its space is
// free at once, and taken again by whoever writes there.
TEST(SimulatedFaultTest, HolesGiveSpaceBackAndAreDurableOnceSynced) {
  SimulatedFileSystem disk(3);
  disk.SetCapacityBytes(6 * 4096);
  auto file = *disk.Open("file", OpenMode::kCreate);
  ASSERT_TRUE(file->WriteAt(0, std::string(4 * 4096, 'x')).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  EXPECT_EQ(disk.used_bytes(), 4u * 4096);
  ASSERT_TRUE(file->PunchHole(4096, 2 * 4096).ok());
  EXPECT_EQ(disk.used_bytes(), 2u * 4096);
  bool any_old = false;
  bool any_zero = false;
  for (int i = 0; i < 50; ++i) {
    auto after = disk.Crash();
    const std::string bytes = Load(*after, "file");
    ASSERT_EQ(bytes.size(), 4u * 4096);
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      const bool in_hole = at >= 4096 && at < 3 * 4096;
      ASSERT_TRUE(bytes[at] == 'x' || (in_hole && bytes[at] == '\0')) << at;
      any_old = any_old || (in_hole && bytes[at] == 'x');
      any_zero = any_zero || bytes[at] == '\0';
    }
  }
  EXPECT_TRUE(any_old);
  EXPECT_TRUE(any_zero);
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(Load(*disk.Crash(), "file").substr(4096, 2 * 4096), std::string(2 * 4096, '\0'));
  EXPECT_EQ(disk.Crash()->used_bytes(), 2u * 4096);
  EXPECT_EQ(disk.unallocated_stores(), 0u);
  ASSERT_TRUE(file->WriteAt(4096, std::string(4096, 'y')).ok());
  EXPECT_EQ(disk.used_bytes(), 3u * 4096);
}

TEST(SimulatedFaultTest, StoresIntoHolesAreNoticed) {
  SimulatedFileSystem disk(1);
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(file->Allocate(4096));
  ALOS_CHECK_OK(file->Truncate(3 * 4096));
  auto mapping = *file->Map(1 << 20);
  mapping->data()[0] = 'x';
  ALOS_CHECK_OK(file->Sync());
  EXPECT_EQ(disk.unallocated_stores(), 0u);
  mapping->data()[2 * 4096] = 'x';
  ALOS_CHECK_OK(file->Sync());
  EXPECT_EQ(disk.unallocated_stores(), 1u);
}

TEST(SimulatedFaultTest, FlippedBitsAreReadAndStay) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", std::string(1000, '\0'));
  auto file = MustOpen(disk, "file");
  auto mapping = *file->Map(4096);
  disk.FlipBits("file", 7, 0x81);
  EXPECT_EQ(mapping->data()[7], '\x81');
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file")[7], '\x81');
  disk.FlipBits("file", 7, 0x81);
  const std::uint64_t offset = disk.FlipRandomBit("file");
  const std::string bytes = Load(disk, "file");
  ASSERT_LT(offset, bytes.size());
  EXPECT_NE(bytes[offset], '\0');
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), '\0'), 999);
}

// Calls `touch`; whether that raised SIGBUS.
sigjmp_buf before_touch;
bool RaisesSigbus(const std::function<void()>& touch) {
  struct sigaction action = {};
  struct sigaction old;
  action.sa_handler = [](int) { siglongjmp(before_touch, 1); };
  ALOS_CHECK(::sigaction(SIGBUS, &action, &old) == 0);
  const bool raised = sigsetjmp(before_touch, 1) != 0;
  if (!raised) touch();
  ALOS_CHECK(::sigaction(SIGBUS, &old, nullptr) == 0);
  return raised;
}

TEST(SimulatedFaultTest, LostBlocksFailToReadUntilTheyAreWritten) {
  SimulatedFileSystem disk(1);
  std::string bytes(4 * kBlock, 'x');
  StoreDurably(disk, "file", bytes);
  disk.SetUnreadable("file", kBlock + 10, kBlock);  // Blocks 1 and 2.
  auto after = disk.Crash();
  for (SimulatedFileSystem* each : {&disk, after.get()}) {
    auto file = MustOpen(*each, "file");
    char byte = 0;
    const auto read = [&](std::uint64_t at) {
      return file->ReadAt(at, absl::MakeSpan(&byte, 1)).status();
    };
    EXPECT_TRUE(read(kBlock - 1).ok());
    EXPECT_EQ(read(kBlock).code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(read(3 * kBlock - 1).code(), absl::StatusCode::kDataLoss);
    EXPECT_TRUE(read(3 * kBlock).ok());
    {
      auto mapping = *file->Map(1 << 20);
      const auto touch = [&](std::uint64_t at) {
        return RaisesSigbus(
            [&] { byte = *const_cast<const volatile char*>(mapping->data() + at); });
      };
      EXPECT_FALSE(touch(kBlock - 1));
      EXPECT_TRUE(touch(kBlock));
      EXPECT_TRUE(touch(3 * kBlock - 1));
      EXPECT_FALSE(touch(3 * kBlock));
      EXPECT_FALSE(file->WriteAt(kBlock, "y").ok()) << "the rest of the block is not known";
      ALOS_CHECK_OK(file->WriteAt(kBlock, std::string(kBlock, 'y')));
      EXPECT_FALSE(touch(kBlock));
      EXPECT_EQ(byte, 'y');
    }
    auto larger = *file->Map(std::uint64_t{4} << 30);
    EXPECT_TRUE(RaisesSigbus(
        [&] { byte = *const_cast<const volatile char*>(larger->data() + 2 * kBlock); }));
    ALOS_CHECK_OK(file->Sync());
    ALOS_CHECK_OK(file->WriteAt(2 * kBlock, std::string(kBlock, 'z')));
    ALOS_CHECK_OK(file->Sync());
  }
  bytes.replace(kBlock, 2 * kBlock, std::string(kBlock, 'y') + std::string(kBlock, 'z'));
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), bytes);
}

TEST(SimulatedFaultTest, ASectorMayKeepItsOldBytesOrGetThoseOfAnother) {
  for (const SimulatedSectorFault fault :
       {SimulatedSectorFault::kStale, SimulatedSectorFault::kMisdirected}) {
    SimulatedFileSystem disk(1);
    StoreDurably(disk, "file", std::string(4 * kSector, 'o'));
    auto file = MustOpen(disk, "file");
    ALOS_CHECK_OK(file->WriteAt(kSector, std::string(2 * kSector, 'n')));
    const std::uint64_t written = disk.sector_write_count();
    disk.FailNthSectorWrite(2, fault);
    EXPECT_TRUE(file->Sync().ok()) << "nobody is told";
    EXPECT_TRUE(file->Sync().ok());
    EXPECT_EQ(disk.sector_write_count(), written + 2);
    EXPECT_EQ(Load(disk, "file"), std::string(kSector, 'o') + std::string(2 * kSector, 'n') +
                                      std::string(kSector, 'o'));
    const std::string found = Load(*disk.Crash(kLoseAll), "file");
    EXPECT_EQ(found.size(), 4 * kSector);
    EXPECT_EQ(found[2 * kSector], 'o');
    EXPECT_EQ(std::count(found.begin(), found.end(), 'n'),
              found[0] == 'o' && found[3 * kSector] == 'o' ? kSector : 2 * kSector);
    if (fault == SimulatedSectorFault::kStale) {
      EXPECT_EQ(found[kSector], 'n');
    }
  }
}

TEST(SimulatedFaultTest, OldAndForeignBytesCanBePutAnywhere) {
  SimulatedFileSystem disk(1);
  StoreDurably(disk, "file", "first ");
  const std::string old = disk.DurableContents("file");
  StoreDurably(disk, "file", "second");
  EXPECT_EQ(disk.DurableContents("file"), "second");
  disk.Overwrite("file", 0, old);
  EXPECT_EQ(Load(disk, "file"), "first ");
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), "first ");
  EXPECT_THAT(disk.Names("/"), testing::ElementsAre("file"));
}

TEST(SimulatedCrashTest, BlocksSurviveOrTearAsAWhole) {
  std::set<std::size_t> cuts;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    for (const bool tears : {false, true}) {
      SimulatedFileSystem disk(seed);
      StoreDurably(disk, "file", std::string(2 * kBlock, 'o'));
      ALOS_CHECK_OK(MustOpen(disk, "file")->WriteAt(0, std::string(2 * kBlock, 'n')));
      const std::string found =
          Load(*disk.Crash({.unit_bytes = kBlock, .tear_sectors = tears}), "file");
      for (std::size_t block = 0; block < 2; ++block) {
        const std::string bytes = found.substr(block * kBlock, kBlock);
        const std::size_t cut = std::min(bytes.find('o'), kBlock);
        EXPECT_EQ(bytes, std::string(cut, 'n') + std::string(kBlock - cut, 'o'));
        if (tears) {
          cuts.insert(cut);
        } else {
          EXPECT_TRUE(cut == 0 || cut == kBlock) << cut;
        }
      }
    }
  }
  EXPECT_GT(cuts.size(), 20u);
}

TEST(SimulatedFileSystemTest, AnObserverMayCrashTheDiskBeforeEveryOperation) {
  SimulatedFileSystem disk(1);
  std::vector<std::string> before;
  disk.SetObserver([&](SimulatedOperation kind, const std::string& path) {
    if (kind == SimulatedOperation::kSync) before.push_back(Load(*disk.Crash(kLoseAll), path));
  });
  auto file = MustOpen(disk, "file");
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
  for (const char* text : {"1", "2", "3"}) {
    ALOS_CHECK_OK(file->WriteAt(0, text));
    ALOS_CHECK_OK(file->Sync());
  }
  EXPECT_THAT(before, testing::ElementsAre("", "1", "2"));
}

TEST(SimulatedFileSystemTest, FileGrowsWhileItIsMappedAndIsMappedLargerLater) {
  SimulatedFileSystem disk(1);
  auto file = MustOpen(disk, "file");
  auto small = *file->Map(4096);
  ALOS_CHECK_OK(file->Allocate(10 << 20));
  ALOS_CHECK_OK(small->Extend(4096));
  small->data()[4095] = 'x';
  small.reset();
  auto large = file->Map(std::uint64_t{4} << 30);
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_EQ((*large)->mapped_bytes(), 10u << 20);
  EXPECT_EQ((*large)->data()[4095], 'x');
}

TEST(SimulatedFileSystemTest, PathsAreNormalised) {
  SimulatedFileSystem disk(1);
  ALOS_CHECK_OK(disk.CreateDirectories("a//b/./c/"));
  StoreDurably(disk, "/a/b/file", "x");
  EXPECT_EQ(Load(disk, "a/./b//file"), "x");
  EXPECT_EQ(disk.Rename("/a", "/a/b/a").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(disk.Remove("/").ok());
  EXPECT_TRUE(*disk.Exists("/"));
}

// A writer that stores through a mapping while another thread syncs and a third loses power: what
// an engine does all the time.
TEST(SimulatedFileSystemTest, ThreadsStoreSyncAndCrashAtOnce) {
  SimulatedFileSystem disk(1);
  auto file = MustOpen(disk, "file");
  constexpr std::size_t kSize = 64 * 1024;
  ALOS_CHECK_OK(file->Allocate(kSize));
  ALOS_CHECK_OK(file->Sync());
  ALOS_CHECK_OK(disk.SyncDirectory("/"));
  auto mapping = *file->Map(kSize);
  std::atomic<bool> stop{false};
  std::thread syncer([&] {
    while (!stop) ALOS_CHECK_OK(file->Sync());
  });
  std::thread crasher([&] {
    while (!stop) {
      const std::string bytes = Load(*disk.Crash(), "file");
      EXPECT_EQ(bytes.size(), kSize);
    }
  });
  for (std::size_t i = 0; i < kSize; ++i) mapping->data()[i] = static_cast<char>(i * 7 + 1);
  stop = true;
  syncer.join();
  crasher.join();
  ALOS_CHECK_OK(file->Sync());
  EXPECT_EQ(Load(*disk.Crash(kLoseAll), "file"), std::string(mapping->data(), kSize));
}

}  // namespace
}  // namespace alos
