// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "tools/bench/workload.h"

#include <cstdint>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace alos::bench {
namespace {

Target WholeTarget() { return {.database = "db", .collection = "things", .auth = "00ff"}; }

ValueView Parsed(const std::string& message) {
  absl::StatusOr<ValueView> parsed = ValueView::Parse(message);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : ValueView();
}

std::string Response(std::int64_t id, std::string_view key_name, std::string_view key,
                     std::string_view error = "") {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("id").Int(id);
  if (error.empty()) {
    builder.Key("result").StartDocument();
    builder.Key(key_name).String(key);
    builder.EndDocument();
  } else {
    builder.Key("error").String(error);
  }
  builder.EndDocument();
  return bytes;
}

TEST(DocumentTemplate, HasExactlyTheSizeAskedFor) {
  // Around the sizes where the padding's header grows.
  for (std::size_t size = DocumentTemplate::kDocumentBytesMin; size < 400; ++size) {
    DocumentTemplate document("bench-", size);
    const std::string bytes(document.Get(123456789));
    EXPECT_EQ(bytes.size(), size);
    EXPECT_EQ(Parsed(bytes).Find("_id")->AsString(), "bench-000123456789");
    EXPECT_EQ(Parsed(bytes).Find("n")->AsInt64(), 123456789);
  }
  DocumentTemplate large("", 70000);
  EXPECT_EQ(large.Get(7).size(), 70000U);
  EXPECT_EQ(Parsed(std::string(large.Get(7))).Find("_id")->AsString(), "000000000007");
}

TEST(DocumentTemplate, APrefixMayEndWithZeros) {
  DocumentTemplate document("run-100", 100);
  const std::string bytes(document.Get(42));
  EXPECT_EQ(Parsed(bytes).Find("_id")->AsString(), "run-100000000000042");
  EXPECT_EQ(Parsed(bytes).Find("n")->AsInt64(), 42);
}

TEST(FindByIdWorkload, AsksForItsDocumentsAndChecksTheAnswers) {
  FindByIdWorkload workload(WholeTarget(), 50, 1);
  std::set<std::string> keys;
  std::size_t size = 0;
  for (std::uint64_t sequence = 0; sequence < 500; ++sequence) {
    std::string message;
    workload.AppendMessage(sequence, &message);
    if (size == 0) size = message.size();
    EXPECT_EQ(message.size(), size);
    const ValueView request = Parsed(message);
    EXPECT_EQ(request.Find("op")->AsInt64(), 10);
    EXPECT_EQ(request.Find("collection")->AsString(), "things");
    EXPECT_EQ(request.Find("database")->AsString(), "db");
    EXPECT_EQ(request.Find("auth")->AsString(), "00ff");
    const std::string key(request.Find("args")->Find("id")->AsString());
    keys.insert(key);
    const std::int64_t id = request.Find("id")->AsInt64();
    EXPECT_TRUE(workload.Check(sequence, Response(id, "_id", key)).ok());
    EXPECT_FALSE(workload.Check(sequence, Response(id + 1, "_id", key)).ok());
    EXPECT_FALSE(workload.Check(sequence, Response(id, "_id", "bench-000000000099")).ok());
    EXPECT_FALSE(workload.Check(sequence, Response(id, "_id", key, "broken")).ok());
    EXPECT_FALSE(workload.Check(sequence, "").ok());
    EXPECT_FALSE(workload.Check(sequence, std::string(message.size(), '\xc1')).ok());
  }
  EXPECT_EQ(keys.size(), 50U);
  EXPECT_EQ(*keys.begin(), "bench-000000000000");
}

TEST(InsertOneWorkload, InsertsEachDocumentOnce) {
  InsertOneWorkload workload(WholeTarget(), "run1-", 1000, 300);
  std::set<std::string> keys;
  for (std::uint64_t sequence = 0; sequence < 500; ++sequence) {
    std::string message;
    workload.AppendMessage(sequence, &message);
    const ValueView request = Parsed(message);
    EXPECT_EQ(request.Find("op")->AsInt64(), 1);
    const ValueView document = *request.Find("args");
    EXPECT_EQ(document.bytes().size(), 300U);
    const std::string key(document.Find("_id")->AsString());
    EXPECT_TRUE(keys.insert(key).second) << key;
    const std::int64_t id = request.Find("id")->AsInt64();
    EXPECT_TRUE(workload.Check(sequence, Response(id, "id", key)).ok());
    EXPECT_FALSE(workload.Check(sequence, Response(id, "id", "run1-000000000000")).ok());
  }
  EXPECT_TRUE(keys.count("run1-000000001000"));
}

TEST(EchoWorkload, ChecksSizeAndNumber) {
  EchoWorkload workload(100, 50);
  std::string message;
  workload.AppendMessage(5, &message);
  EXPECT_EQ(message.size(), 100U);
  EXPECT_TRUE(workload.Check(5, message.substr(0, 50)).ok());
  EXPECT_FALSE(workload.Check(6, message.substr(0, 50)).ok());
  EXPECT_FALSE(workload.Check(5, message.substr(0, 49)).ok());
}

}  // namespace
}  // namespace alos::bench
