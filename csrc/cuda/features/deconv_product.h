// deconv_sum on tensor cores, in one kernel.
#pragma once

#include "core/stream.h"
#include "ops/deconv_sum.h"

namespace refinedet::cuda {

// Whether deconv_product takes these arguments on the current device; `tf32`: float32 may be rounded to TF32.
bool deconv_product_takes(const DeconvSumArgs& args, bool tf32);
void deconv_product(const DeconvSumArgs& args, Stream stream);

}  // namespace refinedet::cuda
