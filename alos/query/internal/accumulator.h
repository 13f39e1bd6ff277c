// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Accumulators: what $group, $bucket and $setWindowFields compute of many documents.

#ifndef ALOS_QUERY_INTERNAL_ACCUMULATOR_H_
#define ALOS_QUERY_INTERNAL_ACCUMULATOR_H_

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/number_sum.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

enum class AccumulatorKind : std::uint8_t {
  kSum,
  kAvg,
  kCount,
  kStdDevPop,
  kStdDevSamp,
  kMin,
  kMax,
  kFirst,
  kLast,
  kPush,
  kAddToSet,
  kMergeObjects,
  kTop,
  kTopN,
  kBottom,
  kBottomN,
  kFirstN,
  kLastN,
  kMinN,
  kMaxN,
  kMedian,
  kPercentile,
};

// $sum, $avg, $count: values that are no numbers do not count.
struct CountedSum {
  NumberSum sum;
  std::uint64_t count = 0;

  void Add(ValueView value) {
    if (!value.IsNumber()) return;
    sum.Add(value);
    ++count;
  }
  void AddInteger(std::int64_t value) {
    sum.AddInt(value);
    ++count;
  }
  void AppendAverage(Builder* builder) const {
    if (count == 0) {
      builder->Null();
    } else {
      builder->Double(sum.AsDouble() / static_cast<double>(count));
    }
  }
};

// Mean and variance in one pass (Welford).
class NumberVariance {
 public:
  void Add(double value) {
    ++count_;
    const double delta = value - mean_;
    mean_ += delta / static_cast<double>(count_);
    squares_ += delta * (value - mean_);
  }
  void Append(bool is_sample, Builder* builder) const {
    const std::uint64_t least = is_sample ? 2 : 1;
    if (count_ < least) {
      builder->Null();
      return;
    }
    builder->Double(std::sqrt(squares_ / static_cast<double>(count_ - (is_sample ? 1 : 0))));
  }

 private:
  std::uint64_t count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
};

// --- What the accumulators that keep more than a number or a value keep ---

// $push: the elements, one after another.
struct PushedValues {
  std::string bytes;
  std::uint64_t count = 0;
};

// $addToSet: each once, in the order in which they came.
class DistinctValues {
 public:
  // False: it is there already.
  bool Add(ValueView value) {
    const std::uint64_t hash = HashValue(value);
    const auto [place, is_new] =
        newest_.try_emplace(hash, static_cast<std::uint32_t>(elements_.size()));
    std::uint32_t previous = kNone;
    if (!is_new) {
      for (std::uint32_t i = place->second; i != kNone; i = elements_[i].previous) {
        if (Equal(ValueView::FromTrusted(std::string_view(bytes_).substr(elements_[i].offset)),
                  value)) {
          return false;
        }
      }
      previous = std::exchange(place->second, static_cast<std::uint32_t>(elements_.size()));
    }
    elements_.push_back({bytes_.size(), previous});
    bytes_ += value.bytes();
    return true;
  }
  std::string_view bytes() const { return bytes_; }
  std::size_t size() const { return elements_.size(); }
  // What one element takes besides its bytes.
  static constexpr std::size_t kElementBytes = 40;

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  struct Element {
    std::size_t offset;
    std::uint32_t previous;  // of the same hash
  };
  std::string bytes_;
  std::vector<Element> elements_;
  absl::flat_hash_map<std::uint64_t, std::uint32_t> newest_;  // by hash
};

// $mergeObjects: the fields in the order in which they first came, with their last values.
class MergedFields {
 public:
  // The bytes that were added.
  std::size_t Add(ValueView document) {
    std::size_t added = 0;
    for (const auto entry : document.entries()) {
      const auto [place, is_new] = index_.try_emplace(std::string(entry.key), fields_.size());
      const std::string_view bytes = entry.value.bytes();
      if (is_new) {
        fields_.emplace_back(entry.key, bytes);
        added += 3 * sizeof(std::string) + 2 * entry.key.size() + bytes.size();
      } else {
        fields_[place->second].second = bytes;
        added += bytes.size();
      }
    }
    return added;
  }
  void Append(Builder* builder) const {
    builder->StartDocument(fields_.size());
    for (const auto& [key, value] : fields_) {
      builder->Key(key).Raw(ValueView::FromTrusted(value));
    }
    builder->EndDocument();
  }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
  absl::flat_hash_map<std::string, std::size_t> index_;
};

// $firstN, $lastN: a ring of the last ones, or the first ones.
struct OrderedValues {
  std::size_t limit = 0;
  std::vector<std::string> values;
  std::size_t next = 0;  // $lastN: where the next one goes once there are `limit`
};

// $topN, $bottomN by a sort, $minN, $maxN by value.
struct RankedValues {
  struct Entry {
    Sort::Key key;  // views `document`
    std::unique_ptr<char[]> document;
    std::string value;
    std::uint64_t sequence = 0;
  };
  std::size_t limit = 0;
  std::uint64_t next_sequence = 0;
  std::vector<Entry> entries;  // a heap once there are `limit`, the first to go on top
};

// $median, $percentile.
struct MeasuredValues {
  std::vector<double> values;
};

// What one accumulator has seen of one group.
class AccumulatorState {
 private:
  friend class Accumulator;
  using Values = std::variant<PushedValues, DistinctValues, MergedFields, OrderedValues,
                              RankedValues, MeasuredValues>;
  // The numbers; the value that counts so far (empty: none); more than that.
  std::variant<CountedSum, NumberVariance, std::string, std::unique_ptr<Values>> state_;
};
static_assert(sizeof(AccumulatorState) <= 80);

// One accumulator of a specification: {$sum: "$price"}.
//
// Threads: immutable after Compile. Lifetime: owns all it needs.
class Accumulator {
 public:
  // `specification`: {$name: argument}. Errors: kInvalidArgument, for the caller to prefix.
  static absl::StatusOr<Accumulator> Compile(ValueView specification, const VariableScope& scope) {
    if (!specification.IsDocument() || specification.size() != 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "needs an accumulator such as {$sum: \"$price\"}, not ", Describe(specification)));
    }
    const auto entry = *specification.entries().begin();
    return Compile(entry.key, entry.value, scope);
  }

  static absl::StatusOr<Accumulator> Compile(std::string_view name, ValueView argument,
                                             const VariableScope& scope) {
    const std::optional<AccumulatorKind> kind = KindOf(name);
    if (!kind) return Unknown(name);
    Accumulator accumulator(*kind);
    absl::Status status = accumulator.CompileArgument(argument, scope);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", status.message()));
    }
    return accumulator;
  }

  // {$sum: 1}, which $count and $sortByCount are made of.
  static Accumulator CountDocuments() {
    Accumulator accumulator(AccumulatorKind::kSum);
    accumulator.input_ = *Expression::Compile(ValueView::FromTrusted(std::string_view("\x01", 1)));
    accumulator.SetConstant();
    return accumulator;
  }

  static std::optional<AccumulatorKind> KindOf(std::string_view name) {
    for (const auto& [known, kind] : kNames) {
      if (known == name) return kind;
    }
    return std::nullopt;
  }

  AccumulatorKind kind() const { return kind_; }
  std::string_view name() const {
    for (const auto& [known, kind] : kNames) {
      if (kind == kind_) return known;
    }
    return "";
  }
  // nullptr for $count.
  const Expression* input() const { return input_ ? &*input_ : nullptr; }

  // The top-level fields it looks at are added to *fields; false: the whole document.
  bool AddNeeds(std::vector<std::string>* fields) const {
    if (sort_) return false;
    if (!input_) return true;
    if (input_->needs_whole_document()) return false;
    fields->insert(fields->end(), input_->fields().begin(), input_->fields().end());
    return true;
  }

  // Prepares the state of a new group. `group`: what n is computed from, {_id: key}; nullptr is {}.
  bool Start(const ValueView* group, StageEvaluator* evaluator, AccumulatorState* state) const {
    switch (kind_) {
      case AccumulatorKind::kSum:
      case AccumulatorKind::kAvg:
      case AccumulatorKind::kCount:
        state->state_.emplace<CountedSum>();
        return true;
      case AccumulatorKind::kStdDevPop:
      case AccumulatorKind::kStdDevSamp:
        state->state_.emplace<NumberVariance>();
        return true;
      case AccumulatorKind::kMin:
      case AccumulatorKind::kMax:
      case AccumulatorKind::kFirst:
      case AccumulatorKind::kLast:
        state->state_.emplace<std::string>();
        return true;
      default:
        break;
    }
    auto values = std::make_unique<AccumulatorState::Values>();
    std::size_t limit = 1;
    if (n_) {
      Operand n;
      const ValueView nothing = ValueView::FromTrusted(std::string_view("\x80", 1));
      if (!evaluator->Evaluate(*n_, group != nullptr ? *group : nothing, &n)) return false;
      const std::optional<std::int64_t> whole = n ? n->ToInt64() : std::nullopt;
      if (!whole || *whole <= 0) {
        return evaluator->context()->Fail(evaluator->stage().RunError(
            name(), ": n must be a whole number above 0, but is ", n ? Describe(*n) : "missing"));
      }
      limit = static_cast<std::size_t>(*whole);
    }
    switch (kind_) {
      case AccumulatorKind::kAddToSet:
        values->emplace<DistinctValues>();
        break;
      case AccumulatorKind::kMergeObjects:
        values->emplace<MergedFields>();
        break;
      case AccumulatorKind::kFirstN:
      case AccumulatorKind::kLastN:
        values->emplace<OrderedValues>().limit = limit;
        break;
      case AccumulatorKind::kTop:
      case AccumulatorKind::kTopN:
      case AccumulatorKind::kBottom:
      case AccumulatorKind::kBottomN:
      case AccumulatorKind::kMinN:
      case AccumulatorKind::kMaxN:
        values->emplace<RankedValues>().limit = limit;
        break;
      case AccumulatorKind::kMedian:
      case AccumulatorKind::kPercentile:
        values->emplace<MeasuredValues>();
        break;
      default:
        values->emplace<PushedValues>();
        break;
    }
    state->state_ = std::move(values);
    return true;
  }

  // What starting a group costs in memory beyond the state itself.
  std::size_t start_bytes() const {
    return kind_ >= AccumulatorKind::kPush ? sizeof(AccumulatorState::Values) + 16 : 0;
  }

  // Takes a document. False: the run has failed. Inline, because most are a look-up and an
  // addition.
  bool Add(ValueView document, StageEvaluator* evaluator, MemoryBudget* budget,
           AccumulatorState* state) const {
    if (kind_ == AccumulatorKind::kCount) {
      std::get_if<CountedSum>(&state->state_)->AddInteger(1);
      return true;
    }
    if (has_integer_constant_) {
      std::get_if<CountedSum>(&state->state_)->AddInteger(integer_constant_);
      return true;
    }
    Operand value;
    if (field_.empty()) {
      if (!evaluator->Evaluate(*input_, document, &value)) return false;
    } else {
      value = document.Find(field_);
    }
    return AddValue(value, document, evaluator, budget, state);
  }

  // Takes the value of its input for a document.
  bool AddValue(const Operand& value, ValueView document, StageEvaluator* evaluator,
                MemoryBudget* budget, AccumulatorState* state) const {
    switch (kind_) {
      case AccumulatorKind::kSum:
      case AccumulatorKind::kAvg:
        if (value) std::get_if<CountedSum>(&state->state_)->Add(*value);
        return true;
      case AccumulatorKind::kCount:
        std::get_if<CountedSum>(&state->state_)->AddInteger(1);
        return true;
      case AccumulatorKind::kStdDevPop:
      case AccumulatorKind::kStdDevSamp:
        if (value && value->IsNumber()) {
          std::get_if<NumberVariance>(&state->state_)->Add(value->AsDouble());
        }
        return true;
      case AccumulatorKind::kMin:
      case AccumulatorKind::kMax: {
        if (IsNullish(value)) return true;
        std::string& best = *std::get_if<std::string>(&state->state_);
        if (!best.empty()) {
          const auto order = Compare(*value, ValueView::FromTrusted(best));
          if (kind_ == AccumulatorKind::kMin ? order >= 0 : order <= 0) return true;
        }
        return Replace(*value, budget, &best);
      }
      case AccumulatorKind::kFirst:
        if (std::string& first = *std::get_if<std::string>(&state->state_); first.empty()) {
          return Replace(value.value_or(ValueView()), budget, &first);
        }
        return true;
      case AccumulatorKind::kLast:
        return Replace(value.value_or(ValueView()), budget,
                       std::get_if<std::string>(&state->state_));
      default:
        return AddToValues(
            value, document, evaluator, budget,
            std::get_if<std::unique_ptr<AccumulatorState::Values>>(&state->state_)->get());
    }
  }

  // Writes the result. REQUIRES: started. The state is as before but for its order.
  void Append(AccumulatorState* state, Builder* builder) const {
    switch (kind_) {
      case AccumulatorKind::kSum:
      case AccumulatorKind::kCount:
        std::get_if<CountedSum>(&state->state_)->sum.Append(builder);
        return;
      case AccumulatorKind::kAvg:
        std::get_if<CountedSum>(&state->state_)->AppendAverage(builder);
        return;
      case AccumulatorKind::kStdDevPop:
      case AccumulatorKind::kStdDevSamp:
        std::get_if<NumberVariance>(&state->state_)
            ->Append(kind_ == AccumulatorKind::kStdDevSamp, builder);
        return;
      case AccumulatorKind::kMin:
      case AccumulatorKind::kMax:
      case AccumulatorKind::kFirst:
      case AccumulatorKind::kLast: {
        const std::string& value = *std::get_if<std::string>(&state->state_);
        if (value.empty()) {
          builder->Null();
        } else {
          builder->Raw(ValueView::FromTrusted(value));
        }
        return;
      }
      default:
        AppendValues(std::get_if<std::unique_ptr<AccumulatorState::Values>>(&state->state_)->get(),
                     builder);
        return;
    }
  }

  // Writes an array of `count` values that lie one after another.
  static void AppendSequence(std::string_view bytes, std::size_t count, Builder* builder) {
    builder->StartArray(count);
    for (std::size_t i = 0; i < count; ++i) {
      const char* const end = document_internal::Skip(bytes.data());
      const auto size = static_cast<std::size_t>(end - bytes.data());
      builder->Raw(ValueView::FromTrusted(bytes.substr(0, size)));
      bytes.remove_prefix(size);
    }
    builder->EndArray();
  }

  // The sum so far, of $sum, $avg and $count; nullptr of others. For windows that move.
  static CountedSum* SumOf(AccumulatorState* state) {
    return std::get_if<CountedSum>(&state->state_);
  }

 private:
  static constexpr std::pair<std::string_view, AccumulatorKind> kNames[] = {
      {"$sum", AccumulatorKind::kSum},
      {"$avg", AccumulatorKind::kAvg},
      {"$count", AccumulatorKind::kCount},
      {"$stdDevPop", AccumulatorKind::kStdDevPop},
      {"$stdDevSamp", AccumulatorKind::kStdDevSamp},
      {"$min", AccumulatorKind::kMin},
      {"$max", AccumulatorKind::kMax},
      {"$first", AccumulatorKind::kFirst},
      {"$last", AccumulatorKind::kLast},
      {"$push", AccumulatorKind::kPush},
      {"$addToSet", AccumulatorKind::kAddToSet},
      {"$mergeObjects", AccumulatorKind::kMergeObjects},
      {"$top", AccumulatorKind::kTop},
      {"$topN", AccumulatorKind::kTopN},
      {"$bottom", AccumulatorKind::kBottom},
      {"$bottomN", AccumulatorKind::kBottomN},
      {"$firstN", AccumulatorKind::kFirstN},
      {"$lastN", AccumulatorKind::kLastN},
      {"$minN", AccumulatorKind::kMinN},
      {"$maxN", AccumulatorKind::kMaxN},
      {"$median", AccumulatorKind::kMedian},
      {"$percentile", AccumulatorKind::kPercentile},
  };

  explicit Accumulator(AccumulatorKind kind) : kind_(kind) {}

  static absl::Status Unknown(std::string_view name) {
    if (name == "$accumulator" || name == "$function") {
      return absl::InvalidArgumentError(
          absl::StrCat("the accumulator ", name, " is not supported: there is no JavaScript here"));
    }
    std::string all;
    for (const auto& [known, kind] : kNames) absl::StrAppend(&all, all.empty() ? "" : " ", known);
    return absl::InvalidArgumentError(
        absl::StrCat("unknown accumulator '", DescribeText(name), "'; known are ", all));
  }

  absl::Status CompileInput(ValueView argument, const VariableScope& scope) {
    ALOS_ASSIGN_OR_RETURN(input_, Expression::Compile(argument, scope));
    if (const Path* path = input_->field_path(); path != nullptr && path->parts().size() == 1) {
      field_ = path->parts()[0];
    }
    return absl::OkStatus();
  }

  void SetConstant() {
    if (kind_ != AccumulatorKind::kSum && kind_ != AccumulatorKind::kAvg) return;
    const Operand constant = input_->constant();
    if (!constant || constant->type() != ValueType::kInt64) return;
    has_integer_constant_ = true;
    integer_constant_ = constant->AsInt64();
  }

  absl::Status CompileArgument(ValueView argument, const VariableScope& scope) {
    switch (kind_) {
      case AccumulatorKind::kCount:
        if (argument.IsDocument() && argument.size() == 0) return absl::OkStatus();
        return absl::InvalidArgumentError(
            absl::StrCat("takes no argument: {$count: {}}, not ", Describe(argument)));
      case AccumulatorKind::kTop:
      case AccumulatorKind::kTopN:
      case AccumulatorKind::kBottom:
      case AccumulatorKind::kBottomN: {
        const bool has_n = kind_ == AccumulatorKind::kTopN || kind_ == AccumulatorKind::kBottomN;
        ALOS_RETURN_IF_ERROR(NeedFields(
            argument, has_n ? absl::Span<const std::string_view>({"n", "output", "sortBy"})
                            : absl::Span<const std::string_view>({"output", "sortBy"})));
        ALOS_ASSIGN_OR_RETURN(sort_, Sort::Compile(*argument.Find("sortBy")));
        if (sort_->empty()) return absl::InvalidArgumentError("sortBy needs at least one field");
        ALOS_RETURN_IF_ERROR(CompileInput(*argument.Find("output"), scope));
        return has_n ? CompileN(*argument.Find("n"), scope) : absl::OkStatus();
      }
      case AccumulatorKind::kFirstN:
      case AccumulatorKind::kLastN:
      case AccumulatorKind::kMinN:
      case AccumulatorKind::kMaxN:
        ALOS_RETURN_IF_ERROR(NeedFields(argument, {"input", "n"}));
        ALOS_RETURN_IF_ERROR(CompileInput(*argument.Find("input"), scope));
        return CompileN(*argument.Find("n"), scope);
      case AccumulatorKind::kMedian:
      case AccumulatorKind::kPercentile: {
        const bool is_median = kind_ == AccumulatorKind::kMedian;
        ALOS_RETURN_IF_ERROR(NeedFields(
            argument, is_median ? absl::Span<const std::string_view>({"input", "method"})
                                : absl::Span<const std::string_view>({"input", "p", "method"})));
        const ValueView method = *argument.Find("method");
        if (!method.IsString() || method.AsString() != "approximate") {
          return absl::InvalidArgumentError(
              absl::StrCat("method must be \"approximate\", not ", Describe(method)));
        }
        if (is_median) {
          percentiles_ = {0.5};
        } else {
          ALOS_ASSIGN_OR_RETURN(const Expression p,
                                Expression::Compile(*argument.Find("p"), scope));
          const Operand list = p.constant();
          if (!list || !list->IsArray() || list->size() == 0) {
            return absl::InvalidArgumentError(
                "p must be a constant array of numbers from 0 to 1, such as [0.5, 0.9]");
          }
          for (const ValueView element : list->elements()) {
            const double number = element.IsNumber() ? element.AsDouble() : -1;
            if (!(number >= 0 && number <= 1)) {
              return absl::InvalidArgumentError(
                  absl::StrCat("p must have numbers from 0 to 1, not ", Describe(element)));
            }
            percentiles_.push_back(number);
          }
        }
        return CompileInput(*argument.Find("input"), scope);
      }
      default:
        if (argument.IsArray()) {
          return absl::InvalidArgumentError(
              absl::StrCat("takes one expression here, not an array of ", argument.size()));
        }
        ALOS_RETURN_IF_ERROR(CompileInput(argument, scope));
        SetConstant();
        return absl::OkStatus();
    }
  }

  absl::Status CompileN(ValueView n, const VariableScope& scope) {
    ALOS_ASSIGN_OR_RETURN(n_, Expression::Compile(n, scope));
    if (const Operand constant = n_->constant()) {
      const std::optional<std::int64_t> whole = constant->ToInt64();
      if (!whole || *whole <= 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("n must be a whole number above 0, not ", Describe(*constant)));
      }
    }
    return absl::OkStatus();
  }

  static absl::Status NeedFields(ValueView argument, absl::Span<const std::string_view> names) {
    std::string all;
    for (const std::string_view name : names) absl::StrAppend(&all, all.empty() ? "" : ", ", name);
    if (!argument.IsDocument()) {
      return absl::InvalidArgumentError(
          absl::StrCat("needs a document with the fields ", all, ", not ", Describe(argument)));
    }
    for (const std::string_view name : names) {
      if (!argument.Find(name)) {
        return absl::InvalidArgumentError(
            absl::StrCat("the field '", name, "' is missing; needed are ", all));
      }
    }
    for (const auto entry : argument.entries()) {
      if (std::find(names.begin(), names.end(), entry.key) == names.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("unknown field '", DescribeText(entry.key), "'; needed are ", all));
      }
    }
    return absl::OkStatus();
  }

  static bool Replace(ValueView value, MemoryBudget* budget, std::string* bytes) {
    // What has room in the string object itself is in the state already.
    constexpr std::size_t kInline = 15;
    const std::string_view next = value.bytes();
    if (bytes->size() > kInline) budget->Subtract(bytes->size());
    *bytes = next;
    return next.size() <= kInline || budget->Add(next.size());
  }

  // Whether `a` stands before `b` in the result.
  struct Before {
    const Accumulator* accumulator;
    bool operator()(const RankedValues::Entry& a, const RankedValues::Entry& b) const {
      const std::weak_ordering order = accumulator->Order(a, b);
      return order != 0 ? order < 0 : a.sequence < b.sequence;
    }
  };
  // Whether `a` is to be kept rather than `b`: a heap by this has the first one to go on top.
  struct Better {
    const Accumulator* accumulator;
    bool operator()(const RankedValues::Entry& a, const RankedValues::Entry& b) const {
      const Before before{accumulator};
      const bool is_bottom = accumulator->kind_ == AccumulatorKind::kBottom ||
                             accumulator->kind_ == AccumulatorKind::kBottomN;
      return is_bottom ? before(b, a) : before(a, b);
    }
  };
  // The order of the result: by the sort, or by value, the greatest first for $maxN.
  std::weak_ordering Order(const RankedValues::Entry& a, const RankedValues::Entry& b) const {
    if (sort_) return sort_->Compare(a.key, b.key);
    const std::weak_ordering order =
        Compare(ValueView::FromTrusted(a.value), ValueView::FromTrusted(b.value));
    return kind_ == AccumulatorKind::kMaxN ? 0 <=> order : order;
  }

  bool AddRanked(ValueView value, ValueView document, MemoryBudget* budget,
                 RankedValues* ranked) const {
    if (ranked->entries.size() >= ranked->limit) {
      // Most documents are no better than what is kept, and need no copy.
      const RankedValues::Entry& worst = ranked->entries.front();
      std::weak_ordering order = std::weak_ordering::equivalent;
      if (sort_) {
        order = sort_->Compare(sort_->ExtractKey(document), worst.key);
      } else {
        order = Compare(value, ValueView::FromTrusted(worst.value));
        if (kind_ == AccumulatorKind::kMaxN) order = 0 <=> order;
      }
      const bool is_bottom =
          kind_ == AccumulatorKind::kBottom || kind_ == AccumulatorKind::kBottomN;
      // Of equal ones the first stays, at the bottom the last.
      if (is_bottom ? order < 0 : order >= 0) {
        ++ranked->next_sequence;
        return true;
      }
      std::pop_heap(ranked->entries.begin(), ranked->entries.end(), Better{this});
      budget->Subtract(ranked->entries.back().value.size());
      ranked->entries.pop_back();
    }
    RankedValues::Entry entry;
    entry.value = value.bytes();
    entry.sequence = ranked->next_sequence++;
    std::size_t size = entry.value.size() + sizeof(entry);
    if (sort_) {
      const std::string_view bytes = document.bytes();
      entry.document = std::make_unique<char[]>(bytes.size());
      std::copy(bytes.begin(), bytes.end(), entry.document.get());
      entry.key = sort_->ExtractKey(
          ValueView::FromTrusted(std::string_view(entry.document.get(), bytes.size())));
      size += bytes.size();
    }
    ranked->entries.push_back(std::move(entry));
    std::push_heap(ranked->entries.begin(), ranked->entries.end(), Better{this});
    return budget->Add(size);
  }

  bool AddToValues(const Operand& value, ValueView document, StageEvaluator* evaluator,
                   MemoryBudget* budget, AccumulatorState::Values* values) const {
    switch (kind_) {
      case AccumulatorKind::kPush: {
        if (!value) return true;
        auto& pushed = std::get<PushedValues>(*values);
        pushed.bytes += value->bytes();
        ++pushed.count;
        return budget->Add(value->bytes().size());
      }
      case AccumulatorKind::kAddToSet:
        return !value || !std::get<DistinctValues>(*values).Add(*value) ||
               budget->Add(value->bytes().size() + DistinctValues::kElementBytes);
      case AccumulatorKind::kMergeObjects:
        if (IsNullish(value)) return true;
        if (!value->IsDocument()) {
          return evaluator->context()->Fail(evaluator->stage().RunError(
              "$mergeObjects needs documents, found ", Describe(*value)));
        }
        return budget->Add(std::get<MergedFields>(*values).Add(*value));
      case AccumulatorKind::kFirstN:
      case AccumulatorKind::kLastN: {
        auto& ordered = std::get<OrderedValues>(*values);
        const std::string_view bytes = value.value_or(ValueView()).bytes();
        if (ordered.values.size() < ordered.limit) {
          ordered.values.emplace_back(bytes);
          return budget->Add(bytes.size() + sizeof(std::string));
        }
        if (kind_ == AccumulatorKind::kFirstN) return true;
        std::string& oldest = ordered.values[ordered.next];
        ordered.next = (ordered.next + 1) % ordered.limit;
        budget->Subtract(oldest.size());
        oldest = bytes;
        return budget->Add(bytes.size());
      }
      case AccumulatorKind::kMinN:
      case AccumulatorKind::kMaxN:
        if (IsNullish(value)) return true;
        [[fallthrough]];
      case AccumulatorKind::kTop:
      case AccumulatorKind::kTopN:
      case AccumulatorKind::kBottom:
      case AccumulatorKind::kBottomN:
        return AddRanked(value.value_or(ValueView()), document, budget,
                         &std::get<RankedValues>(*values));
      case AccumulatorKind::kMedian:
      case AccumulatorKind::kPercentile:
        if (!value || !value->IsNumber() || std::isnan(value->AsDouble())) return true;
        std::get<MeasuredValues>(*values).values.push_back(value->AsDouble());
        return budget->Add(sizeof(double));
      default:
        return true;
    }
  }

  void AppendValues(AccumulatorState::Values* values, Builder* builder) const {
    switch (kind_) {
      case AccumulatorKind::kPush: {
        const auto& pushed = std::get<PushedValues>(*values);
        AppendSequence(pushed.bytes, pushed.count, builder);
        return;
      }
      case AccumulatorKind::kAddToSet: {
        const auto& distinct = std::get<DistinctValues>(*values);
        AppendSequence(distinct.bytes(), distinct.size(), builder);
        return;
      }
      case AccumulatorKind::kMergeObjects:
        std::get<MergedFields>(*values).Append(builder);
        return;
      case AccumulatorKind::kFirstN:
      case AccumulatorKind::kLastN: {
        const auto& ordered = std::get<OrderedValues>(*values);
        const std::size_t count = ordered.values.size();
        builder->StartArray(count);
        for (std::size_t i = 0; i < count; ++i) {
          builder->Raw(ValueView::FromTrusted(ordered.values[(ordered.next + i) % count]));
        }
        builder->EndArray();
        return;
      }
      case AccumulatorKind::kMedian:
      case AccumulatorKind::kPercentile:
        AppendPercentiles(&std::get<MeasuredValues>(*values).values, builder);
        return;
      default: {
        auto& ranked = std::get<RankedValues>(*values);
        const bool is_single = kind_ == AccumulatorKind::kTop || kind_ == AccumulatorKind::kBottom;
        if (is_single) {
          if (ranked.entries.empty()) {
            builder->Null();
          } else {
            builder->Raw(ValueView::FromTrusted(ranked.entries.front().value));
          }
          return;
        }
        std::sort(ranked.entries.begin(), ranked.entries.end(), Before{this});
        builder->StartArray(ranked.entries.size());
        for (const RankedValues::Entry& entry : ranked.entries) {
          builder->Raw(ValueView::FromTrusted(entry.value));
        }
        builder->EndArray();
        std::make_heap(ranked.entries.begin(), ranked.entries.end(), Better{this});
        return;
      }
    }
  }

  void AppendPercentiles(std::vector<double>* values, Builder* builder) const {
    std::sort(values->begin(), values->end());
    const bool is_array = kind_ == AccumulatorKind::kPercentile;
    if (is_array) builder->StartArray(percentiles_.size());
    for (const double percentile : percentiles_) {
      if (values->empty()) {
        builder->Null();
        continue;
      }
      // The least value that this share of the values does not exceed.
      const double rank = std::ceil(percentile * static_cast<double>(values->size()));
      const auto position = static_cast<std::size_t>(std::max(rank - 1, 0.0));
      builder->Double((*values)[std::min(position, values->size() - 1)]);
    }
    if (is_array) builder->EndArray();
  }

  AccumulatorKind kind_;
  bool has_integer_constant_ = false;
  std::int64_t integer_constant_ = 0;
  std::string field_;  // the input is this field of the document
  std::optional<Expression> input_;
  std::optional<Expression> n_;
  std::optional<Sort> sort_;
  std::vector<double> percentiles_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_ACCUMULATOR_H_
