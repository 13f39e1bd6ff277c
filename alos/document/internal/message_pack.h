// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The bytes of MessagePack: what each lead byte means, how to step over a valid value, and how to
// write the shortest header. Everything above (views, builder, ids) is written in these terms.
//
//   00..7f positive fixint   80..8f fixmap      90..9f fixarray   a0..bf fixstr
//   c0 nil   c1 reserved     c2 false  c3 true  c4/c5/c6 bin 8/16/32   c7/c8/c9 ext 8/16/32
//   ca float32  cb float64   cc..cf uint 8..64  d0..d3 int 8..64  d4..d8 fixext 1/2/4/8/16
//   d9/da/db str 8/16/32     dc/dd array 16/32  de/df map 16/32   e0..ff negative fixint
//
// All lengths, counts and numbers are big-endian.

#ifndef ALOS_DOCUMENT_INTERNAL_MESSAGE_PACK_H_
#define ALOS_DOCUMENT_INTERNAL_MESSAGE_PACK_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace alos::document_internal {

// How far a value reaches, as told by its lead byte.
enum class Extent : std::uint8_t {
  kFixed,           // the header is the whole value
  kFixedExtension,  // as kFixed; byte 1 is the extension type
  kData8,           // a length of 1, 2 or 4 bytes, then that many bytes
  kData16,
  kData32,
  kExtension8,  // as kData, but the header ends with the extension type
  kExtension16,
  kExtension32,
  kFixedArray,  // the count is in the lead byte
  kFixedMap,
  kArray16,  // a count of 2 or 4 bytes
  kArray32,
  kMap16,
  kMap32,
  kReserved,  // c1, never valid
};

struct Lead {
  Extent extent;
  std::uint8_t header_size;  // bytes, the lead byte included; for kFixed the whole value
};

constexpr Lead LeadOf(unsigned byte) {
  if (byte <= 0x7f || byte >= 0xe0) return {Extent::kFixed, 1};
  if (byte <= 0x8f) return {Extent::kFixedMap, 1};
  if (byte <= 0x9f) return {Extent::kFixedArray, 1};
  if (byte <= 0xbf) return {Extent::kFixed, static_cast<std::uint8_t>(1 + (byte & 0x1f))};
  switch (byte) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return {Extent::kFixed, 1};
    case 0xc4:
    case 0xd9:
      return {Extent::kData8, 2};
    case 0xc5:
    case 0xda:
      return {Extent::kData16, 3};
    case 0xc6:
    case 0xdb:
      return {Extent::kData32, 5};
    case 0xc7:
      return {Extent::kExtension8, 3};
    case 0xc8:
      return {Extent::kExtension16, 4};
    case 0xc9:
      return {Extent::kExtension32, 6};
    case 0xcc:
    case 0xd0:
      return {Extent::kFixed, 2};
    case 0xcd:
    case 0xd1:
      return {Extent::kFixed, 3};
    case 0xca:
    case 0xce:
    case 0xd2:
      return {Extent::kFixed, 5};
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return {Extent::kFixed, 9};
    case 0xd4:
      return {Extent::kFixedExtension, 3};
    case 0xd5:
      return {Extent::kFixedExtension, 4};
    case 0xd6:
      return {Extent::kFixedExtension, 6};
    case 0xd7:
      return {Extent::kFixedExtension, 10};
    case 0xd8:
      return {Extent::kFixedExtension, 18};
    case 0xdc:
      return {Extent::kArray16, 3};
    case 0xdd:
      return {Extent::kArray32, 5};
    case 0xde:
      return {Extent::kMap16, 3};
    case 0xdf:
      return {Extent::kMap32, 5};
    default:
      return {Extent::kReserved, 1};
  }
}

inline constexpr std::array<Lead, 256> kLeads = [] {
  std::array<Lead, 256> leads{};
  for (unsigned byte = 0; byte < 256; ++byte) leads[byte] = LeadOf(byte);
  return leads;
}();
static_assert(sizeof(kLeads) == 512);

// What stepping over a value takes when its lead byte tells all: `size` bytes, then `children`
// values. size 0: a length or count has to be read first.
struct Step {
  std::uint8_t size;
  std::uint8_t children;
};

inline constexpr std::array<Step, 256> kSteps = [] {
  std::array<Step, 256> steps{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    const Lead lead = LeadOf(byte);
    if (lead.extent <= Extent::kFixedExtension) {
      steps[byte] = {lead.header_size, 0};
    } else if (lead.extent == Extent::kFixedArray) {
      steps[byte] = {1, static_cast<std::uint8_t>(byte & 0x0f)};
    } else if (lead.extent == Extent::kFixedMap) {
      steps[byte] = {1, static_cast<std::uint8_t>(2 * (byte & 0x0f))};
    }
  }
  return steps;
}();
static_assert(sizeof(kSteps) == 512);

// The extension type that MessagePack reserves for timestamps.
inline constexpr std::int8_t kTimestampExtension = -1;
inline constexpr std::uint32_t kNanosecondsMax = 999'999'999;

inline std::uint8_t Load8(const char* p) { return static_cast<std::uint8_t>(*p); }
inline std::uint16_t Load16(const char* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return __builtin_bswap16(value);
}
inline std::uint32_t Load32(const char* p) {
  std::uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return __builtin_bswap32(value);
}
inline std::uint64_t Load64(const char* p) {
  std::uint64_t value;
  std::memcpy(&value, p, sizeof(value));
  return __builtin_bswap64(value);
}
static_assert(std::endian::native == std::endian::little, "big-endian loads swap bytes");

// The length (kData*, kExtension*) or count (containers) in the header at `p`; 0 for the others.
// REQUIRES: the whole header is readable.
inline std::uint32_t LoadCount(const char* p) {
  switch (kLeads[Load8(p)].extent) {
    case Extent::kFixed:
    case Extent::kFixedExtension:
    case Extent::kReserved:
      return 0;
    case Extent::kData8:
    case Extent::kExtension8:
      return Load8(p + 1);
    case Extent::kData16:
    case Extent::kExtension16:
    case Extent::kArray16:
    case Extent::kMap16:
      return Load16(p + 1);
    case Extent::kData32:
    case Extent::kExtension32:
    case Extent::kArray32:
    case Extent::kMap32:
      return Load32(p + 1);
    case Extent::kFixedArray:
    case Extent::kFixedMap:
      return Load8(p) & 0x0f;
  }
  return 0;
}

// Steps over any value at `p`, containers with all that is in them. No recursion.
// REQUIRES: a valid value at `p`.
[[gnu::noinline]] inline const char* SkipAny(const char* p) {
  std::uint64_t pending = 1;
  do {
    const Step step = kSteps[Load8(p)];
    if (step.size != 0) [[likely]] {
      p += step.size;
      pending += step.children;
      continue;
    }
    const Lead lead = kLeads[Load8(p)];
    const std::uint64_t count = LoadCount(p);
    p += lead.header_size;
    if (lead.extent < Extent::kFixedArray) {
      p += count;
    } else if (lead.extent < Extent::kMap16) {
      pending += count;
    } else if (lead.extent < Extent::kReserved) {
      pending += 2 * count;
    }
  } while (--pending != 0);
  return p;
}

// One past the end of the value at `p`. REQUIRES: a valid value at `p`.
inline const char* Skip(const char* p) {
  const Lead lead = kLeads[Load8(p)];
  if (lead.extent <= Extent::kFixedExtension) [[likely]] {
    return p + lead.header_size;
  }
  return SkipAny(p);
}

inline void Append8(std::string* out, unsigned value) { out->push_back(static_cast<char>(value)); }
inline void AppendLead16(std::string* out, unsigned lead, std::uint16_t value) {
  char bytes[3] = {static_cast<char>(lead)};
  value = __builtin_bswap16(value);
  std::memcpy(bytes + 1, &value, sizeof(value));
  out->append(bytes, sizeof(bytes));
}
inline void AppendLead32(std::string* out, unsigned lead, std::uint32_t value) {
  char bytes[5] = {static_cast<char>(lead)};
  value = __builtin_bswap32(value);
  std::memcpy(bytes + 1, &value, sizeof(value));
  out->append(bytes, sizeof(bytes));
}
inline void AppendLead64(std::string* out, unsigned lead, std::uint64_t value) {
  char bytes[9] = {static_cast<char>(lead)};
  value = __builtin_bswap64(value);
  std::memcpy(bytes + 1, &value, sizeof(value));
  out->append(bytes, sizeof(bytes));
}
inline void AppendLead8(std::string* out, unsigned lead, unsigned value) {
  const char bytes[2] = {static_cast<char>(lead), static_cast<char>(value)};
  out->append(bytes, sizeof(bytes));
}

inline void AppendUint(std::string* out, std::uint64_t value) {
  if (value <= 0x7f) {
    Append8(out, static_cast<unsigned>(value));
  } else if (value <= 0xff) {
    AppendLead8(out, 0xcc, static_cast<unsigned>(value));
  } else if (value <= 0xffff) {
    AppendLead16(out, 0xcd, static_cast<std::uint16_t>(value));
  } else if (value <= 0xffffffff) {
    AppendLead32(out, 0xce, static_cast<std::uint32_t>(value));
  } else {
    AppendLead64(out, 0xcf, value);
  }
}

inline void AppendInt(std::string* out, std::int64_t value) {
  if (value >= 0) {
    AppendUint(out, static_cast<std::uint64_t>(value));
  } else if (value >= -32) {
    Append8(out, static_cast<unsigned>(value & 0xff));
  } else if (value >= INT8_MIN) {
    AppendLead8(out, 0xd0, static_cast<unsigned>(value & 0xff));
  } else if (value >= INT16_MIN) {
    AppendLead16(out, 0xd1, static_cast<std::uint16_t>(value));
  } else if (value >= INT32_MIN) {
    AppendLead32(out, 0xd2, static_cast<std::uint32_t>(value));
  } else {
    AppendLead64(out, 0xd3, static_cast<std::uint64_t>(value));
  }
}

inline void AppendDouble(std::string* out, double value) {
  AppendLead64(out, 0xcb, std::bit_cast<std::uint64_t>(value));
}

inline void AppendStringHeader(std::string* out, std::uint32_t size) {
  if (size <= 31) {
    Append8(out, 0xa0 | size);
  } else if (size <= 0xff) {
    AppendLead8(out, 0xd9, size);
  } else if (size <= 0xffff) {
    AppendLead16(out, 0xda, static_cast<std::uint16_t>(size));
  } else {
    AppendLead32(out, 0xdb, size);
  }
}

inline void AppendBinaryHeader(std::string* out, std::uint32_t size) {
  if (size <= 0xff) {
    AppendLead8(out, 0xc4, size);
  } else if (size <= 0xffff) {
    AppendLead16(out, 0xc5, static_cast<std::uint16_t>(size));
  } else {
    AppendLead32(out, 0xc6, size);
  }
}

inline void AppendExtensionHeader(std::string* out, std::int8_t type, std::uint32_t size) {
  switch (size) {
    case 1:
      Append8(out, 0xd4);
      break;
    case 2:
      Append8(out, 0xd5);
      break;
    case 4:
      Append8(out, 0xd6);
      break;
    case 8:
      Append8(out, 0xd7);
      break;
    case 16:
      Append8(out, 0xd8);
      break;
    default:
      if (size <= 0xff) {
        AppendLead8(out, 0xc7, size);
      } else if (size <= 0xffff) {
        AppendLead16(out, 0xc8, static_cast<std::uint16_t>(size));
      } else {
        AppendLead32(out, 0xc9, size);
      }
  }
  Append8(out, static_cast<std::uint8_t>(type));
}

// The shortest of the three timestamp forms.
inline void AppendTimestamp(std::string* out, std::int64_t seconds, std::uint32_t nanoseconds) {
  const auto unsigned_seconds = static_cast<std::uint64_t>(seconds);
  if (unsigned_seconds >> 34 != 0) {
    AppendLead8(out, 0xc7, 12);
    AppendLead32(out, static_cast<std::uint8_t>(kTimestampExtension), nanoseconds);
    char bytes[8];
    const std::uint64_t swapped = __builtin_bswap64(unsigned_seconds);
    std::memcpy(bytes, &swapped, sizeof(swapped));
    out->append(bytes, sizeof(bytes));
  } else if (nanoseconds != 0 || unsigned_seconds >> 32 != 0) {
    Append8(out, 0xd7);
    AppendLead64(out, static_cast<std::uint8_t>(kTimestampExtension),
                 std::uint64_t{nanoseconds} << 34 | unsigned_seconds);
  } else {
    Append8(out, 0xd6);
    AppendLead32(out, static_cast<std::uint8_t>(kTimestampExtension),
                 static_cast<std::uint32_t>(unsigned_seconds));
  }
}

}  // namespace alos::document_internal

#endif  // ALOS_DOCUMENT_INTERNAL_MESSAGE_PACK_H_
