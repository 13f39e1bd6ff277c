// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The operators that the generator knows, and which of them this build of alos has.

#ifndef ALOS_TESTING_DIFFERENTIAL_LANGUAGE_H_
#define ALOS_TESTING_DIFFERENTIAL_LANGUAGE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/base/check.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/query/filter.h"
#include "alos/query/pipeline.h"
#include "alos/query/projection.h"
#include "alos/query/update.h"
#include "testing/differential/values.h"

namespace alos::differential {

enum class OperatorKind {
  kFilter,
  kUpdate,
  kProjection,
  kStage,
  kExpression,
  kAccumulator,
  kWindow,
};

inline std::string_view KindName(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::kFilter:
      return "filter";
    case OperatorKind::kUpdate:
      return "update";
    case OperatorKind::kProjection:
      return "projection";
    case OperatorKind::kStage:
      return "stage";
    case OperatorKind::kExpression:
      return "expression";
    case OperatorKind::kAccumulator:
      return "accumulator";
    case OperatorKind::kWindow:
      return "window";
  }
  return "?";
}

// An operator and a use of it as JSON, by which we ask alos whether it has it.
struct OperatorSample {
  OperatorKind kind;
  std::string_view name;
  std::string_view sample;
};

// What only counts as a use, like $each, stands in the operator's sample it belongs to.
inline const std::vector<OperatorSample>& OperatorSamples() {
  using enum OperatorKind;
  static const std::vector<OperatorSample>* const samples = new std::vector<OperatorSample>{
      {kFilter, "$eq", R"({"a":{"$eq":1}})"},
      {kFilter, "$ne", R"({"a":{"$ne":1}})"},
      {kFilter, "$gt", R"({"a":{"$gt":1}})"},
      {kFilter, "$gte", R"({"a":{"$gte":1}})"},
      {kFilter, "$lt", R"({"a":{"$lt":1}})"},
      {kFilter, "$lte", R"({"a":{"$lte":1}})"},
      {kFilter, "$in", R"({"a":{"$in":[1]}})"},
      {kFilter, "$nin", R"({"a":{"$nin":[1]}})"},
      {kFilter, "$and", R"({"$and":[{"a":1}]})"},
      {kFilter, "$or", R"({"$or":[{"a":1}]})"},
      {kFilter, "$nor", R"({"$nor":[{"a":1}]})"},
      {kFilter, "$not", R"({"a":{"$not":{"$gt":1}}})"},
      {kFilter, "$exists", R"({"a":{"$exists":true}})"},
      {kFilter, "$type", R"({"a":{"$type":"int"}})"},
      {kFilter, "$mod", R"({"a":{"$mod":[2,0]}})"},
      {kFilter, "$regex", R"({"a":{"$regex":"x"}})"},
      {kFilter, "$all", R"({"a":{"$all":[1]}})"},
      {kFilter, "$elemMatch", R"({"a":{"$elemMatch":{"$gt":1}}})"},
      {kFilter, "$size", R"({"a":{"$size":1}})"},
      {kFilter, "$bitsAllSet", R"({"a":{"$bitsAllSet":1}})"},
      {kFilter, "$bitsAllClear", R"({"a":{"$bitsAllClear":1}})"},
      {kFilter, "$bitsAnySet", R"({"a":{"$bitsAnySet":1}})"},
      {kFilter, "$bitsAnyClear", R"({"a":{"$bitsAnyClear":1}})"},
      {kFilter, "$expr", R"({"$expr":{"$eq":["$a",1]}})"},
      {kFilter, "$jsonSchema", R"({"$jsonSchema":{"required":["a"]}})"},
      {kFilter, "$comment", R"({"$comment":"x"})"},
      {kUpdate, "$set", R"({"$set":{"a":1}})"},
      {kUpdate, "$setOnInsert", R"({"$setOnInsert":{"a":1}})"},
      {kUpdate, "$unset", R"({"$unset":{"a":1}})"},
      {kUpdate, "$inc", R"({"$inc":{"a":1}})"},
      {kUpdate, "$mul", R"({"$mul":{"a":1}})"},
      {kUpdate, "$min", R"({"$min":{"a":1}})"},
      {kUpdate, "$max", R"({"$max":{"a":1}})"},
      {kUpdate, "$rename", R"({"$rename":{"a":"b"}})"},
      {kUpdate, "$bit", R"({"$bit":{"a":{"and":1}}})"},
      {kUpdate, "$push", R"({"$push":{"a":1}})"},
      {kUpdate, "$addToSet", R"({"$addToSet":{"a":1}})"},
      {kUpdate, "$pop", R"({"$pop":{"a":1}})"},
      {kUpdate, "$pull", R"({"$pull":{"a":1}})"},
      {kUpdate, "$pullAll", R"({"$pullAll":{"a":[1]}})"},
      {kUpdate, "$[]", R"({"$set":{"a.$[]":1}})"},
      {kUpdate, "pipeline", R"([{"$set":{"a":1}}])"},
      {kProjection, "$slice", R"({"a":{"$slice":1}})"},
      {kProjection, "$elemMatch", R"({"a":{"$elemMatch":{"$gt":1}}})"},
      {kStage, "$match", R"([{"$match":{}}])"},
      {kStage, "$project", R"([{"$project":{"a":1}}])"},
      {kStage, "$addFields", R"([{"$addFields":{"a":1}}])"},
      {kStage, "$set", R"([{"$set":{"a":1}}])"},
      {kStage, "$unset", R"([{"$unset":"a"}])"},
      {kStage, "$group", R"([{"$group":{"_id":"$a"}}])"},
      {kStage, "$sort", R"([{"$sort":{"a":1}}])"},
      {kStage, "$limit", R"([{"$limit":1}])"},
      {kStage, "$skip", R"([{"$skip":1}])"},
      {kStage, "$unwind", R"([{"$unwind":"$a"}])"},
      {kStage, "$count", R"([{"$count":"n"}])"},
      {kStage, "$sortByCount", R"([{"$sortByCount":"$a"}])"},
      {kStage, "$bucket", R"([{"$bucket":{"groupBy":"$a","boundaries":[0,1],"default":"x"}}])"},
      {kStage, "$bucketAuto", R"([{"$bucketAuto":{"groupBy":"$a","buckets":2}}])"},
      {kStage, "$facet", R"([{"$facet":{"x":[{"$limit":1}]}}])"},
      {kStage, "$replaceRoot", R"([{"$replaceRoot":{"newRoot":{"a":1}}}])"},
      {kStage, "$replaceWith", R"([{"$replaceWith":{"a":1}}])"},
      {kStage, "$redact", R"([{"$redact":"$$KEEP"}])"},
      {kStage, "$setWindowFields",
       R"([{"$setWindowFields":{"sortBy":{"_id":1},"output":{"n":{"$sum":1}}}}])"},
      {kStage, "$densify", R"([{"$densify":{"field":"a","range":{"step":1,"bounds":"full"}}}])"},
      {kStage, "$fill", R"([{"$fill":{"output":{"a":{"value":1}}}}])"},
      {kStage, "$lookup",
       R"([{"$lookup":{"from":"c","localField":"a","foreignField":"b","as":"j"}}])"},
      {kStage, "$graphLookup",
       R"([{"$graphLookup":{"from":"c","startWith":"$a","connectFromField":"a",)"
       R"("connectToField":"b","as":"j"}}])"},
      {kStage, "$unionWith", R"([{"$unionWith":"c"}])"},
      {kStage, "$out", R"([{"$out":"c"}])"},
      {kStage, "$merge", R"([{"$merge":{"into":"c"}}])"},
  };
  return *samples;
}

// Threads: immutable after Probe.
class Language {
 public:
  // Compiles every sample. What is refused is not generated.
  static Language Probe() {
    Language language;
    for (const OperatorSample& operator_sample : OperatorSamples()) {
      if (IsCompiled(operator_sample)) {
        language.known_.insert(Key(operator_sample.kind, operator_sample.name));
      } else {
        language.refused_.push_back(
            absl::StrCat(KindName(operator_sample.kind), " ", operator_sample.name));
      }
    }
    return language;
  }

  bool Has(OperatorKind kind, std::string_view name) const {
    return known_.contains(Key(kind, name));
  }
  // "stage $group", ...
  const std::vector<std::string>& refused() const { return refused_; }

 private:
  static std::string Key(OperatorKind kind, std::string_view name) {
    return absl::StrCat(static_cast<int>(kind), name);
  }

  static bool IsCompiled(const OperatorSample& operator_sample) {
    const absl::StatusOr<std::string> bytes = JsonToMessagePack(operator_sample.sample);
    ALOS_CHECK(bytes.ok());
    const ValueView specification = ValueView::FromTrusted(*bytes);
    switch (operator_sample.kind) {
      case OperatorKind::kFilter:
        return Filter::Compile(specification).ok();
      case OperatorKind::kUpdate:
        return Update::Compile(specification).ok();
      case OperatorKind::kProjection:
        return Projection::Compile(specification).ok();
      default:
        return Pipeline::Compile(specification).ok();
    }
  }

  absl::flat_hash_set<std::string> known_;
  std::vector<std::string> refused_;
};

// How often each operator was executed: by where it stands and its name.
class OperatorCounts {
 public:
  // Counts every operator in a specification.
  void Add(std::string_view where, ValueView specification) {
    if (specification.IsArray()) {
      for (const ValueView element : Elements(specification)) Add(where, element);
    }
    for (const auto entry : Entries(specification)) {
      if (absl::StartsWith(entry.key, "$")) ++counts_[absl::StrCat(where, " ", entry.key)];
      for (const std::string_view positional : {".$[].", ".$.", ".$["}) {
        if (absl::StrContains(absl::StrCat(entry.key, "."), positional)) {
          ++counts_[absl::StrCat(where, " positional ", positional.substr(1))];
          break;
        }
      }
      Add(where, entry.value);
    }
  }
  void AddOne(std::string_view name) { ++counts_[std::string(name)]; }

  const std::map<std::string, std::uint64_t>& counts() const { return counts_; }

 private:
  std::map<std::string, std::uint64_t> counts_;
};

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_LANGUAGE_H_
