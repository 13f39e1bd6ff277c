// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/credentials.h"

#include <string>

#include "gtest/gtest.h"

namespace alos {
namespace {

constexpr char kToken[] = "901b281c4e0c4007e8526ef27153b79330811e733976d5e65c8343a39e54ec81";

TEST(CredentialsTest, TokenIsTheOneClientsSend) {
  EXPECT_EQ(Credentials("admin", "secret").Token(), kToken);
}

TEST(CredentialsTest, MatchesOnlyTheExactToken) {
  const Credentials credentials("admin", "secret");
  EXPECT_TRUE(credentials.MatchesToken(kToken));
  EXPECT_FALSE(credentials.MatchesToken(""));
  EXPECT_FALSE(credentials.MatchesToken(std::string(kToken).substr(1)));
  EXPECT_FALSE(credentials.MatchesToken(std::string(kToken) + "0"));
  std::string other = kToken;
  other.back() = '2';
  EXPECT_FALSE(credentials.MatchesToken(other));
  EXPECT_FALSE(Credentials("admin", "Secret").MatchesToken(kToken));
}

// The two are joined with a colon before hashing, which the protocol fixes.
TEST(CredentialsTest, ColonMayStandInEither) {
  EXPECT_EQ(Credentials("a:b", "c").Token(), Credentials("a", "b:c").Token());
}

}  // namespace
}  // namespace alos
