// deform_align on a tile of output pixels, all but its matrix products: the columns that its taps read, a row of a
// matrix per output pixel, and the way back. Element types: float32, float16, bfloat16; computed in float32. All arrays
// lie on the current device.
#pragma once

#include "ops/deform_align.h"

namespace refinedet::cuda {

struct DeformTile {
  DeformGeometry geometry;         // an image of the output has fewer than 2^31 pixels
  DeformMap offset, center, mask;  // of the batch
  PixelRange range;                // range.count * taps * offset groups is below 2^31
  DType dtype;                     // of the source and of the columns
  int64_t channels, groups;
  const void* source;   // dense, channels last
  int64_t first_image;  // whose pixel 0 `source` points at
  void* columns;        // (range.count, groups, line): (taps, channels / groups), then zeros
  int64_t line;         // a multiple of 8
  const void* bias;     // (out_channels), or null
  void* rows;           // (range.count, out_channels): where the product is added to the bias
  int64_t out_channels;

  REFINEDET_HD int64_t group_channels() const { return channels / groups; }
};

// Writes the tile's columns, and the bias, where there is one, into all of its rows.
void deform_columns(const DeformTile& tile, Stream stream);

// What makes numbers whose sums are the same in any order: integers, of 2^-`shift`. Lies on the device.
struct FixedPoint {
  float up[2];       // their product is 2^shift
  double down;       // 2^-shift
  int32_t poisoned;  // something was not finite: so are all sums
};

struct DeformGrads {
  bool replace;    // the columns' gradient by the columns themselves, which the weights' gradient needs next
  float* samples;  // (range.count, taps, offset groups, 3): gradients of y, x, mask. Or null
  void* source;    // laid out as the source, added to: float32, or int64 with `fixed`. Or null
  FixedPoint* fixed;
};

// From the tile's columns, which hold their gradient. Only with `fixed` have the sums in `source` the same bits every
// time.
void deform_grads(const DeformTile& tile, const DeformGrads& grads, Stream stream);

// Writes a tile's part of the maps' gradients from those of its samples.
struct DeformMapGrads {
  DeformGeometry geometry;
  PixelRange range;
  const float* samples;
  DeformMapOut offset, center, mask;
};
void deform_map_grads(const DeformMapGrads& args, Stream stream);

// Finds the unit of the fixed-point sums of a call; `maxima` is scratch for three numbers.
struct DeformFixedPoint {
  DType dtype;
  const void *grad, *weight;
  int64_t grad_size, weight_size;
  int64_t outputs;  // of a group
  DeformMap mask;
  int64_t mask_size;
  int64_t contributions;  // to one sum, at most
  uint32_t* maxima;
  FixedPoint* fixed;
};
void deform_fixed_point(const DeformFixedPoint& args, Stream stream);

// to[i] = from[i], in `dtype`; `from` holds float32, or int64 with `fixed`.
void deform_round_sums(const void* from, const FixedPoint* fixed, void* to, DType dtype, int64_t size, Stream stream);

}  // namespace refinedet::cuda
