// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Reads the logs of all shards in the order of commits.

#ifndef ALOS_ENGINE_INTERNAL_CHANGE_READER_H_
#define ALOS_ENGINE_INTERNAL_CHANGE_READER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "alos/base/status_macros.h"
#include "alos/engine/internal/shard.h"
#include "alos/storage/record.h"

namespace alos::engine_internal {

// Merges the logs: each is in the order of its commits, and the records of one commit may be in
// several.
//
// Threads: one, inside an epoch guard from before it was made. What it reads must be pinned
// (SnapshotRegistry). Cost: for each shard in which something was committed since, a look at up to
// LogMarks::kSpacing bytes; then what is read.
template <class Policies>
class ChangeReader {
 public:
  using ShardType = Shard<Policies>;
  using Shards = std::vector<std::unique_ptr<ShardType>>;

  struct Place {
    std::uint32_t shard = 0;
    std::uint64_t offset = 0;
  };

  // Commits from `first` to `last`, timestamps.
  ChangeReader(const Shards& shards, std::uint64_t first, std::uint64_t last)
      : shards_(shards), first_(first), last_(last) {}

  absl::Status Start() {
    for (std::uint32_t i = 0; i < shards_.size(); ++i) {
      if (first_ != 0 && !shards_[i]->MayBeNewerThan(first_ - 1)) continue;
      ALOS_RETURN_IF_ERROR(Push(i, 0));
    }
    return absl::OkStatus();
  }

  // The places of the records of the next commit, by shard and offset; 0 when there are no more.
  // Returns its timestamp.
  absl::StatusOr<std::uint64_t> Next(std::vector<Place>* places) {
    places->clear();
    if (heads_.empty()) return std::uint64_t{0};
    const std::uint64_t timestamp = std::get<0>(heads_.top());
    while (!heads_.empty() && std::get<0>(heads_.top()) == timestamp) {
      const auto [ignored, shard, offset] = heads_.top();
      heads_.pop();
      places->push_back({shard, offset});
      const RecordHeader header = RecordView(shards_[shard]->log()->At(offset)).header();
      ALOS_RETURN_IF_ERROR(Push(shard, NextRecordOffset(offset + header.size)));
    }
    std::sort(places->begin(), places->end(), [](const Place& a, const Place& b) {
      return std::tie(a.shard, a.offset) < std::tie(b.shard, b.offset);
    });
    return timestamp;
  }

 private:
  // The next record of a shard that changes a document.
  absl::Status Push(std::uint32_t shard, std::uint64_t from) {
    std::optional<Head> head;
    ALOS_RETURN_IF_ERROR(shards_[shard]
                             ->ForEachNewer(first_ == 0 ? 0 : first_ - 1, from, 0,
                                            [&](std::uint64_t offset, const RecordView& record) {
                                              const RecordHeader& header = record.header();
                                              if (header.commit_timestamp > last_) return false;
                                              if (!IsChange(header)) return true;
                                              head.emplace(header.commit_timestamp, shard, offset);
                                              return false;
                                            })
                             .status());
    if (head) heads_.push(*head);
    return absl::OkStatus();
  }

  static bool IsChange(const RecordHeader& header) {
    return header.kind == RecordKind::kPut || header.kind == RecordKind::kDelete;
  }

  using Head = std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>;  // time, shard, offset

  const Shards& shards_;
  const std::uint64_t first_;
  const std::uint64_t last_;
  std::priority_queue<Head, std::vector<Head>, std::greater<>> heads_;
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_CHANGE_READER_H_
