// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The checkpoint of a shard's primary index, `shard_NNN.sidx`: the index as it was when the log
// ended at a recorded offset, so that start-up reads the log from there only. It can be deleted at
// any time; the log rebuilds it.
//
//   offset 0   8   "ALOSSIX1"
//          8   4   format version, 2
//          12  4   CRC-32C of everything from offset 16 on
//          16  8   generation of the log it belongs to
//          24  8   log end: records below it are in the index, and were durable before this was
//                  written
//          32  8   timestamp of the newest of them
//          40  8   transactions complete until: every transaction up to this timestamp is durable
//                  in all shards
//          48  8   bytes of the log that hold superseded records
//          56  8   offset of the last record below the log end; 0: there is none
//          64  8   number of shards, then 8 for each: where its log ended when this one ended
//          there;
//                  0: it had none
//          ..  8   number of collections, each then: id u64, live documents u64, their stored bytes
//                  u64
//          ..  8   keys in the index
//          ..  8   number of slots, then the slots (alos/index/primary_index.h), 8 bytes each

#ifndef ALOS_INDEX_PRIMARY_CHECKPOINT_H_
#define ALOS_INDEX_PRIMARY_CHECKPOINT_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/crc32c.h"

namespace alos {

struct PrimaryCheckpoint {
  struct Collection {
    std::uint64_t id = 0;
    std::uint64_t live_documents = 0;
    std::uint64_t stored_bytes = 0;
  };

  std::uint64_t generation = 0;
  std::uint64_t log_end = 0;
  std::uint64_t newest_timestamp = 0;
  std::uint64_t transactions_complete_until = 0;
  std::uint64_t stale_bytes = 0;
  // Logs that are shorter than these, or whose last record is not there, are older than this: of a
  // copy of the directory that was made while it was in use.
  std::uint64_t last_record = 0;
  std::vector<std::uint64_t> shard_ends;
  std::vector<Collection> collections;
  std::uint64_t keys = 0;
  std::vector<std::uint64_t> slots;
};

inline std::string EncodePrimaryCheckpoint(const PrimaryCheckpoint& checkpoint) {
  std::string out;
  out.reserve(16 + 8 * (10 + checkpoint.shard_ends.size() + 3 * checkpoint.collections.size() +
                        checkpoint.slots.size()));
  out.append("ALOSSIX1");
  const auto put = [&out](std::uint64_t value) {
    out.append(reinterpret_cast<const char*>(&value), 8);
  };
  put(2);  // version, and the place of the checksum
  for (const std::uint64_t value :
       {checkpoint.generation, checkpoint.log_end, checkpoint.newest_timestamp,
        checkpoint.transactions_complete_until, checkpoint.stale_bytes, checkpoint.last_record,
        std::uint64_t{checkpoint.shard_ends.size()}}) {
    put(value);
  }
  for (const std::uint64_t end : checkpoint.shard_ends) put(end);
  put(checkpoint.collections.size());
  for (const auto& collection : checkpoint.collections) {
    put(collection.id);
    put(collection.live_documents);
    put(collection.stored_bytes);
  }
  put(checkpoint.keys);
  put(checkpoint.slots.size());
  out.append(reinterpret_cast<const char*>(checkpoint.slots.data()), checkpoint.slots.size() * 8);
  const std::uint32_t checksum = Crc32c(std::string_view(out).substr(16));
  std::memcpy(out.data() + 12, &checksum, 4);
  return out;
}

// kDataLoss when `bytes` are not a whole checkpoint of this format; then rebuild from the log.
inline absl::StatusOr<PrimaryCheckpoint> DecodePrimaryCheckpoint(std::string_view bytes) {
  constexpr std::size_t kFixed = 16 + 7 * 8;
  std::uint32_t version = 0;
  std::uint32_t checksum = 0;
  if (bytes.size() < kFixed + 16 || bytes.substr(0, 8) != "ALOSSIX1")
    return absl::DataLossError("not an index checkpoint");
  std::memcpy(&version, bytes.data() + 8, 4);
  std::memcpy(&checksum, bytes.data() + 12, 4);
  if (version != 2)
    return absl::DataLossError(absl::StrCat("index checkpoint of another version, ", version));
  if (Crc32c(bytes.substr(16)) != checksum)
    return absl::DataLossError("index checkpoint with a wrong checksum");
  std::size_t position = 16;
  const auto get = [&] {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + position, 8);
    position += 8;
    return value;
  };
  PrimaryCheckpoint checkpoint;
  checkpoint.generation = get();
  checkpoint.log_end = get();
  checkpoint.newest_timestamp = get();
  checkpoint.transactions_complete_until = get();
  checkpoint.stale_bytes = get();
  checkpoint.last_record = get();
  // The checksum held, so these sizes were written by us; still, nothing is read past the end.
  const std::uint64_t shards = get();
  if (shards > (bytes.size() - position - 8) / 8)
    return absl::DataLossError("index checkpoint cut short");
  for (std::uint64_t i = 0; i < shards; ++i) checkpoint.shard_ends.push_back(get());
  const std::uint64_t collections = get();
  if (collections > (bytes.size() - position) / 24)
    return absl::DataLossError("index checkpoint cut short");
  for (std::uint64_t i = 0; i < collections; ++i) {
    PrimaryCheckpoint::Collection collection;
    collection.id = get();
    collection.live_documents = get();
    collection.stored_bytes = get();
    checkpoint.collections.push_back(collection);
  }
  if (bytes.size() - position < 16) return absl::DataLossError("index checkpoint cut short");
  checkpoint.keys = get();
  const std::uint64_t slots = get();
  if (slots != (bytes.size() - position) / 8 || !std::has_single_bit(slots) ||
      checkpoint.keys >= slots) {
    return absl::DataLossError("index checkpoint with a wrong number of slots");
  }
  checkpoint.slots.resize(slots);
  std::memcpy(checkpoint.slots.data(), bytes.data() + position, slots * 8);
  return checkpoint;
}

}  // namespace alos

#endif  // ALOS_INDEX_PRIMARY_CHECKPOINT_H_
