// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a server counts about its connections.

#ifndef ALOS_NET_COUNTERS_H_
#define ALOS_NET_COUNTERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "alos/base/queue_gauge.h"

namespace alos {

enum class NetCounter : std::uint8_t {
  kConnectionsAccepted,
  kConnectionsClosed,
  kConnectionsRefused,  // over a limit
  kConnectionsTimedOut,
  kHandshakes,
  kHandshakesFailed,
  kRequests,
  kErrors,  // requests answered with an error
  kBytesReceived,
  kBytesSent,
};
inline constexpr std::size_t kNetCounterCount = 10;

// As it stands in statistics: "connections_accepted".
constexpr std::string_view NetCounterName(NetCounter counter) {
  constexpr std::string_view kNames[kNetCounterCount] = {"connections_accepted",
                                                         "connections_closed",
                                                         "connections_refused",
                                                         "connections_timed_out",
                                                         "handshakes",
                                                         "handshakes_failed",
                                                         "requests",
                                                         "errors",
                                                         "bytes_received",
                                                         "bytes_sent"};
  return kNames[static_cast<std::size_t>(counter)];
}

// Threads: any; each thread counts in a cache line of its own (threads beyond sixteen share).
// Lifetime, durability: a value in memory. Errors: none. Cost of Add: one uncontended atomic
// addition.
class NetCounters {
 public:
  // Requests that wait for a worker, or are with one: one of a connection at most.
  QueueGauge& work() { return work_; }
  const QueueGauge& work() const { return work_; }
  // Bytes of requests that are being received, and of answers that their peers have not read yet,
  // beyond what every connection may have.
  QueueGauge& buffers() { return buffers_; }
  const QueueGauge& buffers() const { return buffers_; }
  // Connections that are open.
  QueueGauge& connections() { return connections_; }
  const QueueGauge& connections() const { return connections_; }

  void Add(NetCounter counter, std::uint64_t amount = 1) {
    ThreadSlot().values[static_cast<std::size_t>(counter)].fetch_add(amount,
                                                                     std::memory_order_relaxed);
  }

  std::uint64_t Get(NetCounter counter) const {
    std::uint64_t sum = 0;
    for (const Slot& slot : slots_) {
      sum += slot.values[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  static constexpr std::size_t kSlots = 16;
  struct alignas(128) Slot {
    std::array<std::atomic<std::uint64_t>, kNetCounterCount> values = {};
  };

  Slot& ThreadSlot() {
    static std::atomic<std::size_t> next{0};
    thread_local const std::size_t index = next.fetch_add(1, std::memory_order_relaxed) % kSlots;
    return slots_[index];
  }

  std::array<Slot, kSlots> slots_;
  QueueGauge work_{
      "work", 0,
      "nearly every connection has a long request waiting; more cores, indexes for the "
      "queries that scan, or fewer connections would help"};
  QueueGauge buffers_{"buffers", 0,
                      "bytes of large requests and of answers that are not read: when it is full, "
                      "their connections wait; read answers sooner, ask for less at once, or raise "
                      "--connection-memory-mb"};
  QueueGauge connections_{"connections", 0,
                          "more connections will be refused when it is full; close those that are "
                          "not used"};
};

}  // namespace alos

#endif  // ALOS_NET_COUNTERS_H_
