// The backward of a depthwise convolution: a square kernel for every channel, without dilation. Its forward, and all of
// it on a GPU, are torch's own.
#pragma once

#include "core/dtype.h"
#include "core/parallel.h"

namespace refinedet {

// Maps are (B, H, W, C) in memory, the weight (C, kernel, kernel). Output pixel (y, x) reads the input from row
// y * stride - pad_top and column x * stride - pad_left on; what lies outside counts as zeros.
struct DepthwiseConv2dBackwardArgs {
  DType dtype;  // of all arrays
  int64_t batch, channels;
  int64_t height, width;          // of the input
  int64_t out_height, out_width;  // of the gradient that comes in
  int64_t kernel, stride, pad_top, pad_left;
  const void *grad, *input, *weight;
  void *grad_input, *grad_weight;  // null where not wanted
};

namespace cpu {

void depthwise_conv2d_backward(const DepthwiseConv2dBackwardArgs& args, const ParallelFor& parallel);

}  // namespace cpu
}  // namespace refinedet
