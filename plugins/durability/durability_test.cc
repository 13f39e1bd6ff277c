// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The policies that ship, through the suite that every policy has to pass.

#include "plugin/durability.h"

#include "alos/base/posix_file_system.h"
#include "gtest/gtest.h"
#include "testing/conformance/durability_conformance.h"

namespace alos {
namespace {

INSTANTIATE_TYPED_TEST_SUITE_P(Async, DurabilityConformance, AsyncDurability);
INSTANTIATE_TYPED_TEST_SUITE_P(Sync, DurabilityConformance, SyncDurability);

struct NotAPolicy {
  static constexpr std::string_view kName = "none";
  static constexpr bool kAcknowledgedIsDurable = true;
  template <class FileSystem>
  struct Log {};
};
static_assert(DurabilityPolicy<AsyncDurability, PosixFileSystem>);
static_assert(DurabilityPolicy<SyncDurability, PosixFileSystem>);
static_assert(!DurabilityPolicy<NotAPolicy, PosixFileSystem>);

}  // namespace
}  // namespace alos
