// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef PLUGIN_CACHE_H_
#define PLUGIN_CACHE_H_

#include "plugins/cache/none_cache.h"

namespace alos::plugin {

using Cache = NoneCache;

}  // namespace alos::plugin

#endif  // PLUGIN_CACHE_H_
