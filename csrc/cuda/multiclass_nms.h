#pragma once

#include "../cpu/multiclass_nms.h"
#include "stream.h"

namespace refinedet::cuda {

// As the CPU kernel, with all arrays on the current device; not float64. `workspace`: so many bytes, 256-byte aligned.
int64_t multiclass_nms_workspace(const cpu::MulticlassNmsArgs& args);
void multiclass_nms(const cpu::MulticlassNmsArgs& args, void* workspace, Stream stream);

}  // namespace refinedet::cuda
