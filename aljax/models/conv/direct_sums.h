// The gradient of a kernel in registers, for what neither tiles of direct_tiles.h nor those
// of AMX take.

#pragma once

#include "direct_images.h"

namespace {

// Pixels of C channels in blocks of as many as a register or two hold, or of all C where
// registers do not divide them: [blocks][pixels][a block]. Blocks begin a little apart,
// lest they share a place in the cache.
class Blocks {
 public:
  const int64_t block;

  Blocks(Numbers& memory, int64_t pixels, int64_t C)
      : block(C % LANES ? C : LANES * registers(C)),
        step_(pixels * block + LANES),
        C_(C),
        numbers_(memory.room(C / block * step_)) {}

  float* find(int64_t pixel, int64_t c) const {
    return numbers_ + c / block * step_ + pixel * block + c % block;
  }

  // Takes the pixels of an image, [pixels, C], from its place on.
  void take(const float* image, int64_t pixels, int64_t place) const {
    if (block == C_) return copy(image, pixels * C_, find(place, 0));
    for (int64_t p = 0; p < pixels; ++p, image += C_) {
      for (int64_t c = 0; c < C_; c += block) {
        copy(image + c, block, find(place + p, c));
      }
    }
  }

 private:
  const int64_t step_, C_;
  float* numbers_;
};

// How the gradient of a kernel [S, S, C, F] is added up: over whole rows of about RUN
// pixels at most, one image after the other, or, where S and stride are 1, over RUN pixels
// of several images as if they were one.
class BlockSums {
 public:
  const int64_t images;  // that are added up at a time
  const Frame pulled;    // of the gradients of results

  BlockSums(const Frame& frame, int64_t high, int64_t wide, int64_t S, int64_t stride,
            int64_t C, int64_t F)
      : images(std::max<int64_t>(1, MORE / (high * wide))),
        pulled{0, high, wide},
        frame_(frame),
        S_(S),
        stride_(stride),
        C_(C),
        F_(F) {}

  // Adds what so many images give.
  void add(float* sums, const Numbers* value, const Numbers* gradient,
           int64_t many) const {
    static thread_local Numbers of_value, of_gradient;
    const int64_t seen = frame_.rows * frame_.columns;
    const int64_t pixels = pulled.rows * pulled.columns;
    const bool one = S_ * stride_ == 1;  // each result sees the pixel of its own place
    for (int64_t start = 0, some; start < pixels; start += some) {
      some = one ? std::min(MORE, pixels - start) : pixels;
      const int64_t met = one ? some : seen;
      const Blocks x(of_value, many * met, C_), g(of_gradient, many * some, F_);
      for (int64_t i = 0; i < many; ++i) {
        x.take(value[i].data() + start * C_, met, i * met);
        g.take(gradient[i].data() + start * F_, some, i * some);
      }
      add_blocks(sums, x, g, one ? in_one(many * some) : by_rows(many));
    }
  }

 private:
  static constexpr int64_t RUN = 128;

  // Some rows of results, so high and wide: the first pixel that they see, and their own.
  struct Run {
    int64_t value, gradient, high, wide;
  };

  void add_blocks(float* sums, const Blocks& x, const Blocks& g,
                  const std::vector<Run>& runs) const {
    for (int64_t t = 0; t < S_ * S_; ++t) {
      const int64_t tap = t / S_ * frame_.columns + t % S_;
      for (int64_t c = 0; c < C_; c += x.block) {
        for (int64_t f = 0; f < F_; f += g.block) {
          float* to = sums + (t * C_ + c) * F_ + f;
          for (const Run& run : runs) {
            add_run(to, x.find(run.value + tap, c), x.block, g.find(run.gradient, f),
                    g.block, run);
          }
        }
      }
    }
  }

  static std::vector<Run> in_one(int64_t pixels) {
    std::vector<Run> found;
    for (int64_t p = 0; p < pixels; p += RUN) {
      found.push_back({p, p, 1, std::min(RUN, pixels - p)});
    }
    return found;
  }

  std::vector<Run> by_rows(int64_t many) const {
    std::vector<Run> found;
    const int64_t rows = std::max<int64_t>(1, RUN / pulled.columns);
    for (int64_t i = 0; i < many; ++i) {
      for (int64_t h = 0; h < pulled.rows; h += rows) {
        found.push_back({(i * frame_.rows + h * stride_) * frame_.columns,
                         (i * pulled.rows + h) * pulled.columns,
                         std::min(rows, pulled.rows - h), pulled.columns});
      }
    }
    return found;
  }

  // Adds a run to the sums of a block of C and one of F.
  void add_run(float* sums, const float* x, int64_t x_block, const float* g,
               int64_t g_block, const Run& run) const {
    const int n = registers(F_);
    const int64_t across = stride_ * frame_.columns * x_block;
    for (int64_t c = 0, some; c < x_block; c += some) {
      some = x_block - c >= SUMS / n ? SUMS / n : x_block - c == 3 ? 3 : 1;
      any_outer(n, some, sums + c * F_, F_, x + c, across, stride_ * x_block, g, g_block,
                run.high, run.wide);
    }
  }

  const Frame frame_;
  const int64_t S_, stride_, C_, F_;
};

}  // namespace
