// Greedy suppression of sorted boxes by one thread block.
//
// A block takes kNmsThreads boxes at a time, a thread each. Each is tested against the boxes kept before (from shared
// memory, all lanes the same one); the survivors close ranks, find their overlaps with those before them in their warp,
// and are settled a warp at a time: the warp whose turn it is, which only looks at bits by now, and then the warps
// behind it, by a test against what that one keeps. So the steps that follow one another are one barrier for each 32
// survivors, and a few ballots between.
#pragma once

#include "core/iou.h"
#include "cuda/primitives/block.h"

namespace refinedet::cuda {

inline constexpr int kNmsThreads = 512;  // of a block that calls greedy_nms

// A box among those to suppress; `share` from IouTest. `item` is the caller's: what the box stands for.
struct alignas(16) NmsBox {
  Box<float> box;
  float share;
  uint64_t item;
};

// A list of them, as continue_nms takes one.
struct NmsBoxes {
  NmsBox* rows;

  __device__ __forceinline__ NmsBox at(int row) const { return rows[row]; }
  __device__ __forceinline__ void put(int row, const NmsBox& box) const { rows[row] = box; }
};

__device__ __forceinline__ bool suppresses(const NmsBox& a, const NmsBox& b, const IouTest<float>& test) {
  return test.suppresses(a.box, a.share, b.box, b.share);
}

// Which of list[0 .. count) the box overlaps by more than the threshold, a bit each; at most 32.
__device__ __forceinline__ unsigned overlaps_with(const NmsBox& own, const NmsBox* list, int count,
                                                  const IouTest<float>& test) {
  unsigned overlaps = 0;
  for (int i = 0; i < count; ++i) {
    overlaps |= static_cast<unsigned>(suppresses(own, list[i], test)) << i;
  }
  return overlaps;
}

// For a whole warp, whose lanes hold sorted boxes, with a bit for each lane below that they overlap: the lanes kept, of
// those that are `alive`. What is settled in a round are all boxes that overlap no earlier one whose fate is open, so
// that a few rounds do.
__device__ __forceinline__ unsigned settle_warp(bool alive, unsigned overlaps) {
  unsigned kept = 0;
  unsigned open = __ballot_sync(kAllLanes, alive);
  while (open != 0) {
    const bool is_open = (open >> lane_id() & 1u) != 0;
    const unsigned chosen = __ballot_sync(kAllLanes, is_open && (overlaps & (open | kept)) == 0);
    kept |= chosen;
    open = __ballot_sync(kAllLanes, is_open && (overlaps & kept) == 0) & ~chosen;
  }
  return kept;
}

// For a whole block of kNmsThreads. `list` has n boxes, sorted from the best on; rows [0, kept) are already the kept
// ones among rows [0, first), and those that follow have been tested against them: `alive_at(row)` says which are left.
// Moves those kept of these to the rows from `kept` on (the other rows mean nothing after that), and returns the new
// number. Goes no further where `limit` are kept, of which there may be a few more. The block may read the list at
// once.
template <class List, class Alive>
__device__ __forceinline__ int continue_nms(const List& list, int first, int n, int kept, int limit,
                                            const IouTest<float>& test, const Alive& alive_at) {
  GPU_SHARED(NmsBox, survivors, [kNmsThreads]);
  GPU_SHARED(NmsBox, recent, [kNmsThreads]);  // the first ones kept by this call
  GPU_SHARED(int, ends, [kNmsThreads / kWarp]);
  const int thread = static_cast<int>(threadIdx.x), lane = lane_id(), warp = warp_id();
  const int known = kept;
  const auto survives = [&](const NmsBox& own, int begin, int end) {
    for (int k = begin; k < end; ++k) {
      const NmsBox other = k - known < kNmsThreads ? recent[k - known] : list.at(k);
      if (suppresses(own, other, test)) {
        return false;
      }
    }
    return true;
  };
  for (; first < n && kept < limit; first += kNmsThreads) {
    const int row = first + thread;
    NmsBox own{};
    bool alive = row < n && alive_at(row);
    if (alive) {
      own = list.at(row);
      alive = survives(own, known, kept);
    }
    int total = 0;
    const int place = block_exclusive_scan(alive ? 1 : 0, &total);
    if (alive) {
      survivors[place] = own;
    }
    __syncthreads();
    alive = thread < total;
    unsigned overlaps = 0;
    if (alive) {
      own = survivors[thread];
      overlaps = overlaps_with(own, survivors + warp * kWarp, lane, test);
    }
    for (int turn = 0; turn * kWarp < total; ++turn) {
      if (warp == turn) {
        const unsigned chosen = settle_warp(alive, overlaps);
        if ((chosen >> lane & 1u) != 0) {
          const int k = kept + __popc(chosen & lanes_below());  // at most its row in the list, which is read by now
          list.put(k, own);
          if (k - known < kNmsThreads) {
            recent[k - known] = own;
          }
        }
        if (lane == 0) {
          ends[turn] = kept + __popc(chosen);
        }
      }
      __syncthreads();
      const int end = ends[turn];
      if (warp > turn && alive) {
        alive = survives(own, kept, end);
      }
      kept = end;
    }
  }
  return kept;
}

// As continue_nms, from the start.
__device__ __forceinline__ int greedy_nms(const NmsBoxes& list, int n, const IouTest<float>& test) {
  return continue_nms(list, 0, n, 0, n, test, [](int) { return true; });
}

}  // namespace refinedet::cuda
