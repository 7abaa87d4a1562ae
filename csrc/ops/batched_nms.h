#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

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

}  // namespace refinedet

namespace refinedet::cpu {

void batched_nms(const BatchedNmsArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device, but `keep` is written to its end: -1 after the kept ones.
// Boxes and scores in float64 are not taken. Never waits for the device; the number of launches depends on the number
// of boxes only.
int64_t batched_nms_workspace(const BatchedNmsArgs& args);
void batched_nms(const BatchedNmsArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
