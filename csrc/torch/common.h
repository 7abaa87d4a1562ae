// What the torch ops share: checks, element types, torch's threads. Only torch's stable ABI.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "../cpu/parallel.h"
#include "../geometry/dtype.h"
#include "place.h"

namespace refinedet::torch_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// "(2, 3, 4)"
std::string shape_of(const Tensor& t);

// The kernels' name of a floating element type; throws for others, naming the argument.
DType dtype_of(const Tensor& t, const char* name);

void check_dtype(const Tensor& t, ScalarType dtype, const char* name);
void check_cpu(const Tensor& t, const char* name);
void check_variances(const std::vector<double>& variances);

// Throws unless the tensor is (..., last).
void check_last_dim(const Tensor& t, int64_t last, const char* name);

void check_clip_to(const std::optional<std::vector<double>>& clip_to);

// Throws unless `rows` is (..., 4), and `anchors` as well, in the same place and of the same dtype, of the same shape
// or of the last dimensions of that, so that its rows repeat. Returns the place.
Place check_box_rows(const Tensor& rows, const char* name, const Tensor& anchors);

// torch's own pool, with torch.set_num_threads obeyed.
cpu::ParallelFor torch_threads();

using Sizes = torch::headeronly::IntHeaderOnlyArrayRef;

// A new contiguous tensor.
Tensor new_tensor(Sizes sizes, ScalarType dtype, Place place = Place::cpu());

std::vector<int64_t> sizes_of(const Tensor& t);

// Whether a (B, C, H, W) tensor is dense in the order B, H, W, C, and not in the usual order as well.
bool is_channels_last(const Tensor& t);

template <class T>
T* data(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

template <class T>
const T* const_data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

}  // namespace refinedet::torch_ops

// REFINEDET_CHECK(condition, "boxes: expected ..., got ", x)
#define REFINEDET_CHECK(condition, ...) STD_TORCH_CHECK(condition, __VA_ARGS__)
