// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The stages that look at the neighbours of a document: $setWindowFields, $densify and $fill.

#ifndef ALOS_QUERY_INTERNAL_WINDOW_STAGES_H_
#define ALOS_QUERY_INTERNAL_WINDOW_STAGES_H_

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/internal/accumulator.h"
#include "alos/query/internal/date_format.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_date.h"
#include "alos/query/internal/expression_number.h"
#include "alos/query/internal/field_path.h"
#include "alos/query/internal/field_tree.h"
#include "alos/query/internal/filter_program.h"
#include "alos/query/internal/group_stages.h"
#include "alos/query/internal/join_stages.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/internal/streaming_stages.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

using DateUnit = expression_date::DateUnit;

// `time` moved by whole units, as $dateAdd does; nullopt: out of the range of dates.
inline std::optional<Timestamp> MoveDate(Timestamp time, std::int64_t amount, DateUnit unit) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  std::int64_t milliseconds = 0;
  switch (unit) {
    case DateUnit::kYear:
    case DateUnit::kQuarter:
    case DateUnit::kMonth: {
      constexpr std::int64_t kMonthsMax = 1'000'000'000;
      const std::int64_t months = unit == DateUnit::kYear ? 12 : unit == DateUnit::kQuarter ? 3 : 1;
      constexpr std::int64_t kSecondsMax = std::int64_t{1} << 50;
      if (amount < -kMonthsMax || amount > kMonthsMax) return std::nullopt;
      if (time.seconds < -kSecondsMax || time.seconds > kSecondsMax) return std::nullopt;
      const absl::CivilSecond civil = absl::ToCivilSecond(absl::FromUnixSeconds(time.seconds), utc);
      const absl::CivilMonth month = absl::CivilMonth(civil) + months * amount;
      // The last day of the month where the day does not exist in it.
      const absl::CivilDay last = absl::CivilDay(month + 1) - 1;
      const absl::CivilSecond moved(month.year(), month.month(), std::min(civil.day(), last.day()),
                                    civil.hour(), civil.minute(), civil.second());
      return Timestamp{absl::ToUnixSeconds(absl::FromCivil(moved, utc)), time.nanoseconds};
    }
    case DateUnit::kWeek:
      milliseconds = 7 * 86'400'000;
      break;
    case DateUnit::kDay:
      milliseconds = 86'400'000;
      break;
    default:
      milliseconds = expression_date::UnitMillis(unit);
      break;
  }
  return AddMillis(time, WideInt{amount} * milliseconds);
}

// Milliseconds of a unit that has a fixed length; 0 for months and longer.
inline double UnitMilliseconds(DateUnit unit) {
  switch (unit) {
    case DateUnit::kYear:
    case DateUnit::kQuarter:
    case DateUnit::kMonth:
      return 0;
    case DateUnit::kWeek:
      return 7 * 86'400'000.0;
    case DateUnit::kDay:
      return 86'400'000.0;
    default:
      return static_cast<double>(expression_date::UnitMillis(unit));
  }
}

inline double MillisecondsOf(Timestamp time) {
  return static_cast<double>(time.seconds) * 1000 + static_cast<double>(time.nanoseconds) / 1e6;
}

inline absl::StatusOr<DateUnit> CompileUnit(ValueView unit) {
  const std::optional<DateUnit> parsed =
      unit.IsString() ? expression_date::ParseUnit(unit.AsString()) : std::nullopt;
  if (parsed) return *parsed;
  return absl::InvalidArgumentError(
      absl::StrCat("'unit' needs one of \"year\", \"quarter\", \"month\", \"week\", \"day\", "
                   "\"hour\", \"minute\", \"second\" and \"millisecond\", not ",
                   Describe(unit)));
}

// --- Documents by partition ---

// Holds documents, and gives them partition by partition.
class Partitions {
 public:
  Partitions(const Stage* stage, RunContext* context, const Expression* partition_by)
      : stage_(*stage),
        context_(context),
        partition_by_(partition_by),
        evaluator_(stage, context),
        budget_(stage, context, "put a $match or $project before it") {}

  bool Add(ValueView document) {
    std::size_t partition = 0;
    if (partition_by_ != nullptr) {
      evaluator_.Reset();
      Operand key;
      if (!evaluator_.Evaluate(*partition_by_, document, &key)) return false;
      if (key && key->IsArray()) {
        return context_->Fail(stage_.RunError("partitionBy must not give an array"));
      }
      const ValueTable::Found found = keys_.FindOrAdd(key.value_or(ValueView()));
      partition = found.number;
      if (found.is_new) members_.emplace_back();
    } else if (members_.empty()) {
      members_.emplace_back();
    }
    members_[partition].push_back(documents_.size());
    documents_.emplace_back(document.bytes());
    return budget_.Add(document.bytes().size() + sizeof(std::string) + 2 * sizeof(std::size_t));
  }

  // Calls `visit(documents)` for each partition, in the order of their keys, until it returns
  // false. `sort`: of the documents in it; nullptr: as they came.
  template <class Visit>
  void ForEach(const Sort* sort, Visit&& visit) {
    std::vector<std::size_t> order(members_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (partition_by_ != nullptr) {
      std::sort(order.begin(), order.end(),
                [&](std::size_t a, std::size_t b) { return Compare(keys_[a], keys_[b]) < 0; });
    }
    for (const std::size_t partition : order) {
      std::vector<ValueView> documents;
      documents.reserve(members_[partition].size());
      for (const std::size_t member : members_[partition]) {
        documents.push_back(ValueView::FromTrusted(documents_[member]));
      }
      if (sort != nullptr) {
        std::vector<std::pair<Sort::Key, std::size_t>> keyed;
        keyed.reserve(documents.size());
        for (std::size_t i = 0; i < documents.size(); ++i) {
          keyed.emplace_back(sort->ExtractKey(documents[i]), i);
        }
        std::sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
          const std::weak_ordering by_key = sort->Compare(a.first, b.first);
          return by_key != 0 ? by_key < 0 : a.second < b.second;
        });
        std::vector<ValueView> sorted;
        sorted.reserve(documents.size());
        for (const auto& [key, i] : keyed) sorted.push_back(documents[i]);
        documents = std::move(sorted);
      }
      if (!visit(documents)) return;
    }
  }

  MemoryBudget& budget() { return budget_; }
  StageEvaluator& evaluator() { return evaluator_; }

 private:
  const Stage& stage_;
  RunContext* context_;
  const Expression* partition_by_;
  StageEvaluator evaluator_;
  MemoryBudget budget_;
  std::vector<std::string> documents_;
  ValueTable keys_;
  std::vector<std::vector<std::size_t>> members_;  // documents of the partitions
};

// --- $setWindowFields ---

struct WindowBound {
  enum class Kind { kUnbounded, kCurrent, kOffset } kind = Kind::kUnbounded;
  double offset = 0;       // of a range
  std::int64_t whole = 0;  // of documents, and of a range of dates
};

struct WindowBounds {
  bool is_range = false;
  WindowBound lower;
  WindowBound upper;
  std::optional<DateUnit> unit;

  bool is_everything() const {
    return lower.kind == WindowBound::Kind::kUnbounded &&
           upper.kind == WindowBound::Kind::kUnbounded;
  }
};

enum class WindowFunction {
  kAccumulator,
  kCovariancePop,
  kCovarianceSamp,
  kDerivative,
  kIntegral,
  kExpMovingAvg,
  kRank,
  kDenseRank,
  kDocumentNumber,
  kShift,
  kLocf,
  kLinearFill,
};

// One field of a $setWindowFields.
struct WindowOutput {
  std::optional<Path> field;
  WindowFunction function = WindowFunction::kAccumulator;
  std::string_view name;
  std::optional<Accumulator> accumulator;
  std::optional<Expression> input;
  std::optional<Expression> second_input;  // $covariance...
  std::optional<DateUnit> unit;            // $derivative, $integral
  double alpha = 0;                        // $expMovingAvg
  std::int64_t by = 0;                     // $shift
  std::string fallback;                    // $shift
  bool has_bounds = false;
  WindowBounds bounds;
};

class SetWindowFieldsStage final : public Stage {
 public:
  // Additions for all windows of a run that have to be computed afresh.
  static constexpr std::uint64_t kStepsMax = 1'000'000'000;

  SetWindowFieldsStage(std::string_view name, std::size_t position,
                       std::optional<Expression> partition_by, std::optional<Sort> sort,
                       std::vector<WindowOutput> outputs)
      : Stage(name, position),
        partition_by_(std::move(partition_by)),
        sort_(std::move(sort)),
        outputs_(std::move(outputs)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error(
          "needs {partitionBy: ..., sortBy: {...}, output: {field: {$sum: ..., window: {...}}}}, "
          "not ",
          Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(specification.CheckFields(operand, {"partitionBy", "sortBy", "output"}));
    const VariableScope& variables = specification.context.variables;
    std::optional<Expression> partition_by;
    if (const Operand given = operand.Find("partitionBy")) {
      absl::StatusOr<Expression> compiled = Expression::Compile(*given, variables);
      if (!compiled.ok()) {
        return specification.Error("partitionBy: ", compiled.status().message());
      }
      if (!compiled->is_constant()) partition_by = *std::move(compiled);
    }
    std::optional<Sort> sort;
    if (const Operand given = operand.Find("sortBy")) {
      absl::StatusOr<Sort> compiled = Sort::Compile(*given);
      if (!compiled.ok()) return specification.Error("sortBy: ", compiled.status().message());
      if (compiled->size() > 0) sort = *std::move(compiled);
    }
    const Operand output = operand.Find("output");
    if (!output || !output->IsDocument()) {
      return specification.Error("needs 'output', a document of fields such as {total: {$sum: ",
                                 "\"$price\", window: {documents: [\"unbounded\", \"current\"]}}}");
    }
    std::vector<WindowOutput> outputs;
    for (const auto entry : output->entries()) {
      absl::StatusOr<WindowOutput> compiled =
          CompileOutput(entry.key, entry.value, sort ? &*sort : nullptr, variables);
      if (!compiled.ok()) {
        return specification.Error("field '", DescribeText(entry.key),
                                   "': ", compiled.status().message());
      }
      for (const WindowOutput& other : outputs) {
        if (Overlap(*other.field, *compiled->field)) {
          return specification.Error("field '", DescribeText(entry.key),
                                     "': collides with another one: one is, or lies inside, the "
                                     "other");
        }
      }
      outputs.push_back(*std::move(compiled));
    }
    return std::make_unique<SetWindowFieldsStage>(specification.name, specification.position,
                                                  std::move(partition_by), std::move(sort),
                                                  std::move(outputs));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  static bool Overlap(const Path& a, const Path& b) {
    const std::size_t common = std::min(a.parts().size(), b.parts().size());
    return a.parts().subspan(0, common) == b.parts().subspan(0, common);
  }

  static absl::StatusOr<WindowBound> CompileBound(ValueView value, bool is_range, bool has_unit) {
    WindowBound bound;
    if (value.IsString() && value.AsString() == "unbounded") return bound;
    if (value.IsString() && value.AsString() == "current") {
      bound.kind = WindowBound::Kind::kCurrent;
      return bound;
    }
    bound.kind = WindowBound::Kind::kOffset;
    if (is_range && !has_unit && value.IsNumber()) {
      bound.offset = value.AsDouble();
      if (!std::isnan(bound.offset)) return bound;
    }
    const std::optional<std::int64_t> whole = value.ToInt64();
    if (!whole || *whole < -(std::int64_t{1} << 53) || *whole > (std::int64_t{1} << 53)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a bound of a window must be \"unbounded\", \"current\" or a ",
                       is_range && !has_unit ? "" : "whole ", "number, not ", Describe(value)));
    }
    bound.whole = *whole;
    return bound;
  }

  static absl::Status CompileBounds(ValueView window, const Sort* sort, WindowOutput* output) {
    if (!window.IsDocument()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'window' needs {documents: [lower, upper]} or {range: [lower, upper], "
                       "unit: ...}, not ",
                       Describe(window)));
    }
    const Operand documents = window.Find("documents");
    const Operand range = window.Find("range");
    const Operand unit = window.Find("unit");
    if (window.size() != (documents ? 1U : 0U) + (range ? 1U : 0U) + (unit ? 1U : 0U)) {
      return absl::InvalidArgumentError(
          "'window' has an unknown field; known are documents range unit");
    }
    if (window.size() == 0) return absl::OkStatus();
    if (documents.has_value() == range.has_value()) {
      return absl::InvalidArgumentError("'window' needs either 'documents' or 'range'");
    }
    WindowBounds& bounds = output->bounds;
    output->has_bounds = true;
    bounds.is_range = range.has_value();
    if (unit) {
      if (!range) return absl::InvalidArgumentError("'unit' is for a 'range'");
      ALOS_ASSIGN_OR_RETURN(bounds.unit, CompileUnit(*unit));
    }
    const ValueView pair = range ? *range : *documents;
    if (!pair.IsArray() || pair.size() != 2) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", range ? "range" : "documents", "' needs [lower, upper], not ", Describe(pair)));
    }
    ALOS_ASSIGN_OR_RETURN(bounds.lower,
                          CompileBound(*pair.At(0), bounds.is_range, unit.has_value()));
    ALOS_ASSIGN_OR_RETURN(bounds.upper,
                          CompileBound(*pair.At(1), bounds.is_range, unit.has_value()));
    if (bounds.is_range) {
      if (sort == nullptr || sort->size() != 1 || !sort->is_ascending(0)) {
        return absl::InvalidArgumentError(
            "a window by 'range' needs a 'sortBy' of one ascending field");
      }
    } else if (sort == nullptr && !bounds.is_everything()) {
      return absl::InvalidArgumentError("a window with bounds needs a 'sortBy'");
    }
    const auto place = [&](const WindowBound& bound) {
      return bound.kind == WindowBound::Kind::kOffset
                 ? bound.offset + static_cast<double>(bound.whole)
                 : 0.0;
    };
    if (bounds.lower.kind != WindowBound::Kind::kUnbounded &&
        bounds.upper.kind != WindowBound::Kind::kUnbounded &&
        place(bounds.lower) > place(bounds.upper)) {
      return absl::InvalidArgumentError("the lower bound of the window is above the upper one");
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<WindowOutput> CompileOutput(std::string_view field, ValueView value,
                                                    const Sort* sort,
                                                    const VariableScope& variables) {
    WindowOutput output;
    ALOS_ASSIGN_OR_RETURN(output.field, ParseFieldPath(field));
    if (!value.IsDocument()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "needs a window operator such as {$sum: \"$price\"}, not ", Describe(value)));
    }
    std::string_view name;
    ValueView argument;
    std::size_t operators = 0;
    for (const auto entry : value.entries()) {
      if (entry.key == "window") {
        ALOS_RETURN_IF_ERROR(CompileBounds(entry.value, sort, &output));
      } else {
        name = entry.key;
        argument = entry.value;
        ++operators;
      }
    }
    if (operators != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("needs one window operator beside 'window', found ", operators));
    }
    const absl::Status status = CompileFunction(name, argument, sort, variables, &output);
    if (!status.ok()) return status;
    return output;
  }

  static absl::Status CompileFunction(std::string_view name, ValueView argument, const Sort* sort,
                                      const VariableScope& variables, WindowOutput* output) {
    struct Row {
      std::string_view name;
      WindowFunction function;
      bool takes_window;
      std::size_t sort_fields_min;
      std::size_t sort_fields_max;
    };
    constexpr std::size_t kAny = Sort::kFieldsMax;
    static constexpr Row kRows[] = {
        {"$covariancePop", WindowFunction::kCovariancePop, true, 0, kAny},
        {"$covarianceSamp", WindowFunction::kCovarianceSamp, true, 0, kAny},
        {"$derivative", WindowFunction::kDerivative, true, 1, 1},
        {"$integral", WindowFunction::kIntegral, true, 1, 1},
        {"$expMovingAvg", WindowFunction::kExpMovingAvg, false, 1, kAny},
        {"$rank", WindowFunction::kRank, false, 1, 1},
        {"$denseRank", WindowFunction::kDenseRank, false, 1, 1},
        {"$documentNumber", WindowFunction::kDocumentNumber, false, 1, kAny},
        {"$shift", WindowFunction::kShift, false, 1, kAny},
        {"$locf", WindowFunction::kLocf, false, 0, kAny},
        {"$linearFill", WindowFunction::kLinearFill, false, 1, 1},
    };
    const Row* row = nullptr;
    for (const Row& candidate : kRows) {
      if (candidate.name == name) row = &candidate;
    }
    if (row == nullptr) {
      if (!Accumulator::KindOf(name)) {
        std::string all;
        for (const Row& known : kRows) absl::StrAppend(&all, " ", known.name);
        return absl::InvalidArgumentError(absl::StrCat("unknown window operator '",
                                                       DescribeText(name), "'; known are", all,
                                                       " and the accumulators of $group"));
      }
      ALOS_ASSIGN_OR_RETURN(output->accumulator, Accumulator::Compile(name, argument, variables));
      return absl::OkStatus();
    }
    output->function = row->function;
    output->name = row->name;
    const std::size_t sort_fields = sort == nullptr ? 0 : sort->size();
    if (sort_fields < row->sort_fields_min || sort_fields > row->sort_fields_max) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " needs a 'sortBy'", row->sort_fields_max == 1 ? " of one field" : ""));
    }
    if (output->has_bounds && !row->takes_window) {
      return absl::InvalidArgumentError(absl::StrCat(name, " takes no 'window'"));
    }
    const auto field_of = [&](std::string_view field) { return argument.Find(field); };
    const auto check_fields = [&](std::string_view a, std::string_view b,
                                  std::string_view c) -> absl::Status {
      if (!argument.IsDocument()) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, " needs a document of arguments, not ", Describe(argument)));
      }
      for (const auto entry : argument.entries()) {
        if (entry.key != a && entry.key != b && entry.key != c) {
          return absl::InvalidArgumentError(
              absl::StrCat(name, ": unknown field '", DescribeText(entry.key), "'"));
        }
      }
      if (!field_of(a)) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": the field '", a, "' is missing"));
      }
      return absl::OkStatus();
    };
    switch (row->function) {
      case WindowFunction::kCovariancePop:
      case WindowFunction::kCovarianceSamp: {
        if (!argument.IsArray() || argument.size() != 2) {
          return absl::InvalidArgumentError(
              absl::StrCat(name, " needs an array of two expressions, not ", Describe(argument)));
        }
        ALOS_ASSIGN_OR_RETURN(output->input, Expression::Compile(*argument.At(0), variables));
        ALOS_ASSIGN_OR_RETURN(output->second_input,
                              Expression::Compile(*argument.At(1), variables));
        return absl::OkStatus();
      }
      case WindowFunction::kDerivative:
      case WindowFunction::kIntegral: {
        ALOS_RETURN_IF_ERROR(check_fields("input", "unit", ""));
        ALOS_ASSIGN_OR_RETURN(output->input, Expression::Compile(*field_of("input"), variables));
        if (const Operand unit = field_of("unit")) {
          ALOS_ASSIGN_OR_RETURN(output->unit, CompileUnit(*unit));
          if (UnitMilliseconds(*output->unit) == 0) {
            return absl::InvalidArgumentError(absl::StrCat(
                name, ": 'unit' must be \"week\" or shorter: months differ in length"));
          }
        }
        if (row->function == WindowFunction::kDerivative && !output->has_bounds) {
          return absl::InvalidArgumentError("$derivative needs a 'window'");
        }
        return absl::OkStatus();
      }
      case WindowFunction::kExpMovingAvg: {
        ALOS_RETURN_IF_ERROR(check_fields("input", "N", "alpha"));
        const Operand n = field_of("N");
        const Operand alpha = field_of("alpha");
        if (n.has_value() == alpha.has_value()) {
          return absl::InvalidArgumentError("$expMovingAvg needs either 'N' or 'alpha'");
        }
        if (n) {
          const std::optional<std::int64_t> whole = n->ToInt64();
          if (!whole || *whole <= 0) {
            return absl::InvalidArgumentError(absl::StrCat(
                "$expMovingAvg: 'N' must be a whole number above 0, not ", Describe(*n)));
          }
          output->alpha = 2.0 / (static_cast<double>(*whole) + 1);
        } else {
          output->alpha = alpha->IsNumber() ? alpha->AsDouble() : 0;
          if (!(output->alpha > 0 && output->alpha < 1)) {
            return absl::InvalidArgumentError(absl::StrCat(
                "$expMovingAvg: 'alpha' must be a number between 0 and 1, not ", Describe(*alpha)));
          }
        }
        ALOS_ASSIGN_OR_RETURN(output->input, Expression::Compile(*field_of("input"), variables));
        return absl::OkStatus();
      }
      case WindowFunction::kShift: {
        ALOS_RETURN_IF_ERROR(check_fields("output", "by", "default"));
        const Operand by = field_of("by");
        const std::optional<std::int64_t> whole = by ? by->ToInt64() : std::nullopt;
        if (!whole) return absl::InvalidArgumentError("$shift: 'by' must be a whole number");
        output->by = *whole;
        ALOS_ASSIGN_OR_RETURN(output->input, Expression::Compile(*field_of("output"), variables));
        output->fallback = ValueView().bytes();
        if (const Operand fallback = field_of("default")) {
          ALOS_ASSIGN_OR_RETURN(const Expression constant,
                                Expression::Compile(*fallback, variables));
          if (!constant.constant()) {
            return absl::InvalidArgumentError("$shift: 'default' must be a constant");
          }
          output->fallback = constant.constant()->bytes();
        }
        return absl::OkStatus();
      }
      case WindowFunction::kLocf:
      case WindowFunction::kLinearFill: {
        ALOS_ASSIGN_OR_RETURN(output->input, Expression::Compile(argument, variables));
        return absl::OkStatus();
      }
      default:  // $rank, $denseRank, $documentNumber
        if (argument.IsDocument() && argument.size() == 0) return absl::OkStatus();
        return absl::InvalidArgumentError(
            absl::StrCat(name, " takes no argument: {", name, ": {}}, not ", Describe(argument)));
    }
  }

  // The sums of a window that moves forward: those of a prefix and of a suffix of what is in it,
  // joined. Each value is added a constant number of times.
  template <class T>
  class SlidingSum {
   public:
    void Add(const T& value) {
      back_.push_back(value);
      back_sum_.Merge(value);
    }
    void RemoveFirst() {
      if (front_.empty()) {
        T sum;
        while (!back_.empty()) {
          T longer = back_.back();
          longer.Merge(sum);
          sum = longer;
          front_.push_back(sum);
          back_.pop_back();
        }
        back_sum_ = T();
      }
      front_.pop_back();
    }
    T Sum() const {
      T sum = front_.empty() ? T() : front_.back();
      sum.Merge(back_sum_);
      return sum;
    }

   private:
    std::vector<T> front_;  // sums of the first ones: the last is that of all of them
    std::vector<T> back_;
    T back_sum_;
  };

  class Run final : public StageRun {
   public:
    Run(const SetWindowFieldsStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage),
          context_(context),
          next_(next),
          partitions_(stage, context, stage->partition_by_ ? &*stage->partition_by_ : nullptr) {}

    bool Push(ValueView document) override { return partitions_.Add(document); }

    void Finish() override {
      partitions_.ForEach(
          stage_.sort_ ? &*stage_.sort_ : nullptr,
          [&](const std::vector<ValueView>& documents) { return FinishPartition(documents); });
    }

   private:
    using Values = std::vector<std::string>;  // encoded; empty: missing
    struct Window {
      std::size_t begin = 0;
      std::size_t end = 0;
    };

    static Operand View(const std::string& value) {
      return value.empty() ? Operand() : ValueView::FromTrusted(value);
    }
    static std::string Encode(double number) {
      std::string bytes;
      Builder(&bytes).Double(number);
      return bytes;
    }
    static std::string EncodeCount(std::uint64_t number) {
      std::string bytes;
      Builder(&bytes).Uint(number);
      return bytes;
    }
    static std::string Null() { return std::string(ValueView().bytes()); }

    bool FinishPartition(const std::vector<ValueView>& documents) {
      const std::size_t before = partitions_.budget().bytes();
      std::vector<Values> columns;
      for (const WindowOutput& output : stage_.outputs_) {
        columns.emplace_back();
        if (!Compute(output, documents, &columns.back())) return false;
        for (const std::string& value : columns.back()) {
          if (!partitions_.budget().Add(sizeof(std::string) + value.size())) return false;
        }
      }
      std::string bytes;
      std::string other;
      for (std::size_t i = 0; i < documents.size(); ++i) {
        bytes = documents[i].bytes();
        for (std::size_t column = 0; column < columns.size(); ++column) {
          other.clear();
          AppendWithField(ValueView::FromTrusted(bytes), *stage_.outputs_[column].field,
                          View(columns[column][i]), &other);
          std::swap(bytes, other);
        }
        if (!EmitChecked(stage_, context_, next_, bytes)) return false;
      }
      partitions_.budget().Subtract(partitions_.budget().bytes() - before);
      return true;
    }

    bool EvaluateAll(const Expression& expression, const std::vector<ValueView>& documents,
                     Values* values) {
      values->reserve(documents.size());
      for (const ValueView document : documents) {
        partitions_.evaluator().Reset();
        Operand value;
        if (!partitions_.evaluator().Evaluate(expression, document, &value)) return false;
        values->emplace_back(value ? value->bytes() : std::string_view());
      }
      return true;
    }

    // What the documents are sorted by, the one field, as numbers: dates as milliseconds.
    bool SortNumbers(const std::vector<ValueView>& documents, std::string_view who,
                     bool wants_dates, std::vector<double>* numbers) {
      for (const ValueView document : documents) {
        const Operand value = GetField(document, stage_.sort_->path(0).parts());
        const bool is_date = value && value->type() == ValueType::kTimestamp;
        if (!value || (wants_dates ? !is_date : !value->IsNumber()) || IsNan(*value)) {
          return context_->Fail(stage_.RunError(
              who, ": the field of sortBy must be a ", wants_dates ? "date" : "number",
              " in every document, found ", value ? Describe(*value) : "none",
              wants_dates || !is_date ? "" : "; give a 'unit' for dates"));
        }
        numbers->push_back(is_date ? MillisecondsOf(value->AsTimestamp()) : value->AsDouble());
      }
      return true;
    }

    // --- Windows ---

    bool FindWindows(const WindowBounds& bounds, const std::vector<ValueView>& documents,
                     std::vector<Window>* windows) {
      const std::size_t count = documents.size();
      windows->resize(count);
      if (bounds.is_range) return FindRanges(bounds, documents, windows);
      const auto clamp = [count](std::int64_t place) {
        return static_cast<std::size_t>(
            std::clamp<std::int64_t>(place, 0, static_cast<std::int64_t>(count)));
      };
      for (std::size_t i = 0; i < count; ++i) {
        const auto at = static_cast<std::int64_t>(i);
        Window& window = (*windows)[i];
        window.begin =
            bounds.lower.kind == WindowBound::Kind::kUnbounded ? 0 : clamp(at + bounds.lower.whole);
        window.end = bounds.upper.kind == WindowBound::Kind::kUnbounded
                         ? count
                         : clamp(at + bounds.upper.whole + 1);
        window.end = std::max(window.end, window.begin);
      }
      return true;
    }

    bool FindRanges(const WindowBounds& bounds, const std::vector<ValueView>& documents,
                    std::vector<Window>* windows) {
      std::vector<double> numbers;
      if (!SortNumbers(documents, "window", bounds.unit.has_value(), &numbers)) return false;
      // The place of a bound, for the document at i.
      const auto place = [&](const WindowBound& bound, std::size_t i, double* result) {
        *result = numbers[i];
        if (bound.kind != WindowBound::Kind::kOffset) return true;
        if (!bounds.unit) {
          *result += bound.offset;
          return true;
        }
        const ValueView date = *GetField(documents[i], stage_.sort_->path(0).parts());
        const auto moved = MoveDate(date.AsTimestamp(), bound.whole, *bounds.unit);
        if (!moved) {
          return context_->Fail(
              stage_.RunError("a bound of a window is out of the range of dates"));
        }
        *result = MillisecondsOf(*moved);
        return true;
      };
      for (std::size_t i = 0; i < documents.size(); ++i) {
        Window& window = (*windows)[i];
        window.end = documents.size();
        double bound = 0;
        if (bounds.lower.kind != WindowBound::Kind::kUnbounded) {
          if (!place(bounds.lower, i, &bound)) return false;
          window.begin = static_cast<std::size_t>(
              std::lower_bound(numbers.begin(), numbers.end(), bound) - numbers.begin());
        }
        if (bounds.upper.kind != WindowBound::Kind::kUnbounded) {
          if (!place(bounds.upper, i, &bound)) return false;
          window.end = static_cast<std::size_t>(
              std::upper_bound(numbers.begin(), numbers.end(), bound) - numbers.begin());
        }
        window.end = std::max(window.end, window.begin);
      }
      return true;
    }

    bool Charge(std::uint64_t steps) {
      steps_ += steps;
      if (steps_ <= kStepsMax) return true;
      return context_->Fail(absl::ResourceExhaustedError(
          absl::StrCat(stage_.Title(), " goes through more than ", kStepsMax,
                       " documents for its windows; make the windows or the partitions smaller")));
    }

    // --- Functions ---

    bool Compute(const WindowOutput& output, const std::vector<ValueView>& documents,
                 Values* result) {
      const std::size_t count = documents.size();
      result->resize(count);
      switch (output.function) {
        case WindowFunction::kAccumulator:
          return Accumulate(output, documents, result);
        case WindowFunction::kRank:
        case WindowFunction::kDenseRank: {
          std::uint64_t rank = 0;
          for (std::size_t i = 0; i < count; ++i) {
            if (i == 0 || stage_.sort_->Compare(documents[i - 1], documents[i]) != 0) {
              rank = output.function == WindowFunction::kRank ? i + 1 : rank + 1;
            }
            (*result)[i] = EncodeCount(rank);
          }
          return true;
        }
        case WindowFunction::kDocumentNumber:
          for (std::size_t i = 0; i < count; ++i) (*result)[i] = EncodeCount(i + 1);
          return true;
        default:
          break;
      }
      Values inputs;
      if (!EvaluateAll(*output.input, documents, &inputs)) return false;
      switch (output.function) {
        case WindowFunction::kShift:
          for (std::size_t i = 0; i < count; ++i) {
            const auto limit = static_cast<std::int64_t>(count);
            const bool inside = output.by > -limit && output.by < limit &&
                                static_cast<std::int64_t>(i) + output.by >= 0 &&
                                static_cast<std::int64_t>(i) + output.by < limit;
            if (!inside) {
              (*result)[i] = output.fallback;
              continue;
            }
            const std::string& shifted =
                inputs[static_cast<std::size_t>(static_cast<std::int64_t>(i) + output.by)];
            (*result)[i] = shifted.empty() ? Null() : shifted;
          }
          return true;
        case WindowFunction::kLocf: {
          std::string last = Null();
          for (std::size_t i = 0; i < count; ++i) {
            if (!IsNullish(View(inputs[i]))) last = inputs[i];
            (*result)[i] = last;
          }
          return true;
        }
        case WindowFunction::kExpMovingAvg: {
          std::optional<double> average;
          for (std::size_t i = 0; i < count; ++i) {
            const Operand value = View(inputs[i]);
            if (value && value->IsNumber()) {
              const double number = value->AsDouble();
              average = average ? number * output.alpha + *average * (1 - output.alpha) : number;
            }
            (*result)[i] = average ? Encode(*average) : Null();
          }
          return true;
        }
        case WindowFunction::kLinearFill:
          return FillLinearly(documents, std::move(inputs), result);
        default:
          break;
      }
      std::vector<Window> windows;
      if (!FindWindows(output.bounds, documents, &windows)) return false;
      if (output.function == WindowFunction::kCovariancePop ||
          output.function == WindowFunction::kCovarianceSamp) {
        Values second;
        if (!EvaluateAll(*output.second_input, documents, &second)) return false;
        const bool is_sample = output.function == WindowFunction::kCovarianceSamp;
        return SlideCovariance(windows, inputs, second, is_sample, result);
      }
      std::vector<double> places;
      if (!SortNumbers(documents, output.name, output.unit.has_value(), &places)) return false;
      if (output.unit) {
        for (double& place : places) place /= UnitMilliseconds(*output.unit);
      }
      if (output.function == WindowFunction::kDerivative) {
        for (std::size_t i = 0; i < count; ++i) {
          (*result)[i] = Derivative(windows[i], inputs, places);
        }
        return true;
      }
      return Integrate(windows, inputs, places, result);
    }

    std::string Derivative(const Window& window, const Values& inputs,
                           const std::vector<double>& places) const {
      if (window.end < window.begin + 2) return Null();
      const Operand first = View(inputs[window.begin]);
      const Operand last = View(inputs[window.end - 1]);
      const double run = places[window.end - 1] - places[window.begin];
      if (!first || !last || !first->IsNumber() || !last->IsNumber() || run == 0) return Null();
      return Encode((last->AsDouble() - first->AsDouble()) / run);
    }

    // By the trapezoid rule, over the documents that have a number.
    bool Integrate(const std::vector<Window>& windows, const Values& inputs,
                   const std::vector<double>& places, Values* result) {
      for (std::size_t i = 0; i < windows.size(); ++i) {
        if (!Charge(windows[i].end - windows[i].begin)) return false;
        std::optional<std::size_t> previous;
        double area = 0;
        for (std::size_t at = windows[i].begin; at < windows[i].end; ++at) {
          const Operand value = View(inputs[at]);
          if (!value || !value->IsNumber()) continue;
          if (previous) {
            area += (places[at] - places[*previous]) *
                    (View(inputs[*previous])->AsDouble() + value->AsDouble()) / 2;
          }
          previous = at;
        }
        (*result)[i] = previous ? Encode(area) : Null();
      }
      return true;
    }

    bool FillLinearly(const std::vector<ValueView>& documents, Values inputs, Values* result) {
      const bool has_dates =
          !documents.empty() &&
          GetField(documents[0], stage_.sort_->path(0).parts()).value_or(ValueView()).type() ==
              ValueType::kTimestamp;
      std::vector<double> places;
      if (!SortNumbers(documents, "$linearFill", has_dates, &places)) return false;
      std::optional<std::size_t> previous;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (i > 0 && places[i] == places[i - 1]) {
          return context_->Fail(
              stage_.RunError("$linearFill: two documents have the same value of sortBy"));
        }
        const Operand value = View(inputs[i]);
        if (IsNullish(value)) {
          (*result)[i] = Null();
          continue;
        }
        if (!value->IsNumber()) {
          return context_->Fail(
              stage_.RunError("$linearFill needs numbers or null, found ", Describe(*value)));
        }
        if (previous && *previous + 1 < i) {
          const double from = View(inputs[*previous])->AsDouble();
          const double slope = (value->AsDouble() - from) / (places[i] - places[*previous]);
          for (std::size_t gap = *previous + 1; gap < i; ++gap) {
            (*result)[gap] = Encode(from + slope * (places[gap] - places[*previous]));
          }
        }
        (*result)[i] = inputs[i];
        previous = i;
      }
      return true;
    }

    // --- Accumulators ---

    struct MergeableSum {
      CountedSum counted;
      void Merge(const MergeableSum& other) {
        counted.sum.Merge(other.counted.sum);
        counted.count += other.counted.count;
      }
    };
    // Count, means, and sums of products of deviations.
    struct Moments {
      double count = 0;
      double mean_x = 0;
      double mean_y = 0;
      double products = 0;
      void Merge(const Moments& other) {
        if (other.count == 0) return;
        if (count == 0) {
          *this = other;
          return;
        }
        const double total = count + other.count;
        const double x = other.mean_x - mean_x;
        const double y = other.mean_y - mean_y;
        products += other.products + x * y * count * other.count / total;
        mean_x += x * other.count / total;
        mean_y += y * other.count / total;
        count = total;
      }
    };

    template <class T, class At, class Write>
    void Slide(const std::vector<Window>& windows, At&& at, Write&& write) {
      SlidingSum<T> sum;
      Window current;
      for (std::size_t i = 0; i < windows.size(); ++i) {
        // Both ends of the windows only ever move forward.
        for (; current.end < windows[i].end; ++current.end) sum.Add(at(current.end));
        for (; current.begin < windows[i].begin && current.begin < current.end; ++current.begin) {
          sum.RemoveFirst();
        }
        if (current.begin < windows[i].begin) current.begin = current.end = windows[i].begin;
        write(i, sum.Sum());
      }
    }

    bool SlideCovariance(const std::vector<Window>& windows, const Values& xs, const Values& ys,
                         bool is_sample, Values* result) {
      Slide<Moments>(
          windows,
          [&](std::size_t at) {
            const Operand x = View(xs[at]);
            const Operand y = View(ys[at]);
            if (!x || !y || !x->IsNumber() || !y->IsNumber()) return Moments();
            return Moments{1, x->AsDouble(), y->AsDouble(), 0};
          },
          [&](std::size_t i, const Moments& sum) {
            const double divisor = sum.count - (is_sample ? 1 : 0);
            (*result)[i] = divisor > 0 ? Encode(sum.products / divisor) : Null();
          });
      return true;
    }

    bool Accumulate(const WindowOutput& output, const std::vector<ValueView>& documents,
                    Values* result) {
      const Accumulator& accumulator = *output.accumulator;
      std::vector<Window> windows;
      if (!FindWindows(output.bounds, documents, &windows)) return false;
      Values inputs;
      if (accumulator.input() != nullptr) {
        if (!EvaluateAll(*accumulator.input(), documents, &inputs)) return false;
      } else {
        inputs.resize(documents.size());
      }
      const bool lower_is_unbounded = output.bounds.lower.kind == WindowBound::Kind::kUnbounded;
      if (!lower_is_unbounded) {
        switch (accumulator.kind()) {
          case AccumulatorKind::kSum:
          case AccumulatorKind::kAvg:
          case AccumulatorKind::kCount:
            return SlideSum(accumulator.kind(), windows, inputs, result);
          case AccumulatorKind::kStdDevPop:
          case AccumulatorKind::kStdDevSamp:
            return SlideDeviation(accumulator.kind() == AccumulatorKind::kStdDevSamp, windows,
                                  inputs, result);
          case AccumulatorKind::kFirst:
          case AccumulatorKind::kLast:
            for (std::size_t i = 0; i < windows.size(); ++i) {
              const Window& window = windows[i];
              const bool is_first = accumulator.kind() == AccumulatorKind::kFirst;
              const std::string* const value =
                  window.begin == window.end ? nullptr
                                             : &inputs[is_first ? window.begin : window.end - 1];
              (*result)[i] = value == nullptr || value->empty() ? Null() : *value;
            }
            return true;
          default:
            break;
        }
      }
      // Each window is the one before it and more, or is gone through by itself.
      StageEvaluator& evaluator = partitions_.evaluator();
      MemoryBudget& budget = partitions_.budget();
      const std::size_t before = budget.bytes();
      AccumulatorState state;
      std::size_t added = 0;
      for (std::size_t i = 0; i < windows.size(); ++i) {
        const Window& window = windows[i];
        if (i > 0 && window.begin == windows[i - 1].begin && window.end == windows[i - 1].end) {
          (*result)[i] = (*result)[i - 1];
          continue;
        }
        evaluator.Reset();
        if (i == 0 || !lower_is_unbounded) {
          budget.Subtract(budget.bytes() - before);
          if (!accumulator.Start(nullptr, &evaluator, &state)) return false;
          added = window.begin;
        }
        if (!Charge(window.end - added)) return false;
        for (; added < window.end; ++added) {
          if (!accumulator.AddValue(View(inputs[added]), documents[added], &evaluator, &budget,
                                    &state)) {
            return false;
          }
        }
        Builder builder(&(*result)[i]);
        accumulator.Append(&state, &builder);
        if (!ChargeResult((*result)[i].size())) return false;
      }
      budget.Subtract(budget.bytes() - before);
      return true;
    }

    // Windows of $push may be many times larger than what they are made of.
    bool ChargeResult(std::size_t size) {
      result_bytes_ += size;
      MemoryBudget& budget = partitions_.budget();
      if (result_bytes_ <= budget.bytes_max()) return true;
      return budget.Add(budget.bytes_max());
    }

    bool SlideSum(AccumulatorKind kind, const std::vector<Window>& windows, const Values& inputs,
                  Values* result) {
      Slide<MergeableSum>(
          windows,
          [&](std::size_t at) {
            MergeableSum sum;
            if (kind == AccumulatorKind::kCount) {
              sum.counted.AddInteger(1);
            } else if (const Operand value = View(inputs[at])) {
              sum.counted.Add(*value);
            }
            return sum;
          },
          [&](std::size_t i, const MergeableSum& sum) {
            Builder builder(&(*result)[i]);
            if (kind == AccumulatorKind::kAvg) {
              sum.counted.AppendAverage(&builder);
            } else {
              sum.counted.sum.Append(&builder);
            }
          });
      return true;
    }

    bool SlideDeviation(bool is_sample, const std::vector<Window>& windows, const Values& inputs,
                        Values* result) {
      Slide<Moments>(
          windows,
          [&](std::size_t at) {
            const Operand value = View(inputs[at]);
            if (!value || !value->IsNumber()) return Moments();
            return Moments{1, value->AsDouble(), value->AsDouble(), 0};
          },
          [&](std::size_t i, const Moments& sum) {
            const double divisor = sum.count - (is_sample ? 1 : 0);
            (*result)[i] =
                divisor > 0 ? Encode(std::sqrt(std::max(0.0, sum.products / divisor))) : Null();
          });
      return true;
    }

    const SetWindowFieldsStage& stage_;
    RunContext* context_;
    StageRun* next_;
    Partitions partitions_;
    std::uint64_t steps_ = 0;
    std::size_t result_bytes_ = 0;
  };

  std::optional<Expression> partition_by_;
  std::optional<Sort> sort_;
  std::vector<WindowOutput> outputs_;
};

// --- $fill ---

// {field: {method: "locf"}}, {field: {method: "linear"}} are a $setWindowFields with $locf or
// $linearFill, {field: {value: expression}} a $set with $ifNull.
inline absl::StatusOr<StageList> CompileFill(const StageSpecification& specification) {
  const ValueView operand = specification.operand;
  if (!operand.IsDocument()) {
    return specification.Error("needs {sortBy: {...}, output: {field: {method: \"locf\"}}}, not ",
                               Describe(operand));
  }
  ALOS_RETURN_IF_ERROR(
      specification.CheckFields(operand, {"partitionBy", "partitionByFields", "sortBy", "output"}));
  const Operand output = operand.Find("output");
  if (!output || !output->IsDocument() || output->size() == 0) {
    return specification.Error("needs 'output', a document of fields such as {price: {value: 0}}");
  }
  std::string window;
  std::string values;
  Builder window_builder(&window);
  Builder value_builder(&values);
  bool has_window = false;
  bool has_values = false;
  window_builder.StartDocument();
  value_builder.StartDocument();
  if (const Operand partition_by = operand.Find("partitionBy")) {
    if (operand.Find("partitionByFields")) {
      return specification.Error("'partitionBy' and 'partitionByFields' exclude each other");
    }
    if (!partition_by->IsString() && !partition_by->IsDocument()) {
      return specification.Error("'partitionBy' needs an expression, not ",
                                 Describe(*partition_by));
    }
    window_builder.Key("partitionBy").Raw(*partition_by);
  } else if (const Operand fields = operand.Find("partitionByFields")) {
    if (!fields->IsArray()) {
      return specification.Error("'partitionByFields' needs an array of names, not ",
                                 Describe(*fields));
    }
    window_builder.Key("partitionBy").StartDocument();
    std::size_t number = 0;
    for (const ValueView field : fields->elements()) {
      if (!field.IsString() || !ParseFieldPath(field.AsString()).ok()) {
        return specification.Error("'partitionByFields' needs names of fields, not ",
                                   Describe(field));
      }
      window_builder.Key(absl::StrCat("f", number++)).String(absl::StrCat("$", field.AsString()));
    }
    window_builder.EndDocument();
  }
  if (const Operand sort = operand.Find("sortBy")) window_builder.Key("sortBy").Raw(*sort);
  window_builder.Key("output").StartDocument();
  for (const auto entry : output->entries()) {
    const std::string path = absl::StrCat("$", entry.key);
    const bool has_one_field = entry.value.IsDocument() && entry.value.size() == 1;
    const Operand method = has_one_field ? entry.value.Find("method") : std::nullopt;
    const Operand value = has_one_field ? entry.value.Find("value") : std::nullopt;
    if (method && method->IsString() &&
        (method->AsString() == "locf" || method->AsString() == "linear")) {
      if (!operand.Find("sortBy")) {
        return specification.Error("a 'method' needs a 'sortBy'");
      }
      has_window = true;
      window_builder.Key(entry.key).StartDocument(1);
      window_builder.Key(method->AsString() == "locf" ? "$locf" : "$linearFill").String(path);
      window_builder.EndDocument();
    } else if (value) {
      has_values = true;
      value_builder.Key(entry.key).StartDocument(1).Key("$ifNull").StartArray(2);
      value_builder.String(path).Raw(*value).EndArray().EndDocument();
    } else {
      return specification.Error("field '", DescribeText(entry.key),
                                 "': needs {value: <expression>}, {method: \"locf\"} or {method: "
                                 "\"linear\"}, not ",
                                 Describe(entry.value));
    }
  }
  window_builder.EndDocument();
  window_builder.EndDocument();
  value_builder.EndDocument();
  StageList stages;
  if (has_window) {
    ALOS_ASSIGN_OR_RETURN(
        std::unique_ptr<Stage> stage,
        SetWindowFieldsStage::Compile({specification.name, specification.position,
                                       ValueView::FromTrusted(window), specification.context}));
    stages.push_back(std::move(stage));
  }
  if (has_values) {
    ALOS_ASSIGN_OR_RETURN(
        std::unique_ptr<Stage> stage,
        FieldTreeStage::Compile({specification.name, specification.position,
                                 ValueView::FromTrusted(values), specification.context}));
    stages.push_back(std::move(stage));
  }
  return stages;
}

// --- $densify ---

// Adds documents where the values of a field have gaps.
class DensifyStage final : public Stage {
 public:
  // As MongoDB's.
  static constexpr std::uint64_t kDocumentsMax = 500'000;

  enum class Bounds { kFull, kPartition, kGiven };
  struct Parts {
    std::optional<Path> field;
    std::vector<Path> partition_fields;
    std::optional<Expression> partition_by;  // {f0: "$...", ...}
    std::optional<Sort> sort;                // by the field
    double step = 0;
    std::optional<std::int64_t> whole_step;
    std::optional<DateUnit> unit;
    Bounds bounds = Bounds::kFull;
    std::string lower;  // encoded; of kGiven
    std::string upper;
  };

  DensifyStage(const StageSpecification& specification, Parts parts)
      : Stage(specification.name, specification.position), parts_(std::move(parts)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error(
          "needs {field: ..., range: {step: ..., unit: ..., bounds: \"full\"}}, not ",
          Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(
        specification.CheckFields(operand, {"field", "partitionByFields", "range"}));
    Parts parts;
    ALOS_ASSIGN_OR_RETURN(parts.field, CompileFieldName(specification, "field"));
    std::string order;
    Builder order_builder(&order);
    order_builder.StartDocument(1).Key(parts.field->ToString()).Int(1).EndDocument();
    parts.sort = *Sort::Compile(ValueView::FromTrusted(order));
    if (const Operand fields = operand.Find("partitionByFields")) {
      if (!fields->IsArray()) {
        return specification.Error("'partitionByFields' needs an array of names, not ",
                                   Describe(*fields));
      }
      std::string key;
      Builder key_builder(&key);
      key_builder.StartDocument();
      for (const ValueView field : fields->elements()) {
        absl::StatusOr<Path> path = field.IsString() ? ParseFieldPath(field.AsString())
                                                     : absl::InvalidArgumentError(Describe(field));
        if (!path.ok()) {
          return specification.Error("'partitionByFields' needs names of fields: ",
                                     path.status().message());
        }
        const std::size_t common = std::min(path->parts().size(), parts.field->parts().size());
        if (path->parts().subspan(0, common) == parts.field->parts().subspan(0, common)) {
          return specification.Error("'partitionByFields' may not have the field itself");
        }
        key_builder.Key(absl::StrCat("f", parts.partition_fields.size()))
            .String(absl::StrCat("$", field.AsString()));
        parts.partition_fields.push_back(*std::move(path));
      }
      key_builder.EndDocument();
      if (!parts.partition_fields.empty()) {
        absl::StatusOr<Expression> compiled = Expression::Compile(ValueView::FromTrusted(key));
        if (!compiled.ok()) return specification.Error(compiled.status());
        parts.partition_by = *std::move(compiled);
      }
    }
    ALOS_RETURN_IF_ERROR(CompileRange(specification, &parts));
    return std::make_unique<DensifyStage>(specification, std::move(parts));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  static absl::Status CompileRange(const StageSpecification& specification, Parts* parts) {
    const Operand range = specification.operand.Find("range");
    if (!range || !range->IsDocument()) {
      return specification.Error("needs 'range', such as {step: 1, bounds: \"full\"}");
    }
    ALOS_RETURN_IF_ERROR(specification.CheckFields(*range, {"step", "unit", "bounds"}));
    const Operand step = range->Find("step");
    if (!step || !step->IsNumber() || !(step->AsDouble() > 0) || std::isinf(step->AsDouble())) {
      return specification.Error("'step' must be a number above 0, found ",
                                 step ? Describe(*step) : "none");
    }
    parts->step = step->AsDouble();
    if (step->type() == ValueType::kInt64) parts->whole_step = step->AsInt64();
    if (const Operand unit = range->Find("unit")) {
      absl::StatusOr<DateUnit> compiled = CompileUnit(*unit);
      if (!compiled.ok()) return specification.Error(compiled.status());
      parts->unit = *compiled;
      parts->whole_step = step->ToInt64();
      if (!parts->whole_step) {
        return specification.Error("with a 'unit', 'step' must be a whole number, not ",
                                   Describe(*step));
      }
    }
    const Operand bounds = range->Find("bounds");
    if (bounds && bounds->IsString() && bounds->AsString() == "full") return absl::OkStatus();
    if (bounds && bounds->IsString() && bounds->AsString() == "partition") {
      parts->bounds = Bounds::kPartition;
      return absl::OkStatus();
    }
    if (!bounds || !bounds->IsArray() || bounds->size() != 2) {
      return specification.Error("'bounds' needs \"full\", \"partition\" or [lower, upper], found ",
                                 bounds ? Describe(*bounds) : "none");
    }
    parts->bounds = Bounds::kGiven;
    const ValueView lower = *bounds->At(0);
    const ValueView upper = *bounds->At(1);
    for (const ValueView bound : {lower, upper}) {
      if (parts->unit ? bound.type() != ValueType::kTimestamp : !bound.IsNumber()) {
        return specification.Error("'bounds' needs two ", parts->unit ? "dates" : "numbers",
                                   ", found ", Describe(bound),
                                   parts->unit ? "" : "; give a 'unit' for dates");
      }
    }
    if (Compare(lower, upper) > 0) {
      return specification.Error("the lower bound is above the upper one");
    }
    parts->lower = lower.bytes();
    parts->upper = upper.bytes();
    return absl::OkStatus();
  }

  class Run final : public StageRun {
   public:
    Run(const DensifyStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage),
          parts_(stage->parts_),
          context_(context),
          next_(next),
          partitions_(stage, context, parts_.partition_by ? &*parts_.partition_by : nullptr) {}

    bool Push(ValueView document) override {
      const Operand value = GetField(document, parts_.field->parts());
      if (!IsNullish(value)) {
        if (parts_.unit ? value->type() != ValueType::kTimestamp : !value->IsNumber()) {
          return context_->Fail(stage_.RunError(
              "the field '", parts_.field->ToString(), "' must be a ",
              parts_.unit ? "date" : "number", " in every document, found ", Describe(*value),
              parts_.unit || value->type() != ValueType::kTimestamp ? ""
                                                                    : "; give a 'unit' for dates"));
        }
        if (lowest_.empty() || Compare(*value, View(lowest_)) < 0) lowest_ = value->bytes();
        if (highest_.empty() || Compare(*value, View(highest_)) > 0) highest_ = value->bytes();
      }
      return partitions_.Add(document);
    }

    void Finish() override {
      partitions_.ForEach(&*parts_.sort, [&](const std::vector<ValueView>& documents) {
        return FinishPartition(documents);
      });
    }

   private:
    static ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }

    // The value `number` steps above `from`; false: there is none.
    bool Step(ValueView from, std::uint64_t number, std::string* value) const {
      value->clear();
      Builder builder(value);
      if (parts_.unit) {
        std::int64_t amount = 0;
        if (__builtin_mul_overflow(static_cast<std::int64_t>(number), *parts_.whole_step,
                                   &amount)) {
          return false;
        }
        const auto moved = MoveDate(from.AsTimestamp(), amount, *parts_.unit);
        if (!moved) return false;
        builder.Time(*moved);
        return true;
      }
      if (parts_.whole_step && from.type() == ValueType::kInt64) {
        std::int64_t amount = 0;
        if (__builtin_mul_overflow(static_cast<std::int64_t>(number), *parts_.whole_step,
                                   &amount) ||
            __builtin_add_overflow(from.AsInt64(), amount, &amount)) {
          return false;
        }
        builder.Int(amount);
        return true;
      }
      builder.Double(from.AsDouble() + static_cast<double>(number) * parts_.step);
      return true;
    }

    bool FinishPartition(const std::vector<ValueView>& documents) {
      // Those without a value come first, and stay as they are.
      std::size_t next = 0;
      for (; next < documents.size(); ++next) {
        if (!IsNullish(GetField(documents[next], parts_.field->parts()))) break;
        if (!next_->Push(documents[next])) return false;
      }
      std::string from = parts_.lower;
      std::string to = parts_.upper;
      bool includes_upper = false;
      if (parts_.bounds == Bounds::kFull) {
        from = lowest_;
        to = highest_;
        includes_upper = true;
      } else if (parts_.bounds == Bounds::kPartition) {
        includes_upper = true;
        from.clear();
        if (next < documents.size()) {
          from = GetField(documents[next], parts_.field->parts())->bytes();
          to = GetField(documents.back(), parts_.field->parts())->bytes();
        }
      }
      std::string value;
      for (std::uint64_t number = 0; !from.empty(); ++number) {
        if (!Step(View(from), number, &value)) break;
        const std::weak_ordering order = Compare(View(value), View(to));
        if (includes_upper ? order > 0 : order >= 0) break;
        // A step that is lost in the rounding of large numbers would go on forever.
        if (number > kDocumentsMax + documents.size()) return TooMany();
        bool is_there = false;
        for (; next < documents.size(); ++next) {
          const std::weak_ordering place =
              Compare(*GetField(documents[next], parts_.field->parts()), View(value));
          if (place > 0) break;
          is_there = is_there || place == 0;
          if (!next_->Push(documents[next])) return false;
        }
        if (!is_there && !Emit(documents[0], value)) return false;
      }
      for (; next < documents.size(); ++next) {
        if (!next_->Push(documents[next])) return false;
      }
      return true;
    }

    bool TooMany() {
      return context_->Fail(absl::ResourceExhaustedError(
          absl::StrCat(stage_.Title(), " would add more than ", kDocumentsMax,
                       " documents; make the step larger or the bounds narrower")));
    }

    // A new document: the value, and the fields of the partition.
    bool Emit(ValueView like, const std::string& value) {
      if (++added_ > kDocumentsMax) return TooMany();
      std::string bytes(1, '\x80');
      std::string other;
      for (const Path& path : parts_.partition_fields) {
        const Operand field = GetField(like, path.parts());
        if (!field) continue;
        other.clear();
        AppendWithField(ValueView::FromTrusted(bytes), path, field, &other);
        std::swap(bytes, other);
      }
      other.clear();
      AppendWithField(ValueView::FromTrusted(bytes), *parts_.field, View(value), &other);
      return EmitChecked(stage_, context_, next_, other);
    }

    const DensifyStage& stage_;
    const Parts& parts_;
    RunContext* context_;
    StageRun* next_;
    Partitions partitions_;
    std::string lowest_;
    std::string highest_;
    std::uint64_t added_ = 0;
  };

  Parts parts_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_WINDOW_STAGES_H_
