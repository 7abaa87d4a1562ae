// What matrix products on tensor cores are made of: instructions of sm_80 and up, each as PTX for the GPU and as a twin
// for the tests that run kernels on the CPU (tests/cuda_on_host/emulator/tensor_core.h), which keeps PTX's fragment
// layouts and copies only when waited for. All threads of a warp call what works on fragments.
#pragma once

#include "core/dtype.h"
#include "device.h"

#if defined(REFINEDET_CUDA_ON_HOST)
#include "emulator/tensor_core.h"
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define REFINEDET_TENSOR_CORES 1
#endif

namespace refinedet::cuda {

// The compute capability from which on the instructions below exist.
inline constexpr int kTensorCoreCapability = 80;

// Elements of T in the 32 bytes that a product takes of a row at a time: 16, or 8 of float, which is rounded to TF32.
template <class T>
inline constexpr int kProductDepth = 32 / static_cast<int>(sizeof(T));

// d += a b, summed in float32: a is 16 x depth, b is depth x 8, d is 16 x 8 (mma.m16n8k16, and m16n8k8 for TF32). With
// g = lane / 4 and t = lane % 4 a thread holds
//   of d: d[0], d[1]: row g, columns 2t and 2t + 1; d[2], d[3]: the same of row g + 8;
//   of a: a[0]: row g, the t-th 4 bytes of the first 16; a[1]: the same of row g + 8; a[2], a[3]: of the other 16
//   bytes; of b: b[0]: column g, the t-th 4 bytes of the first 16 along the depth; b[1]: of the other 16 bytes.
template <class T>
__device__ __forceinline__ void multiply_fragments(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(REFINEDET_CUDA_ON_HOST)
  coh::multiply_fragments<T>(d, a, b);
#elif defined(REFINEDET_TENSOR_CORES)
#define REFINEDET_MMA(shape_and_types)                                                                      \
  asm volatile("mma.sync.aligned." shape_and_types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                             \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (std::is_same_v<T, Half>) {
    REFINEDET_MMA("m16n8k16.row.col.f32.f16.f16.f32");
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    REFINEDET_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
  } else {
    static_assert(std::is_same_v<T, float>);
    REFINEDET_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
  }
#undef REFINEDET_MMA
#else
  __trap();
#endif
}

// The bits of a float32, rounded to TF32 (10 bits behind the point, ties away from zero): the tensor cores cut the rest
// off.
__device__ __forceinline__ uint32_t round_to_tf32(uint32_t bits) {
#if defined(REFINEDET_TENSOR_CORES)
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "r"(bits));
  return rounded;
#else
  const bool finite = (bits & 0x7fffffffu) < 0x7f800000u;
  return finite ? (bits + 0x1000u) & ~0x1fffu : bits;
#endif
}

// Four matrices of 8 rows of 16 bytes (ldmatrix): `row` is in shared memory, aligned to 16 bytes, and of thread
// 8 m + r it is row r of matrix m. What a thread gets of matrix m, r[m], is the t-th 4 bytes of row g, with g and t as
// above; of a transposed matrix of 16-bit elements it is elements 2t and 2t + 1 of column g.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
#if defined(REFINEDET_CUDA_ON_HOST)
  coh::load_matrices<false>(r, row);
#elif defined(REFINEDET_TENSOR_CORES)
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  __trap();
#endif
}
__device__ __forceinline__ void load_transposed_matrices(uint32_t (&r)[4], const void* row) {
#if defined(REFINEDET_CUDA_ON_HOST)
  coh::load_matrices<true>(r, row);
#elif defined(REFINEDET_TENSOR_CORES)
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  __trap();
#endif
}

// Starts to copy 16 bytes to shared memory, or zeros where not `inside`; both sides are aligned to 16 bytes (cp.async).
// What is at `shared` is undefined until this thread has waited for the copy's group, and until a barrier after that
// for other threads. `global` must be an address of global memory even where it is not read.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool inside) {
#if defined(REFINEDET_CUDA_ON_HOST)
  coh::copy_async(shared, global, inside);
#elif defined(REFINEDET_TENSOR_CORES)
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
               :
               : "r"(address), "l"(global), "r"(bytes)
               : "memory");
#else
  __trap();
#endif
}

// What this thread has started since its last group is a group, perhaps an empty one.
__device__ __forceinline__ void close_copy_group() {
#if defined(REFINEDET_CUDA_ON_HOST)
  coh::close_copy_group();
#elif defined(REFINEDET_TENSOR_CORES)
  asm volatile("cp.async.commit_group;" : : : "memory");
#else
  __trap();
#endif
}

// Waits until all groups of this thread are there but the last n.
template <int n>
__device__ __forceinline__ void wait_for_copies() {
#if defined(REFINEDET_CUDA_ON_HOST)
  coh::wait_for_copies(n);
#elif defined(REFINEDET_TENSOR_CORES)
  asm volatile("cp.async.wait_group %0;" : : "n"(n) : "memory");
#else
  __trap();
#endif
}

}  // namespace refinedet::cuda
