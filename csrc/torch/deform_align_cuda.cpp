#include "deform_align_cuda.h"

#if defined(REFINEDET_WITH_CUDA)

#include <algorithm>
#include <limits>

namespace refinedet::torch_ops {
namespace {

// Columns of a tile. A product of 256 output channels fills an H200 from some 10,000 rows on, 46 MB in bfloat16.
constexpr int64_t kColumnBytes = int64_t{64} << 20;
constexpr int64_t kMinRows = 128, kRowUnit = 128;
constexpr int64_t kImageBytes = int64_t{64} << 20;  // of the images' copies alive at once

DType kernel_dtype(const DeformCall& call) { return dtype_of(call.input, "input"); }

}  // namespace

char* data_of(const Tensor& t) { return const_cast<char*>(static_cast<const char*>(t.const_data_ptr())); }

char* pixel_of(const Tensor& t, int64_t number) {
  return data_of(t) + number * t.size(1) * element_size(t.scalar_type());
}

GpuPlan gpu_plan(const DeformCall& call, int64_t image_bytes, bool ones) {
  GpuPlan plan;
  plan.line = round_up(call.taps() * call.channels / call.groups + (ones ? 1 : 0), 8);
  plan.images = std::clamp<int64_t>(kImageBytes / std::max<int64_t>(image_bytes, 1), 1, call.batch);
  const int64_t row_bytes = call.groups * plan.line * element_size(call.compute);
  const int64_t samples = call.taps() * call.geometry.offset_groups;
  const int64_t most = std::max<int64_t>(1, std::numeric_limits<int32_t>::max() / samples);
  const int64_t rows = std::min(std::max(kColumnBytes / row_bytes, kMinRows), most);
  const int64_t pixels = plan.images * call.out_pixels();
  const int64_t tiles = (pixels + rows - 1) / rows;  // of about the same size
  plan.rows = std::min(pixels, std::min(rows, round_up((pixels + tiles - 1) / tiles, kRowUnit)));
  return plan;
}

DeformOnGpu::DeformOnGpu(const DeformCall& call, const GpuPlan& plan, const std::optional<Tensor>& bias, bool reads,
                         cuda::Stream stream)
    : call_(call),
      plan_(plan),
      ones_(bias.has_value()),
      stream_(stream),
      weights_(call.weight),
      columns_(new_tensor({plan.rows * call.groups * plan.line}, call.compute, call.device)) {
  if (reads && !call.channels_last) {
    copy_ = new_tensor({plan.images * call.channels * call.geometry.in_pixels()}, call.compute, call.device);
  }
  const bool in_order = call.weight_channels_last || call.taps() == 1;
  if (in_order && plan.line == call.taps() * weight_shape().channels) {
    return;
  }
  weights_ = new_tensor({call.out_channels * plan.line}, call.compute, call.device);
  cuda::deform_pack_weights(weight_shape(), call.weight.const_data_ptr(), bias ? bias->const_data_ptr() : nullptr,
                            weights_.mutable_data_ptr(), kernel_dtype(call), stream);
}

cuda::DeformWeights DeformOnGpu::weight_shape() const {
  return {call_.out_channels, call_.channels / call_.groups, call_.taps(), call_.weight_channels_last, plan_.line};
}

void DeformOnGpu::load_images(int64_t image, int64_t images) {
  const int64_t pixels = call_.geometry.in_pixels();
  first_image_ = image;
  if (call_.channels_last) {
    source_ = pixel_of(call_.input, image * pixels);
    return;
  }
  if (copy_) {
    cuda::planes_to_rows({call_.channels, pixels, {image * pixels, images * pixels}}, call_.input.const_data_ptr(),
                         copy_->mutable_data_ptr(), kernel_dtype(call_), stream_);
    source_ = copy_->const_data_ptr();
  }
}

cuda::DeformTile DeformOnGpu::tile(PixelRange range) const {
  const auto map = [](const std::optional<Tensor>& t, const char* name) {
    return t ? DeformMap{t->const_data_ptr(), dtype_of(*t, name)} : DeformMap{nullptr, DType::f32};
  };
  cuda::DeformTile tile{};
  tile.geometry = call_.geometry;
  tile.offset = map(call_.offset, "offset");
  tile.center = map(call_.center, "center");
  tile.mask = map(call_.mask, "mask");
  tile.range = range;
  tile.dtype = kernel_dtype(call_);
  tile.channels = call_.channels;
  tile.groups = call_.groups;
  tile.source = source_;
  tile.first_image = first_image_;
  tile.columns = columns_.mutable_data_ptr();
  tile.line = plan_.line;
  tile.ones = ones_;
  return tile;
}

Matrices DeformOnGpu::columns(PixelRange range) const {
  return {columns_.mutable_data_ptr(), call_.groups, range.count, plan_.line, plan_.line, call_.groups * plan_.line, 1};
}

Matrices DeformOnGpu::weights() const {
  const int64_t outputs = call_.out_channels / call_.groups;
  return {data_of(weights_), call_.groups, outputs, plan_.line, outputs * plan_.line, plan_.line, 1};
}

Matrices DeformOnGpu::out_rows(void* data, PixelRange range) const {
  const int64_t outputs = call_.out_channels / call_.groups;
  return {data, call_.groups, range.count, outputs, outputs, call_.out_channels, 1};
}

Tensor deform_align_on_gpu(const DeformCall& call, const std::optional<Tensor>& bias) {
  const ScalarType dtype = call.input.scalar_type();
  Tensor out = new_like_image(call.out_sizes(), dtype, call.channels_last, call.device);
  if (out.numel() == 0) {
    return out;
  }
  const CudaScope scope(call.device);
  const int64_t copied = call.channels_last ? 0 : call.channels * call.geometry.in_pixels() * element_size(dtype);
  const GpuPlan plan = gpu_plan(call, copied, bias.has_value());
  DeformOnGpu work(call, plan, bias, /*reads=*/true, scope.stream());
  Tensor scratch = new_tensor({call.channels_last ? 0 : plan.rows * call.out_channels}, dtype, call.device);
  work.for_steps([&](int64_t image, int64_t images) {
    work.load_images(image, images);
    work.for_tiles(image, images, [&](PixelRange range) {
      cuda::deform_columns(work.tile(range), scope.stream());
      void* const rows = call.channels_last ? pixel_of(out, range.begin) : scratch.mutable_data_ptr();
      multiply(work.columns(range), work.weights().transposed(), work.out_rows(rows, range), dtype, call.device);
      if (!call.channels_last) {
        cuda::rows_to_planes({call.out_channels, call.out_pixels(), range}, rows, kernel_dtype(call),
                             out.mutable_data_ptr(), kernel_dtype(call), scope.stream());
      }
    });
  });
  return out;
}

}  // namespace refinedet::torch_ops

#endif
