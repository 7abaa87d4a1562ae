#pragma once

#include "../cpu/decode_boxes.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device.
void decode_boxes(const cpu::DecodeBoxesArgs& args, Stream stream);
void decode_boxes_backward(const cpu::DecodeBoxesBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
