// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A connection that is lost at the worst moment.

#ifndef ALOS_TESTING_ISOLATION_LOSSY_PROXY_H_
#define ALOS_TESTING_ISOLATION_LOSSY_PROXY_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/check.h"

namespace alos {

// Passes bytes on between clients and a server on this machine, and loses connections: before what
// the server answered is passed on, once in `lost_in` times. The server need not be there all the
// time. Threads: any.
class LossyProxy {
 public:
  LossyProxy(std::uint16_t server, unsigned lost_in) : server_(server), lost_in_(lost_in) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Address(0);
    ALOS_CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    ALOS_CHECK(::listen(listener_, 64) == 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }
  // The clients must have closed their connections, or the server its.
  ~LossyProxy() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    absl::MutexLock lock(&mutex_);
    const auto is_idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_ == 0; };
    mutex_.Await(absl::Condition(&is_idle));
  }
  LossyProxy(const LossyProxy&) = delete;
  LossyProxy& operator=(const LossyProxy&) = delete;

  std::uint16_t port() const { return port_; }
  int lost() const { return lost_; }

 private:
  static sockaddr_in Address(std::uint16_t port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  void Accept() {
    while (true) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in address = Address(server_);
      if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        ::close(client);
        ::close(server);
        continue;
      }
      {
        absl::MutexLock lock(&mutex_);
        ++open_;
      }
      std::thread([this, client, server] {
        std::thread up([client, server] { Pass(client, server, [] { return false; }); });
        Pass(server, client, [this] { return Random() % lost_in_ == 0 && ++lost_ > 0; });
        up.join();
        ::close(client);
        ::close(server);
        absl::MutexLock lock(&mutex_);
        --open_;
      }).detach();
    }
  }
  template <class Loses>
  static void Pass(int from, int to, Loses&& loses) {
    char bytes[65536];
    while (true) {
      const ssize_t got = ::recv(from, bytes, sizeof bytes, 0);
      if (got <= 0 || loses()) break;
      if (::send(to, bytes, static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) break;
    }
    ::shutdown(from, SHUT_RDWR);
    ::shutdown(to, SHUT_RDWR);
  }
  std::uint64_t Random() { return (state_.fetch_add(1) * 0x9E3779B97F4A7C15u) >> 40; }

  const std::uint16_t server_;
  const unsigned lost_in_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> lost_{0};
  std::atomic<std::uint64_t> state_{1};
  absl::Mutex mutex_;
  int open_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread acceptor_;
};

}  // namespace alos

#endif  // ALOS_TESTING_ISOLATION_LOSSY_PROXY_H_
