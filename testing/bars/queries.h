// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The queries that are measured on a chat log, with parameters that exist in it.

#ifndef ALOS_TESTING_BARS_QUERIES_H_
#define ALOS_TESTING_BARS_QUERIES_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "alos/base/check.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/net/message.h"
#include "testing/datasets/chat.h"

namespace alos::bars {

// One question to the server.
struct ChatRequest {
  Operation operation = Operation::kFind;
  // As JSON: a filter; for kAggregate a pipeline; for kFindById the id.
  std::string query;
  std::uint64_t limit = 0;  // of kFindPaginated
  // What the generator knows the answer to be: documents, groups, or the count.
  std::optional<std::uint64_t> results_expected = {};
  // The values in the query by name, for those who ask another database the same.
  std::vector<std::pair<std::string, std::vector<std::string>>> parameters = {};

  // The arguments on the wire.
  std::string Args(bool explain) const;
};

struct ChatQuery {
  std::string name;       // short, for --query
  std::string title;      // for people
  double p50_bar_us = 0;  // 0: none
  double p99_bar_us = 0;
  // False for what looks at everything by its nature.
  bool uses_index = true;
  std::function<ChatRequest(datasets::Draw&)> make;
};

// Draws parameters from what a log is known to contain.
//
// Threads: const, any number. Lifetime: `log` must outlive it. Errors: none.
// Cost: the constructor goes over authors, channels and times of all messages: 40 nanoseconds each,
//   on all cores.
class ChatQueries {
 public:
  explicit ChatQueries(const datasets::ChatLog* log);

  const std::vector<ChatQuery>& queries() const { return queries_; }
  const ChatQuery* Find(std::string_view name) const {
    for (const ChatQuery& query : queries_) {
      if (query.name == name) return &query;
    }
    return nullptr;
  }

  // What the query `untrigrammed` looks for: no three characters of it are certain.
  static constexpr std::string_view kUntrigrammed = "[0-9][a-f][0-9][a-f][0-9]";

 private:
  void CountAll();
  void MakeQueries();
  void AddById();
  void AddEqualities();
  void AddTimes();
  void AddTexts();
  void AddSets();
  void AddGroups();

  std::uint64_t AnyMessage(datasets::Draw& draw) const { return draw.Below(log_.documents()); }
  // The number of a message at or after a random one that has this field.
  std::uint64_t MessageWith(std::string_view field, datasets::Draw& draw) const;
  // Authors whose number of messages is nearest to `messages`.
  std::vector<std::uint32_t> AuthorsNear(std::uint32_t messages) const;
  // Words that stand in about so many messages, and are long enough not to be part of many others.
  std::vector<std::uint32_t> WordsNear(double messages) const;
  std::string AuthorId(std::uint32_t author) const { return absl::StrCat(log_.AuthorId(author)); }

  void Add(std::string name, std::string title, double p50_bar_us, double p99_bar_us,
           std::function<ChatRequest(datasets::Draw&)> make, bool uses_index = true) {
    queries_.push_back(
        {std::move(name), std::move(title), p50_bar_us, p99_bar_us, uses_index, std::move(make)});
  }

  const datasets::ChatLog& log_;
  std::vector<std::uint32_t> messages_of_author_;
  std::vector<std::uint32_t> messages_of_channel_;
  std::vector<std::uint32_t> messages_in_hour_;
  std::vector<ChatQuery> queries_;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace bars_internal {

inline std::string IsoTime(std::int64_t milliseconds) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(milliseconds),
                          absl::UTCTimeZone());
}

// {"timestamp": {"$gte": .., "$lt": ..}}
inline std::string TimeRange(std::int64_t begin_ms, std::int64_t end_ms) {
  return absl::StrCat(R"({"timestamp":{"$gte":{"$date":")", IsoTime(begin_ms),
                      R"("},"$lt":{"$date":")", IsoTime(end_ms), R"("}}})");
}

// "a","b"
inline std::string Quoted(const std::vector<std::string>& texts) {
  return absl::StrCat("\"", absl::StrJoin(texts, "\",\""), "\"");
}

}  // namespace bars_internal

inline std::string ChatRequest::Args(bool explain) const {
  const absl::StatusOr<std::string> value = JsonToMessagePack(query);
  ALOS_CHECK(value.ok() && "a query of ours is not JSON");
  std::string args;
  Builder builder(&args);
  builder.StartDocument();
  switch (operation) {
    case Operation::kFindById:
      builder.Key("id");
      break;
    case Operation::kAggregate:
      builder.Key("pipeline");
      break;
    default:
      builder.Key("query");
  }
  builder.Raw(ValueView::FromTrusted(*value));
  if (limit != 0) builder.Key("limit").Uint(limit);
  if (explain) builder.Key("explain").Bool(true);
  builder.EndDocument();
  return args;
}

inline ChatQueries::ChatQueries(const datasets::ChatLog* log) : log_(*log) {
  CountAll();
  MakeQueries();
}

inline void ChatQueries::CountAll() {
  struct Counts {
    std::vector<std::uint32_t> authors = std::vector<std::uint32_t>(datasets::ChatLog::kAuthors);
    std::vector<std::uint32_t> channels = std::vector<std::uint32_t>(datasets::ChatLog::kChannels);
    // One day more: the last messages may be late.
    std::vector<std::uint32_t> hours =
        std::vector<std::uint32_t>((datasets::ChatLog::kDays + 1) * 24);
  };
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::vector<Counts> counts(threads);
  std::vector<std::thread> workers;
  workers.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    workers.emplace_back([this, i, threads, &counts] {
      const std::uint64_t end = log_.documents() * (i + 1) / threads;
      for (std::uint64_t number = log_.documents() * i / threads; number < end; ++number) {
        ++counts[i].authors[log_.AuthorOf(number)];
        ++counts[i].channels[log_.ChannelOf(number)];
        const std::int64_t since = log_.TimeOf(number) - datasets::ChatLog::kFirstMillisecond;
        ++counts[i].hours[static_cast<std::size_t>(since / 3'600'000)];
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  const auto add = [](const std::vector<std::uint32_t>& from, std::vector<std::uint32_t>* to) {
    to->resize(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) (*to)[i] += from[i];
  };
  for (const Counts& part : counts) {
    add(part.authors, &messages_of_author_);
    add(part.channels, &messages_of_channel_);
    add(part.hours, &messages_in_hour_);
  }
}

inline std::uint64_t ChatQueries::MessageWith(std::string_view field, datasets::Draw& draw) const {
  std::string bytes;
  std::uint64_t number = AnyMessage(draw);
  for (std::uint64_t tried = 0; tried < log_.documents(); ++tried) {
    bytes.clear();
    log_.Append(number, &bytes);
    if (ValueView::FromTrusted(bytes).Find(field).has_value()) break;
    number = (number + 1) % log_.documents();
  }
  return number;
}

inline std::vector<std::uint32_t> ChatQueries::AuthorsNear(std::uint32_t messages) const {
  constexpr std::size_t kAuthorsWanted = 512;
  const auto distance = [&](std::uint32_t author) {
    return std::abs(std::int64_t{messages_of_author_[author]} - std::int64_t{messages});
  };
  std::vector<std::uint32_t> authors;
  for (std::uint32_t author = 0; author < messages_of_author_.size(); ++author) {
    if (messages_of_author_[author] != 0) authors.push_back(author);
  }
  std::stable_sort(authors.begin(), authors.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return distance(a) < distance(b); });
  std::size_t count = 0;
  while (count < std::min(kAuthorsWanted, authors.size()) &&
         (count < 16 || distance(authors[count]) * 5 <= messages)) {
    ++count;
  }
  authors.resize(count);
  return authors;
}

inline std::vector<std::uint32_t> ChatQueries::WordsNear(double messages) const {
  constexpr std::size_t kWordsWanted = 64;
  constexpr std::size_t kLetters = 7;
  std::vector<std::pair<double, std::uint32_t>> words;
  for (std::uint32_t word = 0; word < datasets::ChatLog::kWords; ++word) {
    if (log_.Word(word).size() < kLetters) continue;
    words.emplace_back(std::abs(std::log(log_.ExpectedMessagesWith(word) / messages)), word);
  }
  std::sort(words.begin(), words.end());
  words.resize(kWordsWanted);
  std::vector<std::uint32_t> result;
  result.reserve(words.size());
  for (const auto& [distance, word] : words) result.push_back(word);
  return result;
}

inline void ChatQueries::MakeQueries() {
  AddById();
  AddEqualities();
  AddTimes();
  AddTexts();
  AddSets();
  AddGroups();
}

inline void ChatQueries::AddById() {
  Add("by-id", "by `_id`", 30, 100, [this](datasets::Draw& draw) {
    const std::string id = absl::StrCat(log_.IdOf(AnyMessage(draw)));
    return ChatRequest{.operation = Operation::kFindById,
                       .query = absl::StrCat("\"", id, "\""),
                       .results_expected = 1,
                       .parameters = {{"id", {id}}}};
  });
}

inline void ChatQueries::AddEqualities() {
  Add("equal-1", "equality, one match", 50, 0, [this](datasets::Draw& draw) {
    const std::string id = absl::StrCat(log_.IdOf(AnyMessage(draw)));
    return ChatRequest{.query = absl::StrCat(R"({"id":")", id, R"("})"),
                       .results_expected = 1,
                       .parameters = {{"id", {id}}}};
  });
  Add("equal-100", "equality, 100 matches", 300, 0,
      [this, authors = AuthorsNear(100)](datasets::Draw& draw) {
        const std::uint32_t author = authors[draw.Below(authors.size())];
        return ChatRequest{.query = absl::StrCat(R"({"author.id":")", AuthorId(author), R"("})"),
                           .results_expected = messages_of_author_[author],
                           .parameters = {{"author", {AuthorId(author)}}}};
      });
  Add("two-equal-sorted", "two equalities, newest 50", 300, 0, [this](datasets::Draw& draw) {
    const std::uint64_t message = AnyMessage(draw);
    const std::string channel = absl::StrCat(log_.ChannelId(log_.ChannelOf(message)));
    const std::string author = AuthorId(log_.AuthorOf(message));
    return ChatRequest{
        .operation = Operation::kAggregate,
        .query = absl::StrCat(R"([{"$match":{"channel_id":")", channel, R"(","author.id":")",
                              author, R"("}},{"$sort":{"timestamp":-1}},{"$limit":50}])"),
        .parameters = {{"channel", {channel}}, {"author", {author}}}};
  });
  Add("two-broad-sorted", "two broad equalities, newest 50", 300, 0, [this](datasets::Draw& draw) {
    const std::string channel = absl::StrCat(log_.ChannelId(log_.ChannelOf(AnyMessage(draw))));
    return ChatRequest{
        .operation = Operation::kAggregate,
        .query = absl::StrCat(R"([{"$match":{"channel_id":")", channel,
                              R"(","type":0}},{"$sort":{"timestamp":-1}},{"$limit":50}])"),
        .parameters = {{"channel", {channel}}}};
  });
}

inline void ChatQueries::AddTimes() {
  constexpr std::int64_t kHourMs = 3'600'000;
  static constexpr std::uint64_t kHourLimit = 100;
  Add("hour", "one hour of time, limit 100", 300, 0, [this](datasets::Draw& draw) {
    const std::uint64_t hour = draw.Below(datasets::ChatLog::kDays * 24);
    const std::int64_t begin =
        datasets::ChatLog::kFirstMillisecond + static_cast<std::int64_t>(hour) * kHourMs;
    return ChatRequest{
        .operation = Operation::kFindPaginated,
        .query = bars_internal::TimeRange(begin, begin + kHourMs),
        .limit = kHourLimit,
        .results_expected = std::min<std::uint64_t>(kHourLimit, messages_in_hour_[hour]),
        .parameters = {{"begin", {bars_internal::IsoTime(begin)}},
                       {"end", {bars_internal::IsoTime(begin + kHourMs)}}}};
  });
  Add("count-day", "count of one day", 1000, 0, [this](datasets::Draw& draw) {
    const std::uint64_t hour = draw.Below(datasets::ChatLog::kDays) * 24;
    const std::int64_t begin =
        datasets::ChatLog::kFirstMillisecond + static_cast<std::int64_t>(hour) * kHourMs;
    std::uint64_t expected = 0;
    for (std::uint64_t i = hour; i < hour + 24; ++i) expected += messages_in_hour_[i];
    return ChatRequest{.operation = Operation::kFindManyCount,
                       .query = bars_internal::TimeRange(begin, begin + 24 * kHourMs),
                       .results_expected = expected,
                       .parameters = {{"begin", {bars_internal::IsoTime(begin)}},
                                      {"end", {bars_internal::IsoTime(begin + 24 * kHourMs)}}}};
  });
}

inline void ChatQueries::AddTexts() {
  const auto regex = [](std::string_view pattern, std::string_view options = "") {
    return absl::StrCat(R"({"content":{"$regex":")", pattern,
                        options.empty() ? "" : absl::StrCat(R"(","$options":")", options),
                        R"("}})");
  };
  // At most 1,000 matches, with those inside of other words.
  Add("regex-rare", "`$regex`, a rare word, all matches", 5000, 0,
      [this, regex, words = WordsNear(450)](datasets::Draw& draw) {
        const std::string word(log_.Word(words[draw.Below(words.size())]));
        return ChatRequest{.query = regex(word), .parameters = {{"pattern", {word}}}};
      });
  Add("regex-common", "`$regex`, a common word, first 50", 1000, 0, [regex](datasets::Draw& draw) {
    constexpr std::string_view kWords[] = {"server", "people",    "channel", "music",
                                           "update", "something", "better",  "actually"};
    const std::string word(datasets::datasets_internal::OneOf(kWords, draw));
    return ChatRequest{.operation = Operation::kFindPaginated,
                       .query = regex(word),
                       .limit = 50,
                       .parameters = {{"pattern", {word}}}};
  });
  Add(
      "regex-scan", "`$regex` without a trigram, count", 0, 0,
      [regex](datasets::Draw&) {
        return ChatRequest{.operation = Operation::kFindManyCount,
                           .query = regex(kUntrigrammed),
                           .parameters = {{"pattern", {std::string(kUntrigrammed)}}}};
      },
      /*uses_index=*/false);
  Add("regex-caseless", "`$regex`, a rare word in any case", 10'000, 0,
      [this, regex, words = WordsNear(450)](datasets::Draw& draw) {
        const std::string word(log_.Word(words[draw.Below(words.size())]));
        return ChatRequest{.query = regex(word, "i"), .parameters = {{"pattern", {word}}}};
      });
  Add("regex-words", "`$regex`, one of two rare words", 10'000, 0,
      [this, regex, words = WordsNear(450)](datasets::Draw& draw) {
        const std::uint64_t first = draw.Below(words.size());
        const std::string pattern = absl::StrCat(log_.Word(words[first]), "|",
                                                 log_.Word(words[(first + 7) % words.size()]));
        return ChatRequest{.query = regex(pattern), .parameters = {{"pattern", {pattern}}}};
      });
}

inline void ChatQueries::AddSets() {
  Add("or-three", "`$or` of three fields", 2000, 0,
      [this, authors = AuthorsNear(20)](datasets::Draw& draw) {
        const std::string author = AuthorId(authors[draw.Below(authors.size())]);
        std::string with_nonce;
        log_.Append(MessageWith("nonce", draw), &with_nonce);
        const std::string nonce(ValueView::FromTrusted(with_nonce).Find("nonce")->AsString());
        std::string reply;
        log_.Append(MessageWith("message_reference", draw), &reply);
        const std::string replied(ValueView::FromTrusted(reply)
                                      .Find("message_reference")
                                      ->Find("message_id")
                                      ->AsString());
        return ChatRequest{
            .query = absl::StrCat(R"({"$or":[{"author.id":")", author, R"("},{"nonce":")", nonce,
                                  R"("},{"message_reference.message_id":")", replied, R"("}]})"),
            .parameters = {{"author", {author}}, {"nonce", {nonce}}, {"replied", {replied}}}};
      });
  Add("in-100", "`$in` of 100 values", 2000, 0,
      [this, authors = AuthorsNear(3)](datasets::Draw& draw) {
        const std::uint64_t first = draw.Below(authors.size());
        std::vector<std::string> ids;
        std::uint64_t expected = 0;
        for (std::uint64_t i = 0; i < std::min<std::size_t>(100, authors.size()); ++i) {
          const std::uint32_t author = authors[(first + i) % authors.size()];
          ids.push_back(AuthorId(author));
          expected += messages_of_author_[author];
        }
        return ChatRequest{
            .query = absl::StrCat(R"({"author.id":{"$in":[)", bars_internal::Quoted(ids), "]}}"),
            .results_expected = expected,
            .parameters = {{"authors", ids}}};
      });
  Add("exists-not", "`$exists: false` on a rare field, first 100", 2000, 0, [](datasets::Draw&) {
    return ChatRequest{.operation = Operation::kFindPaginated,
                       .query = R"({"thread":{"$exists":false}})",
                       .limit = 100,
                       .parameters = {}};
  });
  Add("exists-not-count", "`$exists: false` on a rare field, count", 2000, 0, [](datasets::Draw&) {
    return ChatRequest{.operation = Operation::kFindManyCount,
                       .query = R"({"thread":{"$exists":false}})",
                       .parameters = {}};
  });
  Add("nested", "`$or`, `$in`, `$regex` and `$exists` in one filter", 15'000, 0,
      [this, authors = AuthorsNear(100),
       words = WordsNear(static_cast<double>(log_.documents()) / 400)](datasets::Draw& draw) {
        std::vector<std::string> channels;
        std::vector<std::string> ids;
        for (int i = 0; i < 10; ++i) {
          channels.push_back(absl::StrCat(log_.ChannelId(log_.ChannelOf(AnyMessage(draw)))));
          ids.push_back(AuthorId(authors[draw.Below(authors.size())]));
        }
        const std::string word(log_.Word(words[draw.Below(words.size())]));
        return ChatRequest{
            .query = absl::StrCat(R"({"$or":[{"channel_id":{"$in":[)",
                                  bars_internal::Quoted(channels), R"(]}},{"author.id":{"$in":[)",
                                  bars_internal::Quoted(ids), R"(]}}],"content":{"$regex":")", word,
                                  R"("},"reactions":{"$exists":true},)",
                                  R"("webhook_id":{"$exists":false}})"),
            .parameters = {{"channels", channels}, {"authors", ids}, {"pattern", {word}}}};
      });
}

inline void ChatQueries::AddGroups() {
  constexpr std::int64_t kDayMs = 86'400'000;
  std::uint64_t channels_used = 0;
  for (const std::uint32_t messages : messages_of_channel_) channels_used += messages != 0 ? 1 : 0;
  Add("group-day", "group one day by channel, top 10", 5000, 0, [](datasets::Draw& draw) {
    const std::int64_t begin =
        datasets::ChatLog::kFirstMillisecond +
        static_cast<std::int64_t>(draw.Below(datasets::ChatLog::kDays)) * kDayMs;
    return ChatRequest{
        .operation = Operation::kAggregate,
        .query = absl::StrCat(R"([{"$match":)", bars_internal::TimeRange(begin, begin + kDayMs),
                              R"(},{"$group":{"_id":"$channel_id","count":{"$sum":1}}},)",
                              R"({"$sort":{"count":-1,"_id":1}},{"$limit":10}])"),
        .parameters = {{"begin", {bars_internal::IsoTime(begin)}},
                       {"end", {bars_internal::IsoTime(begin + kDayMs)}}}};
  });
  constexpr std::string_view kGroupAll =
      R"({"$group":{"_id":"$channel_id","count":{"$sum":1},"average":{"$avg":"$length"}}})";
  Add("group-all-top", "group everything by channel, count and average, top 10", 15'000, 0,
      [kGroupAll, channels_used](datasets::Draw&) {
        return ChatRequest{.operation = Operation::kAggregate,
                           .query = absl::StrCat(
                               "[", kGroupAll, R"(,{"$sort":{"count":-1,"_id":1}},{"$limit":10}])"),
                           .results_expected = std::min<std::uint64_t>(10, channels_used),
                           .parameters = {}};
      });
  Add("group-all", "group everything by channel, count and average, every group", 15'000, 0,
      [kGroupAll, channels_used](datasets::Draw&) {
        return ChatRequest{.operation = Operation::kAggregate,
                           .query = absl::StrCat("[", kGroupAll, "]"),
                           .results_expected = channels_used,
                           .parameters = {}};
      });
  Add("count-broad", "count of an unselective predicate", 5000, 0, [](datasets::Draw& draw) {
    const std::string least = absl::StrCat(10 + draw.Below(20));
    return ChatRequest{.operation = Operation::kFindManyCount,
                       .query = absl::StrCat(R"({"length":{"$gte":)", least, "}}"),
                       .parameters = {{"length", {least}}}};
  });
  Add("count-broad-two", "count of two unselective predicates", 5000, 0, [](datasets::Draw& draw) {
    const std::string least = absl::StrCat(10 + draw.Below(20));
    return ChatRequest{
        .operation = Operation::kFindManyCount,
        .query = absl::StrCat(R"({"length":{"$gte":)", least, R"(},"author.bot":false})"),
        .parameters = {{"length", {least}}}};
  });
}

}  // namespace alos::bars

#endif  // ALOS_TESTING_BARS_QUERIES_H_
