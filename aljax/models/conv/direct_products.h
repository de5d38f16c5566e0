// Threads, and sums of products in registers: what the kernels of direct.cc compute by.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
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
// Pixels, or tiles, that a product of matrices takes at once; more for sums over them.
constexpr int64_t TOGETHER = 64, MORE = 256;
// A kernel's gradient is added up over this many parts of a batch; a large one over few.
constexpr int64_t PARTS = 16, FEW_PARTS = 4, LARGE = 1 << 16;

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

Lanes& at(float* p) { return *reinterpret_cast<Lanes*>(p); }
const Lanes& at(const float* p) { return *reinterpret_cast<const Lanes*>(p); }

// ---- numbers in memory: float, or bfloat16, which is the upper half of one ------------

typedef uint16_t Bfloat16;
typedef Bfloat16 Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));

Lanes load(const float* p) { return at(p); }
Lanes load(const Bfloat16* p) {
  const Halves& halves = *reinterpret_cast<const Halves*>(p);
  return (Lanes)(__builtin_convertvector(halves, Bits) << 16);
}

void store(float* p, Lanes x) { at(p) = x; }
void store(Bfloat16* p, Lanes x) {  // the nearest, of two the even one; NaN stays
  const Bits bits = (Bits)x, nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const Bits upper = x == x ? nearest : bits >> 16 | 64;
  *reinterpret_cast<Halves*>(p) = __builtin_convertvector(upper, Halves);
}

// Copies n numbers from one kind of memory to the other.
template <typename From, typename To>
void copy(const From* from, int64_t n, To* to) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) store(to + i, load(from + i));
  if (i == n) return;
  float rest[LANES] = {};
  From few[LANES] = {};
  To result[LANES];
  std::copy(from + i, from + n, few);
  at(rest) = load(few);
  store(result, at(rest));
  std::copy_n(result, n - i, to + i);
}

// Where a thread computes n numbers: in place if that takes floats.
template <typename T>
float* place(T* to, int64_t n) {
  if constexpr (std::is_same_v<T, float>) return to;
  static thread_local std::vector<float> own;
  own.resize(n);
  return own.data();
}

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

// Calls work(first, some) for groups of images that are large enough to pay for reading a
// kernel, and small enough for the cache. No bit of a result may depend on them.
void in_groups(ffi::ThreadPool& pool, int64_t images, int64_t pixels_of_one,
               std::function<void(int64_t, int64_t)> work) {
  const int64_t share = (images + pool.num_threads() - 1) / pool.num_threads();
  const int64_t size = std::min(share, std::max<int64_t>(1, TOGETHER / pixels_of_one));
  in_parallel(pool, (images + size - 1) / size, [&](int64_t i) {
    work(i * size, std::min(size, images - i * size));
  });
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
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) sum[p][n] += value * at(kernel + LANES * n);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
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
           const float* g, int64_t g_step, int64_t high, int64_t wide) {
  Lanes sum[I][N] = {};
  for (int64_t h = 0; h < high; ++h) {
    const float* x_pixel = x + h * x_row;
    for (int64_t w = 0; w < wide; ++w, x_pixel += x_step, g += g_step) {
#pragma GCC unroll 16
      for (int i = 0; i < I; ++i) {
        const float value = x_pixel[i];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) sum[i][n] += value * at(g + LANES * n);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < I; ++i) {
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) at(kernel + i * F + LANES * n) += sum[i][n];
  }
}

// Registers that a block of channels fills.
int registers(int64_t channels) { return channels % (2 * LANES) == 0 ? 2 : 1; }

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

// A kernel of the opposite direction: [S * S, C, F], turned by half a circle, with
// channels swapped, [S * S, F, C].
std::vector<float> transposed(ffi::ThreadPool& pool, const float* kernel, int64_t taps,
                              int64_t C, int64_t F) {
  std::vector<float> result(taps * C * F);
  constexpr int64_t SQUARE = 16;
  in_parallel(pool, taps * (C / SQUARE), [&](int64_t i) {
    const int64_t t = i % taps, c = i / taps * SQUARE;
    const float* from = kernel + (t * C + c) * F;
    float* to = result.data() + (taps - 1 - t) * F * C + c;
    for (int64_t f = 0; f < F; f += SQUARE) {
      for (int64_t j = 0; j < SQUARE; ++j) {
        for (int64_t k = 0; k < SQUARE; ++k) to[(f + j) * C + k] = from[k * F + f + j];
      }
    }
  });
  return result;
}

template <typename... Arguments>
void any_row(int registers, Arguments... arguments) {
  if (registers == 2) return row<2>(arguments...);
  row<1>(arguments...);
}

template <int N, typename... Arguments>
void any_block(int64_t channels, Arguments... arguments) {
  if (channels == SUMS / N) return outer<SUMS / N, N>(arguments...);
  if (channels == 3) return outer<3, N>(arguments...);
  outer<1, N>(arguments...);
}

template <typename... Arguments>
void any_outer(int registers, Arguments... arguments) {
  if (registers == 2) return any_block<2>(arguments...);
  any_block<1>(arguments...);
}

}  // namespace
