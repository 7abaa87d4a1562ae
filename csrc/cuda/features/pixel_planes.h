// Images from planes to rows of channels and back.
#pragma once

#include "core/deform_sample.h"
#include "core/dtype.h"
#include "core/stream.h"

namespace refinedet::cuda {

// (B, channels, pixels) planes, and some of their pixels, numbered as (image, pixel), as dense rows (range.count,
// channels).
struct PixelPlanes {
  int64_t channels, pixels;
  PixelRange range;
};

void planes_to_rows(const PixelPlanes& shape, const void* planes, void* rows, DType dtype, Stream stream);

// The rows hold the same type as the planes, or float32, which is rounded (what is too large becomes infinite).
void rows_to_planes(const PixelPlanes& shape, const void* rows, DType rows_dtype, void* planes, DType dtype,
                    Stream stream);

}  // namespace refinedet::cuda
