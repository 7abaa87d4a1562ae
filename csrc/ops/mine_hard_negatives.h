#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace refinedet {

struct MineHardNegativesArgs {
  DType dtype;
  const void* loss;       // (batch, anchor_count)
  const int64_t* labels;  // (batch, anchor_count)
  const bool* eligible;   // (batch, anchor_count) or null: all
  int64_t batch;
  int64_t anchor_count;   // below 2^32
  double ratio;           // negatives per positive, finite, at least 0
  int64_t min_negatives;  // at least 0
  bool* chosen;           // (batch, anchor_count)
};

}  // namespace refinedet

namespace refinedet::cpu {

void mine_hard_negatives(const MineHardNegativesArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device; `workspace` has mine_hard_negatives_workspace(args) bytes.
int64_t mine_hard_negatives_workspace(const MineHardNegativesArgs& args);
void mine_hard_negatives(const MineHardNegativesArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
