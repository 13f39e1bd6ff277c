// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef PLUGIN_CACHE_H_
#define PLUGIN_CACHE_H_

#include "plugins/cache/lru_cache.h"

namespace alos::plugin {

using Cache = LruCache;

}  // namespace alos::plugin

#endif  // PLUGIN_CACHE_H_
