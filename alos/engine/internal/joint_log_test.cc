// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/engine/internal/joint_log.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "gtest/gtest.h"
#include "testing/simulated_file_system.h"

namespace alos::engine_internal {
namespace {

using Log = JointLog<SimulatedFileSystem>;
constexpr std::string_view kSegment = "data/.joint/journal.000001";

std::string Decision(std::uint64_t number) {
  JointDecisionBuilder builder;
  DatabaseId id;
  id.fill('e');
  builder.StartPart("east", id, number);
  builder.AddWrite(1, "\xa1k", "\x81\xa1k\x01");
  id.fill('w');
  builder.StartPart("west", id, number + 1);
  builder.AddWrite(2, "\xa1l", std::nullopt);
  return builder.Finish();
}

absl::Status AppendOne(Log& log) {
  const std::uint64_t number = log.NextNumber();
  return log.Append({{number, Decision(number)}});
}

// The numbers of the decisions that the next process finds.
absl::StatusOr<std::vector<std::uint64_t>> Load(SimulatedFileSystem& disk) {
  Log log(&disk, "data");
  ALOS_ASSIGN_OR_RETURN(const auto decisions, log.Load());
  std::vector<std::uint64_t> numbers;
  for (const JointDecision& decision : decisions) {
    EXPECT_EQ(decision.epoch, decisions[0].epoch);
    numbers.push_back(decision.number);
  }
  return numbers;
}

using Numbers = std::vector<std::uint64_t>;

TEST(JointLogTest, DecisionsComeBack) {
  SimulatedFileSystem disk(1);
  EXPECT_EQ(*Load(disk), Numbers()) << "no directory";
  std::uint64_t epoch = 0;
  {
    Log log(&disk, "data");
    EXPECT_TRUE(log.empty());
    EXPECT_EQ(log.size_bytes(), 0u);
    ASSERT_TRUE(AppendOne(log).ok());
    ASSERT_TRUE(
        log.Append({{log.NextNumber(), Decision(2)}, {log.NextNumber(), Decision(3)}}).ok());
    EXPECT_FALSE(log.empty());
    EXPECT_GT(log.size_bytes(), 0u);
    epoch = log.epoch();
  }
  Log log(&disk, "data");
  const auto decisions = log.Load();
  ASSERT_TRUE(decisions.ok()) << decisions.status();
  ASSERT_EQ(decisions->size(), 3u);
  EXPECT_EQ(log.epoch(), epoch);
  EXPECT_EQ(log.NextNumber(), 4u);
  EXPECT_EQ(log.recovery().groups, 2u);
  const JointDecision& last = (*decisions)[2];
  EXPECT_EQ(last.number, 3u);
  ASSERT_EQ(last.parts.size(), 2u);
  EXPECT_EQ(last.parts[0].database, "east");
  EXPECT_EQ(last.parts[0].id[15], 'e');
  EXPECT_EQ(last.parts[0].snapshot, 3u);
  EXPECT_EQ(last.parts[0].writes[0].collection, 1u);
  EXPECT_EQ(last.parts[0].writes[0].id, "\xa1k");
  EXPECT_EQ(last.parts[0].writes[0].document, "\x81\xa1k\x01");
  EXPECT_EQ(last.parts[1].writes[0].document, std::nullopt);
  ASSERT_TRUE(log.Clear().ok());
  EXPECT_EQ(*Load(disk), Numbers());
  EXPECT_TRUE(disk.Names("data/.joint").empty());
}

TEST(JointLogTest, TrimmingForgetsWhatIsInstalled) {
  SimulatedFileSystem disk(1);
  Log log(&disk, "data");
  ASSERT_TRUE(AppendOne(log).ok());
  // Somebody has removed it already.
  ASSERT_TRUE(disk.Remove(std::string(kSegment)).ok());
  ASSERT_TRUE(log.Trim().ok());
  ASSERT_TRUE(AppendOne(log).ok());
  EXPECT_EQ(*Load(disk), Numbers{2}) << "numbers go on";
  ASSERT_TRUE(log.Trim().ok());
  EXPECT_EQ(*Load(disk), Numbers());
  EXPECT_EQ(disk.Names("data/.joint").size(), 1u);
}

TEST(JointLogTest, WhatIsNoDecisionIsRefused) {
  ASSERT_TRUE(DecodeJointParts(Decision(1)).ok());
  const std::string id(16, 'i');
  // A decision with one part that has these fields.
  const auto decision = [](const std::function<void(Builder&)>& fields) {
    std::string bytes;
    Builder builder(&bytes);
    builder.StartDocument().Key("parts").StartArray().StartDocument();
    fields(builder);
    builder.EndDocument().EndArray().EndDocument();
    return bytes;
  };
  // A good part, with one write that has these fields.
  const auto write = [&](const std::function<void(Builder&)>& fields) {
    return decision([&](Builder& builder) {
      builder.Key("database").String("d").Key("id").Binary(id).Key("writes").StartArray();
      fields(builder);
      builder.EndArray();
    });
  };
  ASSERT_TRUE(DecodeJointParts(write([](Builder& b) {
                b.StartArray().Uint(1).Binary("i").Null().EndArray();
              })).ok());
  const std::string bad[] = {
      "",
      "\xc1",
      "\x90",
      "\x80",
      "\x81\xa5parts\x01",
      "\x81\xa5parts\x91\x01",
      decision([](Builder&) {}),
      decision([](Builder& b) { b.Key("database").Int(1); }),
      decision([](Builder& b) { b.Key("database").String("d"); }),
      decision([](Builder& b) { b.Key("database").String("d").Key("id").String("i"); }),
      decision([](Builder& b) { b.Key("database").String("d").Key("id").Binary("short"); }),
      decision([&](Builder& b) { b.Key("database").String("d").Key("id").Binary(id); }),
      decision([&](Builder& b) {
        b.Key("database").String("d").Key("id").Binary(id).Key("writes").Int(1);
      }),
      write([](Builder& b) { b.Int(1); }),
      write([](Builder& b) { b.StartArray().Uint(1).EndArray(); }),
      write([](Builder& b) { b.StartArray().Uint(1).Uint(2).Null().EndArray(); }),
      write([](Builder& b) { b.StartArray().Uint(1).Binary("i").Uint(3).EndArray(); }),
  };
  for (const std::string& bytes : bad) {
    const absl::Status status = DecodeJointParts(bytes).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << absl::StrCat("'", bytes, "': ") << status;
  }
}

TEST(JointLogTest, AGroupWhoseDecisionCannotBeReadIsDamage) {
  SimulatedFileSystem disk(1);
  {
    Log log(&disk, "data");
    ASSERT_TRUE(AppendOne(log).ok());
    ASSERT_TRUE(log.Append({{log.NextNumber(), "no document"}}).ok());
    ASSERT_TRUE(AppendOne(log).ok());
  }
  const absl::Status status = Load(disk).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "data/.joint: a decision that cannot be read"))
      << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "move this directory away")) << status;
  Log log(&disk, "data");
  const auto salvaged = log.Salvage();
  ASSERT_TRUE(salvaged.ok()) << salvaged.status();
  EXPECT_EQ(salvaged->decisions, 2u);
  EXPECT_EQ(salvaged->old_segments, std::vector<std::string>{"journal.000001"});
  ASSERT_TRUE(disk.Remove(std::string(kSegment)).ok());
  EXPECT_EQ(*Load(disk), (Numbers{1, 3}));
}

TEST(JointLogTest, OfNothingThatCanBeReadNothingIsKept) {
  SimulatedFileSystem disk(1);
  {
    Log log(&disk, "data");
    ASSERT_TRUE(log.Append({{log.NextNumber(), "no document"}}).ok());
  }
  Log log(&disk, "data");
  const auto salvaged = log.Salvage();
  ASSERT_TRUE(salvaged.ok()) << salvaged.status();
  EXPECT_EQ(salvaged->decisions, 0u);
  EXPECT_EQ(disk.Names("data/.joint"), std::vector<std::string>{"journal.000001"});
}

// The log stays when one of its databases cannot be opened, and is written to all the same.
TEST(JointLogTest, WhatFollowsATornTailIsNoDamage) {
  for (const bool is_segment_torn : {false, true}) {
    SimulatedFileSystem disk(1);
    {
      Log log(&disk, "data");
      ASSERT_TRUE(AppendOne(log).ok());
    }
    if (is_segment_torn) {
      auto file = *disk.Open("data/.joint/journal.000002", OpenMode::kCreate);
      ASSERT_TRUE(file->WriteAt(0, "ALOSJNL1 and then power was gone").ok());
    } else {
      disk.Overwrite(std::string(kSegment), 8192, "AGRP and then power was gone");
    }
    Log log(&disk, "data");
    ASSERT_TRUE(log.Load().ok());
    EXPECT_GT(log.recovery().torn_bytes, 0u);
    for (int n = 1; n <= (is_segment_torn ? 2 : 3); ++n) {
      disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
      EXPECT_TRUE(absl::IsDataLoss(log.CutTornTail())) << n;
      disk.ClearFaults();
    }
    ASSERT_TRUE(log.CutTornTail().ok());
    ASSERT_TRUE(AppendOne(log).ok());
    EXPECT_EQ(*Load(disk), (Numbers{1, 2}));
  }
}

// After an error of any call what was acknowledged is there, in its order, and the log can go on
// once it has been opened again.
TEST(JointLogTest, EveryCallMayFail) {
  for (int n = 1;; ++n) {
    SimulatedFileSystem disk(static_cast<std::uint64_t>(n));
    ASSERT_TRUE(disk.CreateDirectories("data").ok());
    std::uint64_t acknowledged = 0;
    std::uint64_t trimmed = 0;
    const auto run = [&]() -> absl::Status {
      Log log(&disk, "data");
      ALOS_RETURN_IF_ERROR(log.Load().status());
      ALOS_RETURN_IF_ERROR(log.CutTornTail());
      for (int i = 0; i < 2; ++i) {
        const std::uint64_t number = log.NextNumber();
        ALOS_RETURN_IF_ERROR(log.Append({{number, Decision(number)}}));
        acknowledged = number;
      }
      trimmed = acknowledged;
      ALOS_RETURN_IF_ERROR(log.Trim());
      const std::uint64_t number = log.NextNumber();
      ALOS_RETURN_IF_ERROR(log.Append({{number, Decision(number)}}));
      acknowledged = number;
      ALOS_RETURN_IF_ERROR(Load(disk).status());
      trimmed = acknowledged;
      return log.Clear();
    };
    disk.FailNth(static_cast<std::uint64_t>(n), absl::DataLossError("simulated EIO"));
    const std::uint64_t before = disk.operation_count();
    const absl::Status status = run();
    if (disk.operation_count() - before < static_cast<std::uint64_t>(n)) {
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_GT(n, 30);
      break;
    }
    EXPECT_TRUE(absl::StrContains(status.message(), "simulated EIO")) << n << ": " << status;
    disk.ClearFaults();
    const auto crashed = disk.Crash({.unsynced = CrashOptions::Unsynced::kNothing});
    const absl::StatusOr<Numbers> numbers = Load(*crashed);
    ASSERT_TRUE(numbers.ok()) << n << ": " << numbers.status();
    for (std::uint64_t number = trimmed + 1; number <= acknowledged; ++number)
      EXPECT_NE(std::find(numbers->begin(), numbers->end(), number), numbers->end()) << n;
    EXPECT_TRUE(std::is_sorted(numbers->begin(), numbers->end())) << n;
    EXPECT_TRUE(run().ok()) << "after call " << n;
  }
}

TEST(JointLogTest, AFullDiskRefusesADecisionAndTakesItLater) {
  SimulatedFileSystem disk(1);
  Log log(&disk, "data");
  ASSERT_TRUE(AppendOne(log).ok());
  disk.SetCapacityBytes(disk.used_bytes());
  JointDecisionBuilder builder;
  builder.StartPart("east", DatabaseId{}, 1);
  builder.AddWrite(1, "\xa1k", std::string(400 << 10, 'x'));
  const std::string large = builder.Finish();
  EXPECT_TRUE(absl::IsResourceExhausted(log.Append({{2, large}})));
  EXPECT_EQ(*Load(disk), Numbers{1});
  disk.SetCapacityBytes(16 << 20);
  EXPECT_TRUE(log.Append({{2, large}}).ok());
  EXPECT_EQ(*Load(disk), (Numbers{1, 2}));
}

}  // namespace
}  // namespace alos::engine_internal
