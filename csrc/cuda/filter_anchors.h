#pragma once

#include "../cpu/filter_anchors.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device. `workspace`: so many bytes, 256-byte aligned.
int64_t filter_anchors_workspace(const cpu::FilterAnchorsArgs& args);
void filter_anchors(const cpu::FilterAnchorsArgs& args, void* workspace, Stream stream);
void filter_anchors_mask(const cpu::FilterAnchorsMaskArgs& args, Stream stream);

}  // namespace refinedet::cuda
