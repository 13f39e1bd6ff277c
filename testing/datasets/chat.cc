// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Writes a chat log to a file, into a server, or into a data directory: see --help.

#include "testing/datasets/chat.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/flags/flag.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/net/client.h"
#include "tools/import/progress.h"
#include "tools/internal/connection_flags.h"

ABSL_FLAG(std::uint64_t, seed, 1, "another seed, another log");
ABSL_FLAG(std::uint64_t, documents, 1'000'000, "messages of the whole log");
ABSL_FLAG(std::uint64_t, first, 0, "the first message to make");
ABSL_FLAG(std::uint64_t, count, 0, "messages to make; 0: all from --first on");
ABSL_FLAG(std::string, output, "",
          "file to write, such as /dev/stdout; empty: load the server at --port");
ABSL_FLAG(std::string, format, "msgpack", "of --output: msgpack, or json (a message a line)");
ABSL_FLAG(std::string, data_path, "",
          "data directory to write without a server, which must not be running on it");
ABSL_FLAG(std::uint32_t, shards, 256, "of a database that --data-path has to make");
ABSL_FLAG(std::string, db, "alosdb", "database");
ABSL_FLAG(std::string, collection, "messages", "collection");
ABSL_FLAG(int, connections, 4, "connections, or writing threads with --data-path");
ABSL_FLAG(std::uint64_t, batch, 1000, "messages in one InsertMany");
ABSL_FLAG(bool, quiet, false, "no progress");

namespace alos::datasets {
namespace {

constexpr std::string_view kUsage =
    "makes a log of chat messages in the shape of Discord's, the same for the same --seed and\n"
    "--documents.\n\n"
    "  chat --documents 16000000 --port localhost:6900        into a server\n"
    "  chat --documents 16000000 --data-path /var/lib/alos    into a data directory\n"
    "  chat --documents 1000000 --output chat.msgpack         MessagePack, one after another\n"
    "  chat --documents 1000000 --output /dev/stdout --format json   a JSON object a line, dates "
    "as text";

struct Range {
  std::uint64_t first = 0;
  std::uint64_t end = 0;  // one past
};

using InsertBatch = absl::FunctionRef<absl::Status(absl::Span<const ValueView> documents)>;

// Inserts the messages in batches, several at once, roughly in order.
//
// Threads: makes its own; `insert` is called by all of them.
absl::Status InsertAll(const ChatLog& log, Range range, int threads, std::uint64_t batch_size,
                       import::Progress* progress, InsertBatch insert) {
  std::atomic<std::uint64_t> next{range.first};
  std::atomic<bool> stop{false};
  absl::Mutex mutex;
  absl::Status first_error;
  std::uint64_t inserted = 0;
  std::uint64_t bytes = 0;
  const auto work = [&] {
    std::string batch;
    std::vector<std::size_t> ends;
    std::vector<ValueView> documents;
    while (!stop.load(std::memory_order_relaxed)) {
      const std::uint64_t begin = next.fetch_add(batch_size);
      if (begin >= range.end) return;
      batch.clear();
      ends.clear();
      documents.clear();
      for (std::uint64_t n = begin; n < std::min(begin + batch_size, range.end); ++n) {
        log.Append(n, &batch);
        ends.push_back(batch.size());
      }
      std::size_t at = 0;
      for (const std::size_t end : ends) {
        documents.push_back(ValueView::FromTrusted(std::string_view(batch).substr(at, end - at)));
        at = end;
      }
      const absl::Status status = insert(documents);
      const absl::MutexLock lock(&mutex);
      if (!status.ok()) {
        first_error.Update(status);
        stop = true;
        return;
      }
      inserted += documents.size();
      bytes += batch.size();
      if (progress != nullptr) progress->Update(inserted, bytes, absl::Now());
    }
  };
  const absl::Time begun = absl::Now();
  std::vector<std::thread> workers;
  workers.reserve(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  if (progress != nullptr) progress->Clear();
  std::cout << import::Rates(inserted, bytes, absl::Now() - begun) << "\n" << std::flush;
  return first_error;
}

absl::Status LoadServer(const ChatLog& log, Range range, import::Progress* progress) {
  ALOS_ASSIGN_OR_RETURN(const tools_internal::ConnectionSettings settings,
                        tools_internal::ConnectionSettingsFromFlags());
  ClientOptions options{
      .host = settings.host, .port = settings.port, .database = absl::GetFlag(FLAGS_db)};
  if (settings.handshake_version.has_value()) {
    options.username = settings.username;
    options.password = settings.password;
    options.handshake_version = *settings.handshake_version;
  }
  const int connections = absl::GetFlag(FLAGS_connections);
  options.connections_max = static_cast<std::size_t>(connections);
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(options));
  const std::string collection = absl::GetFlag(FLAGS_collection);
  ALOS_RETURN_IF_ERROR(InsertAll(log, range, connections, absl::GetFlag(FLAGS_batch), progress,
                                 [&](absl::Span<const ValueView> documents) {
                                   return client->InsertMany(collection, documents).status();
                                 }));
  return client->Flush();
}

absl::Status LoadDirectory(const ChatLog& log, Range range, import::Progress* progress) {
  EngineOptions options;
  options.data_path = tools_internal::UserPath(absl::GetFlag(FLAGS_data_path));
  options.shards = absl::GetFlag(FLAGS_shards);
  options.cache_bytes = 0;
  ALOS_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(options));
  ALOS_ASSIGN_OR_RETURN(Engine::Database* const database,
                        engine->GetOrCreateDatabase(absl::GetFlag(FLAGS_db)));
  const std::string collection = absl::GetFlag(FLAGS_collection);
  const absl::Status inserted =
      InsertAll(log, range, absl::GetFlag(FLAGS_connections), absl::GetFlag(FLAGS_batch), progress,
                [&](absl::Span<const ValueView> documents) {
                  return database->InsertMany(collection, documents).status;
                });
  const absl::Status closed = engine->Close();
  return inserted.ok() ? closed : inserted;
}

absl::Status WriteFile(const ChatLog& log, Range range, bool as_json, import::Progress* progress) {
  constexpr std::size_t kWriteBytes = 1 << 20;
  const std::string path = absl::GetFlag(FLAGS_output);
  std::FILE* const file = std::fopen(tools_internal::UserPath(path).c_str(), "wb");
  if (file == nullptr) return absl::NotFoundError(absl::StrCat("cannot write ", path));
  std::string buffer;
  std::string document;
  std::uint64_t bytes = 0;
  bool written = true;
  for (std::uint64_t number = range.first; number < range.end && written; ++number) {
    if (as_json) {
      document.clear();
      log.Append(number, &document);
      absl::StrAppend(&buffer, ToJson(ValueView::FromTrusted(document)), "\n");
    } else {
      log.Append(number, &buffer);
    }
    if (buffer.size() >= kWriteBytes || number + 1 == range.end) {
      written = std::fwrite(buffer.data(), 1, buffer.size(), file) == buffer.size();
      bytes += buffer.size();
      buffer.clear();
      if (progress != nullptr) progress->Update(number + 1 - range.first, bytes, absl::Now());
    }
  }
  const bool closed = std::fclose(file) == 0;
  if (progress != nullptr) progress->Clear();
  if (!written || !closed) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::Status Run() {
  const ChatOptions chat{.seed = absl::GetFlag(FLAGS_seed),
                         .documents = absl::GetFlag(FLAGS_documents),
                         .text_times = absl::GetFlag(FLAGS_format) == "json"};
  Range range{absl::GetFlag(FLAGS_first), chat.documents};
  if (const std::uint64_t count = absl::GetFlag(FLAGS_count); count != 0) {
    range.end = range.first + count;
  }
  if (chat.documents < 1 || range.end < range.first || std::max(range.end, chat.documents) >> 32) {
    return absl::InvalidArgumentError(
        "--documents and --first plus --count must be from 1 to 2^32 - 1");
  }
  if (absl::GetFlag(FLAGS_connections) < 1 || absl::GetFlag(FLAGS_batch) < 1) {
    return absl::InvalidArgumentError("--connections and --batch must be at least 1");
  }
  if (absl::GetFlag(FLAGS_format) != "json" && absl::GetFlag(FLAGS_format) != "msgpack") {
    return absl::InvalidArgumentError(absl::StrCat("--format is \"", absl::GetFlag(FLAGS_format),
                                                   "\"; it must be msgpack or json"));
  }
  const bool to_file = !absl::GetFlag(FLAGS_output).empty();
  if (chat.text_times && !to_file) {
    return absl::InvalidArgumentError("--format json is for --output");
  }
  const ChatLog log(chat);
  import::Progress progress(&std::cerr, /*is_terminal=*/false, absl::GetFlag(FLAGS_collection), 0,
                            absl::Now());
  import::Progress* const shown = absl::GetFlag(FLAGS_quiet) ? nullptr : &progress;
  if (to_file) return WriteFile(log, range, chat.text_times, shown);
  if (!absl::GetFlag(FLAGS_data_path).empty()) return LoadDirectory(log, range, shown);
  return LoadServer(log, range, shown);
}

}  // namespace
}  // namespace alos::datasets

int main(int argc, char** argv) {
  const std::vector<std::string> rest =
      alos::tools_internal::ParseCommandLine(argc, argv, alos::datasets::kUsage);
  if (!rest.empty()) {
    std::cerr << "chat: unexpected argument \"" << rest[0] << "\" (--help lists the flags)\n";
    return 2;
  }
  if (const absl::Status status = alos::datasets::Run(); !status.ok()) {
    std::cerr << "chat: " << status.message() << "\n";
    return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
  }
  return 0;
}
