#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

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

}  // namespace refinedet

namespace refinedet::cpu {

void decode_boxes(const DecodeBoxesArgs& args, const ParallelFor& parallel);
void decode_boxes_backward(const DecodeBoxesBackwardArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device.
void decode_boxes(const DecodeBoxesArgs& args, Stream stream);
void decode_boxes_backward(const DecodeBoxesBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
