// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Updates: how a document becomes its next version.

#ifndef ALOS_QUERY_UPDATE_H_
#define ALOS_QUERY_UPDATE_H_

#include <algorithm>
#include <cstddef>
#include <iterator>
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
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/update_program.h"
#include "alos/query/pipeline.h"

namespace alos {

// A compiled update: MongoDB's update operators, or a whole replacement document.
//
//   {$set: {"address.city": "Oslo"}, $inc: {visits: 1}, $push: {log: {$each: ["in"], $slice: -9}}}
//
// Operators: $set $unset $setOnInsert $rename $currentDate, $inc $mul $min $max $bit, $push (with
// $each $position $slice $sort) $addToSet (with $each) $pop $pull $pullAll.
//
//  - An array is a pipeline of $set (or $addFields), $unset, $project and $replaceWith (or
//    $replaceRoot), which makes the next version out of the document; its _id stays.
//  - A document whose keys do not begin with '$' replaces everything but `_id`; {} leaves only it.
//  - Dotted paths create the documents on their way. A number addresses an element of an array that
//    is there (beyond its end the gap is filled with nulls) and else names a field.
//  - Fields keep their places; new ones are appended, names in lexicographic and numbers in numeric
//    order. Removing an element of an array by $unset leaves null in its place.
//  - `_id` cannot change. Setting it to an equal value is fine.
//  - $inc and $mul of integers stay integers and refuse to overflow; with a double they are double.
//  - Two paths of one update may not meet (`a` and `a.b`).
//  - In a path "$" is the array element by which the filter matched, "$[]" every element, and
//  "$[x]"
//    those that the array filter {x: condition} selects; the array must be there.
//
// Threads: immutable; any number of threads may use one at once. Copies share one program.
// Lifetime: owns all it needs; the bytes it was compiled from may go.
// Durability: none; it computes bytes.
// Errors: kInvalidArgument. From Compile: naming the operator, the path and what was expected. From
//   Apply and Seed: where the document does not fit, naming the document's _id, the field and its
//   value; nothing is appended then.
// Cost: one pass over the document; the result is written once.
class Update {
 public:
  struct Options {
    // An array of filters, each with the conditions on one identifier: [{x: {$gte: 1}}].
    std::optional<ValueView> array_filters;
  };

  static absl::StatusOr<Update> Compile(ValueView update) { return Compile(update, Options()); }

  static absl::StatusOr<Update> Compile(ValueView update, const Options& options) {
    if (update.IsArray()) return CompilePipeline(update, options);
    absl::StatusOr<std::shared_ptr<const query_internal::UpdateProgram>> program =
        query_internal::UpdateCompiler::Compile(update, options.array_filters);
    if (!program.ok()) return program.status();
    return Update(*std::move(program));
  }

  bool is_replacement() const { return program_ != nullptr && program_->is_replacement(); }

  // Appends the new version of `document`, which `filter` matches, to *out. False: the document
  // would not change, and nothing was appended. REQUIRES: `document` is a document, nested at most
  // 100 levels, whose bytes are not in *out.
  absl::StatusOr<bool> Apply(ValueView document, const Filter& filter, std::string* out) const {
    std::optional<std::size_t> position;
    if (program_ != nullptr && program_->needs_position() && document.IsDocument()) {
      filter.Matches(document, &position);
    }
    return ApplyAt(document, position, out);
  }

  // As above for whoever has no filter: then there is nothing that $ could stand for.
  absl::StatusOr<bool> Apply(ValueView document, std::string* out) const {
    return ApplyAt(document, std::nullopt, out);
  }

  // The document that an upsert inserts when `filter` matched nothing: what the filter asks to be
  // equal, then this update applied to it, with $setOnInsert; `_id` first. It may lack `_id`, and
  // the one it has is not checked to be a possible one.
  // Errors: as Apply; also when the filter names a path twice, or one inside another.
  absl::StatusOr<std::string> Seed(const Filter& filter) const {
    std::string document;
    if (is_replacement()) {
      std::optional<ValueView> id;
      for (const Filter::Equality& equality : filter.equalities()) {
        if (equality.path == "_id") id = equality.value;
      }
      ALOS_RETURN_IF_ERROR(Replace(id, program_->replacement(), &document));
      return document;
    }
    std::vector<std::pair<std::string_view, ValueView>> assignments;
    for (const Filter::Equality& equality : filter.equalities()) {
      assignments.emplace_back(equality.path, equality.value);
    }
    absl::StatusOr<std::shared_ptr<const query_internal::UpdateProgram>> equalities =
        query_internal::UpdateCompiler::CompileAssignments(assignments);
    if (!equalities.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "upsert: the filter does not say what to insert: ", equalities.status().message()));
    }
    std::string base;
    absl::StatusOr<bool> changed =
        (*equalities)->Apply(query_internal::EmptyDocument(), false, std::nullopt, &base);
    if (!changed.ok()) return changed.status();
    if (!*changed) base = query_internal::EmptyDocument().bytes();
    if (pipeline_ != nullptr) {
      changed = ApplyPipeline(ValueView::FromTrusted(base), &document);
      if (!changed.ok()) return changed.status();
      return WithIdFirst(*changed ? std::move(document) : std::move(base));
    }
    changed = program_->Apply(ValueView::FromTrusted(base), true, std::nullopt, &document);
    if (!changed.ok()) return changed.status();
    return WithIdFirst(*changed ? std::move(document) : std::move(base));
  }

 private:
  explicit Update(std::shared_ptr<const query_internal::UpdateProgram> program)
      : program_(std::move(program)) {}

  explicit Update(Pipeline pipeline)
      : pipeline_(std::make_shared<const Pipeline>(std::move(pipeline))) {}

  static absl::StatusOr<Update> CompilePipeline(ValueView stages, const Options& options) {
    if (options.array_filters.has_value()) {
      return absl::InvalidArgumentError(
          "update: array filters belong to update operators, not to a pipeline");
    }
    for (const ValueView stage : stages.elements()) {
      if (!stage.IsDocument() || stage.size() != 1) continue;  // The pipeline says what is wrong.
      const std::string_view name = (*stage.entries().begin()).key;
      static constexpr std::string_view kStages[] = {"$addFields", "$set",         "$project",
                                                     "$unset",     "$replaceRoot", "$replaceWith"};
      if (std::find(std::begin(kStages), std::end(kStages), name) == std::end(kStages)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "update: the stage ", query_internal::DescribeText(name),
            " cannot stand in an update; a pipeline may have $set, $addFields, $unset, $project, "
            "$replaceWith and $replaceRoot there"));
      }
    }
    absl::StatusOr<Pipeline> pipeline = Pipeline::Compile(stages);
    if (!pipeline.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("update: ", pipeline.status().message()));
    }
    return Update(*std::move(pipeline));
  }

  // Appends what the pipeline makes of the document.
  absl::StatusOr<bool> ApplyPipeline(ValueView document, std::string* out) const {
    std::string made;
    absl::Status status = pipeline_->Run([&](auto&& push) { push(document); },
                                         [&](ValueView result) {
                                           made = result.bytes();
                                           return true;
                                         });
    if (status.ok() && made.empty()) {
      status = absl::InternalError("a pipeline that updates a document made none of it");
    }
    if (status.ok() && query_internal::ContainerDepth(ValueView::FromTrusted(made)) >
                           query_internal::kDocumentDepthMax) {
      status = absl::InvalidArgumentError(absl::StrCat(
          "the result would nest more than ", query_internal::kDocumentDepthMax, " levels deep"));
    }
    const std::optional<ValueView> id = document.Find("_id");
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat("update: ", status.message(),
                                       id.has_value() ? " in the document with _id: " : "",
                                       id.has_value() ? query_internal::Describe(*id) : ""));
    }
    return ReplaceUnlessSame(document, ValueView::FromTrusted(made), out);
  }

  absl::StatusOr<bool> ApplyAt(ValueView document, const std::optional<std::size_t>& position,
                               std::string* out) const {
    if (!document.IsDocument()) {
      return absl::InvalidArgumentError(absl::StrCat("update: only documents can be updated, not ",
                                                     query_internal::Describe(document)));
    }
    if (pipeline_ != nullptr) return ApplyPipeline(document, out);
    if (!is_replacement()) return program_->Apply(document, false, position, out);
    return ReplaceUnlessSame(document, program_->replacement(), out);
  }

  static absl::StatusOr<bool> ReplaceUnlessSame(ValueView document, ValueView replacement,
                                                std::string* out) {
    const std::size_t begin = out->size();
    absl::Status status = Replace(document.Find("_id"), replacement, out);
    if (!status.ok()) return status;
    if (std::string_view(*out).substr(begin) == document.bytes()) {
      out->resize(begin);
      return false;
    }
    return true;
  }

  // Appends the replacement, its _id first: `id`, or the replacement's own when there is none.
  static absl::Status Replace(const std::optional<ValueView>& id, ValueView replacement,
                              std::string* out) {
    const std::optional<ValueView> own = replacement.Find("_id");
    if (id.has_value() && own.has_value() && !Equal(*id, *own)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "update: the field '_id' is immutable: the replacement has ",
          query_internal::DescribeField("_id", *own), " for the document with ",
          query_internal::DescribeField("_id", *id), "; leave _id out of the replacement"));
    }
    Builder builder(out);
    const bool has_id = id.has_value() || own.has_value();
    builder.StartDocument(replacement.size() + (has_id && !own.has_value() ? 1 : 0));
    if (has_id) builder.Key("_id").Raw(id.has_value() ? *id : *own);
    for (const auto entry : replacement.entries()) {
      if (entry.key != "_id") builder.Key(entry.key).Raw(entry.value);
    }
    builder.EndDocument();
    return absl::OkStatus();
  }

  static std::string WithIdFirst(std::string bytes) {
    const ValueView document = ValueView::FromTrusted(bytes);
    const std::optional<ValueView> id = document.Find("_id");
    if (!id.has_value() || (*document.entries().begin()).key == "_id") return bytes;
    std::string ordered;
    Builder builder(&ordered);
    builder.StartDocument(document.size());
    builder.Key("_id").Raw(*id);
    for (const auto entry : document.entries()) {
      if (entry.key != "_id") builder.Key(entry.key).Raw(entry.value);
    }
    builder.EndDocument();
    return ordered;
  }

  // One of the two.
  std::shared_ptr<const query_internal::UpdateProgram> program_;
  std::shared_ptr<const Pipeline> pipeline_;
};

}  // namespace alos

#endif  // ALOS_QUERY_UPDATE_H_
