// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Names for writes, so that one that is sent again is not done again.

#ifndef ALOS_ENGINE_REQUEST_ID_H_
#define ALOS_ENGINE_REQUEST_ID_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace alos {

// A session, opened by BasicDatabase::OpenSession(), sends one write at a time; each has a higher
// number than the ones before. What came of the last one is kept with the documents, in the same
// commit, so it is known after a restart, too.
struct RequestId {
  std::uint32_t slot = 0;        // where the last outcome of the session is kept
  std::array<char, 16> key{};    // of the session: random
  std::uint64_t number = 0;      // from 1
  bool was_sent_before = false;  // then it is not done if nobody knows whether it was
};

// What came of a write.
struct RequestOutcome {
  enum class State {
    kNone,     // it was not done, and will not be unless it is sent again
    kRunning,  // it is being done
    kDone,
    kInterrupted,  // the server stopped in the middle of a write to many documents
  };
  State state = State::kNone;
  std::uint64_t matched = 0;
  std::uint64_t changed = 0;
  std::optional<std::string> inserted_id;  // encoded
  std::optional<std::string> result;       // of BasicDatabase::RunOnce
  absl::Status status;                     // the error that it ended with
  std::uint64_t commit_timestamp = 0;
};

}  // namespace alos

#endif  // ALOS_ENGINE_REQUEST_ID_H_
