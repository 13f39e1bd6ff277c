// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Backups under load: a bank whose total never changes is backed up, or copied file by file, again
// and again while it works, and each copy must have that total.

#include "alos/maintenance/backup.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/log.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/engine/engine.h"
#include "alos/maintenance/engine_backup_source.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

constexpr int kAccounts = 40;
constexpr std::int64_t kStart = 1000;

std::string Account(int account, std::int64_t balance) {
  std::string bytes;
  Builder(&bytes)
      .StartDocument()
      .Key("_id")
      .Int(account)
      .Key("balance")
      .Int(balance)
      .Key("padding")
      .String(std::string(100 + account % 200, static_cast<char>('a' + balance % 26)))
      .EndDocument();
  return bytes;
}
std::string IdOf(int account) {
  std::string bytes;
  Builder(&bytes).Int(account);
  return *EncodeId(ValueView::FromTrusted(bytes));
}
Filter WhereId(int account) {
  std::string bytes;
  Builder(&bytes).StartDocument().Key("_id").Int(account).EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}
// A replacement: the whole document, so that it can be told to be whole.
Update SetBalance(int account, std::int64_t balance) {
  return *Update::Compile(ValueView::FromTrusted(Account(account, balance)));
}

std::string TestPath(std::string_view name) {
  const std::string path =
      absl::StrCat(testing::TempDir(), "/",
                   testing::UnitTest::GetInstance()->current_test_info()->name(), "_", name);
  std::filesystem::remove_all(path);
  return path;
}

EngineOptions Options(const std::string& path) {
  EngineOptions options;
  options.data_path = path;
  options.shards = 4;
  options.cache_bytes = 0;
  options.flush_interval = absl::Milliseconds(20);
  options.history_retention = absl::ZeroDuration();
  return options;
}

template <class Durability>
class BankTest : public testing::Test {
 protected:
  using TestEngine = BasicEngine<Policies<Durability>>;
  using Database = typename TestEngine::Database;

  void SetUp() override {
    SetMinimumLogLevel(static_cast<LogLevel>(4));  // nothing
    path_ = TestPath(absl::StrCat(Durability::kName, "_data"));
    auto engine = TestEngine::Open(Options(path_));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    database_ = *engine_->GetOrCreateDatabase("bank");
    std::uint64_t last = 0;
    for (int i = 0; i < kAccounts; ++i) {
      const auto inserted =
          database_->InsertOne("accounts", ValueView::FromTrusted(Account(i, kStart)));
      ASSERT_TRUE(inserted.ok()) << inserted.status();
      last = inserted->commit_timestamp;
    }
    ASSERT_TRUE(database_->WaitVisible(last).ok());
  }
  void TearDown() override { StopWork(); }

  void StartWork() {
    for (int worker = 0; worker < 2; ++worker)
      workers_.emplace_back([this, worker] { Work(worker); });
  }
  void StopWork() {
    stop_ = true;
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  // Moves money between two or three accounts, in one transaction.
  void Work(int worker) {
    std::mt19937_64 random(worker + 1);
    while (!stop_) {
      const auto transaction = database_->BeginTransaction();
      std::set<int> accounts;
      while (accounts.size() < 2 + random() % 2)
        accounts.insert(static_cast<int>(random() % kAccounts));
      std::map<int, std::int64_t> balances;
      for (const int account : accounts) {
        const auto found = transaction->FindById(
            "accounts", IdOf(account),
            [&](ValueView document) { balances[account] = document.Find("balance")->AsInt64(); });
        ASSERT_TRUE(found.ok() && *found) << found.status();
      }
      const std::int64_t amount = static_cast<std::int64_t>(random() % 10);
      balances.begin()->second -= amount;
      balances.rbegin()->second += amount;
      bool written = true;
      for (const auto& [account, balance] : balances) {
        written =
            written &&
            transaction->UpdateOne("accounts", WhereId(account), SetBalance(account, balance)).ok();
      }
      const auto committed = written ? transaction->Commit() : absl::AbortedError("");
      if (committed.ok()) {
        ASSERT_TRUE(database_->WaitVisible(*committed).ok());
        ++transfers_;
      }
    }
  }

  // What a data directory has: every account once, whole, and the money.
  void ExpectWhole(const std::string& path, const std::string& what) {
    auto engine = TestEngine::Open(Options(path));
    ASSERT_TRUE(engine.ok()) << what << ": " << engine.status();
    auto database = (*engine)->FindDatabase("bank");
    ASSERT_TRUE(database.ok()) << what << ": " << database.status();
    ASSERT_NE(*database, nullptr) << what;
    std::int64_t total = 0;
    int accounts = 0;
    const absl::Status status = (*database)->Find("accounts", {}, [&](ValueView document) {
      const std::int64_t balance = document.Find("balance")->AsInt64();
      const int account = static_cast<int>(document.Find("_id")->AsInt64());
      EXPECT_EQ(document.bytes(), Account(account, balance)) << what;
      total += balance;
      ++accounts;
      return true;
    });
    EXPECT_TRUE(status.ok()) << what << ": " << status;
    EXPECT_EQ(accounts, kAccounts) << what;
    EXPECT_EQ(total, kAccounts * kStart) << what;
    EXPECT_TRUE((*engine)->Close().ok());
  }

  // A group of the journal was copied while it was written, and a later one after it was: looks
  // like damage, and the copy is refused.
  bool IsCutInTheJournal(const std::string& path) {
    if (std::is_same_v<Durability, AsyncDurability>) return false;
    auto engine = TestEngine::Open(Options(path));
    if (!engine.ok()) return false;
    const absl::Status status = (*engine)->FindDatabase("bank").status();
    return absl::IsDataLoss(status) && absl::StrContains(status.message(), "damaged commit group");
  }

  std::string path_;
  std::unique_ptr<TestEngine> engine_;
  Database* database_ = nullptr;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> transfers_{0};
  std::vector<std::thread> workers_;
};

using Durabilities = testing::Types<AsyncDurability, SyncDurability>;
TYPED_TEST_SUITE(BankTest, Durabilities);

TYPED_TEST(BankTest, EachOnlineBackupHasTheTotal) {
  const std::string folder = TestPath("backups");
  this->StartWork();
  EngineBackupSource source(this->engine_.get());
  BackupOptions options;
  options.databases = {"bank"};
  constexpr int kBackups = 50;
  std::uint64_t first_copied = 0;
  for (int i = 0; i < kBackups; ++i) {
    const std::uint64_t before = this->database_->ReadTimestamp();
    const auto summary = BackupToFolder(source, options, folder);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(summary->number, static_cast<std::uint32_t>(i + 1));
    EXPECT_GE(summary->timestamps.at("bank"), before);
    EXPECT_TRUE(summary->damaged.empty());
    if (i == 0) first_copied = summary->bytes_copied;
  }
  this->StopWork();
  EXPECT_GT(first_copied, 0u);
  EXPECT_GT(this->transfers_, 20u);
  for (int i = 1; i <= kBackups; ++i) {
    const std::string target = TestPath("restored");
    const auto restored =
        RestoreFromFolder(folder, {.data_path = target, .number = static_cast<std::uint32_t>(i)});
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_TRUE(restored->check.is_sound());
    this->ExpectWhole(target, absl::StrCat("backup ", i));
    if (this->HasFailure()) return;
  }
  const auto verified = VerifyBackups(folder);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->backups, static_cast<std::uint64_t>(kBackups));
  EXPECT_TRUE(verified->problems.empty()) << verified->problems[0];
  std::cerr << kBackups << " backups restored during " << this->transfers_
            << " transfers, 0 inconsistent totals\n";
}

TYPED_TEST(BankTest, EachPlainCopyOfTheLiveDirectoryHasTheTotal) {
  this->StartWork();
  // Checkpoints in the middle of copies, too.
  std::atomic<bool> copied{false};
  std::thread checkpoints([&] {
    while (!copied) {
      EXPECT_TRUE(this->database_->Checkpoint().ok());
      absl::SleepFor(absl::Milliseconds(3));
    }
  });
  constexpr int kCopies = 60;
  int copies = 0;
  int refused = 0;
  while (copies < kCopies && refused < 10 * kCopies) {
    const std::string target = TestPath("copied");
    std::filesystem::create_directories(target + "/bank");
    for (const auto& entry : std::filesystem::directory_iterator(this->path_ + "/bank")) {
      // As cp does; a file may be gone again.
      std::ifstream from(entry.path(), std::ios::binary);
      if (!from) continue;
      std::ofstream to(target + "/bank/" + entry.path().filename().string(), std::ios::binary);
      to << from.rdbuf();
    }
    if (this->IsCutInTheJournal(target)) {
      ++refused;
      continue;
    }
    this->ExpectWhole(target, absl::StrCat("copy ", copies));
    if (this->HasFailure()) break;
    ++copies;
  }
  EXPECT_EQ(copies, kCopies);
  copied = true;
  checkpoints.join();
  this->StopWork();
  EXPECT_GT(this->transfers_, 20u);
  std::cerr << copies << " copies during " << this->transfers_
            << " transfers, 0 inconsistent totals; " << refused << " refused\n";
}

TYPED_TEST(BankTest, AStreamIsAWholeBackup) {
  EngineBackupSource source(this->engine_.get());
  std::string stream;
  const auto summary = BackupToStream(source, {.databases = {"bank"}}, [&](std::string_view bytes) {
    stream.append(bytes);
    return absl::OkStatus();
  });
  ASSERT_TRUE(summary.ok()) << summary.status();
  const auto restore = [&](const std::string& bytes, const std::string& target) {
    std::size_t at = 0;
    return RestoreFromStream(
        [&](std::uint64_t count, std::string* out) -> absl::Status {
          if (count > bytes.size() - at) return absl::DataLossError("it ends too early");
          *out = bytes.substr(at, count);
          at += count;
          return absl::OkStatus();
        },
        {.data_path = target});
  };
  const std::string target = TestPath("streamed");
  const auto restored = restore(stream, target);
  ASSERT_TRUE(restored.ok()) << restored.status();
  this->ExpectWhole(target, "stream");
  EXPECT_TRUE(absl::IsAlreadyExists(restore(stream, target).status()));
  // However it is cut or changed: an error, and no database.
  std::mt19937_64 random(1);
  for (int i = 0; i < 60; ++i) {
    std::string bad = stream;
    if (i % 2 == 0) {
      bad.resize(random() % stream.size());
    } else {
      const std::size_t at = random() % stream.size();
      bad[at] = static_cast<char>(bad[at] ^ (1 << (random() % 8)));
    }
    const std::string nowhere = TestPath("nowhere");
    const absl::Status refused = restore(bad, nowhere).status();
    EXPECT_FALSE(refused.ok());
    EXPECT_FALSE(std::filesystem::exists(nowhere + "/bank"));
  }
}

TYPED_TEST(BankTest, TheSecondBackupHasOnlyWhatIsNew) {
  EngineBackupSource source(this->engine_.get());
  const std::string folder = TestPath("backups");
  BackupOptions options;
  options.databases = {"bank"};
  // Some chunks.
  for (int i = 0; i < 3000; ++i) {
    std::string document;
    Builder(&document)
        .StartDocument()
        .Key("_id")
        .Int(i)
        .Key("text")
        .String(absl::StrCat(i, std::string(2000, static_cast<char>('a' + i % 26)), i * 7))
        .EndDocument();
    ASSERT_TRUE(this->database_->InsertOne("more", ValueView::FromTrusted(document)).ok());
  }
  const auto first = BackupToFolder(source, options, folder);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->bytes_copied, first->bytes);
  const auto second = BackupToFolder(source, options, folder);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->bytes_copied, 0u);
  EXPECT_LT(std::filesystem::file_size(second->file), 10'000u);
  ASSERT_TRUE(this->database_->DeleteOne("more", WhereId(5)).ok());
  const auto third = BackupToFolder(source, options, folder);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_GT(third->bytes_copied, 0u);
  EXPECT_LE(third->bytes_copied, kBackupChunkBytes + 64 * 1024);

  // A byte of the first one, which the others need.
  {
    std::fstream file(first->file, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(first->file) / 2));
    file.put('?');
  }
  const auto verified = VerifyBackups(folder);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_FALSE(verified->problems.empty());
  const std::string target = TestPath("restored");
  EXPECT_TRUE(
      absl::IsDataLoss(RestoreFromFolder(folder, {.data_path = target, .number = 1}).status()));
  EXPECT_FALSE(std::filesystem::exists(target + "/bank"));
  EXPECT_TRUE(
      absl::IsNotFound(RestoreFromFolder(folder, {.data_path = target, .number = 9}).status()));
}

TYPED_TEST(BankTest, ADamagedSourceIsNamed) {
  ASSERT_TRUE(this->engine_->Close().ok());
  this->engine_ = nullptr;
  for (const auto& entry : std::filesystem::directory_iterator(this->path_ + "/bank")) {
    if (entry.path().extension() != ".db") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(700);
    file << "????";
    break;
  }
  auto engine = TestFixture::TestEngine::Open(Options(this->path_));
  ASSERT_TRUE(engine.ok()) << engine.status();
  this->engine_ = *std::move(engine);
  this->database_ = *this->engine_->FindDatabase("bank");
  EngineBackupSource source(this->engine_.get());
  const auto summary = BackupToFolder(source, {.databases = {"bank"}}, TestPath("backups"));
  ASSERT_TRUE(summary.ok()) << summary.status();
  ASSERT_EQ(summary->damaged.size(), 1u);
  EXPECT_TRUE(absl::StrContains(summary->damaged[0].file, "shard_")) << summary->damaged[0].file;
  // Scrubbing finds the same.
  const auto damaged = this->database_->Scrub(0, [](absl::Duration) { return true; });
  ASSERT_TRUE(damaged.ok());
  EXPECT_EQ(*damaged, 1u);
  const std::string stats = this->database_->Stats();
  EXPECT_EQ(ValueView::FromTrusted(stats).Find("scrub_damaged_records")->AsInt64(), 1);
  EXPECT_EQ(ValueView::FromTrusted(stats).Find("scrub_passes")->AsInt64(), 1);
}

}  // namespace
}  // namespace alos
