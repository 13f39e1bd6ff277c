// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// From received bytes to a parsed request and from a result to a framed response, for a FindByID of
// a 60-letter id and a document of about 300 bytes. No sockets, no engine. Run with: ./bazelw run
// -c opt //alos/net:frame_benchmark

#include <cstdint>
#include <cstring>
#include <string>

#include "absl/types/span.h"
#include "alos/document/builder.h"
#include "alos/net/frame.h"
#include "alos/net/message.h"
#include "alos/net/secure_channel.h"
#include "benchmark/benchmark.h"
#include "plugin/ciphers.h"

namespace alos {
namespace {

using Channel = SecureChannel<plugin::Ciphers>;

std::string FindFrame() {
  std::string args;
  Builder(&args).StartDocument().Key("id").String(std::string(60, 'i')).EndDocument();
  Channel plain;
  std::string frame;
  const std::size_t start = BeginFrame(plain, &frame);
  AppendRequest({.id = 12345, .operation = Operation::kFindById, .collection = "people"},
                ValueView::FromTrusted(args), &frame);
  EndFrame(plain, start, &frame);
  return frame;
}

void BM_CutFramesOf100Bytes(benchmark::State& state) {
  const std::string frame = FindFrame();
  FrameReader reader(1 << 20);
  for (auto _ : state) {
    const absl::Span<char> room = reader.Prepare();
    std::memcpy(room.data(), frame.data(), frame.size());
    reader.Commit(frame.size());
    const auto next = reader.Next();
    if (!next.ok() || !next->has_value()) state.SkipWithError("no frame");
  }
}
BENCHMARK(BM_CutFramesOf100Bytes);

void BM_ParseRequest(benchmark::State& state) {
  const std::string payload = FindFrame().substr(kFrameLengthBytes);
  for (auto _ : state) {
    Request request;
    if (!ParseRequest(payload, &request).ok()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(request);
  }
}
BENCHMARK(BM_ParseRequest);

void BM_FrameResponse(benchmark::State& state) {
  Channel channel;
  HandshakeKeys keys;
  for (const HandshakeVersion& version : Channel::versions()) {
    if (version.version != state.range(0)) continue;
    keys.version = version.version;
    keys.client_to_server.assign(version.key_bytes, 1);
    keys.server_to_client.assign(version.key_bytes, 2);
    channel.Enable(keys, Channel::Role::kServer);
  }
  const std::string document(300, 'x');
  std::string output;
  for (auto _ : state) {
    output.clear();
    const std::size_t start = BeginFrame(channel, &output);
    AppendResultHeader(12345, &output);
    output.append(document);
    EndFrame(channel, start, &output);
    benchmark::DoNotOptimize(output.data());
  }
}
BENCHMARK(BM_FrameResponse)->Arg(0)->Arg(1)->Arg(2)->ArgName("handshake");

}  // namespace
}  // namespace alos
