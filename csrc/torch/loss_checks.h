// What the loss ops share: a check of indices, and the dtype of their sums.
#pragma once

#include <cmath>

#include "common.h"

namespace refinedet::torch_ops {

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

inline void check_mining(double ratio, int64_t min_negatives) {
  REFINEDET_CHECK(ratio >= 0 && std::isfinite(ratio), "ratio: expected a finite number of at least 0, got ", ratio);
  REFINEDET_CHECK(min_negatives >= 0, "min_negatives: expected at least 0, got ", min_negatives);
}

// The dtype of sums over elements of `t`.
inline ScalarType sum_dtype(const Tensor& t) {
  return t.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

}  // namespace refinedet::torch_ops
