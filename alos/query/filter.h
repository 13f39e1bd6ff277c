// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Filters: which documents a query, an update or a delete is about.

#ifndef ALOS_QUERY_FILTER_H_
#define ALOS_QUERY_FILTER_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/internal/filter_program.h"

namespace alos {

using query_internal::FilterContext;

// The first error of the expressions of a filter, over all documents it is asked about.
//
// Threads: any number may use one at once.
class FilterErrors {
 public:
  void Record(absl::Status error) {
    absl::MutexLock lock(&mutex_);
    if (first_.ok()) first_ = std::move(error);
    any_.store(true, std::memory_order_release);
  }
  bool any() const { return any_.load(std::memory_order_acquire); }
  absl::Status first() const {
    absl::MutexLock lock(&mutex_);
    return first_;
  }

 private:
  std::atomic<bool> any_ = false;
  mutable absl::Mutex mutex_;
  absl::Status first_ ABSL_GUARDED_BY(mutex_);
};

// A compiled filter: MongoDB's query language over MessagePack documents.
//
//   {status: "open", "items.price": {$gte: 10, $lt: 20}, $or: [{a: null}, {b: {$in: [1, 2]}}]}
//
// Operators: implicit equality, $eq $ne $gt $gte $lt $lte $in $nin, $and $or $nor $not, $exists
// $type, $regex (with $options), $mod, $all $elemMatch $size, $bitsAllSet $bitsAllClear $bitsAnySet
// $bitsAnyClear; $expr, $jsonSchema and, over fields that the context names, $text; $comment is
// taken and ignored.
//
// The rules that surprise, all of them MongoDB's:
//  - {a: null} matches a document without `a`, too; so do $in with null, $gte null and $lte null.
//  - Where the field is an array, a condition holds if it holds for an element or for the array as
//    a whole. {a: {$gt: 1, $lt: 3}} on [0, 5] matches: each condition has its own element;
//    $elemMatch asks one element to meet all.
//  - $ne, $nin and $not are the negation of the whole: they match where the field is missing, and
//    do not where any element matches.
//  - $gt and its kin compare only within a class of types: {a: {$gt: 1}} never matches a string.
//  - A document literal is equal to a document with the same fields in the same order.
//  - Dotted paths go through arrays: "a.b" follows each element of the array `a` that is a
//    document; "a.0" is the element at that position, or the field "0" of such elements.
//
// Threads: immutable; any number of threads may use one at once. Copies share one program.
// Lifetime: owns all it needs; the bytes it was compiled from may go.
// Durability: none.
// Errors: Compile returns kInvalidArgument naming the path, the operator and what was expected.
//   Matching cannot fail: a document of another shape simply does not match. Only $expr can (a
//   division by zero): whoever wants to know asks may_fail(), and then for the error.
// Cost: compilation walks the filter once and copies it. Matching looks each path up by itself,
//   decodes nothing else and does not allocate (RE2 keeps a bounded cache of its own per pattern).
class Filter {
 public:
  // Matches everything.
  Filter() : Filter(*Compile(ValueView::FromTrusted(std::string_view("\x80", 1)))) {}

  // `filter` must be a document. Nesting: at most 100 levels.
  static absl::StatusOr<Filter> Compile(ValueView filter, const FilterContext& context = {}) {
    absl::StatusOr<std::shared_ptr<const query_internal::FilterProgram>> program =
        query_internal::FilterCompiler::CompileDocument(filter, "filter", &context);
    if (!program.ok()) return program.status();
    return Filter(*std::move(program));
  }

  // REQUIRES: `document` is a document. When an expression fails, it does not match, and *error, if
  // given and OK before, says why.
  bool Matches(ValueView document, absl::Status* error) const {
    return program_->MatchesDocument(document, error);
  }
  bool Matches(ValueView document) const {
    if (errors_ == nullptr) return program_->MatchesDocument(document);
    if (errors_->any()) return false;
    absl::Status error;
    const bool matches = program_->MatchesDocument(document, &error);
    if (!error.ok()) errors_->Record(std::move(error));
    return matches;
  }

  // As above, for the stages of a pipeline: expressions are evaluated with the time and the
  // variables of `state`, which the caller resets.
  absl::StatusOr<bool> Matches(ValueView document, EvaluationState& state) const {
    return program_->MatchesDocument(document, state);
  }

  // Whether matching can fail: there is an $expr.
  bool may_fail() const { return !program_->expressions().empty(); }

  // Runs a query that can fail as a whole: `run(filter)` -> absl::Status or absl::StatusOr<...>,
  // with this filter, or, if it may fail, with one that collects the errors of Matches(document):
  // the first of them is the result then.
  template <class Run>
  auto RunReporting(Run&& run) const -> decltype(run(*this)) {
    if (!may_fail() || errors_ != nullptr) return run(*this);
    FilterErrors errors;
    Filter reporting = *this;
    reporting.errors_ = &errors;
    decltype(run(*this)) result = run(reporting);
    if (errors.any()) return errors.first();
    return result;
  }

  // Within RunReporting.
  bool reports_errors() const { return errors_ != nullptr; }

  // As Matches, and what the positional operator $ of an update stands for: the position of the
  // element that met a condition, in the outermost array on the condition's path. Of several
  // conditions the last one counts; of $not and $nor none does.
  bool Matches(ValueView document, std::optional<std::size_t>* position) const {
    return program_->MatchesDocument(document, position);
  }

  // The ids that the filter restricts `_id` to, as EncodeId writes them, sorted, each once; nullopt
  // when it does not. Whatever Matches has one of these ids; not everything with such an id
  // matches. An empty list means that nothing can match: the ids contradict each other, or are
  // values that no id can have, such as null.
  const std::optional<std::vector<std::string>>& id_candidates() const { return id_candidates_; }

  // What the filter asks, for a planner to read. A planner must treat a FilterOp that it does not
  // know as one that it cannot tell anything about.
  const query_internal::FilterProgram& program() const { return *program_; }

  // True when every document matches by the filter's form alone: {}.
  bool matches_everything() const {
    return program_->nodes()[0].op == query_internal::FilterOp::kTrue;
  }

  // A field that the filter asks to be equal to one value, outside any $or, $nor and $not.
  struct Equality {
    std::string path;  // Dotted.
    ValueView value;   // Valid while this filter or a copy of it lives.
  };

  // The equalities of the top conjunction, in the filter's order: what an upsert starts from.
  const std::vector<Equality>& equalities() const { return equalities_; }

 private:
  using Ids = std::optional<std::vector<std::string>>;

  explicit Filter(std::shared_ptr<const query_internal::FilterProgram> program)
      : program_(std::move(program)), id_candidates_(Candidates(0)) {
    CollectEqualities(0);
  }

  bool IsOnId(const query_internal::FilterNode& node) const {
    if (node.path == query_internal::kNoPath) return false;
    const absl::Span<const std::string> parts = program_->paths()[node.path].parts();
    return parts.size() == 1 && parts[0] == "_id";
  }

  static void AddId(ValueView value, std::vector<std::string>* ids) {
    // What cannot be encoded cannot be a document's id either.
    absl::StatusOr<std::string> id = EncodeId(value);
    if (id.ok()) ids->push_back(*std::move(id));
  }

  Ids Candidates(std::size_t index) const {
    using query_internal::FilterOp;
    const std::vector<query_internal::FilterNode>& nodes = program_->nodes();
    const query_internal::FilterNode& node = nodes[index];
    const std::size_t end = index + node.subtree_size;
    std::vector<std::string> ids;
    switch (node.op) {
      case FilterOp::kFalse:
        return ids;
      case FilterOp::kEqual:
        if (!IsOnId(node)) return std::nullopt;
        AddId(node.literal, &ids);
        return ids;
      case FilterOp::kIn:
        if (!IsOnId(node)) return std::nullopt;
        for (const ValueView value : program_->lists()[node.operand].values) AddId(value, &ids);
        Normalize(&ids);
        return ids;
      case FilterOp::kAnd: {
        Ids result;
        for (std::size_t i = index + 1; i < end; i += nodes[i].subtree_size) {
          Ids child = Candidates(i);
          if (!child.has_value()) continue;
          if (!result.has_value()) {
            result = std::move(child);
            continue;
          }
          std::vector<std::string> both;
          std::set_intersection(result->begin(), result->end(), child->begin(), child->end(),
                                std::back_inserter(both));
          result = std::move(both);
        }
        return result;
      }
      case FilterOp::kOr:
        for (std::size_t i = index + 1; i < end; i += nodes[i].subtree_size) {
          Ids child = Candidates(i);
          if (!child.has_value()) return std::nullopt;
          std::move(child->begin(), child->end(), std::back_inserter(ids));
        }
        Normalize(&ids);
        return ids;
      default:
        return std::nullopt;
    }
  }

  static void Normalize(std::vector<std::string>* ids) {
    std::sort(ids->begin(), ids->end());
    ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
  }

  void CollectEqualities(std::size_t index) {
    using query_internal::FilterOp;
    const std::vector<query_internal::FilterNode>& nodes = program_->nodes();
    const query_internal::FilterNode& node = nodes[index];
    if (node.op == FilterOp::kEqual && node.equality) {
      equalities_.push_back(Equality{program_->paths()[node.path].ToString(), node.literal});
    } else if (node.op == FilterOp::kAnd) {
      const std::size_t end = index + node.subtree_size;
      for (std::size_t i = index + 1; i < end; i += nodes[i].subtree_size) CollectEqualities(i);
    }
  }

  std::shared_ptr<const query_internal::FilterProgram> program_;
  std::optional<std::vector<std::string>> id_candidates_;
  std::vector<Equality> equalities_;
  FilterErrors* errors_ = nullptr;  // Null: errors are not asked for.
};

}  // namespace alos

#endif  // ALOS_QUERY_FILTER_H_
