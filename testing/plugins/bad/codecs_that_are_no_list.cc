// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "plugins/codec/none_codec.h"

static_assert(alos::CheckCodecList<alos::NoneCodec>());
