// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The codecs of a build that chooses nothing else.

#ifndef PLUGIN_CODECS_H_
#define PLUGIN_CODECS_H_

#include "alos/base/policy_list.h"
#include "plugins/codec/lz4_codec.h"
#include "plugins/codec/none_codec.h"
#include "plugins/codec/zstd_codec.h"

namespace alos::plugin {

using Codecs = PolicyList<NoneCodec, Lz4Codec, ZstdCodec>;

}  // namespace alos::plugin

#endif  // PLUGIN_CODECS_H_
