// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The server loop: listens, reads, writes, limits. What the bytes mean is the protocol's business
// (alos/net/protocol.h).
//
// One thread and one io_context for each core; a connection belongs to one of them for its life and
// is one coroutine there. Long requests go to a pool of workers, so that they hold up their own
// connection only.

#ifndef ALOS_NET_SERVER_H_
#define ALOS_NET_SERVER_H_

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/log.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/status_macros.h"
#include "alos/net/counters.h"
#include "alos/net/protocol.h"
#include "boost/asio/buffer.hpp"
#include "boost/asio/executor_work_guard.hpp"
#include "boost/asio/io_context.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/ip/v6_only.hpp"
#include "boost/asio/post.hpp"
#include "boost/asio/steady_timer.hpp"
#include "boost/asio/thread_pool.hpp"

namespace alos {

struct ServerOptions {
  // A name or address. "localhost" is both loopback addresses.
  std::string host = "localhost";
  std::uint16_t port = 6900;  // 0: any free one
  int threads = 0;            // 0: one for each core
  int workers = 0;            // for long requests; 0: one for each core, at least two

  std::size_t connections_max = 10'000;
  std::size_t connections_unauthenticated_max = 1'024;
  std::size_t connections_per_address_max = 256;
  // Whether the two limits by address (connections, failed logins) hold for this machine itself,
  // too.
  bool limit_loopback = false;

  absl::Duration handshake_timeout = absl::Seconds(5);  // from its first byte to its end
  absl::Duration stall_timeout = absl::Seconds(10);     // a peer silent within a request
  absl::Duration idle_timeout = absl::Minutes(10);      // a peer silent between requests
  absl::Duration send_timeout = absl::Seconds(30);      // a peer that reads nothing of its answer
  std::size_t unsent_bytes_max = std::size_t{64} << 20;
  // What requests that are being received and answers that are not sent yet may take, of all
  // connections, beyond 64 KiB each way of each. When it is used up, connections with large ones
  // are not read from until there is room; but one goes on, so that there will be. Exceeded by what
  // that one and the requests under way take.
  std::size_t buffer_bytes_max = std::size_t{512} << 20;
  absl::Duration stop_timeout = absl::Seconds(10);  // for requests under way at Stop

  // After this many failed logins from one address, its next connections are served one a second,
  // then one every two seconds, up to a minute, until one succeeds.
  int logins_failed_max = 5;
};

// Threads: the server makes its own; members may be called from any thread.
// Lifetime: the protocol must outlive it. The destructor stops it.
// Durability: the protocol's.
// Errors: Start only, naming the address: kInvalidArgument, kUnavailable (in use),
// kPermissionDenied.
//   A peer's misbehaviour is logged, counted, and costs its connection only.
// Cost: an idle connection takes about 3 KiB. In the steady state no request allocates here.
//
//   absl::StatusOr<std::unique_ptr<Server<P>>> server = Server<P>::Start(options, &protocol);
//   if (!server.ok()) return server.status();
//   WaitForSignal();
//   (*server)->Stop();
template <class P>
class Server {
  static_assert(CheckProtocol<P>());

 public:
  // Binds, then serves. Without authentication only loopback addresses may be bound. Raises the
  // process's limit of open files as far as it may, since connections need descriptors.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options, P* protocol);

  ~Server() { Stop(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts nothing more, finishes the requests under way, sends their answers, closes everything.
  // Returns when that is done. A second call does nothing.
  void Stop();

  std::uint16_t port() const { return port_; }
  // "127.0.0.1:6900", "[::1]:6900"
  const std::vector<std::string>& addresses() const { return addresses_; }
  std::size_t connections() const { return connections_.load(std::memory_order_relaxed); }

 private:
  class Connection;
  struct Loop;
  struct Detached;
  using Clock = std::chrono::steady_clock;
  using Tcp = boost::asio::ip::tcp;
  using Executor = boost::asio::io_context::executor_type;
  using Socket = boost::asio::basic_stream_socket<Tcp, Executor>;
  using Acceptor = boost::asio::basic_socket_acceptor<Tcp, Executor>;
  using ErrorCode = boost::system::error_code;
  using AddressBytes = std::string;
  static constexpr std::size_t kAddressesMax = 65'536;

  // What is remembered of one address.
  struct AddressState {
    std::size_t connections = 0;
    int logins_failed = 0;
    Clock::time_point next_login{};
  };

  Server(ServerOptions options, P* protocol) : options_(std::move(options)), protocol_(protocol) {}

  absl::Status Bind();
  absl::Status BindOne(const Tcp::endpoint& endpoint);
  void Accept(Acceptor* acceptor);
  void Admit(Loop& loop, Socket socket);
  static Detached Serve(std::unique_ptr<Connection> connection);
  void Sweep(Loop& loop);
  void Leave(Connection& connection);
  void NoteAuthenticated(Connection& connection);
  // Whether a connection may take (more) memory for a large request or answer.
  bool MayBuffer(Connection& connection);
  // When the connection may be served; records its outcome when it ends.
  Clock::time_point NextLogin(const AddressBytes& address);
  void NoteLogin(const AddressBytes& address, bool failed);

  const ServerOptions options_;
  P* const protocol_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::unique_ptr<boost::asio::thread_pool> workers_;
  std::list<Acceptor> acceptors_;  // used on loop 0
  std::size_t next_loop_ = 0;      // used on loop 0
  std::uint16_t port_ = 0;
  std::vector<std::string> addresses_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> connections_{0};
  std::atomic<std::size_t> unauthenticated_{0};
  // The one that goes on although buffers are full, until it has none.
  std::atomic<Connection*> beyond_buffers_{nullptr};
  absl::Mutex stop_mutex_;
  bool stopped_ ABSL_GUARDED_BY(stop_mutex_) = false;
  absl::Mutex addresses_mutex_;
  absl::flat_hash_map<AddressBytes, AddressState> address_states_ ABSL_GUARDED_BY(addresses_mutex_);
};

// --- Readers of the API may stop here. ----------------------------------------------------------

// A coroutine nobody waits for: it begins at once and frees itself at its end.
template <class P>
struct Server<P>::Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    // Out of memory: this connection ends, and what it holds is freed. Nothing else throws.
    void unhandled_exception() {
      try {
        throw;
      } catch (const std::bad_alloc&) {
      } catch (...) {
        std::terminate();
      }
    }
  };
};

template <class P>
struct Server<P>::Loop {
  explicit Loop(Server* owner)
      : server(owner), context(1), guard(context.get_executor()), timer(context) {}

  Server* const server;
  boost::asio::io_context context;
  boost::asio::executor_work_guard<Executor> guard;
  boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, Executor> timer;
  std::thread thread;
  // The rest is used on `thread` only.
  std::list<Connection*> connections;
  bool sweeping = false;
  Clock::time_point stop_deadline{};
};

// The state of one connection; lives in its coroutine.
template <class P>
class Server<P>::Connection {
 public:
  // kPaused: it is we who let a request wait.
  enum class State { kDelayed, kReceiving, kSending, kBusy, kPaused, kClosing };

  Connection(Loop* loop, Socket accepted, AddressBytes peer_address)
      : loop_(loop),
        socket_(std::move(accepted)),
        timer_(loop->context),
        address_(std::move(peer_address)),
        session_(loop->server->protocol_->NewSession()),
        last_progress_(Clock::now()),
        first_byte_(last_progress_) {}

  // Suspends until bytes came (or not: see error()).
  auto Receive() {
    struct Awaiter {
      Connection& c;
      bool await_ready() { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        const absl::Span<char> room = c.session_->Prepare();
        c.socket_.async_read_some(boost::asio::buffer(room.data(), room.size()),
                                  [this, handle](const ErrorCode& error, std::size_t size) {
                                    c.error_ = error;
                                    c.transferred_ = size;
                                    handle.resume();
                                  });
      }
      std::size_t await_resume() { return c.transferred_; }
    };
    return Awaiter{*this};
  }

  // Suspends until some of `bytes` was sent.
  auto SendSome(std::string_view bytes) {
    struct Awaiter {
      Connection& c;
      std::string_view bytes;
      bool await_ready() { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        c.socket_.async_write_some(boost::asio::buffer(bytes.data(), bytes.size()),
                                   [this, handle](const ErrorCode& error, std::size_t size) {
                                     c.error_ = error;
                                     c.transferred_ = size;
                                     handle.resume();
                                   });
      }
      std::size_t await_resume() { return c.transferred_; }
    };
    return Awaiter{*this, bytes};
  }

  // Runs the session's work on a worker and comes back to this connection's thread. has_to_wait_:
  // it was not run, because there is no room for large answers.
  auto Work() {
    struct Awaiter {
      Connection& c;
      bool await_ready() { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        c.loop_->server->protocol_->counters().work().Add(1);
        boost::asio::post(*c.loop_->server->workers_, [this, handle] {
          // Asked here, where no more can be under way than there are workers.
          c.has_to_wait_ = !c.loop_->server->MayBuffer(c);
          try {
            if (!c.has_to_wait_) c.session_->Work(&c.output_);
          } catch (const std::bad_alloc&) {
            c.is_broken_ = true;
          }
          // Counted at once, for the next one.
          c.NoteBuffers();
          c.loop_->server->protocol_->counters().work().Remove(1);
          boost::asio::post(c.loop_->context, [handle] { handle.resume(); });
        });
      }
      void await_resume() {}
    };
    return Awaiter{*this};
  }

  // Suspends until the session's answers may be sent.
  auto Visible() {
    struct Awaiter {
      Connection& c;
      absl::Status status;
      bool await_ready() { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        c.session_->Wait([this, handle](absl::Status result) {
          // Always through the loop: the callback may come on any thread, also within Wait.
          boost::asio::post(c.loop_->context, [this, handle, result = std::move(result)]() mutable {
            status = std::move(result);
            handle.resume();
          });
        });
      }
      absl::Status await_resume() { return std::move(status); }
    };
    return Awaiter{*this, absl::OkStatus()};
  }

  // Lets the peer wait; what it sends meanwhile stays with it.
  auto Pause(Clock::duration duration) {
    state_ = State::kPaused;
    return Delay(Clock::now() + duration);
  }

  auto Delay(Clock::time_point until) {
    struct Awaiter {
      Connection& c;
      Clock::time_point until;
      bool await_ready() { return until <= Clock::now(); }
      void await_suspend(std::coroutine_handle<> handle) {
        c.timer_.expires_at(until);
        c.timer_.async_wait([handle](const ErrorCode&) { handle.resume(); });
      }
      void await_resume() {}
    };
    return Awaiter{*this, until};
  }

  // Sends from the front of what is left to send, as much as goes at once. False: the peer is gone.
  bool SendNow() {
    while (sent_bytes_ < output_.size()) {
      const ssize_t size = ::send(socket_.native_handle(), output_.data() + sent_bytes_,
                                  output_.size() - sent_bytes_, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (size < 0) {
        if (errno == EINTR) continue;
        return errno == EAGAIN || errno == EWOULDBLOCK;
      }
      NoteSent(static_cast<std::size_t>(size));
    }
    return true;
  }
  void NoteSent(std::size_t size) {
    sent_bytes_ += size;
    loop_->server->protocol_->counters().Add(NetCounter::kBytesSent, size);
  }
  bool all_sent() const { return sent_bytes_ == output_.size(); }
  void ClearOutput() {
    sent_bytes_ = 0;
    if (output_.capacity() > kOutputKeepBytes) {
      std::string().swap(output_);  // an assignment would keep the memory
    } else {
      output_.clear();
    }
  }

  // Counts what it has in its buffers beyond what everybody may have.
  void NoteBuffers() {
    const auto beyond = [](std::size_t bytes) {
      return bytes > kOutputKeepBytes ? bytes - kOutputKeepBytes : 0;
    };
    const std::size_t bytes = beyond(output_.capacity()) + beyond(session_->memory_bytes());
    if (bytes == buffer_bytes_) [[likely]]
      return;
    QueueGauge& buffers = loop_->server->protocol_->counters().buffers();
    if (bytes > buffer_bytes_) buffers.Add(bytes - buffer_bytes_);
    if (bytes < buffer_bytes_) buffers.Remove(buffer_bytes_ - bytes);
    buffer_bytes_ = bytes;
    is_large_ = is_large_ || bytes != 0;
    if (bytes == 0 && goes_beyond_) {
      goes_beyond_ = false;
      loop_->server->beyond_buffers_.store(nullptr, std::memory_order_relaxed);
    }
  }

  // Ends whatever the connection is waiting for.
  void Close() {
    ErrorCode ignored;
    timer_.cancel();
    socket_.close(ignored);
  }

  static constexpr std::size_t kOutputKeepBytes = 64 * 1024;

  Loop* const loop_;
  Socket socket_;
  boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, Executor> timer_;
  const AddressBytes address_;
  std::unique_ptr<typename P::Session> session_;
  typename std::list<Connection*>::iterator place_;
  State state_ = State::kDelayed;
  bool counted_unauthenticated_ = false;
  bool releasing_ = false;  // the receive was cancelled to give memory back
  bool is_broken_ = false;  // a worker ran out of memory in the middle of an answer
  bool has_to_wait_ = false;
  bool is_large_ = false;     // its request or its last answers take more than everybody may have
  bool goes_beyond_ = false;  // it is server->beyond_buffers_
  std::size_t buffer_bytes_ = 0;  // as counted
  Clock::time_point last_progress_;
  Clock::time_point first_byte_;
  std::string output_;
  std::size_t sent_bytes_ = 0;
  // The outcome of the last operation of the socket.
  ErrorCode error_;
  std::size_t transferred_ = 0;
};

template <class P>
typename Server<P>::Detached Server<P>::Serve(std::unique_ptr<Connection> connection) {
  using State = typename Connection::State;
  Connection& c = *connection;
  Server& server = *c.loop_->server;
  NetCounters& counters = server.protocol_->counters();
  co_await c.Delay(server.NextLogin(c.address_));
  bool open = c.socket_.is_open();
  bool in_order = false;  // the session ended the connection, not the peer
  constexpr std::chrono::milliseconds kPatienceMax(20);
  std::chrono::milliseconds patience(1);
  while (open) {
    // Small requests with small answers go on when others have filled the buffers. What has been
    // answered is to be sent.
    if (c.is_large_ && c.output_.empty() && !server.MayBuffer(c)) {
      co_await c.Pause(patience);
      patience = std::min(patience * 2, kPatienceMax);
      open = c.socket_.is_open();
      continue;
    }
    patience = std::chrono::milliseconds(1);
    const SessionStep step = c.session_->Advance(&c.output_);
    c.NoteBuffers();
    // Whatever is to be done next, what has been answered goes out first.
    if (!c.output_.empty()) {
      if (c.output_.size() > server.options_.unsent_bytes_max) {
        ALOS_LOG(kWarning) << "closing a connection with " << c.output_.size()
                           << " bytes of unsent answers; the limit is "
                           << server.options_.unsent_bytes_max;
        break;
      }
      c.is_large_ = c.output_.size() > Connection::kOutputKeepBytes;
      open = c.SendNow();
      while (open && !c.all_sent()) {
        c.state_ = State::kSending;
        c.last_progress_ = Clock::now();
        const std::size_t size =
            co_await c.SendSome(std::string_view(c.output_).substr(c.sent_bytes_));
        c.NoteSent(size);
        open = !c.error_;
      }
      if (!open) break;
      c.ClearOutput();
      c.NoteBuffers();
    }
    if (c.counted_unauthenticated_ && c.session_->authenticated()) server.NoteAuthenticated(c);
    if (step == SessionStep::kReceive) {
      if (server.stopping_.load(std::memory_order_relaxed)) break;
      c.state_ = State::kReceiving;
      const std::size_t size = co_await c.Receive();
      if (c.error_) {
        if (!c.releasing_ || c.error_ != boost::asio::error::operation_aborted) break;
        c.releasing_ = false;
        c.session_->Release();
        std::string().swap(c.output_);
        c.is_large_ = false;
        c.NoteBuffers();
        continue;
      }
      c.releasing_ = false;
      c.last_progress_ = Clock::now();
      if (c.session_->phase() == SessionPhase::kSilent) c.first_byte_ = c.last_progress_;
      c.session_->Commit(size);
      c.NoteBuffers();
      counters.Add(NetCounter::kBytesReceived, size);
    } else if (step == SessionStep::kWork) {
      c.state_ = State::kBusy;
      co_await c.Work();
      while (c.has_to_wait_ && open) {
        co_await c.Pause(patience);
        patience = std::min(patience * 2, kPatienceMax);
        open = c.socket_.is_open();
        c.state_ = State::kBusy;
        if (open) co_await c.Work();
      }
      if (!open) break;
      if (c.is_broken_) break;
    } else if (step == SessionStep::kPause) {
      if constexpr (requires { c.session_->PauseUntil(); }) {
        c.state_ = State::kPaused;
        co_await c.Delay(c.session_->PauseUntil());
        open = c.socket_.is_open();
      }
    } else if (step == SessionStep::kWait) {
      c.state_ = State::kBusy;
      c.session_->Resume(co_await c.Visible());
    } else if (step == SessionStep::kClose) {
      in_order = true;
      break;
    }
  }
  if (in_order && open) {
    // Closing with bytes unread would reset the connection, and the peer might never see the last
    // answer. So say that nothing more comes, and read what is left for a moment.
    c.state_ = State::kClosing;
    c.last_progress_ = Clock::now();
    ErrorCode ignored;
    c.socket_.shutdown(Tcp::socket::shutdown_send, ignored);
    constexpr std::size_t kLingerBytesMax = std::size_t{1} << 20;
    for (std::size_t lingered = 0; lingered < kLingerBytesMax;) {
      c.session_->Release();
      const std::size_t size = co_await c.Receive();
      if (c.error_) break;
      lingered += size;
    }
  }
  server.Leave(c);
}

template <class P>
bool Server<P>::MayBuffer(Connection& c) {
  const QueueGauge& buffers = protocol_->counters().buffers();
  // Whoever had no large answer lately is let through while a fifth more than all is taken: one
  // that reads nothing must not keep others from asking.
  const std::size_t max = options_.buffer_bytes_max;
  if (buffers.depth() < (c.is_large_ ? max : max + max / 5) || c.goes_beyond_) return true;
  Connection* none = nullptr;
  // Only one that has something to give back can be waited for.
  if (c.buffer_bytes_ == 0 ||
      !beyond_buffers_.compare_exchange_strong(none, &c, std::memory_order_relaxed)) {
    return false;
  }
  c.goes_beyond_ = true;
  return true;
}

template <class P>
void Server<P>::Leave(Connection& c) {
  c.Close();
  protocol_->counters().buffers().Remove(c.buffer_bytes_);
  if (c.goes_beyond_) beyond_buffers_.store(nullptr, std::memory_order_relaxed);
  protocol_->counters().connections().Remove(1);
  c.loop_->connections.erase(c.place_);
  connections_.fetch_sub(1, std::memory_order_relaxed);
  protocol_->counters().Add(NetCounter::kConnectionsClosed);
  if (c.counted_unauthenticated_) unauthenticated_.fetch_sub(1, std::memory_order_relaxed);
  if (c.session_->refused()) NoteLogin(c.address_, true);
  absl::MutexLock lock(&addresses_mutex_);
  const auto found = address_states_.find(c.address_);
  if (found != address_states_.end() && --found->second.connections == 0 &&
      found->second.logins_failed == 0) {
    address_states_.erase(found);
  }
}

template <class P>
void Server<P>::NoteAuthenticated(Connection& c) {
  c.counted_unauthenticated_ = false;
  unauthenticated_.fetch_sub(1, std::memory_order_relaxed);
  NoteLogin(c.address_, false);
}

template <class P>
typename Server<P>::Clock::time_point Server<P>::NextLogin(const AddressBytes& address) {
  if (!protocol_->requires_authentication()) return {};
  absl::MutexLock lock(&addresses_mutex_);
  const auto found = address_states_.find(address);
  if (found == address_states_.end() || found->second.logins_failed < options_.logins_failed_max) {
    return {};
  }
  // Connections of this address take turns: each pushes the next one back.
  AddressState& state = found->second;
  const Clock::time_point start = std::max(Clock::now(), state.next_login);
  const int excess = std::min(state.logins_failed - options_.logins_failed_max, 6);
  state.next_login = start + std::min(std::chrono::seconds(1 << excess), std::chrono::seconds(60));
  return start;
}

template <class P>
void Server<P>::NoteLogin(const AddressBytes& address, bool failed) {
  protocol_->counters().Add(failed ? NetCounter::kHandshakesFailed : NetCounter::kHandshakes);
  absl::MutexLock lock(&addresses_mutex_);
  const auto found = address_states_.find(address);
  if (found == address_states_.end()) return;
  if (!failed) {
    found->second.logins_failed = 0;
    return;
  }
  ++found->second.logins_failed;
  if (found->second.logins_failed == options_.logins_failed_max) {
    ALOS_LOG(kWarning) << options_.logins_failed_max
                       << " failed logins from one address: its next ones are slowed down";
  }
}

template <class P>
absl::StatusOr<std::unique_ptr<Server<P>>> Server<P>::Start(ServerOptions options, P* protocol) {
  rlimit files;
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (options.threads <= 0) options.threads = cores;
  if (options.workers <= 0) options.workers = std::max(2, cores);
  protocol->counters().work().SetBound(options.connections_max);
  protocol->counters().connections().SetBound(options.connections_max);
  protocol->counters().buffers().SetBound(std::max<std::size_t>(options.buffer_bytes_max, 1));
  std::unique_ptr<Server> server(new Server(std::move(options), protocol));
  for (int i = 0; i < server->options_.threads; ++i) {
    server->loops_.push_back(std::make_unique<Loop>(server.get()));
  }
  ALOS_RETURN_IF_ERROR(server->Bind());
  server->workers_ = std::make_unique<boost::asio::thread_pool>(
      static_cast<std::size_t>(server->options_.workers));
  for (Acceptor& acceptor : server->acceptors_) server->Accept(&acceptor);
  for (const std::unique_ptr<Loop>& loop : server->loops_) {
    loop->thread = std::thread([raw = loop.get()] { raw->context.run(); });
  }
  return server;
}

template <class P>
absl::Status Server<P>::Bind() {
  std::vector<boost::asio::ip::address> addresses;
  ErrorCode error;
  if (options_.host == "localhost") {
    addresses = {boost::asio::ip::address_v4::loopback(), boost::asio::ip::address_v6::loopback()};
  } else if (const auto address = boost::asio::ip::make_address(options_.host, error); !error) {
    addresses = {address};
  } else {
    Tcp::resolver resolver(loops_[0]->context);
    for (const auto& entry : resolver.resolve(options_.host, "0", Tcp::resolver::passive, error)) {
      addresses.push_back(entry.endpoint().address());
    }
    if (error || addresses.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("cannot listen on '", options_.host,
                                                     "': no such host (", error.message(), ")"));
    }
  }
  if (!protocol_->requires_authentication()) {
    for (const boost::asio::ip::address& address : addresses) {
      if (!address.is_loopback()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "refusing to listen on ", address.to_string(),
            " without credentials: everybody who can reach this machine could read and change "
            "everything. Set --username and --password (or --password-file), or listen on "
            "localhost"));
      }
    }
  }
  // With port 0 the first address picks one that may be taken on the second: then pick again.
  constexpr int kAttempts = 20;
  absl::Status error_of_one;
  for (int attempt = 0; attempt < (options_.port == 0 ? kAttempts : 1); ++attempt) {
    acceptors_.clear();
    addresses_.clear();
    error_of_one = absl::OkStatus();
    port_ = options_.port;
    for (const boost::asio::ip::address& address : addresses) {
      error_of_one.Update(BindOne(Tcp::endpoint(address, port_)));
    }
    if (error_of_one.code() != absl::StatusCode::kAlreadyExists) break;
  }
  // A family may be missing on this machine; a port that somebody else has on it is another matter.
  if (acceptors_.empty() || error_of_one.code() == absl::StatusCode::kAlreadyExists) {
    return error_of_one;
  }
  if (!error_of_one.ok()) ALOS_LOG(kWarning) << error_of_one.message();
  return absl::OkStatus();
}

template <class P>
absl::Status Server<P>::BindOne(const Tcp::endpoint& endpoint) {
  Acceptor acceptor(loops_[0]->context);
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Acceptor::reuse_address(true), error);
  if (!error && endpoint.address().is_v6()) {
    acceptor.set_option(boost::asio::ip::v6_only(true), error);
  }
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  const std::string where =
      endpoint.address().is_v6()
          ? absl::StrCat("[", endpoint.address().to_string(), "]:", endpoint.port())
          : absl::StrCat(endpoint.address().to_string(), ":", endpoint.port());
  if (error) {
    const std::string message = absl::StrCat("cannot listen on ", where, ": ", error.message());
    if (error == boost::asio::error::address_in_use) {
      return absl::AlreadyExistsError(
          absl::StrCat(message, " (is another server running? --port chooses another port)"));
    }
    if (error == boost::asio::error::access_denied) return absl::PermissionDeniedError(message);
    return absl::UnavailableError(message);
  }
  const Tcp::endpoint bound = acceptor.local_endpoint(error);
  port_ = bound.port();  // port 0: the first address picks, the others follow
  addresses_.push_back(bound.address().is_v6()
                           ? absl::StrCat("[", bound.address().to_string(), "]:", bound.port())
                           : absl::StrCat(bound.address().to_string(), ":", bound.port()));
  acceptors_.push_back(std::move(acceptor));
  return absl::OkStatus();
}

template <class P>
void Server<P>::Accept(Acceptor* acceptor) {
  Loop& loop = *loops_[next_loop_++ % loops_.size()];
  acceptor->async_accept(
      loop.context, [this, acceptor, &loop](const ErrorCode& error, Socket socket) {
        if (stopping_.load(std::memory_order_relaxed) || !acceptor->is_open()) return;
        if (!error) {
          // From here on the socket is its loop's.
          boost::asio::post(loop.context, [this, &loop, socket = std::move(socket)]() mutable {
            Admit(loop, std::move(socket));
          });
          return Accept(acceptor);
        }
        if (error == boost::asio::error::operation_aborted) return;
        // Out of descriptors, most likely: waiting is all there is to do.
        ALOS_LOG(kWarning) << "cannot accept a connection: " << error.message();
        auto timer = std::make_shared<boost::asio::steady_timer>(loops_[0]->context);
        timer->expires_after(std::chrono::milliseconds(100));
        timer->async_wait([this, acceptor, timer](const ErrorCode&) {
          if (!stopping_.load(std::memory_order_relaxed) && acceptor->is_open()) Accept(acceptor);
        });
      });
}

template <class P>
void Server<P>::Admit(Loop& loop, Socket socket) {
  NetCounters& counters = protocol_->counters();
  counters.Add(NetCounter::kConnectionsAccepted);
  ErrorCode error;
  const Tcp::endpoint peer = socket.remote_endpoint(error);
  const auto refuse = [&](std::string_view why) {
    counters.Add(NetCounter::kConnectionsRefused);
    counters.Add(NetCounter::kConnectionsClosed);
    ALOS_LOG(kDebug) << "refused a connection: " << why;
    ErrorCode ignored;
    socket.close(ignored);
  };
  if (error || stopping_.load(std::memory_order_relaxed)) return refuse("it is gone already");
  if (connections_.load(std::memory_order_relaxed) >= options_.connections_max) {
    return refuse("too many connections");
  }
  const bool unauthenticated = protocol_->requires_authentication();
  if (unauthenticated && unauthenticated_.load(std::memory_order_relaxed) >=
                             options_.connections_unauthenticated_max) {
    return refuse("too many connections that have not authenticated");
  }
  // Loopback peers are one "address" with no limits unless asked for.
  AddressBytes address;
  if (options_.limit_loopback || !peer.address().is_loopback()) {
    address = peer.address().to_string();
    absl::MutexLock lock(&addresses_mutex_);
    // Addresses that only failed to log in are forgotten when there are too many of them.
    if (address_states_.size() > kAddressesMax) {
      absl::erase_if(address_states_,
                     [](const auto& entry) { return entry.second.connections == 0; });
    }
    AddressState& state = address_states_[address];
    if (state.connections >= options_.connections_per_address_max) {
      return refuse("too many connections from its address");
    }
    ++state.connections;
  }
  socket.set_option(Tcp::no_delay(true), error);
  socket.set_option(boost::asio::socket_base::keep_alive(true), error);
  connections_.fetch_add(1, std::memory_order_relaxed);
  counters.connections().Add(1);
  if (unauthenticated) unauthenticated_.fetch_add(1, std::memory_order_relaxed);
  auto connection = std::make_unique<Connection>(&loop, std::move(socket), std::move(address));
  connection->counted_unauthenticated_ = unauthenticated;
  loop.connections.push_front(connection.get());
  connection->place_ = loop.connections.begin();
  if (!loop.sweeping) {
    loop.sweeping = true;
    Sweep(loop);
  }
  Serve(std::move(connection));
}

// Twice a second while there are connections: ends those that are over a time limit, takes memory
// back from those that fell idle, and, when stopping, closes those that have nothing under way.
template <class P>
void Server<P>::Sweep(Loop& loop) {
  using State = typename Connection::State;
  const Clock::time_point now = Clock::now();
  const bool stopping = stopping_.load(std::memory_order_relaxed);
  const bool overdue = stopping && now >= loop.stop_deadline;
  constexpr std::chrono::seconds kReleaseAfter(5);
  const auto after = [now](Clock::time_point start, absl::Duration timeout) {
    return now - start > absl::ToChronoNanoseconds(timeout);
  };
  for (auto next = loop.connections.begin(); next != loop.connections.end();) {
    Connection& c = **next++;  // closing only posts what ends the coroutine
    bool timed_out = false;
    switch (c.state_) {
      case State::kReceiving:
        switch (c.session_->phase()) {
          case SessionPhase::kSilent:
          case SessionPhase::kIdle:
            timed_out = stopping || after(c.last_progress_, options_.idle_timeout);
            break;
          case SessionPhase::kUnauthenticated:
            timed_out = stopping || after(c.first_byte_, options_.handshake_timeout);
            break;
          case SessionPhase::kReceiving:
            timed_out = overdue || stopping || after(c.last_progress_, options_.stall_timeout);
            break;
        }
        if (!timed_out && !c.releasing_ && now - c.last_progress_ > kReleaseAfter &&
            c.session_->memory_bytes() + c.output_.capacity() > 4096) {
          c.releasing_ = true;
          ErrorCode ignored;
          c.socket_.cancel(ignored);
        }
        break;
      case State::kSending:
        timed_out = overdue || after(c.last_progress_, options_.send_timeout);
        break;
      case State::kDelayed:
        timed_out = stopping;
        break;
      case State::kPaused:
        timed_out = overdue;
        break;
      case State::kClosing:
        timed_out = after(c.last_progress_, absl::Seconds(1));
        break;
      case State::kBusy:
        break;
    }
    if (timed_out) {
      if (!stopping && c.state_ != State::kClosing) {
        protocol_->counters().Add(NetCounter::kConnectionsTimedOut);
      }
      c.releasing_ = false;
      c.Close();
    }
  }
  if (loop.connections.empty()) {
    loop.sweeping = false;
    return;
  }
  protocol_->Tick();
  loop.timer.expires_after(std::chrono::milliseconds(stopping ? 20 : 500));
  loop.timer.async_wait([this, &loop](const ErrorCode&) { Sweep(loop); });
}

template <class P>
void Server<P>::Stop() {
  absl::MutexLock lock(&stop_mutex_);
  if (stopped_) return;
  stopped_ = true;
  stopping_.store(true, std::memory_order_relaxed);
  // A server that could not bind has no threads.
  const auto deadline = Clock::now() + absl::ToChronoNanoseconds(options_.stop_timeout);
  for (std::size_t i = 0; i < loops_.size(); ++i) {
    Loop& loop = *loops_[i];
    if (!loop.thread.joinable()) continue;
    boost::asio::post(loop.context, [this, &loop, deadline, i] {
      if (i == 0) {
        ErrorCode ignored;
        for (Acceptor& acceptor : acceptors_) acceptor.close(ignored);
      }
      loop.stop_deadline = deadline;
      // Wakes the sweep at once; run() returns when the last connection has ended.
      if (loop.sweeping) loop.timer.cancel();
      loop.guard.reset();
    });
  }
  for (const std::unique_ptr<Loop>& loop : loops_) {
    if (loop->thread.joinable()) loop->thread.join();
  }
  if (workers_ != nullptr) workers_->join();
  acceptors_.clear();
}

}  // namespace alos

#endif  // ALOS_NET_SERVER_H_
