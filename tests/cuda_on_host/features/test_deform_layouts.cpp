// What deform_align rearranges: images and weights.
#include "cuda/features/deform_weights.h"
#include "cuda/features/pixel_planes.h"
#include "harness.h"

using namespace refinedet;
using namespace refinedet::harness;

CUDA_CASE(pixel_planes) {
  struct Size {
    int64_t batch, channels, pixels, begin, count;
  };
  for (const Size& s :
       {Size{2, 72, 80, 0, 160}, {2, 65, 67, 60, 70}, {3, 8, 16, 8, 32}, {1, 1, 200, 3, 130}, {33, 3, 2, 5, 60}}) {
    for_dtypes([&]<class T>(Tag<T>) {
      Random random(static_cast<uint64_t>(s.pixels));
      const Array<T> planes = random.array<T>(s.batch * s.channels * s.pixels, -9, 9);
      Array<T> rows(s.count * s.channels), expected(s.count * s.channels), back(planes.size());
      Array<float> wide(s.count * s.channels);
      Array<T> from_wide(planes.size()), kept(planes.size());
      for (int64_t p = 0; p < s.count; ++p) {
        const int64_t image = (s.begin + p) / s.pixels, pixel = (s.begin + p) % s.pixels;
        for (int64_t c = 0; c < s.channels; ++c) {
          expected[p * s.channels + c] = planes[(image * s.channels + c) * s.pixels + pixel];
          wide[p * s.channels + c] = load(expected[p * s.channels + c]);
        }
      }
      for (int64_t i = 0; i < planes.size(); ++i) {
        const int64_t number = i / s.pixels / s.channels * s.pixels + i % s.pixels;
        const bool within = number >= s.begin && number < s.begin + s.count;
        kept[i] = within ? planes[i] : store<T>(0.5f);
        back[i] = from_wide[i] = store<T>(0.5f);
      }
      const cuda::PixelPlanes shape{s.channels, s.pixels, {s.begin, s.count}};
      cuda::planes_to_rows(shape, planes.data(), rows.data(), kDType<T>, nullptr);
      expect_close("planes_to_rows", rows, expected);
      cuda::rows_to_planes(shape, rows.data(), kDType<T>, back.data(), kDType<T>, nullptr);
      expect_close("rows_to_planes", back, kept);
      cuda::rows_to_planes(shape, wide.data(), DType::f32, from_wide.data(), kDType<T>, nullptr);
      expect_close("rows_to_planes from float32", from_wide, kept);
    });
  }
}

CUDA_CASE(deform_weights) {
  for_dtypes([]<class T>(Tag<T>) {
    for (const bool channels_last : {false, true}) {
      constexpr int64_t kOutputs = 5, kChannels = 70, kTaps = 6, kLine = 424;
      Random random(7);
      const Array<T> weight = random.array<T>(kOutputs * kChannels * kTaps, -1, 1);
      Array<T> matrix(kOutputs * kLine), expected(kOutputs * kLine), back(weight.size()), rounded(weight.size());
      for (int64_t i = 0; i < matrix.size(); ++i) {
        const int64_t o = i / kLine, column = i % kLine, k = column / kChannels, c = column % kChannels;
        expected[i] = k == kTaps ? T{} : weight[(o * kTaps * kChannels) + (channels_last ? column : c * kTaps + k)];
      }
      const cuda::DeformWeights shape{kOutputs, kChannels, kTaps, channels_last, kLine};
      cuda::deform_pack_weights(shape, weight.data(), matrix.data(), kDType<T>, nullptr);
      expect_close("deform_pack_weights", matrix, expected);
      cuda::deform_unpack_weights(shape, matrix.data(), kDType<T>, back.data(), kDType<T>, nullptr);
      expect_close("deform_unpack_weights", back, weight);
      Array<float> twice(matrix.size());
      for (int64_t i = 0; i < matrix.size(); ++i) {
        twice[i] = load(matrix[i]) * 2;
      }
      cuda::deform_unpack_weights(shape, twice.data(), DType::f32, rounded.data(), kDType<T>, nullptr);
      for (int64_t i = 0; i < weight.size(); ++i) {
        back[i] = round_to<T>(load(weight[i]) * 2);
      }
      expect_close("deform_unpack_weights from float32", rounded, back);
    }
  });
}

CUDA_CASE(deform_layouts_empty) {
  cuda::planes_to_rows({8, 9, {0, 0}}, nullptr, nullptr, DType::f32, nullptr);
  cuda::rows_to_planes({0, 9, {0, 9}}, nullptr, DType::f32, nullptr, DType::bf16, nullptr);
  cuda::deform_pack_weights({0, 8, 1, false, 8}, nullptr, nullptr, DType::f32, nullptr);
  cuda::deform_unpack_weights({0, 8, 1, false, 8}, nullptr, DType::f32, nullptr, DType::f32, nullptr);
}
