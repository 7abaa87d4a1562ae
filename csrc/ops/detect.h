#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"
#include "suppression.h"

namespace refinedet {

// Inputs have the element type `dtype`; out_boxes and out_scores are double where that is double, else float.
struct DetectArgs {
  DType dtype;
  const void* arm_logits;    // (batch, anchors, 2)
  const void* arm_deltas;    // (batch, anchors, 4)
  const void* odm_logits;    // (batch, anchors, 1 + classes), the background first
  const void* odm_deltas;    // (batch, anchors, 4)
  const void* anchor_boxes;  // (anchors, 4)
  int64_t batch, anchors, classes;
  double theta;
  double variances[4];
  bool clip;
  double width, height;  // read where clip is set
  double score_threshold;
  SuppressionSettings settings;
  void* out_boxes;      // (batch, keep_top_k, 4)
  void* out_scores;     // (batch, keep_top_k)
  int64_t* out_labels;  // (batch, keep_top_k)
  int64_t* out_counts;  // (batch,)
};

}  // namespace refinedet

namespace refinedet::cpu {

void detect(const DetectArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device; not float64. `workspace`: so many bytes, 256-byte aligned.
int64_t detect_workspace(const DetectArgs& args);
void detect(const DetectArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
