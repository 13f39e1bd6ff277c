// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Backups of the databases of an engine in this process: for who embeds alos.
//
//   alos::EngineBackupSource source(engine.get());
//   auto summary = alos::BackupToFolder(source, {.databases = {"app"}}, "/backups/app");

#ifndef ALOS_MAINTENANCE_ENGINE_BACKUP_SOURCE_H_
#define ALOS_MAINTENANCE_ENGINE_BACKUP_SOURCE_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "alos/base/crc32c.h"
#include "alos/base/status_macros.h"
#include "alos/engine/backup_state.h"
#include "alos/maintenance/backup.h"
#include "alos/maintenance/finding.h"

namespace alos {

// Satisfies BackupSource. Threads: one. Lifetime: the engine outlives it, open.
template <class Engine>
class EngineBackupSource {
 public:
  explicit EngineBackupSource(Engine* engine) : engine_(*engine) {}

  absl::StatusOr<BackupSourceState> Begin(const std::string& name) {
    state_.reset();
    ALOS_ASSIGN_OR_RETURN(database_, engine_.FindDatabase(name));
    if (database_ == nullptr)
      return absl::NotFoundError(absl::StrCat("there is no database ", name));
    ALOS_ASSIGN_OR_RETURN(state_, database_->BeginBackup());
    BackupSourceState state;
    state.timestamp = state_->timestamp;
    state.manifest = state_->manifest;
    for (const BackupState::Log& log : state_->logs)
      state.logs.push_back({log.shard, log.generation, log.size});
    return state;
  }
  absl::Status Read(std::uint32_t shard, std::uint64_t offset, std::uint64_t bytes,
                    std::string* out) {
    out->clear();
    return database_->ReadLog(shard, offset, bytes, out);
  }
  absl::Status Checksums(std::uint32_t shard, std::uint64_t size, std::uint64_t chunk,
                         std::vector<std::uint32_t>* checksums) {
    checksums->clear();
    std::string bytes;
    for (std::uint64_t at = 0; at < size; at += chunk) {
      ALOS_RETURN_IF_ERROR(Read(shard, at, std::min(chunk, size - at), &bytes));
      checksums->push_back(Crc32c(bytes));
    }
    return absl::OkStatus();
  }
  absl::Status Verify(std::uint32_t shard, std::uint64_t size, std::vector<Finding>* findings) {
    constexpr std::uint64_t kStepBytes = std::uint64_t{64} << 20;
    for (std::uint64_t offset = 0; offset < size;) {
      offset = database_->VerifyLog(
          shard, offset, size, kStepBytes,
          [&](std::uint64_t at, std::uint64_t bytes, const std::string& document) {
            findings->push_back(
                {.file = absl::StrFormat("%s/shard_%03d.db", database_->directory(), shard),
                 .offset = at,
                 .bytes = bytes,
                 .document = document,
                 .what = "the record is damaged"});
          });
    }
    return absl::OkStatus();
  }
  absl::Status End() {
    state_.reset();
    return absl::OkStatus();
  }

 private:
  Engine& engine_;
  typename Engine::Database* database_ = nullptr;
  std::optional<BackupState> state_;
};

}  // namespace alos

#endif  // ALOS_MAINTENANCE_ENGINE_BACKUP_SOURCE_H_
