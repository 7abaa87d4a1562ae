// torch's own matrix product on pieces of memory.
#pragma once

#include <initializer_list>

#include "common.h"

namespace refinedet::torch_ops {

// A tensor on somebody else's memory, which must outlive it. Read-only memory must not become an `out`.
Tensor view_of(const void* data, std::initializer_list<int64_t> sizes, std::initializer_list<int64_t> strides,
               ScalarType dtype, Device device = Device::cpu());

// out = a b, with torch's threads or on the GPU's current stream. Matrices of one dtype, or batches of them (with
// stride 0 for one that all share); each may have any stride in one of its dimensions if it has 1 in the other.
void multiply(const Tensor& a, const Tensor& b, const Tensor& out);

// out += a b, on the CPU.
void multiply_add(const Tensor& a, const Tensor& b, const Tensor& out);

}  // namespace refinedet::torch_ops
