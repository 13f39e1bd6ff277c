// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The code that ships, with the atomics and locks of the model checker Relacy. README.md says what
// is modelled, within which bounds, and what that does not tell.
//
// Each model has to hold, and to break under each of its seeded bugs.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "alos/base/copy_on_write.h"
#include "alos/base/epoch.h"
#include "alos/base/file_system.h"
#include "alos/base/queue_gauge.h"
#include "alos/engine/internal/writer_lock.h"
#include "alos/index/primary_index.h"
#include "alos/storage/growable_mapping.h"
#include "alos/txn/timestamp_oracle.h"
#include "gtest/gtest.h"
#include "plugins/cache/lru_cache.h"
#include "plugins/durability/sync.h"
#include "testing/models/model_atomics.h"

namespace alos {

// Enters epochs for the threads of a model, which the system does not know.
struct EpochManagerPeer {
  template <class Atomics>
  static auto* TakeSlot(BasicEpochManager<Atomics>& manager) {
    return manager.registry_->Take();
  }
  template <class Atomics, class Slot>
  static auto Enter(BasicEpochManager<Atomics>& manager, Slot* slot) {
    return typename BasicEpochManager<Atomics>::Guard(manager, slot);
  }
};

namespace models {
namespace {

// Memory as programs have it: a read or write while another thread writes is an error.
using Plain = rl::var<int>;
constexpr int kDestroyed = -1;

// A place that one thread writes and others read, beside what is modelled.
template <class T, Bug kBug>
using Place = typename ModelAtomics<kBug>::template Atomic<T>;

// A thread's part in a manager. Takes the slot when it is made.
template <Bug kBug>
class EpochUser {
 public:
  explicit EpochUser(BasicEpochManager<ModelAtomics<kBug>>* manager)
      : manager_(manager), slot_(EpochManagerPeer::TakeSlot(*manager)) {}
  auto Enter() { return EpochManagerPeer::Enter(*manager_, slot_); }

 private:
  BasicEpochManager<ModelAtomics<kBug>>* const manager_;
  base_internal::BasicEpochSlot<ModelAtomics<kBug>>* const slot_;
};

// --- Epoch reclamation. One replaces an object, retires the old one and collects; two read, one of
// whom nobody knows yet.

template <Bug kBug>
struct EpochModel : rl::test_suite<EpochModel<kBug>, 3> {
  Plain objects[2];
  Place<Plain*, kBug> place{&objects[0]};
  BasicEpochManager<ModelAtomics<kBug>> epochs;
  EpochUser<kBug> first{&epochs};

  void before() { objects[0]($) = 10; }

  void thread(unsigned number) {
    if (number == 0) {
      objects[1]($) = 11;
      Plain* const old = place.exchange(&objects[1], std::memory_order_acq_rel);
      epochs.Retire([old] { (*old)($) = kDestroyed; });
      epochs.Collect();
    } else if (number == 1) {
      Read(&first);
    } else {
      EpochUser<kBug> second(&epochs);
      Read(&second);
    }
  }
  void Read(EpochUser<kBug>* user) {
    const auto guard = user->Enter();
    Plain* const found = place.load(std::memory_order_acquire);
    RL_ASSERT((*found)($) == 10 + (found - objects));
  }
};

// Two collections, of which the second takes what the first one left, and two readings: who came in
// between holds back nothing that was unlinked before, and loses nothing that was not.
template <Bug kBug>
struct EpochTwiceModel : rl::test_suite<EpochTwiceModel<kBug>, 2> {
  Plain objects[3];
  Place<Plain*, kBug> place{&objects[0]};
  BasicEpochManager<ModelAtomics<kBug>> epochs;
  EpochUser<kBug> reader{&epochs};

  void before() { objects[0]($) = 10; }

  void thread(unsigned number) {
    for (int i = 1; i <= 2; ++i) {
      if (number == 0) {
        objects[i]($) = 10 + i;
        Plain* const old = place.exchange(&objects[i], std::memory_order_acq_rel);
        epochs.Retire([old] { (*old)($) = kDestroyed; });
        epochs.Collect();
      } else {
        const auto guard = reader.Enter();
        Plain* const found = place.load(std::memory_order_acquire);
        RL_ASSERT((*found)($) == 10 + (found - objects));
      }
    }
  }
};

// --- Short reads and the floor of compaction (alos/txn/snapshot_registry.h): a read takes the
// visible timestamp inside its guard; who reclaims reads the floor first, then waits for guards.

template <Bug kBug>
struct FloorModel : rl::test_suite<FloorModel<kBug>, 3> {
  Plain versions[3];  // of one document, by their timestamp
  BasicTimestampOracle<ModelAtomics<kBug>, 2> oracle{1};
  BasicEpochManager<ModelAtomics<kBug>> epochs;
  EpochUser<kBug> reader{&epochs};

  void before() { versions[1]($) = 101; }

  void thread(unsigned number) {
    if (number == 0) {
      const std::uint64_t timestamp = oracle.Allocate();
      versions[timestamp]($) = 102;
      oracle.Install(timestamp);
    } else if (number == 1) {
      const auto guard = reader.Enter();
      const std::uint64_t timestamp = oracle.visible();
      RL_ASSERT(versions[timestamp]($) == 100 + static_cast<int>(timestamp));
    } else if (oracle.visible() == 2) {
      epochs.Retire([this] { versions[1]($) = kDestroyed; });
      epochs.Collect();
    }
  }
};

// --- The map of a log is outgrown while two read it. What the end says is there is found, in
// whichever map.

template <Bug kBug>
struct MapGrowthModel : rl::test_suite<MapGrowthModel<kBug>, 3> {
  struct Map {
    explicit Map(Plain* c) : cells(c) {}
    ~Map() { cells[0]($) = cells[1]($) = kDestroyed; }
    Plain* data() const { return cells; }
    Plain* const cells;
  };
  Plain small[2];  // has room for one record; what is behind it is not the file
  Plain large[2];
  Place<std::uint64_t, kBug> end{0};
  BasicEpochManager<ModelAtomics<kBug>> epochs;
  GrowableMapping<Map, ModelAtomics<kBug>> mapping{&epochs};
  EpochUser<kBug> readers[2] = {EpochUser<kBug>(&epochs), EpochUser<kBug>(&epochs)};

  void before() {
    small[0]($) = 10;
    small[1]($) = large[0]($) = large[1]($) = 0;
    mapping.Replace(std::make_unique<Map>(small));
    end.store(1, std::memory_order_release);
  }

  void thread(unsigned number) {
    if (number == 0) {
      large[0]($) = 10;  // pages of a file are in each of its maps
      mapping.Replace(std::make_unique<Map>(large));
      mapping->data()[1]($) = 11;
      end.store(2, std::memory_order_release);
      epochs.Collect();
      return;
    }
    const auto guard = readers[number - 1].Enter();
    const std::uint64_t records = end.load(std::memory_order_acquire);
    for (std::uint64_t i = 0; i < records; ++i)
      RL_ASSERT((*mapping.At(i))($) == 10 + static_cast<int>(i));
  }
};

// --- The state of the indexes is changed by two while one reads it.

template <Bug kBug>
struct IndexSwapModel : rl::test_suite<IndexSwapModel<kBug>, 3> {
  struct State {
    State() { Set(0); }
    State(const State& other) { Set(other.segments($)); }
    ~State() { Set(kDestroyed); }
    void Set(int value) { segments($) = covered($) = value; }
    mutable Plain segments;
    mutable Plain covered;

    // Never given to another, so that it can be told that it was destroyed.
    static void* operator new(std::size_t) { return memory[used++].data(); }
    static void operator delete(void*) {}
    alignas(64) static inline std::array<std::array<char, 256>, 4> memory;
    static inline std::size_t used = 0;
  };
  static_assert(sizeof(State) <= 256);

  BasicEpochManager<ModelAtomics<kBug>> epochs;
  CopyOnWrite<State, ModelAtomics<kBug>> state{(State::used = 0, &epochs)};
  EpochUser<kBug> reader{&epochs};

  void thread(unsigned number) {
    if (number == 0) {
      const auto guard = reader.Enter();
      const State* const found = state.Get();
      RL_ASSERT(found->segments($) == found->covered($));
      return;
    }
    state.Change([](State* next) {
      next->Set(next->segments($) + 1);
      return true;
    });
    if (number == 1) epochs.Collect();
  }
  void after() { RL_ASSERT(state.Get()->segments($) == 2); }
};

// --- The writer role: three want it. One has it, the others are counted.

template <Bug kBug>
struct WriterRoleModel : rl::test_suite<WriterRoleModel<kBug>, 3> {
  Plain tail;
  typename ModelAtomics<kBug>::Mutex role;
  BasicQueueGauge<ModelAtomics<kBug>> waiting{"writers", 0, ""};

  void before() { tail($) = 0; }

  void thread(unsigned) {
    const engine_internal::BasicWriterLock<ModelAtomics<kBug>> lock(&role, &waiting);
    tail($) = tail($) + 1;
    RL_ASSERT(waiting.depth() <= 3);
  }
  void after() {
    RL_ASSERT(tail($) == 3);
    RL_ASSERT(waiting.depth() == 0);
    RL_ASSERT(waiting.statistics().high_water <= 3);
  }
};

// --- The journal in sync mode: two commit, and wait until it is durable, while the flusher takes
// group after group. What is visible has been flushed, what was committed becomes visible, and when
// the log is closed both its threads end.

// A journal's file: of its groups it keeps which LSNs were flushed.
struct ModelDisk {
  Plain flushed[4];
};
struct ModelFile {
  ModelDisk* disk;
  std::uint64_t written = 0;
  std::uint64_t durable = 0;

  absl::Status Truncate(std::uint64_t) { return absl::OkStatus(); }
  absl::Status Allocate(std::uint64_t) { return absl::OkStatus(); }
  absl::Status WriteAt(std::uint64_t, std::string_view bytes) {
    if (bytes.starts_with("AGRP")) std::memcpy(&written, bytes.data() + 24, 8);
    return absl::OkStatus();
  }
  absl::Status Sync() {
    while (durable < written) disk->flushed[++durable]($) = 1;
    return absl::OkStatus();
  }
};
struct ModelFileSystem {
  using FileType = ModelFile;
  ModelDisk* disk;

  absl::StatusOr<std::unique_ptr<ModelFile>> Open(const std::string&, OpenMode) {
    return std::unique_ptr<ModelFile>(new ModelFile{disk});
  }
  absl::Status Remove(const std::string&) { return absl::OkStatus(); }
  absl::Status SyncDirectory(const std::string&) { return absl::OkStatus(); }
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string&) {
    return std::vector<std::string>();
  }
};

template <Bug kBug>
struct JournalModel : rl::test_suite<JournalModel<kBug>, 3> {
  using Atomics = ModelAtomics<kBug>;
  using Log = SyncDurability::Log<ModelFileSystem, Atomics>;
  ModelDisk disk;
  ModelFileSystem file_system{&disk};
  Place<int, Bug::kNone> acknowledged{0};
  std::unique_ptr<Log> owner;
  Log* log = nullptr;

  void before() {
    for (Plain& flushed : disk.flushed) flushed($) = 0;
    Atomics::bodies.clear();
    DurabilityOptions options;
    options.sync_shards = [] { return absl::OkStatus(); };
    owner = *Log::Open(file_system, options);
    log = owner.get();
  }

  void thread(unsigned number) {
    if (number == 0) return Atomics::bodies[0]();  // the flusher
    const std::uint64_t timestamp = Commit();
    log->NotifyVisible(timestamp, [this](absl::Status status) {
      RL_ASSERT(status.ok());
      acknowledged.fetch_add(1, std::memory_order_acq_rel);
    });
    CheckVisible();
    if (number == 2) return Atomics::bodies[1]();  // the checkpointer
    while (acknowledged.load(std::memory_order_acquire) < 2) Atomics::Yield();
    RL_ASSERT(log->visible_timestamp() == 2);
    CheckVisible();
    owner.reset();  // stops and joins both
  }

  std::uint64_t Commit() {
    const CommitRecord record{.bytes = "record"};
    return *log->Commit([&](std::uint64_t) { return absl::MakeConstSpan(&record, 1); }, {});
  }
  void CheckVisible() {
    const std::uint64_t visible = log->visible_timestamp();
    for (std::uint64_t i = 1; i <= visible; ++i) RL_ASSERT(disk.flushed[i]($) == 1);
  }
};

// --- Commits become visible in order, none stays behind, whichever finishes first.

template <Bug kBug>
struct OracleModel : rl::test_suite<OracleModel<kBug>, 3> {
  BasicTimestampOracle<ModelAtomics<kBug>, 4> oracle{0};
  Plain installed[3];

  void thread(unsigned number) {
    if (number == 2) {
      const std::uint64_t visible = oracle.visible();
      for (std::uint64_t i = 1; i <= visible; ++i) RL_ASSERT(installed[i]($) == 7);
      return;
    }
    const std::uint64_t timestamp = oracle.Allocate();
    installed[timestamp]($) = 7;
    oracle.Install(timestamp);
  }
  void after() { RL_ASSERT(oracle.visible() == 2); }
};

// With a window of one, in which each waits for the one before.
template <Bug kBug>
struct OracleWindowModel : rl::test_suite<OracleWindowModel<kBug>, 3> {
  BasicTimestampOracle<ModelAtomics<kBug>, 1> oracle{0};
  Plain installed[4];

  void thread(unsigned) {
    const std::uint64_t timestamp = oracle.Allocate();
    installed[timestamp]($) = 7;
    oracle.Install(timestamp);
    const std::uint64_t visible = oracle.visible();
    for (std::uint64_t i = 1; i <= visible; ++i) RL_ASSERT(installed[i]($) == 7);
  }
  void after() { RL_ASSERT(oracle.visible() == 3); }
};

// --- The primary index: a writer replaces a version and adds a key for which the table grows,
// while two look keys up. What they find has been written; a key that was there is found. (Outgrown
// tables stay to the end: that they go in time is EpochModel's.)

template <Bug kBug>
struct PrimaryIndexModel : rl::test_suite<PrimaryIndexModel<kBug>, 3> {
  static constexpr std::uint64_t kBefore = 2;  // keys; with a capacity of 4 the next one grows it
  static constexpr std::uint64_t kNewer = 4;   // the record that replaces record 0
  Plain records[5];
  BasicEpochManager<ModelAtomics<kBug>> epochs;
  BasicPrimaryIndex<ModelAtomics<kBug>, 4> index{&epochs};

  static std::uint64_t OffsetOf(std::uint64_t record) { return (record + 2) * 8; }
  static std::uint64_t RecordAt(std::uint64_t offset) { return offset / 8 - 2; }
  static std::uint64_t KeyOf(std::uint64_t record) { return record == kNewer ? 0 : record; }
  static std::uint64_t HashOf(std::uint64_t key) { return (key + 1) << 44 | key * 3; }
  static std::uint64_t HashAt(std::uint64_t offset) { return HashOf(KeyOf(RecordAt(offset))); }

  void Write(std::uint64_t record, std::uint64_t previous) {
    records[record]($) = static_cast<int>(100 + KeyOf(record));
    index.Put(HashOf(KeyOf(record)), previous, OffsetOf(record), &HashAt);
  }
  std::uint64_t Find(std::uint64_t key) {
    return index.Find(HashOf(key), [&](std::uint64_t offset) {
      return records[RecordAt(offset)]($) == static_cast<int>(100 + key);
    });
  }

  void before() {
    for (std::uint64_t i = 0; i < kBefore; ++i) Write(i, 0);
  }
  void thread(unsigned number) {
    if (number == 0) {
      Write(kNewer, OffsetOf(0));
      Write(kBefore, 0);
    } else if (number == 1) {
      const std::uint64_t found = Find(0);
      RL_ASSERT(found == OffsetOf(0) || found == OffsetOf(kNewer));
    } else {
      const std::uint64_t found = Find(kBefore);
      RL_ASSERT(found == 0 || found == OffsetOf(kBefore));
      RL_ASSERT(Find(1) == OffsetOf(1));
    }
  }
};

// --- A document goes out of the cache, and another takes its place, while it is read: who reads it
// has it to the end, and nobody finds it afterwards.

template <Bug kBug>
struct CacheModel : rl::test_suite<CacheModel<kBug>, 3> {
  class Document {
   public:
    explicit Document(int content) { (*content_)($) = content; }
    Document(Document&&) = default;
    ~Document() {
      if (content_ != nullptr) (*content_)($) = kDestroyed;
    }
    // Where it is: the visitor reads it.
    operator std::string_view() const {
      return {reinterpret_cast<const char*>(content_.get()), sizeof(Plain)};
    }
    std::size_t size() const { return 1; }
    std::size_t capacity() const { return 1; }
    void shrink_to_fit() {}

   private:
    std::unique_ptr<Plain> content_ = std::make_unique<Plain>();
  };
  static constexpr std::uint64_t kKey = 8;
  using Cache = BasicLruCache<ModelAtomics<kBug>, Document>;
  Cache cache{Cache::kEntryOverheadBytes + 1};  // room for one

  void before() { cache.Insert(kKey, Document(5)); }

  // Whether the key was found.
  bool Read(std::uint64_t key, int content) {
    return cache.Lookup(key, [content](std::string_view document) {
      auto* const found = reinterpret_cast<Plain*>(const_cast<char*>(document.data()));
      RL_ASSERT((*found)($) == content);
    });
  }
  void thread(unsigned number) {
    if (number == 0) {
      cache.Erase(kKey);
      RL_ASSERT(!Read(kKey, 5));
    } else if (number == 1) {
      Read(kKey, 5);
    } else {
      cache.Insert(kKey + 1, Document(6));  // takes the place, if it is not empty yet
      RL_ASSERT(Read(kKey + 1, 6));
    }
  }
  void after() {
    RL_ASSERT(cache.statistics().entries == 1);
    RL_ASSERT(cache.used_bytes() == Cache::kEntryOverheadBytes + 1);
  }
};

struct Found {
  bool holds = false;
  std::uint64_t executions = 0;
  std::string report;
};

// `preemptions`: how often, in one execution, a thread is stopped that could go on; -1: any number.
template <class Model>
Found Run(int preemptions) {
  rl::test_params params;
  std::ostringstream report;
  params.output_stream = &report;
  params.progress_stream = &report;
  params.search_type =
      preemptions < 0 ? rl::fair_full_search_scheduler_type : rl::fair_context_bound_scheduler_type;
  params.context_bound = static_cast<unsigned>(preemptions < 0 ? 0 : preemptions);
  params.execution_depth_limit = 20'000;
  Found found;
  found.holds = rl::simulate<Model>(params);
  found.executions = params.stop_iteration;
  found.report = report.str();
  return found;
}

// ALOS_MODEL_PREEMPTIONS adds to what the models that do not run to the end are allowed.
template <template <Bug> class Model, Bug... kBugs>
void Check(int preemptions) {
  if (const char* const more = std::getenv("ALOS_MODEL_PREEMPTIONS");
      more != nullptr && preemptions >= 0)
    preemptions += std::atoi(more);
  const Found good = Run<Model<Bug::kNone>>(preemptions);
  EXPECT_TRUE(good.holds) << good.report;
  std::cout << good.executions << " executions, ";
  if (preemptions < 0)
    std::cout << "all there are\n";
  else
    std::cout << "all with at most " << preemptions << " preemptions\n";
  const auto breaks = [](Bug bug, const Found& found) {
    EXPECT_FALSE(found.holds) << "not noticed: bug " << static_cast<int>(bug);
    std::cout << "bug " << static_cast<int>(bug) << " after " << found.executions << "\n";
  };
  (breaks(kBugs, Run<Model<kBugs>>(preemptions)), ...);
}

TEST(Models, EpochsKeepWhatIsRead) {
  Check<EpochModel, Bug::kNoRelease, Bug::kNoReadModify, Bug::kRelaxedModify>(3);
}
TEST(Models, EpochsKeepWhatIsReadThroughTwoCollections) {
  Check<EpochTwiceModel, Bug::kNoRelease, Bug::kNoReadModify, Bug::kRelaxedModify>(4);
}
TEST(Models, TheFloorIsBelowEveryShortRead) {
  Check<FloorModel, Bug::kNoRelease, Bug::kNoReadModify, Bug::kRelaxedModify>(4);
}
TEST(Models, MapsGrowUnderReaders) {
  Check<MapGrowthModel, Bug::kNoRelease, Bug::kNoAcquire, Bug::kNoReadModify>(3);
}
TEST(Models, IndexesAreReplacedWhole) {
  Check<IndexSwapModel, Bug::kRelaxedModify, Bug::kNoAcquire, Bug::kNoLock>(3);
}
TEST(Models, OneHasTheWriterRole) { Check<WriterRoleModel, Bug::kNoLock, Bug::kNoReadModify>(3); }
TEST(Models, JournalGroupsAreHandedOver) {
  Check<JournalModel, Bug::kNoRelease, Bug::kNoAcquire, Bug::kNoWakeUp>(2);
}
TEST(Models, CommitsBecomeVisibleInOrder) {
  Check<OracleModel, Bug::kNoRelease, Bug::kNoAcquire, Bug::kNoTotalOrder>(4);
}
TEST(Models, CommitsWaitForTheirWindow) { Check<OracleWindowModel, Bug::kNoRelease>(3); }
TEST(Models, ThePrimaryIndexGrowsUnderReaders) {
  Check<PrimaryIndexModel, Bug::kNoRelease, Bug::kNoAcquire>(3);
}
TEST(Models, TheCacheDestroysLast) { Check<CacheModel, Bug::kRelaxedModify>(5); }

}  // namespace
}  // namespace models
}  // namespace alos
