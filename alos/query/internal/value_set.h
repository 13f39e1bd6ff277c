// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A set of values.

#ifndef ALOS_QUERY_INTERNAL_VALUE_SET_H_
#define ALOS_QUERY_INTERNAL_VALUE_SET_H_

#include <cstddef>

#include "absl/container/flat_hash_set.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"

namespace alos::query_internal {

// A set of values under Equal. The values must outlive it.
class ValueSet {
 public:
  // True when no equal value was there.
  bool Insert(ValueView value) { return values_.insert(value).second; }
  bool Contains(ValueView value) const { return values_.contains(value); }

 private:
  struct Hash {
    std::size_t operator()(ValueView value) const { return HashValue(value); }
  };
  struct Same {
    bool operator()(ValueView a, ValueView b) const { return Equal(a, b); }
  };
  absl::flat_hash_set<ValueView, Hash, Same> values_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_VALUE_SET_H_
