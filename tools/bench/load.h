// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Connections under load: as many requests under way as asked for, all answers checked and timed.

#ifndef ALOS_TOOLS_BENCH_LOAD_H_
#define ALOS_TOOLS_BENCH_LOAD_H_

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/net/credentials.h"
#include "alos/net/frame.h"
#include "alos/net/handshake.h"
#include "alos/net/secure_channel.h"
#include "plugin/ciphers.h"
#include "tools/bench/latencies.h"
#include "tools/bench/workload.h"

namespace alos::bench {

struct Endpoint {
  std::string host = "localhost";
  std::string port = "6900";
  // With a version, every connection makes the handshake with these credentials.
  std::optional<HandshakeVersion> version;
  std::optional<Credentials> credentials;
  std::string cipher = "none";  // for reports
};

// A server that says nothing for this long is given up.
inline constexpr std::chrono::seconds kSilenceMax{30};

// One connection: a socket, its encryption, and the frames on it.
//
// Threads: one at a time. Lifetime: owns the socket. Errors: name the system call.
class Connection {
 public:
  // Connects and, if the endpoint says so, makes the handshake; blocks.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const Endpoint& endpoint);

  ~Connection() { close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int socket() const { return socket_; }

  // Puts a frame with what `append` appends into the output. Returns its bytes on the wire.
  template <class Append>
  std::size_t AddFrame(Append append) {
    const std::size_t start = BeginFrame(channel_, &output_);
    append(&output_);
    EndFrame(channel_, start, &output_);
    return output_.size() - start;
  }

  // Sends as much of the output as the socket takes. Returns whether all of it went out.
  absl::StatusOr<bool> Flush();

  // Receives what is there. kUnavailable if the server closed the connection. Returns whether there
  // was anything; without `wait` it does not block.
  absl::StatusOr<bool> Receive(bool wait);

  // The next whole response, opened; nullopt if there is none yet. Valid until the next call of
  // Receive. `wire_bytes` is what it took on the wire.
  absl::StatusOr<std::optional<std::string_view>> NextResponse(std::size_t* wire_bytes);

  // Sends `message` and waits for its response; blocks.
  absl::StatusOr<std::string> Call(std::string_view message);

 private:
  static constexpr std::size_t kResponseBytesMax = 64 << 20;

  explicit Connection(int socket) : socket_(socket) {}
  absl::Status Handshake(const Endpoint& endpoint);

  int socket_;
  SecureChannel<plugin::Ciphers> channel_;
  FrameReader reader_{kResponseBytesMax};
  std::string output_;
  std::size_t sent_ = 0;  // of output_
};

struct LoadOptions {
  Endpoint endpoint;
  int connections = 50;
  int threads = 1;
  int pipeline = 1;  // requests under way on each connection
  // Makes the workload of a thread.
  std::function<std::unique_ptr<Workload>(int thread)> make_workload;
};

struct LoadResult {
  std::uint64_t requests = 0;
  double seconds = 0;
  std::size_t request_bytes = 0;   // of the last request, on the wire
  std::size_t response_bytes = 0;  // of the last response, on the wire
  Latencies latencies;

  double PerSecond() const { return seconds > 0 ? static_cast<double>(requests) / seconds : 0; }
};

// Sends `warmup_requests`, which are checked but not measured, then `requests`, over connections
// that stay open for both. Ends with the first error of any thread.
//
// Threads: makes its own, ends them. Cost: one system call to send and one to receive per request
// and one to wait per group of ready connections; latencies are from the moment a request was
// handed to the socket to the moment its response was taken from it.
absl::StatusOr<LoadResult> RunLoad(const LoadOptions& options, std::uint64_t warmup_requests,
                                   std::uint64_t requests);

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace bench_internal {

inline absl::Status SystemError(std::string_view call) {
  return absl::UnavailableError(absl::StrCat(call, ": ", std::strerror(errno)));
}

}  // namespace bench_internal

inline absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* addresses = nullptr;
  if (const int error =
          getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &addresses);
      error != 0) {
    return absl::NotFoundError(
        absl::StrCat(endpoint.host, ":", endpoint.port, ": ", gai_strerror(error)));
  }
  const absl::Cleanup free_addresses = [addresses] { freeaddrinfo(addresses); };
  absl::Status last = absl::NotFoundError("no address");
  for (const addrinfo* address = addresses; address != nullptr; address = address->ai_next) {
    const int descriptor =
        ::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (descriptor < 0) {
      last = bench_internal::SystemError("socket");
      continue;
    }
    std::unique_ptr<Connection> connection(new Connection(descriptor));
    if (connect(descriptor, address->ai_addr, address->ai_addrlen) != 0) {
      last = bench_internal::SystemError(
          absl::StrCat("connecting to ", endpoint.host, ":", endpoint.port));
      continue;
    }
    const int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const timeval silence{.tv_sec = kSilenceMax.count(), .tv_usec = 0};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
    ALOS_RETURN_IF_ERROR(connection->Handshake(endpoint));
    return connection;
  }
  return last;
}

inline absl::Status Connection::Handshake(const Endpoint& endpoint) {
  if (!endpoint.version.has_value()) return absl::OkStatus();
  ClientHandshake handshake(*endpoint.version, *endpoint.credentials, NewSalt());
  handshake.Start(&output_);
  ALOS_RETURN_IF_ERROR(Flush().status());
  while (!handshake.done()) {
    ALOS_RETURN_IF_ERROR(Receive(/*wait=*/true).status());
    ALOS_ASSIGN_OR_RETURN(const std::size_t taken, handshake.Consume(reader_.unread(), &output_));
    reader_.Skip(taken);
  }
  ALOS_RETURN_IF_ERROR(Flush().status());
  channel_.Enable(handshake.keys(), SecureChannel<plugin::Ciphers>::Role::kClient);
  return absl::OkStatus();
}

inline absl::StatusOr<bool> Connection::Flush() {
  while (sent_ < output_.size()) {
    const ssize_t size =
        send(socket_, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return false;
      return bench_internal::SystemError("send");
    }
    sent_ += static_cast<std::size_t>(size);
  }
  output_.clear();
  sent_ = 0;
  return true;
}

inline absl::StatusOr<bool> Connection::Receive(bool wait) {
  const absl::Span<char> room = reader_.Prepare();
  for (;;) {
    const ssize_t size = recv(socket_, room.data(), room.size(), wait ? 0 : MSG_DONTWAIT);
    if (size > 0) {
      reader_.Commit(static_cast<std::size_t>(size));
      return true;
    }
    if (size == 0) return absl::UnavailableError("the server closed the connection");
    if (errno == EINTR) continue;
    if (errno == EAGAIN && !wait) return false;
    return bench_internal::SystemError("recv");
  }
}

inline absl::StatusOr<std::optional<std::string_view>> Connection::NextResponse(
    std::size_t* wire_bytes) {
  ALOS_ASSIGN_OR_RETURN(const std::optional<absl::Span<char>> frame, reader_.Next());
  if (!frame.has_value()) return std::nullopt;
  *wire_bytes = frame->size() + kFrameLengthBytes;
  ALOS_ASSIGN_OR_RETURN(const absl::Span<char> plain, channel_.Open(*frame));
  return std::string_view(plain.data(), plain.size());
}

inline absl::StatusOr<std::string> Connection::Call(std::string_view message) {
  AddFrame([message](std::string* out) { out->append(message); });
  ALOS_RETURN_IF_ERROR(Flush().status());
  for (;;) {
    std::size_t wire_bytes = 0;
    ALOS_ASSIGN_OR_RETURN(const std::optional<std::string_view> response,
                          NextResponse(&wire_bytes));
    if (response.has_value()) return std::string(*response);
    ALOS_RETURN_IF_ERROR(Receive(/*wait=*/true).status());
  }
}

namespace bench_internal {

// One thread's connections. Both phases of a run go through the same object.
class LoadThread {
 public:
  LoadThread(Workload* workload, int pipeline) : workload_(workload), pipeline_(pipeline) {}

  ~LoadThread() {
    if (epoll_ >= 0) close(epoll_);
  }
  LoadThread(const LoadThread&) = delete;
  LoadThread& operator=(const LoadThread&) = delete;

  absl::Status Open(const Endpoint& endpoint, int connections) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) return SystemError("epoll_create1");
    for (int i = 0; i < connections; ++i) {
      ALOS_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connection::Open(endpoint));
      slots_.push_back(std::make_unique<Slot>());
      Slot& slot = *slots_.back();
      slot.connection = std::move(connection);
      epoll_event event{.events = EPOLLIN, .data = {.ptr = &slot}};
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, slot.connection->socket(), &event) != 0) {
        return SystemError("epoll_ctl");
      }
    }
    return absl::OkStatus();
  }

  // Sends `requests` and takes their responses.
  absl::Status Run(std::uint64_t requests) {
    to_send_ = requests;
    std::uint64_t received_before = received_;
    for (const std::unique_ptr<Slot>& slot : slots_) ALOS_RETURN_IF_ERROR(Fill(*slot));
    std::array<epoll_event, 256> events;
    while (received_ - received_before < requests) {
      const int ready =
          epoll_wait(epoll_, events.data(), events.size(),
                     static_cast<int>(std::chrono::milliseconds(kSilenceMax).count()));
      if (ready < 0) {
        if (errno == EINTR) continue;
        return SystemError("epoll_wait");
      }
      if (ready == 0) {
        return absl::DeadlineExceededError(
            absl::StrCat("no answer for ", kSilenceMax.count(), " s"));
      }
      for (int i = 0; i < ready; ++i) {
        ALOS_RETURN_IF_ERROR(Serve(*static_cast<Slot*>(events[i].data.ptr), events[i].events));
      }
    }
    return absl::OkStatus();
  }

  LoadResult& result() { return result_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct UnderWay {
    std::uint64_t sequence;
    Clock::time_point sent;
  };
  struct Slot {
    std::unique_ptr<Connection> connection;
    std::deque<UnderWay> under_way;
    bool waits_to_send = false;
  };

  absl::Status Serve(Slot& slot, std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) ALOS_RETURN_IF_ERROR(Flush(slot));
    if ((events & ~std::uint32_t{EPOLLOUT}) == 0) return absl::OkStatus();
    ALOS_RETURN_IF_ERROR(slot.connection->Receive(/*wait=*/false).status());
    const Clock::time_point now = Clock::now();
    for (;;) {
      ALOS_ASSIGN_OR_RETURN(const std::optional<std::string_view> response,
                            slot.connection->NextResponse(&result_.response_bytes));
      if (!response.has_value()) break;
      if (slot.under_way.empty()) return absl::InternalError("a response to no request");
      const UnderWay request = slot.under_way.front();
      slot.under_way.pop_front();
      ALOS_RETURN_IF_ERROR(workload_->Check(request.sequence, *response));
      result_.latencies.Add(static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(now - request.sent).count()));
      ++received_;
    }
    return Fill(slot);
  }

  // Tops the connection's pipeline up.
  absl::Status Fill(Slot& slot) {
    const std::size_t depth = static_cast<std::size_t>(pipeline_);
    if (to_send_ == 0 || slot.under_way.size() >= depth) return absl::OkStatus();
    const Clock::time_point now = Clock::now();
    while (to_send_ > 0 && slot.under_way.size() < depth) {
      result_.request_bytes = slot.connection->AddFrame(
          [this](std::string* out) { workload_->AppendMessage(next_sequence_, out); });
      slot.under_way.push_back({next_sequence_++, now});
      --to_send_;
    }
    return Flush(slot);
  }

  absl::Status Flush(Slot& slot) {
    ALOS_ASSIGN_OR_RETURN(const bool all, slot.connection->Flush());
    if (all == !slot.waits_to_send) return absl::OkStatus();
    slot.waits_to_send = !all;
    epoll_event event{.events = EPOLLIN | (all ? 0U : EPOLLOUT), .data = {.ptr = &slot}};
    if (epoll_ctl(epoll_, EPOLL_CTL_MOD, slot.connection->socket(), &event) != 0) {
      return SystemError("epoll_ctl");
    }
    return absl::OkStatus();
  }

  Workload* const workload_;
  const int pipeline_;
  int epoll_ = -1;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::uint64_t to_send_ = 0;
  std::uint64_t next_sequence_ = 0;
  std::uint64_t received_ = 0;
  LoadResult result_;
};

}  // namespace bench_internal

inline absl::StatusOr<LoadResult> RunLoad(const LoadOptions& options, std::uint64_t warmup_requests,
                                          std::uint64_t requests) {
  const int threads = std::clamp(options.threads, 1, options.connections);
  std::vector<std::unique_ptr<Workload>> workloads;
  std::vector<std::unique_ptr<bench_internal::LoadThread>> loads;
  const auto share = [threads](std::uint64_t total, int thread) {
    return total / threads + (static_cast<std::uint64_t>(thread) < total % threads ? 1 : 0);
  };
  for (int i = 0; i < threads; ++i) {
    workloads.push_back(options.make_workload(i));
    loads.push_back(
        std::make_unique<bench_internal::LoadThread>(workloads.back().get(), options.pipeline));
    ALOS_RETURN_IF_ERROR(
        loads.back()->Open(options.endpoint, static_cast<int>(share(options.connections, i))));
  }
  LoadResult total;
  for (const std::uint64_t phase_requests : {warmup_requests, requests}) {
    std::vector<absl::Status> statuses(threads);
    std::vector<std::thread> running;
    running.reserve(static_cast<std::size_t>(threads));
    for (std::unique_ptr<bench_internal::LoadThread>& load : loads) {
      load->result().latencies = Latencies();
    }
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&, i] { statuses[i] = loads[i]->Run(share(phase_requests, i)); });
    }
    for (std::thread& thread : running) thread.join();
    total.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const absl::Status& status : statuses) ALOS_RETURN_IF_ERROR(status);
  }
  total.requests = requests;
  for (std::unique_ptr<bench_internal::LoadThread>& load : loads) {
    total.latencies.Merge(load->result().latencies);
    total.request_bytes = load->result().request_bytes;
    total.response_bytes = load->result().response_bytes;
  }
  return total;
}

}  // namespace alos::bench

#endif  // ALOS_TOOLS_BENCH_LOAD_H_
