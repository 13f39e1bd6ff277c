// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The C++ client of an alos server.

#ifndef ALOS_NET_CLIENT_H_
#define ALOS_NET_CLIENT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/net/big_endian.h"
#include "alos/net/client_connection.h"
#include "alos/net/message.h"
#include "plugin/ciphers.h"

namespace alos {

struct ClientOptions {
  std::string host = "localhost";
  std::uint16_t port = 6900;
  std::string database = {};  // "": the server's default one
  // With a user name the connections are encrypted; without one they are plain.
  std::string username = {};
  std::string password = {};
  std::uint8_t handshake_version = 0x02;  // 0x01: AES-256-GCM, 0x02: AEGIS-128L
  std::size_t connections_max = 16;
  absl::Duration connect_timeout = absl::Seconds(5);   // one attempt, with its handshake
  absl::Duration request_timeout = absl::Seconds(60);  // a whole call, with its attempts
  // How long a call goes on trying to reach a server that is not there.
  absl::Duration reconnect_timeout = absl::Seconds(10);
  absl::Duration backoff_min = absl::Milliseconds(10);
  absl::Duration backoff_max = absl::Seconds(1);
  std::size_t response_bytes_max = std::size_t{64} << 20;
  // Writes have names by which the server knows them again: one whose connection is lost is sent
  // again, and done once. Costs the server a second small document for each write. False: such a
  // write returns kUnavailable, "outcome unknown".
  bool retry_writes = true;
};

// Documents come back as the bytes of one MessagePack value (ValueView::FromTrusted reads them: the
// client has checked them).
using EncodedDocument = std::string;

// Views are used during the call only.
struct ClientFindOptions {
  std::vector<std::string> fields = {};  // to show; empty: whole documents
  std::uint64_t skip = 0;
  std::uint64_t limit = 0;                             // 0: none
  std::optional<ValueView> sort = std::nullopt;        // {age: 1, name: -1}
  std::optional<ValueView> projection = std::nullopt;  // a document, in place of `fields`
  std::string hint = {};                               // the name of an index that there must be
  bool force_scan = false;                             // use no index
  std::optional<std::uint64_t> read_timestamp = std::nullopt;  // a state of the past
};

struct ClientTransactionOptions {
  // What was read is validated at the commit, too: as if the transaction had happened at once.
  bool serializable = false;
  // That it will use besides ClientOptions::database (Transaction::UseDatabase): their snapshots
  // are taken together, at the beginning. Others may join later, and may then meet a conflict.
  std::vector<std::string> databases = {};
};

struct ClientIndex {
  struct Field {
    std::string name;             // a dotted path
    std::string value_type = {};  // string integer float boolean time bytes; "": any
  };
  std::vector<Field> fields;  // several: one index over all of them
  bool unique = false;
  bool sparse = false;
  bool text = false;  // $text searches the fields
  std::optional<ValueView> partial_filter = std::nullopt;
  std::optional<std::uint64_t> expire_after_seconds = std::nullopt;
};

struct ClientIndexResult {
  std::uint64_t indexed = 0;  // documents
  std::uint64_t skipped = 0;  // documents with a value of another type than was declared
  // {position, id, field, expected, actual} of the first of these.
  std::vector<EncodedDocument> issues;
  bool truncated = false;  // there are more issues
};

struct ClientUpsertOneResult {
  bool inserted = false;
  std::optional<EncodedDocument> id;
};

struct ClientUpsertManyResult {
  std::uint64_t matched = 0;
  std::uint64_t inserted = 0;
};

struct ClientBatchRequest {
  Operation operation{};
  std::string collection;
  std::string args;  // one encoded value
};

// A pool of connections and the operations of the server.
//
// Threads: any number may call any operation at once; each call uses one connection, and at most
//   connections_max calls are under way, the others wait.
// Lifetime: results own their bytes. A client must outlive its transactions.
// Durability: a write that returned OK is as safe as the server's mode makes it. A request is never
//   applied twice: reads are sent again when their connection is lost; writes are, too, under a
//   name by which the server knows them again, or (without ClientOptions::retry_writes) only if not
//   a byte of them had left.
// Errors: what the server answers, with its code; besides
//   kUnavailable   the server cannot be reached in time; if a write was under way the message says
//                  "outcome unknown", and the caller must find out
//   kUnknown       the server was stopped in the middle of a write to many documents, or of a
//                  change of collections or indexes
//   kDeadlineExceeded  no answer within request_timeout (for a write, also "outcome unknown")
//   kPermissionDenied  wrong user name or password;  kUnauthenticated  none was given
// Cost: one round trip. Arguments are copied once, into the request.
//
//   absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect({.port = 6900});
//   if (!client.ok()) return client.status();
//   absl::StatusOr<std::string> id = (*client)->InsertOne("people", document);
template <class Ciphers>
class BasicClient {
 public:
  class Transaction;

  // Opens the first connection, so that a wrong address or password shows here.
  static absl::StatusOr<std::unique_ptr<BasicClient>> Connect(ClientOptions options);

  BasicClient(const BasicClient&) = delete;
  BasicClient& operator=(const BasicClient&) = delete;

  // The id the document has now: one encoded value.
  absl::StatusOr<std::string> InsertOne(std::string_view collection, ValueView document);
  // In order; stops at the first that fails, and then the error says how many went in.
  absl::StatusOr<std::vector<std::string>> InsertMany(std::string_view collection,
                                                      absl::Span<const ValueView> documents);

  // nullopt: nothing found.
  absl::StatusOr<std::optional<EncodedDocument>> FindById(std::string_view collection,
                                                          ValueView id);
  absl::StatusOr<std::optional<EncodedDocument>> FindById(std::string_view collection,
                                                          std::string_view string_id);
  absl::StatusOr<std::optional<EncodedDocument>> FindOne(std::string_view collection,
                                                         ValueView query,
                                                         const ClientFindOptions& options = {});
  // All at once: fails if the result exceeds a frame. FindStream does not.
  absl::StatusOr<std::vector<EncodedDocument>> Find(std::string_view collection, ValueView query,
                                                    const ClientFindOptions& options = {});
  // Calls visit with each document until it returns false. `batch_size` documents a round trip; all
  // of one snapshot.
  absl::Status FindStream(std::string_view collection, ValueView query, std::size_t batch_size,
                          absl::FunctionRef<bool(ValueView)> visit,
                          const ClientFindOptions& options = {});
  absl::StatusOr<std::vector<EncodedDocument>> Aggregate(
      std::string_view collection, ValueView pipeline,
      std::optional<std::uint64_t> read_timestamp = std::nullopt);
  // As FindStream.
  absl::Status AggregateStream(std::string_view collection, ValueView pipeline,
                               std::size_t batch_size, absl::FunctionRef<bool(ValueView)> visit);
  // What the server does to answer, and to no effect: docs/query.md says what is in it.
  absl::StatusOr<EncodedDocument> ExplainFind(std::string_view collection, ValueView query,
                                              const ClientFindOptions& options = {});
  absl::StatusOr<EncodedDocument> ExplainAggregate(std::string_view collection, ValueView pipeline);
  // The same for a count, an update or a delete: `arguments` are those of the operation.
  absl::StatusOr<EncodedDocument> Explain(Operation operation, std::string_view collection,
                                          ValueView arguments);
  // The documents that match; all, in O(1), for an empty query.
  absl::StatusOr<std::uint64_t> Count(std::string_view collection, ValueView query,
                                      std::optional<std::uint64_t> read_timestamp = std::nullopt);
  absl::StatusOr<std::uint64_t> Count(std::string_view collection);

  // How many documents matched (update) or went (delete). `update`: operators, a replacement or (an
  // array) a pipeline; `array_filters`: an array, what "$[x]" in its paths stands for.
  absl::StatusOr<std::uint64_t> UpdateOne(
      std::string_view collection, ValueView filter, ValueView update,
      const std::optional<ValueView>& array_filters = std::nullopt);
  absl::StatusOr<std::uint64_t> UpdateMany(
      std::string_view collection, ValueView filter, ValueView update,
      const std::optional<ValueView>& array_filters = std::nullopt);
  absl::StatusOr<std::uint64_t> DeleteOne(std::string_view collection, ValueView filter);
  absl::StatusOr<std::uint64_t> DeleteMany(std::string_view collection, ValueView filter);
  absl::StatusOr<ClientUpsertOneResult> UpsertOne(
      std::string_view collection, ValueView filter, ValueView update,
      const std::optional<ValueView>& array_filters = std::nullopt);
  absl::StatusOr<ClientUpsertManyResult> UpsertMany(
      std::string_view collection, ValueView filter, ValueView update,
      const std::optional<ValueView>& array_filters = std::nullopt);

  absl::Status CreateCollection(std::string_view name);
  absl::StatusOr<bool> CollectionExists(std::string_view name);
  absl::StatusOr<bool> DatabaseExists(std::string_view name);
  absl::Status Drop(std::string_view collection);
  // Everything acknowledged so far is on stable storage when this returns.
  absl::Status Flush();
  absl::StatusOr<EncodedDocument> Stats();
  // Of the newest state, or of one of the past: for reads at a `read_timestamp`. The server keeps
  // the past for its --history-retention.
  absl::StatusOr<std::uint64_t> ReadTimestamp(absl::Duration ago = absl::ZeroDuration());

  // Returns when the index is built.
  absl::StatusOr<ClientIndexResult> CreateIndex(std::string_view collection,
                                                const ClientIndex& index);
  // The same with the arguments of the operation.
  absl::StatusOr<ClientIndexResult> CreateIndex(std::string_view collection, ValueView arguments);
  // `field`: of an index over several, their names joined by commas.
  absl::Status DropIndex(std::string_view collection, std::string_view field);
  absl::Status RebuildIndex(std::string_view collection, std::string_view field);
  // An array of documents: name, fields, type, reason, size, uses and so on.
  absl::StatusOr<EncodedDocument> ListIndexes(std::string_view collection);

  // Several requests in one round trip; one failing does not fail the others. kUnknown also when
  // its connection was lost and the server had done it, with results of more than 64 KiB.
  absl::StatusOr<std::vector<absl::StatusOr<EncodedDocument>>> Batch(
      absl::Span<const ClientBatchRequest> requests);

  // Calls `visit` with each change behind a position, in the order of commits, until it returns
  // false: {op: "insert" "update" "delete" "drop" "replace", collection, id, before, after, ts,
  // last}. `*cursor`: where to begin, "" for now; then where to go on, behind the last change that
  // was visited. Asks for more every `poll`, as long as there is nothing new.
  struct WatchOptions {
    std::vector<std::string> collections = {};         // empty: all of the database
    std::optional<std::uint64_t> from = std::nullopt;  // in place of the cursor: behind a timestamp
    std::uint64_t batch_size = 0;  // changes a round trip; 0: the server decides
    absl::Duration poll = absl::Milliseconds(50);
    absl::Duration timeout = absl::InfiniteDuration();  // returns when nothing came for so long
  };
  absl::Status Watch(const WatchOptions& options, std::string* cursor,
                     absl::FunctionRef<bool(ValueView)> visit);

  // Holds a connection until it is committed, rolled back or destroyed.
  absl::StatusOr<std::unique_ptr<Transaction>> BeginTransaction(
      const ClientTransactionOptions& options = {});

  // Any operation: the encoded result, nil if the server sent none. `is_read`: may be sent again.
  absl::StatusOr<EncodedDocument> Call(Operation operation, std::string_view collection,
                                       ValueView args, bool is_read);

 private:
  using Connection = ClientConnection<Ciphers>;

  // Names writes, one at a time.
  struct Session {
    std::uint32_t slot = 0;
    std::string key;
    std::uint64_t number = 0;
    absl::Time good_until;
    std::string Name(bool was_sent_before) const {
      std::string name(kRequestNameBytes, '\0');
      net_internal::StoreBigEndian32(slot, name.data());
      std::memcpy(name.data() + 4, key.data(), 16);
      net_internal::StoreBigEndian64(number, name.data() + 20);
      name[28] = was_sent_before ? 1 : 0;
      return name;
    }
  };

  explicit BasicClient(ClientOptions options);

  absl::StatusOr<std::unique_ptr<Connection>> Acquire(absl::Time deadline);
  void Release(std::unique_ptr<Connection> connection);  // nullptr: it was lost
  // `database`: nullopt: that of the options.
  absl::StatusOr<EncodedDocument> CallOn(Connection& connection, Operation operation,
                                         std::string_view collection, ValueView args,
                                         absl::Time deadline, bool* connection_usable,
                                         std::string_view request_name = {},
                                         const std::optional<std::string>& database = std::nullopt);
  static absl::Status OutcomeUnknown(Operation operation, const absl::Status& status) {
    return absl::Status(
        absl::IsDeadlineExceeded(status) ? status.code() : absl::StatusCode::kUnavailable,
        absl::StrCat(OperationName(operation), ": outcome unknown: ", status.message(),
                     "; the server may or may not have applied it"));
  }
  // A write, under a name.
  absl::StatusOr<EncodedDocument> CallNamed(Operation operation, std::string_view collection,
                                            ValueView args);
  // A session to be given back; nullopt when the server has none to give (an older one).
  absl::StatusOr<std::optional<Session>> TakeSession();
  void GiveBack(Session session) {
    absl::MutexLock lock(&mutex_);
    sessions_.push_back(std::move(session));
  }
  static bool CanBeNamed(Operation operation) {
    switch (operation) {
      case Operation::kInsertOne:
      case Operation::kInsertMany:
      case Operation::kUpdateOne:
      case Operation::kUpdateMany:
      case Operation::kDeleteOne:
      case Operation::kDeleteMany:
      case Operation::kUpsertOne:
      case Operation::kUpsertMany:
        return true;
      default:
        return IsRunOnce(operation);
    }
  }
  absl::StatusOr<std::uint64_t> CallForNumber(Operation operation, std::string_view collection,
                                              ValueView args, bool is_read, std::string_view field);
  // Reads a result in batches. `arguments`: encoded, without the cursor.
  absl::Status CallForBatches(Operation operation, std::string_view collection,
                              std::string_view arguments, absl::FunctionRef<bool(ValueView)> visit);
  absl::StatusOr<bool> CallForExists(Operation operation, std::string_view name);
  absl::StatusOr<std::optional<EncodedDocument>> CallForDocument(Operation operation,
                                                                 std::string_view collection,
                                                                 ValueView args);

  const ClientOptions options_;
  const ConnectionOptions connection_options_;
  std::string token_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_ ABSL_GUARDED_BY(mutex_);
  std::size_t connections_used_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Session> sessions_ ABSL_GUARDED_BY(mutex_);
  bool has_sessions_ ABSL_GUARDED_BY(mutex_) = true;  // until a server says that it has none
};

// The client with the ciphers of this build.
using Client = BasicClient<plugin::Ciphers>;

// A snapshot-isolated transaction on the server. Rolled back when destroyed without Commit.
//
// Threads: one at a time. Lifetime: ends before its client. Errors: as the client's; Commit answers
// kAborted when somebody else wrote first, and then nothing was done. A lost connection loses the
// transaction (kUnavailable); when that happens in Commit the server is asked what came of it
// (ClientOptions::retry_writes), and only if it cannot be the outcome is unknown.
template <class Ciphers>
class BasicClient<Ciphers>::Transaction {
 public:
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  absl::StatusOr<std::optional<EncodedDocument>> FindOne(std::string_view collection,
                                                         ValueView query);
  absl::StatusOr<std::optional<EncodedDocument>> FindById(std::string_view collection,
                                                          ValueView id);
  absl::StatusOr<std::vector<EncodedDocument>> Find(std::string_view collection, ValueView query,
                                                    const ClientFindOptions& options = {});
  absl::StatusOr<std::uint64_t> Count(std::string_view collection, ValueView query);
  absl::StatusOr<std::string> InsertOne(std::string_view collection, ValueView document);
  // Stops at the first that fails: the ones ahead of it stay.
  absl::StatusOr<std::vector<std::string>> InsertMany(std::string_view collection,
                                                      absl::Span<const ValueView> documents);
  absl::StatusOr<std::uint64_t> UpdateOne(std::string_view collection, ValueView filter,
                                          ValueView update);
  // All that match or, after an error, none.
  absl::StatusOr<std::uint64_t> UpdateMany(std::string_view collection, ValueView filter,
                                           ValueView update);
  absl::StatusOr<std::uint64_t> DeleteOne(std::string_view collection, ValueView filter);
  absl::StatusOr<std::uint64_t> DeleteMany(std::string_view collection, ValueView filter);
  // The operations that follow are on this database; at first they are on that of the client's
  // options. The commit is of all that were used.
  void UseDatabase(std::string_view name) { database_ = std::string(name); }
  absl::Status Commit();
  absl::Status Rollback();

 private:
  friend class BasicClient;
  Transaction(BasicClient* client, std::unique_ptr<Connection> connection, std::string id)
      : client_(client), connection_(std::move(connection)), id_(std::move(id)) {}

  absl::StatusOr<EncodedDocument> Call(Operation operation, std::string_view collection,
                                       std::string_view name_1 = "", ValueView value_1 = {},
                                       std::string_view name_2 = "", ValueView value_2 = {});
  // `arguments`: encoded, without the id of the transaction.
  absl::StatusOr<EncodedDocument> CallWith(Operation operation, std::string_view collection,
                                           std::string_view arguments);
  absl::StatusOr<std::uint64_t> CallForCount(Operation operation, std::string_view collection,
                                             std::string_view name_1, ValueView value_1,
                                             std::string_view name_2 = "", ValueView value_2 = {});
  void Finish(bool connection_usable) {
    client_->Release(connection_usable ? std::move(connection_) : nullptr);
    connection_ = nullptr;
    open_ = false;
  }

  BasicClient* const client_;
  std::unique_ptr<Connection> connection_;
  const std::string id_;
  std::optional<std::string> database_;
  bool open_ = true;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

namespace net_internal {

// A map of up to two values (names "" are left out), as most operations take it.
inline std::string Arguments(std::string_view name_1, ValueView value_1,
                             std::string_view name_2 = "", ValueView value_2 = {}) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument();
  if (!name_1.empty()) builder.Key(name_1).Raw(value_1);
  if (!name_2.empty()) builder.Key(name_2).Raw(value_2);
  builder.EndDocument();
  return args;
}

inline std::string UpdateArguments(ValueView filter, ValueView update,
                                   const std::optional<ValueView>& array_filters) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument().Key("filter").Raw(filter).Key("update").Raw(update);
  if (array_filters.has_value()) builder.Key("array_filters").Raw(*array_filters);
  builder.EndDocument();
  return args;
}

inline std::string StringArguments(std::string_view name, std::string_view value) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument().Key(name).String(value).EndDocument();
  return args;
}

inline absl::Status BadResult(std::string_view expected) {
  return absl::DataLossError(absl::StrCat("the server's result is not ", expected));
}

inline absl::StatusOr<std::uint64_t> NumberIn(std::string_view result, std::string_view field) {
  const std::optional<ValueView> value = ValueView::FromTrusted(result).Find(field);
  const std::optional<std::int64_t> number =
      value.has_value() ? value->ToInt64() : std::optional<std::int64_t>();
  if (!number.has_value() || *number < 0) {
    return BadResult(absl::StrCat("a map with the number '", field, "'"));
  }
  return static_cast<std::uint64_t>(*number);
}

inline absl::StatusOr<std::string> ValueIn(std::string_view result, std::string_view field) {
  const std::optional<ValueView> value = ValueView::FromTrusted(result).Find(field);
  if (!value.has_value()) return BadResult(absl::StrCat("a map with '", field, "'"));
  return std::string(value->bytes());
}

inline absl::StatusOr<std::vector<std::string>> ElementsOf(std::optional<ValueView> array) {
  if (!array.has_value() || !array->IsArray()) return BadResult("an array");
  std::vector<std::string> elements;
  elements.reserve(array->size());
  for (const ValueView element : array->elements()) elements.emplace_back(element.bytes());
  return elements;
}

// `limit` is that of the options, or of a batch.
inline std::string FindArguments(ValueView query, const ClientFindOptions& options,
                                 std::uint64_t limit) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument().Key("query").Raw(query);
  if (!options.fields.empty()) {
    builder.Key("fields").StartArray(options.fields.size());
    for (const std::string& field : options.fields) builder.String(field);
    builder.EndArray();
  }
  if (options.skip != 0) builder.Key("skip").Uint(options.skip);
  if (limit != 0) builder.Key("limit").Uint(limit);
  if (options.sort.has_value()) builder.Key("sort").Raw(*options.sort);
  if (options.projection.has_value()) builder.Key("projection").Raw(*options.projection);
  if (options.force_scan) {
    builder.Key("hint").StartDocument(1).Key("$natural").Int(1).EndDocument();
  } else if (!options.hint.empty()) {
    builder.Key("hint").String(options.hint);
  }
  if (options.read_timestamp) builder.Key("read_timestamp").Uint(*options.read_timestamp);
  builder.EndDocument();
  return args;
}

// `arguments` with one more.
template <class AppendValue>
std::string With(ValueView arguments, std::string_view name, AppendValue&& append) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument();
  for (const auto [key, value] : arguments.entries()) {
    if (key != name) builder.Key(key).Raw(value);
  }
  builder.Key(name);
  append(builder);
  builder.EndDocument();
  return args;
}

inline std::string WithTimestamp(std::string_view arguments, std::uint64_t timestamp) {
  return With(ValueView::FromTrusted(arguments), "read_timestamp",
              [&](Builder& builder) { builder.Uint(timestamp); });
}

}  // namespace net_internal

template <class Ciphers>
BasicClient<Ciphers>::BasicClient(ClientOptions options)
    : options_(std::move(options)),
      connection_options_{
          .host = options_.host,
          .port = options_.port,
          .credentials =
              options_.username.empty() && options_.password.empty()
                  ? std::nullopt
                  : std::optional<Credentials>(std::in_place, options_.username, options_.password),
          .handshake_version = options_.handshake_version,
          .response_bytes_max = options_.response_bytes_max,
      } {
  if (connection_options_.credentials.has_value()) {
    token_ = connection_options_.credentials->Token();
  }
}

template <class Ciphers>
absl::StatusOr<std::unique_ptr<BasicClient<Ciphers>>> BasicClient<Ciphers>::Connect(
    ClientOptions options) {
  if (options.connections_max == 0) {
    return absl::InvalidArgumentError("ClientOptions::connections_max must be at least 1");
  }
  std::unique_ptr<BasicClient> client(new BasicClient(std::move(options)));
  ALOS_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                        client->Acquire(absl::Now() + client->options_.connect_timeout));
  client->Release(std::move(connection));
  return client;
}

template <class Ciphers>
absl::StatusOr<std::unique_ptr<ClientConnection<Ciphers>>> BasicClient<Ciphers>::Acquire(
    absl::Time deadline) {
  {
    absl::MutexLock lock(&mutex_);
    const auto is_free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return connections_used_ < options_.connections_max;
    };
    if (!mutex_.AwaitWithDeadline(absl::Condition(&is_free), deadline)) {
      return absl::DeadlineExceededError(absl::StrCat("timed out while waiting for one of ",
                                                      options_.connections_max,
                                                      " connections to be free"));
    }
    ++connections_used_;
    while (!idle_.empty()) {
      std::unique_ptr<Connection> connection = std::move(idle_.back());
      idle_.pop_back();
      if (connection->LooksAlive()) {
        connection->ResetSentAnything();
        return connection;
      }
    }
  }
  const absl::Time give_up = std::min(deadline, absl::Now() + options_.reconnect_timeout);
  absl::Duration backoff = options_.backoff_min;
  for (;;) {
    auto connection = Connection::Open(connection_options_,
                                       std::min(deadline, absl::Now() + options_.connect_timeout));
    if (connection.ok()) {
      (*connection)->ResetSentAnything();
      return connection;
    }
    const absl::StatusCode code = connection.status().code();
    const bool may_pass =
        code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded;
    if (!may_pass || absl::Now() + backoff >= give_up) {
      Release(nullptr);
      return connection.status();
    }
    absl::SleepFor(backoff);
    backoff = std::min(backoff * 2, options_.backoff_max);
  }
}

template <class Ciphers>
void BasicClient<Ciphers>::Release(std::unique_ptr<Connection> connection) {
  absl::MutexLock lock(&mutex_);
  --connections_used_;
  if (connection != nullptr) idle_.push_back(std::move(connection));
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::CallOn(
    Connection& connection, Operation operation, std::string_view collection, ValueView args,
    absl::Time deadline, bool* connection_usable, std::string_view request_name,
    const std::optional<std::string>& database) {
  constexpr std::uint32_t kRequestId = 1;  // one request is under way on a connection
  *connection_usable = false;
  connection.Queue({.id = kRequestId,
                    .operation = operation,
                    .collection = collection,
                    .database = database ? *database : options_.database,
                    .token = token_,
                    .request_name = request_name},
                   args);
  ALOS_RETURN_IF_ERROR(connection.Flush(deadline));
  ALOS_ASSIGN_OR_RETURN(const std::string_view payload, connection.Receive(deadline));
  ALOS_ASSIGN_OR_RETURN(const Response response, ParseResponse(payload));
  if (response.id != kRequestId && response.status.ok()) {
    return absl::DataLossError(absl::StrCat("the server answered request ", response.id, " where ",
                                            kRequestId, " was asked"));
  }
  *connection_usable =
      response.id == kRequestId && response.status.code() != absl::StatusCode::kUnauthenticated;
  // The server's answer is final: a connection error must not be confused with it.
  if (!response.status.ok()) {
    *connection_usable = *connection_usable || response.id == kRequestId;
    return response.status;
  }
  return std::string(response.result.value_or(ValueView()).bytes());
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::Call(Operation operation,
                                                           std::string_view collection,
                                                           ValueView args, bool is_read) {
  if (!is_read && options_.retry_writes && CanBeNamed(operation))
    return CallNamed(operation, collection, args);
  const absl::Time deadline = absl::Now() + options_.request_timeout;
  absl::Duration backoff = options_.backoff_min;
  for (;;) {
    ALOS_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Acquire(deadline));
    bool usable = false;
    absl::StatusOr<EncodedDocument> result =
        CallOn(*connection, operation, collection, args, deadline, &usable);
    if (usable) {
      Release(std::move(connection));
      return result;
    }
    const bool sent = connection->sent_anything();
    connection.reset();
    Release(nullptr);
    const absl::StatusCode code = result.status().code();
    const bool lost = code == absl::StatusCode::kUnavailable;
    if (lost && (is_read || !sent) && absl::Now() + backoff < deadline) {
      absl::SleepFor(backoff);
      backoff = std::min(backoff * 2, options_.backoff_max);
      continue;
    }
    const bool unknown =
        lost || code == absl::StatusCode::kDeadlineExceeded || code == absl::StatusCode::kDataLoss;
    if (!is_read && sent && unknown) {
      return absl::Status(
          code == absl::StatusCode::kDeadlineExceeded ? code : absl::StatusCode::kUnavailable,
          absl::StrCat(OperationName(operation), " on '", collection,
                       "': outcome unknown: ", result.status().message(),
                       "; the server may or may not have applied it, so it was "
                       "not sent again"));
    }
    return result;
  }
}

template <class Ciphers>
absl::StatusOr<std::optional<typename BasicClient<Ciphers>::Session>>
BasicClient<Ciphers>::TakeSession() {
  {
    absl::MutexLock lock(&mutex_);
    if (!has_sessions_) return std::optional<Session>();
    while (!sessions_.empty()) {
      Session session = std::move(sessions_.back());
      sessions_.pop_back();
      if (session.good_until > absl::Now()) return std::optional<Session>(std::move(session));
    }
  }
  const std::string args = net_internal::Arguments("", {});
  const absl::StatusOr<EncodedDocument> answer =
      Call(Operation::kOpenSession, "", ValueView::FromTrusted(args), true);
  if (absl::IsUnimplemented(answer.status())) {
    absl::MutexLock lock(&mutex_);
    has_sessions_ = false;
    return std::optional<Session>();
  }
  ALOS_RETURN_IF_ERROR(answer.status());
  Session session;
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t slot, net_internal::NumberIn(*answer, "slot"));
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t seconds, net_internal::NumberIn(*answer, "seconds"));
  const std::optional<ValueView> key = ValueView::FromTrusted(*answer).Find("key");
  if (!key || key->type() != ValueType::kBinary || key->AsBinary().size() != 16)
    return net_internal::BadResult("a map with the session's 'key'");
  session.slot = static_cast<std::uint32_t>(slot);
  session.key = std::string(key->AsBinary());
  // The server keeps it longer: from its last use.
  session.good_until = absl::Now() + absl::Seconds(seconds) / 2;
  return std::optional<Session>(std::move(session));
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::CallNamed(Operation operation,
                                                                std::string_view collection,
                                                                ValueView args) {
  const absl::Time deadline = absl::Now() + options_.request_timeout;
  absl::Duration backoff = options_.backoff_min;
  ALOS_ASSIGN_OR_RETURN(std::optional<Session> session, TakeSession());
  if (session) ++session->number;
  bool sent = false;
  for (;;) {
    absl::StatusOr<std::unique_ptr<Connection>> acquired = Acquire(deadline);
    if (!acquired.ok())
      return sent ? OutcomeUnknown(operation, acquired.status()) : acquired.status();
    std::unique_ptr<Connection> connection = *std::move(acquired);
    bool usable = false;
    absl::StatusOr<EncodedDocument> result =
        CallOn(*connection, operation, collection, args, deadline, &usable,
               session ? session->Name(sent) : std::string());
    if (usable) {
      Release(std::move(connection));
      const absl::StatusCode code = result.status().code();
      // The one from before may still be under way.
      const bool is_running = sent && code == absl::StatusCode::kAborted;
      // It has been idle for too long. Nothing was done, so another one will do.
      const bool has_ended = session && !sent && code == absl::StatusCode::kFailedPrecondition &&
                             absl::StrContains(result.status().message(), "session has ended");
      if ((is_running || has_ended) && absl::Now() + backoff < deadline) {
        if (has_ended) {
          ALOS_ASSIGN_OR_RETURN(session, TakeSession());
          if (session) ++session->number;
        }
        absl::SleepFor(backoff);
        backoff = std::min(backoff * 2, options_.backoff_max);
        continue;
      }
      if (session && !has_ended) GiveBack(*std::move(session));
      return result;
    }
    sent = sent || connection->sent_anything();
    connection.reset();
    Release(nullptr);
    const absl::StatusCode code = result.status().code();
    const bool lost = code == absl::StatusCode::kUnavailable;
    if (lost && (session || !sent) && absl::Now() + backoff < deadline) {
      absl::SleepFor(backoff);
      backoff = std::min(backoff * 2, options_.backoff_max);
      continue;
    }
    const bool unknown =
        lost || code == absl::StatusCode::kDeadlineExceeded || code == absl::StatusCode::kDataLoss;
    // The session is not used again: what was sent may still come to the server.
    if (!sent || !unknown) return result;
    return OutcomeUnknown(operation, result.status());
  }
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::Watch(const WatchOptions& options, std::string* cursor,
                                         absl::FunctionRef<bool(ValueView)> visit) {
  absl::Time last = absl::Now();
  while (true) {
    std::string args;
    Builder builder(&args);
    builder.StartDocument();
    if (!options.collections.empty()) {
      builder.Key("collections").StartArray(options.collections.size());
      for (const std::string& name : options.collections) builder.String(name);
      builder.EndArray();
    }
    if (!cursor->empty()) {
      builder.Key("cursor").Binary(*cursor);
    } else if (options.from) {
      builder.Key("from").Uint(*options.from);
    }
    if (options.batch_size != 0) builder.Key("limit").Uint(options.batch_size);
    builder.EndDocument();
    ALOS_ASSIGN_OR_RETURN(const std::string answer,
                          Call(Operation::kChanges, "", ValueView::FromTrusted(args), true));
    const ValueView view = ValueView::FromTrusted(answer);
    const std::optional<ValueView> changes = view.Find("changes");
    const std::optional<ValueView> next = view.Find("cursor");
    if (!changes || !changes->IsArray() || !next || next->type() != ValueType::kBinary)
      return net_internal::BadResult("a map with 'changes' and 'cursor'");
    for (const ValueView change : changes->elements()) {
      const bool go_on = visit(change);
      // Each says where to go on behind it.
      const std::optional<ValueView> behind = change.Find("next");
      if (behind && behind->type() == ValueType::kBinary) *cursor = std::string(behind->AsBinary());
      if (!go_on) return absl::OkStatus();
    }
    *cursor = std::string(next->AsBinary());
    if (changes->size() != 0) {
      last = absl::Now();
      continue;
    }
    if (absl::Now() - last >= options.timeout) return absl::OkStatus();
    absl::SleepFor(options.poll);
  }
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::CallForNumber(Operation operation,
                                                                  std::string_view collection,
                                                                  ValueView args, bool is_read,
                                                                  std::string_view field) {
  ALOS_ASSIGN_OR_RETURN(const std::string result, Call(operation, collection, args, is_read));
  return net_internal::NumberIn(result, field);
}

template <class Ciphers>
absl::StatusOr<std::optional<EncodedDocument>> BasicClient<Ciphers>::CallForDocument(
    Operation operation, std::string_view collection, ValueView args) {
  ALOS_ASSIGN_OR_RETURN(std::string result, Call(operation, collection, args, true));
  if (ValueView::FromTrusted(result).IsNull()) return std::nullopt;
  return std::optional<EncodedDocument>(std::move(result));
}

template <class Ciphers>
absl::StatusOr<std::string> BasicClient<Ciphers>::InsertOne(std::string_view collection,
                                                            ValueView document) {
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        Call(Operation::kInsertOne, collection, document, false));
  return net_internal::ValueIn(result, "id");
}

template <class Ciphers>
absl::StatusOr<std::vector<std::string>> BasicClient<Ciphers>::InsertMany(
    std::string_view collection, absl::Span<const ValueView> documents) {
  std::size_t blob_bytes = 0;
  for (const ValueView document : documents) blob_bytes += document.bytes().size();
  if (blob_bytes > std::numeric_limits<std::uint32_t>::max()) {
    return absl::InvalidArgumentError("InsertMany: the documents of one call exceed 4 GiB");
  }
  std::string blob;
  blob.reserve(blob_bytes);
  std::string args;
  Builder builder(&args);
  builder.StartDocument(3);
  builder.Key("ids").StartArray(documents.size());
  for (const ValueView document : documents) {
    // Only string ids travel beside the documents; "" means: look into the document. One without
    // has one made here: it is the same when the request is sent again.
    const std::optional<ValueView> id = document.Find("_id");
    if (!id.has_value()) {
      builder.String(NewId());
    } else {
      builder.String(id->IsString() ? id->AsString() : std::string_view());
    }
  }
  builder.EndArray();
  builder.Key("offsets").StartArray(documents.size() + 1);
  for (const ValueView document : documents) {
    builder.Uint(blob.size());
    blob.append(document.bytes());
  }
  builder.Uint(blob.size());
  builder.EndArray();
  builder.Key("blob").Binary(blob).EndDocument();
  ALOS_ASSIGN_OR_RETURN(const std::string result, Call(Operation::kInsertMany, collection,
                                                       ValueView::FromTrusted(args), false));
  return net_internal::ElementsOf(ValueView::FromTrusted(result).Find("ids"));
}

template <class Ciphers>
absl::StatusOr<std::optional<EncodedDocument>> BasicClient<Ciphers>::FindById(
    std::string_view collection, ValueView id) {
  const std::string args = net_internal::Arguments("id", id);
  return CallForDocument(Operation::kFindById, collection, ValueView::FromTrusted(args));
}

template <class Ciphers>
absl::StatusOr<std::optional<EncodedDocument>> BasicClient<Ciphers>::FindById(
    std::string_view collection, std::string_view string_id) {
  const std::string args = net_internal::StringArguments("id", string_id);
  return CallForDocument(Operation::kFindById, collection, ValueView::FromTrusted(args));
}

template <class Ciphers>
absl::StatusOr<std::optional<EncodedDocument>> BasicClient<Ciphers>::FindOne(
    std::string_view collection, ValueView query, const ClientFindOptions& options) {
  const std::string args = net_internal::FindArguments(query, options, 0);
  return CallForDocument(Operation::kFindOne, collection, ValueView::FromTrusted(args));
}

template <class Ciphers>
absl::StatusOr<std::vector<EncodedDocument>> BasicClient<Ciphers>::Find(
    std::string_view collection, ValueView query, const ClientFindOptions& options) {
  const std::string args = net_internal::FindArguments(query, options, options.limit);
  ALOS_ASSIGN_OR_RETURN(
      const std::string result,
      Call(options.skip != 0 || options.limit != 0 ? Operation::kFindPaginated : Operation::kFind,
           collection, ValueView::FromTrusted(args), true));
  return net_internal::ElementsOf(ValueView::FromTrusted(result));
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::CallForBatches(Operation operation, std::string_view collection,
                                                  std::string_view arguments,
                                                  absl::FunctionRef<bool(ValueView)> visit) {
  std::string args(arguments);
  for (;;) {
    ALOS_ASSIGN_OR_RETURN(const std::string result,
                          Call(operation, collection, ValueView::FromTrusted(args), true));
    const ValueView view = ValueView::FromTrusted(result);
    const std::optional<ValueView> documents = view.Find("docs");
    if (!documents.has_value() || !documents->IsArray()) {
      return net_internal::BadResult("a map with the array 'docs'");
    }
    for (const ValueView document : documents->elements()) {
      if (!visit(document)) return absl::OkStatus();
    }
    const std::optional<ValueView> next = view.Find("cursor");
    if (!next.has_value() || next->type() != ValueType::kBinary || next->AsBinary().empty())
      return absl::OkStatus();
    args = net_internal::With(ValueView::FromTrusted(arguments), "cursor",
                              [&](Builder& builder) { builder.Raw(*next); });
  }
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::FindStream(std::string_view collection, ValueView query,
                                              std::size_t batch_size,
                                              absl::FunctionRef<bool(ValueView)> visit,
                                              const ClientFindOptions& options) {
  std::uint64_t batch = std::max<std::size_t>(batch_size, 1);
  if (options.limit != 0) batch = std::min(batch, options.limit);
  std::uint64_t visited = 0;
  return CallForBatches(
      Operation::kFindManyStream, collection, net_internal::FindArguments(query, options, batch),
      [&](ValueView document) { return visit(document) && ++visited != options.limit; });
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::AggregateStream(std::string_view collection, ValueView pipeline,
                                                   std::size_t batch_size,
                                                   absl::FunctionRef<bool(ValueView)> visit) {
  const std::string args = net_internal::With(
      ValueView::FromTrusted(net_internal::Arguments("pipeline", pipeline)), "batch_size",
      [&](Builder& builder) { builder.Uint(std::max<std::size_t>(batch_size, 1)); });
  return CallForBatches(Operation::kAggregateStream, collection, args, visit);
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::Explain(Operation operation,
                                                              std::string_view collection,
                                                              ValueView arguments) {
  if (!arguments.IsDocument()) return absl::InvalidArgumentError("Explain: not an object");
  const std::string args =
      net_internal::With(arguments, "explain", [](Builder& builder) { builder.Bool(true); });
  return Call(operation, collection, ValueView::FromTrusted(args), true);
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::ExplainFind(
    std::string_view collection, ValueView query, const ClientFindOptions& options) {
  const std::string args = net_internal::FindArguments(query, options, options.limit);
  return Explain(Operation::kFind, collection, ValueView::FromTrusted(args));
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::ExplainAggregate(std::string_view collection,
                                                                       ValueView pipeline) {
  const std::string args = net_internal::Arguments("pipeline", pipeline);
  return Explain(Operation::kAggregate, collection, ValueView::FromTrusted(args));
}

template <class Ciphers>
absl::StatusOr<std::vector<EncodedDocument>> BasicClient<Ciphers>::Aggregate(
    std::string_view collection, ValueView pipeline, std::optional<std::uint64_t> read_timestamp) {
  std::string args = net_internal::Arguments("pipeline", pipeline);
  if (read_timestamp) args = net_internal::WithTimestamp(args, *read_timestamp);
  ALOS_ASSIGN_OR_RETURN(const std::string result, Call(Operation::kAggregate, collection,
                                                       ValueView::FromTrusted(args), true));
  return net_internal::ElementsOf(ValueView::FromTrusted(result));
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Count(
    std::string_view collection, ValueView query, std::optional<std::uint64_t> read_timestamp) {
  std::string args = net_internal::Arguments("query", query);
  if (read_timestamp) args = net_internal::WithTimestamp(args, *read_timestamp);
  return CallForNumber(Operation::kFindManyCount, collection, ValueView::FromTrusted(args), true,
                       "n");
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Count(std::string_view collection) {
  const std::string args = net_internal::Arguments("", {});
  return CallForNumber(Operation::kCount, collection, ValueView::FromTrusted(args), true, "count");
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::UpdateOne(
    std::string_view collection, ValueView filter, ValueView update,
    const std::optional<ValueView>& array_filters) {
  const std::string args = net_internal::UpdateArguments(filter, update, array_filters);
  return CallForNumber(Operation::kUpdateOne, collection, ValueView::FromTrusted(args), false,
                       "count");
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::UpdateMany(
    std::string_view collection, ValueView filter, ValueView update,
    const std::optional<ValueView>& array_filters) {
  const std::string args = net_internal::UpdateArguments(filter, update, array_filters);
  return CallForNumber(Operation::kUpdateMany, collection, ValueView::FromTrusted(args), false,
                       "count");
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::DeleteOne(std::string_view collection,
                                                              ValueView filter) {
  const std::string args = net_internal::Arguments("filter", filter);
  return CallForNumber(Operation::kDeleteOne, collection, ValueView::FromTrusted(args), false,
                       "count");
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::DeleteMany(std::string_view collection,
                                                               ValueView filter) {
  const std::string args = net_internal::Arguments("filter", filter);
  return CallForNumber(Operation::kDeleteMany, collection, ValueView::FromTrusted(args), false,
                       "count");
}

template <class Ciphers>
absl::StatusOr<ClientUpsertOneResult> BasicClient<Ciphers>::UpsertOne(
    std::string_view collection, ValueView filter, ValueView update,
    const std::optional<ValueView>& array_filters) {
  const std::string args = net_internal::UpdateArguments(filter, update, array_filters);
  ALOS_ASSIGN_OR_RETURN(const std::string result, Call(Operation::kUpsertOne, collection,
                                                       ValueView::FromTrusted(args), false));
  const ValueView view = ValueView::FromTrusted(result);
  const std::optional<ValueView> inserted = view.Find("inserted");
  if (!inserted.has_value() || !inserted->IsBool()) {
    return net_internal::BadResult("a map with the bool 'inserted'");
  }
  ClientUpsertOneResult upsert;
  upsert.inserted = inserted->AsBool();
  if (const std::optional<ValueView> id = view.Find("id"); id.has_value() && !id->IsNull()) {
    upsert.id = std::string(id->bytes());
  }
  return upsert;
}

template <class Ciphers>
absl::StatusOr<ClientUpsertManyResult> BasicClient<Ciphers>::UpsertMany(
    std::string_view collection, ValueView filter, ValueView update,
    const std::optional<ValueView>& array_filters) {
  const std::string args = net_internal::UpdateArguments(filter, update, array_filters);
  ALOS_ASSIGN_OR_RETURN(const std::string result, Call(Operation::kUpsertMany, collection,
                                                       ValueView::FromTrusted(args), false));
  ClientUpsertManyResult upsert;
  ALOS_ASSIGN_OR_RETURN(upsert.matched, net_internal::NumberIn(result, "matched"));
  ALOS_ASSIGN_OR_RETURN(upsert.inserted, net_internal::NumberIn(result, "inserted"));
  return upsert;
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::CreateCollection(std::string_view name) {
  const std::string args = net_internal::StringArguments("name", name);
  return Call(Operation::kCreateCollection, "", ValueView::FromTrusted(args), false).status();
}

template <class Ciphers>
absl::StatusOr<bool> BasicClient<Ciphers>::CallForExists(Operation operation,
                                                         std::string_view name) {
  const std::string args = net_internal::StringArguments("name", name);
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        Call(operation, "", ValueView::FromTrusted(args), true));
  const std::optional<ValueView> exists = ValueView::FromTrusted(result).Find("exists");
  if (!exists.has_value() || !exists->IsBool()) {
    return net_internal::BadResult("a map with the bool 'exists'");
  }
  return exists->AsBool();
}

template <class Ciphers>
absl::StatusOr<bool> BasicClient<Ciphers>::CollectionExists(std::string_view name) {
  return CallForExists(Operation::kCollectionExists, name);
}

template <class Ciphers>
absl::StatusOr<bool> BasicClient<Ciphers>::DatabaseExists(std::string_view name) {
  return CallForExists(Operation::kDatabaseExists, name);
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::Drop(std::string_view collection) {
  const std::string args = net_internal::Arguments("", {});
  return Call(Operation::kDrop, collection, ValueView::FromTrusted(args), false).status();
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::Flush() {
  const std::string args = net_internal::Arguments("", {});
  // Flushing twice is flushing once, so it may be sent again.
  return Call(Operation::kFlush, "", ValueView::FromTrusted(args), true).status();
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::Stats() {
  const std::string args = net_internal::Arguments("", {});
  return Call(Operation::kStats, "", ValueView::FromTrusted(args), true);
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::ReadTimestamp(absl::Duration ago) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument();
  if (ago > absl::ZeroDuration())
    builder.Key("seconds_ago").Uint(static_cast<std::uint64_t>(absl::ToInt64Seconds(ago)));
  builder.EndDocument();
  return CallForNumber(Operation::kReadTimestamp, "", ValueView::FromTrusted(args), true, "ts");
}

template <class Ciphers>
absl::StatusOr<ClientIndexResult> BasicClient<Ciphers>::CreateIndex(std::string_view collection,
                                                                    ValueView arguments) {
  ALOS_ASSIGN_OR_RETURN(const std::string answer,
                        Call(Operation::kCreateIndex, collection, arguments, false));
  ClientIndexResult result;
  ALOS_ASSIGN_OR_RETURN(result.indexed, net_internal::NumberIn(answer, "indexed"));
  ALOS_ASSIGN_OR_RETURN(result.skipped, net_internal::NumberIn(answer, "skipped"));
  const ValueView view = ValueView::FromTrusted(answer);
  if (const std::optional<ValueView> issues = view.Find("issues"); issues.has_value()) {
    ALOS_ASSIGN_OR_RETURN(result.issues, net_internal::ElementsOf(issues));
  }
  const std::optional<ValueView> truncated = view.Find("truncated");
  result.truncated = truncated.has_value() && truncated->IsBool() && truncated->AsBool();
  return result;
}

template <class Ciphers>
absl::StatusOr<ClientIndexResult> BasicClient<Ciphers>::CreateIndex(std::string_view collection,
                                                                    const ClientIndex& index) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument();
  builder.Key("field").String(index.fields.empty() ? "" : index.fields[0].name);
  builder.Key("fields").StartArray(index.fields.size());
  for (const ClientIndex::Field& field : index.fields) {
    builder.StartDocument().Key("name").String(field.name);
    if (!field.value_type.empty()) builder.Key("value_type").String(field.value_type);
    builder.EndDocument();
  }
  builder.EndArray();
  if (index.unique) builder.Key("unique").Bool(true);
  if (index.sparse) builder.Key("sparse").Bool(true);
  if (index.text) builder.Key("text").Bool(true);
  if (index.partial_filter.has_value()) builder.Key("partial_filter").Raw(*index.partial_filter);
  if (index.expire_after_seconds.has_value())
    builder.Key("expire_after_seconds").Uint(*index.expire_after_seconds);
  builder.EndDocument();
  return CreateIndex(collection, ValueView::FromTrusted(args));
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::DropIndex(std::string_view collection, std::string_view field) {
  const std::string args = net_internal::StringArguments("field", field);
  return Call(Operation::kDropIndex, collection, ValueView::FromTrusted(args), false).status();
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::RebuildIndex(std::string_view collection,
                                                std::string_view field) {
  const std::string args = net_internal::StringArguments("field", field);
  return Call(Operation::kRebuildIndex, collection, ValueView::FromTrusted(args), false).status();
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::ListIndexes(std::string_view collection) {
  const std::string args = net_internal::Arguments("", {});
  return Call(Operation::kListIndexes, collection, ValueView::FromTrusted(args), true);
}

template <class Ciphers>
absl::StatusOr<std::vector<absl::StatusOr<EncodedDocument>>> BasicClient<Ciphers>::Batch(
    absl::Span<const ClientBatchRequest> requests) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument(1).Key("requests").StartArray(requests.size());
  std::uint32_t id = 0;
  for (const ClientBatchRequest& request : requests) {
    std::string member;
    AppendRequest({.id = ++id,
                   .operation = request.operation,
                   .collection = request.collection,
                   .database = options_.database},
                  ValueView::FromTrusted(request.args), &member);
    builder.Raw(ValueView::FromTrusted(member));
  }
  builder.EndArray().EndDocument();
  const auto is_read = [](const ClientBatchRequest& request) {
    switch (request.operation) {
      case Operation::kFindOne:
      case Operation::kFind:
      case Operation::kFindById:
      case Operation::kCount:
        return true;
      default:
        return false;
    }
  };
  const bool only_reads = std::all_of(requests.begin(), requests.end(), is_read);
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        Call(Operation::kBatch, "", ValueView::FromTrusted(args), only_reads));
  const std::optional<ValueView> responses = ValueView::FromTrusted(result).Find("responses");
  if (!responses.has_value() || !responses->IsArray() || responses->size() != requests.size()) {
    return net_internal::BadResult("a map with as many 'responses' as there were requests");
  }
  std::vector<absl::StatusOr<EncodedDocument>> results;
  results.reserve(requests.size());
  for (const ValueView member : responses->elements()) {
    ALOS_ASSIGN_OR_RETURN(const Response response, ParseResponse(member.bytes()));
    if (response.status.ok()) {
      results.emplace_back(std::string(response.result.value_or(ValueView()).bytes()));
    } else {
      results.emplace_back(response.status);
    }
  }
  return results;
}

template <class Ciphers>
absl::StatusOr<std::unique_ptr<typename BasicClient<Ciphers>::Transaction>>
BasicClient<Ciphers>::BeginTransaction(const ClientTransactionOptions& options) {
  const absl::Time deadline = absl::Now() + options_.request_timeout;
  ALOS_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Acquire(deadline));
  std::string args;
  Builder builder(&args);
  builder.StartDocument();
  if (options.serializable) builder.Key("isolation").String("serializable");
  if (!options.databases.empty()) {
    builder.Key("databases").StartArray(options.databases.size());
    for (const std::string& name : options.databases) builder.String(name);
    builder.EndArray();
  }
  builder.EndDocument();
  bool usable = false;
  const absl::StatusOr<std::string> result =
      CallOn(*connection, Operation::kBeginTransaction, "", ValueView::FromTrusted(args), deadline,
             &usable);
  const std::optional<ValueView> id =
      result.ok() ? ValueView::FromTrusted(*result).Find("tx_id") : std::optional<ValueView>();
  if (!id.has_value() || !id->IsString()) {
    if (!usable) connection.reset();
    Release(std::move(connection));
    return result.ok() ? net_internal::BadResult("a map with the string 'tx_id'") : result.status();
  }
  return std::unique_ptr<Transaction>(
      new Transaction(this, std::move(connection), std::string(id->AsString())));
}

template <class Ciphers>
BasicClient<Ciphers>::Transaction::~Transaction() {
  if (open_) Rollback().IgnoreError();
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::Transaction::Call(
    Operation operation, std::string_view collection, std::string_view name_1, ValueView value_1,
    std::string_view name_2, ValueView value_2) {
  return CallWith(operation, collection, net_internal::Arguments(name_1, value_1, name_2, value_2));
}

template <class Ciphers>
absl::StatusOr<EncodedDocument> BasicClient<Ciphers>::Transaction::CallWith(
    Operation operation, std::string_view collection, std::string_view arguments) {
  if (!open_) return absl::FailedPreconditionError("the transaction is over");
  const std::string args = net_internal::With(ValueView::FromTrusted(arguments), "tx_id",
                                              [&](Builder& builder) { builder.String(id_); });
  bool usable = false;
  const bool ends =
      operation == Operation::kTransactionCommit || operation == Operation::kTransactionRollback;
  absl::StatusOr<EncodedDocument> result =
      client_->CallOn(*connection_, operation, collection, ValueView::FromTrusted(args),
                      absl::Now() + client_->options_.request_timeout, &usable, {},
                      ends ? std::nullopt : database_);
  if (!usable || ends) Finish(usable);
  if (!usable && operation == Operation::kTransactionCommit) {
    return absl::UnavailableError(
        absl::StrCat("TxCommit: outcome unknown: ", result.status().message()));
  }
  return result;
}

template <class Ciphers>
absl::StatusOr<std::optional<EncodedDocument>> BasicClient<Ciphers>::Transaction::FindOne(
    std::string_view collection, ValueView query) {
  ALOS_ASSIGN_OR_RETURN(std::string result,
                        Call(Operation::kTransactionFindOne, collection, "query", query));
  if (ValueView::FromTrusted(result).IsNull()) return std::nullopt;
  return std::optional<EncodedDocument>(std::move(result));
}

template <class Ciphers>
absl::StatusOr<std::optional<EncodedDocument>> BasicClient<Ciphers>::Transaction::FindById(
    std::string_view collection, ValueView id) {
  ALOS_ASSIGN_OR_RETURN(std::string result,
                        Call(Operation::kTransactionFindById, collection, "id", id));
  if (ValueView::FromTrusted(result).IsNull()) return std::nullopt;
  return std::optional<EncodedDocument>(std::move(result));
}

template <class Ciphers>
absl::StatusOr<std::string> BasicClient<Ciphers>::Transaction::InsertOne(
    std::string_view collection, ValueView document) {
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        Call(Operation::kTransactionInsertOne, collection, "doc", document));
  return net_internal::ValueIn(result, "id");
}

template <class Ciphers>
absl::StatusOr<std::vector<EncodedDocument>> BasicClient<Ciphers>::Transaction::Find(
    std::string_view collection, ValueView query, const ClientFindOptions& options) {
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        CallWith(Operation::kTransactionFind, collection,
                                 net_internal::FindArguments(query, options, options.limit)));
  return net_internal::ElementsOf(ValueView::FromTrusted(result));
}

template <class Ciphers>
absl::StatusOr<std::vector<std::string>> BasicClient<Ciphers>::Transaction::InsertMany(
    std::string_view collection, absl::Span<const ValueView> documents) {
  std::string args;
  Builder builder(&args);
  builder.StartDocument(1).Key("docs").StartArray(documents.size());
  for (const ValueView document : documents) builder.Raw(document);
  builder.EndArray().EndDocument();
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        CallWith(Operation::kTransactionInsertMany, collection, args));
  return net_internal::ElementsOf(ValueView::FromTrusted(result).Find("ids"));
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Transaction::CallForCount(
    Operation operation, std::string_view collection, std::string_view name_1, ValueView value_1,
    std::string_view name_2, ValueView value_2) {
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        Call(operation, collection, name_1, value_1, name_2, value_2));
  return net_internal::NumberIn(result, "count");
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Transaction::Count(std::string_view collection,
                                                                       ValueView query) {
  return CallForCount(Operation::kTransactionCount, collection, "query", query);
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Transaction::UpdateOne(
    std::string_view collection, ValueView filter, ValueView update) {
  return CallForCount(Operation::kTransactionUpdateOne, collection, "filter", filter, "update",
                      update);
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Transaction::UpdateMany(
    std::string_view collection, ValueView filter, ValueView update) {
  return CallForCount(Operation::kTransactionUpdateMany, collection, "filter", filter, "update",
                      update);
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Transaction::DeleteOne(
    std::string_view collection, ValueView filter) {
  return CallForCount(Operation::kTransactionDeleteOne, collection, "filter", filter);
}

template <class Ciphers>
absl::StatusOr<std::uint64_t> BasicClient<Ciphers>::Transaction::DeleteMany(
    std::string_view collection, ValueView filter) {
  return CallForCount(Operation::kTransactionDeleteMany, collection, "filter", filter);
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::Transaction::Commit() {
  if (!open_) return absl::FailedPreconditionError("the transaction is over");
  std::optional<Session> session;
  if (client_->options_.retry_writes) {
    ALOS_ASSIGN_OR_RETURN(session, client_->TakeSession());
  }
  if (!session) return Call(Operation::kTransactionCommit, "").status();
  ++session->number;
  const absl::Time deadline = absl::Now() + client_->options_.request_timeout;
  const std::string args = net_internal::StringArguments("tx_id", id_);
  bool usable = false;
  absl::Status status =
      client_
          ->CallOn(*connection_, Operation::kTransactionCommit, "", ValueView::FromTrusted(args),
                   deadline, &usable, session->Name(false))
          .status();
  Finish(usable);
  // Its transaction is over with its connection, but it may have been committed before: the server
  // knows, or sees to it that it never will be.
  absl::Duration backoff = client_->options_.backoff_min;
  while (!usable) {
    absl::StatusOr<std::unique_ptr<Connection>> connection = client_->Acquire(deadline);
    if (!connection.ok()) return OutcomeUnknown(Operation::kTransactionCommit, connection.status());
    status = client_
                 ->CallOn(**connection, Operation::kTransactionCommit, "",
                          ValueView::FromTrusted(args), deadline, &usable, session->Name(true))
                 .status();
    client_->Release(usable ? *std::move(connection) : nullptr);
    if (!usable && absl::Now() + backoff >= deadline)
      return OutcomeUnknown(Operation::kTransactionCommit, status);
    if (!usable) absl::SleepFor(backoff);
    backoff = std::min(backoff * 2, client_->options_.backoff_max);
  }
  // Of a session that has ended nothing was done: the transaction is rolled back.
  if (absl::IsFailedPrecondition(status) &&
      absl::StrContains(status.message(), "session has ended")) {
    return absl::AbortedError("TxCommit: rolled back: the client's session had ended; try again");
  }
  client_->GiveBack(*std::move(session));
  return status;
}

template <class Ciphers>
absl::Status BasicClient<Ciphers>::Transaction::Rollback() {
  return Call(Operation::kTransactionRollback, "").status();
}

}  // namespace alos

#endif  // ALOS_NET_CLIENT_H_
