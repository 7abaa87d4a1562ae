#pragma once

#include "ops/batched_nms.h"

namespace refinedet::cuda {

// How the work is cut. Results do not depend on it; tests choose small pieces.
struct BatchedNmsPlan {
  int64_t alone;  // boxes of a group up to which one block settles it
  int64_t step;   // boxes of a larger group that are settled by one launch
};
BatchedNmsPlan batched_nms_plan(const BatchedNmsArgs& args);

int64_t batched_nms_workspace_by(const BatchedNmsPlan& plan, const BatchedNmsArgs& args);
void batched_nms_by(const BatchedNmsPlan& plan, const BatchedNmsArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
