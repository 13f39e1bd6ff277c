// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The load generator: see README.md and --help.

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "tools/bench/load.h"
#include "tools/bench/workload.h"
#include "tools/internal/connection_flags.h"

ABSL_FLAG(std::string, operation, "find-by-id",
          "find-by-id, insert-one, or echo (against testing/peers:epoll_echo)");
ABSL_FLAG(int, connections, 50, "connections at once");
ABSL_FLAG(int, threads, 1, "threads that drive them");
ABSL_FLAG(int, pipeline, 1, "requests under way on each connection");
ABSL_FLAG(std::uint64_t, requests, 200000, "requests to measure");
ABSL_FLAG(std::uint64_t, warmup, 20000, "requests ahead of them that are not measured");
ABSL_FLAG(std::uint64_t, documents, 100000,
          "documents that find-by-id chooses from; loaded first unless they are there");
ABSL_FLAG(std::uint64_t, document_bytes, 300, "bytes of MessagePack in a document");
ABSL_FLAG(std::string, db, "", "database (the server's default if empty)");
ABSL_FLAG(std::string, collection, "bench", "collection; insert-one uses NAME_inserted");
ABSL_FLAG(std::uint64_t, request_bytes, 100, "echo: bytes of a request on the wire");
ABSL_FLAG(std::uint64_t, response_bytes, 340, "echo: bytes of a response on the wire");
ABSL_FLAG(bool, json, false, "print one line of JSON instead of the report");

namespace alos::bench {
namespace {

constexpr std::string_view kUsage =
    "loads a server with one kind of request and prints rate and latencies.\n"
    "  bench --operation find-by-id --connections 50 --requests 200000\n"
    "  bench --operation insert-one --cipher aegis-128l --username admin --password-file secret\n"
    "Every response is checked. Stops by itself after --requests.";

absl::StatusOr<Endpoint> EndpointFromFlags() {
  ALOS_ASSIGN_OR_RETURN(const tools_internal::ConnectionSettings settings,
                        tools_internal::ConnectionSettingsFromFlags());
  Endpoint endpoint;
  endpoint.host = settings.host;
  endpoint.port = absl::StrCat(settings.port);
  if (settings.handshake_version.has_value()) {
    plugin::Ciphers::ForEach([&](auto type) {
      using Cipher = typename decltype(type)::type;
      if (Cipher::kVersion == *settings.handshake_version) {
        endpoint.version = HandshakeVersion{Cipher::kVersion, Cipher::kKeyBytes};
        endpoint.cipher = Cipher::kName;
      }
    });
    endpoint.credentials.emplace(settings.username, settings.password);
  }
  return endpoint;
}

// One request outside of the measurement; its result.
absl::StatusOr<std::string> Ask(Connection& connection, const Target& target,
                                std::uint8_t operation, std::string_view args) {
  std::string message;
  Builder builder(&message);
  builder.StartDocument();
  builder.Key("id").Uint(1);
  builder.Key("op").Uint(operation);
  builder.Key("collection").String(target.collection);
  if (!target.database.empty()) builder.Key("database").String(target.database);
  builder.Key("args").Raw(ValueView::FromTrusted(args));
  if (!target.auth.empty()) builder.Key("auth").String(target.auth);
  builder.EndDocument();
  ALOS_ASSIGN_OR_RETURN(const std::string response, connection.Call(message));
  ALOS_ASSIGN_OR_RETURN(const ValueView parsed, ValueView::Parse(response));
  if (const std::optional<ValueView> error = parsed.Find("error");
      error.has_value() && error->IsString() && !error->AsString().empty()) {
    return absl::InternalError(absl::StrCat("the server answered: ", error->AsString()));
  }
  const std::optional<ValueView> result = parsed.Find("result");
  return result.has_value() ? std::string(result->bytes()) : std::string("\xc0");
}

// Makes sure that the documents find-by-id asks for are there, in the size asked for.
absl::Status LoadDocuments(Connection& connection, const Target& target, std::uint64_t documents,
                           std::size_t document_bytes) {
  constexpr std::uint8_t kInsertMany = 2;
  constexpr std::uint8_t kCount = 9;
  constexpr std::uint8_t kFindById = 10;
  constexpr std::uint8_t kDrop = 12;
  constexpr std::string_view kNoArgs = "\x80";
  DocumentTemplate document(FindByIdWorkload::kPrefix, document_bytes);

  ALOS_ASSIGN_OR_RETURN(const std::string counted, Ask(connection, target, kCount, kNoArgs));
  const std::optional<ValueView> count = ValueView::FromTrusted(counted).Find("count");
  if (count.has_value() && count->ToInt64() == static_cast<std::int64_t>(documents)) {
    const std::string_view last = document.Get(documents - 1);
    std::string args;
    Builder builder(&args);
    builder.StartDocument();
    builder.Key("id").Raw(*ValueView::FromTrusted(last).Find("_id"));
    builder.EndDocument();
    ALOS_ASSIGN_OR_RETURN(const std::string found, Ask(connection, target, kFindById, args));
    if (found == last) return absl::OkStatus();
  }
  ALOS_RETURN_IF_ERROR(Ask(connection, target, kDrop, kNoArgs).status());
  constexpr std::uint64_t kBatch = 1000;
  for (std::uint64_t first = 0; first < documents; first += kBatch) {
    const std::uint64_t batch = std::min(kBatch, documents - first);
    std::string args;
    std::string blob;
    Builder builder(&args);
    builder.StartDocument();
    builder.Key("ids").StartArray();
    for (std::uint64_t i = 0; i < batch; ++i) {
      const std::string_view bytes = document.Get(first + i);
      builder.Raw(*ValueView::FromTrusted(bytes).Find("_id"));
      blob.append(bytes);
    }
    builder.EndArray();
    builder.Key("blob").Binary(blob);
    builder.Key("offsets").StartArray();
    for (std::uint64_t i = 0; i <= batch; ++i) builder.Uint(i * document.size());
    builder.EndArray();
    builder.EndDocument();
    ALOS_RETURN_IF_ERROR(Ask(connection, target, kInsertMany, args).status());
  }
  return absl::OkStatus();
}

double Microseconds(std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e3; }

void Report(const LoadResult& result, std::string_view cipher) {
  const Latencies& latencies = result.latencies;
  using Format =
      absl::ParsedFormat<'s', 's', 'd', 'd', 'd', 'f', 'f', 'f', 'f', 'f', 'f', 'f', 'd', 'd'>;
  static const auto& json = *new Format(
      "{\"operation\":\"%s\",\"cipher\":\"%s\",\"connections\":%d,\"pipeline\":%d,"
      "\"requests\":%d,\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%.1f,\"p90_us\":%.1f,"
      "\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"request_bytes\":%d,"
      "\"response_bytes\":%d}\n");
  static const auto& text = *new Format(
      "%s, cipher %s, %d connections, %d under way on each\n"
      "%d requests in %.3f s: %.0f per second\n"
      "latency in microseconds: p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n"
      "on the wire: %d bytes per request, %d per response\n");
  const std::string numbers = absl::StrFormat(
      absl::GetFlag(FLAGS_json) ? json : text, absl::GetFlag(FLAGS_operation), cipher,
      absl::GetFlag(FLAGS_connections), absl::GetFlag(FLAGS_pipeline), result.requests,
      result.seconds, result.PerSecond(), Microseconds(latencies.Percentile(0.5)),
      Microseconds(latencies.Percentile(0.9)), Microseconds(latencies.Percentile(0.99)),
      Microseconds(latencies.Percentile(0.999)), Microseconds(latencies.max_nanoseconds()),
      result.request_bytes, result.response_bytes);
  std::cout << numbers << std::flush;
}

absl::Status Run() {
  LoadOptions options;
  ALOS_ASSIGN_OR_RETURN(options.endpoint, EndpointFromFlags());
  options.connections = absl::GetFlag(FLAGS_connections);
  options.threads = absl::GetFlag(FLAGS_threads);
  options.pipeline = absl::GetFlag(FLAGS_pipeline);
  if (options.connections < 1 || options.threads < 1 || options.pipeline < 1) {
    return absl::InvalidArgumentError("--connections, --threads and --pipeline must be at least 1");
  }
  const std::uint64_t requests = absl::GetFlag(FLAGS_requests);
  const std::uint64_t warmup = absl::GetFlag(FLAGS_warmup);
  constexpr std::uint64_t kRequestsMax = std::uint64_t{1} << 31;
  if (requests < 1 || requests >= kRequestsMax || warmup >= kRequestsMax - requests) {
    return absl::InvalidArgumentError("--requests must be 1 to 2^31 - 1, warm-up included");
  }
  const std::uint64_t documents = absl::GetFlag(FLAGS_documents);
  const std::uint64_t document_bytes = absl::GetFlag(FLAGS_document_bytes);
  if (documents < 1 || document_bytes < DocumentTemplate::kDocumentBytesMin ||
      document_bytes > (8U << 20)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--documents must be at least 1, --document_bytes ",
                     DocumentTemplate::kDocumentBytesMin, " to 8 MiB"));
  }
  Target target{.database = absl::GetFlag(FLAGS_db),
                .collection = absl::GetFlag(FLAGS_collection),
                .auth = {}};
  if (options.endpoint.credentials.has_value()) target.auth = options.endpoint.credentials->Token();

  const std::string operation = absl::GetFlag(FLAGS_operation);
  if (operation == "find-by-id") {
    ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection,
                          Connection::Open(options.endpoint));
    ALOS_RETURN_IF_ERROR(LoadDocuments(*connection, target, documents, document_bytes));
    options.make_workload = [&](int thread) {
      return std::make_unique<FindByIdWorkload>(target, documents,
                                                static_cast<std::uint64_t>(thread));
    };
  } else if (operation == "insert-one") {
    target.collection += "_inserted";
    const std::string prefix = NewId().substr(0, 12);  // another run has another
    options.make_workload = [&, prefix](int thread) {
      return std::make_unique<InsertOneWorkload>(
          target, prefix, static_cast<std::uint64_t>(thread) * kRequestsMax, document_bytes);
    };
  } else if (operation == "echo") {
    const std::uint64_t request_bytes = absl::GetFlag(FLAGS_request_bytes);
    const std::uint64_t response_bytes = absl::GetFlag(FLAGS_response_bytes);
    if (request_bytes < 8 || response_bytes < 8) {
      return absl::InvalidArgumentError("--request_bytes and --response_bytes must be at least 8");
    }
    options.make_workload = [request_bytes, response_bytes](int) {
      return std::make_unique<EchoWorkload>(request_bytes - kFrameLengthBytes,
                                            response_bytes - kFrameLengthBytes);
    };
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "--operation is \"", operation, "\"; it must be find-by-id, insert-one or echo"));
  }
  ALOS_ASSIGN_OR_RETURN(const LoadResult result, RunLoad(options, warmup, requests));
  Report(result, options.endpoint.cipher);
  return absl::OkStatus();
}

}  // namespace
}  // namespace alos::bench

int main(int argc, char** argv) {
  const std::vector<std::string> rest =
      alos::tools_internal::ParseCommandLine(argc, argv, alos::bench::kUsage);
  if (!rest.empty()) {
    std::cerr << "bench: unexpected argument \"" << rest[0] << "\" (--help lists the flags)\n";
    return 2;
  }
  if (const absl::Status status = alos::bench::Run(); !status.ok()) {
    std::cerr << "bench: " << status.message() << "\n";
    return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
  }
  return 0;
}
