#pragma once

#include "../geometry/dtype.h"
#include "level.h"

namespace refinedet::cpu {

// Row i of `deltas` belongs to row i % anchor_count of `anchors`. All arrays have the element type `dtype`.
struct DecodeBoxesArgs {
  DType dtype;
  const void* deltas;   // (count, 4)
  const void* anchors;  // (anchor_count, 4)
  int64_t count;
  int64_t anchor_count;
  double variances[4];
  bool clip;
  double width, height;  // read where clip is set
  void* boxes;           // (count, 4)
};

struct DecodeBoxesBackwardArgs {
  DecodeBoxesArgs forward;  // its `boxes` is not read
  const void* grad_boxes;   // (count, 4)
  void* grad_deltas;        // (count, 4)
  void* grad_anchors;       // (count, 4), one row per delta: whoever shared the anchors sums it
};

REFINEDET_CPU_KERNEL(decode_boxes, DecodeBoxesArgs)
REFINEDET_CPU_KERNEL(decode_boxes_backward, DecodeBoxesBackwardArgs)

}  // namespace refinedet::cpu
