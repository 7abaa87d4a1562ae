// Deformable convolution and its backward. Its matrix products are the caller's (core/gemm.h).
#pragma once

#include "core/deform_sample.h"
#include "core/gemm.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

// A contiguous (B, channels, Ho, Wo) tensor of any floating type, or none.
struct DeformMap {
  const void* data;
  DType dtype;
};
struct DeformMapOut {
  void* data;
  DType dtype;
};

// There are images, channels and output pixels: whatever has no elements is up to the caller.
struct DeformAlignShape {
  DeformGeometry geometry;
  DType dtype;  // of input, weight, bias and out
  int64_t batch, channels, out_channels, groups;
  bool channels_last;         // input and out: (B, H, W, C) in memory, else (B, C, H, W)
  bool weight_channels_last;  // (Co, kh, kw, C / groups) in memory, else (Co, C / groups, kh, kw)

  int64_t group_channels() const { return channels / groups; }
  int64_t group_outputs() const { return out_channels / groups; }
};

struct DeformAlignArgs {
  DeformAlignShape shape;
  const void *input, *weight;
  const void* bias;                // (Co), or null
  DeformMap offset, center, mask;  // each where there is one
  void* out;
};

// Gradients that are not wanted are null.
struct DeformAlignBackwardArgs {
  DeformAlignShape shape;
  const void* grad;  // of out
  bool grad_channels_last;
  const void *input, *weight;
  DeformMap offset, center, mask;
  bool deterministic;  // on a GPU, where the order of sums varies otherwise

  void *grad_input, *grad_weight;  // laid out as input and weight
  DeformMapOut grad_offset, grad_center, grad_mask;

  bool wants_samples() const {
    return grad_offset.data != nullptr || grad_center.data != nullptr || grad_mask.data != nullptr;
  }
};

namespace cpu {

void deform_align(const DeformAlignArgs& args, const ParallelFor& parallel, const Gemm& gemm);
void deform_align_backward(const DeformAlignBackwardArgs& args, const ParallelFor& parallel, const Gemm& gemm);

}  // namespace cpu

namespace cuda {

// For float32, float16 and bfloat16; `workspace`: bytes of scratch memory.
int64_t deform_align_workspace(const DeformAlignArgs& args);
void deform_align(const DeformAlignArgs& args, void* workspace, Stream stream, const Gemm& gemm);
int64_t deform_align_backward_workspace(const DeformAlignBackwardArgs& args);
void deform_align_backward(const DeformAlignBackwardArgs& args, void* workspace, Stream stream, const Gemm& gemm);

}  // namespace cuda
}  // namespace refinedet
