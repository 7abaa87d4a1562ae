// Groups too large for one block. A launch settles the next `step` boxes of every such group: all blocks test them
// against the boxes kept so far, in pieces of 512 boxes and 64 kept ones, and the block that finishes a group's last
// piece settles what is left among itself. No block waits for another, and the host need not know what is kept.
// Floor: n boxes with k kept take n k / 2 tests, 12 cycles for 128 of them on each of 132 processors (n = 200,000,
// k = 20,000: 1 ms), and n / 32 steps of 200 to 300 cycles. Where there is no large group a launch ends at once.
// Expected: a step of 1,024 boxes 8 us, one with nothing to do 2 us.
#pragma once

#include "greedy_nms.h"

namespace refinedet::cuda {

// Sets bit i, with other threads at other bits.
__device__ __forceinline__ void set_bit(uint32_t* words, int i) { atomicOr(words + i / 32, 1u << (i % 32)); }
__device__ __forceinline__ bool get_bit(const uint32_t* words, int i) { return (words[i / 32] >> (i % 32) & 1u) != 0; }

// What the launches know of the large groups beside their boxes.
struct LargeState {
  int32_t* count;       // of groups; 0 at first
  int32_t* most;        // at least the size of the largest; 0 at first
  int32_t* kept;        // (2, room): boxes kept so far, before a launch and after; 0 at first
  int32_t* done;        // (room,): pieces of work that are done; 0 between launches
  uint32_t* dead;       // a bit for each box, set once it is suppressed; 0 at first
  int32_t room;         // for groups
  int32_t alone, step;  // boxes of a group that is not large, at most; those that a launch settles of one that is
  int32_t limit;        // kept boxes of a group that are enough

  // The words of `dead` for so many boxes, and where those of a group start, which no other large group shares.
  int64_t dead_words(int64_t boxes) const { return boxes / 32 + boxes / (alone + 1) + 1; }
  __device__ uint32_t* dead_from(int64_t first_box) const { return dead + first_box / 32 + first_box / (alone + 1); }

  __device__ const int32_t* kept_before(int turn) const { return kept + turn % 2 * room; }
  __device__ int32_t* kept_after(int turn) const { return kept + (turn + 1) % 2 * room; }
  // Of a group of `size` boxes, after all launches.
  __device__ int kept_of(int g, int size) const { return kept_before(static_cast<int>(divide_up(size, step)))[g]; }
};

inline constexpr int kLargeBlocksPerProcessor = 2;  // as many as it holds at a time: up to 64 registers a thread
inline constexpr int kKeptPiece = 64;  // kept boxes: 3 us of work for a block, which takes it 2 us to come by

// Marks those of the list's rows from row0 to `end`, at most kNmsThreads, that one of the kept boxes [begin, stop)
// suppresses.
template <class List>
__device__ __forceinline__ void test_piece(const List& list, int row0, int end, int begin, int stop,
                                           const IouTest<float>& test, uint32_t* dead) {
  GPU_SHARED(NmsBox, piece, [kKeptPiece]);
  const int thread = static_cast<int>(threadIdx.x), row = row0 + thread, size = stop - begin;
  if (thread < size) {
    piece[thread] = list.at(begin + thread);
  }
  __syncthreads();
  if (row < end) {
    const NmsBox own = list.at(row);
    bool alive = true;
    for (int k = 0; k < size && alive; ++k) {
      alive = !suppresses(own, piece[k], test);
    }
    if (!alive) {
      set_bit(dead, row);
    }
  }
}

// `Groups` has the LargeState `state` and for the g-th group number(g), its place in state.kept and state.done,
// size(g), list(g), as continue_nms takes one, dead(g), where its bits start, and keep(list, begin, end), by whole
// blocks, which hears of the rows that are kept.
template <class Groups>
__global__ void __launch_bounds__(kNmsThreads, kLargeBlocksPerProcessor)
    settle_large_kernel(Groups groups, int turn, IouTest<float> test) {
  const LargeState& state = groups.state;
  const int64_t first64 = static_cast<int64_t>(turn) * state.step;
  if (first64 >= *state.most) {
    return;
  }
  const int first = static_cast<int>(first64), count = *state.count;
  int64_t dealt = 0;  // pieces of earlier groups
  for (int g = 0; g < count; ++g) {
    const int number = groups.number(g), size = groups.size(g), kept = state.kept_before(turn)[number];
    if (first >= size) {
      continue;
    }
    if (kept >= state.limit) {
      if (blockIdx.x == 0 && threadIdx.x == 0) {
        state.kept_after(turn)[number] = kept;
      }
      continue;
    }
    const auto list = groups.list(g);
    uint32_t* const dead = groups.dead(g);
    const int end = static_cast<int>(min2<int64_t>(size, first64 + state.step));
    const int columns = static_cast<int>(divide_up(end - first, kNmsThreads));
    const int pieces = kept == 0 ? 1 : columns * static_cast<int>(divide_up(kept, kKeptPiece));
    for (int piece = first_dealt(dealt); piece < pieces; piece += static_cast<int>(gridDim.x)) {
      if (kept > 0) {
        const int begin = piece / columns * kKeptPiece;
        test_piece(list, first + piece % columns * kNmsThreads, end, begin, min2(kept, begin + kKeptPiece), test, dead);
      }
      if (is_last_block(state.done + number, pieces)) {
        const auto alive = [&](int row) { return !get_bit(dead, row); };
        const int now = continue_nms(list, first, end, kept, state.limit, test, alive);
        groups.keep(list, kept, now);
        if (threadIdx.x == 0) {
          state.kept_after(turn)[number] = now;
          atomicExch(state.done + number, 0);
        }
      }
    }
    dealt += pieces;
  }
}

// Settles groups of up to `most` boxes.
template <class Groups>
void settle_large(const char* name, const Groups& groups, int64_t most, const IouTest<float>& test, Stream stream) {
  const int64_t turns = divide_up(most, groups.state.step);
  const dim3 blocks(static_cast<unsigned>(kLargeBlocksPerProcessor * multiprocessors()));
  for (int64_t turn = 0; turn < turns; ++turn) {
    launch(name, settle_large_kernel<Groups>, blocks, dim3(kNmsThreads), 0, stream, groups, static_cast<int>(turn),
           test);
  }
}

}  // namespace refinedet::cuda
