// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The collections of a database, by name.

#ifndef ALOS_ENGINE_INTERNAL_COLLECTIONS_H_
#define ALOS_ENGINE_INTERNAL_COLLECTIONS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "alos/base/epoch.h"
#include "alos/engine/internal/collection_indexes.h"
#include "alos/engine/internal/unique_indexes.h"

namespace alos::engine_internal {

inline constexpr std::size_t kNameSizeMax = 255;

// One collection. Lives as long as its database, dropped or not.
struct Collection {
  Collection(std::uint32_t id_value, std::string name_value, EpochManager* epochs)
      : id(id_value), name(std::move(name_value)), indexes(epochs), unique(epochs) {}
  const std::uint32_t id;
  const std::string name;
  std::atomic<std::int64_t> live_documents{0};  // visible ones
  CollectionIndexes indexes;
  UniqueIndexes unique;
};

// Collections of alos's own: they are in no list, and users cannot name them.
inline constexpr std::string_view kRequestsCollection = "$requests";  // internal/request_notes.h
inline constexpr std::string_view kEventsCollection = "$events";      // drops, which logs lack
inline constexpr std::string_view kJointCollection = "$joint";        // internal/joint_log.h

inline bool IsOwnCollection(std::string_view name) {
  return name == kRequestsCollection || name == kEventsCollection || name == kJointCollection;
}

inline absl::Status CheckCollectionName(std::string_view name) {
  if (IsOwnCollection(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the collection '", name, "' is alos's own; choose another name"));
  }
  if (name.empty()) return absl::InvalidArgumentError("the collection name is empty");
  if (name.size() > kNameSizeMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the collection name has ", name.size(), " bytes, at most ", kNameSizeMax, " are allowed"));
  }
  if (name.find('\0') != std::string_view::npos)
    return absl::InvalidArgumentError("the collection name contains a zero byte");
  return absl::OkStatus();
}

// Threads: Find by any thread inside an epoch guard, without a lock; Add and Remove one at a time.
class CollectionMap {
 public:
  explicit CollectionMap(EpochManager* epochs) : epochs_(epochs), map_(new Map) {}
  ~CollectionMap() { delete map_.load(std::memory_order_relaxed); }

  Collection* Find(std::string_view name) const {
    const Map& map = *map_.load(std::memory_order_acquire);
    const auto found = map.find(name);
    return found == map.end() ? nullptr : found->second;
  }

  Collection* Add(std::uint32_t id, std::string_view name) {
    Collection* added = Make(id, name);
    Put(added);
    return added;
  }

  // A collection that nobody finds before it is Put.
  Collection* Make(std::uint32_t id, std::string_view name) {
    owned_.push_back(std::make_unique<Collection>(id, std::string(name), epochs_));
    return owned_.back().get();
  }

  // Makes `added` the one of its name.
  void Put(Collection* added) {
    Map next = *map_.load(std::memory_order_relaxed);
    // Not an assignment: the key views the name of the collection.
    next.erase(added->name);
    next.emplace(added->name, added);
    Replace(std::move(next));
  }

  void Remove(std::string_view name) {
    Map next = *map_.load(std::memory_order_relaxed);
    next.erase(name);
    Replace(std::move(next));
  }

  // A copy of what there is.
  std::vector<Collection*> All() const {
    std::vector<Collection*> all;
    for (const auto& [name, collection] : *map_.load(std::memory_order_acquire))
      all.push_back(collection);
    return all;
  }

  // The ids of those whose documents are not to be lost: also of those that have no name yet. One
  // at a time with Make, Put and Remove.
  absl::flat_hash_set<std::uint32_t> LiveIds() const {
    absl::flat_hash_set<std::uint32_t> ids;
    for (const auto& collection : owned_) {
      if (!collection->indexes.is_closed()) ids.insert(collection->id);
    }
    return ids;
  }

 private:
  using Map = absl::flat_hash_map<std::string_view, Collection*>;  // keys: the collections' names

  void Replace(Map next) {
    const Map* old = map_.exchange(new Map(std::move(next)), std::memory_order_acq_rel);
    epochs_->Retire([old] { delete old; });
  }

  EpochManager* const epochs_;
  std::atomic<const Map*> map_;
  std::vector<std::unique_ptr<Collection>> owned_;
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_COLLECTIONS_H_
