// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// One blocking connection to a server: connect, handshake, send frames, receive frames. Most users
// want alos/net/client.h, which pools these.

#ifndef ALOS_NET_CLIENT_CONNECTION_H_
#define ALOS_NET_CLIENT_CONNECTION_H_

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/net/credentials.h"
#include "alos/net/frame.h"
#include "alos/net/handshake.h"
#include "alos/net/message.h"
#include "alos/net/secure_channel.h"

namespace alos {

struct ConnectionOptions {
  std::string host = "localhost";
  std::uint16_t port = 6900;
  // With credentials the connection is encrypted.
  std::optional<Credentials> credentials = {};
  // Which handshake to ask for: a version of one of the build's ciphers.
  std::uint8_t handshake_version = 0x02;
  std::size_t response_bytes_max = std::size_t{64} << 20;
};

// Threads: one at a time. Lifetime: payloads returned by Receive are valid until the next call.
// Durability: none.
// Errors: kUnavailable (refused, lost), kDeadlineExceeded, kPermissionDenied (wrong password),
//   kInvalidArgument (no such host, no such handshake version), kDataLoss (what came is no frame).
//   After an error of Send or Receive the connection is of no use any more.
// Cost: one system call for each Send, as few as possible for each Receive.
template <class Ciphers>
class ClientConnection {
 public:
  static absl::StatusOr<std::unique_ptr<ClientConnection>> Open(const ConnectionOptions& options,
                                                                absl::Time deadline);
  ~ClientConnection() { ::close(socket_); }
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  // Adds a request to what Flush will send.
  void Queue(const RequestHeader& header, ValueView args) {
    const std::size_t start = BeginFrame(channel_, &output_);
    AppendRequest(header, args, &output_);
    EndFrame(channel_, start, &output_);
  }
  // Sends everything queued.
  absl::Status Flush(absl::Time deadline);

  // The payload of the next frame.
  absl::StatusOr<std::string_view> Receive(absl::Time deadline);

  // Whether bytes of the current Flush, or of an earlier one, may have reached the server.
  bool sent_anything() const { return sent_anything_; }
  void ResetSentAnything() { sent_anything_ = false; }

  // False if the server has closed the connection or sent something nobody asked for. Of the two
  // ways of being wrong only one is possible: true may already be outdated.
  bool LooksAlive() const {
    char byte;
    const ssize_t got = ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  int file_descriptor() const { return socket_; }

 private:
  ClientConnection(int socket, std::size_t response_bytes_max)
      : socket_(socket), reader_(response_bytes_max) {}

  static absl::StatusOr<int> Dial(const ConnectionOptions& options, absl::Time deadline);
  static absl::Status WaitFor(int socket, short events, absl::Time deadline, std::string_view what);
  absl::Status Shake(const ConnectionOptions& options, absl::Time deadline);
  absl::Status SendAll(std::string_view bytes, absl::Time deadline);
  absl::Status ReceiveSome(absl::Time deadline);

  const int socket_;
  SecureChannel<Ciphers> channel_;
  FrameReader reader_;
  std::string output_;
  bool sent_anything_ = false;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

template <class Ciphers>
absl::StatusOr<std::unique_ptr<ClientConnection<Ciphers>>> ClientConnection<Ciphers>::Open(
    const ConnectionOptions& options, absl::Time deadline) {
  ALOS_ASSIGN_OR_RETURN(const int socket, Dial(options, deadline));
  std::unique_ptr<ClientConnection> connection(
      new ClientConnection(socket, options.response_bytes_max));
  if (options.credentials.has_value()) {
    ALOS_RETURN_IF_ERROR(connection->Shake(options, deadline));
  }
  return connection;
}

template <class Ciphers>
absl::StatusOr<int> ClientConnection<Ciphers>::Dial(const ConnectionOptions& options,
                                                    absl::Time deadline) {
  const std::string where = absl::StrCat(options.host, ":", options.port);
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* addresses = nullptr;
  const int code =
      ::getaddrinfo(options.host.c_str(), absl::StrCat(options.port).c_str(), &hints, &addresses);
  if (code != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": cannot find the host: ", ::gai_strerror(code)));
  }
  absl::Status status = absl::UnavailableError(absl::StrCat(where, ": no address"));
  int connected = -1;
  for (const addrinfo* address = addresses; address != nullptr; address = address->ai_next) {
    const int fd =
        ::socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      status = absl::UnavailableError(
          absl::StrCat(where, ": cannot make a socket: ", std::strerror(errno)));
      continue;
    }
    int error = ::connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      const absl::Status waited = WaitFor(fd, POLLOUT, deadline, "connecting");
      socklen_t error_bytes = sizeof(error);
      if (!waited.ok()) {
        ::close(fd);
        status = waited;
        continue;
      }
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
    }
    if (error == 0) {
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      connected = fd;
      break;
    }
    ::close(fd);
    status = absl::UnavailableError(
        absl::StrCat(where, ": cannot connect: ", std::strerror(error),
                     error == ECONNREFUSED ? " (is the server running?)" : ""));
  }
  ::freeaddrinfo(addresses);
  if (connected < 0) return status;
  return connected;
}

template <class Ciphers>
absl::Status ClientConnection<Ciphers>::WaitFor(int socket, short events, absl::Time deadline,
                                                std::string_view what) {
  for (;;) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(absl::StrCat("timed out while ", what));
    }
    pollfd poll_entry = {socket, events, 0};
    // Rounded up, or the last millisecond would be a busy loop.
    const int timeout_ms = static_cast<int>(
        std::min<std::int64_t>(absl::ToInt64Milliseconds(left) + 1, 1'000'000'000));
    const int ready = ::poll(&poll_entry, 1, timeout_ms);
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) {
      return absl::InternalError(absl::StrCat("poll: ", std::strerror(errno)));
    }
  }
}

template <class Ciphers>
absl::Status ClientConnection<Ciphers>::Shake(const ConnectionOptions& options,
                                              absl::Time deadline) {
  const HandshakeVersion* version = nullptr;
  for (const HandshakeVersion& offered : SecureChannel<Ciphers>::versions()) {
    if (offered.version == options.handshake_version) version = &offered;
  }
  if (version == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("handshake version ", options.handshake_version,
                                                   ": no cipher of this build has it"));
  }
  ClientHandshake handshake(*version, *options.credentials, NewSalt());
  std::string output;
  handshake.Start(&output);
  ALOS_RETURN_IF_ERROR(SendAll(output, deadline));
  output.clear();
  while (!handshake.done()) {
    ALOS_ASSIGN_OR_RETURN(const std::size_t taken, handshake.Consume(reader_.unread(), &output));
    reader_.Skip(taken);
    if (handshake.done()) break;
    if (absl::Status status = ReceiveSome(deadline); !status.ok()) {
      if (status.code() != absl::StatusCode::kUnavailable) return status;
      return absl::UnavailableError(
          absl::StrCat("handshake: the server closed the connection: it has no credentials "
                       "configured, does not serve handshake version ",
                       options.handshake_version, ", or has too many connections"));
    }
  }
  ALOS_RETURN_IF_ERROR(SendAll(output, deadline));
  channel_.Enable(handshake.keys(), SecureChannel<Ciphers>::Role::kClient);
  return absl::OkStatus();
}

template <class Ciphers>
absl::Status ClientConnection<Ciphers>::Flush(absl::Time deadline) {
  const absl::Status status = SendAll(output_, deadline);
  output_.clear();
  if (output_.capacity() > (std::size_t{1} << 20)) output_.shrink_to_fit();
  return status;
}

template <class Ciphers>
absl::Status ClientConnection<Ciphers>::SendAll(std::string_view bytes, absl::Time deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      sent_anything_ = true;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      ALOS_RETURN_IF_ERROR(WaitFor(socket_, POLLOUT, deadline, "sending"));
    } else if (errno != EINTR) {
      return absl::UnavailableError(
          absl::StrCat("the connection was lost while sending: ", std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

template <class Ciphers>
absl::Status ClientConnection<Ciphers>::ReceiveSome(absl::Time deadline) {
  const absl::Span<char> room = reader_.Prepare();
  for (;;) {
    const ssize_t got = ::recv(socket_, room.data(), room.size(), 0);
    if (got > 0) {
      reader_.Commit(static_cast<std::size_t>(got));
      return absl::OkStatus();
    }
    if (got == 0) return absl::UnavailableError("the server closed the connection");
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      ALOS_RETURN_IF_ERROR(WaitFor(socket_, POLLIN, deadline, "waiting for the server's answer"));
    } else if (errno != EINTR) {
      return absl::UnavailableError(
          absl::StrCat("the connection was lost while receiving: ", std::strerror(errno)));
    }
  }
}

template <class Ciphers>
absl::StatusOr<std::string_view> ClientConnection<Ciphers>::Receive(absl::Time deadline) {
  for (;;) {
    ALOS_ASSIGN_OR_RETURN(const std::optional<absl::Span<char>> frame, reader_.Next());
    if (frame.has_value()) {
      ALOS_ASSIGN_OR_RETURN(const absl::Span<char> payload, channel_.Open(*frame));
      return std::string_view(payload.data(), payload.size());
    }
    ALOS_RETURN_IF_ERROR(ReceiveSome(deadline));
  }
}

}  // namespace alos

#endif  // ALOS_NET_CLIENT_CONNECTION_H_
