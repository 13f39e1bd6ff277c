// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What an update compiles to, the compiler, and the one pass that applies it.
//
// All modifications of an update hang in one tree of path parts, so that a document is rewritten in
// a single pass over its bytes: what no modification names is copied as it is, in its place; what
// is new is appended where its parent ends.
//
//   {$set: {"a.b": 1, c: 2}, $inc: {"a.n": 1}}       root -+- a -+- b   $set 1
//                                                          |     +- n   $inc 1
//                                                          +- c         $set 2
//
// A path that ends where another one goes on would make the outcome depend on their order; such
// pairs are refused when the tree is built.

#ifndef ALOS_QUERY_INTERNAL_UPDATE_PROGRAM_H_
#define ALOS_QUERY_INTERNAL_UPDATE_PROGRAM_H_

#include <algorithm>
#include <bit>
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

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/query/internal/describe.h"
#include "alos/query/internal/field_path.h"
#include "alos/query/internal/filter_program.h"
#include "alos/query/internal/value_set.h"
#include "alos/query/sort.h"

namespace alos::query_internal {

// Containers that may be open at once in a document: what ValueView::Parse accepts by default.
inline constexpr std::size_t kDocumentDepthMax = 100;

// Writing far beyond an array's end fills the gap with nulls; at most this many.
inline constexpr std::int64_t kArrayPaddingMax = 1'500'000;

enum class UpdateKind : std::uint8_t {
  kSet,
  kSetOnInsert,
  kUnset,
  kIncrement,
  kMultiply,
  kMin,
  kMax,
  kPush,
  kAddToSet,
  kPop,
  kPull,
  kPullAll,
  kRenameFrom,
  kRenameTo,
  kCurrentDate,
  kBit,
};

inline ValueView EmptyDocument() {
  static constexpr char kBytes[] = "\x80";
  return ValueView::FromTrusted(std::string_view(kBytes, 1));
}

struct BitOperation {
  char operation = '&';  // '&', '|' or '^'
  std::int64_t mask = 0;
};

// One modification at one path.
struct UpdateLeaf {
  UpdateKind kind = UpdateKind::kSet;
  std::string_view name;          // "$inc", for messages.
  std::string path;               // Where it stands, dotted.
  std::size_t depth = 0;          // Parts of it.
  ValueView operand;              // kSet, kSetOnInsert, numbers, kMin, kMax, kPull of a value.
  std::vector<ValueView> values;  // kPush and kAddToSet ($each).
  ValueSet pulled;                // kPullAll.
  // kPush.
  std::optional<std::int64_t> position;
  std::optional<std::int64_t> slice;
  Sort sort;               // Of documents, by fields; empty: none.
  int sort_direction = 0;  // Of whole elements; 0: none.
  bool pop_first = false;  // kPop.
  // kPull with a condition: on documents as a filter, or on the element itself.
  std::shared_ptr<const FilterProgram> condition;
  bool condition_on_document = false;
  std::vector<std::string> source;  // kRenameTo: the parts of the path that the value comes from.
  std::vector<BitOperation> bits;   // kBit.
};

inline constexpr std::uint32_t kNoLeaf = std::numeric_limits<std::uint32_t>::max();

inline constexpr std::int64_t kNoPosition = -1;

inline constexpr std::uint32_t kEveryElement = std::numeric_limits<std::uint32_t>::max();

struct UpdateNode {
  std::string name;
  std::int64_t position = kNoPosition;   // What the name means where the value is an array.
  bool positional = false;               // "$": named by the element that the filter matched.
  bool updates_elements = false;         // The children are "$[]" and "$[x]", for elements.
  std::uint32_t filter = kEveryElement;  // Of "$[x]": index into array filters.
  std::uint32_t leaf = kNoLeaf;          // Index into leaves; then there are no children.
  std::vector<std::uint32_t> children;
  // Name to index in `children`, where they are too many to look at each.
  absl::flat_hash_map<std::string, std::size_t> child_index;
};

// Which elements "$[identifier]" stands for: those that match as the one field of a document.
struct ArrayFilter {
  std::string identifier;
  std::shared_ptr<const FilterProgram> program;
};

// Numbers in numeric order, then names in lexicographic order: the order in which new fields are
// appended.
inline bool FieldLess(const UpdateNode& a, const UpdateNode& b) {
  const bool a_named = a.position == kNoPosition;
  const bool b_named = b.position == kNoPosition;
  if (a_named != b_named) return b_named;
  return a_named ? a.name < b.name : a.position < b.position;
}

// Containers nested in `value`, itself included; 0 for a scalar. Bounded by what Parse accepts.
inline std::size_t ContainerDepth(ValueView value) {
  std::size_t deepest = 0;
  if (value.IsArray()) {
    for (const ValueView element : value.elements()) {
      deepest = std::max(deepest, ContainerDepth(element));
    }
    return deepest + 1;
  }
  if (value.IsDocument()) {
    for (const auto entry : value.entries()) {
      deepest = std::max(deepest, ContainerDepth(entry.value));
    }
    return deepest + 1;
  }
  return 0;
}

// Same type and same content: writing `b` over `a` would change nothing that a reader can see.
// Stricter than Equal, for which 1 and 1.0 are one. Scalars may be encoded in different widths.
inline bool Identical(ValueView a, ValueView b) {
  const ValueType type = a.type();
  if (type != b.type()) return false;
  switch (type) {
    case ValueType::kDouble:
      return std::bit_cast<std::uint64_t>(a.AsDouble()) ==
             std::bit_cast<std::uint64_t>(b.AsDouble());
    case ValueType::kArray:
    case ValueType::kDocument:
      return a.bytes() == b.bytes();
    default:
      return Equal(a, b);
  }
}

inline bool IsInteger(ValueView value) {
  return value.type() == ValueType::kInt64 || value.type() == ValueType::kUint64;
}

inline __int128 AsInt128(ValueView value) {
  return value.type() == ValueType::kInt64 ? static_cast<__int128>(value.AsInt64())
                                           : static_cast<__int128>(value.AsUint64());
}

class UpdateProgram {
 public:
  bool is_replacement() const { return is_replacement_; }
  ValueView replacement() const { return replacement_; }

  // A path has the positional operator $: Apply must be told the position.
  bool needs_position() const { return !positional_path_.empty(); }

  // Appends `document` as the modifications leave it; false, and nothing appended, when they leave
  // it as it is. `inserting`: the document is about to be inserted, so $setOnInsert counts.
  // `position`: of the array element that $ stands for.
  absl::StatusOr<bool> Apply(ValueView document, bool inserting,
                             const std::optional<std::size_t>& position, std::string* out) const {
    const std::size_t begin = out->size();
    Run run;
    run.root = document;
    run.inserting = inserting;
    run.nodes = &nodes_;
    if (needs_position()) {
      if (!position.has_value()) {
        return Error(run, "the positional operator $ in the path '", DescribeText(positional_path_),
                     "' has no array element to stand for: the filter must have a condition on the "
                     "array that an element met;");
      }
      ALOS_RETURN_IF_ERROR(ResolvePosition(static_cast<std::int64_t>(*position), &run));
    }
    absl::Status status;
    {
      Builder builder(out);
      status = ApplyToDocument((*run.nodes)[0], document, &builder, &run);
    }
    if (!status.ok() || !run.changed) out->resize(begin);
    if (!status.ok()) return status;
    return run.changed;
  }

 private:
  friend class UpdateCompiler;

  // The state of one application.
  struct Run {
    ValueView root;
    bool inserting = false;
    bool changed = false;
    const std::vector<UpdateNode>* nodes = nullptr;  // The program's; or, where $ has become a
    std::vector<UpdateNode> resolved;                // position, these.
    // What several paths that meet in one element come to: numbered after `nodes`.
    std::vector<std::unique_ptr<UpdateNode>> merged;
    absl::flat_hash_map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> merges;
    std::string element;  // An element as array filters see it.
  };

  static const UpdateNode& NodeAt(std::uint32_t index, const Run& run) {
    const std::size_t size = run.nodes->size();
    return index < size ? (*run.nodes)[index] : *run.merged[index - size];
  }

  static void SortChildren(UpdateNode* node, const Run& run) {
    std::sort(node->children.begin(), node->children.end(),
              [&run](std::uint32_t a, std::uint32_t b) {
                return FieldLess(NodeAt(a, run), NodeAt(b, run));
              });
    IndexChildren(node,
                  [&run](std::uint32_t child) -> const UpdateNode& { return NodeAt(child, run); });
  }

  // Fills `child_index`, where there are too many children to look at each.
  template <class NodeOf>
  static void IndexChildren(UpdateNode* node, NodeOf&& node_of) {
    constexpr std::size_t kLinearMax = 8;
    node->child_index.clear();
    if (node->children.size() <= kLinearMax) return;
    for (std::size_t i = 0; i < node->children.size(); ++i) {
      node->child_index.emplace(node_of(node->children[i]).name, i);
    }
  }

  // The path of some modification at or below a node, for messages.
  const std::string& PathAt(const UpdateNode& node, const Run& run) const {
    const UpdateNode* current = &node;
    while (current->leaf == kNoLeaf) current = &NodeAt(current->children[0], run);
    return LeafOf(*current).path;
  }

  // The node that does what both do. Errors: when one of them is where the other one goes on.
  absl::StatusOr<std::uint32_t> Merge(std::uint32_t a, std::uint32_t b, Run* run) const {
    const auto known = run->merges.find({a, b});
    if (known != run->merges.end()) return known->second;
    const UpdateNode& first = NodeAt(a, *run);
    const UpdateNode& second = NodeAt(b, *run);
    if (first.leaf != kNoLeaf || second.leaf != kNoLeaf ||
        first.updates_elements != second.updates_elements) {
      return Error(*run, "the paths '", DescribeText(PathAt(first, *run)), "' and '",
                   DescribeText(PathAt(second, *run)),
                   "' conflict: they meet in one array element;");
    }
    auto merged = std::make_unique<UpdateNode>(first);
    for (const std::uint32_t child : second.children) {
      const std::string& name = NodeAt(child, *run).name;
      const auto same =
          std::find_if(merged->children.begin(), merged->children.end(),
                       [&](std::uint32_t other) { return NodeAt(other, *run).name == name; });
      if (same == merged->children.end()) {
        merged->children.push_back(child);
        continue;
      }
      ALOS_ASSIGN_OR_RETURN(*same, Merge(*same, child, run));
    }
    SortChildren(merged.get(), *run);
    const auto index = static_cast<std::uint32_t>(run->nodes->size() + run->merged.size());
    run->merged.push_back(std::move(merged));
    run->merges.emplace(std::make_pair(a, b), index);
    return index;
  }

  // Gives all "$" the name `position`. From the leaves up: a node is merged when it is done.
  absl::Status ResolvePosition(std::int64_t position, Run* run) const {
    run->resolved = nodes_;
    run->nodes = &run->resolved;
    const std::string name = absl::StrCat(position);
    for (std::size_t i = run->resolved.size(); i-- > 0;) {
      std::vector<std::uint32_t>& children = run->resolved[i].children;
      const auto found = std::find_if(children.begin(), children.end(), [&](std::uint32_t child) {
        return run->resolved[child].positional;
      });
      if (found == children.end()) continue;
      const std::uint32_t child = *found;
      run->resolved[child].name = name;
      run->resolved[child].position = position;
      const auto same = std::find_if(children.begin(), children.end(), [&](std::uint32_t other) {
        return other != child && NodeAt(other, *run).name == name;
      });
      if (same != children.end()) {
        ALOS_ASSIGN_OR_RETURN(*same, Merge(*same, child, run));
        children.erase(std::find(children.begin(), children.end(), child));
      }
      SortChildren(&run->resolved[i], *run);
    }
    return absl::OkStatus();
  }

  // What an element of an array is named by in messages: the document it is in.
  static std::string InDocument(const Run& run) {
    const std::optional<ValueView> id = run.root.Find("_id");
    return id.has_value() ? absl::StrCat(" in the document with _id: ", Describe(*id)) : "";
  }

  template <class... Pieces>
  static absl::Status Error(const Run& run, const Pieces&... pieces) {
    return absl::InvalidArgumentError(absl::StrCat("update: ", pieces..., InDocument(run)));
  }

  static const UpdateNode* FindChild(const UpdateNode& node, std::string_view name, const Run& run,
                                     std::size_t* index) {
    if (node.child_index.empty()) {
      for (*index = 0; *index < node.children.size(); ++*index) {
        const UpdateNode& child = NodeAt(node.children[*index], run);
        if (child.name == name) return &child;
      }
      return nullptr;
    }
    const auto found = node.child_index.find(name);
    if (found == node.child_index.end()) return nullptr;
    *index = found->second;
    return &NodeAt(node.children[*index], run);
  }

  const UpdateLeaf& LeafOf(const UpdateNode& node) const { return leaves_[node.leaf]; }

  // The value that a $rename moves; nullopt when there is none. Nothing is moved out of an array.
  absl::StatusOr<std::optional<ValueView>> RenameSource(const UpdateLeaf& leaf,
                                                        const Run& run) const {
    std::optional<ValueView> current = run.root;
    for (const std::string& part : leaf.source) {
      if (current->IsArray()) {
        return Error(run, "the source '", absl::StrJoin(leaf.source, "."),
                     "' of $rename goes through an array, which is not possible");
      }
      current = current->Find(part);
      if (!current.has_value()) return current;
    }
    return current;
  }

  // Whether a value will stand at `node` when the old value is `old` (nullopt: there is none).
  absl::StatusOr<bool> Produces(const UpdateNode& node, const std::optional<ValueView>& old,
                                const Run& run) const {
    if (node.leaf == kNoLeaf) {
      if (old.has_value()) return true;
      if (node.updates_elements) return NoArray(node, old, run);
      for (const std::uint32_t child : node.children) {
        const absl::StatusOr<bool> produces = Produces(NodeAt(child, run), std::nullopt, run);
        if (!produces.ok() || *produces) return produces;
      }
      return false;
    }
    const UpdateLeaf& leaf = LeafOf(node);
    switch (leaf.kind) {
      case UpdateKind::kUnset:
      case UpdateKind::kRenameFrom:
        return false;
      case UpdateKind::kPull:
      case UpdateKind::kPullAll:
      case UpdateKind::kPop:
        return old.has_value();
      case UpdateKind::kSetOnInsert:
        return old.has_value() || run.inserting;
      case UpdateKind::kRenameTo: {
        if (old.has_value()) return true;
        absl::StatusOr<std::optional<ValueView>> source = RenameSource(leaf, run);
        if (!source.ok()) return source.status();
        return source->has_value();
      }
      default:
        return true;
    }
  }

  // The children of `node` meet the document `document`, which is written to `builder`.
  absl::Status ApplyToDocument(const UpdateNode& node, ValueView document, Builder* builder,
                               Run* run) const {
    const bool at_root = &node == &(*run->nodes)[0];
    absl::InlinedVector<bool, 16> seen(node.children.size(), false);
    builder->StartDocument();
    for (const auto entry : document.entries()) {
      std::size_t index = 0;
      const UpdateNode* child = FindChild(node, entry.key, *run, &index);
      if (child == nullptr) {
        builder->Key(entry.key).Raw(entry.value);
        continue;
      }
      seen[index] = true;
      if (at_root && entry.key == "_id") {
        ALOS_RETURN_IF_ERROR(CheckIdUnchanged(*child, entry.value, run));
        builder->Key(entry.key).Raw(entry.value);
        continue;
      }
      const absl::StatusOr<bool> produces = Produces(*child, entry.value, *run);
      if (!produces.ok()) return produces.status();
      if (!*produces) {
        run->changed = true;
        continue;
      }
      builder->Key(entry.key);
      ALOS_RETURN_IF_ERROR(Write(*child, entry.value, builder, run));
    }
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      if (seen[i]) continue;
      const UpdateNode& child = NodeAt(node.children[i], *run);
      const absl::StatusOr<bool> produces = Produces(child, std::nullopt, *run);
      if (!produces.ok()) return produces.status();
      if (!*produces) continue;
      builder->Key(child.name);
      ALOS_RETURN_IF_ERROR(Write(child, std::nullopt, builder, run));
    }
    builder->EndDocument();
    return absl::OkStatus();
  }

  // `_id` never changes; writing an equal value is fine and keeps the one that is there.
  absl::Status CheckIdUnchanged(const UpdateNode& node, ValueView id, Run* run) const {
    const bool changed = run->changed;
    std::string bytes;
    Builder builder(&bytes);
    const absl::StatusOr<bool> produces = Produces(node, id, *run);
    if (!produces.ok()) return produces.status();
    if (*produces) {
      ALOS_RETURN_IF_ERROR(Write(node, id, &builder, run));
      run->changed = changed;
      if (Equal(ValueView::FromTrusted(bytes), id)) return absl::OkStatus();
    }
    return Error(*run, "the field '_id' is immutable: it cannot be ",
                 *produces ? absl::StrCat("changed to ", Describe(ValueView::FromTrusted(bytes)))
                           : "removed",
                 "; insert a new document instead;");
  }

  // The children of `node`, which must be positions, meet an array.
  absl::Status ApplyToArray(const UpdateNode& node, ValueView array, Builder* builder,
                            Run* run) const {
    // Positions come first among the children, in ascending order.
    std::size_t next = 0;
    const auto position_of = [&](std::size_t i) {
      return i < node.children.size() ? NodeAt(node.children[i], *run).position : kNoPosition;
    };
    builder->StartArray();
    std::int64_t position = 0;
    for (const ValueView element : array.elements()) {
      if (position_of(next) != position) {
        builder->Raw(element);
        ++position;
        continue;
      }
      const UpdateNode& child = NodeAt(node.children[next], *run);
      ALOS_RETURN_IF_ERROR(RefuseRename(child, *run));
      const absl::StatusOr<bool> produces = Produces(child, element, *run);
      if (!produces.ok()) return produces.status();
      if (*produces) {
        ALOS_RETURN_IF_ERROR(Write(child, element, builder, run));
      } else {
        // The other elements keep their positions: a hole is null.
        if (!element.IsNull()) run->changed = true;
        builder->Null();
      }
      ++next;
      ++position;
    }
    for (; next < node.children.size(); ++next) {
      const UpdateNode& child = NodeAt(node.children[next], *run);
      const absl::StatusOr<bool> produces = Produces(child, std::nullopt, *run);
      if (!produces.ok()) return produces.status();
      if (!*produces) continue;
      ALOS_RETURN_IF_ERROR(RefuseRename(child, *run));
      if (child.position == kNoPosition) {
        return Error(*run, "cannot create the field '", DescribeText(child.name), "' in the array ",
                     DescribeField(node.name, array),
                     ": an array's elements are addressed by position, such as '",
                     DescribeText(node.name), ".0'");
      }
      if (child.position - position > kArrayPaddingMax) {
        return Error(*run, "position ", child.position, " of the array ",
                     DescribeField(node.name, array), " is more than ", kArrayPaddingMax,
                     " beyond its end; the gap would be filled with nulls");
      }
      for (; position < child.position; ++position) builder->Null();
      ALOS_RETURN_IF_ERROR(Write(child, std::nullopt, builder, run));
      ++position;
    }
    builder->EndArray();
    return absl::OkStatus();
  }

  // "$[]" and "$[x]" need an array that is there.
  absl::Status NoArray(const UpdateNode& node, const std::optional<ValueView>& old,
                       const Run& run) const {
    const std::string& path = PathAt(node, run);
    if (!old.has_value()) {
      return Error(run, "the path '", DescribeText(path), "' needs an array in '",
                   DescribeText(node.name), "', which does not exist");
    }
    return Error(run, "the path '", DescribeText(path), "' updates the elements of an array, but ",
                 DescribeField(node.name, *old), " is not one;");
  }

  // Is the element one that "$[x]" stands for?
  bool IsSelected(std::uint32_t filter, ValueView element, Run* run) const {
    if (filter == kEveryElement) return true;
    const ArrayFilter& array_filter = array_filters_[filter];
    run->element.clear();
    Builder builder(&run->element);
    builder.StartDocument(1).Key(array_filter.identifier).Raw(element).EndDocument();
    return array_filter.program->MatchesDocument(ValueView::FromTrusted(run->element));
  }

  // The children of `node`, which are "$[]" and "$[x]", meet an array.
  absl::Status ApplyToElements(const UpdateNode& node, ValueView array, Builder* builder,
                               Run* run) const {
    builder->StartArray();
    for (const ValueView element : array.elements()) {
      std::optional<std::uint32_t> selected;
      for (const std::uint32_t child : node.children) {
        if (!IsSelected(NodeAt(child, *run).filter, element, run)) continue;
        if (selected.has_value()) {
          ALOS_ASSIGN_OR_RETURN(selected, Merge(*selected, child, run));
        } else {
          selected = child;
        }
      }
      if (!selected.has_value()) {
        builder->Raw(element);
        continue;
      }
      const UpdateNode& child = NodeAt(*selected, *run);
      const absl::StatusOr<bool> produces = Produces(child, element, *run);
      if (!produces.ok()) return produces.status();
      if (*produces) {
        ALOS_RETURN_IF_ERROR(Write(child, element, builder, run));
      } else {
        if (!element.IsNull()) run->changed = true;
        builder->Null();
      }
    }
    builder->EndArray();
    return absl::OkStatus();
  }

  absl::Status RefuseRename(const UpdateNode& node, const Run& run) const {
    if (node.leaf == kNoLeaf) return absl::OkStatus();
    const UpdateLeaf& leaf = LeafOf(node);
    if (leaf.kind != UpdateKind::kRenameFrom && leaf.kind != UpdateKind::kRenameTo) {
      return absl::OkStatus();
    }
    return Error(run, "the path '", leaf.path,
                 "' of $rename goes through an array, which is not possible");
  }

  // Writes the value at `node`. REQUIRES: Produces.
  absl::Status Write(const UpdateNode& node, const std::optional<ValueView>& old, Builder* builder,
                     Run* run) const {
    if (node.leaf != kNoLeaf) return WriteLeaf(LeafOf(node), old, builder, run);
    if (!old.has_value()) {
      run->changed = true;
      return ApplyToDocument(node, EmptyDocument(), builder, run);
    }
    if (node.updates_elements) {
      if (!old->IsArray()) return NoArray(node, old, *run);
      return ApplyToElements(node, *old, builder, run);
    }
    if (old->IsDocument()) return ApplyToDocument(node, *old, builder, run);
    if (old->IsArray()) return ApplyToArray(node, *old, builder, run);
    for (const std::uint32_t child : node.children) {
      const absl::StatusOr<bool> produces = Produces(NodeAt(child, *run), std::nullopt, *run);
      if (!produces.ok()) return produces.status();
      if (*produces) {
        return Error(*run, "cannot create the field '", DescribeText(NodeAt(child, *run).name),
                     "' in ", DescribeField(node.name, *old), ", which is not a document;");
      }
    }
    builder->Raw(*old);
    return absl::OkStatus();
  }

  static void Replace(const std::optional<ValueView>& old, ValueView value, Builder* builder,
                      Run* run) {
    if (!old.has_value() || !Identical(*old, value)) run->changed = true;
    builder->Raw(value);
  }

  absl::Status WriteLeaf(const UpdateLeaf& leaf, const std::optional<ValueView>& old,
                         Builder* builder, Run* run) const {
    switch (leaf.kind) {
      case UpdateKind::kSet:
        Replace(old, leaf.operand, builder, run);
        return absl::OkStatus();
      case UpdateKind::kSetOnInsert:
        Replace(old, run->inserting ? leaf.operand : *old, builder, run);
        return absl::OkStatus();
      case UpdateKind::kMin:
        Replace(old, old.has_value() && Compare(*old, leaf.operand) <= 0 ? *old : leaf.operand,
                builder, run);
        return absl::OkStatus();
      case UpdateKind::kMax:
        Replace(old, old.has_value() && Compare(*old, leaf.operand) >= 0 ? *old : leaf.operand,
                builder, run);
        return absl::OkStatus();
      case UpdateKind::kIncrement:
      case UpdateKind::kMultiply:
        return WriteArithmetic(leaf, old, builder, run);
      case UpdateKind::kBit:
        return WriteBits(leaf, old, builder, run);
      case UpdateKind::kPush:
        return WritePush(leaf, old, builder, run);
      case UpdateKind::kAddToSet:
        return WriteAddToSet(leaf, old, builder, run);
      case UpdateKind::kPop:
        return WritePop(leaf, *old, builder, run);
      case UpdateKind::kPull:
      case UpdateKind::kPullAll:
        return WritePull(leaf, *old, builder, run);
      case UpdateKind::kRenameTo: {
        absl::StatusOr<std::optional<ValueView>> source = RenameSource(leaf, *run);
        if (!source.ok()) return source.status();
        if (!source->has_value()) {
          builder->Raw(*old);
          return absl::OkStatus();
        }
        if (leaf.depth + ContainerDepth(**source) > kDocumentDepthMax) {
          return Error(*run, "$rename to '", leaf.path, "' would nest more than ",
                       kDocumentDepthMax, " levels deep");
        }
        run->changed = true;
        builder->Raw(**source);
        return absl::OkStatus();
      }
      case UpdateKind::kCurrentDate: {
        const std::int64_t milliseconds = absl::ToUnixMillis(absl::Now());
        Timestamp now;
        now.seconds = milliseconds / 1000;
        now.nanoseconds = static_cast<std::uint32_t>(milliseconds % 1000) * 1'000'000u;
        run->changed = true;
        builder->Time(now);
        return absl::OkStatus();
      }
      case UpdateKind::kUnset:
      case UpdateKind::kRenameFrom:
        break;
    }
    return absl::InternalError("update: a modification that removes was asked to write");
  }

  absl::Status WriteArithmetic(const UpdateLeaf& leaf, const std::optional<ValueView>& old,
                               Builder* builder, Run* run) const {
    const bool multiply = leaf.kind == UpdateKind::kMultiply;
    if (!old.has_value()) {
      run->changed = true;
      if (!multiply) {
        builder->Raw(leaf.operand);
      } else if (leaf.operand.type() == ValueType::kDouble) {
        builder->Double(0);
      } else {
        builder->Int(0);
      }
      return absl::OkStatus();
    }
    if (!old->IsNumber()) {
      return Error(*run, "cannot apply ", leaf.name,
                   " to a value of non-numeric type: ", DescribeField(leaf.path, *old),
                   " is of type ", TypeName(old->type()));
    }
    if (!IsInteger(*old) || !IsInteger(leaf.operand)) {
      const double a = old->AsDouble();
      const double b = leaf.operand.AsDouble();
      const double result = multiply ? a * b : a + b;
      if (IsInteger(*old) ||
          std::bit_cast<std::uint64_t>(a) != std::bit_cast<std::uint64_t>(result)) {
        run->changed = true;
      }
      builder->Double(result);
      return absl::OkStatus();
    }
    const __int128 a = AsInt128(*old);
    const __int128 b = AsInt128(leaf.operand);
    __int128 result = 0;
    bool overflow =
        multiply ? __builtin_mul_overflow(a, b, &result) : __builtin_add_overflow(a, b, &result);
    // A result above the signed range is for those who use the unsigned one already.
    const bool unsigned_used =
        old->type() == ValueType::kUint64 || leaf.operand.type() == ValueType::kUint64;
    const __int128 result_max =
        unsigned_used ? static_cast<__int128>(std::numeric_limits<std::uint64_t>::max())
                      : static_cast<__int128>(std::numeric_limits<std::int64_t>::max());
    overflow = overflow || result > result_max || result < std::numeric_limits<std::int64_t>::min();
    if (overflow) {
      return Error(*run, "cannot apply ", leaf.name, " by ", Describe(leaf.operand), " to ",
                   DescribeField(leaf.path, *old),
                   ": the result is beyond the range of 64-bit integers; use a double");
    }
    if (result != a) run->changed = true;
    if (result > std::numeric_limits<std::int64_t>::max()) {
      builder->Uint(static_cast<std::uint64_t>(result));
    } else {
      builder->Int(static_cast<std::int64_t>(result));
    }
    return absl::OkStatus();
  }

  absl::Status WriteBits(const UpdateLeaf& leaf, const std::optional<ValueView>& old,
                         Builder* builder, Run* run) const {
    if (old.has_value() && old->type() != ValueType::kInt64) {
      return Error(*run, "cannot apply $bit to a value of non-integral type: ",
                   DescribeField(leaf.path, *old), " is of type ", TypeName(old->type()));
    }
    std::int64_t value = old.has_value() ? old->AsInt64() : 0;
    for (const BitOperation& bit : leaf.bits) {
      if (bit.operation == '&') {
        value &= bit.mask;
      } else if (bit.operation == '|') {
        value |= bit.mask;
      } else {
        value ^= bit.mask;
      }
    }
    if (!old.has_value() || value != old->AsInt64()) run->changed = true;
    builder->Int(value);
    return absl::OkStatus();
  }

  absl::Status NeedsArray(const UpdateLeaf& leaf, ValueView old, const Run& run) const {
    if (old.IsArray()) return absl::OkStatus();
    return Error(run, "cannot apply ", leaf.name,
                 " to a value that is not an array: ", DescribeField(leaf.path, old),
                 " is of type ", TypeName(old.type()));
  }

  absl::Status WritePush(const UpdateLeaf& leaf, const std::optional<ValueView>& old,
                         Builder* builder, Run* run) const {
    if (old.has_value()) {
      ALOS_RETURN_IF_ERROR(NeedsArray(leaf, *old, *run));
    }
    if (!leaf.position && !leaf.slice && leaf.sort.empty() && leaf.sort_direction == 0) {
      // The common case: append.
      builder->StartArray();
      if (old.has_value()) {
        for (const ValueView element : old->elements()) builder->Raw(element);
      }
      for (const ValueView value : leaf.values) builder->Raw(value);
      builder->EndArray();
      if (!old.has_value() || !leaf.values.empty()) run->changed = true;
      return absl::OkStatus();
    }
    std::vector<ValueView> before;
    if (old.has_value()) before.assign(old->elements().begin(), old->elements().end());
    std::vector<ValueView> after = before;
    const auto size = static_cast<std::int64_t>(after.size());
    std::int64_t position = leaf.position.value_or(size);
    position = position < 0 ? std::max<std::int64_t>(0, size + position)
                            : std::min<std::int64_t>(size, position);
    after.insert(after.begin() + position, leaf.values.begin(), leaf.values.end());
    if (!leaf.sort.empty()) {
      const Sort& sort = leaf.sort;
      std::stable_sort(after.begin(), after.end(),
                       [&sort](ValueView a, ValueView b) { return sort.Less(a, b); });
    } else if (leaf.sort_direction != 0) {
      const bool ascending = leaf.sort_direction > 0;
      std::stable_sort(after.begin(), after.end(), [ascending](ValueView a, ValueView b) {
        return ascending ? Compare(a, b) < 0 : Compare(b, a) < 0;
      });
    }
    if (leaf.slice.has_value()) {
      const auto count = static_cast<std::int64_t>(after.size());
      if (*leaf.slice >= 0) {
        after.resize(static_cast<std::size_t>(std::min(count, *leaf.slice)));
      } else if (*leaf.slice > -count) {
        after.erase(after.begin(), after.end() + *leaf.slice);
      }
    }
    const bool same = old.has_value() && before.size() == after.size() &&
                      std::equal(before.begin(), before.end(), after.begin(), Identical);
    if (!same) run->changed = true;
    builder->StartArray();
    for (const ValueView element : after) builder->Raw(element);
    builder->EndArray();
    return absl::OkStatus();
  }

  absl::Status WriteAddToSet(const UpdateLeaf& leaf, const std::optional<ValueView>& old,
                             Builder* builder, Run* run) const {
    std::vector<ValueView> elements;
    if (old.has_value()) {
      ALOS_RETURN_IF_ERROR(NeedsArray(leaf, *old, *run));
      elements.assign(old->elements().begin(), old->elements().end());
    }
    const std::size_t size = elements.size();
    ValueSet present;
    for (const ValueView element : elements) present.insert(element);
    for (const ValueView value : leaf.values) {
      if (present.insert(value).second) elements.push_back(value);
    }
    if (!old.has_value() || elements.size() != size) run->changed = true;
    builder->StartArray();
    for (const ValueView element : elements) builder->Raw(element);
    builder->EndArray();
    return absl::OkStatus();
  }

  absl::Status WritePop(const UpdateLeaf& leaf, ValueView old, Builder* builder, Run* run) const {
    ALOS_RETURN_IF_ERROR(NeedsArray(leaf, old, *run));
    const std::size_t size = old.size();
    const std::size_t dropped = leaf.pop_first ? 0 : size - 1;
    std::size_t position = 0;
    builder->StartArray();
    for (const ValueView element : old.elements()) {
      if (position++ != dropped) builder->Raw(element);
    }
    builder->EndArray();
    if (size != 0) run->changed = true;
    return absl::OkStatus();
  }

  static bool IsPulled(const UpdateLeaf& leaf, ValueView element) {
    if (leaf.kind == UpdateKind::kPullAll) return leaf.pulled.contains(element);
    if (leaf.condition == nullptr) return Equal(element, leaf.operand);
    if (!leaf.condition_on_document) return leaf.condition->MatchesValue(element);
    return element.IsDocument() && leaf.condition->MatchesDocument(element);
  }

  absl::Status WritePull(const UpdateLeaf& leaf, ValueView old, Builder* builder, Run* run) const {
    ALOS_RETURN_IF_ERROR(NeedsArray(leaf, old, *run));
    builder->StartArray();
    for (const ValueView element : old.elements()) {
      if (IsPulled(leaf, element)) {
        run->changed = true;
      } else {
        builder->Raw(element);
      }
    }
    builder->EndArray();
    return absl::OkStatus();
  }

  std::unique_ptr<char[]> bytes_;  // The update; operands point into it.
  bool is_replacement_ = false;
  ValueView replacement_;
  std::vector<UpdateNode> nodes_;  // nodes_[0] is the root.
  std::vector<UpdateLeaf> leaves_;
  std::vector<ArrayFilter> array_filters_;
  std::string positional_path_;  // A path with $; empty: there is none.
};

// Turns an update document into a program. Used once.
class UpdateCompiler {
 public:
  // `array_filters`: what the identifiers of "$[identifier]" mean.
  static absl::StatusOr<std::shared_ptr<const UpdateProgram>> Compile(
      ValueView update, const std::optional<ValueView>& array_filters = std::nullopt) {
    if (!update.IsDocument()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "update: needs a document of operators such as {$set: {field: value}}, or a replacement "
          "document, not ",
          Describe(update)));
    }
    std::size_t operators = 0;
    std::string_view an_operator;
    std::string_view a_field;
    for (const auto entry : update.entries()) {
      if (entry.key.starts_with('$')) {
        ++operators;
        an_operator = entry.key;
      } else {
        a_field = entry.key;
      }
    }
    if (operators != 0 && operators != update.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "update: mixes the operator ", DescribeText(an_operator), " with the field '",
          DescribeText(a_field), "'; give either operators or a whole replacement document"));
    }
    UpdateCompiler compiler;
    const ValueView owned = compiler.Own(update);
    if (operators == 0) {
      if (array_filters.has_value()) {
        return absl::InvalidArgumentError(
            "update: array filters belong to update operators, not to a replacement document");
      }
      compiler.program_->is_replacement_ = true;
      compiler.program_->replacement_ = owned;
      return std::move(compiler.program_);
    }
    if (array_filters.has_value()) ALOS_RETURN_IF_ERROR(compiler.ArrayFilters(*array_filters));
    for (const auto entry : owned.entries()) {
      ALOS_RETURN_IF_ERROR(compiler.Operator(entry.key, entry.value));
    }
    ALOS_RETURN_IF_ERROR(compiler.CheckFiltersUsed());
    compiler.SortChildren();
    return compiler.Finish();
  }

  // A program that sets `value` at each path, in the given order. The values are not copied.
  // Errors: kInvalidArgument when two of the paths meet.
  static absl::StatusOr<std::shared_ptr<const UpdateProgram>> CompileAssignments(
      const std::vector<std::pair<std::string_view, ValueView>>& assignments) {
    UpdateCompiler compiler;
    for (const auto& [path, value] : assignments) {
      UpdateLeaf leaf;
      leaf.kind = UpdateKind::kSet;
      leaf.operand = value;
      ALOS_RETURN_IF_ERROR(compiler.Add("$set", path, std::move(leaf)));
    }
    return compiler.Finish();
  }

 private:
  UpdateCompiler() : program_(std::make_shared<UpdateProgram>()) {
    program_->nodes_.emplace_back();
  }

  ValueView Own(ValueView value) {
    const std::string_view bytes = value.bytes();
    program_->bytes_ = std::make_unique<char[]>(bytes.size());
    std::memcpy(program_->bytes_.get(), bytes.data(), bytes.size());
    return ValueView::FromTrusted(std::string_view(program_->bytes_.get(), bytes.size()));
  }

  template <class... Pieces>
  static absl::Status Error(const Pieces&... pieces) {
    return absl::InvalidArgumentError(absl::StrCat("update: ", pieces...));
  }

  void SortChildren() {
    const std::vector<UpdateNode>& nodes = program_->nodes_;
    for (UpdateNode& node : program_->nodes_) {
      std::sort(
          node.children.begin(), node.children.end(),
          [&nodes](std::uint32_t a, std::uint32_t b) { return FieldLess(nodes[a], nodes[b]); });
    }
  }

  std::shared_ptr<const UpdateProgram> Finish() {
    for (UpdateNode& node : program_->nodes_) {
      UpdateProgram::IndexChildren(&node, [this](std::uint32_t child) -> const UpdateNode& {
        return program_->nodes_[child];
      });
    }
    return std::move(program_);
  }

  // Hangs a modification into the tree. `operand_depth`: how deep what it writes is nested.
  absl::Status Add(std::string_view name, std::string_view dotted, UpdateLeaf leaf,
                   std::size_t operand_depth) {
    absl::StatusOr<Path> path = ParseUpdatePath(dotted);
    if (!path.ok()) return Error(name, ": ", path.status().message());
    if (path->parts().size() + operand_depth > kDocumentDepthMax) {
      return Error(name, " at '", DescribeText(dotted), "' would nest more than ",
                   kDocumentDepthMax, " levels deep");
    }
    std::vector<UpdateNode>& nodes = program_->nodes_;
    std::uint32_t current = 0;
    std::string prefix;
    for (std::size_t i = 0; i < path->parts().size(); ++i) {
      const std::string& part = path->parts()[i];
      const bool for_elements = IsElementOperator(part);
      if (nodes[current].children.empty()) {
        nodes[current].updates_elements = for_elements;
      } else if (nodes[current].updates_elements != for_elements) {
        return Conflict(dotted, prefix);
      }
      absl::StrAppend(&prefix, prefix.empty() ? "" : ".", part);
      std::uint32_t next = static_cast<std::uint32_t>(nodes.size());
      const auto [known, is_new] =
          nodes[current].child_index.try_emplace(part, nodes[current].children.size());
      if (!is_new) next = nodes[current].children[known->second];
      if (is_new) {
        UpdateNode node;
        node.name = part;
        if (path->position(i).has_value()) {
          node.position = static_cast<std::int64_t>(*path->position(i));
        }
        if (part == "$") {
          node.positional = true;
          program_->positional_path_ = std::string(dotted);
        }
        if (for_elements) {
          ALOS_ASSIGN_OR_RETURN(node.filter, FindFilter(part, dotted));
        }
        nodes.push_back(std::move(node));
        nodes[current].children.push_back(next);
      } else if (nodes[next].leaf != kNoLeaf) {
        return Conflict(dotted, prefix);
      }
      current = next;
    }
    if (!nodes[current].children.empty()) return Conflict(dotted, prefix);
    nodes[current].leaf = static_cast<std::uint32_t>(program_->leaves_.size());
    leaf.name = name;
    leaf.path = std::string(dotted);
    leaf.depth = path->parts().size();
    program_->leaves_.push_back(std::move(leaf));
    return absl::OkStatus();
  }

  // "$[]" or "$[identifier]".
  static bool IsElementOperator(std::string_view part) {
    return part.starts_with("$[") && part.ends_with("]");
  }

  // The array filter of "$[identifier]", or kEveryElement for "$[]".
  absl::StatusOr<std::uint32_t> FindFilter(std::string_view part, std::string_view dotted) {
    const std::string_view identifier = part.substr(2, part.size() - 3);
    if (identifier.empty()) return kEveryElement;
    const std::vector<ArrayFilter>& filters = program_->array_filters_;
    for (std::size_t i = 0; i < filters.size(); ++i) {
      if (filters[i].identifier != identifier) continue;
      filter_used_[i] = true;
      return static_cast<std::uint32_t>(i);
    }
    return Error("no array filter for the identifier '", DescribeText(identifier),
                 "' of the path '", DescribeText(dotted), "'; give one such as {",
                 DescribeText(identifier), ": {$gte: 1}}");
  }

  absl::Status ArrayFilters(ValueView filters) {
    if (!filters.IsArray()) {
      return Error("array filters must be an array of filters such as [{x: {$gte: 1}}], not ",
                   Describe(filters));
    }
    if (filters.size() > kArrayFiltersMax) {
      return Error("there are ", filters.size(), " array filters; at most ", kArrayFiltersMax,
                   " are allowed");
    }
    for (const ValueView filter : filters.elements()) {
      absl::StatusOr<std::shared_ptr<const FilterProgram>> program =
          FilterCompiler::CompileDocument(filter, "update: array filter");
      if (!program.ok()) return program.status();
      std::string_view identifier;
      ALOS_RETURN_IF_ERROR(FindIdentifier(filter, &identifier));
      if (identifier.empty()) {
        return Error("an array filter must have a condition such as {x: {$gte: 1}}, not ",
                     Describe(filter));
      }
      for (const ArrayFilter& other : program_->array_filters_) {
        if (other.identifier != identifier) continue;
        return Error("there are two array filters for the identifier '", DescribeText(identifier),
                     "'; combine their conditions in one");
      }
      program_->array_filters_.push_back({std::string(identifier), *std::move(program)});
    }
    filter_used_.resize(program_->array_filters_.size(), false);
    return absl::OkStatus();
  }

  // The one identifier that all conditions of an array filter begin with. REQUIRES: it compiles.
  static absl::Status FindIdentifier(ValueView filter, std::string_view* identifier) {
    for (const auto entry : filter.entries()) {
      if (entry.key == "$comment") continue;
      if (entry.key.starts_with('$')) {
        for (const ValueView condition : entry.value.elements()) {
          ALOS_RETURN_IF_ERROR(FindIdentifier(condition, identifier));
        }
        continue;
      }
      const std::string_view name = entry.key.substr(0, entry.key.find('.'));
      if (identifier->empty()) {
        const auto is_alphanumeric = [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        };
        if (name[0] < 'a' || name[0] > 'z' ||
            !std::all_of(name.begin(), name.end(), is_alphanumeric)) {
          return Error("the identifier '", DescribeText(name),
                       "' of an array filter must begin with a lowercase letter and have letters "
                       "and digits only");
        }
        *identifier = name;
      } else if (*identifier != name) {
        return Error("an array filter must have one identifier, but one has both '",
                     DescribeText(*identifier), "' and '", DescribeText(name), "'");
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckFiltersUsed() const {
    for (std::size_t i = 0; i < filter_used_.size(); ++i) {
      if (filter_used_[i]) continue;
      const std::string& identifier = program_->array_filters_[i].identifier;
      return Error("the array filter for the identifier '", DescribeText(identifier),
                   "' is not used: no path has $[", DescribeText(identifier), "]");
    }
    return absl::OkStatus();
  }

  absl::Status Add(std::string_view name, std::string_view dotted, UpdateLeaf leaf) {
    const std::size_t depth = ContainerDepth(leaf.operand);
    return Add(name, dotted, std::move(leaf), depth);
  }

  static absl::Status Conflict(std::string_view dotted, std::string_view at) {
    return Error("the path '", DescribeText(dotted), "' conflicts with another one at '",
                 DescribeText(at), "'; change each part of a document once per update");
  }

  absl::Status Operator(std::string_view name, ValueView fields) {
    struct Known {
      std::string_view name;
      UpdateKind kind;
    };
    static constexpr Known kKnown[] = {
        {"$set", UpdateKind::kSet},
        {"$unset", UpdateKind::kUnset},
        {"$inc", UpdateKind::kIncrement},
        {"$mul", UpdateKind::kMultiply},
        {"$min", UpdateKind::kMin},
        {"$max", UpdateKind::kMax},
        {"$push", UpdateKind::kPush},
        {"$addToSet", UpdateKind::kAddToSet},
        {"$pop", UpdateKind::kPop},
        {"$pull", UpdateKind::kPull},
        {"$pullAll", UpdateKind::kPullAll},
        {"$rename", UpdateKind::kRenameTo},
        {"$setOnInsert", UpdateKind::kSetOnInsert},
        {"$currentDate", UpdateKind::kCurrentDate},
        {"$bit", UpdateKind::kBit},
    };
    const Known* known = std::find_if(std::begin(kKnown), std::end(kKnown),
                                      [name](const Known& k) { return k.name == name; });
    if (known == std::end(kKnown)) {
      if (name == "$addFields" || name == "$project" || name == "$replaceRoot" ||
          name == "$replaceWith") {
        return Error(name, " is a stage of a pipeline, which is an array: write [{", name,
                     ": ...}]");
      }
      return Error("unknown operator ", DescribeText(name),
                   "; known are $set $unset $inc $mul $min $max $push $addToSet $pop $pull "
                   "$pullAll $rename $setOnInsert $currentDate $bit");
    }
    if (!fields.IsDocument()) {
      return Error(name, " needs a document {field: operand}, not ", Describe(fields));
    }
    for (const auto entry : fields.entries()) {
      ALOS_RETURN_IF_ERROR(Field(known->kind, known->name, entry.key, entry.value));
    }
    return absl::OkStatus();
  }

  absl::Status Field(UpdateKind kind, std::string_view name, std::string_view path,
                     ValueView operand) {
    UpdateLeaf leaf;
    leaf.kind = kind;
    leaf.operand = operand;
    switch (kind) {
      case UpdateKind::kUnset:
        leaf.operand = ValueView();
        break;
      case UpdateKind::kIncrement:
      case UpdateKind::kMultiply:
        if (!operand.IsNumber()) {
          return Error(name, " needs a number, not ", DescribeField(path, operand));
        }
        break;
      case UpdateKind::kPush:
        return Push(path, operand, std::move(leaf));
      case UpdateKind::kAddToSet:
        return AddToSet(path, operand, std::move(leaf));
      case UpdateKind::kPop: {
        const std::optional<std::int64_t> end = operand.ToInt64();
        if (end != 1 && end != -1) {
          return Error("$pop needs 1 (the last element) or -1 (the first), not ",
                       DescribeField(path, operand));
        }
        leaf.pop_first = *end == -1;
        break;
      }
      case UpdateKind::kPull:
        ALOS_RETURN_IF_ERROR(Pull(path, operand, &leaf));
        return Add(name, path, std::move(leaf), 0);
      case UpdateKind::kPullAll:
        if (!operand.IsArray()) {
          return Error("$pullAll needs an array of values, not ", DescribeField(path, operand));
        }
        for (const ValueView value : operand.elements()) leaf.pulled.insert(value);
        return Add(name, path, std::move(leaf), 0);
      case UpdateKind::kRenameTo:
        return Rename(path, operand);
      case UpdateKind::kCurrentDate:
        ALOS_RETURN_IF_ERROR(CheckCurrentDate(path, operand));
        return Add(name, path, std::move(leaf), 0);
      case UpdateKind::kBit:
        ALOS_RETURN_IF_ERROR(Bits(path, operand, &leaf));
        return Add(name, path, std::move(leaf), 0);
      default:
        break;
    }
    return Add(name, path, std::move(leaf));
  }

  // The values of {$each: [...]}, checked; or the operand itself.
  absl::Status Each(std::string_view name, std::string_view path, ValueView operand,
                    UpdateLeaf* leaf) {
    const std::optional<ValueView> each = operand.Find("$each");
    if (!operand.IsDocument() || !each.has_value()) {
      leaf->values.push_back(operand);
      return absl::OkStatus();
    }
    if (!each->IsArray()) {
      return Error("$each of ", name, " needs an array, not ", DescribeField(path, *each));
    }
    leaf->values.assign(each->elements().begin(), each->elements().end());
    return absl::OkStatus();
  }

  static std::size_t DepthOf(const std::vector<ValueView>& values) {
    std::size_t depth = 0;
    for (const ValueView value : values) depth = std::max(depth, ContainerDepth(value));
    return depth + 1;  // The array around them.
  }

  absl::Status Push(std::string_view path, ValueView operand, UpdateLeaf leaf) {
    ALOS_RETURN_IF_ERROR(Each("$push", path, operand, &leaf));
    if (operand.IsDocument()) {
      const bool has_each = operand.Find("$each").has_value();
      for (const auto clause : operand.entries()) {
        const bool known = clause.key == "$each" || clause.key == "$position" ||
                           clause.key == "$slice" || clause.key == "$sort";
        if (!has_each) {
          if (!known) continue;
          return Error("$push to '", DescribeText(path), "': ", clause.key,
                       " needs $each beside it");
        }
        if (!known) {
          return Error("$push to '", DescribeText(path), "': unknown clause '",
                       DescribeText(clause.key),
                       "' beside $each; known are $position, $slice and $sort");
        }
        ALOS_RETURN_IF_ERROR(PushClause(path, clause.key, clause.value, &leaf));
      }
    }
    const std::size_t depth = DepthOf(leaf.values);
    return Add("$push", path, std::move(leaf), depth);
  }

  absl::Status PushClause(std::string_view path, std::string_view clause, ValueView value,
                          UpdateLeaf* leaf) {
    if (clause == "$position" || clause == "$slice") {
      const std::optional<std::int64_t> number = value.ToInt64();
      if (!number.has_value()) {
        return Error(clause, " of $push needs a whole number, not ", DescribeField(path, value));
      }
      (clause == "$position" ? leaf->position : leaf->slice) = *number;
      return absl::OkStatus();
    }
    if (clause != "$sort") return absl::OkStatus();
    if (value.IsDocument() && value.size() > 0) {
      absl::StatusOr<Sort> sort = Sort::Compile(value);
      if (!sort.ok()) return Error("$push to '", path, "': ", sort.status().message());
      leaf->sort = *std::move(sort);
      return absl::OkStatus();
    }
    const std::optional<std::int64_t> direction = value.ToInt64();
    if (direction != 1 && direction != -1) {
      return Error("$sort of $push needs 1, -1 or a document such as {field: 1}, not ",
                   DescribeField(path, value));
    }
    leaf->sort_direction = static_cast<int>(*direction);
    return absl::OkStatus();
  }

  absl::Status AddToSet(std::string_view path, ValueView operand, UpdateLeaf leaf) {
    ALOS_RETURN_IF_ERROR(Each("$addToSet", path, operand, &leaf));
    if (operand.IsDocument() && operand.Find("$each").has_value() && operand.size() != 1) {
      return Error("$addToSet to '", DescribeText(path),
                   "' takes nothing beside $each; $position, $slice and $sort belong to $push");
    }
    const std::size_t depth = DepthOf(leaf.values);
    return Add("$addToSet", path, std::move(leaf), depth);
  }

  absl::Status Pull(std::string_view path, ValueView operand, UpdateLeaf* leaf) {
    if (!operand.IsDocument()) return absl::OkStatus();  // Equal values.
    const std::string what = absl::StrCat("update: $pull from '", DescribeText(path), "'");
    leaf->condition_on_document = !FilterCompiler::IsFieldCondition(operand);
    absl::StatusOr<std::shared_ptr<const FilterProgram>> condition =
        leaf->condition_on_document ? FilterCompiler::CompileDocument(operand, what)
                                    : FilterCompiler::CompileOperators(operand, true, what);
    if (!condition.ok()) return condition.status();
    leaf->condition = *std::move(condition);
    return absl::OkStatus();
  }

  absl::Status Rename(std::string_view from, ValueView operand) {
    if (!operand.IsString()) {
      return Error("$rename needs the new name as a string, not ", DescribeField(from, operand));
    }
    const std::string_view to = operand.AsString();
    if (from == to) {
      return Error("$rename: the field '", DescribeText(from), "' cannot be renamed to itself");
    }
    absl::StatusOr<Path> source = ParseFieldPath(from);
    if (!source.ok()) return Error("$rename: ", source.status().message());
    const absl::StatusOr<Path> target_path = ParseFieldPath(to);
    if (!target_path.ok()) return Error("$rename: ", target_path.status().message());
    UpdateLeaf removal;
    removal.kind = UpdateKind::kRenameFrom;
    ALOS_RETURN_IF_ERROR(Add("$rename", from, std::move(removal), 0));
    UpdateLeaf target;
    target.kind = UpdateKind::kRenameTo;
    target.source.assign(source->parts().begin(), source->parts().end());
    return Add("$rename", to, std::move(target), 0);
  }

  static absl::Status CheckCurrentDate(std::string_view path, ValueView operand) {
    if (operand.type() == ValueType::kBool) return absl::OkStatus();
    if (operand.IsDocument() && operand.size() == 1) {
      const std::optional<ValueView> type = operand.Find("$type");
      if (type.has_value() && type->IsString()) {
        // MessagePack has one type for points in time.
        if (type->AsString() == "date" || type->AsString() == "timestamp") {
          return absl::OkStatus();
        }
      }
    }
    return Error("$currentDate needs true, {$type: \"date\"} or {$type: \"timestamp\"}, not ",
                 DescribeField(path, operand));
  }

  absl::Status Bits(std::string_view path, ValueView operand, UpdateLeaf* leaf) {
    constexpr std::string_view kNeeds =
        "$bit needs a document of and, or and xor with integers, such as {and: 6}";
    if (!operand.IsDocument() || operand.size() == 0) {
      return Error(kNeeds, ", not ", DescribeField(path, operand));
    }
    for (const auto entry : operand.entries()) {
      BitOperation bit;
      if (entry.key == "and") {
        bit.operation = '&';
      } else if (entry.key == "or") {
        bit.operation = '|';
      } else if (entry.key == "xor") {
        bit.operation = '^';
      } else {
        return Error(kNeeds, ", not '", DescribeText(entry.key), "'");
      }
      if (entry.value.type() != ValueType::kInt64) {
        return Error(kNeeds, ", not ", DescribeField(entry.key, entry.value));
      }
      bit.mask = entry.value.AsInt64();
      leaf->bits.push_back(bit);
    }
    return absl::OkStatus();
  }

  static constexpr std::size_t kArrayFiltersMax = 100;

  std::shared_ptr<UpdateProgram> program_;
  std::vector<bool> filter_used_;  // Parallel to the array filters.
};

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_UPDATE_PROGRAM_H_
