#pragma once

#include "common.h"

namespace refinedet::torch_ops {

// A new (B, C, H, W) tensor, by the call that new_tensor uses too: it does not ask the dispatcher.
inline Tensor new_image(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Place place) {
  if (!channels_last) {
    return new_tensor(sizes, dtype, place);
  }
  const std::vector<int64_t> strides{sizes[1] * sizes[2] * sizes[3], 1, sizes[1] * sizes[3], sizes[1]};
  const auto number = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(4, sizes.data(), strides.data(), number, place.device_type(),
                                                         place.device_index(), &handle));
  return Tensor(handle);
}

}  // namespace refinedet::torch_ops
