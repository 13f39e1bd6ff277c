// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef ALOS_PLUGINS_CACHE_NONE_CACHE_H_
#define ALOS_PLUGINS_CACHE_NONE_CACHE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "alos/cache/cache.h"

namespace alos {

// Keeps nothing: every read goes to the mapped file. For data that fits into memory anyway, and to
// measure what a cache brings. The contract is Cache's (alos/cache/cache.h).
class NoneCache {
 public:
  static constexpr std::string_view kName = "none";

  explicit NoneCache(std::size_t /*budget_bytes*/) {}

  bool Lookup(std::uint64_t /*key*/, absl::FunctionRef<void(std::string_view)> /*visit*/) {
    misses_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  void Insert(std::uint64_t /*key*/, const std::string& /*document*/) {}
  void Erase(std::uint64_t /*key*/) {}
  std::size_t used_bytes() const { return 0; }
  CacheStatistics statistics() const { return {.misses = misses_.load(std::memory_order_relaxed)}; }

 private:
  std::atomic<std::uint64_t> misses_{0};
};

static_assert(CheckCache<NoneCache>());

}  // namespace alos

#endif  // ALOS_PLUGINS_CACHE_NONE_CACHE_H_
