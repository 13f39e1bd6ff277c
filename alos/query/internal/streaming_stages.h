// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The stages that take documents one by one, and $sort and $sample, which choose among them:
// $match $project $addFields $set $unset $replaceRoot $replaceWith $redact $unwind $skip $limit
// $sort $sample $documents.

#ifndef ALOS_QUERY_INTERNAL_STREAMING_STAGES_H_
#define ALOS_QUERY_INTERNAL_STREAMING_STAGES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"
#include "alos/query/internal/field_tree.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/internal/sorter.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

// --- $match ---

class MatchStage final : public Stage {
 public:
  MatchStage(const StageSpecification& specification, Filter filter)
      : Stage(specification.name, specification.position, StageKind::kMatch),
        filter_(std::move(filter)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    FilterContext context;
    context.text_fields = specification.context.text_fields;
    context.variables = &specification.context.variables;
    absl::StatusOr<Filter> filter = Filter::Compile(specification.operand, context);
    if (!filter.ok()) return specification.Error(filter.status());
    return std::make_unique<MatchStage>(specification, *std::move(filter));
  }

  const Filter& filter() const { return filter_; }

  Needs AddNeeds(std::vector<std::string>* fields) const override {
    const FilterProgram& program = filter_.program();
    for (const FilterNode& node : program.nodes()) {
      if (node.op == FilterOp::kJsonSchema || node.op == FilterOp::kText) return Needs::kUnknown;
    }
    for (const Path& path : program.paths()) fields->push_back(path.parts()[0]);
    for (const Expression& expression : program.expressions()) {
      if (!AddFieldsOf(expression, fields)) return Needs::kUnknown;
    }
    return Needs::kSome;
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const MatchStage* stage, RunContext* context, StageRun* next)
        : stage_(stage), next_(next), has_expressions_(stage->filter_.may_fail()) {
      if (has_expressions_) evaluator_.emplace(stage, context);
    }
    bool Push(ValueView document) override {
      if (!has_expressions_) return !stage_->filter_.Matches(document) || next_->Push(document);
      evaluator_->Reset();
      const absl::StatusOr<bool> matches = stage_->filter_.Matches(document, evaluator_->state());
      if (!matches.ok()) return evaluator_->context()->Fail(stage_->Annotate(matches.status()));
      return !*matches || next_->Push(document);
    }

   private:
    const MatchStage* stage_;
    StageRun* next_;
    bool has_expressions_;
    std::optional<StageEvaluator> evaluator_;
  };

  Filter filter_;
};

// --- $project, $addFields, $set, $unset ---

class FieldTreeStage final : public Stage {
 public:
  FieldTreeStage(std::string_view name, std::size_t position, FieldTree tree)
      : Stage(name, position), tree_(std::move(tree)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    absl::StatusOr<FieldTree> tree = CompileTree(specification);
    if (!tree.ok()) return specification.Error(tree.status());
    return std::make_unique<FieldTreeStage>(specification.name, specification.position,
                                            *std::move(tree));
  }

  Needs AddNeeds(std::vector<std::string>* fields) const override { return tree_.AddNeeds(fields); }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const FieldTreeStage* stage, RunContext* context, StageRun* next)
        : stage_(stage), context_(context), next_(next), evaluator_(stage, context) {}
    bool Push(ValueView document) override {
      bytes_.clear();
      if (!stage_->tree_.Apply(document, &evaluator_, &bytes_)) return false;
      if (stage_->tree_.has_computed()) return EmitChecked(*stage_, context_, next_, bytes_);
      return next_->Push(ValueView::FromTrusted(bytes_));
    }

   private:
    const FieldTreeStage* stage_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
    std::string bytes_;
  };

  static absl::StatusOr<FieldTree> CompileTree(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    const VariableScope& variables = specification.context.variables;
    if (specification.name == "$project") return FieldTree::CompileProjection(operand, variables);
    if (specification.name != "$unset") return FieldTree::CompileAddFields(operand, variables);
    std::vector<std::string_view> paths;
    if (operand.IsString()) {
      paths.push_back(operand.AsString());
    } else if (operand.IsArray() && operand.size() > 0) {
      for (const ValueView field : operand.elements()) {
        if (!field.IsString()) {
          return absl::InvalidArgumentError(
              absl::StrCat("needs names of fields, not ", Describe(field)));
        }
        paths.push_back(field.AsString());
      }
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("needs the name of a field or an array of names, not ", Describe(operand)));
    }
    return FieldTree::CompileUnset(paths);
  }

  FieldTree tree_;
};

// --- $replaceRoot, $replaceWith ---

class ReplaceRootStage final : public Stage {
 public:
  ReplaceRootStage(const StageSpecification& specification, Expression expression)
      : Stage(specification.name, specification.position), expression_(std::move(expression)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    ValueView operand = specification.operand;
    if (specification.name == "$replaceRoot") {
      if (!operand.IsDocument() || !operand.Find("newRoot")) {
        return specification.Error("needs {newRoot: <expression>}, not ", Describe(operand));
      }
      ALOS_RETURN_IF_ERROR(specification.CheckFields(operand, {"newRoot"}));
      operand = *operand.Find("newRoot");
    }
    absl::StatusOr<Expression> expression =
        Expression::Compile(operand, specification.context.variables);
    if (!expression.ok()) return specification.Error(expression.status());
    return std::make_unique<ReplaceRootStage>(specification, *std::move(expression));
  }

  Needs AddNeeds(std::vector<std::string>* fields) const override {
    return AddFieldsOf(expression_, fields) ? Needs::kAll : Needs::kUnknown;
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const ReplaceRootStage* stage, RunContext* context, StageRun* next)
        : stage_(stage), context_(context), next_(next), evaluator_(stage, context) {}
    bool Push(ValueView document) override {
      evaluator_.Reset();
      Operand value;
      if (!evaluator_.Evaluate(stage_->expression_, document, &value)) return false;
      if (!value || !value->IsDocument()) {
        return context_->Fail(stage_->RunError(
            "the new root must be a document, but is ", value ? Describe(*value) : "missing",
            "; $match on the type first, or wrap it, such as {$mergeObjects: [{}, \"$a\"]}"));
      }
      return next_->Push(*value);
    }

   private:
    const ReplaceRootStage* stage_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
  };

  Expression expression_;
};

// --- $redact ---

// The expression says for each document within the document, from the outermost on, whether to
// keep it as it is, leave it out, or keep its fields and look into them.
class RedactStage final : public Stage {
 public:
  RedactStage(const StageSpecification& specification, Expression expression)
      : Stage(specification.name, specification.position), expression_(std::move(expression)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    VariableScope variables = specification.context.variables;
    variables.DeclareRedactVariables();
    absl::StatusOr<Expression> expression = Expression::Compile(specification.operand, variables);
    if (!expression.ok()) return specification.Error(expression.status());
    return std::make_unique<RedactStage>(specification, *std::move(expression));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const RedactStage* stage, RunContext* context, StageRun* next)
        : stage_(stage), context_(context), next_(next), evaluator_(stage, context) {}
    bool Push(ValueView document) override {
      bytes_.clear();
      Builder builder(&bytes_);
      evaluator_.Reset();
      Verdict verdict;
      if (!Judge(document, &verdict)) return false;
      switch (verdict) {
        case Verdict::kKeep:
          return next_->Push(document);
        case Verdict::kPrune:
          return true;
        case Verdict::kDescend:
          if (!Descend(document, &builder)) return false;
          return next_->Push(ValueView::FromTrusted(bytes_));
      }
      return true;
    }

   private:
    enum class Verdict { kKeep, kPrune, kDescend };

    bool Judge(ValueView document, Verdict* verdict) {
      Operand value;
      if (!evaluator_.Evaluate(stage_->expression_, document, &value)) return false;
      const std::string_view word =
          value && value->IsString() ? value->AsString() : std::string_view();
      if (word == "keep") {
        *verdict = Verdict::kKeep;
      } else if (word == "prune") {
        *verdict = Verdict::kPrune;
      } else if (word == "descend") {
        *verdict = Verdict::kDescend;
      } else {
        return context_->Fail(
            stage_->RunError("the expression must give $$KEEP, $$PRUNE or $$DESCEND, but gave ",
                             value ? Describe(*value) : "nothing"));
      }
      return true;
    }

    // Writes the fields of `document` that remain. As deep as the document nests.
    bool Descend(ValueView document, Builder* builder) {
      builder->StartDocument();
      for (const auto entry : document.entries()) {
        if (entry.value.IsDocument()) {
          Verdict verdict;
          if (!Judge(entry.value, &verdict)) return false;
          if (verdict == Verdict::kPrune) continue;
          builder->Key(entry.key);
          if (verdict == Verdict::kKeep) {
            builder->Raw(entry.value);
          } else if (!Descend(entry.value, builder)) {
            return false;
          }
        } else if (entry.value.IsArray()) {
          builder->Key(entry.key);
          if (!DescendArray(entry.value, builder)) return false;
        } else {
          builder->Key(entry.key).Raw(entry.value);
        }
      }
      builder->EndDocument();
      return true;
    }

    bool DescendArray(ValueView array, Builder* builder) {
      builder->StartArray();
      for (const ValueView element : array.elements()) {
        if (element.IsDocument()) {
          Verdict verdict;
          if (!Judge(element, &verdict)) return false;
          if (verdict == Verdict::kPrune) continue;
          if (verdict == Verdict::kKeep) {
            builder->Raw(element);
          } else if (!Descend(element, builder)) {
            return false;
          }
        } else if (element.IsArray()) {
          if (!DescendArray(element, builder)) return false;
        } else {
          builder->Raw(element);
        }
      }
      builder->EndArray();
      return true;
    }

    const RedactStage* stage_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
    std::string bytes_;
  };

  Expression expression_;
};

// --- $unwind ---

class UnwindStage final : public Stage {
 public:
  UnwindStage(const StageSpecification& specification, Path path, std::optional<Path> index,
              bool keeps_empty)
      : Stage(specification.name, specification.position),
        path_(std::move(path)),
        index_(std::move(index)),
        keeps_empty_(keeps_empty) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    ValueView path = operand;
    std::optional<Path> index;
    bool keeps_empty = false;
    if (operand.IsDocument()) {
      ALOS_RETURN_IF_ERROR(specification.CheckFields(
          operand, {"path", "includeArrayIndex", "preserveNullAndEmptyArrays"}));
      const Operand given = operand.Find("path");
      if (!given) return specification.Error("the field 'path' is missing");
      path = *given;
      if (const Operand name = operand.Find("includeArrayIndex")) {
        if (!name->IsString()) {
          return specification.Error("includeArrayIndex needs the name of a field, not ",
                                     Describe(*name));
        }
        absl::StatusOr<Path> parsed = ParseFieldPath(name->AsString());
        if (!parsed.ok()) {
          return specification.Error("includeArrayIndex: ", parsed.status().message());
        }
        index = *std::move(parsed);
      }
      if (const Operand keep = operand.Find("preserveNullAndEmptyArrays")) {
        if (!keep->IsBool()) {
          return specification.Error("preserveNullAndEmptyArrays needs true or false, not ",
                                     Describe(*keep));
        }
        keeps_empty = keep->AsBool();
      }
    }
    if (!path.IsString() || !path.AsString().starts_with('$')) {
      return specification.Error("needs the path of a field that begins with '$', not ",
                                 Describe(path));
    }
    absl::StatusOr<Path> parsed = ParseFieldPath(path.AsString().substr(1));
    if (!parsed.ok()) return specification.Error(parsed.status());
    return std::make_unique<UnwindStage>(specification, *std::move(parsed), std::move(index),
                                         keeps_empty);
  }

  Needs AddNeeds(std::vector<std::string>* fields) const override {
    fields->push_back(path_.parts()[0]);
    return Needs::kSome;
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const UnwindStage* stage, RunContext* context, StageRun* next)
        : stage_(stage), context_(context), next_(next) {}
    bool Push(ValueView document) override {
      const Operand value = GetField(document, stage_->path_.parts());
      if (!value || value->IsNull()) {
        return !stage_->keeps_empty_ || Emit(document, value, std::nullopt);
      }
      if (!value->IsArray()) return Emit(document, value, std::nullopt);
      if (value->size() == 0) {
        return !stage_->keeps_empty_ || Emit(document, std::nullopt, std::nullopt);
      }
      std::uint64_t index = 0;
      for (const ValueView element : value->elements()) {
        if (!Emit(document, element, index++)) return false;
      }
      return true;
    }

   private:
    bool Emit(ValueView document, const Operand& value, std::optional<std::uint64_t> index) {
      bytes_.clear();
      AppendWithField(document, stage_->path_, value, &bytes_);
      if (!stage_->index_) return next_->Push(ValueView::FromTrusted(bytes_));
      with_index_.clear();
      Builder builder(&with_index_);
      const ValueView unwound = ValueView::FromTrusted(bytes_);
      WriteWithField(
          &unwound, stage_->index_->parts(), true,
          [&](Builder* field) {
            if (index) {
              field->Uint(*index);
            } else {
              field->Null();
            }
          },
          &builder);
      return EmitChecked(*stage_, context_, next_, with_index_);
    }

    const UnwindStage* stage_;
    RunContext* context_;
    StageRun* next_;
    std::string bytes_;
    std::string with_index_;
  };

  Path path_;
  std::optional<Path> index_;
  bool keeps_empty_;
};

// --- $skip, $limit ---

class SkipStage final : public Stage {
 public:
  SkipStage(const StageSpecification& specification, std::uint64_t count)
      : Stage(specification.name, specification.position, StageKind::kSkip), count_(count) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const std::optional<std::int64_t> count = specification.operand.ToInt64();
    if (!count.has_value() || *count < 0) {
      return specification.Error("needs a whole number that is not negative, not ",
                                 Describe(specification.operand));
    }
    return std::make_unique<SkipStage>(specification, static_cast<std::uint64_t>(*count));
  }

  std::uint64_t count() const { return count_; }
  Needs AddNeeds(std::vector<std::string>*) const override { return Needs::kSome; }

  std::unique_ptr<StageRun> Start(RunContext*, StageRun* next) const override {
    return std::make_unique<Run>(count_, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(std::uint64_t count, StageRun* next) : remaining_(count), next_(next) {}
    bool Push(ValueView document) override {
      if (remaining_ > 0) {
        --remaining_;
        return true;
      }
      return next_->Push(document);
    }

   private:
    std::uint64_t remaining_;
    StageRun* next_;
  };

  std::uint64_t count_;
};

class LimitStage final : public Stage {
 public:
  LimitStage(std::string_view name, std::size_t position, std::uint64_t count)
      : Stage(name, position, StageKind::kLimit), count_(count) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const std::optional<std::int64_t> count = specification.operand.ToInt64();
    if (!count.has_value() || *count <= 0) {
      return specification.Error("needs a whole number above 0, not ",
                                 Describe(specification.operand));
    }
    return std::make_unique<LimitStage>(specification.name, specification.position,
                                        static_cast<std::uint64_t>(*count));
  }

  std::uint64_t count() const { return count_; }
  Needs AddNeeds(std::vector<std::string>*) const override { return Needs::kSome; }

  std::unique_ptr<StageRun> Start(RunContext*, StageRun* next) const override {
    return std::make_unique<Run>(count_, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(std::uint64_t count, StageRun* next) : remaining_(count), next_(next) {}
    bool Push(ValueView document) override {
      if (remaining_ == 0) return false;
      --remaining_;
      return next_->Push(document) && remaining_ != 0;
    }

   private:
    std::uint64_t remaining_;
    StageRun* next_;
  };

  std::uint64_t count_;
};

// --- $sort ---

class SortStage final : public Stage {
 public:
  static constexpr std::uint64_t kKeepAll = std::numeric_limits<std::uint64_t>::max();

  SortStage(std::string_view name, std::size_t position, Sort sort)
      : Stage(name, position, StageKind::kSort), sort_(std::move(sort)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    absl::StatusOr<Sort> sort = Sort::Compile(specification.operand);
    if (!sort.ok()) return specification.Error(sort.status());
    if (sort->empty()) return specification.Error("needs at least one field, such as {age: 1}");
    return std::make_unique<SortStage>(specification.name, specification.position,
                                       *std::move(sort));
  }

  const Sort& sort() const { return sort_; }
  Needs AddNeeds(std::vector<std::string>* fields) const override {
    for (std::size_t i = 0; i < sort_.size(); ++i) fields->push_back(sort_.path(i).parts()[0]);
    return Needs::kSome;
  }
  // How many documents later stages can use; the sort drops the rest early.
  void set_keep(std::uint64_t keep) { keep_ = keep; }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const SortStage* stage, RunContext* context, StageRun* next)
        : context_(context),
          next_(next),
          sorter_(&stage->sort_, stage->keep_, context->limits().stage_memory_bytes_max,
                  stage->position()) {}
    bool Push(ValueView document) override {
      absl::Status added = sorter_.Add(document);
      return added.ok() || context_->Fail(std::move(added));
    }
    void Finish() override {
      sorter_.Finish([this](ValueView document) { return next_->Push(document); });
    }

   private:
    RunContext* context_;
    StageRun* next_;
    Sorter sorter_;
  };

  Sort sort_;
  std::uint64_t keep_ = kKeepAll;
};

// A $limit right after a $sort, or after $skip stages behind it, bounds what the sort must keep.
inline void LimitSorts(StageList* stages) {
  for (std::size_t i = 0; i < stages->size(); ++i) {
    if ((*stages)[i]->kind() != StageKind::kSort) continue;
    auto& sort = static_cast<SortStage&>(*(*stages)[i]);
    std::uint64_t skipped = 0;
    for (std::size_t j = i + 1; j < stages->size(); ++j) {
      const Stage& stage = *(*stages)[j];
      if (stage.kind() == StageKind::kSkip) {
        const std::uint64_t count = static_cast<const SkipStage&>(stage).count();
        if (count > SortStage::kKeepAll - skipped) break;
        skipped += count;
        continue;
      }
      if (stage.kind() == StageKind::kLimit) {
        const std::uint64_t count = static_cast<const LimitStage&>(stage).count();
        if (count <= SortStage::kKeepAll - skipped) sort.set_keep(skipped + count);
      }
      break;
    }
  }
}

// --- $sample ---

// A uniform sample without repetition, by reservoir: one pass, memory for `size` documents.
class SampleStage final : public Stage {
 public:
  SampleStage(const StageSpecification& specification, std::uint64_t size)
      : Stage(specification.name, specification.position), size_(size) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error("needs {size: <number of documents>}, not ", Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(specification.CheckFields(operand, {"size"}));
    const Operand size = operand.Find("size");
    const std::optional<std::int64_t> count = size ? size->ToInt64() : std::nullopt;
    if (!count || *count <= 0) {
      return specification.Error("needs {size: <whole number above 0>}, found ",
                                 size ? Describe(*size) : "no size");
    }
    return std::make_unique<SampleStage>(specification, static_cast<std::uint64_t>(*count));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const SampleStage* stage, RunContext* context, StageRun* next)
        : stage_(stage),
          context_(context),
          next_(next),
          budget_(stage, context, "sample fewer documents, or put a $project before it") {}
    bool Push(ValueView document) override {
      ++seen_;
      std::string* place = nullptr;
      if (documents_.size() < stage_->size_) {
        place = &documents_.emplace_back();
        if (!budget_.Add(sizeof(std::string))) return false;
      } else {
        const std::uint64_t chosen =
            std::uniform_int_distribution<std::uint64_t>(0, seen_ - 1)(context_->random());
        if (chosen >= stage_->size_) return true;
        place = &documents_[chosen];
      }
      budget_.Subtract(place->size());
      *place = document.bytes();
      return budget_.Add(place->size());
    }
    void Finish() override {
      std::shuffle(documents_.begin(), documents_.end(), context_->random());
      for (const std::string& document : documents_) {
        if (!next_->Push(ValueView::FromTrusted(document))) break;
      }
    }

   private:
    const SampleStage* stage_;
    RunContext* context_;
    StageRun* next_;
    MemoryBudget budget_;
    std::uint64_t seen_ = 0;
    std::vector<std::string> documents_;
  };

  std::uint64_t size_;
};

// --- $documents ---

class DocumentsStage final : public Stage {
 public:
  DocumentsStage(const StageSpecification& specification, Expression expression)
      : Stage(specification.name, specification.position, StageKind::kSource),
        expression_(std::move(expression)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    absl::StatusOr<Expression> expression =
        Expression::Compile(specification.operand, specification.context.variables);
    if (!expression.ok()) return specification.Error(expression.status());
    if (const Operand constant = expression->constant(); constant && !constant->IsArray()) {
      return specification.Error("needs an array of documents, not ", Describe(*constant));
    }
    return std::make_unique<DocumentsStage>(specification, *std::move(expression));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const DocumentsStage* stage, RunContext* context, StageRun* next)
        : stage_(stage), context_(context), next_(next), evaluator_(stage, context) {}
    bool Push(ValueView) override { return false; }
    void Finish() override {
      Operand value;
      const ValueView nothing = ValueView::FromTrusted(std::string_view("\x80", 1));
      if (!evaluator_.Evaluate(stage_->expression_, nothing, &value)) return;
      if (!value || !value->IsArray()) {
        context_->Fail(stage_->RunError("needs an array of documents, not ",
                                        value ? Describe(*value) : "nothing"));
        return;
      }
      for (const ValueView document : value->elements()) {
        if (!document.IsDocument()) {
          context_->Fail(
              stage_->RunError("needs an array of documents; found ", Describe(document)));
          return;
        }
        if (!next_->Push(document)) return;
      }
    }

   private:
    const DocumentsStage* stage_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
  };

  Expression expression_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_STREAMING_STAGES_H_
