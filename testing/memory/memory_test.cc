// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Memory runs out: of every kind of request the first, the second, ... allocation fails, by way of
// the server's own dispatch (a session of the protocol over an engine on a real directory). Each
// time:
//
//   * the request fails whole, with an error that names memory, or its connection ends; or it
//   needed
//     what it did not get for something that it can do without, and is right;
//   * the process goes on: everything is found as it was, or with all of the request, and a write
//   is
//     accepted. Where it ends instead (only in threads of the engine's own: `Anywhere`), the next
//     one finds everything that was acknowledged;
//   * a restart finds what was found.
//
// ALOS_MEMORY_MODE is the durability policy under test (BUILD.bazel). Allocations are those of
// operator new; what C libraries take with malloc is not among them.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/types/span.h"
#include "alos/base/log.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/net/big_endian.h"
#include "alos/net/message.h"
#include "alos/net/protocol.h"
#include "gtest/gtest.h"
#include "plugin/protocol.h"

// --- The allocator.
// -------------------------------------------------------------------------------

namespace {

std::atomic<bool> armed{false};
std::atomic<bool> anywhere{false};
std::atomic<bool> for_ever{false};  // from the n-th on
std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> failing{0};
std::atomic<bool> struck{false};
thread_local bool is_victim = false;
thread_local bool is_harness = false;  // this test itself, when it is not the victim

bool Fails() {
  if (!armed.load(std::memory_order_relaxed)) return false;
  if (!is_victim && (is_harness || !anywhere.load(std::memory_order_relaxed))) return false;
  const std::uint64_t number = allocations.fetch_add(1) + 1;
  if (number != failing.load() && !(for_ever.load() && number > failing.load())) return false;
  struck.store(true);
  return true;
}

void* Allocate(std::size_t size, std::size_t alignment) {
  if (Fails()) {
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
    // It has found some.
    for_ever.store(false);
  }
  if (size == 0) size = 1;
  void* const memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* AllocateOrNot(std::size_t size) noexcept {
  try {
    return Allocate(size, 1);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

}  // namespace

void* operator new(std::size_t size) { return Allocate(size, 1); }
void* operator new[](std::size_t size) { return Allocate(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return AllocateOrNot(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return AllocateOrNot(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace alos {
namespace {

using TestEngine = BasicEngine<Policies<ALOS_MEMORY_MODE>>;
using TestProtocol = plugin::Protocol<TestEngine>;
using Session = TestProtocol::Session;

// "collection/id" -> n.
using State = std::map<std::string, std::int64_t>;

// Arguments in JSON.
std::string Pack(std::string_view json) {
  absl::StatusOr<std::string> packed = JsonToMessagePack(json);
  if (!packed.ok()) {
    std::printf("%s: %s\n", std::string(json).c_str(), packed.status().ToString().c_str());
    std::_Exit(2);
  }
  return *std::move(packed);
}

std::string DocumentJson(std::string_view id, std::int64_t n) {
  return absl::StrCat("{\"_id\":\"", id, "\",\"n\":", n, ",\"g\":", n % 5, ",\"u\":\"", id, "#", n,
                      "\",\"text\":\"some text that is longer than what a string holds itself ", n,
                      "\",\"list\":[1,2,{\"x\":", n, "}]}");
}

// One request, or several that follow each other until one fails.
struct Request {
  Operation operation{};
  std::string collection;
  std::string args;  // encoded; "TX" in it stands for the transaction's id
  std::string name = {};
};
struct Case {
  const char* name;
  // What is asked in round `i`, of which all numbers are larger than those before.
  std::function<std::vector<Request>(const State& state, std::int64_t i)> ask;
  // What becomes of the documents; nullptr: nothing.
  std::function<void(State* state, std::int64_t i)> effect = nullptr;
  // Each document by itself, not all at once.
  bool is_piecewise = false;
  // What makes another round possible. Not part of the test.
  std::function<std::vector<Request>(const State& state, std::int64_t i)> prepare = nullptr;
  std::function<void(State* state, std::int64_t i)> prepare_effect = nullptr;
  // Waits, while allocations may fail, until indexes have been built.
  bool builds = false;
};

Request Insert(std::string_view collection, std::string_view id, std::int64_t n) {
  return {Operation::kInsertOne, std::string(collection), Pack(DocumentJson(id, n))};
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  const auto fresh = [](std::int64_t i) { return absl::StrCat("new", i); };
  cases.push_back(
      {"InsertOne",
       [=](const State&, std::int64_t i) { return std::vector<Request>{Insert("a", fresh(i), i)}; },
       [=](State* state, std::int64_t i) { (*state)["a/" + fresh(i)] = i; }});
  cases.push_back({"InsertMany",
                   [=](const State&, std::int64_t i) {
                     std::string blob;
                     std::string args;
                     Builder builder(&args);
                     builder.StartDocument(3).Key("ids").StartArray(3);
                     std::vector<std::size_t> offsets;
                     for (int k = 0; k < 3; ++k) {
                       builder.String("");
                       offsets.push_back(blob.size());
                       blob += Pack(DocumentJson(absl::StrCat("many", i, "_", k), i));
                     }
                     builder.EndArray().Key("blob").Binary(blob).Key("offsets").StartArray(3);
                     for (const std::size_t offset : offsets) builder.Uint(offset);
                     builder.EndArray().EndDocument();
                     return std::vector<Request>{{Operation::kInsertMany, "b", args}};
                   },
                   [=](State* state, std::int64_t i) {
                     for (int k = 0; k < 3; ++k) (*state)[absl::StrCat("b/many", i, "_", k)] = i;
                   },
                   true});
  const auto set_n = [](std::int64_t i) {
    return absl::StrCat("{\"$set\":{\"n\":", i, ",\"g\":", i % 5, "}}");
  };
  cases.push_back(
      {"UpdateOne",
       [=](const State&, std::int64_t i) {
         return std::vector<Request>{
             {Operation::kUpdateOne, "a",
              Pack(absl::StrCat("{\"filter\":{\"_id\":\"k1\"},\"update\":", set_n(i), "}"))}};
       },
       [](State* state, std::int64_t i) { (*state)["a/k1"] = i; }});
  cases.push_back({"UpdateMany",
                   [=](const State&, std::int64_t i) {
                     return std::vector<Request>{
                         {Operation::kUpdateMany, "b",
                          Pack(absl::StrCat(
                              "{\"filter\":{\"_id\":{\"$in\":[\"k1\",\"k2\",\"k3\"]}},\"update\":",
                              set_n(i), "}"))}};
                   },
                   [](State* state, std::int64_t i) {
                     for (const char* key : {"b/k1", "b/k2", "b/k3"}) (*state)[key] = i;
                   },
                   true});
  cases.push_back({"UpsertOne",
                   [=](const State&, std::int64_t i) {
                     return std::vector<Request>{
                         {Operation::kUpsertOne, "a",
                          Pack(absl::StrCat("{\"filter\":{\"_id\":\"up", i,
                                            "\"},\"update\":{\"$set\":{\"n\":", i, ",\"u\":\"up", i,
                                            "\"}}}"))}};
                   },
                   [](State* state, std::int64_t i) { (*state)[absl::StrCat("a/up", i)] = i; }});
  cases.push_back({"DeleteOne",
                   [](const State&, std::int64_t) {
                     return std::vector<Request>{
                         {Operation::kDeleteOne, "a", Pack("{\"filter\":{\"_id\":\"gone\"}}")}};
                   },
                   [](State* state, std::int64_t) { state->erase("a/gone"); }, false,
                   [](const State& state, std::int64_t i) {
                     return state.contains("a/gone") ? std::vector<Request>()
                                                     : std::vector<Request>{Insert("a", "gone", i)};
                   },
                   [](State* state, std::int64_t i) { state->try_emplace("a/gone", i); }});
  cases.push_back(
      {"DeleteMany",
       [](const State&, std::int64_t) {
         return std::vector<Request>{
             {Operation::kDeleteMany, "b", Pack("{\"filter\":{\"_id\":{\"$regex\":\"^many\"}}}")}};
       },
       [](State* state, std::int64_t) {
         std::erase_if(*state, [](const auto& entry) { return entry.first.starts_with("b/many"); });
       },
       true,
       [](const State&, std::int64_t i) {
         return std::vector<Request>{Insert("b", absl::StrCat("many", i, "x"), i),
                                     Insert("b", absl::StrCat("many", i, "y"), i)};
       },
       [](State* state, std::int64_t i) {
         for (const char* tail : {"x", "y"}) (*state)[absl::StrCat("b/many", i, tail)] = i;
       }});
  const auto read = [&](const char* name, Operation operation, std::string_view collection,
                        std::string_view args) {
    cases.push_back({name, [=, collection = std::string(collection), packed = Pack(args)](
                               const State&, std::int64_t) {
                       return std::vector<Request>{{operation, collection, packed}};
                     }});
  };
  read("FindById", Operation::kFindById, "a", R"({"id":"k1"})");
  read("FindOne", Operation::kFindOne, "a", R"({"query":{"g":2},"sort":{"_id":1}})");
  read("Find by an index", Operation::kFind, "a", R"({"query":{"g":2},"sort":{"_id":1}})");
  read(
      "Find by a scan", Operation::kFind, "b",
      R"({"query":{"text":{"$regex":"longer.*[0-9]"},"list.x":{"$gte":0}},"sort":{"n":-1,"_id":1},)"
      R"("limit":5,"projection":{"n":1,"u":{"$concat":["$u","!"]}}})");
  read("Find stream", Operation::kFindManyStream, "a",
       R"({"query":{},"sort":{"_id":1},"limit":3})");
  read("Count", Operation::kCount, "a", R"({"query":{"g":{"$in":[1,2]},"n":{"$gt":0}}})");
  read("Aggregate groups", Operation::kAggregate, "a",
       R"({"pipeline":[{"$match":{"n":{"$gte":0}}},{"$group":{"_id":"$g","s":{"$sum":"$n"},)"
       R"("all":{"$push":"$u"}}},{"$sort":{"_id":1}}]})");
  read("Aggregate joins", Operation::kAggregate, "a",
       R"({"pipeline":[{"$lookup":{"from":"b","localField":"g","foreignField":"g","as":"others"}},)"
       R"({"$project":{"c":{"$size":"$others"},"t":{"$toUpper":"$text"}}},{"$sort":{"_id":1}}]})");
  read("Aggregate stream", Operation::kAggregateStream, "a",
       R"({"pipeline":[{"$unwind":"$list"},{"$sort":{"_id":1}}],"batch_size":4})");
  read("ListIndexes", Operation::kListIndexes, "b", "{}");
  read("Flush", Operation::kFlush, "", "{}");
  read("Stats", Operation::kStats, "", "{}");
  read("ReadTimestamp", Operation::kReadTimestamp, "", "{}");
  read("Changes", Operation::kChanges, "", R"({"from":1,"limit":5})");
  read("OpenSession", Operation::kOpenSession, "", "{}");
  const auto drop_index = [](const State&, std::int64_t) {
    return std::vector<Request>{{Operation::kDropIndex, "b", Pack(R"({"field":"n"})")}};
  };
  const auto create_index = [](const State&, std::int64_t) {
    return std::vector<Request>{{Operation::kCreateIndex, "b", Pack(R"({"field":"n"})")}};
  };
  cases.push_back({"CreateIndex", create_index, nullptr, false, drop_index, nullptr, true});
  cases.push_back({"DropIndex", drop_index, nullptr, false, create_index, nullptr});
  cases.push_back(
      {"CreateIndex, unique",
       [](const State&, std::int64_t) {
         return std::vector<Request>{
             {Operation::kCreateIndex, "b", Pack(R"({"field":"u","unique":true})")}};
       },
       nullptr, false,
       [](const State&, std::int64_t) {
         return std::vector<Request>{{Operation::kDropIndex, "b", Pack(R"({"field":"u"})")}};
       },
       nullptr, true});
  cases.push_back({"CreateCollection", [](const State&, std::int64_t i) {
                     return std::vector<Request>{
                         {Operation::kCreateCollection, "",
                          Pack(absl::StrCat("{\"name\":\"made", i % 20, "\"}"))}};
                   }});
  cases.push_back({"Drop",
                   [](const State&, std::int64_t) {
                     return std::vector<Request>{{Operation::kDrop, "t", Pack("{}")}};
                   },
                   [](State* state, std::int64_t) {
                     std::erase_if(*state,
                                   [](const auto& entry) { return entry.first.starts_with("t/"); });
                   },
                   false,
                   [](const State& state, std::int64_t i) {
                     return state.contains("t/k") ? std::vector<Request>()
                                                  : std::vector<Request>{Insert("t", "k", i)};
                   },
                   [](State* state, std::int64_t i) { state->try_emplace("t/k", i); }});
  const auto pair_update = [=](std::int64_t i, const char* tx) {
    return Pack(absl::StrCat("{", tx, "\"filter\":{\"_id\":\"k1\"},\"update\":", set_n(i), "}"));
  };
  cases.push_back(
      {"Transaction",
       [=](const State&, std::int64_t i) {
         const char* const tx = "\"tx_id\":\"TX\",";
         return std::vector<Request>{
             {Operation::kBeginTransaction, "", Pack(R"({"isolation":"serializable"})")},
             {Operation::kTransactionUpdateOne, "p", pair_update(i, tx)},
             {Operation::kTransactionUpdateOne, "q", pair_update(i, tx)},
             {Operation::kTransactionInsertOne, "a",
              Pack(absl::StrCat("{", tx, "\"doc\":", DocumentJson(absl::StrCat("tx", i), i), "}"))},
             {Operation::kTransactionFind, "a",
              Pack(absl::StrCat("{", tx, "\"query\":{\"g\":3}}"))},
             {Operation::kTransactionDeleteOne, "a",
              Pack(absl::StrCat("{", tx, "\"filter\":{\"_id\":\"tx", i - 1, "\"}}"))},
             {Operation::kTransactionCommit, "", Pack("{\"tx_id\":\"TX\"}")}};
       },
       [](State* state, std::int64_t i) {
         (*state)["p/k1"] = (*state)["q/k1"] = (*state)[absl::StrCat("a/tx", i)] = i;
         state->erase(absl::StrCat("a/tx", i - 1));
       }});
  cases.push_back({"Transaction in one",
                   [=](const State&, std::int64_t i) {
                     const auto one = [&](const char* collection) {
                       return absl::StrCat(
                           "{\"op\":5,\"collection\":\"", collection,
                           "\",\"args\":{\"filter\":{\"_id\":\"k1\"},\"update\":", set_n(i), "}}");
                     };
                     return std::vector<Request>{
                         {Operation::kTransactionBatch, "",
                          Pack(absl::StrCat("{\"operations\":[", one("p"), ",", one("q"), "]}"))}};
                   },
                   [](State* state, std::int64_t i) { (*state)["p/k1"] = (*state)["q/k1"] = i; }});
  cases.push_back(
      {"Batch",
       [=](const State&, std::int64_t i) {
         std::string args;
         Builder builder(&args);
         builder.StartDocument(1).Key("requests").StartArray(2);
         for (const char* id : {"k4", "k5"}) {
           std::string member;
           const std::string update =
               Pack(absl::StrCat("{\"filter\":{\"_id\":\"", id, "\"},\"update\":", set_n(i), "}"));
           AppendRequest({.id = 1, .operation = Operation::kUpdateOne, .collection = "b"},
                         ValueView::FromTrusted(update), &member);
           builder.Raw(ValueView::FromTrusted(member));
         }
         builder.EndArray().EndDocument();
         return std::vector<Request>{{Operation::kBatch, "", args}};
       },
       [](State* state, std::int64_t i) { (*state)["b/k4"] = (*state)["b/k5"] = i; }, true});
  cases.push_back(
      {"InsertOne with a name",
       [=](const State&, std::int64_t i) {
         Request request = Insert("a", absl::StrCat("named", i), i);
         request.name = "SESSION";
         return std::vector<Request>{request};
       },
       [=](State* state, std::int64_t i) { (*state)[absl::StrCat("a/named", i)] = i; }});
  return cases;
}

// What a child tells its parent, in memory that both have.
struct Shared {
  std::uint64_t case_number;
  std::uint64_t failing;
  std::uint64_t rounds;
  std::uint64_t failed;    // answered with an error
  std::uint64_t closed;    // the connection ended
  std::uint64_t survived;  // right all the same
  bool piecewise;
  char before[1 << 16];
  char after[1 << 16];
};
Shared* shared = nullptr;

std::string Encode(const State& state) {
  std::string text;
  for (const auto& [key, n] : state) absl::StrAppend(&text, key, "=", n, "\n");
  return text;
}
void Store(const State& state, char* out) {
  const std::string text = Encode(state);
  if (text.size() >= sizeof(shared->before)) std::_Exit(2);
  std::memcpy(out, text.c_str(), text.size() + 1);
}
State Load(const char* text) {
  State state;
  while (*text != 0) {
    const char* const equals = std::strchr(text, '=');
    state[std::string(text, equals)] = std::strtoll(equals + 1, nullptr, 10);
    text = std::strchr(equals, '\n') + 1;
  }
  return state;
}

[[noreturn]] void Wrong(std::string_view what) {
  armed.store(false);
  const std::vector<Case> cases = Cases();
  std::printf("%s, allocation %llu%s%s: %s\n", cases[shared->case_number].name,
              static_cast<unsigned long long>(shared->failing), for_ever ? " and all after it" : "",
              anywhere ? ", in any thread" : "", std::string(what).c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

std::string Difference(const State& expected, const State& found) {
  std::string text;
  for (const auto& [key, n] : expected) {
    const auto other = found.find(key);
    if (other == found.end()) {
      absl::StrAppend(&text, "\n  missing ", key, " = ", n);
    } else if (other->second != n) {
      absl::StrAppend(&text, "\n  ", key, " = ", other->second, ", expected ", n);
    }
  }
  for (const auto& [key, n] : found) {
    if (!expected.contains(key)) absl::StrAppend(&text, "\n  unexpected ", key, " = ", n);
  }
  return text;
}

// `found` is one of both; with `piecewise`, each document is as in one of both.
bool IsEither(const State& found, const State& before, const State& after, bool piecewise) {
  if (found == before || found == after) return true;
  if (!piecewise) return false;
  State all = before;
  all.insert(after.begin(), after.end());
  all.insert(found.begin(), found.end());
  const auto n_in = [](const State& state, const std::string& key) {
    const auto it = state.find(key);
    return it == state.end() ? std::int64_t{-1} : it->second;
  };
  for (const auto& [key, n] : all) {
    const std::int64_t now = n_in(found, key);
    if (now != n_in(before, key) && now != n_in(after, key)) return false;
  }
  return true;
}

// The server without its sockets.
class Host {
 public:
  explicit Host(const std::string& path) {
    options_.data_path = path;
    options_.shards = 3;
    options_.cache_bytes = 1 << 16;
    options_.journal_segment_bytes = 256 << 10;
    options_.unstored_index_rows_max = 0;
    options_.automatic_indexes = false;
    options_.expiry_interval = absl::ZeroDuration();
    options_.scrub_interval = absl::ZeroDuration();
    Open();
  }

  void Open() {
    auto engine = TestEngine::Open(options_);
    if (!engine.ok()) Wrong(absl::StrCat("the engine does not open: ", engine.status().ToString()));
    engine_ = *std::move(engine);
    protocol_ = std::make_unique<TestProtocol>(engine_.get(), AlosProtocolOptions());
    auto database = engine_->GetOrCreateDatabase("alosdb");
    if (!database.ok())
      Wrong(absl::StrCat("the database does not open: ", database.status().ToString()));
    database_ = *database;
  }
  // `orderly`: with Close.
  void End(bool orderly) {
    session_ = nullptr;
    protocol_ = nullptr;
    if (orderly) {
      const absl::Status closed = engine_->Close();
      if (!closed.ok()) Wrong(absl::StrCat("does not close: ", closed.ToString()));
    }
    database_ = nullptr;
    engine_ = nullptr;
  }

  struct Answer {
    enum { kOk, kError, kClosed } how = kClosed;
    std::string text;  // of the error, or the result
  };

  // As the server would; the session ends where the server would end the connection.
  Answer Ask(Request request) {
    if (session_ == nullptr) {
      const bool was_armed = armed.exchange(false);
      session_ = protocol_->NewSession();
      transaction_.clear();
      armed.store(was_armed);
    }
    std::string frame(4, '\0');
    {
      const bool was_armed = armed.exchange(false);
      if (!transaction_.empty()) {
        const std::string placeholder = Pack("\"TX\"");
        const std::string id = Pack(absl::StrCat("\"", transaction_, "\""));
        const std::size_t at = request.args.find(placeholder);
        if (at != std::string::npos) request.args.replace(at, placeholder.size(), id);
      }
      AppendRequest({.id = 1,
                     .operation = request.operation,
                     .collection = request.collection,
                     .request_name = request.name},
                    ValueView::FromTrusted(request.args), &frame);
      net_internal::StoreBigEndian32(static_cast<std::uint32_t>(frame.size() - 4), frame.data());
      armed.store(was_armed);
    }
    std::string output;
    bool is_open = false;
    try {
      is_open = Exchange(frame, &output);
    } catch (const std::bad_alloc&) {
      output.clear();  // the server drops it with the connection
    }
    const bool was_armed = armed.exchange(false);
    Answer answer;
    if (output.size() > 4) {
      const auto response = ParseResponse(std::string_view(output).substr(4));
      if (!response.ok()) Wrong(absl::StrCat("no response: ", response.status().ToString()));
      if (response->status.ok()) {
        answer.how = Answer::kOk;
        answer.text = std::string(response->result.value_or(ValueView()).bytes());
        if (request.operation == Operation::kBeginTransaction)
          transaction_ = std::string(response->result->Find("tx_id")->AsString());
      } else {
        answer.how = Answer::kError;
        answer.text = response->status.ToString();
      }
    }
    if (!is_open) session_ = nullptr;
    armed.store(was_armed);
    return answer;
  }

  Answer AskAll(const std::vector<Request>& requests) {
    Answer answer;
    for (const Request& request : requests) {
      answer = Ask(request);
      if (answer.how != Answer::kOk) break;
    }
    return answer;
  }

  State Read() {
    State found;
    for (const std::string& collection : database_->ListCollections()) {
      if (collection.starts_with("$")) continue;
      std::uint64_t count = 0;
      std::string wrong;
      const absl::Status status =
          database_->Find(collection, {.force_scan = true}, [&](ValueView document) {
            const std::string id(document.Find("_id")->AsString());
            ++count;
            if (!found.emplace(absl::StrCat(collection, "/", id), document.Find("n")->AsInt64())
                     .second) {
              wrong = absl::StrCat(collection, "/", id, " is there twice");
            }
            return true;
          });
      if (!status.ok()) Wrong(absl::StrCat("reading: ", status.ToString()));
      if (!wrong.empty()) Wrong(wrong);
      const auto counted = database_->Count(collection, Filter());
      if (!counted.ok() || *counted != count)
        Wrong(absl::StrCat("the count of ", collection, " is ", counted.value_or(0), ", not ",
                           count));
    }
    for (const auto& [key, n] : found) {
      std::int64_t by_id = -1;
      const std::string id = Pack(absl::StrCat("\"", key.substr(key.find('/') + 1), "\""));
      const auto looked =
          database_->FindById(key.substr(0, key.find('/')), id,
                              [&](ValueView document) { by_id = document.Find("n")->AsInt64(); });
      if (!looked.ok() || by_id != n) Wrong(absl::StrCat(key, " by id is ", by_id, ", not ", n));
    }
    return found;
  }

  // What indexes say is what a scan says.
  void CheckIndexes() {
    for (const char* collection : {"a", "b"}) {
      for (int g = 0; g < 5; ++g) {
        std::string bytes = Pack(absl::StrCat("{\"g\":", g, "}"));
        const Filter filter = *Filter::Compile(ValueView::FromTrusted(bytes));
        std::map<std::string, int> answers[2];
        for (const bool scan : {false, true}) {
          const absl::Status status = database_->Find(
              collection, {.filter = &filter, .force_scan = scan}, [&](ValueView document) {
                ++answers[scan][std::string(document.bytes())];
                return true;
              });
          if (!status.ok()) Wrong(absl::StrCat("by index: ", status.ToString()));
        }
        if (answers[0] != answers[1])
          Wrong(absl::StrCat(collection, ": an index and a scan differ for g = ", g));
      }
    }
    // "a" has a unique index: what is there cannot come again.
    std::string taken;
    const absl::Status status = database_->Find("a", {.limit = 1}, [&](ValueView document) {
      taken = std::string(document.Find("u")->AsString());
      return false;
    });
    if (!status.ok()) Wrong(status.ToString());
    const Answer answer =
        Ask({Operation::kInsertOne, "a",
             Pack(absl::StrCat("{\"_id\":\"duplicate\",\"n\":1,\"u\":\"", taken, "\"}"))});
    if (answer.how != Answer::kError || !absl::StrContains(answer.text, "ALREADY_EXISTS"))
      Wrong(absl::StrCat("a duplicate was not refused: ", answer.text));
  }

  void WaitForIndexes() { database_->WaitForIndexes("b").IgnoreError(); }
  TestEngine::Database* database() { return database_; }

 private:
  // False: the connection has ended.
  bool Exchange(std::string_view bytes, std::string* output) {
    is_victim = true;
    struct AtEnd {
      ~AtEnd() { is_victim = false; }
    } at_end;
    while (!bytes.empty()) {
      const absl::Span<char> room = session_->Prepare();
      const std::size_t taken = std::min(room.size(), bytes.size());
      std::memcpy(room.data(), bytes.data(), taken);
      session_->Commit(taken);
      bytes.remove_prefix(taken);
      for (bool more = true; more;) {
        switch (session_->Advance(output)) {
          case SessionStep::kReceive:
            more = false;
            break;
          case SessionStep::kSend:
            break;
          case SessionStep::kWork:
            session_->Work(output);
            break;
          case SessionStep::kPause:
            std::this_thread::sleep_until(session_->PauseUntil());
            break;
          case SessionStep::kWait: {
            // The server takes what it needs to wait when the connection begins.
            absl::Notification done;
            absl::Status outcome;
            session_->Wait([&](absl::Status status) {
              outcome = std::move(status);
              done.Notify();
            });
            done.WaitForNotification();
            session_->Resume(outcome);
            break;
          }
          case SessionStep::kClose:
            return false;
        }
      }
    }
    return true;
  }

  EngineOptions options_;
  std::unique_ptr<TestEngine> engine_;
  std::unique_ptr<TestProtocol> protocol_;
  std::unique_ptr<Session> session_;
  TestEngine::Database* database_ = nullptr;
  std::string transaction_;
};

// The name of a write, of a session of its own.
std::string RequestNameOf(Host* host) {
  const Host::Answer answer = host->Ask({Operation::kOpenSession, "", Pack("{}")});
  if (answer.how != Host::Answer::kOk) Wrong(absl::StrCat("OpenSession: ", answer.text));
  const ValueView session = ValueView::FromTrusted(answer.text);
  std::string name(kRequestNameBytes, '\0');
  net_internal::StoreBigEndian32(static_cast<std::uint32_t>(session.Find("slot")->AsInt64()),
                                 name.data());
  std::memcpy(name.data() + 4, session.Find("key")->AsBinary().data(), 16);
  name[27] = 1;
  return name;
}

std::uint64_t Next(std::uint64_t failing) {
  return failing + 1 + (failing > 60 ? failing / 12 : 0);
}

// The life of a child: one case, from `first` on.
void Run(const std::string& path, std::size_t case_number, std::uint64_t first, bool forever) {
  is_harness = true;
  const std::vector<Case> cases = Cases();
  const Case& one = cases[case_number];
  Host host(path);
  State state;
  for (const char* collection : {"a", "b", "p", "q"}) {
    for (int k = 0; k < 6; ++k) {
      const auto answer = host.Ask(Insert(collection, absl::StrCat("k", k), k));
      if (answer.how != Host::Answer::kOk)
        Wrong(absl::StrCat("the first documents: ", answer.text));
      state[absl::StrCat(collection, "/k", k)] = k;
    }
  }
  for (const char* collection : {"a", "b"}) {
    host.Ask({Operation::kCreateIndex, collection, Pack(R"({"field":"g"})")});
    host.database()->WaitForIndexes(collection).IgnoreError();
  }
  host.Ask({Operation::kCreateIndex, "a", Pack(R"({"field":"u","unique":true})")});
  std::optional<std::string> right;
  std::int64_t i = 100;
  bool was_struck = true;
  for (std::uint64_t n = first; was_struck; n = Next(n)) {
    ++i;
    shared->failing = n;
    // Nothing but what is asked may make the tables large.
    for (auto it = state.begin(); it != state.end();) {
      const bool is_old = it->second > 100 && it->second < i - 3 && it->first[2] != 'k';
      if (is_old && it->first != "a/gone") {
        host.Ask({Operation::kDeleteOne, it->first.substr(0, 1),
                  Pack(absl::StrCat("{\"filter\":{\"_id\":\"", it->first.substr(2), "\"}}"))});
        it = state.erase(it);
      } else {
        ++it;
      }
    }
    if (one.prepare != nullptr) {
      host.AskAll(one.prepare(state, i));
      if (one.prepare_effect != nullptr) one.prepare_effect(&state, i);
    }
    std::vector<Request> requests = one.ask(state, i);
    for (Request& request : requests) {
      if (!request.name.empty()) request.name = RequestNameOf(&host);
    }
    State after = state;
    if (one.effect != nullptr) one.effect(&after, i);
    Store(state, shared->before);
    Store(after, shared->after);
    shared->piecewise = one.is_piecewise;
    const bool is_read = one.effect == nullptr && one.prepare == nullptr;

    allocations.store(0);
    struck.store(false);
    failing.store(n);
    for_ever.store(forever);
    armed.store(true);
    const Host::Answer answer = host.AskAll(requests);
    if (one.builds && anywhere && !struck) host.WaitForIndexes();
    armed.store(false);
    was_struck = struck.load();
    ++shared->rounds;

    const bool is_unknown =
        answer.how == Host::Answer::kClosed || absl::StrContains(answer.text, "outcome unknown");
    if (answer.how == Host::Answer::kError) {
      ++shared->failed;
      if (!absl::StrContains(answer.text, "memory"))
        Wrong(absl::StrCat("the error does not name memory: ", answer.text));
    } else if (answer.how == Host::Answer::kClosed) {
      ++shared->closed;
    } else {
      shared->survived += was_struck;
      const std::string_view name = one.name;
      if (is_read && name != "Stats" && name != "ReadTimestamp" && name != "Changes" &&
          name != "OpenSession" && name != "ListIndexes" && name != "Find stream" &&
          name != "Aggregate stream") {
        if (right && *right != answer.text) Wrong("the answer is wrong");
        right = answer.text;
      }
    }
    // Also what is still under way, for all that nobody heard.
    if (const absl::Status flushed = host.database()->Flush(); !flushed.ok())
      Wrong(absl::StrCat("it does not go on: ", flushed.ToString()));
    const State found = host.Read();
    if (answer.how == Host::Answer::kOk) {
      if (found != after) Wrong(absl::StrCat("acknowledged, but", Difference(after, found)));
    } else if (!is_unknown && !one.is_piecewise) {
      if (found != state) Wrong(absl::StrCat("refused, but", Difference(state, found)));
    } else if (!IsEither(found, state, after, one.is_piecewise)) {
      Wrong(absl::StrCat("a part of it was done:", Difference(state, found)));
    }
    state = found;
    // It goes on.
    const Host::Answer probe =
        host.Ask({Operation::kUpsertOne, "p",
                  Pack(absl::StrCat("{\"filter\":{\"_id\":\"k0\"},\"update\":{\"$set\":{\"n\":", i,
                                    "}}}"))});
    if (probe.how != Host::Answer::kOk) Wrong(absl::StrCat("it does not go on: ", probe.text));
    state["p/k0"] = i;
    if (i % 5 == 0) host.CheckIndexes();
    if (i % 7 == 0 || !was_struck) {
      host.End(i % 2 == 0);
      host.Open();
      const State again = host.Read();
      if (again != state) Wrong(absl::StrCat("after a restart:", Difference(state, again)));
      host.CheckIndexes();
    }
  }
  host.End(true);
}

// Whoever opens it after the process has ended.
void Verify(const std::string& path) {
  Host host(path);
  const State before = Load(shared->before);
  const State found = host.Read();
  if (!IsEither(found, before, Load(shared->after), shared->piecewise))
    Wrong(absl::StrCat("the process ended, and then:", Difference(before, found)));
  host.CheckIndexes();
  host.End(true);
}

struct Ended {
  bool by_signal = false;
  int code = 0;
};
Ended InChild(const std::function<void()>& life) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(120);
    SetMinimumLogLevel(static_cast<LogLevel>(static_cast<int>(LogLevel::kError) + 1));
    // The main thread of a child is no different from others; its end is that of the process.
    std::thread([&] { life(); }).join();
    std::fflush(stdout);
    std::_Exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return {true, WTERMSIG(status)};
  return {false, WEXITSTATUS(status)};
}

void SweepAll(bool in_any_thread, bool forever) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer does not follow forks of threads";
#endif
  shared = static_cast<Shared*>(
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(shared, MAP_FAILED);
  const std::size_t count = Cases().size();
  const char* const only = std::getenv("ALOS_MEMORY_CASE");
  std::uint64_t ends = 0;
  for (std::size_t number = 0; number < count; ++number) {
    const std::string name = Cases()[number].name;
    if (only != nullptr && name != only) continue;
    std::memset(shared, 0, sizeof(*shared));
    shared->case_number = number;
    std::uint64_t first = 1;
    std::uint64_t case_ends = 0;
    for (int directory = 0; first != 0; ++directory) {
      const std::filesystem::path path =
          std::filesystem::path(testing::TempDir()) /
          absl::StrCat("memory_", ::getpid(), "_", number, "_", directory);
      const auto mode = [&] {
        anywhere.store(in_any_thread);
        for_ever.store(forever);
      };
      const Ended ended = InChild([&] {
        mode();
        Run(path.string(), number, first, forever);
      });
      if (ended.by_signal && ended.code == SIGABRT && in_any_thread) {
        ++case_ends;
        const Ended verified = InChild([&] {
          mode();
          Verify(path.string());
        });
        EXPECT_FALSE(verified.by_signal) << name << ", allocation " << shared->failing
                                         << ": signal " << verified.code << " at the next start";
        EXPECT_EQ(verified.code, 0) << name;
        first = Next(shared->failing);
      } else {
        EXPECT_FALSE(ended.by_signal) << name << ", allocation " << shared->failing << ": signal "
                                      << ended.code << (ended.code == SIGALRM ? " (it hangs)" : "");
        EXPECT_EQ(ended.code, 0) << name;
        first = 0;
      }
      std::filesystem::remove_all(path);
    }
    std::printf(
        "%-24s %5llu rounds to allocation %llu: %llu errors, %llu connections ended, "
        "%llu right all the same, %llu ends of the process\n",
        name.c_str(), static_cast<unsigned long long>(shared->rounds),
        static_cast<unsigned long long>(shared->failing),
        static_cast<unsigned long long>(shared->failed),
        static_cast<unsigned long long>(shared->closed),
        static_cast<unsigned long long>(shared->survived),
        static_cast<unsigned long long>(case_ends));
    ends += case_ends;
  }
  ::munmap(shared, sizeof(Shared));
}

TEST(MemoryTest, EachAllocationOfARequest) { SweepAll(false, false); }
TEST(MemoryTest, EachAllocationOfARequestAndAllAfterIt) { SweepAll(false, true); }
TEST(MemoryTest, EachAllocationAnywhere) { SweepAll(true, false); }

}  // namespace
}  // namespace alos
