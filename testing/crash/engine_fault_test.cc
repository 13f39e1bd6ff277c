// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Every call of the file system fails: the first, the second, ... of each kind, once and for ever,
// at work and while recovering. And a disk that is full after any number of blocks. Nothing that
// was acknowledged may be lost, whether the process is started again or power is lost; nothing may
// crash; what fails has to say so; and once the fault is gone a start finds a database that works.

#include <atomic>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "testing/crash/workload.h"
#include "testing/simulated_file_system.h"

namespace alos::crash {
namespace {

constexpr int kOperations = 45;
constexpr std::uint64_t kSeed = 20261124;

std::string FaultName(SimulatedFault fault) {
  return fault == SimulatedFault::kOnce ? "once" : "for ever";
}

// The numbers that each document may have, 0 standing for none.
class Expectation {
 public:
  explicit Expectation(bool acknowledged_is_durable)
      : acknowledged_is_durable_(acknowledged_is_durable) {}

  void Acknowledged(const Operation& operation) {
    if (operation.kind == Operation::Kind::kRollback) return;
    for (const auto& [key, n] : operation.writes) {
      if (operation.kind == Operation::Kind::kDrop || acknowledged_is_durable_) {
        powerless_[key] = {n};
      } else {
        // Power may be lost before it is flushed.
        Of(powerless_, key).insert(n);
      }
      killed_[key] = {n};
    }
  }
  // It may have happened.
  void Unknown(const Operation& operation) {
    for (const auto& [key, n] : operation.writes) {
      Of(killed_, key).insert(n);
      Of(powerless_, key).insert(n);
    }
  }
  // Everything acknowledged is durable.
  void Flushed() { powerless_ = killed_; }

  // "" or what must not be.
  std::string Judge(const State& found, bool power_lost) const {
    const auto& allowed = power_lost ? powerless_ : killed_;
    std::string wrong = HalfTransaction(found);
    for (const auto& [key, numbers] : allowed) {
      const auto it = found.find(key);
      const std::int64_t n = it == found.end() ? 0 : it->second;
      if (numbers.contains(n)) continue;
      absl::StrAppend(&wrong, "\n  ", key, " = ", n, ", but it may be");
      for (const std::int64_t number : numbers) absl::StrAppend(&wrong, " ", number);
    }
    for (const auto& [key, n] : found) {
      if (!allowed.contains(key)) absl::StrAppend(&wrong, "\n  ", key, " was never written");
    }
    return wrong;
  }

 private:
  using Numbers = std::map<std::string, std::set<std::int64_t>>;
  static std::set<std::int64_t>& Of(Numbers& numbers, const std::string& key) {
    return numbers.try_emplace(key, std::set<std::int64_t>{0}).first->second;
  }

  const bool acknowledged_is_durable_;
  Numbers killed_;     // found by the next process
  Numbers powerless_;  // found after a loss of power
};

struct Totals {
  std::uint64_t runs = 0;
  std::uint64_t failed_flushes = 0;
  std::uint64_t refused = 0;  // operations that failed
  std::set<std::string> sites;
  std::set<std::string> hit;
};

// "write journal.N": what is done to which file, whatever its number.
std::string Site(SimulatedOperation kind, const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  std::string site = absl::StrCat("operation ", static_cast<int>(kind), " of ");
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] < '0' || name[i] > '9') {
      site += name[i];
    } else if (site.back() != 'N') {
      site += 'N';
    }
  }
  return site;
}

template <class Durability>
class FaultyRun {
 public:
  FaultyRun()
      : disk_(kSeed), generator_(kSeed, true), expected_(Durability::kAcknowledgedIsDurable) {
    Client<Durability>::Format(&disk_);
    client_.emplace(&disk_);
  }

  SimulatedFileSystem& disk() { return disk_; }
  Expectation& expected() { return expected_; }
  Client<Durability>& client() { return *client_; }

  // The client works on whatever happens, and starts the engine again when it is of no use any
  // more.
  void Work(Totals* totals, int operations = kOperations) {
    State state;
    for (int i = 0; i < operations; ++i) {
      const Operation operation = generator_.Next(state);
      state = Apply(std::move(state), operation);
      if (!client_->is_open()) {
        const absl::Status opened = client_->Open();
        if (!opened.ok()) {
          EXPECT_FALSE(opened.message().empty());
          client_->End(false).IgnoreError();
          continue;
        }
      }
      started_at_ = absl::ToUnixMillis(absl::Now());
      const absl::Status status = client_->Perform(operation);
      started_at_ = 0;
      Note(operation, status);
      if (status.ok()) continue;
      ++totals->refused;
      if (may_only_be_full_) {
        EXPECT_TRUE(absl::IsResourceExhausted(status) ||
                    absl::StrContains(status.message(), "outcome unknown"))
            << status;
      }
      EXPECT_FALSE(status.message().empty());
      EXPECT_NE(status.code(), absl::StatusCode::kInternal) << status;
      // Reads go on.
      if (client_->is_open()) {
        const absl::StatusOr<State> found = client_->Read();
        EXPECT_TRUE(found.ok()) << found.status() << "\n  after " << status;
        if (found.ok()) {
          EXPECT_EQ(expected_.Judge(*found, false), "") << "after " << status;
        }
      }
      // What changes no document (a checkpoint is the server's own business) is no reason to start
      // again: then it must go on being right.
      using Kind = Operation::Kind;
      const bool goes_on =
          absl::IsResourceExhausted(status) || operation.kind == Kind::kCheckpoint ||
          operation.kind == Kind::kCompact || operation.kind == Kind::kDrop ||
          operation.kind == Kind::kCreateIndex || operation.kind == Kind::kDropIndex;
      if (!goes_on) client_->End(false).IgnoreError();
      if (testing::Test::HasFailure()) return;
    }
  }

  // Nothing fails but for want of room: then no error is final.
  void MayOnlyBeFull() { may_only_be_full_ = true; }

  // When the operation under way began, 0 when there is none.
  std::int64_t started_at() const { return started_at_; }

  // Whoever opens the disk now finds what it may, and can go on. `power_lost`: a disk after that.
  static State Find(SimulatedFileSystem* disk, const Expectation& expected, bool power_lost) {
    Client<Durability> client(disk);
    absl::Status status = client.Open();
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) return {};
    absl::StatusOr<State> found = client.Read();
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok()) return {};
    EXPECT_EQ(expected.Judge(*found, power_lost), "");
    status = client.CheckAgainst(*found, false);
    EXPECT_TRUE(status.ok()) << status;
    Operation write;
    write.writes = {{"b/after", 7}};
    status = client.Perform(write);
    EXPECT_TRUE(status.ok()) << status;
    // What was found is believed to be durable from here on.
    status = client.database()->Flush();
    EXPECT_TRUE(status.ok()) << status;
    (*found)["b/after"] = 7;
    client.End(false).IgnoreError();
    return *std::move(found);
  }

  // The verdict: after a loss of power, and after the death of the process.
  void Judge() {
    const std::unique_ptr<SimulatedFileSystem> powerless = disk_.Crash();
    client_->End(false).IgnoreError();
    disk_.ClearFaults();
    {
      SCOPED_TRACE("power lost");
      Find(powerless.get(), expected_, true);
    }
    State found;
    {
      SCOPED_TRACE("started again");
      found = Find(&disk_, expected_, false);
    }
    if (testing::Test::HasFailure()) return;
    SCOPED_TRACE("power lost after that");
    const auto after = disk_.Crash({.unsynced = CrashOptions::Unsynced::kNothing});
    Client<Durability> client(after.get());
    const absl::Status status = client.Open();
    ASSERT_TRUE(status.ok()) << status;
    const absl::StatusOr<State> again = client.Read();
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, found) << Difference(found, *again);
    client.End(false).IgnoreError();
  }

 private:
  void Note(const Operation& operation, const absl::Status& status) {
    using Kind = Operation::Kind;
    if (status.ok()) {
      expected_.Acknowledged(operation);
      if (operation.kind == Kind::kFlush || operation.kind == Kind::kCheckpoint ||
          operation.kind == Kind::kReopen) {
        expected_.Flushed();
      }
    } else if (operation.kind == Kind::kDrop ||
               absl::StrContains(status.message(), "outcome unknown")) {
      expected_.Unknown(operation);
    }
  }

  SimulatedFileSystem disk_;
  Generator generator_;
  Expectation expected_;
  std::optional<Client<Durability>> client_;
  std::atomic<std::int64_t> started_at_{0};
  bool may_only_be_full_ = false;
};

template <class Durability>
void EveryCallFails() {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  BeQuick();
  Totals totals;
  std::map<SimulatedOperation, std::uint64_t> counts;
  {
    FaultyRun<Durability> run;
    run.disk().SetObserver([&](SimulatedOperation kind, const std::string& path) {
      ++counts[kind];
      totals.sites.insert(Site(kind, path));
    });
    run.Work(&totals);
    run.disk().SetObserver(nullptr);
    ASSERT_EQ(totals.refused, 0u);
    run.Judge();
  }
  for (const auto& [kind, count] : counts) {
    for (std::uint64_t n = 1; n <= count; ++n) {
      for (const SimulatedFault fault : {SimulatedFault::kOnce, SimulatedFault::kForever}) {
        SCOPED_TRACE(absl::StrCat("call ", n, " of kind ", static_cast<int>(kind), " fails ",
                                  FaultName(fault)));
        FaultyRun<Durability> run;
        std::uint64_t calls = 0;
        run.disk().SetObserver(
            [&, kind = kind](SimulatedOperation called, const std::string& path) {
              if (called == kind && ++calls == n) totals.hit.insert(Site(kind, path));
            });
        run.disk().FailNth(kind, n, absl::DataLossError("injected: input/output error"), fault);
        run.Work(&totals);
        run.disk().SetObserver(nullptr);
        if (testing::Test::HasFailure()) return;
        run.Judge();
        if (testing::Test::HasFailure()) return;
        ++totals.runs;
        if (kind == SimulatedOperation::kSync) ++totals.failed_flushes;
      }
    }
  }
  // Threads that build indexes come by some call sites when they like, and by a few hardly ever.
  // The first call from such a one, wherever it is.
  for (const std::string& site : totals.sites) {
    for (int attempt = 0; attempt < 20 && !totals.hit.contains(site); ++attempt) {
      SCOPED_TRACE(site);
      FaultyRun<Durability> run;
      std::atomic<bool> is_armed{false};
      run.disk().SetObserver([&](SimulatedOperation called, const std::string& path) {
        if (Site(called, path) != site || is_armed.exchange(true)) return;
        totals.hit.insert(site);
        run.disk().FailNth(called, 1, absl::DataLossError("injected: input/output error"),
                           SimulatedFault::kOnce);
      });
      run.Work(&totals);
      run.disk().SetObserver(nullptr);
      if (testing::Test::HasFailure()) return;
      run.Judge();
      if (testing::Test::HasFailure()) return;
      ++totals.runs;
    }
    const bool is_of_an_index = absl::StrContains(site, " of cN_sN.");
    EXPECT_TRUE(totals.hit.contains(site) || is_of_an_index) << site << " was never made to fail";
  }
  std::cout << totals.runs << " runs with a failing call, " << totals.failed_flushes
            << " of them with a failing flush, at " << totals.hit.size() << " of "
            << totals.sites.size() << " call sites; " << totals.refused << " operations refused\n";
}

TEST(EngineFaultTest, EveryCallFailsSync) { EveryCallFails<SyncDurability>(); }
TEST(EngineFaultTest, EveryCallFailsAsync) { EveryCallFails<AsyncDurability>(); }

template <class Durability>
void EveryCallOfRecoveryFails() {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  BeQuick();
  std::uint64_t runs = 0;
  std::uint64_t refused = 0;
  std::set<std::string> hit;
  for (int operations = 12; operations <= 36; operations += 8) {
    Totals totals;
    FaultyRun<Durability> run;
    run.Work(&totals, operations);
    for (const bool power_lost : {false, true}) {
      const auto image =
          run.disk().Crash({.unsynced = power_lost ? CrashOptions::Unsynced::kRandom
                                                   : CrashOptions::Unsynced::kEverything,
                            .tear_sectors = true});
      bool struck = true;
      for (std::uint64_t n = 1; struck; ++n) {
        for (const SimulatedFault fault : {SimulatedFault::kOnce, SimulatedFault::kForever}) {
          for (const bool again_without_power : {false, true}) {
            SCOPED_TRACE(absl::StrCat("call ", n, " of recovery fails ", FaultName(fault)));
            const auto disk = image->Crash({.unsynced = CrashOptions::Unsynced::kEverything});
            disk->FailNth(n, absl::DataLossError("injected: input/output error"), fault);
            std::uint64_t calls = 0;
            disk->SetObserver([&](SimulatedOperation kind, const std::string& path) {
              if (++calls == n) hit.insert(Site(kind, path));
            });
            {
              Client<Durability> client(disk.get());
              const absl::Status opened = client.Open();
              struck = calls >= n;
              refused += !opened.ok();
              if (!opened.ok()) {
                EXPECT_TRUE(absl::StrContains(opened.message(), "injected")) << opened;
              } else {
                // What it tells it has found must last.
                const absl::StatusOr<State> found = client.Read();
                ASSERT_TRUE(found.ok()) << found.status();
                EXPECT_EQ(run.expected().Judge(*found, power_lost), "");
              }
              client.End(false).IgnoreError();
            }
            disk->SetObserver(nullptr);
            disk->ClearFaults();
            const auto after = disk->Crash();
            FaultyRun<Durability>::Find(again_without_power ? after.get() : disk.get(),
                                        run.expected(), power_lost || again_without_power);
            ++runs;
            if (testing::Test::HasFailure()) return;
          }
        }
      }
    }
    run.client().End(false).IgnoreError();
  }
  std::cout << runs << " recoveries with a failing call, at " << hit.size() << " call sites; "
            << refused << " of them refused to start\n";
}

TEST(EngineFaultTest, EveryCallOfRecoveryFailsSync) { EveryCallOfRecoveryFails<SyncDurability>(); }
TEST(EngineFaultTest, EveryCallOfRecoveryFailsAsync) {
  EveryCallOfRecoveryFails<AsyncDurability>();
}

template <class Durability>
void FullAtEveryStep() {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "not under the thread sanitizer";
#endif
  BeQuick();
  std::uint64_t runs = 0;
  std::uint64_t refused = 0;
  std::uint64_t starts_refused = 0;
  bool was_full = true;
  for (std::uint64_t blocks = 1; was_full; ++blocks) {
    SCOPED_TRACE(absl::StrCat("full after ", blocks, " blocks"));
    Totals totals;
    FaultyRun<Durability> run;
    run.MayOnlyBeFull();
    run.disk().SetCapacityBytes(run.disk().used_bytes() +
                                blocks * SimulatedFileSystem::kBlockBytes);
    // Who has written already waits for room. Somebody makes it after a while.
    std::atomic<bool> done{false};
    std::thread janitor([&] {
      while (!done) {
        absl::SleepFor(absl::Milliseconds(2));
        const std::int64_t started = run.started_at();
        if (started != 0 && absl::ToUnixMillis(absl::Now()) - started > 40)
          run.disk().SetCapacityBytes(run.disk().used_bytes() + (1 << 20));
      }
    });
    run.Work(&totals);
    done = true;
    janitor.join();
    if (testing::Test::HasFailure()) return;
    was_full = totals.refused != 0;
    refused += totals.refused;
    ++runs;
    // A start on the full disk: it works, or it says why not.
    {
      const auto full = run.disk().Crash({.unsynced = CrashOptions::Unsynced::kEverything});
      full->SetCapacityBytes(full->used_bytes());
      Client<Durability> client(full.get());
      const absl::Status opened = client.Open();
      if (opened.ok()) {
        const absl::StatusOr<State> found = client.Read();
        ASSERT_TRUE(found.ok()) << found.status();
        EXPECT_EQ(run.expected().Judge(*found, false), "");
      } else {
        EXPECT_TRUE(absl::IsResourceExhausted(opened)) << opened;
        ++starts_refused;
      }
      client.End(false).IgnoreError();
    }
    // There is room again: the same process works on.
    run.disk().SetCapacityBytes(std::uint64_t{1} << 40);
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    if (!run.client().is_open()) {
      const absl::Status opened = run.client().Open();
      ASSERT_TRUE(opened.ok()) << opened;
    }
    Operation write;
    write.writes = {{"a/room", 3}};
    absl::Status status;
    do {
      status = run.client().Perform(write);
    } while (!status.ok() && absl::Now() < deadline);
    ASSERT_TRUE(status.ok()) << status;
    run.expected().Acknowledged(write);
    status = run.client().database()->Flush();
    ASSERT_TRUE(status.ok()) << status;
    run.expected().Flushed();
    run.Judge();
    if (testing::Test::HasFailure()) return;
  }
  std::cout << runs << " disks that filled up, " << refused << " operations refused, "
            << starts_refused << " starts refused until there was room\n";
}

TEST(EngineFaultTest, FullAtEveryStepSync) { FullAtEveryStep<SyncDurability>(); }
TEST(EngineFaultTest, FullAtEveryStepAsync) { FullAtEveryStep<AsyncDurability>(); }

}  // namespace
}  // namespace alos::crash
