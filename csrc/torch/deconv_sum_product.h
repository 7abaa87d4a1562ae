// The matrix product inside deconv_sum and its backward, cut into tiles.
#pragma once

#include "cpu/features/copy_matrices.h"
#include "gemm.h"
#include "ops/deconv_sum.h"

namespace refinedet::torch_ops {

using torch::headeronly::MemoryFormat;

// The same values in that order and type; `t` itself where it has them.
Tensor ordered(const Tensor& t, ScalarType dtype, bool channels_last);
Tensor new_maps(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device = Device::cpu());

// The tile before the first one: all that a tile says but its lines. `weight` as the product takes it.
DeconvSumTile no_lines(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last);

// input (pixels, Ci) x weight (Ci, 4 Co) = columns (pixels, 4 Co), for the pixels of one tile after the other.
//
// Matrices of pixels are written with the pixels as rows. Only strides know that without channels_last each channel's
// pixels lie side by side in memory: torch's product takes both.
class DeconvSumProduct {
 public:
  // `maps` is the lateral map or anything of its shape, in the order that channels_last says. The forward pass needs no
  // `input_transposed()`, and its tiles of planes that are large enough hold some channels only.
  DeconvSumProduct(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last,
                   bool forward = false);

  // Tiles, none without pixels; and to one of them. Sums over tiles have one order only if they are gone to in theirs.
  int64_t tiles() const;
  void go_to(int64_t tile);

  // The same product for another thread, with columns of its own.
  DeconvSumProduct twin() const;

  // Of a tile of some channels: as if those were all that an image has. In the maps it begins `maps_offset()` elements
  // further, in the bias `first_channel()`.
  const DeconvSumTile& tile() const { return tile_; }
  int64_t maps_offset() const { return maps_offset_; }
  int64_t first_channel() const { return first_channel_; }
  ScalarType type() const { return type_; }  // of all matrices
  bool one_tile() const { return tile_lines_ == batch_ * tile_.in_height; }

  void* columns_data() const { return columns_.mutable_data_ptr(); }
  Tensor columns() const;
  Tensor weight() const;
  Tensor input() const;
  Tensor input_transposed() const;  // (Ci, pixels), for the gradient of the weight

  // The tile's part of the input's gradient, from the columns' gradient that is in `columns`.
  void write_grad_input(const Tensor& grad_input) const;

 private:
  void plan_tiles();
  void new_columns();
  int64_t line_tiles() const;
  int64_t pixels() const { return tile_.lines * tile_.in_width; }
  // Planes of several images are copied to rows of channels for one product. In bfloat16 every matrix is brought to
  // the order of the product: torch's takes longer over that itself.
  bool packs() const { return !tile_.channels_last && (in_bfloat16() || several_images()); }
  bool several_images() const { return tile_lines_ > tile_.in_height; }
  bool in_bfloat16() const { return type_ == ScalarType::BFloat16; }
  int64_t image_pixels() const { return tile_.in_height * tile_.in_width; }
  Tensor pixels_in_place(const Tensor& maps) const;
  Tensor packed_pixels() const;
  int64_t first_in_planes() const;
  cpu::MatrixLayout<void> image_pixels_of(const Tensor& maps) const;
  cpu::MatrixLayout<void> packed_rows() const;
  cpu::MatrixLayout<void> packed_columns() const;
  void copy(const cpu::MatrixLayout<void>& from, const cpu::MatrixLayout<void>& to) const;

  DeconvSumTile tile_{};
  ScalarType type_;
  Tensor input_, weight_, columns_, packed_;
  int64_t batch_, in_channels_, channels_;
  bool forward_;
  int64_t tile_lines_ = 0, tile_channels_ = 0;
  int64_t line_ = 0;  // the tile's first one in the batch
  int64_t first_channel_ = 0, maps_offset_ = 0;
};

}  // namespace refinedet::torch_ops
