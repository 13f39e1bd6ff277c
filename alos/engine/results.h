// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What the operations of a database return. A write may be acknowledged to its client once the
// database says that its commit timestamp is visible; so may one that wrote nothing because of what
// it found, whose timestamp is of that. 0: there is nothing to wait for.

#ifndef ALOS_ENGINE_RESULTS_H_
#define ALOS_ENGINE_RESULTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "alos/engine/explain.h"
#include "alos/query/filter.h"
#include "alos/query/sort.h"

namespace alos {

struct InsertResult {
  std::string id;  // encoded: a MessagePack value
  std::uint64_t commit_timestamp = 0;
};

struct InsertManyResult {
  std::vector<std::string> ids;  // of those that were inserted, in order
  std::uint64_t commit_timestamp = 0;
  absl::Status status;  // of the document that stopped it; OK when all are in
};

struct UpdateResult {
  std::uint64_t matched = 0;
  std::uint64_t modified = 0;
  std::uint64_t commit_timestamp = 0;
};

struct DeleteResult {
  std::uint64_t deleted = 0;
  std::uint64_t commit_timestamp = 0;
};

struct UpsertResult {
  std::uint64_t matched = 0;
  std::uint64_t modified = 0;
  std::optional<std::string> inserted_id;  // encoded
  std::uint64_t commit_timestamp = 0;
};

struct FindQuery {
  const Filter* filter = nullptr;  // nullptr: everything
  std::uint64_t skip = 0;
  std::uint64_t limit = 0;  // 0: none
  const Sort* sort = nullptr;
  // The snapshot to read; absent: the newest.
  std::optional<std::uint64_t> read_timestamp;
  // A sort that must keep more than this fails with kResourceExhausted.
  std::size_t sort_bytes_max = std::size_t{100} << 20;
  // Filled in with what was done.
  Explain* explain = nullptr;
  // An index that has to be there, by name; which ones are used is decided by cost all the same.
  std::string hint;
  // Indexes are not used.
  bool force_scan = false;
};

struct CompactionResult {
  std::uint64_t bytes_back = 0;   // given back to the file system
  std::uint64_t bytes_moved = 0;  // live documents that were written once more
  // Shards that are done but for space that old snapshots still need: it is given back later.
  std::uint64_t waiting_shards = 0;
};

}  // namespace alos

#endif  // ALOS_ENGINE_RESULTS_H_
