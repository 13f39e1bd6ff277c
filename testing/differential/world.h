// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Runs a world (generator.h) over plain documents and over an engine at once, and compares.

#ifndef ALOS_TESTING_DIFFERENTIAL_WORLD_H_
#define ALOS_TESTING_DIFFERENTIAL_WORLD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "alos/base/status_macros.h"
#include "alos/document/id.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/engine/explain.h"
#include "alos/index/index_definition.h"
#include "alos/query/filter.h"
#include "alos/query/pipeline.h"
#include "alos/query/pipeline_environment.h"
#include "alos/query/projection.h"
#include "alos/query/sort.h"
#include "alos/query/update.h"
#include "testing/differential/compare.h"
#include "testing/differential/language.h"
#include "testing/differential/values.h"

namespace alos::differential {

// Where two ways disagree.
struct Failure {
  std::string way;       // "indexes", "restart", "mingo"
  std::size_t step = 0;  // Of the world.
  std::string message;
};

// What alos answered to one step over plain documents, for another implementation to answer too.
struct Question {
  enum class Kind { kFind, kUpdate, kAggregate };

  Kind kind = Kind::kFind;
  std::size_t step = 0;
  Bytes specification;                                  // The step.
  std::shared_ptr<const std::vector<Bytes>> documents;  // Before the step.
  std::vector<std::size_t> matches;                     // Of documents; not for kAggregate.
  // kFind, kAggregate: the documents found. kUpdate: of each match, nullopt where it was refused.
  std::vector<std::optional<Bytes>> results;
  absl::Status status;  // kAggregate: not OK: refused while it ran.
};

struct WorldCounts {
  std::uint64_t cases = 0;
  std::uint64_t refused = 0;  // Specifications that alos refuses; not cases.
  std::uint64_t failing = 0;  // Cases in which both refuse a document.
  std::uint64_t matches = 0;
  std::map<std::string, std::uint64_t> refusals;  // By the beginning of the message.
  OperatorCounts operators;
};

// Threads: one.
// Durability: writes under `directory`, which it empties.
class WorldRunner {
 public:
  using Engine = BasicEngine<Policies<DefaultDurability>>;
  using Database = Engine::Database;

  struct Options {
    bool engine = true;
    std::string directory;
    // Breaks the second way on purpose: documents that a $gt should find are left out. For the
    // test that says whether this would be noticed, and shown small.
    bool plant_bug = false;
  };

  WorldRunner(Options options, WorldCounts* counts)
      : options_(std::move(options)), counts_(*counts) {}

  // nullopt: all ways agree. With `questions`, appends one for each read and update.
  std::optional<Failure> Run(ValueView world, std::vector<Question>* questions) {
    questions_ = questions;
    documents_ = std::make_shared<std::vector<Bytes>>();
    output_ = std::make_shared<std::vector<Bytes>>();
    context_ = {};
    failure_.reset();
    way_ = "indexes";
    const std::optional<ValueView> first = world.At(0);
    automatic_indexes_ = first.has_value() && IsTrue(first->Find("automatic"));
    if (options_.engine) Fail(Open(true));
    std::vector<ValueView> reads;
    step_ = 0;
    for (const ValueView step : Elements(world)) {
      if (failure_.has_value()) break;
      const std::optional<ValueView> pipeline = step.Find("aggregate");
      if (step.Find("find").has_value() ||
          (pipeline.has_value() && OutputOf(*pipeline).collection.empty())) {
        reads.push_back(step);
      }
      RunStep(step);
      ++step_;
    }
    if (options_.engine && !failure_.has_value()) {
      questions_ = nullptr;
      way_ = "restart";
      Fail(Reopen());
      CheckContent();
      CheckOutput(kOutputName, Tolerance{});
      for (std::size_t i = 0; i < reads.size() && !failure_.has_value(); ++i) {
        repeating_ = true;
        RunStep(reads[i]);
        repeating_ = false;
      }
    }
    if (engine_ != nullptr) {
      static_cast<void>(engine_->Close());
      engine_.reset();
    }
    return failure_;
  }

 private:
  using Collection = std::shared_ptr<std::vector<Bytes>>;

  static constexpr std::string_view kDatabase = "d";

  // --- The second way: by indexes

  absl::Status Open(bool fresh) {
    if (fresh) std::filesystem::remove_all(options_.directory);
    EngineOptions engine_options;
    engine_options.data_path = options_.directory;
    engine_options.shards = 3;
    engine_options.cache_bytes = 1 << 20;
    engine_options.automatic_indexes = automatic_indexes_;
    engine_options.automatic_index_documents_min = 0;
    ALOS_ASSIGN_OR_RETURN(engine_, Engine::Open(engine_options));
    ALOS_ASSIGN_OR_RETURN(database_, engine_->GetOrCreateDatabase(kDatabase));
    return absl::OkStatus();
  }

  absl::Status Reopen() {
    ALOS_RETURN_IF_ERROR(engine_->Close());
    engine_.reset();
    return Open(false);
  }

  // Makes the indexes of a step {index: ["a", "b.x,a"]} and waits until all there are hold all
  // there is. What is written later is found without them, until the next such step.
  void Index(ValueView names) {
    // An index of a collection that is not there would make it.
    for (const ValueView name : Elements(names)) {
      if (!name.IsString()) continue;
      IndexDefinition definition;
      definition.paths = absl::StrSplit(name.AsString(), ',');
      definition.types.resize(definition.paths.size());
      definition.is_text = std::find(context_.text_fields.begin(), context_.text_fields.end(),
                                     name.AsString()) != context_.text_fields.end();
      definition.reason = "differential";
      const absl::Status status = database_->CreateIndex(kCollectionName, std::move(definition));
      if (!absl::IsInvalidArgument(status)) Fail(status);
    }
    const absl::StatusOr<bool> ready = database_->WaitForIndexes(kCollectionName);
    Fail(ready.status());
    if (ready.ok() && !*ready) Fail("the indexes will never be ready");
  }

  // --- Bookkeeping

  void Fail(const absl::Status& status) {
    if (!status.ok()) Fail(status.ToString());
  }
  void Fail(std::string message) {
    if (!failure_.has_value()) failure_ = Failure{way_, step_, std::move(message)};
  }

  // Counts a specification that alos refuses. The engine's callers compile as we do.
  bool IsRefused(const absl::Status& status) {
    if (status.ok()) return false;
    if (repeating_) return true;
    ++counts_.refused;
    // The message without values.
    std::string kind(status.message());
    const std::size_t colon = kind.find(": ");
    if (colon != std::string::npos) kind = kind.substr(colon + 2);
    ++counts_.refusals[kind.substr(0, 50)];
    return true;
  }

  void CountCase(std::string_view where, ValueView specification) {
    if (repeating_) return;
    ++counts_.cases;
    counts_.operators.Add(where, specification);
  }

  static std::string List(const std::vector<Bytes>& documents) {
    std::string text;
    for (const Bytes& document : documents)
      absl::StrAppend(&text, "\n    ", ToJson(View(document)));
    return text.empty() ? " nothing" : text;
  }

  std::string Difference(const std::vector<Bytes>& scan, const std::vector<Bytes>& other) {
    return absl::StrCat("by scan:", List(scan), "\n  ", way_, ":", List(other));
  }

  std::optional<std::size_t> FindById(std::string_view id) const {
    for (std::size_t i = 0; i < documents_->size(); ++i) {
      const absl::StatusOr<std::string> other = EncodeId(*View((*documents_)[i]).Find("_id"));
      if (other.ok() && *other == id) return i;
    }
    return std::nullopt;
  }

  // The documents are shared with questions: copied when they change.
  std::vector<Bytes>& MutableDocuments() {
    if (documents_.use_count() > 1) documents_ = std::make_shared<std::vector<Bytes>>(*documents_);
    return *documents_;
  }

  // *failed: an expression of the filter failed on some document. Then it matches nothing by our
  // count; an engine that does not look at that document need not notice.
  std::vector<std::size_t> Matches(const Filter& filter, bool* failed) const {
    std::vector<std::size_t> matches;
    absl::Status error;
    for (std::size_t i = 0; i < documents_->size(); ++i) {
      if (filter.Matches(View((*documents_)[i]), &error)) matches.push_back(i);
    }
    *failed = !error.ok();
    return matches;
  }

  // --- Steps. What is malformed (a step that was shrunk too far) is left out on all ways.

  void RunStep(ValueView step) {
    if (const auto document = step.Find("insert")) return Insert(*document);
    if (step.Find("update").has_value()) return RunUpdate(step);
    if (step.Find("delete").has_value()) return Delete(step);
    if (step.Find("find").has_value()) return Find(step);
    if (const auto pipeline = step.Find("aggregate")) return Aggregate(step, *pipeline);
    if (const auto paths = step.Find("text")) {
      for (const ValueView path : Elements(*paths)) {
        if (path.IsString()) context_.text_fields.emplace_back(path.AsString());
      }
      if (options_.engine) Index(*paths);
      return;
    }
    if (!options_.engine) return;
    if (step.Find("checkpoint").has_value()) Fail(database_->Checkpoint());
    if (step.Find("reopen").has_value()) Fail(Reopen());
    if (const auto names = step.Find("index")) Index(*names);
  }

  void Insert(ValueView document) {
    if (!document.IsDocument() || !document.Find("_id").has_value()) return;
    const absl::StatusOr<std::string> id = EncodeId(*document.Find("_id"));
    const bool expected = id.ok() && !FindById(*id).has_value();
    if (options_.engine) {
      const absl::Status status = database_->InsertOne(kCollectionName, document).status();
      if (status.ok() != expected) return Fail(absl::StrCat("insert: ", status.ToString()));
    }
    if (expected) MutableDocuments().push_back(Bytes(document.bytes()));
  }

  void RunUpdate(ValueView step) {
    const std::optional<ValueView> filter_value = step.Find("filter");
    if (!filter_value.has_value()) return;
    const absl::StatusOr<Filter> filter = Filter::Compile(*filter_value, context_);
    if (IsRefused(filter.status())) return;
    Update::Options update_options;
    update_options.array_filters = step.Find("arrayFilters");
    const absl::StatusOr<Update> update = Update::Compile(*step.Find("update"), update_options);
    if (IsRefused(update.status())) return;
    const bool many = IsTrue(step.Find("many"));
    const bool upsert = IsTrue(step.Find("upsert"));
    bool filter_failed = false;
    const std::vector<std::size_t> matches = Matches(*filter, &filter_failed);
    if (!many && matches.size() > 1) return;  // Which one is not determined.
    if (filter_failed && upsert) return;
    if (many && update->is_replacement()) return;
    CountCase("update", *step.Find("update"));
    counts_.operators.Add("filter", *filter_value);

    std::vector<std::optional<Bytes>> results;
    std::size_t modified = 0;
    absl::Status status;
    std::vector<Bytes> after = *documents_;
    for (const std::size_t match : matches) {
      Bytes result;
      const absl::StatusOr<bool> changed =
          update->Apply(View((*documents_)[match]), *filter, &result);
      if (!changed.ok()) {
        status.Update(changed.status());
        results.push_back(std::nullopt);
        continue;
      }
      if (*changed) {
        ++modified;
        if (!ValueView::Parse(result).ok()) return Fail("the update made a malformed document");
        after[match] = result;
      }
      results.push_back(after[match]);
    }
    if (questions_ != nullptr && !matches.empty() && !filter_failed && IsForMingo(*filter_value)) {
      questions_->push_back(Question{Question::Kind::kUpdate,
                                     step_,
                                     Bytes(step.bytes()),
                                     documents_,
                                     matches,
                                     std::move(results),
                                     {}});
    }
    if (upsert && matches.empty()) {
      const absl::StatusOr<std::string> seed = update->Seed(*filter);
      status = seed.status();
      if (seed.ok()) {
        const std::optional<ValueView> id = View(*seed).Find("_id");
        if (!id.has_value()) return;  // A new id, which no one knows.
        const absl::StatusOr<std::string> encoded = EncodeId(*id);
        if (!encoded.ok()) {
          status = encoded.status();
        } else if (FindById(*encoded).has_value()) {
          status = absl::AlreadyExistsError("duplicate _id");
        } else {
          after.push_back(*seed);
        }
      }
    }
    if (!status.ok()) ++counts_.failing;
    if (!options_.engine) {
      if (status.ok() && !filter_failed)
        documents_ = std::make_shared<std::vector<Bytes>>(std::move(after));
      return;
    }

    absl::Status engine_status;
    std::size_t engine_matched = 0;
    std::size_t engine_modified = 0;
    const auto take = [&](const auto& result) {
      engine_status = result.status();
      if (!result.ok()) return;
      engine_matched = result->matched;
      engine_modified = result->modified;
    };
    if (upsert) {
      take(many ? database_->UpsertMany(kCollectionName, *filter, *update)
                : database_->UpsertOne(kCollectionName, *filter, *update));
    } else {
      take(many ? database_->UpdateMany(kCollectionName, *filter, *update)
                : database_->UpdateOne(kCollectionName, *filter, *update));
    }
    if (filter_failed) return TakeContent(after);
    if (engine_status.ok() != status.ok()) {
      return Fail(absl::StrCat("update by scan: ", status.ToString(), "\n  ", way_, ": ",
                               engine_status.ToString()));
    }
    if (!status.ok()) {
      // What was updated before the document that was refused, is.
      return TakeContent(after);
    }
    if (engine_matched != matches.size() || engine_modified != modified) {
      return Fail(absl::StrCat("update by scan: matched ", matches.size(), ", modified ", modified,
                               "; ", way_, ": matched ", engine_matched, ", modified ",
                               engine_modified));
    }
    documents_ = std::make_shared<std::vector<Bytes>>(std::move(after));
    CheckContent();
  }

  void Delete(ValueView step) {
    const ValueView filter_value = *step.Find("delete");
    const absl::StatusOr<Filter> filter = Filter::Compile(filter_value, context_);
    if (IsRefused(filter.status())) return;
    const bool many = IsTrue(step.Find("many"));
    bool filter_failed = false;
    const std::vector<std::size_t> matches = Matches(*filter, &filter_failed);
    if (filter_failed || (!many && matches.size() > 1)) return;
    CountCase("filter", filter_value);
    std::vector<Bytes> after = *documents_;
    for (std::size_t i = matches.size(); i-- > 0;) {
      after.erase(after.begin() + static_cast<std::ptrdiff_t>(matches[i]));
    }
    documents_ = std::make_shared<std::vector<Bytes>>(std::move(after));
    if (!options_.engine) return;
    const absl::StatusOr<DeleteResult> deleted =
        many ? database_->DeleteMany(kCollectionName, *filter)
             : database_->DeleteOne(kCollectionName, *filter);
    if (!deleted.ok()) return Fail(absl::StrCat("delete: ", deleted.status().ToString()));
    if (deleted->deleted != matches.size()) {
      return Fail(absl::StrCat("delete by scan: ", matches.size(), " documents; ", way_, ": ",
                               deleted->deleted));
    }
    CheckContent();
  }

  void Find(ValueView step) {
    const ValueView filter_value = *step.Find("find");
    const absl::StatusOr<Filter> filter = Filter::Compile(filter_value, context_);
    if (IsRefused(filter.status())) return;
    Sort sort;
    const std::optional<ValueView> sort_value = step.Find("sort");
    if (sort_value.has_value()) {
      absl::StatusOr<Sort> compiled = Sort::Compile(*sort_value);
      if (IsRefused(compiled.status())) return;
      sort = *std::move(compiled);
    }
    Projection projection;
    if (const std::optional<ValueView> value = step.Find("projection")) {
      absl::StatusOr<Projection> compiled = Projection::Compile(*value);
      if (IsRefused(compiled.status())) return;
      projection = *std::move(compiled);
      if (!repeating_) counts_.operators.Add("projection", *value);
      if (!repeating_) counts_.operators.AddOne("find projection");
    }
    const std::uint64_t skip = Natural(step.Find("skip"));
    const std::uint64_t limit = Natural(step.Find("limit"));
    CountCase("filter", filter_value);
    if (sort_value.has_value() && !repeating_) counts_.operators.AddOne("find sort");
    if (skip != 0 && !repeating_) counts_.operators.AddOne("find skip");
    if (limit != 0 && !repeating_) counts_.operators.AddOne("find limit");

    bool filter_failed = false;
    const std::vector<std::size_t> matches = Matches(*filter, &filter_failed);
    counts_.matches += matches.size();
    if (filter_failed) ++counts_.failing;
    std::vector<std::pair<Sort::Key, const Bytes*>> sorted;
    for (const std::size_t match : matches) {
      const Bytes& document = (*documents_)[match];
      sorted.emplace_back(sort.ExtractKey(View(document)), &document);
    }
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](const auto& a, const auto& b) { return sort.Less(a.first, b.first); });
    std::vector<Bytes> scan;
    for (std::size_t i = skip; i < sorted.size() && (limit == 0 || scan.size() < limit); ++i) {
      scan.push_back(*sorted[i].second);
    }
    if (questions_ != nullptr && !filter_failed && IsForMingo(filter_value)) {
      std::vector<std::optional<Bytes>> results;
      for (const Bytes& document : scan) {
        Bytes shown;
        const bool is_shown = projection.Apply(View(document), &shown).ok();
        results.push_back(is_shown ? std::optional<Bytes>(std::move(shown)) : std::nullopt);
      }
      questions_->push_back(Question{Question::Kind::kFind,
                                     step_,
                                     Bytes(step.bytes()),
                                     documents_,
                                     matches,
                                     std::move(results),
                                     {}});
    }
    if (!options_.engine) return;

    FindQuery query;
    query.filter = &*filter;
    query.skip = skip;
    query.limit = limit;
    if (sort_value.has_value()) query.sort = &sort;
    Explain explain;
    query.explain = &explain;
    std::vector<Bytes> found;
    const bool plant = options_.plant_bug && Uses(filter_value, "$gt");
    const absl::Status status = database_->Find(kCollectionName, query, [&](ValueView document) {
      if (!plant) found.emplace_back(document.bytes());
      return true;
    });
    if (!repeating_) counts_.operators.AddOne(absl::StrCat("plan: ", explain.plan));
    if (filter_failed) return;
    if (!status.ok()) return Fail(absl::StrCat("find: ", status.ToString()));
    const bool cut = skip != 0 || limit != 0;
    const bool total = sort_value.has_value() && sort_value->Find("_id").has_value();
    if (total || !cut) {
      if (!SameAnswer(scan, found, total ? Order::kSame : Order::kAny, {})) {
        return Fail(absl::StrCat("find ", Difference(scan, found)));
      }
    }
    if (!total) CheckTies(*filter, sort, scan, found);

    const absl::StatusOr<std::uint64_t> count = database_->Count(kCollectionName, *filter);
    if (!count.ok()) return Fail(absl::StrCat("count: ", count.status().ToString()));
    if (*count != matches.size()) {
      return Fail(absl::StrCat("count by scan: ", matches.size(), "; ", way_, ": ", *count));
    }
    const absl::StatusOr<bool> one =
        database_->FindOne(kCollectionName, *filter, [&](ValueView found_one) {
          if (!filter->Matches(found_one)) Fail("FindOne found what does not match");
        });
    if (!one.ok()) return Fail(absl::StrCat("FindOne: ", one.status().ToString()));
    if (*one != !matches.empty())
      return Fail(absl::StrCat("FindOne: ", *one ? "found" : "did not find", " a document"));
  }

  // Documents that the sort takes for equal may come in any order, and any of them may be cut off:
  // the keys are the same at each place, and each document matches and comes once.
  void CheckTies(const Filter& filter, const Sort& sort, const std::vector<Bytes>& scan,
                 const std::vector<Bytes>& found) {
    if (scan.size() != found.size()) return Fail(absl::StrCat("find ", Difference(scan, found)));
    std::vector<Bytes> seen;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const ValueView document = View(found[i]);
      if (!filter.Matches(document) || sort.Compare(View(scan[i]), document) != 0) {
        return Fail(absl::StrCat("find, at ", i, ": ", Difference(scan, found)));
      }
      seen.push_back(found[i]);
    }
    std::sort(seen.begin(), seen.end());
    if (std::adjacent_find(seen.begin(), seen.end()) != seen.end()) {
      Fail(absl::StrCat("find gives a document twice: ", Difference(scan, found)));
    }
  }

  void Aggregate(ValueView step, ValueView stages) {
    const Output output = OutputOf(stages);
    if (!output.collection.empty() && output.collection != kCollectionName &&
        output.collection != kOutputName) {
      return;
    }
    const absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(stages, context_.text_fields);
    if (IsRefused(pipeline.status())) return;
    CountCase("pipeline", stages);
    std::vector<Bytes> scan;
    bool filter_failed = false;
    bool determined = TraitsOf(output.head(stages), Order::kAny).determined;
    PipelineEnvironment environment;
    // All reads see what there was when the run began.
    const Collection source = documents_;
    const Collection other = output_;
    environment.find = [&](std::string_view collection, const Filter* filter,
                           PipelineEnvironment::Visit visit) -> absl::Status {
      if (collection != kCollectionName && collection != kOutputName) return absl::OkStatus();
      absl::Status error;
      for (const Bytes& document : collection == kOutputName ? *other : *source) {
        if (filter != nullptr && !filter->Matches(View(document), &error)) {
          filter_failed = filter_failed || !error.ok();
          continue;
        }
        if (!visit(View(document))) break;
      }
      return error;
    };
    WriteInto(&environment, &determined);
    const absl::Status status = pipeline->Run(
        [&](auto&& push) -> absl::Status {
          absl::Status error;
          for (const Bytes& document : *source) {
            if (pipeline->leading_match() != nullptr &&
                !pipeline->leading_match()->Matches(View(document), &error)) {
              filter_failed = !error.ok();
              if (filter_failed) return error;
              continue;
            }
            if (!push(View(document))) break;
          }
          return absl::OkStatus();
        },
        [&](ValueView document) {
          scan.emplace_back(document.bytes());
          return true;
        },
        {}, environment);
    counts_.matches += scan.size();
    if (!status.ok()) ++counts_.failing;
    for (const Bytes& document : scan) {
      if (!ValueView::Parse(document).ok()) return Fail("the pipeline made a malformed document");
    }
    if (questions_ != nullptr && IsForMingo(stages)) {
      std::vector<std::optional<Bytes>> results(scan.begin(), scan.end());
      questions_->push_back(Question{Question::Kind::kAggregate,
                                     step_,
                                     Bytes(step.bytes()),
                                     documents_,
                                     {},
                                     std::move(results),
                                     status});
    }
    if (!options_.engine) return;

    std::vector<Bytes> found;
    const absl::Status engine_status =
        database_->Aggregate(kCollectionName, *pipeline, [&](ValueView document) {
          found.emplace_back(document.bytes());
          return true;
        });
    determined = determined && !filter_failed;
    if (determined && status.ok() != engine_status.ok()) {
      return Fail(absl::StrCat("aggregate by scan: ", status.ToString(), "\n  ", way_, ": ",
                               engine_status.ToString()));
    }
    // A $merge that fails has written what came before; an $out nothing.
    const bool is_known = determined && (status.ok() || output.replaces);
    if (!is_known) return TakeOutput(output.collection);
    Tolerance tolerance;
    tolerance.rounding = true;
    tolerance.element_order = UsesJoins(stages);
    // The first one of equal keys gives a group its type.
    for (const std::string_view name : {"$group", "$sortByCount", "$bucket", "$bucketAuto"}) {
      if (Uses(stages, name)) tolerance.number_type = true;
    }
    CheckOutput(output.collection, tolerance);
    TakeOutput(output.collection);
    if (!status.ok()) return;
    const Order order = TraitsOf(stages, Order::kAny).order;
    if (!SameAnswer(scan, found, order, tolerance)) {
      Fail(absl::StrCat("aggregate ", Difference(scan, found)));
    }
  }

  // --- $out and $merge

  // What a pipeline writes to.
  struct Output {
    std::string collection;  // empty: nothing
    bool replaces = false;   // $out

    // The stages before.
    Bytes head_bytes;
    ValueView head(ValueView stages) const {
      return collection.empty() ? stages : View(head_bytes);
    }
  };

  static Output OutputOf(ValueView stages) {
    Output output;
    if (!stages.IsArray() || stages.size() == 0) return output;
    const ValueView last = *stages.At(stages.size() - 1);
    if (const std::optional<ValueView> out = last.Find("$out"); out && out->IsString()) {
      output.collection = std::string(out->AsString());
      output.replaces = true;
    } else if (const std::optional<ValueView> merge = last.Find("$merge")) {
      const std::optional<ValueView> into = merge->Find("into");
      if (into && into->IsString()) output.collection = std::string(into->AsString());
    }
    if (output.collection.empty()) return output;
    std::vector<Bytes> head;
    for (const ValueView stage : Elements(stages)) head.emplace_back(stage.bytes());
    head.pop_back();
    output.head_bytes = Array(head);
    return output;
  }

  Collection& CollectionOf(std::string_view name) {
    return name == kOutputName ? output_ : documents_;
  }

  // $out and $merge over plain documents. *determined is cleared where the order of documents, or a
  // random `_id`, decides.
  void WriteInto(PipelineEnvironment* environment, bool* determined) {
    environment->replace_collection =
        [this,
         determined](std::string_view name) -> absl::StatusOr<PipelineEnvironment::Replacement> {
      const auto fresh = std::make_shared<std::vector<Bytes>>();
      const auto ids = std::make_shared<std::set<std::string>>();
      return PipelineEnvironment::Replacement{
          [=](ValueView document) -> absl::Status {
            const std::optional<ValueView> id = document.Find("_id");
            if (!id.has_value()) {
              *determined = false;
              return absl::OkStatus();
            }
            ALOS_ASSIGN_OR_RETURN(std::string encoded, EncodeId(*id));
            if (!ids->insert(std::move(encoded)).second) {
              return absl::AlreadyExistsError("duplicate _id");
            }
            fresh->emplace_back(document.bytes());
            return absl::OkStatus();
          },
          [this, fresh, to = std::string(name)] {
            CollectionOf(to) = fresh;
            return absl::OkStatus();
          }};
    };
    const auto touched = std::make_shared<std::set<std::size_t>>();
    environment->merge = [this, determined, touched](
                             std::string_view name, const Filter& filter,
                             PipelineEnvironment::Decide decide) -> absl::Status {
      // What cannot be an `_id` is refused, also where there would be nothing to write.
      for (const auto& equality : filter.equalities()) {
        if (equality.path == "_id") ALOS_RETURN_IF_ERROR(EncodeId(equality.value).status());
      }
      Collection& collection = CollectionOf(name);
      const auto found =
          std::find_if(collection->begin(), collection->end(),
                       [&](const Bytes& document) { return filter.Matches(View(document)); });
      const bool is_there = found != collection->end();
      const auto place = static_cast<std::size_t>(found - collection->begin());
      ALOS_ASSIGN_OR_RETURN(
          const MergeDecision decision,
          decide(is_there ? std::optional<ValueView>(View(*found)) : std::nullopt));
      const bool is_nothing = decision.action == MergeDecision::Action::kNothing;
      if ((is_there || !is_nothing) && !touched->insert(place).second) *determined = false;
      if (is_nothing) return absl::OkStatus();
      // The readers of this run keep what they see.
      collection = std::make_shared<std::vector<Bytes>>(*collection);
      if (is_there) {
        (*collection)[place] = decision.document;
        return absl::OkStatus();
      }
      const std::optional<ValueView> id = View(decision.document).Find("_id");
      ALOS_RETURN_IF_ERROR(EncodeId(*id).status());
      if (IsMadeId(*id)) *determined = false;
      collection->push_back(decision.document);
      return absl::OkStatus();
    };
  }

  // Whether alos made this `_id` for a document that had none: those of the generator are short.
  static bool IsMadeId(ValueView id) {
    return id.IsString() && id.AsString().size() == NewId().size();
  }

  // mingo is not asked about what is written, nor about words.
  static bool IsForMingo(ValueView specification) {
    for (const std::string_view name : {"$out", "$merge", "$text"}) {
      if (Uses(specification, name)) return false;
    }
    return !absl::StrContains(specification.bytes(), View(String(kOutputName)).bytes());
  }

  void CheckOutput(std::string_view name, const Tolerance& tolerance) {
    if (name.empty() || failure_.has_value()) return;
    std::vector<Bytes> found;
    for (auto& [id, document] : Content(name)) found.push_back(std::move(document));
    const std::vector<Bytes>& scan = *CollectionOf(name);
    if (!SameAnswer(scan, found, Order::kAny, tolerance))
      Fail(absl::StrCat("written to ", name, " ", Difference(scan, found)));
  }

  void TakeOutput(std::string_view name) {
    if (name.empty()) return;
    auto now = std::make_shared<std::vector<Bytes>>();
    for (auto& [id, document] : Content(name)) now->push_back(std::move(document));
    CollectionOf(name) = std::move(now);
  }

  // --- The content of the engine

  std::map<std::string, Bytes> Content(std::string_view name = kCollectionName) {
    std::map<std::string, Bytes> content;
    const absl::Status status = database_->Find(name, FindQuery{}, [&](ValueView document) {
      const auto [position, is_new] =
          content.emplace(*EncodeId(*document.Find("_id")), document.bytes());
      if (!is_new) Fail("a document is there twice");
      return true;
    });
    if (!status.ok()) Fail(absl::StrCat("find: ", status.ToString()));
    return content;
  }

  void CheckContent() {
    if (failure_.has_value()) return;
    const std::map<std::string, Bytes> content = Content();
    if (content.size() != documents_->size()) {
      return Fail(
          absl::StrCat("there are ", content.size(), " documents, not ", documents_->size()));
    }
    for (const Bytes& document : *documents_) {
      const auto found = content.find(*EncodeId(*View(document).Find("_id")));
      if (found == content.end()) return Fail(absl::StrCat("missing: ", ToJson(View(document))));
      if (found->second != document) {
        return Fail(absl::StrCat("by scan: ", ToJson(View(document)), "\n  ", way_, ": ",
                                 ToJson(View(found->second))));
      }
    }
  }

  // After an update that stopped half-way: each document is as it was or as in `after`.
  void TakeContent(const std::vector<Bytes>& after) {
    const std::map<std::string, Bytes> content = Content();
    std::vector<Bytes> now;
    for (std::size_t i = 0; i < documents_->size(); ++i) {
      const Bytes& before = (*documents_)[i];
      const auto found = content.find(*EncodeId(*View(before).Find("_id")));
      if (found == content.end()) return Fail(absl::StrCat("missing: ", ToJson(View(before))));
      if (found->second != before && found->second != after[i]) {
        return Fail(absl::StrCat("after a failed update: ", ToJson(View(found->second))));
      }
      now.push_back(found->second);
    }
    if (content.size() != now.size()) return Fail("a failed update inserted");
    documents_ = std::make_shared<std::vector<Bytes>>(std::move(now));
  }

  static bool IsTrue(const std::optional<ValueView>& value) {
    return value.has_value() && value->type() == ValueType::kBool && value->AsBool();
  }
  static std::uint64_t Natural(const std::optional<ValueView>& value) {
    if (!value.has_value() || value->type() != ValueType::kInt64) return 0;
    return static_cast<std::uint64_t>(std::max<std::int64_t>(0, value->AsInt64()));
  }

  const Options options_;
  WorldCounts& counts_;
  std::unique_ptr<Engine> engine_;
  Database* database_ = nullptr;
  bool automatic_indexes_ = false;

  // Of the run.
  std::vector<Question>* questions_ = nullptr;
  Collection documents_;   // The first way: in order of insertion, until an $out or $merge.
  Collection output_;      // What else $out and $merge write to.
  FilterContext context_;  // What $text searches.
  std::optional<Failure> failure_;
  std::string way_;
  std::size_t step_ = 0;
  bool repeating_ = false;
};

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_WORLD_H_
