// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a backup of a database consists of.

#ifndef ALOS_ENGINE_BACKUP_STATE_H_
#define ALOS_ENGINE_BACKUP_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "alos/txn/snapshot_registry.h"

namespace alos {

// The state of a database at one timestamp: its manifest, and how far each log goes. Logs are only
// appended to, so that this stays readable; while it lives nothing of it is compacted away.
//
// Lifetime: ends before its database.
struct BackupState {
  struct Log {
    std::uint32_t shard = 0;
    std::uint64_t generation = 0;
    std::uint64_t size = 0;  // everything below was committed at the timestamp or before
  };
  std::uint64_t timestamp = 0;
  std::string manifest;
  std::vector<Log> logs;
  SnapshotRegistry::Pin pin;
};

}  // namespace alos

#endif  // ALOS_ENGINE_BACKUP_STATE_H_
