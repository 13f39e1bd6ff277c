// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/engine/joint_transaction.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/log.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "alos/index/index_definition.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

std::string Account(std::string_view id, std::int64_t balance, std::string_view owner = "") {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument().Key("_id").String(id).Key("balance").Int(balance);
  if (!owner.empty()) builder.Key("owner").String(owner);
  builder.EndDocument();
  return bytes;
}
Filter WhereId(std::string_view id) {
  std::string bytes;
  Builder(&bytes).StartDocument(1).Key("_id").String(id).EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}
Filter WhereBalanceAtLeast(std::int64_t balance) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument(1).Key("balance").StartDocument(1).Key("$gte").Int(balance);
  builder.EndDocument().EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}
Update Add(std::int64_t amount) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument(1).Key("$inc").StartDocument(1).Key("balance").Int(amount);
  builder.EndDocument().EndDocument();
  return *Update::Compile(ValueView::FromTrusted(bytes));
}

// -1: there is none. `reader` is a database or a transaction in one.
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
template <class Reader>
std::int64_t Total(Reader& reader) {
  std::int64_t total = 0;
  const Filter everything;
  EXPECT_TRUE(reader
                  .Find("accounts", everything,
                        [&](ValueView document) {
                          total += document.Find("balance")->AsInt64();
                          return true;
                        })
                  .ok());
  return total;
}
// Of a database.
template <class Database>
std::int64_t TotalOf(Database& database) {
  const auto transaction = database.BeginTransaction();
  return Total(*transaction);
}

template <class Durability>
class JointTransactionTest : public testing::Test {
 protected:
  using TestEngine = BasicEngine<Policies<Durability>>;
  using Database = typename TestEngine::Database;
  using Joint = typename TestEngine::JointTransaction;

  JointTransactionTest() {
    options_.data_path =
        absl::StrCat(testing::TempDir(), "/joint_", Durability::kName, "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.shards = 4;
    std::filesystem::remove_all(options_.data_path);
    Open();
    for (Database* database : {east_, west_}) {
      for (const char* id : {"a", "b"}) EXPECT_TRUE(Insert(database, id, 100).ok());
    }
  }
  // As after a kill, unless it was closed.
  void Open() {
    engine_.reset();
    engine_ = *TestEngine::Open(options_);
    east_ = *engine_->GetOrCreateDatabase("east");
    west_ = *engine_->GetOrCreateDatabase("west");
  }
  absl::Status Insert(Database* database, std::string_view id, std::int64_t balance,
                      std::string_view owner = "") {
    const std::string document = Account(id, balance, owner);
    auto inserted = database->InsertOne("accounts", ValueView::FromTrusted(document));
    return inserted.ok() ? database->WaitVisible(inserted->commit_timestamp) : inserted.status();
  }
  std::unique_ptr<Joint> Begin(const TransactionOptions& options = {}) {
    return *engine_->BeginTransaction({{east_, west_}}, options);
  }
  static absl::Status AddTo(Joint& transaction, Database* database, std::string_view id,
                            std::int64_t amount) {
    auto part = transaction.In(database);
    if (!part.ok()) return part.status();
    return (*part)->UpdateOne("accounts", WhereId(id), Add(amount)).status();
  }
  absl::Status Transfer(std::string_view from, std::string_view to, std::int64_t amount) {
    const auto transaction = Begin();
    absl::Status status = AddTo(*transaction, east_, from, -amount);
    status.Update(AddTo(*transaction, west_, to, amount));
    return status.ok() ? transaction->Commit() : status;
  }

  EngineOptions options_;
  std::unique_ptr<TestEngine> engine_;
  Database* east_ = nullptr;
  Database* west_ = nullptr;
};

using DurabilityTypes = testing::Types<AsyncDurability, SyncDurability>;
TYPED_TEST_SUITE(JointTransactionTest, DurabilityTypes);

TYPED_TEST(JointTransactionTest, AllPartsOrNone) {
  auto transaction = this->Begin();
  ASSERT_TRUE(this->AddTo(*transaction, this->east_, "a", -30).ok());
  ASSERT_TRUE(this->AddTo(*transaction, this->west_, "b", 30).ok());
  EXPECT_EQ(Balance(**transaction->In(this->east_), "a"), 70) << "its own writes";
  EXPECT_EQ(Balance(*this->east_, "a"), 100);
  ASSERT_TRUE(transaction->Commit().ok());
  EXPECT_EQ(Balance(*this->east_, "a"), 70);
  EXPECT_EQ(Balance(*this->west_, "b"), 130);
  EXPECT_EQ(transaction->Commit().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(transaction->In(this->east_).status().code(), absl::StatusCode::kFailedPrecondition);

  transaction = this->Begin();
  ASSERT_TRUE(this->AddTo(*transaction, this->east_, "a", -30).ok());
  ASSERT_TRUE(this->AddTo(*transaction, this->west_, "b", 30).ok());
  transaction->Rollback();
  EXPECT_EQ(Balance(*this->east_, "a"), 70);
  EXPECT_EQ(this->west_->ListCollections(), std::vector<std::string>{"accounts"})
      << "markers are nobody's business";
}

TYPED_TEST(JointTransactionTest, SurvivesAKillAndAClose) {
  ASSERT_TRUE(this->Transfer("a", "a", 1).ok());
  ASSERT_TRUE(this->Transfer("b", "a", 2).ok());
  EXPECT_TRUE(this->east_->UpdateOne("accounts", WhereId("a"), Add(50)).ok());
  this->Open();
  EXPECT_EQ(Balance(*this->east_, "a"), 149) << "what was installed is not installed again";
  EXPECT_EQ(Balance(*this->east_, "b"), 98);
  EXPECT_EQ(Balance(*this->west_, "a"), 103);
  ASSERT_TRUE(this->Transfer("a", "b", 4).ok());
  ASSERT_TRUE(this->engine_->Close().ok());
  EXPECT_TRUE(std::filesystem::is_empty(this->options_.data_path + "/.joint"));
  this->Open();
  EXPECT_EQ(Balance(*this->east_, "a"), 145);
  EXPECT_EQ(Balance(*this->west_, "b"), 104);
}

TYPED_TEST(JointTransactionTest, TheFirstCommitterWins) {
  auto first = this->Begin();
  auto second = this->Begin();
  ASSERT_TRUE(this->AddTo(*first, this->east_, "a", 1).ok());
  ASSERT_TRUE(this->AddTo(*first, this->west_, "a", 1).ok());
  ASSERT_TRUE(this->AddTo(*second, this->east_, "b", 10).ok());
  ASSERT_TRUE(this->AddTo(*second, this->west_, "a", 10).ok());
  ASSERT_TRUE(second->Commit().ok());
  const absl::Status conflict = first->Commit();
  EXPECT_EQ(conflict.code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(absl::StrContains(conflict.message(), "document \"a\" of collection 'accounts'"))
      << conflict;
  EXPECT_EQ(Balance(*this->east_, "a"), 100) << "nothing of it";
  EXPECT_FALSE(this->east_->is_held());
  EXPECT_FALSE(this->west_->is_held());
  // With transactions of one database, too.
  auto third = this->Begin();
  ASSERT_TRUE(this->AddTo(*third, this->east_, "a", 1).ok());
  ASSERT_TRUE(this->AddTo(*third, this->west_, "a", 1).ok());
  ASSERT_TRUE(this->west_->UpdateOne("accounts", WhereId("a"), Add(5)).ok());
  EXPECT_EQ(third->Commit().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Balance(*this->east_, "a"), 100);
}

TYPED_TEST(JointTransactionTest, SnapshotsBelongTogether) {
  const auto early = this->Begin();
  const auto late = *this->engine_->BeginTransaction({{this->east_}});
  const auto fine = *this->engine_->BeginTransaction({{this->east_}});
  EXPECT_EQ(Balance(**fine->In(this->west_), "a"), 100) << "joins later";
  ASSERT_TRUE(this->Transfer("a", "a", 10).ok());
  EXPECT_EQ(Balance(**early->In(this->east_), "a"), 100);
  EXPECT_EQ(Balance(**early->In(this->west_), "a"), 100);
  EXPECT_EQ(Balance(**fine->In(this->west_), "a"), 100);
  EXPECT_EQ(Balance(**late->In(this->east_), "a"), 100);
  const absl::Status refused = late->In(this->west_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAborted) << refused;
  EXPECT_TRUE(absl::StartsWith(refused.message(), "transaction conflict"));
  EXPECT_EQ(Balance(**late->In(this->east_), "a"), 100) << "goes on without";
}

TYPED_TEST(JointTransactionTest, WhoMayNotWaitIsTold) {
  const auto part = this->east_->BeginTransaction();
  ASSERT_TRUE(part->UpdateOne("accounts", WhereId("a"), Add(1)).ok());
  ASSERT_TRUE(part->Reserve(nullptr).ok());
  {
    const typename TestFixture::Database::NoWaiting no_waiting;
    const absl::Status told = this->east_->UpdateOne("accounts", WhereId("a"), Add(5)).status();
    EXPECT_TRUE(TestFixture::Database::MustWait(told)) << told;
    EXPECT_TRUE(TestFixture::Database::MustWait(this->Insert(this->east_, "a", 5)));
    EXPECT_TRUE(this->east_->UpdateOne("accounts", WhereId("b"), Add(5)).ok());
  }
  EXPECT_EQ(Balance(*this->east_, "a"), 100);
  std::atomic<bool> done{false};
  std::thread waits([&] {
    const auto updated = this->east_->UpdateOne("accounts", WhereId("a"), Add(5));
    EXPECT_TRUE(updated.ok() && this->east_->WaitVisible(updated->commit_timestamp).ok());
    done = true;
  });
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_FALSE(done);
  part->Release();
  waits.join();
  EXPECT_EQ(Balance(*this->east_, "a"), 105);
}

TYPED_TEST(JointTransactionTest, SerializableAcrossDatabases) {
  for (const bool serializable : {false, true}) {
    for (const bool by_filter : {false, true}) {
      TransactionOptions options;
      if (serializable) options.isolation = Isolation::kSerializable;
      // Write skew: each reads where the other writes.
      auto first = this->Begin(options);
      auto second = this->Begin(options);
      // What is not there yet was read, too.
      const auto insert = [&](auto& transaction, auto* database) {
        const std::string document = Account(absl::StrCat("rich", serializable), 5000);
        return (*transaction.In(database))
            ->InsertOne("accounts", ValueView::FromTrusted(document))
            .status();
      };
      if (by_filter) {
        EXPECT_TRUE((*first->In(this->east_))->Count("accounts", WhereBalanceAtLeast(5000)).ok());
        EXPECT_TRUE((*second->In(this->west_))->Count("accounts", WhereBalanceAtLeast(5000)).ok());
        ASSERT_TRUE(insert(*first, this->west_).ok());
        ASSERT_TRUE(insert(*second, this->east_).ok());
      } else {
        Balance(**first->In(this->east_), "a");
        Balance(**second->In(this->west_), "a");
        ASSERT_TRUE(this->AddTo(*first, this->west_, "a", 1).ok());
        ASSERT_TRUE(this->AddTo(*second, this->east_, "a", 1).ok());
      }
      EXPECT_TRUE(first->Commit().ok());
      const absl::Status status = second->Commit();
      EXPECT_EQ(status.code(), serializable ? absl::StatusCode::kAborted : absl::StatusCode::kOk)
          << status;
    }
  }
  // One that only reads is never refused.
  auto reader = this->Begin({.isolation = Isolation::kSerializable});
  Balance(**reader->In(this->east_), "a");
  Balance(**reader->In(this->west_), "a");
  ASSERT_TRUE(this->Transfer("a", "a", 1).ok());
  EXPECT_TRUE(reader->Commit().ok());
}

TYPED_TEST(JointTransactionTest, DroppedCollectionsAreAConflict) {
  auto transaction = this->Begin();
  ASSERT_TRUE(this->AddTo(*transaction, this->east_, "a", 1).ok());
  ASSERT_TRUE(this->AddTo(*transaction, this->west_, "a", 1).ok());
  ASSERT_TRUE(this->west_->Drop("accounts").ok());
  EXPECT_EQ(transaction->Commit().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Balance(*this->east_, "a"), 100);
}

TYPED_TEST(JointTransactionTest, UniqueKeysAreKept) {
  IndexDefinition unique;
  unique.paths = {"owner"};
  unique.is_unique = true;
  unique.is_sparse = true;
  ASSERT_TRUE(this->west_->CreateIndex("accounts", unique).ok());
  const auto take = [&](std::string_view id, std::string_view owner) {
    const auto transaction = this->Begin();
    absl::Status status = this->AddTo(*transaction, this->east_, "a", 1);
    const std::string document = Account(id, 0, owner);
    status.Update((*transaction->In(this->west_))
                      ->InsertOne("accounts", ValueView::FromTrusted(document))
                      .status());
    return status.ok() ? transaction->Commit() : status;
  };
  ASSERT_TRUE(take("x", "ada").ok());
  EXPECT_EQ(take("y", "ada").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(this->Insert(this->west_, "z", 0, "ada").code(), absl::StatusCode::kAlreadyExists);
  // Many at once want the same keys: one gets each.
  std::atomic<int> got{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int key = 0; key < 10; ++key) {
        const std::string id = absl::StrCat("t", i, "_", key);
        const std::string owner = absl::StrCat("owner", key);
        while (true) {
          absl::Status status;
          if (i % 2 == 0) {
            status = this->Insert(this->west_, id, 0, owner);
          } else {
            const auto transaction = this->Begin();
            const std::string document = Account(id, 0, owner);
            for (auto* database : {this->east_, this->west_}) {
              status.Update((*transaction->In(database))
                                ->InsertOne("accounts", ValueView::FromTrusted(document))
                                .status());
            }
            if (status.ok()) status = transaction->Commit();
          }
          if (status.ok()) ++got;
          if (!absl::IsAborted(status)) {
            EXPECT_TRUE(status.ok() || absl::IsAlreadyExists(status)) << status;
            break;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, 10);
  EXPECT_FALSE(this->west_->is_held());
}

TYPED_TEST(JointTransactionTest, NamedCommitsAreDoneOnce) {
  RequestId name = *this->west_->OpenSession();
  name.number = 1;
  const auto transfer = [&](bool involves_west) {
    auto transaction = *this->engine_->BeginTransaction({{this->east_}});
    absl::Status status = this->AddTo(*transaction, this->east_, "a", -1);
    if (involves_west) status.Update(this->AddTo(*transaction, this->west_, "a", 1));
    return status.ok() ? transaction->Commit(&name, this->west_) : status;
  };
  ASSERT_TRUE(transfer(true).ok());
  ASSERT_TRUE(transfer(true).ok());
  EXPECT_EQ(Balance(*this->east_, "a"), 99);
  EXPECT_EQ(Balance(*this->west_, "a"), 101);
  this->Open();
  name.was_sent_before = true;
  ASSERT_TRUE(transfer(true).ok());
  EXPECT_EQ(Balance(*this->east_, "a"), 99);
  name.number = 2;
  name.was_sent_before = false;
  // The note is in another database than all that is written.
  ASSERT_TRUE(transfer(false).ok());
  ASSERT_TRUE(transfer(false).ok());
  EXPECT_EQ(Balance(*this->east_, "a"), 98);
  // One that will never be done.
  name.number = 3;
  EXPECT_TRUE(this->west_->SettleRequest(name).ok());
  EXPECT_EQ(transfer(true).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Balance(*this->east_, "a"), 98);
}

TYPED_TEST(JointTransactionTest, ThreeDatabasesAndManyDocuments) {
  auto* const north = *this->engine_->GetOrCreateDatabase("north");
  const auto transaction = *this->engine_->BeginTransaction({{this->east_, this->west_, north}});
  for (auto* database : {this->east_, this->west_, north}) {
    for (int i = 0; i < 300; ++i) {
      const std::string document = Account(absl::StrCat("n", i), i);
      ASSERT_TRUE((*transaction->In(database))
                      ->InsertOne("numbers", ValueView::FromTrusted(document))
                      .ok());
    }
    ASSERT_TRUE((*transaction->In(database))->DeleteOne("numbers", WhereId("n7")).ok());
  }
  ASSERT_TRUE(transaction->Commit().ok());
  this->Open();
  for (const char* name : {"east", "west", "north"})
    EXPECT_EQ(*(*this->engine_->GetOrCreateDatabase(name))->Count("numbers", Filter()), 299u);
}

// Transfers between and within databases, single writes that change nothing in sum, auditors.
TYPED_TEST(JointTransactionTest, TheTotalNeverChanges) {
  constexpr std::int64_t kTotal = 400;
  std::atomic<bool> stop{false};
  std::atomic<int> transfers{0};
  std::atomic<int> audits{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(i));
      while (!stop) {
        const bool declared = random() % 4 != 0;
        auto begun = declared ? this->engine_->BeginTransaction({{this->east_, this->west_}})
                              : this->engine_->BeginTransaction({{this->east_}});
        ASSERT_TRUE(begun.ok());
        auto& transaction = **begun;
        if (i < 2) {
          const auto east = transaction.In(this->east_);
          const auto west = transaction.In(this->west_);
          if (!west.ok()) {
            EXPECT_TRUE(absl::IsAborted(west.status())) << west.status();
            continue;
          }
          EXPECT_EQ(Total(**east) + Total(**west), kTotal);
          ++audits;
        } else {
          const std::int64_t amount = static_cast<std::int64_t>(random() % 9) - 4;
          const char* const from = random() % 2 == 0 ? "a" : "b";
          const char* const to = random() % 2 == 0 ? "a" : "b";
          absl::Status status = this->AddTo(transaction, this->east_, from, -amount);
          if (random() % 4 == 0) {
            status.Update(this->AddTo(transaction, this->east_, to, amount));
          } else {
            status.Update(this->AddTo(transaction, this->west_, to, amount));
          }
          if (status.ok()) status = transaction.Commit();
          EXPECT_TRUE(status.ok() || absl::IsAborted(status)) << status;
          transfers += status.ok();
        }
      }
    });
  }
  // Single writes to the same documents: they wait, and are never refused.
  threads.emplace_back([&] {
    while (!stop) {
      for (const std::int64_t amount : {0, 0}) {
        const auto updated = this->west_->UpdateOne("accounts", WhereId("a"), Add(amount));
        EXPECT_TRUE(updated.ok()) << updated.status();
      }
    }
  });
  absl::SleepFor(absl::Milliseconds(1500));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(TotalOf(*this->east_) + TotalOf(*this->west_), kTotal);
  EXPECT_GT(transfers, 20);
  EXPECT_GT(audits, 5);
}

// --- On a disk that loses power.

template <class Durability>
class Bank {
 public:
  using TestEngine = BasicEngine<Policies<Durability, SimulatedFileSystem>>;
  using Database = typename TestEngine::Database;
  static constexpr std::int64_t kAccounts = 3;
  static constexpr std::int64_t kTotal = 2 * kAccounts * 100;

  explicit Bank(SimulatedFileSystem* disk) : disk_(disk) {}
  ~Bank() { engine.reset(); }

  absl::Status Open() {
    EngineOptions options;
    options.data_path = "/data";
    options.shards = 2;
    options.cache_bytes = 1 << 16;
    options.flush_interval = absl::InfiniteDuration();
    options.checkpoint_bytes = std::uint64_t{1} << 40;
    options.expiry_interval = absl::ZeroDuration();
    options.scrub_interval = absl::ZeroDuration();
    options.compaction = false;
    options.automatic_indexes = false;
    options.journal_segment_bytes = 24 << 10;
    ALOS_ASSIGN_OR_RETURN(engine, TestEngine::Open(options, disk_));
    for (std::size_t i = 0; i < 2; ++i) {
      ALOS_ASSIGN_OR_RETURN(databases[i], engine->GetOrCreateDatabase(i == 0 ? "east" : "west"));
    }
    return absl::OkStatus();
  }
  absl::Status Fill() {
    for (Database* database : databases) {
      for (int i = 0; i < kAccounts; ++i) {
        const std::string document = Account(absl::StrCat(i), 100);
        ALOS_RETURN_IF_ERROR(
            database->InsertOne("accounts", ValueView::FromTrusted(document)).status());
      }
      ALOS_RETURN_IF_ERROR(database->Flush());
    }
    return absl::OkStatus();
  }
  // Accounts 0 to 2 are of the one database, 3 to 5 of the other.
  absl::Status Transfer(std::int64_t from, std::int64_t to, std::int64_t amount) {
    auto begun = engine->BeginTransaction({{databases[0], databases[1]}});
    ALOS_RETURN_IF_ERROR(begun.status());
    const auto& transaction = *begun;
    const auto add = [&](std::int64_t account, std::int64_t sum) {
      const auto part = transaction->In(databases[static_cast<std::size_t>(account / kAccounts)]);
      return (*part)
          ->UpdateOne("accounts", WhereId(absl::StrCat(account % kAccounts)), Add(sum))
          .status();
    };
    ALOS_RETURN_IF_ERROR(add(from, -amount));
    ALOS_RETURN_IF_ERROR(add(to, amount));
    return transaction->Commit();
  }
  std::vector<std::int64_t> Read() {
    std::vector<std::int64_t> found;
    for (Database* database : databases) {
      for (int i = 0; i < kAccounts; ++i) found.push_back(Balance(*database, absl::StrCat(i)));
    }
    return found;
  }

  std::unique_ptr<TestEngine> engine;
  Database* databases[2] = {};

 private:
  SimulatedFileSystem* const disk_;
};

std::int64_t Sum(const std::vector<std::int64_t>& balances) {
  std::int64_t sum = 0;
  for (const std::int64_t balance : balances) sum += balance;
  return sum;
}

struct Image {
  std::unique_ptr<SimulatedFileSystem> disk;
  std::size_t acknowledged = 0;
  std::size_t started = 0;
  bool is_killed = false;
  std::string how;
};

template <class Durability>
void CrashAndRecover(std::uint64_t seed, std::uint64_t* states) {
  SCOPED_TRACE(testing::Message() << Durability::kName << ", seed " << seed);
  std::mt19937_64 random(seed);
  SimulatedFileSystem disk(seed);
  std::vector<Image> images;
  std::vector<std::vector<std::int64_t>> history;
  std::size_t acknowledged = 0;
  {
    Bank<Durability> bank(&disk);
    ASSERT_TRUE(bank.Open().ok());
    ASSERT_TRUE(bank.Fill().ok());
    history.push_back(bank.Read());
    std::int64_t countdown = 1;
    std::mt19937_64 when(seed * 7);
    absl::Mutex mutex;
    disk.SetObserver([&](SimulatedOperation kind, const std::string& path) {
      absl::MutexLock lock(&mutex);
      if (--countdown > 0 || images.size() >= 40) return;
      countdown = 1 + static_cast<std::int64_t>(when() % 5);
      Image image;
      image.is_killed = when() % 4 == 0;
      CrashOptions options;
      if (image.is_killed) options.unsynced = CrashOptions::Unsynced::kEverything;
      options.unit_bytes = when() % 2 == 0 ? 4096 : 512;
      options.tear_sectors = when() % 3 == 0;
      image.how = absl::StrCat(image.is_killed ? "killed" : "power lost", " before operation ",
                               static_cast<int>(kind), " of ", path);
      image.acknowledged = acknowledged;
      image.started = history.size();
      image.disk = disk.Crash(options);
      images.push_back(std::move(image));
    });
    for (int i = 0; i < 16; ++i) {
      const std::int64_t from = static_cast<std::int64_t>(random() % 6);
      const std::int64_t to = (from + 1 + static_cast<std::int64_t>(random() % 5)) % 6;
      const std::int64_t amount = 1 + static_cast<std::int64_t>(random() % 1000);
      {
        absl::MutexLock lock(&mutex);
        std::vector<std::int64_t> next = history.back();
        next[static_cast<std::size_t>(from)] -= amount;
        next[static_cast<std::size_t>(to)] += amount;
        history.push_back(next);
      }
      const absl::Status status = bank.Transfer(from, to, amount);
      ASSERT_TRUE(status.ok()) << status;
      absl::MutexLock lock(&mutex);
      acknowledged = history.size() - 1;
      if (random() % 6 == 0) disk.WriteBackSome();
    }
    disk.SetObserver(nullptr);
  }
  for (Image& image : images) {
    SCOPED_TRACE(image.how);
    // Recovery that is itself interrupted.
    while (random() % 2 == 0) {
      std::unique_ptr<SimulatedFileSystem> after;
      std::int64_t countdown = 1 + static_cast<std::int64_t>(random() % 60);
      CrashOptions options;
      if (image.is_killed) options.unsynced = CrashOptions::Unsynced::kEverything;
      image.disk->SetObserver([&](SimulatedOperation, const std::string&) {
        if (--countdown == 0) after = image.disk->Crash(options);
      });
      {
        Bank<Durability> bank(image.disk.get());
        const absl::Status opened = bank.Open();
        ASSERT_TRUE(opened.ok()) << opened;
      }
      image.disk->SetObserver(nullptr);
      if (after != nullptr) image.disk = std::move(after);
    }
    Bank<Durability> bank(image.disk.get());
    const absl::Status opened = bank.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    const std::vector<std::int64_t> found = bank.Read();
    EXPECT_EQ(Sum(found), Bank<Durability>::kTotal);
    if (image.is_killed || Durability::kAcknowledgedIsDurable) {
      bool is_one = false;
      for (std::size_t i = image.acknowledged; i < image.started; ++i)
        is_one = is_one || history[i] == found;
      EXPECT_TRUE(is_one) << "not what was acknowledged, nor what was begun";
    }
    const absl::Status again = bank.Transfer(0, 5, 1);
    EXPECT_TRUE(again.ok()) << again;
    EXPECT_EQ(Sum(bank.Read()), Bank<Durability>::kTotal);
    if (testing::Test::HasFailure()) return;
    image.disk.reset();
    ++*states;
  }
}

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  std::uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// Thousands of databases are opened: the log says errors only, and mutexes do not look for
// deadlocks.
void BeQuick() {
  SetMinimumLogLevel(LogLevel::kError);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

// Longer: ALOS_CRASH_STATES, of each mode.
template <class Durability>
void CrashUntilEnough() {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  BeQuick();
  const std::uint64_t only = FromEnvironment("ALOS_CRASH_SEED", 0);
  const std::uint64_t wanted = only != 0 ? 1 : FromEnvironment("ALOS_CRASH_STATES", 1000);
  const std::uint64_t first = only != 0 ? only : std::random_device()();
  std::uint64_t states = 0;
  for (std::uint64_t seed = first; states < wanted; ++seed) {
    CrashAndRecover<Durability>(seed, &states);
    if (testing::Test::HasFailure()) return;
  }
  std::cout << states << " crash states, seeds from " << first << "\n";
}
TEST(JointCrashTest, Async) { CrashUntilEnough<AsyncDurability>(); }
TEST(JointCrashTest, Sync) { CrashUntilEnough<SyncDurability>(); }

// Each call of the file system fails once, or from then on, in the middle of two commits.
template <class Durability>
void FailEachCall(SimulatedFault fault, absl::StatusCode code) {
  BeQuick();
  bool reached = true;
  for (std::uint64_t n = 1; reached && n < 200; ++n) {
    SCOPED_TRACE(testing::Message() << Durability::kName << ": call " << n << " fails");
    SimulatedFileSystem disk(n);
    std::vector<absl::Status> answers;
    {
      Bank<Durability> bank(&disk);
      ASSERT_TRUE(bank.Open().ok());
      ASSERT_TRUE(bank.Fill().ok());
      ASSERT_TRUE(bank.Transfer(1, 4, 5).ok());
      std::atomic<std::uint64_t> calls{0};
      disk.SetObserver([&](SimulatedOperation, const std::string&) { ++calls; });
      disk.FailNth(n, absl::Status(code, "a fault"), fault);
      answers.push_back(bank.Transfer(0, 3, 10));
      answers.push_back(bank.Transfer(0, 3, 10));
      reached = calls >= n;
      disk.SetObserver(nullptr);
      EXPECT_TRUE(bank.databases[0]->BeginTransaction() != nullptr) << "it can be read";
    }
    disk.ClearFaults();
    Bank<Durability> bank(&disk);
    const absl::Status opened = bank.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    const std::vector<std::int64_t> found = bank.Read();
    EXPECT_EQ(Sum(found), Bank<Durability>::kTotal);
    std::int64_t least = 0;
    for (const absl::Status& answer : answers) least += answer.ok() ? 10 : 0;
    EXPECT_LE(found[0], 100 - least) << "what was acknowledged is there";
    EXPECT_GE(found[0], 80);
    if (testing::Test::HasFailure()) return;
  }
}
TEST(JointFaultTest, Async) {
  FailEachCall<AsyncDurability>(SimulatedFault::kOnce, absl::StatusCode::kInternal);
  FailEachCall<AsyncDurability>(SimulatedFault::kForever, absl::StatusCode::kInternal);
}
TEST(JointFaultTest, Sync) {
  FailEachCall<SyncDurability>(SimulatedFault::kOnce, absl::StatusCode::kInternal);
  FailEachCall<SyncDurability>(SimulatedFault::kForever, absl::StatusCode::kInternal);
}
TEST(JointFaultTest, AFullDisk) {
  FailEachCall<AsyncDurability>(SimulatedFault::kOnce, absl::StatusCode::kResourceExhausted);
  FailEachCall<SyncDurability>(SimulatedFault::kOnce, absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace alos
