// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/status_macros.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace alos {
namespace {

absl::Status Twice(const absl::Status& first, const absl::Status& second, int* reached) {
  ALOS_RETURN_IF_ERROR(first);
  ++*reached;
  ALOS_RETURN_IF_ERROR(second);
  ++*reached;
  return absl::OkStatus();
}

TEST(StatusMacrosTest, ReturnIfErrorStopsAtTheFirstError) {
  int reached = 0;
  EXPECT_TRUE(Twice(absl::OkStatus(), absl::OkStatus(), &reached).ok());
  EXPECT_EQ(reached, 2);
  reached = 0;
  EXPECT_EQ(Twice(absl::OkStatus(), absl::DataLossError("b"), &reached), absl::DataLossError("b"));
  EXPECT_EQ(reached, 1);
  reached = 0;
  EXPECT_EQ(Twice(absl::NotFoundError("a"), absl::OkStatus(), &reached), absl::NotFoundError("a"));
  EXPECT_EQ(reached, 0);
}

absl::StatusOr<std::string> Join(absl::StatusOr<std::unique_ptr<int>> a, absl::StatusOr<int> b) {
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<int> pointer, std::move(a));
  int number = 0;
  ALOS_ASSIGN_OR_RETURN(number, b);
  return std::to_string(*pointer) + std::to_string(number);
}

TEST(StatusMacrosTest, AssignOrReturnMovesTheValueOrReturnsTheError) {
  EXPECT_EQ(*Join(std::make_unique<int>(4), 2), "42");
  EXPECT_EQ(Join(absl::AbortedError("a"), 2).status(), absl::AbortedError("a"));
  EXPECT_EQ(Join(std::make_unique<int>(4), absl::AbortedError("b")).status(),
            absl::AbortedError("b"));
}

}  // namespace
}  // namespace alos
