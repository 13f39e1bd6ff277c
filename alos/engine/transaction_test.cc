// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/engine/transaction.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "alos/base/queue_gauge.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "alos/index/index_definition.h"
#include "alos/query/sort.h"
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

// Numbers of documents that match, by a find and by a count, which must agree.
template <class Reader>
std::uint64_t CountBoth(Reader& reader, const Filter& filter) {
  std::uint64_t found = 0;
  EXPECT_TRUE(reader
                  .Find("accounts", filter,
                        [&](ValueView) {
                          ++found;
                          return true;
                        })
                  .ok());
  const absl::StatusOr<std::uint64_t> count = reader.Count("accounts", filter);
  EXPECT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(count.value_or(~0u), found);
  return found;
}

TYPED_TEST(TransactionTest, ManyDocumentsAtOnce) {
  auto transaction = this->database_->BeginTransaction();
  const std::vector<std::string> bytes = {Account("d", 1), Account("e", 2), Account("f", 3)};
  std::vector<ValueView> documents;
  for (const std::string& one : bytes) documents.push_back(ValueView::FromTrusted(one));
  ASSERT_TRUE(transaction->InsertMany("accounts", documents).status.ok());
  EXPECT_EQ(CountBoth(*transaction, WhereBalance("$gte", 0)), 6u);
  auto updated = transaction->UpdateMany("accounts", WhereBalance("$lt", 100), Add(1000));
  ASSERT_TRUE(updated.ok());
  EXPECT_EQ(updated->matched, 3u);
  EXPECT_EQ(CountBoth(*transaction, WhereBalance("$gt", 1000)), 3u);
  EXPECT_EQ(CountBoth(*transaction, WhereBalance("$eq", 100)), 3u);
  auto deleted = transaction->DeleteMany("accounts", WhereBalance("$lte", 1002));
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(deleted->deleted, 5u);
  EXPECT_EQ(CountBoth(*transaction, WhereBalance("$gte", 0)), 1u);
  EXPECT_EQ(*transaction->Count("accounts", Filter()), 1u);
  EXPECT_EQ(this->Total(), 300);
  // An error in the middle of the second keeps the first, as outside of a transaction.
  const std::string again = Account("f", 9);
  const std::string other = Account("g", 9);
  const ValueView mixed[] = {ValueView::FromTrusted(other), ValueView::FromTrusted(again)};
  const InsertManyResult result = transaction->InsertMany("accounts", mixed);
  EXPECT_TRUE(absl::IsAlreadyExists(result.status)) << result.status;
  EXPECT_EQ(result.ids.size(), 1u);
  ASSERT_TRUE(this->Commit(*transaction).ok());
  EXPECT_EQ(this->Balance(*this->database_, "f"), 1003);
  EXPECT_EQ(this->Balance(*this->database_, "g"), 9);
  EXPECT_EQ(this->Balance(*this->database_, "a"), -1);
}

TYPED_TEST(TransactionTest, FindSortsSkipsAndLimitsOwnWritesToo) {
  auto transaction = this->database_->BeginTransaction();
  ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("b"), Add(50)).ok());
  ASSERT_TRUE(transaction->InsertOne("accounts", ValueView::FromTrusted(Account("d", 70))).ok());
  std::string order;
  Builder(&order).StartDocument().Key("balance").Int(-1).Key("_id").Int(1).EndDocument();
  const Sort sort = *Sort::Compile(ValueView::FromTrusted(order));
  FindQuery query;
  query.sort = &sort;
  query.skip = 1;
  query.limit = 2;
  std::string ids;
  ASSERT_TRUE(transaction
                  ->Find("accounts", query,
                         [&](ValueView document) {
                           ids += document.Find("_id")->AsString();
                           return true;
                         })
                  .ok());
  EXPECT_EQ(ids, "ac");
}

TYPED_TEST(TransactionTest, AStatementThatFailsLeavesNothing) {
  IndexDefinition unique;
  unique.paths = {"balance"};
  unique.is_unique = true;
  this->database_->DeleteMany("accounts", Filter()).IgnoreError();
  for (int i = 0; i < 4; ++i)
    ASSERT_TRUE(this->Insert(std::string(1, static_cast<char>('p' + i)), i).ok());
  ASSERT_TRUE(this->database_->CreateIndex("accounts", unique).ok());
  auto transaction = this->database_->BeginTransaction();
  std::string text;
  Builder(&text)
      .StartDocument()
      .Key("$set")
      .StartDocument()
      .Key("balance")
      .Int(77)
      .EndDocument()
      .EndDocument();
  const Update same = *Update::Compile(ValueView::FromTrusted(text));
  EXPECT_TRUE(absl::IsAlreadyExists(
      transaction->UpdateMany("accounts", WhereBalance("$gte", 0), same).status()));
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(this->Balance(*transaction, std::string(1, static_cast<char>('p' + i))), i);
  // The key is free again.
  EXPECT_TRUE(transaction->UpdateOne("accounts", WhereId("q"), same).ok());
  ASSERT_TRUE(this->Commit(*transaction).ok());
  EXPECT_EQ(this->Balance(*this->database_, "q"), 77);
}

TYPED_TEST(TransactionTest, WritesAreBounded) {
  this->options_.transaction_bytes_max = 4096;
  this->engine_.reset();
  this->Open();
  auto transaction = this->database_->BeginTransaction();
  absl::Status status;
  int written = 0;
  for (; written < 1000 && status.ok(); ++written) {
    const std::string document = Account(absl::StrCat("n", written), written);
    status = transaction->InsertOne("accounts", ValueView::FromTrusted(document)).status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  // The same document over and over takes no more room.
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("n1"), Add(1)).ok());
  ASSERT_TRUE(this->Commit(*transaction).ok());
  EXPECT_EQ(this->Balance(*this->database_, "n1"), 1001);
}

TYPED_TEST(TransactionTest, AllOfThemTogetherAreBounded) {
  this->options_.all_transactions_bytes_max = 20'000;
  this->Open();
  const auto statistics = [&] {
    for (const QueueStatistics& queue : this->engine_->queues()) {
      if (queue.name == "transaction_bytes") return queue;
    }
    return QueueStatistics();
  };
  EXPECT_EQ(statistics().bound, 20'000U);
  using Transaction = typename TestFixture::Transaction;
  const auto insert = [&](Transaction& transaction, std::string_view id, std::size_t padding) {
    std::string document;
    Builder(&document)
        .StartDocument()
        .Key("_id")
        .String(id)
        .Key("balance")
        .Int(0)
        .Key("key")
        .String(absl::StrCat(id, std::string(padding, 'x')))
        .EndDocument();
    return transaction.InsertOne("accounts", ValueView::FromTrusted(document)).status();
  };
  auto first = this->database_->BeginTransaction();
  auto second = this->database_->BeginTransaction({.isolation = Isolation::kSerializable});
  EXPECT_EQ(statistics().depth, 0U) << "what has read and written nothing takes nothing";
  ASSERT_TRUE(insert(*first, "p", 12'000).ok());
  ASSERT_TRUE(insert(*second, "q", 5'000).ok());
  EXPECT_EQ(statistics().warnings, 1U) << "four fifths";
  const std::uint64_t before = statistics().depth;
  const absl::Status refused = insert(*second, "r", 5'000);
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "of 20000 bytes")) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "--transactions-memory-mb")) << refused;
  EXPECT_EQ(statistics().depth, before) << "as if it had not been asked for";
  EXPECT_EQ(this->Balance(*second, "r"), -1);
  EXPECT_LT(statistics().depth, before + 200) << "a key that was read";
  EXPECT_GT(statistics().depth, before);
  // Writes of many are refused as a whole. Other than transactions nobody has a part in this.
  EXPECT_TRUE(absl::IsResourceExhausted(
      first->UpdateMany("accounts", WhereBalance("$gte", 0), Add(1)).status()));
  EXPECT_EQ(this->Balance(*first, "p"), 0);
  EXPECT_EQ(this->Balance(*first, "a"), 100);
  ASSERT_TRUE(this->Insert("s", 7).ok());
  // There is room again when one ends, in whatever way.
  first->Rollback();
  ASSERT_TRUE(insert(*second, "r", 5'000).ok());
  ASSERT_TRUE(second->DeleteOne("accounts", WhereId("q")).ok());
  ASSERT_TRUE(insert(*second, "t", 5'000).ok()) << "what is replaced takes nothing";
  ASSERT_TRUE(this->Commit(*second).ok());
  EXPECT_EQ(this->Balance(*this->database_, "r"), 0);
  EXPECT_EQ(statistics().depth, 0U);
  {
    auto third = this->database_->BeginTransaction();
    ASSERT_TRUE(insert(*third, "u", 5'000).ok());
  }
  EXPECT_EQ(statistics().depth, 0U);
  // Keys of unique indexes are kept besides the documents.
  IndexDefinition unique;
  unique.paths = {"key"};
  unique.is_unique = true;
  unique.is_sparse = true;
  ASSERT_TRUE(this->database_->CreateIndex("accounts", unique).ok());
  auto fourth = this->database_->BeginTransaction();
  ASSERT_TRUE(insert(*fourth, "v", 5'000).ok());
  EXPECT_GT(statistics().depth, 10'000U);
  ASSERT_TRUE(fourth->UpdateMany("accounts", WhereBalance("$gte", 50), Add(1)).ok());
  const std::uint64_t with_key = statistics().depth;
  EXPECT_FALSE(insert(*fourth, "w", 5'000).ok());
  EXPECT_EQ(statistics().depth, with_key);
  ASSERT_TRUE(fourth->DeleteOne("accounts", WhereId("v")).ok());
  EXPECT_LT(statistics().depth, 2'000U);
  fourth.reset();
  EXPECT_EQ(statistics().depth, 0U);
}

TYPED_TEST(TransactionTest, ADroppedCollectionIsAConflict) {
  auto transaction = this->database_->BeginTransaction();
  ASSERT_TRUE(transaction->UpdateOne("accounts", WhereId("a"), Add(1)).ok());
  ASSERT_TRUE(this->database_->Drop("accounts").ok());
  EXPECT_TRUE(absl::IsAborted(this->Commit(*transaction)));
}

TYPED_TEST(TransactionTest, TimeTravel) {
  const std::uint64_t before = this->database_->ReadTimestamp();
  ASSERT_TRUE(this->database_->UpdateOne("accounts", WhereId("a"), Add(-100)).ok());
  const auto deleted = this->database_->DeleteOne("accounts", WhereId("b"));
  ASSERT_TRUE(deleted.ok());
  ASSERT_TRUE(this->database_->WaitVisible(deleted->commit_timestamp).ok());
  std::int64_t total = 0;
  FindQuery query;
  query.read_timestamp = before;
  ASSERT_TRUE(this->database_
                  ->Find("accounts", query,
                         [&](ValueView document) {
                           total += document.Find("balance")->AsInt64();
                           return true;
                         })
                  .ok());
  EXPECT_EQ(total, 300);
  EXPECT_EQ(*this->database_->Count("accounts", Filter(), nullptr, before), 3u);
  EXPECT_EQ(*this->database_->Count("accounts", Filter()), 2u);
  query.read_timestamp = this->database_->ReadTimestamp() + 1000;
  EXPECT_TRUE(absl::IsInvalidArgument(
      this->database_->Find("accounts", query, [](ValueView) { return true; })));
  // What has been reclaimed says so.
  this->database_->snapshots().Restore(this->database_->ReadTimestamp());
  query.read_timestamp = before;
  const absl::Status gone =
      this->database_->Find("accounts", query, [](ValueView) { return true; });
  EXPECT_TRUE(absl::IsOutOfRange(gone)) << gone;
  EXPECT_TRUE(absl::StrContains(gone.message(), "--history-retention")) << gone;
}

// Martin Kleppmann's Hermitage: what each isolation level lets happen, one test an anomaly. Two
// documents, 1 and 2, have the values 10 and 20. Names as in the literature (Adya; Berenson et
// al.); each is shown for both levels, with what they promise.
class HermitageTest : public testing::TestWithParam<Isolation> {
 protected:
  HermitageTest() {
    EngineOptions options;
    options.data_path = absl::StrCat(
        testing::TempDir(), "/hermitage_", GetParam() == Isolation::kSerializable ? "s_" : "i_",
        absl::StrReplaceAll(testing::UnitTest::GetInstance()->current_test_info()->name(),
                            {{"/", "_"}}));
    options.shards = 4;
    std::filesystem::remove_all(options.data_path);
    engine_ = *Engine::Open(options);
    database_ = *engine_->GetOrCreateDatabase("test");
    Insert(1, 10);
    Insert(2, 20);
  }
  using T = Engine::Transaction;

  static bool serializable() { return GetParam() == Isolation::kSerializable; }
  std::unique_ptr<T> Begin() { return database_->BeginTransaction({.isolation = GetParam()}); }
  static std::string Row(std::int64_t id, std::int64_t value) {
    std::string bytes;
    Builder(&bytes).StartDocument().Key("_id").Int(id).Key("value").Int(value).EndDocument();
    return bytes;
  }
  void Insert(std::int64_t id, std::int64_t value) {
    ASSERT_TRUE(database_->InsertOne("test", ValueView::FromTrusted(Row(id, value))).ok());
  }
  static Filter Where(std::string_view field, std::string_view operation, std::int64_t value) {
    std::string bytes;
    Builder(&bytes)
        .StartDocument()
        .Key(field)
        .StartDocument()
        .Key(operation)
        .Int(value)
        .EndDocument()
        .EndDocument();
    return *Filter::Compile(ValueView::FromTrusted(bytes));
  }
  static Filter Id(std::int64_t id) { return Where("_id", "$eq", id); }
  static Filter DivisibleBy3() {
    std::string bytes;
    Builder(&bytes)
        .StartDocument()
        .Key("value")
        .StartDocument()
        .Key("$mod")
        .StartArray()
        .Int(3)
        .Int(0)
        .EndArray()
        .EndDocument()
        .EndDocument();
    return *Filter::Compile(ValueView::FromTrusted(bytes));
  }
  static Update SetValue(std::int64_t value) {
    std::string bytes;
    Builder(&bytes)
        .StartDocument()
        .Key("$set")
        .StartDocument()
        .Key("value")
        .Int(value)
        .EndDocument()
        .EndDocument();
    return *Update::Compile(ValueView::FromTrusted(bytes));
  }
  static void Write(T& transaction, std::int64_t id, std::int64_t value) {
    ASSERT_TRUE(transaction.UpdateOne("test", Id(id), SetValue(value)).ok());
  }
  // "1:10 2:20", by a filter.
  template <class Reader>
  static std::string Read(Reader& reader, const Filter& filter) {
    std::map<std::int64_t, std::int64_t> rows;
    EXPECT_TRUE(reader
                    .Find("test", filter,
                          [&](ValueView row) {
                            rows[row.Find("_id")->AsInt64()] = row.Find("value")->AsInt64();
                            return true;
                          })
                    .ok());
    return absl::StrJoin(rows, " ", absl::PairFormatter(":"));
  }
  template <class Reader>
  static std::string Read(Reader& reader) {
    return Read(reader, Where("_id", "$gte", 0));
  }
  std::string Now() {
    std::map<std::int64_t, std::int64_t> rows;
    EXPECT_TRUE(database_
                    ->Find("test", {},
                           [&](ValueView row) {
                             rows[row.Find("_id")->AsInt64()] = row.Find("value")->AsInt64();
                             return true;
                           })
                    .ok());
    return absl::StrJoin(rows, " ", absl::PairFormatter(":"));
  }
  static void Commits(T& transaction) {
    const auto committed = transaction.Commit();
    EXPECT_TRUE(committed.ok()) << committed.status();
  }
  static void IsRefused(T& transaction) {
    const auto committed = transaction.Commit();
    EXPECT_TRUE(absl::IsAborted(committed.status())) << committed.status();
    EXPECT_TRUE(absl::StrContains(committed.status().message(), "transaction conflict"));
    EXPECT_TRUE(absl::StrContains(committed.status().message(), "'test'"));
  }

  std::unique_ptr<Engine> engine_;
  Engine::Database* database_ = nullptr;
};

TEST_P(HermitageTest, G0WriteCycles) {
  auto t1 = Begin(), t2 = Begin();
  Write(*t1, 1, 11);
  Write(*t2, 1, 12);
  Write(*t1, 2, 21);
  Commits(*t1);
  EXPECT_EQ(Now(), "1:11 2:21");
  Write(*t2, 2, 22);
  IsRefused(*t2);
  EXPECT_EQ(Now(), "1:11 2:21");
}

TEST_P(HermitageTest, G1aAbortedReads) {
  auto t1 = Begin(), t2 = Begin();
  Write(*t1, 1, 101);
  EXPECT_EQ(Read(*t2), "1:10 2:20");
  t1->Rollback();
  EXPECT_EQ(Read(*t2), "1:10 2:20");
  Commits(*t2);
}

TEST_P(HermitageTest, G1bIntermediateReads) {
  auto t1 = Begin(), t2 = Begin();
  Write(*t1, 1, 101);
  EXPECT_EQ(Read(*t2), "1:10 2:20");
  Write(*t1, 1, 11);
  Commits(*t1);
  EXPECT_EQ(Read(*t2), "1:10 2:20");
  Commits(*t2);
  EXPECT_EQ(Now(), "1:11 2:20");
}

TEST_P(HermitageTest, G1cCircularInformationFlow) {
  auto t1 = Begin(), t2 = Begin();
  Write(*t1, 1, 11);
  Write(*t2, 2, 22);
  EXPECT_EQ(Read(*t1, Id(2)), "2:20");
  EXPECT_EQ(Read(*t2, Id(1)), "1:10");
  Commits(*t1);
  // Neither saw the other: under serializable only one can be first.
  serializable() ? IsRefused(*t2) : Commits(*t2);
}

TEST_P(HermitageTest, OtvObservedTransactionVanishes) {
  auto t1 = Begin(), t2 = Begin();
  Write(*t1, 1, 11);
  Write(*t1, 2, 19);
  Write(*t2, 1, 12);
  Commits(*t1);
  auto t3 = Begin();
  EXPECT_EQ(Read(*t3, Id(1)), "1:11");
  Write(*t2, 2, 18);
  EXPECT_EQ(Read(*t3, Id(2)), "2:19");
  IsRefused(*t2);
  EXPECT_EQ(Read(*t3), "1:11 2:19");
  Commits(*t3);
}

TEST_P(HermitageTest, PmpPredicateManyPreceders) {
  auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, Where("value", "$eq", 30)), "");
  ASSERT_TRUE(t2->InsertOne("test", ValueView::FromTrusted(Row(3, 30))).ok());
  Commits(*t2);
  EXPECT_EQ(Read(*t1, DivisibleBy3()), "");
  Commits(*t1);  // it wrote nothing
  // With a write predicate.
  auto t3 = Begin(), t4 = Begin();
  ASSERT_TRUE(t3->UpdateMany("test", Where("_id", "$gte", 0), SetValue(40)).ok());
  EXPECT_EQ(t4->DeleteMany("test", Where("value", "$eq", 20))->deleted, 1u);
  Commits(*t3);
  IsRefused(*t4);
  EXPECT_EQ(Now(), "1:40 2:40 3:40");
}

TEST_P(HermitageTest, P4LostUpdate) {
  auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, Id(1)), "1:10");
  EXPECT_EQ(Read(*t2, Id(1)), "1:10");
  Write(*t1, 1, 11);
  Write(*t2, 1, 11);
  Commits(*t1);
  IsRefused(*t2);
}

TEST_P(HermitageTest, GSingleReadSkew) {
  auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, Id(1)), "1:10");
  EXPECT_EQ(Read(*t2), "1:10 2:20");
  Write(*t2, 1, 12);
  Write(*t2, 2, 18);
  Commits(*t2);
  EXPECT_EQ(Read(*t1, Id(2)), "2:20");
  // With predicates and with a write that depends on what was read.
  EXPECT_EQ(Read(*t1, Where("value", "$eq", 18)), "");
  EXPECT_EQ(t1->DeleteMany("test", Where("value", "$eq", 20))->deleted, 1u);
  IsRefused(*t1);
  EXPECT_EQ(Now(), "1:12 2:18");
}

TEST_P(HermitageTest, G2ItemWriteSkew) {
  auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1), "1:10 2:20");
  EXPECT_EQ(Read(*t2), "1:10 2:20");
  Write(*t1, 1, 11);
  Write(*t2, 2, 21);
  Commits(*t1);
  serializable() ? IsRefused(*t2) : Commits(*t2);
  // The same, with documents read by their ids.
  auto t3 = Begin(), t4 = Begin();
  EXPECT_FALSE(Read(*t3, Id(1)).empty());
  EXPECT_FALSE(Read(*t4, Id(2)).empty());
  Write(*t3, 2, 32);
  Write(*t4, 1, 31);
  Commits(*t3);
  serializable() ? IsRefused(*t4) : Commits(*t4);
}

TEST_P(HermitageTest, G2AntiDependencyCycles) {
  auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, DivisibleBy3()), "");
  EXPECT_EQ(Read(*t2, DivisibleBy3()), "");
  ASSERT_TRUE(t1->InsertOne("test", ValueView::FromTrusted(Row(3, 30))).ok());
  ASSERT_TRUE(t2->InsertOne("test", ValueView::FromTrusted(Row(4, 42))).ok());
  Commits(*t1);
  serializable() ? IsRefused(*t2) : Commits(*t2);
  EXPECT_EQ(Now(), serializable() ? "1:10 2:20 3:30" : "1:10 2:20 3:30 4:42");
}

// What looks like an anomaly, and is none, must not be refused.
TEST_P(HermitageTest, OthersWritesElsewhereDoNotMatter) {
  auto t1 = Begin(), t2 = Begin();
  EXPECT_EQ(Read(*t1, DivisibleBy3()), "");
  EXPECT_EQ(*t1->Count("test", Where("value", "$eq", 10)), 1u);
  Write(*t2, 2, 25);
  ASSERT_TRUE(t2->InsertOne("test", ValueView::FromTrusted(Row(5, 50))).ok());
  Commits(*t2);
  ASSERT_TRUE(t1->InsertOne("other", ValueView::FromTrusted(Row(6, 60))).ok());
  Commits(*t1);
}

// A collection that was not there and has been made since.
TEST_P(HermitageTest, NothingWasReadToo) {
  auto t1 = Begin();
  EXPECT_EQ(*t1->Count("late", Filter()), 0u);
  ASSERT_TRUE(database_->InsertOne("late", ValueView::FromTrusted(Row(1, 1))).ok());
  Write(*t1, 1, 11);
  const auto committed = t1->Commit();
  EXPECT_EQ(committed.ok(), !serializable()) << committed.status();
}

// Counts by threads that each write a document of their own if the sum of all is small enough:
// under serializable the sum never exceeds the limit.
TEST_P(HermitageTest, SumsHoldUnderLoad) {
  if (!serializable()) GTEST_SKIP() << "write skew is what snapshot isolation lets happen";
  for (int i = 10; i < 14; ++i) Insert(i, 0);
  std::atomic<int> commits{0};
  std::vector<std::thread> threads;
  for (int i = 10; i < 14; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 200; ++n) {
        auto transaction = Begin();
        std::int64_t sum = 0;
        ASSERT_TRUE(transaction
                        ->Find("test", Where("_id", "$gte", 10),
                               [&](ValueView row) {
                                 sum += row.Find("value")->AsInt64();
                                 return true;
                               })
                        .ok());
        ASSERT_LE(sum, 100);
        Write(*transaction, i, n % 50 == 49 ? 0 : 100 - sum > 0 ? 100 - sum : 0);
        if (transaction->Commit().ok()) ++commits;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(commits, 0);
}

INSTANTIATE_TEST_SUITE_P(Levels, HermitageTest,
                         testing::Values(Isolation::kSnapshot, Isolation::kSerializable),
                         [](const auto& info) {
                           return info.param == Isolation::kSnapshot ? "Snapshot" : "Serializable";
                         });

}  // namespace
}  // namespace alos
