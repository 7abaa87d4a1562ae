// Matrices from one layout and element type to another: images from planes to pixel rows and back, weights from
// (channel, tap) to (tap, channel) order.
#pragma once

#include "core/dtype.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu {

// Element (i, r, c) lies at data + i * matrix_stride + r * row_stride + c * column_stride, in elements.
template <class Void>
struct MatrixLayout {
  Void* data;
  DType dtype;
  int64_t matrix_stride, row_stride, column_stride;
};

// to = from, or to += from, for `count` matrices of (rows, columns). On each side rows or columns are contiguous.
// The types are equal, or one is float32 and the other float16 or bfloat16.
struct CopyMatricesArgs {
  MatrixLayout<const void> from;
  MatrixLayout<void> to;
  int64_t count, rows, columns;
  bool add;       // to float32 or float64 only
  bool overflow;  // float16: what is too large becomes infinity (as a loss scaler expects of a gradient), not 65504
};

void copy_matrices(const CopyMatricesArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu
