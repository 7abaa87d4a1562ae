// torch's own matrix product for kernels.
#include "core/gemm.h"

#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>

#include "common.h"

namespace refinedet::torch_ops {
namespace {

ScalarType scalar_type(DType dtype) {
  using enum ScalarType;
  return dtype == DType::f64 ? Double : dtype == DType::f16 ? Half : dtype == DType::bf16 ? BFloat16 : Float;
}

// A tensor on the matrices' memory: one matrix has two dimensions.
Tensor view_of(const Matrix& m, Device device) {
  const std::array<int64_t, 3> sizes{m.count, m.rows, m.columns};
  const std::array<int64_t, 3> strides{m.matrix_stride, m.row_stride, m.column_stride};
  const size_t skipped = m.count == 1 ? 1 : 0;
  return torch::stable::from_blob(m.data, Sizes(sizes.data() + skipped, 3 - skipped),
                                  Sizes(strides.data() + skipped, 3 - skipped), device.stable(), scalar_type(m.dtype));
}

void multiply(void* device_index, const Matrix& a, const Matrix& b, const Matrix& out, bool add) {
  const auto index = static_cast<int32_t>(reinterpret_cast<intptr_t>(device_index));
  const Device device = index < 0 ? Device::cpu() : Device::cuda(index);
  const Tensor left = view_of(a, device), right = view_of(b, device), result = view_of(out, device);
  const bool batched = out.count > 1;
  if (add) {
    // not by the dispatcher: the stable ABI has no way to hand it the factors, which are scalars
    REFINEDET_CHECK(index < 0, "products on a GPU cannot be added to what is there");
    const auto product = batched ? aoti_torch_cpu_baddbmm_out : aoti_torch_cpu_addmm_out;
    return check_status(product(result.get(), result.get(), left.get(), right.get(), 1, 1),
                        "could not multiply matrices");
  }
  std::array<StableIValue, 3> stack{torch::stable::detail::from(left), torch::stable::detail::from(right),
                                    torch::stable::detail::from(result)};
  // the out overloads: nothing is allocated, and autocast leaves them alone
  check_status(torch_call_dispatcher(batched ? "aten::bmm" : "aten::mm", "out", stack.data(), TORCH_ABI_VERSION),
               "could not multiply matrices");
  torch::stable::detail::to<Tensor>(stack[0]);  // the result is `out` once more: its handle is taken and dropped
}

}  // namespace

Gemm torch_gemm(Device device) {
  return Gemm(multiply, reinterpret_cast<void*>(static_cast<intptr_t>(device.index())));
}

}  // namespace refinedet::torch_ops
