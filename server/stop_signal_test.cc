// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

#include "server/stop_signal.h"

#include <signal.h>
#include <stdlib.h>

#include <thread>

#include "gtest/gtest.h"

namespace alos {
namespace {

// Each in a process of its own: there can be one StopSignal only, and it may end the process.

TEST(StopSignalDeathTest, TheFirstSignalMakesWaitReturnItsNumber) {
  for (const int number : {SIGTERM, SIGINT}) {
    EXPECT_EXIT(
        {
          StopSignal stop_signal;
          stop_signal.Arm();
          std::thread sender([number] { kill(getpid(), number); });
          const int received = stop_signal.Wait();
          sender.join();
          _exit(received == number ? 0 : 1);
        },
        ::testing::ExitedWithCode(0), "");
  }
}

TEST(StopSignalDeathTest, TheSecondSignalEndsTheProcessAtOnce) {
  EXPECT_EXIT(
      {
        StopSignal stop_signal;
        stop_signal.Arm();
        raise(SIGTERM);
        stop_signal.Wait();
        raise(SIGINT);
        _exit(0);
      },
      ::testing::ExitedWithCode(128 + SIGINT), "stopped at once");
}

TEST(StopSignalDeathTest, ASignalBeforeArmEndsTheProcessAtOnce) {
  EXPECT_EXIT(
      {
        StopSignal stop_signal;
        raise(SIGTERM);
        _exit(0);
      },
      ::testing::ExitedWithCode(128 + SIGTERM), "stopped at once");
}

TEST(StopSignalDeathTest, AClosedPipeIsAnErrorValueNotASignal) {
  EXPECT_EXIT(
      {
        StopSignal stop_signal;
        raise(SIGPIPE);
        _exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace alos
