// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Log lines for people: one line per message to standard error.
//
//   2026-08-02 10:11:12.345 info    recovery.h:120  shard 7: 12,345 records in 0.2 s
//
//   ALOS_LOG(kWarning) << "shard " << index << ": torn tail cut at offset " << offset;

#ifndef ALOS_BASE_LOG_H_
#define ALOS_BASE_LOG_H_

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace alos {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// "debug", "info", "warning" or "error".
std::string_view LogLevelName(LogLevel level);

// The lowest level that is written: kInfo until it is set. Threads: any, at any time.
LogLevel MinimumLogLevel();
void SetMinimumLogLevel(LogLevel level);

// Writes one message at `level` (kDebug, kInfo, kWarning, kError): takes what operator<< is given
// that absl::StrCat or an std::ostream understands, and absl::Status.
//
// Threads: any; a line is one write(2), so lines do not mix. Bytes that are not printable (line
// ends too: a name from the network must not forge a line) are written as \xNN. Errors: none; a
// line that cannot be written is lost. Cost: when the level is off, one relaxed load; the operands
// are not evaluated.
#define ALOS_LOG(level)                                    \
  !::alos::base_internal::LogIsOn(::alos::LogLevel::level) \
      ? static_cast<void>(0)                               \
      : ::alos::base_internal::LogVoidify() &              \
            ::alos::base_internal::LogMessage(::alos::LogLevel::level, __FILE__, __LINE__)

// Sends lines (without the line end) to `sink` instead of standard error; an empty function
// restores that. The sink is called under a lock and must not log.
void SetLogSinkForTest(std::function<void(LogLevel level, std::string_view line)> sink);

// ---- Readers of the API may stop here. ----

inline std::string_view LogLevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "unknown";
}

namespace base_internal {

struct LogState {
  std::atomic<bool> has_sink{false};
  absl::Mutex mutex;
  std::function<void(LogLevel, std::string_view)> sink ABSL_GUARDED_BY(mutex);
};

inline LogState& GetLogState() {
  static LogState& state = *new LogState;  // Never destroyed: threads may log while main() returns.
  return state;
}

inline constinit std::atomic<LogLevel> minimum_log_level{LogLevel::kInfo};

inline bool LogIsOn(LogLevel level) {
  return level >= minimum_log_level.load(std::memory_order_relaxed);
}

inline void AppendPrintable(std::string_view text, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out->append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
    } else {
      out->push_back(c);  // UTF-8 passes.
    }
  }
}

class LogMessage {
 public:
  LogMessage(LogLevel level, const char* file, int line)
      : level_(level), file_(file), line_(line) {}
  LogMessage(const LogMessage&) = delete;
  LogMessage& operator=(const LogMessage&) = delete;
  ~LogMessage() { Write(); }

  template <class T>
  LogMessage& operator<<(const T& value) {
    if constexpr (std::same_as<T, bool>) {
      text_.append(value ? "true" : "false");
    } else if constexpr (std::same_as<T, char>) {
      text_.push_back(value);
    } else if constexpr (std::convertible_to<const T&, absl::AlphaNum>) {
      absl::StrAppend(&text_, value);
    } else if constexpr (requires {
                           { value.ToString() } -> std::convertible_to<std::string>;
                         }) {
      text_.append(value.ToString());
    } else {
      std::ostringstream stream;
      stream << value;
      text_.append(std::move(stream).str());
    }
    return *this;
  }

 private:
  void Write() {
    std::string_view file = file_;
    if (const std::size_t slash = file.rfind('/'); slash != file.npos)
      file.remove_prefix(slash + 1);
    const std::string_view name = LogLevelName(level_);
    std::string line = absl::FormatTime("%Y-%m-%d %H:%M:%E3S ", absl::Now(), absl::LocalTimeZone());
    absl::StrAppend(&line, name, std::string(8 - name.size(), ' '), file, ":", line_, "  ");
    AppendPrintable(text_, &line);
    LogState& state = GetLogState();
    if (ABSL_PREDICT_FALSE(state.has_sink.load(std::memory_order_acquire))) {
      absl::MutexLock lock(&state.mutex);
      if (state.sink) return state.sink(level_, line);
    }
    line.push_back('\n');
    // One write for the line; a signal before the first byte is the only thing worth a retry.
    while (::write(STDERR_FILENO, line.data(), line.size()) < 0 && errno == EINTR) {
    }
  }

  const LogLevel level_;
  const char* const file_;
  const int line_;
  std::string text_;
};

// Gives both arms of ALOS_LOG's ?: the type void; & binds looser than << and tighter than ?:.
struct LogVoidify {
  void operator&(const LogMessage&) const {}
};

}  // namespace base_internal

inline LogLevel MinimumLogLevel() {
  return base_internal::minimum_log_level.load(std::memory_order_relaxed);
}

inline void SetMinimumLogLevel(LogLevel level) {
  base_internal::minimum_log_level.store(level, std::memory_order_relaxed);
}

inline void SetLogSinkForTest(std::function<void(LogLevel, std::string_view)> sink) {
  base_internal::LogState& state = base_internal::GetLogState();
  absl::MutexLock lock(&state.mutex);
  state.has_sink.store(static_cast<bool>(sink), std::memory_order_release);
  state.sink = std::move(sink);
}

}  // namespace alos

#endif  // ALOS_BASE_LOG_H_
