// Elements that change places among registers: zipped, and rows made columns; and with that a small matrix transposed
// in memory, for which the compiler makes one load and one store per element.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "lanes.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

template <int64_t bytes>
using Bits = std::conditional_t<bytes == 2, uint16_t, std::conditional_t<bytes == 4, uint32_t, uint64_t>>;

// A register of elements of so many bytes, and how many they are.
template <int64_t bytes>
struct RegisterOf {
  typedef Bits<bytes> type __attribute__((vector_size(kLaneBytes)));
  static constexpr int lanes = kLaneBytes / static_cast<int>(bytes);
};

template <bool upper, class V, int... lane>
REFINEDET_HD void zip(const V& a, const V& b, V& out, std::integer_sequence<int, lane...>) {
  constexpr int n = sizeof...(lane);
  out = __builtin_shufflevector(a, b, ((upper ? n / 2 : 0) + lane / 2 + lane % 2 * n)...);
}

// Of `count` registers the elements e[register][lane] in one line: index bits (register, lane). Zipping the first half
// with the second moves the highest bit of the index to the lowest place.
template <int64_t bytes, int count, class V>
REFINEDET_HD void rotate_up(V (&v)[count]) {
  const std::make_integer_sequence<int, RegisterOf<bytes>::lanes> lanes;
  V w[count];
#pragma GCC unroll 8
  for (int i = 0; i < count / 2; ++i) {
    zip<false>(v[i], v[i + count / 2], w[2 * i], lanes);
    zip<true>(v[i], v[i + count / 2], w[2 * i + 1], lanes);
  }
#pragma GCC unroll 16
  for (int i = 0; i < count; ++i) {
    v[i] = w[i];
  }
}

// As many registers as a register has elements: rows become columns.
template <int64_t bytes, class V>
REFINEDET_HD void transpose(V (&v)[RegisterOf<bytes>::lanes]) {
#pragma GCC unroll 4
  for (int moved = 1; moved < RegisterOf<bytes>::lanes; moved *= 2) {
    rotate_up<bytes>(v);
  }
}

// to[j][i] = from[i][j] for a square of as many lines as a register has elements.
template <class T>
REFINEDET_HD void transpose_square(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  using R = RegisterOf<sizeof(T)>;
  typename R::type lines[R::lanes];
  for (int i = 0; i < R::lanes; ++i) {
    memcpy(&lines[i], from + i * from_stride, kLaneBytes);
  }
  transpose<sizeof(T)>(lines);
  for (int i = 0; i < R::lanes; ++i) {
    memcpy(to + i * to_stride, &lines[i], kLaneBytes);
  }
}

// The same for two-byte elements: two lines become words of neighbors, since compilers do well with words, but not with
// halves of them.
template <class T>
REFINEDET_HD void transpose_halves(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  using Words = RegisterOf<4>::type;
  constexpr int words = RegisterOf<4>::lanes;
  for (int odd = 0; odd < 2; ++odd) {
    Words lines[words];
#pragma GCC unroll 16
    for (int i = 0; i < words; ++i) {
      Words first, second;
      memcpy(&first, from + 2 * i * from_stride, kLaneBytes);
      memcpy(&second, from + (2 * i + 1) * from_stride, kLaneBytes);
      lines[i] = odd == 0 ? (first & 0xffffu) | (second << 16) : (first >> 16) | (second & 0xffff0000u);
    }
    transpose<4>(lines);
#pragma GCC unroll 16
    for (int i = 0; i < words; ++i) {
      memcpy(to + (2 * i + odd) * to_stride, &lines[i], kLaneBytes);
    }
  }
}

// to[j][i] = from[i][j]; a line of n elements is whole registers.
template <class T, int64_t n>
REFINEDET_HD void transpose_tile(const T (&from)[n][n], T (&to)[n][n]) {
  constexpr int64_t side = kLaneBytes / static_cast<int64_t>(sizeof(T));
  static_assert(n % side == 0);
  for (int64_t i = 0; i < n; i += side) {
    for (int64_t j = 0; j < n; j += side) {
      if constexpr (sizeof(T) == 2) {
        transpose_halves(&from[i][j], n, &to[j][i], n);
      } else {
        transpose_square(&from[i][j], n, &to[j][i], n);
      }
    }
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
