// Element-wise work on boxes and deltas, sixteen rows at a time: a block of rows (x1, y1, x2, y2) is transposed to
// columns, so that the loop over it fills whole vectors, and the results are transposed back.
#pragma once

#include "core/row_maps.h"
#include "cpu/simd/lanes.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

// Rows per task of element-wise box work: a few microseconds.
inline constexpr int64_t kBoxGrain = 4096;

// f(row, anchor, run): `run` rows from `row` on have anchors from `anchor` on, without a modulo inside the loop.
template <class F>
REFINEDET_HD void for_anchor_runs(int64_t begin, int64_t end, int64_t anchor_count, const F& f) {
  for (int64_t row = begin; row < end;) {
    const int64_t anchor = row % anchor_count;
    const int64_t run = min2(end - row, anchor_count - anchor);
    f(row, anchor, run);
    row += run;
  }
}

inline constexpr int kBlock = 16;

// The block's rows stand in an order of their own, the same in all blocks; columns_to_rows undoes it.
struct Columns {
  alignas(64) float x[kBlock], y[kBlock], z[kBlock], w[kBlock];
};

// kBlock rows of four to four columns of kBlock, which begin `step` apart. Of each kLanes rows, row p comes to position
// 4 * (p % (kLanes / 4)) + p / (kLanes / 4).
REFINEDET_HD void rows_to_columns(const float* rows, float* columns, int64_t step) {
  constexpr int n = kLanes<float>;
  for (int j = 0; j < kBlock; j += n) {
    const float* p = rows + 4 * j;
    const Lanes<float> r0 = load_lanes(p), r1 = load_lanes(p + n), r2 = load_lanes(p + 2 * n);
    const Lanes<float> r3 = load_lanes(p + 3 * n);
    const Lanes<float> low02 = interleave<0>(r0, r2), high02 = interleave<1>(r0, r2);
    const Lanes<float> low13 = interleave<0>(r1, r3), high13 = interleave<1>(r1, r3);
    store_lanes(columns + j, interleave<0>(low02, low13));
    store_lanes(columns + step + j, interleave<1>(low02, low13));
    store_lanes(columns + 2 * step + j, interleave<0>(high02, high13));
    store_lanes(columns + 3 * step + j, interleave<1>(high02, high13));
  }
}

REFINEDET_HD void rows_to_columns(const float* rows, Columns& out) {
  static_assert(sizeof(Columns) == 4 * kBlock * sizeof(float));
  rows_to_columns(rows, out.x, kBlock);
}

REFINEDET_HD void columns_to_rows(const Columns& in, float* rows) {
  constexpr int n = kLanes<float>;
  for (int j = 0; j < kBlock; j += n) {
    float* p = rows + 4 * j;
    const Lanes<float> x = load_lanes(in.x + j), y = load_lanes(in.y + j), z = load_lanes(in.z + j);
    const Lanes<float> w = load_lanes(in.w + j);
    const Lanes<float> low_xz = interleave<0>(x, z), high_xz = interleave<1>(x, z);
    const Lanes<float> low_yw = interleave<0>(y, w), high_yw = interleave<1>(y, w);
    store_lanes(p, interleave<0>(low_xz, low_yw));
    store_lanes(p + n, interleave<1>(low_xz, low_yw));
    store_lanes(p + 2 * n, interleave<0>(high_xz, high_yw));
    store_lanes(p + 3 * n, interleave<1>(high_xz, high_yw));
  }
}

// Whether all numbers of a block are within kNear, where none is NaN.
REFINEDET_HD bool is_near(const Columns& in) {
  constexpr int n = kLanes<float>;
  LaneBits beyond = 0;
  for (int j = 0; j < kBlock; j += n) {
    const Lanes<float> x = load_lanes(in.x + j), y = load_lanes(in.y + j), z = load_lanes(in.z + j);
    const Lanes<float> w = load_lanes(in.w + j);
    const Lanes<float> most = max2(max2(x, y), max2(z, w)), least = min2(min2(x, y), min2(z, w));
    beyond |= greater_bits(most, all_lanes(kNear)) | greater_bits(all_lanes(-kNear), least);
  }
  return beyond == 0;
}

// f(a, b) for each row of a block.
template <int I, int O, class F>
REFINEDET_HD void map_columns(const Columns (&from)[I], Columns (&to)[O], const F& f) {
#pragma GCC unroll 1  // else the compiler unrolls it before it sees a loop to vectorize
  for (int j = 0; j < kBlock; ++j) {
    Quad<float> a[I], b[O];
    for (int k = 0; k < I; ++k) {
      a[k] = {from[k].x[j], from[k].y[j], from[k].z[j], from[k].w[j]};
    }
    f(a, b);
    for (int k = 0; k < O; ++k) {
      to[k].x[j] = b[k].x, to[k].y[j] = b[k].y, to[k].z[j] = b[k].z, to[k].w[j] = b[k].w;
    }
  }
}

// One block of map_boxes.
template <int I, int O, class T, class U, class F>
REFINEDET_HD void map_block(const T* const (&in)[I], U* const (&out)[O], const F& f) {
  Columns from[I], to[O];
  for (int k = 0; k < I; ++k) {
    if constexpr (std::is_same_v<T, float>) {
      rows_to_columns(in[k], from[k]);
    } else {
      float wide[4 * kBlock];
      for (int j = 0; j < 4 * kBlock; ++j) {
        wide[j] = load(in[k][j]);
      }
      rows_to_columns(wide, from[k]);
    }
  }
  if constexpr (requires { f.near(); }) {
    if (is_near(from[I - 1])) {
      map_columns(from, to, f.near());
    } else {
      map_columns(from, to, f);
    }
  } else {
    map_columns(from, to, f);
  }
  for (int k = 0; k < O; ++k) {
    if constexpr (std::is_same_v<U, float>) {
      columns_to_rows(to[k], out[k]);
    } else {
      float wide[4 * kBlock];
      columns_to_rows(to[k], wide);
      for (int j = 0; j < 4 * kBlock; ++j) {
        out[k][j] = store<U>(wide[j]);
      }
    }
  }
}

// For n rows of the arrays `in` and `out`, each (n, 4): f(a, b) gets a[k], the row of in[k], and sets b[k], that of
// out[k], both in Accumulate<T>.
template <int I, int O, class T, class U, class F>
REFINEDET_HD void map_boxes(int64_t n, const T* const (&in)[I], U* const (&out)[O], const F& f) {
  const T* from[I];
  U* to[O];
  if constexpr (std::is_same_v<T, double>) {  // exp and log come from the C library, one at a time
    for (int64_t i = 0; i < n; ++i) {
      Quad<T> a[I], b[O];
      for (int k = 0; k < I; ++k) {
        a[k] = load_box(in[k] + 4 * i);
      }
      f(a, b);
      for (int k = 0; k < O; ++k) {
        store_box(out[k] + 4 * i, b[k]);
      }
    }
  } else {
    int64_t i = 0;
    for (; i + kBlock <= n; i += kBlock) {
      for (int k = 0; k < I; ++k) {
        from[k] = in[k] + 4 * i;
      }
      for (int k = 0; k < O; ++k) {
        to[k] = out[k] + 4 * i;
      }
      map_block(from, to, f);
    }
    if (i < n) {  // the rest, filled up with zeros
      T padded_in[I][4 * kBlock] = {};
      U padded_out[O][4 * kBlock];
      const size_t numbers = static_cast<size_t>(n - i) * 4;
      for (int k = 0; k < I; ++k) {
        memcpy(padded_in[k], in[k] + 4 * i, numbers * sizeof(T));
        from[k] = padded_in[k];
      }
      for (int k = 0; k < O; ++k) {
        to[k] = padded_out[k];
      }
      map_block(from, to, f);
      for (int k = 0; k < O; ++k) {
        memcpy(out[k] + 4 * i, padded_out[k], numbers * sizeof(U));
      }
    }
  }
}

inline constexpr int64_t kGathered = 4 * kBlock;

// map_boxes on the n rows index[0 .. n-1] of `in`; put(first, some, rows) takes the results in turn, rows[k] of out
// array k.
template <int O, class U, int I, class T, class Index, class F, class Put>
REFINEDET_HD void map_boxes_at(const Index& index, int64_t n, const T* const (&in)[I], const F& f, const Put& put) {
  T in_rows[I][4 * kGathered];
  U out_rows[O][4 * kGathered];
  const T* from[I];
  U* to[O];
  for (int k = 0; k < I; ++k) {
    from[k] = in_rows[k];
  }
  for (int k = 0; k < O; ++k) {
    to[k] = out_rows[k];
  }
  for (int64_t first = 0; first < n; first += kGathered) {
    const int64_t some = min2(kGathered, n - first);
    for (int64_t i = 0; i < some; ++i) {
      for (int k = 0; k < I; ++k) {
        memcpy(in_rows[k] + 4 * i, in[k] + 4 * static_cast<int64_t>(index[first + i]), 4 * sizeof(T));
      }
    }
    map_boxes(some, from, to, f);
    put(first, some, to);
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
