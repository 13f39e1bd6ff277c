// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary bytes as a response, as a client reads them from a server it does not trust.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "alos/net/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  const auto response = alos::ParseResponse(payload);
  if (!response.ok()) return 0;
  if (response->result.has_value()) {
    const std::string_view bytes = response->result->bytes();
    if (bytes.data() < payload.data() ||
        bytes.data() + bytes.size() > payload.data() + payload.size()) {
      std::abort();
    }
  }
  return 0;
}
