// CUDA on the host, for tests: gives csrc/cuda/primitives/device.h what it takes from nvcc elsewhere. Each CUDA thread
// is a fiber of its own; barriers, warp operations and atomics mean what they mean on a GPU, and their misuse is
// reported:
//
// - barriers that not all threads of a block reach, or at which they stand on different lines;
// - warp operations of a lane outside its own mask, or of different kinds under one mask;
// - deadlocks, with who waits where;
// - with AddressSanitizer, reads and writes outside of global and shared arrays;
// - with ThreadSanitizer, missing barriers and atomics, in a block and between blocks.
//
// What it cannot show: memory that is weaker ordered than a CPU's, device memory apart from the host's, streams,
// registers, speed, and what kernels do only where __CUDA_ARCH__ is defined.
#pragma once

#include "emulator/atomics.h"
#include "emulator/device_functions.h"
#include "emulator/launch.h"

#define GPU_UNROLL
#define GPU_UNROLL_BY(n)
#define GPU_SHARED(T, name, ...)                                            \
  static const char name##_key = 0;                                         \
  using name##_type = T __VA_ARGS__;                                        \
  name##_type& name = *static_cast<name##_type*>(coh::worker->shared_array( \
      &name##_key, sizeof(name##_type), alignof(name##_type) < 16 ? 16 : alignof(name##_type)))
#define GPU_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(coh::worker->dynamic_shared())

#define GPU_CHECK(condition, message)                                   \
  do {                                                                  \
    if (!(condition)) {                                                 \
      coh::worker->stop(message, {__builtin_FILE(), __builtin_LINE()}); \
    }                                                                   \
  } while (false)

namespace refinedet::cuda {

inline void check(cudaError_t, const char*) {}  // what goes wrong throws

template <class... P, class... A>
void launch(const char*, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, Stream, A&&... arguments) {
  coh::launch(kernel, grid, block, shared, std::forward<A>(arguments)...);
}

inline int multiprocessors() { return 3; }  // odd, so that work is dealt out unevenly
inline int compute_capability() { return coh::options().capability; }
inline int shared_memory_of_multiprocessor() { return 228 << 10; }

inline int64_t shared_memory_limit() { return static_cast<int64_t>(coh::options().shared); }

}  // namespace refinedet::cuda
