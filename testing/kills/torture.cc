// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A client that keeps book, outside of the server, of what it was told; for the scripts here and in
// testing/disks that kill servers and cut their power.
//
//   torture load PORT BOOK SECONDS CONNECTIONS   writes until the time is over or the server is
//   gone torture check PORT BOOK                      is everything there that was acknowledged?
//   Then what
//                                                was found is what is expected from now on.
//   torture memory PORT SECONDS                  large documents and large results, on many
//   connections torture requests PORT                        every type of request once: "N done, N
//   refused"
//
// A book has a line for each write that was begun, and one for each that was acknowledged:
//   S connection-key number      A connection-key number         (number 0: deleted)
// Of each key only its connection writes. `p` and `q` have the same keys, which transactions write
// together.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/check.h"
#include "alos/document/builder.h"
#include "alos/net/client.h"

namespace alos {
namespace {

constexpr int kKeys = 60;  // of a connection, in "a"
constexpr int kPairs = 6;  // of a connection, in "p" and "q"
constexpr const char* kCollections[] = {"a", "p", "q"};

std::string Document(std::string_view key, std::int64_t n, std::size_t padding) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id").String(key);
  builder.Key("n").Int(n);
  builder.Key("padding").String(std::string(padding, static_cast<char>('a' + n % 26)));
  builder.EndDocument();
  return bytes;
}

std::string WhereId(std::string_view key) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument().Key("_id").String(key).EndDocument();
  return bytes;
}

absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& port) {
  ClientOptions options;
  std::uint32_t number = 0;
  if (!absl::SimpleAtoi(port, &number)) return absl::InvalidArgumentError("which port?");
  options.port = static_cast<std::uint16_t>(number);
  options.host = "127.0.0.1";
  options.reconnect_timeout = absl::ZeroDuration();
  options.connections_max = 1;
  // What was lost is compared with the book, not sent again.
  options.retry_writes = false;
  return Client::Connect(options);
}

// Of one key of one collection: what may be found.
struct Entry {
  std::set<std::int64_t> numbers = {0};
};
using Book = std::map<std::string, Entry>;  // "a/connection-key"

Book ReadBook(const std::string& path, std::uint64_t* acknowledged) {
  Book book;
  std::ifstream file(path);
  std::string what;
  std::string key;
  std::int64_t n = 0;
  while (file >> what >> key >> n) {
    std::set<std::int64_t>& numbers = book[key].numbers;
    if (what == "A") {
      numbers = {n};
      ++*acknowledged;
    } else {
      numbers.insert(n);
    }
  }
  return book;
}

class Writer {
 public:
  Writer(int descriptor, int connection, std::string port, std::uint64_t seed)
      : descriptor_(descriptor),
        connection_(connection),
        port_(std::move(port)),
        random_(seed * 1000 + static_cast<std::uint64_t>(connection)) {}

  // Until `stop`, or an error that is not an answer.
  void Work(const std::atomic<bool>& stop) {
    absl::StatusOr<std::unique_ptr<Client>> client = Connect(port_);
    if (!client.ok()) return;
    // Numbers grow from run to run, so that what comes back from the past is seen.
    std::int64_t number = absl::ToUnixMicros(absl::Now());
    while (!stop) {
      ++number;
      const absl::Status status = WriteOne(**client, number);
      if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
          absl::IsUnknown(status)) {
        return;
      }
      if (!status.ok()) ++refused;
    }
  }

  std::uint64_t acknowledged = 0;
  std::uint64_t refused = 0;

 private:
  absl::Status WriteOne(Client& client, std::int64_t number) {
    const std::size_t padding = random_() % 8 == 0 ? random_() % 6000 : random_() % 200;
    if (random_() % 4 == 0) {
      const std::string key = absl::StrCat(connection_, "-", random_() % kPairs);
      const std::int64_t n = random_() % 6 == 0 ? 0 : number;
      Note("S", "p/", key, n);
      Note("S", "q/", key, n);
      ALOS_ASSIGN_OR_RETURN(auto transaction, client.BeginTransaction());
      for (const char* collection : {"p", "q"}) {
        const std::string where = WhereId(key);
        const std::string document = Document(key, number, padding);
        ALOS_RETURN_IF_ERROR(
            transaction->DeleteOne(collection, ValueView::FromTrusted(where)).status());
        if (n != 0) {
          ALOS_RETURN_IF_ERROR(
              transaction->InsertOne(collection, ValueView::FromTrusted(document)).status());
        }
      }
      ALOS_RETURN_IF_ERROR(transaction->Commit());
      Note("A", "p/", key, n);
      Note("A", "q/", key, n);
      ++acknowledged;
      return absl::OkStatus();
    }
    const std::string key = absl::StrCat(connection_, "-", random_() % kKeys);
    const std::string where = WhereId(key);
    const std::int64_t n = random_() % 8 == 0 ? 0 : number;
    Note("S", "a/", key, n);
    if (n == 0) {
      ALOS_RETURN_IF_ERROR(client.DeleteOne("a", ValueView::FromTrusted(where)).status());
    } else {
      const std::string document = Document(key, n, padding);
      ALOS_RETURN_IF_ERROR(
          client.UpsertOne("a", ValueView::FromTrusted(where), ValueView::FromTrusted(document))
              .status());
    }
    Note("A", "a/", key, n);
    ++acknowledged;
    return absl::OkStatus();
  }

  // One write to the book: whole, and there even if we die.
  void Note(const char* what, const char* collection, const std::string& key, std::int64_t n) {
    const std::string line = absl::StrCat(what, " ", collection, key, " ", n, "\n");
    ALOS_CHECK(::write(descriptor_, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
  }

  const int descriptor_;
  const int connection_;
  const std::string port_;
  std::mt19937_64 random_;
};

int Load(const std::string& port, const std::string& book, double seconds, int connections) {
  const int descriptor = ::open(book.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ALOS_CHECK(descriptor >= 0);
  std::atomic<bool> stop{false};
  std::vector<std::unique_ptr<Writer>> writers;
  std::vector<std::thread> threads;
  std::atomic<int> running{connections};
  for (int i = 0; i < connections; ++i) {
    writers.push_back(std::make_unique<Writer>(descriptor, i, port, std::random_device()()));
    threads.emplace_back([&, writer = writers.back().get()] {
      writer->Work(stop);
      --running;
    });
  }
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  while (running > 0 && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  std::uint64_t acknowledged = 0;
  std::uint64_t refused = 0;
  for (const auto& writer : writers) {
    acknowledged += writer->acknowledged;
    refused += writer->refused;
  }
  std::printf("%lu writes acknowledged, %lu refused\n", static_cast<unsigned long>(acknowledged),
              static_cast<unsigned long>(refused));
  return 0;
}

int Check(const std::string& port, const std::string& book_path) {
  std::uint64_t acknowledged = 0;
  const Book book = ReadBook(book_path, &acknowledged);
  absl::StatusOr<std::unique_ptr<Client>> client = Connect(port);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().ToString().c_str());
    return 1;
  }
  std::map<std::string, std::int64_t> found;
  int wrong = 0;
  const auto complain = [&](const std::string& text) {
    if (++wrong <= 20) std::fprintf(stderr, "WRONG %s\n", text.c_str());
  };
  std::string everything;
  Builder(&everything).StartDocument().EndDocument();
  for (const char* collection : kCollections) {
    const absl::Status status = (*client)->FindStream(
        collection, ValueView::FromTrusted(everything), 500, [&](ValueView document) {
          const std::string key(document.Find("_id")->AsString());
          const std::int64_t n = document.Find("n")->AsInt64();
          const std::size_t padding = document.Find("padding")->AsString().size();
          if (document.bytes() != Document(key, n, padding)) complain(key + " has wrong bytes");
          if (!found.emplace(absl::StrCat(collection, "/", key), n).second)
            complain(key + " is there twice");
          return true;
        });
    if (!status.ok() && !absl::IsNotFound(status)) complain(std::string(status.ToString()));
  }
  for (const auto& [key, entry] : book) {
    const auto it = found.find(key);
    const std::int64_t n = it == found.end() ? 0 : it->second;
    if (!entry.numbers.contains(n)) {
      complain(absl::StrCat(key, " = ", n, ", but ", entry.numbers.size(),
                            " other numbers were possible, ", *entry.numbers.rbegin(), " for one"));
    }
    if (absl::StartsWith(key, "p/")) {
      const auto q = found.find("q" + key.substr(1));
      if (n != (q == found.end() ? 0 : q->second)) complain("half a transaction: " + key);
    }
  }
  for (const auto& [key, n] : found) {
    if (!book.contains(key)) complain(key + " was never written");
  }
  if (wrong != 0) {
    std::fprintf(stderr, "%d documents are wrong\n", wrong);
    return 1;
  }
  // Settled.
  std::string settled;
  for (const auto& [key, entry] : book) {
    const auto it = found.find(key);
    absl::StrAppend(&settled, "A ", key, " ", it == found.end() ? 0 : it->second, "\n");
  }
  std::ofstream(book_path, std::ios::trunc) << settled;
  std::printf("%zu documents are what %lu acknowledged writes made them\n", found.size(),
              static_cast<unsigned long>(acknowledged));
  return 0;
}

// A connection that is lost is a failure; an answer, whatever it says, is not.
int Requests(const std::string& port) {
  int done = 0;
  int refused = 0;
  int lost = 0;
  const auto count = [&](const char* name, const absl::Status& status) {
    if (status.ok()) {
      ++done;
    } else if (absl::IsDeadlineExceeded(status) ||
               (absl::IsUnavailable(status) && absl::StrContains(status.message(), "connect"))) {
      ++lost;
      std::fprintf(stderr, "LOST %s: %s\n", name, status.ToString().c_str());
    } else {
      ++refused;
      std::fprintf(stderr, "refused %s: %s\n", name, status.ToString().c_str());
    }
  };
  absl::StatusOr<std::unique_ptr<Client>> connected = Connect(port);
  if (!connected.ok()) {
    std::fprintf(stderr, "%s\n", connected.status().ToString().c_str());
    return 1;
  }
  Client& client = **connected;
  const std::string id = absl::StrCat("r", absl::ToUnixMicros(absl::Now()));
  const std::string where_bytes = WhereId(id);
  const ValueView where = ValueView::FromTrusted(where_bytes);
  std::vector<std::string> documents;
  std::vector<ValueView> views;
  for (int i = 0; i < 40; ++i) documents.push_back(Document(absl::StrCat(id, "-", i), i, 3000));
  for (const std::string& document : documents) views.push_back(ValueView::FromTrusted(document));
  const std::string document_bytes = Document(id, 1, 100);
  const ValueView document = ValueView::FromTrusted(document_bytes);
  std::string set;
  Builder(&set)
      .StartDocument()
      .Key("$set")
      .StartDocument()
      .Key("x")
      .Int(1)
      .EndDocument()
      .EndDocument();
  const ValueView update = ValueView::FromTrusted(set);
  std::string everything;
  Builder(&everything).StartDocument().EndDocument();
  const ValueView all = ValueView::FromTrusted(everything);
  std::string pipeline;
  Builder(&pipeline)
      .StartArray()
      .StartDocument()
      .Key("$group")
      .StartDocument()
      .Key("_id")
      .String("$n")
      .EndDocument()
      .EndDocument()
      .EndArray();
  const std::string collection = absl::StrCat("requests", absl::ToUnixMicros(absl::Now()) % 1000);
  count("create collection", client.CreateCollection(collection));
  count("insert", client.InsertOne(collection, document).status());
  count("insert many", client.InsertMany(collection, views).status());
  count("find", client.Find(collection, all).status());
  count("find one", client.FindOne(collection, where).status());
  count("count", client.Count(collection, where).status());
  count("update", client.UpdateOne(collection, where, update).status());
  count("update many", client.UpdateMany(collection, all, update).status());
  count("upsert", client.UpsertOne(collection, where, update).status());
  count("upsert many", client.UpsertMany(collection, where, update).status());
  count("aggregate", client.Aggregate(collection, ValueView::FromTrusted(pipeline)).status());
  count("explain", client.ExplainFind(collection, where).status());
  count("create index", client.CreateIndex(collection, {.fields = {{.name = "n"}}}).status());
  count("list indexes", client.ListIndexes(collection).status());
  count("rebuild index", client.RebuildIndex(collection, "n"));
  count("drop index", client.DropIndex(collection, "n"));
  {
    auto transaction = client.BeginTransaction();
    count("begin", transaction.status());
    if (transaction.ok()) {
      count("update in transaction", (*transaction)->UpdateOne(collection, where, update).status());
      count("commit", (*transaction)->Commit());
    }
  }
  count("collection exists", client.CollectionExists(collection).status());
  count("database exists", client.DatabaseExists("default").status());
  count("stats", client.Stats().status());
  count("flush", client.Flush());
  count("delete", client.DeleteOne(collection, where).status());
  count("delete many", client.DeleteMany(collection, all).status());
  count("drop", client.Drop(collection));
  std::printf("%d done, %d refused, %d lost\n", done, refused, lost);
  return lost == 0 ? 0 : 1;
}

// What takes memory. Whatever the answers are: also a connection that is lost is a request that
// failed.
int Memory(const std::string& port, double seconds) {
  std::atomic<int> done{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<std::uint64_t>(t));
      std::string everything;
      Builder(&everything).StartDocument().EndDocument();
      while (absl::Now() < end) {
        absl::StatusOr<std::unique_ptr<Client>> client = Connect(port);
        if (!client.ok()) {
          ++failed;
          absl::SleepFor(absl::Milliseconds(20));
          continue;
        }
        for (int i = 0; i < 20 && absl::Now() < end; ++i) {
          absl::Status status;
          if (random() % 2 == 0) {
            const std::string document =
                Document(absl::StrCat("m", random() % 100), 1, (random() % 12) << 20);
            status = (*client)->InsertOne("memory", ValueView::FromTrusted(document)).status();
          } else {
            status = (*client)->Find("memory", ValueView::FromTrusted(everything)).status();
          }
          const bool for_memory =
              absl::IsUnavailable(status) || absl::StrContains(status.message(), "out of memory");
          ++(for_memory ? failed : done);
          if (absl::IsUnavailable(status)) break;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%d done, %d failed\n", done.load(), failed.load());
  return 0;
}

int Main(const std::vector<std::string>& arguments) {
  double seconds = 0;
  int connections = 0;
  if (arguments.size() == 5 && arguments[0] == "load" && absl::SimpleAtod(arguments[3], &seconds) &&
      absl::SimpleAtoi(arguments[4], &connections))
    return Load(arguments[1], arguments[2], seconds, connections);
  if (arguments.size() == 3 && arguments[0] == "check") return Check(arguments[1], arguments[2]);
  if (arguments.size() == 3 && arguments[0] == "memory" && absl::SimpleAtod(arguments[2], &seconds))
    return Memory(arguments[1], seconds);
  if (arguments.size() == 2 && arguments[0] == "requests") return Requests(arguments[1]);
  std::fprintf(stderr, "see testing/kills/torture.cc\n");
  return 2;
}

}  // namespace
}  // namespace alos

int main(int argc, char** argv) { return alos::Main({argv + 1, argv + argc}); }
