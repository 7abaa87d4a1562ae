// Rows of a table that are shorter than what a warp reads at once, or start anywhere: staged in shared memory, so that
// lanes read neighbouring elements from memory and yet each goes through a row of its own, in the row's order.
#pragma once

#include "core/dtype.h"
#include "cuda/primitives/block.h"

namespace refinedet::cuda {

// A warp's 32 rows, one for each lane, of which those in `rows` count; the others are not read. Rows of more than
// kColumns elements are staged in parts, again for every time that they are gone through. Its functions are called by
// whole warps.
template <class T>
class RowTile {
 public:
  static constexpr int kColumns = 512 / static_cast<int>(sizeof(T));

  // Elements from row to row in shared memory: an odd number of its banks' words (or of two of them), so that lanes at
  // the same column of their rows find different banks.
  REFINEDET_HD static int stride_for(int64_t columns) {
    constexpr int64_t kWord = sizeof(T) < 4 ? 4 / sizeof(T) : 1;  // elements
    return static_cast<int>((divide_up(min2(columns, int64_t{kColumns}), kWord) | 1) * kWord);
  }
  static size_t bytes_for(int64_t columns) { return static_cast<size_t>(stride_for(columns)) * kWarp * sizeof(T); }

  // first_row: of the warp's rows in a table of `columns` columns; tile: bytes_for(columns) of shared memory.
  __device__ RowTile(const T* first_row, int64_t columns, unsigned rows, T* tile)
      : table_(first_row), columns_(columns), rows_(rows), tile_(tile), stride_(stride_for(columns)) {}

  // f(column, value) for the elements of the lane's row, in their order.
  template <class F>
  __device__ __forceinline__ void each(const F& f) {
    for (int64_t first = 0; first < columns_; first += kColumns) {
      const int count = stage(first);
      const T* const row = tile_ + lane_id() * stride_;
      for (int c = 0; c < (counts() ? count : 0); ++c) {
        f(first + c, load(row[c]));
      }
    }
  }

  // Writes f(column, value), rounded, for the elements of the rows that count, to the same places of another table.
  template <class F>
  __device__ __forceinline__ void map(T* first_row, const F& f) {
    for (int64_t first = 0; first < columns_; first += kColumns) {
      const int count = stage(first);
      T* const row = tile_ + lane_id() * stride_;
      for (int c = 0; c < (counts() ? count : 0); ++c) {
        row[c] = round_to<T>(f(first + c, load(row[c])));
      }
      __syncwarp();
      for (unsigned left = rows_; left != 0; left &= left - 1) {
        const int r = __ffs(static_cast<int>(left)) - 1;
        for (int c = lane_id(); c < count; c += kWarp) {
          first_row[r * columns_ + first + c] = tile_[r * stride_ + c];
        }
      }
      staged_ = -1;
    }
  }

 private:
  __device__ __forceinline__ bool counts() const { return (rows_ >> lane_id() & 1u) != 0; }

  // Has the columns from `first` on in shared memory; returns how many.
  __device__ __forceinline__ int stage(int64_t first) {
    const int count = static_cast<int>(min2(columns_ - first, int64_t{kColumns}));
    if (staged_ == first) {
      return count;
    }
    staged_ = first;
    __syncwarp();  // what was there is read
    for (unsigned left = rows_; left != 0;) {
      constexpr int kAhead = 8;  // loads of a lane at once
      int r[kAhead];
      GPU_UNROLL
      for (int k = 0; k < kAhead; ++k) {
        r[k] = __ffs(static_cast<int>(left)) - 1;  // -1 behind the last
        left &= left - 1;
      }
      for (int c = lane_id(); c < count; c += kWarp) {
        T x[kAhead];
        GPU_UNROLL
        for (int k = 0; k < kAhead; ++k) {
          if (r[k] >= 0) {
            x[k] = table_[r[k] * columns_ + first + c];
          }
        }
        GPU_UNROLL
        for (int k = 0; k < kAhead; ++k) {
          if (r[k] >= 0) {
            tile_[r[k] * stride_ + c] = x[k];
          }
        }
      }
    }
    __syncwarp();
    return count;
  }

  const T* table_;
  int64_t columns_, staged_ = -1;  // staged_: the first column in shared memory
  unsigned rows_;
  T* tile_;
  int stride_;
};

}  // namespace refinedet::cuda
