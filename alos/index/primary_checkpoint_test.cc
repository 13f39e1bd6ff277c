// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/index/primary_checkpoint.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "alos/base/crc32c.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

PrimaryCheckpoint Example() {
  PrimaryCheckpoint checkpoint;
  checkpoint.generation = 1;
  checkpoint.log_end = 4096;
  checkpoint.newest_timestamp = 99;
  checkpoint.transactions_complete_until = 98;
  checkpoint.stale_bytes = 64;
  checkpoint.last_record = 3000;
  checkpoint.shard_ends = {4096, 512};
  checkpoint.collections = {{3, 2, 200}};
  checkpoint.keys = 2;
  checkpoint.slots = {0, 0x1000000000040, 0, 0x2000000000041};
  return checkpoint;
}

TEST(PrimaryCheckpointTest, RoundTrip) {
  const auto decoded = DecodePrimaryCheckpoint(EncodePrimaryCheckpoint(Example()));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->generation, 1u);
  EXPECT_EQ(decoded->log_end, 4096u);
  EXPECT_EQ(decoded->newest_timestamp, 99u);
  EXPECT_EQ(decoded->transactions_complete_until, 98u);
  EXPECT_EQ(decoded->stale_bytes, 64u);
  EXPECT_EQ(decoded->last_record, 3000u);
  EXPECT_EQ(decoded->shard_ends, Example().shard_ends);
  ASSERT_EQ(decoded->collections.size(), 1u);
  EXPECT_EQ(decoded->collections[0].live_documents, 2u);
  EXPECT_EQ(decoded->keys, 2u);
  EXPECT_EQ(decoded->slots, Example().slots);
}

// The format is what is on users' disks.
TEST(PrimaryCheckpointTest, GoldenBytes) {
  EXPECT_EQ(absl::BytesToHexString(EncodePrimaryCheckpoint(Example())).substr(0, 160),
            "414c4f5353495831020000009ae19c2b010000000000000000100000000000006300000000000000"
            "62000000000000004000000000000000b80b00000000000002000000000000000010000000000000");
}

TEST(PrimaryCheckpointTest, EveryFlippedByteAndEveryCutIsFound) {
  const std::string good = EncodePrimaryCheckpoint(Example());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 1;
    EXPECT_TRUE(absl::IsDataLoss(DecodePrimaryCheckpoint(bad).status())) << i;
    EXPECT_TRUE(absl::IsDataLoss(DecodePrimaryCheckpoint(good.substr(0, i)).status())) << i;
  }
}

// What stands behind the checksum, with one that holds.
absl::Status Decode(const std::vector<std::uint64_t>& words, std::uint32_t version = 2) {
  std::string bytes = "ALOSSIX1";
  const std::string_view content(reinterpret_cast<const char*>(words.data()), words.size() * 8);
  const std::uint32_t checksum = Crc32c(content);
  bytes.append(reinterpret_cast<const char*>(&version), 4);
  bytes.append(reinterpret_cast<const char*>(&checksum), 4);
  bytes.append(content);
  return DecodePrimaryCheckpoint(bytes).status();
}

TEST(PrimaryCheckpointTest, NothingIsReadPastTheEndAlthoughTheChecksumHolds) {
  // Generation, log end, timestamps, stale bytes, last record.
  const std::vector<std::uint64_t> begin = {1, 512, 9, 9, 0, 0};
  const auto with = [&](std::vector<std::uint64_t> rest) {
    rest.insert(rest.begin(), begin.begin(), begin.end());
    return rest;
  };
  constexpr std::uint64_t kMany = std::uint64_t{1} << 61;
  // No shards, no collections, no keys, two slots.
  const std::vector<std::uint64_t> good = with({0, 0, 0, 2, 0, 0});
  EXPECT_TRUE(Decode(good).ok());
  const absl::Status other = Decode(good, 3);
  EXPECT_TRUE(absl::IsDataLoss(other)) << other;
  EXPECT_NE(other.message().find("another version, 3"), std::string::npos) << other;
  const struct {
    std::vector<std::uint64_t> words;
    std::string_view message;
  } cases[] = {
      {with({4, 1, 2, 3, 4}), "cut short"},                      // shards, and nothing behind them
      {with({kMany, 0, 0, 2}), "cut short"},                     // more shards than there are bytes
      {with({0, 1, 7, 7}), "cut short"},                         // a collection of two fields
      {with({0, kMany, 0, 2}), "cut short"},                     //
      {with({0, 1, 7, 7, 7, 0}), "cut short"},                   // the number of slots
      {with({0, 0, 0, 4, 0, 0}), "a wrong number of slots"},     // four, of which two are there
      {with({0, 0, 0, 3, 0, 0, 0}), "a wrong number of slots"},  // no power of two
      {with({0, 0, 2, 2, 8, 8}), "a wrong number of slots"},     // no free slot
  };
  for (const auto& [words, message] : cases) {
    const absl::Status status = Decode(words);
    EXPECT_TRUE(absl::IsDataLoss(status)) << message << ": " << status;
    EXPECT_NE(status.message().find(message), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace alos
