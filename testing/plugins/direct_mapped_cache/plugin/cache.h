// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A cache plugin that lives outside of //plugins: a key can be in one place only, and pushes out
// what is there. As small as a cache can be.

#ifndef TESTING_PLUGINS_DIRECT_MAPPED_CACHE_PLUGIN_CACHE_H_
#define TESTING_PLUGINS_DIRECT_MAPPED_CACHE_PLUGIN_CACHE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "alos/cache/cache.h"

namespace testing_plugins {

class DirectMappedCache {
 public:
  static constexpr std::string_view kName = "direct-mapped";

  // One place for each 4 KiB, which is what a place may hold, with itself.
  explicit DirectMappedCache(std::size_t budget_bytes) : places_(budget_bytes / kPlaceBytes) {}

  bool Lookup(std::uint64_t key, absl::FunctionRef<void(std::string_view)> visit) {
    std::shared_ptr<const std::string> document;
    {
      absl::MutexLock lock(&mutex_);
      if (!places_.empty()) {
        const Place& place = PlaceOf(key);
        if (place.key == key) document = place.document;
      }
      ++(document != nullptr ? statistics_.hits : statistics_.misses);
    }
    if (document == nullptr) return false;
    visit(*document);
    return true;
  }

  void Insert(std::uint64_t key, std::string document) {
    document.shrink_to_fit();
    const bool fits = document.capacity() <= kPlaceBytes - kOverheadBytes;
    auto kept = fits ? std::make_shared<const std::string>(std::move(document)) : nullptr;
    absl::MutexLock lock(&mutex_);
    if (places_.empty()) return;
    Place& place = PlaceOf(key);
    if (kept == nullptr) {
      if (place.key == key) Clear(place);
      return;
    }
    if (place.document != nullptr && place.key != key) ++statistics_.evictions;
    Clear(place);
    place = {key, std::move(kept)};
    ++statistics_.entries;
    ++statistics_.insertions;
  }

  void Erase(std::uint64_t key) {
    absl::MutexLock lock(&mutex_);
    if (!places_.empty() && PlaceOf(key).key == key) Clear(PlaceOf(key));
  }

  std::size_t used_bytes() const {
    absl::MutexLock lock(&mutex_);
    return statistics_.entries * kPlaceBytes;
  }

  alos::CacheStatistics statistics() const {
    absl::MutexLock lock(&mutex_);
    return statistics_;
  }

 private:
  static constexpr std::size_t kPlaceBytes = 4096;
  static constexpr std::size_t kOverheadBytes = 128;

  struct Place {
    std::uint64_t key = 0;
    std::shared_ptr<const std::string> document;
  };

  Place& PlaceOf(std::uint64_t key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return places_[(key * 0x9e3779b97f4a7c15u >> 16) % places_.size()];
  }
  void Clear(Place& place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (place.document != nullptr) --statistics_.entries;
    place.document = nullptr;
  }

  mutable absl::Mutex mutex_;
  std::vector<Place> places_ ABSL_GUARDED_BY(mutex_);
  alos::CacheStatistics statistics_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace testing_plugins

namespace alos::plugin {

using Cache = testing_plugins::DirectMappedCache;

}  // namespace alos::plugin

#endif  // TESTING_PLUGINS_DIRECT_MAPPED_CACHE_PLUGIN_CACHE_H_
