#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

// All box arrays have the element type `dtype`; the box between the two steps stays in the type that it computes in.
struct DecodeCascadeArgs {
  DType dtype;
  const void* arm_deltas;  // (batch, count, 4)
  const void* odm_deltas;  // (batch, count, 4)
  const void* anchors;     // (count, 4), or (batch, count, 4)
  bool shared_anchors;     // the former
  int64_t batch, count;
  double variances[4];
  const int64_t* kept_index;  // (batch, count), rows to decode, in [0, count); null for all
  const int64_t* kept_count;  // (batch,), how many of them; null with kept_index
  void* boxes;                // (batch, count, 4), zero in other rows
};

struct DecodeCascadeBackwardArgs {
  DecodeCascadeArgs forward;  // its `boxes` is not read
  const void* grad_boxes;     // (batch, count, 4)
  void* grad_arm_deltas;      // (batch, count, 4)
  void* grad_odm_deltas;      // (batch, count, 4)
  void* grad_anchors;         // (batch, count, 4): whoever shared the anchors sums it
};

}  // namespace refinedet

namespace refinedet::cpu {

void decode_cascade(const DecodeCascadeArgs& args, const ParallelFor& parallel);
void decode_cascade_backward(const DecodeCascadeBackwardArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device. A kept index or count out of range stops the kernel.
void decode_cascade(const DecodeCascadeArgs& args, Stream stream);
void decode_cascade_backward(const DecodeCascadeBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
