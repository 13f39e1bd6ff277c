// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Checking, repairing, and what becomes of every kind of damage: each byte of a small database is
// changed, and random bytes of a larger one with all kinds of index files. More of these:
//
//   ./bazelw test //alos/maintenance:check_test --test_env=ALOS_FLIPS=100000 --test_timeout=36000

#include "alos/maintenance/check.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "alos/base/log.h"
#include "alos/base/private_file_system.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/engine/engine.h"
#include "alos/index/index_definition.h"
#include "alos/maintenance/repair.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using Model = std::map<std::string, std::string>;  // id: document
using DiskEngine = BasicEngine<Policies<DefaultDurability>>;
using PrivateEngine = BasicEngine<Policies<DefaultDurability, PrivateFileSystem>>;

std::string Document(std::string_view id, std::int64_t n, std::string_view text) {
  std::string bytes;
  Builder(&bytes)
      .StartDocument()
      .Key("_id")
      .String(id)
      .Key("n")
      .Int(n)
      .Key("text")
      .String(text)
      .EndDocument();
  return bytes;
}
std::string IdFilter(std::string_view id) {
  std::string bytes;
  Builder(&bytes).StartDocument().Key("_id").String(id).EndDocument();
  return bytes;
}
ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }
Filter Where(const std::string& filter) { return *Filter::Compile(View(filter)); }

std::string TestPath(std::string_view name) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  std::filesystem::remove_all(path);
  return path;
}

// Every file below a directory, with its content.
std::map<std::string, std::string> FilesOf(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (!entry.is_regular_file() || entry.path().filename() == "alos.lock") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    files[entry.path().string()] =
        std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return files;
}

EngineOptions Options(const std::string& path, std::uint32_t shards) {
  EngineOptions options;
  options.data_path = path;
  options.shards = shards;
  options.cache_bytes = 0;
  options.automatic_indexes = false;
  options.expiry_interval = absl::ZeroDuration();
  return options;
}

// Documents that were inserted, changed, deleted and changed together.
template <class Engine>
void Fill(Engine* engine, int documents, Model* model) {
  auto* const database = *engine->GetOrCreateDatabase("db");
  const auto text = [](int i) {
    // Some are compressed.
    return i % 3 == 0 ? std::string(300, static_cast<char>('a' + i % 26)) : absl::StrCat("t", i);
  };
  for (int i = 0; i < documents; ++i) {
    const std::string id = absl::StrCat("d", i);
    const std::string document = Document(id, i, text(i));
    ASSERT_TRUE(database->InsertOne("c", View(document)).ok());
    (*model)[id] = document;
  }
  const auto change = [&](auto&& to, int i) {
    const std::string id = absl::StrCat("d", i);
    const std::string document = Document(id, i + 1000, text(i + 1));
    const std::string filter = IdFilter(id);
    std::string update;
    Builder(&update)
        .StartDocument()
        .Key("n")
        .Int(i + 1000)
        .Key("text")
        .String(text(i + 1))
        .EndDocument();
    const auto updated = to.UpdateOne("c", Where(filter), *Update::Compile(View(update)));
    ASSERT_TRUE(updated.ok()) << updated.status();
    (*model)[id] = document;
  };
  for (int i = 0; i < documents; i += 5) change(*database, i);
  for (int i = 1; i < documents; i += 7) {
    const std::string id = absl::StrCat("d", i);
    const auto deleted = database->DeleteOne("c", Where(IdFilter(id)));
    ASSERT_TRUE(deleted.ok()) << deleted.status();
    // What is not visible yet conflicts with a transaction that begins now.
    ASSERT_TRUE(database->WaitVisible(deleted->commit_timestamp).ok());
    model->erase(id);
  }
  for (int round = 0; round < 3; ++round) {
    const auto transaction = database->BeginTransaction();
    for (int i = round; i < documents && i < 40; i += 4) {
      if (model->contains(absl::StrCat("d", i))) change(*transaction, i);
    }
    const auto committed = transaction->Commit();
    ASSERT_TRUE(committed.ok()) << committed.status();
    ASSERT_TRUE(database->WaitVisible(*committed).ok());
  }
}

CheckReport Check(const std::string& path) {
  absl::StatusOr<CheckReport> report = CheckDataDirectory(path);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *report : CheckReport();
}

std::string Text(const CheckReport& report) {
  std::string text;
  for (const Finding& finding : report.findings) absl::StrAppend(&text, finding.ToString(), "\n");
  return text;
}

TEST(PrivateFileSystemTest, KeepsChangesToItself) {
  const std::string path = TestPath("private");
  std::filesystem::create_directories(path);
  const std::string name = path + "/file";
  { std::ofstream(name) << "what is there"; }
  {
    PrivateFileSystem system;
    auto file = system.Open(name, OpenMode::kReadWrite);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->WriteAt(5, "WAS").ok());
    ASSERT_TRUE((*file)->Allocate(10'000).ok());
    auto mapping = (*file)->Map(1 << 20);
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    EXPECT_EQ(std::string_view((*mapping)->data(), 14), std::string_view("what WASthere\0", 14));
    (*mapping)->data()[9'999] = 'x';
    char read = 0;
    EXPECT_EQ(*(*file)->ReadAt(9'999, {&read, 1}), 1u);
    EXPECT_EQ(read, 'x');
    auto other = system.Open(path + "/other", OpenMode::kCreate);
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(*system.ListDirectory(path), (std::vector<std::string>{"file", "other"}));
    ASSERT_TRUE(system.Rename(name, path + "/renamed").ok());
    EXPECT_FALSE(*system.Exists(name));
    EXPECT_EQ(*system.ListDirectory(path), (std::vector<std::string>{"other", "renamed"}));
    ASSERT_TRUE(system.Remove(path + "/other").ok());
    EXPECT_TRUE(absl::IsNotFound(system.Remove(path + "/other")));
    EXPECT_TRUE(absl::IsNotFound(system.Open(name, OpenMode::kReadOnly).status()));
  }
  EXPECT_EQ(FilesOf(path).at(name), "what is there");
}

TEST(CheckTest, FindsNothingInASoundDirectoryAndWritesNothing) {
  const std::string path = TestPath("sound");
  Model model;
  {
    auto engine = DiskEngine::Open(Options(path, 4));
    ASSERT_TRUE(engine.ok()) << engine.status();
    Fill(engine->get(), 300, &model);
    ASSERT_TRUE((*engine)->Close().ok());
  }
  const auto before = FilesOf(path);
  const CheckReport report = Check(path);
  EXPECT_TRUE(report.is_sound()) << Text(report);
  EXPECT_EQ(report.counts.notes, 0u) << Text(report);
  EXPECT_EQ(report.counts.databases, 1u);
  EXPECT_EQ(report.counts.logs, 4u);
  EXPECT_EQ(report.counts.checkpoints, 4u);
  EXPECT_EQ(report.counts.documents, model.size());
  EXPECT_GT(report.counts.records, 300u);
  EXPECT_EQ(FilesOf(path), before);
}

TEST(CheckTest, ADirectoryThatWasNotClosedIsCheckedAsItsNextStartWouldLeaveIt) {
  using SyncEngine = BasicEngine<Policies<SyncDurability>>;
  const std::string path = TestPath("unclosed");
  Model model;
  {
    auto engine = SyncEngine::Open(Options(path, 2));
    ASSERT_TRUE(engine.ok()) << engine.status();
    Fill(engine->get(), 50, &model);
    // As if the process had been killed.
  }
  const auto before = FilesOf(path);
  const CheckReport report = Check(path);
  EXPECT_TRUE(report.is_sound()) << Text(report);
  EXPECT_GT(report.counts.journal_groups, 0u);
  EXPECT_EQ(report.counts.documents, model.size());
  EXPECT_EQ(FilesOf(path), before);
}

TEST(CheckTest, FindsNothingAfterCompactions) {
  for (const bool is_closed : {true, false}) {
    const std::string path = TestPath("compacted");
    Model model;
    {
      EngineOptions options = Options(path, 2);
      options.history_retention = absl::ZeroDuration();
      auto engine = DiskEngine::Open(options);
      ASSERT_TRUE(engine.ok()) << engine.status();
      auto* const database = *(*engine)->GetOrCreateDatabase("db");
      IndexDefinition definition;
      definition.paths = {"n"};
      ASSERT_TRUE(database->CreateIndex("c", definition).ok());
      for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(database->DeleteMany("c", Filter()).ok());
        model.clear();
        Fill(engine->get(), 300, &model);
        const auto compacted = database->Compact();
        ASSERT_TRUE(compacted.ok()) << compacted.status();
        EXPECT_GT(compacted->bytes_back, 0u);
        if (round == 1) {
          ASSERT_TRUE(database->Checkpoint().ok());
        }
      }
      if (is_closed) {
        ASSERT_TRUE((*engine)->Close().ok());
      }
    }
    const CheckReport report = Check(path);
    EXPECT_TRUE(report.is_sound()) << Text(report);
    EXPECT_EQ(report.counts.documents, model.size());
  }
}

// Of a transaction over two shards one has given its record back.
TEST(CheckTest, FindsNothingInWhatCompactionLeftOfTransactions) {
  const std::string path = TestPath("compacted_transactions");
  {
    EngineOptions options = Options(path, 4);
    options.history_retention = absl::ZeroDuration();
    options.compaction = false;
    auto engine = DiskEngine::Open(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto* const database = *(*engine)->GetOrCreateDatabase("db");
    ASSERT_TRUE(database->InsertOne("c", View(Document("hot", 0, "x"))).ok());
    for (int i = 0; i < 200; ++i) {
      std::string set;
      Builder(&set).StartDocument().Key("n").Int(i + 1).EndDocument();
      const Update replace = *Update::Compile(View(set));
      const auto transaction = database->BeginTransaction();
      ASSERT_TRUE(
          transaction->InsertOne("c", View(Document(absl::StrCat("cold", i), i, "x"))).ok());
      ASSERT_TRUE(transaction->UpdateOne("c", Where(IdFilter("hot")), replace).ok());
      const auto committed = transaction->Commit();
      ASSERT_TRUE(committed.ok()) << committed.status();
    }
    const auto compacted = database->Compact();
    ASSERT_TRUE(compacted.ok()) << compacted.status();
    EXPECT_GT(compacted->bytes_back, 0u);
    ASSERT_TRUE((*engine)->Close().ok());
  }
  const CheckReport report = Check(path);
  EXPECT_TRUE(report.is_sound()) << Text(report);
  EXPECT_EQ(report.counts.notes, 0u) << Text(report);
  EXPECT_EQ(report.counts.documents, 201u);
}

TEST(CheckTest, IsRefusedWhileSomebodyHasTheDirectory) {
  const std::string path = TestPath("held");
  auto engine = DiskEngine::Open(Options(path, 2));
  ASSERT_TRUE(engine.ok()) << engine.status();
  const absl::Status refused = CheckDataDirectory(path).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), absl::StrCat("pid ", ::getpid()))) << refused;
  EXPECT_TRUE(absl::IsNotFound(CheckDataDirectory(path + "/absent").status()));
}

TEST(CheckTest, NamesFileOffsetCollectionAndDocument) {
  const std::string path = TestPath("named");
  Model model;
  {
    auto engine = DiskEngine::Open(Options(path, 1));
    ASSERT_TRUE(engine.ok()) << engine.status();
    Fill(engine->get(), 20, &model);
    auto* const database = *(*engine)->FindDatabase("db");
    ASSERT_TRUE(database->InsertOne("c", View(Document("odd one", 1, "unmistakable"))).ok());
    ASSERT_TRUE((*engine)->Close().ok());
  }
  const std::string name = path + "/db/shard_000.db";
  const std::string log = FilesOf(path).at(name);
  const std::size_t at = log.find("unmistakable");
  ASSERT_NE(at, std::string::npos);
  {
    std::fstream file(name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.put('a');
  }
  const CheckReport report = Check(path);
  ASSERT_EQ(report.counts.damages, 1u) << Text(report);
  const Finding& finding = report.findings[0];
  EXPECT_EQ(finding.file, name);
  EXPECT_EQ(finding.collection, "c");
  EXPECT_EQ(finding.document, "\"odd one\"");
  EXPECT_GT(finding.bytes, kRecordHeaderSize);
  EXPECT_LT(*finding.offset, at);
  EXPECT_GT(*finding.offset + finding.bytes, at);
}

// --- Transactions over several databases.

class JointCheckTest : public testing::Test {
 protected:
  JointCheckTest()
      : path_(TestPath(absl::StrCat(
            "joint_", testing::UnitTest::GetInstance()->current_test_info()->name()))) {
    Open();
    for (const char* name : {"east", "west"}) {
      auto* const database = *engine_->GetOrCreateDatabase(name);
      EXPECT_TRUE(database->InsertOne("c", View(Document("a", 0, "first"))).ok());
      EXPECT_TRUE(database->Flush().ok());
    }
  }

  void Open() {
    auto engine = DiskEngine::Open(Options(path_, 2));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  void Kill() { engine_.reset(); }

  // Puts `n` into the document of both databases, as one.
  void Commit(int n) {
    auto* const east = *engine_->GetOrCreateDatabase("east");
    auto* const west = *engine_->GetOrCreateDatabase("west");
    const auto transaction = *engine_->BeginTransaction({{east, west}});
    std::string update;
    Builder(&update).StartDocument().Key("n").Int(n).EndDocument();
    const std::string filter = IdFilter("a");
    for (auto* const database : {east, west}) {
      const auto updated = (*transaction->In(database))
                               ->UpdateOne("c", Where(filter), *Update::Compile(View(update)));
      ASSERT_TRUE(updated.ok()) << updated.status();
    }
    const absl::Status committed = transaction->Commit();
    ASSERT_TRUE(committed.ok()) << committed;
  }
  std::int64_t Value(std::string_view name) {
    std::int64_t value = -1;
    EXPECT_TRUE((*engine_->GetOrCreateDatabase(name))
                    ->FindById("c", EncodeStringId("a"),
                               [&](ValueView document) { value = document.Find("n")->AsInt64(); })
                    .ok());
    return value;
  }

  std::string Segment() const { return path_ + "/.joint/journal.000001"; }
  void Write(std::size_t at, std::string_view bytes) {
    std::fstream stream(Segment(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream << bytes;
    ASSERT_TRUE(stream.good());
  }
  void CopyWest() { std::filesystem::copy(path_ + "/west", path_ + ".west", kAll); }
  void PutBackWest() {
    std::filesystem::remove_all(path_ + "/west");
    std::filesystem::copy(path_ + ".west", path_ + "/west", kAll);
    std::filesystem::remove_all(path_ + ".west");
  }

  static constexpr auto kAll = std::filesystem::copy_options::recursive;
  const std::string path_;
  std::unique_ptr<DiskEngine> engine_;
};

TEST_F(JointCheckTest, WhatIsInstalledIsSound) {
  Commit(1);
  Commit(2);
  Kill();
  const auto before = FilesOf(path_);
  const CheckReport report = Check(path_);
  EXPECT_TRUE(report.findings.empty()) << Text(report);
  EXPECT_EQ(report.counts.decisions, 2u);
  EXPECT_EQ(FilesOf(path_), before);
}

TEST_F(JointCheckTest, WhatIsDecidedAndNotInstalledIsANote) {
  CopyWest();
  Commit(1);
  Commit(2);
  Kill();
  PutBackWest();
  const CheckReport report = Check(path_);
  EXPECT_TRUE(report.is_sound()) << Text(report);
  ASSERT_EQ(report.counts.notes, 1u) << Text(report);
  EXPECT_EQ(report.findings[0].file, path_ + "/west");
  EXPECT_TRUE(absl::StrContains(report.findings[0].what, "2 transaction(s)")) << Text(report);
  Open();
  EXPECT_EQ(Value("west"), 2) << "the start does what the note says";
}

TEST_F(JointCheckTest, ADatabaseThatIsAnotherOneOrOlderIsDamage) {
  CopyWest();
  ASSERT_TRUE(
      (*engine_->FindDatabase("west"))->InsertOne("c", View(Document("b", 0, "later"))).ok());
  Commit(1);
  Kill();
  PutBackWest();
  const CheckReport report = Check(path_);
  ASSERT_EQ(report.counts.damages, 1u) << Text(report);
  EXPECT_TRUE(absl::StrContains(report.findings[0].what, "an older copy of it")) << Text(report);
}

TEST_F(JointCheckTest, ADatabaseThatIsNotThereIsDamage) {
  Commit(1);
  Kill();
  std::filesystem::remove_all(path_ + "/west");
  const CheckReport report = Check(path_);
  ASSERT_EQ(report.counts.damages, 1u) << Text(report);
  EXPECT_EQ(report.findings[0].file, path_ + "/west");
  EXPECT_TRUE(absl::StrContains(report.findings[0].what, "is not there")) << Text(report);
  const auto only_east = CheckDataDirectory(path_, {.databases = {"east"}});
  ASSERT_TRUE(only_east.ok()) << only_east.status();
  EXPECT_TRUE(only_east->findings.empty()) << "of one database nothing is said about others";
}

TEST_F(JointCheckTest, ATornDecisionIsANoteALostOneIsDamage) {
  Commit(1);
  Commit(2);
  Kill();
  // Of a third one, that was being written.
  Write(3 * 4096, "AGRP, and then power was gone");
  {
    const CheckReport report = Check(path_);
    EXPECT_TRUE(report.is_sound()) << Text(report);
    ASSERT_EQ(report.counts.notes, 1u) << Text(report);
    EXPECT_EQ(report.findings[0].file, path_ + "/.joint");
    EXPECT_TRUE(absl::StrContains(report.findings[0].what, "never acknowledged")) << Text(report);
  }
  // The second is torn as well, but was installed.
  Write(2 * 4096 + 60, "????");
  const CheckReport report = Check(path_);
  EXPECT_EQ(report.counts.damages, 2u) << Text(report);
  EXPECT_TRUE(absl::StrContains(Text(report), "ends with decision 1, but database 'east'"))
      << Text(report);
}

TEST_F(JointCheckTest, DamageIsFoundAndRepairKeepsWhatCanBeRead) {
  Commit(1);
  CopyWest();
  Commit(2);
  Kill();
  PutBackWest();
  Write(4096 + 60, "????");
  const CheckReport damaged = Check(path_);
  ASSERT_EQ(damaged.counts.damages, 1u) << Text(damaged);
  EXPECT_EQ(damaged.findings[0].file, path_ + "/.joint");
  EXPECT_TRUE(absl::StrContains(damaged.findings[0].what, "journal.000001: offset 4096"))
      << Text(damaged);
  EXPECT_FALSE(DiskEngine::Open(Options(path_, 2)).ok());

  const auto before = FilesOf(path_);
  const auto dry = RepairDataDirectory(path_, {.dry_run = true});
  ASSERT_TRUE(dry.ok()) << dry.status();
  EXPECT_EQ(dry->actions.size(), 1u);
  EXPECT_EQ(FilesOf(path_), before);

  const auto repaired = RepairDataDirectory(path_, {});
  ASSERT_TRUE(repaired.ok()) << repaired.status();
  EXPECT_TRUE(repaired->check.is_sound()) << Text(repaired->check);
  ASSERT_EQ(repaired->actions.size(), 1u);
  ASSERT_EQ(repaired->lost_and_found.size(), 1u);
  EXPECT_EQ(FilesOf(path_).at(repaired->lost_and_found[0] + "/journal.000001"),
            before.at(Segment()));
  Open();
  EXPECT_EQ(Value("east"), 2);
  EXPECT_EQ(Value("west"), 2) << "the second decision could be read";
  // A start has nothing left to do with what was repaired.
  ASSERT_TRUE(engine_->Close().ok());
  engine_.reset();
  EXPECT_TRUE(Check(path_).findings.empty());
}

TEST_F(JointCheckTest, WhoseMarkerIsHiddenByDamageIsNotAccused) {
  Commit(1);
  Kill();
  std::filesystem::remove(path_ + "/west/manifest");
  const CheckReport report = Check(path_);
  ASSERT_EQ(report.counts.damages, 1u) << Text(report);
  EXPECT_EQ(report.findings[0].file, path_ + "/west/manifest");
}

// --- Flips.

// Opens a database with one byte changed, and looks at everything: no answer may be wrong.
class Flipper {
 public:
  Flipper(std::string path, std::uint32_t shards, const Model* model)
      : path_(std::move(path)), options_(Options(path_, shards)), model_(*model) {}

  struct Outcome {
    bool found = false;      // by the check
    bool refused = false;    // the database does not open
    int errors = 0;          // documents that are answered with an error
    bool is_in_log = false;  // in a record: not in the zeros between or behind them
  };

  Outcome Flip(const std::string& file, std::uint64_t offset, char change, bool read_all) {
    Outcome outcome;
    const std::string what = absl::StrCat(file, " offset ", offset, " xor ",
                                          static_cast<int>(static_cast<unsigned char>(change)));
    {
      PrivateFileSystem system;
      Apply(&system, file, offset, change);
      FindingList findings;
      CheckCounts counts;
      const absl::Status status = maintenance_internal::CheckDatabase(
          &system, path_ + "/db", CheckOptions(), &findings, &counts);
      outcome.found = !status.ok() || findings.damages() != 0;
    }
    PrivateFileSystem system;
    Apply(&system, file, offset, change);
    auto engine = PrivateEngine::Open(options_, &system);
    EXPECT_TRUE(engine.ok()) << what << ": " << engine.status();
    if (!engine.ok()) return outcome;
    auto database = (*engine)->FindDatabase("db");
    if (!database.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(database.status()) ||
                  absl::IsFailedPrecondition(database.status()))
          << what << ": " << database.status();
      outcome.refused = true;
      return outcome;
    }
    EXPECT_NE(*database, nullptr) << what;
    if (*database == nullptr) return outcome;
    Read(**database, what, read_all, &outcome);
    return outcome;
  }

 private:
  static void Apply(PrivateFileSystem* system, const std::string& path, std::uint64_t offset,
                    char change) {
    auto file = system->Open(path, OpenMode::kReadWrite);
    ASSERT_TRUE(file.ok()) << file.status();
    char byte = 0;
    ASSERT_EQ(*(*file)->ReadAt(offset, {&byte, 1}), 1u);
    byte = static_cast<char>(byte ^ change);
    ASSERT_TRUE((*file)->WriteAt(offset, {&byte, 1}).ok());
  }

  void Read(PrivateEngine::Database& database, const std::string& what, bool read_all,
            Outcome* outcome) {
    // By id: those that are there, those that were deleted, and one that never was.
    std::vector<std::string> ids = {"never"};
    if (read_all) {
      for (int i = 0; i < 400; ++i) ids.push_back(absl::StrCat("d", i));
    } else {
      for (int i = 0; i < 30; ++i) ids.push_back(absl::StrCat("d", random_() % 20'000));
    }
    for (const std::string& id : ids) {
      std::string bytes;
      const absl::StatusOr<bool> found = database.FindById(
          "c", EncodeStringId(id), [&](ValueView document) { bytes = document.bytes(); });
      if (!found.ok()) {
        EXPECT_TRUE(absl::IsDataLoss(found.status())) << what << ": " << found.status();
        EXPECT_TRUE(absl::StrContains(found.status().message(), absl::StrCat("\"", id, "\"")))
            << what << ": " << found.status();
        ++outcome->errors;
        continue;
      }
      const auto expected = model_.find(id);
      EXPECT_EQ(bytes, expected == model_.end() ? "" : expected->second)
          << what << ": document " << id;
      if (*found || expected == model_.end()) continue;
      // What is there must not be inserted again, either.
      ADD_FAILURE() << what << ": document " << id << " is missing";
    }
    // All, by a scan or through an index.
    std::string above;
    Builder(&above)
        .StartDocument()
        .Key("n")
        .StartDocument()
        .Key("$gte")
        .Int(0)
        .EndDocument()
        .EndDocument();
    const Filter filter = Where(above);
    const absl::StatusOr<std::uint64_t> count = database.Count("c", filter);
    if (count.ok()) {
      EXPECT_EQ(*count, model_.size()) << what;
    } else {
      EXPECT_TRUE(absl::IsDataLoss(count.status())) << what << ": " << count.status();
    }
    Model all;
    FindQuery query;
    query.filter = &filter;
    const absl::Status scanned = database.Find("c", query, [&](ValueView document) {
      all[std::string(document.Find("_id")->AsString())] = document.bytes();
      return true;
    });
    if (scanned.ok()) {
      EXPECT_TRUE(all == model_) << what << ": a query finds " << all.size() << " documents, not "
                                 << model_.size();
    } else {
      EXPECT_TRUE(absl::IsDataLoss(scanned)) << what << ": " << scanned;
    }
    // A write to what is damaged is refused, or right.
    const std::string again = Document("d2", 5, "again");
    const absl::Status inserted = database.InsertOne("c", View(again)).status();
    EXPECT_TRUE(absl::IsAlreadyExists(inserted) || absl::IsDataLoss(inserted))
        << what << ": " << inserted;
  }

  const std::string path_;
  const EngineOptions options_;
  const Model& model_;
  std::mt19937_64 random_{20261124};
};

// A committed transaction of which one record is damaged must not be undone: that would bring back
// the previous versions of its other documents, which are sound.
TEST(DamageTest, ATransactionWithADamagedRecordIsNotUndone) {
  SetMinimumLogLevel(static_cast<LogLevel>(4));  // nothing
  const std::string path = TestPath("damaged_transaction");
  {
    auto engine = DiskEngine::Open(Options(path, 2));
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto* const database = *(*engine)->GetOrCreateDatabase("db");
    for (int i = 0; i < 20; ++i)
      ASSERT_TRUE(database->InsertOne("c", View(Document(absl::StrCat("d", i), i, "old"))).ok());
    const auto transaction = database->BeginTransaction();
    for (int i = 0; i < 20; ++i) {
      std::string update;
      Builder(&update)
          .StartDocument()
          .Key("text")
          .String(absl::StrCat("transacted", i, "."))
          .EndDocument();
      ASSERT_TRUE(transaction
                      ->UpdateOne("c", Where(IdFilter(absl::StrCat("d", i))),
                                  *Update::Compile(View(update)))
                      .ok());
    }
    ASSERT_TRUE(transaction->Commit().ok());
    ASSERT_TRUE(database->Flush().ok());
    // These carry the mark that everything above was durable.
    for (int i = 20; i < 60; ++i)
      ASSERT_TRUE(database->InsertOne("c", View(Document(absl::StrCat("d", i), i, "new"))).ok());
    // As if the process had been killed: no checkpoint.
  }
  for (const auto& [name, content] : FilesOf(path)) {
    if (!absl::EndsWith(name, ".db")) continue;
    const std::size_t at = content.find("transacted7.");
    if (at == std::string::npos) continue;
    for (const std::size_t offset : {at, at - 60}) {  // its body, its header
      PrivateFileSystem system;
      {
        auto file = system.Open(name, OpenMode::kReadWrite);
        ASSERT_TRUE(file.ok());
        ASSERT_TRUE((*file)->WriteAt(offset, "?").ok());
      }
      auto engine = PrivateEngine::Open(Options(path, 2), &system);
      ASSERT_TRUE(engine.ok()) << engine.status();
      auto* const database = *(*engine)->FindDatabase("db");
      int right = 0;
      for (int i = 0; i < 20; ++i) {
        std::string text;
        const absl::StatusOr<bool> found = database->FindById(
            "c", EncodeStringId(absl::StrCat("d", i)),
            [&](ValueView document) { text = document.Find("text")->AsString(); });
        if (!found.ok()) {
          EXPECT_TRUE(absl::IsDataLoss(found.status())) << found.status();
          continue;
        }
        EXPECT_EQ(text, absl::StrCat("transacted", i, "."));
        ++right;
      }
      if (offset == at) {
        EXPECT_EQ(right, 19);
      }
    }
    return;
  }
  FAIL() << "d7 is in no log";
}

std::uint64_t Flips(std::uint64_t otherwise) {
  std::uint64_t flips = otherwise;
  if (const char* text = std::getenv("ALOS_FLIPS")) (void)absl::SimpleAtoi(text, &flips);
  return flips;
}

TEST(FlipTest, EachByteOfASmallDatabase) {
  SetMinimumLogLevel(static_cast<LogLevel>(4));  // nothing
  const std::string path = TestPath("every_byte");
  Model model;
  {
    auto engine = DiskEngine::Open(Options(path, 2));
    ASSERT_TRUE(engine.ok()) << engine.status();
    Fill(engine->get(), 16, &model);
    ASSERT_TRUE((*engine)->Close().ok());
  }
  std::mt19937_64 random(7);
  Flipper flipper(path, 2, &model);
  std::uint64_t flips = 0;
  std::uint64_t found = 0;
  std::uint64_t refused = 0;
  std::uint64_t answered = 0;
  for (const auto& [name, content] : FilesOf(path)) {
    const bool is_log = absl::EndsWith(name, ".db");
    // The zeros behind the end of a log are all alike.
    const std::size_t end =
        is_log ? std::min(content.size(), content.find_last_not_of('\0') + 64) : content.size();
    for (std::size_t offset = 0; offset < end; ++offset) {
      const char change = static_cast<char>(1 << (random() % 8));
      const auto outcome = flipper.Flip(name, offset, change, true);
      ++flips;
      found += outcome.found ? 1 : 0;
      refused += outcome.refused ? 1 : 0;
      answered += outcome.errors != 0 ? 1 : 0;
      // What answers with an error is found by the check.
      EXPECT_TRUE(outcome.found || (!outcome.refused && outcome.errors == 0))
          << name << " offset " << offset;
      // A byte of a log that is not zero is one of a record or of the header.
      if (is_log && content[offset] != 0 && !(offset >= 44 && offset < 512)) {
        EXPECT_TRUE(outcome.found) << name << " offset " << offset << " was not found";
      }
      if (HasFailure()) return;
    }
  }
  RecordProperty("flips", absl::StrCat(flips));
  std::cerr << flips << " flips: " << found << " found by the check, " << refused
            << " databases refused, " << answered
            << " with documents answered by an error, 0 wrong answers\n";
}

TEST(FlipTest, RandomBytesOfALargerDatabaseWithIndexes) {
  SetMinimumLogLevel(static_cast<LogLevel>(4));  // nothing
  const std::string path = TestPath("random_bytes");
  Model model;
  {
    auto engine = DiskEngine::Open(Options(path, 4));
    ASSERT_TRUE(engine.ok()) << engine.status();
    Fill(engine->get(), 20'000, &model);
    auto* const database = *(*engine)->FindDatabase("db");
    for (const std::vector<std::string>& paths :
         {std::vector<std::string>{"n"}, {"text"}, {"text", "n"}}) {
      IndexDefinition definition;
      definition.paths = paths;
      definition.types.resize(paths.size());
      ASSERT_TRUE(database->CreateIndex("c", definition).ok());
    }
    ASSERT_TRUE((*engine)->Close().ok());
  }
  const CheckReport report = Check(path);
  EXPECT_TRUE(report.is_sound()) << Text(report);
  EXPECT_GE(report.counts.index_files, 5u);
  EXPECT_GT(report.counts.index_rows, 16'000u);

  std::mt19937_64 random(20261124);
  Flipper flipper(path, 4, &model);
  const auto files = FilesOf(path);
  std::vector<std::pair<std::string, std::size_t>> sizes;
  std::size_t total = 0;
  for (const auto& [name, content] : files) {
    sizes.emplace_back(name, content.size());
    total += content.size();
  }
  std::uint64_t found = 0;
  std::uint64_t answered = 0;
  const std::uint64_t flips = Flips(40);
  for (std::uint64_t i = 0; i < flips; ++i) {
    // One half anywhere, the other one in a file of any kind.
    std::size_t at = random() % total;
    std::size_t file = 0;
    while (at >= sizes[file].second) at -= sizes[file++].second;
    if (i % 2 == 0) {
      file = random() % sizes.size();
      if (sizes[file].second == 0) continue;
      at = random() % sizes[file].second;
    }
    const auto outcome =
        flipper.Flip(sizes[file].first, at, static_cast<char>(1 << (random() % 8)), false);
    found += outcome.found ? 1 : 0;
    answered += outcome.errors != 0 || outcome.refused ? 1 : 0;
    EXPECT_TRUE(outcome.found || (!outcome.refused && outcome.errors == 0))
        << sizes[file].first << " offset " << at;
    if (HasFailure()) return;
  }
  std::cerr << flips << " flips in " << total << " bytes: " << found << " found by the check, "
            << answered << " answered by an error, 0 wrong answers\n";
}

// --- Repair.

// A database that was closed in order, and copies of it to be damaged.
class RepairTest : public testing::Test {
 protected:
  void SetUp() override {
    SetMinimumLogLevel(static_cast<LogLevel>(4));  // nothing
    master_ = TestPath(absl::StrCat("repair_", Name()));
    path_ = TestPath(absl::StrCat("repair_", Name(), "_copy"));
    auto engine = DiskEngine::Open(Options(master_, 2));
    ASSERT_TRUE(engine.ok()) << engine.status();
    Fill(engine->get(), 16, &model_);
    auto* const database = *(*engine)->FindDatabase("db");
    Insert(database, "victim", 1, "the older one");
    std::string update;
    Builder(&update)
        .StartDocument()
        .Key("n")
        .Int(2)
        .Key("text")
        .String("the newer one")
        .EndDocument();
    ASSERT_TRUE(
        database->UpdateOne("c", Where(IdFilter("victim")), *Update::Compile(View(update))).ok());
    model_["victim"] = Document("victim", 2, "the newer one");
    // These carry the mark that everything above was durable.
    ASSERT_TRUE(database->Flush().ok());
    for (int i = 0; i < 10; ++i) Insert(database, absl::StrCat("bystander", i), 3, "somebody else");
    ASSERT_TRUE((*engine)->Close().ok());
    Copy();
  }
  static std::string Name() {
    return testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  void Insert(DiskEngine::Database* database, std::string_view id, int n, std::string_view text) {
    const std::string document = Document(id, n, text);
    ASSERT_TRUE(database->InsertOne("c", View(document)).ok());
    model_[std::string(id)] = document;
  }
  void Copy() {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(master_, path_, std::filesystem::copy_options::recursive);
  }
  // The log and the place in it where these bytes are.
  std::pair<std::string, std::size_t> Find(std::string_view bytes) {
    for (const auto& [name, content] : FilesOf(path_)) {
      if (!absl::EndsWith(name, ".db")) continue;
      const std::size_t at = content.find(bytes);
      if (at != std::string::npos) return {name, at};
    }
    ADD_FAILURE() << bytes << " is in no log";
    return {};
  }
  static void Write(const std::string& file, std::size_t at, std::string_view bytes) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream << bytes;
    ASSERT_TRUE(stream.good());
  }
  RepairReport Repair(const RepairOptions& options = {}) {
    absl::StatusOr<RepairReport> report = RepairDataDirectory(path_, options);
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return RepairReport();
    EXPECT_TRUE(report->check.is_sound()) << Text(report->check);
    return *report;
  }
  // The documents that the engine has, twice: with and without checkpoints.
  Model Documents() {
    Model first;
    for (int round = 0; round < 2; ++round) {
      Model found;
      auto engine = DiskEngine::Open(Options(path_, 2));
      EXPECT_TRUE(engine.ok()) << engine.status();
      auto database = (*engine)->FindDatabase("db");
      EXPECT_TRUE(database.ok()) << database.status();
      if (!database.ok() || *database == nullptr) return found;
      const Filter all;
      FindQuery query;
      query.filter = &all;
      const absl::Status status = (*database)->Find("c", query, [&](ValueView document) {
        found[std::string(document.Find("_id")->AsString())] = document.bytes();
        return true;
      });
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_TRUE(
          (*database)->InsertOne("c", View(Document(absl::StrCat("new", round), 1, ""))).ok());
      EXPECT_TRUE((*engine)->Close().ok());
      if (round == 0) first = found;
      if (round == 1) found.erase("new0");
      EXPECT_TRUE(found == first);
      for (const auto& [name, content] : FilesOf(path_)) {
        if (absl::EndsWith(name, ".sidx")) std::filesystem::remove(name);
      }
    }
    return first;
  }

  std::string master_;
  std::string path_;
  Model model_;
};

TEST_F(RepairTest, WhereNothingIsDamagedNothingIsWritten) {
  const auto before = FilesOf(path_);
  EXPECT_TRUE(Repair().actions.empty());
  EXPECT_EQ(FilesOf(path_), before);
}

TEST_F(RepairTest, OneFlippedBitIsPutRight) {
  std::mt19937_64 random(20261124);
  const auto files = FilesOf(master_);
  int flips = 0;
  for (const auto& [name, content] : files) {
    const std::string file = path_ + name.substr(master_.size());
    for (std::size_t at = random() % 40; at < content.size(); at += 1 + random() % 80) {
      if (content[at] == 0) continue;
      Copy();
      Write(file, at, std::string(1, static_cast<char>(content[at] ^ (1 << (random() % 8)))));
      const bool was_sound = Check(path_).is_sound();
      const RepairReport report = Repair();
      EXPECT_EQ(report.deleted, 0u) << file << " " << at;
      EXPECT_EQ(report.actions.empty(), was_sound);
      EXPECT_TRUE(Documents() == model_) << file << " " << at;
      ++flips;
      if (HasFailure()) {
        for (const RepairAction& action : report.actions) std::cerr << action.ToString() << "\n";
        return;
      }
    }
  }
  EXPECT_GT(flips, 30);
}

TEST_F(RepairTest, ADamagedVersionIsDeletedAndKeptInLostAndFound) {
  const auto [file, at] = Find("the newer one");
  Write(file, at, "????");
  const std::string damaged_log = FilesOf(path_).at(file);
  const RepairReport report = Repair();
  ASSERT_EQ(report.deleted, 1u);
  Model expected = model_;
  expected.erase("victim");
  EXPECT_TRUE(Documents() == expected);
  ASSERT_EQ(report.lost_and_found.size(), 1u);
  const auto kept = FilesOf(report.lost_and_found[0]);
  const RepairAction& action = report.actions[0];
  EXPECT_EQ(action.document, "\"victim\"");
  EXPECT_EQ(kept.at(report.lost_and_found[0] + "/" + action.saved_as),
            damaged_log.substr(action.offset, action.bytes));
  EXPECT_TRUE(absl::StrContains(kept.at(report.lost_and_found[0] + "/previous_versions.ndjson"),
                                "the older one"));
  EXPECT_TRUE(absl::StrContains(kept.at(report.lost_and_found[0] + "/report.json"), "victim"));
}

TEST_F(RepairTest, ThePreviousVersionStaysWhenTheOperatorSaysSo) {
  const auto [file, at] = Find("the newer one");
  Write(file, at, "????");
  EXPECT_EQ(Repair({.keep_previous = true}).kept, 1u);
  Model expected = model_;
  expected["victim"] = Document("victim", 1, "the older one");
  EXPECT_TRUE(Documents() == expected);
}

TEST_F(RepairTest, ADryRunChangesNothing) {
  const auto [file, at] = Find("the newer one");
  Write(file, at, "????");
  const auto before = FilesOf(path_);
  const absl::StatusOr<RepairReport> report = RepairDataDirectory(path_, {.dry_run = true});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->deleted, 1u);
  EXPECT_EQ(FilesOf(path_), before);
}

// The header is gone, and with it whose version it was: the checkpoint tells.
TEST_F(RepairTest, TheOwnerOfUnreadableBytesIsFoundOut) {
  const auto [file, at] = Find("the newer one");
  Write(file, at - 70, std::string(60, '?'));
  const RepairReport report = Repair();
  EXPECT_EQ(report.deleted, 1u);
  Model expected = model_;
  expected.erase("victim");
  EXPECT_TRUE(Documents() == expected);
}

TEST_F(RepairTest, WhatNobodyCanTellTheOperatorDecides) {
  const auto [file, at] = Find("the newer one");
  Write(file, at - 70, std::string(60, '?'));
  std::filesystem::remove(file.substr(0, file.size() - 2) + "sidx");
  EXPECT_FALSE(Check(path_).is_sound());
  const auto before = FilesOf(path_);
  const absl::Status refused = RepairDataDirectory(path_, {}).status();
  ASSERT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "--uncertain=keep")) << refused;
  EXPECT_EQ(FilesOf(path_), before);
  Repair({.keep_uncertain = true});
  Model expected = model_;
  expected["victim"] = Document("victim", 1, "the older one");
  EXPECT_TRUE(Documents() == expected);
}

TEST_F(RepairTest, ManifestAndHeadersComeBack) {
  Write(path_ + "/db/manifest", 20, "????????");
  Write(path_ + "/db/shard_000.db", 0, std::string(44, '?'));
  EXPECT_FALSE(Check(path_).is_sound());
  Repair();
  EXPECT_TRUE(Documents() == model_);
}

TEST_F(RepairTest, AMissingLogIsTheOperatorsDecision) {
  std::filesystem::remove(path_ + "/db/shard_000.db");
  EXPECT_FALSE(Check(path_).is_sound());
  const absl::Status refused = RepairDataDirectory(path_, {}).status();
  ASSERT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "--accept-missing-logs")) << refused;
  Repair({.accept_missing_logs = true});
  const Model rest = Documents();
  EXPECT_LT(rest.size(), model_.size());
  EXPECT_GT(rest.size(), 0u);
}

TEST_F(RepairTest, OfADamagedJournalTheSoundGroupsArePutIntoTheLogs) {
  using SyncEngine = BasicEngine<Policies<SyncDurability>>;
  std::filesystem::remove_all(path_);
  Model model;
  {
    auto engine = SyncEngine::Open(Options(path_, 2));
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto* const database = *(*engine)->GetOrCreateDatabase("db");
    for (int i = 0; i < 10; ++i) {
      const std::string id = absl::StrCat("d", i);
      model[id] = Document(id, i, "journalled");
      const auto inserted = database->InsertOne("c", View(model[id]));
      ASSERT_TRUE(inserted.ok());
      ASSERT_TRUE(database->WaitVisible(inserted->commit_timestamp).ok());
    }
  }
  Write(path_ + "/db/journal.000001", 4096 + 60, "????");
  const CheckReport check = Check(path_);
  EXPECT_FALSE(check.is_sound());
  Repair();
  EXPECT_TRUE(Documents() == model);  // the logs had it all
}

}  // namespace
}  // namespace alos
