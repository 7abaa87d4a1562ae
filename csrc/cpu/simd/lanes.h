// One vector register's worth of floats or doubles, for the few loops that need more than the compiler's own
// vectorization: a test of many boxes at once whose outcome is a bit per lane.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/dtype.h"
#include "cpu/runtime/level.h"

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

// a b + c, rounded once at the levels that have it.
template <class W>
REFINEDET_HD Lanes<W> multiply_add(const Lanes<W>& a, const Lanes<W>& b, const Lanes<W>& c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(W) == 4) {
    return _mm512_fmadd_ps(a, b, c);
  } else {
    return _mm512_fmadd_pd(a, b, c);
  }
#elif defined(__FMA__)
  if constexpr (sizeof(W) == 4) {
    return _mm256_fmadd_ps(a, b, c);
  } else {
    return _mm256_fmadd_pd(a, b, c);
  }
#else
  return a * b + c;
#endif
}

// kLanes<W> numbers of any floating type.
template <class T>
REFINEDET_HD Lanes<Accumulate<T>> load_wide(const T* p) {
  using W = Accumulate<T>;
  if constexpr (std::is_same_v<T, W>) {
    return load_lanes(p);
  } else {
    alignas(kLaneBytes) W wide[kLanes<W>];
    for (int i = 0; i < kLanes<W>; ++i) {
      wide[i] = load(p[i]);
    }
    return load_lanes(wide);
  }
}

// The largest of the lanes; any of them with NaN among them.
template <class W, int step = kLanes<W> / 2>
REFINEDET_HD W largest(const Lanes<W>& v) {
  if constexpr (step == 0) {
    return v[0];
  } else {
    Lanes<W> other{};
#if defined(__GNUC__) && !defined(__clang__)
    using Index = std::conditional_t<sizeof(W) == 4, int32_t, int64_t>;
    typedef Index Order __attribute__((vector_size(kLaneBytes)));
    Order from{};
    for (int i = 0; i < kLanes<W>; ++i) {
      from[i] = i ^ step;
    }
    other = __builtin_shuffle(v, from);
#else
    for (int i = 0; i < kLanes<W>; ++i) {
      other[i] = v[i ^ step];
    }
#endif
    return largest<W, step / 2>(max2(other, v));
  }
}

// From each four lanes of both, their first (half 0) or last (half 1) two in turn: a0 b0 a1 b1. One cheap instruction,
// because nothing crosses 128 bits.
template <int half>
REFINEDET_HD Lanes<float> interleave(const Lanes<float>& a, const Lanes<float>& b) {
  constexpr int n = kLanes<float>;
#if defined(__GNUC__) && !defined(__clang__)
  typedef int32_t Order __attribute__((vector_size(kLaneBytes)));
  Order from{};
  for (int i = 0; i < n; i += 4) {
    const int first = i + 2 * half;
    from[i] = first, from[i + 1] = first + n, from[i + 2] = first + 1, from[i + 3] = first + 1 + n;
  }
  return __builtin_shuffle(a, b, from);
#else
  Lanes<float> out{};
  for (int i = 0; i < n; i += 4) {
    const int first = i + 2 * half;
    out[i] = a[first], out[i + 1] = b[first], out[i + 2] = a[first + 1], out[i + 3] = b[first + 1];
  }
  return out;
#endif
}

// Four numbers from each of kLanes<float> / 4 places: rows[0], rows[4], rows[8] and so on.
REFINEDET_HD Lanes<float> load_fours(const float* const* rows, int64_t column) {
#if defined(__AVX512F__)
  const __m512 first = _mm512_castps128_ps512(_mm_loadu_ps(rows[0] + column));
  const __m512 two = _mm512_insertf32x4(first, _mm_loadu_ps(rows[4] + column), 1);
  const __m512 three = _mm512_insertf32x4(two, _mm_loadu_ps(rows[8] + column), 2);
  return _mm512_insertf32x4(three, _mm_loadu_ps(rows[12] + column), 3);
#elif defined(__AVX2__)
  const __m256 first = _mm256_castps128_ps256(_mm_loadu_ps(rows[0] + column));
  return _mm256_insertf128_ps(first, _mm_loadu_ps(rows[4] + column), 1);
#else
  return load_lanes(rows[0] + column);
#endif
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
