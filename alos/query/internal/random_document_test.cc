// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "alos/query/internal/random_document.h"

#include <set>
#include <string>

#include "alos/document/value.h"
#include "gtest/gtest.h"

namespace alos::query_internal {
namespace {

TEST(RandomDocumentTest, IsValidVariedAndReproducible) {
  RandomDocuments random(1), again(1);
  std::set<ValueType> types;
  for (int i = 0; i < 1000; ++i) {
    const std::string document = random.Document();
    EXPECT_EQ(document, again.Document());
    const auto view = ValueView::Parse(document);
    ASSERT_TRUE(view.ok());
    for (const auto entry : view->entries()) types.insert(entry.value.type());
  }
  EXPECT_EQ(types.size(), 10u);  // All but extensions.
}

}  // namespace
}  // namespace alos::query_internal
