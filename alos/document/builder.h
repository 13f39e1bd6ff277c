// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Writes MessagePack values: documents, replies, ids.

#ifndef ALOS_DOCUMENT_BUILDER_H_
#define ALOS_DOCUMENT_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "alos/base/check.h"
#include "alos/document/internal/message_pack.h"
#include "alos/document/value.h"

namespace alos {

// Appends values to a string, each in its shortest encoding.
//
// A container is opened with StartDocument or StartArray and always closed with the matching End.
// Without a count the header is written at End, and if the container turned out to have more than
// 15 entries its content moves by 2 or 4 bytes to make room. With a count the header is written at
// once. Inside a document every value is preceded by one Key.
//
// Threads: not shared between threads without the caller's locking.
// Lifetime: `out` must outlive the builder; between calls the caller must neither shorten nor
// change
//   what was appended. Views passed in are copied and need not live on; they may not point into
//   `out`.
// Durability: none.
// Errors: none. Misuse (a value without a key, End without Start, a count that was not kept, a
// nested
//   container left open) is a bug of the caller and asserted in debug builds. Not checked: that
//   keys differ and that nesting stays below the limit of ValueView::Parse; who copies keys from
//   outside must see to it, else Parse will refuse the result.
// Cost: amortised O(bytes appended); a container of unknown count with more than 15 entries is
// moved
//   once when it is closed. No allocations but the growth of `out`, up to 16 levels of nesting.
//
//   std::string bytes;
//   Builder builder(&bytes);
//   builder.StartDocument();
//   builder.Key("name").String("Ada");
//   builder.Key("tags").StartArray();
//   builder.Int(1).Int(2);
//   builder.EndArray();
//   builder.EndDocument();
class Builder {
 public:
  explicit Builder(std::string* out) : out_(out) {}
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  Builder& Null();
  Builder& Bool(bool value);
  Builder& Int(std::int64_t value);
  Builder& Uint(std::uint64_t value);
  Builder& Double(double value);            // always float64, bits preserved
  Builder& String(std::string_view value);  // REQUIRES: below 4 GiB, as for all data
  Builder& Binary(std::string_view value);
  Builder& Time(Timestamp value);  // REQUIRES: nanoseconds <= 999,999,999
  Builder& Extension(std::int8_t type, std::string_view data);  // REQUIRES: type != -1 (use Time)
  Builder& Raw(ValueView value);                                // copies the encoded value as it is

  Builder& Key(std::string_view key);

  Builder& StartDocument();
  Builder& StartDocument(std::size_t count);  // exactly `count` entries follow, then EndDocument
  Builder& EndDocument();
  Builder& StartArray();
  Builder& StartArray(std::size_t count);  // exactly `count` elements follow, then EndArray
  Builder& EndArray();

  // Containers opened and not closed yet. 0: what was appended is a sequence of complete values.
  std::size_t depth() const { return open_.size(); }

 private:
  static constexpr std::uint32_t kCountUnknown = UINT32_MAX;

  struct Open {
    std::size_t header_offset;      // in *out_
    std::uint32_t announced_count;  // or kCountUnknown
    std::uint32_t count;
    bool is_document;
    bool has_key;  // a key waits for its value
  };

  // Accounts for a value that is about to be written.
  void BeginValue();
  Builder& Start(bool is_document, std::uint32_t count);
  Builder& End(bool is_document);

  std::string* const out_;
  absl::InlinedVector<Open, 16> open_;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

inline void Builder::BeginValue() {
  if (open_.empty()) return;
  Open& open = open_.back();
  ALOS_DCHECK((!open.is_document || open.has_key) && "a value in a document needs a Key first");
  open.has_key = false;
  ++open.count;
}

inline Builder& Builder::Null() {
  BeginValue();
  document_internal::Append8(out_, 0xc0);
  return *this;
}

inline Builder& Builder::Bool(bool value) {
  BeginValue();
  document_internal::Append8(out_, value ? 0xc3 : 0xc2);
  return *this;
}

inline Builder& Builder::Int(std::int64_t value) {
  BeginValue();
  document_internal::AppendInt(out_, value);
  return *this;
}

inline Builder& Builder::Uint(std::uint64_t value) {
  BeginValue();
  document_internal::AppendUint(out_, value);
  return *this;
}

inline Builder& Builder::Double(double value) {
  BeginValue();
  document_internal::AppendDouble(out_, value);
  return *this;
}

inline Builder& Builder::String(std::string_view value) {
  ALOS_DCHECK(value.size() <= UINT32_MAX);
  BeginValue();
  document_internal::AppendStringHeader(out_, static_cast<std::uint32_t>(value.size()));
  out_->append(value);
  return *this;
}

inline Builder& Builder::Binary(std::string_view value) {
  ALOS_DCHECK(value.size() <= UINT32_MAX);
  BeginValue();
  document_internal::AppendBinaryHeader(out_, static_cast<std::uint32_t>(value.size()));
  out_->append(value);
  return *this;
}

inline Builder& Builder::Time(Timestamp value) {
  ALOS_DCHECK(value.nanoseconds <= document_internal::kNanosecondsMax);
  BeginValue();
  document_internal::AppendTimestamp(out_, value.seconds, value.nanoseconds);
  return *this;
}

inline Builder& Builder::Extension(std::int8_t type, std::string_view data) {
  ALOS_DCHECK(type != document_internal::kTimestampExtension);
  ALOS_DCHECK(data.size() <= UINT32_MAX);
  BeginValue();
  document_internal::AppendExtensionHeader(out_, type, static_cast<std::uint32_t>(data.size()));
  out_->append(data);
  return *this;
}

inline Builder& Builder::Raw(ValueView value) {
  BeginValue();
  out_->append(value.bytes());
  return *this;
}

inline Builder& Builder::Key(std::string_view key) {
  ALOS_DCHECK(!open_.empty() && open_.back().is_document && "a Key needs an open document");
  ALOS_DCHECK(!open_.back().has_key && "two keys without a value between them");
  ALOS_DCHECK(key.size() <= UINT32_MAX);
  open_.back().has_key = true;
  document_internal::AppendStringHeader(out_, static_cast<std::uint32_t>(key.size()));
  out_->append(key);
  return *this;
}

inline Builder& Builder::Start(bool is_document, std::uint32_t count) {
  BeginValue();
  open_.push_back({out_->size(), count, 0, is_document, false});
  if (count == kCountUnknown || count <= 15) {
    // For an unknown count a place holder, made true by End.
    document_internal::Append8(
        out_, (is_document ? 0x80U : 0x90U) | (count == kCountUnknown ? 0 : count));
  } else if (count <= 0xffff) {
    document_internal::AppendLead16(out_, is_document ? 0xde : 0xdc,
                                    static_cast<std::uint16_t>(count));
  } else {
    document_internal::AppendLead32(out_, is_document ? 0xdf : 0xdd, count);
  }
  return *this;
}

inline Builder& Builder::End(bool is_document) {
  ALOS_DCHECK(!open_.empty() && "End without Start");
  const Open open = open_.back();
  open_.pop_back();
  ALOS_DCHECK(open.is_document == is_document && "EndDocument closes documents, EndArray arrays");
  ALOS_DCHECK(!open.has_key && "the last key has no value");
  if (open.announced_count != kCountUnknown) {
    ALOS_DCHECK(open.count == open.announced_count && "the announced count was not kept");
    return *this;
  }
  if (open.count <= 15) {
    (*out_)[open.header_offset] = static_cast<char>((is_document ? 0x80U : 0x90U) | open.count);
    return *this;
  }
  std::string header;  // 3 or 5 bytes: no allocation
  if (open.count <= 0xffff) {
    document_internal::AppendLead16(&header, is_document ? 0xde : 0xdc,
                                    static_cast<std::uint16_t>(open.count));
  } else {
    document_internal::AppendLead32(&header, is_document ? 0xdf : 0xdd, open.count);
  }
  out_->replace(open.header_offset, 1, header);
  return *this;
}

inline Builder& Builder::StartDocument() { return Start(true, kCountUnknown); }
inline Builder& Builder::StartDocument(std::size_t count) {
  ALOS_DCHECK(count < kCountUnknown);
  return Start(true, static_cast<std::uint32_t>(count));
}
inline Builder& Builder::EndDocument() { return End(true); }
inline Builder& Builder::StartArray() { return Start(false, kCountUnknown); }
inline Builder& Builder::StartArray(std::size_t count) {
  ALOS_DCHECK(count < kCountUnknown);
  return Start(false, static_cast<std::uint32_t>(count));
}
inline Builder& Builder::EndArray() { return End(false); }

}  // namespace alos

#endif  // ALOS_DOCUMENT_BUILDER_H_
