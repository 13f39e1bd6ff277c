// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What code that threads meet in takes its atomics and locks from, so that the very code that ships
// can be run by a model checker: see testing/models.

#ifndef ALOS_BASE_ATOMICS_H_
#define ALOS_BASE_ATOMICS_H_

#include <atomic>
#include <thread>

#include "absl/synchronization/mutex.h"

namespace alos {

// What ships: names, and nothing else. A template `BasicThing<Atomics>` whose alias `Thing` is for
// StdAtomics uses these members, and of their types what std::atomic, absl::Mutex and so on have.
struct StdAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
  using Mutex = absl::Mutex;
  using MutexLock = absl::MutexLock;
  using Condition = absl::Condition;
  using Thread = std::thread;
  static void Yield() { std::this_thread::yield(); }
};

}  // namespace alos

#endif  // ALOS_BASE_ATOMICS_H_
