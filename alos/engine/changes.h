// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What was committed, in order: the change feed of a database.

#ifndef ALOS_ENGINE_CHANGES_H_
#define ALOS_ENGINE_CHANGES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "alos/document/value.h"

namespace alos {

// Between two changes: the next one is number `index` of the commit with this timestamp, or the
// first of a later commit. The numbers of a commit's changes are the same each time.
struct ChangePosition {
  std::uint64_t timestamp = 0;
  std::uint64_t index = 0;

  // Behind all that a snapshot sees.
  static ChangePosition After(std::uint64_t snapshot) { return {snapshot + 1, 0}; }
  friend bool operator==(const ChangePosition&, const ChangePosition&) = default;
};

struct Change {
  enum class Kind {
    kInsert,
    kUpdate,
    kDelete,
    kDrop,     // of the collection, with all its documents
    kReplace,  // of all documents of the collection at once, by $out: read it anew
  };
  Kind kind = Kind::kInsert;
  std::string_view collection;
  std::string_view id;              // encoded; empty for kDrop and kReplace
  std::optional<ValueView> before;  // of kUpdate and kDelete
  std::optional<ValueView> after;   // of kInsert and kUpdate
  std::uint64_t timestamp = 0;      // of the commit
  // Whether it is the last of its commit, as far as it was asked for.
  bool is_last = false;
  ChangePosition next;  // behind it
};

// As feeds and logs call it.
inline std::string_view NameOf(Change::Kind kind) {
  constexpr std::string_view kNames[] = {"insert", "update", "delete", "drop", "replace"};
  return kNames[static_cast<std::size_t>(kind)];
}

struct ChangesQuery {
  ChangePosition position;
  std::vector<std::string> collections;  // empty: all
  std::uint64_t changes_max = 1000;
};

}  // namespace alos

#endif  // ALOS_ENGINE_CHANGES_H_
