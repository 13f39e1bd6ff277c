// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a stage of a pipeline is. A stage is compiled once and immutable; each run makes a StageRun
// of it, which has the state and hands documents to the next one:
//
//   source --Push--> $match --Push--> $group   $sort   sink
//                                       |         ^
//                          Finish: its groups ----+ Push
//
// Documents are pushed; a stage that needs all of them ("blocking") keeps them and gives its result
// in Finish, which is called stage by stage when the source is through.

#ifndef ALOS_QUERY_INTERNAL_PIPELINE_STAGE_H_
#define ALOS_QUERY_INTERNAL_PIPELINE_STAGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/expression_evaluation.h"
#include "alos/query/pipeline_environment.h"

namespace alos::query_internal {

class Stage;
using StageList = std::vector<std::unique_ptr<Stage>>;

// A variable that a $lookup defines for its pipeline, or a $merge for its own, in a run.
struct PipelineVariable {
  std::size_t slot;
  Operand value;
};

// What a stage may know while it is compiled.
struct StageCompileContext {
  // Pipelines within pipelines, as in $facet; a bound on recursion.
  static constexpr int kDepthMax = 20;

  using CompilePipeline = absl::StatusOr<StageList> (*)(ValueView stages,
                                                        const StageCompileContext& context);

  CompilePipeline compile_pipeline = nullptr;
  int depth = 0;
  bool in_facet = false;
  // The variables that the stages around this pipeline define.
  VariableScope variables;
  // What $text searches, in the outermost pipeline.
  std::vector<std::string> text_fields;
};

// One run of one pipeline, shared by its stages and the pipelines within them.
class RunContext {
 public:
  RunContext(const PipelineLimits& limits, const PipelineEnvironment& environment)
      : limits_(limits), environment_(environment) {
    const absl::Time now = absl::Now();
    const std::int64_t milliseconds = absl::ToUnixMillis(now);
    now_.seconds = milliseconds / 1000;
    now_.nanoseconds = static_cast<std::uint32_t>(milliseconds % 1000 * 1'000'000);
  }
  RunContext(const RunContext&) = delete;
  RunContext& operator=(const RunContext&) = delete;

  const PipelineLimits& limits() const { return limits_; }
  const PipelineEnvironment& environment() const { return environment_; }
  // $$NOW, one time for the whole run.
  Timestamp now() const { return now_; }

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  // Ends the run. The first error counts. Returns false, for `return context->Fail(...)` in Push.
  bool Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
    return false;
  }

  std::mt19937_64& random() {
    if (!random_) {
      random_ = std::make_unique<std::mt19937_64>(
          environment_.random_seed ? *environment_.random_seed : std::random_device()());
    }
    return *random_;
  }

  // What the stages around the pipeline define for it, now.
  absl::Span<const PipelineVariable> variables() const { return variables_; }
  void set_variables(absl::Span<const PipelineVariable> variables) { variables_ = variables; }

 private:
  const PipelineLimits& limits_;
  const PipelineEnvironment& environment_;
  Timestamp now_;
  absl::Status status_;
  std::unique_ptr<std::mt19937_64> random_;
  absl::Span<const PipelineVariable> variables_;
};

// The state of a stage during one run.
class StageRun {
 public:
  StageRun() = default;
  StageRun(const StageRun&) = delete;
  StageRun& operator=(const StageRun&) = delete;
  virtual ~StageRun() = default;

  // Takes a document, which is valid during the call. False: no further one can make a difference
  // to the result, or the run has failed (RunContext::status()).
  virtual bool Push(ValueView document) = 0;

  // The source is through: emits what the stage has held back.
  virtual void Finish() {}
};

// The end of the chain.
class SinkRun final : public StageRun {
 public:
  explicit SinkRun(absl::FunctionRef<bool(ValueView)> sink) : sink_(sink) {}
  bool Push(ValueView document) override { return sink_(document); }

 private:
  absl::FunctionRef<bool(ValueView)> sink_;
};

// What some stages are to those around them.
enum class StageKind { kMatch, kSort, kSkip, kLimit, kGroup, kOther, kSource, kOutput };

// A compiled stage.
//
// Threads: immutable. Lifetime: outlives its runs; owns all it needs.
class Stage {
 public:
  Stage(std::string_view name, std::size_t position, StageKind kind = StageKind::kOther)
      : name_(name), position_(position), kind_(kind) {}
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  virtual ~Stage() = default;

  virtual std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const = 0;

  // What the stage makes of what it needs: of all fields of its input those it looks at or hands
  // on.
  enum class Needs {
    kUnknown,  // everything
    kSome,     // those added, and what the stages after it need
    kAll,      // those added, and no others: its result is new
  };
  // Adds the top-level fields that it looks at.
  virtual Needs AddNeeds(std::vector<std::string>* fields) const {
    (void)fields;
    return Needs::kUnknown;
  }

  StageKind kind() const { return kind_; }
  // "$sort" and its place in the array that the client gave, from 0.
  std::string_view name() const { return name_; }
  std::size_t position() const { return position_; }

  // "aggregation stage $sort (stage 3)"
  std::string Title() const {
    return absl::StrCat("aggregation stage ", name_, " (stage ", position_ + 1, ")");
  }
  // An error that happens during a run, named after the stage.
  absl::Status Annotate(const absl::Status& status) const {
    if (status.ok()) return status;
    return absl::Status(status.code(), absl::StrCat(Title(), ": ", status.message()));
  }
  template <class... Pieces>
  absl::Status RunError(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(absl::StrCat(Title(), ": ", pieces...));
  }

 private:
  std::string name_;
  std::size_t position_;
  StageKind kind_;
};

// What a stage is compiled from.
struct StageSpecification {
  std::string_view name;
  std::size_t position = 0;
  ValueView operand;
  const StageCompileContext& context;

  template <class... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(
        absl::StrCat("aggregation stage ", name, " (stage ", position + 1, "): ", pieces...));
  }
  absl::Status Error(const absl::Status& status) const { return Error(status.message()); }

  // Refuses a field of `document` that is not among `known`.
  absl::Status CheckFields(ValueView document, absl::Span<const std::string_view> known) const {
    for (const auto entry : document.entries()) {
      bool found = false;
      for (const std::string_view name : known) found = found || name == entry.key;
      if (found) continue;
      std::string all;
      for (const std::string_view name : known) {
        absl::StrAppend(&all, all.empty() ? "" : " ", name);
      }
      return Error("unknown field '", DescribeText(entry.key), "'; known are ", all);
    }
    return absl::OkStatus();
  }
};

// Counts the memory that a stage holds.
class MemoryBudget {
 public:
  MemoryBudget(const Stage* stage, RunContext* context, std::string_view advice)
      : stage_(stage),
        context_(context),
        advice_(advice),
        bytes_max_(context->limits().stage_memory_bytes_max) {}

  // False, and the run has failed, when the limit is passed.
  bool Add(std::size_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= bytes_max_) [[likely]] {
      return true;
    }
    return context_->Fail(absl::ResourceExhaustedError(absl::StrCat(
        stage_->Title(), " exceeds its memory limit of ", bytes_max_, " bytes; ", advice_)));
  }
  void Subtract(std::size_t bytes) { bytes_ -= bytes < bytes_ ? bytes : bytes_; }
  void Clear() { bytes_ = 0; }
  std::size_t bytes() const { return bytes_; }
  std::size_t bytes_max() const { return bytes_max_; }

 private:
  const Stage* stage_;
  RunContext* context_;
  std::string_view advice_;
  std::size_t bytes_ = 0;
  std::size_t bytes_max_;
};

// Evaluates the expressions of a stage during a run. What it gives is good until the next Reset.
class StageEvaluator {
 public:
  StageEvaluator(const Stage* stage, RunContext* context)
      : stage_(stage), context_(context), state_(context->now()) {
    for (const PipelineVariable& variable : context->variables()) {
      state_.SetVariable(variable.slot, variable.value);
    }
  }

  void Reset() { state_.Reset(); }
  EvaluationState& state() { return state_; }
  RunContext* context() { return context_; }
  const Stage& stage() const { return *stage_; }

  // False, and the run has failed, when the expression cannot be evaluated.
  bool Evaluate(const Expression& expression, ValueView root, Operand* out) {
    absl::StatusOr<Operand> value = expression.Evaluate(root, state_);
    if (!value.ok()) [[unlikely]] {
      return context_->Fail(stage_->Annotate(value.status()));
    }
    *out = *value;
    return true;
  }

 private:
  const Stage* stage_;
  RunContext* context_;
  EvaluationState state_;
};

// Adds the top-level fields that the expression looks at; false: the whole document.
inline bool AddFieldsOf(const Expression& expression, std::vector<std::string>* fields) {
  if (expression.needs_whole_document()) return false;
  fields->insert(fields->end(), expression.fields().begin(), expression.fields().end());
  return true;
}

// Hands on a document that a stage has put together out of parts, unless it nests too deep.
inline bool EmitChecked(const Stage& stage, RunContext* context, StageRun* next,
                        std::string_view bytes) {
  const ValueView document = ValueView::FromTrusted(bytes);
  // A level takes at least a byte.
  if (bytes.size() > Evaluation::kNestingMax && NestsTo(document, Evaluation::kNestingMax + 1))
      [[unlikely]] {
    return context->Fail(stage.RunError("a document of its result nests deeper than ",
                                        Evaluation::kNestingMax, " levels"));
  }
  return next->Push(document);
}

// Whose time it is.
class StageClock {
 public:
  // Calls `work` at the cost of `account`, but for what is at the cost of another one within.
  template <class Work>
  void Charge(absl::Duration* account, Work&& work) {
    Book();
    absl::Duration* const before = std::exchange(account_, account);
    work();
    Book();
    account_ = before;
  }

 private:
  void Book() {
    const absl::Time now = absl::Now();
    if (account_ != nullptr) *account_ += now - last_;
    last_ = now;
  }

  absl::Time last_;
  absl::Duration* account_ = nullptr;
};

// Measures how long a stage takes by itself.
class TimedRun final : public StageRun {
 public:
  TimedRun(StageClock* clock, StageRun* run) : clock_(clock), run_(run) {}
  bool Push(ValueView document) override {
    bool more = false;
    clock_->Charge(&time_, [&] { more = run_->Push(document); });
    return more;
  }
  void Finish() override {
    clock_->Charge(&time_, [&] { run_->Finish(); });
  }
  absl::Duration time() const { return time_; }

 private:
  StageClock* const clock_;
  StageRun* const run_;
  absl::Duration time_;
};

// The runs of a list of stages, in front of a sink.
class StageChain {
 public:
  // Of the stages from `begin` on. REQUIRES: `stages`, `context`, `sink` and `times` (nullptr: not
  // asked for) outlive it.
  StageChain(const StageList& stages, std::size_t begin, RunContext* context, StageRun* sink,
             StageTimes* times = nullptr)
      : context_(context),
        first_(sink),
        times_(times),
        clock_(times != nullptr ? std::make_unique<StageClock>() : nullptr) {
    runs_.reserve((stages.size() - begin) * (times != nullptr ? 2 : 1));
    for (std::size_t i = stages.size(); i-- > begin;) {
      runs_.push_back(stages[i]->Start(context, first_));
      first_ = runs_.back().get();
      if (times == nullptr) continue;
      auto timed = std::make_unique<TimedRun>(clock_.get(), first_);
      first_ = timed.get();
      timed_.emplace_back(stages[i]->name(), timed.get());
      runs_.push_back(std::move(timed));
    }
    has_source_ = begin < stages.size() && stages[begin]->kind() == StageKind::kSource;
  }

  // The first stage makes its documents itself: nothing is to be pushed.
  bool has_source() const { return has_source_; }
  bool Push(ValueView document) { return first_->Push(document); }

  // The end of the input, or an early one because Push returned false.
  absl::Status Finish() {
    if (times_ == nullptr) {
      for (auto run = runs_.rbegin(); run != runs_.rend() && context_->ok(); ++run)
        (*run)->Finish();
      return context_->status();
    }
    for (auto timed = timed_.rbegin(); timed != timed_.rend() && context_->ok(); ++timed)
      timed->second->Finish();
    for (auto timed = timed_.rbegin(); timed != timed_.rend(); ++timed)
      times_->emplace_back(timed->first, timed->second->time());
    return context_->status();
  }

 private:
  RunContext* context_;
  StageRun* first_;
  StageTimes* times_;
  std::unique_ptr<StageClock> clock_;
  std::vector<std::pair<std::string_view, TimedRun*>> timed_;  // the last stage first
  std::vector<std::unique_ptr<StageRun>> runs_;                // the last stage first
  bool has_source_ = false;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_PIPELINE_STAGE_H_
