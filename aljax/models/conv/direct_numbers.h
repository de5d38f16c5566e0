// Numbers in registers and in memory.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <type_traits>

#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace {

// Channels come in multiples of this, but for those of a network's first images.
constexpr int64_t WHOLE = 16;
// Bytes: of a line of the cache; of what a cache may still hold when it is read.
constexpr int64_t LINE = 64, CACHED = 1 << 25;

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

Lanes& at(float* p) { return *reinterpret_cast<Lanes*>(p); }
const Lanes& at(const float* p) { return *reinterpret_cast<const Lanes*>(p); }

// ---- float, or bfloat16, which is the upper half of one -----------------------------

typedef uint16_t Bfloat16;
typedef Bfloat16 Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));

Lanes load(const float* p) { return at(p); }
Lanes load(const Bfloat16* p) {
  const Halves& halves = *reinterpret_cast<const Halves*>(p);
  return (Lanes)(__builtin_convertvector(halves, Bits) << 16);
}

Halves rounded(Lanes x) {  // to the nearest, of two the even one; NaN stays
#if defined(__AVX512BF16__)
  return (Halves)_mm512_cvtneps_pbh((__m512)x);
#endif
  const Bits bits = (Bits)x, nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const Bits upper = x == x ? nearest : bits >> 16 | 64;
  return __builtin_convertvector(upper, Halves);
}

void store(float* p, Lanes x) { at(p) = x; }
void store(Bfloat16* p, Lanes x) { *reinterpret_cast<Halves*>(p) = rounded(x); }

// Stores past the cache, which would read a line before it is written. Only with AVX-512,
// where a register is a line; `fence` makes what was stored so visible to other threads.
#if defined(__AVX512F__)
void stream(float* p, Lanes x) { _mm512_stream_ps(p, (__m512)x); }
void stream(Bfloat16* p, Lanes x) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)rounded(x));
}
void fence() { _mm_sfence(); }
#else
template <typename T>
void stream(T* p, Lanes x) {
  store(p, x);
}
void fence() {}
#endif

// Whether n numbers from p on are so many that no cache holds them until they are read, and
// begin with a line.
template <typename T>
bool streams(const T* p, int64_t n) {
  return n * int64_t(sizeof(T)) >= CACHED && reinterpret_cast<uintptr_t>(p) % LINE == 0;
}

template <typename T>
void put(T* p, Lanes x, bool past) {
  past ? stream(p, x) : store(p, x);
}

// Copies n numbers from one kind of memory to the other; past the cache only whole lines.
template <typename From, typename To>
void copy(const From* from, int64_t n, To* to, bool past = false) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) put(to + i, load(from + i), past);
  if (i == n) return;
  float rest[LANES] = {};
  From few[LANES] = {};
  To result[LANES];
  std::copy(from + i, from + n, few);
  at(rest) = load(few);
  store(result, at(rest));
  std::copy_n(result, n - i, to + i);
}

// ---- memory -------------------------------------------------------------------------

// Floats that begin with a line of the cache and are not cleared. Like XLA, it ends the
// process if there is no memory.
class Numbers {
 public:
  Numbers() = default;
  explicit Numbers(int64_t n) { room(n); }

  float* data() const {
    const auto place = reinterpret_cast<uintptr_t>(memory_.get());
    return reinterpret_cast<float*>((place + LINE - 1) / LINE * LINE);
  }

  // Makes room for n numbers, which loses those that were there if it has to grow.
  float* room(int64_t n) {
    if (n <= size_) return data();
    memory_.reset();
    // Not aligned_alloc, which leaves memory in pieces.
    memory_.reset(std::malloc(4 * n + LINE));
    if (!memory_) std::terminate();
    size_ = n;
    return data();
  }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };

  std::unique_ptr<void, Free> memory_;
  int64_t size_ = 0;
};

// Whether results are computed where they go: floats.
template <typename T>
constexpr bool IN_PLACE = std::is_same_v<T, float>;

// Where a thread computes n numbers that go to `to`.
template <typename T>
float* room_for(T* to, int64_t n) {
  if constexpr (IN_PLACE<T>) return to;
  static thread_local Numbers own;
  return own.room(n);
}

// Takes them there, if they are not.
template <typename From, typename To>
void deliver(const From* from, int64_t n, To* to, bool past = false) {
  if constexpr (!std::is_same_v<From, To>) copy(from, n, to, past);
}

}  // namespace
