// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The stages that run other pipelines or read other collections: $facet $unionWith $lookup
// $graphLookup.

#ifndef ALOS_QUERY_INTERNAL_JOIN_STAGES_H_
#define ALOS_QUERY_INTERNAL_JOIN_STAGES_H_

#include <algorithm>
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
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"
#include "alos/query/internal/field_tree.h"
#include "alos/query/internal/group_stages.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/internal/streaming_stages.h"

namespace alos::query_internal {

inline absl::Status FindInEnvironment(const Stage& stage, RunContext* context,
                                      std::string_view collection, const Filter* filter,
                                      absl::FunctionRef<bool(ValueView)> visit) {
  if (!context->environment().find) {
    return absl::FailedPreconditionError(
        absl::StrCat(stage.Title(), " needs a database, and there is none here"));
  }
  if (filter == nullptr) return context->environment().find(collection, nullptr, visit);
  return filter->RunReporting([&](const Filter& reporting) {
    return context->environment().find(collection, &reporting, visit);
  });
}

// A pipeline over another collection, within a stage.
struct InnerPipeline {
  StageList stages;

  static absl::StatusOr<InnerPipeline> Compile(const StageSpecification& specification,
                                               ValueView stages, const VariableScope& variables) {
    StageCompileContext inner = specification.context;
    ++inner.depth;
    inner.in_facet = false;
    inner.text_fields.clear();
    inner.variables = variables;
    absl::StatusOr<StageList> compiled = inner.compile_pipeline(stages, inner);
    if (!compiled.ok()) return specification.Error(compiled.status());
    return InnerPipeline{*std::move(compiled)};
  }

  bool has_source() const { return !stages.empty() && stages[0]->kind() == StageKind::kSource; }

  // A filter for the collection that the first stage stands for, with `skipped` stages; none if it
  // has expressions, which may use variables.
  const Filter* LeadingFilter(std::size_t* skipped) const {
    *skipped = 0;
    if (stages.empty() || stages[0]->kind() != StageKind::kMatch) return nullptr;
    const Filter& filter = static_cast<const MatchStage&>(*stages[0]).filter();
    if (filter.may_fail()) return nullptr;
    *skipped = 1;
    return &filter;
  }
};

// --- $facet ---

class FacetStage final : public Stage {
 public:
  struct Facet {
    std::string name;
    StageList stages;
  };

  FacetStage(const StageSpecification& specification, std::vector<Facet> facets)
      : Stage(specification.name, specification.position), facets_(std::move(facets)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument() || operand.size() == 0) {
      return specification.Error("needs a document of pipelines such as {a: [{$count: \"n\"}]}, ",
                                 "not ", Describe(operand));
    }
    StageCompileContext inner = specification.context;
    ++inner.depth;
    inner.in_facet = true;
    inner.text_fields.clear();
    std::vector<Facet> facets;
    for (const auto entry : operand.entries()) {
      if (absl::Status status = CheckOutputName(entry.key); !status.ok()) {
        return specification.Error(status);
      }
      absl::StatusOr<StageList> stages = inner.compile_pipeline(entry.value, inner);
      if (!stages.ok()) {
        return specification.Error("field '", DescribeText(entry.key),
                                   "': ", stages.status().message());
      }
      facets.push_back({std::string(entry.key), *std::move(stages)});
    }
    return std::make_unique<FacetStage>(specification, std::move(facets));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  // The end of one facet's pipeline.
  class Collector final : public StageRun {
   public:
    explicit Collector(MemoryBudget* budget) : budget_(budget) {}
    bool Push(ValueView document) override {
      bytes_ += document.bytes();
      ++count_;
      return budget_->Add(document.bytes().size());
    }
    void Append(Builder* builder) const { Accumulator::AppendSequence(bytes_, count_, builder); }

   private:
    MemoryBudget* budget_;
    std::string bytes_;
    std::size_t count_ = 0;
  };

  class Run final : public StageRun {
   public:
    Run(const FacetStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage),
          context_(context),
          next_(next),
          budget_(stage, context, "limit or project the results of its pipelines") {
      for (const Facet& facet : stage_.facets_) {
        collectors_.push_back(std::make_unique<Collector>(&budget_));
        chains_.push_back({StageChain(facet.stages, 0, context, collectors_.back().get()), true});
      }
    }
    bool Push(ValueView document) override {
      bool more = false;
      for (auto& [chain, wants_more] : chains_) {
        if (!wants_more) continue;
        wants_more = chain.Push(document);
        if (!context_->ok()) return false;
        more = more || wants_more;
      }
      return more;
    }
    void Finish() override {
      std::string bytes;
      Builder builder(&bytes);
      builder.StartDocument(chains_.size());
      for (std::size_t i = 0; i < chains_.size(); ++i) {
        if (!chains_[i].first.Finish().ok()) return;
        builder.Key(stage_.facets_[i].name);
        collectors_[i]->Append(&builder);
      }
      builder.EndDocument();
      EmitChecked(stage_, context_, next_, bytes);
    }

   private:
    const FacetStage& stage_;
    RunContext* context_;
    StageRun* next_;
    MemoryBudget budget_;
    std::vector<std::unique_ptr<Collector>> collectors_;
    std::vector<std::pair<StageChain, bool>> chains_;  // and whether it takes more documents
  };

  std::vector<Facet> facets_;
};

// --- $unionWith ---

class UnionWithStage final : public Stage {
 public:
  UnionWithStage(const StageSpecification& specification, std::string collection,
                 InnerPipeline pipeline)
      : Stage(specification.name, specification.position),
        collection_(std::move(collection)),
        pipeline_(std::move(pipeline)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    std::string collection;
    InnerPipeline pipeline;
    if (operand.IsString()) {
      collection = operand.AsString();
    } else if (operand.IsDocument()) {
      ALOS_RETURN_IF_ERROR(specification.CheckFields(operand, {"coll", "pipeline"}));
      if (const Operand name = operand.Find("coll")) {
        if (!name->IsString()) {
          return specification.Error("'coll' needs the name of a collection, not ",
                                     Describe(*name));
        }
        collection = name->AsString();
      }
      if (const Operand stages = operand.Find("pipeline")) {
        ALOS_ASSIGN_OR_RETURN(pipeline, InnerPipeline::Compile(specification, *stages,
                                                               specification.context.variables));
      }
    } else {
      return specification.Error("needs the name of a collection or {coll: ..., pipeline: [...]}, ",
                                 "not ", Describe(operand));
    }
    if (collection.empty() && !pipeline.has_source()) {
      return specification.Error(
          "needs 'coll', the name of a collection, or a pipeline that begins with $documents");
    }
    return std::make_unique<UnionWithStage>(specification, std::move(collection),
                                            std::move(pipeline));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const UnionWithStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage), context_(context), next_(next) {}
    bool Push(ValueView document) override {
      wants_more_ = next_->Push(document);
      return wants_more_;
    }
    void Finish() override {
      if (!wants_more_) return;
      std::size_t first = 0;
      const Filter* const filter = stage_.pipeline_.LeadingFilter(&first);
      StageChain chain(stage_.pipeline_.stages, first, context_, next_);
      if (!chain.has_source()) {
        absl::Status found =
            FindInEnvironment(stage_, context_, stage_.collection_, filter,
                              [&](ValueView document) { return chain.Push(document); });
        if (!found.ok()) {
          context_->Fail(std::move(found));
          return;
        }
      }
      (void)chain.Finish();  // the status is the context's
    }

   private:
    const UnionWithStage& stage_;
    RunContext* context_;
    StageRun* next_;
    bool wants_more_ = true;
  };

  std::string collection_;
  InnerPipeline pipeline_;
};

// --- Documents of another collection by the values of a field ---

// The values that `path` denotes, arrays expanded; one null if there are none.
inline void CollectJoinValues(ValueView document, const Path& path,
                              std::vector<ValueView>* values) {
  VisitPath(document, path, [&](std::optional<ValueView> value) {
    if (value && value->IsArray()) {
      for (const ValueView element : value->elements()) values->push_back(element);
    } else if (value) {
      values->push_back(*value);
    }
    return false;
  });
}

// Finds the documents of a collection whose `path` equals one of some values, in one run: by
// queries where an index answers them, and else from a copy of the collection, made once, hashed by
// that field. A collection that is larger than the stage's memory is queried after all.
class ForeignDocuments {
 public:
  // `filter`: what the documents have to match, too; nullptr: nothing.
  ForeignDocuments(const Stage* stage, RunContext* context, std::string_view collection,
                   const Path* path, const Filter* filter)
      : stage_(*stage),
        context_(context),
        collection_(collection),
        path_(*path),
        field_(path->ToString()),
        filter_(filter) {
    const auto& is_fast = context->environment().is_fast;
    by_query_ = field_ == "_id" || (is_fast && is_fast(collection, field_));
  }

  // Calls `visit` for each such document, once. False: the run has failed.
  bool Visit(absl::Span<const ValueView> values, absl::FunctionRef<bool(ValueView)> visit) {
    if (values.empty()) return true;
    if (!by_query_ && !loaded_ && !Load()) return false;
    return by_query_ ? Query(values, visit) : LookUp(values, visit);
  }

 private:
  bool Load() {
    loaded_ = true;
    // Half of it: the results need some, too.
    const std::size_t bytes_max = context_->limits().stage_memory_bytes_max / 2;
    std::size_t bytes = 0;
    std::vector<ValueView> keys;
    const absl::Status found =
        FindInEnvironment(stage_, context_, collection_, filter_, [&](ValueView document) {
          const auto number = static_cast<std::uint32_t>(documents_.size());
          documents_.emplace_back(document.bytes());
          const ValueView copy = ValueView::FromTrusted(documents_.back());
          bytes += documents_.back().size() + sizeof(std::string);
          VisitPath(copy, path_, [&](std::optional<ValueView> value, PathEnd end) {
            if (!value) return false;
            AddKey(*value, number, &bytes);
            if (value->IsArray() && end == PathEnd::kByKey) {
              for (const ValueView element : value->elements()) AddKey(element, number, &bytes);
            }
            return false;
          });
          return bytes <= bytes_max;
        });
    if (!found.ok()) return context_->Fail(found);
    if (bytes > bytes_max) {
      by_query_ = true;
      documents_.clear();
      numbers_.clear();
      keys_ = ValueTable();
    }
    return true;
  }

  void AddKey(ValueView value, std::uint32_t document, std::size_t* bytes) {
    const ValueTable::Found key = keys_.FindOrAdd(value);
    if (key.is_new) {
      numbers_.emplace_back();
      *bytes += value.bytes().size() + ValueTable::kValueBytes + sizeof(std::vector<std::uint32_t>);
    }
    std::vector<std::uint32_t>& numbers = numbers_[key.number];
    if (!numbers.empty() && numbers.back() == document) return;
    numbers.push_back(document);
    *bytes += sizeof(document);
  }

  // {field: {$in: values}}
  absl::StatusOr<Filter> Equals(absl::Span<const ValueView> values) const {
    std::string bytes;
    Builder builder(&bytes);
    builder.StartDocument(1).Key(field_).StartDocument(1);
    if (values.size() == 1) {
      builder.Key("$eq").Raw(values[0]);
    } else {
      builder.Key("$in").StartArray(values.size());
      for (const ValueView value : values) builder.Raw(value);
      builder.EndArray();
    }
    builder.EndDocument().EndDocument();
    return Filter::Compile(ValueView::FromTrusted(bytes));
  }

  bool Query(absl::Span<const ValueView> values, absl::FunctionRef<bool(ValueView)> visit) {
    const absl::StatusOr<Filter> equals = Equals(values);
    if (!equals.ok()) return context_->Fail(stage_.Annotate(equals.status()));
    const absl::Status found =
        FindInEnvironment(stage_, context_, collection_, &*equals, [&](ValueView document) {
          return (filter_ != nullptr && !filter_->Matches(document)) || visit(document);
        });
    return (found.ok() || context_->Fail(found)) && context_->ok();
  }

  bool LookUp(absl::Span<const ValueView> values, absl::FunctionRef<bool(ValueView)> visit) {
    std::vector<std::uint32_t> numbers;
    for (const ValueView value : values) {
      if (value.IsNull()) {
        // Missing fields are equal to null, too: only a filter knows them all.
        const absl::StatusOr<Filter> equals = Equals({&value, 1});
        if (!equals.ok()) return context_->Fail(stage_.Annotate(equals.status()));
        if (!nulls_) {
          nulls_.emplace();
          for (std::size_t i = 0; i < documents_.size(); ++i) {
            if (equals->Matches(ValueView::FromTrusted(documents_[i]))) {
              nulls_->push_back(static_cast<std::uint32_t>(i));
            }
          }
        }
        numbers.insert(numbers.end(), nulls_->begin(), nulls_->end());
      } else if (const std::optional<std::size_t> key = keys_.Find(value)) {
        numbers.insert(numbers.end(), numbers_[*key].begin(), numbers_[*key].end());
      }
    }
    if (values.size() > 1) {
      std::sort(numbers.begin(), numbers.end());
      numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    }
    for (const std::uint32_t number : numbers) {
      if (!visit(ValueView::FromTrusted(documents_[number]))) break;
    }
    return context_->ok();
  }

  const Stage& stage_;
  RunContext* context_;
  std::string collection_;
  const Path& path_;
  std::string field_;
  const Filter* filter_;
  bool by_query_ = false;
  bool loaded_ = false;
  std::vector<std::string> documents_;
  ValueTable keys_;
  std::vector<std::vector<std::uint32_t>> numbers_;  // of documents, by the number of a key
  std::optional<std::vector<std::uint32_t>> nulls_;
};

// The name of a collection at `field`.
inline absl::StatusOr<std::string> CompileCollection(const StageSpecification& specification,
                                                     std::string_view field) {
  const Operand name = specification.operand.Find(field);
  if (!name) return specification.Error("the field '", field, "' is missing");
  if (!name->IsString() || name->AsString().empty()) {
    return specification.Error("'", field, "' needs the name of a collection of this database, ",
                               "not ", Describe(*name));
  }
  return std::string(name->AsString());
}

// A path, without '$', at `field`.
inline absl::StatusOr<Path> CompileFieldName(const StageSpecification& specification,
                                             std::string_view field) {
  const Operand name = specification.operand.Find(field);
  if (!name) return specification.Error("the field '", field, "' is missing");
  if (!name->IsString()) {
    return specification.Error("'", field, "' needs the name of a field, not ", Describe(*name));
  }
  absl::StatusOr<Path> path = ParseFieldPath(name->AsString());
  if (!path.ok()) return specification.Error(field, ": ", path.status().message());
  return path;
}

// --- $lookup ---

class LookupStage final : public Stage {
 public:
  struct Parts {
    std::string collection;  // empty: the pipeline begins with $documents
    std::optional<Path> local_field;
    std::optional<Path> foreign_field;
    std::vector<std::pair<std::size_t, Expression>> let;  // slots and values
    std::optional<InnerPipeline> pipeline;
    std::optional<Path> as;
  };

  LookupStage(const StageSpecification& specification, Parts parts)
      : Stage(specification.name, specification.position), parts_(std::move(parts)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error(
          "needs {from: ..., localField: ..., foreignField: ..., as: ...} or {from: ..., let: ..., "
          "pipeline: [...], as: ...}, not ",
          Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(specification.CheckFields(
        operand, {"from", "localField", "foreignField", "let", "pipeline", "as"}));
    Parts parts;
    ALOS_ASSIGN_OR_RETURN(parts.as, CompileFieldName(specification, "as"));
    const bool has_local = operand.Find("localField").has_value();
    if (has_local != operand.Find("foreignField").has_value()) {
      return specification.Error("'localField' and 'foreignField' need each other");
    }
    if (has_local) {
      ALOS_ASSIGN_OR_RETURN(parts.local_field, CompileFieldName(specification, "localField"));
      ALOS_ASSIGN_OR_RETURN(parts.foreign_field, CompileFieldName(specification, "foreignField"));
    }
    const Operand stages = operand.Find("pipeline");
    if (!has_local && !stages) {
      return specification.Error("needs 'localField' and 'foreignField', or 'pipeline', or all");
    }
    VariableScope variables = specification.context.variables;
    if (const Operand let = operand.Find("let")) {
      if (!let->IsDocument()) {
        return specification.Error("'let' needs a document of variables, not ", Describe(*let));
      }
      if (!stages) return specification.Error("'let' is for a 'pipeline', and there is none");
      for (const auto entry : let->entries()) {
        absl::StatusOr<Expression> value =
            Expression::Compile(entry.value, specification.context.variables);
        if (!value.ok()) {
          return specification.Error("let: '", DescribeText(entry.key),
                                     "': ", value.status().message());
        }
        absl::StatusOr<std::size_t> slot = variables.Declare(entry.key);
        if (!slot.ok()) return specification.Error("let: ", slot.status().message());
        parts.let.emplace_back(*slot, *std::move(value));
      }
    }
    if (stages) {
      ALOS_ASSIGN_OR_RETURN(parts.pipeline,
                            InnerPipeline::Compile(specification, *stages, variables));
    }
    if (operand.Find("from") || !parts.pipeline || !parts.pipeline->has_source()) {
      ALOS_ASSIGN_OR_RETURN(parts.collection, CompileCollection(specification, "from"));
    } else if (has_local) {
      return specification.Error("'from' is missing");
    }
    return std::make_unique<LookupStage>(specification, std::move(parts));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const LookupStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage),
          parts_(stage->parts_),
          context_(context),
          next_(next),
          evaluator_(stage, context),
          budget_(stage, context, "a document's matches are too many; limit them in 'pipeline'") {
      if (parts_.pipeline) filter_ = parts_.pipeline->LeadingFilter(&first_);
      if (parts_.foreign_field) {
        foreign_.emplace(stage, context, parts_.collection, &*parts_.foreign_field, filter_);
      }
      outer_variables_ = context->variables();
    }

    bool Push(ValueView document) override {
      // Without a relation to the document the result is always the same.
      const bool is_same = !foreign_ && parts_.let.empty() && outer_variables_.empty();
      if (!is_same || !has_result_) {
        matches_.clear();
        count_ = 0;
        budget_.Clear();
        if (!Find(document)) return false;
        has_result_ = true;
      }
      bytes_.clear();
      Builder builder(&bytes_);
      WriteWithField(
          &document, parts_.as->parts(), true,
          [&](Builder* field) { Accumulator::AppendSequence(matches_, count_, field); }, &builder);
      return EmitChecked(stage_, context_, next_, bytes_);
    }

   private:
    // Appends the matches of `document` to matches_.
    bool Find(ValueView document) {
      const auto keep = [this](ValueView match) {
        matches_ += match.bytes();
        ++count_;
        return budget_.Add(match.bytes().size());
      };
      if (!parts_.pipeline) return FindEqual(document, keep);

      evaluator_.Reset();
      std::vector<PipelineVariable> variables(outer_variables_.begin(), outer_variables_.end());
      for (const auto& [slot, expression] : parts_.let) {
        Operand value;
        if (!evaluator_.Evaluate(expression, document, &value)) return false;
        variables.push_back({slot, value});
      }
      SinkRun sink{absl::FunctionRef<bool(ValueView)>(keep)};
      context_->set_variables(variables);
      StageChain chain(parts_.pipeline->stages, first_, context_, &sink);
      const auto push = [&chain](ValueView match) { return chain.Push(match); };
      if (chain.has_source()) {
        // It makes its documents itself.
      } else if (foreign_) {
        FindEqual(document, push);
      } else {
        absl::Status found = FindInEnvironment(stage_, context_, parts_.collection, filter_, push);
        if (!found.ok()) context_->Fail(std::move(found));
      }
      const absl::Status finished = chain.Finish();
      context_->set_variables(outer_variables_);
      return finished.ok();
    }

    bool FindEqual(ValueView document, absl::FunctionRef<bool(ValueView)> visit) {
      std::vector<ValueView> values;
      bool exists = false;
      VisitPath(document, *parts_.local_field, [&](std::optional<ValueView> value) {
        exists = exists || value.has_value();
        return false;
      });
      if (exists) {
        CollectJoinValues(document, *parts_.local_field, &values);
      } else {
        values.emplace_back();  // missing is null
      }
      return foreign_->Visit(values, visit);
    }

    const LookupStage& stage_;
    const Parts& parts_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
    MemoryBudget budget_;
    absl::Span<const PipelineVariable> outer_variables_;
    const Filter* filter_ = nullptr;
    std::size_t first_ = 0;  // stage of the inner pipeline
    std::optional<ForeignDocuments> foreign_;
    bool has_result_ = false;
    std::string matches_;
    std::size_t count_ = 0;
    std::string bytes_;
  };

  Parts parts_;
};

// --- $graphLookup ---

class GraphLookupStage final : public Stage {
 public:
  struct Parts {
    std::string collection;
    std::optional<Expression> start_with;
    std::optional<Path> connect_from;
    std::optional<Path> connect_to;
    std::optional<Path> as;
    std::optional<Path> depth_field;
    std::optional<std::uint64_t> depth_max;
    std::optional<Filter> restriction;
  };

  GraphLookupStage(const StageSpecification& specification, Parts parts)
      : Stage(specification.name, specification.position), parts_(std::move(parts)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error(
          "needs {from: ..., startWith: ..., connectFromField: ..., connectToField: ..., as: ...}, "
          "not ",
          Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(specification.CheckFields(
        operand, {"from", "startWith", "connectFromField", "connectToField", "as", "maxDepth",
                  "depthField", "restrictSearchWithMatch"}));
    Parts parts;
    ALOS_ASSIGN_OR_RETURN(parts.collection, CompileCollection(specification, "from"));
    ALOS_ASSIGN_OR_RETURN(parts.connect_from, CompileFieldName(specification, "connectFromField"));
    ALOS_ASSIGN_OR_RETURN(parts.connect_to, CompileFieldName(specification, "connectToField"));
    ALOS_ASSIGN_OR_RETURN(parts.as, CompileFieldName(specification, "as"));
    const Operand start = operand.Find("startWith");
    if (!start) return specification.Error("the field 'startWith' is missing");
    absl::StatusOr<Expression> start_with =
        Expression::Compile(*start, specification.context.variables);
    if (!start_with.ok()) return specification.Error("startWith: ", start_with.status().message());
    parts.start_with = *std::move(start_with);
    if (operand.Find("depthField")) {
      ALOS_ASSIGN_OR_RETURN(parts.depth_field, CompileFieldName(specification, "depthField"));
    }
    if (const Operand depth = operand.Find("maxDepth")) {
      const std::optional<std::int64_t> whole = depth->ToInt64();
      if (!whole || *whole < 0) {
        return specification.Error("'maxDepth' needs a whole number that is not negative, not ",
                                   Describe(*depth));
      }
      parts.depth_max = static_cast<std::uint64_t>(*whole);
    }
    if (const Operand restriction = operand.Find("restrictSearchWithMatch")) {
      absl::StatusOr<Filter> filter = Filter::Compile(*restriction);
      if (!filter.ok()) {
        return specification.Error("restrictSearchWithMatch: ", filter.status().message());
      }
      parts.restriction = *std::move(filter);
    }
    return std::make_unique<GraphLookupStage>(specification, std::move(parts));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const GraphLookupStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage),
          parts_(stage->parts_),
          context_(context),
          next_(next),
          evaluator_(stage, context),
          budget_(stage, context, "give a 'maxDepth' or 'restrictSearchWithMatch'"),
          foreign_(stage, context, parts_.collection, &*parts_.connect_to,
                   parts_.restriction ? &*parts_.restriction : nullptr) {}

    bool Push(ValueView document) override {
      matches_.clear();
      count_ = 0;
      budget_.Clear();
      evaluator_.Reset();
      Operand start;
      if (!evaluator_.Evaluate(*parts_.start_with, document, &start)) return false;
      ValueTable values;     // all that have been followed
      ValueTable documents;  // the ids of those found
      std::vector<std::string> frontier;
      const auto follow = [&](ValueView value) {
        if (!values.FindOrAdd(value).is_new) return true;
        frontier.emplace_back(value.bytes());
        return budget_.Add(2 * value.bytes().size() + ValueTable::kValueBytes);
      };
      if (start && start->IsArray()) {
        for (const ValueView element : start->elements()) {
          if (!follow(element)) return false;
        }
      } else if (!follow(start.value_or(ValueView()))) {
        return false;
      }
      for (std::uint64_t depth = 0; !frontier.empty(); ++depth) {
        if (parts_.depth_max && depth > *parts_.depth_max) break;
        const std::vector<std::string> level = std::exchange(frontier, {});
        std::vector<ValueView> wanted;
        wanted.reserve(level.size());
        for (const std::string& value : level) wanted.push_back(ValueView::FromTrusted(value));
        std::vector<ValueView> reached;
        const bool found = foreign_.Visit(wanted, [&](ValueView match) {
          const ValueView id = match.Find("_id").value_or(ValueView());
          if (!documents.FindOrAdd(id).is_new) return true;
          const std::size_t size = matches_.size();
          if (parts_.depth_field) {
            Builder builder(&matches_);
            WriteWithField(
                &match, parts_.depth_field->parts(), true,
                [&](Builder* field) { field->Uint(depth); }, &builder);
          } else {
            matches_ += match.bytes();
          }
          ++count_;
          if (!budget_.Add(matches_.size() - size + ValueTable::kValueBytes)) return false;
          reached.clear();
          CollectJoinValues(match, *parts_.connect_from, &reached);
          for (const ValueView value : reached) {
            if (!follow(value)) return false;
          }
          return true;
        });
        if (!found) return false;
      }
      bytes_.clear();
      Builder builder(&bytes_);
      WriteWithField(
          &document, parts_.as->parts(), true,
          [&](Builder* field) { Accumulator::AppendSequence(matches_, count_, field); }, &builder);
      return EmitChecked(stage_, context_, next_, bytes_);
    }

   private:
    const GraphLookupStage& stage_;
    const Parts& parts_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
    MemoryBudget budget_;
    ForeignDocuments foreign_;
    std::string matches_;
    std::size_t count_ = 0;
    std::string bytes_;
  };

  Parts parts_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_JOIN_STAGES_H_
