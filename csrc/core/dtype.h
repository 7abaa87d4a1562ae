// The element types that kernels read and write, and their conversion to the type that they compute in.
#pragma once

#include <cstdint>
#include <type_traits>

#include "math.h"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace refinedet {

enum class DType : int8_t { f32, f64, f16, bf16 };

// Bytes of an element.
REFINEDET_HD int64_t element_size(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

// The accumulate type: what sums of elements are kept in.
REFINEDET_HD DType accumulate_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// float16 and bfloat16 are computed in float.
template <class T>
using Accumulate = std::conditional_t<std::is_same_v<T, double>, double, float>;

REFINEDET_HD float load(const float& x) { return x; }
REFINEDET_HD double load(const double& x) { return x; }
REFINEDET_HD float load(const BFloat16& x) { return bits_to_float(static_cast<int32_t>(x.bits) << 16); }

REFINEDET_HD float load(const Half& x) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(x.bits));
#else
  const int32_t sign = static_cast<int32_t>(x.bits & 0x8000u) << 16;
  const int32_t magnitude = static_cast<int32_t>(x.bits & 0x7fffu);
  const float subnormal = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // 2^-24
  const int32_t normal = (magnitude << 13) + (112 << 23);                          // another exponent bias
  const int32_t special = normal + (112 << 23);                                    // infinity and NaN
  const int32_t bits = magnitude >= 0x7c00 ? special : magnitude >= 0x0400 ? normal : float_to_bits(subnormal);
  return bits_to_float(bits | sign);
#endif
}

template <class T>
REFINEDET_HD T store(Accumulate<T> x);

template <>
REFINEDET_HD float store<float>(float x) {
  return x;
}

template <>
REFINEDET_HD double store<double>(double x) {
  return x;
}

// To the nearest, ties to even; what is finite stays finite, NaN stays NaN.
template <>
REFINEDET_HD BFloat16 store<BFloat16>(float x) {
  const uint32_t bits = static_cast<uint32_t>(float_to_bits(x));
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const bool finite = magnitude < 0x7f800000u;
  const uint32_t safe = finite & ((rounded & 0x7fffu) >= 0x7f80u) ? sign | 0x7f7fu : rounded;
  return {static_cast<uint16_t>(magnitude > 0x7f800000u ? sign | 0x7fc0u : safe)};
}

template <>
REFINEDET_HD Half store<Half>(float x) {
#if defined(__CUDA_ARCH__)
  const float largest = 65504.0f;
  const bool finite = fabsf(x) < 1.0f / 0.0f;
  return {__half_as_ushort(__float2half_rn(finite ? fminf(fmaxf(x, -largest), largest) : x))};
#else
  const uint32_t bits = static_cast<uint32_t>(float_to_bits(x));
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
  const uint32_t small =
      static_cast<uint32_t>(float_to_bits(bits_to_float(static_cast<int32_t>(magnitude)) + 0.5f)) - 0x3f000000u;
  const uint32_t finite = magnitude < (113u << 23) ? small : min2(normal, 0x7bffu);
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return {static_cast<uint16_t>(sign | (magnitude >= 0x7f800000u ? special : finite))};
#endif
}

// As IEEE arithmetic rounds: what does not fit becomes infinite, as in torch's own ops, so that a loss scaler sees it.
// store() would keep it finite.
template <class T>
REFINEDET_HD T round_to(Accumulate<T> x) {
  if constexpr (std::is_same_v<T, Half>) {
#if defined(__CUDA_ARCH__)
    return {__half_as_ushort(__float2half_rn(x))};
#else
    const Half y = store<Half>(x);
    return {static_cast<uint16_t>(fabsf(x) >= 65520.0f ? (y.bits & 0x8000u) | 0x7c00u : y.bits)};
#endif
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    const uint32_t bits = static_cast<uint32_t>(float_to_bits(x));
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return {static_cast<uint16_t>(x == x ? rounded : (bits >> 16) | 0x40u)};
  } else {
    return x;
  }
}

template <class T>
struct Tag {
  using type = T;
};

// Calls f(Tag<T>{}) for the element type that `dtype` names.
template <class F>
REFINEDET_HOST void dispatch_floating(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f32:
      return f(Tag<float>{});
    case DType::f64:
      return f(Tag<double>{});
    case DType::f16:
      return f(Tag<Half>{});
    case DType::bf16:
      return f(Tag<BFloat16>{});
  }
}

}  // namespace refinedet
