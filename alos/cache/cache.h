// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a hot cache is: decoded documents, by the offset of their record, within a byte budget. Each
// shard has one. A plugin provides one in "plugin/cache.h" (see plugins/README.md);
// testing/conformance/cache_conformance.h tests it.

#ifndef ALOS_CACHE_CACHE_H_
#define ALOS_CACHE_CACHE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"

namespace alos {

// Counted since the cache was made.
struct CacheStatistics {
  std::uint64_t hits = 0;        // Lookups that called their visitor.
  std::uint64_t misses = 0;      // Lookups that did not.
  std::uint64_t insertions = 0;  // Inserts that kept the document.
  std::uint64_t evictions = 0;   // Documents that went to make room.
  std::uint64_t entries = 0;     // Documents that are there now.
};

// A cache is made with its budget. It may keep anything, something or nothing of what it is given,
// but never answers with other bytes than were last inserted for the key, nor for a key that was
// erased since.
//
// Threads: every function, from any threads at once. An operation that began after another returned
//   sees what that did.
// Lifetime: the bytes a visitor is given are valid until it returns, whatever happens meanwhile.
// Errors: none; a cache that lacks memory keeps less.
template <class C>
concept Cache = std::constructible_from<C, std::size_t> && std::destructible<C> &&
                requires(C& cache, const C& constant, std::uint64_t key, std::string document,
                         absl::FunctionRef<void(std::string_view)> visit) {
                  // For messages and statistics: "lru".
                  { C::kName } -> std::convertible_to<std::string_view>;
                  // Calls `visit` with the document, and returns true; or returns false. No lock is
                  // held during the visit, which may take long and may use the cache.
                  { cache.Lookup(key, visit) } -> std::same_as<bool>;
                  // Offers a document; replaces the one that was there. If it is not kept, the key
                  // is as if erased.
                  { cache.Insert(key, std::move(document)) } -> std::same_as<void>;
                  // Forgets the key, if it is there.
                  { cache.Erase(key) } -> std::same_as<void>;
                  // What is kept, with everything it takes in memory to keep it. Never more than
                  // the budget.
                  { constant.used_bytes() } -> std::same_as<std::size_t>;
                  { constant.statistics() } -> std::same_as<CacheStatistics>;
                };

// Fails to compile, with one line that says what is missing, unless C is a Cache. To be used as
// static_assert(CheckCache<C>()).
template <class C>
constexpr bool CheckCache();

// ---- Readers of the API may stop here. ----

namespace cache_internal {

template <class>
inline constexpr bool kNever = false;

}  // namespace cache_internal

template <class C>
constexpr bool CheckCache() {
  using Visit = absl::FunctionRef<void(std::string_view)>;
  if constexpr (!requires {
                  { C::kName } -> std::convertible_to<std::string_view>;
                }) {
    static_assert(cache_internal::kNever<C>,
                  "alos cache plugin: needs `static constexpr std::string_view kName`; see "
                  "alos/cache/cache.h");
  } else if constexpr (!std::constructible_from<C, std::size_t>) {
    static_assert(cache_internal::kNever<C>,
                  "alos cache plugin: needs a constructor `explicit C(std::size_t budget_bytes)`; "
                  "see alos/cache/cache.h");
  } else if constexpr (!requires(C& cache, std::uint64_t key, Visit visit) {
                         { cache.Lookup(key, visit) } -> std::same_as<bool>;
                       }) {
    static_assert(cache_internal::kNever<C>,
                  "alos cache plugin: needs `bool Lookup(std::uint64_t key, "
                  "absl::FunctionRef<void(std::string_view)> visit)`; see alos/cache/cache.h");
  } else if constexpr (!requires(C& cache, std::uint64_t key, std::string document) {
                         { cache.Insert(key, std::move(document)) } -> std::same_as<void>;
                       }) {
    static_assert(
        cache_internal::kNever<C>,
        "alos cache plugin: needs `void Insert(std::uint64_t key, std::string document)`; "
        "see alos/cache/cache.h");
  } else if constexpr (!requires(C& cache, std::uint64_t key) {
                         { cache.Erase(key) } -> std::same_as<void>;
                       }) {
    static_assert(cache_internal::kNever<C>,
                  "alos cache plugin: needs `void Erase(std::uint64_t key)`; see "
                  "alos/cache/cache.h");
  } else if constexpr (!requires(const C& cache) {
                         { cache.used_bytes() } -> std::same_as<std::size_t>;
                       }) {
    static_assert(cache_internal::kNever<C>,
                  "alos cache plugin: needs `std::size_t used_bytes() const`; see "
                  "alos/cache/cache.h");
  } else if constexpr (!requires(const C& cache) {
                         { cache.statistics() } -> std::same_as<CacheStatistics>;
                       }) {
    static_assert(cache_internal::kNever<C>,
                  "alos cache plugin: needs `alos::CacheStatistics statistics() const`; see "
                  "alos/cache/cache.h");
  } else {
    static_assert(Cache<C>, "alos cache plugin: see alos/cache/cache.h");
  }
  return true;
}

}  // namespace alos

#endif  // ALOS_CACHE_CACHE_H_
