// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a client does to an engine while the disk is being tormented, and what may be found
// afterwards. One thread, one seed: the same operations in the same order.

#ifndef ALOS_TESTING_CRASH_WORKLOAD_H_
#define ALOS_TESTING_CRASH_WORKLOAD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "alos/base/check.h"
#include "alos/base/log.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/engine/engine.h"
#include "alos/storage/atomic_file.h"
#include "alos/storage/manifest.h"
#include "testing/simulated_file_system.h"

namespace alos::crash {

inline constexpr char kDataPath[] = "/data";
inline constexpr char kDatabasePath[] = "/data/d";
inline constexpr std::uint32_t kShards = 4;
// Made in this order, so that their ids are 1, 2, ...
//   a  has a unique index of `u` and an index of `g`, once they have been created
//   b  has an index of `g`
//   p  q  are written by transactions only: whatever p has, q has too, with the same number
//   t  is dropped now and then
inline constexpr const char* kCollections[] = {"a", "b", "p", "q", "t"};

// "collection/id" -> the number of its version.
using State = std::map<std::string, std::int64_t>;

inline std::string CollectionOf(std::string_view key) { return std::string(key.substr(0, 1)); }
inline std::string IdOf(std::string_view key) { return std::string(key.substr(2)); }

// Says all of itself, so that a wrong byte anywhere is seen.
inline std::string Document(std::string_view id, std::int64_t n, std::size_t padding,
                            std::string_view unique = {}) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id").String(id);
  builder.Key("n").Int(n);
  builder.Key("g").Int(n % 5);
  builder.Key("u").String(unique.empty() ? absl::StrCat(id, "#", n) : std::string(unique));
  builder.Key("padding").String(std::string(padding, static_cast<char>('a' + n % 26)));
  builder.EndDocument();
  return bytes;
}

inline Filter Where(std::string_view field, std::string_view text) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key(field).String(text);
  builder.EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}
inline Filter Where(std::string_view field, std::int64_t number) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key(field).Int(number);
  builder.EndDocument();
  return *Filter::Compile(ValueView::FromTrusted(bytes));
}

struct Operation {
  enum class Kind {
    kUpsert,
    kSeveral,  // upserts, each a commit of its own, the last of which is waited for
    kDelete,
    kTransaction,
    kRollback,     // of a transaction that has written
    kDuplicate,    // an insert that a unique index forbids
    kDrop,         // of "t"
    kCreateIndex,  // those of "a" and "b"
    kDropIndex,    // the one of "b"
    kFlush,
    kCheckpoint,
    kCompact,
    kReopen,   // Close, then open
    kAbandon,  // as a process that is killed: destroyed without Close, then opened
  } kind = Kind::kUpsert;
  std::vector<std::pair<std::string, std::int64_t>> writes;  // number 0: deleted
  std::size_t padding = 0;
};

// For the log of a run that is looked at alone.
inline std::string Describe(const Operation& operation) {
  static constexpr const char* kNames[] = {
      "upsert",       "several",    "delete", "transaction", "rollback", "duplicate", "drop",
      "create index", "drop index", "flush",  "checkpoint",  "compact",  "reopen",    "abandon"};
  std::string text = kNames[static_cast<int>(operation.kind)];
  for (const auto& [key, n] : operation.writes) absl::StrAppend(&text, " ", key, "=", n);
  return text;
}

// Draws operations.
class Generator {
 public:
  // `indexes`: the run has secondary and unique indexes. `several`: single upserts are several at
  // once.
  Generator(std::uint64_t seed, bool indexes, bool several = false, bool compacts = true)
      : random_(seed), has_indexes_(indexes), has_several_(several), compacts_(compacts) {}

  Operation Next(const State& state) {
    using Kind = Operation::Kind;
    Operation operation;
    ++number_;
    const std::uint64_t size = random_() % 16;
    operation.padding = size == 0  ? random_() % 9000
                        : size < 4 ? random_() % 1500
                                   : random_() % 120;
    const std::uint64_t choice = random_() % 100;
    if (has_indexes_ && number_ == 6) {
      operation.kind = Kind::kCreateIndex;
    } else if (choice < 22) {
      operation.kind = choice < 20 ? Kind::kTransaction : Kind::kRollback;
      const std::uint64_t pairs = 1 + random_() % 3;
      const std::uint64_t first = random_() % 4;
      for (std::uint64_t i = 0; i < pairs; ++i) {
        const std::string id = absl::StrCat((first + i) % 4);
        const std::int64_t n =
            state.contains("p/" + id) && random_() % 5 == 0 ? 0 : number_ * 10 + 1;
        operation.writes.emplace_back("p/" + id, n);
        operation.writes.emplace_back("q/" + id, n);
      }
    } else if (choice < 84) {
      const char* const names[] = {"a", "a", "b", "b", "t"};
      const std::string key = absl::StrCat(names[random_() % 5], "/k", random_() % 8);
      if (choice < 70 || !state.contains(key)) {
        operation.writes.emplace_back(key, number_ * 10);
        if (has_several_) {
          operation.kind = Kind::kSeveral;
          for (std::uint64_t i = random_() % 5; i > 0; --i) {
            operation.writes.emplace_back(absl::StrCat(names[random_() % 5], "/k", random_() % 8),
                                          ++number_ * 10);
          }
        }
      } else {
        operation.kind = Kind::kDelete;
        operation.writes.emplace_back(key, 0);
      }
    } else if (choice < 88) {
      operation.kind = has_indexes_ ? Kind::kDuplicate : Kind::kFlush;
    } else if (choice < 90) {
      operation.kind = Kind::kDrop;
      for (auto it = state.lower_bound("t/"); it != state.end() && it->first < "t0"; ++it)
        operation.writes.emplace_back(it->first, 0);
    } else if (choice < 91) {
      operation.kind = has_indexes_ ? Kind::kDropIndex : Kind::kFlush;
    } else if (choice < 93) {
      operation.kind = Kind::kFlush;
    } else if (choice < 96) {
      operation.kind = Kind::kCheckpoint;
    } else if (choice < 97) {
      operation.kind = compacts_ ? Kind::kCompact : Kind::kCheckpoint;
    } else {
      operation.kind = choice < 99 ? Kind::kReopen : Kind::kAbandon;
    }
    return operation;
  }

  std::int64_t number() const { return number_; }

 private:
  std::mt19937_64 random_;
  const bool has_indexes_;
  const bool has_several_;
  const bool compacts_;
  std::int64_t number_ = 0;
};

inline State Apply(State state, const Operation& operation) {
  if (operation.kind == Operation::Kind::kRollback) return state;
  for (const auto& [key, n] : operation.writes) {
    if (n == 0) {
      state.erase(key);
    } else {
      state[key] = n;
    }
  }
  return state;
}

// The engine under test, and one client of it.
template <class Durability>
class Client {
 public:
  using Engine = BasicEngine<Policies<Durability, SimulatedFileSystem>>;
  using Database = typename Engine::Database;

  // What does not come from the seed is kept out: when the flusher and the checkpointer wake up,
  // and with which shard a document goes.
  static EngineOptions Options() {
    EngineOptions options;
    options.data_path = kDataPath;
    options.shards = kShards;
    options.cache_bytes = 1 << 16;
    options.flush_interval = absl::InfiniteDuration();
    options.checkpoint_bytes = std::uint64_t{1} << 40;
    options.expiry_interval = absl::ZeroDuration();
    options.journal_segment_bytes = 96 << 10;
    options.unstored_index_rows_max = 0;
    options.automatic_indexes = false;
    // When it is asked for, and then all of it.
    options.compaction = false;
    options.compaction_rate_bytes = 0;
    options.history_retention = absl::ZeroDuration();
    return options;
  }

  // An empty database.
  static void Format(SimulatedFileSystem* disk) {
    Manifest manifest;
    manifest.database_id.fill('d');
    manifest.hash_seed = kHashSeed;
    manifest.shard_count = kShards;
    manifest.shards_made.resize(kShards);
    for (const char* name : kCollections) {
      manifest.collections.push_back(
          {manifest.next_collection_id++, name, std::vector<std::string>()});
    }
    ALOS_CHECK_OK(disk->CreateDirectories(kDatabasePath));
    ALOS_CHECK_OK(ReplaceFile(*disk, kDatabasePath, kManifestFileName, EncodeManifest(manifest)));
  }

  // Of "a", "b", "p" and "q".
  static std::size_t ShardOf(const std::string& key) {
    std::uint32_t collection = 1;
    while (kCollections[collection - 1] != CollectionOf(key)) ++collection;
    return engine_internal::ShardNumber(
        engine_internal::DocumentHash(collection, EncodeStringId(IdOf(key)), kHashSeed), kShards);
  }

  explicit Client(SimulatedFileSystem* disk) : disk_(disk) {}

  absl::Status Open() {
    ALOS_ASSIGN_OR_RETURN(engine_, Engine::Open(Options(), disk_));
    ALOS_ASSIGN_OR_RETURN(database_, engine_->GetOrCreateDatabase("d"));
    return absl::OkStatus();
  }
  // `orderly`: with Close.
  absl::Status End(bool orderly) {
    absl::Status status;
    if (engine_ != nullptr && orderly) {
      SettleIndexes();
      status = engine_->Close();
    }
    database_ = nullptr;
    engine_.reset();
    return status;
  }
  bool is_open() const { return database_ != nullptr; }
  Database* database() { return database_; }

  // Does it and waits until it may be acknowledged.
  absl::Status Perform(const Operation& operation) {
    using Kind = Operation::Kind;
    switch (operation.kind) {
      case Kind::kUpsert: {
        const auto& [key, n] = operation.writes.front();
        return Acknowledged(
            database_->UpsertOne(CollectionOf(key), Where("_id", IdOf(key)),
                                 ReplaceBy(Document(IdOf(key), n, operation.padding))));
      }
      case Kind::kSeveral: {
        std::uint64_t newest = 0;
        for (const auto& [key, n] : operation.writes) {
          ALOS_ASSIGN_OR_RETURN(
              const auto result,
              database_->UpsertOne(CollectionOf(key), Where("_id", IdOf(key)),
                                   ReplaceBy(Document(IdOf(key), n, operation.padding))));
          newest = result.commit_timestamp;
        }
        return database_->WaitVisible(newest);
      }
      case Kind::kDelete: {
        const std::string& key = operation.writes.front().first;
        return Acknowledged(database_->DeleteOne(CollectionOf(key), Where("_id", IdOf(key))));
      }
      case Kind::kTransaction:
      case Kind::kRollback:
        return Transact(operation);
      case Kind::kDuplicate:
        return InsertDuplicate();
      case Kind::kDrop:
        return database_->Drop("t");
      case Kind::kCreateIndex: {
        for (const char* collection : {"a", "b"}) {
          IndexDefinition index;
          index.paths = {"g"};
          index.reason = "created by a client";
          ALOS_RETURN_IF_ERROR(database_->CreateIndex(collection, index));
        }
        IndexDefinition unique;
        unique.paths = {"u"};
        unique.is_unique = true;
        unique.reason = "created by a client";
        return database_->CreateIndex("a", unique);
      }
      case Kind::kDropIndex: {
        const absl::Status dropped = database_->DropIndex("b", "g");
        return absl::IsNotFound(dropped) ? absl::OkStatus() : dropped;
      }
      case Kind::kFlush:
        return database_->Flush();
      case Kind::kCheckpoint:
        SettleIndexes();
        return database_->Checkpoint();
      case Kind::kCompact:
        SettleIndexes();
        return database_->Compact(absl::Milliseconds(50)).status();
      case Kind::kReopen:
      case Kind::kAbandon: {
        const absl::Status ended = End(operation.kind == Kind::kReopen);
        const absl::Status opened = Open();
        return ended.ok() ? opened : ended;
      }
    }
    return absl::InternalError("unreachable");
  }

  // Everything that is there, by scan; an error says what is wrong with it.
  absl::StatusOr<State> Read() {
    State found;
    for (const char* collection : kCollections) {
      absl::Status wrong;
      const absl::Status status =
          database_->Find(collection, {.force_scan = true}, [&](ValueView document) {
            wrong = TakeDocument(collection, document, &found);
            return wrong.ok();
          });
      ALOS_RETURN_IF_ERROR(status);
      ALOS_RETURN_IF_ERROR(wrong);
    }
    return found;
  }

  // Whether everything that can be asked in another way says the same as the scan.
  absl::Status CheckAgainst(const State& found, bool with_indexes) {
    std::map<std::string, std::uint64_t> counts;
    for (const auto& [key, n] : found) {
      ++counts[CollectionOf(key)];
      std::int64_t by_id = -1;
      ALOS_RETURN_IF_ERROR(database_
                               ->FindById(CollectionOf(key), EncodeStringId(IdOf(key)),
                                          [&, expected = n](ValueView document) {
                                            by_id = document.Find("n")->AsInt64();
                                          })
                               .status());
      if (by_id != n) return absl::InternalError(absl::StrCat(key, " by id is ", by_id));
    }
    for (const char* collection : kCollections) {
      ALOS_ASSIGN_OR_RETURN(const std::uint64_t count, database_->Count(collection, Filter()));
      if (count != counts[collection])
        return absl::InternalError(absl::StrCat("the count of ", collection, " is ", count));
    }
    if (!with_indexes) return absl::OkStatus();
    for (const char* collection : {"a", "b"}) {
      ALOS_RETURN_IF_ERROR(database_->WaitForIndexes(collection).status());
      for (std::int64_t g = 0; g < 5; ++g) {
        const Filter filter = Where("g", g);
        State answers[2];
        for (const bool scan : {false, true}) {
          absl::Status wrong;
          ALOS_RETURN_IF_ERROR(database_->Find(
              collection, {.filter = &filter, .force_scan = scan}, [&](ValueView document) {
                wrong = TakeDocument(collection, document, &answers[scan]);
                return wrong.ok();
              }));
          ALOS_RETURN_IF_ERROR(wrong);
        }
        if (answers[0] != answers[1]) {
          return absl::InternalError(absl::StrCat(collection, ": g = ", g, ": the index has ",
                                                  answers[0].size(), " documents, the scan ",
                                                  answers[1].size()));
        }
      }
    }
    return absl::OkStatus();
  }

  // OK if the unique index refuses what it must; `must_be_there`: there has to be one.
  absl::Status InsertDuplicate(bool must_be_there = false) {
    std::string taken;
    ALOS_RETURN_IF_ERROR(database_->Find("a", {.limit = 1}, [&](ValueView document) {
      taken = std::string(document.Find("u")->AsString());
      return false;
    }));
    if (taken.empty()) return absl::OkStatus();
    bool is_unique = false;
    ALOS_RETURN_IF_ERROR(database_->ListIndexes("a", [&](ValueView index) {
      is_unique |= index.Find("definition")->Find("unique")->AsBool();
    }));
    if (!is_unique && must_be_there) return absl::InternalError("the unique index is not there");
    if (!is_unique) return absl::OkStatus();
    const std::string document = Document("duplicate", 1, 10, taken);
    const absl::Status status =
        database_->InsertOne("a", ValueView::FromTrusted(document)).status();
    if (absl::IsAlreadyExists(status)) return absl::OkStatus();
    return status.ok() ? absl::InternalError("a duplicate was let into a unique index") : status;
  }

  static Update ReplaceBy(const std::string& document) {
    return *Update::Compile(ValueView::FromTrusted(document));
  }

 private:
  static constexpr std::uint64_t kHashSeed = 0x5EED;

  template <class Result>
  absl::Status Acknowledged(const absl::StatusOr<Result>& result) {
    ALOS_RETURN_IF_ERROR(result.status());
    return database_->WaitVisible(result->commit_timestamp);
  }

  absl::Status Transact(const Operation& operation) {
    auto transaction = database_->BeginTransaction();
    for (const auto& [key, n] : operation.writes) {
      const Filter filter = Where("_id", IdOf(key));
      if (n == 0) {
        ALOS_RETURN_IF_ERROR(transaction->DeleteOne(CollectionOf(key), filter).status());
        continue;
      }
      const std::string document = Document(IdOf(key), n, operation.padding);
      ALOS_ASSIGN_OR_RETURN(const UpdateResult updated,
                            transaction->UpdateOne(CollectionOf(key), filter, ReplaceBy(document)));
      if (updated.matched == 0) {
        ALOS_RETURN_IF_ERROR(
            transaction->InsertOne(CollectionOf(key), ValueView::FromTrusted(document)).status());
      }
    }
    if (operation.kind == Operation::Kind::kRollback) {
      transaction->Rollback();
      return absl::OkStatus();
    }
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t committed, transaction->Commit());
    return database_->WaitVisible(committed);
  }

  static absl::Status TakeDocument(const char* collection, ValueView document, State* found) {
    const std::string id(document.Find("_id")->AsString());
    const std::int64_t n = document.Find("n")->AsInt64();
    const std::size_t padding = document.Find("padding")->AsString().size();
    if (document.bytes() != Document(id, n, padding))
      return absl::InternalError(absl::StrCat(collection, "/", id, " has wrong bytes"));
    if (!found->emplace(absl::StrCat(collection, "/", id), n).second)
      return absl::InternalError(absl::StrCat(collection, "/", id, " is there twice"));
    return absl::OkStatus();
  }

  // What indexes have been built is not a matter of time any more.
  void SettleIndexes() {
    for (const char* collection : {"a", "b"}) database_->WaitForIndexes(collection).IgnoreError();
  }

  SimulatedFileSystem* const disk_;
  std::unique_ptr<Engine> engine_;
  Database* database_ = nullptr;
};

// A hundred thousand recoveries need neither be reported nor be watched for deadlocks, which absl
// does in builds that are not optimised.
inline void BeQuick(LogLevel log_level = LogLevel::kError) {
  SetMinimumLogLevel(log_level);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

// What differs, for people.
inline std::string Difference(const State& expected, const State& found) {
  std::string text;
  for (const auto& [key, n] : expected) {
    const auto other = found.find(key);
    if (other == found.end()) {
      absl::StrAppend(&text, "\n  missing ", key, " = ", n);
    } else if (other->second != n) {
      absl::StrAppend(&text, "\n  ", key, " = ", other->second, ", expected ", n);
    }
  }
  for (const auto& [key, n] : found) {
    if (!expected.contains(key)) absl::StrAppend(&text, "\n  unexpected ", key, " = ", n);
  }
  return text;
}

// "" or which pair is not whole.
inline std::string HalfTransaction(const State& found) {
  for (int i = 0; i < 4; ++i) {
    const auto p = found.find(absl::StrCat("p/", i));
    const auto q = found.find(absl::StrCat("q/", i));
    if ((p == found.end() ? 0 : p->second) != (q == found.end() ? 0 : q->second))
      return absl::StrCat("half a transaction: p/", i, " and q/", i);
  }
  return "";
}

}  // namespace alos::crash

#endif  // ALOS_TESTING_CRASH_WORKLOAD_H_
