#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

// An anchor is kept where softmax(logits)[0] <= theta. NaN is not kept.
struct FilterAnchorsArgs {
  DType dtype;
  const void* logits;  // (batch, count, 2)
  int64_t batch, count;
  double theta;
  int64_t* index;        // (batch, count): kept anchors ascending, then -1
  int64_t* index_count;  // (batch,)
};

struct FilterAnchorsMaskArgs {
  DType dtype;
  const void* logits;  // (batch, count, 2)
  int64_t batch, count;
  double theta;
  bool* mask;  // (batch, count)
};

}  // namespace refinedet

namespace refinedet::cpu {

void filter_anchors(const FilterAnchorsArgs& args, const ParallelFor& parallel);
void filter_anchors_mask(const FilterAnchorsMaskArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device. `workspace`: so many bytes, 256-byte aligned.
int64_t filter_anchors_workspace(const FilterAnchorsArgs& args);
void filter_anchors(const FilterAnchorsArgs& args, void* workspace, Stream stream);
void filter_anchors_mask(const FilterAnchorsMaskArgs& args, Stream stream);

}  // namespace refinedet::cuda
