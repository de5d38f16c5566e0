// Convolutions of few channels on CPUs, with all that lies between two of them.
//
// Three functions that XLA calls: a layer, and its gradients by images and by kernel;
// direct.py says what each takes and gives. Every image passes through one of them while
// it is in the cache. Sums are taken in an order that images alone decide, so that any
// number of threads gives the same bits.
//
// Images are [B, H, W, C], kernels [S, S, C, F], both float32. C and F are multiples of
// LANES, but for the C of a layer and of its kernel's gradient.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
// Sums that are under way at once, in registers of LANES floats.
constexpr int SUMS = LANES == 16 ? 16 : 8;
// A kernel's gradient is added up over this many parts of a batch; a large one over few.
constexpr int64_t PARTS = 16, FEW_PARTS = 4, LARGE = 1 << 16;

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

Lanes& at(float* p) { return *reinterpret_cast<Lanes*>(p); }
const Lanes& at(const float* p) { return *reinterpret_cast<const Lanes*>(p); }

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

// ---- threads ------------------------------------------------------------------------

// Numbers too small for a normal float are 0 in every thread, as they are in XLA's.
class FlushTiny {
 public:
#if defined(__SSE__)
  FlushTiny() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushTiny() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

struct Shared {
  std::function<void(int64_t)> work;
  int64_t count;
  std::atomic<int64_t> next{0};
  int64_t done = 0;
  std::mutex mutex;
  std::condition_variable all_done;

  void take_part() {
    FlushTiny flush;
    int64_t mine = 0;
    for (int64_t i; (i = next++) < count; ++mine) work(i);
    std::lock_guard<std::mutex> lock(mutex);
    done += mine;
    if (done == count) all_done.notify_all();
  }
};

// Calls work(0) … work(count - 1) on the threads of a pool and on this one, which never
// waits for a thread that has not begun.
void in_parallel(ffi::ThreadPool& pool, int64_t count,
                 std::function<void(int64_t)> work) {
  auto shared = std::make_shared<Shared>();
  shared->work = std::move(work);
  shared->count = count;
  int64_t helpers = std::min(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) {
    pool.Schedule([shared] { shared->take_part(); });
  }
  shared->take_part();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done == count; });
}

// ---- products -----------------------------------------------------------------------

// What one element of a kernel sees: the pixel of the first output, and its weights.
struct Tap {
  const float* x;
  const float* kernel;  // [C, LANES * N]
};

// y[p] = Σ over taps and c of x[p * x_step + c] kernel[c], for P pixels, LANES * N sums.
template <int P, int N>
void pixels(float* y, int64_t y_step, const Tap* taps, int count, int64_t x_step,
            int64_t C) {
  Lanes sum[P][N] = {};
  for (int t = 0; t < count; ++t) {
    const float* x = taps[t].x;
    const float* kernel = taps[t].kernel;
    for (int64_t c = 0; c < C; ++c, kernel += LANES * N) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const float value = x[p * x_step + c];
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[p][n] += value * at(kernel + LANES * n);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) at(y + p * y_step + LANES * n) = sum[p][n];
  }
}

// The same for any number of pixels in a row.
template <int N>
void row(float* y, int64_t y_step, Tap* taps, int count, int64_t x_step, int64_t C,
         int64_t length) {
  auto advance = [&](int64_t by) {
    for (int t = 0; t < count; ++t) taps[t].x += by * x_step;
    y += by * y_step;
    length -= by;
  };
  while (length >= SUMS / N) {
    pixels<SUMS / N, N>(y, y_step, taps, count, x_step, C);
    advance(SUMS / N);
  }
  while (length >= 4 && SUMS / N > 4) {
    pixels<4, N>(y, y_step, taps, count, x_step, C);
    advance(4);
  }
  while (length) {
    pixels<1, N>(y, y_step, taps, count, x_step, C);
    advance(1);
  }
}

// kernel[i, f] += Σ over pixels of x[pixel, i] g[pixel, f], for I channels of x.
template <int I, int N>
void outer(float* kernel, int64_t F, const float* x, int64_t x_row, int64_t x_step,
           const float* g, int64_t high, int64_t wide) {
  Lanes sum[I][N] = {};
  for (int64_t h = 0; h < high; ++h) {
    const float* x_pixel = x + h * x_row;
    for (int64_t w = 0; w < wide; ++w, x_pixel += x_step, g += F) {
#pragma GCC unroll 16
      for (int i = 0; i < I; ++i) {
        const float value = x_pixel[i];
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[i][n] += value * at(g + LANES * n);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < I; ++i) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) at(kernel + i * F + LANES * n) += sum[i][n];
  }
}

// Registers that a block of channels fills: 4, 2 or 1.
int registers(int64_t channels) {
  return channels % (4 * LANES) == 0 ? 4 : channels % (2 * LANES) == 0 ? 2 : 1;
}

// A kernel in the order in which it is read: [blocks of F][S * S][C][a block].
std::vector<float> packed(const float* kernel, int64_t taps, int64_t C, int64_t F) {
  const int64_t block = LANES * registers(F);
  std::vector<float> result(taps * C * F);
  float* to = result.data();
  for (int64_t f = 0; f < F; f += block) {
    for (int64_t row = 0; row < taps * C; ++row, to += block) {
      std::copy_n(kernel + row * F + f, block, to);
    }
  }
  return result;
}

// [S * S, C, F] to [S * S, F, C].
std::vector<float> transposed(const float* kernel, int64_t taps, int64_t C, int64_t F) {
  std::vector<float> result(taps * C * F);
  for (int64_t t = 0; t < taps; ++t) {
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t f = 0; f < F; ++f) {
        result[(t * F + f) * C + c] = kernel[(t * C + c) * F + f];
      }
    }
  }
  return result;
}

template <typename... Arguments>
void any_row(int registers, Arguments... arguments) {
  if (registers == 4) return row<4>(arguments...);
  if (registers == 2) return row<2>(arguments...);
  row<1>(arguments...);
}

template <int N, typename... Arguments>
void outer_block(int64_t channels, Arguments... arguments) {
  if (channels == SUMS / N) return outer<SUMS / N, N>(arguments...);
  if (channels == 3) return outer<3, N>(arguments...);
  outer<1, N>(arguments...);
}

// ---- layers -------------------------------------------------------------------------

// Writes zeros around an image of [H + 2 border, W + 2 border, C].
void clear_border(float* image, int64_t H, int64_t W, int64_t C, int64_t border) {
  const int64_t side = border * C, across = W * C + 2 * side;
  std::fill_n(image, border * across, 0.0f);
  for (int64_t h = border; h < H + border; ++h) {
    std::fill_n(image + h * across, side, 0.0f);
    std::fill_n(image + (h + 1) * across - side, side, 0.0f);
  }
  std::fill_n(image + (H + border) * across, border * across, 0.0f);
}

using Floats = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Floats>;

// Images that wait for relu(norm(y) + rest_norm(rest)); a norm is mean, factor, bias.
struct Pending {
  const float *y, *norm, *rest, *rest_norm;
  int64_t B, H, W, C;

  Pending(Floats& y, Floats& norm, Floats& rest, Floats& rest_norm)
      : y(y.typed_data()),
        norm(present(norm)),
        rest(present(rest)),
        rest_norm(present(rest_norm)),
        B(y.dimensions()[0]),
        H(y.dimensions()[1]),
        W(y.dimensions()[2]),
        C(y.dimensions()[3]) {}

  static const float* present(Floats& x) {
    return x.element_count() ? x.typed_data() : nullptr;
  }

  int64_t size() const { return H * W * C; }

  // The value of LANES numbers, the first of them number i of all, of channel c.
  Lanes before_relu(int64_t i, int64_t c) const {
    Lanes v = normalised(at(y + i), norm, C, c);
    if (!rest) return v;
    return v + (rest_norm ? normalised(at(rest + i), rest_norm, C, c) : at(rest + i));
  }

  // The value of one image with a border of zeros: [H + 2 border, W + 2 border, C].
  void padded(std::vector<float>& to, int64_t image, int64_t border) const {
    const int64_t across = W + 2 * border;
    to.resize((H + 2 * border) * across * C);
    clear_border(to.data(), H, W, C, border);
    for (int64_t h = 0; h < H; ++h) {
      float* row = to.data() + ((h + border) * across + border) * C;
      const int64_t from = (image * H + h) * W * C;
      if (!norm) {
        std::copy_n(y + from, W * C, row);
        continue;
      }
      each(W, C, [&](int64_t i, int64_t c) {
        const Lanes v = before_relu(from + i, c);
        at(row + i) = v > 0 ? v : Lanes{};
      });
    }
  }
};

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

Moments moments(const float* y, int64_t high, int64_t wide, int64_t C) {
  Moments found(C);
  found.count = high * wide;
  float* mean = found.mean.data();
  sum_pixels(mean, high, wide, C, [&](int64_t i, int64_t) { return at(y + i); });
  for (int64_t c = 0; c < C; ++c) mean[c] /= found.count;
  sum_pixels(found.squares.data(), high, wide, C, [&](int64_t i, int64_t c) {
    const Lanes away = at(y + i) - at(mean + c);
    return away * away;
  });
  return found;
}

// The gradient of y, through the moments too: what comes from a loss, and how y's own
// deviation and the row of a batch add to it.
struct Pulled {
  const float *g, *y, *through, *mask;
  int64_t high, wide, F;

  Pulled(Floats& g, Floats& out, Floats& through, Floats& mask)
      : g(g.typed_data()),
        y(out.typed_data()),
        through(through.typed_data()),
        mask(mask.typed_data()),
        high(out.dimensions()[1]),
        wide(out.dimensions()[2]),
        F(out.dimensions()[3]) {}

  // One image with a border of zeros, as Pending's.
  void padded(std::vector<float>& to, int64_t image, int64_t border) const {
    const int64_t across = wide + 2 * border;
    to.resize((high + 2 * border) * across * F);
    clear_border(to.data(), high, wide, F, border);
    const float real = mask[image];
    for (int64_t h = 0; h < high; ++h) {
      float* row = to.data() + ((h + border) * across + border) * F;
      const int64_t from = (image * high + h) * wide * F;
      each(wide, F, [&](int64_t i, int64_t f) {
        const Lanes away = at(y + from + i) - at(through + 2 * F + f);
        const Lanes more = at(through + f) + at(through + F + f) * away;
        at(row + i) = at(g + from + i) + more * real;
      });
    }
  }
};

ffi::Error layer(ffi::ThreadPool pool, Floats y, Floats norm, Floats rest,
                 Floats rest_norm, Floats kernel, Floats mask, int64_t stride,
                 Result out, Result seen, Result kept) {
  const Pending x(y, norm, rest, rest_norm);
  const int64_t S = kernel.dimensions()[0], F = kernel.dimensions()[3];
  const int64_t high = out->dimensions()[1], wide = out->dimensions()[2];
  const int64_t border = S / 2, across = (x.W + 2 * border) * x.C;
  const int n = registers(F);
  const std::vector<float> weights = packed(kernel.typed_data(), S * S, x.C, F);
  std::vector<Moments> of_image(x.B, Moments(F));

  in_parallel(pool, x.B, [&](int64_t image) {
    static thread_local std::vector<float> value;
    x.padded(value, image, border);
    if (kept->element_count()) {
      for (int64_t h = 0; h < x.H; ++h) {
        std::copy_n(value.data() + (h + border) * across + border * x.C, x.W * x.C,
                    kept->typed_data() + image * x.size() + h * x.W * x.C);
      }
    }
    float* result = out->typed_data() + image * high * wide * F;
    std::vector<Tap> taps(S * S);
    for (int64_t f = 0; f < F; f += LANES * n) {
      for (int64_t h = 0; h < high; ++h) {
        for (int64_t t = 0; t < S * S; ++t) {
          taps[t].x = value.data() + (h * stride + t / S) * across + t % S * x.C;
          taps[t].kernel = weights.data() + f * S * S * x.C + t * x.C * LANES * n;
        }
        any_row(n, result + h * wide * F + f, F, taps.data(), int(S * S), stride * x.C,
                x.C, wide);
      }
    }
    if (mask.element_count() && mask.typed_data()[image] != 0) {
      of_image[image] = moments(result, high, wide, F);
    }
  });

  if (seen->element_count()) {
    Moments all(F);
    for (const Moments& one : of_image) all.add(one);
    float* to = seen->typed_data();
    to[0] = all.count;
    std::copy_n(all.mean.data(), F, to + 1);
    std::copy_n(all.squares.data(), F, to + 1 + F);
  }
  return ffi::Error::Success();
}

// Takes the gradient of an image's value to those of y and rest, in place of it, and
// writes sums over pixels: gradients of factor and bias, and of rest_norm's, C each.
void pull_value(const Pending& x, int64_t image, float* dx, float* drest, float* sums) {
  const int64_t C = x.C, first = image * x.size();
  for (int64_t c = 0; c < C; c += LANES) {
    Lanes factor = {}, bias = {}, rest_factor = {};
    for (int64_t h = 0, i = c; h < x.H; ++h) {
      Lanes row_factor = {}, row_bias = {}, row_rest = {};
      for (int64_t w = 0; w < x.W; ++w, i += C) {
        const Lanes g = x.before_relu(first + i, c) > 0 ? at(dx + i) : Lanes{};
        row_bias += g;
        row_factor += g * (at(x.y + first + i) - at(x.norm + c));
        at(dx + i) = g * at(x.norm + C + c);
        if (!x.rest) continue;
        at(drest + i) = x.rest_norm ? g * at(x.rest_norm + C + c) : g;
        if (!x.rest_norm) continue;
        row_rest += g * (at(x.rest + first + i) - at(x.rest_norm + c));
      }
      factor += row_factor, bias += row_bias, rest_factor += row_rest;
    }
    at(sums + c) = factor, at(sums + C + c) = bias;
    at(sums + 2 * C + c) = rest_factor, at(sums + 3 * C + c) = bias;
  }
}

ffi::Error input_gradient(ffi::ThreadPool pool, Floats y, Floats norm, Floats rest,
                          Floats rest_norm, Floats kernel, Floats mask, Floats out,
                          Floats through, Floats g, Floats g_kept, int64_t stride,
                          Result dy, Result dnorm, Result drest, Result drest_norm) {
  const Pending x(y, norm, rest, rest_norm);
  const int64_t S = kernel.dimensions()[0], F = kernel.dimensions()[3], C = x.C;
  const Pulled pull(g, out, through, mask);
  const int64_t border = S / 2, across = (pull.wide + 2 * border) * F;
  const int n = registers(C);
  const std::vector<float> weights = packed(
      transposed(kernel.typed_data(), S * S, C, F).data(), S * S, F, C);
  // Of each image: factor and bias of the norm, and of that of the rest.
  std::vector<float> sums(x.B * 4 * C);

  in_parallel(pool, x.B, [&](int64_t image) {
    static thread_local std::vector<float> pulled;
    pull.padded(pulled, image, border);
    float* dx = dy->typed_data() + image * x.size();
    std::vector<Tap> taps(S * S);
    auto meets = [&](int64_t to, int64_t k) {  // whether output (to - k) / stride is one
      return (to + border - k + S * stride) % stride == 0;
    };
    for (int64_t c = 0; c < C; c += LANES * n) {
      for (int64_t h = 0; h < x.H; ++h) {
        for (int64_t q = 0; q < std::min(stride, x.W); ++q) {
          int count = 0;
          for (int64_t t = 0; t < S * S; ++t) {
            if (!meets(h, t / S) || !meets(q, t % S)) continue;
            // Never negative, for the border comes first.
            const int64_t row = (h + border - t / S + border * stride) / stride;
            const int64_t column = (q + border - t % S + border * stride) / stride;
            taps[count].x = pulled.data() + row * across + column * F;
            taps[count++].kernel =
                weights.data() + c * S * S * F + t * F * LANES * n;
          }
          any_row(n, dx + (h * x.W + q) * C + c, stride * C, taps.data(), count,
                  F, F, (x.W - q + stride - 1) / stride);
        }
      }
    }

    if (g_kept.element_count()) {
      const float* more = g_kept.typed_data() + image * x.size();
      for (int64_t i = 0; i < x.size(); ++i) dx[i] += more[i];
    }
    if (!x.norm) return;
    float* to = x.rest ? drest->typed_data() + image * x.size() : nullptr;
    pull_value(x, image, dx, to, sums.data() + image * 4 * C);
  });

  auto add_up = [&](Result& to, const float* norm, const float* sum) {
    if (!norm) return;
    float *mean = to->typed_data(), *factor = mean + C, *bias = mean + 2 * C;
    std::fill_n(mean, 3 * C, 0.0f);
    for (int64_t image = 0; image < x.B; ++image, sum += 4 * C) {
      for (int64_t i = 0; i < 2 * C; ++i) factor[i] += sum[i];
    }
    for (int64_t c = 0; c < C; ++c) mean[c] = -norm[C + c] * bias[c];
  };
  add_up(dnorm, x.norm, sums.data());
  add_up(drest_norm, x.rest_norm, sums.data() + 2 * C);
  return ffi::Error::Success();
}

ffi::Error kernel_gradient(ffi::ThreadPool pool, Floats y, Floats norm, Floats rest,
                           Floats rest_norm, Floats mask, Floats out, Floats through,
                           Floats g, int64_t stride, Result dkernel) {
  const Pending x(y, norm, rest, rest_norm);
  const int64_t S = dkernel->dimensions()[0], F = dkernel->dimensions()[3], C = x.C;
  const Pulled pull(g, out, through, mask);
  const int64_t border = S / 2, across = (x.W + 2 * border) * C;
  const int64_t size = S * S * C * F;
  const int64_t parts = std::min(x.B, size > LARGE ? FEW_PARTS : PARTS);
  const int n = registers(F);
  std::vector<std::vector<float>> of_part(parts);

  in_parallel(pool, parts, [&](int64_t part) {
    static thread_local std::vector<float> value, pulled;
    of_part[part].assign(size, 0.0f);
    const int64_t stop = (part + 1) * x.B / parts;
    for (int64_t image = part * x.B / parts; image < stop; ++image) {
      x.padded(value, image, border);
      pull.padded(pulled, image, 0);
      for (int64_t t = 0; t < S * S; ++t) {
        const float* seen = value.data() + t / S * across + t % S * C;
        for (int64_t c = 0, some; c < C; c += some) {
          some = C - c >= SUMS / n ? SUMS / n : C - c == 3 ? 3 : 1;
          for (int64_t f = 0; f < F; f += LANES * n) {
            auto add = [&](auto block) {
              block(some, of_part[part].data() + (t * C + c) * F + f, F, seen + c,
                    stride * across, stride * C, pulled.data() + f, pull.high, pull.wide);
            };
            if (n == 4) add([](auto... a) { outer_block<4>(a...); });
            if (n == 2) add([](auto... a) { outer_block<2>(a...); });
            if (n == 1) add([](auto... a) { outer_block<1>(a...); });
          }
        }
      }
    }
  });

  const int64_t slice = 4096;
  in_parallel(pool, (size + slice - 1) / slice, [&](int64_t i) {
    float* to = dkernel->typed_data();
    const int64_t start = i * slice, stop = std::min(size, start + slice);
    std::copy(of_part[0].begin() + start, of_part[0].begin() + stop, to + start);
    for (int64_t part = 1; part < parts; ++part) {
      for (int64_t k = start; k < stop; ++k) to[k] += of_part[part][k];
    }
  });
  return ffi::Error::Success();
}

}  // namespace

// clang-format off
XLA_FFI_DEFINE_HANDLER_SYMBOL(aljax_layer, layer,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
        .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()  // images
        .Arg<Floats>().Arg<Floats>()  // kernel, mask
        .Attr<int64_t>("stride")
        .Ret<Floats>().Ret<Floats>().Ret<Floats>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(aljax_input_gradient, input_gradient,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
        .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()  // images
        .Arg<Floats>().Arg<Floats>()  // kernel, mask
        .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()  // out, its gradients
        .Attr<int64_t>("stride")
        .Ret<Floats>().Ret<Floats>().Ret<Floats>().Ret<Floats>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(aljax_kernel_gradient, kernel_gradient,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
        .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()  // images
        .Arg<Floats>()  // mask
        .Arg<Floats>().Arg<Floats>().Arg<Floats>()  // out, its gradients
        .Attr<int64_t>("stride")
        .Ret<Floats>());
