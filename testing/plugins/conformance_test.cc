// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The plugins of this folder do what their kind must.

#include "gtest/gtest.h"
#include "plugin/cache.h"
#include "plugin/ciphers.h"
#include "plugin/codecs.h"
#include "plugin/durability.h"
#include "testing/conformance/cache_conformance.h"
#include "testing/conformance/cipher_conformance.h"
#include "testing/conformance/codec_conformance.h"
#include "testing/conformance/durability_conformance.h"

namespace alos {
namespace {

struct DirectMappedUnderTest {
  using CacheType = testing_plugins::DirectMappedCache;
  static constexpr bool kKeepsSomething = true;
};

INSTANTIATE_TYPED_TEST_SUITE_P(DirectMapped, CacheConformance, DirectMappedUnderTest);
INSTANTIATE_TYPED_TEST_SUITE_P(ChaCha, CipherConformance, testing_plugins::ChaCha20Poly1305Cipher);
INSTANTIATE_TYPED_TEST_SUITE_P(Xor, CodecConformance, testing_plugins::XorCodec);
INSTANTIATE_TYPED_TEST_SUITE_P(ShardFlush, DurabilityConformance,
                               testing_plugins::ShardFlushDurability);

static_assert(CheckCodecList<plugin::Codecs>());

}  // namespace
}  // namespace alos
