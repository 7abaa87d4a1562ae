// What the CPU's and the GPU's kernels of deconv_sum have in common: a tile of the work, and the arithmetic on one
// element of the maps.
//
// A 2x2 transposed convolution of stride 2 is a matrix product: an input pixel's channels times the weight give four
// taps of every output channel, the pixel's "columns". Tap (ky, kx) of pixel (y, x) is all that reaches pixel
// (2y + ky, 2x + kx) of the output.
#pragma once

#include "dtype.h"

namespace refinedet {

// Some lines of the input (line b * in_height + y is row y of image b), whose columns are (pixels, 4 * channels).
struct DeconvSumTile {
  DType dtype;         // of the maps
  DType columns;       // of the columns: the same, or on the CPU float32 for the half types
  bool channels_last;  // maps are (images, height, width, channels) in memory, else (images, channels, height, width)
  bool taps_inner;     // tap k = 2 ky + kx of channel c is column 4 c + k, as it must be unless channels_last is set;
                       // else k * channels + c
  int64_t channels;
  int64_t in_height, in_width;
  int64_t out_height, out_width;  // 2 * in_height and 2 * in_width, or one less: the last taps are cropped
  int64_t first_line, lines;
};

// out = columns + bias + lateral, then ReLU: summed in the accumulate type and rounded once.
struct DeconvScatterArgs {
  DeconvSumTile tile;
  const void* columns;
  const void* bias;  // (channels), or null
  const void* lateral;
  bool relu;
  void* out;  // of the whole batch, like lateral; the part that the tile reaches is written
};

struct DeconvGatherArgs {
  DeconvSumTile tile;
  const void* grad;    // of out
  const void* out;     // where ReLU was applied its result, else null
  void* columns;       // gradient of the columns: zero where they were cropped
  void* grad_lateral;  // written where `out` is given; without ReLU it is `grad` itself
};

// up + bias + side, then ReLU with `low` 0, or nothing with -infinity. NaN passes.
template <class T>
REFINEDET_HD Accumulate<T> add_features(Accumulate<T> up, Accumulate<T> bias, T side, Accumulate<T> low) {
  const Accumulate<T> x = up + bias + load(side);
  return x < low ? low : x;
}

// The same, rounded.
template <class T>
REFINEDET_HD T sum_features(Accumulate<T> up, Accumulate<T> bias, T side, Accumulate<T> low) {
  return round_to<T>(add_features<T>(up, bias, side, low));
}

template <class T>
REFINEDET_HD Accumulate<T> lowest_feature(bool relu) {
  return relu ? Accumulate<T>(0) : -static_cast<Accumulate<T>>(__builtin_huge_val());
}

// The gradient where ReLU let the result pass. As in torch it passes where that is NaN.
template <class T>
REFINEDET_HD T relu_gradient(T grad, T out) {
  return load(out) <= 0 ? T{} : grad;
}

}  // namespace refinedet
