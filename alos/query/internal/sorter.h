// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Sorts documents that are pushed one by one, in memory, within a limit; keeps only the first few
// where no more are asked for.

#ifndef ALOS_QUERY_INTERNAL_SORTER_H_
#define ALOS_QUERY_INTERNAL_SORTER_H_

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "alos/document/value.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

// The sort is stable: equal documents come out as they came in.
//
// Threads: none but the caller's. Lifetime: `sort` must outlive it; documents are copied.
// Cost: for n documents of which k are kept, O(n log k) comparisons of keys and one allocation per
// kept document. With `keep`, memory for k documents; a document that is not among the first k so
// far is not copied.
class Sorter {
 public:
  Sorter(const Sort* sort, std::uint64_t keep, std::size_t memory_bytes_max, std::size_t position)
      : sort_(sort), keep_(keep), memory_bytes_max_(memory_bytes_max), position_(position) {}

  // Errors: kResourceExhausted when what must be kept exceeds the limit.
  absl::Status Add(ValueView document) {
    const std::uint64_t sequence = next_sequence_++;
    if (keep_ == 0) return absl::OkStatus();
    if (entries_.size() == keep_) {
      // The heap's top is the last of those kept. Being later, an equal document is not better.
      if (!sort_->Less(sort_->ExtractKey(document), entries_.front().key)) return absl::OkStatus();
      std::pop_heap(entries_.begin(), entries_.end(), Before());
      memory_bytes_ -= MemoryOf(entries_.back());
      entries_.pop_back();
    }
    Entry entry;
    const std::string_view bytes = document.bytes();
    entry.size = bytes.size();
    entry.bytes = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), entry.bytes.get());
    entry.key = sort_->ExtractKey(View(entry));
    entry.sequence = sequence;
    memory_bytes_ += MemoryOf(entry);
    if (memory_bytes_ > memory_bytes_max_) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "aggregation stage $sort (stage ", position_ + 1, ") exceeds its memory limit of ",
          memory_bytes_max_, " bytes after ", entries_.size(),
          " documents; put a $limit right after it, or a $match or $project before it"));
    }
    entries_.push_back(std::move(entry));
    if (is_bounded()) std::push_heap(entries_.begin(), entries_.end(), Before());
    return absl::OkStatus();
  }

  // Calls `push(ValueView) -> bool` for each document in order until it returns false, and forgets
  // them all.
  template <class Push>
  void Finish(Push&& push) {
    std::sort(entries_.begin(), entries_.end(), Before());
    for (const Entry& entry : entries_) {
      if (!push(View(entry))) break;
    }
    entries_.clear();
    memory_bytes_ = 0;
  }

 private:
  struct Entry {
    Sort::Key key;  // Views `bytes`, which stay where they are when the entry moves.
    std::unique_ptr<char[]> bytes;
    std::size_t size = 0;
    std::uint64_t sequence = 0;  // Order of arrival.
  };

  struct EntryLess {
    const Sort* sort;
    bool operator()(const Entry& a, const Entry& b) const {
      const std::weak_ordering order = sort->Compare(a.key, b.key);
      return order != 0 ? order < 0 : a.sequence < b.sequence;
    }
  };
  EntryLess Before() const { return EntryLess{sort_}; }

  static ValueView View(const Entry& entry) {
    return ValueView::FromTrusted(std::string_view(entry.bytes.get(), entry.size));
  }
  static std::size_t MemoryOf(const Entry& entry) {
    constexpr std::size_t kAllocationOverhead = 16;
    return sizeof(Entry) + entry.key.heap_bytes() + entry.size + kAllocationOverhead;
  }
  bool is_bounded() const { return keep_ != std::numeric_limits<std::uint64_t>::max(); }

  const Sort* sort_;
  std::uint64_t keep_;
  std::size_t memory_bytes_max_;
  std::size_t position_;
  std::uint64_t next_sequence_ = 0;
  std::size_t memory_bytes_ = 0;
  std::vector<Entry> entries_;  // A heap by Before() while bounded; its top is the last one.
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_SORTER_H_
