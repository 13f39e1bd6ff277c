// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What each operation of the protocol does: arguments in, engine called, result out.

#ifndef ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_OPERATIONS_H_
#define ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_OPERATIONS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/id.h"
#include "alos/document/value.h"
#include "alos/engine/results.h"
#include "alos/net/big_endian.h"
#include "alos/net/counters.h"
#include "alos/net/message.h"
#include "alos/query/filter.h"
#include "alos/query/pipeline.h"
#include "alos/query/projection.h"
#include "alos/query/update.h"
#include "plugins/protocol/alos/internal/arguments.h"
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
};

// A write that has been done and may not be visible yet.
template <class Database>
struct Commit {
  Database* database = nullptr;
  std::uint64_t timestamp = 0;  // 0: nothing was written
};

// Carries requests out, one after another, for one connection.
//
// Threads: one at a time. Lifetime: the engine, the table and the counters must outlive it.
// Durability: Run returns when the write is done; it may be acknowledged when *commit is visible.
// Errors: Run returns what the client is to be told. *out is then to be cut back by the caller.
template <class Engine>
class Operations {
 public:
  using Database = typename Engine::Database;
  using Transactions = TransactionTable<Database>;

  Operations(Engine* engine, std::string_view default_database, const OperationLimits& limits,
             Transactions* transactions, const NetCounters* counters, std::uint64_t owner)
      : engine_(engine),
        default_database_(default_database),
        limits_(limits),
        transactions_(transactions),
        counters_(counters),
        owner_(owner) {}

  // Whether this request should run where it holds nobody up: it scans, or sorts, or waits for a
  // disk, or opens a database. Only a guess about time: the result is the same either way.
  bool IsLong(const Request& request) const;

  // Whether a write that came before on the same connection need not be visible before this request
  // runs. True for inserts, which look at nothing but their own id.
  static bool IsInsert(const Request& request) {
    return request.operation == Operation::kInsertOne ||
           request.operation == Operation::kInsertMany;
  }

  // Appends the result (one encoded value) to *out.
  absl::Status Run(const Request& request, std::string* out, Commit<Database>* commit) {
    return Run(request, out, commit, /*nested=*/false);
  }

 private:
  // The cursor of AggregateStream: which snapshot, and how many results have been seen.
  static constexpr std::string_view kAggregateCursorMark = "agg1";
  static constexpr std::size_t kAggregateCursorBytes = 4 + 8 + 8;
  static constexpr std::size_t kInlineInsertManyBytes = 64 * 1024;
  static constexpr std::size_t kArrayHeaderBytes = 5;

  absl::Status Run(const Request& request, std::string* out, Commit<Database>* commit, bool nested);

  std::string_view DatabaseName(const Request& request) const {
    return request.database.empty() ? std::string_view(default_database_) : request.database;
  }
  // For reads; nullptr when there is none.
  absl::StatusOr<Database*> Find(const Request& request);
  // For writes.
  absl::StatusOr<Database*> Make(const Request& request);

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
  absl::Status Batch(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status TransactionBatch(const Request& request, std::string* out, Commit<Database>* commit);
  absl::Status InTransaction(const Request& request, std::string* out, Commit<Database>* commit);

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
  const NetCounters* const counters_;
  const std::uint64_t owner_;
  // The database used last: requests of a connection hardly ever change it.
  std::string known_name_;
  Database* known_ = nullptr;
  std::string scratch_;
};

// --- Readers of the interface may stop here. ----------------------------------------------------

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

template <class Engine>
bool Operations<Engine>::IsLong(const Request& request) const {
  if (known_ == nullptr || known_name_ != DatabaseName(request)) return true;
  switch (request.operation) {
    case Operation::kInsertOne:
    case Operation::kFindById:
    case Operation::kReadTimestamp:
    case Operation::kBeginTransaction:
    case Operation::kTransactionFindById:
    case Operation::kTransactionInsertOne:
    case Operation::kTransactionRollback:
    case Operation::kCollectionExists:
      return false;
    case Operation::kInsertMany:
      return request.args.bytes().size() > kInlineInsertManyBytes;
    case Operation::kFindOne:
    case Operation::kFind:
    case Operation::kFindPaginated:
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
      return query.has_value() && query->size() != 0 && !IsById(query);
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
      return InTransaction(request, out, commit);
  }
  return absl::UnimplementedError("an operation that is not known here");
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
absl::StatusOr<typename Engine::Database*> Operations<Engine>::Make(const Request& request) {
  const std::string_view name = DatabaseName(request);
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
  ALOS_ASSIGN_OR_RETURN(const auto inserted, database->InsertOne(request.collection, document));
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
  const auto inserted = database->InsertMany(request.collection, documents);
  *commit = {database, inserted.commit_timestamp};
  if (!inserted.status.ok()) {
    return absl::Status(
        inserted.status.code(),
        absl::StrCat("InsertMany: document ", inserted.ids.size() + 1, " of ", count, ": ",
                     inserted.status.message(), "; the ", inserted.ids.size(),
                     " documents ahead of it were inserted, nothing behind it was"));
  }
  Builder builder(out);
  builder.StartDocument(1).Key("ids").StartArray(inserted.ids.size());
  for (const std::string& id : inserted.ids) builder.Raw(ValueView::FromTrusted(id));
  builder.EndArray().EndDocument();
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::FindById(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const std::string_view id, IdOf(arguments, &scratch_));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const std::size_t start = out->size();
  bool found = false;
  if (database != nullptr) {
    ALOS_ASSIGN_OR_RETURN(
        found, database->FindById(request.collection, id,
                                  [out](ValueView document) { out->append(document.bytes()); }));
  }
  if (!found) out->push_back('\xc0');
  return CheckSize(request, start, *out);
}

template <class Engine>
absl::Status Operations<Engine>::FindOne(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView query, arguments.Document("query"));
  ALOS_ASSIGN_OR_RETURN(const Filter filter, CompileFilter(request, request.collection, query));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const std::size_t start = out->size();
  bool found = false;
  if (database != nullptr) {
    ALOS_ASSIGN_OR_RETURN(
        found, database->FindOne(request.collection, filter,
                                 [out](ValueView document) { out->append(document.bytes()); }));
  }
  if (!found) out->push_back('\xc0');
  return CheckSize(request, start, *out);
}

template <class Engine>
absl::Status Operations<Engine>::FindMany(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView query, arguments.Document("query"));
  ALOS_ASSIGN_OR_RETURN(const Filter filter, CompileFilter(request, request.collection, query));
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> fields, arguments.OptionalStrings("fields"));
  std::optional<Projection> projection;
  if (!fields.empty()) {
    ALOS_ASSIGN_OR_RETURN(projection, Projection::FromFields(fields));
  }
  FindQuery find;
  find.filter = &filter;
  if (request.operation == Operation::kFindPaginated) {
    ALOS_ASSIGN_OR_RETURN(find.skip, arguments.OptionalCount("skip"));
    ALOS_ASSIGN_OR_RETURN(find.limit, arguments.OptionalCount("limit"));
  }
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const std::size_t start = StartArray(out);
  std::size_t count = 0;
  bool too_large = false;
  if (database != nullptr) {
    ALOS_RETURN_IF_ERROR(database->Find(request.collection, find, [&](ValueView document) {
      if (projection.has_value()) {
        projection->Apply(document, out);
      } else {
        out->append(document.bytes());
      }
      ++count;
      too_large = out->size() - start > limits_.result_bytes_max;
      return !too_large;
    }));
  }
  if (too_large) return TooLarge(request);
  EndArray(start, count, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::FindManyStream(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView query, arguments.Document("query"));
  ALOS_ASSIGN_OR_RETURN(const Filter filter, CompileFilter(request, request.collection, query));
  ALOS_ASSIGN_OR_RETURN(const std::vector<std::string> fields, arguments.OptionalStrings("fields"));
  std::optional<Projection> projection;
  if (!fields.empty()) {
    ALOS_ASSIGN_OR_RETURN(projection, Projection::FromFields(fields));
  }
  ALOS_ASSIGN_OR_RETURN(std::uint64_t batch, arguments.OptionalCount("limit"));
  if (batch == 0) batch = limits_.stream_batch_documents;
  batch = std::min(batch, limits_.stream_batch_documents_max);
  ALOS_ASSIGN_OR_RETURN(const std::string_view cursor, arguments.OptionalBinary("cursor"));
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  const std::size_t start = out->size();
  out->append(
      "\x81\xa4"
      "docs",
      6);
  const std::size_t array = StartArray(out);
  std::size_t count = 0;
  std::string next;
  if (database != nullptr) {
    ALOS_ASSIGN_OR_RETURN(
        next, database->FindBatch(request.collection, filter, cursor,
                                  static_cast<std::size_t>(batch), [&](ValueView document) {
                                    if (projection.has_value()) {
                                      projection->Apply(document, out);
                                    } else {
                                      out->append(document.bytes());
                                    }
                                    ++count;
                                    return out->size() - start < limits_.stream_batch_bytes;
                                  }));
  }
  EndArray(array, count, out);
  ALOS_RETURN_IF_ERROR(CheckSize(request, start, *out));
  if (!next.empty()) {
    (*out)[start] = '\x82';
    out->append(
        "\xa6"
        "cursor",
        7);
    Builder(out).Binary(next);
  }
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Aggregate(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView stages, arguments.Array("pipeline"));
  ALOS_ASSIGN_OR_RETURN(const Pipeline pipeline, CompilePipeline(request, stages));
  ALOS_ASSIGN_OR_RETURN(Database* const database,
                        pipeline.writes() ? Make(request) : Find(request));
  const std::size_t start = StartArray(out);
  std::size_t count = 0;
  bool too_large = false;
  const auto sink = [&](ValueView document) {
    out->append(document.bytes());
    ++count;
    too_large = out->size() - start > limits_.result_bytes_max;
    return !too_large;
  };
  if (database != nullptr) {
    ALOS_RETURN_IF_ERROR(database->Aggregate(request.collection, pipeline, sink));
  } else {
    ALOS_RETURN_IF_ERROR(pipeline.Run([](auto&&) {}, sink));
  }
  if (too_large) return TooLarge(request);
  EndArray(start, count, out);
  return absl::OkStatus();
}

// Each batch runs the pipeline again over the first batch's snapshot and steps over what was seen:
// nothing is kept on the server between batches, and a pipeline that can stop early does.
template <class Engine>
absl::Status Operations<Engine>::AggregateStream(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView stages, arguments.Array("pipeline"));
  ALOS_ASSIGN_OR_RETURN(const Pipeline pipeline, CompilePipeline(request, stages));
  ALOS_ASSIGN_OR_RETURN(std::uint64_t batch, arguments.OptionalCount("batch_size"));
  if (batch == 0) batch = limits_.stream_batch_documents;
  batch = std::min(batch, limits_.stream_batch_documents_max);
  ALOS_ASSIGN_OR_RETURN(const std::string_view cursor, arguments.OptionalBinary("cursor"));
  ALOS_ASSIGN_OR_RETURN(Database* const database,
                        pipeline.writes() ? Make(request) : Find(request));
  std::uint64_t snapshot = database == nullptr ? 0 : database->ReadTimestamp();
  std::uint64_t seen = 0;
  if (!cursor.empty()) {
    if (cursor.size() != kAggregateCursorBytes || cursor.substr(0, 4) != kAggregateCursorMark ||
        database == nullptr || net_internal::LoadBigEndian64(cursor.data() + 4) > snapshot) {
      return absl::InvalidArgumentError(
          "AggregateStream: field 'cursor' is not a cursor of this database; pass back what the "
          "last batch returned, unchanged");
    }
    snapshot = net_internal::LoadBigEndian64(cursor.data() + 4);
    seen = net_internal::LoadBigEndian64(cursor.data() + 12);
  }
  const std::size_t start = out->size();
  out->append(
      "\x81\xa4"
      "docs",
      6);
  const std::size_t array = StartArray(out);
  std::uint64_t position = 0;
  std::uint64_t count = 0;
  bool more = false;
  const auto sink = [&](ValueView document) {
    if (position++ < seen) return true;
    if (count == batch || out->size() - start >= limits_.stream_batch_bytes) {
      more = true;  // this one is the first of the next batch
      return false;
    }
    out->append(document.bytes());
    ++count;
    return true;
  };
  if (database != nullptr) {
    ALOS_RETURN_IF_ERROR(database->Aggregate(request.collection, pipeline, sink, snapshot));
  } else {
    ALOS_RETURN_IF_ERROR(pipeline.Run([](auto&&) {}, sink));
  }
  EndArray(array, count, out);
  ALOS_RETURN_IF_ERROR(CheckSize(request, start, *out));
  if (more) {
    std::string next(kAggregateCursorMark);
    next.resize(kAggregateCursorBytes);
    net_internal::StoreBigEndian64(snapshot, next.data() + 4);
    net_internal::StoreBigEndian64(seen + count, next.data() + 12);
    (*out)[start] = '\x82';
    out->append(
        "\xa6"
        "cursor",
        7);
    Builder(out).Binary(next);
  }
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Count(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
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
  ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
  std::uint64_t count = 0;
  if (database != nullptr) {
    ALOS_ASSIGN_OR_RETURN(count, database->Count(request.collection, filter));
  }
  AppendNumbers(many ? "n" : "count", count, "", 0, out);
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Change(const Request& request, std::string* out,
                                        Commit<Database>* commit) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const ValueView filter_value, arguments.Document("filter"));
  ALOS_ASSIGN_OR_RETURN(const Filter filter,
                        CompileFilter(request, request.collection, filter_value));
  const bool one =
      request.operation == Operation::kUpdateOne || request.operation == Operation::kDeleteOne;
  if (request.operation == Operation::kDeleteOne || request.operation == Operation::kDeleteMany) {
    ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
    std::uint64_t deleted = 0;
    if (database != nullptr) {
      ALOS_ASSIGN_OR_RETURN(const auto result,
                            one ? database->DeleteOne(request.collection, filter)
                                : database->DeleteMany(request.collection, filter));
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
    ALOS_ASSIGN_OR_RETURN(const auto result,
                          one ? database->UpdateOne(request.collection, filter, update)
                              : database->UpdateMany(request.collection, filter, update));
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
  const bool one = request.operation == Operation::kUpsertOne;
  ALOS_ASSIGN_OR_RETURN(const auto result,
                        one ? database->UpsertOne(request.collection, filter, update)
                            : database->UpsertMany(request.collection, filter, update));
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
      AppendNumbers("ts", database == nullptr ? 0 : database->ReadTimestamp(), "", 0, out);
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
  builder.EndDocument().EndDocument();
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::Indexes(const Request& request, std::string* out) {
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  if (request.operation == Operation::kListIndexes) {
    ALOS_ASSIGN_OR_RETURN(Database* const database, Find(request));
    std::uint64_t documents = 0;
    bool exists = false;
    if (database != nullptr) {
      ALOS_ASSIGN_OR_RETURN(exists, database->CollectionExists(request.collection));
      ALOS_ASSIGN_OR_RETURN(documents, database->Count(request.collection, Filter()));
    }
    Builder builder(out);
    builder.StartArray(exists ? 1 : 0);
    if (exists) {
      builder.StartDocument(5);
      builder.Key("name").String("_id_");
      builder.Key("field").String("_id");
      builder.Key("type").String("primary");
      builder.Key("unique").Bool(true);
      builder.Key("documents").Uint(documents);
      builder.EndDocument();
    }
    builder.EndArray();
    return absl::OkStatus();
  }
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  if (request.operation == Operation::kCreateIndex) {
    // A compound index may come without a field of its own.
    const std::optional<ValueView> parts = arguments.value().Find("fields");
    if (!parts.has_value() || !parts->IsArray() || parts->size() == 0) {
      ALOS_RETURN_IF_ERROR(arguments.String("field").status());
    }
    return absl::UnimplementedError(
        "CreateIndex: typed index builds are not supported yet: queries on every field work "
        "without "
        "one");
  }
  ALOS_ASSIGN_OR_RETURN(const std::string_view field, arguments.String("field"));
  if (field != "_id") {
    return absl::NotFoundError(absl::StrCat(OperationName(request.operation), ": collection '",
                                            request.collection, "' has no index on field '", field,
                                            "'; ListIndexes tells which there are"));
  }
  if (request.operation == Operation::kDropIndex) {
    return absl::InvalidArgumentError(
        "DropIndex: the primary index on field '_id' cannot be dropped");
  }
  return absl::UnimplementedError(
      "RebuildIndex: the primary index on field '_id' is rebuilt from the documents when the "
      "server "
      "starts without its file; rebuilding it while the server runs is not supported");
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
    if (member_commit.timestamp != 0) {
      if (commit->timestamp != 0 && commit->database != member_commit.database) {
        ALOS_RETURN_IF_ERROR(Settle(commit));
      }
      member_commit.timestamp = std::max(member_commit.timestamp, commit->timestamp);
      *commit = member_commit;
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
  ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
  const auto transaction = database->BeginTransaction();

  // One operation; its id, if it inserts, goes to *id.
  const auto run = [&](ValueView operation, std::string* id) -> absl::Status {
    ALOS_ASSIGN_OR_RETURN(const Arguments outer, Arguments::Of(request.operation, operation));
    ALOS_ASSIGN_OR_RETURN(const ValueView number, outer.Required("op"));
    const std::optional<std::int64_t> code = number.ToInt64();
    ALOS_ASSIGN_OR_RETURN(const std::string_view collection, outer.String("collection"));
    ALOS_ASSIGN_OR_RETURN(const ValueView inner_args, outer.Document("args"));
    const bool insert = code == static_cast<int>(Operation::kInsertOne);
    const bool update = code == static_cast<int>(Operation::kUpdateOne);
    if (!insert && !update && code != static_cast<int>(Operation::kDeleteOne)) {
      return absl::InvalidArgumentError(
          "TxBatch: field 'op' must be 1 (InsertOne), 5 (UpdateOne) or 7 (DeleteOne)");
    }
    ALOS_ASSIGN_OR_RETURN(const Arguments inner, Arguments::Of(request.operation, inner_args));
    if (insert) {
      ALOS_ASSIGN_OR_RETURN(const ValueView document, inner.Document("doc"));
      ALOS_RETURN_IF_ERROR(CheckDocument(document));
      ALOS_ASSIGN_OR_RETURN(auto inserted, transaction->InsertOne(collection, document));
      *id = std::move(inserted.id);
      return absl::OkStatus();
    }
    ALOS_ASSIGN_OR_RETURN(const ValueView filter_value, inner.Document("filter"));
    ALOS_ASSIGN_OR_RETURN(const Filter filter, CompileFilter(request, collection, filter_value));
    if (!update) return transaction->DeleteOne(collection, filter).status();
    ALOS_ASSIGN_OR_RETURN(const Update compiled, CompileUpdate(inner));
    return transaction->UpdateOne(collection, filter, compiled).status();
  };

  absl::Status failure;
  std::string results;
  Builder result_builder(&results);
  result_builder.StartArray();
  for (const ValueView operation : operations.elements()) {
    std::string id;
    failure = run(operation, &id);
    result_builder.StartDocument().Key("success").Bool(failure.ok());
    if (!failure.ok()) result_builder.Key("error").String(failure.ToString());
    if (!id.empty()) result_builder.Key("id").Raw(ValueView::FromTrusted(id));
    result_builder.EndDocument();
    if (!failure.ok()) break;
  }
  result_builder.EndArray();
  if (failure.ok()) {
    const absl::StatusOr<std::uint64_t> committed = transaction->Commit();
    if (committed.ok()) {
      *commit = {database, *committed};
    } else {
      failure = committed.status();
    }
  } else {
    transaction->Rollback();
  }
  Builder builder(out);
  builder.StartDocument().Key("success").Bool(failure.ok());
  if (!failure.ok()) builder.Key("error").String(failure.ToString());
  builder.Key("results").Raw(ValueView::FromTrusted(results));
  builder.Key("rolled_back").Bool(!failure.ok()).EndDocument();
  return absl::OkStatus();
}

template <class Engine>
absl::Status Operations<Engine>::InTransaction(const Request& request, std::string* out,
                                               Commit<Database>* commit) {
  if (request.operation == Operation::kBeginTransaction) {
    ALOS_ASSIGN_OR_RETURN(Database* const database, Make(request));
    ALOS_ASSIGN_OR_RETURN(const std::string id, transactions_->Begin(database, owner_));
    Builder(out).StartDocument(1).Key("tx_id").String(id).EndDocument();
    return absl::OkStatus();
  }
  ALOS_ASSIGN_OR_RETURN(const Arguments arguments, Arguments::Of(request.operation, request.args));
  ALOS_ASSIGN_OR_RETURN(const std::string_view tx_id, arguments.String("tx_id"));
  ALOS_ASSIGN_OR_RETURN(auto lease, transactions_->Use(tx_id));
  auto& transaction = *lease->transaction;
  const std::size_t start = out->size();
  switch (request.operation) {
    case Operation::kTransactionCommit: {
      // Over, whatever comes of it.
      lease.Remove();
      ALOS_ASSIGN_OR_RETURN(const std::uint64_t timestamp, transaction.Commit());
      *commit = {lease->database, timestamp};
      out->push_back('\x80');
      return absl::OkStatus();
    }
    case Operation::kTransactionRollback:
      lease.Remove();
      transaction.Rollback();
      out->push_back('\x80');
      return absl::OkStatus();
    default:
      break;
  }
  ALOS_RETURN_IF_ERROR(NeedCollection(request));
  const auto append = [out](ValueView document) { out->append(document.bytes()); };
  switch (request.operation) {
    case Operation::kTransactionFindOne: {
      ALOS_ASSIGN_OR_RETURN(const ValueView query, arguments.Document("query"));
      ALOS_ASSIGN_OR_RETURN(const Filter filter, CompileFilter(request, request.collection, query));
      ALOS_ASSIGN_OR_RETURN(const bool found,
                            transaction.FindOne(request.collection, filter, append));
      if (!found) out->push_back('\xc0');
      return CheckSize(request, start, *out);
    }
    case Operation::kTransactionFindById: {
      ALOS_ASSIGN_OR_RETURN(const std::string_view id, IdOf(arguments, &scratch_));
      ALOS_ASSIGN_OR_RETURN(const bool found, transaction.FindById(request.collection, id, append));
      if (!found) out->push_back('\xc0');
      return CheckSize(request, start, *out);
    }
    case Operation::kTransactionInsertOne: {
      ALOS_ASSIGN_OR_RETURN(const ValueView document, arguments.Document("doc"));
      ALOS_RETURN_IF_ERROR(CheckDocument(document));
      ALOS_ASSIGN_OR_RETURN(const auto inserted,
                            transaction.InsertOne(request.collection, document));
      Builder(out)
          .StartDocument(1)
          .Key("id")
          .Raw(ValueView::FromTrusted(inserted.id))
          .EndDocument();
      return absl::OkStatus();
    }
    case Operation::kTransactionUpdateOne: {
      ALOS_ASSIGN_OR_RETURN(const ValueView filter_value, arguments.Document("filter"));
      ALOS_ASSIGN_OR_RETURN(const Filter filter,
                            CompileFilter(request, request.collection, filter_value));
      ALOS_ASSIGN_OR_RETURN(const Update update, CompileUpdate(arguments));
      ALOS_ASSIGN_OR_RETURN(const auto result,
                            transaction.UpdateOne(request.collection, filter, update));
      AppendNumbers("count", result.matched, "", 0, out);
      return absl::OkStatus();
    }
    default: {
      ALOS_ASSIGN_OR_RETURN(const ValueView filter_value, arguments.Document("filter"));
      ALOS_ASSIGN_OR_RETURN(const Filter filter,
                            CompileFilter(request, request.collection, filter_value));
      ALOS_ASSIGN_OR_RETURN(const auto result, transaction.DeleteOne(request.collection, filter));
      AppendNumbers("count", result.deleted, "", 0, out);
      return absl::OkStatus();
    }
  }
}

}  // namespace alos::protocol_internal

#endif  // ALOS_PLUGINS_PROTOCOL_ALOS_INTERNAL_OPERATIONS_H_
