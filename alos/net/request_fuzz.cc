// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary bytes as a request. What is accepted must come out the same when written and read
// again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "alos/net/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  alos::Request request;
  if (!alos::ParseRequest(payload, &request).ok()) return 0;
  std::string again;
  alos::AppendRequest({.id = request.id,
                       .operation = request.operation,
                       .collection = request.collection,
                       .database = request.database,
                       .token = request.auth.value_or(""),
                       .no_reply = request.no_reply},
                      request.args, &again);
  alos::Request second;
  if (!alos::ParseRequest(again, &second).ok() || second.id != request.id ||
      second.operation != request.operation || second.collection != request.collection ||
      second.database != request.database || second.args.bytes() != request.args.bytes() ||
      second.no_reply != request.no_reply) {
    std::abort();
  }
  return 0;
}
