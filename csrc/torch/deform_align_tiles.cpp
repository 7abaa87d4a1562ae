#include <algorithm>

#include "deform_align.h"
#include "gemm.h"
#include "new_image.h"

namespace refinedet::torch_ops {
namespace {

constexpr int64_t kColumnBytes = int64_t{4} << 20;  // of a tile: most of a large L2, or a fair share of L3
constexpr int64_t kMinRows = 128, kMaxRows = 4096;  // fewer: the product packs the weights too often
constexpr int64_t kCopyBytes = int64_t{32} << 20;   // of the channels-last copies alive at once

constexpr int64_t kTinyProduct = 1024;  // multiplications: they take less time than torch's product takes to be called

// Without telling torch of a write: tensors that are written are new ones.
char* bytes(const Tensor& t) { return const_cast<char*>(static_cast<const char*>(t.const_data_ptr())); }

Tensor view(const Matrices& m, ScalarType dtype, Device device = Device::cpu()) {
  return m.count == 1 ? view_of(m.data, {m.rows, m.columns}, {m.row_stride, m.column_stride}, dtype, device)
                      : view_of(m.data, {m.count, m.rows, m.columns}, {m.matrix_stride, m.row_stride, m.column_stride},
                                dtype, device);
}

// A tensor's pixels as matrices (pixel, channel), one per image.
template <class Void>
cpu::MatrixLayout<Void> pixel_layout(const Tensor& t, bool channels_last, const TileRange& range, int64_t channel) {
  const int64_t channels = t.size(1), pixels = t.size(2) * t.size(3);
  const int64_t row = channels_last ? channels : 1, column = channels_last ? 1 : pixels;
  const int64_t first = range.image * channels * pixels + range.pixel * row + channel * column;
  const ScalarType dtype = t.scalar_type();
  char* data = bytes(t) + first * element_size(dtype);
  return {data, dtype_of(t, "tensor"), channels * pixels, row, column};
}

template <class T>
void multiply_here(const Matrices& a, const Matrices& b, const Matrices& out, bool add) {
  const auto at = [](const Matrices& m, int64_t matrix, int64_t row, int64_t column) -> T& {
    return static_cast<T*>(m.data)[matrix * m.matrix_stride + row * m.row_stride + column * m.column_stride];
  };
  for (int64_t m = 0; m < out.count; ++m) {
    for (int64_t r = 0; r < out.rows; ++r) {
      for (int64_t c = 0; c < out.columns; ++c) {
        Work<T> sum = add ? load(at(out, m, r, c)) : 0;
        for (int64_t k = 0; k < a.columns; ++k) {
          sum += load(at(a, m, r, k)) * load(at(b, m, k, c));
        }
        at(out, m, r, c) = store<T>(sum);
      }
    }
  }
}

}  // namespace

DType kernel_dtype(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Double:
      return DType::f64;
    case ScalarType::BFloat16:
      return DType::bf16;
    case ScalarType::Half:
      return DType::f16;
    default:
      return DType::f32;
  }
}

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

int64_t element_size(ScalarType dtype) { return dtype == ScalarType::Double ? 8 : dtype == ScalarType::Float ? 4 : 2; }

Tensor new_like_image(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device) {
  return new_image(sizes, dtype, channels_last, device);
}

ScalarType forward_source(const DeformCall& call) {
  const bool large = call.channels * call.geometry.in_pixels() * element_size(call.compute) > kCopyBytes;
  return large && element_size(call.dtype) == 2 ? call.dtype : call.compute;
}

DeformPlan deform_plan(const DeformCall& call, ScalarType source, int64_t copied, bool divisible) {
  DeformPlan plan;
  plan.source = source;
  const int64_t per_channel = std::max<int64_t>(1, call.geometry.in_pixels() * copied);
  const int64_t fitting = std::max<int64_t>(1, kCopyBytes / per_channel);  // channels of one image
  if (copied == 0 || fitting >= call.channels || (call.groups == 1 && !divisible)) {
    plan.blocks.push_back({0, call.channels, 0, call.groups});
  } else if (call.groups == 1) {
    const int64_t parts = (call.channels + fitting - 1) / fitting;
    const int64_t size = round_up((call.channels + parts - 1) / parts, 16);
    for (int64_t c = 0; c < call.channels; c += size) {
      plan.blocks.push_back({c, std::min(size, call.channels - c), 0, 1});
    }
  } else {
    const int64_t per_group = call.channels / call.groups, size = std::max<int64_t>(1, fitting / per_group);
    for (int64_t g = 0; g < call.groups; g += size) {
      const int64_t groups = std::min(size, call.groups - g);
      plan.blocks.push_back({g * per_group, groups * per_group, g, groups});
    }
  }
  const ChannelBlock& block = plan.blocks.front();
  const int64_t row_bytes = (call.taps() * block.channels + 1) * element_size(call.compute);
  const int64_t rows = std::clamp(kColumnBytes / row_bytes, kMinRows, kMaxRows);
  const int64_t pixels = std::max<int64_t>(1, call.out_pixels());
  plan.images = std::clamp<int64_t>(rows / pixels, 1, std::max<int64_t>(1, call.batch));
  plan.images = std::clamp<int64_t>(kCopyBytes / (per_channel * block.channels), 1, plan.images);
  const int64_t tiles = (pixels + rows - 1) / rows;  // of about the same size
  plan.rows = plan.images > 1 ? plan.images * pixels : std::min(pixels, round_up((pixels + tiles - 1) / tiles, 64));
  return plan;
}

void multiply(const Matrices& a, const Matrices& b, const Matrices& out, ScalarType dtype, Device device, bool add) {
  const bool tiny = out.count * out.rows * out.columns * a.columns <= kTinyProduct;
  if (tiny && !device.on_gpu()) {
    return dtype == ScalarType::Double     ? multiply_here<double>(a, b, out, add)
           : dtype == ScalarType::BFloat16 ? multiply_here<BFloat16>(a, b, out, add)
                                           : multiply_here<float>(a, b, out, add);
  }
  const auto product =
      add ? multiply_add : static_cast<void (*)(const Tensor&, const Tensor&, const Tensor&)>(multiply);
  product(view(a, dtype, device), view(b, dtype, device), view(out, dtype, device));
}

PixelRows packed_rows(void* data, const TileRange& range, int64_t channels) {
  return {data, range.pixels * channels, channels, 1};
}

std::optional<PixelRows> rows_in_place(const Tensor& tensor, bool channels_last, const TileRange& range,
                                       int64_t channel, ScalarType dtype, bool planes) {
  // see clear_padding: there is none at the end of a part of a plane
  const bool whole = dtype != ScalarType::BFloat16 || range.pixels % 32 == 0;
  if (tensor.scalar_type() != dtype || !(channels_last || (planes && range.images == 1 && whole))) {
    return std::nullopt;
  }
  const auto at = pixel_layout<const void>(tensor, channels_last, range, channel);
  return PixelRows{const_cast<void*>(at.data), at.matrix_stride, at.row_stride, at.column_stride};
}

void read_rows(const Tensor& tensor, bool channels_last, const TileRange& range, int64_t channel, int64_t channels,
               ScalarType dtype, const PixelRows& rows) {
  cpu::copy_matrices({pixel_layout<const void>(tensor, channels_last, range, channel),
                      {rows.data, kernel_dtype(dtype), rows.image_stride, rows.row_stride, rows.channel_stride},
                      range.images,
                      range.pixels,
                      channels,
                      false,
                      false},
                     torch_threads());
}

void write_rows(const PixelRows& rows, ScalarType dtype, const Tensor& tensor, bool channels_last,
                const TileRange& range, int64_t channel, int64_t channels, bool add, bool overflow) {
  cpu::copy_matrices({{rows.data, kernel_dtype(dtype), rows.image_stride, rows.row_stride, rows.channel_stride},
                      pixel_layout<void>(tensor, channels_last, range, channel),
                      range.images,
                      range.pixels,
                      channels,
                      add,
                      overflow},
                     torch_threads());
}

cpu::MatrixLayout<void> weight_layout(const Tensor& weight, const DeformCall& call, const ChannelBlock& block) {
  const int64_t channels = call.weight.size(1), taps = call.taps(), size = channels * taps;
  const int64_t tap = call.weight_channels_last ? channels : 1, channel = call.weight_channels_last ? 1 : taps;
  const int64_t first = block.group * (call.out_channels / call.groups) * size + block.channel % channels * channel;
  return {bytes(weight) + first * element_size(weight.scalar_type()), dtype_of(weight, "weight"), size, tap, channel};
}

}  // namespace refinedet::torch_ops
