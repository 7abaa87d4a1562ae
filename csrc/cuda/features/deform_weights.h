// The weights of a deformable convolution as the matrix that its columns meet, and their gradient back from it.
#pragma once

#include "core/dtype.h"
#include "core/stream.h"

namespace refinedet::cuda {

// (outputs, channels, taps) weights, or (outputs, taps, channels) with `channels_last`; and the matrix (outputs, line)
// of (taps, channels), then zeros.
struct DeformWeights {
  int64_t outputs, channels, taps;
  bool channels_last;
  int64_t line;
};

void deform_pack_weights(const DeformWeights& shape, const void* weight, void* matrix, DType dtype, Stream stream);

// The matrix holds `matrix_dtype`: `dtype` or float32, which is rounded (what is too large becomes infinite).
void deform_unpack_weights(const DeformWeights& shape, const void* matrix, DType matrix_dtype, void* weight,
                           DType dtype, Stream stream);

}  // namespace refinedet::cuda
