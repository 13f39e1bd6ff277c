// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Starts a server, lets real clients loose on it, kills it now and then, and checks what they saw:
// testing/isolation/README.md.

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/net/client.h"
#include "testing/isolation/list_append.h"
#include "testing/isolation/lossy_proxy.h"
#include "testing/isolation/register.h"

ABSL_FLAG(std::string, server, "", "The server's program.");
ABSL_FLAG(std::string, alos, "",
          "The operator's program, for backups; none: no bank with backups.");
ABSL_FLAG(std::string, sync_mode, "async", "The server's --sync-mode.");
ABSL_FLAG(std::int64_t, transactions, 100'000, "So many transactions over lists in all.");
ABSL_FLAG(std::int64_t, registers, 100'000, "So many operations on registers in all.");
ABSL_FLAG(std::int64_t, retries, 5'000, "So many writes of which a tenth loses its answer.");
ABSL_FLAG(double, bank_seconds, 10, "For how long there are backups and compactions of a bank.");
ABSL_FLAG(std::int64_t, round, 25'000, "Histories of so many are checked one by one.");
ABSL_FLAG(int, clients, 8, "Clients at once.");
ABSL_FLAG(double, kill_seconds, 0, "Kills the server (-9) about so often; 0: never.");
ABSL_FLAG(std::uint64_t, seed, 1, "Of what the clients do.");

namespace alos::isolation {
namespace {

std::int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// A new directory, or where one can be made.
std::string MakeDirectory() {
  const char* const base = ::getenv("TEST_TMPDIR");
  std::string path = absl::StrCat(base != nullptr ? base : "/tmp", "/isolation_XXXXXX");
  return ::mkdtemp(path.data()) != nullptr ? path : std::string();
}

// Runs a program to its end; `*output`: what it said. Its exit code, -1 if it has none.
int Run(const std::vector<std::string>& arguments, std::string* output) {
  int out[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return -1;
  std::vector<char*> raw;
  for (const std::string& argument : arguments) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  const pid_t process = ::fork();
  if (process == 0) {
    ::dup2(out[1], 1);
    ::dup2(out[1], 2);
    ::execv(raw[0], raw.data());
    ::_exit(127);
  }
  ::close(out[1]);
  output->clear();
  char part[4096];
  for (ssize_t size = 0; (size = ::read(out[0], part, sizeof part)) > 0;)
    output->append(part, static_cast<std::size_t>(size));
  ::close(out[0]);
  int status = 0;
  if (process < 0 || ::waitpid(process, &status, 0) != process || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// The server, as a child process.
class ServerProcess {
 public:
  // Its data directory is removed in the end.
  ServerProcess(std::string program, std::string directory)
      : program_(std::move(program)), directory_(std::move(directory)) {}
  ~ServerProcess() {
    Kill();
    std::filesystem::remove_all(directory_);
  }

  // Kills it and starts it again, from now on with these flags besides, if any are given.
  absl::Status Restart(std::optional<std::vector<std::string>> more = std::nullopt) {
    absl::MutexLock lock(&restart_mutex_);
    if (more) more_ = *std::move(more);
    Kill();
    return Start();
  }

  // Something that is the same again later if it was up all the while; nullopt: it is not.
  std::optional<int> Life() const {
    const int kills = kills_;
    return starts_ == kills + 1 ? std::optional<int>(kills) : std::nullopt;
  }

  // Returns when it listens; the port stays the same.
  absl::Status Start() {
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
    std::vector<std::string> arguments = {
        program_,
        absl::StrCat("--port=localhost:", port_),
        absl::StrCat("--data-path=", directory_),
        absl::StrCat("--sync-mode=", absl::GetFlag(FLAGS_sync_mode)),
        "--shards=8",
    };
    arguments.insert(arguments.end(), more_.begin(), more_.end());
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(out[1], 1);
      ::dup2(out[1], 2);
      std::vector<char*> raw;
      for (const std::string& argument : arguments)
        raw.push_back(const_cast<char*>(argument.c_str()));
      raw.push_back(nullptr);
      ::execv(raw[0], raw.data());
      ::_exit(127);
    }
    ::close(out[1]);
    if (reader_.joinable()) reader_.join();
    std::FILE* const lines = ::fdopen(out[0], "r");
    char* line = nullptr;
    std::size_t room = 0;
    bool listens = false;
    while (!listens && ::getline(&line, &room, lines) >= 0) {
      const std::string_view text(line);
      const std::size_t at = text.find("listening on ");
      if (at != text.npos) {
        std::string_view address = text.substr(at + 13);
        address = address.substr(0, address.find_first_of(", \n"));
        listens = absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port_);
      } else {
        last_ = std::string(text);
      }
    }
    // Its log goes on, and must not fill the pipe.
    reader_ = std::thread([lines, line, room]() mutable {
      while (::getline(&line, &room, lines) >= 0) {
        const std::string_view text(line);
        if (text.find(" error ") != text.npos) std::fputs(line, stderr);
      }
      ::free(line);
      std::fclose(lines);
    });
    if (listens) ++starts_;
    if (listens) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("the server did not start: ", last_));
  }

  void Kill() {
    if (process_ > 0) {
      ++kills_;
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    process_ = -1;
    if (reader_.joinable()) reader_.join();
  }

  std::uint16_t port() const { return static_cast<std::uint16_t>(port_); }
  const std::string& directory() const { return directory_; }

 private:
  const std::string program_;
  const std::string directory_;
  absl::Mutex restart_mutex_;
  std::vector<std::string> more_;
  std::atomic<int> kills_{0};
  std::atomic<int> starts_{0};
  int port_ = 0;
  pid_t process_ = -1;
  std::thread reader_;
  std::string last_;
};

std::unique_ptr<Client> Connect(const ServerProcess& server, std::string database = {}) {
  ClientOptions options;
  options.database = std::move(database);
  options.host = "127.0.0.1";
  options.port = server.port();
  options.connections_max = 2;
  options.request_timeout = absl::Seconds(20);
  options.reconnect_timeout = absl::Seconds(20);
  while (true) {
    auto client = Client::Connect(options);
    if (client.ok()) return *std::move(client);
    absl::SleepFor(absl::Milliseconds(20));
  }
}

// {name: value}
std::string Doc(std::string_view name, std::int64_t value) {
  std::string bytes;
  Builder(&bytes).StartDocument(1).Key(name).Int(value).EndDocument();
  return bytes;
}
std::string Operator(std::string_view name, std::string_view field, std::int64_t value) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument(1).Key(name).Raw(ValueView::FromTrusted(Doc(field, value))).EndDocument();
  return bytes;
}
ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }

// Whether nobody can know what came of it.
bool IsLost(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable ||
         status.code() == absl::StatusCode::kDeadlineExceeded ||
         status.code() == absl::StatusCode::kDataLoss;
}

// --- Lists.

// A transaction of one to four operations on a few keys, of which new ones come into use as the
// work goes on. A key is found by its _id or by a field that has no index, at random.
class ListWorker {
 public:
  ListWorker(const ServerProcess& server, std::string collection, bool serializable,
             std::uint64_t seed, std::atomic<std::int64_t>* left, std::int64_t all)
      : client_(Connect(server)),
        collection_(std::move(collection)),
        serializable_(serializable),
        random_(seed),
        left_(left),
        all_(all) {}

  void Run() {
    while (true) {
      const std::int64_t left = left_->fetch_sub(1);
      if (left <= 0) return;
      history.push_back(One(all_ - left));
    }
  }

  // Reads every key once more.
  ListTransaction ReadAll(std::int64_t keys) {
    ListTransaction transaction;
    transaction.begin = Now();
    auto begun = client_->BeginTransaction({.serializable = serializable_});
    while (!begun.ok()) begun = client_->BeginTransaction({.serializable = serializable_});
    for (std::int64_t key = 0; key < keys; ++key) {
      ListOperation read{.key = key};
      if (!Read(**begun, &read).ok()) transaction.outcome = Outcome::kAborted;
      transaction.operations.push_back(std::move(read));
    }
    if (!(*begun)->Commit().ok()) transaction.outcome = Outcome::kAborted;
    transaction.end = Now();
    return transaction;
  }

  static constexpr std::int64_t kKeysAtOnce = 10;
  static constexpr std::int64_t kTransactionsPerKey = 40;
  static std::int64_t Keys(std::int64_t transactions) {
    return transactions / kTransactionsPerKey + kKeysAtOnce;
  }

  std::vector<ListTransaction> history;
  std::int64_t conflicts = 0;
  std::int64_t unknown = 0;

 private:
  using Transaction = Client::Transaction;

  absl::Status Read(Transaction& transaction, ListOperation* read) {
    std::optional<EncodedDocument> document;
    if (random_() % 16 != 0) {
      std::string id;
      Builder(&id).Int(read->key);
      ALOS_ASSIGN_OR_RETURN(document, transaction.FindById(collection_, View(id)));
    } else {
      ALOS_ASSIGN_OR_RETURN(document, transaction.FindOne(collection_, View(Doc("k", read->key))));
    }
    if (!document) return absl::OkStatus();
    for (const ValueView element : View(*document).Find("list")->elements())
      read->list.push_back(element.AsInt64());
    return absl::OkStatus();
  }

  absl::Status Append(Transaction& transaction, const ListOperation& append) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t count,
                          transaction.UpdateOne(collection_, View(Doc("_id", append.key)),
                                                View(Operator("$push", "list", append.element))));
    if (count != 0) return absl::OkStatus();
    std::string document;
    Builder(&document)
        .StartDocument(3)
        .Key("_id")
        .Int(append.key)
        .Key("k")
        .Int(append.key)
        .Key("list")
        .StartArray(1)
        .Int(append.element)
        .EndArray()
        .EndDocument();
    return transaction.InsertOne(collection_, View(document)).status();
  }

  ListTransaction One(std::int64_t number) {
    ListTransaction transaction;
    transaction.begin = Now();
    transaction.outcome = Outcome::kAborted;
    auto begun = client_->BeginTransaction({.serializable = serializable_});
    if (begun.ok()) {
      absl::Status status;
      for (unsigned n = random_() % 4 + 1; n > 0 && status.ok(); --n) {
        ListOperation operation;
        operation.key =
            number / kTransactionsPerKey + static_cast<std::int64_t>(random_() % kKeysAtOnce);
        operation.is_append = random_() % 2 == 0;
        if (operation.is_append) {
          operation.element = number * 8 + n;
          status = Append(**begun, operation);
        } else {
          status = Read(**begun, &operation);
        }
        transaction.operations.push_back(std::move(operation));
      }
      if (status.ok() && random_() % 20 == 0) {
        (*begun)->Rollback().IgnoreError();
      } else if (status.ok()) {
        status = (*begun)->Commit();
        if (status.ok()) transaction.outcome = Outcome::kCommitted;
        if (IsLost(status)) transaction.outcome = Outcome::kUnknown;
        conflicts += status.code() == absl::StatusCode::kAborted;
        unknown += IsLost(status);
      }
    }
    transaction.end = Now();
    return transaction;
  }

  const std::unique_ptr<Client> client_;
  const std::string collection_;
  const bool serializable_;
  std::mt19937_64 random_;
  std::atomic<std::int64_t>* const left_;
  const std::int64_t all_;
};

int CheckLists(const ServerProcess& server, std::int64_t count, bool serializable, int round) {
  std::atomic<std::int64_t> left{count};
  std::vector<std::unique_ptr<ListWorker>> workers;
  for (int i = 0; i < absl::GetFlag(FLAGS_clients); ++i) {
    workers.push_back(std::make_unique<ListWorker>(
        server, absl::StrCat("lists", round), serializable,
        absl::GetFlag(FLAGS_seed) * 1000 + static_cast<std::uint64_t>(round * 100 + i), &left,
        count));
  }
  const std::int64_t begin = Now();
  std::vector<std::thread> threads;
  for (auto& worker : workers) threads.emplace_back([&worker] { worker->Run(); });
  for (std::thread& thread : threads) thread.join();
  std::vector<ListTransaction> history;
  std::int64_t conflicts = 0;
  std::int64_t unknown = 0;
  for (auto& worker : workers) {
    history.insert(history.end(), worker->history.begin(), worker->history.end());
    conflicts += worker->conflicts;
    unknown += worker->unknown;
  }
  // In the end all that was acknowledged must be there.
  do {
    history.push_back(workers[0]->ReadAll(ListWorker::Keys(count)));
  } while (history.back().outcome != Outcome::kCommitted);
  const std::int64_t end = Now();
  const ListVerdict verdict = CheckListAppend(
      history, serializable ? ListModel::kSerializability : ListModel::kSnapshotIsolation);
  std::printf(
      "lists, %s: %zu transactions, %zu committed, %lld conflicts, %lld unknown, %zu edges, "
      "%.1f s, checked in %.1f s: %zu anomalies\n",
      serializable ? "serializable" : "snapshot", history.size(), verdict.transactions,
      static_cast<long long>(conflicts), static_cast<long long>(unknown), verdict.edges,
      static_cast<double>(end - begin) * 1e-9, static_cast<double>(Now() - end) * 1e-9,
      verdict.anomalies.size());
  for (const std::string& anomaly : verdict.anomalies) std::printf("  %s\n", anomaly.c_str());
  std::fflush(stdout);
  return static_cast<int>(verdict.anomalies.size());
}

// --- Registers.

int CheckRegisterOperations(const ServerProcess& server, std::int64_t count, int round) {
  constexpr std::int64_t kOperationsPerKey = 200;
  const std::string collection = absl::StrCat("registers", round);
  std::atomic<std::int64_t> next{0};
  std::vector<std::vector<RegisterOperation>> parts(
      static_cast<std::size_t>(absl::GetFlag(FLAGS_clients)));
  std::vector<std::thread> threads;
  const std::int64_t begin = Now();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    threads.emplace_back([&, i] {
      using Kind = RegisterOperation::Kind;
      const std::unique_ptr<Client> client = Connect(server);
      std::mt19937_64 random(absl::GetFlag(FLAGS_seed) * 77 + i +
                             static_cast<std::uint64_t>(round) * 1000);
      std::int64_t seen = RegisterOperation::kNothing;
      while (true) {
        const std::int64_t number = next.fetch_add(1);
        if (number >= count) return;
        RegisterOperation operation;
        operation.key = number / kOperationsPerKey;
        operation.kind = static_cast<Kind>(random() % 3);
        operation.value = number;
        operation.expected = seen;
        if (operation.kind == Kind::kCompareAndSet && seen == RegisterOperation::kNothing)
          operation.kind = Kind::kRead;
        operation.begin = Now();
        absl::Status status;
        if (operation.kind == Kind::kRead) {
          std::string id;
          Builder(&id).Int(operation.key);
          const auto found = client->FindById(collection, View(id));
          status = found.status();
          operation.value = RegisterOperation::kNothing;
          if (found.ok() && *found) operation.value = View(**found).Find("v")->AsInt64();
          seen = operation.value;
        } else if (operation.kind == Kind::kWrite) {
          status = client
                       ->UpsertOne(collection, View(Doc("_id", operation.key)),
                                   View(Operator("$set", "v", operation.value)))
                       .status();
        } else {
          std::string filter;
          Builder(&filter)
              .StartDocument(2)
              .Key("_id")
              .Int(operation.key)
              .Key("v")
              .Int(operation.expected)
              .EndDocument();
          const auto set = client->UpdateOne(collection, View(filter),
                                             View(Operator("$set", "v", operation.value)));
          status = set.status();
          operation.succeeded = set.ok() && *set == 1;
        }
        operation.end = Now();
        operation.is_unknown = !status.ok();
        if (!status.ok() && !IsLost(status)) std::printf("  %s\n", status.ToString().c_str());
        parts[i].push_back(operation);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::int64_t end = Now();
  std::vector<RegisterOperation> history;
  for (const auto& part : parts) history.insert(history.end(), part.begin(), part.end());
  std::size_t unknown = 0;
  for (const RegisterOperation& operation : history) unknown += operation.is_unknown;
  const std::string wrong = CheckRegisters(history);
  std::printf("registers: %zu operations, %zu unknown, %.1f s, checked in %.1f s: %s\n",
              history.size(), unknown, static_cast<double>(end - begin) * 1e-9,
              static_cast<double>(Now() - end) * 1e-9,
              wrong.empty() ? "linearizable" : wrong.c_str());
  std::fflush(stdout);
  return wrong.empty() ? 0 : 1;
}

// --- The bank: transfers, and audits by every way of reading there is.

int CheckBank(const ServerProcess& server, std::int64_t count, int round) {
  constexpr std::int64_t kAccounts = 32;
  constexpr std::int64_t kTotal = kAccounts * 100;
  const std::string collection = absl::StrCat("bank", round);
  const std::string everything = [] {
    std::string bytes;
    Builder(&bytes).StartDocument(0).EndDocument();
    return bytes;
  }();
  {
    const std::unique_ptr<Client> client = Connect(server);
    for (std::int64_t id = 0; id < kAccounts; ++id) {
      // Sent until it is there.
      while (true) {
        const absl::Status set =
            client->UpsertOne(collection, View(Doc("_id", id)), View(Operator("$set", "n", 100)))
                .status();
        if (set.ok()) break;
      }
    }
  }
  std::atomic<std::int64_t> left{count};
  std::atomic<int> wrong{0};
  std::atomic<std::int64_t> audits{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < absl::GetFlag(FLAGS_clients); ++i) {
    threads.emplace_back([&, i] {
      const std::unique_ptr<Client> client = Connect(server);
      std::mt19937_64 random(static_cast<std::uint64_t>(round * 100 + i));
      while (left.fetch_sub(1) > 0) {
        if (i % 4 == 0) {
          std::int64_t total = 0;
          absl::Status status;
          if (random() % 2 == 0) {
            status = client->FindStream(collection, View(everything), 5, [&](ValueView document) {
              total += document.Find("n")->AsInt64();
              return true;
            });
          } else if (const auto found = client->Find(collection, View(everything)); found.ok()) {
            for (const std::string& document : *found) total += View(document).Find("n")->AsInt64();
          } else {
            status = found.status();
          }
          if (!status.ok()) continue;
          ++audits;
          if (total != kTotal) {
            ++wrong;
            std::printf("  bank: the total is %lld, not %lld\n", static_cast<long long>(total),
                        static_cast<long long>(kTotal));
          }
          continue;
        }
        const std::int64_t from = static_cast<std::int64_t>(random() % kAccounts);
        const std::int64_t to =
            (from + 1 + static_cast<std::int64_t>(random() % (kAccounts - 1))) % kAccounts;
        const std::int64_t amount = static_cast<std::int64_t>(random() % 20);
        auto transaction = client->BeginTransaction();
        if (!transaction.ok()) continue;
        if ((*transaction)
                ->UpdateOne(collection, View(Doc("_id", from)),
                            View(Operator("$inc", "n", -amount)))
                .ok() &&
            (*transaction)
                ->UpdateOne(collection, View(Doc("_id", to)), View(Operator("$inc", "n", amount)))
                .ok()) {
          (*transaction)->Commit().IgnoreError();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("bank: %lld transfers and audits, of which %lld audits: %d wrong\n",
              static_cast<long long>(count), static_cast<long long>(audits.load()), wrong.load());
  std::fflush(stdout);
  return wrong.load();
}

// The same with the accounts in two databases: all transfers go from one to the other, and are
// audited by transactions over both.
int CheckJointBank(const ServerProcess& server, std::int64_t count, int round) {
  constexpr std::int64_t kAccounts = 16;  // in each
  constexpr std::int64_t kTotal = 2 * kAccounts * 100;
  const std::string collection = absl::StrCat("bank", round);
  const std::string names[] = {"here", "there"};
  std::string everything;
  Builder(&everything).StartDocument(0).EndDocument();
  for (const std::string& name : names) {
    const std::unique_ptr<Client> client = Connect(server, name);
    for (std::int64_t id = 0; id < kAccounts; ++id) {
      while (!client->UpsertOne(collection, View(Doc("_id", id)), View(Operator("$set", "n", 100)))
                  .ok()) {
      }
    }
  }
  std::atomic<std::int64_t> left{count};
  std::atomic<int> wrong{0};
  std::atomic<std::int64_t> audits{0};
  std::atomic<std::int64_t> committed{0};
  std::atomic<std::int64_t> moved[2] = {0, 0};  // acknowledged; of which nobody knows
  std::atomic<std::int64_t> unknown{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < absl::GetFlag(FLAGS_clients); ++i) {
    threads.emplace_back([&, i] {
      const std::unique_ptr<Client> client = Connect(server, names[0]);
      std::mt19937_64 random(static_cast<std::uint64_t>(round * 100 + i));
      while (left.fetch_sub(1) > 0) {
        ClientTransactionOptions options;
        options.serializable = random() % 2 == 0;
        if (random() % 8 != 0) options.databases = {names[1]};
        auto transaction = client->BeginTransaction(options);
        if (!transaction.ok()) continue;
        if (i % 4 == 0) {
          std::int64_t total = 0;
          bool is_whole = true;
          for (const std::string& name : names) {
            (*transaction)->UseDatabase(name);
            const auto found = (*transaction)->Find(collection, View(everything));
            is_whole = is_whole && found.ok();
            if (!found.ok()) break;
            for (const std::string& document : *found) total += View(document).Find("n")->AsInt64();
          }
          if (!is_whole) continue;
          ++audits;
          if (total != kTotal) {
            ++wrong;
            std::printf("  bank of two databases: the total is %lld, not %lld\n",
                        static_cast<long long>(total), static_cast<long long>(kTotal));
          }
          continue;
        }
        const std::int64_t amount = static_cast<std::int64_t>(random() % 20);
        bool done = true;
        for (int side = 0; side < 2 && done; ++side) {
          (*transaction)->UseDatabase(names[side]);
          done = (*transaction)
                     ->UpdateOne(collection,
                                 View(Doc("_id", static_cast<std::int64_t>(random() % kAccounts))),
                                 View(Operator("$inc", "n", side == 0 ? -amount : amount)))
                     .ok();
        }
        if (!done) continue;
        const absl::Status status = (*transaction)->Commit();
        if (status.ok()) moved[0] += amount;
        if (IsLost(status)) moved[1] += amount;
        committed += status.ok();
        unknown += IsLost(status);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // What was acknowledged is there; what is unknown may be.
  for (int side = 0; side < 2; ++side) {
    const std::unique_ptr<Client> client = Connect(server, names[side]);
    std::int64_t total = 0;
    while (true) {
      const auto found = client->Find(collection, View(everything));
      if (!found.ok()) continue;
      for (const std::string& document : *found) total += View(document).Find("n")->AsInt64();
      break;
    }
    const std::int64_t gained = side == 0 ? kAccounts * 100 - total : total - kAccounts * 100;
    if (gained >= moved[0] && gained <= moved[0] + moved[1]) continue;
    ++wrong;
    std::printf("  bank of two databases: %lld was moved, %lld acknowledged, %lld unknown\n",
                static_cast<long long>(gained), static_cast<long long>(moved[0].load()),
                static_cast<long long>(moved[1].load()));
  }
  std::printf(
      "bank of two databases: %lld transfers committed, %lld unknown, %lld audits: %d wrong\n",
      static_cast<long long>(committed.load()), static_cast<long long>(unknown.load()),
      static_cast<long long>(audits.load()), wrong.load());
  std::fflush(stdout);
  return wrong.load();
}

// --- A bank that is backed up and compacted all the while: every state of it, and every backup
// that is restored, has the same total, and everything that was acknowledged before.

class StoredBank {
 public:
  StoredBank(ServerProcess* server, int round)
      : server_(*server),
        collection_(absl::StrCat("stored", round)),
        clients_(static_cast<std::size_t>(absl::GetFlag(FLAGS_clients))),
        acknowledged_(clients_),
        unknown_(clients_) {
    Builder(&everything_).StartDocument(0).EndDocument();
  }

  int Check() {
    // What is replaced is given back as soon as may be.
    const absl::Status started = server_.Restart(std::vector<std::string>{
        "--compact-min-size=0", "--compact-stale-ratio=0.2", "--history-retention=0"});
    if (!started.ok()) return Wrong(started.ToString());
    Open();
    std::vector<std::thread> threads;
    threads.emplace_back([this] { BackUp(); });
    threads.emplace_back([this] { Observe(); });
    for (std::size_t i = 0; i < clients_; ++i) threads.emplace_back([this, i] { Work(i); });
    absl::SleepFor(absl::Seconds(absl::GetFlag(FLAGS_bank_seconds)));
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    // What was acknowledged is there after one more kill; what is unknown may be.
    if (const absl::Status again = server_.Restart(std::vector<std::string>{}); !again.ok())
      return Wrong(again.ToString());
    const std::unique_ptr<Client> client = Connect(server_, kDatabase);
    const State state = MustRead(*client);
    CheckTotal(state, "the end");
    for (std::size_t i = 0; i < clients_; ++i) {
      if (state.transfers[i] < acknowledged_[i] ||
          state.transfers[i] > acknowledged_[i] + unknown_[i]) {
        Wrong(absl::StrCat("client ", i, " has made ", state.transfers[i], " transfers, of which ",
                           acknowledged_[i].load(), " were acknowledged and ", unknown_[i].load(),
                           " are unknown"));
      }
    }
    if (compactions_ == 0) Wrong("nothing was compacted");
    if (restored_ == 0) Wrong("no backup was restored");
    std::printf(
        "bank with backups and compaction: %lld transfers, %lld audits, %lld backups (%lld cut "
        "off), %lld restored, %lld compactions that gave back %lld KiB: %d wrong\n",
        static_cast<long long>(transfers_.load()), static_cast<long long>(audits_.load()),
        static_cast<long long>(backups_.load()), static_cast<long long>(cut_off_.load()),
        static_cast<long long>(restored_.load()), static_cast<long long>(compactions_.load()),
        static_cast<long long>(bytes_back_.load() / 1024), wrong_.load());
    std::fflush(stdout);
    return wrong_;
  }

 private:
  static constexpr const char* kDatabase = "vault";
  static constexpr std::int64_t kBackupsOfFolder = 50;
  static constexpr std::int64_t kBusyAccounts = 32;
  static constexpr std::int64_t kAccounts = 400;  // most of which only compaction moves
  static constexpr std::int64_t kTotal = kAccounts * 100;
  static constexpr std::int64_t kCounters = 1'000'000;  // the first id of the clients' counters

  struct State {
    std::int64_t total = 0;
    std::vector<std::int64_t> transfers;  // of each client
  };

  int Wrong(std::string_view what) {
    std::printf("  bank with backups: %.*s\n", static_cast<int>(what.size()), what.data());
    std::fflush(stdout);
    return ++wrong_;
  }
  void CheckTotal(const State& state, std::string_view where) {
    if (state.total == kTotal) return;
    Wrong(absl::StrCat("the total of ", where, " is ", state.total, ", not ", kTotal));
  }

  void Open() {
    const std::unique_ptr<Client> client = Connect(server_, kDatabase);
    for (std::int64_t id = 0; id < kAccounts; ++id) {
      std::string set;
      Builder(&set)
          .StartDocument(1)
          .Key("$set")
          .StartDocument(2)
          .Key("n")
          .Int(100)
          .Key("padding")
          .String(std::string(200 + static_cast<std::size_t>(id) % 100, 'p'))
          .EndDocument()
          .EndDocument();
      while (!client->UpsertOne(collection_, View(Doc("_id", id)), View(set)).ok()) {
      }
    }
    for (std::size_t i = 0; i < clients_; ++i) {
      while (!client
                  ->UpsertOne(collection_, View(Doc("_id", CounterOf(i))),
                              View(Operator("$set", "transfers", 0)))
                  .ok()) {
      }
    }
  }

  static std::int64_t CounterOf(std::size_t client) {
    return kCounters + static_cast<std::int64_t>(client);
  }

  // (A stream would keep its snapshot for ten minutes, and with it what compaction is to give
  // back.)
  absl::StatusOr<State> Read(Client& client, bool in_transaction) {
    State state;
    state.transfers.resize(clients_);
    const auto add = [&](ValueView document) {
      const std::int64_t id = document.Find("_id")->AsInt64();
      if (id < kCounters) {
        state.total += document.Find("n")->AsInt64();
      } else {
        state.transfers[static_cast<std::size_t>(id - kCounters)] =
            document.Find("transfers")->AsInt64();
      }
    };
    std::vector<EncodedDocument> found;
    if (in_transaction) {
      ALOS_ASSIGN_OR_RETURN(const auto transaction, client.BeginTransaction());
      ALOS_ASSIGN_OR_RETURN(found, transaction->Find(collection_, View(everything_)));
    } else {
      ALOS_ASSIGN_OR_RETURN(found, client.Find(collection_, View(everything_)));
    }
    for (const EncodedDocument& document : found) add(View(document));
    return state;
  }
  State MustRead(Client& client) {
    while (true) {
      absl::StatusOr<State> state = Read(client, false);
      if (state.ok()) return *std::move(state);
    }
  }

  void Work(std::size_t number) {
    const std::unique_ptr<Client> client = Connect(server_, kDatabase);
    std::mt19937_64 random(number + 1);
    while (!stop_) {
      if (number % 4 == 0) {
        const absl::StatusOr<State> state = Read(*client, random() % 2 == 0);
        if (!state.ok()) continue;
        ++audits_;
        CheckTotal(*state, "an audit");
        continue;
      }
      const auto from = static_cast<std::int64_t>(random() % kBusyAccounts);
      const auto to =
          (from + 1 + static_cast<std::int64_t>(random() % (kBusyAccounts - 1))) % kBusyAccounts;
      const auto amount = static_cast<std::int64_t>(random() % 20);
      const auto transaction = client->BeginTransaction();
      if (!transaction.ok()) continue;
      const auto add = [&](std::int64_t id, std::string_view field, std::int64_t n) {
        const auto updated =
            (*transaction)
                ->UpdateOne(collection_, View(Doc("_id", id)), View(Operator("$inc", field, n)));
        return updated.ok() && *updated == 1;
      };
      if (!add(from, "n", -amount) || !add(to, "n", amount) ||
          !add(CounterOf(number), "transfers", 1)) {
        continue;
      }
      const absl::Status committed = (*transaction)->Commit();
      transfers_ += committed.ok();
      acknowledged_[number] += committed.ok();
      unknown_[number] += IsLost(committed);
    }
  }

  // Backs up, and restores what it has.
  void BackUp() {
    const std::string alos = absl::GetFlag(FLAGS_alos);
    std::string folder = MakeDirectory();
    std::string output;
    const auto verify = [&] {
      if (const int code = Run({alos, "backup", "verify", folder}, &output); code != 0)
        Wrong(absl::StrCat("the backups are not sound: ", output));
      std::filesystem::remove_all(folder);
    };
    do {
      const std::optional<int> life = server_.Life();
      std::vector<std::int64_t> acknowledged(acknowledged_.begin(), acknowledged_.end());
      const int code = Run({alos, "backup", absl::StrCat("--port=127.0.0.1:", server_.port()),
                            "--to", folder, kDatabase},
                           &output);
      if (code != 0) {
        if (life && server_.Life() == life) Wrong(absl::StrCat("a backup failed: ", output));
        ++cut_off_;
        continue;
      }
      Restore(folder, acknowledged);
      if (++backups_ % kBackupsOfFolder != 0) continue;
      verify();
      folder = MakeDirectory();
    } while (!stop_ || (restored_ == 0 && wrong_ == 0));
    verify();
  }

  void Restore(const std::string& folder, const std::vector<std::int64_t>& acknowledged) {
    ServerProcess restored(absl::GetFlag(FLAGS_server), MakeDirectory());
    std::string output;
    if (Run({absl::GetFlag(FLAGS_alos), "restore", "--from", folder, "--data-path",
             restored.directory()},
            &output) != 0) {
      Wrong(absl::StrCat("a backup could not be restored: ", output));
      return;
    }
    if (const absl::Status started = restored.Start(); !started.ok()) {
      Wrong(absl::StrCat("what was restored does not start: ", started.ToString()));
      return;
    }
    const std::unique_ptr<Client> client = Connect(restored, kDatabase);
    const State state = MustRead(*client);
    CheckTotal(state, "a backup");
    for (std::size_t i = 0; i < clients_; ++i) {
      if (state.transfers[i] >= acknowledged[i]) continue;
      Wrong(absl::StrCat("a backup has ", state.transfers[i], " transfers of client ", i,
                         ", of which ", acknowledged[i], " were acknowledged before it was begun"));
    }
    ++restored_;
  }

  // What compaction has done, in all lives of the server.
  void Observe() {
    const std::unique_ptr<Client> client = Connect(server_, kDatabase);
    std::int64_t last_runs = 0;
    std::int64_t last_bytes = 0;
    while (!stop_) {
      absl::SleepFor(absl::Milliseconds(50));
      const auto stats = client->Stats();
      if (!stats.ok()) continue;
      const std::optional<ValueView> compaction = View(*stats).Find("compaction");
      if (!compaction) continue;
      const std::int64_t runs = compaction->Find("runs")->ToInt64().value_or(0);
      const std::int64_t bytes = compaction->Find("bytes_given_back")->ToInt64().value_or(0);
      compactions_ += runs < last_runs ? runs : runs - last_runs;
      bytes_back_ += bytes < last_bytes ? bytes : bytes - last_bytes;
      last_runs = runs;
      last_bytes = bytes;
    }
  }

  ServerProcess& server_;
  const std::string collection_;
  const std::size_t clients_;
  std::string everything_;
  std::atomic<bool> stop_{false};
  std::atomic<int> wrong_{0};
  std::vector<std::atomic<std::int64_t>> acknowledged_;  // of each client
  std::vector<std::atomic<std::int64_t>> unknown_;
  std::atomic<std::int64_t> transfers_{0};
  std::atomic<std::int64_t> audits_{0};
  std::atomic<std::int64_t> backups_{0};
  std::atomic<std::int64_t> cut_off_{0};
  std::atomic<std::int64_t> restored_{0};
  std::atomic<std::int64_t> compactions_{0};
  std::atomic<std::int64_t> bytes_back_{0};
};

// --- Writes whose answers are lost: sent again, and done once.

int CheckRetries(const ServerProcess& server, std::int64_t count, int round) {
  constexpr std::int64_t kKeys = 64;
  const std::string collection = absl::StrCat("counters", round);
  LossyProxy proxy(server.port(), 10);
  std::atomic<std::int64_t> left{count};
  std::atomic<std::int64_t> unknown{0};
  std::atomic<int> wrong{0};
  // What was acknowledged of each counter, and how many documents were inserted and deleted.
  std::vector<std::atomic<std::int64_t>> added(kKeys);
  std::atomic<std::int64_t> documents{0};
  std::vector<std::thread> threads;
  const std::int64_t begin = Now();
  for (int i = 0; i < absl::GetFlag(FLAGS_clients); ++i) {
    threads.emplace_back([&, i] {
      ClientOptions options;
      options.host = "127.0.0.1";
      options.port = proxy.port();
      options.connections_max = 2;
      options.request_timeout = absl::Seconds(60);
      options.reconnect_timeout = absl::Seconds(60);
      options.backoff_min = absl::Milliseconds(1);
      std::unique_ptr<Client> client;
      while (client == nullptr) {
        auto connected = Client::Connect(options);
        if (connected.ok()) client = *std::move(connected);
      }
      std::mt19937_64 random(static_cast<std::uint64_t>(round * 1000 + i));
      std::string any;
      Builder(&any).StartDocument(0).EndDocument();
      while (left.fetch_sub(1) > 0) {
        const auto key = static_cast<std::int64_t>(random() % kKeys);
        const auto at = static_cast<std::size_t>(key);
        absl::Status status;
        const std::uint64_t choice = random() % 10;
        if (choice < 6) {
          const auto upserted =
              client->UpsertOne(collection, View(Doc("_id", key)), View(Operator("$inc", "n", 1)));
          status = upserted.status();
          if (status.ok()) ++added[at];
        } else if (choice < 8) {
          // Its `_id` is the server's.
          status = client->InsertOne(absl::StrCat(collection, "d"), View(Doc("x", 1))).status();
          if (status.ok()) ++documents;
        } else if (choice < 9) {
          const auto deleted = client->DeleteOne(absl::StrCat(collection, "d"), View(any));
          status = deleted.status();
          if (status.ok()) documents -= static_cast<std::int64_t>(*deleted);
        } else {
          // What goes before the commit may be lost, too: then nothing was done.
          auto transaction = client->BeginTransaction();
          if (!transaction.ok()) continue;
          const auto updated =
              (*transaction)
                  ->UpdateOne(collection, View(Doc("_id", key)), View(Operator("$inc", "n", 1)));
          if (!updated.ok() || *updated == 0) continue;
          status = (*transaction)->Commit();
          if (status.ok()) ++added[at];
          if (status.code() == absl::StatusCode::kAborted) continue;
        }
        if (status.ok()) continue;
        if (IsLost(status)) {
          ++unknown;
        } else {
          ++wrong;
          std::printf("  retries: %s\n", status.ToString().c_str());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::int64_t end = Now();
  const std::unique_ptr<Client> client = Connect(server);
  const auto must = [&](std::int64_t found, std::int64_t expected, const std::string& what) {
    // One of which nobody knows may be there or not.
    if (found >= expected - unknown && found <= expected + unknown) return;
    ++wrong;
    std::printf("  retries: %s is %lld, not %lld\n", what.c_str(), static_cast<long long>(found),
                static_cast<long long>(expected));
  };
  for (std::int64_t key = 0; key < kKeys; ++key) {
    std::string id;
    Builder(&id).Int(key);
    while (true) {
      const auto found = client->FindById(collection, View(id));
      if (!found.ok()) continue;
      must(*found ? View(**found).Find("n")->AsInt64() : 0, added[static_cast<std::size_t>(key)],
           absl::StrCat("counter ", key));
      break;
    }
  }
  while (true) {
    const auto found = client->Count(absl::StrCat(collection, "d"));
    if (!found.ok()) continue;
    must(static_cast<std::int64_t>(*found), documents, "the number of documents");
    break;
  }
  std::printf("retries: %lld operations, %d answers lost, %lld unknown, %.1f s: %d wrong\n",
              static_cast<long long>(count), proxy.lost(), static_cast<long long>(unknown.load()),
              static_cast<double>(end - begin) * 1e-9, wrong.load());
  std::fflush(stdout);
  return wrong.load();
}

int Main() {
  ServerProcess server(absl::GetFlag(FLAGS_server), MakeDirectory());
  if (const absl::Status started = server.Start(); !started.ok()) {
    std::fprintf(stderr, "%s\n", started.ToString().c_str());
    return 2;
  }
  std::atomic<bool> stop{false};
  std::atomic<int> kills{0};
  std::thread killer;
  const double kill_seconds = absl::GetFlag(FLAGS_kill_seconds);
  if (kill_seconds > 0) {
    killer = std::thread([&] {
      std::mt19937_64 random(absl::GetFlag(FLAGS_seed));
      while (!stop) {
        const absl::Time until =
            absl::Now() +
            absl::Seconds(kill_seconds * (0.5 + static_cast<double>(random() % 1000) / 1000));
        while (!stop && absl::Now() < until) absl::SleepFor(absl::Milliseconds(10));
        if (stop) return;
        if (const absl::Status started = server.Restart(); !started.ok()) {
          std::fprintf(stderr, "%s\n", started.ToString().c_str());
          std::_Exit(2);
        }
        ++kills;
      }
    });
  }
  int wrong = 0;
  int round = 0;
  const std::int64_t size = absl::GetFlag(FLAGS_round);
  for (std::int64_t left = absl::GetFlag(FLAGS_transactions); left > 0; left -= size, ++round)
    wrong += CheckLists(server, std::min(left, size), round % 2 == 1, round);
  for (std::int64_t left = absl::GetFlag(FLAGS_registers); left > 0; left -= size, ++round)
    wrong += CheckRegisterOperations(server, std::min(left, size), round);
  wrong += CheckBank(server, std::min<std::int64_t>(absl::GetFlag(FLAGS_transactions) / 10, size),
                     round);
  wrong += CheckJointBank(
      server, std::min<std::int64_t>(absl::GetFlag(FLAGS_transactions) / 10, size), round);
  if (!absl::GetFlag(FLAGS_alos).empty() && absl::GetFlag(FLAGS_bank_seconds) > 0)
    wrong += StoredBank(&server, round).Check();
  if (absl::GetFlag(FLAGS_retries) > 0)
    wrong += CheckRetries(server, absl::GetFlag(FLAGS_retries), round);
  stop = true;
  if (killer.joinable()) killer.join();
  std::printf("%d kills; %s\n", kills.load(), wrong == 0 ? "nothing wrong" : "WRONG");
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace alos::isolation

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return alos::isolation::Main();
}
