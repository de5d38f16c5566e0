// The tiles of Intel's AMX: eight registers of 16 rows of 64 bytes, and an instruction that
// adds to 16 × 16 sums of float32 products of 16 × 32 by 32 × 16 numbers of bfloat16,
// the second in pairs: [16 pairs][16][2]. They are used where ALJAX_AMX is defined. Where
// ALJAX_EMULATED is, too, plain C++ stands in for them.

#pragma once

#if defined(ALJAX_AMX) && !defined(ALJAX_EMULATED) && !defined(__AMX_BF16__)
#error "this compiler does not know the AMX of this processor"
#endif

#include "direct_images.h"

#if defined(ALJAX_AMX) && !defined(ALJAX_EMULATED)
#define HAS_TILES
#include <immintrin.h>
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from, bytes) _tile_loadd(t, from, bytes)
#define TILE_STORE(t, to, bytes) _tile_stored(t, to, bytes)
#define TILE_DOT(sums, a, b) _tile_dpbf16ps(sums, a, b)
#else
#include <cstring>
#define TILE_ZERO(t) std::memset(emulated[t], 0, 1024)
#define TILE_LOAD(t, from, bytes) emulated_move(emulated[t], 64, from, bytes)
#define TILE_STORE(t, to, bytes) emulated_move(to, bytes, emulated[t], 64)
#define TILE_DOT(sums, a, b) emulated_dot(sums, a, b)

namespace {

thread_local char emulated[8][1024];

void emulated_move(void* to, int64_t to_step, const void* from, int64_t from_step) {
  for (int i = 0; i < 16; ++i) {
    std::memcpy((char*)to + i * to_step, (const char*)from + i * from_step, 64);
  }
}

float widened(Bfloat16 x) {
  const uint32_t bits = uint32_t(x) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void emulated_dot(int sums, int a, int b) {
  float* to = (float*)emulated[sums];
  const Bfloat16 *x = (Bfloat16*)emulated[a], *y = (Bfloat16*)emulated[b];
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < 32; ++k) {
      const float left = widened(x[m * 32 + k]);
      for (int n = 0; n < 16; ++n) {
        to[m * 16 + n] += left * widened(y[(k / 2 * 16 + n) * 2 + k % 2]);
      }
    }
  }
}

}  // namespace
#endif

namespace {

// Rows of a tile, or sums in one; channels that a tile of products takes at once.
constexpr int64_t ROWS = 16, DEEP = 32;
// Channels, and pairs of tiles, that are multiplied before the sums are put away: what is
// read again then is in the cache still.
constexpr int64_t AT_ONCE = 64;
constexpr size_t MEETINGS = 8;

// What was written before is in memory; compilers do not know that a tile reads it.
void settle() { __asm__ volatile("" ::: "memory"); }

// Whether products of bfloat16 are computed in tiles: 0, 1, or 2 where these are emulated.
#if defined(HAS_TILES)
constexpr int TILES = 1;
#elif defined(ALJAX_AMX)
constexpr int TILES = 2;
#else
constexpr int TILES = 0;
#endif

// Whether tiles take so many channels of numbers of type T.
template <typename T>
bool by_amx(int64_t C, int64_t F) {
  return TILES && std::is_same_v<T, Bfloat16> && C % DEEP == 0 && F % DEEP == 0;
}

// Sets up the tiles of a thread, while it lives.
class TileRegisters {
 public:
#if defined(HAS_TILES)
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
