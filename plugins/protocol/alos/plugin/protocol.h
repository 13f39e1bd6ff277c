// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The protocol plugin of an ordinary build. (Plugins of this kind provide this header at this path;
// //plugins:protocol picks one.)

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_PLUGIN_PROTOCOL_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_PLUGIN_PROTOCOL_H_

#include "plugin/ciphers.h"
#include "plugins/protocol/alos/alos_protocol.h"

namespace alos::plugin {

using ProtocolOptions = AlosProtocolOptions;

template <class Engine>
using Protocol = AlosProtocol<Engine, Ciphers>;

}  // namespace alos::plugin

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_PLUGIN_PROTOCOL_H_
