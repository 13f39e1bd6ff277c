// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Loads a server with more than it can do, and keeps book of what was acknowledged: for
// overload_test.sh and run.sh.
//
//   overload load PORT SECONDS CONNECTIONS AHEAD [slow]
//     Inserts, reads of what was inserted and now and then (slow: of many documents) a find, AHEAD
//     of them under way on each connection. slow: answers are read with pauses. At the end all that
//     was asked is to be answered, and all that was acknowledged is to be there.
//   overload rate PORT SECONDS CONNECTIONS
//     Inserts; prints how many were acknowledged in each tenth of a second.
//   overload queues PORT
//     The queues of the server's statistics.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/net/big_endian.h"
#include "alos/net/frame.h"
#include "alos/net/message.h"

namespace alos {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kCollection = "overload";
constexpr std::size_t kDocumentBytes = 300;
constexpr std::size_t kFrameBytesMax = std::size_t{64} << 20;

std::string DocumentId(std::uint64_t run, std::uint64_t connection, std::uint64_t number) {
  return absl::StrCat("r", run, "-", connection, "-", number);
}

void AppendRequest(std::uint32_t id, Operation operation, ValueView args, std::string* out) {
  const std::size_t start = out->size();
  out->append(kFrameLengthBytes, '\0');
  Builder builder(out);
  builder.StartDocument();
  builder.Key("id").Uint(id);
  builder.Key("op").Uint(static_cast<std::uint64_t>(operation));
  builder.Key("collection").String(kCollection);
  builder.Key("args").Raw(args);
  builder.EndDocument();
  net_internal::StoreBigEndian32(
      static_cast<std::uint32_t>(out->size() - start - kFrameLengthBytes), out->data() + start);
}

std::string InsertArgs(std::string_view id) {
  static const std::string padding(kDocumentBytes - 40, 'x');
  std::string args;
  Builder builder(&args);
  builder.StartDocument().Key("_id").String(id).Key("text").String(padding).EndDocument();
  return args;
}
std::string FindByIdArgs(std::string_view id) {
  std::string args;
  Builder(&args).StartDocument().Key("id").String(id).EndDocument();
  return args;
}
std::string FindArgs(std::uint64_t limit) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument().Key("query").StartDocument().EndDocument();
  builder.Key("limit").Uint(limit).EndDocument();
  return args;
}

class Connection {
 public:
  Connection(std::uint16_t port, std::uint64_t run, std::uint64_t number)
      : run_(run), number_(number), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ALOS_CHECK(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Connection() { ::close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int socket() const { return socket_; }
  bool is_lost() const { return is_lost_; }
  std::size_t under_way() const { return under_way_.size(); }
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t errors() const { return errors_; }
  const std::string& first_error() const { return first_error_; }
  bool has_unsent() const { return sent_ < output_.size(); }

  // Adds a request: an insert, or a read of what has been acknowledged; now and then a find, of
  // more documents if `large`.
  void Ask(bool large, bool only_inserts) {
    const std::uint64_t sequence = ++asked_;
    bool is_insert = false;
    if (!only_inserts && sequence % (large ? 64 : 256) == 31) {
      Append(Operation::kFindPaginated, FindArgs(large ? 4000 : 20));
    } else if (!only_inserts && sequence % 2 == 0 && acknowledged_ > 0) {
      Append(Operation::kFindById,
             FindByIdArgs(DocumentId(run_, number_, sequence * 7919 % acknowledged_)));
    } else {
      is_insert = true;
      Append(Operation::kInsertOne, InsertArgs(DocumentId(run_, number_, inserted_++)));
    }
    under_way_.push_back({static_cast<std::uint32_t>(sequence), is_insert, Clock::now()});
  }

  void Check(std::uint64_t number) {
    ++asked_;
    Append(Operation::kFindById, FindByIdArgs(DocumentId(run_, number_, number)));
    under_way_.push_back({static_cast<std::uint32_t>(asked_), false, Clock::now()});
  }

  void Send() {
    while (sent_ < output_.size()) {
      const ssize_t size = ::send(socket_, output_.data() + sent_, output_.size() - sent_,
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) {
        if (errno != EAGAIN) Lose("send");
        return;
      }
      sent_ += static_cast<std::size_t>(size);
    }
    output_.clear();
    sent_ = 0;
  }

  // Receives once, at most `bytes_max`, and takes the answers. False: there was nothing.
  template <class Answered>
  bool Receive(std::size_t bytes_max, Answered&& answered) {
    const absl::Span<char> room = reader_.Prepare();
    const ssize_t size =
        ::recv(socket_, room.data(), std::min(room.size(), bytes_max), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (size <= 0) {
      Lose("recv");
      return false;
    }
    reader_.Commit(static_cast<std::size_t>(size));
    while (true) {
      const absl::StatusOr<std::optional<absl::Span<char>>> frame = reader_.Next();
      if (!frame.ok()) {
        Lose("a frame");
        return true;
      }
      if (!frame->has_value()) return true;
      const absl::StatusOr<Response> response =
          ParseResponse(std::string_view((*frame)->data(), (*frame)->size()));
      if (!response.ok() || under_way_.empty() || response->id != under_way_.front().id) {
        Lose("an answer");
        return true;
      }
      const UnderWay request = under_way_.front();
      under_way_.pop_front();
      if (!response->status.ok() || !response->result.has_value()) {
        if (errors_++ == 0) {
          first_error_ = response->status.ok() ? "what was acknowledged is not there"
                                               : std::string(response->status.message());
        }
      } else if (request.is_insert) {
        ++acknowledged_;
      }
      answered(Clock::now() - request.asked);
    }
  }

 private:
  struct UnderWay {
    std::uint32_t id;
    bool is_insert;
    Clock::time_point asked;
  };

  void Append(Operation operation, const std::string& args) {
    AppendRequest(static_cast<std::uint32_t>(asked_), operation, ValueView::FromTrusted(args),
                  &output_);
  }
  void Lose(std::string_view what) {
    if (is_lost_) return;
    is_lost_ = true;
    std::cerr << "connection " << number_ << " is lost: " << what << ": " << std::strerror(errno)
              << "\n";
  }

  const std::uint64_t run_;
  const std::uint64_t number_;
  const int socket_;
  bool is_lost_ = false;
  FrameReader reader_{kFrameBytesMax};
  std::string output_;
  std::size_t sent_ = 0;
  std::uint64_t asked_ = 0;
  std::uint64_t inserted_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t errors_ = 0;
  std::string first_error_;
  std::deque<UnderWay> under_way_;
};

struct Options {
  double seconds = 1;
  std::size_t connections = 16;
  std::size_t ahead = 1;
  bool slow = false;
  bool only_inserts = false;
};

class Load {
 public:
  Load(std::uint16_t port, const Options& options) : options_(options) {
    const auto run = static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i < options.connections; ++i) {
      connections_.push_back(std::make_unique<Connection>(port, run, i));
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      ALOS_CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_.back()->socket(), &event) == 0);
    }
    resting_until_.resize(options.connections);
  }
  ~Load() { ::close(epoll_); }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Until `end`; then until everything is answered.
  void Run() {
    const Clock::time_point start = Clock::now();
    const auto end = start + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(options_.seconds));
    for (std::size_t i = 0; i < connections_.size(); ++i) Fill(i);
    bool is_over = false;
    Clock::time_point answered_last = start;
    std::vector<epoll_event> events(256);
    while (true) {
      const Clock::time_point now = Clock::now();
      if (!is_over && now >= end) {
        is_over = true;
        seconds_ = std::chrono::duration<double>(now - start).count();
        answers_in_time_ = latencies_.size();
      }
      if (is_over && UnderWay() == 0) break;
      if (now - answered_last > std::chrono::seconds(60)) {
        std::cerr << "no answer for a minute\n";
        break;
      }
      for (; !resting_.empty() && resting_until_[resting_.front()] <= now; resting_.pop_front())
        Watch(resting_.front(), true);
      const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                                     resting_.empty() ? 20 : 1);
      for (int e = 0; e < ready; ++e) {
        const std::size_t i = events[static_cast<std::size_t>(e)].data.u64;
        Connection& connection = *connections_[i];
        if (connection.is_lost()) {
          ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.socket(), nullptr);
          continue;
        }
        if ((events[static_cast<std::size_t>(e)].events & ~EPOLLOUT) != 0) {
          const bool any = connection.Receive(std::size_t{64} << 10, [&](Clock::duration latency) {
            answered_last = Clock::now();
            latencies_.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>(
                UINT32_MAX,
                std::chrono::duration_cast<std::chrono::microseconds>(latency).count())));
            if (!is_over) CountTenth(answered_last - start);
          });
          if (any) answered_last = Clock::now();
          // The rest of it later.
          if (options_.slow && any && !is_over) {
            resting_until_[i] = Clock::now() + std::chrono::milliseconds(2);
            resting_.push_back(i);
            Watch(i, false);
          }
        }
        if (!is_over) Fill(i);
        connection.Send();
        Watch(i, !options_.slow || resting_until_[i] <= Clock::now() || is_over);
      }
    }
  }

  // Asks for what was acknowledged: all of the last hundred of each connection, some of the others.
  std::uint64_t Missing() {
    std::uint64_t missing = 0;
    for (const auto& connection : connections_) {
      if (connection->is_lost()) continue;
      const std::uint64_t before = connection->errors();
      const std::uint64_t all = connection->acknowledged();
      const std::uint64_t step = std::max<std::uint64_t>(1, all / 200);
      for (std::uint64_t i = 0; i < all; i += i + 100 >= all ? 1 : step) {
        connection->Check(i);
        connection->Send();
        while (connection->under_way() > 0 && !connection->is_lost()) {
          if (!connection->Receive(std::size_t{64} << 10, [](Clock::duration) {}))
            std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
      }
      missing += connection->errors() - before;
    }
    return missing;
  }

  int Report() {
    std::uint64_t lost = 0;
    std::uint64_t errors = 0;
    std::uint64_t acknowledged = 0;
    for (const auto& connection : connections_) {
      lost += connection->is_lost();
      errors += connection->errors();
      acknowledged += connection->acknowledged();
      if (connection->errors() != 0) std::cerr << "an error: " << connection->first_error() << "\n";
    }
    const std::uint64_t unanswered = UnderWay();
    const std::uint64_t missing = Missing();
    std::sort(latencies_.begin(), latencies_.end());
    const auto percentile = [&](double fraction) {
      if (latencies_.empty()) return 0U;
      return latencies_[static_cast<std::size_t>(fraction *
                                                 static_cast<double>(latencies_.size() - 1))];
    };
    std::cout << absl::StrFormat(
        "connections=%d ahead=%d per_second=%.0f p50_us=%d p99_us=%d acknowledged=%d lost=%d "
        "unanswered=%d errors=%d missing=%d\n",
        options_.connections, options_.ahead,
        static_cast<double>(answers_in_time_) / std::max(seconds_, 1e-9), percentile(0.5),
        percentile(0.99), acknowledged, lost, unanswered, errors, missing);
    return lost + unanswered + errors + missing == 0 ? 0 : 1;
  }

  void ReportTenths() {
    std::cout << "in tenths of a second:";
    for (const std::uint64_t count : tenths_) std::cout << " " << count;
    std::cout << "\n";
  }

 private:
  void Fill(std::size_t i) {
    Connection& connection = *connections_[i];
    if (connection.is_lost()) return;
    while (connection.under_way() < options_.ahead)
      connection.Ask(options_.slow, options_.only_inserts);
    connection.Send();
  }

  void Watch(std::size_t i, bool reads) {
    Connection& connection = *connections_[i];
    if (connection.is_lost()) return;
    epoll_event event{.events = (reads ? EPOLLIN : 0U) | (connection.has_unsent() ? EPOLLOUT : 0U),
                      .data = {.u64 = i}};
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.socket(), &event);
  }

  std::uint64_t UnderWay() const {
    std::uint64_t all = 0;
    for (const auto& connection : connections_) {
      if (!connection->is_lost()) all += connection->under_way();
    }
    return all;
  }

  void CountTenth(Clock::duration since) {
    const auto tenth = static_cast<std::size_t>(since / std::chrono::milliseconds(100));
    if (tenths_.size() <= tenth) tenths_.resize(tenth + 1);
    ++tenths_[tenth];
  }

  const Options options_;
  int epoll_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::deque<std::size_t> resting_;
  std::vector<Clock::time_point> resting_until_;
  std::vector<std::uint32_t> latencies_;  // microseconds
  std::vector<std::uint64_t> tenths_;
  std::uint64_t answers_in_time_ = 0;
  double seconds_ = 0;
};

int PrintQueues(std::uint16_t port) {
  Connection connection(port, 0, 0);
  std::string request;
  const std::string none("\x80", 1);
  AppendRequest(1, Operation::kStats, ValueView::FromTrusted(none), &request);
  ALOS_CHECK(::send(connection.socket(), request.data(), request.size(), MSG_NOSIGNAL) ==
             static_cast<ssize_t>(request.size()));
  FrameReader reader(kFrameBytesMax);
  while (true) {
    const absl::Span<char> room = reader.Prepare();
    const ssize_t size = ::recv(connection.socket(), room.data(), room.size(), 0);
    if (size <= 0) return 1;
    reader.Commit(static_cast<std::size_t>(size));
    const absl::StatusOr<std::optional<absl::Span<char>>> frame = reader.Next();
    if (!frame.ok()) return 1;
    if (!frame->has_value()) continue;
    const absl::StatusOr<Response> response =
        ParseResponse(std::string_view((*frame)->data(), (*frame)->size()));
    if (!response.ok() || !response->result) return 1;
    const std::optional<ValueView> queues = response->result->Find("queues");
    if (!queues || !queues->IsDocument()) return 1;
    for (const auto [name, queue] : queues->entries()) {
      const auto number = [&queue = queue](std::string_view key) {
        const std::optional<ValueView> value = queue.Find(key);
        return value ? value->ToInt64().value_or(-1) : -1;
      };
      std::cout << name << " depth=" << number("depth") << " bound=" << number("bound")
                << " high_water=" << number("high_water") << " warnings=" << number("warnings")
                << "\n";
    }
    return 0;
  }
}

int Main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  const auto port = static_cast<std::uint16_t>(argc > 2 ? std::atoi(argv[2]) : 0);
  if (what == "queues" && argc == 3) return PrintQueues(port);
  if ((what != "load" || argc < 6) && (what != "rate" || argc < 5)) {
    std::cerr << "usage: see overload.cc\n";
    return 2;
  }
  Options options;
  options.seconds = std::atof(argv[3]);
  options.connections = static_cast<std::size_t>(std::max(1, std::atoi(argv[4])));
  if (what == "rate") {
    options.only_inserts = true;
  } else {
    options.ahead = static_cast<std::size_t>(std::max(1, std::atoi(argv[5])));
    options.slow = argc > 6;
  }
  Load load(port, options);
  load.Run();
  const int result = load.Report();
  if (what == "rate") load.ReportTenths();
  return result;
}

}  // namespace
}  // namespace alos

int main(int argc, char** argv) { return alos::Main(argc, argv); }
