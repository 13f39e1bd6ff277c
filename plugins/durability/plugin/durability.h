// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The durability policies of the default build; `--sync-mode` chooses among them at start.

#ifndef ALOS_PLUGIN_DURABILITY_H_
#define ALOS_PLUGIN_DURABILITY_H_

#include "alos/base/policy_list.h"
#include "plugins/durability/async.h"
#include "plugins/durability/sync.h"

namespace alos::plugin {

// The first one is the default.
using DurabilityPolicies = PolicyList<AsyncDurability, SyncDurability>;

}  // namespace alos::plugin

#endif  // ALOS_PLUGIN_DURABILITY_H_
