// The smallest keys of a list, found by one block without sorting it.
#pragma once

#include "block.h"

namespace refinedet::cuda {

inline constexpr int kSelectBits = 11;
inline constexpr int kSelectBins = 1 << kSelectBits;

// f(key_at(i)) for all i < n, by a block; several loads are under way at a time.
template <class KeyAt, class F>
__device__ __forceinline__ void for_keys(const KeyAt& key_at, int64_t n, const F& f) {
  constexpr int kAtOnce = 4;
  uint64_t keys[kAtOnce];
  int64_t i = threadIdx.x;
  for (; i + (kAtOnce - 1) * int64_t{blockDim.x} < n; i += kAtOnce * int64_t{blockDim.x}) {
    GPU_UNROLL
    for (int k = 0; k < kAtOnce; ++k) {
      keys[k] = key_at(i + k * int64_t{blockDim.x});
    }
    GPU_UNROLL
    for (int k = 0; k < kAtOnce; ++k) {
      f(keys[k]);
    }
  }
  for (; i < n; i += blockDim.x) {
    f(key_at(i));
  }
}

// A range of keys, its ends among them, and how many of a list lie in it.
struct KeyRange {
  uint64_t first, last;
  uint32_t count;
};

// key_at(i), i < n, all different where they lie in [first, last]: the range from `first` on that holds the `wanted`
// smallest of them, or all of them where they are fewer. wanted >= 1. Counts the keys in bins of equal width and goes
// on with the bin that holds the last one wanted, until all of a bin are. `bins`: shared memory, kSelectBins numbers.
template <class KeyAt>
__device__ __forceinline__ KeyRange block_select(const KeyAt& key_at, int64_t n, uint32_t wanted, uint64_t first,
                                                 uint64_t last, uint32_t* bins) {
  GPU_SHARED(uint32_t, found, [3]);  // the bin, how many lie before it, and in it
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int bins_each = static_cast<int>(divide_up(kSelectBins, threads));
  const int my_bin = min2(thread * bins_each, kSelectBins), my_end = min2(my_bin + bins_each, kSelectBins);
  uint64_t low = first, high = last;
  uint32_t before = 0;  // keys in [first, low)
  for (;;) {
    const int shift = max2(0, 64 - __clzll(static_cast<long long>(high - low)) - kSelectBits);
    for (int bin = thread; bin < kSelectBins; bin += threads) {
      bins[bin] = 0;
    }
    __syncthreads();
    for_keys(key_at, n, [&](uint64_t key) {
      if (key >= low && key <= high) {
        atomicAdd(&bins[(key - low) >> shift], 1u);
      }
    });
    __syncthreads();
    uint32_t mine = 0;
    for (int bin = my_bin; bin < my_end; ++bin) {
      mine += bins[bin];
    }
    uint32_t total = 0;
    uint32_t upto = before + block_exclusive_scan(mine, &total);
    if (before + total <= wanted) {  // only in the first round can they be fewer
      return {first, high, before + total};
    }
    if (upto < wanted && wanted <= upto + mine) {
      int bin = my_bin;
      for (; upto + bins[bin] < wanted; ++bin) {
        upto += bins[bin];
      }
      found[0] = static_cast<uint32_t>(bin);
      found[1] = upto;
      found[2] = bins[bin];
    }
    __syncthreads();
    low += uint64_t{found[0]} << shift;
    before = found[1];
    high = min2(high, low + ((uint64_t{1} << shift) - 1));
    if (before + found[2] == wanted) {
      return {first, high, wanted};
    }
  }
}

}  // namespace refinedet::cuda
