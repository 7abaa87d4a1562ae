// Suppression by one block of at most as many candidates as it has threads, of any number of classes, in shared memory.
//
// 400 candidates of 20 classes: two sorts of 45 steps (3 of ten need a barrier), 2 us each; boxes, one read from memory
// each, 1 us; 13 turns of a warp, 0.2 us each. The soft methods take a pick after the other, 0.3 us each in a warp,
// whose classes stand side by side, and 0.6 in the block.
#pragma once

#include "candidates.h"
#include "core/iou.h"
#include "cuda/primitives/block_select.h"
#include "cuda/primitives/block_sort.h"
#include "soft_nms.h"

namespace refinedet::cuda {

inline constexpr int kMostThreads = 1024;  // of such a block; a power of two

struct SuppressionRules {
  SuppressionMethod method;
  IouTest<float> test;
  SoftRules soft;

  explicit SuppressionRules(const SuppressionSettings& s)
      : method(s.method), test(s.iou_threshold), soft(s, test.threshold) {}
};

// The arrays have a place per thread.
struct BlockMemory {
  union {
    uint32_t bins[kSelectBins];     // of block_select
    uint64_t scores[kMostThreads];  // of soft-NMS
  };
  uint64_t keys[kMostThreads];      // candidates: gathered, then in the order of their classes
  uint64_t exchange[kMostThreads];  // of block_sort; what soft-NMS picked
  alignas(16) Box<float> boxes[kMostThreads];
  float area[kMostThreads];           // soft-NMS; else the boxes' shares of IouTest
  uint16_t begins[kMostThreads + 1];  // of the classes; soft-NMS
  unsigned kept[kWarp];               // a word per warp, a bit per box
  uint32_t number;
};
static_assert(kMostThreads * sizeof(uint64_t) == sizeof(BlockMemory::bins), "the union wastes nothing");

// Gathers to memory.keys the keys of key_at(i), i < n, that lie in the range; returns their number, at most the
// block's.
template <class KeyAt>
__device__ __forceinline__ int gather(BlockMemory& memory, const KeyAt& key_at, int64_t n, const KeyRange& range) {
  if (threadIdx.x == 0) {
    memory.number = 0;
  }
  __syncthreads();
  for_keys(key_at, n, [&](uint64_t key) {
    if (key >= range.first && key <= range.last) {
      memory.keys[atomicAdd(&memory.number, 1u)] = key;
    }
  });
  __syncthreads();
  return static_cast<int>(memory.number);
}

// The order in which a block works on its candidates: by class, then by score for the hard method, for the soft ones by
// row.
struct ClassOrder {
  CandidateKeys keys;
  bool by_row;

  __device__ __forceinline__ uint64_t of_candidate(uint64_t key) const {
    const uint64_t score = key >> 32, label_and_row = key & 0xffffffffu;
    return by_row ? label_and_row << 32 | score
                  : (label_and_row >> keys.row_bits) << (32 + keys.row_bits) | score << keys.row_bits | keys.row(key);
  }
  // Back from of_candidate.
  __device__ __forceinline__ uint32_t label(uint64_t x) const {
    return static_cast<uint32_t>(x >> 32 >> keys.row_bits);
  }
  __device__ __forceinline__ uint32_t row(uint64_t x) const { return keys.row(by_row ? x >> 32 : x); }
  __device__ __forceinline__ uint32_t score_key(uint64_t x) const {
    return static_cast<uint32_t>((by_row ? x : x >> keys.row_bits) & 0xffffffffu);
  }
};

// The first of the n sorted keys whose class is that of key i.
__device__ __forceinline__ int class_begin(const uint64_t* keys, int i, const ClassOrder& order) {
  const uint32_t label = order.label(keys[i]);
  int low = 0, high = i;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (order.label(keys[middle]) < label) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Whether this thread's candidate of the n sorted ones is kept. Warp by warp: those kept of a warp's candidates are
// settled at once from the overlaps within the warp, which all warps find beforehand; then the warps behind it test
// theirs against them.
__device__ __forceinline__ bool suppress_hard(BlockMemory& memory, int n, const ClassOrder& order,
                                              const IouTest<float>& test) {
  const int thread = static_cast<int>(threadIdx.x), warp_first = warp_id() * kWarp;
  bool alive = thread < n;
  const int begin = alive ? class_begin(memory.keys, thread, order) : n;
  const Box<float> box = alive ? memory.boxes[thread] : Box<float>{0, 0, 0, 0};
  const float share = alive ? memory.area[thread] : 0.0f;
  unsigned overlaps = 0;  // with those before it in its warp, a bit each
  for (int i = max2(begin, warp_first); i < thread; ++i) {
    overlaps |= static_cast<unsigned>(test.suppresses(box, share, memory.boxes[i], memory.area[i])) << (i - warp_first);
  }
  for (int turn = 0; turn * kWarp < n; ++turn) {
    if (warp_id() == turn) {
      unsigned kept = 0, open = __ballot_sync(kAllLanes, alive);
      while (open != 0) {  // the first open one is settled each time, in most cases all are after a few times
        const bool is_open = (open >> lane_id() & 1u) != 0;
        const bool dropped = is_open && (overlaps & kept) != 0;
        const unsigned keep = __ballot_sync(kAllLanes, is_open && (overlaps & (kept | open)) == 0);
        const unsigned settled = keep | __ballot_sync(kAllLanes, dropped);
        kept |= keep;
        open &= ~settled;
      }
      alive = (kept >> lane_id() & 1u) != 0;
      if (lane_id() == 0) {
        memory.kept[turn] = kept;
      }
    }
    __syncthreads();
    if (warp_id() > turn && alive && begin < (turn + 1) * kWarp) {
      unsigned rivals = memory.kept[turn] & ~0u << max2(0, begin - turn * kWarp);
      while (rivals != 0 && alive) {
        const int i = turn * kWarp + __ffs(static_cast<int>(rivals)) - 1;
        alive = !test.suppresses(box, share, memory.boxes[i], memory.area[i]);
        rivals &= rivals - 1;
      }
    }
  }
  return alive;
}

// Suppresses the n candidates in memory.keys, which become sorted by class (`order`), and their boxes memory.boxes.
// Returns for the thread's candidate the key of its score, decayed where it was, before its place among the sorted;
// kNoCandidate where it is not kept.
template <class BoxOf>
__device__ __forceinline__ uint64_t suppress_block(BlockMemory& memory, int n, const ClassOrder& order,
                                                   const BoxOf& box_of, const SuppressionRules& rules) {
  const int thread = static_cast<int>(threadIdx.x);
  uint64_t key = thread < n ? order.of_candidate(memory.keys[thread]) : kNoCandidate;
  key = block_sort(key, n, memory.exchange);
  __syncthreads();
  const bool hard = rules.method == SuppressionMethod::hard;
  const uint64_t place = uint64_t{order.score_key(key)} << 32 | static_cast<uint32_t>(thread);
  if (thread < n) {
    const Box<float> box = box_of(order.row(key));
    memory.keys[thread] = key;
    memory.boxes[thread] = box;
    memory.area[thread] = hard ? rules.test.share_of(box) : area(box);
    memory.scores[thread] = place;
    memory.exchange[thread] = kNoCandidate;
  }
  __syncthreads();
  if (hard) {
    return suppress_hard(memory, n, order, rules.test) ? place : kNoCandidate;
  }
  // where the classes begin
  const bool first = thread < n && (thread == 0 || order.label(memory.keys[thread - 1]) != order.label(key));
  int classes = 0;
  const int number = block_exclusive_scan(first ? 1 : 0, &classes);
  if (first) {
    memory.begins[number] = static_cast<uint16_t>(thread);
  }
  if (thread == 0) {
    memory.begins[classes] = static_cast<uint16_t>(n);
  }
  __syncthreads();
  const SoftList list{memory.boxes, memory.area, memory.scores, memory.exchange};
  soft_nms_classes(list, memory.begins, classes, rules.soft);
  __syncthreads();
  return thread < n ? memory.exchange[thread] : kNoCandidate;
}

}  // namespace refinedet::cuda
