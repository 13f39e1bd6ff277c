// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Memory that is kept for what must not stop half-way.
//
// A request that runs out of memory fails (std::bad_alloc, which whoever took the request turns
// into an answer), and is undone as every C++ object is. What cannot be undone, since others have
// seen a part of it, is a critical section: it begins only when there is a reserve, and lives on
// that when there is nothing else.
//
//   MemoryReserve::Critical critical;   // throws std::bad_alloc when there is no reserve
//   ... publish, install, tell ...

#ifndef ALOS_BASE_MEMORY_RESERVE_H_
#define ALOS_BASE_MEMORY_RESERVE_H_

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>

namespace alos {

// One for the process: a block of memory that nobody touches, so that it takes address space, not
// pages.
//
// Threads: all of it from any threads; a Critical belongs to the thread that made it.
// Lifetime: from Install() on, for ever.
// Errors: an allocation of a critical section that fails even without the reserve ends the process,
//   with a message: nothing that was acknowledged is lost by that, and what follows from half a
//   step might.
// Cost: of a critical section, one load and a counter of the thread.
class MemoryReserve {
 public:
  static constexpr std::size_t kBytes = std::size_t{64} << 20;

  // Puts the reserve behind operator new, in front of a handler (std::set_new_handler) that is
  // there. A program that sets one of its own later should call the one that it replaces.
  static void Install() {
    static std::once_flag once;
    std::call_once(once, [] {
      Fill();
      previous_handler = std::set_new_handler(&OnFailure);
    });
  }

  // While it lives, allocations of this thread do not throw. May be nested.
  class Critical {
   public:
    // Throws std::bad_alloc when there is no reserve, and none to be had.
    Critical() : Critical(std::nothrow) {
      if (depth > 1 || block.load(std::memory_order_relaxed) != nullptr || !is_installed()) return;
      throw std::bad_alloc();
    }
    // For what has nobody who could be told: threads, and what cannot be put off.
    explicit Critical(const std::nothrow_t&) noexcept {
      if (depth++ == 0 && block.load(std::memory_order_relaxed) == nullptr && is_installed())
        Fill();
    }
    ~Critical() { --depth; }
    Critical(const Critical&) = delete;
    Critical& operator=(const Critical&) = delete;
  };

 private:
  static bool is_installed() { return std::get_new_handler() != nullptr; }

  static void Fill() noexcept {
    void* const fresh = std::malloc(kBytes);
    void* none = nullptr;
    if (fresh != nullptr && !block.compare_exchange_strong(none, fresh)) std::free(fresh);
  }

  static void OnFailure() {
    if (depth == 0) {
      if (previous_handler == nullptr) throw std::bad_alloc();
      previous_handler();
      return;
    }
    void* const taken = block.exchange(nullptr);
    if (taken == nullptr) {
      std::fputs(
          "alos: out of memory, and of its reserve, where nothing can be undone: the process "
          "ends\n",
          stderr);
      std::abort();
    }
    std::free(taken);  // and operator new tries again
  }

  static inline std::atomic<void*> block{nullptr};
  static inline std::new_handler previous_handler = nullptr;
  static inline thread_local int depth = 0;
};

}  // namespace alos

#endif  // ALOS_BASE_MEMORY_RESERVE_H_
