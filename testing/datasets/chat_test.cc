// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "testing/datasets/chat.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "alos/base/crc32c.h"
#include "alos/document/json.h"
#include "gtest/gtest.h"

namespace alos::datasets {
namespace {

constexpr std::uint64_t kDocuments = 20'000;

const ChatLog& Log() {
  static const ChatLog* const log = new ChatLog({.seed = 1, .documents = kDocuments});
  return *log;
}

std::string Message(const ChatLog& log, std::uint64_t number) {
  std::string bytes;
  log.Append(number, &bytes);
  return bytes;
}

std::string_view Text(ValueView document, std::string_view key) {
  return document.Find(key)->AsString();
}

// Data sets that were loaded, figures that were published, queries that were written down: all of
// them are about exactly these bytes. Whoever changes the generator changes this number, and says
// so where figures stand.
TEST(ChatLog, IsTheSameOnEveryMachine) {
  std::string bytes;
  for (std::uint64_t number = 0; number < 1000; ++number) Log().Append(number * 19, &bytes);
  EXPECT_EQ(bytes.size(), 519695U);
  EXPECT_EQ(Crc32c(bytes), 189360570U);
}

TEST(ChatLog, MessagesDoNotDependOnEachOther) {
  const ChatLog again({.seed = 1, .documents = kDocuments});
  for (const std::uint64_t number : {std::uint64_t{777}, std::uint64_t{3}, kDocuments - 1}) {
    EXPECT_EQ(Message(again, number), Message(Log(), number));
  }
  EXPECT_NE(Message(ChatLog({.seed = 2, .documents = kDocuments}), 3), Message(Log(), 3));
}

TEST(ChatLog, MessagesHaveTheShapeOfDiscords) {
  std::size_t bytes_total = 0;
  absl::flat_hash_set<std::string> top;
  absl::flat_hash_set<std::string> ids;
  for (std::uint64_t number = 0; number < kDocuments; ++number) {
    const std::string bytes = Message(Log(), number);
    bytes_total += bytes.size();
    const absl::StatusOr<ValueView> parsed = ValueView::Parse(bytes);
    ASSERT_TRUE(parsed.ok()) << number << ": " << parsed.status();
    std::size_t keys = 0;
    for (const auto [key, value] : parsed->entries()) {
      top.insert(std::string(key));
      keys += 1 + (value.IsDocument() ? value.size() : 0);
    }
    EXPECT_GE(keys, 25U);
    EXPECT_TRUE(ids.insert(std::string(Text(*parsed, "_id"))).second) << number;
    EXPECT_EQ(Text(*parsed, "_id").size(), 19U);
    EXPECT_EQ(parsed->Find("length")->ToInt64(),
              static_cast<std::int64_t>(Text(*parsed, "content").size()));
    EXPECT_FALSE(Text(*parsed, "content").empty());
  }
  EXPECT_EQ(top.size(), 24U);
  EXPECT_GT(bytes_total / kDocuments, 450U);
  EXPECT_LT(bytes_total / kDocuments, 700U);
}

TEST(ChatLog, WhatItKnowsOfAMessageIsInTheMessage) {
  for (std::uint64_t number = 0; number < kDocuments; number += 97) {
    const std::string bytes = Message(Log(), number);
    const ValueView document = ValueView::FromTrusted(bytes);
    EXPECT_EQ(Text(document, "_id"), absl::StrCat(Log().IdOf(number)));
    EXPECT_EQ(Text(document, "content"), Log().ContentOf(number));
    const std::uint32_t channel = Log().ChannelOf(number);
    EXPECT_EQ(Text(document, "channel_id"), absl::StrCat(Log().ChannelId(channel)));
    EXPECT_EQ(Text(document, "guild_id"), absl::StrCat(Log().GuildId(channel)));
    const ValueView author = *document.Find("author");
    EXPECT_EQ(Text(author, "id"), absl::StrCat(Log().AuthorId(Log().AuthorOf(number))));
    EXPECT_EQ(Text(author, "username"), Log().Username(Log().AuthorOf(number)));
    const Timestamp time = document.Find("timestamp")->AsTimestamp();
    EXPECT_EQ(time.seconds * 1000 + time.nanoseconds / 1'000'000, Log().TimeOf(number));
  }
}

TEST(ChatLog, TimeRisesButForSecondsAndHasDaysAndNights) {
  std::int64_t latest = 0;
  std::vector<std::uint64_t> by_hour(24);
  for (std::uint64_t number = 0; number < kDocuments; ++number) {
    const std::int64_t time = Log().TimeOf(number);
    EXPECT_GE(time, ChatLog::kFirstMillisecond);
    EXPECT_LT(time, ChatLog::kEndMillisecond + 5000);
    EXPECT_GE(time, latest - 4000);
    latest = std::max(latest, time);
    ++by_hour[static_cast<std::size_t>(time / 3'600'000 % 24)];
  }
  EXPECT_GT(latest, ChatLog::kEndMillisecond - 86'400'000);
  EXPECT_GT(by_hour[19], 3 * by_hour[5]);
}

TEST(ChatLog, AuthorsAndChannelsAreSkewed) {
  absl::flat_hash_map<std::uint32_t, std::uint64_t> channels;
  absl::flat_hash_map<std::uint32_t, std::uint64_t> authors;
  for (std::uint64_t number = 0; number < kDocuments; ++number) {
    ++channels[Log().ChannelOf(number)];
    ++authors[Log().AuthorOf(number)];
  }
  // 1.2 % go to the first channel; half of the 20,000 see one message at most.
  EXPECT_NEAR(static_cast<double>(channels[0]), 0.012 * kDocuments, 60);
  EXPECT_GT(channels.size(), 3000U);
  std::uint64_t most = 0;
  for (const auto& [author, count] : authors) most = std::max(most, count);
  EXPECT_GT(most, kDocuments / 1000);
  EXPECT_GT(authors.size(), kDocuments / 4);
}

TEST(ChatLog, WordsFollowZipf) {
  absl::flat_hash_map<std::string, std::uint64_t> messages_with;
  std::uint64_t words = 0;
  for (std::uint64_t number = 0; number < kDocuments; ++number) {
    absl::flat_hash_set<std::string> seen;
    std::string content = Log().ContentOf(number);
    for (char& c : content) c = absl::ascii_isalpha(c) ? absl::ascii_tolower(c) : ' ';
    for (const std::string_view word : absl::StrSplit(content, ' ', absl::SkipEmpty())) {
      ++words;
      if (seen.insert(std::string(word)).second) ++messages_with[std::string(word)];
    }
  }
  EXPECT_GT(words / kDocuments, 8U);
  const auto expect_about = [&](std::uint32_t first, std::uint32_t end) {
    double expected = 0;
    double found = 0;
    for (std::uint32_t rank = first; rank < end; ++rank) {
      expected += Log().ExpectedMessagesWith(rank);
      found += static_cast<double>(messages_with[std::string(Log().Word(rank))]);
    }
    EXPECT_NEAR(found / expected, 1.0, 0.06) << first << " " << expected << " " << found;
  };
  expect_about(1000, 1500);
  expect_about(8000, 20'000);
  expect_about(20'000, ChatLog::kWords);
  // The rarest of 16 million messages.
  const ChatLog large({.documents = 16'000'000});
  EXPECT_GT(large.ExpectedMessagesWith(ChatLog::kWords - 1), 100);
  EXPECT_LT(large.ExpectedMessagesWith(ChatLog::kWords - 1), 1000);
}

TEST(ChatLog, VocabularyIsOfDistinctWordsInLowerCase) {
  absl::flat_hash_set<std::string_view> words;
  std::size_t bytes = 0;
  for (std::uint32_t rank = 0; rank < ChatLog::kWords; ++rank) {
    const std::string_view word = Log().Word(rank);
    EXPECT_TRUE(words.insert(word).second) << word;
    for (const char c : word) EXPECT_TRUE(absl::ascii_islower(c) || c == '\'') << word;
    bytes += word.size();
  }
  EXPECT_EQ(Log().Word(0), "the");
  EXPECT_NEAR(static_cast<double>(bytes) / ChatLog::kWords, 9, 1);
}

TEST(ChatLog, TimesCanBeText) {
  const ChatLog log({.seed = 1, .documents = kDocuments, .text_times = true});
  std::string bytes = Message(log, 0);
  EXPECT_EQ(Text(ValueView::FromTrusted(bytes), "timestamp").substr(0, 14), "2025-01-01T00:");
  // So that the whole is plain JSON.
  EXPECT_EQ(ToJson(ValueView::FromTrusted(bytes)).find("\"$"), std::string::npos);
}

}  // namespace
}  // namespace alos::datasets
