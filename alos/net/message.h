// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Requests and responses of the alos wire protocol: the MessagePack maps inside the frames.

#ifndef ALOS_NET_MESSAGE_H_
#define ALOS_NET_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos {

// What a request asks for: the number in its `op` field.
enum class Operation : std::uint8_t {
  kInsertOne = 1,
  kInsertMany = 2,
  kFindOne = 3,
  kFind = 4,
  kUpdateOne = 5,
  kUpdateMany = 6,
  kDeleteOne = 7,
  kDeleteMany = 8,
  kCount = 9,
  kFindById = 10,
  kDrop = 12,
  kStats = 13,
  kFlush = 14,
  kBatch = 15,
  kTransactionBatch = 16,
  kUpsertOne = 17,
  kUpsertMany = 18,
  kDatabaseExists = 19,
  kCollectionExists = 20,
  kCreateCollection = 23,
  kAggregate = 24,
  kBeginTransaction = 25,
  kTransactionFindOne = 26,
  kTransactionFindById = 27,
  kTransactionInsertOne = 28,
  kTransactionUpdateOne = 29,
  kTransactionDeleteOne = 30,
  kTransactionCommit = 31,
  kTransactionRollback = 32,
  kFindManyCount = 33,
  kCreateIndex = 34,
  kDropIndex = 35,
  kListIndexes = 36,
  kRebuildIndex = 37,
  kReadTimestamp = 38,
  kFindManyStream = 39,
  kFindPaginated = 40,
  kAggregateStream = 41,
  // Not of the published clients.
  kTransactionFind = 128,
  kTransactionInsertMany = 129,
  kTransactionUpdateMany = 130,
  kTransactionDeleteMany = 131,
  kTransactionCount = 132,
  kChanges = 133,
  kOpenSession = 134,
  kRequestOutcome = 135,
  kBackup = 144,
};

// Those that have no place for a request's name in a commit of their own: the server notes them
// before and after.
inline bool IsRunOnce(Operation operation) {
  switch (operation) {
    case Operation::kBatch:
    case Operation::kDrop:
    case Operation::kCreateCollection:
    case Operation::kCreateIndex:
    case Operation::kDropIndex:
    case Operation::kRebuildIndex:
      return true;
    default:
      return false;
  }
}

// The name of an operation as clients know it ("InsertOne"), "" for a number that is none.
std::string_view OperationName(Operation operation);

// A request, as views into the payload it was parsed from.
struct Request {
  std::uint32_t id = 0;
  Operation operation{};        // one that OperationName knows
  std::string_view collection;  // "" if absent
  std::string_view database;    // "" if absent: the default one
  ValueView args;               // nil if absent
  std::optional<std::string_view> auth;
  bool no_reply = false;
  std::string_view
      request_name;  // of a write that may be sent again; see RequestName; "" if absent
};

// The name of a request: slot (u32), key (16 bytes) and number (u64) of a session that OpenSession
// made, and 1 if it has been sent before, 0 if not (u8). Numbers are big-endian.
inline constexpr std::size_t kRequestNameBytes = 29;

// Reads a request from an untrusted payload into *request. Keys may come in any order, unknown ones
// are ignored, integers may have any width.
//
// Threads: any. Lifetime: *request points into `payload`.
// Errors: kInvalidArgument naming the field and what was expected. request->id, ->no_reply and
// ->auth
//   are set as far as they could be read, so that the error can be answered.
// Cost: one validating pass over the payload, no allocation (see ValueView::Parse).
absl::Status ParseRequest(std::string_view payload, Request* request);

// The same for a request inside another one, which was validated with it.
absl::Status ReadRequest(ValueView value, Request* request);

// A successful response is this header, then the result (one encoded value).
//
//   AppendResultHeader(request.id, &out);
//   out.append(document.bytes());
void AppendResultHeader(std::uint32_t id, std::string* out);
// A whole response that says what went wrong: the text of `status`, "CODE: message". The one
// exception is kUnauthenticated, whose message stands alone, as clients expect it.
void AppendErrorResponse(std::uint32_t id, const absl::Status& status, std::string* out);

// A whole request. `token` is the client's credentials (Credentials::Token) or empty.
struct RequestHeader {
  std::uint32_t id = 0;
  Operation operation{};
  std::string_view collection = {};
  std::string_view database = {};
  std::string_view token = {};
  bool no_reply = false;
  std::string_view request_name = {};
};
void AppendRequest(const RequestHeader& header, ValueView args, std::string* out);

// A response, as views into the payload it was parsed from.
struct Response {
  std::uint32_t id = 0;
  absl::Status status;              // what the server answered
  std::optional<ValueView> result;  // absent, or nil: nothing found
};

// Reads an untrusted response. Errors: kDataLoss if it is none; never the server's own error, which
// is in the status field with the code the server gave it.
absl::StatusOr<Response> ParseResponse(std::string_view payload);

// --- Readers of the API may stop here. ----------------------------------------------------------

inline std::string_view OperationName(Operation operation) {
  switch (operation) {
    case Operation::kInsertOne:
      return "InsertOne";
    case Operation::kInsertMany:
      return "InsertMany";
    case Operation::kFindOne:
      return "FindOne";
    case Operation::kFind:
      return "Find";
    case Operation::kUpdateOne:
      return "UpdateOne";
    case Operation::kUpdateMany:
      return "UpdateMany";
    case Operation::kDeleteOne:
      return "DeleteOne";
    case Operation::kDeleteMany:
      return "DeleteMany";
    case Operation::kCount:
      return "Count";
    case Operation::kFindById:
      return "FindByID";
    case Operation::kDrop:
      return "Drop";
    case Operation::kStats:
      return "Stats";
    case Operation::kFlush:
      return "Flush";
    case Operation::kBatch:
      return "Batch";
    case Operation::kTransactionBatch:
      return "TxBatch";
    case Operation::kUpsertOne:
      return "UpsertOne";
    case Operation::kUpsertMany:
      return "UpsertMany";
    case Operation::kDatabaseExists:
      return "DBExists";
    case Operation::kCollectionExists:
      return "CollectionExists";
    case Operation::kCreateCollection:
      return "CreateCollection";
    case Operation::kAggregate:
      return "Aggregate";
    case Operation::kBeginTransaction:
      return "BeginTx";
    case Operation::kTransactionFindOne:
      return "TxFindOne";
    case Operation::kTransactionFindById:
      return "TxFindByID";
    case Operation::kTransactionInsertOne:
      return "TxInsertOne";
    case Operation::kTransactionUpdateOne:
      return "TxUpdateOne";
    case Operation::kTransactionDeleteOne:
      return "TxDeleteOne";
    case Operation::kTransactionCommit:
      return "TxCommit";
    case Operation::kTransactionRollback:
      return "TxRollback";
    case Operation::kFindManyCount:
      return "FindManyCount";
    case Operation::kCreateIndex:
      return "CreateIndex";
    case Operation::kDropIndex:
      return "DropIndex";
    case Operation::kListIndexes:
      return "ListIndexes";
    case Operation::kRebuildIndex:
      return "RebuildIndex";
    case Operation::kReadTimestamp:
      return "ReadTS";
    case Operation::kFindManyStream:
      return "FindManyStream";
    case Operation::kFindPaginated:
      return "FindPaginated";
    case Operation::kAggregateStream:
      return "AggregateStream";
    case Operation::kTransactionFind:
      return "TxFind";
    case Operation::kTransactionInsertMany:
      return "TxInsertMany";
    case Operation::kTransactionUpdateMany:
      return "TxUpdateMany";
    case Operation::kTransactionDeleteMany:
      return "TxDeleteMany";
    case Operation::kTransactionCount:
      return "TxCount";
    case Operation::kChanges:
      return "Changes";
    case Operation::kOpenSession:
      return "OpenSession";
    case Operation::kRequestOutcome:
      return "RequestOutcome";
    case Operation::kBackup:
      return "Backup";
  }
  return "";
}

namespace net_internal {

// A document may nest 100 levels; InsertOne puts one more around it. (Operations that wrap more
// around a document take it a little less deep; so no document over 100 levels ever comes in.)
inline constexpr ParseLimits kRequestLimits = {.depth_max = 101};
// What a server may put around a document: Batch has most.
inline constexpr ParseLimits kResponseLimits = {.depth_max = 110};

// The id of a payload that is not valid as a whole, if it begins as clients begin it: with `id`.
inline std::uint32_t GuessRequestId(std::string_view payload) {
  if (payload.size() < 5 || payload.substr(1, 3) != "\xa2id") return 0;
  const auto value = ValueView::ParsePrefix(payload.substr(4, 9));
  if (!value.ok()) return 0;
  const std::optional<std::int64_t> id = value->ToInt64();
  return id.has_value() && *id >= 0 && *id <= std::numeric_limits<std::uint32_t>::max()
             ? static_cast<std::uint32_t>(*id)
             : 0;
}

inline absl::Status WrongField(std::string_view field, std::string_view expected, ValueView value) {
  return absl::InvalidArgumentError(absl::StrCat("request: field '", field, "' must be ", expected,
                                                 ", not ", TypeName(value.type()),
                                                 value.IsNumber() ? " of that value" : ""));
}

inline std::optional<std::int64_t> IntegerIn(ValueView value, std::int64_t max) {
  const std::optional<std::int64_t> number = value.ToInt64();
  if (!number.has_value() || *number < 0 || *number > max) return std::nullopt;
  return number;
}

}  // namespace net_internal

inline absl::Status ReadRequest(ValueView value, Request* request) {
  using net_internal::WrongField;
  if (!value.IsDocument()) {
    return absl::InvalidArgumentError(
        absl::StrCat("request: expected a map, not ", TypeName(value.type())));
  }
  // The first mistake is reported once everything has been read: its answer needs the id.
  absl::Status status;
  const auto fail = [&status](absl::Status error) {
    if (status.ok()) status = std::move(error);
  };
  std::optional<std::int64_t> operation;
  bool has_id = false;
  for (const auto [key, field] : value.entries()) {
    if (key == "id") {
      const auto id = net_internal::IntegerIn(field, std::numeric_limits<std::uint32_t>::max());
      if (id.has_value()) {
        request->id = static_cast<std::uint32_t>(*id);
        has_id = true;
      } else {
        fail(WrongField("id", "an integer from 0 to 4294967295", field));
      }
    } else if (key == "op") {
      operation = net_internal::IntegerIn(field, 255);
      if (!operation.has_value()) fail(WrongField("op", "an integer from 0 to 255", field));
    } else if (key == "collection") {
      if (field.IsString()) {
        request->collection = field.AsString();
      } else {
        fail(WrongField("collection", "a string", field));
      }
    } else if (key == "database") {
      if (field.IsString()) {
        request->database = field.AsString();
      } else {
        fail(WrongField("database", "a string", field));
      }
    } else if (key == "args") {
      request->args = field;
    } else if (key == "auth") {
      if (field.IsString()) {
        request->auth = field.AsString();
      } else {
        request->auth = "";  // present and wrong
        fail(WrongField("auth", "a string", field));
      }
    } else if (key == "rid") {
      if (field.type() == ValueType::kBinary && field.AsBinary().size() == kRequestNameBytes) {
        request->request_name = field.AsBinary();
      } else {
        fail(
            WrongField("rid", absl::StrCat("binary data of ", kRequestNameBytes, " bytes"), field));
      }
    } else if (key == "nr") {
      if (field.IsBool()) {
        request->no_reply = field.AsBool();
      } else {
        fail(WrongField("nr", "a bool", field));
      }
    }
  }
  if (!status.ok()) return status;
  if (!has_id) return absl::InvalidArgumentError("request: field 'id' (an integer) is missing");
  if (!operation.has_value()) {
    return absl::InvalidArgumentError("request: field 'op' (an integer) is missing");
  }
  request->operation = static_cast<Operation>(*operation);
  if (OperationName(request->operation).empty()) {
    return absl::UnimplementedError(
        absl::StrCat("request: field 'op' is ", *operation, ", which is no operation known here"));
  }
  return absl::OkStatus();
}

inline absl::Status ParseRequest(std::string_view payload, Request* request) {
  const absl::StatusOr<ValueView> value = ValueView::Parse(payload, net_internal::kRequestLimits);
  if (!value.ok()) {
    request->id = net_internal::GuessRequestId(payload);
    return absl::InvalidArgumentError(
        absl::StrCat("request: not valid MessagePack: ", value.status().message()));
  }
  return ReadRequest(*value, request);
}

inline void AppendResultHeader(std::uint32_t id, std::string* out) {
  out->append("\x82\xa2id", 4);
  Builder(out).Uint(id);
  out->append("\xa6result", 7);
}

inline void AppendErrorResponse(std::uint32_t id, const absl::Status& status, std::string* out) {
  out->append("\x82\xa2id", 4);
  Builder builder(out);
  builder.Uint(id);
  out->append(
      "\xa5"
      "error",
      6);
  if (status.code() == absl::StatusCode::kUnauthenticated) {
    builder.String(status.message());
  } else {
    builder.String(absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message()));
  }
}

inline void AppendRequest(const RequestHeader& header, ValueView args, std::string* out) {
  Builder builder(out);
  builder.StartDocument(4U + !header.database.empty() + !header.token.empty() + header.no_reply +
                        !header.request_name.empty());
  builder.Key("id").Uint(header.id);
  builder.Key("op").Uint(static_cast<std::uint8_t>(header.operation));
  builder.Key("collection").String(header.collection);
  if (!header.database.empty()) builder.Key("database").String(header.database);
  builder.Key("args").Raw(args);
  if (!header.token.empty()) builder.Key("auth").String(header.token);
  if (header.no_reply) builder.Key("nr").Bool(true);
  if (!header.request_name.empty()) builder.Key("rid").Binary(header.request_name);
  builder.EndDocument();
}

namespace net_internal {
// The inverse of what AppendErrorResponse writes.
inline absl::Status ParseErrorText(std::string_view text) {
  if (absl::StrContains(text, "authentication required")) {
    return absl::UnauthenticatedError(text);
  }
  const std::size_t colon = text.find(": ");
  if (colon != text.npos) {
    for (int code = 1; code <= 16; ++code) {
      if (absl::StatusCodeToString(static_cast<absl::StatusCode>(code)) == text.substr(0, colon)) {
        return absl::Status(static_cast<absl::StatusCode>(code), text.substr(colon + 2));
      }
    }
  }
  return absl::UnknownError(text);
}
}  // namespace net_internal

inline absl::StatusOr<Response> ParseResponse(std::string_view payload) {
  const absl::StatusOr<ValueView> value = ValueView::Parse(payload, net_internal::kResponseLimits);
  if (!value.ok()) {
    return absl::DataLossError(
        absl::StrCat("response: not valid MessagePack: ", value.status().message()));
  }
  if (!value->IsDocument()) {
    return absl::DataLossError(
        absl::StrCat("response: expected a map, not ", TypeName(value->type())));
  }
  Response response;
  bool has_id = false;
  for (const auto [key, field] : value->entries()) {
    if (key == "id") {
      const auto id = net_internal::IntegerIn(field, std::numeric_limits<std::uint32_t>::max());
      if (!id.has_value()) {
        return absl::DataLossError("response: field 'id' must be an integer from 0 to 4294967295");
      }
      response.id = static_cast<std::uint32_t>(*id);
      has_id = true;
    } else if (key == "error") {
      if (field.IsNull()) continue;
      if (!field.IsString()) {
        return absl::DataLossError(
            absl::StrCat("response: field 'error' must be a string, not ", TypeName(field.type())));
      }
      if (!field.AsString().empty())
        response.status = net_internal::ParseErrorText(field.AsString());
    } else if (key == "result") {
      response.result = field;
    }
  }
  if (!has_id) return absl::DataLossError("response: field 'id' (an integer) is missing");
  return response;
}

}  // namespace alos

#endif  // ALOS_NET_MESSAGE_H_
