// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What a new encrypted connection costs each side in arithmetic: one whole handshake, server and
// client together, without any network. The network's round trips come on top and dominate from
// afar. Run with: ./bazelw run -c opt //alos/net:handshake_benchmark

#include <cstdint>
#include <string>

#include "alos/net/credentials.h"
#include "alos/net/handshake.h"
#include "benchmark/benchmark.h"

namespace alos {
namespace {

constexpr HandshakeVersion kVersions[] = {{0x01, 32}, {0x02, 16}};

void BM_Handshake(benchmark::State& state) {
  const Credentials credentials("admin", "secret");
  const HandshakeVersion version = kVersions[state.range(0) - 1];
  for (auto _ : state) {
    ServerHandshake server(kVersions, credentials, NewSalt());
    ClientHandshake client(version, credentials, NewSalt());
    std::string to_server, to_client;
    client.Start(&to_server);
    if (!server.Consume(to_server, &to_client).ok()) state.SkipWithError("hello refused");
    to_server.clear();
    if (!client.Consume(to_client, &to_server).ok()) state.SkipWithError("reply refused");
    if (!server.Consume(to_server, &to_client).ok()) state.SkipWithError("proof refused");
    benchmark::DoNotOptimize(server.keys().server_to_client.data());
  }
}
BENCHMARK(BM_Handshake)->Arg(1)->Arg(2);

void BM_MatchesToken(benchmark::State& state) {
  const Credentials credentials("admin", "secret");
  const std::string token = credentials.Token();
  bool matches = true;
  for (auto _ : state) {
    matches &= credentials.MatchesToken(token);
    benchmark::DoNotOptimize(matches);
  }
  if (!matches) state.SkipWithError("token refused");
}
BENCHMARK(BM_MatchesToken);

}  // namespace
}  // namespace alos
