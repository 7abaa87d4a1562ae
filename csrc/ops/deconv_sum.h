// The maps' side of deconv_sum. A 2x2 transposed convolution of stride 2 is a matrix product: an input pixel's channels
// times the weight give four taps of every output channel, the pixel's "columns". Tap (ky, kx) of pixel (y, x) is all
// that reaches pixel (2y + ky, 2x + kx) of the output. The products are the caller's, tile by tile.
#pragma once

#include "core/dtype.h"
#include "core/parallel.h"

namespace refinedet {

// Element type of the columns: that of the maps, but float32 for float16, of which few CPUs have a matrix product.
template <class T>
using Column = std::conditional_t<std::is_same_v<T, Half>, float, T>;

// Some lines of the input (line b * in_height + y is row y of image b), whose columns are (pixels, 4 * channels).
struct DeconvSumTile {
  DType dtype;
  bool channels_last;  // maps are (images, height, width, channels) in memory, else (images, channels, height, width)
  bool taps_inner;     // tap k = 2 ky + kx of channel c is column 4 c + k, as it must be unless channels_last is set;
                       // else k * channels + c
  int64_t channels;
  int64_t in_height, in_width;
  int64_t out_height, out_width;  // 2 * in_height and 2 * in_width, or one less: the last taps are cropped
  int64_t first_line, lines;
};

struct DeconvSumArgs {
  DeconvSumTile tile;
  const void* columns;
  const void* bias;  // (channels), or null
  const void* lateral;
  bool relu;
  void* out;  // of the whole batch, like lateral; the part that the tile reaches is written
};

struct DeconvSumBackwardArgs {
  DeconvSumTile tile;
  const void* grad;    // of out
  const void* out;     // where ReLU was applied its result, else null
  void* columns;       // gradient of the columns: zero where they were cropped
  void* grad_lateral;  // written where `out` is given; without ReLU it is `grad` itself
};

// sum[i] += term[i], the sum in double for float64, else in float.
struct DeconvSumAddArgs {
  DType dtype;
  const void* term;  // of the columns' type
  void* sum;
  int64_t count;
};

// sums[j] += the sum of column j over the pixels.
struct DeconvSumColumnArgs {
  DType dtype;
  const void* columns;  // (pixels, count)
  int64_t pixels, count;
  double* sums;
};

}  // namespace refinedet

namespace refinedet::cpu {

// out = columns + bias + lateral, then ReLU: summed in float32 (float64 for float64) and rounded once.
void deconv_sum_scatter(const DeconvSumArgs& args, const ParallelFor& parallel);
void deconv_sum_gather(const DeconvSumBackwardArgs& args, const ParallelFor& parallel);
void deconv_sum_add(const DeconvSumAddArgs& args, const ParallelFor& parallel);
void deconv_sum_columns(const DeconvSumColumnArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu
