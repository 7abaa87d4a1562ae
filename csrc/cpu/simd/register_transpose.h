// Elements that change places among registers: zipped, and rows made columns.
#pragma once

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

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
