#pragma once

#include "../cpu/decode_cascade.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernels, with all arrays on the current device. A kept index or count out of range stops the kernel.
void decode_cascade(const cpu::DecodeCascadeArgs& args, Stream stream);
void decode_cascade_backward(const cpu::DecodeCascadeBackwardArgs& args, Stream stream);

}  // namespace refinedet::cuda
