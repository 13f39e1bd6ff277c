// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Cuts a file of documents into documents, whatever form it has:
//
//   [ {..}, {..} ]       one JSON array
//   {..}\n{..}\n         one JSON object on each line (NDJSON)
//   {..} {..\n..}        JSON objects one after the other, on as many lines as they like
//   MessagePack          maps one after the other, or one array of maps
//
// and, with RecordOptions::array_field, one object of which one field is the array.

#ifndef ALOS_TOOLS_IMPORT_RECORDS_H_
#define ALOS_TOOLS_IMPORT_RECORDS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/json.h"
#include "alos/document/json_stream.h"
#include "alos/document/value.h"

namespace alos::import {

enum class Format { kDetect, kJson, kNdjson, kMessagePack };

struct RecordOptions {
  Format format = Format::kDetect;
  std::string array_field = {};  // "": the file itself is the array or sequence
  std::size_t record_bytes_max = std::size_t{48} << 20;  // of a record as MessagePack
  // Of the one object that array_field is a field of: it is held in memory.
  std::size_t object_bytes_max = std::size_t{1} << 30;
};

struct Record {
  std::string document;      // MessagePack
  std::uint64_t number = 0;  // from 1, bad ones counted
  std::uint64_t line = 0;    // where it begins, from 1; 0 where there are no lines
  std::uint64_t offset = 0;  // where it begins, in bytes
};

// Where a record is, in words: "line 12 of movies.json", "record 7 of dump.mp (byte 4096)".
inline std::string Place(std::string_view file, const Record& record) {
  if (record.line != 0) return absl::StrCat("line ", record.line, " of ", file);
  return absl::StrCat("record ", record.number, " of ", file, " (byte ", record.offset, ")");
}

// Reads records one by one; holds one of them at a time in memory.
//
// Threads: one at a time. Lifetime: `input` must outlive the reader. Durability: none.
// Errors: each names the file, the place in it and the reason. After one, can_continue() says
//   whether the end of the bad record is known, so that Next goes on behind it; if not, Next
//   repeats the error.
// Cost: one pass over the bytes to find where records end, and one to convert each.
//
//   RecordReader reader("movies.json", &input, {});
//   for (;;) {
//     absl::StatusOr<std::optional<Record>> record = reader.Next();
//     if (!record.ok()) return record.status();
//     if (!record->has_value()) break;
//     Use(**record);
//   }
class RecordReader {
 public:
  RecordReader(std::string file, std::istream* input, RecordOptions options)
      : file_(std::move(file)), input_(input), options_(std::move(options)) {}
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  // The next document; nullopt at the end.
  absl::StatusOr<std::optional<Record>> Next();

  bool can_continue() const { return fatal_.ok() && !(json_.has_value() && json_->is_broken()); }

  // Bytes of the input that were dealt with: for a progress bar.
  std::uint64_t bytes_taken() const;

 private:
  enum class Layout { kUnknown, kJson, kMessagePack, kElements };

  static constexpr std::size_t kReadBytes = 256 << 10;

  // Reads more into buffer_. False at the end of the input.
  bool Fill();
  std::string_view rest() const { return std::string_view(buffer_).substr(position_); }

  absl::Status Fatal(std::string_view message) {
    fatal_ = absl::InvalidArgumentError(message);
    return fatal_;
  }
  absl::Status Fatal(const Record& record, std::string_view reason) {
    return Fatal(absl::StrCat(Place(file_, record), ": ", reason));
  }
  // Checks what must hold of every record.
  absl::StatusOr<std::optional<Record>> Checked(Record record, ValueView value) const;

  absl::Status Detect();
  absl::Status StartMessagePack();
  absl::Status ReadArrayField(bool is_message_pack);
  absl::StatusOr<std::optional<Record>> NextJson();
  absl::StatusOr<std::optional<Record>> NextMessagePack();
  absl::StatusOr<std::optional<Record>> NextElement();

  const std::string file_;
  std::istream* const input_;
  const RecordOptions options_;

  std::string buffer_;
  std::size_t position_ = 0;         // of the next byte to take, in buffer_
  std::uint64_t buffer_offset_ = 0;  // of buffer_, in the input
  bool at_end_ = false;              // the input has no more bytes

  Layout layout_ = Layout::kUnknown;
  std::uint64_t records_ = 0;
  absl::Status fatal_;

  std::optional<JsonStream> json_;
  std::optional<std::uint64_t> array_left_;  // MessagePack records to come; nullopt: no array
  std::string object_;                       // that array_field is a field of
  ValueView::ElementRange elements_ = ValueView::FromTrusted("\x90").elements();
  ValueView::ElementRange::iterator next_element_ = elements_.begin();
};

// --- Readers of the API may stop here. ----------------------------------------------------------

inline bool RecordReader::Fill() {
  if (at_end_) return false;
  // Move what is left to the front, but only when that frees at least as much as it moves.
  if (position_ >= buffer_.size() - position_) {
    buffer_offset_ += position_;
    buffer_.erase(0, position_);
    position_ = 0;
  }
  const std::size_t filled = buffer_.size();
  // Doubling what is there keeps a large record linear.
  const std::size_t wanted = std::max(kReadBytes, filled - position_);
  buffer_.resize(filled + wanted);
  input_->read(buffer_.data() + filled, static_cast<std::streamsize>(wanted));
  buffer_.resize(filled + static_cast<std::size_t>(input_->gcount()));
  at_end_ = !*input_;
  return buffer_.size() > filled;
}

inline std::uint64_t RecordReader::bytes_taken() const {
  return json_.has_value() ? json_->offset() : buffer_offset_ + position_;
}

inline absl::Status RecordReader::Detect() {
  while (rest().size() < 4 && Fill()) {
  }
  const unsigned char first = rest().empty() ? 0 : static_cast<unsigned char>(rest()[0]);
  const bool is_map_or_array = (first >= 0x80 && first <= 0x9f) || (first >= 0xdc && first <= 0xdf);
  const bool is_message_pack = options_.format == Format::kMessagePack ||
                               (options_.format == Format::kDetect && is_map_or_array);
  if (!options_.array_field.empty()) return ReadArrayField(is_message_pack);
  if (is_message_pack) return StartMessagePack();

  // JsonStream says what is wrong with a file that begins with something else, but knows nothing of
  // other kinds of files.
  const bool is_compressed = rest().substr(0, 2) == "\x1f\x8b" || rest().substr(0, 3) == "BZh" ||
                             rest().substr(0, 4) == "\x28\xb5\x2f\xfd" ||
                             rest().substr(0, 4) ==
                                 "\xfd"
                                 "7zX";
  if (is_compressed) {
    return Fatal(absl::StrCat(file_, " is compressed; unpack it on the way: zcat FILE | import -"));
  }
  layout_ = Layout::kJson;
  json_.emplace(JsonStreamOptions{.format = options_.format == Format::kNdjson
                                                ? JsonStreamFormat::kLines
                                                : JsonStreamFormat::kAuto});
  json_->Append(rest());
  buffer_ = std::string();
  position_ = 0;
  if (at_end_) json_->Finish();
  return absl::OkStatus();
}

inline absl::Status RecordReader::StartMessagePack() {
  layout_ = Layout::kMessagePack;
  if (rest().empty()) return absl::OkStatus();
  const unsigned char first = static_cast<unsigned char>(rest()[0]);
  if ((first & 0xf0) == 0x90) {
    array_left_ = first & 0x0f;
    position_ += 1;
  } else if (first == 0xdc || first == 0xdd) {
    const std::size_t count_bytes = first == 0xdc ? 2 : 4;
    while (rest().size() < 1 + count_bytes && Fill()) {
    }
    if (rest().size() < 1 + count_bytes) {
      return Fatal(absl::StrCat(file_, " ends inside of the header of its array"));
    }
    array_left_ = 0;
    for (std::size_t i = 1; i <= count_bytes; ++i) {
      array_left_ = *array_left_ << 8 | static_cast<unsigned char>(rest()[i]);
    }
    position_ += 1 + count_bytes;
  }
  return absl::OkStatus();
}

inline absl::Status RecordReader::ReadArrayField(bool is_message_pack) {
  layout_ = Layout::kElements;
  while (rest().size() <= options_.object_bytes_max && Fill()) {
  }
  if (rest().size() > options_.object_bytes_max) {
    return Fatal(absl::StrCat(file_, " has over ", options_.object_bytes_max,
                              " bytes; for the array in a field it is held in memory whole"));
  }
  absl::StatusOr<std::string> object =
      is_message_pack ? std::string(rest()) : JsonToMessagePack(rest());
  if (is_message_pack) {
    const absl::StatusOr<ValueView> parsed = ValueView::Parse(*object);
    if (!parsed.ok()) object = parsed.status();
  }
  if (!object.ok()) return Fatal(absl::StrCat(file_, ": ", object.status().message()));
  object_ = *std::move(object);
  position_ = buffer_.size();
  const std::optional<ValueView> array = ValueView::FromTrusted(object_).Find(options_.array_field);
  if (!ValueView::FromTrusted(object_).IsDocument() || !array.has_value() || !array->IsArray()) {
    return Fatal(absl::StrCat(file_, " is no object with an array \"", options_.array_field, "\""));
  }
  elements_ = array->elements();
  next_element_ = elements_.begin();
  return absl::OkStatus();
}

inline absl::StatusOr<std::optional<Record>> RecordReader::Checked(Record record,
                                                                   ValueView value) const {
  if (!value.IsDocument()) {
    return absl::InvalidArgumentError(absl::StrCat(Place(file_, record),
                                                   ": a record must be an object, this is of type ",
                                                   TypeName(value.type())));
  }
  if (value.bytes().size() > options_.record_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat(Place(file_, record), ": a record of ",
                                                   value.bytes().size(), " bytes; the limit is ",
                                                   options_.record_bytes_max));
  }
  record.document.assign(value.bytes());
  return record;
}

inline absl::StatusOr<std::optional<Record>> RecordReader::NextJson() {
  for (;;) {
    JsonStream::Document document;
    const absl::StatusOr<bool> found = json_->Next(&document);
    if (!found.ok()) {
      ++records_;
      return absl::InvalidArgumentError(absl::StrCat(file_, ": ", found.status().message()));
    }
    if (*found) {
      return Checked(
          {.document = {}, .number = ++records_, .line = document.line, .offset = document.offset},
          ValueView::FromTrusted(document.message_pack));
    }
    if (at_end_) return std::nullopt;
    buffer_.resize(kReadBytes);
    input_->read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    json_->Append(std::string_view(buffer_).substr(0, static_cast<std::size_t>(input_->gcount())));
    at_end_ = !*input_;
    if (at_end_) json_->Finish();
  }
}

inline absl::StatusOr<std::optional<Record>> RecordReader::NextMessagePack() {
  Record record{
      .document = {}, .number = records_ + 1, .line = 0, .offset = buffer_offset_ + position_};
  if (rest().empty() && !Fill()) {
    if (array_left_.value_or(0) == 0) return std::nullopt;
    return Fatal(record,
                 absl::StrCat("the file ends, but its array has ", *array_left_, " more records"));
  }
  if (array_left_ == 0) return Fatal(record, "something follows the end of the array");
  if (array_left_.has_value()) --*array_left_;
  ++records_;
  for (;;) {
    const absl::StatusOr<ValueView> value = ValueView::ParsePrefix(rest());
    if (value.ok()) {
      position_ += value->bytes().size();
      return Checked(std::move(record), *value);
    }
    // Where a broken value would have ended, nobody knows.
    if (value.status().code() != absl::StatusCode::kOutOfRange) {
      return Fatal(record, value.status().message());
    }
    if (rest().size() > options_.record_bytes_max) {
      return Fatal(record,
                   absl::StrCat("a record of more than ", options_.record_bytes_max, " bytes"));
    }
    if (!Fill()) return Fatal(record, "the file ends inside of this record");
  }
}

inline absl::StatusOr<std::optional<Record>> RecordReader::NextElement() {
  if (next_element_ == elements_.end()) return std::nullopt;
  const ValueView value = *next_element_;
  ++next_element_;
  return Checked({.document = {},
                  .number = ++records_,
                  .line = 0,
                  .offset = static_cast<std::uint64_t>(value.bytes().data() - object_.data())},
                 value);
}

inline absl::StatusOr<std::optional<Record>> RecordReader::Next() {
  if (!fatal_.ok()) return fatal_;
  if (layout_ == Layout::kUnknown) ALOS_RETURN_IF_ERROR(Detect());
  switch (layout_) {
    case Layout::kJson:
      return NextJson();
    case Layout::kMessagePack:
      return NextMessagePack();
    case Layout::kElements:
      return NextElement();
    case Layout::kUnknown:
      break;
  }
  return std::nullopt;
}

}  // namespace alos::import

#endif  // ALOS_TOOLS_IMPORT_RECORDS_H_
