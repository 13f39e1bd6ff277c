// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The change feed, and requests that are sent again; both over restarts.

#include "alos/engine/changes.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/document/json.h"
#include "alos/engine/engine.h"
#include "alos/engine/request_id.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

std::string Encode(std::string_view json) {
  const auto bytes = JsonToMessagePack(json);
  EXPECT_TRUE(bytes.ok()) << json << ": " << bytes.status();
  return bytes.ok() ? *bytes : std::string("\xc0");
}
ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }
Filter Where(std::string_view json) { return *Filter::Compile(View(Encode(json))); }
Update Apply(std::string_view json) { return *Update::Compile(View(Encode(json))); }

template <class Durability>
class ChangesTest : public testing::Test {
 protected:
  using TestEngine = BasicEngine<Policies<Durability>>;
  using Database = typename TestEngine::Database;

  ChangesTest() {
    options_.data_path =
        absl::StrCat(testing::TempDir(), "/changes_", Durability::kName, "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.shards = 8;
    std::filesystem::remove_all(options_.data_path);
    Open();
  }
  // As after kill -9, unless it was closed.
  void Open() {
    engine_.reset();
    engine_ = *TestEngine::Open(options_);
    database_ = *engine_->GetOrCreateDatabase("db");
  }
  std::string Insert(std::string_view collection, std::string_view json) {
    const auto inserted = database_->InsertOne(collection, View(Encode(json)));
    EXPECT_TRUE(inserted.ok()) << inserted.status();
    return inserted.ok() ? inserted->id : "";
  }
  void Settle() { EXPECT_TRUE(database_->Flush().ok()); }

  // Each change as text; `at_once` at a time.
  std::vector<std::string> Changes(ChangePosition position, std::uint64_t at_once = 1000,
                                   std::vector<std::string> collections = {}) {
    std::vector<std::string> all;
    ChangesQuery query;
    query.position = position;
    query.changes_max = at_once;
    query.collections = std::move(collections);
    while (true) {
      std::size_t count = 0;
      ChangePosition behind;
      const auto next = database_->ReadChanges(query, [&](const Change& change) {
        constexpr const char* kNames[] = {"insert", "update", "delete", "drop", "replace"};
        std::string text =
            absl::StrCat(kNames[static_cast<int>(change.kind)], " ", change.collection);
        if (change.before) absl::StrAppend(&text, " ", ToJson(*change.before));
        if (change.after) absl::StrAppend(&text, " -> ", ToJson(*change.after));
        if (!change.is_last) text += " ...";
        all.push_back(text);
        behind = change.next;
        ++count;
        return true;
      });
      EXPECT_TRUE(next.ok()) << next.status();
      if (!next.ok() || count == 0) return all;
      if (count == at_once) {
        EXPECT_EQ(*next, behind);
      }
      query.position = *next;
    }
  }
  std::int64_t Number(std::string_view collection, std::string_view id) {
    std::int64_t n = -1;
    EXPECT_TRUE(database_
                    ->FindById(collection, EncodeStringId(id),
                               [&](ValueView document) { n = document.Find("n")->AsInt64(); })
                    .ok());
    return n;
  }

  EngineOptions options_;
  std::unique_ptr<TestEngine> engine_;
  Database* database_ = nullptr;
};

using DurabilityTypes = testing::Types<AsyncDurability, SyncDurability>;
TYPED_TEST_SUITE(ChangesTest, DurabilityTypes);

TYPED_TEST(ChangesTest, EveryKindInOrder) {
  this->Insert("c", R"({"_id":"a","n":1})");
  ASSERT_TRUE(
      this->database_->UpdateOne("c", Where(R"({"_id":"a"})"), Apply(R"({"$inc":{"n":1}})")).ok());
  ASSERT_TRUE(this->database_->DeleteOne("c", Where(R"({"_id":"a"})")).ok());
  this->Insert("c", R"({"_id":"a","n":9})");
  this->Insert("d", R"({"_id":"x"})");
  ASSERT_TRUE(this->database_->Drop("c").ok());
  this->Insert("c", R"({"_id":"new"})");
  this->Settle();
  const std::vector<std::string> expected = {
      R"(insert c -> {"_id":"a","n":1})", R"(update c {"_id":"a","n":1} -> {"_id":"a","n":2})",
      R"(delete c {"_id":"a","n":2})",    R"(insert c -> {"_id":"a","n":9})",
      R"(insert d -> {"_id":"x"})",       R"(drop c)",
      R"(insert c -> {"_id":"new"})"};
  EXPECT_EQ(this->Changes({}), expected);
  EXPECT_EQ(this->Changes({}, 1), expected);
  EXPECT_EQ(this->Changes({}, 2), expected);
  EXPECT_EQ(this->Changes({}, 3, {"d"}), std::vector<std::string>{expected[4]});
  EXPECT_EQ(this->Changes({}, 3, {"c"}).size(), 6u);
  // From a timestamp, and after a restart.
  const std::uint64_t now = this->database_->ReadTimestamp();
  EXPECT_TRUE(this->Changes(ChangePosition::After(now)).empty());
  this->Open();
  EXPECT_EQ(this->Changes({}, 2), expected);
  ASSERT_TRUE(this->engine_->Close().ok());
  this->Open();
  EXPECT_EQ(this->Changes({}, 2), expected);
  EXPECT_TRUE(this->Changes(ChangePosition::After(now)).empty());
  this->Insert("d", R"({"_id":"y"})");
  this->Settle();
  EXPECT_EQ(this->Changes(ChangePosition::After(now)),
            std::vector<std::string>{R"(insert d -> {"_id":"y"})"});
  ChangesQuery query;
  query.position = ChangePosition::After(now + 1'000'000);
  EXPECT_TRUE(absl::IsInvalidArgument(
      this->database_->ReadChanges(query, [](const Change&) { return true; }).status()));
  this->database_->snapshots().Restore(now);
  query.position = {1, 0};
  EXPECT_TRUE(absl::IsOutOfRange(
      this->database_->ReadChanges(query, [](const Change&) { return true; }).status()));
}

TYPED_TEST(ChangesTest, TransactionsAreToldWhole) {
  auto transaction = this->database_->BeginTransaction();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(transaction
                    ->InsertOne(i % 2 == 0 ? "even" : "odd",
                                View(Encode(absl::StrCat(R"({"_id":)", i, "}"))))
                    .ok());
  }
  const auto committed = transaction->Commit();
  ASSERT_TRUE(committed.ok());
  ASSERT_TRUE(this->database_->WaitVisible(*committed).ok());
  for (const std::uint64_t at_once : {1, 3, 7, 100}) {
    const auto all = this->Changes({}, at_once);
    ASSERT_EQ(all.size(), 20u);
    for (std::size_t i = 0; i < all.size(); ++i)
      EXPECT_EQ(absl::EndsWith(all[i], "..."), i + 1 != all.size());
    const auto even = this->Changes({}, at_once, {"even"});
    ASSERT_EQ(even.size(), 10u);
    EXPECT_FALSE(absl::EndsWith(even.back(), "..."));
    EXPECT_TRUE(absl::EndsWith(even.front(), "..."));
  }
}

TYPED_TEST(ChangesTest, OutReplacesACollection) {
  this->Insert("in", R"({"_id":"a"})");
  this->Insert("out", R"({"_id":"old"})");
  const auto pipeline = Pipeline::Compile(View(Encode(R"([{"$out":"out"}])")));
  ASSERT_TRUE(pipeline.ok());
  ASSERT_TRUE(this->database_->Aggregate("in", *pipeline, [](ValueView) { return true; }).ok());
  this->Insert("out", R"({"_id":"b"})");
  this->Settle();
  const std::vector<std::string> expected = {R"(insert out -> {"_id":"old"})", "replace out",
                                             R"(insert out -> {"_id":"b"})"};
  EXPECT_EQ(this->Changes({}, 1000, {"out"}), expected);
  this->Open();
  EXPECT_EQ(this->Changes({}, 1, {"out"}), expected);
}

// Threads write; a follower that applies what it is told, from time to time in a new process, has
// the same documents in the end.
TYPED_TEST(ChangesTest, AFollowerHasTheSame) {
  std::map<std::string, std::string> copy;
  ChangesQuery query;
  query.changes_max = 7;
  std::uint64_t newest = 0;
  const auto follow = [&] {
    while (true) {
      std::size_t count = 0;
      const auto next = this->database_->ReadChanges(query, [&](const Change& change) {
        ++count;
        EXPECT_GE(change.timestamp, newest);
        newest = change.timestamp;
        const std::string id(change.id);
        const auto at = copy.find(id);
        EXPECT_EQ(at != copy.end(), change.before.has_value());
        if (change.before && at != copy.end()) {
          EXPECT_EQ(at->second, change.before->bytes());
        }
        if (change.after) {
          copy[id] = std::string(change.after->bytes());
        } else {
          copy.erase(id);
        }
        return true;
      });
      ASSERT_TRUE(next.ok()) << next.status();
      query.position = *next;
      if (count == 0) return;
    }
  };
  for (int round = 0; round < 3; ++round) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(static_cast<unsigned>(round * 10 + t));
        for (int i = 0; i < 150; ++i) {
          const std::string one = absl::StrCat(R"({"_id":)", random() % 40, "}");
          const std::string other = absl::StrCat(R"({"_id":)", random() % 40, "}");
          switch (random() % 4) {
            case 0:
              (void)this->database_->InsertOne("c", View(Encode(one)));
              break;
            case 1:
              (void)this->database_->UpsertOne("c", Where(one), Apply(R"({"$inc":{"n":1}})"));
              break;
            case 2:
              (void)this->database_->DeleteOne("c", Where(one));
              break;
            default: {
              auto transaction = this->database_->BeginTransaction();
              (void)transaction->UpdateOne("c", Where(one), Apply(R"({"$inc":{"n":1}})"));
              (void)transaction->DeleteOne("c", Where(other));
              (void)transaction->Commit();
            }
          }
        }
      });
    }
    std::thread follower([&] {
      while (!stop) follow();
    });
    for (std::thread& thread : threads) thread.join();
    this->Settle();
    stop = true;
    follower.join();
    follow();
    std::map<std::string, std::string> documents;
    ASSERT_TRUE(this->database_
                    ->Find("c", {},
                           [&](ValueView document) {
                             documents[*EncodeId(*document.Find("_id"))] =
                                 std::string(document.bytes());
                             return true;
                           })
                    .ok());
    EXPECT_EQ(copy, documents);
    this->Open();
  }
}

TYPED_TEST(ChangesTest, HooksAreTold) {
  absl::Mutex mutex;
  std::vector<std::string> told;
  this->options_.hook_collections = {"c"};
  this->options_.hook = [&](std::string_view database, const Change& change) {
    absl::MutexLock lock(&mutex);
    told.push_back(absl::StrCat(database, ".", change.collection, " ",
                                change.after ? ToJson(*change.after) : "gone"));
  };
  this->Open();
  this->Insert("c", R"({"_id":1})");
  this->Insert("d", R"({"_id":2})");
  this->Settle();
  ASSERT_TRUE(this->database_->DeleteOne("c", Filter()).ok());
  this->Settle();
  {
    absl::MutexLock lock(&mutex);
    const auto enough = [&] { return told.size() >= 2; };
    EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20)));
    EXPECT_EQ(absl::StrJoin(told, ";"), R"(db.c {"_id":1};db.c gone)");
  }
  this->engine_.reset();
}

TYPED_TEST(ChangesTest, WritesWaitForTheirTurn) {
  this->options_.max_write_rate = 500;
  this->Open();
  const absl::Time begin = absl::Now();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) this->Insert("c", absl::StrCat(R"({"_id":)", t * 100 + i, "}"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(150));
  this->Settle();
  EXPECT_EQ(*this->database_->Count("c", Filter()), 100u);
}

TYPED_TEST(ChangesTest, RequestsAreDoneOnce) {
  this->Insert("c", R"({"_id":"a","n":0})");
  auto opened = this->database_->OpenSession();
  ASSERT_TRUE(opened.ok()) << opened.status();
  RequestId request = *opened;
  const Filter a = Where(R"({"_id":"a"})");
  const Update add = Apply(R"({"$inc":{"n":1}})");
  for (int restart = 0; restart < 3; ++restart) {
    ++request.number;
    request.was_sent_before = false;
    EXPECT_EQ(this->database_->FindRequest(request)->state, RequestOutcome::State::kNone);
    for (int i = 0; i < 3; ++i) {
      const auto updated = this->database_->UpdateOne("c", a, add, &request);
      ASSERT_TRUE(updated.ok()) << updated.status();
      EXPECT_EQ(updated->matched, 1u);
      ASSERT_TRUE(this->database_->WaitVisible(updated->commit_timestamp).ok());
      request.was_sent_before = true;
    }
    EXPECT_EQ(this->Number("c", "a"), restart + 1);
    this->Open();
    const auto again = this->database_->UpdateOne("c", a, add, &request);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->matched, 1u);
    EXPECT_EQ(this->Number("c", "a"), restart + 1);
  }
  // The other writes.
  const auto twice = [&](auto&& write) {
    ++request.number;
    request.was_sent_before = false;
    const auto first = write();
    ASSERT_TRUE(first.ok()) << first.status();
    this->Settle();
    this->Open();
    request.was_sent_before = true;
    const auto second = write();
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(*first, *second);
  };
  const std::string fresh = Encode(R"({"n":1})");
  twice([&]() -> absl::StatusOr<std::string> {
    const auto inserted = this->database_->InsertOne("i", View(fresh), &request);
    return inserted.ok() ? absl::StatusOr<std::string>(inserted->id) : inserted.status();
  });
  EXPECT_EQ(*this->database_->Count("i", Filter()), 1u);
  twice([&]() -> absl::StatusOr<std::uint64_t> {
    const auto deleted = this->database_->DeleteOne("i", Filter(), &request);
    return deleted.ok() ? absl::StatusOr<std::uint64_t>(deleted->deleted) : deleted.status();
  });
  this->Insert("i", R"({"_id":1,"n":1})");
  this->Insert("i", R"({"_id":2,"n":1})");
  this->Settle();
  twice([&]() -> absl::StatusOr<std::uint64_t> {
    const auto updated = this->database_->UpdateMany("i", Filter(), add, &request);
    return updated.ok() ? absl::StatusOr<std::uint64_t>(updated->modified) : updated.status();
  });
  EXPECT_EQ(*this->database_->Count("i", Where(R"({"n":2})")), 2u);
  twice([&]() -> absl::StatusOr<std::uint64_t> {
    const auto upserted = this->database_->UpsertOne("i", Where(R"({"_id":3})"), add, &request);
    if (!upserted.ok()) return upserted.status();
    EXPECT_EQ(upserted->inserted_id, Encode("3"));
    return upserted->matched;
  });
  const std::string four = Encode(R"({"_id":4})");
  const std::string five = Encode(R"({"_id":5})");
  twice([&]() -> absl::StatusOr<std::string> {
    const ValueView documents[] = {View(four), View(five)};
    const auto inserted = this->database_->InsertMany("i", documents, &request);
    if (!inserted.status.ok()) return inserted.status;
    return absl::StrJoin(inserted.ids, "");
  });
  EXPECT_EQ(*this->database_->Count("i", Filter()), 5u);
  // A commit.
  ++request.number;
  auto transaction = this->database_->BeginTransaction();
  ASSERT_TRUE(transaction->UpdateOne("c", a, add).ok());
  ASSERT_TRUE(transaction->Commit(&request).ok());
  this->Settle();
  this->Open();
  EXPECT_EQ(this->database_->FindRequest(request)->state, RequestOutcome::State::kDone);
  EXPECT_EQ(this->Number("c", "a"), 4);
  auto later = this->database_->BeginTransaction();
  ASSERT_TRUE(later->UpdateOne("c", a, add).ok());
  EXPECT_TRUE(later->Commit(&request).ok());
  EXPECT_EQ(this->Number("c", "a"), 4);
  // An error has no effect, and is not kept.
  ++request.number;
  EXPECT_TRUE(
      absl::IsAlreadyExists(this->database_->InsertOne("i", View(four), &request).status()));
  EXPECT_EQ(this->database_->FindRequest(request)->state, RequestOutcome::State::kNone);
  // One that another one came after.
  request.number -= 3;
  EXPECT_TRUE(
      absl::IsFailedPrecondition(this->database_->UpdateOne("c", a, add, &request).status()));
  // Of none of this there is anything to be seen.
  const std::vector<std::string> names = this->database_->ListCollections();
  EXPECT_EQ(absl::StrJoin(names, " "), "c i");
  EXPECT_TRUE(absl::IsInvalidArgument(this->database_->Count("$requests", Filter()).status()));
  for (const std::string& change : this->Changes({}))
    EXPECT_FALSE(absl::StrContains(change, "$")) << change;
}

TYPED_TEST(ChangesTest, WhatIsNotOneCommitIsRunOnce) {
  RequestId request = *this->database_->OpenSession();
  request.number = 1;
  int runs = 0;
  std::uint64_t timestamp = 0;
  const auto run = [&](absl::StatusOr<std::string> result) {
    return this->database_->RunOnce(
        request,
        [&] {
          ++runs;
          return result;
        },
        &timestamp);
  };
  EXPECT_EQ(*run("result"), "result");
  EXPECT_EQ(*run("another"), "result");
  ASSERT_TRUE(this->database_->WaitVisible(timestamp).ok());
  this->Open();
  EXPECT_EQ(*run("another"), "result");
  EXPECT_EQ(runs, 1);
  // Errors are kept, large results are not.
  ++request.number;
  EXPECT_TRUE(absl::IsNotFound(run(absl::NotFoundError("nothing")).status()));
  EXPECT_TRUE(absl::IsNotFound(run("another").status()));
  EXPECT_EQ(runs, 2);
  ++request.number;
  EXPECT_EQ(run(std::string(100'000, 'x'))->size(), 100'000u);
  EXPECT_TRUE(absl::IsUnknown(run("another").status()));
  EXPECT_EQ(runs, 3);
  // Sent again while it is being done; and after a start in the middle of it.
  ++request.number;
  const std::string copy = this->options_.data_path + "_copy";
  std::filesystem::remove_all(copy);
  const auto outer = this->database_->RunOnce(
      request,
      [&]() -> absl::StatusOr<std::string> {
        EXPECT_TRUE(absl::IsAborted(run("inner").status()));
        std::filesystem::copy(this->options_.data_path, copy,
                              std::filesystem::copy_options::recursive);
        return std::string("outer");
      },
      &timestamp);
  EXPECT_EQ(*outer, "outer");
  this->Settle();
  this->options_.data_path = copy;
  this->Open();
  EXPECT_TRUE(absl::IsUnknown(run("again").status()));
  EXPECT_EQ(runs, 3);
}

TYPED_TEST(ChangesTest, TheSameRequestByManyAtOnce) {
  this->Insert("c", R"({"_id":"a","n":0})");
  RequestId request = *this->database_->OpenSession();
  for (int round = 0; round < 50; ++round) {
    ++request.number;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const auto updated = this->database_->UpdateOne("c", Where(R"({"_id":"a"})"),
                                                        Apply(R"({"$inc":{"n":1}})"), &request);
        ASSERT_TRUE(updated.ok()) << updated.status();
        EXPECT_EQ(updated->matched, 1u);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  this->Settle();
  EXPECT_EQ(this->Number("c", "a"), 50);
}

TYPED_TEST(ChangesTest, SessionsEndAndSlotsAreUsedAgain) {
  this->options_.request_window = absl::ZeroDuration();
  this->Open();
  RequestId first = *this->database_->OpenSession();
  RequestId second = *this->database_->OpenSession();
  EXPECT_NE(first.slot, second.slot);
  EXPECT_NE(first.key, second.key);
  // Another session in the same slot, as after a while.
  first.number = second.number = 1;
  ASSERT_TRUE(this->database_->InsertOne("c", View(Encode(R"({"_id":1})")), &first).ok());
  second.slot = first.slot;
  EXPECT_TRUE(absl::IsFailedPrecondition(
      this->database_->InsertOne("c", View(Encode(R"({"_id":2})")), &second).status()));
  absl::SleepFor(absl::Seconds(2));
  ASSERT_TRUE(this->database_->InsertOne("c", View(Encode(R"({"_id":2})")), &second).ok());
  // What the first one sends again may have been done: nobody knows any more.
  first.was_sent_before = true;
  const auto unknown = this->database_->InsertOne("c", View(Encode(R"({"_id":1})")), &first);
  EXPECT_TRUE(absl::IsFailedPrecondition(unknown.status()));
  EXPECT_TRUE(absl::StrContains(unknown.status().message(), "outcome unknown"));
}

}  // namespace
}  // namespace alos
