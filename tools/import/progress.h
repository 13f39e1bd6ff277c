// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Tells a person how far an import is.

#ifndef ALOS_TOOLS_IMPORT_PROGRESS_H_
#define ALOS_TOOLS_IMPORT_PROGRESS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace alos::import {

// "1,234,567"
inline std::string WithCommas(std::uint64_t number) {
  std::string digits = absl::StrCat(number);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

// "104,000 records, 98,000/s, 12.3 MB/s"
inline std::string Rates(std::uint64_t records, std::uint64_t bytes, absl::Duration elapsed) {
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  return absl::StrFormat(
      "%s records, %s/s, %.1f MB/s", WithCommas(records),
      WithCommas(static_cast<std::uint64_t>(static_cast<double>(records) / seconds)),
      static_cast<double>(bytes) / 1e6 / seconds);
}

// A bar that redraws itself on a terminal, a line now and then elsewhere.
//
// Threads: one at a time. Lifetime: `out` must outlive it. Cost: a comparison of times per call, a
// write ten times a second at most.
class Progress {
 public:
  // `bytes_total` 0: not known.
  Progress(std::ostream* out, bool is_terminal, std::string label, std::uint64_t bytes_total,
           absl::Time now)
      : out_(out),
        is_terminal_(is_terminal),
        label_(std::move(label)),
        bytes_total_(bytes_total),
        begun_(now),
        drawn_(now) {}

  void Update(std::uint64_t records, std::uint64_t bytes, absl::Time now) {
    if (now - drawn_ < (is_terminal_ ? absl::Milliseconds(100) : absl::Seconds(5))) return;
    drawn_ = now;
    const std::string rates = Rates(records, bytes, now - begun_);
    if (!is_terminal_) {
      *out_ << label_ << ": " << Percent(bytes) << rates << "\n" << std::flush;
      return;
    }
    // \x1b[K clears what a longer line left behind.
    *out_ << "\r" << label_ << " " << Bar(bytes) << Percent(bytes) << rates << "\x1b[K"
          << std::flush;
    is_drawn_ = true;
  }

  // Takes the bar away, so that a message can be written in its place.
  void Clear() {
    if (is_drawn_) *out_ << "\r\x1b[K" << std::flush;
    is_drawn_ = false;
  }

 private:
  static constexpr std::size_t kBarWidth = 30;

  std::string Percent(std::uint64_t bytes) const {
    if (bytes_total_ == 0) return "";
    return absl::StrFormat("%3d%%  ", std::min<std::uint64_t>(100, bytes * 100 / bytes_total_));
  }

  std::string Bar(std::uint64_t bytes) const {
    if (bytes_total_ == 0) return "";
    const std::size_t filled = static_cast<std::size_t>(
        std::min<std::uint64_t>(kBarWidth, bytes * kBarWidth / bytes_total_));
    return absl::StrCat("[", std::string(filled, '#'), std::string(kBarWidth - filled, '.'), "] ");
  }

  std::ostream* const out_;
  const bool is_terminal_;
  const std::string label_;
  const std::uint64_t bytes_total_;
  const absl::Time begun_;
  absl::Time drawn_;
  bool is_drawn_ = false;
};

}  // namespace alos::import

#endif  // ALOS_TOOLS_IMPORT_PROGRESS_H_
