#include <algorithm>

#include "deform_align.h"
#include "gemm.h"
#include "new_image.h"

namespace refinedet::torch_ops {
namespace {

constexpr int64_t kColumnBytes = int64_t{4} << 20;  // of a tile: most of a large L2, or a fair share of L3
constexpr int64_t kMinRows = 128, kMaxRows = 4096;  // fewer: the product packs the weights too often
constexpr int64_t kCopyBytes = int64_t{32} << 20;   // of the channels-last copies alive at once

// Without telling torch of a write: tensors that are written are new ones.
char* bytes(const Tensor& t) { return const_cast<char*>(static_cast<const char*>(t.const_data_ptr())); }

Tensor view(const Matrices& m, ScalarType dtype, Place place = Place::cpu()) {
  return m.count == 1 ? view_of(m.data, {m.rows, m.columns}, {m.row_stride, m.column_stride}, dtype, place)
                      : view_of(m.data, {m.count, m.rows, m.columns}, {m.matrix_stride, m.row_stride, m.column_stride},
                                dtype, place);
}

std::vector<cpu::ChannelRun> channel_runs(const DeformCall& call, const ChannelBlock& block, int64_t group_stride) {
  const int64_t per_offset_group = call.channels / call.geometry.offset_groups;
  std::vector<cpu::ChannelRun> runs;
  for (int64_t c = 0; c < block.channels;) {
    const int64_t group = c / block.group_channels(), offset_group = (block.channel + c) / per_offset_group;
    const int64_t end =
        std::min((group + 1) * block.group_channels(), (offset_group + 1) * per_offset_group - block.channel);
    runs.push_back({c, end - c, offset_group, group * group_stride + c % block.group_channels()});
    c = end;
  }
  return runs;
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

DType kernel_dtype(ScalarType dtype) {
  return dtype == ScalarType::Double ? DType::f64 : dtype == ScalarType::BFloat16 ? DType::bf16 : DType::f32;
}

}  // namespace

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

int64_t element_size(ScalarType dtype) { return dtype == ScalarType::Double ? 8 : dtype == ScalarType::Float ? 4 : 2; }

Tensor new_like_image(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Place place) {
  return new_image(sizes, dtype, channels_last, place);
}

DeformPlan deform_plan(const DeformCall& call, int64_t copied, bool divisible) {
  DeformPlan plan;
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

void multiply(const Matrices& a, const Matrices& b, const Matrices& out, ScalarType dtype, Place place) {
  multiply(view(a, dtype, place), view(b, dtype, place), view(out, dtype, place));
}

PixelRows read_rows(const Tensor& tensor, bool channels_last, const TileRange& range, int64_t channel, int64_t channels,
                    ScalarType dtype, Tensor& scratch) {
  const auto from = pixel_layout<const void>(tensor, channels_last, range, channel);
  if (channels_last && tensor.scalar_type() == dtype) {
    return {const_cast<void*>(from.data), from.matrix_stride, from.row_stride};
  }
  const PixelRows rows{scratch.mutable_data_ptr(), range.pixels * channels, channels};
  cpu::copy_matrices({from,
                      {rows.data, kernel_dtype(dtype), rows.image_stride, rows.row_stride, 1},
                      range.images,
                      range.pixels,
                      channels,
                      false,
                      false},
                     torch_threads());
  return rows;
}

void write_rows(const PixelRows& rows, ScalarType dtype, const Tensor& tensor, bool channels_last,
                const TileRange& range, int64_t channel, int64_t channels, bool add, bool overflow) {
  cpu::copy_matrices({{rows.data, kernel_dtype(dtype), rows.image_stride, rows.row_stride, 1},
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

DeformBlock::DeformBlock(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block,
                         const std::optional<Tensor>& bias)
    : call_(call), block_(block), tile_rows_(plan.rows) {
  const int64_t taps = call.taps(), channels = block.group_channels();
  const int64_t group_outputs = call.out_channels / call.groups, outputs = block.groups * group_outputs;
  depth_ = taps * channels + (bias ? 1 : 0);
  line_ = round_up(depth_, 16);  // rows start on a cache line
  runs_ = channel_runs(call, block, tile_rows_ * line_);
  weights_ = new_tensor({outputs * line_}, call.compute);
  columns_ = new_tensor({block.groups * tile_rows_ * line_}, call.compute);
  zeros_ = torch::stable::fill_(new_tensor({block.channels}, call.compute), 0);
  const int64_t sample_bytes =
      call.compute == ScalarType::Double ? sizeof(DeformSample<double>) : sizeof(DeformSample<float>);
  samples_ = new_tensor({tile_rows_ * taps * call.geometry.offset_groups * sample_bytes}, ScalarType::Byte);
  if (!call.channels_last || call.input.scalar_type() != call.compute) {
    copy_ = new_tensor({plan.images * block.channels * call.geometry.in_pixels()}, call.compute);
  }
  const DType compute = kernel_dtype(call.compute);
  const cpu::MatrixLayout<void> from = weight_layout(call.weight, call, block);
  cpu::copy_matrices({{from.data, from.dtype, from.matrix_stride, from.row_stride, from.column_stride},
                      {weights_.mutable_data_ptr(), compute, line_, channels, 1},
                      outputs,
                      taps,
                      channels,
                      false,
                      false},
                     torch_threads());
  if (bias) {
    const int64_t size = element_size(call.compute);
    const char* from = static_cast<const char*>(bias->const_data_ptr()) +
                       block.group * group_outputs * element_size(bias->scalar_type());
    char* to = static_cast<char*>(weights_.mutable_data_ptr()) + (depth_ - 1) * size;
    cpu::copy_matrices(
        {{from, dtype_of(*bias, "bias"), 0, 1, 1}, {to, compute, 0, line_, 1}, 1, outputs, 1, false, false},
        torch_threads());
    char* ones = static_cast<char*>(columns_.mutable_data_ptr()) + (depth_ - 1) * size;
    torch::stable::fill_(view({ones, 1, block.groups * tile_rows_, 1, 0, line_, 1}, call.compute), 1);
  }
}

void DeformBlock::load_images(int64_t image, int64_t images) {
  images_ = {image, images, 0, call_.geometry.in_pixels()};
  source_ = read_rows(call_.input, call_.channels_last, images_, block_.channel, block_.channels, call_.compute, copy_);
}

void DeformBlock::locate(const TileRange& range) {
  range_ = range;
  const auto map = [](const std::optional<Tensor>& t, const char* name) {
    return t ? cpu::DeformMap{t->const_data_ptr(), dtype_of(*t, name)} : cpu::DeformMap{nullptr, DType::f32};
  };
  cpu::deform_samples({call_.geometry,
                       map(call_.offset, "offset"),
                       map(call_.center, "center"),
                       map(call_.mask, "mask"),
                       {range.image * call_.out_pixels() + range.pixel, range.rows()},
                       call_.compute == ScalarType::Double,
                       samples_.mutable_data_ptr()},
                      torch_threads());
}

cpu::DeformTile DeformBlock::tile() const {
  cpu::DeformTile tile{};
  tile.dtype = kernel_dtype(call_.compute);
  tile.range = {range_.image * call_.out_pixels() + range_.pixel, range_.rows()};
  tile.out_pixels = call_.out_pixels();
  tile.taps = call_.taps();
  tile.offset_groups = call_.geometry.offset_groups;
  tile.samples = samples_.const_data_ptr();
  tile.source = source_.data;
  tile.first_image = images_.image;
  tile.image_stride = source_.image_stride;
  tile.pixel_stride = source_.row_stride;
  tile.zeros = zeros_.const_data_ptr();
  tile.channels = block_.channels;
  tile.runs = runs_.data();
  tile.run_count = static_cast<int64_t>(runs_.size());
  tile.columns = columns_.mutable_data_ptr();
  tile.row_stride = line_;
  tile.tap_stride = block_.group_channels();
  return tile;
}

Matrices DeformBlock::columns() const {
  return {columns_.mutable_data_ptr(), block_.groups, range_.rows(), depth_, tile_rows_ * line_, line_, 1};
}

Matrices DeformBlock::weights() const {
  const int64_t outputs = call_.out_channels / call_.groups;
  return {weights_.mutable_data_ptr(), block_.groups, outputs, depth_, outputs * line_, line_, 1};
}

Matrices DeformBlock::out_rows(void* data, int64_t row_stride) const {
  const int64_t outputs = call_.out_channels / call_.groups;
  return {data, block_.groups, range_.rows(), outputs, outputs, row_stride, 1};
}

}  // namespace refinedet::torch_ops
