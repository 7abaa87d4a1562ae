#include "new_image.h"

#include "cpu/runtime/huge_pages.h"

namespace refinedet::torch_ops {
namespace {

Tensor new_layout(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device) {
  if (!channels_last) {
    return new_tensor(sizes, dtype, device);
  }
  const std::vector<int64_t> strides{sizes[1] * sizes[2] * sizes[3], 1, sizes[1] * sizes[3], sizes[1]};
  const auto number = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  AtenTensorHandle handle = nullptr;
  check_allocation(
      aoti_torch_empty_strided(4, sizes.data(), strides.data(), number, device.type(), device.index(), &handle), sizes,
      dtype);
  return Tensor(handle);
}

}  // namespace

Tensor new_image(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device) {
  Tensor image = new_layout(sizes, dtype, channels_last, device);
  if (!device.on_gpu()) {
    cpu::ask_for_huge_pages(image.mutable_data_ptr(), image.numel() * static_cast<int64_t>(image.element_size()));
  }
  return image;
}

}  // namespace refinedet::torch_ops
