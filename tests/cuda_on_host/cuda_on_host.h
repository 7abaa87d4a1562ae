// CUDA on the host, for tests: gives csrc/cuda/device.h what it takes from nvcc elsewhere.
#pragma once

#include "runtime.h"

#define GPU_UNROLL
#define GPU_DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(coh::dynamic_shared())

#define GPU_CHECK(condition, message)          \
  do {                                         \
    if (!(condition)) {                        \
      coh::tl->fail("GPU_CHECK: %s", message); \
    }                                          \
  } while (false)

namespace refinedet::cuda {

inline void check(cudaError_t, const char*) {}  // what goes wrong throws

template <class... P, class... A>
void launch(const char*, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, Stream, A&&... args) {
  gpu::launch(kernel, grid, block, shared, nullptr, std::forward<A>(args)...);
}

inline int multiprocessors() { return 3; }  // odd, so that work is dealt out unevenly

}  // namespace refinedet::cuda
