// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The command line of one subcommand: flags that it declares, and positional arguments.

#ifndef ALOS_TOOLS_ALOS_ARGUMENTS_H_
#define ALOS_TOOLS_ALOS_ARGUMENTS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/types/span.h"
#include "alos/base/check.h"

namespace alos::tools {

// The exit codes of all subcommands. docs: README.md
inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;     // it could not be done
inline constexpr int kExitUsage = 2;     // the command line is wrong
inline constexpr int kExitFindings = 3;  // it was done, and damage or a difference was found

// Threads: one. Errors: Parse says which argument is wrong and what would be right.
class Arguments {
 public:
  explicit Arguments(std::string_view command) : command_(command) {}

  // Without a value a flag is a switch. Returns itself.
  Arguments& Switch(std::string_view name, std::string_view help) {
    flags_.push_back({std::string(name), std::string(help), "", "", true, false});
    return *this;
  }
  Arguments& Flag(std::string_view name, std::string_view value_name, std::string_view value,
                  std::string_view help) {
    flags_.push_back({std::string(name), std::string(help), std::string(value_name),
                      std::string(value), false, false});
    return *this;
  }
  // --port, --username and so on, of tools/internal/connection_flags.h.
  Arguments& Connection() {
    takes_connection_ = true;
    return *this;
  }

  absl::Status Parse(absl::Span<const std::string> arguments) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const std::string& argument = arguments[i];
      if (argument == "--") {
        positional_.insert(positional_.end(), arguments.begin() + i + 1, arguments.end());
        return absl::OkStatus();
      }
      if (argument.size() < 3 || argument.compare(0, 2, "--") != 0) {
        positional_.push_back(argument);
        continue;
      }
      const std::size_t equals = argument.find('=');
      const bool has_value = equals != std::string::npos;
      const std::string name = argument.substr(2, has_value ? equals - 2 : std::string::npos);
      std::string value = has_value ? argument.substr(equals + 1) : "";
      OneFlag* const flag = Find(name);
      absl::CommandLineFlag* const connection = flag == nullptr ? ConnectionFlag(name) : nullptr;
      if (flag == nullptr && connection == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(
            "--", name, ": ", command_, " has no such flag; ", command_, " --help lists them"));
      }
      if (flag != nullptr && flag->is_switch) {
        if (has_value && value != "true" && value != "false") {
          return absl::InvalidArgumentError(
              absl::StrCat("--", name, " is a switch: it takes no value"));
        }
        flag->is_set = !has_value || value == "true";
        continue;
      }
      if (!has_value) {
        if (i + 1 == arguments.size())
          return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
        value = arguments[++i];
      }
      if (flag != nullptr) {
        flag->value = std::move(value);
        flag->is_set = true;
        continue;
      }
      std::string error;
      if (!connection->ParseFrom(value, &error))
        return absl::InvalidArgumentError(absl::StrCat("--", name, ": ", error));
    }
    return absl::OkStatus();
  }

  // REQUIRES: declared.
  const std::string& Get(std::string_view name) const { return Declared(name).value; }
  bool Has(std::string_view name) const { return Declared(name).is_set; }
  absl::Status GetNumber(std::string_view name, std::uint64_t* number) const {
    if (absl::SimpleAtoi(Get(name), number)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " is \"", Get(name), "\"; it must be a whole number"));
  }
  const std::vector<std::string>& positional() const { return positional_; }

  std::string Help() const {
    std::string text;
    for (const OneFlag& flag : flags_) {
      absl::StrAppend(&text, "  --", flag.name, flag.is_switch ? "" : " ", flag.value_name,
                      flag.value.empty() ? "" : absl::StrCat(" (", flag.value, ")"), "\n      ",
                      flag.help, "\n");
    }
    for (const char* name : kConnectionFlags) {
      const absl::CommandLineFlag* flag = ConnectionFlag(name);
      if (flag == nullptr) continue;
      const std::string value = flag->DefaultValue();
      absl::StrAppend(&text, "  --", name, value.empty() ? "" : absl::StrCat(" (", value, ")"),
                      "\n      ", flag->Help(), "\n");
    }
    return text;
  }

 private:
  struct OneFlag {
    std::string name;
    std::string help;
    std::string value_name;
    std::string value;
    bool is_switch = false;
    bool is_set = false;
  };
  static constexpr const char* kConnectionFlags[] = {"port", "username", "password-file",
                                                     "password", "cipher"};

  OneFlag* Find(std::string_view name) {
    const auto found = std::find_if(flags_.begin(), flags_.end(),
                                    [&](const OneFlag& flag) { return flag.name == name; });
    return found == flags_.end() ? nullptr : &*found;
  }
  const OneFlag& Declared(std::string_view name) const {
    const OneFlag* const flag = const_cast<Arguments*>(this)->Find(name);
    ALOS_CHECK(flag != nullptr);
    return *flag;
  }
  absl::CommandLineFlag* ConnectionFlag(std::string_view name) const {
    if (!takes_connection_ || std::find(std::begin(kConnectionFlags), std::end(kConnectionFlags),
                                        name) == std::end(kConnectionFlags)) {
      return nullptr;
    }
    return absl::FindCommandLineFlag(absl::StrReplaceAll(name, {{"-", "_"}}));
  }

  const std::string command_;
  std::vector<OneFlag> flags_;
  std::vector<std::string> positional_;
  bool takes_connection_ = false;
};

}  // namespace alos::tools

#endif  // ALOS_TOOLS_ALOS_ARGUMENTS_H_
