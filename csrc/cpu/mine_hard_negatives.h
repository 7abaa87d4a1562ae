#pragma once

#include "../geometry/dtype.h"
#include "level.h"

namespace refinedet::cpu {

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

REFINEDET_CPU_KERNEL(mine_hard_negatives, MineHardNegativesArgs)

}  // namespace refinedet::cpu
