// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/json_stream.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// All that a stream gives, in order: "<line>:<offset> <json>" for documents, "! <message>" for
// errors the stream goes on after, "broken <message>" at the end of a broken one.
std::vector<std::string> Read(std::string_view text, std::size_t chunk_size,
                              JsonStreamOptions options = {}) {
  JsonStream stream(options);
  std::vector<std::string> events;
  bool is_finished = false;
  for (;;) {
    JsonStream::Document document;
    const absl::StatusOr<bool> found = stream.Next(&document);
    if (!found.ok()) {
      EXPECT_EQ(found.status().code(), absl::StatusCode::kInvalidArgument);
      events.push_back(
          absl::StrCat(stream.is_broken() ? "broken " : "! ", found.status().message()));
      if (stream.is_broken()) {
        EXPECT_EQ(stream.Next(&document).status(), found.status());
        return events;
      }
    } else if (*found) {
      const absl::StatusOr<ValueView> value = ValueView::Parse(document.message_pack);
      EXPECT_TRUE(value.ok()) << value.status();
      events.push_back(absl::StrCat(document.line, ":", document.offset, " ", ToJson(*value)));
    } else if (!text.empty()) {
      const std::size_t size = std::min(chunk_size, text.size());
      // A copy, which is gone before the next chunk: the stream must not keep views of it.
      stream.Append(std::string(text.substr(0, size)));
      text.remove_prefix(size);
    } else if (!is_finished) {
      stream.Finish();
      is_finished = true;
    } else {
      return events;
    }
  }
}

// The result must not depend on how the stream is cut into chunks.
std::vector<std::string> ReadInAllChunks(std::string_view text, JsonStreamOptions options = {}) {
  const std::vector<std::string> whole = Read(text, std::max<std::size_t>(text.size(), 1), options);
  for (const std::size_t chunk_size : {1, 2, 3, 5, 7, 16}) {
    EXPECT_EQ(Read(text, chunk_size, options), whole) << text << " in chunks of " << chunk_size;
  }
  return whole;
}

using Events = std::vector<std::string>;

TEST(JsonStreamTest, LinesOfDocuments) {
  EXPECT_EQ(ReadInAllChunks("{\"a\":1}\n{\"a\":\"x\\\"}\"}\n\n  \r\n {\"a\":[{}]} \r\n{}"),
            (Events{"1:0 {\"a\":1}", "2:8 {\"a\":\"x\\\"}\"}", "5:27 {\"a\":[{}]}", "6:40 {}"}));
}

TEST(JsonStreamTest, OneArrayOfDocuments) {
  EXPECT_EQ(ReadInAllChunks(" [ {\"a\":1} ,\n{\"b\":\"]\"},{}\n]\n"),
            (Events{"1:3 {\"a\":1}", "2:13 {\"b\":\"]\"}", "2:23 {}"}));
  EXPECT_EQ(ReadInAllChunks("[]"), Events{});
  EXPECT_EQ(ReadInAllChunks("[{}]"), (Events{"1:1 {}"}));
}

TEST(JsonStreamTest, DocumentsOverSeveralLines) {
  EXPECT_EQ(ReadInAllChunks("{\n \"a\": 1\n}\n{\n \"b\": {\"c\":\n2}\n}{}"),
            (Events{"1:0 {\"a\":1}", "4:12 {\"b\":{\"c\":2}}", "7:30 {}"}));
}

TEST(JsonStreamTest, NothingAtAll) {
  EXPECT_EQ(ReadInAllChunks(""), Events{});
  EXPECT_EQ(ReadInAllChunks(" \n\n "), Events{});
  EXPECT_EQ(ReadInAllChunks("\xef\xbb\xbf"), Events{});
}

TEST(JsonStreamTest, AByteOrderMarkIsPassedOver) {
  EXPECT_EQ(ReadInAllChunks("\xef\xbb\xbf{\"a\":1}\n{}\n"), (Events{"1:3 {\"a\":1}", "2:11 {}"}));
}

TEST(JsonStreamTest, BadLinesAreReportedAndPassedOver) {
  EXPECT_EQ(
      ReadInAllChunks(
          "{\"a\":1}\n{\"a\":\n5\n{\"a\":\"x\n{} {}\n{\"a\":{\"$date\":0.5}}\n{\"z\":1}\n"),
      (Events{
          "1:0 {\"a\":1}",
          "! invalid JSON at line 2, byte 13: expected a value, found the end",
          "! invalid JSON at line 3, byte 14: expected an object as document, found '5'",
          "! invalid JSON at line 4, byte 23: expected '\"' to end the string that began 2 bytes "
          "before, found the end",
          "! invalid JSON at line 5, byte 27: expected the end after one value, found '{'",
          "! invalid JSON at line 6, byte 30: field \"a\": malformed $date: expected a string such "
          "as \"2024-05-06T07:08:09.123Z\", {\"$numberLong\": \"<milliseconds>\"} or {\"seconds\": "
          "\"...\", \"nanoseconds\": 0}; a plain object with this one key is written {\"$object\": "
          "{\"$date\": ...}}",
          "7:50 {\"z\":1}",
      }));
}

TEST(JsonStreamTest, BadElementsOfAnArrayAreReportedAndPassedOver) {
  EXPECT_EQ(ReadInAllChunks("[{\"a\":tru},5,\"x\",null,[1,{}],{\"$date\":0},{\"b\":1}]"),
            (Events{
                "! invalid JSON at line 1, byte 9: expected the value true, found '}'",
                "! invalid JSON at line 1, byte 11: expected an object as document, found '5'",
                "! invalid JSON at line 1, byte 13: expected an object as document, found '\"'",
                "! invalid JSON at line 1, byte 17: expected an object as document, found 'n'",
                "! invalid JSON at line 1, byte 22: expected an object as document, found '['",
                "! invalid JSON at line 1, byte 29: expected an object as document, found a date",
                "1:41 {\"b\":1}",
            }));
}

TEST(JsonStreamTest, BrokenArraysStayBroken) {
  const std::pair<const char*, const char*> cases[] = {
      {"[{} {}]", "byte 4: expected ',' or ']', found '{'"},
      {"[{},]", "byte 4: expected an object, found ']'"},
      {"[,{}]", "byte 1: expected an object, found ','"},
      {"[{}", "byte 3: expected ',' or ']', found the end"},
      {"[", "byte 1: expected an object, found the end"},
      {"[{},", "byte 4: expected an object, found the end"},
      {"[{}] {}", "byte 5: expected the end after the array, found '{'"},
      {"[{\"a\":1", "byte 7: expected ',' or '}', found the end"},
      {"[{\"a\":\"x\n\"}]", "byte 8: expected '\"' before the end of the line, found byte 0x0a"},
      {"[{\"a\":\"x\\", "byte 9: expected a character after '\\', found the end"},
  };
  for (const auto& [text, message] : cases) {
    const Events events = ReadInAllChunks(text);
    ASSERT_FALSE(events.empty()) << text;
    EXPECT_TRUE(absl::StartsWith(events.back(), "broken ")) << text << ": " << events.back();
    EXPECT_TRUE(absl::EndsWith(events.back(), message)) << text << ": " << events.back();
  }
}

TEST(JsonStreamTest, BrokenSequences) {
  EXPECT_EQ(ReadInAllChunks("{\n}\n{\n\"a\":1"),
            (Events{"1:0 {}",
                    "broken invalid JSON at line 4, byte 11: expected ',' or '}', found the end"}));
  EXPECT_EQ(
      ReadInAllChunks("{\n}\n}"),
      (Events{"1:0 {}", "broken invalid JSON at line 3, byte 4: expected an object, found '}'"}));
  // Two documents on the first line are no NDJSON.
  EXPECT_EQ(ReadInAllChunks("{}{\"a\":1}\n5 {}"),
            (Events{"1:0 {}", "1:2 {\"a\":1}",
                    "! invalid JSON at line 2, byte 10: expected an object as document, found '5'",
                    "2:12 {}"}));
}

TEST(JsonStreamTest, TheFormatCanBeForced) {
  // In a file of lines a truncated first line must not make a sequence of it.
  EXPECT_EQ(ReadInAllChunks("{\"a\":\n{\"b\":1}\n", {.format = JsonStreamFormat::kLines}),
            (Events{"! invalid JSON at line 1, byte 5: expected a value, found the end",
                    "2:6 {\"b\":1}"}));
  EXPECT_EQ(ReadInAllChunks("{}", {.format = JsonStreamFormat::kArray}),
            (Events{"broken invalid JSON at line 1, byte 0: expected '[', found '{'"}));
  EXPECT_EQ(ReadInAllChunks("", {.format = JsonStreamFormat::kArray}),
            (Events{"broken invalid JSON at line 1, byte 0: expected '[', found the end"}));
  EXPECT_EQ(ReadInAllChunks("{}\n{}", {.format = JsonStreamFormat::kSequence}),
            (Events{"1:0 {}", "2:3 {}"}));
}

TEST(JsonStreamTest, DocumentsAreLimitedInSize) {
  const std::string large = "{\"a\":\"" + std::string(20, 'x') + "\"}";
  for (const JsonStreamFormat format :
       {JsonStreamFormat::kArray, JsonStreamFormat::kLines, JsonStreamFormat::kSequence}) {
    const bool is_array = format == JsonStreamFormat::kArray;
    const std::string text = absl::StrCat(is_array ? "[" : "", "{}", is_array ? "," : "\n", large,
                                          is_array ? "," : "\n", "{}", is_array ? "]" : "");
    EXPECT_EQ(
        ReadInAllChunks(text, {.format = format, .document_size_max_bytes = large.size()}).size(),
        3);
    const Events events =
        ReadInAllChunks(text, {.format = format, .document_size_max_bytes = large.size() - 1});
    EXPECT_TRUE(absl::StrContains(events[1], "longer than the limit of 27 bytes")) << events[1];
    EXPECT_EQ(events.size(), format == JsonStreamFormat::kLines ? 3 : 2);
  }
}

// What is kept does not grow with the stream.
TEST(JsonStreamTest, ManyDocuments) {
  JsonStream stream;
  JsonStream::Document document;
  std::uint64_t count = 0;
  std::uint64_t sum = 0;
  stream.Append("[");
  for (int i = 0; i < 20'000; ++i) {
    stream.Append(absl::StrCat(i == 0 ? "" : ",\n", "{\"i\":", i, ",\"t\":\"some text\"}"));
    for (;;) {
      const absl::StatusOr<bool> found = stream.Next(&document);
      ASSERT_TRUE(found.ok()) << found.status();
      if (!*found) break;
      ++count;
      sum += ValueView::FromTrusted(document.message_pack).Find("i")->AsUint64();
      EXPECT_EQ(document.line, count);
    }
  }
  stream.Append("]");
  stream.Finish();
  EXPECT_FALSE(*stream.Next(&document));
  EXPECT_EQ(count, 20'000);
  EXPECT_EQ(sum, 20'000ULL * 19'999 / 2);
}

}  // namespace
}  // namespace alos
