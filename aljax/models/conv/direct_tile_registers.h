// Sums of products of bfloat16, as the tiles of Intel's AMX add them up: eight registers of
// 16 rows of 64 bytes, and an instruction that adds to 16 × 16 sums of float32 products of
// 16 × 32 by 32 × 16 numbers of bfloat16, the second in pairs: [16 pairs][16][2].
//
// ALJAX_AMX says what computes them: 0 nothing, 1 AMX, 2 products of pairs by AVX-512, 3
// plain C++. kernels.py chooses.

#pragma once

#include <cstring>

#include "direct_images.h"

#if !defined(ALJAX_AMX)
#define ALJAX_AMX 0
#endif
#if ALJAX_AMX == 1 && !defined(__AMX_BF16__)
#error "this compiler does not know the AMX of this processor"
#endif
#if ALJAX_AMX == 2 && !defined(__AVX512BF16__)
#error "this compiler does not know this processor's products of bfloat16"
#endif

namespace {

// Rows of a tile, or sums in one; channels that a tile of products takes at once.
constexpr int64_t ROWS = 16, DEEP = 32;
// Channels, and pairs of tiles, that are multiplied before the sums are put away: what AMX
// reads again then is in the cache still. AVX-512 is slower, and waits less for others.
constexpr int64_t AT_ONCE = ALJAX_AMX == 2 ? 4096 : 64;
constexpr size_t MEETINGS = 8;

#if ALJAX_AMX == 2
// Sums of 16 products of pairs.
struct PairSums {
  __m512 sums;
  void load(const float* from) { sums = _mm512_loadu_ps(from); }
  void store(float* to) const { _mm512_storeu_ps(to, sums); }
  void add(uint32_t pair, const void* pairs) {
    sums = _mm512_dpbf16_ps(sums, (__m512bh)_mm512_set1_epi32(pair),
                            (__m512bh)_mm512_loadu_si512(pairs));
  }
};
#else
struct PairSums {
  float sums[ROWS];
  void load(const float* from) { std::copy_n(from, ROWS, sums); }
  void store(float* to) const { std::copy_n(sums, ROWS, to); }
  void add(uint32_t pair, const void* pairs) {
    auto number = [](uint32_t bits) {
      float value;
      std::memcpy(&value, &bits, 4);
      return value;
    };
    for (int n = 0; n < ROWS; ++n) {
      uint32_t other;
      std::memcpy(&other, static_cast<const char*>(pairs) + 4 * n, 4);
      sums[n] += number(pair << 16) * number(other << 16);
      sums[n] += number(pair & 0xffff0000) * number(other & 0xffff0000);
    }
  }
};
#endif

// What is multiplied at a time: rows [2 × 16][DEEP] by columns in pairs, [16][16][2] twice.
// Rows of each begin so many bytes apart.
struct Factors {
  const Bfloat16 *upper, *lower;
  int64_t of_row;
  const void *left, *right;
  int64_t of_pairs;
};

// Adds to DEEP × DEEP sums, whose rows begin `step` apart, or sets them: products of
// factors(0) … factors(count - 1).
template <typename Get>
void add_products(float* sums, int64_t step, bool more, int64_t count, Get factors) {
#if ALJAX_AMX == 1
  float* low = sums + ROWS * step;
  if (more) {
    _tile_loadd(0, sums, 4 * step);
    _tile_loadd(1, sums + ROWS, 4 * step);
    _tile_loadd(2, low, 4 * step);
    _tile_loadd(3, low + ROWS, 4 * step);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t k = 0; k < count; ++k) {
    const Factors now = factors(k);
    _tile_loadd(4, now.upper, now.of_row);
    _tile_loadd(6, now.left, now.of_pairs);
    _tile_loadd(7, now.right, now.of_pairs);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, now.lower, now.of_row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 4 * step);
  _tile_stored(1, sums + ROWS, 4 * step);
  _tile_stored(2, low, 4 * step);
  _tile_stored(3, low + ROWS, 4 * step);
#else
  auto at_byte = [](const void* from, int64_t byte) {
    return static_cast<const char*>(from) + byte;
  };
  auto pair_at = [&](const void* from, int64_t byte) {
    uint32_t pair;
    std::memcpy(&pair, at_byte(from, byte), 4);
    return pair;
  };
  constexpr int SOME = 8;  // rows whose sums fill 16 registers
  for (int first = 0; first < DEEP; first += SOME, sums += SOME * step) {
    PairSums found[SOME][2] = {};
#pragma GCC unroll 8
    for (int m = 0; more && m < SOME; ++m) {
      found[m][0].load(sums + m * step);
      found[m][1].load(sums + m * step + ROWS);
    }
    for (int64_t k = 0; k < count; ++k) {
      const Factors now = factors(k);
      const void* row = first < ROWS ? now.upper : now.lower;
      row = at_byte(row, first % ROWS * now.of_row);
      for (int i = 0; i < ROWS; ++i) {
        const void *left = at_byte(now.left, i * now.of_pairs);
        const void *right = at_byte(now.right, i * now.of_pairs);
#pragma GCC unroll 8
        for (int m = 0; m < SOME; ++m) {
          const uint32_t pair = pair_at(row, m * now.of_row + 4 * i);
          found[m][0].add(pair, left);
          found[m][1].add(pair, right);
        }
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < SOME; ++m) {
      found[m][0].store(sums + m * step);
      found[m][1].store(sums + m * step + ROWS);
    }
  }
#endif
}

// What was written before is in memory; compilers do not know that a tile reads it.
void settle() { __asm__ volatile("" ::: "memory"); }

// Sets up the tiles of a thread, while it lives.
class TileRegisters {
 public:
#if ALJAX_AMX == 1
  TileRegisters() {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } all;
    static_assert(sizeof all == 64);
    __asm__ volatile("" : : "r"(&all) : "memory");
    _tile_loadconfig(&all);
  }
  ~TileRegisters() { _tile_release(); }
#endif
};

Bfloat16* halves(Numbers& memory, int64_t n) {
  return reinterpret_cast<Bfloat16*>(memory.room((n + 1) / 2));
}

// Two rows of numbers rounded, as pairs: one of each in 32 bits.
void store_pairs(const float* first, const float* second, int64_t n, uint32_t* to) {
  for (int64_t i = 0; i < n; i += LANES) {
    Bfloat16 low[LANES], high[LANES];
    store(low, at(first + i));
    store(high, at(second + i));
    for (int j = 0; j < LANES; ++j) to[i + j] = low[j] | uint32_t(high[j]) << 16;
  }
}

}  // namespace
