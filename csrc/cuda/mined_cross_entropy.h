#pragma once

#include "../cpu/mined_cross_entropy.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device; `workspace` has mined_cross_entropy_workspace(args) bytes.
int64_t mined_cross_entropy_workspace(const cpu::MinedCrossEntropyArgs& args);
void mined_cross_entropy(const cpu::MinedCrossEntropyArgs& args, void* workspace, Stream stream);
void mined_cross_entropy_backward(const cpu::MinedCrossEntropyBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
