#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

struct SmoothL1BoxLossArgs {
  DType dtype;
  const void* deltas;       // (batch, anchor_count, 4)
  const void* anchors;      // (batch, anchor_count, 4), or (anchor_count, 4) where they are shared
  const void* gt_boxes;     // (gt_count, 4)
  const int64_t* gt_index;  // (batch, anchor_count); outside of 0 .. gt_count - 1: no box
  int64_t batch;
  int64_t anchor_count;  // below 2^31
  int64_t gt_count;
  bool shared;
  double variances[4];
  double beta;  // finite, at least 0
  void* loss;   // (batch,) of Accumulate<dtype>
};

struct SmoothL1BoxLossBackwardArgs {
  SmoothL1BoxLossArgs forward;  // its `loss` is not read
  const void* grad_loss;        // (batch,) of Accumulate<dtype>
  void* grad_deltas;            // (batch, anchor_count, 4)
};

}  // namespace refinedet

namespace refinedet::cpu {

void smooth_l1_box_loss(const SmoothL1BoxLossArgs& args, const ParallelFor& parallel);
void smooth_l1_box_loss_backward(const SmoothL1BoxLossBackwardArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device.
void smooth_l1_box_loss(const SmoothL1BoxLossArgs& args, Stream stream);
void smooth_l1_box_loss_backward(const SmoothL1BoxLossBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
