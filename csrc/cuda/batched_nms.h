#pragma once

#include "../cpu/batched_nms.h"
#include "stream.h"

namespace refinedet::cuda {

// How the work is cut. Results do not depend on it; tests choose small pieces.
struct BatchedNmsPlan {
  int64_t alone;  // boxes of a group up to which one block settles it
  int64_t step;   // boxes of a larger group that are settled by one launch
};
BatchedNmsPlan batched_nms_plan(const cpu::BatchedNmsArgs& args);

// As the CPU kernel, with all arrays on the current device, but `keep` is written to its end: -1 after the kept ones.
// Boxes and scores in float64 are not taken. Never waits for the device; the number of launches depends on the number
// of boxes only.
int64_t batched_nms_workspace(const cpu::BatchedNmsArgs& args, const BatchedNmsPlan& plan);
void batched_nms(const cpu::BatchedNmsArgs& args, void* workspace, Stream stream, const BatchedNmsPlan& plan);

inline int64_t batched_nms_workspace(const cpu::BatchedNmsArgs& args) {
  return batched_nms_workspace(args, batched_nms_plan(args));
}
inline void batched_nms(const cpu::BatchedNmsArgs& args, void* workspace, Stream stream) {
  batched_nms(args, workspace, stream, batched_nms_plan(args));
}

}  // namespace refinedet::cuda
