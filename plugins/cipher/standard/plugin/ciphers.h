// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The cipher plugin of an ordinary build: both ciphers, so that every version of the handshake can
// be served. (Plugins of this kind provide this header at this path; //plugins:cipher picks one.)

#ifndef ALOS_PLUGINS_CIPHER_STANDARD_PLUGIN_CIPHERS_H_
#define ALOS_PLUGINS_CIPHER_STANDARD_PLUGIN_CIPHERS_H_

#include "alos/base/policy_list.h"
#include "plugins/cipher/aegis_128l/aegis_128l.h"
#include "plugins/cipher/aes_256_gcm/aes_256_gcm.h"

namespace alos::plugin {

using Ciphers = PolicyList<Aes256GcmCipher, Aegis128lCipher>;

}  // namespace alos::plugin

#endif  // ALOS_PLUGINS_CIPHER_STANDARD_PLUGIN_CIPHERS_H_
