// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Starts that find something: a manifest that is gone, or older than what happened; files of
// several moments; half a transaction. Each with every call of the file system failing, once.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "alos/base/log.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "alos/storage/atomic_file.h"
#include "alos/storage/manifest.h"
#include "alos/storage/record.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

using TestEngine = BasicEngine<Policies<AsyncDurability, SimulatedFileSystem>>;
using Database = TestEngine::Database;

EngineOptions Options() {
  EngineOptions options;
  options.data_path = "data";
  options.shards = 2;
  options.cache_bytes = 0;
  options.automatic_indexes = false;
  options.expiry_interval = absl::ZeroDuration();
  options.flush_interval = absl::Hours(1);
  return options;
}

std::string Document(int id) {
  std::string bytes;
  Builder(&bytes).StartDocument().Key("_id").Int(id).Key("text").String("whatever").EndDocument();
  return bytes;
}
void Insert(Database& database, std::string_view collection, int from, int to) {
  for (int id = from; id < to; ++id) {
    const std::string document = Document(id);
    ASSERT_TRUE(database.InsertOne(collection, ValueView::FromTrusted(document)).ok());
  }
}
std::uint64_t Count(Database& database, std::string_view collection) {
  const absl::StatusOr<std::uint64_t> count = database.Count(collection, Filter());
  EXPECT_TRUE(count.ok()) << count.status();
  return count.value_or(0);
}

std::string Read(SimulatedFileSystem& disk, const std::string& path) {
  return *ReadWholeFile(disk, path);
}
void Write(SimulatedFileSystem& disk, const std::string& path, std::string_view bytes) {
  auto file = *disk.Open(path, OpenMode::kCreate);
  ASSERT_TRUE(file->Truncate(0).ok());
  ASSERT_TRUE(file->WriteAt(0, bytes).ok());
  ASSERT_TRUE(file->Sync().ok());
}

class RecoveryTest : public testing::Test {
 protected:
  RecoveryTest() {
    SetMinimumLogLevel(static_cast<LogLevel>(4));  // nothing
    Open();
  }

  void Open() {
    engine_ = *TestEngine::Open(Options(), &disk_);
    database_ = *engine_->GetOrCreateDatabase("db");
  }
  void Kill() {
    database_ = nullptr;
    engine_.reset();
  }
  // Opens copies of the disk, one after the other, with the n-th call failing; and again, when it
  // does not fail any more: then `check` has to hold.
  void EveryCallFails(const std::function<void(Database&)>& check) {
    int failed = 0;
    for (int n = 1;; ++n) {
      const auto disk = disk_.Crash({.unsynced = CrashOptions::Unsynced::kEverything});
      disk->FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
      const std::uint64_t before = disk->operation_count();
      bool is_done = false;
      {
        auto engine = TestEngine::Open(Options(), disk.get());
        absl::Status status = engine.status();
        if (status.ok()) {
          const auto database = (*engine)->FindDatabase("db");
          status = database.status();
          is_done = disk->operation_count() - before < static_cast<std::uint64_t>(n);
          if (status.ok()) check(**database);
        }
        if (!status.ok()) {
          EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO")) << n << ": " << status;
          ++failed;
        }
      }
      disk->ClearFaults();
      auto engine = *TestEngine::Open(Options(), disk.get());
      const auto database = engine->FindDatabase("db");
      ASSERT_TRUE(database.ok() && *database != nullptr) << n << ": " << database.status();
      check(**database);
      if (is_done || HasFailure()) break;
    }
    EXPECT_GT(failed, 5);
  }
  // The record of a log that has these bytes in its body.
  std::pair<std::string, std::uint64_t> Find(std::string_view bytes) {
    for (const char* name : {"data/db/shard_000.db", "data/db/shard_001.db"}) {
      if (!*disk_.Exists(name)) continue;
      const std::string log = Read(disk_, name);
      for (std::uint64_t at = 512; IsPlausibleRecord(log.data() + at, log.size() - at);) {
        const RecordView record(log.data() + at);
        if (absl::StrContains(record.stored_body(), bytes)) return {name, at};
        at = NextRecordOffset(at + record.header().size);
        if (at >= log.size()) break;
      }
    }
    ADD_FAILURE() << bytes << " is in no log";
    return {};
  }

  SimulatedFileSystem disk_{1};
  std::unique_ptr<TestEngine> engine_;
  Database* database_ = nullptr;
};

TEST_F(RecoveryTest, ALostManifestIsNotANewDatabase) {
  Insert(*database_, "c", 0, 10);
  ASSERT_TRUE(engine_->Close().ok());
  Kill();
  ASSERT_TRUE(disk_.Remove("data/db/manifest").ok());
  engine_ = *TestEngine::Open(Options(), &disk_);
  const absl::Status status = engine_->GetOrCreateDatabase("db").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "the manifest is missing, but there is shard_00"))
      << status;
  // What has nothing to do with a database is no reason.
  ASSERT_TRUE(disk_.CreateDirectories("data/other").ok());
  Write(disk_, "data/other/.db", "too short a name");
  Write(disk_, "data/other/notes", "something");
  EXPECT_TRUE(engine_->GetOrCreateDatabase("other").ok());
}

TEST_F(RecoveryTest, MakingADatabaseReturnsEveryError) {
  int failed = 0;
  for (int n = 1;; ++n) {
    const std::string name = absl::StrCat("new", n);
    disk_.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
    const std::uint64_t before = disk_.operation_count();
    const absl::Status status = engine_->GetOrCreateDatabase(name).status();
    const bool is_done = disk_.operation_count() - before < static_cast<std::uint64_t>(n);
    disk_.ClearFaults();
    if (!status.ok()) {
      EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO")) << status;
      ++failed;
    }
    const auto database = engine_->GetOrCreateDatabase(name);
    ASSERT_TRUE(database.ok()) << database.status();
    Insert(**database, "c", 0, 1);
    if (is_done) break;
  }
  EXPECT_GT(failed, 10);
}

// A collection is dropped, or replaced, when the event says so; power may be gone before the
// manifest does.
TEST_F(RecoveryTest, TheManifestFollowsTheEvents) {
  for (const bool is_replaced : {false, true}) {
    for (const char* name : {"source", "c", "d"}) {
      ASSERT_TRUE(database_->Drop(name).ok());
    }
    Insert(*database_, "source", 0, 3);
    Insert(*database_, "c", 0, 10);
    Insert(*database_, "d", 0, 5);
    std::string manifest;
    disk_.SetObserver([&](SimulatedOperation kind, const std::string& path) {
      if (kind == SimulatedOperation::kRename && path == "data/db/manifest.new")
        manifest = disk_.DurableContents("data/db/manifest");
    });
    if (is_replaced) {
      std::string stages;
      Builder(&stages)
          .StartArray()
          .StartDocument()
          .Key("$out")
          .String("c")
          .EndDocument()
          .EndArray();
      const auto pipeline = Pipeline::Compile(ValueView::FromTrusted(stages));
      ASSERT_TRUE(pipeline.ok()) << pipeline.status();
      const absl::Status status =
          database_->Aggregate("source", *pipeline, [](ValueView) { return true; });
      ASSERT_TRUE(status.ok()) << status;
    } else {
      ASSERT_TRUE(database_->Drop("c").ok());
    }
    disk_.SetObserver(nullptr);
    ASSERT_TRUE(database_->Flush().ok());
    const auto collections = [&] {
      std::vector<std::uint32_t> ids;
      const Manifest decoded = *DecodeManifest("manifest", Read(disk_, "data/db/manifest"));
      for (const auto& collection : decoded.collections) ids.push_back(collection.id);
      return ids;
    };
    const std::vector<std::uint32_t> after = collections();
    Kill();
    Write(disk_, "data/db/manifest", manifest);
    ASSERT_NE(collections(), after);
    EveryCallFails([&](Database& database) {
      EXPECT_EQ(Count(database, "c"), is_replaced ? 3u : 0u);
      EXPECT_EQ(Count(database, "d"), 5u);
    });
    Open();
    EXPECT_EQ(collections(), after) << "as it should have been";
  }
}

TEST_F(RecoveryTest, ADamagedEventIsAnError) {
  Insert(*database_, "unmistakable", 0, 10);
  ASSERT_TRUE(database_->Drop("unmistakable").ok());
  ASSERT_TRUE(engine_->Close().ok());
  Kill();
  const auto [name, at] = Find("unmistakable");
  const auto open = [&] {
    auto engine = *TestEngine::Open(Options(), &disk_);
    return engine->FindDatabase("db").status();
  };
  ASSERT_TRUE(open().ok());
  // A byte of the body, and then one of the header.
  const std::uint64_t body = Read(disk_, name).find("unmistakable", at);
  for (const std::uint64_t offset : {body, at + 9}) {
    disk_.FlipBits(name, offset, 1);
    const absl::Status status = open();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("offset ", at))) << status;
    disk_.FlipBits(name, offset, 1);
  }
  EXPECT_TRUE(open().ok());
}

// A log that is older than its checkpoint, or than what another shard's checkpoint counts on.
TEST_F(RecoveryTest, FilesOfSeveralMomentsAreReadFromTheirBeginning) {
  for (const bool has_checkpoint : {true, false}) {
    ASSERT_TRUE(database_->Drop("c").ok());
    Insert(*database_, "c", 0, 20);
    ASSERT_TRUE(database_->Flush().ok());
    const std::string old = Read(disk_, "data/db/shard_000.db");
    Insert(*database_, "c", 20, 60);
    const std::uint64_t in_newer = Count(*database_, "c");
    ASSERT_TRUE(engine_->Close().ok());
    Kill();
    Write(disk_, "data/db/shard_000.db", old);
    if (!has_checkpoint) {
      ASSERT_TRUE(disk_.Remove("data/db/shard_000.sidx").ok());
    }
    std::uint64_t found = 0;
    EveryCallFails([&](Database& database) {
      const std::uint64_t count = Count(database, "c");
      EXPECT_GE(count, 20u);
      EXPECT_LT(count, in_newer) << "what was in the log alone is not there";
      if (found == 0) found = count;
      EXPECT_EQ(count, found);
    });
    Open();
  }
}

TEST_F(RecoveryTest, HalfATransactionIsUndone) {
  for (const bool has_checkpoint : {false, true}) {
    ASSERT_TRUE(database_->Drop("c").ok());
    Insert(*database_, "c", 0, 20);
    if (has_checkpoint) {
      ASSERT_TRUE(database_->Checkpoint().ok());
    }
    ASSERT_TRUE(database_->Flush().ok());
    const std::string old = Read(disk_, "data/db/shard_000.db");
    const auto transaction = database_->BeginTransaction();
    for (int id = 100; id < 116; ++id) {
      const std::string document = Document(id);
      ASSERT_TRUE(transaction->InsertOne("c", ValueView::FromTrusted(document)).ok());
    }
    ASSERT_TRUE(transaction->Commit().ok());
    ASSERT_EQ(Count(*database_, "c"), 36u);
    Kill();
    Write(disk_, "data/db/shard_000.db", old);
    EveryCallFails([](Database& database) { EXPECT_EQ(Count(database, "c"), 20u); });
    Open();
  }
}

}  // namespace
}  // namespace alos
