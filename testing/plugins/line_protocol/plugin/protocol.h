// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A protocol plugin that lives outside of //plugins, spoken by hand:
//
//   put KEY TEXT   ->  ok                 (once the write is what the durability policy promises)
//   get KEY        ->  text TEXT, or none
//   anything else  ->  error REASON

#ifndef TESTING_PLUGINS_LINE_PROTOCOL_PLUGIN_PROTOCOL_H_
#define TESTING_PLUGINS_LINE_PROTOCOL_PLUGIN_PROTOCOL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/net/counters.h"
#include "alos/net/credentials.h"
#include "alos/net/protocol.h"

namespace testing_plugins {

// What the server sets.
struct LineProtocolOptions {
  std::optional<alos::Credentials> credentials = {};
  std::string default_database = "alosdb";
  std::size_t frame_bytes_max = 64 << 10;        // Of a line.
  absl::Duration transaction_idle_timeout = {};  // It has no transactions.
};

template <class Engine>
class LineProtocol {
 public:
  class Session;

  LineProtocol(Engine* engine, LineProtocolOptions options)
      : engine_(engine), options_(std::move(options)) {}

  std::unique_ptr<Session> NewSession() { return std::make_unique<Session>(this); }
  void Tick() {}
  bool requires_authentication() const { return options_.credentials.has_value(); }
  alos::NetCounters& counters() { return counters_; }

 private:
  Engine* const engine_;
  const LineProtocolOptions options_;
  alos::NetCounters counters_;
};

template <class Engine>
class LineProtocol<Engine>::Session {
 public:
  explicit Session(LineProtocol* protocol) : protocol_(*protocol) {}

  alos::SessionStep Advance(std::string* output) {
    if (refused()) {
      output->append("error this protocol has no way to log in\n");
      return alos::SessionStep::kClose;
    }
    if (commit_timestamp_.has_value()) {
      if (!commit_status_.has_value()) return alos::SessionStep::kWait;
      Answer(*commit_status_, output);
      commit_timestamp_.reset();
      commit_status_.reset();
    }
    if (received_.find('\n') != received_.npos) return alos::SessionStep::kWork;
    if (received_.size() <= protocol_.options_.frame_bytes_max) return alos::SessionStep::kReceive;
    output->append("error the line is too long\n");
    return alos::SessionStep::kClose;
  }

  absl::Span<char> Prepare() { return absl::MakeSpan(room_); }
  void Commit(std::size_t size) { received_.append(room_, size); }

  // Carries out the first line.
  void Work(std::string* output) {
    const std::size_t end = received_.find('\n');
    const std::string line = received_.substr(0, end);
    received_.erase(0, end + 1);
    if (absl::Status status = Run(line, output); !status.ok()) Answer(status, output);
  }

  void Wait(std::function<void(absl::Status)> callback) {
    database_->NotifyVisible(*commit_timestamp_, std::move(callback));
  }
  void Resume(absl::Status status) { commit_status_ = std::move(status); }

  alos::SessionPhase phase() const {
    return received_.empty() ? alos::SessionPhase::kIdle : alos::SessionPhase::kReceiving;
  }
  bool authenticated() const { return !protocol_.requires_authentication(); }
  bool refused() const { return protocol_.requires_authentication(); }
  std::size_t memory_bytes() const { return received_.capacity(); }
  void Release() { received_.shrink_to_fit(); }

 private:
  static constexpr std::string_view kCollection = "lines";

  static void Answer(const absl::Status& status, std::string* output) {
    absl::StrAppend(output, status.ok() ? "ok" : "error ", status.message(), "\n");
  }

  absl::Status Run(std::string_view line, std::string* output) {
    ALOS_ASSIGN_OR_RETURN(
        database_, protocol_.engine_->GetOrCreateDatabase(protocol_.options_.default_database));
    const std::string_view command = TakeWord(line);
    const std::string_view key = TakeWord(line);
    if (command == "put") return Put(key, line);
    if (command == "get") return Get(key, output);
    return absl::InvalidArgumentError("say: put KEY TEXT, or: get KEY");
  }

  absl::Status Put(std::string_view key, std::string_view text) {
    std::string document;
    alos::Builder builder(&document);
    builder.StartDocument();
    builder.Key("_id");
    builder.String(key);
    builder.Key("text");
    builder.String(text);
    builder.EndDocument();
    ALOS_ASSIGN_OR_RETURN(const alos::ValueView view, alos::ValueView::Parse(document));
    ALOS_ASSIGN_OR_RETURN(auto inserted, database_->InsertOne(kCollection, view));
    commit_timestamp_ = inserted.commit_timestamp;
    return absl::OkStatus();
  }

  absl::Status Get(std::string_view key, std::string* output) {
    ALOS_ASSIGN_OR_RETURN(
        const bool found,
        database_->FindById(kCollection, alos::EncodeStringId(key), [&](alos::ValueView document) {
          absl::StrAppend(output, "text ", document.Find("text")->AsString(), "\n");
        }));
    if (!found) output->append("none\n");
    return absl::OkStatus();
  }

  static std::string_view TakeWord(std::string_view& line) {
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(line.size(), word.size() + 1));
    return word;
  }

  LineProtocol& protocol_;
  typename Engine::Database* database_ = nullptr;
  std::string received_;
  char room_[4096];
  // Of the write whose answer waits, and what became of it.
  std::optional<std::uint64_t> commit_timestamp_;
  std::optional<absl::Status> commit_status_;
};

}  // namespace testing_plugins

namespace alos::plugin {

using ProtocolOptions = testing_plugins::LineProtocolOptions;

template <class Engine>
using Protocol = testing_plugins::LineProtocol<Engine>;

}  // namespace alos::plugin

#endif  // TESTING_PLUGINS_LINE_PROTOCOL_PLUGIN_PROTOCOL_H_
