// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A filter asked of the columns of a segment instead of documents.
//
// Each predicate of the filter whose path has an index becomes a set of codes of that index's
// column; a row's code then tells whether the predicate holds, does not, or whether only the
// document can tell (kMaybe: an array or a document is compared as a whole, a long string was cut
// in the index). A predicate without an index is kMaybe for every row. The filter's logic is
// evaluated in this three-valued logic (Kleene's): AND is the minimum, OR the maximum, NOT the
// mirror. So a row whose verdict is kNo or kYes needs no look at its document, whatever the filter.

#ifndef ALOS_QUERY_INDEX_PREDICATE_H_
#define ALOS_QUERY_INDEX_PREDICATE_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/parallel.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/index/column.h"
#include "alos/index/index_key.h"
#include "alos/index/segment.h"
#include "alos/index/text_scan.h"
#include "alos/query/filter.h"
#include "alos/query/internal/regex.h"
#include "alos/query/internal/verdict_kernels.h"
#include "re2/re2.h"

namespace alos {

// What the indexes say of a row.
enum class Verdict : std::uint8_t { kNo = 0, kMaybe = 1, kYes = 2 };

// A filter with each of its predicates tied to an index or to none.
//
// Threads: immutable. Lifetime: the filter must outlive it. Durability, errors: none.
class IndexPredicate {
 public:
  enum class Kind : std::uint8_t { kTrue, kFalse, kUnknown, kAnd, kOr, kNot, kLeaf };
  struct Node {
    Kind kind = Kind::kUnknown;
    std::uint32_t subtree_size = 1;  // nodes, this one included; in prefix order
    std::uint32_t filter_node = 0;   // kLeaf, kUnknown: the predicate
    std::uint32_t index_id = 0;      // kLeaf
    std::uint32_t text = 0;          // kLeaf about text: its pattern
  };

  // An index of several fields, and what of the filter's top conjunction it covers.
  struct Compound {
    std::uint32_t index_id = 0;
    std::vector<std::size_t> equal;  // nodes: equalities on its first paths, one each
    std::vector<std::size_t> range;  // nodes: bounds on the path after those
    std::string next_path;           // the path after those with an equality; may be empty
  };

  // `index_of(path)` gives the id of the index of a dotted path, or nullopt. A path that an index
  // would help with and that has none is added to *wanted (nullptr: not asked for).
  template <class IndexOf>
  IndexPredicate(const Filter& filter, IndexOf&& index_of, std::vector<std::string>* wanted)
      : program_(&filter.program()) {
    Add(0, index_of, wanted);
  }

  const query_internal::FilterProgram& program() const { return *program_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Compound>& compounds() const { return compounds_; }
  // Paths with an equality in the top conjunction.
  std::vector<std::string> EqualPaths() const {
    std::vector<std::string> paths;
    ForEachConjunct(0, [&](std::size_t index) {
      const query_internal::FilterNode& node = program_->nodes()[nodes_[index].filter_node];
      if (IsScalarEquality(node)) paths.push_back(program_->paths()[node.path].ToString());
    });
    return paths;
  }

  // Tells of an index of several fields.
  void AddCompound(std::uint32_t index_id, absl::Span<const std::string> paths) {
    Compound compound;
    compound.index_id = index_id;
    std::size_t covered = 0;
    for (; covered < paths.size(); ++covered) {
      std::optional<std::size_t> equality;
      ForEachConjunct(0, [&](std::size_t index) {
        const query_internal::FilterNode& node = program_->nodes()[nodes_[index].filter_node];
        if (!equality && IsScalarEquality(node) && IsOn(node, paths[covered])) equality = index;
      });
      if (!equality) break;
      compound.equal.push_back(*equality);
    }
    if (covered == 0) return;
    if (covered < paths.size()) {
      compound.next_path = paths[covered];
      ForEachConjunct(0, [&](std::size_t index) {
        const query_internal::FilterNode& node = program_->nodes()[nodes_[index].filter_node];
        if (IsBound(node) && IsOn(node, paths[covered])) compound.range.push_back(index);
      });
    }
    compounds_.push_back(std::move(compound));
  }

  const TextPattern& text(const Node& node) const { return *texts_[node.text]; }
  bool has_leaves() const { return has_leaves_; }
  // Ids of the indexes whose text is searched.
  const std::vector<std::uint32_t>& text_indexes() const { return text_indexes_; }

 private:
  static bool IsScalarEquality(const query_internal::FilterNode& node) {
    return node.op == query_internal::FilterOp::kEqual && node.path != query_internal::kNoPath &&
           !node.literal.IsNull() && !node.literal.IsArray() && !node.literal.IsDocument();
  }
  static bool IsBound(const query_internal::FilterNode& node) {
    using query_internal::FilterOp;
    return (node.op == FilterOp::kGreater || node.op == FilterOp::kGreaterOrEqual ||
            node.op == FilterOp::kLess || node.op == FilterOp::kLessOrEqual) &&
           node.path != query_internal::kNoPath && !node.literal.IsArray() &&
           !node.literal.IsDocument() && !query_internal::IsNan(node.literal);
  }
  bool IsOn(const query_internal::FilterNode& node, std::string_view path) const {
    return program_->paths()[node.path].ToString() == path;
  }

  // Calls `visit(node)` for the predicates of the top conjunction.
  template <class Visit>
  void ForEachConjunct(std::size_t index, Visit&& visit) const {
    const Node& node = nodes_[index];
    if (node.kind == Kind::kLeaf || node.kind == Kind::kUnknown) {
      visit(index);
    } else if (node.kind == Kind::kAnd) {
      for (std::size_t i = index + 1; i < index + node.subtree_size; i += nodes_[i].subtree_size)
        ForEachConjunct(i, visit);
    }
  }

  // Whether the codes of a path's column can tell anything about this predicate.
  static bool IsIndexable(const query_internal::FilterNode& node) {
    using query_internal::FilterOp;
    if (node.path == query_internal::kNoPath) return false;
    switch (node.op) {
      case FilterOp::kEqual:
      case FilterOp::kGreater:
      case FilterOp::kGreaterOrEqual:
      case FilterOp::kLess:
      case FilterOp::kLessOrEqual:
      case FilterOp::kIn:
      case FilterOp::kExists:
      case FilterOp::kRegex:
      case FilterOp::kTextWord:
      case FilterOp::kType:
      case FilterOp::kSize:
      case FilterOp::kModulo:
      case FilterOp::kElementMatchesDocument:
      case FilterOp::kElementMatchesValue:
        return true;
      default:
        return false;
    }
  }

  template <class IndexOf>
  void Add(std::size_t index, IndexOf&& index_of, std::vector<std::string>* wanted) {
    using query_internal::FilterOp;
    const std::vector<query_internal::FilterNode>& filter = program_->nodes();
    const query_internal::FilterNode& node = filter[index];
    const std::size_t end = index + node.subtree_size;
    const auto group = [&](Kind kind) {
      const std::size_t at = nodes_.size();
      nodes_.push_back({kind});
      for (std::size_t i = index + 1; i < end; i += filter[i].subtree_size)
        Add(i, index_of, wanted);
      nodes_[at].subtree_size = static_cast<std::uint32_t>(nodes_.size() - at);
    };
    switch (node.op) {
      case FilterOp::kTrue:
        nodes_.push_back({Kind::kTrue});
        return;
      case FilterOp::kFalse:
        nodes_.push_back({Kind::kFalse});
        return;
      case FilterOp::kAnd:
        return group(Kind::kAnd);
      case FilterOp::kOr:
        return group(Kind::kOr);
      case FilterOp::kNot:
        return group(Kind::kNot);
      case FilterOp::kNor: {
        const std::size_t at = nodes_.size();
        nodes_.push_back({Kind::kNot});
        group(Kind::kOr);
        nodes_[at].subtree_size = static_cast<std::uint32_t>(nodes_.size() - at);
        return;
      }
      default:
        break;
    }
    if (!IsIndexable(node)) {
      nodes_.push_back({Kind::kUnknown, 1, static_cast<std::uint32_t>(index)});
      return;
    }
    const std::string path = program_->paths()[node.path].ToString();
    const std::optional<std::uint32_t> id = index_of(path);
    if (!id) {
      if (wanted != nullptr) wanted->push_back(path);
      nodes_.push_back({Kind::kUnknown, 1, static_cast<std::uint32_t>(index)});
      return;
    }
    has_leaves_ = true;
    nodes_.push_back({Kind::kLeaf, 1, static_cast<std::uint32_t>(index), *id,
                      static_cast<std::uint32_t>(texts_.size())});
    if (node.op == FilterOp::kRegex) {
      texts_.push_back(
          std::make_unique<TextPattern>(program_->regexes()[node.operand].compiled.get()));
      text_indexes_.push_back(*id);
    } else if (node.op == FilterOp::kTextWord) {
      const query_internal::TextSearch& search = program_->texts()[node.operand];
      texts_.push_back(std::make_unique<TextPattern>(
          TrigramQuery::FromWords(search.words(), TrigramQuery::Words::kAny),
          [&search](std::string_view text) { return search.HasWord(text); }));
      text_indexes_.push_back(*id);
    }
  }

  const query_internal::FilterProgram* program_;
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<TextPattern>> texts_;
  std::vector<std::uint32_t> text_indexes_;
  std::vector<Compound> compounds_;
  bool has_leaves_ = false;
};

// Some rows of a segment and what is known of them.
struct RowBatch {
  std::uint32_t size = 0;
  std::uint32_t first = 0;                 // of consecutive rows
  const std::uint32_t* rows = nullptr;     // nullptr: consecutive ones
  const std::uint8_t* verdicts = nullptr;  // as Verdict; nullptr: all kYes

  std::uint32_t row(std::uint32_t i) const { return rows != nullptr ? rows[i] : first + i; }
  Verdict verdict(std::uint32_t i) const {
    return verdicts != nullptr ? static_cast<Verdict>(verdicts[i]) : Verdict::kYes;
  }
};

// The predicate over one segment: leaves resolved to codes, and a way chosen to come to the rows.
//
// Threads: ScanRows by several at once after PrepareScan; the rest by one.
// Lifetime: predicate and segment must outlive it. Durability, errors: none.
// Cost: resolving an equality or a bound is one search in a dictionary. Rows are reached through
// the postings of the rarest predicate when that is rare, otherwise by a scan of the columns, 1,024
// rows at a time. A regular expression that drives is matched key by key, as rows are asked for.
class SegmentPredicate {
 public:
  static constexpr std::uint32_t kBatchRows = 1024;

  struct Counters {
    std::uint64_t keys_examined = 0;  // entries of postings, rows of columns, keys matched
    std::uint64_t bytes_read = 0;     // of columns and dictionaries
  };

  // `use_dead`: dead rows are left out. False for snapshots that may see them.
  SegmentPredicate(const IndexPredicate& predicate, const Segment& segment, bool use_dead)
      : predicate_(predicate),
        program_(predicate.program()),
        segment_(segment),
        dead_(use_dead ? segment.dead.get() : nullptr),
        leaves_(predicate.nodes().size()) {
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      if (predicate_.nodes()[i].kind == IndexPredicate::Kind::kLeaf) Resolve(i);
    }
    JoinBounds();
    ChooseWay();
    bool settled = false;
    for (std::size_t i = 0; i < leaves_.size(); ++i) settled = SettleText(i) || settled;
    // What text matches is known now, and may be the shortest way.
    if (settled) ChooseWay();
  }

  const Segment& segment() const { return segment_; }
  // Of the matching of text before rows were asked for.
  const Counters& resolve_counters() const { return text_counters_; }

  // No row can match.
  bool is_empty() const { return driver_estimate_ == 0; }
  // Rows are reached through postings, about so many; otherwise all rows are looked at.
  bool has_driver() const { return has_driver_; }
  std::uint64_t driver_estimate() const { return driver_estimate_; }
  bool drives_by_text() const { return text_driver_ != kNone; }
  // The index through which rows are reached; REQUIRES has_driver() and not is_empty().
  std::uint32_t driver_index() const {
    return compound_ ? compound_->index_id : predicate_.nodes()[driver_[0]].index_id;
  }
  // Some predicate is a scan over text that no trigram of an index helps with.
  bool scans_text() const { return scans_text_; }
  // Every row of the segment matches and is live.
  bool takes_everything() const {
    return predicate_.nodes()[0].kind == Kind::kTrue && dead_ == nullptr;
  }
  // Each verdict is kNo or kYes.
  bool is_exact() const { return IsExact(0); }

  // The number of rows that match when that can be read off the dictionaries.
  std::optional<std::uint64_t> CountByCodes(Counters* counters) const {
    const std::optional<std::uint64_t> all = CountNode(0, counters);
    if (!all || dead_ == nullptr) return all;
    std::uint64_t dead = 0;
    for (std::size_t word = 0; word < dead_->bits.size(); ++word) {
      for (std::uint64_t bits = dead_->bits[word]; bits != 0; bits &= bits - 1) {
        const auto row = static_cast<std::uint32_t>(word * 64 + std::countr_zero(bits));
        dead += Evaluate(0, row) == Verdict::kYes;
      }
    }
    counters->keys_examined += dead_->count;
    return *all - dead;
  }

  // What the indexes say of a row; dead rows are not told from others.
  Verdict Evaluate(std::uint32_t row) const { return Evaluate(0, row); }
  bool IsDead(std::uint32_t row) const { return dead_ != nullptr && dead_->Has(row); }

  // The codes [first, end) of a compound index's column that the filter's equalities on its first
  // fields leave, and bounds on the next one; nullopt when the segment cannot tell.
  std::optional<std::pair<Code, Code>> CompoundCodes(
      const IndexPredicate::Compound& compound) const {
    const SegmentColumn* segment_column = segment_.FindColumn(compound.index_id);
    if (segment_column == nullptr) return std::nullopt;
    const Column& column = segment_column->column();
    if (column.has_overflow()) return std::nullopt;
    std::string prefix;
    for (const std::size_t index : compound.equal) {
      if (!AppendIndexKeyComponent(FilterOf(index).literal, &prefix)) return std::nullopt;
    }
    std::string first = prefix;
    std::string end = IndexKeyPrefixEnd(prefix);
    for (const std::size_t index : compound.range) {
      using query_internal::FilterOp;
      const query_internal::FilterNode& filter = FilterOf(index);
      std::string bound = prefix;
      const bool whole = AppendIndexKeyComponent(filter.literal, &bound);
      const bool is_lower =
          filter.op == FilterOp::kGreater || filter.op == FilterOp::kGreaterOrEqual;
      const bool with_equal =
          !whole || filter.op == FilterOp::kGreaterOrEqual || filter.op == FilterOp::kLessOrEqual;
      // Within the class of the bound.
      std::string key;
      AppendIndexKey(filter.literal, &key);
      const KeyClass key_class = IndexKeyClass(key);
      if (is_lower) {
        first = std::max(first, with_equal ? bound : IndexKeyPrefixEnd(bound));
        end = std::min(end, absl::StrCat(prefix, EndKeyOfClass(key_class)));
      } else {
        first = std::max(first, absl::StrCat(prefix, FirstKeyOfClass(key_class)));
        end = std::min(end, with_equal ? IndexKeyPrefixEnd(bound) : bound);
      }
      // Of an array one element may meet one bound, and another the other.
      if (column.has_lists()) break;
    }
    const Code first_code = column.LowerBound(first);
    const Code end_code = std::max(first_code, column.LowerBound(end));
    return std::make_pair(first_code, end_code);
  }
  // While rows of a compound index's codes are looked at: its equalities hold.
  void AssumeEqual(const IndexPredicate::Compound& compound, bool assume) {
    for (const std::size_t index : compound.equal) {
      leaves_[index].is_assumed = assume;
      leaves_[index].assumed = Verdict::kYes;
    }
  }

  // Calls `visit(const RowBatch&) -> bool` for the rows that may match, each once, dead ones left
  // out, until it returns false. Verdicts are kYes or kMaybe, or kNo in batches of consecutive
  // rows.
  template <class Visit>
  void ForEachBatch(Counters* counters, Visit&& visit) {
    if (is_empty()) return;
    if (!has_driver_) {
      PrepareScan();
      ScanRows(0, segment_.rows, counters, visit);
    } else if (text_driver_ != kNone) {
      DriveByText(counters, visit);
    } else {
      DriveByPostings(counters, visit);
    }
  }

  // Makes what ScanRows of several threads share.
  void PrepareScan() {
    for (std::size_t i = 0; i < leaves_.size(); ++i) PrepareLeaf(i);
  }

  // As ForEachBatch, for the rows [begin, end), by looking at all of them. `begin` is a multiple of
  // 64.
  template <class Visit>
  void ScanRows(std::uint32_t begin, std::uint32_t end, Counters* counters, Visit&& visit) const {
    std::vector<Block> scratch(DepthOf(0) + 1);
    const bool everything = takes_everything();
    for (std::uint32_t first = begin; first < end; first += kBatchRows) {
      RowBatch batch;
      batch.first = first;
      batch.size = std::min(kBatchRows, end - first);
      if (!everything) {
        std::uint8_t* verdicts = scratch[0].data();
        EvaluateBlock(0, first, batch.size, scratch.data());
        if (dead_ != nullptr) ClearDead(first, batch.size, verdicts);
        batch.verdicts = verdicts;
      }
      counters->keys_examined += batch.size;
      if (!visit(static_cast<const RowBatch&>(batch))) return;
    }
  }

 private:
  using Kind = IndexPredicate::Kind;
  using Block = std::array<std::uint8_t, kBatchRows>;
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  static constexpr std::uint64_t kNoEstimate = std::numeric_limits<std::uint64_t>::max();
  // Rows reached through postings cost about as much as so many of a scan.
  static constexpr std::uint64_t kScanAdvantage = 12;
  // Text of so many keys is matched by all cores.
  static constexpr std::uint64_t kParallelKeysMin = 1 << 15;
  static constexpr std::size_t kTextParts = 8;
  static constexpr std::uint32_t kGatherRowsMin = 8;
  static constexpr std::uint32_t kCoarseBits = 4096;

  // Codes [first, end) that mean the same; ascending, disjoint.
  struct Interval {
    Code first = 0;
    Code end = 0;
    Verdict verdict = Verdict::kYes;
  };
  using Intervals = absl::InlinedVector<Interval, 2>;

  enum class Mode : std::uint8_t {
    kUnknown,    // no column here: kMaybe for all
    kIntervals,  // the codes that are not kNo
    kText,       // a regular expression or words, not matched yet
    kByKey,      // ask the predicate about the key of each row
  };

  struct Leaf {
    Mode mode = Mode::kUnknown;
    const SegmentColumn* column = nullptr;
    Intervals intervals;
    std::uint64_t estimate = kNoEstimate;  // entries that are not kNo
    std::uint64_t text_keys = 0;           // kText: keys that would have to be matched
    bool is_joined = false;                // part of another leaf of the same conjunction
    bool is_assumed = false;               // the rows come from here: `assumed` holds for them
    Verdict assumed = Verdict::kYes;
    bool has_large_numbers = false;  // kByKey of $mod: some key may be kMaybe
    Code text_first = 0;             // kText: the codes of strings
    Code text_end = 0;
    std::vector<std::uint8_t> table;  // verdict by code, list numbers behind the keys
    std::vector<std::uint8_t> list_table;
    // Of many intervals: a bit for every 2^coarse_shift codes, set where one of them may be there.
    std::vector<std::uint64_t> coarse;
    int coarse_shift = 0;
    // kText: a bit for each row, set where it may match what else the filter asks for. Empty: of
    // all rows.
    std::vector<std::uint64_t> few_rows;

    bool MayHave(Code code) const {
      if (coarse.empty()) return true;
      const Code bit = code >> coarse_shift;
      return (coarse[bit / 64] >> bit % 64 & 1) != 0;
    }
  };

  // --- Resolving a leaf.

  void Resolve(std::size_t node_index) {
    using query_internal::FilterOp;
    const IndexPredicate::Node& node = predicate_.nodes()[node_index];
    Leaf& leaf = leaves_[node_index];
    leaf.column = segment_.FindColumn(node.index_id);
    // A column that lacks entries cannot tell that a value is not there.
    if (leaf.column == nullptr || leaf.column->column().has_overflow()) return;
    const query_internal::FilterNode& filter = program_.nodes()[node.filter_node];
    leaf.mode = Mode::kIntervals;
    switch (filter.op) {
      case FilterOp::kEqual:
        AddEqual(filter.literal, &leaf);
        break;
      case FilterOp::kIn:
        for (const ValueView value : program_.lists()[filter.operand].values)
          AddEqual(value, &leaf);
        break;
      case FilterOp::kGreater:
      case FilterOp::kGreaterOrEqual:
      case FilterOp::kLess:
      case FilterOp::kLessOrEqual:
        AddRange(filter, &leaf);
        break;
      case FilterOp::kExists:
        AddInterval(1, end_code(leaf), Verdict::kYes, &leaf);
        break;
      case FilterOp::kRegex:
      case FilterOp::kTextWord:
        leaf.mode = Mode::kText;
        leaf.estimate = EstimateText(node, &leaf);
        return;
      case FilterOp::kType:
        AddTypes(filter.operand, &leaf);
        break;
      case FilterOp::kModulo:
        AddClass(KeyClass::kNumber, Verdict::kMaybe, &leaf);
        if (!leaf.intervals.empty()) leaf.mode = Mode::kByKey;
        leaf.has_large_numbers = HasLargeNumbers(leaf.column->column());
        break;
      case FilterOp::kSize:
      case FilterOp::kElementMatchesDocument:
      case FilterOp::kElementMatchesValue:
        AddClass(KeyClass::kArray, Verdict::kMaybe, &leaf);
        break;
      default:
        leaf.mode = Mode::kUnknown;
        return;
    }
    Normalize(&leaf);
  }

  // From 2^63 on an integer has a remainder, and the double that is equal to it has none. They have
  // one key.
  static bool HasLargeNumbers(const Column& column) {
    std::string value;
    Builder(&value).Uint(std::uint64_t{1} << 63);
    std::string key;
    AppendIndexKey(ValueView::FromTrusted(value), &key);
    return column.LowerBound(key) < column.LowerBound(EndKeyOfClass(KeyClass::kNumber));
  }

  static Code end_code(const Leaf& leaf) { return leaf.column->column().key_count() + 1; }

  static void AddInterval(Code first, Code end, Verdict verdict, Leaf* leaf) {
    if (first < end) leaf->intervals.push_back({first, end, verdict});
  }

  static void AddClass(KeyClass key_class, Verdict verdict, Leaf* leaf) {
    const Column& column = leaf->column->column();
    AddInterval(column.LowerBound(FirstKeyOfClass(key_class)),
                column.LowerBound(EndKeyOfClass(key_class)), verdict, leaf);
  }

  static void AddEqual(ValueView literal, Leaf* leaf) {
    if (literal.IsArray() || literal.IsDocument()) {
      AddClass(literal.IsArray() ? KeyClass::kArray : KeyClass::kDocument, Verdict::kMaybe, leaf);
      return;
    }
    if (literal.IsNull()) AddInterval(kMissingCode, kMissingCode + 1, Verdict::kYes, leaf);
    std::string key;
    const bool whole = AppendIndexKey(literal, &key);
    if (const std::optional<Code> code = leaf->column->column().Find(key))
      AddInterval(*code, *code + 1, whole ? Verdict::kYes : Verdict::kMaybe, leaf);
  }

  static void AddRange(const query_internal::FilterNode& filter, Leaf* leaf) {
    using query_internal::FilterOp;
    const ValueView literal = filter.literal;
    if (literal.IsArray() || literal.IsDocument()) {
      AddClass(literal.IsArray() ? KeyClass::kArray : KeyClass::kDocument, Verdict::kMaybe, leaf);
      return;
    }
    const Column& column = leaf->column->column();
    std::string key;
    const bool whole = AppendIndexKey(literal, &key);
    const bool or_equal =
        filter.op == FilterOp::kGreaterOrEqual || filter.op == FilterOp::kLessOrEqual;
    const std::optional<Code> equal = column.Find(key);
    if (query_internal::IsNan(literal)) {
      if (or_equal && equal) AddInterval(*equal, *equal + 1, Verdict::kYes, leaf);
      return;
    }
    const KeyClass key_class = IndexKeyClass(key);
    const Code at = equal ? *equal : column.LowerBound(key);
    const Code after = equal ? *equal + 1 : at;
    // A key that was cut, or that this one was cut to, may lie on either side.
    const bool ambiguous = equal && (!whole || IsCutIndexKey(key));
    if (ambiguous) AddInterval(at, after, Verdict::kMaybe, leaf);
    if (filter.op == FilterOp::kGreater || filter.op == FilterOp::kGreaterOrEqual) {
      const Code first = ambiguous || !or_equal ? after : at;
      AddInterval(first, column.LowerBound(EndKeyOfClass(key_class)), Verdict::kYes, leaf);
    } else {
      // NaN sorts first among numbers and is below nothing.
      const Code first = column.LowerBound(
          key_class == KeyClass::kNumber ? FirstIndexKeyAfterNan() : FirstKeyOfClass(key_class));
      AddInterval(first, ambiguous || !or_equal ? at : after, Verdict::kYes, leaf);
    }
  }

  static void AddTypes(std::uint32_t mask, Leaf* leaf) {
    const auto has = [&](ValueType type) { return (mask >> static_cast<unsigned>(type) & 1) != 0; };
    const auto add = [&](ValueType type, KeyClass key_class) {
      if (has(type)) AddClass(key_class, Verdict::kYes, leaf);
    };
    add(ValueType::kNull, KeyClass::kNull);
    add(ValueType::kString, KeyClass::kString);
    add(ValueType::kDocument, KeyClass::kDocument);
    add(ValueType::kArray, KeyClass::kArray);
    add(ValueType::kBinary, KeyClass::kBinary);
    add(ValueType::kBool, KeyClass::kBool);
    add(ValueType::kTimestamp, KeyClass::kTimestamp);
    add(ValueType::kExtension, KeyClass::kExtension);
    const bool integers = has(ValueType::kInt64);
    const bool doubles = has(ValueType::kDouble);
    if (integers && doubles) {
      AddClass(KeyClass::kNumber, Verdict::kYes, leaf);
    } else if (integers || doubles) {
      const NumberTypes types = leaf->column->column().number_types();
      if (types == (integers ? NumberTypes::kIntegers : NumberTypes::kDoubles)) {
        AddClass(KeyClass::kNumber, Verdict::kYes, leaf);
      } else if (types == NumberTypes::kMixed) {
        AddClass(KeyClass::kNumber, Verdict::kMaybe, leaf);
      }
    }
  }

  // Sorts and joins the intervals, and counts their entries.
  static void Normalize(Leaf* leaf) {
    auto& intervals = leaf->intervals;
    std::sort(intervals.begin(), intervals.end(),
              [](const Interval& a, const Interval& b) { return a.first < b.first; });
    std::size_t kept = 0;
    for (const Interval& next : intervals) {
      if (kept > 0 && intervals[kept - 1].end >= next.first &&
          intervals[kept - 1].verdict == next.verdict) {
        intervals[kept - 1].end = std::max(intervals[kept - 1].end, next.end);
      } else {
        intervals[kept++] = next;
      }
    }
    intervals.resize(kept);
    leaf->estimate = 0;
    for (const Interval& interval : intervals)
      leaf->estimate += leaf->column->column().CountEntries(interval.first, interval.end);
    MakeCoarse(leaf);
  }

  static void MakeCoarse(Leaf* leaf) {
    leaf->coarse.clear();
    if (leaf->intervals.size() <= 2 || leaf->intervals.size() > kCoarseBits / 8) return;
    const Code last = leaf->column->column().key_count();
    leaf->coarse_shift = std::max(0, static_cast<int>(std::bit_width(last)) -
                                         static_cast<int>(std::countr_zero(kCoarseBits)));
    leaf->coarse.assign((last >> leaf->coarse_shift) / 64 + 1, 0);
    for (const Interval& interval : leaf->intervals) {
      for (Code bit = interval.first >> leaf->coarse_shift;
           bit <= (interval.end - 1) >> leaf->coarse_shift; ++bit) {
        leaf->coarse[bit / 64] |= std::uint64_t{1} << bit % 64;
      }
    }
  }

  std::uint64_t EstimateText(const IndexPredicate::Node& node, Leaf* leaf) {
    const Column& column = leaf->column->column();
    leaf->text_first = column.LowerBound(FirstKeyOfClass(KeyClass::kString));
    leaf->text_end = column.LowerBound(EndKeyOfClass(KeyClass::kString));
    if (leaf->text_end <= leaf->text_first) return 0;
    const std::uint64_t all = column.CountEntries(leaf->text_first, leaf->text_end);
    leaf->text_keys = leaf->text_end - leaf->text_first;
    const TrigramQuery& query = predicate_.text(node).query();
    if (!CanUseTrigrams(leaf->column->text(), query)) {
      scans_text_ = scans_text_ || !query.is_usable();
      return all;
    }
    // The keys that have to be looked at, and the entries that they have on average.
    const std::uint64_t keys =
        leaf->column->text()->EstimateChunks(query) * TrigramIndex::kChunkKeys;
    leaf->text_keys = std::min(leaf->text_keys, keys);
    const std::uint64_t entries_per_key = all / (leaf->text_end - leaf->text_first) + 1;
    return std::min(all, keys * entries_per_key);
  }

  // Conditions of one conjunction on one field, such as two bounds, become one set of codes. Not
  // where rows have several entries: there each condition may have its own.
  void JoinBounds() {
    for (std::size_t index = 0; index < predicate_.nodes().size(); ++index) {
      const IndexPredicate::Node& node = predicate_.nodes()[index];
      if (node.kind != Kind::kAnd) continue;
      const std::size_t end = index + node.subtree_size;
      for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
        for (std::size_t j = index + 1; j < i; j += predicate_.nodes()[j].subtree_size) {
          if (predicate_.nodes()[i].kind != Kind::kLeaf ||
              predicate_.nodes()[j].kind != Kind::kLeaf ||
              predicate_.nodes()[i].index_id != predicate_.nodes()[j].index_id) {
            continue;
          }
          Leaf& other = leaves_[i];
          Leaf& leaf = leaves_[j];
          if (other.mode != Mode::kIntervals || leaf.mode != Mode::kIntervals || leaf.is_joined ||
              leaf.column->column().has_lists()) {
            continue;
          }
          leaf.intervals = Intersection(leaf.intervals, other.intervals);
          Normalize(&leaf);
          other.is_joined = true;
          break;
        }
      }
    }
  }

  static Intervals Intersection(const Intervals& a, const Intervals& b) {
    Intervals both;
    for (const Interval& one : a) {
      for (const Interval& other : b) {
        const Code first = std::max(one.first, other.first);
        const Code end = std::min(one.end, other.end);
        if (first < end) both.push_back({first, end, std::min(one.verdict, other.verdict)});
      }
    }
    return both;
  }

  // --- The way to the rows.

  void ChooseWay() {
    has_driver_ = false;
    driver_.clear();
    text_driver_ = kNone;
    compound_ = nullptr;
    ChooseDriver();
    if (!is_empty()) ChooseCompound();
  }

  void ChooseDriver() {
    std::vector<std::size_t> driver;
    const std::uint64_t estimate = DriverOf(0, &driver);
    driver_estimate_ = estimate;
    if (estimate == 0) return;
    const bool by_text = driver.size() == 1 && leaves_[driver[0]].mode == Mode::kText;
    if (estimate == kNoEstimate) return;
    if (!by_text && estimate > segment_.rows / kScanAdvantage) return;
    has_driver_ = true;
    driver_ = std::move(driver);
    if (by_text) text_driver_ = driver_[0];
  }

  // An index of several fields, where that leads to fewer rows.
  void ChooseCompound() {
    for (const IndexPredicate::Compound& compound : predicate_.compounds()) {
      if (compound.equal.size() + !compound.range.empty() < 2) continue;
      const std::optional<std::pair<Code, Code>> codes = CompoundCodes(compound);
      if (!codes) continue;
      const Column& column = segment_.FindColumn(compound.index_id)->column();
      const std::uint64_t estimate = column.CountEntries(codes->first, codes->second);
      if (estimate >= driver_estimate_ && has_driver_) continue;
      const absl::Span<const Code> dense = column.dense_codes();
      const auto at = std::lower_bound(dense.begin(), dense.end(), codes->first);
      if (at != dense.end() && *at < codes->second) continue;
      if (estimate > segment_.rows / kScanAdvantage) continue;
      has_driver_ = true;
      text_driver_ = kNone;
      driver_.clear();
      driver_estimate_ = estimate;
      compound_ = &compound;
      compound_codes_ = *codes;
    }
  }

  const query_internal::FilterNode& FilterOf(std::size_t index) const {
    return program_.nodes()[predicate_.nodes()[index].filter_node];
  }

  // The leaves whose rows together hold every match, and how many entries they have at most.
  std::uint64_t DriverOf(std::size_t index, std::vector<std::size_t>* driver) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    const std::size_t end = index + node.subtree_size;
    switch (node.kind) {
      case Kind::kFalse:
        return 0;
      case Kind::kAnd: {
        std::uint64_t best = kNoEstimate;
        for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
          std::vector<std::size_t> candidate;
          const std::uint64_t estimate = DriverOf(i, &candidate);
          if (estimate < best) {
            best = estimate;
            *driver = std::move(candidate);
          }
        }
        return best;
      }
      case Kind::kOr: {
        std::uint64_t sum = 0;
        for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
          // A branch may put another way in the place of one it has tried.
          std::vector<std::size_t> branch;
          const std::uint64_t estimate = DriverOf(i, &branch);
          if (estimate == kNoEstimate) return kNoEstimate;
          sum += estimate;
          if (estimate != 0) driver->insert(driver->end(), branch.begin(), branch.end());
        }
        return sum;
      }
      case Kind::kLeaf: {
        const Leaf& leaf = leaves_[index];
        if (leaf.mode == Mode::kUnknown || leaf.is_joined) return kNoEstimate;
        if (leaf.estimate == 0) return 0;
        if (leaf.mode != Mode::kText && HasDense(leaf)) return kNoEstimate;
        driver->push_back(index);
        return leaf.estimate;
      }
      default:
        return kNoEstimate;
    }
  }

  static bool HasDense(const Column& column, const Interval& interval) {
    const absl::Span<const Code> dense = column.dense_codes();
    const auto at = std::lower_bound(dense.begin(), dense.end(), interval.first);
    return at != dense.end() && *at < interval.end;
  }
  static bool HasDense(const Leaf& leaf) {
    for (const Interval& interval : leaf.intervals) {
      if (HasDense(leaf.column->column(), interval)) return true;
    }
    return false;
  }

  // A regular expression that does not drive alone is matched against the dictionary now, or, where
  // that is more work, against the key of each row that is asked about. True: now.
  bool SettleText(std::size_t index) {
    Leaf& leaf = leaves_[index];
    if (leaf.mode != Mode::kText || index == text_driver_ || is_empty()) return false;
    const bool drives = std::find(driver_.begin(), driver_.end(), index) != driver_.end();
    // A key out of order costs as much as many in order.
    constexpr std::uint64_t kKeyAdvantage = 32;
    if (has_driver_ && !drives && driver_estimate_ < leaf.text_keys / kKeyAdvantage) {
      leaf.mode = Mode::kByKey;
      return false;
    }
    leaf.mode = Mode::kIntervals;
    AddTextMatches(index, leaf.text_first);
    return true;
  }

  // Adds the codes from `first` on whose text matches, on all cores if they are many.
  void AddTextMatches(std::size_t index, Code first) {
    Leaf& leaf = leaves_[index];
    const bool is_regex = FilterOf(index).op == query_internal::FilterOp::kRegex;
    const std::uint64_t keys = leaf.text_end - first;
    NoteFewRows(index);
    const std::size_t parts = leaf.text_keys < kParallelKeysMin ? 1 : kTextParts;
    std::vector<std::vector<Interval>> found(parts);
    std::vector<Counters> counters(parts);
    RunInParallel(parts, [&](std::size_t part) {
      // Threads that share an RE2 wait for each other at every key.
      absl::StatusOr<std::unique_ptr<const re2::RE2>> own(nullptr);
      std::optional<TextPattern> pattern;
      if (parts > 1 && is_regex) {
        const query_internal::FilterProgram::Regex& regex = RegexOf(index);
        own = query_internal::CompileRegex(regex.pattern, regex.options);
      }
      if (own.ok() && *own != nullptr) pattern.emplace(own->get());
      ForEachTextMatch(
          index, pattern ? *pattern : SharedPattern(index),
          first + static_cast<Code>(keys * part / parts),
          first + static_cast<Code>(keys * (part + 1) / parts), &counters[part],
          [&](Code code, bool certain) {
            found[part].push_back({code, code + 1, certain ? Verdict::kYes : Verdict::kMaybe});
            return true;
          });
      return true;
    });
    for (std::size_t part = 0; part < parts; ++part) {
      leaf.intervals.insert(leaf.intervals.end(), found[part].begin(), found[part].end());
      text_counters_.keys_examined += counters[part].keys_examined;
      text_counters_.bytes_read += counters[part].bytes_read;
    }
    Normalize(&leaf);
  }

  const query_internal::FilterProgram::Regex& RegexOf(std::size_t index) const {
    return program_.regexes()[FilterOf(index).operand];
  }
  const TextPattern& SharedPattern(std::size_t index) const {
    return predicate_.text(predicate_.nodes()[index]);
  }

  // Calls `visit(code, certain)` for the codes in [first, end) whose text matches, until it returns
  // false.
  template <class Visit>
  void ForEachTextMatch(std::size_t index, const TextPattern& pattern, Code first, Code end,
                        Counters* counters, Visit&& visit) const {
    const Leaf& leaf = leaves_[index];
    const auto scan = [&](auto... select) {
      return ScanText(leaf.column->column(), leaf.column->text(), pattern, first, end, visit,
                      std::move(select)...);
    };
    const std::vector<std::size_t> others = OtherConjuncts(index);
    const TextScanCounts counts = others.empty() ? scan() : scan(RowsFirst(*this, others, leaf));
    counters->keys_examined += counts.keys_examined;
    counters->bytes_read += counts.bytes_read;
  }

  // Notes which rows some part of the top conjunction leaves, where that costs less than to ask the
  // columns about each candidate of the text: a bit is set in the cache, a column is read from
  // memory.
  void NoteFewRows(std::size_t text) {
    Leaf& leaf = leaves_[text];
    std::vector<std::size_t> fewest;
    std::uint64_t entries = kNoEstimate;
    for (const std::size_t other : OtherConjuncts(text)) {
      std::vector<std::size_t> driver;
      const std::uint64_t estimate = DriverOf(other, &driver);
      if (estimate >= entries) continue;
      entries = estimate;
      fewest = std::move(driver);
    }
    if (entries == kNoEstimate || entries / 8 + segment_.rows / 1024 >= leaf.text_keys) return;
    leaf.few_rows.assign(segment_.rows / 64 + 1, 0);
    for (const std::size_t index : fewest) {
      const Column& column = leaves_[index].column->column();
      for (const Interval& interval : leaves_[index].intervals) {
        for (const std::uint32_t row : column.PostingsRange(interval.first, interval.end)) {
          if (row < segment_.rows) leaf.few_rows[row / 64] |= std::uint64_t{1} << row % 64;
        }
      }
    }
  }

  // The parts of the top conjunction that columns tell of, and that no text is part of.
  std::vector<std::size_t> OtherConjuncts(std::size_t text) const {
    const std::vector<IndexPredicate::Node>& nodes = predicate_.nodes();
    std::vector<std::size_t> others;
    if (nodes[0].kind != Kind::kAnd) return others;
    for (std::size_t i = 1; i < nodes[0].subtree_size; i += nodes[i].subtree_size) {
      bool has_column = false;
      bool has_text = false;
      for (std::size_t j = i; j < i + nodes[i].subtree_size; ++j) {
        const Leaf& leaf = leaves_[j];
        if (nodes[j].kind != Kind::kLeaf || leaf.is_joined) continue;
        has_column = has_column || leaf.mode == Mode::kIntervals;
        has_text = has_text || j == text || leaf.mode == Mode::kText || leaf.mode == Mode::kByKey;
      }
      if (has_column && !has_text) others.push_back(i);
    }
    // The one that leaves the fewest rows first.
    std::sort(others.begin(), others.end(),
              [this](std::size_t a, std::size_t b) { return EntriesMax(a) < EntriesMax(b); });
    return others;
  }

  // How many entries may be other than kNo, without a look at any.
  std::uint64_t EntriesMax(std::size_t index) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    if (node.kind == Kind::kLeaf && leaves_[index].mode == Mode::kIntervals)
      return leaves_[index].estimate;
    if (node.kind != Kind::kAnd && node.kind != Kind::kOr) return segment_.rows;
    std::uint64_t entries = node.kind == Kind::kAnd ? segment_.rows : 0;
    for (std::size_t i = index + 1; i < index + node.subtree_size;
         i += predicate_.nodes()[i].subtree_size) {
      entries =
          node.kind == Kind::kAnd ? std::min(entries, EntriesMax(i)) : entries + EntriesMax(i);
    }
    return entries;
  }

  // Which keys of text are worth matching: those of which some row may match all else. A key costs
  // as much to decode and match as some ten of the look-ups in columns that may save it.
  class RowsFirst {
   public:
    RowsFirst(const SegmentPredicate& predicate, const std::vector<std::size_t>& others,
              const Leaf& text)
        : predicate_(predicate),
          others_(others),
          column_(text.column->column()),
          few_rows_(text.few_rows) {
      std::size_t depth = 0;
      for (const std::size_t other : others) depth = std::max(depth, predicate.DepthOf(other));
      scratch_.resize(depth + 1);
    }

    void operator()(absl::Span<const std::uint32_t> chunks, TextChunkMask* masks) {
      if (is_useless_) return SelectAllCodes()(chunks, masks);
      std::uint32_t all = 0;
      std::uint32_t size = 0;
      // Three cache misses in a row each, of all of them at once.
      for (const std::uint32_t chunk : chunks)
        column_.PrefetchEntries(TrigramIndex::FirstCodeOf(chunk));
      for (const std::uint32_t chunk : chunks)
        column_.PrefetchPostings(TrigramIndex::FirstCodeOf(chunk));
      for (std::size_t i = 0; i < chunks.size(); ++i) {
        masks[i] = 0;
        std::uint32_t key = static_cast<std::uint32_t>(i) * TrigramIndex::kChunkKeys;
        column_.VisitPostings(
            TrigramIndex::FirstCodeOf(chunks[i]), TrigramIndex::FirstCodeOf(chunks[i] + 1),
            [&](Code /*code*/, absl::Span<const std::uint32_t> rows) {
              // A key of many rows, or of so many that they are not listed, is matched.
              if (rows.empty() || rows.size() > kRowsOfKeyMax) {
                masks[i] =
                    static_cast<TextChunkMask>(masks[i] | 1 << key % TrigramIndex::kChunkKeys);
              } else {
                all += static_cast<std::uint32_t>(rows.size());
                for (const std::uint32_t row : rows) {
                  if (row >= predicate_.segment_.rows) continue;
                  rows_[size] = row;
                  keys_[size] = static_cast<std::uint8_t>(key);
                  size += few_rows_.empty() || (few_rows_[row / 64] >> row % 64 & 1) != 0;
                }
              }
              ++key;
            });
      }
      for (const std::size_t other : others_) {
        if (size == 0) break;
        predicate_.EvaluateRows(other, rows_.data(), size, scratch_.data());
        std::uint32_t kept = 0;
        for (std::uint32_t k = 0; k < size; ++k) {
          rows_[kept] = rows_[k];
          keys_[kept] = keys_[k];
          kept += scratch_[0][k] != 0;
        }
        size = kept;
      }
      for (std::uint32_t k = 0; k < size; ++k) {
        TextChunkMask& mask = masks[keys_[k] / TrigramIndex::kChunkKeys];
        mask = static_cast<TextChunkMask>(mask | 1 << keys_[k] % TrigramIndex::kChunkKeys);
      }
      asked_ += all;
      kept_ += size;
      is_useless_ = asked_ >= kAskedMin && kept_ > asked_ / 2;
    }

   private:
    static constexpr std::size_t kRowsOfKeyMax = 8;
    static constexpr std::uint64_t kAskedMin = 1024;
    static_assert(kTextChunksAtOnce * TrigramIndex::kChunkKeys * kRowsOfKeyMax <= kBatchRows);
    static_assert(kTextChunksAtOnce * TrigramIndex::kChunkKeys <= 256);

    const SegmentPredicate& predicate_;
    const std::vector<std::size_t>& others_;
    const Column& column_;
    const std::vector<std::uint64_t>& few_rows_;
    std::array<std::uint32_t, kBatchRows> rows_;
    std::array<std::uint8_t, kBatchRows> keys_;  // of each row: its place in the chunks asked about
    std::vector<Block> scratch_;
    std::uint64_t asked_ = 0;
    std::uint64_t kept_ = 0;
    bool is_useless_ = false;
  };

  template <class Visit>
  void DriveByPostings(Counters* counters, Visit&& visit) {
    if (compound_ != nullptr) {
      const Column& column = segment_.FindColumn(compound_->index_id)->column();
      absl::Span<const std::uint32_t> rows =
          column.PostingsRange(compound_codes_.first, compound_codes_.second);
      std::vector<std::uint32_t> once;
      if (column.has_lists()) {
        once.assign(rows.begin(), rows.end());
        std::sort(once.begin(), once.end());
        once.erase(std::unique(once.begin(), once.end()), once.end());
        rows = once;
      }
      AssumeEqual(*compound_, true);
      VisitRows(rows, counters, visit);
      AssumeEqual(*compound_, false);
      return;
    }
    if (driver_.size() == 1 && !leaves_[driver_[0]].column->column().has_lists()) {
      Leaf& leaf = leaves_[driver_[0]];
      const Column& column = leaf.column->column();
      leaf.is_assumed = leaf.mode == Mode::kIntervals;
      for (const Interval& interval : leaf.intervals) {
        leaf.assumed = interval.verdict;
        if (!VisitRows(column.PostingsRange(interval.first, interval.end), counters, visit)) break;
      }
      leaf.is_assumed = false;
      return;
    }
    // Several leaves, or rows with several entries: a row may come more than once.
    std::vector<std::uint32_t> rows;
    for (const std::size_t index : driver_) {
      for (const Interval& interval : leaves_[index].intervals) {
        const absl::Span<const std::uint32_t> some =
            leaves_[index].column->column().PostingsRange(interval.first, interval.end);
        rows.insert(rows.end(), some.begin(), some.end());
      }
    }
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    VisitRows(rows, counters, visit);
  }

  template <class Visit>
  void DriveByText(Counters* counters, Visit&& visit) {
    Leaf& leaf = leaves_[text_driver_];
    const Column& column = leaf.column->column();
    std::vector<bool> seen(column.has_lists() ? segment_.rows : 0);
    std::vector<std::uint32_t> rows;
    bool goes_on = true;
    const auto visit_code = [&](Code code, bool certain) {
      leaf.is_assumed = true;
      leaf.assumed = certain ? Verdict::kYes : Verdict::kMaybe;
      absl::Span<const std::uint32_t> postings = column.Postings(code);
      rows.clear();
      if (column.IsDense(code)) {
        counters->bytes_read += std::uint64_t{segment_.rows} * column.width();
        for (std::uint32_t row = 0; row < segment_.rows; ++row) {
          if (RowHas(column, row, code)) rows.push_back(row);
        }
        postings = rows;
      }
      if (column.has_lists()) {
        if (postings.data() != rows.data()) rows.assign(postings.begin(), postings.end());
        std::erase_if(rows, [&](std::uint32_t row) {
          if (seen[row]) return true;
          seen[row] = true;  // an uncertain key is settled by the document
          return false;
        });
        postings = rows;
      }
      goes_on = VisitRows(postings, counters, visit);
      leaf.is_assumed = false;
      return goes_on;
    };
    // The first keys are often enough; if not, all cores look at the others.
    const Code some = leaf.text_keys < kParallelKeysMin
                          ? leaf.text_end
                          : leaf.text_first + (leaf.text_end - leaf.text_first) / 64;
    ForEachTextMatch(text_driver_, SharedPattern(text_driver_), leaf.text_first, some, counters,
                     visit_code);
    if (!goes_on || some == leaf.text_end) return;
    AddTextMatches(text_driver_, some);
    counters->keys_examined += text_counters_.keys_examined;
    counters->bytes_read += text_counters_.bytes_read;
    text_counters_ = {};
    const Intervals matches = std::move(leaf.intervals);
    leaf.intervals.clear();
    const auto is_simple = [&](const Interval& interval) {
      return interval.verdict == Verdict::kYes && !column.has_lists() &&
             !HasDense(column, interval);
    };
    std::vector<std::uint32_t> batch;
    const auto visit_batch = [&] {
      leaf.is_assumed = true;
      leaf.assumed = Verdict::kYes;
      goes_on = VisitRows(batch, counters, visit);
      leaf.is_assumed = false;
      batch.clear();
      return goes_on;
    };
    for (const Interval& interval : matches) {
      if (is_simple(interval)) {
        // The rows of many keys together.
        const absl::Span<const std::uint32_t> some =
            column.PostingsRange(interval.first, interval.end);
        batch.insert(batch.end(), some.begin(), some.end());
        if (batch.size() >= kBatchRows && !visit_batch()) return;
        continue;
      }
      for (Code code = interval.first; code < interval.end; ++code) {
        if (!visit_code(code, interval.verdict == Verdict::kYes)) return;
      }
    }
    visit_batch();
  }

  static bool RowHas(const Column& column, std::uint32_t row, Code code) {
    const std::uint32_t at = column.At(row);
    if (at <= column.key_count()) return at == code;
    for (const Code each : column.List(at - column.key_count() - 1)) {
      if (each == code) return true;
    }
    return false;
  }

  // The rows of all that are live and may match, a batch at a time; false when `visit` said so.
  template <class Visit>
  bool VisitRows(absl::Span<const std::uint32_t> all, Counters* counters, Visit&& visit) const {
    std::uint32_t rows[kBatchRows];
    std::uint8_t verdicts[kBatchRows];
    // Large only where it pays: most look-ups have a row or two.
    std::vector<Block> scratch;
    while (!all.empty()) {
      const absl::Span<const std::uint32_t> some = all.subspan(0, kBatchRows);
      all.remove_prefix(some.size());
      counters->keys_examined += some.size();
      counters->bytes_read += some.size() * 4;
      std::uint32_t live = 0;
      for (const std::uint32_t row : some) {
        rows[live] = row;
        live += row < segment_.rows && !IsDead(row);
      }
      if (live >= kGatherRowsMin && scratch.empty()) scratch.resize(DepthOf(0) + 1);
      const bool gather = live >= kGatherRowsMin;
      if (gather) EvaluateRows(0, rows, live, scratch.data());
      RowBatch batch;
      for (std::uint32_t k = 0; k < live; ++k) {
        const std::uint8_t verdict =
            gather ? scratch[0][k] : static_cast<std::uint8_t>(Evaluate(0, rows[k]));
        rows[batch.size] = rows[k];
        verdicts[batch.size] = verdict;
        batch.size += verdict != 0;
      }
      batch.rows = rows;
      batch.verdicts = verdicts;
      if (batch.size != 0 && !visit(static_cast<const RowBatch&>(batch))) return false;
    }
    return true;
  }

  // As EvaluateBlock, for rows that lie anywhere: column by column, so that the loads of many rows
  // are under way at once.
  void EvaluateRows(std::size_t index, const std::uint32_t* rows, std::uint32_t size,
                    Block* scratch) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    const std::size_t end = index + node.subtree_size;
    std::uint8_t* out = scratch[0].data();
    const auto combine = [&](std::uint8_t start, auto&& into) {
      std::memset(out, start, size);
      for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
        if (IsCostly(i)) continue;
        EvaluateRows(i, rows, size, scratch + 1);
        into(scratch[1].data(), size, out);
      }
    };
    switch (node.kind) {
      case Kind::kAnd:
        combine(2, query_internal::MinInto);
        // What has to look at a key only where nothing else has said no.
        for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
          if (!IsCostly(i)) continue;
          for (std::uint32_t k = 0; k < size; ++k) {
            if (out[k] == 0) continue;
            out[k] = std::min(out[k], static_cast<std::uint8_t>(Evaluate(i, rows[k])));
          }
        }
        return;
      case Kind::kOr:
        combine(0, query_internal::MaxInto);
        for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
          if (!IsCostly(i)) continue;
          for (std::uint32_t k = 0; k < size; ++k) {
            if (out[k] == 2) continue;
            out[k] = std::max(out[k], static_cast<std::uint8_t>(Evaluate(i, rows[k])));
          }
        }
        return;
      case Kind::kNot:
        EvaluateRows(index + 1, rows, size, scratch + 1);
        query_internal::Mirror(scratch[1].data(), size, out);
        return;
      case Kind::kLeaf:
        if (leaves_[index].is_joined || leaves_[index].is_assumed) {
          const Verdict same = leaves_[index].is_joined ? Verdict::kYes : leaves_[index].assumed;
          std::memset(out, static_cast<std::uint8_t>(same), size);
          return;
        }
        if (!IsCostly(index) && leaves_[index].mode == Mode::kIntervals) {
          GatherLeaf(index, rows, size, out);
          return;
        }
        break;
      default:
        break;
    }
    for (std::uint32_t k = 0; k < size; ++k)
      out[k] = static_cast<std::uint8_t>(Evaluate(index, rows[k]));
  }

  bool IsCostly(std::size_t index) const {
    const Leaf& leaf = leaves_[index];
    return predicate_.nodes()[index].kind == Kind::kLeaf && !leaf.is_assumed &&
           (leaf.mode == Mode::kByKey || leaf.mode == Mode::kText);
  }

  void GatherLeaf(std::size_t index, const std::uint32_t* rows, std::uint32_t size,
                  std::uint8_t* out) const {
    const Leaf& leaf = leaves_[index];
    const Column& column = leaf.column->column();
    const Code key_count = column.key_count();
    std::uint32_t values[kBatchRows];
    column.VisitColumn([&](const auto* codes) {
      for (std::uint32_t k = 0; k < size; ++k) values[k] = codes[rows[k]];
    });
    if (leaf.intervals.size() == 1) {
      const Interval interval = leaf.intervals[0];
      query_internal::TestInterval(values, size, interval.first, interval.end - interval.first,
                                   static_cast<std::uint8_t>(interval.verdict), out);
    } else {
      for (std::uint32_t k = 0; k < size; ++k) {
        out[k] = values[k] <= key_count && leaf.MayHave(values[k])
                     ? static_cast<std::uint8_t>(VerdictOf(index, values[k]))
                     : std::uint8_t{0};
      }
    }
    if (!column.has_lists()) return;
    for (std::uint32_t k = 0; k < size; ++k) {
      if (values[k] <= key_count) continue;
      out[k] =
          static_cast<std::uint8_t>(VerdictOfList(index, column.List(values[k] - key_count - 1)));
    }
  }

  // --- One row.

  Verdict Evaluate(std::size_t index, std::uint32_t row) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    const std::size_t end = index + node.subtree_size;
    switch (node.kind) {
      case Kind::kTrue:
        return Verdict::kYes;
      case Kind::kFalse:
        return Verdict::kNo;
      case Kind::kUnknown:
        return leaves_[index].is_assumed ? leaves_[index].assumed : Verdict::kMaybe;
      case Kind::kAnd: {
        Verdict verdict = Verdict::kYes;
        for (std::size_t i = index + 1; i < end && verdict != Verdict::kNo;
             i += predicate_.nodes()[i].subtree_size)
          verdict = std::min(verdict, Evaluate(i, row));
        return verdict;
      }
      case Kind::kOr: {
        Verdict verdict = Verdict::kNo;
        for (std::size_t i = index + 1; i < end && verdict != Verdict::kYes;
             i += predicate_.nodes()[i].subtree_size)
          verdict = std::max(verdict, Evaluate(i, row));
        return verdict;
      }
      case Kind::kNot:
        return Not(Evaluate(index + 1, row));
      case Kind::kLeaf:
        return EvaluateLeaf(index, row);
    }
    return Verdict::kMaybe;
  }

  static Verdict Not(Verdict verdict) {
    return static_cast<Verdict>(2 - static_cast<std::uint8_t>(verdict));
  }

  Verdict EvaluateLeaf(std::size_t index, std::uint32_t row) const {
    const Leaf& leaf = leaves_[index];
    if (leaf.is_joined) return Verdict::kYes;
    if (leaf.is_assumed) return leaf.assumed;
    if (leaf.mode == Mode::kUnknown) return Verdict::kMaybe;
    const Column& column = leaf.column->column();
    const std::uint32_t at = column.At(row);
    if (at <= column.key_count()) return VerdictOf(index, at);
    return VerdictOfList(index, column.List(at - column.key_count() - 1));
  }

  Verdict VerdictOfList(std::size_t index, absl::Span<const Code> codes) const {
    Verdict verdict = Verdict::kNo;
    for (const Code code : codes) verdict = std::max(verdict, VerdictOf(index, code));
    return verdict;
  }

  Verdict VerdictOf(std::size_t index, Code code) const {
    const Leaf& leaf = leaves_[index];
    if (leaf.mode != Mode::kIntervals) return VerdictOfKey(index, code);
    if (leaf.intervals.size() <= 4) {
      for (const Interval& interval : leaf.intervals) {
        if (code - interval.first < interval.end - interval.first) return interval.verdict;
      }
      return Verdict::kNo;
    }
    const auto after = std::upper_bound(
        leaf.intervals.begin(), leaf.intervals.end(), code,
        [](Code value, const Interval& interval) { return value < interval.first; });
    return after != leaf.intervals.begin() && code < std::prev(after)->end
               ? std::prev(after)->verdict
               : Verdict::kNo;
  }

  Verdict VerdictOfKey(std::size_t index, Code code) const {
    if (code == kMissingCode) return Verdict::kNo;  // no predicate asked by key holds for missing
    const Column& column = leaves_[index].column->column();
    std::string scratch;
    const std::string_view key = column.Key(code, &scratch);
    const std::uint32_t filter_node = predicate_.nodes()[index].filter_node;
    const query_internal::FilterNode& filter = program_.nodes()[filter_node];
    const KeyClass key_class = IndexKeyClass(key);
    if (filter.op == query_internal::FilterOp::kRegex) {
      if (key_class != KeyClass::kString) return Verdict::kNo;
      if (IsCutIndexKey(key)) return Verdict::kMaybe;
      return query_internal::MatchesRegex(*program_.regexes()[filter.operand].compiled,
                                          key.substr(1))
                 ? Verdict::kYes
                 : Verdict::kNo;
    }
    if (filter.op == query_internal::FilterOp::kTextWord) {
      if (key_class != KeyClass::kString) return Verdict::kNo;
      if (IsCutIndexKey(key)) return Verdict::kMaybe;
      return program_.texts()[filter.operand].HasWord(key.substr(1)) ? Verdict::kYes : Verdict::kNo;
    }
    if (key_class != KeyClass::kNumber) return Verdict::kNo;
    std::string bytes;
    Builder builder(&bytes);
    if (!DecodeIndexKey(key, true, &builder)) return Verdict::kMaybe;
    if (ValueView::FromTrusted(bytes).type() == ValueType::kUint64) return Verdict::kMaybe;
    return program_.TestNode(filter_node, ValueView::FromTrusted(bytes)) ? Verdict::kYes
                                                                         : Verdict::kNo;
  }

  // --- Many rows.

  void PrepareLeaf(std::size_t index) {
    Leaf& leaf = leaves_[index];
    if (leaf.mode == Mode::kUnknown || leaf.mode == Mode::kText || leaf.is_joined) return;
    const Column& column = leaf.column->column();
    const bool by_table =
        column.width() <= 2 && (leaf.mode == Mode::kByKey || leaf.intervals.size() != 1);
    if (by_table && leaf.table.empty()) {
      leaf.table.resize(column.key_count() + 1);
      if (leaf.mode == Mode::kByKey) {
        for (Code code = 0; code <= column.key_count(); ++code)
          leaf.table[code] = static_cast<std::uint8_t>(VerdictOf(index, code));
      } else {
        for (const Interval& interval : leaf.intervals) {
          std::fill(leaf.table.begin() + interval.first, leaf.table.begin() + interval.end,
                    static_cast<std::uint8_t>(interval.verdict));
        }
      }
    }
    if (column.has_lists() && leaf.list_table.empty()) {
      leaf.list_table.resize(column.list_count());
      for (std::uint32_t list = 0; list < column.list_count(); ++list) {
        leaf.list_table[list] = static_cast<std::uint8_t>(VerdictOfList(index, column.List(list)));
      }
    }
  }

  std::size_t DepthOf(std::size_t index) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    std::size_t deepest = 0;
    for (std::size_t i = index + 1; i < index + node.subtree_size;
         i += predicate_.nodes()[i].subtree_size)
      deepest = std::max(deepest, DepthOf(i) + 1);
    return deepest;
  }

  // Verdicts of rows [first, first + size) into scratch[0]; the blocks behind it are for children.
  void EvaluateBlock(std::size_t index, std::uint32_t first, std::uint32_t size,
                     Block* scratch) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    const std::size_t end = index + node.subtree_size;
    std::uint8_t* out = scratch[0].data();
    switch (node.kind) {
      case Kind::kTrue:
        std::memset(out, 2, size);
        return;
      case Kind::kFalse:
        std::memset(out, 0, size);
        return;
      case Kind::kUnknown:
        std::memset(out, 1, size);
        return;
      case Kind::kAnd:
        std::memset(out, 2, size);
        for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
          if (leaves_[i].is_joined) continue;
          EvaluateBlock(i, first, size, scratch + 1);
          const std::uint8_t* child = scratch[1].data();
          query_internal::MinInto(child, size, out);
        }
        return;
      case Kind::kOr:
        std::memset(out, 0, size);
        for (std::size_t i = index + 1; i < end; i += predicate_.nodes()[i].subtree_size) {
          EvaluateBlock(i, first, size, scratch + 1);
          const std::uint8_t* child = scratch[1].data();
          query_internal::MaxInto(child, size, out);
        }
        return;
      case Kind::kNot:
        EvaluateBlock(index + 1, first, size, scratch + 1);
        query_internal::Mirror(scratch[1].data(), size, out);
        return;
      case Kind::kLeaf:
        EvaluateLeafBlock(index, first, size, out);
        return;
    }
  }

  void EvaluateLeafBlock(std::size_t index, std::uint32_t first, std::uint32_t size,
                         std::uint8_t* out) const {
    const Leaf& leaf = leaves_[index];
    if (leaf.mode == Mode::kUnknown) {
      std::memset(out, 1, size);
      return;
    }
    const Column& column = leaf.column->column();
    const Code key_count = column.key_count();
    column.VisitColumn([&](const auto* codes) {
      codes += first;
      if (leaf.mode == Mode::kIntervals && leaf.intervals.size() == 1 && leaf.table.empty()) {
        const Interval interval = leaf.intervals[0];
        query_internal::TestInterval(codes, size, interval.first, interval.end - interval.first,
                                     static_cast<std::uint8_t>(interval.verdict), out);
      } else if (!leaf.table.empty()) {
        for (std::uint32_t k = 0; k < size; ++k)
          out[k] = codes[k] <= key_count ? leaf.table[codes[k]] : std::uint8_t{0};
      } else {
        for (std::uint32_t k = 0; k < size; ++k) {
          out[k] = codes[k] <= key_count ? static_cast<std::uint8_t>(VerdictOf(index, codes[k]))
                                         : std::uint8_t{0};
        }
      }
      if (column.has_lists()) {
        for (std::uint32_t k = 0; k < size; ++k) {
          if (codes[k] <= key_count) continue;
          const std::uint32_t list = codes[k] - key_count - 1;
          out[k] = list < leaf.list_table.size() ? leaf.list_table[list] : std::uint8_t{0};
        }
      }
    });
  }

  void ClearDead(std::uint32_t first, std::uint32_t size, std::uint8_t* verdicts) const {
    for (std::uint32_t word = 0; word * 64 < size; ++word) {
      for (std::uint64_t bits = dead_->bits[first / 64 + word]; bits != 0; bits &= bits - 1) {
        const std::uint32_t at = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
        if (at < size) verdicts[at] = 0;
      }
    }
  }

  // --- Counting.

  bool IsExact(std::size_t index) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    if (node.kind == Kind::kUnknown) return false;
    if (node.kind == Kind::kLeaf) {
      const Leaf& leaf = leaves_[index];
      if (leaf.is_joined) return true;
      if (leaf.mode == Mode::kUnknown || leaf.mode == Mode::kText) return false;
      if (leaf.mode == Mode::kByKey)
        return !leaf.has_large_numbers && !leaf.column->column().has_truncated_keys();
      for (const Interval& interval : leaf.intervals) {
        if (interval.verdict == Verdict::kMaybe) return false;
      }
      return true;
    }
    for (std::size_t i = index + 1; i < index + node.subtree_size;
         i += predicate_.nodes()[i].subtree_size) {
      if (!IsExact(i)) return false;
    }
    return true;
  }

  std::optional<std::uint64_t> CountNode(std::size_t index, Counters* counters) const {
    const IndexPredicate::Node& node = predicate_.nodes()[index];
    switch (node.kind) {
      case Kind::kTrue:
        return segment_.rows;
      case Kind::kFalse:
        return 0;
      case Kind::kAnd:
      case Kind::kOr: {
        // Only one that counts.
        std::optional<std::size_t> only;
        for (std::size_t i = index + 1; i < index + node.subtree_size;
             i += predicate_.nodes()[i].subtree_size) {
          if (leaves_[i].is_joined) continue;
          if (only) return std::nullopt;
          only = i;
        }
        return only ? CountNode(*only, counters) : std::nullopt;
      }
      case Kind::kNot: {
        const std::optional<std::uint64_t> count = CountNode(index + 1, counters);
        if (!count) return std::nullopt;
        return segment_.rows - *count;
      }
      case Kind::kLeaf: {
        const Leaf& leaf = leaves_[index];
        if (leaf.mode != Mode::kIntervals || leaf.column->column().has_lists() || !IsExact(index))
          return std::nullopt;
        counters->keys_examined += leaf.intervals.size();
        return leaf.estimate;
      }
      case Kind::kUnknown:
        return std::nullopt;
    }
    return std::nullopt;
  }

  const IndexPredicate& predicate_;
  const query_internal::FilterProgram& program_;
  const Segment& segment_;
  const DeadRows* const dead_;
  std::vector<Leaf> leaves_;  // parallel to the predicate's nodes
  std::vector<std::size_t> driver_;
  std::size_t text_driver_ = kNone;
  const IndexPredicate::Compound* compound_ = nullptr;  // drives in place of driver_
  std::pair<Code, Code> compound_codes_;
  bool has_driver_ = false;
  bool scans_text_ = false;
  std::uint64_t driver_estimate_ = 0;
  Counters text_counters_;
};

}  // namespace alos

#endif  // ALOS_QUERY_INDEX_PREDICATE_H_
