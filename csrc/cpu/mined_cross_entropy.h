#pragma once

#include "../geometry/dtype.h"
#include "level.h"

namespace refinedet::cpu {

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
  void* loss;          // (batch,) of Work<dtype>
  bool* chosen;        // (batch, anchor_count)
  int64_t* positives;  // (batch,)
  int64_t* negatives;  // (batch,)
};

struct MinedCrossEntropyBackwardArgs {
  DType dtype;
  const void* grad_loss;   // (batch,) of Work<dtype>
  const void* logits;      // (batch, anchor_count, classes)
  const int64_t* targets;  // (batch, anchor_count), negative as 0, above the last class as that
  const bool* chosen;      // (batch, anchor_count)
  int64_t batch;
  int64_t anchor_count;
  int64_t classes;
  void* grad_logits;  // (batch, anchor_count, classes)
};

REFINEDET_CPU_KERNEL(mined_cross_entropy, MinedCrossEntropyArgs)
REFINEDET_CPU_KERNEL(mined_cross_entropy_backward, MinedCrossEntropyBackwardArgs)

}  // namespace refinedet::cpu
