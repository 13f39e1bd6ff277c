// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary bytes into a session over a real engine. The first byte of the input says whether the
// server wants credentials and how the rest is cut into pieces; every whole frame must be answered
// or end the connection.

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/types/span.h"
#include "alos/base/log.h"
#include "alos/engine/engine.h"
#include "alos/net/protocol.h"
#include "plugin/protocol.h"

namespace {

using TestProtocol = alos::plugin::Protocol<alos::Engine>;

// One engine for the life of the process: what inputs insert stays, as it would in a server.
struct Host {
  Host() {
    alos::SetMinimumLogLevel(alos::LogLevel::kError);
    path = std::filesystem::temp_directory_path() / absl::StrCat("alos_session_fuzz_", ::getpid());
    alos::EngineOptions options;
    options.data_path = path.string();
    options.shards = 1;
    options.cache_bytes = 1 << 20;
    engine = *alos::Engine::Open(options);
    open = std::make_unique<TestProtocol>(engine.get(), alos::AlosProtocolOptions());
    alos::AlosProtocolOptions closed_options;
    closed_options.credentials.emplace("fuzz", "fuzz");
    closed = std::make_unique<TestProtocol>(engine.get(), closed_options);
  }
  // At the end of the process the main thread has no thread-local variables left to read with.
  ~Host() {
    std::thread([this] {
      open = nullptr;
      closed = nullptr;
      engine->Close().IgnoreError();
      engine = nullptr;
    }).join();
    std::filesystem::remove_all(path);
  }
  std::filesystem::path path;
  std::unique_ptr<alos::Engine> engine;
  std::unique_ptr<TestProtocol> open;
  std::unique_ptr<TestProtocol> closed;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Host host;
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool with_credentials = (data[0] & 1) != 0;
  const std::size_t piece = data[0] / 2 + 1;
  const auto session = (with_credentials ? host.closed : host.open)->NewSession();
  std::string output;
  while (!bytes.empty()) {
    const absl::Span<char> room = session->Prepare();
    const std::size_t taken = std::min({piece, room.size(), bytes.size()});
    std::memcpy(room.data(), bytes.data(), taken);
    session->Commit(taken);
    bytes.remove_prefix(taken);
    for (bool more = true; more;) {
      switch (session->Advance(&output)) {
        case alos::SessionStep::kReceive:
          more = false;
          break;
        case alos::SessionStep::kSend:
          output.clear();
          break;
        case alos::SessionStep::kWork:
          session->Work(&output);
          break;
        case alos::SessionStep::kWait: {
          absl::Notification done;
          session->Wait([&done](absl::Status) { done.Notify(); });
          done.WaitForNotification();
          session->Resume(absl::OkStatus());
          break;
        }
        case alos::SessionStep::kPause:
          break;
        case alos::SessionStep::kClose:
          return 0;
      }
    }
    if (with_credentials && session->authenticated()) std::abort();  // nobody guesses an HMAC
    output.clear();
  }
  return 0;
}
