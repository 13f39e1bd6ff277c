// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a page of a mapped file that its device cannot read. The kernel raises SIGBUS;
// without this the process ends, with it the page reads as zeros from then on, and it is counted.
// Nothing that is checked by a checksum is mistaken for what was lost, so that one request fails
// and the server lives.

#ifndef ALOS_BASE_MAPPED_READ_GUARD_H_
#define ALOS_BASE_MAPPED_READ_GUARD_H_

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "alos/base/check.h"

namespace alos {

// Guards one mapping while it lives.
//
// Threads: any; reads of the guarded memory may fault on many of them at once. Lifetime: destroyed
// before the memory is unmapped. Errors: none. A SIGBUS of an address that nobody guards goes to
// whoever handled it before, or ends the process. Cost: a lock in the constructor; nothing for
// reads that succeed.
//
// A store to such a page changes memory only, never the file: who stores must look at failed_end()
// before he relies on it.
class MappedReadGuard {
 public:
  // `is_read_only`: counted by read_only_failures(), too.
  MappedReadGuard(const void* begin, std::size_t bytes, bool is_read_only)
      : is_read_only_(is_read_only) {
    if (bytes == 0) return;
    Registry& registry = GetRegistry();
    absl::MutexLock lock(&registry.mutex);
    slot_ = registry.free;
    if (slot_ != nullptr) {
      registry.free = slot_->next_free;
    } else {
      if (registry.used % kChunkSlots == 0) AddChunk(&registry);
      slot_ = &registry.last->slots[registry.used++ % kChunkSlots];
    }
    slot_->failures = 0;
    slot_->failed_end = 0;
    slot_->is_read_only = is_read_only_;
    slot_->end.store(reinterpret_cast<std::uintptr_t>(begin) + bytes, std::memory_order_relaxed);
    slot_->begin.store(reinterpret_cast<std::uintptr_t>(begin), std::memory_order_release);
  }
  ~MappedReadGuard() {
    if (slot_ == nullptr) return;
    Registry& registry = GetRegistry();
    absl::MutexLock lock(&registry.mutex);
    slot_->begin.store(kNone, std::memory_order_release);
    slot_->next_free = registry.free;
    registry.free = slot_;
  }
  MappedReadGuard(const MappedReadGuard&) = delete;
  MappedReadGuard& operator=(const MappedReadGuard&) = delete;

  // Pages of this mapping that could not be read.
  std::uint64_t failures() const {
    return slot_ == nullptr ? 0 : slot_->failures.load(std::memory_order_acquire);
  }
  // One past the last of them, from the start of the mapping; 0: none.
  std::uint64_t failed_end() const {
    return slot_ == nullptr ? 0 : slot_->failed_end.load(std::memory_order_acquire);
  }
  // Those of all mappings that are read only, of which nobody checks the bytes a second time.
  static std::uint64_t read_only_failures() {
    return ReadOnlyFailures().load(std::memory_order_acquire);
  }

 private:
  static constexpr std::uintptr_t kNone = ~std::uintptr_t{0};
  static constexpr std::size_t kChunkSlots = 256;

  struct Slot {
    std::atomic<std::uintptr_t> begin{kNone};
    std::atomic<std::uintptr_t> end{0};
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::uint64_t> failed_end{0};
    std::atomic<bool> is_read_only{false};
    Slot* next_free = nullptr;
  };
  // Chunks are never freed: the handler walks them without a lock.
  struct Chunk {
    std::array<Slot, kChunkSlots> slots;
    std::atomic<Chunk*> next{nullptr};
  };
  struct Registry {
    absl::Mutex mutex;
    Chunk first;
    Chunk* last = nullptr;
    Slot* free = nullptr;
    std::size_t used = 0;
    struct sigaction previous = {};
    std::uintptr_t page_bytes = 4096;
  };

  static Registry& GetRegistry() {
    static Registry* const registry = Install();
    return *registry;
  }
  static std::atomic<std::uint64_t>& ReadOnlyFailures() {
    static std::atomic<std::uint64_t> failures{0};
    return failures;
  }

  static Registry* Install() {
    auto* const registry = new Registry;
    registry->page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    ReadOnlyFailures();
    ForHandler().store(registry, std::memory_order_release);
    struct sigaction action = {};
    action.sa_sigaction = &OnSigbus;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ALOS_CHECK(::sigaction(SIGBUS, &action, &registry->previous) == 0);
    return registry;
  }
  // Without a lock, which initialising a local static takes.
  static std::atomic<Registry*>& ForHandler() {
    static constinit std::atomic<Registry*> registry{nullptr};
    return registry;
  }

  static void AddChunk(Registry* registry) {
    if (registry->last == nullptr) {
      registry->last = &registry->first;
      return;
    }
    auto* const chunk = new Chunk;
    registry->last->next.store(chunk, std::memory_order_release);
    registry->last = chunk;
  }

  // In a signal handler: atomics and system calls only.
  static void OnSigbus(int number, siginfo_t* info, void* context) {
    const int saved_errno = errno;
    Registry* const registry = ForHandler().load(std::memory_order_acquire);
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    const std::uintptr_t page = address / registry->page_bytes * registry->page_bytes;
    bool is_ours = false;
    for (Chunk* chunk = &registry->first; chunk != nullptr;
         chunk = chunk->next.load(std::memory_order_acquire)) {
      for (Slot& slot : chunk->slots) {
        const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
        if (address < begin || address >= slot.end.load(std::memory_order_relaxed)) continue;
        // Counted before the page can be read. Two threads that fault at once may both replace it:
        // nobody has stored to it before the instruction is repeated, but on the other thread; then
        // failed_end() has told him.
        is_ours = true;
        slot.failures.fetch_add(1, std::memory_order_acq_rel);
        std::uint64_t end = slot.failed_end.load(std::memory_order_relaxed);
        const std::uint64_t failed = page + registry->page_bytes - begin;
        while (end < failed && !slot.failed_end.compare_exchange_weak(end, failed)) {
        }
        if (slot.is_read_only.load(std::memory_order_relaxed))
          ReadOnlyFailures().fetch_add(1, std::memory_order_acq_rel);
      }
    }
    if (is_ours) {
      // The system call itself: a sanitizer takes mmap() for a store of this thread to the page.
      const std::int64_t mapped =
          ::syscall(SYS_mmap, page, registry->page_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
      errno = saved_errno;
      if (mapped != -1) return;
    }
    // Not ours: as if we were not there. Without a handler the access is repeated, and ends us.
    if ((registry->previous.sa_flags & SA_SIGINFO) != 0 &&
        registry->previous.sa_sigaction != nullptr) {
      registry->previous.sa_sigaction(number, info, context);
    } else if (registry->previous.sa_handler != SIG_DFL &&
               registry->previous.sa_handler != SIG_IGN) {
      registry->previous.sa_handler(number);
    } else {
      struct sigaction action = {};
      action.sa_handler = SIG_DFL;
      ::sigaction(SIGBUS, &action, nullptr);
    }
  }

  const bool is_read_only_;
  Slot* slot_ = nullptr;
};

}  // namespace alos

#endif  // ALOS_BASE_MAPPED_READ_GUARD_H_
