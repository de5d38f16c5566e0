// Sums of products of bfloat16, by the tiles of Intel's AMX: eight registers of 16 rows of
// 64 bytes, and an instruction that adds to 16 × 16 sums of float32 products of 16 × 32 by
// 32 × 16 numbers of bfloat16, the second in pairs: [16 pairs][16][2].
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
// Channels, and pairs of tiles, that are multiplied before the sums are put away: what is
// read again then is in the cache still.
constexpr int64_t AT_ONCE = 64;
constexpr size_t MEETINGS = 8;

// Two tiles of factors, whose rows begin so many bytes apart.
struct Factors {
  const void *first, *second;
  int64_t bytes;
};

#if ALJAX_AMX == 1
// DEEP × DEEP sums, in four tiles.
class Sums {
 public:
  void clear() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }

  void load(const float* upper, int64_t step) {
    const float* lower = upper + ROWS * step;
    _tile_loadd(0, upper, 4 * step);
    _tile_loadd(1, upper + ROWS, 4 * step);
    _tile_loadd(2, lower, 4 * step);
    _tile_loadd(3, lower + ROWS, 4 * step);
  }

  void add(const Factors& rows, const Factors& pairs) {
    _tile_loadd(4, rows.first, rows.bytes);
    _tile_loadd(6, pairs.first, pairs.bytes);
    _tile_loadd(7, pairs.second, pairs.bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, rows.second, rows.bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }

  void store(float* upper, int64_t step) const {
    float* lower = upper + ROWS * step;
    _tile_stored(0, upper, 4 * step);
    _tile_stored(1, upper + ROWS, 4 * step);
    _tile_stored(2, lower, 4 * step);
    _tile_stored(3, lower + ROWS, 4 * step);
  }
};
#else
// The same in memory.
class Sums {
 public:
  void clear() { std::memset(sums_, 0, sizeof sums_); }

  void load(const float* from, int64_t step) {
    for (int m = 0; m < DEEP; ++m) std::copy_n(from + m * step, DEEP, sums_[m]);
  }

  void add(const Factors& rows, const Factors& pairs) {
    for (int m = 0; m < ROWS; m += SOME) {
      add_some(sums_ + m, part(rows.first, m, rows.bytes), rows.bytes, pairs);
      add_some(sums_ + ROWS + m, part(rows.second, m, rows.bytes), rows.bytes, pairs);
    }
  }

  void store(float* to, int64_t step) const {
    for (int m = 0; m < DEEP; ++m) std::copy_n(sums_[m], DEEP, to + m * step);
  }

 private:
  static constexpr int SOME = 8;  // rows

  // Row m, or one number of a row: two of bfloat16.
  static const char* part(const void* from, int64_t m, int64_t bytes) {
    return static_cast<const char*>(from) + m * bytes;
  }

  static uint32_t pair(const char* row, int i) {
    uint32_t both;
    std::memcpy(&both, row + 4 * i, 4);
    return both;
  }

#if ALJAX_AMX == 2
  static void add_some(float (*to)[DEEP], const char* row, int64_t bytes,
                       const Factors& pairs) {
    __m512 left[SOME], right[SOME];
#pragma GCC unroll 8
    for (int m = 0; m < SOME; ++m) {
      left[m] = _mm512_load_ps(to[m]);
      right[m] = _mm512_load_ps(to[m] + ROWS);
    }
    for (int i = 0; i < ROWS; ++i) {
      const auto first = (__m512bh)_mm512_loadu_si512(part(pairs.first, i, pairs.bytes));
      const auto second = (__m512bh)_mm512_loadu_si512(part(pairs.second, i, pairs.bytes));
#pragma GCC unroll 8
      for (int m = 0; m < SOME; ++m) {
        const auto x = (__m512bh)_mm512_set1_epi32(pair(row + m * bytes, i));
        left[m] = _mm512_dpbf16_ps(left[m], x, first);
        right[m] = _mm512_dpbf16_ps(right[m], x, second);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < SOME; ++m) {
      _mm512_store_ps(to[m], left[m]);
      _mm512_store_ps(to[m] + ROWS, right[m]);
    }
  }
#else
  static void add_some(float (*to)[DEEP], const char* row, int64_t bytes,
                       const Factors& pairs) {
    for (int m = 0; m < SOME; ++m) {
      for (int i = 0; i < ROWS; ++i) {
        const uint32_t x = pair(row + m * bytes, i);
        for (int n = 0; n < DEEP; ++n) {
          const void* half = n < ROWS ? pairs.first : pairs.second;
          const uint32_t y = pair(part(half, i, pairs.bytes), n % ROWS);
          to[m][n] += number(x << 16) * number(y << 16);
          to[m][n] += number(x & 0xffff0000) * number(y & 0xffff0000);
        }
      }
    }
  }

  static float number(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
#endif

  alignas(LINE) float sums_[DEEP][DEEP];
};
#endif

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
