// deconv_sum on a GPU, all but its matrix products: between the columns of a tile and the maps, and the bias's
// gradient.
#pragma once

#include "core/deconv_tile.h"
#include "core/stream.h"

namespace refinedet::cuda {

// As the CPU kernels, but columns are of the maps' type, float16 too; and without channels_last a tile is whole images
// or lines of one image, and its columns lie as (images, 4 * channels, pixels of an image's part): planes, as the maps
// do. In deconv_gather `columns` may be null.
void deconv_scatter(const DeconvScatterArgs& args, Stream stream);
void deconv_gather(const DeconvGatherArgs& args, Stream stream);

// grad_bias[c] = the sum of channel c over a (batch, channels, pixels) map, or (batch, pixels, channels) where
// channels_last. Summed in the accumulate type in an order of its own, always the same.
struct DeconvBiasArgs {
  DType dtype;
  bool channels_last;
  int64_t batch, channels, pixels;
  const void* grad;
  void* grad_bias;
};
int64_t deconv_bias_workspace(const DeconvBiasArgs& args);  // bytes
void deconv_bias(const DeconvBiasArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
