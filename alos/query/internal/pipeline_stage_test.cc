// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/pipeline_stage.h"

#include <string>
#include <string_view>

#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

StageKind KindOf(std::string_view stage) {
  const auto compiled = CompilePipelineStage(ShellDocument(stage).view(), 0);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return static_cast<StageKind>(compiled->index());
}

// Run dispatches on the kind: it must say which alternative the variant holds.
TEST(PipelineStageTest, KindsNameTheAlternatives) {
  EXPECT_EQ(KindOf("{$match: {}}"), StageKind::kMatch);
  EXPECT_EQ(KindOf("{$sort: {a: 1}}"), StageKind::kSort);
  EXPECT_EQ(KindOf("{$skip: 1}"), StageKind::kSkip);
  EXPECT_EQ(KindOf("{$limit: 1}"), StageKind::kLimit);
  EXPECT_EQ(KindOf("{$project: {a: 1}}"), StageKind::kProject);
  EXPECT_EQ(KindOf("{$unset: 'a'}"), StageKind::kProject);
  EXPECT_EQ(KindOf("{$count: 'n'}"), StageKind::kCount);
}

TEST(PipelineStageTest, StateBeginsWithWhatTheStageSays) {
  EXPECT_EQ(std::get<std::uint64_t>(MakeStageState(SkipStage{7}, 100)), 7u);
  EXPECT_EQ(std::get<std::uint64_t>(MakeStageState(LimitStage{8}, 100)), 8u);
  EXPECT_EQ(std::get<std::uint64_t>(MakeStageState(CountStage{"n"}, 100)), 0u);
}

}  // namespace
}  // namespace alos::query_internal
