// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A client whose server answers what it likes, over a socket, to every operation there is. It may
// get wrong results; it must not crash.
//
// The input is a list of answers: two bytes, little-endian, the length with the top bit set for a
// whole payload and not set for the result inside of a proper one; then the bytes. What is asked
// after the last answer gets nil.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "alos/base/check.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/net/big_endian.h"
#include "alos/net/client.h"
#include "alos/net/message.h"

namespace alos {
namespace {

// One connection at a time; every frame that comes is answered with the next answer.
class Server {
 public:
  Server() : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    ALOS_CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    ALOS_CHECK(::listen(listener_, 64) == 0);
    ALOS_CHECK(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    std::thread([this] {
      for (;;) Serve(::accept(listener_, nullptr, nullptr));
    }).detach();
  }
  std::uint16_t port() const { return port_; }
  // Before a client connects.
  void SetAnswers(std::string_view answers) { answers_ = answers; }

 private:
  static bool ReadAll(int socket, char* bytes, std::size_t size) {
    return size == 0 || ::recv(socket, bytes, size, MSG_WAITALL) == static_cast<ssize_t>(size);
  }
  void Serve(int socket) {
    char length[4];
    std::string request;
    while (ReadAll(socket, length, 4)) {
      request.resize(net_internal::LoadBigEndian32(length));
      if (!ReadAll(socket, request.data(), request.size())) break;
      std::string answer;
      bool is_whole = false;
      std::string_view bytes = "\xc0";
      if (answers_.size() >= 2) {
        const std::size_t word = static_cast<std::uint8_t>(answers_[0]) |
                                 static_cast<std::size_t>(static_cast<std::uint8_t>(answers_[1]))
                                     << 8;
        is_whole = (word & 0x8000) != 0;
        bytes = answers_.substr(2, word & 0x7FFF);
        answers_.remove_prefix(2 + bytes.size());
      }
      if (!is_whole) AppendResultHeader(1, &answer);
      answer.append(bytes);
      std::string frame(4, '\0');
      net_internal::StoreBigEndian32(static_cast<std::uint32_t>(answer.size()), frame.data());
      frame += answer;
      if (::send(socket, frame.data(), frame.size(), MSG_NOSIGNAL) < 0) break;
    }
    ::close(socket);
  }

  const int listener_;
  std::uint16_t port_ = 0;
  std::string_view answers_;
};

void AskEverything(Client& client) {
  std::string bytes;
  Builder(&bytes).StartDocument().Key("_id").Int(1).EndDocument();
  const ValueView document = ValueView::FromTrusted(bytes);
  const ValueView pipeline = ValueView::FromTrusted("\x90");
  const std::vector<ValueView> documents = {document, document};
  const auto visit = [](ValueView value) { return value.IsDocument(); };
  client.InsertOne("c", document).IgnoreError();
  client.InsertMany("c", documents).IgnoreError();
  client.FindById("c", document).IgnoreError();
  client.FindOne("c", document).IgnoreError();
  client.Find("c", document).IgnoreError();
  client.FindStream("c", document, 10, visit).IgnoreError();
  client.Aggregate("c", pipeline).IgnoreError();
  client.AggregateStream("c", pipeline, 10, visit).IgnoreError();
  client.ExplainFind("c", document).IgnoreError();
  client.Count("c", document).IgnoreError();
  client.Count("c").IgnoreError();
  client.UpdateOne("c", document, document).IgnoreError();
  client.DeleteMany("c", document).IgnoreError();
  client.UpsertOne("c", document, document).IgnoreError();
  client.UpsertMany("c", document, document).IgnoreError();
  client.CreateCollection("c").IgnoreError();
  client.CollectionExists("c").IgnoreError();
  client.Drop("c").IgnoreError();
  client.Stats().IgnoreError();
  client.ReadTimestamp().IgnoreError();
  client.CreateIndex("c", ClientIndex{.fields = {{.name = "f"}}}).IgnoreError();
  client.ListIndexes("c").IgnoreError();
  client.Batch(std::vector<ClientBatchRequest>{{Operation::kFlush, "", "\x80"}}).IgnoreError();
  std::string cursor;
  client.Watch({.poll = absl::ZeroDuration(), .timeout = absl::ZeroDuration()}, &cursor, visit)
      .IgnoreError();
  auto transaction = client.BeginTransaction();
  if (transaction.ok()) {
    (*transaction)->FindOne("c", document).IgnoreError();
    (*transaction)->Find("c", document).IgnoreError();
    (*transaction)->Count("c", document).IgnoreError();
    (*transaction)->InsertOne("c", document).IgnoreError();
    (*transaction)->InsertMany("c", documents).IgnoreError();
    (*transaction)->UpdateOne("c", document, document).IgnoreError();
    (*transaction)->Commit().IgnoreError();
  }
}

}  // namespace
}  // namespace alos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto* const server = new alos::Server;  // its thread never ends
  for (const bool retry_writes : {false, true}) {
    server->SetAnswers(std::string_view(reinterpret_cast<const char*>(data), size));
    auto client = alos::Client::Connect({.port = server->port(),
                                         .connections_max = 1,
                                         .request_timeout = absl::Milliseconds(500),
                                         .reconnect_timeout = absl::Milliseconds(100),
                                         .backoff_min = absl::ZeroDuration(),
                                         .backoff_max = absl::ZeroDuration(),
                                         .retry_writes = retry_writes});
    if (client.ok()) alos::AskEverything(**client);
  }
  return 0;
}
