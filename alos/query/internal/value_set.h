// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A set of values.

#ifndef ALOS_QUERY_INTERNAL_VALUE_SET_H_
#define ALOS_QUERY_INTERNAL_VALUE_SET_H_

#include <cstddef>
#include <cstdint>
#include <random>

#include "absl/container/flat_hash_set.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"

namespace alos::query_internal {

// Values by what they are, not how they are encoded: 1 and 1.0 are one. The seed is new in each
// process, so that nobody can make values that all collide.
struct ValueHash {
  std::size_t operator()(ValueView value) const {
    static const std::uint64_t seed = [] {
      std::random_device device;
      return (std::uint64_t{device()} << 32) | device();
    }();
    return HashValue(value, seed);
  }
};
struct ValueEqual {
  bool operator()(ValueView a, ValueView b) const { return Equal(a, b); }
};

// A set of values under Equal. They must outlive it.
using ValueSet = absl::flat_hash_set<ValueView, ValueHash, ValueEqual>;

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_VALUE_SET_H_
