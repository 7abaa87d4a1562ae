#pragma once

#include "../geometry/dtype.h"
#include "level.h"

namespace refinedet::cpu {

// Row i of `boxes` belongs to row i % anchor_count of `anchors`. All arrays have the element type `dtype`.
struct EncodeBoxesArgs {
  DType dtype;
  const void* boxes;    // (count, 4)
  const void* anchors;  // (anchor_count, 4)
  int64_t count;
  int64_t anchor_count;
  double variances[4];
  void* deltas;  // (count, 4)
};

struct EncodeBoxesBackwardArgs {
  EncodeBoxesArgs forward;  // its `deltas` is not read
  const void* grad_deltas;  // (count, 4)
  void* grad_boxes;         // (count, 4)
  void* grad_anchors;       // (count, 4), one row per box: whoever shared the anchors sums it
};

REFINEDET_CPU_KERNEL(encode_boxes, EncodeBoxesArgs)
REFINEDET_CPU_KERNEL(encode_boxes_backward, EncodeBoxesBackwardArgs)

}  // namespace refinedet::cpu
