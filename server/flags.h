// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The server's settings: from the command line, from ALOS_* environment variables, from a
// configuration file, in this order of precedence.

#ifndef ALOS_SERVER_FLAGS_H_
#define ALOS_SERVER_FLAGS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace alos {

inline constexpr std::string_view kServerVersion = "0.1.0";

// Every setting with its default. A member `some_name` is the flag --some-name, the variable
// ALOS_SOME_NAME and the configuration key some-name.
struct ServerFlags {
  std::string port = "localhost:6900";
  std::string username;
  std::string password;
  std::string password_file;

  std::string data_path;  // Flags::Parse fills in the user's data folder.
  std::string db_name = "alosdb";
  std::vector<std::string> load_dbs;
  std::uint32_t shards = 256;

  std::string sync_mode = "async";
  bool disable_crc = false;
  std::uint64_t flush_interval_ms = 1000;
  std::uint64_t history_retention = 300;  // seconds
  std::uint64_t scrub_interval_hours = 24;
  std::uint64_t scrub_mb_per_second = 32;
  std::uint64_t transaction_timeout = 60;  // seconds

  std::uint64_t cache_mb = 512;
  std::uint64_t index_memory_mb = 0;  // 0: half of the machine's memory
  bool automatic_indexes = true;
  int compression = 1;
  std::uint32_t threads = 0;  // 0: one for each core
  std::uint64_t max_request_mb = 64;
  std::uint64_t connection_memory_mb = 512;
  std::uint64_t transactions_memory_mb = 512;

  bool compaction = true;
  double compact_stale_ratio = 0.5;
  std::uint64_t compact_min_size = 4;
  std::uint64_t compaction_rate_mb = 256;
  std::uint64_t max_write_rate = 0;
  std::uint64_t max_offset_cache = 0;
  std::vector<std::string> hook_collections;
  std::string cluster_port;

  bool debug = false;

  // `port`, taken apart. An IPv6 address has lost its brackets.
  std::string listen_host;
  std::uint16_t listen_port = 0;
};

struct ParsedFlags {
  ServerFlags flags;
  bool help = false;     // --help: nothing else has been looked at
  bool version = false;  // --version: likewise
  // For the log, once it is set up.
  std::vector<std::string> warnings;
};

// What the parser reads besides its arguments; in a test, fakes.
struct FlagsContext {
  struct File {
    std::string content;
    // Whether users other than the owner may read it.
    bool others_can_read = false;
  };
  absl::FunctionRef<absl::StatusOr<File>(const std::string& path)> read_file;
  // "NAME=value", as in environ. HOME and XDG_DATA_HOME are used besides ALOS_*.
  absl::Span<const std::string> environment;
  // What --sync-mode may be: the durability policies of this build, the default first.
  absl::Span<const std::string_view> sync_modes;
};

// Reads all three sources and checks the result as a whole. `arguments` are those after the
// program's name. On the command line a value follows `=` or is the next argument; a bool is also
// set by its name alone and unset by --noNAME; given twice, the last one counts.
//
// Threads: a pure function but for context.read_file. Lifetime: none.
// Errors: kInvalidArgument, with the source (for the file, its line), what was wrong and what to
// do:
//   an unknown name (with the nearest known one), a value that is none, a combination that makes no
//   sense or is not safe, a feature that this version lacks. Errors of read_file, with the path.
absl::StatusOr<ParsedFlags> ParseFlags(absl::Span<const std::string> arguments,
                                       const FlagsContext& context);

// What --help prints.
std::string FlagsHelp();

// FlagsContext::read_file for real files.
absl::StatusOr<FlagsContext::File> ReadFlagsFile(const std::string& path);

// Overwrites the value of --password in the arguments and of ALOS_PASSWORD in the environment,
// which other processes can read in /proc. To be called once, after ParseFlags, on main's own argv
// and environ.
void WipePasswords(int argc, char** argv, char** environment);

}  // namespace alos

#endif  // ALOS_SERVER_FLAGS_H_
