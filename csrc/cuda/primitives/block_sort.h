// Sorting at most as many keys as a block has threads.
#pragma once

#include "block.h"

namespace refinedet::cuda {

// Sorts the keys of the first `count` threads, rising; those of the others must be the largest there are. A bitonic
// network: the exchanges within a warp need no barrier. `exchange` has room for a key per thread.
__device__ __forceinline__ uint64_t block_sort(uint64_t key, int count, uint64_t* exchange) {
  const int thread = static_cast<int>(threadIdx.x);
  int size = 1;
  while (size < count) {
    size *= 2;
  }
  const bool idle = warp_id() * kWarp >= size;  // the warp only takes part in barriers
  for (int run = 2; run <= size; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      uint64_t other = key;
      if (step >= kWarp) {
        __syncthreads();
        if (!idle) {
          exchange[thread] = key;
        }
        __syncthreads();
        if (!idle) {
          other = exchange[thread ^ step];
        }
      } else if (!idle) {
        other = __shfl_xor_sync(kAllLanes, key, step);
      }
      const bool wants_smaller = ((thread & run) == 0) == ((thread & step) == 0);
      key = wants_smaller == (other < key) ? other : key;
    }
  }
  return key;
}

}  // namespace refinedet::cuda
