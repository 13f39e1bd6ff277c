// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/journal.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "alos/base/posix_file_system.h"
#include "gtest/gtest.h"

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

}  // namespace
}  // namespace alos
