// Sums over an image's anchors by one block, the same in every run.
#pragma once

#include "block.h"

namespace refinedet::cuda {

inline constexpr int kSumThreads = 512;

// The sum of v over the block's threads.
template <class T>
__device__ __forceinline__ T block_sum(T v) {
  T total;
  block_exclusive_scan(v, &total);
  return total;
}

}  // namespace refinedet::cuda
