#include "new_image.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace refinedet::torch_ops {
namespace {

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;  // of x86-64, and of 64-bit Arm with pages of 4 KiB
constexpr uintptr_t kLarge = 16 * kHugePage;         // what glibc maps afresh in every call; it keeps what is smaller

// The whole huge pages within a large tensor. Only advice: where the system gives none, nothing changes.
void ask_for_huge_pages([[maybe_unused]] const Tensor& t) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const auto begin = reinterpret_cast<uintptr_t>(t.mutable_data_ptr());
  const uintptr_t bytes = static_cast<uintptr_t>(t.numel()) * t.element_size();
  if (bytes >= kLarge) {
    const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
    madvise(reinterpret_cast<void*>(first), (begin + bytes - first) / kHugePage * kHugePage, MADV_HUGEPAGE);
  }
#endif
}

Tensor new_layout(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device) {
  if (!channels_last) {
    return new_tensor(sizes, dtype, device);
  }
  const std::vector<int64_t> strides{sizes[1] * sizes[2] * sizes[3], 1, sizes[1] * sizes[3], sizes[1]};
  const auto number = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  AtenTensorHandle handle = nullptr;
  check_status(
      aoti_torch_empty_strided(4, sizes.data(), strides.data(), number, device.type(), device.index(), &handle),
      "could not allocate a channels-last tensor");
  return Tensor(handle);
}

}  // namespace

Tensor new_image(const std::vector<int64_t>& sizes, ScalarType dtype, bool channels_last, Device device) {
  Tensor image = new_layout(sizes, dtype, channels_last, device);
  if (!device.on_gpu()) {
    ask_for_huge_pages(image);
  }
  return image;
}

}  // namespace refinedet::torch_ops
