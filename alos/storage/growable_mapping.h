// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The memory map of a file that grows: outgrown, it is replaced by a larger one, and readers go on
// in the old one.

#ifndef ALOS_STORAGE_GROWABLE_MAPPING_H_
#define ALOS_STORAGE_GROWABLE_MAPPING_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "alos/base/atomics.h"
#include "alos/base/epoch.h"

namespace alos {

// `Mapping` is that of alos/base/file_system.h.
//
// Threads: At by any, inside a guard of `epochs`, never waiting; everything else by one at a time,
// the writer. Lifetime: the manager outlives it; what At returned is valid while the guard lives.
// Errors: none. Cost: At is one load.
template <class Mapping, class Atomics = StdAtomics>
class GrowableMapping {
 public:
  using Pointer = decltype(std::declval<const Mapping&>().data());

  explicit GrowableMapping(BasicEpochManager<Atomics>* epochs) : epochs_(epochs) {}
  GrowableMapping(const GrowableMapping&) = delete;
  GrowableMapping& operator=(const GrowableMapping&) = delete;

  // REQUIRES: the caller knows of `offset` from something that was published (with release, and
  // acquired by the caller) when the map in use had it. Then it is in the map found here, which is
  // that one or a later one.
  auto At(std::uint64_t offset) const { return base_.load(std::memory_order_acquire) + offset; }

  // The map in use, for the writer.
  Mapping* operator->() const { return mapping_.get(); }
  explicit operator bool() const { return mapping_ != nullptr; }

  void Replace(std::unique_ptr<Mapping> mapping) {
    base_.store(mapping->data(), std::memory_order_release);
    std::swap(mapping_, mapping);
    if (mapping != nullptr) {
      epochs_->Retire([old = std::shared_ptr<Mapping>(std::move(mapping))] {});
    }
  }

 private:
  BasicEpochManager<Atomics>* const epochs_;
  std::unique_ptr<Mapping> mapping_;
  typename Atomics::template Atomic<Pointer> base_{nullptr};
};

}  // namespace alos

#endif  // ALOS_STORAGE_GROWABLE_MAPPING_H_
