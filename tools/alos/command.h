// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of the program `alos`.

#ifndef ALOS_TOOLS_ALOS_COMMAND_H_
#define ALOS_TOOLS_ALOS_COMMAND_H_

#include <iostream>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "tools/alos/arguments.h"

namespace alos::tools {

// Parses the arguments of a subcommand. True: go on. False: *exit_code is to be returned, all has
// been said. `usage`: what --help prints above the flags.
inline bool Begin(std::string_view command, std::string_view usage,
                  absl::Span<const std::string> arguments, Arguments* parsed, int* exit_code) {
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument != "--help" && argument != "-h") continue;
    std::cout << usage << "\n\nFlags:\n" << parsed->Help();
    *exit_code = kExitOk;
    return false;
  }
  const absl::Status status = parsed->Parse(arguments);
  if (status.ok()) return true;
  std::cerr << command << ": " << status.message() << "\n";
  *exit_code = kExitUsage;
  return false;
}

inline int Fail(std::string_view command, int exit_code, std::string_view message) {
  std::cerr << command << ": " << message << "\n";
  return exit_code;
}

int RunCheck(absl::Span<const std::string> arguments);
int RunRepair(absl::Span<const std::string> arguments);
int RunBackup(absl::Span<const std::string> arguments);
int RunRestore(absl::Span<const std::string> arguments);
int RunExport(absl::Span<const std::string> arguments);
int RunImport(absl::Span<const std::string> arguments);

}  // namespace alos::tools

#endif  // ALOS_TOOLS_ALOS_COMMAND_H_
