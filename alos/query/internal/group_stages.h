// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The stages that make one document of many: $group, $bucket and $bucketAuto; $count and
// $sortByCount are made of a $group.

#ifndef ALOS_QUERY_INTERNAL_GROUP_STAGES_H_
#define ALOS_QUERY_INTERNAL_GROUP_STAGES_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <compare>
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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/group_shape.h"
#include "alos/query/internal/accumulator.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_tree.h"
#include "alos/query/internal/pipeline_stage.h"
#include "alos/query/internal/streaming_stages.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

struct NamedAccumulator {
  std::string name;
  Accumulator accumulator;
};

// The name of a field that a stage adds to its result.
inline absl::Status CheckOutputName(std::string_view name) {
  if (name.empty()) return absl::InvalidArgumentError("the name of a field may not be empty");
  if (name[0] == '$') {
    return absl::InvalidArgumentError(
        absl::StrCat("the field name '", DescribeText(name), "' may not begin with '$'"));
  }
  if (name.find('.') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the field name '", DescribeText(name), "' may not have a dot"));
  }
  if (name.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("the name of a field may not have a zero byte");
  }
  return absl::OkStatus();
}

// {total: {$sum: "$price"}, ...}
inline absl::Status CompileAccumulators(const StageSpecification& specification, ValueView fields,
                                        std::string_view skip,
                                        std::vector<NamedAccumulator>* accumulators) {
  for (const auto entry : fields.entries()) {
    if (entry.key == skip) continue;
    if (absl::Status status = CheckOutputName(entry.key); !status.ok()) {
      return specification.Error(status);
    }
    absl::StatusOr<Accumulator> accumulator =
        Accumulator::Compile(entry.value, specification.context.variables);
    if (!accumulator.ok()) {
      return specification.Error("field '", DescribeText(entry.key),
                                 "': ", accumulator.status().message());
    }
    accumulators->push_back({std::string(entry.key), *std::move(accumulator)});
  }
  return absl::OkStatus();
}

// Values, each of which gets a number when it is first seen: an open hash table of numbers beside
// the values' bytes.
class ValueTable {
 public:
  struct Found {
    std::size_t number;
    bool is_new;
  };

  // Equal values have one number, whatever their encoding; the first one's bytes are kept.
  Found FindOrAdd(ValueView value) {
    if (2 * (keys_.size() + 1) > slots_.size()) Grow();
    const std::uint64_t hash = HashValue(value);
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    const std::size_t mask = slots_.size() - 1;
    const std::string_view bytes = value.bytes();
    for (std::size_t i = hash & mask;; i = (i + 1) & mask) {
      Slot& slot = slots_[i];
      if (slot.number == kFree) {
        slot = {tag, static_cast<std::uint32_t>(keys_.size())};
        keys_.push_back({hash, Store(bytes), bytes.size()});
        return {keys_.size() - 1, true};
      }
      if (slot.tag != tag) continue;
      const Key& key = keys_[slot.number];
      if ((key.size == bytes.size() && std::memcmp(key.data, bytes.data(), key.size) == 0) ||
          Equal(View(key), value)) {
        return {slot.number, false};
      }
    }
  }

  std::optional<std::size_t> Find(ValueView value) const {
    if (slots_.empty()) return std::nullopt;
    const std::uint64_t hash = HashValue(value);
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = hash & mask; slots_[i].number != kFree; i = (i + 1) & mask) {
      if (slots_[i].tag == tag && Equal(View(keys_[slots_[i].number]), value)) {
        return slots_[i].number;
      }
    }
    return std::nullopt;
  }

  std::size_t size() const { return keys_.size(); }
  ValueView operator[](std::size_t number) const { return View(keys_[number]); }
  // What a value takes besides its bytes: its key and two to four slots.
  static constexpr std::size_t kValueBytes = 24 + 3 * 8;

 private:
  static constexpr std::uint32_t kFree = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::size_t kChunkBytes = 64 << 10;
  struct Slot {
    std::uint32_t tag = 0;
    std::uint32_t number = kFree;
  };
  struct Key {
    std::uint64_t hash;
    const char* data;
    std::size_t size;
  };

  static ValueView View(const Key& key) { return ValueView::FromTrusted({key.data, key.size}); }

  const char* Store(std::string_view bytes) {
    if (bytes.size() > free_bytes_) {
      // The first ones are small: a $group of few groups should cost little.
      free_bytes_ = std::max(bytes.size(), chunks_.empty() ? kChunkBytes / 64 : kChunkBytes);
      chunks_.push_back(std::make_unique<char[]>(free_bytes_));
      free_ = chunks_.back().get();
    }
    char* const place = free_;
    std::memcpy(place, bytes.data(), bytes.size());
    free_ += bytes.size();
    free_bytes_ -= bytes.size();
    return place;
  }

  void Grow() {
    std::vector<Slot> slots(std::max<std::size_t>(64, 2 * slots_.size()));
    const std::size_t mask = slots.size() - 1;
    for (std::size_t number = 0; number < keys_.size(); ++number) {
      std::size_t i = keys_[number].hash & mask;
      while (slots[i].number != kFree) i = (i + 1) & mask;
      slots[i] = {static_cast<std::uint32_t>(keys_[number].hash >> 32),
                  static_cast<std::uint32_t>(number)};
    }
    slots_ = std::move(slots);
  }

  std::vector<Slot> slots_;
  std::vector<Key> keys_;
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* free_ = nullptr;
  std::size_t free_bytes_ = 0;
};

// --- $group, $bucket ---

// The boundaries of a $bucket.
struct BucketBoundaries {
  std::string bytes;  // of the array
  std::vector<ValueView>
      boundaries;        // into `bytes`, ascending; a bucket begins at all but the last
  std::string fallback;  // `default`, encoded; empty: none
};

class GroupStage final : public Stage {
 public:
  static constexpr std::string_view kAdvice =
      "put a $match or $project before it, or group by something with fewer values";

  GroupStage(std::string_view name, std::size_t position, Expression id,
             std::vector<NamedAccumulator> accumulators,
             std::unique_ptr<BucketBoundaries> boundaries = nullptr)
      : Stage(name, position, StageKind::kGroup),
        id_(std::move(id)),
        accumulators_(std::move(accumulators)),
        boundaries_(std::move(boundaries)) {
    if (const Path* path = id_.field_path(); path != nullptr && path->parts().size() == 1) {
      id_field_ = path->parts()[0];
    }
    id_constant_ = boundaries_ == nullptr ? id_.constant() : std::nullopt;
    state_bytes_ = accumulators_.size() * sizeof(AccumulatorState);
    for (const NamedAccumulator& named : accumulators_) {
      state_bytes_ += named.accumulator.start_bytes();
    }
  }

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error("needs a document such as {_id: \"$city\", n: {$sum: 1}}, not ",
                                 Describe(operand));
    }
    const Operand given = operand.Find("_id");
    if (!given) {
      return specification.Error(
          "the field '_id' is missing: what to group by, or null for one group of everything");
    }
    absl::StatusOr<Expression> id = Expression::Compile(*given, specification.context.variables);
    if (!id.ok()) return specification.Error("field '_id': ", id.status().message());
    std::vector<NamedAccumulator> accumulators;
    ALOS_RETURN_IF_ERROR(CompileAccumulators(specification, operand, "_id", &accumulators));
    auto stage = std::make_unique<GroupStage>(specification.name, specification.position,
                                              *std::move(id), std::move(accumulators));
    stage->FindShape(*given);
    return stage;
  }

  // nullptr if it is not that plain.
  const GroupShape* shape() const { return shape_.get(); }
  void set_next_stage(std::size_t index) {
    if (shape_ != nullptr) shape_->next_stage = index;
  }

  const Expression& id() const { return id_; }
  const std::vector<NamedAccumulator>& accumulators() const { return accumulators_; }

  Needs AddNeeds(std::vector<std::string>* fields) const override {
    if (!AddFieldsOf(id_, fields)) return Needs::kUnknown;
    for (const NamedAccumulator& named : accumulators_) {
      if (!named.accumulator.AddNeeds(fields)) return Needs::kUnknown;
    }
    return Needs::kAll;
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  friend absl::StatusOr<StageList> CompileCount(const StageSpecification& specification);
  friend absl::StatusOr<StageList> CompileSortByCount(const StageSpecification& specification);

  class Run final : public StageRun {
   public:
    Run(const GroupStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage),
          context_(context),
          next_(next),
          evaluator_(stage, context),
          budget_(stage, context, kAdvice) {}

    bool Push(ValueView document) override {
      evaluator_.Reset();
      std::size_t group = 0;
      if (!stage_.id_constant_ || groups_.size() == 0) {
        Operand id;
        if (!stage_.id_field_.empty()) {
          id = document.Find(stage_.id_field_);
        } else if (!evaluator_.Evaluate(stage_.id_, document, &id)) {
          return false;
        }
        ValueView key = id.value_or(ValueView());  // missing is null
        if (stage_.boundaries_ != nullptr && !FindBucket(&key)) return false;
        const ValueTable::Found found = groups_.FindOrAdd(key);
        group = found.number;
        if (found.is_new && !StartGroup(key)) return false;
      }
      AccumulatorState* state = states_.data() + group * stage_.accumulators_.size();
      for (const NamedAccumulator& named : stage_.accumulators_) {
        if (!named.accumulator.Add(document, &evaluator_, &budget_, state++)) return false;
      }
      return true;
    }

    void Finish() override {
      std::string bytes;
      for (std::size_t group = 0; group < groups_.size(); ++group) {
        bytes.clear();
        Builder builder(&bytes);
        builder.StartDocument(1 + stage_.accumulators_.size());
        builder.Key("_id").Raw(groups_[group]);
        AccumulatorState* state = states_.data() + group * stage_.accumulators_.size();
        for (const NamedAccumulator& named : stage_.accumulators_) {
          builder.Key(named.name);
          named.accumulator.Append(state, &builder);
          *state++ = AccumulatorState();  // what it held is in the result now
        }
        builder.EndDocument();
        if (!EmitChecked(stage_, context_, next_, bytes)) break;
      }
    }

   private:
    bool StartGroup(ValueView key) {
      if (!budget_.Add(ValueTable::kValueBytes + key.bytes().size() + stage_.state_bytes_)) {
        return false;
      }
      std::string bytes;
      Builder builder(&bytes);
      builder.StartDocument(1).Key("_id").Raw(key).EndDocument();
      const ValueView document = ValueView::FromTrusted(bytes);
      for (const NamedAccumulator& named : stage_.accumulators_) {
        if (!named.accumulator.Start(&document, &evaluator_, &states_.emplace_back())) return false;
      }
      return true;
    }

    // Replaces the value by the lower boundary of its bucket.
    bool FindBucket(ValueView* key) const {
      const std::vector<ValueView>& boundaries = stage_.boundaries_->boundaries;
      const auto above =
          std::upper_bound(boundaries.begin(), boundaries.end(), *key,
                           [](ValueView a, ValueView b) { return Compare(a, b) < 0; });
      if (above != boundaries.begin() && above != boundaries.end()) {
        *key = *(above - 1);
        return true;
      }
      if (stage_.boundaries_->fallback.empty()) {
        return context_->Fail(stage_.RunError(
            "the value ", Describe(*key), " is in none of the buckets; give a 'default' for such"));
      }
      *key = ValueView::FromTrusted(stage_.boundaries_->fallback);
      return true;
    }

    const GroupStage& stage_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
    MemoryBudget budget_;
    ValueTable groups_;
    std::vector<AccumulatorState> states_;  // of the groups, one after another
  };

  static bool IsPlainPath(ValueView text, std::string* path) {
    if (!text.IsString()) return false;
    const std::string_view name = text.AsString();
    if (name.size() < 2 || name[0] != '$' || name[1] == '$') return false;
    *path = name.substr(1);
    return true;
  }

  // Sets shape_ if this is a grouping that an index may answer.
  void FindShape(ValueView id) {
    auto shape = std::make_unique<GroupShape>();
    GroupShape::Key key;
    if (const Operand constant = id_.constant()) {
      shape->key_kind = GroupShape::KeyKind::kConstant;
      shape->constant = constant->bytes();
    } else if (IsPlainPath(id, &key.path)) {
      shape->key_kind = GroupShape::KeyKind::kPath;
      shape->keys.push_back(std::move(key));
    } else if (id.IsDocument() && id.size() > 0) {
      shape->key_kind = GroupShape::KeyKind::kDocument;
      for (const auto entry : id.entries()) {
        key.name = entry.key;
        if (key.name.starts_with('$') || !IsPlainPath(entry.value, &key.path)) return;
        shape->keys.push_back(key);
      }
    } else {
      return;
    }
    using Kind = GroupShape::Accumulator::Kind;
    for (const NamedAccumulator& named : accumulators_) {
      GroupShape::Accumulator accumulator;
      accumulator.name = named.name;
      const Expression* const input = named.accumulator.input();
      switch (named.accumulator.kind()) {
        case AccumulatorKind::kCount:
          accumulator.kind = Kind::kCount;
          break;
        case AccumulatorKind::kSum:
          accumulator.kind = Kind::kSum;
          if (const Operand constant = input->constant()) {
            if (!constant->IsNumber()) return;
            accumulator.kind = Kind::kSumConstant;
            accumulator.constant = constant->bytes();
          }
          break;
        case AccumulatorKind::kAvg:
          accumulator.kind = Kind::kAvg;
          break;
        case AccumulatorKind::kMin:
          accumulator.kind = Kind::kMin;
          break;
        case AccumulatorKind::kMax:
          accumulator.kind = Kind::kMax;
          break;
        default:
          return;
      }
      if (accumulator.kind != Kind::kCount && accumulator.kind != Kind::kSumConstant) {
        const Path* const path = input->field_path();
        if (path == nullptr) return;
        accumulator.path = path->ToString();
      }
      shape->accumulators.push_back(std::move(accumulator));
    }
    shape_ = std::move(shape);
  }

  Expression id_;
  std::string id_field_;  // the key is this field of the document
  Operand id_constant_;
  std::vector<NamedAccumulator> accumulators_;
  std::unique_ptr<BucketBoundaries> boundaries_;
  std::size_t state_bytes_ = 0;
  std::unique_ptr<GroupShape> shape_;
};

// {$count: "n"}: {$group: {_id: null, n: {$sum: 1}}}, {$project: {_id: 0}}. No documents: no
// result.
inline absl::StatusOr<StageList> CompileCount(const StageSpecification& specification) {
  const ValueView operand = specification.operand;
  if (!operand.IsString()) {
    return specification.Error("needs the name of the field for the count, not ",
                               Describe(operand));
  }
  const std::string_view name = operand.AsString();
  if (absl::Status status = CheckOutputName(name); !status.ok()) return specification.Error(status);
  if (name == "_id") return specification.Error("the name of the field may not be _id");
  std::vector<NamedAccumulator> accumulators;
  accumulators.push_back({std::string(name), Accumulator::CountDocuments()});
  const ValueView null;
  auto group = std::make_unique<GroupStage>(specification.name, specification.position,
                                            *Expression::Compile(null), std::move(accumulators));
  group->FindShape(null);
  StageList stages;
  stages.push_back(std::move(group));
  const std::string_view hidden[] = {"_id"};
  stages.push_back(std::make_unique<FieldTreeStage>(specification.name, specification.position,
                                                    *FieldTree::CompileUnset(hidden)));
  return stages;
}

// {$sortByCount: expression}: {$group: {_id: expression, count: {$sum: 1}}}, {$sort: {count: -1}}.
inline absl::StatusOr<StageList> CompileSortByCount(const StageSpecification& specification) {
  const ValueView operand = specification.operand;
  const bool is_expression =
      operand.IsDocument()
          ? operand.size() == 1 && (*operand.entries().begin()).key.starts_with('$')
          : operand.IsString() && operand.AsString().starts_with('$');
  if (!is_expression) {
    return specification.Error("needs an expression such as \"$city\", not ", Describe(operand));
  }
  absl::StatusOr<Expression> id = Expression::Compile(operand, specification.context.variables);
  if (!id.ok()) return specification.Error(id.status());
  std::vector<NamedAccumulator> accumulators;
  accumulators.push_back({"count", Accumulator::CountDocuments()});
  auto group = std::make_unique<GroupStage>(specification.name, specification.position,
                                            *std::move(id), std::move(accumulators));
  group->FindShape(operand);
  StageList stages;
  stages.push_back(std::move(group));
  std::string order;
  Builder builder(&order);
  builder.StartDocument(1).Key("count").Int(-1).EndDocument();
  stages.push_back(std::make_unique<SortStage>(specification.name, specification.position,
                                               *Sort::Compile(ValueView::FromTrusted(order))));
  return stages;
}

// The accumulators of `output`, or a count.
inline absl::StatusOr<std::vector<NamedAccumulator>> CompileBucketOutput(
    const StageSpecification& specification) {
  std::vector<NamedAccumulator> accumulators;
  const Operand output = specification.operand.Find("output");
  if (!output) {
    accumulators.push_back({"count", Accumulator::CountDocuments()});
    return accumulators;
  }
  if (!output->IsDocument()) {
    return specification.Error("'output' needs a document of accumulators, not ",
                               Describe(*output));
  }
  if (output->Find("_id")) return specification.Error("'output' may not have a field '_id'");
  ALOS_RETURN_IF_ERROR(CompileAccumulators(specification, *output, "", &accumulators));
  return accumulators;
}

inline absl::StatusOr<Expression> CompileGroupBy(const StageSpecification& specification) {
  const Operand group_by = specification.operand.Find("groupBy");
  if (!group_by) return specification.Error("the field 'groupBy' is missing");
  if (!group_by->IsDocument() && !(group_by->IsString() && group_by->AsString().starts_with('$'))) {
    return specification.Error("'groupBy' needs a path such as \"$price\" or an expression, not ",
                               Describe(*group_by));
  }
  absl::StatusOr<Expression> id = Expression::Compile(*group_by, specification.context.variables);
  if (!id.ok()) return specification.Error("groupBy: ", id.status().message());
  return id;
}

// $bucket: a $group by the lower boundary of a value's bucket, then a sort by it.
inline absl::StatusOr<StageList> CompileBucket(const StageSpecification& specification) {
  const ValueView operand = specification.operand;
  if (!operand.IsDocument()) {
    return specification.Error("needs {groupBy: ..., boundaries: [...]}, not ", Describe(operand));
  }
  ALOS_RETURN_IF_ERROR(
      specification.CheckFields(operand, {"groupBy", "boundaries", "default", "output"}));
  ALOS_ASSIGN_OR_RETURN(Expression id, CompileGroupBy(specification));
  const Operand given = operand.Find("boundaries");
  if (!given) return specification.Error("the field 'boundaries' is missing");
  auto boundaries = std::make_unique<BucketBoundaries>();
  absl::StatusOr<Expression> list = Expression::Compile(*given, specification.context.variables);
  if (!list.ok()) return specification.Error("boundaries: ", list.status().message());
  const Operand constant = list->constant();
  if (!constant || !constant->IsArray() || constant->size() < 2) {
    return specification.Error("'boundaries' needs an array of at least two constants, not ",
                               Describe(constant ? *constant : *given));
  }
  boundaries->bytes = constant->bytes();
  for (const ValueView boundary : ValueView::FromTrusted(boundaries->bytes).elements()) {
    if (!boundaries->boundaries.empty()) {
      const ValueView previous = boundaries->boundaries.back();
      if (TypeRank(previous.type()) != TypeRank(boundary.type())) {
        return specification.Error("'boundaries' must be of one type; found ", Describe(previous),
                                   " and ", Describe(boundary));
      }
      if (Compare(previous, boundary) >= 0) {
        return specification.Error("'boundaries' must ascend; found ", Describe(previous),
                                   " before ", Describe(boundary));
      }
    }
    boundaries->boundaries.push_back(boundary);
  }
  if (const Operand fallback = operand.Find("default")) {
    absl::StatusOr<Expression> compiled =
        Expression::Compile(*fallback, specification.context.variables);
    if (!compiled.ok()) return specification.Error("default: ", compiled.status().message());
    const Operand value = compiled->constant();
    if (!value) return specification.Error("'default' must be a constant");
    if (Compare(*value, boundaries->boundaries.front()) >= 0 &&
        Compare(*value, boundaries->boundaries.back()) < 0) {
      return specification.Error("'default' must lie outside of the boundaries, but is ",
                                 Describe(*value));
    }
    boundaries->fallback = value->bytes();
  }
  ALOS_ASSIGN_OR_RETURN(std::vector<NamedAccumulator> accumulators,
                        CompileBucketOutput(specification));
  StageList stages;
  stages.push_back(std::make_unique<GroupStage>(specification.name, specification.position,
                                                std::move(id), std::move(accumulators),
                                                std::move(boundaries)));
  std::string order;
  Builder builder(&order);
  builder.StartDocument(1).Key("_id").Int(1).EndDocument();
  stages.push_back(std::make_unique<SortStage>(specification.name, specification.position,
                                               *Sort::Compile(ValueView::FromTrusted(order))));
  return stages;
}

// --- $bucketAuto ---

class BucketAutoStage final : public Stage {
 public:
  BucketAutoStage(const StageSpecification& specification, Expression group_by,
                  std::uint64_t buckets, std::vector<NamedAccumulator> accumulators)
      : Stage(specification.name, specification.position),
        group_by_(std::move(group_by)),
        buckets_(buckets),
        accumulators_(std::move(accumulators)) {}

  static absl::StatusOr<std::unique_ptr<Stage>> Compile(const StageSpecification& specification) {
    const ValueView operand = specification.operand;
    if (!operand.IsDocument()) {
      return specification.Error("needs {groupBy: ..., buckets: <number>}, not ",
                                 Describe(operand));
    }
    ALOS_RETURN_IF_ERROR(
        specification.CheckFields(operand, {"groupBy", "buckets", "output", "granularity"}));
    if (operand.Find("granularity")) {
      return specification.Error(
          "'granularity' is not supported; round the value in groupBy instead, with $round or "
          "$trunc");
    }
    ALOS_ASSIGN_OR_RETURN(Expression group_by, CompileGroupBy(specification));
    const Operand given = operand.Find("buckets");
    const std::optional<std::int64_t> buckets = given ? given->ToInt64() : std::nullopt;
    if (!buckets || *buckets <= 0 || *buckets > std::numeric_limits<std::int32_t>::max()) {
      return specification.Error("'buckets' needs a whole number above 0, found ",
                                 given ? Describe(*given) : "none");
    }
    ALOS_ASSIGN_OR_RETURN(std::vector<NamedAccumulator> accumulators,
                          CompileBucketOutput(specification));
    return std::make_unique<BucketAutoStage>(specification, std::move(group_by),
                                             static_cast<std::uint64_t>(*buckets),
                                             std::move(accumulators));
  }

  std::unique_ptr<StageRun> Start(RunContext* context, StageRun* next) const override {
    return std::make_unique<Run>(this, context, next);
  }

 private:
  class Run final : public StageRun {
   public:
    Run(const BucketAutoStage* stage, RunContext* context, StageRun* next)
        : stage_(*stage),
          context_(context),
          next_(next),
          evaluator_(stage, context),
          budget_(stage, context, "put a $match or $project before it") {}

    bool Push(ValueView document) override {
      evaluator_.Reset();
      Operand value;
      if (!evaluator_.Evaluate(stage_.group_by_, document, &value)) return false;
      entries_.push_back(
          {std::string(value.value_or(ValueView()).bytes()), std::string(document.bytes())});
      const Entry& entry = entries_.back();
      return budget_.Add(sizeof(Entry) + entry.value.size() + entry.document.size());
    }

    void Finish() override {
      if (entries_.empty()) return;
      std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
        return Compare(View(a.value), View(b.value)) < 0;
      });
      const auto size =
          static_cast<std::size_t>(std::max(1.0, std::round(static_cast<double>(entries_.size()) /
                                                            static_cast<double>(stage_.buckets_))));
      std::size_t begin = 0;
      for (std::uint64_t bucket = 0; bucket < stage_.buckets_ && begin < entries_.size();
           ++bucket) {
        std::size_t end = entries_.size();
        if (bucket + 1 < stage_.buckets_ && size < end - begin) {
          end = begin + size;
          // Equal values stay together.
          while (end < entries_.size() &&
                 Equal(View(entries_[end - 1].value), View(entries_[end].value))) {
            ++end;
          }
        }
        if (!Emit(begin, end)) return;
        begin = end;
      }
    }

   private:
    struct Entry {
      std::string value;
      std::string document;
    };
    static ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }

    bool Emit(std::size_t begin, std::size_t end) {
      std::vector<AccumulatorState> states(stage_.accumulators_.size());
      evaluator_.Reset();
      for (std::size_t i = 0; i < states.size(); ++i) {
        if (!stage_.accumulators_[i].accumulator.Start(nullptr, &evaluator_, &states[i])) {
          return false;
        }
      }
      for (std::size_t entry = begin; entry < end; ++entry) {
        evaluator_.Reset();
        for (std::size_t i = 0; i < states.size(); ++i) {
          if (!stage_.accumulators_[i].accumulator.Add(View(entries_[entry].document), &evaluator_,
                                                       &budget_, &states[i])) {
            return false;
          }
        }
      }
      std::string bytes;
      Builder builder(&bytes);
      builder.StartDocument(1 + states.size());
      builder.Key("_id").StartDocument(2);
      builder.Key("min").Raw(View(entries_[begin].value));
      // The next one's least, which is not in this bucket; the last bucket's greatest, which is.
      builder.Key("max").Raw(View(entries_[end < entries_.size() ? end : end - 1].value));
      builder.EndDocument();
      for (std::size_t i = 0; i < states.size(); ++i) {
        builder.Key(stage_.accumulators_[i].name);
        stage_.accumulators_[i].accumulator.Append(&states[i], &builder);
      }
      builder.EndDocument();
      return EmitChecked(stage_, context_, next_, bytes);
    }

    const BucketAutoStage& stage_;
    RunContext* context_;
    StageRun* next_;
    StageEvaluator evaluator_;
    MemoryBudget budget_;
    std::vector<Entry> entries_;
  };

  Expression group_by_;
  std::uint64_t buckets_;
  std::vector<NamedAccumulator> accumulators_;
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_GROUP_STAGES_H_
