// What kernel files need of CUDA. They are compiled twice: by nvcc for the GPU, and by the host's compiler with
// REFINEDET_CUDA_ON_HOST, where every CUDA thread is a fiber on the CPU (tests/cuda_on_host), so that kernels can be
// run and checked without a GPU. CONTRIBUTING.md lists what that asks of a kernel file.
#pragma once

#include <cstdint>

#include "core/math.h"
#include "core/stream.h"

#if defined(REFINEDET_CUDA_ON_HOST)
#include "cuda_on_host.h"
#else
#include <cuda_runtime.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>

#define GPU_UNROLL _Pragma("unroll")
#define GPU_PRAGMA(text) _Pragma(#text)
#define GPU_UNROLL_BY(n) GPU_PRAGMA(unroll n)
#define GPU_SHARED(T, name, ...) __shared__ T name __VA_ARGS__
#define GPU_DYNAMIC_SHARED(T, name)                                         \
  extern __shared__ __align__(16) unsigned char refinedet_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(refinedet_dynamic_shared)

// Stops the kernel where `condition` does not hold; the next CUDA call of the process then fails, as with an index out
// of bounds in torch's own kernels.
#define GPU_CHECK(condition, message)         \
  do {                                        \
    if (!(condition)) {                       \
      printf("refinedet_ext: %s\n", message); \
      __trap();                               \
    }                                         \
  } while (false)

namespace refinedet::cuda {

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("refinedet_ext: ") + what + ": " + cudaGetErrorString(error));
  }
}

// kernel<<<grid, block, shared, stream>>>(args...), checked. `shared`: bytes of dynamic shared memory.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, Stream stream, A&&... args) {
  constexpr size_t kWithoutAsking = 16 << 10;  // 48 KB less what the kernel may have in GPU_SHARED arrays
  if (shared > kWithoutAsking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), name);
  }
  kernel<<<grid, block, shared, stream>>>(static_cast<P>(std::forward<A>(args))...);
  check(cudaGetLastError(), name);
}

// Of the current device.
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
  return value;
}

inline int multiprocessors() { return device_attribute(cudaDevAttrMultiProcessorCount); }

// 80 for 8.0.
inline int compute_capability() {
  return 10 * device_attribute(cudaDevAttrComputeCapabilityMajor) + device_attribute(cudaDevAttrComputeCapabilityMinor);
}

// Bytes.
inline int shared_memory_of_multiprocessor() { return device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor); }

// The shared memory that a block may have in all, in bytes: 227 KB on an H200, 99 KB on sm_86 and sm_89.
inline int64_t shared_memory_limit() { return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

}  // namespace refinedet::cuda
#endif

namespace refinedet::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Blocks for one item per thread, at most so many that a kernel with a grid-stride loop fills the GPU several times.
inline dim3 blocks_for(int64_t n, int64_t threads) {
  constexpr int64_t kMost = 1 << 16;
  return dim3(static_cast<unsigned>(min2(divide_up(n, threads), kMost)));
}

// The first item of a thread in a grid-stride loop, and its step.
__device__ __forceinline__ int64_t grid_first() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t grid_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// The first of a list's pieces of work that is this block's, where the pieces of several lists are dealt to the grid's
// blocks in turn and those of earlier lists were so many.
__device__ __forceinline__ int first_dealt(int64_t earlier) {
  return static_cast<int>((blockIdx.x + gridDim.x - static_cast<unsigned>(earlier % gridDim.x)) % gridDim.x);
}

// Fills `bytes` bytes with zeros, in the stream's order.
inline void fill_zero(void* memory, size_t bytes, Stream stream) {
  if (bytes > 0) {
    check(cudaMemsetAsync(memory, 0, bytes, stream), "cudaMemsetAsync");
  }
}

}  // namespace refinedet::cuda
