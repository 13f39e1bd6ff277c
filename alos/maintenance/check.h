// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Verifies a data directory that nobody has open, byte by byte:
//
//   manifest      checksum, format, features
//   journal       every commit group and every record in it
//   logs          header; every record's checksums; that bodies are documents and have the `_id`
//   that
//                 their header says, in the shard where they belong; that versions of a document
//                 form a chain and transactions are whole
//   checkpoints   checksum, and that they say where the documents are
//   indexes       checksums, and that the keys of each row, made again from its document, are those
//                 that the files have; that each document is in them once
//   decisions     of transactions over several databases: every group of their log; that each
//                 database has them. When all databases are checked
//
// A directory that was not closed in order is checked as its next start would leave it.

#ifndef ALOS_MAINTENANCE_CHECK_H_
#define ALOS_MAINTENANCE_CHECK_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/base/posix_file_system.h"
#include "alos/base/private_file_system.h"
#include "alos/base/status_macros.h"
#include "alos/maintenance/finding.h"
#include "alos/maintenance/internal/index_check.h"
#include "alos/maintenance/internal/joint_check.h"
#include "alos/maintenance/internal/log_check.h"
#include "alos/storage/manifest.h"

namespace alos {

struct CheckOptions {
  std::function<void(const Finding&)> on_finding = {};  // as they are found, one at a time
  std::vector<std::string> databases = {};              // empty: all
  bool indexes = true;
  // False: the caller holds the lock, or the directory is nobody's.
  bool take_lock = true;
};

struct CheckReport {
  CheckCounts counts;
  std::vector<Finding> findings;

  bool is_sound() const { return counts.damages == 0; }
};

// The names of the databases in a data directory: folders with a manifest or a log.
inline absl::StatusOr<std::vector<std::string>> FindDatabases(const std::string& data_path) {
  PosixFileSystem file_system;
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names, file_system.ListDirectory(data_path));
  std::vector<std::string> databases;
  for (const std::string& name : names) {
    if (name.front() == '.') continue;  // what an interrupted restore left
    const absl::StatusOr<std::vector<std::string>> files =
        file_system.ListDirectory(absl::StrCat(data_path, "/", name));
    if (!files.ok()) continue;  // no directory
    for (const std::string& file : *files) {
      if (file != kManifestFileName && !absl::EndsWith(file, ".db")) continue;
      databases.push_back(name);
      break;
    }
  }
  return databases;
}

namespace maintenance_internal {

// `joint`: gets what there is to say of transactions over several databases; nullptr: nobody asks.
inline absl::Status CheckDatabase(PrivateFileSystem* file_system, const std::string& directory,
                                  const CheckOptions& options, FindingList* findings,
                                  CheckCounts* counts, std::optional<JointFacts>* joint = nullptr) {
  ALOS_ASSIGN_OR_RETURN(const bool exists, file_system->Exists(directory));
  if (!exists) return absl::NotFoundError(absl::StrCat(directory, ": there is no such database"));
  LogCheck logs(file_system, directory, findings);
  ++counts->databases;
  ALOS_ASSIGN_OR_RETURN(const bool has_manifest, logs.ReadManifest());
  if (!has_manifest) return absl::OkStatus();
  ALOS_RETURN_IF_ERROR(logs.ReadLogs(counts));
  if (joint != nullptr) *joint = ReadJointFacts(&logs);
  for (const Manifest::Collection& collection : logs.manifest().collections) {
    ++counts->collections;
    if (options.indexes) IndexCheck(file_system, &logs, collection, findings, counts).Run();
  }
  return absl::OkStatus();
}

}  // namespace maintenance_internal

// Errors: kFailedPrecondition, naming the holder, when somebody has the directory open; what keeps
// files from being read. Damage is no error: the report has it.
// Durability: writes nothing (but its name into the lock file). Cost: reads everything once, the
// documents of indexed collections once more; memory: 16 to 48 bytes for each document.
inline absl::StatusOr<CheckReport> CheckDataDirectory(const std::string& data_path,
                                                      const CheckOptions& options = {}) {
  PosixFileSystem system;
  ALOS_ASSIGN_OR_RETURN(const bool exists, system.Exists(data_path));
  if (!exists) return absl::NotFoundError(absl::StrCat(data_path, ": there is no such directory"));
  std::unique_ptr<PosixLock> lock;
  if (options.take_lock) {
    absl::StatusOr<std::unique_ptr<PosixLock>> taken =
        system.LockFile(absl::StrCat(data_path, "/alos.lock"));
    // A directory that cannot be written to has no server that writes.
    if (!taken.ok() && !absl::IsPermissionDenied(taken.status()) &&
        !absl::StrContains(taken.status().message(), "ead-only file system")) {
      return taken.status();
    }
    if (taken.ok()) lock = *std::move(taken);
  }
  std::vector<std::string> databases = options.databases;
  if (databases.empty()) {
    ALOS_ASSIGN_OR_RETURN(databases, FindDatabases(data_path));
  }
  CheckReport report;
  FindingList findings(options.on_finding);
  std::map<std::string, std::optional<maintenance_internal::JointFacts>> joint;
  for (const std::string& name : databases) {
    PrivateFileSystem file_system;
    ALOS_RETURN_IF_ERROR(
        maintenance_internal::CheckDatabase(&file_system, absl::StrCat(data_path, "/", name),
                                            options, &findings, &report.counts, &joint[name]));
  }
  if (options.databases.empty()) {
    PrivateFileSystem file_system;
    ALOS_RETURN_IF_ERROR(maintenance_internal::CheckJointLog(&file_system, data_path, joint,
                                                             &findings, &report.counts));
  }
  report.findings = findings.findings();
  report.counts.damages = findings.damages();
  report.counts.notes = findings.notes();
  return report;
}

}  // namespace alos

#endif  // ALOS_MAINTENANCE_CHECK_H_
