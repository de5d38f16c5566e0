// Convolutions of bfloat16 images by the tiles of direct_tile_registers.h. What is
// multiplied is rounded to bfloat16 first, sums are of float32.
//
// The 16 rows of a tile are pixels in a row of an image or, where these are not a multiple
// of 16, the same pixel of 16 images. Loops are nested so that tiles are mostly loaded from
// the first cache.

#pragma once

#include <map>

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

// Where one element of a kernel reads, from the first output on.
struct Offset {
  int64_t row, column, tap;
};

// Outputs with the same elements of a kernel: (h, w) reads from pixel (h * step, w * step)
// of a frame on, and is pixel start + h * row + w * column of the result.
struct Grid {
  int64_t high, wide, step, start, row, column;
  std::vector<Offset> offsets;
};

// A whole layer's.
Grid grid_of(int64_t high, int64_t wide, int64_t S, int64_t stride) {
  Grid grid{high, wide, stride, 0, wide, 1, {}};
  for (int64_t t = 0; t < S * S; ++t) grid.offsets.push_back({t / S, t % S, t});
  return grid;
}

// An image of H x W in a frame.
struct Framed {
  Frame frame;
  int64_t H, W;

  int64_t pixels() const { return frame.rows * frame.columns; }
  // Whether an offset meets the image, not only zeros, in one of so many outputs of a row,
  // from (h, w) on.
  bool meets(const Grid& grid, const Offset& to, int64_t h, int64_t w,
             int64_t many) const {
    const int64_t row = h * grid.step + to.row - frame.border;
    const int64_t first = w * grid.step + to.column - frame.border;
    const int64_t last = first + (many - 1) * grid.step;
    return row >= 0 && row < H && last >= 0 && first < W;
  }
};

// Tiles that multiply the same elements of a kernel. A place is DEEP numbers of an image at
// a pixel of its frame, which has a place for each image of a tile.
struct Alike {
  struct Shift {
    int64_t places, tap;
  };
  struct Start {
    int64_t place, pixel;
  };
  std::vector<Shift> shifts;
  std::vector<Start> tiles;
};

// How a layer is cut into tiles; its grids differ in where they start, and in taps.
struct Cut {
  int64_t images;  // that a tile has: 1 or ROWS
  int64_t tiles = 0;
  std::vector<Alike> parts;

  Cut(const std::vector<Grid>& grids, const Framed& framed) : images(1) {
    for (const Grid& grid : grids) images = grid.wide % ROWS ? ROWS : images;
    std::map<std::vector<int64_t>, Alike> found;
    for (const Grid& grid : grids) {
      const int64_t across = images == 1 ? ROWS : 1;
      for (int64_t h = 0; h < grid.high; ++h) {
        for (int64_t w = 0; w < grid.wide; w += across) {
          add(found, grid, framed, h, w, across);
        }
      }
    }
    for (auto& [taps, alike] : found) {
      if (alike.tiles.size() % 2) alike.tiles.push_back(alike.tiles.back());
      tiles += alike.tiles.size();
      parts.push_back(std::move(alike));
    }
  }

 private:
  void add(std::map<std::vector<int64_t>, Alike>& found, const Grid& grid,
           const Framed& framed, int64_t h, int64_t w, int64_t across) {
    const int64_t columns = framed.frame.columns;
    std::vector<int64_t> taps;
    std::vector<Alike::Shift> shifts;
    for (const Offset& to : grid.offsets) {
      if (!framed.meets(grid, to, h, w, across)) continue;
      taps.push_back(to.tap);
      shifts.push_back({(to.row * columns + to.column) * images, to.tap});
    }
    Alike& alike = found[taps];
    alike.shifts = shifts;
    alike.tiles.push_back({(h * columns + w) * grid.step * images,
                           grid.start + h * grid.row + w * grid.column});
  }
};

// Adds to sums [2 tiles][16][DEEP], or sets them, the products of some channels. Of what is
// read, `bytes` lie between rows of a tile, `between` numbers between DEEP channels and the
// next.
void multiply(const Bfloat16* one, const Bfloat16* two, int64_t bytes, int64_t channels,
              int64_t between, const std::vector<Alike::Shift>& shifts,
              const Bfloat16* weights, int64_t taps, int64_t C, float* sums, bool more) {
  const int64_t next = taps * C * ROWS;  // where the weights of 16 more outputs begin
  const int64_t many = shifts.size();
  add_products(sums, DEEP, more, channels / DEEP * many, [&](int64_t k) {
    const int64_t block = k / many;
    const Alike::Shift& shift = shifts[k % many];
    const int64_t from = block * between + shift.places * DEEP;
    const Bfloat16* of_tap = weights + (shift.tap * C + block * DEEP) * ROWS;
    return Factors{one + from, two + from, bytes, of_tap, of_tap + next, LINE};
  });
}

// Convolves images by grids; see convolve_tiles for read, place and done. pixels: of a
// result; past: whether results go past the cache.
template <typename Read, typename Place, typename Done>
void convolve_amx(ffi::ThreadPool& pool, int64_t B, int64_t pixels, const Framed& framed,
                  int64_t C, int64_t F, const std::vector<Grid>& grids, int64_t taps,
                  const Numbers& weights, Read read, Place place, bool past, Done done) {
  const Cut cut(grids, framed);
  const bool alone = cut.images == 1;
  const int64_t places = framed.pixels() * cut.images, row = alone ? grids[0].step : 1;
  const int64_t apart = (alone ? grids[0].column : pixels) * F;  // results of a tile
  const int64_t group = std::max<int64_t>(1, 2 * MORE / (cut.images * pixels)) * cut.images;
  in_groups(pool, B, 1, group, [&](int64_t first, int64_t some) {
    static thread_local Numbers value, rounded, of_tiles;
    const int64_t units = (some + cut.images - 1) / cut.images;
    Bfloat16* frames = halves(rounded, units * places * C);
    for (int64_t i = 0; i < some; ++i) {
      read(value, first + i, framed.frame);
      const float* from = value.data();
      Bfloat16* to = frames + (i / cut.images * places * C + i % cut.images * DEEP);
      for (int64_t p = 0; p < framed.pixels(); ++p, to += cut.images * DEEP) {
        for (int64_t c = 0; c < C; c += DEEP, from += DEEP) {
          copy(from, DEEP, to + c * places);
        }
      }
    }
    const TileRegisters set_up;
    settle();
    float* sums = of_tiles.room(cut.tiles * ROWS * DEEP);
    auto* result = place(first, some * pixels * F);
    const auto* packed = reinterpret_cast<const Bfloat16*>(weights.data());
    for (int64_t f = 0; f < F; f += DEEP, packed += DEEP * taps * C) {
      for (int64_t unit = 0; unit < units; ++unit) {
        for (int64_t c = 0; c < C; c += AT_ONCE) {
          const Bfloat16* from = frames + (unit * C + c) * places;
          float* to = sums;
          for (const Alike& alike : cut.parts) {
            for (size_t i = 0; i < alike.tiles.size(); i += 2, to += 2 * ROWS * DEEP) {
              multiply(from + alike.tiles[i].place * DEEP,
                       from + alike.tiles[i + 1].place * DEEP, 2 * row * DEEP,
                       std::min(AT_ONCE, C - c), places * DEEP, alike.shifts,
                       packed + c * ROWS, taps, C, to, c > 0);
            }
          }
        }
        settle();
        const int64_t rows = alone ? ROWS : std::min(ROWS, some - unit * ROWS);
        const float* from = sums;
        for (const Alike& alike : cut.parts) {
          for (const Alike::Start& tile : alike.tiles) {
            auto* to = result + (unit * cut.images * pixels + tile.pixel) * F + f;
            for (int64_t p = 0; p < rows; ++p, to += apart) {
              copy(from + p * DEEP, DEEP, to, past);
            }
            from += ROWS * DEEP;
          }
        }
      }
    }
    for (int64_t i = 0; i < some; ++i) done(first + i, result + i * pixels * F);
  });
}

}  // namespace
