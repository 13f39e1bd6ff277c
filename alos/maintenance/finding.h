// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What checking a data directory finds, and what it has looked at.

#ifndef ALOS_MAINTENANCE_FINDING_H_
#define ALOS_MAINTENANCE_FINDING_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/document/builder.h"

namespace alos {

struct Finding {
  enum class Severity {
    kNote,    // nothing that was promised is lost: what a start cuts, undoes or builds again
    kDamage,  // bytes are not what was written, or do not agree with each other
  };
  Severity severity = Severity::kDamage;
  std::string file;  // with its path
  std::optional<std::uint64_t> offset = std::nullopt;
  std::uint64_t bytes = 0;      // how many from there; 0: not known
  std::string collection = {};  // where known: its name
  std::string document = {};    // where known: its `_id`, readable
  std::string what;             // and what to do, where there is something

  std::string ToString() const {
    std::string text(severity == Severity::kDamage ? "damage: " : "note: ");
    absl::StrAppend(&text, file);
    if (offset) absl::StrAppend(&text, ": offset ", *offset);
    if (bytes != 0) absl::StrAppend(&text, " (", bytes, " bytes)");
    if (!collection.empty()) absl::StrAppend(&text, ": collection '", collection, "'");
    if (!document.empty()) absl::StrAppend(&text, ": document ", document);
    absl::StrAppend(&text, ": ", what);
    return text;
  }

  void AppendTo(Builder* builder) const {
    builder->StartDocument();
    builder->Key("severity").String(severity == Severity::kDamage ? "damage" : "note");
    builder->Key("file").String(file);
    if (offset) builder->Key("offset").Uint(*offset);
    if (bytes != 0) builder->Key("bytes").Uint(bytes);
    if (!collection.empty()) builder->Key("collection").String(collection);
    if (!document.empty()) builder->Key("document").String(document);
    builder->Key("what").String(what);
    builder->EndDocument();
  }
};

struct CheckCounts {
  std::uint64_t databases = 0;
  std::uint64_t collections = 0;
  std::uint64_t logs = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t records = 0;    // of any kind
  std::uint64_t documents = 0;  // live
  std::uint64_t versions = 0;   // superseded ones and deletions
  std::uint64_t checkpoints = 0;
  std::uint64_t journal_groups = 0;
  std::uint64_t decisions = 0;  // transactions in the log of those over several databases
  std::uint64_t index_files = 0;
  std::uint64_t index_rows = 0;  // rows of columns whose keys were made again and compared
  std::uint64_t damages = 0;
  std::uint64_t notes = 0;
};

// Gathers findings. Threads: Add by any at once; the rest once they are done.
class FindingList {
 public:
  // Of more than so many only the number is kept.
  static constexpr std::size_t kKeptMax = 100'000;

  // `on_finding` is called with each as it is found, one at a time; may be empty.
  explicit FindingList(std::function<void(const Finding&)> on_finding = {})
      : on_finding_(std::move(on_finding)) {}

  void Add(Finding finding) {
    absl::MutexLock lock(&mutex_);
    ++(finding.severity == Finding::Severity::kDamage ? damages_ : notes_);
    if (on_finding_) on_finding_(finding);
    if (findings_.size() < kKeptMax) findings_.push_back(std::move(finding));
  }

  std::vector<Finding> findings() const {
    absl::MutexLock lock(&mutex_);
    return findings_;
  }
  std::uint64_t damages() const {
    absl::MutexLock lock(&mutex_);
    return damages_;
  }
  std::uint64_t notes() const {
    absl::MutexLock lock(&mutex_);
    return notes_;
  }

 private:
  const std::function<void(const Finding&)> on_finding_;
  mutable absl::Mutex mutex_;
  std::vector<Finding> findings_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t damages_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t notes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace alos

#endif  // ALOS_MAINTENANCE_FINDING_H_
