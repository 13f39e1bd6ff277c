// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary bytes into ValueView::Parse. What it refuses, msgpack-cxx must refuse too, but for the
// rules that are ours; what it accepts, msgpack-cxx must read as the same values, and everything
// that walks values (accessors, compare, hash, paths, ids, builder, JSON) must agree with itself.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <msgpack.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "alos/base/check.h"
#include "alos/document/builder.h"
#include "alos/document/compare.h"
#include "alos/document/id.h"
#include "alos/document/json.h"
#include "alos/document/path.h"
#include "alos/document/value.h"

namespace alos {
namespace {

std::string_view View(const char* data, std::size_t size) { return {data, size}; }

// `value` and what msgpack-cxx read from the same bytes.
void CheckSame(ValueView value, const msgpack::object& object) {
  switch (object.type) {
    case msgpack::type::NIL:
      ALOS_CHECK(value.IsNull());
      return;
    case msgpack::type::BOOLEAN:
      ALOS_CHECK(value.type() == ValueType::kBool && value.AsBool() == object.via.boolean);
      return;
    case msgpack::type::POSITIVE_INTEGER:
      ALOS_CHECK(value.AsUint64() == object.via.u64);
      ALOS_CHECK((value.type() == ValueType::kUint64) == (object.via.u64 > INT64_MAX));
      return;
    case msgpack::type::NEGATIVE_INTEGER:
      ALOS_CHECK(value.type() == ValueType::kInt64 && value.AsInt64() == object.via.i64);
      return;
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      ALOS_CHECK(value.type() == ValueType::kDouble);
      ALOS_CHECK(value.AsDouble() == object.via.f64 ||
                 (std::isnan(value.AsDouble()) && std::isnan(object.via.f64)));
      return;
    case msgpack::type::STR:
      ALOS_CHECK(value.IsString());
      ALOS_CHECK(value.AsString() == View(object.via.str.ptr, object.via.str.size));
      return;
    case msgpack::type::BIN:
      ALOS_CHECK(value.type() == ValueType::kBinary);
      ALOS_CHECK(value.AsBinary() == View(object.via.bin.ptr, object.via.bin.size));
      return;
    case msgpack::type::EXT:
      if (object.via.ext.type() == -1) {
        ALOS_CHECK(value.type() == ValueType::kTimestamp);
        ALOS_CHECK(value.AsTimestamp().nanoseconds <= 999'999'999);
      } else {
        ALOS_CHECK(value.type() == ValueType::kExtension);
        ALOS_CHECK(value.ExtensionType() == object.via.ext.type());
      }
      ALOS_CHECK(value.ExtensionData() == View(object.via.ext.data(), object.via.ext.size));
      return;
    case msgpack::type::ARRAY: {
      ALOS_CHECK(value.IsArray() && value.size() == object.via.array.size);
      std::size_t i = 0;
      for (const ValueView element : value.elements()) {
        CheckSame(element, object.via.array.ptr[i]);
        ++i;
      }
      ALOS_CHECK(i == object.via.array.size);
      return;
    }
    case msgpack::type::MAP: {
      ALOS_CHECK(value.IsDocument() && value.size() == object.via.map.size);
      std::size_t i = 0;
      for (const auto& [key, child] : value.entries()) {
        const msgpack::object_kv& pair = object.via.map.ptr[i];
        ALOS_CHECK(pair.key.type == msgpack::type::STR);
        ALOS_CHECK(key == View(pair.key.via.str.ptr, pair.key.via.str.size));
        CheckSame(child, pair.val);
        ++i;
      }
      ALOS_CHECK(i == object.via.map.size);
      return;
    }
  }
  ALOS_CHECK(false);
}

// Access by key, position and path must find what the ranges show. Copies `value` with a Builder.
void Walk(ValueView value, Builder& builder) {
  constexpr std::size_t kLookupsMax = 32;  // each is linear
  ALOS_CHECK(!TypeName(value.type()).empty());
  switch (value.type()) {
    case ValueType::kNull:
      builder.Null();
      break;
    case ValueType::kBool:
      builder.Bool(value.AsBool());
      break;
    case ValueType::kInt64:
      ALOS_CHECK(value.ToInt64() == value.AsInt64());
      builder.Int(value.AsInt64());
      break;
    case ValueType::kUint64:
      ALOS_CHECK(!value.ToInt64());
      builder.Uint(value.AsUint64());
      break;
    case ValueType::kDouble:
      if (value.ToInt64()) ALOS_CHECK(static_cast<double>(*value.ToInt64()) == value.AsDouble());
      builder.Double(value.AsDouble());
      break;
    case ValueType::kString:
      builder.String(value.AsString());
      break;
    case ValueType::kBinary:
      builder.Binary(value.AsBinary());
      break;
    case ValueType::kTimestamp:
      builder.Time(value.AsTimestamp());
      break;
    case ValueType::kExtension:
      builder.Extension(value.ExtensionType(), value.ExtensionData());
      break;
    case ValueType::kArray: {
      builder.StartArray();
      std::size_t i = 0;
      for (const ValueView element : value.elements()) {
        if (i < kLookupsMax) {
          ALOS_CHECK(value.Find(std::to_string(i))->bytes() == element.bytes());
        }
        Walk(element, builder);
        ++i;
      }
      ALOS_CHECK(!value.At(i));
      builder.EndArray();
      break;
    }
    case ValueType::kDocument: {
      builder.StartDocument();
      std::size_t i = 0;
      for (const auto& [key, child] : value.entries()) {
        if (i++ < kLookupsMax) {
          ALOS_CHECK(value.Find(key)->bytes() == child.bytes());
          const absl::StatusOr<Path> path = Path::Parse(key);
          if (path.ok() && path->parts().size() == 1) {
            const std::string_view expected = child.bytes();
            ALOS_CHECK(VisitPath(value, *path, [&](std::optional<ValueView> found) {
              return found && found->bytes() == expected;
            }));
          }
        }
        builder.Key(key);
        Walk(child, builder);
      }
      builder.EndDocument();
      break;
    }
  }
}

void CheckAccepted(ValueView value, const std::string& bytes) {
  const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size());
  CheckSame(value, handle.get());

  std::string copy;
  Builder builder(&copy);
  Walk(value, builder);
  ALOS_CHECK(builder.depth() == 0);
  const absl::StatusOr<ValueView> copied = ValueView::Parse(copy);
  ALOS_CHECK_OK(copied);
  ALOS_CHECK(Compare(value, *copied) == 0 && Equal(*copied, value));
  ALOS_CHECK(HashValue(value, 5) == HashValue(*copied, 5));

  const absl::StatusOr<std::string> id = EncodeId(value);
  if (id.ok()) {
    const absl::StatusOr<ValueView> decoded = ValueView::Parse(*id);
    ALOS_CHECK_OK(decoded);
    ALOS_CHECK(Equal(value, *decoded));
    ALOS_CHECK(*id == *EncodeId(*copied) && *id == *EncodeId(*decoded));
  }

  const absl::StatusOr<std::string> from_json = JsonToMessagePack(ToJson(value));
  ALOS_CHECK_OK(from_json);
  ALOS_CHECK(Equal(value, ValueView::FromTrusted(*from_json)));
}

void CheckRefused(const absl::Status& status, const std::string& bytes) {
  ALOS_CHECK(status.code() == absl::StatusCode::kInvalidArgument ||
             status.code() == absl::StatusCode::kOutOfRange);
  const auto says = [&](std::string_view text) {
    return status.message().find(text) != std::string_view::npos;
  };
  // Limits keep msgpack-cxx from allocating what a hostile count announces.
  const msgpack::unpack_limit limit(10'000, 10'000, 1 << 20, 1 << 20, 1 << 20, 1'000);
  std::size_t end = 0;
  try {
    msgpack::unpack(bytes.data(), bytes.size(), end, nullptr, nullptr, limit);
  } catch (const msgpack::unpack_error&) {
    return;
  }
  const bool is_our_rule = says("string as key") || says("each key once") ||
                           says("nested deeper") || says("in a timestamp") ||
                           says("expected a timestamp");
  ALOS_CHECK(is_our_rule || end < bytes.size());
}

}  // namespace
}  // namespace alos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<alos::ValueView> value = alos::ValueView::Parse(bytes);
  const absl::StatusOr<alos::ValueView> prefix = alos::ValueView::ParsePrefix(bytes);
  if (value.ok()) {
    ALOS_CHECK(prefix.ok() && prefix->bytes().size() == size);
    alos::CheckAccepted(*value, bytes);
  } else {
    alos::CheckRefused(value.status(), bytes);
    if (prefix.ok()) {
      ALOS_CHECK(prefix->bytes().size() < size);
      alos::CheckAccepted(*prefix, std::string(prefix->bytes()));
    }
  }
  return 0;
}
