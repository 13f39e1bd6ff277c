// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The documents of the collection `$requests`: of each session, the last write and what came of it.
// `_id` is the session's slot; slots are used again when nobody has used them for a while.

#ifndef ALOS_ENGINE_INTERNAL_REQUEST_NOTES_H_
#define ALOS_ENGINE_INTERNAL_REQUEST_NOTES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/engine/request_id.h"

namespace alos::engine_internal {

inline constexpr std::uint32_t kRequestSlots = 65'536;

struct RequestNote {
  std::string key;
  std::uint64_t number = 0;
  std::uint64_t run = 0;     // of the server that began it: 63 bits
  std::int64_t seconds = 0;  // when
  RequestOutcome outcome;    // kRunning or kDone
};

inline std::string EncodeNoteId(std::uint32_t slot) {
  std::string id;
  Builder(&id).Uint(slot);
  return id;
}

inline std::string EncodeNote(std::uint32_t slot, const RequestNote& note) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id").Uint(slot);
  builder.Key("key").Binary(note.key);
  builder.Key("n").Uint(note.number);
  builder.Key("run").Uint(note.run);
  builder.Key("t").Int(note.seconds);
  const RequestOutcome& outcome = note.outcome;
  builder.Key("done").Bool(outcome.state == RequestOutcome::State::kDone);
  if (outcome.matched != 0) builder.Key("matched").Uint(outcome.matched);
  if (outcome.changed != 0) builder.Key("changed").Uint(outcome.changed);
  if (outcome.inserted_id) builder.Key("id").Raw(ValueView::FromTrusted(*outcome.inserted_id));
  if (outcome.result) builder.Key("result").Binary(*outcome.result);
  if (!outcome.status.ok()) {
    builder.Key("code").Uint(static_cast<std::uint64_t>(outcome.status.code()));
    builder.Key("error").String(outcome.status.message());
  }
  builder.EndDocument();
  return bytes;
}

inline RequestNote DecodeNote(ValueView document) {
  RequestNote note;
  const auto number = [&](std::string_view key) -> std::int64_t {
    const std::optional<ValueView> value = document.Find(key);
    return value ? value->ToInt64().value_or(0) : 0;
  };
  if (const auto key = document.Find("key"); key && key->type() == ValueType::kBinary)
    note.key = std::string(key->AsBinary());
  note.number = static_cast<std::uint64_t>(number("n"));
  note.run = static_cast<std::uint64_t>(number("run"));
  note.seconds = number("t");
  RequestOutcome& outcome = note.outcome;
  const auto done = document.Find("done");
  outcome.state = done && done->IsBool() && done->AsBool() ? RequestOutcome::State::kDone
                                                           : RequestOutcome::State::kRunning;
  outcome.matched = static_cast<std::uint64_t>(number("matched"));
  outcome.changed = static_cast<std::uint64_t>(number("changed"));
  if (const auto id = document.Find("id")) outcome.inserted_id = std::string(id->bytes());
  if (const auto result = document.Find("result"); result && result->type() == ValueType::kBinary)
    outcome.result = std::string(result->AsBinary());
  if (const std::int64_t code = number("code"); code != 0) {
    const auto error = document.Find("error");
    outcome.status = absl::Status(static_cast<absl::StatusCode>(code),
                                  error && error->IsString() ? error->AsString() : "");
  }
  return note;
}

// What a slot that holds `note` (nullopt: nothing yet) says of a request, at `now` in seconds, to
// the server's run `run`. kNone: the request is to be done. Errors: kFailedPrecondition for a
// session that has ended, or a request that another one of its session came after: it is not done.
inline absl::StatusOr<RequestOutcome> JudgeRequest(const std::optional<RequestNote>& note,
                                                   const RequestId& request, std::uint64_t run,
                                                   std::int64_t now, std::int64_t window_seconds) {
  RequestOutcome outcome;
  if (!note) return outcome;
  if (note->key != std::string_view(request.key.data(), request.key.size())) {
    if (request.was_sent_before) {
      return absl::FailedPreconditionError(
          "outcome unknown: the session of the request has ended, and with it what is known of its "
          "requests");
    }
    if (now - note->seconds > window_seconds) return outcome;
    return absl::FailedPreconditionError(
        "the session has ended; open another one (the request was not done)");
  }
  if (note->number < request.number) return outcome;
  if (note->number > request.number) {
    return absl::FailedPreconditionError(absl::StrCat("request ", request.number,
                                                      " came after request ", note->number,
                                                      " of its session: it is not done"));
  }
  outcome = note->outcome;
  if (outcome.state == RequestOutcome::State::kRunning && note->run != run)
    outcome.state = RequestOutcome::State::kInterrupted;
  return outcome;
}

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_REQUEST_NOTES_H_
