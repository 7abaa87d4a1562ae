// deconv_sum on tensor cores: against the sums in float64.
#include <algorithm>

#include "cuda/features/deconv_product.h"
#include "cuda/primitives/tensor_core.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

enum Layout { pixels, pixels_taps_inner, planes };

struct Problem {
  int64_t batch, in_channels, channels, height, width, crop_y, crop_x;

  int64_t out_height() const { return 2 * height - crop_y; }
  int64_t out_width() const { return 2 * width - crop_x; }
};

DeconvSumShape shape_of(const Problem& c, DType dtype, Layout layout) {
  return {.dtype = dtype,
          .channels_last = layout != planes,
          .taps_inner = layout != pixels,
          .batch = c.batch,
          .in_channels = c.in_channels,
          .channels = c.channels,
          .in_height = c.height,
          .in_width = c.width,
          .out_height = c.out_height(),
          .out_width = c.out_width()};
}

// An element of maps of `channels` x height x width.
int64_t index_of(Layout layout, int64_t channels, int64_t height, int64_t width, int64_t image, int64_t channel,
                 int64_t y, int64_t x) {
  return layout == planes ? ((image * channels + channel) * height + y) * width + x
                          : ((image * height + y) * width + x) * channels + channel;
}

// As tensor cores see them.
template <class T>
std::vector<double> factors(const Array<T>& numbers) {
  std::vector<double> seen;
  for (const T& x : numbers) {
    float y = load(x);
    if constexpr (std::is_same_v<T, float>) {
      y = bits_to_float(static_cast<int32_t>(cuda::round_to_tf32(static_cast<uint32_t>(float_to_bits(x)))));
    }
    seen.push_back(static_cast<double>(y));
  }
  return seen;
}

// Sums in float32, in another order than here; of half types then a rounding, which may fall to the other side.
template <class T>
constexpr double kClose = std::is_same_v<T, float>  ? 1e-5
                          : std::is_same_v<T, Half> ? 1e-3
                                                    : 8e-3;

template <class T>
void check(const Problem& c, Layout layout, bool with_bias, bool relu) {
  const DeconvSumShape shape = shape_of(c, kDType<T>, layout);
  const int64_t ci = c.in_channels, co = c.channels, out_h = c.out_height(), out_w = c.out_width();
  Random random(static_cast<uint64_t>(100 * ci + co + c.width));
  const Array<T> input = random.array<T>(c.batch * ci * c.height * c.width, -1, 1),
                 weight = random.array<T>(ci * co * 4, -1, 1), bias = random.array<T>(co, -1, 1),
                 lateral = random.array<T>(c.batch * co * out_h * out_w, -1, 1);
  const std::vector<double> left = factors(input), right = factors(weight);
  Array<T> expected(lateral.size()), got(lateral.size());
  for (int64_t image = 0; image < c.batch; ++image) {
    for (int64_t o = 0; o < co; ++o) {
      for (int64_t y = 0; y < out_h; ++y) {
        for (int64_t x = 0; x < out_w; ++x) {
          const int64_t tap = y % 2 * 2 + x % 2, at = index_of(layout, co, out_h, out_w, image, o, y, x);
          double sum = 0;
          for (int64_t i = 0; i < ci; ++i) {
            const int64_t column = shape.taps_inner ? (i * co + o) * 4 + tap : (i * 4 + tap) * co + o;
            const int64_t element = index_of(layout, ci, c.height, c.width, image, i, y / 2, x / 2);
            sum += left[static_cast<size_t>(element)] * right[static_cast<size_t>(column)];
          }
          sum += static_cast<double>(load(lateral[at])) + (with_bias ? static_cast<double>(load(bias[o])) : 0.0);
          expected[at] = round_to<T>(static_cast<float>(relu ? std::fmax(sum, 0.0) : sum));
        }
      }
    }
  }
  const DeconvSumArgs args{.shape = shape,
                           .input = input.data(),
                           .weight = weight.data(),
                           .bias = with_bias ? bias.data() : nullptr,
                           .lateral = lateral.data(),
                           .relu = relu,
                           .out = got.data()};
  expect(cuda::deconv_product_takes(args, true), "it takes these arguments");
  const int64_t conflicts = coh::bank_conflicts;
  cuda::deconv_product(args, nullptr);
  expect_close("deconv_product", got, expected, kClose<T>);
  expect(coh::bank_conflicts == conflicts, "no bank conflicts of fragments");
}

// Small tiles; large ones, which are taken where there are 3, as many as the emulator has multiprocessors; more of them
// than the 6 blocks that there are, with the input's chunks in shared memory, or with too few chunks for that (less
// than 3, of 32 half channels or 16 of float), or too many (more than 11).
const Problem kPixels[] = {
    {2, 8, 4, 3, 3, 0, 0},     {1, 40, 20, 5, 7, 1, 1},    {3, 200, 36, 3, 5, 0, 1},
    {3, 24, 72, 13, 11, 1, 0}, {2, 104, 40, 13, 21, 1, 1}, {1, 392, 80, 15, 20, 0, 0},
};
const Problem kPlanes[] = {
    {2, 3, 4, 4, 2, 0, 0},
    {1, 40, 20, 4, 10, 1, 0},
    {3, 200, 36, 4, 4, 0, 0},
    {2, 100, 40, 12, 22, 1, 0},
};

template <class T>
void check_layouts() {
  for (size_t i = 0; i < std::size(kPixels); ++i) {
    check<T>(kPixels[i], pixels, i % 2 == 0, i % 3 == 0);
    check<T>(kPixels[i], pixels_taps_inner, i % 2 != 0, i % 3 != 0);
  }
  for (size_t i = 0; i < std::size(kPlanes); ++i) {
    check<T>(kPlanes[i], planes, i % 2 == 0, i % 3 == 0);
  }
}

template <class T>
DeconvSumArgs some_args(const Problem& c, Layout layout, const Array<T>& memory) {
  return {.shape = shape_of(c, kDType<T>, layout),
          .input = memory.data(),
          .weight = memory.data(),
          .bias = memory.data(),
          .lateral = memory.data(),
          .relu = false,
          .out = memory.data()};
}

template <class T>
bool takes(const Problem& c, Layout layout, bool tf32 = true) {
  const Array<T> memory(64);
  return cuda::deconv_product_takes(some_args<T>(c, layout, memory), tf32);
}

}  // namespace

CUDA_CASE(deconv_product_float16) { check_layouts<Half>(); }
CUDA_CASE(deconv_product_bfloat16) { check_layouts<BFloat16>(); }
CUDA_CASE(deconv_product_tf32) { check_layouts<float>(); }

CUDA_CASE(deconv_product_takes) {
  expect(takes<Half>({2, 8, 4, 3, 3, 1, 1}, pixels), "whole pieces of channels");
  expect(!takes<Half>({2, 12, 4, 3, 3, 1, 1}, pixels) && takes<float>({2, 12, 4, 3, 3, 1, 1}, pixels), "and a rest");
  expect(!takes<Half>({2, 8, 6, 3, 3, 1, 1}, pixels), "channels that are no multiple of 4");
  expect(!takes<Half>({2, 0, 4, 3, 3, 0, 0}, pixels) && !takes<Half>({0, 8, 4, 3, 3, 0, 0}, pixels), "nothing there");
  expect(takes<Half>({2, 3, 4, 4, 6, 1, 0}, planes), "whole pieces of planes");
  expect(!takes<Half>({2, 3, 4, 2, 6, 1, 0}, planes), "a piece of two planes");
  expect(!takes<Half>({2, 3, 4, 8, 3, 1, 0}, planes), "lines of an odd number of pixels");
  expect(!takes<Half>({2, 3, 4, 4, 6, 1, 1}, planes), "cropped lines");
  expect(!takes<float>({2, 8, 4, 3, 3, 0, 0}, pixels, false), "float32 where TF32 is not allowed");
  expect(takes<Half>({2, 8, 4, 3, 3, 0, 0}, pixels, false), "half types in any case");
  expect(!takes<double>({2, 8, 4, 3, 3, 0, 0}, pixels), "float64");

  const Problem whole{2, 8, 4, 3, 3, 0, 0};
  const Array<Half> memory(64);
  for (int which = 0; which < 5; ++which) {
    DeconvSumArgs args = some_args<Half>(whole, pixels, memory);
    const void* const crooked = memory.data() + 1;
    (which == 0   ? args.input
     : which == 1 ? args.weight
     : which == 2 ? args.bias
     : which == 3 ? args.lateral
                  : *const_cast<const void**>(&args.out)) = crooked;
    expect(!cuda::deconv_product_takes(args, true), "an array that is not aligned");
  }
  coh::options().capability = 75;
  expect(!takes<Half>(whole, pixels), "a GPU without these instructions");
}
