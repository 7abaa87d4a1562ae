// deform_align and deconv_sum as a whole, with a plain loop for their matrix products: the GPU's tiling against the
// CPU's. Their tiles are hundreds of kilobytes, so that each of these calls is one; test_weight_grad.cpp has several.
#include <algorithm>

#include "core/gemm.h"
#include "harness.h"
#include "ops/deconv_sum.h"
#include "ops/deform_align.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

template <class T>
void multiply(const Matrix& a, const Matrix& b, const Matrix& out, bool add) {
  const auto at = [](const Matrix& m, int64_t matrix, int64_t row, int64_t column) -> T& {
    return static_cast<T*>(m.data)[matrix * m.matrix_stride + row * m.row_stride + column * m.column_stride];
  };
  for (int64_t m = 0; m < out.count; ++m) {
    for (int64_t r = 0; r < out.rows; ++r) {
      for (int64_t c = 0; c < out.columns; ++c) {
        double sum = add ? static_cast<double>(load(at(out, m, r, c))) : 0;
        for (int64_t k = 0; k < a.columns; ++k) {
          sum += static_cast<double>(load(at(a, m, r, k))) * static_cast<double>(load(at(b, m, k, c)));
        }
        at(out, m, r, c) = round_to<T>(static_cast<Accumulate<T>>(sum));
      }
    }
  }
}

Gemm loops() {
  return Gemm(
      [](void*, const Matrix& a, const Matrix& b, const Matrix& out, bool add) {
        expect(a.rows == out.rows && a.columns == b.rows && b.columns == out.columns, "sizes of a product fit");
        expect(a.count == out.count && b.count == out.count, "as many matrices on all sides");
        expect(a.dtype == out.dtype && b.dtype == out.dtype, "a product is of one type");
        dispatch_floating(out.dtype, [&]<class T>(Tag<T>) { multiply<T>(a, b, out, add); });
      },
      nullptr);
}

// Results of the CPU and of the GPU for the same call.
template <class T>
struct Both {
  Array<T> cpu, gpu;
  explicit Both(int64_t size) : cpu(size), gpu(size) {}
  void check(const char* what, double tolerance) const { expect_close(what, gpu, cpu, tolerance); }
};

// Columns of half types are rounded on the GPU, on the CPU those of bfloat16 and only where the processor multiplies
// it.
template <class T>
constexpr double kClose = std::is_same_v<T, float>  ? 2e-5
                          : std::is_same_v<T, Half> ? 1e-2
                                                    : 6e-2;

struct DeformCase {
  int64_t batch, channels, height, width, outputs, kernel, groups, offset_groups;
  bool channels_last, weight_channels_last, maps, bias, deterministic;
};

const DeformCase kDeformCases[] = {
    {2, 16, 5, 6, 8, 3, 1, 1, false, false, true, true, false},
    {2, 16, 5, 6, 8, 3, 1, 2, true, true, true, true, true},
    {3, 6, 4, 3, 9, 2, 3, 2, false, true, true, false, true},
    {1, 8, 3, 3, 8, 1, 1, 1, true, false, false, true, false},
    {1, 8, 1, 2, 32, 3, 2, 1, true, false, true, true, false},
};

template <class T>
void check_deform(const DeformCase& c) {
  const int64_t pad = c.kernel / 2, taps = c.kernel * c.kernel, og = c.offset_groups;
  const int64_t out_h = c.height + 2 * pad - c.kernel + 1, out_w = c.width + 2 * pad - c.kernel + 1,
                out = out_h * out_w;
  const DeformAlignShape shape{
      .geometry = {c.height, c.width, out_h, out_w, c.kernel, c.kernel, 1, 1, pad, pad, 1, 1, og},
      .dtype = kDType<T>,
      .batch = c.batch,
      .channels = c.channels,
      .out_channels = c.outputs,
      .groups = c.groups,
      .channels_last = c.channels_last,
      .weight_channels_last = c.weight_channels_last};
  Random random(static_cast<uint64_t>(c.channels + c.outputs));
  const int64_t in_size = c.batch * c.channels * c.height * c.width,
                weight_size = c.outputs * c.channels / c.groups * taps;
  const int64_t out_size = c.batch * c.outputs * out, map_size = c.batch * og * taps * out;
  const Array<T> input = random.array<T>(in_size, -1, 1), weight = random.array<T>(weight_size, -1, 1),
                 bias = random.array<T>(c.outputs, -1, 1), grad = random.array<T>(out_size, -1, 1);
  const Array<float> offset = random.array<float>(2 * map_size, -2, 2),
                     center = random.array<float>(2 * map_size / taps, -2, 2),
                     mask = random.array<float>(map_size, 0, 1);
  const auto map = [&](const Array<float>& a) { return DeformMap{c.maps ? a.data() : nullptr, DType::f32}; };

  Both<T> result(out_size);
  DeformAlignArgs args{.shape = shape,
                       .input = input.data(),
                       .weight = weight.data(),
                       .bias = c.bias ? bias.data() : nullptr,
                       .offset = map(offset),
                       .center = map(center),
                       .mask = map(mask),
                       .out = result.cpu.data()};
  cpu::deform_align(args, one_thread(), loops());
  args.out = result.gpu.data();
  const Array<char> workspace(cuda::deform_align_workspace(args));
  cuda::deform_align(args, workspace.data(), nullptr, loops());
  result.check("deform_align", kClose<T>);

  Both<T> grad_input(in_size), grad_weight(weight_size);
  Both<float> grad_offset(2 * map_size), grad_center(2 * map_size / taps), grad_mask(map_size);
  const auto backward = [&](bool gpu) {
    const auto side = [&](const auto& both) { return gpu ? both.gpu.data() : both.cpu.data(); };
    const auto map_side = [&](const Both<float>& both) {
      return DeformMapOut{c.maps ? side(both) : nullptr, DType::f32};
    };
    return DeformAlignBackwardArgs{.shape = shape,
                                   .grad = grad.data(),
                                   .grad_channels_last = !c.channels_last,
                                   .input = input.data(),
                                   .weight = weight.data(),
                                   .offset = map(offset),
                                   .center = map(center),
                                   .mask = map(mask),
                                   .deterministic = c.deterministic,
                                   .grad_input = side(grad_input),
                                   .grad_weight = side(grad_weight),
                                   .grad_offset = map_side(grad_offset),
                                   .grad_center = map_side(grad_center),
                                   .grad_mask = map_side(grad_mask)};
  };
  cpu::deform_align_backward(backward(false), one_thread(), loops());
  const Array<char> more(cuda::deform_align_backward_workspace(backward(true)));
  cuda::deform_align_backward(backward(true), more.data(), nullptr, loops());
  grad_input.check("deform_align, input's gradient", kClose<T>);
  grad_weight.check("deform_align, weights' gradient", kClose<T>);
  if (c.maps) {
    grad_offset.check("deform_align, offset's gradient", kClose<T>);
    grad_center.check("deform_align, center's gradient", kClose<T>);
    grad_mask.check("deform_align, mask's gradient", kClose<T>);
  }
}

// Scratch memory of a forward call on 16 channels, 9 taps and 8 outputs.
int64_t deform_bytes(bool weight_channels_last, const void* bias, int64_t channels = 16) {
  const DeformAlignShape shape{.geometry = {5, 6, 5, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1},
                               .dtype = DType::bf16,
                               .batch = 2,
                               .channels = channels,
                               .out_channels = 8,
                               .groups = 1,
                               .channels_last = true,
                               .weight_channels_last = weight_channels_last};
  const DeformMap none{nullptr, DType::f32};
  return cuda::deform_align_workspace({shape, nullptr, nullptr, bias, none, none, none, nullptr});
}

struct DeconvCase {
  int64_t batch, in_channels, channels, height, width, crop_y, crop_x;
  bool channels_last, taps_inner, relu;
};

const DeconvCase kDeconvCases[] = {
    {2, 5, 8, 3, 4, 0, 0, false, true, true},   {3, 6, 3, 2, 3, 1, 1, false, true, false},
    {2, 8, 16, 3, 3, 0, 1, true, true, true},   {1, 4, 8, 3, 2, 1, 0, true, false, false},
    {1, 3, 2, 16, 17, 0, 0, false, true, true},
};

template <class T>
void check_deconv(const DeconvCase& c) {
  const DeconvSumShape shape{.dtype = kDType<T>,
                             .channels_last = c.channels_last,
                             .taps_inner = c.taps_inner,
                             .batch = c.batch,
                             .in_channels = c.in_channels,
                             .channels = c.channels,
                             .in_height = c.height,
                             .in_width = c.width,
                             .out_height = 2 * c.height - c.crop_y,
                             .out_width = 2 * c.width - c.crop_x};
  Random random(static_cast<uint64_t>(c.in_channels + c.channels));
  const int64_t in_size = c.batch * c.in_channels * shape.in_pixels();
  const int64_t map_size = c.batch * c.channels * shape.out_height * shape.out_width;
  const Array<T> input = random.array<T>(in_size, -1, 1), weight = random.array<T>(shape.weight_size(), -1, 1),
                 bias = random.array<T>(c.channels, -1, 1), lateral = random.array<T>(map_size, -1, 1),
                 grad = random.array<T>(map_size, -1, 1);
  Both<T> out(map_size);
  DeconvSumArgs args{.shape = shape,
                     .input = input.data(),
                     .weight = weight.data(),
                     .bias = bias.data(),
                     .lateral = lateral.data(),
                     .relu = c.relu,
                     .out = out.cpu.data()};
  cpu::deconv_sum(args, one_thread(), loops());
  args.out = out.gpu.data();
  const Array<char> workspace(cuda::deconv_sum_workspace(args, loops()));
  cuda::deconv_sum(args, workspace.data(), nullptr, loops());
  out.check("deconv_sum", kClose<T>);

  Both<T> grad_input(in_size), grad_weight(shape.weight_size()), grad_bias(c.channels), grad_lateral(map_size);
  const auto backward = [&](bool gpu) {
    const auto side = [&](const Both<T>& both) { return gpu ? both.gpu.data() : both.cpu.data(); };
    return DeconvSumBackwardArgs{.shape = shape,
                                 .grad = grad.data(),
                                 .input = input.data(),
                                 .weight = weight.data(),
                                 .out = c.relu ? out.cpu.data() : nullptr,
                                 .grad_input = side(grad_input),
                                 .grad_weight = side(grad_weight),
                                 .grad_bias = side(grad_bias),
                                 .grad_lateral = c.relu ? side(grad_lateral) : nullptr};
  };
  cpu::deconv_sum_backward(backward(false), one_thread(), loops());
  const Array<char> more(cuda::deconv_sum_backward_workspace(backward(true)));
  cuda::deconv_sum_backward(backward(true), more.data(), nullptr, loops());
  grad_input.check("deconv_sum, input's gradient", kClose<T>);
  grad_weight.check("deconv_sum, weight's gradient", kClose<T>);
  grad_bias.check("deconv_sum, bias's gradient", kClose<T>);
  if (c.relu) {
    grad_lateral.check("deconv_sum, lateral's gradient", 0);
  }
}

}  // namespace

CUDA_CASE(deform_align_whole) {
  for (const DeformCase& c : kDeformCases) {
    for_dtypes([&]<class T>(Tag<T>) { check_deform<T>(c); });
  }
}

CUDA_CASE(deform_align_packs_weights_only_where_it_must) {
  const int64_t columns = 2 * 30 * 9 * 16 * 2, packed = 8 * 9 * 16 * 2;  // bytes
  const auto rounded = [](int64_t bytes) { return round_up(bytes, 256); };
  const float bias = 0;
  for (const void* some : {static_cast<const void*>(nullptr), static_cast<const void*>(&bias)}) {
    expect(deform_bytes(true, some) == rounded(columns), "channels-last weights are multiplied as they lie");
    expect(deform_bytes(false, some) == rounded(columns) + rounded(packed), "others are put into order");
  }
  expect(deform_bytes(true, &bias, 5) > rounded(2 * 30 * 48 * 2), "and so are rows that end beside 16 bytes");
}

CUDA_CASE(deconv_sum_whole) {
  for (const DeconvCase& c : kDeconvCases) {
    for_dtypes([&]<class T>(Tag<T>) { check_deconv<T>(c); });
  }
}
