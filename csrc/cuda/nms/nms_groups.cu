// Floor: a processor runs 128 tests in about 12 cycles, so n boxes of which k are kept take at most n (k + 16) / 10
// cycles (816 boxes, 100 kept: 5 us), and n / 32 steps of 200 to 300 cycles that follow one another (4 us). Groups
// stand side by side: 80 of them take no longer than one. One launch for all sizes: groups of up to 32 take a warp
// each, without a barrier. Expected with the launch: 80 groups of 204 boxes 8 us, one of 4,096 with 400 kept 50.
#include "nms_groups.h"

namespace refinedet::cuda {
namespace {

constexpr int kBlocksPerProcessor = 2;  // as many as it holds at a time: up to 64 registers a thread

__global__ void __launch_bounds__(kNmsThreads, kBlocksPerProcessor)
    settle_groups_kernel(LargeGroups large, IouTest<float> test) {
  const NmsGroups& groups = large.groups;
  const LargeState& state = large.state;
  const int count = *groups.group_count;
  const int warps = static_cast<int>(gridDim.x) * (kNmsThreads / kWarp);
  for (int g = static_cast<int>(blockIdx.x) * (kNmsThreads / kWarp) + warp_id(); g < count; g += warps) {
    const uint32_t slot = groups.slots[g];
    const int first = groups.first[slot], size = groups.last[slot] - first;
    if (size > kWarp) {
      if (size > state.alone && lane_id() == 0) {
        large.ranges[atomicAdd(state.count, 1)] = {first, size};
        atomicMax(state.most, size);
      }
      continue;
    }
    const NmsBox* list = groups.boxes + first;
    const bool mine = lane_id() < size;
    const unsigned overlaps = mine ? overlaps_with(list[lane_id()], list, lane_id(), test) : 0;
    const unsigned kept = settle_warp(mine, overlaps);
    if ((kept >> lane_id() & 1u) != 0) {
      set_bit(groups.kept, static_cast<int>(list[lane_id()].item));
    }
  }
  for (int g = static_cast<int>(blockIdx.x); g < count; g += static_cast<int>(gridDim.x)) {
    const uint32_t slot = groups.slots[g];
    const int first = groups.first[slot], size = groups.last[slot] - first;
    if (size <= kWarp || size > state.alone) {
      continue;
    }
    const NmsBoxes list{groups.boxes + first};
    groups.keep(list, 0, greedy_nms(list, size, test));
  }
}

}  // namespace

void settle_groups(const LargeGroups& groups, int64_t count, const IouTest<float>& test, Stream stream) {
  const int64_t blocks = min2(divide_up(count, kWarp), int64_t{kBlocksPerProcessor} * multiprocessors());
  launch("settle_groups", settle_groups_kernel, dim3(static_cast<unsigned>(blocks)), dim3(kNmsThreads), 0, stream,
         groups, test);
}

}  // namespace refinedet::cuda
