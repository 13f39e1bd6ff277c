// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugins/protocol/alos/internal/transaction_table.h"

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace alos::protocol_internal {
namespace {

struct FakeDatabase {
  struct Transaction {
    explicit Transaction(int* open_count) : open(open_count) { ++*open; }
    ~Transaction() { --*open; }
    int* const open;
  };
  int open = 0;
};

class Table : public TransactionTable<FakeDatabase::Transaction> {
 public:
  using TransactionTable::TransactionTable;
  absl::StatusOr<std::string> Begin(FakeDatabase* database, std::uint64_t owner) {
    return TransactionTable::Begin(
        "fake", owner, [&]() -> absl::StatusOr<std::unique_ptr<FakeDatabase::Transaction>> {
          return std::make_unique<FakeDatabase::Transaction>(&database->open);
        });
  }
};

TEST(TransactionTableTest, IdsAreLongAndNeverRepeat) {
  FakeDatabase database;
  Table table(absl::Hours(1));
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const auto id = table.Begin(&database, 1);
    ASSERT_TRUE(id.ok());
    EXPECT_EQ(id->size(), 32u);
    ids.insert(*id);
  }
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_EQ(table.size(), 1000u);
  EXPECT_EQ(database.open, 1000);
}

TEST(TransactionTableTest, OneRequestAtATime) {
  FakeDatabase database;
  Table table(absl::Hours(1));
  const std::string id = *table.Begin(&database, 1);
  {
    auto first = table.Use(id);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ((*first)->database, "fake");
    EXPECT_EQ(table.Use(id).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_TRUE(table.Use(id).ok());
  EXPECT_EQ(table.Use("another").status().code(), absl::StatusCode::kNotFound);
}

TEST(TransactionTableTest, RemovedOnesAreOverWhenTheirRequestIs) {
  FakeDatabase database;
  Table table(absl::Hours(1));
  const std::string id = *table.Begin(&database, 1);
  {
    auto lease = table.Use(id);
    ASSERT_TRUE(lease.ok());
    lease->Remove();
    EXPECT_EQ(database.open, 1) << "still in use";
    EXPECT_EQ(table.Use(id).status().code(), absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(database.open, 0);
}

TEST(TransactionTableTest, ExpiresWhatNobodyUses) {
  FakeDatabase database;
  Table table(absl::ZeroDuration());
  const std::string idle = *table.Begin(&database, 1);
  const std::string used = *table.Begin(&database, 1);
  absl::SleepFor(absl::Milliseconds(2));
  {
    auto lease = table.Use(used);
    ASSERT_TRUE(lease.ok());
    table.Expire();
    EXPECT_EQ(table.size(), 1u) << "one in use does not expire";
  }
  EXPECT_EQ(table.Use(idle).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(database.open, 1);
  absl::SleepFor(absl::Milliseconds(2));
  table.Expire();
  EXPECT_EQ(database.open, 0);
}

TEST(TransactionTableTest, LostOwnersLoseTheirsOnly) {
  FakeDatabase database;
  Table table(absl::Hours(1));
  const std::string first = *table.Begin(&database, 1);
  const std::string second = *table.Begin(&database, 2);
  table.RemoveOwned(1);
  EXPECT_FALSE(table.Use(first).ok());
  EXPECT_TRUE(table.Use(second).ok());
  EXPECT_EQ(database.open, 1);
}

TEST(TransactionTableTest, IsBounded) {
  FakeDatabase database;
  Table table(absl::Hours(1));
  for (std::size_t i = 0; i < Table::kTransactionsMax; ++i) {
    ASSERT_TRUE(table.Begin(&database, 1).ok());
  }
  EXPECT_EQ(table.Begin(&database, 1).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(TransactionTableTest, OneInUseEndsWithItsRequestWhenItsConnectionIsLost) {
  FakeDatabase database;
  Table table(absl::Hours(1));
  const std::string id = *table.Begin(&database, 7);
  {
    auto lease = table.Use(id);
    ASSERT_TRUE(lease.ok());
    table.RemoveOwned(7);
    EXPECT_EQ(database.open, 1) << "it is being used";
  }
  EXPECT_EQ(database.open, 0);
  EXPECT_EQ(table.Use(id).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace alos::protocol_internal
