// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What is measured besides single queries: indexes that are kept up while documents come in, that
// are built while others ask, and that come back after a restart.

#ifndef ALOS_TESTING_BARS_EXPERIMENTS_H_
#define ALOS_TESTING_BARS_EXPERIMENTS_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/net/client.h"
#include "re2/re2.h"
#include "testing/bars/queries.h"
#include "testing/bars/runner.h"
#include "testing/datasets/chat.h"

namespace alos::bars {

// RE2 on one core, on the texts of messages one after another and nothing else.
struct BareRegexSpeed {
  double bytes_per_second = 0;
  double bytes_per_message = 0;
};
BareRegexSpeed MeasureBareRegex(const datasets::ChatLog& log, const std::string& pattern);

struct IngestOptions {
  std::uint64_t documents = 500'000;
  std::uint64_t batch = 1000;
  int connections = 4;
  int rounds = 3;
};

// Inserts the same documents into a collection without indexes and into one with ten indexed
// fields, in turn, and prints the rates and their ratio. Both collections are dropped.
absl::Status MeasureIngest(Client& client, const datasets::ChatLog& log,
                           const IngestOptions& options, std::ostream* out);

struct NewFieldOptions {
  std::string collection;
  std::string field = "author.avatar";  // no query may have asked for it before
  absl::Duration before = absl::Seconds(5);
  absl::Duration time_max = absl::Minutes(5);
};

// Asks for a field that no query has asked for, and prints when the first answer was there, when an
// index served it, and what this did to the latencies of others. `other_client` is theirs.
absl::Status MeasureNewField(Client& client, Client& other_client, const datasets::ChatLog& log,
                             const ChatQueries& queries, const NewFieldOptions& options,
                             std::ostream* out);

// Waits for the server, and prints how long after `since` the first query was answered, and the
// first that did not look at every document.
absl::Status MeasureRestart(const ClientOptions& client_options, const std::string& collection,
                            const ChatQueries& queries, std::uint64_t documents, absl::Time since,
                            absl::Duration time_max, std::ostream* out);

// Asks for every field that messages have, so that all of them are indexed, and the text of
// messages by regular expression; prints how many an index serves in the end, and after how long.
absl::Status MeasureAllFields(Client& client, const std::string& collection,
                              const datasets::ChatLog& log, absl::Duration time_max,
                              std::ostream* out);

// Whether a server that explains itself says that it went over all documents.
inline bool IsScan(const Explanation& explanation, std::uint64_t documents) {
  return explanation.documents_examined.has_value() &&
         (absl::StartsWith(explanation.plan, "scan of all documents") ||
          *explanation.documents_examined * 10 >= documents * 9);
}
inline bool IsServedByIndex(const Explanation& explanation, std::uint64_t documents) {
  return explanation.documents_examined.has_value() && !IsScan(explanation, documents);
}

// --- Readers of the API may stop here. ----------------------------------------------------------

inline BareRegexSpeed MeasureBareRegex(const datasets::ChatLog& log, const std::string& pattern) {
  constexpr std::uint64_t kMessages = 200'000;
  constexpr absl::Duration kTime = absl::Seconds(2);
  std::vector<std::string> texts;
  std::size_t bytes = 0;
  for (std::uint64_t i = 0; i < std::min(kMessages, log.documents()); ++i) {
    texts.push_back(log.ContentOf(i));
    bytes += texts.back().size();
  }
  const RE2 regex(pattern);
  // The fastest pass: what else the machine does is not RE2's fault.
  double best = 0;
  std::uint64_t matches = 0;
  const absl::Time begun = absl::Now();
  while (absl::Now() - begun < kTime) {
    const std::int64_t start = absl::GetCurrentTimeNanos();
    for (const std::string& text : texts) matches += RE2::PartialMatch(text, regex) ? 1 : 0;
    const double seconds = static_cast<double>(absl::GetCurrentTimeNanos() - start) / 1e9;
    best = std::max(best, static_cast<double>(bytes) / seconds);
  }
  if (matches == 0) best = 0;  // cannot be: and so the loop is not optimised away
  return {best, static_cast<double>(bytes) / static_cast<double>(texts.size())};
}

namespace bars_internal {

struct IndexedField {
  std::string_view name;
  std::string_view value_type;
};
inline constexpr IndexedField kIndexedFields[] = {
    {"guild_id", "string"},    {"channel_id", "string"},
    {"author.id", "string"},   {"author.username", "string"},
    {"timestamp", "time"},     {"length", "integer"},
    {"type", "integer"},       {"flags", "integer"},
    {"mentions.id", "string"}, {"nonce", "string"}};

// Declares an index on each field; where the server takes no declarations, asks for each, which
// makes indexes appear by themselves. Returns which it was.
inline absl::StatusOr<std::string> IndexTenFields(Client& client, const std::string& collection) {
  std::string how = "declaring them";
  for (const IndexedField& field : kIndexedFields) {
    std::string args;
    Builder builder(&args);
    builder.StartDocument(2);
    builder.Key("field").String(field.name);
    builder.Key("value_type").String(field.value_type);
    builder.EndDocument();
    const absl::Status created =
        client.CreateIndex(collection, ValueView::FromTrusted(args)).status();
    if (created.ok()) continue;
    how = absl::StrCat("queries, since declaring them failed (", created.message(), ")");
    std::string filter;
    Builder(&filter).StartDocument(1).Key(field.name).Int(-1).EndDocument();
    for (int i = 0; i < 3; ++i) {
      ALOS_RETURN_IF_ERROR(client.Find(collection, ValueView::FromTrusted(filter)).status());
    }
  }
  return how;
}

// Messages past the end of the log, made ahead of the clock, in batches.
class Batches {
 public:
  Batches(const datasets::ChatLog& log, std::uint64_t count, std::uint64_t batch) {
    for (std::uint64_t begin = 0; begin < count; begin += batch) {
      std::string& bytes = bytes_.emplace_back();
      std::vector<std::size_t>& ends = ends_.emplace_back();
      for (std::uint64_t i = begin; i < std::min(begin + batch, count); ++i) {
        log.Append(log.documents() + i, &bytes);
        ends.push_back(bytes.size());
      }
    }
  }

  std::size_t size() const { return bytes_.size(); }
  std::vector<ValueView> operator[](std::size_t index) const {
    std::vector<ValueView> documents;
    documents.reserve(ends_[index].size());
    std::size_t begin = 0;
    for (const std::size_t end : ends_[index]) {
      documents.push_back(
          ValueView::FromTrusted(std::string_view(bytes_[index]).substr(begin, end - begin)));
      begin = end;
    }
    return documents;
  }

 private:
  std::vector<std::string> bytes_;
  std::vector<std::vector<std::size_t>> ends_;
};

// Inserts all batches but the first over several connections. Documents a second.
inline absl::StatusOr<double> Ingest(Client& client, const Batches& batches,
                                     const std::string& collection, int connections) {
  std::atomic<std::size_t> next{1};
  std::atomic<std::uint64_t> inserted{0};
  absl::Mutex mutex;
  absl::Status failed;
  std::vector<std::thread> workers;
  workers.reserve(static_cast<std::size_t>(connections));
  const std::int64_t begun = absl::GetCurrentTimeNanos();
  for (int i = 0; i < connections; ++i) {
    workers.emplace_back([&] {
      for (std::size_t batch = next++; batch < batches.size(); batch = next++) {
        const std::vector<ValueView> documents = batches[batch];
        const absl::Status status = client.InsertMany(collection, documents).status();
        if (!status.ok()) {
          const absl::MutexLock lock(&mutex);
          failed.Update(status);
          return;
        }
        inserted += documents.size();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  ALOS_RETURN_IF_ERROR(failed);
  const auto nanoseconds = static_cast<double>(absl::GetCurrentTimeNanos() - begun);
  return static_cast<double>(inserted.load()) * 1e9 / nanoseconds;
}

}  // namespace bars_internal

inline absl::Status MeasureIngest(Client& client, const datasets::ChatLog& log,
                                  const IngestOptions& options, std::ostream* out) {
  constexpr std::string_view kPlain = "ingest_plain";
  constexpr std::string_view kIndexed = "ingest_indexed";
  const bars_internal::Batches batches(log, options.documents + options.batch, options.batch);
  std::vector<double> plain;
  std::vector<double> indexed;
  std::string how;
  for (int round = 0; round < options.rounds; ++round) {
    for (const std::string_view name : {kPlain, kIndexed}) {
      const std::string collection(name);
      ALOS_RETURN_IF_ERROR(client.Drop(collection));
      // So that there is a collection to index.
      ALOS_RETURN_IF_ERROR(client.InsertMany(collection, batches[0]).status());
      if (name == kIndexed) {
        ALOS_ASSIGN_OR_RETURN(how, bars_internal::IndexTenFields(client, collection));
      }
      ALOS_ASSIGN_OR_RETURN(const double rate, bars_internal::Ingest(client, batches, collection,
                                                                     options.connections));
      (name == kPlain ? plain : indexed).push_back(rate);
      ALOS_RETURN_IF_ERROR(client.Drop(collection));
    }
  }
  const double without = Percentile(plain, 0.5);
  const double with = Percentile(indexed, 0.5);
  MarkdownTable table(out, {"ingest", "documents/s", "ratio", "bar"});
  table.Row({"no indexed field", absl::StrFormat("%.0f", without), "", ""});
  table.Row({absl::StrCat("ten indexed fields, by ", how), absl::StrFormat("%.0f", with),
             absl::StrFormat("%.2f", with / without), "0.5"});
  return absl::OkStatus();
}

inline absl::Status MeasureNewField(Client& client, Client& other_client,
                                    const datasets::ChatLog& log, const ChatQueries& queries,
                                    const NewFieldOptions& options, std::ostream* out) {
  Runner runner(&client, options.collection);
  // A value that exists: the field of the first message that has it as a string.
  std::string value;
  for (std::uint64_t number = 0; number < log.documents() && value.empty(); ++number) {
    std::string bytes;
    log.Append(number, &bytes);
    std::optional<ValueView> at = ValueView::FromTrusted(bytes);
    for (const std::string_view part : absl::StrSplit(options.field, '.')) {
      if (at.has_value()) at = at->Find(part);
    }
    if (at.has_value() && at->IsString()) value = std::string(at->AsString());
  }
  if (value.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no message has a string in the field ", options.field));
  }
  const ChatRequest request{.operation = Operation::kFindManyCount,
                            .query = absl::StrCat("{\"", options.field, "\":\"", value, "\"}")};

  // The others: by id and by an indexed field, in turn.
  std::atomic<int> phase{0};
  std::atomic<bool> stop{false};
  std::vector<double> latencies[2];
  absl::Status others_failed;
  std::thread others([&] {
    Runner other(&other_client, options.collection);
    datasets::Draw draw(99);
    const ChatQuery* const kinds[] = {queries.Find("by-id"), queries.Find("equal-100")};
    for (std::size_t i = 0; !stop; ++i) {
      const ChatRequest asked = kinds[i % 2]->make(draw);
      double microseconds = 0;
      others_failed = other.Ask(asked, &microseconds).status();
      if (!others_failed.ok()) return;
      latencies[phase].push_back(microseconds);
    }
  });
  absl::SleepFor(options.before);
  phase = 1;
  const absl::Time begun = absl::Now();
  double first_answer_us = 0;
  absl::StatusOr<std::uint64_t> found = runner.Ask(request, &first_answer_us);
  absl::Duration indexed = absl::InfiniteDuration();
  bool explains = false;
  while (found.ok() && absl::Now() - begun < options.time_max) {
    const absl::StatusOr<Explanation> explanation = runner.Explain(request);
    if (!explanation.ok()) {
      found = explanation.status();
      break;
    }
    explains = explanation->documents_examined.has_value();
    if (!explains) break;
    if (IsServedByIndex(*explanation, log.documents())) {
      indexed = absl::Now() - begun;
      break;
    }
    found = runner.Ask(request);
    absl::SleepFor(absl::Milliseconds(100));
  }
  stop = true;
  others.join();
  ALOS_RETURN_IF_ERROR(found.status());
  ALOS_RETURN_IF_ERROR(others_failed);
  const double before = Percentile(latencies[0], 0.99);
  const double meanwhile = Percentile(latencies[1], 0.99);
  MarkdownTable table(out, {"first query on a new field", "measured", "bar"});
  table.Row(
      {absl::StrCat("first answer (`", options.field, "`)"), ShortTime(first_answer_us), "10 s"});
  table.Row({"an index serves it after",
             indexed == absl::InfiniteDuration()
                 ? std::string(explains ? "not in the time given" : "(the server does not explain)")
                 : ShortTime(absl::ToDoubleMicroseconds(indexed)),
             "60 s"});
  table.Row({"others' p99 before", ShortTime(before), ""});
  table.Row({"others' p99 meanwhile", ShortTime(meanwhile),
             absl::StrFormat("2.0 x; is %.2f x", before > 0 ? meanwhile / before : 0)});
  return absl::OkStatus();
}

inline absl::Status MeasureRestart(const ClientOptions& client_options,
                                   const std::string& collection, const ChatQueries& queries,
                                   std::uint64_t documents, absl::Time since,
                                   absl::Duration time_max, std::ostream* out) {
  std::unique_ptr<Client> client;
  while (client == nullptr) {
    absl::StatusOr<std::unique_ptr<Client>> connected = Client::Connect(client_options);
    if (connected.ok()) {
      client = *std::move(connected);
    } else if (absl::Now() - since > time_max) {
      return connected.status();
    }
  }
  const absl::Duration connected = absl::Now() - since;
  Runner runner(client.get(), collection);
  datasets::Draw draw(5);
  const ChatRequest request = queries.Find("equal-100")->make(draw);
  ALOS_RETURN_IF_ERROR(runner.Ask(request).status());
  const absl::Duration answered = absl::Now() - since;
  std::string indexed = "not in the time given";
  while (absl::Now() - since < time_max) {
    ALOS_ASSIGN_OR_RETURN(const Explanation explanation, runner.Explain(request));
    if (!explanation.documents_examined.has_value()) {
      indexed = "(the server does not explain)";
      break;
    }
    if (IsServedByIndex(explanation, documents)) {
      indexed = ShortTime(absl::ToDoubleMicroseconds(absl::Now() - since));
      break;
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  MarkdownTable table(out, {"after the start of the server", "measured", "bar"});
  table.Row({"connected", ShortTime(absl::ToDoubleMicroseconds(connected)), ""});
  table.Row({"first answer", ShortTime(absl::ToDoubleMicroseconds(answered)), ""});
  table.Row({"first answer by an index", indexed, "1 s"});
  return absl::OkStatus();
}

namespace bars_internal {

// The dotted paths of what is no document, through arrays as queries go through them.
inline void CollectPaths(ValueView value, const std::string& path, std::set<std::string>* paths) {
  if (value.IsArray()) {
    for (const ValueView element : value.elements()) CollectPaths(element, path, paths);
  } else if (value.IsDocument()) {
    for (const auto [key, member] : value.entries()) {
      CollectPaths(member, path.empty() ? std::string(key) : absl::StrCat(path, ".", key), paths);
    }
  } else {
    paths->insert(path);
  }
}

}  // namespace bars_internal

inline absl::Status MeasureAllFields(Client& client, const std::string& collection,
                                     const datasets::ChatLog& log, absl::Duration time_max,
                                     std::ostream* out) {
  constexpr std::uint64_t kMessages = 5000;  // so many have every field there is
  constexpr int kQuestions = 3;
  std::set<std::string> paths;
  std::string bytes;
  for (std::uint64_t number = 0; number < std::min(kMessages, log.documents()); ++number) {
    bytes.clear();
    log.Append(number, &bytes);
    bars_internal::CollectPaths(ValueView::FromTrusted(bytes), "", &paths);
  }
  paths.erase("_id");  // has an index of its own
  std::vector<ChatRequest> waiting;
  const auto add = [&](std::string query) {
    waiting.push_back({.operation = Operation::kFindManyCount, .query = std::move(query)});
  };
  for (const std::string& path : paths) add(absl::StrCat("{\"", path, "\":\"?\"}"));
  add(R"({"content":{"$regex":"qqqzzz"}})");
  const std::size_t all = waiting.size();
  Runner runner(&client, collection);
  const absl::Time begun = absl::Now();
  for (const ChatRequest& request : waiting) {
    for (int i = 0; i < kQuestions; ++i) ALOS_RETURN_IF_ERROR(runner.Ask(request).status());
  }
  bool explains = true;
  while (!waiting.empty() && explains && absl::Now() - begun < time_max) {
    std::vector<ChatRequest> still;
    for (const ChatRequest& request : waiting) {
      ALOS_ASSIGN_OR_RETURN(const Explanation explanation, runner.Explain(request));
      explains = explains && explanation.documents_examined.has_value();
      if (!IsServedByIndex(explanation, log.documents())) {
        still.push_back(request);
        // Asking is what makes an index worth having.
        if (explains) ALOS_RETURN_IF_ERROR(runner.Ask(request).status());
      }
    }
    waiting = std::move(still);
    if (!waiting.empty() && explains) absl::SleepFor(absl::Seconds(1));
  }
  MarkdownTable table(out, {"every field asked for", "measured"});
  table.Row({"fields, and the words of `content`", absl::StrCat(all)});
  table.Row({"served by an index",
             explains ? absl::StrCat(all - waiting.size()) : "(the server does not explain)"});
  table.Row({"after", ShortTime(absl::ToDoubleMicroseconds(absl::Now() - begun))});
  for (const ChatRequest& request : waiting) {
    if (explains) table.Row({"not served", absl::StrCat("`", request.query, "`")});
  }
  return absl::OkStatus();
}

}  // namespace alos::bars

#endif  // ALOS_TESTING_BARS_EXPERIMENTS_H_
