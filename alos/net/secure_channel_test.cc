// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/secure_channel.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "alos/net/frame.h"
#include "gtest/gtest.h"
#include "plugin/ciphers.h"

namespace alos {
namespace {

using Channel = SecureChannel<plugin::Ciphers>;

class SecureChannelTest : public ::testing::TestWithParam<HandshakeVersion> {
 protected:
  SecureChannelTest() {
    keys_.version = GetParam().version;
    keys_.client_to_server.assign(GetParam().key_bytes, 1);
    keys_.server_to_client.assign(GetParam().key_bytes, 2);
    client_.Enable(keys_, Channel::Role::kClient);
    server_.Enable(keys_, Channel::Role::kServer);
  }
  static std::string Frame(Channel& channel, std::string_view text) {
    std::string frame;
    const std::size_t start = BeginFrame(channel, &frame);
    frame.append(text);
    EndFrame(channel, start, &frame);
    return frame;
  }
  static absl::StatusOr<std::string> Open(Channel& channel, std::string frame) {
    const auto opened = channel.Open(absl::MakeSpan(frame).subspan(kFrameLengthBytes));
    if (!opened.ok()) return opened.status();
    return std::string(opened->data(), opened->size());
  }

  HandshakeKeys keys_;
  Channel client_;
  Channel server_;
};

TEST_P(SecureChannelTest, CarriesBothDirections) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(*Open(server_, Frame(client_, "to the server")), "to the server");
    EXPECT_EQ(*Open(client_, Frame(server_, "to the client")), "to the client");
  }
}

TEST_P(SecureChannelTest, RefusesAReplay) {
  const std::string first = Frame(client_, "first");
  const std::string second = Frame(client_, "second");
  EXPECT_TRUE(Open(server_, first).ok());
  EXPECT_EQ(Open(server_, first).status().code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(Open(server_, second).ok());
  EXPECT_EQ(Open(server_, first).status().code(), absl::StatusCode::kAborted);
}

TEST_P(SecureChannelTest, RefusesItsOwnFramesSentBack) {
  EXPECT_EQ(Open(client_, Frame(client_, "echo")).status().code(), absl::StatusCode::kDataLoss);
}

TEST_P(SecureChannelTest, RefusesPlainFrames) {
  EXPECT_EQ(Open(server_, std::string("\0\0\0\1x", 5)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(Open(server_, std::string(4, '\0')).status().code(), absl::StatusCode::kDataLoss);
}

TEST_P(SecureChannelTest, ForgedFrameDoesNotAdvanceTheCounter) {
  const std::string good = Frame(client_, "good");
  std::string forged = good;
  forged.back() = static_cast<char>(forged.back() ^ 1);
  EXPECT_FALSE(Open(server_, forged).ok());
  EXPECT_TRUE(Open(server_, good).ok());
}

INSTANTIATE_TEST_SUITE_P(Versions, SecureChannelTest,
                         ::testing::ValuesIn(Channel::versions().begin(),
                                             Channel::versions().end()));

TEST(PlainChannelTest, PassesFramesThrough) {
  Channel channel;
  EXPECT_FALSE(channel.encrypted());
  std::string frame;
  const std::size_t start = BeginFrame(channel, &frame);
  frame.append("hello");
  EndFrame(channel, start, &frame);
  EXPECT_EQ(frame, std::string("\0\0\0\5hello", 9));
  const auto opened = channel.Open(absl::MakeSpan(frame).subspan(kFrameLengthBytes));
  EXPECT_EQ(std::string_view(opened->data(), opened->size()), "hello");
}

}  // namespace
}  // namespace alos
