// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Expressions: bytes that are a valid MessagePack value are compiled as they are; the same bytes
// also choose a well-formed expression. What compiles is evaluated for a fixed set of documents.
// Nothing may crash, and results are valid values, the same each time.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "alos/document/value.h"
#include "alos/query/expression.h"
#include "alos/query/internal/random_expression.h"
#include "alos/query/internal/shell_text.h"

namespace alos {
namespace {

using query_internal::ShellDocument;

const std::vector<ShellDocument>& Documents() {
  static const auto* documents = [] {
    auto* all = new std::vector<ShellDocument>();
    for (const std::string_view text : {
             "{}",
             "{a: 1, b: 'x', c: 2.5, 0: null}",
             "{a: {b: 1, c: [1, null, {d: 2}]}, b: {c: time(1700000000)}, c: [3, 1, 2], 0: 'UTC'}",
             "{a: [{b: [4, 5]}, {b: 'z', 0: 1}, 7, [{b: 3}]], b: ['x', 'yz', ''], c: time(0)}",
             "{a: bin('binary'), b: 18446744073709551615, c: NaN, 0: [['k', 1], ['v', 2]]}",
             "{a: 'text, and more', b: -9223372036854775808, c: true, 0: [{k: 'x', v: 1}]}",
         }) {
      all->emplace_back(text);
    }
    return all;
  }();
  return *documents;
}

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void Try(ValueView specification) {
  VariableScope scope;
  const absl::StatusOr<std::size_t> slot = scope.Declare("this");
  const absl::StatusOr<Expression> expression = Expression::Compile(specification, scope);
  if (!expression.ok()) return;
  (void)expression->ImpliedComparisons();
  EvaluationLimits limits;
  limits.memory_bytes_max = 1 << 20;
  limits.steps_max = 20'000;
  EvaluationState state(Timestamp{1'700'000'000, 123'000'000}, limits);
  for (const ShellDocument& document : Documents()) {
    state.Reset();
    state.SetVariable(*slot, document.view().Find("a"));
    const absl::StatusOr<std::optional<ValueView>> value =
        expression->Evaluate(document.view(), state);
    if (!value.ok() || !*value) continue;
    Require(ValueView::Parse((*value)->bytes(), {.depth_max = 101}).ok(), "a result is valid");
    const std::optional<ValueView> constant = expression->constant();
    Require(!constant || constant->bytes() == (*value)->bytes(), "a constant is constant");
  }
}

// Takes its choices from bytes; zeros when they are used up.
class ByteChoices {
 public:
  explicit ByteChoices(std::string_view bytes) : bytes_(bytes) {}

  std::size_t Pick(std::size_t count) {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(bytes_[0]);
    bytes_.remove_prefix(1);
    return byte % count;
  }

 private:
  std::string_view bytes_;
};

}  // namespace
}  // namespace alos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<alos::ValueView> specification = alos::ValueView::Parse(bytes);
  if (specification.ok()) alos::Try(*specification);
  alos::ByteChoices choices(bytes);
  const std::string generated = alos::query_internal::RandomExpressions(choices).Expression();
  alos::Try(alos::ValueView::FromTrusted(generated));
  return 0;
}
