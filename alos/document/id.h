// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Ids of documents (`_id`) as the engine keeps them: MessagePack bytes that are equal exactly when
// the ids are, so that an index needs to compare bytes only.

#ifndef ALOS_DOCUMENT_ID_H_
#define ALOS_DOCUMENT_ID_H_

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/document/compare.h"
#include "alos/document/internal/message_pack.h"
#include "alos/document/value.h"

namespace alos {

// The largest encoded id, in bytes.
inline constexpr std::size_t kIdSizeMax = 1024;

// The canonical encoding of the id `value`: a valid MessagePack value (read it with
// ValueView::FromTrusted) in its shortest form. For allowed ids, EncodeId(a) == EncodeId(b) exactly
// when Equal(a, b): 1, 1u and 1.0 are one id, -0.0 is 0, the time 5 s is one in all three forms.
// Allowed are string, number, bool, binary and timestamp.
// Errors: kInvalidArgument for null, array, object, extension and NaN, and for ids that take more
//   than kIdSizeMax bytes.
// Threads: pure.
absl::StatusOr<std::string> EncodeId(ValueView value);

// The same for a string. Does not check the size: an id longer than kIdSizeMax is simply never
// found.
std::string EncodeStringId(std::string_view id);

// A new id: 24 lower-case hexadecimal digits; 4 bytes of seconds since the epoch, 5 random bytes of
// this process, 3 bytes that count. Ids of one process rise strictly, also when the clock is set
// back (the time in an id then runs ahead), and so sort by creation. Processes differ by their
// random bytes; a forked child draws its own. Threads: any. Cost: one atomic operation and the
// allocation of the string.
std::string NewId();

// --- Readers of the API may stop here. ----------------------------------------------------------

inline absl::StatusOr<std::string> EncodeId(ValueView value) {
  const ValueType type = value.type();
  const auto too_large = [type](std::size_t size) {
    return absl::InvalidArgumentError(absl::StrCat("an _id may take at most ", kIdSizeMax,
                                                   " bytes, found a ", TypeName(type), " of ", size,
                                                   " bytes"));
  };
  std::string id;
  switch (type) {
    case ValueType::kString:
      // Before it is copied.
      if (value.AsString().size() > kIdSizeMax) return too_large(value.AsString().size());
      document_internal::AppendStringHeader(&id,
                                            static_cast<std::uint32_t>(value.AsString().size()));
      id += value.AsString();
      break;
    case ValueType::kInt64:
      document_internal::AppendInt(&id, value.AsInt64());
      break;
    case ValueType::kUint64:
      document_internal::AppendUint(&id, value.AsUint64());
      break;
    case ValueType::kDouble: {
      const double number = value.AsDouble();
      if (number != number) {
        return absl::InvalidArgumentError(
            "an _id must be a string, number, bool, binData or date, found the number NaN");
      }
      if (const std::optional<std::int64_t> whole = value.ToInt64()) {
        document_internal::AppendInt(&id, *whole);
      } else if (number >= document_internal::kTwoTo63 && number < document_internal::kTwoTo64) {
        document_internal::AppendUint(&id, static_cast<std::uint64_t>(number));
      } else {
        document_internal::AppendDouble(&id, number);
      }
      break;
    }
    case ValueType::kBool:
      document_internal::Append8(&id, value.AsBool() ? 0xc3 : 0xc2);
      break;
    case ValueType::kBinary:
      if (value.AsBinary().size() > kIdSizeMax) return too_large(value.AsBinary().size());
      document_internal::AppendBinaryHeader(&id,
                                            static_cast<std::uint32_t>(value.AsBinary().size()));
      id += value.AsBinary();
      break;
    case ValueType::kTimestamp: {
      const Timestamp time = value.AsTimestamp();
      document_internal::AppendTimestamp(&id, time.seconds, time.nanoseconds);
      break;
    }
    case ValueType::kNull:
    case ValueType::kArray:
    case ValueType::kDocument:
    case ValueType::kExtension:
      return absl::InvalidArgumentError(absl::StrCat(
          "an _id must be a string, number, bool, binData or date, found ", TypeName(type)));
  }
  if (id.size() > kIdSizeMax) return too_large(id.size());
  return id;
}

inline std::string EncodeStringId(std::string_view id) {
  std::string encoded;
  encoded.reserve(id.size() + 5);
  document_internal::AppendStringHeader(&encoded, static_cast<std::uint32_t>(id.size()));
  encoded += id;
  return encoded;
}

namespace document_internal {

// What the ids of this process have in common.
class IdSource {
 public:
  static IdSource& Instance() {
    static IdSource source;
    return source;
  }

  // Low 40 bits.
  std::uint64_t process() const { return process_.load(std::memory_order_relaxed); }

  // Seconds << 24 | counter: rises by at least one with every call. More than 2^24 calls in a
  // second carry into the seconds instead of repeating.
  std::uint64_t Next() {
    const std::uint64_t now = static_cast<std::uint64_t>(std::time(nullptr)) << 24;
    std::uint64_t last = last_.load(std::memory_order_relaxed);
    std::uint64_t next;
    do {
      next = std::max(last + 1, now);
    } while (!last_.compare_exchange_weak(last, next, std::memory_order_relaxed));
    return next;
  }

 private:
  IdSource() {
    Draw();
    pthread_atfork(nullptr, nullptr, [] { Instance().Draw(); });
  }

  void Draw() {
    std::random_device device;
    process_.store(std::uint64_t{device()} << 8 ^ device(), std::memory_order_relaxed);
  }

  std::atomic<std::uint64_t> process_;
  std::atomic<std::uint64_t> last_ = 0;
};

}  // namespace document_internal

inline std::string NewId() {
  document_internal::IdSource& source = document_internal::IdSource::Instance();
  const std::uint64_t next = source.Next();
  const std::uint64_t process = source.process();
  const auto seconds = static_cast<std::uint32_t>(next >> 24);
  const std::uint64_t high = std::uint64_t{seconds} << 32 | (process >> 8 & 0xffffffff);
  const std::uint32_t low = static_cast<std::uint32_t>(process & 0xff) << 24 |
                            static_cast<std::uint32_t>(next & 0xffffff);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string id(24, '0');
  for (int i = 0; i < 16; ++i) id[static_cast<std::size_t>(i)] = kDigits[high >> (60 - 4 * i) & 15];
  for (int i = 0; i < 8; ++i)
    id[static_cast<std::size_t>(16 + i)] = kDigits[low >> (28 - 4 * i) & 15];
  return id;
}

}  // namespace alos

#endif  // ALOS_DOCUMENT_ID_H_
