// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What the load generator asks a server for, and whether it got it.

#ifndef ALOS_TOOLS_BENCH_WORKLOAD_H_
#define ALOS_TOOLS_BENCH_WORKLOAD_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/check.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"

namespace alos::bench {

// One kind of request, numbered from 0. Each thread has its own.
//
// Threads: one at a time. Errors: Check says what was wrong with a response, with the request's
// number.
class Workload {
 public:
  virtual ~Workload() = default;

  // Appends message number `sequence` to *out. `sequence` is below 2^31.
  virtual void AppendMessage(std::uint64_t sequence, std::string* out) = 0;

  // Whether `response` answers message number `sequence`.
  virtual absl::Status Check(std::uint64_t sequence, std::string_view response) = 0;
};

namespace bench_internal {

// Every number has the same width, so that all requests and all responses of a run are equally
// long.
inline constexpr std::size_t kDigits = 12;

inline void StoreDigits(std::uint64_t number, char* out) {
  for (std::size_t i = kDigits; i-- > 0;) {
    out[i] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
}

inline void StoreUint32(std::uint32_t value, char* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (24 - 8 * i));
}

inline std::uint32_t LoadUint32(const char* in) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(in[i]);
  return value;
}

// Request ids from here on take five bytes in every MessagePack encoder.
inline std::uint32_t RequestId(std::uint64_t sequence) {
  return (std::uint32_t{1} << 31) | static_cast<std::uint32_t>(sequence);
}

}  // namespace bench_internal

// Where a run's documents live, and who asks for them.
struct Target {
  std::string database;  // "": the server's default
  std::string collection = "bench";
  std::string auth;  // "": the field is left out
};

// A document of exactly `size` bytes of MessagePack whose `_id` is `prefix` and twelve digits.
// REQUIRES: size >= kDocumentBytesMin, prefix of at most 12 characters.
class DocumentTemplate {
 public:
  static constexpr std::size_t kDocumentBytesMin = 64;

  DocumentTemplate(std::string_view prefix, std::size_t size) {
    // The padding's header takes 1, 2, 3 or 5 bytes, so some sizes need a longer field name.
    for (const std::string_view name : {"text", "text_", "text__"}) {
      std::size_t padding = 0;
      for (int attempt = 0; attempt < 4 && bytes_.size() != size; ++attempt) {
        if (attempt != 0) padding = padding + size - bytes_.size();
        Build(prefix, name, padding);
      }
      if (bytes_.size() == size) break;
    }
    ALOS_CHECK(bytes_.size() == size);
    // Behind the prefix, which may itself end with zeros.
    const std::string id = absl::StrCat(prefix, std::string(bench_internal::kDigits, '0'));
    digits_offset_ = bytes_.find(id) + prefix.size();
    // Key "n" is one byte of header and one of text, then 0xce and the number.
    number_offset_ = digits_offset_ + bench_internal::kDigits + 3;
  }

  // The bytes of document `number`; valid until the next call.
  std::string_view Get(std::uint64_t number) {
    bench_internal::StoreDigits(number, &bytes_[digits_offset_]);
    bench_internal::StoreUint32(static_cast<std::uint32_t>(number), &bytes_[number_offset_]);
    return bytes_;
  }

  std::size_t size() const { return bytes_.size(); }

 private:
  void Build(std::string_view prefix, std::string_view name, std::size_t padding) {
    bytes_.clear();
    Builder builder(&bytes_);
    builder.StartDocument();
    builder.Key("_id").String(absl::StrCat(prefix, std::string(bench_internal::kDigits, '0')));
    builder.Key("n").Uint(std::numeric_limits<std::uint32_t>::max());
    builder.Key(name).String(std::string(padding, 'x'));
    builder.EndDocument();
  }

  std::string bytes_;
  std::size_t digits_offset_ = 0;
  std::size_t number_offset_ = 0;
};

namespace bench_internal {

// A request whose id and key digits are patched in place; the rest never changes.
class RequestTemplate {
 public:
  // `append_args` appends the value of `args`; the first run of twelve zeros in it is the key.
  template <class AppendArgs>
  RequestTemplate(const Target& target, std::uint8_t operation, AppendArgs append_args) {
    Builder builder(&bytes_);
    builder.StartDocument();
    builder.Key("id");
    id_offset_ = bytes_.size() + 1;
    builder.Uint(std::numeric_limits<std::uint32_t>::max());
    builder.Key("op").Uint(operation);
    builder.Key("collection").String(target.collection);
    if (!target.database.empty()) builder.Key("database").String(target.database);
    builder.Key("args");
    args_offset_ = bytes_.size();
    append_args(builder);
    if (!target.auth.empty()) builder.Key("auth").String(target.auth);
    builder.EndDocument();
  }

  std::string& bytes() { return bytes_; }
  std::size_t args_offset() const { return args_offset_; }
  void SetId(std::uint32_t id) { StoreUint32(id, &bytes_[id_offset_]); }

 private:
  std::string bytes_;
  std::size_t id_offset_ = 0;
  std::size_t args_offset_ = 0;
};

// Checks a response in full once, and later ones of the same shape by their bytes.
//
// All responses of a run are equally long and differ only in the request's id and the document's
// key. So a response that has the length of one that was parsed, its own id where that one had its,
// and its own key there, is right; anything else is parsed again.
class ResponseChecker {
 public:
  // `key` (empty: none) is what the response's document or `id` must have as its key.
  absl::Status Check(std::uint32_t id, std::string_view key, std::string_view response) {
    if (response.size() == response_bytes_ && LoadUint32(response.data() + id_offset_) == id &&
        std::memcmp(response.data() + key_offset_, key.data(), key.size()) == 0) {
      return absl::OkStatus();
    }
    return CheckInFull(id, key, response);
  }

 private:
  absl::Status CheckInFull(std::uint32_t id, std::string_view key, std::string_view response) {
    absl::StatusOr<ValueView> parsed = ValueView::Parse(response);
    if (!parsed.ok()) return parsed.status();
    const std::optional<ValueView> error = parsed->Find("error");
    if (error.has_value() && error->IsString() && !error->AsString().empty()) {
      return absl::InternalError(absl::StrCat("the server answered: ", error->AsString()));
    }
    const std::optional<ValueView> response_id = parsed->Find("id");
    if (!response_id.has_value() || response_id->ToInt64() != std::optional<std::int64_t>(id)) {
      return absl::InternalError(absl::StrCat("a response that is not to request ", id));
    }
    const std::optional<ValueView> result = parsed->Find("result");
    if (!result.has_value() || !result->IsDocument()) {
      return absl::InternalError(absl::StrCat("no document in the response to request ", id));
    }
    std::optional<ValueView> found = result->Find("_id");
    if (!found.has_value()) found = result->Find("id");
    if (!found.has_value() || !found->IsString() || found->AsString() != key) {
      return absl::InternalError(
          absl::StrCat("request ", id, " was for \"", key, "\" and got another document"));
    }
    // An id of five bytes; its number stands behind the lead byte.
    id_offset_ = static_cast<std::size_t>(response_id->bytes().data() - response.data()) + 1;
    key_offset_ = static_cast<std::size_t>(found->AsString().data() - response.data());
    response_bytes_ = response_id->bytes().size() == 5 ? response.size() : kUnknown;
    return absl::OkStatus();
  }

  static constexpr std::size_t kUnknown = std::numeric_limits<std::size_t>::max();

  std::size_t response_bytes_ = kUnknown;
  std::size_t id_offset_ = 0;
  std::size_t key_offset_ = 0;
};

// A fixed, fast sequence of pseudo-random numbers (SplitMix64).
inline std::uint64_t Mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

}  // namespace bench_internal

// FindByID of documents chosen at random among `documents` (made with prefix "bench-").
class FindByIdWorkload final : public Workload {
 public:
  static constexpr std::string_view kPrefix = "bench-";

  FindByIdWorkload(const Target& target, std::uint64_t documents, std::uint64_t seed)
      : request_(target, 10,
                 [](Builder& builder) {
                   builder.StartDocument();
                   builder.Key("id").String(Key(0));
                   builder.EndDocument();
                 }),
        documents_(documents),
        seed_(seed) {
    digits_offset_ =
        request_.bytes().find(std::string(bench_internal::kDigits, '0'), request_.args_offset());
    key_ = Key(0);
  }

  void AppendMessage(std::uint64_t sequence, std::string* out) override {
    request_.SetId(bench_internal::RequestId(sequence));
    bench_internal::StoreDigits(Number(sequence), &request_.bytes()[digits_offset_]);
    out->append(request_.bytes());
  }

  absl::Status Check(std::uint64_t sequence, std::string_view response) override {
    bench_internal::StoreDigits(Number(sequence), &key_[kPrefix.size()]);
    return checker_.Check(bench_internal::RequestId(sequence), key_, response);
  }

 private:
  static std::string Key(std::uint64_t number) {
    std::string key(kPrefix);
    key.resize(kPrefix.size() + bench_internal::kDigits);
    bench_internal::StoreDigits(number, &key[kPrefix.size()]);
    return key;
  }
  std::uint64_t Number(std::uint64_t sequence) const {
    return bench_internal::Mix(seed_ ^ (sequence << 20)) % documents_;
  }

  bench_internal::RequestTemplate request_;
  std::uint64_t documents_;
  std::uint64_t seed_;
  std::size_t digits_offset_ = 0;
  std::string key_;
  bench_internal::ResponseChecker checker_;
};

// InsertOne of new documents of `document_bytes` bytes. `prefix` keeps runs, `first` threads apart.
class InsertOneWorkload final : public Workload {
 public:
  InsertOneWorkload(const Target& target, std::string_view prefix, std::uint64_t first,
                    std::size_t document_bytes)
      : document_(prefix, document_bytes),
        request_(
            target, 1,
            [this](Builder& builder) { builder.Raw(ValueView::FromTrusted(document_.Get(0))); }),
        first_(first),
        key_(absl::StrCat(prefix, std::string(bench_internal::kDigits, '0'))),
        prefix_bytes_(prefix.size()) {}

  void AppendMessage(std::uint64_t sequence, std::string* out) override {
    request_.SetId(bench_internal::RequestId(sequence));
    request_.bytes().replace(request_.args_offset(), document_.size(),
                             document_.Get(first_ + sequence));
    out->append(request_.bytes());
  }

  absl::Status Check(std::uint64_t sequence, std::string_view response) override {
    bench_internal::StoreDigits(first_ + sequence, &key_[prefix_bytes_]);
    return checker_.Check(bench_internal::RequestId(sequence), key_, response);
  }

 private:
  DocumentTemplate document_;
  bench_internal::RequestTemplate request_;
  std::uint64_t first_;
  std::string key_;
  std::size_t prefix_bytes_;
  bench_internal::ResponseChecker checker_;
};

// Frames of fixed sizes for the bare echo server (testing/peers/epoll_echo.cc), which gives the
// first bytes back. REQUIRES: both sizes at least 4.
class EchoWorkload final : public Workload {
 public:
  EchoWorkload(std::size_t request_bytes, std::size_t response_bytes)
      : message_(request_bytes, 'x'), response_bytes_(response_bytes) {}

  void AppendMessage(std::uint64_t sequence, std::string* out) override {
    bench_internal::StoreUint32(bench_internal::RequestId(sequence), message_.data());
    out->append(message_);
  }

  absl::Status Check(std::uint64_t sequence, std::string_view response) override {
    if (response.size() != response_bytes_) {
      return absl::InternalError(
          absl::StrCat("an echo of ", response.size(), " bytes, expected ", response_bytes_));
    }
    if (bench_internal::LoadUint32(response.data()) != bench_internal::RequestId(sequence)) {
      return absl::InternalError(absl::StrCat("an echo that is not of message ", sequence));
    }
    return absl::OkStatus();
  }

 private:
  std::string message_;
  std::size_t response_bytes_;
};

}  // namespace alos::bench

#endif  // ALOS_TOOLS_BENCH_WORKLOAD_H_
