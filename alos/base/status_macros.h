// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Early return on error, for functions that return absl::Status or absl::StatusOr.

#ifndef ALOS_BASE_STATUS_MACROS_H_
#define ALOS_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expression` (an absl::Status) from the enclosing function unless it is OK.
//
//   ALOS_RETURN_IF_ERROR(file->Sync());
#define ALOS_RETURN_IF_ERROR(expression)                \
  do {                                                  \
    if (absl::Status alos_return_status = (expression); \
        ABSL_PREDICT_FALSE(!alos_return_status.ok())) { \
      return alos_return_status;                        \
    }                                                   \
  } while (false)

// Evaluates `expression` (an absl::StatusOr<T>); returns its status unless it is OK, otherwise
// moves the value into `target`, a variable or a declaration without a comma outside parentheses.
// REQUIRES: a block scope (two statements: not the unbraced body of an `if`).
//
//   ALOS_ASSIGN_OR_RETURN(const std::uint64_t size_bytes, file->Size());
#define ALOS_ASSIGN_OR_RETURN(target, expression) \
  ALOS_ASSIGN_OR_RETURN_IMPL_(ALOS_STATUS_CONCAT_(alos_status_or_, __LINE__), target, expression)

// ---- Readers of the API may stop here. ----

#define ALOS_ASSIGN_OR_RETURN_IMPL_(result, target, expression)            \
  auto result = (expression);                                              \
  if (ABSL_PREDICT_FALSE(!result.ok())) return std::move(result).status(); \
  target = *std::move(result)

#define ALOS_STATUS_CONCAT_(a, b) ALOS_STATUS_CONCAT_IMPL_(a, b)
#define ALOS_STATUS_CONCAT_IMPL_(a, b) a##b

#endif  // ALOS_BASE_STATUS_MACROS_H_
