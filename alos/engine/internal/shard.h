// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// One shard of a database: its log, its primary index, its cache, and its writer role.

#ifndef ALOS_ENGINE_INTERNAL_SHARD_H_
#define ALOS_ENGINE_INTERNAL_SHARD_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/epoch.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/log_marks.h"
#include "alos/engine/internal/stored_body.h"
#include "alos/index/primary_checkpoint.h"
#include "alos/index/primary_index.h"
#include "alos/storage/atomic_file.h"
#include "alos/storage/record.h"
#include "alos/storage/shard_log.h"
#include "xxhash.h"

namespace alos::engine_internal {

// What all shards of a database share. Constant, outlives them.
template <class Policies>
struct ShardContext {
  typename Policies::FileSystem* file_system = nullptr;
  EpochManager* epochs = nullptr;
  std::string directory;
  DatabaseId database_id{};
  std::uint64_t hash_seed = 0;
};

// The hash by which a document finds its shard and its slot.
inline std::uint64_t DocumentHash(std::uint32_t collection, std::string_view id,
                                  std::uint64_t seed) {
  return XXH3_64bits_withSeed(id.data(), id.size(), seed + collection * 0x9E3779B97F4A7C15u);
}

// Which of `count` shards has the documents of this hash. Not the low bits, which choose the slot:
// a multiplication spreads all of them to the top first.
inline std::size_t ShardNumber(std::uint64_t hash, std::size_t count) {
  return ((hash * 0x9E3779B97F4A7C15u) >> 32) * count >> 32;
}

// The generation of a log that was never rewritten. Known from elsewhere, so that a header that
// never reached the disk can be written again.
inline std::uint64_t FirstGeneration(const DatabaseId& database_id, std::uint32_t shard) {
  return XXH3_64bits_withSeed(database_id.data(), database_id.size(), shard);
}

// Threads: members marked "writer" need the writer role (`writer()`); the others may be called by
// any thread inside an epoch guard. Views passed to visitors are valid during the call.
template <class Policies>
class Shard {
 public:
  using Log = BasicShardLog<typename Policies::FileSystem>;

  Shard(const ShardContext<Policies>* context, std::uint32_t number, std::size_t cache_bytes)
      : context_(context), number_(number), index_(context->epochs), cache_(cache_bytes) {}

  absl::Mutex& writer() { return writer_; }
  std::uint32_t number() const { return number_; }
  // nullptr before the first write.
  Log* log() const { return log_.load(std::memory_order_acquire); }
  auto& cache() { return cache_; }

  std::string FileName(std::string_view extension) const {
    return absl::StrFormat("shard_%03d.%s", number_, extension);
  }

  // --- Opening. Before the shard is shared.

  // Opens the log if there is one. `made`: there must be one, and whole (see
  // Manifest::shards_made).
  absl::Status OpenLog(bool made) {
    is_made_ = made;
    const std::string path = LogPath();
    ALOS_ASSIGN_OR_RETURN(const bool exists, context_->file_system->Exists(path));
    if (!exists) {
      if (!made) return absl::OkStatus();
      return absl::DataLossError(
          absl::StrCat(path, ": the file is missing; restore it from a backup"));
    }
    auto log = Log::Open(*context_->file_system, path, identity(), context_->epochs);
    if (absl::IsDataLoss(log.status()) && !made) {
      log = Log::OpenUnflushed(*context_->file_system, path, identity(), FirstGeneration(),
                               context_->epochs);
    }
    ALOS_RETURN_IF_ERROR(log.status());
    owned_log_ = *std::move(log);
    log_.store(owned_log_.get(), std::memory_order_release);
    return absl::OkStatus();
  }

  // Whether the manifest says that the log is there and has been flushed.
  bool is_made() const { return is_made_.load(std::memory_order_relaxed); }
  void SetMade() { is_made_.store(true, std::memory_order_relaxed); }

  // The checkpoint of this shard's index; nullopt when there is none that can be used.
  // *is_of_later_log: because the log is an older one.
  std::optional<PrimaryCheckpoint> LoadCheckpoint(bool* is_of_later_log) {
    const absl::StatusOr<std::string> bytes = ReadWholeFile(
        *context_->file_system, absl::StrCat(context_->directory, "/", FileName("sidx")));
    if (!bytes.ok()) return std::nullopt;
    absl::StatusOr<PrimaryCheckpoint> checkpoint = DecodePrimaryCheckpoint(*bytes);
    if (!checkpoint.ok() || checkpoint->generation != log()->generation() ||
        checkpoint->log_end > log()->file_size() || checkpoint->log_end < log()->begin()) {
      if (checkpoint.ok() && checkpoint->generation == log()->generation() &&
          checkpoint->log_end > log()->file_size()) {
        *is_of_later_log = true;
      }
      return std::nullopt;
    }
    // Its checksum holds; still, nothing it says is followed out of the log, or round and round.
    // What lies before the log's begin: it was written before the last compaction was done.
    const std::uint64_t begin = log()->begin();
    std::uint64_t used = 0;
    for (const std::uint64_t slot : checkpoint->slots) {
      if (slot == 0) continue;
      ++used;
      if (!PrimaryIndex::IsUsed(slot)) continue;
      const std::uint64_t offset = PrimaryIndex::Offset(slot);
      if (offset < begin || offset > checkpoint->log_end ||
          checkpoint->log_end - offset < kRecordHeaderSize) {
        return std::nullopt;
      }
    }
    if (used == checkpoint->slots.size()) return std::nullopt;
    // A copy that was made while the database was in use may have an older log beside it: zeros
    // where its last record should be. (A record that rotted is no reason not to use it.)
    if (checkpoint->last_record >= begin) {
      constexpr std::string_view kZeros("\0\0\0\0\0\0\0\0", 8);
      if (checkpoint->last_record + kRecordHeaderSize > checkpoint->log_end ||
          std::string_view(log()->At(checkpoint->last_record), kZeros.size()) == kZeros) {
        *is_of_later_log = true;
        return std::nullopt;
      }
    }
    return *std::move(checkpoint);
  }

  // Puts the index back as `checkpoint` (nullptr: empty) has it and reads the log from there.
  // Records of transactions newer than `transactions_complete_until` are also given to
  // `on_transaction(RecordHeader, offset)`: the caller counts them.
  template <class OnTransaction>
  absl::StatusOr<LogRecovery> Recover(const PrimaryCheckpoint* checkpoint,
                                      std::uint64_t durable_end, std::uint64_t timestamp_max,
                                      std::uint64_t transactions_complete_until,
                                      OnTransaction&& on_transaction) {
    collections_.clear();
    stale_bytes_ = checkpointed_end_ = last_record_ = 0;
    std::uint64_t from = log()->begin();
    // Of what was compacted away there is nothing newer.
    newest_timestamp_ = log()->stored_begin().complete_until;
    if (checkpoint != nullptr) {
      index_.Reset(checkpoint->slots, checkpoint->keys);
      stale_bytes_ = checkpoint->stale_bytes;
      newest_timestamp_ = std::max(newest_timestamp_.load(), checkpoint->newest_timestamp);
      last_record_ = checkpoint->last_record;
      for (const auto& collection : checkpoint->collections) {
        collections_[static_cast<std::uint32_t>(collection.id)] = {
            static_cast<std::int64_t>(collection.live_documents),
            static_cast<std::int64_t>(collection.stored_bytes)};
      }
      from = checkpointed_end_ = checkpoint->log_end;
      durable_end = std::max(durable_end, from);
    } else {
      const std::vector<std::uint64_t> empty(16, 0);
      index_.Reset(empty, 0);
    }
    marks_.Reset();
    ALOS_ASSIGN_OR_RETURN(
        LogRecovery recovery,
        log()->Recover(
            from, durable_end, timestamp_max, [&](std::uint64_t offset, const RecordView& record) {
              const RecordHeader& header = record.header();
              marks_.Note(offset, newest_timestamp_);
              last_record_ = offset;
              newest_timestamp_ = std::max(newest_timestamp_.load(), header.commit_timestamp);
              if (header.kind == RecordKind::kDurableMark || header.kind == RecordKind::kAborted) {
                stale_bytes_ += header.size;
                return;
              }
              if (header.transaction_record_count > 0 &&
                  header.commit_timestamp > transactions_complete_until) {
                on_transaction(header, offset);
              }
              const std::uint64_t hash =
                  DocumentHash(header.collection, record.id(), context_->hash_seed);
              Install(header, hash, FindNewest(header.collection, record.id(), hash), offset);
            }));
    if (!is_made() || log()->end() != from ||
        recovery.torn_bytes + recovery.unacknowledged_bytes != 0) {
      // Not closed cleanly, or its checkpoint is gone; of a new file not even the header is
      // durable.
      ALOS_RETURN_IF_ERROR(log()->Rewrite(is_made() ? recovery.durable_end : 0));
      ALOS_RETURN_IF_ERROR(log()->Sync());
    }
    return recovery;
  }

  // --- Reading.

  // The offset of the newest record of a document, deletions included; 0 when there is none.
  std::uint64_t FindNewest(std::uint32_t collection, std::string_view id,
                           std::uint64_t hash) const {
    const Log* log = this->log();
    if (log == nullptr) return 0;
    return index_.Find(hash, [&](std::uint64_t offset) {
      const RecordView record(log->At(offset));
      // The size is compared first: bytes of an id are only looked at where one of that size fits.
      if (record.header().id_size == id.size() && record.header().collection == collection &&
          offset + kRecordHeaderSize + id.size() <= log->file_size() && record.id() == id) {
        return true;
      }
      // Another document whose hash begins alike, one of a million; or this one, rotted.
      if (!HasGoodHeader(offset, log->file_size()))
        lost_key_offset_.store(offset, std::memory_order_release);
      return false;
    });
  }

  // The offset of the version that a snapshot at `timestamp` sees, or 0 when it sees none.
  // kDataLoss when that cannot be known because a part of the log is damaged.
  absl::StatusOr<std::uint64_t> FindVersion(std::uint32_t collection, std::string_view id,
                                            std::uint64_t hash, std::uint64_t timestamp) const {
    std::uint64_t offset = FindNewest(collection, id, hash);
    if (log() != nullptr && !log()->damaged().empty())
      ALOS_RETURN_IF_ERROR(CheckDamage(collection, id, offset));
    const std::uint64_t lost = lost_key_offset_.load(std::memory_order_acquire);
    if (offset == 0 && lost != 0) return Damaged(lost, id);
    while (offset != 0) {
      const RecordView record(log()->At(offset));
      const RecordHeader& header = record.header();
      if (!IsPlausibleRecord(log()->At(offset), log()->file_size() - offset) ||
          RecordHeaderChecksum(header, record.id(), log()->generation(), offset) !=
              header.header_checksum) {
        return Damaged(offset, id);
      }
      if (header.commit_timestamp <= timestamp && header.kind != RecordKind::kAborted) {
        return header.kind == RecordKind::kPut ? offset : 0;
      }
      offset = Previous(header);
    }
    return 0;
  }

  // What FindVersion returns for the version before the record at `offset`, whose header is
  // `header`, at `timestamp`, which is before that record's: found from there where it can be.
  absl::StatusOr<std::uint64_t> FindVersionBefore(std::uint64_t offset, const RecordHeader& header,
                                                  std::string_view id, std::uint64_t hash,
                                                  std::uint64_t timestamp) const {
    const std::uint64_t previous = header.previous_offset;
    if (previous == 0) return 0;
    const Log* log = this->log();
    if (previous < offset && IsPlausibleRecord(log->At(previous), offset - previous)) {
      const RecordView record(log->At(previous));
      const RecordHeader& before = record.header();
      if (RecordHeaderChecksum(before, record.id(), log->generation(), previous) ==
              before.header_checksum &&
          before.kind != RecordKind::kAborted && before.commit_timestamp <= timestamp &&
          before.collection == header.collection && record.id() == id) {
        return before.kind == RecordKind::kPut ? previous : 0;
      }
    }
    return FindVersion(header.collection, id, hash, timestamp);
  }

  // Whether a document, whose newest record is at `offset` (0: it has none), was changed after
  // `timestamp`. That it was moved by compaction does not count. For writers.
  bool HasChangedSince(std::uint64_t offset, std::uint64_t timestamp) const {
    while (offset != 0) {
      const RecordHeader header = RecordView(log()->At(offset)).header();
      if (header.commit_timestamp <= timestamp) return false;
      if ((header.flags & kRelocated) == 0 && header.kind != RecordKind::kAborted) return true;
      offset = Previous(header);
    }
    return false;
  }

  // Calls `visit` with the document of the kPut record at `offset`, whose header FindVersion
  // checked. `keep`: a document that was worth decoding goes into the cache; scans leave the cache
  // as it is. kDataLoss when its body is damaged.
  absl::Status VisitDocument(std::uint64_t offset, absl::FunctionRef<void(ValueView)> visit,
                             bool keep = true) {
    using Codecs = typename Policies::Codecs;
    const RecordView record(log()->At(offset));
    const RecordHeader& header = record.header();
    const bool cached =
        header.codec != 0 && IsWorthCaching<Codecs>(header.codec, header.raw_body_size);
    if (cached &&
        cache_.Lookup(offset, [&](std::string_view raw) { visit(ValueView::FromTrusted(raw)); })) {
      return absl::OkStatus();
    }
    if ((header.flags & kBodyUnchecked) == 0 &&
        Crc32c(record.stored_body()) != header.body_checksum) {
      return Damaged(offset, record.id());
    }
    if (header.codec == 0) {
      if (header.raw_body_size != record.stored_body().size()) return Damaged(offset, record.id());
      visit(ValueView::FromTrusted(record.stored_body()));
      return absl::OkStatus();
    }
    char small[kCachedBodySizeMin];
    std::string large;
    absl::Span<char> raw(small, header.raw_body_size);
    if (header.raw_body_size > sizeof small) {
      large.resize(header.raw_body_size);
      raw = absl::MakeSpan(large);
    }
    const absl::Status decoded = DecodeBody<Codecs>(header.codec, record.stored_body(), raw);
    if (absl::IsFailedPrecondition(decoded)) return decoded;
    if (!decoded.ok()) return Damaged(offset, record.id());
    const std::string_view document(raw.data(), raw.size());
    visit(ValueView::FromTrusted(document));
    if (cached && keep)
      cache_.Insert(offset, large.empty() ? std::string(document) : std::move(large));
    return absl::OkStatus();
  }

  // As VisitDocument, for a record whose offset comes from an index: its header is checked first.
  absl::Status VisitRecord(std::uint64_t offset, absl::FunctionRef<void(ValueView)> visit,
                           bool keep) {
    ALOS_RETURN_IF_ERROR(CheckHeader(offset, log()->end()));
    if (RecordView(log()->At(offset)).header().kind != RecordKind::kPut) return Damaged(offset, {});
    return VisitDocument(offset, visit, keep);
  }

  // Calls `visit(id, document)` for the newest version, visible or not, of each document with this
  // hash, until it returns false: there is one, but for a coincidence. kDataLoss when one of them
  // may be damaged.
  absl::Status VisitByHash(std::uint32_t collection, std::uint64_t hash,
                           absl::FunctionRef<bool(std::string_view, ValueView)> visit) {
    const Log* log = this->log();
    if (log == nullptr) return absl::OkStatus();
    absl::Status status;
    index_.Find(hash, [&](std::uint64_t offset) {
      status = CheckHeader(offset, log->end());
      if (!status.ok()) return true;
      const RecordView record(log->At(offset));
      if (record.header().kind != RecordKind::kPut || record.header().collection != collection ||
          DocumentHash(collection, record.id(), context_->hash_seed) != hash) {
        return false;
      }
      bool go_on = true;
      status =
          VisitDocument(offset, [&](ValueView document) { go_on = visit(record.id(), document); });
      return !go_on || !status.ok();
    });
    return status;
  }

  // Calls `visit(offset, const RecordHeader&)` for each record from `from` on, in log order, until
  // one was committed after `timestamp_max`, or `records_max` were visited, or the log ends.
  // Returns the offset to go on from. kDataLoss when anything on the way is damaged.
  template <class Visit>
  absl::StatusOr<std::uint64_t> ForEachRecord(std::uint64_t from, std::uint64_t timestamp_max,
                                              std::uint64_t records_max, Visit&& visit) const {
    const Log* log = this->log();
    if (log == nullptr) return from;
    if (!log->damaged().empty()) return Damaged(log->damaged().front().offset, {});
    const std::uint64_t end = log->end();
    std::uint64_t offset = std::max(from, log->begin());
    for (; offset < end && records_max > 0; --records_max) {
      ALOS_RETURN_IF_ERROR(CheckHeader(offset, end));
      const RecordHeader header = RecordView(log->At(offset)).header();
      if (header.commit_timestamp > timestamp_max) break;
      visit(offset, header);
      offset = NextRecordOffset(offset + header.size);
    }
    return offset;
  }

  // Calls `visit(offset, RecordView)` for each record that was committed after `timestamp` and lies
  // at or behind `from` (0: anywhere) and before `end` (0: the end of the log), in log order, until
  // it returns false. Returns the offset to go on from. kDataLoss when anything on the way is
  // damaged.
  template <class Visit>
  absl::StatusOr<std::uint64_t> ForEachNewer(std::uint64_t timestamp, std::uint64_t from,
                                             std::uint64_t end, Visit&& visit) const {
    const Log* log = this->log();
    if (log == nullptr) return from;
    if (end == 0) end = log->end();
    std::uint64_t offset =
        std::max({from, from == 0 ? marks_.Seek(timestamp) : std::uint64_t{0}, log->begin()});
    for (const DamagedExtent& extent : log->damaged()) {
      if (extent.end > offset && extent.offset < end) return Damaged(extent.offset, {});
    }
    while (offset < end) {
      ALOS_RETURN_IF_ERROR(CheckHeader(offset, end));
      const RecordView record(log->At(offset));
      const RecordHeader& header = record.header();
      const std::uint64_t next = NextRecordOffset(offset + header.size);
      if (header.commit_timestamp > timestamp && !visit(offset, record)) return offset;
      offset = next;
    }
    return offset;
  }

  // Verifies the checksums of the records from `from` on, below `until` (a former end of the log),
  // of about `bytes_max` bytes, and calls `damaged(offset, bytes, const RecordView*)` for what does
  // not hold; the record is nullptr where nothing can be recognised. Returns where to go on.
  template <class OnDamaged>
  std::uint64_t VerifyRecords(std::uint64_t from, std::uint64_t until, std::uint64_t bytes_max,
                              OnDamaged&& damaged) const {
    const Log& log = *this->log();
    std::uint64_t offset = std::max(from, log.begin());
    const std::uint64_t begin = offset;
    while (offset < until && offset - begin < bytes_max) {
      const RecordState state =
          CheckRecord(log.At(offset), until - offset, log.generation(), offset);
      if (state == RecordState::kUnrecognizable) {
        std::uint64_t next = offset + kRecordAlignment;
        while (next < until && CheckRecord(log.At(next), until - next, log.generation(), next) !=
                                   RecordState::kValid) {
          next += kRecordAlignment;
        }
        damaged(offset, std::min(next, until) - offset, nullptr);
        offset = next;
        continue;
      }
      const RecordView record(log.At(offset));
      if (state == RecordState::kBodyDamaged) damaged(offset, record.header().size, &record);
      offset = NextRecordOffset(offset + record.header().size);
    }
    return offset;
  }

  // Calls `visit(offset, document)` for every document of `collection` that a snapshot at
  // `timestamp` sees and whose record lies at or after `from`, in log order, until it returns
  // false. Returns the offset to go on from, 0 at the end. kDataLoss when anything on the way is
  // damaged: a scan never leaves a document out in silence. Cost: one pass over the log, one index
  // lookup per record.
  absl::StatusOr<std::uint64_t> Scan(std::uint32_t collection, std::uint64_t timestamp,
                                     std::uint64_t from,
                                     absl::FunctionRef<bool(std::uint64_t, ValueView)> visit) {
    const Log* log = this->log();
    if (log == nullptr) return 0;
    const std::uint64_t end = log->end();
    std::uint64_t offset = std::max(from, log->begin());
    for (const DamagedExtent& extent : log->damaged()) {
      if (extent.document && extent.document->first != collection) continue;
      if (extent.document) {
        // A damaged version matters only while no newer one has replaced it.
        const auto& [owner, id] = *extent.document;
        if (FindNewest(owner, id, DocumentHash(owner, id, context_->hash_seed)) > extent.offset)
          continue;
      }
      return Damaged(extent.offset, extent.document ? extent.document->second : std::string_view());
    }
    std::size_t next_damaged = 0;
    while (offset < end) {
      while (next_damaged < log->damaged().size() && log->damaged()[next_damaged].end <= offset)
        ++next_damaged;
      if (next_damaged < log->damaged().size() && log->damaged()[next_damaged].offset <= offset) {
        offset = NextRecordOffset(log->damaged()[next_damaged].end);
        continue;
      }
      const RecordView record(log->At(offset));
      const RecordHeader& header = record.header();
      if (!IsPlausibleRecord(log->At(offset), end - offset) ||
          RecordHeaderChecksum(header, record.id(), log->generation(), offset) !=
              header.header_checksum) {
        return Damaged(offset, {});
      }
      const std::uint64_t next = NextRecordOffset(offset + header.size);
      if (header.kind == RecordKind::kPut && header.collection == collection &&
          header.commit_timestamp <= timestamp) {
        const std::uint64_t hash = DocumentHash(collection, record.id(), context_->hash_seed);
        ALOS_ASSIGN_OR_RETURN(const std::uint64_t visible,
                              FindVersion(collection, record.id(), hash, timestamp));
        if (visible == offset) {
          bool go_on = true;
          ALOS_RETURN_IF_ERROR(VisitDocument(
              offset, [&](ValueView document) { go_on = visit(offset, document); }, false));
          if (!go_on) return next;
        }
      }
      offset = next;
    }
    return 0;
  }

  // --- Writing. All members: writer.

  // A version that is being written.
  struct Write {
    typename Log::Prepared prepared;
    std::uint32_t collection = 0;
    std::string_view id;  // outlives the write
    std::uint64_t hash = 0;
    std::uint64_t previous = 0;
  };

  // Makes the log file if this is the first write. It is flushed with its records: until then the
  // manifest does not count on it.
  absl::Status EnsureLog() {
    if (owned_log_ != nullptr) {
      owned_log_->Discard();  // what a write that ran out of memory had prepared
      return absl::OkStatus();
    }
    ALOS_ASSIGN_OR_RETURN(owned_log_, Log::Create(*context_->file_system, LogPath(), identity(),
                                                  FirstGeneration(), context_->epochs));
    log_.store(owned_log_.get(), std::memory_order_release);
    return absl::OkStatus();
  }

  // Appends a durable mark to the commit that is being prepared when there is something new to say:
  // it lets recovery tell corruption from a torn tail.
  absl::StatusOr<std::optional<typename Log::Prepared>> PrepareMark() {
    const std::uint64_t durable_end = owned_log_->durable_end();
    if (durable_end <= marked_durable_end_) return std::nullopt;
    RecordHeader header{};
    header.kind = RecordKind::kDurableMark;
    header.previous_offset = durable_end;
    ALOS_ASSIGN_OR_RETURN(auto prepared, owned_log_->Prepare(header, {}, {}, 0));
    marked_durable_end_ = durable_end;
    return prepared;
  }

  // Takes space for a new version (`body` nullptr: a deletion) whose previous record is `previous`.
  absl::StatusOr<Write> Prepare(std::uint32_t collection, std::string_view id, std::uint64_t hash,
                                std::uint64_t previous, const StoredBody* body, bool check_body,
                                std::uint32_t transaction_record_count) {
    RecordHeader header{};
    header.collection = collection;
    header.previous_offset = previous;
    header.transaction_record_count = transaction_record_count;
    header.kind = body != nullptr ? RecordKind::kPut : RecordKind::kDelete;
    if (body != nullptr) {
      header.codec = body->codec;
      header.raw_body_size = static_cast<std::uint32_t>(body->raw.size());
      if (!check_body) header.flags |= kBodyUnchecked;
    }
    ALOS_ASSIGN_OR_RETURN(
        auto prepared,
        owned_log_->Prepare(header, id, body != nullptr ? body->stored() : std::string_view(),
                            body != nullptr ? body->checksum : 0));
    return Write{prepared, collection, id, hash, previous};
  }

  // Calls `visit(id, hash, document)` for the documents of `collection` whose newest version lies
  // at or after `from`, visible or not, until it returns false or `records_max` records were looked
  // at. Returns the offset to go on from, 0 at the end. kDataLoss when anything is damaged, unless
  // `skip_damaged`.
  template <class Visit>
  absl::StatusOr<std::uint64_t> VisitNewest(std::uint32_t collection, std::uint64_t from,
                                            std::uint64_t records_max, bool skip_damaged,
                                            Visit&& visit) {
    const Log* log = this->log();
    if (log == nullptr) return 0;
    if (!skip_damaged && !log->damaged().empty()) return Damaged(log->damaged().front().offset, {});
    const std::uint64_t end = log->end();
    std::uint64_t offset = std::max(from, log->begin());
    while (offset < end) {
      const auto damaged = std::find_if(log->damaged().begin(), log->damaged().end(),
                                        [&](const DamagedExtent& extent) {
                                          return extent.offset <= offset && offset < extent.end;
                                        });
      if (damaged != log->damaged().end()) {
        offset = NextRecordOffset(damaged->end);
        continue;
      }
      if (records_max-- == 0) return offset;
      ALOS_RETURN_IF_ERROR(CheckHeader(offset, end));
      const RecordView record(log->At(offset));
      const RecordHeader header = record.header();
      if (header.kind == RecordKind::kPut && header.collection == collection) {
        const std::uint64_t hash = DocumentHash(collection, record.id(), context_->hash_seed);
        if (FindNewest(collection, record.id(), hash) == offset) {
          bool go_on = true;
          const absl::Status visited = VisitDocument(
              offset, [&](ValueView document) { go_on = visit(record.id(), hash, document); },
              false);
          if (!skip_damaged) ALOS_RETURN_IF_ERROR(visited);
          if (!go_on) return 0;
        }
      }
      offset = NextRecordOffset(offset + header.size);
    }
    return 0;
  }

  // --- Compaction. One thread at a time; `collections`: the ids of those that there are.

  using CollectionIds = absl::flat_hash_set<std::uint32_t>;

  // A document that compaction is to move: its newest record.
  struct Move {
    std::uint64_t offset = 0;
    std::uint64_t hash = 0;
  };

  // How much of the log there is, and how much of it is live documents.
  struct Usage {
    std::uint64_t log_bytes = 0;
    std::uint64_t live_bytes = 0;
    std::uint64_t stale_bytes() const { return log_bytes - std::min(log_bytes, live_bytes); }
  };
  // Writer.
  Usage usage(const CollectionIds& collections) const {
    Usage usage;
    if (owned_log_ == nullptr) return usage;
    usage.log_bytes = owned_log_->end() - owned_log_->begin();
    for (const auto& [id, counts] : collections_) {
      if (collections.contains(id)) usage.live_bytes += static_cast<std::uint64_t>(counts.bytes);
    }
    return usage;
  }

  // Looks at records from `from` to `until`, until it has seen `bytes_max` bytes of the log or
  // finds one that was committed after `timestamp_max`, and appends the live documents to *moves,
  // of no more than `moves_bytes_max` bytes unless one alone is larger. Returns where to go on.
  // kDataLoss when one is damaged. Inside an epoch guard.
  absl::StatusOr<std::uint64_t> FindLive(std::uint64_t from, std::uint64_t until,
                                         std::uint64_t timestamp_max, std::uint64_t bytes_max,
                                         std::uint64_t moves_bytes_max,
                                         const CollectionIds& collections,
                                         std::vector<Move>* moves) const {
    const Log* log = this->log();
    for (const DamagedExtent& extent : log->damaged()) {
      if (extent.offset < until && extent.end > from) {
        return Damaged(extent.offset,
                       extent.document ? extent.document->second : std::string_view());
      }
    }
    std::uint64_t moves_bytes = 0;
    std::uint64_t offset = from;
    while (offset < until && offset - from < bytes_max) {
      ALOS_RETURN_IF_ERROR(CheckHeader(offset, until));
      const RecordView record(log->At(offset));
      const RecordHeader& header = record.header();
      if (header.commit_timestamp > timestamp_max) break;
      if (header.kind == RecordKind::kPut && collections.contains(header.collection)) {
        const std::uint64_t hash =
            DocumentHash(header.collection, record.id(), context_->hash_seed);
        if (index_.Holds(hash, offset)) {
          if (!moves->empty() && moves_bytes + header.size > moves_bytes_max) return offset;
          if ((header.flags & kBodyUnchecked) == 0 &&
              Crc32c(record.stored_body()) != header.body_checksum) {
            return Damaged(offset, record.id());
          }
          moves->push_back({offset, hash});
          moves_bytes += header.size;
        }
      }
      offset = NextRecordOffset(offset + header.size);
    }
    return offset;
  }

  // Takes space for a copy of a document at the end of the log; nullopt when it was written
  // meanwhile. Writer.
  absl::StatusOr<std::optional<Write>> PrepareMove(const Move& move) {
    if (!index_.Holds(move.hash, move.offset)) return std::nullopt;
    // The space may come with a new map: the old one stays until our epoch ends.
    const RecordView record(owned_log_->At(move.offset));
    RecordHeader header = record.header();
    header.previous_offset = move.offset;
    header.transaction_record_count = 0;
    header.flags |= kRelocated;
    ALOS_ASSIGN_OR_RETURN(
        auto prepared,
        owned_log_->Prepare(header, record.id(), record.stored_body(), header.body_checksum));
    return Write{prepared, header.collection, record.id(), move.hash, move.offset};
  }

  // Appends the newest records below `offset` to *records, `records_max` at most: of what was
  // deleted, and of collections that were dropped. *position: 0 at first, then as it was left.
  // False when there are no more, unless the index grew meanwhile. Inside an epoch guard.
  bool FindDead(std::uint64_t offset, std::size_t records_max, std::uint64_t* position,
                std::vector<Move>* records) {
    return index_.VisitBelow(offset, position, [&](std::uint64_t at) {
      records->push_back({at, HashAt(at)});
      return records->size() < records_max;
    });
  }

  // Forgets the keys of these records. False when one is that of a live document, which nothing
  // but a mistake of ours can be: it is kept. Writer.
  bool RemoveDead(absl::Span<const Move> records, const CollectionIds& collections) {
    bool all = true;
    for (const Move& move : records) {
      const RecordHeader header = RecordView(log()->At(move.offset)).header();
      if (header.kind == RecordKind::kPut && collections.contains(header.collection)) {
        all = !index_.Holds(move.hash, move.offset) && all;
        continue;
      }
      if (!index_.Remove(move.hash, move.offset, [this](std::uint64_t at) { return HashAt(at); }))
        continue;
      if (header.kind != RecordKind::kPut) continue;
      Counts& counts = collections_[header.collection];
      counts.documents -= 1;
      counts.bytes -= header.size;
    }
    return all;
  }

  // Writer. Nothing is below `offset` that is read or found any more.
  void SetBegin(std::uint64_t offset, const CollectionIds& collections) {
    owned_log_->SetBegin(offset);
    stale_bytes_ = usage(collections).stale_bytes();
    checkpointed_end_ = 0;  // the checkpoint that there is knows keys that are gone
  }

  // --- Writing, once more.

  // Gives back what was prepared.
  void Discard() {
    if (owned_log_ != nullptr) owned_log_->Discard();
  }

  std::string_view Seal(const typename Log::Prepared& prepared, std::uint64_t timestamp) {
    if (timestamp != newest_timestamp_) marks_.Note(prepared.offset, newest_timestamp_);
    newest_timestamp_.store(timestamp, std::memory_order_release);
    last_record_ = prepared.offset;
    return owned_log_->Seal(prepared, timestamp);
  }

  // Puts a sealed write into the index. Call PublishLog() first, once for all of a commit.
  void InstallWrite(const Write& write) {
    Install(write.prepared.header, write.hash, write.previous, write.prepared.offset);
  }
  void PublishLog() { owned_log_->Publish(); }

  // What a checkpoint stores, copied. Nothing when nothing was appended since the last one.
  std::optional<PrimaryCheckpoint> CaptureCheckpoint() {
    if (owned_log_ == nullptr || owned_log_->end() == checkpointed_end_) return std::nullopt;
    PrimaryCheckpoint checkpoint;
    checkpoint.generation = owned_log_->generation();
    checkpoint.log_end = owned_log_->end();
    checkpoint.newest_timestamp = newest_timestamp_;
    checkpoint.last_record = last_record_;
    checkpoint.stale_bytes = stale_bytes_;
    checkpoint.keys = index_.size();
    checkpoint.slots.reserve(index_.capacity());
    index_.ForEachSlot([&](std::uint64_t slot) { checkpoint.slots.push_back(slot); });
    for (const auto& [id, counts] : collections_) {
      checkpoint.collections.push_back({id, static_cast<std::uint64_t>(counts.documents),
                                        static_cast<std::uint64_t>(counts.bytes)});
    }
    return checkpoint;
  }
  void CheckpointWritten(std::uint64_t log_end, std::uint64_t log_begin) {
    if (log_begin != owned_log_->begin()) return;  // compacted meanwhile
    checkpointed_end_ = std::max(checkpointed_end_, log_end);
  }

  struct Counts {
    std::int64_t documents = 0;
    std::int64_t bytes = 0;  // stored size of the live records
  };
  const absl::flat_hash_map<std::uint32_t, Counts>& collections() const { return collections_; }
  std::uint64_t newest_timestamp() const { return newest_timestamp_; }
  // By any thread: whether there may be commits after `timestamp` in the log. True for all that are
  // published; for what others are writing, true or not.
  bool MayBeNewerThan(std::uint64_t timestamp) const {
    return newest_timestamp_.load(std::memory_order_acquire) > timestamp;
  }
  std::uint64_t stale_bytes() const { return stale_bytes_; }
  std::uint64_t uncheckpointed_bytes() const {
    if (owned_log_ == nullptr) return 0;
    return owned_log_->end() - std::max(checkpointed_end_, owned_log_->begin());
  }
  std::uint64_t index_bytes() const { return index_.capacity() * 8; }

  // Whether the newest record of a document, at `offset`, is a live version. For writers: also what
  // is not visible yet counts.
  bool IsLive(std::uint64_t offset) const {
    return offset != 0 && RecordView(log()->At(offset)).header().kind == RecordKind::kPut;
  }

  // An error that names the place and, where known, the document. `id` is encoded.
  absl::Status Damaged(std::uint64_t offset, std::string_view id) const {
    const std::string document = id.empty() ? "" : absl::StrCat(", document ", DescribeId(id));
    return absl::DataLossError(
        absl::StrCat(log()->path(), ": offset ", offset, document,
                     ": the record is damaged and is not served; restore it from a backup"));
  }

  // Whether damage hides what a lookup of this document should have found at or after `newest`, or
  // has changed what it found.
  absl::Status CheckDamage(std::uint32_t collection, std::string_view id,
                           std::uint64_t newest) const {
    if (newest != 0 && !HasGoodHeader(newest, log()->file_size())) return Damaged(newest, id);
    const std::uint64_t lost = lost_key_offset_.load(std::memory_order_acquire);
    if (newest == 0 && lost != 0) return Damaged(lost, id);
    for (const DamagedExtent& extent : log()->damaged()) {
      if (extent.offset < newest) continue;
      if (!extent.document ||
          (extent.document->first == collection && extent.document->second == id)) {
        return Damaged(extent.offset, id);
      }
    }
    return absl::OkStatus();
  }

 private:
  bool HasGoodHeader(std::uint64_t offset, std::uint64_t end) const {
    const Log* log = this->log();
    if (offset >= end || !IsPlausibleRecord(log->At(offset), end - offset)) return false;
    const RecordView record(log->At(offset));
    return RecordHeaderChecksum(record.header(), record.id(), log->generation(), offset) ==
           record.header().header_checksum;
  }
  absl::Status CheckHeader(std::uint64_t offset, std::uint64_t end) const {
    return HasGoodHeader(offset, end) ? absl::OkStatus() : Damaged(offset, {});
  }

  // Where the version before this one is; 0 when there is none, or it has been compacted away.
  std::uint64_t Previous(const RecordHeader& header) const {
    return header.previous_offset < log()->begin() ? 0 : header.previous_offset;
  }

  std::uint64_t HashAt(std::uint64_t at) const {
    const RecordView record(log()->At(at));
    if (!HasGoodHeader(at, log()->file_size())) {
      // It rotted since it was indexed. Its key is gone, so no lookup that finds nothing can be
      // trusted any more.
      lost_key_offset_.store(at, std::memory_order_release);
      return 0;
    }
    return DocumentHash(record.header().collection, record.id(), context_->hash_seed);
  }

  void Install(const RecordHeader& header, std::uint64_t hash, std::uint64_t previous,
               std::uint64_t offset) {
    Counts& counts = collections_[header.collection];
    if (previous != 0) {
      const RecordHeader old = RecordView(log()->At(previous)).header();
      stale_bytes_ += old.size;
      if (old.kind == RecordKind::kPut) {
        counts.documents -= 1;
        counts.bytes -= old.size;
      }
    }
    if (header.kind == RecordKind::kPut) {
      counts.documents += 1;
      counts.bytes += header.size;
    }
    index_.Put(hash, previous, offset, [this](std::uint64_t at) { return HashAt(at); });
  }

  std::string LogPath() const { return absl::StrCat(context_->directory, "/", FileName("db")); }
  ShardIdentity identity() const { return {context_->database_id, number_}; }
  std::uint64_t FirstGeneration() const {
    return engine_internal::FirstGeneration(context_->database_id, number_);
  }

  const ShardContext<Policies>* const context_;
  const std::uint32_t number_;
  PrimaryIndex index_;
  typename Policies::Cache cache_;
  std::atomic<Log*> log_{nullptr};  // = owned_log_.get()
  mutable std::atomic<std::uint64_t> lost_key_offset_{0};
  std::atomic<bool> is_made_{false};

  absl::Mutex writer_;
  std::unique_ptr<Log> owned_log_;
  absl::flat_hash_map<std::uint32_t, Counts> collections_;
  std::uint64_t stale_bytes_ = 0;
  std::atomic<std::uint64_t> newest_timestamp_{0};
  LogMarks marks_;
  std::uint64_t last_record_ = 0;  // its offset
  std::uint64_t checkpointed_end_ = 0;
  std::uint64_t marked_durable_end_ = 0;
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_SHARD_H_
