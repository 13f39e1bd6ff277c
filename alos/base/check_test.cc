// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/base/check.h"

#include "gtest/gtest.h"

namespace alos {
namespace {

TEST(CheckTest, TrueConditionsPassAndAreEvaluatedOnce) {
  int evaluations = 0;
  ALOS_CHECK(++evaluations == 1);
  EXPECT_EQ(evaluations, 1);
  ALOS_CHECK_OK(absl::OkStatus());
  ALOS_CHECK_OK(absl::StatusOr<int>(3));
}

TEST(CheckTest, CheckIsAnExpressionThatBindsTightlyInAnIf) {
  if (true)
    ALOS_CHECK(1 + 1 == 2);
  else
    ALOS_CHECK(false);
}

TEST(CheckDeathTest, FalseConditionNamesFileLineAndCondition) {
  EXPECT_DEATH(ALOS_CHECK(1 + 1 == 3),
               "check_test\\.cc:[0-9]+: ALOS_CHECK\\(1 \\+ 1 == 3\\) failed");
}

TEST(CheckDeathTest, BadStatusIsPrinted) {
  EXPECT_DEATH(ALOS_CHECK_OK(absl::NotFoundError("no such shard")), "NOT_FOUND: no such shard");
  EXPECT_DEATH(ALOS_CHECK_OK(absl::StatusOr<int>(absl::DataLossError("torn"))), "DATA_LOSS: torn");
}

TEST(CheckDeathTest, DcheckIsEvaluatedInDebugBuildsOnly) {
#ifdef NDEBUG
  int evaluations = 0;
  ALOS_DCHECK(++evaluations == 7);
  EXPECT_EQ(evaluations, 0);
#else
  EXPECT_DEATH(ALOS_DCHECK(false), "ALOS_CHECK\\(false\\) failed");
#endif
}

}  // namespace
}  // namespace alos
