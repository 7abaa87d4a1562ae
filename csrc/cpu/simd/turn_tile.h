// A small square matrix turned over in registers: the compiler makes one load and one store per element of the loop
// that does it.
#pragma once

#include <cstring>

#include "register_transpose.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// to[j][i] = from[i][j] for a square of as many lines as a register has elements.
template <class T>
REFINEDET_HD void turn_square(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
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
REFINEDET_HD void turn_halves(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
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
REFINEDET_HD void turn_tile(const T (&from)[n][n], T (&to)[n][n]) {
  constexpr int64_t side = kLaneBytes / static_cast<int64_t>(sizeof(T));
  static_assert(n % side == 0);
  for (int64_t i = 0; i < n; i += side) {
    for (int64_t j = 0; j < n; j += side) {
      if constexpr (sizeof(T) == 2) {
        turn_halves(&from[i][j], n, &to[j][i], n);
      } else {
        turn_square(&from[i][j], n, &to[j][i], n);
      }
    }
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
