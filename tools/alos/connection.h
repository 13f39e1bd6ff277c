// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The client's options as the flags of a command line say.

#ifndef ALOS_TOOLS_ALOS_CONNECTION_H_
#define ALOS_TOOLS_ALOS_CONNECTION_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "alos/base/status_macros.h"
#include "alos/net/client.h"
#include "tools/internal/connection_flags.h"

namespace alos::tools {

inline absl::StatusOr<ClientOptions> ClientOptionsFromFlags(std::string database = "") {
  ALOS_ASSIGN_OR_RETURN(const tools_internal::ConnectionSettings connection,
                        tools_internal::ConnectionSettingsFromFlags());
  ClientOptions options{
      .host = connection.host, .port = connection.port, .database = std::move(database)};
  if (connection.handshake_version.has_value()) {
    options.username = connection.username;
    options.password = connection.password;
    options.handshake_version = *connection.handshake_version;
  }
  return options;
}

}  // namespace alos::tools

#endif  // ALOS_TOOLS_ALOS_CONNECTION_H_
