// The maps' side of deconv_sum on a GPU; see cpu/deconv_sum.h. Columns are of the maps' type, float16 too.
#pragma once

#include "core/stream.h"
#include "ops/deconv_sum.h"

namespace refinedet::cuda {

// As the CPU kernels, but without channels_last a tile is whole images or lines of one image, and its columns lie as
// (images, 4 * channels, pixels of an image's part): planes, as the maps do. In deconv_sum_gather `columns` may be
// null.
void deconv_sum_scatter(const DeconvSumArgs& args, Stream stream);
void deconv_sum_gather(const DeconvSumBackwardArgs& args, Stream stream);

// grad_bias[c] = the sum of channel c over a (batch, channels, pixels) map, or (batch, pixels, channels) where
// channels_last. Summed in float32 (float64 for float64) in an order of its own, always the same.
struct DeconvSumBiasArgs {
  DType dtype;
  bool channels_last;
  int64_t batch, channels, pixels;
  const void* grad;
  void* grad_bias;
};
int64_t deconv_sum_bias_workspace(const DeconvSumBiasArgs& args);  // bytes
void deconv_sum_bias(const DeconvSumBiasArgs& args, void* workspace, Stream stream);

// The sum of matrices that come in several calls: sum = (first ? 0 : sum) + the terms, which lie one after the other.
struct DeconvSumAddArgs {
  DType dtype;
  const void* terms;
  int64_t term_count, size;
  bool first;
  void* sum;     // float32 (float64 for float64)
  void* result;  // null, or where the sum goes at last, rounded; `sum` is then only read, and not if `first`
};
void deconv_sum_add(const DeconvSumAddArgs& args, Stream stream);

}  // namespace refinedet::cuda
