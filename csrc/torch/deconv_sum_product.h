// The matrix product inside deconv_sum and its backward, cut into tiles.
#pragma once

#include "../cpu/deconv_sum.h"
#include "gemm.h"

namespace refinedet::torch_ops {

using torch::headeronly::MemoryFormat;

// The same values in that order and type; `t` itself where it has them.
Tensor ordered(const Tensor& t, ScalarType dtype, bool channels_last);
Tensor new_maps(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Place place = Place::cpu());

// The tile before the first one: all that a tile says but its lines. `weight` as the product takes it.
cpu::DeconvSumTile no_lines(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last);

// input (pixels, Ci) x weight (Ci, 4 Co) = columns (pixels, 4 Co), for the pixels of one tile after the other.
//
// Matrices of pixels are written with the pixels as rows. Only strides know that without channels_last each channel's
// pixels lie side by side in memory: torch's product takes both.
class DeconvSumProduct {
 public:
  // `maps` is the lateral map or anything of its shape, in the order that channels_last says.
  DeconvSumProduct(const Tensor& input, const Tensor& weight, const Tensor& maps, bool channels_last);

  // Goes on to the next tile; false after the last.
  bool next();

  const cpu::DeconvSumTile& tile() const { return tile_; }
  ScalarType type() const { return type_; }  // of all matrices
  bool one_tile() const { return tile_lines_ == batch_ * tile_.in_height; }

  void* columns_data() const { return columns_.mutable_data_ptr(); }
  Tensor columns() const;
  Tensor weight() const;
  Tensor input() const;

  // The tile's part of the input's gradient, from the columns' gradient that is in `columns`.
  void write_grad_input(const Tensor& grad_input) const;

 private:
  void plan_tiles();
  int64_t pixels() const { return tile_.lines * tile_.in_width; }
  // Small planes of several images in one product: they are copied next to each other.
  bool packs() const { return !tile_.channels_last && tile_lines_ > tile_.in_height; }
  Tensor pixels_in_place(const Tensor& maps) const;
  Tensor packed_pixels() const;
  Tensor images(const Tensor& maps) const;
  Tensor packed_images() const;

  cpu::DeconvSumTile tile_{};
  ScalarType type_;
  Tensor input_, weight_, columns_, packed_;
  int64_t batch_, in_channels_;
  int64_t tile_lines_ = 0;
};

}  // namespace refinedet::torch_ops
