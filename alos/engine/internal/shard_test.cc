// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// How a shard opens: which checkpoints it believes, what it makes of damage, what it makes durable.

#include "alos/engine/internal/shard.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/engine/policies.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos::engine_internal {
namespace {

using TestPolicies = Policies<DefaultDurability, SimulatedFileSystem>;
using TestShard = Shard<TestPolicies>;
constexpr std::uint64_t kForever = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint32_t kCollection = 1;

class ShardTest : public testing::Test {
 protected:
  ShardTest() {
    context_.file_system = &disk_;
    context_.epochs = &epochs_;
    context_.directory = "db";
    context_.database_id.fill('d');
    context_.hash_seed = 5;
    EXPECT_TRUE(disk_.CreateDirectories("db").ok());
    shard_ = std::make_unique<TestShard>(&context_, 0, 0);
  }

  static std::uint64_t Hash(std::string_view id) { return DocumentHash(kCollection, id, 5); }
  // Writes a version; nullopt: deletes. Returns its offset.
  std::uint64_t Put(std::string_view id, std::optional<std::string_view> raw,
                    std::uint32_t transaction_records = 0) {
    EXPECT_TRUE(shard_->EnsureLog().ok());
    StoredBody body;
    EncodeBody<TestPolicies::Codecs>(raw.value_or(""), 0, true, &body);
    const auto write =
        shard_->Prepare(kCollection, id, Hash(id), shard_->FindNewest(kCollection, id, Hash(id)),
                        raw ? &body : nullptr, true, transaction_records);
    EXPECT_TRUE(write.ok()) << write.status();
    shard_->Seal(write->prepared, ++timestamp_);
    shard_->PublishLog();
    shard_->InstallWrite(*write);
    return write->prepared.offset;
  }
  void Mark() {
    EXPECT_TRUE(shard_->log()->Sync().ok());
    const auto mark = shard_->PrepareMark();
    ASSERT_TRUE(mark.ok() && mark->has_value());
    shard_->Seal(**mark, ++timestamp_);
    shard_->PublishLog();
  }

  std::string CheckpointPath() const { return "db/" + shard_->FileName("sidx"); }
  void Store(const PrimaryCheckpoint& checkpoint) {
    ASSERT_TRUE(
        ReplaceFile(disk_, "db", shard_->FileName("sidx"), EncodePrimaryCheckpoint(checkpoint))
            .ok());
  }
  // The process ends, and the next one opens the shard.
  absl::Status Open(bool made = true) {
    shard_ = std::make_unique<TestShard>(&context_, 0, 0);
    return shard_->OpenLog(made);
  }
  absl::StatusOr<LogRecovery> Recover(const PrimaryCheckpoint* checkpoint = nullptr,
                                      std::uint64_t complete_until = 0) {
    transactions_.clear();
    return shard_->Recover(checkpoint, 0, kForever, complete_until,
                           [&](const RecordHeader& header, std::uint64_t) {
                             transactions_.push_back(header.commit_timestamp);
                           });
  }
  absl::StatusOr<std::uint64_t> Find(std::string_view id) {
    const auto guard = epochs_.Enter();
    return shard_->FindVersion(kCollection, id, Hash(id), kForever);
  }

  SimulatedFileSystem disk_{1};
  EpochManager epochs_;
  ShardContext<TestPolicies> context_;
  std::unique_ptr<TestShard> shard_;
  std::uint64_t timestamp_ = 0;
  std::vector<std::uint64_t> transactions_;
};

TEST_F(ShardTest, ALogIsOpenedAsTheManifestSays) {
  EXPECT_TRUE(Open(false).ok()) << "none, and none was made";
  EXPECT_EQ(shard_->log(), nullptr);
  EXPECT_FALSE(shard_->CaptureCheckpoint().has_value());
  EXPECT_EQ(shard_->uncheckpointed_bytes(), 0u);
  absl::Status status = Open(true);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "shard_000.db: the file is missing")) << status;

  ASSERT_TRUE(Open(false).ok());
  const std::uint64_t a = Put("a", "1");
  disk_.FlipBits("db/shard_000.db", 3, 1);
  status = Open(true);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  ASSERT_TRUE(Open(false).ok()) << "a header that was never flushed is written again";
  ASSERT_TRUE(Recover().ok());
  EXPECT_EQ(*Find("a"), a);
  disk_.FailNth(SimulatedOperation::kExists, 1, absl::DataLossError("simulated EIO"));
  EXPECT_TRUE(absl::StrContains(Open().message(), "simulated EIO"));
}

TEST_F(ShardTest, ACheckpointSavesReadingTheLog) {
  Put("a", "1");
  Put("b", "2");
  Put("b", std::nullopt);
  const auto checkpoint = shard_->CaptureCheckpoint();
  ASSERT_TRUE(checkpoint.has_value());
  Store(*checkpoint);
  shard_->CheckpointWritten(checkpoint->log_end, shard_->log()->begin() + 8);
  EXPECT_TRUE(shard_->CaptureCheckpoint().has_value()) << "it was of before a compaction";
  shard_->CheckpointWritten(checkpoint->log_end, shard_->log()->begin());
  EXPECT_FALSE(shard_->CaptureCheckpoint().has_value()) << "nothing new";
  const std::uint64_t c = Put("c", "3");
  ASSERT_TRUE(shard_->log()->Sync().ok());

  ASSERT_TRUE(Open().ok());
  bool is_of_later_log = false;
  const auto loaded = shard_->LoadCheckpoint(&is_of_later_log);
  ASSERT_TRUE(loaded.has_value());
  EXPECT_FALSE(is_of_later_log);
  const auto recovery = Recover(&*loaded);
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->records, 1u);
  EXPECT_EQ(shard_->collections().at(kCollection).documents, 2);
  EXPECT_EQ(*Find("c"), c);
  EXPECT_EQ(*Find("b"), 0u);
  EXPECT_EQ(shard_->newest_timestamp(), 4u);
}

// None of these may lead out of the log, and each of them costs reading it, no more.
TEST_F(ShardTest, ACheckpointThatDoesNotFitIsNotBelieved) {
  const std::uint64_t a = Put("a", "1");
  const std::uint64_t zeros = Put("zeros", std::string_view(std::string(200, '\0')));
  Put("b", "2");
  ASSERT_TRUE(shard_->log()->Sync().ok());
  const PrimaryCheckpoint good = *shard_->CaptureCheckpoint();
  const std::uint64_t size = shard_->log()->file_size();
  const struct {
    std::string_view what;
    bool is_believed;
    bool is_of_later_log;
    std::function<void(PrimaryCheckpoint*)> change;
  } cases[] = {
      {"as it is", true, false, [](PrimaryCheckpoint*) {}},
      {"without a last record", true, false, [](PrimaryCheckpoint* c) { c->last_record = 0; }},
      {"of another file", false, false, [](PrimaryCheckpoint* c) { ++c->generation; }},
      {"beyond the file", false, true, [&](PrimaryCheckpoint* c) { c->log_end = size + 8; }},
      {"of another file, beyond it", false, false,
       [&](PrimaryCheckpoint* c) {
         ++c->generation;
         c->log_end = size + 8;
       }},
      {"before the log's begin", false, false, [](PrimaryCheckpoint* c) { c->log_end = 504; }},
      {"an offset behind its end", false, false,
       [&](PrimaryCheckpoint* c) { c->log_end = a + 80; }},
      {"an offset right before its end", false, false,
       [&](PrimaryCheckpoint* c) { c->log_end = c->last_record + 8; }},
      {"an offset in the file's header", false, false,
       [](PrimaryCheckpoint* c) {
         for (std::uint64_t& slot : c->slots) {
           if (PrimaryIndex::IsUsed(slot)) slot = (slot >> 44 << 44) | (256 >> 3);
         }
       }},
      {"no free slot", false, false,
       [](PrimaryCheckpoint* c) {
         for (std::uint64_t& slot : c->slots) {
           if (slot == 0) slot = 512 >> 3;
         }
       }},
      {"its last record behind its end", false, true,
       [](PrimaryCheckpoint* c) { c->last_record = c->log_end - 8; }},
      {"zeros where its last record was", false, true,
       [&](PrimaryCheckpoint* c) { c->last_record = zeros + 64; }},
  };
  for (const auto& [what, is_believed, is_of_later_log, change] : cases) {
    PrimaryCheckpoint checkpoint = good;
    change(&checkpoint);
    Store(checkpoint);
    ASSERT_TRUE(Open().ok()) << what;
    bool is_later = false;
    EXPECT_EQ(shard_->LoadCheckpoint(&is_later).has_value(), is_believed) << what;
    EXPECT_EQ(is_later, is_of_later_log) << what;
  }
  bool is_later = false;
  Store(good);
  disk_.FlipBits(CheckpointPath(), 40, 1);
  EXPECT_FALSE(shard_->LoadCheckpoint(&is_later).has_value()) << "damaged";
  ASSERT_TRUE(disk_.Remove(CheckpointPath()).ok());
  EXPECT_FALSE(shard_->LoadCheckpoint(&is_later).has_value()) << "not there";
  EXPECT_FALSE(is_later);
}

TEST_F(ShardTest, ACheckpointOfBeforeACompactionIsNotBelieved) {
  Put("a", "1");
  const std::uint64_t b = Put("b", "2");
  const PrimaryCheckpoint checkpoint = *shard_->CaptureCheckpoint();
  Put("c", "3");
  ASSERT_TRUE(shard_->log()->Sync().ok());
  Store(checkpoint);
  shard_->log()->SetBegin(b);
  ASSERT_TRUE(shard_->log()->StoreBegin(7).ok());
  ASSERT_TRUE(Open().ok());
  bool is_later = false;
  EXPECT_FALSE(shard_->LoadCheckpoint(&is_later).has_value()) << "it has a key that is gone";
  ASSERT_TRUE(Recover().ok());
  EXPECT_EQ(shard_->newest_timestamp(), 7u) << "what was compacted away was older than this";
  shard_->log()->SetBegin(shard_->log()->end());
  ASSERT_TRUE(shard_->log()->StoreBegin(7).ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_FALSE(shard_->LoadCheckpoint(&is_later).has_value()) << "it ends before the log begins";
  EXPECT_FALSE(is_later);
}

// A key that a compaction forgot leaves a slot that is neither free nor used.
TEST_F(ShardTest, ACheckpointMayHaveForgottenKeys) {
  Put("a", "1");
  const std::uint64_t b = Put("b", "2");
  const std::uint64_t gone = Put("b", std::nullopt);
  ASSERT_TRUE(shard_->log()->Sync().ok());
  {
    const auto guard = epochs_.Enter();
    EXPECT_TRUE(shard_->RemoveDead(std::vector<TestShard::Move>{{gone, Hash("b")}}, {kCollection}));
  }
  Store(*shard_->CaptureCheckpoint());
  ASSERT_TRUE(Open().ok());
  bool is_later = false;
  const auto checkpoint = shard_->LoadCheckpoint(&is_later);
  ASSERT_TRUE(checkpoint.has_value());
  ASSERT_TRUE(Recover(&*checkpoint).ok());
  EXPECT_EQ(*Find("b"), 0u);
  EXPECT_NE(*Find("a"), 0u);
  EXPECT_LT(b, gone);
}

TEST_F(ShardTest, RecordsOfTransactionsAreCountedBehindWhatIsComplete) {
  Put("a", "1", 2);
  Put("b", "2", 2);
  const std::uint64_t c = Put("c", "3");
  Mark();
  Put("d", "4", 1);
  ASSERT_TRUE(shard_->log()->Sync().ok());
  shard_->log()->MarkAborted(c);
  ASSERT_TRUE(Open().ok());
  const std::uint64_t stale = shard_->stale_bytes();
  ASSERT_TRUE(Recover(nullptr, 1).ok());
  EXPECT_EQ(transactions_, (std::vector<std::uint64_t>{2, 5}));
  EXPECT_GT(shard_->stale_bytes(), stale) << "marks and what was undone";
  EXPECT_EQ(shard_->collections().at(kCollection).documents, 3);
  EXPECT_EQ(*Find("c"), 0u);
}

// What was cut, or was perhaps never flushed, is written and flushed before it is relied upon.
TEST_F(ShardTest, RecoveryReturnsTheErrorsOfMakingItDurable) {
  Put("a", "1");
  const auto recover = [&](SimulatedOperation kind) {
    EXPECT_TRUE(Open(false).ok());
    disk_.FailNth(kind, 1, absl::DataLossError("simulated EIO"));
    const absl::Status status = Recover().status();
    disk_.ClearFaults();
    return status;
  };
  for (const SimulatedOperation kind : {SimulatedOperation::kWrite, SimulatedOperation::kSync}) {
    const absl::Status status = recover(kind);
    EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO")) << status;
  }
  // The file ends where no record can begin.
  auto file = *disk_.Open("db/shard_000.db", OpenMode::kReadWrite);
  shard_ = nullptr;
  ASSERT_TRUE(file->Truncate(100).ok());
  file.reset();
  const absl::Status status = recover(SimulatedOperation::kAllocate);
  EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO")) << status;
  ASSERT_TRUE(Open(false).ok());
  ASSERT_TRUE(Recover().ok());
  Put("b", "2");
  ASSERT_TRUE(Open(false).ok());
  ASSERT_TRUE(Recover().ok());
  EXPECT_NE(*Find("b"), 0u);
}

// A document is answered with an error when damage may hide its newest version, and only then.
TEST_F(ShardTest, DamageHidesWhatIsOlderThanIt) {
  Put("a", "1");
  const std::uint64_t b1 = Put("b", "old");
  const std::uint64_t b2 = Put("b", "newer");
  const std::uint64_t c = Put("c", "3");
  Mark();
  const std::uint64_t last = Put("last", "4");
  ASSERT_TRUE(shard_->log()->Sync().ok());
  // The body is damaged: it is known whose it is.
  disk_.FlipBits("db/shard_000.db", b2 + kRecordHeaderSize + 3, 1);
  ASSERT_TRUE(Open().ok());
  const auto recovery = Recover();
  ASSERT_TRUE(recovery.ok());
  ASSERT_EQ(recovery->damaged.size(), 1u);
  EXPECT_TRUE(Find("a").ok());
  EXPECT_TRUE(Find("never").ok());
  const absl::Status status = Find("b").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("offset ", b2))) << status;
  const auto guard = epochs_.Enter();
  EXPECT_TRUE(shard_->CheckDamage(kCollection, "b", last).ok()) << "a newer one has replaced it";
  EXPECT_TRUE(shard_->CheckDamage(kCollection + 1, "b", b1).ok()) << "another collection's";
  EXPECT_FALSE(shard_->CheckDamage(kCollection, "b", b1).ok());

  // The header is damaged: it may be anybody's.
  disk_.FlipBits("db/shard_000.db", b2 + 9, 1);
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Recover().ok());
  EXPECT_TRUE(absl::IsDataLoss(Find("a").status()));
  EXPECT_TRUE(absl::IsDataLoss(Find("never").status()));
  EXPECT_TRUE(Find("c").ok()) << "its newest version lies behind it";

  // What rots while it is in use.
  disk_.FlipBits("db/shard_000.db", c + 8, 1);
  EXPECT_TRUE(absl::IsDataLoss(Find("c").status()));
  EXPECT_TRUE(absl::IsDataLoss(shard_->CheckDamage(kCollection, "c", c)));
}

TEST_F(ShardTest, AKeyThatRotsTakesTheTrustInFindingNothing) {
  Put("a", "1");
  const std::uint64_t b = Put("b", "2");
  ASSERT_TRUE(shard_->log()->Sync().ok());
  EXPECT_EQ(*Find("never"), 0u);
  disk_.FlipBits("db/shard_000.db", b + kRecordHeaderSize, 1);
  EXPECT_TRUE(absl::IsDataLoss(Find("b").status()));
  EXPECT_TRUE(absl::IsDataLoss(Find("never").status()));
  const auto guard = epochs_.Enter();
  EXPECT_TRUE(absl::IsDataLoss(shard_->CheckDamage(kCollection, "never", 0)));
  EXPECT_TRUE(shard_->CheckDamage(kCollection, "a", 512).ok());
}

}  // namespace
}  // namespace alos::engine_internal
