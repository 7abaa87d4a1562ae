#pragma once

#include "../geometry/dtype.h"
#include "level.h"

namespace refinedet::cpu {

// How a ground truth gets an anchor whatever the thresholds say.
enum class ForceMatch : int8_t {
  none,
  argmax,     // its best anchor; of two with the same best anchor the later one keeps it
  bipartite,  // the best pair of all, then the best pair of those left, ...
};

// Image b owns the ground truths gt_offsets[b] to gt_offsets[b + 1], which start at 0, never fall and end at gt_count.
struct MatchAnchorsArgs {
  DType anchor_dtype;
  const void* anchors;  // (anchor_count, 4) where shared, else (batch, anchor_count, 4)
  bool shared;
  int64_t anchor_count;  // below 2^31
  int64_t batch;
  DType gt_dtype;
  const void* gt_boxes;       // (gt_count, 4)
  const int64_t* gt_labels;   // (gt_count,), at least 1
  const int64_t* gt_offsets;  // (batch + 1,)
  const bool* gt_ignore;      // (gt_count,) or null
  int64_t gt_count;
  double positive_iou;  // thresholds in [0, 1]
  double negative_iou;
  double ignore_iof;  // in (0, 1]
  ForceMatch force;
  int64_t* labels;    // (batch, anchor_count)
  int64_t* gt_index;  // (batch, anchor_count)
  float* iou;         // (batch, anchor_count)
};

REFINEDET_CPU_KERNEL(match_anchors, MatchAnchorsArgs)

}  // namespace refinedet::cpu
