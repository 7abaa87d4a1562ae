#pragma once

#include "../cpu/detect.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device; not float64. `workspace`: so many bytes, 256-byte aligned.
int64_t detect_workspace(const cpu::DetectArgs& args);
void detect(const cpu::DetectArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
