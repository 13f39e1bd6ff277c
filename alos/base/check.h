// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Assertions for our own bugs. What comes from a disk, a network, a user or the operating system is
// never asserted: that gets an absl::Status (see status_macros.h).

#ifndef ALOS_BASE_CHECK_H_
#define ALOS_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Aborts with file, line and the condition when `condition` is false. Always on.
#define ALOS_CHECK(condition)     \
  (ABSL_PREDICT_TRUE((condition)) \
       ? static_cast<void>(0)     \
       : ::alos::base_internal::CheckFailed(__FILE__, __LINE__, "ALOS_CHECK(" #condition ")", ""))

// As ALOS_CHECK, for an absl::Status or absl::StatusOr that must be OK; prints the status.
#define ALOS_CHECK_OK(expression)                                         \
  do {                                                                    \
    if (const auto& alos_check_result = (expression);                     \
        ABSL_PREDICT_FALSE(!alos_check_result.ok())) {                    \
      ::alos::base_internal::CheckFailed(                                 \
          __FILE__, __LINE__, "ALOS_CHECK_OK(" #expression ")",           \
          ::alos::base_internal::StatusOf(alos_check_result).ToString()); \
    }                                                                     \
  } while (false)

// As ALOS_CHECK, for conditions that cost too much on a hot path: compiled, but not evaluated, with
// NDEBUG (-c opt).
#ifdef NDEBUG
#define ALOS_DCHECK(condition) static_cast<void>(true || (condition))
#else
#define ALOS_DCHECK(condition) ALOS_CHECK(condition)
#endif

// ---- Readers of the API may stop here. ----

namespace alos::base_internal {

[[noreturn]] ABSL_ATTRIBUTE_NOINLINE ABSL_ATTRIBUTE_COLD inline void CheckFailed(
    const char* file, int line, const char* what, const std::string& detail) {
  // stdio, not ALOS_LOG: this must work whatever else is broken.
  std::fprintf(stderr, "%s:%d: %s failed%s%s\n", file, line, what, detail.empty() ? "" : ": ",
               detail.c_str());
  std::fflush(stderr);
  std::abort();
}

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <class T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

}  // namespace alos::base_internal

#endif  // ALOS_BASE_CHECK_H_
