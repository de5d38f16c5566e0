// Convolutions on CPUs, with all that lies between two of them.
//
// Three functions that XLA calls: a layer, and its gradients by images and by kernel;
// direct.py says what each takes and gives. Every image passes through one of them while
// it is in the cache. Sums are taken in an order that images alone decide, so that any
// number of threads gives the same bits.
//
// Images are [B, H, W, C], of float32 or bfloat16, kernels [S, S, C, F] of float32, which
// all is computed in, though direct_amx.h rounds what is multiplied. C and F are multiples
// of WHOLE, but for the C of a layer and of its kernel's gradient.

#include <optional>

#include "direct_amx_sums.h"
#include "direct_sums.h"
#include "direct_tiles.h"

namespace {

// Whether direct_amx.h computes a layer of images of type T. Winograd's algorithm saves more
// than products of pairs by AVX-512 do.
template <typename T>
bool by_amx(int64_t S, int64_t stride, int64_t C, int64_t F) {
  if (!std::is_same_v<T, Bfloat16> || C % DEEP || F % DEEP) return false;
  return ALJAX_AMX == 2 ? !by_tiles(S, stride, C) : ALJAX_AMX;
}

template <typename T>
ffi::Error layer(ffi::ThreadPool pool, Images<T> y, Floats norm, Images<T> rest,
                 Floats rest_norm, Floats kernel, Floats mask, int64_t stride,
                 ffi::Result<Images<T>> out, ffi::Result<Floats> seen,
                 ffi::Result<Images<T>> kept) {
  const Pending<T> x(y, norm, rest, rest_norm);
  const int64_t S = kernel.dimensions()[0], F = kernel.dimensions()[3];
  const int64_t high = out->dimensions()[1], wide = out->dimensions()[2];
  const int64_t size = high * wide * F;
  const FlushTiny flush;
  const bool measured = mask.element_count();  // then results are read again at once
  const bool past = !measured && streams(out->typed_data(), x.B * size);
  const bool past_there = past && IN_PLACE<T>;
  const bool past_kept = !measured && streams(kept->typed_data(), kept->element_count());
  std::vector<Moments> of_image(mask.element_count(), Moments(F));
  auto read = [&](Numbers& to, int64_t image, const Frame& frame) {
    const float* value = x.value(to, image, frame);
    if (!kept->element_count()) return;
    for (int64_t h = 0; h < x.H; ++h) {
      copy(value + h * frame.columns * x.C, x.W * x.C,
           kept->typed_data() + image * x.size() + h * x.W * x.C, past_kept);
    }
  };
  auto results = [&](int64_t image, int64_t n) {
    return room_for(out->typed_data() + image * size, n);
  };
  auto there = [&](int64_t image, int64_t) { return out->typed_data() + image * size; };
  auto done = [&](int64_t image, const auto* result) {
    T* to = out->typed_data() + image * size;
    deliver(result, size, to, past);
    if (!measured || mask.typed_data()[image] == 0) return;
    of_image[image] = moments(to, high, wide, F);
  };
  if (by_amx<T>(S, stride, x.C, F)) {
    const Framed framed{Frame::around(x.H, x.W, S / 2), x.H, x.W};
    const Numbers weights = packed_pairs(pool, kernel.typed_data(), S * S, x.C, F);
    convolve_amx(pool, x.B, high * wide, framed, x.C, F, {grid_of(high, wide, S, stride)},
                 S * S, weights, read, there, past, done);
  } else if (by_tiles(S, stride, x.C)) {
    const KernelPoints points = kernel_points(pool, kernel.typed_data(), x.C, F);
    convolve_tiles(pool, x.B, high, wide, x.C, F, points, past_there, read, results,
                   done);
  } else {
    const Numbers weights = packed(kernel.typed_data(), S * S, x.C, F);
    const Frame frame = Frame::around(x.H, x.W, S / 2);
    const int64_t across = frame.columns * x.C, block = LANES * registers(F);
    const Rows rows(high, wide, S * stride == 1, 1, F);
    convolve_rows(
        pool, x.B, high * wide, rows, frame, F, read, results, done,
        [&](const float* value, int64_t h, int64_t f, float* to, std::vector<Tap>& taps) {
          for (int64_t t = 0; t < S * S; ++t) {
            const float* from = value + (h * stride + t / S) * across + t % S * x.C;
            taps.push_back({from, weights.data() + (f * S * S + t * block) * x.C});
          }
          const Steps of_x{stride * x.C, rows.second * stride * across};
          const Places of_y{{F, rows.second * rows.columns * F}, past_there};
          any_row(registers(F), to, of_y, taps.data(), int(S * S), of_x, x.C, rows.columns);
        });
  }

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

template <typename T>
ffi::Error input_gradient(ffi::ThreadPool pool, Images<T> y, Floats norm, Images<T> rest,
                          Floats rest_norm, Floats kernel, Floats mask, Images<T> out,
                          Floats through, Images<T> g, Images<T> g_kept, int64_t stride,
                          ffi::Result<Images<T>> dy, ffi::Result<Floats> dnorm,
                          ffi::Result<Images<T>> drest, ffi::Result<Floats> drest_norm) {
  const Pending<T> x(y, norm, rest, rest_norm);
  const int64_t S = kernel.dimensions()[0], F = kernel.dimensions()[3], C = x.C;
  const Pulled<T> pull(g, out, through, mask);
  const Numbers swapped = transposed(pool, kernel.typed_data(), S * S, C, F);
  const FlushTiny flush;
  // Of each image: factor and bias of the norm, and of that of the rest.
  std::vector<float> sums(x.B * 4 * C);
  auto results = [&](int64_t image, int64_t n) {
    return room_for(dy->typed_data() + image * x.size(), n);
  };
  auto done = [&](int64_t image, float* dx) {
    if (const T* more = present(g_kept)) {
      more += image * x.size();
      for (int64_t i = 0; i < x.size(); i += LANES) at(dx + i) += load(more + i);
    }
    T* to = dy->typed_data() + image * x.size();
    if (!x.norm) return deliver(dx, x.size(), to);
    T* to_rest = x.rest ? drest->typed_data() + image * x.size() : nullptr;
    pull_value(x, image, dx, to, to_rest, sums.data() + image * 4 * C);
  };
  auto read = [&](auto&&... a) { pull.value(a...); };
  const int64_t border = S / 2;
  auto meets = [&](int64_t to, int64_t k) {  // whether output (to + k) / stride is one
    return (to - border + k + S * stride) % stride == 0;
  };
  // Never negative, for the border comes first.
  auto met = [&](int64_t to, int64_t k) {
    return (to - border + k + border * stride) / stride;
  };
  if (by_amx<T>(S, stride, C, F)) {
    const Framed framed{Frame::around(pull.high, pull.wide, border), pull.high, pull.wide};
    const Numbers weights = packed_pairs(pool, swapped.data(), S * S, F, C);
    std::vector<Grid> grids;
    for (int64_t h = 0; h < stride; ++h) {
      for (int64_t w = 0; w < stride; ++w) {
        Grid grid{(x.H - h + stride - 1) / stride, (x.W - w + stride - 1) / stride, 1,
                  h * x.W + w, stride * x.W, stride, {}};
        for (int64_t t = 0; t < S * S; ++t) {
          if (!meets(h, t / S) || !meets(w, t % S)) continue;
          grid.offsets.push_back({met(h, t / S), met(w, t % S), t});
        }
        grids.push_back(grid);
      }
    }
    convolve_amx(pool, x.B, x.H * x.W, framed, F, C, grids, S * S, weights, read, results,
                 false, done);
  } else if (by_tiles(S, stride, C)) {
    const KernelPoints points = kernel_points(pool, swapped.data(), F, C);
    convolve_tiles(pool, x.B, x.H, x.W, F, C, points, false, read, results, done);
  } else {
    const Numbers weights = packed(swapped.data(), S * S, F, C);
    const int64_t block = LANES * registers(C);
    const Frame frame = Frame::around(pull.high, pull.wide, border);
    const int64_t across = frame.columns * F;
    const Rows rows(x.H, x.W, S * stride == 1, stride, C);
    convolve_rows(
        pool, x.B, pull.high * pull.wide, rows, frame, C, read, results, done,
        [&](const float* pulled, int64_t h, int64_t c, float* to, std::vector<Tap>& taps) {
          for (int64_t q = 0; q < std::min(stride, rows.columns); ++q) {
            taps.clear();
            for (int64_t t = 0; t < S * S; ++t) {
              if (!meets(h, t / S) || !meets(q, t % S)) continue;
              const float* from = pulled + met(h, t / S) * across + met(q, t % S) * F;
              taps.push_back({from, weights.data() + (c * S * S + t * block) * F});
            }
            const Places of_dx{{stride * C, rows.second * rows.columns * C}};
            any_row(registers(C), to + q * C, of_dx, taps.data(), int(taps.size()),
                    Steps{F, rows.second / stride * across}, F,
                    (rows.columns - q + stride - 1) / stride);
          }
        });
  }

  auto add_up = [&](ffi::Result<Floats>& to, const float* norm, const float* sum) {
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

template <typename T>
ffi::Error kernel_gradient(ffi::ThreadPool pool, Images<T> y, Floats norm, Images<T> rest,
                           Floats rest_norm, Floats mask, Images<T> out, Floats through,
                           Images<T> g, int64_t stride, ffi::Result<Floats> dkernel) {
  const Pending<T> x(y, norm, rest, rest_norm);
  const int64_t S = dkernel->dimensions()[0], F = dkernel->dimensions()[3], C = x.C;
  const Pulled<T> pull(g, out, through, mask);
  const bool amx = by_amx<T>(S, stride, C, F);
  if (!amx && by_tiles(S, stride, C)) {
    tiles_kernel_gradient(
        pool, x.B, pull.high, pull.wide, C, F, dkernel->typed_data(),
        [&](auto&&... a) { x.value(a...); }, [&](auto&&... a) { pull.value(a...); });
    return ffi::Error::Success();
  }
  const Frame frame = Frame::around(x.H, x.W, S / 2);
  std::optional<KernelSums> in_tiles;
  std::optional<BlockSums> in_blocks;
  if (amx) {
    const Grid grid = grid_of(pull.high, pull.wide, S, stride);
    in_tiles.emplace(Framed{frame, x.H, x.W}, grid, C, F);
  } else {
    in_blocks.emplace(frame, pull.high, pull.wide, S, stride, C, F);
  }
  const Frame bare = amx ? in_tiles->pulled : in_blocks->pulled;
  const int64_t together = amx ? in_tiles->images : in_blocks->images;
  const int64_t most = amx ? std::clamp(x.B / together, FEW_PARTS, PARTS) : PARTS;
  const int64_t size = S * S * C * F;
  const int64_t parts = std::min(x.B, size > LARGE ? FEW_PARTS : most);
  std::vector<std::vector<float>> of_part(parts);

  in_parallel(pool, parts, [&](int64_t part) {
    static thread_local std::vector<Numbers> values(MORE), pulled(MORE);
    of_part[part].assign(size, 0.0f);
    float* sums = of_part[part].data();
    const int64_t stop = (part + 1) * x.B / parts;
    for (int64_t first = part * x.B / parts, many; first < stop; first += many) {
      many = std::min(stop - first, together);
      for (int64_t i = 0; i < many; ++i) {
        x.value(values[i], first + i, frame);
        pull.value(pulled[i], first + i, bare);
      }
      if (amx) {
        in_tiles->add(sums, values.data(), pulled.data(), many);
      } else {
        in_blocks->add(sums, values.data(), pulled.data(), many);
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
#define DEFINE_KERNELS(T, NAME)                                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(aljax_layer_##NAME, layer<T>,                    \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()                                    \
          .Arg<Images<T>>().Arg<Floats>().Arg<Images<T>>().Arg<Floats>()         \
          .Arg<Floats>().Arg<Floats>()  /* kernel, mask */                       \
          .Attr<int64_t>("stride")                                               \
          .Ret<Images<T>>().Ret<Floats>().Ret<Images<T>>());                     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(aljax_input_gradient_##NAME, input_gradient<T>,  \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()                                    \
          .Arg<Images<T>>().Arg<Floats>().Arg<Images<T>>().Arg<Floats>()         \
          .Arg<Floats>().Arg<Floats>()  /* kernel, mask */                       \
          .Arg<Images<T>>().Arg<Floats>()  /* out, through */                    \
          .Arg<Images<T>>().Arg<Images<T>>()  /* their gradients */              \
          .Attr<int64_t>("stride")                                               \
          .Ret<Images<T>>().Ret<Floats>().Ret<Images<T>>().Ret<Floats>());       \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(aljax_kernel_gradient_##NAME, kernel_gradient<T>,\
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()                                    \
          .Arg<Images<T>>().Arg<Floats>().Arg<Images<T>>().Arg<Floats>()         \
          .Arg<Floats>()  /* mask */                                             \
          .Arg<Images<T>>().Arg<Floats>()  /* out, through */                    \
          .Arg<Images<T>>()  /* its gradient */                                  \
          .Attr<int64_t>("stride")                                               \
          .Ret<Floats>())

DEFINE_KERNELS(float, float32);
DEFINE_KERNELS(Bfloat16, bfloat16);

extern "C" const int aljax_amx = ALJAX_AMX;
