// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The alos wire protocol over an engine: handshake, frames, requests, answers in order.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_ALOS_PROTOCOL_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_ALOS_PROTOCOL_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/log.h"
#include "alos/base/rate_limiter.h"
#include "alos/net/big_endian.h"
#include "alos/net/counters.h"
#include "alos/net/credentials.h"
#include "alos/net/frame.h"
#include "alos/net/handshake.h"
#include "alos/net/message.h"
#include "alos/net/protocol.h"
#include "alos/net/secure_channel.h"
#include "plugins/protocol/alos/internal/operations.h"
#include "plugins/protocol/alos/internal/result_table.h"
#include "plugins/protocol/alos/internal/transaction_table.h"

namespace alos {

struct AlosProtocolOptions {
  // With credentials every connection must begin with the handshake; without, every one is plain.
  std::optional<Credentials> credentials = {};
  std::string default_database = "alosdb";
  std::size_t frame_bytes_max = std::size_t{64} << 20;
  absl::Duration transaction_idle_timeout = absl::Seconds(60);
  protocol_internal::OperationLimits limits = {};
};

// Satisfies Protocol (alos/net/protocol.h), which states the contract of most members.
//
// Requests of one connection are carried out one after another, in the order of their arrival, and
// answered in that order. Inserts that follow each other need not wait for each other's commits;
// everything else sees what was written before it on the same connection.
//
// Threads, lifetime: as Protocol says; the engine must outlive the protocol.
// Durability: a write is answered when its commit is visible, which is what the engine's durability
// policy makes of it.
// Errors: every request that could be cut out of the stream is answered, if need be with an error.
// The connection ends, without an answer, when its encryption fails; with one, when a frame is over
// the limit or authentication is missing.
template <class EngineType, class Ciphers>
class AlosProtocol {
 public:
  using Engine = EngineType;
  class Session;

  AlosProtocol(Engine* engine, AlosProtocolOptions options)
      : engine_(engine),
        options_(std::move(options)),
        transactions_(options_.transaction_idle_timeout) {}
  AlosProtocol(const AlosProtocol&) = delete;
  AlosProtocol& operator=(const AlosProtocol&) = delete;

  std::unique_ptr<Session> NewSession() { return std::make_unique<Session>(this); }
  void Tick() {
    transactions_.Expire();
    results_.Expire();
  }
  bool requires_authentication() const { return options_.credentials.has_value(); }
  NetCounters& counters() { return counters_; }

 private:
  using Database = typename Engine::Database;

  Engine* const engine_;
  const AlosProtocolOptions options_;
  NetCounters counters_;
  protocol_internal::TransactionTable<typename Engine::JointTransaction> transactions_;
  protocol_internal::ResultTable results_;
  std::atomic<std::uint64_t> sessions_made_{0};
};

template <class EngineType, class Ciphers>
class AlosProtocol<EngineType, Ciphers>::Session {
 public:
  explicit Session(AlosProtocol* protocol)
      : protocol_(*protocol),
        id_(++protocol->sessions_made_),
        reader_(protocol->options_.frame_bytes_max + kSealedOverheadMax),
        operations_(protocol->engine_, protocol->options_.default_database,
                    protocol->options_.limits, &protocol->transactions_, &protocol->results_,
                    &protocol->counters_, id_) {}
  ~Session() {
    if (began_transactions_) protocol_.transactions_.RemoveOwned(id_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  SessionStep Advance(std::string* output);
  absl::Span<char> Prepare() { return reader_.Prepare(); }
  void Commit(std::size_t size) {
    reader_.Commit(size);
    if (size != 0) received_anything_ = true;
  }
  // Carries out the request that Advance announced.
  void Work(std::string* output) {
    RunCurrent(output, /*may_wait=*/true);
    has_current_ = false;
  }
  RateLimiter::Time PauseUntil() const { return operations_.turn(); }
  void Wait(std::function<void(absl::Status)> callback) {
    if (pending_joint_ != nullptr) return pending_joint_->start(std::move(callback));
    pending_commit_.database->NotifyVisible(pending_commit_.timestamp, std::move(callback));
  }
  void Resume(absl::Status status) {
    pending_status_ = std::move(status);
    resumed_ = true;
  }
  SessionPhase phase() const {
    if (!received_anything_) return SessionPhase::kSilent;
    if (!authenticated()) return SessionPhase::kUnauthenticated;
    return reader_.unread().empty() ? SessionPhase::kIdle : SessionPhase::kReceiving;
  }
  bool authenticated() const {
    return !protocol_.requires_authentication() || channel_.encrypted();
  }
  bool refused() const { return refused_; }
  std::size_t memory_bytes() const { return reader_.capacity_bytes(); }
  void Release() { reader_.Release(); }

 private:
  enum class Mode { kFirstByte, kHandshake, kFrames, kClosed };

  // The most that a sealed frame is longer than its content, for any cipher there is.
  static constexpr std::size_t kSealedOverheadMax = 64;
  // Received before a peer has proved who it is.
  static constexpr std::size_t kUnauthenticatedBytesMax = 4096;
  // Answers are sent when there are so many bytes of them, even if more requests are waiting.
  static constexpr std::size_t kOutputBytes = 256 * 1024;
  // So many answers, or bytes of them, wait for their commits; then nothing more is done until
  // those are visible.
  static constexpr std::size_t kPendingMax = 1024;
  static constexpr std::size_t kPendingBytesMax = 1024 * 1024;

  // An answer that waits for its commit.
  struct Pending {
    std::uint32_t id;
    bool no_reply;
    absl::Status status;
    std::string result;
  };

  bool Begin(std::string* output);
  bool Handshake(std::string* output);
  // False: it would have to wait, which it may not. Nothing was done.
  bool RunCurrent(std::string* output, bool may_wait);
  void Reply(std::uint32_t id, bool no_reply, const absl::Status& status, std::string_view result,
             std::string* output);
  void AnswerPending(std::string* output);
  SessionStep Close() {
    mode_ = Mode::kClosed;
    return SessionStep::kClose;
  }

  AlosProtocol& protocol_;
  const std::uint64_t id_;
  Mode mode_ = Mode::kFirstByte;
  bool received_anything_ = false;
  bool refused_ = false;
  bool began_transactions_ = false;
  bool has_current_ = false;
  bool resumed_ = false;
  bool close_after_pending_ = false;
  FrameReader reader_;
  SecureChannel<Ciphers> channel_;
  std::unique_ptr<ServerHandshake> handshake_;
  // The request being looked at: views into reader_'s buffer.
  Request current_;
  // Answers held back until pending_commit_ is visible.
  std::vector<Pending> pending_;
  std::size_t pending_bytes_ = 0;
  protocol_internal::Commit<Database> pending_commit_;
  std::unique_ptr<protocol_internal::JointCommit> pending_joint_;
  std::string pending_database_;
  absl::Status pending_status_;
  protocol_internal::Operations<Engine> operations_;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

template <class Engine, class Ciphers>
SessionStep AlosProtocol<Engine, Ciphers>::Session::Advance(std::string* output) {
  if (resumed_) {
    AnswerPending(output);
    if (close_after_pending_) return Close();
  }
  if (mode_ == Mode::kFirstByte && !Begin(output)) {
    return mode_ == Mode::kClosed ? SessionStep::kClose : SessionStep::kReceive;
  }
  if (mode_ == Mode::kHandshake && !Handshake(output)) {
    return mode_ == Mode::kClosed ? SessionStep::kClose : SessionStep::kReceive;
  }
  if (mode_ == Mode::kClosed) return SessionStep::kClose;
  for (;;) {
    if (!has_current_) {
      if (output->size() > kOutputBytes) return SessionStep::kSend;
      absl::StatusOr<std::optional<absl::Span<char>>> frame = reader_.Next();
      if (!frame.ok()) {
        // The stream cannot be cut any further. What came before is still answered.
        if (!pending_.empty()) return SessionStep::kWait;
        Reply(0, false, frame.status(), "", output);
        return Close();
      }
      if (!frame->has_value()) {
        return pending_.empty() ? SessionStep::kReceive : SessionStep::kWait;
      }
      const absl::StatusOr<absl::Span<char>> opened = channel_.Open(**frame);
      if (!opened.ok()) {
        ALOS_LOG(kWarning) << "closing a connection: " << opened.status().message();
        return Close();
      }
      current_ = Request();
      const std::string_view payload(opened->data(), opened->size());
      const absl::Status parsed = ParseRequest(payload, &current_);
      protocol_.counters_.Add(NetCounter::kRequests);
      if (current_.auth.has_value() && protocol_.options_.credentials.has_value() &&
          !protocol_.options_.credentials->MatchesToken(*current_.auth)) {
        refused_ = true;
        close_after_pending_ = true;
        pending_.push_back(
            {current_.id, current_.no_reply,
             absl::UnauthenticatedError("authentication required: the request's 'auth' is wrong"),
             ""});
        if (pending_commit_.timestamp != 0 || pending_joint_ != nullptr) return SessionStep::kWait;
        AnswerPending(output);
        return Close();
      }
      if (!parsed.ok()) {
        if (pending_.empty()) {
          Reply(current_.id, current_.no_reply, parsed, "", output);
        } else {
          pending_.push_back({current_.id, current_.no_reply, parsed, ""});
        }
        continue;
      }
      has_current_ = true;
    }
    // What was written before on this connection must be visible to this request, unless it does
    // not look.
    if (!pending_.empty() &&
        (pending_joint_ != nullptr || !operations_.IsInsert(current_) ||
         current_.database != pending_database_ || pending_.size() >= kPendingMax ||
         pending_bytes_ >= kPendingBytesMax)) {
      return SessionStep::kWait;
    }
    bool is_long = true;
    try {
      if (!operations_.HasTurn(current_))
        return pending_.empty() ? SessionStep::kPause : SessionStep::kWait;
      is_long = operations_.IsLong(current_);
    } catch (const std::bad_alloc&) {
      // Whoever carries it out will say so.
    }
    if (is_long) return SessionStep::kWork;
    if (!RunCurrent(output, /*may_wait=*/false)) return SessionStep::kWork;
    has_current_ = false;
  }
}

// Decides by the first byte what the connection is to be. False: not decided yet, or closed.
template <class Engine, class Ciphers>
bool AlosProtocol<Engine, Ciphers>::Session::Begin(std::string* output) {
  const std::string_view received = reader_.unread();
  if (received.empty()) return false;
  const bool handshake = received[0] == kHandshakeFirstByte;
  if (protocol_.requires_authentication() && handshake) {
    handshake_ = std::make_unique<ServerHandshake>(SecureChannel<Ciphers>::versions(),
                                                   *protocol_.options_.credentials, NewSalt());
    mode_ = Mode::kHandshake;
    return true;
  }
  if (handshake) {
    ALOS_LOG(kDebug) << "closing a connection that asks for encryption: no credentials are set";
    mode_ = Mode::kClosed;
    return false;
  }
  if (protocol_.requires_authentication()) {
    // One answer, to the id if it shows at once. Nothing is decoded for a stranger.
    constexpr std::size_t kEnoughBytes = 32;
    if (received.size() < kFrameLengthBytes) return false;
    const std::size_t length = net_internal::LoadBigEndian32(received.data());
    const std::string_view payload = received.substr(kFrameLengthBytes);
    if (payload.size() < std::min(length, kEnoughBytes)) return false;
    Reply(net_internal::GuessRequestId(payload.substr(0, length)), false,
          absl::UnauthenticatedError("authentication required"), "", output);
    mode_ = Mode::kClosed;
    return false;
  }
  mode_ = Mode::kFrames;
  return true;
}

// False: needs more bytes, or closed.
template <class Engine, class Ciphers>
bool AlosProtocol<Engine, Ciphers>::Session::Handshake(std::string* output) {
  for (;;) {
    const absl::StatusOr<std::size_t> taken = handshake_->Consume(reader_.unread(), output);
    if (!taken.ok()) {
      ALOS_LOG(kInfo) << "closing a connection: " << taken.status().message();
      refused_ = taken.status().code() == absl::StatusCode::kPermissionDenied;
      mode_ = Mode::kClosed;
      return false;
    }
    reader_.Skip(*taken);
    if (handshake_->done()) break;
    if (*taken != 0) continue;
    if (reader_.unread().size() > kUnauthenticatedBytesMax) mode_ = Mode::kClosed;
    return false;
  }
  channel_.Enable(handshake_->keys(), SecureChannel<Ciphers>::Role::kServer);
  handshake_ = nullptr;
  mode_ = Mode::kFrames;
  return true;
}

template <class Engine, class Ciphers>
bool AlosProtocol<Engine, Ciphers>::Session::RunCurrent(std::string* output, bool may_wait) {
  const std::size_t start = BeginFrame(channel_, output);
  AppendResultHeader(current_.id, output);
  const std::size_t result_start = output->size();
  if (current_.operation == Operation::kBeginTransaction ||
      current_.operation == Operation::kBatch) {
    began_transactions_ = true;
  }
  protocol_internal::Commit<Database> commit;
  absl::Status status;
  try {
    std::optional<typename Database::NoWaiting> no_waiting;
    if (!may_wait && operations_.IsSingleWrite(current_)) no_waiting.emplace();
    status = operations_.Run(current_, output, &commit);
    if (no_waiting && Database::MustWait(status)) {
      output->resize(start);
      return false;
    }
  } catch (const std::bad_alloc&) {
    commit = {};
    status = absl::ResourceExhaustedError(
        "out of memory: this request has no result, and if it was to write the outcome unknown");
  }
  if (!status.ok()) protocol_.counters_.Add(NetCounter::kErrors);
  if (commit.joint != nullptr) {
    // Advance saw to it that nothing else is pending.
    output->resize(start);
    pending_.push_back({current_.id, current_.no_reply, absl::OkStatus(), std::string()});
    pending_joint_ = std::move(commit.joint);
    return true;
  }
  const bool invisible = commit.timestamp != 0 && !commit.database->IsVisible(commit.timestamp);
  if (!invisible && pending_.empty()) [[likely]] {
    if (current_.no_reply) {
      output->resize(start);
    } else if (status.ok()) {
      EndFrame(channel_, start, output);
    } else {
      output->resize(start);
      Reply(current_.id, false, status, "", output);
    }
    return true;
  }
  std::string result = status.ok() ? output->substr(result_start) : std::string();
  output->resize(start);
  pending_bytes_ += result.size();
  pending_.push_back({current_.id, current_.no_reply, std::move(status), std::move(result)});
  if (invisible) {
    // Advance saw to it that all that is pending is of one database.
    pending_commit_ = {commit.database, std::max(commit.timestamp, pending_commit_.timestamp)};
    pending_database_ = std::string(current_.database);
  }
  return true;
}

template <class Engine, class Ciphers>
void AlosProtocol<Engine, Ciphers>::Session::Reply(std::uint32_t id, bool no_reply,
                                                   const absl::Status& status,
                                                   std::string_view result, std::string* output) {
  if (no_reply) return;
  const std::size_t start = BeginFrame(channel_, output);
  if (status.ok()) {
    AppendResultHeader(id, output);
    output->append(result);
  } else {
    AppendErrorResponse(id, status, output);
  }
  EndFrame(channel_, start, output);
}

// The commits that answers waited for are visible, or never will be.
template <class Engine, class Ciphers>
void AlosProtocol<Engine, Ciphers>::Session::AnswerPending(std::string* output) {
  resumed_ = false;
  if (pending_joint_ != nullptr) {
    // What there is to say came with it.
    pending_[0].status = pending_joint_->finish(pending_status_, &pending_[0].result);
    if (!pending_[0].status.ok()) protocol_.counters_.Add(NetCounter::kErrors);
    pending_joint_ = nullptr;
    pending_status_ = absl::OkStatus();
  }
  const absl::Status lost =
      pending_status_.ok()
          ? absl::OkStatus()
          : absl::UnavailableError(absl::StrCat(
                "outcome unknown: the write may or may not survive: ", pending_status_.message()));
  for (const Pending& pending : pending_) {
    Reply(pending.id, pending.no_reply, lost.ok() ? pending.status : lost, pending.result, output);
  }
  pending_.clear();
  pending_bytes_ = 0;
  pending_commit_ = {};
  pending_status_ = absl::OkStatus();
}

}  // namespace alos

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_ALOS_PROTOCOL_H_
