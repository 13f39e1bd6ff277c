// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What alos/base/atomics.h names, of the model checker Relacy, for the code that ships; and the
// same made worse, to see that the models notice.
//
// Included behind everything else: Relacy's header takes words of the language.

#ifndef ALOS_TESTING_MODELS_MODEL_ATOMICS_H_
#define ALOS_TESTING_MODELS_MODEL_ATOMICS_H_

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "relacy/relacy.hpp"
#undef VAR
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno

namespace alos::models {

// A seeded bug.
enum class Bug {
  kNone,
  kNoRelease,      // stores are relaxed
  kNoAcquire,      // loads are relaxed
  kNoReadModify,   // read-modify-writes are a load and, where it changes something, a store
  kRelaxedModify,  // read-modify-writes are relaxed
  kNoTotalOrder,   // acquire and release in place of sequential consistency
  kNoLock,         // locks exclude nobody
  kNoWakeUp,       // who waits for a condition is not told that it holds
};

// The threads are those of a model (rl::test_suite). A `Thread` that the code starts is run by one
// of them: RunThread.
template <Bug kBug>
struct ModelAtomics {
  template <class T>
  class Atomic {
   public:
    Atomic() : Atomic(T()) {}
    Atomic(T value) { value_.store(value, rl::mo_relaxed, $); }  // NOLINT: as std::atomic

    operator T() const { return load(std::memory_order_seq_cst); }  // NOLINT: as std::atomic
    T load(std::memory_order order) const { return value_.load(Load(order), $); }
    void store(T value, std::memory_order order) { value_.store(value, Store(order), $); }
    T exchange(T value, std::memory_order order) {
      if (kBug != Bug::kNoReadModify) return value_.exchange(value, Modify(order), $);
      const T old = value_.load(rl::mo_acquire, $);
      value_.store(value, rl::mo_release, $);
      return old;
    }
    T fetch_add(T count, std::memory_order order) {
      if (kBug != Bug::kNoReadModify) return value_.fetch_add(count, Modify(order), $);
      const T old = value_.load(rl::mo_acquire, $);
      if (count != T()) value_.store(old + count, rl::mo_release, $);
      return old;
    }
    T fetch_sub(T count, std::memory_order order) {
      if (kBug != Bug::kNoReadModify) return value_.fetch_sub(count, Modify(order), $);
      const T old = value_.load(rl::mo_acquire, $);
      value_.store(old - count, rl::mo_release, $);
      return old;
    }
    bool compare_exchange_weak(T& expected, T value, std::memory_order order) {
      return value_.compare_exchange_weak(expected, value, Modify(order), $);
    }
    bool compare_exchange_strong(T& expected, T value, std::memory_order order) {
      return value_.compare_exchange_strong(expected, value, Modify(order), $);
    }

   private:
    static rl::memory_order Of(std::memory_order order) {
      if (kBug == Bug::kNoTotalOrder && order == std::memory_order_seq_cst) return rl::mo_acq_rel;
      switch (order) {
        case std::memory_order_relaxed:
          return rl::mo_relaxed;
        case std::memory_order_consume:
        case std::memory_order_acquire:
          return rl::mo_acquire;
        case std::memory_order_release:
          return rl::mo_release;
        case std::memory_order_acq_rel:
          return rl::mo_acq_rel;
        case std::memory_order_seq_cst:
          break;
      }
      return rl::mo_seq_cst;
    }
    static rl::memory_order Load(std::memory_order order) {
      const rl::memory_order wanted = kBug == Bug::kNoAcquire ? rl::mo_relaxed : Of(order);
      return wanted == rl::mo_acq_rel ? rl::mo_acquire : wanted;
    }
    static rl::memory_order Store(std::memory_order order) {
      const rl::memory_order wanted = kBug == Bug::kNoRelease ? rl::mo_relaxed : Of(order);
      return wanted == rl::mo_acq_rel ? rl::mo_release : wanted;
    }
    static rl::memory_order Modify(std::memory_order order) {
      return kBug == Bug::kRelaxedModify ? rl::mo_relaxed : Of(order);
    }

    rl::atomic<T> value_;
  };

  class Condition {
   public:
    template <class T>
    Condition(const T* object, bool (T::*holds)() const)
        : holds_([object, holds] { return (object->*holds)(); }) {}
    explicit Condition(const bool* flag) : holds_([flag] { return *flag; }) {}
    bool Holds() const { return holds_(); }

   private:
    std::function<bool()> holds_;
  };

  // absl::Mutex's rule: who gives it up wakes those whose condition holds by then.
  class ABSL_LOCKABLE Mutex {
   public:
    void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if (kBug != Bug::kNoLock) mutex_.lock($);
    }
    bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return kBug == Bug::kNoLock || mutex_.try_lock($);
    }
    void Unlock() ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if (kBug == Bug::kNoLock) return;
      Wake();
      mutex_.unlock($);
    }
    void Await(const Condition& condition) {
      if (!condition.Holds()) Wake();
      while (!condition.Holds()) {
        waiting_.push_back(&condition);
        changed_.wait(mutex_, $);
        std::erase(waiting_, &condition);
      }
    }
    // The time may be up at once.
    bool AwaitWithTimeout(const Condition& condition,
                          absl::Duration) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      Unlock();
      Yield();
      Lock();
      return condition.Holds();
    }

   private:
    void Wake() {
      if (kBug == Bug::kNoWakeUp) return;
      if (std::any_of(waiting_.begin(), waiting_.end(),
                      [](const Condition* condition) { return condition->Holds(); }))
        changed_.notify_all($);
    }

    rl::mutex mutex_;
    rl::condition_variable changed_;
    std::vector<const Condition*> waiting_;
  };

  class ABSL_SCOPED_LOCKABLE MutexLock {
   public:
    explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
      mutex_->Lock();
    }
    ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_->Unlock(); }
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;

   private:
    Mutex* const mutex_;
  };

  class Thread {
   public:
    Thread() = default;
    explicit Thread(std::function<void()> body) : ended_(new Atomic<int>(0)) {
      bodies.push_back([body = std::move(body), ended = ended_.get()] {
        body();
        ended->store(1, std::memory_order_release);
      });
    }
    bool joinable() const { return ended_ != nullptr; }
    void join() {
      while (ended_->load(std::memory_order_acquire) == 0) Yield();
    }

   private:
    std::unique_ptr<Atomic<int>> ended_;
  };

  // What the code wanted a thread for, in the order in which it did. A model clears them first.
  static inline std::vector<std::function<void()>> bodies;

  static void Yield() { rl::yield(1, $); }
};

}  // namespace alos::models

#endif  // ALOS_TESTING_MODELS_MODEL_ATOMICS_H_
