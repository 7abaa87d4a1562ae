// The groups of batched_nms: boxes that compete, one group after the other, each sorted from the best on.
#pragma once

#include "batched_nms.h"
#include "settle_large.h"

namespace refinedet::cuda {

struct NmsGroups {
  NmsBox* boxes;          // (count,), group by group; `item` is the box's rank by score
  uint32_t* slots;        // (*group_count,): the groups' numbers, in no order
  int32_t* group_count;   // 0 at first
  int32_t *first, *last;  // by number: where the group starts and ends
  uint32_t* kept;         // a bit for each rank, 0 at first

  __device__ __forceinline__ void keep(const NmsBoxes& list, int begin, int end) const {
    for (int k = begin + static_cast<int>(threadIdx.x); k < end; k += kNmsThreads) {
      set_bit(kept, static_cast<int>(list.at(k).item));
    }
  }
};

// Groups that several blocks settle.
struct LargeGroups {
  struct Range {
    int32_t first, size;
  };
  NmsGroups groups;
  LargeState state;
  Range* ranges;  // (*state.count,)

  __device__ int number(int g) const { return g; }
  __device__ int size(int g) const { return ranges[g].size; }
  __device__ NmsBoxes list(int g) const { return {groups.boxes + ranges[g].first}; }
  __device__ uint32_t* dead(int g) const { return state.dead_from(ranges[g].first); }
  __device__ void keep(const NmsBoxes& list, int begin, int end) const { groups.keep(list, begin, end); }
};

// Settles the groups of up to state.alone boxes, and lists the others; `count` boxes in all.
void settle_groups(const LargeGroups& groups, int64_t count, const IouTest<float>& test, Stream stream);

}  // namespace refinedet::cuda
