// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expression operators that are accumulators of $group as well: over their arguments, or over the
// elements of the array that a single argument is.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_STATISTICS_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_STATISTICS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/internal/expression_program.h"
#include "alos/query/internal/number_sum.h"

namespace alos::query_internal {

// Mean and deviation in one pass (Welford).
class Deviation {
 public:
  void Add(double value) {
    ++count_;
    const double delta = value - mean_;
    mean_ += delta / static_cast<double>(count_);
    squares_ += delta * (value - mean_);
  }
  void Merge(const Deviation& other) {
    if (other.count_ == 0) return;
    const auto mine = static_cast<double>(count_);
    const auto theirs = static_cast<double>(other.count_);
    const double delta = other.mean_ - mean_;
    count_ += other.count_;
    mean_ += delta * theirs / static_cast<double>(count_);
    squares_ += other.squares_ + delta * delta * mine * theirs / static_cast<double>(count_);
  }
  // nullopt for too few values.
  std::optional<double> Population() const { return Of(count_); }
  std::optional<double> Sample() const { return count_ == 0 ? std::nullopt : Of(count_ - 1); }

 private:
  std::optional<double> Of(std::uint64_t divisor) const {
    if (divisor == 0) return std::nullopt;
    return std::sqrt(squares_ / static_cast<double>(divisor));
  }

  std::uint64_t count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
};

// The value below which the part `p` (0 to 1) of `values` lies; reorders them. The discrete one is
// one of the values, the continuous one interpolates. REQUIRES: values is not empty, p in [0, 1].
inline double Percentile(absl::Span<double> values, double p, bool is_continuous) {
  const auto less = [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; };
  const auto at = [&](std::size_t index) {
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index),
                     values.end(), less);
    return values[index];
  };
  const auto count = static_cast<double>(values.size());
  if (!is_continuous) {
    const double rank = std::ceil(p * count);
    const std::size_t index = rank <= 1 ? 0 : static_cast<std::size_t>(rank) - 1;
    return at(std::min(index, values.size() - 1));
  }
  const double rank = p * (count - 1);
  const auto below = std::min(static_cast<std::size_t>(rank), values.size() - 1);
  const double low = at(below);
  if (below + 1 == values.size() || static_cast<double>(below) == rank) return low;
  const double high = *std::min_element(values.begin() + static_cast<std::ptrdiff_t>(below) + 1,
                                        values.end(), less);
  return low + (high - low) * (rank - static_cast<double>(below));
}

namespace expression_statistics {

// Calls use(const Operand&) for each value to accumulate; it returns nothing.
template <class Use>
bool ForEachValue(const Node& node, Evaluation& e, Use&& use) {
  if (node.arguments.size() == 1) {
    Operand value;
    if (!Evaluate(*node.arguments[0], e, &value)) return false;
    if (value && value->IsArray()) {
      if (!e.Charge(value->size())) return false;
      for (const ValueView element : value->elements()) use(Operand(element));
    } else {
      use(value);
    }
    return true;
  }
  for (const Node* const argument : node.arguments) {
    Operand value;
    if (!Evaluate(*argument, e, &value)) return false;
    use(value);
  }
  return true;
}

inline bool EvaluateSum(const Node& node, Evaluation& e, Operand* out) {
  NumberSum sum;
  if (!ForEachValue(node, e, [&sum](const Operand& value) {
        if (value && value->IsNumber()) sum.Add(*value);
      })) {
    return false;
  }
  return sum.SetResult(e, out);
}

inline bool EvaluateAvg(const Node& node, Evaluation& e, Operand* out) {
  NumberSum sum;
  std::size_t count = 0;
  if (!ForEachValue(node, e, [&](const Operand& value) {
        if (!value || !value->IsNumber()) return;
        sum.Add(*value);
        ++count;
      })) {
    return false;
  }
  if (count == 0) return e.SetNull(out);
  return e.SetDouble(sum.AsDouble() / static_cast<double>(count), out);
}

template <bool max>
bool EvaluateExtreme(const Node& node, Evaluation& e, Operand* out) {
  Operand extreme;
  if (!ForEachValue(node, e, [&extreme](const Operand& value) {
        if (IsNullish(value)) return;
        if (!extreme || (max ? Compare(*value, *extreme) > 0 : Compare(*value, *extreme) < 0)) {
          extreme = value;
        }
      })) {
    return false;
  }
  if (!extreme) return e.SetNull(out);
  *out = extreme;
  return true;
}

template <bool sample>
bool EvaluateDeviation(const Node& node, Evaluation& e, Operand* out) {
  Deviation deviation;
  if (!ForEachValue(node, e, [&deviation](const Operand& value) {
        if (value && value->IsNumber()) deviation.Add(value->AsDouble());
      })) {
    return false;
  }
  const std::optional<double> result = sample ? deviation.Sample() : deviation.Population();
  return result ? e.SetDouble(*result, out) : e.SetNull(out);
}

// --- Percentiles ---

inline constexpr std::string_view kMedianNames[] = {"input", "method"};
inline constexpr std::string_view kPercentileNames[] = {"input", "method", "p"};

inline absl::Status PreparePercentile(ExpressionCompiler& compiler, Node& node) {
  const Node* const method = node.arguments[1];
  if (IsConstant(method) && method->constant.IsString()) {
    const std::string_view name = method->constant.AsString();
    if (name == "approximate" || name == "discrete" || name == "continuous") {
      return absl::OkStatus();
    }
  }
  return compiler.Error(*node.op, "'method' has to be 'approximate', 'discrete' or 'continuous'");
}

template <bool median>
bool EvaluatePercentile(const Node& node, Evaluation& e, Operand* out) {
  Operand input;
  if (!EvaluateArgument(node, 0, e, &input)) return false;
  std::vector<double> values;
  if (input && input->IsArray()) {
    if (!e.Charge(input->size())) return false;
    if (input->size() > e.arena().limit_bytes() / sizeof(double)) return e.FailForMemory();
    for (const ValueView element : input->elements()) {
      if (element.IsNumber()) values.push_back(element.AsDouble());
    }
  } else if (input && input->IsNumber()) {
    values.push_back(input->AsDouble());
  }
  const bool is_continuous = node.arguments[1]->constant.AsString() == "continuous";
  const auto set = [&](double p, Operand* result) {
    if (values.empty()) return e.SetNull(result);
    return e.SetDouble(Percentile(absl::MakeSpan(values), p, is_continuous), result);
  };
  if constexpr (median) return set(0.5, out);
  Operand p;
  if (!EvaluateArgument(node, 2, e, &p)) return false;
  if (!p || !p->IsArray() || p->size() == 0) {
    return Fail(node, e, "'p' has to be an array of at least one number, found ",
                p ? Describe(*p) : "missing");
  }
  const std::size_t mark = e.stack.size();
  for (const ValueView part : p->elements()) {
    if (!part.IsNumber() || !(part.AsDouble() >= 0 && part.AsDouble() <= 1)) {
      return Fail(node, e, "'p' has to hold numbers of 0 to 1, found ", Describe(part));
    }
    Operand result;
    if (!e.Charge(1 + values.size()) || !set(part.AsDouble(), &result) || !e.Push(result)) {
      return false;
    }
  }
  return e.SetArray(mark, out);
}

inline constexpr Operator kOperators[] = {
    {"$sum", &EvaluateSum, 0, Operator::kAnyCount},
    {"$avg", &EvaluateAvg, 0, Operator::kAnyCount},
    {"$max", &EvaluateExtreme<true>, 0, Operator::kAnyCount},
    {"$min", &EvaluateExtreme<false>, 0, Operator::kAnyCount},
    {"$stdDevPop", &EvaluateDeviation<false>, 0, Operator::kAnyCount},
    {"$stdDevSamp", &EvaluateDeviation<true>, 0, Operator::kAnyCount},
    {.name = "$median",
     .evaluate = &EvaluatePercentile<true>,
     .names = kMedianNames,
     .prepare = &PreparePercentile},
    {.name = "$percentile",
     .evaluate = &EvaluatePercentile<false>,
     .names = kPercentileNames,
     .prepare = &PreparePercentile},
};

}  // namespace expression_statistics
}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_STATISTICS_H_
