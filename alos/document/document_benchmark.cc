// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What reading and writing one document costs: checking it, finding fields, comparing, building,
// JSON; beside msgpack-cxx unpacking and walking the same bytes. Documents of about 300 bytes with
// ten fields, and of 25 KB with a hundred nested ones. Everything stays in the first-level cache,
// so this does not tell what a cold document costs, nor what allocation costs under load.
//
//   ./bazelw run -c opt //alos/document:document_benchmark

#include <benchmark/benchmark.h>

#include <compare>
#include <cstdint>
#include <msgpack.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/check.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/id.h"
#include "alos/document/json.h"
#include "alos/document/path.h"
#include "alos/document/value.h"

namespace alos {
namespace {

// About 300 bytes, as a user record of a web shop might be.
void BuildSmall(Builder& b, std::int64_t number) {
  b.StartDocument();
  b.Key("_id").String("65f1c0ffee65f1c0ffee0001");
  b.Key("name").String("Ada Lovelace");
  b.Key("email").String("ada.lovelace@example.com");
  b.Key("age").Int(36);
  b.Key("active").Bool(true);
  b.Key("score").Double(12.75);
  b.Key("created").Time({1'714'979'289, 123'000'000});
  b.Key("tags").StartArray().String("mathematics").String("poetry").String("engines").EndArray();
  b.Key("address").StartDocument();
  b.Key("street").String("12 St James's Square").Key("city").String("London");
  b.Key("location").StartDocument().Key("lat").Double(51.507).Key("lon").Double(-0.133);
  b.EndDocument().EndDocument();
  b.Key("counter").Int(number);
  b.EndDocument();
}

std::string Small() {
  std::string bytes;
  Builder builder(&bytes);
  BuildSmall(builder, 1'000'000);
  return bytes;
}

// About 25 KB: a hundred of them in an array.
std::string Large() {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument().Key("items").StartArray();
  for (int i = 0; i < 100; ++i) BuildSmall(builder, i);
  builder.EndArray().Key("last").Int(1).EndDocument();
  return bytes;
}

void SetBytes(benchmark::State& state, std::size_t size) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(size));
  state.SetLabel(absl::StrCat(size, " bytes"));
}

template <std::string (*kMake)()>
void BM_Parse(benchmark::State& state) {
  const std::string bytes = kMake();
  for (auto _ : state) {
    absl::StatusOr<ValueView> value = ValueView::Parse(bytes);
    benchmark::DoNotOptimize(value);
  }
  SetBytes(state, bytes.size());
}
BENCHMARK(BM_Parse<Small>);
BENCHMARK(BM_Parse<Large>);

template <std::string (*kMake)()>
void BM_MsgpackUnpack(benchmark::State& state) {
  const std::string bytes = kMake();
  for (auto _ : state) {
    msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size());
    benchmark::DoNotOptimize(handle);
  }
  SetBytes(state, bytes.size());
}
BENCHMARK(BM_MsgpackUnpack<Small>);
BENCHMARK(BM_MsgpackUnpack<Large>);

void BM_FindFirstField(benchmark::State& state) {
  const std::string bytes = Small();
  const ValueView document = ValueView::FromTrusted(bytes);
  for (auto _ : state) benchmark::DoNotOptimize(document.Find("_id")->AsString());
}
BENCHMARK(BM_FindFirstField);

void BM_FindLastField(benchmark::State& state) {
  const std::string bytes = Small();
  const ValueView document = ValueView::FromTrusted(bytes);
  for (auto _ : state) benchmark::DoNotOptimize(document.Find("counter")->AsInt64());
}
BENCHMARK(BM_FindLastField);

// The same through msgpack-cxx, already unpacked.
void BM_MsgpackFindLastField(benchmark::State& state) {
  const std::string bytes = Small();
  const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size());
  for (auto _ : state) {
    const msgpack::object_map& map = handle.get().via.map;
    for (std::uint32_t i = 0; i < map.size; ++i) {
      const msgpack::object& key = map.ptr[i].key;
      if (std::string_view(key.via.str.ptr, key.via.str.size) == "counter") {
        benchmark::DoNotOptimize(map.ptr[i].val.via.i64);
        break;
      }
    }
  }
}
BENCHMARK(BM_MsgpackFindLastField);

void BM_IterateEntries(benchmark::State& state) {
  const std::string bytes = Small();
  const ValueView document = ValueView::FromTrusted(bytes);
  for (auto _ : state) {
    for (const auto& [key, value] : document.entries()) {
      benchmark::DoNotOptimize(key);
      benchmark::DoNotOptimize(value.type());
    }
  }
}
BENCHMARK(BM_IterateEntries);

void BM_Skip(benchmark::State& state) {
  const std::string bytes = Large();
  for (auto _ : state) {
    const char* end = document_internal::Skip(bytes.data());
    benchmark::DoNotOptimize(end);
    benchmark::ClobberMemory();
  }
  SetBytes(state, bytes.size());
}
BENCHMARK(BM_Skip);

void BM_VisitNestedPath(benchmark::State& state) {
  const std::string bytes = Small();
  const ValueView document = ValueView::FromTrusted(bytes);
  const absl::StatusOr<Path> path = Path::Parse("address.location.lon");
  for (auto _ : state) {
    double sum = 0;
    VisitPath(document, *path, [&](std::optional<ValueView> value) {
      sum += value->AsDouble();
      return false;
    });
    benchmark::DoNotOptimize(sum);
  }
}
BENCHMARK(BM_VisitNestedPath);

// Time per element of the array on the way.
void BM_VisitPathThroughArray(benchmark::State& state) {
  const std::string bytes = Large();
  const ValueView document = ValueView::FromTrusted(bytes);
  const absl::StatusOr<Path> path = Path::Parse("items.counter");
  for (auto _ : state) {
    std::int64_t sum = 0;
    VisitPath(document, *path, [&](std::optional<ValueView> value) {
      sum += value->AsInt64();
      return false;
    });
    ALOS_CHECK(sum == 4950);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 100);
}
BENCHMARK(BM_VisitPathThroughArray);

void BM_CompareInts(benchmark::State& state) {
  std::string a;
  std::string b;
  Builder(&a).Int(1'000'000);
  Builder(&b).Int(1'000'001);
  for (auto _ : state) {
    std::weak_ordering order = Compare(ValueView::FromTrusted(a), ValueView::FromTrusted(b));
    benchmark::DoNotOptimize(order);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_CompareInts);

void BM_CompareIntWithDouble(benchmark::State& state) {
  std::string a;
  std::string b;
  Builder(&a).Int(1'000'000);
  Builder(&b).Double(1'000'000.5);
  for (auto _ : state) {
    std::weak_ordering order = Compare(ValueView::FromTrusted(a), ValueView::FromTrusted(b));
    benchmark::DoNotOptimize(order);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_CompareIntWithDouble);

void BM_CompareStrings(benchmark::State& state) {
  std::string a;
  std::string b;
  Builder(&a).String("65f1c0ffee65f1c0ffee0001");
  Builder(&b).String("65f1c0ffee65f1c0ffee0002");
  for (auto _ : state) {
    std::weak_ordering order = Compare(ValueView::FromTrusted(a), ValueView::FromTrusted(b));
    benchmark::DoNotOptimize(order);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_CompareStrings);

void BM_CompareEqualDocuments(benchmark::State& state) {
  const std::string a = Small();
  const std::string b = Small();
  for (auto _ : state) {
    benchmark::DoNotOptimize(Compare(ValueView::FromTrusted(a), ValueView::FromTrusted(b)));
  }
  SetBytes(state, a.size());
}
BENCHMARK(BM_CompareEqualDocuments);

void BM_HashDocument(benchmark::State& state) {
  const std::string bytes = Small();
  for (auto _ : state) benchmark::DoNotOptimize(HashValue(ValueView::FromTrusted(bytes)));
  SetBytes(state, bytes.size());
}
BENCHMARK(BM_HashDocument);

void BM_Build(benchmark::State& state) {
  std::string bytes;
  for (auto _ : state) {
    bytes.clear();
    Builder builder(&bytes);
    BuildSmall(builder, 1);
    benchmark::DoNotOptimize(bytes.data());
  }
  SetBytes(state, bytes.size());
}
BENCHMARK(BM_Build);

void BM_EncodeId(benchmark::State& state) {
  std::string bytes;
  Builder(&bytes).String("65f1c0ffee65f1c0ffee0001");
  for (auto _ : state) {
    absl::StatusOr<std::string> id = EncodeId(ValueView::FromTrusted(bytes));
    benchmark::DoNotOptimize(id);
  }
}
BENCHMARK(BM_EncodeId);

void BM_NewId(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(NewId());
}
BENCHMARK(BM_NewId);

template <std::string (*kMake)()>
void BM_ToJson(benchmark::State& state) {
  const std::string bytes = kMake();
  std::string json;
  for (auto _ : state) {
    json.clear();
    AppendJson(ValueView::FromTrusted(bytes), &json);
    benchmark::DoNotOptimize(json.data());
  }
  SetBytes(state, json.size());
}
BENCHMARK(BM_ToJson<Small>);
BENCHMARK(BM_ToJson<Large>);

template <std::string (*kMake)()>
void BM_FromJson(benchmark::State& state) {
  const std::string bytes = kMake();
  const std::string json = ToJson(ValueView::FromTrusted(bytes));
  JsonReader reader;
  std::string out;
  for (auto _ : state) {
    out.clear();
    ALOS_CHECK_OK(reader.Append(json, &out));
    benchmark::DoNotOptimize(out.data());
  }
  ALOS_CHECK(out == bytes);
  SetBytes(state, json.size());
}
BENCHMARK(BM_FromJson<Small>);
BENCHMARK(BM_FromJson<Large>);

}  // namespace
}  // namespace alos
