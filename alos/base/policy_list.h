// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A compile-time list of policies of one kind (codecs, ciphers …), out of which one is picked at
// run time: by the id in a record, by a flag, by a handshake.

#ifndef ALOS_BASE_POLICY_LIST_H_
#define ALOS_BASE_POLICY_LIST_H_

#include <cstddef>
#include <type_traits>
#include <utility>

namespace alos {

// The types `Policies...`, in order of preference. Never instantiated; has no state.
//
//   using Codecs = PolicyList<NoneCodec, Lz4Codec>;
//   bool found = Codecs::VisitFirst(
//       [&](auto codec) { return decltype(codec)::type::kId == id; },
//       [&](auto codec) { status = decltype(codec)::type::Decompress(stored, out); });
//
// Threads: no state. Cost: a chain of comparisons that the compiler sees whole; nothing virtual.
template <class... Policies>
struct PolicyList {
  static constexpr std::size_t kSize = sizeof...(Policies);

  // Whether Policy is one of the list.
  template <class Policy>
  static constexpr bool kContains = (std::is_same_v<Policy, Policies> || ...);

  // Template<Policies...>, e.g. std::variant.
  template <template <class...> class Template>
  using Apply = Template<Policies...>;

  // Calls visit(std::type_identity<Policy>{}) for every policy, in order.
  template <class Visit>
  static constexpr void ForEach(Visit&& visit) {
    (static_cast<void>(visit(std::type_identity<Policies>{})), ...);
  }

  // Calls visit(std::type_identity<Policy>{}) for the first policy for which
  // matches(std::type_identity<Policy>{}) is true. Returns whether there was one.
  template <class Matches, class Visit>
  static constexpr bool VisitFirst(Matches&& matches, Visit&& visit) {
    return ((matches(std::type_identity<Policies>{})
                 ? (static_cast<void>(visit(std::type_identity<Policies>{})), true)
                 : false) ||
            ...);
  }

  // Whether two policies of the list have the same `key(std::type_identity<Policy>{})`: to assert
  // that ids are unique.
  template <class Key>
  static constexpr bool HasDuplicates(Key&& key) {
    std::size_t equal_pairs = 0;
    ForEach([&](auto a) {
      ForEach([&](auto b) {
        if (key(a) == key(b)) ++equal_pairs;
      });
    });
    return equal_pairs != kSize;
  }
};

}  // namespace alos

#endif  // ALOS_BASE_POLICY_LIST_H_
