// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The server: flags, then an engine, then a protocol over it, then the network, until a signal.
//
// Exit codes: 0 stopped in order; 1 could not start, or not everything could be written at the end;
// 2 the flags are wrong; 128 + N ended at once by signal N.

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/log.h"
#include "alos/base/status_macros.h"
#include "alos/document/json.h"
#include "alos/engine/changes.h"
#include "alos/engine/engine.h"
#include "alos/engine/options.h"
#include "alos/engine/policies.h"
#include "alos/net/credentials.h"
#include "alos/net/server.h"
#include "plugin/durability.h"
#include "plugin/protocol.h"
#include "server/flags.h"
#include "server/stop_signal.h"

namespace alos {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// Connections and shard files both take descriptors: as many as may be had without asking.
void RaiseDescriptorLimit() {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    ALOS_LOG(kWarning) << "the limit of open files stays at its default";
}

std::vector<std::string_view> SyncModes() {
  std::vector<std::string_view> names;
  plugin::DurabilityPolicies::ForEach(
      [&](auto policy) { names.push_back(decltype(policy)::type::kName); });
  return names;
}

template <class Engine>
absl::Status LoadDatabases(Engine& engine, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const absl::Time start = absl::Now();
    ALOS_ASSIGN_OR_RETURN(const auto* const database, engine.FindDatabase(name));
    if (database == nullptr) {
      ALOS_LOG(kWarning) << "--load-dbs: there is no database " << name
                         << " yet; its first write will make it";
    } else {
      ALOS_LOG(kInfo) << "opened database " << name << " in " << SecondsSince(start) << " s";
    }
  }
  return absl::OkStatus();
}

// The hook of --hook-collections.
void LogChange(std::string_view database, const Change& change) {
  std::string text = absl::StrCat("hook ", NameOf(change.kind), " ", database, " ",
                                  change.collection, " ", change.timestamp);
  if (change.before) absl::StrAppend(&text, " before ", ToJson(*change.before));
  if (change.after) absl::StrAppend(&text, " after ", ToJson(*change.after));
  ALOS_LOG(kInfo) << text;
}

template <class Durability>
absl::Status Serve(ServerFlags flags, absl::Time start, StopSignal& stop_signal) {
  using ServerEngine = BasicEngine<Policies<Durability>>;
  using ServerProtocol = plugin::Protocol<ServerEngine>;

  EngineOptions engine_options;
  engine_options.data_path = flags.data_path;
  engine_options.shards = flags.shards;
  engine_options.cache_bytes = static_cast<std::size_t>(flags.cache_mb) << 20;
  engine_options.compression_level = flags.compression;
  engine_options.check_bodies = !flags.disable_crc;
  engine_options.automatic_indexes = flags.automatic_indexes;
  engine_options.index_bytes_max =
      flags.index_memory_mb != 0 ? flags.index_memory_mb << 20
                                 : static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                       static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) / 2;
  engine_options.compaction = flags.compaction;
  engine_options.compact_stale_ratio = flags.compact_stale_ratio;
  engine_options.compact_bytes_min = flags.compact_min_size << 20;
  engine_options.compaction_rate_bytes = flags.compaction_rate_mb << 20;
  engine_options.flush_interval = absl::Milliseconds(flags.flush_interval_ms);
  engine_options.max_write_rate = flags.max_write_rate;
  engine_options.all_transactions_bytes_max = static_cast<std::size_t>(flags.transactions_memory_mb)
                                              << 20;
  engine_options.hook_collections = flags.hook_collections;
  engine_options.hook = LogChange;
  engine_options.history_retention = absl::Seconds(flags.history_retention);
  engine_options.scrub_interval = absl::Hours(flags.scrub_interval_hours);
  engine_options.scrub_bytes_per_second = flags.scrub_mb_per_second << 20;
  const std::uint64_t index_bytes_max = engine_options.index_bytes_max;
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<ServerEngine> engine,
                        ServerEngine::Open(std::move(engine_options)));
  ALOS_LOG(kInfo) << "data in " << flags.data_path << "; sync mode " << Durability::kName
                  << "; new databases get " << flags.shards << " shards; cache " << flags.cache_mb
                  << " MB; compression " << flags.compression << "; indexes up to "
                  << (index_bytes_max >> 20) << " MB"
                  << (flags.automatic_indexes ? "" : ", none automatic");
  ALOS_RETURN_IF_ERROR(LoadDatabases(*engine, flags.load_dbs));

  plugin::ProtocolOptions protocol_options;
  protocol_options.default_database = flags.db_name;
  protocol_options.frame_bytes_max = static_cast<std::size_t>(flags.max_request_mb) << 20;
  protocol_options.transaction_idle_timeout = absl::Seconds(flags.transaction_timeout);
  if (!flags.username.empty())
    protocol_options.credentials = Credentials(flags.username, flags.password);
  ServerProtocol protocol(engine.get(), std::move(protocol_options));

  ServerOptions server_options;
  server_options.host = flags.listen_host;
  server_options.port = flags.listen_port;
  server_options.threads = static_cast<int>(flags.threads);
  server_options.buffer_bytes_max = static_cast<std::size_t>(flags.connection_memory_mb) << 20;
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Server<ServerProtocol>> server,
                        Server<ServerProtocol>::Start(std::move(server_options), &protocol));
  stop_signal.Arm();
  ALOS_LOG(kInfo) << "listening on " << absl::StrJoin(server->addresses(), " and ")
                  << (flags.username.empty() ? ", plain, without credentials"
                                             : ", encrypted, for those who know the credentials")
                  << "; ready after " << SecondsSince(start) << " s";

  const int signal_number = stop_signal.Wait();
  const absl::Time stop = absl::Now();
  ALOS_LOG(kInfo) << (signal_number == SIGINT ? "SIGINT" : "SIGTERM")
                  << ": finishing what is under way (a second signal stops at once)";
  server->Stop();
  ALOS_RETURN_IF_ERROR(engine->Close());
  ALOS_LOG(kInfo) << "stopped in order after " << SecondsSince(stop) << " s";
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  const absl::Time start = absl::Now();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable)
    environment.emplace_back(*variable);
  const std::vector<std::string_view> sync_modes = SyncModes();

  absl::StatusOr<ParsedFlags> parsed =
      ParseFlags(arguments, {&ReadFlagsFile, environment, sync_modes});
  WipePasswords(argc, argv, environ);
  if (!parsed.ok()) {
    std::fprintf(stderr, "%s\n", std::string(parsed.status().message()).c_str());
    return kExitUsage;
  }
  if (parsed->help || parsed->version) {
    const std::string text =
        parsed->help ? FlagsHelp() : absl::StrCat("alos ", kServerVersion, "\n");
    return std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0 ? 0 : kExitFailure;
  }

  if (parsed->flags.debug) SetMinimumLogLevel(LogLevel::kDebug);
  umask(077);  // Documents are their owner's business.
  StopSignal stop_signal;
  ALOS_LOG(kInfo) << "alos " << kServerVersion << ", process " << getpid();
  for (const std::string& warning : parsed->warnings) ALOS_LOG(kWarning) << warning;
  RaiseDescriptorLimit();

  absl::Status status;
  plugin::DurabilityPolicies::VisitFirst(
      [&](auto policy) { return decltype(policy)::type::kName == parsed->flags.sync_mode; },
      [&](auto policy) {
        status =
            Serve<typename decltype(policy)::type>(std::move(parsed->flags), start, stop_signal);
      });
  if (status.ok()) return 0;
  ALOS_LOG(kError) << status.message();
  return kExitFailure;
}

}  // namespace
}  // namespace alos

int main(int argc, char** argv) { return alos::Main(argc, argv); }
