// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/journal.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/base/posix_file_system.h"
#include "alos/base/status_macros.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

class JournalTest : public testing::Test {
 protected:
  JournalTest()
      : directory_(absl::StrCat(testing::TempDir(), "/",
                                testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directory(directory_);
    id_.fill('j');
  }

  void Create(std::uint64_t sequence, std::uint64_t base_lsn) {
    auto segment = JournalSegment<PosixFileSystem>::Create(files_, directory_, id_, sequence,
                                                           1000 + sequence, base_lsn);
    ASSERT_TRUE(segment.ok()) << segment.status();
    segment_ = *std::move(segment);
  }

  // Writes a group with a record for each of `bodies`; LSNs go on from the last.
  void Write(const std::vector<std::string>& bodies) {
    JournalGroup group;
    for (const std::string& body : bodies)
      group.Add(++lsn_, {static_cast<std::uint32_t>(lsn_ % 3), 77, 512 + 8 * lsn_, body});
    starts_.push_back(segment_->size_bytes());
    ASSERT_TRUE(segment_->Append(group, lsn_ - bodies.size()).ok());
  }

  absl::StatusOr<JournalRecovery> Replay() {
    replayed_.clear();
    return ReplayJournal(files_, directory_, id_, [&](const CommitRecord& record) {
      EXPECT_EQ(record.generation, 77u);
      replayed_.emplace_back(record.bytes);
      return absl::OkStatus();
    });
  }

  std::string Path(std::uint64_t sequence) const {
    return absl::StrCat(directory_, "/", JournalFileName(sequence));
  }
  // Puts a group with this body there: its checksum holds, whatever its entries say.
  void WriteGroup(std::uint64_t sequence, std::uint64_t offset, std::uint32_t entries,
                  std::string_view body) {
    std::string group(JournalGroup::kHeaderSize, '\0');
    group.append(body);
    const std::uint64_t size = group.size();
    std::memcpy(group.data(), "AGRP", 4);
    std::memcpy(group.data() + 8, &size, 8);
    std::memcpy(group.data() + 40, &entries, 4);
    const std::uint32_t checksum = JournalGroup::Checksum(group, 1000 + sequence, offset);
    std::memcpy(group.data() + 4, &checksum, 4);
    std::fstream file(Path(sequence), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file << group;
  }
  static std::string Entry(std::uint32_t size, std::string_view bytes) {
    std::string entry(24, '\0');
    const std::uint64_t generation = 77;
    std::memcpy(entry.data() + 4, &size, 4);
    std::memcpy(entry.data() + 8, &generation, 8);
    return entry.append(bytes);
  }
  std::vector<std::string> Salvage() {
    std::vector<std::string> salvaged;
    EXPECT_TRUE(SalvageJournal(files_, directory_, [&](const CommitRecord& record) {
                  salvaged.emplace_back(record.bytes);
                  return absl::OkStatus();
                }).ok());
    return salvaged;
  }

  void WriteByte(std::uint64_t sequence, std::uint64_t offset, char byte) {
    std::fstream file(Path(sequence), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
  }

  PosixFileSystem files_;
  DatabaseId id_;
  std::string directory_;
  std::unique_ptr<JournalSegment<PosixFileSystem>> segment_;
  std::uint64_t lsn_ = 0;
  std::vector<std::uint64_t> starts_;
  std::vector<std::string> replayed_;
};

TEST_F(JournalTest, GroupsComeBackInOrderFromAllSegments) {
  Create(1, 0);
  Write({"one", "two"});
  Write({std::string(10000, 'x')});
  Create(2, lsn_);
  Write({"four"});
  const auto recovery = Replay();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(replayed_, (std::vector<std::string>{"one", "two", std::string(10000, 'x'), "four"}));
  EXPECT_TRUE(recovery->found);
  EXPECT_EQ(recovery->last_lsn, 4u);
  EXPECT_EQ(recovery->groups, 3u);
  // Reading changes nothing: a crash during recovery is just another crash.
  ASSERT_TRUE(Replay().ok());
  EXPECT_EQ(replayed_.size(), 4u);
}

TEST_F(JournalTest, NoJournalIsACleanStart) {
  const auto recovery = Replay();
  ASSERT_TRUE(recovery.ok());
  EXPECT_FALSE(recovery->found);
}

TEST_F(JournalTest, AnEmptySegmentStillSaysWhatWasAcknowledged) {
  Create(1, 17);
  const auto recovery = Replay();
  ASSERT_TRUE(recovery.ok());
  EXPECT_TRUE(recovery->found);
  EXPECT_EQ(recovery->last_lsn, 17u);
}

TEST_F(JournalTest, ATornLastGroupIsCut) {
  Create(1, 0);
  Write({"one"});
  Write({std::string(9000, 'y')});
  WriteByte(1, starts_[1] + 8192, '?');
  const auto recovery = Replay();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(replayed_, std::vector<std::string>{"one"});
  EXPECT_EQ(recovery->last_lsn, 1u);
  EXPECT_GT(recovery->torn_bytes, 0u);
}

// A group is only written after the one before it was flushed, so this one had been acknowledged.
TEST_F(JournalTest, ADamagedGroupWithAGoodOneBehindItIsCorruption) {
  Create(1, 0);
  Write({"one"});
  Write({"two"});
  WriteByte(1, starts_[0] + 60, '?');
  const absl::Status status = Replay().status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_NE(status.message().find("journal.000001: offset 4096"), std::string::npos) << status;
}

TEST_F(JournalTest, ADamagedGroupBeforeALaterSegmentIsCorruption) {
  Create(1, 0);
  Write({"one"});
  Create(2, lsn_);
  WriteByte(1, starts_[0] + 60, '?');
  EXPECT_TRUE(absl::IsDataLoss(Replay().status()));
}

TEST_F(JournalTest, ACrashWhileASegmentIsMadeIsHarmless) {
  Create(1, 0);
  Write({"one"});
  std::ofstream(Path(2)) << "ALOSJNL1 and then power was gone";
  const auto recovery = Replay();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(replayed_, std::vector<std::string>{"one"});
}

TEST_F(JournalTest, AnotherDatabasesJournalIsRefused) {
  Create(1, 0);
  Write({"one"});
  id_.fill('k');
  EXPECT_TRUE(absl::IsFailedPrecondition(Replay().status()));
}

// Every byte of a two-group journal flipped in turn: replay gives a prefix of what was written, or
// an error; and an acknowledged group with something behind it is never lost in silence.
TEST_F(JournalTest, EveryFlippedByteIsHandled) {
  Create(1, 0);
  Write({"first"});
  Write({"second"});
  const std::uint64_t end = segment_->size_bytes();
  std::string content(end, '\0');
  std::ifstream(Path(1), std::ios::binary).read(content.data(), static_cast<std::streamsize>(end));
  // All bytes that mean something, and some of the padding.
  const auto is_padding = [&](std::uint64_t offset) {
    return content[offset] == 0 && offset % 4096 > 256;
  };
  for (std::uint64_t offset = 0; offset < end; offset += is_padding(offset) ? 97 : 1) {
    WriteByte(1, offset, static_cast<char>(content[offset] ^ 0x20));
    const auto recovery = Replay();
    if (recovery.ok()) {
      ASSERT_GE(replayed_.size(), 1u) << offset;
      EXPECT_EQ(replayed_[0], "first") << offset;
      EXPECT_TRUE(replayed_.size() == 1 || replayed_[1] == "second") << offset;
    } else {
      EXPECT_TRUE(absl::IsDataLoss(recovery.status()) ||
                  absl::IsFailedPrecondition(recovery.status()))
          << recovery.status();
    }
    WriteByte(1, offset, content[offset]);
  }
}

TEST_F(JournalTest, GroupsAreWholeBlocks) {
  Create(1, 0);
  Write({"x"});
  EXPECT_EQ(segment_->size_bytes() % kJournalBlockSize, 0u);
}

TEST_F(JournalTest, ASegmentMayEndWithItsLastGroup) {
  Create(1, 0);
  Write({"one"});
  std::filesystem::resize_file(Path(1), segment_->size_bytes());
  const auto recovery = Replay();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(replayed_, std::vector<std::string>{"one"});
  EXPECT_EQ(recovery->torn_bytes, 0u);
}

TEST_F(JournalTest, OtherNamesAreNoSegments) {
  Create(3, 0);
  for (const char* name : {"journal.old", "journal", "manifest"})
    std::ofstream(absl::StrCat(directory_, "/", name)) << "something";
  EXPECT_EQ(*ListJournal(files_, directory_), std::vector<std::uint64_t>{3});
}

TEST_F(JournalTest, ADamagedSegmentHeaderIsCorruptionUnlessNothingWasWrittenBehindIt) {
  Create(1, 5);
  WriteByte(1, 20, '?');
  {  // The last segment, and no group in it.
    const auto recovery = Replay();
    ASSERT_TRUE(recovery.ok()) << recovery.status();
    EXPECT_FALSE(recovery->found);
    EXPECT_GT(recovery->torn_bytes, 0u);
  }
  Create(1, 5);
  Write({"one"});
  Write({"two"});
  WriteByte(1, 20, '?');
  absl::Status status = Replay().status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "groups follow it")) << status;
  Create(2, lsn_);
  status = Replay().status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "later segments exist")) << status;
}

// What is not zero behind the groups of a segment that has a later one was acknowledged.
TEST_F(JournalTest, ATornGroupBeforeALaterSegmentIsCorruption) {
  Create(1, 0);
  Write({"one"});
  WriteByte(1, segment_->size_bytes() + 100, '?');
  EXPECT_TRUE(Replay().ok());
  Create(2, lsn_);
  const absl::Status status = Replay().status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "with a later segment behind it")) << status;
}

// The size of the file survived a loss of power in part.
TEST_F(JournalTest, ASegmentMayEndInTheMiddleOfAGroupsHeader) {
  Create(1, 0);
  Write({"one"});
  Write({"two"});
  for (const std::uint64_t size : {starts_[1] + 10, starts_[1] + 60}) {
    std::filesystem::resize_file(Path(1), size);
    const auto recovery = Replay();
    ASSERT_TRUE(recovery.ok()) << recovery.status();
    EXPECT_EQ(replayed_, std::vector<std::string>{"one"});
    EXPECT_GT(recovery->torn_bytes, 0u);
    EXPECT_LE(recovery->torn_bytes, size - starts_[1]);
    EXPECT_EQ(Salvage(), std::vector<std::string>{"one"});
  }
}

TEST_F(JournalTest, EntriesThatDoNotFitAreCorruptionAlthoughTheChecksumHolds) {
  const std::string whole = Entry(8, "12345678");
  for (const std::string& rest : {std::string("too short"), Entry(9, "12345678")}) {
    Create(1, 0);
    WriteGroup(1, 4096, 2, whole + rest);
    const absl::Status status = Replay().status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "entries do not fit")) << status;
    EXPECT_EQ(Salvage(), std::vector<std::string>{"12345678"}) << "what does fit is kept";
  }
}

TEST_F(JournalTest, SizesThatCannotBeAreNoGroups) {
  Create(1, 0);
  Write({"one"});
  for (const std::uint64_t size : {std::uint64_t{47}, std::uint64_t{1} << 40}) {
    std::fstream file(Path(1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(segment_->size_bytes()));
    file << "AGRP????" << std::string(reinterpret_cast<const char*>(&size), 8);
    file.close();
    ASSERT_TRUE(Replay().ok());
    EXPECT_EQ(replayed_, std::vector<std::string>{"one"});
  }
}

TEST_F(JournalTest, WhatTheReaderDoesNotTakeEndsTheReplay) {
  Create(1, 0);
  Write({"one", "two"});
  const auto refuse = [](const CommitRecord&) { return absl::ResourceExhaustedError("no more"); };
  EXPECT_EQ(ReplayJournal(files_, directory_, id_, refuse).status(),
            absl::ResourceExhaustedError("no more"));
  EXPECT_EQ(SalvageJournal(files_, directory_, refuse), absl::ResourceExhaustedError("no more"));
}

TEST_F(JournalTest, SalvageTakesEveryGroupThatChecks) {
  Create(1, 0);
  Write({"one"});
  Write({std::string(5000, 'x')});
  Write({"three", "four"});
  std::ofstream(Path(2)) << "too small to be one";
  WriteByte(1, starts_[1] + 60, '?');
  EXPECT_TRUE(absl::IsDataLoss(Replay().status()));
  EXPECT_EQ(Salvage(), (std::vector<std::string>{"one", "three", "four"}));
}

// --- Errors of the file system.

const DatabaseId kId{};

// Makes the n-th operation fail, for every n until there are no more: `prepare` makes what must be
// there, `run` has to return that error, and the next one has to succeed on the same disk.
template <class Prepare, class Run>
int EveryCallFails(Prepare&& prepare, Run&& run) {
  for (int n = 1;; ++n) {
    SimulatedFileSystem disk(static_cast<std::uint64_t>(n));
    EXPECT_TRUE(disk.CreateDirectories("db").ok());
    prepare(disk);
    disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
    const std::uint64_t before = disk.operation_count();
    const absl::Status status = run(disk);
    if (disk.operation_count() - before < static_cast<std::uint64_t>(n)) {
      EXPECT_TRUE(status.ok()) << status;
      return n - 1;
    }
    EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO"))
        << "call " << n << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "db")) << "it names the place: " << status;
    disk.ClearFaults();
    EXPECT_TRUE(run(disk).ok()) << "after call " << n;
  }
}

using SimulatedSegment = JournalSegment<SimulatedFileSystem>;

absl::Status MakeSegment(SimulatedFileSystem& disk, std::uint64_t sequence,
                         std::vector<std::string> bodies) {
  ALOS_ASSIGN_OR_RETURN(auto segment,
                        SimulatedSegment::Create(disk, "db", kId, sequence, 7 + sequence, 0));
  JournalGroup group;
  for (const std::string& body : bodies) {
    group.Clear();
    EXPECT_TRUE(group.empty());
    group.Add(1, {0, 77, 512, body});
    EXPECT_FALSE(group.empty());
    ALOS_RETURN_IF_ERROR(segment->Append(group, 0));
  }
  return absl::OkStatus();
}

TEST(JournalFaultTest, AnErrorOfMakingASegmentIsReturned) {
  // Open, truncate, allocate, write, sync, sync of the directory.
  EXPECT_EQ(EveryCallFails([](SimulatedFileSystem&) {},
                           [](SimulatedFileSystem& disk) { return MakeSegment(disk, 1, {}); }),
            6);
}

TEST(JournalFaultTest, AnErrorOfAppendingIsReturned) {
  // Of a large group the space is taken first, too.
  const std::string large(300 << 10, 'x');
  EXPECT_EQ(EveryCallFails([](SimulatedFileSystem&) {},
                           [&](SimulatedFileSystem& disk) {
                             return MakeSegment(disk, 1, {"small", large});
                           }),
            6 + 2 + 3);
}

TEST(JournalFaultTest, AFullDiskLeavesTheSegmentAsItWas) {
  SimulatedFileSystem disk(1);
  ASSERT_TRUE(disk.CreateDirectories("db").ok());
  auto segment = *SimulatedSegment::Create(disk, "db", kId, 1, 8, 0);
  disk.SetCapacityBytes(disk.used_bytes());
  JournalGroup group;
  group.Add(1, {0, 77, 512, std::string(300 << 10, 'x')});
  const std::uint64_t size = segment->size_bytes();
  EXPECT_TRUE(absl::IsResourceExhausted(segment->Reserve(group)));
  EXPECT_EQ(segment->size_bytes(), size);
  disk.SetCapacityBytes(64 << 20);
  EXPECT_TRUE(segment->Append(group, 0).ok());
  EXPECT_GT(segment->size_bytes(), size);
}

TEST(JournalFaultTest, AnErrorOfReadingIsReturned) {
  const auto prepare = [](SimulatedFileSystem& disk) {
    ASSERT_TRUE(MakeSegment(disk, 1, {"one"}).ok());
    ASSERT_TRUE(MakeSegment(disk, 2, {"two"}).ok());
  };
  const auto take = [](const CommitRecord&) { return absl::OkStatus(); };
  // The directory; open, size and read of each.
  EXPECT_EQ(EveryCallFails(prepare,
                           [&](SimulatedFileSystem& disk) {
                             return ReplayJournal(disk, "db", kId, take).status();
                           }),
            7);
  EXPECT_EQ(
      EveryCallFails(prepare,
                     [&](SimulatedFileSystem& disk) { return SalvageJournal(disk, "db", take); }),
      7);
}

// The newest goes last, and not before the others are gone for good.
TEST(JournalFaultTest, RemovingStopsAtAnErrorAndLeavesTheNewest) {
  for (int n = 1; n <= 6; ++n) {
    SimulatedFileSystem disk(1);
    ASSERT_TRUE(disk.CreateDirectories("db").ok());
    for (const std::uint64_t sequence : {1, 2, 3})
      ASSERT_TRUE(MakeSegment(disk, sequence, {}).ok());
    disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
    const absl::Status status = RemoveJournal(disk, "db", {1, 2, 3});
    // Two removed, synced, the third removed, synced.
    EXPECT_EQ(status.ok(), n == 6) << n << ": " << status;
    const std::vector<std::string> names = disk.Names("db");
    const std::vector<std::size_t> left = {3, 2, 1, 1, 0, 0};
    EXPECT_EQ(names.size(), left[static_cast<std::size_t>(n) - 1]) << n;
    if (!names.empty()) {
      EXPECT_EQ(names.back(), "journal.000003");
    }
  }
  SimulatedFileSystem disk(1);
  ASSERT_TRUE(disk.CreateDirectories("db").ok());
  disk.FailNth(1, absl::DataLossError("simulated EIO"));
  EXPECT_TRUE(RemoveJournal(disk, "db", {}).ok()) << "nothing to do";
}

}  // namespace
}  // namespace alos
