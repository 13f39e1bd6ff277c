// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The client against scripted peers: what it does when connections fail at every point. (The client
// against a server: server_test.cc.)

#include "alos/net/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "alos/document/value.h"
#include "alos/net/big_endian.h"
#include "alos/net/message.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

constexpr char kDocument[] =
    "\x81\xa1"
    "a\x01";

// A server that does with its n-th connection what the n-th script says, then closes it.
class ScriptedServer {
 public:
  class Peer {
   public:
    explicit Peer(int fd) : fd_(fd) {}
    // The next request; its operation is 0 if the client went away.
    Request Receive() {
      std::string length = Bytes(4);
      if (length.size() < 4) return {};
      payload_ = Bytes(net_internal::LoadBigEndian32(length.data()));
      Request request;
      if (!ParseRequest(payload_, &request).ok()) return {};
      return request;
    }
    void Send(std::string_view bytes) { ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
    void Answer(std::uint32_t id, std::string_view result) {
      std::string frame(4, '\0');
      AppendResultHeader(id, &frame);
      frame.append(result);
      net_internal::StoreBigEndian32(frame.size() - 4, frame.data());
      Send(frame);
    }

   private:
    std::string Bytes(std::size_t size) {
      std::string bytes(size, '\0');
      std::size_t have = 0;
      while (have < size) {
        const ssize_t got = ::recv(fd_, bytes.data() + have, size - have, 0);
        if (got <= 0) return "";
        have += got;
      }
      return bytes;
    }
    int fd_;
    std::string payload_;
  };
  using Script = std::function<void(Peer&)>;

  explicit ScriptedServer(std::vector<Script> scripts) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    socklen_t size = sizeof(address);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, scripts = std::move(scripts)] {
      for (const Script& script : scripts) {
        const int fd = ::accept(listener_, nullptr, nullptr);
        if (fd < 0) return;
        ++connections_;
        Peer peer(fd);
        script(peer);
        ::close(fd);
      }
    });
  }
  ~ScriptedServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  ClientOptions Options() const {
    ClientOptions options;
    options.retry_writes = false;  // this server has no sessions
    options.host = "127.0.0.1";
    options.port = port_;
    options.request_timeout = absl::Seconds(20);
    options.reconnect_timeout = absl::Milliseconds(300);
    return options;
  }
  int connections() const { return connections_; }

 private:
  int listener_;
  std::uint16_t port_;
  std::atomic<int> connections_{0};
  std::thread thread_;
};

using Peer = ScriptedServer::Peer;

TEST(ClientTest, ReadIsSentAgainWhenItsConnectionIsLost) {
  ScriptedServer server({[](Peer& peer) { peer.Receive(); },
                         [](Peer& peer) {
                           const Request request = peer.Receive();
                           EXPECT_EQ(request.operation, Operation::kFindById);
                           peer.Answer(request.id, kDocument);
                           peer.Receive();
                         }});
  auto client = Client::Connect(server.Options());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto found = (*client)->FindById("c", "id");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, kDocument);
  EXPECT_EQ(server.connections(), 2);
}

// Each batch is asked for with the same arguments and the last one's cursor, and no more than the
// limit asks for.
TEST(ClientTest, StreamsPassTheCursorOn) {
  ScriptedServer server({[](Peer& peer) {
    Request request = peer.Receive();
    EXPECT_EQ(request.operation, Operation::kFindManyStream);
    EXPECT_EQ(request.args.Find("limit")->ToInt64(), 2);
    EXPECT_EQ(request.args.Find("skip")->ToInt64(), 7);
    EXPECT_EQ(request.args.Find("hint")->AsString(), "n");
    EXPECT_TRUE(request.args.Find("sort")->IsDocument());
    EXPECT_FALSE(request.args.Find("cursor").has_value());
    peer.Answer(request.id,
                "\x82\xa4"
                "docs\x92\x80\x80\xa6"
                "cursor\xc4\x01x");
    request = peer.Receive();
    EXPECT_EQ(request.args.Find("cursor")->AsBinary(), "x");
    EXPECT_EQ(request.args.Find("skip")->ToInt64(), 7);
    peer.Answer(request.id,
                "\x81\xa4"
                "docs\x92\x80\x80");
    peer.Receive();
  }});
  auto client = Client::Connect(server.Options());
  ASSERT_TRUE(client.ok());
  const ValueView document = ValueView::FromTrusted(kDocument);
  int visited = 0;
  const absl::Status status =
      (*client)->FindStream("c", document, 2,
                            [&](ValueView) {
                              ++visited;
                              return true;
                            },
                            {.skip = 7, .limit = 3, .sort = document, .hint = "n"});
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(visited, 3);
}

// The server may have applied it before the connection was lost: sending again could apply it
// twice.
TEST(ClientTest, WriteIsNotSentAgainWhenItsConnectionIsLost) {
  std::atomic<int> inserts = 0;
  const auto count = [&inserts](Peer& peer) {
    if (peer.Receive().operation == Operation::kInsertOne) ++inserts;
  };
  ScriptedServer server({count, count});
  auto client = Client::Connect(server.Options());
  ASSERT_TRUE(client.ok());
  const auto id = (*client)->InsertOne("people", ValueView::FromTrusted(kDocument));
  EXPECT_EQ(id.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(id.status().message(), "outcome unknown")) << id.status();
  EXPECT_TRUE(absl::StrContains(id.status().message(), "InsertOne on 'people'")) << id.status();
  client->reset();
  EXPECT_EQ(inserts, 1);
}

// A connection the server closed while it lay in the pool is noticed before anything is sent.
TEST(ClientTest, WriteGoesOverAFreshConnectionWhenThePooledOneWasClosed) {
  std::atomic<bool> closed = false;
  ScriptedServer server({[](Peer& peer) { peer.Answer(peer.Receive().id, "\xc0"); },
                         [&closed](Peer& peer) {
                           closed = true;
                           peer.Answer(peer.Receive().id, "\x81\xa2id\xa1x");
                           peer.Receive();
                         }});
  auto client = Client::Connect(server.Options());
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE((*client)->FindById("c", "id").ok());
  // The close travels over loopback; the first attempt may still find the old connection alive.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto id = (*client)->InsertOne("c", ValueView::FromTrusted(kDocument));
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(*id, "\xa1x");
}

TEST(ClientTest, NoServerIsUnavailableAndSaysWhere) {
  ClientOptions options;
  options.host = "127.0.0.1";
  options.port = 1;
  options.reconnect_timeout = absl::Milliseconds(50);
  const auto client = Client::Connect(options);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(client.status().message(), "127.0.0.1:1")) << client.status();
}

TEST(ClientTest, SilentServerTimesOut) {
  ScriptedServer server({[](Peer& peer) {
    peer.Receive();
    peer.Receive();  // until the client gives up
  }});
  ClientOptions options = server.Options();
  options.request_timeout = absl::Milliseconds(200);
  auto client = Client::Connect(options);
  ASSERT_TRUE(client.ok());
  const auto id = (*client)->InsertOne("c", ValueView::FromTrusted(kDocument));
  EXPECT_EQ(id.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(absl::StrContains(id.status().message(), "outcome unknown")) << id.status();
}

TEST(ClientTest, HostileAnswersAreErrors) {
  const std::string answers[] = {
      std::string("\xff\xff\xff\xff", 4),        // 4 GB announced
      std::string("\0\0\0\1\xc1", 5),            // no MessagePack
      std::string("\0\0\0\0", 4),                // empty
      std::string("\0\0\0\5\x81\xa2id\x63", 9),  // another request's id
      std::string("\0\0\0\x0c\x81\xa6result\xc0\xc0\xc0\xc0", 16),
  };
  for (const std::string& answer : answers) {
    ScriptedServer server({[&answer](Peer& peer) {
      peer.Receive();
      peer.Send(answer);
      peer.Receive();
    }});
    auto client = Client::Connect(server.Options());
    ASSERT_TRUE(client.ok());
    EXPECT_FALSE((*client)->FindById("c", "id").ok());
  }
}

TEST(ClientTest, WrongShapesOfResultsAreErrors) {
  ScriptedServer server({[](Peer& peer) {
    for (int i = 0; i < 6; ++i) peer.Answer(peer.Receive().id, "\x81\xa1x\x01");
    peer.Receive();
  }});
  auto client = Client::Connect(server.Options());
  ASSERT_TRUE(client.ok());
  const ValueView document = ValueView::FromTrusted(kDocument);
  EXPECT_EQ((*client)->InsertOne("c", document).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*client)->Find("c", document).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*client)->Count("c").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*client)->CollectionExists("c").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*client)->DeleteOne("c", document).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*client)->BeginTransaction().status().code(), absl::StatusCode::kDataLoss);
}

TEST(ClientTest, PoolNeverExceedsItsLimit) {
  ScriptedServer server({[](Peer& peer) {
    for (int i = 0; i < 40; ++i) peer.Answer(peer.Receive().id, "\xc0");
    peer.Receive();
  }});
  ClientOptions options = server.Options();
  options.connections_max = 1;
  auto client = Client::Connect(options);
  ASSERT_TRUE(client.ok());
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) answered += (*client)->FindById("c", "id").ok();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 40);
  EXPECT_EQ(server.connections(), 1);
}

}  // namespace
}  // namespace alos
