#include "device.h"

#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include "common.h"

namespace refinedet::torch_ops {
namespace {

std::string name_of(const Tensor& t) {
  return t.is_cpu() ? "cpu" : t.is_cuda() ? "cuda:" + std::to_string(t.get_device_index()) : "another device";
}

#if defined(REFINEDET_WITH_CUDA) && !defined(REFINEDET_CUDA_ON_HOST)
using GetStream = AOTITorchError (*)(int32_t, void**);

GetStream get_stream() {
  static const auto function = reinterpret_cast<GetStream>(cuda_symbol("aoti_torch_get_current_cuda_stream"));
  REFINEDET_CHECK(function != nullptr, "this torch has no CUDA streams (libtorch_cuda.so is not loaded)");
  return function;
}
#endif

}  // namespace

#if defined(REFINEDET_WITH_CUDA) && !defined(REFINEDET_CUDA_ON_HOST)
void* cuda_symbol(const char* name) {
  void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  return dlsym(library != nullptr ? library : RTLD_DEFAULT, name);
}
#endif

bool convolutions_use_tf32() {
  StableIValue answer{};
  check_status(torch_call_dispatcher(REFINEDET_LIBRARY_NAME "::_convolutions_use_tf32", "", &answer, TORCH_ABI_VERSION),
               "could not ask torch for the precision of its convolutions");
  return torch::stable::detail::to<bool>(answer);
}

int32_t Device::type() const { return index_ < 0 ? aoti_torch_device_type_cpu() : aoti_torch_device_type_cuda(); }

torch::stable::Device Device::stable() const {
  using torch::headeronly::DeviceType;
  return {index_ < 0 ? DeviceType::CPU : DeviceType::CUDA, static_cast<torch::stable::DeviceIndex>(index_)};
}

Device device_of(const Tensor& t, const char* name) {
  REFINEDET_CHECK(t.is_cpu() || t.is_cuda(), name, ": expected a tensor on the CPU or a CUDA device, got one on ",
                  name_of(t));
  return t.is_cpu() ? Device::cpu() : Device::cuda(t.get_device_index());
}

void check_device(const Tensor& t, Device device, const char* name) {
  const bool same = (t.is_cpu() || t.is_cuda()) && device_of(t, name) == device;
  REFINEDET_CHECK(same, name, ": expected a tensor on ",
                  device == Device::cpu() ? "cpu" : "cuda:" + std::to_string(device.index()),
                  " like the other arguments, got one on ", name_of(t));
}

void check_no_double_on_gpu(const Tensor& t, Device device, const char* name) {
  REFINEDET_CHECK(!device.on_gpu() || t.scalar_type() != ScalarType::Double, name,
                  ": expected float32, float16 or bfloat16 on a GPU, got float64");
}

CudaScope::CudaScope([[maybe_unused]] Device device) {
#if defined(REFINEDET_WITH_CUDA) && !defined(REFINEDET_CUDA_ON_HOST)
  guard_.emplace(device.index());
  void* stream = nullptr;
  check_status(get_stream()(device.index(), &stream), "torch did not say its current CUDA stream");
  stream_ = static_cast<cuda::Stream>(stream);
#endif
}

}  // namespace refinedet::torch_ops
