#include <cstring>

#include "deform_align.h"

namespace refinedet::torch_ops {
namespace {

std::vector<ChannelRun> channel_runs(const DeformCall& call, const ChannelBlock& block, int64_t group_stride) {
  const int64_t per_offset_group = call.channels / call.geometry.offset_groups;
  std::vector<ChannelRun> runs;
  for (int64_t c = 0; c < block.channels;) {
    const int64_t group = c / block.group_channels(), offset_group = (block.channel + c) / per_offset_group;
    const int64_t end =
        std::min((group + 1) * block.group_channels(), (offset_group + 1) * per_offset_group - block.channel);
    runs.push_back({c, end - c, offset_group, group * group_stride + c % block.group_channels()});
    c = end;
  }
  return runs;
}

// Pieces of a call's scratch memory, laid out one after the other.
struct Pieces {
  int64_t used = 0;

  int64_t add(int64_t bytes) {
    const int64_t at = used;
    used += round_up(bytes, 64);
    return at;
  }
};

// Zeros in the columns from `depth` on of rows of `line` elements of `size` bytes.
void clear_padding(char* rows, int64_t count, int64_t depth, int64_t line, int64_t size) {
  for (int64_t i = 0; i < count && depth < line; ++i) {
    std::memset(rows + (i * line + depth) * size, 0, static_cast<size_t>((line - depth) * size));
  }
}

// data[i * stride] = value.
template <class T>
void fill(void* data, int64_t count, int64_t stride, T value) {
  for (int64_t i = 0; i < count; ++i) {
    static_cast<T*>(data)[i * stride] = value;
  }
}

}  // namespace

DeformBlock::DeformBlock(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block,
                         const std::optional<Tensor>& bias)
    : call_(call), block_(block), source_dtype_(plan.source), order_(Order::copied), tile_rows_(plan.rows) {
  const int64_t taps = call.taps(), channels = block.group_channels(), size = element_size(call.compute);
  const bool whole = channels == call.channels / call.groups && call.dtype == call.compute;
  const bool rounds = bias && size < 4;  // what is added to its result would round twice
  if (whole && !rounds) {
    const bool same = call.weight_channels_last || taps == 1 || channels == 1;
    const bool few = call.batch * call.out_pixels() <= group_outputs();
    order_ = same ? Order::taps : few ? Order::channels : Order::copied;
  }
  depth_ = taps * channels + (bias && !in_place() ? 1 : 0);
  line_ = round_up(depth_, 64 / size);  // rows start on a cache line
  weight_line_ = in_place() ? depth_ : line_;
  runs_ = channel_runs(call, block, tile_rows_ * line_);

  const int64_t sample =
      call.compute == ScalarType::Double ? sizeof(DeformSample<double>) : sizeof(DeformSample<float>);
  const bool copies = !call.channels_last || call.dtype != source_dtype_;
  const int64_t column_bytes = block.groups * tile_rows_ * line_ * size;
  Pieces pieces;
  const int64_t weights = pieces.add(in_place() ? 0 : outputs() * line_ * size);
  const int64_t columns = pieces.add(column_bytes);
  const int64_t multiplied = order_ == Order::channels ? pieces.add(column_bytes) : columns;
  const int64_t samples = pieces.add(tile_rows_ * taps * call.geometry.offset_groups * sample);
  const int64_t zeros = pieces.add(block.channels * size);
  const int64_t copy =
      pieces.add(copies ? plan.images * block.channels * call.geometry.in_pixels() * element_size(source_dtype_) : 0);
  const int64_t rows = pieces.add(tile_rows_ * outputs() * size);
  memory_.emplace(pieces.used);
  char* const memory = memory_->data();
  columns_ = memory + columns;
  multiplied_ = memory + multiplied;
  samples_ = memory + samples;
  zeros_ = memory + zeros;
  copy_ = memory + copy;
  rows_ = memory + rows;
  std::memset(zeros_, 0, static_cast<size_t>(block.channels * size));
  // some bfloat16 products read a row to the end of its cache line, and multiply what lies there by zero
  clear_padding(multiplied_, block.groups * tile_rows_, depth_, line_, size);
  if (in_place()) {
    weights_ = static_cast<char*>(weight_layout(call.weight, call, block).data);
  } else {
    weights_ = memory + weights;
    copy_weights(bias);
  }
}

void DeformBlock::copy_weights(const std::optional<Tensor>& bias) const {
  const DType compute = kernel_dtype(call_.compute);
  const int64_t channels = block_.group_channels(), size = element_size(call_.compute);
  const cpu::MatrixLayout<void> from = weight_layout(call_.weight, call_, block_);
  cpu::copy_matrices({{from.data, from.dtype, from.matrix_stride, from.row_stride, from.column_stride},
                      {weights_, compute, line_, channels, 1},
                      outputs(),
                      call_.taps(),
                      channels,
                      false,
                      false},
                     torch_threads());
  clear_padding(weights_, outputs(), depth_, line_, size);
  if (!bias) {
    return;
  }
  const char* values =
      static_cast<const char*>(bias->const_data_ptr()) + first_output() * element_size(bias->scalar_type());
  cpu::copy_matrices({{values, dtype_of(*bias, "bias"), 0, 1, 1},
                      {weights_ + (depth_ - 1) * size, compute, 0, line_, 1},
                      1,
                      outputs(),
                      1,
                      false,
                      false},
                     torch_threads());
  char* const ones = columns_ + (depth_ - 1) * size;
  const int64_t rows = block_.groups * tile_rows_;
  switch (compute) {
    case DType::f64:
      return fill<double>(ones, rows, line_, 1);
    case DType::bf16:
      return fill<BFloat16>(ones, rows, line_, store<BFloat16>(1.0f));
    default:
      return fill<float>(ones, rows, line_, 1);
  }
}

void DeformBlock::load_images(int64_t image, int64_t images) {
  images_ = {image, images, 0, call_.geometry.in_pixels()};
  const auto there = rows_in_place(call_.input, call_.channels_last, images_, block_.channel, source_dtype_, false);
  source_ = there ? *there : packed_rows(copy_, images_, block_.channels);
  if (!there) {
    read_rows(call_.input, call_.channels_last, images_, block_.channel, block_.channels, source_dtype_, source_);
  }
}

void DeformBlock::locate(const TileRange& range) {
  range_ = range;
  const auto map = [](const std::optional<Tensor>& t, const char* name) {
    return t ? DeformMap{t->const_data_ptr(), dtype_of(*t, name)} : DeformMap{nullptr, DType::f32};
  };
  cpu::deform_samples({call_.geometry,
                       map(call_.offset, "offset"),
                       map(call_.center, "center"),
                       map(call_.mask, "mask"),
                       {range.image * call_.out_pixels() + range.pixel, range.rows()},
                       call_.compute == ScalarType::Double,
                       samples_},
                      torch_threads());
}

DeformTile DeformBlock::tile() const {
  DeformTile tile{};
  tile.dtype = kernel_dtype(call_.compute);
  tile.range = {range_.image * call_.out_pixels() + range_.pixel, range_.rows()};
  tile.out_pixels = call_.out_pixels();
  tile.taps = call_.taps();
  tile.offset_groups = call_.geometry.offset_groups;
  tile.samples = samples_;
  tile.source_dtype = kernel_dtype(source_dtype_);
  tile.source = source_.data;
  tile.first_image = images_.image;
  tile.image_stride = source_.image_stride;
  tile.pixel_stride = source_.row_stride;
  tile.zeros = zeros_;
  tile.channels = block_.channels;
  tile.runs = runs_.data();
  tile.run_count = static_cast<int64_t>(runs_.size());
  tile.columns = columns_;
  tile.row_stride = line_;
  tile.tap_stride = block_.group_channels();
  return tile;
}

// Between the orders (tap, channel) and (channel, tap) of the tile's columns.
void DeformBlock::reorder(bool back) const {
  if (order_ != Order::channels) {
    return;
  }
  const DType dtype = kernel_dtype(call_.compute);
  const int64_t taps = call_.taps(), channels = block_.group_channels(), size = element_size(call_.compute);
  for (int64_t group = 0; group < block_.groups; ++group) {
    const int64_t first = group * tile_rows_ * line_ * size;
    const cpu::MatrixLayout<void> by_tap{columns_ + first, dtype, line_, channels, 1};
    const cpu::MatrixLayout<void> by_channel{multiplied_ + first, dtype, line_, 1, taps};
    const cpu::MatrixLayout<void>&from = back ? by_channel : by_tap, &to = back ? by_tap : by_channel;
    cpu::copy_matrices({{from.data, dtype, from.matrix_stride, from.row_stride, from.column_stride},
                        to,
                        range_.rows(),
                        taps,
                        channels,
                        false,
                        false},
                       torch_threads());
  }
}

Matrices DeformBlock::columns() const {
  return {multiplied_, block_.groups, range_.rows(), depth_, tile_rows_ * line_, line_, 1};
}

Matrices DeformBlock::weights() const {
  return {weights_, block_.groups, group_outputs(), depth_, group_outputs() * weight_line_, weight_line_, 1};
}

Matrices DeformBlock::out_rows(const PixelRows& rows) const {
  return {rows.data,       block_.groups,      range_.rows(), group_outputs(), group_outputs() * rows.channel_stride,
          rows.row_stride, rows.channel_stride};
}

}  // namespace refinedet::torch_ops
