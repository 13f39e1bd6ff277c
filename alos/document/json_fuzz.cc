// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary text into JsonToMessagePack and JsonStream. What is accepted must be valid MessagePack
// that comes back from its own JSON byte for byte; what is refused must have a located fault unless
// it is JSON that breaks one of our rules; a stream must give the same whatever its chunks.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "alos/base/check.h"
#include "alos/document/compare.h"
#include "alos/document/internal/json_text.h"
#include "alos/document/json.h"
#include "alos/document/json_stream.h"
#include "alos/document/value.h"
#include "simdjson.h"

namespace alos {
namespace {

void CheckText(std::string_view text) {
  const absl::StatusOr<std::string> bytes = JsonToMessagePack(text);
  const std::optional<document_internal::JsonFault> fault =
      document_internal::JsonChecker(text, document_internal::kJsonTextDepthMax - 1).Run();
  if (bytes.ok()) {
    ALOS_CHECK(!fault);
    const absl::StatusOr<ValueView> value = ValueView::Parse(*bytes);
    ALOS_CHECK_OK(value);
    const std::string json = ToJson(*value);
    const absl::StatusOr<std::string> again = JsonToMessagePack(json);
    ALOS_CHECK_OK(again);
    ALOS_CHECK(*again == *bytes);
    ALOS_CHECK(ToJson(ValueView::FromTrusted(*again)) == json);
    return;
  }
  ALOS_CHECK(bytes.status().code() == absl::StatusCode::kInvalidArgument);
  if (fault) {
    ALOS_CHECK(fault->offset <= text.size());
    return;
  }
  // No fault: it is JSON.
  const std::optional<std::string> widened = document_internal::WidenIntegers(text);
  simdjson::dom::parser parser;
  const simdjson::error_code error = parser.parse(widened ? *widened : std::string(text)).error();
  ALOS_CHECK(error == simdjson::SUCCESS || error == simdjson::DEPTH_ERROR);
}

std::vector<std::string> Read(std::string_view text, std::size_t chunk_size,
                              JsonStreamFormat format) {
  JsonStream stream({.format = format, .document_size_max_bytes = 1000});
  std::vector<std::string> events;
  bool is_finished = false;
  for (;;) {
    JsonStream::Document document;
    const absl::StatusOr<bool> found = stream.Next(&document);
    if (!found.ok()) {
      events.emplace_back(found.status().message());
      if (stream.is_broken()) return events;
    } else if (*found) {
      ALOS_CHECK(document.offset <= stream.offset() && document.line >= 1);
      const absl::StatusOr<ValueView> value = ValueView::Parse(document.message_pack);
      ALOS_CHECK_OK(value);
      ALOS_CHECK(value->IsDocument());
      events.emplace_back(document.message_pack);
    } else if (!text.empty()) {
      const std::size_t size = std::min(chunk_size, text.size());
      stream.Append(std::string(text.substr(0, size)));
      text.remove_prefix(size);
    } else if (!is_finished) {
      stream.Finish();
      is_finished = true;
    } else {
      return events;
    }
  }
}

}  // namespace
}  // namespace alos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  alos::CheckText(text);
  for (const alos::JsonStreamFormat format :
       {alos::JsonStreamFormat::kAuto, alos::JsonStreamFormat::kArray,
        alos::JsonStreamFormat::kLines, alos::JsonStreamFormat::kSequence}) {
    ALOS_CHECK(alos::Read(text, size + 1, format) == alos::Read(text, 7, format));
  }
  return 0;
}
