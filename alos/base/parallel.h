// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Work that is divided among all cores, and waited for.

#ifndef ALOS_BASE_PARALLEL_H_
#define ALOS_BASE_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace alos {

// Runs `work(task)` for tasks 0 .. count-1 on as many threads as there are cores, the caller's one
// of them, and returns when all are done; begins no further task once `work` has returned false.
// Cost: some 20 us for each further thread: for work that takes longer.
inline void RunInParallel(std::size_t count, absl::FunctionRef<bool(std::size_t)> work) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::atomic<bool> has_thrown{false};
  std::exception_ptr thrown;
  const auto run = [&] {
    try {
      for (std::size_t task = next.fetch_add(1); task < count && !stop.load();
           task = next.fetch_add(1)) {
        if (!work(task)) stop.store(true);
      }
    } catch (...) {
      if (!has_thrown.exchange(true)) thrown = std::current_exception();
      stop.store(true);
    }
  };
  const std::size_t threads =
      std::min<std::size_t>(count, std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> others;
  others.reserve(threads);
  try {
    for (std::size_t i = 1; i < threads; ++i) others.emplace_back(run);
  } catch (const std::exception&) {
    // No memory for another thread, or no thread: then with fewer.
  }
  run();
  for (std::thread& thread : others) thread.join();
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

}  // namespace alos

#endif  // ALOS_BASE_PARALLEL_H_
