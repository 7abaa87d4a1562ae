// Groups too large for one block. A launch settles the next `step` boxes of every such group: all blocks test them
// against the boxes kept so far, in pieces of 512 boxes and 64 kept ones, and the block that finishes a group's last
// piece settles what is left among itself. No block waits for another, and the host need not know what is kept.
// Floor: n boxes with k kept take n k / 2 tests, 12 cycles for 128 of them on each of 132 processors (n = 200,000,
// k = 20,000: 1 ms), and n / 32 steps of 200 to 300 cycles. Where there is no large group a launch ends at once.
#include "nms_groups.h"

namespace refinedet::cuda {
namespace {

constexpr int64_t kBlocksPerProcessor = 2;
constexpr int kPiece = 64;  // kept boxes: 3 us of work for a block, which takes it 2 us to come by

// Marks those of the list's rows from row0 to `end`, at most kNmsThreads, that one of the kept boxes [begin, stop)
// suppresses.
__device__ __forceinline__ void test_piece(const NmsBox* list, int row0, int end, int begin, int stop,
                                           const IouTest<float>& test, uint32_t* dead) {
  GPU_SHARED(NmsBox, piece, [kPiece]);
  const int thread = static_cast<int>(threadIdx.x), row = row0 + thread, size = stop - begin;
  if (thread < size) {
    piece[thread] = list[begin + thread];
  }
  __syncthreads();
  if (row < end) {
    const NmsBox own = list[row];
    bool alive = true;
    for (int k = 0; k < size && alive; ++k) {
      alive = !suppresses(own, piece[k], test);
    }
    if (!alive) {
      set_bit(dead, row);
    }
  }
}

// Whether this block is the last of `pieces` that gets here; then it sees what the others wrote.
__device__ __forceinline__ bool is_last_piece(int32_t* done, int pieces) {
  GPU_SHARED(int, last, [1]);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last[0] = atomicAdd(done, 1) == pieces - 1 ? 1 : 0;
  }
  __syncthreads();
  __threadfence();
  return last[0] != 0;
}

__global__ void settle_large_groups_kernel(NmsGroups groups, LargeGroups large, int turn, IouTest<float> test) {
  const int64_t first64 = static_cast<int64_t>(turn) * large.step;
  if (first64 >= *large.most) {
    return;
  }
  const int first = static_cast<int>(first64), count = *large.count;
  const int32_t* kept_before = large.kept + turn % 2 * large.room;
  int32_t* kept_after = large.kept + (turn + 1) % 2 * large.room;
  int64_t dealt = 0;  // pieces of earlier groups
  for (int g = 0; g < count; ++g) {
    const LargeGroups::Range range = large.ranges[g];
    if (first >= range.size) {
      continue;
    }
    NmsBox* list = groups.boxes + range.first;
    uint32_t* dead = large.dead_from(range.first);
    const int end = min2(range.size, first + large.step), kept = kept_before[g];
    const int columns = static_cast<int>(divide_up(end - first, kNmsThreads));
    const int pieces = kept == 0 ? 1 : columns * static_cast<int>(divide_up(kept, kPiece));
    int piece = static_cast<int>((blockIdx.x + gridDim.x - static_cast<unsigned>(dealt % gridDim.x)) % gridDim.x);
    for (; piece < pieces; piece += static_cast<int>(gridDim.x)) {
      if (kept > 0) {
        const int begin = piece / columns * kPiece;
        test_piece(list, first + piece % columns * kNmsThreads, end, begin, min2(kept, begin + kPiece), test, dead);
      }
      if (is_last_piece(large.done + g, pieces)) {
        const auto alive = [&](int row) { return !get_bit(dead, row); };
        const int now = continue_nms(list, first, end, kept, test, alive);
        for (int k = kept + static_cast<int>(threadIdx.x); k < now; k += kNmsThreads) {
          set_bit(groups.kept, list[k].item);
        }
        if (threadIdx.x == 0) {
          kept_after[g] = now;
          atomicExch(large.done + g, 0);
        }
      }
    }
    dealt += pieces;
  }
}

}  // namespace

void settle_large_groups(const NmsGroups& groups, const LargeGroups& large, int64_t count, const IouTest<float>& test,
                         Stream stream) {
  const int64_t turns = divide_up(count, large.step);
  const dim3 blocks(static_cast<unsigned>(kBlocksPerProcessor * multiprocessors()));
  for (int64_t turn = 0; turn < turns; ++turn) {
    launch("settle_large_groups", settle_large_groups_kernel, blocks, dim3(kNmsThreads), 0, stream, groups, large,
           static_cast<int>(turn), test);
  }
}

}  // namespace refinedet::cuda
