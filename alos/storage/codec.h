// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a codec is: how the body of a document becomes the bytes that a record stores. A plugin
// provides a list of them in "plugin/codecs.h" (see plugins/README.md);
// testing/conformance/codec_conformance.h tests one.

#ifndef ALOS_STORAGE_CODEC_H_
#define ALOS_STORAGE_CODEC_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/policy_list.h"

namespace alos {

// No codec takes more in one piece.
inline constexpr std::size_t kCodecRawBytesMax = std::size_t{1} << 30;

// A codec is a type with static members only.
//
// Threads: every function, from any threads at once.
// Lifetime: nothing is kept of what is passed in. `out` does not overlap the input.
// Errors: values, as below; whatever the input, nothing outside `out` is written.
template <class C>
concept Codec = requires(std::size_t size, std::string_view bytes, absl::Span<char> out) {
  // Stored in every record, so it may never change its meaning. 0 to 127 are for alos; others
  // choose from 128 to 255. Unique in a list.
  requires std::same_as<decltype(C::kId), const std::uint8_t>;
  // For messages and statistics: "lz4".
  { C::kName } -> std::convertible_to<std::string_view>;
  // The value of --compression that stands for it. Unique in a list.
  requires std::same_as<decltype(C::kLevel), const int>;
  // The most that Compress writes for `size` bytes, up to kCodecRawBytesMax.
  { C::BoundBytes(size) } -> std::same_as<std::size_t>;
  // Compresses `bytes` into the front of `out` and returns how many bytes it took.
  //   kResourceExhausted  they do not fit into `out` (never when it has BoundBytes(bytes.size())):
  //   so a
  //                       caller can ask for a result that is smaller than some limit
  //   kInvalidArgument    more than kCodecRawBytesMax
  { C::Compress(bytes, out) } -> std::same_as<absl::StatusOr<std::size_t>>;
  // The reverse: fills `out`, which has exactly the size that was compressed.
  //   kDataLoss           `bytes` is not what Compress makes of out.size() bytes; `out` holds
  //   anything.
  //                       (Not every damage shows: that is what the record's checksum is for.)
  { C::Decompress(bytes, out) } -> std::same_as<absl::Status>;
};

// Fails to compile, with one line that says what is missing, unless C is a Codec. To be used as
// static_assert(CheckCodec<C>()).
template <class C>
constexpr bool CheckCodec();

// As CheckCodec, for a list: a PolicyList of at least one codec, ids and levels unique.
template <class List>
constexpr bool CheckCodecList();

// The id of the codec in List for a value of --compression; kInvalidArgument lists the values there
// are.
template <class List>
absl::StatusOr<std::uint8_t> CodecIdForLevel(int level);

// C::Compress and C::Decompress of the codec in List with this id. kUnimplemented if there is none:
// the record was written by a build with other plugins.
template <class List>
absl::StatusOr<std::size_t> CompressWith(std::uint8_t id, std::string_view raw,
                                         absl::Span<char> out);
template <class List>
absl::Status DecompressWith(std::uint8_t id, std::string_view stored, absl::Span<char> out);

// ---- Readers of the API may stop here. ----

namespace storage_internal {

template <class>
inline constexpr bool kNever = false;

template <class T>
inline constexpr bool kIsPolicyList = false;
template <class... Ts>
inline constexpr bool kIsPolicyList<PolicyList<Ts...>> = true;

template <class List>
inline constexpr bool kAreCodecs = false;
template <class... Ts>
inline constexpr bool kAreCodecs<PolicyList<Ts...>> = (Codec<Ts> && ...);

inline absl::Status UnknownCodec(std::uint8_t id) {
  return absl::UnimplementedError(
      absl::StrCat("this build has no codec with id ", id,
                   "; use a server built with the codec plugin that wrote the data"));
}

}  // namespace storage_internal

template <class C>
constexpr bool CheckCodec() {
  if constexpr (!requires { requires std::same_as<decltype(C::kId), const std::uint8_t>; }) {
    static_assert(storage_internal::kNever<C>,
                  "alos codec plugin: needs `static constexpr std::uint8_t kId`; see "
                  "alos/storage/codec.h");
  } else if constexpr (!requires {
                         { C::kName } -> std::convertible_to<std::string_view>;
                       }) {
    static_assert(storage_internal::kNever<C>,
                  "alos codec plugin: needs `static constexpr std::string_view kName`; see "
                  "alos/storage/codec.h");
  } else if constexpr (!requires { requires std::same_as<decltype(C::kLevel), const int>; }) {
    static_assert(storage_internal::kNever<C>,
                  "alos codec plugin: needs `static constexpr int kLevel`, its value of "
                  "--compression; see alos/storage/codec.h");
  } else if constexpr (!requires(std::size_t size) {
                         { C::BoundBytes(size) } -> std::same_as<std::size_t>;
                       }) {
    static_assert(storage_internal::kNever<C>,
                  "alos codec plugin: needs `static std::size_t BoundBytes(std::size_t raw)`; see "
                  "alos/storage/codec.h");
  } else if constexpr (!requires(std::string_view bytes, absl::Span<char> out) {
                         { C::Compress(bytes, out) } -> std::same_as<absl::StatusOr<std::size_t>>;
                       }) {
    static_assert(
        storage_internal::kNever<C>,
        "alos codec plugin: needs `static absl::StatusOr<std::size_t> "
        "Compress(std::string_view raw, absl::Span<char> out)`; see alos/storage/codec.h");
  } else if constexpr (!requires(std::string_view bytes, absl::Span<char> out) {
                         { C::Decompress(bytes, out) } -> std::same_as<absl::Status>;
                       }) {
    static_assert(
        storage_internal::kNever<C>,
        "alos codec plugin: needs `static absl::Status Decompress(std::string_view stored, "
        "absl::Span<char> out)`; see alos/storage/codec.h");
  } else {
    static_assert(Codec<C>, "alos codec plugin: see alos/storage/codec.h");
  }
  return true;
}

template <class List>
constexpr bool CheckCodecList() {
  if constexpr (!storage_internal::kIsPolicyList<List>) {
    static_assert(storage_internal::kNever<List>,
                  "alos codec plugin: alos::plugin::Codecs must be an alos::PolicyList of codecs");
  } else if constexpr (!storage_internal::kAreCodecs<List>) {
    // Nothing about ids yet: there would be errors that hide this one.
    List::ForEach([](auto codec) { CheckCodec<typename decltype(codec)::type>(); });
  } else {
    static_assert(List::kSize > 0, "alos codec plugin: alos::plugin::Codecs must not be empty");
    static_assert(!List::HasDuplicates([](auto codec) { return decltype(codec)::type::kId; }),
                  "alos codec plugin: two codecs of alos::plugin::Codecs have the same kId");
    static_assert(!List::HasDuplicates([](auto codec) { return decltype(codec)::type::kLevel; }),
                  "alos codec plugin: two codecs of alos::plugin::Codecs have the same kLevel");
  }
  return true;
}

template <class List>
absl::StatusOr<std::uint8_t> CodecIdForLevel(int level) {
  std::uint8_t id = 0;
  const bool found =
      List::VisitFirst([&](auto codec) { return decltype(codec)::type::kLevel == level; },
                       [&](auto codec) { id = decltype(codec)::type::kId; });
  if (found) return id;
  std::string known;
  List::ForEach([&](auto codec) {
    using C = typename decltype(codec)::type;
    absl::StrAppend(&known, known.empty() ? "" : ", ", C::kLevel, " (", C::kName, ")");
  });
  return absl::InvalidArgumentError(
      absl::StrCat("there is no compression level ", level, "; this build has ", known));
}

template <class List>
absl::StatusOr<std::size_t> CompressWith(std::uint8_t id, std::string_view raw,
                                         absl::Span<char> out) {
  absl::StatusOr<std::size_t> result;
  const bool found =
      List::VisitFirst([&](auto codec) { return decltype(codec)::type::kId == id; },
                       [&](auto codec) { result = decltype(codec)::type::Compress(raw, out); });
  return found ? std::move(result) : storage_internal::UnknownCodec(id);
}

template <class List>
absl::Status DecompressWith(std::uint8_t id, std::string_view stored, absl::Span<char> out) {
  absl::Status result;
  const bool found = List::VisitFirst(
      [&](auto codec) { return decltype(codec)::type::kId == id; },
      [&](auto codec) { result = decltype(codec)::type::Decompress(stored, out); });
  return found ? result : storage_internal::UnknownCodec(id);
}

}  // namespace alos

#endif  // ALOS_STORAGE_CODEC_H_
