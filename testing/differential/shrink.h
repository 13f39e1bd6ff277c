// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Makes a value that fails a test small.

#ifndef ALOS_TESTING_DIFFERENTIAL_SHRINK_H_
#define ALOS_TESTING_DIFFERENTIAL_SHRINK_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "testing/differential/values.h"

namespace alos::differential {

// Knows nothing of what the value means: it removes elements and entries, puts what is inside a
// container in its place, and makes scalars simple, as long as `fails` stays true. What makes no
// sense then, `fails` must answer with false. Gives up after `attempts_max` calls of `fails`.
// REQUIRES: fails(value).
std::string Shrink(std::string value, absl::FunctionRef<bool(ValueView)> fails,
                   std::size_t attempts_max);

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace shrink_internal {

// One simplification of the node at `path` (child numbers from the root).
struct Edit {
  std::vector<std::size_t> path;
  // Without children [begin, end) if that is not empty; else replaced by `replacement`.
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string replacement;
};

inline std::vector<ValueView> Children(ValueView value) {
  std::vector<ValueView> children;
  for (const ValueView element : Elements(value)) children.push_back(element);
  for (const auto entry : Entries(value)) children.push_back(entry.value);
  return children;
}

inline void Rebuild(ValueView value, const Edit& edit, std::size_t level, Builder* builder) {
  const bool here = level == edit.path.size();
  if (here && edit.begin == edit.end) {
    builder->Raw(ValueView::FromTrusted(edit.replacement));
    return;
  }
  const auto child = [&](std::size_t number, ValueView inner) {
    if (!here && edit.path[level] == number) {
      Rebuild(inner, edit, level + 1, builder);
    } else {
      builder->Raw(inner);
    }
  };
  std::size_t number = 0;
  if (value.IsArray()) {
    builder->StartArray();
    for (const ValueView element : Elements(value)) {
      if (!(here && number >= edit.begin && number < edit.end)) child(number, element);
      ++number;
    }
    builder->EndArray();
  } else {
    builder->StartDocument();
    for (const auto entry : Entries(value)) {
      if (!(here && number >= edit.begin && number < edit.end)) {
        builder->Key(entry.key);
        child(number, entry.value);
      }
      ++number;
    }
    builder->EndDocument();
  }
}

inline std::string Apply(ValueView value, const Edit& edit) {
  std::string bytes;
  Builder builder(&bytes);
  Rebuild(value, edit, 0, &builder);
  return bytes;
}

// Simpler values of the same kind, the simplest first.
inline std::vector<std::string> SimplerScalars(ValueView value) {
  std::vector<std::string> simpler;
  const auto add = [&](auto&& write) {
    std::string bytes;
    Builder builder(&bytes);
    write(builder);
    if (bytes.size() < value.bytes().size()) simpler.push_back(std::move(bytes));
  };
  switch (value.type()) {
    case ValueType::kString: {
      add([](Builder& builder) { builder.String(""); });
      add([](Builder& builder) { builder.String("a"); });
      const std::string_view text = value.AsString();
      if (text.size() > 1 && text[0] != '$') {
        add([&](Builder& builder) { builder.String(text.substr(0, text.size() / 2)); });
      }
      break;
    }
    case ValueType::kInt64:
    case ValueType::kUint64:
      add([](Builder& builder) { builder.Int(0); });
      add([](Builder& builder) { builder.Int(1); });
      break;
    case ValueType::kDouble:
      add([](Builder& builder) { builder.Int(0); });
      add([](Builder& builder) { builder.Int(1); });
      break;
    case ValueType::kBinary:
      add([](Builder& builder) { builder.Binary(""); });
      break;
    case ValueType::kTimestamp:
      add([](Builder& builder) { builder.Time(Timestamp{}); });
      break;
    default:
      break;
  }
  return simpler;
}

// Calls `attempt` with one edit after another until it returns true; false when none did. The
// large steps come first.
inline bool VisitEdits(ValueView value, std::vector<std::size_t>* path,
                       absl::FunctionRef<bool(const Edit&)> attempt) {
  const std::vector<ValueView> children = Children(value);
  for (std::size_t size = children.size(); size > 0; size /= 2) {
    for (std::size_t end = children.size(); end > 0; end = end > size ? end - size : 0) {
      if (attempt(Edit{*path, end > size ? end - size : 0, end, {}})) return true;
    }
  }
  if (!path->empty()) {
    for (const ValueView child : children) {
      const bool same_kind = child.IsDocument() == value.IsDocument();
      if (same_kind && attempt(Edit{*path, 0, 0, std::string(child.bytes())})) return true;
      for (const ValueView inner : Children(child)) {
        // {$or: [{a: 1}, ...]} to {a: 1}
        if (inner.IsDocument() == value.IsDocument() &&
            attempt(Edit{*path, 0, 0, std::string(inner.bytes())})) {
          return true;
        }
      }
    }
    if (!children.empty() && attempt(Edit{*path, 0, 0, "\x01"})) return true;
    for (const std::string& simpler : SimplerScalars(value)) {
      if (attempt(Edit{*path, 0, 0, simpler})) return true;
    }
  }
  for (std::size_t i = children.size(); i-- > 0;) {
    path->push_back(i);
    if (VisitEdits(children[i], path, attempt)) return true;
    path->pop_back();
  }
  return false;
}

}  // namespace shrink_internal

inline std::string Shrink(std::string value, absl::FunctionRef<bool(ValueView)> fails,
                          std::size_t attempts_max) {
  std::size_t attempts = 0;
  bool shrunk = true;
  while (shrunk && attempts < attempts_max) {
    std::string smaller;
    std::vector<std::size_t> path;
    shrunk = shrink_internal::VisitEdits(
        ValueView::FromTrusted(value), &path, [&](const shrink_internal::Edit& edit) {
          if (attempts >= attempts_max) return false;
          smaller = shrink_internal::Apply(ValueView::FromTrusted(value), edit);
          if (smaller.size() >= value.size()) return false;
          ++attempts;
          return fails(ValueView::FromTrusted(smaller));
        });
    if (shrunk) value = std::move(smaller);
  }
  return value;
}

}  // namespace alos::differential

#endif  // ALOS_TESTING_DIFFERENTIAL_SHRINK_H_
