// Convolutions of few channels on CPUs, with all that lies between two of them.
//
// Three functions that XLA calls: a layer, and its gradients by images and by kernel;
// direct.py says what each takes and gives. Every image passes through one of them while
// it is in the cache. Sums are taken in an order that images alone decide, so that any
// number of threads gives the same bits.
//
// Images are [B, H, W, C], kernels [S, S, C, F], both float32. C and F are multiples of
// LANES, but for the C of a layer and of its kernel's gradient.

#include "direct_images.h"

namespace {

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
