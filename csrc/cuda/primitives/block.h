// What the threads of a block find together. All of its threads call these, blockDim.x is a multiple of 32 and at most
// 1024.
#pragma once

#include "device.h"

namespace refinedet::cuda {

__device__ __forceinline__ int lane_id() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int warp_id() { return static_cast<int>(threadIdx.x) / kWarp; }

// The bits of the lanes below this thread's.
__device__ __forceinline__ unsigned lanes_below() { return (1u << lane_id()) - 1; }

// The sum of v over this thread's lane and those below.
template <class T>
__device__ __forceinline__ T warp_inclusive_scan(T v) {
  const int lane = lane_id();
  for (int step = 1; step < kWarp; step *= 2) {
    const T below = __shfl_up_sync(kAllLanes, v, static_cast<unsigned>(step));
    v += lane >= step ? below : T(0);
  }
  return v;
}

// The sum of v over the threads below this one; *total: over all.
template <class T>
__device__ __forceinline__ T block_exclusive_scan(T v, T* total) {
  GPU_SHARED(T, before, [kWarp + 1]);  // the sum over the warps below each, and over all
  const int lane = lane_id(), warp = warp_id(), warps = static_cast<int>(blockDim.x) / kWarp;
  const T inclusive = warp_inclusive_scan(v);
  if (lane == kWarp - 1) {
    before[warp] = inclusive;
  }
  __syncthreads();
  if (warp == 0) {
    const T sum = lane < warps ? before[lane] : T(0);
    const T sums = warp_inclusive_scan(sum);
    before[lane] = sums - sum;
    if (lane == kWarp - 1) {
      before[kWarp] = sums;
    }
  }
  __syncthreads();
  const T result = before[warp] + (inclusive - v);
  *total = before[kWarp];
  __syncthreads();  // the next call may write
  return result;
}

inline constexpr int kSumThreads = 512;  // of a block that sums over an image's anchors

// The sum of v over the block's threads, the same in every run.
template <class T>
__device__ __forceinline__ T block_sum(T v) {
  T total;
  block_exclusive_scan(v, &total);
  return total;
}

// Whether this block is the last of `blocks` that gets here, which then sees what the others wrote before. `done` is 0
// at first. The thread that counts also has the fences, on either side of its atomic, where the memory model asks for
// them; the barriers pass on what they order to the rest of the block.
template <class T>
__device__ __forceinline__ bool is_last_block(T* done, T blocks) {
  GPU_SHARED(bool, last, [1]);
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last[0] = atomicAdd(done, T(1)) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  return last[0];
}

}  // namespace refinedet::cuda
