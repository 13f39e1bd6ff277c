// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What an engine is opened with.

#ifndef ALOS_ENGINE_OPTIONS_H_
#define ALOS_ENGINE_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "alos/engine/changes.h"

namespace alos {

// What a transaction promises.
enum class Isolation {
  // It reads one snapshot, and writes nothing that somebody else has written meanwhile.
  kSnapshot,
  // Besides, what it read, and what it looked for and did not find, is the same when it commits: as
  // if it had happened at once.
  kSerializable,
};

struct TransactionOptions {
  Isolation isolation = Isolation::kSnapshot;
};

struct EngineOptions {
  // The directory of all databases; made when absent. One engine at a time may have it open.
  std::string data_path;
  // Shards of a database that does not exist yet; an existing one keeps its own.
  std::uint32_t shards = 256;
  // For each database, shared out among its shards; 0: no cache.
  std::size_t cache_bytes = std::size_t{512} << 20;
  // The level of the codec that new documents are stored with: 0 none, 1 fast, 9 small. What is
  // stored already is read whatever its codec.
  int compression_level = 1;
  // False: bodies of new documents are stored without a checksum. Then a damaged body is served as
  // it is; only ids and headers are still checked.
  bool check_bodies = true;
  // How much a power failure can cost where the durability policy acknowledges before it flushes.
  absl::Duration flush_interval = absl::Seconds(1);
  // How large a segment of the journal grows, where the durability policy keeps one, before the
  // shard files are flushed and it is removed.
  std::uint64_t journal_segment_bytes = std::uint64_t{64} << 20;
  // Queries on a field without an index have one made in the background.
  bool automatic_indexes = true;
  // Not for collections with fewer documents: those are scanned as fast.
  std::uint64_t automatic_index_documents_min = 1000;
  // Per database. When its indexes are larger, automatic ones are dropped, the least useful first.
  // What is stored in files counts too, although the system may take its memory back. 0: no limit.
  std::uint64_t index_bytes_max = 0;
  // The newest documents, up to so many, have no index files: a start reads them from the logs.
  std::uint32_t unstored_index_rows_max = 1 << 14;
  // How often documents are looked for that an index says expire (IndexDefinition::
  // expire_after_seconds). Zero: never, but when BasicDatabase::DeleteExpired() is called.
  absl::Duration expiry_interval = absl::Minutes(1);
  // What time it is for them; empty: absl::Now. From any thread.
  std::function<absl::Time()> clock;
  // For how long a state of the database can be read after it was replaced, by its timestamp, and
  // change feeds can be resumed. Zero: only what is open keeps old versions.
  absl::Duration history_retention = absl::Minutes(5);
  // Documents written in a second, for each database; more wait. 0: no limit.
  std::uint64_t max_write_rate = 0;
  // Is told of each change to these collections, of any database, in the order of its commits, once
  // each while the engine is open, soon after the commit. By a thread of the engine's own, which
  // must not be kept for longer than history_retention; views are valid during the call.
  std::vector<std::string> hook_collections;
  std::function<void(std::string_view database, const Change& change)> hook;
  // How long a session (BasicDatabase::OpenSession) that is not used keeps the outcome of its last
  // request.
  absl::Duration request_window = absl::Hours(1);
  // What the writes of one transaction may take in memory.
  std::size_t transaction_bytes_max = std::size_t{256} << 20;
  // What all open transactions may take together: what they write and, if they are serializable,
  // note of what they read. 0: no limit.
  std::size_t all_transactions_bytes_max = std::size_t{512} << 20;
  // How often the checksums of all records are verified in the background (BasicDatabase::Scrub).
  // Zero: never. The first time after an hour, or the interval if that is less.
  absl::Duration scrub_interval = absl::Hours(24);
  std::uint64_t scrub_bytes_per_second = std::uint64_t{32} << 20;  // 0: as fast as it can
  // The space of what was deleted and replaced is given back in the background.
  bool compaction = true;
  // Of a shard whose log is at least so large (a part of which is stale) ...
  std::uint64_t compact_bytes_min = std::uint64_t{4} << 20;
  // ... and at least this part of it is stale.
  double compact_stale_ratio = 0.5;
  // How many bytes are moved in a second meanwhile; 0: as fast as it goes.
  std::uint64_t compaction_rate_bytes = std::uint64_t{256} << 20;
  // A checkpoint of the primary index is written when so much has been appended since the last one.
  std::uint64_t checkpoint_bytes = std::uint64_t{256} << 20;
};

}  // namespace alos

#endif  // ALOS_ENGINE_OPTIONS_H_
