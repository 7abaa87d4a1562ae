#pragma once

#include "common.h"

namespace refinedet::torch_ops {

// The tensor itself where it is contiguous already: torch::stable::contiguous asks the dispatcher even then, which
// costs a microsecond per input.
inline Tensor as_contiguous(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }

}  // namespace refinedet::torch_ops
