// Convolutions of bfloat16 images in the tiles of direct_tile_registers.h. What is
// multiplied is rounded to bfloat16 first, sums are of float32.
//
// Images are read in a frame, pixel by pixel: outputs that lie a constant step apart in
// it fill the rows of a tile, those between two rows of an image for nothing.

#pragma once

#include "direct_tile_registers.h"

namespace {

// A kernel [taps, C, F] in the order in which it is read: [F / 16][taps][C / 32] tiles of
// [16 pairs of C][16 of F][2].
Numbers packed_pairs(ffi::ThreadPool& pool, const float* kernel, int64_t taps, int64_t C,
                     int64_t F) {
  Numbers result(taps * C * F / 2);
  in_parallel(pool, F / ROWS, [&](int64_t block) {
    auto* to = reinterpret_cast<uint32_t*>(result.data()) + block * taps * C / 2 * ROWS;
    for (int64_t row = 0; row < taps * C; row += 2, to += ROWS) {
      const float* from = kernel + row * F + block * ROWS;
      store_pairs(from, from + F, ROWS, to);
    }
  });
  return result;
}

// What one element of a kernel reads: so many pixels of the frame further on.
struct Shift {
  int64_t pixels, tap;
};

// Outputs that are computed alike: output (h, w) reads from pixel (h * columns + w) *
// step of a frame on, and is pixel start + h * row + w * column of the result.
struct Grid {
  int64_t high, wide, columns, step;
  int64_t start, row, column;
  std::vector<Shift> shifts;
};

// A whole layer's.
Grid grid_of(int64_t high, int64_t wide, int64_t columns, int64_t S, int64_t stride) {
  Grid grid{high, wide, columns, stride, 0, wide, 1, {}};
  for (int64_t t = 0; t < S * S; ++t) {
    grid.shifts.push_back({t / S * columns + t % S, t});
  }
  return grid;
}

// Sums [2 tiles of pixels][2 tiles of F] of all products, into tiles 0 to 3.
void multiply(const Bfloat16* one, const Bfloat16* two, int64_t step, const Grid& grid,
              const Bfloat16* weights, int64_t taps, int64_t C) {
  const int64_t next = taps * C * ROWS;  // where the weights of 16 more outputs begin
  settle();
  TILE_ZERO(0);
  TILE_ZERO(1);
  TILE_ZERO(2);
  TILE_ZERO(3);
  for (const Shift& shift : grid.shifts) {
    const int64_t from = shift.pixels * C;
    const Bfloat16* of_tap = weights + shift.tap * C * ROWS;
    for (int64_t c = 0; c < C; c += DEEP) {
      TILE_LOAD(4, one + from + c, 2 * step);
      TILE_LOAD(6, of_tap + c * ROWS, 64);
      TILE_LOAD(7, of_tap + next + c * ROWS, 64);
      TILE_DOT(0, 4, 6);
      TILE_DOT(1, 4, 7);
      TILE_LOAD(5, two + from + c, 2 * step);
      TILE_DOT(2, 5, 6);
      TILE_DOT(3, 5, 7);
    }
  }
}

// Tiles of pixels of a grid, each the first of its 16: within rows, if they fill these.
std::vector<int64_t> tiles_of(const Grid& grid) {
  std::vector<int64_t> first;
  if (grid.wide % ROWS == 0) {
    for (int64_t h = 0; h < grid.high; ++h) {
      for (int64_t w = 0; w < grid.wide; w += ROWS) first.push_back(h * grid.columns + w);
    }
  } else {
    const int64_t all = (grid.high - 1) * grid.columns + grid.wide;
    for (int64_t q = 0; q < all; q += ROWS) first.push_back(q);
  }
  if (first.size() % 2) first.push_back(first.back());  // the last once more
  return first;
}

// Computes DEEP channels of the outputs of a grid; result is that of the first channel.
void convolve_grid(const Bfloat16* value, const Grid& grid,
                   const std::vector<int64_t>& tiles, const Bfloat16* weights,
                   int64_t taps, int64_t C, int64_t F, float* result) {
  alignas(64) float sums[2 * ROWS][DEEP];
  const int64_t step = grid.step * C;
  for (size_t i = 0; i < tiles.size(); i += 2) {
    multiply(value + tiles[i] * step, value + tiles[i + 1] * step, step, grid, weights,
             taps, C);
    TILE_STORE(0, sums[0], 4 * DEEP);
    TILE_STORE(1, sums[0] + ROWS, 4 * DEEP);
    TILE_STORE(2, sums[ROWS], 4 * DEEP);
    TILE_STORE(3, sums[ROWS] + ROWS, 4 * DEEP);
    for (int64_t p = 0, h, w; p < 2 * ROWS; ++p, ++w) {
      if (p % ROWS == 0) {
        h = tiles[i + p / ROWS] / grid.columns;
        w = tiles[i + p / ROWS] % grid.columns;
      }
      if (w == grid.columns) w = 0, ++h;
      if (h >= grid.high || w >= grid.wide) continue;
      float* to = result + (grid.start + h * grid.row + w * grid.column) * F;
      for (int64_t f = 0; f < DEEP; f += LANES) at(to + f) = at(sums[p] + f);
    }
  }
}

// Convolves images by grids; see convolve_tiles for read, place and done. pixels: of a
// result.
template <typename Read, typename Place, typename Done>
void convolve_amx(ffi::ThreadPool& pool, int64_t B, int64_t pixels, const Frame& frame,
                  int64_t C, int64_t F, const std::vector<Grid>& grids, int64_t taps,
                  const Numbers& weights, Read read, Place place, Done done) {
  std::vector<std::vector<int64_t>> tiles;
  for (const Grid& grid : grids) tiles.push_back(tiles_of(grid));
  const int64_t whole = frame.rows * frame.columns * C;
  // Tiles may end after the frame.
  const int64_t beyond = ROWS * 2 * C;
  in_groups(pool, B, pixels, MORE, [&](int64_t first, int64_t some) {
    static thread_local Numbers value;
    static thread_local std::vector<Numbers> rounded(MORE);
    const TileRegisters set_up;
    for (int64_t i = 0; i < some; ++i) {
      read(value, first + i, frame);
      Bfloat16* to = halves(rounded[i], whole + beyond);
      copy(value.data(), whole, to);
      std::fill_n(to + whole, beyond, 0);
    }
    float* result = place(first, some * pixels * F);
    const auto* packed = reinterpret_cast<const Bfloat16*>(weights.data());
    for (int64_t f = 0; f < F; f += DEEP) {
      for (int64_t i = 0; i < some; ++i) {
        const Bfloat16* from = halves(rounded[i], whole + beyond);
        for (size_t g = 0; g < grids.size(); ++g) {
          convolve_grid(from, grids[g], tiles[g], packed + f * taps * C, taps, C, F,
                        result + i * pixels * F + f);
        }
      }
    }
    for (int64_t i = 0; i < some; ++i) done(first + i, result + i * pixels * F);
  });
}

// ---- the gradient of a kernel -------------------------------------------------------

// Pixels of a frame as columns, [step][C][length] with the pixels first, first + step …
// of each phase, rounded; zeros beyond the frame.
void turn(const float* value, int64_t pixels, int64_t C, int64_t step, int64_t length,
          uint32_t* to) {
  static thread_local Numbers none;
  std::fill_n(none.room(C), C, 0.0f);
  auto pixel = [&](int64_t i) { return i < pixels ? value + i * C : none.data(); };
  uint32_t pairs[ROWS][ROWS];
  for (int64_t phase = 0; phase < step; ++phase, to += C * length / 2) {
    for (int64_t q = 0; q < length; q += 2 * ROWS) {
      for (int64_t c = 0; c < C; c += ROWS) {
        for (int64_t i = 0; i < ROWS; ++i) {
          const int64_t at_pixel = (q + 2 * i) * step + phase;
          store_pairs(pixel(at_pixel) + c, pixel(at_pixel + step) + c, ROWS, pairs[i]);
        }
        for (int64_t j = 0; j < ROWS; ++j) {
          uint32_t* row = to + ((c + j) * length + q) / 2;
          for (int64_t i = 0; i < ROWS; ++i) row[i] = pairs[i][j];
        }
      }
    }
  }
}

// An image that the gradient of a kernel reads, and the gradient of its result.
struct Turned {
  Numbers value, pulled;  // [step][C][length]; [length / 2][F] pairs of pixels
};

// Adds to sums [C, F] of one tap what images give, whose pixels from `from` on meet it.
void add_products(float* sums, int64_t C, int64_t F, const std::vector<Turned>& images,
                  int64_t many, int64_t from, int64_t length, int64_t pixels) {
  settle();
  for (int64_t c = 0; c < C; c += DEEP) {
    for (int64_t f = 0; f < F; f += DEEP) {
      float *upper = sums + c * F + f, *lower = upper + ROWS * F;
      TILE_LOAD(0, upper, 4 * F);
      TILE_LOAD(1, upper + ROWS, 4 * F);
      TILE_LOAD(2, lower, 4 * F);
      TILE_LOAD(3, lower + ROWS, 4 * F);
      for (int64_t i = 0; i < many; ++i) {
        const auto* x = reinterpret_cast<const Bfloat16*>(images[i].value.data());
        const auto* g = reinterpret_cast<const uint32_t*>(images[i].pulled.data());
        for (int64_t q = 0; q < pixels; q += DEEP) {
          const Bfloat16* seen = x + from + c * length + q;
          TILE_LOAD(4, seen, 2 * length);
          TILE_LOAD(5, seen + ROWS * length, 2 * length);
          TILE_LOAD(6, g + q / 2 * F + f, 4 * F);
          TILE_LOAD(7, g + q / 2 * F + f + ROWS, 4 * F);
          TILE_DOT(0, 4, 6);
          TILE_DOT(1, 4, 7);
          TILE_DOT(2, 5, 6);
          TILE_DOT(3, 5, 7);
        }
      }
      TILE_STORE(0, upper, 4 * F);
      TILE_STORE(1, upper + ROWS, 4 * F);
      TILE_STORE(2, lower, 4 * F);
      TILE_STORE(3, lower + ROWS, 4 * F);
    }
  }
}

// Adds to sums [S * S, C, F] what some images in a frame give, whose results' gradients
// lie `high` rows down in one of as many columns.
void add_kernel_sums(float* sums, const std::vector<Numbers>& values,
                     const std::vector<Numbers>& pulled, int64_t many,
                     const Frame& frame, int64_t high, int64_t C, int64_t F, int64_t S,
                     int64_t step) {
  static thread_local std::vector<Turned> images(MORE);
  static thread_local Numbers none;
  const TileRegisters set_up;
  auto whole = [](int64_t n) { return (n + DEEP - 1) / DEEP * DEEP; };
  const int64_t real = high * frame.columns, pixels = whole(real);
  const int64_t length = whole(pixels + (S - 1) * (frame.columns + 1) / step + 1);
  std::fill_n(none.room(F), F, 0.0f);
  for (int64_t i = 0; i < many; ++i) {
    turn(values[i].data(), frame.rows * frame.columns, C, step, length,
         reinterpret_cast<uint32_t*>(images[i].value.room(step * C * length / 2)));
    auto* to = reinterpret_cast<uint32_t*>(images[i].pulled.room(pixels * F / 2));
    auto row = [&](int64_t q) { return q < real ? pulled[i].data() + q * F : none.data(); };
    for (int64_t q = 0; q < pixels; q += 2) {
      store_pairs(row(q), row(q + 1), F, to + q / 2 * F);
    }
  }
  for (int64_t t = 0; t < S * S; ++t) {
    const int64_t shift = t / S * frame.columns + t % S;
    add_products(sums + t * C * F, C, F, images, many,
                 shift % step * C * length + shift / step, length, pixels);
  }
}

}  // namespace
