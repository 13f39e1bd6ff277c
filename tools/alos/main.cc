// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The operator's program: checks, repairs, backs up, restores, exports and imports. See --help.

#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "tools/alos/command.h"

namespace alos::tools {
namespace {

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(absl::Span<const std::string>);
};

constexpr Command kCommands[] = {
    {"check", "verify every byte of a data directory", &RunCheck},
    {"repair", "take what is damaged out of the way; delete nothing", &RunRepair},
    {"backup", "copy databases of a running server, consistent and incremental", &RunBackup},
    {"restore", "make databases of a backup, new ones only", &RunRestore},
    {"export", "write collections as one portable stream", &RunExport},
    {"import", "bring such a stream into a server", &RunImport},
};

std::string Usage() {
  std::string text = "alos COMMAND ...: looks after the data of an alos server\n\n";
  for (const Command& command : kCommands) {
    absl::StrAppend(&text, "  ", command.name, std::string(10 - command.name.size(), ' '),
                    command.summary, "\n");
  }
  absl::StrAppend(
      &text,
      "\nalos COMMAND --help tells more. Exit status: 0 done; 1 it could not be done; 2 "
      "wrong usage;\n3 done, and damage or a difference was found.\n");
  return text;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) {
    std::cerr << Usage();
    return kExitUsage;
  }
  if (arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    std::cout << Usage();
    return kExitOk;
  }
  for (const Command& command : kCommands) {
    if (command.name == arguments[0]) return command.run(absl::MakeConstSpan(arguments).subspan(1));
  }
  return Fail("alos", kExitUsage,
              absl::StrCat("there is no command '", arguments[0], "'\n", Usage()));
}

}  // namespace
}  // namespace alos::tools

int main(int argc, char** argv) { return alos::tools::Main(argc, argv); }
