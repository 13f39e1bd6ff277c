// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Requests that may be sent again. The members of BasicDatabase (database.h) that do this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_REQUESTS_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_REQUESTS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/epoch.h"
#include "alos/base/log.h"
#include "alos/base/status_macros.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/joint_log.h"
#include "alos/engine/internal/recovery_report.h"
#include "alos/engine/internal/request_notes.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/options.h"
#include "alos/engine/request_id.h"

namespace alos {

template <class Policies>
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::OwnCollection(
    std::atomic<Collection*>* known, std::string_view name) {
  if (Collection* collection = known->load(std::memory_order_acquire)) return collection;
  Collection* found = nullptr;
  {
    const auto guard = context_.epochs->Enter();
    found = collections_.Find(name);
  }
  if (found == nullptr) {
    ALOS_ASSIGN_OR_RETURN(found, MakeCollection(name));
  }
  known->store(found, std::memory_order_release);
  return found;
}

template <class Policies>
absl::StatusOr<std::optional<engine_internal::RequestNote>> BasicDatabase<Policies>::ReadNote(
    const Collection& notes, std::uint32_t slot, std::uint64_t* timestamp) {
  const std::string id = engine_internal::EncodeNoteId(slot);
  const std::uint64_t hash = Hash(notes.id, id);
  Shard& shard = ShardOf(hash);
  std::optional<engine_internal::RequestNote> note;
  ALOS_ASSIGN_OR_RETURN(
      const std::uint64_t offset,
      shard.FindVersion(notes.id, id, hash, std::numeric_limits<std::uint64_t>::max()));
  if (offset == 0) return note;
  if (timestamp != nullptr)
    *timestamp = RecordView(shard.log()->At(offset)).header().commit_timestamp;
  ALOS_RETURN_IF_ERROR(shard.VisitDocument(
      offset, [&](ValueView document) { note = engine_internal::DecodeNote(document); }, false));
  return note;
}

template <class Policies>
absl::StatusOr<engine_internal::JointMarker> BasicDatabase<Policies>::ReadJointMarker() {
  engine_internal::JointMarker marker;
  const auto guard = context_.epochs->Enter();
  const Collection* markers = collections_.Find(engine_internal::kJointCollection);
  if (markers == nullptr) return marker;
  const std::string id = engine_internal::JointMarker::EncodeId();
  const std::uint64_t hash = Hash(markers->id, id);
  Shard& shard = ShardOf(hash);
  ALOS_ASSIGN_OR_RETURN(
      const std::uint64_t offset,
      shard.FindVersion(markers->id, id, hash, std::numeric_limits<std::uint64_t>::max()));
  if (offset == 0) return marker;
  ALOS_RETURN_IF_ERROR(shard.VisitDocument(
      offset, [&](ValueView document) { marker = engine_internal::JointMarker::Decode(document); },
      false));
  return marker;
}

template <class Policies>
void BasicDatabase<Policies>::NoteJointRecovery(std::uint64_t installed, std::uint64_t refused) {
  recovery_report_.joint_installed += installed;
  recovery_report_.joint_refused += refused;
  const absl::Status stored = engine_internal::StoreRecoveryReport(
      *context_.file_system, context_.directory, recovery_report_);
  if (!stored.ok()) ALOS_LOG(kWarning) << context_.directory << ": the recovery report: " << stored;
}

template <class Policies>
std::string BasicDatabase<Policies>::MakeNote(const RequestId& request,
                                              const RequestOutcome& outcome) const {
  engine_internal::RequestNote note;
  note.key = std::string(request.key.data(), request.key.size());
  note.number = request.number;
  note.run = run_;
  note.seconds = absl::ToUnixSeconds(absl::Now());
  note.outcome = outcome;
  return engine_internal::EncodeNote(request.slot, note);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::NotAgain(const RequestOutcome& outcome) {
  switch (outcome.state) {
    case RequestOutcome::State::kNone:
      return absl::OkStatus();
    case RequestOutcome::State::kRunning:
      return absl::AbortedError("the request is still being done: ask again");
    case RequestOutcome::State::kInterrupted:
      return absl::UnknownError(
          "the server stopped while it did this request: a part of it may be done, and it is not "
          "done again");
    case RequestOutcome::State::kDone:
      break;
  }
  return absl::CancelledError("the request was done before");
}

template <class Policies>
absl::StatusOr<RequestOutcome> BasicDatabase<Policies>::FindRequest(const RequestId& request) {
  ALOS_ASSIGN_OR_RETURN(Collection * notes, Notes());
  const auto guard = context_.epochs->Enter();
  std::uint64_t timestamp = 0;
  ALOS_ASSIGN_OR_RETURN(const auto note, ReadNote(*notes, request.slot, &timestamp));
  ALOS_ASSIGN_OR_RETURN(RequestOutcome outcome, Judge(note, request));
  if (outcome.state == RequestOutcome::State::kDone) outcome.commit_timestamp = timestamp;
  return outcome;
}

template <class Policies>
absl::StatusOr<RequestOutcome> BasicDatabase<Policies>::SettleRequest(const RequestId& request) {
  ALOS_ASSIGN_OR_RETURN(RequestOutcome outcome, FindRequest(request));
  if (outcome.state != RequestOutcome::State::kNone) return outcome;
  outcome.state = RequestOutcome::State::kDone;
  outcome.status = absl::AbortedError("the request was not done, and will not be");
  absl::StatusOr<std::uint64_t> written = WriteNote(request, outcome);
  if (written.ok()) {
    outcome.commit_timestamp = *written;
    return outcome;
  }
  // It was done in this moment.
  if (absl::IsCancelled(written.status())) return FindRequest(request);
  return written.status();
}

template <class Policies>
absl::StatusOr<std::optional<RequestOutcome>> BasicDatabase<Policies>::DoneBefore(
    const RequestId* request) {
  ALOS_ASSIGN_OR_RETURN(RequestOutcome outcome, FindRequest(*request));
  if (outcome.state == RequestOutcome::State::kNone) return std::optional<RequestOutcome>();
  if (outcome.state != RequestOutcome::State::kDone) return NotAgain(outcome);
  if (!outcome.status.ok()) return outcome.status;
  return std::optional<RequestOutcome>(std::move(outcome));
}

template <class Policies>
absl::StatusOr<std::uint64_t> BasicDatabase<Policies>::WriteNote(const RequestId& request,
                                                                 const RequestOutcome& outcome) {
  ALOS_ASSIGN_OR_RETURN(Collection * notes, Notes());
  const std::string raw = MakeNote(request, outcome);
  return WriteDocument(*notes, engine_internal::EncodeNoteId(request.slot),
                       [&](std::optional<ValueView> current, Decision* decision) -> absl::Status {
                         std::optional<engine_internal::RequestNote> note;
                         if (current) note = engine_internal::DecodeNote(*current);
                         ALOS_ASSIGN_OR_RETURN(const RequestOutcome known, Judge(note, request));
                         // What we began ourselves is done now.
                         const bool ends = outcome.state == RequestOutcome::State::kDone &&
                                           known.state == RequestOutcome::State::kRunning;
                         if (!ends) ALOS_RETURN_IF_ERROR(NotAgain(known));
                         decision->action = Decision::Action::kPut;
                         Encode(raw, &decision->body);
                         return absl::OkStatus();
                       });
}

template <class Policies>
template <class WriteOne, class Done>
auto BasicDatabase<Policies>::Once(const RequestId* request, WriteOne&& write, Done&& done)
    -> decltype(write()) {
  if (request == nullptr) return write();
  // Somebody else may send the same request at the same time.
  for (int attempt = 0; attempt < 2; ++attempt) {
    ALOS_ASSIGN_OR_RETURN(const std::optional<RequestOutcome> before, DoneBefore(request));
    if (before) return done(*before);
    auto written = write();
    if (!absl::IsCancelled(written.status())) return written;
  }
  return absl::InternalError("a request is done and is not");
}

template <class Policies>
template <class WriteMany, class Done, class OutcomeOf>
auto BasicDatabase<Policies>::OnceOfMany(const RequestId* request, WriteMany&& write, Done&& done,
                                         OutcomeOf&& outcome_of) -> decltype(write()) {
  if (request == nullptr) return write();
  ALOS_ASSIGN_OR_RETURN(const std::optional<RequestOutcome> before, DoneBefore(request));
  if (before) return done(*before);
  RequestOutcome outcome;
  outcome.state = RequestOutcome::State::kRunning;
  ALOS_RETURN_IF_ERROR(WriteNote(*request, outcome).status());
  auto written = write();
  outcome = RequestOutcome();
  if (written.ok()) {
    outcome = outcome_of(*written);
  } else {
    outcome.status = written.status();
  }
  outcome.state = RequestOutcome::State::kDone;
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, WriteNote(*request, outcome));
  if (written.ok()) written->commit_timestamp = std::max(written->commit_timestamp, timestamp);
  return written;
}

template <class Policies>
absl::StatusOr<std::string> BasicDatabase<Policies>::RunOnce(
    const RequestId& request, absl::FunctionRef<absl::StatusOr<std::string>()> run,
    std::uint64_t* commit_timestamp) {
  ALOS_ASSIGN_OR_RETURN(const std::optional<RequestOutcome> before, DoneBefore(&request));
  if (before) {
    *commit_timestamp = before->commit_timestamp;
    if (before->result) return *before->result;
    return absl::UnknownError(
        absl::StrCat("the request was done before; what it returned is not "
                     "known any more, as it takes more than ",
                     kKeptResultBytesMax, " bytes"));
  }
  RequestOutcome outcome;
  outcome.state = RequestOutcome::State::kRunning;
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t noted, WriteNote(request, outcome));
  // Not all that it does goes through the log of commits, behind the note.
  ALOS_RETURN_IF_ERROR(WaitVisible(noted));
  absl::StatusOr<std::string> result = run();
  outcome.state = RequestOutcome::State::kDone;
  outcome.status = result.status();
  if (result.ok() && result->size() <= kKeptResultBytesMax) outcome.result = *result;
  ALOS_ASSIGN_OR_RETURN(*commit_timestamp, WriteNote(request, outcome));
  return result;
}

template <class Policies>
absl::StatusOr<RequestId> BasicDatabase<Policies>::OpenSession() {
  ALOS_ASSIGN_OR_RETURN(Collection * notes, Notes());
  const std::int64_t now = absl::ToUnixSeconds(absl::Now());
  const std::int64_t window = absl::ToInt64Seconds(options_.request_window);
  RequestId session;
  std::random_device random;
  for (std::size_t i = 0; i < session.key.size(); i += 4) {
    const std::uint32_t bits = random();
    std::memcpy(session.key.data() + i, &bits, 4);
  }
  absl::MutexLock lock(&sessions_mutex_);
  if (slots_given_.size() > engine_internal::kRequestSlots / 4)
    absl::erase_if(slots_given_, [&](const auto& slot) { return now - slot.second > window; });
  const auto guard = context_.epochs->Enter();
  for (std::uint32_t tries = 0; tries < engine_internal::kRequestSlots; ++tries) {
    const std::uint32_t slot = next_slot_;
    next_slot_ = (next_slot_ + 1) % engine_internal::kRequestSlots;
    const auto given = slots_given_.find(slot);
    if (given != slots_given_.end() && now - given->second <= window) continue;
    ALOS_ASSIGN_OR_RETURN(const auto note, ReadNote(*notes, slot));
    if (note && now - note->seconds <= window) continue;
    slots_given_[slot] = now;
    session.slot = slot;
    return session;
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("all ", engine_internal::kRequestSlots,
                   " sessions are in use; those that are idle end after ",
                   absl::FormatDuration(options_.request_window)));
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_REQUESTS_H_
