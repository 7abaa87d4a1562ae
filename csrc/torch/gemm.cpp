#include "gemm.h"

#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>

namespace refinedet::torch_ops {

Tensor view_of(const void* data, std::initializer_list<int64_t> sizes, std::initializer_list<int64_t> strides,
               ScalarType dtype, Device device) {
  return torch::stable::from_blob(const_cast<void*>(data), {sizes.begin(), sizes.size()},
                                  {strides.begin(), strides.size()}, device.stable(), dtype);
}

void multiply(const Tensor& a, const Tensor& b, const Tensor& out) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(a), torch::stable::detail::from(b),
                                    torch::stable::detail::from(out)};
  // the out overloads: nothing is allocated, and autocast leaves them alone
  const char* op = out.dim() == 3 ? "aten::bmm" : "aten::mm";
  check_status(torch_call_dispatcher(op, "out", stack.data(), TORCH_ABI_VERSION), "a matrix product of torch failed");
  torch::stable::detail::to<Tensor>(stack[0]);  // the result is `out` once more: its handle is taken and dropped
}

void multiply_add(const Tensor& a, const Tensor& b, const Tensor& out) {
  // not by the dispatcher: the stable ABI has no way to hand it the factors, which are scalars
  const auto add = out.dim() == 3 ? aoti_torch_cpu_baddbmm_out : aoti_torch_cpu_addmm_out;
  check_status(add(out.get(), out.get(), a.get(), b.get(), 1, 1), "a matrix product of torch failed");
}

}  // namespace refinedet::torch_ops
