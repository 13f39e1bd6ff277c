// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A torn tail is not called corruption, nor corruption a torn tail: 10,000 generated pairs. Each is
// one history of a log, ended twice: once by a loss of power while more was being written, and once
// by damage to something that is known to have been durable.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"
#include "alos/base/epoch.h"
#include "alos/storage/journal.h"
#include "alos/storage/shard_log.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

constexpr int kPairsOfEach = 5000;
constexpr std::uint64_t kGeneration = 0x1234567890ABCDEF;
using Log = BasicShardLog<SimulatedFileSystem>;

CrashOptions RandomCrash(std::mt19937_64& random) {
  CrashOptions options;
  options.unit_bytes = random() % 3 == 0 ? 4096 : 512;
  options.tear_sectors = random() % 2 == 0;
  options.garbage_in_growth = random() % 2 == 0;
  return options;
}

// Damages [begin, end) of a file: bits, a stretch of zeros, or bytes of elsewhere in it. Returns
// false when that changed nothing.
bool Damage(SimulatedFileSystem& disk, const std::string& path, std::uint64_t begin,
            std::uint64_t end, std::mt19937_64& random) {
  const std::string before = disk.DurableContents(path);
  switch (random() % 3) {
    case 0:
      disk.FlipBits(path, begin + random() % (end - begin),
                    static_cast<std::uint8_t>(1 << random() % 8));
      break;
    case 1: {
      const std::uint64_t at = begin + random() % (end - begin);
      disk.Overwrite(path, at, std::string(1 + random() % (end - at), '\0'));
      break;
    }
    case 2: {
      const std::uint64_t size = 1 + random() % (end - begin);
      disk.Overwrite(path, begin, before.substr(random() % (before.size() - size), size));
      break;
    }
  }
  return disk.DurableContents(path) != before;
}

struct Written {
  std::uint64_t offset;
  std::uint64_t end;
};

// A log whose last flush is followed by more, unflushed.
class LogHistory {
 public:
  explicit LogHistory(std::uint64_t seed) : disk(seed), random(seed) {
    ALOS_CHECK_OK(disk.CreateDirectories("/d"));
    log = *Log::Create(disk, "/d/log", {}, kGeneration, &epochs);
    ALOS_CHECK_OK(disk.SyncDirectory("/d"));
    const int flushes = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < flushes; ++i) {
      Append();
      ALOS_CHECK_OK(log->Sync());
    }
    durable_end = log->durable_end();
    flushed = records.size();
  }

  void Append() {
    const int count = 1 + static_cast<int>(random() % 6);
    for (int i = 0; i < count; ++i) {
      RecordHeader header{};
      if (log->durable_end() > marked) {
        // As the engine does: the first append after a flush says what was flushed.
        header.kind = RecordKind::kDurableMark;
        header.previous_offset = marked = log->durable_end();
        marked_at = records.size();
        Put(header, {}, {});
      }
      header = RecordHeader{};
      header.kind = random() % 8 == 0 ? RecordKind::kDelete : RecordKind::kPut;
      header.collection = 1;
      const std::string id = absl::StrCat("id", random() % 100);
      const std::string body(header.kind == RecordKind::kPut ? random() % 1200 : 0,
                             static_cast<char>('a' + random() % 26));
      header.raw_body_size = static_cast<std::uint32_t>(body.size());
      Put(header, id, body);
    }
  }

  void Put(const RecordHeader& header, std::string_view id, std::string_view body) {
    const auto prepared = log->Prepare(header, id, body, body.empty() ? 0 : Crc32c(body));
    ALOS_CHECK_OK(prepared);
    const std::string_view bytes = log->Seal(*prepared, ++timestamp);
    log->Publish();
    records.push_back({prepared->offset, prepared->offset + bytes.size()});
  }

  SimulatedFileSystem disk;
  std::mt19937_64 random;
  EpochManager epochs;
  std::unique_ptr<Log> log;
  std::vector<Written> records;
  std::size_t flushed = 0;        // of the records
  std::size_t marked_at = 0;      // the record that has the last mark
  std::uint64_t marked = 0;       // what it says
  std::uint64_t durable_end = 0;  // at the last flush
  std::uint64_t timestamp = 0;
};

// Opens the log and recovers it; how many records there are.
LogRecovery Recover(SimulatedFileSystem& disk, std::uint64_t durable_end) {
  EpochManager epochs;
  auto log = Log::Open(disk, "/d/log", {}, &epochs);
  ALOS_CHECK_OK(log);
  auto recovery =
      (*log)->Recover(Log::kFirstRecordOffset, durable_end,
                      std::numeric_limits<std::uint64_t>::max(), [](std::uint64_t, RecordView) {});
  ALOS_CHECK_OK(recovery);
  return *recovery;
}

TEST(TornTailTest, ShardLog) {
  int torn = 0;
  int corrupt = 0;
  for (std::uint64_t seed = 1; corrupt < kPairsOfEach; ++seed) {
    SCOPED_TRACE(seed);
    LogHistory history(seed);
    // One end: power is lost.
    history.Append();
    const std::unique_ptr<SimulatedFileSystem> lost =
        history.disk.Crash(RandomCrash(history.random));
    LogRecovery recovery = Recover(*lost, 0);
    EXPECT_TRUE(recovery.damaged.empty()) << "a torn tail was called corruption";
    EXPECT_GE(recovery.records, history.flushed) << "too much was cut";
    torn += recovery.torn_bytes != 0;
    // The other: what came after it is on the disk too, and says that the damaged part was.
    ALOS_CHECK_OK(history.log->Sync());
    const bool has_checkpoint = history.random() % 4 == 0;
    const std::uint64_t known = has_checkpoint ? history.log->durable_end() : history.marked;
    std::vector<Written> candidates;
    for (std::size_t i = 0; i < history.records.size(); ++i) {
      if (history.records[i].end <= known) candidates.push_back(history.records[i]);
    }
    ASSERT_FALSE(candidates.empty());
    const Written victim = candidates[history.random() % candidates.size()];
    const auto damaged = history.disk.Crash({.unsynced = CrashOptions::Unsynced::kNothing});
    if (!Damage(*damaged, "/d/log", victim.offset, victim.end, history.random)) continue;
    recovery = Recover(*damaged, has_checkpoint ? known : 0);
    ASSERT_FALSE(recovery.damaged.empty()) << "corruption was called a torn tail";
    EXPECT_EQ(recovery.torn_bytes, 0u);
    EXPECT_LE(recovery.damaged.front().offset, victim.offset);
    EXPECT_GT(recovery.damaged.back().end, victim.offset);
    ++corrupt;
    if (testing::Test::HasFailure()) return;
  }
  std::cout << corrupt << " pairs of shard logs, " << torn << " of them with a torn tail\n";
}

TEST(TornTailTest, Journal) {
  int torn = 0;
  int corrupt = 0;
  const DatabaseId database_id{};
  for (std::uint64_t seed = 1; corrupt < kPairsOfEach; ++seed) {
    SCOPED_TRACE(seed);
    SimulatedFileSystem disk(seed);
    std::mt19937_64 random(seed);
    ALOS_CHECK_OK(disk.CreateDirectories("/d"));
    std::vector<Written> groups;
    std::uint64_t lsn = 0;
    auto segment =
        *JournalSegment<SimulatedFileSystem>::Create(disk, "/d", database_id, 1, kGeneration, lsn);
    const auto append = [&] {
      JournalGroup group;
      const int records = 1 + static_cast<int>(random() % 4);
      for (int i = 0; i < records; ++i) {
        const std::string bytes(random() % 3000, static_cast<char>('a' + random() % 26));
        group.Add(++lsn, {0, kGeneration, 512, bytes});
      }
      const std::uint64_t offset = segment->size_bytes();
      const std::uint64_t size = group.size_bytes();
      const absl::Status appended = segment->Append(group, lsn - 1);
      groups.push_back({offset, offset + size});
      return appended;
    };
    const auto replay = [&](SimulatedFileSystem& image) {
      return ReplayJournal(image, "/d", database_id,
                           [](const CommitRecord&) { return absl::OkStatus(); });
    };
    const int flushed = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < flushed; ++i) ALOS_CHECK_OK(append());
    const std::uint64_t acknowledged = lsn;
    // One end: power is lost while the next group is written.
    std::unique_ptr<SimulatedFileSystem> lost;
    disk.SetObserver([&](SimulatedOperation kind, const std::string&) {
      if (kind == SimulatedOperation::kSync) lost = disk.Crash(RandomCrash(random));
    });
    ALOS_CHECK_OK(append());
    disk.SetObserver(nullptr);
    absl::StatusOr<JournalRecovery> recovery = replay(*lost);
    ASSERT_TRUE(recovery.ok()) << "a torn tail was called corruption: " << recovery.status();
    EXPECT_GE(recovery->last_lsn, acknowledged) << "too much was cut";
    torn += recovery->torn_bytes != 0;
    // The other: damage to any group but the last one, which is a torn tail for all that is known.
    const Written victim = groups[random() % (groups.size() - 1)];
    const auto damaged = disk.Crash({.unsynced = CrashOptions::Unsynced::kNothing});
    const std::string path = absl::StrCat("/d/", JournalFileName(1));
    if (!Damage(*damaged, path, victim.offset, victim.end, random)) continue;
    recovery = replay(*damaged);
    EXPECT_EQ(recovery.status().code(), absl::StatusCode::kDataLoss)
        << "corruption was called a torn tail";
    ++corrupt;
    if (testing::Test::HasFailure()) return;
  }
  std::cout << corrupt << " pairs of journals, " << torn << " of them with a torn tail\n";
}

// Segments that are removed: power is lost before every operation, and whatever names survive, an
// older segment is never there without the newest.
TEST(TornTailTest, TheNewestSegmentGoesLast) {
  int images = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    SimulatedFileSystem disk(seed);
    ALOS_CHECK_OK(disk.CreateDirectories("/d"));
    std::vector<std::uint64_t> segments;
    for (std::uint64_t sequence = 1; sequence <= 2 + seed % 3; ++sequence) {
      ALOS_CHECK_OK(JournalSegment<SimulatedFileSystem>::Create(disk, "/d", DatabaseId{}, sequence,
                                                                kGeneration, sequence));
      segments.push_back(sequence);
    }
    const auto check = [&](const SimulatedFileSystem& image) {
      const std::vector<std::string> names = image.Names("/d");
      ++images;
      EXPECT_TRUE(names.empty() || std::find(names.begin(), names.end(),
                                             JournalFileName(segments.back())) != names.end());
    };
    disk.SetObserver([&](SimulatedOperation, const std::string&) { check(*disk.Crash()); });
    ALOS_CHECK_OK(RemoveJournal(disk, "/d", segments));
    disk.SetObserver(nullptr);
    check(*disk.Crash());
    EXPECT_TRUE(disk.Crash()->Names("/d").empty());
  }
  std::cout << images << " images\n";
}

}  // namespace
}  // namespace alos
