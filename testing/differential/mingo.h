// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The third way: mingo, a MongoDB query language in JavaScript, in a process of node's.

#ifndef ALOS_TESTING_DIFFERENTIAL_MINGO_H_
#define ALOS_TESTING_DIFFERENTIAL_MINGO_H_

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "testing/differential/compare.h"
#include "testing/differential/mingo_deviations.h"
#include "testing/differential/values.h"
#include "testing/differential/world.h"

namespace alos::differential {

// A child process that answers one line with one line (mingo_child.js).
//
// Threads: one.
// Lifetime: the destructor ends the child by closing its input, and waits for it.
class MingoProcess {
 public:
  static absl::StatusOr<std::unique_ptr<MingoProcess>> Start(const std::string& node,
                                                             const std::string& script,
                                                             const std::string& package) {
    int to_child[2];
    int from_child[2];
    if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) {
      return absl::ErrnoToStatus(errno, "pipe");
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to_child[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from_child[1], 1);
    std::string arguments[] = {node, script, package};
    char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(), nullptr};
    pid_t pid = 0;
    const int error = posix_spawnp(&pid, node.c_str(), &actions, nullptr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(to_child[0]);
    close(from_child[1]);
    if (error != 0) {
      close(to_child[1]);
      close(from_child[0]);
      return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", node));
    }
    return std::unique_ptr<MingoProcess>(new MingoProcess(pid, to_child[1], from_child[0]));
  }

  MingoProcess(const MingoProcess&) = delete;
  MingoProcess& operator=(const MingoProcess&) = delete;
  ~MingoProcess() {
    close(input_);
    close(output_);
    waitpid(pid_, nullptr, 0);
  }

  // Sends a line. The child reads all of it before it answers, so this cannot lock up.
  absl::Status Send(std::string line) {
    line += '\n';
    for (std::size_t sent = 0; sent < line.size();) {
      const ssize_t count = write(input_, line.data() + sent, line.size() - sent);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return absl::ErrnoToStatus(errno, "writing to node");
      sent += static_cast<std::size_t>(count);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Receive() {
    std::size_t newline = 0;
    std::size_t searched = 0;
    while ((newline = buffer_.find('\n', searched)) == std::string::npos) {
      searched = buffer_.size();
      char chunk[1 << 16];
      const ssize_t count = read(output_, chunk, sizeof(chunk));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return absl::UnavailableError("node has ended; what it wrote stands above");
      buffer_.append(chunk, static_cast<std::size_t>(count));
    }
    std::string line = buffer_.substr(0, newline);
    buffer_.erase(0, newline + 1);
    return line;
  }

 private:
  MingoProcess(pid_t pid, int input, int output) : pid_(pid), input_(input), output_(output) {}

  const pid_t pid_;
  const int input_;
  const int output_;
  std::string buffer_;
};

struct MingoCounts {
  std::uint64_t compared = 0;                       // Questions answered alike.
  std::map<std::string, std::uint64_t> deviations;  // Answered otherwise, as is known of mingo.
};

// Puts questions to mingo and compares the answers.
class MingoJudge {
 public:
  MingoJudge(MingoProcess* process, MingoCounts* counts) : process_(*process), counts_(*counts) {}

  // Sends them; mingo works while the caller does something else.
  absl::Status Ask(std::vector<Question> questions) {
    questions_ = std::move(questions);
    std::string line = "[";
    const std::vector<Bytes>* current = nullptr;
    is_question_.clear();
    for (const Question& question : questions_) {
      if (question.documents.get() != current) {
        current = question.documents.get();
        absl::StrAppend(&line, line.size() == 1 ? "" : ",", R"({"documents":[)");
        for (std::size_t i = 0; i < current->size(); ++i) {
          absl::StrAppend(&line, i == 0 ? "" : ",", ToJson(View((*current)[i])));
        }
        line += "]}";
        is_question_.push_back(false);
      }
      Fields request;
      const Bytes specification = WithoutIgnored(View(question.specification));
      for (const auto entry : Entries(View(specification))) {
        request.emplace_back(std::string(entry.key), Bytes(entry.value.bytes()));
      }
      if (question.kind == Question::Kind::kUpdate) {
        std::vector<Bytes> indices;
        indices.reserve(question.matches.size());
        for (const std::size_t match : question.matches) {
          indices.push_back(Int(static_cast<std::int64_t>(match)));
        }
        request.emplace_back("indices", Array(indices));
        const ValueView update = *View(question.specification).Find("update");
        const bool replacement = update.IsDocument() && !FirstKey(update).starts_with('$');
        if (replacement) request.emplace_back("replacement", Bool(true));
      }
      absl::StrAppend(&line, line.size() == 1 ? "" : ",", ToJson(View(Document(request))));
      is_question_.push_back(true);
    }
    return process_.Send(absl::StrCat(line, "]"));
  }

  // The first question that was answered otherwise, without a known deviation to explain it.
  // Errors: node has ended, or does not speak as agreed.
  absl::StatusOr<std::optional<Failure>> Judge() {
    ALOS_ASSIGN_OR_RETURN(const std::string line, process_.Receive());
    ALOS_ASSIGN_OR_RETURN(const std::string bytes, JsonToMessagePack(line));
    const ValueView answers = ValueView::FromTrusted(bytes);
    if (answers.size() != is_question_.size())
      return absl::InternalError("mingo: another number of answers");
    std::optional<Failure> failure;
    std::size_t request = 0;
    std::size_t question = 0;
    for (const ValueView answer : Elements(answers)) {
      if (is_question_[request++]) {
        const Question& asked = questions_[question++];
        std::string difference = Compare(asked, answer);
        if (!difference.empty() && !failure.has_value()) {
          failure = Failure{"mingo", asked.step, std::move(difference)};
        }
      }
    }
    return failure;
  }

 private:
  // Empty: alike, or otherwise as is known.
  std::string Compare(const Question& question, ValueView answer) {
    if (const std::optional<ValueView> error = answer.Find("error")) {
      if (!question.status.ok()) return Agree();
      return Excuse(ErrorDeviation(question, error->AsString()), [&] {
        return absl::StrCat("by scan:", Texts(question.results), "\n  mingo: ", ToJson(*error));
      });
    }
    switch (question.kind) {
      case Question::Kind::kFind:
        return CompareFind(question, answer);
      case Question::Kind::kUpdate:
        return CompareUpdate(question, answer);
      case Question::Kind::kAggregate:
        return CompareAggregate(question, answer);
    }
    return "";
  }

  std::string CompareFind(const Question& question, ValueView answer) {
    const ValueView filter = *View(question.specification).Find("find");
    std::vector<bool> ours(question.documents->size(), false);
    std::vector<bool> theirs(question.documents->size(), false);
    for (const std::size_t match : question.matches) ours[match] = true;
    for (const ValueView match : Elements(*answer.Find("matches"))) {
      theirs[static_cast<std::size_t>(match.AsInt64())] = true;
    }
    std::optional<std::string_view> known;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      if (ours[i] == theirs[i]) continue;
      const ValueView document = View((*question.documents)[i]);
      known = FilterDeviation(filter, document);
      if (!known.has_value()) {
        return absl::StrCat(ours[i] ? "by scan, but not in mingo, this matches: "
                                    : "in mingo, but not by scan, this matches: ",
                            ToJson(document));
      }
    }
    if (known.has_value()) return Excuse(known, [] { return ""; });
    const std::vector<Bytes> results = Documents(*answer.Find("results"));
    if (SameAnswer(Known(question.results), results, Order::kSame, MingoTolerance())) {
      return Agree();
    }
    return Excuse(FindDeviation(question), [&] {
      return absl::StrCat("by scan:", Texts(question.results), "\n  mingo:", Texts(results));
    });
  }

  std::string CompareUpdate(const Question& question, ValueView answer) {
    const ValueView specification = View(question.specification);
    std::size_t i = 0;
    std::optional<std::string_view> known;
    for (const ValueView result : Elements(*answer.Find("results"))) {
      const ValueView before = View((*question.documents)[question.matches[i]]);
      const std::optional<Bytes>& ours = question.results[i++];
      if (result.IsArray() == ours.has_value() &&
          (!ours.has_value() ||
           Same(View(AsInJavaScript(*ours)), *result.At(0), MingoTolerance()))) {
        continue;
      }
      known = UpdateDeviation(specification, before, ours,
                              result.IsString() ? result.AsString() : std::string_view());
      if (!known.has_value()) {
        return absl::StrCat("the update of ", ToJson(before),
                            "\n  by scan: ", ours.has_value() ? ToJson(View(*ours)) : "refused",
                            "\n  mingo: ", ToJson(result.IsArray() ? *result.At(0) : result));
      }
    }
    if (!known.has_value()) return Agree();
    return Excuse(known, [] { return ""; });
  }

  std::string CompareAggregate(const Question& question, ValueView answer) {
    const ValueView pipeline = *View(question.specification).Find("aggregate");
    const std::vector<Bytes> results = Documents(*answer.Find("results"));
    const PipelineTraits traits = TraitsOf(pipeline, Order::kSame);
    if (!traits.determined) return "";
    Tolerance tolerance = MingoTolerance();
    tolerance.rounding = true;
    tolerance.element_order = UsesSets(pipeline) || UsesJoins(pipeline);
    if (question.status.ok() &&
        SameAnswer(Known(question.results), results, traits.order, tolerance)) {
      return Agree();
    }
    // Refused while it ran, but not by mingo.
    const std::optional<std::string_view> known =
        question.status.ok() ? PipelineDeviation(question) : "errors-in-expressions";
    return Excuse(known, [&] {
      return absl::StrCat("by scan:",
                          question.status.ok() ? Texts(question.results)
                                               : absl::StrCat(" ", question.status.ToString()),
                          "\n  mingo:", Texts(results));
    });
  }

  // mingo refuses $comment and $setOnInsert, which do nothing here.
  static Bytes WithoutIgnored(ValueView value) {
    if (value.IsArray()) {
      std::vector<Bytes> elements;
      for (const ValueView element : Elements(value)) elements.push_back(WithoutIgnored(element));
      return Array(elements);
    }
    if (!value.IsDocument()) return Bytes(value.bytes());
    Fields fields;
    for (const auto entry : Entries(value)) {
      if (entry.key == "$comment" || entry.key == "$setOnInsert") continue;
      fields.emplace_back(std::string(entry.key), WithoutIgnored(entry.value));
    }
    return Document(fields);
  }

  std::string Agree() {
    ++counts_.compared;
    return "";
  }
  template <class Text>
  std::string Excuse(std::optional<std::string_view> deviation, Text&& text) {
    if (!deviation.has_value()) return text();
    ++counts_.deviations[std::string(*deviation)];
    return "";
  }

  static std::vector<Bytes> Documents(ValueView list) {
    std::vector<Bytes> documents;
    for (const ValueView element : Elements(list)) documents.emplace_back(element.bytes());
    return documents;
  }
  static std::vector<Bytes> Known(const std::vector<std::optional<Bytes>>& results) {
    std::vector<Bytes> documents;
    documents.reserve(results.size());
    for (const std::optional<Bytes>& result : results) {
      documents.push_back(AsInJavaScript(result.value_or(Null())));
    }
    return documents;
  }
  static std::string Texts(const std::vector<Bytes>& documents) {
    std::string text;
    for (const Bytes& document : documents)
      absl::StrAppend(&text, "\n    ", ToJson(View(document)));
    return text.empty() ? " nothing" : text;
  }
  static std::string Texts(const std::vector<std::optional<Bytes>>& results) {
    return Texts(Known(results));
  }

  MingoProcess& process_;
  MingoCounts& counts_;
  std::vector<Question> questions_;
  std::vector<bool> is_question_;  // Of the requests sent.
};

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_MINGO_H_
