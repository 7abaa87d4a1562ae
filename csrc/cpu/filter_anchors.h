#pragma once

#include "../geometry/dtype.h"
#include "level.h"

namespace refinedet::cpu {

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

REFINEDET_CPU_KERNEL(filter_anchors, FilterAnchorsArgs)
REFINEDET_CPU_KERNEL(filter_anchors_mask, FilterAnchorsMaskArgs)

}  // namespace refinedet::cpu
