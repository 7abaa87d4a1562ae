// Loops over the channels of a pixel, a vector register at a time, for what the compiler's vectorizer leaves alone:
// sums and bfloat16. Wider vectors than the level's registers would go through memory.
#pragma once

#include "core/dtype.h"
#include "cpu/simd/lanes.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

typedef uint32_t WordLanes __attribute__((vector_size(kLaneBytes)));
typedef uint16_t HalfRegister __attribute__((vector_size(kLaneBytes / 2)));

// A register's bytes of T. bfloat16 becomes two registers of float, the elements of even and of odd index: so no
// element moves from lane to lane, which would cost more than the arithmetic.
template <class T>
inline constexpr int64_t kStep = kLaneBytes / static_cast<int64_t>(sizeof(T));
template <class T>
inline constexpr int kParts = std::is_same_v<T, BFloat16> ? 2 : 1;

// f(first, count) for all elements by steps: whole ones, whose `count` is a constant to the compiler, then the rest.
template <int64_t step, class F>
REFINEDET_HD void for_steps(int64_t size, const F& f) {
  int64_t i = 0;
  for (; i + step <= size; i += step) {
    f(i, step);
  }
  if (i < size) {
    f(i, size - i);
  }
}

#define REFINEDET_INLINE_LAMBDA __attribute__((always_inline))

// A vector that lies anywhere in memory. (A memcpy of a whole register is split into smaller moves at some levels, and
// the register read back from the stack.)
template <class V>
struct Unaligned {
  typedef V type __attribute__((aligned(1), may_alias));
};

// The first `count` bytes of a register from memory, zeros behind. (Vectors go by reference: passed by value they would
// change the calling convention from level to level.)
template <class V>
REFINEDET_HD void load_bytes(const void* p, int64_t count, V& v) {
  if (count < static_cast<int64_t>(sizeof(V))) {
    V part{};
    memcpy(&part, p, static_cast<size_t>(count));
    v = part;
  } else {
    v = *static_cast<const typename Unaligned<V>::type*>(p);
  }
}

template <class V>
REFINEDET_HD void store_bytes(void* p, int64_t count, const V& v) {
  if (count < static_cast<int64_t>(sizeof(V))) {
    memcpy(p, &v, static_cast<size_t>(count));
  } else {
    *static_cast<typename Unaligned<V>::type*>(p) = v;
  }
}

// `count` elements, of which a step takes what it can.
template <class W>
REFINEDET_HD void load_step(const W* p, int64_t count, Lanes<Accumulate<W>> (&v)[1]) {
  load_bytes(p, count * static_cast<int64_t>(sizeof(W)), v[0]);
}

REFINEDET_HD void load_step(const BFloat16* p, int64_t count, Lanes<float> (&v)[2]) {
  WordLanes pairs;
  load_bytes(p, count * 2, pairs);
  v[0] = reinterpret_cast<Lanes<float>>(pairs << 16);
  v[1] = reinterpret_cast<Lanes<float>>(pairs & 0xffff0000u);
}

template <class W>
REFINEDET_HD void store_step(W* p, int64_t count, const Lanes<Accumulate<W>> (&v)[1]) {
  store_bytes(p, count * static_cast<int64_t>(sizeof(W)), v[0]);
}

// To the nearest, ties to even; what is beyond bfloat16 becomes infinity. The lower halves of NaN must be zeros: adding
// to others may make them something else.
REFINEDET_HD void store_step(BFloat16* p, int64_t count, const Lanes<float> (&v)[2]) {
  WordLanes rounded[2];
  for (int i = 0; i < 2; ++i) {
    const WordLanes bits = reinterpret_cast<WordLanes>(v[i]);
    rounded[i] = bits + (((bits >> 16) & 1u) + 0x7fffu);
  }
  const WordLanes pairs = (rounded[0] >> 16) | (rounded[1] & 0xffff0000u);
  store_bytes(p, count * 2, pairs);
}

// `count` elements to one register, in their order.
template <class W>
REFINEDET_HD void load_channels(const W* p, int64_t count, Lanes<Accumulate<W>>& v) {
  load_bytes(p, count * static_cast<int64_t>(sizeof(W)), v);
}

REFINEDET_HD void load_channels(const BFloat16* p, int64_t count, Lanes<float>& v) {
  HalfRegister bits;
  load_bytes(p, count * 2, bits);
  // GCC widens a register in halves where it is not told the instruction; unmasked GCC 12 warns of it
#if defined(__AVX512F__)
  const WordLanes words =
      reinterpret_cast<WordLanes>(_mm512_maskz_cvtepu16_epi32(0xffff, reinterpret_cast<__m256i>(bits)));
#elif defined(__AVX2__)
  const WordLanes words = reinterpret_cast<WordLanes>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(bits)));
#else
  const WordLanes words = __builtin_convertvector(bits, WordLanes);
#endif
  v = reinterpret_cast<Lanes<float>>(words << 16);
}

REFINEDET_HD void load_channels(const Half* p, int64_t count, Lanes<float>& v) {
  HalfRegister bits;
  load_bytes(p, count * 2, bits);
#if defined(__AVX512F__)
  v = _mm512_maskz_cvtph_ps(0xffff, reinterpret_cast<__m256i>(bits));  // unmasked GCC 12 warns of it
#elif defined(__F16C__)
  v = _mm256_cvtph_ps(reinterpret_cast<__m128i>(bits));
#else
  for (int i = 0; i < kLanes<float>; ++i) {
    v[i] = load(Half{bits[i]});
  }
#endif
}

// The other way, rounded; what does not fit becomes infinite. Of bfloat16 the lower halves of NaN must be zeros: see
// store_step.
template <class W>
REFINEDET_HD void store_channels(W* p, int64_t count, const Lanes<Accumulate<W>>& v) {
  store_bytes(p, count * static_cast<int64_t>(sizeof(W)), v);
}

REFINEDET_HD void store_channels(BFloat16* p, int64_t count, const Lanes<float>& v) {
  const WordLanes bits = reinterpret_cast<WordLanes>(v);
  const WordLanes rounded = (bits + (((bits >> 16) & 1u) + 0x7fffu)) >> 16;
#if defined(__AVX512F__)
  const HalfRegister halves =
      reinterpret_cast<HalfRegister>(_mm512_maskz_cvtepi32_epi16(0xffff, reinterpret_cast<__m512i>(rounded)));
#else
  const HalfRegister halves = __builtin_convertvector(rounded, HalfRegister);
#endif
  store_bytes(p, count * 2, halves);
}

REFINEDET_HD void store_channels(Half* p, int64_t count, const Lanes<float>& v) {
  HalfRegister bits;
#if defined(__AVX512F__)
  bits = reinterpret_cast<HalfRegister>(_mm512_maskz_cvtps_ph(0xffff, v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  bits = reinterpret_cast<HalfRegister>(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < kLanes<float>; ++i) {
    bits[i] = round_to<Half>(v[i]).bits;
  }
#endif
  store_bytes(p, count * 2, bits);
}

template <class W>
REFINEDET_HD W sum_lanes(const Lanes<W>& v) {
  constexpr int64_t lanes = kStep<W>;
  W parts[lanes];
  memcpy(parts, &v, sizeof(v));
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) {
      parts[i] += parts[i + half];
    }
  }
  return parts[0];
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
