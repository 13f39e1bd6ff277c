// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/json.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

std::string Built(const std::function<void(Builder&)>& build) {
  std::string bytes;
  Builder builder(&bytes);
  build(builder);
  EXPECT_TRUE(ValueView::Parse(bytes).ok());
  return bytes;
}

std::string Packed(std::string_view json) {
  const absl::StatusOr<std::string> bytes = JsonToMessagePack(json);
  EXPECT_TRUE(bytes.ok()) << bytes.status() << " for " << json;
  if (!bytes.ok()) return "\xc0";
  EXPECT_TRUE(ValueView::Parse(*bytes).ok()) << json;
  return *bytes;
}

// Both ways: `bytes` is written as `json`, and `json` is read as `bytes`.
void ExpectBothWays(const std::string& bytes, std::string_view json) {
  EXPECT_EQ(ToJson(ValueView::FromTrusted(bytes)), json);
  EXPECT_EQ(absl::BytesToHexString(Packed(json)), absl::BytesToHexString(bytes)) << json;
}

void ExpectReads(std::string_view json, const std::string& bytes) {
  EXPECT_EQ(absl::BytesToHexString(Packed(json)), absl::BytesToHexString(bytes)) << json;
}

void ExpectRefused(std::string_view json, std::string_view message) {
  const absl::Status status = JsonToMessagePack(json).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
  EXPECT_TRUE(absl::StrContains(status.message(), message)) << json << ": " << status;
}

std::string Int(std::int64_t value) {
  return Built([&](Builder& b) { b.Int(value); });
}
std::string Double(double value) {
  return Built([&](Builder& b) { b.Double(value); });
}
std::string String(std::string_view value) {
  return Built([&](Builder& b) { b.String(value); });
}
std::string Time(std::int64_t seconds, std::uint32_t nanoseconds) {
  return Built([&](Builder& b) { b.Time({seconds, nanoseconds}); });
}

TEST(JsonTest, PlainValues) {
  ExpectBothWays("\xc0", "null");
  ExpectBothWays("\xc3", "true");
  ExpectBothWays("\xc2", "false");
  ExpectBothWays("\x80", "{}");
  ExpectBothWays("\x90", "[]");
  ExpectBothWays(Built([](Builder& b) {
                   b.StartDocument().Key("b").Int(1).Key("a").StartArray();
                   b.Null().StartDocument().EndDocument().String("x").EndArray().EndDocument();
                 }),
                 R"({"b":1,"a":[null,{},"x"]})");
  ExpectReads(" { \"a\" :\n[ 1 ,2 ] } ", Built([](Builder& b) {
                b.StartDocument().Key("a").StartArray().Int(1).Int(2).EndArray().EndDocument();
              }));
}

TEST(JsonTest, Integers) {
  ExpectBothWays(Int(0), "0");
  ExpectBothWays(Int(-5), "-5");
  ExpectBothWays(Int(9007199254740992), "9007199254740992");
  ExpectBothWays(Int(-9007199254740992), "-9007199254740992");
  ExpectBothWays(Int(9007199254740993), R"({"$numberLong":"9007199254740993"})");
  ExpectBothWays(Int(INT64_MAX), R"({"$numberLong":"9223372036854775807"})");
  ExpectBothWays(Int(INT64_MIN), R"({"$numberLong":"-9223372036854775808"})");
  ExpectBothWays(Built([](Builder& b) { b.Uint(UINT64_MAX); }),
                 R"({"$numberUlong":"18446744073709551615"})");
  ExpectReads("9223372036854775807", Int(INT64_MAX));
  ExpectReads("-9223372036854775808", Int(INT64_MIN));
  ExpectReads("18446744073709551615", Built([](Builder& b) { b.Uint(UINT64_MAX); }));
  ExpectReads(R"({"$numberInt":"-7"})", Int(-7));
  ExpectReads(R"({"$numberUlong":"7"})", Int(7));
  ExpectRefused(R"({"$numberInt":"2147483648"})", "malformed $numberInt");
  ExpectRefused(R"({"$numberInt":5})", "expected a string with a 32-bit integer");
  ExpectRefused(R"({"$numberLong":"9223372036854775808"})", "malformed $numberLong");
  ExpectRefused(R"({"$numberLong":"1 "})", "malformed $numberLong");
  ExpectRefused(R"({"$numberUlong":"-1"})", "malformed $numberUlong");
}

TEST(JsonTest, IntegersBeyond64BitsAreDoubles) {
  ExpectReads("18446744073709551616", Double(18446744073709551616.0));
  ExpectReads("-9223372036854775809", Double(-9223372036854775808.0));
  ExpectReads("[1,123456789012345678901234567890]", Built([](Builder& b) {
                b.StartArray().Int(1).Double(123456789012345678901234567890.0).EndArray();
              }));
  ExpectRefused("[1,\n1e400]", "line 2, byte 4: expected a number within the range of a double");
}

TEST(JsonTest, Doubles) {
  ExpectBothWays(Double(1.0), "1.0");
  ExpectBothWays(Double(-0.0), "-0.0");
  ExpectBothWays(Double(1.5), "1.5");
  ExpectBothWays(Double(0.1), "0.1");
  ExpectBothWays(Double(1e300), "1e+300");
  ExpectBothWays(Double(100000.0), "1e+05");
  ExpectBothWays(Double(1234567.0), "1234567.0");
  ExpectBothWays(Double(5e-324), "5e-324");
  ExpectBothWays(Double(1.7976931348623157e308), "1.7976931348623157e+308");
  ExpectBothWays(Double(std::numeric_limits<double>::infinity()),
                 R"({"$numberDouble":"Infinity"})");
  ExpectBothWays(Double(-std::numeric_limits<double>::infinity()),
                 R"({"$numberDouble":"-Infinity"})");
  ExpectBothWays(Double(std::numeric_limits<double>::quiet_NaN()), R"({"$numberDouble":"NaN"})");
  ExpectReads(R"({"$numberDouble":"-0.0"})", Double(-0.0));
  ExpectReads(R"({"$numberDouble":"1"})", Double(1.0));
  ExpectReads("1e5", Double(100000.0));
  for (const char* text : {"nan", "inf", "", "1x", "0x10", "1e400"}) {
    ExpectRefused(absl::StrCat("{\"$numberDouble\":\"", text, "\"}"), "malformed $numberDouble");
  }
  // Every float32 is a double.
  const std::string single("\xca\x3f\xc0\x00\x00", 5);
  EXPECT_EQ(ToJson(ValueView::FromTrusted(single)), "1.5");
}

TEST(JsonTest, Strings) {
  ExpectBothWays(String(""), "\"\"");
  ExpectBothWays(String("h\xc3\xa4user \xf0\x9f\x98\x80"), "\"h\xc3\xa4user \xf0\x9f\x98\x80\"");
  ExpectBothWays(String(std::string_view("\"\\/\b\f\n\r\t\x01\x1f\x7f\0", 12)),
                 "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\\u0000\"");
  ExpectReads("\"\\u00e4\\ud83d\\ude00\\/\"", String("\xc3\xa4\xf0\x9f\x98\x80/"));
  ExpectBothWays(String(std::string(1000, 'x')), "\"" + std::string(1000, 'x') + "\"");
}

TEST(JsonTest, StringsThatAreNotUtf8KeepTheirBytes) {
  ExpectBothWays(String("\xff\xfe"), R"({"$string":{"base64":"//4="}})");
  ExpectBothWays(String("ok\xed\xa0\x80"), R"({"$string":{"base64":"b2vtoIA="}})");
  ExpectRefused(R"({"$string":"x"})", "malformed $string");
  ExpectRefused(R"({"$string":{"base64":"!"}})", "malformed $string");
  ExpectRefused(R"({"$string":{"base64":"","x":1}})", "malformed $string");
  ExpectRefused("\"a\xff\"", "line 1, byte 2: expected valid UTF-8, found byte 0xff");
  ExpectRefused("{\"\xff\":1}", "byte 2: expected valid UTF-8");
}

TEST(JsonTest, Dates) {
  ExpectBothWays(Time(0, 0), R"({"$date":"1970-01-01T00:00:00Z"})");
  ExpectBothWays(Time(1714979289, 123'000'000), R"({"$date":"2024-05-06T07:08:09.123Z"})");
  ExpectBothWays(Time(1714979289, 123'456'000), R"({"$date":"2024-05-06T07:08:09.123456Z"})");
  ExpectBothWays(Time(1714979289, 123'456'789), R"({"$date":"2024-05-06T07:08:09.123456789Z"})");
  ExpectBothWays(Time(1714979289, 1), R"({"$date":"2024-05-06T07:08:09.000000001Z"})");
  ExpectBothWays(Time(-1, 500'000'000), R"({"$date":"1969-12-31T23:59:59.500Z"})");
  ExpectBothWays(Time(951782400, 0), R"({"$date":"2000-02-29T00:00:00Z"})");
  ExpectBothWays(Time(-62135596800, 0), R"({"$date":"0001-01-01T00:00:00Z"})");
  ExpectBothWays(Time(253402300799, 999'999'999), R"({"$date":"9999-12-31T23:59:59.999999999Z"})");
  // Outside the years 1 to 9999.
  ExpectBothWays(Time(253402300800, 0), R"({"$date":{"$numberLong":"253402300800000"}})");
  ExpectBothWays(Time(-62135596801, 999'000'000), R"({"$date":{"$numberLong":"-62135596800001"}})");
  ExpectBothWays(Time(253402300800, 1), R"({"$date":{"seconds":"253402300800","nanoseconds":1}})");
  ExpectBothWays(Time(INT64_MIN, 999'999'999),
                 R"({"$date":{"seconds":"-9223372036854775808","nanoseconds":999999999}})");
  ExpectBothWays(Time(INT64_MAX, 0),
                 R"({"$date":{"seconds":"9223372036854775807","nanoseconds":0}})");
}

TEST(JsonTest, OtherFormsOfDates) {
  ExpectReads(R"({"$date":"2024-05-06T09:08:09.5+02:00"})", Time(1714979289, 500'000'000));
  ExpectReads(R"({"$date":"2024-05-06T03:38:09-0330"})", Time(1714979289, 0));
  ExpectReads(R"({"$date":{"$numberLong":"-1"}})", Time(-1, 999'000'000));
  ExpectReads(R"({"$date":1714979289123})", Time(1714979289, 123'000'000));
  ExpectReads(R"({"$date":{"nanoseconds":7,"seconds":"-1"}})", Time(-1, 7));
  for (const char* text :
       {"2024-05-06", "2024-05-06T07:08Z", "2024-05-06T07:08:09", "2024-02-30T00:00:00Z",
        "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:60Z",
        "2024-05-06T07:08:09.Z", "2024-05-06T07:08:09.1234567890Z", "2024-05-06 07:08:09Z",
        "2024-05-06T07:08:09Zx", "2024-05-06T07:08:09+25:00", "24-05-06T07:08:09Z", ""}) {
    ExpectRefused(absl::StrCat("{\"$date\":\"", text, "\"}"), "malformed $date");
  }
  ExpectRefused(R"({"$date":1.5})", "malformed $date");
  ExpectRefused(R"({"$date":{"$numberLong":5}})", "malformed $date");
  ExpectRefused(R"({"$date":{"seconds":"5","nanoseconds":1000000000}})", "malformed $date");
  ExpectRefused(R"({"$date":{"seconds":5,"nanoseconds":1}})", "malformed $date");
}

TEST(JsonTest, BinaryAndExtensions) {
  ExpectBothWays(Built([](Builder& b) { b.Binary(std::string_view("\0\xff", 2)); }),
                 R"({"$binary":{"base64":"AP8=","subType":"00"}})");
  ExpectBothWays(Built([](Builder& b) { b.Binary(""); }),
                 R"({"$binary":{"base64":"","subType":"00"}})");
  ExpectReads(R"({"$binary":{"base64":"AP8="}})",
              Built([](Builder& b) { b.Binary(std::string_view("\0\xff", 2)); }));
  ExpectRefused(R"({"$binary":{"base64":"AP8=","subType":"04"}})", "expected the subType \"00\"");
  ExpectRefused(R"({"$binary":{"base64":"AP8=","x":"00"}})", "expected the subType \"00\"");
  ExpectRefused(R"({"$binary":{"base64":"*"}})", "malformed $binary");
  ExpectRefused(R"({"$binary":"AP8="})", "malformed $binary");
  ExpectBothWays(Built([](Builder& b) { b.Extension(5, "ab"); }),
                 R"({"$ext":{"type":5,"base64":"YWI="}})");
  ExpectBothWays(Built([](Builder& b) { b.Extension(-128, ""); }),
                 R"({"$ext":{"type":-128,"base64":""}})");
  for (const char* fields : {R"("type":-1,"base64":"")", R"("type":128,"base64":"")",
                             R"("type":-129,"base64":"")", R"("type":1.5,"base64":"")",
                             R"("base64":"")", R"("type":1)", R"("type":1,"base64":"","x":1)"}) {
    ExpectRefused(absl::StrCat("{\"$ext\":{", fields, "}}"), "malformed $ext");
  }
}

TEST(JsonTest, OperatorsStayPlainDocuments) {
  for (const char* json :
       {R"({"$gt":1})", R"({"a":{"$gte":1,"$lt":5}})", R"({"$set":{"a.b":1}})", R"({"$oid":"x"})",
        R"({"$date":"x","y":1})", R"({"$numberLong":"1","$numberInt":"1"})", R"({"$":1})",
        R"({"$Date":1})", R"([{"$match":{"a":{"$in":[1,2]}}}])"}) {
    const std::string bytes = Packed(json);
    EXPECT_EQ(ToJson(ValueView::FromTrusted(bytes)), json);
  }
}

TEST(JsonTest, DocumentsThatLookLikeWrappersRoundTrip) {
  ExpectBothWays(Built([](Builder& b) { b.StartDocument().Key("$date").Int(1).EndDocument(); }),
                 R"({"$object":{"$date":1}})");
  ExpectBothWays(Built([](Builder& b) {
                   b.StartDocument().Key("$object").StartDocument().Key("a").Int(1).EndDocument();
                   b.EndDocument();
                 }),
                 R"({"$object":{"$object":{"a":1}}})");
  ExpectBothWays(Built([](Builder& b) {
                   b.StartDocument().Key("$ext").StartDocument().Key("$date").Time({0, 0});
                   b.EndDocument().EndDocument();
                 }),
                 R"({"$object":{"$ext":{"$object":{"$date":{"$date":"1970-01-01T00:00:00Z"}}}}})");
  ExpectReads(R"({"$object":{"a":1}})", Packed(R"({"a":1})"));
  ExpectRefused(R"({"$object":1})", "malformed $object");
}

TEST(JsonTest, KeysThatAreNotUtf8KeepTheirBytes) {
  ExpectBothWays(Built([](Builder& b) {
                   b.StartDocument().Key("a").Int(1).Key("\xff").StartArray().EndArray();
                   b.EndDocument();
                 }),
                 R"({"$object":[["a",1],[{"$string":{"base64":"/w=="}},[]]]})");
  ExpectReads(R"({"$object":[]})", "\x80");
  for (const char* json :
       {R"({"$object":[1]})", R"({"$object":[["a"]]})", R"({"$object":[["a",1,2]]})",
        R"({"$object":[[1,1]]})", R"({"$object":[[{"$string":1},1]]})"}) {
    ExpectRefused(json, "malformed $object");
  }
  ExpectRefused(R"({"$object":[["a",1],["a",2]]})", "the key \"a\" stands twice");
}

TEST(JsonTest, DuplicateKeysAreRefused) {
  ExpectRefused(R"({"x":[{"a":1,"b":2,"a":3}]})",
                "line 1, byte 0: field \"x.0\": the key \"a\" stands twice in one object");
  ExpectRefused(R"({"a":1,"\u0061":3})", "the key \"a\" stands twice");
  std::string many = "{";
  for (int i = 0; i < 50; ++i) absl::StrAppend(&many, "\"k", i, "\":1,");
  Packed(many + "\"z\":1}");
  ExpectRefused(many + "\"k7\":1}", "the key \"k7\" stands twice");
}

TEST(JsonTest, ErrorsNameThePlace) {
  ExpectRefused("{\"a\":1,\n \"b\": tru}",
                "invalid JSON at line 2, byte 17: expected the value true");
  ExpectRefused("", "line 1, byte 0: expected a value, found the end");
  ExpectRefused("{} {}", "byte 3: expected the end after one value, found '{'");
  ExpectRefused("\n {\"a\":{\"b\":[0,{\"$date\":\"x\"}]}}",
                "line 2, byte 2: field \"a.b.1\": malformed $date");
}

TEST(JsonTest, NestingIsLimited) {
  const auto nested = [](int depth, std::string_view open, std::string_view close) {
    std::string json;
    for (int i = 0; i < depth; ++i) json += open;
    json += "1.0";
    for (int i = 0; i < depth; ++i) json += close;
    return json;
  };
  for (const auto& [open, close] :
       {std::pair{"[", "]"}, {"{\"a\":", "}"}, {"{\"$object\":[[\"a\",", "]]}"}}) {
    const std::string bytes = Packed(nested(100, open, close));
    EXPECT_EQ(Packed(ToJson(ValueView::FromTrusted(bytes))), bytes);
    ExpectRefused(nested(101, open, close), "nested deeper than 100 levels");
  }
  ExpectRefused(nested(1000, "[", "]"), "nested too deep: a value may have 100 levels");
  ExpectRefused(std::string(1'000'000, '['), "nested too deep");
  // The deepest value there is, with the wrappers that take most levels of text.
  const std::string strange = Built([](Builder& b) {
    for (int i = 0; i < 100; ++i) b.StartDocument().Key("\xff");
    b.Binary("x");
    for (int i = 0; i < 100; ++i) b.EndDocument();
  });
  EXPECT_EQ(Packed(ToJson(ValueView::FromTrusted(strange))), strange);
}

TEST(JsonReaderTest, AppendsAndLeavesTheOutputAloneOnError) {
  JsonReader reader;
  std::string out = "x";
  EXPECT_TRUE(reader.Append("1", &out).ok());
  EXPECT_EQ(out, "x\x01");
  EXPECT_FALSE(reader.Append("[1,{\"$date\":0.5}]", &out).ok());
  EXPECT_FALSE(reader.Append("[1,", &out).ok());
  EXPECT_EQ(out, "x\x01");
  EXPECT_TRUE(reader.Append("\"" + std::string(100'000, 'l') + "\"", &out).ok());
  EXPECT_TRUE(reader.Append("2", &out).ok());
  EXPECT_EQ(out.back(), '\x02');
  const absl::Status status = reader.Append("\n\n]", &out, {.line = 10, .offset = 1000});
  EXPECT_TRUE(absl::StrContains(status.message(), "line 12, byte 1002")) << status;
}

}  // namespace
}  // namespace alos
