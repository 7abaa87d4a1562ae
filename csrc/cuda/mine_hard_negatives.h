#pragma once

#include "../cpu/mine_hard_negatives.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device; `workspace` has mine_hard_negatives_workspace(args) bytes.
int64_t mine_hard_negatives_workspace(const cpu::MineHardNegativesArgs& args);
void mine_hard_negatives(const cpu::MineHardNegativesArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
