// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/shard_log.h"

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <random>
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

using Log = BasicShardLog<PosixFileSystem>;
constexpr std::uint64_t kForever = std::numeric_limits<std::uint64_t>::max();

class ShardLogTest : public testing::Test {
 protected:
  ShardLogTest()
      : path_(absl::StrCat(testing::TempDir(), "/",
                           testing::UnitTest::GetInstance()->current_test_info()->name(), ".db")) {
    identity_.shard = 5;
    identity_.database_id.fill('d');
    std::remove(path_.c_str());
  }

  void Create() { log_ = *Log::Create(files_, path_, identity_, 42, &epochs_); }

  // Appends a document and returns its offset.
  std::uint64_t Append(std::string_view id, std::string_view body,
                       RecordKind kind = RecordKind::kPut, std::uint64_t previous = 0) {
    RecordHeader header{};
    header.kind = kind;
    header.collection = 1;
    header.previous_offset = previous;
    header.raw_body_size = static_cast<std::uint32_t>(body.size());
    const auto prepared = log_->Prepare(header, id, body, Crc32c(body));
    EXPECT_TRUE(prepared.ok()) << prepared.status();
    log_->Seal(*prepared, ++timestamp_);
    log_->Publish();
    return prepared->offset;
  }
  std::uint64_t AppendMark(std::uint64_t durable_end) {
    return Append({}, {}, RecordKind::kDurableMark, durable_end);
  }

  absl::StatusOr<LogRecovery> Reopen(std::uint64_t from = Log::kFirstRecordOffset,
                                     std::uint64_t durable_end = 0,
                                     std::uint64_t timestamp_max = kForever) {
    log_.reset();
    ALOS_ASSIGN_OR_RETURN(log_, Log::Open(files_, path_, identity_, &epochs_));
    recovered_.clear();
    return log_->Recover(from, durable_end, timestamp_max,
                         [&](std::uint64_t, const RecordView& record) {
                           if (record.header().kind == RecordKind::kPut)
                             recovered_.emplace_back(record.id());
                         });
  }

  void WriteByte(std::uint64_t offset, char byte) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
  }

  PosixFileSystem files_;
  EpochManager epochs_;
  ShardIdentity identity_;
  std::string path_;
  std::unique_ptr<Log> log_;
  std::uint64_t timestamp_ = 0;
  std::vector<std::string> recovered_;
};

TEST_F(ShardLogTest, WhatWasAppendedIsThereAfterReopening) {
  Create();
  std::vector<std::string> ids;
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    ids.push_back(absl::StrCat("id", i));
    Append(ids.back(), std::string(random() % 700, static_cast<char>('a' + i % 26)));
  }
  const std::uint64_t end = log_->end();
  const auto recovery = Reopen();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovered_, ids);
  EXPECT_EQ(recovery->records, 2000u);
  EXPECT_EQ(recovery->torn_bytes, 0u);
  EXPECT_TRUE(recovery->damaged.empty());
  EXPECT_EQ(log_->end(), end);
}

TEST_F(ShardLogTest, RecoveryCanBeginAtACheckpoint) {
  Create();
  Append("a", "1");
  const std::uint64_t checkpoint = log_->end();
  Append("b", "2");
  ASSERT_TRUE(Reopen(checkpoint).ok());
  EXPECT_EQ(recovered_, std::vector<std::string>{"b"});
}

// Power was lost before the size of the file was durable.
TEST_F(ShardLogTest, AFileMayEndWhereNoRecordCanBegin) {
  for (const std::uint64_t size : {100u, 511u, 1512u, 1530u}) {
    std::remove(path_.c_str());
    Create();
    Append("a", std::string(951, 'x'));  // [512, 1512): the next one begins at 1536
    ASSERT_EQ(log_->end(), 1536u);
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(size)), 0);
    ASSERT_TRUE(Reopen().ok());
    const std::vector<std::string> left = recovered_;
    EXPECT_EQ(left.size(), size < 1512 ? 0u : 1u);
    EXPECT_EQ(Append("b", "1"), size < 1512 ? 512u : 1536u);
    Append("c", "2");
    const auto recovery = Reopen();
    ASSERT_TRUE(recovery.ok());
    EXPECT_TRUE(recovery->damaged.empty());
    EXPECT_EQ(recovered_.size(), left.size() + 2) << size;
  }
}

// The device loses the page that is being written to. (Cutting the file off has the same effect.)
TEST_F(ShardLogTest, WhatCannotReachTheFileIsRefused) {
  Create();
  Append("a", std::string(3000, 'x'));
  ASSERT_TRUE(log_->Sync().ok());
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  RecordHeader header{};
  header.kind = RecordKind::kPut;
  EXPECT_EQ(log_->Prepare(header, "b", "1", Crc32c("1")).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_FALSE(log_->Sync().ok());
  EXPECT_EQ(log_->Sync().code(), absl::StatusCode::kUnavailable) << "the first failure is final";
}

// A write that was interrupted at any byte is cut, and the log goes on from there.
TEST_F(ShardLogTest, ATornTailIsCutAtEveryLength) {
  Create();
  Append("first", "stays");
  const std::uint64_t start = log_->end();
  const std::string body(100, 'x');
  Append("second", body);
  const std::string record(log_->At(start), log_->end() - start);
  for (std::size_t kept = 0; kept < kRecordHeaderSize + 6 + body.size(); ++kept) {
    std::string torn = record;
    std::fill(torn.begin() + static_cast<std::ptrdiff_t>(kept), torn.end(), '\0');
    ASSERT_TRUE(log_->Restore(start, torn).ok());
    const auto recovery = Reopen();
    ASSERT_TRUE(recovery.ok());
    EXPECT_EQ(recovered_, std::vector<std::string>{"first"}) << kept;
    EXPECT_TRUE(recovery->damaged.empty()) << kept;
    EXPECT_EQ(log_->end(), start);
    for (std::size_t i = 0; i < torn.size(); ++i) ASSERT_EQ(log_->At(start)[i], 0);
  }
  Append("third", "goes on");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(recovered_, (std::vector<std::string>{"first", "third"}));
}

// The same damage is corruption when something later says that it had been durable.
TEST_F(ShardLogTest, DamageBelowADurableMarkIsCorruption) {
  Create();
  Append("a", "1");
  const std::uint64_t b = Append("b", "22222222");
  const std::uint64_t end = log_->end();
  Append("c", "3");
  AppendMark(end);
  WriteByte(b + kRecordHeaderSize + 3, '?');  // in the body
  const auto recovery = Reopen();
  ASSERT_TRUE(recovery.ok());
  EXPECT_EQ(recovered_, (std::vector<std::string>{"a", "c"}));
  ASSERT_EQ(recovery->damaged.size(), 1u);
  EXPECT_EQ(recovery->damaged[0].offset, b);
  ASSERT_TRUE(recovery->damaged[0].document.has_value());
  EXPECT_EQ(recovery->damaged[0].document->second, "b");
}

TEST_F(ShardLogTest, ADamagedHeaderBelowADurableMarkIsCorruptionOfAnUnknownDocument) {
  Create();
  Append("a", "1");
  const std::uint64_t b = Append("b", "22222222");
  const std::uint64_t c = Append("c", "3");
  AppendMark(log_->end());
  WriteByte(b + 9, '?');
  const auto recovery = Reopen();
  ASSERT_TRUE(recovery.ok());
  EXPECT_EQ(recovered_, (std::vector<std::string>{"a", "c"}));
  ASSERT_EQ(recovery->damaged.size(), 1u);
  EXPECT_EQ(recovery->damaged[0].offset, b);
  EXPECT_EQ(recovery->damaged[0].end, c);
  EXPECT_FALSE(recovery->damaged[0].document.has_value());
}

// Unflushed pages may reach the disk in any order: a good record behind a bad one proves nothing.
TEST_F(ShardLogTest, AGoodRecordBehindABadOneIsCutWhenNothingWasFlushed) {
  Create();
  Append("a", "1");
  const std::uint64_t b = Append("b", "22222222");
  Append("c", "3");
  WriteByte(b + kRecordHeaderSize + 3, '?');
  const auto recovery = Reopen();
  ASSERT_TRUE(recovery.ok());
  EXPECT_EQ(recovered_, std::vector<std::string>{"a"});
  EXPECT_TRUE(recovery->damaged.empty());
  EXPECT_GT(recovery->torn_bytes, 0u);
  // "c" must not come back when the log grows over its place.
  Append("b", "22222222");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(recovered_, (std::vector<std::string>{"a", "b"}));
}

TEST_F(ShardLogTest, DamageBelowTheKnownDurableEndIsCorruptionEvenAtTheEnd) {
  Create();
  Append("a", "1");
  const std::uint64_t b = Append("b", "22222222");
  const std::uint64_t end = log_->end();
  WriteByte(b + 9, '?');
  const auto recovery = Reopen(Log::kFirstRecordOffset, end);
  ASSERT_TRUE(recovery.ok());
  ASSERT_EQ(recovery->damaged.size(), 1u);
  EXPECT_GE(log_->end(), end) << "the damaged bytes must be kept";
}

TEST_F(ShardLogTest, RecordsNewerThanWhatWasAcknowledgedAreCut) {
  Create();
  Append("a", "1");
  Append("b", "2");
  Append("c", "3");
  const auto recovery = Reopen(Log::kFirstRecordOffset, 0, 2);
  ASSERT_TRUE(recovery.ok());
  EXPECT_EQ(recovered_, (std::vector<std::string>{"a", "b"}));
  EXPECT_GT(recovery->unacknowledged_bytes, 0u);
}

TEST_F(ShardLogTest, GarbageBehindTheEndIsATornTail) {
  Create();
  Append("a", "1");
  std::mt19937 random(7);
  std::string garbage(5000, '\0');
  for (char& c : garbage) c = static_cast<char>(random());
  ASSERT_TRUE(log_->Restore(log_->end(), garbage).ok());
  const auto recovery = Reopen();
  ASSERT_TRUE(recovery.ok());
  EXPECT_EQ(recovered_, std::vector<std::string>{"a"});
  EXPECT_TRUE(recovery->damaged.empty());
}

// Every byte of a small log flipped in turn: found, and never a wrong document served.
TEST_F(ShardLogTest, EveryFlippedByteIsDetected) {
  Create();
  const std::vector<std::string> ids = {"alpha", "beta", "gamma"};
  for (const std::string& id : ids) Append(id, absl::StrCat("body of ", id));
  AppendMark(log_->end());
  const std::uint64_t end = log_->end();
  for (std::uint64_t offset = 0; offset < end; ++offset) {
    const char old = *log_->At(offset);
    WriteByte(offset, static_cast<char>(old ^ 0x40));
    const auto recovery = Reopen();
    if (!recovery.ok()) {
      EXPECT_LT(offset, 44u) << recovery.status();
      EXPECT_TRUE(absl::IsDataLoss(recovery.status()) ||
                  absl::IsFailedPrecondition(recovery.status()));
      WriteByte(offset, old);
      ASSERT_TRUE(Reopen().ok());
      continue;
    }
    const bool detected = !recovery->damaged.empty() || recovery->torn_bytes != 0;
    if (recovered_ == ids && !detected) {
      // Only bytes that nothing lives in may go unseen: padding.
      EXPECT_TRUE(old == 0) << "offset " << offset;
    } else {
      EXPECT_TRUE(detected) << "offset " << offset;
    }
    WriteByte(offset, old);
    if (recovery->torn_bytes != 0) {  // it was cut and zeroed: write the log again
      log_.reset();
      timestamp_ = 0;
      Create();
      for (const std::string& id : ids) Append(id, absl::StrCat("body of ", id));
      AppendMark(log_->end());
    } else {
      ASSERT_TRUE(Reopen().ok());
    }
  }
}

TEST_F(ShardLogTest, AFileOfAnotherShardOrDatabaseIsRefused) {
  Create();
  Append("a", "1");
  identity_.shard = 6;
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopen().status())) << Reopen().status();
  identity_.shard = 5;
  identity_.database_id.fill('e');
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopen().status()));
}

TEST_F(ShardLogTest, DiscardedSpaceIsUsedAgain) {
  Create();
  RecordHeader header{};
  header.kind = RecordKind::kPut;
  ASSERT_TRUE(log_->Prepare(header, "lost", "body", 0).ok());
  log_->Discard();
  Append("kept", "body");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(recovered_, std::vector<std::string>{"kept"});
}

// A reader that holds a guard may go on reading where it was while the log outgrows its map.
TEST_F(ShardLogTest, AGrownMapLeavesOldPointersValid) {
  Create();
  Append("a", "first");
  const auto guard = epochs_.Enter();
  const char* before = log_->At(Log::kFirstRecordOffset);
  const std::string body(1 << 20, 'b');
  for (int i = 0; i < 100; ++i) Append(absl::StrCat("big", i), body);
  EXPECT_NE(before, log_->At(Log::kFirstRecordOffset))
      << "100 MiB were meant to outgrow the first map";
  EXPECT_EQ(RecordView(before).id(), "a");
}

// What is before the begin is given back; one of the two copies of where that is may be damaged.
TEST_F(ShardLogTest, ALogBeginsWhereItWasCompactedTo) {
  Create();
  std::vector<std::uint64_t> offsets;
  for (int i = 0; i < 100; ++i)
    offsets.push_back(Append(absl::StrCat("id", i), std::string(1000, 'x')));
  ASSERT_TRUE(log_->Sync().ok());
  std::uint64_t copies[2] = {0, 0};
  for (int step = 1; step <= 3; ++step) {
    const auto begin = static_cast<std::size_t>(step) * 30;
    log_->SetBegin(offsets[begin]);
    ASSERT_TRUE(log_->StoreBegin(1000 + begin).ok());
    const absl::StatusOr<std::uint64_t> back = log_->GiveBack(0, offsets[begin]);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, offsets[begin] / 4096 * 4096 - 4096);
    ASSERT_TRUE(Reopen(offsets[begin]).ok());
    EXPECT_EQ(log_->begin(), offsets[begin]);
    EXPECT_EQ(log_->stored_begin().complete_until, 1000 + begin);
    ASSERT_EQ(recovered_.size(), 100 - begin);
    EXPECT_EQ(recovered_.front(), absl::StrCat("id", begin));
  }
  // The space that comes next is set aside behind what there is, not in the hole.
  for (int i = 0; i < 100; ++i) Append("more", std::string(1000, 'y'));
  for (const std::uint64_t place : {64, 128}) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(place) + 9);
    copies[place / 128] = static_cast<std::uint64_t>(file.get());
    WriteByte(place + 9, static_cast<char>(copies[place / 128] ^ 1));
    ASSERT_TRUE(Reopen(offsets[90]).ok());
    EXPECT_EQ(log_->begin(), offsets[90]) << "with the copy at " << place << " damaged";
    WriteByte(place + 9, static_cast<char>(copies[place / 128]));
  }
  for (const std::uint64_t place : {64, 128})
    WriteByte(place + 9, static_cast<char>(copies[place / 128] ^ 1));
  EXPECT_TRUE(absl::IsDataLoss(Reopen(offsets[90]).status()));
}

TEST(ShardLogFaultTest, AFailedFlushIsFinal) {
  SimulatedFileSystem disk(1);
  EpochManager epochs;
  auto log = *BasicShardLog<SimulatedFileSystem>::Create(disk, "log", ShardIdentity(), 42, &epochs);
  ASSERT_TRUE(log->Sync().ok());
  disk.FailNth(SimulatedOperation::kSync, 1, absl::DataLossError("simulated EIO"));
  EXPECT_TRUE(absl::IsDataLoss(log->Sync()));
  EXPECT_TRUE(absl::IsUnavailable(log->Sync()))
      << "the disk may have forgotten what it failed to write";
}

TEST_F(ShardLogTest, ADocumentBeyondTheLimitIsRefusedAndTheLogGoesOn) {
  Create();
  RecordHeader header{};
  header.kind = RecordKind::kPut;
  // Nothing of it is looked at.
  const std::string_view body(log_->At(0), kRecordSizeMax);
  const absl::Status refused = log_->Prepare(header, "a", body, 0).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "exceeds the limit of 1073741824")) << refused;
  Append("b", "1");
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(recovered_, std::vector<std::string>{"b"});
}

TEST_F(ShardLogTest, ANewerFormatIsRefusedWithARemedy) {
  Create();
  Append("a", "1");
  ASSERT_TRUE(log_->Sync().ok());
  log_.reset();
  std::string header(44, '\0');
  std::ifstream(path_, std::ios::binary).read(header.data(), 44);
  header[8] = 2;
  const std::uint32_t checksum = Crc32c(std::string_view(header).substr(0, 40));
  std::memcpy(header.data() + 40, &checksum, 4);
  for (std::size_t i = 0; i < header.size(); ++i) WriteByte(i, header[i]);
  const absl::Status status = Reopen().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "format version 2")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "use a newer alos")) << status;
}

TEST_F(ShardLogTest, AFileWithoutAHeaderIsRefusedAndMadeNewWhereItMayBeLost) {
  for (const std::string_view content : {"", "ALOSLOG1 and then power was gone"}) {
    std::ofstream(path_, std::ios::trunc) << content;
    const absl::Status status = Reopen().status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    log_ = *Log::OpenUnflushed(files_, path_, identity_, 42, &epochs_);
    ASSERT_TRUE(
        log_->Recover(Log::kFirstRecordOffset, 0, kForever, [](std::uint64_t, const RecordView&) {})
            .ok());
    Append("a", "1");
    ASSERT_TRUE(Reopen().ok());
    EXPECT_EQ(recovered_, std::vector<std::string>{"a"});
  }
}

// A copy of the begin whose checksum holds, but which cannot be.
TEST_F(ShardLogTest, ABeginThatCannotBeIsADamagedCopy) {
  const auto begin = [&](std::uint64_t place, std::uint64_t sequence, std::uint64_t offset) {
    std::string bytes(28, '\0');
    std::memcpy(bytes.data(), &sequence, 8);
    std::memcpy(bytes.data() + 8, &offset, 8);
    const std::uint64_t generation = 42;
    const std::uint32_t checksum = Crc32c({reinterpret_cast<const char*>(&generation), 8},
                                          Crc32c(std::string_view(bytes).substr(0, 24)));
    std::memcpy(bytes.data() + 24, &checksum, 4);
    for (std::size_t i = 0; i < bytes.size(); ++i) WriteByte(place + i, bytes[i]);
  };
  Create();
  const std::uint64_t a = Append("a", "1");
  const std::uint64_t b = Append("b", "2");
  ASSERT_TRUE(log_->Sync().ok());
  const std::uint64_t size = log_->file_size();
  begin(128, 5, b);
  for (const std::uint64_t bad : {std::uint64_t{504}, b + 1, size + 8}) {
    begin(64, 6, bad);
    ASSERT_TRUE(Reopen(b).ok());
    EXPECT_EQ(log_->begin(), b) << "the other copy holds, with " << bad;
    EXPECT_EQ(recovered_, std::vector<std::string>{"b"});
  }
  begin(64, 4, a);
  ASSERT_TRUE(Reopen(b).ok());
  EXPECT_EQ(log_->begin(), b) << "the higher sequence holds";
  begin(128, 5, 504);
  begin(64, 6, b + 1);
  EXPECT_TRUE(absl::IsDataLoss(Reopen(b).status()));
}

TEST_F(ShardLogTest, WhatRepairPutsInPlaceIsAWholeRecord) {
  Create();
  const std::uint64_t a = Append("a", "aaaaaaaa");
  const std::uint64_t b = Append("b", "bbbbbbbb");
  const std::uint64_t c = Append("c", "cccccccc");
  const std::uint64_t end = log_->end();
  ASSERT_TRUE(log_->Sync().ok());
  RecordHeader header{};
  header.kind = RecordKind::kDelete;
  header.commit_timestamp = 2;
  header.collection = 1;
  log_->Overwrite(b, c - b, header, "b");
  header.kind = RecordKind::kAborted;
  log_->Overwrite(c, RecordView(log_->At(c)).header().size, header, "");
  log_->SetTransactionRecordCount(a, 3);
  ASSERT_TRUE(Reopen(Log::kFirstRecordOffset, end).ok());
  EXPECT_TRUE(log_->damaged().empty());
  EXPECT_EQ(recovered_, std::vector<std::string>{"a"});
  EXPECT_EQ(RecordView(log_->At(a)).header().transaction_record_count, 3u);
  EXPECT_EQ(RecordView(log_->At(b)).id(), "b");
  EXPECT_EQ(RecordView(log_->At(c)).id(), "");
  log_->MarkAborted(a);
  ASSERT_TRUE(Reopen(Log::kFirstRecordOffset, end).ok());
  EXPECT_TRUE(recovered_.empty());
}

TEST_F(ShardLogTest, RecordsAreFoundByTheirGeneration) {
  Create();
  EXPECT_FALSE(Log::HasRecords({log_->At(0), log_->file_size()}, 42));
  Append("a", "1");
  const std::string_view file(log_->At(0), log_->file_size());
  EXPECT_TRUE(Log::HasRecords(file, 42));
  EXPECT_FALSE(Log::HasRecords(file, 43));
  EXPECT_FALSE(Log::HasRecords(file.substr(0, 44), 42));
  EXPECT_EQ(Log::FileHeader(identity_, 42), file.substr(0, Log::kFirstRecordOffset));
}

TEST_F(ShardLogTest, WhatWasSetAsideIsGivenBack) {
  Create();
  Append("a", std::string(3000, 'x'));
  EXPECT_EQ(*log_->GiveSpareBack(), 0u) << "there is only a little";
  for (int i = 0; i < 20; ++i) Append("b", std::string(30'000, 'y'));
  EXPECT_GT(*log_->GiveSpareBack(), 0u);
  EXPECT_EQ(*log_->GiveSpareBack(), 0u);
  EXPECT_EQ(*log_->GiveBack(0, Log::kFirstRecordOffset), 0u) << "no whole block";
  // The log takes it again.
  for (int i = 0; i < 20; ++i) Append("c", std::string(30'000, 'z'));
  ASSERT_TRUE(Reopen().ok());
  EXPECT_EQ(recovered_.size(), 41u);
}

// Damage in several places behind each other, below a mark in what follows them.
TEST_F(ShardLogTest, EachOfSeveralDamagesIsAnExtentOfItsOwn) {
  Create();
  std::vector<std::uint64_t> offsets;
  for (int i = 0; i < 6; ++i) offsets.push_back(Append(absl::StrCat("id", i), "12345678"));
  AppendMark(log_->end());
  const std::uint64_t mark = Append("after", "the mark");
  WriteByte(offsets[1] + 9, '?');                      // a header
  WriteByte(offsets[3] + kRecordHeaderSize + 4, '?');  // a body
  WriteByte(mark + 9, '?');                            // behind the mark: a torn tail
  Append("last", "proves nothing");
  const auto recovery = Reopen();
  ASSERT_TRUE(recovery.ok());
  ASSERT_EQ(recovery->damaged.size(), 2u);
  EXPECT_EQ(recovery->damaged[0].offset, offsets[1]);
  EXPECT_EQ(recovery->damaged[0].timestamp_min, 1u);
  EXPECT_EQ(recovery->damaged[0].timestamp_max, 3u);
  EXPECT_EQ(recovery->damaged[1].offset, offsets[3]);
  EXPECT_EQ(recovery->damaged[1].document->second, "id3");
  EXPECT_EQ(log_->end(), mark);
  EXPECT_GT(recovery->torn_bytes, 0u);
  EXPECT_EQ(recovered_, (std::vector<std::string>{"id0", "id2", "id4", "id5"}));
}

// --- Errors of the file system.

using SimulatedLog = BasicShardLog<SimulatedFileSystem>;

absl::Status AppendTo(SimulatedLog& log, std::string_view id, std::size_t size) {
  const std::string body(size, 'x');
  RecordHeader header{};
  header.kind = RecordKind::kPut;
  header.raw_body_size = static_cast<std::uint32_t>(size);
  ALOS_ASSIGN_OR_RETURN(const auto prepared, log.Prepare(header, id, body, Crc32c(body)));
  log.Seal(prepared, 1);
  log.Publish();
  return absl::OkStatus();
}

// The whole life of a log.
absl::Status MakeLog(SimulatedFileSystem& disk, EpochManager* epochs) {
  ALOS_ASSIGN_OR_RETURN(const auto log,
                        SimulatedLog::Create(disk, "log", ShardIdentity(), 42, epochs));
  ALOS_RETURN_IF_ERROR(AppendTo(*log, "a", 10'000));
  const std::uint64_t second = log->end();
  ALOS_RETURN_IF_ERROR(AppendTo(*log, "b", 22'200));
  ALOS_RETURN_IF_ERROR(log->Sync());
  log->SetBegin(second);
  ALOS_RETURN_IF_ERROR(log->StoreBegin(1));
  ALOS_RETURN_IF_ERROR(log->GiveBack(0, second).status());
  return log->GiveSpareBack().status();
}
absl::Status OpenLog(SimulatedFileSystem& disk, EpochManager* epochs,
                     std::vector<std::string>* ids) {
  ids->clear();
  ALOS_ASSIGN_OR_RETURN(const auto log, SimulatedLog::Open(disk, "log", ShardIdentity(), epochs));
  ALOS_RETURN_IF_ERROR(
      log->Recover(log->begin(), 0, kForever,
                   [&](std::uint64_t, const RecordView& record) { ids->emplace_back(record.id()); })
          .status());
  return log->Rewrite(0);
}

TEST(ShardLogFaultTest, EveryErrorIsReturnedAndChangesNothingThatWasDurable) {
  for (const bool is_there : {false, true}) {
    for (int n = 1;; ++n) {
      SimulatedFileSystem disk(static_cast<std::uint64_t>(n));
      EpochManager epochs;
      std::vector<std::string> ids;
      if (is_there) {
        ASSERT_TRUE(MakeLog(disk, &epochs).ok());
      }
      const auto run = [&] {
        return is_there ? OpenLog(disk, &epochs, &ids) : MakeLog(disk, &epochs);
      };
      disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
      const std::uint64_t before = disk.operation_count();
      const absl::Status status = run();
      if (disk.operation_count() - before < static_cast<std::uint64_t>(n)) {
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_GT(n, is_there ? 5 : 12) << "calls that were made to fail";
        break;
      }
      EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO")) << n << ": " << status;
      EXPECT_TRUE(absl::StrContains(status.message(), "log")) << "it names the file: " << status;
      disk.ClearFaults();
      ASSERT_TRUE(run().ok()) << "after call " << n;
      ASSERT_TRUE(OpenLog(disk, &epochs, &ids).ok());
      EXPECT_EQ(ids, std::vector<std::string>{"b"}) << "after call " << n;
    }
  }
}

TEST(ShardLogFaultTest, OpeningWhatMayBeLostReturnsErrors) {
  for (int n = 1; n <= 6; ++n) {
    SimulatedFileSystem disk(1);
    EpochManager epochs;
    // Open, allocate, write, size, map, and as much of it as there is.
    disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
    const auto open = [&] {
      return SimulatedLog::OpenUnflushed(disk, "log", ShardIdentity(), 42, &epochs).status();
    };
    EXPECT_EQ(open().code(), absl::StatusCode::kDataLoss) << n;
    EXPECT_TRUE(open().ok()) << n;
  }
}

TEST(ShardLogFaultTest, ALogThatCannotGrowStaysAsItWas) {
  for (const SimulatedOperation kind :
       {SimulatedOperation::kAllocate, SimulatedOperation::kExtend, SimulatedOperation::kMap}) {
    SimulatedFileSystem disk(1);
    EpochManager epochs;
    auto log = *SimulatedLog::Create(disk, "log", ShardIdentity(), 42, &epochs);
    ASSERT_TRUE(AppendTo(*log, "a", 100).ok());
    const std::uint64_t end = log->end();
    // Beyond what was reserved for the map it is mapped anew.
    const std::uint64_t far = kind == SimulatedOperation::kMap ? 65 << 20 : 100'000;
    disk.FailNth(kind, 1, absl::DataLossError("simulated EIO"));
    EXPECT_TRUE(absl::IsDataLoss(log->Restore(far, "x")));
    EXPECT_EQ(log->end(), end);
    ASSERT_TRUE(log->Restore(far, "x").ok());
    EXPECT_EQ(*log->At(far), 'x');
    EXPECT_EQ(RecordView(log->At(SimulatedLog::kFirstRecordOffset)).id(), "a");
    disk.SetCapacityBytes(disk.used_bytes());
    const absl::Status full = AppendTo(*log, "b", far + (4 << 20));
    EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
    EXPECT_EQ(log->end(), end);
  }
}

// What a failed flush may have left out is written once more, all of it.
TEST(ShardLogFaultTest, RewritingReachesTheDiskAfterAFlushThatFailed) {
  SimulatedFileSystem disk(3);
  EpochManager epochs;
  auto log = *SimulatedLog::Create(disk, "log", ShardIdentity(), 42, &epochs);
  ASSERT_TRUE(AppendTo(*log, "a", 3 << 20).ok());
  disk.FailNth(SimulatedOperation::kSync, 1, absl::DataLossError("simulated EIO"));
  EXPECT_FALSE(log->Sync().ok());
  log.reset();
  std::vector<std::string> ids;
  for (int n = 1; n <= 4; ++n) {  // the header, and chunks of a megabyte
    disk.FailNth(SimulatedOperation::kWrite, static_cast<std::uint64_t>(n),
                 absl::DataLossError("simulated EIO"));
    EXPECT_TRUE(absl::IsDataLoss(OpenLog(disk, &epochs, &ids))) << n;
    disk.ClearFaults();
  }
  log = *SimulatedLog::Open(disk, "log", ShardIdentity(), &epochs);
  ASSERT_TRUE(log->Recover(512, 0, kForever, [](std::uint64_t, const RecordView&) {}).ok());
  ASSERT_TRUE(log->Rewrite(0).ok());
  ASSERT_TRUE(log->Sync().ok());
  EXPECT_EQ(log->durable_end(), log->end());
  EXPECT_EQ(disk.DurableContents("log").substr(0, log->end()), std::string(log->At(0), log->end()));
}

TEST_F(ShardLogTest, ASmallLogTakesLittleSpace) {
  Create();
  Append("a", "1");
  EXPECT_LE(log_->file_size(), 8u << 10);
}

}  // namespace
}  // namespace alos
