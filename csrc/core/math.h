// exp and log in plain arithmetic, so that loops around them vectorize and every CPU level and the GPU give the same
// bits (build without contraction into fused multiply-add). Within 2 ulp of the exact value on the ranges given.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "macros.h"

namespace refinedet {

// Both return their second argument where a comparison with NaN fails.
template <class T>
REFINEDET_HD T min2(T a, T b) {
  return a < b ? a : b;
}

template <class T>
REFINEDET_HD T max2(T a, T b) {
  return a > b ? a : b;
}

REFINEDET_HD int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
REFINEDET_HD int64_t round_up(int64_t n, int64_t unit) { return divide_up(n, unit) * unit; }

// NaN passes through.
template <class T>
REFINEDET_HD T clamp(T x, T low, T high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

REFINEDET_HD float bits_to_float(int32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

REFINEDET_HD int32_t float_to_bits(float x) {
  int32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// e^x for |x| <= 87; NaN gives NaN. Cody-Waite reduction to |r| <= ln2/2, then Taylor's series to r^7 / 7!.
REFINEDET_HD float exp_bounded(float x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  const int32_t exponent = float_to_bits(shifted) << 23;  // the low bits of `shifted` hold n
  return bits_to_float(float_to_bits(p) + exponent);
}

REFINEDET_HD double exp_bounded(double x) { return exp(x); }

// ln x for normal positive x; NaN gives NaN, infinity and zero something beyond +-87. x = m 2^e with m in [sqrt(1/2),
// sqrt(2)), then ln m = 2 artanh((m - 1) / (m + 1)).
REFINEDET_HD float log_positive(float x) {
  const int32_t bits = float_to_bits(x);
  const int32_t e = (bits - 0x3f3504f3) >> 23;
  const float m = bits_to_float(bits - (e << 23));
  const float s = (m - 1.0f) / (m + 1.0f);
  const float z = s * s;
  float p = 2.22222222e-1f;
  p = p * z + 2.85714286e-1f;
  p = p * z + 4.0e-1f;
  p = p * z + 6.66666667e-1f;
  const float ln_m = s * 2.0f + s * (z * p);
  const float k = static_cast<float>(e);
  const float ln_x = k * 0.693359375f + (ln_m + k * -2.12194440e-4f);
  return x == x ? ln_x : x;
}

REFINEDET_HD double log_positive(double x) { return log(x); }

}  // namespace refinedet
