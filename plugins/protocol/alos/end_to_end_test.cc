// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Client, sockets, server, protocol, engine: the whole line, plain and encrypted, in both
// durability modes.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
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
#include "absl/time/time.h"
#include "alos/document/builder.h"
#include "alos/document/json.h"
#include "alos/document/value.h"
#include "alos/engine/engine.h"
#include "alos/net/client.h"
#include "alos/net/client_connection.h"
#include "alos/net/counters.h"
#include "alos/net/credentials.h"
#include "alos/net/message.h"
#include "alos/net/server.h"
#include "gtest/gtest.h"
#include "plugin/ciphers.h"
#include "plugin/durability.h"
#include "plugin/protocol.h"
#include "testing/isolation/lossy_proxy.h"

namespace alos {
namespace {

constexpr char kUsername[] = "admin";
constexpr char kPassword[] = "a long password";

std::string Encode(std::string_view json) {
  const auto bytes = JsonToMessagePack(json);
  EXPECT_TRUE(bytes.ok()) << json << ": " << bytes.status();
  return bytes.ok() ? *bytes : std::string("\xc0");
}
ValueView View(const std::string& bytes) { return ValueView::FromTrusted(bytes); }
std::string Json(std::string_view bytes) { return ToJson(ValueView::FromTrusted(bytes)); }

// An engine and a server over it, in one durability mode; the modes are types, so this hides them.
class Host {
 public:
  virtual ~Host() = default;
  virtual std::uint16_t port() const = 0;
  virtual NetCounters& counters() = 0;
  virtual std::size_t connections() const = 0;
  virtual void Stop() = 0;
};

template <class Durability>
class HostWith : public Host {
 public:
  using Engine = BasicEngine<Policies<Durability>>;
  using Protocol = plugin::Protocol<Engine>;

  HostWith(const std::string& path, AlosProtocolOptions protocol_options,
           ServerOptions server_options) {
    EngineOptions options;
    options.data_path = path;
    options.shards = 4;
    auto engine = Engine::Open(options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    protocol_ = std::make_unique<Protocol>(engine_.get(), std::move(protocol_options));
    auto server = Server<Protocol>::Start(server_options, protocol_.get());
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~HostWith() override {
    Stop();
    server_ = nullptr;
    protocol_ = nullptr;
    EXPECT_TRUE(engine_->Close().ok());
  }
  std::uint16_t port() const override { return server_->port(); }
  NetCounters& counters() override { return protocol_->counters(); }
  std::size_t connections() const override { return server_->connections(); }
  void Stop() override { server_->Stop(); }

 private:
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Protocol> protocol_;
  std::unique_ptr<Server<Protocol>> server_;
};

struct Mode {
  std::string_view name;
  bool sync;
  std::uint8_t handshake;  // 0: plain
};

class EndToEndTest : public ::testing::TestWithParam<Mode> {
 protected:
  EndToEndTest()
      : path_(std::filesystem::path(::testing::TempDir()) /
              absl::StrCat("end_to_end_", ::getpid(), "_", std::random_device{}())) {}
  ~EndToEndTest() override {
    client_ = nullptr;
    host_ = nullptr;
    std::filesystem::remove_all(path_);
  }
  void Start(ServerOptions server_options = {}) {
    host_ = nullptr;
    AlosProtocolOptions options;
    if (encrypted()) options.credentials.emplace(kUsername, kPassword);
    server_options.host = "127.0.0.1";
    server_options.port = port_;
    server_options.threads = 2;
    if (GetParam().sync) {
      host_ = std::make_unique<HostWith<SyncDurability>>(path_.string(), options, server_options);
    } else {
      host_ = std::make_unique<HostWith<AsyncDurability>>(path_.string(), options, server_options);
    }
    port_ = host_->port();
  }
  void Connect() {
    auto client = Client::Connect(Options());
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  ClientOptions Options() const {
    ClientOptions options;
    options.host = "127.0.0.1";
    options.port = port_;
    if (encrypted()) {
      options.username = kUsername;
      options.password = kPassword;
      options.handshake_version = GetParam().handshake;
    }
    return options;
  }
  ConnectionOptions RawOptions() const {
    ConnectionOptions options;
    options.host = "127.0.0.1";
    options.port = port_;
    if (encrypted()) {
      options.credentials.emplace(kUsername, kPassword);
      options.handshake_version = GetParam().handshake;
    }
    return options;
  }
  bool encrypted() const { return GetParam().handshake != 0; }

  const std::filesystem::path path_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Host> host_;
  std::unique_ptr<Client> client_;
};

TEST_P(EndToEndTest, EveryOperationOfTheClient) {
  Start();
  Connect();
  const std::string ann = Encode(R"({"_id":"ann","n":1,"name":"Ann"})");
  const std::string bob = Encode(R"({"n":2,"name":"Bob"})");
  const std::string all = Encode("{}");

  auto id = client_->InsertOne("people", View(ann));
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(Json(*id), "\"ann\"");
  EXPECT_EQ(client_->InsertOne("people", View(ann)).status().code(),
            absl::StatusCode::kAlreadyExists);
  const std::vector<ValueView> more = {View(bob), View(bob)};
  const auto ids = client_->InsertMany("people", more);
  ASSERT_TRUE(ids.ok()) << ids.status();
  ASSERT_EQ(ids->size(), 2u);

  EXPECT_EQ(**client_->FindById("people", "ann"), ann);
  EXPECT_EQ(**client_->FindById("people", View(*id)), ann);
  EXPECT_EQ(*client_->FindById("people", "nobody"), std::nullopt);
  EXPECT_EQ(**client_->FindOne("people", View(Encode(R"({"name":"Ann"})"))), ann);
  EXPECT_EQ(*client_->FindOne("people", View(Encode(R"({"name":"Zoe"})"))), std::nullopt);
  EXPECT_EQ(client_->Find("people", View(all))->size(), 3u);
  ClientFindOptions find_options;
  find_options.fields = {"name"};
  find_options.skip = 1;
  find_options.limit = 1;
  EXPECT_EQ(client_->Find("people", View(all), find_options)->size(), 1u);
  EXPECT_EQ(*client_->Count("people"), 3u);
  EXPECT_EQ(*client_->Count("people", View(Encode(R"({"name":"Bob"})"))), 2u);
  std::size_t streamed = 0;
  const absl::Status stream = client_->FindStream("people", View(all), 2, [&](ValueView) {
    ++streamed;
    return true;
  });
  EXPECT_TRUE(stream.ok()) << stream;
  EXPECT_EQ(streamed, 3u);
  EXPECT_EQ(client_->Aggregate("people", View(Encode(R"([{"$match":{"n":2}}])")))->size(), 2u);

  const std::string by_name = Encode(R"({"name":"Bob"})");
  const std::string increment = Encode(R"({"$inc":{"n":1}})");
  EXPECT_EQ(*client_->UpdateOne("people", View(by_name), View(increment)), 1u);
  EXPECT_EQ(*client_->UpdateMany("people", View(by_name), View(increment)), 2u);
  const std::string numbers = Encode(R"({"$set":{"list":[1,5,9]}})");
  EXPECT_EQ(*client_->UpdateOne("people", View(by_name), View(numbers)), 1u);
  const std::string some = Encode(R"({"$inc":{"list.$[x]":1}})");
  const std::string which = Encode(R"([{"x":{"$gt":4}}])");
  const std::string listed = Encode(R"({"list":{"$exists":true}})");
  EXPECT_EQ(*client_->UpdateMany("people", View(listed), View(some), View(which)), 1u);
  EXPECT_EQ(*client_->Count("people", View(Encode(R"({"list":[1,6,10]})"))), 1u);
  EXPECT_EQ(*client_->DeleteOne("people", View(by_name)), 1u);
  EXPECT_EQ(*client_->DeleteMany("people", View(by_name)), 1u);
  const auto upserted =
      client_->UpsertOne("people", View(Encode(R"({"_id":"zoe"})")), View(increment));
  ASSERT_TRUE(upserted.ok()) << upserted.status();
  EXPECT_TRUE(upserted->inserted);
  EXPECT_EQ(Json(*upserted->id), "\"zoe\"");
  const auto upserted_many = client_->UpsertMany("people", View(all), View(increment));
  ASSERT_TRUE(upserted_many.ok()) << upserted_many.status();
  EXPECT_EQ(upserted_many->matched, 2u);
  EXPECT_EQ(upserted_many->inserted, 0u);

  EXPECT_TRUE(client_->CreateCollection("empty").ok());
  EXPECT_TRUE(*client_->CollectionExists("empty"));
  EXPECT_FALSE(*client_->CollectionExists("absent"));
  EXPECT_TRUE(*client_->DatabaseExists("alosdb"));
  EXPECT_FALSE(*client_->DatabaseExists("absent"));
  EXPECT_TRUE(client_->Flush().ok());
  EXPECT_GT(*client_->ReadTimestamp(), 0u);
  const auto stats = client_->Stats();
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_TRUE(View(*stats).Find("connections").has_value());
  EXPECT_EQ(View(*client_->ListIndexes("people")).size(), 1u);
  EXPECT_EQ(client_->DropIndex("people", "n").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(client_->RebuildIndex("people", "n").code(), absl::StatusCode::kNotFound);

  for (int i = 0; i < 30; ++i) {
    const std::string document =
        Encode(absl::StrCat(R"({"_id":)", i, R"(,"n":)", i * 7 % 30, R"(,"s":"t"})"));
    ASSERT_TRUE(client_->InsertOne("many", View(document)).ok());
  }
  const auto indexed =
      client_->CreateIndex("many", ClientIndex{.fields = {{.name = "n", .value_type = "integer"}}});
  ASSERT_TRUE(indexed.ok()) << indexed.status();
  EXPECT_EQ(indexed->indexed, 30u);
  EXPECT_EQ(indexed->skipped, 0u);
  const auto unfit = client_->CreateIndex(
      "many",
      ClientIndex{.fields = {{.name = "s", .value_type = "time"}, {.name = "n"}}, .sparse = true});
  ASSERT_TRUE(unfit.ok()) << unfit.status();
  EXPECT_EQ(unfit->skipped, 30u);
  ASSERT_EQ(unfit->issues.size(), 30u);
  EXPECT_EQ(View(unfit->issues[0]).Find("actual")->AsString(), "string");
  EXPECT_EQ(View(*client_->ListIndexes("many")).size(), 3u);
  EXPECT_TRUE(client_->DropIndex("many", "s,n").ok());
  const std::string query = Encode(R"({"n":{"$gte":10}})");
  const std::string order = Encode(R"({"n":-1})");
  const std::string shown = Encode(R"({"_id":0,"n":1})");
  ClientFindOptions sorted{
      .skip = 1, .limit = 5, .sort = View(order), .projection = View(shown), .hint = "n"};
  const auto found = client_->Find("many", View(query), sorted);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 5u);
  EXPECT_EQ(Json((*found)[0]), R"({"n":28})");
  EXPECT_EQ(Json(**client_->FindOne("many", View(query), sorted)), R"({"n":28})");
  std::string seen_numbers;
  const auto visit = [&](ValueView document) {
    absl::StrAppend(&seen_numbers, *document.Find("n")->ToInt64(), " ");
    return true;
  };
  ASSERT_TRUE(client_->FindStream("many", View(query), 2, visit, sorted).ok());
  EXPECT_EQ(seen_numbers, "28 27 26 25 24 ");
  seen_numbers.clear();
  const std::string pipeline = Encode(R"([{"$sort":{"n":1}},{"$limit":7}])");
  ASSERT_TRUE(client_->AggregateStream("many", View(pipeline), 3, visit).ok());
  EXPECT_EQ(seen_numbers, "0 1 2 3 4 5 6 ");
  EXPECT_EQ(
      View(*client_->ExplainFind("many", View(Encode(R"({"n":7})")))).Find("plan")->AsString(),
      "index");
  EXPECT_EQ(View(*client_->ExplainFind("many", View(query), {.force_scan = true}))
                .Find("plan")
                ->AsString(),
            "scan of all documents");
  EXPECT_TRUE(View(*client_->ExplainAggregate("many", View(pipeline))).Find("plan").has_value());
  EXPECT_EQ(View(*client_->Explain(Operation::kDeleteMany, "many",
                                   View(Encode(R"({"filter":{"n":{"$lt":3}}})"))))
                .Find("returned")
                ->ToInt64(),
            3);
  EXPECT_EQ(*client_->Count("many"), 30u);
  EXPECT_EQ(client_->Find("many", View(query), {.hint = "absent"}).status().code(),
            absl::StatusCode::kNotFound);

  const auto batch = client_->Batch(
      {{Operation::kInsertOne, "people", ann}, {Operation::kCount, "people", Encode("{}")}});
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_EQ((*batch)[0].status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Json(*(*batch)[1]), R"({"count":2})");
  EXPECT_TRUE(client_->Drop("people").ok());
  EXPECT_EQ(*client_->Count("people"), 0u);
}

TEST_P(EndToEndTest, Transactions) {
  Start();
  Connect();
  const std::string account = Encode(R"({"_id":"a","n":1})");
  ASSERT_TRUE(client_->InsertOne("c", View(account)).ok());
  const std::string by_id = Encode(R"({"_id":"a"})");
  const std::string increment = Encode(R"({"$inc":{"n":1}})");
  auto first = client_->BeginTransaction();
  auto second = client_->BeginTransaction();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*(*first)->UpdateOne("c", View(by_id), View(increment)), 1u);
  EXPECT_EQ(Json(*(*first)->InsertOne("c", View(Encode(R"({"_id":"b"})")))), "\"b\"");
  EXPECT_EQ(Json(**(*first)->FindOne("c", View(by_id))), R"({"_id":"a","n":2})");
  EXPECT_EQ(Json(**(*second)->FindById("c", View(Encode("\"a\"")))), R"({"_id":"a","n":1})");
  EXPECT_EQ(*(*second)->DeleteOne("c", View(by_id)), 1u);
  EXPECT_TRUE((*first)->Commit().ok());
  EXPECT_EQ((*second)->Commit().code(), absl::StatusCode::kAborted);
  EXPECT_EQ((*second)->Commit().code(), absl::StatusCode::kFailedPrecondition);
  {
    auto abandoned = client_->BeginTransaction();
    ASSERT_TRUE(abandoned.ok());
    EXPECT_EQ(*(*abandoned)->DeleteOne("c", View(by_id)), 1u);
  }
  EXPECT_EQ(Json(**client_->FindById("c", "a")), R"({"_id":"a","n":2})");
}

TEST_P(EndToEndTest, TransactionsOverDatabases) {
  Start();
  Connect();
  const std::string by_id = Encode(R"({"_id":"a"})");
  const std::string increment = Encode(R"({"$inc":{"n":1}})");
  auto other = client_->BeginTransaction();
  ASSERT_TRUE(other.ok());
  (*other)->UseDatabase("other");
  ASSERT_TRUE((*other)->InsertOne("c", View(Encode(R"({"_id":"a","n":0})"))).ok());
  ASSERT_TRUE((*other)->Commit().ok())
      << "a request name of another database than all of its writes";
  ASSERT_TRUE(client_->InsertOne("c", View(Encode(R"({"_id":"a","n":0})"))).ok());
  // Several clients at once, and one that looks.
  std::atomic<int> committed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 25; ++round) {
        auto transaction = client_->BeginTransaction({.databases = {"other"}});
        ASSERT_TRUE(transaction.ok()) << transaction.status();
        if (i == 0) {
          const auto here = (*transaction)->FindOne("c", View(by_id));
          (*transaction)->UseDatabase("other");
          const auto there = (*transaction)->FindOne("c", View(by_id));
          ASSERT_TRUE(here.ok() && there.ok());
          EXPECT_EQ(Json(**here), Json(**there));
          continue;
        }
        EXPECT_EQ(*(*transaction)->UpdateOne("c", View(by_id), View(increment)), 1u);
        (*transaction)->UseDatabase("other");
        EXPECT_EQ(*(*transaction)->UpdateOne("c", View(by_id), View(increment)), 1u);
        const absl::Status status = (*transaction)->Commit();
        EXPECT_TRUE(status.ok() || absl::IsAborted(status)) << status;
        committed += status.ok();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(committed, 0);
  EXPECT_EQ(Json(**client_->FindById("c", "a")),
            absl::StrCat(R"({"_id":"a","n":)", committed.load(), "}"));
}

TEST_P(EndToEndTest, EveryOperationInATransaction) {
  Start();
  Connect();
  auto begun = client_->BeginTransaction();
  ASSERT_TRUE(begun.ok()) << begun.status();
  auto& transaction = **begun;
  const std::string one = Encode(R"({"_id":"a","n":1})");
  const std::vector<std::string> bytes = {Encode(R"({"_id":"b","n":2})"),
                                          Encode(R"({"_id":"c","n":3})")};
  const std::string all = Encode("{}");
  const std::string large = Encode(R"({"n":{"$gte":2}})");
  const std::string add = Encode(R"({"$inc":{"n":10}})");
  ASSERT_TRUE(transaction.InsertOne("t", View(one)).ok());
  const std::vector<ValueView> documents = {View(bytes[0]), View(bytes[1])};
  EXPECT_EQ(transaction.InsertMany("t", documents)->size(), 2u);
  EXPECT_EQ(*transaction.Count("t", View(large)), 2u);
  EXPECT_EQ(*transaction.UpdateMany("t", View(large), View(add)), 2u);
  const std::string descending = Encode(R"({"n":-1})");
  ClientFindOptions options;
  options.sort = View(descending);
  options.limit = 2;
  options.fields = {"n"};
  const auto found = transaction.Find("t", View(all), options);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ(View((*found)[0]).Find("n")->AsInt64(), 13);
  EXPECT_EQ(*transaction.DeleteMany("t", View(large)), 2u);
  EXPECT_EQ(*transaction.Count("t", View(all)), 1u);
  EXPECT_EQ(*client_->Count("t"), 0u);
  ASSERT_TRUE(transaction.Commit().ok());
  EXPECT_EQ(*client_->Count("t"), 1u);

  // Two that each write what the other read.
  auto t1 = client_->BeginTransaction({.serializable = true});
  auto t2 = client_->BeginTransaction({.serializable = true});
  ASSERT_TRUE(t1.ok() && t2.ok());
  EXPECT_EQ(*(*t1)->Count("t", View(large)), 0u);
  EXPECT_EQ(*(*t2)->Count("t", View(large)), 0u);
  ASSERT_TRUE((*t1)->InsertOne("t", View(bytes[0])).ok());
  ASSERT_TRUE((*t2)->InsertOne("t", View(bytes[1])).ok());
  ASSERT_TRUE((*t1)->Commit().ok());
  const absl::Status refused = (*t2)->Commit();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAborted) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "transaction conflict")) << refused;

  // In one request.
  const std::string batch = Encode(
      R"({"isolation":"serializable","operations":[
        {"op":9,"collection":"t","args":{}},
        {"op":2,"collection":"t","args":{"docs":[{"_id":"x"},{"_id":"y"}]}},
        {"op":4,"collection":"t","args":{"query":{"_id":"x"}}},
        {"op":8,"collection":"t","args":{"filter":{}}},
        {"op":10,"collection":"t","args":{"id":"x"}}]})");
  const auto answer = client_->Call(Operation::kTransactionBatch, "", View(batch), false);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Json(*answer),
            R"({"success":true,"results":[{"success":true,"result":{"count":2}},)"
            R"({"success":true,"result":{"ids":["x","y"]}},)"
            R"({"success":true,"result":[{"_id":"x"}]},)"
            R"({"success":true,"result":{"count":4}},{"success":true,"result":null}],)"
            R"("rolled_back":false})");
  EXPECT_EQ(*client_->Count("t"), 0u);
}

TEST_P(EndToEndTest, RetriedWritesAreDoneOnce) {
  Start();
  Connect();
  LossyProxy proxy(port_, 10);
  constexpr int kThreads = 4;
  constexpr int kEach = 150;
  const std::string all = Encode("{}");
  ASSERT_TRUE(client_->InsertOne("c", View(Encode(R"({"_id":"n","n":0})"))).ok());
  ASSERT_TRUE(client_->InsertOne("c", View(Encode(R"({"_id":"t","n":0})"))).ok());
  for (int i = 0; i < kThreads * kEach; ++i) {
    const std::string document = Encode(absl::StrCat(R"({"_id":)", i, R"(,"left":true})"));
    ASSERT_TRUE(client_->InsertOne("d", View(document)).ok());
  }
  std::atomic<int> deleted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ClientOptions options = Options();
      options.port = proxy.port();
      options.connections_max = 2;
      options.backoff_min = absl::Milliseconds(1);
      std::unique_ptr<Client> client;
      while (client == nullptr) {
        auto connected = Client::Connect(options);
        if (connected.ok()) client = *std::move(connected);
      }
      const std::string by_id = Encode(R"({"_id":"n"})");
      const std::string add = Encode(R"({"$inc":{"n":1}})");
      const std::string missing = Encode(R"({"x":1})");
      const std::string in_transactions = Encode(R"({"_id":"t"})");
      for (int i = 0; i < kEach; ++i) {
        const auto updated = client->UpdateOne("c", View(by_id), View(add));
        ASSERT_TRUE(updated.ok()) << updated.status();
        EXPECT_EQ(*updated, 1u);
        const auto inserted = client->InsertOne("i", View(missing));
        ASSERT_TRUE(inserted.ok()) << inserted.status();
        const auto gone = client->DeleteOne("d", View(all));
        ASSERT_TRUE(gone.ok()) << gone.status();
        deleted += static_cast<int>(*gone);
        if (i % 10 != 0) continue;
        // Until it is committed; a lost connection may come before the commit, too.
        while (true) {
          auto transaction = client->BeginTransaction();
          if (!transaction.ok() ||
              !(*transaction)->UpdateOne("c", View(in_transactions), View(add)).ok()) {
            continue;
          }
          const absl::Status committed = (*transaction)->Commit();
          if (committed.ok()) break;
          ASSERT_EQ(committed.code(), absl::StatusCode::kAborted) << committed;
        }
        const std::vector<ValueView> two = {View(missing), View(missing)};
        const auto many = client->InsertMany("m", two);
        ASSERT_TRUE(many.ok()) << many.status();
        const auto bumped = client->UpdateMany("c", View(by_id), View(add));
        ASSERT_TRUE(bumped.ok()) << bumped.status();
        std::string batched;
        Builder builder(&batched);
        builder.StartDocument().Key("filter").Raw(View(by_id)).Key("update").Raw(View(add));
        builder.EndDocument();
        const auto batch = client->Batch(
            {{Operation::kUpdateOne, "c", batched}, {Operation::kInsertOne, "m", missing}});
        ASSERT_TRUE(batch.ok()) << batch.status();
        ASSERT_TRUE((*batch)[0].ok() && (*batch)[1].ok());
        const std::string own = absl::StrCat("own", t);
        ASSERT_TRUE(client->CreateCollection(own).ok());
        ASSERT_TRUE(client->CreateIndex(own, {.fields = {{"x"}}}).ok());
        ASSERT_TRUE(client->InsertOne(own, View(missing)).ok());
        ASSERT_TRUE(client->RebuildIndex(own, "x").ok());
        ASSERT_TRUE(client->DropIndex(own, "x").ok()) << "done twice it would not be found";
        ASSERT_TRUE(client->Drop(own).ok());
        // Over two databases.
        while (true) {
          auto transaction = client->BeginTransaction({.databases = {"other"}});
          if (!transaction.ok() ||
              !(*transaction)->UpdateOne("c", View(in_transactions), View(add)).ok()) {
            continue;
          }
          (*transaction)->UseDatabase("other");
          if (!(*transaction)->InsertOne("i", View(missing)).ok()) continue;
          const absl::Status committed = (*transaction)->Commit();
          if (committed.ok()) break;
          ASSERT_EQ(committed.code(), absl::StatusCode::kAborted) << committed;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(proxy.lost(), 100);
  const auto counted = client_->FindById("c", "n");
  ASSERT_TRUE(counted.ok() && counted->has_value());
  EXPECT_EQ(View(**counted).Find("n")->AsInt64(), kThreads * kEach + kThreads * kEach / 5);
  const auto in_transactions = client_->FindById("c", "t");
  ASSERT_TRUE(in_transactions.ok() && in_transactions->has_value());
  EXPECT_EQ(View(**in_transactions).Find("n")->AsInt64(), kThreads * kEach / 5);
  auto other = client_->BeginTransaction();
  ASSERT_TRUE(other.ok());
  (*other)->UseDatabase("other");
  EXPECT_EQ(*(*other)->Count("i", View(all)), static_cast<std::uint64_t>(kThreads * kEach / 10));
  EXPECT_EQ(*client_->Count("i"), static_cast<std::uint64_t>(kThreads * kEach));
  EXPECT_EQ(*client_->Count("m"), static_cast<std::uint64_t>(kThreads * kEach * 3 / 10));
  EXPECT_EQ(*client_->Count("d"), static_cast<std::uint64_t>(kThreads * kEach - deleted));
}

TEST_P(EndToEndTest, ChangesAreWatched) {
  Start();
  Connect();
  const auto begin = client_->ReadTimestamp();
  ASSERT_TRUE(begin.ok());
  ASSERT_TRUE(client_->InsertOne("t", View(Encode(R"({"_id":"a","n":1})"))).ok());
  ASSERT_TRUE(client_->InsertOne("other", View(Encode(R"({"_id":"x"})"))).ok());
  ASSERT_TRUE(
      client_->UpdateOne("t", View(Encode(R"({"_id":"a"})")), View(Encode(R"({"$inc":{"n":1}})")))
          .ok());
  auto transaction = client_->BeginTransaction();
  ASSERT_TRUE(transaction.ok());
  ASSERT_TRUE((*transaction)->InsertOne("t", View(Encode(R"({"_id":"b"})"))).ok());
  ASSERT_TRUE((*transaction)->DeleteOne("t", View(Encode(R"({"_id":"a"})"))).ok());
  ASSERT_TRUE((*transaction)->Commit().ok());
  ASSERT_TRUE(client_->Drop("t").ok());
  Client::WatchOptions options;
  options.collections = {"t"};
  options.from = *begin;
  options.timeout = absl::ZeroDuration();
  // All at once, and one at a time: the same.
  std::vector<std::string> seen[2];
  for (const bool one_by_one : {false, true}) {
    std::string cursor;
    bool more = true;
    while (more) {
      more = false;
      ASSERT_TRUE(client_
                      ->Watch(options, &cursor,
                              [&](ValueView change) {
                                std::string text =
                                    absl::StrCat(change.Find("op")->AsString(), " ",
                                                 change.Find("last")->AsBool() ? "last" : "more");
                                for (const char* key : {"id", "before", "after"}) {
                                  if (const auto value = change.Find(key))
                                    absl::StrAppend(&text, " ", key, " ", ToJson(*value));
                                }
                                seen[one_by_one].push_back(text);
                                more = one_by_one;
                                return !one_by_one;
                              })
                      .ok());
    }
  }
  EXPECT_EQ(seen[0], seen[1]);
  ASSERT_EQ(seen[0].size(), 5u);
  EXPECT_EQ(seen[0][0], R"(insert last id "a" after {"_id":"a","n":1})");
  EXPECT_EQ(seen[0][1], R"(update last id "a" before {"_id":"a","n":1} after {"_id":"a","n":2})");
  std::sort(seen[0].begin() + 2, seen[0].begin() + 4);
  EXPECT_TRUE(absl::StrContains(seen[0][2] + seen[0][3], R"(id "a" before {"_id":"a","n":2})"));
  EXPECT_TRUE(absl::StrContains(seen[0][2] + seen[0][3], R"(id "b" after {"_id":"b"})"));
  EXPECT_TRUE(absl::StrContains(seen[1][2], "more"));
  EXPECT_TRUE(absl::StrContains(seen[1][3], "last"));
  EXPECT_EQ(seen[0][4], "drop last");
}

TEST_P(EndToEndTest, ReadsOfThePast) {
  Start();
  Connect();
  const std::string all = Encode("{}");
  for (const char* text : {R"({"_id":"a","n":1})", R"({"_id":"b","n":2})"})
    ASSERT_TRUE(client_->InsertOne("t", View(Encode(text))).ok());
  const auto before = client_->ReadTimestamp();
  ASSERT_TRUE(before.ok());
  ASSERT_TRUE(client_->UpdateMany("t", View(all), View(Encode(R"({"$set":{"n":9}})"))).ok());
  ASSERT_TRUE(client_->DeleteOne("t", View(Encode(R"({"_id":"a"})"))).ok());
  ClientFindOptions past;
  past.read_timestamp = *before;
  const std::string ascending = Encode(R"({"_id":1})");
  past.sort = View(ascending);
  const auto found = client_->Find("t", View(all), past);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ(Json((*found)[0]), R"({"_id":"a","n":1})");
  EXPECT_EQ(Json((*found)[1]), R"({"_id":"b","n":2})");
  EXPECT_EQ(*client_->Count("t", View(all), *before), 2u);
  EXPECT_EQ(*client_->Count("t", View(all)), 1u);
  const std::string sum = Encode(R"([{"$group":{"_id":null,"n":{"$sum":"$n"}}}])");
  const auto total = client_->Aggregate("t", View(sum), *before);
  ASSERT_TRUE(total.ok()) << total.status();
  EXPECT_EQ(Json((*total)[0]), R"({"_id":null,"n":3})");
  past.sort.reset();
  std::size_t streamed = 0;
  ASSERT_TRUE(client_
                  ->FindStream(
                      "t", View(all), 1,
                      [&](ValueView) {
                        ++streamed;
                        return true;
                      },
                      past)
                  .ok());
  EXPECT_EQ(streamed, 2u);
  EXPECT_EQ(client_->Count("t", View(all), *before + 1'000'000).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(EndToEndTest, DocumentsOfTenMegabytes) {
  Start();
  Connect();
  for (int i = 0; i < 3; ++i) {
    std::string document;
    Builder(&document)
        .StartDocument()
        .Key("_id")
        .Int(i)
        .Key("data")
        .Binary(std::string(10'000'000 + i, static_cast<char>('a' + i)))
        .EndDocument();
    const auto id = client_->InsertOne("big", View(document));
    ASSERT_TRUE(id.ok()) << id.status();
    const auto found = client_->FindById("big", View(*id));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(**found == document);
  }
  EXPECT_EQ(client_->Find("big", View(Encode("{}")))->size(), 3u);
}

// Requests of many connections at once, each of which reads what it wrote; then everything is
// there.
TEST_P(EndToEndTest, ManyClientsAtOnceAndARestart) {
  Start();
  Connect();
  constexpr int kThreads = 8;
  const int documents = GetParam().sync ? 30 : 150;
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < documents; ++i) {
        const std::string document =
            Encode(absl::StrCat(R"({"_id":")", t, "_", i, R"(","n":)", i, "}"));
        wrong += !client_->InsertOne("c", View(document)).ok();
        const auto found = client_->FindById("c", absl::StrCat(t, "_", i));
        wrong += !found.ok() || !found->has_value() || **found != document;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  Start();  // over the same directory, at the same port
  EXPECT_EQ(*client_->Count("c"), static_cast<std::uint64_t>(kThreads * documents))
      << "the client must find its way back";
}

TEST_P(EndToEndTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  auto connection =
      ClientConnection<plugin::Ciphers>::Open(RawOptions(), absl::Now() + absl::Seconds(10));
  ASSERT_TRUE(connection.ok()) << connection.status();
  constexpr std::uint32_t kRequests = 400;
  for (std::uint32_t i = 0; i < kRequests; ++i) {
    const std::string id = absl::StrCat("d", i / 4 * 4 + i % 4 % 2);
    const bool insert = i % 4 < 2;
    const std::string args = Encode(absl::StrCat(insert ? R"({"_id":")" : R"({"id":")", id, "\"}"));
    (*connection)
        ->Queue({.id = i,
                 .operation = insert ? Operation::kInsertOne : Operation::kFindById,
                 .collection = "c"},
                View(args));
  }
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  ASSERT_TRUE((*connection)->Flush(deadline).ok());
  for (std::uint32_t i = 0; i < kRequests; ++i) {
    const auto payload = (*connection)->Receive(deadline);
    ASSERT_TRUE(payload.ok()) << payload.status();
    const auto response = ParseResponse(*payload);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->id, i);
    EXPECT_TRUE(response->status.ok()) << response->status;
    EXPECT_FALSE(response->result->IsNull()) << "request " << i << " does not see the write before";
  }
}

TEST_P(EndToEndTest, WrongPasswordIsRefused) {
  Start();
  ClientOptions options = Options();
  options.username = kUsername;
  options.password = "wrong";
  options.reconnect_timeout = absl::Milliseconds(50);
  const auto client = Client::Connect(options);
  if (encrypted()) {
    EXPECT_EQ(client.status().code(), absl::StatusCode::kPermissionDenied) << client.status();
    options.username = options.password = "";
    const auto plain = Client::Connect(options);  // connects, then is told
    ASSERT_TRUE(plain.ok());
    const auto count = (*plain)->Count("c");
    EXPECT_EQ(count.status().code(), absl::StatusCode::kUnauthenticated) << count.status();
  } else {
    EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(absl::StrContains(client.status().message(), "credentials")) << client.status();
  }
}

TEST_P(EndToEndTest, HostileBytesHurtNobodyElse) {
  Start();
  Connect();
  std::mt19937 random(1123);
  for (int round = 0; round < 60; ++round) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    std::string bytes(random() % 3000, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    if (round % 3 == 0 && bytes.size() > 2) bytes[0] = '\xae', bytes[1] = '\x02';
    if (round % 3 == 1 && bytes.size() > 4) bytes[0] = bytes[1] = '\0', bytes[2] = '\1';
    ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ::close(fd);
    const auto count = client_->Count("c");
    ASSERT_TRUE(count.ok()) << count.status();
  }
}

// A request under way when the server stops is finished and answered.
TEST_P(EndToEndTest, StopAnswersWhatWasAsked) {
  Start();
  Connect();
  std::atomic<bool> stopping = false;
  std::atomic<int> acknowledged = 0;
  std::thread writer([&] {
    for (int i = 0; !stopping; ++i) {
      const std::string document = Encode(absl::StrCat(R"({"_id":)", i, "}"));
      if (!client_->InsertOne("c", View(document)).ok()) return;
      acknowledged = i + 1;
    }
  });
  while (acknowledged < 20) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  host_->Stop();
  stopping = true;
  Start();
  writer.join();
  const auto count = client_->Count("c");
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_GE(*count, static_cast<std::uint64_t>(acknowledged));
  EXPECT_LE(*count, static_cast<std::uint64_t>(acknowledged) + 1);
}

TEST_P(EndToEndTest, IdleConnectionsAreCheap) {
  Start();
  std::vector<std::unique_ptr<ClientConnection<plugin::Ciphers>>> connections;
  for (int i = 0; i < 300; ++i) {
    auto connection =
        ClientConnection<plugin::Ciphers>::Open(RawOptions(), absl::Now() + absl::Seconds(30));
    ASSERT_TRUE(connection.ok()) << connection.status();
    connections.push_back(*std::move(connection));
  }
  Connect();
  EXPECT_TRUE(client_->Count("c").ok());
  for (const auto& connection : connections) EXPECT_TRUE(connection->LooksAlive());
}

INSTANTIATE_TEST_SUITE_P(Modes, EndToEndTest,
                         ::testing::Values(Mode{"AsyncPlain", false, 0}, Mode{"AsyncAes", false, 1},
                                           Mode{"AsyncAegis", false, 2}, Mode{"SyncPlain", true, 0},
                                           Mode{"SyncAegis", true, 2}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace alos
