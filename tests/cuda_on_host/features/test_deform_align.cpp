// The kernels of deform_align against those of the CPU.
#include <algorithm>

#include "cpu/features/deform_tile.h"
#include "cuda/features/deform_tile.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

namespace {

struct Shape {
  int64_t batch, channels, height, width;
  int64_t kernel_h, kernel_w, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
  int64_t groups, offset_groups;
  bool offset, center, mask;
  int64_t first_image, begin, count;  // the images at hand, and the output pixels of the batch that are the tile
  int64_t shift;                      // elements by which the source is off a 16-byte address
  DType map_dtype = DType::f32;

  DeformGeometry geometry() const {
    const auto out = [](int64_t size, int64_t pad, int64_t dilation, int64_t kernel, int64_t stride) {
      return (size + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
    };
    return {height,
            width,
            out(height, pad_y, dilation_y, kernel_h, stride_y),
            out(width, pad_x, dilation_x, kernel_w, stride_x),
            kernel_h,
            kernel_w,
            stride_y,
            stride_x,
            pad_y,
            pad_x,
            dilation_y,
            dilation_x,
            offset_groups};
  }
  int64_t group_channels() const { return channels / groups; }
};

// As many channels as 16 bytes hold and not, groups that cut packs, every kind of map, tiles that begin and end within
// an image.
const Shape kShapes[] = {
    {2, 16, 5, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, true, true, true, 0, 7, 41, 0},
    {2, 16, 5, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 2, true, false, false, 0, 0, 60, 1},
    {3, 264, 4, 3, 1, 2, 1, 1, 0, 1, 1, 1, 1, 1, true, false, true, 1, 18, 20, 0},
    {2, 24, 7, 4, 2, 3, 2, 1, 2, 0, 1, 1, 3, 2, true, true, false, 0, 3, 13, 0},
    {1, 48, 6, 6, 3, 3, 1, 1, 5, 5, 5, 5, 2, 3, false, true, false, 0, 0, 36, 0, DType::bf16},
    {2, 9, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 9, 3, false, false, true, 0, 15, 3, 0, DType::f16},
    {1, 3, 9, 9, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, false, false, false, 0, 0, 81, 0, DType::f64},
};

// Positions on, off and outside the map, at whole pixels, and not finite.
template <class M>
Array<M> positions(Random& random, int64_t size) {
  Array<M> a = random.array<M>(size, -3, 3);
  const float odd[] = {0.0f, 1.0f, -1.0f, 1e30f, -1e30f, NAN, INFINITY, -INFINITY, 100.0f};
  for (int64_t i = 0; i < size; ++i) {
    if (random.below(4) == 0) {
      a[i] = store<M>(static_cast<Accumulate<M>>(odd[random.below(9)]));
    }
  }
  return a;
}

// A call's arrays, and its tile for both kinds of kernels. On the CPU the columns are float32 for float16.
template <class T, class M>
struct Problem {
  using C = std::conditional_t<std::is_same_v<T, Half>, float, T>;  // what the CPU has in its place
  Shape shape;
  DeformGeometry geometry = shape.geometry();
  Random random{static_cast<uint64_t>(shape.channels + shape.count)};
  int64_t taps = geometry.taps(), samples = taps * geometry.offset_groups;
  int64_t maps = shape.batch * geometry.offset_groups * taps * geometry.out_pixels();
  int64_t images = shape.batch - shape.first_image, source_size = images * geometry.in_pixels() * shape.channels;
  Array<M> offset = positions<M>(random, 2 * maps), center = positions<M>(random, 2 * maps / taps);
  Array<M> mask = random.array<M>(maps, -1, 1);
  Array<T> source{source_size + shape.shift};
  Array<C> cpu_source{source_size}, zeros{shape.channels};
  Array<DeformSample<float>> cpu_samples{shape.count * samples};
  std::vector<cpu::ChannelRun> runs;
  int64_t depth = taps * shape.group_channels(), line = (depth + 1 + 7) / 8 * 8;
  int64_t outputs = shape.batch == 2 ? 48 : 5;  // of the bias: whole packs of 16 bytes, and not
  Array<T> bias = random.array<T>(outputs, -1, 1), rows{shape.count * outputs};

  explicit Problem(const Shape& s) : shape(s) {
    for (int64_t i = 0; i < source_size; ++i) {
      const T x = store<T>(random.uniform(-1, 1));
      source[i + shape.shift] = x;
      cpu_source[i] = store<C>(load(x));
    }
    for (C& x : zeros) {
      x = C{};
    }
    const int64_t per_offset_group = shape.channels / geometry.offset_groups;
    for (int64_t c = 0; c < shape.channels; ++c) {
      runs.push_back({c, 1, c / per_offset_group, c / shape.group_channels() * line + c % shape.group_channels()});
    }
    cpu::deform_samples({geometry,
                         map(offset, shape.offset),
                         map(center, shape.center),
                         map(mask, shape.mask),
                         {shape.begin, shape.count},
                         DType::f32,
                         cpu_samples.data()},
                        one_thread());
  }

  static DeformMap map(const Array<M>& a, bool given) {
    return {given ? a.data() : nullptr, given ? kDType<M> : DType::f32};
  }
  int64_t columns_size() const { return shape.count * shape.groups * line; }

  cpu::DeformTile cpu_tile(C* columns) const {
    cpu::DeformTile tile{};
    tile.dtype = kDType<C>;
    tile.range = {shape.begin, shape.count};
    tile.out_pixels = geometry.out_pixels();
    tile.taps = taps;
    tile.offset_groups = geometry.offset_groups;
    tile.samples = cpu_samples.data();
    tile.source_dtype = tile.dtype;
    tile.source = cpu_source.data();
    tile.first_image = shape.first_image;
    tile.image_stride = geometry.in_pixels() * shape.channels;
    tile.pixel_stride = shape.channels;
    tile.zeros = zeros.data();
    tile.channels = shape.channels;
    tile.runs = runs.data();
    tile.run_count = static_cast<int64_t>(runs.size());
    tile.columns = columns;
    tile.row_stride = shape.groups * line;
    tile.tap_stride = shape.group_channels();
    return tile;
  }
  cuda::DeformTile cuda_tile(T* columns) const {
    return {geometry,
            map(offset, shape.offset),
            map(center, shape.center),
            map(mask, shape.mask),
            {shape.begin, shape.count},
            kDType<T>,
            shape.channels,
            shape.groups,
            source.data() + shape.shift,
            shape.first_image,
            columns,
            line,
            bias.data(),
            rows.data(),
            outputs};
  }
  // The columns alone, without what fills the lines.
  template <class E>
  Array<float> without_fill(const Array<E>& columns) const {
    Array<float> a(shape.count * shape.groups * depth);
    for (int64_t i = 0; i < a.size(); ++i) {
      a[i] = load(columns[i / depth * line + i % depth]);
    }
    return a;
  }
};

// Sums in another order, products fused; then one rounding.
template <class T>
constexpr double kTolerance = std::is_same_v<T, float>  ? 2e-6
                              : std::is_same_v<T, Half> ? 1e-3
                                                        : 8e-3;

template <class T, class M>
void check_columns(const Shape& shape) {
  const Problem<T, M> problem(shape);
  using C = typename Problem<T, M>::C;
  Array<C> expected(problem.columns_size());
  Array<T> got(problem.columns_size());
  cpu::deform_columns({problem.cpu_tile(expected.data())}, one_thread());
  cuda::deform_columns(problem.cuda_tile(got.data()), nullptr);
  expect_close("deform_columns", problem.without_fill(got), problem.without_fill(expected), kTolerance<T>);
  bool filled = true;
  for (int64_t i = 0; i < got.size(); ++i) {
    const int64_t column = i % problem.line;
    filled = filled && (column < problem.depth || load(got[i]) == 0);
  }
  expect(filled, "lines end with zeros");
  Array<T> biases(problem.rows.size());
  for (int64_t i = 0; i < biases.size(); ++i) {
    biases[i] = problem.bias[i % problem.outputs];
  }
  expect_close("deform_columns, bias", problem.rows, biases);
}

template <class T, class M>
void check_grads(const Shape& shape, bool replace) {
  Problem<T, M> problem(shape);
  using C = typename Problem<T, M>::C;
  const DeformGeometry& g = problem.geometry;
  Array<C> expected(problem.columns_size());
  Array<T> got(problem.columns_size()), again(problem.columns_size());
  for (int64_t i = 0; i < got.size(); ++i) {
    got[i] = again[i] = store<T>(problem.random.uniform(-1, 1));
    expected[i] = store<C>(load(got[i]));
  }
  Array<float> source1(problem.source_size), offset1(2 * problem.maps), center1(2 * problem.maps / problem.taps),
      mask1(problem.maps);
  for (Array<float>* a : {&source1, &offset1, &center1, &mask1}) {
    std::fill(a->begin(), a->end(), 0.0f);
  }
  cpu::deform_grad_source(
      {problem.cpu_tile(expected.data()), source1.data(), g.in_pixels() * shape.channels, shape.channels},
      one_thread());
  cpu::deform_grad_samples({problem.cpu_tile(expected.data()), replace, offset1.data(), center1.data(), mask1.data()},
                           one_thread());

  Array<float> source2(problem.source_size), samples(3 * shape.count * problem.samples);
  std::fill(source2.begin(), source2.end(), 0.0f);
  cuda::deform_grads(problem.cuda_tile(got.data()), {replace, samples.data(), source2.data(), nullptr}, nullptr);
  expect_close("deform_grads, source", source2, source1, 1e-5);
  expect_close("deform_grads, columns", problem.without_fill(got), problem.without_fill(expected), kTolerance<T>);

  Array<float> offset2(offset1.size()), center2(center1.size()), mask2(mask1.size());
  for (Array<float>* a : {&offset2, &center2, &mask2}) {
    std::fill(a->begin(), a->end(), 0.0f);
  }
  cuda::deform_map_grads({g,
                          {shape.begin, shape.count},
                          samples.data(),
                          {offset2.data(), DType::f32},
                          {center2.data(), DType::f32},
                          {mask2.data(), DType::f32}},
                         nullptr);
  expect_close("deform_map_grads, offset", offset2, offset1, 2e-5);
  expect_close("deform_map_grads, center", center2, center1, 4e-5);
  expect_close("deform_map_grads, mask", mask2, mask1, 2e-5);

  // the same in integers: exact but for one rounding of each addend, far below float32's
  Array<uint32_t> maxima(3);
  Array<cuda::FixedPoint> fixed(1);
  Array<int64_t> sums(problem.source_size);
  std::fill(sums.begin(), sums.end(), 0);
  const Array<T> one(std::vector<T>{store<T>(-1.0f)});  // |grad| and |weight| of a product with one term
  cuda::deform_fixed_point({kDType<T>, one.data(), one.data(), 1, 1, 1, Problem<T, M>::map(problem.mask, shape.mask),
                            shape.mask ? problem.maps : 0, problem.taps * g.out_pixels(), maxima.data(), fixed.data()},
                           nullptr);
  cuda::deform_grads(problem.cuda_tile(again.data()), {false, nullptr, sums.data(), fixed.data()}, nullptr);
  Array<float> source3(problem.source_size);
  cuda::deform_round_sums(sums.data(), fixed.data(), source3.data(), DType::f32, source3.size(), nullptr);
  expect_close("deform_grads, source in integers", source3, source1, 1e-5);
}

// f(Tag<T>{}, Tag<M>{}) for the types of pixels and maps.
template <class F>
void for_shapes(const F& f) {
  for (const Shape& shape : kShapes) {
    for_dtypes([&]<class T>(Tag<T>) {
      dispatch_floating(shape.map_dtype, [&]<class M>(Tag<M>) { f(Tag<T>{}, Tag<M>{}, shape); });
    });
  }
}

}  // namespace

CUDA_CASE(deform_columns) {
  for_shapes([]<class T, class M>(Tag<T>, Tag<M>, const Shape& shape) { check_columns<T, M>(shape); });
}

CUDA_CASE(deform_grads) {
  for_shapes([]<class T, class M>(Tag<T>, Tag<M>, const Shape& shape) { check_grads<T, M>(shape, shape.begin == 0); });
}

CUDA_CASE(deform_fixed_point) {
  const Shape shape{1, 8, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, true, false, false, 0, 0, 9, 0};
  for (const float large : {1e-30f, 1.0f, 1e15f, 1e30f, INFINITY, NAN}) {
    Problem<float, float> problem(shape);
    Array<float> columns(problem.columns_size()), grad(std::vector<float>{-large, large / 3}), weight(2), result(72);
    weight[0] = 0.5f, weight[1] = -1;
    for (float& x : columns) {
      x = problem.random.uniform(-large, large);
    }
    std::vector<float> first;
    for (int turn = 0; turn < 2; ++turn) {
      Array<uint32_t> maxima(3);
      Array<cuda::FixedPoint> fixed(1);
      Array<int64_t> sums(problem.source_size);
      std::fill(sums.begin(), sums.end(), 0);
      cuda::deform_fixed_point(
          {DType::f32, grad.data(), weight.data(), 2, 2, 1, {nullptr, DType::f32}, 0, 81, maxima.data(), fixed.data()},
          nullptr);
      cuda::deform_grads(problem.cuda_tile(columns.data()), {false, nullptr, sums.data(), fixed.data()}, nullptr);
      cuda::deform_round_sums(sums.data(), fixed.data(), result.data(), DType::f32, result.size(), nullptr);
      if (turn == 0) {
        first.assign(result.begin(), result.end());
      }
    }
    if (!(large < INFINITY)) {
      expect(std::all_of(result.begin(), result.end(), [](float x) { return x != x; }), "what is not finite makes NaN");
      continue;
    }
    expect(std::equal(first.begin(), first.end(), result.begin()), "integers give the same bits");
    // in double, in the order of the samples
    std::vector<double> exact(72, 0.0);
    double most = 0;
    for (int64_t i = 0; i < 81; ++i) {
      const DeformSample<float>& s = problem.cpu_samples[i];
      const CornerWeights<float> w = weights_of(s);
      for (int k = 0; k < 4; ++k) {
        for (int64_t c = 0; s.corner[k] >= 0 && c < 8; ++c) {
          exact[static_cast<size_t>(8 * s.corner[k] + c)] +=
              static_cast<double>(w.w[k] * s.mask * columns[i / 9 * problem.line + i % 9 * 8 + c]);
        }
      }
    }
    for (const double x : exact) {
      most = std::max(most, std::fabs(x));
    }
    for (int64_t i = 0; i < 72; ++i) {
      const double x = exact[static_cast<size_t>(i)];
      expect(std::fabs(result[i] - x) <= 6e-8 * std::fabs(x) + 1e-12 * most, "integers keep float32's bits and more");
    }
  }
}

CUDA_CASE(deform_reads_nothing) {
  const Shape shape{1, 8, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, true, false, true, 0, 0, 1, 0};
  const Problem<float, float> problem(shape);
  problem.offset[0] = 100;
  problem.mask[0] = INFINITY;  // times nothing
  Array<float> columns(problem.columns_size()), samples(3);
  std::fill(columns.begin(), columns.end(), 1.0f);
  cuda::deform_grads(problem.cuda_tile(columns.data()), {false, samples.data(), nullptr, nullptr}, nullptr);
  expect(samples[0] == 0 && samples[1] == 0 && samples[2] == 0, "what reads nothing has no gradient");
}

CUDA_CASE(deform_empty) {
  const Shape shape{1, 8, 3, 3, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, true, false, false, 0, 0, 0, 0};
  const Problem<float, float> problem(shape);
  cuda::deform_columns(problem.cuda_tile(nullptr), nullptr);
  cuda::deform_grads(problem.cuda_tile(nullptr), {true, nullptr, nullptr, nullptr}, nullptr);
  cuda::deform_map_grads({problem.geometry, {0, 0}, nullptr, {}, {}, {}}, nullptr);
  cuda::deform_round_sums(nullptr, nullptr, nullptr, DType::f16, 0, nullptr);
}
