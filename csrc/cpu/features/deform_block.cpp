#include "deform_block.h"

#include <algorithm>
#include <cstring>

#include "copy_matrices.h"

namespace refinedet::cpu {
namespace {

constexpr int64_t kColumnBytes = int64_t{4} << 20;  // of a tile: most of a large L2, or a fair share of L3
constexpr int64_t kMinRows = 128, kMaxRows = 4096;  // fewer: the product packs the weights too often
constexpr int64_t kCopyBytes = int64_t{32} << 20;   // of the channels-last copies alive at once

constexpr int64_t kTinyProduct = 1024;  // multiplications: they take less time than a library's product to be called

template <class T>
void multiply_here(const Matrix& a, const Matrix& b, const Matrix& out, bool add) {
  const auto at = [](const Matrix& m, int64_t matrix, int64_t row, int64_t column) -> T& {
    return static_cast<T*>(m.data)[matrix * m.matrix_stride + row * m.row_stride + column * m.column_stride];
  };
  for (int64_t m = 0; m < out.count; ++m) {
    for (int64_t r = 0; r < out.rows; ++r) {
      for (int64_t c = 0; c < out.columns; ++c) {
        Accumulate<T> sum = add ? load(at(out, m, r, c)) : 0;
        for (int64_t k = 0; k < a.columns; ++k) {
          sum += load(at(a, m, r, k)) * load(at(b, m, k, c));
        }
        at(out, m, r, c) = store<T>(sum);
      }
    }
  }
}

void multiply(void* context, const Matrix& a, const Matrix& b, const Matrix& out, bool add) {
  if (out.count * out.rows * out.columns * a.columns <= kTinyProduct) {
    return dispatch_floating(out.dtype, [&]<class T>(Tag<T>) { multiply_here<T>(a, b, out, add); });
  }
  const Gemm& gemm = *static_cast<const Gemm*>(context);
  add ? gemm.add(a, b, out) : gemm.write(a, b, out);
}

std::vector<ChannelRun> channel_runs(const DeformCall& call, const ChannelBlock& block, int64_t group_stride) {
  const int64_t per_offset_group = call.shape.channels / call.shape.geometry.offset_groups;
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

// Zeros in the columns from `depth` on of rows of `line` elements of `size` bytes.
void clear_padding(char* rows, int64_t count, int64_t depth, int64_t line, int64_t size) {
  for (int64_t i = 0; i < count && depth < line; ++i) {
    std::memset(rows + (i * line + depth) * size, 0, static_cast<size_t>((line - depth) * size));
  }
}

int64_t sample_bytes(DType accumulate) {
  return accumulate == DType::f64 ? sizeof(DeformSample<double>) : sizeof(DeformSample<float>);
}

}  // namespace

Gemm with_tiny_products(const Gemm& gemm) { return Gemm(multiply, unconst(&gemm)); }

DType forward_source(const DeformCall& call) {
  const bool large = call.shape.channels * call.in_pixels() * element_size(call.compute) > kCopyBytes;
  return large && element_size(call.shape.dtype) == 2 ? call.shape.dtype : call.compute;
}

DeformPlan deform_plan(const DeformCall& call, DType source, int64_t copied, bool divisible) {
  const int64_t channels = call.shape.channels, all_groups = call.shape.groups;
  DeformPlan plan;
  plan.source = source;
  const int64_t per_channel = std::max<int64_t>(1, call.in_pixels() * copied);
  const int64_t fitting = std::max<int64_t>(1, kCopyBytes / per_channel);  // channels of one image
  if (copied == 0 || fitting >= channels || (all_groups == 1 && !divisible)) {
    plan.blocks.push_back({0, channels, 0, all_groups});
  } else if (all_groups == 1) {
    const int64_t size = round_up(divide_up(channels, divide_up(channels, fitting)), 16);
    for (int64_t c = 0; c < channels; c += size) {
      plan.blocks.push_back({c, std::min(size, channels - c), 0, 1});
    }
  } else {
    const int64_t per_group = call.shape.group_channels(), size = std::max<int64_t>(1, fitting / per_group);
    for (int64_t g = 0; g < all_groups; g += size) {
      const int64_t groups = std::min(size, all_groups - g);
      plan.blocks.push_back({g * per_group, groups * per_group, g, groups});
    }
  }
  const ChannelBlock& block = plan.blocks.front();
  const int64_t row_bytes = (call.taps() * block.channels + 1) * element_size(call.compute);
  const int64_t rows = std::clamp(kColumnBytes / row_bytes, kMinRows, kMaxRows);
  const int64_t pixels = std::max<int64_t>(1, call.out_pixels());
  plan.images = std::clamp<int64_t>(rows / pixels, 1, std::max<int64_t>(1, call.shape.batch));
  plan.images = std::clamp<int64_t>(kCopyBytes / (per_channel * block.channels), 1, plan.images);
  const int64_t tiles = divide_up(pixels, rows);  // of about the same size
  plan.rows = plan.images > 1 ? plan.images * pixels : std::min(pixels, round_up(divide_up(pixels, tiles), 64));
  return plan;
}

std::optional<Matrix> rows_in_place(const FeatureMaps& maps, const PixelTile& tile, int64_t channel, int64_t count,
                                    DType dtype, bool planes) {
  // some bfloat16 products read a line to the end of its cache line (see DeformBlock): at the end of a part of a plane
  // lie other pixels, not zeros
  const bool whole = dtype != DType::bf16 || tile.pixels % 32 == 0;
  if (maps.dtype != dtype || !(maps.channels_last || (planes && tile.images == 1 && whole))) {
    return std::nullopt;
  }
  return maps.matrix(tile, channel, count);
}

Matrix weight_matrices(const void* weight, const DeformCall& call, const ChannelBlock& block) {
  const DeformAlignShape& shape = call.shape;
  const int64_t channels = shape.group_channels(), taps = call.taps(), size = channels * taps;
  const int64_t tap = shape.weight_channels_last ? channels : 1, channel = shape.weight_channels_last ? 1 : taps;
  const int64_t first = block.group * shape.group_outputs() * size + block.channel % channels * channel;
  return {element(weight, first, shape.dtype),
          shape.dtype,
          block.groups * shape.group_outputs(),
          taps,
          block.group_channels(),
          size,
          tap,
          channel};
}

DeformBlock::Order DeformBlock::choose_order(bool bias) const {
  const bool whole = block_.group_channels() == call_.shape.group_channels() && call_.shape.dtype == call_.compute;
  const bool rounds = bias && size() < 4;  // what is added to its result would round twice
  if (!whole || rounds) {
    return Order::copied;
  }
  const bool same = call_.shape.weight_channels_last || call_.taps() == 1 || block_.group_channels() == 1;
  const bool few = call_.shape.batch * call_.out_pixels() <= call_.shape.group_outputs();
  return same ? Order::taps : few ? Order::channels : Order::copied;
}

DeformBlock::DeformBlock(const DeformCall& call, const DeformPlan& plan, const ChannelBlock& block, const void* bias,
                         const ParallelFor& parallel)
    : call_(call),
      parallel_(parallel),
      block_(block),
      source_dtype_(plan.source),
      order_(choose_order(bias != nullptr)),
      tile_rows_(plan.rows),
      depth_(call.taps() * block.group_channels() + (bias != nullptr && !in_place() ? 1 : 0)),
      line_(round_up(depth_, 64 / size())),  // rows start on a cache line
      runs_(channel_runs(call, block, tile_rows_ * line_)),
      weights_(in_place() ? 0 : outputs() * line_ * size(), "the weights of deform_align"),
      columns_(block.groups * tile_rows_ * line_ * size(), "the columns of deform_align"),
      reordered_(order_ == Order::channels ? block.groups * tile_rows_ * line_ * size() : 0,
                 "the columns of deform_align"),
      samples_(tile_rows_ * call.taps() * call.shape.geometry.offset_groups * sample_bytes(call.accumulate),
               "the samples of deform_align"),
      zeros_(block.channels * size(), "a pixel of deform_align"),
      copy_(!call.shape.channels_last || call.shape.dtype != source_dtype_
                ? plan.images * block.channels * call.in_pixels() * element_size(source_dtype_)
                : 0,
            "the channels-last copy of deform_align's input"),
      rows_(tile_rows_ * outputs() * size(), "the results of a tile of deform_align") {
  std::memset(zeros_.data(), 0, static_cast<size_t>(block.channels * size()));
  // some bfloat16 products read a row to the end of its cache line, and multiply what lies there by zero
  clear_padding(static_cast<char*>(columns().data), block.groups * tile_rows_, depth_, line_, size());
  if (!in_place()) {
    copy_weights(bias);
  }
}

void DeformBlock::copy_weights(const void* bias) const {
  const int64_t taps = call_.taps(), channels = block_.group_channels();
  const Matrix packed{weights_.data(), call_.compute, outputs(), taps, channels, line_, channels, 1};
  copy_matrices({.from = weight_matrices(call_.weight, call_, block_), .to = packed, .add = false, .overflow = false},
                parallel_);
  clear_padding(weights_.data(), outputs(), depth_, line_, size());
  if (bias == nullptr) {
    return;
  }
  const Matrix values{element(bias, first_output(), call_.shape.dtype), call_.shape.dtype, 1, outputs(), 1, 0, 1, 1};
  const Matrix last{weights_.data() + (depth_ - 1) * size(), call_.compute, 1, outputs(), 1, 0, line_, 1};
  copy_matrices({.from = values, .to = last, .add = false, .overflow = false}, parallel_);
  dispatch_floating(call_.compute, [&]<class T>(Tag<T>) {
    T* const columns = reinterpret_cast<T*>(columns_.data());
    for (int64_t row = 0; row < block_.groups * tile_rows_; ++row) {
      columns[row * line_ + depth_ - 1] = store<T>(1);
    }
  });
}

void DeformBlock::load_images(const PixelTile& images) {
  images_ = images;
  const FeatureMaps inputs = call_.inputs();
  const auto there = rows_in_place(inputs, images, block_.channel, block_.channels, source_dtype_, /*planes=*/false);
  source_ = there ? *there : packed_rows(copy_.data(), source_dtype_, images, block_.channels);
  if (!there) {
    const Matrix from = inputs.matrix(images, block_.channel, block_.channels);
    copy_matrices({.from = from, .to = source_, .add = false, .overflow = false}, parallel_);
  }
}

void DeformBlock::locate(const PixelTile& tile) {
  tile_ = tile;
  deform_samples({call_.shape.geometry,
                  call_.offset,
                  call_.center,
                  call_.mask,
                  {tile.image * call_.out_pixels() + tile.pixel, tile.rows()},
                  call_.accumulate,
                  samples_.data()},
                 parallel_);
}

DeformTile DeformBlock::tile() const {
  DeformTile tile{};
  tile.dtype = call_.compute;
  tile.range = {tile_.image * call_.out_pixels() + tile_.pixel, tile_.rows()};
  tile.out_pixels = call_.out_pixels();
  tile.taps = call_.taps();
  tile.offset_groups = call_.shape.geometry.offset_groups;
  tile.samples = samples_.data();
  tile.source_dtype = source_dtype_;
  tile.source = source_.data;
  tile.first_image = images_.image;
  tile.image_stride = source_.matrix_stride;
  tile.pixel_stride = source_.row_stride;
  tile.zeros = zeros_.data();
  tile.channels = block_.channels;
  tile.runs = runs_.data();
  tile.run_count = static_cast<int64_t>(runs_.size());
  tile.columns = columns_.data();
  tile.row_stride = line_;
  tile.tap_stride = block_.group_channels();
  return tile;
}

// Between the orders (tap, channel) and (channel, tap) of the tile's columns.
void DeformBlock::reorder(bool back) const {
  if (order_ != Order::channels) {
    return;
  }
  const int64_t taps = call_.taps(), channels = block_.group_channels(), rows = tile_.rows();
  for (int64_t group = 0; group < block_.groups; ++group) {
    const int64_t first = group * tile_rows_ * line_ * size();
    const Matrix by_tap{columns_.data() + first, call_.compute, rows, taps, channels, line_, channels, 1};
    const Matrix by_channel{reordered_.data() + first, call_.compute, rows, taps, channels, line_, 1, taps};
    copy_matrices(
        {.from = back ? by_channel : by_tap, .to = back ? by_tap : by_channel, .add = false, .overflow = false},
        parallel_);
  }
}

Matrix DeformBlock::columns() const {
  char* const data = order_ == Order::channels ? reordered_.data() : columns_.data();
  return {data, call_.compute, block_.groups, tile_.rows(), depth_, tile_rows_ * line_, line_, 1};
}

Matrix DeformBlock::weights() const {
  const int64_t line = in_place() ? depth_ : line_, outputs = call_.shape.group_outputs();
  void* const data = in_place() ? weight_matrices(call_.weight, call_, block_).data : weights_.data();
  return {data, call_.compute, block_.groups, outputs, depth_, outputs * line, line, 1};
}

Matrix DeformBlock::by_group(const Matrix& rows) const {
  const int64_t outputs = call_.shape.group_outputs();
  return {rows.data,       rows.dtype,        block_.groups, tile_.rows(), outputs, outputs * rows.column_stride,
          rows.row_stride, rows.column_stride};
}

}  // namespace refinedet::cpu
