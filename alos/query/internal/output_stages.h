// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The stages that write to a database or ask about one: $out $merge $indexStats $collStats.

#ifndef ALOS_QUERY_INTERNAL_OUTPUT_STAGES_H_
#define ALOS_QUERY_INTERNAL_OUTPUT_STAGES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"
#include "alos/query/internal/field_tree.h"
#include "alos/query/internal/join_stages.h"
#include "alos/query/internal/pipeline_stage.h"

namespace alos::query_internal {

// "name" or {db: ..., coll: ...}: the collection that $out and $merge write to. The database is
// checked when the pipeline runs.
struct OutputTarget {
  std::string database;  // empty: that of the pipeline
  std::string collection;

  static absl::StatusOr<OutputTarget> Compile(const StageSpecification& specification,
                                              ValueView value) {
    OutputTarget target;
    Operand collection = value;
    if (value.IsDocument()) {
      ALOS_RETURN_IF_ERROR(specification.CheckFields(value, {"db", "coll"}));
      collection = value.Find("coll");
      if (const Operand database = value.Find("db")) {
        if (!database->IsString()) {
          return specification.Error("'db' needs the name of a database, not ",
                                     Describe(*database));
        }
        target.database = database->AsString();
      }
    }
    if (!collection || !collection->IsString() || collection->AsString().empty()) {
      return specification.Error("needs the name of a collection, not ", Describe(value));
    }
    target.collection = collection->AsString();
    return target;
  }

  bool Check(const Stage& stage, RunContext* context) const {
    const std::string& own = context->environment().database;
    if (database.empty() || database == own) return true;
    return context->Fail(stage.RunError("writes to the database that it reads, '",
                                        DescribeText(own), "', only, not to '",
                                        DescribeText(database), "'"));
  }
};

// --- $out ---

// Nothing changes before the last document is there.
class OutStage final : public Stage {
 public:
  OutStage(const StageSpecification& specification, OutputTarget target)
      : Stage(specification.name, specification.position, StageKind::kOutput),
        target_(std::move(target)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    ALOS_ASSIGN_OR_RETURN(OutputTarget target,
                          OutputTarget::Compile(specification, specification.operand));
    return std::make_unique<OutStage>(specification, std::move(target));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const OutStage* stage, RunContext* context, StageRun*) : stage_(*stage), context_(context) {
      if (!context->environment().replace_collection) {
        context->Fail(absl::FailedPreconditionError(
            absl::StrCat(stage->Title(), " needs a database, and there is none here")));
      }
    }
    bool Push(ValueView document) override {
      if (!Begin()) return false;
      const absl::Status put = replacement_->put(document);
      return put.ok() || context_->Fail(stage_.Annotate(put));
    }
    void Finish() override {
      if (!Begin()) return;
      const absl::Status committed = replacement_->commit();
      if (!committed.ok()) context_->Fail(stage_.Annotate(committed));
    }

   private:
    bool Begin() {
      if (replacement_) return true;
      if (!context_->ok() || !stage_.target_.Check(stage_, context_)) return false;
      absl::StatusOr<PipelineEnvironment::Replacement> begun =
          context_->environment().replace_collection(stage_.target_.collection);
      if (!begun.ok()) return context_->Fail(stage_.Annotate(begun.status()));
      replacement_ = *std::move(begun);
      return true;
    }

    const OutStage& stage_;
    RunContext* context_;
    std::optional<PipelineEnvironment::Replacement> replacement_;
  };

  OutputTarget target_;
};

// --- $merge ---

class MergeStage final : public Stage {
 public:
  enum class WhenMatched { kReplace, kKeepExisting, kMerge, kFail, kPipeline };
  enum class WhenNotMatched { kInsert, kDiscard, kFail };

  struct Parts {
    OutputTarget target;
    std::vector<Path> on;
    WhenMatched when_matched = WhenMatched::kMerge;
    WhenNotMatched when_not_matched = WhenNotMatched::kInsert;
    std::vector<std::pair<std::size_t, Expression>> let;
    InnerPipeline pipeline;
  };

  MergeStage(const StageSpecification& specification, Parts parts)
      : Stage(specification.name, specification.position, StageKind::kOutput),
        parts_(std::move(parts)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    Parts parts;
    parts.on.push_back(*Path::Parse("_id"));
    if (operand.IsString()) {
      ALOS_ASSIGN_OR_RETURN(parts.target, OutputTarget::Compile(specification, operand));
      return std::make_unique<MergeStage>(specification, std::move(parts));
    }
    if (!operand.IsDocument() || !operand.Find("into")) {
      return specification.Error("needs the name of a collection or {into: ..., on: ..., ",
                                 "whenMatched: ..., whenNotMatched: ...}, not ", Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(
        specification.CheckFields(operand, {"into", "on", "let", "whenMatched", "whenNotMatched"}));
    ALOS_ASSIGN_OR_RETURN(parts.target,
                          OutputTarget::Compile(specification, *operand.Find("into")));
    if (const Operand on = operand.Find("on")) {
      ALOS_RETURN_IF_ERROR(CompileOn(specification, *on, &parts));
    }
    VariableScope variables;
    const Operand let = operand.Find("let");
    const Operand when_matched = operand.Find("whenMatched");
    if (when_matched && when_matched->IsArray()) {
      parts.when_matched = WhenMatched::kPipeline;
      if (let && !let->IsDocument()) {
        return specification.Error("'let' needs a document of variables, not ", Describe(*let));
      }
      // {new: "$$ROOT"} if there is none.
      std::string standard;
      Builder builder(&standard);
      builder.StartDocument(1).Key("new").String("$$ROOT").EndDocument();
      for (const auto entry : (let ? *let : ValueView::FromTrusted(standard)).entries()) {
        absl::StatusOr<Expression> value = Expression::Compile(entry.value);
        if (!value.ok()) return specification.Error("let: ", value.status().message());
        absl::StatusOr<std::size_t> slot = variables.Declare(entry.key);
        if (!slot.ok()) return specification.Error("let: ", slot.status().message());
        parts.let.emplace_back(*slot, *std::move(value));
      }
      static constexpr std::string_view kAllowed[] = {"$addFields", "$set",         "$project",
                                                      "$unset",     "$replaceRoot", "$replaceWith"};
      for (const ValueView stage : when_matched->elements()) {
        bool allowed = false;
        for (const std::string_view name : kAllowed) {
          allowed = allowed || (stage.IsDocument() && stage.Find(name));
        }
        if (!allowed) {
          return specification.Error(
              "the pipeline of 'whenMatched' may have only the stages $addFields, $set, $project, "
              "$unset, $replaceRoot and $replaceWith");
        }
      }
      ALOS_ASSIGN_OR_RETURN(parts.pipeline,
                            InnerPipeline::Compile(specification, *when_matched, variables));
    } else if (let) {
      return specification.Error("'let' is for a pipeline in 'whenMatched', and there is none");
    } else if (when_matched) {
      static constexpr std::pair<std::string_view, WhenMatched> kNames[] = {
          {"replace", WhenMatched::kReplace},
          {"keepExisting", WhenMatched::kKeepExisting},
          {"merge", WhenMatched::kMerge},
          {"fail", WhenMatched::kFail}};
      bool found = false;
      for (const auto& [name, value] : kNames) {
        if (!when_matched->IsString() || when_matched->AsString() != name) continue;
        parts.when_matched = value;
        found = true;
      }
      if (!found) {
        return specification.Error("'whenMatched' needs \"replace\", \"keepExisting\", \"merge\", ",
                                   "\"fail\" or a pipeline, not ", Describe(*when_matched));
      }
    }
    if (const Operand given = operand.Find("whenNotMatched")) {
      const std::string_view name = given->IsString() ? given->AsString() : std::string_view();
      if (name == "discard") {
        parts.when_not_matched = WhenNotMatched::kDiscard;
      } else if (name == "fail") {
        parts.when_not_matched = WhenNotMatched::kFail;
      } else if (name != "insert") {
        return specification.Error("'whenNotMatched' needs \"insert\", \"discard\" or \"fail\", ",
                                   "not ", Describe(*given));
      }
    }
    return std::make_unique<MergeStage>(specification, std::move(parts));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  static absl::Status CompileOn(const StageSpecification& specification, ValueView on,
                                Parts* parts) {
    parts->on.clear();
    const auto add = [&](ValueView name) -> absl::Status {
      if (!name.IsString()) {
        return specification.Error("'on' needs names of fields, not ", Describe(name));
      }
      absl::StatusOr<Path> path = ParseFieldPath(name.AsString());
      if (!path.ok()) return specification.Error("on: ", path.status().message());
      parts->on.push_back(*std::move(path));
      return absl::OkStatus();
    };
    if (!on.IsArray()) return add(on);
    for (const ValueView name : on.elements()) ALOS_RETURN_IF_ERROR(add(name));
    if (parts->on.empty()) return specification.Error("'on' needs at least one field");
    return absl::OkStatus();
  }

  class Run final : public StageRun {
   public:
    Run(const MergeStage* stage, RunContext* context, StageRun*)
        : stage_(*stage), parts_(stage->parts_), context_(context), evaluator_(stage, context) {
      if (!context->environment().merge) {
        context->Fail(absl::FailedPreconditionError(
            absl::StrCat(stage->Title(), " needs a database, and there is none here")));
      }
    }

    bool Push(ValueView document) override {
      if (!context_->ok() || !parts_.target.Check(stage_, context_)) return false;
      // What has no _id is new.
      std::string with_id;
      if (!document.Find("_id")) {
        Builder builder(&with_id);
        builder.StartDocument(document.size() + 1).Key("_id").String(NewId());
        for (const auto entry : document.entries()) builder.Key(entry.key).Raw(entry.value);
        builder.EndDocument();
        document = ValueView::FromTrusted(with_id);
      }
      std::string equalities;
      Builder builder(&equalities);
      builder.StartDocument(parts_.on.size());
      for (const Path& path : parts_.on) {
        const Operand value = GetField(document, path.parts());
        if (IsNullish(value) || value->IsArray()) {
          return context_->Fail(stage_.RunError(
              "the field '", path.ToString(), "' of 'on' must have a value that is neither null ",
              "nor an array, in every document; found ", value ? Describe(*value) : "none"));
        }
        builder.Key(path.ToString()).StartDocument(1).Key("$eq").Raw(*value).EndDocument();
      }
      builder.EndDocument();
      const absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(equalities));
      if (!filter.ok()) return context_->Fail(stage_.Annotate(filter.status()));
      const absl::Status merged = context_->environment().merge(
          parts_.target.collection, *filter,
          [&](std::optional<ValueView> current) { return Decide(document, current); });
      return merged.ok() || context_->Fail(stage_.Annotate(merged));
    }

   private:
    absl::StatusOr<MergeDecision> Decide(ValueView document,
                                         const std::optional<ValueView>& current) {
      MergeDecision decision;
      if (!current) {
        switch (parts_.when_not_matched) {
          case WhenNotMatched::kDiscard:
            return decision;
          case WhenNotMatched::kFail:
            return absl::InvalidArgumentError(absl::StrCat("no document matches ", Name(document),
                                                           ", and whenNotMatched is \"fail\""));
          case WhenNotMatched::kInsert:
            decision.action = MergeDecision::Action::kPut;
            decision.document = document.bytes();
            return decision;
        }
      }
      const ValueView id = current->Find("_id").value_or(ValueView());
      std::string result;
      switch (parts_.when_matched) {
        case WhenMatched::kKeepExisting:
          return decision;
        case WhenMatched::kFail:
          return absl::AlreadyExistsError(absl::StrCat("a document matches ", Name(document),
                                                       " already, and whenMatched is \"fail\""));
        case WhenMatched::kReplace:
          result = document.bytes();
          break;
        case WhenMatched::kMerge: {
          MergedFields fields;
          fields.Add(*current);
          // The _id of what is there stays.
          std::string rest;
          Builder rest_builder(&rest);
          rest_builder.StartDocument();
          for (const auto entry : document.entries()) {
            if (entry.key != "_id") rest_builder.Key(entry.key).Raw(entry.value);
          }
          rest_builder.EndDocument();
          fields.Add(ValueView::FromTrusted(rest));
          Builder builder(&result);
          fields.Append(&builder);
          break;
        }
        case WhenMatched::kPipeline: {
          absl::Status applied = ApplyPipeline(document, *current, &result);
          if (!applied.ok()) return applied;
          break;
        }
      }
      const ValueView next = ValueView::FromTrusted(result);
      const Operand own = next.Find("_id");
      if (own && !Equal(*own, id)) {
        if (parts_.on.size() == 1 && parts_.on[0].ToString() != "_id" &&
            parts_.when_matched == WhenMatched::kReplace) {
          // Matched by another field: the document takes the place, and the _id, of what is there.
        } else {
          return absl::InvalidArgumentError(
              absl::StrCat("the field '_id' is immutable, but would change from ", Describe(id),
                           " to ", Describe(*own)));
        }
      }
      decision.action = MergeDecision::Action::kPut;
      Builder builder(&decision.document);
      builder.StartDocument();
      builder.Key("_id").Raw(id);
      for (const auto entry : next.entries()) {
        if (entry.key != "_id") builder.Key(entry.key).Raw(entry.value);
      }
      builder.EndDocument();
      if (decision.document == current->bytes()) decision.action = MergeDecision::Action::kNothing;
      return decision;
    }

    absl::Status ApplyPipeline(ValueView document, ValueView current, std::string* result) {
      evaluator_.Reset();
      std::vector<PipelineVariable> variables;
      for (const auto& [slot, expression] : parts_.let) {
        Operand value;
        if (!evaluator_.Evaluate(expression, document, &value)) return context_->status();
        variables.push_back({slot, value});
      }
      const auto keep = [&](ValueView made) {
        *result = made.bytes();
        return true;
      };
      SinkRun sink{absl::FunctionRef<bool(ValueView)>(keep)};
      context_->set_variables(variables);
      StageChain chain(parts_.pipeline.stages, 0, context_, &sink);
      chain.Push(current);
      absl::Status finished = chain.Finish();
      context_->set_variables({});
      return finished;
    }

    std::string Name(ValueView document) const {
      std::string text;
      for (const Path& path : parts_.on) {
        absl::StrAppend(
            &text, text.empty() ? "" : ", ",
            DescribeField(path.ToString(), GetField(document, path.parts()).value_or(ValueView())));
      }
      return text;
    }

    const MergeStage& stage_;
    const Parts& parts_;
    RunContext* context_;
    StageEvaluator evaluator_;
  };

  Parts parts_;
};

// --- $indexStats, $collStats ---

class IndexStatsStage final : public Stage {
 public:
  explicit IndexStatsStage(const StageSpecification& specification)
      : Stage(specification.name, specification.position, StageKind::kSource) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    if (!specification.operand.IsDocument() || specification.operand.size() != 0) {
      return specification.Error("takes no argument: {$indexStats: {}}, not ",
                                 Describe(specification.operand));
    }
    return std::make_unique<IndexStatsStage>(specification);
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const IndexStatsStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage), context_(context), next_(next) {}
    bool Push(ValueView) override { return false; }
    void Finish() override {
      const PipelineEnvironment& environment = context_->environment();
      if (!environment.index_stats) {
        context_->Fail(absl::FailedPreconditionError(
            absl::StrCat(stage_.Title(), " needs a database, and there is none here")));
        return;
      }
      const absl::Status status = environment.index_stats(
          environment.collection, [this](ValueView document) { return next_->Push(document); });
      if (!status.ok()) context_->Fail(stage_.Annotate(status));
    }

   private:
    const IndexStatsStage& stage_;
    RunContext* context_;
    StageRun* next_;
  };
};

// {ns, localTime, storageStats: {count, size, ...}, count}, as far as it is asked for.
class CollStatsStage final : public Stage {
 public:
  CollStatsStage(const StageSpecification& specification, bool has_storage, bool has_count)
      : Stage(specification.name, specification.position, StageKind::kSource),
        has_storage_(has_storage),
        has_count_(has_count) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error("needs {storageStats: {}}, {count: {}} or both, not ",
                                 Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(specification.CheckFields(operand, {"storageStats", "count"}));
    for (const auto entry : operand.entries()) {
      if (!entry.value.IsDocument()) {
        return specification.Error("'", entry.key, "' needs {}, not ", Describe(entry.value));
      }
    }
    return std::make_unique<CollStatsStage>(specification, operand.Find("storageStats").has_value(),
                                            operand.Find("count").has_value());
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const CollStatsStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage), context_(context), next_(next) {}
    bool Push(ValueView) override { return false; }
    void Finish() override {
      const PipelineEnvironment& environment = context_->environment();
      if (!environment.collection_stats) {
        context_->Fail(absl::FailedPreconditionError(
            absl::StrCat(stage_.Title(), " needs a database, and there is none here")));
        return;
      }
      const absl::StatusOr<std::string> stats =
          environment.collection_stats(environment.collection);
      if (!stats.ok()) {
        context_->Fail(stage_.Annotate(stats.status()));
        return;
      }
      const ValueView storage = ValueView::FromTrusted(*stats);
      std::string bytes;
      Builder builder(&bytes);
      builder.StartDocument();
      builder.Key("ns").String(absl::StrCat(environment.database, ".", environment.collection));
      builder.Key("localTime").Time(context_->now());
      if (stage_.has_storage_) builder.Key("storageStats").Raw(storage);
      if (stage_.has_count_) builder.Key("count").Raw(storage.Find("count").value_or(ValueView()));
      builder.EndDocument();
      next_->Push(ValueView::FromTrusted(bytes));
    }

   private:
    const CollStatsStage& stage_;
    RunContext* context_;
    StageRun* next_;
  };

  bool has_storage_;
  bool has_count_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_OUTPUT_STAGES_H_
