// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "tools/import/records.h"

#include <cstdint>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "gtest/gtest.h"
#include "tools/import/identity.h"

namespace alos::import {
namespace {

struct Outcome {
  std::vector<std::string> documents;  // as JSON
  std::vector<std::uint64_t> lines;
  std::vector<std::uint64_t> numbers;
  std::vector<std::string> errors;
};

// A stream that gives its bytes in small pieces, as a pipe may.
class Trickle : public std::streambuf {
 public:
  Trickle(std::string bytes, std::size_t piece) : bytes_(std::move(bytes)), piece_(piece) {}

 protected:
  int_type underflow() override {
    if (at_ >= bytes_.size()) return traits_type::eof();
    const std::size_t size = std::min(piece_, bytes_.size() - at_);
    setg(bytes_.data() + at_, bytes_.data() + at_, bytes_.data() + at_ + size);
    at_ += size;
    return traits_type::to_int_type(*gptr());
  }

 private:
  std::string bytes_;
  std::size_t piece_;
  std::size_t at_ = 0;
};

Outcome Read(const std::string& bytes, RecordOptions options = {}, std::size_t piece = 1 << 20) {
  Trickle buffer(bytes, piece);
  std::istream input(&buffer);
  RecordReader reader("file", &input, std::move(options));
  Outcome outcome;
  for (;;) {
    absl::StatusOr<std::optional<Record>> record = reader.Next();
    if (!record.ok()) {
      outcome.errors.emplace_back(record.status().message());
      if (reader.can_continue()) continue;
      EXPECT_EQ(reader.Next().status().message(), record.status().message());
      return outcome;
    }
    if (!record->has_value()) break;
    EXPECT_TRUE(ValueView::Parse((*record)->document).ok());
    outcome.documents.push_back(ToJson(ValueView::FromTrusted((*record)->document)));
    outcome.lines.push_back((*record)->line);
    outcome.numbers.push_back((*record)->number);
  }
  EXPECT_EQ(reader.bytes_taken(), bytes.size());
  return outcome;
}

std::string MessagePack(const std::vector<std::string>& jsons) {
  std::string bytes;
  for (const std::string& json : jsons) bytes += *JsonToMessagePack(json);
  return bytes;
}

const std::vector<std::string> kThree = {R"({"a":1})", R"({"b":"x]}\\\""})", R"({"c":[{},[1]]})"};

TEST(RecordReader, EveryFormGivesTheSameRecords) {
  const std::string with_commas = kThree[0] + "," + kThree[1] + "," + kThree[2];
  std::string array_header(1, '\x93');
  const std::string forms[] = {
      "[" + with_commas + "]",
      " \r\n[\n  " + kThree[0] + " ,\n" + kThree[1] + "\n,\n\n" + kThree[2] + "\n]\n",
      kThree[0] + "\n" + kThree[1] + "\n" + kThree[2] + "\n",
      kThree[0] + "\r\n\r\n" + kThree[1] + "\r\n" + kThree[2],
      "{\"a\":\n1}" + kThree[1] + kThree[2],
      "\xef\xbb\xbf[" + with_commas + "]",
      MessagePack(kThree),
      array_header + MessagePack(kThree),
      std::string("\xdc\x00\x03", 3) + MessagePack(kThree),
      std::string("\xdd\x00\x00\x00\x03", 5) + MessagePack(kThree),
  };
  for (const std::string& form : forms) {
    for (const std::size_t piece : {1U, 2U, 7U, 1U << 20}) {
      const Outcome outcome = Read(form, {}, piece);
      EXPECT_TRUE(outcome.errors.empty()) << form << ": " << outcome.errors.front();
      EXPECT_EQ(outcome.documents, kThree) << form;
      EXPECT_EQ(outcome.numbers, (std::vector<std::uint64_t>{1, 2, 3})) << form;
    }
  }
}

TEST(RecordReader, KnowsTheLineOfEachRecord) {
  const Outcome outcome = Read("[\n{},\n\n{\"a\":\n1}, {}]");
  EXPECT_EQ(outcome.lines, (std::vector<std::uint64_t>{2, 4, 5}));
}

TEST(RecordReader, NothingIsNoRecord) {
  for (const std::string& form : {std::string(), std::string(" \n"), std::string("[]"),
                                  std::string("[ ]\n"), std::string("\x90")}) {
    const Outcome outcome = Read(form);
    EXPECT_TRUE(outcome.documents.empty()) << form;
    EXPECT_TRUE(outcome.errors.empty()) << form << ": " << outcome.errors.front();
  }
}

TEST(RecordReader, BadLinesAreNamedAndPassedOver) {
  const Outcome outcome =
      Read("{\"n\":1}\n{\"n\":\n[2]\n{\"n\":3}\n{'n':4}\n\"five\"\n{\"n\":6}\n");
  EXPECT_EQ(outcome.documents,
            (std::vector<std::string>{R"({"n":1})", R"({"n":3})", R"({"n":6})"}));
  ASSERT_EQ(outcome.errors.size(), 4U);
  const char* const lines[] = {"line 2", "line 3", "line 5", "line 6"};
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(absl::StrContains(outcome.errors[i], "file")) << outcome.errors[i];
    EXPECT_TRUE(absl::StrContains(outcome.errors[i], lines[i])) << outcome.errors[i];
  }
}

TEST(RecordReader, BadElementsAreNamedAndPassedOver) {
  const Outcome outcome = Read("[{\"n\":1},\n7,\n{\"n\":tru},\n{\"n\":4}]");
  EXPECT_EQ(outcome.documents, (std::vector<std::string>{R"({"n":1})", R"({"n":4})"}));
  ASSERT_EQ(outcome.errors.size(), 2U);
  EXPECT_TRUE(absl::StrContains(outcome.errors[0], "line 2")) << outcome.errors[0];
  EXPECT_TRUE(absl::StrContains(outcome.errors[1], "line 3")) << outcome.errors[1];
}

TEST(RecordReader, WhatCannotBeFoundAgainEndsTheReading) {
  const std::string forms[] = {
      "[{\"n\":1}, {\"n\":", "[{\"n\":1} {\"n\":2}]", "[{\"n\":1},]",   "[{\"n\":1}",
      "[{\"n\":1}] more",    "[{\"n\":1}, {\"n\":\"", "{\"n\":1}\n{\"",
  };
  for (const std::string& form : forms) {
    for (const std::size_t piece : {1U, 1U << 20}) {
      const Outcome outcome = Read(form, {}, piece);
      EXPECT_EQ(outcome.documents, (std::vector<std::string>{R"({"n":1})"})) << form;
      EXPECT_EQ(outcome.errors.size(), 1U) << form;
    }
  }
}

TEST(RecordReader, BrokenMessagePackEndsTheReading) {
  const std::string whole = MessagePack({R"({"n":1})", R"({"text":"abcdef"})"});
  const std::size_t first = MessagePack({R"({"n":1})"}).size();
  for (std::size_t size = first + 1; size < whole.size(); ++size) {
    const Outcome outcome = Read(whole.substr(0, size));
    EXPECT_EQ(outcome.documents.size(), 1U);
    ASSERT_EQ(outcome.errors.size(), 1U);
    EXPECT_TRUE(absl::StrContains(outcome.errors[0], "record 2 of file (byte "))
        << outcome.errors[0];
  }
  EXPECT_EQ(Read(whole.substr(0, first) + "\xc1").errors.size(), 1U);
  EXPECT_EQ(
      Read(whole.substr(0, first) + std::string("\x82\xa1\x61\x01\xa1\x61\x02", 7)).errors.size(),
      1U);
  // An array that promises more, or fewer, than there is.
  EXPECT_EQ(Read("\x92" + whole.substr(0, first)).errors.size(), 1U);
  EXPECT_EQ(Read("\x91" + whole).errors.size(), 1U);
  EXPECT_EQ(Read(std::string("\xdd\x00", 2)).errors.size(), 1U);
}

TEST(RecordReader, MessagePackThatIsNoMapIsPassedOver) {
  const Outcome outcome = Read(MessagePack({R"({"n":1})"}) + "\x07" + MessagePack({R"({"n":3})"}));
  EXPECT_EQ(outcome.documents.size(), 2U);
  ASSERT_EQ(outcome.errors.size(), 1U);
  EXPECT_TRUE(absl::StrContains(outcome.errors[0], "must be an object, this is of type int"))
      << outcome.errors[0];
}

TEST(RecordReader, TakesTheArrayOutOfAField) {
  const std::string json = R"({"type":"x","features":[{"n":1},5,{"n":2}],"more":{}})";
  for (const std::string& form : {json, *JsonToMessagePack(json)}) {
    const Outcome outcome = Read(form, {.array_field = "features"});
    EXPECT_EQ(outcome.documents, (std::vector<std::string>{R"({"n":1})", R"({"n":2})"}));
    EXPECT_EQ(outcome.numbers, (std::vector<std::uint64_t>{1, 3}));
    ASSERT_EQ(outcome.errors.size(), 1U);
    EXPECT_EQ(Read(form, {.array_field = "type"}).errors.size(), 1U);
    EXPECT_EQ(Read(form, {.array_field = "none"}).errors.size(), 1U);
    EXPECT_EQ(Read(form, {.array_field = "features", .object_bytes_max = 10}).errors.size(), 1U);
  }
  EXPECT_EQ(Read("[1]", {.array_field = "features"}).errors.size(), 1U);
  EXPECT_EQ(Read("{", {.array_field = "features"}).errors.size(), 1U);
}

TEST(RecordReader, SaysWhatItCannotRead) {
  for (const std::string& form : {std::string("\x1f\x8b\x08\x00", 4), std::string("BZh9")}) {
    const Outcome outcome = Read(form);
    ASSERT_EQ(outcome.errors.size(), 1U);
    EXPECT_TRUE(absl::StrContains(outcome.errors[0], "zcat")) << outcome.errors[0];
  }
  EXPECT_FALSE(Read("title,year\nAlien,1979\n").errors.empty());
}

TEST(RecordReader, RefusesRecordsOverTheLimit) {
  const std::string large = R"({"text":")" + std::string(1000, 'x') + R"("})";
  for (const std::string& form :
       {"[{}," + large + ",{}]", "{}\n" + large + "\n{}\n", MessagePack({"{}", large, "{}"})}) {
    const Outcome outcome = Read(form, {.record_bytes_max = 500});
    EXPECT_EQ(outcome.documents, (std::vector<std::string>{"{}", "{}"}));
    EXPECT_EQ(outcome.errors.size(), 1U);
  }
}

// Any bytes at all end in records and errors, never in a crash or an endless loop.
TEST(RecordReader, SurvivesCutAndChangedFiles) {
  const std::string forms[] = {"[" + kThree[0] + "," + kThree[1] + "]",
                               kThree[0] + "\n" + kThree[1] + "\n", "\x92" + MessagePack(kThree)};
  for (const std::string& form : forms) {
    for (std::size_t at = 0; at < form.size(); ++at) {
      Read(form.substr(0, at) + "  ");
      for (const char c : {'\0', '"', '{', ']', '\x81', '\xff'}) {
        std::string changed = form;
        changed[at] = c;
        std::istringstream input(changed);
        RecordReader reader("file", &input, {});
        int results = 0;
        for (;;) {
          const absl::StatusOr<std::optional<Record>> record = reader.Next();
          ASSERT_LT(++results, 100);
          if (record.ok() ? !record->has_value() : !reader.can_continue()) break;
        }
      }
    }
  }
}

Record RecordOf(const std::string& json, std::uint64_t number = 7) {
  return {.document = *JsonToMessagePack(json), .number = number};
}

std::string Identified(const std::string& json, const IdentityOptions& options) {
  Record record = RecordOf(json);
  const absl::Status status = GiveIdentity(options, &record);
  if (!status.ok()) return std::string(status.message());
  EXPECT_TRUE(ValueView::Parse(record.document).ok());
  return ToJson(ValueView::FromTrusted(record.document));
}

TEST(GiveIdentity, KeepsMakesAndTakesIds) {
  EXPECT_EQ(Identified(R"({"a":1,"_id":"x"})", {}), R"({"a":1,"_id":"x"})");
  EXPECT_EQ(Identified(R"({"a":1})", {.number_records = true}), R"({"_id":7,"a":1})");
  EXPECT_EQ(Identified(R"({"a":"k"})", {.id_field = "a"}), R"({"_id":"k","a":"k"})");
  EXPECT_EQ(Identified(R"({"_id":"k"})", {.id_field = "_id"}), R"({"_id":"k"})");
  Record first = RecordOf("{}");
  Record second = RecordOf("{}");
  ASSERT_TRUE(GiveIdentity({}, &first).ok());
  ASSERT_TRUE(GiveIdentity({}, &second).ok());
  EXPECT_NE(first.document, second.document);
}

TEST(GiveIdentity, RefusesIdsThatAreNone) {
  EXPECT_TRUE(absl::StrContains(Identified(R"({"a":1})", {.id_field = "b"}), "\"b\""));
  EXPECT_TRUE(absl::StrContains(Identified(R"({"a":1,"_id":2})", {.id_field = "a"}), "_id"));
  EXPECT_TRUE(absl::StrContains(Identified(R"({"_id":2})", {.number_records = true}), "_id"));
  EXPECT_FALSE(absl::StrContains(Identified(R"({"_id":[1]})", {}), "{"));
  EXPECT_FALSE(absl::StrContains(Identified(R"({"a":null})", {.id_field = "a"}), "{"));
}

}  // namespace
}  // namespace alos::import
