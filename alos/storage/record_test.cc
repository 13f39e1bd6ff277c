// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/storage/record.h"

#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

constexpr std::uint64_t kGeneration = 0x1122334455667788;
constexpr std::uint64_t kOffset = 512;

std::string MakeRecord(std::string_view id, std::string_view body) {
  RecordHeader header{};
  header.size = static_cast<std::uint32_t>(kRecordHeaderSize + id.size() + body.size());
  header.commit_timestamp = 7;
  header.previous_offset = 0x200;
  header.collection = 3;
  header.raw_body_size = static_cast<std::uint32_t>(body.size());
  header.body_checksum = Crc32c(body);
  header.id_size = static_cast<std::uint16_t>(id.size());
  header.kind = RecordKind::kPut;
  header.header_checksum = RecordHeaderChecksum(header, id, kGeneration, kOffset);
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  return bytes.append(id).append(body);
}

// The format is what is on users' disks: these bytes must never change.
TEST(RecordTest, GoldenBytes) {
  EXPECT_EQ(absl::BytesToHexString(MakeRecord("\xa1x", "\x81\xa3_id\xa1x")),
            "3900000050f609d6070000000000000000020000000000000300000007000000"
            "00000000d3fca7dd0200010000000000a17881a35f6964a178");
}

TEST(RecordTest, AnyFlippedBitIsSeen) {
  const std::string good = MakeRecord("\xa1x", "\x81\xa3_id\xa1x");
  ASSERT_EQ(CheckRecord(good.data(), good.size(), kGeneration, kOffset), RecordState::kValid);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    const RecordState state = CheckRecord(bad.data(), bad.size(), kGeneration, kOffset);
    const bool in_body = bit / 8 >= kRecordHeaderSize + 2;
    EXPECT_EQ(state, in_body ? RecordState::kBodyDamaged : RecordState::kUnrecognizable)
        << "bit " << bit;
  }
}

TEST(RecordTest, ARecordElsewhereIsNotOne) {
  const std::string record = MakeRecord("\xa1x", "\x80");
  EXPECT_EQ(CheckRecord(record.data(), record.size(), kGeneration, kOffset + 8),
            RecordState::kUnrecognizable);
  EXPECT_EQ(CheckRecord(record.data(), record.size(), kGeneration + 1, kOffset),
            RecordState::kUnrecognizable);
}

TEST(RecordTest, CutAtEveryLengthIsNotARecord) {
  const std::string record = MakeRecord("\xa1x", "\x81\xa3_id\xa1x");
  for (std::size_t size = 0; size < record.size(); ++size) {
    const std::string cut = record.substr(0, size);
    EXPECT_EQ(CheckRecord(cut.data(), cut.size(), kGeneration, kOffset),
              RecordState::kUnrecognizable)
        << size;
  }
}

TEST(RecordTest, HeadersNeverCrossASector) {
  for (std::uint64_t end = 512; end < 4096; ++end) {
    const std::uint64_t next = NextRecordOffset(end);
    EXPECT_GE(next, end);
    EXPECT_LT(next, end + kRecordHeaderSize + kRecordAlignment);
    EXPECT_EQ(next % kRecordAlignment, 0u);
    EXPECT_EQ(next / kSectorSize, (next + kRecordHeaderSize - 1) / kSectorSize);
    EXPECT_EQ(NextRecordOffset(next), next);
  }
}

}  // namespace
}  // namespace alos
