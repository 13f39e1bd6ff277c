// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/document/path.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "alos/document/builder.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// Writes the value that a tiny notation describes: {a:1,b:[2,{}]}, integers and null only.
class Notation {
 public:
  static std::string Bytes(std::string_view text) {
    std::string bytes;
    Builder builder(&bytes);
    Notation(text, &builder).Value();
    EXPECT_TRUE(ValueView::Parse(bytes).ok()) << text;
    return bytes;
  }

 private:
  Notation(std::string_view text, Builder* builder) : text_(text), builder_(builder) {}

  char Take() {
    const char c = text_.front();
    text_.remove_prefix(1);
    return c;
  }

  void Value() {
    if (text_.front() == '{') {
      Take();
      builder_->StartDocument();
      while (text_.front() != '}') {
        const std::size_t colon = text_.find(':');
        builder_->Key(text_.substr(0, colon));
        text_.remove_prefix(colon + 1);
        Value();
        if (text_.front() == ',') Take();
      }
      Take();
      builder_->EndDocument();
    } else if (text_.front() == '[') {
      Take();
      builder_->StartArray();
      while (text_.front() != ']') {
        Value();
        if (text_.front() == ',') Take();
      }
      Take();
      builder_->EndArray();
    } else if (absl::StartsWith(text_, "null")) {
      text_.remove_prefix(4);
      builder_->Null();
    } else {
      std::int64_t number = 0;
      while (!text_.empty() && text_.front() >= '0' && text_.front() <= '9') {
        number = number * 10 + (Take() - '0');
      }
      builder_->Int(number);
    }
  }

  std::string_view text_;
  Builder* builder_;
};

std::string Shown(ValueView value) {
  std::vector<std::string> parts;
  if (value.IsDocument()) {
    for (const auto& [key, child] : value.entries()) {
      parts.push_back(absl::StrCat(key, ":", Shown(child)));
    }
    return absl::StrCat("{", absl::StrJoin(parts, ","), "}");
  }
  if (value.IsArray()) {
    for (const ValueView child : value.elements()) parts.push_back(Shown(child));
    return absl::StrCat("[", absl::StrJoin(parts, ","), "]");
  }
  return value.IsNull() ? "null" : absl::StrCat(value.AsInt64());
}

// What `path` visits in `document`, in order; "-" where missing, "@" before what a position gave.
std::string Visited(std::string_view document, std::string_view path) {
  const std::string bytes = Notation::Bytes(document);
  const absl::StatusOr<Path> parsed = Path::Parse(path);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  std::vector<std::string> visited;
  const bool stopped = VisitPath(
      ValueView::FromTrusted(bytes), *parsed, [&](std::optional<ValueView> value, PathEnd end) {
        EXPECT_EQ(value.has_value(), end != PathEnd::kMissing);
        visited.push_back(
            !value ? "-" : absl::StrCat(end == PathEnd::kByPosition ? "@" : "", Shown(*value)));
        return false;
      });
  EXPECT_FALSE(stopped);
  return absl::StrJoin(visited, " ");
}

TEST(PathTest, ParseSplitsAtDots) {
  const absl::StatusOr<Path> path = Path::Parse("a.0.long name.17");
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(absl::StrJoin(path->parts(), "|"), "a|0|long name|17");
  EXPECT_EQ(path->position(0), std::nullopt);
  EXPECT_EQ(path->position(1), 0);
  EXPECT_EQ(path->position(3), 17);
  EXPECT_EQ(path->ToString(), "a.0.long name.17");
}

TEST(PathTest, BadPathsAreRefusedByName) {
  const auto message = [](std::string_view path) {
    return std::string(Path::Parse(path).status().message());
  };
  EXPECT_TRUE(absl::StrContains(message(""), "path \"\" is empty"));
  for (const char* path : {".", "a.", ".a", "a..b"}) {
    EXPECT_TRUE(absl::StrContains(message(path), absl::StrCat("path \"", path, "\" has an empty")))
        << message(path);
  }
  std::string deep = "a";
  for (int i = 1; i < 100; ++i) deep += ".a";
  EXPECT_TRUE(Path::Parse(deep).ok());
  EXPECT_TRUE(absl::StrContains(message(deep + ".a"), "more than 100 parts"));
}

TEST(VisitPathTest, DocumentsOnly) {
  EXPECT_EQ(Visited("{x:4,a:5}", "a"), "5");
  EXPECT_EQ(Visited("{a:{b:{c:1}}}", "a.b.c"), "1");
  EXPECT_EQ(Visited("{a:{b:{c:1}}}", "a.b"), "{c:1}");
  EXPECT_EQ(Visited("{a:{0:7}}", "a.0"), "7");
}

TEST(VisitPathTest, MissingIsToldFromNull) {
  EXPECT_EQ(Visited("{a:null}", "a"), "null");
  EXPECT_EQ(Visited("{}", "a"), "-");
  EXPECT_EQ(Visited("{a:{}}", "a.b"), "-");
  EXPECT_EQ(Visited("{a:{b:null}}", "a.b"), "null");
  EXPECT_EQ(Visited("{a:null}", "a.b"), "-");
  EXPECT_EQ(Visited("{a:5}", "a.b"), "-");
  EXPECT_EQ(Visited("{a:5}", "a.0"), "-");
  EXPECT_EQ(Visited("[{a:1}]", "a"), "-");
  EXPECT_EQ(Visited("5", "a"), "-");
}

TEST(VisitPathTest, LeafArraysAreVisitedAsArrays) {
  EXPECT_EQ(Visited("{a:[5,6]}", "a"), "[5,6]");
  EXPECT_EQ(Visited("{a:[]}", "a"), "[]");
  EXPECT_EQ(Visited("{a:{b:[1,[2]]}}", "a.b"), "[1,[2]]");
}

TEST(VisitPathTest, ArraysOnTheWayAreExpanded) {
  EXPECT_EQ(Visited("{a:[{b:5},3,{},{b:[9,11]},{b:7}]}", "a.b"), "5 - [9,11] 7");
  EXPECT_EQ(Visited("{a:[{b:[{c:1},{c:2}]},{b:{c:3}}]}", "a.b.c"), "1 2 3");
  EXPECT_EQ(Visited("{a:[{b:null}]}", "a.b"), "null");
  EXPECT_EQ(Visited("{a:[{b:4}]}", "a.b.c"), "-");
}

TEST(VisitPathTest, ArraysWithoutDocumentsGiveNothing) {
  EXPECT_EQ(Visited("{a:[]}", "a.b"), "");
  EXPECT_EQ(Visited("{a:[4]}", "a.b"), "");
  EXPECT_EQ(Visited("{a:[{b:[]},{b:[]}]}", "a.b.x"), "");
}

TEST(VisitPathTest, NumbersArePositionsToo) {
  EXPECT_EQ(Visited("{a:[5,7,3]}", "a.1"), "@7");
  EXPECT_EQ(Visited("{a:[5,7,3]}", "a.3"), "");
  EXPECT_EQ(Visited("{a:[5,7,3]}", "a.01"), "");
  EXPECT_EQ(Visited("{a:[5,[2,4],3]}", "a.1"), "@[2,4]");
  EXPECT_EQ(Visited("{a:[5,7]}", "a.0.b"), "");
}

TEST(VisitPathTest, NumbersAreKeysOfElementsToo) {
  EXPECT_EQ(Visited("{a:[5,{1:4},3]}", "a.1"), "4 @{1:4}");
  EXPECT_EQ(Visited("{a:[5,{b:4},3]}", "a.1.b"), "- 4");
  EXPECT_EQ(Visited("{a:[{b:[2,3]},{b:[4,5]}]}", "a.0.b"), "- [2,3] -");
  EXPECT_EQ(Visited("{a:[{0:{b:1}},{0:{b:2}}]}", "a.0.b"), "1 - 2");
}

TEST(VisitPathTest, NestedArraysAreEnteredByPositionOnly) {
  EXPECT_EQ(Visited("{a:[[{b:1}]]}", "a.b"), "");
  EXPECT_EQ(Visited("{a:[[{b:1}]]}", "a.0.b"), "1");
  EXPECT_EQ(Visited("{a:[[{b:1},{b:2}],[{b:3}]]}", "a.0.b"), "1 2");
  EXPECT_EQ(Visited("{a:[[{b:1},{b:2}]]}", "a.0.1.b"), "- - 2");
  EXPECT_EQ(Visited("{a:[[[1,2]]]}", "a.0.0"), "@[1,2]");
  EXPECT_EQ(Visited("{a:[[[1,2]]]}", "a.0.0.1"), "@2");
  EXPECT_EQ(Visited("{a:[[[{b:1}]]]}", "a.0.b"), "");
  EXPECT_EQ(Visited("{a:[5,[{b:4}],3]}", "a.1.b"), "4");
}

TEST(VisitPathTest, StopsWhenTheVisitorSaysSo) {
  const std::string bytes = Notation::Bytes("{a:[{b:1},{b:2},{b:3}]}");
  const absl::StatusOr<Path> path = Path::Parse("a.b");
  int visits = 0;
  // The visitor with one parameter, as filters use it.
  EXPECT_TRUE(VisitPath(ValueView::FromTrusted(bytes), *path, [&](std::optional<ValueView> value) {
    ++visits;
    return value->AsInt64() == 2;
  }));
  EXPECT_EQ(visits, 2);
}

// A path as long as a document can be deep.
TEST(VisitPathTest, DeepDocuments) {
  std::string document = "{a:1}";
  std::string dotted = "a";
  for (int i = 1; i < 100; ++i) {
    document = absl::StrCat("{a:", document, "}");
    dotted += ".a";
  }
  EXPECT_EQ(Visited(document, dotted), "1");
}

}  // namespace
}  // namespace alos
