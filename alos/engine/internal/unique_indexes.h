// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The unique indexes of one collection: who holds which key, and what a write does to that.

#ifndef ALOS_ENGINE_INTERNAL_UNIQUE_INDEXES_H_
#define ALOS_ENGINE_INTERNAL_UNIQUE_INDEXES_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/epoch.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/index/index_definition.h"
#include "alos/index/unique_keys.h"
#include "alos/query/filter.h"
#include "alos/query/internal/describe.h"
#include "xxhash.h"

namespace alos::engine_internal {

// One unique index: a table from the hash of a key to the hash (DocumentHash) of the `_id` of the
// document that holds it. A hash is no proof: whoever finds another document's looks at its newest
// version. An entry without such a document is stale and means nothing.
//
// Threads: a stripe's members under its mutex; everything else is constant or atomic.
// Cost: some 20 to 40 bytes of memory per key.
struct UniqueIndex {
  enum class State : std::uint8_t {
    kUnbuilt,   // since the database was opened: nobody may write before it is built
    kBuilding,  // writers keep it up to date, but may make duplicates
    kEnforced,
  };

  struct Stripe {
    absl::Mutex mutex;
    absl::flat_hash_map<std::uint64_t, std::uint64_t> holders ABSL_GUARDED_BY(mutex);
    // Further holders: of another key with this hash, or of a key that several hold, which happens
    // while the index is being built, and after the power failure of an `async` database.
    absl::flat_hash_map<std::uint64_t, std::vector<std::uint64_t>> more ABSL_GUARDED_BY(mutex);

    // Calls `visit(holder)` until it returns false.
    template <class Visit>
    void ForEachHolder(std::uint64_t hash, Visit&& visit) const
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
      const auto first = holders.find(hash);
      if (first == holders.end() || !visit(first->second) || more.empty()) return;
      const auto others = more.find(hash);
      if (others == more.end()) return;
      for (const std::uint64_t holder : others->second) {
        if (!visit(holder)) return;
      }
    }

    void Add(std::uint64_t hash, std::uint64_t holder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
      const auto [first, is_new] = holders.try_emplace(hash, holder);
      if (is_new || first->second == holder) return;
      std::vector<std::uint64_t>& others = more[hash];
      if (std::find(others.begin(), others.end(), holder) == others.end()) others.push_back(holder);
    }

    void Remove(std::uint64_t hash, std::uint64_t holder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
      const auto first = holders.find(hash);
      if (first == holders.end()) return;
      const auto others = more.find(hash);
      if (others == more.end()) {
        if (first->second == holder) holders.erase(first);
        return;
      }
      if (first->second == holder) {
        first->second = others->second.back();
        others->second.pop_back();
      } else {
        std::erase(others->second, holder);
      }
      if (others->second.empty()) more.erase(others);
    }
  };

  // kInvalidArgument when the paths or the filter are none.
  static absl::StatusOr<std::shared_ptr<UniqueIndex>> Make(IndexDefinition definition,
                                                           std::uint64_t seed, State state) {
    ALOS_ASSIGN_OR_RETURN(UniqueKeyExtractor extractor,
                          UniqueKeyExtractor::Make(definition.paths, definition.is_sparse));
    std::optional<Filter> partial;
    if (!definition.partial_filter.empty()) {
      ALOS_ASSIGN_OR_RETURN(const ValueView filter, ValueView::Parse(definition.partial_filter));
      ALOS_ASSIGN_OR_RETURN(partial, Filter::Compile(filter));
    }
    return std::shared_ptr<UniqueIndex>(new UniqueIndex(std::move(definition), std::move(extractor),
                                                        std::move(partial), seed, state));
  }

  // Appends the keys of `document`, each once.
  absl::Status AppendKeys(ValueView document, std::vector<std::string>* keys) const {
    if (partial && !partial->Matches(document)) return absl::OkStatus();
    const std::size_t before = keys->size();
    const absl::Status visited = extractor.Visit(
        document,
        [&](std::string_view key, UniqueKeyExtractor::Values) { keys->emplace_back(key); });
    std::sort(keys->begin() + before, keys->end());
    keys->erase(std::unique(keys->begin() + before, keys->end()), keys->end());
    return visited;
  }

  bool HoldsKey(ValueView document, std::string_view key) const {
    if (partial && !partial->Matches(document)) return false;
    bool found = false;
    extractor
        .Visit(document, [&](std::string_view other,
                             UniqueKeyExtractor::Values) { found = found || other == key; })
        .IgnoreError();  // a document that was stored has keys
    return found;
  }

  // "{email: "x"}": the values of `document` that `key` stands for.
  std::string DescribeKey(ValueView document, std::string_view key) const {
    std::string text;
    extractor
        .Visit(document,
               [&](std::string_view other, UniqueKeyExtractor::Values values) {
                 if (other != key || !text.empty()) return;
                 for (std::size_t i = 0; i < values.size(); ++i) {
                   absl::StrAppend(&text, i == 0 ? "{" : ", ",
                                   query_internal::DescribeText(definition.paths[i]), ": ",
                                   values[i] ? query_internal::Describe(*values[i]) : "null");
                 }
                 text += "}";
               })
        .IgnoreError();
    return text;
  }

  std::uint64_t HashKey(std::string_view key) const {
    return XXH3_64bits_withSeed(key.data(), key.size(), seed);
  }
  // The upper bits: the table within takes the lower ones.
  Stripe& StripeOf(std::uint64_t hash) { return stripes[hash >> (64 - kStripeBits)]; }

  static constexpr int kStripeBits = 5;

  const IndexDefinition definition;  // its id is not set
  const UniqueKeyExtractor extractor;
  const std::optional<Filter> partial;
  const std::uint64_t seed;  // secret, so that nobody can make keys whose hashes agree
  std::atomic<State> state;  // changes with all stripes locked
  std::array<Stripe, std::size_t{1} << kStripeBits> stripes;

 private:
  UniqueIndex(IndexDefinition what, UniqueKeyExtractor keys, std::optional<Filter> filter,
              std::uint64_t hash_seed, State initial)
      : definition(std::move(what)),
        extractor(std::move(keys)),
        partial(std::move(filter)),
        seed(hash_seed),
        state(initial) {}
};

// The unique indexes that a write has to keep. Constant once published.
using UniqueIndexList = std::vector<std::shared_ptr<UniqueIndex>>;

// Threads: list() inside an epoch guard; a writer calls it with a writer role held, so that whoever
// takes each role once after Replace knows that no writer is left that has the list of before.
// Replace under definitions(). Lifetime: the epoch manager must outlive it.
class UniqueIndexes {
 public:
  explicit UniqueIndexes(EpochManager* epochs) : epochs_(epochs) {}
  ~UniqueIndexes() { delete list_.load(std::memory_order_relaxed); }
  UniqueIndexes(const UniqueIndexes&) = delete;
  UniqueIndexes& operator=(const UniqueIndexes&) = delete;

  // nullptr: there are none.
  const UniqueIndexList* list() const { return list_.load(std::memory_order_acquire); }

  UniqueIndexList Copy() const {
    const auto guard = epochs_->Enter();
    const UniqueIndexList* current = list();
    return current == nullptr ? UniqueIndexList() : *current;
  }

  void Replace(UniqueIndexList list) ABSL_EXCLUSIVE_LOCKS_REQUIRED(definitions_) {
    const UniqueIndexList* next = list.empty() ? nullptr : new UniqueIndexList(std::move(list));
    if (const UniqueIndexList* old = list_.exchange(next, std::memory_order_acq_rel))
      epochs_->Retire([old] { delete old; });
  }

  // Held while an index of the collection is created or dropped, or built at the first write.
  absl::Mutex& definitions() ABSL_LOCK_RETURNED(definitions_) { return definitions_; }

 private:
  EpochManager* const epochs_;
  std::atomic<const UniqueIndexList*> list_{nullptr};
  absl::Mutex definitions_;
};

// The keys that a document has in each index of a list.
using UniqueKeys = absl::InlinedVector<std::vector<std::string>, 1>;

inline absl::Status AppendUniqueKeys(const UniqueIndexList& list, ValueView document,
                                     UniqueKeys* keys) {
  keys->resize(list.size());
  for (std::size_t i = 0; i < list.size(); ++i)
    ALOS_RETURN_IF_ERROR(list[i]->AppendKeys(document, &(*keys)[i]));
  return absl::OkStatus();
}

// Under this name the error about a duplicate key carries the `_id` of the document that has it.
inline constexpr std::string_view kDuplicateOfPayload = "alos/duplicate_of";

// And under this one the number of its collection, as text, where a commit found it.
inline constexpr std::string_view kDuplicateInPayload = "alos/duplicate_in";

inline absl::Status DuplicateKey(std::string_view collection, const UniqueIndex& index,
                                 ValueView document, std::string_view key,
                                 std::string_view holder_id) {
  absl::Status status = absl::AlreadyExistsError(
      absl::StrCat("duplicate key in unique index '", index.definition.name(), "' of collection '",
                   collection, "': ", index.DescribeKey(document, key)));
  status.SetPayload(kDuplicateOfPayload, absl::Cord(holder_id));
  return status;
}

// What one commit does to the tables, from the check to the end of the commit.
//
//   AddDocument(...) for each document; Lock(); Check(...); the commit; Apply(). Then it is
//   destroyed, which unlocks.
//
// Lock order of a write: definitions() of the collection (given back before the rest), the writer
// roles of shards by number, stripes by address, and what the durability policy has within. Nobody
// who holds a stripe takes one of the others, so that no circle of waiting can close.
// Threads: one. Lifetime: the lists and what the documents are views of must outlive it; the caller
// has an epoch guard, and the writer roles of the documents' shards.
class UniqueWrite {
 public:
  // Looks whether the newest version of the document with this hash holds `key`, and is not
  // `than_id`; then gives its id.
  using FindHolder = absl::FunctionRef<absl::StatusOr<bool>(
      std::uint32_t collection, const UniqueIndex& index, std::string_view key,
      std::uint64_t holder, std::string* holder_id)>;

  UniqueWrite() = default;
  ~UniqueWrite() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (absl::Mutex* mutex : locked_) mutex->Unlock();
  }
  UniqueWrite(const UniqueWrite&) = delete;
  UniqueWrite& operator=(const UniqueWrite&) = delete;

  // A document, by its hash, has the keys `after` in place of `before`. `document`: its new
  // version, for messages.
  void AddDocument(std::uint32_t collection, std::string_view collection_name,
                   const UniqueIndexList& list, std::uint64_t hash, std::string_view id,
                   ValueView document, UniqueKeys before, UniqueKeys after) {
    before.resize(list.size());
    after.resize(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto add = [&](std::string key, bool adds) {
        const std::uint64_t key_hash = list[i]->HashKey(key);
        changes_.push_back({list[i].get(), key_hash, hash, adds, collection, collection_name, id,
                            document, std::move(key)});
      };
      // Both are sorted. Keys that stay are nobody else's business.
      auto old_key = before[i].begin();
      for (std::string& key : after[i]) {
        for (; old_key != before[i].end() && *old_key < key; ++old_key)
          add(std::move(*old_key), false);
        if (old_key != before[i].end() && *old_key == key) {
          ++old_key;
        } else {
          add(std::move(key), true);
        }
      }
      for (; old_key != before[i].end(); ++old_key) add(std::move(*old_key), false);
    }
  }

  bool is_empty() const { return changes_.empty(); }

  void Lock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (const Change& change : changes_)
      locked_.push_back(&change.index->StripeOf(change.key_hash).mutex);
    std::sort(locked_.begin(), locked_.end(), std::less<>());
    locked_.erase(std::unique(locked_.begin(), locked_.end()), locked_.end());
    for (absl::Mutex* mutex : locked_) mutex->Lock();
  }

  // kAlreadyExists when a key is somebody else's; another error when that cannot be told.
  absl::Status Check(FindHolder find_holder) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    absl::flat_hash_map<std::pair<const UniqueIndex*, std::string_view>, const Change*> added;
    for (const Change& change : changes_) {
      if (!change.adds || change.index->state.load() != UniqueIndex::State::kEnforced) continue;
      if (changes_.size() > 1) {
        const auto [other, is_new] = added.try_emplace({change.index, change.key}, &change);
        if (!is_new) return Duplicate(change, other->second->id);
      }
      absl::Status status;
      change.index->StripeOf(change.key_hash)
          .ForEachHolder(change.key_hash, [&](std::uint64_t holder) {
            if (holder == change.holder || IsReleased(change, holder)) return true;
            std::string id;
            const absl::StatusOr<bool> holds =
                find_holder(change.collection, *change.index, change.key, holder, &id);
            if (!holds.ok()) {
              status = holds.status();
            } else if (*holds) {
              status = Duplicate(change, id);
            }
            return status.ok();
          });
      ALOS_RETURN_IF_ERROR(status);
    }
    return absl::OkStatus();
  }

  // A key that somebody has put into a table ahead of the commit.
  struct Added {
    UniqueIndex* index;
    std::uint64_t key_hash;
    std::uint64_t holder;
    std::uint32_t collection;
    std::string key;
  };
  // Puts the new keys into the tables, but leaves the old ones: the commit comes later, after
  // another Lock, and nothing changes the list of indexes before that.
  void Add(std::vector<Added>* added) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (const Change& change : changes_) {
      if (!change.adds) continue;
      change.index->StripeOf(change.key_hash).Add(change.key_hash, change.holder);
      added->push_back(
          {change.index, change.key_hash, change.holder, change.collection, change.key});
    }
  }

  // Once the commit is certain.
  void Apply() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (const Change& change : changes_) {
      if (!change.adds)
        change.index->StripeOf(change.key_hash).Remove(change.key_hash, change.holder);
    }
    for (const Change& change : changes_) {
      if (change.adds) change.index->StripeOf(change.key_hash).Add(change.key_hash, change.holder);
    }
  }

 private:
  struct Change {
    UniqueIndex* index;
    std::uint64_t key_hash;
    std::uint64_t holder;
    bool adds;
    std::uint32_t collection;
    std::string_view collection_name;
    std::string_view id;
    ValueView document;
    std::string key;
  };

  static absl::Status Duplicate(const Change& change, std::string_view holder_id) {
    absl::Status status =
        DuplicateKey(change.collection_name, *change.index, change.document, change.key, holder_id);
    status.SetPayload(kDuplicateInPayload, absl::Cord(absl::StrCat(change.collection)));
    return status;
  }

  // Whether this very commit takes the key from the holder.
  bool IsReleased(const Change& added, std::uint64_t holder) const {
    return std::any_of(changes_.begin(), changes_.end(), [&](const Change& change) {
      return !change.adds && change.index == added.index && change.holder == holder &&
             change.key == added.key;
    });
  }

  std::vector<Change> changes_;
  absl::InlinedVector<absl::Mutex*, 4> locked_;
};

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_UNIQUE_INDEXES_H_
