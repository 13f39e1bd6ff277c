// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a regular expression and a text, and as a filter: what an index plans for them. A
// text that matches has all trigrams that the plan asks for; a filter is planned with an index of
// everything, and with none, without harm.
//
//   byte 0 even    a pattern, a zero byte, texts separated by zero bytes
//   byte 0 odd     a MessagePack value: a filter

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_split.h"
#include "alos/document/text_folding.h"
#include "alos/document/value.h"
#include "alos/index/trigram_query.h"
#include "alos/query/filter.h"
#include "alos/query/index_predicate.h"
#include "re2/re2.h"

namespace alos {
namespace {

void TryRegex(std::string_view input) {
  const std::vector<std::string_view> parts = absl::StrSplit(input, '\0');
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(8 << 20);
  if (parts[0].size() > 1024) return;
  const re2::RE2 regex(parts[0], options);
  if (!regex.ok()) return;
  const TrigramQuery query = TrigramQuery::FromRegex(regex);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (!re2::RE2::PartialMatch(parts[i], regex)) continue;
    std::string folded;
    FoldText(parts[i], TextFolding{}, &folded);
    if (query.IsFulfilledBy(folded)) continue;
    std::fprintf(stderr, "violated: a text that matches has the trigrams of the plan\n");
    std::abort();
  }
}

void TryFilter(std::string_view bytes) {
  const absl::StatusOr<ValueView> specification = ValueView::Parse(bytes);
  if (!specification.ok()) return;
  const absl::StatusOr<Filter> filter = Filter::Compile(*specification);
  if (!filter.ok()) return;
  for (const bool has_index : {true, false}) {
    std::vector<std::string> wanted;
    IndexPredicate predicate(
        *filter,
        [&](std::string_view path) -> std::optional<std::uint32_t> {
          if (!has_index) return std::nullopt;
          return static_cast<std::uint32_t>(path.size());
        },
        &wanted);
    const std::vector<std::string> equal = predicate.EqualPaths();
    std::vector<std::string> paths = equal;
    paths.insert(paths.end(), wanted.begin(), wanted.end());
    predicate.AddCompound(1, paths);
    predicate.AddCompound(2, {"a", "b"});
    if (predicate.nodes().empty() ||
        predicate.nodes()[0].subtree_size != predicate.nodes().size()) {
      std::fprintf(stderr, "violated: a plan is one tree\n");
      std::abort();
    }
  }
}

}  // namespace
}  // namespace alos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    alos::TryRegex(input);
  } else {
    alos::TryFilter(input);
  }
  return 0;
}
