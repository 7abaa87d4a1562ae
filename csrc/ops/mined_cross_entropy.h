#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

struct MinedCrossEntropyArgs {
  DType dtype;
  const void* logits;      // (batch, anchor_count, classes)
  const int64_t* labels;   // (batch, anchor_count): above 0 a positive, 0 a candidate
  const int64_t* targets;  // (batch, anchor_count), below `classes`; negative as 0. May be `labels`
  const bool* eligible;    // (batch, anchor_count) or null: all
  int64_t batch;
  int64_t anchor_count;  // below 2^32
  int64_t classes;       // at least 1
  double ratio;          // negatives per positive, finite, at least 0
  int64_t min_negatives;
  void* loss;          // (batch,) of Accumulate<dtype>
  bool* chosen;        // (batch, anchor_count)
  int64_t* positives;  // (batch,)
  int64_t* negatives;  // (batch,)
};

struct MinedCrossEntropyBackwardArgs {
  DType dtype;
  const void* grad_loss;   // (batch,) of Accumulate<dtype>
  const void* logits;      // (batch, anchor_count, classes)
  const int64_t* targets;  // (batch, anchor_count), negative as 0, above the last class as that
  const bool* chosen;      // (batch, anchor_count)
  int64_t batch;
  int64_t anchor_count;
  int64_t classes;
  void* grad_logits;  // (batch, anchor_count, classes)
};

}  // namespace refinedet

namespace refinedet::cpu {

void mined_cross_entropy(const MinedCrossEntropyArgs& args, const ParallelFor& parallel);
void mined_cross_entropy_backward(const MinedCrossEntropyBackwardArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device; `workspace` has mined_cross_entropy_workspace(args) bytes.
int64_t mined_cross_entropy_workspace(const MinedCrossEntropyArgs& args);
void mined_cross_entropy(const MinedCrossEntropyArgs& args, void* workspace, Stream stream);
void mined_cross_entropy_backward(const MinedCrossEntropyBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
