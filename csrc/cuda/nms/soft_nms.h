// Soft non-maximum suppression of a few candidates in shared memory: small classes by a warp each, large ones by the
// block.
#pragma once

#include "core/iou.h"
#include "core/score_key.h"
#include "core/soft_decay.h"
#include "core/threshold.h"
#include "cuda/primitives/block.h"
#include "ops/suppression.h"

namespace refinedet::cuda {

struct SoftRules {
  bool gaussian;
  LinearDecay<float> linear_decay;
  GaussianDecay<float> gaussian_decay;
  float min_score;
  int64_t limit;  // picks of a class

  SoftRules(const SuppressionSettings& s, float threshold)
      : gaussian(s.method == SuppressionMethod::gaussian),
        linear_decay{threshold},
        gaussian_decay(s.sigma),
        min_score(ceil_to<float>(s.min_score)),
        limit(s.keep_top_k) {}

  __device__ __forceinline__ float decay(float iou) const { return gaussian ? gaussian_decay(iou) : linear_decay(iou); }
};

inline constexpr uint64_t kNoScore = ~uint64_t{0};

// Per candidate its box, its area, and the key of its present score before its position in the list, so that the
// smallest is the best; kNoScore once it is picked or has no number for a score.
struct SoftList {
  const Box<float>* boxes;
  const float* area;
  uint64_t* scores;
  uint64_t* picked;  // what `scores` had when it was picked; kNoScore before
};

__device__ __forceinline__ bool can_be_picked(uint64_t score, const SoftRules& rules) {
  return score != kNoScore && key_score<float>(static_cast<uint32_t>(score >> 32)) >= rules.min_score;
}

// `score` after the candidate at `best` was picked; kNoScore for one below zero, which would rise to it.
__device__ __forceinline__ uint64_t decayed(uint64_t score, const Box<float>& box, float area, const Box<float>& best,
                                            float best_area, const SoftRules& rules) {
  const float before = key_score<float>(static_cast<uint32_t>(score >> 32));
  const float x = before * rules.decay(iou(best, best_area, box, area));
  return before >= 0 && x == x ? uint64_t{score_key(x)} << 32 | (score & 0xffffffffu) : kNoScore;
}

__device__ __forceinline__ uint64_t warp_min(uint64_t x) {
  GPU_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) {
    x = min2<uint64_t>(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  return x;
}

// The smallest over the block.
__device__ __forceinline__ uint64_t block_min(uint64_t x) {
  GPU_SHARED(uint64_t, smallest, [kWarp]);
  x = warp_min(x);
  __syncthreads();  // the results of the last call are read
  if (lane_id() == 0) {
    smallest[warp_id()] = x;
  }
  __syncthreads();
  return warp_min(lane_id() < static_cast<int>(blockDim.x) / kWarp ? smallest[lane_id()] : kNoScore);
}

// A warp: the candidates [begin, end).
__device__ __forceinline__ void warp_soft_nms(const SoftList& list, int begin, int end, const SoftRules& rules) {
  for (int64_t count = 0; count < rules.limit; ++count) {
    uint64_t best = kNoScore;
    for (int i = begin + lane_id(); i < end; i += kWarp) {
      best = min2(best, list.scores[i]);
    }
    best = warp_min(best);
    if (!can_be_picked(best, rules)) {
      return;
    }
    const int at = static_cast<int>(best & 0xffffffffu);
    for (int i = begin + lane_id(); i < end; i += kWarp) {
      const uint64_t score = list.scores[i];
      if (i == at) {
        list.picked[i] = score;
        list.scores[i] = kNoScore;
      } else if (score != kNoScore) {
        list.scores[i] = decayed(score, list.boxes[i], list.area[i], list.boxes[at], list.area[at], rules);
      }
    }
  }
}

// The block: the candidates [begin, end), at most one per thread.
__device__ __forceinline__ void block_soft_nms(const SoftList& list, int begin, int end, const SoftRules& rules) {
  const int i = begin + static_cast<int>(threadIdx.x);
  uint64_t score = i < end ? list.scores[i] : kNoScore;
  for (int64_t count = 0; count < rules.limit; ++count) {
    const uint64_t best = block_min(score);
    if (!can_be_picked(best, rules)) {
      return;
    }
    const int at = static_cast<int>(best & 0xffffffffu);
    if (i == at) {
      list.picked[i] = score;
      score = kNoScore;
    } else if (score != kNoScore) {
      score = decayed(score, list.boxes[i], list.area[i], list.boxes[at], list.area[at], rules);
    }
  }
}

// Class c has the candidates [begins[c], begins[c + 1]).
__device__ __forceinline__ void soft_nms_classes(const SoftList& list, const uint16_t* begins, int classes,
                                                 const SoftRules& rules) {
  constexpr int kSmall = 2 * kWarp;
  for (int c = warp_id(); c < classes; c += static_cast<int>(blockDim.x) / kWarp) {
    if (begins[c + 1] - begins[c] <= kSmall) {
      warp_soft_nms(list, begins[c], begins[c + 1], rules);
    }
  }
  for (int c = 0; c < classes; ++c) {
    if (begins[c + 1] - begins[c] > kSmall) {
      block_soft_nms(list, begins[c], begins[c + 1], rules);
    }
  }
}

}  // namespace refinedet::cuda
