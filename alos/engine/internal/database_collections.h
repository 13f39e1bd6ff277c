// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Collections, and the snapshots that reads see. The members of BasicDatabase (database.h) that do
// this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_COLLECTIONS_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_COLLECTIONS_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "alos/base/epoch.h"
#include "alos/base/memory_reserve.h"
#include "alos/base/status_macros.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/indexer.h"
#include "alos/engine/internal/reservations.h"
#include "alos/storage/durability.h"
#include "alos/storage/manifest.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

template <class Policies>
absl::StatusOr<SnapshotRegistry::Pin> BasicDatabase<Policies>::PinSnapshot(
    std::uint64_t timestamp) {
  if (const std::uint64_t newest = ReadTimestamp(); timestamp > newest) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no timestamp ", timestamp, " yet: the newest one is ", newest));
  }
  std::optional<SnapshotRegistry::Pin> pin = snapshots_.PinAt(timestamp);
  if (!pin) return SnapshotGone(timestamp);
  return *std::move(pin);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::LeaseSnapshot(std::uint64_t timestamp,
                                                    absl::Duration idle_max) {
  return snapshots_.Lease(timestamp, idle_max) ? absl::OkStatus() : SnapshotGone(timestamp);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::SnapshotGone(std::uint64_t timestamp) const {
  return absl::OutOfRangeError(
      absl::StrCat("the state of timestamp ", timestamp,
                   " is not kept any more: the oldest that can be read is ", snapshots_.floor(),
                   "; --history-retention (now ", absl::FormatDuration(snapshots_.retention()),
                   ") says for how long it is"));
}

template <class Policies>
absl::Status BasicDatabase<Policies>::WaitVisible(std::uint64_t commit_timestamp) {
  if (IsVisible(commit_timestamp)) return absl::OkStatus();
  absl::Notification done;
  absl::Status result;
  durability_->NotifyVisible(commit_timestamp, [&](absl::Status status) {
    result = std::move(status);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

template <class Policies>
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::FindCollection(
    std::string_view name) const {
  ALOS_RETURN_IF_ERROR(engine_internal::CheckCollectionName(name));
  const auto guard = context_.epochs->Enter();
  return collections_.Find(name);
}

template <class Policies>
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::FindOrCreateCollection(
    std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(Collection * found, FindCollection(name));
  return found != nullptr ? found : MakeCollection(name);
}

template <class Policies>
absl::StatusOr<engine_internal::Collection*> BasicDatabase<Policies>::MakeCollection(
    std::string_view name) {
  absl::MutexLock lock(&manifest_mutex_);
  const auto guard = context_.epochs->Enter();
  if (Collection* other = collections_.Find(name)) return other;
  ALOS_RETURN_IF_ERROR(durability_->health());
  const MemoryReserve::Critical critical;
  const std::uint32_t id = manifest_.next_collection_id++;
  manifest_.collections.push_back({id, std::string(name), std::vector<std::string>()});
  const absl::Status written = WriteManifest();
  if (!written.ok()) {
    manifest_.collections.pop_back();  // the id stays used: it may be on disk
    return written;
  }
  {
    absl::MutexLock names_lock(&names_mutex_);
    names_[id] = {std::string(name), 0};
  }
  return collections_.Add(id, name);
}

template <class Policies>
absl::Status BasicDatabase<Policies>::CreateCollection(std::string_view name) {
  return FindOrCreateCollection(name).status();
}

template <class Policies>
absl::StatusOr<bool> BasicDatabase<Policies>::CollectionExists(std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(const Collection* found, FindCollection(name));
  return found != nullptr;
}

template <class Policies>
std::vector<std::string> BasicDatabase<Policies>::ListCollections() {
  const auto guard = context_.epochs->Enter();
  std::vector<std::string> names;
  for (const Collection* collection : collections_.All()) {
    if (!engine_internal::IsOwnCollection(collection->name)) names.push_back(collection->name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::Drop(std::string_view name) {
  ALOS_ASSIGN_OR_RETURN(const Collection* there, FindCollection(name));
  if (there == nullptr) return absl::OkStatus();
  const engine_internal::Reservations::Pause pause(&reservations_, kReservationPatience);
  ALOS_RETURN_IF_ERROR(pause.status());
  ALOS_RETURN_IF_ERROR(OwnCollection(&events_, engine_internal::kEventsCollection).status());
  absl::MutexLock lock(&manifest_mutex_);
  const auto found =
      std::find_if(manifest_.collections.begin(), manifest_.collections.end(),
                   [&](const Manifest::Collection& collection) { return collection.name == name; });
  if (found == manifest_.collections.end()) return absl::OkStatus();
  ALOS_RETURN_IF_ERROR(durability_->health());
  const MemoryReserve::Critical critical;
  const Manifest::Collection removed = *found;
  ALOS_RETURN_IF_ERROR(WriteEvent(name, removed.id, 0));
  manifest_.collections.erase(found);
  const absl::Status written = WriteManifest();
  // Where the next start may find it dropped it is: what was written to it would be lost.
  if (!written.ok() && !absl::IsUnavailable(written)) {
    manifest_.collections.push_back(removed);
    return written;
  }
  const auto guard = context_.epochs->Enter();
  if (Collection* dropped = collections_.Find(name)) indexer_->Close(dropped);
  collections_.Remove(name);
  return written;
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_COLLECTIONS_H_
