// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/index/primary_checkpoint.h"

#include <string>

#include "absl/strings/escaping.h"
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

}  // namespace
}  // namespace alos
