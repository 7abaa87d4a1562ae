#include "deconv_sum_product.h"

#include <algorithm>

namespace refinedet::torch_ops {
namespace {

// Columns at a time. They stay in the cache between the product and the maps; and the product is large enough that
// the call, the threads' meeting and packing the weight once more do not show.
constexpr int64_t kTileBytes = 1600 << 10;
constexpr int64_t kMinTilePixels = 96;
constexpr int64_t kLargePlane = 256;  // pixels of an image that are enough for a product of their own

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

MemoryFormat format_of(bool channels_last) {
  return channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

const char* element(const Tensor& t, int64_t index) {
  return static_cast<const char*>(t.const_data_ptr()) + index * static_cast<int64_t>(t.element_size());
}

}  // namespace

Tensor ordered(const Tensor& t, ScalarType dtype, bool channels_last) {
  const Tensor converted = t.scalar_type() == dtype ? t : torch::stable::to(t, dtype);
  return torch::stable::contiguous(converted, format_of(channels_last));
}

Tensor new_maps(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Place place) {
  return torch::stable::empty(sizes, dtype, std::nullopt, place.device(), std::nullopt, format_of(channels_last));
}

cpu::DeconvSumTile no_lines(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last) {
  cpu::DeconvSumTile tile{};
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

DeconvSumProduct::DeconvSumProduct(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last)
    : type_(input.scalar_type() == ScalarType::Half ? ScalarType::Float : input.scalar_type()),
      input_(ordered(input, type_, channels_last)),
      weight_(ordered(weight, type_, channels_last && is_channels_last(weight))),
      batch_(input.size(0)),
      in_channels_(input.size(1)) {
  tile_ = no_lines(input, weight_, maps, channels_last);
  plan_tiles();
  columns_ = new_tensor({4 * tile_.channels * tile_lines_ * tile_.in_width}, type_);
  if (packs()) {
    packed_ = new_tensor({in_channels_ * tile_lines_ * tile_.in_width}, type_);
  }
}

void DeconvSumProduct::plan_tiles() {
  const int64_t width = std::max<int64_t>(1, tile_.in_width), height = tile_.in_height;
  const int64_t line_bytes = 4 * std::max<int64_t>(1, tile_.channels) * width * input_.element_size();
  const int64_t lines = std::max({int64_t{1}, kMinTilePixels / width, kTileBytes / line_bytes});
  if (!tile_.channels_last && lines >= height) {
    const int64_t images = height * width >= kLargePlane ? 1 : lines / std::max<int64_t>(1, height);
    tile_lines_ = height * std::min(batch_, images);
  } else {
    const int64_t all = tile_.channels_last ? batch_ * height : height;
    const int64_t tiles = std::max<int64_t>(1, divide_up(all, lines));
    tile_lines_ = divide_up(all, tiles);  // of even sizes
  }
}

bool DeconvSumProduct::next() {
  tile_.first_line += tile_.lines;
  tile_.lines = std::min(tile_lines_, batch_ * tile_.in_height - tile_.first_line);
  if (!tile_.channels_last && tile_lines_ < tile_.in_height) {
    tile_.lines = std::min(tile_.lines, tile_.in_height - tile_.first_line % tile_.in_height);
  }
  return pixels() > 0;
}

Tensor DeconvSumProduct::columns() const {
  const int64_t n = 4 * tile_.channels;
  return view_of(columns_.const_data_ptr(), {pixels(), n}, {n, 1}, type_);
}

Tensor DeconvSumProduct::weight() const {
  const int64_t n = 4 * tile_.channels;
  return view_of(weight_.const_data_ptr(), {in_channels_, n}, {n, 1}, type_);
}

Tensor DeconvSumProduct::input() const {
  if (!packs()) {
    return pixels_in_place(input_);
  }
  Tensor packed = packed_images();
  torch::stable::copy_(packed, images(input_));
  return packed_pixels();
}

void DeconvSumProduct::write_grad_input(const Tensor& grad_input) const {
  const Tensor transposed = torch::stable::transpose(weight(), 0, 1);
  if (!packs()) {
    return multiply(columns(), transposed, pixels_in_place(grad_input));
  }
  multiply(columns(), transposed, packed_pixels());
  Tensor target = images(grad_input);
  torch::stable::copy_(target, packed_images());
}

// (pixels, Ci) of maps of the input's shape.
Tensor DeconvSumProduct::pixels_in_place(const Tensor& maps) const {
  const int64_t line = tile_.first_line, height = tile_.in_height, width = tile_.in_width;
  if (tile_.channels_last) {
    return view_of(element(maps, line * width * in_channels_), {pixels(), in_channels_}, {in_channels_, 1}, type_);
  }
  const int64_t first = (line / height * in_channels_ * height + line % height) * width;
  return view_of(element(maps, first), {pixels(), in_channels_}, {1, height * width}, type_);
}

Tensor DeconvSumProduct::packed_pixels() const {
  return view_of(packed_.const_data_ptr(), {pixels(), in_channels_}, {1, pixels()}, type_);
}

// (Ci, images, plane) of maps of the input's shape.
Tensor DeconvSumProduct::images(const Tensor& maps) const {
  const int64_t plane = tile_.in_height * tile_.in_width;
  const int64_t first = tile_.first_line * tile_.in_width * in_channels_;
  return view_of(element(maps, first), {in_channels_, tile_.lines / tile_.in_height, plane},
                 {plane, in_channels_ * plane, 1}, type_);
}

Tensor DeconvSumProduct::packed_images() const {
  const int64_t plane = tile_.in_height * tile_.in_width, count = tile_.lines / tile_.in_height;
  return view_of(packed_.const_data_ptr(), {in_channels_, count, plane}, {count * plane, plane, 1}, type_);
}

}  // namespace refinedet::torch_ops
