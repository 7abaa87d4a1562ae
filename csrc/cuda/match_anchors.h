#pragma once

#include "../cpu/match_anchors.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device. Offsets out of range stop the kernel. `workspace` has
// match_anchors_workspace(args) bytes, which depend on sizes and the mode alone.
int64_t match_anchors_workspace(const cpu::MatchAnchorsArgs& args);
void match_anchors(const cpu::MatchAnchorsArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
