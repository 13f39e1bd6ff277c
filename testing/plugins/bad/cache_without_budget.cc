// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/cache/cache.h"

struct Bad {
  static constexpr std::string_view kName = "bad";
  bool Lookup(std::uint64_t key, absl::FunctionRef<void(std::string_view)> visit);
  void Insert(std::uint64_t key, std::string document);
  void Erase(std::uint64_t key);
  std::size_t used_bytes() const;
  alos::CacheStatistics statistics() const;
};

static_assert(alos::CheckCache<Bad>());
