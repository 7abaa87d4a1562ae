// Matrix products for kernels: torch's own on the CPU, cuBLAS's on a GPU.
#include "core/gemm.h"

#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>

#include "common.h"
#include "cublas.h"

namespace refinedet::torch_ops {
namespace {

ScalarType scalar_type(DType dtype) {
  using enum ScalarType;
  return dtype == DType::f64 ? Double : dtype == DType::f16 ? Half : dtype == DType::bf16 ? BFloat16 : Float;
}

// A tensor on the matrices' memory: one matrix has two dimensions.
Tensor view_of(const Matrix& m) {
  const std::array<int64_t, 3> sizes{m.count, m.rows, m.columns};
  const std::array<int64_t, 3> strides{m.matrix_stride, m.row_stride, m.column_stride};
  const size_t skipped = m.count == 1 ? 1 : 0;
  return torch::stable::from_blob(m.data, Sizes(sizes.data() + skipped, 3 - skipped),
                                  Sizes(strides.data() + skipped, 3 - skipped), Device::cpu().stable(),
                                  scalar_type(m.dtype));
}

void multiply_on_cpu(void*, const Matrix& a, const Matrix& b, const Matrix& out, bool add) {
  const Tensor left = view_of(a), right = view_of(b), result = view_of(out);
  const bool batched = out.count > 1;
  if (add) {
    // not by the dispatcher: the stable ABI has no way to hand it the factors, which are scalars
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

template <bool tf32>
void multiply_with_cublas(void*, const Matrix& a, const Matrix& b, const Matrix& out, bool add) {
  multiply_on_gpu(a, b, out, add, tf32);
}

}  // namespace

Gemm torch_gemm(Device device, DType dtype) {
  if constexpr (kWithCuda) {
    if (device.on_gpu()) {
      const bool tf32 = dtype == DType::f32 && convolutions_use_tf32();
      return Gemm(tf32 ? multiply_with_cublas<true> : multiply_with_cublas<false>, nullptr, tf32);
    }
  }
  return Gemm(multiply_on_cpu, nullptr);
}

}  // namespace refinedet::torch_ops
