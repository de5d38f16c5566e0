// Threads, and sums of products in registers: what the kernels of direct.cc compute by.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#include "direct_numbers.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

// Sums that are under way at once, in registers of LANES floats.
constexpr int SUMS = LANES == 16 ? 16 : 8;
// Pixels, or tiles, that a product of matrices takes at once; more for sums over them.
constexpr int64_t TOGETHER = 64, MORE = 256;
// A kernel's gradient is added up over this many parts of a batch; a large one, and one
// that needs many images at a time, over few.
constexpr int64_t PARTS = 16, FEW_PARTS = 4, LARGE = 1 << 16;

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

  void take_part() noexcept {
    FlushTiny flush;
    int64_t mine = 0;
    for (int64_t i; (i = next++) < count; ++mine) work(i);
    fence();
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
  const int64_t helpers = std::min(pool.num_threads(), count) - 1;
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
               int64_t together, std::function<void(int64_t, int64_t)> work) {
  const int64_t threads = std::max<int64_t>(1, pool.num_threads());
  const int64_t share = (images + threads - 1) / threads;
  const int64_t size = std::min(share, std::max<int64_t>(1, together / pixels_of_one));
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

// Registers that a block of channels fills.
int registers(int64_t channels) { return channels % (2 * LANES) == 0 ? 2 : 1; }

// How far pixels lie apart: the next one, and the row that is computed along with theirs,
// if there is one.
struct Steps {
  int64_t pixel, row;
};

// Where sums go: as far apart, and perhaps past the cache.
struct Places : Steps {
  bool past = false;
};

// y[p] = Σ over taps and c of x[p][c] kernel[c], LANES * N sums of P pixels, the second
// half of which lies in another row.
template <int P, int N>
void pixels(float* y, Places of_y, const Tap* taps, int count, Steps of_x, int64_t C) {
  constexpr int HALF = (P + 1) / 2;
  Lanes sum[P][N] = {};
  for (int t = 0; t < count; ++t) {
    const float* x = taps[t].x;
    const float* kernel = taps[t].kernel;
    for (int64_t c = 0; c < C; ++c, kernel += LANES * N) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const float value = x[p / HALF * of_x.row + p % HALF * of_x.pixel + c];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) sum[p][n] += value * at(kernel + LANES * n);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
    float* to = y + p / HALF * of_y.row + p % HALF * of_y.pixel;
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) put(to + LANES * n, sum[p][n], of_y.past);
  }
}

// Pixels whose sums of a block of channels fill the registers.
int64_t tile(int64_t channels) { return SUMS / registers(channels); }

// The same for any number of pixels in a row, or for two rows that fill a tile.
template <int N>
void row(float* y, Places of_y, Tap* taps, int count, Steps of_x, int64_t C,
         int64_t length) {
  constexpr int WIDE = SUMS / N;
  if (of_y.row) return pixels<WIDE, N>(y, of_y, taps, count, of_x, C);
  auto some = [&](auto many) {
    constexpr int P = decltype(many)::value;
    for (; length >= P; length -= P) {
      pixels<P, N>(y, {{of_y.pixel, P / 2 * of_y.pixel}, of_y.past}, taps, count,
                   {of_x.pixel, P / 2 * of_x.pixel}, C);
      for (int t = 0; t < count; ++t) taps[t].x += P * of_x.pixel;
      y += P * of_y.pixel;
    }
  };
  some(std::integral_constant<int, WIDE>());
  if (WIDE > 4) some(std::integral_constant<int, 4>());
  some(std::integral_constant<int, 1>());
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

// A kernel in the order in which it is read: [blocks of F][S * S][C][a block].
Numbers packed(const float* kernel, int64_t taps, int64_t C, int64_t F) {
  const int64_t block = LANES * registers(F);
  Numbers result(taps * C * F);
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
Numbers transposed(ffi::ThreadPool& pool, const float* kernel, int64_t taps, int64_t C,
                   int64_t F) {
  Numbers result(taps * C * F);
  in_parallel(pool, taps * (C / WHOLE), [&](int64_t i) {
    const int64_t t = i % taps, c = i / taps * WHOLE;
    const float* from = kernel + (t * C + c) * F;
    float* to = result.data() + (taps - 1 - t) * F * C + c;
    for (int64_t f = 0; f < F; f += WHOLE) {
      for (int64_t j = 0; j < WHOLE; ++j) {
        for (int64_t k = 0; k < WHOLE; ++k) to[(f + j) * C + k] = from[k * F + f + j];
      }
    }
  });
  return result;
}

template <typename... Arguments>
void any_row(int n, Arguments... arguments) {
  if (n == 2) return row<2>(arguments...);
  row<1>(arguments...);
}

template <int N, typename... Arguments>
void any_block(int64_t channels, Arguments... arguments) {
  if (channels == SUMS / N) return outer<SUMS / N, N>(arguments...);
  if (channels == 3) return outer<3, N>(arguments...);
  outer<1, N>(arguments...);
}

template <typename... Arguments>
void any_outer(int n, Arguments... arguments) {
  if (n == 2) return any_block<2>(arguments...);
  any_block<1>(arguments...);
}

}  // namespace
