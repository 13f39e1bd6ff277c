// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A value that is read without a lock, and replaced whole.

#ifndef ALOS_BASE_COPY_ON_WRITE_H_
#define ALOS_BASE_COPY_ON_WRITE_H_

#include <atomic>
#include <memory>

#include "absl/functional/function_ref.h"
#include "alos/base/atomics.h"
#include "alos/base/epoch.h"

namespace alos {

// Threads: Get by any, inside a guard of `epochs`, never waiting; Change by any, one at a time.
// Lifetime: the manager outlives it; what Get returned is valid, and constant, while the guard
// lives. Errors: none, but what copying T throws: then nothing has changed.
// Cost: Get is one load; Change copies the value.
template <class T, class Atomics = StdAtomics>
class CopyOnWrite {
 public:
  explicit CopyOnWrite(BasicEpochManager<Atomics>* epochs) : epochs_(epochs), value_(new T) {}
  ~CopyOnWrite() { delete value_.load(std::memory_order_relaxed); }
  CopyOnWrite(const CopyOnWrite&) = delete;
  CopyOnWrite& operator=(const CopyOnWrite&) = delete;

  const T* Get() const { return value_.load(std::memory_order_acquire); }

  // Replaces the value by what `change` makes of a copy; a `change` that returns false leaves it.
  bool Change(absl::FunctionRef<bool(T*)> change) {
    typename Atomics::MutexLock lock(&mutex_);
    auto next = std::make_unique<T>(*value_.load(std::memory_order_relaxed));
    if (!change(next.get())) return false;
    T* const old = value_.exchange(next.release(), std::memory_order_acq_rel);
    epochs_->Retire([old] { delete old; });
    return true;
  }

 private:
  BasicEpochManager<Atomics>* const epochs_;
  typename Atomics::template Atomic<T*> value_;
  typename Atomics::Mutex mutex_;  // Change
};

}  // namespace alos

#endif  // ALOS_BASE_COPY_ON_WRITE_H_
