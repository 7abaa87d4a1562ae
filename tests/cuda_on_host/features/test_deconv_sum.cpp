// deconv_sum's maps: the CUDA kernels against the CPU kernels on the same columns.
#include <algorithm>
#include <limits>

#include "cpu/features/deconv_tile.h"
#include "cuda/features/deconv_tile.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

struct Shape {
  int64_t batch, channels, height, width;
  int64_t crop_y, crop_x;
  int64_t shift;  // of the maps' first element from where an allocation starts

  int64_t out_height() const { return 2 * height - crop_y; }
  int64_t out_width() const { return 2 * width - crop_x; }
  int64_t map_size() const { return batch * channels * out_height() * out_width() + shift; }
};

DeconvSumTile tile_of(const Shape& s, DType dtype, bool channels_last, bool taps_inner) {
  return {.dtype = dtype,
          .columns = dtype,
          .channels_last = channels_last,
          .taps_inner = taps_inner,
          .channels = s.channels,
          .in_height = s.height,
          .in_width = s.width,
          .out_height = s.out_height(),
          .out_width = s.out_width(),
          .first_line = 0,
          .lines = 0};
}

// Where the CPU kernel has a column (pixel of the tile, tap, channel), and where the CUDA kernel.
int64_t cpu_column(const DeconvSumTile& t, int64_t pixel, int64_t tap, int64_t channel) {
  return pixel * 4 * t.channels + (t.taps_inner ? 4 * channel + tap : tap * t.channels + channel);
}

int64_t cuda_column(const DeconvSumTile& t, int64_t pixel, int64_t tap, int64_t channel) {
  if (t.channels_last) {
    return cpu_column(t, pixel, tap, channel);
  }
  const int64_t plane = std::min(t.lines, t.in_height) * t.in_width;
  return ((pixel / plane * t.channels + channel) * 4 + tap) * plane + pixel % plane;
}

// f(index in the CPU's columns, index in the CUDA kernel's).
template <class F>
void for_columns(const DeconvSumTile& t, const F& f) {
  for (int64_t pixel = 0; pixel < t.lines * t.in_width; ++pixel) {
    for (int64_t tap = 0; tap < 4; ++tap) {
      for (int64_t c = 0; c < t.channels; ++c) {
        f(cpu_column(t, pixel, tap, c), cuda_column(t, pixel, tap, c));
      }
    }
  }
}

// f(tile) for tiles of `lines` lines: of single images where these are not whole ones.
template <class F>
void for_tiles(DeconvSumTile tile, int64_t batch, int64_t lines, const F& f) {
  const int64_t height = tile.in_height, all = batch * height;
  for (tile.first_line = 0; tile.first_line < all; tile.first_line += tile.lines) {
    tile.lines = std::min(lines, lines < height ? height - tile.first_line % height : all - tile.first_line);
    f(tile);
  }
}

// Numbers of which some sums are infinite, NaN or zero.
template <class T>
Array<T> features(Random& random, int64_t n) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f, 60000.0f, -60000.0f, infinity, -infinity, infinity - infinity};
  Array<T> a = random.array<T>(n, -2, 2);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t which = random.below(40);
    a[i] = which < 6 ? round_to<T>(special[which]) : a[i];
  }
  return a;
}

// C: the type of the CPU's columns.
template <class T, class C>
void check_maps_beside(const Shape& s, bool channels_last, bool taps_inner, int64_t lines, bool bias, bool relu) {
  Random random(static_cast<uint64_t>(s.map_size() + lines));
  const Array<T> lateral = features<T>(random, s.map_size()), biases = features<T>(random, s.channels);
  const Array<T> grad = features<T>(random, s.map_size());
  Array<T> expected(s.map_size()), got(s.map_size()), lateral1(s.map_size()), lateral2(s.map_size());
  for_tiles(tile_of(s, kDType<T>, channels_last, taps_inner), s.batch, lines, [&](const DeconvSumTile& tile) {
    const int64_t size = tile.lines * s.width * 4 * s.channels;
    const Array<T> columns = features<T>(random, size);
    DeconvSumTile cpu_tile = tile;
    cpu_tile.columns = kDType<C>;
    Array<C> cpu_columns(size);
    for_columns(tile, [&](int64_t there, int64_t here) {
      if constexpr (std::is_same_v<T, C>) {
        cpu_columns[there] = columns[here];
      } else {
        cpu_columns[there] = load(columns[here]);
      }
    });
    DeconvScatterArgs args{cpu_tile, cpu_columns.data(),       bias ? biases.data() : nullptr, lateral.data() + s.shift,
                           relu,     expected.data() + s.shift};
    cpu::deconv_scatter(args, one_thread());
    args.tile = tile;
    args.columns = columns.data();
    args.out = got.data() + s.shift;
    cuda::deconv_scatter(args, nullptr);

    const T* const out = relu ? expected.data() + s.shift : nullptr;
    DeconvGatherArgs back{cpu_tile, grad.data() + s.shift, out, cpu_columns.data(), lateral1.data() + s.shift};
    cpu::deconv_gather(back, one_thread());
    Array<T> grad_columns(size);
    back.tile = tile;
    back.columns = grad_columns.data();
    back.grad_lateral = lateral2.data() + s.shift;
    cuda::deconv_gather(back, nullptr);
    Array<T> expected_columns(size);
    for_columns(tile,
                [&](int64_t there, int64_t here) { expected_columns[here] = round_to<T>(load(cpu_columns[there])); });
    expect_close("deconv_gather, columns", grad_columns, expected_columns);
    back.columns = nullptr;
    cuda::deconv_gather(back, nullptr);
  });
  expect_close("deconv_scatter", got, expected);
  expect_close("deconv_gather, lateral", lateral2, lateral1);
}

// For half types the CPU's columns may be float32, for float16 they always are.
template <class T>
void check_maps(const Shape& s, bool channels_last, bool taps_inner, int64_t lines, bool bias, bool relu) {
  if constexpr (sizeof(T) == 2) {
    check_maps_beside<T, float>(s, channels_last, taps_inner, lines, bias, relu);
  }
  if constexpr (!std::is_same_v<T, Half>) {
    check_maps_beside<T, T>(s, channels_last, taps_inner, lines, bias, relu);
  }
}

template <class T>
void check_bias(int64_t batch, int64_t channels, int64_t pixels, bool channels_last) {
  Random random(static_cast<uint64_t>(batch * channels * pixels));
  const Array<T> grad = random.array<T>(batch * channels * pixels, -1, 1);
  Array<double> sums(channels);
  Array<T> expected(channels), got(channels);
  std::fill(sums.begin(), sums.end(), 0.0);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < pixels; ++p) {
        sums[c] += static_cast<double>(
            load(grad[channels_last ? (b * pixels + p) * channels + c : (b * channels + c) * pixels + p]));
      }
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    expected[c] = round_to<T>(static_cast<Accumulate<T>>(sums[c]));
  }
  cuda::DeconvBiasArgs args{kDType<T>, channels_last, batch, channels, pixels, grad.data(), got.data()};
  Array<char> workspace(cuda::deconv_bias_workspace(args));
  cuda::deconv_bias(args, workspace.data(), nullptr);
  // float32 sums of numbers up to 1 in another order; half types once rounded
  expect_close("deconv_bias", got, expected, std::is_same_v<T, float> ? 1e-5 : std::is_same_v<T, Half> ? 1e-3 : 8e-3);
}

}  // namespace

CUDA_CASE(deconv_sum_channels_last) {
  for_dtypes([]<class T>(Tag<T>) {
    for (const bool taps_inner : {true, false}) {
      check_maps<T>({2, 16, 3, 4, 0, 0, 0}, true, taps_inner, 6, true, true);
      check_maps<T>({2, 8, 3, 3, 1, 1, 0}, true, taps_inner, 2, true, false);
      check_maps<T>({1, 8, 3, 3, 1, 0, 1}, true, taps_inner, 3, false, true);
      check_maps<T>({1, 5, 2, 3, 0, 1, 0}, true, taps_inner, 2, true, true);
    }
  });
}

CUDA_CASE(deconv_sum_planes) {
  for_dtypes([]<class T>(Tag<T>) {
    check_maps<T>({2, 3, 3, 8, 1, 0, 0}, false, true, 6, true, true);
    check_maps<T>({2, 2, 5, 8, 0, 0, 0}, false, true, 2, true, true);
    check_maps<T>({3, 2, 2, 6, 0, 0, 0}, false, true, 4, false, false);
    check_maps<T>({2, 3, 3, 5, 0, 0, 0}, false, true, 6, true, true);
    check_maps<T>({1, 2, 2, 4, 0, 0, 1}, false, true, 2, true, true);
    check_maps<T>({2, 2, 3, 5, 1, 1, 0}, false, true, 2, true, true);
  });
}

CUDA_CASE(deconv_sum_double) {
  check_maps<double>({1, 4, 2, 3, 0, 0, 0}, true, true, 2, true, true);
  check_maps<double>({1, 2, 2, 3, 0, 1, 0}, false, true, 2, true, true);
}

CUDA_CASE(deconv_bias) {
  for_dtypes([]<class T>(Tag<T>) {
    for (const bool channels_last : {true, false}) {
      check_bias<T>(2, 40, 96, channels_last);
      check_bias<T>(3, 5, 33, channels_last);
      check_bias<T>(0, 3, 4, channels_last);
    }
    check_bias<T>(1, 2, 5000, false);
    check_bias<T>(1, 264, 40, true);
  });
}

CUDA_CASE(deconv_sum_empty) {
  check_maps<float>({0, 3, 2, 2, 0, 0, 0}, true, true, 2, true, true);
  check_maps<float>({2, 0, 2, 2, 0, 0, 0}, false, true, 4, true, true);
  check_bias<float>(2, 0, 4, true);
}
