// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/handshake.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/types/span.h"
#include "alos/net/credentials.h"
#include "alos/net/frame.h"
#include "alos/net/secure_channel.h"
#include "gtest/gtest.h"
#include "plugin/ciphers.h"

namespace alos {
namespace {

using Channel = SecureChannel<plugin::Ciphers>;

constexpr HandshakeVersion kVersions[] = {{0x01, 32}, {0x02, 16}};

// A recorded exchange of published clients: user "admin", password "secret", salts 00..1f
// and 20..3f.
constexpr char kServerProof[] = "5211733519fe2a3d962dfcfeec7bed1865ecdf16fb4747befbd12caf3c4e0dcf";
constexpr char kClientProof[] = "58e4f2a10d2a30a69ec709a69fdeabbcf00aef3f91d3dd1994efc08866352f5e";
constexpr char kClientToServer[] =
    "9856c437c6f4c77d057c7fe1af6529c7786b56666292d70fae376201c38ab49c";
constexpr char kServerToClient[] =
    "d19b5afff1bede115a8cbf7acc31aaf5291fab096e52ff821593c852addc43f7";
constexpr char kRequest[] = "84a2696401a26f700daa636f6c6c656374696f6ea0a46172677380";
constexpr char kFrame1[] =
    "00000033000000000000000162ad2f7c05e88875f2ab0ed050c238d8fad5b41059cbcab6c03bd0abc899338418f4"
    "4957f4b52f6553e54d";
constexpr char kFrame2[] =
    "0000003b0000000000000001414c4f5344424146b55ca1532d869a179a927459e497708c777b089a888299730ab3"
    "838202f7d9de95addb855dfddb0ad5b950";

Salt SaltFrom(std::uint8_t first) {
  Salt salt;
  std::iota(salt.begin(), salt.end(), first);
  return salt;
}

std::string Hex(const std::vector<std::uint8_t>& bytes) {
  return absl::BytesToHexString(std::string(bytes.begin(), bytes.end()));
}

Credentials Admin() { return Credentials("admin", "secret"); }

class HandshakeVectorTest : public ::testing::TestWithParam<std::uint8_t> {
 protected:
  HandshakeVersion version() const { return kVersions[GetParam() - 1]; }
  std::string Hello() const {
    return absl::HexStringToBytes(
        std::string("ae0") + std::to_string(GetParam()) +
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  }
};

TEST_P(HandshakeVectorTest, ServerAnswersAsRecorded) {
  ServerHandshake server(kVersions, Admin(), SaltFrom(0x20));
  std::string output;
  absl::StatusOr<std::size_t> taken = server.Consume(Hello(), &output);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(*taken, kHelloBytes);
  EXPECT_EQ(absl::BytesToHexString(output),
            std::string("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f") +
                kServerProof);
  EXPECT_FALSE(server.done());
  taken = server.Consume(absl::HexStringToBytes(kClientProof), &output);
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_TRUE(server.done());
  EXPECT_EQ(server.keys().version, GetParam());
  EXPECT_EQ(Hex(server.keys().client_to_server),
            std::string(kClientToServer).substr(0, version().key_bytes * 2));
  EXPECT_EQ(Hex(server.keys().server_to_client),
            std::string(kServerToClient).substr(0, version().key_bytes * 2));
}

TEST_P(HandshakeVectorTest, ClientSpeaksAsRecorded) {
  ClientHandshake client(version(), Admin(), SaltFrom(0x00));
  std::string output;
  client.Start(&output);
  EXPECT_EQ(output, Hello());
  output.clear();
  const std::string reply = absl::HexStringToBytes(
      std::string("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f") +
      kServerProof);
  const absl::StatusOr<std::size_t> taken = client.Consume(reply, &output);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(*taken, reply.size());
  ASSERT_TRUE(client.done());
  EXPECT_EQ(absl::BytesToHexString(output), kClientProof);
}

TEST_P(HandshakeVectorTest, FirstFrameIsSealedAsRecorded) {
  ServerHandshake server(kVersions, Admin(), SaltFrom(0x20));
  std::string output;
  ASSERT_TRUE(server.Consume(Hello(), &output).ok());
  ASSERT_TRUE(server.Consume(absl::HexStringToBytes(kClientProof), &output).ok());
  Channel client_channel;
  client_channel.Enable(server.keys(), Channel::Role::kClient);
  std::string frame;
  const std::size_t start = BeginFrame(client_channel, &frame);
  frame.append(absl::HexStringToBytes(kRequest));
  EndFrame(client_channel, start, &frame);
  EXPECT_EQ(absl::BytesToHexString(frame), GetParam() == 1 ? kFrame1 : kFrame2);

  Channel server_channel;
  server_channel.Enable(server.keys(), Channel::Role::kServer);
  const absl::StatusOr<absl::Span<char>> opened =
      server_channel.Open(absl::MakeSpan(frame).subspan(kFrameLengthBytes));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(absl::BytesToHexString(std::string_view(opened->data(), opened->size())), kRequest);
}

// Both machines, fed one byte at a time and with bytes of the next message behind.
TEST_P(HandshakeVectorTest, SurvivesEverySplit) {
  ServerHandshake server(kVersions, Admin(), NewSalt());
  ClientHandshake client(version(), Admin(), NewSalt());
  std::string to_server, to_client;
  client.Start(&to_server);
  std::string at_server, at_client;
  while (!to_server.empty() || !to_client.empty()) {
    if (!to_server.empty()) {
      at_server.push_back(to_server[0]);
      to_server.erase(0, 1);
      const auto taken = server.Consume(at_server, &to_client);
      ASSERT_TRUE(taken.ok()) << taken.status();
      at_server.erase(0, *taken);
    }
    if (!to_client.empty()) {
      at_client.push_back(to_client[0]);
      to_client.erase(0, 1);
      const auto taken = client.Consume(at_client, &to_server);
      ASSERT_TRUE(taken.ok()) << taken.status();
      at_client.erase(0, *taken);
    }
  }
  ASSERT_TRUE(server.done());
  ASSERT_TRUE(client.done());
  EXPECT_EQ(server.keys().client_to_server, client.keys().client_to_server);
  EXPECT_EQ(server.keys().server_to_client, client.keys().server_to_client);
  EXPECT_NE(server.keys().client_to_server, server.keys().server_to_client);
}

TEST_P(HandshakeVectorTest, ServerTakesNothingBehindTheHandshake) {
  ServerHandshake server(kVersions, Admin(), SaltFrom(0x20));
  std::string output;
  ASSERT_TRUE(server.Consume(Hello(), &output).ok());
  const auto taken =
      server.Consume(absl::HexStringToBytes(kClientProof) + "the first frame", &output);
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(*taken, kProofBytes);
}

TEST_P(HandshakeVectorTest, ServerRefusesAWrongProofInEveryByte) {
  const std::string proof = absl::HexStringToBytes(kClientProof);
  for (std::size_t i = 0; i < proof.size(); ++i) {
    ServerHandshake server(kVersions, Admin(), SaltFrom(0x20));
    std::string output;
    ASSERT_TRUE(server.Consume(Hello(), &output).ok());
    output.clear();
    std::string wrong = proof;
    wrong[i] = static_cast<char>(wrong[i] ^ 1);
    EXPECT_EQ(server.Consume(wrong, &output).status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_TRUE(output.empty()) << "a wrong proof must not be answered";
    EXPECT_FALSE(server.done());
  }
}

TEST_P(HandshakeVectorTest, ClientRefusesAServerWithAnotherPassword) {
  ServerHandshake server(kVersions, Credentials("admin", "guess"), NewSalt());
  ClientHandshake client(version(), Admin(), NewSalt());
  std::string hello, reply, proof;
  client.Start(&hello);
  ASSERT_TRUE(server.Consume(hello, &reply).ok());
  EXPECT_EQ(client.Consume(reply, &proof).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(proof.empty()) << "a client must not prove itself to a stranger";
}

// A proof made for one pair of salts must be worthless for another.
TEST_P(HandshakeVectorTest, RecordedProofDoesNotReplay) {
  ServerHandshake server(kVersions, Admin(), SaltFrom(0x21));
  std::string output;
  ASSERT_TRUE(server.Consume(Hello(), &output).ok());
  EXPECT_EQ(server.Consume(absl::HexStringToBytes(kClientProof), &output).status().code(),
            absl::StatusCode::kPermissionDenied);
}

INSTANTIATE_TEST_SUITE_P(Versions, HandshakeVectorTest, ::testing::Values(1, 2));

TEST(HandshakeTest, UnknownVersionIsRefusedAtItsSecondByte) {
  ServerHandshake server(kVersions, Admin(), NewSalt());
  std::string output;
  EXPECT_EQ(server.Consume("\xae\x03", &output).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(output.empty());
}

TEST(HandshakeTest, OtherFirstByteIsRefused) {
  ServerHandshake server(kVersions, Admin(), NewSalt());
  std::string output;
  EXPECT_EQ(*server.Consume("", &output), 0u) << "nothing has come yet";
  EXPECT_EQ(server.Consume("G", &output).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(output.empty());
}

TEST(HandshakeTest, EveryCipherOfTheBuildHasItsVersion) {
  std::vector<int> versions;
  for (const HandshakeVersion& version : Channel::versions()) versions.push_back(version.version);
  EXPECT_EQ(versions, (std::vector<int>{1, 2}));
}

TEST(HandshakeTest, SaltsDiffer) { EXPECT_NE(NewSalt(), NewSalt()); }

}  // namespace
}  // namespace alos
