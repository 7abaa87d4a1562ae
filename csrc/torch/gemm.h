// torch's own matrix product for kernels, and ops whose kernels want it.
#pragma once

#include "common.h"
#include "core/gemm.h"

namespace refinedet::torch_ops {

// With torch's threads, or on the GPU's current stream.
Gemm torch_gemm(Device device);

// As run<...> of common.h, for kernels that multiply matrices.
template <auto cpu_kernel, auto cuda_kernel, auto cuda_bytes, class Args>
void run_with_gemm(Device device, const Args& args) {
  if constexpr (kWithCuda) {
    if (device.on_gpu()) {
      const CudaScope scope(device);
      const Tensor workspace = new_tensor({cuda_bytes(args)}, ScalarType::Byte, device);
      return cuda_kernel(args, workspace.mutable_data_ptr(), scope.stream(), torch_gemm(device));
    }
  }
  cpu_kernel(args, torch_threads(), torch_gemm(device));
}

}  // namespace refinedet::torch_ops
