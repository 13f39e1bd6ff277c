// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compares the log of transactions over several databases (alos/engine/internal/joint_log.h) with
// the databases that it names.

#ifndef ALOS_MAINTENANCE_INTERNAL_JOINT_CHECK_H_
#define ALOS_MAINTENANCE_INTERNAL_JOINT_CHECK_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/private_file_system.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/joint_log.h"
#include "alos/engine/internal/shard.h"
#include "alos/maintenance/finding.h"
#include "alos/maintenance/internal/log_check.h"
#include "alos/storage/manifest.h"

namespace alos::maintenance_internal {

// What a database has to do with such transactions.
struct JointFacts {
  DatabaseId id{};
  std::uint64_t newest_timestamp = 0;
  engine_internal::JointMarker marker;  // the newest decision that is installed
};

// `logs` have been read. nullopt when damage, which has been reported, hides it.
inline std::optional<JointFacts> ReadJointFacts(LogCheck* logs) {
  JointFacts facts;
  const Manifest& manifest = logs->manifest();
  facts.id = manifest.database_id;
  facts.newest_timestamp = logs->complete_until();
  for (const auto& shard : logs->shards())
    facts.newest_timestamp = std::max(facts.newest_timestamp, shard.newest_timestamp);
  for (const Manifest::Collection& collection : manifest.collections) {
    if (collection.name != engine_internal::kJointCollection) continue;
    const std::uint64_t hash = engine_internal::DocumentHash(
        collection.id, engine_internal::JointMarker::EncodeId(), manifest.hash_seed);
    auto& shard = logs->shards()[engine_internal::ShardNumber(hash, logs->shards().size())];
    if (!shard.damaged.empty()) return std::nullopt;
    const auto newest = shard.newest.find(hash);
    if (newest == shard.newest.end()) {
      if (!shard.is_readable && manifest.shards_made[shard.shard->number()]) return std::nullopt;
      continue;
    }
    const auto guard = logs->epochs()->Enter();
    const absl::Status read = shard.shard->VisitDocument(
        newest->second,
        [&](ValueView document) { facts.marker = engine_internal::JointMarker::Decode(document); },
        false);
    if (!read.ok()) return std::nullopt;
  }
  return facts;
}

// `databases`: all that there are, by name; nullopt: damaged.
inline absl::Status CheckJointLog(PrivateFileSystem* file_system, const std::string& data_path,
                                  const std::map<std::string, std::optional<JointFacts>>& databases,
                                  FindingList* findings, CheckCounts* counts) {
  const std::string directory = absl::StrCat(data_path, "/", engine_internal::kJointDirectory);
  engine_internal::JointLog<PrivateFileSystem> log(file_system, data_path);
  const absl::StatusOr<std::vector<engine_internal::JointDecision>> decisions = log.Load();
  if (absl::IsDataLoss(decisions.status()) || absl::IsFailedPrecondition(decisions.status())) {
    findings->Add({.file = directory, .what = std::string(decisions.status().message())});
    return absl::OkStatus();
  }
  ALOS_RETURN_IF_ERROR(decisions.status());
  counts->decisions += decisions->size();
  if (log.recovery().torn_bytes != 0) {
    findings->Add({.severity = Finding::Severity::kNote,
                   .file = directory,
                   .bytes = log.recovery().torn_bytes,
                   .what = "of a decision that was being written, and was never acknowledged; the "
                           "next start leaves it out"});
  }
  // What each database lacks, and what it cannot be given.
  struct Parts {
    std::uint64_t missing = 0;  // each will be a commit
    std::uint64_t refused = 0;
  };
  std::map<std::string, Parts> parts;
  for (const engine_internal::JointDecision& decision : *decisions) {
    for (const engine_internal::JointPart& part : decision.parts) {
      Parts& found = parts[part.database];
      const auto database = databases.find(part.database);
      if (database == databases.end()) {
        ++found.missing;
        continue;
      }
      if (!database->second) continue;
      const JointFacts& facts = *database->second;
      if (facts.marker.epoch == decision.epoch && facts.marker.number >= decision.number) continue;
      const bool is_for_another =
          facts.id != part.id || facts.newest_timestamp + found.missing < part.snapshot;
      ++(is_for_another ? found.refused : found.missing);
    }
  }
  for (const auto& [name, found] : parts) {
    const std::string path = absl::StrCat(data_path, "/", name);
    if (!databases.contains(name)) {
      findings->Add({.file = path,
                     .what = absl::StrCat(
                         found.missing, " transaction(s) over several databases have a part in ",
                         "this one, which is not there; if it was removed on purpose, the next ",
                         "start leaves that part out")});
      continue;
    }
    if (found.refused != 0) {
      findings->Add({.file = path,
                     .what = absl::StrCat(
                         found.refused, " transaction(s) over several databases cannot be ",
                         "installed here: this is another database than the one they were decided ",
                         "for, or an older copy of it; the next start leaves that part out")});
    }
    if (found.missing != 0) {
      findings->Add({.severity = Finding::Severity::kNote,
                     .file = path,
                     .what = absl::StrCat(
                         found.missing, " transaction(s) over several databases are decided, and ",
                         "not installed here yet; the next start does it")});
    }
  }
  // A decision is durable before it is installed anywhere: a log that ends before one that is
  // installed has lost its end.
  if (decisions->empty()) return absl::OkStatus();
  for (const auto& [name, facts] : databases) {
    if (!facts || facts->marker.epoch != decisions->back().epoch ||
        facts->marker.number <= log.recovery().last_lsn) {
      continue;
    }
    findings->Add(
        {.file = directory,
         .what = absl::StrCat("ends with decision ", log.recovery().last_lsn, ", but database '",
                              name, "' has number ", facts->marker.number,
                              ": what was decided after the end may be missing in "
                              "other databases")});
  }
  return absl::OkStatus();
}

}  // namespace alos::maintenance_internal

#endif  // ALOS_MAINTENANCE_INTERNAL_JOINT_CHECK_H_
