// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/frame.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "alos/net/secure_channel.h"
#include "gtest/gtest.h"
#include "plugin/ciphers.h"

namespace alos {
namespace {

constexpr std::size_t kLimit = 1 << 20;

std::string Frame(std::string_view payload) {
  SecureChannel<plugin::Ciphers> plain;
  std::string frame;
  const std::size_t start = BeginFrame(plain, &frame);
  frame.append(payload);
  EndFrame(plain, start, &frame);
  return frame;
}

// Hands `bytes` to the reader in pieces of at most `piece` and collects the payloads.
std::vector<std::string> ReadAll(FrameReader& reader, std::string_view bytes, std::size_t piece) {
  std::vector<std::string> payloads;
  while (!bytes.empty()) {
    const absl::Span<char> room = reader.Prepare();
    EXPECT_FALSE(room.empty());
    const std::size_t size = std::min({piece, room.size(), bytes.size()});
    std::memcpy(room.data(), bytes.data(), size);
    reader.Commit(size);
    bytes.remove_prefix(size);
    for (;;) {
      const bool expected = reader.HasNext();
      const auto frame = reader.Next();
      EXPECT_TRUE(frame.ok()) << frame.status();
      if (!frame.ok() || !frame->has_value()) {
        EXPECT_FALSE(expected);
        break;
      }
      EXPECT_TRUE(expected);
      payloads.emplace_back((*frame)->data(), (*frame)->size());
    }
  }
  return payloads;
}

TEST(FrameReaderTest, CutsTheStreamTheSameWhateverThePieces) {
  std::vector<std::string> payloads = {"",
                                       "a",
                                       std::string(300, 'b'),
                                       "",
                                       std::string(5000, 'c'),
                                       "d",
                                       std::string(200000, 'e'),
                                       std::string(kLimit, 'f')};
  std::string stream;
  for (const std::string& payload : payloads) stream += Frame(payload);
  for (const std::size_t piece : {1, 2, 3, 7, 1000, 4096, 65536, 10000000}) {
    FrameReader reader(kLimit);
    EXPECT_EQ(ReadAll(reader, stream, piece), payloads) << "pieces of " << piece;
    EXPECT_TRUE(reader.unread().empty());
  }
}

TEST(FrameReaderTest, RandomPiecesAndSizes) {
  std::mt19937 random(1123);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::string> payloads;
    std::string stream;
    for (int i = 0; i < 40; ++i) {
      payloads.emplace_back(random() % (random() % 8 == 0 ? 100000 : 600),
                            static_cast<char>('a' + i % 26));
      stream += Frame(payloads.back());
    }
    FrameReader reader(kLimit);
    EXPECT_EQ(ReadAll(reader, stream, 1 + random() % 5000), payloads) << "round " << round;
  }
}

TEST(FrameReaderTest, RefusesALengthOverTheLimitBeforeItsBytesArrive) {
  FrameReader reader(kLimit);
  const absl::Span<char> room = reader.Prepare();
  std::memcpy(room.data(), "\x00\x10\x00\x01", 4);
  reader.Commit(4);
  EXPECT_TRUE(reader.HasNext());
  const auto frame = reader.Next();
  ASSERT_FALSE(frame.ok());
  EXPECT_EQ(frame.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(frame.status().message().find("1048577"), std::string::npos);
  EXPECT_NE(frame.status().message().find("1048576"), std::string::npos);
}

// Whoever announces 64 MiB and sends 10 bytes must not cost 64 MiB.
TEST(FrameReaderTest, BufferGrowsWithWhatArrivedNotWithWhatWasAnnounced) {
  FrameReader reader(std::size_t{64} << 20);
  const std::string header("\x03\xff\xff\xff", 4);
  absl::Span<char> room = reader.Prepare();
  std::memcpy(room.data(), header.data(), header.size());
  reader.Commit(header.size());
  EXPECT_FALSE(reader.HasNext());
  EXPECT_LE(reader.capacity_bytes(), FrameReader::kIdleBytes);
  std::size_t received = header.size();
  while (received < 1000000) {
    room = reader.Prepare();
    std::memset(room.data(), 'x', room.size());
    reader.Commit(room.size());
    received += room.size();
    EXPECT_LE(reader.capacity_bytes(), 2 * received);
  }
}

TEST(FrameReaderTest, LargeBufferIsGivenBackWhenEmpty) {
  FrameReader reader(kLimit);
  EXPECT_EQ(ReadAll(reader, Frame(std::string(kLimit, 'x')), 100000).size(), 1u);
  (void)reader.Prepare();
  EXPECT_LE(reader.capacity_bytes(), 64u * 1024);
  reader.Release();
  EXPECT_EQ(reader.capacity_bytes(), 0u);
  EXPECT_EQ(ReadAll(reader, Frame("still works"), 3), std::vector<std::string>{"still works"});
}

TEST(FrameReaderTest, ReleaseKeepsUnreadBytes) {
  FrameReader reader(kLimit);
  const std::string frame = Frame("kept");
  EXPECT_TRUE(ReadAll(reader, frame.substr(0, 6), 6).empty());
  reader.Release();
  EXPECT_EQ(ReadAll(reader, frame.substr(6), 6), std::vector<std::string>{"kept"});
}

TEST(FrameReaderTest, AFullBufferGrowsAfterARelease) {
  FrameReader reader(kLimit);
  const std::string frame = Frame(std::string(3000, 'x'));
  absl::Span<char> room = reader.Prepare();
  std::memcpy(room.data(), frame.data(), room.size());
  reader.Commit(room.size());
  const std::size_t received = room.size();
  reader.Release();
  EXPECT_EQ(reader.unread(), frame.substr(0, received));
  EXPECT_FALSE(reader.Prepare().empty());
  EXPECT_EQ(ReadAll(reader, frame.substr(received), 100),
            std::vector<std::string>{std::string(3000, 'x')});
}

TEST(FrameReaderTest, SkipTakesRawBytesAhead) {
  FrameReader reader(kLimit);
  const std::string bytes = "hello" + Frame("then a frame");
  const absl::Span<char> room = reader.Prepare();
  std::memcpy(room.data(), bytes.data(), bytes.size());
  reader.Commit(bytes.size());
  EXPECT_EQ(reader.unread().substr(0, 5), "hello");
  reader.Skip(5);
  const auto frame = reader.Next();
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_EQ(std::string_view((*frame)->data(), (*frame)->size()), "then a frame");
}

}  // namespace
}  // namespace alos
