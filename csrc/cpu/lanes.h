// One vector register's worth of floats or doubles, for the few loops that need more than the compiler's own
// vectorization: a test of many boxes at once whose outcome is a bit per lane.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

#include "level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

#if defined(__AVX512F__)
inline constexpr int kLaneBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kLaneBytes = 32;
#else
inline constexpr int kLaneBytes = 16;
#endif

template <class W>
struct LanesOf {
  typedef W type __attribute__((vector_size(kLaneBytes)));
};

// +, -, *, / and comparisons work lane by lane, as does `mask ? a : b`; min2 and max2 of math.h compile to one
// instruction each.
template <class W>
using Lanes = typename LanesOf<W>::type;

template <class W>
inline constexpr int kLanes = kLaneBytes / static_cast<int>(sizeof(W));

// A bit per lane.
using LaneBits = uint32_t;

template <class W>
REFINEDET_HD Lanes<W> load_lanes(const W* p) {
  Lanes<W> v;
  memcpy(&v, p, sizeof(v));
  return v;
}

template <class W>
REFINEDET_HD void store_lanes(W* p, const Lanes<W>& v) {
  memcpy(p, &v, sizeof(v));
}

template <class W>
REFINEDET_HD Lanes<W> all_lanes(W x) {
  return x - Lanes<W>{};
}

// Which lanes of a are greater than those of b; none with NaN.
#if defined(__AVX512F__)
REFINEDET_HD LaneBits greater_bits(Lanes<float> a, Lanes<float> b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
REFINEDET_HD LaneBits greater_bits(Lanes<double> a, Lanes<double> b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
#elif defined(__AVX2__)
REFINEDET_HD LaneBits greater_bits(Lanes<float> a, Lanes<float> b) {
  return static_cast<LaneBits>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}
REFINEDET_HD LaneBits greater_bits(Lanes<double> a, Lanes<double> b) {
  return static_cast<LaneBits>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ)));
}
#elif defined(__SSE2__)
REFINEDET_HD LaneBits greater_bits(Lanes<float> a, Lanes<float> b) {
  return static_cast<LaneBits>(_mm_movemask_ps(_mm_cmpgt_ps(a, b)));
}
REFINEDET_HD LaneBits greater_bits(Lanes<double> a, Lanes<double> b) {
  return static_cast<LaneBits>(_mm_movemask_pd(_mm_cmpgt_pd(a, b)));
}
#else
template <class V>
REFINEDET_HD LaneBits greater_bits(V a, V b) {
  LaneBits bits = 0;
  for (int i = 0; i < static_cast<int>(sizeof(V) / sizeof(a[0])); ++i) {
    bits |= static_cast<LaneBits>(a[i] > b[i]) << i;
  }
  return bits;
}
#endif

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
