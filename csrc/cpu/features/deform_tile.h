// deform_align on a tile of output pixels, all but its matrix products: where every tap reads, the columns it reads,
// and the way back. An output pixel's columns are a row (tap, channel) of a matrix, which is multiplied with the
// weights.
#pragma once

#include "ops/deform_align.h"

namespace refinedet::cpu {

struct DeformSamplesArgs {
  DeformGeometry geometry;
  DeformMap offset, center, mask;
  PixelRange range;
  DType accumulate;  // float64 or float32: W
  void* samples;     // (range.count, taps, offset_groups) of DeformSample<W>
};

// Channels that share an offset group and a weight group, and the column of the first of them at tap 0.
struct ChannelRun {
  int64_t channel, count;
  int64_t offset_group;
  int64_t column;
};

// Samples of a tile, the pixels they read, and the columns. `dtype` (float32, float64 or bfloat16) is that of the
// columns, and of the pixels, except that float32 columns may be read from float16 or bfloat16 pixels; W is double for
// float64, else float.
struct DeformTile {
  DType dtype;
  PixelRange range;
  int64_t out_pixels;  // of an image
  int64_t taps, offset_groups;
  const void* samples;

  DType source_dtype;
  const void* source;   // channels last
  int64_t first_image;  // whose pixel 0 `source` points at
  int64_t image_stride, pixel_stride;
  const void* zeros;  // `channels` of them: what a pixel outside the map holds

  int64_t channels;  // of all runs together
  const ChannelRun* runs;
  int64_t run_count;

  void* columns;  // (range.count, .) with rows row_stride apart and taps tap_stride apart
  int64_t row_stride, tap_stride;
};

struct DeformColumnsArgs {
  DeformTile tile;  // its columns are written
};

struct DeformGradSamplesArgs {
  DeformTile tile;                              // its columns hold their gradient; its pixels are of their dtype
  bool replace;                                 // by the columns themselves, which the weights' gradient needs next
  void *grad_offset, *grad_center, *grad_mask;  // W, (B, channels, Ho, Wo), added to; null where not wanted
};

struct DeformGradSourceArgs {
  DeformTile tile;    // its columns hold their gradient; its source is not read
  void* grad_source;  // W, laid out as the strides say, added to
  int64_t image_stride, pixel_stride;
};

void deform_samples(const DeformSamplesArgs& args, const ParallelFor& parallel);
void deform_columns(const DeformColumnsArgs& args, const ParallelFor& parallel);
void deform_grad_samples(const DeformGradSamplesArgs& args, const ParallelFor& parallel);
void deform_grad_source(const DeformGradSourceArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu
