// The gradient of a kernel in the tiles of direct_tile_registers.h.

#pragma once

#include "direct_amx.h"

namespace {

// DEEP rows of C numbers, rounded, as columns that begin `step` numbers apart.
template <typename Row>
void turn(Row row, int64_t C, int64_t step, Bfloat16* to) {
  uint32_t pairs[ROWS][ROWS];
  for (int64_t c = 0; c < C; c += ROWS) {
    for (int64_t i = 0; i < ROWS; ++i) {
      store_pairs(row(2 * i) + c, row(2 * i + 1) + c, ROWS, pairs[i]);
    }
    for (int64_t j = 0; j < ROWS; ++j) {
      auto* column = reinterpret_cast<uint32_t*>(to + (c + j) * step);
      for (int64_t i = 0; i < ROWS; ++i) column[i] = pairs[i][j];
    }
  }
}

// How the gradient of a kernel [S, S, C, F] is added up: over DEEP pixels of one image at a
// time or, where rows are not a multiple of 16 or the stride leaves some out, over the same
// pixel of DEEP images.
class KernelSums {
 public:
  const int64_t images;  // that are added up at a time: 1 or DEEP
  const Frame pulled;    // of the gradients of results

  KernelSums(const Framed& framed, const Grid& grid, int64_t C, int64_t F)
      : images(grid.wide % ROWS == 0 && grid.step == 1 ? 1 : DEEP),
        pulled{0, grid.high, images == 1 ? framed.frame.columns : grid.wide},
        framed_(framed),
        C_(C),
        F_(F) {
    const int64_t columns = framed.frame.columns;
    const bool one = images == 1;
    if (one) {
      const Offset& last = grid.offsets.back();
      const int64_t reach = whole(pulled_pixels()) + last.row * columns + last.column;
      length_ = whole(std::max(reach, framed.pixels()));
    }
    for (const Offset& to : grid.offsets) {
      std::vector<Meeting> found;
      for (int64_t q = 0; one && q < pulled_pixels(); q += DEEP) {
        found.push_back({to.row * columns + to.column + q, q / 2 * F});
      }
      for (int64_t h = 0; !one && h < grid.high; ++h) {
        for (int64_t w = 0; w < grid.wide; ++w) {
          if (!framed.meets(grid, to, h, w, 1)) continue;
          const int64_t row = h * grid.step + to.row, column = w * grid.step + to.column;
          found.push_back(
              {(row * columns + column) * C * DEEP, (h * grid.wide + w) * ROWS * F});
        }
      }
      taps_.push_back(found);
    }
  }

  // Adds what so many images give.
  void add(float* sums, const Numbers* value, const Numbers* gradient,
           int64_t many) const {
    static thread_local Numbers of_value, of_pulled, none;
    const bool one = images == 1;
    std::fill_n(none.room(std::max(C_, F_)), std::max(C_, F_), 0.0f);
    const int64_t pixels = framed_.pixels(), step = one ? length_ : DEEP;
    // Row i of a block of rows: of pixels of one image, or of images.
    auto row = [&](const Numbers* of, int64_t n, int64_t count, int64_t block, int64_t i) {
      const int64_t pixel = one ? block * DEEP + i : block, image = one ? 0 : i;
      return image < many && pixel < count ? of[image].data() + pixel * n : none.data();
    };
    const int64_t blocks = one ? length_ / DEEP : pixels;
    Bfloat16* x = halves(of_value, blocks * C_ * DEEP);
    for (int64_t b = 0; b < blocks; ++b) {
      turn([&](int64_t i) { return row(value, C_, pixels, b, i); }, C_, step,
           x + b * DEEP * (one ? 1 : C_));
    }
    const int64_t met = one ? whole(pulled_pixels()) / DEEP : pulled_pixels();
    auto* g = reinterpret_cast<uint32_t*>(of_pulled.room(met * ROWS * F_));
    for (int64_t pair = 0; pair < met * ROWS; ++pair) {
      const int64_t b = pair / ROWS, i = pair % ROWS * 2;
      store_pairs(row(gradient, F_, pulled_pixels(), b, i),
                  row(gradient, F_, pulled_pixels(), b, i + 1), F_, g + pair * F_);
    }
    const TileRegisters set_up;
    settle();
    for (int64_t c = 0; c < C_; c += DEEP) {
      for (int64_t f = 0; f < F_; f += DEEP) {
        add_block(sums + c * F_ + f, x + c * step, step, g + f);
      }
    }
    settle();
  }

 private:
  // A place in the values and one in the gradients, whose products belong to a tap.
  struct Meeting {
    int64_t value, pulled;
  };

  static int64_t whole(int64_t n) { return (n + DEEP - 1) / DEEP * DEEP; }
  int64_t pulled_pixels() const { return pulled.rows * pulled.columns; }

  // Adds to DEEP x DEEP sums of each tap.
  void add_block(float* sums, const Bfloat16* x, int64_t step, const uint32_t* g) const {
    const size_t most = taps_[taps_.size() / 2].size();  // the middle meets every pixel
    for (size_t first = 0; first < most; first += MEETINGS) {
      for (size_t t = 0; t < taps_.size(); ++t) {
        const size_t stop = std::min(first + MEETINGS, taps_[t].size());
        if (first >= stop) continue;
        add_products(sums + t * C_ * F_, F_, true, stop - first, [&](int64_t k) {
          const Bfloat16* seen = x + taps_[t][first + k].value;
          const uint32_t* met = g + taps_[t][first + k].pulled;
          return Factors{seen, seen + ROWS * step, 2 * step, met, met + ROWS, 4 * F_};
        });
      }
    }
  }

  const Framed framed_;
  const int64_t C_, F_;
  int64_t length_ = 0;  // of columns of one image
  std::vector<std::vector<Meeting>> taps_;
};

}  // namespace
