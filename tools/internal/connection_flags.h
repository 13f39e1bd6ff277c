// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The flags of every tool that connects to a server: --port, --username, --password,
// --password-file, --cipher; spelled as the server spells its own.

#ifndef ALOS_TOOLS_INTERNAL_CONNECTION_FLAGS_H_
#define ALOS_TOOLS_INTERNAL_CONNECTION_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace alos::tools_internal {

// Where and as whom to connect.
struct ConnectionSettings {
  std::string host;
  std::uint16_t port = 0;
  std::string username;
  std::string password;
  std::optional<std::uint8_t> handshake_version;  // nullopt: a plain connection
};

// "host:port", "[::1]:6900". kInvalidArgument with what was wrong.
absl::Status ParseAddress(std::string_view text, std::string* host, std::uint16_t* port);

// What the flags say. A password comes from --password, --password-file or the environment variable
// ALOS_PASSWORD, in this order. Without --username connections are plain; with it, they are
// encrypted with AEGIS-128L unless --cipher says otherwise.
absl::StatusOr<ConnectionSettings> ConnectionSettingsFromFlags();

// Parses the command line with Abseil's flags, taking --data-path for --data_path, and returns the
// positional arguments. Ends the process with status 2 for a flag nobody knows, 0 after --help.
std::vector<std::string> ParseCommandLine(int argc, char** argv, std::string_view usage);

// A path as the user meant it: `bazel run` starts programs in another directory than it was called
// from.
std::string UserPath(std::string_view path);

}  // namespace alos::tools_internal

#endif  // ALOS_TOOLS_INTERNAL_CONNECTION_FLAGS_H_
