// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Frames on a byte stream: a big-endian length, then that many bytes.
//
//   0            4                 4 + length
//   +------------+-----------------+
//   | length: 32 | payload         |     payload: a message, or (encrypted) a sealed frame
//   +------------+-----------------+
//
// FrameReader cuts a stream into payloads, BeginFrame and EndFrame make one. Neither knows of
// sockets.

#ifndef ALOS_NET_FRAME_H_
#define ALOS_NET_FRAME_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/net/big_endian.h"

namespace alos {

inline constexpr std::size_t kFrameLengthBytes = 4;

// The receive buffer of a connection, and the frames in it.
//
// Threads: one at a time. Lifetime: spans returned by Next and unread stay valid until the next
// call of Prepare, Release or the destructor. Durability: none.
// Errors: Next only: a length over the limit, seen as soon as its four bytes are there and before
//   anything is allocated for it.
// Cost: bytes are received into place; only the beginning of an incomplete frame is ever moved. The
//   buffer grows with the bytes that were received (to at most twice that), not with the length
//   that was announced.
//
//   absl::Span<char> room = reader.Prepare();
//   reader.Commit(recv(socket, room.data(), room.size(), 0));
//   for (;;) {
//     absl::StatusOr<std::optional<absl::Span<char>>> frame = reader.Next();
//     if (!frame.ok() || !frame->has_value()) break;
//     Handle(**frame);
//   }
class FrameReader {
 public:
  // The buffer of a connection that has nothing under way.
  static constexpr std::size_t kIdleBytes = 1024;

  explicit FrameReader(std::size_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}

  // Room to receive into, never empty. Moves unread bytes.
  absl::Span<char> Prepare();

  // `size` bytes were written to the front of what Prepare returned. REQUIRES: size <= its size.
  void Commit(std::size_t size) {
    end_ += size;
    filled_ = end_ == capacity_;
  }

  // The next complete payload, nullopt if there is none yet. The payload is the caller's to change.
  absl::StatusOr<std::optional<absl::Span<char>>> Next();

  // Whether Next would answer something other than nullopt.
  bool HasNext() const;

  // Bytes received and not taken.
  std::string_view unread() const { return {buffer_.get() + begin_, end_ - begin_}; }
  // Takes `size` unread bytes away. REQUIRES: size <= unread().size().
  void Skip(std::size_t size) { begin_ += size; }

  // Gives memory back: all of it if nothing is unread. For connections that fell idle.
  void Release();

  std::size_t capacity_bytes() const { return capacity_; }

 private:
  // A buffer over this is given back as soon as it is empty.
  static constexpr std::size_t kKeepBytes = 64 * 1024;

  void Reallocate(std::size_t capacity);

  std::size_t frame_bytes_max_;
  // Valid bytes are [begin_, end_) of [0, capacity_).
  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
  bool filled_ = false;  // the last receive left no room: more is probably waiting
};

// Starts a frame at the end of *output and returns where: room for the length and the channel's
// header. Append the message, then call EndFrame with the result. `Channel` is a SecureChannel.
template <class Channel>
std::size_t BeginFrame(const Channel& channel, std::string* output) {
  const std::size_t start = output->size();
  output->append(kFrameLengthBytes + channel.header_bytes(), '\0');
  return start;
}

// Ends the frame that begins at `start`: sets the length and seals. REQUIRES: the message is at
// most 4 GiB less the channel's overhead.
template <class Channel>
void EndFrame(Channel& channel, std::size_t start, std::string* output) {
  output->append(channel.tag_bytes(), '\0');
  const std::size_t payload_start = start + kFrameLengthBytes;
  const std::size_t payload_bytes = output->size() - payload_start;
  net_internal::StoreBigEndian32(static_cast<std::uint32_t>(payload_bytes), output->data() + start);
  channel.Seal(absl::MakeSpan(output->data() + payload_start, payload_bytes));
}

// --- Readers of the API may stop here. ----------------------------------------------------------

inline absl::Span<char> FrameReader::Prepare() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > kKeepBytes && !filled_) {
      buffer_.reset();
      capacity_ = 0;
    }
  }
  const std::size_t unread_bytes = end_ - begin_;
  if (capacity_ == 0) {
    Reallocate(kIdleBytes);
  } else if (filled_ && unread_bytes * 2 >= capacity_) {
    // What is unread fills at least half: a large frame, or a long pipeline of small ones.
    Reallocate(capacity_ * 2);
  } else if (filled_ && capacity_ < kKeepBytes) {
    Reallocate(capacity_ * 2);
  } else if (begin_ != 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, unread_bytes);
    begin_ = 0;
    end_ = unread_bytes;
  }
  if (end_ == capacity_) Reallocate(capacity_ * 2);
  filled_ = false;
  return absl::MakeSpan(buffer_.get() + end_, capacity_ - end_);
}

inline bool FrameReader::HasNext() const {
  const std::string_view bytes = unread();
  if (bytes.size() < kFrameLengthBytes) return false;
  const std::size_t length = net_internal::LoadBigEndian32(bytes.data());
  return length > frame_bytes_max_ || bytes.size() - kFrameLengthBytes >= length;
}

inline absl::StatusOr<std::optional<absl::Span<char>>> FrameReader::Next() {
  const std::string_view bytes = unread();
  if (bytes.size() < kFrameLengthBytes) return std::nullopt;
  const std::size_t length = net_internal::LoadBigEndian32(bytes.data());
  if (length > frame_bytes_max_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a frame of ", length, " bytes was announced; the limit is ", frame_bytes_max_, " bytes"));
  }
  if (bytes.size() - kFrameLengthBytes < length) return std::nullopt;
  char* const payload = buffer_.get() + begin_ + kFrameLengthBytes;
  begin_ += kFrameLengthBytes + length;
  return absl::MakeSpan(payload, length);
}

inline void FrameReader::Release() {
  if (begin_ == end_) {
    buffer_.reset();
    begin_ = end_ = capacity_ = 0;
  }
  filled_ = false;
}

inline void FrameReader::Reallocate(std::size_t capacity) {
  const std::size_t unread_bytes = end_ - begin_;
  std::unique_ptr<char[]> larger(new char[capacity]);  // not initialised: it is received into
  if (unread_bytes != 0) std::memcpy(larger.get(), buffer_.get() + begin_, unread_bytes);
  buffer_ = std::move(larger);
  capacity_ = capacity;
  begin_ = 0;
  end_ = unread_bytes;
}

}  // namespace alos

#endif  // ALOS_NET_FRAME_H_
