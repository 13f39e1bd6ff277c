// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The server loop, with a protocol made for the purpose: lines of text, of which some are commands.
// What the real protocol does over real sockets is tested with it, in plugins/protocol/alos.

#include "alos/net/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/net/counters.h"
#include "alos/net/protocol.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

// Answers each line with itself. "work X": answered on a worker; "wait X": when Notify is called;
// "big N": with N bytes; "bye": answered, then closed; "login"/"fail": authenticates or is refused.
class LineProtocol {
 public:
  class Session {
   public:
    explicit Session(LineProtocol* protocol) : protocol_(protocol) { ++protocol_->sessions; }
    ~Session() { --protocol_->sessions; }

    SessionStep Advance(std::string* output) {
      if (closing_) return SessionStep::kClose;
      for (;;) {
        const std::size_t end = input_.find('\n');
        if (end == input_.npos) return SessionStep::kReceive;
        line_ = input_.substr(0, end);
        input_.erase(0, end + 1);
        if (absl::StartsWith(line_, "work ")) return SessionStep::kWork;
        if (absl::StartsWith(line_, "wait ")) return SessionStep::kWait;
        if (absl::StartsWith(line_, "big ")) {
          output->append(std::stoul(line_.substr(4)), 'x');
          return SessionStep::kSend;
        }
        if (line_ == "login") authenticated_ = true;
        if (line_ == "fail") {
          refused_ = true;
          return SessionStep::kClose;
        }
        output->append(line_ + "\n");
        if (line_ == "bye") {
          closing_ = true;
          return SessionStep::kClose;
        }
      }
    }
    absl::Span<char> Prepare() { return absl::MakeSpan(room_); }
    void Commit(std::size_t size) {
      input_.append(room_, size);
      received_ = true;
    }
    void Work(std::string* output) {
      ++protocol_->working;
      while (protocol_->hold_work) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      output->append(line_ + "\n");
      --protocol_->working;
    }
    void Wait(std::function<void(absl::Status)> callback) {
      if (line_ == "wait not") return callback(absl::OkStatus());  // at once, within Wait
      std::lock_guard lock(protocol_->mutex);
      protocol_->waiting.push_back(std::move(callback));
    }
    void Resume(absl::Status status) {
      input_.insert(0, status.ok() ? "visible\n" : std::string(status.message()) + "\n");
    }
    SessionPhase phase() const {
      if (!received_) return SessionPhase::kSilent;
      if (protocol_->authenticate && !authenticated_) return SessionPhase::kUnauthenticated;
      return input_.empty() ? SessionPhase::kIdle : SessionPhase::kReceiving;
    }
    bool authenticated() const { return !protocol_->authenticate || authenticated_; }
    bool refused() const { return refused_; }
    std::size_t memory_bytes() const { return 0; }
    void Release() {}

   private:
    LineProtocol* const protocol_;
    char room_[4096];
    std::string input_;
    std::string line_;
    bool received_ = false;
    bool authenticated_ = false;
    bool refused_ = false;
    bool closing_ = false;
  };

  std::unique_ptr<Session> NewSession() { return std::make_unique<Session>(this); }
  void Tick() { ++ticks; }
  bool requires_authentication() { return authenticate; }
  NetCounters& counters() { return counters_; }

  void Notify(const absl::Status& status) {
    std::vector<std::function<void(absl::Status)>> callbacks;
    {
      std::lock_guard lock(mutex);
      callbacks.swap(waiting);
    }
    for (const auto& callback : callbacks) callback(status);
  }
  std::size_t WaitingCount() {
    std::lock_guard lock(mutex);
    return waiting.size();
  }

  bool authenticate = false;
  std::atomic<bool> hold_work{false};
  std::atomic<int> working{0};
  std::atomic<int> sessions{0};
  std::atomic<int> ticks{0};
  std::mutex mutex;
  std::vector<std::function<void(absl::Status)>> waiting;

 private:
  NetCounters counters_;
};
static_assert(Protocol<LineProtocol>);

struct NoProtocol {
  struct Session {};
};
static_assert(!Protocol<NoProtocol>);
static_assert(!Protocol<int>);

class Peer {
 public:
  explicit Peer(std::uint16_t port, bool v6 = false) {
    fd_ = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    timeval timeout = {20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (v6) {
      sockaddr_in6 address = {};
      address.sin6_family = AF_INET6;
      address.sin6_addr = in6addr_loopback;
      address.sin6_port = htons(port);
      connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    } else {
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port = htons(port);
      connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    }
  }
  ~Peer() { ::close(fd_); }
  Peer(const Peer&) = delete;
  bool connected() const { return connected_; }
  void Send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t size = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (size <= 0) return;
      text.remove_prefix(size);
    }
  }
  // Exactly `size` bytes, fewer if the connection ends.
  std::string Read(std::size_t size) {
    std::string text(size, '\0');
    std::size_t have = 0;
    while (have < size) {
      const ssize_t got = ::recv(fd_, text.data() + have, size - have, 0);
      if (got <= 0) break;
      have += got;
    }
    text.resize(have);
    return text;
  }
  std::string Ask(std::string_view line) {
    Send(std::string(line) + "\n");
    return Read(line.size() + 1);
  }
  // Whether the server ended the connection.
  bool Ended() {
    char byte;
    return ::recv(fd_, &byte, 1, 0) == 0;
  }
  void CloseNow() {
    const linger reset = {1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }

 private:
  int fd_;
  bool connected_;
};

class ServerTest : public ::testing::Test {
 protected:
  void Start(ServerOptions options = {}) {
    options.port = 0;
    options.threads = 2;
    auto server = Server<LineProtocol>::Start(options, &protocol_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  // For what happens on another thread a little later.
  template <class Condition>
  static bool Eventually(Condition condition) {
    for (int i = 0; i < 5000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  LineProtocol protocol_;
  std::unique_ptr<Server<LineProtocol>> server_;
};

TEST_F(ServerTest, LocalhostIsBothLoopbackAddresses) {
  Start();
  EXPECT_NE(server_->port(), 0);
  Peer v4(server_->port());
  EXPECT_EQ(v4.Ask("hello"), "hello\n");
  if (server_->addresses().size() == 2) {  // a machine may lack IPv6
    Peer v6(server_->port(), true);
    EXPECT_EQ(v6.Ask("hello"), "hello\n");
  }
  EXPECT_EQ(protocol_.counters().Get(NetCounter::kConnectionsAccepted),
            server_->addresses().size());
}

TEST_F(ServerTest, PortInUseIsAnErrorThatSaysWhatToDo) {
  Start();
  ServerOptions options;
  options.port = server_->port();
  const auto second = Server<LineProtocol>::Start(options, &protocol_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(absl::StrContains(second.status().message(), std::to_string(server_->port())));
  EXPECT_TRUE(absl::StrContains(second.status().message(), "--port")) << second.status();
}

TEST_F(ServerTest, OtherAddressesNeedCredentials) {
  ServerOptions options;
  options.host = "0.0.0.0";
  options.port = 0;
  auto server = Server<LineProtocol>::Start(options, &protocol_);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(server.status().message(), "--password")) << server.status();
  protocol_.authenticate = true;
  server = Server<LineProtocol>::Start(options, &protocol_);
  EXPECT_TRUE(server.ok()) << server.status();
}

TEST_F(ServerTest, UnknownHostIsAnError) {
  ServerOptions options;
  options.host = "no such host";
  EXPECT_EQ(Server<LineProtocol>::Start(options, &protocol_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, ManyLinesInOnePieceAndOneLineInManyPieces) {
  Start();
  Peer peer(server_->port());
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += "line " + std::to_string(i) + "\n";
  peer.Send(lines);
  EXPECT_EQ(peer.Read(lines.size()), lines);
  for (const char c : std::string_view("slow\n")) {
    peer.Send(std::string_view(&c, 1));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(peer.Read(5), "slow\n");
}

// While one connection's work is on a worker, others on the same thread are answered, and its own
// later requests wait their turn.
TEST_F(ServerTest, LongWorkHoldsUpItsOwnConnectionOnly) {
  Start();
  std::vector<std::unique_ptr<Peer>> others;
  for (int i = 0; i < 4; ++i) others.push_back(std::make_unique<Peer>(server_->port()));
  Peer busy(server_->port());
  protocol_.hold_work = true;
  busy.Send("work 1\nafter\n");
  ASSERT_TRUE(Eventually([&] { return protocol_.working == 1; }));
  for (const auto& other : others) EXPECT_EQ(other->Ask("quick"), "quick\n");
  protocol_.hold_work = false;
  EXPECT_EQ(busy.Read(13), "work 1\nafter\n");
}

TEST_F(ServerTest, WaitsForNotifications) {
  Start();
  Peer peer(server_->port());
  peer.Send("wait a\nnext\n");
  ASSERT_TRUE(Eventually([&] { return protocol_.WaitingCount() == 1; }));
  protocol_.Notify(absl::OkStatus());
  EXPECT_EQ(peer.Read(13), "visible\nnext\n");
  peer.Send("wait b\n");
  ASSERT_TRUE(Eventually([&] { return protocol_.WaitingCount() == 1; }));
  protocol_.Notify(absl::UnavailableError("lost"));
  EXPECT_EQ(peer.Read(5), "lost\n");
  peer.Send("wait not\n");
  EXPECT_EQ(peer.Read(8), "visible\n");
}

TEST_F(ServerTest, LargeAnswersArriveWholeAtASlowReader) {
  Start();
  Peer peer(server_->port());
  constexpr std::size_t kSize = 20'000'000;
  peer.Send("big 20000000\nend\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(peer.Read(kSize), std::string(kSize, 'x'));
  EXPECT_EQ(peer.Read(4), "end\n");
}

TEST_F(ServerTest, TooMuchUnsentOutputEndsTheConnection) {
  ServerOptions options;
  options.unsent_bytes_max = 1000;
  Start(options);
  Peer peer(server_->port());
  peer.Send("big 1001\n");
  EXPECT_EQ(peer.Read(1), "");
}

TEST_F(ServerTest, LastAnswerArrivesAlthoughMoreWasSent) {
  Start();
  for (int i = 0; i < 20; ++i) {
    Peer peer(server_->port());
    peer.Send("bye\n" + std::string(100000, 'z'));
    EXPECT_EQ(peer.Read(4), "bye\n");
    EXPECT_TRUE(peer.Ended());
  }
}

TEST_F(ServerTest, PeersThatVanishAreForgotten) {
  Start();
  for (int i = 0; i < 50; ++i) {
    Peer peer(server_->port());
    peer.Send(i % 2 == 0 ? "half a line" : "big 3000000\n");
    if (i % 3 == 0) peer.CloseNow();
  }
  EXPECT_TRUE(Eventually([&] { return protocol_.sessions == 0; })) << protocol_.sessions;
  EXPECT_EQ(server_->connections(), 0u);
  Peer peer(server_->port());
  EXPECT_EQ(peer.Ask("alive"), "alive\n");
}

TEST_F(ServerTest, IdleConnectionsEnd) {
  ServerOptions options;
  options.idle_timeout = absl::Milliseconds(100);
  Start(options);
  Peer silent(server_->port());
  Peer idle(server_->port());
  EXPECT_EQ(idle.Ask("hello"), "hello\n");
  EXPECT_TRUE(silent.Ended());
  EXPECT_TRUE(idle.Ended());
  EXPECT_EQ(protocol_.counters().Get(NetCounter::kConnectionsTimedOut), 2u);
  EXPECT_GT(protocol_.ticks, 0);
}

TEST_F(ServerTest, StalledRequestsEnd) {
  ServerOptions options;
  options.stall_timeout = absl::Milliseconds(100);
  Start(options);
  Peer peer(server_->port());
  peer.Send("half a li");
  EXPECT_TRUE(peer.Ended());
}

TEST_F(ServerTest, PeersThatDoNotReadTheirAnswerEnd) {
  ServerOptions options;
  options.send_timeout = absl::Milliseconds(100);
  Start(options);
  Peer peer(server_->port());
  peer.Send("big 60000000\n");
  EXPECT_TRUE(Eventually([&] { return protocol_.sessions == 0; }));
}

// However busily it drips bytes: the clock starts with the first one.
TEST_F(ServerTest, AuthenticationHasATimeLimit) {
  protocol_.authenticate = true;
  ServerOptions options;
  options.handshake_timeout = absl::Milliseconds(200);
  Start(options);
  Peer silent(server_->port());
  Peer dripping(server_->port());
  bool ended = false;
  for (int i = 0; i < 2000 && !ended; ++i) {
    dripping.Send("x");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ended = protocol_.sessions == 1;
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(silent.Ask("login"), "login\n") << "saying nothing is no attempt to log in";
}

TEST_F(ServerTest, ConnectionsAreLimited) {
  ServerOptions options;
  options.connections_max = 3;
  Start(options);
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 3; ++i) {
    peers.push_back(std::make_unique<Peer>(server_->port()));
    EXPECT_EQ(peers.back()->Ask("in"), "in\n");
  }
  Peer refused(server_->port());
  EXPECT_EQ(refused.Read(1), "");
  EXPECT_EQ(protocol_.counters().Get(NetCounter::kConnectionsRefused), 1u);
  peers.pop_back();
  EXPECT_TRUE(Eventually([&] { return Peer(server_->port()).Ask("in again") == "in again\n"; }));
}

TEST_F(ServerTest, ConnectionsOfOneAddressAreLimited) {
  ServerOptions options;
  options.connections_per_address_max = 2;
  options.limit_loopback = true;
  Start(options);
  Peer first(server_->port());
  Peer second(server_->port());
  EXPECT_EQ(first.Ask("in"), "in\n");
  EXPECT_EQ(second.Ask("in"), "in\n");
  Peer third(server_->port());
  EXPECT_EQ(third.Read(1), "");
}

TEST_F(ServerTest, UnauthenticatedConnectionsAreLimited) {
  protocol_.authenticate = true;
  ServerOptions options;
  options.connections_unauthenticated_max = 2;
  Start(options);
  Peer first(server_->port());
  Peer second(server_->port());
  EXPECT_EQ(first.Ask("login"), "login\n");
  EXPECT_EQ(second.Ask("not yet"), "not yet\n");
  Peer third(server_->port());
  EXPECT_EQ(third.Ask("not yet"), "not yet\n") << "the first one does not count any more";
  Peer fourth(server_->port());
  EXPECT_EQ(fourth.Read(1), "");
}

TEST_F(ServerTest, FailedLoginsSlowTheirAddressDown) {
  protocol_.authenticate = true;
  ServerOptions options;
  options.limit_loopback = true;
  options.logins_failed_max = 2;
  Start(options);
  for (int i = 0; i < 2; ++i) {
    Peer peer(server_->port());
    peer.Send("fail\n");
    EXPECT_TRUE(peer.Ended());
  }
  ASSERT_TRUE(
      Eventually([&] { return protocol_.counters().Get(NetCounter::kHandshakesFailed) == 2; }));
  // The first one now is served at once and pushes the next one back by a second.
  Peer first(server_->port());
  Peer second(server_->port());
  first.Send("fail\n");
  second.Send("login\n");
  EXPECT_TRUE(first.Ended());
  // Whichever of the two was accepted first, the other one had to wait for its turn; that it got
  // one is all that can be said without trusting the machine's speed.
  EXPECT_EQ(second.Read(6), "login\n");
  // Counted after the answer was sent.
  EXPECT_TRUE(Eventually([&] { return protocol_.counters().Get(NetCounter::kHandshakes) == 1; }));
}

TEST_F(ServerTest, StopFinishesWhatIsUnderWay) {
  Start();
  Peer idle(server_->port());
  EXPECT_EQ(idle.Ask("hello"), "hello\n");
  Peer half(server_->port());
  half.Send("half a li");
  Peer busy(server_->port());
  Peer waiting(server_->port());
  protocol_.hold_work = true;
  busy.Send("work 1\n");
  waiting.Send("wait 1\n");
  ASSERT_TRUE(Eventually([&] { return protocol_.working == 1 && protocol_.WaitingCount() == 1; }));
  std::thread stopper([&] { server_->Stop(); });
  EXPECT_TRUE(idle.Ended());
  EXPECT_TRUE(half.Ended());
  protocol_.hold_work = false;
  protocol_.Notify(absl::OkStatus());
  EXPECT_EQ(busy.Read(7), "work 1\n");
  EXPECT_EQ(waiting.Read(8), "visible\n");
  EXPECT_TRUE(busy.Ended());
  EXPECT_TRUE(waiting.Ended());
  stopper.join();
  EXPECT_EQ(protocol_.sessions, 0);
  EXPECT_FALSE(Peer(server_->port()).connected());
}

TEST_F(ServerTest, StopWithoutConnectionsAndTwice) {
  Start();
  server_->Stop();
  server_->Stop();
  EXPECT_EQ(protocol_.sessions, 0);
}

TEST_F(ServerTest, ManyConnectionsAtOnce) {
  Start();
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 40; ++i) {
        Peer peer(server_->port());
        for (int j = 0; j < 10; ++j) {
          const std::string line =
              (j % 3 == 0 ? "work " : "") + std::to_string(t * 1000 + i * 10 + j);
          right += peer.Ask(line) == line + "\n";
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4 * 40 * 10);
  EXPECT_TRUE(Eventually([&] { return protocol_.sessions == 0; }));
}

}  // namespace
}  // namespace alos
