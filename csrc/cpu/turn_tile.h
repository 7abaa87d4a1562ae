// A small square matrix turned over in registers: the compiler makes one load and one store per element of the loop
// that does it.
#pragma once

#include <cstdint>
#include <cstring>

#include "level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

typedef uint16_t TurnShorts __attribute__((vector_size(16)));
typedef uint32_t TurnWords __attribute__((vector_size(16)));
typedef uint64_t TurnPairs __attribute__((vector_size(16)));

// The low and the high halves of a and b, in turn.
template <class V>
REFINEDET_HD void interleave(const V& a, const V& b, V& low, V& high) {
  if constexpr (sizeof(a[0]) == 2) {
    low = __builtin_shuffle(a, b, V{0, 8, 1, 9, 2, 10, 3, 11});
    high = __builtin_shuffle(a, b, V{4, 12, 5, 13, 6, 14, 7, 15});
  } else if constexpr (sizeof(a[0]) == 4) {
    low = __builtin_shuffle(a, b, V{0, 4, 1, 5});
    high = __builtin_shuffle(a, b, V{2, 6, 3, 7});
  } else {
    low = __builtin_shuffle(a, b, V{0, 2});
    high = __builtin_shuffle(a, b, V{1, 3});
  }
}

// to[j][i] = from[i][j] for a square of 16 bytes each way: line i meets line i + n/2 again and again, until all have
// met.
template <class V, class T>
REFINEDET_HD void turn_block(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int n = 16 / static_cast<int>(sizeof(T));
  V lines[n], next[n];
  for (int i = 0; i < n; ++i) {
    memcpy(&lines[i], from + i * from_stride, 16);
  }
  for (int step = 1; step < n; step *= 2) {
    for (int i = 0; i < n / 2; ++i) {
      interleave(lines[i], lines[i + n / 2], next[2 * i], next[2 * i + 1]);
    }
    for (int i = 0; i < n; ++i) {
      lines[i] = next[i];
    }
  }
  for (int i = 0; i < n; ++i) {
    memcpy(to + i * to_stride, &lines[i], 16);
  }
}

// to[j][i] = from[i][j]; n is a multiple of 8.
template <class T, int64_t n>
REFINEDET_HD void turn_tile(const T (&from)[n][n], T (&to)[n][n]) {
  using V = std::conditional_t<sizeof(T) == 2, TurnShorts, std::conditional_t<sizeof(T) == 4, TurnWords, TurnPairs>>;
  constexpr int64_t side = 16 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < n; i += side) {
    for (int64_t j = 0; j < n; j += side) {
      turn_block<V>(&from[i][j], n, &to[j][i], n);
    }
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
