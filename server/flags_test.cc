// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "server/flags.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr std::string_view kSyncModes[] = {"async", "sync"};

class FlagsTest : public ::testing::Test {
 protected:
  absl::StatusOr<ParsedFlags> Parse(std::vector<std::string> arguments) {
    const auto read_file = [this](const std::string& path) -> absl::StatusOr<FlagsContext::File> {
      const auto found = files_.find(path);
      if (found == files_.end())
        return absl::InvalidArgumentError(absl::StrCat(path, ": not here"));
      return found->second;
    };
    return ParseFlags(arguments, {read_file, environment_, kSyncModes});
  }

  ServerFlags Good(std::vector<std::string> arguments) {
    const absl::StatusOr<ParsedFlags> parsed = Parse(std::move(arguments));
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return parsed.ok() ? parsed->flags : ServerFlags();
  }

  std::string Bad(std::vector<std::string> arguments) {
    const absl::StatusOr<ParsedFlags> parsed = Parse(std::move(arguments));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(parsed.status().message());
  }

  std::vector<std::string> environment_ = {"HOME=/home/ada", "PATH=/bin", "NO_EQUALS"};
  std::map<std::string, FlagsContext::File> files_;
};

TEST_F(FlagsTest, DefaultsAreThoseThatAreDocumented) {
  const ServerFlags flags = Good({});
  EXPECT_EQ(flags.port, "localhost:6900");
  EXPECT_EQ(flags.listen_host, "localhost");
  EXPECT_EQ(flags.listen_port, 6900);
  EXPECT_EQ(flags.username, "");
  EXPECT_EQ(flags.db_name, "alosdb");
  EXPECT_EQ(flags.data_path, "/home/ada/.local/share/alos");
  EXPECT_THAT(flags.load_dbs, IsEmpty());
  EXPECT_FALSE(flags.debug);
  EXPECT_EQ(flags.shards, 256u);
  EXPECT_EQ(flags.sync_mode, "async");
  EXPECT_EQ(flags.cache_mb, 512u);
  EXPECT_EQ(flags.index_memory_mb, 0u);
  EXPECT_TRUE(flags.automatic_indexes);
  EXPECT_EQ(flags.compression, 1);
  EXPECT_FALSE(flags.disable_crc);
  EXPECT_EQ(flags.max_write_rate, 0u);
  EXPECT_EQ(flags.max_offset_cache, 0u);
  EXPECT_TRUE(flags.compaction);
  EXPECT_EQ(flags.compact_stale_ratio, 0.5);
  EXPECT_EQ(flags.compact_min_size, 4u);
  EXPECT_EQ(flags.compaction_rate_mb, 256u);
}

TEST_F(FlagsTest, Compaction) {
  const ServerFlags flags =
      Good({"--compact-stale-ratio=0.25", "--compact-min-size=0", "--compaction-rate-mb=0"});
  EXPECT_EQ(flags.compact_stale_ratio, 0.25);
  EXPECT_EQ(flags.compact_min_size, 0u);
  EXPECT_EQ(flags.compaction_rate_mb, 0u);
  for (const std::string ratio : {"0", "-1", "1.5", "nan"}) {
    EXPECT_THAT(Bad({"--compact-stale-ratio=" + ratio}), HasSubstr("--compact-stale-ratio"));
  }
  EXPECT_THAT(Bad({"--compact-min-size=18446744073709551615"}), HasSubstr("--compact-min-size"));
  EXPECT_THAT(Bad({"--compaction-rate-mb=18446744073709551615"}),
              HasSubstr("--compaction-rate-mb"));
}

TEST_F(FlagsTest, Indexes) {
  const ServerFlags flags = Good({"--index-memory-mb=100", "--automatic-indexes=false"});
  EXPECT_EQ(flags.index_memory_mb, 100u);
  EXPECT_FALSE(flags.automatic_indexes);
  EXPECT_THAT(Bad({"--index-memory-mb=18446744073709551615"}), HasSubstr("--index-memory-mb"));
  EXPECT_THAT(Bad({"--automatic-indexes=maybe"}), HasSubstr("neither true nor false"));
}

TEST_F(FlagsTest, DataPathFollowsTheUsersFolders) {
  environment_ = {"HOME=/home/ada", "XDG_DATA_HOME=/data/ada"};
  EXPECT_EQ(Good({}).data_path, "/data/ada/alos");
  environment_ = {"HOME=/home/ada", "XDG_DATA_HOME=relative is to be ignored"};
  EXPECT_EQ(Good({}).data_path, "/home/ada/.local/share/alos");
  EXPECT_EQ(Good({"--data-path=~/db"}).data_path, "/home/ada/db");
  EXPECT_THAT(Bad({"--data-path="}), HasSubstr("--data-path: is empty"));
  environment_ = {};
  EXPECT_EQ(Good({}).data_path, "/var/lib/alos");
}

TEST_F(FlagsTest, ValuesFollowAnEqualsSignOrASpace) {
  const ServerFlags flags = Good(
      {"--port", "127.0.0.1:7000", "--cache-mb=64", "-shards", "16", "--load-dbs", " a, b ,,c"});
  EXPECT_EQ(flags.listen_host, "127.0.0.1");
  EXPECT_EQ(flags.listen_port, 7000);
  EXPECT_EQ(flags.cache_mb, 64u);
  EXPECT_EQ(flags.shards, 16u);
  EXPECT_THAT(flags.load_dbs, ElementsAre("a", "b", "c"));
}

TEST_F(FlagsTest, BoolsInAllTheirSpellings) {
  EXPECT_TRUE(Good({"--debug"}).debug);
  EXPECT_TRUE(Good({"--debug", "--shards=1"}).debug);
  EXPECT_TRUE(Good({"--debug", "true"}).debug);
  EXPECT_FALSE(Good({"--debug", "false"}).debug);
  EXPECT_FALSE(Good({"--debug=no"}).debug);
  EXPECT_FALSE(Good({"--debug", "--nodebug"}).debug);
  EXPECT_FALSE(Good({"--compaction=false"}).compaction);
  EXPECT_FALSE(Good({"--compaction", "false"}).compaction);
  EXPECT_FALSE(Good({"--nocompaction"}).compaction);
  EXPECT_FALSE(Good({"--no-compaction"}).compaction);
  EXPECT_EQ(Bad({"--debug=perhaps"}), "--debug: \"perhaps\" is neither true nor false");
  EXPECT_EQ(Bad({"--nodebug=true"}), "--nodebug: takes no value");
}

TEST_F(FlagsTest, UnderscoresAreDashes) { EXPECT_EQ(Good({"--cache_mb=1"}).cache_mb, 1u); }

TEST_F(FlagsTest, TheLastOfTwoOnTheCommandLineCounts) {
  EXPECT_EQ(Good({"--cache-mb=1", "--cache-mb", "2"}).cache_mb, 2u);
}

TEST_F(FlagsTest, TheCommandLineWinsOverTheEnvironmentAndThatOverTheFile) {
  files_["/etc/alos.conf"] = {"cache-mb = 1\nshards=2\n  compression =9\n"};
  environment_.push_back("ALOS_CACHE_MB=10");
  environment_.push_back("ALOS_SHARDS=20");
  const ServerFlags flags = Good({"--cache-mb=100", "--config", "/etc/alos.conf"});
  EXPECT_EQ(flags.cache_mb, 100u);
  EXPECT_EQ(flags.shards, 20u);
  EXPECT_EQ(flags.compression, 9);
}

TEST_F(FlagsTest, TheEnvironmentCanNameTheFile) {
  files_["/etc/alos.conf"] = {"cache-mb = 1"};
  files_["/other.conf"] = {"cache-mb = 2"};
  environment_.push_back("ALOS_CONFIG=/etc/alos.conf");
  EXPECT_EQ(Good({}).cache_mb, 1u);
  EXPECT_EQ(Good({"--config=/other.conf"}).cache_mb, 2u);
  EXPECT_EQ(Bad({"--config=/nowhere"}), "/nowhere: not here");
  EXPECT_EQ(Bad({"--config"}), "--config: needs the path of a file");
}

TEST_F(FlagsTest, CommentsAndQuotesInTheFile) {
  files_["c"] = {
      "# all of this line\n\n"
      "  \t# and this\r\n"
      "cache-mb = 7 # the rest\r\n"
      "db-name=a\n"
      "username = \" a # b \"  # kept as it is\n"
      "password = \"twelve # characters\""};
  const ServerFlags flags = Good({"--config=c"});
  EXPECT_EQ(flags.cache_mb, 7u);
  EXPECT_EQ(flags.username, " a # b ");
  EXPECT_EQ(flags.password, "twelve # characters");
}

TEST_F(FlagsTest, ErrorsInTheFileNameTheLine) {
  const auto bad = [this](std::string content) {
    files_["c"] = {std::move(content)};
    return Bad({"--config=c"});
  };
  EXPECT_EQ(bad("\ncache_mbs = 3"),
            "c:2: \"cache-mbs\" is no setting of the server; did you mean cache-mb?");
  EXPECT_EQ(bad("cache-mb = many"), "c:1: cache-mb: \"many\" is not a whole number, 0 or more");
  EXPECT_THAT(bad("cache-mb"), HasSubstr("c:1: expected `key = value`"));
  EXPECT_EQ(bad("debug=1\n\ndebug=0"), "c:3: debug is set in line 1 already");
  EXPECT_THAT(bad("config = d"), HasSubstr("no setting"));
  EXPECT_THAT(bad("username = \"a"), HasSubstr("ends with the next one"));
  EXPECT_THAT(bad("username = \"a\" b"), HasSubstr("ends with the next one"));
  // Cutting it short in silence would be the worst answer.
  EXPECT_THAT(bad("password = se #cret"), HasSubstr("in quotes"));
}

TEST_F(FlagsTest, UnknownNamesAreRefusedWithTheNearestKnownOne) {
  EXPECT_EQ(Bad({"--cahce-mb=1"}), "--cahce-mb: no such flag; did you mean --cache-mb?");
  EXPECT_EQ(Bad({"--sync"}), "--sync: no such flag; did you mean --sync-mode?");
  EXPECT_EQ(Bad({"--helpp"}), "--helpp: no such flag; did you mean --help?");
  EXPECT_EQ(Bad({"--nodebgu"}), "--nodebgu: no such flag; did you mean --debug?");
  EXPECT_EQ(Bad({"--frobnicate"}), "--frobnicate: no such flag; --help lists all");
  EXPECT_THAT(Bad({absl::StrCat("--", std::string(100'000, 'x'))}), HasSubstr("no such flag"));
  environment_.push_back("ALOS_CACH_MB=3");
  EXPECT_EQ(
      Bad({}),
      "environment variable ALOS_CACH_MB: no setting of the server; did you mean ALOS_CACHE_MB?");
  // --version and --config are asked of the command line alone.
  environment_.back() = "ALOS_VERSION=1";
  EXPECT_THAT(Bad({}), HasSubstr("ALOS_VERSION: no setting"));
  environment_.back() = "ALOS_cache_mb=1";
  EXPECT_THAT(Bad({}), HasSubstr("did you mean ALOS_CACHE_MB?"));
}

TEST_F(FlagsTest, ArgumentsThatAreNoFlagsAreRefused) {
  EXPECT_THAT(Bad({"serve"}), HasSubstr("\"serve\": not a flag"));
  EXPECT_THAT(Bad({"--username=a", "--password", "correct", "horse"}),
              AllOf(HasSubstr("argument 4"), Not(HasSubstr("horse"))));
  EXPECT_THAT(Bad({"--shards"}), HasSubstr("needs a value: --shards=N"));
  EXPECT_THAT(Bad({"--username", "--password=x"}), HasSubstr("--username: needs a value"));
}

TEST_F(FlagsTest, ValuesOutOfRangeAreRefused) {
  EXPECT_EQ(Bad({"--shards=0"}), "--shards: 0 is not from 1 to 4096");
  EXPECT_EQ(Bad({"--shards=4097"}), "--shards: 4097 is not from 1 to 4096");
  EXPECT_THAT(Bad({"--shards=-1"}), HasSubstr("whole number"));
  EXPECT_THAT(Bad({"--shards=4294967297"}), HasSubstr("whole number"));
  EXPECT_THAT(Bad({"--cache-mb=18446744073709551615"}), HasSubstr("--cache-mb"));
  EXPECT_THAT(Bad({"--compression=5"}), HasSubstr("0 (none), 1 (fast) or 9 (small)"));
  EXPECT_EQ(Bad({"--sync-mode=fsync"}),
            "--sync-mode: \"fsync\" is none of this build's modes: async, sync");
  EXPECT_THAT(Bad({"--db-name=../x"}), HasSubstr("no name for a database"));
  EXPECT_THAT(Bad({"--load-dbs=good,.bad"}), HasSubstr("\".bad\" is no name"));
  environment_.push_back("ALOS_SHARDS=0");
  EXPECT_EQ(Bad({}), "ALOS_SHARDS: 0 is not from 1 to 4096");
}

TEST_F(FlagsTest, ListenAddresses) {
  const auto listen = [this](std::string port) {
    const ServerFlags flags =
        Good({"--port=" + port, "--username=u", "--password=long enough password"});
    return absl::StrCat(flags.listen_host, "|", flags.listen_port);
  };
  EXPECT_EQ(listen("7000"), "localhost|7000");
  EXPECT_EQ(listen("localhost:0"), "localhost|0");
  EXPECT_EQ(listen("0.0.0.0:65535"), "0.0.0.0|65535");
  EXPECT_EQ(listen("[::1]:7000"), "::1|7000");
  EXPECT_EQ(listen("db.example.org:7000"), "db.example.org|7000");
  for (const std::string bad :
       {"", "localhost", "localhost:", ":7000", "localhost:65536", "localhost:x", "localhost:-1",
        "::1:7000", "[::1]", "[::1]7000", "[host]:1", "70000", "localhost:000080"}) {
    EXPECT_THAT(Bad({"--port=" + bad}), HasSubstr("expected HOST:PORT")) << bad;
  }
}

TEST_F(FlagsTest, OtherMachinesNeedCredentials) {
  for (const std::string host : {"0.0.0.0", "[::]", "192.0.2.1", "db.example.org", "128.0.0.1"}) {
    EXPECT_THAT(Bad({"--port=" + host + ":1"}), HasSubstr("set --username and --password-file"));
    Good({"--port=" + host + ":1", "--username=u", "--password=long enough password"});
  }
  for (const std::string host : {"localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"})
    Good({"--port=" + host + ":1"});
}

TEST_F(FlagsTest, CredentialsComeInPairs) {
  EXPECT_THAT(Bad({"--username=u"}), HasSubstr("needs a password"));
  EXPECT_THAT(Bad({"--password=p"}), HasSubstr("needs a --username"));
  EXPECT_THAT(Bad({"--username=u", "--password="}), HasSubstr("needs a password"));
}

TEST_F(FlagsTest, PasswordFromAFile) {
  files_["p"] = {"correct horse battery\r\nnot this\n"};
  EXPECT_EQ(Good({"--username=u", "--password-file=p"}).password, "correct horse battery");
  files_["p"].others_can_read = true;
  EXPECT_THAT(Parse({"--username=u", "--password-file=p"})->warnings,
              ElementsAre(HasSubstr("chmod 600 p")));
  EXPECT_THAT(Bad({"--username=u", "--password-file=p", "--password=q"}),
              HasSubstr("set one of the two"));
  // The nearer source wins, whichever of the two it uses.
  environment_.push_back("ALOS_PASSWORD_FILE=p");
  EXPECT_EQ(Good({"--username=u", "--password=twelve letters"}).password, "twelve letters");
  environment_.back() = "ALOS_PASSWORD=twelve letters";
  EXPECT_EQ(Good({"--username=u", "--password-file=p"}).password, "correct horse battery");
  files_["p"] = {"\nsecond line"};
  EXPECT_THAT(Bad({"--username=u", "--password-file=p"}), HasSubstr("first line"));
}

TEST_F(FlagsTest, WeakChoicesAreWarnedOf) {
  EXPECT_THAT(Parse({})->warnings, IsEmpty());
  EXPECT_THAT(Parse({"--username=u", "--password=twelve chars"})->warnings, IsEmpty());
  EXPECT_THAT(Parse({"--username=u", "--password=eleven char"})->warnings,
              ElementsAre(HasSubstr("fewer than 12")));
  EXPECT_THAT(Parse({"--disable-crc"})->warnings, ElementsAre(HasSubstr("--disable-crc")));
  files_["c"] = {"username=u\npassword=twelve letters", true};
  EXPECT_THAT(Parse({"--config=c"})->warnings, ElementsAre(HasSubstr("chmod 600 c")));
  files_["c"] = {"cache-mb=1", true};
  EXPECT_THAT(Parse({"--config=c"})->warnings, IsEmpty());
}

TEST_F(FlagsTest, DisableCrcIsRefusedWithSync) {
  EXPECT_THAT(Bad({"--disable-crc", "--sync-mode=sync"}), HasSubstr("--disable-crc"));
  Good({"--disable-crc=false", "--sync-mode=sync"});
}

TEST_F(FlagsTest, WhatThisVersionLacksIsRefusedNotIgnored) {
  for (const std::string flag : {"--max-offset-cache=1", "--cluster-port=:1"}) {
    EXPECT_THAT(Bad({flag}), HasSubstr("in this version")) << flag;
  }
  for (const std::string flag :
       {"--max-write-rate=0", "--max-offset-cache=0", "--hook-collections=", "--cluster-port="}) {
    Good({flag});
  }
  // All at once, and a nearer source can turn one off.
  EXPECT_THAT(
      Bad({"--max-offset-cache=1", "--cluster-port=x:1"}),
      AllOf(HasSubstr("--max-offset-cache: "), HasSubstr("\n"), HasSubstr("--cluster-port: ")));
  files_["c"] = {"max-offset-cache = 1"};
  EXPECT_THAT(Bad({"--config=c"}), HasSubstr("c:1: max-offset-cache: "));
  Good({"--config=c", "--max-offset-cache=0"});
}

TEST_F(FlagsTest, HelpAndVersionAreAnsweredWhateverElseIsSet) {
  environment_.push_back("ALOS_NONSENSE=1");
  EXPECT_TRUE(Parse({"--help"})->help);
  EXPECT_TRUE(Parse({"-h"})->help);
  EXPECT_TRUE(Parse({"--shards=0", "--version"})->version);
}

TEST_F(FlagsTest, HelpNamesEveryFlagWithItsDefault) {
  const std::string help = FlagsHelp();
  for (const std::string_view line : {"--port=HOST:PORT  (localhost:6900)",
                                      "--username=NAME",
                                      "--password=TEXT",
                                      "--password-file=FILE",
                                      "--db-name=NAME  (alosdb)",
                                      "--data-path=FOLDER",
                                      "--load-dbs=NAME,...",
                                      "--debug  (false)",
                                      "--shards=N  (256)",
                                      "--sync-mode=MODE  (async)",
                                      "--cache-mb=N  (512)",
                                      "--index-memory-mb=N  (0)",
                                      "--automatic-indexes=true|false  (true)",
                                      "--compression=0|1|9  (1)",
                                      "--disable-crc  (false)",
                                      "--max-write-rate=N  (0)",
                                      "--max-offset-cache",
                                      "--compaction  (true)",
                                      "--compact-stale-ratio=R  (0.5)",
                                      "--compact-min-size=MB  (4)",
                                      "--compaction-rate-mb=N  (256)",
                                      "--hook-collections",
                                      "--cluster-port",
                                      "--config=FILE"}) {
    EXPECT_THAT(help, HasSubstr(line));
  }
}

TEST(ReadFlagsFileTest, TellsWhoCanReadIt) {
  const std::string path = absl::StrCat(std::getenv("TEST_TMPDIR"), "/password");
  std::ofstream(path) << "secret\n";
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  absl::StatusOr<FlagsContext::File> file = ReadFlagsFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->content, "secret\n");
  EXPECT_FALSE(file->others_can_read);
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  EXPECT_TRUE(ReadFlagsFile(path)->others_can_read);

  EXPECT_THAT(std::string(ReadFlagsFile(path + ".not").status().message()),
              HasSubstr("password.not: No such file"));
  EXPECT_THAT(std::string(ReadFlagsFile(std::getenv("TEST_TMPDIR")).status().message()),
              HasSubstr("is a directory"));
  ASSERT_EQ(truncate(path.c_str(), (1 << 20) + 1), 0);
  EXPECT_THAT(std::string(ReadFlagsFile(path).status().message()), HasSubstr("larger than 1 MiB"));
}

TEST(WipePasswordsTest, OverwritesPasswordsOnly) {
  std::string program = "server", joined = "--password=abc", apart = "--password", value = "abc",
              file = "--password-file=abc", user = "--username=abc";
  char* argv[] = {program.data(), joined.data(), apart.data(),
                  value.data(),   file.data(),   user.data()};
  std::string variable = "ALOS_PASSWORD=abc", other = "ALOS_PASSWORD_FILE=abc";
  char* environment[] = {variable.data(), other.data(), nullptr};
  WipePasswords(6, argv, environment);
  EXPECT_EQ(joined, "--password=***");
  EXPECT_EQ(value, "***");
  EXPECT_EQ(file, "--password-file=abc");
  EXPECT_EQ(user, "--username=abc");
  EXPECT_EQ(variable, "ALOS_PASSWORD=***");
  EXPECT_EQ(other, "ALOS_PASSWORD_FILE=abc");
}

}  // namespace
}  // namespace alos
