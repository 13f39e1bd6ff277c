// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// AEGIS-128L (the authenticated cipher of Wu and Preneel, as CFRG's draft describes it), with a
// 128-bit tag and no associated data. One description of the algorithm, instantiated over two sets
// of block operations:
//
//   AesInstructions   the AES round instruction of x86-64 processors
//   PortableBlocks    plain vector arithmetic. No table is indexed by data and nothing branches on
//                     data: the AES S-box is computed as an inversion in GF(2^8).
//
// The state is eight AES blocks. One update consumes 32 bytes of message:
//
//   S'0 = round(S7, S0 ^ m0)   S'4 = round(S3, S4 ^ m1)   S'i = round(S[i-1], S[i]) for the others

#ifndef ALOS_PLUGINS_CIPHER_AEGIS_128L_INTERNAL_AEGIS_CORE_H_
#define ALOS_PLUGINS_CIPHER_AEGIS_128L_INTERNAL_AEGIS_CORE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
// The compiler does not use AES instructions unless asked by name, so marking the shared template
// with this leaves the portable instantiation portable.
#define ALOS_AEGIS_TARGET __attribute__((target("aes,sse4.1")))
#else
#define ALOS_AEGIS_TARGET
#endif

namespace alos::aegis_internal {

struct PortableBlocks {
  using Block = std::uint8_t __attribute__((vector_size(16)));

  static Block Load(const std::uint8_t* bytes) {
    Block block;
    std::memcpy(&block, bytes, sizeof(block));
    return block;
  }
  static void Store(Block block, std::uint8_t* bytes) { std::memcpy(bytes, &block, sizeof(block)); }
  static Block Xor(Block a, Block b) { return a ^ b; }
  static Block And(Block a, Block b) { return a & b; }

  // One AES round: SubBytes, ShiftRows, MixColumns, then the round key.
  static Block Round(Block block, Block round_key) {
    const Block s = ShiftRows(SubBytes(block));
    const Block next =
        __builtin_shufflevector(s, s, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
    const Block opposite =
        __builtin_shufflevector(s, s, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    const Block previous =
        __builtin_shufflevector(s, s, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14);
    return Double(s ^ next) ^ next ^ opposite ^ previous ^ round_key;
  }

  static Block SubBytes(Block x) {
    // x^254 is the inverse (and 0 for 0): 2, 3, 12, 15, 240, 252, 254.
    const Block x2 = Multiply(x, x);
    const Block x3 = Multiply(x2, x);
    const Block x12 = Square(Square(x3));
    const Block x15 = Multiply(x12, x3);
    const Block x240 = Square(Square(Square(Square(x15))));
    const Block x252 = Multiply(x240, x12);
    const Block inverse = Multiply(x252, x2);
    Block rotated = inverse;
    Block sum = inverse;
    for (int i = 0; i < 4; ++i) {
      rotated = (rotated + rotated) | (TopBitMask(rotated) & 1);
      sum ^= rotated;
    }
    return sum ^ 0x63;
  }

 private:
  // 0xff in every byte whose top bit is set.
  static Block TopBitMask(Block x) {
    using Signed = std::int8_t __attribute__((vector_size(16)));
    return reinterpret_cast<Block>(reinterpret_cast<Signed>(x) < 0);
  }
  // Times x, modulo x^8 + x^4 + x^3 + x + 1.
  static Block Double(Block x) { return (x + x) ^ (TopBitMask(x) & 0x1b); }
  static Block Multiply(Block a, Block b) {
    Block product = {};
    for (int bit = 0; bit < 8; ++bit) {
      product = Double(product) ^ (a & TopBitMask(b));
      b += b;
    }
    return product;
  }
  static Block Square(Block x) { return Multiply(x, x); }
  static Block ShiftRows(Block x) {
    return __builtin_shufflevector(x, x, 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11);
  }
};

#if defined(__x86_64__)
struct AesInstructions {
  using Block = __m128i;

  ALOS_AEGIS_TARGET static Block Load(const std::uint8_t* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }
  ALOS_AEGIS_TARGET static void Store(Block block, std::uint8_t* bytes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), block);
  }
  ALOS_AEGIS_TARGET static Block Xor(Block a, Block b) { return _mm_xor_si128(a, b); }
  ALOS_AEGIS_TARGET static Block And(Block a, Block b) { return _mm_and_si128(a, b); }
  ALOS_AEGIS_TARGET static Block Round(Block block, Block round_key) {
    return _mm_aesenc_si128(block, round_key);
  }
};
#endif

inline constexpr std::size_t kBlockBytes = 16;
inline constexpr std::size_t kRateBytes = 32;  // message bytes one update consumes

// The first Fibonacci numbers modulo 256, which the cipher takes for its constants.
inline constexpr std::uint8_t kConstants[2][kBlockBytes] = {
    {0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d, 0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79,
     0x62},
    {0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1, 0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28,
     0xdd}};

// The eight blocks and what one does with them. Threads: one. Errors: none.
template <class Blocks>
class State {
 public:
  using Block = typename Blocks::Block;

  ALOS_AEGIS_TARGET State(const std::uint8_t* key_bytes, const std::uint8_t* nonce_bytes) {
    const Block key = Blocks::Load(key_bytes);
    const Block nonce = Blocks::Load(nonce_bytes);
    const Block c0 = Blocks::Load(kConstants[0]);
    const Block c1 = Blocks::Load(kConstants[1]);
    s0_ = s4_ = Blocks::Xor(key, nonce);
    s1_ = s3_ = c1;
    s2_ = c0;
    s5_ = s7_ = Blocks::Xor(key, c0);
    s6_ = Blocks::Xor(key, c1);
    for (int i = 0; i < 10; ++i) Update(nonce, key);
  }

  ALOS_AEGIS_TARGET void Update(Block m0, Block m1) {
    const Block last = s7_;
    s7_ = Blocks::Round(s6_, s7_);
    s6_ = Blocks::Round(s5_, s6_);
    s5_ = Blocks::Round(s4_, s5_);
    s4_ = Blocks::Round(s3_, Blocks::Xor(s4_, m1));
    s3_ = Blocks::Round(s2_, s3_);
    s2_ = Blocks::Round(s1_, s2_);
    s1_ = Blocks::Round(s0_, s1_);
    s0_ = Blocks::Round(last, Blocks::Xor(s0_, m0));
  }

  // The 32 bytes that are mixed with the next 32 of the message.
  ALOS_AEGIS_TARGET void KeyStream(Block* z0, Block* z1) const {
    *z0 = Blocks::Xor(Blocks::Xor(s6_, s1_), Blocks::And(s2_, s3_));
    *z1 = Blocks::Xor(Blocks::Xor(s2_, s5_), Blocks::And(s6_, s7_));
  }

  ALOS_AEGIS_TARGET void Finish(std::uint64_t message_bytes, std::uint8_t* tag) {
    std::uint8_t lengths[kBlockBytes] = {};  // bits of associated data (0), bits of message
    for (int i = 0; i < 8; ++i)
      lengths[8 + i] = static_cast<std::uint8_t>(message_bytes * 8 >> (8 * i));
    const Block t = Blocks::Xor(s2_, Blocks::Load(lengths));
    for (int i = 0; i < 7; ++i) Update(t, t);
    Block sum = Blocks::Xor(s0_, s1_);
    sum = Blocks::Xor(sum, Blocks::Xor(s2_, s3_));
    sum = Blocks::Xor(sum, Blocks::Xor(s4_, s5_));
    Blocks::Store(Blocks::Xor(sum, s6_), tag);
  }

 private:
  Block s0_, s1_, s2_, s3_, s4_, s5_, s6_, s7_;
};

// In place; writes the 16-byte tag.
template <class Blocks>
ALOS_AEGIS_TARGET void Encrypt(const std::uint8_t* key, const std::uint8_t* nonce,
                               std::uint8_t* data, std::size_t size, std::uint8_t* tag) {
  using Block = typename Blocks::Block;
  State<Blocks> state(key, nonce);
  Block z0, z1;
  std::size_t offset = 0;
  for (; size - offset >= kRateBytes; offset += kRateBytes) {
    const Block m0 = Blocks::Load(data + offset);
    const Block m1 = Blocks::Load(data + offset + kBlockBytes);
    state.KeyStream(&z0, &z1);
    Blocks::Store(Blocks::Xor(m0, z0), data + offset);
    Blocks::Store(Blocks::Xor(m1, z1), data + offset + kBlockBytes);
    state.Update(m0, m1);
  }
  if (offset < size) {
    std::uint8_t last[kRateBytes] = {};
    std::memcpy(last, data + offset, size - offset);
    const Block m0 = Blocks::Load(last);
    const Block m1 = Blocks::Load(last + kBlockBytes);
    state.KeyStream(&z0, &z1);
    Blocks::Store(Blocks::Xor(m0, z0), last);
    Blocks::Store(Blocks::Xor(m1, z1), last + kBlockBytes);
    std::memcpy(data + offset, last, size - offset);
    state.Update(m0, m1);
  }
  state.Finish(size, tag);
}

// In place; writes the tag that an authentic message would carry.
template <class Blocks>
ALOS_AEGIS_TARGET void Decrypt(const std::uint8_t* key, const std::uint8_t* nonce,
                               std::uint8_t* data, std::size_t size, std::uint8_t* tag) {
  using Block = typename Blocks::Block;
  State<Blocks> state(key, nonce);
  Block z0, z1;
  std::size_t offset = 0;
  for (; size - offset >= kRateBytes; offset += kRateBytes) {
    state.KeyStream(&z0, &z1);
    const Block m0 = Blocks::Xor(Blocks::Load(data + offset), z0);
    const Block m1 = Blocks::Xor(Blocks::Load(data + offset + kBlockBytes), z1);
    Blocks::Store(m0, data + offset);
    Blocks::Store(m1, data + offset + kBlockBytes);
    state.Update(m0, m1);
  }
  if (offset < size) {
    const std::size_t rest = size - offset;
    std::uint8_t last[kRateBytes] = {};
    std::memcpy(last, data + offset, rest);
    state.KeyStream(&z0, &z1);
    Blocks::Store(Blocks::Xor(Blocks::Load(last), z0), last);
    Blocks::Store(Blocks::Xor(Blocks::Load(last + kBlockBytes), z1), last + kBlockBytes);
    std::memset(last + rest, 0, kRateBytes - rest);  // the padding is plaintext zeros
    std::memcpy(data + offset, last, rest);
    state.Update(Blocks::Load(last), Blocks::Load(last + kBlockBytes));
  }
  state.Finish(size, tag);
}

// The two entry points of one implementation.
struct Functions {
  using Function = void (*)(const std::uint8_t* key, const std::uint8_t* nonce, std::uint8_t* data,
                            std::size_t size, std::uint8_t* tag);
  Function encrypt;
  Function decrypt;
};

inline Functions PortableFunctions() {
  return {&Encrypt<PortableBlocks>, &Decrypt<PortableBlocks>};
}

// The fastest that this machine can run.
inline Functions BestFunctions() {
#if defined(__x86_64__)
  static const bool has_aes = __builtin_cpu_supports("aes") != 0;
  if (has_aes) return {&Encrypt<AesInstructions>, &Decrypt<AesInstructions>};
#endif
  return PortableFunctions();
}

}  // namespace alos::aegis_internal

#endif  // ALOS_PLUGINS_CIPHER_AEGIS_128L_INTERNAL_AEGIS_CORE_H_
