// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Reads files of JSON documents, of any size, one document at a time.

#ifndef ALOS_DOCUMENT_JSON_STREAM_H_
#define ALOS_DOCUMENT_JSON_STREAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/document/internal/json_text.h"
#include "alos/document/json.h"

namespace alos {

enum class JsonStreamFormat {
  // kArray if the text begins with '['. Otherwise kLines if the first line that is not blank holds
  // exactly one whole value, else kSequence.
  kAuto,
  kArray,     // one array of documents
  kLines,     // one document per line (NDJSON); blank lines are passed over
  kSequence,  // documents one after the other, over any number of lines each
};

struct JsonStreamOptions {
  JsonStreamFormat format = JsonStreamFormat::kAuto;
  std::size_t document_size_max_bytes = 64 << 20;  // of its JSON text
};

// Cuts a stream of JSON into documents and converts each to MessagePack by the rules of json.h.
//
// Threads: one at a time.
// Lifetime: a Document is valid until the next call of any method.
// Errors: Next says what is wrong, in which line and at which byte of the stream. After an error in
// a
//   document the caller may go on: the next call gives the document after it, in kLines after the
//   end of the line. When it is unknown where the next document begins (an unclosed string or
//   bracket in kArray and kSequence, a missing comma, text after the array), the stream is broken:
//   every further call returns the same error, and is_broken() tells. All are kInvalidArgument.
// Cost: memory for one chunk, the text of one document and its MessagePack form, whatever the size
// of
//   the stream.
//
//   JsonStream stream;
//   for (bool more = true; more;) {
//     more = ReadChunk(&chunk);
//     more ? stream.Append(chunk) : stream.Finish();
//     JsonStream::Document document;
//     for (;;) {
//       absl::StatusOr<bool> found = stream.Next(&document);
//       if (!found.ok()) return found.status();
//       if (!*found) break;
//       Insert(ValueView::FromTrusted(document.message_pack));
//     }
//   }
class JsonStream {
 public:
  struct Document {
    std::string_view message_pack;  // what ValueView::Parse accepts, a document
    std::uint64_t line = 0;         // where its text begins, from 1
    std::uint64_t offset = 0;       // in bytes, from 0
  };

  explicit JsonStream(JsonStreamOptions options = {}) : options_(options) {}

  // Gives the next bytes of the stream, cut anywhere. Call Next until it returns false before the
  // next Append, else memory grows.
  void Append(std::string_view chunk);

  // Says that there are no more bytes.
  void Finish() { is_finished_ = true; }

  // The next document. false: more bytes are needed, or after Finish: this was the end.
  absl::StatusOr<bool> Next(Document* document);

  // The next document cannot be found; see Errors above.
  bool is_broken() const { return !broken_.ok(); }

  // Bytes dealt with, those of the last document included.
  std::uint64_t offset() const { return position_.offset; }

 private:
  enum class Phase {
    kStart,         // the format is not known yet
    kLine,          // a line is next
    kSkipLine,      // the rest of a line that is too long
    kFirstElement,  // a value or ']' is next
    kElement,       // a value is next
    kAfterElement,  // ',' or ']' is next
    kAfterArray,    // nothing but blanks may follow
    kValue,         // in a sequence
  };
  enum class Scan { kComplete, kMore, kUnclosedString, kTooLarge };

  std::string_view Rest() const { return std::string_view(buffer_).substr(begin_); }
  // Drops `size` bytes of Rest().
  void Consume(std::size_t size);
  void SkipSpace();
  absl::Status Broken(std::string_view message);
  absl::Status Refused(std::string_view message) const;
  std::string Found() const;

  // Both return false when more bytes are needed.
  absl::StatusOr<bool> Start();
  absl::StatusOr<bool> NextLine(Document* document);
  absl::StatusOr<bool> NextValue(Document* document);
  // Converts the first `size` bytes of Rest() and consumes `consumed`.
  absl::StatusOr<bool> Convert(std::size_t size, std::size_t consumed, Document* document);

  // Looks for the end of the value at the start of Rest(); goes on where the last call stopped.
  Scan ScanValue();

  const JsonStreamOptions options_;
  Phase phase_ = Phase::kStart;
  bool is_finished_ = false;
  absl::Status broken_;

  std::string buffer_;
  std::size_t begin_ = 0;  // of what is not consumed, in buffer_
  TextPosition position_;  // of begin_
  JsonReader reader_;
  std::string message_pack_;

  // State of ScanValue, and how far lines were searched; all relative to begin_.
  std::size_t scanned_ = 0;
  std::size_t open_ = 0;  // brackets
  bool in_string_ = false;
};

// --- Readers of the API may stop here. ----------------------------------------------------------

inline void JsonStream::Append(std::string_view chunk) {
  buffer_.erase(0, begin_);
  begin_ = 0;
  buffer_.append(chunk);
}

inline void JsonStream::Consume(std::size_t size) {
  const std::string_view consumed = Rest().substr(0, size);
  position_.line += static_cast<std::uint64_t>(std::count(consumed.begin(), consumed.end(), '\n'));
  position_.offset += size;
  begin_ += size;
  scanned_ = 0;
  open_ = 0;
  in_string_ = false;
}

inline void JsonStream::SkipSpace() {
  const std::string_view rest = Rest();
  std::size_t size = 0;
  while (size < rest.size() && document_internal::IsJsonSpace(rest[size])) ++size;
  if (size != 0) Consume(size);
}

inline absl::Status JsonStream::Refused(std::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat("invalid JSON at line ", position_.line, ", byte ",
                                                 position_.offset, ": ", message));
}

inline absl::Status JsonStream::Broken(std::string_view message) {
  broken_ = Refused(message);
  return broken_;
}

inline std::string JsonStream::Found() const {
  const std::string_view rest = Rest();
  if (rest.empty()) return "found the end";
  const auto byte = static_cast<unsigned char>(rest[0]);
  if (absl::ascii_isprint(byte)) return absl::StrCat("found '", rest.substr(0, 1), "'");
  return absl::StrCat("found byte 0x", absl::Hex(byte, absl::kZeroPad2));
}

inline absl::StatusOr<bool> JsonStream::Next(Document* document) {
  if (is_broken()) return broken_;
  if (phase_ == Phase::kStart) {
    const absl::StatusOr<bool> started = Start();
    if (!started.ok() || !*started) return started;
  }
  if (phase_ == Phase::kLine || phase_ == Phase::kSkipLine) return NextLine(document);
  return NextValue(document);
}

inline absl::StatusOr<bool> JsonStream::Start() {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (position_.offset == 0) {
    if (Rest().size() < kByteOrderMark.size() && !is_finished_) return false;
    if (Rest().substr(0, kByteOrderMark.size()) == kByteOrderMark) Consume(kByteOrderMark.size());
  }
  SkipSpace();
  const std::string_view rest = Rest();
  if (rest.empty()) {
    if (is_finished_ && options_.format == JsonStreamFormat::kArray) {
      return Broken("expected '[', found the end");
    }
    return false;
  }
  JsonStreamFormat format = options_.format;
  if (format == JsonStreamFormat::kAuto && rest[0] == '[') format = JsonStreamFormat::kArray;
  if (format == JsonStreamFormat::kAuto) {
    const std::size_t size = std::min(rest.find('\n'), rest.size());
    const bool is_cut = size == rest.size() && !is_finished_;
    // A first line over the limit must not be waited for.
    if (is_cut && size <= options_.document_size_max_bytes) return false;
    const bool is_value =
        size <= options_.document_size_max_bytes &&
        !document_internal::JsonChecker(rest.substr(0, size), document_internal::kJsonTextDepthMax)
             .Run();
    format = is_value ? JsonStreamFormat::kLines : JsonStreamFormat::kSequence;
  }
  switch (format) {
    case JsonStreamFormat::kArray:
      if (rest[0] != '[') return Broken(absl::StrCat("expected '[', ", Found()));
      Consume(1);
      phase_ = Phase::kFirstElement;
      break;
    case JsonStreamFormat::kLines:
      phase_ = Phase::kLine;
      break;
    case JsonStreamFormat::kAuto:
    case JsonStreamFormat::kSequence:
      phase_ = Phase::kValue;
      break;
  }
  return true;
}

inline absl::StatusOr<bool> JsonStream::Convert(std::size_t size, std::size_t consumed,
                                                Document* document) {
  const std::string_view text = Rest().substr(0, size);
  absl::Status status;
  if (text[0] != '{') {
    status = Refused(absl::StrCat("expected an object as document, ", Found()));
  } else {
    message_pack_.clear();
    status = reader_.Append(text, &message_pack_, position_);
    // {"$date": ...} and the like are objects in JSON only.
    if (status.ok() && !ValueView::FromTrusted(message_pack_).IsDocument()) {
      status = Refused(absl::StrCat("expected an object as document, found a ",
                                    TypeName(ValueView::FromTrusted(message_pack_).type())));
    }
  }
  *document = {message_pack_, position_.line, position_.offset};
  Consume(consumed);
  if (!status.ok()) return status;
  return true;
}

inline absl::StatusOr<bool> JsonStream::NextLine(Document* document) {
  for (;;) {
    const std::string_view rest = Rest();
    const std::size_t newline = rest.find('\n', scanned_);
    const bool is_cut = newline == std::string_view::npos;
    if (phase_ == Phase::kSkipLine) {
      Consume(is_cut ? rest.size() : newline + 1);
      if (is_cut) return false;
      phase_ = Phase::kLine;
      continue;
    }
    scanned_ = rest.size();
    std::size_t size = std::min(newline, rest.size());
    if (size > options_.document_size_max_bytes) {
      const absl::Status status = Refused(absl::StrCat("a line longer than the limit of ",
                                                       options_.document_size_max_bytes, " bytes"));
      Consume(is_cut ? rest.size() : newline + 1);
      if (is_cut) phase_ = Phase::kSkipLine;
      return status;
    }
    if (is_cut && !is_finished_) return false;
    std::size_t blanks = 0;
    while (blanks < size && document_internal::IsJsonSpace(rest[blanks])) ++blanks;
    if (blanks == size) {
      Consume(is_cut ? size : size + 1);
      if (is_cut) return false;
      continue;
    }
    Consume(blanks);
    size -= blanks;
    return Convert(size, is_cut ? size : size + 1, document);
  }
}

inline JsonStream::Scan JsonStream::ScanValue() {
  const std::string_view rest = Rest();
  const std::size_t size_max = options_.document_size_max_bytes;
  const std::size_t end = std::min(rest.size(), size_max);
  const bool is_bracketed = rest[0] == '{' || rest[0] == '[';
  std::size_t at = scanned_;
  const auto stop = [&](Scan result) {
    scanned_ = at;
    return result;
  };
  const auto run_out = [&] { return stop(rest.size() > size_max ? Scan::kTooLarge : Scan::kMore); };
  for (;;) {
    if (in_string_) {
      for (; at < end && rest[at] != '"'; ++at) {
        if (rest[at] == '\n') return stop(Scan::kUnclosedString);
        if (rest[at] == '\\') {
          if (at + 1 == end) return run_out();  // the escaped character has not come yet
          ++at;
        }
      }
      if (at == end) return run_out();
      ++at;
      in_string_ = false;
      if (!is_bracketed) return stop(Scan::kComplete);
    }
    for (; !in_string_; ++at) {
      if (at == end) {
        // A number may end with the stream.
        if (!is_bracketed && is_finished_ && at == rest.size()) return stop(Scan::kComplete);
        return run_out();
      }
      const char c = rest[at];
      if (is_bracketed || at == 0) {
        if (c == '"') {
          in_string_ = true;
        } else if (c == '{' || c == '[') {
          ++open_;
        } else if ((c == '}' || c == ']') && --open_ == 0) {
          ++at;
          return stop(Scan::kComplete);
        }
      } else if (document_internal::IsJsonSpace(c) ||
                 std::string_view(",]}{[\"").find(c) != std::string_view::npos) {
        return stop(Scan::kComplete);
      }
    }
  }
}

inline absl::StatusOr<bool> JsonStream::NextValue(Document* document) {
  for (;;) {
    // Between values.
    if (scanned_ == 0) {
      SkipSpace();
      const std::string_view rest = Rest();
      if (rest.empty()) {
        if (!is_finished_ || phase_ == Phase::kValue || phase_ == Phase::kAfterArray) return false;
        return Broken(phase_ == Phase::kAfterElement ? "expected ',' or ']', found the end"
                                                     : "expected an object, found the end");
      }
      if (phase_ == Phase::kAfterArray) {
        return Broken(absl::StrCat("expected the end after the array, ", Found()));
      }
      if (rest[0] == ']' && (phase_ == Phase::kFirstElement || phase_ == Phase::kAfterElement)) {
        Consume(1);
        phase_ = Phase::kAfterArray;
        continue;
      }
      if (phase_ == Phase::kAfterElement) {
        if (rest[0] != ',') return Broken(absl::StrCat("expected ',' or ']', ", Found()));
        Consume(1);
        phase_ = Phase::kElement;
        continue;
      }
      if (rest[0] == ',' || rest[0] == ']' || rest[0] == '}' || rest[0] == ':') {
        return Broken(absl::StrCat("expected an object, ", Found()));
      }
    }
    switch (ScanValue()) {
      case Scan::kComplete:
        if (phase_ != Phase::kValue) phase_ = Phase::kAfterElement;
        return Convert(scanned_, scanned_, document);
      case Scan::kTooLarge:
        return Broken(absl::StrCat("a document longer than the limit of ",
                                   options_.document_size_max_bytes, " bytes"));
      case Scan::kMore:
        if (!is_finished_) return false;
        [[fallthrough]];
      case Scan::kUnclosedString: {
        // The converter says best what is wrong with a piece that cannot be whole.
        const std::size_t size = std::min(scanned_ + 1, Rest().size());
        const absl::Status status = Convert(size, size, document).status();
        broken_ = status.ok() ? Refused("expected a whole object") : status;
        return broken_;
      }
    }
  }
}

}  // namespace alos

#endif  // ALOS_DOCUMENT_JSON_STREAM_H_
