// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The checkers find what was put into histories by hand, by its name, and find nothing in histories
// that a simple model made.

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "testing/isolation/list_append.h"
#include "testing/isolation/register.h"

namespace alos::isolation {
namespace {

ListOperation Append(std::int64_t key, std::int64_t element) {
  return {.is_append = true, .key = key, .element = element};
}
ListOperation Read(std::int64_t key, std::vector<std::int64_t> list) {
  return {.is_append = false, .key = key, .list = std::move(list)};
}
// All at once, unless times are given.
ListTransaction T(std::vector<ListOperation> operations, std::int64_t begin = 0,
                  std::int64_t end = 100, Outcome outcome = Outcome::kCommitted) {
  return {begin, end, outcome, std::move(operations)};
}
std::string Anomalies(const std::vector<ListTransaction>& history, ListModel model) {
  return absl::StrJoin(CheckListAppend(history, model).anomalies, "\n");
}
void IsFound(std::string_view name, const std::vector<ListTransaction>& history,
             bool under_snapshots = true) {
  const std::string serializable = Anomalies(history, ListModel::kSerializability);
  EXPECT_TRUE(absl::StrContains(serializable, name)) << name << ", found: " << serializable;
  const std::string snapshot = Anomalies(history, ListModel::kSnapshotIsolation);
  if (under_snapshots) {
    EXPECT_TRUE(absl::StrContains(snapshot, name)) << name << ", found: " << snapshot;
  } else {
    EXPECT_EQ(snapshot, "") << name;
  }
}

TEST(ListAppendTest, G0) {
  IsFound("G0", {T({Append(1, 1), Append(2, 1)}), T({Append(1, 2), Append(2, 2)}),
                 T({Read(1, {1, 2}), Read(2, {2, 1})}, 200, 300)});
}
TEST(ListAppendTest, G1a) {
  IsFound("G1a", {T({Append(1, 1)}, 0, 100, Outcome::kAborted), T({Read(1, {1})})});
}
TEST(ListAppendTest, G1b) {
  IsFound("G1b", {T({Append(1, 1), Append(1, 2)}), T({Read(1, {1})}), T({Read(1, {1, 2})})});
}
TEST(ListAppendTest, G1c) {
  IsFound("G1c", {T({Append(1, 1), Read(2, {1})}), T({Append(2, 1), Read(1, {1})})});
}
TEST(ListAppendTest, GSingle) {
  IsFound("G-single",
          {T({Append(1, 1), Append(2, 1)}), T({Read(1, {1}), Read(2, {})}), T({Read(2, {1})})});
}
TEST(ListAppendTest, LostUpdateIsACycle) {
  IsFound("G-single",
          {T({Read(1, {}), Append(1, 1)}), T({Read(1, {}), Append(1, 2)}), T({Read(1, {1, 2})})});
}
TEST(ListAppendTest, LostElement) {
  IsFound("lost update",
          {T({Append(1, 1)}, 0, 10), T({Append(1, 2)}, 20, 30), T({Read(1, {2})}, 40, 50)});
}
TEST(ListAppendTest, WriteSkewIsG2AndNoMatterOfSnapshots) {
  IsFound("G2",
          {T({Read(1, {}), Append(2, 1)}), T({Read(2, {}), Append(1, 1)}),
           T({Read(1, {1}), Read(2, {1})}, 200, 300)},
          false);
}
TEST(ListAppendTest, LongFork) {
  IsFound("G2",
          {T({Append(1, 1)}), T({Append(2, 1)}), T({Read(1, {1}), Read(2, {})}),
           T({Read(1, {}), Read(2, {1})})},
          true);
}
TEST(ListAppendTest, Internal) {
  IsFound("internal", {T({Append(1, 1), Read(1, {})})});
  IsFound("internal", {T({Append(2, 1)}), T({Read(2, {1}), Read(2, {})})});
}
TEST(ListAppendTest, IncompatibleOrders) {
  IsFound("incompatible order",
          {T({Append(1, 1)}), T({Append(1, 2)}), T({Read(1, {1})}), T({Read(1, {2, 1})})});
  IsFound("garbage", {T({Read(1, {7})})});
  IsFound("duplicate", {T({Append(1, 1)}), T({Read(1, {1, 1})})});
}
TEST(ListAppendTest, RealTime) {
  IsFound("realtime",
          {T({Append(1, 1)}, 0, 10), T({Read(1, {})}, 20, 30), T({Read(1, {1})}, 40, 50)});
  // Concurrent ones may come in any order.
  EXPECT_EQ(
      Anomalies({T({Append(1, 1)}, 0, 25), T({Read(1, {})}, 20, 30), T({Read(1, {1})}, 40, 50)},
                ListModel::kSerializability),
      "");
}
TEST(ListAppendTest, AnUnknownOutcomeMayBeEither) {
  EXPECT_EQ(Anomalies({T({Append(1, 1)}, 0, 10, Outcome::kUnknown), T({Read(1, {})}, 20, 30),
                       T({Read(1, {1})}, 40, 50)},
                      ListModel::kSerializability),
            "");
  EXPECT_EQ(Anomalies({T({Append(1, 1)}, 0, 10, Outcome::kUnknown), T({Read(1, {})}, 20, 30)},
                      ListModel::kSerializability),
            "");
}

// One thread at a time is right under any model; so is a history with its transactions overlapping
// as they may. A change to one element of one read is found.
TEST(ListAppendTest, RandomHistories) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    std::map<std::int64_t, std::vector<std::int64_t>> lists;
    std::vector<ListTransaction> history;
    std::int64_t element = 0;
    for (int i = 0; i < 500; ++i) {
      ListTransaction transaction;
      transaction.begin = i * 10 - static_cast<std::int64_t>(random() % 50);
      transaction.end = i * 10 + static_cast<std::int64_t>(random() % 50);
      for (unsigned n = random() % 4 + 1; n > 0; --n) {
        const std::int64_t key = random() % 8;
        if (random() % 2 == 0) {
          lists[key].push_back(++element);
          transaction.operations.push_back(Append(key, element));
        } else {
          transaction.operations.push_back(Read(key, lists[key]));
        }
      }
      history.push_back(std::move(transaction));
    }
    EXPECT_EQ(Anomalies(history, ListModel::kSerializability), "");
    EXPECT_EQ(Anomalies(history, ListModel::kSnapshotIsolation), "");
    while (true) {
      ListTransaction& transaction = history[100 + random() % 300];
      ListOperation& operation = transaction.operations[0];
      if (operation.is_append || operation.list.size() < 30) continue;
      operation.list.resize(operation.list.size() - 25);  // a read of long ago
      break;
    }
    EXPECT_NE(Anomalies(history, ListModel::kSerializability), "");
    EXPECT_NE(Anomalies(history, ListModel::kSnapshotIsolation), "");
  }
}

using Kind = RegisterOperation::Kind;
RegisterOperation Op(Kind kind, std::int64_t value, std::int64_t begin, std::int64_t end,
                     std::int64_t expected = RegisterOperation::kNothing, bool succeeded = true) {
  return {.begin = begin,
          .end = end,
          .kind = kind,
          .value = value,
          .expected = expected,
          .succeeded = succeeded};
}

TEST(RegisterTest, SmallHistories) {
  EXPECT_EQ(CheckRegisters({Op(Kind::kWrite, 1, 0, 10), Op(Kind::kRead, 1, 20, 30)}), "");
  // A stale read.
  EXPECT_NE(CheckRegisters({Op(Kind::kWrite, 1, 0, 10), Op(Kind::kWrite, 2, 20, 30),
                            Op(Kind::kRead, 1, 40, 50)}),
            "");
  // What is being written may be seen, but then by all that come later.
  EXPECT_EQ(CheckRegisters({Op(Kind::kWrite, 1, 0, 100), Op(Kind::kRead, 1, 10, 20)}), "");
  EXPECT_NE(CheckRegisters({Op(Kind::kWrite, 1, 0, 100), Op(Kind::kRead, 1, 10, 20),
                            Op(Kind::kRead, RegisterOperation::kNothing, 30, 40)}),
            "");
  // Only one of two can be the first to change it.
  EXPECT_NE(CheckRegisters({Op(Kind::kWrite, 1, 0, 5), Op(Kind::kCompareAndSet, 2, 10, 20, 1),
                            Op(Kind::kCompareAndSet, 3, 10, 20, 1)}),
            "");
  EXPECT_EQ(CheckRegisters({Op(Kind::kWrite, 1, 0, 5), Op(Kind::kCompareAndSet, 2, 10, 20, 1),
                            Op(Kind::kCompareAndSet, 3, 10, 20, 1, false)}),
            "");
  // A lost update.
  EXPECT_NE(CheckRegisters(
                {Op(Kind::kWrite, 1, 0, 5), Op(Kind::kRead, RegisterOperation::kNothing, 10, 20)}),
            "");
}

TEST(RegisterTest, UnknownOnesMayComeLateOrNever) {
  RegisterOperation unknown = Op(Kind::kWrite, 2, 10, 20);
  unknown.is_unknown = true;
  EXPECT_EQ(CheckRegisters({Op(Kind::kWrite, 1, 0, 5), unknown, Op(Kind::kRead, 1, 30, 40),
                            Op(Kind::kRead, 2, 50, 60)}),
            "");
  EXPECT_EQ(CheckRegisters({Op(Kind::kWrite, 1, 0, 5), unknown, Op(Kind::kRead, 1, 30, 40)}), "");
  EXPECT_NE(CheckRegisters({Op(Kind::kWrite, 1, 0, 5), unknown, Op(Kind::kRead, 2, 30, 40),
                            Op(Kind::kRead, 1, 50, 60)}),
            "");
}

TEST(RegisterTest, RandomHistories) {
  std::mt19937 random(2);
  int found = 0;
  for (int round = 0; round < 50; ++round) {
    std::vector<RegisterOperation> history;
    std::map<std::int64_t, std::int64_t> registers;
    std::int64_t value = 0;
    for (int i = 0; i < 400; ++i) {
      RegisterOperation operation;
      operation.key = random() % 4;
      operation.begin = i * 10 - static_cast<std::int64_t>(random() % 30);
      operation.end = i * 10 + static_cast<std::int64_t>(random() % 30);
      const auto at = registers.try_emplace(operation.key, RegisterOperation::kNothing).first;
      switch (random() % 3) {
        case 0:
          operation.value = at->second;
          break;
        case 1:
          operation.kind = Kind::kWrite;
          operation.value = at->second = ++value;
          break;
        default:
          operation.kind = Kind::kCompareAndSet;
          operation.expected = random() % 2 == 0 ? at->second : value;
          operation.value = ++value;
          operation.succeeded = operation.expected == at->second;
          if (operation.succeeded) at->second = operation.value;
      }
      history.push_back(operation);
    }
    EXPECT_EQ(CheckRegisters(history), "");
    for (std::size_t i = 200; i < history.size(); ++i) {
      if (history[i].kind != Kind::kRead || history[i].value < 20) continue;
      history[i].value -= 15;
      found += CheckRegisters(history) != "";
      break;
    }
  }
  EXPECT_GE(found, 45);
}

}  // namespace
}  // namespace alos::isolation
