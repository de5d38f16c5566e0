// Winograd's F(4x4, 3x3), as winograd.py has it: images are cut into tiles of 4x4 outputs,
// each of which is seen at 36 points, and a point of all tiles is one matrix product.

#pragma once

#include "direct_images.h"

namespace {

constexpr int64_t TILE = 4, SIDE = 6, POINTS = SIDE * SIDE;
// Tiles that one pass over a kernel's gradient adds up; numbers of all passes' tiles.
constexpr int64_t PASS = 128, PASS_NUMBERS = 1 << 21;

// Whether a layer is one for tiles.
bool by_tiles(int64_t size, int64_t stride, int64_t C) {
  return size == 3 && stride == 1 && C % WHOLE == 0;
}

// How an image of high x wide outputs is cut.
struct Tiles {
  int64_t high, wide, count;

  Tiles(int64_t high, int64_t wide)
      : high((high + TILE - 1) / TILE),
        wide((wide + TILE - 1) / TILE),
        count(this->high * this->wide) {}

  // What the tiles of an image see: a border of zeros, and zeros where they overhang.
  Frame frame(int64_t border) const {
    return Frame::around(TILE * high, TILE * wide, border);
  }
};

// Tiles at 36 points, [36][blocks of channels][tiles][a block]; points lie a little apart,
// lest they share a place in the cache.
class Points {
 public:
  const int64_t tiles, block, step;

  Points(Numbers& memory, int64_t tiles, int64_t C)
      : tiles(tiles),
        block(LANES * registers(C)),
        step(tiles * C + LANES),
        numbers_(memory.room(POINTS * step)) {}

  // A tile's channels from c on to the end of their block, at the first point.
  float* find(int64_t tile, int64_t c) const {
    return numbers_ + (c - c % block) * tiles + tile * block + c % block;
  }

 private:
  float* numbers_;
};

// B' d, A' m and A y of winograd.py, along a line of six or four.
void to_points(Lanes (&d)[SIDE]) {
  const Lanes p = d[4] - 4 * d[2], q = d[3] - 4 * d[1];
  const Lanes r = d[4] - d[2], s = 2 * (d[3] - d[1]);
  d[0] = 4 * d[0] - 5 * d[2] + d[4];
  d[5] = 4 * d[1] - 5 * d[3] + d[5];
  d[1] = p + q, d[2] = p - q, d[3] = r + s, d[4] = r - s;
}

void from_points(Lanes (&m)[SIDE]) {
  const Lanes p = m[1] + m[2], q = m[1] - m[2], r = m[3] + m[4], s = m[3] - m[4];
  m[0] = m[0] + p + r;
  m[1] = q + 2 * s, m[2] = p + 4 * r, m[3] = q + 8 * s + m[5];
}

void from_points_transposed(Lanes (&y)[SIDE]) {
  const Lanes p = y[0] + y[2], q = y[1] + y[3];
  const Lanes r = y[0] + 4 * y[2], s = 2 * y[1] + 8 * y[3];
  y[5] = y[3];
  y[1] = p + q, y[2] = p - q, y[3] = r + s, y[4] = r - s;
}

// A tile of LANES channels: lines of `from` numbers become `to`, across and then down.
template <int64_t from, int64_t to, typename Map, typename Read, typename Write>
inline __attribute__((always_inline)) void both_ways(Map map, Read read, Write write) {
  Lanes across[to][SIDE];
#pragma GCC unroll 6
  for (int64_t i = 0; i < from; ++i) {
    Lanes line[SIDE];
#pragma GCC unroll 6
    for (int64_t j = 0; j < from; ++j) line[j] = read(i, j);
    map(line);
#pragma GCC unroll 6
    for (int64_t j = 0; j < to; ++j) across[j][i] = line[j];
  }
#pragma GCC unroll 6
  for (int64_t j = 0; j < to; ++j) {
    map(across[j]);
#pragma GCC unroll 6
    for (int64_t i = 0; i < to; ++i) write(i, j, across[j][i]);
  }
}

// Calls f(tile, row, column, c) for every tile of an image and LANES of its C channels.
template <typename F>
void each_tile(const Tiles& tiles, int64_t C, F f) {
  for (int64_t h = 0, tile = 0; h < tiles.high; ++h) {
    for (int64_t w = 0; w < tiles.wide; ++w, ++tile) {
      for (int64_t c = 0; c < C; c += LANES) f(tile, TILE * h, TILE * w, c);
    }
  }
}

// B' x B: an image with a border of 1 to points, from tile `first` on.
void expand(const float* x, const Tiles& tiles, int64_t C, const Points& v,
            int64_t first) {
  const int64_t across = tiles.frame(1).columns * C;
  each_tile(tiles, C, [&](int64_t tile, int64_t h, int64_t w, int64_t c) {
    const float* from = x + h * across + w * C + c;
    float* to = v.find(first + tile, c);
    both_ways<SIDE, SIDE>(
        to_points, [&](int64_t i, int64_t j) { return at(from + i * across + j * C); },
        [&](int64_t i, int64_t j, Lanes x) { at(to + (i * SIDE + j) * v.step) = x; });
  });
}

// A' m A: points to an image of high x wide outputs, perhaps past the cache.
void reduce(const Points& m, int64_t first, const Tiles& tiles, int64_t F, float* y,
            int64_t high, int64_t wide, bool past) {
  each_tile(tiles, F, [&](int64_t tile, int64_t h, int64_t w, int64_t f) {
    const float* from = m.find(first + tile, f);
    float* to = y + (h * wide + w) * F + f;
    const int64_t rows = high - h, columns = wide - w;
    both_ways<SIDE, TILE>(
        from_points,
        [&](int64_t i, int64_t j) { return at(from + (i * SIDE + j) * m.step); },
        [&](int64_t i, int64_t j, Lanes v) {
          if (i < rows && j < columns) put(to + (i * wide + j) * F, v, past);
        });
  });
}

// A g A', the transpose of `reduce`: an image without a border to points.
void expand_gradient(const float* g, const Tiles& tiles, int64_t F, const Points& m,
                     int64_t first) {
  const int64_t across = tiles.frame(0).columns * F;
  each_tile(tiles, F, [&](int64_t tile, int64_t h, int64_t w, int64_t f) {
    const float* from = g + h * across + w * F + f;
    float* to = m.find(first + tile, f);
    both_ways<TILE, SIDE>(
        from_points_transposed,
        [&](int64_t i, int64_t j) { return at(from + i * across + j * F); },
        [&](int64_t i, int64_t j, Lanes x) { at(to + (i * SIDE + j) * m.step) = x; });
  });
}

constexpr float G[SIDE][3] = {{1 / 4.0f, 0, 0},
                              {-1 / 6.0f, -1 / 6.0f, -1 / 6.0f},
                              {-1 / 6.0f, 1 / 6.0f, -1 / 6.0f},
                              {1 / 24.0f, 1 / 12.0f, 1 / 6.0f},
                              {1 / 24.0f, -1 / 12.0f, 1 / 6.0f},
                              {0, 0, 1}};

// A kernel at 36 points, [blocks of F][C][a block] each, or its gradient, [C][F] each.
struct KernelPoints {
  const int64_t step;
  Numbers numbers;

  KernelPoints(int64_t C, int64_t F) : step(C * F + LANES), numbers(POINTS * step) {}
  float* point(int64_t p) const { return numbers.data() + p * step; }
};

// G w G' of a kernel [9, C, F].
KernelPoints kernel_points(ffi::ThreadPool& pool, const float* kernel, int64_t C,
                           int64_t F) {
  const int64_t block = LANES * registers(F);
  KernelPoints points(C, F);
  in_parallel(pool, C, [&](int64_t c) {
    for (int64_t f = 0; f < F; f += LANES) {
      float* to = points.point(0) + (f - f % block) * C + c * block + f % block;
      Lanes rows[SIDE][3];
      for (int64_t j = 0; j < 3; ++j) {
        Lanes w[3];
        for (int64_t i = 0; i < 3; ++i) w[i] = at(kernel + ((3 * i + j) * C + c) * F + f);
        for (int64_t p = 0; p < SIDE; ++p) {
          rows[p][j] = G[p][0] * w[0] + G[p][1] * w[1] + G[p][2] * w[2];
        }
      }
      for (int64_t p = 0; p < POINTS; ++p) {
        const Lanes* w = rows[p / SIDE];
        const float* g = G[p % SIDE];
        at(to + p * points.step) = g[0] * w[0] + g[1] * w[1] + g[2] * w[2];
      }
    }
  });
  return points;
}

// Its transpose: the points of a gradient to the kernel's, [9, C, F].
void kernel_of_points(ffi::ThreadPool& pool, const KernelPoints& points, float* kernel,
                      int64_t C, int64_t F) {
  in_parallel(pool, C, [&](int64_t c) {
    for (int64_t f = 0; f < F; f += LANES) {
      const int64_t i = c * F + f;
      Lanes rows[3][SIDE] = {}, all[9] = {};
      for (int64_t p = 0; p < POINTS; ++p) {
        for (int64_t k = 0; k < 3; ++k) {
          rows[k][p / SIDE] += G[p % SIDE][k] * at(points.point(p) + i);
        }
      }
      for (int64_t t = 0; t < 9; ++t) {
        for (int64_t p = 0; p < SIDE; ++p) all[t] += G[p][t / 3] * rows[t % 3][p];
        at(kernel + t * C * F + i) = all[t];
      }
    }
  });
}

// Convolves images of high x wide outputs, C channels each, with points of a kernel.
//
// read(to, image, frame) writes an image; place(image, n) tells where n results go, from
// this image on, past the cache or not; done(image, result) is called when they are there.
template <typename Read, typename Place, typename Done>
void convolve_tiles(ffi::ThreadPool& pool, int64_t B, int64_t high, int64_t wide,
                    int64_t C, int64_t F, const KernelPoints& kernel, bool past, Read read,
                    Place place, Done done) {
  const Tiles tiles(high, wide);
  const int64_t block = LANES * registers(F);

  in_groups(pool, B, tiles.count, TOGETHER, [&](int64_t first, int64_t some) {
    static thread_local Numbers value, of_v, of_m;
    const int64_t T = some * tiles.count;
    const Points v(of_v, T, C), m(of_m, T, F);
    for (int64_t i = 0; i < some; ++i) {
      read(value, first + i, tiles.frame(1));
      expand(value.data(), tiles, C, v, i * tiles.count);
    }
    std::vector<Tap> taps(C / v.block);
    for (int64_t p = 0; p < POINTS; ++p) {
      for (int64_t f = 0; f < F; f += block) {
        const float* weights = kernel.point(p) + f * C;
        for (int64_t c = 0; c < C; c += v.block) {
          taps[c / v.block] = {v.find(0, c) + p * v.step, weights + c * block};
        }
        any_row(registers(F), m.find(0, f) + p * m.step, Places{block}, taps.data(),
                int(taps.size()), Steps{v.block}, v.block, T);
      }
    }
    const int64_t size = high * wide * F;
    float* result = place(first, some * size);
    for (int64_t i = 0; i < some; ++i, result += size) {
      reduce(m, i * tiles.count, tiles, F, result, high, wide, past);
      done(first + i, result);
    }
  });
}

// The gradient of a kernel [9, C, F] from images and the gradients of their results.
template <typename Read, typename Pull>
void tiles_kernel_gradient(ffi::ThreadPool& pool, int64_t B, int64_t high, int64_t wide,
                           int64_t C, int64_t F, float* kernel, Read read,
                           Pull pull) {
  const Tiles tiles(high, wide);
  const int64_t of_image = POINTS * tiles.count * (C + F);
  const int64_t most = std::max<int64_t>(1, PASS_NUMBERS / of_image);
  const int64_t images = std::min(B, std::max(most, POINTS * C * F / of_image));
  Numbers of_v, of_m;
  const Points v(of_v, images * tiles.count, C), m(of_m, images * tiles.count, F);
  const KernelPoints sum(C, F);
  const int n = registers(F);

  for (int64_t first = 0; first < B; first += images) {
    const int64_t some = std::min(images, B - first);
    in_parallel(pool, some, [&](int64_t i) {
      static thread_local Numbers value;
      read(value, first + i, tiles.frame(1));
      expand(value.data(), tiles, C, v, i * tiles.count);
      pull(value, first + i, tiles.frame(0));
      expand_gradient(value.data(), tiles, F, m, i * tiles.count);
    });
    in_parallel(pool, POINTS, [&](int64_t p) {
      const int64_t T = some * tiles.count;
      float* of_point = sum.point(p);
      if (!first) std::fill_n(of_point, C * F, 0.0f);
      for (int64_t t = 0; t < T; t += PASS) {
        for (int64_t f = 0; f < F; f += m.block) {
          for (int64_t c = 0; c < C; c += SUMS / n) {
            any_outer(n, SUMS / n, of_point + c * F + f, F, v.find(t, c) + p * v.step, 0,
                      v.block, m.find(t, f) + p * m.step, m.block, 1,
                      std::min(PASS, T - t));
          }
        }
      }
    });
  }
  kernel_of_points(pool, sum, kernel, C, F);
}

}  // namespace
