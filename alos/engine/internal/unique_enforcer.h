// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Builds the tables of unique indexes from the documents, and looks documents up for them.

#ifndef ALOS_ENGINE_INTERNAL_UNIQUE_ENFORCER_H_
#define ALOS_ENGINE_INTERNAL_UNIQUE_ENFORCER_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/log.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/engine/internal/collections.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/engine/internal/index_reader.h"
#include "alos/engine/internal/shard.h"
#include "alos/engine/internal/unique_indexes.h"

namespace alos::engine_internal {

// Threads: all members, any; Create and Remove under the collection's definitions(). Lifetime:
// context and shards must outlive it. Durability: none: tables are made again. What makes sure of
// uniqueness is that a commit is checked and installed with its stripes locked, see UniqueWrite.
//
// A table is built while writers write: it is published first, then each shard's writer role is
// taken once, so that every writer keeps it from then on. After that the documents are gone through
// with the role of their shard held, some at a time; whichever version is the newest then is in the
// table, by our hand or its writer's.
template <class Policies>
class UniqueEnforcer {
 public:
  using ShardType = Shard<Policies>;
  using Shards = std::vector<std::unique_ptr<ShardType>>;

  UniqueEnforcer(const ShardContext<Policies>* context, const Shards* shards)
      : context_(context), shards_(shards) {}

  // Enforces the index from now on. kAlreadyExists when documents are duplicates of each other,
  // kDataLoss when one cannot be read; then nothing has changed.
  absl::Status Create(Collection* collection, const IndexDefinition& definition)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(collection->unique.definitions()) {
    ALOS_ASSIGN_OR_RETURN(const std::shared_ptr<UniqueIndex> index,
                          UniqueIndex::Make(definition, Seed(), UniqueIndex::State::kBuilding));
    // Those that wait for the first write are built first.
    BuildLocked(collection);
    UniqueIndexList list = collection->unique.Copy();
    list.push_back(index);
    collection->unique.Replace(std::move(list));
    PassWriters();
    const absl::Time begin = absl::Now();
    absl::Status status = Fill(collection, {index}, false);
    if (status.ok()) status = Enforce(collection, index.get());
    if (!status.ok()) {
      Remove(collection, definition.name());
      return status;
    }
    ALOS_LOG(kInfo) << context_->directory << ": unique index " << definition.name() << " on '"
                    << collection->name << "': checked in " << absl::Now() - begin;
    return absl::OkStatus();
  }

  void Remove(Collection* collection, std::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(collection->unique.definitions()) {
    UniqueIndexList list = collection->unique.Copy();
    std::erase_if(list, [&](const auto& index) { return index->definition.name() == name; });
    collection->unique.Replace(std::move(list));
  }

  // An index that was there when the database was opened. Before it is shared.
  absl::Status Load(Collection* collection, const IndexDefinition& definition) {
    ALOS_ASSIGN_OR_RETURN(std::shared_ptr<UniqueIndex> index,
                          UniqueIndex::Make(definition, Seed(), UniqueIndex::State::kUnbuilt));
    absl::MutexLock lock(&collection->unique.definitions());
    UniqueIndexList list = collection->unique.Copy();
    list.push_back(std::move(index));
    collection->unique.Replace(std::move(list));
    return absl::OkStatus();
  }

  // To be called before a write takes writer roles: builds what has not been built since the
  // database was opened. Cost: one load where there is no unique index.
  void Prepare(Collection* collection) {
    if (collection->unique.list() == nullptr) return;
    {
      const auto guard = context_->epochs->Enter();
      const UniqueIndexList* list = collection->unique.list();
      if (list == nullptr || std::none_of(list->begin(), list->end(), [](const auto& index) {
            return index->state.load() == UniqueIndex::State::kUnbuilt;
          })) {
        return;
      }
    }
    absl::MutexLock lock(&collection->unique.definitions());
    BuildLocked(collection);
  }

  // See UniqueWrite::FindHolder.
  absl::StatusOr<bool> FindHolder(std::uint32_t collection, const UniqueIndex& index,
                                  std::string_view key, std::uint64_t holder,
                                  std::string* holder_id) const {
    bool holds = false;
    ALOS_RETURN_IF_ERROR(ShardOf(holder).VisitByHash(collection, holder,
                                                     [&](std::string_view id, ValueView document) {
                                                       holds = index.HoldsKey(document, key);
                                                       if (holds) *holder_id = std::string(id);
                                                       return !holds;
                                                     }));
    return holds;
  }

  // Whoever else holds one of `keys`, as far as committed writes go: calls `visit(index, key, id)`
  // until it returns false. A look ahead: only a commit makes sure.
  template <class Visit>
  absl::Status VisitHolders(std::uint32_t collection, const UniqueIndexList& list,
                            const UniqueKeys& keys, std::uint64_t but, Visit&& visit) const {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i]->state.load() != UniqueIndex::State::kEnforced) continue;
      for (const std::string& key : keys[i]) {
        const std::uint64_t hash = list[i]->HashKey(key);
        std::vector<std::uint64_t> holders;
        {
          UniqueIndex::Stripe& stripe = list[i]->StripeOf(hash);
          absl::MutexLock lock(&stripe.mutex);
          stripe.ForEachHolder(hash, [&](std::uint64_t holder) {
            if (holder != but) holders.push_back(holder);
            return true;
          });
        }
        for (const std::uint64_t holder : holders) {
          std::string id;
          ALOS_ASSIGN_OR_RETURN(const bool holds,
                                FindHolder(collection, *list[i], key, holder, &id));
          if (holds && !visit(*list[i], std::string_view(key), std::string_view(id)))
            return absl::OkStatus();
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  // Documents gone through with a writer role held.
  static constexpr std::uint64_t kRecordsAtOnce = 256;

  std::uint64_t Seed() const { return context_->hash_seed ^ 0x756E69717565u; }

  ShardType& ShardOf(std::uint64_t hash) const {
    return *(*shards_)[ShardNumber(hash, shards_->size())];
  }

  // No writer is left that began before.
  void PassWriters() {
    for (const auto& shard : *shards_) absl::MutexLock lock(&shard->writer());
  }

  // What was there at opening. Duplicates and damage are told and do not keep anybody from writing:
  // they can come of a power failure under `async`, which loses the last writes of each shard, or
  // of a disk that rots.
  void BuildLocked(Collection* collection)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(collection->unique.definitions()) {
    UniqueIndexList unbuilt = collection->unique.Copy();
    std::erase_if(unbuilt, [](const auto& index) {
      return index->state.load() != UniqueIndex::State::kUnbuilt;
    });
    if (unbuilt.empty()) return;
    const absl::Time begin = absl::Now();
    const absl::Status filled = Fill(collection, unbuilt, true);
    if (!filled.ok()) {
      ALOS_LOG(kError) << context_->directory << ": the unique indexes of '" << collection->name
                       << "' do not know all documents: " << filled;
    }
    for (const auto& index : unbuilt) index->state.store(UniqueIndex::State::kEnforced);
    ALOS_LOG(kInfo) << context_->directory << ": " << unbuilt.size() << " unique indexes of '"
                    << collection->name << "' read for the first write, in " << absl::Now() - begin;
  }

  // Puts all documents into the tables. `at_opening`: duplicates are only told.
  absl::Status Fill(Collection* collection, const UniqueIndexList& list, bool at_opening) {
    absl::Mutex mutex;
    absl::Status first;
    RunInParallel(shards_->size(), [&](std::size_t number) {
      const absl::Status status =
          FillFromShard(collection, list, (*shards_)[number].get(), at_opening);
      absl::MutexLock lock(&mutex);
      first.Update(status);
      return at_opening || first.ok();
    });
    return first;
  }

  absl::Status FillFromShard(Collection* collection, const UniqueIndexList& list, ShardType* shard,
                             bool at_opening) {
    std::uint64_t from = 0;
    do {
      const auto guard = context_->epochs->Enter();
      absl::MutexLock role(&shard->writer());
      absl::Status added;
      ALOS_ASSIGN_OR_RETURN(
          from, shard->VisitNewest(
                    collection->id, from, kRecordsAtOnce, at_opening,
                    [&](std::string_view id, std::uint64_t hash, ValueView document) {
                      absl::Status status = AddDocument(collection, list, id, hash, document);
                      if (at_opening && !status.ok()) {
                        ALOS_LOG(kError) << context_->directory << ": " << status.message();
                        status = absl::OkStatus();
                      }
                      added.Update(status);
                      return added.ok();
                    }));
      ALOS_RETURN_IF_ERROR(added);
    } while (from != 0);
    return absl::OkStatus();
  }

  // kAlreadyExists when another one has a key of this document; it is added all the same.
  absl::Status AddDocument(Collection* collection, const UniqueIndexList& list, std::string_view id,
                           std::uint64_t hash, ValueView document) {
    absl::Status first;
    UniqueKeys keys;
    const absl::Status readable = AppendUniqueKeys(list, document, &keys);
    if (!readable.ok()) {
      first = absl::Status(readable.code(),
                           absl::StrCat("document ", DescribeId(id), " of collection '",
                                        collection->name, "': ", readable.message()));
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      for (const std::string& key : keys[i]) {
        const std::uint64_t key_hash = list[i]->HashKey(key);
        UniqueIndex::Stripe& stripe = list[i]->StripeOf(key_hash);
        absl::MutexLock lock(&stripe.mutex);
        stripe.ForEachHolder(key_hash, [&](std::uint64_t holder) {
          if (holder == hash) return true;
          std::string other;
          const absl::StatusOr<bool> holds =
              FindHolder(collection->id, *list[i], key, holder, &other);
          first.Update(holds.status());
          if (holds.ok() && *holds)
            first.Update(Duplicates(*collection, *list[i], document, key, other, id));
          return true;
        });
        stripe.Add(key_hash, hash);
      }
    }
    return first;
  }

  static absl::Status Duplicates(const Collection& collection, const UniqueIndex& index,
                                 ValueView document, std::string_view key, std::string_view id,
                                 std::string_view other_id) {
    return absl::AlreadyExistsError(
        absl::StrCat("the unique index '", index.definition.name(), "' of collection '",
                     collection.name, "' is violated: the documents ", DescribeId(id), " and ",
                     DescribeId(other_id), " both have ", index.DescribeKey(document, key)));
  }

  // From here on duplicates are refused, unless writers have made one while the table was built.
  absl::Status Enforce(Collection* collection, UniqueIndex* index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto guard = context_->epochs->Enter();
    for (UniqueIndex::Stripe& stripe : index->stripes) stripe.mutex.Lock();
    const absl::Status status = CheckHolders(*collection, *index);
    if (status.ok()) index->state.store(UniqueIndex::State::kEnforced);
    for (UniqueIndex::Stripe& stripe : index->stripes) stripe.mutex.Unlock();
    return status;
  }

  absl::Status CheckHolders(const Collection& collection,
                            const UniqueIndex& index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (const UniqueIndex::Stripe& stripe : index.stripes) {
      for (const auto& [hash, others] : stripe.more) {
        absl::flat_hash_map<std::string, std::string> ids;  // by key
        absl::Status status;
        stripe.ForEachHolder(hash, [&, key_hash = hash](std::uint64_t holder) {
          status.Update(ShardOf(holder).VisitByHash(
              collection.id, holder, [&](std::string_view id, ValueView document) {
                std::vector<std::string> keys;
                index.AppendKeys(document, &keys).IgnoreError();
                for (std::string& key : keys) {
                  if (index.HashKey(key) != key_hash) continue;
                  const auto [known, is_new] = ids.try_emplace(key, id);
                  if (!is_new && known->second != id)
                    status = Duplicates(collection, index, document, key, known->second, id);
                }
                return true;
              }));
          return status.ok();
        });
        ALOS_RETURN_IF_ERROR(status);
      }
    }
    return absl::OkStatus();
  }

  const ShardContext<Policies>* const context_;
  const Shards* const shards_;
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_UNIQUE_ENFORCER_H_
