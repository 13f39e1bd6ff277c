// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "tools/internal/connection_flags.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "alos/base/status_macros.h"
#include "plugin/ciphers.h"

ABSL_FLAG(std::string, port, "localhost:6900", "the server, host:port");
ABSL_FLAG(std::string, username, "", "user name; without one the connection is plain");
ABSL_FLAG(std::string, password, "",
          "password; others on this machine can see it here, so prefer --password-file or the "
          "environment variable ALOS_PASSWORD");
ABSL_FLAG(std::string, password_file, "", "file whose first line is the password");
ABSL_FLAG(std::string, cipher, "",
          "none, aes-256-gcm or aegis-128l; aegis-128l with --username, else none");

namespace alos::tools_internal {

absl::Status ParseAddress(std::string_view text, std::string* host, std::uint16_t* port) {
  const std::size_t colon = text.rfind(':');
  unsigned number = 0;
  if (colon == std::string_view::npos || !absl::SimpleAtoi(text.substr(colon + 1), &number) ||
      number == 0 || number > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("the address is \"", text, "\"; it must be host:port, as in localhost:6900"));
  }
  std::string_view name = text.substr(0, colon);
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') {
    name = name.substr(1, name.size() - 2);
  } else if (absl::StrContains(name, ':')) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the address is \"", text, "\"; an IPv6 address needs brackets, as in [::1]:6900"));
  }
  *host = name.empty() ? "localhost" : std::string(name);
  *port = static_cast<std::uint16_t>(number);
  return absl::OkStatus();
}

absl::StatusOr<ConnectionSettings> ConnectionSettingsFromFlags() {
  ConnectionSettings settings;
  ALOS_RETURN_IF_ERROR(ParseAddress(absl::GetFlag(FLAGS_port), &settings.host, &settings.port));
  settings.username = absl::GetFlag(FLAGS_username);
  settings.password = absl::GetFlag(FLAGS_password);
  const std::string password_file = absl::GetFlag(FLAGS_password_file);
  if (!password_file.empty()) {
    if (!settings.password.empty()) {
      return absl::InvalidArgumentError("give --password or --password-file, not both");
    }
    std::ifstream file(UserPath(password_file));
    if (!std::getline(file, settings.password)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--password-file ", password_file, " has no line that can be read"));
    }
    if (!settings.password.empty() && settings.password.back() == '\r') {
      settings.password.pop_back();
    }
  } else if (const char* variable = std::getenv("ALOS_PASSWORD");
             settings.password.empty() && variable != nullptr) {
    settings.password = variable;
  }
  std::string cipher = absl::GetFlag(FLAGS_cipher);
  if (cipher.empty()) cipher = settings.username.empty() ? "none" : "aegis-128l";
  if (cipher == "none") return settings;
  std::string known = "none";
  plugin::Ciphers::ForEach([&](auto type) {
    using Cipher = typename decltype(type)::type;
    if (cipher == Cipher::kName) settings.handshake_version = Cipher::kVersion;
    absl::StrAppend(&known, ", ", Cipher::kName);
  });
  if (!settings.handshake_version.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--cipher is \"", cipher, "\"; this build knows ", known));
  }
  if (settings.username.empty() || settings.password.empty()) {
    return absl::InvalidArgumentError(
        "an encrypted connection needs --username and --password-file (or --password)");
  }
  return settings;
}

namespace {

// The flags of the program and of this file, spelled with dashes; not those of the libraries.
void PrintHelp(std::string_view usage) {
  std::cout << usage << "\n\nFlags:\n";
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (!absl::StrContains(flag->Filename(), "tools/")) continue;
    const std::string value = flag->DefaultValue();
    std::cout << "  --" << absl::StrReplaceAll(name, {{"_", "-"}})
              << (value.empty() ? "" : absl::StrCat(" (", value, ")")) << "\n      " << flag->Help()
              << "\n";
  }
}

}  // namespace

std::vector<std::string> ParseCommandLine(int argc, char** argv, std::string_view usage) {
  absl::SetProgramUsageMessage(usage);
  std::vector<std::string> arguments(argv, argv + argc);
  for (std::size_t i = 1; i < arguments.size() && arguments[i] != "--"; ++i) {
    std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      PrintHelp(usage);
      std::exit(0);
    }
    if (!absl::StartsWith(argument, "--")) continue;
    const std::size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-',
                 '_');
    const std::string name = argument.substr(2, end - 2);
    const bool is_negated_bool =
        absl::StartsWith(name, "no") && absl::FindCommandLineFlag(name.substr(2)) != nullptr;
    if (absl::FindCommandLineFlag(name) == nullptr && !is_negated_bool) {
      std::cerr << argv[i] << ": no such flag; --help lists them\n";
      std::exit(2);
    }
  }
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, pointers.data());
  return std::vector<std::string>(rest.begin() + 1, rest.end());
}

std::string UserPath(std::string_view path) {
  const char* directory = std::getenv("BUILD_WORKING_DIRECTORY");
  if (directory == nullptr || path.empty() || path.front() == '/') return std::string(path);
  return absl::StrCat(directory, "/", path);
}

}  // namespace alos::tools_internal
