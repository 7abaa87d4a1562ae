#pragma once

#include "../cpu/encode_boxes.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device.
void encode_boxes(const cpu::EncodeBoxesArgs& args, Stream stream);
void encode_boxes_backward(const cpu::EncodeBoxesBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
