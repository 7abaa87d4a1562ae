#pragma once

#include "common.h"

namespace refinedet::torch_ops {

// A new (B, C, H, W) tensor, by the call that new_tensor uses too: it does not ask the dispatcher. A large one on the
// CPU asks for huge pages.
Tensor new_image(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device);

}  // namespace refinedet::torch_ops
