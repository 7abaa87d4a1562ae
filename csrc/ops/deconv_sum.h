// A 2x2 transposed convolution of stride 2, plus a map of the size of its result, then perhaps ReLU; and its backward.
// Its matrix products are the caller's (core/gemm.h).
#pragma once

#include "core/gemm.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

struct DeconvSumShape {
  DType dtype;  // of all arrays
  // All maps are (B, H, W, C) in memory, else (B, C, H, W).
  bool channels_last;
  // The weight is (Ci, Co, 2, 2) in memory, as it must be unless channels_last is set; else (Ci, 2, 2, Co).
  bool taps_inner;
  int64_t batch, in_channels, channels;
  int64_t in_height, in_width;
  int64_t out_height, out_width;  // 2 * in_height and 2 * in_width, or one less: the last taps are cropped

  int64_t in_lines() const { return batch * in_height; }
  int64_t in_pixels() const { return in_height * in_width; }
  int64_t weight_size() const { return in_channels * 4 * channels; }
};

struct DeconvSumArgs {
  DeconvSumShape shape;
  const void *input, *weight;
  const void* bias;  // (Co), or null
  const void* lateral;
  bool relu;
  void* out;
};

// Gradients that are not wanted are null, but grad_lateral is always written where `out` is given.
struct DeconvSumBackwardArgs {
  DeconvSumShape shape;
  const void *grad, *input, *weight;
  const void* out;  // where ReLU was applied its result, else null
  void *grad_input, *grad_weight, *grad_bias;
  void* grad_lateral;  // null without ReLU: it is `grad` itself
};

namespace cpu {

void deconv_sum(const DeconvSumArgs& args, const ParallelFor& parallel, const Gemm& gemm);
void deconv_sum_backward(const DeconvSumBackwardArgs& args, const ParallelFor& parallel, const Gemm& gemm);

}  // namespace cpu

namespace cuda {

// `workspace`: bytes of scratch memory.
int64_t deconv_sum_workspace(const DeconvSumArgs& args, const Gemm& gemm);
void deconv_sum(const DeconvSumArgs& args, void* workspace, Stream stream, const Gemm& gemm);
int64_t deconv_sum_backward_workspace(const DeconvSumBackwardArgs& args);
void deconv_sum_backward(const DeconvSumBackwardArgs& args, void* workspace, Stream stream, const Gemm& gemm);

}  // namespace cuda
}  // namespace refinedet
