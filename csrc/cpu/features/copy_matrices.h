// Matrices from one layout and element type to another: images from planes to pixel rows and back, weights from
// (channel, tap) to (tap, channel) order.
#pragma once

#include "core/gemm.h"
#include "core/parallel.h"

namespace refinedet::cpu {

// to = from, or to += from, for matrices of one size. On each side rows or columns are contiguous. The types are equal,
// or one is float32 and the other float16 or bfloat16.
struct CopyMatricesArgs {
  Matrix from, to;
  bool add;       // to float32 or float64 only
  bool overflow;  // float16: what is too large becomes infinity (as a loss scaler expects of a gradient), not 65504
};

void copy_matrices(const CopyMatricesArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu
