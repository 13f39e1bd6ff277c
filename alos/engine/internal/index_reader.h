// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Reads of one collection at one snapshot through its secondary indexes.
//
// The segments of an IndexState hold all that was committed up to some point of each shard's log.
// What was committed behind that and is visible in the snapshot, the *tail*, is read from the logs:
// its documents are looked at one by one, and rows that it supersedes are left out. A segment that
// holds something newer than the snapshot is *historical*: each row that may match is checked
// against the document's versions.

#ifndef ALOS_ENGINE_INTERNAL_INDEX_READER_H_
#define ALOS_ENGINE_INTERNAL_INDEX_READER_H_

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

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/base/epoch.h"
#include "alos/base/parallel.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/engine/explain.h"
#include "alos/engine/internal/collection_indexes.h"
#include "alos/engine/internal/shard.h"
#include "alos/index/segment.h"
#include "alos/query/filter.h"
#include "alos/query/index_predicate.h"
#include "alos/query/internal/verdict_kernels.h"

namespace alos::engine_internal {

// Threads: one; it starts helpers of its own for long scans, and calls visitors one at a time.
// Lifetime: everything it is given must outlive it, and the caller holds an epoch guard from before
// the state was loaded. Durability: none. Errors: kDataLoss where a document is damaged.
template <class Policies>
class IndexReader {
 public:
  using ShardType = Shard<Policies>;
  using Shards = std::vector<std::unique_ptr<ShardType>>;
  using Log = typename ShardType::Log;
  using Visit = absl::FunctionRef<bool(ValueView)>;

  IndexReader(const ShardContext<Policies>& context, const Shards& shards,
              std::uint32_t collection_id, const IndexState& state, std::uint64_t timestamp,
              Explain* explain)
      : context_(context),
        shards_(shards),
        collection_id_(collection_id),
        state_(state),
        timestamp_(timestamp),
        explain_(explain) {}

  // Whether the snapshot can be read with these segments at all.
  bool is_usable() const {
    if (!state_.is_usable || state_.purged_until > timestamp_) return false;
    for (const auto& segment : state_.segments) {
      if (segment->purged_until > timestamp_) return false;
    }
    return true;
  }

  // Finds the tail. To be called first.
  absl::Status Prepare() {
    if (timestamp_ <= state_.complete_until) return absl::OkStatus();
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      const auto* log = shards_[i]->log();
      const std::uint64_t from = i < state_.shard_ends.size() ? state_.shard_ends[i] : 0;
      if (log == nullptr || log->end() <= from) continue;
      // Compacted before the indexes had seen all of it: they do that first.
      if (log->begin() > std::max(from, Log::kFirstRecordOffset)) {
        return absl::FailedPreconditionError("the indexes do not follow the log");
      }
      const auto shard = static_cast<std::uint32_t>(i);
      bool any = false;
      ALOS_RETURN_IF_ERROR(
          shards_[i]
              ->ForEachRecord(
                  from, timestamp_, std::numeric_limits<std::uint64_t>::max(),
                  [&](std::uint64_t, const RecordHeader& header) {
                    if (header.collection != collection_id_ ||
                        (header.kind != RecordKind::kPut && header.kind != RecordKind::kDelete)) {
                      return;
                    }
                    any = true;
                    if (header.previous_offset != 0 && header.previous_offset < from)
                      Exclude(RowLocation(shard, header.previous_offset));
                  })
              .status());
      if (any) tail_.emplace_back(shard, from);
    }
    return absl::OkStatus();
  }

  // Calls `visit` for every document that matches, until it returns false.
  absl::Status VisitMatches(const Filter& filter, const IndexPredicate& predicate, Visit visit) {
    Run run{this, &filter, visit};
    std::vector<std::unique_ptr<SegmentPredicate>> long_ones;
    for (std::size_t i = 0; i < state_.segments.size() && run.go_on; ++i) {
      auto rows = Resolve(predicate, i);
      if (rows->is_empty()) continue;
      NoteWay(*rows);
      if (!rows->has_driver() && rows->segment().rows > kSequentialRows) {
        long_ones.push_back(std::move(rows));
        continue;
      }
      SegmentPredicate::Counters counters;
      rows->ForEachBatch(&counters,
                         [&](const RowBatch& batch) { return VisitBatch(i, batch, &run); });
      Count(counters);
      ALOS_RETURN_IF_ERROR(run.status);
    }
    if (run.go_on) ALOS_RETURN_IF_ERROR(VisitLong(long_ones, &run));
    if (run.go_on) ALOS_RETURN_IF_ERROR(VisitTail(filter, visit, &run.go_on));
    return absl::OkStatus();
  }

  // Appends the places of all matches. False when there are more than `matches_max`.
  absl::StatusOr<bool> ListMatches(const Filter& filter, const IndexPredicate& predicate,
                                   std::size_t matches_max, std::vector<RowLocation>* locations) {
    bool fits = true;
    absl::Status status;
    for (std::size_t i = 0; i < state_.segments.size() && fits; ++i) {
      auto rows = Resolve(predicate, i);
      if (rows->is_empty()) continue;
      SegmentPredicate::Counters counters;
      rows->ForEachBatch(&counters, [&](const RowBatch& batch) {
        for (std::uint32_t k = 0; k < batch.size && fits && status.ok(); ++k) {
          const Verdict verdict = batch.verdict(k);
          if (verdict == Verdict::kNo) continue;
          bool is_match = false;
          if (verdict == Verdict::kYes) {
            const absl::StatusOr<bool> visible = IsVisible(i, batch.row(k));
            status = visible.status();
            is_match = visible.ok() && *visible;
          } else {
            status = WithRow(i, batch.row(k), false, explain_,
                             [&](ValueView document) { is_match = filter.Matches(document); });
          }
          if (!is_match) continue;
          locations->push_back(state_.segments[i]->locations()[batch.row(k)]);
          fits = locations->size() <= matches_max;
        }
        return fits && status.ok();
      });
      ALOS_RETURN_IF_ERROR(status);
    }
    for (const auto& [shard, from] : tail_) {
      if (!fits) break;
      ALOS_RETURN_IF_ERROR(
          shards_[shard]
              ->Scan(collection_id_, timestamp_, from,
                     [&, number = shard](std::uint64_t offset, ValueView document) {
                       if (filter.Matches(document)) locations->emplace_back(number, offset);
                       return fits = locations->size() <= matches_max;
                     })
              .status());
    }
    return fits;
  }

  absl::StatusOr<std::uint64_t> CountMatches(const Filter& filter,
                                             const IndexPredicate& predicate) {
    std::atomic<std::uint64_t> total{0};
    bool all_from_codes = true;
    std::vector<std::unique_ptr<SegmentPredicate>> long_ones;
    for (std::size_t i = 0; i < state_.segments.size(); ++i) {
      auto rows = Resolve(predicate, i);
      if (rows->is_empty()) continue;
      SegmentPredicate::Counters counters;
      if (!IsHistorical(i)) {
        if (const std::optional<std::uint64_t> count = rows->CountByCodes(&counters)) {
          Count(counters);
          std::uint64_t excluded = 0;
          for (const auto& [segment, row] : excluded_) {
            if (segment == i && !rows->IsDead(row))
              excluded += rows->Evaluate(row) == Verdict::kYes;
          }
          total += *count - excluded;
          continue;
        }
      }
      all_from_codes = false;
      NoteWay(*rows);
      if (!rows->has_driver() && rows->segment().rows > kSequentialRows) {
        long_ones.push_back(std::move(rows));
        continue;
      }
      absl::Status status;
      rows->ForEachBatch(&counters, [&](const RowBatch& batch) {
        status = CountBatch(filter, i, batch, &total, explain_);
        return status.ok();
      });
      ALOS_RETURN_IF_ERROR(status);
      Count(counters);
    }
    ALOS_RETURN_IF_ERROR(CountLong(filter, long_ones, &total));
    bool go_on = true;
    ALOS_RETURN_IF_ERROR(VisitTail(
        filter,
        [&](ValueView) {
          ++total;
          return true;
        },
        &go_on));
    if (explain_ != nullptr && all_from_codes) explain_->plan = Explain::kPlanCount;
    return total.load();
  }

  // Calls `visit` for documents among which are the first `keep` matches in the order of the index
  // `index_id`, ascending or descending, and all that are equal to the last of them. False when the
  // index cannot tell the order: then nothing was visited.
  absl::StatusOr<bool> VisitFirst(const Filter& filter, const IndexPredicate& predicate,
                                  std::uint32_t index_id, bool is_ascending, std::uint64_t keep,
                                  Visit visit) {
    for (std::size_t i = 0; i < state_.segments.size(); ++i) {
      const SegmentColumn* column = state_.segments[i]->FindColumn(index_id);
      if (column == nullptr || IsHistorical(i) || !HasOrder(column->column())) return false;
    }
    std::vector<Ordered> firsts;
    for (std::size_t i = 0; i < state_.segments.size(); ++i) {
      auto rows = Resolve(predicate, i);
      if (rows->is_empty()) continue;
      ALOS_ASSIGN_OR_RETURN(
          const bool is_found,
          FirstByCompound(filter, i, rows.get(), predicate, index_id, is_ascending, keep, &firsts));
      if (is_found) continue;
      ALOS_RETURN_IF_ERROR(
          FirstOfSegment(filter, i, rows.get(), index_id, is_ascending, keep, &firsts));
    }
    std::sort(firsts.begin(), firsts.end(), [&](const Ordered& a, const Ordered& b) {
      return is_ascending ? a.key < b.key : b.key < a.key;
    });
    std::size_t end = std::min<std::size_t>(firsts.size(), keep);
    while (end > 0 && end < firsts.size() && firsts[end].key == firsts[end - 1].key) ++end;
    Run run{this, &filter, visit};
    for (std::size_t k = 0; k < end && run.go_on; ++k) {
      ALOS_RETURN_IF_ERROR(VisitRow(firsts[k].segment, firsts[k].row, Verdict::kYes, &run, true));
    }
    if (run.go_on) ALOS_RETURN_IF_ERROR(VisitTail(filter, visit, &run.go_on));
    return true;
  }

  // Adds up what `fold(segment index, SegmentPredicate&, Counters*)` gets out of all segments; for
  // reads that need columns only. False, and nothing folded, when a row would have to be looked at:
  // the predicate is not exact somewhere, the snapshot is older than the segments.
  template <class CanFold, class Fold>
  absl::StatusOr<bool> FoldSegments(const IndexPredicate& predicate, CanFold&& can_fold,
                                    Fold&& fold) {
    std::vector<std::unique_ptr<SegmentPredicate>> all;
    for (std::size_t i = 0; i < state_.segments.size(); ++i) {
      if (IsHistorical(i) || !can_fold(*state_.segments[i])) return false;
      all.push_back(Resolve(predicate, i));
      if (!all.back()->is_empty() && !all.back()->is_exact()) return false;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i]->is_empty()) continue;
      NoteWay(*all[i]);
      SegmentPredicate::Counters counters;
      fold(i, *all[i], &counters);
      Count(counters);
    }
    return true;
  }

  bool IsExcluded(std::size_t segment, std::uint32_t row) const {
    return !excluded_.empty() && excluded_.contains({static_cast<std::uint32_t>(segment), row});
  }
  bool has_excluded() const { return !excluded_.empty(); }

  absl::Status VisitTail(const Filter& filter, Visit visit, bool* go_on) {
    for (const auto& [shard, from] : tail_) {
      ALOS_RETURN_IF_ERROR(shards_[shard]
                               ->Scan(collection_id_, timestamp_, from,
                                      [&](std::uint64_t, ValueView document) {
                                        if (explain_ != nullptr) {
                                          ++explain_->recent_documents;
                                          ++explain_->documents_examined;
                                          explain_->bytes_read += document.bytes().size();
                                        }
                                        if (filter.Matches(document)) *go_on = visit(document);
                                        return *go_on;
                                      })
                               .status());
      if (!*go_on) break;
    }
    return absl::OkStatus();
  }

 private:
  // Rows of a segment that one thread looks at by itself.
  static constexpr std::uint32_t kSequentialRows = 1 << 17;
  // Documents that few rows lead to are worth caching.
  static constexpr std::uint64_t kCachedRowsMax = 1000;
  static constexpr std::uint32_t kPrefetchedRows = 16;
  static constexpr std::size_t kPrefetchedBytes = 384;

  // One pass over matches.
  struct Run {
    IndexReader* reader;
    const Filter* filter;
    Visit visit;
    bool go_on = true;
    absl::Status status;
  };

  // A row with its key in the order asked for.
  struct Ordered {
    std::string key;
    std::uint32_t segment;
    std::uint32_t row;
  };

  bool IsHistorical(std::size_t index) const {
    const Segment& segment = *state_.segments[index];
    return segment.newest_timestamp > timestamp_ ||
           (segment.dead && segment.dead->newest_timestamp > timestamp_);
  }

  std::unique_ptr<SegmentPredicate> Resolve(const IndexPredicate& predicate, std::size_t index) {
    return std::make_unique<SegmentPredicate>(predicate, *state_.segments[index],
                                              !IsHistorical(index));
  }

  void NoteWay(const SegmentPredicate& rows) {
    if (explain_ == nullptr) return;
    Count(rows.resolve_counters());
    if (!rows.has_driver()) {
      ++explain_->segments_by_columns;
      if (explain_->plan.empty()) explain_->plan = Explain::kPlanColumns;
    } else {
      ++explain_->segments_by_postings;
      explain_->plan = Explain::kPlanIndex;
      if (const Index* index = state_.FindIndex(rows.driver_index()))
        explain_->AddIndex(index->definition.name());
    }
    if (rows.scans_text()) {
      explain_->Advise(
          "a regular expression has no trigram (three literal characters in a row): all text of "
          "the field is matched");
    }
  }

  void Count(const SegmentPredicate::Counters& counters) {
    if (explain_ == nullptr) return;
    explain_->keys_examined += counters.keys_examined;
    explain_->bytes_read += counters.bytes_read;
  }

  void Exclude(RowLocation location) {
    for (std::size_t i = 0; i < state_.segments.size(); ++i) {
      if (const std::optional<std::uint32_t> row = state_.segments[i]->FindRow(location)) {
        excluded_.insert({static_cast<std::uint32_t>(i), *row});
        return;
      }
    }
  }

  // Asks for the memory of the records of rows [begin, ...) of a batch: each is a cache miss or
  // two.
  void PrefetchRecords(std::size_t segment, const RowBatch& batch, std::uint32_t begin) const {
    const absl::Span<const RowLocation> locations = state_.segments[segment]->locations();
    const std::uint32_t end = std::min(batch.size, begin + kPrefetchedRows);
    RowLocation some[kPrefetchedRows];
    for (std::uint32_t k = begin; k < end; ++k) some[k - begin] = locations[batch.row(k)];
    for (std::uint32_t k = begin; k < end; ++k) {
      if (batch.verdict(k) == Verdict::kNo) continue;
      const RowLocation location = some[k - begin];
      const char* record = shards_[location.shard()]->log()->At(location.offset());
      for (std::size_t at = 0; at < kPrefetchedBytes; at += 64) __builtin_prefetch(record + at);
    }
  }

  bool VisitBatch(std::size_t segment, const RowBatch& batch, Run* run) {
    for (std::uint32_t k = 0; k < batch.size; ++k) {
      if (k % kPrefetchedRows == 0) PrefetchRecords(segment, batch, k);
      const Verdict verdict = batch.verdict(k);
      if (verdict == Verdict::kNo) continue;
      run->status = VisitRow(segment, batch.row(k), verdict, run, batch.size <= kCachedRowsMax);
      if (!run->status.ok()) run->go_on = false;
      if (!run->go_on) return false;
    }
    return true;
  }

  // Whether the snapshot sees this row; rows of segments that are not historical are live already.
  absl::StatusOr<bool> IsVisible(std::size_t segment, std::uint32_t row) const {
    if (IsExcluded(segment, row)) return false;
    if (!IsHistorical(segment)) return true;
    const RowLocation location = state_.segments[segment]->locations()[row];
    const ShardType& shard = *shards_[location.shard()];
    if (location.offset() < shard.log()->begin()) return false;  // in no snapshot any more
    const RecordView record(shard.log()->At(location.offset()));
    const std::uint64_t hash = DocumentHash(collection_id_, record.id(), context_.hash_seed);
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t visible,
                          shard.FindVersion(collection_id_, record.id(), hash, timestamp_));
    return visible == location.offset();
  }

  // Calls `use(document)` with the row's document if the snapshot sees it.
  absl::Status WithRow(std::size_t segment, std::uint32_t row, bool keep, Explain* explain,
                       absl::FunctionRef<void(ValueView)> use) {
    ALOS_ASSIGN_OR_RETURN(const bool visible, IsVisible(segment, row));
    if (!visible) return absl::OkStatus();
    const RowLocation location = state_.segments[segment]->locations()[row];
    return shards_[location.shard()]->VisitRecord(
        location.offset(),
        [&](ValueView document) {
          if (explain != nullptr) {
            ++explain->documents_examined;
            explain->bytes_read += document.bytes().size();
          }
          use(document);
        },
        keep);
  }

  absl::Status VisitRow(std::size_t segment, std::uint32_t row, Verdict verdict, Run* run,
                        bool keep) {
    return WithRow(segment, row, keep, explain_, [&](ValueView document) {
      if (verdict == Verdict::kYes || run->filter->Matches(document))
        run->go_on = run->visit(document);
    });
  }

  absl::Status CountBatch(const Filter& filter, std::size_t segment, const RowBatch& batch,
                          std::atomic<std::uint64_t>* total, Explain* explain) {
    std::uint64_t count = 0;
    const bool historical = IsHistorical(segment);
    if (!historical && excluded_.empty() && batch.verdicts != nullptr &&
        query_internal::CountEqual(batch.verdicts, batch.size,
                                   static_cast<std::uint8_t>(Verdict::kMaybe)) == 0) {
      *total += query_internal::CountEqual(batch.verdicts, batch.size,
                                           static_cast<std::uint8_t>(Verdict::kYes));
      return absl::OkStatus();
    }
    for (std::uint32_t k = 0; k < batch.size; ++k) {
      const Verdict verdict = batch.verdict(k);
      if (verdict == Verdict::kNo) continue;
      if (verdict == Verdict::kYes && !historical) {
        count += !IsExcluded(segment, batch.row(k));
      } else if (verdict == Verdict::kYes) {
        ALOS_ASSIGN_OR_RETURN(const bool visible, IsVisible(segment, batch.row(k)));
        count += visible;
      } else {
        ALOS_RETURN_IF_ERROR(
            WithRow(segment, batch.row(k), false, explain,
                    [&](ValueView document) { count += filter.Matches(document); }));
      }
    }
    *total += count;
    return absl::OkStatus();
  }

  // --- Scans on all cores.

  struct Part {
    SegmentPredicate* rows;
    std::size_t segment;
    std::uint32_t begin;
    std::uint32_t end;
  };

  std::vector<Part> Divide(const std::vector<std::unique_ptr<SegmentPredicate>>& all) const {
    std::vector<Part> parts;
    for (const auto& rows : all) {
      rows->PrepareScan();
      std::size_t segment = 0;
      while (state_.segments[segment].get() != &rows->segment()) ++segment;
      for (std::uint32_t begin = 0; begin < rows->segment().rows; begin += kSequentialRows) {
        parts.push_back(
            {rows.get(), segment, begin, std::min(rows->segment().rows, begin + kSequentialRows)});
      }
    }
    return parts;
  }

  absl::Status VisitLong(const std::vector<std::unique_ptr<SegmentPredicate>>& all, Run* run) {
    const std::vector<Part> parts = Divide(all);
    // Often the first rows are enough.
    for (std::size_t i = 0; i < std::min<std::size_t>(1, parts.size()); ++i) {
      SegmentPredicate::Counters counters;
      parts[i].rows->ScanRows(parts[i].begin, parts[i].end, &counters, [&](const RowBatch& batch) {
        return VisitBatch(parts[i].segment, batch, run);
      });
      Count(counters);
      if (!run->go_on) return run->status;
    }
    if (parts.size() <= 1) return absl::OkStatus();
    absl::Mutex mutex;
    RunInParallel(parts.size() - 1, [&](std::size_t task) {
      const Part& part = parts[task + 1];
      const auto guard = context_.epochs->Enter();
      SegmentPredicate::Counters counters;
      Explain explain;
      bool go_on = true;
      absl::Status status;
      part.rows->ScanRows(part.begin, part.end, &counters, [&](const RowBatch& batch) {
        for (std::uint32_t k = 0; k < batch.size && go_on; ++k) {
          const Verdict verdict = batch.verdict(k);
          if (verdict == Verdict::kNo) continue;
          status = WithRow(part.segment, batch.row(k), false, &explain, [&](ValueView document) {
            if (verdict != Verdict::kYes && !run->filter->Matches(document)) return;
            absl::MutexLock lock(&mutex);
            if (run->go_on) run->go_on = run->visit(document);
            go_on = run->go_on;
          });
          go_on = go_on && status.ok();
        }
        return go_on;
      });
      absl::MutexLock lock(&mutex);
      run->status.Update(status);
      if (!status.ok()) run->go_on = false;
      Count(counters);
      if (explain_ != nullptr) {
        explain_->documents_examined += explain.documents_examined;
        explain_->bytes_read += explain.bytes_read;
      }
      return run->go_on;
    });
    return run->status;
  }

  absl::Status CountLong(const Filter& filter,
                         const std::vector<std::unique_ptr<SegmentPredicate>>& all,
                         std::atomic<std::uint64_t>* total) {
    const std::vector<Part> parts = Divide(all);
    absl::Mutex mutex;
    absl::Status first;
    RunInParallel(parts.size(), [&](std::size_t task) {
      const Part& part = parts[task];
      const auto guard = context_.epochs->Enter();
      SegmentPredicate::Counters counters;
      Explain explain;
      absl::Status status;
      part.rows->ScanRows(part.begin, part.end, &counters, [&](const RowBatch& batch) {
        status = CountBatch(filter, part.segment, batch, total, &explain);
        return status.ok();
      });
      absl::MutexLock lock(&mutex);
      first.Update(status);
      Count(counters);
      if (explain_ != nullptr) {
        explain_->documents_examined += explain.documents_examined;
        explain_->bytes_read += explain.bytes_read;
      }
      return status.ok();
    });
    return first;
  }

  // --- In order.

  // Whether the order of codes is that of the documents: no arrays, no documents, nothing cut.
  static bool HasOrder(const Column& column) {
    if (column.has_lists()) return false;
    const auto has_class = [&](KeyClass key_class) {
      return column.LowerBound(FirstKeyOfClass(key_class)) <
             column.LowerBound(EndKeyOfClass(key_class));
    };
    return !has_class(KeyClass::kArray) && !has_class(KeyClass::kDocument);
  }

  // A missing field counts as null.
  static std::string SortKey(const Column& column, Code code) {
    if (code == kMissingCode) return FirstKeyOfClass(KeyClass::kNull);
    std::string scratch;
    return std::string(column.Key(code, &scratch));
  }

  // Appends the first `keep` matches of a segment and all that are equal to the last of them.
  absl::Status FirstOfSegment(const Filter& filter, std::size_t segment, SegmentPredicate* rows,
                              std::uint32_t index_id, bool is_ascending, std::uint64_t keep,
                              std::vector<Ordered>* firsts) {
    const Column& column = state_.segments[segment]->FindColumn(index_id)->column();
    const std::uint64_t all = state_.segments[segment]->rows;
    // Matches spread evenly over the order: this many codes have to be walked for `keep` of them.
    const std::uint64_t matches =
        std::max<std::uint64_t>(1, rows->has_driver() ? rows->driver_estimate() : all / 2);
    const std::uint64_t walk = keep > all ? all : keep * std::max<std::uint64_t>(1, all / matches);
    if (walk < matches && column.dense_codes().empty()) {
      ALOS_ASSIGN_OR_RETURN(const bool found, WalkOrder(filter, segment, rows, column, is_ascending,
                                                        keep, walk * 4, firsts));
      if (found) {
        if (explain_ != nullptr) {
          explain_->plan = Explain::kPlanSortedIndex;
          ++explain_->segments_by_postings;
          explain_->AddIndex(state_.FindIndex(index_id)->definition.name());
        }
        return absl::OkStatus();
      }
    }
    NoteWay(*rows);
    struct Candidate {
      Code code;
      std::uint32_t row;
      Verdict verdict;
    };
    std::vector<Candidate> candidates;
    SegmentPredicate::Counters counters;
    const bool has_null = column.key_count() > 0 && IsNullKey(column, 1);
    bool is_exact = true;
    const auto before = [is_ascending](const Candidate& a, const Candidate& b) {
      return is_ascending ? a.code < b.code : b.code < a.code;
    };
    Code bound = is_ascending ? std::numeric_limits<Code>::max() : 0;
    const auto shrink = [&] {
      // Only the first `keep` and their equals can be among the first.
      std::nth_element(candidates.begin(), candidates.begin() + (keep - 1), candidates.end(),
                       before);
      bound = candidates[keep - 1].code;
      std::erase_if(candidates, [&](const Candidate& candidate) {
        return is_ascending ? candidate.code > bound : candidate.code < bound;
      });
    };
    const std::size_t shrink_at = std::max<std::size_t>(4096, keep * 4);
    std::size_t next_shrink = shrink_at;
    rows->ForEachBatch(&counters, [&](const RowBatch& batch) {
      for (std::uint32_t k = 0; k < batch.size; ++k) {
        const Verdict verdict = batch.verdict(k);
        if (verdict == Verdict::kNo || IsExcluded(segment, batch.row(k))) continue;
        Code code = column.At(batch.row(k));
        if (code == kMissingCode && has_null) code = 1;
        if (is_ascending ? code > bound : code < bound) continue;
        is_exact = is_exact && verdict == Verdict::kYes;
        candidates.push_back({code, batch.row(k), verdict});
      }
      if (!is_exact) {
        bound = is_ascending ? std::numeric_limits<Code>::max() : 0;
      } else if (candidates.size() >= next_shrink) {
        shrink();
        next_shrink = candidates.size() + shrink_at;
      }
      return true;
    });
    Count(counters);
    if (is_exact) {
      if (candidates.size() > keep) shrink();
      for (const Candidate& candidate : candidates) {
        firsts->push_back(
            {SortKey(column, candidate.code), static_cast<std::uint32_t>(segment), candidate.row});
      }
      return absl::OkStatus();
    }
    std::sort(candidates.begin(), candidates.end(), before);
    std::uint64_t found = 0;
    Code last = 0;
    for (const Candidate& candidate : candidates) {
      if (found >= keep && candidate.code != last) break;
      bool matches_filter = candidate.verdict == Verdict::kYes;
      if (!matches_filter) {
        ALOS_RETURN_IF_ERROR(
            WithRow(segment, candidate.row, false, explain_,
                    [&](ValueView document) { matches_filter = filter.Matches(document); }));
      }
      if (!matches_filter) continue;
      last = candidate.code;
      ++found;
      firsts->push_back(
          {SortKey(column, candidate.code), static_cast<std::uint32_t>(segment), candidate.row});
    }
    return absl::OkStatus();
  }

  // The same through an index of several fields: those of equalities, then the one to sort by.
  // False, and nothing appended, when there is none or it does not help.
  absl::StatusOr<bool> FirstByCompound(const Filter& filter, std::size_t segment,
                                       SegmentPredicate* rows, const IndexPredicate& predicate,
                                       std::uint32_t index_id, bool is_ascending,
                                       std::uint64_t keep, std::vector<Ordered>* firsts) {
    const std::string& path = state_.FindIndex(index_id)->definition.paths[0];
    const Column& order = state_.segments[segment]->FindColumn(index_id)->column();
    for (const IndexPredicate::Compound& compound : predicate.compounds()) {
      if (compound.next_path != path) continue;
      const std::optional<std::pair<Code, Code>> codes = rows->CompoundCodes(compound);
      if (!codes) continue;
      const Column& column = state_.segments[segment]->FindColumn(compound.index_id)->column();
      if (column.has_lists() || !column.dense_codes().empty()) continue;
      const std::size_t before = firsts->size();
      rows->AssumeEqual(compound, true);
      const absl::StatusOr<std::uint64_t> walked =
          WalkCompound(filter, segment, rows, column, *codes, order, is_ascending, keep, firsts);
      rows->AssumeEqual(compound, false);
      ALOS_RETURN_IF_ERROR(walked.status());
      if (*walked == kWalkedTooFar) {
        firsts->resize(before);
        continue;
      }
      if (explain_ != nullptr) {
        explain_->plan = Explain::kPlanSortedIndex;
        explain_->keys_examined += *walked;
        ++explain_->segments_by_postings;
        explain_->AddIndex(state_.FindIndex(compound.index_id)->definition.name());
      }
      return true;
    }
    return false;
  }

  // Returns how many rows were looked at, or kWalkedTooFar.
  absl::StatusOr<std::uint64_t> WalkCompound(const Filter& filter, std::size_t segment,
                                             SegmentPredicate* rows, const Column& column,
                                             std::pair<Code, Code> codes, const Column& order,
                                             bool is_ascending, std::uint64_t keep,
                                             std::vector<Ordered>* firsts) {
    const std::size_t before = firsts->size();
    std::uint64_t walked = 0;
    Code last = kMissingCode;
    for (Code step = 0; step < codes.second - codes.first; ++step) {
      const Code code = is_ascending ? codes.first + step : codes.second - 1 - step;
      for (const std::uint32_t row : column.Postings(code)) {
        if (row >= rows->segment().rows || rows->IsDead(row) || IsExcluded(segment, row)) continue;
        const Code at = order.At(row);
        if (firsts->size() - before >= keep && !IsSameOrder(order, at, last)) return walked;
        if (++walked > keep * 16 + 4096) return kWalkedTooFar;
        const Verdict verdict = rows->Evaluate(row);
        bool is_match = verdict == Verdict::kYes;
        if (verdict == Verdict::kMaybe) {
          ALOS_RETURN_IF_ERROR(WithRow(segment, row, false, explain_, [&](ValueView document) {
            is_match = filter.Matches(document);
          }));
        }
        if (!is_match) continue;
        last = at;
        firsts->push_back({SortKey(order, at), static_cast<std::uint32_t>(segment), row});
      }
    }
    return walked;
  }
  static constexpr std::uint64_t kWalkedTooFar = std::numeric_limits<std::uint64_t>::max();

  // Missing counts as null.
  static bool IsSameOrder(const Column& column, Code a, Code b) {
    if (a == b) return true;
    const bool has_null = column.key_count() > 0 && IsNullKey(column, 1);
    return has_null && a <= 1 && b <= 1;
  }

  static bool IsNullKey(const Column& column, Code code) {
    std::string scratch;
    return IndexKeyClass(column.Key(code, &scratch)) == KeyClass::kNull;
  }

  // The same by going through the codes in order. False, and nothing appended, when after
  // `rows_max` rows there were not enough.
  absl::StatusOr<bool> WalkOrder(const Filter& filter, std::size_t segment, SegmentPredicate* rows,
                                 const Column& column, bool is_ascending, std::uint64_t keep,
                                 std::uint64_t rows_max, std::vector<Ordered>* firsts) {
    const std::size_t before = firsts->size();
    std::uint64_t walked = 0;
    const Code key_count = column.key_count();
    const bool has_null = key_count > 0 && IsNullKey(column, 1);
    for (std::uint64_t step = 0; step <= key_count; ++step) {
      const Code code = static_cast<Code>(is_ascending ? step : key_count - step);
      // Missing and null are equal: the end may not fall between them.
      const bool ties = has_null && code == (is_ascending ? 1 : 0);
      if (firsts->size() - before >= keep && !ties) break;
      for (const std::uint32_t row : column.Postings(code)) {
        if (++walked > rows_max) {
          firsts->resize(before);
          return false;
        }
        if (row >= rows->segment().rows || rows->IsDead(row) || IsExcluded(segment, row)) continue;
        const Verdict verdict = rows->Evaluate(row);
        bool matches_filter = verdict == Verdict::kYes;
        if (verdict == Verdict::kMaybe) {
          ALOS_RETURN_IF_ERROR(WithRow(segment, row, false, explain_, [&](ValueView document) {
            matches_filter = filter.Matches(document);
          }));
        }
        if (matches_filter)
          firsts->push_back({SortKey(column, code), static_cast<std::uint32_t>(segment), row});
      }
    }
    if (explain_ != nullptr) explain_->keys_examined += walked;
    return true;
  }

  const ShardContext<Policies>& context_;
  const Shards& shards_;
  const std::uint32_t collection_id_;
  const IndexState& state_;
  const std::uint64_t timestamp_;
  Explain* const explain_;                                     // may be nullptr
  std::vector<std::pair<std::uint32_t, std::uint64_t>> tail_;  // shard, and where it begins
  absl::flat_hash_set<std::pair<std::uint32_t, std::uint32_t>> excluded_;  // segment, row
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_INDEX_READER_H_
