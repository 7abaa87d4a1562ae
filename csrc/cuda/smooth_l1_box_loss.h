#pragma once

#include "../cpu/smooth_l1_box_loss.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device.
void smooth_l1_box_loss(const cpu::SmoothL1BoxLossArgs& args, Stream stream);
void smooth_l1_box_loss_backward(const cpu::SmoothL1BoxLossBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
