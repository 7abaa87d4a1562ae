#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

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

}  // namespace refinedet

namespace refinedet::cpu {

void encode_boxes(const EncodeBoxesArgs& args, const ParallelFor& parallel);
void encode_boxes_backward(const EncodeBoxesBackwardArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device.
void encode_boxes(const EncodeBoxesArgs& args, Stream stream);
void encode_boxes_backward(const EncodeBoxesBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
