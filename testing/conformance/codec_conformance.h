// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// What every Codec must do, as tests. To run one through it:
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, CodecConformance, MyCodec);

#ifndef ALOS_TESTING_CONFORMANCE_CODEC_CONFORMANCE_H_
#define ALOS_TESTING_CONFORMANCE_CODEC_CONFORMANCE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "alos/base/check.h"
#include "alos/storage/codec.h"
#include "gtest/gtest.h"

namespace alos {

template <class C>
class CodecConformance : public testing::Test {
 protected:
  static_assert(CheckCodec<C>());

  static constexpr char kFence = '\x5a';
  static constexpr std::size_t kFenceBytes = 64;

  // Compresses into `room` bytes that have a fence behind them.
  static absl::StatusOr<std::string> CompressInto(std::string_view raw, std::size_t room) {
    std::string out(room + kFenceBytes, kFence);
    absl::StatusOr<std::size_t> size = C::Compress(raw, absl::MakeSpan(out.data(), room));
    ExpectFence(out, room);
    if (!size.ok()) return size.status();
    EXPECT_LE(*size, room);
    out.resize(*size);
    return out;
  }
  static absl::StatusOr<std::string> DecompressTo(std::string_view stored, std::size_t raw_bytes) {
    std::string out(raw_bytes + kFenceBytes, kFence);
    const absl::Status status = C::Decompress(stored, absl::MakeSpan(out.data(), raw_bytes));
    ExpectFence(out, raw_bytes);
    if (!status.ok()) return status;
    out.resize(raw_bytes);
    return out;
  }
  static std::string MustCompress(std::string_view raw) {
    absl::StatusOr<std::string> stored = CompressInto(raw, C::BoundBytes(raw.size()));
    ALOS_CHECK_OK(stored);
    return *std::move(stored);
  }
  static void ExpectFence(std::string_view out, std::size_t room) {
    EXPECT_EQ(out.substr(room), std::string(kFenceBytes, kFence)) << "wrote outside of its buffer";
  }

  // Noise, repetition, text-like documents, and zeros.
  static std::vector<std::string> Samples() {
    std::mt19937_64 random(7);
    std::vector<std::string> samples = {"", "a", std::string(1, '\0')};
    for (const std::size_t size : {2, 12, 13, 64, 300, 4096, 65536, 300'000}) {
      std::string noise(size, '\0');
      for (char& byte : noise) byte = static_cast<char>(random());
      samples.push_back(noise);
      samples.push_back(std::string(size, '\0'));
      std::string text;
      while (text.size() < size) {
        text += "{\"name\": \"user" + std::to_string(random() % 1000) + "\", \"active\": true} ";
      }
      text.resize(size);
      samples.push_back(text);
    }
    return samples;
  }
};

TYPED_TEST_SUITE_P(CodecConformance);

TYPED_TEST_P(CodecConformance, RoundTrips) {
  for (const std::string& raw : this->Samples()) {
    const std::string stored = this->MustCompress(raw);
    EXPECT_LE(stored.size(), TypeParam::BoundBytes(raw.size()));
    const absl::StatusOr<std::string> back = this->DecompressTo(stored, raw.size());
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_TRUE(*back == raw) << raw.size();
  }
}

TYPED_TEST_P(CodecConformance, BoundNeverShrinksWithTheInput) {
  std::size_t before = 0;
  for (std::size_t size = 0; size < 100'000; size += 37) {
    ASSERT_GE(TypeParam::BoundBytes(size), before) << size;
    before = TypeParam::BoundBytes(size);
  }
  EXPECT_GE(TypeParam::BoundBytes(kCodecRawBytesMax), before);
}

TYPED_TEST_P(CodecConformance, TooLittleRoomIsAnErrorAndTheNextCallWorks) {
  for (const std::string& raw : this->Samples()) {
    const std::string stored = this->MustCompress(raw);
    if (stored.empty()) continue;
    for (const std::size_t room : {std::size_t{0}, stored.size() / 2, stored.size() - 1}) {
      const absl::StatusOr<std::string> less = this->CompressInto(raw, room);
      // A codec may find a shorter form when it is asked to; but it must not claim what it did not
      // do.
      if (less.ok()) {
        EXPECT_EQ(*this->DecompressTo(*less, raw.size()), raw);
      } else {
        EXPECT_EQ(less.status().code(), absl::StatusCode::kResourceExhausted) << less.status();
      }
    }
    ASSERT_EQ(*this->DecompressTo(this->MustCompress(raw), raw.size()), raw);
  }
}

TYPED_TEST_P(CodecConformance, TooLargeInputIsRefused) {
  // Only the size is real; a codec must look at it first.
  const std::string_view huge("x", kCodecRawBytesMax + 1);
  std::string out(16, '\0');
  EXPECT_EQ(TypeParam::Compress(huge, absl::MakeSpan(out)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TYPED_TEST_P(CodecConformance, WrongSizesAndTruncationAreDataLoss) {
  for (const std::string& raw : this->Samples()) {
    const std::string stored = this->MustCompress(raw);
    for (const std::size_t wrong :
         {raw.size() + 1, raw.size() - std::min<std::size_t>(raw.size(), 1), raw.size() * 2 + 1000,
          std::size_t{0}}) {
      if (wrong == raw.size()) continue;
      EXPECT_EQ(this->DecompressTo(stored, wrong).status().code(), absl::StatusCode::kDataLoss)
          << raw.size() << " as " << wrong;
    }
    const std::size_t step = std::max<std::size_t>(stored.size() / 200, 1);
    for (std::size_t size = 0; size < stored.size(); size += step) {
      EXPECT_EQ(this->DecompressTo(stored.substr(0, size), raw.size()).status().code(),
                absl::StatusCode::kDataLoss)
          << raw.size() << " cut to " << size;
    }
    EXPECT_EQ(this->DecompressTo(stored + "x", raw.size()).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

// The record's checksum is checked first, so this is the second line of defence: never out of
// bounds.
TYPED_TEST_P(CodecConformance, HostileBytesStayInBounds) {
  std::mt19937_64 random(11);
  for (const std::string& raw : this->Samples()) {
    if (raw.size() > 5000) continue;
    const std::string stored = this->MustCompress(raw);
    for (int round = 0; round < 300; ++round) {
      std::string bad = stored;
      for (std::uint64_t flips = random() % 4 + 1; flips > 0 && !bad.empty(); --flips) {
        bad[random() % bad.size()] = static_cast<char>(random());
      }
      const absl::StatusOr<std::string> result = this->DecompressTo(bad, raw.size());
      if (!result.ok()) {
        ASSERT_EQ(result.status().code(), absl::StatusCode::kDataLoss) << result.status();
      }
    }
    ASSERT_EQ(*this->DecompressTo(stored, raw.size()), raw) << "an error must leave no trace";
  }
}

TYPED_TEST_P(CodecConformance, ThreadsDoNotDisturbEachOther) {
  const std::vector<std::string> samples = this->Samples();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 2 * samples.size(); ++i) {
        const std::string& raw = samples[(i * (t + 1)) % samples.size()];
        const auto back = this->DecompressTo(this->MustCompress(raw), raw.size());
        if (!back.ok() || *back != raw) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

REGISTER_TYPED_TEST_SUITE_P(CodecConformance, RoundTrips, BoundNeverShrinksWithTheInput,
                            TooLittleRoomIsAnErrorAndTheNextCallWorks, TooLargeInputIsRefused,
                            WrongSizesAndTruncationAreDataLoss, HostileBytesStayInBounds,
                            ThreadsDoNotDisturbEachOther);

}  // namespace alos

#endif  // ALOS_TESTING_CONFORMANCE_CODEC_CONFORMANCE_H_
