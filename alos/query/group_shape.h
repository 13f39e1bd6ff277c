// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A grouping so plain that an index may know its result.

#ifndef ALOS_QUERY_GROUP_SHAPE_H_
#define ALOS_QUERY_GROUP_SHAPE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace alos {

// What a $group (or the $group that $count and $sortByCount are made of) computes, if it is of this
// kind: _id is a constant, the path of a field or a document of such paths, and each accumulator is
// a count, or the sum, average, least or greatest of one field.
//
// A result document is {_id: key, <accumulator's name>: value, ...} in the order given here.
struct GroupShape {
  enum class KeyKind {
    kConstant,  // one group, if there is any document; _id is `constant`
    kPath,      // _id is the value of keys[0].path; missing counts as null
    kDocument,  // _id is {keys[i].name: value of keys[i].path}, without those that are missing
  };
  struct Key {
    std::string name;
    std::string path;  // dotted
  };
  struct Accumulator {
    enum class Kind {
      kSumConstant,  // `constant`, a number, times the count of documents
      kCount,
      kSum,  // of numbers; 0 if there are none
      kAvg,  // null if there are none
      kMin,  // of all that is neither null nor missing; null if there is nothing
      kMax,
    };
    std::string name;
    Kind kind;
    std::string path;      // dotted; of kSum, kAvg, kMin, kMax
    std::string constant;  // encoded; of kSumConstant
  };

  KeyKind key_kind = KeyKind::kConstant;
  std::string constant;  // encoded
  std::vector<Key> keys;
  std::vector<Accumulator> accumulators;
  // Where Pipeline::RunFrom takes the result documents.
  std::size_t next_stage = 0;
};

}  // namespace alos

#endif  // ALOS_QUERY_GROUP_SHAPE_H_
