// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Random queries, answered four ways that must agree. README.md says what they are.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/log.h"
#include "alos/base/status_macros.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "testing/differential/generator.h"
#include "testing/differential/language.h"
#include "testing/differential/mingo.h"
#include "testing/differential/shrink.h"
#include "testing/differential/values.h"
#include "testing/differential/world.h"

ABSL_FLAG(std::uint64_t, cases, 10000, "how many cases to run, at least");
ABSL_FLAG(std::uint64_t, seed, 0, "what they are drawn from; 0: a new one each time");
ABSL_FLAG(std::uint64_t, world, 0, "begin with this world of the seed's");
ABSL_FLAG(std::string, directory, "",
          "scratch space; default: a new folder in $TEST_TMPDIR or /tmp");
ABSL_FLAG(std::string, mingo, "", "the unpacked npm package mingo; empty: without the third way");
ABSL_FLAG(std::string, mingo_child, "testing/differential/mingo_child.js",
          "the script that runs it");
ABSL_FLAG(std::string, node, "node", "JavaScript");
ABSL_FLAG(std::string, replay, "", "run the world in this file (as a failure prints it) instead");
ABSL_FLAG(bool, engine, true, "ways 2 and 4; without: the plain documents and mingo only");
ABSL_FLAG(bool, counts, true, "print how often each operator was run");
ABSL_FLAG(std::uint64_t, failures, 1, "stop after so many");
ABSL_FLAG(std::uint64_t, shrink_attempts, 4000, "how long to try to make a failure smaller");
ABSL_FLAG(bool, plant_bug, false, "break the second way on purpose: this must be noticed");

namespace alos::differential {
namespace {

class Differential {
 public:
  int Run() {
    if (const absl::Status status = Prepare(); !status.ok()) {
      std::cerr << "differential: " << status.message() << "\n";
      return 2;
    }
    const int code = absl::GetFlag(FLAGS_replay).empty() ? Supervise() : Replay();
    std::filesystem::remove_all(directory_);
    return code;
  }

 private:
  absl::Status Prepare() {
    directory_ = absl::GetFlag(FLAGS_directory);
    if (directory_.empty()) {
      const char* const temporary = std::getenv("TEST_TMPDIR");
      std::string name =
          absl::StrCat(temporary != nullptr ? temporary : "/tmp", "/differential.XXXXXX");
      if (mkdtemp(name.data()) == nullptr) return absl::ErrnoToStatus(errno, "mkdtemp");
      directory_ = name;
    }
    if (!absl::GetFlag(FLAGS_mingo).empty()) {
      ALOS_ASSIGN_OR_RETURN(
          mingo_, MingoProcess::Start(absl::GetFlag(FLAGS_node), absl::GetFlag(FLAGS_mingo_child),
                                      absl::GetFlag(FLAGS_mingo)));
    }
    return absl::OkStatus();
  }

  WorldRunner::Options RunnerOptions(bool engine) const {
    return {engine, absl::StrCat(directory_, "/data"), absl::GetFlag(FLAGS_plant_bug)};
  }

  // All ways on one world. `way`: only this one beside the first, which is quicker.
  absl::StatusOr<std::optional<Failure>> RunWorld(ValueView world, std::string_view way,
                                                  WorldCounts* counts, MingoCounts* mingo_counts) {
    const bool with_engine = absl::GetFlag(FLAGS_engine) && way != "mingo";
    const bool with_mingo = mingo_ != nullptr && (way.empty() || way == "mingo");
    if (!with_mingo) return WorldRunner(RunnerOptions(with_engine), counts).Run(world, nullptr);
    // Mingo works on the questions while the engine runs.
    MingoJudge judge(mingo_.get(), mingo_counts);
    std::vector<Question> questions;
    WorldCounts unused;
    std::optional<Failure> failure =
        WorldRunner(RunnerOptions(false), with_engine ? &unused : counts).Run(world, &questions);
    ALOS_RETURN_IF_ERROR(judge.Ask(std::move(questions)));
    if (with_engine) failure = WorldRunner(RunnerOptions(true), counts).Run(world, nullptr);
    ALOS_ASSIGN_OR_RETURN(std::optional<Failure> judged, judge.Judge());
    return failure.has_value() ? failure : judged;
  }

  // Runs the worlds in a child process: one in which it crashes is a failure like others.
  int Supervise() {
    seed_ = absl::GetFlag(FLAGS_seed);
    if (seed_ == 0) {
      std::random_device device;
      seed_ = std::uint64_t{device()} << 32 | device();
    }
    std::cout << "seed " << seed_ << "\n" << std::flush;
    auto* const number = static_cast<std::uint64_t*>(mmap(
        nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (number == MAP_FAILED) return 2;
    const int status = Fork([&] { return RunWorlds(number); });
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    const Language language = Language::Probe();
    std::cout << "FAILED seed " << seed_ << " world " << *number << ": crash\n" << std::flush;
    Report(World(*number, language), Failure{"crash", 0, strsignal(WTERMSIG(status))});
    return 1;
  }

  // The wait status of a child that runs `body` and exits with what it returns.
  template <class Body>
  static int Fork(Body&& body) {
    std::cout << std::flush;
    const pid_t pid = fork();
    if (pid == 0) {
      const int code = body();
      std::cout << std::flush;
      _exit(code);
    }
    int status = 2 << 8;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }

  Bytes World(std::uint64_t number, const Language& language) const {
    // Neighbouring seeds of a Mersenne Twister are unrelated once they are mixed.
    return Generator(seed_ + number * 0x9e3779b97f4a7c15U, &language).World({});
  }

  int RunWorlds(std::uint64_t* current) {
    const std::uint64_t seed = seed_;
    const Language language = Language::Probe();
    const absl::Time started = absl::Now();
    std::uint64_t failures = 0;
    for (std::uint64_t number = absl::GetFlag(FLAGS_world);
         counts_.cases < absl::GetFlag(FLAGS_cases); ++number) {
      *current = number;
      const Bytes world = World(number, language);
      absl::StatusOr<std::optional<Failure>> failure =
          RunWorld(View(world), "", &counts_, &mingo_counts_);
      if (!failure.ok()) {
        std::cerr << "differential: " << failure.status().message() << "\n";
        return 2;
      }
      if (!failure->has_value()) continue;
      std::cout << "FAILED seed " << seed << " world " << number << ": " << (*failure)->way
                << ", step " << (*failure)->step << "\n"
                << std::flush;
      Report(world, **failure);
      if (++failures >= absl::GetFlag(FLAGS_failures)) break;
    }
    Summary(language, absl::Now() - started);
    std::cout << "seed " << seed << ": " << counts_.cases << " cases, " << failures
              << " failures\n";
    return failures == 0 ? 0 : 1;
  }

  // Makes the world small and prints it.
  void Report(Bytes world, const Failure& first) {
    Failure last = first;
    const std::string way = first.way == "restart" ? "" : first.way;
    const bool crash = first.way == "crash";
    world = Shrink(
        std::move(world),
        [&](ValueView smaller) {
          if (!smaller.IsArray()) return false;
          WorldCounts counts;
          MingoCounts mingo_counts;
          if (crash) {
            return WIFSIGNALED(Fork([&] {
              static_cast<void>(WorldRunner(RunnerOptions(true), &counts).Run(smaller, nullptr));
              return 0;
            }));
          }
          const auto failure = RunWorld(smaller, way, &counts, &mingo_counts);
          if (!failure.ok() || !failure->has_value() || (*failure)->way != first.way) return false;
          last = **failure;
          return true;
        },
        absl::GetFlag(FLAGS_shrink_attempts));
    std::cout << "The smallest world that fails so (put it into a file for --replay):\n[\n";
    const ValueView steps = View(world);
    std::size_t step = 0;
    for (const ValueView each : Elements(steps)) {
      std::cout << "  " << ToJson(each) << (++step < steps.size() ? "," : "") << "\n";
    }
    std::cout << "]\n"
              << last.way << ", step " << last.step << ": " << last.message << "\n\n"
              << std::flush;
  }

  int Replay() {
    std::ifstream file(absl::GetFlag(FLAGS_replay));
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const absl::StatusOr<std::string> world = JsonToMessagePack(text);
    if (!world.ok() || !ValueView::FromTrusted(*world).IsArray()) {
      std::cerr << "differential: " << absl::GetFlag(FLAGS_replay)
                << ": not a world: " << world.status().message() << "\n";
      return 2;
    }
    const auto failure = RunWorld(View(*world), "", &counts_, &mingo_counts_);
    if (!failure.ok()) {
      std::cerr << "differential: " << failure.status().message() << "\n";
      return 2;
    }
    if (!failure->has_value()) {
      std::cout << "All ways agree.\n";
      return 0;
    }
    std::cout << (*failure)->way << ", step " << (*failure)->step << ": " << (*failure)->message
              << "\n";
    return 1;
  }

  void Summary(const Language& language, absl::Duration elapsed) const {
    if (absl::GetFlag(FLAGS_counts)) {
      std::cout << "operators, and in how many places of the cases they stood:\n";
      for (const auto& [name, count] : counts_.operators.counts()) {
        std::printf("  %10llu  %s\n", static_cast<unsigned long long>(count), name.c_str());
      }
      std::cout << "refused specifications (not cases), by the first words:\n";
      for (const auto& [name, count] : counts_.refusals) {
        std::printf("  %10llu  %s\n", static_cast<unsigned long long>(count), name.c_str());
      }
      std::fflush(stdout);
    }
    if (!language.refused().empty()) {
      std::cout << "not in alos yet: " << absl::StrJoin(language.refused(), ", ") << "\n";
    }
    if (mingo_ != nullptr) {
      std::cout << "mingo: " << mingo_counts_.compared
                << " answers alike; otherwise, as mingo_deviations.md says:\n";
      for (const auto& [name, count] : mingo_counts_.deviations) {
        std::printf("  %10llu  %s\n", static_cast<unsigned long long>(count), name.c_str());
      }
      std::fflush(stdout);
    }
    std::cout << counts_.cases << " cases, " << counts_.refused << " refused, " << counts_.failing
              << " that all refuse while they run, " << counts_.matches << " matches, in "
              << absl::FormatDuration(absl::Trunc(elapsed, absl::Milliseconds(10))) << "\n";
  }

  std::string directory_;
  std::uint64_t seed_ = 0;
  std::unique_ptr<MingoProcess> mingo_;
  WorldCounts counts_;
  MingoCounts mingo_counts_;
};

}  // namespace
}  // namespace alos::differential

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Random queries, answered in several ways that must agree.");
  absl::ParseCommandLine(argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  alos::SetMinimumLogLevel(alos::LogLevel::kWarning);
  return alos::differential::Differential().Run();
}
