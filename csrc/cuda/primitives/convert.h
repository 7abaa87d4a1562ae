// Packs of elements to floats and back, two at a time by the GPU's own conversions: that counts where a kernel does
// little else. And single elements of a type that is known at run time.
#pragma once

#include "pack.h"

namespace refinedet::cuda {

template <class T, int N>
__device__ __forceinline__ void widen(const Words<T, N>& words, float (&out)[N]) {
  GPU_UNROLL
  for (int i = 0; i < N; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      out[i] = bits_to_float(static_cast<int32_t>(words.at[i]));
    } else if constexpr (std::is_same_v<T, BFloat16>) {
      out[i] = bits_to_float(static_cast<int32_t>(i % 2 == 0 ? words.at[i / 2] << 16 : words.at[i / 2] & 0xffff0000u));
    } else {
      out[i] = load(T{static_cast<uint16_t>(words.at[i / 2] >> (16 * (i % 2)))});
    }
  }
}

template <class T, int N>
__device__ __forceinline__ void widen(const Pack<T, N>& pack, float (&out)[N]) {
  if constexpr (std::is_same_v<T, BFloat16> && N % 2 == 0) {
    Words<T, N> words;
    memcpy(&words, &pack, sizeof(pack));
    widen(words, out);
  } else {
    GPU_UNROLL
    for (int i = 0; i < N; ++i) {
      out[i] = load(pack.at[i]);
    }
  }
}

// Two of the half types in a word, rounded as round_to does.
template <class T>
__device__ __forceinline__ uint32_t narrow_pair(float low, float high) {
  uint32_t word;
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, Half>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  }
#else
  word = round_to<T>(low).bits | static_cast<uint32_t>(round_to<T>(high).bits) << 16;
#endif
  return word;
}

template <class T, int N>
__device__ __forceinline__ Pack<T, N> narrow(const float (&x)[N]) {
  Pack<T, N> pack;
  if constexpr (!std::is_same_v<T, float> && N % 2 == 0) {
    uint32_t words[N / 2];
    GPU_UNROLL
    for (int i = 0; i < N / 2; ++i) {
      words[i] = narrow_pair<T>(x[2 * i], x[2 * i + 1]);
    }
    memcpy(&pack, words, sizeof(pack));
  } else {
    GPU_UNROLL
    for (int i = 0; i < N; ++i) {
      pack.at[i] = round_to<T>(x[i]);
    }
  }
  return pack;
}

// One element of any floating type, which the kernel looks up.
__device__ __forceinline__ float load_as(DType dtype, const void* data, int64_t index) {
  switch (dtype) {
    case DType::f64:
      return static_cast<float>(static_cast<const double*>(data)[index]);
    case DType::f16:
      return load(static_cast<const Half*>(data)[index]);
    case DType::bf16:
      return load(static_cast<const BFloat16*>(data)[index]);
    default:
      return static_cast<const float*>(data)[index];
  }
}

__device__ __forceinline__ void store_as(DType dtype, void* data, int64_t index, float x) {
  switch (dtype) {
    case DType::f64:
      static_cast<double*>(data)[index] = x;
      break;
    case DType::f16:
      static_cast<Half*>(data)[index] = round_to<Half>(x);
      break;
    case DType::bf16:
      static_cast<BFloat16*>(data)[index] = round_to<BFloat16>(x);
      break;
    default:
      static_cast<float*>(data)[index] = x;
  }
}

// f(Tag<T>{}) for the element types that kernels computing in float32 have.
template <class F>
REFINEDET_HOST void dispatch_single(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f16:
      return f(Tag<Half>{});
    case DType::bf16:
      return f(Tag<BFloat16>{});
    default:
      return f(Tag<float>{});
  }
}

}  // namespace refinedet::cuda
