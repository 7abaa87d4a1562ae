// Many words sorted in two steps that need no third: tiles by a block each, in shared memory; then every word looks up
// how many words of the other tiles stand before it.
//
// A tile of 2,048 takes 66 compare steps, of which 15 need the whole block: about 3 us. A look-up is 11 dependent reads
// from the L1 or L2 (30 to 200 cycles each) for every eight tiles, so that with eight lanes to share them up to 16
// tiles take 1 to 3 us; beyond, the look-ups of all words count, n / 2048 each: 0.5 million words, 256 tiles, 1.4
// billion reads, 0.4 ms on 132 processors.
#pragma once

#include "block.h"

namespace refinedet::cuda {

inline constexpr int kTileBits = 11;
inline constexpr int kTile = 1 << kTileBits;  // words
inline constexpr int kTileThreads = kTile / 2;
inline constexpr int kRankLanes = 8;  // threads that share the look-ups of a word

// Sorts the words of a tile in shared memory, rising, by a block with a thread for two words. The caller's barrier is
// before; the block may read them at once. Batcher's bitonic sort: runs of twice the length are merged by compare steps
// over half of it, a quarter, ...
__device__ __forceinline__ void sort_tile(uint64_t* tile) {
  const int thread = static_cast<int>(threadIdx.x), room = 2 * static_cast<int>(blockDim.x);
  for (int run = 2; run <= room; run *= 2) {
    for (int gap = run / 2; gap > 0; gap /= 2) {
      const int low = 2 * thread - (thread & (gap - 1)), high = low + gap;
      const uint64_t a = tile[low], b = tile[high];
      if ((a > b) == ((low & run) == 0)) {
        tile[low] = b;
        tile[high] = a;
      }
      // within 64 words a warp is on its own, in this step and the next
      if (gap > kWarp || (gap == 1 && run > kWarp)) {
        __syncthreads();
      } else {
        __syncwarp();
      }
    }
  }
}

// How many of the sorted words are below `bound`.
__device__ __forceinline__ int count_below(const uint64_t* words, int size, uint64_t bound) {
  int low = 0;
  while (size > 0) {
    const int half = size / 2;
    const bool below = words[low + half] < bound;
    low += below ? half + 1 : 0;
    size = below ? size - half - 1 : half;
  }
  return low;
}

// For whole warps, kRankLanes lanes side by side for each word i of `count` in sorted tiles of so many words (or for
// none, from `count` on): how many words of the other tiles are below bound_of(tile is before i's own).
template <int size = kTile, class BoundOf>
__device__ __forceinline__ int rank_in_other_tiles(const uint64_t* words, int count, int i, const BoundOf& bound_of) {
  const int own = i / size, tiles = static_cast<int>(divide_up(count, size));
  int before = 0;
  for (int tile = lane_id() % kRankLanes; tile < tiles && i < count; tile += kRankLanes) {
    if (tile != own) {
      before += count_below(words + tile * size, min2(size, count - tile * size), bound_of(tile < own));
    }
  }
  GPU_UNROLL
  for (int step = kRankLanes / 2; step > 0; step /= 2) {
    before += __shfl_xor_sync(kAllLanes, before, step);
  }
  return before;
}

}  // namespace refinedet::cuda
