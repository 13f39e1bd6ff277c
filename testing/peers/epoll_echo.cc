// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The least a server can do: takes frames, answers each with a frame of a fixed size, touches
// nothing else. What a real server is measured against on the same machine.
//
// Usage: epoll_echo PORT RESPONSE_BYTES [THREADS]
// PORT 0 picks one; the port is printed. RESPONSE_BYTES is the size on the wire (8 to 1 MiB), with
// the length's four bytes; the first bytes of the request are given back. Listens on the loopback
// only and ends when its standard input does.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kFrameBytesMax = 1 << 20;

struct Peer {
  std::string input;
  std::string output;
  std::size_t sent = 0;
};

[[noreturn]] void Fail(const char* call) {
  std::perror(call);
  std::exit(1);
}

// Each thread has its own listening socket on the same port; the kernel spreads the connections.
int Listen(std::uint16_t* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) Fail("socket");
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(*port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), size) != 0) Fail("bind");
  if (listen(listener, SOMAXCONN) != 0) Fail("listen");
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Fail("getsockname");
  }
  *port = ntohs(address.sin_port);
  return listener;
}

// Answers every whole frame in `peer.input`. False: the peer sent nonsense.
bool Answer(Peer& peer, std::size_t response_bytes) {
  std::size_t taken = 0;
  while (peer.input.size() - taken >= kLengthBytes) {
    std::uint32_t length;
    std::memcpy(&length, peer.input.data() + taken, sizeof(length));
    length = ntohl(length);
    if (length > kFrameBytesMax) return false;
    if (peer.input.size() - taken - kLengthBytes < length) break;
    const std::uint32_t payload_bytes = static_cast<std::uint32_t>(response_bytes - kLengthBytes);
    const std::uint32_t big_endian = htonl(payload_bytes);
    const std::size_t start = peer.output.size();
    peer.output.resize(start + response_bytes, 'x');
    std::memcpy(peer.output.data() + start, &big_endian, sizeof(big_endian));
    std::memcpy(peer.output.data() + start + kLengthBytes, peer.input.data() + taken + kLengthBytes,
                std::min(length, payload_bytes));
    taken += kLengthBytes + length;
  }
  peer.input.erase(0, taken);
  return true;
}

// Sends what the socket takes. False: the connection is over.
bool Flush(int epoll, int descriptor, Peer& peer) {
  const bool waited = peer.sent != 0;
  while (peer.sent < peer.output.size()) {
    const ssize_t size = send(descriptor, peer.output.data() + peer.sent,
                              peer.output.size() - peer.sent, MSG_NOSIGNAL);
    if (size < 0 && errno == EAGAIN) {
      epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.fd = descriptor}};
      return epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0;
    }
    if (size < 0) return false;
    peer.sent += static_cast<std::size_t>(size);
  }
  peer.output.clear();
  peer.sent = 0;
  if (!waited) return true;
  epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
  return epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0;
}

bool Serve(int epoll, int descriptor, Peer& peer, std::size_t response_bytes) {
  std::array<char, 64 << 10> buffer;
  const ssize_t size = recv(descriptor, buffer.data(), buffer.size(), 0);
  if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (size > 0) peer.input.append(buffer.data(), static_cast<std::size_t>(size));
  return Answer(peer, response_bytes) && Flush(epoll, descriptor, peer);
}

void Run(int listener, std::size_t response_bytes) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) Fail("epoll_create1");
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) Fail("epoll_ctl");
  std::unordered_map<int, std::unique_ptr<Peer>> peers;
  std::array<epoll_event, 256> events;
  for (;;) {
    const int ready = epoll_wait(epoll, events.data(), events.size(), -1);
    for (int i = 0; i < ready; ++i) {
      const int descriptor = events[i].data.fd;
      if (descriptor == listener) {
        const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted < 0) continue;
        const int on = 1;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        epoll_event added{.events = EPOLLIN, .data = {.fd = accepted}};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &added) != 0) Fail("epoll_ctl");
        peers[accepted] = std::make_unique<Peer>();
      } else if (!Serve(epoll, descriptor, *peers[descriptor], response_bytes)) {
        peers.erase(descriptor);
        close(descriptor);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: epoll_echo PORT RESPONSE_BYTES [THREADS]\n");
    return 2;
  }
  std::uint16_t port = static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10));
  const std::size_t response_bytes = std::strtoul(argv[2], nullptr, 10);
  if (response_bytes < 8 || response_bytes > kFrameBytesMax) {
    std::fprintf(stderr, "epoll_echo: RESPONSE_BYTES must be 8 to %zu\n", kFrameBytesMax);
    return 2;
  }
  unsigned threads = argc == 4 ? static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10))
                               : std::thread::hardware_concurrency();
  threads = std::clamp(threads, 1U, 256U);
  for (unsigned i = 0; i < threads; ++i) {
    const int listener = Listen(&port);
    std::thread([=] { Run(listener, response_bytes); }).detach();
  }
  std::printf("%u\n", port);
  std::fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  std::_Exit(0);
}
