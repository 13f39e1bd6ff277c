// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What was committed: the logs, read as a stream, and drops, which the logs do not have. The
// members of BasicDatabase (database.h) that do this.

#ifndef ALOS_ENGINE_INTERNAL_DATABASE_CHANGES_H_
#define ALOS_ENGINE_INTERNAL_DATABASE_CHANGES_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/epoch.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/engine/changes.h"
#include "alos/engine/database.h"
#include "alos/engine/internal/change_reader.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/shard.h"
#include "alos/storage/manifest.h"
#include "alos/txn/snapshot_registry.h"

namespace alos {

template <class Policies>
typename BasicDatabase<Policies>::Event BasicDatabase<Policies>::DecodeEvent(ValueView document) {
  Event event;
  if (const auto name = document.Find("name"); name && name->IsString())
    event.name = std::string(name->AsString());
  const auto number = [&](std::string_view key) -> std::uint64_t {
    const auto value = document.Find(key);
    return value ? static_cast<std::uint64_t>(value->ToInt64().value_or(0)) : 0;
  };
  event.dropped = number("dropped");
  event.made = number("made");
  return event;
}

template <class Policies>
absl::Status BasicDatabase<Policies>::WriteEvent(std::string_view name, std::uint32_t dropped,
                                                 std::uint32_t made) {
  const std::uint64_t number = events_written_ + 1;
  std::string id;
  Builder(&id).Uint(number % kEventsMax);
  std::string raw;
  Builder builder(&raw);
  builder.StartDocument();
  builder.Key("_id").Uint(number % kEventsMax);
  builder.Key("n").Uint(number);
  builder.Key("name").String(name);
  builder.Key("dropped").Uint(dropped);
  builder.Key("made").Uint(made);
  builder.EndDocument();
  ALOS_ASSIGN_OR_RETURN(
      const std::uint64_t timestamp,
      WriteDocument(*events_.load(), id,
                    [&](std::optional<ValueView>, Decision* decision) -> absl::Status {
                      decision->action = Decision::Action::kPut;
                      Encode(raw, &decision->body);
                      return absl::OkStatus();
                    }));
  ALOS_RETURN_IF_ERROR(WaitVisible(timestamp));
  events_written_ = number;
  if (made != 0) {
    absl::MutexLock lock(&names_mutex_);
    names_[made] = {std::string(name), timestamp};
  }
  return absl::OkStatus();
}

template <class Policies>
absl::Status BasicDatabase<Policies>::ReplayEvents() {
  absl::MutexLock lock(&manifest_mutex_);
  const auto guard = context_.epochs->Enter();
  absl::MutexLock names_lock(&names_mutex_);
  for (const auto& collection : manifest_.collections) names_[collection.id] = {collection.name, 0};
  const Collection* events = collections_.Find(engine_internal::kEventsCollection);
  if (events == nullptr) return absl::OkStatus();
  bool changed = false;
  for (std::uint64_t slot = 0; slot < kEventsMax; ++slot) {
    std::string id;
    Builder(&id).Uint(slot);
    const std::uint64_t hash = Hash(events->id, id);
    Shard& shard = ShardOf(hash);
    ALOS_ASSIGN_OR_RETURN(
        const std::uint64_t offset,
        shard.FindVersion(events->id, id, hash, std::numeric_limits<std::uint64_t>::max()));
    if (offset == 0) continue;
    const std::uint64_t timestamp = RecordView(shard.log()->At(offset)).header().commit_timestamp;
    Event event;
    ALOS_RETURN_IF_ERROR(shard.VisitDocument(
        offset,
        [&](ValueView document) {
          event = DecodeEvent(document);
          if (const auto number = document.Find("n"))
            events_written_ = std::max(events_written_,
                                       static_cast<std::uint64_t>(number->ToInt64().value_or(0)));
        },
        false));
    const auto dropped = static_cast<std::uint32_t>(event.dropped);
    const auto made = static_cast<std::uint32_t>(event.made);
    names_.try_emplace(dropped, Naming{event.name, 0});
    if (made != 0) names_[made] = {event.name, timestamp};
    const auto in_manifest = [&](std::uint32_t number) {
      return std::find_if(manifest_.collections.begin(), manifest_.collections.end(),
                          [&](const auto& collection) { return collection.id == number; });
    };
    const auto found = in_manifest(dropped);
    if (dropped == 0 || found == manifest_.collections.end()) continue;
    // A crash came between the event and the manifest.
    manifest_.collections.erase(found);
    collections_.Remove(event.name);
    if (made != 0 && in_manifest(made) == manifest_.collections.end()) {
      manifest_.collections.push_back({made, event.name, std::vector<std::string>()});
      collections_.Add(made, event.name);
    }
    changed = true;
  }
  return changed ? WriteManifest() : absl::OkStatus();
}

template <class Policies>
absl::StatusOr<ChangePosition> BasicDatabase<Policies>::ReadChanges(
    const ChangesQuery& query, absl::FunctionRef<bool(const Change&)> visit) {
  ChangePosition position = query.position;
  position.timestamp = std::max<std::uint64_t>(position.timestamp, 1);
  SnapshotRegistry::Pin pin;
  {
    const std::uint64_t newest = ReadTimestamp();
    if (position.timestamp > newest + 1) {
      return absl::InvalidArgumentError(absl::StrCat("the position ", position.timestamp,
                                                     " lies in the future: the newest commit is ",
                                                     newest));
    }
    // What came before the first of them is read, too.
    std::optional<SnapshotRegistry::Pin> pinned = snapshots_.PinAt(position.timestamp - 1);
    if (!pinned) return SnapshotGone(position.timestamp - 1);
    pin = *std::move(pinned);
  }
  const auto guard = context_.epochs->Enter();
  const std::uint64_t newest = ReadTimestamp();
  const Collection* events = collections_.Find(engine_internal::kEventsCollection);
  // Names of the collections that were asked for, by id; nullptr: not asked for.
  absl::flat_hash_map<std::uint32_t, std::optional<Naming>> names;
  const auto name_of = [&](std::uint32_t collection, std::uint64_t at) -> const std::string* {
    const auto [known, is_new] = names.try_emplace(collection);
    if (is_new) {
      absl::MutexLock lock(&names_mutex_);
      const auto found = names_.find(collection);
      if (found != names_.end() && !engine_internal::IsOwnCollection(found->second.name) &&
          (query.collections.empty() ||
           std::find(query.collections.begin(), query.collections.end(), found->second.name) !=
               query.collections.end())) {
        known->second = found->second;
      }
    }
    return known->second && at >= known->second->since ? &known->second->name : nullptr;
  };
  engine_internal::ChangeReader<Policies> reader(shards_, position.timestamp, newest);
  ALOS_RETURN_IF_ERROR(reader.Start());
  std::vector<typename engine_internal::ChangeReader<Policies>::Place> places;
  std::uint64_t visited = 0;
  while (true) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, reader.Next(&places));
    if (timestamp == 0) return ChangePosition::After(newest);
    const std::uint64_t begin = timestamp == position.timestamp ? position.index : 0;
    // The last one that was asked for, to say so.
    const auto is_wanted = [&](std::size_t i) {
      const RecordHeader header =
          RecordView(shards_[places[i].shard]->log()->At(places[i].offset)).header();
      if ((header.flags & kRelocated) != 0) return false;
      if (events != nullptr && header.collection == events->id)
        return header.kind == RecordKind::kPut;
      return name_of(header.collection, header.commit_timestamp) != nullptr;
    };
    std::size_t last = places.size();
    while (last > begin && !is_wanted(last - 1)) --last;
    for (std::size_t i = begin; i < last; ++i) {
      if (!is_wanted(i)) continue;
      Shard& shard = *shards_[places[i].shard];
      const RecordView record(shard.log()->At(places[i].offset));
      const RecordHeader header = record.header();
      Change change;
      change.timestamp = timestamp;
      change.is_last = i + 1 == last;
      change.next =
          change.is_last ? ChangePosition::After(timestamp) : ChangePosition{timestamp, i + 1};
      bool go_on = true;
      const auto tell = [&] {
        ++visited;
        go_on = visit(change) && visited < query.changes_max;
      };
      if (events != nullptr && header.collection == events->id) {
        Event event;
        ALOS_RETURN_IF_ERROR(shard.VisitDocument(
            places[i].offset, [&](ValueView document) { event = DecodeEvent(document); }, false));
        const std::string* name = name_of(static_cast<std::uint32_t>(event.dropped), timestamp);
        if (name == nullptr) name = name_of(static_cast<std::uint32_t>(event.made), timestamp);
        if (name == nullptr) continue;
        change.kind = event.made != 0 ? Change::Kind::kReplace : Change::Kind::kDrop;
        change.collection = *name;
        tell();
      } else {
        change.collection = *name_of(header.collection, timestamp);
        change.id = record.id();
        const auto with_before = [&](std::optional<ValueView> before) -> absl::Status {
          change.before = before;
          if (header.kind == RecordKind::kDelete) {
            if (!before) return absl::OkStatus();  // there was nothing to delete
            change.kind = Change::Kind::kDelete;
            tell();
            return absl::OkStatus();
          }
          change.kind = before ? Change::Kind::kUpdate : Change::Kind::kInsert;
          return shard.VisitDocument(
              places[i].offset,
              [&](ValueView document) {
                change.after = document;
                tell();
              },
              false);
        };
        const std::uint64_t hash = Hash(header.collection, record.id());
        ALOS_ASSIGN_OR_RETURN(
            const std::uint64_t before,
            shard.FindVersionBefore(places[i].offset, header, record.id(), hash, timestamp - 1));
        absl::Status told;
        if (before == 0) {
          told = with_before(std::nullopt);
        } else {
          ALOS_RETURN_IF_ERROR(shard.VisitDocument(
              before, [&](ValueView document) { told = with_before(document); }, false));
        }
        ALOS_RETURN_IF_ERROR(told);
      }
      if (!go_on) return change.next;
    }
  }
}

}  // namespace alos

#endif  // ALOS_ENGINE_INTERNAL_DATABASE_CHANGES_H_
