// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What an expression is evaluated with: where the values that it makes live, its variables, its
// limits and its error.

#ifndef ALOS_QUERY_INTERNAL_EXPRESSION_EVALUATION_H_
#define ALOS_QUERY_INTERNAL_EXPRESSION_EVALUATION_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "alos/base/check.h"
#include "alos/document/internal/message_pack.h"
#include "alos/document/value.h"

namespace alos::query_internal {

// A value or (nullopt) missing.
using Operand = std::optional<ValueView>;

inline bool IsNullish(const Operand& operand) { return !operand || operand->IsNull(); }

// What $cond, $and and $expr take for true: everything but missing, null, false and zero.
inline bool IsTruthy(const Operand& operand) {
  if (!operand) return false;
  switch (operand->type()) {
    case ValueType::kNull:
      return false;
    case ValueType::kBool:
      return operand->AsBool();
    case ValueType::kInt64:
      return operand->AsInt64() != 0;
    case ValueType::kDouble:
      return operand->AsDouble() != 0;
    default:
      return true;
  }
}

// "missing", or the name of the type.
inline std::string_view OperandTypeName(const Operand& operand) {
  return operand ? TypeName(operand->type()) : "missing";
}

// Bytes that go all at once. Allocating is moving a pointer; chunks are kept for the next use.
//
// Threads: one at a time. Lifetime: bytes live until a Rewind to a mark from before them, or Reset.
// Errors: Allocate returns nullptr when the limit would be passed.
class ExpressionArena {
 public:
  struct Mark {
    std::size_t chunk;
    std::size_t offset;
    std::size_t used_bytes;
  };

  explicit ExpressionArena(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  char* Allocate(std::size_t size) {
    if (size > limit_bytes_ - used_bytes_) return nullptr;
    used_bytes_ += size;
    if (chunk_ < chunks_.size() && size <= chunks_[chunk_].size - offset_) [[likely]] {
      char* const result = chunks_[chunk_].bytes.get() + offset_;
      offset_ += size;
      return result;
    }
    return AllocateInNextChunk(size);
  }

  Mark mark() const { return {chunk_, offset_, used_bytes_}; }
  void Rewind(const Mark& mark) {
    chunk_ = mark.chunk;
    offset_ = mark.offset;
    used_bytes_ = mark.used_bytes;
  }
  void Reset() {
    Rewind({0, 0, 0});
    // One document that needed much is no reason to keep it.
    std::size_t kept = 0;
    std::size_t kept_bytes = 0;
    while (kept < chunks_.size() && kept_bytes + chunks_[kept].size <= kKeptBytesMax) {
      kept_bytes += chunks_[kept++].size;
    }
    if (kept < chunks_.size()) chunks_.resize(kept);
  }

  std::size_t used_bytes() const { return used_bytes_; }
  std::size_t limit_bytes() const { return limit_bytes_; }

 private:
  static constexpr std::size_t kFirstChunkBytes = 4096;
  static constexpr std::size_t kChunkBytesMax = 1 << 20;
  static constexpr std::size_t kKeptBytesMax = 4 << 20;

  struct Chunk {
    std::unique_ptr<char[]> bytes;
    std::size_t size = 0;
  };

  [[gnu::noinline]] char* AllocateInNextChunk(std::size_t size) {
    if (!chunks_.empty()) ++chunk_;
    if (chunk_ >= chunks_.size()) chunks_.emplace_back();
    // Chunks from here on are in nobody's use.
    Chunk& chunk = chunks_[chunk_];
    if (chunk.size < size) {
      const std::size_t regular =
          chunk_ == 0 ? kFirstChunkBytes : std::min(kChunkBytesMax, 2 * chunks_[chunk_ - 1].size);
      chunk.size = std::max(size, regular);
      chunk.bytes.reset(new char[chunk.size]);
    }
    offset_ = size;
    return chunk.bytes.get();
  }

  std::vector<Chunk> chunks_;
  std::size_t chunk_ = 0;   // the one that is being filled
  std::size_t offset_ = 0;  // in it
  std::size_t used_bytes_ = 0;
  const std::size_t limit_bytes_;
};

// Whether the containers of a value nest to `depth_max` levels or more: 0 for scalars, 1 for [], 2
// for [[]]. REQUIRES: 0 < depth_max <= 101.
inline bool NestsTo(ValueView value, std::size_t depth_max) {
  std::array<std::uint64_t, 100> pending{};  // values to come, per open container
  std::size_t depth = 0;
  const char* p = value.bytes().data();
  do {
    const document_internal::Lead lead = document_internal::kLeads[document_internal::Load8(p)];
    std::uint64_t children = 0;
    switch (lead.extent) {
      case document_internal::Extent::kFixedArray:
      case document_internal::Extent::kArray16:
      case document_internal::Extent::kArray32:
        children = document_internal::LoadCount(p);
        break;
      case document_internal::Extent::kFixedMap:
      case document_internal::Extent::kMap16:
      case document_internal::Extent::kMap32:
        children = 2 * std::uint64_t{document_internal::LoadCount(p)};
        break;
      default:
        p = document_internal::Skip(p);
        while (depth > 0 && --pending[depth - 1] == 0) --depth;
        continue;
    }
    p += lead.header_size;
    if (depth + 1 >= depth_max) return true;
    if (children > 0) {
      pending[depth++] = children;
    } else {
      while (depth > 0 && --pending[depth - 1] == 0) --depth;
    }
  } while (depth > 0);
  return false;
}

// The state of one evaluation at a time.
//
// Functions that make a value set *out and return true; they return false when a limit is passed or
// something is wrong, which status() then tells. Callers hand a false on at once.
class Evaluation {
 public:
  struct Field {
    std::string_view key;
    ValueView value;
  };

  // The deepest nesting of a value that is made: that of documents.
  static constexpr std::size_t kNestingMax = 100;

  Evaluation(Timestamp now, std::size_t memory_bytes_max, std::uint64_t steps_max)
      : now_(now), steps_max_(steps_max), arena_(memory_bytes_max), variables_(1) {}

  // Values made so far are gone; variables stay.
  void Reset() {
    ClearResults();
    steps_ = 0;
  }
  // As Reset, but the steps taken still count.
  void ClearResults() {
    arena_.Reset();
    stack.clear();
    fields.clear();
    status_ = absl::OkStatus();
  }

  Timestamp now() const { return now_; }
  void set_now(Timestamp now) { now_ = now; }
  ExpressionArena& arena() { return arena_; }
  const absl::Status& status() const { return status_; }
  absl::Status TakeStatus() { return std::exchange(status_, absl::OkStatus()); }

  Operand& variable(std::size_t slot) {
    ALOS_DCHECK(slot < variables_.size());
    return variables_[slot];
  }
  void ReserveVariables(std::size_t count) {
    if (variables_.size() < count) variables_.resize(count);
  }

  // A double in [0, 1).
  double Random() {
    if (!random_) random_.emplace(std::random_device{}());
    return std::uniform_real_distribution<double>(0, 1)(*random_);
  }

  // --- Failing ---

  template <class... Parts>
  [[gnu::cold]] bool Fail(const Parts&... parts) {
    status_ = absl::InvalidArgumentError(absl::StrCat(parts...));
    return false;
  }
  [[gnu::cold]] bool Fail(absl::Status status) {
    status_ = std::move(status);
    return false;
  }
  [[gnu::cold]] bool FailForMemory() {
    status_ = absl::ResourceExhaustedError(
        absl::StrCat("an expression needs more than ", arena_.limit_bytes() >> 20,
                     " MiB for one document; make its arrays and strings smaller"));
    return false;
  }

  // Counts `count` elements that are gone through, or 64 times as many bytes.
  bool Charge(std::size_t count) {
    if (count <= steps_max_ - steps_) [[likely]] {
      steps_ += count;
      return true;
    }
    status_ = absl::ResourceExhaustedError(
        absl::StrCat("an expression goes through more than ", steps_max_,
                     " elements for one document; nest fewer loops"));
    return false;
  }

  // --- Making values ---

  bool SetMissing(Operand* out) {
    out->reset();
    return true;
  }
  bool SetNull(Operand* out) { return SetByte(0xc0, out); }
  bool SetBool(bool value, Operand* out) { return SetByte(value ? 0xc3 : 0xc2, out); }
  bool SetInt(std::int64_t value, Operand* out) {
    if (value >= -32 && value <= 127) return SetByte(static_cast<std::uint8_t>(value), out);
    std::string encoded;  // short enough not to be allocated, as below
    document_internal::AppendInt(&encoded, value);
    return SetCopy(encoded, out);
  }
  bool SetUint(std::uint64_t value, Operand* out) {
    if (value <= 127) return SetByte(static_cast<std::uint8_t>(value), out);
    std::string encoded;
    document_internal::AppendUint(&encoded, value);
    return SetCopy(encoded, out);
  }
  bool SetDouble(double value, Operand* out) {
    std::string encoded;
    document_internal::AppendDouble(&encoded, value);
    return SetCopy(encoded, out);
  }
  bool SetTime(Timestamp value, Operand* out) {
    std::string encoded;
    document_internal::AppendTimestamp(&encoded, value.seconds, value.nanoseconds);
    return SetCopy(encoded, out);
  }
  bool SetString(std::string_view value, Operand* out) {
    char* data = nullptr;
    if (!StartString(value.size(), &data, out)) return false;
    if (!value.empty()) std::memcpy(data, value.data(), value.size());
    return true;
  }
  // As SetString; the caller fills in the `size` bytes at *data.
  bool StartString(std::size_t size, char** data, Operand* out) {
    if (size > UINT32_MAX) return FailForMemory();
    std::string header;
    document_internal::AppendStringHeader(&header, static_cast<std::uint32_t>(size));
    return StartData(header, size, data, out);
  }
  bool SetBinary(std::string_view value, Operand* out) {
    if (value.size() > UINT32_MAX) return FailForMemory();
    std::string header;
    document_internal::AppendBinaryHeader(&header, static_cast<std::uint32_t>(value.size()));
    char* data = nullptr;
    if (!StartData(header, value.size(), &data, out)) return false;
    if (!value.empty()) std::memcpy(data, value.data(), value.size());
    return true;
  }
  // An array of `count` elements; the caller writes them, `size` bytes in all, at *data.
  bool StartArray(std::size_t count, std::size_t size, char** data, Operand* out);
  // `encoded` is one valid value.
  bool SetCopy(std::string_view encoded, Operand* out) {
    char* const bytes = arena_.Allocate(encoded.size());
    if (bytes == nullptr) return FailForMemory();
    std::memcpy(bytes, encoded.data(), encoded.size());
    *out = ValueView::FromTrusted({bytes, encoded.size()});
    return true;
  }

  // Arrays and documents are made from what lies on a stack above a mark, and take it off:
  //
  //   const std::size_t mark = e.stack.size();
  //   if (!e.Push(element)) return false; ...
  //   return e.SetArray(mark, out);
  //
  // Who returns false may leave the stacks as they are.
  std::vector<ValueView> stack;
  std::vector<Field> fields;

  // Missing is null in an array.
  bool Push(const Operand& element) {
    if (stack.size() >= arena_.limit_bytes() / sizeof(ValueView)) return FailForMemory();
    stack.push_back(element ? *element : ValueView());
    return true;
  }
  bool PushField(std::string_view key, ValueView value) {
    if (fields.size() >= arena_.limit_bytes() / sizeof(Field)) return FailForMemory();
    fields.push_back({key, value});
    return true;
  }
  bool SetArray(std::size_t mark, Operand* out);
  // REQUIRES: the keys above `mark` differ.
  bool SetDocument(std::size_t mark, Operand* out);

 private:
  static constexpr std::array<char, 256> kBytes = [] {
    std::array<char, 256> bytes{};
    for (unsigned i = 0; i < 256; ++i) bytes[i] = static_cast<char>(i);
    return bytes;
  }();

  // A value that is one byte long.
  static bool SetByte(std::uint8_t lead, Operand* out) {
    *out = ValueView::FromTrusted({&kBytes[lead], 1});
    return true;
  }

  bool StartData(std::string_view header, std::size_t size, char** data, Operand* out) {
    // Large values take time, too: memory may be used again, and so does not bound it.
    if (size >= 1024 && !Charge(size / 64)) return false;
    char* const bytes = arena_.Allocate(header.size() + size);
    if (bytes == nullptr) return FailForMemory();
    std::memcpy(bytes, header.data(), header.size());
    *data = bytes + header.size();
    *out = ValueView::FromTrusted({bytes, header.size() + size});
    return true;
  }

  bool CheckNesting(ValueView child, std::size_t bytes) {
    // A level takes at least a byte.
    if (bytes < kNestingMax || !NestsTo(child, kNestingMax)) return true;
    return Fail("an expression makes a value that nests deeper than ", kNestingMax, " levels");
  }

  Timestamp now_;
  const std::uint64_t steps_max_;
  std::uint64_t steps_ = 0;
  ExpressionArena arena_;
  std::vector<Operand> variables_;  // [0] is $$ROOT
  absl::Status status_;
  std::optional<std::mt19937_64> random_;
};

inline bool Evaluation::StartArray(std::size_t count, std::size_t size, char** data, Operand* out) {
  if (count > UINT32_MAX) return FailForMemory();
  std::string header;
  if (count <= 15) {
    document_internal::Append8(&header, 0x90U | static_cast<unsigned>(count));
  } else if (count <= 0xffff) {
    document_internal::AppendLead16(&header, 0xdc, static_cast<std::uint16_t>(count));
  } else {
    document_internal::AppendLead32(&header, 0xdd, static_cast<std::uint32_t>(count));
  }
  return StartData(header, size, data, out);
}

inline bool Evaluation::SetArray(std::size_t mark, Operand* out) {
  std::size_t size = 0;
  for (std::size_t i = mark; i < stack.size(); ++i) {
    const std::string_view bytes = stack[i].bytes();
    if (!CheckNesting(stack[i], bytes.size())) return false;
    stack[i] = ValueView::FromTrusted(bytes);  // knows its size from now on
    size += bytes.size();
  }
  char* data = nullptr;
  if (!StartArray(stack.size() - mark, size, &data, out)) return false;
  for (std::size_t i = mark; i < stack.size(); ++i) {
    const std::string_view bytes = stack[i].bytes();
    std::memcpy(data, bytes.data(), bytes.size());
    data += bytes.size();
  }
  stack.resize(mark);
  return true;
}

inline bool Evaluation::SetDocument(std::size_t mark, Operand* out) {
  const std::size_t count = fields.size() - mark;
  if (count > UINT32_MAX) return FailForMemory();
  std::string header;
  if (count <= 15) {
    document_internal::Append8(&header, 0x80U | static_cast<unsigned>(count));
  } else if (count <= 0xffff) {
    document_internal::AppendLead16(&header, 0xde, static_cast<std::uint16_t>(count));
  } else {
    document_internal::AppendLead32(&header, 0xdf, static_cast<std::uint32_t>(count));
  }
  const auto key_header = [](std::string_view key) {
    std::string bytes;
    document_internal::AppendStringHeader(&bytes, static_cast<std::uint32_t>(key.size()));
    return bytes;
  };
  std::size_t size = 0;
  for (std::size_t i = mark; i < fields.size(); ++i) {
    const std::string_view bytes = fields[i].value.bytes();
    if (!CheckNesting(fields[i].value, bytes.size())) return false;
    fields[i].value = ValueView::FromTrusted(bytes);
    size += key_header(fields[i].key).size() + fields[i].key.size() + bytes.size();
  }
  char* data = nullptr;
  if (!StartData(header, size, &data, out)) return false;
  const auto append = [&data](std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
    data += bytes.size();
  };
  for (std::size_t i = mark; i < fields.size(); ++i) {
    append(key_header(fields[i].key));
    append(fields[i].key);
    append(fields[i].value.bytes());
  }
  fields.resize(mark);
  return true;
}

}  // namespace alos::query_internal

#endif  // ALOS_QUERY_INTERNAL_EXPRESSION_EVALUATION_H_
