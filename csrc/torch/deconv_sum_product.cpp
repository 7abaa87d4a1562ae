#include "deconv_sum_product.h"

#include <algorithm>

#include "as_contiguous.h"
#include "new_image.h"

namespace refinedet::torch_ops {
namespace {

// Columns at a time. They stay in the cache between the product and the maps; and the product is large enough that
// the call, the threads' meeting and packing the weight once more do not show.
constexpr int64_t kTileBytes = 1600 << 10;
constexpr int64_t kMinTilePixels = 96;
constexpr int64_t kLargePlane = 256;  // pixels of an image that are enough for a product of their own
// Tiles of some channels of a large plane: their columns stay in L2, and threads find tiles of their own. The product
// packs its input, not its weight, once more for each; in bfloat16 that takes longer than it saves.
constexpr int64_t kBlockBytes = 400 << 10;
constexpr int64_t kMinBlockChannels = 64;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

const char* element(const Tensor& t, int64_t index) {
  return static_cast<const char*>(t.const_data_ptr()) + index * static_cast<int64_t>(t.element_size());
}

}  // namespace

Tensor ordered(const Tensor& t, ScalarType dtype, bool channels_last) {
  const Tensor converted = t.scalar_type() == dtype ? t : torch::stable::to(t, dtype);
  if (!channels_last) {
    return as_contiguous(converted);
  }
  return is_channels_last(converted) ? converted : torch::stable::contiguous(converted, MemoryFormat::ChannelsLast);
}

Tensor new_maps(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device) {
  return new_image(sizes, dtype, channels_last, device);
}

DeconvSumTile no_lines(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last) {
  DeconvSumTile tile{};
  tile.dtype = dtype_of(maps, "lateral");
  tile.channels_last = channels_last;
  tile.taps_inner = !is_channels_last(weight);
  tile.channels = weight.size(1);
  tile.in_height = input.size(2);
  tile.in_width = input.size(3);
  tile.out_height = maps.size(2);
  tile.out_width = maps.size(3);
  return tile;
}

DeconvSumProduct::DeconvSumProduct(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last,
                                   bool forward)
    : type_(input.scalar_type() == ScalarType::Half ? ScalarType::Float : input.scalar_type()),
      input_(ordered(input, type_, channels_last)),
      weight_(ordered(weight, type_, channels_last && is_channels_last(weight))),
      batch_(input.size(0)),
      in_channels_(input.size(1)),
      channels_(weight.size(1)),
      forward_(forward) {
  tile_ = no_lines(input, weight_, maps, channels_last);
  plan_tiles();
  new_columns();
}

DeconvSumProduct DeconvSumProduct::twin() const {
  DeconvSumProduct copy = *this;
  copy.new_columns();
  return copy;
}

void DeconvSumProduct::new_columns() {
  columns_ = new_tensor({4 * tile_channels_ * tile_lines_ * tile_.in_width}, type_);
  if (packs() || (in_bfloat16() && !forward_)) {
    packed_ = new_tensor({in_channels_ * tile_lines_ * tile_.in_width}, type_);
  }
}

void DeconvSumProduct::plan_tiles() {
  const int64_t width = std::max<int64_t>(1, tile_.in_width), height = tile_.in_height;
  const int64_t element_size = static_cast<int64_t>(input_.element_size());
  const int64_t line_bytes = 4 * std::max<int64_t>(1, tile_.channels) * width * element_size;
  const int64_t lines = std::max({int64_t{1}, kMinTilePixels / width, kTileBytes / line_bytes});
  if (!tile_.channels_last && lines >= height) {
    const int64_t images = height * width >= kLargePlane && !in_bfloat16() ? 1 : lines / std::max<int64_t>(1, height);
    tile_lines_ = height * std::min(batch_, images);
  } else {
    const int64_t all = tile_.channels_last ? batch_ * height : height;
    const int64_t tiles = std::max<int64_t>(1, divide_up(all, lines));
    tile_lines_ = divide_up(all, tiles);  // of even sizes
  }
  tile_channels_ = channels_;
  if (forward_ && !tile_.channels_last && !in_bfloat16() && tile_lines_ <= height && height * width >= kLargePlane) {
    const int64_t channel_bytes = 4 * tile_lines_ * width * element_size;
    const int64_t size = std::max(kMinBlockChannels, kBlockBytes / channel_bytes / 32 * 32);
    tile_channels_ = std::min(channels_, size);
  }
}

int64_t DeconvSumProduct::line_tiles() const {
  const int64_t height = tile_.in_height;
  if (tile_.in_width == 0 || tile_lines_ == 0) {
    return 0;
  }
  return !tile_.channels_last && tile_lines_ < height ? batch_ * divide_up(height, tile_lines_)
                                                      : divide_up(batch_ * height, tile_lines_);
}

int64_t DeconvSumProduct::tiles() const {
  return line_tiles() * divide_up(channels_, std::max<int64_t>(1, tile_channels_));
}

void DeconvSumProduct::go_to(int64_t tile) {
  const int64_t height = tile_.in_height, blocks = divide_up(channels_, tile_channels_);
  const int64_t lines = tile / blocks;  // the same ones for all blocks, one after the other
  if (!tile_.channels_last && tile_lines_ < height) {
    const int64_t per_image = divide_up(height, tile_lines_), first = lines % per_image * tile_lines_;
    line_ = lines / per_image * height + first;
    tile_.lines = std::min(tile_lines_, height - first);
  } else {
    line_ = lines * tile_lines_;
    tile_.lines = std::min(tile_lines_, batch_ * height - line_);
  }
  first_channel_ = tile % blocks * tile_channels_;
  tile_.channels = std::min(tile_channels_, channels_ - first_channel_);
  if (blocks == 1) {
    tile_.first_line = line_;
  } else {
    tile_.first_line = line_ % height;
    maps_offset_ = (line_ / height * channels_ + first_channel_) * tile_.out_height * tile_.out_width;
  }
}

Tensor DeconvSumProduct::columns() const {
  const int64_t n = 4 * tile_.channels;
  return view_of(columns_.const_data_ptr(), {pixels(), n}, {n, 1}, type_);
}

Tensor DeconvSumProduct::weight() const {
  return view_of(element(weight_, 4 * first_channel_), {in_channels_, 4 * tile_.channels}, {4 * channels_, 1}, type_);
}

Tensor DeconvSumProduct::input() const {
  if (!packs()) {
    return pixels_in_place(input_);
  }
  copy(image_pixels_of(input_), packed_rows());
  return packed_pixels();
}

Tensor DeconvSumProduct::input_transposed() const {
  if (!in_bfloat16()) {
    return torch::stable::transpose(input(), 0, 1);
  }
  if (!tile_.channels_last && !several_images()) {
    return torch::stable::transpose(pixels_in_place(input_), 0, 1);
  }
  copy(image_pixels_of(input_), packed_columns());
  return view_of(packed_.const_data_ptr(), {in_channels_, pixels()}, {pixels(), 1}, type_);
}

void DeconvSumProduct::write_grad_input(const Tensor& grad_input) const {
  const Tensor transposed = torch::stable::transpose(weight(), 0, 1);
  if (!packs()) {
    return multiply(columns(), transposed, pixels_in_place(grad_input));
  }
  multiply(columns(), transposed, packed_pixels());
  copy(packed_rows(), image_pixels_of(grad_input));
}

// Where the tile begins in contiguous maps of the input's shape.
int64_t DeconvSumProduct::first_in_planes() const {
  const int64_t height = tile_.in_height;
  return (line_ / height * in_channels_ * height + line_ % height) * tile_.in_width;
}

// (pixels, Ci) of maps of the input's shape.
Tensor DeconvSumProduct::pixels_in_place(const Tensor& maps) const {
  const int64_t height = tile_.in_height, width = tile_.in_width;
  if (tile_.channels_last) {
    return view_of(element(maps, line_ * width * in_channels_), {pixels(), in_channels_}, {in_channels_, 1}, type_);
  }
  return view_of(element(maps, first_in_planes()), {pixels(), in_channels_}, {1, height * width}, type_);
}

Tensor DeconvSumProduct::packed_pixels() const {
  return view_of(packed_.const_data_ptr(), {pixels(), in_channels_}, {in_channels_, 1}, type_);
}

// The tile's pixels of maps of the input's shape: a matrix (pixel, channel) per image.
cpu::MatrixLayout<void> DeconvSumProduct::image_pixels_of(const Tensor& maps) const {
  const int64_t plane = image_pixels();
  const bool rows = tile_.channels_last;
  const char* data = rows ? element(maps, line_ * tile_.in_width * in_channels_) : element(maps, first_in_planes());
  return {const_cast<char*>(data), dtype_of(maps, "input"), in_channels_ * plane, rows ? in_channels_ : 1,
          rows ? 1 : plane};
}

cpu::MatrixLayout<void> DeconvSumProduct::packed_rows() const {
  return {packed_.mutable_data_ptr(), dtype_of(packed_, "input"), image_pixels() * in_channels_, in_channels_, 1};
}

cpu::MatrixLayout<void> DeconvSumProduct::packed_columns() const {
  return {packed_.mutable_data_ptr(), dtype_of(packed_, "input"), image_pixels(), 1, pixels()};
}

void DeconvSumProduct::copy(const cpu::MatrixLayout<void>& from, const cpu::MatrixLayout<void>& to) const {
  const int64_t images = tile_.channels_last ? 1 : std::max<int64_t>(1, tile_.lines / tile_.in_height);
  cpu::copy_matrices({{from.data, from.dtype, from.matrix_stride, from.row_stride, from.column_stride},
                      to,
                      images,
                      pixels() / images,
                      in_channels_,
                      false,
                      false},
                     torch_threads());
}

}  // namespace refinedet::torch_ops
