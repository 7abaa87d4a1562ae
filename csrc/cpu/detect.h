#pragma once

#include "../geometry/dtype.h"
#include "level.h"
#include "suppression.h"

namespace refinedet::cpu {

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

REFINEDET_CPU_KERNEL(detect, DetectArgs)

}  // namespace refinedet::cpu
