// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// SIGTERM and SIGINT for a program that has to stop in order.

#ifndef ALOS_SERVER_STOP_SIGNAL_H_
#define ALOS_SERVER_STOP_SIGNAL_H_

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string_view>

#include "alos/base/check.h"

namespace alos {

// The first SIGTERM or SIGINT after Arm() makes Wait() return; the next one ends the process at
// once, as does one before Arm(), with the exit code a shell expects (128 + its number). Nothing
// that was promised is lost by ending at once: the next start recovers. SIGPIPE is ignored.
//
// Threads: Wait on one; signals may arrive on any. Lifetime: one per process, for all of its life.
class StopSignal {
 public:
  StopSignal() {
    ALOS_CHECK(event_ < 0);
    event_ = eventfd(0, EFD_CLOEXEC);
    ALOS_CHECK(event_ >= 0);
    struct sigaction action = {};
    action.sa_handler = &Handle;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    ALOS_CHECK(sigaction(SIGTERM, &action, nullptr) == 0);
    ALOS_CHECK(sigaction(SIGINT, &action, nullptr) == 0);
    ALOS_CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
  }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  void Arm() { patience_.store(1, std::memory_order_relaxed); }

  // The number of the signal that came.
  int Wait() {
    std::uint64_t number = 0;
    while (read(event_, &number, sizeof(number)) != sizeof(number)) ALOS_CHECK(errno == EINTR);
    return static_cast<int>(number);
  }

 private:
  // Calls only what a signal handler may.
  static void Handle(int number) {
    const int saved_errno = errno;
    if (patience_.fetch_sub(1, std::memory_order_relaxed) <= 0) {
      constexpr std::string_view kText = "alos: stopped at once, by signal\n";
      if (write(STDERR_FILENO, kText.data(), kText.size())) {
      }
      _exit(128 + number);
    }
    const std::uint64_t value = static_cast<std::uint64_t>(number);
    if (write(event_, &value, sizeof(value))) {
    }
    errno = saved_errno;
  }

  static inline int event_ = -1;
  static inline std::atomic<int> patience_{0};
  static_assert(std::atomic<int>::is_always_lock_free);
};

}  // namespace alos

#endif  // ALOS_SERVER_STOP_SIGNAL_H_
