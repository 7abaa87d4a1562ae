#include "copy_matrices.h"

#include "cpu/runtime/level.h"
#include "cpu/simd/register_transpose.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

// a line of a tile is a cache line, or two of float64
template <class T>
constexpr int64_t kTile = sizeof(T) == 2 ? 32 : 16;
constexpr int64_t kNarrow = 16;    // fewer lines than that: a kernel's taps
constexpr int64_t kRowBlock = 64;  // rows of a task

struct Copy {
  int64_t from_stride, to_stride;  // between the lines of the two sides
  bool add, overflow;
};

// What a value passes through between the two sides: equal types are not converted.
template <class From, class To>
using Between = std::conditional_t<std::is_same_v<From, To>, From, Accumulate<From>>;

template <class From, class To>
REFINEDET_HD Between<From, To> get(const From& from) {
  if constexpr (std::is_same_v<From, To>) {
    return from;
  } else {
    return load(from);
  }
}

template <class From, class To>
REFINEDET_HD void put(Between<From, To> x, To& to, const Copy& how) {
  if constexpr (std::is_same_v<To, Accumulate<To>>) {
    to = how.add ? to + x : x;
  } else if constexpr (std::is_same_v<From, To>) {
    to = x;
  } else {
    if constexpr (std::is_same_v<To, Half>) {
      // 65520 is the first number that rounds to infinity
      x = how.overflow & ((x >= 65520.0f) | (x <= -65520.0f)) ? x * static_cast<float>(__builtin_huge_val()) : x;
    }
    to = store<To>(x);
  }
}

// Both sides are contiguous along their lines.
template <class From, class To>
REFINEDET_HD void copy_lines(const From* from, To* to, int64_t lines, int64_t length, const Copy& how) {
  for (int64_t l = 0; l < lines; ++l) {
    const From* __restrict a = from + l * how.from_stride;
    To* __restrict b = to + l * how.to_stride;
    for (int64_t i = 0; i < length; ++i) {
      put<From, To>(get<From, To>(a[i]), b[i], how);
    }
  }
}

// to[j][i] = from[i][j] where one side has few lines, the taps of a kernel: the other side is read or written once from
// end to end. `known` is their number where it is not 0, so that the inner loop is unrolled.
template <bool narrow_to, bool add, int64_t known, class From, class To>
REFINEDET_HD void transpose_narrow(const From* __restrict from, To* __restrict to, int64_t length, int64_t few,
                                   const Copy& how) {
  const int64_t narrow = known > 0 ? known : few, from_stride = how.from_stride, to_stride = how.to_stride;
  const Copy constant{0, 0, add, how.overflow};
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t j = 0; j < narrow; ++j) {
      if constexpr (narrow_to) {
        put<From, To>(get<From, To>(from[i * from_stride + j]), to[j * to_stride + i], constant);
      } else {
        put<From, To>(get<From, To>(from[j * from_stride + i]), to[i * to_stride + j], constant);
      }
    }
  }
}

template <bool narrow_to, class From, class To>
REFINEDET_HD void transpose_narrow(const From* from, To* to, int64_t length, int64_t few, const Copy& how) {
  constexpr int64_t kTaps = 9;
  if (how.add) {
    transpose_narrow<narrow_to, true, 0>(from, to, length, few, how);
  } else if (few == kTaps) {
    transpose_narrow<narrow_to, false, kTaps>(from, to, length, few, how);
  } else {
    transpose_narrow<narrow_to, false, 0>(from, to, length, few, how);
  }
}

// to[j][i] = from[i][j] for a square of as many lines as a register has elements of two bytes. Two lines become words
// of neighbors, which change places in registers: a plain loop makes a load and a store of every element.
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

// to[j][i] = from[i][j]. Of larger elements the compiler vectorizes the plain loop.
template <class T, int64_t n>
REFINEDET_HD void transpose_tile(const T (&from)[n][n], T (&to)[n][n]) {
  if constexpr (sizeof(T) == 2) {
    constexpr int64_t side = kLaneBytes / 2;
    for (int64_t i = 0; i < n; i += side) {
      for (int64_t j = 0; j < n; j += side) {
        transpose_halves(&from[i][j], n, &to[j][i], n);
      }
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        to[j][i] = from[i][j];
      }
    }
  }
}

// A tile, or what is left of one at the edges.
template <class From, class To>
REFINEDET_HD void copy_tile(const From* __restrict from, To* __restrict to, int64_t height, int64_t width,
                            const Copy& how) {
  constexpr int64_t size = kTile<Between<From, To>>;
  Between<From, To> tile[size][size], turned[size][size];
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      tile[i][j] = get<From, To>(from[i * how.from_stride + j]);
    }
  }
  transpose_tile(tile, turned);
  for (int64_t j = 0; j < width; ++j) {
    for (int64_t i = 0; i < height; ++i) {
      put<From, To>(turned[j][i], to[j * how.to_stride + i], how);
    }
  }
}

// to[j][i] = from[i][j]. A tile is read by lines into a buffer of its own first: lines a power of two apart share a
// cache set and would push each other out before their next element is wanted.
template <class From, class To>
REFINEDET_HD void transpose(const From* __restrict from, To* __restrict to, int64_t from_lines, int64_t to_lines,
                            const Copy& how) {
  if (to_lines < kNarrow) {
    return transpose_narrow<true>(from, to, from_lines, to_lines, how);
  }
  if (from_lines < kNarrow) {
    return transpose_narrow<false>(from, to, to_lines, from_lines, how);
  }
  constexpr int64_t size = kTile<Between<From, To>>;
  for (int64_t i = 0; i < from_lines; i += size) {
    for (int64_t j = 0; j < to_lines; j += size) {
      const int64_t height = min2(size, from_lines - i), width = min2(size, to_lines - j);
      const From* a = from + i * how.from_stride + j;
      To* b = to + j * how.to_stride + i;
      if (height == size && width == size) {
        copy_tile(a, b, size, size, how);  // its loops are of known length
      } else {
        copy_tile(a, b, height, width, how);
      }
    }
  }
}

template <class From, class To>
REFINEDET_HD void copy(const CopyMatricesArgs& args, const ParallelFor& parallel) {
  const Matrix a = args.from, b = args.to;
  // a single row or column reads the same in both orders
  const bool a_by_row = a.column_stride == 1 || a.columns == 1, b_by_row = b.column_stride == 1 || a.columns == 1;
  const bool a_by_column = a.row_stride == 1 || a.rows == 1, b_by_column = b.row_stride == 1 || a.rows == 1;
  const int64_t blocks = divide_up(a.rows, kRowBlock);
  const int64_t block_size = max2<int64_t>(1, a.columns * min2(a.rows, kRowBlock));
  parallel(a.count * blocks, max2<int64_t>(1, 16384 / block_size), [=](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t matrix = task / blocks, row = task % blocks * kRowBlock;
      const int64_t rows = min2(kRowBlock, a.rows - row);
      const From* from = static_cast<const From*>(a.data) + matrix * a.matrix_stride + row * a.row_stride;
      To* to = static_cast<To*>(b.data) + matrix * b.matrix_stride + row * b.row_stride;
      if (a_by_row && b_by_row) {
        copy_lines(from, to, rows, a.columns, {a.row_stride, b.row_stride, args.add, args.overflow});
      } else if (a_by_column && b_by_column) {
        copy_lines(from, to, a.columns, rows, {a.column_stride, b.column_stride, args.add, args.overflow});
      } else if (a_by_column) {
        transpose(from, to, a.columns, rows, {a.column_stride, b.row_stride, args.add, args.overflow});
      } else {
        transpose(from, to, rows, a.columns, {a.row_stride, b.column_stride, args.add, args.overflow});
      }
    }
  });
}

constexpr int pair(DType from, DType to) { return static_cast<int>(from) * 4 + static_cast<int>(to); }

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const CopyMatricesArgs& args, const ParallelFor& parallel) {
  switch (pair(args.from.dtype, args.to.dtype)) {
    case pair(DType::f32, DType::f32):
      return copy<float, float>(args, parallel);
    case pair(DType::f64, DType::f64):
      return copy<double, double>(args, parallel);
    case pair(DType::f16, DType::f16):  // bits are bits
    case pair(DType::bf16, DType::bf16):
      return copy<BFloat16, BFloat16>(args, parallel);
    case pair(DType::bf16, DType::f32):
      return copy<BFloat16, float>(args, parallel);
    case pair(DType::f16, DType::f32):
      return copy<Half, float>(args, parallel);
    case pair(DType::f32, DType::bf16):
      return copy<float, BFloat16>(args, parallel);
    case pair(DType::f32, DType::f16):
      return copy<float, Half>(args, parallel);
    default:
      __builtin_unreachable();
  }
}

}  // namespace refinedet::cpu
