#pragma once

#include "common.h"

namespace refinedet::torch_ops {

// The tensor itself where it is contiguous already: torch::stable::contiguous asks the dispatcher even then, which
// costs a microsecond per input. Else a copy, allocated here so that the error says of what where there is no memory.
inline Tensor as_contiguous(const Tensor& t) {
  if (t.is_contiguous()) {
    return t;
  }
  Tensor copy = new_tensor(t.sizes(), t.scalar_type(), t.is_cpu() ? Device::cpu() : Device::cuda(t.get_device_index()));
  torch::stable::copy_(copy, t);
  return copy;
}

}  // namespace refinedet::torch_ops
