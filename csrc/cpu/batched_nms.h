#pragma once

#include "../geometry/dtype.h"
#include "level.h"

namespace refinedet::cpu {

struct BatchedNmsArgs {
  DType box_dtype, score_dtype;
  const void* boxes;    // (count, 4)
  const void* scores;   // (count,)
  const int64_t* idxs;  // (count,), any values; null: all boxes compete
  int64_t count;        // below 2^31
  double iou_threshold;
  int64_t* keep;  // (count,), the first keep_count of which are written: by falling score
  int64_t* keep_count;
};

REFINEDET_CPU_KERNEL(batched_nms, BatchedNmsArgs)

}  // namespace refinedet::cpu
