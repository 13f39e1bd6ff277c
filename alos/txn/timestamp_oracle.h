// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Hands out commit timestamps and knows the newest one below which everything is installed.

#ifndef ALOS_TXN_TIMESTAMP_ORACLE_H_
#define ALOS_TXN_TIMESTAMP_ORACLE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "alos/base/atomics.h"

namespace alos {

// A commit takes a timestamp with Allocate(), installs its records, then calls Install(). A
// snapshot is the number visible(): every commit up to it is installed, whatever order they
// finished in. Threads: all members, any thread, no lock. Install waits (yielding) only while
// kWindow later timestamps are outstanding.
template <class Atomics, std::uint64_t kWindow>
class BasicTimestampOracle {
 public:
  // Timestamps start at newest + 1.
  explicit BasicTimestampOracle(std::uint64_t newest) : next_(newest + 1), visible_(newest) {
    for (auto& slot : *installed_) slot.store(0, std::memory_order_relaxed);
  }
  BasicTimestampOracle(const BasicTimestampOracle&) = delete;
  BasicTimestampOracle& operator=(const BasicTimestampOracle&) = delete;

  std::uint64_t Allocate() { return next_.fetch_add(1, std::memory_order_relaxed); }

  void Install(std::uint64_t timestamp) {
    while (timestamp - visible_.load(std::memory_order_acquire) > kWindow) Atomics::Yield();
    // Sequentially consistent, as are the loads below: of two neighbours that finish at once, at
    // least one sees the other's slot, so visible_ never stays behind.
    Slot(timestamp).store(timestamp, std::memory_order_seq_cst);
    std::uint64_t visible = visible_.load(std::memory_order_seq_cst);
    while (Slot(visible + 1).load(std::memory_order_seq_cst) == visible + 1) {
      if (visible_.compare_exchange_weak(visible, visible + 1, std::memory_order_seq_cst))
        ++visible;
    }
  }

  // Acquire: what was installed up to the returned timestamp is seen by the caller.
  std::uint64_t visible() const { return visible_.load(std::memory_order_acquire); }
  // The newest timestamp handed out.
  std::uint64_t newest() const { return next_.load(std::memory_order_relaxed) - 1; }

 private:
  using Number = typename Atomics::template Atomic<std::uint64_t>;

  Number& Slot(std::uint64_t timestamp) { return (*installed_)[timestamp % kWindow]; }

  alignas(64) Number next_;
  alignas(64) Number visible_;
  const std::unique_ptr<std::array<Number, kWindow>> installed_ =
      std::make_unique<std::array<Number, kWindow>>();
};

using TimestampOracle = BasicTimestampOracle<StdAtomics, 4096>;

}  // namespace alos

#endif  // ALOS_TXN_TIMESTAMP_ORACLE_H_
