// Marks for code that runs on the host and on the device, and for code that both compile but only the host runs.
#pragma once

#if defined(__CUDACC__)
#define REFINEDET_HD __host__ __device__ __forceinline__
#define REFINEDET_HOST __forceinline__
#elif defined(__GNUC__) || defined(__clang__)
// always_inline also keeps these functions out of the linker's sight: a weak copy compiled for AVX-512 could
// otherwise be the one that a machine without AVX-512 runs.
#define REFINEDET_HD inline __attribute__((always_inline))
#define REFINEDET_HOST REFINEDET_HD
#else
#define REFINEDET_HD inline
#define REFINEDET_HOST inline
#endif
