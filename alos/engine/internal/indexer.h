// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Makes and keeps the secondary indexes of a database: follows the shards' logs, cuts what was
// committed into segments, builds their columns, merges them, stores them in files, loads them.
//
// Files of a collection C in the database's directory, all of which can be deleted at any time:
//
//   cC.indexes         which indexes there are, which segments, how far they cover the logs
//   cC_sN.srows        the locations of segment N's rows
//   cC_sN.svidx.I      the column of index I over one field (alos/index/column.h)
//   cC_sN.sgidx.I      the same over several fields
//   cC_sN.stidx.I      trigrams of its keys (alos/index/trigram_index.h)

#ifndef ALOS_ENGINE_INTERNAL_INDEXER_H_
#define ALOS_ENGINE_INTERNAL_INDEXER_H_

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/crc32c.h"
#include "alos/base/log.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/engine/internal/collection_indexes.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/shard.h"
#include "alos/index/column.h"
#include "alos/index/column_builder.h"
#include "alos/index/index_definition.h"
#include "alos/index/key_extractor.h"
#include "alos/index/segment.h"
#include "alos/index/trigram_index.h"
#include "alos/storage/atomic_file.h"

namespace alos::engine_internal {

// How a database's secondary indexes are run.
struct IndexerOptions {
  // Automatic indexes are dropped, the least useful first, while all together exceed this.
  std::uint64_t bytes_max = 0;
  // Segments this small are not stored: a start reads so much of the logs anyhow.
  std::uint32_t unstored_rows_max = 1 << 14;
  // Threads that build and merge, at low priority.
  int builders = 2;
};

// Threads: all members, any. Its own threads start with the first index that somebody wants.
// Lifetime: context, shards and collections must outlive it; Stop() before they change otherwise.
// Durability: Store writes only what is durable in the logs; whatever is lost is built again.
// Errors: damage in a log ends indexing of the collections it touches, with a log line: queries
// scan then and report it.
template <class Policies>
class Indexer {
 public:
  using ShardType = Shard<Policies>;
  using Shards = std::vector<std::unique_ptr<ShardType>>;

  // What Store stores: taken before the logs are flushed.
  using Captured = std::vector<std::pair<const Collection*, IndexState>>;

  Indexer(const ShardContext<Policies>* context, const Shards* shards, IndexerOptions options,
          std::function<std::uint64_t()> visible_timestamp)
      : context_(context),
        shards_(shards),
        options_(options),
        visible_timestamp_(std::move(visible_timestamp)) {}
  ~Indexer() { Stop(); }
  Indexer(const Indexer&) = delete;
  Indexer& operator=(const Indexer&) = delete;

  // Asks for an index of these paths, unless there is one. Returns its id.
  std::uint32_t Want(Collection* collection, IndexDefinition definition) {
    std::uint32_t id = 0;
    bool is_new = false;
    collection->indexes.Change([&](IndexState* state) {
      if (const Index* found = state->FindIndexByName(definition.name())) {
        id = found->definition.id;
        return false;
      }
      id = definition.id = state->next_index_id++;
      state->indexes.push_back(std::make_shared<Index>(definition));
      is_new = true;
      return true;
    });
    if (is_new) {
      ALOS_LOG(kInfo) << context_->directory << ": index " << definition.name() << " on '"
                      << collection->name << "': " << definition.reason;
    }
    Activate(collection);
    return id;
  }

  // Makes the index, or gives the one of its name this definition, which keeps its columns then.
  // Returns the definition with its id.
  IndexDefinition Define(Collection* collection, IndexDefinition definition) {
    collection->indexes.Change([&](IndexState* state) {
      Define(&definition, state);
      return true;
    });
    ALOS_LOG(kInfo) << context_->directory << ": index " << definition.name() << " on '"
                    << collection->name << "': " << definition.reason;
    Activate(collection);
    return definition;
  }

  // The collection's columns of this index get trigrams.
  void WantText(Collection* collection, Index* index) {
    if (index->wants_text.exchange(true)) return;
    Activate(collection);
  }

  // False when there is no such index. `only_automatic`: nor when a client created it.
  bool Drop(Collection* collection, std::string_view name, bool only_automatic = false) {
    return collection->indexes.Change([&](IndexState* state) {
      const Index* index = state->FindIndexByName(name);
      if (index == nullptr || (only_automatic && !index->definition.is_automatic)) return false;
      RemoveIndex(index->definition.id, state);
      return true;
    });
  }

  // Its columns are made again.
  bool Rebuild(Collection* collection, std::string_view name) {
    const bool found = collection->indexes.Change([&](IndexState* state) {
      const Index* index = state->FindIndexByName(name);
      if (index == nullptr) return false;
      RemoveColumns(index->definition.id, state);
      return true;
    });
    if (found) Activate(collection);
    return found;
  }

  // Waits until all indexes of the collection are built and cover what was visible at the call.
  // False when they never will: the collection is damaged, or the indexer has been stopped.
  bool WaitReady(Collection* collection) {
    const std::uint64_t timestamp = visible_timestamp_();
    Activate(collection);
    while (true) {
      {
        absl::MutexLock lock(&mutex_);
        if (stop_ || damaged_.contains(collection->id)) return false;
      }
      const IndexState state = collection->indexes.Copy();
      if (state.is_usable && state.complete_until >= timestamp && IsBuilt(state)) return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  // Whether the indexes have followed a shard's log up to `end`, behind which there is nothing of
  // commits up to `timestamp`: until then, what lies before it must stay.
  bool HasPassed(std::uint32_t shard, std::uint64_t end, std::uint64_t timestamp) {
    for (Collection* collection : Active()) {
      if (collection->indexes.is_closed() || IsDamaged(collection)) continue;
      const auto guard = context_->epochs->Enter();
      const IndexState& state = *collection->indexes.state();
      if (state.is_usable && state.complete_until >= timestamp) continue;
      if (shard >= state.shard_ends.size() || state.shard_ends[shard] < end) return false;
    }
    return true;
  }

  // The collection was dropped: its indexes go.
  void Close(Collection* collection) {
    collection->indexes.Close();
    collection->indexes.Change([](IndexState* state) {
      state->indexes.clear();
      state->segments.clear();
      state->is_usable = false;
      return true;
    });
  }

  // Ends its threads. Then nothing changes any more.
  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = wake_ = true;
    }
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  // Has all bytes that are in files looked at once more, in the background.
  void VerifyAgain() {
    for (Collection* collection : Active()) {
      const IndexState state = collection->indexes.Copy();
      for (const auto& segment : state.segments) {
        for (const auto& [id, column] : segment->columns) {
          if (column->resident_bytes() == 0) column->SetVerified(false);
        }
      }
    }
  }

  // --- Files.

  // Before the logs are flushed.
  Captured Capture() {
    Captured captured;
    for (Collection* collection : Active()) {
      IndexState state = collection->indexes.Copy();
      if (state.is_usable && !state.indexes.empty())
        captured.emplace_back(collection, std::move(state));
    }
    return captured;
  }

  // After everything that was in the logs at Capture() is durable.
  absl::Status Store(Captured captured) {
    absl::MutexLock lock(&store_mutex_);
    for (auto& [collection, state] : captured) {
      ALOS_RETURN_IF_ERROR(StoreCollection(const_cast<Collection*>(collection), std::move(state)));
    }
    return absl::OkStatus();
  }

  // How many bytes of the logs are behind what the indexes cover, of the collection where that is
  // most: finds look at these documents one by one. Writes wait while it is full.
  const QueueGauge& tail() const { return tail_; }

  // Bytes of columns that only the heap has.
  std::uint64_t unstored_bytes() const { return unstored_bytes_.load(std::memory_order_relaxed); }

  // Takes what Store has stored of a collection. Before the database is shared. What is missing or
  // does not fit is built again. Of indexes that clients created there are those of `definitions`,
  // whatever the file says; nullptr: those of the file.
  void Load(Collection* collection, const std::vector<IndexDefinition>* definitions) {
    const std::string name = StateFileName(*collection);
    const absl::StatusOr<std::string> bytes =
        ReadWholeFile(*context_->file_system, absl::StrCat(context_->directory, "/", name));
    const absl::Status loaded =
        bytes.ok() ? LoadState(collection, *bytes) : absl::Status(bytes.status());
    if (!loaded.ok() && !absl::IsNotFound(loaded)) {
      ALOS_LOG(kWarning) << context_->directory << "/" << name << ": " << loaded.message()
                         << "; the indexes are built again when they are wanted";
      // What does not fit now must not seem to when the logs have grown.
      context_->file_system->Remove(absl::StrCat(context_->directory, "/", name)).IgnoreError();
    }
    if (definitions != nullptr) {
      collection->indexes.Change([&](IndexState* state) {
        TakeDefinitions(*definitions, state);
        return true;
      });
    }
    if (!collection->indexes.Copy().indexes.empty()) Activate(collection);
  }

 private:
  // Rows of one step of following the logs; the first time, when builders share the segments.
  static constexpr std::uint64_t kStepRows = std::uint64_t{1} << 20;
  static constexpr std::uint64_t kFirstStepRows = std::uint64_t{1} << 22;
  // Merges of more rows are left to the builders.
  static constexpr std::uint64_t kSmallMergeRows = 1 << 16;
  static constexpr std::uint64_t kTailBytesMax = std::uint64_t{256} << 20;
  static constexpr std::uint32_t kTextRowsMin = 1 << 12;
  static constexpr std::size_t kMergeFanIn = 4;
  static constexpr std::uint32_t kMostlyDeadRowsMin = 1 << 12;

  // --- Threads.

  void Activate(Collection* collection) {
    if (!collection->indexes.is_active()) {
      absl::MutexLock lock(&mutex_);
      if (!collection->indexes.is_active()) {
        collection->indexes.Activate();
        active_.push_back(collection);
      }
    }
    absl::MutexLock lock(&mutex_);
    wake_ = true;
    if (stop_ || !threads_.empty()) return;
    const MemoryReserve::Critical critical;
    threads_.emplace_back([this] { Follow(); });
    for (int i = 0; i < options_.builders; ++i) threads_.emplace_back([this] { Build(); });
  }

  std::vector<Collection*> Active() {
    absl::MutexLock lock(&mutex_);
    return active_;
  }

  // Waits for something to do; false: stop.
  bool Await(absl::Duration at_most) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&wake_), at_most);
    wake_ = false;
    return !stop_;
  }

  bool is_stopped() {
    absl::MutexLock lock(&mutex_);
    return stop_;
  }

  // The thread that follows the logs: new documents are indexed within some milliseconds.
  void Follow() {
    const MemoryReserve::Critical critical(std::nothrow);  // nobody would hear of an exception
    absl::Duration pause = absl::Milliseconds(10);
    while (Await(pause)) {
      bool any = false;
      MeasureTail();
      for (Collection* collection : Active()) {
        if (collection->indexes.is_closed()) continue;
        while (!is_stopped() && Step(collection)) {
          any = true;
          MeasureTail();
        }
        while (!is_stopped() && MergeSome(collection, true)) any = true;
      }
      MeasureTail();
      // A database at rest is looked at less often.
      pause = any ? absl::Milliseconds(10) : std::min(pause * 2, absl::Milliseconds(160));
    }
  }

  // What is gone through for the first time does not count: that takes as long as it takes.
  void MeasureTail() {
    std::uint64_t longest = 0;
    const std::uint64_t visible = visible_timestamp_();
    for (Collection* collection : Active()) {
      if (collection->indexes.is_closed() || IsDamaged(collection)) continue;
      const auto guard = context_->epochs->Enter();
      const IndexState& state = *collection->indexes.state();
      if (!state.is_usable || state.complete_until == visible) continue;
      std::uint64_t bytes = 0;
      for (std::size_t i = 0; i < shards_->size() && i < state.shard_ends.size(); ++i) {
        const auto* log = (*shards_)[i]->log();
        if (log == nullptr) continue;
        const std::uint64_t end = log->end();
        const std::uint64_t covered = std::max(state.shard_ends[i], log->begin());
        if (end > covered) bytes += end - covered;
      }
      longest = std::max(longest, bytes);
    }
    tail_.Set(longest);
  }

  // A thread that builds columns and merges segments.
  void Build() {
    const MemoryReserve::Critical critical(std::nothrow);
    setpriority(PRIO_PROCESS, 0, kBuilderNice);  // of this thread, on Linux
    while (!is_stopped()) {
      bool any = false;
      for (Collection* collection : Active()) {
        if (collection->indexes.is_closed()) continue;
        // Queries wait for columns; merging only makes them a little faster.
        any =
            BuildSome(collection) || VerifySome(collection) || MergeSome(collection, false) || any;
      }
      if (!any) {
        EvictOverBudget();
        absl::MutexLock lock(&mutex_);
        mutex_.AwaitWithTimeout(absl::Condition(&stop_), absl::Milliseconds(10));
      }
    }
  }

  // Damage, or memory run out: the collection is not indexed any more.
  void GiveUp(Collection* collection, const absl::Status& why) {
    {
      absl::MutexLock lock(&mutex_);
      if (!damaged_.insert(collection->id).second) return;
    }
    ALOS_LOG(kError) << context_->directory << ": the indexes of '" << collection->name
                     << "' are not used any more; queries scan: " << why;
    collection->indexes.Change([](IndexState* state) {
      state->is_usable = false;
      state->segments.clear();
      return true;
    });
  }

  bool IsDamaged(const Collection* collection) {
    absl::MutexLock lock(&mutex_);
    return damaged_.contains(collection->id);
  }

  // --- Following the logs.

  // Cuts the next segment out of what was committed since the last one; false: nothing was left.
  bool Step(Collection* collection) {
    if (IsDamaged(collection)) return false;
    const std::uint64_t visible = visible_timestamp_();
    const IndexState state = collection->indexes.Copy();
    if (state.is_usable && state.complete_until == visible) return false;
    auto ends = std::make_shared<std::vector<std::uint64_t>>(state.shard_ends);
    ends->resize(shards_->size());
    std::vector<std::size_t> news;
    for (std::size_t i = 0; i < shards_->size(); ++i) {
      const auto* log = (*shards_)[i]->log();
      if (log != nullptr && log->end() > (*ends)[i]) news.push_back(i);
    }
    const std::uint64_t step = state.is_usable ? kStepRows : kFirstStepRows;
    const std::uint64_t quota = news.empty() ? 0 : std::max<std::uint64_t>(1, step / news.size());
    std::vector<RowLocation> locations;
    std::vector<std::pair<RowLocation, std::uint64_t>> superseded;  // and by which commit
    // Where the logs begin in which we missed something: what is before that is dead.
    std::vector<RowLocation> begins;
    std::uint64_t newest = 0;
    bool is_complete = true;
    for (const std::size_t i : news) {
      const auto guard = context_->epochs->Enter();
      const auto shard = static_cast<std::uint32_t>(i);
      std::uint64_t records = 0;
      const absl::StatusOr<std::uint64_t> end = (*shards_)[i]->ForEachRecord(
          (*ends)[i], visible, quota, [&](std::uint64_t offset, const RecordHeader& header) {
            ++records;
            if (header.collection != collection->id ||
                (header.kind != RecordKind::kPut && header.kind != RecordKind::kDelete)) {
              return;
            }
            newest = std::max(newest, header.commit_timestamp);
            if (header.previous_offset != 0)
              superseded.emplace_back(RowLocation(shard, header.previous_offset),
                                      header.commit_timestamp);
            if (header.kind == RecordKind::kPut) locations.emplace_back(shard, offset);
          });
      if (!end.ok()) {
        GiveUp(collection, end.status());
        return false;
      }
      is_complete = is_complete && records < quota;
      const std::uint64_t begin = (*shards_)[i]->log()->begin();
      if ((*ends)[i] < begin) begins.emplace_back(shard, begin);
      (*ends)[i] = *end;
    }

    std::shared_ptr<Segment> segment;
    if (!locations.empty()) {
      segment = std::make_shared<Segment>();
      segment->number = next_segment_.fetch_add(1, std::memory_order_relaxed);
      segment->rows = static_cast<std::uint32_t>(locations.size());
      segment->location_bytes = LocationBytes(locations);
      segment->shard_ends = ends;
      segment->newest_timestamp = newest;
      // The first time through the builders do it, all at once.
      if (state.is_usable && !state.indexes.empty()) {
        const absl::Status built = BuildColumns(state.indexes, segment.get());
        if (!built.ok()) {
          if (!absl::IsCancelled(built)) GiveUp(collection, built);
          return false;
        }
      }
    }
    collection->indexes.Change([&](IndexState* next) {
      next->shard_ends = *ends;
      if (is_complete) {
        next->complete_until = visible;
        next->is_usable = true;
      }
      if (segment != nullptr) {
        // An index dropped meanwhile.
        std::erase_if(segment->columns,
                      [&](const auto& column) { return next->FindIndex(column.first) == nullptr; });
        next->segments.push_back(segment);
      } else if (!next->segments.empty()) {
        // Its coverage grows, so that the segments' coverage has no gaps.
        auto last = std::make_shared<Segment>(*next->segments.back());
        last->shard_ends = ends;
        next->segments.back() = std::move(last);
      }
      MarkDead(superseded, next);
      for (const RowLocation begin : begins) MarkDeadBefore(begin, visible, next);
      return true;
    });
    return !is_complete;
  }

  // The rows of a shard whose log begins at `begin` now.
  static void MarkDeadBefore(RowLocation begin, std::uint64_t timestamp, IndexState* state) {
    for (auto& slot : state->segments) {
      const absl::Span<const RowLocation> all = slot->locations();
      const auto first = std::lower_bound(all.begin(), all.end(), RowLocation(begin.shard(), 0));
      const auto end = std::lower_bound(first, all.end(), begin);
      std::shared_ptr<DeadRows> dead;
      for (auto row = first; row != end; ++row) {
        const auto number = static_cast<std::uint32_t>(row - all.begin());
        if (slot->dead && slot->dead->Has(number)) continue;
        if (dead == nullptr) dead = CopyDead(*slot);
        SetDead(number, timestamp, dead.get());
      }
      if (dead == nullptr) continue;
      auto segment = std::make_shared<Segment>(*slot);
      segment->dead = std::move(dead);
      slot = std::move(segment);
    }
  }

  static std::shared_ptr<const IndexBytes> LocationBytes(
      const std::vector<RowLocation>& locations) {
    return std::make_shared<IndexBytes>(
        std::string(reinterpret_cast<const char*>(locations.data()), locations.size() * 8));
  }

  static void MarkDead(const std::vector<std::pair<RowLocation, std::uint64_t>>& superseded,
                       IndexState* state) {
    absl::flat_hash_map<std::size_t, std::shared_ptr<DeadRows>> changed;
    for (const auto& [location, timestamp] : superseded) {
      // Segments cover the logs in order: the first that reaches behind the record may have it.
      const auto found =
          std::partition_point(state->segments.begin(), state->segments.end(),
                               [where = location](const std::shared_ptr<const Segment>& segment) {
                                 return (*segment->shard_ends)[where.shard()] <= where.offset();
                               });
      if (found == state->segments.end()) continue;
      const std::optional<std::uint32_t> row = (*found)->FindRow(location);
      if (!row) continue;  // a deletion, or left out as dead when segments were merged
      std::shared_ptr<DeadRows>& dead = changed[found - state->segments.begin()];
      if (dead == nullptr) dead = CopyDead(**found);
      SetDead(*row, timestamp, dead.get());
    }
    for (auto& [index, dead] : changed) {
      auto segment = std::make_shared<Segment>(*state->segments[index]);
      segment->dead = std::move(dead);
      state->segments[index] = std::move(segment);
    }
  }

  static std::shared_ptr<DeadRows> CopyDead(const Segment& segment) {
    auto dead =
        segment.dead ? std::make_shared<DeadRows>(*segment.dead) : std::make_shared<DeadRows>();
    dead->bits.resize((segment.rows + 63) / 64);
    return dead;
  }

  static void SetDead(std::uint32_t row, std::uint64_t timestamp, DeadRows* dead) {
    std::uint64_t& word = dead->bits[row / 64];
    const std::uint64_t bit = std::uint64_t{1} << (row % 64);
    dead->count += (word & bit) == 0;
    word |= bit;
    dead->newest_timestamp = std::max(dead->newest_timestamp, timestamp);
  }

  // --- Building.

  static bool IsBuilt(const IndexState& state, const Index& index) {
    for (const auto& segment : state.segments) {
      if (NeedsColumn(*segment, index)) return false;
    }
    return true;
  }

  static bool IsBuilt(const IndexState& state) {
    for (const auto& index : state.indexes) {
      if (!IsBuilt(state, *index)) return false;
    }
    return true;
  }

  static bool NeedsColumn(const Segment& segment, const Index& index) {
    const SegmentColumn* column = segment.FindColumn(index.definition.id);
    return column == nullptr || NeedsText(*column, index);
  }
  static bool NeedsText(const SegmentColumn& column, const Index& index) {
    return index.wants_text.load(std::memory_order_relaxed) && column.text() == nullptr &&
           column.column().rows() >= kTextRowsMin;
  }

  // Builds the columns of `indexes` that `segment` lacks: one pass over its documents for all.
  absl::Status BuildColumns(const std::vector<std::shared_ptr<Index>>& indexes, Segment* segment) {
    std::vector<const Index*> missing;
    std::vector<KeyExtractor> extractors;
    std::vector<ColumnBuilder> builders;
    for (const auto& index : indexes) {
      if (segment->FindColumn(index->definition.id) != nullptr) continue;
      std::vector<Path> paths;
      for (const std::string& dotted : index->definition.paths) {
        ALOS_ASSIGN_OR_RETURN(Path path, Path::Parse(dotted));
        paths.push_back(std::move(path));
      }
      missing.push_back(index.get());
      extractors.emplace_back(std::move(paths));
      builders.emplace_back(segment->rows);
    }
    if (!missing.empty()) {
      constexpr std::uint32_t kRowsAtOnce = 4096;
      const absl::Span<const RowLocation> locations = segment->locations();
      for (std::uint32_t row = 0; row < segment->rows;) {
        if (is_stopped()) return absl::CancelledError("stopped");
        const auto guard = context_->epochs->Enter();
        const auto extract = [&](ValueView document) {
          for (std::size_t i = 0; i < builders.size(); ++i)
            extractors[i].Extract(document, &builders[i]);
        };
        for (const std::uint32_t end = std::min(segment->rows, row + kRowsAtOnce); row < end;
             ++row) {
          ShardType& shard = *(*shards_)[locations[row].shard()];
          if (locations[row].offset() < shard.log()->begin()) {
            // Compacted away: whoever may read this segment knows that the row is dead.
            extract(ValueView::FromTrusted(std::string_view("\x80", 1)));
          } else {
            ALOS_RETURN_IF_ERROR(shard.VisitRecord(locations[row].offset(), extract, false));
          }
        }
      }
      for (std::size_t i = 0; i < builders.size(); ++i) {
        ALOS_ASSIGN_OR_RETURN(
            auto column, OpenColumn(std::make_shared<IndexBytes>(std::move(builders[i]).Finish())));
        InsertColumn(missing[i]->definition.id, std::move(column), segment);
      }
    }
    for (const auto& index : indexes) {
      const SegmentColumn* column = segment->FindColumn(index->definition.id);
      if (column == nullptr || !NeedsText(*column, *index)) continue;
      ALOS_ASSIGN_OR_RETURN(auto with_text, AddText(*column));
      InsertColumn(index->definition.id, std::move(with_text), segment);
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<std::shared_ptr<const SegmentColumn>> OpenColumn(
      std::shared_ptr<const IndexBytes> bytes) {
    ALOS_ASSIGN_OR_RETURN(const Column column, Column::Open(bytes->view()));
    return std::make_shared<const SegmentColumn>(std::move(bytes), column);
  }

  static absl::StatusOr<std::shared_ptr<const SegmentColumn>> AddText(const SegmentColumn& column) {
    const Code first = column.column().LowerBound(FirstKeyOfClass(KeyClass::kString));
    const Code end = column.column().LowerBound(EndKeyOfClass(KeyClass::kString));
    auto bytes = std::make_shared<IndexBytes>(TrigramIndex::Build(column.column(), first, end));
    ALOS_ASSIGN_OR_RETURN(const TrigramIndex text, TrigramIndex::Open(bytes->view()));
    return std::make_shared<const SegmentColumn>(column, std::move(bytes), text);
  }

  static void InsertColumn(std::uint32_t id, std::shared_ptr<const SegmentColumn> column,
                           Segment* segment) {
    for (auto& [known, slot] : segment->columns) {
      if (known == id) {
        slot = std::move(column);
        return;
      }
    }
    segment->columns.emplace_back(id, std::move(column));
    std::sort(segment->columns.begin(), segment->columns.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  }

  static void RemoveColumns(std::uint32_t id, IndexState* state) {
    for (auto& slot : state->segments) {
      if (slot->FindColumn(id) == nullptr) continue;
      auto segment = std::make_shared<Segment>(*slot);
      std::erase_if(segment->columns, [id](const auto& column) { return column.first == id; });
      slot = std::move(segment);
    }
  }
  static void RemoveIndex(std::uint32_t id, IndexState* state) {
    RemoveColumns(id, state);
    std::erase_if(state->indexes, [id](const auto& index) { return index->definition.id == id; });
  }

  // Of indexes that clients created `state` has those of `definitions` afterwards.
  static void TakeDefinitions(const std::vector<IndexDefinition>& definitions, IndexState* state) {
    std::vector<std::uint32_t> others;
    for (const auto& index : state->indexes) {
      const bool is_kept = std::any_of(definitions.begin(), definitions.end(),
                                       [&](const IndexDefinition& definition) {
                                         return definition.id == index->definition.id &&
                                                definition.name() == index->definition.name();
                                       });
      const bool is_in_the_way = std::any_of(definitions.begin(), definitions.end(),
                                             [&](const IndexDefinition& definition) {
                                               return definition.id == index->definition.id ||
                                                      definition.name() == index->definition.name();
                                             });
      if (!is_kept && (is_in_the_way || !index->definition.is_automatic))
        others.push_back(index->definition.id);
    }
    for (const std::uint32_t id : others) RemoveIndex(id, state);
    for (IndexDefinition definition : definitions) Define(&definition, state);
  }

  // Gives *definition the id of the index with its name, or its own, or else a new one.
  static void Define(IndexDefinition* definition, IndexState* state) {
    for (auto& index : state->indexes) {
      if (index->definition.name() != definition->name()) continue;
      definition->id = index->definition.id;
      auto defined = std::make_shared<Index>(*definition);
      defined->wants_text = index->wants_text.load();
      defined->uses = index->uses.load();
      defined->last_use_seconds = index->last_use_seconds.load();
      index = std::move(defined);
      return;
    }
    if (definition->id == 0) definition->id = state->next_index_id;
    state->next_index_id = std::max(state->next_index_id, definition->id + 1);
    state->indexes.push_back(std::make_shared<Index>(*definition));
  }

  // A segment that a thread works on; nobody else takes it meanwhile.
  bool Claim(std::uint64_t number) {
    absl::MutexLock lock(&mutex_);
    return claimed_.insert(number).second;
  }
  void Unclaim(std::uint64_t number) {
    absl::MutexLock lock(&mutex_);
    claimed_.erase(number);
  }

  // The segments that lack something: those that lack the oldest index first, so that an index is
  // ready although newer ones keep being wanted.
  static std::vector<std::shared_ptr<const Segment>> InOrderOfNeed(const IndexState& state) {
    std::vector<std::shared_ptr<const Segment>> segments;
    for (const auto& index : state.indexes) {
      for (const auto& segment : state.segments) {
        if (NeedsColumn(*segment, *index) &&
            std::find(segments.begin(), segments.end(), segment) == segments.end()) {
          segments.push_back(segment);
        }
      }
    }
    return segments;
  }

  // Builds what one segment lacks; false: none lacks anything that nobody works on.
  bool BuildSome(Collection* collection) {
    const IndexState state = collection->indexes.Copy();
    for (const auto& segment : InOrderOfNeed(state)) {
      if (!Claim(segment->number)) continue;
      // It may have changed before the claim.
      const IndexState now = collection->indexes.Copy();
      const auto current =
          std::find_if(now.segments.begin(), now.segments.end(),
                       [&](const auto& candidate) { return candidate->number == segment->number; });
      bool built_any = false;
      if (current != now.segments.end()) {
        Segment built = **current;
        const absl::Time started = absl::Now();
        const absl::Status status = BuildColumns(now.indexes, &built);
        if (status.ok()) {
          built_any = PublishColumns(collection, built);
          if (built.rows > kSmallMergeRows) {
            ALOS_LOG(kInfo) << context_->directory << ": '" << collection->name << "': columns of "
                            << built.rows << " documents built in "
                            << absl::FormatDuration(
                                   absl::Trunc(absl::Now() - started, absl::Milliseconds(10)));
          }
        } else if (!absl::IsCancelled(status)) {
          GiveUp(collection, status);
        }
      }
      Unclaim(segment->number);
      return built_any;
    }
    return false;
  }

  // Gives the published segment of the same number what it lacks of `built`. What it has stays: a
  // column that was on the heap when `built` was begun may be in a file by now.
  static bool PublishColumns(Collection* collection, const Segment& built) {
    return collection->indexes.Change([&](IndexState* state) {
      for (auto& slot : state->segments) {
        if (slot->number != built.number) continue;
        auto segment = std::make_shared<Segment>(*slot);
        for (const auto& [id, column] : built.columns) {
          if (state->FindIndex(id) == nullptr) continue;
          const SegmentColumn* present = segment->FindColumn(id);
          if (present == nullptr) {
            InsertColumn(id, column, segment.get());
          } else if (present->text() == nullptr && column->text() != nullptr) {
            InsertColumn(id,
                         std::make_shared<const SegmentColumn>(*present, column->text_bytes(),
                                                               *column->text()),
                         segment.get());
          }
        }
        slot = std::move(segment);
        return true;
      }
      return false;
    });
  }

  // Looks at all bytes of one column that came from a file; one that has rotted is built again.
  bool VerifySome(Collection* collection) {
    const IndexState state = collection->indexes.Copy();
    for (const auto& segment : state.segments) {
      for (const auto& [id, column] : segment->columns) {
        if (column->is_verified() || !Claim(segment->number)) continue;
        const absl::Status verified = column->Verify();
        if (!verified.ok()) {
          ALOS_LOG(kError) << context_->directory << ": a column of '" << collection->name
                           << "' has rotted and is built again: " << verified;
          collection->indexes.Change([&, number = segment->number, index = id](IndexState* next) {
            for (auto& slot : next->segments) {
              if (slot->number != number) continue;
              auto without = std::make_shared<Segment>(*slot);
              std::erase_if(without->columns,
                            [&](const auto& each) { return each.first == index; });
              slot = std::move(without);
            }
            return true;
          });
        }
        Unclaim(segment->number);
        return true;
      }
    }
    return false;
  }

  // --- Merging.

  // Segments of a tier have up to four times the rows of those of the tier below.
  static int Tier(std::uint32_t rows) {
    int tier = 0;
    for (std::uint64_t bound = 1024; rows > bound; bound *= 4) ++tier;
    return tier;
  }

  // Merges neighbours once there are enough of a tier; false: there are none.
  bool MergeSome(Collection* collection, bool small) {
    const IndexState state = collection->indexes.Copy();
    if (!state.is_usable || (!small && !IsBuilt(state))) return false;
    const auto& segments = state.segments;
    for (std::size_t begin = 0; begin + 1 < segments.size(); ++begin) {
      // The longest run from here whose segments are of no higher tier than the first.
      const int tier = Tier(segments[begin]->rows);
      std::size_t end = begin;
      std::uint64_t rows = 0;
      while (end < segments.size() && Tier(segments[end]->rows) <= tier &&
             rows + segments[end]->rows <= Segment::kRowsMax) {
        rows += segments[end++]->rows;
      }
      if (MostlyDead(*segments[begin])) end = begin + 1;  // written anew by itself
      rows = end == begin + 1 ? segments[begin]->rows : rows;
      // Not for the sake of a few rows: the first would be written over and over.
      const std::uint64_t first_rows = segments[begin]->rows;
      if (!MostlyDead(*segments[begin]) &&
          (end - begin < kMergeFanIn || (rows - first_rows) * (kMergeFanIn - 1) < first_rows)) {
        continue;
      }
      if (small != (rows <= kSmallMergeRows)) continue;
      std::size_t claimed = begin;
      while (claimed < end && Claim(segments[claimed]->number)) ++claimed;
      bool merged = false;
      if (claimed == end) merged = Merge(collection, state, begin, end);
      while (claimed > begin) Unclaim(segments[--claimed]->number);
      if (merged) return true;
    }
    return false;
  }

  // A segment whose dead rows are worth being left out, even if nothing is merged with it.
  static bool MostlyDead(const Segment& segment) {
    return segment.dead != nullptr &&
           (segment.dead->count == segment.rows ||
            (segment.rows > kMostlyDeadRowsMin && segment.live_rows() < segment.rows / 2));
  }

  bool Merge(Collection* collection, const IndexState& seen, std::size_t begin, std::size_t end) {
    // As they are now that nobody else changes their columns.
    const IndexState state = collection->indexes.Copy();
    std::vector<std::shared_ptr<const Segment>> inputs;
    for (std::size_t i = begin; i < end; ++i) {
      for (const auto& candidate : state.segments) {
        if (candidate->number == seen.segments[i]->number) inputs.push_back(candidate);
      }
    }
    if (inputs.size() != end - begin) return false;

    auto merged = std::make_shared<Segment>();
    merged->number = next_segment_.fetch_add(1, std::memory_order_relaxed);
    merged->shard_ends = inputs.back()->shard_ends;
    std::vector<std::vector<std::uint32_t>> row_maps;
    for (const auto& input : inputs) {
      row_maps.emplace_back(input->rows, kDroppedRow);
      merged->newest_timestamp = std::max(merged->newest_timestamp, input->newest_timestamp);
      merged->purged_until = std::max(merged->purged_until, input->purged_until);
      if (input->dead)
        merged->purged_until = std::max(merged->purged_until, input->dead->newest_timestamp);
    }
    // Rows in the order of the logs: shard by shard, and there input by input.
    std::vector<RowLocation> locations;
    std::vector<std::uint32_t> next(inputs.size(), 0);
    for (std::uint32_t shard = 0; shard < shards_->size(); ++shard) {
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const absl::Span<const RowLocation> from = inputs[i]->locations();
        for (; next[i] < from.size() && from[next[i]].shard() == shard; ++next[i]) {
          if (inputs[i]->dead && inputs[i]->dead->Has(next[i])) continue;
          row_maps[i][next[i]] = static_cast<std::uint32_t>(locations.size());
          locations.push_back(from[next[i]]);
        }
      }
    }
    merged->rows = static_cast<std::uint32_t>(locations.size());
    merged->location_bytes = LocationBytes(locations);

    std::vector<absl::Span<const std::uint32_t>> maps(row_maps.begin(), row_maps.end());
    for (const auto& index : state.indexes) {
      if (merged->rows == 0) break;
      std::vector<const Column*> columns;
      for (const auto& input : inputs) {
        const SegmentColumn* column = input->FindColumn(index->definition.id);
        if (column != nullptr) columns.push_back(&column->column());
      }
      if (columns.size() != inputs.size()) continue;  // built later
      absl::StatusOr<std::shared_ptr<const SegmentColumn>> column =
          OpenColumn(std::make_shared<IndexBytes>(MergeColumns(columns, maps, merged->rows)));
      if (column.ok() && NeedsText(**column, *index)) column = AddText(**column);
      if (!column.ok()) {
        GiveUp(collection, column.status());
        return false;
      }
      InsertColumn(index->definition.id, *std::move(column), merged.get());
      // A new index comes first: it needs the segments.
      if (is_stopped() || (merged->rows > kSmallMergeRows && !IsBuilt(collection->indexes.Copy())))
        return false;
    }
    return collection->indexes.Change([&](IndexState* next_state) {
      const auto first = std::find_if(
          next_state->segments.begin(), next_state->segments.end(),
          [&](const auto& candidate) { return candidate->number == inputs[0]->number; });
      if (static_cast<std::size_t>(next_state->segments.end() - first) < inputs.size())
        return false;
      // What died meanwhile.
      std::shared_ptr<DeadRows> dead;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const Segment& current = *first[i];
        if (current.number != inputs[i]->number) return false;
        if (i + 1 == inputs.size()) merged->shard_ends = current.shard_ends;
        if (current.dead == nullptr) continue;
        for (std::uint32_t row = 0; row < current.rows; ++row) {
          if (!current.dead->Has(row) || row_maps[i][row] == kDroppedRow) continue;
          if (dead == nullptr) dead = CopyDead(*merged);
          SetDead(row_maps[i][row], current.dead->newest_timestamp, dead.get());
        }
      }
      merged->dead = std::move(dead);
      std::erase_if(merged->columns, [&](const auto& column) {
        return next_state->FindIndex(column.first) == nullptr;
      });
      if (merged->rows == 0) {
        next_state->purged_until = std::max(next_state->purged_until, merged->purged_until);
        next_state->segments.erase(first, first + inputs.size());
        return true;
      }
      *first = merged;
      next_state->segments.erase(first + 1, first + inputs.size());
      return true;
    });
  }

  // --- The budget.

  // Also counts what is not stored yet.
  void EvictOverBudget() {
    struct Candidate {
      Collection* collection;
      std::string name;
      std::uint64_t bytes;
      std::uint64_t uses;
      std::int64_t last_use;
      bool is_automatic;
    };
    std::vector<Candidate> all;
    std::uint64_t total = 0;
    std::uint64_t unstored = 0;
    for (Collection* collection : Active()) {
      const IndexState state = collection->indexes.Copy();
      for (const auto& index : state.indexes) {
        const std::uint64_t bytes = state.SizeBytes(index->definition.id);
        total += bytes;
        all.push_back({collection, index->definition.name(), bytes, index->uses.load(),
                       index->last_use_seconds.load(), index->definition.is_automatic});
      }
      for (const auto& segment : state.segments) {
        for (const auto& [id, column] : segment->columns) unstored += column->resident_bytes();
      }
    }
    unstored_bytes_.store(unstored, std::memory_order_relaxed);
    if (options_.bytes_max == 0 || total <= options_.bytes_max) return;
    // The one that gives most back for the uses lost; of equals, the one unused for longest.
    std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
      const double value_a = static_cast<double>(a.uses + 1) / static_cast<double>(a.bytes + 1);
      const double value_b = static_cast<double>(b.uses + 1) / static_cast<double>(b.bytes + 1);
      return value_a != value_b ? value_a < value_b : a.last_use < b.last_use;
    });
    for (const Candidate& candidate : all) {
      if (total <= options_.bytes_max) break;
      if (!candidate.is_automatic || !Drop(candidate.collection, candidate.name, true)) continue;
      total -= candidate.bytes;
      candidate.collection->indexes.NoteEvicted(candidate.name, absl::Now());
      ALOS_LOG(kWarning) << context_->directory << ": index " << candidate.name << " on '"
                         << candidate.collection->name << "' (" << candidate.bytes << " bytes, "
                         << candidate.uses
                         << " uses) was dropped: the indexes exceed --index-memory-mb";
    }
  }

  // --- Files.

  static std::string Prefix(const Collection& collection) {
    return absl::StrCat("c", collection.id);
  }
  static std::string StateFileName(const Collection& collection) {
    return absl::StrCat(Prefix(collection), ".indexes");
  }
  static std::string SegmentFileName(const Collection& collection, std::uint64_t number,
                                     std::string_view extension) {
    return absl::StrCat(Prefix(collection), "_s", number, ".", extension);
  }
  static std::string ColumnExtension(const IndexDefinition& index) {
    return absl::StrCat(index.paths.size() > 1 ? "sgidx." : "svidx.", index.id);
  }
  static std::string TextExtension(const IndexDefinition& index) {
    return absl::StrCat("stidx.", index.id);
  }

  // Writes the file if `bytes` are only on the heap, and returns them as mapped from it. Queries
  // may be reading an older file of that name, so it is replaced as a whole.
  absl::StatusOr<std::shared_ptr<const IndexBytes>> StoreBytes(
      const std::string& name, const std::shared_ptr<const IndexBytes>& bytes, bool* wrote) {
    if (!bytes->is_resident()) return bytes;
    // The directory is flushed when the list of the files is replaced.
    ALOS_RETURN_IF_ERROR(ReplaceFileUnflushed(
        *context_->file_system, absl::StrCat(context_->directory, "/", name), bytes->view()));
    *wrote = true;
    return MapBytes(name, bytes->view().size());
  }

  absl::StatusOr<std::shared_ptr<const IndexBytes>> MapBytes(const std::string& name,
                                                             std::uint64_t size) {
    const std::string path = absl::StrCat(context_->directory, "/", name);
    ALOS_ASSIGN_OR_RETURN(auto file, context_->file_system->Open(path, OpenMode::kReadOnly));
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t actual, file->Size());
    if (actual != size || size == 0) {
      return absl::DataLossError(
          absl::StrCat(path, ": ", actual, " bytes where there should be ", size));
    }
    ALOS_ASSIGN_OR_RETURN(auto mapping, file->Map(size));
    const std::string_view view(mapping->data(), size);
    return std::make_shared<const IndexBytes>(view,
                                              std::shared_ptr<const void>(std::move(mapping)));
  }

  absl::Status StoreCollection(Collection* collection, IndexState state) {
    if (collection->indexes.is_closed()) return RemoveFiles(*collection, {});
    // The last segments while they are small.
    std::uint32_t small = 0;
    bool is_whole = true;
    while (!state.segments.empty() &&
           small + state.segments.back()->rows <= options_.unstored_rows_max) {
      small += state.segments.back()->rows;
      state.segments.pop_back();
      is_whole = false;
    }
    absl::flat_hash_set<std::string> names = {StateFileName(*collection)};
    bool wrote = false;
    absl::flat_hash_map<const SegmentColumn*, std::shared_ptr<const SegmentColumn>> moved;
    for (auto& slot : state.segments) {
      auto stored = std::make_shared<Segment>(*slot);
      const auto keep = [&](std::string_view extension,
                            const std::shared_ptr<const IndexBytes>& bytes) {
        const std::string name = SegmentFileName(*collection, slot->number, extension);
        names.insert(name);
        return StoreBytes(name, bytes, &wrote);
      };
      ALOS_ASSIGN_OR_RETURN(stored->location_bytes, keep("srows", slot->location_bytes));
      for (auto& [id, column] : stored->columns) {
        const Index* index = state.FindIndex(id);
        if (index == nullptr) continue;
        ALOS_ASSIGN_OR_RETURN(auto bytes,
                              keep(ColumnExtension(index->definition), column->shared_bytes()));
        std::shared_ptr<const IndexBytes> text_bytes;
        if (column->text() != nullptr) {
          ALOS_ASSIGN_OR_RETURN(text_bytes,
                                keep(TextExtension(index->definition), column->text_bytes()));
        }
        if (column->resident_bytes() == 0) continue;
        ALOS_ASSIGN_OR_RETURN(auto mapped, OpenColumn(std::move(bytes)));
        mapped->SetVerified(column->is_verified());
        if (text_bytes != nullptr) {
          ALOS_ASSIGN_OR_RETURN(const TrigramIndex text, TrigramIndex::Open(text_bytes->view()));
          mapped = std::make_shared<const SegmentColumn>(*mapped, std::move(text_bytes), text);
        }
        moved[column.get()] = mapped;
        column = std::move(mapped);
      }
      slot = std::move(stored);
    }
    // What is on disk now need not stay on the heap.
    if (wrote) {
      collection->indexes.Change([&](IndexState* next) {
        for (auto& current : next->segments) {
          for (const auto& stored : state.segments) {
            if (stored->number != current->number) continue;
            auto segment = std::make_shared<Segment>(*current);
            segment->location_bytes = stored->location_bytes;
            for (auto& [id, column] : segment->columns) {
              // Unless it has got trigrams, or was built again, meanwhile.
              const auto mapped = moved.find(column.get());
              if (mapped != moved.end()) column = mapped->second;
            }
            current = std::move(segment);
          }
        }
        return true;
      });
    }
    ALOS_RETURN_IF_ERROR(ReplaceFile(*context_->file_system, context_->directory,
                                     StateFileName(*collection), EncodeState(state, is_whole)));
    return RemoveFiles(*collection, names);
  }

  // Files of the collection's indexes other than `names`.
  absl::Status RemoveFiles(const Collection& collection,
                           const absl::flat_hash_set<std::string>& names) {
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> present,
                          context_->file_system->ListDirectory(context_->directory));
    const std::string of_state = StateFileName(collection);
    const std::string of_segments = absl::StrCat(Prefix(collection), "_s");
    for (const std::string& name : present) {
      if (names.contains(name) || (name != of_state && !name.starts_with(of_segments))) continue;
      ALOS_RETURN_IF_ERROR(
          context_->file_system->Remove(absl::StrCat(context_->directory, "/", name)));
    }
    return absl::OkStatus();
  }

  std::string EncodeState(const IndexState& state, bool is_whole) {
    std::string document;
    Builder builder(&document);
    const auto words = [&](std::string_view key, const std::vector<std::uint64_t>& values) {
      builder.Key(key).Binary(
          {reinterpret_cast<const char*>(values.data()), values.size() * sizeof values[0]});
    };
    builder.StartDocument();
    builder.Key("version").Uint(kStateVersion);
    std::vector<std::uint64_t> generations;
    for (const auto& shard : *shards_) {
      const auto* log = shard->log();
      generations.push_back(log == nullptr ? 0 : log->generation());
    }
    words("generations", generations);
    builder.Key("complete_until").Uint(is_whole ? state.complete_until : 0);
    builder.Key("next_index_id").Uint(state.next_index_id);
    builder.Key("indexes").StartArray();
    for (const auto& index : state.indexes) {
      builder.StartDocument();
      builder.Key("definition");
      AppendIndexDefinition(index->definition, &builder);
      builder.Key("wants_text").Bool(index->wants_text.load());
      builder.Key("uses").Uint(index->uses.load());
      builder.Key("last_use").Int(index->last_use_seconds.load());
      builder.EndDocument();
    }
    builder.EndArray();
    builder.Key("segments").StartArray();
    for (const auto& segment : state.segments) {
      builder.StartDocument();
      builder.Key("number").Uint(segment->number);
      builder.Key("rows").Uint(segment->rows);
      builder.Key("locations_checksum").Uint(Crc32c(segment->location_bytes->view()));
      words("shard_ends", *segment->shard_ends);
      builder.Key("newest_timestamp").Uint(segment->newest_timestamp);
      builder.Key("purged_until").Uint(segment->purged_until);
      if (segment->dead) {
        words("dead", segment->dead->bits);
        builder.Key("dead_timestamp").Uint(segment->dead->newest_timestamp);
      }
      builder.Key("columns").StartArray();
      for (const auto& [id, column] : segment->columns) {
        if (state.FindIndex(id) == nullptr) continue;
        builder.StartDocument();
        builder.Key("id").Uint(id);
        builder.Key("size").Uint(column->bytes().view().size());
        builder.Key("text_size").Uint(column->text() ? column->text_bytes()->view().size() : 0);
        builder.EndDocument();
      }
      builder.EndArray();
      builder.EndDocument();
    }
    builder.EndArray();
    builder.EndDocument();
    std::string out(kStateMagic);
    const std::uint32_t checksum = Crc32c(document);
    out.append(reinterpret_cast<const char*>(&checksum), 4);
    out.append(4, '\0');
    return out + document;
  }

  absl::Status LoadState(Collection* collection, std::string_view bytes) {
    std::uint32_t checksum = 0;
    if (bytes.size() < 16 || bytes.substr(0, 8) != kStateMagic)
      return absl::DataLossError("this is no list of indexes");
    std::memcpy(&checksum, bytes.data() + 8, 4);
    const absl::StatusOr<ValueView> view = ValueView::Parse(bytes.substr(16));
    if (!view.ok() || Crc32c(bytes.substr(16)) != checksum)
      return absl::DataLossError("the list of indexes is damaged");
    bool good = true;
    const auto number = [&](ValueView of, std::string_view key) -> std::uint64_t {
      const std::optional<ValueView> found = of.Find(key);
      if (found && found->IsUnsigned()) return found->AsUint64();
      good = false;
      return 0;
    };
    const auto words = [&](ValueView of, std::string_view key) {
      std::vector<std::uint64_t> values;
      const std::optional<ValueView> found = of.Find(key);
      if (!found || found->type() != ValueType::kBinary) return values;
      values.resize(found->AsBinary().size() / 8);
      std::memcpy(values.data(), found->AsBinary().data(), values.size() * 8);
      return values;
    };
    if (number(*view, "version") != kStateVersion)
      return absl::DataLossError("the list of indexes is of another version");

    IndexState state;
    state.next_index_id = static_cast<std::uint32_t>(number(*view, "next_index_id"));
    const std::optional<ValueView> indexes = view->Find("indexes");
    const std::optional<ValueView> segments = view->Find("segments");
    if (!indexes || !segments) return absl::DataLossError("the list of indexes is damaged");
    for (const ValueView entry : indexes->elements()) {
      const std::optional<ValueView> value = entry.Find("definition");
      std::optional<IndexDefinition> definition;
      if (value) definition = ParseIndexDefinition(*value);
      if (!definition) return absl::DataLossError("the list of indexes is damaged");
      auto index = std::make_shared<Index>(*std::move(definition));
      const std::optional<ValueView> wants_text = entry.Find("wants_text");
      index->wants_text = wants_text && wants_text->IsBool() && wants_text->AsBool();
      index->uses = number(entry, "uses");
      const std::optional<ValueView> last_use = entry.Find("last_use");
      index->last_use_seconds = last_use ? last_use->ToInt64().value_or(0) : 0;
      state.indexes.push_back(std::move(index));
    }
    // Segments as far as their files are whole and their logs are the ones they were made from.
    const std::vector<std::uint64_t> generations = words(*view, "generations");
    bool is_whole = generations.size() == shards_->size();
    std::uint64_t segment_max = 0;
    absl::Status first_error;
    for (const ValueView entry : segments->elements()) {
      segment_max = std::max(segment_max, number(entry, "number"));
      if (!is_whole) continue;
      absl::StatusOr<std::shared_ptr<Segment>> segment =
          LoadSegment(*collection, state, entry, generations, number, words);
      if (!segment.ok() || !good) {
        first_error.Update(segment.status());
        is_whole = false;
        continue;
      }
      state.shard_ends = *(*segment)->shard_ends;
      state.segments.push_back(*std::move(segment));
    }
    if (is_whole) {
      state.complete_until = number(*view, "complete_until");
      state.is_usable = !state.segments.empty();
    }
    for (std::uint32_t i = 0; i < shards_->size(); ++i) {
      const auto* log = (*shards_)[i]->log();
      if (log == nullptr) continue;
      // As of the start: nothing older is read.
      MarkDeadBefore(RowLocation(i, log->begin()), visible_timestamp_(), &state);
      if (i < state.shard_ends.size() && state.shard_ends[i] < log->begin())
        state.complete_until = 0;  // there may be more behind what was compacted
    }
    std::uint64_t next = next_segment_.load();
    next_segment_.store(std::max(next, segment_max + 1));
    if (!good) return absl::DataLossError("the list of indexes is damaged");
    collection->indexes.Change([&](IndexState* current) {
      *current = std::move(state);
      return true;
    });
    return first_error;
  }

  template <class Number, class Words>
  absl::StatusOr<std::shared_ptr<Segment>> LoadSegment(
      const Collection& collection, const IndexState& state, ValueView entry,
      const std::vector<std::uint64_t>& generations, Number&& number, Words&& words) {
    auto segment = std::make_shared<Segment>();
    segment->number = number(entry, "number");
    segment->rows = static_cast<std::uint32_t>(number(entry, "rows"));
    segment->newest_timestamp = number(entry, "newest_timestamp");
    segment->purged_until = number(entry, "purged_until");
    auto ends = std::make_shared<std::vector<std::uint64_t>>(words(entry, "shard_ends"));
    if (ends->size() != shards_->size() || segment->rows == 0)
      return absl::DataLossError("a segment without its extent");
    for (std::size_t i = 0; i < ends->size(); ++i) {
      if ((*ends)[i] == 0) continue;
      const auto* log = (*shards_)[i]->log();
      if (log == nullptr || log->generation() != generations[i] || log->end() < (*ends)[i])
        return absl::DataLossError("the logs are not the ones that were indexed");
    }
    segment->shard_ends = std::move(ends);
    const auto name = [&](std::string_view extension) {
      return SegmentFileName(collection, segment->number, extension);
    };
    ALOS_ASSIGN_OR_RETURN(segment->location_bytes,
                          MapBytes(name("srows"), std::uint64_t{segment->rows} * 8));
    if (Crc32c(segment->location_bytes->view()) != number(entry, "locations_checksum"))
      return absl::DataLossError(absl::StrCat(name("srows"), ": wrong checksum"));
    if (std::vector<std::uint64_t> bits = words(entry, "dead"); !bits.empty()) {
      auto dead = std::make_shared<DeadRows>();
      if (bits.size() != (segment->rows + 63) / 64)
        return absl::DataLossError("dead rows of another segment");
      for (const std::uint64_t word : bits)
        dead->count += static_cast<std::uint32_t>(std::popcount(word));
      dead->bits = std::move(bits);
      dead->newest_timestamp = number(entry, "dead_timestamp");
      segment->dead = std::move(dead);
    }
    const std::optional<ValueView> columns = entry.Find("columns");
    if (!columns) return absl::DataLossError("a segment without columns");
    for (const ValueView each : columns->elements()) {
      const auto id = static_cast<std::uint32_t>(number(each, "id"));
      const Index* index = state.FindIndex(id);
      if (index == nullptr) continue;
      // A column that cannot be used is built again; the segment is good without it.
      const absl::StatusOr<std::shared_ptr<const SegmentColumn>> column =
          LoadColumn(name(ColumnExtension(index->definition)), number(each, "size"),
                     name(TextExtension(index->definition)), number(each, "text_size"));
      if (column.ok() && (*column)->column().rows() == segment->rows) {
        InsertColumn(id, *column, segment.get());
      } else {
        ALOS_LOG(kWarning) << context_->directory << "/" << name(ColumnExtension(index->definition))
                           << ": cannot be used and is built again: " << column.status();
      }
    }
    return segment;
  }

  absl::StatusOr<std::shared_ptr<const SegmentColumn>> LoadColumn(const std::string& name,
                                                                  std::uint64_t size,
                                                                  const std::string& text_name,
                                                                  std::uint64_t text_size) {
    ALOS_ASSIGN_OR_RETURN(auto bytes, MapBytes(name, size));
    ALOS_ASSIGN_OR_RETURN(auto column, OpenColumn(std::move(bytes)));
    // All of it before it is used, while that costs a start next to nothing.
    const bool at_once = verified_at_load_bytes_ + size + text_size <= kVerifiedAtLoadBytesMax;
    if (at_once) verified_at_load_bytes_ += size + text_size;
    column->SetVerified(false);
    if (at_once) ALOS_RETURN_IF_ERROR(column->Verify());
    if (text_size == 0) return column;
    auto text_bytes = MapBytes(text_name, text_size);
    if (!text_bytes.ok()) return column;
    const absl::StatusOr<TrigramIndex> text = TrigramIndex::Open((*text_bytes)->view());
    if (!text.ok() || (at_once && !text->VerifyBody().ok())) return column;
    auto with_text = std::make_shared<const SegmentColumn>(*column, *std::move(text_bytes), *text);
    with_text->SetVerified(at_once);
    return with_text;
  }

  static constexpr std::string_view kStateMagic = "ALOSIDX1";
  static constexpr std::uint64_t kStateVersion = 2;
  static constexpr int kBuilderNice = 4;
  // Of the columns that a start finds in files so much is verified before it is used; the rest is
  // by a thread in the background (VerifySome).
  static constexpr std::uint64_t kVerifiedAtLoadBytesMax = std::uint64_t{64} << 20;

  const ShardContext<Policies>* const context_;
  const Shards* const shards_;
  const IndexerOptions options_;
  const std::function<std::uint64_t()> visible_timestamp_;
  std::atomic<std::uint64_t> next_segment_{1};
  std::atomic<std::uint64_t> unstored_bytes_{0};
  QueueGauge tail_{"index_tail", kTailBytesMax,
                   "the indexes are behind the writes, which wait when it is full; fewer indexes, "
                   "more cores or --max-write-rate would help"};
  std::uint64_t verified_at_load_bytes_ = 0;  // Load's

  absl::Mutex store_mutex_;  // one Store at a time

  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool wake_ ABSL_GUARDED_BY(mutex_) = false;  // the follower has something to do
  std::vector<Collection*> active_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<std::uint32_t> damaged_ ABSL_GUARDED_BY(mutex_);  // collection ids
  absl::flat_hash_set<std::uint64_t> claimed_ ABSL_GUARDED_BY(mutex_);  // segment numbers
  std::vector<std::thread> threads_;  // started once, under mutex_
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_INDEXER_H_
