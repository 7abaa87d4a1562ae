// The groups of batched_nms: boxes that compete, one group after the other, each sorted from the best on.
#pragma once

#include "batched_nms.h"
#include "greedy_nms.h"

namespace refinedet::cuda {

// Sets bit i, with other threads at other bits.
__device__ __forceinline__ void set_bit(uint32_t* words, int i) { atomicOr(words + i / 32, 1u << (i % 32)); }
__device__ __forceinline__ bool get_bit(const uint32_t* words, int i) { return (words[i / 32] >> (i % 32) & 1u) != 0; }

struct NmsGroups {
  NmsBox* boxes;          // (count,), group by group; `item` is the box's rank by score
  uint32_t* slots;        // (*group_count,): the groups' numbers, in no order
  int32_t* group_count;   // 0 at first
  int32_t *first, *last;  // by number: where the group starts and ends
  uint32_t* kept;         // a bit for each rank, 0 at first
};

// Groups that several blocks settle, `step` boxes per launch.
struct LargeGroups {
  struct Range {
    int32_t first, size;
  };
  int32_t* count;  // 0 at first
  int32_t* most;   // the size of the largest, 0 at first
  Range* ranges;   // (*count,)
  int32_t* kept;   // (2, room): boxes kept so far, before this launch and after; 0 at first
  int32_t* done;   // (room,): pieces of work that are done; 0 between launches
  uint32_t* dead;  // a bit for each box, set once it is suppressed; 0 at first
  int32_t room, step, alone;

  LargeGroups(const BatchedNmsPlan& plan, int64_t boxes)
      : room(static_cast<int32_t>(boxes / (plan.alone + 1))),
        step(static_cast<int32_t>(plan.step)),
        alone(static_cast<int32_t>(plan.alone)) {}

  // The words of `dead` in all, and where those of a group start, which no other group shares.
  int64_t dead_words(int64_t boxes) const { return boxes / 32 + room + 1; }
  __device__ uint32_t* dead_from(int first_box) const { return dead + first_box / 32 + first_box / (alone + 1); }
};

// Settles the groups of up to `alone` boxes, and lists the others.
void settle_groups(const NmsGroups& groups, const LargeGroups& large, int64_t count, const IouTest<float>& test,
                   Stream stream);

// Settles the groups listed; `count` boxes in all.
void settle_large_groups(const NmsGroups& groups, const LargeGroups& large, int64_t count, const IouTest<float>& test,
                         Stream stream);

}  // namespace refinedet::cuda
