// What CUDA gives to device code: barriers, warp operations, bits. A call's file and line come along for reports.
#pragma once

#include <cmath>
#include <cstring>

#include "worker.h"

#define COH_HERE coh::Place place = {__builtin_FILE(), __builtin_LINE()}

namespace coh {

template <class T>
COH_RUNTIME uint64_t to_word(T value) {
  static_assert(sizeof(T) <= 8, "a warp operation takes up to 8 bytes");
  uint64_t word = 0;
  memcpy(&word, &value, sizeof value);
  return word;
}

template <class T>
COH_RUNTIME T from_word(uint64_t word) {
  T value;
  memcpy(static_cast<void*>(&value), &word, sizeof value);
  return value;
}

template <class T>
T shuffle(unsigned mask, T value, int source, Place place) {
  return from_word<T>(worker->warp_operation(Op::shuffle, mask, to_word(value), source, place));
}

// Of the lanes in groups of `width`: the one at the caller's own place plus `by`, or the caller where the group ends.
COH_RUNTIME inline int neighbor(int by, int width) {
  const int lane = static_cast<int>(worker->lane()), first = lane & ~(width - 1), source = lane + by;
  return source < first || source >= first + width ? lane : source;
}

// The lanes whose predicate holds, and in the upper half all that took part.
COH_RUNTIME inline uint64_t ballot(unsigned mask, int predicate, Place place) {
  return worker->warp_operation(Op::ballot, mask, predicate != 0, 0, place);
}

template <class T>
T reduce(Op op, unsigned mask, T value, Place place) {
  return static_cast<T>(worker->warp_operation(op, mask, static_cast<unsigned>(value), 0, place));
}

}  // namespace coh

// ---------------------------------------------------------------- barriers

inline void __syncthreads(COH_HERE) { coh::worker->barrier(coh::Op::sync_block, false, place); }
inline int __syncthreads_count(int predicate, COH_HERE) {
  return static_cast<int>(coh::worker->barrier(coh::Op::count_block, predicate != 0, place));
}
inline int __syncthreads_and(int predicate, COH_HERE) {
  return static_cast<int>(coh::worker->barrier(coh::Op::and_block, predicate != 0, place));
}
inline int __syncthreads_or(int predicate, COH_HERE) {
  return static_cast<int>(coh::worker->barrier(coh::Op::or_block, predicate != 0, place));
}
inline void __syncwarp(unsigned mask = ~0u, COH_HERE) {
  coh::worker->warp_operation(coh::Op::sync_warp, mask, 0, 0, place);
}

inline void __threadfence() {
  coh::worker->fence();
#if !defined(COH_TSAN)  // which does not know it
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
inline void __threadfence_block() { __threadfence(); }

// ---------------------------------------------------------------- warps

unsigned __activemask() = delete;  // means nothing without lock-step: masks are passed on

inline unsigned __ballot_sync(unsigned mask, int predicate, COH_HERE) {
  return static_cast<unsigned>(coh::ballot(mask, predicate, place));
}
inline int __any_sync(unsigned mask, int predicate, COH_HERE) {
  return static_cast<unsigned>(coh::ballot(mask, predicate, place)) != 0;
}
inline int __all_sync(unsigned mask, int predicate, COH_HERE) {
  const uint64_t votes = coh::ballot(mask, predicate, place);
  return static_cast<unsigned>(votes) == static_cast<unsigned>(votes >> 32);
}

template <class T>
unsigned __match_any_sync(unsigned mask, T value, COH_HERE) {
  return static_cast<unsigned>(coh::worker->warp_operation(coh::Op::match_any, mask, coh::to_word(value), 0, place));
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, COH_HERE) {
  const int first = static_cast<int>(coh::worker->lane()) & ~(width - 1);
  return coh::shuffle(mask, value, first | (source & (width - 1)), place);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, COH_HERE) {
  return coh::shuffle(mask, value, coh::neighbor(-static_cast<int>(by), width), place);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, COH_HERE) {
  return coh::shuffle(mask, value, coh::neighbor(static_cast<int>(by), width), place);
}
// (From a lower group a lane may take; from a higher one it gets its own.)
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, COH_HERE) {
  const int lane = static_cast<int>(coh::worker->lane()), source = lane ^ with;
  return coh::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, place);
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_add, mask, value, place);
}
inline int __reduce_add_sync(unsigned mask, int value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_add, mask, value, place);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_min_unsigned, mask, value, place);
}
inline int __reduce_min_sync(unsigned mask, int value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_min, mask, value, place);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_max_unsigned, mask, value, place);
}
inline int __reduce_max_sync(unsigned mask, int value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_max, mask, value, place);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_and, mask, value, place);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_or, mask, value, place);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, COH_HERE) {
  return coh::reduce(coh::Op::reduce_xor, mask, value, place);
}

// ---------------------------------------------------------------- bits and numbers

template <class T>
T __ldg(const T* p) {
  return *p;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x != 0 ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x != 0 ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline float __int_as_float(int x) { return coh::from_word<float>(coh::to_word(x)); }
inline int __float_as_int(float x) { return coh::from_word<int>(coh::to_word(x)); }
inline float __uint_as_float(unsigned x) { return coh::from_word<float>(coh::to_word(x)); }
inline unsigned __float_as_uint(float x) { return coh::from_word<unsigned>(coh::to_word(x)); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
