// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The opaque cursor of a batched find: where a scan of one snapshot goes on. It holds all there is
// to know, so an abandoned one costs the server nothing.

#ifndef ALOS_ENGINE_INTERNAL_SCAN_CURSOR_H_
#define ALOS_ENGINE_INTERNAL_SCAN_CURSOR_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "xxhash.h"

namespace alos::engine_internal {

struct ScanCursor {
  std::uint64_t timestamp = 0;  // the snapshot
  std::uint64_t offset = 0;     // in the shard's log, or the place in the list of ids
  std::uint32_t shard = 0;
  std::uint32_t collection = 0;
};
static_assert(sizeof(ScanCursor) == 24);

// `key` is a secret of the database: a cursor from elsewhere, which could point into the middle of
// a record, is refused.
inline std::string EncodeCursor(const ScanCursor& cursor, std::uint64_t key) {
  std::string bytes(sizeof cursor + 8, '\0');
  std::memcpy(bytes.data(), &cursor, sizeof cursor);
  const std::uint64_t seal = XXH3_64bits_withSeed(bytes.data(), sizeof cursor, key);
  std::memcpy(bytes.data() + sizeof cursor, &seal, 8);
  return bytes;
}

inline absl::StatusOr<ScanCursor> DecodeCursor(std::string_view bytes, std::uint64_t key) {
  ScanCursor cursor;
  std::uint64_t seal = 0;
  if (bytes.size() == sizeof cursor + 8) std::memcpy(&seal, bytes.data() + sizeof cursor, 8);
  if (bytes.size() != sizeof cursor + 8 ||
      seal != XXH3_64bits_withSeed(bytes.data(), sizeof cursor, key)) {
    return absl::InvalidArgumentError(
        "this is not a cursor of this database; pass back what the last batch returned, unchanged");
  }
  std::memcpy(&cursor, bytes.data(), sizeof cursor);
  return cursor;
}

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_SCAN_CURSOR_H_
