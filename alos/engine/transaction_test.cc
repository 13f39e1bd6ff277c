// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/engine/transaction.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

std::string Account(std::string_view id, std::int64_t balance) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(id);
  builder.Key("balance");
  builder.Int(balance);
  builder.EndDocument();
  return bytes;
}
Filter WhereId(std::string_view id) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.String(id);
  builder.EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}
Filter WhereBalance(std::string_view operation, std::int64_t balance) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("balance");
  builder.StartDocument();
  builder.Key(operation);
  builder.Int(balance);
  builder.EndDocument();
  builder.EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}
Update Add(std::int64_t amount) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("$inc");
  builder.StartDocument();
  builder.Key("balance");
  builder.Int(amount);
  builder.EndDocument();
  builder.EndDocument();
  return *Update::Compile(ValueView::FromTrusted(bytes));
}

template <class Durability>
class TransactionTest : public testing::Test {
 protected:
  using TestEngine = BasicEngine<Policies<Durability>>;
  using Database = typename TestEngine::Database;
  using Transaction = typename TestEngine::Transaction;

  TransactionTest() {
    options_.data_path =
        absl::StrCat(testing::TempDir(), "/transaction_", Durability::kName, "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.shards = 8;
    std::filesystem::remove_all(options_.data_path);
    Open();
    for (const char* id : {"a", "b", "c"}) EXPECT_TRUE(Insert(id, 100).ok());
  }
  void Open() {
    engine_.reset();
    engine_ = *TestEngine::Open(options_);
    database_ = *engine_->GetOrCreateDatabase("bank");
  }
  absl::Status Insert(std::string_view id, std::int64_t balance) {
    auto inserted = database_->InsertOne("accounts", ValueView::FromTrusted(Account(id, balance)));
    return inserted.ok() ? database_->WaitVisible(inserted->commit_timestamp) : inserted.status();
  }
  absl::Status Commit(Transaction& transaction) {
    auto committed = transaction.Commit();
    return committed.ok() ? database_->WaitVisible(*committed) : committed.status();
  }
  // -1: there is none. `reader` is the database or a transaction.
  template <class Reader>
  std::int64_t Balance(Reader& reader, std::string_view id) {
    std::int64_t balance = -1;
    EXPECT_TRUE(
        reader
            .FindById("accounts", EncodeStringId(id),
                      [&](ValueView document) { balance = document.Find("balance")->AsInt64(); })
            .ok());
    return balance;
  }
  std::int64_t Total() {
    std::int64_t total = 0;
    EXPECT_TRUE(database_
                    ->Find("accounts", {},
                           [&](ValueView document) {
                             total += document.Find("balance")->AsInt64();
                             return true;
                           })
                    .ok());
    return total;
  }

  EngineOptions options_;
  std::unique_ptr<TestEngine> engine_;
  Database* database_ = nullptr;
};

using DurabilityTypes = testing::Types<AsyncDurability, SyncDurability>;
TYPED_TEST_SUITE(TransactionTest, DurabilityTypes);

TYPED_TEST(TransactionTest, NothingIsSeenBeforeTheCommitAndAllOfItAfter) {
  auto transaction = this->database_->BeginTransaction();
  ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("a"), Add(-30)).ok());
  ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("b"), Add(30)).ok());
  ASSERT_TRUE(transaction->InsertOne("accounts", ValueView::FromTrusted(Account("d", 5))).ok());
  ASSERT_TRUE(transaction->DeleteOne("accounts", WhereId("c")).ok());
  EXPECT_EQ(this->Balance(*this->database_, "a"), 100);
  EXPECT_EQ(this->Balance(*this->database_, "d"), -1);
  EXPECT_EQ(this->Balance(*transaction, "a"), 70) << "it sees its own writes";
  EXPECT_EQ(this->Balance(*transaction, "c"), -1);
  ASSERT_TRUE(this->Commit(*transaction).ok());
  EXPECT_EQ(this->Balance(*this->database_, "a"), 70);
  EXPECT_EQ(this->Balance(*this->database_, "b"), 130);
  EXPECT_EQ(this->Balance(*this->database_, "c"), -1);
  EXPECT_EQ(this->Balance(*this->database_, "d"), 5);
  EXPECT_EQ(*this->database_->Count("accounts", Filter()), 3u);
}

TYPED_TEST(TransactionTest, ItReadsItsSnapshotWhateverOthersCommit) {
  auto transaction = this->database_->BeginTransaction();
  auto updated = this->database_->UpdateOne("accounts", WhereId("a"), Add(1));
  ASSERT_TRUE(this->database_->WaitVisible(updated->commit_timestamp).ok());
  ASSERT_TRUE(this->Insert("late", 1).ok());
  EXPECT_EQ(this->Balance(*transaction, "a"), 100);
  EXPECT_EQ(this->Balance(*transaction, "late"), -1);
  int found = 0;
  ASSERT_TRUE(transaction
                  ->Find("accounts", Filter(),
                         [&](ValueView) {
                           ++found;
                           return true;
                         })
                  .ok());
  EXPECT_EQ(found, 3);
}

TYPED_TEST(TransactionTest, FiltersSeeOwnWritesInsteadOfTheSnapshot) {
  auto transaction = this->database_->BeginTransaction();
  ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("a"), Add(900)).ok());
  int rich = 0;
  ASSERT_TRUE(transaction
                  ->Find("accounts", WhereBalance("$gt", 500),
                         [&](ValueView) {
                           ++rich;
                           return true;
                         })
                  .ok());
  EXPECT_EQ(rich, 1);
  int poor = 0;
  ASSERT_TRUE(transaction
                  ->Find("accounts", WhereBalance("$lte", 500),
                         [&](ValueView) {
                           ++poor;
                           return true;
                         })
                  .ok());
  EXPECT_EQ(poor, 2);
}

TYPED_TEST(TransactionTest, TheFirstCommitterWins) {
  auto first = this->database_->BeginTransaction();
  auto second = this->database_->BeginTransaction();
  ASSERT_TRUE(first->UpdateOne("accounts", WhereId("a"), Add(1)).ok());
  ASSERT_TRUE(second->UpdateOne("accounts", WhereId("a"), Add(2)).ok());
  ASSERT_TRUE(second->UpdateOne("accounts", WhereId("b"), Add(2)).ok());
  ASSERT_TRUE(this->Commit(*first).ok());
  const absl::Status status = this->Commit(*second);
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "transaction conflict")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "\"a\"")) << status;
  EXPECT_EQ(this->Balance(*this->database_, "a"), 101);
  EXPECT_EQ(this->Balance(*this->database_, "b"), 100) << "nothing of the loser is visible";
  EXPECT_TRUE(absl::IsFailedPrecondition(second->Commit().status())) << "it is over";
}

TYPED_TEST(TransactionTest, TwoInsertsOfOneIdConflict) {
  auto first = this->database_->BeginTransaction();
  auto second = this->database_->BeginTransaction();
  ASSERT_TRUE(first->InsertOne("accounts", ValueView::FromTrusted(Account("x", 1))).ok());
  ASSERT_TRUE(second->InsertOne("accounts", ValueView::FromTrusted(Account("x", 2))).ok());
  ASSERT_TRUE(this->Commit(*first).ok());
  EXPECT_TRUE(absl::IsAborted(this->Commit(*second)));
  EXPECT_EQ(this->Balance(*this->database_, "x"), 1);
}

TYPED_TEST(TransactionTest, RollbackLeavesNothing) {
  auto transaction = this->database_->BeginTransaction();
  ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("a"), Add(-30)).ok());
  transaction->Rollback();
  EXPECT_EQ(this->Balance(*this->database_, "a"), 100);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      transaction->UpdateOne("accounts", WhereId("a"), Add(1)).status()));
}

TYPED_TEST(TransactionTest, InsertedAndDeletedAgainIsNothing) {
  auto transaction = this->database_->BeginTransaction();
  ASSERT_TRUE(transaction->InsertOne("accounts", ValueView::FromTrusted(Account("x", 1))).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(
      transaction->InsertOne("accounts", ValueView::FromTrusted(Account("x", 1))).status()));
  EXPECT_EQ(transaction->DeleteOne("accounts", WhereId("x"))->deleted, 1u);
  const auto committed = transaction->Commit();
  ASSERT_TRUE(committed.ok());
  EXPECT_EQ(*committed, 0u);
}

TYPED_TEST(TransactionTest, CommittedTransactionsSurviveAKill) {
  for (int i = 0; i < 20; ++i) {
    auto transaction = this->database_->BeginTransaction();
    ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("a"), Add(-1)).ok());
    ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("b"), Add(1)).ok());
    ASSERT_TRUE(this->Commit(*transaction).ok());
  }
  this->Open();
  EXPECT_EQ(this->Balance(*this->database_, "a"), 80);
  EXPECT_EQ(this->Balance(*this->database_, "b"), 120);
}

// A shard file that lost the end of its log, as power failures cut it, takes whole transactions
// with it: here the cut is made by hand at every record of the last transactions, in one of the
// shards.
TYPED_TEST(TransactionTest, APartOfATransactionIsAsIfItNeverWas) {
  if (TypeParam::kAcknowledgedIsDurable) GTEST_SKIP() << "the journal has all of it";
  ASSERT_TRUE(this->engine_->Close().ok());  // everything so far is in checkpoints
  this->Open();
  for (int i = 0; i < 10; ++i) {
    auto transaction = this->database_->BeginTransaction();
    for (const char* id : {"a", "b", "c"})
      ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId(id), Add(id[0] == 'a' ? -2 : 1)).ok());
    ASSERT_TRUE(this->Commit(*transaction).ok());
  }
  this->engine_.reset();
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(this->options_.data_path + "/bank")) {
    if (entry.path().extension() != ".db") continue;
    // The last sector with anything in it is lost.
    std::string content(std::filesystem::file_size(entry.path()), '\0');
    std::FILE* file = std::fopen(entry.path().c_str(), "r+b");
    ASSERT_EQ(std::fread(content.data(), 1, content.size(), file), content.size());
    const std::size_t last = content.find_last_not_of('\0') / 512 * 512;
    const std::string zeros(512, '\0');
    std::fseek(file, static_cast<long>(last), SEEK_SET);
    std::fwrite(zeros.data(), 1, zeros.size(), file);
    std::fclose(file);
    if (++files == 1) break;
  }
  ASSERT_EQ(files, 1);
  this->Open();
  EXPECT_EQ(this->Total(), 300);
  this->Open();
  EXPECT_EQ(this->Total(), 300) << "and stays so";
  EXPECT_LT(this->Balance(*this->database_, "b"), 110) << "something was to be undone";
}

// A bank: transfers from many threads; every snapshot has the same total.
TYPED_TEST(TransactionTest, TheTotalNeverChanges) {
  std::atomic<bool> stop{false};
  std::thread auditor([&] {
    while (!stop.load()) ASSERT_EQ(this->Total(), 300);
  });
  std::vector<std::thread> tellers;
  for (int i = 0; i < 3; ++i) {
    tellers.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(i));
      const char* const ids[] = {"a", "b", "c"};
      for (int j = 0; j < 100; ++j) {
        auto transaction = this->database_->BeginTransaction();
        const unsigned from = random() % 3;
        const std::int64_t amount = static_cast<std::int64_t>(random() % 10);
        ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId(ids[from]), Add(-amount)).ok());
        ASSERT_TRUE(
            transaction->UpdateOne("accounts", WhereId(ids[(from + 1) % 3]), Add(amount)).ok());
        const absl::Status status = this->Commit(*transaction);
        ASSERT_TRUE(status.ok() || absl::IsAborted(status)) << status;
      }
    });
  }
  for (std::thread& teller : tellers) teller.join();
  stop = true;
  auditor.join();
  EXPECT_EQ(this->Total(), 300);
}

}  // namespace
}  // namespace alos
