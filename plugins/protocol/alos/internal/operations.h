// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What each operation of the protocol does: arguments in, engine called, result out.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_OPERATIONS_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_OPERATIONS_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
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
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/crc32c.h"
#include "alos/base/queue_gauge.h"
#include "alos/base/rate_limiter.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/backup_state.h"
#include "alos/engine/changes.h"
#include "alos/engine/explain.h"
#include "alos/engine/options.h"
#include "alos/engine/request_id.h"
#include "alos/engine/results.h"
#include "alos/index/index_definition.h"
#include "alos/net/big_endian.h"
#include "alos/net/counters.h"
#include "alos/net/message.h"
#include "alos/query/filter.h"
#include "alos/query/pipeline.h"
#include "alos/query/projection.h"
#include "alos/query/update.h"
#include "alos/txn/snapshot_registry.h"
#include "plugins/protocol/alos/internal/arguments.h"
#include "plugins/protocol/alos/internal/find_arguments.h"
#include "plugins/protocol/alos/internal/index_arguments.h"
#include "plugins/protocol/alos/internal/result_table.h"
#include "plugins/protocol/alos/internal/transaction_table.h"

namespace alos::protocol_internal {

// The field `update`, operators, a replacement or a pipeline, with the array filters that may stand
// beside it as `array_filters` (or `arrayFilters`, MongoDB's spelling).
inline absl::StatusOr<Update> CompileUpdate(const Arguments& arguments) {
  ALOS_ASSIGN_OR_RETURN(const ValueView update, arguments.DocumentOrArray("update"));
  Update::Options options;
  options.array_filters = arguments.Optional("array_filters");
  if (!options.array_filters) options.array_filters = arguments.Optional("arrayFilters");
  return Update::Compile(update, options);
}

struct OperationLimits {
  std::size_t document_bytes_max = std::size_t{48} << 20;
  // The most that one result may take.
  std::size_t result_bytes_max = (std::size_t{50} << 20) - 4096;
  // A batch of a stream ends after so many documents, unless the request says, or so many bytes.
  std::uint64_t stream_batch_documents = 1000;
  std::uint64_t stream_batch_documents_max = 100'000;
  std::size_t stream_batch_bytes = std::size_t{8} << 20;
  std::size_t batch_requests_max = 100'000;
  // Of the rest of a result that is read in batches so much is kept; what is behind that is found
  // again when it is asked for.
  std::size_t kept_result_bytes_max = ResultTable::kResultBytesMax;
};

// A commit over several databases that is to be made before the request is answered.
struct JointCommit {
  // Begins it; the callback comes once, from any thread.
  std::function<void(std::function<void(absl::Status)>)> start;
  // What the request is answered with; appends the result.
  std::function<absl::Status(const absl::Status& committed, std::string* result)> finish;
};

// A write that has been done and may not be visible yet.
template <class Database>
struct Commit {
  Database* database = nullptr;
  std::uint64_t timestamp = 0;  // 0: nothing was written
  // Instead of both: there is no result yet.
  std::unique_ptr<JointCommit> joint = nullptr;
};

// Carries requests out, one after another, for one connection.
//
// Threads: one at a time. Lifetime: the engine, the tables and the counters must outlive it.
// Durability: Run returns when the write is done; it may be acknowledged when *commit is visible.
// Errors: Run returns what the client is to be told. *out is then to be cut back by the caller.
template <class Engine>
class Operations {
 public:
  using Database = typename Engine::Database;
  using Transaction = typename Engine::Transaction;
  using JointTransaction = typename Engine::JointTransaction;
  using Transactions = TransactionTable<JointTransaction>;

  Operations(Engine* engine, std::string_view default_database, const OperationLimits& limits,
             Transactions* transactions, ResultTable* results, const NetCounters* counters,
             std::uint64_t owner)
      : engine_(engine),
        default_database_(default_database),
        limits_(limits),
        transactions_(transactions),
        results_(results),
        counters_(counters),
        owner_(owner) {}

  // Whether this request should run where it holds nobody up: it scans, or sorts, or waits for a
  // disk, or opens a database. Only a guess about time: the result is the same either way.
  bool IsLong(const Request& request);

  // Whether it writes one document, or none: when it cannot do so at once it can be run again
  // (BasicDatabase::NoWaiting).
  static bool IsSingleWrite(const Request& request) {
    switch (request.operation) {
      case Operation::kInsertOne:
      case Operation::kUpdateOne:
      case Operation::kDeleteOne:
      case Operation::kUpsertOne:
        return true;
      default:
        return false;
    }
  }

  // Whether a write that came before on the same connection need not be visible before this request
  // runs. True for inserts, which look at nothing but their own id.
  static bool IsInsert(const Request& request) {
    return request.operation == Operation::kInsertOne ||
           request.operation == Operation::kInsertMany;
  }

  // Whether a write may begin now: with a limit to the rate of writes each has its turn, and when
  // something that writes fill is full they wait, a while, for room. To be asked again at turn().
  bool HasTurn(const Request& request);
  RateLimiter::Time turn() const { return turn_; }

  // Appends the result (one encoded value) to *out.
  absl::Status Run(const Request& request, std::string* out, Commit<Database>* commit) {
    turn_ = RateLimiter::Time();
    pauses_ = 0;
    const RateLimiter::Reserved reserved(std::exchange(reserved_, 0));
    if (!request.request_name.empty() && IsRunOnce(request.operation))
      return RunOnce(request, out, commit);
    return Run(request, out, commit, /*nested=*/false);
  }

 private:
  // The cursor of a result that is kept: which snapshot, how many of it have been seen, and where
  // the next ones are kept.
  static constexpr std::string_view kResultCursorMark = "agg2";
  static constexpr std::size_t kResultCursorBytes = 4 + 8 + 8 + 8;
  static constexpr std::size_t kInlineInsertManyBytes = 64 * 1024;
  static constexpr std::size_t kArrayHeaderBytes = 5;

  absl::Status Run(const Request& request, std::string* out, Commit<Database>* commit, bool nested);
  // The same for a request with a name whose commit has no place for it.
  absl::Status RunOnce(const Request& request, std::string* out, Commit<Database>* commit);

  std::string_view DatabaseName(const Request& request) const {
    return request.database.empty() ? std::string_view(default_database_) : request.database;
  }
  // For reads; nullptr when there is none.
  absl::StatusOr<Database*> Find(const Request& request);
  // For writes.
  absl::StatusOr<Database*> Make(const Request& request) { return Make(DatabaseName(request)); }
  absl::StatusOr<Database*> Make(std::string_view name);

  // What $text in a specification searches in a collection: the fields that have text indexes.
  absl::StatusOr<std::vector<std::string>> TextFields(const Request& request,
                                                      std::string_view collection,
                                                      ValueView specification) {
    std::vector<std::string> none;
    if (specification.bytes().find("$text") == std::string_view::npos) return none;
    ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
    if (database == nullptr) return none;
    return database->TextFields(collection);
  }
  absl::StatusOr<Filter> CompileFilter(const Request& request, std::string_view collection,
                                       ValueView filter) {
    if (compiled_.has_value()) {
      const bool is_it = compiled_bytes_.data() == filter.bytes().data();
      const Filter compiled = *std::exchange(compiled_, std::nullopt);
      if (is_it) return compiled;
    }
    FilterContext context;
    ALOS_ASSIGN_OR_RETURN(context.text_fields, TextFields(request, collection, filter));
    return Filter::Compile(filter, context);
  }
  absl::StatusOr<Pipeline> CompilePipeline(const Request& request, ValueView stages) {
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> text_fields,
                          TextFields(request, request.collection, stages));
    return Pipeline::Compile(stages, text_fields);
  }

  static absl::Status NeedCollection(const Request& request) {
    if (!request.collection.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(OperationName(request.operation), ": field 'collection' must not be empty"));
  }
  absl::Status CheckDocument(ValueView document) const {
    if (!document.IsDocument()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a document to insert must be an object, not ", TypeName(document.type())));
    }
    if (document.bytes().size() > limits_.document_bytes_max) {
      return absl::ResourceExhaustedError(absl::StrCat("a document of ", document.bytes().size(),
                                                       " bytes is over the limit of ",
                                                       limits_.document_bytes_max, " bytes"));
    }
    return absl::OkStatus();
  }
  absl::Status TooLarge(const Request& request) const {
    return absl::ResourceExhaustedError(absl::StrCat(
        OperationName(request.operation), ": the result exceeds ", limits_.result_bytes_max,
        " bytes, the most one response may carry: use FindPaginated (with skip and limit), or "
        "FindManyStream or AggregateStream, which have no such limit"));
  }
  // Refuses a result (everything in *out from `start`) that does not fit into a response.
  absl::Status CheckSize(const Request& request, std::size_t start, const std::string& out) const {
    return out.size() - start > limits_.result_bytes_max ? TooLarge(request) : absl::OkStatus();
  }

  // An array whose size is known at its end.
  static std::size_t StartArray(std::string* out) {
    out->append(kArrayHeaderBytes, '\0');
    return out->size() - kArrayHeaderBytes;
  }
  static void EndArray(std::size_t start, std::size_t count, std::string* out) {
    if (count == 0) {
      out->resize(start);
      out->push_back('\x90');
      return;
    }
    (*out)[start] = static_cast<char>(0xdd);
    net_internal::StoreBigEndian32(static_cast<std::uint32_t>(count), out->data() + start + 1);
  }

  // Maps with numbers, as updates, deletes and counts return them.
  static void AppendNumbers(std::string_view name_1, std::uint64_t value_1, std::string_view name_2,
                            std::uint64_t value_2, std::string* out) {
    Builder builder(out);
    builder.StartDocument(name_2.empty() ? 1 : 2).Key(name_1).Uint(value_1);
    if (!name_2.empty()) builder.Key(name_2).Uint(value_2);
    builder.EndDocument();
  }

  static void AppendIds(const std::vector<std::string>& ids, std::string* out) {
    Builder builder(out);
    builder.StartDocument(1).Key("ids").StartArray(ids.size());
    for (const std::string& id : ids) builder.Raw(ValueView::FromTrusted(id));
    builder.EndArray().EndDocument();
  }

  // Whether an index leads this find or count to few documents.
  bool IsQuick(const Request& request);

  // The canonical id, without a copy where the client's encoding is canonical already.
  static absl::StatusOr<std::string_view> IdOf(const Arguments& arguments, std::string* scratch) {
    ALOS_ASSIGN_OR_RETURN(const ValueView id, arguments.Required("id"));
    const std::string_view bytes = id.bytes();
    const auto lead = static_cast<std::uint8_t>(bytes[0]);
    if ((lead & 0xe0) == 0xa0 ||
        (lead == 0xd9 && static_cast<std::uint8_t>(bytes[1]) > 31)) {  // shortest forms
      return bytes;
    }
    ALOS_ASSIGN_OR_RETURN(*scratch, EncodeId(id));
    return std::string_view(*scratch);
  }

  // Compiles what a find is asked for.
  absl::Status CompileFind(const Request& request, const Arguments& arguments, FindArguments* find);
  // Runs `explained(Explain*) -> absl::Status` and appends what it did.
  template <class Explained>
  static absl::Status AppendExplanation(absl::Duration compiling, Explained&& explained,
                                        std::string* out);
  // One batch of a result: `run(snapshot, sink) -> absl::Status` calls sink(ValueView) -> bool with
  // what there is, in the same order each time. What the batch has no room for is kept.
  template <class RunResult>
  absl::Status AppendBatch(const Request& request, Database* database,
                           std::optional<std::uint64_t> read_timestamp, std::string_view cursor,
                           std::uint64_t batch, RunResult&& run, std::string* out);
  static void AppendCursor(std::string_view cursor, std::size_t start, std::string* out) {
    (*out)[start] = '\x82';
    out->append(
        "\xa6"
        "cursor",
        7);
    Builder(out).Binary(cursor);
  }

  absl::Status InsertOne(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status InsertMany(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status FindById(const Request& request, std::string* out);
  absl::Status FindOne(const Request& request, std::string* out);
  absl::Status FindMany(const Request& request, std::string* out);
  absl::Status FindManyStream(const Request& request, std::string* out);
  absl::Status Aggregate(const Request& request, std::string* out);
  absl::Status AggregateStream(const Request& request, std::string* out);
  absl::Status Count(const Request& request, std::string* out);
  absl::Status Change(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status Upsert(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status Collections(const Request& request, std::string* out);
  absl::Status Stats(const Request& request, std::string* out);
  absl::Status Indexes(const Request& request, std::string* out);
  absl::Status ListIndexes(const Request& request, std::string* out);
  absl::Status CreateIndex(const Request& request, const Arguments& arguments, std::string* out);
  absl::Status Backup(const Request& request, std::string* out);
  absl::Status Batch(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status TransactionBatch(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status InTransaction(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status Changes(const Request& request, std::string* out);
  absl::Status Sessions(const Request& request, std::string* out, Commit<Database>* commit);
  // The name of a request, if it has one, for a call of the database.
  class RequestName {
   public:
    explicit RequestName(const Request& request) {
      const std::string_view bytes = request.request_name;
      if (bytes.size() != kRequestNameBytes) return;
      is_there_ = true;
      id_.slot = net_internal::LoadBigEndian32(bytes.data());
      std::memcpy(id_.key.data(), bytes.data() + 4, id_.key.size());
      id_.number = net_internal::LoadBigEndian64(bytes.data() + 20);
      id_.was_sent_before = bytes[28] != 0;
    }
    const RequestId* get() const { return is_there_ ? &id_ : nullptr; }

   private:
    RequestId id_;
    bool is_there_ = false;
  };
  static absl::StatusOr<TransactionOptions> ReadTransactionOptions(const Arguments& arguments);
  absl::StatusOr<std::string> BeginTransaction(const Request& request, const Arguments& arguments);
  absl::Status CommitTransaction(
      std::unique_ptr<JointTransaction> transaction, Database* database, const RequestName& name,
      std::function<absl::Status(const absl::Status&, std::string*)> finish, std::string* out,
      Commit<Database>* commit);
  absl::Status RunInTransaction(const Request& request, Operation operation,
                                std::string_view collection, const Arguments& arguments,
                                Transaction* transaction, std::string* out);

  // Waits for an earlier write of the same batch.
  static absl::Status Settle(Commit<Database>* commit) {
    if (commit->timestamp == 0 || commit->database->IsVisible(commit->timestamp)) {
      return absl::OkStatus();
    }
    const absl::Status visible = commit->database->WaitVisible(commit->timestamp);
    commit->timestamp = 0;
    return visible;
  }

  Engine* const engine_;
  const std::string default_database_;
  const OperationLimits limits_;
  Transactions* const transactions_;
  ResultTable* const results_;
  const NetCounters* const counters_;
  const std::uint64_t owner_;
  // The database used last: requests of a connection hardly ever change it.
  std::string known_name_;
  Database* known_ = nullptr;
  std::string scratch_;
  // Of HasTurn.
  static constexpr std::chrono::milliseconds kPause{5};
  static constexpr int kPausesMax = 200;
  RateLimiter::Time turn_;
  std::uint64_t reserved_ = 0;  // documents of the request that have their turn
  int pauses_ = 0;
  // The filter that IsLong has compiled, and from which bytes: for the Run that follows.
  std::optional<Filter> compiled_;
  std::string_view compiled_bytes_;
  // The backup that this connection takes: it lives no longer than the connection.
  std::optional<BackupState> backup_;
  Database* backup_database_ = nullptr;
};

// --- Readers of the interface may stop here. ----------------------------------------------------

// How many documents a request writes, where that is known before it is carried out; 0: not.
inline std::uint64_t CountWrites(const Request& request) {
  switch (request.operation) {
    case Operation::kInsertOne:
    case Operation::kUpdateOne:
    case Operation::kDeleteOne:
    case Operation::kUpsertOne:
      return 1;
    case Operation::kInsertMany: {
      const std::optional<ValueView> ids = request.args.Find("ids");
      return ids.has_value() && ids->IsArray() ? ids->size() : 1;
    }
    default:
      return 0;
  }
}

// What a TxBatch may hold.
inline bool IsTransactional(Operation operation) {
  return operation >= Operation::kInsertOne && operation <= Operation::kFindById;
}

// The operation that one of an interactive transaction is like.
inline Operation OperationOutside(Operation operation) {
  switch (operation) {
    case Operation::kTransactionFindOne:
      return Operation::kFindOne;
    case Operation::kTransactionFindById:
      return Operation::kFindById;
    case Operation::kTransactionFind:
      return Operation::kFind;
    case Operation::kTransactionCount:
      return Operation::kCount;
    case Operation::kTransactionInsertOne:
      return Operation::kInsertOne;
    case Operation::kTransactionInsertMany:
      return Operation::kInsertMany;
    case Operation::kTransactionUpdateOne:
      return Operation::kUpdateOne;
    case Operation::kTransactionUpdateMany:
      return Operation::kUpdateMany;
    case Operation::kTransactionDeleteMany:
      return Operation::kDeleteMany;
    default:
      return Operation::kDeleteOne;
  }
}

// An index as ListIndexes shows it.
inline void AppendIndex(const IndexDefinition& index, ValueView listed, Builder* builder) {
  const auto copy = [&](std::string_view key) {
    if (const std::optional<ValueView> value = listed.Find(key)) builder->Key(key).Raw(*value);
  };
  builder->StartDocument();
  builder->Key("name").String(index.name());
  builder->Key("field").String(index.name());
  builder->Key("fields").StartArray();
  for (std::size_t i = 0; i < index.paths.size(); ++i) {
    builder->StartDocument().Key("name").String(index.paths[i]);
    builder->Key("value_type").String(i < index.types.size() ? index.types[i] : "");
    builder->EndDocument();
  }
  builder->EndArray();
  builder->Key("value_type").String(absl::StrJoin(index.types, ","));
  builder->Key("type").String(index.is_text             ? "text"
                              : index.paths.size() != 1 ? "compound"
                                                        : "value");
  builder->Key("unique").Bool(index.is_unique);
  builder->Key("sparse").Bool(index.is_sparse);
  if (!index.partial_filter.empty())
    builder->Key("partial_filter").Raw(ValueView::FromTrusted(index.partial_filter));
  if (index.expire_after_seconds)
    builder->Key("expire_after_seconds").Int(*index.expire_after_seconds);
  builder->Key("automatic").Bool(index.is_automatic);
  builder->Key("reason").String(index.reason);
  builder->Key("created").Time({index.created_seconds, 0});
  copy("ready");
  copy("trigrams");
  copy("bytes");
  copy("uses");
  const std::optional<ValueView> last_use = listed.Find("last_use");
  const std::int64_t used = last_use ? last_use->ToInt64().value_or(0) : 0;
  builder->Key("last_use");
  if (used != 0) {
    builder->Time({used, 0});
  } else {
    builder->Null();
  }
  builder->EndDocument();
}

// True when the filter plainly asks for documents by id: then no scan is needed.
inline bool IsById(std::optional<ValueView> filter) {
  if (!filter.has_value()) return true;  // it will be refused
  const std::optional<ValueView> id = filter->Find("_id");
  if (!id.has_value()) return false;
  if (!id->IsDocument()) return true;
  for (const auto [key, value] : id->entries()) {
    if (key == "$eq") return true;
    if (key == "$in" && value.IsArray() && value.size() <= 16) return true;
  }
  return false;
}

// True for filters that are compiled and told to be quick, or not, at once: some comparisons.
inline bool IsPlain(std::optional<ValueView> filter) {
  constexpr std::size_t kBytesMax = 512;
  if (!filter.has_value() || !filter->IsDocument() || filter->bytes().size() > kBytesMax)
    return false;
  for (const auto [key, value] : filter->entries()) {
    if (key.starts_with('$') || value.IsArray()) return false;
    if (!value.IsDocument()) continue;
    for (const auto [name, operand] : value.entries()) {
      if (name != "$eq" && name != "$gt" && name != "$gte" && name != "$lt" && name != "$lte")
        return false;
    }
  }
  return true;
}

template <class Engine>
bool Operations<Engine>::IsQuick(const Request& request) {
  const std::optional<ValueView> query = request.args.Find("query");
  if (!IsPlain(query) || request.args.Find("projection") || request.args.Find("hint") ||
      request.args.Find("read_timestamp")) {
    return false;
  }
  absl::StatusOr<Filter> filter = Filter::Compile(*query);
  if (!filter.ok()) return false;
  std::uint64_t wanted = std::numeric_limits<std::uint64_t>::max();
  if (request.operation == Operation::kFindManyCount) {
    wanted = 0;
  } else if (!request.args.Find("sort") && !request.args.Find("skip")) {
    const std::optional<ValueView> limit = request.args.Find("limit");
    const std::optional<std::int64_t> number = limit ? limit->ToInt64() : std::nullopt;
    if (request.operation == Operation::kFindOne) {
      wanted = 1;
    } else if (number && *number > 0) {
      wanted = static_cast<std::uint64_t>(*number);
    }
  }
  if (!known_->IsQuick(request.collection, *filter, wanted)) return false;
  compiled_ = *std::move(filter);
  compiled_bytes_ = query->bytes();
  return true;
}

template <class Engine>
bool Operations<Engine>::HasTurn(const Request& request) {
  if (known_ == nullptr) return true;
  const std::uint64_t writes = CountWrites(request);
  if (writes == 0 || known_name_ != DatabaseName(request)) return true;
  if (known_->is_crowded() && pauses_ < kPausesMax) [[unlikely]] {
    ++pauses_;
    turn_ = std::chrono::steady_clock::now() + kPause;
    return false;
  }
  if (!known_->write_rate().is_limited()) [[likely]]
    return true;
  if (reserved_ == 0) {
    reserved_ = writes;
    turn_ = known_->write_rate().Reserve(writes);
  }
  return turn_ <= std::chrono::steady_clock::now();
}

template <class Engine>
bool Operations<Engine>::IsLong(const Request& request) {
  if (known_ == nullptr || known_name_ != DatabaseName(request)) return true;
  // Writes may have to wait for a commit over several databases.
  if (known_->is_held() && CountWrites(request) != 0) return true;
  switch (request.operation) {
    case Operation::kInsertOne:
    case Operation::kFindById:
    case Operation::kReadTimestamp:
    case Operation::kTransactionFindById:
    case Operation::kTransactionInsertOne:
    case Operation::kTransactionRollback:
    case Operation::kCollectionExists:
      return false;
    case Operation::kBeginTransaction:
      return request.args.IsDocument() && request.args.Find("databases").has_value();
    case Operation::kInsertMany:
      return request.args.bytes().size() > kInlineInsertManyBytes;
    case Operation::kFindOne:
    case Operation::kFind:
    case Operation::kFindPaginated:
      return !IsById(request.args.Find("query")) && !IsQuick(request);
    case Operation::kFindManyStream:
    case Operation::kTransactionFindOne:
      return !IsById(request.args.Find("query"));
    case Operation::kUpdateOne:
    case Operation::kDeleteOne:
    case Operation::kUpsertOne:
    case Operation::kTransactionUpdateOne:
    case Operation::kTransactionDeleteOne:
      return !IsById(request.args.Find("filter"));
    case Operation::kCount:
      return request.args.size() != 0;
    case Operation::kFindManyCount: {
      const std::optional<ValueView> query = request.args.Find("query");
      return query.has_value() && query->size() != 0 && !IsById(query) && !IsQuick(request);
    }
    default:
      return true;
  }
}

template <class Engine>
absl::Status Operations<Engine>::Run(const Request& request, std::string* out,
                                     Commit<Database>* commit, bool nested) {
  switch (request.operation) {
    case Operation::kInsertOne:
      return InsertOne(request, out, commit);
    case Operation::kInsertMany:
      return InsertMany(request, out, commit);
    case Operation::kFindById:
      return FindById(request, out);
    case Operation::kFindOne:
      return FindOne(request, out);
    case Operation::kFind:
    case Operation::kFindPaginated:
      return FindMany(request, out);
    case Operation::kFindManyStream:
      return FindManyStream(request, out);
    case Operation::kAggregate:
      return Aggregate(request, out);
    case Operation::kAggregateStream:
      return AggregateStream(request, out);
    case Operation::kCount:
    case Operation::kFindManyCount:
      return Count(request, out);
    case Operation::kUpdateOne:
    case Operation::kUpdateMany:
    case Operation::kDeleteOne:
    case Operation::kDeleteMany:
      return Change(request, out, commit);
    case Operation::kUpsertOne:
    case Operation::kUpsertMany:
      return Upsert(request, out, commit);
    case Operation::kDrop:
    case Operation::kCreateCollection:
    case Operation::kCollectionExists:
    case Operation::kDatabaseExists:
    case Operation::kFlush:
    case Operation::kReadTimestamp:
      return Collections(request, out);
    case Operation::kStats:
      return Stats(request, out);
    case Operation::kCreateIndex:
    case Operation::kDropIndex:
    case Operation::kListIndexes:
    case Operation::kRebuildIndex:
      return Indexes(request, out);
    case Operation::kBackup:
      return Backup(request, out);
    case Operation::kBatch:
      if (nested) return absl::InvalidArgumentError("Batch: a batch may not contain another one");
      return Batch(request, out, commit);
    case Operation::kTransactionBatch:
      return TransactionBatch(request, out, commit);
    case Operation::kBeginTransaction:
    case Operation::kTransactionFindOne:
    case Operation::kTransactionFindById:
    case Operation::kTransactionInsertOne:
    case Operation::kTransactionUpdateOne:
    case Operation::kTransactionDeleteOne:
    case Operation::kTransactionCommit:
    case Operation::kTransactionRollback:
    case Operation::kTransactionFind:
    case Operation::kTransactionInsertMany:
    case Operation::kTransactionUpdateMany:
    case Operation::kTransactionDeleteMany:
    case Operation::kTransactionCount:
      return InTransaction(request, out, commit);
    case Operation::kChanges:
      return Changes(request, out);
    case Operation::kOpenSession:
    case Operation::kRequestOutcome:
      return Sessions(request, out, commit);
  }
  return absl::UnimplementedError("an operation that is not known here");
}

template <class Engine>
absl::Status Operations<Engine>::RunOnce(const Request& request, std::string* out,
                                         Commit<Database>* commit) {
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  const RequestName name(request);
  std::uint64_t timestamp = 0;
  ALOS_ASSIGN_OR_RETURN(const std::string result,
                        database->RunOnce(
                            *name.get(),
                            [&]() -> absl::StatusOr<std::string> {
                              std::string own;
                              Commit<Database> written;
                              ALOS_RETURN_IF_ERROR(Run(request, &own, &written, false));
                              ALOS_RETURN_IF_ERROR(Settle(&written));
                              return own;
                            },
                            &timestamp));
  out->append(result);
  *commit = {database, timestamp};
  return absl::OkStatus();
}

template <class Engine>
absl::StatusOr<typename Engine::Database*> Operations<Engine>::Find(const Request& request) {
  const std::string_view name = DatabaseName(request);
  if (known_ != nullptr && known_name_ == name) return known_;
  ALOS_ASSIGN_OR_RETURN(Database* const found, engine_->FindDatabase(name));
  if (found != nullptr) {
    known_ = found;
    known_name_ = std::string(name);
  }
  return found;
}

template <class Engine>
absl::StatusOr<typename Engine::Database*> Operations<Engine>::Make(std::string_view name) {
  if (known_ != nullptr && known_name_ == name) return known_;
  ALOS_ASSIGN_OR_RETURN(Database* const made, engine_->GetOrCreateDatabase(name));
  known_ = made;
  known_name_ = std::string(name);
  return made;
}

template <class Engine>
absl::Status Operations<Engine>::InsertOne(const Request& request, std::string* out,
                                           Commit<Database>* commit) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ValueView document = request.args;
  ALOS_RETURN_IF_ERROR(CheckDocument(document));
  if (document.size() == 1) {
    // The form of the first clients: {doc: {...}} and nothing else.
    const std::optional<ValueView> wrapped = document.Find("doc");
    if (wrapped.has_value() && wrapped->IsDocument()) document = *wrapped;
  }
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  const RequestName name(request);
  ALOS_ASSIGN_OR_RETURN(const auto inserted,
                        database->InsertOne(request.collection, document, name.get()));
  *commit = {database, inserted.commit_timestamp};
  out->append("\x81\xa2id", 4);
  out->append(inserted.id);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::InsertMany(const Request& request, std::string* out,
                                            Commit<Database>* commit) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> ids, arguments.OptionalStrings("ids"));
  ALOS_RETURN_IF_ERROR(arguments.Required("ids").status());
  ALOS_ASSIGN_OR_RETURN(const std::string_view blob, arguments.Binary("blob"));
  ALOS_ASSIGN_OR_RETURN(const ValueView offsets_array, arguments.Array("offsets"));
  const auto bad_offsets = [](auto... what) {
    return absl::InvalidArgumentError(absl::StrCat("InsertMany: field 'offsets' ", what...));
  };
  const std::size_t count = ids.size();
  if (offsets_array.size() != count && offsets_array.size() != count + 1) {
    return bad_offsets("has ", offsets_array.size(), " entries for ", count,
                       " documents: it must have as many, or one more (the length of 'blob')");
  }
  std::vector<std::size_t> offsets;
  offsets.reserve(count + 1);
  for (const ValueView element : offsets_array.elements()) {
    const std::optional<std::int64_t> offset = element.ToInt64();
    if (!offset.has_value() || *offset < 0 || static_cast<std::uint64_t>(*offset) > blob.size() ||
        (!offsets.empty() && static_cast<std::size_t>(*offset) < offsets.back())) {
      return bad_offsets("must hold ascending positions in 'blob' (0 to ", blob.size(), "); entry ",
                         offsets.size(), " is not one");
    }
    offsets.push_back(static_cast<std::size_t>(*offset));
  }
  if (offsets.size() == count) offsets.push_back(blob.size());
  if (offsets.back() != blob.size() || (count != 0 && offsets.front() != 0)) {
    return bad_offsets("must begin at 0 and end at the length of 'blob', ", blob.size());
  }

  std::vector<ValueView> documents;
  documents.reserve(count);
  std::deque<std::string> with_ids;  // documents that had no _id and got the one sent beside them
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = [i, count](const absl::Status& status) {
      return absl::Status(status.code(), absl::StrCat("InsertMany: document ", i + 1, " of ", count,
                                                      ": ", status.message()));
    };
    const absl::StatusOr<ValueView> document =
        ValueView::Parse(blob.substr(offsets[i], offsets[i + 1] - offsets[i]));
    if (!document.ok()) return at(absl::InvalidArgumentError(document.status().message()));
    if (const absl::Status status = CheckDocument(*document); !status.ok()) return at(status);
    documents.push_back(*document);
    if (ids[i].empty()) continue;
    const std::optional<ValueView> own = document->Find("_id");
    if (!own.has_value()) {
      std::string& bytes = with_ids.emplace_back();
      Builder builder(&bytes);
      builder.StartDocument(document->size() + 1).Key("_id").String(ids[i]);
      for (const auto [key, value] : document->entries()) builder.Key(key).Raw(value);
      builder.EndDocument();
      documents.back() = ValueView::FromTrusted(bytes);
    } else if (!own->IsString() || own->AsString() != ids[i]) {
      return at(absl::InvalidArgumentError(
          absl::StrCat("its _id is another than its entry in 'ids', '", ids[i], "'")));
    }
  }

  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  const RequestName name(request);
  const auto inserted = database->InsertMany(request.collection, documents, name.get());
  *commit = {database, inserted.commit_timestamp};
  if (!inserted.status.ok()) {
    return absl::Status(
        inserted.status.code(),
        absl::StrCat("InsertMany: document ", inserted.ids.size() + 1, " of ", count, ": ",
                     inserted.status.message(), "; the ", inserted.ids.size(),
                     " documents ahead of it were inserted, nothing behind it was"));
  }
  AppendIds(inserted.ids, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::FindById(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const std::string_view id, IdOf(arguments, &scratch_));
  ALOS_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> read_timestamp,
                        ReadTimestampArgument(arguments));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const std::size_t start = out->size();
  bool found = false;
  if (database != nullptr) {
    ALOS_ASSIGN_OR_RETURN(
        found, database->FindById(
                   request.collection, id,
                   [out](ValueView document) { out->append(document.bytes()); }, read_timestamp));
  }
  if (!found) out->push_back('\xc0');
  return CheckSize(request, start, *out);
}

template <class Engine>
absl::Status Operations<Engine>::CompileFind(const Request& request, const Arguments& arguments,
                                             FindArguments* find) {
  ALOS_ASSIGN_OR_RETURN(const ValueView query, arguments.Document("query"));
  ALOS_ASSIGN_OR_RETURN(find->filter, CompileFilter(request, request.collection, query));
  return ReadFindArguments(arguments, find);
}

template <class Engine>
template <class Explained>
absl::Status Operations<Engine>::AppendExplanation(absl::Duration compiling, Explained&& explained,
                                                   std::string* out) {
  Explain explain;
  explain.AddStage("compile", compiling);
  const absl::Time begin = absl::Now();
  ALOS_RETURN_IF_ERROR(explained(&explain));
  explain.AddStage("total", absl::Now() - begin);
  if (explain.plan.empty()) explain.plan = Explain::kPlanNothing;
  Builder builder(out);
  AppendExplain(explain, &builder);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::FindOne(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  const absl::Time begin = absl::Now();
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  FindArguments find;
  ALOS_RETURN_IF_ERROR(CompileFind(request, arguments, &find));
  find.limit = 1;
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const std::size_t start = out->size();
  bool found = false;
  absl::Status shown;
  const auto run = [&](Explain* explain) -> absl::Status {
    if (database == nullptr) return absl::OkStatus();
    return database->Find(request.collection, find.Query(explain), [&](ValueView document) {
      found = true;
      shown = find.Append(document, out);
      return false;
    });
  };
  if (find.query.explain) {
    return AppendExplanation(
        absl::Now() - begin,
        [&](Explain* explain) {
          const absl::Status status = run(explain);
          out->resize(start);
          return status;
        },
        out);
  }
  ALOS_RETURN_IF_ERROR(run(nullptr));
  ALOS_RETURN_IF_ERROR(shown);
  if (!found) out->push_back('\xc0');
  return CheckSize(request, start, *out);
}

template <class Engine>
absl::Status Operations<Engine>::FindMany(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  const absl::Time begin = absl::Now();
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  FindArguments find;
  ALOS_RETURN_IF_ERROR(CompileFind(request, arguments, &find));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  if (find.query.explain) {
    return AppendExplanation(
        absl::Now() - begin,
        [&](Explain* explain) {
          if (database == nullptr) return absl::OkStatus();
          return database->Find(request.collection, find.Query(explain),
                                [](ValueView) { return true; });
        },
        out);
  }
  const std::size_t start = StartArray(out);
  std::size_t count = 0;
  bool too_large = false;
  absl::Status shown;
  if (database != nullptr) {
    ALOS_RETURN_IF_ERROR(
        database->Find(request.collection, find.Query(nullptr), [&](ValueView document) {
          shown = find.Append(document, out);
          ++count;
          too_large = out->size() - start > limits_.result_bytes_max;
          return shown.ok() && !too_large;
        }));
  }
  ALOS_RETURN_IF_ERROR(shown);
  if (too_large) return TooLarge(request);
  EndArray(start, count, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::FindManyStream(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  const absl::Time begin = absl::Now();
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  FindArguments find;
  ALOS_RETURN_IF_ERROR(CompileFind(request, arguments, &find));
  // Here the limit is that of a batch.
  std::uint64_t batch = std::exchange(find.limit, 0);
  if (batch == 0) batch = limits_.stream_batch_documents;
  batch = std::min(batch, limits_.stream_batch_documents_max);
  ALOS_ASSIGN_OR_RETURN(const std::string_view cursor, arguments.OptionalBinary("cursor"));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  if (find.query.explain) {
    return AppendExplanation(
        absl::Now() - begin,
        [&](Explain* explain) {
          if (database == nullptr) return absl::OkStatus();
          return database->Find(request.collection, find.Query(explain),
                                [](ValueView) { return true; });
        },
        out);
  }
  if (find.sort || find.skip != 0) {
    return AppendBatch(
        request, database, find.query.read_timestamp, cursor, batch,
        [&](std::uint64_t snapshot, auto&& sink) -> absl::Status {
          if (database == nullptr) return absl::OkStatus();
          FindQuery query = find.Query(nullptr);
          query.read_timestamp = snapshot;
          std::string shown;
          absl::Status status;
          absl::Status found = database->Find(request.collection, query, [&](ValueView document) {
            shown.clear();
            status = find.Append(document, &shown);
            return status.ok() && sink(ValueView::FromTrusted(shown));
          });
          found.Update(status);
          return found;
        },
        out);
  }
  const std::size_t start = out->size();
  out->append(
      "\x81\xa4"
      "docs",
      6);
  const std::size_t array = StartArray(out);
  std::size_t count = 0;
  std::string next;
  absl::Status shown;
  if (database != nullptr) {
    if (!find.query.hint.empty())
      ALOS_RETURN_IF_ERROR(database->CheckHint(request.collection, find.query.hint));
    ALOS_ASSIGN_OR_RETURN(
        next, database->FindBatch(
                  request.collection, find.filter, cursor, static_cast<std::size_t>(batch),
                  [&](ValueView document) {
                    shown = find.Append(document, out);
                    ++count;
                    return shown.ok() && out->size() - start < limits_.stream_batch_bytes;
                  },
                  find.query.read_timestamp));
  }
  ALOS_RETURN_IF_ERROR(shown);
  EndArray(array, count, out);
  ALOS_RETURN_IF_ERROR(CheckSize(request, start, *out));
  if (!next.empty()) AppendCursor(next, start, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Aggregate(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  const absl::Time begin = absl::Now();
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView stages, arguments.Array("pipeline"));
  ALOS_ASSIGN_OR_RETURN(Pipeline pipeline, CompilePipeline(request, stages));
  ALOS_ASSIGN_OR_RETURN(const QueryArguments query, ReadQueryArguments(arguments));
  if (query.explain && pipeline.writes()) {
    // Nothing is written: what would be is found.
    std::string kept;
    Builder builder(&kept);
    builder.StartArray(stages.size() - 1);
    for (std::size_t i = 0; i + 1 < stages.size(); ++i) builder.Raw(*stages.At(i));
    builder.EndArray();
    ALOS_ASSIGN_OR_RETURN(pipeline, CompilePipeline(request, ValueView::FromTrusted(kept)));
  }
  ALOS_ASSIGN_OR_RETURN(Database* const database,
                        pipeline.writes() ? Make(request) : Find(request));
  if (database != nullptr && !query.hint.empty())
    ALOS_RETURN_IF_ERROR(database->CheckHint(request.collection, query.hint));
  const auto run = [&](auto&& sink, Explain* explain) {
    return database != nullptr
               ? database->Aggregate(request.collection, pipeline, sink, query.read_timestamp,
                                     explain, query.force_scan)
               : pipeline.Run([](auto&&) {}, sink);
  };
  if (query.explain) {
    return AppendExplanation(
        absl::Now() - begin,
        [&](Explain* explain) {
          std::uint64_t returned = 0;
          const absl::Status status = run(
              [&returned](ValueView) {
                ++returned;
                return true;
              },
              explain);
          explain->returned = returned;
          return status;
        },
        out);
  }
  const std::size_t start = StartArray(out);
  std::size_t count = 0;
  bool too_large = false;
  ALOS_RETURN_IF_ERROR(run(
      [&](ValueView document) {
        out->append(document.bytes());
        ++count;
        too_large = out->size() - start > limits_.result_bytes_max;
        return !too_large;
      },
      nullptr));
  if (too_large) return TooLarge(request);
  EndArray(start, count, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::AggregateStream(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const QueryArguments query, ReadQueryArguments(arguments));
  if (query.explain) return Aggregate(request, out);
  ALOS_ASSIGN_OR_RETURN(const ValueView stages, arguments.Array("pipeline"));
  ALOS_ASSIGN_OR_RETURN(const Pipeline pipeline, CompilePipeline(request, stages));
  ALOS_ASSIGN_OR_RETURN(std::uint64_t batch, arguments.OptionalCount("batch_size"));
  if (batch == 0) batch = limits_.stream_batch_documents;
  batch = std::min(batch, limits_.stream_batch_documents_max);
  ALOS_ASSIGN_OR_RETURN(const std::string_view cursor, arguments.OptionalBinary("cursor"));
  ALOS_ASSIGN_OR_RETURN(Database* const database,
                        pipeline.writes() ? Make(request) : Find(request));
  if (database != nullptr && !query.hint.empty())
    ALOS_RETURN_IF_ERROR(database->CheckHint(request.collection, query.hint));
  return AppendBatch(
      request, database, query.read_timestamp, cursor, batch,
      [&](std::uint64_t snapshot, auto&& sink) {
        return database != nullptr ? database->Aggregate(request.collection, pipeline, sink,
                                                         snapshot, nullptr, query.force_scan)
                                   : pipeline.Run([](auto&&) {}, sink);
      },
      out);
}

// The result is kept from the first batch on, up to a limit. What is not there any more, or never
// was, is found again in the first batch's snapshot: then what was seen is stepped over.
template <class Engine>
template <class RunResult>
absl::Status Operations<Engine>::AppendBatch(const Request& request, Database* database,
                                             std::optional<std::uint64_t> read_timestamp,
                                             std::string_view cursor, std::uint64_t batch,
                                             RunResult&& run, std::string* out) {
  // Of the first batch; those of the others are leased.
  SnapshotRegistry::Pin pin;
  if (database != nullptr) pin = database->PinNewest();
  std::uint64_t snapshot = pin.timestamp();
  if (database != nullptr && read_timestamp && cursor.empty()) {
    ALOS_ASSIGN_OR_RETURN(pin, database->PinSnapshot(*read_timestamp));
    snapshot = *read_timestamp;
  }
  std::uint64_t seen = 0;
  std::uint64_t kept_id = 0;
  std::shared_ptr<const KeptResults> kept;
  if (!cursor.empty()) {
    if (cursor.size() != kResultCursorBytes || cursor.substr(0, 4) != kResultCursorMark ||
        database == nullptr || net_internal::LoadBigEndian64(cursor.data() + 4) > snapshot) {
      return absl::InvalidArgumentError(
          absl::StrCat(OperationName(request.operation),
                       ": field 'cursor' is not a cursor of this database; pass back what the "
                       "last batch returned, unchanged"));
    }
    snapshot = net_internal::LoadBigEndian64(cursor.data() + 4);
    seen = net_internal::LoadBigEndian64(cursor.data() + 12);
    kept_id = net_internal::LoadBigEndian64(cursor.data() + 20);
    kept = results_->Find(kept_id);
    if (kept != nullptr && (kept->database != database || kept->collection != request.collection ||
                            !kept->Has(seen))) {
      kept = nullptr;
    }
  }
  const std::size_t start = out->size();
  out->append(
      "\x81\xa4"
      "docs",
      6);
  const std::size_t array = StartArray(out);
  std::uint64_t count = 0;
  const auto fits = [&] {
    return count != batch && out->size() - start < limits_.stream_batch_bytes;
  };
  bool more = false;
  if (kept != nullptr) {
    for (; kept->Has(seen + count) && fits(); ++count) out->append(kept->At(seen + count));
    more = kept->Has(seen + count) || !kept->is_last;
    if (!kept->Has(seen + count)) results_->Remove(kept_id);
  } else {
    auto rest = std::make_shared<KeptResults>();
    rest->database = database;
    rest->collection = std::string(request.collection);
    rest->is_last = true;
    std::uint64_t position = 0;
    const auto sink = [&](ValueView document) {
      if (position++ < seen) return true;
      const std::string_view bytes = document.bytes();
      if (!more && fits()) {
        out->append(bytes);
        ++count;
        return true;
      }
      more = true;
      if (rest->size_bytes() + bytes.size() > limits_.kept_result_bytes_max) {
        rest->is_last = false;
        return false;
      }
      rest->Add(bytes);
      return true;
    };
    ALOS_RETURN_IF_ERROR(run(snapshot, sink));
    rest->first = seen + count;
    kept_id = more && !rest->ends.empty() ? results_->Add(std::move(rest)) : 0;
  }
  EndArray(array, count, out);
  ALOS_RETURN_IF_ERROR(CheckSize(request, start, *out));
  if (more) {
    ALOS_RETURN_IF_ERROR(database->LeaseSnapshot(snapshot, ResultTable::kIdleMax));
    std::string next(kResultCursorMark);
    next.resize(kResultCursorBytes);
    net_internal::StoreBigEndian64(snapshot, next.data() + 4);
    net_internal::StoreBigEndian64(seen + count, next.data() + 12);
    net_internal::StoreBigEndian64(kept_id, next.data() + 20);
    AppendCursor(next, start, out);
  }
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Count(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  const absl::Time begin = absl::Now();
  const bool many = request.operation == Operation::kFindManyCount;
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  std::optional<ValueView> query;
  if (many || arguments.value().Find("query").has_value()) {
    ALOS_ASSIGN_OR_RETURN(query, arguments.Document("query"));
  } else if (arguments.value().Find("filter").has_value()) {
    ALOS_ASSIGN_OR_RETURN(query, arguments.Document("filter"));
  }
  Filter filter;
  if (query.has_value()) {
    ALOS_ASSIGN_OR_RETURN(filter, CompileFilter(request, request.collection, *query));
  }
  ALOS_ASSIGN_OR_RETURN(const QueryArguments options, ReadQueryArguments(arguments));
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t skip, arguments.OptionalCount("skip"));
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t limit, arguments.OptionalCount("limit"));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  std::uint64_t count = 0;
  const auto run = [&](Explain* explain) -> absl::Status {
    if (database == nullptr) return absl::OkStatus();
    if (options.force_scan) {
      FindQuery scan;
      scan.filter = &filter;
      scan.force_scan = true;
      scan.explain = explain;
      scan.read_timestamp = options.read_timestamp;
      ALOS_RETURN_IF_ERROR(database->Find(request.collection, scan, [&](ValueView) {
        ++count;
        return true;
      }));
    } else {
      if (!options.hint.empty())
        ALOS_RETURN_IF_ERROR(database->CheckHint(request.collection, options.hint));
      ALOS_ASSIGN_OR_RETURN(
          count, database->Count(request.collection, filter, explain, options.read_timestamp));
    }
    if (explain != nullptr) explain->returned = count;
    return absl::OkStatus();
  };
  if (options.explain) return AppendExplanation(absl::Now() - begin, run, out);
  ALOS_RETURN_IF_ERROR(run(nullptr));
  count -= std::min(count, skip);
  if (limit != 0) count = std::min(count, limit);
  AppendNumbers(many ? "n" : "count", count, "", 0, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Change(const Request& request, std::string* out,
                                        Commit<Database>* commit) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  const absl::Time begin = absl::Now();
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView filter_value, arguments.Document("filter"));
  ALOS_ASSIGN_OR_RETURN(const Filter filter,
                        CompileFilter(request, request.collection, filter_value));
  const bool one =
      request.operation == Operation::kUpdateOne || request.operation == Operation::kDeleteOne;
  const bool deletes =
      request.operation == Operation::kDeleteOne || request.operation == Operation::kDeleteMany;
  ALOS_ASSIGN_OR_RETURN(const QueryArguments options, ReadQueryArguments(arguments));
  if (options.explain || !options.hint.empty()) {
    if (!deletes) ALOS_RETURN_IF_ERROR(CompileUpdate(arguments).status());
    ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
    if (database != nullptr && !options.hint.empty())
      ALOS_RETURN_IF_ERROR(database->CheckHint(request.collection, options.hint));
    if (options.explain) {
      // Nothing is changed: what would be is found.
      return AppendExplanation(
          absl::Now() - begin,
          [&](Explain* explain) {
            if (database == nullptr) return absl::OkStatus();
            if (!one && !options.force_scan)
              return database->ExplainMatches(request.collection, filter, explain);
            FindQuery find;
            find.filter = &filter;
            find.limit = one ? 1 : 0;
            find.force_scan = options.force_scan;
            find.explain = explain;
            return database->Find(request.collection, find, [](ValueView) { return true; });
          },
          out);
    }
  }
  const RequestName name(request);
  if (deletes) {
    ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
    std::uint64_t deleted = 0;
    if (database != nullptr) {
      ALOS_ASSIGN_OR_RETURN(const auto result,
                            one ? database->DeleteOne(request.collection, filter, name.get())
                                : database->DeleteMany(request.collection, filter, name.get()));
      *commit = {database, result.commit_timestamp};
      deleted = result.deleted;
    }
    AppendNumbers("count", deleted, "deleted", deleted, out);
    return absl::OkStatus();
  }
  ALOS_ASSIGN_OR_RETURN(const Update update, CompileUpdate(arguments));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  std::uint64_t matched = 0;
  if (database != nullptr) {
    ALOS_ASSIGN_OR_RETURN(
        const auto result,
        one ? database->UpdateOne(request.collection, filter, update, name.get())
            : database->UpdateMany(request.collection, filter, update, name.get()));
    *commit = {database, result.commit_timestamp};
    matched = result.matched;
  }
  AppendNumbers("count", matched, "updated", matched, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Upsert(const Request& request, std::string* out,
                                        Commit<Database>* commit) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView filter_value, arguments.Document("filter"));
  ALOS_ASSIGN_OR_RETURN(const Filter filter,
                        CompileFilter(request, request.collection, filter_value));
  ALOS_ASSIGN_OR_RETURN(const Update update, CompileUpdate(arguments));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  const RequestName name(request);
  const bool one = request.operation == Operation::kUpsertOne;
  ALOS_ASSIGN_OR_RETURN(const auto result,
                        one ? database->UpsertOne(request.collection, filter, update, name.get())
                            : database->UpsertMany(request.collection, filter, update, name.get()));
  *commit = {database, result.commit_timestamp};
  const bool inserted = result.inserted_id.has_value();
  if (!one) {
    AppendNumbers("matched", result.matched, "inserted", inserted ? 1 : 0, out);
    return absl::OkStatus();
  }
  Builder builder(out);
  builder.StartDocument(inserted ? 2 : 1).Key("inserted").Bool(inserted);
  if (inserted) builder.Key("id").Raw(ValueView::FromTrusted(*result.inserted_id));
  builder.EndDocument();
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Collections(const Request& request, std::string* out) {
  switch (request.operation) {
    case Operation::kDrop: {
      ALOS_RETURN_IF_ERROR(NeedCollection(request));
      ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
      if (database != nullptr) ALOS_RETURN_IF_ERROR(database->Drop(request.collection));
      break;
    }
    case Operation::kFlush: {
      ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
      if (database != nullptr) ALOS_RETURN_IF_ERROR(database->Flush());
      break;
    }
    case Operation::kReadTimestamp: {
      ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
      std::uint64_t timestamp = 0;
      if (database != nullptr) {
        timestamp = database->ReadTimestamp();
        if (request.args.IsDocument() && request.args.Find("seconds_ago")) {
          ALOS_ASSIGN_OR_RETURN(const Arguments arguments,
                                Arguments::Of(request.operation, request.args));
          ALOS_ASSIGN_OR_RETURN(const std::uint64_t seconds,
                                arguments.OptionalCount("seconds_ago"));
          ALOS_ASSIGN_OR_RETURN(timestamp,
                                database->TimestampAt(absl::Now() - absl::Seconds(seconds)));
        }
      }
      AppendNumbers("ts", timestamp, "", 0, out);
      return absl::OkStatus();
    }
    default: {
      ALOS_ASSIGN_OR_RETURN(const Arguments arguments,
                            Arguments::Of(request.operation, request.args));
      ALOS_ASSIGN_OR_RETURN(const std::string_view name, arguments.String("name"));
      if (name.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat(OperationName(request.operation), ": field 'name' must not be empty"));
      }
      if (request.operation == Operation::kCreateCollection) {
        ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
        ALOS_RETURN_IF_ERROR(database->CreateCollection(name));
        break;
      }
      bool exists = false;
      if (request.operation == Operation::kDatabaseExists) {
        ALOS_ASSIGN_OR_RETURN(Database* const database, engine_->FindDatabase(name));
        exists = database != nullptr;
      } else {
        ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
        if (database != nullptr) {
          ALOS_ASSIGN_OR_RETURN(exists, database->CollectionExists(name));
        }
      }
      Builder(out).StartDocument(1).Key("exists").Bool(exists).EndDocument();
      return absl::OkStatus();
    }
  }
  out->push_back('\x80');
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Stats(const Request& request, std::string* out) {
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const std::string stats = database == nullptr ? std::string("\x80", 1) : database->Stats();
  const ValueView view = ValueView::FromTrusted(stats);
  Builder builder(out);
  builder.StartDocument();
  for (const auto [key, value] : view.entries()) {
    if (key != "connections") builder.Key(key).Raw(value);
  }
  builder.Key("connections").StartDocument(kNetCounterCount + 2);
  for (std::size_t i = 0; i < kNetCounterCount; ++i) {
    const auto counter = static_cast<NetCounter>(i);
    builder.Key(NetCounterName(counter)).Uint(counters_->Get(counter));
  }
  builder.Key("connections_open")
      .Uint(counters_->Get(NetCounter::kConnectionsAccepted) -
            counters_->Get(NetCounter::kConnectionsClosed));
  builder.Key("transactions_open").Uint(transactions_->size());
  builder.EndDocument();
  builder.Key("queues").StartDocument();
  const auto put = [&](const QueueStatistics& queue) {
    builder.Key(queue.name).StartDocument(4);
    builder.Key("depth").Uint(queue.depth);
    builder.Key("bound").Uint(queue.bound);
    builder.Key("high_water").Uint(queue.high_water);
    builder.Key("warnings").Uint(queue.warnings);
    builder.EndDocument();
  };
  put(counters_->connections().statistics());
  put(counters_->work().statistics());
  put(counters_->buffers().statistics());
  for (const QueueStatistics& queue : engine_->queues()) put(queue);
  if (database != nullptr) {
    for (const QueueStatistics& queue : database->queues()) put(queue);
  }
  builder.EndDocument().EndDocument();
  return absl::OkStatus();
}

// A backup is read through one connection: 'begin' fixes the state that 'read', 'checksums' and
// 'verify' look at until 'end', another 'begin', or the end of the connection.
template <class Engine>
absl::Status Operations<Engine>::Backup(const Request& request, std::string* out) {
  constexpr std::uint64_t kReadBytesMax = std::uint64_t{8} << 20;
  constexpr std::uint64_t kChunkBytesMin = 4096;
  constexpr std::uint64_t kStepBytes = std::uint64_t{64} << 20;
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const std::string_view what, arguments.String("do"));
  Builder builder(out);
  if (what == "list") {
    ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names, engine_->ListDatabases());
    builder.StartDocument(2).Key("default").String(default_database_);
    builder.Key("databases").StartArray(names.size());
    for (const std::string& name : names) builder.String(name);
    builder.EndArray().EndDocument();
    return absl::OkStatus();
  }
  if (what == "begin") {
    backup_.reset();
    ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
    if (database == nullptr)
      return absl::NotFoundError(absl::StrCat("there is no database ", DatabaseName(request)));
    ALOS_ASSIGN_OR_RETURN(backup_, database->BeginBackup());
    backup_database_ = database;
    builder.StartDocument(3).Key("timestamp").Uint(backup_->timestamp);
    builder.Key("manifest").Binary(backup_->manifest);
    builder.Key("logs").StartArray(backup_->logs.size());
    for (const BackupState::Log& log : backup_->logs) {
      builder.StartDocument(3).Key("shard").Uint(log.shard);
      builder.Key("generation").Uint(log.generation);
      builder.Key("size").Uint(log.size).EndDocument();
    }
    builder.EndArray().EndDocument();
    return absl::OkStatus();
  }
  if (what == "end") {
    backup_.reset();
    out->push_back('\x80');
    return absl::OkStatus();
  }
  if (what != "read" && what != "checksums" && what != "verify")
    return arguments.Wrong("do", "must be list, begin, read, checksums, verify or end");
  if (!backup_) {
    return absl::FailedPreconditionError(
        "Backup: this connection has not begun a backup (was it lost meanwhile?)");
  }
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t shard, arguments.OptionalCount("shard"));
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t offset, arguments.OptionalCount("offset"));
  const auto log = std::find_if(backup_->logs.begin(), backup_->logs.end(),
                                [&](const BackupState::Log& one) { return one.shard == shard; });
  if (log == backup_->logs.end()) return arguments.Wrong("shard", "is none of the backup's logs");
  if (offset > log->size) return arguments.Wrong("offset", "is behind the end of the log");
  const std::uint64_t left = log->size - offset;
  if (what == "read") {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t bytes, arguments.OptionalCount("bytes"));
    std::string data;
    ALOS_RETURN_IF_ERROR(backup_database_->ReadLog(log->shard, offset,
                                                   std::min({bytes, left, kReadBytesMax}), &data));
    builder.StartDocument(1).Key("data").Binary(data).EndDocument();
    return absl::OkStatus();
  }
  if (what == "checksums") {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t chunk, arguments.OptionalCount("chunk"));
    if (chunk < kChunkBytesMin || chunk > kReadBytesMax) {
      return arguments.Wrong("chunk",
                             absl::StrCat("must be ", kChunkBytesMin, " to ", kReadBytesMax));
    }
    std::string checksums;
    std::string data;
    const std::uint64_t end = offset + std::min(left, std::max(chunk, kStepBytes / chunk * chunk));
    for (std::uint64_t at = offset; at < end; at += chunk) {
      data.clear();
      ALOS_RETURN_IF_ERROR(
          backup_database_->ReadLog(log->shard, at, std::min(chunk, end - at), &data));
      const std::uint32_t checksum = Crc32c(data);
      checksums.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
    }
    builder.StartDocument(1).Key("checksums").Binary(checksums).EndDocument();
    return absl::OkStatus();
  }
  struct Damaged {
    std::uint64_t offset;
    std::uint64_t bytes;
    std::string document;
  };
  std::vector<Damaged> damaged;
  const std::uint64_t next = backup_database_->VerifyLog(
      log->shard, offset, log->size, kStepBytes,
      [&](std::uint64_t at, std::uint64_t bytes, const std::string& document) {
        damaged.push_back({at, bytes, document});
      });
  builder.StartDocument(2).Key("next").Uint(std::min(next, log->size));
  builder.Key("damaged").StartArray(damaged.size());
  for (const Damaged& one : damaged) {
    builder.StartDocument(3).Key("offset").Uint(one.offset).Key("bytes").Uint(one.bytes);
    builder.Key("document").String(one.document).EndDocument();
  }
  builder.EndArray().EndDocument();
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Indexes(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  if (request.operation == Operation::kListIndexes) return ListIndexes(request, out);
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  if (request.operation == Operation::kCreateIndex) return CreateIndex(request, arguments, out);
  // By its field, its fields, or its name, which is the fields joined by commas.
  std::string name;
  if (const std::optional<ValueView> fields = arguments.Optional("fields");
      fields && fields->IsArray() && fields->size() != 0) {
    ALOS_ASSIGN_OR_RETURN(const IndexDefinition index, ReadIndexDefinition(arguments));
    name = index.name();
  } else {
    ALOS_ASSIGN_OR_RETURN(const std::string_view given, arguments.Optional("name")
                                                            ? arguments.String("name")
                                                            : arguments.String("field"));
    name = std::string(given);
  }
  const bool drops = request.operation == Operation::kDropIndex;
  if (name == "_id" || name == "_id_") {
    if (drops) {
      return absl::InvalidArgumentError(
          "DropIndex: the primary index on field '_id' cannot be dropped");
    }
    return absl::UnimplementedError(
        "RebuildIndex: the primary index on field '_id' is rebuilt from the documents when the "
        "server starts without its file; rebuilding it while the server runs is not supported");
  }
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const absl::Status done = database == nullptr ? absl::NotFoundError("there is no such database")
                            : drops             ? database->DropIndex(request.collection, name)
                                                : database->RebuildIndex(request.collection, name);
  if (absl::IsNotFound(done)) {
    return absl::NotFoundError(absl::StrCat(OperationName(request.operation), ": collection '",
                                            request.collection, "' has no index on field '", name,
                                            "'; ListIndexes tells which there are"));
  }
  ALOS_RETURN_IF_ERROR(done);
  out->push_back('\x80');
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::CreateIndex(const Request& request, const Arguments& arguments,
                                             std::string* out) {
  ALOS_ASSIGN_OR_RETURN(const IndexDefinition index, ReadIndexDefinition(arguments));
  ALOS_ASSIGN_OR_RETURN(TypeCheck check, TypeCheck::Of(index));
  if (index.paths.size() == 1 && index.paths[0] == "_id") {
    return absl::InvalidArgumentError(
        "CreateIndex: the field '_id' has an index: every collection has a primary one");
  }
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  ALOS_RETURN_IF_ERROR(database->CreateIndex(request.collection, index));
  if (check.needs_documents()) {
    ALOS_RETURN_IF_ERROR(database->Find(request.collection, FindQuery(), [&](ValueView document) {
      check.Add(document);
      return true;
    }));
  } else {
    // Any type is right: the indexes know how many documents have the fields.
    std::string condition;
    Builder builder(&condition);
    builder.StartDocument();
    for (const std::string& path : index.paths)
      builder.Key(path).StartDocument(1).Key("$exists").Bool(true).EndDocument();
    builder.EndDocument();
    ALOS_ASSIGN_OR_RETURN(const Filter filter, Filter::Compile(ValueView::FromTrusted(condition)));
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t count, database->Count(request.collection, filter));
    check.set_indexed(count);
  }
  Builder builder(out);
  check.Append(&builder);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::ListIndexes(const Request& request, std::string* out) {
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  bool exists = false;
  if (database != nullptr) {
    ALOS_ASSIGN_OR_RETURN(exists, database->CollectionExists(request.collection));
  }
  Builder builder(out);
  builder.StartArray();
  if (exists) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t documents,
                          database->Count(request.collection, Filter()));
    builder.StartDocument(5);
    builder.Key("name").String("_id_");
    builder.Key("field").String("_id");
    builder.Key("type").String("primary");
    builder.Key("unique").Bool(true);
    builder.Key("documents").Uint(documents);
    builder.EndDocument();
    ALOS_RETURN_IF_ERROR(database->ListIndexes(request.collection, [&](ValueView listed) {
      const std::optional<ValueView> definition = listed.Find("definition");
      const std::optional<IndexDefinition> index =
          definition ? ParseIndexDefinition(*definition) : std::nullopt;
      if (index) AppendIndex(*index, listed, &builder);
    }));
  }
  builder.EndArray();
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Batch(const Request& request, std::string* out,
                                       Commit<Database>* commit) {
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView members, arguments.Array("requests"));
  if (members.size() > limits_.batch_requests_max) {
    return absl::InvalidArgumentError(absl::StrCat("Batch: field 'requests' has ", members.size(),
                                                   " requests; the limit is ",
                                                   limits_.batch_requests_max));
  }
  const std::size_t start = out->size();
  Builder(out).StartDocument(0);
  out->resize(start);
  out->append(
      "\x82\xa8"
      "is_batch\xc3\xa9"
      "responses",
      21);
  const std::size_t array = StartArray(out);
  for (const ValueView value : members.elements()) {
    Request member;
    absl::Status status = ReadRequest(value, &member);
    if (member.database.empty()) member.database = request.database;
    const std::size_t member_start = out->size();
    AppendResultHeader(member.id, out);
    Commit<Database> member_commit;
    if (status.ok()) {
      // A member sees what the members before it wrote.
      if (!IsInsert(member)) ALOS_RETURN_IF_ERROR(Settle(commit));
      status = Run(member, out, &member_commit, /*nested=*/true);
    }
    if (member_commit.joint != nullptr) {
      // A batch is carried out by a worker, which may wait.
      absl::Notification done;
      absl::Status committed;
      member_commit.joint->start([&](absl::Status result) {
        committed = std::move(result);
        done.Notify();
      });
      done.WaitForNotification();
      status = member_commit.joint->finish(committed, out);
    }
    if (member_commit.timestamp != 0) {
      if (commit->timestamp != 0 && commit->database != member_commit.database) {
        ALOS_RETURN_IF_ERROR(Settle(commit));
      }
      commit->timestamp = std::max(member_commit.timestamp, commit->timestamp);
      commit->database = member_commit.database;
    }
    if (!status.ok()) {
      out->resize(member_start);
      AppendErrorResponse(member.id, status, out);
    }
    ALOS_RETURN_IF_ERROR(CheckSize(request, start, *out));
  }
  EndArray(array, members.size(), out);
  return absl::OkStatus();
}

// `isolation`: "snapshot", the default, or "serializable".
template <class Engine>
absl::StatusOr<TransactionOptions> Operations<Engine>::ReadTransactionOptions(
    const Arguments& arguments) {
  TransactionOptions options;
  ALOS_ASSIGN_OR_RETURN(const std::string_view isolation, arguments.OptionalString("isolation"));
  if (isolation == "serializable") {
    options.isolation = Isolation::kSerializable;
  } else if (!isolation.empty() && isolation != "snapshot") {
    return arguments.Wrong("isolation", "must be \"snapshot\" or \"serializable\"");
  }
  return options;
}

// Positions are 20 bytes: a mark, the timestamp, the index.
template <class Engine>
absl::Status Operations<Engine>::Changes(const Request& request, std::string* out) {
  constexpr std::string_view kMark = "chg1";
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ChangesQuery query;
  ALOS_ASSIGN_OR_RETURN(query.collections, arguments.OptionalStrings("collections"));
  if (!request.collection.empty()) query.collections.emplace_back(request.collection);
  ALOS_ASSIGN_OR_RETURN(query.changes_max, arguments.OptionalCount("limit"));
  if (query.changes_max == 0) query.changes_max = limits_.stream_batch_documents;
  query.changes_max = std::min(query.changes_max, limits_.stream_batch_documents_max);
  ALOS_ASSIGN_OR_RETURN(const std::string_view cursor, arguments.OptionalBinary("cursor"));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  if (!cursor.empty()) {
    if (cursor.size() != kMark.size() + 16 || cursor.substr(0, kMark.size()) != kMark)
      return arguments.Wrong("cursor", "must be what the last answer had");
    query.position = {net_internal::LoadBigEndian64(cursor.data() + 4),
                      net_internal::LoadBigEndian64(cursor.data() + 12)};
  } else if (arguments.Optional("from")) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t from, arguments.OptionalCount("from"));
    query.position = ChangePosition::After(from);
  } else {
    query.position = ChangePosition::After(database->ReadTimestamp());
  }
  const auto position_of = [&](const ChangePosition& position) {
    std::string bytes(kMark);
    bytes.resize(kMark.size() + 16);
    net_internal::StoreBigEndian64(position.timestamp, bytes.data() + 4);
    net_internal::StoreBigEndian64(position.index, bytes.data() + 12);
    return bytes;
  };
  const std::size_t start = out->size();
  out->append(
      "\x82\xa7"
      "changes",
      9);
  const std::size_t array = StartArray(out);
  std::size_t count = 0;
  ALOS_ASSIGN_OR_RETURN(const ChangePosition next,
                        database->ReadChanges(query, [&](const alos::Change& change) {
                          Builder one(out);
                          one.StartDocument(5U + !change.id.empty() + change.before.has_value() +
                                            change.after.has_value());
                          one.Key("op").String(NameOf(change.kind));
                          one.Key("collection").String(change.collection);
                          if (!change.id.empty())
                            one.Key("id").Raw(ValueView::FromTrusted(change.id));
                          if (change.before) one.Key("before").Raw(*change.before);
                          if (change.after) one.Key("after").Raw(*change.after);
                          one.Key("ts").Uint(change.timestamp);
                          one.Key("last").Bool(change.is_last);
                          one.Key("next").Binary(position_of(change.next));
                          one.EndDocument();
                          ++count;
                          return out->size() - start < limits_.stream_batch_bytes;
                        }));
  EndArray(array, count, out);
  out->append(
      "\xa6"
      "cursor",
      7);
  Builder(out).Binary(position_of(next));
  // One change has two documents, each of which may come alone.
  return CheckSize(request, start, *out);
}

template <class Engine>
absl::Status Operations<Engine>::Sessions(const Request& request, std::string* out,
                                          Commit<Database>* commit) {
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  Builder builder(out);
  if (request.operation == Operation::kOpenSession) {
    ALOS_ASSIGN_OR_RETURN(const RequestId session, database->OpenSession());
    builder.StartDocument(3).Key("slot").Uint(session.slot);
    builder.Key("key").Binary({session.key.data(), session.key.size()});
    builder.Key("seconds").Uint(
        static_cast<std::uint64_t>(absl::ToInt64Seconds(engine_->options().request_window)));
    builder.EndDocument();
    return absl::OkStatus();
  }
  const RequestName name(request);
  if (name.get() == nullptr) {
    return absl::InvalidArgumentError(
        "RequestOutcome: field 'rid' of the request is missing: it says which request is meant");
  }
  bool settle = false;
  if (request.args.IsDocument()) {
    ALOS_ASSIGN_OR_RETURN(const Arguments arguments,
                          Arguments::Of(request.operation, request.args));
    ALOS_ASSIGN_OR_RETURN(settle, arguments.OptionalBool("settle"));
  }
  ALOS_ASSIGN_OR_RETURN(const RequestOutcome outcome, settle ? database->SettleRequest(*name.get())
                                                             : database->FindRequest(*name.get()));
  *commit = {database, outcome.commit_timestamp};
  constexpr std::string_view kStates[] = {"none", "running", "done", "interrupted"};
  builder.StartDocument();
  builder.Key("state").String(kStates[static_cast<std::size_t>(outcome.state)]);
  builder.Key("matched").Uint(outcome.matched);
  builder.Key("changed").Uint(outcome.changed);
  if (outcome.inserted_id) builder.Key("id").Raw(ValueView::FromTrusted(*outcome.inserted_id));
  if (!outcome.status.ok()) builder.Key("error").String(outcome.status.ToString());
  builder.EndDocument();
  return absl::OkStatus();
}

// An operation inside a transaction: that of the same name outside, with its arguments.
template <class Engine>
absl::Status Operations<Engine>::RunInTransaction(const Request& request, Operation operation,
                                                  std::string_view collection,
                                                  const Arguments& arguments,
                                                  Transaction* transaction, std::string* out) {
  const std::size_t start = out->size();
  const auto append = [out](ValueView document) { out->append(document.bytes()); };
  const auto filter_of = [&](std::string_view field) -> absl::StatusOr<Filter> {
    ALOS_ASSIGN_OR_RETURN(const ValueView value, arguments.Document(field));
    return CompileFilter(request, collection, value);
  };
  switch (operation) {
    case Operation::kFindById: {
      ALOS_ASSIGN_OR_RETURN(const std::string_view id, IdOf(arguments, &scratch_));
      ALOS_ASSIGN_OR_RETURN(const bool found, transaction->FindById(collection, id, append));
      if (!found) out->push_back('\xc0');
      return CheckSize(request, start, *out);
    }
    case Operation::kFindOne:
    case Operation::kFind: {
      FindArguments find;
      ALOS_ASSIGN_OR_RETURN(find.filter, filter_of("query"));
      ALOS_RETURN_IF_ERROR(ReadFindArguments(arguments, &find));
      if (find.query.read_timestamp)
        return arguments.Wrong("read_timestamp", "cannot be given: the transaction has its own");
      const bool one = operation == Operation::kFindOne;
      if (one) find.limit = 1;
      const std::size_t array = one ? 0 : StartArray(out);
      std::size_t count = 0;
      bool too_large = false;
      absl::Status shown;
      ALOS_RETURN_IF_ERROR(
          transaction->Find(collection, find.Query(nullptr), [&](ValueView document) {
            shown = find.Append(document, out);
            ++count;
            too_large = out->size() - start > limits_.result_bytes_max;
            return shown.ok() && !too_large;
          }));
      ALOS_RETURN_IF_ERROR(shown);
      if (too_large) return TooLarge(request);
      if (!one) EndArray(array, count, out);
      if (one && count == 0) out->push_back('\xc0');
      return absl::OkStatus();
    }
    case Operation::kCount: {
      Filter filter;
      if (arguments.Optional("query")) {
        ALOS_ASSIGN_OR_RETURN(filter, filter_of("query"));
      }
      ALOS_ASSIGN_OR_RETURN(const std::uint64_t count, transaction->Count(collection, filter));
      AppendNumbers("count", count, "", 0, out);
      return absl::OkStatus();
    }
    case Operation::kInsertOne: {
      ALOS_ASSIGN_OR_RETURN(const ValueView document, arguments.Document("doc"));
      ALOS_RETURN_IF_ERROR(CheckDocument(document));
      ALOS_ASSIGN_OR_RETURN(const auto inserted, transaction->InsertOne(collection, document));
      Builder(out)
          .StartDocument(1)
          .Key("id")
          .Raw(ValueView::FromTrusted(inserted.id))
          .EndDocument();
      return absl::OkStatus();
    }
    case Operation::kInsertMany: {
      ALOS_ASSIGN_OR_RETURN(const ValueView array, arguments.Array("docs"));
      std::vector<ValueView> documents;
      documents.reserve(array.size());
      for (const ValueView document : array.elements()) {
        ALOS_RETURN_IF_ERROR(CheckDocument(document));
        documents.push_back(document);
      }
      const auto inserted = transaction->InsertMany(collection, documents);
      ALOS_RETURN_IF_ERROR(inserted.status);
      AppendIds(inserted.ids, out);
      return absl::OkStatus();
    }
    case Operation::kUpdateOne:
    case Operation::kUpdateMany: {
      ALOS_ASSIGN_OR_RETURN(const Filter filter, filter_of("filter"));
      ALOS_ASSIGN_OR_RETURN(const Update update, CompileUpdate(arguments));
      ALOS_ASSIGN_OR_RETURN(const auto result,
                            operation == Operation::kUpdateOne
                                ? transaction->UpdateOne(collection, filter, update)
                                : transaction->UpdateMany(collection, filter, update));
      AppendNumbers("count", result.matched, "", 0, out);
      return absl::OkStatus();
    }
    default: {
      ALOS_ASSIGN_OR_RETURN(const Filter filter, filter_of("filter"));
      ALOS_ASSIGN_OR_RETURN(const auto result, operation == Operation::kDeleteOne
                                                   ? transaction->DeleteOne(collection, filter)
                                                   : transaction->DeleteMany(collection, filter));
      AppendNumbers("count", result.deleted, "", 0, out);
      return absl::OkStatus();
    }
  }
}

// Commits, or leaves it to the session: then `finish` says what the answer is.
template <class Engine>
absl::Status Operations<Engine>::CommitTransaction(
    std::unique_ptr<JointTransaction> transaction, Database* database, const RequestName& name,
    std::function<absl::Status(const absl::Status&, std::string*)> finish, std::string* out,
    Commit<Database>* commit) {
  if (Database* const only = transaction->Only(name.get() != nullptr ? database : nullptr)) {
    const absl::StatusOr<std::uint64_t> committed = transaction->CommitOnly(name.get());
    if (committed.ok()) *commit = {only, *committed};
    return finish(committed.status(), out);
  }
  transaction->AwaitWriteRate();
  auto joint = std::make_unique<JointCommit>();
  // It lives until the answer is there.
  joint->start = [shared = std::shared_ptr<JointTransaction>(std::move(transaction)), database,
                  name](std::function<void(absl::Status)> done) {
    shared->CommitAsync(name.get(), database, std::move(done));
  };
  joint->finish = std::move(finish);
  commit->joint = std::move(joint);
  return absl::OkStatus();
}

// Each operation may name a database of its own; their snapshots are taken together.
template <class Engine>
absl::Status Operations<Engine>::TransactionBatch(const Request& request, std::string* out,
                                                  Commit<Database>* commit) {
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView operations, arguments.Array("operations"));
  if (operations.size() > limits_.batch_requests_max) {
    return absl::InvalidArgumentError(absl::StrCat("TxBatch: field 'operations' has ",
                                                   operations.size(), " operations; the limit is ",
                                                   limits_.batch_requests_max));
  }
  ALOS_ASSIGN_OR_RETURN(const TransactionOptions options, ReadTransactionOptions(arguments));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  const RequestName name(request);
  if (name.get() != nullptr) {
    ALOS_ASSIGN_OR_RETURN(const RequestOutcome outcome, database->FindRequest(*name.get()));
    if (outcome.state == RequestOutcome::State::kDone) {
      // What it returned is not kept.
      *commit = {database, outcome.commit_timestamp};
      Builder(out)
          .StartDocument(3)
          .Key("success")
          .Bool(true)
          .Key("done_before")
          .Bool(true)
          .Key("rolled_back")
          .Bool(false)
          .EndDocument();
      return absl::OkStatus();
    }
  }
  // The database of an operation: "database", or the request's.
  const auto database_of = [&](ValueView operation) -> absl::StatusOr<Database*> {
    const std::optional<ValueView> field =
        operation.IsDocument() ? operation.Find("database") : std::nullopt;
    if (!field || field->IsNull()) return database;
    if (!field->IsString()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "TxBatch: field 'database' must be a string, not ", TypeName(field->type())));
    }
    return field->AsString().empty() ? absl::StatusOr<Database*>(database)
                                     : Make(field->AsString());
  };
  std::vector<Database*> databases;
  for (const ValueView operation : operations.elements()) {
    const absl::StatusOr<Database*> used = database_of(operation);
    // Errors are told where they are met.
    if (used.ok() && std::find(databases.begin(), databases.end(), *used) == databases.end())
      databases.push_back(*used);
  }
  ALOS_ASSIGN_OR_RETURN(std::unique_ptr<JointTransaction> transaction,
                        engine_->BeginTransaction(databases, options));

  // One operation; its result goes to *result.
  const auto run = [&](ValueView operation, Operation* code, std::string* result) -> absl::Status {
    ALOS_ASSIGN_OR_RETURN(const Arguments outer, Arguments::Of(request.operation, operation));
    ALOS_ASSIGN_OR_RETURN(const ValueView number, outer.Required("op"));
    *code = static_cast<Operation>(std::clamp<std::int64_t>(number.ToInt64().value_or(0), 0, 255));
    if (!IsTransactional(*code)) {
      return absl::InvalidArgumentError(
          "TxBatch: field 'op' must be one of 1 to 10: InsertOne, InsertMany, FindOne, Find, "
          "UpdateOne, UpdateMany, DeleteOne, DeleteMany, Count, FindByID");
    }
    ALOS_ASSIGN_OR_RETURN(const std::string_view collection, outer.String("collection"));
    ALOS_ASSIGN_OR_RETURN(const ValueView inner_args, outer.Document("args"));
    ALOS_ASSIGN_OR_RETURN(const Arguments inner, Arguments::Of(request.operation, inner_args));
    ALOS_ASSIGN_OR_RETURN(Database* const used, database_of(operation));
    ALOS_ASSIGN_OR_RETURN(Transaction* const part, transaction->In(used));
    return RunInTransaction(request, *code, collection, inner, part, result);
  };

  absl::Status failure;
  std::string results;
  Builder result_builder(&results);
  result_builder.StartArray();
  std::string result;
  for (const ValueView operation : operations.elements()) {
    Operation code{};
    result.clear();
    failure = run(operation, &code, &result);
    result_builder.StartDocument().Key("success").Bool(failure.ok());
    if (!failure.ok()) {
      result_builder.Key("error").String(failure.ToString());
    } else if (code == Operation::kInsertOne) {
      result_builder.Key("id").Raw(*ValueView::FromTrusted(result).Find("id"));
    } else if (code != Operation::kUpdateOne && code != Operation::kDeleteOne) {
      // Those that the published clients send have none.
      result_builder.Key("result").Raw(ValueView::FromTrusted(result));
    }
    result_builder.EndDocument();
    if (!failure.ok()) break;
    if (results.size() > limits_.result_bytes_max) return TooLarge(request);
  }
  result_builder.EndArray();
  const auto finish = [results = std::move(results)](const absl::Status& status, std::string* to) {
    Builder builder(to);
    builder.StartDocument().Key("success").Bool(status.ok());
    if (!status.ok()) builder.Key("error").String(status.ToString());
    builder.Key("results").Raw(ValueView::FromTrusted(results));
    builder.Key("rolled_back").Bool(!status.ok()).EndDocument();
    return absl::OkStatus();
  };
  if (!failure.ok()) return finish(failure, out);
  return CommitTransaction(std::move(transaction), database, name, finish, out, commit);
}

template <class Engine>
absl::StatusOr<std::string> Operations<Engine>::BeginTransaction(const Request& request,
                                                                 const Arguments& arguments) {
  ALOS_ASSIGN_OR_RETURN(const TransactionOptions options, ReadTransactionOptions(arguments));
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                        arguments.OptionalStrings("databases"));
  std::vector<Database*> databases;
  for (const std::string& other : names) {
    if (other == DatabaseName(request)) continue;
    ALOS_ASSIGN_OR_RETURN(Database* const database, Make(other));
    databases.push_back(database);
  }
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  databases.insert(databases.begin(), database);
  return transactions_->Begin(DatabaseName(request), owner_,
                              [&] { return engine_->BeginTransaction(databases, options); });
}

template <class Engine>
absl::Status Operations<Engine>::InTransaction(const Request& request, std::string* out,
                                               Commit<Database>* commit) {
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  if (request.operation == Operation::kBeginTransaction) {
    ALOS_ASSIGN_OR_RETURN(const std::string id, BeginTransaction(request, arguments));
    Builder(out).StartDocument(1).Key("tx_id").String(id).EndDocument();
    return absl::OkStatus();
  }
  ALOS_ASSIGN_OR_RETURN(const std::string_view tx_id, arguments.String("tx_id"));
  const RequestName name(request);
  if (name.get() != nullptr && name.get()->was_sent_before &&
      request.operation == Operation::kTransactionCommit) {
    // Its transaction is over: committed, or rolled back with its connection.
    ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
    ALOS_ASSIGN_OR_RETURN(const RequestOutcome outcome, database->SettleRequest(*name.get()));
    *commit = {database, outcome.commit_timestamp};
    out->push_back('\x80');
    return outcome.status;
  }
  ALOS_ASSIGN_OR_RETURN(auto lease, transactions_->Use(tx_id));
  JointTransaction& transaction = *lease->transaction;
  switch (request.operation) {
    case Operation::kTransactionCommit: {
      // Over, whatever comes of it.
      lease.Remove();
      ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
      const auto finish = [](const absl::Status& status, std::string* result) {
        if (status.ok()) result->push_back('\x80');
        return status;
      };
      return CommitTransaction(std::move(lease->transaction), database, name, finish, out, commit);
    }
    case Operation::kTransactionRollback:
      lease.Remove();
      transaction.Rollback();
      out->push_back('\x80');
      return absl::OkStatus();
    default: {
      ALOS_RETURN_IF_ERROR(NeedCollection(request));
      // A request that names no database means the one that the transaction was begun in.
      ALOS_ASSIGN_OR_RETURN(
          Database* const database,
          Make(request.database.empty() ? std::string_view(lease->database) : request.database));
      ALOS_ASSIGN_OR_RETURN(Transaction* const part, transaction.In(database));
      return RunInTransaction(request, OperationOutside(request.operation), request.collection,
                              arguments, part, out);
    }
  }
}

}  // namespace alos::protocol_internal

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_OPERATIONS_H_
