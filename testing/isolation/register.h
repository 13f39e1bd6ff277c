// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A checker of linearizability for registers that are written, read and compared-and-set: the
// search of Wing and Gong with the memory of Lowe, as in Porcupine.

#ifndef ALOS_TESTING_ISOLATION_REGISTER_H_
#define ALOS_TESTING_ISOLATION_REGISTER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace alos::isolation {

struct RegisterOperation {
  enum class Kind { kRead, kWrite, kCompareAndSet };
  static constexpr std::int64_t kNothing = std::numeric_limits<std::int64_t>::min();

  std::int64_t key = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  // Nobody knows whether, or when, it was done. (A read of which that is so says nothing.)
  bool is_unknown = false;
  Kind kind = Kind::kRead;
  std::int64_t value = kNothing;     // read: what was found; else what was written
  std::int64_t expected = kNothing;  // of a compare-and-set
  bool succeeded = true;             // of a compare-and-set
};

// What is wrong with the history of one of the keys, "" if nothing is. Registers hold kNothing at
// first.
inline std::string CheckRegisters(const std::vector<RegisterOperation>& history);

// --- Readers of the interface may stop here. ----------------------------------------------------

namespace register_internal {

// Applies an operation; false when it cannot have had this result.
inline bool Apply(const RegisterOperation& operation, std::int64_t* state) {
  switch (operation.kind) {
    case RegisterOperation::Kind::kRead:
      return operation.value == *state;
    case RegisterOperation::Kind::kWrite:
      *state = operation.value;
      return true;
    case RegisterOperation::Kind::kCompareAndSet:
      if (operation.is_unknown) {
        if (*state == operation.expected) *state = operation.value;
        return true;
      }
      if (operation.succeeded != (*state == operation.expected)) return false;
      if (operation.succeeded) *state = operation.value;
      return true;
  }
  return false;
}

// A linked list of calls and returns, in the order of time, is walked: a call that may take effect
// now is lifted out with its return; at a return that is reached nothing more can, and the last one
// that was lifted is put back.
inline bool IsLinearizable(const std::vector<RegisterOperation>& operations) {
  struct Entry {
    std::size_t operation;
    bool is_call;
    std::size_t match;  // of a call: its return
    std::size_t previous;
    std::size_t next;
  };
  struct Event {
    std::int64_t time;
    bool is_call;
    std::size_t operation;
  };
  std::vector<Event> events;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    events.push_back({operations[i].begin, true, i});
    events.push_back(
        {operations[i].is_unknown ? std::numeric_limits<std::int64_t>::max() : operations[i].end,
         false, i});
  }
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return a.time != b.time ? a.time < b.time : a.is_call && !b.is_call;
  });
  // Entry 0 is the head, the last one the end.
  std::vector<Entry> entries(events.size() + 2);
  std::vector<std::size_t> calls(operations.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    entries[i + 1] = {events[i].operation, events[i].is_call, 0, i, i + 2};
    if (events[i].is_call) {
      calls[events[i].operation] = i + 1;
    } else {
      entries[calls[events[i].operation]].match = i + 1;
    }
  }
  const std::size_t last = events.size() + 1;
  entries[0] = {0, true, 0, 0, 1};
  entries[last] = {0, true, 0, last - 1, last};
  const auto unlink = [&](std::size_t at) {
    entries[entries[at].previous].next = entries[at].next;
    entries[entries[at].next].previous = entries[at].previous;
  };
  const auto relink = [&](std::size_t at) {
    entries[entries[at].previous].next = at;
    entries[entries[at].next].previous = at;
  };
  std::size_t open = 0;  // known ones that are not lifted
  for (const RegisterOperation& operation : operations) open += !operation.is_unknown;
  std::string done((operations.size() + 7) / 8, '\0');
  absl::flat_hash_set<std::pair<std::string, std::int64_t>> seen;
  std::vector<std::pair<std::size_t, std::int64_t>> lifted;  // entry, state before
  std::int64_t state = RegisterOperation::kNothing;
  std::size_t at = entries[0].next;
  while (open != 0) {
    if (at != last && entries[at].is_call) {
      const std::size_t number = entries[at].operation;
      std::int64_t next_state = state;
      bool goes = Apply(operations[number], &next_state);
      if (goes) {
        std::string mark = done;
        mark[number / 8] = static_cast<char>(mark[number / 8] | 1 << number % 8);
        goes = seen.emplace(mark, next_state).second;
        if (goes) done = std::move(mark);
      }
      if (!goes) {
        at = entries[at].next;
        continue;
      }
      lifted.emplace_back(at, state);
      state = next_state;
      open -= !operations[number].is_unknown;
      unlink(at);
      unlink(entries[at].match);
      at = entries[0].next;
      continue;
    }
    // A return, or the end with something left: back.
    if (lifted.empty()) return false;
    const auto [entry, before] = lifted.back();
    lifted.pop_back();
    const std::size_t number = entries[entry].operation;
    state = before;
    open += !operations[number].is_unknown;
    done[number / 8] = static_cast<char>(done[number / 8] & ~(1 << number % 8));
    relink(entries[entry].match);
    relink(entry);
    at = entries[entry].next;
  }
  return true;
}

}  // namespace register_internal

inline std::string CheckRegisters(const std::vector<RegisterOperation>& history) {
  absl::flat_hash_map<std::int64_t, std::vector<RegisterOperation>> by_key;
  for (const RegisterOperation& operation : history) {
    if (operation.is_unknown && operation.kind == RegisterOperation::Kind::kRead) continue;
    by_key[operation.key].push_back(operation);
  }
  for (const auto& [key, operations] : by_key) {
    if (!register_internal::IsLinearizable(operations)) {
      return absl::StrCat("the ", operations.size(), " operations of register ", key,
                          " are not linearizable");
    }
  }
  return "";
}

}  // namespace alos::isolation

#endif  // ALOS_TESTING_ISOLATION_REGISTER_H_
