// Checks that the loss ops share: values per anchor, indices among them, sums per image.
#pragma once

#include "common.h"

namespace refinedet::torch_ops {

// Throws unless `t` is (B, A) of `dtype` where `rows`, called `rows_name`, is (B, A, ...).
inline void check_anchor_values(const Tensor& t, const char* name, ScalarType dtype, const Tensor& rows,
                                const char* rows_name, Device device) {
  check_device(t, device, name);
  check_dtype(t, dtype, name);
  REFINEDET_CHECK(t.dim() == 2 && t.size(0) == rows.size(0) && t.size(1) == rows.size(1), name, ": expected shape (",
                  rows.size(0), ", ", rows.size(1), ") as ", rows_name, " has, got ", shape_of(t));
}

// Throws unless all values of a contiguous int64 tensor are below `bound`. Only on the CPU: elsewhere reading them
// would make the host wait, and the kernels look themselves.
inline void check_below(const Tensor& t, const char* name, int64_t bound, Device device) {
  if (device.on_gpu()) {
    return;
  }
  const int64_t *values = const_data<int64_t>(t), count = t.numel();
  uint64_t signs = 0;  // of bound - 1 - value: subtractions vectorize everywhere, comparisons of 64 bits do not
  for (int64_t i = 0; i < count; ++i) {
    signs |= static_cast<uint64_t>(bound) - 1 - static_cast<uint64_t>(values[i]);
  }
  for (int64_t i = 0; i < count && signs >> 63 != 0; ++i) {
    REFINEDET_CHECK(values[i] < bound, name, ": expected values below ", bound, ", got ", values[i]);
  }
}

// The dtype of sums over elements of `t`.
inline ScalarType sum_dtype(const Tensor& t) {
  return t.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Throws unless `t` is (B,) of the sums' dtype where `rows` is (B, ...).
inline void check_image_sums(const Tensor& t, const char* name, const Tensor& rows, Device device) {
  check_device(t, device, name);
  check_dtype(t, sum_dtype(rows), name);
  REFINEDET_CHECK(t.dim() == 1 && t.size(0) == rows.size(0), name, ": expected shape (", rows.size(0), "), got ",
                  shape_of(t));
}

}  // namespace refinedet::torch_ops
