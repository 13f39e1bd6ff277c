// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/net/message.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kOneAndAHalf = "\xcb\x3f\xf8\0\0\0\0\0\0"sv;
constexpr std::string_view kTwoToThe32 = "\xcf\0\0\0\1\0\0\0\0"sv;

std::string Map(std::string_view key, std::int64_t value) {
  std::string bytes;
  Builder(&bytes).StartDocument().Key(key).Int(value).EndDocument();
  return bytes;
}

// The numbers and the names are what clients know.
TEST(OperationTest, EveryNumberHasItsNameOrNone) {
  const std::map<int, std::string_view> names = {
      {1, "InsertOne"},
      {2, "InsertMany"},
      {3, "FindOne"},
      {4, "Find"},
      {5, "UpdateOne"},
      {6, "UpdateMany"},
      {7, "DeleteOne"},
      {8, "DeleteMany"},
      {9, "Count"},
      {10, "FindByID"},
      {12, "Drop"},
      {13, "Stats"},
      {14, "Flush"},
      {15, "Batch"},
      {16, "TxBatch"},
      {17, "UpsertOne"},
      {18, "UpsertMany"},
      {19, "DBExists"},
      {20, "CollectionExists"},
      {23, "CreateCollection"},
      {24, "Aggregate"},
      {25, "BeginTx"},
      {26, "TxFindOne"},
      {27, "TxFindByID"},
      {28, "TxInsertOne"},
      {29, "TxUpdateOne"},
      {30, "TxDeleteOne"},
      {31, "TxCommit"},
      {32, "TxRollback"},
      {33, "FindManyCount"},
      {34, "CreateIndex"},
      {35, "DropIndex"},
      {36, "ListIndexes"},
      {37, "RebuildIndex"},
      {38, "ReadTS"},
      {39, "FindManyStream"},
      {40, "FindPaginated"},
      {41, "AggregateStream"},
      {128, "TxFind"},
      {129, "TxInsertMany"},
      {130, "TxUpdateMany"},
      {131, "TxDeleteMany"},
      {132, "TxCount"},
      {133, "Changes"},
      {134, "OpenSession"},
      {135, "RequestOutcome"},
      {144, "Backup"},
  };
  for (int number = 0; number < 256; ++number) {
    const auto name = names.find(number);
    EXPECT_EQ(OperationName(static_cast<Operation>(number)),
              name == names.end() ? std::string_view() : name->second)
        << number;
  }
}

TEST(OperationTest, WhatIsRunOnceHasNoPlaceForANameInItsCommit) {
  const std::set<std::string_view> once = {"Batch",       "Drop",      "CreateCollection",
                                           "CreateIndex", "DropIndex", "RebuildIndex"};
  for (int number = 0; number < 256; ++number) {
    const auto operation = static_cast<Operation>(number);
    EXPECT_EQ(IsRunOnce(operation), once.contains(OperationName(operation))) << number;
  }
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
      {"id of no integer", request("id", ValueView::FromTrusted(kOneAndAHalf)),
       "not double of that value", 0},
      {"id too large", request("id", ValueView::FromTrusted(kTwoToThe32)),
       "'id' must be an integer from 0 to 4294967295, not", 0},
      {"op too large", request("op", ValueView::FromTrusted("\xcd\x01\x00"sv)),
       "'op' must be an integer from 0 to 255", 77},
      {"op negative", request("op", ValueView::FromTrusted("\xff")), "'op' must be", 77},
      {"rid of text", request("rid", ValueView::FromTrusted("\xa1r")),
       "'rid' must be binary data of 29 bytes, not string", 77},
      {"rid too short", request("rid", ValueView::FromTrusted("\xc4\x01r")),
       "'rid' must be binary data of 29 bytes", 77},
  };
  for (const BadRequest& bad : cases) {
    Request parsed;
    const absl::Status status = ParseRequest(bad.payload, &parsed);
    EXPECT_FALSE(status.ok()) << bad.name;
    EXPECT_TRUE(absl::StrContains(status.message(), bad.message)) << bad.name << ": " << status;
    EXPECT_EQ(parsed.id, bad.id) << bad.name;
  }
}

// Of a request that cannot be read the id is taken where clients put it: in front.
TEST(ParseRequestTest, GuessesTheIdOfWhatCannotBeRead) {
  const std::pair<std::string, std::uint32_t> cases[] = {
      {"\x82\xa2id\x4d\xc1", 77},
      {absl::StrCat("\x82\xa2id", kTwoToThe32, "\xc1"), 0},
      {"\x82\xa2id\xff\xc1", 0},   // -1
      {"\x82\xa2id\xa1x\xc1", 0},  // text
      {"\x82\xa2id\xc1", 0},       // nothing
      {"\x82\xa2ix\x4d\xc1", 0},   // another field
      {absl::StrCat("\x82\xa2id", "\xce\xff\xff\xff\xff"sv, "\xc1"), 0xffffffffu},
  };
  for (const auto& [payload, id] : cases) {
    Request request;
    const absl::Status status = ParseRequest(payload, &request);
    EXPECT_TRUE(absl::StrContains(status.message(), "not valid MessagePack")) << status;
    EXPECT_EQ(request.id, id) << absl::BytesToHexString(payload);
  }
}

TEST(ParseRequestTest, TheFirstOfSeveralMistakesIsNamed) {
  std::string payload;
  Builder(&payload).StartDocument().Key("op").String("?").Key("nr").Int(1).EndDocument();
  Request request;
  const absl::Status status = ParseRequest(payload, &request);
  EXPECT_TRUE(absl::StrContains(status.message(), "'op' must be")) << status;
}

TEST(ParseRequestTest, EverythingARequestMayHaveRoundTrips) {
  const std::string name(kRequestNameBytes, 'n');
  std::string payload;
  AppendRequest({.id = 5,
                 .operation = Operation::kCount,
                 .collection = "c",
                 .database = "d",
                 .token = "t",
                 .no_reply = true,
                 .request_name = name},
                ValueView::FromTrusted("\x80"), &payload);
  Request request;
  const absl::Status status = ParseRequest(payload, &request);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(request.id, 5u);
  EXPECT_EQ(request.operation, Operation::kCount);
  EXPECT_EQ(request.collection, "c");
  EXPECT_EQ(request.database, "d");
  EXPECT_EQ(request.auth, "t");
  EXPECT_TRUE(request.no_reply);
  EXPECT_EQ(request.request_name, name);
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
  std::vector<absl::Status> statuses = {absl::AlreadyExistsError("a: b: c"),
                                        absl::UnauthenticatedError("authentication required")};
  for (int code = 1; code <= 15; ++code)
    statuses.emplace_back(static_cast<absl::StatusCode>(code), "no such thing");
  for (const absl::Status& status : statuses) {
    std::string payload;
    AppendErrorResponse(9, status, &payload);
    const auto response = ParseResponse(payload);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->id, 9u);
    EXPECT_EQ(response->status, status);
    EXPECT_FALSE(response->result.has_value());
  }
}

TEST(ResponseTest, AnErrorWithoutACodeIsUnknown) {
  for (const std::string_view text : {"no colon", "NO_SUCH_CODE: text", ": text"}) {
    std::string payload;
    Builder(&payload).StartDocument().Key("id").Int(1).Key("error").String(text).EndDocument();
    const auto response = ParseResponse(payload);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->status, absl::UnknownError(text));
  }
}

// Other servers may send an empty error, or nil, with a result, and what we do not know.
TEST(ResponseTest, AnEmptyErrorIsNone) {
  for (const bool is_null : {true, false}) {
    std::string payload;
    Builder builder(&payload);
    builder.StartDocument().Key("more").Int(1).Key("id").Int(1).Key("error");
    if (is_null) {
      builder.Null();
    } else {
      builder.String("");
    }
    builder.Key("result").Int(5).EndDocument();
    const auto response = ParseResponse(payload);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_TRUE(response->status.ok());
    EXPECT_EQ(response->result->AsInt64(), 5);
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
