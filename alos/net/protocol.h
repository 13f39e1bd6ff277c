// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a protocol plugin is: it turns the bytes of connections into calls of an engine and back.
// The server (alos/net/server.h) moves bytes and threads; what the bytes mean is the plugin's
// alone.
//
// A protocol's session is a machine without sockets, clocks or threads. The server runs it like
// this:
//
//   loop:
//     switch (session.Advance(&output)):
//       kReceive   send output; receive into session.Prepare(); session.Commit(size)
//       kSend      send output
//       kWork      send output; on a worker thread: session.Work(&output)
//       kWait      send output; session.Wait(callback); when it was called: session.Resume(status)
//       kPause     send output; wait until session.PauseUntil()
//       kClose     send output; close; done

#ifndef ALOS_NET_PROTOCOL_H_
#define ALOS_NET_PROTOCOL_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "alos/net/counters.h"

namespace alos {

// What a session wants next.
enum class SessionStep {
  kReceive,  // everything received has been handled
  kSend,     // much output has gathered: send it before going on
  kWork,     // the next request takes long: call Work where it holds nobody up
  kWait,     // answers wait for a commit: call Wait, then Resume
  kPause,    // the next request has to wait for its turn: until PauseUntil
  kClose,    // nothing more to say
};

// Where a session is, which decides how long its peer may be silent.
enum class SessionPhase {
  kSilent,           // has received nothing yet
  kUnauthenticated,  // is proving who it is
  kIdle,             // between requests
  kReceiving,        // in the middle of a request
};

// Requirements on a session `s`, beyond the syntax:
//
// - Advance(&output): handles what has been received, as far as it goes, appending answers to
//   *output in the order of the requests. Must not block and must not take long: long work is
//   announced with kWork. After kClose nothing is called any more.
// - Prepare() / Commit(size): room for received bytes (never empty), and how many came. Memory
// grows
//   with what was received, never with what a peer announced.
// - Work(&output): called once after kWork, on any thread, with nothing else running on the
// session.
// - Wait(callback): called once after kWait. Arranges for `callback` to be called once, on any
//   thread, possibly before Wait returns; an error means that the outcome of the waiting requests
//   is unknown. Then the server calls Resume(status), and Advance goes on.
// - PauseUntil(): after kPause, until when; std::chrono::steady_clock's. Sessions that never return
//   kPause need not have it.
// - phase(), authenticated(): never change but inside the calls above.
// - refused(): after kClose, whether the peer failed to prove who it is (to slow down guessing).
// - memory_bytes() and Release(): what could be given back when the peer is idle, and giving it
// back.
//   Release is only called while nothing is being received into Prepare's room.
//
// Bytes from a peer are never trusted: no input may crash, hang or exhaust the process.
//
// Threads: a session is used by one thread at a time. Lifetime: ends before its protocol.
template <class S>
concept ProtocolSession =
    requires(S& s, const S& c, std::string* output, std::size_t size, absl::Status status,
             std::function<void(absl::Status)> callback) {
      { s.Advance(output) } -> std::same_as<SessionStep>;
      { s.Prepare() } -> std::same_as<absl::Span<char>>;
      { s.Commit(size) } -> std::same_as<void>;
      { s.Work(output) } -> std::same_as<void>;
      { s.Wait(callback) } -> std::same_as<void>;
      { s.Resume(status) } -> std::same_as<void>;
      { c.phase() } -> std::same_as<SessionPhase>;
      { c.authenticated() } -> std::same_as<bool>;
      { c.refused() } -> std::same_as<bool>;
      { c.memory_bytes() } -> std::same_as<std::size_t>;
      { s.Release() } -> std::same_as<void>;
    };

// Requirements on a protocol `p`: NewSession() makes a session that is destroyed before p. Tick()
// is called about twice a second while there are connections, for what has a time limit; it must be
// quick. requires_authentication() is constant; counters() lives as long as p. Threads: all, any.
template <class P>
concept Protocol = requires(P& p) {
  requires ProtocolSession<typename P::Session>;
  { p.NewSession() } -> std::same_as<std::unique_ptr<typename P::Session>>;
  { p.Tick() } -> std::same_as<void>;
  { p.requires_authentication() } -> std::same_as<bool>;
  { p.counters() } -> std::same_as<NetCounters&>;
};

// Instantiated by the server for its protocol, so that one that does not fit says so in one line.
template <class P>
constexpr bool CheckProtocol() {
  static_assert(Protocol<P>,
                "this type is not an alos protocol: alos/net/protocol.h lists the members that a "
                "protocol plugin and its Session must have");
  return true;
}

}  // namespace alos

#endif  // ALOS_NET_PROTOCOL_H_
