// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// $group out of columns: the groups of a collection, and sums, averages, least and greatest values
// of fields, without a look at a document.

#ifndef ALOS_ENGINE_INTERNAL_INDEX_GROUP_H_
#define ALOS_ENGINE_INTERNAL_INDEX_GROUP_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/base/parallel.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/engine/internal/collection_indexes.h"
#include "alos/engine/internal/index_reader.h"
#include "alos/index/column.h"
#include "alos/index/index_key.h"
#include "alos/index/segment.h"
#include "alos/query/filter.h"
#include "alos/query/group_shape.h"
#include "alos/query/index_predicate.h"

namespace alos::engine_internal {

// One $group over one IndexReader. Used once.
//
// What it cannot do exactly as a $group over the documents would, it leaves alone (Fold says
// false): arrays and objects in the fields, keys that were cut, integers and doubles mixed in a
// field (whose type would the sum have?), integers beyond 2^53, more than a million groups in a
// segment.
//
// Threads: one; it starts helpers for long scans. Lifetime: everything must outlive it.
// Cost: two or three loads a row, on all cores.
template <class Policies>
class IndexGroup {
 public:
  IndexGroup(IndexReader<Policies>* reader, const IndexState* state, const Filter* filter,
             const GroupShape* shape)
      : reader_(*reader), state_(*state), filter_(*filter), shape_(*shape) {}

  // The paths that have to be indexed.
  static std::vector<std::string> Paths(const GroupShape& shape) {
    std::vector<std::string> paths;
    paths.reserve(shape.keys.size() + shape.accumulators.size());
    for (const auto& key : shape.keys) paths.push_back(key.path);
    for (const auto& accumulator : shape.accumulators) {
      if (!accumulator.path.empty()) paths.push_back(accumulator.path);
    }
    return paths;
  }

  // Finds the groups. False: it cannot, and nothing has been done.
  absl::StatusOr<bool> Fold(const IndexPredicate& predicate) {
    if (!FindIndexes()) return false;
    ALOS_ASSIGN_OR_RETURN(
        const bool folded,
        reader_.FoldSegments(
            predicate, [&](const Segment& segment) { return CanFold(segment); },
            [&](std::size_t index, SegmentPredicate& rows, SegmentPredicate::Counters* counters) {
              FoldSegment(index, rows, counters);
            }));
    if (!folded) return false;
    return FoldTail();
  }

  // Emit() may leave out groups that are not among the first `keep` of this sort. Helps where that
  // is by the number of documents first.
  void KeepFirst(const Sort& sort, std::uint64_t keep) {
    if (sort.path(0).parts().size() != 1) return;
    for (const Accumulator& accumulator : shape_.accumulators) {
      if (accumulator.name != sort.path(0).parts()[0]) continue;
      if (accumulator.kind == Kind::kCount || IsSmallPositive(accumulator)) {
        keep_ = keep;
        keeps_fewest_ = sort.is_ascending(0);
      }
    }
  }

  // Calls `push` with each group's document until it returns false.
  void Emit(absl::FunctionRef<bool(ValueView)> push) {
    std::string bytes;
    const auto emit = [&](const std::string& key, const Group& group) {
      bytes.clear();
      Builder builder(&bytes);
      builder.StartDocument();
      AppendId(key, &builder);
      for (std::size_t i = 0; i < shape_.accumulators.size(); ++i) AppendResult(i, group, &builder);
      builder.EndDocument();
      return push(ValueView::FromTrusted(bytes));
    };
    if (groups_.empty() && pending_ && !HasNullTwice(*pending_)) {
      // One segment has all: its groups need not be found again by their keys.
      Group group;
      group.cells.resize(shape_.accumulators.size());
      const CountRange kept = KeptCounts(pending_->partial->counts);
      ForEachGroup(*pending_, kept, [&](const std::string& key, std::uint32_t number) {
        group.count = 0;
        for (Cell& cell : group.cells) {
          cell.count = 0;
          cell.sum = 0;
        }
        AddGroup(*pending_, number, &group);
        return emit(key, group);
      });
      return;
    }
    Flush();
    CountRange kept;
    if (keep_ < groups_.size()) {
      std::vector<std::uint64_t> counts;
      counts.reserve(groups_.size());
      for (const auto& [key, group] : groups_) counts.push_back(group.count);
      kept = KeptCounts(counts);
    }
    for (const auto& [key, group] : groups_) {
      if (kept.Has(group.count) && !emit(key, group)) return;
    }
  }

 private:
  using Accumulator = GroupShape::Accumulator;
  using Kind = Accumulator::Kind;
  static constexpr std::uint64_t kGroupsMax = 1'000'000;
  static constexpr std::uint32_t kPartRows = 1 << 18;
  static constexpr std::uint32_t kMissingSize = std::numeric_limits<std::uint32_t>::max();

  // What there is of one accumulator in one group.
  struct Cell {
    std::uint64_t count = 0;  // of numbers, or of anything for kMin and kMax
    long double sum = 0;
    std::string extreme;  // the key, for kMin and kMax
  };
  struct Group {
    std::uint64_t count = 0;
    std::vector<Cell> cells;  // parallel to the accumulators
  };

  // Numbers by code.
  struct Numbers {
    std::vector<double> values;
    std::vector<std::uint8_t> is_number;
    bool all_numbers = false;  // every row has one
  };

  // What one thread has of one segment: groups by number.
  struct Partial {
    std::vector<std::uint32_t> counts;
    struct Sums {
      std::vector<std::uint32_t> counts;
      std::vector<double> sums;  // integers below 2^53 in number and sum are exact
      std::vector<Code> extremes;
    };
    std::vector<Sums> sums;  // parallel to the accumulators
  };

  // The groups of one segment.
  struct Pending {
    std::vector<const Column*> keys;
    std::vector<std::uint32_t> strides;
    std::vector<const Column*> values;  // parallel to the accumulators
    std::unique_ptr<Partial> partial;
  };

  // Numbers of documents.
  struct CountRange {
    std::uint64_t least = 1;
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    bool Has(std::uint64_t count) const { return count >= least && count <= most; }
  };

  // So that sums of it are in the order of their numbers.
  static bool IsSmallPositive(const Accumulator& accumulator) {
    if (accumulator.kind != Kind::kSumConstant) return false;
    const std::optional<std::int64_t> number =
        ValueView::FromTrusted(accumulator.constant).ToInt64();
    return number && *number > 0 && *number < (std::int64_t{1} << 20);
  }

  // Of groups that have so many documents (0: none, no group): those that the first keep_ have.
  template <class Count>
  CountRange KeptCounts(const std::vector<Count>& counts) const {
    CountRange range;
    if (keep_ == 0 || keep_ >= counts.size()) return range;
    std::vector<Count> some;
    for (const Count count : counts) {
      if (count != 0) some.push_back(count);
    }
    if (keep_ >= some.size()) return range;
    const auto last = some.begin() + static_cast<std::ptrdiff_t>(keep_ - 1);
    if (keeps_fewest_) {
      std::nth_element(some.begin(), last, some.end());
      range.most = *last;
    } else {
      std::nth_element(some.begin(), last, some.end(), std::greater<>());
      range.least = *last;
    }
    return range;
  }

  bool FindIndexes() {
    for (const auto& key : shape_.keys) {
      const Index* index = IndexOf(key.path);
      if (index == nullptr) return false;
      key_ids_.push_back(index->definition.id);
    }
    for (const Accumulator& accumulator : shape_.accumulators) {
      std::uint32_t id = 0;
      if (!accumulator.path.empty()) {
        const Index* index = IndexOf(accumulator.path);
        if (index == nullptr) return false;
        id = index->definition.id;
      }
      value_ids_.push_back(id);
    }
    key_types_.resize(key_ids_.size(), NumberTypes::kNone);
    value_types_.resize(value_ids_.size(), NumberTypes::kNone);
    return true;
  }

  // A number in a path is a position for filters and a name for expressions.
  const Index* IndexOf(const std::string& dotted) const {
    const absl::StatusOr<Path> path = Path::Parse(dotted);
    if (!path.ok()) return nullptr;
    for (std::size_t i = 0; i < path->parts().size(); ++i) {
      if (path->position(i)) return nullptr;
    }
    return state_.FindIndex(dotted);
  }

  static bool HasClass(const Column& column, KeyClass key_class) {
    return column.LowerBound(FirstKeyOfClass(key_class)) <
           column.LowerBound(EndKeyOfClass(key_class));
  }

  // Only scalars that come back from their keys as they were.
  static bool IsPlain(const Column& column) {
    return !column.has_lists() && !column.has_overflow() && !column.has_truncated_keys() &&
           !column.has_through_arrays() && column.number_types() != NumberTypes::kMixed &&
           !HasClass(column, KeyClass::kArray) && !HasClass(column, KeyClass::kDocument);
  }

  // Doubles add up every integer of the segment exactly: below 2^53 even all together.
  static bool SumsExactly(const Column& column) {
    if (column.number_types() != NumberTypes::kIntegers) return true;
    const Code first = column.LowerBound(FirstIndexKeyAfterNan());
    const Code end = column.LowerBound(EndKeyOfClass(KeyClass::kNumber));
    if (first >= end) return true;
    std::string scratch;
    const double least = IndexKeyNumber(column.Key(first, &scratch));
    const double greatest = IndexKeyNumber(column.Key(end - 1, &scratch));
    return std::max(std::abs(least), std::abs(greatest)) * column.rows() < 9007199254740992.0;
  }

  // The types of numbers that all segments and the tail agree on.
  static bool Agree(NumberTypes types, NumberTypes* all) {
    *all = *all | types;
    return *all != NumberTypes::kMixed;
  }

  bool CanFold(const Segment& segment) {
    std::uint64_t groups = 1;
    for (std::size_t i = 0; i < key_ids_.size(); ++i) {
      const SegmentColumn* column = segment.FindColumn(key_ids_[i]);
      if (column == nullptr || !IsPlain(column->column()) ||
          !Agree(column->column().number_types(), &key_types_[i])) {
        return false;
      }
      groups *= column->column().key_count() + 1;
      if (groups > kGroupsMax) return false;
    }
    for (std::size_t i = 0; i < value_ids_.size(); ++i) {
      if (value_ids_[i] == 0) continue;
      const SegmentColumn* column = segment.FindColumn(value_ids_[i]);
      if (column == nullptr || !IsPlain(column->column()) || !SumsExactly(column->column()) ||
          !Agree(column->column().number_types(), &value_types_[i])) {
        return false;
      }
    }
    return true;
  }

  bool IsSum(std::size_t i) const {
    return shape_.accumulators[i].kind == Kind::kSum || shape_.accumulators[i].kind == Kind::kAvg;
  }

  void FoldSegment(std::size_t index, SegmentPredicate& rows,
                   SegmentPredicate::Counters* counters) {
    const Segment& segment = rows.segment();
    std::vector<const Column*> keys;
    std::vector<std::uint32_t> strides;
    std::uint32_t groups = 1;
    for (const std::uint32_t id : key_ids_) {
      keys.push_back(&segment.FindColumn(id)->column());
      strides.push_back(groups);
      groups *= keys.back()->key_count() + 1;
    }
    std::vector<const Column*> values;
    std::vector<Numbers> numbers(value_ids_.size());
    std::vector<std::pair<Code, Code>> counted;  // codes that $min and $max look at
    for (std::size_t i = 0; i < value_ids_.size(); ++i) {
      values.push_back(value_ids_[i] == 0 ? nullptr : &segment.FindColumn(value_ids_[i])->column());
      counted.emplace_back(0, 0);
      if (values[i] == nullptr) continue;
      if (IsSum(i)) {
        const absl::Span<const double> all = segment.FindColumn(value_ids_[i])->numbers();
        const Code first = values[i]->LowerBound(FirstKeyOfClass(KeyClass::kNumber));
        const Code end = values[i]->LowerBound(EndKeyOfClass(KeyClass::kNumber));
        numbers[i].values.resize(all.size());
        numbers[i].is_number.resize(all.size());
        for (Code code = first; code < end; ++code) {
          numbers[i].values[code] = all[code];
          numbers[i].is_number[code] = 1;
        }
        numbers[i].all_numbers = values[i]->CountEntries(first, end) == segment.rows;
      } else {
        // Neither missing nor null.
        counted[i] = {values[i]->LowerBound(EndKeyOfClass(KeyClass::kNull)),
                      values[i]->key_count() + 1};
      }
    }
    const auto make = [&] {
      auto partial = std::make_unique<Partial>();
      partial->counts.resize(groups);
      partial->sums.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] == nullptr) continue;
        if (IsSum(i)) {
          partial->sums[i].counts.resize(groups);
          partial->sums[i].sums.resize(groups);
        } else {
          partial->sums[i].extremes.assign(groups, kMissingCode);
        }
      }
      return partial;
    };
    // Every row is taken: how many each group of one key has is in the dictionary.
    const bool counts_known =
        keys.size() == 1 && rows.takes_everything() && !reader_.has_excluded();
    // Then two short columns, whose every code has a place in the tables, are all there is to read.
    bool is_simple = counts_known && keys[0]->width() <= 2;
    for (std::size_t i = 0; i < values.size(); ++i) {
      is_simple = is_simple && (values[i] == nullptr ||
                                (IsSum(i) && numbers[i].all_numbers && values[i]->width() <= 2));
    }
    if (is_simple) {
      groups = std::max<std::uint32_t>(groups, 1u << (8 * keys[0]->width()));
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] != nullptr) numbers[i].values.resize(1u << (8 * values[i]->width()));
      }
    }
    const auto add_simple = [&](const RowBatch& batch, Partial* partial) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] == nullptr) continue;
        double* const sum = partial->sums[i].sums.data();
        const double* const value = numbers[i].values.data();
        keys[0]->VisitColumn([&](const auto* key_codes) {
          values[i]->VisitColumn([&](const auto* value_codes) {
            if constexpr (sizeof *key_codes <= 2 && sizeof *value_codes <= 2) {
              const auto* const key = key_codes + batch.first;
              const auto* const code = value_codes + batch.first;
              for (std::uint32_t k = 0; k < batch.size; ++k) sum[key[k]] += value[code[k]];
            }
          });
        });
      }
      return true;
    };
    const auto add = [&](const RowBatch& batch, Partial* partial) {
      if (is_simple) return add_simple(batch, partial);
      // The rows that are taken: nullptr for all of the batch.
      std::uint32_t taken[SegmentPredicate::kBatchRows];
      const std::uint32_t* chosen = batch.rows;
      std::uint32_t size = batch.size;
      if (batch.verdicts != nullptr || reader_.has_excluded()) {
        size = 0;
        for (std::uint32_t k = 0; k < batch.size; ++k) {
          taken[size] = batch.row(k);
          size += batch.verdict(k) == Verdict::kYes && !reader_.IsExcluded(index, batch.row(k));
        }
        chosen = taken;
      }
      std::uint32_t group[SegmentPredicate::kBatchRows] = {};
      for (std::size_t i = 0; i < keys.size(); ++i) {
        const Code code_max = keys[i]->key_count();
        const std::uint32_t stride = strides[i];
        keys[i]->VisitColumn([&](const auto* codes) {
          if (chosen == nullptr) {
            codes += batch.first;
            for (std::uint32_t k = 0; k < size; ++k)
              group[k] += stride * std::min<Code>(codes[k], code_max);
          } else {
            for (std::uint32_t k = 0; k < size; ++k)
              group[k] += stride * std::min<Code>(codes[chosen[k]], code_max);
          }
        });
      }
      if (!counts_known) {
        for (std::uint32_t k = 0; k < size; ++k) ++partial->counts[group[k]];
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] == nullptr) continue;
        typename Partial::Sums& sums = partial->sums[i];
        const Code code_max = values[i]->key_count();
        values[i]->VisitColumn([&](const auto* codes) {
          const auto code_of = [&](std::uint32_t k) {
            return std::min<Code>(chosen == nullptr ? codes[batch.first + k] : codes[chosen[k]],
                                  code_max);
          };
          if (!IsSum(i)) {
            const bool is_min = shape_.accumulators[i].kind == Kind::kMin;
            for (std::uint32_t k = 0; k < size; ++k) {
              const Code code = code_of(k);
              if (code < counted[i].first || code >= counted[i].second) continue;
              Code& extreme = sums.extremes[group[k]];
              if (extreme == kMissingCode || (is_min ? code < extreme : code > extreme))
                extreme = code;
            }
            return;
          }
          const double* const value = numbers[i].values.data();
          double* const sum = sums.sums.data();
          if (numbers[i].all_numbers) {
            if (chosen == nullptr) {
              codes += batch.first;
              for (std::uint32_t k = 0; k < size; ++k)
                sum[group[k]] += value[std::min<Code>(codes[k], code_max)];
            } else {
              for (std::uint32_t k = 0; k < size; ++k) sum[group[k]] += value[code_of(k)];
            }
            return;
          }
          const std::uint8_t* const is_number = numbers[i].is_number.data();
          for (std::uint32_t k = 0; k < size; ++k) {
            const Code code = code_of(k);
            sum[group[k]] += value[code];
            sums.counts[group[k]] += is_number[code];
          }
        });
      }
      return true;
    };
    std::unique_ptr<Partial> whole = make();
    if (rows.has_driver()) {
      rows.ForEachBatch(counters, [&](const RowBatch& batch) { return add(batch, whole.get()); });
    } else {
      rows.PrepareScan();
      const std::size_t parts = (segment.rows + kPartRows - 1) / kPartRows;
      const std::size_t workers =
          std::min<std::size_t>(parts, std::max(1u, std::thread::hardware_concurrency()));
      absl::Mutex mutex;
      RunInParallel(workers, [&](std::size_t worker) {
        const auto partial = make();
        SegmentPredicate::Counters own;
        const std::size_t first = parts * worker / workers;
        const std::size_t end = parts * (worker + 1) / workers;
        rows.ScanRows(
            static_cast<std::uint32_t>(first * kPartRows),
            std::min<std::uint32_t>(segment.rows, static_cast<std::uint32_t>(end * kPartRows)),
            &own, [&](const RowBatch& batch) { return add(batch, partial.get()); });
        absl::MutexLock lock(&mutex);
        Combine(*partial, whole.get());
        counters->keys_examined += own.keys_examined;
        counters->bytes_read += own.bytes_read;
        return true;
      });
    }
    if (counts_known) {
      for (Code code = 0; code <= keys[0]->key_count(); ++code)
        whole->counts[code] = static_cast<std::uint32_t>(keys[0]->CountEntries(code, code + 1));
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (numbers[i].all_numbers) whole->sums[i].counts = whole->counts;
    }
    Flush();
    pending_ = Pending{std::move(keys), std::move(strides), std::move(values), std::move(whole)};
  }

  // Adds what one thread has to what all have.
  void Combine(const Partial& from, Partial* into) const {
    for (std::size_t group = 0; group < from.counts.size(); ++group)
      into->counts[group] += from.counts[group];
    for (std::size_t i = 0; i < from.sums.size(); ++i) {
      const typename Partial::Sums& sums = from.sums[i];
      typename Partial::Sums& all = into->sums[i];
      for (std::size_t group = 0; group < sums.sums.size(); ++group) {
        all.counts[group] += sums.counts[group];
        all.sums[group] += sums.sums[group];
      }
      const bool is_min = shape_.accumulators[i].kind == Kind::kMin;
      for (std::size_t group = 0; group < sums.extremes.size(); ++group) {
        const Code code = sums.extremes[group];
        Code& extreme = all.extremes[group];
        if (code == kMissingCode) continue;
        if (extreme == kMissingCode || (is_min ? code < extreme : code > extreme)) extreme = code;
      }
    }
  }

  static void AppendPart(std::optional<std::string_view> key, std::string* out) {
    const std::uint32_t size = key ? static_cast<std::uint32_t>(key->size()) : kMissingSize;
    out->append(reinterpret_cast<const char*>(&size), 4);
    if (key) out->append(*key);
  }

  // A missing field of a single key counts as null; in a document of keys it is left out.
  std::optional<std::string_view> PartOf(std::optional<std::string_view> key) const {
    if (key || shape_.key_kind != GroupShape::KeyKind::kPath) return key;
    return null_key_;
  }

  Group& GroupOf(const std::string& key) {
    Group& group = groups_[key];
    if (group.cells.empty()) group.cells.resize(shape_.accumulators.size());
    return group;
  }

  // Calls `visit(key, number)` for the groups of a segment that have so many documents.
  template <class Visit>
  void ForEachGroup(const Pending& pending, const CountRange& range, Visit&& visit) const {
    const std::vector<const Column*>& keys = pending.keys;
    const std::vector<std::uint32_t>& counts = pending.partial->counts;
    std::string key;
    if (keys.size() == 1) {
      // In the order of the dictionary, which is read from front to back.
      if (range.Has(counts[kMissingCode])) {
        AppendPart(PartOf(std::nullopt), &key);
        if (!visit(key, kMissingCode)) return;
      }
      keys[0]->ForEachKey(1, keys[0]->key_count() + 1, [&](Code code, std::string_view bytes) {
        if (!range.Has(counts[code])) return false;
        key.clear();
        AppendPart(bytes, &key);
        return !visit(key, code);
      });
      return;
    }
    std::string scratch;
    for (std::uint32_t number = 0; number < counts.size(); ++number) {
      if (!range.Has(counts[number])) continue;
      key.clear();
      for (std::size_t i = 0; i < keys.size(); ++i) {
        const Code code = number / pending.strides[i] % (keys[i]->key_count() + 1);
        std::optional<std::string_view> part;
        if (code != kMissingCode) part = keys[i]->Key(code, &scratch);
        AppendPart(PartOf(part), &key);
      }
      if (!visit(key, number)) return;
    }
  }

  void AddGroup(const Pending& pending, std::uint32_t number, Group* group) const {
    const Partial& partial = *pending.partial;
    group->count += partial.counts[number];
    for (std::size_t i = 0; i < pending.values.size(); ++i) {
      if (pending.values[i] == nullptr) continue;
      const typename Partial::Sums& sums = partial.sums[i];
      if (IsSum(i)) {
        AddSum(sums.counts[number], sums.sums[number], &group->cells[i]);
      } else if (sums.extremes[number] != kMissingCode) {
        std::string scratch;
        AddExtreme(i, pending.values[i]->Key(sums.extremes[number], &scratch), &group->cells[i]);
      }
    }
  }

  // Missing and null are one group, but two codes.
  bool HasNullTwice(const Pending& pending) const {
    if (shape_.key_kind != GroupShape::KeyKind::kPath) return false;
    return pending.partial->counts[kMissingCode] != 0 &&
           pending.keys[0]->Find(null_key_).has_value();
  }

  // Adds the last segment's groups to those of all.
  void Flush() {
    if (!pending_) return;
    groups_.reserve(groups_.size() + pending_->partial->counts.size());
    ForEachGroup(*pending_, CountRange(), [&](const std::string& key, std::uint32_t number) {
      AddGroup(*pending_, number, &GroupOf(key));
      return true;
    });
    pending_.reset();
  }

  static void AddSum(std::uint64_t count, double sum, Cell* cell) {
    cell->count += count;
    cell->sum += sum;
  }

  void AddExtreme(std::size_t i, std::string_view key, Cell* cell) const {
    const bool is_min = shape_.accumulators[i].kind == Kind::kMin;
    if (cell->count++ == 0 || (is_min ? key < cell->extreme : key > cell->extreme))
      cell->extreme = std::string(key);
  }

  // --- Documents that are not indexed yet.

  // The value that an expression sees: nullopt when it is missing; false for arrays and objects.
  static bool PlainValue(ValueView document, std::string_view dotted,
                         std::optional<ValueView>* value) {
    *value = document;
    while (true) {
      const std::size_t dot = dotted.find('.');
      *value = (*value)->IsDocument() ? (*value)->Find(dotted.substr(0, dot)) : std::nullopt;
      if (!*value) return true;
      if ((*value)->IsArray()) return false;
      if (dot == std::string_view::npos) return !(*value)->IsDocument();
      dotted.remove_prefix(dot + 1);
    }
  }

  static bool KeyOf(ValueView value, NumberTypes* all, std::string* key) {
    key->clear();
    if (!AppendIndexKey(value, key)) return false;
    if (!value.IsNumber()) return true;
    return Agree(
        value.type() == ValueType::kDouble ? NumberTypes::kDoubles : NumberTypes::kIntegers, all);
  }

  absl::StatusOr<bool> FoldTail() {
    bool is_plain = true;
    bool go_on = true;
    std::string key;
    std::string part;
    ALOS_RETURN_IF_ERROR(reader_.VisitTail(
        filter_,
        [&](ValueView document) {
          key.clear();
          for (std::size_t i = 0; i < shape_.keys.size() && is_plain; ++i) {
            std::optional<ValueView> value;
            is_plain = PlainValue(document, shape_.keys[i].path, &value) &&
                       (!value || KeyOf(*value, &key_types_[i], &part));
            std::optional<std::string_view> found;
            if (value) found = part;
            AppendPart(PartOf(found), &key);
          }
          if (!is_plain) return false;
          Flush();
          Group& group = GroupOf(key);
          ++group.count;
          for (std::size_t i = 0; i < shape_.accumulators.size() && is_plain; ++i) {
            if (value_ids_[i] == 0) continue;
            std::optional<ValueView> value;
            is_plain = PlainValue(document, shape_.accumulators[i].path, &value) &&
                       (!value || KeyOf(*value, &value_types_[i], &part));
            if (!is_plain || !value || value->IsNull()) continue;
            if (!IsSum(i)) {
              AddExtreme(i, part, &group.cells[i]);
            } else if (value->IsNumber()) {
              AddSum(1, value->AsDouble(), &group.cells[i]);
            }
          }
          return is_plain;
        },
        &go_on));
    return is_plain;
  }

  // --- The result.

  void AppendKeyValue(std::string_view key, NumberTypes types, Builder* builder) const {
    if (!DecodeIndexKey(key, types == NumberTypes::kIntegers, builder)) builder->Null();
  }

  void AppendId(std::string_view key, Builder* builder) const {
    builder->Key("_id");
    if (shape_.key_kind == GroupShape::KeyKind::kConstant) {
      builder->Raw(ValueView::FromTrusted(shape_.constant));
      return;
    }
    if (shape_.key_kind == GroupShape::KeyKind::kDocument) builder->StartDocument();
    for (std::size_t i = 0; i < shape_.keys.size(); ++i) {
      std::uint32_t size = 0;
      std::memcpy(&size, key.data(), 4);
      key.remove_prefix(4);
      if (size == kMissingSize) continue;
      if (shape_.key_kind == GroupShape::KeyKind::kDocument) builder->Key(shape_.keys[i].name);
      AppendKeyValue(key.substr(0, size), key_types_[i], builder);
      key.remove_prefix(size);
    }
    if (shape_.key_kind == GroupShape::KeyKind::kDocument) builder->EndDocument();
  }

  // A whole number where the field has integers only and it fits.
  static void AppendNumber(long double number, bool is_integer, Builder* builder) {
    if (is_integer && std::abs(static_cast<double>(number)) < 9007199254740992.0) {
      builder->Int(static_cast<std::int64_t>(static_cast<double>(number)));
    } else if (is_integer && std::abs(number) < 9223372036854775808.0L) {
      builder->Int(static_cast<std::int64_t>(number));
    } else {
      builder->Double(static_cast<double>(number));
    }
  }

  void AppendResult(std::size_t i, const Group& group, Builder* builder) const {
    const Accumulator& accumulator = shape_.accumulators[i];
    const Cell& cell = group.cells[i];
    builder->Key(accumulator.name);
    switch (accumulator.kind) {
      case Kind::kCount:
        builder->Uint(group.count);
        return;
      case Kind::kSumConstant: {
        const ValueView constant = ValueView::FromTrusted(accumulator.constant);
        const bool is_integer = constant.type() != ValueType::kDouble;
        const long double each = is_integer && constant.type() == ValueType::kInt64
                                     ? static_cast<long double>(constant.AsInt64())
                                     : static_cast<long double>(constant.AsDouble());
        AppendNumber(each * static_cast<long double>(group.count), is_integer, builder);
        return;
      }
      case Kind::kSum:
        AppendNumber(cell.sum, value_types_[i] != NumberTypes::kDoubles || cell.count == 0,
                     builder);
        return;
      case Kind::kAvg:
        if (cell.count == 0) {
          builder->Null();
        } else {
          builder->Double(static_cast<double>(cell.sum / static_cast<long double>(cell.count)));
        }
        return;
      case Kind::kMin:
      case Kind::kMax:
        if (cell.count == 0) {
          builder->Null();
        } else {
          AppendKeyValue(cell.extreme, value_types_[i], builder);
        }
        return;
    }
  }

  IndexReader<Policies>& reader_;
  const IndexState& state_;
  const Filter& filter_;
  const GroupShape& shape_;
  std::vector<std::uint32_t> key_ids_;    // index ids, parallel to shape_.keys
  std::vector<std::uint32_t> value_ids_;  // parallel to the accumulators; 0: needs no field
  std::vector<NumberTypes> key_types_;
  std::vector<NumberTypes> value_types_;
  const std::string null_key_ = FirstKeyOfClass(KeyClass::kNull);
  std::uint64_t keep_ = std::numeric_limits<std::uint64_t>::max();
  bool keeps_fewest_ = false;
  std::optional<Pending> pending_;                  // not in groups_ yet
  absl::flat_hash_map<std::string, Group> groups_;  // by their keys, each with its size before it
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_INDEX_GROUP_H_
