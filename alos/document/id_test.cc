// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/id.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

std::string Hex(std::string_view digits) { return absl::HexStringToBytes(digits); }

std::string Double(double value) {
  std::string bytes;
  Builder(&bytes).Double(value);
  return bytes;
}

std::string Encoded(const std::string& bytes) {
  const absl::StatusOr<ValueView> value = ValueView::Parse(bytes);
  EXPECT_TRUE(value.ok()) << value.status();
  const absl::StatusOr<std::string> id = EncodeId(*value);
  EXPECT_TRUE(id.ok()) << id.status();
  // An encoded id is a valid value, equal to what it was made from, and encodes to itself.
  const absl::StatusOr<ValueView> decoded = ValueView::Parse(*id);
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_TRUE(Equal(*decoded, *value));
  EXPECT_EQ(*EncodeId(*decoded), *id);
  return *id;
}

TEST(EncodeIdTest, EqualIdsHaveEqualBytes) {
  const std::vector<std::vector<std::string>> classes = {
      {"\x01", Hex("cc01"), Hex("cf0000000000000001"),
       Hex("d3"
           "0000000000000001"),
       Double(1.0), Hex("ca3f800000")},
      {std::string(1, '\0'), Double(0.0), Double(-0.0), Hex("ca80000000"), Hex("d200000000")},
      {"\xff", Hex("d0ff"), Double(-1.0)},
      {Hex("cf8000000000000000"), Double(9223372036854775808.0)},
      {Hex("d38000000000000000"), Double(-9223372036854775808.0)},
      {Double(1.5), Hex("ca3fc00000")},
      {Double(18446744073709551616.0)},
      {Double(std::numeric_limits<double>::infinity()), Hex("ca7f800000")},
      {Hex("a161"), Hex("d90161"), Hex("db0000000161")},
      {Hex("c40161"), Hex("c500"
                          "0161")},
      {Hex("d6ff00000005"), Hex("d7ff0000000000000005"), Hex("c70cff000000000000000000000005")},
      {Hex("c2")},
      {Hex("c3")},
  };
  std::set<std::string> distinct;
  for (const auto& values : classes) {
    const std::string id = Encoded(values[0]);
    for (const std::string& value : values) {
      EXPECT_EQ(Encoded(value), id) << absl::BytesToHexString(value);
    }
    distinct.insert(id);
  }
  EXPECT_EQ(distinct.size(), classes.size());
  EXPECT_EQ(Encoded(Hex("db00000003616263")), EncodeStringId("abc"));
}

TEST(EncodeIdTest, OtherTypesAreRefusedByName) {
  const std::pair<std::string, const char*> cases[] = {
      {Hex("c0"), "found null"},         {Hex("90"), "found array"},
      {Hex("80"), "found object"},       {Hex("d40500"), "found extension"},
      {Hex("ca7fc00000"), "number NaN"}, {Double(std::numeric_limits<double>::quiet_NaN()), "NaN"},
  };
  for (const auto& [bytes, message] : cases) {
    const absl::Status status = EncodeId(ValueView::FromTrusted(bytes)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), message)) << status;
  }
}

TEST(EncodeIdTest, TheSizeIsLimited) {
  const auto encode = [](std::size_t size, bool binary) {
    std::string bytes;
    Builder builder(&bytes);
    binary ? builder.Binary(std::string(size, 'i')) : builder.String(std::string(size, 'i'));
    return EncodeId(ValueView::FromTrusted(bytes));
  };
  for (const bool binary : {false, true}) {
    EXPECT_EQ(encode(kIdSizeMax - 3, binary)->size(), kIdSizeMax);
    EXPECT_TRUE(absl::StrContains(encode(kIdSizeMax - 2, binary).status().message(),
                                  "at most 1024 bytes, found a"));
    EXPECT_EQ(encode(1'000'000, binary).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(EncodeStringId(std::string(2000, 'i')).size(), 2003);
}

bool IsId(const std::string& id) {
  return id.size() == 24 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
}

TEST(NewIdTest, HasTheForm) {
  const auto before = static_cast<std::uint64_t>(std::time(nullptr));
  const std::string id = NewId();
  EXPECT_TRUE(IsId(id)) << id;
  const std::uint64_t seconds = std::stoull(id.substr(0, 8), nullptr, 16);
  EXPECT_GE(seconds, before);
}

TEST(NewIdTest, IdsOfOneThreadRise) {
  std::string last = NewId();
  for (int i = 0; i < 100'000; ++i) {
    const std::string next = NewId();
    ASSERT_LT(last, next);
    last = next;
  }
}

TEST(NewIdTest, ThreadsNeverGetTheSameId) {
  constexpr int kThreads = 4;
  constexpr int kIds = 20'000;
  std::vector<std::vector<std::string>> ids(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&ids, t] {
      for (int i = 0; i < kIds; ++i) ids[static_cast<std::size_t>(t)].push_back(NewId());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> distinct;
  for (const auto& list : ids) distinct.insert(list.begin(), list.end());
  EXPECT_EQ(distinct.size(), kThreads * kIds);
}

// Parent and child share the counter's state at the time of fork: only the random bytes differ.
TEST(NewIdTest, AForkedChildHasItsOwnIds) {
  const std::string parent = NewId();
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::string id = NewId();
    const bool written = write(pipe_ends[1], id.data(), id.size()) == 24;
    _exit(written ? 0 : 1);
  }
  char buffer[24];
  ASSERT_EQ(read(pipe_ends[0], buffer, sizeof(buffer)), 24);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const std::string id(buffer, sizeof(buffer));
  EXPECT_TRUE(IsId(id)) << id;
  EXPECT_NE(id.substr(8, 10), parent.substr(8, 10));
}

}  // namespace
}  // namespace alos
