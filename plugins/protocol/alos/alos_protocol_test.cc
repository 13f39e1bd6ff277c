// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The protocol without sockets: bytes into a session, bytes out of it, over a real engine.

#include "plugins/protocol/alos/alos_protocol.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/net/big_endian.h"
#include "alos/net/counters.h"
#include "alos/net/credentials.h"
#include "alos/net/frame.h"
#include "alos/net/handshake.h"
#include "alos/net/message.h"
#include "alos/net/protocol.h"
#include "alos/net/secure_channel.h"
#include "gtest/gtest.h"
#include "plugin/ciphers.h"
#include "plugin/protocol.h"
#include "plugins/protocol/alos/internal/result_table.h"

namespace alos {
namespace {

using TestEngine = BasicEngine<Policies<AsyncDurability>>;
using TestProtocol = plugin::Protocol<TestEngine>;
using Channel = SecureChannel<plugin::Ciphers>;
static_assert(Protocol<TestProtocol>);

std::string Encode(std::string_view json) {
  const auto bytes = JsonToMessagePack(json);
  EXPECT_TRUE(bytes.ok()) << json << ": " << bytes.status();
  return bytes.ok() ? *bytes : std::string("\xc0");
}

// A peer of a session: speaks frames, keeps what comes back.
class Talk {
 public:
  explicit Talk(TestProtocol* protocol) : session_(protocol->NewSession()) {}

  // Hands bytes over and lets the session do all it wants to.
  void Receive(std::string_view bytes, std::size_t piece = SIZE_MAX) {
    Drive();
    while (!bytes.empty() && !closed_) {
      const absl::Span<char> room = session_->Prepare();
      const std::size_t size = std::min({piece, room.size(), bytes.size()});
      std::memcpy(room.data(), bytes.data(), size);
      session_->Commit(size);
      bytes.remove_prefix(size);
      Drive();
    }
  }
  std::string Frame(const RequestHeader& header, std::string_view args) {
    std::string frame;
    const std::size_t start = BeginFrame(channel_, &frame);
    AppendRequest(header, ValueView::FromTrusted(args), &frame);
    EndFrame(channel_, start, &frame);
    return frame;
  }
  std::string RawFrame(std::string_view payload) {
    std::string frame;
    const std::size_t start = BeginFrame(channel_, &frame);
    frame.append(payload);
    EndFrame(channel_, start, &frame);
    return frame;
  }
  // One request, its answer as JSON: the result, or "ERROR " and the text.
  std::string Ask(Operation operation, std::string_view collection, std::string_view args_json,
                  std::string_view database = "") {
    Receive(
        Frame({.id = ++id_, .operation = operation, .collection = collection, .database = database},
              Encode(args_json)));
    return Answer();
  }
  // The next answer; "" if there is none.
  std::string Answer() {
    std::optional<std::string> payload = NextPayload();
    if (!payload.has_value()) return "";
    last_ = *payload;
    const auto response = ParseResponse(last_);
    EXPECT_TRUE(response.ok()) << response.status();
    if (!response.ok()) return "?";
    answered_id_ = response->id;
    if (!response->status.ok()) return absl::StrCat("ERROR ", response->status.ToString());
    return ToJson(response->result.value_or(ValueView()));
  }
  std::optional<std::string> NextPayload() {
    std::string_view rest = std::string_view(sent_).substr(read_);
    if (rest.size() < 4) return std::nullopt;
    const std::size_t length = net_internal::LoadBigEndian32(rest.data());
    if (rest.size() - 4 < length) return std::nullopt;
    std::string payload(rest.substr(4, length));
    read_ += 4 + length;
    const auto opened = channel_.Open(absl::MakeSpan(payload));
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) return std::nullopt;
    return std::string(opened->data(), opened->size());
  }

  // Runs the client's side of the handshake; false: refused.
  bool Shake(const Credentials& credentials, HandshakeVersion version, std::size_t piece = 1000) {
    ClientHandshake client(version, credentials, NewSalt());
    std::string hello;
    client.Start(&hello);
    Receive(hello, piece);
    std::string proof;
    const auto taken = client.Consume(std::string_view(sent_).substr(read_), &proof);
    if (!taken.ok() || *taken == 0) return false;
    read_ += *taken;
    Receive(proof, piece);
    channel_.Enable(client.keys(), Channel::Role::kClient);
    return !closed_;
  }

  bool closed() const { return closed_; }
  std::uint32_t answered_id() const { return answered_id_; }
  std::uint32_t last_id() const { return id_; }
  std::string_view unread_output() const { return std::string_view(sent_).substr(read_); }
  int works() const { return works_; }
  int waits() const { return waits_; }
  TestProtocol::Session& session() { return *session_; }
  Channel& channel() { return channel_; }

 private:
  void Drive() {
    while (!closed_) {
      const SessionStep step = session_->Advance(&output_);
      sent_ += std::exchange(output_, std::string());
      switch (step) {
        case SessionStep::kReceive:
          return;
        case SessionStep::kSend:
          break;
        case SessionStep::kWork:
          ++works_;
          session_->Work(&output_);
          break;
        case SessionStep::kWait: {
          ++waits_;
          absl::Notification done;
          absl::Status status;
          session_->Wait([&](absl::Status result) {
            status = std::move(result);
            done.Notify();
          });
          done.WaitForNotification();
          session_->Resume(status);
          break;
        }
        case SessionStep::kPause:
          std::this_thread::sleep_until(session_->PauseUntil());
          break;
        case SessionStep::kClose:
          closed_ = true;
      }
    }
  }

  std::unique_ptr<TestProtocol::Session> session_;
  Channel channel_;
  std::string output_;
  std::string sent_;  // what has left the session's buffer
  std::size_t read_ = 0;
  std::string last_;
  std::uint32_t id_ = 0;
  std::uint32_t answered_id_ = 0;
  bool closed_ = false;
  int works_ = 0;
  int waits_ = 0;
};

class AlosProtocolTest : public ::testing::Test {
 protected:
  AlosProtocolTest() {
    path_ = std::filesystem::path(::testing::TempDir()) /
            absl::StrCat("protocol_", ::getpid(), "_", std::random_device{}());
    EngineOptions options;
    options.data_path = path_.string();
    options.shards = 4;
    auto engine = TestEngine::Open(options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    Configure({});
  }
  ~AlosProtocolTest() override {
    talk_ = nullptr;
    protocol_ = nullptr;
    EXPECT_TRUE(engine_->Close().ok());
    std::filesystem::remove_all(path_);
  }
  void Configure(AlosProtocolOptions options) {
    talk_ = nullptr;
    protocol_ = std::make_unique<TestProtocol>(engine_.get(), std::move(options));
    talk_ = std::make_unique<Talk>(protocol_.get());
  }
  std::string Ask(Operation operation, std::string_view args_json,
                  std::string_view collection = "c") {
    return talk_->Ask(operation, collection, args_json);
  }
  // The answer must be an error with all of `words`.
  void Refused(Operation operation, std::string_view args_json,
               std::initializer_list<std::string_view> words, std::string_view collection = "c") {
    const std::string answer = Ask(operation, args_json, collection);
    EXPECT_TRUE(absl::StartsWith(answer, "ERROR ")) << answer;
    for (const std::string_view word : words) {
      EXPECT_TRUE(absl::StrContains(answer, word)) << answer << " lacks " << word;
    }
  }

  std::filesystem::path path_;
  std::unique_ptr<TestEngine> engine_;
  std::unique_ptr<TestProtocol> protocol_;
  std::unique_ptr<Talk> talk_;
};

TEST_F(AlosProtocolTest, InsertsAndFindsById) {
  EXPECT_EQ(Ask(Operation::kInsertOne, R"({"_id":"a","n":1})"), R"({"id":"a"})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"a"})"), R"({"_id":"a","n":1})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"b"})"), "null");
  EXPECT_EQ(Ask(Operation::kInsertOne, R"({"_id":7,"n":2})"), R"({"id":7})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":7.0})"), R"({"_id":7,"n":2})");
  Refused(Operation::kInsertOne, R"({"_id":"a"})", {"ALREADY_EXISTS", "a", "c"});
  Refused(Operation::kFindById, R"({})", {"FindByID", "'id'", "missing"});
  Refused(Operation::kFindById, R"([])", {"'args'", "object", "array"});
  Refused(Operation::kFindById, R"({"id":"a"})", {"'collection'"}, "");
  Refused(Operation::kInsertOne, R"(5)", {"object"});
}

TEST_F(AlosProtocolTest, TakesTheWrappedFormOfTheFirstClients) {
  EXPECT_EQ(Ask(Operation::kInsertOne, R"({"doc":{"_id":"w","n":1}})"), R"({"id":"w"})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"w"})"), R"({"_id":"w","n":1})");
  EXPECT_EQ(Ask(Operation::kInsertOne, R"({"_id":"own","doc":{"n":1}})"), R"({"id":"own"})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"own"})"), R"({"_id":"own","doc":{"n":1}})");
  EXPECT_TRUE(absl::StrContains(Ask(Operation::kInsertOne, R"({"doc":"text"})"), "\"id\""));
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{"doc":"text"}})"), R"({"n":1})");
}

std::string InsertMany(const std::vector<std::string>& ids, const std::vector<std::string>& json,
                       bool last_offset = true) {
  std::string args, blob;
  Builder builder(&args);
  builder.StartDocument().Key("ids").StartArray();
  for (const std::string& id : ids) builder.String(id);
  builder.EndArray().Key("offsets").StartArray();
  for (const std::string& document : json) {
    builder.Uint(blob.size());
    blob += Encode(document);
  }
  if (last_offset) builder.Uint(blob.size());
  builder.EndArray().Key("blob").Binary(blob).EndDocument();
  return ToJson(ValueView::FromTrusted(args));
}

TEST_F(AlosProtocolTest, InsertManyTakesEveryForm) {
  EXPECT_EQ(
      Ask(Operation::kInsertMany, InsertMany({"a", "b"}, {R"({"_id":"a","n":1})", R"({"n":2})"})),
      R"({"ids":["a","b"]})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"b"})"), R"({"_id":"b","n":2})");
  EXPECT_EQ(
      Ask(Operation::kInsertMany, InsertMany({"", ""}, {R"({"_id":"d"})", R"({"_id":5})"}, false)),
      R"({"ids":["d",5]})");
  EXPECT_EQ(Ask(Operation::kInsertMany, InsertMany({}, {})), R"({"ids":[]})");
  EXPECT_EQ(Ask(Operation::kInsertMany, InsertMany({}, {}, false)), R"({"ids":[]})");
  Refused(Operation::kInsertMany,
          InsertMany({"", "", ""}, {R"({"_id":"x1"})", R"({"_id":"a"})", R"({"_id":"x2"})"}),
          {"ALREADY_EXISTS", "document 2 of 3", "1 documents ahead"});
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"x1"})"), R"({"_id":"x1"})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"x2"})"), "null");
  Refused(Operation::kInsertMany, InsertMany({"other"}, {R"({"_id":"mine"})"}), {"_id", "other"});
  Refused(Operation::kInsertMany, InsertMany({"", ""}, {R"({"_id":"y"})"}, false),
          {"offsets", "1"});
  Refused(Operation::kInsertMany, InsertMany({""}, {"5"}), {"document 1 of 1", "object"});
  Refused(Operation::kInsertMany, R"({"ids":[],"offsets":[]})", {"'blob'"});
  Refused(Operation::kInsertMany,
          R"({"blob":{"$binary":{"base64":"","subType":"00"}},"offsets":[]})", {"'ids'"});
  for (const std::string_view offsets :
       {"[1,1]", "[0,5]", "[-1,1]", "[0,0]", "[\"0\",1]", "[0.5,1]"}) {
    Refused(Operation::kInsertMany,
            absl::StrCat(
                R"({"ids":[""],"blob":{"$binary":{"base64":"gA==","subType":"00"}},"offsets":)",
                offsets, "}"),
            {"offsets"});
  }
}

TEST_F(AlosProtocolTest, Finds) {
  for (int i = 0; i < 20; ++i) {
    Ask(Operation::kInsertOne, absl::StrCat(R"({"_id":)", i, R"(,"n":)", i, R"(,"even":)",
                                            i % 2 == 0 ? "true" : "false", "}"));
  }
  EXPECT_EQ(Ask(Operation::kFindOne, R"({"query":{"n":3}})"), R"({"_id":3,"n":3,"even":false})");
  EXPECT_EQ(Ask(Operation::kFindOne, R"({"query":{"n":33}})"), "null");
  EXPECT_EQ(Ask(Operation::kFind, R"({"query":{"n":33}})"), "[]");
  EXPECT_EQ(Ask(Operation::kFind, R"({"query":{"n":{"$in":[4]}},"fields":["even"]})"),
            R"([{"_id":4,"even":true}])");
  EXPECT_EQ(Ask(Operation::kFind, R"({"query":{"_id":5},"fields":[]})"),
            R"([{"_id":5,"n":5,"even":false}])");
  const auto size = [](const std::string& json) {
    return ValueView::FromTrusted(Encode(json)).size();
  };
  EXPECT_EQ(size(Ask(Operation::kFind, R"({"query":{"even":true}})")), 10u);
  EXPECT_EQ(size(Ask(Operation::kFindPaginated, R"({"query":{},"skip":15,"limit":10})")), 5u);
  EXPECT_EQ(size(Ask(Operation::kFindPaginated, R"({"query":{},"skip":3,"limit":0})")), 17u);
  EXPECT_EQ(size(Ask(Operation::kFindPaginated, R"({"query":{}})")), 20u);
  EXPECT_EQ(Ask(Operation::kCount, "{}"), R"({"count":20})");
  EXPECT_EQ(Ask(Operation::kCount, R"({"query":{"even":true}})"), R"({"count":10})");
  EXPECT_EQ(Ask(Operation::kCount, R"({"filter":{"n":{"$lt":3}}})"), R"({"count":3})");
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{"n":{"$lt":3}}})"), R"({"n":3})");
  Refused(Operation::kFind, R"({"query":{"n":{"$almost":1}}})", {"$almost"});
  Refused(Operation::kFind, R"({"query":"text"})", {"Find", "'query'", "object", "string"});
  Refused(Operation::kFind, R"({"query":{},"fields":"a"})", {"'fields'", "array of strings"});
  Refused(Operation::kFind, R"({"query":{},"fields":[1]})", {"'fields'", "array of strings"});
  Refused(Operation::kFindPaginated, R"({"query":{},"skip":-1})", {"'skip'", "0 or more"});
  Refused(Operation::kFindPaginated, R"({"query":{},"limit":"ten"})", {"'limit'", "string"});
}

TEST_F(AlosProtocolTest, StreamsWithoutLossAndRefusesForeignCursors) {
  for (int i = 0; i < 50; ++i) {
    Ask(Operation::kInsertOne, absl::StrCat(R"({"_id":)", i, R"(,"n":)", i, "}"));
  }
  for (const bool aggregate : {false, true}) {
    std::string cursor;
    std::size_t seen = 0;
    int batches = 0;
    do {
      const std::string with_cursor = cursor.empty() ? "" : absl::StrCat(R"(,"cursor":)", cursor);
      const std::string page = Encode(
          aggregate
              ? Ask(Operation::kAggregateStream,
                    absl::StrCat(R"({"pipeline":[{"$sort":{"n":1}}],"batch_size":7)", with_cursor,
                                 "}"))
              : Ask(Operation::kFindManyStream,
                    absl::StrCat(R"({"query":{},"fields":["n"],"limit":7)", with_cursor, "}")));
      const ValueView view = ValueView::FromTrusted(page);
      ASSERT_TRUE(view.Find("docs").has_value()) << ToJson(view);
      EXPECT_LE(view.Find("docs")->size(), 7u);
      if (aggregate) {
        for (const ValueView document : view.Find("docs")->elements()) {
          EXPECT_EQ(document.Find("n")->ToInt64(), static_cast<std::int64_t>(seen++));
        }
        // Written after the first batch: not in the stream's snapshot.
        if (batches == 0) Ask(Operation::kInsertOne, R"({"_id":"later","n":-1})");
      } else {
        seen += view.Find("docs")->size();
      }
      const std::optional<ValueView> next = view.Find("cursor");
      cursor = next.has_value() ? ToJson(*next) : "";
      ASSERT_LT(++batches, 20);
    } while (!cursor.empty());
    EXPECT_EQ(seen, 50u);
  }
  const std::string_view foreign = R"(,"cursor":{"$binary":{"base64":"AAAA","subType":"00"}}})";
  Refused(Operation::kFindManyStream, absl::StrCat(R"({"query":{})", foreign), {"cursor"});
  Refused(Operation::kAggregateStream, absl::StrCat(R"({"pipeline":[])", foreign), {"cursor"});
  Refused(Operation::kFindManyStream, R"({"query":{},"cursor":5})", {"'cursor'", "binary"});
}

TEST_F(AlosProtocolTest, ExpressionsInFiltersMatchOrFailTheQuery) {
  Ask(Operation::kInsertMany,
      InsertMany({"", ""}, {R"({"_id":"a","spent":5,"budget":4})", R"({"_id":"b","spent":1})"}));
  const std::string_view over = R"({"$expr":{"$gt":["$spent","$budget"]}})";
  EXPECT_EQ(Ask(Operation::kFindManyCount, absl::StrCat(R"({"query":)", over, "}")), R"({"n":2})");
  EXPECT_EQ(Ask(Operation::kUpdateMany, absl::StrCat(R"({"filter":{"budget":4,"$and":[)", over,
                                                     R"(]},"update":{"$set":{"over":"yes"}}})")),
            R"({"count":1,"updated":1})");
  const std::string_view failing = R"({"$expr":{"$add":["$over",1]}})";
  const auto refused = [&](Operation operation, std::string_view field, std::string_view rest) {
    Refused(operation, absl::StrCat("{\"", field, "\":", failing, rest, "}"), {"$expr", "$add"});
  };
  refused(Operation::kFindOne, "query", "");
  refused(Operation::kFind, "query", "");
  refused(Operation::kFind, "query", R"(,"sort":{"spent":1},"limit":1)");
  refused(Operation::kFindManyStream, "query", "");
  refused(Operation::kFindManyCount, "query", "");
  refused(Operation::kUpdateMany, "filter", R"(,"update":{"$set":{"x":1}})");
  refused(Operation::kDeleteMany, "filter", "");
}

TEST_F(AlosProtocolTest, TextSearchesTheFieldsThatAreDeclaredAsText) {
  Ask(Operation::kInsertMany,
      InsertMany({"", ""}, {R"({"_id":"a","t":"Good coffee"})", R"({"_id":"b","u":"coffee"})"}));
  const std::string_view count = R"({"query":{"$text":{"$search":"COFFEE"}}})";
  Refused(Operation::kFindManyCount, count, {"text index required"});
  const auto database = engine_->FindDatabase("alosdb");
  ASSERT_TRUE(database.ok() && *database != nullptr);
  const absl::Status created = (*database)->CreateIndex(
      "c", {.paths = {"t"}, .is_text = true, .reason = "created by a client"});
  ASSERT_TRUE(created.ok()) << created;
  EXPECT_EQ(Ask(Operation::kFindManyCount, count), R"({"n":1})");
  EXPECT_EQ(Ask(Operation::kAggregate,
                R"({"pipeline":[{"$match":{"$text":{"$search":"coffee"}}},{"$count":"n"}]})"),
            R"([{"n":1}])");
  EXPECT_EQ(Ask(Operation::kUpdateMany,
                R"({"filter":{"$text":{"$search":"coffee"}},"update":{"$set":{"n":1}}})"),
            R"({"count":1,"updated":1})");
}

TEST_F(AlosProtocolTest, UpdatesDeletesUpserts) {
  Ask(Operation::kInsertMany,
      InsertMany({"", "", ""},
                 {R"({"_id":"a","n":1})", R"({"_id":"b","n":1})", R"({"_id":"c","n":2})"}));
  EXPECT_EQ(Ask(Operation::kUpdateOne, R"({"filter":{"_id":"a"},"update":{"$inc":{"n":4}}})"),
            R"({"count":1,"updated":1})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"a"})"), R"({"_id":"a","n":5})");
  EXPECT_EQ(Ask(Operation::kUpdateMany, R"({"filter":{"n":{"$lt":5}},"update":{"$set":{"m":1}}})"),
            R"({"count":2,"updated":2})");
  EXPECT_EQ(Ask(Operation::kDeleteOne, R"({"filter":{"m":1}})"), R"({"count":1,"deleted":1})");
  EXPECT_EQ(Ask(Operation::kDeleteMany, R"({"filter":{}})"), R"({"count":2,"deleted":2})");
  EXPECT_EQ(Ask(Operation::kUpsertOne, R"({"filter":{"_id":"u"},"update":{"$set":{"n":1}}})"),
            R"({"inserted":true,"id":"u"})");
  EXPECT_EQ(Ask(Operation::kUpsertOne, R"({"filter":{"_id":"u"},"update":{"$set":{"n":2}}})"),
            R"({"inserted":false})");
  EXPECT_EQ(Ask(Operation::kUpsertMany, R"({"filter":{"n":2},"update":{"$set":{"m":2}}})"),
            R"({"matched":1,"inserted":0})");
  EXPECT_EQ(Ask(Operation::kUpsertMany, R"({"filter":{"n":3},"update":{"$set":{"m":2}}})"),
            R"({"matched":0,"inserted":1})");
  // Positions that the filter or array filters find.
  Ask(Operation::kInsertOne, R"({"doc":{"_id":"g","g":[80,100,150]}})");
  EXPECT_EQ(Ask(Operation::kUpdateOne, R"({"filter":{"g":100},"update":{"$set":{"g.$":90}}})"),
            R"({"count":1,"updated":1})");
  EXPECT_EQ(Ask(Operation::kUpdateMany, R"({"filter":{"_id":"g"},
      "update":{"$set":{"g.$[x]":0}},"array_filters":[{"x":{"$gte":100}}]})"),
            R"({"count":1,"updated":1})");
  EXPECT_EQ(Ask(Operation::kUpsertOne, R"({"filter":{"_id":"g"},
      "update":{"$inc":{"g.$[x]":1}},"arrayFilters":[{"x":0}]})"),
            R"({"inserted":false})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"g"})"), R"({"_id":"g","g":[80,90,1]})");
  EXPECT_EQ(
      Ask(Operation::kUpdateOne,
          R"({"filter":{"_id":"g"},"update":[{"$set":{"sum":{"$add":[1,2]}}},{"$unset":"g"}]})"),
      R"({"count":1,"updated":1})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"g"})"), R"({"_id":"g","sum":3})");
  Refused(Operation::kUpdateOne,
          R"({"filter":{},"update":{"$set":{"g.$[x]":0}},"array_filters":[{"y":1}]})",
          {"identifier 'x'"});
  Ask(Operation::kDeleteOne, R"({"filter":{"_id":"g"}})");
  Refused(Operation::kUpdateOne, R"({"filter":{},"update":5})", {"'update'", "object"});
  Refused(Operation::kUpdateOne, R"({"filter":{}})", {"'update'", "missing"});
  Refused(Operation::kDeleteMany, R"({})", {"'filter'", "missing"});
  Refused(Operation::kUpdateOne, R"({"filter":{},"update":{"$frobnicate":{"n":1}}})",
          {"$frobnicate"});
  // Databases and collections that are not there have nothing to change, and are not made by
  // trying.
  EXPECT_EQ(talk_->Ask(Operation::kDeleteMany, "c", R"({"filter":{}})", "nowhere"),
            R"({"count":0,"deleted":0})");
  EXPECT_EQ(Ask(Operation::kDatabaseExists, R"({"name":"nowhere"})", ""), R"({"exists":false})");
}

TEST_F(AlosProtocolTest, CollectionsDatabasesAndTheRest) {
  EXPECT_EQ(Ask(Operation::kReadTimestamp, "{}", ""), R"({"ts":0})");
  EXPECT_EQ(Ask(Operation::kCreateCollection, R"({"name":"made"})", ""), "{}");
  EXPECT_EQ(Ask(Operation::kCollectionExists, R"({"name":"made"})", ""), R"({"exists":true})");
  EXPECT_EQ(Ask(Operation::kCollectionExists, R"({"name":"other"})", ""), R"({"exists":false})");
  EXPECT_EQ(Ask(Operation::kDrop, "{}", "made"), "{}");
  EXPECT_EQ(Ask(Operation::kCollectionExists, R"({"name":"made"})", ""), R"({"exists":false})");
  EXPECT_EQ(talk_->Ask(Operation::kInsertOne, "c", R"({"_id":"x"})", "second"), R"({"id":"x"})");
  EXPECT_EQ(Ask(Operation::kDatabaseExists, R"({"name":"second"})", ""), R"({"exists":true})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"x"})"), "null") << "another database's document";
  EXPECT_EQ(Ask(Operation::kFlush, "{}", ""), "{}");
  EXPECT_TRUE(absl::StartsWith(talk_->Ask(Operation::kInsertOne, "c", "{}", "../evil"), "ERROR"));
  Refused(Operation::kCreateCollection, "{}", {"'name'"}, "");
  Refused(Operation::kCreateCollection, R"({"name":""})", {"'name'", "empty"}, "");
  Refused(Operation::kDrop, "{}", {"'collection'"}, "");
  const std::string stats = Encode(Ask(Operation::kStats, "{}", ""));
  const auto connections = ValueView::FromTrusted(stats).Find("connections");
  ASSERT_TRUE(connections.has_value());
  EXPECT_GT(*connections->Find("requests")->ToInt64(), 10);
  EXPECT_GT(*connections->Find("errors")->ToInt64(), 2);
}

TEST_F(AlosProtocolTest, FindOptions) {
  for (int i = 0; i < 20; ++i) {
    Ask(Operation::kInsertOne, absl::StrCat(R"({"_id":)", i, R"(,"n":)", i * 7 % 20, R"(,"g":)",
                                            i % 2, R"(,"a":[1,2,)", i, "]}"));
  }
  const auto find = [&](std::string_view options, Operation operation = Operation::kFind) {
    return Ask(operation, absl::StrCat(R"({"query":{"n":{"$lt":6}},"fields":["n"])", options, "}"));
  };
  EXPECT_EQ(find(R"(,"sort":{"n":1},"limit":2)"), R"([{"_id":0,"n":0},{"_id":3,"n":1}])");
  EXPECT_EQ(find(R"(,"sort":{"n":-1},"skip":1,"limit":2)", Operation::kFindPaginated),
            R"([{"_id":12,"n":4},{"_id":9,"n":3}])");
  EXPECT_EQ(find(R"(,"sort":{"n":-1},"skip":5)", Operation::kFindOne), R"({"_id":0,"n":0})");
  EXPECT_EQ(find(R"(,"sort":{"n":-1},"skip":6)", Operation::kFindOne), "null");
  // For clients whose maps have no order.
  EXPECT_EQ(
      Ask(Operation::kFind, R"({"query":{},"fields":["g"],"sort":[{"g":-1},{"n":1}],"limit":2})"),
      R"([{"_id":3,"g":1},{"_id":9,"g":1}])");
  EXPECT_EQ(Ask(Operation::kFind,
                R"({"query":{"n":7},"projection":{"_id":0,"twice":{"$add":["$n","$n"]},"n":1}})"),
            R"([{"n":7,"twice":14}])");
  EXPECT_EQ(Ask(Operation::kFindOne, R"({"query":{"a":19},"projection":{"a.$":1}})"),
            R"({"_id":19,"a":[19]})");
  EXPECT_EQ(Ask(Operation::kFindManyStream,
                R"({"query":{"n":7},"projection":{"a":{"$slice":-1},"n":0,"g":0}})"),
            R"({"docs":[{"_id":1,"a":[1]}]})");
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{"n":{"$lt":6}},"skip":1,"limit":3})"),
            R"({"n":3})");
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{"n":{"$lt":6}},"skip":9})"), R"({"n":0})");

  EXPECT_EQ(find(R"(,"hint":{"$natural":1},"sort":{"n":1},"limit":1)"), R"([{"_id":0,"n":0}])");
  EXPECT_EQ(find(R"(,"hint":"_id_","limit":1,"sort":{"n":1})"), R"([{"_id":0,"n":0}])");
  EXPECT_EQ(find(R"(,"collation":{"locale":"simple"},"limit":1,"sort":{"n":1})"),
            R"([{"_id":0,"n":0}])");
  for (const Operation operation :
       {Operation::kFindOne, Operation::kFind, Operation::kFindPaginated,
        Operation::kFindManyStream, Operation::kFindManyCount, Operation::kCount}) {
    const std::string_view query = R"({"query":{"n":1},)";
    Refused(operation, absl::StrCat(query, R"("hint":"absent"})"), {"NOT_FOUND", "'absent'"});
    Refused(operation, absl::StrCat(query, R"("hint":5})"), {"'hint'"});
    Refused(operation, absl::StrCat(query, R"("hint":{"$natural":-1}})"), {"$natural"});
    Refused(operation, absl::StrCat(query, R"("collation":{"locale":"de","strength":2}})"),
            {"'collation'", "simple"});
    Refused(operation, absl::StrCat(query, R"("explain":1})"), {"'explain'", "true or false"});
    Refused(operation, absl::StrCat(query, R"("limit":-1})"), {"'limit'"});
  }
  Refused(Operation::kFind, R"({"query":{},"sort":{"n":2}})", {"sort", "direction"});
  Refused(Operation::kFind, R"({"query":{},"sort":[{"n":1,"g":1}]})", {"'sort'", "one field"});
  Refused(Operation::kFind, R"({"query":{},"sort":[{"n":1},{"n":1}]})", {"n"});
  Refused(Operation::kFind, R"({"query":{},"projection":{"a":1,"b":0}})", {"projection", "'b'"});
  Refused(Operation::kFind, R"({"query":{},"projection":{"a":1},"fields":["b"]})", {"'fields'"});
  Refused(Operation::kFind, R"({"query":{},"projection":{"x":{"$divide":["$n",0]}}})", {"'x'"});
  Refused(Operation::kUpdateOne, R"({"filter":{},"update":{"$set":{"x":1}},"hint":"absent"})",
          {"NOT_FOUND"});
  Refused(Operation::kDeleteMany, R"({"filter":{},"hint":"absent"})", {"NOT_FOUND"});
  Refused(Operation::kAggregate, R"({"pipeline":[],"hint":"absent"})", {"NOT_FOUND"});
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{}})"), R"({"n":20})");
}

TEST_F(AlosProtocolTest, ExplainSaysWhatWasDoneAndChangesNothing) {
  for (int i = 0; i < 50; ++i) {
    Ask(Operation::kInsertOne,
        absl::StrCat(R"({"_id":)", i, R"(,"n":)", i, R"(,"s":"text )", i % 5, "\"}"));
  }
  const auto explain = [&](Operation operation, std::string_view args) {
    const std::string answer = Ask(operation, absl::StrCat(args, R"(,"explain":true})"));
    EXPECT_FALSE(absl::StartsWith(answer, "ERROR")) << answer;
    return Encode(answer);
  };
  const auto plan = [&](Operation operation, std::string_view args) {
    const std::string document = explain(operation, args);
    const auto found = ValueView::FromTrusted(document).Find("plan");
    return found ? std::string(found->AsString()) : "none";
  };
  const auto number = [&](Operation operation, std::string_view args, std::string_view field) {
    const std::string document = explain(operation, args);
    const auto found = ValueView::FromTrusted(document).Find(field);
    return found ? found->ToInt64().value_or(-1) : -2;
  };
  const std::string_view query = R"({"query":{"n":7})";
  const std::string_view filter = R"({"filter":{"n":{"$gte":40}})";
  EXPECT_EQ(plan(Operation::kFind, query), "scan of all documents");
  EXPECT_EQ(number(Operation::kFind, query, "documents_examined"), 50);
  EXPECT_EQ(plan(Operation::kFindOne, R"({"query":{"_id":7})"), "by _id");
  EXPECT_EQ(Ask(Operation::kCreateIndex, R"({"field":"n"})"),
            R"({"indexed":50,"skipped":0,"issues":[],"truncated":false})");
  for (const Operation operation : {Operation::kFind, Operation::kFindOne,
                                    Operation::kFindPaginated, Operation::kFindManyStream}) {
    EXPECT_EQ(plan(operation, query), "index");
    EXPECT_EQ(number(operation, query, "documents_examined"), 1);
    EXPECT_EQ(number(operation, query, "returned"), 1);
    EXPECT_EQ(plan(operation, R"({"query":{"n":7},"hint":{"$natural":1})"),
              "scan of all documents");
  }
  EXPECT_EQ(plan(Operation::kFindManyCount, R"({"query":{"n":{"$gte":40}})"), "count from index");
  EXPECT_EQ(number(Operation::kCount, R"({"query":{"n":{"$gte":40}})", "returned"), 10);
  EXPECT_EQ(plan(Operation::kFindManyCount, R"({"query":{"n":7},"hint":{"$natural":1})"),
            "scan of all documents");
  EXPECT_NE(plan(Operation::kUpdateMany, absl::StrCat(filter, R"(,"update":{"$set":{"n":0}})")),
            "scan of all documents");
  EXPECT_EQ(number(Operation::kUpdateOne, absl::StrCat(filter, R"(,"update":{"$set":{"n":0}})"),
                   "returned"),
            1);
  EXPECT_EQ(number(Operation::kDeleteMany, filter, "returned"), 10);
  EXPECT_EQ(number(Operation::kDeleteOne, filter, "returned"), 1);
  EXPECT_EQ(plan(Operation::kAggregate, R"({"pipeline":[{"$match":{"n":7}}])"), "index");
  EXPECT_NE(plan(Operation::kAggregate, R"({"pipeline":[{"$match":{"n":7}},{"$count":"x"}])"),
            "scan of all documents");
  EXPECT_EQ(
      plan(Operation::kAggregate, R"({"pipeline":[{"$match":{"n":7}}],"hint":{"$natural":1})"),
      "scan of all documents");
  EXPECT_EQ(number(Operation::kAggregateStream, R"({"pipeline":[{"$match":{"n":{"$lt":9}}}])",
                   "returned"),
            9);
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{"n":{"$gte":40}}})"), R"({"n":10})");
  const std::string sorted =
      explain(Operation::kFind, R"({"query":{"s":"text 1"},"sort":{"n":-1},"limit":3)");
  const ValueView view = ValueView::FromTrusted(sorted);
  EXPECT_EQ(view.Find("returned")->ToInt64(), 3) << ToJson(view);
  std::vector<std::string> stages;
  for (const ValueView stage : view.Find("stages")->elements())
    stages.emplace_back(stage.Find("stage")->AsString());
  EXPECT_EQ(stages, (std::vector<std::string>{"compile", "match", "sort", "total"}));
  // Where there is nothing, nothing is read.
  EXPECT_EQ(talk_->Ask(Operation::kFind, "absent", R"({"query":{"n":1},"explain":true})", "nowhere")
                .substr(0, 26),
            R"({"plan":"nothing to read",)");
  Refused(Operation::kUpdateOne, R"({"filter":{},"update":{"$almost":{}},"explain":true})",
          {"$almost"});
  EXPECT_EQ(
      talk_->Ask(Operation::kFindManyStream, "absent", R"({"query":{},"sort":{"n":1}})", "nowhere"),
      R"({"docs":[]})");
}

TEST_F(AlosProtocolTest, Indexes) {
  Ask(Operation::kInsertOne, R"({"_id":"a"})");
  EXPECT_EQ(Ask(Operation::kListIndexes, "{}"),
            R"([{"name":"_id_","field":"_id","type":"primary","unique":true,"documents":1}])");
  EXPECT_EQ(Ask(Operation::kListIndexes, "{}", "absent"), "[]");
  Ask(Operation::kInsertMany,
      InsertMany(
          {"", "", "", "", ""},
          {R"({"_id":"b","n":1,"f":1.5,"t":[1,2],"s":"x"})",
           R"({"_id":"c","n":"one","f":2,"t":[1,"2"],"s":"y"})",
           R"({"_id":"d","n":2.5,"f":null,"t":[],"s":"x"})",
           R"({"_id":"e","d":{"x":[{"y":true},{"y":0}]}})",
           R"({"_id":"f","n":{"$date":0},"b":{"$binary":{"base64":"AA==","subType":"00"}}})"}));
  // Documents without the field are neither indexed nor an issue.
  const std::string built =
      Encode(Ask(Operation::kCreateIndex, R"({"field":"n","value_type":"integer"})"));
  const ValueView result = ValueView::FromTrusted(built);
  EXPECT_EQ(result.Find("indexed")->ToInt64(), 1);
  EXPECT_EQ(result.Find("skipped")->ToInt64(), 3);
  ASSERT_EQ(result.Find("issues")->size(), 3u);
  for (const ValueView issue : result.Find("issues")->elements()) {
    EXPECT_EQ(issue.Find("field")->AsString(), "n");
    EXPECT_EQ(issue.Find("expected")->AsString(), "integer");
    const std::string_view id = issue.Find("id")->AsString();
    EXPECT_EQ(issue.Find("actual")->AsString(), id == "c"   ? "string"
                                                : id == "d" ? "float"
                                                            : "time");
    EXPECT_TRUE(issue.Find("position")->ToInt64().has_value());
  }
  const auto create = [&](std::string_view args) {
    const std::string answer = Encode(Ask(Operation::kCreateIndex, args));
    const ValueView view = ValueView::FromTrusted(answer);
    if (!view.IsDocument() || !view.Find("indexed")) return ToJson(view);
    return absl::StrCat(*view.Find("indexed")->ToInt64(), " ", *view.Find("skipped")->ToInt64());
  };
  EXPECT_EQ(create(R"({"field":"f","value_type":"float"})"), "2 1");
  EXPECT_EQ(create(R"({"field":"t","value_type":"integer"})"), "1 1");
  EXPECT_EQ(create(R"({"field":"d.x.y","value_type":"boolean"})"), "0 1");
  EXPECT_EQ(create(R"({"field":"b","value_type":"bytes"})"), "1 0");
  EXPECT_EQ(create(R"({"field":"","fields":[{"name":"s","value_type":"string"},
                                            {"name":"n","value_type":"integer"}]})"),
            "1 3");
  EXPECT_EQ(create(R"({"field":"s"})"), "3 0");
  EXPECT_EQ(create(R"({"field":"s","text":true})"), "3 0");

  const std::string listed = Encode(Ask(Operation::kListIndexes, "{}"));
  ASSERT_EQ(ValueView::FromTrusted(listed).size(), 8u);
  const ValueView first = *ValueView::FromTrusted(listed).At(1);
  EXPECT_EQ(first.Find("name")->AsString(), "n");
  EXPECT_EQ(first.Find("value_type")->AsString(), "integer");
  EXPECT_EQ(first.Find("automatic")->AsBool(), false);
  EXPECT_EQ(first.Find("reason")->AsString(), "created by a client");
  EXPECT_EQ(first.Find("ready")->AsBool(), true);
  EXPECT_TRUE(first.Find("last_use")->IsNull());
  const ValueView compound = *ValueView::FromTrusted(listed).At(6);
  EXPECT_EQ(compound.Find("name")->AsString(), "s,n");
  EXPECT_EQ(compound.Find("type")->AsString(), "compound");
  EXPECT_EQ(ToJson(*compound.Find("fields")),
            R"([{"name":"s","value_type":"string"},{"name":"n","value_type":"integer"}])");

  EXPECT_EQ(Ask(Operation::kRebuildIndex, R"({"field":"n"})"), "{}");
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{"n":1}})"), R"({"n":1})");
  EXPECT_EQ(Ask(Operation::kDropIndex, R"({"fields":[{"name":"s"},{"name":"n"}]})"), "{}");
  EXPECT_EQ(Ask(Operation::kDropIndex, R"({"field":"n"})"), "{}");
  Refused(Operation::kDropIndex, R"({"field":"n"})", {"NOT_FOUND", "no index", "'n'"});
  EXPECT_EQ(Ask(Operation::kFindManyCount, R"({"query":{"n":1}})"), R"({"n":1})");

  Refused(Operation::kCreateIndex, "{}", {"'field'"});
  Refused(Operation::kCreateIndex, R"({"field":""})", {"'field'", "empty"});
  Refused(Operation::kCreateIndex, R"({"field":"_id"})", {"'_id'", "primary"});
  Refused(Operation::kCreateIndex, R"({"field":"n","value_type":"number"})",
          {"'value_type'", "string, integer, float, boolean, time, bytes", "'number'"});
  Refused(Operation::kCreateIndex, R"({"fields":[5]})", {"'fields'", "'name'"});
  Refused(Operation::kCreateIndex, R"({"field":"n","unique":"yes"})", {"'unique'"});
  Refused(Operation::kCreateIndex, R"({"field":"n","partial_filter":{"x":{"$almost":1}}})",
          {"'partial_filter'", "$almost"});
  Refused(Operation::kDropIndex, R"({"field":"_id"})", {"primary index"});
  Refused(Operation::kRebuildIndex, R"({"field":"m"})", {"NOT_FOUND", "no index"});
  Refused(Operation::kRebuildIndex, R"({"field":"_id"})", {"primary index"});
}

// What surely takes less than a thread switch is done at once; whatever may scan goes to a worker.
TEST_F(AlosProtocolTest, OnlyQuickFindsAreDoneAtOnce) {
  for (int i = 0; i < 300; ++i) {
    Ask(Operation::kInsertOne,
        absl::StrCat(R"({"_id":)", i, R"(,"n":)", i, R"(,"same":1,"t":)", i % 3, "}"));
  }
  for (const std::string_view field : {"n", "same"})
    Ask(Operation::kCreateIndex, absl::StrCat(R"({"field":")", field, "\"}"));
  const auto works = [&](std::string_view query, std::string_view more = "",
                         Operation operation = Operation::kFind) {
    const int before = talk_->works();
    EXPECT_FALSE(
        absl::StartsWith(Ask(operation, absl::StrCat(R"({"query":)", query, more, "}")), "ERROR"));
    return talk_->works() - before;
  };
  EXPECT_EQ(works(R"({"n":7})"), 0);
  EXPECT_EQ(works(R"({"n":7.0,"t":{"$gte":0,"$lt":9}})"), 0);
  EXPECT_EQ(works(R"({"n":7})", "", Operation::kFindOne), 0);
  EXPECT_EQ(works(R"({"n":7})", R"(,"sort":{"t":1},"limit":5)", Operation::kFindPaginated), 0);
  EXPECT_EQ(works(R"({"n":7})", "", Operation::kFindManyCount), 0);
  EXPECT_EQ(works(R"({"n":"none"})"), 0);
  EXPECT_EQ(works(R"({"t":1})"), 1);
  EXPECT_EQ(works(R"({"same":1})"), 1);
  EXPECT_EQ(works(R"({"n":null})"), 1);
  EXPECT_EQ(works(R"({"n":{"$gte":7}})"), 1);
  EXPECT_EQ(works(R"({"n":7,"t":{"$regex":"x"}})"), 1);
  EXPECT_EQ(works(R"({"n":7,"$or":[{"t":1}]})"), 1);
  EXPECT_EQ(works(R"({"n":7})", R"(,"hint":{"$natural":1})"), 1);
  EXPECT_EQ(works(R"({"n":7})", R"(,"projection":{"x":{"$range":[0,9]}})"), 1);
  EXPECT_EQ(Ask(Operation::kFind, R"({"query":{"n":8},"fields":["n"]})"), R"([{"_id":8,"n":8}])");
}

TEST_F(AlosProtocolTest, AtMostAHundredIssuesAreListed) {
  for (int i = 0; i < 120; ++i)
    Ask(Operation::kInsertOne, absl::StrCat(R"({"_id":)", i, R"(,"n":"x"})"));
  const std::string built =
      Encode(Ask(Operation::kCreateIndex, R"({"field":"n","value_type":"time"})"));
  const ValueView result = ValueView::FromTrusted(built);
  EXPECT_EQ(result.Find("skipped")->ToInt64(), 120);
  EXPECT_EQ(result.Find("issues")->size(), 100u);
  EXPECT_TRUE(result.Find("truncated")->AsBool());
}

// What was found for the first batch is kept for the next ones. Where it is not, because it was too
// large or has been forgotten, it is found again in the same snapshot.
TEST_F(AlosProtocolTest, StreamsOfSortedResultsHaveOneSnapshot) {
  for (int i = 0; i < 100; ++i)
    Ask(Operation::kInsertOne, absl::StrCat(R"({"_id":)", i, R"(,"n":)", i * 37 % 100, "}"));
  int later = 1000;
  for (const std::size_t kept_bytes : {std::size_t{1} << 20, std::size_t{200}, std::size_t{0}}) {
    AlosProtocolOptions options;
    options.limits.kept_result_bytes_max = kept_bytes;
    Configure(std::move(options));
    for (const bool aggregate : {false, true}) {
      std::string cursor;
      std::int64_t expected = 20;
      int batches = 0;
      do {
        const std::string rest =
            absl::StrCat(cursor.empty() ? "" : absl::StrCat(R"(,"cursor":)", cursor), "}");
        const std::string page = Encode(
            aggregate
                ? Ask(Operation::kAggregateStream,
                      absl::StrCat(R"({"pipeline":[{"$sort":{"n":1}},{"$skip":20}],)",
                                   R"("batch_size":9)", rest))
                : Ask(Operation::kFindManyStream,
                      absl::StrCat(R"({"query":{},"sort":{"n":1},"skip":20,"limit":9)", rest)));
        const ValueView view = ValueView::FromTrusted(page);
        ASSERT_TRUE(view.Find("docs").has_value()) << ToJson(view);
        for (const ValueView document : view.Find("docs")->elements())
          EXPECT_EQ(document.Find("n")->ToInt64(), expected++);
        Ask(Operation::kInsertOne, absl::StrCat(R"({"_id":)", ++later, R"(,"n":-5,"later":1})"));
        const std::optional<ValueView> next = view.Find("cursor");
        cursor = next.has_value() ? ToJson(*next) : "";
        ASSERT_LT(++batches, 20);
      } while (!cursor.empty());
      EXPECT_EQ(expected, 100) << kept_bytes;
      if (kept_bytes != 200) {
        EXPECT_EQ(batches, 9);
      }
      Ask(Operation::kDeleteMany, R"({"filter":{"later":1}})");
    }
  }
}

TEST(ResultTableTest, ForgetsWhatIsIdleOrTooMuch) {
  using protocol_internal::KeptResults;
  using protocol_internal::ResultTable;
  constexpr std::size_t kBytesMax = 1000;
  ResultTable table(kBytesMax);
  const auto results = [](std::size_t bytes) {
    auto kept = std::make_shared<KeptResults>();
    kept->first = 5;
    kept->Add(std::string(bytes, 'x'));
    kept->Add("yz");
    return kept;
  };
  const std::uint64_t id = table.Add(results(3));
  const auto found = table.Find(id);
  ASSERT_NE(found, nullptr);
  EXPECT_FALSE(found->Has(4));
  EXPECT_EQ(found->At(5), "xxx");
  EXPECT_EQ(found->At(6), "yz");
  EXPECT_FALSE(found->Has(7));
  EXPECT_EQ(table.Find(id + 1), nullptr);
  table.Expire(absl::Now() + absl::Minutes(9));
  EXPECT_NE(table.Find(id), nullptr);
  table.Expire(absl::Now() + absl::Minutes(11));
  EXPECT_EQ(table.Find(id), nullptr);
  EXPECT_EQ(table.size_bytes(), 0u);
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(table.Add(results(kBytesMax / 4)));
  EXPECT_LE(table.size_bytes(), kBytesMax);
  EXPECT_EQ(table.Find(ids[0]), nullptr);
  EXPECT_NE(table.Find(ids[4]), nullptr);
  table.Remove(ids[4]);
  EXPECT_EQ(table.Find(ids[4]), nullptr);
}

TEST_F(AlosProtocolTest, Aggregates) {
  for (int i = 0; i < 10; ++i) {
    Ask(Operation::kInsertOne, absl::StrCat(R"({"_id":)", i, R"(,"n":)", i, "}"));
  }
  EXPECT_EQ(Ask(Operation::kAggregate,
                R"({"pipeline":[{"$match":{"n":{"$gte":5}}},{"$sort":{"n":-1}},{"$limit":2}]})"),
            R"([{"_id":9,"n":9},{"_id":8,"n":8}])");
  EXPECT_EQ(Ask(Operation::kAggregate, R"({"pipeline":[{"$count":"total"}]})"),
            R"([{"total":10}])");
  EXPECT_EQ(Ask(Operation::kAggregate, R"({"pipeline":[{"$match":{"n":99}}]})"), "[]");
  Refused(Operation::kAggregate, R"({"pipeline":{}})", {"'pipeline'", "array"});
  Refused(Operation::kAggregate, R"({"pipeline":[{"$frobnicate":{}}]})", {"$frobnicate"});
}

TEST_F(AlosProtocolTest, BatchAnswersEachMember) {
  EXPECT_EQ(Ask(Operation::kBatch, R"({"requests":[
      {"id":101,"op":1,"collection":"c","args":{"_id":"b1"}},
      {"id":102,"op":1,"collection":"c","args":{"_id":"b1"}},
      {"id":103,"op":9,"collection":"c","args":{}},
      {"id":104,"op":10,"collection":"c","args":{"id":"absent"}}]})",
                ""),
            R"({"is_batch":true,"responses":[{"id":101,"result":{"id":"b1"}},)"
            R"({"id":102,"error":"ALREADY_EXISTS: duplicate _id \"b1\" in collection 'c'"},)"
            R"({"id":103,"result":{"count":1}},{"id":104,"result":null}]})");
  EXPECT_EQ(Ask(Operation::kBatch, R"({"requests":[]})", ""),
            R"({"is_batch":true,"responses":[]})");
  const std::string odd = Ask(Operation::kBatch, R"({"requests":[5,{"id":1,"op":99},
      {"id":2,"op":15,"collection":"","args":{"requests":[]}}]})",
                              "");
  EXPECT_TRUE(absl::StrContains(odd, "expected a map")) << odd;
  EXPECT_TRUE(absl::StrContains(odd, "op' is 99")) << odd;
  EXPECT_TRUE(absl::StrContains(odd, "may not contain another")) << odd;
  Refused(Operation::kBatch, R"({"requests":7})", {"'requests'", "array"}, "");
}

TEST_F(AlosProtocolTest, TransactionBatchIsAllOrNothing) {
  Ask(Operation::kInsertMany,
      InsertMany({"", ""}, {R"({"_id":"old","n":1})", R"({"_id":"gone"})"}));
  EXPECT_EQ(Ask(Operation::kTransactionBatch, R"({"operations":[
      {"op":1,"collection":"c","args":{"doc":{"_id":"new"}}},
      {"op":5,"collection":"c","args":{"filter":{"_id":"old"},"update":{"$inc":{"n":1}}}},
      {"op":7,"collection":"c","args":{"filter":{"_id":"gone"}}}]})",
                ""),
            R"({"success":true,"results":[{"success":true,"id":"new"},{"success":true},)"
            R"({"success":true}],"rolled_back":false})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"old"})"), R"({"_id":"old","n":2})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"gone"})"), "null");
  for (const std::string_view bad :
       {R"({"op":1,"collection":"c","args":{"doc":{"_id":"new"}}})",
        R"({"op":12,"collection":"c","args":{}})",
        R"({"op":5,"collection":"c","args":{"filter":{}}})", R"({"collection":"c"})", "5"}) {
    const std::string answer = Ask(
        Operation::kTransactionBatch,
        absl::StrCat(R"({"operations":[{"op":1,"collection":"c","args":{"doc":{"_id":"half"}}},)",
                     bad, "]}"),
        "");
    EXPECT_TRUE(absl::StartsWith(answer, R"({"success":false,"error":)")) << answer;
    EXPECT_TRUE(absl::StrContains(answer, R"("rolled_back":true)")) << answer;
    EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"half"})"), "null");
  }
}

TEST_F(AlosProtocolTest, TransactionsOverTwoConnections) {
  Ask(Operation::kInsertOne, R"({"_id":"a","n":1})");
  const std::string begun = Encode(Ask(Operation::kBeginTransaction, "{}", ""));
  const std::string id(ValueView::FromTrusted(begun).Find("tx_id")->AsString());
  const auto with_id = [&id](std::string_view rest) {
    return absl::StrCat(R"({"tx_id":")", id, "\"", rest, "}");
  };
  EXPECT_EQ(Ask(Operation::kTransactionInsertOne, with_id(R"(,"doc":{"_id":"new"})")),
            R"({"id":"new"})");
  EXPECT_EQ(Ask(Operation::kTransactionUpdateOne,
                with_id(R"(,"filter":{"_id":"a"},"update":{"$inc":{"n":1}})")),
            R"({"count":1})");
  EXPECT_EQ(Ask(Operation::kTransactionFindById, with_id(R"(,"id":"a")")), R"({"_id":"a","n":2})");
  EXPECT_EQ(Ask(Operation::kTransactionFindOne, with_id(R"(,"query":{"_id":"new"})")),
            R"({"_id":"new"})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"new"})"), "null");
  Talk other(protocol_.get());
  EXPECT_EQ(other.Ask(Operation::kTransactionCommit, "", with_id("")), "{}");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"a"})"), R"({"_id":"a","n":2})");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"new"})"), R"({"_id":"new"})");
  Refused(Operation::kTransactionCommit, with_id(""), {"NOT_FOUND", "tx_id"}, "");
  Refused(Operation::kTransactionFindById, R"({"id":"a"})", {"'tx_id'", "missing"});
}

TEST_F(AlosProtocolTest, TransactionsOverTwoDatabases) {
  const auto in = [this](std::string_view database, Operation operation, std::string_view args) {
    return talk_->Ask(operation, "c", args, database);
  };
  EXPECT_EQ(in("east", Operation::kInsertOne, R"({"_id":"a","n":10})"), R"({"id":"a"})");
  EXPECT_EQ(in("west", Operation::kInsertOne, R"({"_id":"a","n":10})"), R"({"id":"a"})");
  const auto find = [&](std::string_view database) {
    return in(database, Operation::kFindById, R"({"id":"a"})");
  };
  const auto begin = [&](std::string_view args) {
    const std::string begun = Encode(in("east", Operation::kBeginTransaction, args));
    return std::string(ValueView::FromTrusted(begun).Find("tx_id")->AsString());
  };
  const auto with = [](const std::string& id, std::string_view rest) {
    return absl::StrCat(R"({"tx_id":")", id, "\"", rest, "}");
  };
  constexpr std::string_view kAdd = R"(,"filter":{"_id":"a"},"update":{"$inc":{"n":1}})";
  for (const std::string_view args : {"{}", R"({"databases":["west"]})"}) {
    const std::string id = begin(args);
    EXPECT_EQ(in("", Operation::kTransactionUpdateOne, with(id, kAdd)), R"({"count":1})")
        << "where it began";
    EXPECT_EQ(in("west", Operation::kTransactionUpdateOne, with(id, kAdd)), R"({"count":1})");
    EXPECT_EQ(in("", Operation::kTransactionCommit, with(id, "")), "{}");
  }
  EXPECT_EQ(find("east"), R"({"_id":"a","n":12})");
  EXPECT_EQ(find("west"), R"({"_id":"a","n":12})");
  // The first committer wins, in any of them.
  const std::string loser = begin(R"({"databases":["west"]})");
  EXPECT_EQ(in("east", Operation::kTransactionUpdateOne, with(loser, kAdd)), R"({"count":1})");
  EXPECT_EQ(in("west", Operation::kTransactionUpdateOne, with(loser, kAdd)), R"({"count":1})");
  const std::string late = begin("{}");
  // In one request; and in the middle of a batch.
  constexpr std::string_view kBoth = R"({"operations":[
      {"op":5,"collection":"c","args":{"filter":{"_id":"a"},"update":{"$inc":{"n":1}}}},
      {"op":10,"collection":"c","database":"west","args":{"id":"a"}},
      {"op":5,"collection":"c","database":"west","args":{"filter":{"_id":"a"},"update":{"$inc":{"n":1}}}}]})";
  EXPECT_EQ(in("east", Operation::kTransactionBatch, kBoth),
            R"({"success":true,"results":[{"success":true},)"
            R"({"success":true,"result":{"_id":"a","n":12}},{"success":true}],)"
            R"("rolled_back":false})");
  const std::string conflict = in("", Operation::kTransactionCommit, with(loser, ""));
  EXPECT_TRUE(absl::StartsWith(conflict, "ERROR ABORTED: transaction conflict")) << conflict;
  const std::string refused =
      in("west", Operation::kTransactionFindById, with(late, R"(,"id":"a")"));
  EXPECT_TRUE(absl::StartsWith(refused, "ERROR ABORTED: transaction conflict")) << refused;
  EXPECT_EQ(in("east", Operation::kTransactionFindById, with(late, R"(,"id":"a")")),
            R"({"_id":"a","n":12})");
  const std::string batched =
      in("east", Operation::kBatch,
         absl::StrCat(R"({"requests":[{"id":1,"op":16,"args":)", kBoth,
                      R"(},{"id":2,"op":10,"collection":"c","args":{"id":"a"}}]})"));
  EXPECT_TRUE(absl::StrContains(batched, R"("rolled_back":false)")) << batched;
  EXPECT_TRUE(absl::StrContains(batched, R"({"_id":"a","n":14})")) << batched;
  const std::string wrong = in("east", Operation::kTransactionBatch,
                               R"({"operations":[{"op":10,"database":5,"collection":"c",
                                   "args":{"id":"a"}}]})");
  EXPECT_TRUE(absl::StrContains(wrong, "'database' must be a string")) << wrong;
}

TEST_F(AlosProtocolTest, ConflictingTransactionIsRefusedAndOver) {
  Ask(Operation::kInsertOne, R"({"_id":"a","n":1})");
  const auto begin = [this] {
    const std::string begun = Encode(Ask(Operation::kBeginTransaction, "{}", ""));
    return std::string(ValueView::FromTrusted(begun).Find("tx_id")->AsString());
  };
  const auto update = [this](const std::string& id) {
    return Ask(
        Operation::kTransactionUpdateOne,
        absl::StrCat(R"({"tx_id":")", id, R"(","filter":{"_id":"a"},"update":{"$inc":{"n":1}}})"));
  };
  const std::string first = begin(), second = begin();
  EXPECT_EQ(update(first), R"({"count":1})");
  EXPECT_EQ(update(second), R"({"count":1})");
  EXPECT_EQ(Ask(Operation::kTransactionCommit, absl::StrCat(R"({"tx_id":")", first, "\"}"), ""),
            "{}");
  Refused(Operation::kTransactionCommit, absl::StrCat(R"({"tx_id":")", second, "\"}"),
          {"ABORTED", "conflict"}, "");
  Refused(Operation::kTransactionCommit, absl::StrCat(R"({"tx_id":")", second, "\"}"),
          {"NOT_FOUND"}, "");
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"a"})"), R"({"_id":"a","n":2})");
}

TEST_F(AlosProtocolTest, LostConnectionRollsItsTransactionsBack) {
  std::string id;
  {
    Talk lost(protocol_.get());
    const std::string begun = Encode(lost.Ask(Operation::kBeginTransaction, "", "{}"));
    id = std::string(ValueView::FromTrusted(begun).Find("tx_id")->AsString());
  }
  Refused(Operation::kTransactionRollback, absl::StrCat(R"({"tx_id":")", id, "\"}"), {"NOT_FOUND"},
          "");
}

TEST_F(AlosProtocolTest, ResultOverTheLimitNamesTheRemedy) {
  AlosProtocolOptions options;
  options.limits.result_bytes_max = 1000;
  options.limits.document_bytes_max = 2000;
  Configure(options);
  for (int i = 0; i < 30; ++i) {
    Ask(Operation::kInsertOne,
        absl::StrCat(R"({"_id":)", i, R"(,"text":")", std::string(60, 'x'), "\"}"));
  }
  Refused(Operation::kFind, R"({"query":{}})", {"1000 bytes", "FindPaginated", "FindManyStream"});
  Refused(Operation::kAggregate, R"({"pipeline":[]})", {"1000 bytes", "AggregateStream"});
  EXPECT_FALSE(
      absl::StartsWith(Ask(Operation::kFindPaginated, R"({"query":{},"limit":5})"), "ERROR"));
  Ask(Operation::kInsertOne,
      absl::StrCat(R"({"_id":"big","text":")", std::string(1500, 'x'), "\"}"));
  Refused(Operation::kFindById, R"({"id":"big"})", {"1000 bytes"});
  Refused(Operation::kInsertOne, absl::StrCat(R"({"text":")", std::string(2500, 'x'), "\"}"),
          {"2000 bytes"});
}

TEST_F(AlosProtocolTest, NoReplyGetsNone) {
  talk_->Receive(talk_->Frame(
      {.id = 1, .operation = Operation::kInsertOne, .collection = "c", .no_reply = true},
      Encode(R"({"_id":"quiet"})")));
  talk_->Receive(
      talk_->Frame({.id = 2, .operation = Operation::kFind, .collection = "c", .no_reply = true},
                   Encode(R"({"query":5})")));
  EXPECT_TRUE(talk_->unread_output().empty());
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"quiet"})"), R"({"_id":"quiet"})");
}

// Bad requests are answered with their id, and the connection goes on.
TEST_F(AlosProtocolTest, MalformedRequestsAreAnswered) {
  for (const std::string& payload :
       {std::string(), std::string("\xc1"), std::string("\x90"), std::string("\x80"),
        std::string("\x82\xa2id\x07\xa2op\x63", 10), std::string("\x81\xa2id\x07", 5),
        std::string("\xdf\xff\xff\xff\xff", 5), std::string("\x82\xa2id\x07\xa4", 6)}) {
    talk_->Receive(talk_->RawFrame(payload));
    EXPECT_TRUE(absl::StartsWith(talk_->Answer(), "ERROR")) << payload;
    EXPECT_EQ(talk_->answered_id(), payload.find("id\x07") != payload.npos ? 7u : 0u);
    EXPECT_FALSE(talk_->closed());
  }
  EXPECT_EQ(Ask(Operation::kCount, "{}"), R"({"count":0})");
}

TEST_F(AlosProtocolTest, FrameOverTheLimitIsAnsweredAndEndsTheConnection) {
  talk_->Receive(
      talk_->Frame({.id = 5, .operation = Operation::kCount, .collection = "c"}, "\x80"));
  EXPECT_EQ(talk_->Answer(), R"({"count":0})");
  talk_->Receive("\x7f\xff\xff\xff");
  EXPECT_TRUE(absl::StrContains(talk_->Answer(), "limit"));
  EXPECT_TRUE(talk_->closed());
}

TEST_F(AlosProtocolTest, PipelinedRequestsInAnyPieces) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{13}, std::size_t{100000}}) {
    std::string stream;
    for (int i = 0; i < 200; ++i) {
      const std::string args = Encode(absl::StrCat("{\"_id\":\"", piece, "_", i / 2, "\"}"));
      const std::string find = Encode(absl::StrCat("{\"id\":\"", piece, "_", i / 2, "\"}"));
      stream +=
          talk_->Frame({.id = static_cast<std::uint32_t>(i),
                        .operation = i % 2 == 0 ? Operation::kInsertOne : Operation::kFindById,
                        .collection = "c"},
                       i % 2 == 0 ? args : find);
    }
    talk_->Receive(stream, piece);
    for (int i = 0; i < 200; ++i) {
      const std::string answer = talk_->Answer();
      EXPECT_EQ(talk_->answered_id(), static_cast<std::uint32_t>(i));
      EXPECT_EQ(answer,
                absl::StrCat(i % 2 == 0 ? "{\"id\":\"" : "{\"_id\":\"", piece, "_", i / 2, "\"}"));
    }
  }
}

TEST_F(AlosProtocolTest, OnlyLongRequestsGoToAWorker) {
  Ask(Operation::kInsertOne, R"({"_id":"a","n":1})");
  EXPECT_EQ(talk_->works(), 1) << "the first request of a connection opens the database";
  Ask(Operation::kInsertOne, R"({"_id":"b"})");
  Ask(Operation::kFindById, R"({"id":"a"})");
  Ask(Operation::kFindOne, R"({"query":{"_id":"a"}})");
  Ask(Operation::kFindOne, R"({"query":{"_id":{"$in":["a","b"]}}})");
  Ask(Operation::kUpdateOne, R"({"filter":{"_id":"a"},"update":{"$set":{"n":2}}})");
  Ask(Operation::kCount, "{}");
  Ask(Operation::kFindManyCount, R"({"query":{}})");
  EXPECT_EQ(talk_->works(), 1);
  Ask(Operation::kFindOne, R"({"query":{"n":2}})");
  Ask(Operation::kFind, R"({"query":{"_id":{"$gt":"a"}}})");
  Ask(Operation::kUpdateMany, R"({"filter":{"_id":"a"},"update":{"$set":{"n":2}}})");
  Ask(Operation::kFindManyCount, R"({"query":{"n":2}})");
  Ask(Operation::kFlush, "{}", "");
  EXPECT_EQ(talk_->works(), 6);
}

// It is looked before whether anything is held; what is held in between is found by the write.
TEST_F(AlosProtocolTest, AWriteThatWouldHaveToWaitIsDoneOnceByAWorker) {
  Ask(Operation::kInsertOne, R"({"_id":"a","n":0})");
  TestEngine::Database* const database =
      *engine_->GetOrCreateDatabase(engine_->OpenDatabases().front());
  std::atomic<bool> stop{false};
  std::atomic<int> held{0};
  std::thread holder([&] {
    const std::string filter_bytes = Encode(R"({"_id":"a"})");
    const std::string update_bytes = Encode(R"({"$inc":{"n":1000000}})");
    const Filter filter = *Filter::Compile(ValueView::FromTrusted(filter_bytes));
    const Update update = *Update::Compile(ValueView::FromTrusted(update_bytes));
    while (!stop) {
      const auto transaction = database->BeginTransaction();
      EXPECT_TRUE(transaction->UpdateOne("c", filter, update).ok());
      if (!transaction->Reserve(nullptr).ok()) continue;
      ++held;
      std::this_thread::yield();
      transaction->Release();
    }
  });
  int asked = 0;
  while (asked < 2000 || held < 100) {
    ++asked;
    EXPECT_EQ(Ask(Operation::kUpdateOne, R"({"filter":{"_id":"a"},"update":{"$inc":{"n":1}}})"),
              R"({"count":1,"updated":1})");
  }
  stop = true;
  holder.join();
  EXPECT_EQ(Ask(Operation::kFindById, R"({"id":"a"})"),
            absl::StrCat(R"({"_id":"a","n":)", asked, "}"));
}

class EncryptedTest : public AlosProtocolTest,
                      public ::testing::WithParamInterface<HandshakeVersion> {
 protected:
  EncryptedTest() {
    AlosProtocolOptions options;
    options.credentials = credentials_;
    Configure(options);
  }
  const Credentials credentials_{"admin", "secret"};
};

TEST_P(EncryptedTest, HandshakeThenRequestsInAnyPieces) {
  for (const std::size_t piece : {1, 7, 1000}) {
    Talk talk(protocol_.get());
    EXPECT_EQ(talk.session().phase(), SessionPhase::kSilent);
    ASSERT_TRUE(talk.Shake(credentials_, GetParam(), piece));
    EXPECT_TRUE(talk.session().authenticated());
    EXPECT_EQ(talk.Ask(Operation::kCount, "c", "{}"), R"({"count":0})");
    talk.Receive(talk.Frame({.id = 9, .operation = Operation::kFindById, .collection = "c"},
                            Encode(R"({"id":"x"})")),
                 piece);
    EXPECT_EQ(talk.Answer(), "null");
  }
}

TEST_P(EncryptedTest, WrongPasswordIsRefusedInSilence) {
  Talk talk(protocol_.get());
  EXPECT_FALSE(talk.Shake(Credentials("admin", "guess"), GetParam()));
  // A client that does not mind the server's proof gets no further.
  talk.Receive(std::string(32, '\1'));
  EXPECT_TRUE(talk.closed());
  EXPECT_EQ(talk.unread_output().size(), kHelloReplyBytes);
  EXPECT_TRUE(talk.session().refused());
}

TEST_P(EncryptedTest, ReplayEndsTheConnection) {
  ASSERT_TRUE(talk_->Shake(credentials_, GetParam()));
  const std::string frame =
      talk_->Frame({.id = 1, .operation = Operation::kCount, .collection = "c"}, "\x80");
  talk_->Receive(frame);
  EXPECT_EQ(talk_->Answer(), R"({"count":0})");
  talk_->Receive(frame);
  EXPECT_TRUE(talk_->closed());
  EXPECT_TRUE(talk_->unread_output().empty());
}

TEST_P(EncryptedTest, TamperedAndPlainFramesEndTheConnection) {
  for (int position = 4; position < 60; position += 5) {
    Talk talk(protocol_.get());
    ASSERT_TRUE(talk.Shake(credentials_, GetParam()));
    std::string frame =
        talk.Frame({.id = 1, .operation = Operation::kCount, .collection = "c"}, "\x80");
    if (position >= static_cast<int>(frame.size())) break;
    frame[position] = static_cast<char>(frame[position] ^ 4);
    talk.Receive(frame);
    EXPECT_TRUE(talk.closed());
    EXPECT_TRUE(talk.unread_output().empty());
  }
  Talk talk(protocol_.get());
  ASSERT_TRUE(talk.Shake(credentials_, GetParam()));
  talk.Receive(std::string("\0\0\0\1\x80", 5));
  EXPECT_TRUE(talk.closed());
}

TEST_P(EncryptedTest, TokenIsCheckedWherePresent) {
  ASSERT_TRUE(talk_->Shake(credentials_, GetParam()));
  talk_->Receive(talk_->Frame(
      {.id = 1, .operation = Operation::kCount, .collection = "c", .token = credentials_.Token()},
      "\x80"));
  EXPECT_EQ(talk_->Answer(), R"({"count":0})");
  talk_->Receive(talk_->Frame(
      {.id = 2, .operation = Operation::kCount, .collection = "c", .token = std::string(64, '0')},
      "\x80"));
  EXPECT_TRUE(absl::StrContains(talk_->Answer(), "authentication required"));
  EXPECT_EQ(talk_->answered_id(), 2u);
  EXPECT_TRUE(talk_->closed());
}

INSTANTIATE_TEST_SUITE_P(Versions, EncryptedTest,
                         ::testing::Values(HandshakeVersion{0x01, 32}, HandshakeVersion{0x02, 16}));

class CredentialsRequiredTest : public EncryptedTest {};

TEST_P(CredentialsRequiredTest, PlainRequestGetsOneAnswerAndNoSecond) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{10000}}) {
    Talk talk(protocol_.get());
    std::string stream;
    for (std::uint32_t id : {77u, 78u}) {
      stream += talk.Frame({.id = id,
                            .operation = Operation::kCount,
                            .collection = "c",
                            .token = credentials_.Token()},
                           "\x80");
    }
    talk.Receive(stream, piece);
    EXPECT_EQ(talk.Answer(), "ERROR UNAUTHENTICATED: authentication required");
    EXPECT_EQ(talk.answered_id(), 77u);
    EXPECT_TRUE(talk.closed());
    EXPECT_TRUE(talk.unread_output().empty());
  }
}

TEST_P(CredentialsRequiredTest, UnauthenticatedBytesAreFew) {
  Talk talk(protocol_.get());
  talk.Receive("\xae" + std::string(1, GetParam().version) + std::string(32, 'x'));
  talk.Receive(std::string(31, 'y'));
  EXPECT_FALSE(talk.closed());
  EXPECT_LE(talk.session().memory_bytes(), 4096u);
}

INSTANTIATE_TEST_SUITE_P(Versions, CredentialsRequiredTest,
                         ::testing::Values(HandshakeVersion{0x02, 16}));

TEST_F(AlosProtocolTest, EncryptionWithoutCredentialsIsRefused) {
  talk_->Receive("\xae\x02");
  EXPECT_TRUE(talk_->closed());
  EXPECT_TRUE(talk_->unread_output().empty());
}

}  // namespace
}  // namespace alos
