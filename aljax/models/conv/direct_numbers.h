// Numbers in registers and in memory.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <type_traits>

namespace {

// Channels come in multiples of this, but for those of a network's first images.
constexpr int64_t WHOLE = 16;

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
  static constexpr int64_t LINE = 64;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };

  std::unique_ptr<void, Free> memory_;
  int64_t size_ = 0;
};

// Where a thread computes n numbers that go to `to`: there, if it takes floats.
template <typename T>
float* room_for(T* to, int64_t n) {
  if constexpr (std::is_same_v<T, float>) return to;
  static thread_local Numbers own;
  return own.room(n);
}

// Takes them there.
template <typename T>
void deliver(const float* from, int64_t n, T* to) {
  if constexpr (!std::is_same_v<T, float>) copy(from, n, to);
}

}  // namespace
