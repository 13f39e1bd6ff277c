// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugins/codec/none_codec.h"

struct Twin : alos::NoneCodec {
  static constexpr int kLevel = 3;
};

static_assert(alos::CheckCodecList<alos::PolicyList<alos::NoneCodec, Twin>>());
