// Matrix products on a GPU by cuBLAS, on torch's handle. torch's own product takes the precision of float32 from
// torch.backends.cuda.matmul, which does not count for convolutions, and a switch around the call would reach products
// of other threads; it cannot add to what is there; and it costs the host more than the rest of a short call.
#pragma once

#include "core/gemm.h"

namespace refinedet::torch_ops {

// out = a b, or out += a b with `add`, on the current device and torch's current stream there. Sums are of the
// accumulate type; with `tf32` float32 is rounded to TF32 before it is multiplied.
void multiply_on_gpu(const Matrix& a, const Matrix& b, const Matrix& out, bool add, bool tf32);

// What is called of cuBLAS, with its types spelt out, so that its headers are not needed: enumerations are int.
namespace cublas {

inline constexpr int kAsItLies = 0, kTransposed = 1;                            // cublasOperation_t
inline constexpr int kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 14;  // cudaDataType
inline constexpr int kComputeFloat32 = 68, kComputeFloat64 = 70;                // cublasComputeType_t
inline constexpr int kDefaultMath = 0, kTf32Math = 3, kFloat32Sums = 16;        // cublasMath_t
inline constexpr int kDefaultAlgorithm = -1;                                    // cublasGemmAlgo_t

struct Functions {
  int (*get_math_mode)(void* handle, int* mode);
  int (*set_math_mode)(void* handle, int mode);
  int (*gemm)(void* handle, int a_operation, int b_operation, int m, int n, int k, const void* alpha, const void* a,
              int a_type, int a_line, const void* b, int b_type, int b_line, const void* beta, void* c, int c_type,
              int c_line, int compute_type, int algorithm);
  int (*gemm_strided_batched)(void* handle, int a_operation, int b_operation, int m, int n, int k, const void* alpha,
                              const void* a, int a_type, int a_line, long long a_stride, const void* b, int b_type,
                              int b_line, long long b_stride, const void* beta, void* c, int c_type, int c_line,
                              long long c_stride, int count, int compute_type, int algorithm);
};

#if defined(REFINEDET_CUDA_ON_HOST)
// The same on the CPU, for tests (tests/cuda_on_host/cublas_on_host.cpp).
const Functions& functions();
void* handle();
#endif

}  // namespace cublas
}  // namespace refinedet::torch_ops
