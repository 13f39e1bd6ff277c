// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Abseil's flag library parses the values. The names are looked up here: ABSL_FLAG cannot have a
// '-' in a name, nor give a flag's source, nor be parsed twice in a test.

#include "server/flags.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/flags/marshalling.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "alos/base/status_macros.h"

namespace alos {
namespace {

constexpr std::string_view kVariablePrefix = "ALOS_";
constexpr std::size_t kPasswordSizeGood = 12;
constexpr std::uint32_t kShardsMax = 4096;
constexpr std::uint64_t kSecondsMax = 366 * 86'400;
constexpr std::uint64_t kCacheMbMax = std::uint64_t{1} << 24;
constexpr std::uint64_t kMaxRequestMbMax = 1024;

// One setting. `set` returns what is wrong with a text, or nothing.
struct Definition {
  std::string_view name;
  std::string_view placeholder;  // of its value, in --help; empty for a bool
  std::string_view help;
  std::optional<std::string> (*set)(ServerFlags& flags, std::string_view text);
  std::string (*show)(const ServerFlags& flags);
  // Why this version refuses to have it set, and when (always, if null).
  std::string_view missing = "";
  bool (*asks_for_missing)(const ServerFlags& flags) = nullptr;

  bool is_bool() const { return placeholder.empty(); }
};

template <class T>
std::string Expectation() {
  if constexpr (std::is_same_v<T, bool>) {
    return "is neither true nor false";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "is not a number";
  } else {
    return "is not a whole number, 0 or more";
  }
}

template <auto kMember>
std::optional<std::string> Set(ServerFlags& flags, std::string_view text) {
  using T = std::remove_reference_t<decltype(flags.*kMember)>;
  if constexpr (std::is_same_v<T, std::string>) {
    flags.*kMember = std::string(text);
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    T names;
    for (std::string_view name : absl::StrSplit(text, ',')) {
      name = absl::StripAsciiWhitespace(name);
      if (!name.empty()) names.emplace_back(name);
    }
    flags.*kMember = std::move(names);
  } else {
    T value;
    if (std::string error; !absl::ParseFlag(text, &value, &error)) return Expectation<T>();
    flags.*kMember = value;
  }
  return std::nullopt;
}

template <auto kMember>
std::string Show(const ServerFlags& flags) {
  using T = std::remove_cvref_t<decltype(flags.*kMember)>;
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    return absl::StrJoin(flags.*kMember, ",");
  } else {
    return absl::UnparseFlag(flags.*kMember);
  }
}

template <auto kMember>
constexpr Definition Define(std::string_view name, std::string_view placeholder,
                            std::string_view help) {
  return {name, placeholder, help, &Set<kMember>, &Show<kMember>};
}

template <auto kMember>
constexpr Definition DefineMissing(std::string_view name, std::string_view placeholder,
                                   std::string_view help, std::string_view missing,
                                   bool (*asks_for_missing)(const ServerFlags&)) {
  return {name, placeholder, help, &Set<kMember>, &Show<kMember>, missing, asks_for_missing};
}

struct Group {
  std::string_view title;
  std::vector<Definition> definitions;
};

const std::vector<Group>& Groups() {
  using F = ServerFlags;
  static const auto& groups = *new std::vector<Group>{
      {"Connections",
       {
           Define<&F::port>("port", "HOST:PORT",
                            "Where to listen. localhost is both loopback addresses; 0.0.0.0:6900 "
                            "and [::]:6900 are all\naddresses, which needs credentials. A port "
                            "alone means localhost; port 0 means any free one."),
           Define<&F::username>("username", "NAME",
                                "With a password: only clients that know both may connect, and "
                                "connections are encrypted.\nWithout: this machine only, plain."),
           Define<&F::password>("password", "TEXT",
                                "Other users of this machine may see it while the server starts: "
                                "prefer the next one."),
           Define<&F::password_file>("password-file", "FILE",
                                     "Holds the password in its first line; should be readable by "
                                     "its owner only."),
           Define<&F::max_request_mb>("max-request-mb", "N", "The largest request accepted."),
       }},
      {"Data",
       {
           Define<&F::data_path>("data-path", "FOLDER",
                                 "Where everything is kept; made when absent. One server at a "
                                 "time. Default: $XDG_DATA_HOME/alos,\n~/.local/share/alos, or "
                                 "/var/lib/alos for a user without a home."),
           Define<&F::db_name>("db-name", "NAME", "The database of clients that name none."),
           Define<&F::load_dbs>("load-dbs", "NAME,...",
                                "Databases to open at start; others are opened when first used."),
           Define<&F::shards>("shards", "N",
                              "Shards of databases that are made from now on; an existing one "
                              "keeps its own. Powers of two are best."),
           Define<&F::compression>("compression", "0|1|9",
                                   "How new documents are stored: 0 as they are, 1 fast (LZ4), 9 "
                                   "small (Zstandard).\nAll can be read whatever this says."),
       }},
      {"Durability",
       {
           Define<&F::sync_mode>("sync-mode", "MODE",
                                 "async: a write is acknowledged once the kernel has it, and on "
                                 "disk within the flush interval.\nKilling the server loses "
                                 "nothing, a power failure at most that interval.\nsync: a write "
                                 "is acknowledged once it is on disk. Nothing acknowledged is "
                                 "ever lost."),
           Define<&F::flush_interval_ms>("flush-interval-ms", "N",
                                         "What a power failure can cost with async."),
           Define<&F::history_retention>("history-retention", "SECONDS",
                                         "For how long states of the past can be read, and change "
                                         "feeds be resumed."),
           Define<&F::transaction_timeout>("transaction-timeout", "SECONDS",
                                           "Transactions that nobody has used for so long are "
                                           "rolled back."),
           Define<&F::scrub_interval_hours>(
               "scrub-interval-hours", "N",
               "How often the checksums of all records are verified in the background; 0: never.\n"
               "What is damaged goes to the log and into the statistics."),
           Define<&F::scrub_mb_per_second>("scrub-mb-per-second", "N",
                                           "How fast, at most; 0: as fast as it can."),
           Define<&F::disable_crc>("disable-crc", "",
                                   "No checksum over the bodies of new documents: a damaged or "
                                   "torn one is served as it is.\nNot with sync."),
       }},
      {"Resources",
       {
           Define<&F::cache_mb>("cache-mb", "N",
                                "Memory for hot documents, for each database; 0 turns the cache "
                                "off."),
           Define<&F::index_memory_mb>("index-memory-mb", "N",
                                       "The most that the secondary indexes of a database may "
                                       "take, in memory and in files; "
                                       "0: half of the\nmachine's memory. Above it automatic "
                                       "indexes are dropped, the least "
                                       "useful first; the log says which."),
           Define<&F::automatic_indexes>("automatic-indexes", "true|false",
                                         "Queries on a field without an index have one made in the "
                                         "background."),
           Define<&F::connection_memory_mb>(
               "connection-memory-mb", "N",
               "What large requests that are being received and answers that are not read yet may "
               "take, of all\nconnections together. Above it they wait."),
           Define<&F::transactions_memory_mb>(
               "transactions-memory-mb", "N",
               "What all open transactions may take together, with 256 MB at most for the writes "
               "of each. Above it what\nthey write is refused, until some end."),
           Define<&F::threads>("threads", "N", "Network threads; 0: as many as cores."),
           Define<&F::max_write_rate>("max-write-rate", "N",
                                      "Documents written per second, for each database: writers "
                                      "wait for their turn; 0: no limit."),
           DefineMissing<&F::max_offset_cache>(
               "max-offset-cache", "N", "Entries of a shard's offset cache; 0: the engine decides.",
               "the engine keeps all offsets in memory and has no such cache in this version",
               [](const F& flags) { return flags.max_offset_cache != 0; }),
       }},
      {"Compaction",
       {
           Define<&F::compaction>(
               "compaction", "",
               "Give the space of deleted and replaced documents back in the background."),
           Define<&F::compact_stale_ratio>("compact-stale-ratio", "R",
                                           "Compact a shard when at least this part of its log is "
                                           "stale: above 0, at most 1."),
           Define<&F::compact_min_size>("compact-min-size", "MB",
                                        "Leave shards with smaller logs alone."),
           Define<&F::compaction_rate_mb>("compaction-rate-mb", "N",
                                          "Megabytes of documents that are moved in a second; 0: "
                                          "as fast as it goes."),
       }},
      {"Others",
       {
           Define<&F::hook_collections>("hook-collections", "NAME,...",
                                        "Collections each of whose changes is a line of the log, "
                                        "with the document before and after."),
           DefineMissing<&F::cluster_port>(
               "cluster-port", "HOST:PORT", "Where other nodes connect.",
               "replication is not in this version",
               [](const F& flags) { return !flags.cluster_port.empty(); }),
           Define<&F::debug>("debug", "", "Log more."),
       }},
  };
  return groups;
}

const Definition* FindDefinition(std::string_view name) {
  for (const Group& group : Groups()) {
    for (const Definition& definition : group.definitions) {
      if (definition.name == name) return &definition;
    }
  }
  return nullptr;
}

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

constexpr std::string_view kCommandLineOnly[] = {"config", "help", "version"};

// The known name that is most like `name`, if one is like it at all. A beginning counts as near.
std::string_view NearestName(std::string_view name, bool command_line) {
  std::string_view nearest;
  constexpr std::size_t kNameSizeMax = 64;  // A longer one is no slip of the hand.
  if (name.empty() || name.size() > kNameSizeMax) return nearest;
  std::size_t least = std::max<std::size_t>(2, name.size() / 2) + 1;
  const auto consider = [&](std::string_view known) {
    std::size_t distance = EditDistance(name, known);
    if (name.size() >= 3 && absl::StartsWith(known, name))
      distance = std::min<std::size_t>(distance, 1);
    if (distance < least) {
      least = distance;
      nearest = known;
    }
  };
  for (const Group& group : Groups()) {
    for (const Definition& definition : group.definitions) consider(definition.name);
  }
  if (command_line)
    std::for_each(std::begin(kCommandLineOnly), std::end(kCommandLineOnly), consider);
  return nearest;
}

// "cache-mb" -> "ALOS_CACHE_MB"
std::string VariableName(std::string_view name) {
  return absl::StrCat(kVariablePrefix,
                      absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}})));
}

// In increasing precedence.
enum class Source { kDefault, kFile, kEnvironment, kCommandLine };

class Parser {
 public:
  explicit Parser(const FlagsContext& context) : context_(context) {}

  absl::StatusOr<ParsedFlags> Parse(absl::Span<const std::string> arguments) {
    ALOS_ASSIGN_OR_RETURN(const std::vector<Setting> from_command_line, ReadCommandLine(arguments));
    if (result_.help || result_.version) return std::move(result_);
    ALOS_ASSIGN_OR_RETURN(const std::vector<Setting> from_environment, ReadEnvironment());
    if (!config_.empty()) ALOS_RETURN_IF_ERROR(ApplyFile());
    for (const Setting& setting : from_environment)
      ALOS_RETURN_IF_ERROR(Apply(setting, Source::kEnvironment));
    for (const Setting& setting : from_command_line)
      ALOS_RETURN_IF_ERROR(Apply(setting, Source::kCommandLine));
    ALOS_RETURN_IF_ERROR(Complete());
    return std::move(result_);
  }

 private:
  struct Setting {
    const Definition* definition;
    std::string value;
    std::string
        where;  // how the user spelled it: "--cache-mb", "ALOS_CACHE_MB", "alos.conf:3: cache-mb"
  };
  using Settings = absl::StatusOr<std::vector<Setting>>;

  static absl::Status Error(std::string_view where, std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
  }

  static std::string Suggestion(std::string_view nearest) {
    if (nearest.empty()) return "; --help lists all";
    return absl::StrCat("; did you mean ", nearest, "?");
  }

  Settings ReadCommandLine(absl::Span<const std::string> arguments) {
    std::vector<Setting> settings;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      std::string_view text = arguments[i];
      if (!absl::ConsumePrefix(&text, "--") && !absl::ConsumePrefix(&text, "-")) {
        // Not named when it may be the rest of a password with a space in it.
        const bool secret = !settings.empty() && settings.back().definition->name == "password";
        return Error(secret ? absl::StrCat("argument ", i + 1) : absl::StrCat("\"", text, "\""),
                     "not a flag (they begin with --); a value with spaces needs quotes");
      }
      const std::size_t equals = text.find('=');
      const std::string name = absl::StrReplaceAll(text.substr(0, equals), {{"_", "-"}});
      std::optional<std::string> value;
      if (equals != text.npos) value = std::string(text.substr(equals + 1));
      const auto next = [&]() -> std::optional<std::string> {
        if (i + 1 == arguments.size() || absl::StartsWith(arguments[i + 1], "--"))
          return std::nullopt;
        return arguments[++i];
      };

      if (name == "help" || name == "h" || name == "version") {
        (name == "version" ? result_.version : result_.help) = true;
        return settings;
      }
      if (name == "config") {
        if (!value) value = next();
        if (!value || value->empty()) return Error("--config", "needs the path of a file");
        config_ = *value;
        continue;
      }

      const Definition* definition = FindDefinition(name);
      if (definition != nullptr && definition->is_bool()) {
        // `--compaction`, `--compaction=false`, `--compaction false`
        if (!value && i + 1 < arguments.size()) {
          bool ignored;
          std::string error;
          if (absl::ParseFlag(arguments[i + 1], &ignored, &error)) value = arguments[++i];
        }
        settings.push_back({definition, value.value_or("true"), absl::StrCat("--", name)});
        continue;
      }
      if (definition == nullptr) {
        std::string_view negated = name;
        if (absl::ConsumePrefix(&negated, "no")) {
          absl::ConsumePrefix(&negated, "-");
          definition = FindDefinition(negated);
          if (definition != nullptr && definition->is_bool()) {
            if (value) return Error(absl::StrCat("--", name), "takes no value");
            settings.push_back({definition, "false", absl::StrCat("--", name)});
            continue;
          }
        }
        const std::string_view nearest = NearestName(name, true);
        return Error(absl::StrCat("--", name),
                     absl::StrCat("no such flag",
                                  Suggestion(nearest.empty() ? "" : absl::StrCat("--", nearest))));
      }
      if (!value) value = next();
      if (!value) {
        return Error(absl::StrCat("--", name),
                     absl::StrCat("needs a value: --", name, "=", definition->placeholder));
      }
      settings.push_back({definition, *std::move(value), absl::StrCat("--", name)});
    }
    return settings;
  }

  Settings ReadEnvironment() {
    std::vector<Setting> settings;
    for (const std::string& variable : context_.environment) {
      const std::pair<std::string_view, std::string_view> parts =
          absl::StrSplit(variable, absl::MaxSplits('=', 1));
      const auto [variable_name, value] = parts;
      if (variable_name == "HOME") home_ = std::string(value);
      if (variable_name == "XDG_DATA_HOME") data_home_ = std::string(value);
      std::string_view suffix = variable_name;
      if (!absl::ConsumePrefix(&suffix, kVariablePrefix)) continue;
      if (suffix == "CONFIG") {
        if (config_.empty()) config_ = std::string(value);
        continue;
      }
      const std::string name = absl::AsciiStrToLower(absl::StrReplaceAll(suffix, {{"_", "-"}}));
      const Definition* definition = FindDefinition(name);
      if (definition == nullptr || VariableName(name) != variable_name) {
        const std::string_view nearest = NearestName(name, false);
        return Error(absl::StrCat("environment variable ", variable_name),
                     absl::StrCat("no setting of the server",
                                  Suggestion(nearest.empty() ? "" : VariableName(nearest))));
      }
      settings.push_back({definition, std::string(value), std::string(variable_name)});
    }
    return settings;
  }

  // key = value lines; # begins a comment, at the start of a line or after a space.
  absl::Status ApplyFile() {
    ALOS_ASSIGN_OR_RETURN(const FlagsContext::File file, context_.read_file(config_));
    absl::flat_hash_map<std::string_view, int> lines;
    int number = 0;
    bool has_password = false;
    for (std::string_view line : absl::StrSplit(file.content, '\n')) {
      ++number;
      const std::string where = absl::StrCat(config_, ":", number);
      line = absl::StripAsciiWhitespace(line);
      if (line.empty() || line.front() == '#') continue;
      const std::size_t equals = line.find('=');
      if (equals == line.npos) {
        return Error(where, "expected `key = value`, or a comment that begins with #");
      }
      const std::string name =
          absl::StrReplaceAll(absl::StripAsciiWhitespace(line.substr(0, equals)), {{"_", "-"}});
      const Definition* definition = FindDefinition(name);
      if (definition == nullptr) {
        return Error(where, absl::StrCat("\"", name, "\" is no setting of the server",
                                         Suggestion(NearestName(name, false))));
      }
      const auto [first, inserted] = lines.try_emplace(definition->name, number);
      if (!inserted)
        return Error(where, absl::StrCat(name, " is set in line ", first->second, " already"));
      ALOS_ASSIGN_OR_RETURN(std::string value,
                            FileValue(where, *definition, line.substr(equals + 1)));
      has_password |= name == "password";
      ALOS_RETURN_IF_ERROR(
          Apply({definition, std::move(value), absl::StrCat(where, ": ", name)}, Source::kFile));
    }
    if (has_password && file.others_can_read) WarnReadable(config_);
    return absl::OkStatus();
  }

  static absl::StatusOr<std::string> FileValue(std::string_view where, const Definition& definition,
                                               std::string_view text) {
    text = absl::StripAsciiWhitespace(text);
    if (!text.empty() && text.front() == '"') {
      const std::size_t end = text.find('"', 1);
      const std::string_view rest =
          end == text.npos ? "" : absl::StripAsciiWhitespace(text.substr(end + 1));
      if (end == text.npos || !(rest.empty() || rest.front() == '#'))
        return Error(where, "a value that begins with \" ends with the next one");
      return std::string(text.substr(1, end - 1));
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '#' ||
          (i > 0 && !absl::ascii_isspace(static_cast<unsigned char>(text[i - 1]))))
        continue;
      if (definition.name == "password") {
        return Error(where, "write a password with a # in it in quotes: password = \"...\"");
      }
      text = absl::StripAsciiWhitespace(text.substr(0, i));
      break;
    }
    return std::string(text);
  }

  absl::Status Apply(const Setting& setting, Source source) {
    const Definition& definition = *setting.definition;
    if (const auto problem = definition.set(result_.flags, setting.value)) {
      return Error(setting.where, absl::StrCat("\"", setting.value, "\" ", *problem));
    }
    if (!definition.missing.empty() &&
        (definition.asks_for_missing == nullptr || definition.asks_for_missing(result_.flags))) {
      // A higher source may still turn it off.
      missing_[definition.name] = absl::StrCat(setting.where, ": ", definition.missing);
    } else {
      missing_.erase(definition.name);
    }
    sources_[definition.name] = {source, setting.where};
    return absl::OkStatus();
  }

  // How the user spelled the setting.
  std::string Where(std::string_view name) const {
    const auto found = sources_.find(name);
    return found == sources_.end() ? absl::StrCat("--", name) : found->second.second;
  }

  void WarnReadable(std::string_view path) {
    result_.warnings.push_back(absl::StrCat(
        path, " holds a password and can be read by other users; run: chmod 600 ", path));
  }

  // What concerns more than one setting, and what is derived.
  absl::Status Complete() {
    ServerFlags& flags = result_.flags;
    if (!missing_.empty()) {
      std::vector<std::string> all;
      for (const auto& [name, text] : missing_) all.push_back(text);
      std::sort(all.begin(), all.end());
      return absl::InvalidArgumentError(absl::StrJoin(all, "\n"));
    }
    ALOS_RETURN_IF_ERROR(ParseListenAddress());
    ALOS_RETURN_IF_ERROR(CheckCredentials());

    if (flags.shards == 0 || flags.shards > kShardsMax)
      return OutOfRange("shards", flags.shards, 1, kShardsMax);
    if (flags.cache_mb > kCacheMbMax) return OutOfRange("cache-mb", flags.cache_mb, 0, kCacheMbMax);
    if (flags.index_memory_mb > kCacheMbMax)
      return OutOfRange("index-memory-mb", flags.index_memory_mb, 0, kCacheMbMax);
    if (!(flags.compact_stale_ratio > 0 && flags.compact_stale_ratio <= 1))
      return Error(Where("compact-stale-ratio"), "must be above 0 and at most 1");
    if (flags.compact_min_size > kCacheMbMax)
      return OutOfRange("compact-min-size", flags.compact_min_size, 0, kCacheMbMax);
    if (flags.compaction_rate_mb > kCacheMbMax)
      return OutOfRange("compaction-rate-mb", flags.compaction_rate_mb, 0, kCacheMbMax);
    if (flags.max_request_mb == 0 || flags.max_request_mb > kMaxRequestMbMax)
      return OutOfRange("max-request-mb", flags.max_request_mb, 1, kMaxRequestMbMax);
    if (flags.connection_memory_mb == 0 || flags.connection_memory_mb > kCacheMbMax)
      return OutOfRange("connection-memory-mb", flags.connection_memory_mb, 1, kCacheMbMax);
    if (flags.transactions_memory_mb == 0 || flags.transactions_memory_mb > kCacheMbMax)
      return OutOfRange("transactions-memory-mb", flags.transactions_memory_mb, 1, kCacheMbMax);
    if (flags.threads > 1024) return OutOfRange("threads", flags.threads, 0, 1024);
    if (flags.transaction_timeout == 0 || flags.transaction_timeout > kSecondsMax)
      return OutOfRange("transaction-timeout", flags.transaction_timeout, 1, kSecondsMax);
    if (flags.scrub_interval_hours > 100'000)
      return OutOfRange("scrub-interval-hours", flags.scrub_interval_hours, 0, 100'000);
    if (flags.scrub_mb_per_second > 1'000'000)
      return OutOfRange("scrub-mb-per-second", flags.scrub_mb_per_second, 0, 1'000'000);
    if (flags.history_retention > kSecondsMax)
      return OutOfRange("history-retention", flags.history_retention, 0, kSecondsMax);
    if (flags.flush_interval_ms == 0 || flags.flush_interval_ms > 3'600'000)
      return OutOfRange("flush-interval-ms", flags.flush_interval_ms, 1, 3'600'000);
    if (flags.compression != 0 && flags.compression != 1 && flags.compression != 9)
      return Error(Where("compression"), "must be 0 (none), 1 (fast) or 9 (small)");

    if (!std::count(context_.sync_modes.begin(), context_.sync_modes.end(), flags.sync_mode)) {
      return Error(Where("sync-mode"),
                   absl::StrCat("\"", flags.sync_mode, "\" is none of this build's modes: ",
                                absl::StrJoin(context_.sync_modes, ", ")));
    }
    if (flags.disable_crc) {
      if (flags.sync_mode == "sync") {
        return Error(Where("disable-crc"),
                     "with --sync-mode sync, which promises that nothing is lost, damage has to be "
                     "noticed: drop one of the two");
      }
      result_.warnings.push_back(
          "--disable-crc: damaged bodies of documents written from now on will be served as they "
          "are");
    }

    ALOS_RETURN_IF_ERROR(CheckDatabaseName("db-name", flags.db_name));
    for (const std::string& name : flags.load_dbs)
      ALOS_RETURN_IF_ERROR(CheckDatabaseName("load-dbs", name));

    if (flags.data_path.empty()) {
      if (sources_.contains("data-path")) return Error(Where("data-path"), "is empty");
      flags.data_path = !data_home_.empty() && data_home_.front() == '/'
                            ? absl::StrCat(data_home_, "/alos")
                        : !home_.empty() ? absl::StrCat(home_, "/.local/share/alos")
                                         : "/var/lib/alos";
    } else if (absl::StartsWith(flags.data_path, "~/") && !home_.empty()) {
      flags.data_path = absl::StrCat(home_, flags.data_path.substr(1));
    }
    return absl::OkStatus();
  }

  absl::Status OutOfRange(std::string_view name, std::uint64_t value, std::uint64_t least,
                          std::uint64_t most) const {
    return Error(Where(name), absl::StrCat(value, " is not from ", least, " to ", most));
  }

  // The engine has the last word; this is for saying so before anything is opened.
  absl::Status CheckDatabaseName(std::string_view flag, std::string_view name) const {
    const auto good = [](char c) {
      return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
    };
    if (!name.empty() && name.size() <= 64 && name.front() != '.' &&
        std::all_of(name.begin(), name.end(), good)) {
      return absl::OkStatus();
    }
    return Error(Where(flag),
                 absl::StrCat("\"", name,
                              "\" is no name for a database: 1 to 64 characters out of a-z A-Z 0-9 "
                              "_ - . that do not begin with a dot"));
  }

  absl::Status ParseListenAddress() {
    ServerFlags& flags = result_.flags;
    const auto error = [&](std::string_view what) {
      return Error(Where("port"), absl::StrCat("\"", flags.port, "\" ", what,
                                               "; expected HOST:PORT, like localhost:6900"));
    };
    std::string_view host = "localhost";
    std::string_view port = flags.port;
    if (absl::ConsumePrefix(&port, "[")) {
      const std::size_t close = port.find("]:");
      if (close == port.npos) return error("lacks ]:PORT");
      host = port.substr(0, close);
      port.remove_prefix(close + 2);
      in6_addr ignored;
      if (inet_pton(AF_INET6, std::string(host).c_str(), &ignored) != 1)
        return error("has no IPv6 address between the brackets");
    } else if (const std::size_t colon = port.rfind(':'); colon != port.npos) {
      host = port.substr(0, colon);
      port.remove_prefix(colon + 1);
      if (host.empty()) return error("has no host (0.0.0.0 is all addresses)");
      if (absl::StrContains(host, ':')) return error("needs its IPv6 address in brackets");
    }
    std::uint32_t number;
    if (port.empty() || port.size() > 5 ||
        !std::all_of(port.begin(), port.end(),
                     [](unsigned char c) { return absl::ascii_isdigit(c); }) ||
        !absl::SimpleAtoi(port, &number) || number > 65535) {
      return error("has no port from 0 to 65535");
    }
    flags.listen_host = std::string(host);
    flags.listen_port = static_cast<std::uint16_t>(number);
    return absl::OkStatus();
  }

  static bool IsLoopback(const std::string& host) {
    in_addr v4;
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    in6_addr v6;
    if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
    return absl::EqualsIgnoreCase(host, "localhost");
  }

  absl::Status CheckCredentials() {
    ServerFlags& flags = result_.flags;
    const auto source = [&](std::string_view name) {
      const auto found = sources_.find(name);
      return found == sources_.end() ? Source::kDefault : found->second.first;
    };
    const Source password = source("password");
    const Source file = source("password-file");
    if (password == file && password != Source::kDefault && !flags.password.empty() &&
        !flags.password_file.empty()) {
      return Error(absl::StrCat(Where("password"), " and ", Where("password-file")),
                   "set one of the two");
    }
    if (!flags.password_file.empty() && file > password) {
      if (absl::StartsWith(flags.password_file, "~/") && !home_.empty())
        flags.password_file = absl::StrCat(home_, flags.password_file.substr(1));
      ALOS_ASSIGN_OR_RETURN(const FlagsContext::File content,
                            context_.read_file(flags.password_file));
      flags.password = content.content.substr(0, content.content.find_first_of("\r\n"));
      if (flags.password.empty())
        return Error(flags.password_file, "the first line should be the password, and is empty");
      if (content.others_can_read) WarnReadable(flags.password_file);
    }
    if (flags.username.empty() && !flags.password.empty())
      return Error(Where("password"), "a password needs a --username as well");
    if (!flags.username.empty() && flags.password.empty()) {
      return Error(Where("username"),
                   "a user name needs a password as well: --password-file, or --password");
    }
    if (flags.username.empty() && !IsLoopback(flags.listen_host)) {
      return Error(Where("port"),
                   absl::StrCat(flags.port,
                                " can be reached from other machines, which needs credentials: set "
                                "--username and --password-file, or listen on localhost"));
    }
    if (!flags.password.empty() && flags.password.size() < kPasswordSizeGood) {
      result_.warnings.push_back(absl::StrCat(
          "the password has fewer than ", kPasswordSizeGood,
          " characters: who records a connection can try passwords against it at leisure"));
    }
    return absl::OkStatus();
  }

  const FlagsContext& context_;
  ParsedFlags result_;
  std::string config_;
  std::string home_;
  std::string data_home_;
  absl::flat_hash_map<std::string_view, std::pair<Source, std::string>> sources_;
  absl::flat_hash_map<std::string_view, std::string> missing_;
};

}  // namespace

absl::StatusOr<ParsedFlags> ParseFlags(absl::Span<const std::string> arguments,
                                       const FlagsContext& context) {
  return Parser(context).Parse(arguments);
}

std::string FlagsHelp() {
  std::string text = absl::StrCat("alos ", kServerVersion, R"(, a document database.

Usage: server [--FLAG=VALUE ...]

  server                                       everyone on this machine, plain
  server --data-path=/srv/alos --sync-mode=sync
  server --port=0.0.0.0:6900 --username=app --password-file=/etc/alos/password

Each flag is also an environment variable (--cache-mb is ALOS_CACHE_MB) and a line of the
configuration file (cache-mb = 512; # begins a comment). The command line wins over the environment,
the environment over the file. SIGTERM and SIGINT stop the server in order; a second one at once.
)");
  const ServerFlags defaults;
  for (const Group& group : Groups()) {
    absl::StrAppend(&text, "\n", group.title, "\n");
    for (const Definition& definition : group.definitions) {
      const std::string value = definition.show(defaults);
      absl::StrAppend(&text, "  --", definition.name, definition.is_bool() ? "" : "=",
                      definition.placeholder);
      if (!definition.missing.empty()) {
        absl::StrAppend(&text, "  (not in this version)");
      } else if (!value.empty()) {
        absl::StrAppend(&text, "  (", value, ")");
      }
      absl::StrAppend(&text, "\n      ", absl::StrReplaceAll(definition.help, {{"\n", "\n      "}}),
                      "\n");
    }
  }
  absl::StrAppend(&text, R"(
  --config=FILE  settings from a file
  --version      the version
  --help         this
)");
  return text;
}

absl::StatusOr<FlagsContext::File> ReadFlagsFile(const std::string& path) {
  struct stat status;
  std::ifstream in;
  constexpr off_t kSizeMax = 1 << 20;
  if (stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode))
      return absl::InvalidArgumentError(absl::StrCat(path, ": is a directory, not a file"));
    if (status.st_size > kSizeMax)
      return absl::InvalidArgumentError(absl::StrCat(path, ": is larger than 1 MiB"));
    in.open(path, std::ios::binary);
  }
  if (!in.is_open()) {
    const int error = errno;
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", std::strerror(error)));
  }
  FlagsContext::File file;
  file.content.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  file.others_can_read = S_ISREG(status.st_mode) && (status.st_mode & (S_IRGRP | S_IROTH)) != 0;
  return file;
}

void WipePasswords(int argc, char** argv, char** environment) {
  const auto wipe = [](char* text) { std::memset(text, '*', std::strlen(text)); };
  for (int i = 1; i < argc; ++i) {
    char* name = argv[i];
    while (*name == '-') ++name;
    if (name == argv[i] || std::strncmp(name, "password", 8) != 0) continue;
    if (name[8] == '=') wipe(name + 9);
    if (name[8] == '\0' && i + 1 < argc) wipe(argv[i + 1]);
  }
  constexpr std::string_view kVariable = "ALOS_PASSWORD=";
  for (char** variable = environment; *variable != nullptr; ++variable) {
    if (absl::StartsWith(*variable, kVariable)) wipe(*variable + kVariable.size());
  }
}

}  // namespace alos
