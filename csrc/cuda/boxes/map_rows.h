// Element-wise work on rows of four (boxes, deltas): a row per thread. Bytes bound it: each row read once and written
// once, a few dozen operations between.
#pragma once

#include "core/row_maps.h"
#include "cuda/primitives/pack.h"

namespace refinedet::cuda {

// Arrays (rows, 4), of which the last input may repeat after `period` rows.
template <int I, int O, class T>
struct RowArrays {
  const T* in[I];
  T* out[O];
  int64_t period;
};

// Which rows to work on: all `count` of them, or of each of the batch's `count` the first kept_count[b] that kept_index
// names.
struct RowChoice {
  int64_t batch, count;
  const int64_t* kept_index;
  const int64_t* kept_count;
};

template <bool aligned, int I, int O, class T, class F>
__device__ __forceinline__ void map_row(const RowArrays<I, O, T>& arrays, int64_t row, const F& f) {
  Quad<Accumulate<T>> in[I], out[O];
  GPU_UNROLL
  for (int k = 0; k < I; ++k) {
    in[k] = load_box_row<aligned>(arrays.in[k] + 4 * (k == I - 1 ? row % arrays.period : row));
  }
  f(in, out);
  GPU_UNROLL
  for (int k = 0; k < O; ++k) {
    Pack<T, 4> packed;
    store_box(packed.at, out[k]);
    store_row<aligned>(arrays.out[k] + 4 * row, packed);
  }
}

template <bool aligned, int I, int O, class T, class F>
__global__ void map_rows_kernel(RowArrays<I, O, T> arrays, RowChoice choice, F f) {
  const int64_t total = choice.batch * choice.count;
  for (int64_t i = grid_first(); i < total; i += grid_step()) {
    if (choice.kept_index == nullptr) {
      map_row<aligned>(arrays, i, f);
      continue;
    }
    const int64_t image = i / choice.count, kept = choice.kept_count[image];
    GPU_CHECK(kept >= 0 && kept <= choice.count, "kept.count: expected values from 0 to the number of anchors");
    if (i % choice.count < kept) {
      const int64_t row = choice.kept_index[i];
      GPU_CHECK(row >= 0 && row < choice.count, "kept.index: expected values below the number of anchors");
      map_row<aligned>(arrays, image * choice.count + row, f);
    }
  }
}

// f(in, out) as in core/row_maps.h. Rows that are not chosen are left alone.
template <int I, int O, class T, class F>
void map_rows(const char* name, const RowArrays<I, O, T>& arrays, const RowChoice& choice, const F& f, Stream stream) {
  constexpr int kThreads = 256;
  const int64_t total = choice.batch * choice.count;
  if (total == 0) {
    return;
  }
  bool aligned = true;
  for (const T* p : arrays.in) {
    aligned = aligned && rows_aligned(p);
  }
  for (const T* p : arrays.out) {
    aligned = aligned && rows_aligned(p);
  }
  const auto kernel = aligned ? map_rows_kernel<true, I, O, T, F> : map_rows_kernel<false, I, O, T, F>;
  launch(name, kernel, blocks_for(total, kThreads), dim3(kThreads), 0, stream, arrays, choice, f);
}

}  // namespace refinedet::cuda
