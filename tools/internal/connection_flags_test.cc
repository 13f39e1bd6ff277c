// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "tools/internal/connection_flags.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "gtest/gtest.h"

ABSL_DECLARE_FLAG(std::string, port);
ABSL_DECLARE_FLAG(std::string, username);
ABSL_DECLARE_FLAG(std::string, password);
ABSL_DECLARE_FLAG(std::string, password_file);
ABSL_DECLARE_FLAG(std::string, cipher);

namespace alos::tools_internal {
namespace {

TEST(ParseAddress, TakesHostAndPort) {
  std::string host;
  std::uint16_t port = 0;
  ASSERT_TRUE(ParseAddress("db.example:6901", &host, &port).ok());
  EXPECT_EQ(host, "db.example");
  EXPECT_EQ(port, 6901);
  ASSERT_TRUE(ParseAddress("[::1]:6900", &host, &port).ok());
  EXPECT_EQ(host, "::1");
  ASSERT_TRUE(ParseAddress(":7", &host, &port).ok());
  EXPECT_EQ(host, "localhost");
}

TEST(ParseAddress, RefusesWhatIsNone) {
  std::string host;
  std::uint16_t port = 0;
  for (const char* text : {"", "localhost", "localhost:", "localhost:0", "localhost:65536",
                           "::1:6900", "localhost:x", "a:-1"}) {
    EXPECT_EQ(ParseAddress(text, &host, &port).code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(ConnectionSettingsFromFlags, PlainWithoutAUserNameEncryptedWithOne) {
  absl::FlagSaver saver;
  absl::StatusOr<ConnectionSettings> settings = ConnectionSettingsFromFlags();
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->host, "localhost");
  EXPECT_EQ(settings->port, 6900);
  EXPECT_FALSE(settings->handshake_version.has_value());

  absl::SetFlag(&FLAGS_username, "admin");
  EXPECT_FALSE(ConnectionSettingsFromFlags().ok());
  absl::SetFlag(&FLAGS_password, "secret");
  settings = ConnectionSettingsFromFlags();
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->handshake_version, 2);
  absl::SetFlag(&FLAGS_cipher, "aes-256-gcm");
  EXPECT_EQ(ConnectionSettingsFromFlags()->handshake_version, 1);
  absl::SetFlag(&FLAGS_cipher, "rot13");
  EXPECT_FALSE(ConnectionSettingsFromFlags().ok());
}

TEST(ConnectionSettingsFromFlags, PasswordComesFromAFileOrTheEnvironment) {
  absl::FlagSaver saver;
  absl::SetFlag(&FLAGS_username, "admin");
  const std::string path = testing::TempDir() + "/password";
  std::ofstream(path) << "from file\r\nsecond line\n";
  absl::SetFlag(&FLAGS_password_file, path);
  EXPECT_EQ(ConnectionSettingsFromFlags()->password, "from file");
  absl::SetFlag(&FLAGS_password, "both");
  EXPECT_FALSE(ConnectionSettingsFromFlags().ok());
  absl::SetFlag(&FLAGS_password, "");
  absl::SetFlag(&FLAGS_password_file, path + ".absent");
  EXPECT_FALSE(ConnectionSettingsFromFlags().ok());
  absl::SetFlag(&FLAGS_password_file, "");
  setenv("ALOS_PASSWORD", "from environment", 1);
  EXPECT_EQ(ConnectionSettingsFromFlags()->password, "from environment");
  unsetenv("ALOS_PASSWORD");
}

TEST(ParseCommandLine, TakesDashesForUnderscoresInNamesOnly) {
  absl::FlagSaver saver;
  std::string arguments[] = {"tool", "--password-file=a-b_c", "--cipher", "aes-256-gcm", "a-b",
                             "-"};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                  arguments[3].data(), arguments[4].data(), arguments[5].data()};
  EXPECT_EQ(ParseCommandLine(6, argv, "a tool"), (std::vector<std::string>{"a-b", "-"}));
  EXPECT_EQ(absl::GetFlag(FLAGS_password_file), "a-b_c");
  EXPECT_EQ(absl::GetFlag(FLAGS_cipher), "aes-256-gcm");
}

TEST(ParseCommandLineDeathTest, HelpIsNoErrorAndAnUnknownFlagIs) {
  std::string program = "tool";
  std::string help = "--help";
  char* asked[] = {program.data(), help.data()};
  EXPECT_EXIT(ParseCommandLine(2, asked, "a tool"), testing::ExitedWithCode(0), "");
  std::string unknown = "--pasword=x";
  char* wrong[] = {program.data(), unknown.data()};
  EXPECT_EXIT(ParseCommandLine(2, wrong, "a tool"), testing::ExitedWithCode(2),
              "--pasword=x: no such flag");
}

TEST(UserPath, IsRelativeToWhereBazelWasCalled) {
  unsetenv("BUILD_WORKING_DIRECTORY");
  EXPECT_EQ(UserPath("a/b"), "a/b");
  setenv("BUILD_WORKING_DIRECTORY", "/home/user", 1);
  EXPECT_EQ(UserPath("a/b"), "/home/user/a/b");
  EXPECT_EQ(UserPath("/a/b"), "/a/b");
  unsetenv("BUILD_WORKING_DIRECTORY");
}

}  // namespace
}  // namespace alos::tools_internal
