// Images between two convolutions, forward and backward, and their moments.

#pragma once

#include "direct_products.h"

namespace {

// Calls f(i, c) for every LANES of so many pixels of C channels; i counts all numbers.
template <typename F>
void each(int64_t pixels, int64_t C, F f) {
  for (int64_t i = 0; i < pixels * C; i += C) {
    for (int64_t c = 0; c < C; c += LANES) f(i + c, c);
  }
}

// A normalisation (mean, factor, bias, C each) of LANES channels from c on.
Lanes normalised(Lanes x, const float* norm, int64_t C, int64_t c) {
  return (x - at(norm + c)) * at(norm + C + c) + at(norm + 2 * C + c);
}

// How an image of [H, W, C] lies among zeros, [rows, columns, C] with them.
struct Frame {
  int64_t border;  // above it and to its left
  int64_t rows, columns;

  static Frame around(int64_t H, int64_t W, int64_t border) {
    return {border, H + 2 * border, W + 2 * border};
  }

  // Makes room for the image, writes the zeros, and returns where the image begins.
  float* prepare(Numbers& to, int64_t H, int64_t W, int64_t C) const {
    const int64_t across = columns * C, left = border * C, right = left + W * C;
    float* start = to.room(rows * across);
    std::fill_n(start, border * across, 0.0f);
    for (int64_t h = border; h < border + H; ++h) {
      std::fill_n(start + h * across, left, 0.0f);
      std::fill_n(start + h * across + right, across - right, 0.0f);
    }
    std::fill(start + (border + H) * across, start + rows * across, 0.0f);
    return start + border * across + left;
  }
};

using Floats = ffi::Buffer<ffi::F32>;
template <typename T>  // float or Bfloat16
using Images = ffi::Buffer<std::is_same_v<T, float> ? ffi::F32 : ffi::BF16>;

template <typename Buffer>
auto* present(Buffer& x) {
  return x.element_count() ? x.typed_data() : nullptr;
}

// Images that wait for relu(norm(y) + rest_norm(rest)); a norm is mean, factor, bias.
template <typename T>
struct Pending {
  const T *y, *rest;
  const float *norm, *rest_norm;
  int64_t B, H, W, C;

  Pending(Images<T>& y, Floats& norm, Images<T>& rest, Floats& rest_norm)
      : y(y.typed_data()),
        rest(present(rest)),
        norm(present(norm)),
        rest_norm(present(rest_norm)),
        B(y.dimensions()[0]),
        H(y.dimensions()[1]),
        W(y.dimensions()[2]),
        C(y.dimensions()[3]) {}

  int64_t size() const { return H * W * C; }

  // The value of LANES numbers, the first of them number i of all, of channel c.
  Lanes before_relu(int64_t i, int64_t c) const {
    Lanes v = normalised(load(y + i), norm, C, c);
    if (!rest) return v;
    const Lanes more = load(rest + i);
    return v + (rest_norm ? normalised(more, rest_norm, C, c) : more);
  }

  // The value of one image, in a frame; returns where it begins.
  float* value(Numbers& to, int64_t image, const Frame& frame) const {
    float* start = frame.prepare(to, H, W, C);
    for (int64_t h = 0; h < H; ++h) {
      float* row = start + h * frame.columns * C;
      const int64_t from = (image * H + h) * W * C;
      if (!norm) {
        copy(y + from, W * C, row);
        continue;
      }
      each(W, C, [&](int64_t i, int64_t c) {
        const Lanes v = before_relu(from + i, c);
        at(row + i) = v < 0 ? Lanes{} : v;  // NaN stays
      });
    }
    return start;
  }
};

// Takes the gradient of an image's value to those of y, perhaps in its place, and rest,
// and writes sums over pixels: gradients of factor and bias, and of rest_norm's, C each.
template <typename T>
void pull_value(const Pending<T>& x, int64_t image, const float* dx, T* dy, T* drest,
                float* sums) {
  const int64_t C = x.C, first = image * x.size();
  for (int64_t c = 0; c < C; c += LANES) {
    Lanes factor = {}, bias = {}, rest_factor = {};
    for (int64_t h = 0, i = c; h < x.H; ++h) {
      Lanes row_factor = {}, row_bias = {}, row_rest = {};
      for (int64_t w = 0; w < x.W; ++w, i += C) {
        const Lanes g = x.before_relu(first + i, c) > 0 ? at(dx + i) : Lanes{};
        row_bias += g;
        row_factor += g * (load(x.y + first + i) - at(x.norm + c));
        store(dy + i, g * at(x.norm + C + c));
        if (!x.rest) continue;
        store(drest + i, x.rest_norm ? g * at(x.rest_norm + C + c) : g);
        if (!x.rest_norm) continue;
        row_rest += g * (load(x.rest + first + i) - at(x.rest_norm + c));
      }
      factor += row_factor, bias += row_bias, rest_factor += row_rest;
    }
    at(sums + c) = factor, at(sums + C + c) = bias;
    at(sums + 2 * C + c) = rest_factor, at(sums + 3 * C + c) = bias;
  }
}

// Count, mean and squares around the mean of each channel; see Moments in norm.py.
struct Moments {
  float count = 0;
  std::vector<float> mean, squares;

  explicit Moments(int64_t channels) : mean(channels), squares(channels) {}

  void add(const Moments& other) {
    if (other.count == 0) return;
    const float sum = count + other.count, share = other.count / sum;
    for (size_t c = 0; c < mean.size(); ++c) {
      const float step = other.mean[c] - mean[c];
      squares[c] += other.squares[c] + step * step * share * count;
      mean[c] += step * share;
    }
    count = sum;
  }
};

// Adds up f(i, c) over pixels, first along each row of an image; see `each`.
template <typename F>
void sum_pixels(float* total, int64_t high, int64_t wide, int64_t C, F f) {
  for (int64_t c = 0; c < C; c += LANES) {
    Lanes sum = {};
    for (int64_t h = 0, i = c; h < high; ++h) {
      Lanes of_row = {};
      for (int64_t w = 0; w < wide; ++w, i += C) of_row += f(i, c);
      sum += of_row;
    }
    at(total + c) = sum;
  }
}

template <typename T>
Moments moments(const T* y, int64_t high, int64_t wide, int64_t C) {
  Moments found(C);
  found.count = high * wide;
  float* mean = found.mean.data();
  sum_pixels(mean, high, wide, C, [&](int64_t i, int64_t) { return load(y + i); });
  for (int64_t c = 0; c < C; ++c) mean[c] /= found.count;
  sum_pixels(found.squares.data(), high, wide, C, [&](int64_t i, int64_t c) {
    const Lanes away = load(y + i) - at(mean + c);
    return away * away;
  });
  return found;
}

// The gradient of y, through the moments too: what comes from a loss, and in real rows
// (mask) what the moments add: through is constant, slope and mean, F each.
template <typename T>
struct Pulled {
  const T *g, *y;
  const float *through, *mask;
  int64_t high, wide, F;

  Pulled(Images<T>& g, Images<T>& out, Floats& through, Floats& mask)
      : g(g.typed_data()),
        y(out.typed_data()),
        through(through.typed_data()),
        mask(mask.typed_data()),
        high(out.dimensions()[1]),
        wide(out.dimensions()[2]),
        F(out.dimensions()[3]) {}

  // Of one image, in a frame.
  void value(Numbers& to, int64_t image, const Frame& frame) const {
    float* start = frame.prepare(to, high, wide, F);
    const float real = mask[image];
    for (int64_t h = 0; h < high; ++h) {
      float* row = start + h * frame.columns * F;
      const int64_t from = (image * high + h) * wide * F;
      if (real == 0) {
        copy(g + from, wide * F, row);
        continue;
      }
      each(wide, F, [&](int64_t i, int64_t f) {
        const Lanes away = load(y + from + i) - at(through + 2 * F + f);
        const Lanes more = at(through + f) + at(through + F + f) * away;
        at(row + i) = load(g + from + i) + more * real;
      });
    }
  }
};

// The rows in which a convolution writes an image of F channels; where it can, all of it is
// one. Every stride-th pixel of every stride-th row sees the same elements of a kernel; two
// such rows are computed together where that fills the registers.
struct Rows {
  const int64_t count, columns;
  const int64_t second;  // how many rows lie between two that are; 0: none are

  Rows(int64_t high, int64_t wide, bool one, int64_t stride, int64_t F)
      : count(one ? 1 : high),
        columns(one ? high * wide : wide),
        second(count % (2 * stride) == 0 && 2 * columns == stride * tile(F) ? stride : 0) {}

  // Whether a row is computed with one above it.
  bool is_second(int64_t row) const { return second && row / second % 2; }
};

// Convolves images row by row; see convolve_tiles for read, place and done.
//
// compute(value, h, f, to, taps) computes a block of channels, from f on, of row h, and of
// its second, of an image whose value, in a frame, is there; taps is an empty vector.
template <typename Read, typename Place, typename Done, typename Compute>
void convolve_rows(ffi::ThreadPool& pool, int64_t B, int64_t pixels, const Rows& rows,
                   const Frame& frame, int64_t F, Read read, Place place, Done done,
                   Compute compute) {
  const int64_t row = rows.columns * F;
  in_groups(pool, B, pixels, TOGETHER, [&](int64_t first, int64_t some) {
    static thread_local std::vector<Numbers> values(TOGETHER);
    for (int64_t i = 0; i < some; ++i) read(values[i], first + i, frame);
    float* result = place(first, some * rows.count * row);
    std::vector<Tap> taps;
    for (int64_t f = 0; f < F; f += LANES * registers(F)) {
      for (int64_t i = 0; i < some * rows.count; ++i) {
        if (rows.is_second(i % rows.count)) continue;
        taps.clear();
        const float* value = values[i / rows.count].data();
        compute(value, i % rows.count, f, result + i * row + f, taps);
      }
    }
    for (int64_t i = 0; i < some; ++i) done(first + i, result + i * rows.count * row);
  });
}

}  // namespace
