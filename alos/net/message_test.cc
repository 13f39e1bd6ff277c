// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/message.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

std::string Map(std::string_view key, std::int64_t value) {
  std::string bytes;
  Builder(&bytes).StartDocument().Key(key).Int(value).EndDocument();
  return bytes;
}

TEST(ParseRequestTest, ReadsWhatPublishedClientsSend) {
  const std::string payload =
      absl::HexStringToBytes("84a2696401a26f700daa636f6c6c656374696f6ea0a46172677380");
  Request request;
  ASSERT_TRUE(ParseRequest(payload, &request).ok());
  EXPECT_EQ(request.id, 1u);
  EXPECT_EQ(request.operation, Operation::kStats);
  EXPECT_EQ(request.collection, "");
  EXPECT_EQ(request.database, "");
  EXPECT_EQ(request.args.bytes(), "\x80");
  EXPECT_FALSE(request.auth.has_value());
  EXPECT_FALSE(request.no_reply);
}

TEST(ParseRequestTest, TakesAnyOrderWidthAndUnknownKeys) {
  std::string payload;
  Builder builder(&payload);
  builder.StartDocument(9);
  builder.Key("nr").Bool(true).Key("zzz").StartArray().Int(1).EndArray();
  builder.Key("args").Raw(ValueView::FromTrusted("\x05"));
  payload.append("\xa2op\xcb\x40\x08\0\0\0\0\0\0", 12);      // 3.0
  payload.append("\xa2id\xd3\0\0\0\0\xff\xff\xff\xff", 12);  // int64
  payload.append(
      "\xa4"
      "auth\xa2hi",
      8);
  payload.append(
      "\xa8"
      "database\xd9\x02"
      "db",
      13);  // str 8
  payload.append(
      "\xaa"
      "collection\xa1"
      "c",
      13);
  payload.append("\xa1x\xc0", 3);
  Request request;
  const absl::Status status = ParseRequest(payload, &request);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(request.id, 0xffffffffu);
  EXPECT_EQ(request.operation, Operation::kFindOne);
  EXPECT_EQ(request.database, "db");
  EXPECT_EQ(request.collection, "c");
  EXPECT_EQ(*request.auth, "hi");
  EXPECT_TRUE(request.no_reply);
  EXPECT_EQ(request.args.AsInt64(), 5);
}

struct BadRequest {
  std::string_view name;
  std::string payload;
  std::string_view message;  // must be in the error
  std::uint32_t id;          // must be known all the same
};

TEST(ParseRequestTest, SaysWhatIsWrongAndKeepsTheId) {
  const auto request = [](std::string_view key, ValueView value) {
    std::string payload;
    Builder builder(&payload);
    builder.StartDocument().Key(key).Raw(value);
    if (key != "op") builder.Key("op").Int(13);
    if (key != "id") builder.Key("id").Int(77);
    builder.EndDocument();
    return payload;
  };
  std::string deep =
      "\x82\xa2id\x4d\xa4"
      "args";
  deep.append(200, '\x91');
  deep.push_back('\xc0');
  const BadRequest cases[] = {
      {"empty", "", "not valid MessagePack", 0},
      {"garbage", "\xc1", "not valid MessagePack", 0},
      {"cut after the id", std::string("\x83\xa2id\x4d", 5), "not valid MessagePack", 77},
      {"deep", deep, "not valid MessagePack", 77},
      {"array", "\x90", "expected a map, not array", 0},
      {"no id", Map("op", 13), "'id' (an integer) is missing", 0},
      {"no op", Map("id", 77), "'op' (an integer) is missing", 77},
      {"id negative", request("id", ValueView::FromTrusted("\xff")), "'id' must be an integer", 0},
      {"id string",
       request("id", ValueView::FromTrusted("\xa1"
                                            "1")),
       "not string", 0},
      {"op string",
       request("op", ValueView::FromTrusted("\xa1"
                                            "1")),
       "'op' must be", 77},
      {"op unknown", request("op", ValueView::FromTrusted("\x0b")), "'op' is 11", 77},
      {"collection", request("collection", ValueView::FromTrusted("\x01")),
       "'collection' must be a string, not int", 77},
      {"database", request("database", ValueView::FromTrusted("\xc0")),
       "'database' must be a string, not null", 77},
      {"auth", request("auth", ValueView::FromTrusted("\x01")), "'auth' must be a string", 77},
      {"nr", request("nr", ValueView::FromTrusted("\x01")), "'nr' must be a bool", 77},
  };
  for (const BadRequest& bad : cases) {
    Request parsed;
    const absl::Status status = ParseRequest(bad.payload, &parsed);
    EXPECT_FALSE(status.ok()) << bad.name;
    EXPECT_TRUE(absl::StrContains(status.message(), bad.message)) << bad.name << ": " << status;
    EXPECT_EQ(parsed.id, bad.id) << bad.name;
  }
}

TEST(ParseRequestTest, EveryPrefixIsRefused) {
  std::string payload;
  AppendRequest({.id = 70000, .operation = Operation::kInsertOne, .collection = "people"},
                ValueView::FromTrusted("\x81\xa1"
                                       "a\x01"),
                &payload);
  for (std::size_t size = 0; size < payload.size(); ++size) {
    Request request;
    EXPECT_FALSE(ParseRequest(payload.substr(0, size), &request).ok()) << size;
  }
  Request request;
  EXPECT_TRUE(ParseRequest(payload, &request).ok());
}

TEST(ParseRequestTest, DocumentOfHundredLevelsPassesAndOfOneMoreDoesNot) {
  for (const int levels : {100, 101}) {
    std::string document;
    for (int i = 1; i < levels; ++i)
      document.append(
          "\x81\xa1"
          "a");
    document.push_back('\x80');
    std::string payload;
    AppendRequest({.id = 1, .operation = Operation::kInsertOne, .collection = "c"},
                  ValueView::FromTrusted(document), &payload);
    Request request;
    EXPECT_EQ(ParseRequest(payload, &request).ok(), levels == 100);
  }
}

TEST(ResponseTest, ResultsRoundTrip) {
  std::string payload;
  AppendResultHeader(4000000000, &payload);
  payload.append("\x93\x01\x02\x03");
  const auto response = ParseResponse(payload);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->id, 4000000000u);
  EXPECT_TRUE(response->status.ok());
  EXPECT_EQ(response->result->size(), 3u);
}

TEST(ResponseTest, ErrorsKeepTheirCode) {
  for (const absl::Status& status :
       {absl::NotFoundError("no such thing"), absl::AlreadyExistsError("a: b: c"),
        absl::AbortedError("conflict"), absl::UnauthenticatedError("authentication required")}) {
    std::string payload;
    AppendErrorResponse(9, status, &payload);
    const auto response = ParseResponse(payload);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->id, 9u);
    EXPECT_EQ(response->status, status);
    EXPECT_FALSE(response->result.has_value());
  }
}

// The text is fixed by what published clients expect.
TEST(ResponseTest, AuthenticationErrorIsBare) {
  std::string payload;
  AppendErrorResponse(0, absl::UnauthenticatedError("authentication required"), &payload);
  EXPECT_EQ(ValueView::FromTrusted(payload).Find("error")->AsString(), "authentication required");
}

TEST(ResponseTest, RefusesWhatIsNone) {
  for (const std::string_view payload : {"", "\xc1", "\x90", "\x80", "\x81\xa2id\xff",
                                         "\x82\xa2id\x01\xa5"
                                         "error\x01",
                                         "\x81\xa2id"}) {
    const auto response = ParseResponse(payload);
    ASSERT_FALSE(response.ok()) << absl::BytesToHexString(payload);
    EXPECT_EQ(response.status().code(), absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace alos
