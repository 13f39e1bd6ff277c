// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "tools/import/importer.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "alos/document/json.h"
#include "gtest/gtest.h"

namespace alos::import {
namespace {

// A collection in memory that can lose answers.
class FakeDatabase {
 public:
  absl::StatusOr<std::vector<std::string>> InsertMany(std::string_view collection,
                                                      absl::Span<const ValueView> documents) {
    ++batches;
    if (unreachable) return absl::UnavailableError("gone");
    std::vector<std::string> ids;
    for (const ValueView document : documents) {
      if (lose_after-- == 0) return absl::UnavailableError("outcome unknown");
      absl::StatusOr<std::string> id = InsertOne(collection, document);
      if (!id.ok()) return id.status();
      ids.push_back(*std::move(id));
    }
    return ids;
  }

  absl::StatusOr<std::string> InsertOne(std::string_view, ValueView document) {
    if (unreachable) return absl::UnavailableError("gone");
    const std::string id(document.Find("_id")->bytes());
    if (document.Find("refuse").has_value()) return absl::InvalidArgumentError("refused");
    if (!documents.emplace(id, document.bytes()).second) return absl::AlreadyExistsError("taken");
    order.push_back(ToJson(document));
    return id;
  }

  absl::StatusOr<std::optional<std::string>> FindById(std::string_view, ValueView id) {
    if (unreachable) return absl::UnavailableError("gone");
    const auto found = documents.find(std::string(id.bytes()));
    if (found == documents.end()) return std::nullopt;
    return found->second;
  }

  std::map<std::string, std::string> documents;
  std::vector<std::string> order;
  int batches = 0;
  int lose_after = -1;
  bool unreachable = false;
};

class ImporterTest : public testing::Test {
 protected:
  // Imports documents and returns how it ended.
  absl::Status Import(const std::vector<std::string>& jsons, bool skip_bad = false) {
    messages_.clear();
    Importer<FakeDatabase> importer(
        &database_, {.file = "file",
                     .collection = "things",
                     .batch_documents_max = 3,
                     .batch_bytes_max = 200,
                     .skip_bad = skip_bad,
                     .on_skipped = [this](std::string_view m) { messages_.emplace_back(m); }});
    absl::Status status;
    std::uint64_t number = 0;
    for (const std::string& json : jsons) {
      ++number;
      status = importer.Add(
          {.document = *JsonToMessagePack(json), .number = number, .line = number, .offset = 0});
      if (!status.ok()) break;
    }
    // Finish repeats an error of Add, and sends nothing more.
    const absl::Status finished = importer.Finish();
    EXPECT_TRUE(status.ok() || finished == status) << finished;
    status = finished;
    imported_ = importer.imported();
    skipped_ = importer.skipped();
    return status;
  }

  FakeDatabase database_;
  std::vector<std::string> messages_;
  std::uint64_t imported_ = 0;
  std::uint64_t skipped_ = 0;
};

const std::vector<std::string> kFive = {R"({"_id":1})", R"({"_id":2})", R"({"_id":3})",
                                        R"({"_id":4})", R"({"_id":5})"};

TEST_F(ImporterTest, SendsAllInOrderAndInBatches) {
  ASSERT_TRUE(Import(kFive).ok());
  EXPECT_EQ(database_.order, kFive);
  EXPECT_EQ(database_.batches, 2);
  EXPECT_EQ(imported_, 5U);
}

TEST_F(ImporterTest, BatchesAreLimitedInBytes) {
  const std::string large = R"({"_id":1,"text":")" + std::string(150, 'x') + R"("})";
  ASSERT_TRUE(
      Import({large, R"({"_id":2,"text":")" + std::string(500, 'x') + R"("})", R"({"_id":3})"})
          .ok());
  EXPECT_EQ(database_.batches, 3);
  EXPECT_EQ(imported_, 3U);
}

TEST_F(ImporterTest, StopsAtTheFirstBadRecordWithAllAheadOfItIn) {
  const absl::Status status =
      Import({kFive[0], R"({"_id":2,"refuse":1})", kFive[2], kFive[3], kFive[4]});
  EXPECT_TRUE(absl::StrContains(status.message(), "line 2 of file: refused")) << status;
  EXPECT_EQ(database_.order, (std::vector<std::string>{kFive[0]}));
  EXPECT_EQ(imported_, 1U);
  EXPECT_EQ(database_.batches, 1);
}

TEST_F(ImporterTest, SkipsBadRecordsWhenAsked) {
  ASSERT_TRUE(Import({kFive[0], R"({"_id":2,"refuse":1})", kFive[2], R"({"_id":1,"other":1})"},
                     /*skip_bad=*/true)
                  .ok());
  EXPECT_EQ(imported_, 2U);
  EXPECT_EQ(skipped_, 2U);
  ASSERT_EQ(messages_.size(), 2U);
  EXPECT_TRUE(absl::StrContains(messages_[0], "line 2 of file")) << messages_[0];
  EXPECT_TRUE(absl::StrContains(messages_[1], "line 4 of file")) << messages_[1];
  EXPECT_TRUE(absl::StrContains(messages_[1], "another document")) << messages_[1];
}

TEST_F(ImporterTest, ImportingAgainChangesNothing) {
  ASSERT_TRUE(Import(kFive).ok());
  ASSERT_TRUE(Import(kFive).ok());
  EXPECT_EQ(database_.order, kFive);
  EXPECT_EQ(imported_, 5U);
}

// Whatever part of a batch went in before its answer was lost.
TEST_F(ImporterTest, LostAnswersAreSettled) {
  for (int lost = 0; lost < 5; ++lost) {
    database_ = FakeDatabase();
    database_.lose_after = lost;
    ASSERT_TRUE(Import(kFive).ok());
    EXPECT_EQ(database_.order, kFive);
    EXPECT_EQ(imported_, 5U);
  }
}

TEST_F(ImporterTest, AServerThatIsGoneEndsIt) {
  database_.unreachable = true;
  EXPECT_EQ(Import(kFive, /*skip_bad=*/true).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(imported_, 0U);
  EXPECT_EQ(skipped_, 0U);
}

}  // namespace
}  // namespace alos::import
