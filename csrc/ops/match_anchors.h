#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

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

}  // namespace refinedet

namespace refinedet::cpu {

void match_anchors(const MatchAnchorsArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device. Offsets out of range stop the kernel. `workspace` has
// match_anchors_workspace(args) bytes, which depend on sizes and the mode alone.
int64_t match_anchors_workspace(const MatchAnchorsArgs& args);
void match_anchors(const MatchAnchorsArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
