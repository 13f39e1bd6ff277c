// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The bag of policies an engine is composed over. One name for a user to spell, and short errors.

#ifndef ALOS_ENGINE_POLICIES_H_
#define ALOS_ENGINE_POLICIES_H_

#include "alos/base/policy_list.h"
#include "alos/base/posix_file_system.h"
#include "plugin/cache.h"
#include "plugin/codecs.h"
#include "plugin/durability.h"

namespace alos {

namespace engine_internal {
template <class List>
struct FirstPolicy;
template <class First, class... Others>
struct FirstPolicy<PolicyList<First, Others...>> {
  using type = First;
};
}  // namespace engine_internal

// What `--sync-mode` is when nobody sets it.
using DefaultDurability = engine_internal::FirstPolicy<plugin::DurabilityPolicies>::type;

// The policies this build was configured with (`--//plugins:...`), over a durability policy of
// plugin::DurabilityPolicies and a file system.
template <class DurabilityPolicyType, class FileSystemType = PosixFileSystem>
struct Policies {
  using FileSystem = FileSystemType;
  using Durability = DurabilityPolicyType;
  using Cache = plugin::Cache;
  using Codecs = plugin::Codecs;
};

}  // namespace alos

#endif  // ALOS_ENGINE_POLICIES_H_
